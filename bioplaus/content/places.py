"""Paths as people give them, and as they may stand in a record that travels: without the machine and its user."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bioplaus.content.path import PACKAGE, VARIABLE, study
from bioplaus.errors import BioplausError, cut

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
LONGEST = 255  # bytes of a name, in the file systems of Linux, macOS and Windows
ROOM = 55  # bytes of a name that are kept for what is put behind it
LONGEST_PATH = 4000  # bytes of a path  # chosen: 4096 is Linux's limit, and files of a run have room below it


def place(error: type[BioplausError], what: str, given: Any) -> Path:
    """A path as it was given, with ``~`` for the home folder of whoever runs this.

    Parameters
    ----------
    error : the class of error.
    what : what it is, for messages: ``"folder"``.

    Raises
    ------
    BioplausError
        If it is no path, or one that no file system takes.
    """
    try:
        text = os.fspath(given)
        if isinstance(text, bytes) or not text.strip() or _CONTROL.search(text):
            raise TypeError
        os.fsencode(text)  # half of a character
    except (TypeError, UnicodeEncodeError):
        raise error(
            f"{what} is {cut(repr(given))}; it must be a path on one line, such as 'runs/mine' or '~/runs/mine'."
        ) from None
    for name in Path(text).parts:
        if len(os.fsencode(name)) > LONGEST:
            raise error(
                f"{what} is too long: the name '{name[:20]}…' in it has {len(name)} letters, and a file system takes at most "
                f"{LONGEST} bytes. Give a shorter one."
            )
    if len(os.fsencode(text)) > LONGEST_PATH:
        raise error(
            f"{what} is too long: the path '{text[:20]}…' has {len(text)} letters, and a system takes less than {LONGEST_PATH} bytes. "
            "Give a shorter one."
        )
    try:
        return Path(text).expanduser()
    except RuntimeError:
        user = Path(text).parts[0]
        raise error(
            f"{what} is {text!r}, but nobody's home is known for {user!r}. Write the path in full, or './{text}' for a folder of that name."
        ) from None


def not_plain(name: Any) -> str:
    """Why a name does not make one file or folder where it is put, on every system; nothing where it does."""
    if isinstance(name, str) and not name.strip(" ."):
        return "neither it nor a part of it between slashes may be empty, or blanks and full stops alone"
    if not isinstance(name, str) or not name.isprintable() or name != name.strip(" ").rstrip("."):
        return "it must be text on one line, with neither blanks around it nor a full stop at its end"
    if strange := next((letter for letter in name if letter in '/\\:*?"<>|'), ""):
        return f"it must be free of {strange!r}, so that it stands for one place in the folder that is meant"
    if name[0] in "~-":
        return f"it must not begin with {name[0]!r}, which means something else in paths and options"
    if len(os.fsencode(name)) > LONGEST - ROOM:
        return f"it must have at most {LONGEST - ROOM} bytes, so that a file system takes it"
    return ""


def plain_name(error: type[BioplausError], what: str, name: Any) -> str:
    """The name of one file or folder, as it was given.

    Parameters
    ----------
    error : the class of error.
    what : what it is, for messages: ``"The name of a figure"``.

    Raises
    ------
    BioplausError
        If it is empty, leads elsewhere by a slash, or is none on some system.
    """
    if why := not_plain(name):
        raise error(f"{what} is {cut(repr(name))}; {why}.")
    return name


def impersonal(text: str, known: Mapping[str, str] | None = None) -> str:
    """A text without the folders that only this machine has: relative to the working directory, or from ``~``.

    Parameters
    ----------
    known : further folders, and what is written in their place.
    """
    roots = _roots() | dict(known or {})
    for root in sorted((root for root in roots if len(root) > 1), key=len, reverse=True):
        text = re.sub(rf"(?<![\w.~$-]){re.escape(root)}(?![\w.-])", lambda _, short=roots[root]: short, text)
    return text


def _roots() -> dict[str, str]:
    engine = PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").is_file() else PACKAGE
    roots = {str(engine): "bioplaus", sys.prefix: "python", sys.base_prefix: "python"}
    with suppress(RuntimeError):
        roots[str(Path.home())] = "~"
    with suppress(OSError, BioplausError):  # the working directory was deleted under us; the variable names no folder
        here = Path.cwd()
        if (own := study()) is not None:
            roots[str(own)] = os.path.relpath(own, here) if own in here.parents else f"${VARIABLE}"
        roots[str(here)] = "."
        if os.path.samefile(shell := os.environ.get("PWD", "."), here):
            roots[shell] = "."
    return roots
