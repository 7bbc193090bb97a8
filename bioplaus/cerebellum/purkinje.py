"""Purkinje cells, molecular-layer interneurons and deep nuclei: where it is learned, with weights that keep their sign.

Every output has a microzone, and with opponents a second one that pulls the other way, σ_z = +1 and −1. In each of them::

    P_z = Σ_j (w_zj − v_zj) g_j,         w, v ≥ 0        parallel fibres excite Purkinje cells, and inhibit them by interneurons     (1)
    d_z = T + b_z − P_z                                  deep nuclei, tonic and inhibited                                            (2)
    g(h) = Σ_z σ_z (d_z − T)                             what the cortex is sent                                                     (3)

so that g = A φ + b with φ the granule cells' rates, A = Σ_z σ_z (v_z − w_z) and b = Σ_z σ_z b_z. What raises the output depresses w of the first zone:

    ∂g/∂w_z = −σ_z φ,     ∂g/∂v_z = +σ_z φ,     ∂g/∂b_z = σ_z                                                                        (4)

After every update w and v below 0 become 0, and synapses that there are not stay 0. If T is given, nuclei end at rate 0: (2) becomes d_z = [T + b_z − P_z]₊,
g is no longer affine, and (4) holds where d_z > 0. Purkinje cells, which fire at some tens of Hz, are in their linear range throughout.

======  =====================  =========================
symbol  variable               shape
======  =====================  =========================
w       ``purkinje.w``         (zone, output, granule cell)
v       ``interneuron.v``      (zone, output, granule cell)
b       ``nuclei.b``           (zone, output)
        ``purkinje.mask``      (zone, output, granule cell), 1 or 0; absent where all are there
======  =====================  =========================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from bioplaus.own import Gradients, Own

if TYPE_CHECKING:
    from torch import Tensor

W, V, B, MASK = "purkinje.w", "interneuron.v", "nuclei.b", "purkinje.mask"


@dataclass(frozen=True)
class Zones:
    """(1) to (4).

    Parameters
    ----------
    opponent : two zones an output, or one.
    interneurons : whether there are v.
    signs : whether w and v are held at 0 or above.
    tonic : T; None: as high as it takes.
    plastic : whether b learns; else it is 0.
    """

    opponent: bool
    interneurons: bool
    signs: bool
    tonic: float | None
    plastic: bool

    @property
    def count(self) -> int:
        return 2 if self.opponent else 1

    def weights(self, outputs: int, cells: int, dtype: Any, device: Any) -> dict[str, Tensor]:
        """w, v and b, all 0: nothing is predicted before anything was learned."""
        zero = lambda *shape: torch.zeros(self.count, outputs, *shape, dtype=dtype, device=device)  # noqa: E731
        found = {W: zero(cells)}
        found |= {V: zero(cells)} if self.interneurons else {}
        return found | ({B: zero()} if self.plastic else {})

    def sigma(self, like: Tensor) -> Tensor:
        """σ, (zone,)."""
        return like.new_tensor([1.0, -1.0][: self.count])

    def effective(self, theta: Own) -> tuple[Tensor, Tensor | None]:
        """A (output, granule cell), and b (output,) where it learns."""
        P = theta[W] - theta[V] if self.interneurons else theta[W]
        sigma = self.sigma(P)
        b = torch.einsum("z,zo->o", sigma, theta[B]) if self.plastic else None
        return -torch.einsum("z,zon->on", sigma, P), b

    def nuclei(self, theta: Own, P: Tensor) -> Tensor:
        """d_z − T from P_z, (…, zone, output)."""
        d = (theta[B] if self.plastic else 0) - P
        return d if self.tonic is None else torch.relu(self.tonic + d) - self.tonic

    def purkinje(self, theta: Own, phi: Tensor, excited: bool = True, inhibited: bool = True) -> Tensor:
        """(1), or one half of it, (…, zone, output)."""
        found = torch.zeros((), dtype=phi.dtype, device=phi.device)
        if excited:
            found = torch.einsum("...n,zon->...zo", phi, theta[W])
        if inhibited and self.interneurons:
            found = found - torch.einsum("...n,zon->...zo", phi, theta[V])
        return found

    def say(self, theta: Own, phi: Tensor) -> Tensor:
        """(3), (…, output)."""
        if self.tonic is not None:
            return torch.einsum("z,...zo->...o", self.sigma(phi), self.nuclei(theta, self.purkinje(theta, phi)))
        A, b = self.effective(theta)
        g = phi @ A.T
        return g if b is None else g + b

    def open(self, theta: Own, phi: Tensor) -> Tensor | None:
        """Where d_z > 0, (…, zone, output), 1 or 0; None: everywhere."""
        if self.tonic is None:
            return None
        return (self.nuclei(theta, self.purkinje(theta, phi)) > -self.tonic).to(phi.dtype)

    def spread(self, theta: Own, A: Tensor, b: Tensor) -> Gradients:
        """(4): from what stands for A_z and b_z, (…, zone, output, granule cell) and (…, zone, output), to the weights by name."""
        sigma = self.sigma(A)
        onto_w = -A * sigma[:, None, None]
        if MASK in theta:
            onto_w = onto_w * theta[MASK]
        found = {W: onto_w} | ({V: -onto_w} if self.interneurons else {})
        return found | ({B: b * sigma[:, None]} if self.plastic else {})

    def hold(self, theta: Own) -> None:
        """Signs and masks, in place."""
        for name in (W, V) if self.interneurons else (W,):
            if self.signs:
                theta[name].clamp_(min=0)
            if MASK in theta:
                theta[name].mul_(theta[MASK])
