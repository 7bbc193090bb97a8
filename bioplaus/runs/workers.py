"""Runs in spawned processes, each with one torch thread."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from queue import Empty
from typing import TYPE_CHECKING, Any

from bioplaus.errors import BioplausError, NumericalError, RunError
from bioplaus.runs.event import Event, Report
from bioplaus.runs.loop import execute

if TYPE_CHECKING:
    from pathlib import Path

    from bioplaus.runs.queue import Planned

_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
_SHOWN_EVERY = 0.2  # s between the updates that a worker tells of  # chosen: smooth to the eye, cheap
_GRACE = 30.0  # s that a worker gets to save once whoever started it is gone

_stop: Any = None  # in a worker: the event by which all are asked to stop
_events: Any = None  # in a worker: where its Event objects go
_busy = threading.Event()  # in a worker: set while a run is going
_last = False  # in a worker: whether this run is its last


def in_workers(
    runs: Sequence[Planned], origin: dict[str, Any], every: float, report: Report, workers: int
) -> dict[Path, BioplausError]:
    """Make all runs; what broke down numerically is returned, folder → error.

    Raises
    ------
    RunError
        Something could not be run, or a worker died.
    KeyboardInterrupt
        SIGINT or SIGTERM came; the workers have saved.
    """
    context = multiprocessing.get_context("spawn")
    stop, events = context.Event(), context.Queue()
    failures: dict[Path, BioplausError] = {}
    with _single_threaded(), _signals_to(stop) as asked:
        pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(stop, events))
        waiting: dict[Future[None], Planned] = {}
        try:
            waiting = {pool.submit(_work, each, origin, every): each for each in runs}
            while waiting:
                _pass_on(events, report, timeout=0.1)
                for future in [future for future in waiting if future.done()]:
                    made = waiting.pop(future)
                    error = future.exception()
                    if isinstance(error, NumericalError):
                        failures[made.folder] = error
                    elif error is not None and not isinstance(error, KeyboardInterrupt):
                        raise _explained(error, made)
        finally:
            stop.set()
            for future in waiting:
                future.cancel()
            pool.shutdown(wait=True)
            _pass_on(events, report, timeout=0.05)
            events.close()
        if asked():
            raise KeyboardInterrupt("interrupted")
    return failures


def _explained(error: BaseException, made: Planned) -> BaseException:
    if isinstance(error, BrokenProcessPool):
        return RunError(
            f"A worker process died, most likely killed for want of memory, while runs like {made.folder.name} "
            "were going. Finished runs and checkpoints are saved; give the same command again, perhaps with "
            "fewer workers."
        )
    return error


def _pass_on(events: Any, report: Report, timeout: float) -> None:
    try:
        while True:
            report(events.get(timeout=timeout))
            timeout = 0.0
    except Empty:
        pass


def _begin(stop: Any, events: Any) -> None:
    """In a new worker: leave Ctrl-C to the parent, and don't outlive it."""
    global _stop, _events
    _stop, _events = stop, events
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminated)
    threading.Thread(target=_follow_parent, args=(stop,), daemon=True).start()


def _terminated(number: int, frame: object) -> None:
    """The pool ends its processes so when one of them has died; a run that is going is saved first."""
    global _last
    _last = True
    _stop.set()
    if not _busy.is_set():
        os._exit(1)


def _follow_parent(stop: Any) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        stop.set()
        end = time.monotonic() + _GRACE
        while _busy.is_set() and time.monotonic() < end:
            time.sleep(0.1)
        os._exit(1)


def _work(given: Planned, origin: dict[str, Any], every: float) -> None:
    last = 0.0

    def report(event: Event) -> None:
        nonlocal last
        now = time.perf_counter()
        if event.kind != "update" or now - last >= _SHOWN_EVERY or event.update == event.updates:
            last = now
            _events.put(event)

    if _stop.is_set():
        return
    _busy.set()
    try:
        execute(
            given.job,
            given.seed,
            given.folder,
            label=given.label,
            origin=origin,
            checkpoint_every=every,
            progress=report,
            stop=_stop.is_set,
        )
    finally:
        _busy.clear()
        if _last:
            os._exit(1)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Numerical libraries read these once, while they are imported: in the workers, not here any more."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _signals_to(stop: Any) -> Iterator[Callable[[], bool]]:
    """SIGINT and SIGTERM ask the workers to save and stop; this process waits for them."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def handler(number: int, frame: object) -> None:
        asked.append(number)
        stop.set()

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, previous in before.items():
            signal.signal(number, previous if previous is not None else signal.SIG_DFL)
