"""Eligibility traces inside a neuron, carried forward: which are needed, what multiplies what, one step in place.

    du_i = Σ_m F_im s'_m + E_i e₋ + G_ik pre;    e = Σ_i ψ_i du_i;    s'_m = Σ_i Ru_mi du_i + ry_m e

where du_i, s'_m, e are the derivatives of u_i, s_m and y of a neuron with respect to one weight onto its channel k. Where all
coefficients on the way are constants, every neuron of a population has the same trace (``shared``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch

from bioplaus.circuit.wiring import Wired
from bioplaus.codegen.kernel import Entry
from bioplaus.codegen.partials import Partials
from bioplaus.codegen.plans import Plan

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.circuit.synapses import Synapses
    from bioplaus.circuit.trajectory import Stretch


def times(a: Entry, b: Entry) -> Entry:
    """a·b, where None is zero."""
    return None if a is None or b is None else a * b


def plus(a: Entry, b: Entry) -> Entry:
    """a + b, where None is zero."""
    return b if a is None else a if b is None else a + b


class Coefficients(NamedTuple):
    """What multiplies what in one step of the traces of one channel; entries, small as a neuron.

    ``shared[i][j]``: shared trace j into i; ``shared_pre[i]``; ``e_*``: into e; ``s_*[m]``: into the stored s_m.
    """

    shared: tuple[tuple[Entry, ...], ...]
    shared_pre: tuple[Entry, ...]
    e_shared: tuple[Entry, ...]
    e_pre: Entry
    e_e: Entry
    e_s: tuple[Entry, ...]
    s_shared: tuple[tuple[Entry, ...], ...]
    s_pre: tuple[Entry, ...]
    s_e_last: tuple[Entry, ...]
    s_s: tuple[tuple[Entry, ...], ...]
    s_e: tuple[Entry, ...]


def coefficients(part: Partials, k: int, chosen: Plan) -> Coefficients:
    """Gathered by what they multiply, so that each synapse is visited as few times as possible.

    du_i = Σ F_im s_m + E_i e₋ + G_ik pre;   e = Σ ψ_i du_i;   s_m = Σ Ru_mi du_i + ry_m e
    """
    S, shared, own, stored = range(len(part.psi)), chosen.shared, chosen.own, chosen.stored

    def total(products: Iterable[tuple[Entry, Entry]]) -> Entry:
        out: Entry = None
        for a, b in products:
            out = plus(out, times(a, b))
        return out

    return Coefficients(
        shared=tuple(tuple(total((part.F[i][m], part.Ru[m][j]) for m in S) for j in shared) for i in shared),
        shared_pre=tuple(part.G[i][k] for i in shared),
        e_shared=tuple(part.psi[i] for i in shared),
        e_pre=total((part.psi[i], part.G[i][k]) for i in own),
        e_e=total((part.psi[i], part.E[i]) for i in own) if chosen.output else None,
        e_s=tuple(total((part.psi[i], part.F[i][m]) for i in own) for m in stored),
        s_shared=tuple(tuple(part.Ru[m][i] for i in shared) for m in stored),
        s_pre=tuple(total((part.Ru[m][i], part.G[i][k]) for i in own) for m in stored),
        s_e_last=tuple(total((part.Ru[m][i], part.E[i]) for i in own) if chosen.output else None for m in stored),
        s_s=tuple(tuple(total((part.Ru[m][i], part.F[i][q]) for i in own) for q in stored) for m in stored),
        s_e=tuple(part.ry[m] for m in stored),
    )


class Piece(NamedTuple):
    """A projection's part of a trace: where its sources stand, and which of its channels this is."""

    wired: Wired
    row: int
    where: slice


@dataclass
class Trace:
    """Traces of all that arrives on one channel of a population, its sources side by side, (batch, post, pre); or of one sparse projection, (batch, synapse).

    ``spare`` takes what is computed from the values it replaces; ``met`` the sum over a window's steps of what met ``e`` and ``e_bar``, by
    these names; ``left`` is what a fused loop still owes the traces, see `settle`.
    """

    population: int
    k: int  # channel index in the cell
    pieces: list[Piece]
    plan: Plan
    shared: list[Tensor]
    stored: list[Tensor]
    e: Tensor
    e_bar: Tensor | None = None
    e_sum: Tensor | None = None
    spare: list[Tensor] = field(default_factory=list)
    met: dict[str, Tensor] = field(default_factory=dict)
    left: Tensor | None = None
    synapses: Synapses | None = None
    loop: Any = None  # see `bioplaus.eligibility.fused_traces`

    def settle(self) -> Trace:
        """Let traces have decayed where that was put off (`bioplaus.codegen.traces_source`), in place."""
        if self.left is not None:
            *stored, bar, speaks = (self.wide(factor) for factor in self.left.unbind(0))
            for s, factor in zip(self.stored, stored, strict=True):
                s.mul_(factor)
            if self.e_bar is not None:
                self.e_bar.mul_(bar)
            self.e.mul_(speaks)
        self.left = self.loop = None
        return self

    def wide(self, c: Any) -> Any:
        """A per-neuron entry seen by its synapses."""
        if not isinstance(c, torch.Tensor):
            return c
        return c.unsqueeze(-1) if self.synapses is None else c[..., self.synapses.post]

    def spread(self, v: Tensor) -> Tensor:
        """What stands at the sources seen by their synapses."""
        return v.unsqueeze(-2) if self.synapses is None else v[..., self.synapses.columns]

    def arriving(self, stretch: Stretch) -> Tensor:
        """What all of the weights multiply, (time, batch, pre)."""
        found = [stretch.pre(piece.wired) for piece in self.pieces]
        return torch.cat(found, -1) if len(found) > 1 else found[0]


@dataclass
class Traces:
    """All traces of a network."""

    items: list[Trace]
    keep_sum: bool = False
    apart: bool = False  # each sample's sum by itself
    fresh: bool = True  # no step has been taken: all traces are zero


#: a term of a sum over synapses: c · a, of c for each neuron and a as synapses see it
Term: TypeAlias = "tuple[Entry, Tensor]"


def gather(trace: Trace, out: Tensor, terms: list[Term], old: Tensor | None = None, decay: Entry = None) -> None:
    """out ← decay · old + Σ terms, in place and in as few passes over the synapses as torch allows; ``old`` may be ``out``."""
    wide = trace.wide
    terms = [(c, a) for c, a in terms if c is not None]
    if old is not None and isinstance(decay, float):
        alone = next(
            (i for i, (c, a) in enumerate(terms) if isinstance(c, float) and c == 1.0 and a.shape == out.shape), None
        )
        if alone is not None:
            torch.add(terms.pop(alone)[1], old, alpha=decay, out=out)
        else:
            torch.mul(old, decay, out=out)
    elif old is not None and decay is not None:
        torch.mul(old, wide(decay), out=out)
    elif terms:
        c, a = terms.pop(0)
        if isinstance(c, float):
            out.copy_(c * a)
        else:
            torch.mul(a, wide(c), out=out)
    else:
        out.zero_()
    for c, a in terms:
        if isinstance(c, float):
            out.add_(a, alpha=c)
        else:
            out.addcmul_(a, wide(c))


def advance(
    trace: Trace, c: Coefficients, pre: Tensor, kappa: float, told: Coefficients | None = None
) -> Tensor | None:
    """One step of a trace, in place. ``told`` has credit for u in ψ's place; what comes back is that met by du, Σ over the batch."""
    shared = []
    for i, row in enumerate(c.shared):
        value = times(pre, c.shared_pre[i])
        for j, a in enumerate(row):
            value = plus(value, times(trace.shared[j], a))
        shared.append(value if isinstance(value, torch.Tensor) else torch.zeros_like(trace.shared[i]))
    trace.shared = shared
    shared, pre = [trace.spread(each) for each in shared], trace.spread(pre)
    last, met = trace.e, None
    if told is not None:
        met = torch.empty_like(last)
        terms: list[Term] = [
            *zip(told.e_shared, shared, strict=True),
            (told.e_pre, pre),
            *zip(told.e_s, trace.stored, strict=True),
        ]
        gather(trace, met, [*terms, (told.e_e, last)])
        met = met.sum(0)
    if trace.plan.output:  # e still stands in its own sum
        trace.e, trace.spare[-1] = trace.spare[-1], trace.e
    e_terms = [*zip(c.e_shared, shared, strict=True), (c.e_pre, pre), *zip(c.e_s, trace.stored, strict=True)]
    gather(trace, trace.e, e_terms, last if trace.plan.output else None, c.e_e)
    fresh = trace.spare if len(trace.stored) > 1 else trace.stored
    for m, old in enumerate(trace.stored):
        terms = [
            *zip(c.s_shared[m], shared, strict=True),
            (c.s_pre[m], pre),
            (c.s_e_last[m], last),
            (c.s_e[m], trace.e),
        ]
        terms += [(c.s_s[m][q], other) for q, other in enumerate(trace.stored) if q != m]
        gather(trace, fresh[m], terms, old, c.s_s[m][m])
    if len(trace.stored) > 1:
        kept = len(trace.stored)
        trace.stored, trace.spare[:kept] = trace.spare[:kept], trace.stored
    if trace.e_bar is not None:
        trace.e_bar.lerp_(trace.e, 1 - kappa)
    return met
