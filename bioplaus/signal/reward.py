"""What one reward tells about the error of every output: three-factor learning (Fiete & Seung 2006, doi:10.1103/PhysRevLett.97.048104).

The readout explores, o_t + σ ξ_t with independent signs ξ_t^k = ±1. To first order in σ the reward (the loss with its sign
turned), measured in units of σ, changes by::

    r_t = −ξ_t·δ_t                                          one number for all neurons and outputs        (1)
    δ̂_t = −r_t ξ_t = ξ_t (ξ_t·δ_t),     E[δ̂_t] = E[ξ_t ξ_tᵀ] δ_t = δ_t                                   (2)
    L_t = Cᵀ δ̂_t = −r_t · Cᵀξ_t             reward × what each neuron knows of the exploration            (3)

and the third factor is the eligibility that meets L_t. The variance of δ̂_t^k is Σ_{l≠k} (δ_t^l)²: with a single output the
reward tells its error exactly.

=======  ============  ==========================
symbol   variable      shape
=======  ============  ==========================
ξ        ``xi``        (time, batch, output), ±1
δ        ``error``     (time, batch, output)
δ̂        result        (time, batch, output)
=======  ============  ==========================

Differs from the paper: the outputs explore, not the neurons, and the limit σ → 0 is taken on paper, so that the trajectory
stays the one without exploration. All numbers are without unit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bioplaus.streams import branch

if TYPE_CHECKING:
    from torch import Tensor


__all__ = ["branch", "estimate", "signs"]


def signs(generator: torch.Generator, like: Tensor) -> Tensor:
    """ξ, shaped like ``like`` (time, batch, output), on its device.

    Drawn on the CPU, step by step: windows of any length then use up the generator alike, whatever torch does within a call.
    """
    drawn = [torch.randint(2, like.shape[1:], generator=generator) for _ in range(like.shape[0])]
    return torch.stack(drawn).to(like).mul_(2).sub_(1)


def estimate(error: Tensor, xi: Tensor) -> Tensor:
    """(2): δ̂ from the reward that ξ earned."""
    reward = -(xi * error).sum(-1, keepdim=True)
    return -reward * xi
