"""The loop around a trainer: record every update, checkpoint now and then, carry on where a run stopped."""

from __future__ import annotations

import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioplaus.errors import NumericalError, RunError
from bioplaus.runs import provenance
from bioplaus.runs.config import differences, resolve
from bioplaus.runs.folder import FORMAT, RunFolder, write_atomically
from bioplaus.runs.metrics import MetricsFile
from bioplaus.threads import threads_limited

if TYPE_CHECKING:
    from bioplaus.runs.experiment import Arm

_RECORDED = ("spikes", "rate", "v")  # of those, what the cells have

CHECKPOINT_EVERY = 15.0
"""Seconds between checkpoints.  # chosen: little enough to lose, and writing one takes some 10 ms."""


@dataclass(frozen=True)
class Event:
    """Something a run tells whoever watches it.

    Attributes
    ----------
    kind : str
        ``"start"``, ``"resume"``, ``"update"``, ``"done"``, ``"found"`` (was done already),
        ``"interrupted"``, ``"failed"``; of a whole experiment ``"drawn"`` or ``"note"``.
    label, seed, folder
        Which run; for ``"drawn"``, the figure's file as folder.
    update, updates : int
        How far it is, and how far it goes.
    row : dict
        The measurements of this update (``"update"``), or what the run is (``"start"``).
    message : str
        For ``"failed"`` and ``"note"``: one paragraph.
    """

    kind: str
    label: str = ""
    seed: int = 0
    folder: str = ""
    update: int = 0
    updates: int = 0
    row: dict[str, Any] = field(default_factory=dict)
    message: str = ""


def execute(
    arm: Arm,
    seed: int,
    folder: Path,
    *,
    label: str = "run",
    origin: dict[str, Any] | None = None,
    checkpoint_every: float = CHECKPOINT_EVERY,
    threads: int | None = 1,
    progress: Callable[[Event], None] | None = None,
    stop: Callable[[], bool] | None = None,
    make_trainer: Callable[..., Any] | None = None,
) -> None:
    """Compute one run in `folder`, from its checkpoint if there is one; return at once if it is done.

    Parameters
    ----------
    arm : Arm
        Circuit, task, rule and training.
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
        torch threads. One by default: small circuits are fastest so, and a sum split over another number of
        threads rounds differently. ``None`` leaves torch's setting alone.
    progress : callable, optional
        Receives `Event` objects.
    stop : callable, optional
        Asked after every update; once true, the run is saved and interrupted. By default SIGINT and SIGTERM
        do this.
    make_trainer : callable, optional
        Makes the trainer from (circuit, task, rule, training, seed); `bioplaus.train.Trainer` by default.

    Raises
    ------
    RunError
        The folder belongs to another configuration or another process, or its files are damaged.
    NumericalError
        The simulation broke down. The last good checkpoint, the metrics and the log stay.
    KeyboardInterrupt
        The run was asked to stop, and is saved.
    """
    config = resolve(arm, seed)
    files = RunFolder(folder)
    report = progress or (lambda event: None)
    updates = int(arm.training.updates)

    def event(kind: str, update: int = updates, row: dict[str, Any] | None = None, message: str = "") -> Event:
        return Event(kind, label, seed, str(folder), update, updates, row or {}, message)

    if is_done(files, config):
        report(event("found"))
        return
    if make_trainer is None:
        from bioplaus.train import Trainer as make_trainer
    with threads_limited(threads), interruptible(stop) as stopped:
        # Made before the folder: what can't be trained leaves nothing behind.
        learner = make_trainer(arm.circuit, arm.task, arm.rule, arm.training, seed)
        with files.locked():
            if is_done(files, config):  # another process may have finished it meanwhile
                report(event("found"))
                return
            _Session(files, config, learner, arm, label, origin or {}, event, report, stopped).run(checkpoint_every)


def is_done(files: RunFolder, config: dict[str, Any]) -> bool:
    """Whether the folder holds the finished run of this configuration.

    Raises
    ------
    RunError
        If it holds a run of another configuration.
    """
    record = files.record()
    if record is None:
        return False
    if record["config"] != config:
        changed = "; ".join(differences(config, record["config"])[:5])
        raise RunError(
            f"The folder {files.path} holds a run of another configuration: {changed}. Nothing was changed. "
            "Give another folder, or none, to keep both."
        )
    return record.get("status") == "done"


class _Session:
    """One sitting at one run, in a folder that this process holds."""

    def __init__(self, files, config, learner, arm, label, origin, event, report, stopped):
        self.files, self.config, self.learner, self.arm = files, config, learner, arm
        self.event, self.report, self.stopped = event, report, stopped
        self.training = arm.training
        previous = files.record()
        saved = files.load_checkpoint()
        self.seconds = 0.0
        if saved:
            if saved.get("config") != config:
                raise RunError(
                    f"The checkpoint {files.checkpoint} was not made by this run: it is of another "
                    "configuration. Nothing was changed. Put the right file back, or move the folder away to "
                    "compute the run again."
                )
            try:
                learner.load_state_dict(saved["trainer"])
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                raise RunError(
                    f"The checkpoint {files.checkpoint} does not fit this version of bioplaus: {error!r}. "
                    "Nothing was changed. Continue with the versions that run.json names, or move the folder "
                    "away to start again."
                ) from error
            self.seconds = float(saved["seconds"])
        self.saved_at = learner.update_index
        self.metrics = MetricsFile(files.metrics, keep=learner.update_index)
        now = datetime.now().isoformat(timespec="seconds")
        timing = (previous or {}).get("timing", {})
        self.record = {
            "format": FORMAT,
            "label": label,
            "status": "running",
            **origin,
            "config": config,
            "versions": provenance.versions(),
            "git": provenance.git(),
            "machine": provenance.machine(arm.training.device),
            "command": provenance.command(),
            "timing": {
                "started": timing.get("started", now),
                "finished": None,
                "seconds": self.seconds,
                "sittings": timing.get("sittings", 0) + 1,
            },
        }
        if previous and previous.get("versions") != self.record["versions"]:
            files.log(f"continuing with other versions than before: {previous.get('versions')}")
        files.write_record(self.record)
        files.log(f"{'resumed at update ' + str(self.saved_at) if saved else 'started'}: {self.record['command']}")
        report(event("resume" if saved else "start", self.saved_at, self._portrait()))

    def _portrait(self) -> dict[str, Any]:
        weights = getattr(getattr(self.learner, "network", None), "weights", {})
        return {"config": self.config, "weights": sum(weight.numel() for weight in weights.values())}

    def run(self, checkpoint_every: float) -> None:
        learner, files = self.learner, self.files
        try:
            self._train(checkpoint_every)
            recordings = learner.record(_RECORDED)
            write_atomically(files.recordings, lambda path: save_netcdf(recordings, path))
        except NumericalError as error:
            message = (
                f"{error} The folder {files.path} keeps the checkpoint of update {self.saved_at}, "
                "metrics.csv and log.txt."
            )
            self._close("failed", message)
            raise NumericalError(message) from error
        except KeyboardInterrupt:
            self._close("interrupted", f"interrupted at update {learner.update_index}; saved up to {self.saved_at}")
            raise
        except BaseException as error:
            self._close("failed", "".join(traceback.format_exception(error)).rstrip())
            raise
        self._close("done", f"done after {self.seconds:.1f} s")

    def _train(self, checkpoint_every: float) -> None:
        learner, updates = self.learner, self.training.updates
        since = time.perf_counter() - self.seconds
        last = time.perf_counter()
        while learner.update_index < updates:
            row = dict(learner.update())
            row["update"] = learner.update_index
            every = self.training.evaluate_every
            if learner.update_index == updates or (every and learner.update_index % every == 0):
                row |= learner.evaluate()
            now = time.perf_counter()
            row["seconds"] = self.seconds = round(now - since, 4)
            self.metrics.add(row)
            stop = self.stopped()
            if stop or learner.update_index == updates or now - last >= checkpoint_every:
                self._save()
                last = time.perf_counter()
            self.report(self.event("update", learner.update_index, row))
            if stop:
                raise KeyboardInterrupt(f"interrupted at update {learner.update_index}")
        if not self.files.checkpoint.exists():  # no update was asked for: the circuit as it was built
            self._save()

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
        self.record["timing"] |= {"finished": finished, "seconds": self.seconds}
        self.files.write_record(self.record)
        self.report(self.event(status, self.learner.update_index, message=message))


def save_netcdf(dataset: Any, path: Path) -> None:
    """A dataset as compressed NetCDF."""
    squeeze = {name: {"zlib": True, "complevel": 1} for name, array in dataset.data_vars.items() if array.ndim}
    dataset.to_netcdf(path, engine="h5netcdf", encoding=squeeze)


@contextmanager
def interruptible(stop: Callable[[], bool] | None) -> Iterator[Callable[[], bool]]:
    """The first SIGINT or SIGTERM asks to stop after the update at hand; a second SIGINT stops at once."""
    if stop is not None or threading.current_thread() is not threading.main_thread():
        yield stop or (lambda: False)
        return
    asked: list[int] = []

    def handler(number: int, frame: object) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, previous in before.items():
            signal.signal(number, previous if previous is not None else signal.SIG_DFL)
