"""Spikes by trials: all populations in a trial of each condition, or one neuron in all trials; what is shown in bars above."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bioplaus import checks
from bioplaus.analysis.psth import conditions, recorded
from bioplaus.errors import RunError
from bioplaus.figures.analysed import Bars, stimuli
from bioplaus.figures.data import place
from bioplaus.figures.panels.activity import fired_of
from bioplaus.figures.panels.common import SERIES, clock, ticks, time_axis
from bioplaus.figures.recordings import populations, time_of
from bioplaus.figures.sheet import Sheet
from bioplaus.figures.style import SINGLE, axis_label

EPOCH = "epoch_"
_MOST = 6  # trials, one above another on a page


def epochs(dataset: xr.Dataset, batch: int = 0) -> dict[str, np.ndarray]:
    """The epochs of a trial that a recording tells of, as bars for `stimuli`: name → (n, 2), in its unit of time; those that are there.

    Examples
    --------
    >>> import bioplaus as bp
    >>> task = bp.task("evidence_accumulation", cues=3)
    >>> circuit = bp.circuit("recurrent", cell="lif", inputs=task.inputs, units=5, outputs=2)
    >>> recording = bp.simulate(circuit, task.batch(bp.stream(0, "task"), 2))
    >>> bp.figures.epochs(recording)["cue"].tolist()
    [[50.0, 150.0], [200.0, 300.0], [350.0, 450.0]]
    """
    time_of(dataset)
    found: dict[str, np.ndarray] = {}
    for name, values in dataset.coords.items():
        if str(name).startswith(EPOCH) and values.dims[:1] == ("batch",) and values.dims[-1] == "edge":
            which = place(batch, values.sizes["batch"], "trial", "batch", "this recording")
            edges = values.values[which].reshape(-1, 2).astype(float)
            if (there := edges[:, 0] < edges[:, 1]).any():
                found[str(name).removeprefix(EPOCH)] = edges[there]
    return found


def rasters(
    dataset: xr.Dataset, by: Any = None, *, trials: Sequence[int] | None = None, bars: Bars | None = None
) -> Sheet:
    """Spikes of all populations in several trials, one above another, with bars over each for what was shown when.

    Parameters
    ----------
    dataset : a recording with ``spikes``, or ``<population>.spikes`` of each.
    by : condition of every trial, an array or the name of a coordinate such as ``"answer"``; None: all are alike.
    trials : which; None: the first of each condition.
    bars : name → (begin, end), or several of these, the same for all; None: the epochs that the recording tells of, trial by trial.

    Raises
    ------
    RunError
        Without spikes, for trials that are not there, or more than a page holds (6).
    """
    times, clocked = time_of(dataset)
    if not populations(dataset, "spikes", 0):
        raise RunError("No spikes are in this recording: make it with record=('spikes',), of cells that spike.")
    first = next(name for name in map(str, dataset.data_vars) if name.rpartition(".")[2] == "spikes")
    told = None if by is None else conditions(dataset, by)
    n = recorded(dataset, first).sizes["batch"]
    chosen = _chosen(told, n, trials)
    names = [name.rpartition(".")[0] for name in populations(dataset, "spikes", 0)]
    colours = dict(zip(names, SERIES if len(names) > 1 else ("black",), strict=False))
    with Sheet(SINGLE, 14 + 38 * len(chosen)) as sheet:
        axes = sheet.subplots(len(chosen), 1, sharex=True, squeeze=False)[:, 0]
        drawn: dict[str, Any] = {"time": times}
        for ax, k in zip(axes, chosen, strict=True):
            spikes = {name.rpartition(".")[0]: each.values for name, each in populations(dataset, "spikes", k).items()}
            _stacked(ax, spikes, colours, times, clocked)
            shown = epochs(dataset, k) if bars is None else bars
            stimuli(ax, shown)
            said = f"trial {k}" if told is None else f"{_named(by)}{told[k]}, trial {k}"
            ax.text(1.01, 0.5, said, transform=ax.transAxes, rotation=-90, ha="left", va="center")
            drawn[f"trial {k}"] = {name or "spikes": each for name, each in spikes.items()}
            drawn[f"trial {k}"] |= {f"bars {name}": np.asarray(each, dtype=float) for name, each in shown.items()}
        sheet.stack(axes)
        sheet.letter()
        if len(names) > 1:
            sheet.explain({name: Line2D([], [], color=colours[name]) for name in names})
        return sheet.done(drawn)


def unit_trials(
    dataset: xr.Dataset, unit: int = 0, by: Any = None, *, population: str = "", bars: Bars | None = None
) -> Sheet:
    """Spikes of one neuron in all trials, a row each, those of one condition together and in one colour.

    Parameters
    ----------
    dataset, by, bars : as for `rasters`; bars of None are the first trial's epochs, and those of the others where they are the same.
    unit : its number in its population.
    population : where there are several.

    Raises
    ------
    RunError
        If there is no such neuron.
    """
    times, clocked = time_of(dataset)
    values = recorded(dataset, f"{population}.spikes" if population else "spikes").transpose("time", "batch", ...)
    unit = place(unit, values.shape[2], "unit", "unit", "this recording")
    fired = fired_of(values.values[:, :, unit], f"unit {unit}")
    told = np.zeros(fired.shape[1], int) if by is None else conditions(dataset, by)
    order = np.argsort(told, kind="stable")
    shown = _common(dataset, len(order)) if bars is None else bars
    with Sheet(SINGLE, min(150.0, 34 + 0.6 * len(order))) as sheet:
        ax, marks = sheet.subplots(), {}
        for k, condition in enumerate(np.unique(told)):
            colour = "black" if by is None else SERIES[k % len(SERIES)]
            rows = np.flatnonzero(told[order] == condition)
            step, row = np.nonzero(fired[:, order[rows]])
            marks[f"{_named(by)}{condition} (n = {len(rows)})"] = _ticks(ax, times[step], rows[row], colour)
        ax.set_ylim(-1, len(order))
        ax.yaxis.set_major_locator(ticks(5, whole=True))
        ax.set_ylabel(axis_label("Trial", "sorted"))
        time_axis(ax, clock(times, len(times)), clocked)
        stimuli(ax, shown)
        if by is not None:
            sheet.explain(marks)
        return sheet.done({"time": times, "spikes": fired[:, order], "condition": told[order], "trial": order})


def _chosen(told: np.ndarray | None, n: int, trials: Any) -> list[int]:
    """The trials that are drawn."""
    if trials is None:
        found = [0] if told is None else [int(np.flatnonzero(told == each)[0]) for each in np.unique(told)]
    else:
        whole = checks.Several(checks.Whole(-checks.MOST), "(0, 1, 2)")
        asked = checks.accept(RunError, "trials", trials, whole)
        found = [place(k, n, "trial", "batch", "this recording") for k in asked]
    if len(found) > _MOST:
        raise RunError(f"A page holds {_MOST} trials, and {len(found)} are to be drawn: say which, trials=(0, 1, 2).")
    return found


def _stacked(ax: Axes, spikes: dict[str, np.ndarray], colours: dict[str, str], times: np.ndarray, unit: str) -> None:
    """Populations one upon another, the first at the bottom."""
    below = 0
    for name, values in spikes.items():
        fired = fired_of(values, name)
        step, row = np.nonzero(fired)
        _ticks(ax, times[step], below + row, colours[name], max(0.42, 0.004 * sum(v.shape[1] for v in spikes.values())))
        below += fired.shape[1]
    ax.set_ylim(-1, below)
    ax.yaxis.set_major_locator(ticks(5, whole=True))
    ax.set_ylabel(axis_label("Unit", "index"))
    time_axis(ax, clock(times, len(times)), unit)


def _ticks(ax: Axes, when: np.ndarray, row: np.ndarray, colour: str, half: float = 0.42) -> Any:
    told: Any = {"color": colour, "linewidth": 0.5, "rasterized": when.size > 10_000, "label": "_spikes"}
    return ax.vlines(when, row - half, row + half, **told)


def _common(dataset: xr.Dataset, n: int) -> dict[str, np.ndarray]:
    """The epochs that are the same in all trials."""
    first, others = epochs(dataset, 0), [epochs(dataset, k) for k in range(1, n)]
    return {
        name: edges
        for name, edges in first.items()
        if all(np.array_equal(edges, each.get(name, ())) for each in others)
    }


def _named(by: Any) -> str:
    return f"{by} " if isinstance(by, str) else ""
