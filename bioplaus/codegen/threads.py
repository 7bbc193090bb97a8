"""Loops on several threads: each takes a part of the samples or neurons, and computes every number as one thread would.

So results are the same to the last bit, however many there are. A loop that is done sooner than threads are woken stays on one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any
from weakref import WeakSet

#: how many threads a process may use at most, whatever is asked for: set for workers, which share the machine
LIMIT = "BIOPLAUS_THREADS"
#: operations for which a thread is woken  # chosen: some 0.5 ms, ten times what waking takes
GRAIN = 1_000_000

_asked: ContextVar[int] = ContextVar("threads", default=1)
#: loops that have run: the first time one is compiled, which no two threads should do
_known: WeakSet[Callable[..., Any]] = WeakSet()


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Inside, loops may take so many threads, or as many as they may outside, as far as there are processors for them."""
    before = _asked.set(max(number, _asked.get()))
    try:
        yield
    finally:
        _asked.reset(before)


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def allowed() -> int:
    """How many threads a loop may take now."""
    limit = os.environ.get(LIMIT, "")
    most = int(limit) if limit.isascii() and limit.isdigit() else processors()
    return max(1, min(_asked.get(), processors(), most))


def run(loop: Callable[..., Any], arguments: Sequence[Any], at: int, count: int, operations: float) -> None:
    """Call a loop for its parts 0 to ``count``, which stand at ``arguments[at]`` and the next place, or for some of them on every thread."""
    parts = 1 if _asked.get() == 1 else min(allowed(), count, max(1, int(operations / GRAIN)))
    if parts == 1 or loop not in _known:
        loop(*arguments)
        if loop not in _known:
            _known.add(loop)
        return
    before, after = tuple(arguments[:at]), tuple(arguments[at + 2 :])
    cuts = [count * i // parts for i in range(parts + 1)]
    others = [_pool().submit(loop, *before, *cut, *after) for cut in zip(cuts[1:], cuts[2:], strict=False)]
    try:
        loop(*before, *cuts[:2], *after)
    finally:
        for other in others:  # they write into the same arrays: nothing goes on before they are done
            other.result()


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(processors(), thread_name_prefix="loops")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked process has none of its parent's threads
