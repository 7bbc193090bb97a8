"""How well each unit tells two conditions apart: the area under its receiver operating characteristic.

    A_i(t) = P(r_i(b, t) > r_i(b′, t)) + ½ P(equal),      b of the second condition, b′ of the first

½ tells nothing apart (Green & Swets 1966); it is the statistic of Mann and Whitney over the number of pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bioplaus.analysis.psth import binned, conditions
from bioplaus.errors import RunError

if TYPE_CHECKING:
    import xarray


def selectivity(recording: xarray.Dataset, by: Any, *, name: str = "spikes", window: Any = 50.0) -> xarray.DataArray:
    """Area under the ROC of each unit in each bin of time, 0 … 1.

    Parameters
    ----------
    recording, name, window : as for `bioplaus.analysis.binned`.
    by : the condition of every trial, of which there are two; above ½ where the unit is more active in the second, in their order.

    Returns
    -------
    xarray.DataArray (time, unit)

    Raises
    ------
    RunError
        If there are not two conditions.
    """
    from scipy.stats import rankdata

    values, label = binned(recording, name, window), conditions(recording, by)
    both = np.unique(label)
    if len(both) != 2:
        raise RunError(f"by holds {len(both)} conditions; selectivity is between two. Choose trials of two.")
    second = label == both[1]
    n, m = int(second.sum()), int((~second).sum())
    ranks = rankdata(values.values, axis=0)
    area = (ranks[second].sum(0) - n * (n + 1) / 2) / (n * m)
    found = values.isel(batch=0, drop=True).copy(data=area)
    return found.rename("selectivity").assign_attrs(
        units="1", long_name=f"area under the ROC, {both[1]} against {both[0]}"
    )
