"""Kill a process at each point at which it writes, let it go on, and compare with what was never disturbed.

``python tests/kill_points.py FOLDER JOB…`` prints, as JSON, for every job how many points there were and what was wrong at which.
A fork is killed at its first point, another at its second, until one comes to its end: torch is imported once. Nothing of bioplaus
is changed but in those forks, where what every writer goes through counts: `open` and the files that it gives, `os.replace`,
`os.fsync`, `os.unlink`, `os.mkdir`, `os.rmdir`. A file is also torn in the middle of a word.
"""

from __future__ import annotations

import builtins
import io
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
import xarray

import bioplaus as bp
from bioplaus.figures import marks
from bioplaus.runs import Arm, Experiment, Run, provenance, run_experiment, train
from bioplaus.runs.loop import execute
from bioplaus.runs.metrics import read_metrics


class Torn:
    """A file that may be torn in two while it is written."""

    def __init__(self, file: Any, point: Callable[[Callable[[], object]], None]) -> None:
        self._file, self._point = file, point

    def write(self, data: Any) -> int:
        def half() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        self._point(half)
        return self._file.write(data)

    def flush(self) -> None:
        self._point(lambda: None)
        self._file.flush()

    def close(self) -> None:
        if not self._file.closed:
            self._point(lambda: None)
        self._file.close()

    def __enter__(self) -> Torn:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def die_at(number: int) -> None:
    """From now on this process counts its points, and is killed at that one."""
    seen = count(1)

    def point(last: Callable[[], object]) -> None:
        if next(seen) == number:
            last()
            os.kill(os.getpid(), signal.SIGKILL)

    def before(name: str) -> None:
        real = getattr(os, name)

        def counted(*given: Any, **options: Any) -> Any:
            point(lambda: None)
            return real(*given, **options)

        setattr(os, name, counted)

    for name in ("replace", "fsync", "unlink", "mkdir", "rmdir"):
        before(name)
    really = io.open

    def opened(file: Any, mode: str = "r", *given: Any, **options: Any) -> Any:
        if not set(mode) & set("wax+"):
            return really(file, mode, *given, **options)
        point(lambda: None)
        return Torn(really(file, mode, *given, **options), point)

    builtins.open = io.open = opened  # type: ignore[assignment]


def forked(work: Callable[[], object], first: Callable[[], object] = lambda: None) -> tuple[int, str]:
    """Do it in a fork; how that ended, as `os.waitstatus_to_exitcode` says it, and what was raised."""
    theirs, ours = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            first()
            work()
            status = 0
        except BaseException:
            os.write(ours, traceback.format_exc().encode()[-4000:])
        finally:
            os._exit(status)
    os.close(ours)
    with os.fdopen(theirs, "rb") as pipe:
        said = pipe.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


class Job(NamedTuple):
    """What is done in a folder, again and again; what of it must be the same; whether a reader may look at it now."""

    work: Callable[[Path], object]
    left: Callable[[Path], Any]
    look: Callable[[Path], object]
    prepare: Callable[[Path], object] = lambda folder: None


def every_point(job: Job, root: Path, step: int = 1) -> tuple[int, list[str]]:
    """Kill it at each point, or each so-manieth; how many there were, and what was wrong."""
    whole, wrong = undisturbed(job, root), []
    for number in count(1, step):
        folder = fresh(job, root / "killed")
        status, said = forked(lambda: job.work(folder), lambda: die_at(number))  # noqa: B023  (called at once)
        if status != -signal.SIGKILL:
            return (number - 1) // step, wrong + ([f"point {number}, not killed: {said}"] if status else [])
        wrong += [f"point {number}: {text}" for text in gone_on(job, folder, whole)]
    raise AssertionError


def random_moments(job: Job, root: Path, times: int, seed: int = 0) -> tuple[int, list[str]]:
    """Kill it at random moments, each time from where the last left it; how often it was killed, and what was wrong."""
    began = time.monotonic()
    whole = undisturbed(job, root)
    span, draws, killed, wrong = time.monotonic() - began, random.Random(seed), 0, []
    folder = fresh(job, root / "killed")
    while killed < times:
        child = os.fork()
        if not child:
            try:
                job.work(folder)
            finally:
                os._exit(0)
        time.sleep(draws.uniform(0, span))
        os.kill(child, signal.SIGKILL)
        killed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        if draws.random() < 0.5:
            wrong += [f"kill {killed}: {text}" for text in gone_on(job, folder, whole)]
            folder = fresh(job, folder)
    return killed, wrong + gone_on(job, folder, whole)


def fresh(job: Job, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    job.prepare(folder)
    return folder


def undisturbed(job: Job, root: Path) -> Any:
    folder = fresh(job, root / "whole")
    status, said = forked(lambda: job.work(folder))
    if status:
        raise RuntimeError(said)
    return job.left(folder)


def gone_on(job: Job, folder: Path, whole: Any) -> list[str]:
    """Look at what a kill has left, do it again, and say what is not as it should be."""
    try:
        job.look(folder)
    except Exception as error:
        return [f"a reader meets {error!r}"]
    status, said = forked(lambda: job.work(folder))
    if status:
        return [said]
    halves = [str(path) for path in folder.rglob(".*") if path.name != ".lock"]
    return [*([f"left {halves}"] if halves else []), *([] if same(job.left(folder), whole) else ["not the same"])]


def same(one: Any, other: Any) -> bool:
    """Bit for bit, NaN as NaN; how many seconds it took, by the clock and of processors, is another matter."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            same(one[key], other[key]) for key in one if key not in ("seconds", "cpu")
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.Tensor):
        return (
            one.dtype == other.dtype and one.shape == other.shape and one.numpy().tobytes() == other.numpy().tobytes()
        )
    return one == other or (one != one and other != other)


# What is killed


def parts(updates: int = 3) -> Arm:
    """Three updates; the second adds a column."""
    task = bp.task("add", steps=12)
    circuit = bp.circuit("recurrent", cell=bp.model("elman"), inputs=task.inputs, units=3, outputs=task.outputs)
    training = bp.Training(updates=updates, batch=2, align_every=2, evaluate_every=2)
    return Arm(circuit, task, bp.rule("eprop"), training)


def left_by_run(folder: Path) -> dict[str, Any]:
    run = Run(folder)
    rows = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    seconds = rows[0].index("seconds")
    recordings = {str(name): array.values.tobytes() for name, array in run.recordings.items()}
    return {
        "status": run.record["status"],
        "remarks": run.record["remarks"],
        "rows": [row[:seconds] + row[seconds + 1 :] for row in rows],
        "state": {name: value for name, value in run.checkpoint.items() if name != "rows"},  # a hash of seconds, too
        "recordings": recordings,
    }


def look_at_run(folder: Path) -> None:
    if (folder / "run.json").exists():
        run = Run(folder)
        assert len(run.metrics) >= (run.checkpoint["update"] if (folder / "checkpoint.pt").exists() else 0)
        assert run.reached[0] >= 0 and repr(run)
    read_metrics(folder / "metrics.csv")


class Walk:
    """A learner that only draws: a random walk with all that a checkpoint has to hold."""

    size = 4

    def __init__(self, seed: int) -> None:
        self.generator, self.place, self.update_index = torch.Generator().manual_seed(seed), torch.zeros(4), 0

    def update(self) -> dict[str, Any]:
        self.place += torch.randn(4, generator=self.generator)
        self.update_index += 1
        return {"loss": float(self.place.norm()), **({"late": 1.0 / 3} if self.update_index > 1 else {})}

    def evaluate(self) -> dict[str, Any]:
        return {"test_loss": float(self.place.sum())}

    def state_dict(self) -> dict[str, Any]:
        return {"place": self.place.clone(), "generator": self.generator.get_state(), "update": self.update_index}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.place, self.update_index = state["place"], state["update"]
        self.generator.set_state(state["generator"])


class Walking:
    """The job that begins it."""

    updates, evaluate_every, device = 3, 2, "cpu"

    @property
    def files(self) -> dict[str, Any]:
        return {"recordings.nc": lambda walk: xarray.Dataset({"place": ("unit", walk.place.numpy())})}

    def describe(self, seed: int) -> dict[str, Any]:
        return {"training": {"updates": self.updates}, "seed": seed}

    def begin(self, seed: int) -> Walk:
        return Walk(seed)


def walk_job() -> Job:
    import_module("h5netcdf")
    return Job(lambda folder: execute(Walking(), 0, folder, checkpoint_every=0.0), left_by_run, look_at_run)


def run_job(updates: int, every: float) -> Job:
    arm = parts(updates)
    arm.begin(0)  # what is imported when it is first needed would be imported in every fork
    options: dict[str, Any] = {
        field: getattr(arm.training, field) for field in ("updates", "batch", "align_every", "evaluate_every")
    }

    def work(folder: Path) -> None:
        train(arm.circuit, arm.task, arm.rule, folder=folder, checkpoint_every=every, **options)

    return Job(work, left_by_run, look_at_run)


def lesioned(folder: Path, lesion: Any, last: int | None = None) -> None:
    """A cortex and its cerebellum, taught by climbing fibres, learn 320 times; killed behind the update ``last``."""

    def seen(event: Any) -> None:
        if event.kind == "update" and event.update == last:
            os.kill(os.getpid(), signal.SIGKILL)

    task = bp.task("target_reaching", targets=2, steps=4, inputs=2)
    circuit = bp.circuit("recurrent", cell="leaky_rate", inputs=task.inputs, units=3, outputs=task.outputs)
    cerebellum = bp.predictor("granule", expansion=1, teaching="events", probability=0.1)
    how = {"updates": 320, "batch": 2, "lr": 1e-2, "perturb": lesion, "progress": seen, "checkpoint_every": 0.05}
    train(circuit, task, bp.rule("bp_lambda", predictor=cerebellum), folder=folder, **how)


def around_a_lesion(root: Path) -> tuple[int, list[str]]:
    """Of the output and of the olive, from update 300 on: kill it before, at and behind that, each time from where the last left it."""
    killed, wrong, ends = 0, [], []
    for path in (None, "cerebellum", "cerebellum.olive"):
        lesion = () if path is None else bp.Perturb(path, "silence", updates=slice(300, None))
        job = Job(lambda folder: lesioned(folder, lesion), left_by_run, look_at_run)  # noqa: B023  (called at once)
        ends.append(undisturbed(job, root / str(path)))
        folder = root / str(path) / "killed"
        for last in (299, 300, 301, 310) if path else ():
            status, said = forked(lambda: lesioned(folder, lesion, last))  # noqa: B023
            killed += status == -signal.SIGKILL
            wrong += [f"not killed behind update {last}: {said}"] if status != -signal.SIGKILL else []
        if path:
            wrong += [f"{path}: {text}" for text in gone_on(job, folder, ends[-1])]
    learned = [end["state"]["trainer"] for end in ends]
    return killed, wrong + (["a lesion does nothing"] if any(same(learned[0], end) for end in learned[1:]) else [])


def drawing(results: Any) -> Any:
    from bioplaus import figures

    return figures.learning(results.curves("loss"))


def report_job(figures: bool, finished: Path) -> Job:
    """An experiment whose runs are done, and that writes its table, and its figures if wanted."""
    arm = parts()
    arm.begin(0)
    import_module("matplotlib.pyplot")
    experiment = Experiment("e", {"a": arm, "b": arm}, seeds=(0, 1), figures={"learning": drawing} if figures else {})

    def work(folder: Path) -> None:
        run_experiment(experiment, folder.name, root=folder.parent)

    def prepare(folder: Path) -> None:
        if not finished.exists():
            forked(
                lambda: run_experiment(Experiment("e", experiment.arms, (0, 1)), finished.name, root=finished.parent)
            )
            for name in ("experiment.json", "table.csv", "table.md", "seeds.csv"):
                (finished / name).unlink()
        shutil.copytree(finished, folder)

    def left(folder: Path) -> dict[str, Any]:
        names = [
            path
            for path in folder.rglob("*")
            if path.is_file() and path.name not in ("learning.json", "experiment.json", ".lock")
        ]
        told = json.loads((folder / "experiment.json").read_text())
        return {str(path.relative_to(folder)): path.read_bytes() for path in names if path.suffix != ".nc"} | {
            "runs": told["runs"]
        }

    def look(folder: Path) -> None:
        for name in ("experiment.json", "figures/learning.json"):
            if (folder / name).exists():
                json.loads((folder / name).read_text())
        if (folder / "table.csv").exists():
            assert len(pd.read_csv(folder / "table.csv")) == 2

    return Job(work, left, look, prepare)


def figure_job() -> Job:
    """The files of a figure, over those of an older one."""
    old, new = (
        {suffix: f"Software\0bioplaus {text}".encode() * 9 for suffix in (".pdf", ".svg", ".png", ".csv")}
        for text in "ab"
    )
    told = {"versions": {"bioplaus": "1"}, "files": [f"f{suffix}" for suffix in old]}

    def left(folder: Path) -> dict[str, Any]:
        return {path.name: path.read_bytes() for path in folder.glob("f.*")}

    def look(folder: Path) -> None:
        assert marks.drawn(folder / "f") is not None
        assert all(left(folder)[f"f{suffix}"] in (old[suffix], new[suffix]) for suffix in old)

    return Job(
        lambda folder: marks.write(folder / "f", new, told),
        left,
        look,
        lambda folder: (folder.mkdir(parents=True), marks.write(folder / "f", old, told)),
    )


def main(root: Path, names: list[str]) -> dict[str, Any]:
    """Do what is asked for."""
    ways: dict[str, Callable[[Path], tuple[int, list[str]]]] = {
        "walk": lambda place: every_point(walk_job(), place),
        "some of a walk": lambda place: every_point(walk_job(), place, step=3),
        "run": lambda place: every_point(run_job(3, 0.0), place),
        "some of a run": lambda place: every_point(run_job(3, 0.0), place, step=29),
        "figure": lambda place: every_point(figure_job(), place),
        "some of a figure": lambda place: every_point(figure_job(), place, step=7),
        "report": lambda place: every_point(report_job(False, place / "finished"), place),
        "report and figures": lambda place: every_point(report_job(True, place / "finished"), place),
        "lesion": around_a_lesion,
        "some moments": lambda place: random_moments(run_job(40, 0.02), place, 2),
        "moments": lambda place: random_moments(run_job(60, 0.02), place, 20),
    }
    asked = provenance.git()  # to start git over and over takes longer than all the rest
    provenance.git = lambda: asked
    found: dict[str, Any] = {}
    for name in names:
        began = time.monotonic()
        points, wrong = ways[name](root / name.replace(" ", "_"))
        found[name] = {"points": points, "wrong": wrong, "seconds": round(time.monotonic() - began, 1)}
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2:]), indent=1))
