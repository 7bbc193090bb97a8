"""How a population's activity lies in the space of its neurons, and how two populations go together; over steps and trials as they come.

Of rates x (sample, unit), samples all steps of all trials, with covariance C, whose eigenvalues are λ_i, and Pearson's correlation ρ::

    dimension  = (Σ_i λ_i)² / Σ_i λ_i² = (tr C)² / tr C²                      the participation ratio, from 1 to the number of units       (1)
    coupling   = mean over pairs (i, j) of |ρ(x_i, z_j)|                       of units that vary                                           (2)

(1) is 0 where nothing varies, and (2) NaN where one of the two does not. Both are biased by few samples: (1) is never more than these, (2) never 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bioplaus.analysis.psth import recorded
from bioplaus.errors import RunError

if TYPE_CHECKING:
    import xarray


def dimension(recording: xarray.Dataset, name: str = "rate") -> float:
    """(1) of a population.

    Parameters
    ----------
    recording : as `bioplaus.simulate` and `bioplaus.record` give.
    name : of the variable, (time, batch, unit): ``"rate"``, ``"E.rate"``, ``"cerebellum.granule"``.

    Raises
    ------
    RunError
        If it is not there, or holds what is not finite.

    References
    ----------
    Gao et al. 2017, doi:10.1101/214262; of granule cells Litwin-Kumar et al. 2017, doi:10.1016/j.neuron.2017.01.030.

    Examples
    --------
    >>> import bioplaus as bp, numpy as np, xarray as xr
    >>> x = np.random.default_rng(0).normal(size=(200, 50, 5)) * [3.0, 3.0, 3.0, 3.0, 0.0]
    >>> round(bp.analysis.dimension(xr.Dataset({"rate": (("time", "batch", "unit"), x)})), 1)
    4.0
    """
    x = samples(recording, name)
    C, total = np.cov(x, rowvar=False), x.var(0, ddof=1).sum()
    return float(total**2 / (C**2).sum()) if total > 0 else 0.0


def coupling(recording: xarray.Dataset, one: str, other: str) -> float:
    """(2) of two populations.

    Parameters
    ----------
    recording, one, other : as for `dimension`.

    Raises
    ------
    RunError
        As there.
    """
    x, z = (samples(recording, name) for name in (one, other))
    x, z = (each[:, each.std(0) > 1e-12 * np.abs(each).max(initial=1e-300)] for each in (x, z))
    if not x.shape[1] or not z.shape[1]:
        return float("nan")
    x, z = ((each - each.mean(0)) / each.std(0) for each in (x, z))
    return float(np.abs(x.T @ z / len(x)).mean())


def samples(recording: xarray.Dataset, name: str) -> np.ndarray:
    """(step and trial, unit)."""
    x = recorded(recording, name).transpose("time", "batch", ...).values.astype(float)
    if len(x) * x.shape[1] < 2 or not np.isfinite(x).all():
        raise RunError(
            f"'{name}' of the recording has shape {x.shape}, or holds what is not finite; finite rates (time, batch, unit) are expected, of two steps or trials or more."
        )
    return x.reshape(-1, x.shape[-1])
