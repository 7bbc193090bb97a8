"""One sitting at one run: record every update, checkpoint now and then, close after whatever ended it."""

from __future__ import annotations

import os
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from bioplaus.capacity import exhausted
from bioplaus.errors import NumericalError, RunError, RunWarning
from bioplaus.runs import provenance
from bioplaus.runs.atomic import Unwritten
from bioplaus.runs.ended import GO_ON, interruption
from bioplaus.runs.event import Event, Report, unheard
from bioplaus.runs.folder import RunFolder
from bioplaus.runs.formats import FORMAT
from bioplaus.runs.learner import Job, L, Learner
from bioplaus.runs.metrics import MetricsFile
from bioplaus.runs.netcdf import write_netcdf
from bioplaus.runs.recognised import changes


class Told:
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


class Sitting:
    """One sitting at one run, in a folder that this process holds."""

    def __init__(
        self,
        files: RunFolder,
        job: Job[L],
        seed: int,
        learner: L,
        origin: dict[str, Any],
        told: Told,
        stopped: Callable[[], bool],
    ):
        self.files, self.job, self.learner, self.told, self.stopped = files, job, learner, told, stopped
        previous = files.record() or {}
        self.config = previous.get("config") or job.describe(seed)
        saved = files.load_checkpoint()
        self.seconds = 0.0
        self.cpu: float | None = 0.0
        if saved:
            _put_back(learner, saved, self.config, files)
            self.seconds = float(saved["seconds"])
            self.cpu = saved.get("cpu")  # of an earlier version: not known
        self.saved_at, self.said = learner.update_index, set(_remarks(learner))
        self.metrics = MetricsFile(files.metrics, keep=learner.update_index, sha256=(saved or {}).get("rows"))
        self.record = _record(job, self.config, origin, told.label, self.timing, previous)
        self.mixed = self._mixed(previous if saved else {})
        self.record["remarks"] = dict(self.mixed)
        self.record |= {"computed": by} if (by := getattr(learner, "computed", None)) else {}
        files.write_record(self.record)  # first: its seal would tell of a file that is going to be another
        self.metrics.begin()
        for text in self.mixed.values():
            files.log(text)
        files.log(f"{'resumed at update ' + str(self.saved_at) if saved else 'started'}: {self.record['command']}")
        self.begins = "resume" if saved else "start"

    @property
    def timing(self) -> dict[str, float | None]:
        """Seconds of all sittings together, by the clock and of processors; both without what came behind the last checkpoint of one that was killed."""
        return {"seconds": self.seconds, "cpu": self.cpu}

    def _mixed(self, previous: dict[str, Any]) -> dict[str, str]:
        """What there is to say of versions that changed between the sittings of a run; they are recorded, and told where nobody watches."""
        sittings = [
            *previous.get("versions_before", []),
            {**previous.get("versions", {}), "format": previous.get("format")},
        ]
        now = {**self.record["versions"], "format": FORMAT}
        if not previous.get("versions") or not (text := provenance.changed([*sittings, now])):
            return {}
        self.record["versions_before"] = [each for i, each in enumerate(sittings) if each != [*sittings, now][i + 1]]
        if self.told.report is unheard:
            warnings.warn(f"{self.told.label}, seed {self.told.seed}: {text}", RunWarning, stacklevel=5)
        return {"versions": text}

    def run(self, checkpoint_every: float) -> None:
        """To the end of the job, or until something stops it."""
        learner, files = self.learner, self.files
        try:
            self.told(self.begins, self.saved_at, {"config": self.config, "weights": learner.size})
            for text in self.mixed.values():
                self.told("remark", self.saved_at, message=text)
            self._advance(checkpoint_every)
            for name, dataset_of in self.job.files.items():
                write_netcdf(dataset_of(learner), files.path / name)
            ended = f"done after {self.seconds:.1f} s"
            for write in self._closing("done", ended):
                write()
        except BaseException as error:
            self._broken_off(error)
            raise
        self.told("done", learner.update_index, message=ended)

    def _advance(self, checkpoint_every: float) -> None:
        learner, updates, every = self.learner, self.job.updates, self.job.evaluate_every
        since, before, began = time.perf_counter() - self.seconds, self.cpu, _busy()
        last = time.perf_counter()
        while learner.update_index < updates:
            row = dict(learner.update())
            row["update"] = learner.update_index
            if learner.update_index == updates or (every and learner.update_index % every == 0):
                row |= learner.evaluate()
            now = time.perf_counter()
            row["seconds"] = self.seconds = round(now - since, 4)
            self.cpu = None if before is None else round(before + _busy() - began, 4)
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
        """Close after whatever ended the run before its end; it is told of, also where nothing can be written any more."""
        update = self.learner.update_index
        if error is self.told.raised:  # between two updates: what watches broke, the run did not
            with suppress(Unwritten):
                self._save()
            self._close(
                "interrupted", f"interrupted at update {update}, saved up to {self.saved_at}: progress raised {error!r}"
            )
        elif isinstance(error, KeyboardInterrupt):
            self._close("interrupted", f"interrupted at update {update}; saved up to {self.saved_at}")
        elif isinstance(error, NumericalError | Unwritten):
            kept = f"The folder {self.files.path} keeps {self._kept()}."
            self._close("failed", f"{error} {kept}")
            raise type(error)(f"{error} {kept}") from error
        elif exhausted(error):
            said = (
                f"The run needs more memory than there is ({str(error).splitlines()[0] if str(error) else type(error).__name__}). Give a smaller "
                "batch, circuit or task, fewer workers, or a rule that keeps less, such as one that learns online "
                f"(schedule=bp.Online()); or free memory, and the same command or call goes on. The folder {self.files.path} keeps {self._kept()}."
            )
            self._close("failed", said)
            raise RunError(said) from error
        else:
            self._close("failed", "".join(traceback.format_exception(error)).rstrip())

    def _save(self) -> None:
        self.metrics.flush()  # first: a checkpoint never claims rows that could still be lost
        state = {"update": self.learner.update_index, "config": self.config, **self.timing}
        self.files.save_checkpoint({**state, "rows": self.metrics.rows.sha256, "trainer": self.learner.state_dict()})
        self.saved_at = self.learner.update_index

    def _kept(self) -> str:
        saved = self.files.checkpoint.exists()
        return f"the checkpoint of update {self.saved_at}, metrics.csv and log.txt" if saved else "no checkpoint yet"

    def _close(self, status: str, message: str) -> None:
        """Write down, as far as can be written, how the run was broken off, and tell."""
        for write in self._closing(status, message):
            with suppress(Unwritten):
                write()
        self.told(status, self.learner.update_index, message=message)

    def _closing(self, status: str, message: str) -> tuple[Callable[[], None], ...]:
        """What is written at the end of a sitting."""
        finished = datetime.now().isoformat(timespec="seconds")
        self.record["status"] = status
        self.record["update"] = self.learner.update_index
        self.record["remarks"] = self.mixed | _remarks(self.learner)
        self.record["timing"] |= {"finished": finished, **self.timing}
        write = partial(self.files.write_record, self.record, self.job.files)
        return self.metrics.close, partial(self.files.log, message), write


def _busy() -> float:
    """Seconds that processors have worked for this process, all of its threads, and for processes of its own that have ended."""
    own = os.times()
    return time.process_time() + own.children_user + own.children_system


def _remarks(learner: Learner) -> dict[str, str]:
    return dict(getattr(learner, "remarks", {}))


def _put_back(learner: Learner, saved: dict[str, Any], config: dict[str, Any], files: RunFolder) -> None:
    """Bring a learner to where a checkpoint has it.

    Raises
    ------
    RunError
        If the checkpoint is not this run's.
    """
    if changes(config, saved.get("config") or {}):
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
    job: Job[L],
    config: dict[str, Any],
    origin: dict[str, Any],
    label: str,
    spent: dict[str, float | None],
    previous: dict[str, Any],
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
            **spent,
            "sittings": timing.get("sittings", 0) + 1,
        },
    }
