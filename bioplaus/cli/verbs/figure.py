"""``bioplaus figure FOLDER``: draw again from what a run or an experiment has saved."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bioplaus.cli import UsageError
from bioplaus.cli.options import check_dashed, choose, names_first, parse, wants_help
from bioplaus.cli.terminal import say
from bioplaus.cli.told import tell_study
from bioplaus.content import place, seen_from

if TYPE_CHECKING:
    from bioplaus.runs.event import Event


@dataclass
class Options:
    """Draw again from saved data, into the folder's figures/ (PDF, SVG, PNG, the drawn data, the command).

    Of a run: learning (default), alignment, raster, trajectories, weights. Of an experiment: its own figures
    (default), or learning, alignment with every arm. Of rules along one trajectory (compare --mode align):
    alignment, pairwise, credit, by default all of them.
    """

    out: str = ""
    """folder to draw into; figures/ in the folder itself by default"""


def main(words: Sequence[str]) -> int:
    """Draw and say where it lies."""
    _one_folder(words)
    names, rest = names_first(words, "a folder and the name of a figure", "bioplaus figure", number=2)
    if not names and not wants_help(rest):
        check_dashed(rest, Options, "bioplaus figure")
        raise UsageError(
            "`bioplaus figure` needs the folder of a run or an experiment, before any option: bioplaus figure runs/NAME."
        )
    given = parse(Options, rest, "bioplaus figure FOLDER [FIGURE]")
    folder, name = place(UsageError, "The folder", names[0]), names[1] if len(names) > 1 else None
    if not folder.is_dir():
        what = f"{folder} is a file, not the folder of a run" if folder.exists() else f"There is no folder {folder}"
        near = sorted(path.as_posix() for path in Path("runs").glob("*") if path.is_dir())
        raise UsageError(f"{what}. In runs/ there are: {', '.join(near) or 'none'}.")
    into = place(UsageError, "--out", given.out) if given.out else folder / "figures"
    with seen_from(folder):
        tell_study()
        if (folder / "alignment.nc").exists():
            drawn = _of_alignment(folder, name, into)
        else:
            drawn = (_of_run if (folder / "run.json").exists() else _of_experiment)(folder, name, into)
    for file in drawn:
        say(str(file))
    return 0


def _one_folder(words: Sequence[str]) -> None:
    """Refuse several folders, which a shell makes of ``runs/x/*-s0-*``.

    Raises
    ------
    UsageError
        Naming them.
    """
    end = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    if further := [word for word in words[1:end] if _is_saved(word)]:
        raise UsageError(
            f"`bioplaus figure` draws one folder at a time, and was given {1 + len(further)}: {', '.join((words[0], *further)[:3])}"
            f"{', …' if len(further) > 2 else ''}. Give one, and behind it the name of a figure."
        )


def _is_saved(word: str) -> bool:
    """Whether a word is a folder, and no figure's name that is also a folder's here."""
    own = ("run.json", "experiment.json", "alignment.nc")
    return os.path.isdir(word) and ("/" in word or any(Path(word, name).exists() for name in own))


def _of_alignment(folder: Path, name: str | None, into: Path) -> list[Path]:
    from bioplaus.runs.alignment_report import FIGURES, draw_figures

    names = (choose("figure of an alignment", name, FIGURES),) if name else FIGURES
    return draw_figures(folder, _remark, names, into)


def _of_run(folder: Path, name: str | None, into: Path) -> list[Path]:
    from bioplaus.runs import Run
    from bioplaus.runs.draw import OF_RUN
    from bioplaus.runs.standard import save_standard

    name = choose("figure of a run", name or "learning", OF_RUN)
    return [save_standard(Run.load(folder).figure(name), name, into, of_run=True)]


def _of_experiment(folder: Path, name: str | None, into: Path) -> list[Path]:
    from bioplaus.runs.draw import OF_RESULTS, draw
    from bioplaus.runs.reopen import reopen
    from bioplaus.runs.report import draw_figures
    from bioplaus.runs.standard import save_standard

    experiment, results = reopen(folder)
    own = list(experiment.figures) if experiment else []
    if name is not None:
        choose("figure of this experiment", name, list(dict.fromkeys((*own, *OF_RESULTS))))
    if name in OF_RESULTS and name not in own or not own:
        figure = name or "learning"
        return [save_standard(draw(results, figure), figure, into, of_run=False)]
    assert experiment is not None
    return draw_figures(experiment, results, folder, _remark, [name] if name else None, into)


def _remark(event: Event) -> None:
    if event.kind == "note":
        say(event.message)
