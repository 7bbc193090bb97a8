"""A loss for outputs of several areas, each asked by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from bioplaus.tasks.losses import Loss

if TYPE_CHECKING:
    from torch import Tensor


class EachCrossEntropy(Loss):
    """Σ_k −Σ y_k log softmax(o_k) over ``parts`` of the outputs, equally many in each; its score is the accuracy of the last part.

    Targets are one-hot where a part is asked and 0 where it is not, so that at a step any of them may be asked (`Readout` with ``apart=True``).
    """

    name = "each_cross_entropy"
    kind: ClassVar = "real"
    score_name = "accuracy"
    higher_is_better = True
    measures, scores = ("cross-entropy", "nats"), ("accuracy", "fraction")

    def __init__(self, parts: int) -> None:
        self.parts = parts

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        o, y = (each.unflatten(-1, (self.parts, -1)) for each in (outputs, targets))
        return -(y * torch.nn.functional.log_softmax(o, -1)).sum((-2, -1))

    def error(self, outputs: Tensor, targets: Tensor) -> Tensor:
        o, y = (each.unflatten(-1, (self.parts, -1)) for each in (outputs, targets))
        return (torch.nn.functional.softmax(o, -1) * y.sum(-1, keepdim=True) - y).flatten(-2)

    def score(self, outputs: Tensor, targets: Tensor, weight: Tensor) -> float:
        """Where the last part is asked."""
        o, y = (each.unflatten(-1, (self.parts, -1))[..., -1, :] for each in (outputs, targets))
        asked = weight * y.sum(-1)
        right = (o.argmax(-1) == y.argmax(-1)).to(weight.dtype)
        return float((asked * right).sum() / asked.sum())
