"""Whether the files of a folder are those that were written there: their SHA-256, kept in the record beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bioplaus.errors import RunError

REMEDY = (
    "Put back the file as it was, from a copy; or move the folder away and give the command that made it again. "
    "`bioplaus verify FOLDER` looks at a whole folder of results."
)


AGAIN = "Run the experiment again: its finished runs are kept, and what is made of them is made anew."


def of_files(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of those files that are there, name → hash."""
    return {name: sha256(folder / name) for name in names if (folder / name).is_file()}


def sha256(file: Path) -> str:
    """Of a file's content."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def of_text(text: str) -> str:
    """SHA-256 of a file that will hold this text."""
    return hashlib.sha256(text.encode()).hexdigest()


def of(record: Mapping[str, Any] | None) -> Mapping[str, str]:
    """What a record says of the files beside it, name → SHA-256; nothing, if it has no seal or was written while they were."""
    return (record or {}).get("seal", {}).get("files", {})


def check(folder: Path, record: Mapping[str, Any] | None, *names: str, remedy: str = REMEDY) -> None:
    """Refuse files that are not what the record beside them says that they were; by default, all that it names.

    A file that is missing is not looked at, and of one that the record does not name nothing is known.

    Raises
    ------
    RunError
    """
    for name, why in changed(folder, record, *names).items():
        raise RunError(f"{folder / name} {why}. Nothing was changed. {remedy}")


def check_there(folder: Path, record: Mapping[str, Any] | None, *names: str) -> None:
    """Refuse that files are missing which the record names.

    Raises
    ------
    RunError
    """
    for name in names:
        if name in of(record) and not (folder / name).is_file():
            raise RunError(f"{folder / name} is missing, which lay there when {folder} was left. {REMEDY}")


def changed(folder: Path, record: Mapping[str, Any] | None, *names: str) -> dict[str, str]:
    """Of those files the ones that are not as the record says, with what is wrong."""
    return {
        name: "is not what was written there: it was changed since, as its SHA-256 tells"
        for name, said in of(record).items()
        if (not names or name in names) and (folder / name).exists() and _is_other(folder / name, said)
    }


def _is_other(file: Path, said: str) -> bool:
    return not file.is_file() or sha256(file) != said
