"""Runs in spawned processes, each with one torch thread."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from bioplaus.codegen.threads import LIMIT, processors
from bioplaus.errors import BioplausError, NumericalError, RunError
from bioplaus.runs.asked import answered
from bioplaus.runs.ended import asked_to_go, interrupted, interruption, killed_for_memory, why
from bioplaus.runs.event import Event, Report, unheard
from bioplaus.runs.folder import InUse
from bioplaus.runs.script import pack, unseen
from bioplaus.runs.serve import Asked, serve
from bioplaus.runs.waiting import Left

if TYPE_CHECKING:
    from pathlib import Path

    from bioplaus.runs.queue import Planned

_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
_LOOK_EVERY = 0.1  # s between two looks at whether a signal came
_ENDING = 30.0  # s that a process may take to end once it has closed its pipe
_BOTH = 1.0  # s in which a signal that goes to all processes of a terminal has reached this one, too


def in_workers(
    runs: Sequence[Planned],
    first: Sequence[Planned],
    script: dict[str, str],
    origin: dict[str, Any],
    every: float,
    report: Report,
    workers: int,
) -> dict[Path, BioplausError]:
    """Make all runs; what broke down numerically is returned, folder → error.

    Parameters
    ----------
    first : sequence of Planned
        Those that have to be begun by a worker before any is made.
    script : dict
        What `bioplaus.runs.script.of_script` gave.
    every : float
        Seconds between the checkpoints of each run.

    Raises
    ------
    BioplausError
        What refuses the earliest of ``first``; nothing was run.
    RunError
        Something could not be run, or a worker died.
    KeyboardInterrupt
        SIGINT, SIGTERM or SIGHUP came; the workers have saved.
    """
    with _shared_out(workers), _asked_to_stop() as asked:
        crew = _Crew(runs, origin, every, report, script, lambda: len(asked))
        try:
            crew.run(workers, first)
        finally:
            crew.stop()
        if asked:
            raise interruption(interrupted(asked))
    return crew.failures


class _Worker:
    """One process, its pipe, and the run that it makes."""

    def __init__(self, script: dict[str, str]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, script))
        self.run: Planned | None = None
        self.gone = False
        resource_tracker.ensure_running()  # its own start would let the signal through
        try:
            with _held_back(signal.SIGINT), unseen():
                self.process.start()
        except (OSError, RuntimeError, AssertionError) as error:
            raise RunError(
                f"No worker process could be started: {error}. Give fewer workers, or leave them out: everything then happens in "
                "this process."
            ) from error
        finally:
            theirs.close()

    def heard(self) -> Iterator[tuple[str, Any]]:
        """All that it has said since the last time."""
        try:
            while not self.gone and self.pipe.poll():
                yield self.pipe.recv()
            if not self.process.is_alive() and not self.pipe.poll():  # a process of its own may hold the pipe open
                self.gone = True
        except (EOFError, OSError):  # it ended, perhaps in the middle of a word
            self.gone = True

    def send(self, words: bytes | None) -> None:
        with suppress(OSError):  # it ended: that is seen where it is listened to
            self.pipe.send(words)


class _Crew:
    """All workers and the runs that are left."""

    def __init__(
        self,
        runs: Sequence[Planned],
        origin: dict[str, Any],
        every: float,
        report: Report,
        script: dict[str, str],
        asked: Callable[[], int],
    ) -> None:
        self.left, self.origin, self.every, self.script = Left(runs, self._tell), origin, every, script
        self.report, self.asked = report, asked
        self.workers: list[_Worker] = []
        self.failures: dict[Path, BioplausError] = {}
        self.refused: dict[Path, BaseException] = {}
        self.killed_before = killed_for_memory()

    def run(self, workers: int, first: Sequence[Planned]) -> None:
        """Until every run is made, or one can't be, or somebody asks to stop; some are begun first."""
        for _ in range(workers):
            if not self.asked():
                self.workers.append(_Worker(self.script))
        # All begin to import before a long job waits for one of them to read it.
        self._begin(first)
        while not self.asked() and (self.left or any(worker.run for worker in self.workers)):
            for worker in self.workers:
                self._give(worker)
            self._listen()

    def _begin(self, first: Sequence[Planned]) -> None:
        """Have each of these begun by one worker.

        Raises
        ------
        BaseException
            What the earliest that can't be was refused with.
        """
        waiting = list(first)
        while not self.asked() and (waiting or any(worker.run for worker in self.workers)):
            for worker in self.workers:
                if worker.run is None and waiting:
                    self._ask(worker, Asked(waiting.pop(0)))
            self._listen()
            if self.refused:
                waiting.clear()  # those before the one that was refused are with a worker already
        for each in first:
            if each.folder in self.refused:
                raise self.refused[each.folder]

    def _give(self, worker: _Worker) -> None:
        if worker.run is None and (run := self.left.take()) is not None:
            self._ask(worker, Asked(run, self.origin, self.every))

    def _ask(self, worker: _Worker, asked: Asked) -> None:
        worker.run = asked.run
        worker.send(pack(f"The arm {asked.run.label!r}", asked, self.script))

    def _listen(self) -> None:
        pipes: list[Connection] = [worker.pipe for worker in self.workers if not worker.gone]
        wait(pipes, timeout=_LOOK_EVERY)  # a process that ends closes its pipe
        for worker in self.workers:
            for kind, content in worker.heard():
                if kind == "event":
                    self._tell(content)
                elif kind == "failed":
                    self._failed(content, worker)
                elif kind == "refused" and worker.run is not None:
                    self.refused[worker.run.folder], worker.run = content, None
                elif kind == "done":  # not "stopped": that one is on its way out
                    worker.run = None
            if worker.gone and (worker.run is not None or self.left):
                self._died(worker)

    def _tell(self, event: Event) -> None:
        try:
            self.report(event)
        except BaseException:
            self.report = unheard  # nothing more for who raises; the runs are still to be saved
            raise

    def _failed(self, error: BaseException, worker: _Worker) -> None:
        run, worker.run = worker.run, None
        if isinstance(error, InUse) and run is not None:
            self.left.put_back(run)
        elif isinstance(error, NumericalError) and run is not None:
            self.failures[run.folder] = error
        else:
            raise error

    def _died(self, worker: _Worker) -> None:
        worker.process.join(_ENDING)
        status = worker.process.exitcode
        if asked_to_go(status):
            end = time.monotonic() + _BOTH
            while not self.asked() and time.monotonic() < end:
                time.sleep(0.01)
            if self.asked():
                return
        run = f" while the run {worker.run.folder.name} was going" if worker.run else ""
        raise RunError(
            f"A worker process died{run}: it {why(status, self.killed_before)}. Finished runs and checkpoints are saved; give the "
            "same command again to go on."
        )

    def stop(self) -> None:
        """Ask all to save and end, and wait for them; a second SIGINT ends them at once."""
        for worker in self.workers:
            worker.send(None)
        failed = None
        while going := [worker for worker in self.workers if not worker.gone]:
            wait([worker.pipe for worker in going], timeout=_LOOK_EVERY)
            for worker in going:
                for kind, content in worker.heard():
                    try:
                        self._tell(content) if kind == "event" else None
                    except BaseException as error:  # whoever watches: all are to be saved and waited for all the same
                        failed = error
                if self.asked() > 1:
                    worker.process.kill()
        for worker in self.workers:
            worker.process.join()
            worker.pipe.close()
        if failed is not None:
            raise failed


@contextmanager
def _shared_out(workers: int) -> Iterator[None]:
    """One thread for libraries, which read these once, while they are imported: in the workers, not here any more; for loops, a share of the processors."""
    mine = dict.fromkeys(_ONE_THREAD, "1") | {LIMIT: str(max(1, processors() // workers))}
    before = {name: os.environ.get(name) for name in mine}
    os.environ.update(mine)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _held_back(number: int) -> Iterator[None]:
    """A signal that waits meanwhile, also in the process that is started: until that one has said what it does about it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _asked_to_stop() -> Iterator[list[int]]:
    """The signals that asked to save and stop; more than one only if one of them was a second SIGINT."""
    asked: list[int] = []

    def handler(number: int, frame: object) -> None:
        if not asked or number == signal.SIGINT:
            asked.append(number)

    with answered(handler):
        yield asked
