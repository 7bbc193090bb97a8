"""Spikes and state of one trial: raster, population rate, traces of a few units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bioplaus import checks
from bioplaus.errors import RunError
from bioplaus.figures.data import finite
from bioplaus.figures.panels.common import SECONDS, SERIES, STEPS, clock, step_length, ticks, time_axis
from bioplaus.figures.style import axis_label


def raster(ax: Axes, spikes: Any, time: Any, *, time_unit: str = "ms", name: str = "") -> None:
    """One tick per spike, one row per unit.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    spikes : array
        (time, unit) of 0 and 1.
    time : array
        (time,) rising, in `time_unit`.
    name : str
        Of the population.

    Raises
    ------
    RunError
        Not spikes: another shape, or values other than 0 and 1.
    """
    fired = fired_of(spikes, name)
    times = clock(time, len(fired))
    step, unit = np.nonzero(fired)
    # Rows thinner than the eye can part are given taller ticks.
    half = max(0.42, 0.008 * fired.shape[1])
    # Above some ten thousand ticks a vector file takes seconds to open.
    ax.vlines(
        times[step],
        unit - half,
        unit + half,
        color="black",
        linewidth=0.5,
        rasterized=step.size > 10_000,
        label="_spikes",
    )
    if not step.size:
        ax.text(0.5, 0.5, "no spikes", transform=ax.transAxes, ha="center", va="center")
    ax.set_ylim(-half - 0.3, fired.shape[1] - 0.7 + half)
    ax.yaxis.set_major_locator(ticks(5, whole=True))
    ax.set_ylabel(axis_label(f"{name}\nunit".strip().capitalize(), "index"))
    time_axis(ax, times, time_unit)


def rate(
    ax: Axes,
    spikes: Any,
    time: Any,
    *,
    time_unit: str = "ms",
    window: float = 10.0,
    name: str = "",
    colour: str = "black",
) -> None:
    """Rate of a population: spikes in a window, over units and over the window's length.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    spikes, time, time_unit, name
        As for `raster`.
    window : float
        In `time_unit`, rounded to whole steps, at least one; the last window may be shorter.

    Raises
    ------
    RunError
        As for `raster`, or a window that is not positive.
    """
    fired = fired_of(spikes, name)
    times = clock(time, len(fired))
    edges, level = population_rate(fired, times, window)
    if time_unit in SECONDS:
        level, label = level / SECONDS[time_unit], axis_label("Rate", "Hz")
    else:
        label = axis_label("Rate", f"spikes/{'step' if time_unit in STEPS else time_unit}")
    top = ax.get_ylim()[1] if ax.patches else 0.0  # another population may have been drawn here before
    ax.stairs(level, edges, color=colour, linewidth=0.9, label=name or None, baseline=None)
    ax.set_ylim(0, max(1.1 * float(level.max()), top) or 1.0)
    ax.yaxis.set_major_locator(ticks(4))
    ax.set_ylabel(label)
    time_axis(ax, times, time_unit)


def traces(
    ax: Axes,
    values: Any,
    time: Any,
    *,
    name: str = "v",
    unit: str = "",
    time_unit: str = "ms",
    units: Sequence[int] = (0,),
    spikes: Any = None,
    series: str = "unit",
) -> None:
    """A state variable of a few units over time.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    values : array
        (time, unit), in `unit`.
    time, time_unit
        As for `raster`.
    name, unit : str
        For the vertical axis.
    units : sequence of int
        Which units to draw.
    spikes : array, optional
        (time, unit): ticks above the traces, since a reset hides the spike itself.
    series : str
        What one trace is called in a legend, before its number.

    Raises
    ------
    RunError
        Another shape, a NaN, or a unit that is not there.
    """
    state = finite(values, f"values of {name!r}", ("time", "unit"))
    times = clock(time, len(state))
    units = checks.accept(RunError, "units", units, checks.Several(checks.Whole(-checks.MOST), "(0, 1, 2)", 0))
    wrong = [k for k in units if not -state.shape[1] <= k < state.shape[1]]
    if wrong or not units:
        raise RunError(
            f"There is no unit {wrong[0] if wrong else '(none was given)'} in {name!r}: it has units 0 to "
            f"{state.shape[1] - 1}. Give units=(…) from these."
        )
    top = float(state[:, list(units)].max())
    span = (top - float(state[:, list(units)].min())) or 1.0
    for place, k in enumerate(units):
        colour = SERIES[place % len(SERIES)]
        ax.plot(times, state[:, k], color=colour, linewidth=0.8, label=f"{series} {k}")
        if spikes is not None:
            fired = fired_of(spikes, name)
            height = top + span * (0.08 + 0.09 * place)
            when = times[np.nonzero(fired[:, k])[0]]
            ax.vlines(when, height, height + 0.07 * span, color=colour, linewidth=0.6)
    ax.yaxis.set_major_locator(ticks(4))
    ax.set_ylabel(axis_label(name, unit))
    time_axis(ax, times, time_unit)


def population_rate(fired: np.ndarray, times: np.ndarray, window: float) -> tuple[np.ndarray, np.ndarray]:
    """Window edges (window + 1,) and spikes per unit and unit of time in each window (window,)."""
    dt = step_length(times)
    window = checks.accept(
        RunError, "The window of a population rate, in the unit of its times,", window, checks.Real(above=0)
    )
    starts = np.arange(0, len(times), max(1, round(window / dt)))
    steps = np.diff(np.append(starts, len(times)))
    level = np.add.reduceat(fired.mean(1), starts) / (steps * dt)
    return np.append(times[starts], times[-1] + dt), level


def fired_of(spikes: Any, name: str) -> np.ndarray:
    """Spikes (time, unit) of 0 and 1, or a RunError."""
    what = f"spikes of {name!r}" if name else "spikes"
    fired = finite(spikes, what, ("time", "unit"))
    if not np.isin(fired, (0.0, 1.0)).all():
        raise RunError(
            f"The {what} hold values other than 0 and 1, up to {np.abs(fired).max():.4g}: they are rates or "
            "states. Draw them as traces."
        )
    return fired
