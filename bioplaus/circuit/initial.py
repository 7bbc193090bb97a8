"""First weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def initial(
    shape: tuple[int, int], fan_in: int, init: str, gain: float, generator: torch.Generator, channels: int = 1
) -> Tensor:
    """Weights (channels · post, pre) in float64, drawn as `bioplaus.circuit.Projection` says of ``init``, for so many sources per neuron."""
    rows, pre = shape[0] // channels, shape[1]
    if init == "zeros" or fan_in == 0:
        return torch.zeros(shape, dtype=torch.float64)
    if init == "constant":
        return torch.full(shape, gain / fan_in, dtype=torch.float64)
    if init == "normal":
        return torch.randn(shape, generator=generator, dtype=torch.float64) * gain / fan_in**0.5
    if init == "orthogonal":
        tall = torch.randn(channels, max(rows, pre), min(rows, pre), generator=generator, dtype=torch.float64)
        Q, R = torch.linalg.qr(tall)
        Q = gain * Q * R.diagonal(dim1=-2, dim2=-1).sign()[:, None]  # uniform over all such matrices
        return (Q if rows >= pre else Q.mT).reshape(shape)
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
    if init == "uniform":
        return (2 * uniform - 1) * gain / fan_in**0.5
    other = torch.rand(shape, generator=generator, dtype=torch.float64)
    return -(uniform.clamp_min(1e-300).log() + other.clamp_min(1e-300).log()) / 2 * gain / fan_in  # gamma, shape 2
