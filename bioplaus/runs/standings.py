"""Where every rule of a comparison stands: score, loss, time and memory; as rows, and as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bioplaus.measure.memory import Cost
from bioplaus.measure.time import seconds_per_update
from bioplaus.runs.spread import Spread, spread

if TYPE_CHECKING:
    import pandas

    from bioplaus.learning.training import Rate
    from bioplaus.runs.arm import Arm
    from bioplaus.runs.results import Results
    from bioplaus.runs.run import Run


@dataclass(frozen=True)
class Standing:
    """One rule at the end of a comparison.

    Attributes
    ----------
    label : str
        The rule as it was given.
    rate : float
        Learning rate of the circuit.
    updates, batch, steps : int
        What each run was given: updates, trials an update, time steps a trial.
    seeds, broken : tuple of int
        Seeds that came to a finite final score, and those that broke down.
    scores : tuple of float
        Final test score of each of `seeds`.
    loss : Spread
        Of the final test loss over `seeds`.
    step_seconds : tuple of float
        Seconds of one time step of a whole batch, for each of `seeds`.
    memory : Cost
        Bytes that the rule keeps.
    """

    label: str
    rate: Rate | Mapping[str, Rate]
    updates: int
    batch: int
    steps: int
    seeds: tuple[int, ...]
    broken: tuple[int, ...]
    scores: tuple[float, ...]
    loss: Spread
    step_seconds: tuple[float, ...]
    memory: Cost

    @property
    def score(self) -> Spread:
        """Of the final test score over seeds."""
        return spread(self.scores)

    @property
    def pace(self) -> Spread:
        """Of the seconds of one time step over seeds."""
        return spread(self.step_seconds)


def standings(arms: Mapping[str, Arm], results: Results, memory: Mapping[str, Cost]) -> list[Standing]:
    """One for every arm that ran, in the order of the arms; also for those that broke down with every seed."""
    found = []
    for label, arm in arms.items():
        runs = results[label] if label in results else []
        sound = [run for run in runs if math.isfinite(at_end(run, "test_score"))]
        broken = [*results.broken.get(label, ()), *(run.seed for run in runs if run not in sound)]
        if not sound and not broken:  # left out of this run of the comparison
            continue
        steps = int(arm.task.steps)
        found.append(
            Standing(
                label=label,
                rate=arm.training.lr,
                updates=arm.training.updates,
                batch=arm.training.batch,
                steps=steps,
                seeds=tuple(run.seed for run in sound),
                broken=tuple(broken),
                scores=tuple(at_end(run, "test_score") for run in sound),
                loss=spread(at_end(run, "test_loss") for run in sound),
                step_seconds=tuple(seconds_per_update(run) / steps for run in sound),
                memory=memory[label],
            )
        )
    return found


def at_end(run: Run, column: str) -> float:
    """What was measured at the last update, NaN included; NaN if nothing was."""
    table = run.metrics
    return float(table[column].iloc[-1]) if len(table) and column in table else math.nan


def table(rows: Sequence[Standing]) -> pandas.DataFrame:
    """One row a rule; times in ms or µs, memory in bytes (B)."""
    import pandas

    return pandas.DataFrame([_row(one) for one in rows])


def _row(one: Standing) -> dict[str, Any]:
    score, pace = one.score, one.pace
    return {
        "arm": one.label,
        "n": score.n,
        "lr": one.rate,
        "test score": score.mean,
        "test score s.e.m.": score.sem,
        "test score 95 %": score.half,
        "test loss": one.loss.mean,
        "test loss s.e.m.": one.loss.sem,
        "ms per update": 1e3 * pace.mean * one.steps,
        "ms per step": 1e3 * pace.mean,
        "ms per step s.e.m.": 1e3 * pace.sem,
        "us per step and trial": 1e6 * pace.mean / one.batch,
        "state B per trial": one.memory.state,
        "window B per trial": one.memory.window,
        "fixed B": one.memory.fixed,
    }
