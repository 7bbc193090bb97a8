"""Files that appear whole or not at all; and what is said where one can't be written."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bioplaus.errors import RunError


class Unwritten(RunError):
    """A file can't be written: the disk is full, or taken away."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Whatever keeps a file from being written, told with its name.

    Raises
    ------
    Unwritten
    """
    try:
        yield
    except OSError as error:
        raise Unwritten(
            f"{path} can't be written: {error.strerror or error}. What was saved before is as it was. Make room, or see that the "
            "folder can be written to; the same command or call then goes on from there."
        ) from error


def or_make_room(error: OSError) -> str:
    """What else helps where a disk is full."""
    return " Or make room there." if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, force it to the disk, then put it in its place.

    Raises
    ------
    Unwritten
        What was there before is as it was.
    """
    with writing(path):
        _replace(path, write)


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: some writers choose their format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # the new name itself lives in the folder
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
