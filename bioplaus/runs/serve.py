"""In a worker process: take runs from a pipe, make them (or only begin them), and tell of them through the same pipe.

The pipe is this worker's alone: a worker that is killed in the middle of a word holds no lock that others need. While a run is going
nothing is sent to it but the wish to stop; the end of the pipe, if whoever started it is gone, is taken for the same.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
import traceback
import warnings
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from bioplaus.errors import BioplausError, RunError, SealWarning, StudyWarning, raised
from bioplaus.runs.asked import FROM_OUTSIDE, obeyed
from bioplaus.runs.ended import saved
from bioplaus.runs.event import Event
from bioplaus.runs.outlet import steady
from bioplaus.runs.script import read, unpack

if TYPE_CHECKING:
    from bioplaus.runs.queue import Planned

_SHOWN_EVERY = 0.2  # s between the updates that a worker tells of  # chosen: smooth to the eye, cheap


@dataclass(frozen=True)
class Asked:
    """What a worker is asked to do with one run.

    Attributes
    ----------
    run : Planned
    origin : dict, optional
        To be recorded. None: the run is begun and not made; what refuses it is sent as it is.
    every : float
        Seconds between its checkpoints.
    """

    run: Planned
    origin: dict[str, Any] | None = None
    every: float = 0.0


def serve(pipe: Connection, script: dict[str, str]) -> None:
    """Make runs until the pipe says None or ends, and leave the process."""
    status = 1
    with steady():  # what a task prints may go into a pipe that nobody reads
        try:
            status = _serve(_Server(pipe), script)
        except SystemExit as asked:
            status = asked.code if isinstance(asked.code, int) else 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)  # all is saved, and to take torch down tidily takes seconds


def _serve(server: _Server, script: dict[str, str]) -> int:
    pipe = server.pipe
    for category in (SealWarning, StudyWarning):
        warnings.simplefilter("ignore", category)  # the parent has said it
    signal.signal(signal.SIGINT, _left_to_parent)
    for number in filter(obeyed, FROM_OUTSIDE):
        signal.signal(number, server.told_to_go)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    with suppress(EOFError, OSError):  # the parent is gone
        try:
            read(script)
        except RunError as error:
            if not server.ending:
                pipe.send(("failed", error))
                return 1
        while not server.ending and (given := pipe.recv()) is not None:
            pipe.send(server.work(given))
    return saved(server.ending) if server.ending else 0


def _left_to_parent(number: int, frame: object) -> None:
    """Ctrl-C reaches every process of a terminal: the parent says what is to happen. Not SIG_IGN, which Brian2 would call."""


class _Server:
    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.busy, self.ending = False, 0  # the signal by which it was told to go

    def told_to_go(self, number: int, frame: object) -> None:
        """A run that is going is saved first."""
        self.ending = number
        if not self.busy:
            raise SystemExit(saved(number))

    def stop(self) -> bool:
        """Whether the run is to stop."""
        return bool(self.ending) or self.pipe.poll()

    def work(self, given: bytes) -> tuple[str, Any]:
        """Make or begin one run; what came of it."""
        self.busy = True
        try:
            if self.stop():
                return "stopped", None
            asked: Asked = unpack(given)
            if self.stop():  # to unpack is to import
                return "stopped", None
            if asked.origin is None:
                return self._begin(asked.run)
            self._make(asked.run, asked.origin, asked.every)
        except KeyboardInterrupt:
            return "stopped", None
        except BaseException as error:
            return "failed", _sendable(error, _way(error))
        finally:
            self.busy = False
        return "done", None

    def _begin(self, run: Planned) -> tuple[str, Any]:
        try:
            run.begin()
        except BioplausError as error:  # what is asked for is wrong, not how it was carried out
            return "refused", _sendable(error)
        except Exception as error:
            return "refused", _sendable(error, _way(error))
        return "done", None

    def _make(self, made: Planned, origin: dict[str, Any], every: float) -> None:
        last = 0.0

        def report(event: Event) -> None:
            nonlocal last
            now = time.perf_counter()
            if event.kind != "update" or now - last >= _SHOWN_EVERY or event.update == event.updates:
                last = now
                with suppress(OSError):  # the parent is gone: `stop` sees it too
                    self.pipe.send(("event", event))

        made.make(origin, every, report, stop=self.stop)


def _way(error: BaseException) -> str:
    """The way that an error took here."""
    return "In the worker process:\n" + "".join(traceback.format_exception(error))


def _sendable(error: BaseException, *notes: str) -> BaseException:
    """The error with notes; in words, if it would not arrive whole."""
    for note in notes:
        error.add_note(note)
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        plain = RunError(f"A run failed in its worker process with {raised(error)}")
        plain.__notes__ = [*notes] or [_way(error)]
        return plain
    return error
