"""One step of a differential equation, as Brian2 itself would take it.

Brian2's state updaters turn equations into abstract code for one step (``_v = v*exp(-dt/tau) + …; v = _v``). Read back
with Brian2's own parser, that code *is* the step function f, so the torch step and the Brian2 step are the same
expression by construction.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sympy as sp
from brian2 import NeuronGroup, prefs, second
from brian2.equations.equations import DIFFERENTIAL_EQUATION, PARAMETER, Equations
from brian2.stateupdaters.base import StateUpdateMethod
from brian2.units.fundamentalunits import Dimension, get_dimensions
from brian2.utils.stringtools import get_identifiers

from bioplaus.errors import CellError
from bioplaus.symbolic.text import expression, statements
from bioplaus.symbolic.units import unit_name


@dataclass(frozen=True)
class Integrated:
    """The step of a set of equations: ``step[x]`` is the new x in terms of old variables, inputs, parameters and dt."""

    states: tuple[str, ...]
    step: dict[str, sp.Expr]
    dimensions: dict[str, Dimension]
    clamped: frozenset[str]
    variables: Mapping[str, Any]


@contextmanager
def quiet():
    """Brian2 warns about groups that join no network; ours are built to be asked, not run."""
    logger = logging.getLogger("brian2")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def equations(text: str, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> Equations:
    """Brian2 equations with the inputs and every used parameter declared, one value per neuron."""
    try:
        written = Equations(text)  # type: ignore[no-untyped-call]
    except Exception as error:
        raise CellError(f"The equations cannot be read: {error}") from error
    used = {i for e in written.values() if e.expr is not None for i in get_identifiers(e.expr.code)}
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
        Units that do not fit, an unknown name, or a method that cannot integrate these equations.
    """
    full = equations(text, inputs, parameters)
    for name, scale in inputs.items():
        if full[name].dim is not get_dimensions(scale):
            raise CellError(
                f"Input {name} is declared in the equations as '{full[name].unit}', but one unit of weight gives {scale}. "
                f"Write inputs={{'{name}': value}} with a value of the declared unit, e.g. 100*pA."
            )
    states = tuple(n for n, e in full.items() if e.type == DIFFERENTIAL_EQUATION)
    with quiet():
        try:
            target, prefs.codegen.target = prefs.codegen.target, "numpy"
            group = NeuronGroup(1, full, method=method, dt=1e-3 * second)
            group._network = "asked, never run"  # or Brian2 warns that it was forgotten
            group.equations.check_units(group, run_namespace={})
            code = StateUpdateMethod.apply_stateupdater(group.equations, group.variables, method)  # type: ignore[no-untyped-call]
        except Exception as error:
            reason = " ".join(str(e) for e in (error, error.__cause__) if e is not None)
            raise CellError(
                f"Brian2 refuses these equations with method '{method}': {reason} Known parameters: "
                f"{', '.join(f'{n} ({unit_name(v)})' for n, v in parameters.items()) or 'none'}. "
                "Check units and names; if the method is the trouble, try method='exponential_euler' or 'euler'."
            ) from error
        finally:
            prefs.codegen.target = target
    values: dict[sp.Symbol, sp.Expr] = {}
    for name, operator, right in statements(code):
        if operator != "=":
            raise CellError(f"Method '{method}' uses '{operator}', which a deterministic step cannot contain.")
        values[sp.Symbol(name, real=True)] = expression(right).xreplace(values)
    step = {s: values[sp.Symbol(s, real=True)] for s in states}
    flags = {n: e.flags for n, e in full.items()}
    extra = [n for n, e in full.items() if e.type == PARAMETER and n not in inputs and n not in parameters]
    if extra:
        raise CellError(f"{', '.join(extra)} is declared in the equations but has no value. Add it to the parameters, or to inputs=(…).")
    return Integrated(
        states=states,
        step=step,
        dimensions={n: full[n].dim for n in (*states, *inputs)},
        clamped=frozenset(s for s in states if "unless refractory" in flags[s]),
        variables=dict(group.variables),
    )


def variable(value: Any) -> Any:
    """A stand-in for a parameter, for unit checks."""
    from brian2.core.variables import Variable

    return Variable("parameter", dimensions=get_dimensions(value))  # type: ignore[no-untyped-call]
