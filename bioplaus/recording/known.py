"""What is known of the trials that were recorded, as coordinates along the batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bioplaus.tasks.batch import EPOCH


def coordinates(trials: Mapping[str, np.ndarray], first: int, scale: float, unit: str) -> dict[str, Any]:
    """Coordinates of what `Batch.trials` tells; epochs on the recording's time axis, from ``start`` to before ``stop``.

    Parameters
    ----------
    trials : name → array (batch, …).
    first : how many steps there were before the trials began.
    scale, unit : what a step is on the time axis.
    """
    found: dict[str, Any] = {}
    for name, array in trials.items():
        epoch = name.startswith(EPOCH)
        own = [f"{name}_{axis}" for axis in range(1, array.ndim - epoch)]
        if epoch:
            found["edge"] = ["start", "stop"]
            found[name] = (("batch", *own, "edge"), (array + first) * scale, {"units": unit})
        else:
            found[name] = (("batch", *own), array)
    return found
