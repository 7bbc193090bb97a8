"""Predictors whose derivatives autograd finds: the base of those that say what they say by more than one layer of one kind.

Σ u·∂g/∂θ      one reverse pass                                     ``gradient``
∂g/∂θ          `torch.func.jacrev`, sample by sample                ``jacobian``
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch

from bioplaus.cerebellum.base import Predictor
from bioplaus.own import Gradients, Own

if TYPE_CHECKING:
    from torch import Tensor


class Differentiated(Predictor):
    """A predictor that is written as a function of its tensors."""

    @abstractmethod
    def says(self, tensors: Mapping[str, Tensor], h: Tensor) -> Tensor:
        """g, (…, outputs), of tensors by name, in operations that autograd and `torch.func` know."""

    def predict(self, theta: Own, h: Tensor) -> Tensor:
        return self.says({**theta.learned, **theta.fixed}, h)

    def gradient(self, theta: Own, h: Tensor, u: Tensor) -> Gradients:
        return pulled(self.says, theta, h, u)

    def jacobian(self, theta: Own, h: Tensor) -> Gradients:
        def one(learned: dict[str, Tensor], x: Tensor) -> Tensor:
            return self.says({**learned, **theta.fixed}, x[None])[0]

        return torch.func.vmap(torch.func.jacrev(one), in_dims=(None, 0))(dict(theta.learned), h)


def pulled(says: Callable[[Mapping[str, Tensor], Tensor], Tensor], theta: Own, h: Tensor, u: Tensor) -> Gradients:
    """Σ u·∂says/∂θ over all leading dimensions, zero for what has no part in it."""
    with torch.enable_grad():
        free = {name: value.detach().requires_grad_() for name, value in theta.learned.items()}
        said = says({**free, **theta.fixed}, h.detach())
        found = torch.autograd.grad(said, list(free.values()), u.detach(), allow_unused=True)
    return {n: torch.zeros_like(theta[n]) if g is None else g for n, g in zip(free, found, strict=True)}
