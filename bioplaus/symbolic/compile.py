"""From a `Cell` to its derived expressions and its generated source."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp
from brian2.core.functions import DEFAULT_CONSTANTS, DEFAULT_FUNCTIONS
from brian2.core.namespace import DEFAULT_UNITS
from brian2.core.variables import Variable
from brian2.units.fundamentalunits import DIMENSIONLESS, get_dimensions
from sympy.core.relational import Relational
from sympy.logic.boolalg import BooleanAtom, BooleanFunction

from bioplaus.errors import CellError, unknown
from bioplaus.symbolic import validate
from bioplaus.symbolic.derive import LAST, MARGIN, Derived, derive, reset_targets
from bioplaus.symbolic.functions import NUMPY, TORCH
from bioplaus.symbolic.integrate import identifiers, integrate, read, states
from bioplaus.symbolic.text import check_units, expression, names, statements, symbol, unit_text
from bioplaus.symbolic.torch_source import Kernel, generate
from bioplaus.symbolic.units import plain

if TYPE_CHECKING:
    from bioplaus.cell import Cell


def derive_cell(cell: Cell) -> tuple[Derived, dict[str, str]]:
    """Integrate, check units, differentiate. Also names the SI unit of every state."""
    f, refractory, dims = _integrated(cell) if cell.equations else _mapped(cell)
    for state, e in f.items():
        _refuse_functions(e, f"the step of {state}")
        if not names(e) & {*f, *cell.inputs, LAST.name}:
            raise CellError(f"'{state}' takes the same value, {e}, at every step. Make it a parameter.")
    idle = [k for k in cell.inputs if not any(symbol(k) in e.free_symbols for e in f.values())]
    if idle:
        raise CellError(
            f"Input channel {', '.join(idle)} has no effect: the step of {', '.join(f)} does not use it. Correct the name, or leave it out of inputs=."
        )
    return _derived(cell, f, refractory, dims), {s: unit_text(dims[s]) for s in f}


def _derived(cell: Cell, f: dict[str, sp.Expr], refractory: dict[str, sp.Expr], dims: dict[str, Any]) -> Derived:
    # one unit of weight gives one `scale` of current; the weights themselves stay plain numbers
    scaled = {symbol(k): symbol(f"unit_{k}") * symbol(k) for k, v in cell.scales.items() if v != 1}
    f = {s: e.xreplace(scaled) for s, e in f.items()}  # type: ignore[misc]
    refractory = {s: e.xreplace(scaled) for s, e in refractory.items()}  # type: ignore[misc]
    known = set(f) | set(cell.parameters) | {"dt"}
    variables = _variables(cell) | {s: Variable(s, dimensions=dims[s]) for s in f}  # type: ignore[no-untyped-call]
    if cell.output:
        out = _quantity(cell.output, f"output='{cell.output}'", known, cell)
        check_units(cell.output, DIMENSIONLESS, variables, "the output")
        _refuse_blind(out, f, f"output='{cell.output}'")
        return derive(f=f, inputs=tuple(cell.inputs), output=out, spiking=False)
    left, right = _condition(cell.spike)
    margin = _quantity(f"({left}) - ({right})", f"spike='{cell.spike}'", known, cell)
    unit = check_units(left, None, variables, "the spike condition")
    check_units(right, unit, variables, "the spike condition")
    _refuse_blind(expression(left), f, f"the left of spike='{cell.spike}'")
    for name, _, value in statements(cell.reset):
        if name not in f:
            raise CellError("The reset assigns to what is no state variable: " + unknown("state", name, f))
        _quantity(value, f"reset='{cell.reset}'", known, cell)
    for name, operator, value in statements(cell.reset):
        # a factor has no unit of its own
        check_units(value, DIMENSIONLESS if operator in ("*=", "/=") else dims[name], variables, f"the reset of {name}")
    height, width = _surrogate(cell, unit, variables)
    return derive(
        f=f,
        inputs=tuple(cell.inputs),
        output=margin,
        spiking=True,
        surrogate=height,
        width=width,
        reset=cell.reset,
        reset_variables=reset_targets(expression(left)),
        differentiate=frozenset(cell.differentiate),
        refractory=refractory,
    )


def _surrogate(cell: Cell, unit: Any, variables: dict[str, Any]) -> tuple[sp.Expr, sp.Expr]:
    """Height and width of the surrogate derivative; a width is a positive number."""
    assert cell.surrogate is not None
    height, width = cell.surrogate.height, cell.surrogate.width
    for text in (height, width):
        if not isinstance(text, str):
            raise CellError(
                f"A surrogate's height and width are text; this one has {text!r}. Write for example Surrogate('relu(1 - abs(x))', 'threshold')."
            )
    parameters = set(cell.parameters)
    tall = _quantity(height, f"the surrogate's height '{height}'", parameters | {MARGIN.name}, cell)
    check_units(
        height,
        DIMENSIONLESS,
        variables | {MARGIN.name: Variable("x", dimensions=DIMENSIONLESS)},
        "the surrogate's height",
    )  # type: ignore[no-untyped-call]
    wide = _quantity(width, f"the surrogate's width '{width}'", parameters, cell)
    check_units(width, unit, variables, "the surrogate's width")
    symbols = sorted(wide.free_symbols, key=str)
    value = sp.lambdify(symbols, wide, [NUMPY, "numpy"])(*(plain(cell.parameters[str(s)]) for s in symbols))
    if not np.all(np.asarray(value) > 0):
        raise CellError(
            f"The surrogate's width '{width}' is {value:g} with these parameters; it must be positive."
            if np.ndim(value) == 0
            else f"The surrogate's width '{width}' is not positive in every neuron."
        )
    return tall, wide


def _integrated(cell: Cell) -> tuple[dict[str, sp.Expr], dict[str, sp.Expr], dict[str, Any]]:
    written = read(cell.equations)
    if not states(written):
        raise CellError(
            "equations= contain no differential equation. Write one as 'dv/dt = (-v + I)/tau : 1'; a discrete map goes into update=."
        )
    used = identifiers(written) | _words(cell)
    validate.names(cell, states(written), used)
    known = set(written) | set(cell.inputs) | set(cell.parameters) | {"dt"}
    for name in sorted(identifiers(written) - known - set(DEFAULT_FUNCTIONS) - set(DEFAULT_CONSTANTS)):
        _unknown(name, "the equations", known, cell)
    done = integrate(cell.equations, cell.channels, cell.parameters, cell.method)
    return done.step, done.refractory, done.dimensions


def _mapped(cell: Cell) -> tuple[dict[str, sp.Expr], dict[str, sp.Expr], dict[str, Any]]:
    """A discrete map: assignments run in order; what is read before it is assigned, or by output or spike, is state."""
    lines = statements(cell.update)
    assigned = [name for name, _, _ in lines]
    read_later = names(expression(cell.output or "+".join(f"({s})" for s in _condition(cell.spike))))
    read_first: set[str] = set()
    seen: set[str] = set()
    for name, operator, right in lines:
        if operator != "=":
            raise CellError(
                f"A map's update has plain assignments only; found '{name} {operator} {right}'. Write '{name} = {name} …'."
            )
        read_first |= names(expression(right)) - seen
        seen.add(name)
    found = [n for n in dict.fromkeys(assigned) if n in read_first or n in read_later]
    validate.names(cell, dict.fromkeys(assigned), _words(cell))
    allowed = set(assigned) | set(cell.inputs) | set(cell.parameters) | {"dt", LAST.name}
    plain_numbers = (*assigned, *cell.inputs, LAST.name)
    variables = _variables(cell) | {n: Variable(n, dimensions=DIMENSIONLESS) for n in plain_numbers}  # type: ignore[no-untyped-call]
    for channel, unit in cell.channels.items():
        if get_dimensions(unit) is not DIMENSIONLESS:
            raise CellError(
                f"Input channel {channel} of a discrete map is given {unit} per unit of weight, but a map's variables are plain numbers."
            )
    values: dict[sp.Symbol, sp.Expr] = {}
    for name, _, right in lines:
        e = _quantity(right, f"update='{name} = {right}'", allowed, cell)
        check_units(right, DIMENSIONLESS, variables, f"the update of {name} (a map's variables are plain numbers)")
        values[symbol(name)] = e.xreplace(values)  # type: ignore[assignment]
    return {s: values[symbol(s)] for s in found}, {}, dict.fromkeys(found, DIMENSIONLESS)


def _condition(spike: str) -> tuple[str, str]:
    left, sign, right = (part.strip() for part in spike.partition(">"))
    if not (left and right) or re.search(r"[<>=]|\b(and|or|not)\b", left + right):
        raise CellError(
            f"spike='{spike}' is not a condition of the form 'left > right', with the states that a reset acts on at the left "
            "and one '>', such as 'v > threshold + beta*a'."
        )
    return left, right


def _variables(cell: Cell) -> dict[str, Any]:
    """What the unit check knows: parameters and the step."""
    known = {n: Variable(n, dimensions=get_dimensions(v)) for n, v in cell.parameters.items()}  # type: ignore[no-untyped-call]
    return known | {"dt": Variable("dt", dimensions=validate.SECOND)}  # type: ignore[no-untyped-call]


def _words(cell: Cell) -> set[str]:
    """Every word of the cell's texts."""
    surrogate = [str(t) for t in (cell.surrogate.height, cell.surrogate.width)] if cell.surrogate else []
    return set(
        re.findall(
            r"[^\W\d]\w*", " ".join([cell.equations, cell.update, cell.output, cell.spike, cell.reset, *surrogate])
        )
    )


def _quantity(text: str, where: str, known: set[str], cell: Cell) -> sp.Expr:
    """An arithmetic expression in known names and functions that torch has too."""
    e = expression(text)
    for name in sorted(names(e) - known):
        _unknown(name, where, known, cell)
    _refuse_functions(e, where)
    return e


def _refuse_functions(e: sp.Expr, where: str) -> None:
    if e.atoms(Relational, BooleanFunction, BooleanAtom):
        raise CellError(
            f"There is a condition (<, >, and, or, not) in {where}, where a number is needed. Write step(x), 1 where x > 0 and else 0."
        )
    for f in e.atoms(sp.Function):
        if f.func.__name__ not in TORCH:
            known = sorted({{"magnitude": "abs", "direction": "sign"}.get(n, n) for n in TORCH} - {"Abs"})
            raise CellError(f"In {where}: " + unknown("differentiable function", f.func.__name__.rstrip("_"), known))


def _refuse_blind(e: sp.Expr, f: dict[str, sp.Expr], where: str) -> None:
    if not names(e) & set(f):
        raise CellError(
            f"No state variable is read by {where}, so that no input can change it. States: {', '.join(f)}."
        )


def _unknown(name: str, where: str, known: set[str], cell: Cell) -> None:
    if name in cell._set_aside:
        raise CellError(
            f"In {where}: the parameter {name} is {cell._set_aside[name]}, which is not a number. Give a number or a quantity, e.g. 20*ms."
        )
    if name in DEFAULT_UNITS:
        raise CellError(
            f"In {where}: '{name}' is a unit. Quantities have names here: give this one a name in parameters=, such as tau=20*ms."
        )
    if name in cell.inputs:
        raise CellError(
            f"In {where}: '{name}' is an input channel, which only equations= and update= can read. Read a state variable instead."
        )
    if name == LAST.name:
        raise CellError(
            f"In {where}: 'y', the neuron's own last output, can only be read by update=. Use a state variable that follows it."
        )
    said = unknown("parameter or variable", name, known)
    raise CellError(f"In {where}: {said} Add it to parameters=, or correct the name.")


def kernel(cell: Cell, n: int, dt: float, dtype: Any, device: Any) -> Kernel:
    """Generate and bind the torch source for ``n`` neurons, checking values per neuron against ``n``."""
    for kind, values in (("Parameter", cell.parameters), ("The start of", cell.start)):
        for name, value in values.items():
            if np.ndim(value) and np.shape(value) != (n,):
                raise CellError(
                    f"{kind} {name} has shape {np.shape(value)}, but the population has {n} neurons: give a scalar or {n} values."
                )
    numbers = {k: plain(v) for k, v in cell.parameters.items()}
    numbers |= {f"unit_{k}": v for k, v in cell.scales.items()}
    return generate(cell.derived, numbers, dt, refractory_steps(cell, dt) > 0, dtype, device)


def refractory_steps(cell: Cell, dt: float) -> int:
    """Refractory time in steps; a spike at step k forbids spikes at k + 1 … k + steps − 1."""
    steps = (
        plain(cell.refractory) / dt if get_dimensions(cell.refractory) is not DIMENSIONLESS else plain(cell.refractory)
    )
    if abs(steps - round(steps)) > 1e-6:
        raise CellError(
            f"refractory={cell.refractory} is {steps:g} steps of {dt * 1e3:g} ms; give a whole number of steps."
        )
    return int(round(steps))
