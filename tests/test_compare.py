"""The comparison of rules: equal starts, a learning rate for each, what they cost, what may not be concluded."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Annotation, Text

import bioplaus as bp
from bioplaus import cli, figures
from bioplaus.cli.terminal import parts
from bioplaus.errors import RunError
from bioplaus.figures import panels
from bioplaus.figures.panels.labels import dark
from bioplaus.learning.trainer import Trainer
from bioplaus.measure.memory import Cost, bytes_of, memory
from bioplaus.measure.time import seconds_per_update
from bioplaus.runs import Run, run_experiment
from bioplaus.runs.compare import Comparison, Setting, comparison, trial, trials
from bioplaus.runs.remarks import differences, warnings
from bioplaus.runs.spread import overlap, spread
from bioplaus.runs.standings import Standing, at_end
from bioplaus.runs.tune import tune
from bioplaus.runs.tuning import Choice, Tuning, choose, doubts

FLOAT = 4  # bytes of a float32
SMALL = Setting(cell="leaky_rate", units=6, updates=12, batch=3)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BIOPLAUS_STUDY", raising=False)


NO_SEARCH = Tuning()


def compared(*rules, task="target_reaching", tuning=NO_SEARCH, **setting) -> Comparison:
    return Comparison(task, rules, dataclasses.replace(SMALL, **setting), tuning)


# Equal starts


def test_every_rule_starts_from_the_same_weights_and_sees_the_same_trials(monkeypatch):
    rules = ("bptt", "eprop(feedback=random)", "uoro", "kernl", "dni(steps=3)", "bp_lambda(predictor=mlp)")
    chosen = tuple(Choice(rule, 1e-3 * (1 + i), (), ()) for i, rule in enumerate(rules))
    experiment = comparison(dataclasses.replace(compared(*rules, task="add"), chosen=chosen))
    task = next(iter(experiment.arms.values())).task
    given: list[torch.Tensor] = []
    draw = type(task).batch

    def watched(self, generator, size, split: Any = "train"):
        batch = draw(self, generator, size, split)
        given.append(torch.cat([batch.inputs.flatten(), batch.targets.flatten()]))
        return batch

    monkeypatch.setattr(type(task), "batch", watched)
    seen: dict[tuple[str, int], Any] = {}
    for label, arm in experiment.arms.items():
        for seed in (0, 5):
            trainer = Trainer(arm.circuit, arm.task, arm.rule, arm.training, seed)
            weights = {name: w.clone() for name, w in trainer.network.weights.items()}
            given.clear()
            for _ in range(3):  # rules that draw at random must not use up the trials' stream
                trainer.update()
            tests = [batch.inputs for batch in task.test_batches(50)]
            seen[label, seed] = weights, list(given)[:3], tests
    for seed in (0, 5):
        weights, trials_seen, tests = seen["bptt", seed]
        for label in rules[1:]:
            theirs = seen[label, seed]
            assert weights.keys() == theirs[0].keys()
            assert all(torch.equal(w, theirs[0][name]) for name, w in weights.items()), label
            assert all(torch.equal(a, b) for a, b in zip(trials_seen, theirs[1], strict=True)), label
            assert all(torch.equal(a, b) for a, b in zip(tests, theirs[2], strict=True)), label
    one, other = seen["bptt", 0], seen["bptt", 5]
    assert not torch.equal(one[0]["W_rec"], other[0]["W_rec"]) and not torch.equal(one[1][0], other[1][0])
    assert not torch.equal(one[1][0], one[1][1]), "the same trials at every update: nothing was tested"


# A learning rate for each rule


@pytest.mark.parametrize("higher", [True, False])
def test_the_best_rate_is_chosen_and_the_smaller_of_equals(higher):
    sign = 1 if higher else -1

    def chosen(*scores):
        return choose((1e-4, 1e-3, 1e-2), [None if s is None else sign * s for s in scores], higher)

    assert chosen(1.0, 3.0, 2.0) == 1e-3
    assert chosen(1.0, 2.0, 3.0) == 1e-2
    assert chosen(1.0, 3.0, 3.0) == 1e-3
    assert chosen(None, None, -9.0) == 1e-2
    assert chosen(None, None, None) == 1e-4


def test_what_makes_a_choice_doubtful_is_told():
    def told(rate, *scores):
        return " ".join(doubts([Choice("uoro", rate, (0.001, 0.01, 0.1), scores)]))

    assert told(0.01, 1.0, 2.0, 3.0) == ""
    assert told(0.1, 1.0, 2.0, 3.0) == "The best rate of uoro, 0.1, is the largest tried; widen --tune."
    assert told(0.001, 1.0, 2.0, 3.0) == "The best rate of uoro, 0.001, is the smallest tried; widen --tune."
    assert told(0.01, 1.0, 2.0, None) == "uoro broke down in the search at 0.1, which counted as worst."
    assert told(0.001, None, None, None) == "uoro broke down at every rate tried; the smallest, 0.001, was taken."
    rates = (0.01, 0.1)
    three = [Choice(rule, rate, rates, (1.0, 2.0)) for rule, rate in (("a", 0.1), ("b", 0.01), ("c", 0.1))]
    assert doubts(three) == [
        "The best rate of a and c, 0.1, is the largest tried; widen --tune.",
        "The best rate of b, 0.01, is the smallest tried; widen --tune.",
    ]
    assert doubts([]) == []


def test_a_search_that_is_none_is_refused():
    for rates in ((0.1,), (0.1, 0.1)):
        with pytest.raises(RunError, match="two or more different numbers"):
            Tuning(rates)
    for rates in ((0.1, -1.0), (0.1, math.nan), (0.1, math.inf)):
        with pytest.raises(RunError, match="rates of .* each a finite number of at least 0"):
            Tuning(rates)
    with pytest.raises(RunError, match="updates of .* from 1"):
        Tuning((0.1, 0.2), updates=0)
    with pytest.raises(RunError, match="seeds"):
        Tuning((0.1, 0.2), seeds=(1, 1))
    assert Tuning((0.1, 0.01)).rates == (0.01, 0.1)
    assert Tuning((1e-4, 1e-3, 1e-2), (7, 8), 50).budget(300) == (
        "3 rates (0.0001, 0.001, 0.01) × 2 seeds (7, 8) × 50 updates = 300 updates"
    )


def test_all_rules_are_searched_alike_and_other_rates_follow():
    options = compared("bptt", "dni(steps=3)", tuning=Tuning((1e-3, 1e-2), (7, 8), 5), evaluate_every=2, align_every=2)
    experiment = trials(options)
    assert list(experiment.arms) == ["bptt lr=0.001", "bptt lr=0.01", "dni(steps=3) lr=0.001", "dni(steps=3) lr=0.01"]
    assert experiment.seeds == (7, 8)
    trainings = [arm.training for arm in experiment.arms.values()]
    assert {training.updates for training in trainings} == {5}
    assert [training.lr for training in trainings] == [1e-3, 1e-2] * 2
    arm = experiment.arms["dni(steps=3) lr=0.01"]
    trainer = Trainer(arm.circuit, arm.task, arm.rule, arm.training, 7)
    optimisers: list[Any] = [trainer.optimisers.circuit, trainer.optimisers.predictor]
    groups = [group for optimiser in optimisers if optimiser for group in optimiser.param_groups]
    assert len(groups) == 3 and {group["lr"] for group in groups} == {1e-2}
    whole = trials(dataclasses.replace(options, tuning=Tuning((1e-3, 1e-2))))
    assert {arm.training.updates for arm in whole.arms.values()} == {SMALL.updates}
    given = trials(dataclasses.replace(options, setting=dataclasses.replace(SMALL, readout_lr=0.5)))
    assert {arm.training.readout_lr for arm in given.arms.values()} == {0.5}


def test_a_rate_that_learns_is_preferred_to_none_and_to_an_absurd_one():
    """0 learns nothing, 1e6 leaves finite nonsense, 1e38 breaks the simulation down; none of it stops the others."""
    options = compared("bptt", "uoro", tuning=Tuning((0.0, 1e-2, 1e6, 1e38)))
    heard: list[Any] = []
    found = tune(options, progress=heard.append)
    assert [(choice.rule, choice.rate) for choice in found.chosen] == [("bptt", 1e-2), ("uoro", 1e-2)]
    for choice in found.chosen:
        still, sensible, absurd, broken = choice.scores
        assert still is not None and sensible is not None and absurd is not None
        assert sensible < still < absurd and broken is None
    kinds = [event.kind for event in heard if event.kind not in ("update", "drawn")]
    assert kinds.count("done") == 6 and kinds.count("failed") == 2
    assert {Path(event.folder).parent for event in heard if event.kind == "done"} == {
        Path("runs/compare-target_reaching/tune")
    }

    arms = comparison(found).arms
    assert all(arm.training.lr == 1e-2 for arm in arms.values())
    assert all(arm.training.lr == 1e-3 for arm in comparison(options).arms.values()), "without a search, the setting's"


def test_each_rule_gets_its_own_rate():
    tuned = dataclasses.replace(
        compared("bptt", "eprop"), chosen=(Choice("eprop", 0.3, (), ()), Choice("bptt", 0.1, (), ()))
    )
    assert {label: arm.training.lr for label, arm in comparison(tuned).arms.items()} == {"bptt": 0.1, "eprop": 0.3}


def test_a_final_score_that_is_no_number_counts_as_broken(tmp_path):
    run: Any = SimpleNamespace(metrics=pd.DataFrame({"update": [1, 2], "test_score": [0.1, math.nan]}))
    assert math.isnan(at_end(run, "test_score")), "the score of an earlier test must not stand for the last"
    from bioplaus.runs.tune import mean_score

    assert mean_score([run]) is None
    sound: Any = SimpleNamespace(metrics=pd.DataFrame({"test_score": [9.0, 0.5]}))
    assert mean_score([sound, sound]) == 0.5 and mean_score([sound, run]) is None


def test_a_search_goes_on_where_it_was_stopped():
    """What is done is found, what was interrupted goes on from its checkpoint, nothing is computed twice."""
    options = compared("bptt", "eprop", tuning=Tuning((1e-3, 1e-2)))
    first: list[Any] = []

    def stopping(event):
        first.append(event)
        if event.kind == "update" and event.label == trial("eprop", 1e-3) and event.update == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        tune(options, progress=stopping)
    second: list[Any] = []
    found = tune(options, progress=second.append)
    kinds = {event.label: event.kind for event in second if event.kind in ("found", "resume", "start")}
    assert kinds == {
        "bptt lr=0.001": "found",
        "bptt lr=0.01": "found",
        "eprop lr=0.001": "resume",
        "eprop lr=0.01": "start",
    }
    done = [(event.label, event.update) for event in [*first, *second] if event.kind == "update"]
    assert len(done) == len(set(done)) == 4 * SMALL.updates
    third: list[Any] = []
    assert tune(options, progress=third.append).chosen == found.chosen
    assert {event.kind for event in third} == {"found"}


@pytest.mark.slow
def test_workers_search_as_one_process_does():
    options = compared("bptt", "eprop", tuning=Tuning((1e-3, 1e38)), updates=4)
    alone = tune(options, root="alone")
    together = tune(options, root="together", workers=2)
    assert alone.chosen == together.chosen
    assert [choice.scores[1] for choice in together.chosen] == [None, None]


# What rules keep


def sizes(cell="leaky_rate", units=6, tau_out=None, **options):
    task = bp.task("target_reaching", **options)
    more = {"tau_out": tau_out} if tau_out else {}
    return bp.circuit(
        "recurrent", cell=bp.model(cell), inputs=task.inputs, units=units, outputs=task.outputs, **more
    ), task


def kept(rule, units=6, **options):
    circuit, task = sizes(units=units, **options)
    return memory(circuit, task, rule)


@pytest.mark.parametrize("units", [4, 9])
def test_rtrl_keeps_an_influence_of_every_state_on_every_weight(units):
    inputs = 10
    width = units * (inputs + units + 1)  # one column a weight, biases included
    last_step = units + (inputs + units + 1)  # ψ, and what arrived
    expected = 2 * units * width + units * units + last_step  # with the buffer for its update, and J
    cost = kept(bp.rule("rtrl"), units)
    assert cost.state == FLOAT * expected and cost.fixed == 0


def test_rtrl_behind_a_leaky_readout_keeps_it_filtered_too():
    width = 6 * (10 + 6 + 1)
    plain, leaky = kept(bp.rule("rtrl")), kept(bp.rule("rtrl"), tau_out=20e-3)
    assert leaky.state - plain.state == FLOAT * 6 * width


@pytest.mark.parametrize("schedule", ["online", "window"])
def test_eprop_keeps_a_trace_per_synapse(schedule):
    units, inputs = 6, 10
    arriving = inputs + units + 1
    # Every synapse has a trace; the leak is one number, so that the state's own trace is shared by all neurons.
    cost = kept(bp.rule("eprop", schedule=schedule), units)
    # Carried forward, credit meets each sample's trace where it lies, in a tensor of its size.
    tensors = 2 if schedule == "online" else 1
    assert cost.state == FLOAT * (tensors * units * arriving + arriving) and cost.fixed == 0
    leaky = kept(bp.rule("eprop", schedule=schedule), units, tau_out=20e-3)
    assert leaky.state - cost.state == FLOAT * units * arriving


def test_a_rank_one_influence_is_small():
    cost = kept(bp.rule("uoro"))
    states, inputs = 6, 10 + 6 + 1
    assert cost.state == FLOAT * (states + states * inputs + states + inputs)  # A, B, and the last step
    assert cost.state < kept(bp.rule("rtrl")).state / 5


def test_what_is_no_sample_s_own_is_fixed():
    circuit, task = sizes()
    size = 6 + 6  # state and output of every neuron: what the predictor sees and predicts
    dni = memory(circuit, task, bp.rule("dni", steps=3))
    assert dni.fixed == FLOAT * (size * size + size) and dni.state == 0
    random = memory(circuit, task, bp.rule("eprop", feedback="random"))
    assert random.fixed == FLOAT * 2 * 6  # B, (output, unit)
    kernel = memory(circuit, task, bp.rule("kernl"))
    assert kernel.fixed == 2 * FLOAT * (6 * 6 + 6)  # Λ and α, and what is learned for them
    assert (
        memory(circuit, task, bp.rule("rtrl"), dtype="float64").state
        == 2 * memory(circuit, task, bp.rule("rtrl")).state
    )


def test_the_window_is_as_long_as_the_schedule_looks_at_once():
    circuit, task = sizes()
    costs = {name: memory(circuit, task, bp.rule(name)) for name in ("bptt", "rtrl")}
    halves = [memory(circuit, task, bp.rule("tbptt", steps=k)).window for k in (1, 2, 4)]
    assert costs["bptt"].state == 0
    assert halves[0] == costs["rtrl"].window
    step = halves[1] - halves[0]
    assert step > 0 and halves[2] - halves[1] == 2 * step
    assert costs["bptt"].window == halves[0] + (task.steps - 1) * step
    history = [memory(circuit, task, bp.rule("sliding_bptt", steps=k)).state for k in (1, 2, 4)]
    assert history[2] - history[1] == 2 * (history[1] - history[0]) > 0, "a state that grows is weighed at its largest"


def test_a_state_that_is_let_go_at_the_end_is_weighed_before():
    circuit, task = sizes()
    size = 6 + 6
    traced = memory(circuit, task, bp.rule("bp_lambda", schedule="online"))
    assert traced.state == FLOAT * size * (
        size * size + size
    )  # γλ J e, of every weight of the predictor on every state
    assert memory(circuit, task, bp.rule("bp_lambda")).state == 0


def test_both_halves_are_weighed_together():
    """What the two keep at the same time adds up, but for what they share."""
    circuit, task = sizes()
    rule = bp.rule("rtrl")
    kept_by_signal = torch.zeros(2, 100)

    class Remembering(type(rule.signal)):
        def credit(self, own, state, observed):
            credit, found, _, info = super().credit(own, state, observed)
            return credit, found, kept_by_signal[: observed.error.shape[1]], info

    both = dataclasses.replace(rule, signal=Remembering())
    assert memory(circuit, task, both).state == memory(circuit, task, rule).state + FLOAT * 100


def test_each_stretch_of_memory_is_weighed_once():
    a = torch.zeros(10, 4)
    assert bytes_of(a) == bytes_of((a, [a], {"x": a})) == 160
    assert bytes_of(a[3]) == 16 and bytes_of([a[3], a[4], a[3]]) == 32
    assert bytes_of((a, a[3], a.T)) == 160
    assert bytes_of(torch.zeros(1).expand(1000)) == 4
    assert bytes_of(None) == bytes_of(("x", 3, torch.Generator())) == 0
    network = sizes()[0].build()
    assert bytes_of(SimpleNamespace(network=network, trace=a)) == 160, "the circuit is nobody's cost"
    circular: list[Any] = [a]
    circular.append(circular)
    assert bytes_of(circular) == 160


# Spread, time


def test_spread_is_that_of_the_textbook():
    found = spread([1.0, 2.0, 3.0, 4.0])
    assert (found.n, found.mean) == (4, 2.5)
    assert found.sem == pytest.approx(math.sqrt(5 / 3 / 4))
    assert found.half == pytest.approx(3.182446 * found.sem, rel=1e-6)  # t of 3 degrees of freedom
    assert spread([1.0, math.nan, 3.0]).n == 2
    one = spread([1.0])
    assert math.isnan(one.sem) and one.interval == (-math.inf, math.inf) and math.isnan(spread([]).mean)
    assert overlap(spread([0.0, 1.0]), spread([1.0, 2.0])) and not overlap(spread([0.0, 0.1]), spread([5.0, 5.1]))


def run_of(seconds, **columns) -> Any:
    table = pd.DataFrame({"update": np.arange(1, len(seconds) + 1), "seconds": seconds, **columns})
    return SimpleNamespace(metrics=table)


def test_time_of_an_update_leaves_out_what_is_no_learning():
    spent = np.array([9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 50.0, 1.0])  # compiling at first, a checkpoint at the 8th
    assert seconds_per_update(run_of(np.cumsum(spent))) == pytest.approx(1.0)
    tested = np.full(9, np.nan)
    tested[[2, 5, 8]] = 0.5
    slow = np.where(np.isfinite(tested), 20.0, 2.0)
    assert seconds_per_update(run_of(np.cumsum(slow), test_score=tested)) == pytest.approx(2.0)
    assert seconds_per_update(run_of(np.cumsum(slow), alignment=tested)) == pytest.approx(2.0)
    assert seconds_per_update(run_of([3.0], test_score=[0.1])) == 3.0
    assert math.isnan(seconds_per_update(run_of([])))


# What may not be concluded


def standing(label="a", scores=(1.0, 1.1, 0.9, 1.0, 1.05), broken=(), updates=100, batch=10) -> Standing:
    seeds = tuple(range(len(scores)))
    return Standing(
        label,
        0.01,
        updates,
        batch,
        10,
        seeds,
        tuple(broken),
        tuple(scores),
        spread(scores),
        (1e-3,) * len(scores),
        Cost(0, 0, 0),
    )


FAR = tuple(9 + x for x in (0.0, 0.1, -0.1, 0.05, -0.05))


def test_nothing_is_warned_of_without_cause():
    assert warnings([standing(), standing("b", FAR)], higher=False) == ()
    assert warnings([standing(), standing("b", FAR)], higher=True) == ()
    sound = Choice("a", 0.01, (0.001, 0.01, 0.1), (2.0, 1.0, 3.0))
    assert warnings([standing(), standing("b", FAR)], False, [sound]) == ()
    assert warnings([], higher=True) == ()


def test_rules_that_are_not_told_apart_are_told():
    scores = standing().scores
    near = tuple(x + e for x, e in zip(scores, (0.02, -0.02, 0.03, -0.01, 0.01), strict=True))
    (line,) = warnings([standing("c", FAR), standing("a"), standing("b", near)], higher=False)
    assert "are not told apart by 5 seeds" in line and "seed by seed" in line and "holds 0" in line
    assert warnings([standing("c", FAR), standing("a"), standing("b", near)], higher=True) == (), "c is best by far"
    # the same weights and trials: a small difference that every seed shows is one, though the intervals overlap
    always = tuple(x + e for x, e in zip(scores, (0.020, 0.021, 0.019, 0.020, 0.022), strict=True))
    (line,) = warnings([standing("a"), standing("b", always)], higher=False)
    assert "t-intervals that overlap" in line and "leaves out 0" in line and "not told apart" not in line
    assert differences(standing("b", always), standing("a")) == pytest.approx([0.020, 0.021, 0.019, 0.020, 0.022])
    # mean ± s.e.m. would not overlap here, the t-interval does
    close = [spread(x) for x in ((1.0, 1.2, 0.8, 1.1, 0.9), (1.3, 1.5, 1.1, 1.4, 1.2))]
    assert close[0].mean + close[0].sem < close[1].mean - close[1].sem and overlap(*close)


def test_unequal_budgets_are_told():
    (line,) = warnings([standing(), standing("b", FAR, updates=50)], higher=False)
    assert line == "The rules did not have the same number of updates: a 100, b 50."
    (line,) = warnings([standing(), standing("b", FAR, batch=20)], higher=False)
    assert "trials an update: a 10, b 20" in line
    (line,) = warnings([standing(), standing("b", (*FAR, 9.0))], higher=False)
    assert "seeds: a 5, b 6" in line


def test_seeds_that_broke_down_and_few_seeds_are_told():
    (line,) = warnings([standing(), standing("b", FAR[:4], broken=(4,))], higher=False)
    assert line.startswith("b broke down with 1 of 5 seeds (4); its row is of the others alone")
    (line,) = warnings([standing(), standing("b", (), broken=(0, 1, 2, 3, 4))], higher=False)
    assert line.endswith("it has no score.")
    (line,) = warnings([standing(scores=(1.0, 1.01, 0.99, 1.0)), standing("b", FAR[:4])], higher=False)
    assert line.startswith("4 seeds are few")
    few, undecided = warnings([standing(scores=(1.0,)), standing("b", (9.0,))], higher=False)
    assert few.startswith("1 seed is few") and "not told apart by 1 seed: a single score has no interval" in undecided


def test_doubtful_choices_are_told():
    edge = Choice("a", 0.1, (0.01, 0.1), (2.0, 1.0))
    assert warnings([standing(), standing("b", FAR)], False, [edge]) == tuple(doubts([edge])) != ()


# The figure


def test_the_frontier_is_what_no_other_beats():
    costs = [1.0, 2.0, 3.0, 4.0, 2.5]
    scores = [5.0, 3.0, 3.5, 1.0, 3.0]  # the third and the fifth are beaten by the second
    assert panels.frontier(costs, scores, higher=False) == [0, 1, 3]
    assert panels.frontier(costs, scores, higher=True) == [0]
    assert panels.frontier(costs[::-1], scores[::-1], higher=False) == [4, 3, 1]
    assert panels.frontier([1.0, 1.0], [2.0, 2.0], higher=True) == [0, 1], "equal points do not beat each other"
    assert panels.frontier([1.0, 1.0, 2.0], [2.0, 3.0, 3.0], higher=True) == [1]


def test_the_text_of_a_pale_point_is_dark_enough():
    assert dark("#000000") == "#000000"
    pale = dark("#C9B3E8")
    red, green, blue = (int(pale[i : i + 2], 16) for i in (1, 3, 5))
    assert blue > red > green and max(red, green, blue) < 0xC0


EIGHT = ("bptt", "eprop", "bp_lambda(lmbda=0.5)", "rtrl", "uoro", "kf_rtrl", "snap(order=2)", "dni(steps=5)")


def measured(spacing):
    """Curves, costs and scores of eight rules, whose points lie `spacing` apart."""
    rng = np.random.default_rng(0)
    noise = lambda size: 1 + 0.02 * rng.normal(size=5) * size  # noqa: E731
    curves = {label: (np.arange(20), rng.random((5, 20))) for label in EIGHT}
    costs = {label: (1 + spacing * (3 * i % 8)) * noise(spacing) for i, label in enumerate(EIGHT)}
    scores = {label: (1 + spacing * i) * noise(spacing) for i, label in enumerate(EIGHT)}
    return curves, costs, scores


@pytest.mark.parametrize("spacing", [1.0, 0.01, 1e-6])
@pytest.mark.parametrize("higher", [True, False])
def test_eight_names_are_legible_however_close_the_points(spacing, higher):
    figure = figures.pareto(*measured(spacing), higher=higher, cost_unit="ms")
    figure.draw_without_rendering()
    ax = figure.axes[1]
    names = {text.get_text(): text for text in ax.texts}
    assert names.keys() == set(EIGHT)
    inside = ax.get_window_extent()
    boxes = []
    for text in ax.texts:
        assert isinstance(text, Annotation)
        # The extent of a text alone, without the line to its point.
        wide, high = Text(0, 0, text.get_text(), figure=figure, fontsize=7).get_window_extent().size
        x, y = ax.transData.transform(text.xy) + np.array(text.xyann) * figure.dpi / 72
        boxes.append((x - wide / 2, y - high / 2, x + wide / 2, y + high / 2))
    for left, low, right, top in boxes:
        assert inside.x0 <= left and right <= inside.x1 and inside.y0 <= low and top <= inside.y1
    for one, other in itertools.combinations(boxes, 2):
        wide, high = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
        assert wide <= 0 or high <= 0


def test_points_bars_and_frontier_are_those_of_the_data():
    curves, costs, scores = measured(1.0)
    figure = figures.pareto(
        curves, costs, scores, higher=True, cost="Time per step", cost_unit="ms", final="Final score"
    )
    ax = figure.axes[1]
    assert ax.get_xscale() == "log" and ax.get_xlabel() == "Time per step (ms)"
    points = [np.asarray(line.get_xydata())[0] for line in ax.lines if line.get_marker() == "o"]
    means = np.array([(costs[label].mean(), scores[label].mean()) for label in EIGHT])
    assert np.array(points) == pytest.approx(means)
    bars = [segment for bar in ax.collections for segment in bar.get_segments()]  # type: ignore[attr-defined]
    sem = pd.Series(costs["bptt"]).sem()
    assert bars[0][:, 0] == pytest.approx([means[0, 0] - sem, means[0, 0] + sem])
    (stairs,) = [np.asarray(line.get_xydata()) for line in ax.lines if line.get_label() == "_frontier"]
    on_it = panels.frontier(list(means[:, 0]), list(means[:, 1]), True)
    corners = {tuple(np.round(corner, 9)) for corner in stairs}
    assert len(on_it) > 1 and all(tuple(np.round(means[i], 9)) in corners for i in on_it)
    assert stairs[-1, 0] == ax.get_xlim()[1] and stairs[0, 1] == ax.get_ylim()[0]
    assert set(figure.drawn["panel"]) == {"learning", "final", "cost"}  # type: ignore[attr-defined]


def test_errors_far_apart_stand_on_a_logarithmic_axis():
    curves, costs, scores = measured(1.0)
    scores["uoro"] = scores["uoro"] * 1e4
    assert figures.pareto(curves, costs, scores, higher=False).axes[1].get_yscale() == "log"
    assert figures.pareto(curves, costs, scores, higher=True).axes[1].get_yscale() == "linear"


def test_what_cannot_be_drawn_against_a_cost_is_refused():
    curves, costs, scores = measured(1.0)
    with pytest.raises(RunError, match="same labels"):
        figures.pareto(curves, {"bptt": costs["bptt"]}, scores, higher=True)
    with pytest.raises(RunError, match="positive"):
        figures.pareto(curves, costs | {"bptt": np.zeros(5)}, scores, higher=True)


# The command line

WORDS = "compare target_reaching --rules bptt,eprop --cell leaky_rate --units 6 --batch 3 --updates 8 --seeds 0:2"


def told(capsys, words, status=0):
    assert cli.main(words.split()) == status
    return capsys.readouterr()


def test_a_comparison_searches_compares_and_says_what_it_did(capsys):
    said = told(capsys, f"{WORDS} --tune 1e-3,1e-2,1e-1 --tune-updates 4").out
    budget = "3 rates (0.001, 0.01, 0.1) × 1 seed (1000) × 4 updates = 12 updates"
    assert said.count(budget) == 2, "in the header of the search, and above the table"
    assert "Warning: 2 seeds are few" in said and "chosen" in said
    folder = Path("runs/compare-target_reaching")
    page = (folder / "table.md").read_text()
    assert budget in page and "**Warning:** 2 seeds are few" in page and "\n| arm " in page
    table = pd.read_csv(folder / "table.csv")
    assert table["arm"].tolist() == ["bptt", "eprop"] and table["n"].tolist() == [2, 2]
    record = json.loads((folder / "experiment.json").read_text())
    rates = [choice["rate"] for choice in record["experiment"]["config"]["chosen"]]
    assert table["lr"].tolist() == rates and set(rates) <= {1e-3, 1e-2, 1e-1}
    assert any("seeds are few" in line for line in record["warnings"])
    for column in ("test score s.e.m.", "test score 95 %", "test loss", "ms per step", "ms per update"):
        assert (table[column].to_numpy(float) > 0).all()
    assert table["ms per update"].to_numpy() == pytest.approx(10 * table["ms per step"].to_numpy())
    assert table["state B per trial"].tolist() == [0, FLOAT * (6 * 17 + 17)]
    runs = [Run.load(place) for place in sorted(folder.glob("*-s*"))]
    assert [run.config["training"]["lr"] for run in runs] == [rates[0]] * 2 + [rates[1]] * 2
    scores = [run.final("test_score") for run in runs]
    assert table["test score"].to_numpy() == pytest.approx([np.mean(scores[:2]), np.mean(scores[2:])])
    assert {"learning.pdf", "pareto.pdf"} <= {path.name for path in (folder / "figures").iterdir()}
    tries = [Run.load(place) for place in sorted((folder / "tune").glob("*-s*"))]
    assert [(run.seed, run.config["training"]["updates"]) for run in tries] == [(1000, 4)] * 6

    # What was recorded makes the same experiments again.
    assert runs[0].network.weights and tries[0].network.weights
    (folder / "figures" / "pareto.pdf").unlink()
    assert "pareto.pdf" in told(capsys, f"figure {folder}").out and (folder / "figures" / "pareto.pdf").exists()

    again = told(capsys, f"{WORDS} --tune 1e-3,1e-2,1e-1 --tune-updates 4").out
    assert again.count("was done before") == 10 and " starts" not in again


def test_without_a_search_the_rate_is_said_to_be_untuned(capsys):
    said = told(capsys, f"{WORDS} --lr 0.02").out
    assert "Learning rate: the same for every rule, not tuned." in said and "widen --tune" not in said
    assert not Path("runs/compare-target_reaching/tune").exists()
    assert pd.read_csv("runs/compare-target_reaching/table.csv")["lr"].tolist() == [0.02] * 2


def test_a_rule_that_breaks_down_leaves_the_table_of_the_others(monkeypatch):
    chosen = (Choice("bptt", 1e-2, (), ()), Choice("eprop", 1e38, (), ()))
    experiment = comparison(dataclasses.replace(compared("bptt", "eprop"), chosen=chosen))
    results = run_experiment(experiment, "x", seeds=(0, 1), tolerant=True)
    assert results.broken == {"eprop": (0, 1)} and results.error is not None
    assert "The other 2 of 4 runs are done" in str(results.error)
    table = pd.read_csv("runs/x/table.csv")
    assert table["arm"].tolist() == ["bptt", "eprop"] and table["n"].tolist() == [2, 0]
    assert "eprop broke down with 2 of 2 seeds (0, 1); it has no score." in Path("runs/x/table.md").read_text()
    assert Path("runs/x/figures/pareto.pdf").exists()


def test_the_command_fails_if_every_run_broke_down(capsys):
    said = told(capsys, f"{WORDS} --readout-lr 1e38", status=1)
    assert said.err.count("\n") == 1 and "runs/compare-target_reaching" in said.err


def test_the_command_tells_of_the_others_and_fails_if_one_rule_broke_down(capsys, monkeypatch):
    from bioplaus.errors import NumericalError

    update = Trainer.update

    def breaking(self):
        if self.rule.name == "eprop" and self.seed == 1 and self.update_index == 3:
            raise NumericalError("x is NaN at step 3.")
        return update(self)

    monkeypatch.setattr(Trainer, "update", breaking)
    said = told(capsys, WORDS, status=1)
    assert "Warning: eprop broke down with 1 of 2 seeds (1); its row is of the others alone." in said.out
    assert said.err.startswith("bioplaus: x is NaN at step 3.") and "The other 3 of 4 runs are done" in said.err
    assert pd.read_csv("runs/compare-target_reaching/table.csv")["n"].tolist() == [2, 1]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("--tune 1e-3", "two or more"),
        ("--tune 1e-3,1e-3", "two or more"),
        ("--tune 1e-3,fast", "'fast' is no learning rate"),
        ("--tune 1e-3,-1", "each a finite number of at least 0"),
        ("--tune 1e-3,nan", "each a finite number of at least 0"),
        ("--tune 1e-3,1e-2 --tune-updates 0", "a whole number from 1"),
        ("--tune 1e-3,1e-2 --tune-seeds 1:1", "are not seeds"),
        ("--tune 1e-3,1e-2 --tune-seeds 1,7", "1 would also judge"),
        ("--tune 1e-3,1e-2 --lr 0.1", "give either"),
        ("--tune-updates 10", "none are to be tried"),
        ("--tune-seeds 7", "none are to be tried"),
        ("--mode align --tune-updates 10", "none are to be tried"),
        ("--mode align --tune 1e-3,1e-2", "--mode learn"),
        ("--tune 1e-3,1e-2 --batch 0", "batch of Training is 0"),
        ("--tune 1e-3,1e-2 --rules bptt,rflo --cell lstm", "rflo"),
        ("--tunes 1e-3", "--tune"),
    ],
)
def test_what_is_typed_wrong_is_refused_before_anything_runs(capsys, words, part):
    said = told(capsys, f"{WORDS} {words}", status=2)
    assert part in said.err and said.err.count("\n") == 1
    assert not list(Path().glob("runs/**/run.json"))


def test_the_seed_of_the_search_is_none_that_judges():
    from bioplaus.cli.tuning import asked

    assert asked("1,2", None, "", Setting(), range(5)).seeds == (1000,)
    assert asked("1,2", None, "", Setting(), (0, 1000, 1001)).seeds == (1002,)
    assert asked("2,1", 7, "5:8", Setting(), (0,)) == Tuning((1.0, 2.0), (5, 6, 7), 7)


def test_a_table_too_wide_is_parted_and_every_part_has_its_names():
    assert parts([5, 5, 5, 5], 100) == [[0, 1, 2, 3]]
    assert parts([5, 5, 5, 5], 24) == [[0, 1, 2], [0, 3]]
    assert parts([5, 50, 5], 20) == [[0, 1], [0, 2]]
    assert parts([5], 20) == [[0]]


def test_a_memory_that_cannot_be_measured_takes_no_table_away(monkeypatch):
    """One trial fits, the two that the measurement takes do not."""
    import bioplaus.measure.memory
    from bioplaus.errors import RuleError
    from bioplaus.runs.compare import _memory

    def full(*given, **more):
        raise RuleError("it does not fit")

    monkeypatch.setattr(bioplaus.measure.memory, "memory", full)
    arm = next(iter(comparison(Comparison("add", ("eprop",), Setting(units=4, updates=1))).arms.values()))
    assert np.isnan(_memory(arm).state) and np.isnan(_memory(arm).fixed)
