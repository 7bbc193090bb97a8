"""The texts of a cell, read once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brian2.equations.equations import Equations

from bioplaus.errors import CellError
from bioplaus.symbolic.text import Expression, Statement, condition, equations, expression, statements

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
    words: frozenset[str]  # every word in the texts, units and flags included

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
    height_and_width = _surrogate(cell)
    texts = [cell.equations, cell.update, cell.output, cell.spike, cell.reset, *height_and_width]
    return Parsed(
        equations=equations(cell.equations) if cell.equations else None,
        update=statements(cell.update),
        output=expression(cell.output) if cell.output else None,
        spike=condition(cell.spike) if cell.spike else None,
        reset=statements(cell.reset),
        surrogate=(expression(height_and_width[0]), expression(height_and_width[1])) if height_and_width else None,
        words=frozenset(re.findall(r"[^\W\d]\w*", " ".join(texts))),
    )


def _surrogate(cell: Cell) -> tuple[str, ...]:
    if cell.surrogate is None:
        return ()
    for text in (cell.surrogate.height, cell.surrogate.width):
        if not isinstance(text, str):
            raise CellError(
                f"A surrogate's height and width are text; this one has {text!r}. Write for example Surrogate('relu(1 - abs(x))', 'threshold')."
            )
    return cell.surrogate.height, cell.surrogate.width
