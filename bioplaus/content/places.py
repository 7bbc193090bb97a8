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
from bioplaus.errors import BioplausError

LONGEST = 255  # bytes of a name, in the file systems of Linux, macOS and Windows
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
        if isinstance(text, bytes) or not text.strip() or "\0" in text:
            raise TypeError
    except TypeError:
        raise error(f"{what} is {given!r}; it must be a path, such as 'runs/mine' or '~/runs/mine'.") from None
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
