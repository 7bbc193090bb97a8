"""What goes wrong in learning is said, once and by name; what goes well is not."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import bioplaus as bp
from bioplaus.errors import LearningWarning
from bioplaus.runs import run_experiment

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
    return [str(w.message) for w in caught if w.category is LearningWarning]


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
    assert any("true ones ever were (prediction_ratio" in text for text in said(learner, 2))


def test_the_truth_that_vanishes_as_a_task_is_solved_does_not_make_a_predictor_too_long() -> None:
    sizes = {"inputs": TASK.inputs, "units": 20, "outputs": TASK.outputs}
    circuit = bp.circuit("recurrent", cell="lstm", cerebellum="linear", **sizes)
    learner = bp.Trainer(circuit, TASK, "bp_lambda", bp.Training(batch=8, lr=3e-3, align_every=5))
    with warnings.catch_warnings():
        warnings.simplefilter("error", LearningWarning)
        rows = [learner.update() for _ in range(120)]
    ratios = [row["prediction_ratio"] for row in rows if "prediction_ratio" in row]
    assert max(ratios) > 10, "the case is one"
    assert rows[-1]["loss"] < 0.01 * rows[0]["loss"]


class Below(bp.tasks.Loss):
    """A loss that is negative at first, as a log-likelihood may be."""

    name = "below"

    def value(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return 0.5 * (outputs - targets).square().sum(-1) - 5


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


def flashed(steps: int, **training: Any) -> bp.Trainer:
    circuit = bp.circuit("hierarchy", inputs=64, units=(9, 8, 7), outputs=10)
    return bp.Trainer(circuit, bp.task("volley", steps=steps), "bptt", bp.Training(batch=4, **training))


def test_a_volley_that_has_gone_by_when_it_is_asked_for() -> None:
    assert said(flashed(3), 12) == []
    (text,) = said(flashed(5), 12)
    assert "hears nothing when it is asked" in text and "steps=L" in text


def test_a_volley_that_has_not_come_up_is_not_called_a_saturation() -> None:
    readout, *areas = said(flashed(1), 22)
    assert "hears nothing when it is asked" in readout
    assert [text.split(" in the first batch")[0] for text in areas] == [
        f"Population '{a}' says nothing" for a in ("A2", "A3")
    ]


def test_forward_models_that_begin_by_predicting_nothing_are_not_talked_about() -> None:
    assert said(flashed(3, drive=bp.Drive(hidden=(9,), share=1.0)), 30) == []


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


def test_a_negative_loss_that_rises() -> None:
    task = type("Likely", (Constant,), {"loss": Below()})()
    learner = trainer(task=task, rule="bptt", lr=1e6)
    assert any("far above that of the first update (-" in text for text in said(learner))


def test_a_score_of_ones_own_that_is_not_defined_is_no_unasked_batch() -> None:
    task = type("Unscored", (Constant,), {"score": lambda self, outputs, batch: float("nan")})()
    assert said(trainer(task=task, lr=0)) == []
    assert any("learning diverges" in text for text in said(trainer(task=task, lr=1e6)))


def test_a_spike_at_the_start_and_one_at_the_end_of_a_short_trial_are_no_saturation() -> None:
    """Six steps with a refractory time of five have room for two spikes, one in three steps."""

    class Short(Constant):
        steps = 6

        def batch(self, generator: torch.Generator, size: int, split: str = "train") -> bp.Batch:
            x = torch.ones(6, size, 1)
            return bp.Batch(x, x, x[..., 0])

    learner = trainer("lif", "eprop", Short(), lr=0)
    learner.network.weights["W_in"].fill_(1e3)
    (text,) = said(learner, 2)
    assert "of 0.333 that fit" in text
    learner = trainer("lif", "eprop", Short(), lr=0)
    learner.network.weights["W_in"].fill_(1e3)
    learner.network.weights["W_in"][::2] = 3.0  # one spike, later
    assert said(learner, 2) == []


@pytest.mark.parametrize("cell", ["elman", "leaky_rate"])
def test_a_circuit_that_is_saturated_from_the_start(cell: str) -> None:
    learner = trainer(cell, "eprop", lr=0)
    learner.network.weights["b"].fill_(1e3)
    (text,) = said(learner, 3)
    assert "is saturated: at update 1" in text and "or at rest" in text


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


# -- in runs ------------------------------------------------------------------------------------------------------------


def circuit() -> bp.Circuit:
    return bp.circuit("recurrent", cell="elman", inputs=TASK.inputs, units=12, outputs=TASK.outputs)


def test_a_run_keeps_what_was_said_and_tells_who_watches(tmp_path: Path) -> None:
    events: list[Any] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # whoever watches is told by events instead
        run = bp.train(
            circuit(), TASK, "bptt", folder=tmp_path / "a", updates=12, batch=4, lr=1e6, progress=events.append
        )
    assert run.done
    said = [event.message for event in events if event.kind == "remark"]
    assert len(said) == len(set(said)) and said == list(run.record["remarks"].values())
    assert "learning diverges" in run.record["remarks"]["loss"] and said[0] in (tmp_path / "a" / "log.txt").read_text()
    with pytest.warns(LearningWarning, match="learning diverges"):
        bp.train(circuit(), TASK, "bptt", folder=tmp_path / "b", updates=12, batch=4, lr=1e6)


def test_a_run_that_goes_on_says_nothing_twice(tmp_path: Path) -> None:
    def stop(event: Any) -> None:
        events.append(event)
        if event.kind == "update" and event.update == 6:
            raise KeyError("stop")

    events: list[Any] = []
    options: dict[str, Any] = {"folder": tmp_path, "updates": 12, "batch": 4, "lr": 1e6}
    with pytest.raises(KeyError):
        bp.train(circuit(), TASK, "bptt", progress=stop, **options)
    first = [event.message for event in events if event.kind == "remark"]
    run = bp.train(circuit(), TASK, "bptt", progress=events.append, **options)
    said = [event.message for event in events if event.kind == "remark"]
    assert first and said[: len(first)] == first and len(said) == len(set(said)) == len(run.record["remarks"])


def test_a_task_that_counts_its_batches_is_recognised(tmp_path: Path) -> None:
    class Counting(Constant):
        drawn = 0

        def batch(self, generator: torch.Generator, size: int, split: str = "train") -> bp.Batch:
            self.drawn += 1
            return super().batch(generator, size, split)

    cell = {"cell": "elman", "inputs": 1, "units": 3, "outputs": 1}
    runs = [
        bp.train(bp.circuit("recurrent", **cell), Counting(), "bptt", folder=tmp_path, updates=2, batch=2)
        for _ in range(2)
    ]
    assert all(run.done for run in runs) and runs[1].record["timing"]["sittings"] == 1


def test_an_experiment_says_it_below_its_table(tmp_path: Path) -> None:
    arms = {
        name: bp.Arm(circuit(), TASK, bp.rule("bptt"), bp.Training(updates=12, batch=4, lr=lr))
        for name, lr in (("wild", 1e6), ("calm", 1e-3))
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_experiment(bp.Experiment("t", arms, seeds=(0, 1)), "t", root=tmp_path)
    (page,) = tmp_path.rglob("table.md")
    assert (
        "**Warning:** wild, seeds 0, 1, of which 0: The loss is" in page.read_text()
        and "calm, seed" not in page.read_text()
    )
