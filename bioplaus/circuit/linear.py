"""A stretch of a trajectory and its linearisation: the transpose of one step, in two halves.

A step runs  h_{t−1} → u_t → h_t,  where h = (s, y, older outputs in flight, ȳ) is what crosses between steps and u is the
integrator's result. Its transpose carries credit back through the same two halves (row vectors)::

    to_u    a_y += ry·a_s (+ (1−κ) a_ȳ);   a_u = Ruᵀ a_s + ψ a_y
    to_h    a_I = Gᵀ a_u;   a_s = Fᵀ a_u;   a_y = E a_u + Σ Wᵀ a_I

Composed over time they are backpropagation; without the Σ Wᵀ a_I they never leave the neuron, which is e-prop; applied to
a basis they give the Jacobian. Nothing else in the project differentiates a circuit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bioplaus.circuit.network import Network, State, Step, Wired
from bioplaus.symbolic.torch_source import Entry


class Credit(NamedTuple):
    """Credit for h (or anything shaped like it); None where there is none. Tensors are (…, batch, unit)."""

    s: tuple[tuple[Tensor | None, ...], ...]  # [population][state]
    y: tuple[tuple[Tensor | None, ...], ...]  # [population][age]
    filtered: tuple[Tensor | None, ...]  # [source]


class Partials(NamedTuple):
    """F, E, G, ψ, Ru, ry of one population: nested tuples of entries (None zero, float, or tensor)."""

    F: Any
    E: Any
    G: Any
    psi: Any
    Ru: Any
    ry: Any


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


class Window:
    """Consecutive steps of a trajectory, stacked over time when somebody asks."""

    def __init__(self, network: Network, steps: Sequence[Step], x: Tensor) -> None:
        self.network, self.steps, self.x = network, steps, x
        self._stacked: dict[Any, Tensor] = {}

    def __len__(self) -> int:
        return len(self.steps)

    def _stack(self, key: Any, pick: Callable[[Step], Tensor]) -> Tensor:
        if key not in self._stacked:
            parts = [pick(step) for step in self.steps]
            self._stacked[key] = parts[0].unsqueeze(0) if len(parts) == 1 else torch.stack(parts)
        return self._stacked[key]

    def get(self, p: int, kind: str, i: int) -> Tensor:
        """A stacked quantity of population ``p``, (time, batch, unit)."""
        if kind == "I":
            I = self._stack(("I", p), lambda step: step.I[p])
            return I.unflatten(-1, (-1, self.network.populations[p].size)).select(-2, i)
        picks: dict[str, Callable[[Step], Tensor]] = {
            "s": lambda step: step.before.populations[p].s[i],
            "y_last": lambda step: step.before.populations[p].y[0],
            "y_now": lambda step: step.after.populations[p].y[0],
            "u": lambda step: step.u[p][i],
            "active": lambda step: step.active[p],  # type: ignore[return-value]
            "after": lambda step: step.after.populations[p].s[i],
        }
        return self._stack((kind, p, i), picks[kind])

    def pre(self, w: Wired) -> Tensor:
        """What a projection's weights multiply, (time, batch, pre)."""
        if w.source == -1:
            return self.x
        if w.source == -2:
            return self.x.new_ones(*self.x.shape[:-1], 1)
        age = (w.spec.delay or 1) - 1
        return self._stack(("pre", w.source, age), lambda step: step.before.populations[w.source].y[age])

    def seen(self) -> Tensor:
        """ȳ of all readout sources side by side, (time, batch, unit)."""
        return self._stack("seen", lambda step: torch.cat(self.network.read(step.after), -1))

    def spikes(self, p: int) -> Tensor:
        """Outputs of a population, (time, batch, unit)."""
        return self.get(p, "y_now", 0)


def roll(network: Network, state: State, x: Tensor) -> tuple[Window, State]:
    """Run the circuit over inputs (time, batch, input)."""
    drives = [d.unbind(0) for d in network.drive(x)]
    steps = []
    for drive in zip(*drives, strict=True):
        step = network.advance(state, drive)
        steps.append(step)
        state = step.after
    return Window(network, steps, x), state


@dataclass
class Linear:
    """The linearisation of a circuit along a window."""

    network: Network
    window: Window

    @cached_property
    def partials(self) -> tuple[Partials, ...]:
        """Per population, entries over the whole window."""
        out = []
        for i, p in enumerate(self.network.populations):
            out.append(Partials(*p.kernel.partials(lambda kind, j, i=i: self.window.get(i, kind, j))))
        return tuple(out)

    def steps(self) -> list[tuple[Partials, ...]]:
        """The partials of each step by itself."""
        T = len(self.window)
        return [tuple(p) for p in zip(*(split(p, T) for p in self.partials), strict=True)]

    def each(self) -> list[Linear]:
        """The linearisation of every step by itself; its entries are (batch, unit)."""
        singles = []
        for t, parts in enumerate(self.steps()):
            single = Linear(self.network, Window(self.network, [self.window.steps[t]], self.window.x[t : t + 1]))
            single.__dict__["partials"] = parts
            singles.append(single)
        return singles


def split(e: Any, T: int) -> Any:
    """Cut entries over time into a list of entries; constants repeat."""
    if isinstance(e, Partials):
        parts = [split(field, T) for field in e]
        return [Partials(*(part[t] for part in parts)) for t in range(T)]
    if isinstance(e, tuple):
        parts = [split(inner, T) for inner in e]
        return [tuple(part[t] for part in parts) for t in range(T)]
    return e.unbind(0) if isinstance(e, Tensor) and e.dim() == 3 else [e] * T


def to_u(network: Network, partials: Sequence[Partials], credit: Credit) -> tuple[tuple[tuple[Tensor | None, ...], ...], Credit]:
    """From credit for h_t to credit for u_t; what does not pass through u_t (older outputs, ȳ_{t−1}) comes back aged."""
    a_u = []
    arrived: dict[int, Tensor] = {}
    for s, f in zip(network.sources, credit.filtered, strict=False):
        if f is not None:
            arrived[s] = f * (1 - network.kappa)
    for i, part in enumerate(partials):
        a_s, a_y = credit.s[i], plus(credit.y[i][0], arrived.get(i))
        for a, e in zip(a_s, part.ry, strict=True):
            a_y = plus(a_y, a, e)
        S = range(len(a_s))
        row: list[Tensor | None] = []
        for j in S:
            total: Tensor | None = None
            for k in S:
                total = plus(total, a_s[k], part.Ru[k][j])
            row.append(plus(total, a_y, part.psi[j]))
        a_u.append(tuple(row))
    none = tuple(tuple(None for _ in s) for s in credit.s)
    aged = tuple((*ages[1:], None) for ages in credit.y)
    kept = tuple(None if f is None else f * network.kappa for f in credit.filtered)
    return tuple(a_u), Credit(none, aged, kept)


def to_h(
    network: Network, partials: Sequence[Partials], a_u: Sequence[tuple[Tensor | None, ...]], passed: Credit, recurrent: bool = True
) -> tuple[tuple[Tensor | None, ...], Credit]:
    """From credit for u_t to credit for the currents I_t (batch, channels · unit; None unless recurrent) and for h_{t−1}."""
    a_I: list[Tensor | None] = []
    s: list[tuple[Tensor | None, ...]] = []
    y = [list(ages) for ages in passed.y]
    for i, (part, row) in enumerate(zip(partials, a_u, strict=True)):
        S = range(len(row))
        old: list[Tensor | None] = []
        for j in S:
            total: Tensor | None = None
            for k in S:
                total = plus(total, row[k], part.F[k][j])
            old.append(total)
        s.append(tuple(old))
        for a, e in zip(row, part.E, strict=True):
            y[i][0] = plus(y[i][0], a, e)
        a_I.append(currents(part, row) if recurrent else None)
    if recurrent:
        for w in network.recurrent:
            a = channels(network, a_I[w.target], w)
            if a is not None:
                age = (w.spec.delay or 1) - 1
                W, old_y = network.weights[w.spec.name], y[w.source][age]
                y[w.source][age] = torch.addmm(old_y, a, W) if old_y is not None and a.dim() == 2 and old_y.dim() == 2 else plus(old_y, a @ W)
    return tuple(a_I), Credit(tuple(s), tuple(map(tuple, y)), passed.filtered)


def currents(part: Partials, row: Sequence[Tensor | None]) -> Tensor | None:
    """a_I = Gᵀ a_u, channels side by side."""
    K = range(len(part.G[0]))
    columns: list[Tensor | None] = []
    for k in K:
        total: Tensor | None = None
        for a, g in zip(row, part.G, strict=True):
            total = plus(total, a, g[k])
        columns.append(total)
    some = next((c for c in columns if c is not None), None)
    if some is None:
        return None
    return some if len(columns) == 1 else torch.cat([torch.zeros_like(some) if c is None else c for c in columns], -1)


def channels(network: Network, a_I: Tensor | None, w: Wired) -> Tensor | None:
    """The channels of a current's credit that a projection drives."""
    if a_I is None or w.whole:
        return a_I
    return a_I.unflatten(-1, (-1, network.populations[w.target].size))[..., list(w.channels), :].flatten(-2)


def silent(network: Network) -> Credit:
    """No credit at all."""
    return Credit(
        tuple(tuple(None for _ in p.start) for p in network.populations),
        tuple((None,) * p.ages for p in network.populations),
        tuple(None for _ in network.sources) if network.kappa else (),
    )


def add(a: Credit, b: Credit) -> Credit:
    """Sum of two credits."""
    return Credit(
        tuple(tuple(plus(x, y) for x, y in zip(p, q, strict=True)) for p, q in zip(a.s, b.s, strict=True)),
        tuple(tuple(plus(x, y) for x, y in zip(p, q, strict=True)) for p, q in zip(a.y, b.y, strict=True)),
        tuple(plus(x, y) for x, y in zip(a.filtered, b.filtered, strict=True)),
    )


def at(credit: Credit, t: int) -> Credit:
    """One step of a credit over time."""

    def pick(a: Tensor | None) -> Tensor | None:
        return None if a is None else a[t]

    return Credit(tuple(tuple(map(pick, p)) for p in credit.s), tuple(tuple(map(pick, p)) for p in credit.y), tuple(map(pick, credit.filtered)))


@dataclass
class Sweep:
    """Result of a reverse sweep: credit for the currents at every step, and for h before the first."""

    a_I: tuple[Tensor | None, ...]  # [population] (time, batch, channels · unit)
    start: Credit
    a_y: tuple[Tensor | None, ...]  # [population] total credit that reached y_t from outside the neuron; if asked for


def sweep(linear: Linear, direct: Credit, end: Credit | None = None, recurrent: bool = True, outputs: bool = False) -> Sweep:
    """Carry credit back over a window: backpropagation through time, or (recurrent=False) inside each neuron only.

    Parameters
    ----------
    direct : credit that arrives at h_t at every step, (time, batch, unit).
    end : credit for h at the window's last step from what lies beyond it.
    recurrent : whether credit crosses from neuron to neuron.
    outputs : also record a_y, the credit for each output that did not come through the neuron's own state.
    """
    network = linear.network
    T = len(linear.window)
    credit = end if end is not None else silent(network)
    recorded: list[list[tuple[Tensor | None, ...]]] = [[] for _ in network.populations]
    reached: list[list[Tensor | None]] = [[] for _ in network.populations]
    parts = linear.steps()
    arriving = _over_time(direct, T)
    for t in reversed(range(T)):
        credit = add(credit, arriving[t])
        if outputs:
            for i in range(len(parts[t])):
                reached[i].append(plus(credit.y[i][0], _filtered(network, credit, i)))
        a_u, passed = to_u(network, parts[t], credit)
        for i, row in enumerate(a_u):
            recorded[i].append(row)
        _, credit = to_h(network, parts[t], a_u, passed, recurrent)
    a_I = tuple(
        currents(part, [_stack(column) for column in zip(*reversed(rows), strict=True)])
        for part, rows in zip(linear.partials, recorded, strict=True)
    )
    return Sweep(a_I, credit, tuple(_stack(r[::-1]) for r in reached) if outputs else ())


def _filtered(network: Network, credit: Credit, population: int) -> Tensor | None:
    for s, f in zip(network.sources, credit.filtered, strict=False):
        if s == population and f is not None:
            return f * (1 - network.kappa)
    return None


def _over_time(credit: Credit, T: int) -> list[Credit]:
    def cut(a: Tensor | None) -> Any:
        return [None] * T if a is None else a.unbind(0)

    s = [[cut(a) for a in p] for p in credit.s]
    y = [[cut(a) for a in p] for p in credit.y]
    f = [cut(a) for a in credit.filtered]
    return [Credit(tuple(tuple(a[t] for a in p) for p in s), tuple(tuple(a[t] for a in p) for p in y), tuple(a[t] for a in f)) for t in range(T)]


def _stack(column: Sequence[Tensor | None]) -> Tensor | None:
    some = next((c for c in column if c is not None), None)
    return None if some is None else torch.stack([torch.zeros_like(some) if c is None else c for c in column])


def weight_gradients(network: Network, window: Window, a_I: Sequence[Tensor | None]) -> dict[str, Tensor]:
    """Σ over time and batch of credit for a current ⊗ what its weights multiplied: one matrix product a projection."""
    gradients = {}
    for w in network.learned:
        a = channels(network, a_I[w.target], w)
        if a is not None:
            W = network.weights[w.spec.name]
            gradients[w.spec.name] = (a.flatten(0, -2).T @ window.pre(w).flatten(0, -2)).view_as(W) if w.source != -2 else a.flatten(0, -2).sum(0)
    return gradients
