"""Where an influence lives, and how one step of the circuit moves it.

    z_t = (u_t, outputs in flight)       everything through which a weight used before t still reaches what comes after
    dz_t/dW = J_t dz_{t−1}/dW + M_t,     J_t = D_t + R_t

    D   inside the neuron: u_j → s → u_i, its own output, the shift of a delay line       elementwise
    R   from neuron to neuron: u_j → y → W → I → u_i                                       a product with W
    M[(u_i, l), (j, k, m)] = δ_lj G_ik[j] a_m                                              what a weight does at once

A column (j, k, m) is the weight from input m of all that arrives at neuron j's population (a: the sources side by side)
onto its channel k. Pairs of source and channel that are not connected have columns too, of weights that stay zero: so M is
an outer product whatever the wiring, and nobody pays for a special case. ȳ, behind a leaky readout, is followed row by row:
F_t = κ F_{t−1} + (1 − κ) ψ_t P_t.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from bioplaus.capacity import memory
from bioplaus.circuit.credit import Credit
from bioplaus.circuit.network import Network
from bioplaus.circuit.tangent import Tangent, split
from bioplaus.circuit.wiring import Outputs, Wired, side_by_side
from bioplaus.codegen.kernel import Entry
from bioplaus.codegen.partials import Partials
from bioplaus.eligibility.traces import plus, times
from bioplaus.errors import RuleError

if TYPE_CHECKING:
    from torch import Tensor


class Block(NamedTuple):
    """A block of z: state ``index`` of a population's u, or what it has sent before its last step, in the order in which that is kept."""

    kind: str  # "u" or "y"
    population: int
    index: int  # type: ignore[assignment]  # tuple has a method of that name, which nothing here asks for
    where: slice


class Moment(NamedTuple):
    """One step as the influence sees it: the partials and what arrived, per population."""

    parts: tuple[Partials, ...]
    a: tuple[Tensor, ...]  # (batch, m)


class Space:
    """Rows and columns of an influence of a network."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.rows: list[Block] = []
        at = 0
        for i, p in enumerate(network.populations):
            for kind, count in (("u", len(p.start)), ("y", p.slots - p.voices)):
                for j in range(count):
                    self.rows.append(Block(kind, i, j, slice(at, at + p.size)))
                    at += p.size
        #: number of rows
        self.size = at
        #: per population, (projection, where its source stands in a)
        self.arriving: list[list[tuple[Wired, slice]]] = []
        for i in range(len(network.populations)):
            at, found = 0, []
            for w in (w for w in network.learned if w.target == i):
                m = w.width(network.weights[w.spec.name])
                found.append((w, slice(at, at + m)))
                at += m
            self.arriving.append(found)
        #: per population, (neurons, channels, m): its columns
        self.columns = [
            (p.size, p.channels, found[-1][1].stop if found else 0)
            for p, found in zip(network.populations, self.arriving, strict=True)
        ]

    @cached_property
    def spans(self) -> list[slice]:
        """Per population, its columns in the flat order."""
        out, at = [], 0
        for n, k, m in self.columns:
            out.append(slice(at, at + n * k * m))
            at += n * k * m
        return out

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.spans[-1].stop

    def u(self, population: int) -> list[Block]:
        """The rows of a population's u."""
        return [r for r in self.rows if r.kind == "u" and r.population == population]

    def zeros(self, *shape: int) -> Tensor:
        return torch.zeros(*shape, dtype=self.network.dtype, device=self.network.device)

    # -- what a step is made of -----------------------------------------------------------------------------------------

    def moments(self, tangent: Tangent) -> list[Moment]:
        """Every step of a window."""
        parts, arrived = self.whole(tangent)
        each = zip(*(split(part, len(tangent)) for part in parts), strict=True)
        return [Moment(p, a) for p, a in zip(each, zip(*(a.unbind(0) for a in arrived), strict=True), strict=True)]

    def whole(self, tangent: Tangent) -> Moment:
        """All steps of a window as one, everything with time before the batch."""
        arrived = []
        for found in self.arriving:
            a = [tangent.stretch.pre(w) for w, _ in found]
            arrived.append(torch.cat(a, -1) if len(a) > 1 else a[0] if a else tangent.stretch.x[..., :0])
        return Moment(tangent.partials, tuple(arrived))

    def psi(self, parts: Sequence[Partials], like: Tensor) -> Tensor:
        """ψ at every row of u, 0 at outputs in flight, shaped like ``like`` (…, size)."""
        out = torch.zeros_like(like)
        for kind, p, i, where in self.rows:
            e = parts[p].psi[i] if kind == "u" else None
            if e is not None:
                out[..., where] = e
        return out

    def directly(self, tangent: Tangent, credit: Credit) -> tuple[Tensor, Tensor | None]:
        """Direct credit for z at every step (time, batch, size), and for F where the readout leaks."""
        T, B = tangent.stretch.x.shape[:2]
        c = self.zeros(T, B, self.size)
        f = self.zeros(T, B, self.size) if self.network.kappa else None
        for kind, p, i, where in self.rows:
            if kind == "u" and (there := credit.u[p][i]) is not None:
                c[..., where] = there
            e = tangent.partials[p].psi[i] if kind == "u" else None
            if e is None:
                continue
            y = credit.y[p][0]
            if y is not None:
                c[..., where] += y * e
            if f is not None and (behind := credit.filtered[p]) is not None:
                f[..., where] = behind
        return c, f

    # -- J ------------------------------------------------------------------------------------------------------------------

    def within(self, before: Moment, now: Moment) -> list[tuple[Block, Block, Entry]]:
        """The nonzero blocks of D, each an entry per neuron: (to, from, value)."""
        out: list[tuple[Block, Block, Entry]] = []
        for to in self.rows:
            last, part = before.parts[to.population], now.parts[to.population]
            for source in self.rows:
                if source.population != to.population:
                    continue
                e: Entry = None
                if to.kind == "u" and source.kind == "u":
                    i, j = to.index, source.index
                    for m in range(len(part.psi)):
                        through = plus(last.Ru[m][j], times(last.ry[m], last.psi[j]))  # type: ignore[arg-type]
                        e = plus(e, times(part.F[i][m], through))  # type: ignore[arg-type]
                    e = plus(e, times(part.E[i], last.psi[j]))  # type: ignore[arg-type]
                elif to.kind == "y":
                    voices = self.network.populations[to.population].voices
                    if source.kind == "u":
                        e = said(last, to.index, source.index) if to.index < voices else None
                    else:
                        e = 1.0 if source.index == to.index - voices else None
                if e is not None:
                    out.append((to, source, e))
        return out

    def across(self, before: Moment, now: Moment, out: Tensor) -> set[tuple[int, int]]:
        """R as a matrix, written into ``out`` (batch, size, size), which is zero where R never has entries; the blocks written."""
        written: set[tuple[int, int]] = set()
        for w in self.network.recurrent:
            n = self.network.populations[w.target].size
            W = w.dense(self.network.weights[w.spec.name]).view(len(w.channels), n, -1)
            G = now.parts[w.target].G
            for to in self.u(w.target):
                total: Tensor | None = None
                for row, k in enumerate(w.channels):
                    g: Entry = G[to.index][k]
                    if g is not None:
                        part = W[row] * (g.unsqueeze(-1) if isinstance(g, torch.Tensor) else g)
                        total = part if total is None else total + part
                if total is None:
                    continue
                voices, last = w.source.voices, before.parts[w.source.population]
                for (slot, some), at in product(w.source.apart(total), self.rows):
                    if at.population != w.source.population:
                        continue
                    e: Entry = None
                    if slot < voices:
                        e = said(last, slot, at.index) if at.kind == "u" else None
                    elif at.kind == "y" and at.index == slot - voices:
                        e = 1.0
                    if e is None:
                        continue
                    place, block = (to.where.start, at.where.start), out[..., to.where, at.where]
                    value = e.unsqueeze(-2) if isinstance(e, torch.Tensor) else e
                    if place in written:
                        block += some * value
                    else:
                        torch.mul(some, value, out=block) if isinstance(value, torch.Tensor) else block.copy_(
                            some * value
                        )
                        written.add(place)
        return written

    def jacobian(self, before: Moment, now: Moment, out: Tensor) -> Tensor:
        """J = D + R as a matrix, written into ``out`` (batch, size, size), which is zero where J never has entries."""
        written = self.across(before, now, out)
        for to, source, e in self.within(before, now):
            own = out[..., to.where, source.where].diagonal(dim1=-2, dim2=-1)
            if (to.where.start, source.where.start) in written:
                own.add_(e)  # type: ignore[arg-type]
            elif isinstance(e, torch.Tensor):
                own.copy_(e)
            else:
                own.fill_(e)  # type: ignore[arg-type]
        return out

    def jacobians(self, before: Moment, tangent: Tangent) -> Tensor:
        """J of every step of a window after ``before``, (time, batch, size, size)."""
        T, B = tangent.stretch.x.shape[:2]
        last, now = _behind(before.parts, tangent.partials), tangent.partials
        return self.jacobian(Moment(last, ()), Moment(now, ()), self.zeros(T, B, self.size, self.size))

    def push(self, before: Moment, now: Moment, z: Tensor) -> Tensor:
        """J z for z (…, batch, size), without the matrix."""
        network = self.network
        mine = {(r.kind, r.population, r.index): z[..., r.where] for r in self.rows}
        new: list[list[Entry]] = []  # of what was sent in the last step
        for p, last in enumerate(before.parts):
            new.append([])
            for voice in range(network.populations[p].voices):
                total: Entry = None
                for j in range(len(last.psi)):
                    total = plus(total, times(said(last, voice, j), mine["u", p, j]))
                new[-1].append(total)
        dy = [each[0] for each in new]
        currents: dict[tuple[int, int], Entry] = {}
        for w in network.recurrent:
            source = self._said(w.source, new[w.source.population], mine)
            if source is None:
                continue
            I = w.drive(source, network.weights[w.spec.name]).unflatten(-1, (len(w.channels), -1))  # type: ignore[operator]
            for row, k in enumerate(w.channels):
                currents[w.target, k] = plus(currents.get((w.target, k)), I[..., row, :])
        out = []
        for kind, p, i, where in self.rows:
            last, part = before.parts[p], now.parts[p]
            value: Entry = None
            if kind == "y":
                value = new[p][i] if i < len(new[p]) else mine["y", p, i - len(new[p])]
            else:
                for m in range(len(part.psi)):
                    if part.F[i][m] is None:
                        continue
                    ds = times(last.ry[m], dy[p])
                    for j in range(len(part.psi)):
                        ds = plus(ds, times(last.Ru[m][j], mine["u", p, j]))
                    value = plus(value, times(part.F[i][m], ds))
                value = plus(value, times(part.E[i], dy[p]))
                for k in range(len(part.G[i])):
                    value = plus(value, times(part.G[i][k], currents.get((p, k))))
            out.append(value if isinstance(value, torch.Tensor) else torch.zeros_like(z[..., where]))
        return torch.cat(out, -1) if len(out) > 1 else out[0]

    @staticmethod
    def _said(source: Outputs, new: Sequence[Entry], mine: Mapping[tuple[str, int, int], Tensor]) -> Tensor | None:
        """What reaches the outputs that a projection takes, (…, pre); None where nothing does."""
        p = source.population
        each = [new[slot] if slot < source.voices else mine["y", p, slot - source.voices] for slot in source.slots]
        some = next((e for e in each if isinstance(e, torch.Tensor)), None)
        if some is None:
            return None
        return side_by_side([e if isinstance(e, torch.Tensor) else torch.zeros_like(some) for e in each])

    # -- M ------------------------------------------------------------------------------------------------------------------

    def immediate(self, now: Moment, population: int) -> list[tuple[Block, int, Entry]]:
        """The nonzero G of a population: (row of u, channel, value per neuron)."""
        G = now.parts[population].G
        return [
            (r, k, G[r.index][k])
            for r in self.u(population)
            for k in range(len(G[r.index]))
            if G[r.index][k] is not None
        ]

    def touched(self, now: Moment, population: int) -> list[Block]:
        """The rows of a population's u on which weights act at once; noise at others would add variance and tell nothing."""
        G = now.parts[population].G
        return [r for r in self.u(population) if any(g is not None for g in G[r.index])]

    def outer(self, now: Moment) -> list[tuple[Tensor, Entry]]:
        """M of every touched block in two factors, (…, batch, 1, m) and (…, batch, neuron, 1) or a number; `own` has their places."""
        return [
            (now.a[p].unsqueeze(-2), g.unsqueeze(-1) if isinstance(g, torch.Tensor) else g)
            for p, (_, _, m) in enumerate(self.columns)
            for _, _, g in (self.immediate(now, p) if m else ())
        ]

    def own(self, P: Tensor, now: Moment) -> list[Tensor]:
        """Where M stands in a whole influence (batch, size, width) in one piece: views of what weights do to their own neuron, (batch, neuron, m)."""
        B, S, W = P.shape
        return [
            P.as_strided(
                (B, n, m), (S * W, W + K * m, 1), P.storage_offset() + row.where.start * W + span.start + k * m
            )
            for p, ((n, K, m), span) in enumerate(zip(self.columns, self.spans, strict=True))
            for row, k, _ in (self.immediate(now, p) if m else ())
        ]

    def add_immediate(self, P: Tensor, now: Moment) -> None:
        """P += M, in place."""
        for own, (a, g) in zip(self.own(P, now), self.outer(now), strict=True):
            own.add_(a * g)  # type: ignore[operator]

    # -- results ----------------------------------------------------------------------------------------------------------

    def spread(self, found: Sequence[Tensor]) -> dict[str, Tensor]:
        """Per population (neurons, channels, m), cut into weights."""
        out = {}
        for g, shape, arriving in zip(found, self.columns, self.arriving, strict=True):
            g = g.view(shape)
            for w, where in arriving:
                mine = g[..., where] if w.whole else g[:, list(w.channels), where]
                W = self.network.weights[w.spec.name]
                mine = mine.transpose(0, 1).flatten(0, 1)
                out[w.spec.name] = mine if w.synapses is not None else mine.reshape(W.shape)
        return out


def said(part: Partials, voice: int, j: int) -> Entry:
    """∂/∂u_j of the output, voice 0, or of what is sent beside it, directly and through the output."""
    if voice == 0:
        return part.psi[j]
    return plus(part.Zu[voice - 1][j], times(part.zy[voice - 1], part.psi[j]))


def _behind(first: Any, e: Any) -> Any:
    """Entries over time, each in the place of the one after it; ``first`` stands before them."""
    if isinstance(e, tuple):
        parts = [_behind(*each) for each in zip(first, e, strict=True)]
        return type(e)(*parts) if hasattr(e, "_make") else tuple(parts)
    return torch.cat([first[None], e[:-1]]) if isinstance(e, torch.Tensor) and e.dim() == 3 else e


def afford(name: str, space: Space, batch: int, floats: int) -> None:
    """Refuse what this machine's memory cannot hold, before it is tried.

    Raises
    ------
    RuleError
        Saying how much would be needed and what would need less.
    """
    network = space.network
    needed = batch * floats * torch.finfo(network.dtype).bits // 8
    held = memory(network.device)
    if needed > 0.9 * held:
        raise RuleError(
            f"{name} would keep an influence for a batch of {batch} ({space.size} states × {space.width} weights) in {needed / 2**30:.1f} GiB, and "
            f"there are {0.9 * held / 2**30:.1f} GiB. Use a smaller circuit or batch, or a rule that keeps less, such as eprop or uoro."
        )
