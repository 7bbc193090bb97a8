"""All runs of an experiment, one after another or in spawned worker processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bioplaus.errors import BioplausError, NumericalError, RunError
from bioplaus.runs.config import folder_name, plain, rebuild, resolve
from bioplaus.runs.experiment import Arm, Experiment, Results, check_seeds
from bioplaus.runs.folder import RunFolder
from bioplaus.runs.loop import CHECKPOINT_EVERY, Event, execute, is_done
from bioplaus.runs.run import Run

Job = tuple[str, Arm, int, Path]
"""Label, learner, seed, folder."""


def run_experiment(
    experiment: Experiment,
    name: str,
    *,
    root: Path | str = "runs",
    seeds: Sequence[int] | None = None,
    only: Sequence[str] | None = None,
    workers: int = 1,
    config: Any = None,
    checkpoint_every: float = CHECKPOINT_EVERY,
    progress: Callable[[Event], None] | None = None,
    tolerant: bool = False,
) -> Results:
    """Run every arm with every seed, then write the table and the figures.

    What was done before is read, what was interrupted goes on. A run whose simulation breaks down does not
    stop the others; it is named at the end.

    Parameters
    ----------
    experiment : Experiment
        What to run.
    name : str
        Name of its folder below `root`; that of its file, for an experiment of a content folder.
    root : Path
        Where the folders of experiments lie.
    seeds, only : sequence, optional
        Seeds in place of the experiment's own; labels of the arms to run.
    workers : int
        Processes, each with one torch thread. One: everything happens in this process.
    config : dataclass, optional
        The configuration that the experiment was made from, for its record.
    checkpoint_every : float
        Seconds between the checkpoints of each run.
    progress : callable, optional
        Receives `Event` objects of all runs.
    tolerant : bool
        Return also where a simulation broke down; `Results.broken` and `Results.error` tell.

    Returns
    -------
    Results

    Raises
    ------
    RunError
        A label is unknown, a seed unusable, a folder in use or damaged; a worker died.
    NumericalError
        A simulation broke down, unless ``tolerant``; everything else was run and saved.
    KeyboardInterrupt
        Asked to stop; all is saved.
    """
    arms = experiment.only(only)
    seeds = check_seeds(experiment.seeds if seeds is None else seeds)
    if workers < 1:
        raise RunError(f"{workers} workers can't run anything: give 1 or more.")
    folder = Path(root, name)
    origin = origin_of(name, config)
    report = progress or (lambda event: None)
    # Seeds outside, arms inside: after a third of the time all arms can be compared.
    jobs = [
        (label, arm, seed, folder / folder_name(label, seed, resolve(arm, seed)))
        for seed in seeds
        for label, arm in arms.items()
    ]
    _refuse_early(jobs)
    if workers == 1 or len(jobs) == 1:
        failures = _one_by_one(jobs, origin, checkpoint_every, report)
    else:
        from bioplaus.runs.workers import in_workers

        failures = in_workers(jobs, origin, checkpoint_every, report, min(workers, len(jobs)))
    runs: dict[str, list[Run]] = {label: [] for label in arms}
    broken: dict[str, list[int]] = {label: [] for label in arms}
    for label, arm, seed, place in jobs:
        if place.name in failures:
            broken[label].append(seed)
        else:
            runs[label].append(Run(place, arm.circuit))
    results = Results(runs, broken, _told(failures, len(jobs), folder))
    if results:
        from bioplaus.runs.report import write_report

        write_report(experiment, results, folder, origin, report)
    if results.error is not None and not tolerant:
        raise results.error
    return results


def _refuse_early(jobs: list[Job]) -> None:
    """Find the arm that can't be trained and the folder that can't be used before the first run begins."""
    from bioplaus.learning.trainer import Trainer

    tried: set[str] = set()
    for label, arm, seed, place in jobs:
        files = RunFolder(place)
        if is_done(files, resolve(arm, seed)):
            continue
        files.load_checkpoint()
        if label not in tried:
            Trainer(arm.circuit, arm.task, arm.rule, arm.training, seed)
            tried.add(label)


def _one_by_one(
    jobs: list[Job], origin: dict[str, Any], every: float, report: Callable[[Event], None]
) -> dict[str, BioplausError]:
    failures: dict[str, BioplausError] = {}
    for label, arm, seed, place in jobs:
        try:
            execute(arm, seed, place, label=label, origin=origin, checkpoint_every=every, progress=report)
        except NumericalError as error:
            failures[place.name] = error
    return failures


def _told(failures: dict[str, BioplausError], jobs: int, folder: Path) -> BioplausError | None:
    """One error that tells of all."""
    if not failures:
        return None
    first = next(iter(failures.values()))
    others = f" So did {len(failures) - 1} more: {', '.join(list(failures)[1:])}." if len(failures) > 1 else ""
    done = (
        f" The other {jobs - len(failures)} of {jobs} runs are done and saved in {folder}."
        if jobs > len(failures)
        else ""
    )
    error = type(first)(f"{first}{others}{done}")
    error.__cause__ = first
    return error


def origin_of(name: str, config: Any) -> dict[str, Any]:
    """Which experiment with which configuration, and the content files in use, as plain data."""
    from bioplaus import content

    options = dataclasses.asdict(config) if dataclasses.is_dataclass(config) and not isinstance(config, type) else {}
    return {
        "experiment": {"name": name, "config": {key: plain(value, key) for key, value in options.items()}},
        "content": content.loaded(),
    }


def remake(origin: dict[str, Any] | None) -> Experiment | None:
    """The experiment that a record names, made anew from its file; ``None`` if there is no such file."""
    from bioplaus import content
    from bioplaus.runs.compare import PREFIX, Comparison, comparison, trials
    from bioplaus.runs.tuning import FOLDER

    if not origin:
        return None
    name, options = origin["name"], origin.get("config") or {}
    if name.startswith(PREFIX):
        make = trials if name.endswith(f"/{FOLDER}") else comparison
        return make(rebuild(Comparison, options))
    if name not in content.names("experiment"):
        return None
    kind = getattr(content.load("experiment", name), "Config", None)
    make = content.factory("experiment", name)
    return make(rebuild(kind, options)) if kind and options else make()
