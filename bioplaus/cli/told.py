"""Whose study a command uses: said first, on standard error, so that tables in a pipe stay what they are."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OPTION = "--trust"
EXPLAINED = f"{OPTION}, anywhere in the command: use the study although a file of it belongs to another user, or everybody may write to it."


def tell_study() -> None:
    """The study in which names are looked for first; nothing outside of one. Of one that is not trusted a `StudyWarning` tells."""
    from bioplaus.content import trusted_study
    from bioplaus.content.path import VARIABLE
    from bioplaus.content.trust import shown

    found = trusted_study()
    if found is not None:
        named = f" (${VARIABLE})" if os.environ.get(VARIABLE) else ""
        print(f"study: {shown(_from_here(found))}{named}", file=sys.stderr, flush=True)


def _from_here(study: Path) -> Path:
    """Its path from the working directory, if it lies there or above."""
    here = Path.cwd()
    return Path(os.path.relpath(study, here)) if study in (here, *here.parents) or here in study.parents else study


@contextmanager
def trusting(words: list[str]) -> Iterator[list[str]]:
    """The words without ``--trust``; where it stood among them every study is trusted, by worker processes too."""
    from bioplaus.content.trust import VARIABLE

    rest = [word for word in words if word != OPTION]
    before = os.environ.get(VARIABLE)
    if rest != words:
        os.environ[VARIABLE] = "1"
    try:
        yield rest
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before
