"""Reverse KF-RTRL: one factor over neurons, one over states and inputs (Marschall, Cho & Savin 2020, arXiv 1907.02649).

    P[z, (j, k, m)] ≈ A[j, k] B[z, m],      M ≈ ν ⊗ (ν̃ ⊗ a),   ν̃[(u_i, l)] = Σ_k ν[l, k] G_ik[l],   ν independent ±1
    A ← p₁ A + p₂ ν,    B ← J B/p₁ + ν̃ ⊗ a/p₂
    p₁ = √(‖J B‖/‖A‖),  p₂ = √(‖ν̃‖ ‖a‖/‖ν‖)

Unbiased, for E[ν νᵀ] = 1. Behind a leaky readout ‖J B‖ counts the old factor of ȳ too.

=======  ============  =================================================
symbol   variable      shape
=======  ============  =================================================
A        ``A``         per population (batch, neuron · channel)
B, its ȳ ``B``, ``F``  per population (batch, size of z, m)
=======  ============  =================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch

from bioplaus.declaration import Declaration
from bioplaus.eligibility.influence import Moment, Space
from bioplaus.eligibility.recursion import Moving, Recursion
from bioplaus.eligibility.uoro import balance, behind_readout, carried
from bioplaus.own import Owns

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Reverse(Moving):
    """Factors per population."""

    J: Tensor = None  # type: ignore[assignment]
    A: list[Tensor] = field(default_factory=list)
    B: list[Tensor] = field(default_factory=list)
    F: list[Tensor | None] = field(default_factory=list)


@dataclass(frozen=True)
class RKFRTRL(Recursion):
    """P ≈ A ⊗ B, A over neurons, B over states and inputs. Needs direct credit."""

    declaration: ClassVar[Declaration] = Declaration(
        half="past", credit="direct", bias="unbiased", exact_when="on average over its random signs", causal=True, local=False,
        memory="K·n + S·n·m", time="S²·n²·m + K·n·m", keeps="a Kronecker product for every path", reference="arXiv:1907.02649", tensor="A[j]·B[zm]",
        random=True,
    )  # fmt: skip

    def numbers(self, space: Space) -> int:
        return space.size * (space.size + (3 if space.network.kappa else 2) * sum(m for _, _, m in space.columns))

    def start(self, space: Space, batch: int, generator: torch.Generator, own: Owns) -> Reverse:
        A = [space.zeros(batch, n * k) for n, k, _ in space.columns]
        B = [space.zeros(batch, space.size, m) for _, _, m in space.columns]
        F = [torch.zeros_like(b) if space.network.kappa else None for b in B]
        return Reverse(space, generator, J=space.zeros(batch, space.size, space.size), A=A, B=B, F=F)

    def advance(self, state: Reverse, now: Moment) -> None:
        space, batch = state.space, len(now.a[0])
        J = space.jacobian(state.before, now, state.J) if state.before is not None else None
        for p, (n, channels, _) in enumerate(space.columns):
            a, nu = now.a[p], state.signs(batch, n * channels)
            tilde = space.zeros(batch, space.size)
            for row, k, g in space.immediate(now, p):
                tilde[:, row.where] += nu.view(batch, n, channels)[..., k] * g  # type: ignore[operator]
            JB = torch.bmm(J, state.B[p]) if J is not None else torch.zeros_like(state.B[p])
            p1 = balance(carried(JB, state.F[p], space.network.kappa), torch.linalg.vector_norm(state.A[p], dim=1))
            p2 = balance(
                torch.linalg.vector_norm(tilde, dim=1) * torch.linalg.vector_norm(a, dim=1),
                torch.linalg.vector_norm(nu, dim=1),
            )
            state.A[p] = torch.addcmul(state.A[p] * p1[:, None], nu, p2[:, None])
            B = JB / p1[:, None, None]
            state.B[p] = B.addcmul_((tilde / p2[:, None]).unsqueeze(-1), a.unsqueeze(1))
            state.F[p] = behind_readout(space, now, state.F[p], B, 1 / p1)

    def meet(self, state: Reverse, c: Tensor, f: Tensor | None, total: list[Tensor]) -> None:
        for t, A, B, F in zip(total, state.A, state.B, state.F, strict=True):
            right = torch.bmm(c.unsqueeze(1), B).squeeze(1)
            if f is not None and F is not None:
                right = right + torch.bmm(f.unsqueeze(1), F).squeeze(1)
            t.view(-1, t.shape[-1]).addmm_(A.T, right)
