"""Golgi cells: how strongly granule cells are driven at all, and which part of them is active.

One activity a for all of them, a leaky mean of what granule cells said before, and a threshold for each granule cell::

    g_j(t) = [u_j(t) − θ_j − c a(t−1)]₊ / (1 + s a(t−1))                                      (1)
    a(t) = ρ a(t−1) + (1 − ρ) mean_j g_j(t),         ρ = exp(−dt/τ)                            (2)
    Δθ_j ∝ P(g_j > 0) − f                                                                      (3)

(3) is slow and local, and moves every granule cell towards being active in a fraction f of all steps. It follows no gradient of any loss, but
stands among gradients with its sign turned, so that an optimiser moves θ at a rate of its own (``lr={"cerebellum.golgi": 1e-2}``), and a
perturbation freezes it.

======  =====================  ==================
symbol  variable               shape
======  =====================  ==================
u       ``u``                  (…, granule cell)
θ       ``golgi.threshold``    (granule cell,)
c, s    ``subtractive``, ``divisive``
a       ``a``                  (batch, 1)
======  =====================  ==================
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Golgi:
    """(1) to (3).

    Parameters
    ----------
    subtractive, divisive : c and s; 0: no gain control.
    active : f; None: no thresholds.
    rectify : whether rates end at 0; if not, (1) goes without its bracket.
    """

    subtractive: float
    divisive: float
    active: float | None
    rectify: bool

    @property
    def gain(self) -> bool:
        """Whether it has any."""
        return bool(self.subtractive or self.divisive)

    def rates(self, u: Tensor, threshold: Tensor | None, a: Tensor | None, on: Tensor | None = None) -> Tensor:
        """(1) at one step, or at many where there is no gain; ``on`` (…, 1) is 0 where Golgi cells are silenced, and θ and a with them."""
        if threshold is not None:
            u = u - (threshold if on is None else threshold * on)
        if self.gain and a is not None:
            a = a if on is None else a * on
            u = (u - self.subtractive * a) / (1 + self.divisive * a)
        return torch.relu(u) if self.rectify else u

    def run(self, u: Tensor, threshold: Tensor | None, a: Tensor | None, tau: float, on: Tensor) -> tuple[Tensor, ...]:
        """Granule cells' rates (time, batch, granule cell), a before each step (time, batch, 1), and a behind the last.

        ``tau`` in steps, ``on`` (time, 1, 1).
        """
        last: Tensor = u.new_zeros(u.shape[1], 1) if a is None else a
        if not self.gain:
            return self.rates(u, threshold, None, on), last.expand(len(u), -1, -1), last
        rho, g, before = exp(-1 / tau) if tau else 0.0, [], []
        for now, there in zip(u, on, strict=True):
            before.append(last * there)
            g.append(self.rates(now, threshold, last, there))
            last = rho * last + (1 - rho) * g[-1].mean(-1, keepdim=True)
        return torch.stack(g), torch.stack(before), last

    def homeostasis(self, g: Tensor, on: Tensor) -> Tensor:
        """Σ over time and batch of f − 1[g > 0], where Golgi cells are there to change anything."""
        assert self.active is not None
        return ((self.active - (g > 0).to(g.dtype)) * on).flatten(0, -2).sum(0)
