"""Who watches a run: what they may be, and what becomes of the run when they raise."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from light_job import Counting

import bioplaus as bp
from bioplaus.errors import NumericalError, RunError
from bioplaus.runs import Run, run_experiment
from bioplaus.runs.event import Event, unheard
from bioplaus.runs.lines import Lines, heard
from bioplaus.runs.loop import execute

PARTS = (bp.task("add", steps=12), bp.rule("bptt"))


LOOSE: Any = bp  # for what a type checker would see first


def circuit():
    return bp.circuit("recurrent", cell=bp.model("elman"), inputs=PARTS[0].inputs, units=3, outputs=PARTS[0].outputs)


def train(folder, **options):
    return LOOSE.train(circuit(), *PARTS, folder=folder, **({"updates": 4, "batch": 2} | options))


class Unhappy(Exception):
    """What a user's own function may raise."""


@pytest.mark.parametrize(
    "error", [Unhappy("no"), NumericalError("theirs"), RunError("theirs"), KeyboardInterrupt(), SystemExit(3)]
)
@pytest.mark.parametrize(("kind", "update"), [("start", 0), ("update", 1), ("update", 3), ("update", 4)])
def test_who_raises_finds_the_run_saved_and_gets_the_error_back(tmp_path, error, kind, update):
    def progress(event: Event):
        if (event.kind, event.update) == (kind, update):
            raise error

    with pytest.raises(type(error)) as caught:
        execute(Counting(4), 0, tmp_path, progress=progress, checkpoint_every=1000)
    assert caught.value is error
    stopped = Run.load(tmp_path)
    assert (stopped.record["status"], stopped.record["update"]) == ("interrupted", update)
    assert stopped.checkpoint["update"] == len(stopped.metrics) == update
    heard: list[Event] = []
    execute(Counting(4), 0, tmp_path, progress=heard.append)
    assert (heard[0].kind, heard[0].update, heard[-1].kind) == ("resume", update, "done")


def test_who_raises_at_the_end_finds_the_run_done(tmp_path):
    def progress(event: Event):
        if event.kind == "done":
            raise Unhappy

    with pytest.raises(Unhappy):
        execute(Counting(), 0, tmp_path, progress=progress)
    assert Run.load(tmp_path).done


def test_a_real_run_goes_on_bit_for_bit_after_who_raised(tmp_path):
    def progress(event: Event):
        if event.update == 2:
            raise Unhappy

    whole = train(tmp_path / "whole")
    with pytest.raises(Unhappy):
        train(tmp_path / "parts", progress=progress)
    parts = train(tmp_path / "parts")
    assert whole.metrics.drop(columns="seconds").equals(parts.metrics.drop(columns="seconds"))
    assert all(torch.equal(weight, parts.weights[name]) for name, weight in whole.weights.items())


@pytest.mark.parametrize("who", ["train", "run_experiment"])
def test_true_shows_lines_and_nothing_shows_none(tmp_path, capsys, who):
    arms = {"bptt": bp.Arm(circuit(), *PARTS, bp.Training(updates=2, batch=2))}

    def ask(progress):
        if who == "train":
            train(tmp_path / str(progress), updates=2, progress=progress)
        else:
            run_experiment(bp.Experiment("t", arms), str(progress), root=tmp_path, progress=progress)
        return capsys.readouterr().out.splitlines()

    begins, *_, ends = ask(True)
    assert begins.startswith("bptt  seed 0  starts: 2 updates, ") and ends.startswith("bptt  seed 0  done  ")
    assert ask(True)[0].startswith("bptt  seed 0  was done before")
    assert ask(np.True_)[0].startswith("bptt  seed 0  was done before")
    assert ask(False) == ask(None) == ask(np.False_) == []


@pytest.mark.parametrize("true", [True, np.True_, np.array(True), torch.tensor(True)])
def test_true_is_true_whoever_made_it(true):
    assert isinstance(heard(true), Lines) and heard(true ^ true) is unheard


def test_lines_come_now_and_then(monkeypatch, capsys):
    clock = iter([0.0, 1.0, 11.0, 12.0, 13.0])
    monkeypatch.setattr("bioplaus.runs.lines.time.monotonic", lambda: next(clock))
    lines = Lines()
    lines(Event("start", "a", 0, "f", 0, 9, {"weights": 1234}))
    for update in (1, 2, 3):
        lines(Event("update", "a", 0, "f", update, 9, {"loss": 0.5, "score": None, "test_loss": 0.25}))
    lines(Event("failed", "a", 0, "f", 3, 9))
    lines(Event("note", message="No figure."))
    lines(Event("drawn", folder="f.pdf"))
    assert capsys.readouterr().out.splitlines() == [
        "a  seed 0  starts: 9 updates, 1,234 weights",
        "a  seed 0  update 2/9  loss 0.5  test loss 0.25",
        "a  seed 0  failed at update 4  f",
        "No figure.",
    ]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"progress": "yes"}, "progress is 'yes'; it must be True for lines of text, None for silence, or a function"),
        ({"progress": 1}, "progress is 1;"),
        ({"progress": [print]}, "progress is .*function"),
        ({"checkpoint_every": None}, "checkpoint_every is None; it must be a finite number of at least 0"),
        ({"checkpoint_every": -1}, "checkpoint_every is -1;"),
        ({"checkpoint_every": math.nan}, "checkpoint_every is nan;"),
        ({"checkpoint_every": "often"}, "checkpoint_every is 'often';"),
        ({"threads": 0}, "threads is 0; it must be a whole number from 1 to .*, or None for torch's own setting"),
        ({"threads": 1.5}, "threads is 1.5;"),
        ({"label": 3}, "label is 3; it must be a name"),
        ({"seed": "0"}, "The seed of a run is '0'"),
        ({"epochs": 3}, "no training option 'epochs'. Did you mean 'updates'"),
        ({"order": "random"}, "seed, threads, update_probability"),
        ({"learning_rate": 3}, "Did you mean 'lr'"),
        ({"lr_out": 3}, "Did you mean 'readout_lr'"),
        ({"batch_size": 3}, "Did you mean 'batch'"),
        ({"optimizer": "adam"}, "Did you mean 'optimiser'"),
        ({"n_updates": 3}, "Did you mean 'updates'"),
        ({"seeds": (0, 1)}, "Did you mean 'seed'"),
        ({"out_dir": "x"}, "Did you mean 'folder'"),
        ({"lambda": 0.5}, r"option of the rule: give it to bp.rule\(…, lmbda=…\)"),
        ({"feedback": "random"}, r"bp.rule\(…, feedback=…\)"),
        ({"hidden_size": 5}, r"bp.circuit\(…, units=…\)"),
    ],
)  # fmt: skip
def test_options_of_train_that_make_no_sense_are_refused_before_anything(tmp_path, options, says):
    with pytest.raises(RunError, match=says) as error:
        train(tmp_path / "r", **options)
    assert "\n" not in str(error.value) and not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"workers": 0}, "workers is 0; it must be a whole number from 1"),
        ({"workers": "2"}, "workers is '2';"),
        ({"workers": True}, "workers is True;"),
        ({"workers": None}, "workers is None;"),
        ({"seeds": 3}, "seeds is 3; it must be a tuple of one or more different entries"),
        ({"seeds": "0:3"}, "seeds is '0:3';"),
        ({"seeds": ()}, r"seeds is \(\);"),
        ({"seeds": (0, 0)}, "different"),
        ({"only": "btpt"}, "Did you mean 'bptt'"),
        ({"progress": "yes"}, "progress is 'yes';"),
        ({"checkpoint_every": None}, "checkpoint_every is None;"),
        ({"n_jobs": 2}, "no option 'n_jobs' of run_experiment. Did you mean 'workers'"),
        ({"folder": "x"}, "Did you mean 'root'"),
        ({"seed": 2}, "Did you mean 'seeds'"),
    ],
)  # fmt: skip
def test_options_of_an_experiment_that_make_no_sense_are_refused_before_anything(tmp_path, options, says):
    arms = {"bptt": bp.Arm(circuit(), *PARTS, bp.Training(updates=2, batch=2))}
    with pytest.raises(RunError, match=says):
        run_experiment(bp.Experiment("t", arms), "t", **({"root": tmp_path} | options))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seeds", [np.arange(2), range(2), (seed for seed in (0, 1)), [np.int64(0), 1]])
def test_seeds_of_any_kind_make_the_same_runs(tmp_path, seeds):
    arms = {"bptt": bp.Arm(circuit(), *PARTS, bp.Training(updates=1, batch=2))}
    number: Any = np.int64(1)
    found = run_experiment(bp.Experiment("t", arms), "t", root=tmp_path, seeds=seeds, workers=number, only="bptt")
    assert [run.seed for run in found["bptt"]] == [0, 1] and repr(found) == "Results(bptt: 2 runs)"
    assert json.loads((tmp_path / "t" / "experiment.json").read_text())["runs"].keys() == {"bptt"}


# Constructors


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: LOOSE.Training(epochs=3), "no option 'epochs' of Training. Did you mean 'updates'"),
        (lambda: LOOSE.Training(learning_rate=3), "Did you mean 'lr'"),
        (lambda: LOOSE.Training(lrr=3), "Did you mean 'lr'"),
        (lambda: LOOSE.Training(5, 3), "Training was given 2 values without a name; all its options by name, such as updates=…"),
        (lambda: LOOSE.Experiment("t", arm={}), "no option 'arm' of Experiment. Did you mean 'arms'"),
        (lambda: LOOSE.Experiment("t", {"a": None}, seed=3), "Did you mean 'seeds'"),
        (lambda: LOOSE.Experiment("t", ["a"]), "give a mapping of at least one, label → Arm"),
        (lambda: LOOSE.Experiment("t"), "No value was given for 'arms', which Experiment needs"),
        (lambda: LOOSE.Arm(circuit(), rule=PARTS[1]), "No value was given for 'task' and 'training', which Arm needs"),
        (lambda: LOOSE.Experiment("t", {"a": 3}), "The arm 'a' of 't' is 3; it must be an Arm"),
        (lambda: LOOSE.Arm(circuit(), *PARTS, trainning=3), "Did you mean 'training'"),
        (lambda: LOOSE.Arm(1, 2, 3, 4, 5, 6, 7), "Arm was given 7 values without a name; circuit, task, rule, training, phases, initial may come in this order"),
    ],
)  # fmt: skip
def test_an_option_that_a_constructor_has_not_is_refused_in_words(make, says):
    with pytest.raises(RunError, match=says):
        make()


def test_what_is_refused_in_words_is_still_made_copied_and_sent():
    import copy
    import dataclasses
    import pickle

    training = bp.Training(updates=3, lr=0.5)
    for other in (copy.deepcopy(training), pickle.loads(pickle.dumps(training)), dataclasses.replace(training)):
        assert other == training
    assert repr(training) == "Training(updates=3, lr=0.5)" and repr(bp.Training()) == "Training()"
    arm = bp.Arm(circuit(), *PARTS, training)
    assert repr(arm) == "Arm(add by bptt, Training(updates=3, lr=0.5))"
    assert repr(bp.Experiment("t", {"a": arm, "b": arm}, (0, 1))) == "Experiment('t', arms: a, b; seeds 0, 1)"


def test_a_figure_of_a_run_is_a_picture_in_a_notebook(tmp_path):
    from matplotlib.figure import Figure

    run = train(tmp_path / "r")
    for name in ("learning", "weights"):
        figure = run.figure(name)
        assert isinstance(figure, Figure) and figure._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"  # pyright: ignore
