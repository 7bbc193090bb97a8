"""What one text of a cell may name, with units: an expression is held against it, and refused in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import sympy as sp
from brian2.core.functions import DEFAULT_CONSTANTS, DEFAULT_FUNCTIONS
from brian2.core.namespace import DEFAULT_UNITS
from brian2.core.variables import Variable
from brian2.parsing.expressions import parse_expression_dimensions
from brian2.units.fundamentalunits import Dimension, DimensionMismatchError, get_dimensions
from brian2.utils.stringtools import get_identifiers
from sympy.core.relational import Relational
from sympy.logic.boolalg import BooleanAtom, BooleanFunction

from bioplaus.errors import CellError, unknown
from bioplaus.symbolic import hints
from bioplaus.symbolic.functions import DIFFERENTIABLE, WRITTEN
from bioplaus.symbolic.names import TAKEN
from bioplaus.symbolic.noise import NOISE
from bioplaus.symbolic.text import Expression, reason
from bioplaus.symbolic.units import unit_text

if TYPE_CHECKING:
    from bioplaus.cell import Cell
    from bioplaus.symbolic.parsed import Parsed


@dataclass(frozen=True)
class Scope:
    """Names within reach of a text of ``cell``, with their dimensions."""

    cell: Cell
    dimensions: Mapping[str, Dimension]

    @classmethod
    def constants(cls, cell: Cell, parsed: Parsed) -> Scope:
        """What every text may read: parameters, and units."""
        return cls(cell, {n: get_dimensions(v) for n, v in {**parsed.units, **cell.parameters}.items()})

    def __or__(self, more: Mapping[str, Dimension]) -> Scope:
        return Scope(self.cell, {**self.dimensions, **more})

    def quantity(self, *expressions: Expression, where: str) -> None:
        """Refuse what is no arithmetic in known names and differentiable functions."""
        for name in sorted(set().union(*(e.names for e in expressions)) - {*self.dimensions}):
            unknown_name(self.cell, name, where, self.dimensions)
        for e in expressions:
            functions(e.value, where)

    def unit(self, e: Expression, expected: Dimension | None, where: str) -> Dimension:
        """The dimensions of an expression; refuses one whose units do not fit. ``expected=None`` accepts any consistent unit."""
        variables = {n: Variable(n, dimensions=d) for n, d in self.dimensions.items()}
        try:
            found = parse_expression_dimensions(e.brian, {**DEFAULT_FUNCTIONS, **DEFAULT_CONSTANTS, **variables})
        except DimensionMismatchError as error:
            raise CellError(
                f"Units do not fit in {where}: '{e.text}'. {reason(error)}. Give every parameter its unit, e.g. 20*ms, and divide by a "
                "quantity of that unit where a plain number is needed."
            ) from error
        except KeyError as error:  # a name that sympy has lost, as in 0*mV
            for name in sorted(get_identifiers(e.brian) - {*self.dimensions, *DEFAULT_FUNCTIONS, *DEFAULT_CONSTANTS}):
                unknown_name(self.cell, name, where, self.dimensions)
            raise CellError(f"The units of '{e.text}' in {where} can't be found: {reason(error)}.") from error
        except (ValueError, TypeError, SyntaxError) as error:
            raise CellError(
                f"The units of '{e.text}' in {where} can't be found: {reason(error)}. Quantities get their units in parameters=."
            ) from error
        if expected is not None and found is not expected:
            raise CellError(
                f"Units do not fit in {where}: '{e.text}' has unit {unit_text(found)}, expected {unit_text(expected)}. "
                "Give every parameter its unit, e.g. 20*ms."
            )
        return found


def unknown_name(cell: Cell, name: str, where: str, known: Iterable[str]) -> NoReturn:
    """Refuse a name that is out of reach, saying what it is instead."""
    if name in cell.set_aside:
        raise CellError(
            f"In {where}: the parameter {name} is {cell.set_aside[name]}, which is not a number. Give a number or a quantity, e.g. 20*ms without quotes."
        )
    if name in cell.inputs:
        raise CellError(
            f"In {where}: '{name}' is an input channel, which only equations= and update= can read. Read a state variable instead."
        )
    if name == "I" and cell.jumps and "I" not in cell.channels:
        raise CellError(
            f"In {where}: 'I' is no input channel of a cell with jumps=, unless inputs= names it too. Write inputs=('I',), or with a unit inputs={{'I': 100*pA}}."
        )
    if name == "y":
        raise CellError(
            f"In {where}: 'y', the neuron's own last output, can only be read by update=. Use a state variable that follows it."
        )
    if NOISE.fullmatch(name):
        raise CellError(
            f"In {where}: '{name}' is white noise, which only a differential equation can read, by itself or in a shorthand. Read a state that follows it."
        )
    if name in TAKEN:
        raise CellError(
            f"In {where}: '{name}' is something else in Brian2 or in generated code, which a cell can't read. To mean a number of your "
            f"own, give it another name, such as {name}_0, in parameters=."
        )
    said = unknown("parameter or variable", name, {*known} - DEFAULT_UNITS.keys())
    raise CellError(f"In {where}: {said} Add it to parameters=, or correct the name.{hints.of_name(name, where)}")


def functions(e: sp.Expr, where: str) -> None:
    """Refuse conditions and functions without a derivative."""
    if e.atoms(Relational, BooleanFunction, BooleanAtom):
        raise CellError(
            f"There is a condition (<, >, and, or, not) in {where}, where a number is needed. Write step(x), 1 where x > 0 and else 0."
        )
    for f in e.atoms(sp.Function):
        name = f.func.__name__
        if name not in DIFFERENTIABLE:
            raise CellError(f"In {where}: " + unknown("differentiable function", name.rstrip("_"), WRITTEN))
