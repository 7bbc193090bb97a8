"""Parallel fibres that learn from complex spikes, as synapses of Brian2 that do something at spikes only (`bioplaus.eligibility.two_stage`).

A synapse knows e₁, e₂ and the weight as they were when it last saw a spike of either side, n steps ago. Meanwhile, with a = exp(−dt/τ)::

    e₂ ← aⁿ (e₂ + n (dt/τ) e₁),   e₁ ← aⁿ e₁,   w ← w + η r₀ dt Σ_{k=1..n} e₂(k)                              (1)
    Σ_{k=1..n} aᵏ (e₂ + k (dt/τ) e₁) = e₂ S₀(n) + (dt/τ) e₁ S₁(n)
    S₀ = a (1 − aⁿ)/(1 − a),   S₁ = a (1 − (n + 1) aⁿ + n aⁿ⁺¹)/(1 − a)²                                       (2)

A spike that arrives is then heard through w, and e₁ += 1; a complex spike takes η e₂ of w, which keeps its sign. That is the rule of every step, summed
up to when somebody looks: the numbers are those of ``schedule="online"`` in torch, to rounding.

Complex spikes are events of the Purkinje cells beside their own spikes: a spike of the olive raises a flag, the flag is the event. Slots of a step are those
of `bioplaus.brian.twin`, and within ``synapses``: spikes arrive (order 0), flags are looked at (1), complex spikes are heard (2), flags fall (3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import brian2
import numpy as np
import torch
from brian2 import Clock, NeuronGroup, Synapses

from bioplaus.brian import twin
from bioplaus.brian.make import Make
from bioplaus.brian.target import compiled
from bioplaus.eligibility import TwoStage
from bioplaus.errors import NumericalError
from bioplaus.signal.climbing import ClimbingFibres

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.circuit import Network
    from bioplaus.circuit.wiring import Wired, Wiring
    from bioplaus.rules import Rule

EVENT = "complex_spike"
#: (1) up to the step before this one; then what is heard, and this step's share
_SINCE = """passed_ = timestep(t, dt) - last_
before_ = (passed_ - 1)*int(passed_ > 0)
left_ = exp(-before_*step_)
more_ = gain_*(second_*a_*(1 - left_)/(1 - a_) + first_*step_*a_*(1 - (before_ + 1)*left_ + before_*left_*a_)/(1 - a_)**2)
second_ = exp(-passed_*step_)*(second_ + passed_*step_*first_)
first_ = exp(-passed_*step_)*first_
last_ = timestep(t, dt)
now_ = gain_*second_*int(passed_ > 0)*int(timestep(t, dt) < until_)"""


class Taught(Make):
    """Makes a circuit of which one projection learns so.

    Parameters
    ----------
    rate : η.
    until : the step from which on nothing is learned.
    """

    def __init__(self, network: Network, rule: Rule, rate: float, until: int, **options: Any) -> None:
        super().__init__(**options)
        past, told = rule.eligibility, rule.signal
        assert isinstance(past, TwoStage) and isinstance(told, ClimbingFibres)
        fibres = past.fibres(network)
        assert fibres is not None
        self.fibres: Wired[Any] = fibres
        self.climbing, self.here = told.climbing, -1
        self.wired: Wired[Any] | None = None
        self.made: Synapses | None = None
        self.names: list[str] = []
        step = network.circuit.dt * 1e3 / past.tau
        self.space = {
            "step_": step, "a_": np.exp(-step), "eta_": rate, "gain_": rate * told.rate * network.circuit.dt, "until_": until,
            "sign_": fibres.spec.sign or 0,
        }  # fmt: skip

    def population(self, network: Network, p: Wiring) -> None:
        self.here += 1

    def projection(self, network: Network, w: Wired) -> None:
        self.wired = w

    def group(self, size: int, model: Any, **options: Any) -> NeuronGroup:
        if self.here != self.fibres.target:
            return super().group(size, model, **options)
        made = super().group(size, model + "\nclimbed_ : 1", events={EVENT: "climbed_ > 0.5"}, **options)
        made.set_event_schedule(EVENT, when="synapses", order=1)
        made.run_on_event(EVENT, "climbed_ = 0", when="synapses", order=3)
        return made

    def synapses(self, source: NeuronGroup, target: NeuronGroup, model: str, **options: Any) -> Synapses:
        assert self.wired is not None
        if self.wired.spec.name == self.climbing:
            options["on_pre"] += "\nclimbed__post = 1"
        if self.wired.spec.name != self.fibres.spec.name:
            return super().synapses(source, target, model, **options)
        self.names = weights = re.findall(r"^(w\w*) : 1 \(constant\)$", model, re.MULTILINE)
        model = re.sub(r"^(w\w*) : 1 \(constant\)$", r"\1 : 1", model, flags=re.MULTILINE)
        model += "\nfirst_ : 1\nsecond_ : 1\nlast_ : integer"
        grown, shown = [f"{w} += more_" for w in weights], [f"{w} += now_" for w in weights]
        fallen = [f"{w} -= eta_*second_*int(timestep(t, dt) < until_)" for w in weights]
        held = [f"{w} *= int(sign_*{w} > 0)" for w in weights] if self.fibres.spec.sign else []
        arrives = options.pop("on_pre")
        options["on_pre"] = "\n".join([_SINCE, *grown, arrives, *shown, "first_ += 1"])
        options["on_post"] = "\n".join([_SINCE, *grown, *shown, *fallen, *held])
        options["namespace"] = options["namespace"] | self.space
        made = super().synapses(source, target, model, on_event={"pre": "spike", "post": EVENT}, **options)
        made.post.when, made.post.order = "synapses", 2
        self.made = made
        return made

    def weights(self, steps: int) -> np.ndarray:
        """(channel, synapse) when so many of Brian2's steps are over: (1), for what a synapse has not seen any spike since."""
        assert self.made is not None
        first, second, last = (self.made.variables[name].get_value() for name in ("first_", "second_", "last_"))
        n, a, step = np.maximum(steps - 1.0 - last, 0.0), self.space["a_"], self.space["step_"]
        left = np.exp(-n * step)
        sums = second * a * (1 - left) / (1 - a)
        sums += first * step * a * (1 - (n + 1) * left + n * left * a) / (1 - a) ** 2
        return np.stack([self.made.variables[name].get_value() + self.space["gain_"] * sums for name in self.names])


@dataclass(frozen=True)
class Lesson:
    """What a trial gave.

    Attributes
    ----------
    spikes : (time, unit) of every population, 0 or 1.
    weights : (channel, synapse) of the parallel fibres, as they are kept.
    states : of every population, those of its cell at the end, (unit,) each.
    """

    spikes: list[np.ndarray]
    weights: np.ndarray
    states: list[list[np.ndarray]]


def lesson(network: Network, rule: Rule, inputs: Tensor, rate: float, target: str = "numpy") -> Lesson:
    """Run one trial while the weights of parallel fibres move at every spike; nothing is written back.

    Parameters
    ----------
    inputs : (time, 1, line), with what the circuit draws by itself.
    rate : learning rate.
    target : ``"numpy"`` or ``"cython"``.

    Raises
    ------
    NumericalError
        If a state or a weight is not finite at the end.
    """
    T, clock = inputs.shape[0], twin.clock(network)
    drives = [each.double().cpu().numpy() for each in network.drive(inputs)]
    with torch.no_grad(), compiled(target), np.errstate(all="ignore"):
        make = Taught(network, rule, rate, T - 1)
        groups, projections = twin.objects(network, drives, clock, None, make)
        raster = [brian2.SpikeMonitor(group) for group in groups]
        brian2.Network(*groups, *projections, *raster).run(T * clock.dt, namespace={})
        spikes = [_laid(monitor, T, clock) for monitor in raster]
        cells = [p.kernel.derived.states for p in network.populations]
        states = [[group.variables[s].get_value().copy() for s in each] for group, each in zip(groups, cells, strict=True)]  # fmt: skip
        found = Lesson(spikes, make.weights(T - 1), states)
    for p, each in zip(network.populations, states, strict=True):
        for name, values in zip(p.kernel.derived.states, each, strict=True):
            if not np.isfinite(values).all():
                raise NumericalError(
                    f"The simulation in Brian2 went wrong within {T} steps: variable '{name}' of population '{p.name}' is not finite in neuron "
                    f"{np.flatnonzero(~np.isfinite(values))[0]} at the end. Use a smaller dt or another integration method."
                )
    if not np.isfinite(found.weights).all():
        raise NumericalError(f"Learning in Brian2 went wrong: '{make.fibres.spec.name}' holds values that are not finite. Lower its learning rate.")  # fmt: skip
    return found


def _laid(monitor: brian2.SpikeMonitor, steps: int, clock: Clock) -> np.ndarray:
    """(time, unit), 0 or 1."""
    found = np.zeros((steps, len(monitor.source)))  # type: ignore[arg-type]
    found[np.rint(np.asarray(monitor.t_) / clock.dt_).astype(int), np.asarray(monitor.i)] = 1.0
    return found
