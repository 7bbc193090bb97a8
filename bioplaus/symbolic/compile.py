"""From a `Cell` to its derived expressions and its generated source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp
from brian2.core.variables import Variable
from brian2.units.fundamentalunits import DIMENSIONLESS, get_dimensions

from bioplaus.errors import CellError
from bioplaus.symbolic.derive import LAST, Derived, derive, reset_targets
from bioplaus.symbolic.integrate import integrate
from bioplaus.symbolic.text import check_units, expression, names, statements, symbol
from bioplaus.symbolic.torch_source import Kernel, generate
from bioplaus.symbolic.units import Quantity, plain, unit_name

if TYPE_CHECKING:
    from bioplaus.cell import Cell


def derive_cell(cell: Cell) -> tuple[Derived, dict[str, str]]:
    """Integrate, check units, differentiate. Also names the SI unit of every state."""
    f, clamped, dims = _integrated(cell) if cell.equations else _mapped(cell)
    return _derived(cell, f, clamped, dims), {s: unit_name(Quantity(1.0, dim=dims[s])) for s in f}


def _derived(cell: Cell, f: dict[str, sp.Expr], clamped: frozenset[str], dims: dict[str, Any]) -> Derived:
    # one unit of weight gives one `scale` of current; the weights themselves stay plain numbers
    f = {s: e.xreplace({symbol(k): symbol(f"unit_{k}") * symbol(k) for k, v in cell.scales.items() if v != 1}) for s, e in f.items()}
    known = set(f) | set(cell.parameters) | {"dt"}
    variables: dict[str, Any] = {n: Variable(n, dimensions=get_dimensions(v)) for n, v in cell.parameters.items()}  # type: ignore[no-untyped-call]
    variables |= {s: Variable(s, dimensions=dims[s]) for s in f}  # type: ignore[no-untyped-call]
    if cell.output:
        out = expression(cell.output)
        _refuse_unknown(out, known, f"output='{cell.output}'", cell)
        check_units(cell.output, DIMENSIONLESS, variables, "the output")
        return derive(f=f, inputs=tuple(cell.inputs), output=out, spiking=False)
    left, right = _condition(cell.spike)
    margin = expression(f"({left}) - ({right})")
    _refuse_unknown(margin, known, f"spike='{cell.spike}'", cell)
    unit = get_dimensions_of(left, variables)
    check_units(right, unit, variables, "the spike condition")
    assert cell.surrogate is not None
    _refuse_unknown(expression(cell.surrogate.width), known, f"the surrogate's width '{cell.surrogate.width}'", cell)
    check_units(cell.surrogate.width, unit, variables, "the surrogate's width")
    for name, _, value in statements(cell.reset):
        if name not in f:
            raise CellError(f"The reset assigns to '{name}', which is not a state variable. States: {', '.join(f)}.")
        _refuse_unknown(expression(value), known, f"reset='{cell.reset}'", cell)
        check_units(value, dims[name], variables, f"the reset of {name}")
    return derive(
        f=f, inputs=tuple(cell.inputs), output=margin, spiking=True, surrogate=expression(cell.surrogate.height),
        width=expression(cell.surrogate.width), reset=cell.reset, reset_variables=reset_targets(expression(left)),
        differentiate=frozenset(cell.differentiate), clamped=clamped,
    )  # fmt: skip


def _integrated(cell: Cell) -> tuple[dict[str, sp.Expr], frozenset[str], dict[str, Any]]:
    done = integrate(cell.equations, cell._input_units, cell.parameters, cell.method)
    allowed = set(done.states) | set(cell.inputs) | set(cell.parameters) | {"dt"}
    for state, e in done.step.items():
        _refuse_unknown(e, allowed, f"the step of {state}", cell)
    return done.step, done.clamped, done.dimensions


def _mapped(cell: Cell) -> tuple[dict[str, sp.Expr], frozenset[str], dict[str, Any]]:
    """A discrete map: assignments run in order; what is read before it is assigned, or by output or spike, is state."""
    lines = statements(cell.update)
    assigned = [name for name, _, _ in lines]
    read_later = names(expression(cell.output or "+".join(f"({s})" for s in _condition(cell.spike))))
    read_first: set[str] = set()
    seen: set[str] = set()
    for name, operator, right in lines:
        if operator != "=":
            raise CellError(f"A map's update has plain assignments only; found '{name} {operator} {right}'.")
        read_first |= names(expression(right)) - seen
        seen.add(name)
    states = [n for n in dict.fromkeys(assigned) if n in read_first or n in read_later]
    allowed = set(assigned) | set(cell.inputs) | set(cell.parameters) | {"dt", LAST.name}
    values: dict[sp.Symbol, sp.Expr] = {}
    for name, _, right in lines:
        e = expression(right)
        _refuse_unknown(e, allowed, f"update='{name} = {right}'", cell)
        values[symbol(name)] = e.xreplace(values)
    return {s: values[symbol(s)] for s in states}, frozenset(), dict.fromkeys(states, DIMENSIONLESS)


def _condition(spike: str) -> tuple[str, str]:
    left, sign, right = spike.partition(">")
    if not sign or right.startswith("="):
        raise CellError(f"spike='{spike}' is not a condition of the form 'left > right'.")
    return left.strip(), right.strip()


def get_dimensions_of(text: str, variables: dict[str, Any]) -> Any:
    """Dimensions of an expression."""
    from brian2.core.functions import DEFAULT_FUNCTIONS
    from brian2.parsing.expressions import parse_expression_dimensions

    check_units(text, None, variables, "the spike condition")
    return parse_expression_dimensions(text, {**DEFAULT_FUNCTIONS, **variables})  # type: ignore[no-untyped-call]


def _refuse_unknown(e: sp.Expr, known: set[str], where: str, cell: Cell) -> None:
    unknown = names(e) - known
    if unknown:
        raise CellError(
            f"Unknown name {', '.join(sorted(unknown))} in {where}. Known: {', '.join(sorted(known))}. "
            "Add it to parameters=, or correct the name."
        )


def kernel(cell: Cell, n: int, dt: float, dtype: Any, device: Any) -> Kernel:
    """Generate and bind the torch source for ``n`` neurons, checking per-neuron parameters against ``n``."""
    for name, value in cell.parameters.items():
        if np.ndim(value) and np.shape(value) != (n,):
            raise CellError(f"Parameter {name} has shape {np.shape(value)}, but the population has {n} neurons: give a scalar or {n} values.")
    values = {k: plain(v) for k, v in cell.parameters.items()}
    values |= {f"unit_{k}": v for k, v in cell.scales.items()}
    return generate(cell.derived, values, dt, refractory_steps(cell, dt) > 0, dtype, device)


def refractory_steps(cell: Cell, dt: float) -> int:
    """Refractory time in steps; a spike at step k forbids spikes at k + 1 … k + steps − 1."""
    steps = plain(cell.refractory) / dt if get_dimensions(cell.refractory) is not DIMENSIONLESS else plain(cell.refractory)
    if abs(steps - round(steps)) > 1e-6 or steps < 0:
        raise CellError(f"refractory={cell.refractory} is {steps:g} steps of {dt * 1e3:g} ms; give a whole number of steps.")
    return int(round(steps))
