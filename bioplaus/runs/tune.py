"""Search a learning rate for every rule of a comparison, all with the same number of runs and updates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bioplaus.runs.compare import Comparison, trial, trials
from bioplaus.runs.event import Report
from bioplaus.runs.experiment import Experiment
from bioplaus.runs.results import Results
from bioplaus.runs.run import Run
from bioplaus.runs.standings import at_end
from bioplaus.runs.sweep import run_experiment
from bioplaus.runs.tuning import Choice, choose


def tune(
    options: Comparison,
    *,
    root: Path | str = "runs",
    workers: int = 1,
    progress: Report | bool | None = None,
) -> Comparison:
    """Run every rule with every rate of the tuning, and take the best for each.

    What was done before is read, what was interrupted goes on; a run that breaks down counts as worst and stops none.

    Parameters
    ----------
    options : Comparison
        Its tuning has rates.
    root : Path
        Where the folders of comparisons lie.
    workers : int
        Processes, each with one torch thread.
    progress : callable, optional
        Receives the `Event` objects of all runs.

    Returns
    -------
    Comparison
        The same, with what was found as ``chosen``.

    Raises
    ------
    RunError, KeyboardInterrupt
        As `run_experiment` does.
    """
    experiment = trials(options)
    results = run_experiment(
        experiment,
        options.name_of_trials,
        root=root,
        workers=workers,
        config=options,
        progress=progress,
        tolerant=True,
    )
    return replace(options, chosen=chosen(options, experiment, results))


def chosen(options: Comparison, experiment: Experiment, results: Results) -> tuple[Choice, ...]:
    """What the runs of a search say for each rule."""
    higher = next(iter(experiment.arms.values())).task.higher_is_better
    rates, found = options.tuning.rates, []
    for rule in options.rules:
        labels = [trial(rule, rate) for rate in rates]
        scores = tuple(
            None if label in results.broken or label not in results else mean_score(results[label]) for label in labels
        )
        found.append(Choice(rule, choose(rates, scores, higher), rates, scores))
    return tuple(found)


def mean_score(runs: Sequence[Run]) -> float | None:
    """Mean final test score over seeds; None if one of them is no number, for then that run broke down."""
    scores = [at_end(run, "test_score") for run in runs]
    return math.fsum(scores) / len(scores) if all(map(math.isfinite, scores)) else None
