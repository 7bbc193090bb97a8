"""The transpose of one step, in two halves, and its composition over time.

A step runs  h_{t−1} → u_t → h_t,  where h = (s, y, older outputs in flight, ȳ) is what crosses between steps and u is the
integrator's result. Its transpose carries credit back through the same two halves (row vectors)::

    to_u    a_y += ry·a_s + zy·a_z (+ (1−κ) a_ȳ);   a_u = Ruᵀ a_s + Zuᵀ a_z + ψ a_y (+ what stands at u)
    to_h    a_I = Gᵀ a_u;   a_s = Fᵀ a_u;   a_y = E a_u + Σ Wᵀ a_I

Composed over time they are backpropagation; without the Σ Wᵀ a_I they never leave the neuron, which is e-prop; applied to
a basis they give the Jacobian. Nothing else in the project differentiates a circuit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from bioplaus.circuit.credit import Credit, Currents, Inner, mapped, plus, silent
from bioplaus.circuit.fused_sweep import fused_sweep
from bioplaus.circuit.network import Network
from bioplaus.circuit.tangent import Tangent
from bioplaus.circuit.trajectory import Stretch
from bioplaus.circuit.wiring import Bias, Source, Wired
from bioplaus.codegen.transpose import Transpose

if TYPE_CHECKING:
    from torch import Tensor


def to_u(network: Network, steps: Sequence[Transpose], P: Sequence[Any], credit: Credit) -> tuple[Inner, Credit]:
    """From credit for h_t to credit for u_t; what does not pass through u_t (older outputs, ȳ_{t−1}) comes back aged.

    ``P`` is one entry of `Tangent.at_steps`, or `Tangent.varying` to treat all steps of a window at once, each by itself.
    """
    y = [ages[0] for ages in credit.y]
    filtered: list[Tensor | None] = []
    for i, f in enumerate(credit.filtered):
        if f is not None:
            now = y[i]
            y[i] = f * (1 - network.kappa) if now is None else torch.add(now, f, alpha=1 - network.kappa)
        filtered.append(None if f is None else f * network.kappa)
    u: Inner = []
    for p, step, held, s, now, said, there in zip(
        network.populations, steps, P, credit.s, y, credit.y, credit.u, strict=True
    ):
        sent = said[1 : p.voices]
        if now is None or lacking(s, p.live) or any(a is None for a in sent):
            some = next((a for a in (now, *s, *sent, *there) if a is not None), None)
            if some is None:
                u.append((None,) * len(s))
                continue
            zero = torch.zeros_like(some)
            s, now = tuple(zero if a is None else a for a in s), zero if now is None else now
            sent = tuple(zero if a is None else a for a in sent)
        u.append(tuple(map(plus, step.to_u(held, s, now, *sent), there)))
    older = zip(credit.y, network.populations, strict=True)
    aged = tuple([(*said[p.voices :], *(None,) * p.voices) for said, p in older])
    nothing = tuple([(None,) * len(s) for s in credit.s])
    return u, Credit(nothing, aged, tuple(filtered), nothing)


def at_u(tangent: Tangent, sent: Sequence[Sequence[Tensor | None]]) -> Inner:
    """Credit over time for what is sent beside the outputs, [population][which], where the neuron's own eligibility meets it: Zuᵀ a_z + ψ zy a_z."""
    network, empty = tangent.network, silent(tangent.network)
    if all(a is None for z in sent for a in z):
        return empty.u
    y = tuple((None, *z, *said[1 + len(z) :]) for z, said in zip(sent, empty.y, strict=True))
    return to_u(network, tangent.transposes, tangent.varying, empty._replace(y=y))[0]


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
    for w in network.recurrent if recurrent else ():
        a = channels(network, I[w.target], w)
        if a is not None:
            W, said, slots = network.weights[w.spec.name], y[w.source.population], w.source.slots
            old = said[slots[0]]
            if old is not None and a.dim() == 2 == old.dim() and w.synapses is None and len(slots) == 1:
                said[slots[0]] = torch.addmm(old, a, W)
            else:
                for slot, part in w.source.apart(w.back(a, W)):
                    said[slot] = plus(said[slot], part)
    return I, Credit(tuple(s), tuple(map(tuple, y)), passed.filtered, passed.u)


def channels(network: Network, a_I: Tensor | None, w: Wired[Source]) -> Tensor | None:
    """The channels of a current's credit that a projection drives."""
    if a_I is None or w.whole:
        return a_I
    return a_I.unflatten(-1, (-1, network.populations[w.target].size))[..., list(w.channels), :].flatten(-2)


@dataclass
class Sweep:
    """Result of a reverse sweep: credit for the currents at every step, and for h before the first."""

    a_I: tuple[Tensor | None, ...]  # [population] (time, batch, channels · unit)
    start: Credit
    a_y: tuple[Tensor | None, ...]  # [population] credit that reached y_t from outside the neuron; if asked for
    a_z: tuple[tuple[Tensor | None, ...], ...]  # [population][which] the same for what is sent beside it
    a_h: list[Credit]  # all the credit that stood at h_t, over time; if asked for


def sweep(
    tangent: Tangent,
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
    if tangent.stretch.fused and not (recurrent or outputs or states) and decay == 1.0:
        found = fused_sweep(tangent, direct, end)
        if found is not None:
            return Sweep(*found, (), (), [])
    network, steps = tangent.network, tangent.transposes
    T, populations = len(tangent.stretch), range(len(network.populations))
    credit = end if end is not None else silent(network)
    us: list[Inner] = []
    Is: list[list[Tensor | None]] = []
    reached: list[list[Tensor | None]] = [[] for _ in populations]
    own: list[Tensor | None] = [None for _ in populations]
    sent: list[list[list[Tensor | None]]] = [[[] for _ in range(1, p.voices)] for p in network.populations]
    stood: list[Credit] = []
    arriving = _arrivals(direct, T)
    P = tangent.at_steps()
    for t in reversed(range(T)):
        credit = arriving(credit, t)
        if states:
            stood.append(credit)
        if outputs:
            for i in populations:
                f = credit.filtered[i] if credit.filtered else None
                total = plus(credit.y[i][0], None if f is None else f * (1 - network.kappa))
                mine = own[i]
                reached[i].append(total if mine is None or total is None else total - mine)
                for each, a in zip(sent[i], credit.y[i][1:], strict=False):
                    each.append(a)
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
        a_I = tuple(_inner_currents(tangent, i, [u[i] for u in us]) for i in populations)
    a_y = tuple(_stack(r[::-1]) for r in reached) if outputs else ()
    a_z = tuple(tuple(_stack(each[::-1]) for each in one) for one in sent) if outputs else ()
    return Sweep(a_I, credit, a_y, a_z, stood[::-1])


def _inner_currents(tangent: Tangent, i: int, us: list[tuple[Tensor | None, ...]]) -> Tensor | None:
    """Gᵀ a_u over a whole window at once."""
    S = range(len(us[0]))
    needed = [any(g is not None for g in row) for row in tangent.partials[i].G]
    stacked = [_stack([u[j] for u in us]) if needed[j] else None for j in S]
    return tangent.transposes[i].currents(tangent.varying[i], stacked) if any(a is not None for a in stacked) else None


def _arrivals(direct: Credit, T: int) -> Callable[[Credit, int], Credit]:
    """A function that adds the direct credit of step t, touching only the parts that have any."""

    def cut(part: Sequence[Sequence[Tensor | None]]) -> list[tuple[int, int, Sequence[Tensor]]]:
        return [(i, j, a.unbind(0)) for i, inner in enumerate(part) for j, a in enumerate(inner) if a is not None]

    s, y, f, u = cut(direct.s), cut(direct.y), cut([direct.filtered]), cut(direct.u)

    def put(part: Sequence[Sequence[Tensor | None]], found: list[tuple[int, int, Sequence[Tensor]]], t: int) -> Any:
        if not found:
            return part
        changed = [list(inner) for inner in part]
        for i, j, over_time in found:
            changed[i][j] = plus(changed[i][j], over_time[t])
        return changed

    def arrive(credit: Credit, t: int) -> Credit:
        return Credit(
            put(credit.s, s, t),
            put(credit.y, y, t),
            put([credit.filtered], f, t)[0] if f else credit.filtered,
            put(credit.u, u, t),
        )

    return arrive


def _stack(column: Sequence[Tensor | None]) -> Tensor | None:
    some = next((c for c in column if c is not None), None)
    if some is None:
        return None
    zero = torch.zeros_like(some)
    return torch.stack([zero if c is None else c for c in column])


def weight_gradients(network: Network, stretch: Stretch, a_I: Currents | Sequence[Tensor | None]) -> dict[str, Tensor]:
    """Σ over time and batch of credit for a current ⊗ what its weights multiplied: one matrix product a projection."""
    gradients = {}
    for w in network.learned:
        a = channels(network, a_I[w.target], w)
        if a is not None:
            W = network.weights[w.spec.name]
            ones = isinstance(w.source, Bias) and stretch.uses is None  # a bias whose deeds all count
            flat = a.flatten(0, -2)
            gradients[w.spec.name] = flat.sum(0) if ones else w.outer(flat, stretch.pre(w).flatten(0, -2)).view_as(W)
    return gradients
