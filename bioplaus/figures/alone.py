"""One process at a time writes what several may write; what a killed one has left half done is cleared away."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a POSIX system: nothing then makes one wait for the other
    fcntl = None


@contextmanager
def alone(folder: Path, halves: str) -> Iterator[None]:
    """Hold a folder, made if need be; whoever else asks for it waits.

    Parameters
    ----------
    folder : Path
    halves : str
        A pattern of the names that files have until they are whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)  # the folder itself is locked: nothing more lies in it
    try:
        with suppress(OSError):  # a disk that knows no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
            for left in folder.glob(halves):
                left.unlink(missing_ok=True)
        yield
    finally:
        os.close(handle)
