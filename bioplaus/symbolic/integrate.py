"""One step of a differential equation, as Brian2 itself would take it.

Brian2's state updaters turn equations into abstract code for one step (``_v = v*exp(-dt/tau) + …; v = _v``). Read back
with Brian2's own parser, that code *is* the step function f, so the torch step and the Brian2 step are the same
expression by construction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sympy as sp
from brian2 import NeuronGroup
from brian2.core.functions import DEFAULT_CONSTANTS, DEFAULT_FUNCTIONS
from brian2.equations.equations import DIFFERENTIAL_EQUATION, PARAMETER, Equations
from brian2.stateupdaters.base import StateUpdateMethod
from brian2.units.fundamentalunits import get_dimensions
from brian2.utils.stringtools import get_identifiers

from bioplaus.errors import CellError, unknown
from bioplaus.symbolic import names
from bioplaus.symbolic.runtime import runtime
from bioplaus.symbolic.scope import unknown_name
from bioplaus.symbolic.step import Step
from bioplaus.symbolic.text import reason, statements, substituted, symbol
from bioplaus.symbolic.units import second, unit_name, unit_text

if TYPE_CHECKING:
    from bioplaus.cell import Cell


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
    full = declared(cell, written)
    _refuse_declarations(cell, full)
    step = _step(cell, full)
    still = [s for s in step if "unless refractory" in full[s].flags]
    refractory: dict[str, sp.Expr] = {s: symbol(s) for s in still}
    if any(e.free_symbols & set(refractory.values()) for s, e in step.items() if s not in still):
        # a method of several stages moves marked variables between its stages; Brian2 holds them
        held = Equations([e for e in full.values() if e.varname not in still])
        held += Equations("\n".join(f"{s} : {unit_text(full[s].dim)}" for s in still))
        refractory |= {s: e for s, e in _step(cell, held).items() if e != step[s]}
    return Step(step, refractory, {s: full[s].dim for s in step})


def declared(cell: Cell, written: Equations) -> Equations:
    """Brian2 equations with the inputs and every used parameter declared, one value per neuron."""
    used = _identifiers(written)
    lines = [f"{n} : {unit_name(v)}" for n, v in cell.channels.items() if n not in written]
    lines += [f"{n} : {unit_name(v)} (constant)" for n, v in cell.parameters.items() if n in used and n not in written]
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
    known = {*written, *cell.inputs, *cell.parameters, "dt"}
    for name in sorted(_identifiers(written) - known - {*DEFAULT_FUNCTIONS, *DEFAULT_CONSTANTS}):
        unknown_name(cell, name, "the equations", known)
    methods = [m for m in StateUpdateMethod.stateupdaters if not m.startswith("gsl")]  # those call a C library
    if cell.method not in methods:
        raise CellError(unknown("integration method", cell.method, methods))


def _refuse_declarations(cell: Cell, full: Equations) -> None:
    """Refuse what the equations declare with another unit than its value has, or without any value."""
    given = {**cell.channels, **cell.parameters}
    for name, value in given.items():
        if name in full and full[name].dim is not get_dimensions(value):
            raise CellError(
                f"{name} is declared in the equations with unit {unit_text(full[name].dim)}, but its value has unit {unit_name(value)}. "
                "A channel's unit is that of one unit of weight: write inputs={'I': 100*pA}."
            )
    valueless = [n for n, e in full.items() if e.type == PARAMETER and n not in given]
    if valueless:
        raise CellError(
            f"{', '.join(valueless)} is declared in the equations but has no value. Add it to parameters=, or to inputs=(…)."
        )


def _step(cell: Cell, full: Equations) -> dict[str, sp.Expr]:
    """New values of the variables with a differential equation."""
    with runtime():
        try:
            group = _Asked(1, full, method=cell.method, dt=1e-3 * second)
            group.equations.check_units(group, run_namespace={})
            code = StateUpdateMethod.apply_stateupdater(group.equations, group.variables, cell.method)
        except Exception as error:
            raise CellError(
                f"Brian2 refuses these equations with method '{cell.method}': {reason(error)}. Known parameters: "
                f"{', '.join(f'{n} ({unit_name(v)})' for n, v in cell.parameters.items()) or 'none'}. "
                "Check the units; if the method is the trouble, try method='exponential_euler' or 'euler'."
            ) from error
    values: dict[sp.Symbol, sp.Expr] = {}
    for s in statements(str(code)):
        if s.operator != "=":
            raise CellError(f"Method '{cell.method}' uses '{s.operator}', which a deterministic step cannot contain.")
        values[symbol(s.name)] = substituted(s.right.value, values)
    return {s: values[symbol(s)] for s in _states(full)}
