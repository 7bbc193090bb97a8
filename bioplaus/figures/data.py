"""What the panels draw: the checks on it, its mean and standard error, and its form as a long table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bioplaus import checks
from bioplaus.errors import RunError

# label → (updates, values): updates (update,) rising; values (seed, update), NaN where not measured.
Curves = Mapping[str, tuple[Any, Any]]
Checked = dict[str, tuple[np.ndarray, np.ndarray]]

_FORM = (
    "Curves are a dict from each arm's label to (updates, values): updates one rising row of update "
    "numbers, values of shape (seed, update) with NaN where nothing was measured."
)


def checked(curves: Curves, what: str = "curves") -> Checked:
    """Curves as float arrays, without the arms in which nothing was measured.

    Parameters
    ----------
    curves : mapping of str to (updates, values)
        See `Curves`.
    what : str
        Name of the data in the error message.

    Raises
    ------
    RunError
        The data have another form, hold an infinity, or nothing at all was measured.
    """
    if not isinstance(curves, Mapping):
        raise RunError(f"The {what} to draw are a {type(curves).__name__}. {_FORM}")
    good: Checked = {}
    for label, pair in curves.items():
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise RunError(f"The {what} of {label!r} are not a pair. {_FORM}")
        updates, values = numbers(pair[0], f"updates of {label!r}"), numbers(pair[1], f"{what} of {label!r}")
        if values.ndim != 2 or updates.ndim != 1 or values.shape[1] != updates.size:
            hint = " For a single seed give values[None, :]." if values.ndim == 1 else ""
            raise RunError(
                f"The {what} of {label!r} have updates of shape {updates.shape} and values of shape "
                f"{values.shape}. {_FORM}{hint}"
            )
        if not np.isfinite(updates).all() or (np.diff(updates) <= 0).any():
            raise RunError(f"The updates of {label!r} in the {what} do not rise one by one. {_FORM}")
        if np.isinf(values).any():
            seed, update = np.argwhere(np.isinf(values))[0]
            raise RunError(
                f"The {what} of {label!r} are infinite in row {seed} at update {updates[update]:g}: that run "
                f"diverged. Leave the run out, or put NaN where it is not to be drawn."
            )
        if np.isfinite(values).any():
            good[str(label)] = (updates, values)
    if not good:
        given = ", ".join(map(repr, curves)) or "no arm at all"
        raise RunError(
            f"There is nothing to draw: no value was measured in the {what} ({given}). {_FORM} Was the "
            "quantity recorded in these runs, and have they passed the first update at which it is "
            "measured?"
        )
    return good


def numbers(values: Any, what: str) -> np.ndarray:
    """`values` as a float array, or a RunError that names `what`."""
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError, RuntimeError) as problem:
        raise RunError(
            f"The {what} can't be drawn: they are not an array of real numbers ({problem}). Give a numpy "
            "array, a pandas column or an xarray DataArray, on the CPU and without gradient."
        ) from problem


def place(value: Any, size: int, what: str, option: str, holder: str) -> int:
    """The number of one of ``size`` things, counted from the end where negative; or a RunError.

    Parameters
    ----------
    what, option, holder : str
        What is counted, the option that gives it, and what holds it.
    """
    number = checks.whole(RunError, f"{option} (the number of a {what})", value, -checks.MOST)
    if not -size <= number < size:
        raise RunError(f"There is no {what} {number} in {holder}: give {option}= a number from 0 to {size - 1}.")
    return number


def finite(values: Any, what: str, dims: tuple[str, ...]) -> np.ndarray:
    """`values` as a non-empty, finite float array with one axis for each of `dims`, or a RunError."""
    array = numbers(values, what)
    if array.ndim != len(dims) or 0 in array.shape:
        raise RunError(
            f"The {what} have shape {array.shape}, but ({', '.join(dims)}) is needed, none of them empty. "
            "Select or reshape the array before drawing it."
        )
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise RunError(
            f"The {what} hold {np.count_nonzero(~np.isfinite(array))} values that are NaN or infinite, the "
            f"first at index {where}. The run broke down there: look at it before drawing it."
        )
    return array


def mean_sem(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over seeds, standard error of the mean (ddof 1), and the number of seeds, at every update.

    NaNs are left out. The mean is NaN where no seed was measured, the standard error where fewer than two
    were.

    Parameters
    ----------
    values : ndarray
        (seed, update).

    Returns
    -------
    mean, sem, n : ndarray
        (update,) each.
    """
    present = np.isfinite(values)
    n = present.sum(0)
    mean = np.where(present, values, 0.0).sum(0) / np.where(n > 0, n, np.nan)
    squares = (np.where(present, values - mean, 0.0) ** 2).sum(0)
    sem = np.sqrt(squares / np.where(n > 1, n - 1, np.nan) / np.where(n > 1, n, np.nan))
    return mean, sem, n


def averaged(curves: Curves, most: int | None = 100) -> tuple[Checked, int]:
    """Curves of far more than `most` points, as averages over neighbouring measurements of each seed.

    A curve of up to twice as many points stays as it is. The updates of a group are averaged as its values
    are.

    Parameters
    ----------
    curves : Curves
    most : int or None
        None: average nothing.

    Returns
    -------
    curves : Checked
    group : int
        The largest number of measurements in one average; 1 if nothing was averaged.
    """
    most = checks.accept(
        RunError, "most (points of a curve)", most, checks.Optional(checks.Whole(-checks.MOST), "for all")
    )
    if most is not None and most < 1:
        raise RunError(f"A curve can't be drawn with at most {most!r} points: give a positive number, or None for all.")
    good, largest = checked(curves), 1
    for label, (updates, values) in good.items():
        measured = np.isfinite(values).any(0)
        count = int(measured.sum())
        if most is None or count <= 2 * most:
            continue
        group = -(-count // most)
        largest = max(largest, group)
        starts = np.arange(0, count, group)
        kept, present = values[:, measured], np.isfinite(values[:, measured])
        number = np.add.reduceat(present.astype(float), starts, axis=1)
        total = np.add.reduceat(np.where(present, kept, 0.0), starts, axis=1)
        ends = np.append(starts[1:], count) - 1
        good[label] = (updates[measured][ends], total / np.where(number > 0, number, np.nan))
    return good, largest


def seeds(values: np.ndarray) -> int:
    """Number of rows (seeds) in which anything was measured."""
    return int(np.isfinite(values).any(1).sum())


def final(curves: Curves) -> dict[str, np.ndarray]:
    """Last measured value of every seed, arm by arm: label → (seed,); unmeasured seeds are left out."""
    last = {}
    for label, (_, values) in checked(curves).items():
        rows = [row[np.isfinite(row)] for row in values]
        last[label] = np.array([row[-1] for row in rows if row.size])
    return last


def ends(scores: Mapping[str, Any], curves: Curves | None = None) -> Curves:
    """Final scores as curves of one point, at the last update if it is known and at -1 if not."""
    if not isinstance(scores, Mapping):
        raise checks.refusal(
            RunError, "scores", scores, "a dict of each label to one number per seed, such as {'bptt': [0.9, 0.8]}"
        )
    known = checked(curves) if curves is not None else {}
    ends = {}
    for label, each in scores.items():
        last = known[label][0][-1] if label in known else -1.0
        ends[label] = ([last], np.asarray(each, dtype=float)[:, None])
    return ends


def table(**panels: Curves) -> pd.DataFrame:
    """Every measured point of one or several panels as a long table: panel, arm, seed, update, value.

    Examples
    --------
    >>> table(score={"bptt": ([0, 10], [[10.0, 90.0]])}).value.tolist()
    [10.0, 90.0]
    """
    pieces = []
    for panel, curves in panels.items():
        for label, (updates, values) in checked(curves, panel).items():
            row, column = np.nonzero(np.isfinite(values))
            pieces.append(
                pd.DataFrame(
                    {
                        "panel": panel,
                        "arm": label,
                        "seed": row,
                        "update": updates[column],
                        "value": values[row, column],
                    }
                )
            )
    return pd.concat(pieces, ignore_index=True)


def curves(frame: pd.DataFrame, panel: str) -> Checked:
    """Curves of one panel of a long table: the inverse of `table`, less what held no value."""
    if not isinstance(frame, pd.DataFrame) or not {"panel", "arm", "seed", "update", "value"} <= set(frame.columns):
        wanted = "a table as bioplaus.figures.table makes it, with the columns panel, arm, seed, update and value"
        raise checks.refusal(RunError, "frame", frame, wanted)
    chosen = frame[frame["panel"] == panel]
    if chosen.empty:
        known = ", ".join(map(str, frame["panel"].unique()))
        raise RunError(f"The table of drawn curves has no panel {panel!r}. Give one of its panels: {known}.")
    result = {}
    for arm, rows in chosen.groupby("arm", sort=False):
        grid = rows.pivot(index="seed", columns="update", values="value")
        result[str(arm)] = (grid.columns.to_numpy(float), grid.to_numpy(float))
    return result
