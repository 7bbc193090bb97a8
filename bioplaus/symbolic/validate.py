"""What a cell's texts may say: names that are known, units that fit, a step that input can change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import sympy as sp
from brian2.core.namespace import DEFAULT_UNITS
from brian2.equations.equations import SUBEXPRESSION
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension, get_dimensions

from bioplaus.checks import short
from bioplaus.errors import CellError, unknown
from bioplaus.symbolic import refractory
from bioplaus.symbolic.derive import LAST, MARGIN, SPIKE
from bioplaus.symbolic.functions import NUMPY
from bioplaus.symbolic.parsed import Parsed, X
from bioplaus.symbolic.scope import Scope, functions
from bioplaus.symbolic.text import Expression, names, symbol
from bioplaus.symbolic.threshold import Threshold
from bioplaus.symbolic.units import SECOND, plain, unit_text

if TYPE_CHECKING:
    from bioplaus.cell import Cell

Dimensions = Mapping[str, Dimension]  # of every state
#: what outputs are usually divided by
USUAL = ("mV", "nA", "nS", "ms", "Hz", "pF", "Mohm")


def step(cell: Cell, new: Mapping[str, sp.Expr]) -> None:
    """Refuse a step without derivative, a state that never changes, and an input without effect."""
    for state, e in new.items():
        functions(e, f"the step of {state}")
        if not names(e) & {*new, *cell.inputs, LAST.name}:
            raise CellError(f"'{state}' takes the same value, {e}, at every step. Make it a parameter.")
    if stray := [s for s in cell.jumps if s not in new]:
        raise CellError(
            f"jumps={short(cell.jumps)}: "
            + unknown("state variable", stray[0], new)
            + " A jump is of a state with a differential equation."
        )
    idle = [k for k in cell.inputs if not any(symbol(k) in e.free_symbols for e in new.values())]
    if idle:
        raise CellError(
            f"Input channel {', '.join(idle)} has no effect: the step of {', '.join(new)} does not use it. Correct the name, or leave it out of inputs=."
        )


def observed(cell: Cell, parsed: Parsed, states: Dimensions) -> None:
    """Refuse an output, or a spike condition with its reset and surrogate, that does not fit the states."""
    scope = Scope.constants(cell, parsed) | {"dt": SECOND} | states | _shorthands(parsed)
    if parsed.output is not None:
        where = f"output='{cell.output}'"
        scope.quantity(parsed.output, where=where)
        _plain(parsed.output, scope, "output", where)
        _blind(parsed.output, states, where)
    _sends(cell, parsed, scope)
    if parsed.spike is not None:
        unit = _spike(cell, parsed.spike, scope, states)
        _reset(cell, parsed, scope, states)
        _surrogate(cell, parsed, unit)
        refractory.checked(cell, parsed, scope)


def _plain(e: Expression, scope: Scope, what: str, where: str) -> None:
    """Refuse an output that has a unit."""
    unit = scope.unit(e, None, f"the {what}")
    if unit is not DIMENSIONLESS:
        usual = next((u for u in USUAL if get_dimensions(DEFAULT_UNITS[u]) is unit), f"({unit_text(unit)})")
        raise CellError(
            f"{where} has unit {unit_text(unit)}, but an output is a plain number. Divide it by a quantity of that unit: "
            f"{where.partition('=')[0]}='({e.text})/{usual}', or by a parameter."
        )


def _sends(cell: Cell, parsed: Parsed, scope: Scope) -> None:
    """Refuse what is sent that is no plain number, or reads what it cannot."""
    taken = {SPIKE.name} & {*scope.dimensions, *cell.inputs}
    spikes = scope | ({SPIKE.name: DIMENSIONLESS} if cell.spiking and not taken else {})
    for name, e in parsed.sends.items():
        where = f"sends[{name!r}]='{e.text}'"
        if SPIKE.name in e.names and taken:
            raise CellError(
                f"{where} reads 'spike', which is 1 in the step of a spike, and the cell has a name of its own like that. Call it otherwise."
            )
        spikes.quantity(e, where=where)
        _plain(e, spikes, "output", where)


def _shorthands(parsed: Parsed) -> Dimensions:
    """Units of what stands for an expression in the equations."""
    return {n: e.dim for n, e in (parsed.equations or {}).items() if e.type == SUBEXPRESSION}


def _spike(cell: Cell, spike: Threshold, scope: Scope, states: Dimensions) -> Dimension:
    """The unit of both sides of the first comparison."""
    where = f"spike='{cell.spike}'"
    scope.quantity(spike.left, spike.right, spike.whole, where=where)
    unit = scope.unit(spike.left, None, "the spike condition")
    scope.unit(spike.right, unit, "the spike condition")
    scope.unit(spike.whole, DIMENSIONLESS, "the spike condition")
    _blind(spike.left, states, f"the greater side, '{spike.left.text}', of {where}")
    return unit


def _reset(cell: Cell, parsed: Parsed, scope: Scope, states: Dimensions) -> None:
    for name, operator, right in ((s.name, s.operator, s.right) for s in parsed.reset):
        if name not in states:
            raise CellError("The reset assigns to what is no state variable: " + unknown("state", name, states))
        scope.quantity(right, where=f"reset='{' '.join(cell.reset.split())}'")
        # a factor has no unit of its own
        scope.unit(right, DIMENSIONLESS if operator in ("*=", "/=") else states[name], f"the reset of {name}")


def _surrogate(cell: Cell, parsed: Parsed, unit: Dimension) -> None:
    """A height is a plain number, a width a positive one with the unit of the margin."""
    assert parsed.surrogate is not None  # as Cell has seen to
    height, width = parsed.surrogate
    scope = Scope.constants(cell, parsed)
    tall = scope | {MARGIN.name: DIMENSIONLESS, X: DIMENSIONLESS}
    tall.quantity(height, where=f"the surrogate's height '{height.text}'")
    tall.unit(height, DIMENSIONLESS, "the surrogate's height")
    scope.quantity(width, where=f"the surrogate's width '{width.text}'")
    scope.unit(width, unit, "the surrogate's width")
    symbols = sorted(width.value.free_symbols, key=str)
    value = sp.lambdify(symbols, width.value, [NUMPY, np])(
        *(plain({**parsed.units, **cell.parameters}[str(s)]) for s in symbols)
    )
    if not np.all(np.asarray(value) > 0):
        raise CellError(
            f"The surrogate's width '{width.text}' is {value:g} with these parameters; it must be positive."
            if np.ndim(value) == 0
            else f"The surrogate's width '{width.text}' is not positive in every neuron."
        )


def _blind(e: Expression, states: Dimensions, where: str) -> None:
    if not e.names & {*states}:
        raise CellError(
            f"No state variable is read by {where}, so that no input can change it. States: {', '.join(states)}."
        )
