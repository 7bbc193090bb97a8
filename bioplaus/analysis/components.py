"""Trajectories of a population: its mean activity by condition along the directions in which that varies most (principal components)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bioplaus import checks
from bioplaus.analysis.psth import psth
from bioplaus.errors import RunError

if TYPE_CHECKING:
    import xarray


def components(
    recording: xarray.Dataset, by: Any = None, *, name: str = "spikes", window: Any = 20.0, count: int = 3
) -> xarray.Dataset:
    """Project the means of all conditions onto their first principal components.

    Parameters
    ----------
    recording, by, name, window : as for `bioplaus.analysis.psth`.
    count : how many components.

    Returns
    -------
    xarray.Dataset
        ``trajectory`` (condition, time, component); ``loading`` (component, unit), of length 1, the largest entry of each positive; ``explained``
        (component,), the share of the variance over conditions and times.

    Raises
    ------
    RunError
        For more components than units, or than bins and conditions.
    """
    import xarray as xr
    from sklearn.decomposition import PCA

    mean = psth(recording, by, name=name, window=window)["mean"]
    stacked = mean.values.reshape(-1, mean.shape[-1])
    count = checks.whole(RunError, "count", count, 1)
    if count > min(stacked.shape):
        raise RunError(
            f"count={count} components of {stacked.shape[1]} units at {stacked.shape[0]} bins and conditions: at most {min(stacked.shape)} can be had."
        )
    fit = PCA(count, svd_solver="full").fit(stacked)
    directions = np.asarray(fit.components_)
    sign = [1.0 if row[abs(row).argmax()] > 0 else -1.0 for row in directions]
    along = (fit.transform(stacked) * sign).reshape(*mean.shape[:-1], count)
    unit = str(mean.dims[-1])
    return xr.Dataset(
        {
            "trajectory": (("condition", "time", "component"), along, {"units": mean.attrs.get("units", "1")}),
            "loading": (("component", unit), directions * [[s] for s in sign], {"units": "1"}),
            "explained": (("component",), fit.explained_variance_ratio_, {"units": "fraction"}),
        },
        {"condition": mean["condition"], "time": mean["time"]},
    )
