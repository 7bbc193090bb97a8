"""Activity in bins of time, and its mean over the trials of each condition: the peristimulus time histogram.

r_i(t | c) = 1/n_c Σ_{b: c_b = c}  spikes of unit i in [t, t + w) of trial b / w
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bioplaus import checks
from bioplaus.checks.numbers import as_number, dimensions
from bioplaus.errors import RunError, cut, unknown

if TYPE_CHECKING:
    import xarray

#: what one unit of time is in seconds
SECONDS = {"ms": 1e-3, "s": 1.0, "us": 1e-6}


def binned(recording: xarray.Dataset, name: str = "spikes", window: Any = 20.0) -> xarray.DataArray:
    """A recorded variable in consecutive bins: spikes as rates in Hz, all else as means.

    Parameters
    ----------
    recording : with ``name`` (time, batch, unit).
    name : a recorded variable; of several populations ``"E.spikes"``.
    window : length of a bin, a time such as 20*ms, or a number in the unit of the recording's time; rounded to whole steps, at least one; steps after the last whole bin are left out.

    Returns
    -------
    xarray.DataArray (batch, time, unit), its times the beginnings of bins

    Raises
    ------
    RunError
        If there is no such variable, or no whole bin.
    """
    import xarray as xr

    values = recorded(recording, name)
    times = recording["time"]
    unit = str(times.attrs.get("units", ""))
    window = _long(window, unit)
    dt = float(times[1] - times[0]) if times.size > 1 else 1.0
    steps = max(1, round(window / dt))
    bins = times.size // steps
    if not bins:
        raise RunError(
            f"A window of {window:g} is longer than the recording, which has {times.size} steps of {dt:g}. Give a shorter one."
        )
    array = values.transpose("batch", "time", ...).values[:, : bins * steps].astype(float)
    mean = array.reshape(len(array), bins, steps, -1).mean(2)
    told = dict(values.attrs)
    if str(told.get("units", "")).startswith("1 per"):  # counted
        mean, told["units"] = (mean / (dt * SECONDS[unit]), "Hz") if unit in SECONDS else (mean, "1 per step")
    dims = ("batch", "time", *(d for d in values.dims if d not in ("time", "batch")))
    coordinates = {k: v for k, v in values.coords.items() if "time" not in v.dims}
    begins = xr.DataArray(times.values[: bins * steps : steps], dims="time", attrs=times.attrs)
    return xr.DataArray(mean, {**coordinates, "time": begins}, dims, name, told | {"window": steps * dt})


def _long(window: Any, unit: str) -> float:
    """A window as a number of the recording's unit of time."""
    if dimensions(window) != {"time": 1}:
        return checks.accept(RunError, "window", window, checks.Real(above=0))
    if unit not in SECONDS:
        raise RunError(
            f"The window is a time, {window}, and this recording counts its time in {unit or 'steps'}. Give a number of these."
        )
    return checks.accept(RunError, "window", as_number(window), checks.Real(above=0)) / SECONDS[unit]


def recorded(recording: Any, name: str) -> xarray.DataArray:
    """A variable of a recording over time and trials.

    Raises
    ------
    RunError
        If it is none, or has another shape.
    """
    import xarray as xr

    if not isinstance(recording, xr.Dataset):
        raise checks.refusal(RunError, "recording", recording, "what bioplaus.simulate or bioplaus.record gives")
    if name not in recording:
        raise RunError(unknown("variable in this recording", cut(str(name)), map(str, recording.data_vars)))
    values = recording[name]
    if not {"time", "batch"} <= set(values.dims) or values.ndim != 3:
        raise RunError(
            f"'{name}' has dims {tuple(map(str, values.dims))}; (time, batch, unit) is needed, such as that of 'spikes'."
        )
    return values


def conditions(recording: xarray.Dataset, by: Any) -> np.ndarray:
    """The condition of every trial: an array (batch,), or the name of a coordinate that tells it.

    Raises
    ------
    RunError
        If there is not one for every trial.
    """
    trials = recording.sizes["batch"]
    if by is None:
        return np.zeros(trials, dtype=int)
    if isinstance(by, str):
        known = [str(c) for c, v in recording.coords.items() if v.dims == ("batch",)]
        if by not in known:
            raise RunError(unknown("coordinate of trials in this recording", by, known))
        return np.asarray(recording[by].values)
    found = np.asarray(by.detach().cpu() if hasattr(by, "detach") else by)
    if found.shape != (trials,):
        raise RunError(
            f"by has shape {found.shape}; a condition for each of {trials} trials is needed, an array ({trials},), or the name of a coordinate."
        )
    return found


def psth(recording: xarray.Dataset, by: Any = None, *, name: str = "spikes", window: Any = 20.0) -> xarray.Dataset:
    """Mean activity over trials of each condition, in bins of time.

    Parameters
    ----------
    recording, name, window : as for `binned`.
    by : the condition of every trial: (batch,), or the name of a coordinate; None: all are alike.

    Returns
    -------
    xarray.Dataset
        ``mean`` and ``sem`` (condition, time, unit), over trials, Hz for spikes; ``trials`` (condition,).

    Raises
    ------
    RunError

    Examples
    --------
    >>> import numpy as np, bioplaus as bp
    >>> network = bp.circuit("recurrent", cell="lif", inputs=3, units=10, outputs=1, input_gain=9.0).build()
    >>> x = np.random.default_rng(0).random((200, 6, 3)) * [[[1]] * 3 + [[2]] * 3]
    >>> found = bp.analysis.psth(bp.simulate(network, x), ["weak"] * 3 + ["strong"] * 3)
    >>> dict(found.sizes), bool(found["mean"].sel(condition="strong").mean() > found["mean"].sel(condition="weak").mean())
    ({'condition': 2, 'time': 10, 'unit': 10}, True)
    """
    import xarray as xr

    values, label = binned(recording, name, window), conditions(recording, by)
    each = list(np.unique(label))
    parts = [values.isel(batch=np.flatnonzero(label == c)) for c in each]
    count = np.array([part.sizes["batch"] for part in parts])
    mean = xr.concat([part.mean("batch") for part in parts], "condition", coords="minimal", compat="override")
    spread = [part.std("batch", ddof=1) / part.sizes["batch"] ** 0.5 if n > 1 else part[0] * np.nan for part, n in zip(parts, count, strict=True)]  # fmt: skip
    sem = xr.concat(spread, "condition", coords="minimal", compat="override")
    found = xr.Dataset({"mean": mean, "sem": sem, "trials": ("condition", count)}, {"condition": each}, values.attrs)
    for part in ("mean", "sem"):
        found[part].attrs = {"units": values.attrs.get("units", "1")}
    return found
