"""What an experiment leaves beside its runs: table.csv, table.md, seeds.csv, experiment.json and figures/."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioplaus import late
from bioplaus.errors import RunError
from bioplaus.runs import provenance, records, seal
from bioplaus.runs.atomic import write_text
from bioplaus.runs.event import Event, Report, unheard
from bioplaus.runs.experiment import Experiment, Remarks
from bioplaus.runs.formats import FORMAT
from bioplaus.runs.results import Results

if TYPE_CHECKING:
    import pandas


def write_report(
    experiment: Experiment,
    results: Results,
    folder: Path,
    origin: dict[str, Any],
    report: Report = unheard,
    names: list[str] | None = None,
) -> list[Path]:
    """Write the table and draw the figures of what is finished.

    Parameters
    ----------
    experiment : Experiment
        Says how.
    results : Results
        The finished runs.
    folder : Path
        The experiment's folder.
    origin : dict
        What `bioplaus.runs.origin.origin_of` gave.
    report : callable
        Told of every figure (``"drawn"``), and of what could not be made because an arm was left out
        (``"note"``).
    names : list of str, optional
        Only these figures.

    Returns
    -------
    list of Path
        The figures' PDF files.
    """
    from bioplaus.figures.alone import alone

    with alone(folder, ".*.tmp.*"):
        _write_tables(experiment, results, folder, origin, report)
    return draw_figures(experiment, results, folder, report, names)


def _write_tables(
    experiment: Experiment, results: Results, folder: Path, origin: dict[str, Any], report: Report
) -> None:
    remarks = make_remarks(experiment, results)
    files = {}
    try:
        table = make_table(experiment, results)
        files = {"table.csv": table.to_csv(index=False), "table.md": page(table, remarks)}
        by_seed = results.by_seed() if experiment.by_seed is None else experiment.by_seed(results)
        files["seeds.csv"] = by_seed.to_csv(index=False)
    except RunError as error:
        report(Event("note", message=f"The table was not made: {error}"))
    record = {
        "title": experiment.title,
        **origin,
        "runs": {label: [run.folder.name for run in runs] for label, runs in results.items()},
        "warnings": list(remarks.warnings),
        "expected": experiment.expected,
        "references": list(experiment.references),
    }
    write_tables(folder, record, files)


def write_tables(folder: Path, said: Mapping[str, Any], tables: Mapping[str, str], data: Iterable[str] = ()) -> None:
    """Write ``experiment.json`` and the tables beside it, all of which it seals.

    Parameters
    ----------
    folder : the experiment's.
    said : what experiment.json says beside versions and command; ``runs``, label → names of their folders, among it.
    tables : name of a file → its text.
    data : names of files that lie there already.
    """
    files = seal.of_files(folder, data) | {name: seal.of_text(text) for name, text in tables.items()}
    runs = seal.of_files(folder, [f"{name}/run.json" for names in said["runs"].values() for name in names])
    record = {
        "format": FORMAT,
        **said,
        "versions": provenance.versions(),
        "command": provenance.command(),
        "seal": {"files": files, "runs": {name.partition("/")[0]: sha256 for name, sha256 in runs.items()}},
    }
    records.write(folder / "experiment.json", record)  # first: a table without it would be taken for somebody else's
    for name, text in tables.items():
        write_text(folder / name, text)


def draw_figures(
    experiment: Experiment,
    results: Results,
    folder: Path,
    report: Report = unheard,
    names: list[str] | None = None,
    into: Path | None = None,
) -> list[Path]:
    """Draw and save the experiment's own figures, in figures/ unless said; those that lack what they show are skipped with a note."""
    from bioplaus.figures import save

    late.withdraw("torch")  # matplotlib looks whether it is there, and at its tensors
    drawn = []
    for name, draw in experiment.figures.items():
        if names and name not in names:
            continue
        try:
            figure = draw(results)
        except RunError as error:
            report(Event("note", message=f"The figure {name!r} was not drawn: {error}"))
            continue
        where = (into or folder / "figures") / name
        drawn.append(save(figure, where, command=provenance.command(), drawn_by="the experiment")[".pdf"])
        report(Event("drawn", folder=str(drawn[-1])))
    return drawn


def make_table(experiment: Experiment, results: Results) -> pandas.DataFrame:
    """The experiment's own table, or the common one."""
    return experiment.table(results) if experiment.table else results.table()


def make_remarks(experiment: Experiment, results: Results) -> Remarks:
    """What the experiment says beside its table; nothing, if it says nothing."""
    own = experiment.remarks(results) if experiment.remarks else Remarks()
    return Remarks(own.about, (*own.warnings, *_of_runs(results)))


def _of_runs(results: Results) -> list[str]:
    """What runs say of their learning, the same of several seeds of an arm once."""
    found: dict[tuple[str, str], tuple[list[int], str]] = {}
    for label in results:
        for run in results[label]:
            for about, text in run.record.get("remarks", {}).items():
                found.setdefault((label, about), ([], text))[0].append(run.seed)
    return [_said(label, seeds, text) for (label, _), (seeds, text) in found.items()]


def _said(label: str, seeds: Sequence[int], text: str) -> str:
    if len(seeds) == 1:
        return f"{label}, seed {seeds[0]}: {text}"
    return f"{label}, seeds {', '.join(map(str, seeds))}, of which {seeds[0]}: {text}"


def page(table: pandas.DataFrame, remarks: Remarks) -> str:
    """A table as Markdown between what is said above it and the warnings below, a list of either."""
    above = "".join(f"* {line}\n" for line in remarks.about)
    below = "".join(f"* **Warning:** {line}\n" for line in remarks.warnings)
    return "\n".join(part for part in (above, markdown(table), below) if part)


def markdown(table: pandas.DataFrame) -> str:
    """A table as Markdown; numbers with four digits."""
    rows = [
        list(map(str, table.columns)),
        *([cell(value) for value in row] for row in table.itertuples(index=False)),
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def cell(value: Any) -> str:
    """One entry of a table as text."""
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4g}"
    return str(value)


def read_report(folder: Path) -> dict[str, Any]:
    """``experiment.json`` of an experiment's folder.

    Raises
    ------
    RunError
        If there is none, it is damaged, or was changed since it was written.
    """
    record = records.read_experiment(folder / "experiment.json")
    if record is None:
        raise RunError(
            f"{folder} is neither the folder of a run nor that of an experiment: it holds no "
            f"run.json and no experiment.json. Runs lie in runs/<experiment>/<arm>-s<seed>-<hash>; an experiment's folder is complete "
            "once one of its runs is done."
        )
    return record
