"""One step of a differential equation, as Brian2 itself would take it.

Brian2's state updaters turn equations into abstract code for one step (``_v = v*exp(-dt/tau) + …; v = _v``). Read back
with Brian2's own parser, that code *is* the step function f, so the torch step and the Brian2 step are the same
expression by construction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp
from brian2 import NeuronGroup, second
from brian2.equations.codestrings import Expression
from brian2.equations.equations import DIFFERENTIAL_EQUATION, PARAMETER, Equations, SingleEquation
from brian2.stateupdaters.base import StateUpdateMethod
from brian2.units.fundamentalunits import Dimension, get_dimensions
from brian2.utils.stringtools import get_identifiers

from bioplaus.errors import CellError, unknown
from bioplaus.symbolic.runtime import runtime
from bioplaus.symbolic.text import brian_text, expression, reason, statements, symbol, unit_text
from bioplaus.symbolic.units import unit_name


@dataclass(frozen=True)
class Integrated:
    """The step of a set of equations: ``step[x]`` is the new x in terms of old variables, inputs, parameters and dt.

    ``refractory[x]`` is the new x of a refractory neuron, where that is another expression: the old x if x is marked
    ``(unless refractory)``; for other variables what a step gives while the marked ones stand still.
    """

    step: dict[str, sp.Expr]
    refractory: dict[str, sp.Expr]
    dimensions: dict[str, Dimension]


class _Asked(NeuronGroup):
    """A group that is asked for its step and never run; Brian2 would warn that it was forgotten."""

    def __del__(self) -> None:
        pass


def read(text: str) -> Equations:
    """Brian2 equations as written, with functions that Brian2 lacks spelled out."""
    try:
        written = Equations(text)  # type: ignore[no-untyped-call]
    except Exception as error:
        raise CellError(
            f"The equations can't be read: {reason(error)}. Each line is a differential equation with its unit, such as "
            "'dv/dt = (-v + I)/tau : 1', or a shorthand, such as 'drive = R*I : volt'."
        ) from error
    return Equations([_spelled(e) for e in written.values()])  # type: ignore[no-untyped-call]


def _spelled(e: SingleEquation) -> SingleEquation:
    if e.expr is None or brian_text(e.expr.code) == e.expr.code:
        return e
    return SingleEquation(e.type, e.varname, e.dim, expr=Expression(brian_text(e.expr.code)), flags=e.flags)  # type: ignore[no-untyped-call]


def states(written: Equations) -> tuple[str, ...]:
    """Variables with a differential equation."""
    return tuple(n for n, e in written.items() if e.type == DIFFERENTIAL_EQUATION)


def identifiers(written: Equations) -> set[str]:
    """Every name on a right-hand side."""
    return {i for e in written.values() if e.expr is not None for i in get_identifiers(e.expr.code)}


def equations(text: str, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> Equations:
    """Brian2 equations with the inputs and every used parameter declared, one value per neuron."""
    written = read(text)
    used = identifiers(written)
    lines = [f"{n} : {unit_name(v)}" for n, v in inputs.items() if n not in written]
    lines += [f"{n} : {unit_name(v)} (constant)" for n, v in parameters.items() if n in used and n not in written]
    return written + Equations("\n".join(lines)) if lines else written  # type: ignore[no-untyped-call]


def integrate(text: str, inputs: Mapping[str, Any], parameters: Mapping[str, Any], method: str) -> Integrated:
    """Integrate equation text over one step with Brian2's state updater ``method``.

    Parameters
    ----------
    text : str
        Brian2 equations.
    inputs : input channel → the current one unit of weight gives; constant during a step.
    parameters : name → quantity (scalar or one value per neuron).
    method : ``"exact"``, ``"exponential_euler"``, ``"euler"``, ``"rk2"``, ``"rk4"``, …

    Raises
    ------
    CellError
        Units that do not fit, a variable without value, or a method that cannot integrate these equations.
    """
    methods = [m for m in StateUpdateMethod.stateupdaters if not m.startswith("gsl")]  # those call a C library
    if method not in methods:
        raise CellError(unknown("integration method", method, methods))
    full = equations(text, inputs, parameters)
    for name, value in {**inputs, **parameters}.items():
        if name in full and full[name].dim is not get_dimensions(value):
            raise CellError(
                f"{name} is declared in the equations with unit {unit_text(full[name].dim)}, but its value has unit {unit_name(value)}. "
                "A channel's unit is that of one unit of weight: write inputs={'I': 100*pA}."
            )
    valueless = [n for n, e in full.items() if e.type == PARAMETER and n not in inputs and n not in parameters]
    if valueless:
        raise CellError(
            f"{', '.join(valueless)} is declared in the equations but has no value. Add it to parameters=, or to inputs=(…)."
        )
    step = _step(full, method, parameters)
    still = [s for s in step if "unless refractory" in full[s].flags]
    refractory: dict[str, sp.Expr] = {s: symbol(s) for s in still}
    if any(e.free_symbols & set(refractory.values()) for s, e in step.items() if s not in still):
        # a method of several stages moves marked variables between its stages; Brian2 holds them
        held = Equations([e for e in full.values() if e.varname not in still])  # type: ignore[no-untyped-call]
        held += Equations("\n".join(f"{s} : {unit_text(full[s].dim)}" for s in still))  # type: ignore[no-untyped-call]
        refractory |= {s: e for s, e in _step(held, method, parameters).items() if e != step[s]}
    return Integrated(step, refractory, {n: full[n].dim for n in (*states(full), *inputs)})


def _step(full: Equations, method: str, parameters: Mapping[str, Any]) -> dict[str, sp.Expr]:
    """New values of the variables with a differential equation."""
    with runtime():
        try:
            group = _Asked(1, full, method=method, dt=1e-3 * second)
            group.equations.check_units(group, run_namespace={})
            code = StateUpdateMethod.apply_stateupdater(group.equations, group.variables, method)  # type: ignore[no-untyped-call]
        except Exception as error:
            raise CellError(
                f"Brian2 refuses these equations with method '{method}': {reason(error)}. Known parameters: "
                f"{', '.join(f'{n} ({unit_name(v)})' for n, v in parameters.items()) or 'none'}. "
                "Check the units; if the method is the trouble, try method='exponential_euler' or 'euler'."
            ) from error
    values: dict[sp.Symbol, sp.Expr] = {}
    for name, operator, right in statements(str(code)):
        if operator != "=":
            raise CellError(f"Method '{method}' uses '{operator}', which a deterministic step cannot contain.")
        values[symbol(name)] = expression(right).xreplace(values)  # type: ignore[assignment]
    return {s: values[symbol(s)] for s in states(full)}
