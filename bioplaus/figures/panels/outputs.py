"""What a network puts out against what it was asked: paths in the plane, or one output over time."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bioplaus import checks
from bioplaus.errors import RunError
from bioplaus.figures.data import finite
from bioplaus.figures.panels.common import SERIES, TARGET, clock, ticks, time_axis
from bioplaus.figures.style import axis_label


def plane(
    ax: Axes,
    outputs: Any,
    targets: Any,
    *,
    weight: Any = None,
    unit: str = "",
    most: int = 24,
    legend: bool = True,
) -> None:
    """Reached paths in the plane, each with its target; samples of the same target share a colour.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    outputs, targets : array
        (time, batch, 2).
    weight : array, optional
        (time, batch): the target is asked for where this is positive; None: at every step.
    unit : str
        Of both axes.
    most : int
        Samples drawn, the first of the batch.
    legend : bool
        Explain the marks.

    Raises
    ------
    RunError
        Shapes that do not fit, NaN, or a target asked for at no step.
    """
    reached = finite(outputs, "outputs", ("time", "batch", "2"))
    asked = finite(targets, "targets", ("time", "batch", "2"))
    same_shape(reached, asked, plane=True)
    when = np.ones(reached.shape[:2]) if weight is None else finite(weight, "loss weights", ("time", "batch"))
    if when.shape != reached.shape[:2] or not (when > 0).any(0).all():
        raise RunError(
            f"The loss weights have shape {when.shape} for outputs of shape {reached.shape}, or ask some "
            "sample for a target at no step. Give the weight of the batch, (time, batch), or leave it out."
        )
    most = checks.whole(RunError, "most (samples that are drawn)", most)
    colours: dict[tuple[float, ...], str] = {}
    for sample in range(min(most, reached.shape[1])):
        goal = asked[when[:, sample] > 0, sample]
        colour = colours.setdefault(tuple(np.round(goal[-1], 6)), SERIES[len(colours) % len(SERIES)])
        if len(goal) > 1:
            ax.plot(*goal.T, color=TARGET, linewidth=0.8, linestyle=(0, (3, 2)), label="_target", zorder=1)
        ax.plot(*goal[-1], "x", color=TARGET, markersize=5, markeredgewidth=1.2, label="_goal", zorder=1)
        ax.plot(*reached[:, sample].T, color=colour, linewidth=0.8, label="_path")
        ax.plot(*reached[-1, sample], "o", color=colour, markersize=3, markeredgewidth=0)
    if legend:
        end: Any = {"linewidth": 0.8, "markersize": 3, "markeredgewidth": 0}
        ax.plot([], [], "-o", color="black", **end, label="output and its end")
        ax.plot([], [], "x", color=TARGET, markersize=5, markeredgewidth=1.2, label="target")
        ax.legend(ncols=2, loc="lower right", bbox_to_anchor=(1.0, 1.0))
    ax.set_aspect("equal", adjustable="datalim")
    ax.xaxis.set_major_locator(ticks(5))
    ax.yaxis.set_major_locator(ticks(5))
    ax.set_xlabel(axis_label("Output 0", unit))
    ax.set_ylabel(axis_label("Output 1", unit))


def over_time(
    ax: Axes,
    output: Any,
    target: Any,
    time: Any,
    *,
    weight: Any = None,
    name: str = "Output",
    unit: str = "",
    time_unit: str = "ms",
    legend: bool = True,
) -> None:
    """One output and its target over time.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    output, time : array
        (time,) each.
    target : array or None
        (time,), if there is one.
    weight : array, optional
        (time,): the target is drawn where this is positive; None: everywhere.
    name, unit, time_unit : str
        For the axes.
    legend : bool
        Explain the two lines.

    Raises
    ------
    RunError
        Shapes that do not fit, or NaN.
    """
    given = finite(output, "output", ("time",))
    times = clock(time, given.size)
    if target is not None:
        wanted = finite(target, "target", ("time",))
        same_shape(given, wanted)
        if weight is not None:
            when = finite(weight, "loss weights", ("time",))
            same_shape(given, when)
            wanted = np.where(when > 0, wanted, np.nan)
        alone = np.count_nonzero(np.isfinite(wanted)) == 1  # a point, which a line would not show
        ax.plot(
            times,
            wanted,
            color=TARGET,
            linewidth=1.2,
            linestyle=(0, (3, 1.5)),
            marker="x" if alone else None,
            markersize=5,
            label="target",
        )
    ax.plot(times, given, color=SERIES[0], linewidth=1.0, label="output")
    ax.yaxis.set_major_locator(ticks(5))
    ax.set_ylabel(axis_label(name, unit))
    time_axis(ax, times, time_unit)
    if legend:
        ax.legend(ncols=2, loc="lower right", bbox_to_anchor=(1.0, 1.0))


def same_shape(outputs: np.ndarray, targets: np.ndarray, *, plane: bool = False) -> None:
    """Refuse outputs and targets of different shapes, and in the plane those that are not pairs."""
    if outputs.shape != targets.shape or (plane and outputs.shape[-1] != 2):
        wanted = ", both with two numbers at the end" if plane else ""
        raise RunError(
            f"The outputs have shape {outputs.shape} and the targets {targets.shape}, but they must be the "
            f"same{wanted}. Class labels as targets can't be drawn as a path."
        )
