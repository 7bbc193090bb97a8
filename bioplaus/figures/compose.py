"""Composed figures: panels on a sheet, with their key, and with the drawn data remembered.

Each returns its `Sheet`, a matplotlib Figure; `save` stores it with its data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bioplaus.errors import RunError
from bioplaus.figures import panels
from bioplaus.figures.colours import pens
from bioplaus.figures.data import Curves, averaged, checked, ends, final, finite, place, table
from bioplaus.figures.panels.common import in_unit
from bioplaus.figures.panels.outputs import same_shape
from bioplaus.figures.panels.weights import two_axes
from bioplaus.figures.sheet import Sheet
from bioplaus.figures.style import DOUBLE, SINGLE


def learning(
    curves: Curves,
    *,
    quantity: str = "Loss",
    unit: str = "",
    log: bool = False,
    chance: float | None = None,
    most: int | None = 100,
    width: float = SINGLE,
) -> Sheet:
    """Learning curves of several arms; see `panels.learning` for the parameters."""
    shown, group = averaged(curves, most)
    pen = pens(shown)
    with Sheet(width, 62 if width == SINGLE else 75) as sheet:
        named: Any = {"quantity": quantity, "unit": unit}
        panels.learning(sheet.subplots(), shown, **named, log=log, chance=chance, most=None, legend=False, strokes=pen)
        sheet.key(shown, strokes=pen, group=group, chance=chance is not None)
        return sheet.done(table(learning=shown))


def alignment(curves: Curves, *, most: int | None = 100, width: float = SINGLE) -> Sheet:
    """Cosine with the true gradient over updates, for every arm or λ; see `panels.alignment`."""
    shown, group = averaged(checked(curves, "alignments"), most)
    pen = pens(shown)
    with Sheet(width, 62 if width == SINGLE else 75) as sheet:
        panels.alignment(sheet.subplots(), shown, most=None, legend=False, strokes=pen)
        sheet.key(shown, strokes=pen, group=group)
        return sheet.done(table(alignment=shown))


def final_scores(
    scores: Mapping[str, Any], *, quantity: str = "Final score", unit: str = "", chance: float | None = None
) -> Sheet:
    """The last score of every seed, one row per arm; see `panels.final_scores` for the parameters."""
    with Sheet(SINGLE, 20 + 7 * (len(scores) if isinstance(scores, Mapping) else 1)) as sheet:
        panels.final_scores(sheet.subplots(), scores, quantity=quantity, unit=unit, chance=chance)
        return sheet.done(table(final=ends(scores)))


def summary(
    curves: Curves,
    alignments: Curves | None = None,
    *,
    quantity: str = "Score",
    unit: str = "",
    log: bool = False,
    chance: float | None = None,
    scores: Mapping[str, Any] | None = None,
    most: int | None = 100,
) -> Sheet:
    """Learning, alignment and final scores of an experiment, side by side in 183 mm.

    Parameters
    ----------
    curves : Curves
        The score (or loss) over updates.
    alignments : Curves, optional
        Cosine with the true gradient; without it two panels are drawn.
    quantity, unit, log, chance, most
        As for `panels.learning`; they hold for the final scores too.
    scores : mapping of str to array, optional
        Label → (seed,) final scores; None: the last measured value of each curve.

    Raises
    ------
    RunError
        As the three panels do.
    """
    last = final(curves) if scores is None else scores
    shown, group = averaged(curves, most)
    cosines, group_b = ({}, 1) if alignments is None else averaged(checked(alignments, "alignments"), most)
    pen = pens([*shown, *cosines, *last])
    with Sheet(DOUBLE, 66) as sheet:
        axes = sheet.subplots(1, 3 if cosines else 2, squeeze=False)[0]
        shared: Any = {"unit": unit, "chance": chance, "legend": False, "strokes": pen}
        panels.learning(axes[0], shown, quantity=quantity, log=log, most=None, **shared)
        if cosines:
            panels.alignment(axes[1], cosines, most=None, legend=False, strokes=pen)
        name = f"Final {quantity[:1].lower()}{quantity[1:]}"
        panels.final_scores(axes[-1], last, quantity=name, counts=scores is not None, **shared)
        if log:
            axes[-1].set_xscale("log")
        sheet.letter()
        curved = [shown, cosines] if cosines else [shown]
        sheet.key(*curved, strokes=pen, group=max(group, group_b), chance=chance is not None)
        cosine = {"alignment": cosines} if cosines else {}
        return sheet.done(table(learning=shown, **cosine, final=ends(last, curves)))


def trajectories(
    outputs: Any,
    targets: Any,
    *,
    weight: Any = None,
    time: Any = None,
    time_unit: str = "ms",
    unit: str = "",
    sample: int = 0,
    plane: bool | None = None,
) -> Sheet:
    """Reached paths in the plane (two outputs), or every output of one sample against its target over time.

    Parameters
    ----------
    outputs, targets : array
        (time, batch, output).
    weight : array, optional
        (time, batch) loss weight: targets are drawn where it is positive.
    time : array, optional
        (time,) in `time_unit`; None: the number of the step.
    unit : str
        Of the outputs.
    sample : int
        Which of the batch is drawn over time.
    plane : bool, optional
        Draw two outputs as a path in the plane; None: if there are two.

    Raises
    ------
    RunError
        Shapes that do not fit, NaN, a sample that is not there, or more outputs than a page holds.
    """
    reached = finite(outputs, "outputs", ("time", "batch", "output"))
    asked = finite(targets, "targets", ("time", "batch", "output"))
    same_shape(reached, asked)
    steps, batch, size = reached.shape
    sample = place(sample, batch, "sample", "sample", f"the outputs, which hold {batch}")
    when = None if weight is None else finite(weight, "loss weights", ("time", "batch"))
    drawn = {"outputs": reached, "targets": asked, **({} if when is None else {"weight": when})}
    if plane or (plane is None and size == 2):
        with Sheet(SINGLE, 66) as sheet:
            panels.plane(sheet.subplots(), reached, asked, weight=when, unit=unit)
            return sheet.done(drawn)
    clock, time_unit = (np.arange(steps), "step") if time is None else (in_unit(time, time_unit), time_unit)
    shared: Any = {"weight": None if when is None else when[:, sample], "unit": unit, "time_unit": time_unit}
    with Sheet(SINGLE, 24 + 26 * size) as sheet:
        axes = sheet.subplots(size, 1, sharex=True, squeeze=False)[:, 0]
        for k, ax in enumerate(axes):
            pair, name = (reached[:, sample, k], asked[:, sample, k]), f"Output {k}" if size > 1 else "Output"
            panels.over_time(ax, *pair, clock, name=name, legend=k == 0, **shared)
        sheet.stack(axes)
        return sheet.done({**drawn, "time": clock})


def weights(matrices: Mapping[str, Any], *, unit: str = "") -> Sheet:
    """Heat map ``W[post, pre]`` and histogram of each weight, one row per name.

    Parameters
    ----------
    matrices : mapping of str to array
        Name → (post, pre), or (post,) for a bias.
    unit : str
        Of the weights.

    Raises
    ------
    RunError
        No matrix, another shape, NaN, or more rows than a page holds (7).
    """
    if not isinstance(matrices, Mapping) or not matrices:
        raise RunError("There are no weights to draw: give a dict from each name to a matrix W[post, pre].")
    good = {str(name): two_axes(each, str(name)) for name, each in matrices.items()}
    with Sheet(SINGLE, 6 + 32 * len(good)) as sheet:
        axes = sheet.subplots(len(good), 2, squeeze=False, width_ratios=(1.25, 1))
        for row, (name, values) in zip(axes, good.items(), strict=True):
            panels.matrix(row[0], values, name=name, unit=unit)
            panels.histogram(row[1], values, name=name, unit=unit)
        return sheet.done(good)
