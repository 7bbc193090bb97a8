"""Where content lies: the user's study first, then what shipped.

A study is the nearest ancestor of the working directory that holds ``bioplaus.toml``, or the folder that
``$BIOPLAUS_STUDY`` names (which wins). Both are looked up anew each time, so a script that changes directory,
and a worker process that starts in one, see the study they are in. The files of one that was found,
and belongs to somebody else, are not run (`bioplaus.content.trust`).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import overload

from bioplaus.content import trust
from bioplaus.errors import ContentError, StudyWarning

KINDS = {"model": "models", "circuit": "circuits", "experiment": "experiments"}  # kind → name of its folder
MARK = "bioplaus.toml"  # the file that makes a folder a study
VARIABLE = "BIOPLAUS_STUDY"
PACKAGE = Path(__file__).resolve().parents[1]

_here: ContextVar[Path | None] = ContextVar("where one stands instead of in the working directory", default=None)


def study() -> Path | None:
    """The user's study folder, or None outside of one.

    Raises
    ------
    ContentError
        If ``$BIOPLAUS_STUDY`` names something that is not a folder.

    See Also
    --------
    trusted_study : whether its files may be run.
    """
    named = os.environ.get(VARIABLE)
    if named:
        folder = Path(named).expanduser().resolve()
        if not folder.is_dir():
            raise ContentError(
                f"${VARIABLE} is set to {named!r}, which is not a folder (looked at {folder}). Set it to a "
                f"study folder, make one there with `bioplaus new {named}`, or unset it to use the nearest "
                f"folder above the working directory that holds {MARK}."
            )
        return folder
    try:
        here = _here.get() or Path.cwd()
    except FileNotFoundError:  # the working directory was deleted under us
        return None
    return study_of(here)


def withheld() -> str:
    """Why the study's files are not run, and what to do: it was not named but found, and belongs to somebody else, or anybody may
    write to it. Nothing where they are, and outside of one.
    """
    found = study()
    return "" if found is None or os.environ.get(VARIABLE) else trust.doubt(found, MARK, KINDS.values())


def trusted_study() -> Path | None:
    """The study whose files may be run, or None outside of one. One that is `withheld` is passed over with a `StudyWarning`.

    Raises
    ------
    ContentError
        As `study` does.
    """
    if why := withheld():
        warnings.warn(
            f"{why} Names mean what shipped with bioplaus, and one that the study has is refused.",
            StudyWarning,
            stacklevel=1,  # from one place, so that it is said once
        )
        return None
    return study()


def study_of(place: Path) -> Path | None:
    """The study that a folder lies in."""
    return next((folder for folder in (place, *place.parents) if (folder / MARK).is_file()), None)


@contextmanager
def seen_from(folder: Path) -> Iterator[None]:
    """What a run's folder means by a name: the study is that in which the folder lies, if it lies in one."""
    place = Path(folder).resolve()
    token = _here.set(place if study_of(place) else _here.get())
    try:
        yield
    finally:
        _here.reset(token)


def shipped() -> Path:
    """The folder that holds the shipped models/, circuits/ and experiments/.

    A wheel carries them in ``bioplaus/_shipped``; an editable install reads the checkout around the package.

    Raises
    ------
    ContentError
        If neither is there: the package was copied without its content.
    """
    checkout = PACKAGE.parent
    if (PACKAGE / "_shipped").is_dir():
        return PACKAGE / "_shipped"
    if (checkout / "pyproject.toml").is_file():  # else a stranger's `models` in site-packages would do
        return checkout
    raise ContentError(
        f"The shipped models, circuits and experiments are missing: neither {PACKAGE / '_shipped'} nor a "
        f"checkout at {checkout} is there. Install bioplaus with `pip install` from its folder or wheel "
        f"instead of copying the package."
    )


class SearchPath(Sequence[str]):
    """The folders that one kind of content is looked for in; serves as the ``__path__`` of its package.

    Python's import system iterates over a package's ``__path__`` at each import, so computing it then is all
    that is needed for content to be ordinary modules that follow the user from study to study.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def _current(self) -> list[str]:
        roots = [root for root in (trusted_study(), shipped()) if root is not None]
        return list(dict.fromkeys(str(root / self.folder) for root in roots))

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self._current()[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._current())

    def __len__(self) -> int:
        return len(self._current())

    def __repr__(self) -> str:
        return f"SearchPath({self._current()})"
