"""The signals by which somebody asks to stop: Ctrl-C, a scheduler that takes its machine back, a terminal that is closed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

FROM_OUTSIDE = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Those that may be meant for one process; SIGINT goes to all of a terminal."""


def obeyed(number: int) -> bool:
    """Whether a signal is for us: one that ``nohup`` has switched off stays so."""
    return number != getattr(signal, "SIGHUP", None) or signal.getsignal(number) is not signal.SIG_IGN


@contextmanager
def answered(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Let `handler` answer SIGINT, SIGTERM and SIGHUP; in any thread but the main one nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [number for number in (signal.SIGINT, *FROM_OUTSIDE) if obeyed(number)]
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous if previous is not None else signal.SIG_DFL)


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """An answer: the same as Python's own to SIGINT."""
    raise KeyboardInterrupt
