"""Unbiased online recurrent optimisation: an influence of rank one (Tallec & Ollivier 2018, arXiv 1702.05043).

    P ≈ A ⊗ B
    A ← ρ₀ J A + ρ₁ ν,    B ← B/ρ₀ + νᵀM/ρ₁,    ν independent ±1 at every u that M touches        (prop. 1)
    ρ₀ = √(‖B‖/‖J A‖),    ρ₁ = √(‖νᵀM‖/‖ν‖)                                                       (sec. 3.2)

E[P] is RTRL's influence, for E[ν νᵀ] = 1 and the cross terms have mean zero; the ρ only lower the variance. Behind a leaky
readout ‖J A‖ counts the old factor of ȳ too, which may outlast all others.

=======  ============  ==========================================
symbol   variable      shape
=======  ============  ==========================================
A, its ȳ ``A``, ``F``  (batch, size of z)
B        ``B``         per population (batch, neuron, channel, m)
ν        ``nu``        (batch, size of z), 0 where M has no entries
=======  ============  ==========================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch

from bioplaus.declaration import Declaration
from bioplaus.eligibility.influence import Moment, Space
from bioplaus.eligibility.recursion import Moving, Recursion
from bioplaus.own import Owns

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class RankOne(Moving):
    """A and B; A behind a leaky readout."""

    A: Tensor = None  # type: ignore[assignment]
    F: Tensor | None = None
    B: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class UORO(Recursion):
    """P ≈ A ⊗ B with random signs. Needs direct credit."""

    declaration: ClassVar[Declaration] = Declaration(
        half="past", credit="direct", bias="unbiased", exact_when="on average over its random signs", causal=True, local=False,
        memory="S·n + K·n·m", time="S·n + K·n·m", keeps="a rank-one estimate of every path", reference="arXiv:1702.05043", tensor="A[z]·B[jm]", random=True,
    )  # fmt: skip

    def start(self, space: Space, batch: int, generator: torch.Generator, own: Owns) -> RankOne:
        A = space.zeros(batch, space.size)
        B = [space.zeros(batch, *shape) for shape in space.columns]
        return RankOne(space, generator, A=A, F=torch.zeros_like(A) if space.network.kappa else None, B=B)

    def advance(self, state: RankOne, now: Moment) -> None:
        space, (batch, _) = state.space, state.A.shape
        JA = space.push(state.before, now, state.A) if state.before is not None else state.A
        nu = space.zeros(batch, space.size)
        gammas, square = [], space.zeros(batch)  # νᵀM = γ ⊗ a, per population and channel
        for p, (n, channels, _) in enumerate(space.columns):
            gamma = space.zeros(batch, n, channels)
            for row in space.touched(now, p):
                nu[:, row.where] = state.signs(batch, n)
            for row, k, g in space.immediate(now, p):
                gamma[..., k] += nu[:, row.where] * g  # type: ignore[operator]
            gammas.append(gamma)
            square = square + gamma.square().sum((1, 2)) * now.a[p].square().sum(1)
        norms = [torch.linalg.vector_norm(B, dim=(1, 2, 3)) for B in state.B]
        norm_B = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms), dim=0)
        rho0 = balance(norm_B, carried(JA, state.F, space.network.kappa))
        rho1 = balance(square.sqrt(), torch.linalg.vector_norm(nu, dim=1))
        state.A = torch.addcmul(JA * rho0[:, None], nu, rho1[:, None])
        for B, gamma, a in zip(state.B, gammas, now.a, strict=True):
            B.mul_((1 / rho0)[:, None, None, None])
            B.addcmul_((gamma / rho1[:, None, None]).unsqueeze(-1), a[:, None, None, :])
        state.F = behind_readout(space, now, state.F, state.A, rho0)

    def meet(self, state: RankOne, c: Tensor, f: Tensor | None, total: list[Tensor]) -> None:
        s = (c * state.A).sum(1)
        if f is not None and state.F is not None:
            s = s + (f * state.F).sum(1)
        for t, B in zip(total, state.B, strict=True):
            t.add_((s @ B.flatten(1)).view_as(t))


#: keeps the balance finite where nothing is to be balanced: any positive ρ leaves the estimate unbiased
TINY = 1e-30


def balance(a: Tensor, b: Tensor) -> Tensor:
    """√(a/b) per sample."""
    return ((a + TINY) / (b + TINY)).sqrt()


def carried(JA: Tensor, F: Tensor | None, kappa: float) -> Tensor:
    """Norm per sample of what the old factor has become: ȳ's are states too, and may outlast all others."""
    norm = torch.linalg.vector_norm(JA.flatten(1), dim=1)
    return norm if F is None else torch.hypot(norm, kappa * torch.linalg.vector_norm(F.flatten(1), dim=1))


def behind_readout(space: Space, now: Moment, F: Tensor | None, A: Tensor, rho0: Tensor) -> Tensor | None:
    """F ← κ ρ₀ F + (1 − κ) ψ A: the same factor as a leaky readout sees it; rows are dimension 1."""
    if F is None:
        return None
    kappa, rest = space.network.kappa, (1,) * (A.dim() - 2)
    psi = space.psi(now.parts, space.zeros(len(A), space.size))
    return torch.addcmul(F * (kappa * rho0).view(-1, 1, *rest), A, psi.view(*psi.shape, *rest), value=1 - kappa)
