"""What all influences that move forward in time have in common: the walk over the steps of a window.

An eligibility of this kind says how its state takes one step (`advance`) and how credit meets it (`meet`); it is its own
carrier across steps, so every schedule walks forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from bioplaus.circuit.credit import Credit
from bioplaus.circuit.network import Network
from bioplaus.circuit.tangent import Tangent
from bioplaus.eligibility.base import Eligibility
from bioplaus.eligibility.influence import Moment, Space, afford
from bioplaus.own import Owns
from bioplaus.streams import stream

if TYPE_CHECKING:
    from torch import Tensor

#: steps for which signs are drawn, and Jacobians made, at once  # chosen: makes either a small part of a step
AHEAD = 32


@dataclass
class Moving:
    """What every such state has: its space, the last step, the random stream, and whether Σ_t ψP is kept."""

    space: Space
    generator: torch.Generator
    before: Moment | None = None
    keep_sum: bool = False
    apart: bool = False  # each sample's sum by itself
    pools: dict[tuple[int, ...], list[Tensor]] = field(default_factory=dict)

    def signs(self, *shape: int) -> Tensor:
        """Independent ±1, drawn ahead for many steps: a draw costs more than what is drawn."""
        pool = self.pools.setdefault(shape, [])
        if not pool:
            network = self.space.network
            drawn = torch.randint(0, 2, (AHEAD, *shape), generator=self.generator, dtype=torch.int8)
            pool += drawn.to(device=network.device, dtype=network.dtype).mul_(2).sub_(1).unbind(0)
        return pool.pop()

    def normal(self, *shape: int) -> Tensor:
        """Independent N(0, 1)."""
        network = self.space.network
        return torch.randn(shape, generator=self.generator, dtype=network.dtype).to(network.device)


class Recursion(Eligibility[Credit]):
    """Base of eligibilities that carry an influence forward, exact or approximate. Direct credit meets it."""

    def init(
        self,
        network: Network,
        batch: int,
        own: Owns | None = None,
        generator: torch.Generator | None = None,
    ) -> Any:
        space = Space(network)
        afford(type(self).__name__, space, batch, self.numbers(space))
        return self.start(space, batch, generator or stream(0, "noise"), own or {})

    def numbers(self, space: Space) -> int:
        """How many numbers it keeps for a sample, its own working copies included; to refuse what cannot be held."""
        return space.width

    def fits(self, network: Network, batch: int) -> None:
        space = Space(network)
        afford(type(self).__name__, space, batch, self.numbers(space))

    def start(self, space: Space, batch: int, generator: torch.Generator, own: Owns) -> Any:
        """The state before the first step."""
        raise NotImplementedError

    def advance(self, state: Any, now: Moment) -> None:
        """One step, in place."""
        raise NotImplementedError

    def meet(self, state: Any, c: Tensor, f: Tensor | None, total: list[Tensor]) -> None:
        """Add Σ over the batch of credit for z (batch, size), and for F, times the influence; per population (neurons, channels, m)."""
        raise NotImplementedError

    def step(self, state: Any, tangent: Tangent) -> Any:
        for now in state.space.moments(tangent):
            self.advance(state, now)
            state.before = now
        return state

    def gradient(self, network: Network, state: Any, tangent: Tangent, credit: Credit) -> dict[str, Tensor]:
        total = _nothing(state.space)
        c, f = state.space.directly(tangent, credit)
        self.meet(state, c[-1], None if f is None else f[-1], total)
        return state.space.spread(total)

    def forward(self, network: Network, state: Any, tangent: Tangent, credit: Credit) -> tuple[dict[str, Tensor], Any]:
        space = state.space
        total = _nothing(space)
        c, f = space.directly(tangent, credit)
        behind: Sequence[Tensor | None] = [None] * len(c) if f is None else f.unbind(0)
        for now, c_t, f_t in zip(space.moments(tangent), c.unbind(0), behind, strict=True):
            self.advance(state, now)
            state.before = now
            self.meet(state, c_t, f_t, total)
        return space.spread(total), state


def _nothing(space: Space) -> list[Tensor]:
    return [space.zeros(*shape) for shape in space.columns]
