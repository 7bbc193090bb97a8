"""Runs: recording, recognising, resuming bit for bit, refusing; on a small trainer that only pretends to be a
circuit.

``python tests/test_runs.py FOLDER UPDATES SECONDS`` computes one such run, to be killed from outside.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from run_helpers import as_killed

from bioplaus.analysis import paired
from bioplaus.errors import NumericalError, RunError
from bioplaus.runs import config as configs
from bioplaus.runs.arm import Arm
from bioplaus.runs.atomic import write_text
from bioplaus.runs.experiment import Experiment
from bioplaus.runs.folder import RunFolder
from bioplaus.runs.loop import execute
from bioplaus.runs.metrics import MetricsFile, read_metrics
from bioplaus.runs.results import Results
from bioplaus.runs.run import Run


@dataclass(frozen=True)
class Plan:
    """Training, as far as a run looks at it."""

    updates: int = 12
    evaluate_every: int = 5
    device: str = "cpu"
    break_at: int = 0


class Part:
    """A circuit, task or rule that says what it is."""

    def __init__(self, **described):
        self.described = described

    def describe(self):
        return self.described


class Regression:
    """A trainer in miniature, with state that a careless checkpoint would forget."""

    pause = 0.0

    def __init__(self, circuit, task, rule, training, seed):
        self.training = training
        self.stream = torch.Generator().manual_seed(seed)
        self.weight = torch.zeros(5, requires_grad=True)
        self.optimiser = torch.optim.Adam([self.weight], lr=0.05)
        self.momentary = torch.zeros(())  # stands for a rule's own state
        self.update_index, self.size = 0, 5

    def update(self):
        time.sleep(self.pause)
        x = torch.randn(20, 5, generator=self.stream)
        error = x @ self.weight - x.sum(1)
        loss = 0.5 * (error**2).mean() + 0.01 * self.momentary * self.weight.sum()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.momentary = 0.9 * self.momentary + loss.detach()
        self.update_index += 1
        if self.update_index == self.training.break_at:
            raise NumericalError("v of population 'rec' is NaN at step 3.")
        row = {
            "update": self.update_index,
            "loss": float(loss.detach()),
            "score": float(error.detach().abs().mean()),
            "rate": None,
        }
        return row | ({"alignment": float(self.weight.detach()[0])} if self.update_index % 4 == 0 else {})

    def evaluate(self):
        return {"test_loss": float(self.weight.detach().sum()), "test_score": float(self.weight.detach()[1])}

    def record(self, names):
        values = self.weight.detach().numpy()[None, None, :]
        return xr.Dataset({"v": (("time", "batch", "unit"), values, {"units": "mV"})})

    def state_dict(self):
        return {
            "weights": {"W": self.weight.detach().clone()},
            "optimiser": self.optimiser.state_dict(),
            "momentary": self.momentary,
            "stream": self.stream.get_state(),
            "update_index": self.update_index,
        }

    def load_state_dict(self, state):
        with torch.no_grad():
            self.weight.copy_(state["weights"]["W"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.momentary = state["momentary"]
        self.stream.set_state(state["stream"])
        self.update_index = state["update_index"]


class Regressions(Arm):
    """The job that begins them."""

    def begin(self, seed) -> Any:
        return Regression(self.circuit, self.task, self.rule, self.training, seed)


def arm(**plan):
    return Regressions(Part(name="five", units=5), Part(name="sums"), Part(name="adam"), Plan(**plan))  # type: ignore[arg-type]


def run(folder, seed=0, plan=None, **options):
    execute(arm(**(plan or {})), seed, Path(folder), label="adam", **options)
    return Run.load(folder)


def columns(folder):
    """All that metrics.csv says but the seconds, as text: every bit counts."""
    table = pd.read_csv(Path(folder) / "metrics.csv", dtype=str)
    return table.drop(columns="seconds")


def stopper(after):
    """A wish to stop that comes after so many updates."""
    asked = iter(range(1, 1000))
    return lambda: next(asked) >= after


def test_a_run_leaves_all_its_files(tmp_path):
    heard = []
    done = run(tmp_path / "r", progress=heard.append, origin={"experiment": None, "content": {"models/x": {}}})
    names = {path.name for path in (tmp_path / "r").iterdir()} - {".lock"}
    assert names == {"run.json", "metrics.csv", "recordings.nc", "checkpoint.pt", "log.txt"}
    record = json.loads((tmp_path / "r" / "run.json").read_text())
    assert record["status"] == "done" and record["update"] == 12
    assert record["config"]["circuit"] == {"name": "five", "units": 5} and record["config"]["seed"] == 0
    assert {"python", "torch", "numpy", "brian2", "bioplaus"} <= record["versions"].keys()
    assert record["machine"]["cores"] and record["content"] == {"models/x": {}}
    assert record["timing"]["finished"] and record["timing"]["seconds"] > 0
    assert done.done and done.seed == 0 and done.label == "adam"
    assert done.recordings["v"].attrs["units"] == "mV" and done.recordings["v"].dims == (
        "time",
        "batch",
        "unit",
    )
    assert [event.kind for event in heard] == ["start", *["update"] * 12, "done"]
    assert heard[0].row["weights"] == 5


def test_metrics_have_a_row_an_update_and_blanks_where_nothing_was_measured(tmp_path):
    table = run(tmp_path).metrics
    assert list(table.columns[:7]) == [
        "update",
        "loss",
        "score",
        "rate",
        "seconds",
        "test_loss",
        "test_score",
    ]
    values = {name: table[name].to_numpy(float) for name in table.columns}
    assert values["update"].tolist() == list(range(1, 13)) and np.isfinite(values["loss"]).all()
    assert values["update"][np.isfinite(values["test_score"])].tolist() == [
        5,
        10,
        12,
    ]  # every fifth, the last
    assert values["update"][np.isfinite(values["alignment"])].tolist() == [4, 8, 12]
    assert np.isnan(values["rate"]).all() and (np.diff(values["seconds"]) >= 0).all()


def test_a_finished_run_is_recognised_and_not_touched(tmp_path):
    run(tmp_path)
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    heard = []
    run(tmp_path, progress=heard.append)
    assert [event.kind for event in heard] == ["found"]
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("stop_after", [1, 4, 5, 11])
def test_an_interrupted_run_ends_as_if_it_had_not_been(tmp_path, stop_after):
    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", stop=stopper(stop_after))
    half = Run.load(tmp_path / "parts")
    assert half.record["status"] == "interrupted" and len(half.metrics) == stop_after
    heard = []
    parts = run(tmp_path / "parts", progress=heard.append)
    assert heard[0].kind == "resume" and heard[0].update == stop_after
    assert parts.record["timing"]["sittings"] == 2
    pd.testing.assert_frame_equal(columns(tmp_path / "whole"), columns(tmp_path / "parts"))
    assert torch.equal(whole.weights["W"], parts.weights["W"])
    xr.testing.assert_identical(whole.recordings, parts.recordings)
    assert parts.metrics["seconds"].is_monotonic_increasing


def worked(seconds):
    """What uses so much of a processor, and hardly any of it while it waits."""
    began = time.process_time()
    while time.process_time() - began < seconds:
        pass
    time.sleep(0.05)


def test_cpu_time_is_counted_over_sittings_and_waiting_is_none(tmp_path, monkeypatch):
    update = Regression.update
    monkeypatch.setattr(Regression, "update", lambda self: (worked(0.02), update(self))[1])
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop=stopper(6))
    timing = Run.load(tmp_path).record["timing"]
    assert 0.12 <= timing["cpu"] <= timing["seconds"] - 0.15
    timing = run(tmp_path).record["timing"]
    assert 0.24 <= timing["cpu"] <= timing["seconds"] - 0.3 and timing["sittings"] == 2


def test_cpu_time_of_processes_that_a_run_waits_for_is_its_own(tmp_path, monkeypatch):
    update, spend = Regression.update, "import time\nwhile time.process_time() < 0.3: pass"
    starts = lambda self: (subprocess.run([sys.executable, "-c", spend], check=True), update(self))[1]  # noqa: E731
    monkeypatch.setattr(Regression, "update", starts)
    assert run(tmp_path, plan={"updates": 2}).record["timing"]["cpu"] >= 0.55


def test_what_a_sitting_of_an_earlier_version_took_of_processors_is_not_known(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop=stopper(6))
    files = RunFolder(tmp_path)
    saved = files.load_checkpoint()
    assert saved is not None and saved.pop("cpu") >= 0
    files.save_checkpoint(saved)
    as_killed(tmp_path)
    timing = run(tmp_path).record["timing"]
    assert timing["cpu"] is None and timing["seconds"] > 0


def test_seeds_and_interruption_can_be_told_apart(tmp_path):
    """The comparison above could not fail if every run gave the same numbers."""
    run(tmp_path / "a", seed=0)
    run(tmp_path / "b", seed=1)
    assert not columns(tmp_path / "a").equals(columns(tmp_path / "b"))


def test_rows_later_than_the_checkpoint_are_computed_again(tmp_path):
    """A process that dies after the rows of update 9 were written but with its checkpoint at update 6."""
    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "r", stop=stopper(6))
    as_killed(tmp_path / "r")
    with open(tmp_path / "r" / "metrics.csv", "a") as file:
        rows = (tmp_path / "whole" / "metrics.csv").read_text().splitlines()
        file.write("\n".join(rows[7:10]) + "\n" + rows[10][:9])  # the last one torn
    again = run(tmp_path / "r")
    pd.testing.assert_frame_equal(columns(tmp_path / "whole"), columns(tmp_path / "r"))
    assert torch.equal(whole.weights["W"], again.weights["W"])


@pytest.mark.parametrize("every", [0.0, 0.3])
def test_a_killed_process_loses_nothing_that_a_checkpoint_held(tmp_path, every):
    whole = run(tmp_path / "whole", plan={"updates": 60})
    words = [sys.executable, __file__, str(tmp_path / "r"), "60", "0.02", str(every)]
    process = subprocess.Popen(words)
    deadline = time.monotonic() + 60
    while not (tmp_path / "r" / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    killed = Run.load(tmp_path / "r")
    assert killed.record["status"] == "running" and 0 < killed.checkpoint["update"] < 60
    parts = run(tmp_path / "r", plan={"updates": 60})
    pd.testing.assert_frame_equal(columns(tmp_path / "whole"), columns(tmp_path / "r"))
    assert torch.equal(whole.weights["W"], parts.weights["W"])
    assert not list((tmp_path / "r").glob(".*.tmp*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_before_it_stops(tmp_path, number):
    process = subprocess.Popen([sys.executable, __file__, str(tmp_path), "500", "0.02", "1000"])
    deadline = time.monotonic() + 60
    while not (tmp_path / "run.json").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(number)
    assert process.wait(timeout=30) == 130
    stopped = Run.load(tmp_path)
    assert stopped.record["status"] == "interrupted" and stopped.record["update"] > 1
    assert stopped.checkpoint["update"] == stopped.record["update"] == len(stopped.metrics)


def test_two_processes_do_not_compute_the_same_run(tmp_path):
    process = subprocess.Popen([sys.executable, __file__, str(tmp_path), "500", "0.02", "0"])
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "checkpoint.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(RunError, match="Another process is computing"):
            run(tmp_path, plan={"updates": 500})
    finally:
        process.kill()
        process.wait()


def damage_cut(data):
    return data[: len(data) // 2]


def damage_flip(data):
    """One bit of a weight's bytes, which torch.load itself does not notice."""
    place = data.index(b"data/0") + 80
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("damage", [damage_cut, damage_flip, lambda data: b"", lambda data: b"not a checkpoint"])
def test_a_damaged_checkpoint_is_refused_and_left_alone(tmp_path, damage):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop=stopper(6))
    as_killed(tmp_path)
    file = tmp_path / "checkpoint.pt"
    file.write_bytes(damage(file.read_bytes()))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RunError, match="checkpoint.pt can't be used.*Nothing was overwritten") as error:
        run(tmp_path)
    assert "\n" not in str(error.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    for name, seed in (("a", 0), ("b", 1)):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / name, seed=seed, stop=stopper(3))
        as_killed(tmp_path / name)
    (tmp_path / "a" / "checkpoint.pt").write_bytes((tmp_path / "b" / "checkpoint.pt").read_bytes())
    with pytest.raises(RunError, match="another configuration"):
        run(tmp_path / "a")


def test_missing_rows_are_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop=stopper(6))
    as_killed(tmp_path)
    lines = (tmp_path / "metrics.csv").read_text().splitlines(keepends=True)
    (tmp_path / "metrics.csv").write_text("".join(lines[:4]))
    with pytest.raises(RunError, match="holds 3 of the 6 updates"):
        run(tmp_path)
    assert (tmp_path / "metrics.csv").read_text() == "".join(lines[:4])


def test_a_folder_of_another_configuration_is_refused(tmp_path):
    run(tmp_path)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(RunError, match=r"training.updates is 13, was 12.*Nothing was changed"):
        run(tmp_path, plan={"updates": 13})
    with pytest.raises(RunError, match="seed is 4, was 0"):
        run(tmp_path, seed=4)
    assert (tmp_path / "run.json").read_bytes() == before


def test_a_damaged_run_json_is_refused(tmp_path):
    run(tmp_path)
    (tmp_path / "run.json").write_text('{"config": ')
    with pytest.raises(RunError, match="run.json can't be read"):
        run(tmp_path)
    with pytest.raises(RunError, match="not the folder of a run"):
        Run.load(tmp_path / "nowhere")


@pytest.mark.parametrize("where", [(RunFolder, "write_record"), (MetricsFile, "begin")])
def test_a_run_that_failed_goes_on_wherever_the_next_sitting_is_killed(tmp_path, monkeypatch, where):
    """It has rows behind its last checkpoint, which the seal knows of and the next sitting drops."""
    saves = []

    def flaky(self, state):
        if saves:
            raise OSError(28, "No space left on device")
        saves.append(1)
        return save(self, state)

    save = RunFolder.save_checkpoint
    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "save_checkpoint", flaky)
        with pytest.raises(OSError, match="No space"):
            run(tmp_path / "r", checkpoint_every=0)
    assert len(Run.load(tmp_path / "r").metrics) == 2, "one more than the checkpoint has behind it"

    def killed(self, *given):
        made(self, *given) if where[1] == "begin" else None
        raise SystemExit

    made = getattr(*where)
    with monkeypatch.context() as patched:
        patched.setattr(*where, killed)
        with pytest.raises(SystemExit):
            run(tmp_path / "r")
    again, whole = run(tmp_path / "r"), run(tmp_path / "whole")
    pd.testing.assert_frame_equal(columns(tmp_path / "whole"), columns(tmp_path / "r"))
    assert torch.equal(whole.weights["W"], again.weights["W"])


def test_numerical_trouble_keeps_the_last_good_checkpoint(tmp_path):
    with pytest.raises(
        NumericalError, match=r"v of population 'rec' is NaN at step 3.*keeps the checkpoint of update 6"
    ):
        run(tmp_path, plan={"break_at": 7}, checkpoint_every=0)
    broken = Run.load(tmp_path)
    assert broken.record["status"] == "failed" and not broken.done
    assert broken.checkpoint["update"] == 6 and len(broken.metrics) == 6
    assert "NaN at step 3" in (tmp_path / "log.txt").read_text()
    with pytest.raises(RunError, match="no recordings: it is failed"):
        _ = broken.recordings


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    file = tmp_path / "f.txt"
    write_text(file, "old")

    def half(path):
        path.write_text("ne")
        raise OSError("the disk is full")

    from bioplaus.runs.atomic import write_atomically

    with pytest.raises(RunError, match="f.txt can.t be written: the disk is full"):
        write_atomically(file, half)
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


def test_a_checkpoint_that_cannot_be_written_does_not_harm_the_one_before(tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop=stopper(6))
    good = (tmp_path / "checkpoint.pt").read_bytes()
    monkeypatch.setattr(os, "replace", lambda *a: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(RunError, match="checkpoint.pt can.t be written: no space left"):
        RunFolder(tmp_path).save_checkpoint({"update": 7, "trainer": {}})
    monkeypatch.undo()
    assert (tmp_path / "checkpoint.pt").read_bytes() == good
    assert run(tmp_path).done


def test_a_new_measurement_becomes_a_column(tmp_path):
    file = MetricsFile(tmp_path / "m.csv")
    file.begin()
    file.add({"update": 1, "loss": 0.1})
    file.add({"update": 2, "loss": 1 / 3, "error of the predictor": 2.0})
    file.flush()
    table = read_metrics(tmp_path / "m.csv")
    assert table["loss"].tolist() == [0.1, 1 / 3]
    np.testing.assert_equal(table["error of the predictor"].to_numpy(float), [np.nan, 2.0])
    file.close()


# Configuration


def test_configurations_are_written_with_units_and_told_apart():
    from bioplaus import ms, mV

    values = {"tau": 20 * ms, "v": -70 * mV, "one": np.float32(1.5), "few": np.arange(3), "t": torch.ones(2)}
    assert configs.plain(values) == {
        "tau": "20.0 ms",
        "v": "-70.0 mV",
        "one": 1.5,
        "few": [0, 1, 2],
        "t": [1.0, 1.0],
    }
    many = np.random.default_rng(0).normal(size=100)
    other = many.copy()
    other[50] += 1e-12
    assert configs.digest(configs.plain({"a": many})) == configs.digest(configs.plain({"a": many.copy()}))
    assert configs.digest(configs.plain({"a": many})) != configs.digest(configs.plain({"a": other}))
    assert configs.plain({"a": many})["a"]["shape"] == [100]
    assert configs.plain(20.000001 * ms) != configs.plain(20 * ms)
    assert "20.0" in str(configs.plain(np.full(3, 20.0) * ms)) and "ms" in str(configs.plain(np.full(3, 20.0) * ms))


def test_the_hash_is_the_same_in_another_process():
    code = "from bioplaus.runs.config import digest; print(digest({'b': [1, 2.5], 'a': {'x': None}}))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert configs.digest({"a": {"x": None}, "b": [1, 2.5]}) == other and len(other) == 8


def test_what_cannot_be_written_down_is_refused():
    with pytest.raises(RunError, match=r"value.inner is a Silent"):
        configs.plain({"inner": type("Silent", (), {})()})


def test_nested_configurations_are_rebuilt():
    @dataclass(frozen=True)
    class Inner:
        units: int = 3
        lambdas: tuple[float, ...] = (0.0, 1.0)

    @dataclass(frozen=True)
    class Outer:
        inner: Inner = Inner()
        name: str | None = None

    Outer.__annotations__.update(inner=Inner, name=str | None)
    Inner.__annotations__.update(units=int, lambdas=tuple[float, ...])
    given = Outer(Inner(7, (0.5,)), "x")
    assert configs.rebuild(Outer, json.loads(json.dumps(dataclasses.asdict(given)))) == given


def test_folder_names_are_safe():
    assert configs.folder_name("BP(λ), off/on", 3, {"a": 1}).startswith("BP_lambda_off_on-s3-")
    assert configs.folder_name("a", 0, {"a": 1}) != configs.folder_name("a", 0, {"a": 2})


# Experiments


def finished(tmp_path, label, seeds=(0, 1, 2)):
    return [run(tmp_path / f"{label}{seed}", seed=seed) for seed in seeds]


def test_results_give_curves_finals_and_a_table(tmp_path):
    results = Results({"adam": finished(tmp_path, "adam"), "left out": []})
    assert list(results) == ["adam"]
    updates, values = results.curves("test_score")["adam"]
    assert updates.tolist() == [5, 10, 12] and values.shape == (3, 3) and np.isfinite(values).all()
    last = results.final("test_score")["adam"]
    row = results.table().iloc[0]
    assert row["n"] == 3 and row["test score"] == pytest.approx(last.mean())
    assert row["test score s.e.m."] == pytest.approx(last.std(ddof=1) / 3**0.5)
    with pytest.raises(RunError, match="Did you mean 'test_score'"):
        results.curves("test_scor")
    with pytest.raises(RunError, match="no finished arm 'adm'"):
        _ = results["adm"]


def test_two_arms_are_compared_by_the_seeds_that_both_have(tmp_path):
    results = Results({"a": finished(tmp_path, "a", (0, 1, 2)), "b": finished(tmp_path, "b", (2, 0, 5))})
    found = {"a": np.array([1.0, 7.0, 2.0]), "b": np.array([5.0, 3.0, 100.0])}
    assert results.against(found, "a", "b") == str(paired([1.0, 2.0], [3.0, 5.0]))
    assert results.against(found, "a", "a") == results.against(found, "a", "c") == "–"


@pytest.mark.parametrize("seeds", [(), (1, 1), (-1,), (0.5,), (True,)])
def test_unusable_seeds_are_refused(seeds):
    with pytest.raises(RunError, match="seeds"):
        Experiment("e", {"a": arm()}, seeds=seeds)


def test_an_experiment_knows_its_arms():
    experiment = Experiment("e", {"a": arm(), "b": arm()})
    assert list(experiment.only(["b"])) == ["b"] and list(experiment.only(None)) == ["a", "b"]
    with pytest.raises(RunError, match="no arm 'c' of 'e'"):
        experiment.only(["c"])
    with pytest.raises(RunError, match="no arms"):
        Experiment("e", {})


if __name__ == "__main__":
    Regression.pause = float(sys.argv[3])
    try:
        run(sys.argv[1], plan={"updates": int(sys.argv[2])}, checkpoint_every=float(sys.argv[4]))
    except KeyboardInterrupt:
        sys.exit(130)
