"""The sheet that a figure is drawn on: its printed size, its letters and key, and the data that it shows."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from string import ascii_lowercase
from textwrap import fill
from typing import Any, Self

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bioplaus import checks
from bioplaus.errors import RunError
from bioplaus.figures.colours import Pen
from bioplaus.figures.data import Checked
from bioplaus.figures.panels.common import stroke
from bioplaus.figures.panels.curves import key
from bioplaus.figures.panels.tradeoff import Points, name_points
from bioplaus.figures.style import DOUBLE, MM_PER_INCH, SINGLE, TALLEST, style

BAR = "_bar"  # what the bars of stimuli above a panel are labelled
_COLUMNS = 6  # of a key, at most  # chosen
_LETTERS = 46  # of a name in a key: longer ones could not stand beside their line in one column


class Sheet(Figure):
    """A matplotlib Figure of a printed size, made without pyplot, that has its style while it is drawn on.

    Parameters
    ----------
    width : float
        mm; one column (89) or two (183).
    height : float
        mm; 20 to the page's 247.

    Raises
    ------
    RunError
        Another width, or a height that fits no page.

    Examples
    --------
    >>> from bioplaus.figures import pens, panels, table
    >>> loss = {"bptt": ([0, 50], [[1.0, 0.2], [0.9, 0.1]]), "eprop": ([0, 50], [[1.0, 0.4], [0.9, 0.3]])}
    >>> with Sheet(DOUBLE, 70) as sheet:
    ...     left, right = sheet.subplots(1, 2)
    ...     panels.learning(left, loss, legend=False, strokes=pens(loss))
    ...     _ = right.plot([0, 1], [0, 1])
    ...     _ = right.set(xlabel="Time (s)", ylabel="Output (a.u.)")
    ...     sheet.letter()
    ...     sheet.key(loss, strokes=pens(loss))
    ...     figure = sheet.done(table(learning=loss))
    >>> [ax.get_title("left") for ax in figure.axes], len(figure.drawn)
    (['a', 'b'], 8)
    """

    drawn: Any = None

    def __init__(self, width: float = SINGLE, height: float = 60.0) -> None:
        height = checks.accept(RunError, "height of a figure in mm", height, checks.Real())
        if isinstance(width, (str, bytes)) or width not in (SINGLE, DOUBLE):
            raise RunError(
                f"A figure can't be {width!r} mm wide: figures are {SINGLE:g} mm (one column) or {DOUBLE:g} mm "
                f"(two columns) wide, so that 7 pt text prints as 7 pt. Give width={SINGLE:g} or "
                f"width={DOUBLE:g}."
            )
        if not 20 <= height <= TALLEST:
            raise RunError(
                f"A figure can't be {height:.4g} mm high: a page takes 20 to {TALLEST:g} mm. Draw fewer rows, "
                "or split the figure in two."
            )
        with style():
            super().__init__(figsize=(width / MM_PER_INCH, height / MM_PER_INCH), layout="constrained")

    def _repr_png_(self) -> bytes:
        """What a notebook shows where the figure is the last line of a cell, whatever draws for pyplot."""
        buffer, canvas = io.BytesIO(), self.canvas
        try:
            with style():
                FigureCanvasAgg(self).print_png(buffer)
        finally:
            self.set_canvas(canvas)
        return buffer.getvalue()

    def __enter__(self) -> Self:
        self._style = style()
        self._style.__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        self._style.__exit__(*problem)
        del self._style  # a figure can be pickled, the style it had while it was drawn can't

    def letter(self) -> None:
        """Bold a, b, c … at the top left of every panel, in the order in which they were made; colour bars have none."""
        panels = [ax for ax in self.axes if ax.get_label() != "<colorbar>"]
        for letter, ax in zip(ascii_lowercase, panels, strict=False):
            above = any(line.get_label() == BAR for line in ax.lines)  # stimuli stand between
            ax.set_title(letter, loc="left", fontweight="bold", fontsize=8, pad=14 if above else None)

    def stack(self, axes: Iterable[Axes]) -> None:
        """Of panels one upon another that share their horizontal axis: its label below the lowest, the vertical labels in line."""
        *above, lowest = axes
        for ax in above:
            ax.set_xlabel("")
            ax.tick_params(axis="x", labelbottom=False)
        self.align_ylabels([*above, lowest])

    def key(self, *curves: Checked, strokes: Mapping[str, Pen], group: int = 1, chance: bool = False) -> None:
        """Key to the curves of one or several panels, above them: every arm's line, and over how many seeds it is a mean.

        Parameters
        ----------
        *curves : mapping of str to (updates, values)
            Of each panel; they may hold different arms and numbers of seeds.
        strokes : mapping of str to Pen
            Pens by label, of every arm.
        group : int
            Measurements averaged in one point, as `averaged` returns it.
        chance : bool
            Whether the level of guessing is drawn.
        """
        self._above(*key(*curves, strokes=strokes, group=group, chance=chance))

    def explain(self, marks: Mapping[str, Pen | Artist], title: str = "") -> None:
        """Key to marks of your own, above the panels: name → pen of a line, or anything that was drawn."""
        handles = [stroke(mark) if isinstance(mark, Pen) else mark for mark in marks.values()]
        self._above(handles, list(marks), title)

    def name_points(self, *points: Points) -> None:
        """Every arm's name beside its point in panels of score against cost; the last thing drawn, as it needs the layout."""
        self.draw_without_rendering()
        for each in points:
            name_points(each)

    def done(self, data: Any) -> Self:
        """The figure itself, which remembers the data drawn on it, so that `save` can put them beside it."""
        self.drawn = data
        return self

    def _above(self, handles: list[Any], names: list[str], title: str) -> None:
        """A key in as many columns as the width takes; how wide one is depends on its words alone, so nothing is drawn to know."""
        names = [fill(name, _LETTERS) for name in names]
        for columns in range(min(len(names), _COLUMNS), 0, -1):
            legend = self.legend(handles, names, title=title, loc="outside upper left", ncols=columns, alignment="left")
            if columns == 1 or legend.get_window_extent().width <= 0.98 * self.bbox.width:
                break
            legend.remove()
        if engine := self.get_layout_engine():
            engine.execute(self)  # the panels make room: whoever asks where they are is told
