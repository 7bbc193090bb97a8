"""e-prop's eligibility: every path inside the neuron (Bellec et al. 2020, doi:10.1038/s41467-020-17236-y).

    ε_t = D_t ε_{t−1} + M_t           eligibility vector, one value per state variable and synapse      (eq. 14)
    e_t = ψ_t ε_t                     eligibility trace                                                 (eq. 13)
    ē_t = κ ē_{t−1} + (1 − κ) e_t     seen through a leaky readout
    dL/dW = Σ_t L_t ē_t                                                                                  (eq. 4)

=======  ======================  ==========================================
symbol   variable                shape
=======  ======================  ==========================================
ε        ``stored``, ``shared``  (batch, post, pre); (batch, pre) where all neurons of a population share it
e, ē     ``e``, ``e_bar``        (batch, post, pre)
L        ``credit``              (batch, post)
=======  ======================  ==========================================

The window schedule computes the same sum backwards: credit is swept back inside each neuron and meets the presynaptic
signal in one matrix product. Differs from the paper in nothing but that; D is derived from the cell's equations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from bioplaus.circuit.credit import Credit, anywhere, silent
from bioplaus.circuit.network import Network
from bioplaus.circuit.sweep import sweep, weight_gradients
from bioplaus.circuit.tangent import Tangent, split
from bioplaus.circuit.trajectory import roll
from bioplaus.circuit.wiring import Wired
from bioplaus.codegen.partials import Partials
from bioplaus.codegen.plans import Plan, plan
from bioplaus.declaration import Declaration
from bioplaus.eligibility import fused_traces
from bioplaus.eligibility.base import Eligibility
from bioplaus.eligibility.traces import Piece, Trace, Traces, advance, coefficients
from bioplaus.errors import RuleError
from bioplaus.own import Owns

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class EProp(Eligibility[Credit]):
    """ε ← Dε + M, e = ψε: paths inside the neuron. Needs credit for the output."""

    declaration: ClassVar[Declaration] = Declaration(
        half="past", credit="output", bias="exact", exact_when="always", causal=True, local=True, memory="S·K·n·m", time="S²·K·n·m",
        keeps="paths inside the neuron", reference="doi:10.1038/s41467-020-17236-y", tensor="ε[jm]",
    )  # fmt: skip

    takes_stretches: ClassVar[bool] = True
    lets_go: ClassVar[bool] = True
    #: whether traces carried forward are read between windows too
    reads_ends: ClassVar[bool] = False
    sums: ClassVar[bool] = True

    def partials(self, tangent: Tangent) -> tuple[Partials, ...]:
        """The within-neuron derivatives the trace follows; relatives of e-prop put their own here."""
        return tangent.partials

    def _within(self, tangent: Tangent) -> Tangent:
        return tangent.of(self.partials(tangent))

    def reached(self, network: Network, hearers: set[int]) -> set[int]:
        return hearers

    def init(
        self,
        network: Network,
        batch: int,
        own: Owns | None = None,
        generator: torch.Generator | None = None,
    ) -> Traces:
        x = torch.zeros(1, 1, network.lines, dtype=network.dtype, device=network.device)
        pattern = self.partials(Tangent(network, roll(network, network.start(1), x)[0]))
        items = []
        for p, wiring in enumerate(network.populations):
            for k in range(wiring.channels):
                onto = [w for w in network.learned if w.target == p and k in w.channels]
                together = [w for w in onto if w.synapses is None]
                for some in ([together] if together else []) + [[w] for w in onto if w.synapses is not None]:
                    items.append(_trace(network, p, k, some, plan(pattern[p], k), batch))
        return Traces(items)

    def step(self, state: Traces, tangent: Tangent) -> Traces:
        self._walk(tangent.network, state, self._within(tangent), None, state.keep_sum)
        return state

    def forward(
        self, network: Network, state: Traces, tangent: Tangent, credit: Credit
    ) -> tuple[dict[str, Tensor], Traces]:
        """Traces carried forward through the window, met by the credit of every step."""
        return self._walk(network, state, self._within(tangent), credit, state.keep_sum), state

    def _walk(
        self, network: Network, state: Traces, within: Tangent, credit: Credit | None, summing: bool
    ) -> dict[str, Tensor]:
        state.fresh = False
        T, ends = len(within.stretch), credit is None or self.reads_ends
        out: dict[str, Tensor] = {}
        for trace in state.items:
            told = _told(within, trace, credit)
            if within.stretch.fused and not (told or summing):
                _place(out, network, trace, fused_traces.met(trace, within, _outer(trace, credit), ends))
                continue
            part = within.partials[trace.population]
            pre, over_time = trace.arriving(within.stretch).unbind(0), split(coefficients(part, trace.k, trace.plan), T)
            meetings = _meetings(trace.settle(), credit)
            inner = torch.zeros_like(trace.e[0])
            for t in range(T):
                met = advance(trace, over_time[t], pre[t], network.kappa, told[t] if told else None)
                inner = inner if met is None else inner + met
                if summing:
                    e = trace.e if state.apart else trace.e.sum(0, keepdim=True)
                    trace.e_sum = e.clone() if trace.e_sum is None else trace.e_sum + e
                for name, L, total in meetings:
                    if t == 0:
                        torch.mul(L[t], getattr(trace, name), out=total)
                    else:
                        total.addcmul_(L[t], getattr(trace, name))
            for _, _, total in meetings:
                _place(out, network, trace, total.sum(0))
            if told:
                _place(out, network, trace, inner)
        return out

    def gradient(self, network: Network, state: Traces, tangent: Tangent, credit: Credit) -> dict[str, Tensor]:
        if anywhere(credit.u):
            raise RuleError(
                f"{type(self).__name__} meets credit for the state before its reset while a step is taken: ask forward() or window(), not step() and gradient()."
            )
        out: dict[str, Tensor] = {}
        for trace in state.items:
            for name, L, total in _meetings(trace.settle(), credit):
                _place(out, network, trace, torch.mul(L[0], getattr(trace, name), out=total).sum(0))
        return out

    def summed(self, network: Network, state: Traces, credit: Credit) -> dict[str, Tensor]:
        out: dict[str, Tensor] = {}
        for trace in state.items:
            c = credit.y[trace.population][0]
            if c is not None and trace.e_sum is not None:
                _place(out, network, trace, (trace.wide(c) * trace.e_sum).sum(0))
        return out

    def window(
        self, network: Network, state: Traces, stretches: Sequence[tuple[Tangent, Credit]], last: bool
    ) -> tuple[dict[str, Tensor], Traces]:
        within = [self._within(tangent) for tangent, _ in stretches]
        gradients, start = self._back(within, [credit for _, credit in stretches])
        untouched = state.fresh  # nothing came in
        state.fresh = False
        if state.keep_sum and not state.apart:  # Σ e: the same sweep with a credit of one for every output
            sums, first = self._back(within, [_ones(network, tangent) for tangent in within])
            if not untouched:
                self._met(network, state, within[0], first, sums)
            for trace in state.items:
                n = network.populations[trace.population].size
                mine = torch.cat([_rows(sums[x.wired.spec.name], trace, n, x) for x in trace.pieces], -1)
                trace.e_sum = mine[None] if trace.e_sum is None else trace.e_sum + mine
        if not untouched:
            self._met(network, state, within[0], start, gradients)
        if not last or state.apart:
            for tangent in within:  # traces at the window's end; Σ e over the batch is complete without it
                self._walk(network, state, tangent, None, summing=state.apart)
        return gradients, state

    def _back(self, within: Sequence[Tangent], credits: Sequence[Credit]) -> tuple[dict[str, Tensor], Credit]:
        """Gradient of a window by itself, and credit for what came into it."""
        gradients: dict[str, Tensor] = {}
        end = None
        for tangent, credit in reversed(list(zip(within, credits, strict=True))):
            swept = sweep(tangent, credit, end, recurrent=False)
            for name, g in weight_gradients(tangent.network, tangent.stretch, swept.a_I).items():
                gradients[name] = gradients[name] + g if name in gradients else g
            end = swept.start
        assert end is not None
        return gradients, end

    @staticmethod
    def _met(network: Network, state: Traces, within: Tangent, start: Credit, gradients: dict[str, Tensor]) -> None:
        """Add what earlier windows left in the traces: credit for h before the window, met by its derivatives."""
        for trace in state.items:
            p = trace.population
            before = _before(trace.settle(), within.partials[p]).items()
            pairs: list[tuple[Tensor | None, Tensor | None]] = [(start.s[p][m], d) for m, d in before]
            pairs.append((start.y[p][0], trace.e))
            if start.filtered:
                pairs.append((start.filtered[p], trace.e_bar))
            for a, derivative in pairs:
                if a is not None and derivative is not None:
                    if trace.synapses is None:
                        met = torch.einsum("bn,bnm->nm", a, derivative)
                    else:
                        met = (trace.wide(a) * derivative).sum(0)
                    _place(gradients, network, trace, met)


def _trace(network: Network, p: int, k: int, onto: Sequence[Wired], chosen: Plan, batch: int) -> Trace:
    """The traces of some projections onto a channel, all zero."""
    pieces, m = [], 0
    for w in onto:
        width = w.width(network.weights[w.spec.name])
        pieces.append(Piece(w, w.channels.index(k), slice(m, m + width)))
        m += width
    synapses = onto[0].synapses
    each = (network.populations[p].size, m) if synapses is None else (len(synapses),)

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(batch, *shape, dtype=network.dtype, device=network.device)

    spare = (len(chosen.stored) if len(chosen.stored) > 1 else 0) + chosen.output
    return Trace(
        p,
        k,
        pieces,
        chosen,
        [zeros(m) for _ in chosen.shared],
        [zeros(*each) for _ in chosen.stored],
        zeros(*each),
        zeros(*each) if network.kappa else None,
        None,
        [zeros(*each) for _ in range(spare)],
        synapses=synapses,
    )


def _outer(trace: Trace, credit: Credit | None) -> tuple[Tensor | None, Tensor | None]:
    """Credit for e, and for ē, (time, batch, post)."""
    if credit is None:
        return None, None
    p = trace.population
    return credit.y[p][0], credit.filtered[p] if credit.filtered else None


def _meetings(trace: Trace, credit: Credit | None) -> list[tuple[str, Any, Tensor]]:
    """Which trace meets which credit, (time)(batch, post, 1), and where each sample's sum goes: the trace is read as it lies."""
    pairs = zip(("e", "e_bar"), _outer(trace, credit), strict=True)
    met = {name: trace.wide(c).unbind(0) for name, c in pairs if c is not None}
    for name in met.keys() - trace.met.keys():
        trace.met[name] = torch.empty_like(trace.e)
    return [(name, L, trace.met[name]) for name, L in met.items()]


def _told(within: Tangent, trace: Trace, credit: Credit | None) -> Sequence[Any]:
    """What takes credit for u to a trace's du, step by step: e's own coefficients with the credit in ψ's place; nothing where there is none."""
    if credit is None or not anywhere([mine := credit.u[trace.population]]):
        return ()
    part = within.partials[trace.population]._replace(psi=mine)
    return split(coefficients(part, trace.k, trace.plan), len(within.stretch))


def _ones(network: Network, tangent: Tangent) -> Credit:
    empty = silent(network)
    y = tuple((torch.ones_like(tangent.stretch.spikes(i)), *ages[1:]) for i, ages in enumerate(empty.y))
    return empty._replace(y=y)


def _before(trace: Trace, part: Partials) -> dict[int, Tensor]:
    """ds/dW before the window for every state that has one, shared traces included."""
    out = dict(zip(trace.plan.stored, trace.stored, strict=True))
    for m in set(range(len(part.psi))) - set(out):
        total = torch.zeros_like(trace.e)
        for j, shared in zip(trace.plan.shared, trace.shared, strict=True):
            c = part.Ru[m][j]
            if c is not None:
                assert isinstance(c, float), "a shared trace passes through constant entries only"
                total = total + trace.spread(shared * c)
        out[m] = total
    return out


def _rows(W: Tensor, trace: Trace, n: int, piece: Piece) -> Tensor:
    """A channel's part of a weight, as its trace is: (post, pre), or (synapse,)."""
    if trace.synapses is not None:
        return W[piece.row * len(trace.synapses) : (piece.row + 1) * len(trace.synapses)]
    return W[piece.row * n : (piece.row + 1) * n].view(n, -1)


def _place(out: dict[str, Tensor], network: Network, trace: Trace, g: Tensor) -> None:
    """Add a channel's gradient, (post, pre) or (synapse,), to its rows of the weights."""
    n = network.populations[trace.population].size
    parts = (g,) if len(trace.pieces) == 1 else g.split([x.where.stop - x.where.start for x in trace.pieces], -1)
    for piece, mine in zip(trace.pieces, parts, strict=True):
        name, W = piece.wired.spec.name, network.weights[piece.wired.spec.name]
        if name not in out and mine.numel() == W.numel():
            out[name] = mine if mine.shape == W.shape else mine.reshape(W.shape)
            continue
        if name not in out:
            out[name] = torch.zeros_like(W)
        rows = _rows(out[name], trace, n, piece)
        rows += mine


__all__ = ["EProp"]
