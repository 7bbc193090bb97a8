"""Sparse n-step approximation of RTRL (Menick, Elsen, Evci, Osindero, Simonyan & Graves 2021, arXiv 2006.07232).

    P ← mask ∘ (J P + M),     mask: neurons that neuron j reaches over at most n − 1 synapses

All weights onto one neuron share their mask, so what is kept is, for each neuron j, the rows of the neurons it reaches: a
block J restricted to them acts on a block of P, and nothing masked is ever stored. A neuron's own states and its outputs in
flight belong to it, whatever n; presynaptic partners that no projection connects are left out of the columns.

SnAp-1 is e-prop where no neuron connects to itself; SnAp-n is RTRL once the mask is full (n = 2 where all connect to all).

=======  ============  ==================================================
symbol   variable      shape
=======  ============  ==================================================
P        ``P``         per population (batch, neuron, rows, channel · inputs)
rows     ``rows``      per population (neuron, rows), index into z
inputs   ``inputs``    per population (neuron, inputs), index into a
=======  ============  ==================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

import torch

from bioplaus import checks
from bioplaus.circuit.network import Network
from bioplaus.circuit.upstream import upstream
from bioplaus.declaration import Declaration
from bioplaus.eligibility.influence import Moment, Space, afford
from bioplaus.eligibility.recursion import Moving, Recursion
from bioplaus.errors import RuleError
from bioplaus.own import Owns

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Blocks(Moving):
    """P of every neuron's weights at the rows it reaches; one row and one input more stand for none."""

    J: Tensor = None  # type: ignore[assignment]
    rows: list[Tensor] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    P: list[Tensor] = field(default_factory=list)
    F: list[Tensor] | None = None


@dataclass(frozen=True)
class SnAp(Recursion):
    """RTRL kept where a weight reaches within n − 1 synapses. Needs direct credit.

    Parameters
    ----------
    order : n ≥ 1.
    """

    order: int = 1

    declaration: ClassVar[Declaration] = Declaration(
        half="past", credit="direct", bias="biased", exact_when="the mask is full (r = n)", causal=True, local=False, memory="S·K·r·n·m",
        time="S²·K·r²·n·m", keeps="every path among the neurons reached", reference="arXiv:2006.07232", tensor="P[sjm]",
    )  # fmt: skip

    constraints = checks.Table(RuleError, "of the rule snap", order=checks.Whole())

    def __post_init__(self) -> None:
        checks.settle(self)
        if self.order == 1:  # a neuron's own rows alone
            object.__setattr__(self, "declaration", replace(type(self).declaration, local=True))

    def reached(self, network: Network, hearers: set[int]) -> set[int]:
        return upstream(network, hearers, synapses=self.order - 1)

    def numbers(self, space: Space) -> int:
        afford(
            type(self).__name__, space, 1, 4 * space.size**2
        )  # who reaches whom, in whole numbers and more, is a matrix already
        each = torch.cat([torch.full((p.size,), len(p.start) + p.slots - p.voices) for p in space.network.populations])
        rows = (reach(space, self.order - 1).long() * each).sum(1).split([n for n, _, _ in space.columns])
        total = space.size**2
        for found, (n, k, m) in zip(rows, space.columns, strict=True):
            r = int(found.max())
            total += n * r * (r + (3 if space.network.kappa else 2) * k * m)
        return total

    def start(self, space: Space, batch: int, generator: torch.Generator, own: Owns) -> Blocks:
        reached = reach(space, self.order - 1)
        rows, inputs = [], []
        for p in range(len(space.columns)):
            rows.append(padded([mine(space, p, j, reached) for j in range(space.columns[p][0])], space.size))
            inputs.append(padded(wired(space, p), space.columns[p][2]))
        P = [
            space.zeros(batch, *r.shape, k * i.shape[1])
            for r, i, (_, k, _) in zip(rows, inputs, space.columns, strict=True)
        ]
        F = [torch.zeros_like(x) for x in P] if space.network.kappa else None
        device = space.network.device
        return Blocks(
            space,
            generator,
            J=space.zeros(batch, space.size + 1, space.size + 1),
            rows=[r.to(device) for r in rows],
            inputs=[i.to(device) for i in inputs],
            P=P,
            F=F,
        )

    def advance(self, state: Blocks, now: Moment) -> None:
        space = state.space
        if state.before is not None:
            space.jacobian(state.before, now, state.J[:, :-1, :-1])
        for p, (_, channels, _) in enumerate(space.columns):
            r = state.rows[p]
            if state.before is not None:
                state.P[p] = state.J[:, r.unsqueeze(-1), r.unsqueeze(-2)] @ state.P[p]
            a = torch.nn.functional.pad(now.a[p], (0, 1))[:, state.inputs[p]]  # (batch, neuron, inputs)
            P = state.P[p].unflatten(-1, (channels, -1))
            for row, k, g in space.immediate(now, p):
                P[:, :, row.index, k] += a * (g.unsqueeze(-1) if isinstance(g, torch.Tensor) else g)  # type: ignore[operator]  # own rows come first
        if state.F is not None:
            kappa = space.network.kappa
            psi = torch.nn.functional.pad(space.psi(now.parts, space.zeros(len(now.a[0]), space.size)), (0, 1))
            for F, P, r in zip(state.F, state.P, state.rows, strict=True):
                F.mul_(kappa).addcmul_(P, psi[:, r].unsqueeze(-1), value=1 - kappa)

    def meet(self, state: Blocks, c: Tensor, f: Tensor | None, total: list[Tensor]) -> None:
        for p, t in enumerate(total):
            n, channels, m = t.shape
            g = torch.einsum("bnr,bnri->ni", _at(c, state.rows[p]), state.P[p])
            if f is not None and state.F is not None:
                g = g + torch.einsum("bnr,bnri->ni", _at(f, state.rows[p]), state.F[p])
            wide = torch.cat([t, t.new_zeros(n, channels, 1)], -1)
            index = state.inputs[p].unsqueeze(1).expand(-1, channels, -1)
            t.copy_(wide.scatter_add(2, index, g.view(n, channels, -1))[..., :m])


def _at(c: Tensor, rows: Tensor) -> Tensor:
    return torch.nn.functional.pad(c, (0, 1))[:, rows]


def reach(space: Space, synapses: int) -> Tensor:
    """Which neuron reaches which over at most so many synapses, (from, to), all populations in a row."""
    network = space.network
    starts, at = [], 0
    for p in network.populations:
        starts.append(at)
        at += p.size
    direct = torch.zeros(at, at, dtype=torch.bool)
    for w in network.recurrent:
        found = network.there(w.spec.name)
        there = (torch.ones_like(network.matrix(w.spec.name)) if found is None else found).cpu() != 0
        there = there.view(len(w.channels), -1, there.shape[1]).any(0)  # (post, pre)
        n, m = there.shape
        direct[
            starts[w.source.population] : starts[w.source.population] + m, starts[w.target] : starts[w.target] + n
        ] |= there.T
    found = torch.eye(at, dtype=torch.bool)
    for _ in range(synapses):
        more = found | (found.float() @ direct.float() > 0)
        if bool((more == found).all()):
            break
        found = more
    return found


def mine(space: Space, population: int, neuron: int, reached: Tensor) -> list[int]:
    """Rows of z that belong to the neurons reached, the neuron's own first, its u before all."""
    sizes = [p.size for p in space.network.populations]
    here = sum(sizes[:population]) + neuron
    rows = [r.where.start + neuron for r in space.rows if r.population == population]
    for r in space.rows:
        first = sum(sizes[: r.population])
        others = reached[here, first : first + sizes[r.population]].nonzero().flatten().tolist()
        rows += [r.where.start + j for j in others if first + j != here]
    return rows


def wired(space: Space, population: int) -> list[list[int]]:
    """For each neuron, which inputs of a reach it over any channel."""
    n = space.columns[population][0]
    there = torch.zeros(n, space.columns[population][2], dtype=torch.bool)
    for w, where in space.arriving[population]:
        mask = (
            space.network.masks.get(w.spec.name)
            if w.synapses is None
            else w.dense(torch.ones_like(space.network.weights[w.spec.name]))
        )
        if mask is None:
            there[:, where] = True
        else:
            there[:, where] = (mask.cpu() != 0).view(len(w.channels), n, -1).any(0)
    return [row.nonzero().flatten().tolist() for row in there]


def padded(lists: list[list[int]], none: int) -> Tensor:
    """Lists of different lengths side by side, filled with the index that stands for none."""
    longest = max((len(x) for x in lists), default=0)
    return torch.tensor([x + [none] * (longest - len(x)) for x in lists], dtype=torch.long).view(len(lists), longest)
