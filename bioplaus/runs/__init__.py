"""Runs: what was asked for, what came of it, and carrying on where it stopped.

``train`` runs one arm, ``run_experiment`` several of them over several seeds; ``verify`` tells whether what they left is as it was. Each leaves a folder::

    runs/<experiment>/<arm>-s<seed>-<hash of configuration>/
        run.json        resolved configuration with units, content files and hashes, versions, git, machine, timing
        metrics.csv     one row an update
        recordings.nc   one test batch as the trained circuit saw it (NetCDF, xarray)
        checkpoint.pt   weights, optimiser, rule state, every random stream
        figures/        PDF, SVG, PNG
        log.txt         what happened when

Whatever is run is a job that begins a learner (`bioplaus.runs.learner`), and goes through one loop (`bioplaus.runs.loop`); an
alignment is another job than an arm, and leaves alignment.nc and credit.nc in the place of recordings.nc.

Nothing here imports torch, pandas or xarray before it is needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bioplaus.runs.arm import Arm as Arm
    from bioplaus.runs.compare import comparison as comparison
    from bioplaus.runs.experiment import Experiment as Experiment
    from bioplaus.runs.intact import verify as verify
    from bioplaus.runs.results import Results as Results
    from bioplaus.runs.run import Run as Run
    from bioplaus.runs.run import train as train
    from bioplaus.runs.sweep import run_experiment as run_experiment

_HOME = {
    "Arm": "arm",
    "Experiment": "experiment",
    "Results": "results",
    "Run": "run",
    "comparison": "compare",
    "run_experiment": "sweep",
    "train": "run",
    "verify": "intact",
}

__all__ = ["Arm", "Experiment", "Results", "Run", "comparison", "run_experiment", "train", "verify"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
