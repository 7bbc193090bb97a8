"""Whether folders of results are as bioplaus left them: every record, table, checkpoint and dataset below a folder, by its seal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bioplaus.errors import RunError
from bioplaus.figures import marks
from bioplaus.runs import records, seal
from bioplaus.runs.folder import RunFolder
from bioplaus.runs.formats import SEALED
from bioplaus.runs.reopen import other_runs
from bioplaus.runs.report import read_report
from bioplaus.runs.usable import folder_of


@dataclass(frozen=True)
class Finding:
    """What was found in the folder of a run or of an experiment.

    Attributes
    ----------
    folder : Path
    kind : str
        ``"run"`` or ``"experiment"``.
    status : str
        As run.json has it; of an experiment, how many runs its table is made of.
    faults : sequence of str
        What is not as it was written, each a paragraph.
    notes : sequence of str
        What can't be told, or is no fault, such as a figure that somebody has worked on, or a checkpoint deleted to save room.
    sealed : bool
        Whether it carries a seal. Of one without, what was changed since can't be told.
    """

    folder: Path
    kind: str
    status: str
    faults: Sequence[str]
    notes: Sequence[str]
    sealed: bool = True

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def verify(folder: Path | str) -> Iterator[Finding]:
    """Look at a folder and all below it; one finding for each run and each experiment, as they are looked at.

    Nothing is changed, and one fault does not hide the next.

    Parameters
    ----------
    folder : Path
        Of a run, of an experiment, or one that holds some, such as ``runs``.

    Raises
    ------
    RunError
        If there is neither run nor experiment in it.
    """
    folder = folder_of("The folder of results", folder)
    runs = sorted(file.parent for file in folder.rglob("run.json"))
    tables = {each.parent for each in runs if (each.parent / "table.csv").exists()}
    experiments = sorted({file.parent for file in folder.rglob("experiment.json")} | (tables - {folder.parent}))
    for look, folders in ((_experiment, experiments), (_run, runs)):
        yield from map(look, folders)
    if not runs and not experiments:
        raise RunError(
            f"{folder} holds nothing to verify: neither a run.json nor an experiment.json lies in it or below. Runs lie in "
            "runs/<experiment>/<arm>-s<seed>-<hash>."
        )


def _run(folder: Path) -> Finding:
    files = RunFolder(folder)
    faults: list[str] = []
    notes = _figures(folder)
    record = _tried(faults, files.record)
    if record is None:
        return Finding(folder, "run", "", faults, notes)
    faults += _changed(folder, record)
    missing = _missing(folder, record)
    spared = [name for name in missing if record["status"] == "done" and _may_go(files, name)]
    faults += [f"{folder / name} is missing." for name in missing if name not in spared]
    notes += [f"{folder / name} was deleted since, as may be done with a finished run" for name in spared]
    spoilt = seal.changed(folder, record)
    if files.metrics.name not in spoilt and (files.metrics.exists() or record["format"] >= SEALED):
        _tried(faults, files.read_metrics)
    if files.checkpoint.name not in spoilt:
        _tried(faults, files.load_checkpoint)
    if record["format"] < SEALED:
        for file in sorted(folder.glob("*.nc")):
            _tried(faults, partial(files.dataset, file.name))
    elif record["status"] not in records.CLOSED:
        notes.append("it is going, or was killed: only what lies behind its checkpoint can be told")
    return Finding(folder, "run", record["status"], list(dict.fromkeys(faults)), notes, record["format"] >= SEALED)


def _experiment(folder: Path) -> Finding:
    faults: list[str] = []
    notes = _figures(folder)
    record = _tried(faults, partial(read_report, folder))
    if record is None:
        return Finding(folder, "experiment", "", faults, notes)
    names = [name for some in record["runs"].values() for name in some]
    faults += _changed(folder, record)
    faults += [f"{folder / name} is missing." for name in _missing(folder, record)]
    faults += [
        f"{folder / name} is missing, of which the table is made." for name in names if not (folder / name).is_dir()
    ]
    faults += [
        f"{folder / name} is not the run of which the table was made: its run.json is another since."
        for name in other_runs(folder, record)
    ]
    return Finding(folder, "experiment", f"table of {len(names)} runs", faults, notes, record["format"] >= SEALED)


def _changed(folder: Path, record: Mapping[str, Any]) -> list[str]:
    return [f"{folder / name} {why}." for name, why in seal.changed(folder, record).items()]


def _missing(folder: Path, record: Mapping[str, Any]) -> list[str]:
    return [name for name in seal.of(record) if not (folder / name).exists()]


def _may_go(files: RunFolder, name: str) -> bool:
    """Whether a finished run can do without a file, which people delete to save room."""
    return name == files.checkpoint.name or name.endswith(".nc")


def _tried(faults: list[str], read: Callable[[], Any]) -> Any:
    try:
        return read()
    except RunError as error:
        faults.append(str(error))
        return None


def _figures(folder: Path) -> list[str]:
    """Figures that are not as they were drawn: no fault, for whoever works on one means to."""
    return [
        f"{folder / 'figures' / name} was changed since it was drawn"
        for file in sorted((folder / "figures").glob("*.json"))
        for name in marks.changed(file.with_suffix(""))
    ]
