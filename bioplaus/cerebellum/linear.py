"""g = A h + b: parallel fibres straight onto the output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from bioplaus.capacity import lacking
from bioplaus.cerebellum.base import Predictor
from bioplaus.cerebellum.seen import Seen
from bioplaus.errors import RuleError
from bioplaus.own import Gradients, Own

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Linear(Predictor):
    """g = h Aᵀ + b, zero-initialised: parallel fibres straight onto the output."""

    @property
    def affine(self) -> bool:
        return True

    def features(self, theta: Own, h: Tensor) -> Tensor:
        return h

    def init(self, seen: Seen, generator: torch.Generator) -> Own:
        return Own(last_layer(seen.outputs, seen.inputs, seen.dtype, seen.device))

    def predict(self, theta: Own, h: Tensor) -> Tensor:
        return h @ theta["A"].T + theta["b"]

    def gradient(self, theta: Own, h: Tensor, u: Tensor) -> Gradients:
        return {"A": u.flatten(0, -2).T @ h.flatten(0, -2), "b": u.flatten(0, -2).sum(0)}

    def jacobian(self, theta: Own, h: Tensor) -> Gradients:
        outputs = theta["b"].shape[0]
        eye = torch.eye(outputs, dtype=h.dtype, device=h.device)
        return {"A": eye[:, :, None] * h[:, None, None, :], "b": eye.expand(h.shape[0], -1, -1)}

    def describe(self) -> dict[str, Any]:
        return {"predictor": "linear"}


def last_layer(outputs: int, features: int, dtype: Any, device: Any) -> dict[str, Tensor]:
    """A and b, zero: nothing is predicted before anything was learned.

    Raises
    ------
    RuleError
        If memory can't hold them.
    """
    shapes = {"A": (outputs, features), "b": (outputs,)}
    needs = {f"its last layer ({outputs} × {features})": outputs * features * torch.finfo(dtype).bits // 8}
    if reason := lacking(needs, torch.device(device)):
        raise RuleError(f"The predictor {reason} Use a smaller circuit, or a rule without a predictor, such as eprop.")
    return {name: torch.zeros(shape, dtype=dtype, device=device) for name, shape in shapes.items()}
