"""One step of a differential equation, as Brian2 itself would take it.

Brian2's state updaters turn equations into abstract code for one step (``_v = v*exp(-dt/tau) + …; v = _v``). Read back
with Brian2's own parser, that code *is* the step function f, so the torch step and the Brian2 step are the same
expression by construction. What ``method="exact"`` integrates is a matrix exponential: such a step is written in its entries
(`bioplaus.symbolic.linear`), which Brian2's code gives as long as it is right.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import sympy as sp
from brian2 import NeuronGroup
from brian2.core.functions import DEFAULT_CONSTANTS, DEFAULT_FUNCTIONS
from brian2.core.namespace import DEFAULT_UNITS
from brian2.equations.equations import DIFFERENTIAL_EQUATION, PARAMETER, SUBEXPRESSION, Equations
from brian2.stateupdaters.base import StateUpdateMethod
from brian2.units.fundamentalunits import get_dimensions
from brian2.utils.stringtools import get_identifiers

from bioplaus.errors import CellError, unknown
from bioplaus.symbolic import hints, names, noise
from bioplaus.symbolic.functions import for_brian
from bioplaus.symbolic.linear import Propagator, divisors, propagator
from bioplaus.symbolic.quiet import quiet
from bioplaus.symbolic.runtime import runtime
from bioplaus.symbolic.scope import unknown_name
from bioplaus.symbolic.step import Step
from bioplaus.symbolic.text import expression, reason, statements, substituted, symbol
from bioplaus.symbolic.units import declaration, second, unit_name, unit_text

if TYPE_CHECKING:
    from bioplaus.cell import Cell


#: Brian2's names for the matrix exponential
EXACT = ("exact", "linear")
#: what else is proposed, the best first
TRIED = ("exponential_euler", "rk4", "euler")
#: operations in a step  # chosen: Hodgkin and Huxley's four equations with method="rk4" have 12,600, for which sympy takes half a minute
LARGEST = 30_000


class _Asked(NeuronGroup):
    """A group that is asked for its step and never run; Brian2 would warn that it was forgotten."""

    def __del__(self) -> None:
        pass


def integrate(cell: Cell, written: Equations, words: frozenset[str]) -> Step:
    """Integrate a cell's equations over one step with Brian2's state updater ``cell.method``.

    Parameters
    ----------
    written : the cell's equations.
    words : every word of the cell's texts.

    Raises
    ------
    CellError
        Units that do not fit, a variable without value, or a method that cannot integrate these equations.
    """
    _refuse(cell, written, words)
    _refuse_flags(cell, written)
    full = declared(cell, written)
    _refuse_declarations(cell, full)
    step, free = _regime(cell, full)
    still = [s for s in step if "unless refractory" in full[s].flags]
    refractory: dict[str, sp.Expr] = {s: symbol(s) for s in still}
    propagators = [free]
    if any(e.free_symbols & set(refractory.values()) for s, e in step.items() if s not in still):
        # a method of several stages moves marked variables between its stages; Brian2 holds them
        held = Equations([e for e in full.values() if e.varname not in still])
        with quiet():
            held += Equations("\n".join(declaration(s, full[s].dim) for s in still))
        waiting, held_still = _regime(cell, held, "held", still)
        propagators.append(held_still)
        held_too = set(refractory.values())
        refractory |= {s: e for s, e in waiting.items() if e != step[s] and step[s].free_symbols & held_too}
    return Step(step, refractory, {s: full[s].dim for s in step}, tuple(p for p in propagators if p is not None))


def declared(cell: Cell, written: Equations) -> Equations:
    """Brian2 equations with the inputs and every used parameter declared, one value per neuron."""
    used = _identifiers(written)
    lines = [declaration(n, v) for n, v in cell.channels.items() if n not in written]
    lines += [
        declaration(n, v, " (constant)")
        for n, v in cell.parameters.items()
        if n in used - {*DEFAULT_UNITS} and n not in written
    ]
    with quiet():
        return written + Equations("\n".join(lines)) if lines else written


def _states(written: Equations) -> tuple[str, ...]:
    """Variables with a differential equation."""
    return tuple(n for n, e in written.items() if e.type == DIFFERENTIAL_EQUATION)


def _identifiers(written: Equations) -> set[str]:
    """Every name on a right-hand side."""
    return {i for e in written.values() if e.expr is not None for i in get_identifiers(e.expr.code)}


def _refuse(cell: Cell, written: Equations, words: frozenset[str]) -> None:
    """Refuse equations that move nothing, names that mean something else, and names without meaning."""
    if not _states(written):
        raise CellError(
            "equations= contain no differential equation. Write one as 'dv/dt = (-v + I)/tau : 1'; a discrete map goes into update=."
        )
    names.check(cell, _states(written), words)
    known = {*written, *cell.inputs, *cell.parameters, "dt", *noise.among(words)}
    for name in sorted(_identifiers(written) - known - {*DEFAULT_FUNCTIONS, *DEFAULT_CONSTANTS, *DEFAULT_UNITS}):
        unknown_name(cell, name, "the equations", known)
    methods = [m for m in StateUpdateMethod.stateupdaters if not m.startswith("gsl")]  # those call a C library
    if cell.method not in methods:
        raise CellError(unknown("integration method", cell.method, methods))


#: what a line may have in brackets at its end
FLAGS = {DIFFERENTIAL_EQUATION: ("unless refractory",), PARAMETER: ("constant", "shared"), SUBEXPRESSION: ("constant over dt", "shared")}  # fmt: skip


def _refuse_flags(cell: Cell, written: Equations) -> None:
    """Refuse flags that a cell can't have, or that contradict what it is given."""
    for name, e in written.items():
        for flag in e.flags:
            if flag not in FLAGS[e.type]:
                raise CellError(
                    f"In the equations: '({flag})' can't stand behind {name}. "
                    + unknown("such flag", flag, FLAGS[e.type])
                    + " Synapses (summed, event-driven, clock-driven) are no part of a cell: a circuit's projections bring its inputs."
                )
        if name in cell.inputs and e.flags:
            raise CellError(
                f"In the equations: {name} is an input channel, which differs from step to step and from neuron to neuron, so that "
                f"'({', '.join(e.flags)})' can't stand behind it. Leave the flag out, or the whole line."
            )
        if e.type == PARAMETER and "shared" in e.flags and np.ndim(cell.parameters.get(name, 0)):
            raise CellError(
                f"In the equations: {name} is declared '(shared)', one value for all neurons, but parameters= gives "
                f"{np.size(cell.parameters[name])} values. Leave '(shared)' out, or give one value."
            )
        if "unless refractory" in e.flags and not cell.spiking:
            raise CellError(
                f"In the equations: '(unless refractory)' stands behind {name}, but a cell with output= never is refractory. Leave it out."
            )


def _refuse_declarations(cell: Cell, full: Equations) -> None:
    """Refuse what the equations declare with another unit than its value has, or without any value."""
    given = {**cell.channels, **cell.parameters}
    for name, value in given.items():
        if name in full and full[name].dim is not get_dimensions(value):
            raise CellError(
                f"{name} is declared in the equations with unit {unit_text(full[name].dim)}, but its value has unit {unit_name(value)}. "
                + (
                    f"One unit of weight makes a state jump by a quantity of its own unit: write jumps={{'{name}': 0.1*{unit_text(full[name].dim)}}}."
                    if name in cell.jumps
                    else "A channel's unit is that of one unit of weight: write inputs={'I': 100*pA}."
                )
            )
    valueless = [n for n, e in full.items() if e.type == PARAMETER and n not in given]
    if valueless:
        raise CellError(
            f"{', '.join(valueless)} is declared in the equations but has no value. Add it to parameters=, or to inputs=(…)."
        )


def _regime(
    cell: Cell, full: Equations, regime: str = "", held: Sequence[str] = ()
) -> tuple[dict[str, sp.Expr], Propagator | None]:
    """New values of the variables with a differential equation; and, where ``exact`` integrates them, their propagator."""
    with runtime():
        group = _group(cell, full)
        if cell.method not in EXACT or full.is_stochastic:
            return _step(cell.method, full, group), None
        written = dict(full.get_substituted_expressions(group.variables))
        rates = {s: expression(written[s].code, None).value for s in _states(full)}
        linear = propagator(rates, (*cell.inputs, *held), regime)
        if linear is None:
            step = _step(cell.method, full, group)
            _refuse_quotients(cell, full, group, rates, step)
            return step, None
        if linear.simple:
            with suppress(CellError):  # no closed form; the matrix exponential is there all the same
                closed = {}
                for some in linear.together:
                    closed |= _step(cell.method, _only(full, some), group)
                linear = linear.with_closed(closed)
        return linear.step(), linear


def _refuse_quotients(
    cell: Cell, full: Equations, group: NeuronGroup, rates: Mapping[str, sp.Expr], step: Mapping[str, sp.Expr]
) -> None:
    """Refuse a closed form that is 0/0 at an input where the equations are nothing special, and wrong by rounding near it."""
    own = divisors(rates.values(), cell.inputs)
    new = divisors(step.values(), cell.inputs) - own
    if not new:
        return

    def sound(method: str) -> bool:
        try:
            return divisors(_step(method, full, group).values(), cell.inputs) <= own
        except CellError:
            return False

    instead = next(m for m in TRIED if sound(m))
    raise CellError(
        f"method='{cell.method}' divides by {' and by '.join(sorted(str(for_brian(e)) for e in new))} in these equations, as an input channel stands in the "
        f"coefficient of a state: its step is 0/0 where inputs make that zero, and wrong near it. Write method='{instead}', which does not "
        "divide by inputs"
        + (
            "; or 'exponential_euler', which divides by the coefficient of each state alone, where no input makes that zero, such as "
            "conductances that are never negative."
            if instead != "exponential_euler"
            else "."
        )
    )


def _group(cell: Cell, full: Equations) -> NeuronGroup:
    """A group of the equations, whose units fit and whose flags Brian2 knows."""
    try:
        group = _Asked(1, full, method=cell.method, dt=1e-3 * second)
        group.equations.check_units(group, run_namespace={})
    except Exception as error:
        raise CellError(
            f"Brian2 refuses these equations: {reason(error)}. Known parameters: {_parameters(cell)}; input channels: "
            f"{', '.join(f'{n} ({unit_name(v)})' for n, v in cell.channels.items())}. Give every parameter its unit, e.g. 20*ms, and a "
            "channel that of one unit of weight, e.g. inputs={'I': 100*pA}; behind the colon stands the unit of the variable itself."
            + hints.letters(" ".join(e.expr.code for e in full.values() if e.expr is not None))
        ) from error
    return group


def _only(full: Equations, states: Collection[str]) -> Equations:
    """The equations without the differential ones of other states."""
    return Equations([e for n, e in full.items() if e.type != DIFFERENTIAL_EQUATION or n in states])


def _parameters(cell: Cell) -> str:
    return ", ".join(f"{n} ({unit_name(v)})" for n, v in cell.parameters.items()) or "none"


def _step(method: str, full: Equations, group: NeuronGroup) -> dict[str, sp.Expr]:
    """New values of the variables with a differential equation, as Brian2's state updater writes them."""
    try:
        code = noise.given(str(StateUpdateMethod.apply_stateupdater(full, group.variables, method)))
    except Exception as error:
        tried = noise.TRIED if full.is_stochastic else TRIED
        instead = next((m for m in tried if m != method and _integrates(m, group)), None)
        raise CellError(
            f"method='{method}' can't integrate these equations: {reason(error)}. "
            + (f"Write method='{instead}', which can" if instead else "Neither can " + ", ".join(tried))
            + (", in the sense of Stratonovich." if instead == "heun" else ".")
            + (
                " Noise enters an equation as a factor: square a state that follows it, not xi."
                if full.is_stochastic and not instead
                else ""
            )
        ) from error
    values: dict[sp.Symbol, sp.Expr] = {}
    parts: dict[sp.Basic, int] = {}
    for s in statements(code, None):
        if s.operator != "=":
            raise CellError(f"Method '{method}' uses '{s.operator}', which a deterministic step cannot contain.")
        new = _parts(s.right.value, {**parts})
        if new > LARGEST:
            raise CellError(
                f"method='{method}' makes a step of more than {LARGEST} operations of these equations, as it writes them into themselves once "
                "for each of its stages. Write method='euler' or 'exponential_euler', which have one, or shorter equations."
            )
        values[symbol(s.name)] = substituted(s.right.value, values)
        parts[symbol(s.name)] = new
    return {s: values[symbol(s)] for s in _states(full)}


def _parts(e: sp.Basic, known: dict[sp.Basic, int]) -> int:
    """How many numbers, names and operations an expression has once every name stands for as many as ``known`` says."""
    if e not in known:
        known[e] = 1 + sum(_parts(each, known) for each in e.args)
    return known[e]


def _integrates(method: str, group: NeuronGroup) -> bool:
    try:
        StateUpdateMethod.apply_stateupdater(group.equations, group.variables, method)
    except Exception:
        return False
    return True
