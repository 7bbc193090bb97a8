"""``metrics.csv``: one row an update, appended as the run goes on, cut back to the checkpoint on resuming."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioplaus.errors import RunError
from bioplaus.runs.folder import write_text, writing

if TYPE_CHECKING:
    import pandas

COLUMNS = ("update", "loss", "score", "rate", "seconds", "test_loss", "test_score")
"""Always there, in this order; whatever else is measured (``alignment``, …) follows as it first appears."""


class MetricsFile:
    """Writes the rows of one run.

    Parameters
    ----------
    path : Path
        The file, created when missing.
    keep : int
        Rows of later updates than this are dropped first: they will be computed again.

    Raises
    ------
    RunError
        If the file holds fewer rows than the checkpoint it is to continue from.
    """

    def __init__(self, path: Path, keep: int = 0):
        self.path = path
        self.columns = list(COLUMNS)
        rows: list[list[str]] = []
        if path.exists():
            with open(path, newline="", encoding="utf-8") as file:
                lines = [line for line in csv.reader(file) if line]
            if lines:
                self.columns = lines[0]
            # A row that was being written when the process was killed is short, and later than the
            # checkpoint.
            rows = [line for line in lines[1:] if len(line) == len(self.columns) and _update(line) <= keep]
        if len(rows) != keep:
            raise RunError(
                f"{path} holds {len(rows)} of the {keep} updates that the checkpoint beside it has behind "
                f"it. Nothing was changed. Restore the file, or move the folder {path.parent} away to "
                "compute the run again."
            )
        self._rewrite(rows)

    def _rewrite(self, rows: list[list[str]]) -> None:
        width = len(self.columns)
        text = "".join(",".join(row + [""] * (width - len(row))) + "\n" for row in [self.columns, *rows])
        if not self.path.exists() or self.path.read_text(encoding="utf-8") != text:
            write_text(self.path, text)
        with writing(self.path):
            self.file = open(self.path, "a", newline="", encoding="utf-8")

    def add(self, row: Mapping[str, Any]) -> None:
        """Append one update's measurements; a name seen for the first time becomes a column."""
        values = {key: float(value) for key, value in row.items() if value is not None}
        if new := [key for key in values if key not in self.columns]:
            self.close()
            with open(self.path, newline="", encoding="utf-8") as file:
                rows = list(csv.reader(file))[1:]
            self.columns += new
            self._rewrite(rows)
        values_text = [_text(key, values.get(key)) for key in self.columns]
        with writing(self.path):
            self.file.write(",".join(values_text) + "\n")

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
            finally:
                with writing(self.path):
                    self.file.close()


def _update(line: list[str]) -> float:
    return int(line[0]) if line[0].isdigit() else math.inf


def _text(key: str, value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return str(int(value)) if key == "update" else repr(value)


def read_metrics(path: Path) -> pandas.DataFrame:
    """The table as far as it is written; NaN where something was not measured."""
    import pandas

    if not path.exists():
        return pandas.DataFrame({column: [] for column in COLUMNS}, dtype=float)
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]  # the last line may be in the middle of being written
    columns, *rows = csv.reader(io.StringIO(whole))
    # Not read_csv: in pandas 2 that is off by one in the last digit unless told otherwise, in pandas 4 it
    # can't be told.
    values = [[float(entry) if entry else math.nan for entry in row] for row in rows]
    return pandas.DataFrame(values, columns=columns, dtype=float).astype({"update": int})
