"""Score against cost: a point an arm, and the frontier of those that no other beats in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from bioplaus.errors import RunError
from bioplaus.figures.colours import Pen, pens
from bioplaus.figures.data import finite, mean_sem
from bioplaus.figures.panels.common import GUIDE, short, ticks, unit_of
from bioplaus.figures.panels.labels import place_labels
from bioplaus.figures.style import axis_label

_SPAN = 20.0  # ratio of the largest to the smallest score above which errors stand on a logarithmic axis  # chosen
# Decades up to which 1, 2 and 5 of each get a number on the axis, and 1 to 9 of a single one.  # chosen by eye
_FEW_DECADES = 3.0


class Points(NamedTuple):
    """What `pareto` drew: the axes, and in their units the mean of every arm and the frontier (point, 2)."""

    ax: Axes
    means: dict[str, tuple[float, float]]
    strokes: Mapping[str, Pen]
    frontier: np.ndarray


FRONTIER: dict[str, Any] = {**GUIDE, "linewidth": 0.9, "zorder": 1}


def pareto(
    ax: Axes,
    costs: Mapping[str, Any],
    scores: Mapping[str, Any],
    *,
    higher: bool,
    quantity: str = "Score",
    unit: str = "",
    cost: str = "Cost",
    cost_unit: str = "",
    strokes: Mapping[str, Pen] | None = None,
) -> Points:
    """Mean score of every arm against its mean cost, with ± s.e.m. (ddof 1) over seeds in both, and the frontier.

    Names are not written here: `Sheet.name_points` does it once the figure has its layout.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    costs, scores : mapping of str to array
        Label → (seed,), the same labels in both; costs are positive, on a logarithmic axis.
    higher : bool
        Whether a higher score is better.
    quantity, unit, cost, cost_unit : str
        For the axes.
    strokes : mapping of str to Pen, optional
        Pens by label.

    Returns
    -------
    Points
        What is to be named.

    Raises
    ------
    RunError
        No arm, different arms, an arm without seeds, NaN, or a cost that is not positive.
    """
    if not (isinstance(scores, Mapping) and isinstance(costs, Mapping)) or not scores or set(scores) != set(costs):
        raise RunError(
            "There is no score against cost to draw: give two dicts with the same labels, each label with one number "
            "per seed."
        )
    pen = strokes if strokes is not None and set(scores) <= set(strokes) else pens(scores)
    means: dict[str, tuple[float, float]] = {}
    for label in scores:
        mean_x, bar_x = _mean(_positive(costs, label))
        mean_y, bar_y = _mean(finite(scores[label], f"scores of {label!r}", ("seed",)))
        dot: Any = {"fmt": "o", "markersize": 3.6, "elinewidth": 0.8, "zorder": 3}
        ax.errorbar(mean_x, mean_y, xerr=bar_x, yerr=bar_y, color=pen[label].colour, **dot)
        means[label] = (mean_x, mean_y)
    heights = [y for _, y in means.values()]
    _scales(ax, log=not higher and min(heights) > 0 and max(heights) > _SPAN * min(heights))
    stairs = _stairs(ax, means, higher)
    ax.plot(*stairs.T, **FRONTIER, label="_frontier")
    ax.set_xlabel(axis_label(cost, cost_unit))
    ax.set_ylabel(
        axis_label(quantity, unit_of(quantity, unit, (finite(s, "scores", ("seed",)) for s in scores.values())))
    )
    return Points(ax, means, pen, stairs)


def name_points(points: Points) -> None:
    """Write every arm's name beside its point; the figure must have been laid out."""
    bars = [np.asarray(segment) for bar in points.ax.collections for segment in _segments(bar)]
    colours = {label: points.strokes[label].colour for label in points.means}
    place_labels(points.ax, points.means, colours, [*bars, points.frontier])


def frontier(costs: Sequence[float], scores: Sequence[float], higher: bool) -> list[int]:
    """Which points no other beats: none is both as cheap and as good, and better in one of the two.

    Parameters
    ----------
    costs, scores : sequence of float
        One of each a point; lower costs are better.
    higher : bool
        Whether a higher score is better.

    Returns
    -------
    list of int
        Places of the points, from the cheapest to the dearest.
    """
    if len(costs) != len(scores):
        raise RunError(f"There are {len(costs)} costs for {len(scores)} scores: give one of each for every point.")
    good = [score if higher else -score for score in scores]
    unbeaten = [
        i
        for i in range(len(good))
        if not any(
            costs[j] <= costs[i] and good[j] >= good[i] and (costs[j] < costs[i] or good[j] > good[i])
            for j in range(len(good))
        )
    ]
    return sorted(unbeaten, key=lambda i: costs[i])


def _stairs(ax: Axes, means: Mapping[str, tuple[float, float]], higher: bool) -> np.ndarray:
    """The frontier as a line (point, 2): what is reached for every cost, from edge to edge of the axes."""
    points = list(means.values())
    best = [points[i] for i in frontier([x for x, _ in points], [y for _, y in points], higher)]
    bottom, top = ax.get_ylim()
    line = [(best[0][0], bottom if higher else top)]
    for (x, y), after in zip(best, [*best[1:], (ax.get_xlim()[1], 0.0)], strict=True):
        line += [(x, y), (after[0], y)]
    return np.array(line)


def _scales(ax: Axes, log: bool) -> None:
    """Logarithmic costs, and errors too with `log`; the limits are kept from here on, as the frontier goes to the edges."""
    ax.set_xscale("log")
    if log:
        ax.set_yscale("log")
    else:
        ax.yaxis.set_major_locator(ticks(5))
    ax.margins(x=0.16, y=0.16)
    ax.autoscale_view()
    _numbers(ax)
    ax.set_xlim(ax.get_xlim())
    ax.set_ylim(ax.get_ylim())


def _numbers(ax: Axes) -> None:
    """Readable numbers on the logarithmic axis of the cost, also where it spans less than a decade."""
    low, high = ax.get_xlim()
    decades = np.log10(high / low)
    numbered = range(1, 10) if decades <= 1 else (1, 2, 5) if decades <= _FEW_DECADES else (1,)
    ax.xaxis.set_major_locator(LogLocator(subs=tuple(numbered)))
    ax.xaxis.set_major_formatter(short)
    ax.xaxis.set_minor_locator(LogLocator(subs=tuple(range(1, 10))))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _positive(costs: Mapping[str, Any], label: str) -> np.ndarray:
    spent = finite(costs[label], f"costs of {label!r}", ("seed",))
    if (spent <= 0).any():
        raise RunError(
            f"The costs of {label!r} go down to {spent.min():.4g}, which a logarithmic axis can't show: a cost is a "
            "positive number."
        )
    return spent


def _mean(values: np.ndarray) -> tuple[float, np.ndarray | None]:
    """Mean and s.e.m. over seeds; no s.e.m. of a single one."""
    mean, sem, n = mean_sem(values[:, None])
    return float(mean[0]), sem if n[0] > 1 else None


def _segments(collection: Any) -> list[Any]:
    return collection.get_segments() if hasattr(collection, "get_segments") else []
