"""A rate regulariser: neurons that are too quiet or too loud are held to account for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from bioplaus import checks
from bioplaus.circuit.network import Network
from bioplaus.circuit.trajectory import pieces
from bioplaus.errors import RuleError
from bioplaus.learning.training import Training
from bioplaus.learning.voltage import VoltageRegulariser
from bioplaus.tasks import Batch, Loss

if TYPE_CHECKING:
    from torch import Tensor

OVER = ("batch", "trial")


@dataclass(frozen=True)
class RateRegulariser:
    """½ · strength · Σ_j (f_j − f₀)², f_j the mean output of neuron j over steps (Bellec et al. 2020, eq. 54).

    Its credit for every output is strength · (f_j − f₀)/T, on the unfiltered eligibility.

    Parameters
    ----------
    target : f₀, in outputs per step.
    strength : how much it counts.
    over : ``"batch"``: f is the mean over the batch too; ``"trial"``: each trial has its own f, and the penalty is the mean over trials,
        as NEST computes it.
    """

    target: float
    strength: float
    over: Literal["batch", "trial"] = "batch"

    constraints = checks.Table(RuleError, target=checks.Real(), strength=checks.Real(least=0), over=checks.Word(OVER))

    def __post_init__(self) -> None:
        checks.settle(self)

    def credit(self, mean: Tensor, steps: int) -> Tensor:
        return self.strength * (mean - self.target) / steps

    @property
    def apart(self) -> bool:
        """Whether each trial has its own rate."""
        return self.over == "trial"

    def total(self, outputs: Tensor) -> Tensor:
        """Σ over time, and over the batch unless trials are apart, of outputs (time, batch, unit)."""
        return outputs.sum(0) if self.apart else outputs.sum((0, 1))

    def value(self, mean: Tensor) -> float:
        """The penalty, of means (unit,) or (batch, unit)."""
        return float(self.strength * (mean - self.target).square().sum(-1).mean()) / 2


def regularisers(network: Network, training: Training) -> tuple[RateRegulariser | None, VoltageRegulariser | None]:
    """What a training asks for of a network; None where the strength is 0.

    Raises
    ------
    RuleError
        If the network has no membranes that a voltage could be held against.
    """
    t = training
    rate = (
        RateRegulariser(t.rate_target * network.circuit.dt, t.rate_strength, t.rate_over) if t.rate_strength else None
    )
    voltage = VoltageRegulariser(t.voltage_strength * t.loss_weight(network.circuit.dt)) if t.voltage_strength else None
    if voltage is not None:
        voltage.refuse(network)
    return rate, voltage


def penalised(
    network: Network,
    batch: Batch,
    loss: Loss,
    rate: RateRegulariser | None,
    voltage: VoltageRegulariser | None,
    backend: str = "torch",
) -> float:
    """The mean loss over a batch, and what regularisers add to it."""
    outputs, sums, more = [], [0.0 for _ in network.populations], 0.0
    for each in pieces(network, batch.inputs, backend=backend, states=False, u=voltage is not None):
        outputs.append(each.output())
        if rate is not None:
            sums = [total + rate.total(each.spikes(i)) for i, total in enumerate(sums)]
        if voltage is not None:
            more += voltage.value(network, each)
    asked, o = batch.weight.any(-1), torch.cat(outputs)
    value = float((loss.value(o[asked], batch.targets[asked]) * batch.weight[asked]).sum()) / batch.size
    if rate is not None:
        count = batch.steps * (1 if rate.apart else batch.size)
        value += sum(rate.value(torch.as_tensor(total) / count) for total in sums)
    return value + more / batch.size
