"""RTRL with Kronecker factors: one factor over inputs, one over states and neurons (Mujika, Meier & Steger 2018, arXiv 1805.10842).

    P[z, (j, k, m)] ≈ A[z, (j, k)] b[m],       M = Γ ⊗ a,  Γ[(u_i, l), (j, k)] = δ_lj G_ik[j]
    A ← J A/p₁ + s Γ/p₂,    b ← p₁ b + s p₂ a,    s = ±1                                            (eq. 9)
    p₁ = √(‖J A‖/‖b‖),      p₂ = √(‖Γ‖/‖a‖)                                                        (th. 2)

Unbiased, with less variance than a rank-one estimate, for J acts on a whole matrix exactly. Behind a leaky readout ‖J A‖ counts
the old factor of ȳ too.

=======  ============  =================================================
symbol   variable      shape
=======  ============  =================================================
A, its ȳ ``A``, ``F``  per population (batch, size of z, neuron · channel)
b        ``b``         per population (batch, m)
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
class Factored(Moving):
    """Factors per population."""

    J: Tensor = None  # type: ignore[assignment]
    A: list[Tensor] = field(default_factory=list)
    F: list[Tensor | None] = field(default_factory=list)
    b: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class KFRTRL(Recursion):
    """P ≈ A ⊗ b, A over states and neurons, b over inputs. Needs direct credit."""

    declaration: ClassVar[Declaration] = Declaration(
        half="past", credit="direct", bias="unbiased", exact_when="on average over its random signs", causal=True, local=False,
        memory="S·K·n² + m", time="S²·K·n³ + K·n·m", keeps="a Kronecker product for every path", reference="arXiv:1805.10842", tensor="A[zj]·b[m]",
        random=True,
    )  # fmt: skip

    def numbers(self, space: Space) -> int:
        return space.size * (space.size + (3 if space.network.kappa else 2) * sum(n * k for n, k, _ in space.columns))

    def start(self, space: Space, batch: int, generator: torch.Generator, own: Owns) -> Factored:
        A = [space.zeros(batch, space.size, n * k) for n, k, _ in space.columns]
        F = [torch.zeros_like(a) if space.network.kappa else None for a in A]
        b = [space.zeros(batch, m) for _, _, m in space.columns]
        return Factored(space, generator, J=space.zeros(batch, space.size, space.size), A=A, F=F, b=b)

    def advance(self, state: Factored, now: Moment) -> None:
        space, batch = state.space, len(now.a[0])
        J = space.jacobian(state.before, now, state.J) if state.before is not None else None
        for p, (n, channels, _) in enumerate(space.columns):
            JA = torch.bmm(J, state.A[p]) if J is not None else torch.zeros_like(state.A[p])
            gamma = space.immediate(now, p)
            square = space.zeros(batch)
            for _, _, g in gamma:
                square = square + torch.as_tensor(g).to(JA).expand(batch, n).square().sum(1)
            a, s = now.a[p], state.signs(batch)
            p1 = balance(carried(JA, state.F[p], space.network.kappa), torch.linalg.vector_norm(state.b[p], dim=1))
            p2 = balance(square.sqrt(), torch.linalg.vector_norm(a, dim=1))
            A = JA / p1[:, None, None]
            for row, k, g in gamma:
                own = A[:, row.where].unflatten(2, (n, channels))[..., k].diagonal(dim1=1, dim2=2)
                own.add_((s / p2)[:, None] * g)  # type: ignore[operator]
            state.A[p] = A
            state.b[p] = torch.addcmul(state.b[p] * p1[:, None], a, (s * p2)[:, None])
            state.F[p] = behind_readout(space, now, state.F[p], A, 1 / p1)

    def meet(self, state: Factored, c: Tensor, f: Tensor | None, total: list[Tensor]) -> None:
        for t, A, F, b in zip(total, state.A, state.F, state.b, strict=True):
            left = torch.bmm(c.unsqueeze(1), A).squeeze(1)
            if f is not None and F is not None:
                left = left + torch.bmm(f.unsqueeze(1), F).squeeze(1)
            t.view(-1, t.shape[-1]).addmm_(left.T, b)
