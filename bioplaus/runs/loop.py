"""A run carried out: found done, or gone on with where it stopped, in a folder that is held meanwhile."""

from __future__ import annotations

import math
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bioplaus import checks
from bioplaus.codegen.threads import threads as loops_on
from bioplaus.errors import LearningWarning, RunError
from bioplaus.runs.asked import answered
from bioplaus.runs.event import Report, unheard
from bioplaus.runs.folder import RunFolder
from bioplaus.runs.learner import Job, L
from bioplaus.runs.lines import heard
from bioplaus.runs.recognised import changes
from bioplaus.runs.sitting import Sitting, Told
from bioplaus.runs.usable import check_run
from bioplaus.settings import threads_limited

CHECKPOINT_EVERY = 15.0
"""Seconds between checkpoints.  # chosen: little enough to lose, and writing one takes some 10 ms."""


_THREADS = checks.Optional(checks.Whole(), "for torch's own setting")


def every_so_often(seconds: Any) -> float:
    """Seconds between checkpoints; infinitely many for one at the end only.

    Raises
    ------
    RunError
        If it is no number of seconds.
    """
    if isinstance(seconds, float) and math.isinf(seconds) and seconds > 0:
        return seconds
    return checks.accept(RunError, "checkpoint_every", seconds, checks.Real(least=0))


def execute(
    job: Job[L],
    seed: int,
    folder: Path,
    *,
    label: str = "run",
    origin: dict[str, Any] | None = None,
    checkpoint_every: float = CHECKPOINT_EVERY,
    threads: int | None = 1,
    progress: Report | bool | None = None,
    stop: Callable[[], bool] | None = None,
    learner: L | None = None,
) -> None:
    """Compute one run in `folder`, from its checkpoint if there is one; return at once if it is done.

    Parameters
    ----------
    job : Job
        What is run: an `Arm`, an alignment.
    seed : int
        Seed of all random streams.
    folder : Path
        The run's own folder.
    label : str
        The name under which the run is listed.
    origin : dict, optional
        Recorded as it is: experiment, content files.
    checkpoint_every : float
        Seconds between checkpoints; 0 writes one after every update.
    threads : int or None
        Of torch, and of compiled loops, which compute the same on any number. One: small circuits are fastest so, and a sum of torch's that is split
        over others rounds differently. ``None``: as set.
    progress : callable or bool, optional
        Receives `Event` objects; True shows lines of text. If it raises, the run is saved and interrupted first.
    stop : callable, optional
        Asked after every update; once true, the run is saved and interrupted. By default SIGINT, SIGTERM and SIGHUP do this.
    learner : Learner, optional
        What ``job.begin(seed)`` gave, if it was called before.

    Raises
    ------
    RunError
        A wrong option; the folder is another configuration's or process's, can't be written to, or its files are damaged.
    NumericalError
        The simulation broke down. The last good checkpoint, the metrics and the log stay.
    KeyboardInterrupt
        The run was asked to stop, and is saved.
    """
    every, threads = every_so_often(checkpoint_every), checks.accept(RunError, "threads", threads, _THREADS)
    files, told = RunFolder(folder), Told(label, seed, str(folder), job.updates, heard(progress))
    if is_done(files, job, seed):
        told("found", job.updates)
        return
    check_run(files, job.files)
    with threads_limited(threads), loops_on(threads or 1), interruptible(stop) as stopped, warnings.catch_warnings():
        if told.report is not unheard:  # who watches is told of it by an event
            warnings.simplefilter("ignore", LearningWarning)
        if learner is None:
            learner = job.begin(seed)  # before the folder: what can't be run leaves nothing behind
        with files.locked():
            if is_done(files, job, seed):  # another process may have finished it meanwhile
                told("found", job.updates)
                return
            Sitting(files, job, seed, learner, origin or {}, told, stopped).run(every)


def is_done(files: RunFolder, job: Job[L], seed: int) -> bool:
    """Whether the folder holds the finished run of this job and seed, with every file that it leaves.

    Raises
    ------
    RunError
        If it holds a run of another configuration, or a file of it was changed since it was written.
    """
    record = files.record()
    if record is None:
        return False
    config = job.describe(seed)
    if changed := changes(config, record["config"]):
        raise RunError(
            f"The folder {files.path} holds a run of another configuration: {'; '.join(changed[:5])}. Nothing was changed. "
            "Give another folder, or none, to keep both."
        )
    try:
        files.check(record)
    except RunError:
        if files.record() != record:  # another process has gone on with it meanwhile
            return is_done(files, job, seed)
        raise
    return record["status"] == "done" and all((files.path / name).exists() for name in job.files)


@contextmanager
def interruptible(stop: Callable[[], bool] | None) -> Iterator[Callable[[], bool]]:
    """The first SIGINT, SIGTERM or SIGHUP asks to stop after the update at hand; a second SIGINT stops at once."""
    if stop is not None:
        yield stop
        return
    asked: list[int] = []

    def handler(number: int, frame: object) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    with answered(handler):
        yield lambda: bool(asked)
