"""Losses of one step, each with its derivative written out: a rule that runs forward needs no autograd.

| loss                   | value (outputs o, targets y) | error ∂value/∂o  | targets          | score        |
|------------------------|------------------------------|------------------|------------------|--------------|
| `squared`              | ½ Σ (o − y)²                 | o − y            | real             | r.m.s. error |
| `cross_entropy`        | log Σ exp o − o_y            | softmax(o) − 1_y | one class, int64 | accuracy     |
| `soft_cross_entropy`   | −Σ y log softmax(o)          | softmax(o) − y   | a distribution   | nats         |
| `binary_cross_entropy` | Σ log(1 + exp o) − y o       | σ(o) − y         | from 0 to 1      | bits         |

Sums run over the outputs, the last dimension. All other dimensions are kept, so one step (batch, output) and
many steps (time, batch, output) are the same call. The loss of a batch is mean_batch Σ_t weight·value.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from bioplaus.errors import TaskError

if TYPE_CHECKING:
    from torch import Tensor


class Loss:
    """A loss of one step.

    A loss of one's own gives `name`, `kind` (what targets it takes), `value`, and `error` if autograd is not to
    find it; its score is then its own weighted mean, lower being better. `kind` is ``"real"`` (any finite
    numbers), ``"binary"`` (numbers in [0, 1]), ``"distribution"`` (such numbers, adding up to 1 over the
    outputs) or ``"index"`` (int64, one class per step and sample). `check_loss` holds `error` against `value`.
    """

    name = "loss"
    kind: ClassVar[Literal["real", "binary", "distribution", "index"]] = "real"
    score_name: ClassVar[str] = "loss"
    higher_is_better: ClassVar[bool] = False
    #: for axes: what the value and the score are, and in what unit; "" for arbitrary ones
    measures: ClassVar[tuple[str, str]] = ("loss", "")
    scores: ClassVar[tuple[str, str]] = ("loss", "")

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss per step and sample: (…, output) → (…)."""
        raise TaskError(
            f"The loss {type(self).__name__} has no method value(outputs, targets); write one that returns the loss of each step and "
            "sample, (…, output) → (…), such as 0.5 * (outputs - targets).square().sum(-1)."
        )

    def error(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Derivative of `value` with respect to the outputs: (…, output) → (…, output); by autograd where a loss doesn't write it out."""
        with torch.inference_mode(False), torch.enable_grad():
            o = outputs.detach().clone().requires_grad_()
            value = self.value(o, targets.clone()).sum()
            if not value.requires_grad:
                raise TaskError(
                    f"autograd doesn't see how the loss {type(self).__name__} computes its value (it leaves torch, or detaches), so its derivative is not "
                    "known. Write value(outputs, targets) with torch's functions alone, or the derivative out as error(outputs, targets)."
                )
            (found,) = torch.autograd.grad(value, o)
        return found

    def total(self, outputs: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
        """Loss of a batch, mean_batch Σ_t weight·value: one number."""
        return (weight * self.value(outputs, targets)).sum(0).mean()

    def score(self, outputs: Tensor, targets: Tensor, weight: Tensor) -> float:
        """Mean of the value over all asked steps, NaN if none is; outputs (time, batch, output), weight (time, batch)."""
        return float((weight * self.value(outputs, targets)).sum() / weight.sum())

    def __eq__(self, other: object) -> bool:  # a loss that came back from another process is still the same
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return self.name


class Squared(Loss):
    """½ Σ (o − y)²; its score is the r.m.s. error of one output at the asked steps."""

    name = "squared"
    score_name = "r.m.s. error"
    measures, scores = ("½ squared error", "a.u.²"), ("r.m.s. error", "a.u.")

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 0.5 * self.error(outputs, targets).square().sum(-1)

    def error(self, outputs: Tensor, targets: Tensor) -> Tensor:
        _same_shape(self.name, outputs, targets)
        return outputs - targets

    def score(self, outputs: Tensor, targets: Tensor, weight: Tensor) -> float:
        return (2.0 * super().score(outputs, targets, weight) / outputs.shape[-1]) ** 0.5


class CrossEntropy(Loss):
    """log Σ exp o − o_y; its score is the fraction of asked steps whose largest output is the right one."""

    name = "cross_entropy"
    kind = "index"
    score_name = "accuracy"
    higher_is_better = True
    measures, scores = ("cross-entropy", "nats"), ("accuracy", "fraction")

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        _one_class_each(self.name, outputs, targets)
        return -torch.nn.functional.log_softmax(outputs, -1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)

    def error(self, outputs: Tensor, targets: Tensor) -> Tensor:
        _one_class_each(self.name, outputs, targets)
        index = targets.unsqueeze(-1)
        # p_y − 1 is written as −Σ of the other probabilities: exact also where p_y rounds to 1.
        others = torch.nn.functional.softmax(outputs, -1).scatter(-1, index, 0.0)
        return others.scatter(-1, index, -others.sum(-1, keepdim=True))

    def score(self, outputs: Tensor, targets: Tensor, weight: Tensor) -> float:
        right = (outputs.argmax(-1) == targets).to(weight.dtype)
        return float((weight * right).sum() / weight.sum())


class SoftCrossEntropy(Loss):
    """−Σ y log softmax(o) with a distribution as target; its score is that in nats per asked step.

    It is least where softmax(o) = y, and then the entropy of the target.
    """

    name = "soft_cross_entropy"
    kind = "distribution"
    score_name = "nats"
    measures, scores = ("cross-entropy", "nats"), ("cross-entropy", "nats")

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        _same_shape(self.name, outputs, targets)
        return -(targets * torch.nn.functional.log_softmax(outputs, -1)).sum(-1)

    def error(self, outputs: Tensor, targets: Tensor) -> Tensor:
        _same_shape(self.name, outputs, targets)
        p = torch.nn.functional.softmax(outputs, -1)
        # p − y = p Σ_others y − y Σ_others p: keeps its relative precision where y is 1 and p rounds to 1.
        return p * _sum_of_others(targets) - targets * _sum_of_others(p)


class BinaryCrossEntropy(Loss):
    """Σ log(1 + exp o) − y o; its score is that in bits per output and asked step, 1 at chance."""

    name = "binary_cross_entropy"
    kind = "binary"
    score_name = "bits"
    measures, scores = ("cross-entropy", "nats"), ("cross-entropy", "bits")

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        _same_shape(self.name, outputs, targets)
        # log(1 + exp o) − y o without the overflow of exp at large o or the cancellation at y = 1.
        return (outputs.clamp(min=0) - outputs * targets + torch.log1p(torch.exp(-outputs.abs()))).sum(-1)

    def error(self, outputs: Tensor, targets: Tensor) -> Tensor:
        _same_shape(self.name, outputs, targets)
        # σ(o) − y = (1 − y) σ(o) − y σ(−o): keeps its relative precision where σ(o) rounds to 1.
        return (1 - targets) * torch.sigmoid(outputs) - targets * torch.sigmoid(-outputs)

    def score(self, outputs: Tensor, targets: Tensor, weight: Tensor) -> float:
        return super().score(outputs, targets, weight) / (log(2) * outputs.shape[-1])


squared = Squared()
cross_entropy = CrossEntropy()
soft_cross_entropy = SoftCrossEntropy()
binary_cross_entropy = BinaryCrossEntropy()

#: those that are shipped
ALL: tuple[Loss, ...] = (squared, cross_entropy, soft_cross_entropy, binary_cross_entropy)


def _sum_of_others(array: Tensor) -> Tensor:
    """For each entry of the last dimension the sum of all the others, added up without the entry itself."""
    size = array.shape[-1]
    return array @ (1 - torch.eye(size, dtype=array.dtype, device=array.device))


def _same_shape(name: str, outputs: Tensor, targets: Tensor) -> None:
    """Refuse shapes that would otherwise be broadcast into a wrong loss."""
    if outputs.shape != targets.shape:
        raise TaskError(
            f"The loss '{name}' compares outputs and targets of the same shape, but was given outputs of "
            f"shape {tuple(outputs.shape)} and targets of shape {tuple(targets.shape)}."
        )


def _one_class_each(name: str, outputs: Tensor, targets: Tensor) -> None:
    if outputs.shape[:-1] != targets.shape or targets.dtype != torch.int64:
        raise TaskError(
            f"The loss '{name}' takes one class index (int64) per step and sample: for outputs of shape "
            f"{tuple(outputs.shape)} that is targets of shape {tuple(outputs.shape[:-1])}, but it was given "
            f"{tuple(targets.shape)} of type {targets.dtype}."
        )
