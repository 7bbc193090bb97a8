"""What several panels share: colours of series, guide lines, the time axis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bioplaus import checks
from bioplaus.checks.numbers import dimensions
from bioplaus.errors import RunError
from bioplaus.figures.colours import LEFTOVER, OKABE_ITO, Pen
from bioplaus.figures.data import finite, numbers
from bioplaus.figures.style import axis_label

MEAN_WIDTH = 1.2  # pt, of a mean over seeds
_SAME = 0.004  # of the range of all curves: nearer than a line is wide  # chosen: 0.2 mm of 50

SECONDS = {"ms": 1e-3, "s": 1.0, "second": 1.0, "us": 1e-6}
# What the unit of time is called where it is the number of a step; "1" is Brian2's and xarray's word for it.
STEPS = ("step", "steps", "1", "")
# For units, outputs and targets, which have no colour of their own.
_FIRST = ("blue", "vermillion", "bluish green", "orange", "reddish purple")
SERIES = (*(OKABE_ITO[name] for name in _FIRST), *LEFTOVER)
TARGET = "#777777"
# What is a share of trials, steps or outputs, and so has no arbitrary unit.
SHARES = ("accuracy", "right signs", "fraction correct", "share")
GUIDE: dict[str, Any] = {"color": "#777777", "linewidth": 0.6, "linestyle": (0, (1, 1.5)), "zorder": 0.5}


def ticks(most: int, *, whole: bool = False, symmetric: bool = False) -> MaxNLocator:
    """At most about `most` ticks, at multiples of 1, 2, 2.5 or 5; `whole` at whole numbers only."""
    return MaxNLocator(
        most,
        integer=whole,
        symmetric=symmetric,
        steps=[1, 2, 5, 10] if whole else [1, 2, 2.5, 5, 10],
        min_n_ticks=1 if whole else 2,
    )


def short(value: float, _: float = 0.0) -> str:
    """A tick's number without trailing zeros, for narrow axes: −0.25, 0, 0.25."""
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def stroke(pen: Pen) -> Line2D:
    """What a key shows for a line drawn with a pen."""
    return Line2D([], [], color=pen.colour, linestyle=pen.line, linewidth=MEAN_WIDTH)


def clock(time: Any, steps: int) -> np.ndarray:
    """`time` as a rising array of as many steps as the data have, or a RunError."""
    times = finite(time, "times", ("time",))
    if times.size != steps or (np.diff(times) <= 0).any():
        raise RunError(
            f"There are {times.size} times for {steps} steps, or they do not rise. Give one time for every step."
        )
    return times


def in_unit(time: Any, unit: str) -> np.ndarray:
    """Times as plain numbers in a unit, also where they are quantities."""
    if not dimensions(time):
        return numbers(time, "times")
    if unit not in SECONDS or dimensions(time) != {"time": 1}:
        raise checks.refusal(
            RunError, "time", time, f"times, or plain numbers, to be drawn in {unit!r}: one of {', '.join(SECONDS)}"
        )
    return np.asarray(time, dtype=float) / SECONDS[unit]


def step_length(times: np.ndarray) -> float:
    """Length of a step; a single step counts as 1."""
    return float(np.median(np.diff(times))) if times.size > 1 else 1.0


def widths(means: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Line widths (pt) of mean curves: one that later curves cover all along is wider by a line for each, up to 3, and shows.

    Parameters
    ----------
    means : mapping of str to array
        Label → heights, NaN where there is none; in the order in which they are drawn.
    """
    values = np.concatenate([each[np.isfinite(each)] for each in means.values()] or [np.zeros(1)])
    near = _SAME * (float(np.ptp(values)) if values.size else 0.0)

    def covered(a: np.ndarray, b: np.ndarray) -> bool:
        if a.shape != b.shape or not (shared := np.isfinite(a) & np.isfinite(b)).any():
            return False
        return bool((np.abs(a - b)[shared] <= near).all())

    rest = list(means.items())
    return {
        label: MEAN_WIDTH * (1 + min(3, sum(covered(mean, later) for _, later in rest[i + 1 :])))
        for i, (label, mean) in enumerate(rest)
    }


LEVEL = checks.Optional(checks.Real(), "for no line")  # of guessing


def unit_of(quantity: str, unit: str, values: Iterable[np.ndarray]) -> str:
    """The unit of a measured quantity: of a share of trials that is given none, a fraction, or % where it goes beyond 1.

    Examples
    --------
    >>> unit_of("Test accuracy", "", [np.array([0.1, 0.9])]), unit_of("Loss", "", [np.array([0.1, 0.9])])
    ('fraction', '')
    """
    if unit or not quantity.lower().endswith(SHARES):
        return unit
    largest = max(float(np.nanmax(np.abs(each), initial=0.0)) for each in values)
    return "%" if largest > 1 else "fraction"


def time_axis(ax: Axes, times: np.ndarray, unit: str) -> None:
    """Limits, ticks and label of the horizontal axis."""
    ax.set_xlim(times[0], times[-1] + step_length(times))
    ax.xaxis.set_major_locator(ticks(6))
    ax.set_xlabel(axis_label("Time", "steps" if unit in STEPS else unit))
