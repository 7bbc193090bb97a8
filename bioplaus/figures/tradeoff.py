"""What every arm reaches, and what it costs: learning curves beside score against cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.lines import Line2D

from bioplaus.figures import panels
from bioplaus.figures.colours import pens
from bioplaus.figures.data import Curves, averaged, ends, table
from bioplaus.figures.panels.curves import key
from bioplaus.figures.panels.tradeoff import FRONTIER
from bioplaus.figures.sheet import Sheet
from bioplaus.figures.style import DOUBLE


def pareto(
    curves: Curves,
    costs: Mapping[str, Any],
    scores: Mapping[str, Any],
    *,
    higher: bool,
    quantity: str = "Score",
    final: str = "Final score",
    unit: str = "",
    cost: str = "Time per step",
    cost_unit: str = "s",
    most: int | None = 100,
) -> Sheet:
    """Learning curves, and the final score against the cost with the frontier of what no other arm beats in both.

    Parameters
    ----------
    curves : Curves
        The score over updates.
    costs, scores : mapping of str to array
        Label → (seed,), the same labels in both.
    higher : bool
        Whether a higher score is better.
    quantity, final, unit, cost, cost_unit : str
        Names of the score over updates, of the score at the end, and of the cost, with their units.
    most : int, optional
        As for `panels.learning`.

    Raises
    ------
    RunError
        As the two panels do.
    """
    shown, group = averaged(curves, most)
    pen = pens([*shown, *scores])
    with Sheet(DOUBLE, 80) as sheet:
        left, right = sheet.subplots(1, 2)
        panels.learning(left, shown, quantity=quantity, unit=unit, most=None, legend=False, strokes=pen)
        points = panels.pareto(
            right, costs, scores, higher=higher, quantity=final, unit=unit, cost=cost, cost_unit=cost_unit, strokes=pen
        )
        sheet.letter()
        right.set_title(f"{'higher' if higher else 'lower'} and further left is better", loc="right")
        handles, names, title = key(shown, strokes=pen, group=group)
        frontier = {"best for its cost (of the means)": Line2D([], [], **FRONTIER)}
        sheet.explain(dict(zip(names, handles, strict=True)) | frontier, title)
        sheet.name_points(points)
        return sheet.done(table(learning=shown, final=ends(scores), cost=ends(costs)))
