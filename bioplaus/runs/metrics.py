"""``metrics.csv``: one row an update, appended as the run goes on, cut back to the checkpoint on resuming.

What is read is held against how it is written: the updates one after another from 1, in every row as many entries as there are
columns, every number as Python writes it. What was measured up to a checkpoint is known by its SHA-256, which the checkpoint has.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioplaus.errors import RunError
from bioplaus.runs.atomic import Unwritten, write_atomically, write_text, writing

if TYPE_CHECKING:
    import pandas

COLUMNS = ("update", "loss", "score", "rate", "seconds", "test_loss", "test_score")
"""Always there, in this order; whatever else is measured (``alignment``, …) follows as it first appears."""


class Rows:
    """The SHA-256 of what was measured in rows, one after another; columns that come later change nothing of it."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, columns: Sequence[str], entries: Sequence[str]) -> None:
        """The next row."""
        measured = (f"{name}={entry}" for name, entry in zip(columns, entries, strict=True) if entry)
        self._hash.update((",".join(measured) + "\n").encode())

    @property
    def sha256(self) -> str:
        """Of all rows so far."""
        return self._hash.hexdigest()


class MetricsFile:
    """Writes the rows of one run, once it has been told to `begin`; until then the file is only looked at.

    Parameters
    ----------
    path : Path
        The file, created when missing.
    keep : int
        Rows of later updates than this are dropped: they will be computed again.
    sha256 : str, optional
        What `Rows` says of those that are kept.

    Raises
    ------
    RunError
        If the file does not hold what the checkpoint that it is to continue from has behind it.
    """

    def __init__(self, path: Path, keep: int = 0, sha256: str | None = None):
        self.path = path
        self.columns, self.rows = list(COLUMNS), Rows()
        self._length = self._kept(keep, sha256) if path.exists() or keep else 0

    def begin(self) -> None:
        """Drop what is not kept, and open the file."""
        path, length = self.path, self._length
        if not length:
            write_text(path, ",".join(self.columns) + "\n")
        elif length < path.stat().st_size:
            write_atomically(path, lambda temporary: _copy(path, temporary, length))
        self._open()

    def _open(self) -> None:
        with writing(self.path):
            self.file = open(self.path, "a", newline="", encoding="utf-8")

    def _kept(self, keep: int, sha256: str | None) -> int:
        """Read what is kept; its length in bytes."""
        count = length = 0
        with _told(self.path):
            lines = lines_of(self.path, closed=False) if self.path.exists() else iter(())
            for count, entries in enumerate(islice(lines, keep + 1)):
                length += sum(len(entry.encode()) + 1 for entry in entries)
                if count == 0:
                    self.columns = entries
                else:
                    _ = [*map(_number, entries[1:])]
                    self.rows.add(self.columns, entries)
            if count < keep:
                raise ValueError(f"it holds {count} of the {keep} updates that the checkpoint beside it has behind it")
            if sha256 not in (None, self.rows.sha256):
                raise ValueError(f"its first {keep} rows are not those that the checkpoint beside it has behind it")
        return length

    def add(self, row: Mapping[str, Any]) -> None:
        """Append one update's measurements; a name seen for the first time becomes a column."""
        values = {key: float(value) for key, value in row.items() if value is not None}
        if new := [key for key in values if key not in self.columns]:
            self.close()
            self.columns += new
            write_atomically(self.path, lambda temporary: _widen(self.path, temporary, self.columns, len(new)))
            self._open()
        entries = [_text(key, values.get(key)) for key in self.columns]
        self.rows.add(self.columns, entries)
        with writing(self.path):
            self.file.write(",".join(entries) + "\n")

    def flush(self) -> None:
        """Force everything to the disk."""
        with writing(self.path):
            self.file.flush()
            os.fsync(self.file.fileno())

    def close(self) -> None:
        """Force everything to the disk and close; closed is closed, also where what was left can't be written any more."""
        if not self.file.closed:
            try:
                self.flush()
            except Unwritten:
                _cut_torn_line(self.path)
                raise
            finally:
                with writing(self.path):
                    self.file.close()


def _cut_torn_line(path: Path) -> None:
    """Leave whole lines only, where the disk had no room for the last one."""
    with suppress(OSError):
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)


def _copy(source: Path, target: Path, length: int) -> None:
    shutil.copyfile(source, target)
    os.truncate(target, length)


def _widen(source: Path, target: Path, columns: Sequence[str], more: int) -> None:
    """A copy with columns that are empty in all rows so far."""
    with open(source, encoding="utf-8", newline="") as old, open(target, "w", encoding="utf-8", newline="") as new:
        next(old)
        new.write(",".join(columns) + "\n")
        new.writelines(line[:-1] + "," * more + "\n" for line in old)


def _text(key: str, value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return str(int(value)) if key == "update" else repr(value)


def _number(entry: str) -> float:
    """What `_text` made an entry of."""
    if not entry:
        return math.nan
    value = float(entry)
    if repr(value) != entry:
        raise ValueError(f"it says {entry!r}, which is not how a number is written there")
    return value


def lines_of(path: Path, closed: bool) -> Iterator[list[str]]:
    """The names of the columns, then the entries of one row after another.

    Parameters
    ----------
    path : the file.
    closed : whether nobody is writing it; the last line may else be in the middle of being written, and is left out.

    Raises
    ------
    ValueError
        At the first line that bioplaus would not have written.
    """
    width = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file):
            if not line.endswith(b"\n"):
                if closed:
                    raise ValueError(f"its last line, {number + 1}, is cut short")
                return
            entries = line[:-1].decode("utf-8").split(",")
            if number == 0:
                width = len(entries)
                if tuple(entries[: len(COLUMNS)]) != COLUMNS or len(set(entries)) < width or not all(entries):
                    raise ValueError("its first line does not name the columns, each once")
            elif len(entries) != width:
                raise ValueError(f"line {number + 1} has {len(entries)} entries for {width} columns")
            elif entries[0] != str(number):
                raise ValueError(f"line {number + 1} is of update {entries[0][:20]!r}, where update {number} belongs")
            yield entries
    if closed and not width:
        raise ValueError("it is empty")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError) as error:
        raise RunError(
            f"{path} can't be used: {error}. Nothing was changed. Restore the file, or move the folder {path.parent} away to compute "
            "the run again."
        ) from error


def read_metrics(
    path: Path, *, closed: bool = False, rows: int | None = None, sha256: str | None = None
) -> pandas.DataFrame:
    """The table as far as it is written; NaN where something was not measured.

    Parameters
    ----------
    path : the file.
    closed : whether nobody is writing it.
    rows : so many it has, if it is closed, or at least.
    sha256 : what `Rows` says of these.

    Raises
    ------
    RunError
        If it is not as bioplaus wrote it.
    """
    import numpy as np
    import pandas

    if not path.exists() and sha256 is None:
        return pandas.DataFrame({column: [] for column in COLUMNS}, dtype=float)
    measured, count = Rows(), 0
    with _told(path):
        lines = lines_of(path, closed)
        names = next(lines, list(COLUMNS))
        # Not read_csv: in pandas 2 that is off by one in the last digit unless told otherwise, in pandas 4 it can't be told.
        columns = [array("d") for _ in names]
        for count, entries in enumerate(lines, 1):
            columns[0].append(count)
            for column, entry in zip(columns[1:], entries[1:], strict=True):
                column.append(_number(entry))
            if sha256 is not None and count <= (rows or 0):
                measured.add(names, entries)
        if rows is not None and (count < rows or (closed and count > rows)):
            raise ValueError(f"it holds {count} rows, and {rows} were written")
        if sha256 not in (None, measured.sha256):
            raise ValueError(f"its first {rows} rows are not those that the checkpoint beside it has behind it")
    table = {
        name: np.frombuffer(column) if column else np.array([]) for name, column in zip(names, columns, strict=True)
    }
    return pandas.DataFrame(table, columns=names, dtype=float).astype({"update": int})
