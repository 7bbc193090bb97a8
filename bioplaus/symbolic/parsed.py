"""The texts of a cell, read once."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from brian2.core.namespace import DEFAULT_UNITS
from brian2.equations.equations import Equations
from brian2.units.fundamentalunits import get_dimensions

from bioplaus.errors import CellError
from bioplaus.symbolic import conditions, noise, refractory
from bioplaus.symbolic.derive import MARGIN
from bioplaus.symbolic.grammar import TERMS
from bioplaus.symbolic.shorthands import Shorthands
from bioplaus.symbolic.text import (
    Expression,
    Statement,
    equations,
    expression,
    statements,
    substituted,
    symbol,
    uncommented,
)
from bioplaus.symbolic.threshold import Threshold, condition
from bioplaus.symbolic.units import plain

#: Brian2's methods that do not multiply equations out
UNEXPANDED = ("euler", "rk2", "rk4", "heun", "milstein")
X = "x"  # in a surrogate's height: the spike margin over its width

if TYPE_CHECKING:
    from bioplaus.cell import Cell


@dataclass(frozen=True)
class Parsed:
    """What a cell's texts say; whether it makes sense is asked later. A piece that the cell has not is None or empty.

    Either ``equations`` (with their units) or ``update`` is there, and either ``spike``, ``reset`` and ``surrogate`` or ``output``.
    """

    equations: Equations | None
    update: tuple[Statement, ...]
    output: Expression | None
    sends: Mapping[str, Expression]
    spike: Threshold | None
    reset: tuple[Statement, ...]
    surrogate: tuple[Expression, Expression] | None  # height, width
    refractory: Expression | None  # a time, or a condition; None where it is given as numbers
    words: frozenset[str]  # every word in the texts that is no unit, flags included; comments are none of them
    #: units in the texts: numbers to all that computes, by their names, as Brian2 knows them
    units: Mapping[str, Any]
    #: white noises, such as ``xi``
    noises: tuple[str, ...]

    @property
    def observed(self) -> tuple[Expression, ...]:
        """What the output or the spike condition is computed from."""
        return tuple(e for e in (self.output, self.spike and self.spike.whole) if e is not None)

    @property
    def after_step(self) -> tuple[Expression, ...]:
        """What is evaluated on new states, once the step is taken."""
        return (*self.observed, *(statement.right for statement in self.reset), *self.sends.values())


def parse(cell: Cell) -> Parsed:
    """Read every text of a cell.

    Raises
    ------
    CellError
        For a text that cannot be read, saying which and how it is written.
    """
    waiting = cell.refractory if isinstance(cell.refractory, str) else ""
    written = [uncommented(t) for t in (cell.equations, cell.update, cell.output, cell.spike, cell.reset, waiting)]
    flow, *others = [*written, *map(uncommented, cell.sends.values())]
    written = conditions.written_in(flow, others)
    flow, update, output, spike, reset, waiting, *sent = written
    height, width = [uncommented(t) for t in _surrogate(cell)] or ("", "")
    terms = math.inf if cell.method in UNEXPANDED else TERMS
    flowing, known = equations(flow, terms) if cell.equations else (None, {})
    shorthands = Shorthands(flowing, known)
    compared = _spike(condition(spike, known), shorthands, f"spike='{cell.spike}'") if cell.spike else None
    margin = {} if compared is None else {X: compared.left.weight.beside(compared.right.weight)}
    # neither the x of a surrogate's height nor the dt of a left side is a name of the author's
    words = _words(*(re.sub(r"d(\w+)\s*/\s*dt\s*=", r"\1 =", t) for t in written), width) | (_words(height) - {X})
    units = _units(cell, words)
    return Parsed(
        equations=flowing,
        update=statements(update),
        output=shorthands.written_in(expression(output, known), f"output='{cell.output}'") if cell.output else None,
        sends={
            name: shorthands.written_in(expression(text, known), f"sends[{name!r}]='{text}'")
            for name, text in zip(cell.sends, sent, strict=True)
        },
        spike=compared,
        reset=shorthands.run(statements(reset, known), f"reset='{' '.join(cell.reset.split())}'"),
        surrogate=(_in_margin(expression(height, margin)), expression(width)) if cell.surrogate is not None else None,
        refractory=refractory.read(cell, waiting, shorthands),
        words=frozenset(words - units.keys()),
        units=units,
        noises=noise.among(words),
    )


def _spike(read: Threshold, shorthands: Shorthands, where: str) -> Threshold:
    left, right, whole = (shorthands.written_in(e, where) for e in (read.left, read.right, read.whole))
    gate, floor = (shorthands.value(e, where) for e in (read.gate, read.floor))
    return replace(read, left=left, right=right, whole=whole, gate=gate, floor=floor)


def _in_margin(height: Expression) -> Expression:
    """With the margin under a name that is nobody else's, while a state may be called x."""
    return replace(height, value=substituted(height.value, {symbol(X): MARGIN}))


def _units(cell: Cell, words: set[str]) -> dict[str, Any]:
    """Brian2's units among the words; a parameter of such a name that is something else is refused later."""

    def its_own(name: str) -> bool:
        given, unit = cell.parameters.get(name, DEFAULT_UNITS[name]), DEFAULT_UNITS[name]
        return not np.ndim(given) and get_dimensions(given) is get_dimensions(unit) and plain(given) == plain(unit)

    return {name: DEFAULT_UNITS[name] for name in sorted(words & DEFAULT_UNITS.keys()) if its_own(name)}


def _words(*texts: str) -> set[str]:
    return set(re.findall(r"[^\W\d]\w*", " ".join(texts)))


def _surrogate(cell: Cell) -> tuple[str, ...]:
    if cell.surrogate is None:
        return ()
    for text in (cell.surrogate.height, cell.surrogate.width):
        if not isinstance(text, str):
            raise CellError(
                f"A surrogate's height and width are text; this one has {text!r}. Write for example Surrogate('relu(1 - abs(x))', 'threshold')."
            )
    return cell.surrogate.height, cell.surrogate.width
