"""An experiment's folder read again."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bioplaus.errors import RunError, StudyWarning, UntrustedError
from bioplaus.runs import seal
from bioplaus.runs.experiment import Experiment
from bioplaus.runs.origin import remake
from bioplaus.runs.report import read_report
from bioplaus.runs.results import Results
from bioplaus.runs.run import Run


def reopen(folder: Path) -> tuple[Experiment | None, Results]:
    """The experiment, made anew if its file is still there and may be run, and its finished runs.

    Raises
    ------
    RunError
        If the folder is none, no run in it is done, or something in it was changed since it was written.
    """
    record = read_report(folder)
    check_runs(folder, record)
    experiment = _remade(record, folder)
    runs = {}
    for label, names in record["runs"].items():
        circuit = experiment.arms[label].circuit if experiment and label in experiment.arms else None
        runs[label] = [run for name in names if (run := Run.load(folder / name, circuit)).done]
    results = Results(runs)
    if not results:
        raise RunError(f"No run of the experiment in {folder} is done. It was made by: {record.get('command')}")
    return experiment, results


def _remade(record: Mapping[str, Any], folder: Path) -> Experiment | None:
    """The experiment; nothing, and a warning, where its file may not be run: what is saved can be drawn all the same."""
    try:
        return remake(record, folder)
    except UntrustedError:
        warnings.warn(
            f"The own figures of the experiment {record['experiment']['name']!r} are left out, for the code that draws them lies in a "
            "study that is not used. Set BIOPLAUS_TRUST, or give --trust with the command, to have them.",
            StudyWarning,
            stacklevel=3,
        )
        return None


def check_runs(folder: Path, record: Mapping[str, Any]) -> None:
    """Refuse runs that are not those of which the table of an experiment was made.

    Parameters
    ----------
    record : what experiment.json says.

    Raises
    ------
    RunError
    """
    for name in other_runs(folder, record):
        raise RunError(
            f"{folder / name} is not the run of which the table in {folder} was made: its run.json is another since. Nothing was "
            f"changed. Put back the folder as it was, or run the experiment again, which takes what is done and makes its table and "
            f"figures anew: {record.get('command')}"
        )


def other_runs(folder: Path, record: Mapping[str, Any]) -> list[str]:
    """The names of those runs."""
    said = record.get("seal", {}).get("runs", {})
    found = seal.of_files(folder, [f"{name}/run.json" for name in said])
    return [name for name, sha256 in said.items() if found.get(f"{name}/run.json", sha256) != sha256]
