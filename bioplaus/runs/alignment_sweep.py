"""All seeds of an alignment, and what they leave together.

::

    runs/compare-<task>-align/
        along_<driver>-s<seed>-<hash>/     one seed: a run's folder, with alignment.nc and credit.nc
        alignment.nc, credit.nc            all seeds, dimension ``seed``
        table.csv, table.md                mean ± s.e.m. over seeds
        experiment.json, figures/
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bioplaus.runs.alignment import Alignment, AlignmentJob, alignment_job
from bioplaus.runs.alignment_report import write_report
from bioplaus.runs.event import Report
from bioplaus.runs.experiment import check_seeds
from bioplaus.runs.lines import heard
from bioplaus.runs.loop import CHECKPOINT_EVERY, every_so_often
from bioplaus.runs.origin import origin_of
from bioplaus.runs.queue import Queue, planned, summed_up
from bioplaus.runs.usable import below, check_experiment


class AlignmentSweep:
    """Every seed of an alignment, ready to be measured; what cannot be measured was refused.

    Parameters
    ----------
    job : AlignmentJob
        What to measure.
    root : Path
        Where the folder `Alignment.name` lies.
    seeds : sequence of int
        Of weights, trials and random rules.
    workers : int
        Seeds at a time, each in a process with one torch thread.

    Raises
    ------
    BioplausError
        A rule cannot serve the circuit, a folder is damaged.
    """

    def __init__(self, job: AlignmentJob, *, root: Path | str = "runs", seeds: Sequence[int] = (0,), workers: int = 1):
        seeds = check_seeds(seeds)
        self.job, self.folder = job, below(root, job.config.name)
        check_experiment(self.folder)
        self.queue = Queue(planned({job.label: job}, seeds, self.folder), workers)

    def run(self, progress: Report | bool | None = None, checkpoint_every: float = CHECKPOINT_EVERY) -> Path:
        """Measure every seed that is not done, then write all of them together, the table and the figures.

        Parameters
        ----------
        progress : callable, optional
            Receives `Event` objects; lags count as updates after those of the driver.
        checkpoint_every : float
            Seconds between the checkpoints of each seed.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        RunError
            A folder is in use; a worker died.
        NumericalError
            A trajectory broke down; the other seeds are measured and saved.
        KeyboardInterrupt
            Asked to stop; all is saved.
        """
        report, origin = heard(progress), origin_of(self.job.config.name, self.job.config)
        failures = self.queue.run(origin, every_so_often(checkpoint_every), report)
        done = {each.seed: each.folder for each in self.queue.runs if each.folder not in failures}
        if done:
            write_report(self.folder, done, self.job.label, origin, report)
        error = summed_up(failures, len(self.queue.runs), self.folder)
        if error is not None:
            raise error
        return self.folder


def run_alignment(
    config: Alignment,
    *,
    root: Path | str = "runs",
    seeds: Sequence[int] = (0,),
    workers: int = 1,
    progress: Report | bool | None = None,
    checkpoint_every: float = CHECKPOINT_EVERY,
) -> Path:
    """Measure every seed of an alignment: `AlignmentSweep` made and run."""
    return AlignmentSweep(alignment_job(config), root=root, seeds=seeds, workers=workers).run(
        progress, checkpoint_every
    )
