"""How long a neuron stays refractory after a spike: a time or a number of steps, one per neuron, or as long as a condition holds.

A text is Brian2's: the name of a parameter (or an expression in parameters) that is a time, or a condition on the neuron's states,
which is asked at the beginning of each step, and ends refractoriness where it does not hold::

    wait_k = (wait_{k−1} − 1)₊  or  wait_{k−1} · [condition on s_{k−1}],    active_k = [wait_k = 0]
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp
from brian2.units.fundamentalunits import DIMENSIONLESS, get_dimensions

from bioplaus.checks import short
from bioplaus.errors import CellError
from bioplaus.symbolic import grammar
from bioplaus.symbolic.arguments import is_number
from bioplaus.symbolic.functions import NUMPY
from bioplaus.symbolic.scope import Scope
from bioplaus.symbolic.shorthands import Shorthands
from bioplaus.symbolic.text import Expression, expression
from bioplaus.symbolic.threshold import condition
from bioplaus.symbolic.units import SECOND, plain

if TYPE_CHECKING:
    from bioplaus.cell import Cell
    from bioplaus.symbolic.parsed import Parsed

_HINT = (
    "Give a time, such as 5*ms, or a whole number of steps; one for each neuron; or a text: the name of a parameter that is a time, or a "
    "condition during which the neuron stays refractory, such as 'v > -40*mV'."
)


def given(cell: Cell) -> None:
    """Refuse what is neither a time nor a number of steps, whether one or one per neuron, nor a text."""
    value = cell.refractory
    if isinstance(value, str) and value.strip():
        return
    if (
        isinstance(value, str)
        or not is_number(value)
        or np.iscomplexobj(np.asarray(value))
        or np.ndim(value) > 1
        or not np.size(value)
        or not np.all(np.isfinite(plain(value)))
        or np.any(plain(value) < 0)
    ):
        raise CellError(f"refractory={short(value)} is not a time that is zero or more. {_HINT}")
    unit = get_dimensions(value)
    if unit not in (SECOND, DIMENSIONLESS) or (unit is DIMENSIONLESS and np.any(plain(value) % 1)):
        raise CellError(f"refractory={short(value)} is neither a time nor a whole number of steps. {_HINT}")


def ever(cell: Cell) -> bool:
    """Whether neurons are refractory at all."""
    return isinstance(cell.refractory, str) or bool(np.any(plain(cell.refractory)))


def read(cell: Cell, text: str, shorthands: Shorthands) -> Expression | None:
    """The text, if it is one, without comments; a condition as 0 or 1.

    Raises
    ------
    CellError
        If it cannot be parsed.
    """
    if not isinstance(cell.refractory, str):
        return None
    try:
        asks = isinstance(grammar.tree(text), (ast.Compare, ast.BoolOp, ast.UnaryOp))
    except (grammar.Refused, SyntaxError):
        asks = False  # and `expression` says what is wrong
    found = condition(text, shorthands.weights, "refractory").whole if asks else expression(text, shorthands.weights)
    return shorthands.written_in(found, f"refractory='{cell.refractory}'")


def checked(cell: Cell, parsed: Parsed, scope: Scope) -> None:
    """Refuse a text that reads what it can't, or whose units do not fit; ``scope`` is that of the spike condition."""
    found = parsed.refractory
    if found is None:
        return
    where = f"refractory='{cell.refractory}'"
    if found.condition:
        scope.quantity(found, where=where)
        scope.unit(found, DIMENSIONLESS, where)
        return
    constants = Scope.constants(cell, parsed)
    constants.quantity(found, where=f"{where}, a time, which is made of parameters alone")
    constants.unit(found, SECOND, where)
    if np.any(_time(found, {**parsed.units, **cell.parameters}) < 0):
        raise CellError(f"{where} is below zero with these parameters; a time can't be negative. {_HINT}")


def _time(found: Expression, constants: dict[str, Any]) -> Any:
    """Seconds, one number or one per neuron."""
    symbols = sorted(found.value.free_symbols, key=str)
    try:
        with np.errstate(all="ignore"):
            value = sp.lambdify(symbols, found.value, [NUMPY, np])(*(plain(constants[str(s)]) for s in symbols))
    except (ArithmeticError, KeyError, NameError):  # division by zero, sympy's ComplexInfinity
        value = np.nan
    if not np.all(np.isfinite(value)):
        raise CellError(f"refractory='{found.text}' is not a finite time with these parameters. {_HINT}")
    return value


def steps(cell: Cell, dt: float) -> Any:
    """Refractory time in steps, a whole number or one per neuron; a spike at step k forbids spikes at k + 1 … k + steps − 1.

    1 for a condition, which sets in with the spike and then decides.

    Raises
    ------
    CellError
        For what is no whole number of steps of ``dt`` seconds.
    """
    text = cell.parsed.refractory
    if text is not None and text.condition:
        return 1
    time = plain(cell.refractory) if text is None else _time(text, dict(cell.constants))
    found = np.asarray(time / (1 if text is None and get_dimensions(cell.refractory) is DIMENSIONLESS else dt))
    wrong = found[np.abs(found - np.round(found)) > 1e-6]
    if wrong.size:
        raise CellError(
            f"refractory={short(cell.refractory)} is {wrong.flat[0]:g} steps of {dt * 1e3:g} ms; give a whole number of steps."
        )
    whole = np.round(found).astype(int)
    return int(whole) if whole.ndim == 0 else whole
