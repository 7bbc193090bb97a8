"""Saving the standard figures of runs, which never take the place of an experiment's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bioplaus.errors import RunError
from bioplaus.runs import provenance

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_standard(figure: Figure, name: str, into: Path, of_run: bool) -> Path:
    """Save one of the figures that `bioplaus.runs.draw` makes.

    Parameters
    ----------
    name : of the figure.
    into : the folder for it.
    of_run : whether that is the folder of a run, whose figures were all drawn by ``bioplaus figure`` before they said so.

    Returns
    -------
    Path
        The PDF file.

    Raises
    ------
    RunError
        If a figure of that name is there which something else has drawn.
    """
    from bioplaus.figures import marks, save

    stem = into / name
    there = [file for suffix in (".pdf", ".svg", ".png") if (file := into / f"{name}{suffix}").exists()]
    before = marks.drawn(stem) or {}
    unsaid = of_run and str(before.get("command")).startswith("bioplaus figure ")
    if there and before.get("drawn_by", marks.STANDARD if unsaid else None) != marks.STANDARD:
        raise RunError(
            f"The standard figure {name!r} was not saved: {there[0]} is one that the experiment itself or a script has drawn, and is "
            "not replaced. Give --out FOLDER to draw the standard one elsewhere; the experiment draws its own again where its file "
            "is found, such as inside its study."
        )
    return save(figure, stem, command=provenance.command(), drawn_by=marks.STANDARD)[".pdf"]
