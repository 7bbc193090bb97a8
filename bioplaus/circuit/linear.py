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
from bioplaus.codegen.partials import Partials
from bioplaus.codegen.transpose import Transpose, transpose, varying

#: credit for u of every population: [population][state]
Inner = list[tuple[Tensor | None, ...]]


class Credit(NamedTuple):
    """Credit for h (or anything shaped like it); None where there is none. Tensors are (…, batch, unit)."""

    s: tuple[tuple[Tensor | None, ...], ...]  # [population][state]
    y: tuple[tuple[Tensor | None, ...], ...]  # [population][age]
    filtered: tuple[Tensor | None, ...]  # [source]


def plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """a + b, where None is zero."""
    return b if a is None else a if b is None else a + b


class Window:
    """Consecutive steps of a trajectory, stacked over time when somebody asks."""

    def __init__(self, network: Network, steps: Sequence[Step], x: Tensor) -> None:
        self.network, self.x = network, x
        self.steps: Sequence[Step] = steps
        self._stacked: dict[Any, Tensor] = {}
        #: (time,) 0 or 1: in which steps the weights' own deeds count; None: in all
        self.uses: Tensor | None = None

    def __len__(self) -> int:
        return self.x.shape[0]

    def forget(self) -> None:
        """Keep outputs and presynaptic signals, as far as they are stacked; the steps themselves are gone."""
        self.steps = ()
        self._stacked = {
            key: value for key, value in self._stacked.items() if key == "seen" or key[0] in ("pre", "y_now")
        }

    def _stack(self, key: Any, pick: Callable[[Step], Tensor]) -> Tensor:
        if key not in self._stacked:
            parts = [pick(step) for step in self.steps]
            self._stacked[key] = parts[0].unsqueeze(0) if len(parts) == 1 else torch.stack(parts)
        return self._stacked[key]

    def get(self, p: int, kind: str, i: int) -> Tensor:
        """A stacked quantity of population ``p``, (time, batch, unit)."""
        if kind == "I":
            # channel by channel, each in one piece: functions of a channel run twice as fast
            if ("I", p) not in self._stacked:
                stacked = torch.stack([step.I[p] for step in self.steps])
                apart = stacked.unflatten(-1, (-1, self.network.populations[p].size)).movedim(-2, 0)
                self._stacked["I", p] = apart.contiguous()
            return self._stacked["I", p][i]
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
            pre = self.x
        elif w.source == -2:
            pre = self.x.new_ones(*self.x.shape[:-1], 1)
        else:
            pre = self._stack(("pre", w.source, w.age), lambda step: step.before.populations[w.source].y[w.age])
        return pre if self.uses is None else pre * self.uses[:, None, None].to(pre)

    def seen(self) -> Tensor:
        """ȳ of all readout sources side by side, (time, batch, unit)."""
        if len(self.network.sources) == 1:
            return self._stack("seen", lambda step: self.network.read(step.after)[0])
        return self._stack("seen", lambda step: torch.cat(self.network.read(step.after), -1))

    def spikes(self, p: int) -> Tensor:
        """Outputs of a population, (time, batch, unit)."""
        return self.get(p, "y_now", 0)


def roll(network: Network, state: State, x: Tensor, states: bool = True) -> tuple[Window, State]:
    """Run the circuit over inputs (time, batch, input).

    ``states=False`` forgets the state variables (after the reset) and currents that no derivative needs: the less is kept,
    the less memory is touched.
    """
    drives = [d.unbind(0) for d in network.drive(x)]
    steps = []
    lean = not states and not any(p.kernel.needs & {"s", "I"} for p in network.populations)
    for drive in zip(*drives, strict=True):
        step = network.advance(state, drive)
        state = step.after
        steps.append(step.without_states() if lean else step)
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

    @cached_property
    def transposes(self) -> tuple[Transpose, ...]:
        """Per population, the transpose of its step."""
        return tuple(transpose(part, p.live) for part, p in zip(self.partials, self.network.populations, strict=True))

    @cached_property
    def varying(self) -> tuple[tuple[Tensor, ...], ...]:
        """Per population, what the transposes take as P, for the whole window."""
        return tuple(tuple(varying(part)) for part in self.partials)

    def at_steps(self) -> list[tuple[tuple[Tensor, ...], ...]]:
        """The same for each step: [time][population]."""
        T = len(self.window)
        by_population = [[t.unbind(0) if t.dim() == 3 else [t] * T for t in P] for P in self.varying]
        return list(zip(*(zip(*P, strict=True) if P else [()] * T for P in by_population), strict=True))

    def each(self) -> list[Linear]:
        """The linearisation of every step by itself; its entries are (batch, unit)."""
        singles = []
        parts = [split(part, len(self.window)) for part in self.partials]
        for t, P in enumerate(self.at_steps()):
            single = Linear(self.network, Window(self.network, [self.window.steps[t]], self.window.x[t : t + 1]))
            single.__dict__.update(partials=tuple(part[t] for part in parts), transposes=self.transposes, varying=P)
            singles.append(single)
        return singles

    def part(self, when: slice) -> Linear:
        """Some consecutive steps of it."""
        window = Window(self.network, self.window.steps[when], self.window.x[when])
        window.uses = None if self.window.uses is None else self.window.uses[when]
        part = Linear(self.network, window)
        part.__dict__.update(
            partials=_cut(self.partials, when), transposes=self.transposes, varying=_cut(self.varying, when)
        )
        return part

    def freeze(self) -> None:
        """Compute all that sweeps and traces will ask for, and let go of the steps."""
        assert self.transposes is not None and self.varying is not None
        for w in self.network.learned:
            self.window.pre(w)
        self.window.forget()


def _cut(e: Any, when: slice) -> Any:
    """Entries over time, at some steps."""
    if isinstance(e, tuple):
        parts = [_cut(inner, when) for inner in e]
        return type(e)(*parts) if hasattr(e, "_make") else tuple(parts)
    return e[when] if isinstance(e, Tensor) and e.dim() == 3 else e


def split(e: Any, T: int) -> Any:
    """Cut entries over time into a list of entries; constants repeat."""
    if isinstance(e, tuple):
        make = type(e)._make if hasattr(e, "_make") else tuple  # type: ignore[attr-defined]
        parts = [split(inner, T) for inner in e]
        return [make(row) for row in zip(*parts, strict=True)] if parts else [make(())] * T
    return e.unbind(0) if isinstance(e, Tensor) and e.dim() == 3 else [e] * T


def to_u(network: Network, steps: Sequence[Transpose], P: Sequence[Any], credit: Credit) -> tuple[Inner, Credit]:
    """From credit for h_t to credit for u_t; what does not pass through u_t (older outputs, ȳ_{t−1}) comes back aged.

    ``P`` is one entry of `Linear.at_steps`, or `Linear.varying` to treat all steps of a window at once, each by itself.
    """
    y = [ages[0] for ages in credit.y]
    filtered: list[Tensor | None] = []
    for source, f in zip(network.sources, credit.filtered, strict=False):
        if f is not None:
            now = y[source]
            y[source] = f * (1 - network.kappa) if now is None else torch.add(now, f, alpha=1 - network.kappa)
        filtered.append(None if f is None else f * network.kappa)
    u: Inner = []
    for p, step, held, s, now in zip(network.populations, steps, P, credit.s, y, strict=True):
        if now is None or lacking(s, p.live):
            some = next((a for a in (now, *s) if a is not None), None)
            if some is None:
                u.append((None,) * len(s))
                continue
            zero = torch.zeros_like(some)
            s, now = tuple(zero if a is None else a for a in s), zero if now is None else now
        u.append(step.to_u(held, s, now))
    aged = tuple([(*ages[1:], None) for ages in credit.y])
    return u, Credit(tuple([(None,) * len(s) for s in credit.s]), aged, tuple(filtered))


def lacking(s: Sequence[Tensor | None], live: Sequence[bool]) -> bool:
    """Whether credit for a live state is missing."""
    for a, crosses in zip(s, live, strict=True):
        if crosses and a is None:
            return True
    return False


def to_h(
    network: Network, steps: Sequence[Transpose], P: Sequence[Any], u: Inner, passed: Credit, recurrent: bool = True
) -> tuple[list[Tensor | None], Credit]:
    """From credit for u_t to credit for the currents I_t (batch, channels · unit; None unless recurrent) and for h_{t−1}."""
    I: list[Tensor | None] = [None] * len(u)
    s: list[tuple[Tensor | None, ...]] = []
    y = [list(ages) for ages in passed.y]
    for i, (step, p, a_u) in enumerate(zip(steps, P, u, strict=True)):
        if a_u[0] is None and all(a is None for a in a_u):
            s.append(a_u)
            continue
        old, own = step.to_h(p, a_u)
        s.append(old)
        y[i][0] = plus(y[i][0], own)
        if recurrent:
            I[i] = step.currents(p, a_u)
    if recurrent:
        for w in network.recurrent:
            a = channels(network, I[w.target], w)
            if a is not None:
                W, old_y = network.weights[w.spec.name], y[w.source][w.age]
                y[w.source][w.age] = (
                    torch.addmm(old_y, a, W)
                    if old_y is not None and a.dim() == 2 == old_y.dim()
                    else plus(old_y, a @ W)
                )
    return I, Credit(tuple(s), tuple(map(tuple, y)), passed.filtered)


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


def mapped(change: Callable[..., Any], *credits: Credit) -> Credit:
    """A function applied to every part of one or several credits."""
    return Credit(
        tuple(tuple(map(change, *parts)) for parts in zip(*(c.s for c in credits), strict=True)),
        tuple(tuple(map(change, *parts)) for parts in zip(*(c.y for c in credits), strict=True)),
        tuple(map(change, *(c.filtered for c in credits))),
    )


def add(a: Credit, b: Credit) -> Credit:
    """Sum of two credits."""
    return mapped(plus, a, b)


def at(credit: Credit, t: int | slice) -> Credit:
    """One step, or a stretch, of a credit over time."""
    return mapped(lambda a: None if a is None else a[t], credit)


@dataclass
class Sweep:
    """Result of a reverse sweep: credit for the currents at every step, and for h before the first."""

    a_I: tuple[Tensor | None, ...]  # [population] (time, batch, channels · unit)
    start: Credit
    a_y: tuple[Tensor | None, ...]  # [population] credit that reached y_t from outside the neuron; if asked for
    a_h: list[Credit]  # all the credit that stood at h_t, over time; if asked for


def sweep(
    linear: Linear,
    direct: Credit,
    end: Credit | None = None,
    *,
    recurrent: bool = True,
    decay: float = 1.0,
    outputs: bool = False,
    states: bool = False,
) -> Sweep:
    """Carry credit back over a window: backpropagation through time, or (recurrent=False) inside each neuron only.

    Parameters
    ----------
    direct : credit that arrives at h_t at every step, (time, batch, unit).
    end : credit for h at the window's last step from what lies beyond it.
    recurrent : whether credit crosses from neuron to neuron.
    decay : what credit keeps of itself at every step back.
    outputs : also record a_y, the credit for each output that did not come through the neuron's own state.
    states : also record a_h.
    """
    network, steps = linear.network, linear.transposes
    T, populations = len(linear.window), range(len(network.populations))
    credit = end if end is not None else silent(network)
    us: list[Inner] = []
    Is: list[list[Tensor | None]] = []
    reached: list[list[Tensor | None]] = [[] for _ in populations]
    own: list[Tensor | None] = [None for _ in populations]
    stood: list[Credit] = []
    arriving = _arrivals(direct, T)
    P = linear.at_steps()
    for t in reversed(range(T)):
        credit = arriving(credit, t)
        if states:
            stood.append(credit)
        if outputs:
            for i in populations:
                f = [f for s, f in zip(network.sources, credit.filtered, strict=False) if s == i]
                total = plus(credit.y[i][0], f[0] * (1 - network.kappa) if f and f[0] is not None else None)
                mine = own[i]
                reached[i].append(total if mine is None or total is None else total - mine)
        u, passed = to_u(network, steps, P[t], credit)
        I, credit = to_h(network, steps, P[t], u, passed, recurrent)
        if decay != 1.0:
            credit = mapped(lambda a: None if a is None else a * decay, credit)
        if outputs:
            own = [
                step.to_h(p, a)[1] if any(x is not None for x in a) else None
                for step, p, a in zip(steps, P[t], u, strict=True)
            ]
        us.append(u)
        Is.append(I)
    us.reverse()
    Is.reverse()
    if recurrent:
        a_I = tuple(_stack([I[i] for I in Is]) for i in populations)
    else:
        a_I = tuple(_inner_currents(linear, i, [u[i] for u in us]) for i in populations)
    return Sweep(a_I, credit, tuple(_stack(r[::-1]) for r in reached) if outputs else (), stood[::-1])


def _inner_currents(linear: Linear, i: int, us: list[tuple[Tensor | None, ...]]) -> Tensor | None:
    """Gᵀ a_u over a whole window at once."""
    S = range(len(us[0]))
    needed = [any(g is not None for g in row) for row in linear.partials[i].G]
    stacked = [_stack([u[j] for u in us]) if needed[j] else None for j in S]
    return linear.transposes[i].currents(linear.varying[i], stacked) if any(a is not None for a in stacked) else None


def _arrivals(direct: Credit, T: int) -> Callable[[Credit, int], Credit]:
    """A function that adds the direct credit of step t, touching only the parts that have any."""

    def cut(part: Sequence[Sequence[Tensor | None]]) -> list[tuple[int, int, Sequence[Tensor]]]:
        return [(i, j, a.unbind(0)) for i, inner in enumerate(part) for j, a in enumerate(inner) if a is not None]

    s, y, f = cut(direct.s), cut(direct.y), cut([direct.filtered])

    def put(part: Sequence[Sequence[Tensor | None]], found: list[tuple[int, int, Sequence[Tensor]]], t: int) -> Any:
        if not found:
            return part
        changed = [list(inner) for inner in part]
        for i, j, over_time in found:
            changed[i][j] = plus(changed[i][j], over_time[t])
        return changed

    def arrive(credit: Credit, t: int) -> Credit:
        return Credit(
            put(credit.s, s, t), put(credit.y, y, t), put([credit.filtered], f, t)[0] if f else credit.filtered
        )

    return arrive


def _stack(column: Sequence[Tensor | None]) -> Tensor | None:
    some = next((c for c in column if c is not None), None)
    if some is None:
        return None
    zero = torch.zeros_like(some)
    return torch.stack([zero if c is None else c for c in column])


def weight_gradients(network: Network, window: Window, a_I: Sequence[Tensor | None]) -> dict[str, Tensor]:
    """Σ over time and batch of credit for a current ⊗ what its weights multiplied: one matrix product a projection."""
    gradients = {}
    for w in network.learned:
        a = channels(network, a_I[w.target], w)
        if a is not None:
            W = network.weights[w.spec.name]
            ones = w.source == -2 and window.uses is None  # a bias whose deeds all count
            flat = a.flatten(0, -2)
            gradients[w.spec.name] = flat.sum(0) if ones else (flat.T @ window.pre(w).flatten(0, -2)).view_as(W)
    return gradients
