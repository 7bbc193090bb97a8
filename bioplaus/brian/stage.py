"""What the pieces of a network with a predictor (`bioplaus.brian.predictor`) share: clock, inputs and targets, constants, and how they are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import brian2
import numpy as np
from brian2 import Clock, NeuronGroup, Synapses, TimedArray

from bioplaus.signal import BPLambda, in_time

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.circuit import Network
    from bioplaus.tasks import Batch

Form: TypeAlias = Literal["map", "equations"]
Slot: TypeAlias = tuple[str, int]  # when, order


class Stage:
    """Makes groups and synapses, all of them with the same clock and constants.

    Attributes
    ----------
    given : what equations and statements read by name: inputs, targets, what steps count, where trials begin and end, and constants.
    rates : of plain descent, by path; what has none stays.
    synapses : those that were made, by name.
    """

    def __init__(
        self, network: Network, signal: BPLambda, batch: Batch, rates: Mapping[str, float], form: Form
    ) -> None:
        self.network, self.signal, self.form, self.rates = network, signal, form, rates
        self.clock = Clock(network.circuit.dt * brian2.second)
        self.trials, self.per_trial = batch.size, batch.steps
        self.synapses: dict[str, Synapses] = {}
        first, last = np.zeros((2, self.trials, self.per_trial))
        first[:, 0], last[:, -1] = 1, 1
        self.given: dict[str, Any] = {
            "first_": self._timed(first.ravel()), "last_": self._timed(last.ravel()), "given_": self._timed(_in_a_row(batch.inputs)),
            "wanted_": self._timed(_in_a_row(batch.targets)), "counts_": self._timed(_in_a_row(batch.weight)[:, 0]),
        }  # fmt: skip
        dt = network.circuit.dt * 1e3  # ms
        gamma = in_time.left(signal.discount, signal.tau_gamma, network)
        keep = gamma * in_time.left(signal.lmbda, signal.tau_lambda, network)
        self.given |= {"gamma_": gamma, "keep_": keep, "s_": signal.injection, "ms_": 1 * brian2.ms, "dt_": dt}
        self.given |= {"fade_": _rate(gamma, dt), "forget_": _rate(keep, dt)}

    @property
    def steps(self) -> int:
        """Of all trials."""
        return self.trials * self.per_trial

    def rate(self, path: str) -> float:
        return self.rates.get(path, 0.0)

    def group(self, name: str, size: int, model: Any, **more: Any) -> NeuronGroup:
        return NeuronGroup(size, model, namespace=self.given, clock=self.clock, name=f"{name}*", **more)

    def regularly(self, group: NeuronGroup | Synapses, code: list[str], when: str, order: int = 0) -> None:
        """Statements of every step."""
        group.run_regularly("\n".join(code), when=when, order=order, clock=self.clock)

    def put(
        self,
        name: str,
        source: NeuronGroup,
        target: NeuronGroup,
        model: list[str],
        W: np.ndarray | None = None,
        slots: Mapping[str, Slot] | None = None,
    ) -> Synapses:
        """Synapses [post, pre], all of them or those that the circuit's mask leaves, with weights w; summed variables each in its slot."""
        made = Synapses(source, target, "\n".join(model), namespace=self.given, clock=self.clock, name=f"{name}*", method="euler")  # fmt: skip
        mask = self.network.masks.get(name)
        there = np.ones((len(target), len(source)), bool) if mask is None else mask.cpu().numpy().astype(bool)
        j, i = np.nonzero(there)
        made.connect(i=i, j=j)
        if W is not None:
            made.variables["w"].set_value(W.reshape(there.shape)[j, i])
        for variable, updater in made.summed_updaters.items():
            updater.when, updater.order = (slots or {})[variable]
        self.synapses[name] = made
        return made

    def matrix(self, name: str, variable: str) -> np.ndarray:
        """[post, pre] of a variable of synapses, 0 where there is none."""
        made = self.synapses[name]
        found = np.zeros((len(made.target), len(made.source)))
        found[np.asarray(made.j), np.asarray(made.i)] = made.variables[variable].get_value()
        return found

    def _timed(self, values: np.ndarray) -> TimedArray:
        return TimedArray(values, dt=self.clock.dt)


def _in_a_row(array: Tensor) -> np.ndarray:
    """(time, trial, …) → one trial after the other."""
    each = np.swapaxes(array.double().cpu().numpy(), 0, 1)
    return each.reshape(each.shape[0] * each.shape[1], -1)


def _rate(factor: float, dt: float) -> float:
    """1/τ of what is left of 1 after a step."""
    return -np.log(factor) / dt if factor else np.inf
