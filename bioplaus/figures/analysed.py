"""Figures of what `bioplaus.analysis` gives: rates by condition, psychometric curves, decoding over time, trajectories of a population."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from bioplaus import checks
from bioplaus.analysis import Psychometric
from bioplaus.errors import RunError
from bioplaus.figures.data import numbers
from bioplaus.figures.panels.common import GUIDE, SERIES, ticks, time_axis
from bioplaus.figures.recordings import time_of
from bioplaus.figures.sheet import BAR, Sheet
from bioplaus.figures.style import DOUBLE, SINGLE, axis_label

#: name → (begin, end) of something that is shown, or several of these, in the unit of time
Bars = Mapping[str, Any]

_KEY: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "handlelength": 1.2}


def psth(found: xr.Dataset, *, units: Any = None, bars: Bars | None = None) -> Sheet:
    """Mean rate of a population over time, a line for each condition; the band is the s.e.m. over units.

    Parameters
    ----------
    found : what `bioplaus.analysis.psth` gives.
    units : number(s) of the units drawn; of one the band is its s.e.m. over trials. None: all.
    bars : name → (begin, end) of stimuli and epochs, drawn above.

    Raises
    ------
    RunError
    """
    _of(found, "mean", "bioplaus.analysis.psth(recording, by)")
    times, clocked = time_of(found)
    mean, sem = found["mean"], found["sem"]
    if units is not None:
        chosen = np.atleast_1d(np.asarray(units))
        if chosen.dtype.kind not in "iu" or chosen.ndim != 1 or (chosen >= mean.shape[-1]).any() or (chosen < 0).any():
            raise checks.refusal(RunError, "units", units, f"numbers of units from 0 to {mean.shape[-1] - 1}")
        mean, sem = mean.isel({mean.dims[-1]: chosen}), sem.isel({mean.dims[-1]: chosen})
    n = mean.shape[-1]
    level = mean.mean(str(mean.dims[-1]))
    band = sem[..., 0] if n == 1 else mean.std(str(mean.dims[-1]), ddof=1) / n**0.5
    with Sheet(SINGLE, 60) as sheet:
        ax, marks = sheet.subplots(), {}
        for k, condition in enumerate(found["condition"].values):
            colour = SERIES[k % len(SERIES)] if len(found["condition"]) > 1 else "black"
            y, e = level[k].values, np.nan_to_num(band[k].values)
            label = f"{condition} (n = {int(found['trials'][k])})"
            (marks[label],) = ax.plot(_middles(found, times), y, color=colour, linewidth=0.9)
            ax.fill_between(_middles(found, times), y - e, y + e, color=colour, alpha=0.25, linewidth=0)
        ax.set_ylabel(
            axis_label(
                "Rate" if found["mean"].attrs.get("units") == "Hz" else "Activity", found["mean"].attrs.get("units", "")
            )
        )
        _timed(ax, found, times, clocked, bars)
        if len(marks) > 1:
            sheet.explain(marks)
        return sheet.done({"time": times, "mean": level.values, "band": band.values})


def psychometric(
    fits: Psychometric | Mapping[str, Psychometric], *, name: str = "Evidence", unit: str = "", choice: str = "1"
) -> Sheet:
    """How often a choice is taken by what speaks for it, points with 95 % intervals, and the fitted curves.

    Parameters
    ----------
    fits : what `bioplaus.analysis.psychometric` gives, or several by their names.
    name, unit : of the horizontal axis.
    choice : what the choice counted is called.
    """
    several = {"": fits} if isinstance(fits, Psychometric) else fits
    if (
        not isinstance(several, Mapping)
        or not several
        or not all(isinstance(f, Psychometric) for f in several.values())
    ):
        raise checks.refusal(
            RunError, "fits", fits, "what bioplaus.analysis.psychometric(x, choice) gives, or a dict of them"
        )
    with Sheet(SINGLE, 62) as sheet:
        ax, drawn = sheet.subplots(), {}
        for (label, fit), colour in zip(
            several.items(), ("black", *SERIES) if len(several) == 1 else SERIES, strict=False
        ):
            x = np.linspace(fit.levels[0], fit.levels[-1], 200)
            ax.plot(x, fit(x), color=colour, linewidth=0.9, label=label or None)
            ends = np.abs(np.array([fit.share - fit.low, fit.high - fit.share]))
            ax.errorbar(
                fit.levels, fit.share, ends, fmt="o", color=colour, markersize=3, linewidth=0.6, markeredgewidth=0
            )
            drawn |= {f"{label} x".strip(): x, f"{label} curve".strip(): fit(x), f"{label} levels".strip(): fit.levels, f"{label} share".strip(): fit.share}  # fmt: skip
        ax.axhline(0.5, **GUIDE)
        ax.set_ylim(-0.03, 1.03)
        ax.set_xlabel(axis_label(name, unit))
        ax.set_ylabel(f"Share of choices {choice}")
        ax.yaxis.set_major_locator(ticks(5))
        if len(several) > 1:
            ax.legend(ncols=3, **_KEY)
        return sheet.done(drawn)


def decoding(found: xr.Dataset | Mapping[str, xr.Dataset], *, bars: Bars | None = None) -> Sheet:
    """Accuracy of decoding over time, mean over folds with their range, and chance.

    Parameters
    ----------
    found : what `bioplaus.analysis.decoding` gives, or several by their names, such as of two populations.
    bars : as for `psth`.
    """
    several = {"": found} if isinstance(found, xr.Dataset) else dict(found)
    for each in several.values():
        _of(each, "accuracy", "bioplaus.analysis.decoding(recording, by)")
    with Sheet(SINGLE, 60) as sheet:
        ax, drawn = sheet.subplots(), {}
        for (label, each), colour in zip(
            several.items(), ("black", *SERIES) if len(several) == 1 else SERIES, strict=False
        ):
            times, clocked = time_of(each)
            folds = each["accuracy"].values
            middle = _middles(each, times)
            ax.plot(middle, folds.mean(1), color=colour, linewidth=0.9, label=label or None)
            ax.fill_between(middle, folds.min(1), folds.max(1), color=colour, alpha=0.2, linewidth=0)
            ax.axhline(float(each["chance"]), **GUIDE)
            _timed(ax, each, times, clocked, None)
            drawn |= {f"{label} time".strip(): times, f"{label} accuracy".strip(): folds}
        first = next(iter(several.values()))
        _timed(ax, first, *time_of(first), bars)
        ax.set_ylim(0, 1.03)
        ax.set_ylabel("Decoding accuracy (fraction)")
        if len(several) > 1:
            ax.legend(ncols=3, **_KEY)
        return sheet.done(drawn)


def components(found: xr.Dataset) -> Sheet:
    """Trajectories of a population by condition: the first component over time, and the first two in the plane.

    Parameters
    ----------
    found : what `bioplaus.analysis.components` gives, of two components or more.
    """
    _of(found, "trajectory", "bioplaus.analysis.components(recording, by)")
    if found.sizes["component"] < 2:
        raise RunError("One component can't be drawn in the plane: bioplaus.analysis.components(…, count=2).")
    times, clocked = time_of(found)
    along, share = found["trajectory"].values, found["explained"].values
    with Sheet(DOUBLE, 66) as sheet:
        left, right = sheet.subplots(1, 2)
        for k, condition in enumerate(found["condition"].values):
            colour = SERIES[k % len(SERIES)]
            left.plot(times, along[k, :, 0], color=colour, linewidth=0.9, label=str(condition))
            right.plot(along[k, :, 0], along[k, :, 1], color=colour, linewidth=0.9)
            right.plot(*along[k, 0, :2], "o", color=colour, markersize=4, markeredgewidth=0)
            right.plot(*along[k, -1, :2], "x", color=colour, markersize=4)
        time_axis(left, times, clocked)
        names = [f"Component {i + 1} ({100 * share[i]:.0f} % of variance)" for i in range(2)]
        left.set_ylabel(names[0])
        right.set_xlabel(names[0])
        right.set_ylabel(names[1])
        if len(found["condition"]) > 1:
            left.legend(ncols=4, **_KEY)
        sheet.letter()
        return sheet.done({"time": times, "trajectory": along, "explained": share})


def stimuli(ax: Axes, bars: Bars) -> None:
    """Bars above a panel over time, each with its name.

    Parameters
    ----------
    bars : name → (begin, end), in the unit of the panel's time, or several of these, [(0, 100), (150, 250)].

    Raises
    ------
    RunError
        For anything else.
    """
    if not isinstance(bars, Mapping):
        raise checks.refusal(RunError, "bars", bars, "a dict {'cue': (0, 100)} of what begins and ends when")
    place: Any = {"transform": ax.get_xaxis_transform(), "clip_on": False}
    for k, (name, when) in enumerate(bars.items()):
        edges = np.atleast_2d(numbers(when, f"bars of {name!r}"))
        if edges.ndim != 2 or edges.shape[1] != 2 or not len(edges) or not np.isfinite(edges).all():
            raise checks.refusal(
                RunError, f"bars of {name!r}", when, "a begin and an end, (0, 100), or several of them"
            )
        if (edges[:, 0] >= edges[:, 1]).any():
            raise checks.refusal(RunError, f"bars of {name!r}", when, "a begin and behind it an end, as in (0, 100)")
        for begin, end in edges:
            shade = ("black", "#999999")[k % 2]  # neighbours would be one bar
            ax.plot([begin, end], [1.03, 1.03], color=shade, linewidth=2, solid_capstyle="butt", label=BAR, **place)
        ax.text((edges.min() + edges.max()) / 2, 1.05, name, ha="center", va="bottom", fontsize=6, **place)


def _timed(ax: Axes, found: xr.Dataset, times: np.ndarray, unit: str, bars: Bars | None) -> None:
    time_axis(ax, times, unit)
    ax.set_xlim(times[0], times[-1] + float(found.attrs.get("window", 0.0)))
    if bars:
        stimuli(ax, bars)


def _middles(found: xr.Dataset, times: np.ndarray) -> np.ndarray:
    return times + float(found.attrs.get("window", 0.0)) / 2


def _of(found: Any, name: str, made: str) -> None:
    if not isinstance(found, xr.Dataset) or name not in found:
        raise checks.refusal(RunError, "what is drawn", found, f"what {made} gives")
