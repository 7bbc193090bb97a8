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
from typing import TYPE_CHECKING

import numpy as np
import torch
from brian2 import Network, NeuronGroup, StateMonitor

from bioplaus import checks
from bioplaus.brian import rows, taught
from bioplaus.brian.stage import Form, Stage
from bioplaus.cerebellum import Linear
from bioplaus.eligibility import EProp
from bioplaus.errors import CircuitError, RuleError
from bioplaus.own import Owns
from bioplaus.signal import BPLambda
from bioplaus.symbolic.runtime import runtime
from bioplaus.tasks import Batch

if TYPE_CHECKING:
    from bioplaus.circuit import Network as Built
    from bioplaus.rules import Rule

FORMS = ("map", "equations")


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
    form: Form = "map",
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
        stage = Stage(network, signal, batch, rates, form)
        cortex, readout, others = _made(stage, own)
        seen = StateMonitor(readout, "o_", record=True, when="end", clock=stage.clock, name="seen")
        everything = Network(cortex, readout, *others, *stage.synapses.values(), seen)
        everything.run((stage.steps if steps is None else steps) * stage.clock.dt, namespace={})
        return _learned(stage, cortex, np.asarray(seen.o__).T, everything)


def asked(network: Built, rule: Rule) -> BPLambda:
    """Refuse what has no such equations."""
    circuit, signal = network.circuit, rule.signal
    reasons = {
        "it has several populations": len(circuit.populations) != 1,
        "its readout has a memory": bool(network.kappa),
        "it has delays": any(w.source.delays != (1,) for w in network.recurrent),
        "weights keep their sign (Dale's law)": any(w.spec.sign is not None for w in network.learned),
        "weights are kept synapse by synapse": bool(network.synapses),
        "it draws at random, or somebody interferes with more than what learns (freeze)": bool(network.drawn),
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
            f"This circuit does not learn with a predictor in Brian2: {said[0]}. What does is one population of leaky_rate, or of a cell like it, with a linear readout; "
            "torch trains all others by the same rule: leave backend='brian2' out."
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


def _made(stage: Stage, own: Owns) -> tuple[NeuronGroup, NeuronGroup, list[NeuronGroup]]:
    """Cortex, readout, and what gives input; synapses are with the stage."""
    cortex, readout = taught.cortex(stage), taught.readout(stage)
    lines = stage.group("input", stage.network.circuit.inputs, "y_ = given_(t, i) : 1")
    one = stage.group("constant", 1, "y_ : 1\nhl_ : 1")
    for name in ("y_", "hl_"):
        one.variables[name].set_value(1.0)
    taught.afferents(stage, cortex, lines, one)
    taught.efferents(stage, cortex, readout, one)
    rows.predictor(stage, own, cortex, one)
    return cortex, readout, [lines, one]


def _learned(stage: Stage, cortex: NeuronGroup, seen: np.ndarray, network: Network) -> Learned:
    """What has come of it; outputs of steps that were not taken are nan."""
    trials, T = stage.trials, stage.per_trial
    outputs = np.full((trials * T, seen.shape[1]), np.nan)
    outputs[: len(seen)] = seen
    wanted, counts = (stage.given[name].values.reshape(trials * T, -1) for name in ("wanted_", "counts_"))
    loss = (counts[:, 0] * 0.5 * np.square(outputs - wanted).sum(-1)).reshape(trials, T).sum(1)
    weights = {name: stage.matrix(name, "w").reshape(W.shape) for name, W in stage.network.weights.items()}
    A, b = rows.learned(stage)
    x = next(iter(stage.network.circuit.populations.values())).cell.states[0]
    x, y, count = (cortex.variables[name].get_value().copy() for name in (x, "said_", "count_"))
    told = outputs.reshape(trials, T, -1).swapaxes(0, 1)
    return Learned(weights, A, b, told, loss, x, y, float(count.mean()) / len(seen), network)
