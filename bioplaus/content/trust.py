"""Whose study it is: the files of a study are run, so those of somebody else, or that anybody may change, are not taken unasked.

As git does with its hooks: a folder above the working directory may have been put there by another user. A study is trusted that
``$BIOPLAUS_STUDY`` names, which whoever runs this has written; and one that ``$BIOPLAUS_TRUST`` names, or all where that is ``1``,
which ``--trust`` sets for one command and its worker processes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from bioplaus.errors import ContentError

VARIABLE = "BIOPLAUS_TRUST"


def check(study: Path, mark: str, folders: Iterable[str]) -> None:
    """Refuse a study of which a part belongs to somebody else or may be changed by everybody.

    Parameters
    ----------
    study : its folder.
    mark : the file that makes it one.
    folders : those whose files are run.

    Raises
    ------
    ContentError
        If it has such a part, and nobody has said that it is to be trusted.
    """
    if not hasattr(os, "geteuid") or trusted(study):
        return
    for part in _parts(study, mark, folders):
        if why := suspect(part):
            raise ContentError(
                f"The study {shown(study)} is not used: {shown(part)} {why}, and the Python files of a study are run. If you trust them, "
                f"give --trust with the command, or set {VARIABLE}=1, or to the path of this folder; else work outside of it, or correct who "
                "owns it and who may write to it."
            )


def trusted(study: Path) -> bool:
    """Whether somebody has said that a study is to be trusted; by a path in full, which means the same wherever one stands."""
    said = os.environ.get(VARIABLE, "")
    folders = map(os.path.expanduser, said.split(os.pathsep))
    return said == "1" or any(os.path.isabs(folder) and Path(folder).resolve() == study for folder in folders)


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
    """Whatever would let somebody else put a file among those that are run; what lies deeper is theirs who own the folder above."""
    yield study
    yield study / mark
    for folder in (study / name for name in folders):
        if folder.is_dir():
            yield folder
            with suppress(OSError):  # what can't be listed is not found either
                yield from folder.iterdir()
