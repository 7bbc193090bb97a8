"""What cerebellar cells say in a trial: many of them sorted by when each says most, and Purkinje cells beside what their climbing fibres do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bioplaus import checks
from bioplaus.errors import RunError
from bioplaus.figures.colours import OKABE_ITO
from bioplaus.figures.data import finite
from bioplaus.figures.panels.common import GUIDE, clock, short, step_length, time_axis
from bioplaus.figures.style import axis_label

EVENT = OKABE_ITO["vermillion"]


def peak_order(rates: Any, name: str = "cell") -> np.ndarray:
    """Numbers of the units that are ever active, those that are highest first, first; of a tie, by number.

    Parameters
    ----------
    rates : array
        (time, unit), not negative.

    Raises
    ------
    RunError
        Another shape, a NaN, a rate below 0, or none above.
    """
    values = _rates(rates, name)
    active = np.flatnonzero(values.max(0) > 0)
    if not active.size:
        raise RunError(
            f"None of the {values.shape[1]} units of '{name}' is active at any time, so that none has a peak. Record a trial in which they are, after some learning or "
            "with a lower threshold (active=None)."
        )
    return active[np.argsort(values[:, active].argmax(0), kind="stable")]


def by_peak(
    ax: Axes, rates: Any, time: Any, order: Any = None, *, time_unit: str = "ms", name: str = "cell"
) -> np.ndarray:
    """A row for each unit, white at 0 and black at its own highest rate, in the order of their peaks.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    rates : array
        (time, unit), not negative.
    time : array
        (time,) rising, in `time_unit`.
    order : array of int, optional
        Which units, from above; None: `peak_order` of these rates. Sorted by what is shown, noise has a diagonal, too: give the order of other trials.
    name : str
        What a unit is called.

    Returns
    -------
    array
        The order.

    Raises
    ------
    RunError
        As of `peak_order`; an order that is none of these units.
    """
    values = _rates(rates, name)
    times = clock(time, len(values))
    if order is None:
        order = peak_order(values, name)
    order = np.asarray(order)
    if order.ndim != 1 or order.dtype.kind not in "iu" or not order.size or not np.isin(order, range(values.shape[1])).all():  # fmt: skip
        raise checks.refusal(RunError, "order", order, f"numbers of units from 0 to {values.shape[1] - 1}")
    shown = values[:, order]
    shown = shown / np.where(shown.max(0) > 0, shown.max(0), 1.0)
    edges = (times[0], times[-1] + step_length(times), len(order) - 0.5, -0.5)
    ax.imshow(shown.T, cmap="Greys", vmin=0, vmax=1, aspect="auto", interpolation="nearest", extent=edges)
    ax.set_ylabel(axis_label(name.capitalize(), "by peak"))
    time_axis(ax, times, time_unit)
    return order


def climbing(
    ax: Axes,
    rates: Any,
    events: Any,
    time: Any,
    *,
    units: Sequence[int],
    time_unit: str = "ms",
    rate_unit: str = "a.u.",
) -> None:
    """Purkinje cells' rates, a row each about its own zero, and a tick wherever their climbing fibres fire: the taller the more of them.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    rates : array
        (time, unit).
    events : array
        (time, fibre), how many fired; of fewer fibres than cells, fibre i is that of cells i, i + number of fibres, ….
    time : array
        (time,) rising, in `time_unit`.
    units : sequence of int
        Which cells, from below.
    rate_unit : str
        Of the scale bar.

    Raises
    ------
    RunError
        Other shapes, a NaN, a cell that is not there, or events that are no whole numbers.
    """
    said, fired = finite(rates, "rates of Purkinje cells", ("time", "unit")), events_of(events)
    times = clock(time, len(said))
    if len(fired) != len(said) or said.shape[1] % fired.shape[1]:
        raise RunError(
            f"Purkinje cells' rates have shape {said.shape} and climbing fibres' events {fired.shape}: as many steps are needed, and a fibre for every cell or for "
            "each of its two zones. Give both of one recording, unthinned."
        )
    chosen = checks.accept(RunError, "units", units, checks.Several(checks.Whole(0), "(0, 1, 2)"))
    if wrong := [k for k in chosen if k >= said.shape[1]]:
        raise RunError(
            f"There is no Purkinje cell {wrong[0]}: they are 0 to {said.shape[1] - 1}. Give units= of these."
        )
    shown, theirs = said[:, list(chosen)], fired[:, [k % fired.shape[1] for k in chosen]]
    span, most = float(np.abs(shown).max()) or 1.0, max(float(theirs.max()), 1.0)
    for row in range(len(chosen)):
        ax.axhline(row, **GUIDE)
        ax.plot(times, row + 0.3 * shown[:, row] / span, color="black", linewidth=0.8, label="_rate")
        when = np.flatnonzero(theirs[:, row])
        high = 0.08 + 0.24 * theirs[when, row] / most
        # Above the trace, where there is none of the next row.
        foot = row + 0.34
        ax.vlines(times[when], foot, foot + high, color=EVENT, linewidth=0.8, label="_events", clip_on=False, zorder=3)
    time_axis(ax, times, time_unit)
    ax.set_ylim(-0.5, len(chosen) - 0.25)
    ax.set_yticks(range(len(chosen)), list(map(str, chosen)))
    ax.set_ylabel(axis_label("Purkinje cell", "index"))
    edge: Any = {"transform": ax.get_yaxis_transform(), "clip_on": False}
    ax.plot([1.02, 1.02], [-0.3, 0.3], color="black", linewidth=1.2, solid_capstyle="butt", label="_scale", **edge)
    ax.text(1.035, 0, f"{short(float(f'{2 * span:.2g}'))}\n{rate_unit}", va="center", ha="left", **edge)


def events_of(events: Any) -> np.ndarray:
    """How many climbing fibres fired, (time, fibre), or a RunError."""
    fired = finite(events, "climbing fibres' events", ("time", "fibre"))
    if (fired < 0).any() or (fired != np.round(fired)).any():
        raise RunError(
            "What is recorded of the olive is no number of events but the error that graded teaching hears, which goes below 0 or is no whole number. "
            "Climbing fibres fire with teaching='events' or 'perturb'; draw a graded error as traces."
        )
    return fired


def _rates(rates: Any, name: str) -> np.ndarray:
    values = finite(rates, f"rates of '{name}'", ("time", "unit"))
    if (values < 0).any():
        raise RunError(
            f"Rates of '{name}' go down to {values.min():.3g}, and what is sorted by peaks is 0 when silent: granule cells with rectify=True, mossy fibres with pairs=True. "
            "Draw others as traces."
        )
    return values
