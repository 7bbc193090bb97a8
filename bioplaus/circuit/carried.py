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
    def scale(self) -> tuple[Tensor, Tensor] | None:
        """Zero and scale of what has a unit, (size,) each, 0 and 1 for the rest; None where nothing has."""
        scales = [p.scale for p in self.network.populations]
        if not any(scales):
            return None
        like = {"dtype": self.network.dtype, "device": self.network.device}
        zero, sigma = [], []
        for kind, i, j, size in self.blocks:
            own = scales[i] if kind == "s" else None
            zero.append(torch.zeros(size, **like) if own is None else own.zero[j])
            sigma.append(torch.ones(size, **like) if own is None else own.sigma[j])
        return torch.cat(zero), torch.cat(sigma)

    def _scaled(self, h: Tensor) -> Tensor:
        return h if self.scale is None else (h - self.scale[0]) / self.scale[1]

    def _credited(self, credit: Tensor) -> Tensor:
        return credit if self.scale is None else credit * self.scale[1]

    def vector(self, state: State) -> Tensor:
        """h of a state, (batch, size)."""
        return self._scaled(torch.cat([self._part(state, *block) for block in self.blocks], -1))

    def vectors(self, stretch: Stretch) -> Tensor:
        """h_{t0} … h_{t1}: before the first step and after each, (time + 1, batch, size)."""
        states = [stretch.steps[0].before, *(step.after for step in stretch.steps)]
        parts = [torch.stack([self._part(state, *block) for state in states]) for block in self.blocks]
        return self._scaled(torch.cat(parts, -1))

    @staticmethod
    def _part(state: State, kind: str, i: int, j: int, size: int) -> Tensor:
        if kind == "f":
            return state.filtered[j]
        return (state.populations[i].s if kind == "s" else state.populations[i].y)[j]

    def credit(self, vector: Tensor) -> Credit:
        """A row vector over h as a credit."""
        if self.scale is not None:
            vector = vector / self.scale[1]
        empty = silent(self.network)
        s, y, f = [list(p) for p in empty.s], [list(p) for p in empty.y], list(empty.filtered)
        for (kind, i, j, _), part in zip(self.blocks, vector.split([b[3] for b in self.blocks], -1), strict=True):
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
        for kind, i, j, n in self.blocks:
            part = pick[kind](i, j)
            parts.append(like.new_zeros(*like.shape[:-1], n) if part is None else part.expand(*like.shape[:-1], n))
        return self._credited(torch.cat(parts, -1))

    def over_time(self, credits: list[Credit]) -> Tensor:
        """Credits of consecutive steps as row vectors, (time, batch, size)."""
        pick = {"s": lambda c, i, j: c.s[i][j], "y": lambda c, i, a: c.y[i][a], "f": lambda c, i, _: c.filtered[i]}
        each = [torch.stack([pick[kind](c, i, j) for c in credits]) for kind, i, j, _ in self.blocks]
        return self._credited(torch.cat(each, -1))

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
