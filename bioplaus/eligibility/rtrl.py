"""Real-time recurrent learning: every path (Williams & Zipser 1989, doi:10.1162/neco.1989.1.2.270).

    P_t = J_t P_{t−1} + M_t,    dL/dW = Σ_t ψ_t q_t P_t

Delays cost rows, not approximations. Behind a leaky readout P is filtered like the output.

=======  ============  ==========================================
symbol   variable      shape
=======  ============  ==========================================
P        ``P``         (batch, size of z, number of weights)
J        ``J``         (batch, size of z, size of z)
F        ``filtered``  as P
=======  ============  ==========================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from bioplaus.circuit.credit import Credit
from bioplaus.circuit.network import Network
from bioplaus.circuit.tangent import Tangent
from bioplaus.codegen.kernel import Entry
from bioplaus.declaration import Declaration
from bioplaus.eligibility.influence import Moment, Space
from bioplaus.eligibility.recursion import AHEAD, Moving, Recursion
from bioplaus.own import Owns

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Dense(Moving):
    """A whole influence; ``spare`` takes what is computed from the values it replaces."""

    P: Tensor = None  # type: ignore[assignment]
    spare: Tensor = None  # type: ignore[assignment]
    J: Tensor = None  # type: ignore[assignment]
    filtered: Tensor | None = None
    total: Tensor | None = None

    def seen(self, P: Tensor, now: Moment) -> None:
        """What of the influence is output: filtered behind a leaky readout, and summed for regularisers."""
        if self.filtered is None and not self.keep_sum:
            return
        psi = self.space.psi(now.parts, P[..., 0]).unsqueeze(-1)
        if self.filtered is not None:
            self.filtered.mul_(self.space.network.kappa).addcmul_(P, psi, value=1 - self.space.network.kappa)
        if self.keep_sum:
            summed = P * psi if self.apart else (P * psi).sum(0, keepdim=True)
            self.total = summed if self.total is None else self.total + summed


@dataclass(frozen=True)
class RTRL(Recursion):
    """P ← JP + M: every path. Needs direct credit only."""

    declaration: ClassVar[Declaration] = Declaration(
        half="past", credit="direct", bias="exact", exact_when="always", causal=True, local=False, memory="S·K·n²·m", time="S²·K·n³·m",
        keeps="every path", reference="doi:10.1162/neco.1989.1.2.270", tensor="P[zjm]",
    )  # fmt: skip

    sums: ClassVar[bool] = True

    def numbers(self, space: Space) -> int:
        return space.size * ((3 if space.network.kappa else 2) * space.width + (1 + AHEAD) * space.size)

    def start(self, space: Space, batch: int, generator: torch.Generator, own: Owns) -> Dense:
        P = space.zeros(batch, space.size, space.width)
        filtered = torch.zeros_like(P) if space.network.kappa else None
        J = space.zeros(batch, space.size, space.size)
        return Dense(space, generator, P=P, spare=torch.empty_like(P), J=J, filtered=filtered)

    def advance(self, state: Dense, now: Moment) -> None:
        space = state.space
        if state.before is not None:
            torch.bmm(space.jacobian(state.before, now, state.J), state.P, out=state.spare)
            state.P, state.spare = state.spare, state.P
        space.add_immediate(state.P, now)
        state.seen(state.P, now)

    def forward(
        self, network: Network, state: Dense, tangent: Tangent, credit: Credit
    ) -> tuple[dict[str, Tensor], Dense]:
        """As step by step, with what is small beside the influence made for many steps at once: between two products caches are cold."""
        space, total = state.space, state.space.zeros(state.space.width)
        c, f = space.directly(tangent, credit)
        for begin in range(0, T := len(tangent), AHEAD):
            when = slice(begin, begin + AHEAD)
            self._through(
                state, tangent.part(when) if T > AHEAD else tangent, c[when], None if f is None else f[when], total
            )
        return space.spread([total[s] for s in space.spans]), state

    @staticmethod
    def _through(state: Dense, tangent: Tangent, c: Tensor, f: Tensor | None, total: Tensor) -> None:
        """A few steps, their J laid ready."""
        space, T = state.space, len(tangent)
        steps, fresh = space.moments(tangent), state.before is None
        J = space.jacobians(state.before or steps[0], tangent).unbind(0)
        M = [(a.unbind(0), _over_time(g, T)) for a, g in space.outer(space.whole(tangent))]
        mine, other = (space.own(P, steps[0]) for P in (state.P, state.spare))
        flat = c.flatten(1).unbind(0)
        for t in range(T):
            if not (fresh and t == 0):
                torch.bmm(J[t], state.P, out=state.spare)
                state.P, state.spare, mine, other = state.spare, state.P, other, mine
            for own, (a, g) in zip(mine, M, strict=True):
                own.add_(a[t] * g[t])
            state.seen(state.P, steps[t])
            total.add_(flat[t] @ state.P.flatten(0, 1))
            if f is not None and state.filtered is not None:
                total.add_(f[t].flatten() @ state.filtered.flatten(0, 1))
        state.before = steps[-1]

    def meet(self, state: Dense, c: Tensor, f: Tensor | None, total: list[Tensor]) -> None:
        meet_dense(state.space, state.P, c, total)
        if f is not None and state.filtered is not None:
            meet_dense(state.space, state.filtered, f, total)

    def summed(self, network: Network, state: Dense, credit: Credit) -> dict[str, Tensor]:
        """Gradient of credit that is constant over the sequence and known at its end."""
        assert state.total is not None
        space = state.space
        c = space.zeros(len(state.total), space.size)
        for kind, p, _, where in space.rows:
            y = credit.y[p][0]
            if kind == "u" and y is not None:
                c[:, where] = y
        flat = c.flatten() @ state.total.flatten(0, 1)
        return space.spread([flat[s] for s in space.spans])


def _over_time(g: Entry, T: int) -> Sequence[Any]:
    """A factor of M, (time, batch, neuron, 1) or the same at all steps, step by step."""
    return g.unbind(0) if isinstance(g, torch.Tensor) and g.dim() == 4 else [g] * T


def meet_dense(space: Space, P: Tensor, c: Tensor, total: list[Tensor]) -> None:
    """total += Σ over batch and rows of c P."""
    flat = c.flatten() @ P.flatten(0, 1)
    for t, s in zip(total, space.spans, strict=True):
        t.add_(flat[s].view_as(t))
