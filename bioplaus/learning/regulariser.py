"""A rate regulariser: neurons that are too quiet or too loud are held to account for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from bioplaus import checks
from bioplaus.circuit.network import Network
from bioplaus.circuit.trajectory import pieces
from bioplaus.errors import RuleError
from bioplaus.tasks import Batch, Loss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RateRegulariser:
    """½ · strength · Σ_j (f_j − f₀)², f_j the mean output of neuron j over steps and batch (Bellec et al. 2020, eq. 54).

    Its credit for every output is strength · (f_j − f₀)/T, on the unfiltered eligibility. ``target`` is in outputs per step.
    """

    target: float
    strength: float

    constraints = checks.Table(RuleError, target=checks.Real(), strength=checks.Real(least=0))

    def __post_init__(self) -> None:
        checks.settle(self)

    def credit(self, mean: Tensor, steps: int) -> Tensor:
        return self.strength * (mean - self.target) / steps

    def value(self, mean: Tensor) -> float:
        return float(self.strength * (mean - self.target).square().sum()) / 2


def penalised(network: Network, batch: Batch, loss: Loss, regulariser: RateRegulariser | None) -> float:
    """The mean loss over a batch, and what the regulariser adds to it."""
    outputs, sums = [], [torch.zeros(p.size, dtype=network.dtype, device=network.device) for p in network.populations]
    for each in pieces(network, batch.inputs):
        outputs.append(network.output(each.seen()))
        for i, total in enumerate(sums):
            total += each.spikes(i).sum((0, 1))
    asked, o = batch.weight.any(-1), torch.cat(outputs)
    value = float((loss.value(o[asked], batch.targets[asked]) * batch.weight[asked]).sum()) / batch.size
    if regulariser is not None:
        value += sum(regulariser.value(total / (batch.steps * batch.size)) for total in sums)
    return value
