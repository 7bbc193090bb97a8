"""The loop around a learner: record every update, checkpoint now and then, carry on where a run stopped."""

from __future__ import annotations

import math
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from bioplaus import checks
from bioplaus.errors import LearningWarning, NumericalError, RunError
from bioplaus.runs import provenance
from bioplaus.runs.asked import answered
from bioplaus.runs.config import differences
from bioplaus.runs.ended import GO_ON, interruption
from bioplaus.runs.event import Event, Report, unheard
from bioplaus.runs.folder import RunFolder
from bioplaus.runs.formats import FORMAT
from bioplaus.runs.learner import Job, L, Learner
from bioplaus.runs.lines import heard
from bioplaus.runs.metrics import MetricsFile
from bioplaus.runs.netcdf import write_netcdf
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
        Of torch. One: small circuits are fastest so, and a sum split over others rounds differently. ``None``: as set.
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
    files, told = RunFolder(folder), _Told(label, seed, str(folder), job.updates, heard(progress))
    if is_done(files, job, seed):
        told("found", job.updates)
        return
    check_run(files, job.files)
    with threads_limited(threads), interruptible(stop) as stopped, warnings.catch_warnings():
        if told.report is not unheard:  # who watches is told of it by an event
            warnings.simplefilter("ignore", LearningWarning)
        if learner is None:
            learner = job.begin(seed)  # before the folder: what can't be run leaves nothing behind
        with files.locked():
            if is_done(files, job, seed):  # another process may have finished it meanwhile
                told("found", job.updates)
                return
            _Sitting(files, job, seed, learner, origin or {}, told, stopped).run(every)


def is_done(files: RunFolder, job: Job[L], seed: int) -> bool:
    """Whether the folder holds the finished run of this job and seed, with every file that it leaves.

    Raises
    ------
    RunError
        If it holds a run of another configuration.
    """
    record = files.record()
    if record is None:
        return False
    config = job.describe(seed)
    if changed := differences(config, record["config"]):
        raise RunError(
            f"The folder {files.path} holds a run of another configuration: {'; '.join(changed[:5])}. Nothing was changed. "
            "Give another folder, or none, to keep both."
        )
    return record.get("status") == "done" and all((files.path / name).exists() for name in job.files)


class _Told:
    """Tells whoever watches of one run."""

    def __init__(self, label: str, seed: int, folder: str, updates: int, report: Report):
        self.label, self.seed, self.folder, self.updates, self.report = label, seed, folder, updates, report
        self.raised: BaseException | None = None

    def __call__(self, kind: str, update: int, row: dict[str, Any] | None = None, message: str = "") -> None:
        try:
            self.report(Event(kind, self.label, self.seed, self.folder, update, self.updates, row or {}, message))
        except BaseException as error:
            self.raised, self.report = error, unheard  # nothing more for who raises
            raise


class _Sitting:
    """One sitting at one run, in a folder that this process holds."""

    def __init__(
        self,
        files: RunFolder,
        job: Job[L],
        seed: int,
        learner: L,
        origin: dict[str, Any],
        told: _Told,
        stopped: Callable[[], bool],
    ):
        self.files, self.job, self.learner, self.told, self.stopped = files, job, learner, told, stopped
        self.config = job.describe(seed)
        previous = files.record() or {}
        saved = files.load_checkpoint()
        self.seconds = 0.0
        if saved:
            _put_back(learner, saved, self.config, files)
            self.seconds = float(saved["seconds"])
        self.saved_at, self.said = learner.update_index, set(_remarks(learner))
        self.metrics = MetricsFile(files.metrics, keep=learner.update_index)
        self.record = _record(job, self.config, origin, told.label, self.seconds, previous)
        if previous and previous.get("versions") != self.record["versions"]:
            files.log(f"continuing with other versions than before: {previous.get('versions')}")
        files.write_record(self.record)
        files.log(f"{'resumed at update ' + str(self.saved_at) if saved else 'started'}: {self.record['command']}")
        self.begins = "resume" if saved else "start"

    def run(self, checkpoint_every: float) -> None:
        """To the end of the job, or until something stops it."""
        learner, files = self.learner, self.files
        try:
            self.told(self.begins, self.saved_at, {"config": self.config, "weights": learner.size})
            self._advance(checkpoint_every)
            for name, dataset_of in self.job.files.items():
                write_netcdf(dataset_of(learner), files.path / name)
        except BaseException as error:
            self._broken_off(error)
            raise
        self._close("done", f"done after {self.seconds:.1f} s")

    def _advance(self, checkpoint_every: float) -> None:
        learner, updates, every = self.learner, self.job.updates, self.job.evaluate_every
        since = time.perf_counter() - self.seconds
        last = time.perf_counter()
        while learner.update_index < updates:
            row = dict(learner.update())
            row["update"] = learner.update_index
            if learner.update_index == updates or (every and learner.update_index % every == 0):
                row |= learner.evaluate()
            now = time.perf_counter()
            row["seconds"] = self.seconds = round(now - since, 4)
            self.metrics.add(row)
            stop = self.stopped()
            if stop or learner.update_index == updates or now - last >= checkpoint_every:
                self._save()
                last = time.perf_counter()
            self.told("update", learner.update_index, row)
            self._remark()
            if stop:
                raise interruption(f"interrupted at update {learner.update_index}: what was computed is saved. {GO_ON}")
        if not self.files.checkpoint.exists():  # no update was asked for: the learner as it was begun
            self._save()

    def _remark(self) -> None:
        """Pass on what is new to be said of how learning goes."""
        for about, text in _remarks(self.learner).items():
            if about not in self.said:
                self.said.add(about)
                self.files.log(text)
                self.told("remark", self.learner.update_index, message=text)

    def _broken_off(self, error: BaseException) -> None:
        """Close after whatever ended the run before its end."""
        update = self.learner.update_index
        if error is self.told.raised:  # between two updates: what watches broke, the run did not
            self._save()
            self._close("interrupted", f"interrupted at update {update}, saved: progress raised {error!r}")
        elif isinstance(error, KeyboardInterrupt):
            self._close("interrupted", f"interrupted at update {update}; saved up to {self.saved_at}")
        elif isinstance(error, NumericalError):
            kept = (
                f"The folder {self.files.path} keeps the checkpoint of update {self.saved_at}, metrics.csv and log.txt."
            )
            self._close("failed", f"{error} {kept}")
            raise NumericalError(f"{error} {kept}") from error
        else:
            self._close("failed", "".join(traceback.format_exception(error)).rstrip())

    def _save(self) -> None:
        self.metrics.flush()  # first: a checkpoint never claims rows that could still be lost
        state = {"update": self.learner.update_index, "seconds": self.seconds, "config": self.config}
        self.files.save_checkpoint({**state, "trainer": self.learner.state_dict()})
        self.saved_at = self.learner.update_index

    def _close(self, status: str, message: str) -> None:
        self.metrics.flush()
        self.metrics.close()
        self.files.log(message)
        finished = datetime.now().isoformat(timespec="seconds")
        self.record["status"] = status
        self.record["update"] = self.learner.update_index
        self.record["remarks"] = _remarks(self.learner)
        self.record["timing"] |= {"finished": finished, "seconds": self.seconds}
        self.files.write_record(self.record)
        self.told(status, self.learner.update_index, message=message)


def _remarks(learner: Learner) -> dict[str, str]:
    return dict(getattr(learner, "remarks", {}))


def _put_back(learner: Learner, saved: dict[str, Any], config: dict[str, Any], files: RunFolder) -> None:
    """Bring a learner to where a checkpoint has it.

    Raises
    ------
    RunError
        If the checkpoint is not this run's.
    """
    if saved.get("config") != config:
        raise RunError(
            f"The checkpoint {files.checkpoint} was not made by this run: it is of another "
            "configuration. Nothing was changed. Put the right file back, or move the folder away to "
            "compute the run again."
        )
    try:
        learner.load_state_dict(saved["trainer"])
    except RunError as error:
        raise RunError(
            f"{files.checkpoint}: {error} Nothing was changed. Put the right file back, or move the folder away to compute the run again."
        ) from error
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(
            f"The checkpoint {files.checkpoint} does not fit this version of bioplaus: {error!r}. "
            "Nothing was changed. Continue with the versions that run.json names, or move the folder "
            "away to start again."
        ) from error


def _record(
    job: Job[L], config: dict[str, Any], origin: dict[str, Any], label: str, seconds: float, previous: dict[str, Any]
) -> dict[str, Any]:
    """``run.json`` of a run that is going, after ``previous`` sittings."""
    timing = previous.get("timing", {})
    now = datetime.now().isoformat(timespec="seconds")
    return {
        "format": FORMAT,
        "label": label,
        "status": "running",
        "updates": job.updates,
        **origin,
        "config": config,
        "versions": provenance.versions(),
        "git": provenance.git(),
        "machine": provenance.machine(job.device),
        "command": provenance.command(),
        "timing": {
            "started": timing.get("started", now),
            "finished": None,
            "seconds": seconds,
            "sittings": timing.get("sittings", 0) + 1,
        },
    }


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
