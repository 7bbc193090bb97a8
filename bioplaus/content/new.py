"""Making a study: the folder in which users keep their own models, circuits, experiments and runs."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from bioplaus.content.path import KINDS, MARK, shipped
from bioplaus.content.places import place
from bioplaus.errors import ContentError, unknown

TEMPLATE = Path(__file__).with_name("template")


class Study(NamedTuple):
    """A study that was just made."""

    folder: Path
    files: tuple[Path, ...]
    advice: str  # what to do next, for people


def new(path: str | Path, copy: Iterable[str] = ()) -> Study:
    """Make a study with one working model, circuit and experiment to start from.

    Parameters
    ----------
    path : str or Path
        A folder that does not exist yet, or is empty; missing folders above it are made too.
    copy : iterable of str
        Names of shipped models, circuits and experiments to copy into it; the copies shadow them there.

    Returns
    -------
    Study

    Raises
    ------
    ContentError
        If the path is taken or can't be written, or nothing of a name in `copy` ships. Nothing that exists is
        touched.
    """
    folder = place(ContentError, "The study's folder", path).resolve()
    sources = {file: file.relative_to(TEMPLATE) for file in sorted(TEMPLATE.rglob("*")) if _is_source(file)}
    sources |= {file: file.relative_to(shipped()) for file in _to_copy(copy)}
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            what = "a folder with something in it" if folder.is_dir() else "a file"
            raise ContentError(
                f"The study can't be made at {folder}: {what} is there already, and nothing is overwritten. "
                f"Name a folder that does not exist yet."
            )
        for source, inside in sources.items():
            (folder / inside).parent.mkdir(parents=True, exist_ok=True)
            (folder / inside).write_bytes(source.read_bytes())
    except OSError as error:
        raise ContentError(
            f"The study can't be made at {folder}: {error.strerror or error}. Name a folder that you may write to."
        ) from error
    return Study(folder, tuple(folder / inside for inside in sources.values()), _advice(folder))


def _is_source(file: Path) -> bool:
    return file.is_file() and file.suffix != ".pyc"


def _to_copy(names: Iterable[str]) -> list[Path]:
    """The shipped files of these names; one name may be that of a model and of a circuit, and means both."""
    there = [file for folder in KINDS.values() for file in sorted((shipped() / folder).glob("*.py"))]
    found = []
    for name in names:
        found += (files := [file for file in there if file.stem == name])
        if not files:
            raise ContentError(unknown("shipped model, circuit or experiment", name, {f.stem for f in there}))
    return found


def _advice(folder: Path) -> str:
    experiment = next((TEMPLATE / KINDS["experiment"]).glob("*.py")).stem
    return (
        f"Made the study {folder}; {MARK} marks it. From anywhere inside it, its files are found by name:\n"
        f"    cd {shlex.quote(str(folder))}\n"
        f"    bioplaus run {experiment}\n"
        f"A file here shadows the shipped one of the same name. "
        f"To change a shipped model for this study only, copy it:\n"
        f"    cp {shlex.quote(str(shipped() / 'models' / 'lif.py'))} models/lif.py"
    )
