"""Whose study it is: the files of a study are run, so those of somebody else, or that anybody may change, are not taken unasked.

As git does with its hooks: a folder above the working directory may have been put there by another user. Looked at are the study,
its mark, and the first `MOST` files and folders in its content folders, however deep, and where links lead. A study is trusted that
``$BIOPLAUS_STUDY`` names, which whoever runs this has written; and one that ``$BIOPLAUS_TRUST`` names, or all where that is ``1``,
which ``--trust`` sets for one command and its worker processes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

VARIABLE = "BIOPLAUS_TRUST"
MOST = 10_000  # chosen: more than any study has, and a tenth of a second


def doubt(study: Path, mark: str, folders: Iterable[str]) -> str:
    """Why the files of a study are not run, and what to do; nothing where they may be.

    Parameters
    ----------
    study : its folder.
    mark : the file that makes it one.
    folders : those whose files are run.
    """
    if not hasattr(os, "geteuid") or trusted(study):
        return ""
    for part in _parts(study, mark, folders):
        if why := suspect(part):
            return (
                f"The study {shown(study)} is not used: {shown(part)} {why}, and the Python files of a study are run. If you trust them, "
                f"set {VARIABLE} to the path of this folder in full (or to 1, for all), or give --trust with the command; else work outside "
                f"of it, or correct who owns it and who may write to it.{_overlooked()}"
            )
    return ""


def trusted(study: Path) -> bool:
    """Whether somebody has said that a study is to be trusted; by a path in full, which means the same wherever one stands."""
    return os.environ.get(VARIABLE) == "1" or any(
        os.path.isabs(folder) and Path(folder).resolve() == study for folder in _said()
    )


def _said() -> list[str]:
    return [os.path.expanduser(folder) for folder in os.environ.get(VARIABLE, "").split(os.pathsep) if folder]


def _overlooked() -> str:
    partial = [folder for folder in _said() if not os.path.isabs(folder)]
    return f" {VARIABLE} says {partial[0]!r}: a path counts there in full only, from its root on." if partial else ""


def suspect(path: Path) -> str:
    """Why a file or folder is not to be trusted; nothing where it is."""
    try:
        status = path.stat()  # of what a link leads to
    except OSError:
        return ""  # it can't be read, and so not be run
    if status.st_uid not in _ours():
        return f"belongs to {_called(status.st_uid)}, and neither to you nor to root"
    return "may be written to by everybody" if status.st_mode & stat.S_IWOTH else ""


def shown(path: Path) -> str:
    """A path in a message, where no letter of it can pass for something else."""
    return str(path) if str(path).isprintable() else repr(str(path))


def _ours() -> set[int]:
    """Who runs this, root, and who called root by ``sudo``."""
    me = os.geteuid()
    caller = os.environ.get("SUDO_UID", "") if me == 0 else ""
    return {me, 0, *([int(caller)] if caller.isdecimal() and len(caller) < 11 else [])}


def _called(uid: int) -> str:
    import pwd

    try:
        return f"the user {pwd.getpwuid(uid).pw_name!r}"
    except KeyError:
        return f"the user {uid}"


def _parts(study: Path, mark: str, folders: Iterable[str]) -> Iterator[Path]:
    """Whatever would let somebody else put a file among those that are run."""
    yield study
    yield study / mark
    yield from islice(_below([study / name for name in folders]), MOST)


def _below(folders: list[Path]) -> Iterator[Path]:
    """Folders that are there, and all in them; one to which several links lead once."""
    seen = set()
    while folders:
        folder = folders.pop()
        if folder.is_dir() and (real := folder.resolve()) not in seen:
            seen.add(real)
            yield folder
            with suppress(OSError):  # what can't be listed is not found either
                for each in sorted(folder.iterdir()):
                    if each.is_dir():
                        folders.append(each)
                    else:
                        yield each
