"""An experiment's folder read again."""

from __future__ import annotations

from pathlib import Path

from bioplaus.errors import RunError
from bioplaus.runs.experiment import Experiment
from bioplaus.runs.origin import remake
from bioplaus.runs.report import read_report
from bioplaus.runs.results import Results
from bioplaus.runs.run import Run


def reopen(folder: Path) -> tuple[Experiment | None, Results]:
    """The experiment, made anew if its file is still there, and its finished runs.

    Raises
    ------
    RunError
        If the folder is none, or no run in it is done.
    """
    record = read_report(folder)
    experiment = remake(record, folder)
    runs = {}
    for label, names in record["runs"].items():
        circuit = experiment.arms[label].circuit if experiment and label in experiment.arms else None
        runs[label] = [run for name in names if (run := Run.load(folder / name, circuit)).done]
    results = Results(runs)
    if not results:
        raise RunError(f"No run of the experiment in {folder} is done. It was made by: {record.get('command')}")
    return experiment, results
