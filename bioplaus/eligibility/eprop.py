"""e-prop's eligibility: every path inside the neuron (Bellec et al. 2020, doi:10.1038/s41467-020-17236-y).

    ε_t = D_t ε_{t−1} + M_t           eligibility vector, one value per state variable and synapse      (eq. 14)
    e_t = ψ_t ε_t                     eligibility trace                                                 (eq. 13)
    ē_t = κ ē_{t−1} + (1 − κ) e_t     seen through a leaky readout
    dL/dW = Σ_t L_t ē_t                                                                                  (eq. 4)

=======  =====================  ==========================================
symbol   variable               shape
=======  =====================  ==========================================
ε        ``full``, ``shared``   (batch, post, pre); (batch, pre) where all neurons of a population share it
e, ē     ``e``, ``e_bar``       (batch, post, pre)
L        ``credit``             (batch, post)
=======  =====================  ==========================================

The window schedule computes the same sum backwards: credit is swept back inside each neuron and meets the presynaptic
signal in one matrix product. Differs from the paper in nothing but that; D is derived from the cell's equations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bioplaus.circuit.linear import Credit, Linear, Window, at, channels, roll, silent, split, sweep, weight_gradients
from bioplaus.circuit.network import Network, Wired
from bioplaus.circuit.transpose import Partials
from bioplaus.declaration import Declaration
from bioplaus.symbolic.torch_source import Entry


def times(a: Tensor | None, e: Entry) -> Tensor | None:
    """a·e, where None is zero."""
    if a is None or e is None:
        return None
    return a if isinstance(e, float) and e == 1.0 else a * e


def plus(total: Tensor | None, a: Tensor | None, e: Entry = 1.0) -> Tensor | None:
    """total + a·e, where None is zero."""
    if a is None or e is None:
        return total
    if total is None:
        return times(a, e)
    return torch.add(total, a, alpha=e) if isinstance(e, float) else torch.addcmul(total, a, e)


def _e_times(a: Entry, b: Entry) -> Entry:
    return None if a is None or b is None else a * b


def _e_plus(a: Entry, b: Entry) -> Entry:
    return b if a is None else a if b is None else a + b


#: steps whose partials are stacked at once in a reverse sweep  # chosen: 200 steps of 32 × 100 neurons fit a second-level cache
PIECE = 200


@dataclass(frozen=True)
class Plan:
    """Which traces one channel of one projection needs, read off the pattern of zeros and constants."""

    shared: tuple[int, ...]  # u_i whose trace is the same for all neurons: constant coefficients all along
    own: tuple[int, ...]  # u_i with a trace per synapse
    stored: tuple[int, ...]  # s_j kept per synapse
    output: bool  # the last e is needed (cells that read their own output)


def plan(part: Partials, k: int) -> Plan:
    """Reachability and factorisation of channel ``k``."""
    S = range(len(part.psi))

    def feeds(i: int, j: int) -> bool:
        """u_j at t−1 → u_i at t, inside the neuron"""
        through_s = any(part.F[i][m] is not None and (part.Ru[m][j] is not None or (part.ry[m] is not None and part.psi[j] is not None)) for m in S)
        return through_s or (part.E[i] is not None and part.psi[j] is not None)

    reach = {i for i in S if part.G[i][k] is not None}
    while True:
        more = reach | {i for i in S if any(feeds(i, j) for j in reach)}
        if more == reach:
            break
        reach = more
    shared = set(reach)
    while True:
        bad = set()
        for i in shared:
            sources = [m for m in S if part.F[i][m] is not None]
            constant = isinstance(part.G[i][k], float | None) and part.E[i] is None and all(isinstance(part.F[i][m], float) for m in sources)
            plain = all(
                part.ry[m] is None and all(part.Ru[m][j] is None or (isinstance(part.Ru[m][j], float) and j in shared) for j in reach) for m in sources
            )
            if not (constant and plain):
                bad.add(i)
        if not bad:
            break
        shared -= bad
    own = reach - shared
    stored = tuple(m for m in S if any(part.F[i][m] is not None for i in own) and (part.ry[m] is not None or any(part.Ru[m][j] is not None for j in reach)))
    return Plan(tuple(sorted(shared)), tuple(sorted(own)), stored, any(part.E[i] is not None for i in own))


@dataclass
class Trace:
    """Traces of one channel of one projection."""

    wired: Wired
    k: int  # channel index in the cell
    row: int  # position among the projection's channels
    plan: Plan
    shared: dict[int, Tensor]
    full: dict[int, Tensor]
    e: Tensor | None = None
    e_bar: Tensor | None = None
    e_sum: Tensor | None = None


@dataclass
class Traces:
    """All traces of a network."""

    items: list[Trace]
    keep_sum: bool = False
    fresh: bool = True  # no step has been taken: all traces are zero


def outer(c: Entry, v: Tensor) -> Tensor | None:
    """c ⊗ v over (post, pre); c is an entry over (batch, post)."""
    if c is None:
        return None
    return c * v.unsqueeze(-2) if isinstance(c, float) else c.unsqueeze(-1) * v.unsqueeze(-2)


def wide(c: Entry) -> Entry:
    """A per-neuron entry seen by its synapses."""
    return c.unsqueeze(-1) if isinstance(c, Tensor) else c


@dataclass(frozen=True)
class EProp:
    """ε ← Dε + M, e = ψε: paths inside the neuron. Needs credit for the output."""

    declaration: ClassVar[Declaration] = Declaration(
        half="past", credit="output", bias="exact", exact_when="given the credit for the output through all other neurons", causal=True, local=True,
        memory="n·m·S; m where D and G are constant", time="n·m·S", keeps="paths inside the neuron", reference="doi:10.1038/s41467-020-17236-y",
    )  # fmt: skip

    def refuse(self, network: Network) -> str | None:
        return None

    def partials(self, linear: Linear) -> tuple[Partials, ...]:
        """The within-neuron derivatives the trace follows; relatives of e-prop put their own here."""
        return linear.partials

    def _within(self, linear: Linear) -> Linear:
        within = Linear(linear.network, linear.window)
        within.__dict__["partials"] = self.partials(linear)
        return within

    def init(self, network: Network, batch: int) -> Traces:
        x = torch.zeros(1, 1, network.circuit.inputs, dtype=network.dtype, device=network.device)
        pattern = self.partials(Linear(network, roll(network, network.start(1), x)[0]))
        items = []
        for w in network.learned:
            n = network.populations[w.target].size
            for row, k in enumerate(w.channels):
                chosen = plan(pattern[w.target], k)
                m = 1 if w.source == -2 else network.weights[w.spec.name].shape[1]
                zeros = lambda *shape: torch.zeros(batch, *shape, dtype=network.dtype, device=network.device)  # noqa: E731
                items.append(
                    Trace(
                        w, k, row, chosen, {i: zeros(m) for i in chosen.shared}, {j: zeros(n, m) for j in chosen.stored},
                        e=zeros(n, m), e_bar=zeros(n, m) if network.kappa and w.target in network.sources else None,
                    )
                )  # fmt: skip
        return Traces(items)

    def step(self, state: Traces, linear: Linear) -> Traces:
        state.fresh = False
        pres: dict[str, Tensor] = {}
        parts = [split(p, 1)[0] for p in self.partials(linear)]
        for trace in state.items:
            name = trace.wired.spec.name
            if name not in pres:
                pres[name] = linear.window.pre(trace.wired)[0]
            self._advance(trace, parts[trace.wired.target], pres[name], linear.network.kappa)
            if state.keep_sum:
                assert trace.e is not None
                trace.e_sum = trace.e.sum(0) if trace.e_sum is None else trace.e_sum + trace.e.sum(0)
        return state

    @staticmethod
    def _advance(trace: Trace, part: Partials, pre: Tensor, kappa: float) -> None:
        chosen, k, S = trace.plan, trace.k, range(len(part.psi))
        du = dict(trace.shared)
        for i in chosen.shared:
            value = times(pre, part.G[i][k])
            for m in S:
                if part.F[i][m] is not None:
                    for j in chosen.shared:
                        value = plus(value, trace.shared[j], _e_times(part.F[i][m], part.Ru[m][j]))
            du[i] = value if value is not None else torch.zeros_like(trace.shared[i])
        # e = Σ ψ_i du_i, gathered by what it multiplies, so that each synapse is visited as few times as possible
        e: Tensor | None = None
        for i in chosen.shared:
            o = outer(part.psi[i], du[i])
            e = o if e is None else plus(e, o)
        at_pre: Entry = None
        at_e: Entry = None
        at_stored: dict[int, Entry] = dict.fromkeys(chosen.stored)
        for i in chosen.own:
            at_pre = _e_plus(at_pre, _e_times(part.psi[i], part.G[i][k]))
            at_e = _e_plus(at_e, _e_times(part.psi[i], part.E[i]))
            for m in chosen.stored:
                at_stored[m] = _e_plus(at_stored[m], _e_times(part.psi[i], part.F[i][m]))
        o = outer(at_pre, pre)
        e = o if e is None else plus(e, o)
        e = plus(e, trace.e, wide(at_e)) if chosen.output else e
        for m in chosen.stored:
            e = plus(e, trace.full[m], wide(at_stored[m]))
        fresh = {}
        for m in chosen.stored:
            value: Tensor | None = None
            for m2 in chosen.stored:
                c: Entry = None
                for i in chosen.own:
                    c = _e_plus(c, _e_times(part.Ru[m][i], part.F[i][m2]))
                value = plus(value, trace.full[m2], wide(c))
            c_pre: Entry = None
            c_e: Entry = None
            for i in chosen.own:
                c_pre = _e_plus(c_pre, _e_times(part.Ru[m][i], part.G[i][k]))
                c_e = _e_plus(c_e, _e_times(part.Ru[m][i], part.E[i]))
            o = outer(c_pre, pre)
            value = o if value is None else plus(value, o)
            value = plus(value, trace.e, wide(c_e)) if chosen.output else value
            for i in chosen.shared:
                value = plus(value, outer(part.Ru[m][i], du[i]))
            value = plus(value, e, wide(part.ry[m]))
            fresh[m] = value if value is not None else torch.zeros_like(trace.full[m])
        trace.shared = {i: du[i] for i in chosen.shared}
        trace.full.update(fresh)
        assert trace.e is not None
        trace.e = torch.zeros_like(trace.e) if e is None else e.expand_as(trace.e)
        if trace.e_bar is not None:
            trace.e_bar = torch.lerp(trace.e, trace.e_bar, kappa)

    def gradient(self, network: Network, state: Traces, linear: Linear, credit: Credit) -> dict[str, Tensor]:
        out: dict[str, Tensor] = {}
        for trace in state.items:
            p = trace.wired.target
            total: Tensor | None = None
            c = credit.y[p][0]
            if c is not None:
                total = torch.einsum("bn,bnm->nm", c[0], trace.e)
            for s, f in zip(network.sources, credit.filtered, strict=False):
                if s == p and f is not None:
                    total = plus(total, torch.einsum("bn,bnm->nm", f[0], trace.e_bar))
            if total is not None:
                _place(out, network, trace, total)
        return out

    def summed(self, network: Network, state: Traces, credit: Credit) -> dict[str, Tensor]:
        out: dict[str, Tensor] = {}
        for trace in state.items:
            c = credit.y[trace.wired.target][0]
            if c is not None and trace.e_sum is not None:
                _place(out, network, trace, c[:, None] * trace.e_sum)
        return out

    def window(self, network: Network, state: Traces, linear: Linear, credit: Credit, last: bool) -> tuple[dict[str, Tensor], Traces]:
        within = self._within(linear)
        gradients: dict[str, Tensor] = {}
        end = None
        for cut, piece in reversed(within.pieces(PIECE)):
            if piece is not within:
                piece = self._within(piece)
            swept = sweep(piece, at(credit, cut), end, recurrent=False)
            for name, g in weight_gradients(network, piece.window, swept.a_I).items():
                gradients[name] = gradients[name] + g if name in gradients else g
            end = swept.start
        if last and state.fresh and not state.keep_sum:  # nothing came in, nothing goes out
            return gradients, state
        state.fresh = False
        swept_start = end if end is not None else silent(network)
        for trace in state.items:  # what earlier windows left in the traces
            p = trace.wired.target
            carried: Tensor | None = None
            for j, full in _carried_states(trace, within.partials[p]).items():
                a = swept_start.s[p][j]
                if a is not None:
                    carried = plus(carried, torch.einsum("bn,bnm->nm", a, full))
            a = swept_start.y[p][0]
            if a is not None and trace.e is not None:
                carried = plus(carried, torch.einsum("bn,bnm->nm", a, trace.e))
            for s, a in zip(network.sources, swept_start.filtered, strict=False):
                if s == p and a is not None and trace.e_bar is not None:
                    carried = plus(carried, torch.einsum("bn,bnm->nm", a, trace.e_bar))
            if carried is not None:
                place: dict[str, Tensor] = {}
                _place(place, network, trace, carried)
                for name, g in place.items():
                    gradients[name] = gradients[name] + g if name in gradients else g
        if state.keep_sum:
            self._add_sum(network, state, within)
        if not last:
            self._carry(network, state, within)
        return gradients, state

    def _add_sum(self, network: Network, state: Traces, within: Linear) -> None:
        """Σ e over the window, by the same sweep with a credit of one for every output."""
        ones = silent(network)
        y = tuple((torch.ones_like(within.window.spikes(i)), *ages[1:]) for i, ages in enumerate(ones.y))
        swept = sweep(within, ones._replace(y=y), recurrent=False)
        for trace in state.items:
            p = trace.wired.target
            total = self._meet(network, within.window, trace, swept.a_I)
            for j, full in _carried_states(trace, within.partials[p]).items():
                a = swept.start.s[p][j]
                total = plus(total, torch.einsum("bn,bnm->nm", a, full)) if a is not None else total
            a = swept.start.y[p][0]
            if a is not None and trace.e is not None:
                total = plus(total, torch.einsum("bn,bnm->nm", a, trace.e))
            if total is not None:
                trace.e_sum = total if trace.e_sum is None else trace.e_sum + total

    @staticmethod
    def _meet(network: Network, window: Window, trace: Trace, a_I: tuple[Tensor | None, ...]) -> Tensor | None:
        a = channels(network, a_I[trace.wired.target], trace.wired)
        if a is None:
            return None
        n = network.populations[trace.wired.target].size
        return a.flatten(0, -2)[:, trace.row * n : (trace.row + 1) * n].T @ window.pre(trace.wired).flatten(0, -2)

    def _carry(self, network: Network, state: Traces, within: Linear) -> None:
        """Traces at the window's end: forward, step by step, from those at its start."""
        pres = {t.wired.spec.name: within.window.pre(t.wired) for t in state.items}
        parts = [split(part, len(within.window)) for part in within.partials]
        for t in range(len(within.window)):
            for trace in state.items:
                self._advance(trace, parts[trace.wired.target][t], pres[trace.wired.spec.name][t], network.kappa)


def _carried_states(trace: Trace, part: Partials) -> dict[int, Tensor]:
    """ds/dW before the window for every state that has one, shared traces included."""
    out = dict(trace.full)
    for m in range(len(part.psi)):
        if m in out:
            continue
        total: Tensor | None = None
        for j in trace.plan.shared:
            c = part.Ru[m][j]
            if c is not None:
                assert isinstance(c, float), "a shared trace passes through constant entries only"
                o = (trace.shared[j] * c).unsqueeze(-2)
                total = o if total is None else total + o
        if total is not None:
            assert trace.e is not None
            out[m] = total.expand_as(trace.e)
    return out


def _place(out: dict[str, Tensor], network: Network, trace: Trace, g: Tensor) -> None:
    """Add a channel's (post, pre) gradient to its rows of the weight."""
    name = trace.wired.spec.name
    W = network.weights[name]
    if name not in out:
        out[name] = torch.zeros_like(W)
    n = network.populations[trace.wired.target].size
    rows = out[name][trace.row * n : (trace.row + 1) * n]
    rows += g.view_as(rows)


__all__ = ["EProp", "Plan", "Trace", "Traces", "plan"]
