"""Every path that crosses at most k times from neuron to neuron.

    C_0 ← D C_0 + M,    C_j ← D C_j + R C_{j−1} + M,    dL/dW = Σ_t ψ_t q_t C_k

k = 0 is e-prop with direct credit, k ≥ T − 1 is RTRL. An operational reading of the orders of approximation in "A Taxonomy
of Recurrent Learning Rules" (Martín-Sánchez, Bohté & Otte 2022, arXiv 2207.11439), named after what it does. The error does not
fall with every hop: what k hops leave out may cancel what k + 1 let in.

=======  ============  ==========================================
symbol   variable      shape
=======  ============  ==========================================
C_j      ``levels``    (batch, size of z, number of weights), k + 1 times
D        ``within``    entries per neuron
R        ``J``         (batch, size of z, size of z)
=======  ============  ==========================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

import torch

from bioplaus import checks
from bioplaus.circuit.network import Network
from bioplaus.circuit.upstream import upstream
from bioplaus.codegen.kernel import Entry
from bioplaus.declaration import Declaration
from bioplaus.eligibility.influence import Block, Moment, Space
from bioplaus.eligibility.recursion import Recursion
from bioplaus.eligibility.rtrl import RTRL, Dense
from bioplaus.errors import RuleError
from bioplaus.own import Owns

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Levels(Dense):
    """C_0 … C_{k−1}; C_k is P."""

    below: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class Hops(RTRL):
    """Paths with at most ``hops`` crossings. Needs direct credit.

    Parameters
    ----------
    hops : k ≥ 0. More than T − 1 is RTRL, at k + 1 times its cost.
    """

    hops: int = 1

    declaration: ClassVar[Declaration] = Declaration(
        half="past", credit="direct", bias="biased", exact_when="k ≥ T − 1", causal=True, local=False, memory="(k+1)·S·K·n²·m",
        time="k·S²·K·n³·m; S²·K·n²·m if k = 0", keeps="paths with at most k crossings", reference="arXiv:2207.11439", tensor="C₀…Cₖ[zjm]",
    )  # fmt: skip

    constraints = checks.Table(RuleError, "of the rule hops", hops=checks.Whole(0))

    def __post_init__(self) -> None:
        checks.settle(self)
        if self.hops == 0:  # e-prop
            object.__setattr__(self, "declaration", replace(type(self).declaration, local=True))

    def reached(self, network: Network, hearers: set[int]) -> set[int]:
        return upstream(network, hearers, synapses=self.hops)

    def numbers(self, space: Space) -> int:
        return super().numbers(space) + self.hops * space.size * space.width

    def start(self, space: Space, batch: int, generator: torch.Generator, own: Owns) -> Levels:
        P = space.zeros(batch, space.size, space.width)
        filtered = torch.zeros_like(P) if space.network.kappa else None
        R = space.zeros(batch, space.size, space.size)
        below = [torch.zeros_like(P) for _ in range(self.hops)]
        return Levels(space, generator, P=P, spare=torch.empty_like(P), J=R, filtered=filtered, below=below)

    forward = Recursion.forward  # D and R apart: no J to lay ready

    def advance(self, state: Levels, now: Moment) -> None:  # type: ignore[override]  # what its own start made
        space, levels = state.space, [*state.below, state.P]
        if state.before is not None:
            D, R = space.within(state.before, now), state.J
            space.across(state.before, now, R)
            for j in reversed(range(len(levels))):  # from above, so that C_{j−1} is still the old one
                fresh = inside(D, levels[j], state.spare)
                if j:
                    fresh.baddbmm_(R, levels[j - 1])
                state.spare, levels[j] = levels[j], fresh
        for C in levels:
            space.add_immediate(C, now)
        *state.below, state.P = levels
        state.seen(state.P, now)


def inside(D: Sequence[tuple[Block, Block, Entry]], C: Tensor, out: Tensor) -> Tensor:
    """D C, into ``out``."""
    out.zero_()
    for to, source, e in D:
        value = e.unsqueeze(-1) if isinstance(e, torch.Tensor) else e
        out[:, to.where] += C[:, source.where] * value  # type: ignore[operator]
    return out


__all__ = ["Hops"]
