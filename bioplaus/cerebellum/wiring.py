"""Which mossy fibres a granule cell hears: exactly so many, all different, and every fibre about as often as any other.

    u_j = 1/F Σ_{i ∈ S_j} m_i,        |S_j| = F                                              (1)

F = 4 in most species, 2 to 7 across them (Litwin-Kumar et al. 2017; Cayco-Gajic et al. 2017). Fibres are dealt out like cards: all in a random
order, F to each granule cell, then all again. So with F = 1 and as many granule cells as fibres each has one of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def dealt(cells: int, fibres: int, each: int, generator: torch.Generator) -> Tensor:
    """S, (cell, each): numbers of fibres."""
    hands = fibres // each
    rounds = -(-cells // hands)
    dealt = [torch.randperm(fibres, generator=generator)[: hands * each].view(hands, each) for _ in range(rounds)]
    return torch.cat(dealt)[:cells]


def matrix(S: Tensor, fibres: int) -> Tensor:
    """(1) as a matrix, (cell, fibre), float64."""
    M = torch.zeros(len(S), fibres, dtype=torch.float64)
    return M.scatter_(1, S, 1 / S.shape[1])


def some(shape: tuple[int, ...], part: float, generator: torch.Generator) -> Tensor:
    """1 for so large a part of the last dim, exactly, anew in every row, at least one; else 0. float64."""
    many = max(round(part * shape[-1]), 1)
    order = torch.rand(shape, generator=generator, dtype=torch.float64).argsort(-1)
    return torch.zeros(shape, dtype=torch.float64).scatter_(-1, order[..., :many], 1.0)
