"""A predictor of the future loss that learns by BP(λ) in Brian2, and the cortex that it teaches: one network, weights move at every step.

A rate cell dx/dt = F(x, I), y = φ(x) has one row of the predictor for its state and one for its output: g_x, the gradient of the future
loss at x, and g_y, that at y with x held, which is what y does through other neurons. h = (x, y, 1). In continuous time, losses per ms::

    δ_x = φ' (∂L/∂y + g_y) + dg_x/dt − g_x/τ_d,        1/τ_d = 1/τ_γ − ∂F/∂x                     Doya's TD error             (1)
    δ_y = Σ_j g_x,j ∂F/∂I_j V_j − g_y                  V: W_rec, fixed random weights, or nothing                            (2)
    de/dt = −e/τ_e + h,                                1/τ_e = 1/τ_d + 1/τ_λ                     at each synapse             (3)
    dA_x/dt = η (δ_x + φ' δ_y) eᵀ,   dA_y/dt = η δ_y hᵀ                                                                      (4)
    dε/dt = ∂F/∂x ε + ∂F/∂I pre,     dW/dt = −η_W φ' (∂L/∂y + s g_y) ε                          the cortex, by e-prop       (5)

``form="equations"`` writes (1) to (4) as they stand, Euler's method, and is their solution to order 1. ``form="map"`` takes the steps of
`bioplaus.signal.bp_lambda` in their place: D and G of the cell's own integrator for ∂F, γ and λ of a step, g at h_t and h_{t−1} for dg/dt; what
comes out are the library's numbers, to rounding, at the same dt. The cortex (5), by the cell's own D and G, is the library's in both.

At the end of a trial g(h_T) = 0: an event, −η g e at once. With the next, states and traces begin anew.

Brian2's step k, in which what stands at h_t belongs to t = (k + 1)·dt::

    start           x, e, ε: anew where a trial begins
    groups    −6    Σ W pre                                               summed
              −5    I; what was: x, y, φ'; D, G
              −4    ε
               0    x                                                     Brian2's state updater, ``cell.method``
    after_groups −7 what is said: y
              −6    o = C y + c                                           summed
              −5    error
              −4    ∂L/∂y = Cᵀ error; g, g at what was, dg/dt             summed
              −3    δ_x
              −2    Σ g_x G V                                             summed
              −1    δ_y
               0    A, e;  W, C                                           in synapses
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import brian2
import numpy as np
import sympy as sp
import torch
from brian2 import Clock, Network, NeuronGroup, StateMonitor, Synapses, TimedArray
from brian2.parsing.sympytools import sympy_to_str

from bioplaus import checks
from bioplaus.cerebellum import Linear
from bioplaus.circuit.description import INPUT
from bioplaus.codegen.propagated import propagated
from bioplaus.eligibility import EProp
from bioplaus.errors import CircuitError, RuleError
from bioplaus.own import Owns
from bioplaus.signal import BPLambda, in_time
from bioplaus.signal.synthetic import theta
from bioplaus.symbolic.derive import after
from bioplaus.symbolic.functions import for_brian
from bioplaus.symbolic.integrate import declared
from bioplaus.symbolic.runtime import runtime
from bioplaus.symbolic.text import expression, substituted, symbol
from bioplaus.symbolic.units import declaration, plain
from bioplaus.tasks import Batch

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.cell import Cell
    from bioplaus.circuit import Network as Built
    from bioplaus.rules import Rule

FORMS = ("map", "equations")
#: credit for states as credit for what drives them, on its way back through weights
BACK, BACKWARDS = "back__pre = w*send__post : 1 (summed)", {"back__pre": ("after_groups", -2)}


@dataclass(frozen=True, eq=False)
class Learned:
    """What a network has become.

    Attributes
    ----------
    weights : of the circuit, by name.
    A, b : of the predictor, rows of x and of y, (2 · unit, 2 · unit) and (2 · unit,).
    outputs : (time, trial, output).
    loss : of each trial.
    x, y : states and outputs of the cortex at the end, (unit,).
    rate : its mean output.
    network : the Brian2 network, as it stands at the end.
    """

    weights: dict[str, np.ndarray]
    A: np.ndarray
    b: np.ndarray
    outputs: np.ndarray
    loss: np.ndarray
    x: np.ndarray
    y: np.ndarray
    rate: float
    network: Network


def learn(
    network: Built,
    rule: Rule,
    batch: Batch,
    rates: Mapping[str, float],
    own: Owns,
    *,
    form: Literal["map", "equations"] = "map",
    steps: int | None = None,
) -> Learned:
    """Let a circuit and its predictor learn in Brian2, trial after trial, at every step.

    Parameters
    ----------
    network : a built circuit; it is left as it is.
    rule : ``bp.rule("bp_lambda", trace="local", eligibility="eprop", schedule="online", tau_lambda=…, tau_gamma=…)``, jacobian exact,
        random or within.
    batch : its trials, one after another.
    rates : of plain descent at every step, by path (``"W_rec"``, ``"predictor.A"``); what has none stays.
    own : the predictor's weights and random feedback at the start, as ``rule.begin`` gives them.
    form : ``"map"`` or ``"equations"``.
    steps : stop after so many steps of all; None: at the end.

    Raises
    ------
    CircuitError, RuleError
        For what it does not serve.
    """
    checks.accept(RuleError, "form", form, checks.Word(FORMS))
    signal = asked(network, rule)
    with torch.no_grad(), runtime():
        made = _Made(network, signal, batch, rates, own, form)
        made.network.run((made.steps if steps is None else steps) * made.clock.dt, namespace={})
        return made.learned()


def asked(network: Built, rule: Rule) -> BPLambda:
    """Refuse what has no such equations."""
    circuit, signal = network.circuit, rule.signal
    reasons = {
        "it has several populations": len(circuit.populations) != 1,
        "its readout has a memory": bool(network.kappa),
        "it has delays": any(w.source.delays != (1,) for w in network.recurrent),
        "weights keep their sign (Dale's law)": any(w.spec.sign is not None for w in network.learned),
        "weights are kept synapse by synapse": bool(network.synapses),
        "somebody interferes with it, or it draws at random": bool(network.drawn) or bool(network.frozen),
    }
    cell = next(iter(circuit.populations.values())).cell
    one = cell.continuous and len(cell.states) == 1 and not cell.spiking and len(cell.inputs) == 1
    one = one and not (cell.noises or cell.jumps or cell.sends)
    reasons["its cells are not rate cells of equations, one state without unit and one input"] = not one
    if one:
        written = cell.parsed.equations
        reasons["its cells are not rate cells of one state without unit"] = (
            written is not None and not written[cell.states[0]].dim.is_dimensionless
        )
    if said := [reason for reason, holds in reasons.items() if holds]:
        raise CircuitError(
            f"This circuit does not learn with a predictor in Brian2: {said[0]}. What does is one population of leaky_rate, or of a cell like it, with a linear readout; all "
            "others learn by the same rule with bp.train."
        )
    ok = (
        isinstance(signal, BPLambda)
        and signal.trace == "local"
        and signal.jacobian in ("exact", "random", "within")
        and not signal.context
    )
    if (
        not isinstance(signal, BPLambda)
        or not ok
        or not isinstance(signal.of(network), Linear)
        or not isinstance(rule.eligibility, EProp)
    ):
        raise RuleError(
            "In Brian2 a predictor learns by bp.rule('bp_lambda', trace='local', eligibility='eprop', schedule='online'), linear, with jacobian='exact', 'random' or 'within'; "
            f"this is {rule.name or signal!r} with other options."
        )
    return signal


class _Made:
    """The groups and synapses."""

    def __init__(
        self, network: Built, signal: BPLambda, batch: Batch, rates: Mapping[str, float], own: Owns, form: str
    ) -> None:
        self.built, self.signal, self.form = network, signal, form
        self.cell: Cell = next(iter(network.circuit.populations.values())).cell
        self.dt = network.circuit.dt * 1e3  # ms
        self.clock = Clock(network.circuit.dt * brian2.second)
        self.n = network.populations[0].size
        T, trials = batch.steps, batch.size
        self.shape, self.steps = (T, trials), T * trials

        def told(array: Tensor) -> np.ndarray:
            """(time, trial, …) → one trial after the other."""
            return np.swapaxes(array.double().cpu().numpy(), 0, 1).reshape(T * trials, -1)

        first, last = np.zeros((2, trials, T))
        first[:, 0], last[:, -1] = 1, 1
        gamma = in_time.left(signal.discount, signal.tau_gamma, network)
        lmbda = in_time.left(signal.lmbda, signal.tau_lambda, network)
        self.by, self.eta = rates, rates.get("predictor.A", 0.0)
        array = lambda values: TimedArray(values, dt=self.clock.dt)  # noqa: E731
        self.given = {
            "first_": array(first.ravel()), "last_": array(last.ravel()), "given_": array(told(batch.inputs)), "wanted_": array(told(batch.targets)),
            "counts_": array(told(batch.weight)[:, 0]), "gamma_": gamma, "keep_": gamma * lmbda, "s_": signal.injection, "ms_": 1 * brian2.ms, "dt_": self.dt,
            "eta_": self.eta, "fade_": -np.log(gamma) / self.dt, "forget_": -np.log(gamma * lmbda) / self.dt if gamma * lmbda else np.inf,
        }  # fmt: skip
        self.cortex = self._cortex()
        self.lines = self._group("input", network.circuit.inputs, "y_ = given_(t, i) : 1")
        self.one = self._group("constant", 1, "y_ : 1\nhl_ : 1")
        for name in ("y_", "hl_"):
            self.one.variables[name].set_value(1.0)
        self.names = {self.cortex: "cortex", self.lines: "input", self.one: "constant"}
        self.readout = self._readout()
        self.synapses: dict[str, Synapses] = {}
        self._afferents()
        self._efferents()
        self._predictor(own)
        self.monitor = StateMonitor(self.readout, "o_", record=True, when="end", clock=self.clock, name="seen")
        everything = [self.cortex, self.lines, self.one, self.readout, *self.synapses.values(), self.monitor]
        self.network = Network(*everything)

    def _group(self, name: str, size: int, model: Any, **more: Any) -> NeuronGroup:
        return NeuronGroup(size, model, namespace=self.given, clock=self.clock, name=f"{name}*", **more)

    # -- neurons -------------------------------------------------------------------------------------------------------------

    def _cortex(self) -> NeuronGroup:
        cell, d = self.cell, self.cell.derived
        assert cell.parsed.equations is not None and cell.parsed.output is not None
        (x,), (I,) = cell.states, cell.inputs
        values = {**{k: plain(v) for k, v in cell.constants.items()}, "dt": self.built.circuit.dt}
        entries = {name: each for p in d.propagators for name, each in propagated(p, values).numbers.items()}
        flow = expression(cell.parsed.equations[x].expr.code).value
        text = lambda e: sympy_to_str(for_brian(e))  # noqa: E731
        here = {after(x): symbol(x)}
        written, model = declared(cell, cell.parsed.equations), []
        used = {str(s) for e in (flow, *d.psi, d.F[0][0], d.G[0][0]) for s in e.free_symbols} | cell.parsed.output.names
        model += [
            declaration(n, v, " (constant)") for n, v in cell.parameters.items() if n in used and n not in written
        ]
        model += [f"{name} : 1 (constant)" for name in entries]
        model += [f"y_ = {cell.parsed.output.brian} : 1", f"slope_ = {text(substituted(d.psi[0], here))} : 1"]
        model += [
            f"{name} : 1"
            for name in (
                "said_",
                "count_",
                "fed_",
                "rec_",
                "bias_",
                "hl_",
                "yl_",
                "sl_",
                "D_",
                "G_",
                "told_",
                "dx_",
                "dy_",
                "back_",
                "future_",
            )
        ]
        model += [
            f"{name} : 1" for name in ("gx_", "gxl_", "gy_", "gyl_", "cx_", "cy_", "cxl_", "cyl_", "rise_", "send_")
        ]
        model += [
            f"speed_ = ({text(flow)})*ms_ : 1",
            f"leak_ = ({text(sp.diff(flow, symbol(x)))})*ms_ : 1",
            f"gain_ = ({text(sp.diff(flow, symbol(I)))})*ms_ : 1",
        ]
        group = self._group("cortex", self.n, written + "\n".join(model), method=cell.method)
        unit = cell.channels[I]
        stands, regularly = self.built.start(1).populations[0], group.run_regularly
        anew = {x: float(stands.s[0][0, 0]), "said_": float(stands.y[0][0, 0])}
        begin = "\n".join(f"{name} = {name}*(1 - first_(t)) + first_(t)*{value!r}" for name, value in anew.items())
        regularly(begin, when="start", clock=self.clock)
        code = [
            f"{I} = {unit!r}*(fed_ + rec_ + bias_)", f"hl_ = {x}", "yl_ = said_", "sl_ = slope_", f"D_ = {text(d.F[0][0])}", f"G_ = {unit!r}*({text(d.G[0][0])})",
        ]  # fmt: skip
        regularly("\n".join(code), when="groups", order=-5, clock=self.clock)
        regularly("said_ = y_\ncount_ += y_", when="after_groups", order=-7, clock=self.clock)
        on = "(1 - last_(t))"
        if self.form == "map":
            # gx_, gy_ are at h_t, gxl_, gyl_ at h_{t−1}; c: what the constant adds
            toward = f"send_ = {on}*gamma_*(gx_ + cx_) + slope_*(told_ + {on}*gamma_*(gy_ + cy_))"
            regularly(
                f"{toward}\ndx_ = D_*send_ - gxl_ - cxl_\nsend_ = G_*send_",
                when="after_groups",
                order=-3,
                clock=self.clock,
            )
            down = "dy_ = back_ - gyl_ - cyl_"
        else:
            doya = f"{on}*(slope_*(told_ + gy_ + cy_)/dt_ + rise_ + (leak_ - fade_)*(gx_ + cx_)) - last_(t)*(gx_ + cx_)/dt_"
            regularly(f"dx_ = {doya}\nsend_ = gain_*(gx_ + cx_)", when="after_groups", order=-3, clock=self.clock)
            down = f"dy_ = {on}*back_ - (gy_ + cy_)/dt_"
        regularly(f"{down}\nfuture_ = s_*{on}*(gy_ + cy_)", when="after_groups", order=-1, clock=self.clock)
        for name, value in {
            n: v for n, v in cell.parameters.items() if n in group.variables and n in used | {*group.equations}
        }.items():
            group.variables[name].set_value(np.broadcast_to(plain(value), self.n))
        for name, value in entries.items():
            group.variables[name].set_value(np.broadcast_to(value, self.n))
        return group

    def _readout(self) -> NeuronGroup:
        group = self._group(
            "readout", self.built.circuit.readout.size, "sum_ : 1\nbias_ : 1\no_ = sum_ + bias_ : 1\nerror_ : 1"
        )
        group.run_regularly("error_ = counts_(t)*(o_ - wanted_(t, i))", when="after_groups", order=-5, clock=self.clock)
        return group

    # -- synapses ------------------------------------------------------------------------------------------------------------

    def _put(
        self,
        name: str,
        source: NeuronGroup,
        target: NeuronGroup,
        model: str,
        W: np.ndarray | None,
        slots: dict[str, tuple[str, int]],
    ) -> Synapses:
        """Synapses [post, pre], all of them or those that the circuit's mask leaves; summed variables each in its slot."""
        made = Synapses(source, target, model, namespace=self.given, clock=self.clock, name=f"{name}*", method="euler")
        mask = self.built.masks.get(name)
        there = np.ones((len(target), len(source)), bool) if mask is None else mask.cpu().numpy().astype(bool)
        j, i = np.nonzero(there)
        made.connect(i=i, j=j)
        if W is not None:
            made.variables["w"].set_value(W.reshape(there.shape)[j, i])
        for variable, updater in made.summed_updaters.items():
            updater.when, updater.order = slots[variable]
        self.synapses[name] = made
        return made

    def _weights(self, name: str) -> np.ndarray:
        return self.built.weights[name].double().cpu().numpy()

    def _afferents(self) -> None:
        """What drives the cortex, with e-prop's traces."""
        learned = [w.spec.name for w in self.built.learned]
        for w in self.built.wired:
            name, recurrent = w.spec.name, w in self.built.recurrent
            source = self.cortex if recurrent else self.lines if w.spec.source == INPUT else self.one
            said = "said__pre" if recurrent else "y__pre"
            onto = {"cortex": "rec_", "input": "fed_"}.get(self.names[source], "bias_")
            model, slots = f"w : 1\neps : 1\n{onto}_post = w*{said} : 1 (summed)", {f"{onto}_post": ("groups", -6)}
            if recurrent and self.signal.jacobian == "exact":
                model, slots = f"{model}\n{BACK}", slots | BACKWARDS
            made = self._put(name, source, self.cortex, model, self._weights(name), slots)
            made.run_regularly("eps *= 1 - first_(t)", when="start", clock=self.clock)
            made.run_regularly(f"eps = D__post*eps + G__post*{said}", when="groups", order=-4, clock=self.clock)
            if self.by.get(name) and name in learned:
                change = f"w -= {self.by[name]!r}*slope__post*(told__post + future__post)*eps"
                made.run_regularly(change, when="after_groups", order=0, clock=self.clock)

    def _efferents(self) -> None:
        """The readout, which tells its error back by the same weights."""
        model = "w : 1\nsum__post = w*y__pre : 1 (summed)\ntold__pre = w*error__post : 1 (summed)"
        slots = {"sum__post": ("after_groups", -6), "told__pre": ("after_groups", -4)}
        made = {"W_out": self._put("W_out", self.cortex, self.readout, model, self._weights("W_out"), slots)}
        if "b_out" in self.built.weights:
            model, W = "w : 1\nbias__post = w*y__pre : 1 (summed)", self._weights("b_out")
            made["b_out"] = self._put("b_out", self.one, self.readout, model, W, {"bias__post": ("after_groups", -6)})
        for name, each in made.items():
            if self.by.get(name):
                change = f"w -= {self.by[name]!r}*error__post*y__pre"
                each.run_regularly(change, when="after_groups", order=0, clock=self.clock)

    def _predictor(self, own: Owns) -> None:
        """Its rows for states and outputs of all neurons, onto which every feature has a synapse; and the way back for what it says."""
        n, x = self.n, self.cell.states[0]
        A, b = (theta(own)[name].double().cpu().numpy() for name in ("A", "b"))
        features = {"x": (f"{x}_pre", "hl__pre", "speed__pre"), "y": ("y__pre", "yl__pre", "slope__pre*speed__pre")}
        rows = {"xx": A[:n, :n], "xy": A[:n, n:], "yx": A[n:, :n], "yy": A[n:, n:]}
        self._rows("parallel_fibres", self.cortex, features, rows, ("gx_", "gy_", "gxl_", "gyl_", "rise_"))
        rows = {"xc": b[:n, None], "yc": b[n:, None]}
        self._rows("tonic", self.one, {"c": ("y__pre", "hl__pre", "")}, rows, ("cx_", "cy_", "cxl_", "cyl_", ""))
        if self.signal.jacobian == "random":
            for w in self.built.recurrent:
                V = own["feedback"][w.spec.name].double().cpu().numpy()
                self._put(f"feedback_{w.spec.name}", self.cortex, self.cortex, f"w : 1\n{BACK}", V, BACKWARDS)

    def _rows(
        self,
        name: str,
        source: NeuronGroup,
        features: dict[str, tuple[str, str, str]],
        rows: dict[str, np.ndarray],
        onto: tuple[str, str, str, str, str],
    ) -> None:
        """Synapses of some features (as they are, as they were, how fast they go) onto the rows of x and of y of every neuron."""
        gx, gy, gxl, gyl, rise = onto
        sums = {
            gx: [f"Ax{f}*{now}" for f, (now, _, _) in features.items()],
            gy: [f"Ay{f}*{now}" for f, (now, _, _) in features.items()],
        }
        if self.form == "map":
            sums |= {
                gxl: [f"Ax{f}*{old}" for f, (_, old, _) in features.items()],
                gyl: [f"Ay{f}*{old}" for f, (_, old, _) in features.items()],
            }
        elif rise:
            sums[rise] = [f"Ax{f}*{speed}" for f, (_, _, speed) in features.items()]
        model = [f"{variable}_post = {' + '.join(terms)} : 1 (summed)" for variable, terms in sums.items()]
        code = []
        for f, (now, old, _) in features.items():
            if self.form == "map":
                model += [f"{variable}{f} : 1" for variable in ("Ax", "Ay", "e", "m")]
                code += [
                    f"e{f} = m{f} + {old}", f"Ax{f} += eta_*(dx__post*e{f} + dy__post*sl__post*m{f})", f"Ay{f} += eta_*dy__post*{old}", f"m{f} = keep_*D__post*e{f}",
                ]  # fmt: skip
            else:
                per_ms = "/ms_ : 1 (clock-driven)"
                model += [
                    f"de{f}/dt = ((leak__post - forget_)*e{f} + {now}){per_ms}", f"dAx{f}/dt = eta_/dt_*(dx__post + slope__post*dy__post)*e{f}{per_ms}",
                    f"dAy{f}/dt = eta_*dy__post*{now}{per_ms}",
                ]  # fmt: skip
        made = self._put(
            name,
            source,
            self.cortex,
            "\n".join(model),
            None,
            {f"{variable}_post": ("after_groups", -4) for variable in sums},
        )
        traces = [f"{trace}{f}" for f in features for trace in (("e", "m") if self.form == "map" else ("e",))]
        made.run_regularly("\n".join(f"{trace} *= 1 - first_(t)" for trace in traces), when="start", clock=self.clock)
        if code:
            made.run_regularly("\n".join(code), when="after_groups", order=0, clock=self.clock)
        else:
            updater: Any = made.state_updater
            updater.when, updater.order = "after_groups", 0
        j, i = np.nonzero(np.ones((self.n, len(source))))
        for row, W in rows.items():
            made.variables[f"A{row}"].set_value(W[j, i])

    # -- what comes of it ----------------------------------------------------------------------------------------------------

    def learned(self) -> Learned:
        T, trials = self.shape
        o = np.asarray(self.monitor.o__).T
        outputs = np.full((trials * T, o.shape[1]), np.nan)
        outputs[: len(o)] = o
        wanted, counts = (self.given[name].values.reshape(trials * T, -1) for name in ("wanted_", "counts_"))
        loss = (counts[:, 0] * 0.5 * np.square(outputs - wanted).sum(-1)).reshape(trials, T).sum(1)
        weights = {name: self._matrix(name, "w").reshape(W.shape) for name, W in self.built.weights.items()}
        rows = [
            np.concatenate(
                [self._matrix("parallel_fibres", f"A{row}x"), self._matrix("parallel_fibres", f"A{row}y")], 1
            )
            for row in ("x", "y")
        ]
        b = np.concatenate([self._matrix("tonic", f"A{row}c")[:, 0] for row in ("x", "y")])
        seen = outputs.reshape(trials, T, -1).swapaxes(0, 1)
        x, y, count = (
            self.cortex.variables[name].get_value().copy() for name in (self.cell.states[0], "said_", "count_")
        )
        return Learned(weights, np.concatenate(rows), b, seen, loss, x, y, float(count.mean()) / len(o), self.network)

    def _matrix(self, name: str, variable: str) -> np.ndarray:
        """[post, pre], 0 where there is no synapse."""
        made = self.synapses[name]
        found = np.zeros((len(made.target), len(made.source)))
        found[np.asarray(made.j), np.asarray(made.i)] = made.variables[variable].get_value()
        return found
