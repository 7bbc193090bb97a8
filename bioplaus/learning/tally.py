"""What a sequence gave, and what is added up on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from bioplaus.circuit.network import Network, State
from bioplaus.circuit.trajectory import Stretch
from bioplaus.own import Gradients
from bioplaus.tasks import Batch, Loss

if TYPE_CHECKING:
    from torch import Tensor


#: steps whose loss is computed at a time, so that copies of outputs and targets do not grow with time  # chosen: more is not faster
LONG = 1000


@dataclass
class Outcome:
    """What a sequence gave.

    Attributes
    ----------
    gradients : of the readout's and all learned weights, mean over the batch; zeros where no credit came.
    own : of the rule's own tensors (predictor, feedback) by path, mean over the batch.
    loss : mean over the batch of Σ_t weight·loss.
    outputs : (time, batch, output).
    rates : mean output of every population, per step.
    info : means of what the signal reported, over the windows in which it did.
    state : of the circuit behind the last step.
    stretches : the trajectory, if it was to be kept.
    last : its last step.
    """

    gradients: Gradients
    own: Gradients
    loss: float
    outputs: Tensor
    rates: dict[str, float]
    info: dict[str, float]
    state: State
    stretches: list[Stretch]
    last: Stretch


@dataclass
class Tally:
    """What is added up on the way."""

    #: of each neuron's outputs, per population, (unit,), or (batch, unit) where trials are apart or a loop has counted
    sums: list[Tensor]
    outputs: Tensor  # (time, batch, output), of steps that are still to come not yet anything
    totals: tuple[Gradients, Gradients] = field(default_factory=lambda: ({}, {}))
    #: Σ over windows of what the signal reported, and of how many
    reported: dict[str, tuple[float | Tensor, int]] = field(default_factory=dict)
    stretches: list[Stretch] = field(default_factory=list)
    last: Stretch | None = None

    def count(self, stretch: Stretch, apart: bool) -> None:
        """Add what neurons said."""
        if stretch.rolled is not None and stretch.rolled.counts is not None:
            self.sums = stretch.rolled.counts
            return
        for i, total in enumerate(self.sums):
            total += stretch.spikes(i).sum(0 if apart else (0, 1))

    def note(self, info: Mapping[str, float | Tensor]) -> None:
        """Add what a signal reports of a window, without reading it: tensors in double precision, as numbers of Python are."""
        for name, value in info.items():
            total, count = self.reported.get(name, (0.0, 0))
            self.reported[name] = total + (value.double() if isinstance(value, torch.Tensor) else value), count + 1

    def outcome(self, network: Network, batch: Batch, loss: Loss, state: State) -> Outcome:
        assert self.last is not None
        o, (T, B) = self.outputs, batch.inputs.shape[:2]
        steps = batch.weight.any(-1).nonzero().flatten().split(LONG)
        value = float(torch.cat([loss.value(o[t], batch.targets[t]) * batch.weight[t] for t in steps]).sum()) / B
        populations = zip(network.populations, self.sums, strict=True)
        return Outcome(
            *(mean(total, B) for total in self.totals),
            loss=value,
            outputs=o,
            rates={p.name: float(total.mean()) / (T * B if total.dim() == 1 else T) for p, total in populations},
            info={name: float(total) / count for name, (total, count) in self.reported.items()},
            state=state,
            stretches=self.stretches,
            last=self.last.part(slice(-1, None)),
        )


def add(total: Gradients, new: Gradients) -> None:
    for name, g in new.items():
        total[name] = total[name] + g if name in total else g


def mean(total: Gradients, batch: int, in_place: bool = False) -> Gradients:
    """Of a batch; each in one piece, as torch's fused optimisers take gradients to be."""
    return {name: g.div_(batch) if in_place and g.is_contiguous() else g / batch for name, g in total.items()}
