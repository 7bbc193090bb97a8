"""Composed figures of rules along one trajectory: cosine with BPTT, cosines of every two, and credit by lag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from bioplaus.figures import panels
from bioplaus.figures.colours import pens
from bioplaus.figures.data import Curves, averaged, checked, numbers, table
from bioplaus.figures.panels.alignment import names_of
from bioplaus.figures.sheet import Sheet
from bioplaus.figures.style import DOUBLE, POINTS, SINGLE, TALLEST

_FEW = 5  # chosen: as many rules as can be told apart with a line for each seed
_CELL = 7.0  # mm, of a number of two digits and its sign
_LETTER = 0.2  # of a letter's width to a point of font size, in mm; names are set upright beside the matrix


def along(curves: Curves, *, most: int | None = 40) -> Sheet:
    """Cosine of every rule's gradient with BPTT's over updates, in two columns; see `panels.alignment`.

    Of more than 5 rules the seeds' own lines are left out, and only mean ± s.e.m. are drawn.
    """
    shown, group = averaged(checked(curves, "cosines"), most)
    pen = pens(shown)
    with Sheet(DOUBLE, 80) as sheet:
        panels.alignment(sheet.subplots(), shown, most=None, legend=False, strokes=pen, each=len(shown) <= _FEW)
        sheet.key(shown, strokes=pen, group=group)
        return sheet.done(table(alignment=shown))


def pairwise(cosines: Any, names: Sequence[str]) -> Sheet:
    """Cosine between every two rules' gradients, as a matrix with its numbers; see `panels.pairwise`.

    One column wide where the cells leave room for their numbers, two columns otherwise.
    """
    names = names_of(names)
    margin = 6 + _LETTER * POINTS * max(map(len, names), default=0)
    width = SINGLE if margin + _CELL * len(names) <= SINGLE else DOUBLE
    side = min(width - margin, max(_CELL * len(names), 40.0))
    with Sheet(width, min(TALLEST, side + margin + 6)) as sheet:
        ax = sheet.subplots()
        panels.pairwise(ax, cosines, names)
        ax.set_xlabel("Rule (mean cosine of two rules' gradients)")
        values = numbers(cosines, "cosines")
        rows = [(a, b, values[i, j]) for i, a in enumerate(names) for j, b in enumerate(names)]
        return sheet.done(pd.DataFrame(rows, columns=["rule", "other", "cosine"]))


def credit(cosine: Curves, ratio: Curves) -> Sheet:
    """How far credit reaches: cosine and norm ratio of every rule's credit against its lag; see `panels.by_lag`.

    Parameters
    ----------
    cosine, ratio : mapping of str to (lags, values)
        values (seed, lag).
    """
    cosine, ratio = checked(cosine, "cosines by lag"), checked(ratio, "norm ratios by lag")
    pen = pens([*ratio, *cosine])
    with Sheet(DOUBLE, 80) as sheet:
        axes = sheet.subplots(1, 2)
        panels.by_lag(axes[0], cosine, quantity="Credit alignment", unit="cosine", strokes=pen)
        panels.by_lag(axes[1], ratio, quantity="Credit", unit="norm relative to BPTT's", ratio=True, strokes=pen)
        sheet.letter()
        sheet.key(ratio, strokes=pen)
        drawn = table(cosine=cosine, ratio=ratio).rename(columns={"update": "lag", "arm": "rule"})
        return sheet.done(drawn)
