"""Checks of what is known of trials, `Batch.trials`: what is wrong is refused in one paragraph naming the entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bioplaus import checks
from bioplaus.errors import TaskError
from bioplaus.tasks.batch import EPOCH

TAKEN = ("time", "batch", "edge", "input", "output", "target", "weight", "unit", "spikes", "rate")
"""What recordings have beside it under names of their own."""


def known_of(owner: str, trials: Any, steps: int, size: int) -> dict[str, np.ndarray]:
    """What is known of each of `size` trials of `steps` steps, if it is what recordings can have as coordinates.

    Parameters
    ----------
    owner : whose batch it is, as the beginning of a sentence: ``"The task 'add' returned a batch in which"``.

    Raises
    ------
    TaskError
        For what is no array with one entry a trial, names that are none or taken, epochs that are no ranges of steps.
    """
    if not isinstance(trials, Mapping):
        wanted = "a mapping of names to arrays (batch, …), such as {'answer': [0, 1]}"
        raise checks.refusal(TaskError, f"{owner} trials", trials, wanted)
    for name, array in trials.items():
        if not isinstance(name, str) or not name.isidentifier() or name in TAKEN:
            others = ", ".join(TAKEN)
            raise TaskError(
                f"{owner} trials has an entry {checks.short(name)}; its names are words of letters, digits and _ such as 'answer', and none of {others}."
            )
        _refuse(f"{owner} trials['{name}']", array, size, steps, name.startswith(EPOCH))
    return dict(trials)


def _refuse(what: str, array: Any, size: int, steps: int, epoch: bool) -> None:
    """Refuse one entry."""
    wanted = f"an array of numbers, truth values or text, one entry for each of the {size} trials"
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biufU":
        raise TaskError(f"{what} is {checks.short(array)}, where {wanted} is expected.")
    if array.shape[:1] != (size,):
        raise TaskError(f"{what} has shape {array.shape}, where {wanted} is expected.")
    if not epoch:
        return
    wanted = "(batch, 2) or (batch, n, 2) whole numbers: an epoch's first step and the one after its last"
    if array.dtype.kind not in "iu" or array.ndim not in (2, 3) or array.shape[-1] != 2:
        raise TaskError(f"{what} has shape {array.shape} and holds {array.dtype}, where {wanted} is expected.")
    ranges = array.reshape(size, -1, 2).astype(np.int64)
    wrong = (ranges[..., 0] < 0) | (ranges[..., 0] > ranges[..., 1]) | (ranges[..., 1] > steps)
    if wrong.any():
        trial, number = np.argwhere(wrong)[0]
        first, stop = ranges[trial, number]
        raise TaskError(
            f"{what} goes from step {first} to {stop} in trial {trial}, where {wanted}, from 0 to {steps}, is expected."
        )
