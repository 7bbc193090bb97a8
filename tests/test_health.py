"""What goes wrong in learning is said, once and by name; what goes well is not."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

import bioplaus as bp

TASK = bp.task("target_reaching")


def trainer(cell: str = "elman", rule: Any = "bptt", task: Any = TASK, **training: Any) -> bp.Trainer:
    rule = bp.rule(rule) if isinstance(rule, str) else rule
    sizes = {"inputs": task.inputs, "units": 12, "outputs": task.outputs}
    cerebellum = {"cerebellum": bp.predictor("linear")} if rule.name == "bp_lambda" else {}
    circuit = bp.circuit("recurrent", cell=bp.model(cell), input_gain=1 if cell != "lif" else 30, **sizes, **cerebellum)
    return bp.Trainer(circuit, task, rule, bp.Training(batch=4, **training))


def said(learner: bp.Trainer, updates: int = 15) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(updates):
            learner.update()
    return [str(w.message) for w in caught if w.category is RuntimeWarning]


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru", "leaky_rate", "lif"])
def test_learning_that_works_is_not_talked_about(cell: str) -> None:
    assert said(trainer(cell, "eprop", lr=1e-3), 30) == []


@pytest.mark.parametrize("cell", ["elman", "lstm", "lif"])
def test_a_learning_rate_that_is_far_too_high(cell: str) -> None:
    found = said(trainer(cell, "eprop", lr=1e6))
    assert any("learning diverges. Lower lr" in text and "times that of the first update" in text for text in found)
    assert len(found) == len({text.split(" at update")[0] for text in found}), "once each"


def test_a_slow_divergence_is_seen_on_average() -> None:
    learner = trainer(lr=0)
    learner.update()
    learner.network.weights["W_out"] *= 30
    found = said(learner, 9)
    assert found == [], "a few high losses may be chance"
    assert ["at update 11" in text for text in said(learner, 1)] == [True]


def test_a_predictor_that_is_far_too_long() -> None:
    learner = trainer(rule="bp_lambda", align_every=1, predictor_lr=0, lr=0)
    assert said(learner, 2) == []
    learner.own["predictor"].learned["A"] += 100.0
    assert any("(prediction_ratio): the predictor diverges" in text for text in said(learner, 2))


def test_a_population_that_falls_silent_on_the_way() -> None:
    learner = trainer("lif", "eprop", lr=0)
    assert said(learner, 2) == []
    learner.network.weights["W_in"].zero_()
    assert said(learner, 9) == [], "for a while that is chance"
    (text,) = said(learner, 20)
    assert "Population 'cortex' has fallen silent: no spike in 10 updates up to update 12" in text


def test_a_population_that_is_silent_from_the_start_is_said_to_be_so_once() -> None:
    learner = trainer("lif", "eprop", lr=0)
    learner.network.weights["W_in"].zero_()
    (text,) = said(learner, 25)
    assert "fired no spike in the first batch" in text and "input_gain" in text


class Constant(bp.Task):
    inputs, outputs, steps, loss, test_trials = 1, 1, 20, bp.tasks.squared, 4

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> bp.Batch:
        x = torch.ones(20, size, 1)
        return bp.Batch(x, x, x[..., 0])


def test_a_saturated_population_that_spikes() -> None:
    learner = trainer("lif", "eprop", Constant(), lr=0)
    learner.network.weights["W_in"].fill_(1e3)
    (text,) = said(learner, 3)
    assert "Population 'cortex' is saturated: at update 1 its neurons fire" in text


@pytest.mark.parametrize("cell", ["elman", "leaky_rate"])
def test_a_saturated_population_with_a_rate(cell: str) -> None:
    learner = trainer(cell, "eprop", lr=0)
    assert said(learner, 2) == []
    learner.network.weights["b"].fill_(1e3)
    found = said(learner, 30)
    assert len(found) == 1 and "Population 'cortex' is saturated: at update 10 what its neurons say hardly" in found[0]


def test_what_was_said_is_remembered_over_a_stop() -> None:
    learner = trainer("lif", "eprop", lr=0)
    learner.network.weights["W_in"].zero_()
    said(learner, 5)
    other = trainer("lif", "eprop", lr=0)
    other.load_state_dict(learner.state_dict())
    assert said(other, 10) == [] and other.health.said == learner.health.said
    assert other.health.first == learner.health.first and len(other.health.lately) == 10


def test_a_harder_stage_begins_anew() -> None:
    task = bp.task("copy_repeat")
    learner = trainer(task=task, lr=0, curriculum=True)
    learner.update()
    assert learner.health.first is not None
    object.__setattr__(learner.task, "solved", 100.0)
    learner.update()
    assert learner.stage == 1 and learner.health.first is None
