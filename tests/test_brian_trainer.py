"""A trainer whose updates are trials inside Brian2: a learner like any other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import bioplaus as bp
from bioplaus.errors import BioplausError, LearningWarning, RuleError, RunError

PLAIN: dict[str, Any] = {"batch": 1, "optimiser": "sgd", "apply": "window", "dtype": "float64", "lr": 2e-3}
TASK = bp.task("sine_wave", steps=100)
RULE = bp.rule("eprop", feedback="adaptive", schedule="online")


def cortex(cell: str = "alif") -> bp.Circuit:
    return bp.circuit("recurrent", cell=cell, inputs=2, units=12, outputs=2, tau_out=20 * bp.ms, input_gain=8.0)


def trainer(backend: str, rule: bp.Rule = RULE, circuit: bp.Circuit | None = None, **options: Any) -> bp.Trainer:
    return bp.Trainer(circuit or cortex(), TASK, rule, bp.Training(updates=4, backend=backend, **PLAIN | options))


def test_updates_tests_and_recordings_are_those_of_torch():
    freeze = bp.Perturb("W_in", "freeze", updates=range(1, 3))
    ours, theirs = (trainer(backend, perturb=freeze) for backend in ("torch", "brian2"))
    start = ours.network.weights["W_rec"].clone()
    assert theirs.backend == "brian2" and theirs.simulated_by == "torch"
    for _ in range(3):
        rows = ours.update(), theirs.update()
        for row in rows:
            row.pop("seconds")
        assert rows[1] == pytest.approx(rows[0], rel=1e-12) and rows[0]["rate"] > 1
    for name, W in ours.network.weights.items():
        assert float((W - theirs.network.weights[name]).abs().max()) < 1e-12
    assert float((ours.own["feedback"]["B"] - theirs.own["feedback"]["B"]).abs().max()) < 1e-12
    assert float((ours.network.weights["W_rec"] - start).abs().max()) > 1e-5
    assert theirs.evaluate() == pytest.approx(ours.evaluate(), rel=1e-12)
    assert theirs.record("spikes").spikes.equals(ours.record("spikes").spikes)


def test_a_rate_circuit_is_looked_after_too():
    with pytest.warns(LearningWarning, match="diverges|saturated"):
        learner = trainer("brian2", circuit=cortex("leaky_rate"), lr=0.5)
        for _ in range(4):
            learner.update()


def test_a_run_says_by_what_it_learned_and_goes_on_to_the_last_bit(tmp_path: Path):
    whole = bp.train(cortex(), TASK, RULE, folder=tmp_path / "whole", updates=4, backend="brian2", **PLAIN)
    record = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert record["computed"]["backend"] == "brian2" and record["config"]["training"]["backend"] == "brian2"
    first = trainer("brian2")
    first.update()
    again = trainer("brian2")
    again.load_state_dict(first.state_dict())
    for _ in range(3):
        again.update()
    assert all(torch.equal(W, again.network.weights[name]) for name, W in whole.network.weights.items())


def test_train_sets_what_brian2_needs(tmp_path: Path):
    run = bp.train(cortex(), TASK, RULE, folder=tmp_path / "r", updates=1, backend="brian2", lr=PLAIN["lr"])
    other = trainer("brian2")
    other.update()
    assert all(torch.equal(W, other.network.weights[name]) for name, W in run.network.weights.items())
    with pytest.raises(bp.errors.RunError, match="batch=1"):  # what is given is not passed over
        bp.train(cortex(), TASK, RULE, folder=tmp_path / "s", updates=1, backend="brian2", batch=2)


def test_a_circuit_that_torch_has_trained_goes_on_in_brian2():
    ours = trainer("torch")
    ours.update()
    training = bp.Training(updates=1, backend="brian2", **PLAIN)
    on = bp.Trainer(cortex(), TASK, RULE, training, seed=1, initial=ours.network.weights)
    also = bp.Trainer(cortex(), TASK, RULE, replace(training, backend="torch"), seed=1, initial=ours.network.weights)
    for learner in (on, also):
        learner.update()
    assert all(float((W - on.network.weights[name]).abs().max()) < 1e-12 for name, W in also.network.weights.items())


OTHER = {"batch": 2, "optimiser": "adam", "clip": 1.0, "rate_strength": 1.0, "voltage_strength": 1.0, "apply": "sequence", "dtype": "float32"}  # fmt: skip


@pytest.mark.parametrize("name", OTHER)
def test_a_training_that_synapses_cannot_follow_is_refused(name):
    with pytest.raises(RunError, match=f"backend='brian2' .*{name}=.*bp.Training\\(backend='brian2'"):
        bp.Training(backend="brian2", **PLAIN | {name: OTHER[name]})


MISFITS = {
    "discrete maps": {"circuit": cortex("lsnn_alif")},
    "not written as synapses": {"rule": bp.rule("rtrl")},
    "holds weights": {"rule": bp.rule("eprop")},
    "silenced, clamped": {"perturb": bp.Perturb("cortex", "silence")},
    "no such projection that learns": {"rule": bp.rule("stdp"), "circuit": cortex("leaky_rate")},
}


@pytest.mark.parametrize("why", MISFITS)
def test_what_has_no_synapses_in_brian2_is_refused_before_any_work(why):
    with pytest.raises(BioplausError, match=f"backend='brian2' can't serve this: .*{why}"):
        trainer("brian2", **MISFITS[why])


def test_stdp_runs_in_brian2_alone_and_says_so(tmp_path: Path):
    """Whatever would have torch compute it is refused, before anything is computed."""
    stdp, circuit, batch = bp.rule("stdp"), cortex(), TASK.batch(bp.stream(0, "task"), 1)
    asked: list[Callable[[], Any]] = [
        lambda: bp.train(circuit, TASK, "stdp", folder=tmp_path / "r"),
        lambda: trainer("torch", stdp),
        lambda: trainer("brian2", stdp, align_every=1).update(),
        lambda: bp.gradient(circuit, stdp, batch),
        lambda: bp.align(circuit, TASK, [stdp]),
        lambda: bp.Phase(1, rule="stdp") and bp.train(circuit, TASK, RULE, phases=[bp.Phase(1), bp.Phase(1, rule="stdp")], folder=tmp_path / "s"),
    ]  # fmt: skip
    for ask in asked:
        with pytest.raises(RuleError, match=r"runs inside Brian2 alone.*backend='brian2'"):
            ask()
    assert not list(tmp_path.glob("*/checkpoint.pt"))


NONSENSE: dict[str, tuple[dict[str, Any], str]] = {
    "a word": ({"signal": "rewards"}, "no signal 'rewards' of stdp. Did you mean 'reward'"),
    "no option": ({"tau": 3}, "no option 'tau' of the rule 'stdp'"),
    "a voltage": ({"tau_plus": 3 * bp.mV}, r"tau_plus of stdp is 3. mV; it must be a time"),
    "a rate": ({"tau_e": 3 * bp.Hz}, r"tau_e of stdp is 3. Hz; it must be a time"),
    "a negative time": ({"tau_minus": -3}, "tau_minus of STDP is -3; it must be a finite number above 0"),
    "no time": ({"tau_r": 0}, "tau_r of Spoken is 0; it must be a finite number above 0"),
    "no room": ({"w_min": 2.0}, "w_min=2 of stdp is not below w_max=1"),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_of_stdp_is_refused_in_words(what):
    options, said = NONSENSE[what]
    with pytest.raises(RuleError, match=said):
        bp.rule("stdp", **options)


def test_names_that_brian_has_not_are_told_where_learning_is():
    with pytest.raises(AttributeError, match=r"no name in bioplaus.brian 'simulat'. Did you mean 'simulate'"):
        bp.brian.simulat  # noqa: B018
    with pytest.raises(AttributeError, match=r"'learn'.*bp.train\(circuit, task, rule, backend='brian2'"):
        bp.brian.learn  # noqa: B018
    with pytest.raises(RunError, match=r"no option 'backend' of Phase.*bp.Training\(backend=…\)"):
        bp.Phase(3, backend="brian2")  # type: ignore[call-arg]


def test_phases_learn_in_brian2_each_by_its_rule(tmp_path: Path):
    """e-prop moves all weights; STDP then none but those between neurons and the readout's; e-prop then goes on from there."""
    task, stdp = bp.task("sine_wave", steps=40), bp.rule("stdp", w_min=-1.0)
    phases, weights = [bp.Phase(1), bp.Phase(1, rule=stdp), bp.Phase(1, lr=1e-3)], []
    for n in (1, 2, 3):
        run = bp.train(cortex(), task, RULE, phases=phases[:n], folder=tmp_path / str(n), backend="brian2", lr=2e-3)
        weights.append(run.network.weights)
    first, second, third = weights
    moved = [
        {name for name in W if not torch.equal(W[name], new[name])} for W, new in ((first, second), (second, third))
    ]
    assert moved == [{"W_rec", "W_out", "b_out"}, set(first)]


def test_numbers_that_break_are_said_by_name():
    with pytest.raises(BioplausError, match="in Brian2"):
        learner = trainer("brian2", lr=1e200)
        for _ in range(4):
            learner.update()
