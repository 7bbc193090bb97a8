"""h_t as one vector, for predictors: live states, outputs (and those in flight), filtered outputs.

States that have a unit are counted from where a neuron starts, over the cell's own scale (`bioplaus.circuit.scale`), and credit for them
is credit for that number: a predictor reads and says numbers of the order of one, whether a membrane is in volts or in none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from bioplaus.cerebellum.seen import Seen
from bioplaus.circuit.credit import Credit, silent
from bioplaus.circuit.network import Network, State
from bioplaus.circuit.sweep import to_h, to_u
from bioplaus.circuit.tangent import Tangent
from bioplaus.circuit.trajectory import Stretch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Which quantity lies where in the carried vector."""

    network: Network

    @cached_property
    def blocks(self) -> list[tuple[str, int, int, int]]:
        """(kind, population, index, size) in order; of what the readout sees the index is that among its sources."""
        out = []
        for i, p in enumerate(self.network.populations):
            out += [("s", i, j, p.size) for j, live in enumerate(p.live) if live]
            out += [("y", i, a, p.size) for a in range(p.slots)]
        if self.network.kappa:
            out += [("f", s, i, self.network.populations[s].size) for i, s in enumerate(self.network.sources)]
        return out

    @property
    def size(self) -> int:
        return sum(block[3] for block in self.blocks)

    @cached_property
    def places(self) -> list[list[list[int]]]:
        """Per population, where each number of each of its neurons stands in h: [number][neuron]."""
        found: list[list[list[int]]] = [[] for _ in self.network.populations]
        at = 0
        for _, i, _, size in self.blocks:
            found[i].append([*range(at, at + size)])
            at += size
        return found

    def seen(self, context: int) -> Seen:
        """What a predictor reads and speaks to, with so many numbers beside h."""
        network = self.network
        names = [p.name for p in network.populations]
        drives = {(w.source.population, w.target) for w in network.recurrent}
        return Seen(
            self.size,
            context,
            areas={n: tuple(sorted(sum(each, []))) for n, each in zip(names, self.places, strict=True)},
            above={
                n: tuple(names[j] for j in range(i + 1, len(names)) if (i, j) in drives) for i, n in enumerate(names)
            },
            dtype=network.dtype,
            device=network.device,
        )

    @cached_property
    def scales(self) -> list[tuple[Tensor, Tensor] | None]:
        """Zero and scale of every block, (unit,) each; None of what has no unit."""
        out = []
        for kind, i, j, _ in self.blocks:
            p = self.network.populations[i]
            own = p.scale if kind == "s" and j < len(p.units) and p.units[j] != "1" else None
            out.append(None if own is None else (own.zero[j], own.sigma[j]))
        return out

    def vector(self, state: State) -> Tensor:
        """h of a state, (batch, size)."""
        return torch.cat([_scaled(self._part(state, *block), own) for block, own in self._each], -1)

    def vectors(self, stretch: Stretch) -> Tensor:
        """h_{t0} … h_{t1}: before the first step and after each, (time + 1, batch, size)."""
        states = [stretch.steps[0].before, *(step.after for step in stretch.steps)]
        parts = [_scaled(torch.stack([self._part(state, *b) for state in states]), own) for b, own in self._each]
        return torch.cat(parts, -1)

    @property
    def _each(self) -> list[tuple[tuple[str, int, int, int], tuple[Tensor, Tensor] | None]]:
        return list(zip(self.blocks, self.scales, strict=True))

    @staticmethod
    def _part(state: State, kind: str, i: int, j: int, size: int) -> Tensor:
        if kind == "f":
            return state.filtered[j]
        return (state.populations[i].s if kind == "s" else state.populations[i].y)[j]

    def credit(self, vector: Tensor) -> Credit:
        """A row vector over h as a credit."""
        empty = silent(self.network)
        s, y, f = [list(p) for p in empty.s], [list(p) for p in empty.y], list(empty.filtered)
        for ((kind, i, j, _), own), part in zip(self._each, vector.split([b[3] for b in self.blocks], -1), strict=True):
            part = part if own is None else part / own[1]
            if kind == "f":
                f[i] = part
            else:
                (s if kind == "s" else y)[i][j] = part
        return Credit(tuple(map(tuple, s)), tuple(map(tuple, y)), tuple(f), empty.u)

    def flat(self, credit: Credit, like: Tensor) -> Tensor:
        """A credit as a row vector over h, shaped like ``like`` (…, size)."""
        pick = {
            "s": lambda i, j: credit.s[i][j],
            "y": lambda i, a: credit.y[i][a],
            "f": lambda i, _: credit.filtered[i],
        }
        parts = []
        for (kind, i, j, n), own in self._each:
            part = _credited(pick[kind](i, j), own)
            parts.append(like.new_zeros(*like.shape[:-1], n) if part is None else part.expand(*like.shape[:-1], n))
        return torch.cat(parts, -1)

    def over_time(self, credits: list[Credit]) -> Tensor:
        """Credits of consecutive steps as row vectors, (time, batch, size)."""
        pick = {"s": lambda c, i, j: c.s[i][j], "y": lambda c, i, a: c.y[i][a], "f": lambda c, i, _: c.filtered[i]}
        each = ((torch.stack([pick[kind](c, i, j) for c in credits]), own) for (kind, i, j, _), own in self._each)
        return torch.cat([part if own is None else part * own[1] for part, own in each], -1)

    def back(self, tangent: Tangent, v: Tensor, recurrent: bool = True) -> Tensor:
        """v J_t for every step of the stretch at once: v (time, batch, size) at h_t → (time, batch, size) at h_{t−1}.

        ``recurrent=False`` leaves out what crosses from neuron to neuron: v D_t.
        """
        u, passed = to_u(self.network, tangent.transposes, tangent.varying, self.credit(v))
        return self.flat(to_h(self.network, tangent.transposes, tangent.varying, u, passed, recurrent)[1], v)

    def before(
        self, tangent: Tangent, u: Sequence[Sequence[Tensor | None]], like: Tensor, recurrent: bool = True
    ) -> Tensor:
        """Credit for u_t of every step of the stretch, at h_{t−1}: (time, batch, size)."""
        inner, passed = to_u(self.network, tangent.transposes, tangent.varying, silent(self.network)._replace(u=u))
        return self.flat(to_h(self.network, tangent.transposes, tangent.varying, inner, passed, recurrent)[1], like)

    def jacobian(self, tangent: Tangent) -> Tensor:
        """J of a stretch of one step, (batch, size at t, size at t − 1)."""
        batch = tangent.stretch.x.shape[1]
        basis = torch.eye(self.size, dtype=self.network.dtype, device=self.network.device)[:, None, :].expand(
            -1, batch, -1
        )
        return self.back(tangent, basis).transpose(0, 1)


def _scaled(s: Tensor, own: tuple[Tensor, Tensor] | None) -> Tensor:
    """A state, counted from its zero and over its scale if it has them."""
    return s if own is None else (s - own[0]) / own[1]


def _credited(credit: Tensor | None, own: tuple[Tensor, Tensor] | None) -> Tensor | None:
    """Credit for that number, of credit for the state."""
    return credit if credit is None or own is None else credit * own[1]
