"""``bioplaus figure FOLDER``: draw again from what a run or an experiment has saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bioplaus.cli import UsageError
from bioplaus.cli.options import choose, names_first, parse, wants_help
from bioplaus.cli.terminal import say

if TYPE_CHECKING:
    from bioplaus.runs.event import Event


@dataclass
class Options:
    """Draw again from saved data, into the folder's figures/ (PDF, SVG, PNG, the drawn data, the command).

    Of a run: learning (default), alignment, raster, trajectories, weights. Of an experiment: its own figures
    (default), or learning, alignment with every arm. Of rules along one trajectory (compare --mode align):
    alignment, pairwise, credit, by default all of them.
    """


def main(words: Sequence[str]) -> int:
    """Draw and say where it lies."""
    names, rest = names_first(words, "a folder and the name of a figure", "bioplaus figure", number=2)
    parse(Options, rest, "bioplaus figure FOLDER [FIGURE]")
    if not names and not wants_help(rest):
        raise UsageError("`bioplaus figure` needs the folder of a run or an experiment: bioplaus figure runs/NAME.")
    folder, name = Path(names[0]), names[1] if len(names) > 1 else None
    if not folder.is_dir():
        near = sorted(path.as_posix() for path in Path("runs").glob("*") if path.is_dir())
        raise UsageError(f"There is no folder {folder}. In runs/ there are: {', '.join(near) or 'none'}.")
    if (folder / "alignment.nc").exists():
        drawn = _of_alignment(folder, name)
    else:
        drawn = _of_run(folder, name) if (folder / "run.json").exists() else _of_experiment(folder, name)
    for file in drawn:
        say(str(file))
    return 0


def _of_alignment(folder: Path, name: str | None) -> list[Path]:
    from bioplaus.runs.alignment_report import FIGURES, draw_figures

    return draw_figures(folder, _remark, (choose("figure of an alignment", name, FIGURES),) if name else FIGURES)


def _of_run(folder: Path, name: str | None) -> list[Path]:
    from bioplaus.figures import save
    from bioplaus.runs import Run, provenance
    from bioplaus.runs.draw import OF_RUN

    name = choose("figure of a run", name or "learning", OF_RUN)
    figure = Run.load(folder).figure(name)
    return [save(figure, folder / "figures" / name, command=provenance.command())[".pdf"]]


def _of_experiment(folder: Path, name: str | None) -> list[Path]:
    from bioplaus.figures import save
    from bioplaus.runs import provenance
    from bioplaus.runs.draw import OF_RESULTS, draw
    from bioplaus.runs.reopen import reopen
    from bioplaus.runs.report import draw_figures

    experiment, results = reopen(folder)
    own = list(experiment.figures) if experiment else []
    if name is not None:
        choose("figure of this experiment", name, [*own, *OF_RESULTS])
    if name in OF_RESULTS and name not in own or not own:
        figure = name or "learning"
        return [save(draw(results, figure), folder / "figures" / figure, command=provenance.command())[".pdf"]]
    assert experiment is not None
    return draw_figures(experiment, results, folder, _remark, [name] if name else None)


def _remark(event: Event) -> None:
    if event.kind == "note":
        say(event.message)
