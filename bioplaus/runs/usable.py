"""Whether a folder can hold what is going to be computed; asked before anything is, and answered without a trace."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bioplaus.content import not_plain, place
from bioplaus.errors import RunError, cut
from bioplaus.runs.atomic import or_make_room
from bioplaus.runs.folder import RunFolder
from bioplaus.runs.metrics import COLUMNS

ELSEWHERE = "Give another folder: folder=… or root=… in a script, --root … at the command line."


def check_run(files: RunFolder, left: Iterable[str]) -> None:
    """Refuse a folder in which a run can't be recorded, or in which lies what no run has left.

    Parameters
    ----------
    files : RunFolder
    left : names of the files, beside the usual ones, that a finished run leaves.

    Raises
    ------
    RunError
    """
    check_writable(files.path)
    # Of these a run writes none before its run.json, which is looked for last: another process may be writing them now.
    strange = [name for name in (files.log_file.name, *left) if (files.path / name).exists()]
    if files.metrics.exists() and not files.metrics.read_bytes().startswith(",".join(COLUMNS).encode()):
        strange.insert(0, files.metrics.name)
    if strange and not files.record_file.exists() and not files.checkpoint.exists():
        raise RunError(
            f"The folder {files.path} holds {' and '.join(strange)} and no run.json: no run of bioplaus has left it so, and nothing "
            f"is overwritten. {ELSEWHERE}"
        )


def check_experiment(folder: Path) -> None:
    """Refuse a folder that can't hold an experiment's table, or holds one that no experiment has left.

    Raises
    ------
    RunError
    """
    check_writable(folder)
    strange = [name for name in ("table.csv", "table.md") if (folder / name).exists()]
    if strange and not (folder / "experiment.json").exists():
        raise RunError(
            f"The folder {folder} holds {' and '.join(strange)} and no experiment.json: no experiment of bioplaus has left it so, and "
            f"nothing is overwritten. {ELSEWHERE}"
        )


def check_writable(folder: Path) -> None:
    """Refuse a folder that can't be made or written to. Tried in the nearest folder that exists, and removed again.

    Raises
    ------
    RunError
    """
    there = folder
    try:
        there = next(each for each in (folder, *folder.parents) if _is_there(each))
        if not there.is_dir():
            what = "a link that leads nowhere" if there.is_symlink() and not there.exists() else "not a folder"
            raise RunError(f"The folder {folder} can't be used: {there} is {what}. Nothing was computed. {ELSEWHERE}")
        with tempfile.TemporaryFile(
            dir=there, buffering=0
        ) as tried:  # without a name: whatever happens, nothing is left
            tried.write(b"tried")
    except OSError as error:
        raise RunError(
            f"The folder {folder} can't be used: nothing can be written in {there} ({error.strerror or error}). Nothing was computed. "
            f"{ELSEWHERE}{or_make_room(error)}"
        ) from error


def _is_there(path: Path) -> bool:
    """Like `os.path.lexists`, but what can't be looked up at all is said."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):  # below a file: the file itself is found next
        return False
    return True


def folder_of(what: str, given: Any) -> Path:
    """A folder as it was given, ``~`` expanded.

    Raises
    ------
    RunError
        If it is no path.
    """
    return place(RunError, what, given)


def below(root: Any, name: Any) -> Path:
    """The folder of an experiment.

    Raises
    ------
    RunError
        If the root is no path, or the name no name of a folder below it.
    """
    parts = name.split("/") if isinstance(name, str) else [name]
    if why := next(filter(None, map(not_plain, parts)), ""):
        raise RunError(
            f"The name of an experiment is {cut(repr(name))}; it must be that of a folder below root={cut(str(root))!r}, such as "
            f"'my_experiment': {why}."
        )
    return folder_of("The folder of an experiment", folder_of("root", root) / name)
