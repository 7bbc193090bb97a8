"""A built circuit beside a cerebellum that drives it: the last of its input lines bring what that says (`bioplaus.cerebellum.driver`).

What is said follows from the state behind the step before, so that it is written beside the input as the steps are taken. A stretch keeps the inputs
as they were then: for weights, Jacobians and traces they are inputs like any other, and no rule need know.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from bioplaus.cerebellum.base import born
from bioplaus.cerebellum.driver import CerebellarDrive
from bioplaus.cerebellum.seen import Seen
from bioplaus.cerebellum.trial import Trial
from bioplaus.circuit.dale import conductances
from bioplaus.circuit.delays import timeless
from bioplaus.circuit.description import INPUT
from bioplaus.circuit.network import Network, State, Step
from bioplaus.errors import CircuitError
from bioplaus.own import Gradients, Own

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from bioplaus.circuit.trajectory import Stretch
    from bioplaus.tasks import Batch


def met(network: Network, drive: CerebellarDrive) -> Trial:
    """What a cerebellum that drives is told of a trial.

    Raises
    ------
    CircuitError
        If it can't serve the circuit.
    """
    for p in network.circuit.projections:
        onto = sorted({*(p.channels or ())} & conductances(network.circuit.populations[p.target].cell))
        if p.source == INPUT and onto:
            raise CircuitError(
                f"What a cerebellum says may be below 0, and projection {p.name} leads it to conductances ({', '.join(onto)} of population '{p.target}'), which are never negative. "
                "Lead the input to a current: Projection(…, channels=('I',)), or a cell with external=('I',)."
            )
    populations = [network.circuit.populations[network.populations[s].name] for s in network.sources]
    timed = not any(timeless(p.cell) for p in network.circuit.populations.values())
    trial = Trial(sum(p.size for p in populations), network.circuit.readout.size, network.circuit.dt, timed)
    if drive.predictor is not None and (reason := drive.predictor.refuse(trial)):
        raise CircuitError(f"A cerebellar drive can't serve this circuit: {reason}.")
    return trial


def weights(network: Network, drive: CerebellarDrive, generator: torch.Generator) -> Own:
    """θ; of what has nothing to learn, none."""
    trial = met(network, drive)
    if drive.predictor is None:
        return Own()
    seen = Seen(trial.inputs, outputs=trial.outputs, dtype=network.dtype, device=network.device)
    return born(drive.predictor, seen, generator)


class Beside(Network):
    """A network that shares its weights with another and hears what a cerebellum says of its states.

    Parameters
    ----------
    theta : the cerebellum's, as `weights` has made them; they are read anew at every step.
    """

    drives = "some of its input is what a cerebellum says of its states"

    def __init__(self, network: Network, drive: CerebellarDrive, theta: Own) -> None:
        self.__dict__.update(network.__dict__)  # weights, masks and synapses are the same objects
        self.base, self.drive_by, self.theta = network, drive, theta
        self.trial = met(network, drive)
        #: where what it says stands among the input lines
        self.columns = slice(self.circuit.inputs - self.trial.outputs, self.circuit.inputs)

    def __reduce__(self) -> Any:
        return Beside, (self.base, self.drive_by, self.theta)

    def given(self, x: Tensor, blocks: Callable[..., tuple[Tensor, ...]] | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Inputs of the stretch's own, which its steps write into."""
        x = x.clone()
        return x, (x,)

    def advance(self, state: State, drive: tuple[Tensor, ...], differentiable: bool = False) -> Step:
        (x,) = drive
        x[..., self.columns], memory = self.said(torch.cat(self.read(state), -1)[None], state.beside)
        step = super().advance(state, super().drive(x), differentiable)
        return step._replace(after=step.after._replace(beside=memory))

    def said(self, read: Tensor, memory: Any = None) -> tuple[Tensor, Any]:
        """c of consecutive states that the readout has seen, (time, batch, unit), and what is remembered behind the last; (1)."""
        g = self.drive_by.predictor
        if g is None:
            return self.output(read), None
        seen, memory = g.relay(self.theta, g.start(self.trial) if memory is None else memory, read)
        return g.say(self.theta, memory, seen, memory.at - len(seen)), memory

    def taught(
        self,
        batch: Batch,
        stretches: Sequence[Stretch],
        error: Callable[[Tensor, Tensor], Tensor],
        olive: torch.Generator,
    ) -> Gradients:
        """Gradients of (2) or (3) of `bioplaus.cerebellum.driver` by name, means over the batch, along a whole sequence; ``error`` is ∂ℓ/∂o.

        ``olive`` is where climbing fibres draw from.
        """
        g, B = self.drive_by.predictor, batch.size
        if g is None:
            return {}
        behind = torch.cat([stretch.seen() for stretch in stretches])
        read = torch.cat([torch.cat(self.read(self.start(B)), -1)[None], behind[:-1]])
        seen, memory = g.relay(self.theta, g.start(replace(self.trial, generator=olive)), read)
        said = g.say(self.theta, memory, seen, memory.at - len(seen))
        off, when = self.drive_by.off(said, batch.targets, batch.weight, error)
        found = g.aside(self.theta, memory)
        if len(when):
            heard, memory = g.hear(self.theta, memory, -off)
            found |= g.gradient(self.theta, seen[when], -heard)
        return {name: value / B for name, value in found.items()}
