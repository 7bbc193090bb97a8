"""A cell's step and its local partial derivatives, as sympy expressions.

One step of a neuron (state update → threshold → synapses → reset)::

    u = f(s + J, I, y₋)  the integrator; y₋ is the neuron's own last output, which a discrete map may use; J are jumps (`landed`)
    y = φ(u)             a spike, floor + gate where the margin is positive and else floor, or a rate
    s = r(u, y)          reset and spike-triggered jumps
    z = g(s, y)          what it sends beside y, one number for each name

and what every learning rule needs of it, all inside one neuron::

    F = ∂f/∂s   E = ∂f/∂y₋   G = ∂f/∂I   ψ = ∂φ/∂u   Ru = ∂r/∂u   ry = ∂r/∂y   Zu = ∂g/∂s Ru   zy = ∂g/∂y + ∂g/∂s ry

ψ of a spike is the surrogate derivative. ry is zero for a statement through which the spike is not differentiated
(by default the reset, Bellec et al. 2020, doi:10.1038/s41467-020-17236-y). The within-neuron derivative of docs/concepts.md is
D = F (Ru + ry ψ) + E ψ, with r and φ taken one step earlier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sympy as sp

from bioplaus.errors import CellError
from bioplaus.symbolic.linear import Propagator
from bioplaus.symbolic.text import Statement, substituted, symbol

LAST = symbol("y_last")  # in f: the neuron's own last output
HELD = symbol("y_held")  # the same without its derivative
#: 1, or 0 where what arrived at marked states was lost: from a spike on while refractory
RECEPTIVE = symbol("receptive")
NOW = symbol("y_now")  # in r: its output at this step
SPIKE = symbol("spike")  # the same in what is sent, as its author writes it
MARGIN = symbol("surrogate_margin")  # in the surrogate: the spike margin over its width
ACTIVE = symbol("not_refractory")  # 1, or 0 while the neuron is refractory
HEIGHT = symbol("surrogate_height")  # the surrogate derivative at this step's margin

ZERO, ONE = sp.Integer(0), sp.Integer(1)
Entries = tuple[sp.Expr, ...]
Matrix = tuple[Entries, ...]


def after(name: str) -> sp.Symbol:
    """u: a state variable after the integrator, before the reset."""
    return symbol(f"u_{name}")


def arriving(state: str) -> sp.Symbol:
    """J: what a channel that is a jump brings to its state, in units of weight."""
    return symbol(f"jump_{state}")


@dataclass(frozen=True)
class Derived:
    """Step expressions and partials; matrices are [row][column] over states (and input channels for G)."""

    states: tuple[str, ...]
    inputs: tuple[str, ...]
    f: Entries
    output: sp.Expr  # the rate, or the margin in units of the surrogate's width
    spiking: bool
    surrogate: sp.Expr | None  # pseudo-derivative as a function of MARGIN
    r: Entries
    F: Matrix
    E: Entries
    G: Matrix
    psi: Entries
    Ru: Matrix
    ry: Entries
    kept: frozenset[str]  # states whose spike-triggered change is differentiated
    live: tuple[str, ...]  # states that cross into the next step other than through the output
    gate: sp.Expr = ONE  # of a spike: floor + gate [margin positive]; in u
    floor: sp.Expr = ZERO
    closed: bool = False  # or zero
    noises: tuple[str, ...] = ()  # normal numbers that f takes beside the inputs
    begins: Entries = ()  # s + J, in old states, jumps and LAST: what f takes
    waits: sp.Expr | None = None  # whether a refractory neuron stays so, as f begins; None where it waits for a time
    propagators: tuple[Propagator, ...] = ()  # what names in f, other than of parameters, stand for
    sends: Entries = ()  # g, in states after the reset and NOW
    Zu: Matrix = ()  # [sent][state]
    zy: Entries = ()
    sent_with_spikes: frozenset[str] = frozenset()  # which of them are zero without a spike


def derive(
    *,
    f: Mapping[str, sp.Expr],
    inputs: tuple[str, ...],
    output: sp.Expr,
    spiking: bool,
    surrogate: sp.Expr | None = None,
    width: sp.Expr | None = None,
    gate: sp.Expr = ONE,
    floor: sp.Expr = ZERO,
    closed: bool = False,
    reset: Sequence[Statement] = (),
    reset_variables: frozenset[str] = frozenset(),
    differentiate: frozenset[str] = frozenset({"jumps"}),
    refractory: Mapping[str, sp.Expr] | None = None,
    jumps: Mapping[str, sp.Expr] | None = None,
    noises: tuple[str, ...] = (),
    propagators: tuple[Propagator, ...] = (),
    sends: Mapping[str, sp.Expr] | None = None,
    waits: sp.Expr | None = None,
) -> Derived:
    """Assemble a cell's step and differentiate it.

    Parameters
    ----------
    f : state → new value, in old states, inputs, parameters (and ``y``).
    output : the rate in new states, or a spiking cell's margin (positive: spike).
    width : scale of the margin, the same unit; the surrogate sees margin/width.
    gate, floor, closed : as `bioplaus.symbolic.threshold.Threshold` has them, in new states.
    reset : statements run at a spike, reading and writing the new states.
    reset_variables : states whose assignment counts as a reset, those at the greater side of the spike condition; the others' as a jump.
    differentiate : which of ``"reset"`` and ``"jumps"`` the spike is differentiated through.
    refractory : state → new value while the neuron is refractory, where that differs from ``f``.
    jumps : state → by how much one unit of weight makes it jump, times `RECEPTIVE` where refractoriness discards that.
    noises : normal numbers that ``f`` takes beside the inputs; what they bring is no weight's doing.
    propagators : of names in ``f`` and ``refractory`` that are no parameters.
    sends : name → what is sent beside the output, in states after the reset and `SPIKE`.
    waits : whether a refractory neuron stays so, in old states.
    """
    states = tuple(f)
    to_u = {symbol(s): after(s) for s in states}
    waiting = refractory or {}
    stepped = tuple(ACTIVE * f[s] + (1 - ACTIVE) * waiting[s] if s in waiting else f[s] for s in states)
    phi = substituted(output, to_u) / (width if width is not None else 1)
    gate, floor = substituted(gate, to_u), substituted(floor, to_u)
    psi = tuple((ACTIVE * HEIGHT * gate if spiking else 1) * sp.diff(phi, after(s)) for s in states)
    r = _after_spike(states, reset)
    kept = frozenset(s.name for s in reset if ("reset" if s.name in reset_variables else "jumps") in differentiate)
    Ru = tuple(tuple(sp.diff(e, after(s)) for s in states) for e in r)
    begins: Entries = tuple(symbol(s) for s in states)
    if jumps:
        shifted = landed(states, jumps, Ru, kept)
        begins = tuple(substituted(s, shifted) for s in begins)
        stepped = tuple(substituted(e, shifted) for e in stepped)
        waits = None if waits is None else substituted(waits, shifted)
    inputs_and_jumps = (*(symbol(k) for k in inputs), *(arriving(s) for s in jumps or ()))
    old = [symbol(s) for s in states]
    ry = tuple(sp.diff(e, NOW) if s in kept else ZERO for s, e in zip(states, r, strict=True))
    g = {name: substituted(e, {SPIKE: NOW}) for name, e in (sends or {}).items()}
    reached = dict(zip(old, r, strict=True))
    slopes = [[substituted(sp.diff(e, s), reached) for s in old] for e in g.values()]
    F = tuple(tuple(sp.diff(e, s) for s in old) for e in stepped)
    return Derived(
        states=states,
        inputs=tuple(k.name for k in inputs_and_jumps),
        f=stepped,
        output=phi,
        spiking=spiking,
        surrogate=surrogate,
        r=r,
        F=F,
        E=tuple(sp.diff(e, LAST) for e in stepped),
        G=tuple(tuple(sp.diff(e, k) for k in inputs_and_jumps) for e in stepped),
        psi=psi,
        Ru=Ru,
        ry=ry,
        kept=kept,
        live=tuple(s for j, s in enumerate(states) if any(row[j] != 0 for row in F)),
        gate=gate,
        floor=floor,
        closed=closed,
        noises=noises,
        propagators=propagators,
        sends=tuple(g.values()),
        Zu=tuple(tuple(_dot(row, column) for column in zip(*Ru, strict=True)) for row in slopes),
        zy=tuple(
            substituted(sp.diff(e, NOW), reached) + _dot(row, ry) for e, row in zip(g.values(), slopes, strict=True)
        ),
        sent_with_spikes=frozenset(name for name, e in g.items() if spiking and substituted(e, {NOW: ZERO}) == 0),
        begins=begins,
        waits=waits,
    )


def _dot(a: Sequence[sp.Expr], b: Sequence[sp.Expr]) -> sp.Expr:
    return sp.Add(*(x * y for x, y in zip(a, b, strict=True)))


def landed(
    states: Sequence[str], jumps: Mapping[str, sp.Expr], Ru: Matrix, kept: frozenset[str]
) -> dict[sp.Symbol, sp.Expr]:
    """Old state → s + Ru(y₋) J: what arrived since the last spike condition was asked, before its reset was run.

    Brian2 delivers spikes between the two, so that a hard reset wipes out what arrives together with a spike (Ru = 0), and a
    subtractive one does not (Ru = 1). No derivative runs through y₋ but where the reset itself is differentiated.

    Raises
    ------
    CellError
        If a reset makes of a jump something that depends on where the state is.
    """
    shifted = {}
    for s, row in zip(states, Ru, strict=True):
        last = LAST if s in kept else HELD
        brought = sp.Integer(0)
        for jumping, entry in zip(states, row, strict=True):
            if jumping not in jumps:
                continue
            if entry.free_symbols & {after(other) for other in states}:
                raise CellError(
                    f"The reset of {s} makes of a jump of {jumping} something that depends on the states, and what arrives together with a spike is added "
                    f"afterwards. Write a reset that is linear in {jumping}, or make it an input channel, inputs=, that is held over the step."
                )
            brought += substituted(entry, {NOW: last}) * jumps[jumping] * arriving(jumping)
        if brought != 0:
            shifted[symbol(s)] = symbol(s) + brought
    return shifted


def _after_spike(states: Sequence[str], reset: Sequence[Statement]) -> Entries:
    """r(u, y): what the statements leave of u where y is 1, and u where it is 0."""
    new: dict[str, sp.Expr] = {s: after(s) for s in states}
    for statement in reset:
        u = new[statement.name]
        at_spike = substituted(statement.after(), {symbol(s): e for s, e in new.items()})
        # (1 − y) u + y at_spike, written so that a subtractive reset is the subtraction Brian2 does
        subtracts = statement.operator in ("+=", "-=")
        new[statement.name] = u + NOW * (at_spike - u) if subtracts else (1 - NOW) * u + NOW * at_spike
    return tuple(new[s] for s in states)
