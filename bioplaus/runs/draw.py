"""The standard figures of runs, drawn from what their folders hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bioplaus.errors import RunError, unknown
from bioplaus.runs.formats import trainer_of
from bioplaus.runs.results import Results

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray
    from matplotlib.figure import Figure

    from bioplaus.runs.run import Run
    from bioplaus.runs.standings import Standing

OF_RESULTS = ("learning", "alignment")
OF_RUN = ("learning", "alignment", "raster", "trajectories", "weights")

_ROWS = 7  # as many as a page holds
_DRAWN = 10**7  # chosen: entries of a matrix that is still made to be drawn
_POINTS = 100  # chosen: as many as can be told apart across half a page


def draw(results: Results, name: str) -> Figure:
    """One of `OF_RESULTS`, with every arm and seed.

    Raises
    ------
    RunError
        If there is no such figure, or nothing was measured that it could show.
    """
    from bioplaus import figures

    if name == "learning":
        return _learning(results)
    if name == "alignment":
        return figures.alignment(curves_of(results, "alignment"))
    raise RunError(unknown("figure of an experiment", name, OF_RESULTS))


def draw_run(run: Run, name: str) -> Figure:
    """One of `OF_RUN`.

    Raises
    ------
    RunError
        If there is no such figure, or the run does not hold what it shows.
    """
    from bioplaus import figures

    if name not in OF_RUN:
        raise RunError(unknown("figure of a run", name, OF_RUN))
    if name in OF_RESULTS:
        return draw(Results({run.label: [run]}), name)
    if name == "weights":
        return figures.weights(dict(list(_matrices(run).items())[:_ROWS]))
    recordings = run.recordings
    if name == "raster":
        return figures.activity(recordings, states=_states(recordings), target=_target(recordings), output=True)
    if "target" not in recordings or recordings["target"].ndim < 3:
        raise RunError(
            f"The run in {run.folder} has no trajectories to draw: its task asks for classes, not for values "
            "over time. Draw its learning, raster or weights instead."
        )
    weight = recordings["weight"].values if "weight" in recordings else None
    return figures.trajectories(
        recordings["output"].values,
        recordings["target"].values,
        weight=weight,
        time=recordings["time"].values,
        time_unit=str(recordings["time"].attrs.get("units", "ms")),
    )


def _states(recordings: xarray.Dataset) -> tuple[str, ...]:
    last = {str(name).rpartition(".")[2] for name in recordings.data_vars}
    return tuple(name for name in ("v", "rate") if name in last)


def _target(recordings: xarray.Dataset) -> np.ndarray | None:
    if "target" not in recordings or recordings["target"].ndim < 3:
        return None  # class labels are no path
    return recordings["target"].values


def curves_of(results: Results, column: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Curves of a column, or a RunError that says how to have it measured."""
    measured = any(column in run.metrics for runs in results.values() for run in runs)
    found = results.curves(column) if measured else {}
    if not found:
        option = {"alignment": "align_every", "test_score": "evaluate_every"}.get(column)
        remedy = f" Set {option} in the training to measure it." if option else ""
        raise RunError(f"Nothing was measured under {column!r} in these runs.{remedy}")
    return found


def _learning(results: Results) -> Figure:
    """Training loss and score side by side; the score on test trials where it was taken on the way."""
    from bioplaus.figures import DOUBLE, Sheet, panels, pens, table

    loss = {label: windowed(*curve) for label, curve in curves_of(results, "loss").items()}
    score, quantity, _, unit = _scores(results)
    measure, loss_unit = _loss(results)
    strokes = pens([*loss, *score])
    with Sheet(DOUBLE, 66) as sheet:
        left, right = sheet.subplots(1, 2)
        panels.learning(left, loss, quantity=measure, unit=loss_unit, legend=False, strokes=strokes)
        panels.learning(right, score, quantity=quantity, unit=unit, legend=False, strokes=strokes)
        sheet.letter()
        sheet.key(loss, score, strokes=strokes)
        return sheet.done(table(loss=loss, score=score))


def pareto(results: Results, rows: Sequence[Standing], higher: bool) -> Figure:
    """Final test score of every rule against the time that a step takes, beside the score over the updates.

    Raises
    ------
    RunError
        If no run came to a score.
    """
    from bioplaus import figures

    shown = [row for row in rows if row.seeds]
    if not shown:
        raise RunError("No run came to a final test score: there is nothing to draw against its cost.")
    curves, quantity, measure, unit = _scores(results)
    return figures.pareto(
        curves,
        {row.label: 1e3 * np.array(row.step_seconds) for row in shown},
        {row.label: np.array(row.scores) for row in shown},
        higher=higher,
        quantity=quantity,
        final=f"Final test {measure}",
        unit=unit,
        cost="Time per step",
        cost_unit="ms",
    )


def _loss(results: Results) -> tuple[str, str]:
    """What the loss over the updates is called, and its unit: the mean over trials of its sum over the steps."""
    from bioplaus.tasks import losses

    name = next(iter(results.values()))[0].config["task"].get("loss")
    known = {each.name: each.measures for each in losses.ALL}
    if name not in known:  # of a study's own
        return "Training loss", "a.u./trial"
    measure, unit = known[name]
    return f"Training loss, {measure}", f"{unit}/trial"


def _scores(results: Results) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], str, str, str]:
    """Score over the updates, on test trials where it was taken on the way; what it is called, its bare name, and its unit."""
    from bioplaus.tasks import losses

    name = next(iter(results.values()))[0].config["task"].get("score", "score")
    known = {each.score_name: each.scores for each in losses.ALL} | {"right signs": ("right signs", "fraction")}
    measure, unit = known.get(name, (name, ""))
    tests = results.curves("test_score")
    if tests and all(len(updates) > 1 for updates, _ in tests.values()):
        return tests, f"Test {measure}", measure, unit
    curves = {label: windowed(*curve) for label, curve in curves_of(results, "score").items()}
    return curves, f"Training {measure}", measure, unit


def windowed(updates: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over windows of equal length, at most `_POINTS` of them, each at the middle of its window."""
    width = -(-len(updates) // _POINTS)
    if width <= 1:
        return updates, values
    starts = np.arange(0, len(updates), width)
    counts = np.diff(np.append(starts, len(updates)))
    return np.add.reduceat(updates, starts) / counts, np.add.reduceat(values, starts, axis=1) / counts


def _matrices(run: Run) -> dict[str, Any]:
    """W[post, pre] by name, of sparse projections too, as far as one can be looked at."""
    from bioplaus.circuit.synapses import Synapses

    saved, found = trainer_of(run.checkpoint).get("synapses", {}), {}
    for name, W in run.weights.items():
        if name in saved:
            there = Synapses.saved(**saved[name])
            if there.ends[0] * there.ends[1] > _DRAWN:
                continue
            W = there.matrix(W)
        if W.ndim == 2:
            found[name] = W.cpu().numpy()
    return found
