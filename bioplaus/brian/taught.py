"""The cortex beside a predictor (`bioplaus.brian.predictor`): rate cells with what they must know of their own step, e-prop's synapses, and the readout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import sympy as sp
from brian2 import NeuronGroup
from brian2.parsing.sympytools import sympy_to_str

from bioplaus.brian.stage import Stage
from bioplaus.circuit.wiring import External, Outputs
from bioplaus.codegen.propagated import propagated
from bioplaus.symbolic.derive import after
from bioplaus.symbolic.functions import for_brian
from bioplaus.symbolic.integrate import declared
from bioplaus.symbolic.text import expression, substituted, symbol
from bioplaus.symbolic.units import declaration, plain

if TYPE_CHECKING:
    from bioplaus.cell import Cell

#: variables of a neuron. Said, and counted; what arrives by input, neurons and bias; features as they were, D and G; what others tell: the readout's
#: error, the way back through weights; both TD errors; and what the predictor says of x and y, now and at what was, by its rows and by a constant
SAID = ("said_", "count_", "fed_", "rec_", "bias_", "hl_", "yl_", "sl_", "D_", "G_")
TOLD = ("told_", "back_", "future_", "send_", "dx_", "dy_")
PREDICTED = ("gx_", "gxl_", "gy_", "gyl_", "cx_", "cy_", "cxl_", "cyl_", "rise_")
#: credit for states as credit for what drives them, on its way back through weights
BACK, BACKWARDS = "back__pre = w*send__post : 1 (summed)", {"back__pre": ("after_groups", -2)}
ON = "(1 - last_(t))"


def cortex(stage: Stage) -> NeuronGroup:
    """The neurons, which take a step, say what they say, and make TD errors of what they are told."""
    cell = next(iter(stage.network.circuit.populations.values())).cell
    d, (x,), (I,) = cell.derived, cell.states, cell.inputs
    assert cell.parsed.equations is not None and cell.parsed.output is not None
    values = {**{k: plain(v) for k, v in cell.constants.items()}, "dt": stage.network.circuit.dt}
    entries = {name: each for p in d.propagators for name, each in propagated(p, values).numbers.items()}
    flow = expression(cell.parsed.equations[x].expr.code).value  # F(x, I)
    written = declared(cell, cell.parsed.equations)
    used = {str(s) for e in (flow, *d.psi, d.F[0][0], d.G[0][0]) for s in e.free_symbols} | cell.parsed.output.names
    model = [declaration(n, v, " (constant)") for n, v in cell.parameters.items() if n in used and n not in written]
    model += [f"{name} : 1 (constant)" for name in entries]
    model += [f"{name} : 1" for name in (*SAID, *TOLD, *PREDICTED)]
    slope = _text(substituted(d.psi[0], {after(x): symbol(x)}))
    model += [f"y_ = {cell.parsed.output.brian} : 1", f"slope_ = {slope} : 1"]
    model += [f"speed_ = ({_text(flow)})*ms_ : 1", f"leak_ = ({_text(sp.diff(flow, symbol(x)))})*ms_ : 1", f"gain_ = ({_text(sp.diff(flow, symbol(I)))})*ms_ : 1"]  # fmt: skip
    group = stage.group("cortex", stage.network.populations[0].size, written + "\n".join(model), method=cell.method)
    parameters = {n: plain(v) for n, v in cell.parameters.items() if n in group.variables and n in used | {*group.equations}}  # fmt: skip
    for name, value in (parameters | entries).items():
        group.variables[name].set_value(np.broadcast_to(value, len(group)))
    _steps(stage, group, cell)
    _errors(stage, group)
    return group


def _steps(stage: Stage, group: NeuronGroup, cell: Cell) -> None:
    """Anew where a trial begins; what drives it, and what was, with D and G; what is said."""
    d, (x,), (I,) = cell.derived, cell.states, cell.inputs
    unit, stands = cell.channels[I], stage.network.start(1).populations[0]
    anew = {x: float(stands.s[0][0, 0]), "said_": float(stands.y[0][0, 0])}
    stage.regularly(group, [f"{n} = {n}*(1 - first_(t)) + first_(t)*{value!r}" for n, value in anew.items()], "start")
    arrives = [f"{I} = {unit!r}*(fed_ + rec_ + bias_)"]
    was = [f"hl_ = {x}", "yl_ = said_", "sl_ = slope_"]
    partials = [f"D_ = {_text(d.F[0][0])}", f"G_ = {unit!r}*({_text(d.G[0][0])})"]
    stage.regularly(group, [*arrives, *was, *partials], "groups", -5)
    stage.regularly(group, ["said_ = y_", "count_ += y_"], "after_groups", -7)


def _errors(stage: Stage, group: NeuronGroup) -> None:
    """TD errors, (1) and (2), in a step of the library's or as rates; and what is said of the future to e-prop."""
    if stage.form == "map":  # gx_, gy_ are at h_t, gxl_, gyl_ at h_{t−1}; c: what the constant adds
        toward = [
            f"send_ = {ON}*gamma_*(gx_ + cx_) + slope_*(told_ + {ON}*gamma_*(gy_ + cy_))",
            "dx_ = D_*send_ - gxl_ - cxl_",
            "send_ = G_*send_",
        ]
        down = "dy_ = back_ - gyl_ - cyl_"
    else:
        doya = f"{ON}*(slope_*(told_ + gy_ + cy_)/dt_ + rise_ + (leak_ - fade_)*(gx_ + cx_)) - last_(t)*(gx_ + cx_)/dt_"
        toward = [f"dx_ = {doya}", "send_ = gain_*(gx_ + cx_)"]
        down = f"dy_ = {ON}*back_ - (gy_ + cy_)/dt_"
    stage.regularly(group, toward, "after_groups", -3)
    stage.regularly(group, [down, f"future_ = s_*{ON}*(gy_ + cy_)"], "after_groups", -1)


def readout(stage: Stage) -> NeuronGroup:
    """The outputs, and their error."""
    model = "sum_ : 1\nbias_ : 1\no_ = sum_ + bias_ : 1\nerror_ : 1"
    group = stage.group("readout", stage.network.circuit.readout.size, model)
    stage.regularly(group, ["error_ = counts_(t)*(o_ - wanted_(t, i))"], "after_groups", -5)
    return group


def afferents(stage: Stage, group: NeuronGroup, lines: NeuronGroup, one: NeuronGroup) -> None:
    """What drives the cortex, with e-prop's traces (5)."""
    learned = [w.spec.name for w in stage.network.learned]
    for w in stage.network.wired:
        name, recurrent = w.spec.name, isinstance(w.source, Outputs)
        source, onto = (group, "rec_") if recurrent else (lines, "fed_") if isinstance(w.source, External) else (one, "bias_")  # fmt: skip
        said = "said__pre" if recurrent else "y__pre"
        model, slots = ["w : 1", "eps : 1", f"{onto}_post = w*{said} : 1 (summed)"], {f"{onto}_post": ("groups", -6)}
        if recurrent and stage.signal.jacobian == "exact":
            model, slots = [*model, BACK], slots | BACKWARDS
        made = stage.put(name, source, group, model, _weights(stage, name), slots)
        stage.regularly(made, ["eps *= 1 - first_(t)"], "start")
        stage.regularly(made, [f"eps = D__post*eps + G__post*{said}"], "groups", -4)
        if (rate := stage.rate(name)) and name in learned:
            stage.regularly(made, [f"w -= {rate!r}*slope__post*(told__post + future__post)*eps"], "after_groups")


def efferents(stage: Stage, group: NeuronGroup, outputs: NeuronGroup, one: NeuronGroup) -> None:
    """Onto the readout, which tells its error back by the same weights."""
    model = ["w : 1", "sum__post = w*y__pre : 1 (summed)", "told__pre = w*error__post : 1 (summed)"]
    slots = {"sum__post": ("after_groups", -6), "told__pre": ("after_groups", -4)}
    made = {"W_out": stage.put("W_out", group, outputs, model, _weights(stage, "W_out"), slots)}
    if "b_out" in stage.network.weights:
        model, slots = ["w : 1", "bias__post = w*y__pre : 1 (summed)"], {"bias__post": ("after_groups", -6)}
        made["b_out"] = stage.put("b_out", one, outputs, model, _weights(stage, "b_out"), slots)
    for name, each in made.items():
        if rate := stage.rate(name):
            stage.regularly(each, [f"w -= {rate!r}*error__post*y__pre"], "after_groups")


def _weights(stage: Stage, name: str) -> np.ndarray:
    return stage.network.weights[name].double().cpu().numpy()


def _text(e: sp.Expr) -> str:
    return sympy_to_str(for_brian(e))
