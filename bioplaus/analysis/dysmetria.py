"""How far movements miss: off the straight line that they should follow, and off its end.

Of a trial whose targets lead from a, in its first step, to b, in its last, with u = (b − a)/|b − a|, and outputs o_t::

    d_t = |(o_t − a) − ((o_t − a)·u) u|,      off the line  = √ mean_t d_t²                                                     (1)
    off the end   = |o_T − b|                                                                                                   (2)
    dysmetria     = off the line + off the end                                                                                  (3)

all in the unit of the output, over all steps, asked or not. Where nothing is to be reached, a = b, d_t is the distance from a. No released code of the
cerebro-cerebellar models has such a score; this one is the library's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bioplaus.errors import RunError

if TYPE_CHECKING:
    import xarray


def dysmetria(recording: xarray.Dataset) -> xarray.Dataset:
    """(1) to (3) of every trial.

    Parameters
    ----------
    recording : with ``output`` and ``target``, (time, batch, output), as `bioplaus.simulate` gives for a `bioplaus.Batch` and ``run.recordings`` hold.

    Returns
    -------
    xarray.Dataset
        ``off_line``, ``off_end``, ``dysmetria``, each (batch,).

    Raises
    ------
    RunError
        If there is no target, fewer than two steps, or one of the numbers is not finite.

    Examples
    --------
    >>> import bioplaus as bp, numpy as np, xarray as xr
    >>> there = np.linspace(0, 1, 5)[:, None, None] * [3.0, 4.0]
    >>> aside = there + [0.0, 1.0]
    >>> found = bp.analysis.dysmetria(xr.Dataset({"output": (("time", "batch", "output"), aside), "target": (("time", "batch", "output"), there)}))
    >>> round(float(found.off_line[0]), 6), float(found.off_end[0]), round(float(found.dysmetria[0]), 6)
    (0.6, 1.0, 1.6)
    """
    import xarray as xr

    if "target" not in recording or "output" not in recording:
        raise RunError(
            "Dysmetria is how far an output misses its target, and this recording lacks one of them: record a bp.Batch, which holds targets, or take run.recordings."
        )
    o, y = (np.asarray(recording[name].values, dtype=float) for name in ("output", "target"))
    if o.shape != y.shape or o.ndim != 3 or len(o) < 2 or not (np.isfinite(o).all() and np.isfinite(y).all()):
        raise RunError(
            f"Dysmetria needs outputs and targets (time, batch, output) of two steps or more, all finite, and was given {o.shape} and {y.shape}."
        )
    a, b = y[0], y[-1]
    way = np.linalg.norm(b - a, axis=-1, keepdims=True)
    u = np.divide(b - a, way, out=np.zeros_like(a), where=way > 0)
    along = ((o - a) * u).sum(-1, keepdims=True)
    off_line = np.sqrt(((o - a - along * u) ** 2).sum(-1).mean(0))
    off_end = np.linalg.norm(o[-1] - b, axis=-1)
    unit = {"units": recording["output"].attrs.get("units", "1")}
    each = {"off_line": off_line, "off_end": off_end, "dysmetria": off_line + off_end}
    return xr.Dataset({name: (("batch",), values, unit) for name, values in each.items()})
