"""All runs of an experiment, then its table and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bioplaus import checks
from bioplaus.errors import BioplausError, RunError
from bioplaus.learning.several_dt import met
from bioplaus.runs.arm import Arm
from bioplaus.runs.event import Report
from bioplaus.runs.experiment import Experiment, check_seeds
from bioplaus.runs.lines import heard
from bioplaus.runs.loop import CHECKPOINT_EVERY, every_so_often
from bioplaus.runs.origin import origin_of
from bioplaus.runs.queue import Queue, planned, summed_up
from bioplaus.runs.report import write_report
from bioplaus.runs.results import Results
from bioplaus.runs.run import Run
from bioplaus.runs.usable import below, check_experiment


@checks.named(RunError)
def run_experiment(
    experiment: Experiment,
    name: str,
    *,
    root: Path | str = "runs",
    seeds: Sequence[int] | None = None,
    only: Sequence[str] | str | None = None,
    workers: int = 1,
    config: object = None,
    checkpoint_every: float = CHECKPOINT_EVERY,
    progress: Report | bool | None = None,
    tolerant: bool = False,
) -> Results:
    """Run every arm with every seed, then write the table and the figures.

    What was done before is read, what was interrupted goes on. A run whose simulation breaks down does not
    stop the others; it is named at the end.

    Parameters
    ----------
    experiment : what to run.
    name : of its folder below `root`; that of its file, for an experiment of a content folder.
    root : where the folders of experiments lie, ``~`` for the home.
    seeds, only : sequence, optional
        Seeds in place of the experiment's own; labels of the arms to run.
    workers : int
        Processes, each with one torch thread. One: everything happens in this process.
    config : dataclass, optional
        The configuration that the experiment was made from, for its record.
    checkpoint_every : float
        Seconds between the checkpoints of each run.
    progress : callable or bool, optional
        Receives `Event` objects of all runs; True shows lines of text. If it raises, all is saved first.
    tolerant : bool
        Return also where a simulation broke down; `Results.broken` and `Results.error` tell.

    Returns
    -------
    Results

    Raises
    ------
    RunError
        A label is unknown, a seed or another option unusable, a folder in use, damaged or not to be written to, an arm not to be
        sent to a worker; a worker died.
    NumericalError
        A simulation broke down, unless ``tolerant``; everything else was run and saved.
    KeyboardInterrupt
        Asked to stop; all is saved.
    """
    arms, report, every = experiment.only(only), heard(progress), every_so_often(checkpoint_every)
    seeds = check_seeds(experiment.seeds if seeds is None else seeds)
    folder, origin = below(root, name), origin_of(name, config)
    check_experiment(folder)
    for arm in arms.values():
        if hasattr(arm.circuit, "populations"):
            met(arm.circuit, arm.rule)
    queue = Queue(planned(arms, seeds, folder), workers)
    results = _results(queue, arms, queue.run(origin, every, report), folder)
    if results:
        write_report(experiment, results, folder, origin, report)
    if results.error is not None and not tolerant:
        raise results.error
    return results


def _results(queue: Queue, arms: Mapping[str, Arm], failures: Mapping[Path, BioplausError], folder: Path) -> Results:
    """What came of all runs, arm by arm."""
    runs: dict[str, list[Run]] = {label: [] for label in arms}
    broken: dict[str, list[int]] = {label: [] for label in arms}
    for each in queue.runs:
        if each.folder in failures:
            broken[each.label].append(each.seed)
        else:
            runs[each.label].append(Run(each.folder, arms[each.label].circuit))
    return Results(runs, broken, summed_up(failures, len(queue.runs), folder))
