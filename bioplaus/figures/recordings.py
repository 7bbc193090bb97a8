"""Figures of a recorded trial: raster and rate of every population; with states and output beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from bioplaus import checks
from bioplaus.errors import RunError
from bioplaus.figures import panels
from bioplaus.figures.data import numbers, place
from bioplaus.figures.panels.common import SERIES
from bioplaus.figures.sheet import Sheet
from bioplaus.figures.style import SINGLE

Recorded = dict[str, xr.DataArray]
"""Name in the recording → one trial, (time, unit)."""

_ABOVE: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.0, 0.95)}  # a key over the right end of its panel


def raster(dataset: xr.Dataset, *, batch: int = 0, window: float = 10.0) -> Sheet:
    """Raster of every spiking population, and their rates below.

    Parameters
    ----------
    dataset : xarray.Dataset
        A recording with ``spikes`` (time, batch, unit), or ``<population>.spikes`` (time, batch,
        unit_<population>), and the coordinate ``time``, in ms unless its attributes say otherwise.
    batch : int
        Which trial.
    window : float
        Of the rate, in units of time.

    Raises
    ------
    RunError
        No spikes were recorded, or there is no such trial.
    """
    return activity(dataset, batch=batch, window=window, states=(), target=None, output=False)


def activity(
    dataset: xr.Dataset,
    *,
    batch: int = 0,
    window: float = 10.0,
    states: Sequence[str] = ("v",),
    units: Sequence[int] = (0, 1, 2),
    target: Any = None,
    output: bool = True,
) -> Sheet:
    """A trial from spikes to output: rasters, rates, states of a few units, outputs against their targets.

    Parameters
    ----------
    dataset, batch, window
        As for `raster`.
    states : sequence of str
        State variables to draw where they were recorded.
    units : sequence of int
        Units whose states are drawn, those that exist.
    target : array, optional
        (time, output) or (time, batch, output).
    output : bool
        Draw the readout, if recorded.

    Raises
    ------
    RunError
        Nothing to draw was recorded, or there is no such trial.
    """
    time, unit = time_of(dataset)
    states = (states,) if isinstance(states, str) else states
    units = checks.accept(RunError, "units", units, checks.Several(checks.Whole(0), "(0, 1, 2)", 0))
    spikes = populations(dataset, "spikes", batch)
    traced = {name: values for state in states for name, values in populations(dataset, state, batch).items()}
    readout = trial(dataset, "output", batch).values if output and "output" in dataset else np.empty((0, 0))
    wanted = None if target is None else _target(target, batch, readout)
    if not (spikes or traced or readout.size):
        recorded = ", ".join(map(str, dataset.data_vars)) or "nothing"
        raise RunError(
            f"There is nothing to draw in this recording: spikes are needed, and it holds {recorded}. "
            "Record them with record=('spikes', 'v'); for cells without spikes draw their states with "
            "activity(dataset, states=(…))."
        )
    # The outputs of a classifier share one panel; outputs that have a target get one each.
    shared = readout.shape[1] > 4 and wanted is None
    tall = [1.6] * len(spikes) + [0.8] * bool(spikes) + [1.0] * (len(traced) + (1 if shared else readout.shape[1]))
    with Sheet(SINGLE, 12 + 17 * sum(tall) + 2 * len(tall)) as sheet:
        axes = sheet.subplots(len(tall), 1, sharex=True, squeeze=False, height_ratios=tall)[:, 0]
        rows = iter(axes)
        _draw_spikes(rows, spikes, time, unit, window)
        _draw_states(rows, traced, spikes, time, unit, units)
        if shared:
            _draw_classes(next(rows), readout, time, unit)
        else:
            _draw_outputs(rows, readout, wanted, time, unit)
        sheet.stack(axes)
        sheet.letter()
        drawn = {name: values.values for name, values in (spikes | traced).items()}
        drawn |= {"output": readout} if readout.size else {}
        drawn |= {} if wanted is None else {"target": wanted}
        return sheet.done({**drawn, "time": time})


def _draw_spikes(rows: Iterator[Axes], spikes: Recorded, time: np.ndarray, unit: str, window: float) -> None:
    """A raster for each population, and below them the rates of all."""
    for name, values in spikes.items():
        panels.raster(next(rows), values, time, time_unit=unit, name=_population(name))
    if spikes:
        ax = next(rows)
        for (name, values), colour in zip(spikes.items(), SERIES, strict=False):
            colour = colour if len(spikes) > 1 else "black"
            panels.rate(ax, values, time, time_unit=unit, window=window, name=_population(name), colour=colour)
        if len(spikes) > 1:
            ax.legend(ncols=len(spikes), **_ABOVE)


def _draw_states(
    rows: Iterator[Axes], traced: Recorded, spikes: Recorded, time: np.ndarray, unit: str, units: Sequence[int]
) -> None:
    """A panel for each state of each population, with ticks where its units fired."""
    for name, values in traced.items():
        population, _, state = name.rpartition(".")
        fired = spikes.get(f"{population}.spikes" if population else "spikes")
        title = "\n".join([population.capitalize(), state]).strip()
        shown = [k for k in units if k < values.shape[1]]
        quantity: Any = {"name": title, "unit": str(values.attrs.get("units", "")), "time_unit": unit}
        ax = next(rows)
        panels.traces(ax, values, time, units=shown, spikes=fired, **quantity)
        ax.legend(ncols=len(units), **_ABOVE)


def _draw_classes(ax: Axes, readout: np.ndarray, time: np.ndarray, unit: str) -> None:
    """All outputs of a classifier in one panel."""
    outputs = range(readout.shape[1])
    panels.traces(ax, readout, time, name="Output", time_unit=unit, units=outputs, series="output")
    if len(outputs) <= 10:  # as many numbers as stand in one row
        ax.legend(ax.lines, list(map(str, outputs)), ncols=10, handlelength=0.8, columnspacing=0.8, **_ABOVE)


def _draw_outputs(
    rows: Iterator[Axes], readout: np.ndarray, wanted: np.ndarray | None, time: np.ndarray, unit: str
) -> None:
    """A panel for each output, with its target if there is one."""
    for k in range(readout.shape[1]):
        named: Any = {"name": f"Output {k}" if readout.shape[1] > 1 else "Output", "time_unit": unit}
        asked = None if wanted is None else wanted[:, k]
        panels.over_time(next(rows), readout[:, k], asked, time, legend=wanted is not None and k == 0, **named)


def populations(dataset: xr.Dataset, variable: str, batch: int) -> Recorded:
    """The trial's (time, unit) arrays of a variable in each population, by their names in the dataset."""
    names = [str(name) for name in dataset.data_vars if str(name).rpartition(".")[2] == variable]
    return {name: trial(dataset, name, batch) for name in names}


def trial(dataset: xr.Dataset, name: str, batch: int) -> xr.DataArray:
    """One trial of a recorded variable as (time, unit)."""
    values = dataset[name]
    if "batch" in values.dims:
        values = values.isel(batch=place(batch, values.sizes["batch"], "trial", "batch", f"the recording of {name!r}"))
    if values.ndim != 2 or "time" not in values.dims:
        raise RunError(
            f"The recorded {name!r} has dimensions {values.dims}, but a trial is (time, unit). Select one first."
        )
    return values.transpose("time", ...)


def time_of(dataset: xr.Dataset) -> tuple[np.ndarray, str]:
    """Times of a recording, and their unit."""
    if not isinstance(dataset, xr.Dataset) or "time" not in dataset.sizes:
        raise RunError(
            f"A recording must be an xarray Dataset with a dimension 'time'; a {type(dataset).__name__} was "
            "given. Take run.recordings or what bioplaus.simulate returns."
        )
    if "time" not in dataset.coords:
        return np.arange(dataset.sizes["time"], dtype=float), "step"
    unit = str(dataset["time"].attrs.get("units", "ms"))
    return dataset["time"].values, "step" if unit in ("", "1") else unit


def _population(name: str) -> str:
    return name.rpartition(".")[0]


def _target(target: Any, batch: int, readout: np.ndarray) -> np.ndarray:
    values = numbers(target, "targets")
    values = values[:, batch] if values.ndim == 3 else values
    if values.shape != readout.shape:
        raise RunError(
            f"The target has shape {np.shape(target)}, but the recorded output of a trial has "
            f"{readout.shape}: give (time, output) or (time, batch, output)."
        )
    return values
