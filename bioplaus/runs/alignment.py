"""Rules along one trajectory, seed by seed: what ``bioplaus compare TASK --mode align`` measures and keeps.

::

    runs/compare-<task>-align/
        along_<driver>-s<seed>-<hash>/     alignment.nc, credit.nc, run.json, log.txt: one seed
        alignment.nc, credit.nc            all seeds, dimension ``seed``
        table.csv, table.md                mean ± s.e.m. over seeds
        experiment.json, figures/

A seed is written when it is finished; an interrupted one begins anew.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioplaus.errors import BioplausError, NumericalError, RunError
from bioplaus.runs import provenance
from bioplaus.runs.compare import Comparison, comparison
from bioplaus.runs.config import folder_name, plain
from bioplaus.runs.experiment import Arm, check_seeds
from bioplaus.runs.folder import FORMAT, RunFolder, write_atomically
from bioplaus.runs.loop import CHECKPOINT_EVERY, Event, interruptible, is_done, save_netcdf
from bioplaus.runs.sweep import origin_of
from bioplaus.threads import threads_limited

if TYPE_CHECKING:
    from bioplaus.circuit import Circuit
    from bioplaus.measure.along import Along
    from bioplaus.rules import Rule
    from bioplaus.tasks import Task
    from bioplaus.training import Training

SUFFIX = "-align"
DRAWS = 8  # chosen: the bias of a rule with random numbers to a third of its scatter, at eight times the cost


@dataclass(frozen=True)
class Alignment:
    """What is measured of a comparison's rules; the first drives.

    ``draws``: gradients that a rule with random numbers draws at every measurement. ``lags``: of the credit after the last
    update; none: as `bioplaus.measure.reach` chooses.
    """

    comparison: Comparison
    draws: int = DRAWS
    lags: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Name of the folder in which its seeds lie."""
        return self.comparison.name + SUFFIX


@dataclass(frozen=True)
class Plan:
    """One trajectory and what is measured along it, for any seed."""

    circuit: Circuit
    task: Task
    rules: Mapping[str, Rule]
    training: Training
    every: int
    draws: int
    lags: tuple[int, ...]

    @property
    def label(self) -> str:
        """``along bptt``."""
        return f"along {next(iter(self.rules))}"

    def resolve(self, seed: int) -> dict[str, Any]:
        """Everything that decides what is measured, as plain data."""
        parts = {
            name: getattr(self, name) for name in ("circuit", "task", "rules", "training", "every", "draws", "lags")
        }
        # Through JSON and back, so that it compares equal to what a run.json gives.
        return json.loads(json.dumps({key: plain(value, key) for key, value in parts.items()} | {"seed": seed}))

    def begin(self, seed: int) -> Along:
        """Driver and riders at their first update."""
        from bioplaus.measure.along import Along, check_counts

        check_counts(self.training.updates, self.every, self.draws)
        return Along(self.circuit, self.task, self.rules, self.training, seed)

    def reach(self, along: Along) -> Any:
        """The credit where they stand, still to be measured."""
        from bioplaus.measure.reach import DRAWS as MANY
        from bioplaus.measure.reach import Reach

        return Reach(along, self.lags or None, self.draws or MANY)

    def length(self, seed: int) -> int:
        """Updates and lags of one seed; what cannot be measured is refused here, before anything runs.

        Raises
        ------
        BioplausError
            If a rule cannot serve the circuit, or a number makes no sense.
        """
        return int(self.training.updates) + len(self.reach(self.begin(seed)).lags)


def plan(config: Alignment) -> Plan:
    """Make circuit, task, rules and training as `comparison` does.

    Raises
    ------
    BioplausError
        The task, circuit, model or a rule is unknown, or a test on the way is asked for, of which there are none.
    """
    setting = config.comparison.setting
    if setting.evaluate_every:
        raise RunError(
            f"evaluate_every is {setting.evaluate_every}, but rules along one trajectory are not tested on the way: they have "
            "one circuit between them. Leave it out."
        )
    arms: Mapping[str, Arm] = comparison(config.comparison).arms
    first = next(iter(arms.values()))
    rules = {label: arm.rule for label, arm in arms.items()}
    training = replace(first.training, align_every=0)  # measured here
    return Plan(first.circuit, first.task, rules, training, setting.align_every or 1, config.draws, config.lags)


def run_alignment(
    config: Alignment,
    *,
    root: Path | str = "runs",
    seeds: Sequence[int] = (0,),
    workers: int = 1,
    progress: Callable[[Event], None] | None = None,
) -> Path:
    """Measure every seed that is not done, then write all of them together, the table and the figures.

    Parameters
    ----------
    config : Alignment
        What to measure.
    root : Path
        Where the folder `Alignment.name` lies.
    seeds : sequence of int
        Of weights, trials and random rules.
    workers : int
        Seeds at a time, each in a process with one torch thread.
    progress : callable, optional
        Receives `Event` objects; a seed counts updates and then lags.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    BioplausError
        A rule cannot serve the circuit, a folder is in use or damaged; nothing was measured.
    NumericalError
        A trajectory broke down; the other seeds are measured and saved.
    KeyboardInterrupt
        Asked to stop; finished seeds are saved.
    """
    from bioplaus.runs.alignment_report import write_report

    check_seeds(seeds)
    if workers < 1:
        raise RunError(f"{workers} workers can't run anything: give 1 or more.")
    work = plan(config)
    folder, report = Path(root, config.name), progress or (lambda event: None)
    places = {seed: folder / folder_name(work.label, seed, work.resolve(seed)) for seed in seeds}
    if not all(finished(place, work.resolve(seed)) for seed, place in places.items()):
        work.length(seeds[0])
    origin = origin_of(config.name, config)
    jobs: list[Any] = [(work.label, work, seed, place) for seed, place in places.items()]
    if workers == 1 or len(jobs) == 1:
        failures: dict[str, BioplausError] = {}
        for label, each, seed, place in jobs:
            try:
                execute(each, seed, place, label=label, origin=origin, progress=report)
            except NumericalError as error:
                failures[place.name] = error
    else:
        from bioplaus.runs.workers import in_workers

        failures = in_workers(jobs, origin, CHECKPOINT_EVERY, report, min(workers, len(jobs)), work=execute)
    done = {seed: place for seed, place in places.items() if place.name not in failures}
    if done:
        write_report(folder, done, work.label, origin, report)
    if failures:
        error = next(iter(failures.values()))
        kept = f" The other {len(done)} of {len(jobs)} seeds are done and saved in {folder}." if done else ""
        raise type(error)(f"{error}{kept}") from error
    return folder


def finished(place: Path, config: dict[str, Any]) -> bool:
    """Whether a folder holds all of a seed's measurements.

    Raises
    ------
    RunError
        If it holds those of another configuration.
    """
    return is_done(RunFolder(place), config) and all((place / name).exists() for name in ("alignment.nc", "credit.nc"))


def execute(
    plan: Plan,
    seed: int,
    folder: Path,
    *,
    label: str = "along",
    origin: dict[str, Any] | None = None,
    checkpoint_every: float = CHECKPOINT_EVERY,
    progress: Callable[[Event], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> None:
    """Measure one seed in ``folder``; return at once if it is done. There are no checkpoints.

    Raises
    ------
    RunError
        The folder belongs to another configuration or another process.
    NumericalError
        The trajectory broke down.
    KeyboardInterrupt
        Asked to stop; nothing of this seed is kept.
    """
    config, files, report = plan.resolve(seed), RunFolder(folder), progress or (lambda event: None)
    with threads_limited(1), interruptible(stop) as stopped:
        if _found(plan, seed, folder, label, report):
            return
        total = plan.length(seed)  # before the folder: what cannot be measured leaves nothing behind
        with files.locked():
            if _found(plan, seed, folder, label, report):  # another process may have finished it meanwhile
                return
            sitting = _Sitting(plan, seed, files, label, total, report, stopped)
            sitting.run(config, origin or {})


class _Sitting:
    """One seed from its first update to its last lag, in a folder that this process holds."""

    def __init__(
        self,
        plan: Plan,
        seed: int,
        files: RunFolder,
        label: str,
        total: int,
        report: Callable[[Event], None],
        stopped: Callable[[], bool],
    ) -> None:
        self.plan, self.seed, self.files, self.label, self.total = plan, seed, files, label, total
        self.report, self.stopped = report, stopped
        self.step = 0

    def run(self, config: dict[str, Any], origin: dict[str, Any]) -> None:
        began, started = time.perf_counter(), datetime.now().isoformat(timespec="seconds")
        along = self.plan.begin(self.seed)
        record = {
            "format": FORMAT,
            "label": self.label,
            "status": "running",
            **origin,
            "config": config,
            "versions": provenance.versions(),
            "git": provenance.git(),
            "machine": provenance.machine(self.plan.training.device),
            "command": provenance.command(),
            "timing": {"started": started, "finished": None, "seconds": 0.0, "sittings": 1},
        }

        def close(status: str, message: str) -> None:
            record["status"], record["update"] = status, along.driver.update_index
            finish = {"finished": datetime.now().isoformat(timespec="seconds"), "seconds": time.perf_counter() - began}
            record["timing"] |= finish
            self.files.log(message)
            self.files.write_record(record)
            self._tell(status, message=message)

        self.files.write_record(record)
        self.files.log(f"started: {record['command']}")
        weights = sum(weight.numel() for weight in along.driver.network.weights.values())
        self._tell("start", {"config": config, "weights": weights})
        try:
            self._measure(along)
        except NumericalError as error:
            close("failed", str(error))
            raise
        except KeyboardInterrupt:
            close(
                "interrupted",
                f"interrupted at step {self.step} of {self.total}; the same command begins this seed anew",
            )
            raise
        except BaseException as error:
            close("failed", "".join(traceback.format_exception(error)).rstrip())
            raise
        close("done", f"done after {time.perf_counter() - began:.1f} s")

    def _measure(self, along: Along) -> None:
        plan = self.plan
        for row in along.go(plan.training.updates, plan.every, plan.draws):
            self._advance(row)
        reach = plan.reach(along)
        for _ in reach.go():
            self._advance({})
        for name, dataset in (("alignment.nc", along.dataset()), ("credit.nc", reach.dataset())):
            write_netcdf(dataset, self.files.path / name)

    def _advance(self, row: dict[str, Any]) -> None:
        self.step += 1
        self._tell("update", row)
        if self.stopped():
            raise KeyboardInterrupt(f"interrupted at step {self.step}")

    def _tell(self, kind: str, row: dict[str, Any] | None = None, message: str = "") -> None:
        place = str(self.files.path)
        self.report(Event(kind, self.label, self.seed, place, self.step, self.total, row or {}, message))


def write_netcdf(dataset: Any, path: Path) -> None:
    """A dataset as NetCDF, atomically."""
    write_atomically(path, lambda temporary: save_netcdf(dataset, temporary))


def read_netcdf(path: Path) -> Any:
    """A dataset from NetCDF, all of it.

    Raises
    ------
    RunError
        If the file is missing or damaged.
    """
    import xarray

    try:
        return xarray.load_dataset(path, engine="h5netcdf")
    except Exception as error:  # h5py raises several kinds for damaged files
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(
            f"{path} can't be read: {why}. Move its folder away, and the same command measures it again."
        ) from error


def _found(plan: Plan, seed: int, folder: Path, label: str, report: Callable[[Event], None]) -> bool:
    """Whether a seed was done before; tells so."""
    if not finished(folder, plan.resolve(seed)):
        return False
    total = int(plan.training.updates) + read_netcdf(folder / "credit.nc").sizes["lag"]
    report(Event("found", label, seed, str(folder), total, total))
    return True
