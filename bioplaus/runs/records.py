"""run.json and experiment.json: written with a seal, read strictly; nothing else opens them.

The seal of a record is the SHA-256 of all else that it says, and of the files that lie beside it as they were when it was written
(`bioplaus.runs.seal`). A record of format 3 has one; those of before have none, and are read with a remark.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bioplaus import checks
from bioplaus.content import not_plain
from bioplaus.errors import RunError, SealWarning, cut
from bioplaus.runs.atomic import write_text
from bioplaus.runs.formats import FORMAT, SEALED

CLOSED = ("done", "interrupted", "failed")
"""Status of a run at which nobody is, or was last, writing."""
LONGEST = 1000  # chosen: digits of a number; Python itself refuses to read some thousands


class _Name:
    """What a folder below this one is called."""

    wanted = "the name of a folder here"

    def plain(self, value: Any) -> str:
        if not_plain(value):
            raise checks.Unfit
        return value


_TEXT, _NAME, _COUNT, _ANY = checks.Text(), _Name(), checks.Whole(0), {}
_ORIGIN: dict[str, Any] = {
    "format": checks.Whole(1),
    "seal": {"sha256": _TEXT, "files": {"*": _TEXT}, "runs": {"*": _TEXT}},
    "experiment": (None, {"name": _TEXT, "config": _ANY}),
    "content": {"*": {"file": _TEXT, "sha256": _TEXT}},
    "versions": {"*": _TEXT},
    "command": _TEXT,
}
RUN: dict[str, Any] = _ORIGIN | {
    "label": _TEXT,
    "status": checks.Word(("running", *CLOSED)),
    "updates": _COUNT,
    "update": _COUNT,
    "config": {
        "seed": checks.SEED,
        "training": {"updates": _COUNT, "dtype": checks.Word(("float32", "float64"))},
    },
    "git": {"*": _ANY},
    "machine": _ANY,
    "timing": {
        "started": _TEXT,
        "finished": (None, _TEXT),
        "seconds": checks.Real(least=0),
        "cpu": (None, checks.Real(least=0)),
        "sittings": checks.Whole(1),
    },
    "remarks": {"*": _TEXT},
    "computed": {"*": _TEXT},
}
"""What run.json says. A constraint says what a value must be, a mapping what its parts must be (``*``: all others), a list its
items, a tuple that it may be None."""

EXPERIMENT: dict[str, Any] = _ORIGIN | {
    "title": _TEXT,
    "runs": {"*": [_NAME]},
    "warnings": [_TEXT],
    "expected": _TEXT,
    "references": [_TEXT],
}
"""What experiment.json says."""


def write(path: Path, record: Mapping[str, Any]) -> None:
    """Replace a record by one with its seal."""
    seal = {**record.get("seal", {}), "sha256": _digest(record)}
    write_text(path, json.dumps({**record, "seal": seal}, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_run(path: Path) -> dict[str, Any] | None:
    """``run.json``; None where there is none.

    Raises
    ------
    RunError
        If it is damaged, or was changed since it was written.
    """
    remedy = "Restore the file, or move the folder away to compute the run again"
    return _read(path, RUN, ("format", "status", "config", "config.seed"), remedy)


def read_experiment(path: Path) -> dict[str, Any] | None:
    """``experiment.json``; None where there is none.

    Raises
    ------
    RunError
        If it is damaged, or was changed since it was written.
    """
    return _read(path, EXPERIMENT, ("format", "runs"), "Run the experiment again: its finished runs are kept")


def _read(path: Path, kind: Mapping[str, Any], needed: Iterable[str], remedy: str) -> dict[str, Any] | None:
    try:
        text = path.read_bytes().decode("utf-8")
        if text.startswith("\ufeff"):
            raise ValueError("it begins with a byte order mark, which some editors put before a text")
        record = json.loads(
            text, object_pairs_hook=_once, parse_constant=_no_number, parse_float=_finite, parse_int=_whole
        )
        _hold(record, kind, "")
        for name in needed:
            _there(record, name)
        json.dumps(record, ensure_ascii=False).encode()  # half a letter, which nothing could print
        _check(record)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError, OSError) as error:
        raise RunError(f"{path} can't be read: {_said(error).rstrip('.')}. Nothing was changed. {remedy}.") from error
    if "seal" not in record:
        warnings.warn(_UNSEALED, SealWarning, stacklevel=4)
    return record


_UNSEALED = (
    "Folders of an earlier bioplaus are read here: they carry no seal, so that what was changed in them since can't be told, nor by "
    "which version of code of your own they were made. `bioplaus verify FOLDER` names them."
)


def _said(error: Exception) -> str:
    """What is wrong with a file, without the names that Python has for it."""
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 text, from byte {error.start + 1} on"
    if isinstance(error, UnicodeEncodeError):
        return f"it says {error.object[error.start]!r}, which is half of a character"
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON: {error.msg[:1].lower()}{error.msg[1:].removesuffix(' at')} at line {error.lineno}"
    if isinstance(error, RecursionError):
        return "its brackets lie too deep in one another"
    return str(getattr(error, "strerror", None) or error)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it says {max(names, key=names.count)!r} twice")
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"it says {text}, which is no number")


def _whole(text: str) -> int:
    if len(text) > LONGEST:
        raise ValueError(f"it says a number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(cut(text))


def _hold(value: Any, kind: Any, name: str) -> None:
    """Hold a value against what it must be."""
    if isinstance(kind, tuple):
        if value is not None:
            _hold(value, kind[1], name)
    elif isinstance(kind, dict):
        if not isinstance(value, dict):
            raise _unfit(value, name, "names with values")
        for key, part in value.items():
            if (wanted := kind.get(key, kind.get("*"))) is not None:
                _hold(part, wanted, f"{name}.{key}".lstrip("."))
    elif isinstance(kind, list):
        if not isinstance(value, list):
            raise _unfit(value, name, "a list")
        for i, part in enumerate(value):
            _hold(part, kind[0], f"{name}[{i}]")
    else:
        try:
            kind.plain(value)
        except checks.Unfit:
            raise _unfit(value, name, kind.wanted) from None


def _unfit(value: Any, name: str, wanted: str) -> ValueError:
    return ValueError(f"{repr(name) if name else 'what it holds'} is {checks.short(value)}; it must be {wanted}")


def _there(record: Mapping[str, Any], name: str) -> None:
    place: Any = record
    for part in name.split("."):
        if part not in place:
            raise ValueError(f"it does not say '{name}'")
        place = place[part]


def _check(record: Mapping[str, Any]) -> None:
    """Whether it says what it said when it was sealed."""
    if record["format"] > FORMAT:
        raise ValueError(f"its format is {record['format']}, and this bioplaus reads up to {FORMAT}")
    if "seal" not in record:
        if record["format"] >= SEALED:
            raise ValueError(
                "it carries no seal, as every record of its format does: it was changed since it was written"
            )
    elif record["seal"].get("sha256") != _digest(record):
        raise ValueError("it was changed since it was written, as its seal tells")


def _digest(record: Mapping[str, Any]) -> str:
    seal = {name: value for name, value in record.get("seal", {}).items() if name != "sha256"}
    text = json.dumps({**record, "seal": seal}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
