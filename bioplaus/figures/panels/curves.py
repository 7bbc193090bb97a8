"""Learning curves, gradient alignment and final scores: one mean ± s.e.m. per arm, and every seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bioplaus import checks
from bioplaus.errors import RunError
from bioplaus.figures.colours import Pen, pens
from bioplaus.figures.data import Checked, Curves, averaged, checked, finite, mean_sem, seeds
from bioplaus.figures.panels.common import GUIDE, LEVEL, stroke, ticks, unit_of, widths
from bioplaus.figures.style import axis_label

SEED_WIDTH = 0.4  # pt
BAND = 0.22  # opacity of ± s.e.m.
_MARKS: dict[str, dict[str, Any]] = {
    "seed": {"color": "black", "marker": "o", "markersize": 2.6, "markeredgewidth": 0, "alpha": 0.6, "linestyle": ""},
    "mean ± s.e.m.": {"color": "black", "marker": "D", "markersize": 2.8, "linewidth": 1.0},
}


def learning(
    ax: Axes,
    curves: Curves,
    *,
    quantity: str = "Loss",
    unit: str = "",
    log: bool = False,
    chance: float | None = None,
    most: int | None = 100,
    legend: bool = True,
    strokes: Mapping[str, Pen] | None = None,
    each: bool = True,
) -> None:
    """A measured quantity over updates: mean ± s.e.m. (ddof 1) over seeds, and a thin line for every seed.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    curves : mapping of str to (updates, values)
        values (seed, update), NaN where not measured; arms without any value are left out.
    quantity, unit : str
        For the vertical axis; an accuracy without a unit is told as a fraction, or in % where it goes beyond 1.
    log : bool
        Logarithmic vertical axis; all values must be positive then.
    chance : float, optional
        Level of guessing, drawn as a dotted line.
    most : int, optional
        Curves of more than twice as many points are drawn as averages over neighbouring points of a seed,
        which the key tells; None: every point.
    legend : bool
        Draw the key, with the number of seeds, inside the axes.
    strokes : mapping of str to Pen, optional
        Pens by label, to share them between panels.
    each : bool
        Draw the seeds' own lines; of many arms they would hide the means.

    Raises
    ------
    RunError
        Nothing was measured, the form of the data is wrong, or a value is infinite.
    """
    quantity = checks.accept(RunError, "quantity", quantity, checks.Word())
    chance = checks.accept(RunError, "chance", chance, LEVEL)
    good, group = averaged(curves, most)
    if log and (low := [label for label, (_, values) in good.items() if np.nanmin(values) <= 0]):
        raise RunError(
            f"A logarithmic axis can't show values of zero or below, but {', '.join(map(repr, low))} have "
            "some. Draw them with log=False."
        )
    strokes = _strokes(good, strokes)
    wide = widths({label: mean_sem(values)[0] for label, (_, values) in good.items()})
    for label, (updates, values) in good.items():
        _curve(ax, updates, values, strokes[label], wide[label], label, each)
    if chance is not None:
        ax.axhline(chance, **GUIDE, label="_chance")
    if log:
        ax.set_yscale("log")
    _update_axis(ax, good)
    ax.set_ylabel(axis_label(quantity, unit_of(quantity, unit, (values for _, values in good.values()))))
    if legend:
        handles, names, title = key(good, strokes=strokes, group=group, chance=chance is not None)
        ax.legend(handles, names, title=title, alignment="left")


def _curve(ax: Axes, updates: np.ndarray, values: np.ndarray, pen: Pen, width: float, label: str, each: bool) -> None:
    """Mean and ± s.e.m. of one arm; with `each` the line of every seed below."""
    mean, sem, n = mean_sem(values)
    if seeds(values) > 1:
        for row in values if each else ():
            there = np.isfinite(row)
            ax.plot(updates[there], row[there], color=pen.colour, alpha=0.5, linewidth=SEED_WIDTH, label="_seed")
        several = n > 1
        edges = (mean - sem)[several], (mean + sem)[several]
        ax.fill_between(updates[several], *edges, color=pen.colour, alpha=BAND, linewidth=0, label="_sem")
    # A single measurement is a point, which a line would not show.
    shape: Any = {"linestyle": pen.line, "linewidth": width, "marker": "o" if (n > 0).sum() == 1 else None}
    ax.plot(updates[n > 0], mean[n > 0], color=pen.colour, **shape, label=label)


def alignment(
    ax: Axes,
    curves: Curves,
    *,
    most: int | None = 100,
    legend: bool = True,
    strokes: Mapping[str, Pen] | None = None,
    each: bool = True,
) -> None:
    """Cosine between a learner's gradient (or its synthetic gradient) and the true one, over updates.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    curves : mapping of str to (updates, values)
        As for `learning`; values between -1 and 1.
    most, legend, strokes, each
        As for `learning`.

    Raises
    ------
    RunError
        As for `learning`, or a value that is no cosine.
    """
    good = checked(curves, "alignments")
    for label, (_, values) in good.items():
        worst = float(np.nanmax(np.abs(values)))
        if worst > 1 + 1e-4:  # beyond the rounding of single precision
            raise RunError(
                f"The alignment of {label!r} reaches {worst:.4g}, but a cosine lies between -1 and 1. Give "
                "the cosine of the two gradients, not their inner product."
            )
    shared: dict[str, Any] = {"most": most, "legend": legend, "strokes": strokes, "each": each}
    learning(ax, good, quantity="Gradient alignment", unit="cosine", **shared)
    lowest = min(float(np.nanmin(values)) for _, values in good.values())
    ax.set_ylim(-1.03 if lowest < -0.3 else min(-0.03, 1.15 * lowest), 1.03)
    for level in (0.0, 1.0):
        ax.axhline(level, color="#CCCCCC", linewidth=0.6, zorder=0.5)


def final_scores(
    ax: Axes,
    scores: Mapping[str, Any],
    *,
    quantity: str = "Final score",
    unit: str = "",
    chance: float | None = None,
    counts: bool = True,
    legend: bool = True,
    strokes: Mapping[str, Pen] | None = None,
) -> None:
    """The last score of every seed, one row per arm, with mean ± s.e.m. (ddof 1).

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    scores : mapping of str to array
        Label → (seed,).
    quantity, unit : str
        For the horizontal axis; an accuracy without a unit as in `learning`.
    chance : float, optional
        Level of guessing, drawn as a dotted line.
    counts : bool
        Write the number of seeds behind each label.
    legend : bool
        Explain the marks.
    strokes : mapping of str to Pen, optional
        Pens by label.

    Raises
    ------
    RunError
        No arm, or an arm without seeds or with NaN.
    """
    if not isinstance(scores, Mapping) or not scores:
        raise RunError("There are no final scores to draw: give a dict from each arm's label to one score per seed.")
    quantity = checks.accept(RunError, "quantity", quantity, checks.Word())
    chance = checks.accept(RunError, "chance", chance, LEVEL)
    good = {str(label): finite(each, f"final scores of {label!r}", ("seed",)) for label, each in scores.items()}
    strokes = _strokes(good, strokes)
    for place, (label, values) in enumerate(good.items()):
        colour = strokes[label].colour
        # The seeds lie above the mean, each at the same height in every arm, to be followed by eye.
        height = place - (np.linspace(0.34, 0.04, values.size) if values.size > 1 else np.full(1, 0.19))
        ax.plot(values, height, "o", color=colour, markersize=2.6, alpha=0.6, markeredgewidth=0, label="_seed")
        mean, sem, n = mean_sem(values[:, None])
        bar = sem if n[0] > 1 else None
        ax.errorbar(mean, [place + 0.22], xerr=bar, fmt="D", color=colour, markersize=2.8, elinewidth=1.0)
    if chance is not None:
        ax.axvline(chance, **GUIDE)
    if legend:
        marks = _MARKS if chance is None else {**_MARKS, "chance": GUIDE}
        handles = [Line2D([], [], **mark) for mark in marks.values()]
        ax.legend(handles, list(marks), ncols=3, loc="lower right", bbox_to_anchor=(1.0, 1.0))
    names = [fill(f"{label} (n = {each.size})" if counts else label, 26) for label, each in good.items()]
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.margins(x=0.08)
    ax.xaxis.set_major_locator(ticks(5))
    ax.set_xlabel(axis_label(quantity, unit_of(quantity, unit, good.values())))


def key(
    *panels: Checked, strokes: Mapping[str, Pen], group: int = 1, chance: bool = False
) -> tuple[list[Line2D], list[str], str]:
    """Key to one or several panels of curves: handles, names and title; the names or the title tell n.

    Parameters
    ----------
    *panels : Checked
        Curves of each panel, which may hold different arms and numbers of seeds.
    strokes : mapping of str to Pen
    group : int
        Measurements averaged in one point.
    chance : bool
        Whether the level of guessing is drawn.
    """
    arms = dict.fromkeys(label for panel in panels for label in panel)
    count = {label: [seeds(panel[label][1]) for panel in panels if label in panel] for label in arms}
    handles = [stroke(strokes[label]) for label in arms]
    present = {n for each in count.values() for n in each}
    if len(present) == 1:
        n, names = present.pop(), list(arms)
        title = f"mean ± s.e.m., n = {n} seeds" if n > 1 else "n = 1 seed"
    else:
        names = [f"{label} (n = {', '.join(map(str, dict.fromkeys(each)))})" for label, each in count.items()]
        unequal = any(len(set(each)) > 1 for each in count.values())
        title = "mean ± s.e.m. over n seeds" + (" (panel a, panel b)" if unequal else "")
    if group > 1:
        title += f"; points average {group} measurements"
    if chance:
        handles, names = [*handles, Line2D([], [], **GUIDE)], [*names, "chance"]
    return handles, names, title


def _strokes(labels: Mapping[str, Any] | Sequence[str], given: Mapping[str, Pen] | None) -> Mapping[str, Pen]:
    return given if given is not None and set(labels) <= set(given) else pens(labels)


def _update_axis(ax: Axes, good: Checked) -> None:
    first = min(float(updates[0]) for updates, _ in good.values())
    last = max(float(updates[-1]) for updates, _ in good.values())
    if last > first:
        ax.set_xlim(0.0 if 0 < first < 0.2 * last else first, last)
    ax.xaxis.set_major_locator(ticks(5, whole=True))
    ax.set_xlabel(axis_label("Updates", "number"))
