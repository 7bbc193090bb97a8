"""Credit for every neuron: what is not read by the readout hears of errors, or is said to hear nothing."""

from __future__ import annotations

import json
import pickle
import warnings
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from rule_helpers import Case, dale, normal, off, random, same, two_populations
from torch import Tensor

import bioplaus as bp
from bioplaus import Trainer, Training, ms
from bioplaus.check import by_hand
from bioplaus.circuit import Circuit
from bioplaus.circuit.upstream import upstream
from bioplaus.errors import LearningWarning, RuleError
from bioplaus.rules import TABLE
from bioplaus.runs.config import plain
from bioplaus.schedule import Online, Window
from bioplaus.signal import Instant
from bioplaus.streams import stream
from bioplaus.tasks import squared

TASK = bp.task("pattern_generation", steps=30, inputs=6, outputs=2)
SCHEDULES = (Online(), Window(), Window(7))


def balanced(tau: Any = 20 * ms, **options: Any) -> Circuit:
    """Its readout sees E (8 neurons) alone, I (2) acts on it."""
    given = {"cell": "lif", "inputs": 6, "units": 10, "outputs": 2, "gain": 1.5, "input_gain": 24.0}
    return bp.circuit("excitatory_inhibitory", tau_out=tau, **given | options)


@cache
def case(name: str) -> Case:
    """Unread neurons behind a leaky and a plain readout; one that reads all, in another order than the circuit's."""
    if name == "other order":
        return two_populations("alif", "gru", steps=16)
    return dale(tau=10 * ms if name == "leaky" else None, delay=2, steps=24)


def units(network: bp.Network) -> int:
    return sum(p.size for p in network.populations)


def filtered(y: Tensor, kappa: float) -> Tensor:
    """ȳ over time, from zero."""
    out, last = [], torch.zeros_like(y[0])
    for now in y:
        last = kappa * last + (1 - kappa) * now
        out.append(last)
    return torch.stack(out)


def told(c: Case, B: Tensor, stop: str) -> dict[str, Tensor]:
    """By autograd: the gradient of Σ_t δ_t·B ȳ_t, ȳ the filtered outputs of all neurons, errors held."""
    network, batch = c.network, c.batch
    weights = {n: w.clone().requires_grad_() for n, w in network.weights.items()}
    o, sent = by_hand.run(network.circuit, weights, batch.inputs, stop=stop)
    error = (squared.error(o, batch.targets) * batch.weight[..., None]).detach()
    every = torch.cat([filtered(sent[p.name], network.kappa) for p in network.populations], -1)
    names = [w.spec.name for w in network.learned]
    found = torch.autograd.grad((error * (every @ B.T)).sum() / batch.size, [weights[n] for n in names])
    return {n: g * network.masks.get(n, 1) for n, g in zip(names, found, strict=True)}


# -- whom it reaches -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ("leaky", "plain", "other order"))
@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_a_matrix_feeds_errors_back_to_all_neurons(name, schedule):
    c = case(name)
    B = normal(2, units(c.network), seed=3)
    for rule, stop in (("eprop", "between"), ("rtrl", "")):
        found = bp.gradient(c.network, bp.rule(rule, feedback=B, schedule=schedule), c.batch)
        expected = told(c, B, stop)
        assert all(bool(g.any()) for g in expected.values())
        same({n: found[n] for n in expected}, expected)
    assert off({n: found[n] for n in expected}, told(c, B.flip(1), "")) > 1e-2, "columns have their neurons"


@pytest.mark.parametrize("name", ("leaky", "plain", "other order"))
@pytest.mark.parametrize("feedback", ("random", "broadcast", "adaptive"))
def test_drawn_feedback_is_a_matrix_that_was_drawn(name, feedback):
    c = case(name)
    rule = bp.rule("eprop", feedback=feedback)
    B = rule.begin(c.network, c.batch, 5)["feedback"]["B"].expand(2, units(c.network))
    found, given = (bp.gradient(c.network, r, c.batch, seed=5) for r in (rule, bp.rule("eprop", feedback=B)))
    same(found, given, 1e-15)
    assert all(bool(g.any()) for g in found.values())


@pytest.mark.parametrize("name", ("leaky", "plain", "other order"))
def test_the_readouts_weights_as_a_matrix_are_symmetric_feedback(name):
    c = case(name)
    columns = dict(zip(c.network.sources, c.network.weights["W_out"].split(
        [c.network.populations[s].size for s in c.network.sources], -1), strict=True))  # fmt: skip
    C = torch.cat([columns.get(i, torch.zeros(2, p.size)).double() for i, p in enumerate(c.network.populations)], -1)
    for rule in ("eprop", "rtrl", "sliding_bptt"):
        given, read = (bp.gradient(c.network, bp.rule(rule, feedback=f), c.batch) for f in (C, "symmetric"))
        same(given, read, 1e-14)


@pytest.mark.parametrize("sources", (("E",), ("E", "I"), ("I", "E")))
def test_what_is_read_is_drawn_as_ever_and_the_rest_is_as_wide(sources):
    """N(0, gain²/n), n the units that are read; who is read has the same numbers whoever else there is."""
    made = balanced(units=5000)
    read = {"E": 4000, "I": 1000}
    readout = bp.Readout(size=3, sources=sources)
    network = Circuit(populations=made.populations, projections=(), inputs=6, readout=readout).build()
    n = sum(read[s] for s in sources)
    B = Instant("random", 2.0).begin(network, stream(9, "feedback"), 0)["feedback"]["B"]
    as_ever = torch.randn(3, n, generator=stream(9, "feedback"), dtype=torch.float64) * 2.0 / n**0.5
    parts = dict(zip(sources, as_ever.to(B).split([read[s] for s in sources], -1), strict=True))
    assert B.shape == (3, 5000)
    for name, mine in zip(("E", "I"), B.split([4000, 1000], -1), strict=True):
        if name in parts:
            assert torch.equal(mine, parts[name])
        else:
            assert float(mine.std()) * n**0.5 == pytest.approx(2.0, rel=0.05) and abs(float(mine.mean())) < 0.01


@pytest.mark.parametrize("tau", (20 * ms, None))
@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_adaptive_feedback_moves_by_error_and_filtered_output_for_all(tau, schedule):
    """B ← (1 − decay)(B − lr Σ_t δ_t ⊗ ȳ_t / batch), read or not; written out from the trajectory."""
    rule = bp.rule("eprop", feedback="adaptive", decay=0.1, schedule=schedule)
    trainer = Trainer(balanced(tau), TASK, rule, Training(batch=3, lr=0.05, optimiser="sgd", dtype="float64"), seed=2)
    network, before = trainer.network, trainer.own["feedback"]["B"].clone()
    weights = {n: w.clone() for n, w in network.weights.items()}
    trainer.update()
    batch = TASK.batch(stream(2, "task"), 3).to(network.device, torch.float64)
    o, sent = by_hand.run(network.circuit, weights, batch.inputs)
    error = squared.error(o, batch.targets) * batch.weight[..., None]
    every = torch.cat([filtered(sent[name], network.kappa) for name in ("E", "I")], -1)
    gradient = torch.einsum("tbo,tbn->on", error, every) / 3
    assert gradient[:, 8:].abs().max() > 0.1 * gradient.abs().max()
    torch.testing.assert_close(trainer.own["feedback"]["B"], 0.9 * (before - 0.05 * gradient), rtol=1e-10, atol=1e-12)


# -- what comes back -----------------------------------------------------------------------------------------------------


def test_every_rule_answers_for_the_same_weights_and_zeros_are_where_no_credit_comes():
    c = case("leaky")
    names, missed = [*c.network.weights], {}
    assert set(names) == {"W_out", "b_out", *(w.spec.name for w in c.network.learned)}
    first = list(bp.gradient(c.network, "bptt", c.batch))
    for name, make in TABLE.items():
        rule = make()
        if not rule.serves(c.network):
            continue
        found = bp.gradient(c.network, rule, c.batch)
        assert list(found) == first and all(found[n].shape == c.network.weights[n].shape for n in names), name
        unheard = {n for each in rule.unreached(c.network).values() for n in each}
        zero = {n for n, g in found.items() if not bool(g.any())}
        if name in ("kernl", "dni", "bp_lambda"):  # the kernel and the predictors have yet to learn
            assert unheard == set(), name
        else:
            assert zero == unheard, name
        missed[name] = unheard
    onto_I = {"W_in_I", "W_IE", "W_II"}
    assert {n for n, m in missed.items() if m} == {"eprop", "snap", "three_factor"} and missed["eprop"] == onto_I
    assert not missed["rflo"] and not missed["bptt"] and not missed["rtrl"]


def test_paths_count_by_crossings_and_by_delays():
    network = balanced(delay=3).build()
    batch = TASK.batch(stream(1, "task"), 10)
    batch = replace(batch, inputs=(random(30, 10, 6) < 0.3).to(network.dtype))
    assert upstream(network, {0}, synapses=0) == {0} and upstream(network, {0}, synapses=1) == {0, 1}
    assert upstream(network, {0}, steps=2) == {0} and upstream(network, {0}, steps=3) == {0, 1}
    assert not bp.rule("tbptt", steps=4).unreached(network)  # as it happens, neurons are refractory there
    for rule, heard in (
        (bp.rule("tbptt", steps=3), False), (bp.rule("tbptt", steps=5), True), (bp.rule("sliding_bptt", steps=3), False),
        (bp.rule("sliding_bptt", steps=4), True), (bp.rule("hops", hops=0), False), (bp.rule("hops", hops=1), True),
        (bp.rule("snap", order=1), False), (bp.rule("snap", order=2), True),
    ):  # fmt: skip
        found = bp.gradient(network, rule, batch)
        assert bool(found["W_in_I"].any()) == heard == (not rule.unreached(network)), rule


def said(trainer: Trainer, updates: int = 3) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(updates):
            trainer.update()
    return [str(w.message) for w in caught if w.category is LearningWarning]


def learner(rule: Any = "eprop", **training: Any) -> Trainer:
    return Trainer(balanced(), TASK, bp.rule(rule) if isinstance(rule, str) else rule, Training(batch=3, **training))


def test_what_no_credit_reaches_is_said_once_with_what_would_help():
    trainer = learner()
    before = {n: w.clone() for n, w in trainer.network.weights.items()}
    (text,) = said(trainer)
    for word in ("'eprop'", "'I': W_in_I, W_IE, W_II", "neurons of 'E' alone", "feedback='random'", "mdgl", "bptt"):
        assert word in text, word
    assert "Readout(sources=('E', 'I'))" in text and "snap" not in text and "three_factor" not in text
    assert "\n" not in text and trainer.remarks["no credit"] in text
    still = {n for n, w in trainer.network.weights.items() if torch.equal(w, before[n])}
    assert still == {"W_in_I", "W_IE", "W_II"}, "what is said is so"
    again = learner()
    again.load_state_dict(trainer.state_dict())
    assert said(again) == []


@pytest.mark.parametrize("rule", ["mdgl", "rflo", "bptt", bp.rule("eprop", feedback="broadcast")])
def test_what_credit_reaches_is_not_talked_about(rule):
    assert said(learner(rule)) == []


def test_who_learns_nothing_or_from_a_regulariser_is_not_talked_about():
    assert said(learner(lr=0.0)) == [] and said(learner(rate_strength=1.0)) == []
    still = {name: 0.0 for name in ("W_in_I", "W_IE", "W_II")}
    assert said(learner(lr=still)) == []
    (text,) = said(learner(lr=still | {"W_II": 1e-3}), 1)
    assert "(of 'I': W_II)" in text


def test_a_matrix_without_columns_for_some_is_talked_about():
    B = np.ones((2, 10)) * (np.arange(10) < 8)
    (text,) = said(learner(bp.rule("eprop", feedback=B)), 1)
    assert "of 'I'" in text and "feedback='random'" not in text


# -- a matrix that is given ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([1.0, 2.0], "matrix"),
        ([[1.0, 2.0], [1.0]], "matrix"),
        ([[1.0, float("inf")]], "not finite"),
        ([[True, False]], "matrix"),
        ([[1j, 2.0]], "matrix"),
        (np.ones((2, 3)) * ms, "matrix"),
        ([["a", "b"]], "matrix"),
        (np.empty((0, 3)), "matrix"),
        (None, "matrix"),
        ("randon", "'random'"),
    ],
    ids=repr,
)
def test_what_is_no_matrix_is_refused(given, words):
    with pytest.raises(RuleError, match="feedback of Instant is ") as error:
        bp.rule("eprop", feedback=given)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_matrix_of_another_shape_is_refused_by_name():
    wrong = bp.rule("eprop", feedback=np.ones((2, 8)))
    for use in (lambda: learner(wrong), lambda: bp.gradient(balanced(), wrong, TASK.batch(stream(0, "task"), 2))):
        with pytest.raises(RuleError, match=r"shape \(2, 8\).*\(2, 10\).*the 8 of 'E', then the 2 of 'I'"):
            use()


def test_a_rule_with_a_matrix_is_described_compared_and_sent():
    small, large = ([[1.0, 2.0], [3.0, 4.0]], np.arange(40.0).reshape(2, 20))
    rules = [bp.rule("eprop", feedback=f) for f in (small, large, large + 1)]
    described: list[Any] = [
        json.loads(json.dumps(plain(rule.describe(), "rule")))["signal"]["feedback"] for rule in rules
    ]
    assert described[0] == small and described[1]["shape"] == [2, 20] and len({str(d) for d in described}) == 3
    assert plain(large, "B")["sha256"] == described[1]["sha256"], "as other arrays are"
    again = pickle.loads(pickle.dumps(rules[1]))
    assert again == rules[1] != rules[2] and again.describe() == rules[1].describe() and hash(again) == hash(rules[1])
    assert bp.rule("eprop").describe()["signal"]["feedback"] == "symmetric"
    large[0, 0] = 7.0
    assert again == rules[1], "what was given may change afterwards"
    assert rules[1].claim == "biased" and not rules[1].future.transport and rules[1].future.closed


def test_a_matrix_learns_as_it_is_and_stands_in_the_checkpoint():
    B = normal(2, 10, seed=1)
    trainer = learner(bp.rule("eprop", feedback=B), dtype="float64")
    before = {n: w.clone() for n, w in trainer.network.weights.items()}
    trainer.update()
    assert all(not torch.equal(w, before[n]) for n, w in trainer.network.weights.items())
    assert torch.equal(trainer.state_dict()["own"]["feedback"]["fixed"]["B"], B)


# -- checkpoints of before -----------------------------------------------------------------------------------------------


def of_before(trainer: Trainer) -> dict[str, Any]:
    """The state of a trainer as it was when feedback weights were those of what is read, in the readout's order."""
    state: dict[str, Any] = {**trainer.state_dict(), "format": 2}
    at, first = {}, 0
    for i, p in enumerate(trainer.network.populations):
        at[i], first = torch.arange(first, first + p.size), first + p.size
    kept = torch.cat([at[s] for s in trainer.network.sources])
    for tensors in state["own"]["feedback"].values():
        for name, B in tensors.items():
            tensors[name] = B[:, kept].clone()
    if trainer.own["feedback"].learned:
        moments = state["optimiser"]["state"]
        of_B = moments[max(moments)]  # the last that it moves
        of_B |= {name: of_B[name][:, kept].clone() for name in ("exp_avg", "exp_avg_sq")}
    return state


@pytest.mark.parametrize("feedback", ("random", "adaptive"))
@pytest.mark.parametrize("sources", (("E",), ("I", "E")))
def test_a_checkpoint_of_before_is_read_and_gone_on_with(feedback, sources):
    """What it had stands with its neurons, and who heard nothing goes on so: B is zero there."""
    made = balanced()
    circuit = Circuit(
        populations=made.populations, projections=made.projections, inputs=6, dt=made.dt,
        readout=bp.Readout(size=2, tau=20 * ms, sources=sources),
    )  # fmt: skip
    rule, training = bp.rule("eprop", feedback=feedback), Training(batch=3, dtype="float64")

    def trainer(seed: int) -> Trainer:
        return Trainer(circuit, TASK, rule, training, seed)

    old = trainer(3)
    if len(sources) == 1:  # as it was: nobody told I anything
        old.own["feedback"]["B"][:, 8:] = 0.0
    old.update()
    state = of_before(old)
    assert state["own"]["feedback"]["learned" if feedback == "adaptive" else "fixed"]["B"].shape == (
        2,
        8 if len(sources) == 1 else 10,
    )
    new = trainer(8)
    new.load_state_dict(state)
    B = new.own["feedback"]["B"]
    assert B.shape == (2, 10) and torch.equal(B[:, :8], old.own["feedback"]["B"][:, :8])
    if len(sources) == 2:
        assert torch.equal(B, old.own["feedback"]["B"])
    else:
        assert not B[:, 8:].any()
    if feedback == "random" or len(sources) == 2:
        assert [new.update() | {"seconds": 0} for _ in range(2)] == [old.update() | {"seconds": 0} for _ in range(2)]
    else:
        new.update()
        assert bool(new.own["feedback"]["B"][:, 8:].any()), "it aligns from here on"
    again = trainer(1)
    again.load_state_dict(new.state_dict())
    assert torch.equal(again.own["feedback"]["B"], new.own["feedback"]["B"])
