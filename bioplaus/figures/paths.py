"""What several circuits draw in the plane, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bioplaus.errors import RunError
from bioplaus.figures import panels
from bioplaus.figures.sheet import Sheet
from bioplaus.figures.style import DOUBLE

if TYPE_CHECKING:
    import xarray


def paths(recordings: Mapping[str, xarray.Dataset], *, unit: str = "", most: int = 24) -> Sheet:
    """Outputs of a test in the plane with their targets, a panel for each recording, all to one scale.

    Parameters
    ----------
    recordings : mapping of str to xarray.Dataset
        Label → with ``output`` and ``target``, (time, batch, 2), and ``weight``, if there is one, such as ``run.recordings``.
    unit : str
        Of the outputs.
    most : int
        Samples drawn of each.

    Raises
    ------
    RunError
        If there is none, one without a target, or outputs that are not two.
    """
    if not recordings:
        raise RunError("There are no paths to draw: give a dict from each label to a recording.")
    for label, recording in recordings.items():
        if "target" not in recording or "output" not in recording or recording["output"].shape[-1:] != (2,):
            raise RunError(
                f"The recording of {label!r} has no output and target of two numbers each, (time, batch, 2), which a path in the plane needs."
            )
    drawn: dict[str, Any] = {
        label: {name: each[name].values for name in ("output", "target", "weight") if name in each}
        for label, each in recordings.items()
    }
    far = 1.15 * max(float(np.abs(each["target"]).max()) for each in drawn.values())
    with Sheet(DOUBLE, min(60.0, 16 + 167 / len(drawn))) as sheet:
        axes = sheet.subplots(1, len(drawn), squeeze=False, sharex=True, sharey=True)[0]
        for ax, (label, each) in zip(axes, drawn.items(), strict=True):
            panels.plane(
                ax, each["output"], each["target"], weight=each.get("weight"), unit=unit, most=most, legend=False
            )
            ax.set_aspect("equal", adjustable="box")
            ax.set(xlim=(-far, far), ylim=(-far, far), title=label)
            if ax is not axes[0]:
                ax.set_ylabel("")
        end: Any = {"linewidth": 0.8, "markersize": 3, "markeredgewidth": 0}
        (path,) = axes[0].plot([], [], "-o", color="black", **end)
        (goal,) = axes[0].plot([], [], "x--", color="#777777", linewidth=0.8, markersize=4)
        sheet.letter()
        sheet.explain({"output and its end": path, "target": goal})
        return sheet.done(drawn)
