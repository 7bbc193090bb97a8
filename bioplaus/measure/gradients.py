"""Gradients as vectors, and what is measured of them.

At an update, with g_r the gradient of rule r, b that of backpropagation through time (BPTT), m and s² the mean and the variance
(divisor n − 1) of n independent draws of a gradient that random numbers enter:

    cosine          g_r·b / |g_r||b|                                                            (1)
    pairwise        g_r·g_o / |g_r||g_o|                                                        (2)
    norm ratio      |g_r| / |b|                                                                 (3)
    relative error  max |g_r − b| / max |b|                                                     (4)
    deviation       √s² / |b|,      s² = Σ_d |g_d − m|² / (n − 1)                               (5)
    bias            √max(0, |m − b|² − s²/n) / |b|                                              (6)

The mean of n draws misses the expected gradient by s²/n in the mean of squares, for want of draws and not of truth: (6) takes that
part off before the root. What is left is an unbiased estimate of the squared bias, and may be negative where there is none; it
stands under ``bias_squared`` as it came out, so that it can be averaged. A rule without random numbers is one draw: its bias is
|g − b|/|b|, its deviation 0. All are without unit, NaN where a gradient that is divided by vanishes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from bioplaus.circuit import Network

if TYPE_CHECKING:
    from torch import Tensor

READOUT = ("W_out", "b_out")
#: what the weights of the circuit are called together, those of the readout left out
ALL = "all"

MEASURES = {
    "cosine": "cosine with the gradient of BPTT",
    "norm_ratio": "norm over that of BPTT's gradient",
    "relative_error": "largest elementwise difference over the largest entry of BPTT's gradient",
    "bias": "norm of the expected gradient's difference from BPTT's, over the norm of BPTT's",
    "bias_squared": "estimate of the squared bias; negative where draws happen to lie closer than they scatter",
    "deviation": "root mean square deviation of a draw from the mean of draws, over the norm of BPTT's gradient",
}


class Vectors:
    """A network's gradients as vectors: the circuit's weights first, the readout's last.

    Attributes
    ----------
    parts : where each weight stands, and under ``"all"`` those of the circuit.
    """

    def __init__(self, network: Network) -> None:
        weights = network.parameters()
        self._sizes = {n: w.numel() for n, w in sorted(weights.items(), key=lambda pair: pair[0] in READOUT)}
        self.parts: dict[str, slice] = {}
        at = 0
        for name, size in self._sizes.items():
            self.parts[name] = slice(at, at + size)
            at += size
        self.parts[ALL] = slice(0, sum(size for name, size in self._sizes.items() if name not in READOUT))

    def of(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """(weights,), float64 on the CPU; zero where a rule has no gradient."""
        parts = [
            gradients[n].flatten().double().cpu() if n in gradients else torch.zeros(size, dtype=torch.float64)
            for n, size in self._sizes.items()
        ]
        return torch.cat(parts)


def compared(
    vectors: Vectors, found: Tensor, reference: int, random: Sequence[bool], drawn: Mapping[int, Tensor]
) -> dict[str, Tensor]:
    """(1) to (6) of the gradients of all rules at one update.

    Parameters
    ----------
    found : (rule, weights), one gradient of every rule.
    reference : which of them is BPTT's.
    random : of every rule, whether random numbers enter its gradient.
    drawn : rule → further gradients of it, (draw, weights); of those that draw, where draws are wanted.

    Returns
    -------
    {measure: (rule, weight)}; ``pairwise``: (rule, other, weight).
    """
    columns: dict[str, list[Tensor]] = {kind: [] for kind in ("pairwise", *MEASURES)}
    for where in vectors.parts.values():
        rows = found[:, where]
        true, both = rows[reference], cosines(rows)
        spread = [
            scatter(drawn[i][:, where], true) if i in drawn else alone(row, true, random[i])
            for i, row in enumerate(rows)
        ]
        squared, deviation = (torch.stack(values) for values in zip(*spread, strict=True))
        measured = {
            "pairwise": both,
            "cosine": both[:, reference],
            "norm_ratio": over(rows.norm(dim=1), true.norm()),
            "relative_error": over(largest(rows - true), largest(true)),
            "bias": squared.clamp_min(0).sqrt(),
            "bias_squared": squared,
            "deviation": deviation,
        }
        for kind, value in measured.items():
            columns[kind].append(value)
    return {kind: torch.stack(values, -1) for kind, values in columns.items()}


def cosines(rows: Tensor) -> Tensor:
    """(1) and (2): between every two of several vectors (rule, weights); NaN with one that vanishes."""
    scaled = rows / largest(rows).unsqueeze(1)  # squares of what credit is left after many steps would underflow
    unit = scaled / scaled.norm(dim=1, keepdim=True)
    both = (unit @ unit.T).clamp(-1.0, 1.0)
    own = both.diagonal()
    own.copy_(torch.where(own.isnan(), own, 1.0))  # to the last digit
    return both


def scatter(draws: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """(6), squared and not yet cut at 0, and (5), of draws (draw, weights)."""
    n, mean = len(draws), draws.mean(0)
    variance = (draws - mean).square().sum() / (n - 1)
    squared = (mean - true).square().sum() - variance / n
    size = true.norm()
    return over(squared, size.square()), over(variance.sqrt(), size)


def alone(row: Tensor, true: Tensor, random: bool) -> tuple[Tensor, Tensor]:
    """The same of one gradient: exact where no random number entered it, unknown (NaN) where one did."""
    if random:
        unknown = torch.tensor(float("nan"), dtype=row.dtype)
        return unknown, unknown
    size = true.norm()
    return over((row - true).norm(), size).square(), over(torch.zeros_like(size), size)


def largest(rows: Tensor) -> Tensor:
    """Largest absolute entry along the last dimension; 0 where it is empty."""
    return rows.abs().amax(-1) if rows.shape[-1] else rows.new_zeros(rows.shape[:-1])


def over(a: Tensor, b: Tensor) -> Tensor:
    """a/b, and NaN where b is zero."""
    return torch.where(b > 0, a / b, float("nan"))
