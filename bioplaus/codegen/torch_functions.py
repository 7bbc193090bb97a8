"""Functions of generated torch source that torch lacks, or has with another derivative than the partials (`bioplaus.symbolic.functions`)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bioplaus.codegen.kernel import hard_spike
from bioplaus.symbolic.functions import NEAR, TERMS


def heaviside(x: Tensor) -> Tensor:
    """1 where x > 0; torch's own has no derivative, where ours is 0."""
    return hard_spike(x.detach())


def reached(x: Tensor) -> Tensor:
    """1 where x ≥ 0."""
    return hard_spike(x.detach(), True)


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x))."""
    return torch.logaddexp(x, torch.zeros_like(x))


def larger(a: Any, b: Any) -> Tensor:
    """The larger of two, of which either may be a number; torch's own shares the derivative out where they are equal."""
    return torch.where(a > b, a, b)


def smaller(a: Any, b: Any) -> Tensor:
    """The smaller of two."""
    return torch.where(a < b, a, b)


def exprel(x: Tensor) -> Tensor:
    """(exp(x) − 1) / x, and 1 at 0."""
    return _Exprel.apply(x)  # pyright: ignore[reportReturnType]


def exprel_slope(x: Tensor) -> Tensor:
    """Its derivative, (x exp(x) − exp(x) + 1) / x²: as a sum where that would be noise."""
    near = x.abs() < NEAR
    far, close = torch.where(near, 1.0, x), torch.where(near, x, 0.0)
    total = torch.full_like(x, TERMS[-1])
    for term in reversed(TERMS[:-1]):
        total = total * close + term
    return torch.where(near, total, (far.exp() * (far - 1) + 1) / (far * far))


class _Exprel(torch.autograd.Function):
    """With the slope of `exprel_slope`, for autograd would differentiate the quotient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.where(x == 0, 1.0, torch.expm1(x) / x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0] * exprel_slope(ctx.saved_tensors[0])

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        return tangents[0] * exprel_slope(ctx.saved_tensors[0])


#: by the names that `bioplaus.codegen.torch_printer` writes
KNOWN = {f.__name__: f for f in (heaviside, reached, softplus, larger, smaller, exprel, exprel_slope)}
