"""The last k steps themselves: every path that is at most k steps long.

    dL/dW = Σ_t Σ_{s = t−k+1 … t} q_t ψ_t J_t J_{t−1} ⋯ J_{s+1} M_s

This is truncated backpropagation with a sliding window (Williams & Peng 1990, doi:10.1162/neco.1990.2.4.490): every error is
carried back k steps, whatever the window of the schedule. Seen as an eligibility it is causal: the influence is never formed,
the steps are kept and credit is swept back through them. k ≥ T is exact.

=======  ============  ========================================
symbol   variable      shape
=======  ============  ========================================
steps    ``steps``     the last k − 1 steps of the trajectory
v_s      ``v``         credit at h_s, (time, batch, unit)
=======  ============  ========================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch

from bioplaus import checks
from bioplaus.circuit.credit import Credit, mapped, plus
from bioplaus.circuit.network import Network, Step
from bioplaus.circuit.sweep import sweep, to_h, to_u, weight_gradients
from bioplaus.circuit.tangent import Tangent
from bioplaus.circuit.trajectory import Stretch
from bioplaus.circuit.upstream import upstream
from bioplaus.declaration import Declaration
from bioplaus.eligibility.base import Eligibility
from bioplaus.errors import RuleError
from bioplaus.own import Owns

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Kept:
    """The last steps, their inputs, and in which of them the weights' deeds count."""

    steps: list[Step] = field(default_factory=list)
    x: Tensor | None = None
    uses: Tensor | None = None


@dataclass(frozen=True)
class History(Eligibility[Credit]):
    """Paths of at most ``steps`` steps. Needs direct credit.

    Parameters
    ----------
    steps : k ≥ 1; 1 is this step alone.
    """

    steps: int = 10

    declaration: ClassVar[Declaration] = Declaration(
        half="past", credit="direct", bias="biased", exact_when="k ≥ T", causal=True, local=False, memory="k·S·n + k·m", time="k·K·n·m; k·K·n² + K·n·m in windows",
        keeps="the last k steps", reference="doi:10.1162/neco.1990.2.4.490", tensor="v[z]", transport=True,
    )  # fmt: skip

    constraints = checks.Table(RuleError, "of sliding_bptt", steps=checks.Whole())

    def __post_init__(self) -> None:
        checks.settle(self)

    def reached(self, network: Network, hearers: set[int]) -> set[int]:
        return upstream(network, hearers, steps=self.steps - 1)

    def init(
        self,
        network: Network,
        batch: int,
        own: Owns | None = None,
        generator: torch.Generator | None = None,
    ) -> Kept:
        return Kept()

    def step(self, state: Kept, tangent: Tangent) -> Kept:
        state.steps = [*state.steps, *tangent.stretch.steps][-self.steps :]
        x = tangent.stretch.x
        state.x = (x if state.x is None else torch.cat([state.x, x]))[-self.steps :]
        uses = tangent.stretch.uses
        if uses is not None:
            state.uses = (uses if state.uses is None else torch.cat([state.uses, uses]))[-self.steps :]
        return state

    def gradient(self, network: Network, state: Kept, tangent: Tangent, credit: Credit) -> dict[str, Tensor]:
        """The gradient of the last step, swept back through all that is kept."""
        assert state.x is not None
        joined = self._joined(network, state.steps, state.x, state.uses)
        old = len(joined.stretch) - 1
        return weight_gradients(network, joined.stretch, sweep(joined, _later(credit, old)).a_I)

    def forward(
        self, network: Network, state: Kept, tangent: Tangent, credit: Credit
    ) -> tuple[dict[str, Tensor], Kept]:
        new = len(tangent.stretch)
        if new == 1:
            state = self.step(state, tangent)
            return self.gradient(network, state, tangent, credit), state
        kept = min(len(state.steps), self.steps - 1)
        steps, x, uses = (
            [*state.steps[len(state.steps) - kept :], *tangent.stretch.steps],
            tangent.stretch.x,
            tangent.stretch.uses,
        )
        if kept:
            assert state.x is not None
            x = torch.cat([state.x[-kept:], x])
            uses = None if uses is None or state.uses is None else torch.cat([state.uses[-kept:], uses])
        joined = self._joined(network, steps, x, uses)
        return weight_gradients(network, joined.stretch, self._slide(joined, _later(credit, kept))), self.step(
            state, tangent
        )

    def _slide(self, tangent: Tangent, v: Credit) -> list[Tensor | None]:
        """Credit for the currents of every step from the errors of that step and the k − 1 after it; all errors go back side by side."""
        network = tangent.network
        total: list[Tensor | None] = [None] * len(network.populations)
        for _ in range(min(self.steps, len(tangent.stretch))):
            u, passed = to_u(network, tangent.transposes, tangent.varying, v)
            I, h = to_h(network, tangent.transposes, tangent.varying, u, passed)
            total = [plus(a, b) for a, b in zip(total, I, strict=True)]
            v = mapped(_earlier, h)
        return total

    @staticmethod
    def _joined(network: Network, steps: Sequence[Step], x: Tensor, uses: Tensor | None) -> Tangent:
        window = Stretch(network, steps, x)
        window.uses = uses
        return Tangent(network, window)


def _earlier(a: Tensor | None) -> Tensor | None:
    """From h_{t−1} of step t to h_t of the step before; nothing arrives at the last."""
    return None if a is None else torch.cat([a[1:], torch.zeros_like(a[:1])])


def _later(credit: Credit, old: int) -> Credit:
    """Credit of new steps, with none for ``old`` steps before them."""
    if not old:
        return credit
    return mapped(lambda a: None if a is None else torch.cat([a.new_zeros(old, *a.shape[1:]), a]), credit)
