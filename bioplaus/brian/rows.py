"""The rows of a predictor (`bioplaus.brian.predictor`): every neuron's two, for its state and its output, onto which all features have synapses that learn by (3) and (4)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from brian2 import NeuronGroup

from bioplaus.brian.stage import Stage
from bioplaus.brian.taught import BACK, BACKWARDS
from bioplaus.own import Owns
from bioplaus.signal.synthetic import theta

#: synapses of states and outputs, and those of the constant
FIBRES, TONIC = "parallel_fibres", "tonic"


class Feature(NamedTuple):
    """What a source tells the predictor: as it is, as it was a step before, and how fast it goes, per ms; a name of one letter."""

    letter: str
    now: str
    was: str
    speed: str = ""


class Onto(NamedTuple):
    """The variables of a neuron in which features are summed up: rows of x and of y, as features are and as they were, and the rise of that of x."""

    x: str
    y: str
    x_was: str
    y_was: str
    rise: str = ""


def predictor(stage: Stage, own: Owns, cortex: NeuronGroup, one: NeuronGroup) -> None:
    """Its synapses, and, where they are fixed and random, those by which its error goes back."""
    n, x = len(cortex), next(iter(stage.network.circuit.populations.values())).cell.states[0]
    A, b = (theta(own)[name].double().cpu().numpy() for name in ("A", "b"))
    features = [Feature("x", f"{x}_pre", "hl__pre", "speed__pre"), Feature("y", "y__pre", "yl__pre", "slope__pre*speed__pre")]  # fmt: skip
    starts = {"xx": A[:n, :n], "xy": A[:n, n:], "yx": A[n:, :n], "yy": A[n:, n:]}
    _rows(stage, FIBRES, (cortex, cortex), features, starts, Onto("gx_", "gy_", "gxl_", "gyl_", "rise_"), stage.rate("predictor.A"))  # fmt: skip
    starts = {"xc": b[:n, None], "yc": b[n:, None]}
    constant = [Feature("c", "y__pre", "hl__pre")]
    _rows(stage, TONIC, (one, cortex), constant, starts, Onto("cx_", "cy_", "cxl_", "cyl_"), stage.rate("predictor.b"))
    if stage.signal.jacobian == "random":
        for w in stage.network.recurrent:
            V = own["feedback"][w.spec.name].double().cpu().numpy()
            stage.put(f"feedback_{w.spec.name}", cortex, cortex, ["w : 1", BACK], V, BACKWARDS)


def learned(stage: Stage) -> tuple[np.ndarray, np.ndarray]:
    """A and b as they have become."""
    rows = [np.concatenate([stage.matrix(FIBRES, f"A{row}{letter}") for letter in "xy"], 1) for row in "xy"]
    return np.concatenate(rows), np.concatenate([stage.matrix(TONIC, f"A{row}c")[:, 0] for row in "xy"])


def _rows(
    stage: Stage,
    name: str,
    ends: tuple[NeuronGroup, NeuronGroup],
    features: list[Feature],
    starts: dict[str, np.ndarray],
    onto: Onto,
    rate: float,
) -> None:
    """Synapses of some features onto both rows of every neuron."""
    map_ = stage.form == "map"
    sums = {onto.x: [f"Ax{f.letter}*{f.now}" for f in features], onto.y: [f"Ay{f.letter}*{f.now}" for f in features]}
    if map_:
        sums[onto.x_was] = [f"Ax{f.letter}*{f.was}" for f in features]
        sums[onto.y_was] = [f"Ay{f.letter}*{f.was}" for f in features]
    elif onto.rise:
        sums[onto.rise] = [f"Ax{f.letter}*{f.speed}" for f in features]
    model = [f"{variable}_post = {' + '.join(terms)} : 1 (summed)" for variable, terms in sums.items()]
    model.append("eta_ : 1 (shared, constant)")
    code: list[str] = []
    for f in features:
        (variables, statements) = _steps(f) if map_ else (_equations(f), [])
        model, code = [*model, *variables], [*code, *statements]
    made = stage.put(name, *ends, model, slots={f"{variable}_post": ("after_groups", -4) for variable in sums})
    made.variables["eta_"].set_value(rate)
    traces = [f"{trace}{f.letter}" for f in features for trace in (("e", "m") if map_ else ("e",))]
    stage.regularly(made, [f"{trace} *= 1 - first_(t)" for trace in traces], "start")
    if code:
        stage.regularly(made, code, "after_groups")
    else:
        updater: Any = made.state_updater
        updater.when, updater.order = "after_groups", 0
    j, i = np.nonzero(np.ones((len(ends[1]), len(ends[0]))))
    for row, W in starts.items():
        made.variables[f"A{row}"].set_value(W[j, i])


def _steps(f: Feature) -> tuple[list[str], list[str]]:
    """Variables and statements of the library's steps: e what meets the error now, m what is left of it in the next step."""
    e, m, Ax, Ay = (f"{variable}{f.letter}" for variable in ("e", "m", "Ax", "Ay"))
    moved = [f"{Ax} += eta_*(dx__post*{e} + dy__post*sl__post*{m})", f"{Ay} += eta_*dy__post*{f.was}"]
    return [f"{variable} : 1" for variable in (Ax, Ay, e, m)], [f"{e} = {m} + {f.was}", *moved, f"{m} = keep_*D__post*{e}"]  # fmt: skip


def _equations(f: Feature) -> list[str]:
    """(3) and (4)."""
    e, per_ms = f"e{f.letter}", "/ms_ : 1 (clock-driven)"
    return [
        f"d{e}/dt = ((leak__post - forget_)*{e} + {f.now}){per_ms}",
        f"dAx{f.letter}/dt = eta_/dt_*(dx__post + slope__post*dy__post)*{e}{per_ms}",
        f"dAy{f.letter}/dt = eta_*dy__post*{f.now}{per_ms}",
    ]
