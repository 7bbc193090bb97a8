"""The texts of a cell, read once."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brian2.equations.equations import Equations

from bioplaus.errors import CellError
from bioplaus.symbolic.grammar import TERMS
from bioplaus.symbolic.text import Expression, Statement, condition, equations, expression, statements, uncommented

#: Brian2's methods that do not multiply equations out
UNEXPANDED = ("euler", "rk2", "rk4", "heun", "milstein")
MARGIN = "x"  # in a surrogate's height: the spike margin over its width

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
    spike: tuple[Expression, Expression] | None  # left > right
    reset: tuple[Statement, ...]
    surrogate: tuple[Expression, Expression] | None  # height, width
    words: frozenset[str]  # every word in the texts, units and flags included; comments are none of them

    @property
    def observed(self) -> tuple[Expression, ...]:
        """What the output or the spike condition is computed from."""
        return self.spike or ((self.output,) if self.output is not None else ())

    @property
    def after_step(self) -> tuple[Expression, ...]:
        """What is evaluated on new states, once the step is taken."""
        return (*self.observed, *(statement.right for statement in self.reset))


def parse(cell: Cell) -> Parsed:
    """Read every text of a cell.

    Raises
    ------
    CellError
        For a text that cannot be read, saying which and how it is written.
    """
    written = [uncommented(t) for t in (cell.equations, cell.update, cell.output, cell.spike, cell.reset)]
    flow, update, output, spike, reset = written
    height, width = [uncommented(t) for t in _surrogate(cell)] or ("", "")
    compared = condition(spike) if cell.spike else None
    margin = {} if compared is None else {MARGIN: compared[0].weight.beside(compared[1].weight)}
    return Parsed(
        equations=equations(flow, math.inf if cell.method in UNEXPANDED else TERMS) if cell.equations else None,
        update=statements(update),
        output=expression(output) if cell.output else None,
        spike=compared,
        reset=statements(reset),
        surrogate=(expression(height, margin), expression(width)) if cell.surrogate is not None else None,
        # neither the x of a surrogate's height nor the dt of a left side is a name of the author's
        words=frozenset(_words(*(re.sub(r"d(\w+)\s*/\s*dt\s*=", r"\1 =", t) for t in written), width))
        | (_words(height) - {MARGIN}),
    )


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
