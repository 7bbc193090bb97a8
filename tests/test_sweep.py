"""Real circuits through `train`, `run_experiment`, worker processes and the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from task_helpers import after_study

import bioplaus as bp
from bioplaus import cli
from bioplaus.errors import NumericalError, RunError
from bioplaus.runs import Arm, Experiment, Run, run_experiment, train

EXPERIMENT = '''
"""A spiking and a gated circuit, small."""

from dataclasses import dataclass, field

import bioplaus as bp
from bioplaus import Arm, Experiment, Training


@dataclass(frozen=True)
class Sizes:
    units: int = 12  # neurons


@dataclass(frozen=True)
class Config:
    circuit: Sizes = Sizes()
    updates: int = 6  # weight updates
    lr: float = 1e-2


def small(config: Config = Config()) -> Experiment:
    task = bp.task("target_reaching", path="line", targets=6)
    options = dict(inputs=task.inputs, units=config.circuit.units, outputs=task.outputs)
    training = Training(updates=config.updates, batch=4, lr=config.lr, evaluate_every=3, align_every=3)
    gated = bp.circuit("recurrent", cell=bp.model("lstm"), **options)
    spiking = bp.circuit("recurrent", cell=bp.model("alif"), input_gain=60.0, **options)
    return Experiment(
        title="Small circuits reach",
        arms={
            "bptt": Arm(gated, task, bp.rule("bptt"), training),
            "bp_lambda": Arm(gated, task, bp.rule("bp_lambda"), training),
            "eprop": Arm(spiking, task, bp.rule("eprop", feedback="random"), training),
        },
        seeds=(0, 1),
        figures={"learning": draw, "two": draw_two},
        expected="bptt learns",
    )


def draw(results):
    from bioplaus import figures

    return figures.learning(results.curves("loss"))


def draw_two(results):
    from bioplaus import figures

    curves = results.curves("loss")
    return figures.learning({label: curves[label] for label in ("bptt", "eprop") if results[label]})
'''


@pytest.fixture
def study(tmp_path, monkeypatch):
    (tmp_path / "bioplaus.toml").write_text("")
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "small.py").write_text(EXPERIMENT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BIOPLAUS_STUDY", raising=False)
    return tmp_path


def parts(model="lstm", rule="bp_lambda"):
    made = bp.task("target_reaching", path="line", targets=6)  # random trials; each spike counts
    cell = bp.model(model)
    strong = 60.0 if cell.spiking else 1.0  # so that it spikes
    circuit = bp.circuit("recurrent", cell=cell, inputs=made.inputs, units=10, outputs=made.outputs, input_gain=strong)
    return circuit, made, bp.rule(rule)


def rows(folder):
    return pd.read_csv(Path(folder) / "metrics.csv", dtype=str).drop(columns="seconds")


def stopping(after):
    """Interrupts as Ctrl-C does, once so many updates were reported."""

    def progress(event):
        if event.kind == "update" and event.update == after:
            os.kill(os.getpid(), signal.SIGINT)

    return progress


# One run


@pytest.mark.parametrize(("model", "rule"), [("lstm", "bp_lambda"), ("alif", "eprop"), ("elman", "rtrl")])
def test_a_real_run_resumes_bit_for_bit(tmp_path, model, rule):
    options = {"updates": 8, "batch": 4, "lr": 1e-2, "evaluate_every": 4, "align_every": 3}
    whole = train(*parts(model, rule), folder=tmp_path / "whole", **options)
    for after in (3, 6):
        with pytest.raises(KeyboardInterrupt):
            train(*parts(model, rule), folder=tmp_path / "parts", progress=stopping(after), **options)
    again = train(*parts(model, rule), folder=tmp_path / "parts", **options)
    assert again.done and again.record["timing"]["sittings"] == 3
    pd.testing.assert_frame_equal(rows(tmp_path / "whole"), rows(tmp_path / "parts"))
    for name, weight in whole.weights.items():
        assert torch.equal(weight, again.weights[name]), name
    assert np.array_equal(whole.recordings["output"], again.recordings["output"])
    assert len(set(whole.metrics["loss"])) == 8, "nothing learned, nothing tested"
    assert 0 not in set(whole.metrics["rate"]), "a silent circuit"
    assert not torch.equal(whole.weights["W_in"], parts(model, rule)[0].build(seed=0).weights["W_in"])


def test_train_names_its_folder_and_recognises_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = train(*parts(), updates=2, batch=3, seed=4)
    assert run.folder.parent == Path("runs/target_reaching") and run.folder.name.startswith("bp_lambda-s4-")
    heard = []
    assert train(*parts(), updates=2, batch=3, seed=4, progress=heard.append).folder == run.folder
    assert [event.kind for event in heard] == ["found"]
    assert train(*parts(), updates=2, batch=3, seed=5).folder != run.folder
    assert train(*parts(rule="bptt"), updates=2, batch=3, seed=4).folder != run.folder
    assert run.record["content"].keys() >= {"models/lstm", "circuits/recurrent"}
    assert run.config["training"]["batch"] == 3 and run.config["circuit"]["inputs"] == 10


def test_a_run_gives_back_its_network(tmp_path):
    run = train(*parts(), updates=3, batch=3, folder=tmp_path / "r")
    record = bp.simulate(run.network, np.zeros((4, 1, 10)), record=("rate",))
    assert record["output"].shape == (4, 1, 2)
    assert torch.equal(run.network.weights["W_rec"], run.weights["W_rec"])
    assert set(run.own) == {"predictor"} and set(run.own["predictor"].learned) == {"A", "b"}
    assert bool(run.own["predictor"]["A"].any()), "the predictor has learned"
    fresh = run.network.circuit.build(seed=0)
    assert not torch.equal(fresh.weights["W_rec"], run.weights["W_rec"]), "training changed nothing"
    with pytest.raises(RunError, match="Hand the circuit over"):
        _ = Run.load(run.folder).network
    assert Run.load(run.folder, circuit=parts()[0]).network.weights.keys() == run.weights.keys()


def test_what_cannot_be_trained_leaves_no_folder(tmp_path):
    circuit, task, rule = parts()
    other = bp.task("target_reaching", inputs=7)
    with pytest.raises(bp.errors.TaskError, match="7 inputs"):
        train(circuit, other, rule, updates=2, folder=tmp_path / "r")
    with pytest.raises(RunError, match="Did you mean 'batch'"):
        train(circuit, task, rule, updates=2, bach=3, folder=tmp_path / "r")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("name", ["learning", "alignment", "raster", "trajectories", "weights"])
def test_every_figure_of_a_run_is_drawn_from_its_folder(tmp_path, name):
    options: dict[str, Any] = {"updates": 4, "batch": 3, "align_every": 2, "evaluate_every": 2}
    run = train(*parts("alif", "eprop"), folder=tmp_path / "r", **options)
    figure = Run.load(run.folder).figure(name)
    assert figure.axes and all(ax.get_xlabel() or ax.get_ylabel() for ax in figure.axes[:1])
    with pytest.raises(RunError, match="Did you mean 'learning'"):
        run.figure("lerning")


def test_figures_of_what_was_not_measured_are_refused(tmp_path):
    run = train(*parts(), updates=2, batch=3, folder=tmp_path / "r")
    with pytest.raises(RunError, match="Set align_every"):
        run.figure("alignment")


# Experiments


def test_an_experiment_runs_all_arms_and_seeds_and_reports(study):
    heard = []
    results = run_experiment(bp.experiment("small"), "small", progress=heard.append)
    assert {label: [run.seed for run in runs] for label, runs in results.items()} == {
        "bptt": [0, 1],
        "bp_lambda": [0, 1],
        "eprop": [0, 1],
    }
    folder = study / "runs" / "small"
    files = {path.name for path in folder.iterdir() if path.is_file()}
    assert files == {"table.csv", "table.md", "seeds.csv", "experiment.json"}
    table = pd.read_csv(folder / "table.csv")
    assert table["arm"].tolist() == ["bptt", "bp_lambda", "eprop"] and table["n"].tolist() == [2] * 3
    assert np.isfinite(table["test score"].to_numpy(float)).all() and (folder / "table.md").read_text().startswith(
        "| arm "
    )
    assert {path.suffix for path in (folder / "figures").iterdir()} >= {".pdf", ".svg", ".png"}
    record = json.loads((folder / "experiment.json").read_text())
    assert record["experiment"]["name"] == "small" and len(record["runs"]["bptt"]) == 2
    assert record["content"]["experiments/small"]["sha256"]
    one = results["bptt"][0].record
    assert one["experiment"]["name"] == "small"
    assert one["content"].keys() >= {"models/lstm", "experiments/small"}
    kinds = [event.kind for event in heard if event.kind != "update"]
    assert kinds == ["start", "done"] * 6 + ["drawn"] * 2
    # All arms of a seed get the same trials and the same first weights: that is what makes them comparable.
    first = {label: runs[0].metrics["loss"].iloc[0] for label, runs in results.items()}
    assert first["bptt"] == first["bp_lambda"] != first["eprop"]


@pytest.mark.slow
def test_workers_compute_what_one_process_does(study):
    experiment = bp.experiment("small")
    alone = run_experiment(experiment, "alone")
    heard = []
    together = run_experiment(experiment, "together", workers=2, progress=heard.append)
    for label, runs in alone.items():
        for one, other in zip(runs, together[label], strict=True):
            assert one.folder.name == other.folder.name
            pd.testing.assert_frame_equal(rows(one.folder), rows(other.folder))
            assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    assert sum(event.kind == "done" for event in heard) == 6
    assert "OMP_NUM_THREADS" not in os.environ or os.environ["OMP_NUM_THREADS"] != ""


def test_an_arm_left_out_costs_only_the_figures_that_want_it(study):
    heard = []
    part = {"only": ["bp_lambda"], "seeds": (3,)}
    results = run_experiment(bp.experiment("small"), "small", progress=heard.append, **part)
    assert list(results) == ["bp_lambda"] and results["bp_lambda"][0].seed == 3
    notes = [event.message for event in heard if event.kind == "note"]
    assert len(notes) == 1 and "'two' was not drawn" in notes[0]
    names = {path.name for path in (study / "runs" / "small" / "figures").iterdir()}
    assert "learning.pdf" in names and "two.pdf" not in names


def test_one_broken_arm_does_not_stop_the_others(study):
    experiment = bp.experiment("small")
    bptt = experiment.arms["bptt"]
    wild = Arm(bptt.circuit, bptt.task, bptt.rule, bp.Training(updates=6, batch=4, lr=1e38, optimiser="sgd"))
    both = Experiment("both", {"wild": wild, "bptt": bptt}, seeds=(0,))
    with pytest.raises(NumericalError, match="The other 1 of 2 runs are done") as error:
        run_experiment(both, "both")
    assert "\n" not in str(error.value)
    states = {
        json.loads(file.read_text())["label"]: json.loads(file.read_text())["status"]
        for file in (study / "runs" / "both").glob("*/run.json")
    }
    assert states == {"wild": "failed", "bptt": "done"}
    assert pd.read_csv(study / "runs" / "both" / "table.csv")["arm"].tolist() == ["bptt"]


def test_what_cannot_be_run_is_refused_before_the_first_run(study):
    experiment = bp.experiment("small")
    good = experiment.arms["bptt"]
    bad = Arm(good.circuit, good.task, bp.rule("rflo"), good.training)
    with pytest.raises(bp.errors.RuleError, match="rflo"):
        run_experiment(Experiment("e", {"bptt": good, "rflo": bad}), "e")
    assert not (study / "runs").exists()

    run_experiment(Experiment("e", {"bptt": good}, seeds=(0,)), "e")
    with pytest.raises(KeyboardInterrupt):
        run_experiment(Experiment("e", {"bptt": good}, seeds=(1,)), "e", progress=stopping(2))
    (place,) = (study / "runs" / "e").glob("bptt-s1-*")
    (place / "checkpoint.pt").write_bytes(b"broken")
    heard = []
    with pytest.raises(RunError, match="checkpoint.pt is not what was written there"):
        run_experiment(Experiment("e", {"bptt": good}, seeds=(2, 1)), "e", progress=heard.append)
    assert heard == [] and not list((study / "runs" / "e").glob("bptt-s2-*"))


# SIGINT to a group, without a table after it, is among the quick tests of test_interrupted.py
@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGKILL])
def test_stopped_workers_have_saved_and_the_command_goes_on(study, capsys, number):
    """However the command is stopped, every run goes on from its checkpoint as if nothing had been."""
    words = ["run", "small", "--updates", "2000", "--only", "bptt,eprop", "--seeds", "0"]
    command = [sys.executable, "-m", "bioplaus.cli", *words, "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    folder = study / "runs" / "small"
    deadline = time.monotonic() + 120
    while len(list(folder.glob("*/run.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, complained = process.communicate(timeout=120)
    assert process.returncode == (-number if number == signal.SIGKILL else 130)
    if number != signal.SIGKILL:
        assert "give the same command to go on" in complained and "Traceback" not in complained
    deadline = time.monotonic() + 60  # workers whose parent was killed notice, save and go
    while any(record["status"] == "running" for record in statuses(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [record["status"] for record in statuses(folder)] == ["interrupted"] * 2
    reached = max(record["update"] for record in statuses(folder))
    assert 0 < reached < 2000

    # The rest, shortened: what counts is that the second half starts from where the first one ended.
    config = bp.content.load("experiment", "small").Config(updates=2000)
    experiment = bp.experiment("small", config=config)
    sides = {}
    for name in ("small", "whole"):
        with pytest.raises(KeyboardInterrupt):
            run_experiment(experiment, name, only=["bptt"], seeds=(0,), progress=stopping(reached + 5))
        (place,) = (study / "runs" / name).glob("bptt-*")
        sides[name] = (rows(place), Run.load(place).checkpoint)
    pd.testing.assert_frame_equal(sides["small"][0], sides["whole"][0])
    assert len(sides["small"][0]) == sides["small"][1]["update"] > reached
    for name, weight in sides["small"][1]["trainer"]["weights"].items():
        assert torch.equal(weight, sides["whole"][1]["trainer"]["weights"][name])


@pytest.mark.slow
def test_a_worker_that_dies_is_named_and_the_others_save(study):
    command = [sys.executable, "-m", "bioplaus.cli", "run", "small", "--updates", "5000", "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    folder = study / "runs" / "small"
    deadline = time.monotonic() + 120
    while len(list(folder.glob("*/run.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    names = {child: Path(f"/proc/{child}/cmdline").read_text() for child in children}
    workers = [int(child) for child, name in names.items() if "spawn_main" in name]
    os.kill(workers[0], signal.SIGKILL)
    _, complained = process.communicate(timeout=120)
    assert process.returncode == 1 and "A worker process died" in complained and "Traceback" not in complained
    assert sorted(record["status"] for record in statuses(folder)) == ["interrupted", "running"]


def statuses(folder):
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*/run.json"))]


# The command line


def test_run_show_and_figure(study, capsys):
    assert cli.main("run small --circuit.units 9 --seeds 0:2 --only bptt,eprop".split()) == 0
    said = capsys.readouterr().out
    above = ("Small circuits reach", "target_reaching", "whole sequence", "exact", "biased", "runs/small")
    below = ("expected", "bptt learns", "figures/two.pdf", "bioplaus figure ")
    for part in (*above, *below):
        assert part in said, part
    folders = sorted(str(path) for path in Path("runs/small").glob("*-s*"))
    records = statuses(Path("runs/small"))
    assert [record["status"] for record in records] == ["done"] * 4
    assert records[0]["experiment"]["config"]["circuit"]["units"] == 9

    assert cli.main("run small --circuit.units 9 --seeds 0:2 --only bptt,eprop".split()) == 0
    assert capsys.readouterr().out.count("was done before") == 4

    assert cli.main(["show", folders[0]]) == 0
    said = capsys.readouterr().out
    assert "done, 6 of 6 updates" in said and '"units"' not in said and "test_score" in said

    for file in Path("runs/small/figures").iterdir():
        file.unlink()
    assert cli.main(["figure", "runs/small"]) == 0
    drawn = capsys.readouterr().out.split()
    assert drawn == ["runs/small/figures/learning.pdf", "runs/small/figures/two.pdf"]
    assert cli.main(["figure", "runs/small", "alignment"]) == 0
    assert cli.main(["figure", folders[0], "weights"]) == 0
    assert Path(folders[0], "figures", "weights.png").stat().st_size > 1000
    assert Run.load(folders[0]).network.weights, "the circuit is made again from the experiment's file"
    capsys.readouterr()
    assert cli.main(["figure", folders[0], "rastr"]) == 2
    assert "Did you mean 'raster'" in capsys.readouterr().err


def test_an_unknown_arm_is_refused_before_anything_runs(study, capsys):
    assert cli.main(["run", "small", "--only", "bp_lamda"]) == 2
    assert "Did you mean 'bp_lambda'" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_compare(study, capsys):
    words = "compare target_reaching --rules bptt,bp_lambda(lmbda=0) --seeds 0:2"
    words += " --units 8 --updates 4 --batch 3 --align-every 2"
    assert cli.main(words.split()) == 0
    said = capsys.readouterr().out
    assert "bp_lambda(lmbda=0)" in said and "s.e.m." in said
    folder = Path("runs/compare-target_reaching")
    table = pd.read_csv(folder / "table.csv")
    assert table["arm"].tolist() == ["bptt", "bp_lambda(lmbda=0)"] and table["n"].tolist() == [2, 2]
    assert (folder / "figures" / "learning.pdf").exists() and (folder / "figures" / "alignment.svg").exists()
    runs = sorted(folder.glob("bp_lambda*/run.json"))
    assert json.loads(runs[0].read_text())["config"]["rule"]["signal"]["lmbda"] == 0
    assert Run.load(runs[0].parent).network.weights, "a comparison is made again from what it records"
    assert cli.main(["figure", str(folder)]) == 0


def test_a_value_that_makes_no_sense_is_refused_before_anything_runs(study, capsys):
    for words in ("run small --lr -1", "compare target_reaching --rules bptt --updates -3"):
        assert cli.main(words.split()) == 2
        error = after_study(capsys.readouterr().err)
        assert error.count("\n") == 1 and ("-1" in error or "-3" in error)
    assert not Path("runs").exists()


def test_numerical_trouble_on_the_command_line(study, capsys):
    status = cli.main("run small --lr 1e30 --only bptt --seeds 0".split())
    error = after_study(capsys.readouterr().err)
    assert status == 1 and error.count("\n") == 1 and "runs/small" in error
