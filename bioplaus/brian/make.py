"""What the twin asks of Brian2, each thing in one place, so that it can be written down as it is done (`bioplaus.brian.script`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from brian2 import Clock, NetworkOperation, NeuronGroup, Synapses, TimedArray, second

from bioplaus.circuit import Network
from bioplaus.circuit.wiring import Wired, Wiring
from bioplaus.errors import CircuitError


class Make:
    """Makes Brian2's objects.

    Parameters
    ----------
    options : of every `NeuronGroup` and `Synapses`, such as ``codeobj_class``.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options

    def population(self, network: Network, p: Wiring) -> None:
        """The neurons of a population come next."""

    def projection(self, network: Network, w: Wired) -> None:
        """The synapses of a projection come next."""

    def timed(self, values: np.ndarray, clock: Clock, owner: str, called: str) -> TimedArray:
        """Numbers (step, neuron) that the neurons of ``owner`` are given."""
        return TimedArray(values, dt=clock.dt)

    def group(self, size: int, model: Any, **options: Any) -> NeuronGroup:
        return NeuronGroup(size, model, **options, **self.options)

    def synapses(self, source: NeuronGroup, target: NeuronGroup, model: str, **options: Any) -> Synapses:
        return Synapses(source, target, model, **options, **self.options)

    def regularly(self, group: NeuronGroup, code: str, clock: Clock, when: str, order: int = 0) -> None:
        group.run_regularly(code, when=when, order=order, clock=clock, **self.options)

    def early(self, synapses: Synapses) -> None:
        """Sum what synapses bring before anything else happens in a step."""
        for updater in synapses.summed_updaters.values():
            updater.when = "start"

    def connect(self, synapses: Synapses, i: np.ndarray, j: np.ndarray) -> None:
        synapses.connect(i=i, j=j)

    def delay(self, synapses: Synapses, seconds: np.ndarray) -> None:
        synapses.delay = seconds * second

    def set(self, group: Any, name: str, value: Any) -> None:
        """Give a variable a number, or one for each neuron or synapse, in SI units."""
        group.variables[name].set_value(value)

    def operation(self, group: NeuronGroup, what: Callable[[Any], None], clock: Clock, order: int) -> None:
        """Something in Python between integrator and threshold; no part of a standalone program (`refuse_python`)."""
        group.contained_objects.append(NetworkOperation(what, when="after_groups", order=order, clock=clock))


def refuse_python(network: Network) -> None:
    """Refuse what needs Python in every step, where Brian2 is to write a program of its own; before anything is made, as Brian2 forgets nothing.

    Raises
    ------
    CircuitError
    """
    held = [p.name for p in network.populations if p.clamped]
    if held:
        raise CircuitError(
            f"Somebody holds states of '{held[0]}' (a clamp), which is Python in every step of Brian2's, a NetworkOperation; Brian2 leaves those out of a "
            "standalone program without a word. Run it with target='numpy' or 'cython', or leave the clamp out of perturb=."
        )
