"""A trace of two random factors, right on average (KF-RTRL, Mujika, Meier & Steger 2018, arXiv 1805.10842, turned onto arXiv 2401.07044).

For an affine g = A φ(h) + b the trace is a sum of P_{s→t} ⊗ φ_s, P the product of γλ J between the two steps. As in KF-RTRL::

    e ≈ B ⊗ f,       B ← γλ J B/p₁ + σ 1/p₂,     f ← p₁ f + σ p₂ φ(h),     σ = ±1                    (1)
    p₁ = √(‖γλ J B‖/‖f‖),   p₂ = √(‖1‖/‖φ‖)                                                          (2)

σ² = 1 and E[σ] = 0 make it unbiased, E[B ⊗ f] = γλ J E[B ⊗ f] + 1 ⊗ φ; p₁ and p₂ only keep the variance low. The first step
is exact, and with λ = 0 all of them are.

=======  =============  ==================================
symbol   variable       shape
=======  =============  ==================================
B        ``B``          (batch, size, size)
φ, f     ``phi``, ``f``  (batch, features and 1)
=======  =============  ==================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from bioplaus.cerebellum.predictors import Granule, Predictor
from bioplaus.eligibility.uoro import balance
from bioplaus.signal.traces.view import PredictorTrace, View
from bioplaus.streams import branch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Factors:
    """γλ J B and f behind a step, and where the signs come from."""

    generator: torch.Generator
    B: Tensor | None = None
    f: Tensor | None = None

    def signs(self, like: Tensor) -> Tensor:
        """σ, (batch,): drawn on the CPU, step by step, so that it does not depend on the window."""
        return torch.randint(2, (len(like),), generator=self.generator).to(like).mul_(2).sub_(1)


class Kronecker(PredictorTrace):
    """(1), forward whatever the schedule: it is random, and the same in windows of any length."""

    claims = {
        "memory": "S²·n² + θ", "time": "S·K·n³ + S³·n³ + θ", "tensor": "g[z], B[zz]·f[m]", "random": True,
        "keeps": "a prediction of the future, traced by random factors", "reference": "arXiv:2401.07044, arXiv:1805.10842",
    }  # fmt: skip

    def refuse(self, g: Predictor) -> str | None:
        if g.affine:
            return super().refuse(g)
        if isinstance(g, Granule):
            return (
                "trace='kronecker' follows the last layer of a predictor, whose input is the same for all outputs; nuclei that end at rate 0 (tonic=) hear it or not, each "
                "by itself, so that the trace is no such product (use tonic=None, or trace='replay')"
            )
        return (
            "trace='kronecker' follows the last layer of a predictor, whose input is the same for all outputs; in hidden layers "
            "that learn the trace is no such product (use predictor='linear', an mlp with train='output', or trace='replay')"
        )

    def start(self, generator: torch.Generator | None) -> Factors:
        return Factors(branch(generator))

    def update(self, view: View, state: Factors, delta: Tensor) -> tuple[dict[str, Tensor], Factors]:
        batch, H = delta.shape[1:]
        eye = torch.eye(H, dtype=delta.dtype, device=delta.device)
        norm, J = delta.new_tensor(H**0.5), view.J
        total: Tensor | None = None
        for t, (now, step) in enumerate(zip(delta.unbind(0), view.tangent.each(), strict=True)):
            phi = view.features(t)
            if state.B is None or state.f is None:
                state.B, state.f = delta.new_zeros(batch, H, H), torch.zeros_like(phi)
            sigma = state.signs(phi)
            p1 = balance(torch.linalg.vector_norm(state.B, dim=(1, 2)), torch.linalg.vector_norm(state.f, dim=1))
            p2 = balance(norm, torch.linalg.vector_norm(phi, dim=1))
            B = state.B / p1[:, None, None] + (sigma / p2)[:, None, None] * eye
            state.f = p1[:, None] * state.f + (sigma * p2)[:, None] * phi
            met = torch.bmm(now.unsqueeze(1), B).squeeze(1).T @ state.f
            total = met if total is None else total + met
            if not (view.final and t == len(delta) - 1):
                state.B = view.decay * torch.bmm(J.matrix(step, now), B)
        assert total is not None
        view.note(
            trace=[state.B.abs().max() * state.f.abs().max()] if state.B is not None and state.f is not None else []
        )
        return view.named(total), state
