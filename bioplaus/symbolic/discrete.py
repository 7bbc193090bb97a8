"""One step of a discrete map: assignments run in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sympy as sp
from brian2.units.fundamentalunits import DIMENSIONLESS, get_dimensions

from bioplaus.errors import CellError
from bioplaus.symbolic import names
from bioplaus.symbolic.derive import LAST
from bioplaus.symbolic.parsed import Parsed
from bioplaus.symbolic.scope import Scope
from bioplaus.symbolic.step import Step
from bioplaus.symbolic.text import substituted, symbol
from bioplaus.symbolic.units import SECOND

if TYPE_CHECKING:
    from bioplaus.cell import Cell

OWN = symbol("y")  # as authors write the neuron's own last output


def iterate(cell: Cell, parsed: Parsed) -> Step:
    """Run the assignments of a cell's update symbolically.

    What is read before it is assigned, or by the output, the spike condition or a refractory one, is state; the rest is shorthand.

    Raises
    ------
    CellError
        For what is no plain assignment, unknown names, or anything with a unit: a map's variables are plain numbers.
    """
    assigned, read = dict.fromkeys(s.name for s in parsed.update), _read(parsed)
    names.check(cell, assigned, parsed.words)
    for channel, unit in cell.channels.items():
        if get_dimensions(unit) is not DIMENSIONLESS:
            raise CellError(
                f"Input channel {channel} of a discrete map is given {unit} per unit of weight, but a map's variables are plain numbers."
            )
    plain = dict.fromkeys((*assigned, *cell.inputs, OWN.name), DIMENSIONLESS)
    scope = Scope.constants(cell, parsed) | {"dt": SECOND} | plain
    values: dict[sp.Symbol, sp.Expr] = {OWN: LAST}
    for s in parsed.update:
        scope.quantity(s.right, where=f"update='{s.name} = {s.right.text}'")
        scope.unit(s.right, DIMENSIONLESS, f"the update of {s.name} (a map's variables are plain numbers)")
        values[symbol(s.name)] = substituted(s.right.value, values)
    states = [name for name in assigned if name in read]
    return Step({s: values[symbol(s)] for s in states}, {}, dict.fromkeys(states, DIMENSIONLESS))


def _read(parsed: Parsed) -> set[str]:
    """What is read before it is assigned, or after the step."""
    read: set[str] = set().union(*(e.names for e in (*parsed.observed, parsed.refractory) if e is not None))
    seen: set[str] = set()
    for s in parsed.update:
        if s.operator != "=":
            raise CellError(
                f"A map's update has plain assignments only; found '{s.name} {s.operator} {s.right.text}'. Write '{s.name} = {s.name} {s.operator[0]} ({s.right.text})'."
            )
        read |= s.right.names - seen
        seen.add(s.name)
    return read
