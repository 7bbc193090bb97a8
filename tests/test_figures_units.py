"""Every axis says its unit, and the right one: shares as fractions or in %, cross-entropies in nats or bits, time in ms or steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from test_figures import has_a_unit, labels, random_curves

import bioplaus as bp
from bioplaus import figures
from bioplaus.figures.panels.common import unit_of
from bioplaus.runs.draw import draw_run
from bioplaus.tasks import losses

TASKS: dict[str, tuple[dict[str, Any], str, str]] = {
    "target_reaching": ({}, "Training loss, ½ squared error (a.u.²/trial)", "Test r.m.s. error (a.u.)"),
    "flip_flop": ({"steps": 5}, "Training loss, ½ squared error (a.u.²/trial)", "Test right signs (fraction)"),
    "sequential_digits": ({}, "Training loss, cross-entropy (nats/trial)", "Test accuracy (fraction)"),
    "add": ({"steps": 10}, "Training loss, cross-entropy (nats/trial)", "Test cross-entropy (nats)"),
    "copy": ({}, "Training loss, cross-entropy (nats/trial)", "Test cross-entropy (bits)"),
}


def trained(name: str, folder: Any, **options: Any) -> bp.Run:
    task = bp.task(name, **TASKS[name][0])
    circuit = bp.circuit("recurrent", cell=bp.model("elman"), inputs=task.inputs, units=3, outputs=task.outputs)
    asked: Any = {"updates": 2, "batch": 2, "evaluate_every": 1} | options
    return bp.train(circuit, task, bp.rule("bptt"), folder=folder, **asked)


@pytest.mark.parametrize("name", TASKS)
def test_a_run_s_curves_are_in_the_units_of_its_loss_and_score(name, tmp_path):
    run = trained(name, tmp_path / "run")
    left, right = draw_run(run, "learning").axes
    assert (left.get_ylabel(), right.get_ylabel()) == TASKS[name][1:]
    assert left.get_xlabel() == right.get_xlabel() == "Updates (number)"
    for label in labels(draw_run(run, "raster")):
        has_a_unit(label)
        assert not label.startswith("Time") or label == "Time (steps)", "these tasks have no duration"


def test_a_score_that_is_taken_of_training_trials_alone_says_so(tmp_path):
    run = trained("sequential_digits", tmp_path / "run", evaluate_every=0)
    assert draw_run(run, "learning").axes[1].get_ylabel() == "Training accuracy (fraction)"


def test_a_loss_of_ones_own_is_in_arbitrary_units():
    """Its name is not known to a figure, which is drawn from what the run's folder says."""
    from types import SimpleNamespace

    from bioplaus.runs.draw import _loss, _scores
    from bioplaus.runs.results import Results

    def results(**task: str) -> Results:
        curves = {"test_score": ([1, 2], [[0.1, 0.2]])}
        run: Any = SimpleNamespace(config={"task": task}, metrics=curves)
        made = Results({"mine": [run]})
        made.curves = lambda column: {"mine": (np.arange(2), np.ones((1, 2)))}  # type: ignore[method-assign]
        return made

    assert _loss(results(loss="huber")) == ("Training loss", "a.u./trial") == _loss(results())
    assert _scores(results(score="reward"))[1:] == ("Test reward", "reward", "")


def test_every_shipped_loss_says_what_it_is_and_in_what_unit():
    assert {each.name for each in losses.ALL} == {
        "squared",
        "cross_entropy",
        "soft_cross_entropy",
        "binary_cross_entropy",
    }
    for each in losses.ALL:
        for quantity, unit in (each.measures, each.scores):
            has_a_unit(f"{quantity} ({unit})")
    assert losses.Loss.measures == losses.Loss.scores == ("loss", "")


@pytest.mark.parametrize(
    ("quantity", "unit", "values", "expected"),
    [
        ("Accuracy", "", [0.1, 0.9], "fraction"), ("Held-out accuracy", "", [11.0, 95.0], "%"), ("Accuracy", "%", [0.5], "%"),
        ("Right signs", "", [1.0, np.nan], "fraction"), ("Loss", "", [0.5], ""), ("Accuracy of the clock", "ms", [3.0], "ms"),
        ("Test accuracy", "", [np.nan], "fraction"),
    ],
)  # fmt: skip
def test_a_share_without_a_unit_is_a_fraction_or_per_cent(quantity, unit, values, expected):
    assert unit_of(quantity, unit, [np.array(values)]) == expected
    if not np.isfinite(values).any():
        return
    curve = {"bptt": ([0, 1][: len(values)], [values])}
    said = figures.learning(curve, quantity=quantity, unit=unit).axes[0].get_ylabel()
    assert said == f"{quantity} ({expected or 'a.u.'})"


def test_scores_and_trade_offs_say_the_same():
    scores = {"bptt": [0.9, 0.8], "eprop": [0.7, 0.6]}
    assert figures.final_scores(scores, quantity="Final accuracy").axes[0].get_xlabel() == "Final accuracy (fraction)"
    shared: Any = {"higher": True, "quantity": "Test accuracy", "final": "Final accuracy", "cost_unit": "ms"}
    curves = {label: ([1, 2], [each, each]) for label, each in scores.items()}
    left, right = figures.pareto(curves, {label: [1.0, 2.0] for label in scores}, scores, **shared).axes
    assert left.get_ylabel() == "Test accuracy (fraction)" and right.get_ylabel() == "Final accuracy (fraction)"
    assert right.get_xlabel() == "Time per step (ms)"
    summary = figures.summary(random_curves(), quantity="Accuracy")  # up to 90
    assert summary.axes[0].get_ylabel() == "Accuracy (%)" and summary.axes[1].get_xlabel() == "Final accuracy (%)"


@pytest.mark.parametrize("unit", ("1", "", "step", "steps"))
def test_time_without_duration_is_in_steps(unit):
    spikes = (np.random.default_rng(0).random((50, 1, 4)) < 0.2).astype(float)
    data = xr.Dataset({"spikes": (("time", "batch", "unit"), spikes)}, {"time": np.arange(50.0)})
    data["time"].attrs["units"] = unit
    assert sorted(labels(figures.raster(data))) == ["Rate (spikes/step)", "Time (steps)", "Unit (index)"]
    target = np.zeros((50, 1, 1))
    assert labels(figures.trajectories(target, target, time=np.arange(50.0), time_unit=unit))[0] == "Time (steps)"
