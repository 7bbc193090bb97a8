"""Runs that are to be made, one after another or in spawned worker processes; what cannot be run is refused first."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioplaus import checks
from bioplaus.errors import BioplausError, NumericalError, RunError
from bioplaus.runs.event import Report, unheard
from bioplaus.runs.folder import InUse, RunFolder
from bioplaus.runs.learner import Job, Learner
from bioplaus.runs.loop import CHECKPOINT_EVERY, execute, is_done
from bioplaus.runs.recognised import home
from bioplaus.runs.usable import check_run
from bioplaus.runs.waiting import LOOK_EVERY, Left
from bioplaus.settings import threads_limited


@dataclass(frozen=True)
class Planned:
    """One run that is to be made: a job with a seed, under a label, in a folder of its own."""

    label: str
    job: Job[Any]
    seed: int
    folder: Path

    def begin(self) -> Learner:
        """Its learner before the first update.

        Raises
        ------
        BioplausError
            If it cannot be run; nothing has been written yet.
        """
        with threads_limited(1):
            return self.job.begin(self.seed)

    def make(self, origin: dict[str, Any], checkpoint_every: float, report: Report, **more: Any) -> None:
        """Make it: see `bioplaus.runs.loop.execute`."""
        told: Any = {"label": self.label, "origin": origin, "progress": report}
        execute(self.job, self.seed, self.folder, checkpoint_every=checkpoint_every, **told, **more)


def planned(jobs: Mapping[str, Job[Any]], seeds: Sequence[int], folder: Path) -> list[Planned]:
    """Every job with every seed; seeds outside, so that after a third of the time all jobs can be compared."""
    return [
        Planned(label, job, seed, home(folder, label, seed, job.describe(seed)))
        for seed in seeds
        for label, job in jobs.items()
    ]


class Queue:
    """Runs in the order in which they are made.

    The first unfinished run of every job is begun before anything runs, so that a job that cannot be run is found; a folder that cannot be
    used is found, too. Where everything happens in this process it is begun at once, and not again. Worker processes have each begun by
    one of them, once they are asked to `run`: this process then needs nothing that computes.

    Parameters
    ----------
    runs : sequence of Planned
    workers : int
        Processes, each with one torch thread. One: everything happens in this process.

    Raises
    ------
    BioplausError
        A job or a folder cannot be used.
    """

    def __init__(self, runs: Sequence[Planned], workers: int = 1):
        workers = checks.whole(RunError, "workers", workers)
        self.runs, self.workers = tuple(runs), min(workers, len(runs))
        self._script = _to_workers(self.runs) if self.workers > 1 else {}
        self._begun: dict[Path, Learner] = {}
        self._first: dict[str, Planned] = {}
        for each in self.runs:
            files = RunFolder(each.folder)
            if is_done(files, each.job, each.seed):
                continue
            check_run(files, each.job.files)
            files.load_checkpoint()
            if each.label not in self._first:
                self._first[each.label] = each
                if self.workers == 1:
                    self._begun[each.folder] = each.begin()

    def run(
        self, origin: dict[str, Any], checkpoint_every: float = CHECKPOINT_EVERY, report: Report = unheard
    ) -> dict[Path, BioplausError]:
        """Make all runs; what broke down numerically stops no other, and is returned: folder → error.

        A run that another process is computing is waited for, and taken over if that one stops before its end.

        Parameters
        ----------
        origin : dict
            What `bioplaus.runs.origin.origin_of` gave.
        checkpoint_every : float
            Seconds between the checkpoints of each run.
        report : callable
            Receives the `Event` objects of all runs.

        Raises
        ------
        BioplausError
            A worker could not begin a job; nothing was run.
        RunError
            A folder is damaged; a worker died.
        KeyboardInterrupt
            Asked to stop; all is saved.
        """
        if self.workers > 1:
            from bioplaus.runs.workers import in_workers

            first = tuple(self._first.values())
            return in_workers(self.runs, first, self._script, origin, checkpoint_every, report, self.workers)
        failures: dict[Path, BioplausError] = {}
        left = Left(self.runs, report)
        while left:
            each = left.take()
            if each is None:
                time.sleep(LOOK_EVERY)
                continue
            try:
                each.make(origin, checkpoint_every, report, learner=self._begun.pop(each.folder, None))
            except InUse:
                left.put_back(each)
            except NumericalError as error:
                failures[each.folder] = error
        return failures


def _to_workers(runs: Sequence[Planned]) -> dict[str, str]:
    """What worker processes have to read, once it is known that they can make something of the runs.

    Raises
    ------
    RunError
    """
    from bioplaus.runs.script import of_script, pack

    script = of_script()
    for each in {each.label: each for each in runs}.values():
        pack(f"The arm {each.label!r}", each, script)
    return script


def summed_up(failures: Mapping[Path, BioplausError], runs: int, folder: Path) -> BioplausError | None:
    """One error that tells of all failures among so many runs in a folder; None without any."""
    if not failures:
        return None
    first = next(iter(failures.values()))
    more = ", ".join(place.name for place in list(failures)[1:])
    others = f" So did {len(failures) - 1} more: {more}." if more else ""
    kept = runs - len(failures)
    done = f" The other {kept} of {runs} runs are done and saved in {folder}." if kept else ""
    error = type(first)(f"{first}{others}{done}")
    error.__cause__ = first
    return error
