"""Composed figures: panels on a sheet of 89 or 183 mm, with their key, and with the drawn data remembered.

Each returns a matplotlib Figure made without pyplot; `save` stores it with its data.
"""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bioplaus.errors import RunError
from bioplaus.figures import panels
from bioplaus.figures.colours import pens
from bioplaus.figures.data import Curves, averaged, checked, final, finite, table
from bioplaus.figures.panels.curves import key
from bioplaus.figures.panels.outputs import same_shape
from bioplaus.figures.panels.weights import two_axes
from bioplaus.figures.style import DOUBLE, SINGLE, Sheet, sheet, style


def learning(
    curves: Curves,
    *,
    quantity: str = "Loss",
    unit: str = "",
    log: bool = False,
    chance: float | None = None,
    most: int | None = 100,
    width: float = SINGLE,
) -> Figure:
    """Learning curves of several arms; see `panels.learning` for the parameters."""
    shown, group = averaged(curves, most)
    with style():
        figure, pen = sheet(width, 62 if width == SINGLE else 75), pens(shown)
        ax = figure.subplots()
        panels.learning(
            ax,
            shown,
            quantity=quantity,
            unit=unit,
            log=log,
            chance=chance,
            most=None,
            legend=False,
            strokes=pen,
        )
        above(figure, *key(shown, strokes=pen, group=group, chance=chance is not None))
        return done(figure, table(learning=shown))


def alignment(curves: Curves, *, most: int | None = 100, width: float = SINGLE) -> Figure:
    """Cosine with the true gradient over updates, for every arm or λ; see `panels.alignment`."""
    shown, group = averaged(checked(curves, "alignments"), most)
    with style():
        figure, pen = sheet(width, 62 if width == SINGLE else 75), pens(shown)
        panels.alignment(figure.subplots(), shown, most=None, legend=False, strokes=pen)
        above(figure, *key(shown, strokes=pen, group=group))
        return done(figure, table(alignment=shown))


def final_scores(
    scores: Mapping[str, Any], *, quantity: str = "Final score", unit: str = "%", chance: float | None = None
) -> Figure:
    """The last score of every seed, one row per arm; see `panels.final_scores` for the parameters."""
    with style():
        figure = sheet(SINGLE, 20 + 7 * (len(scores) if isinstance(scores, Mapping) else 1))
        panels.final_scores(figure.subplots(), scores, quantity=quantity, unit=unit, chance=chance)
        return done(figure, table(final=ends(scores)))


def summary(
    curves: Curves,
    alignments: Curves | None = None,
    *,
    quantity: str = "Score",
    unit: str = "%",
    log: bool = False,
    chance: float | None = None,
    scores: Mapping[str, Any] | None = None,
    most: int | None = 100,
) -> Figure:
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
    with style():
        figure, pen = sheet(DOUBLE, 66), pens([*shown, *cosines, *last])
        axes = figure.subplots(1, 3 if cosines else 2, squeeze=False)[0]
        panels.learning(
            axes[0],
            shown,
            quantity=quantity,
            unit=unit,
            log=log,
            chance=chance,
            most=None,
            legend=False,
            strokes=pen,
        )
        if cosines:
            panels.alignment(axes[1], cosines, most=None, legend=False, strokes=pen)
        name = f"Final {quantity[:1].lower()}{quantity[1:]}"
        panels.final_scores(
            axes[-1],
            last,
            quantity=name,
            unit=unit,
            chance=chance,
            counts=scores is not None,
            legend=False,
            strokes=pen,
        )
        if log:
            axes[-1].set_xscale("log")
        letters(axes)
        curved = [shown, cosines] if cosines else [shown]
        above(figure, *key(*curved, strokes=pen, group=max(group, group_b), chance=chance is not None))
        cosine = {"alignment": cosines} if cosines else {}
        return done(figure, table(learning=shown, **cosine, final=ends(last, curves)))


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
) -> Figure:
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
    if not -batch <= sample < batch:
        raise RunError(
            f"There is no sample {sample}: the outputs hold {batch} samples. Give sample= a number from "
            f"0 to {batch - 1}."
        )
    when = None if weight is None else finite(weight, "loss weights", ("time", "batch"))
    drawn = {"outputs": reached, "targets": asked, **({} if when is None else {"weight": when})}
    with style():
        if plane or (plane is None and size == 2):
            figure = sheet(SINGLE, 66)
            panels.plane(figure.subplots(), reached, asked, weight=when, unit=unit)
            return done(figure, drawn)
        clock, time_unit = (np.arange(steps), "step") if time is None else (np.asarray(time, float), time_unit)
        figure = sheet(SINGLE, 24 + 26 * size)
        axes = figure.subplots(size, 1, sharex=True, squeeze=False)[:, 0]
        for k, ax in enumerate(axes):
            panels.over_time(
                ax,
                reached[:, sample, k],
                asked[:, sample, k],
                clock,
                weight=None if when is None else when[:, sample],
                name=f"Output {k}" if size > 1 else "Output",
                unit=unit,
                time_unit=time_unit,
                legend=k == 0,
            )
        only_last(axes)
        figure.align_ylabels(axes)
        return done(figure, {**drawn, "time": clock})


def weights(matrices: Mapping[str, Any], *, unit: str = "") -> Figure:
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
    with style():
        figure = sheet(SINGLE, 6 + 32 * len(good))
        axes = figure.subplots(len(good), 2, squeeze=False, width_ratios=(1.25, 1))
        for row, (name, values) in zip(axes, good.items(), strict=True):
            panels.matrix(row[0], values, name=name, unit=unit)
            panels.histogram(row[1], values, name=name, unit=unit)
        return done(figure, good)


def ends(scores: Mapping[str, Any], curves: Curves | None = None) -> Curves:
    """Final scores as curves of one point, at the last update if it is known and at -1 if not."""
    known = checked(curves) if curves is not None else {}
    ends = {}
    for label, each in scores.items():
        last = known[label][0][-1] if label in known else -1.0
        ends[label] = ([last], np.asarray(each, dtype=float)[:, None])
    return ends


def letters(axes: Any) -> None:
    """Bold a, b, c … at the top left of each panel."""
    for letter, ax in zip("abcdefghijklmnop", np.ravel(axes), strict=False):
        ax.set_title(letter, loc="left", fontweight="bold", fontsize=8)


def only_last(axes: Any) -> None:
    """Keep the horizontal label of the lowest of several panels that share their axis."""
    for ax in np.ravel(axes)[:-1]:
        ax.set_xlabel("")
        ax.tick_params(axis="x", labelbottom=False)


def above(figure: Figure, handles: list, names: list[str], title: str) -> None:
    """Key above the panels, in as many columns as the width takes."""
    # Longer names could not stand beside their line in one column.
    names = [fill(name, 46) for name in names]
    for columns in range(min(len(names), 6), 0, -1):
        legend = figure.legend(handles, names, title=title, loc="outside upper left", ncols=columns, alignment="left")
        figure.draw_without_rendering()
        if columns == 1 or legend.get_window_extent().width <= 0.98 * figure.bbox.width:
            return
        legend.remove()


def done(figure: Sheet, data: Any) -> Figure:
    """The figure, remembering the data drawn on it."""
    figure.drawn = data
    return figure
