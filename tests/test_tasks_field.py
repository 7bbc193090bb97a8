"""The field's tasks: what their trials are made of, to the last spike or in proportions, and that a small circuit learns each."""

from __future__ import annotations

from itertools import product
from math import comb, erf
from typing import Any

import numpy as np
import pytest
import torch
from task_helpers import paragraph, same, stream

import bioplaus as bp
from bioplaus import ms
from bioplaus.errors import TaskError
from bioplaus.tasks import Batch, cross_entropy, decided, task
from bioplaus.tasks.evidence_accumulation import EvidenceAccumulation
from bioplaus.tasks.sequential_digits import SequentialDigits


def near(count: float, n: int, p: float) -> bool:
    """Whether so many of n came out as they would with probability p, within five standard deviations."""
    return abs(count - n * p) <= 5 * (n * p * (1 - p)) ** 0.5


# -- evidence accumulation ---------------------------------------------------------------------------------------------------


def test_evidence_accumulation_has_the_published_times_groups_and_rates() -> None:
    batch = task("evidence_accumulation").batch(stream(), 24)
    assert batch.inputs.shape == (2250, 24, 40)
    groups = batch.inputs.numpy().reshape(2250, 24, 4, 10)
    expected = np.zeros((2250, 24, 4))
    expected[..., 3] = 0.01  # 10 Hz
    expected[2100:, :, 2] = 0.04  # 40 Hz
    for b, sides in enumerate(batch.trials["side"]):
        for k, side in enumerate(sides):
            first = 50 + 150 * k  # the gap comes first
            expected[first : first + 100, b, side] = 0.04
    for odds in (0.0, 0.01, 0.04):
        spikes = groups[expected == odds]
        assert near(spikes.sum(), spikes.size, odds), odds
    for k in range(4):  # each group by itself: none is mistaken for another
        there = expected[:, :, k] > 0
        spikes = groups[:, :, k][there]
        assert near(spikes.sum(), spikes.size, 0.01 if k == 3 else 0.04) and not groups[:, :, k][~there].any()
    assert batch.weight.sum(0).tolist() == pytest.approx([1.0] * 24) and not batch.weight[:2100].any()
    assert set(batch.weight[2100:].flatten().tolist()) == {np.float32(1 / 150)}


def test_evidence_accumulation_asks_for_the_side_of_more_cues() -> None:
    small = task("evidence_accumulation", gap=0.001, cue=0.002, delay=0.001, recall=0.001, group=1, rate=1000.0)
    batch = small.batch(stream(), 6000)
    left, right = batch.inputs[:, :, 0].sum(0), batch.inputs[:, :, 1].sum(0)  # a spike in every step of a cue
    assert torch.equal(left + right, torch.full((6000,), 14.0))
    assert torch.equal(batch.targets, (right > left).long().repeat(small.steps, 1))
    known = batch.trials
    assert np.array_equal(known["answer"], batch.targets[0]) and np.array_equal(known["evidence"] * 2, right - left)
    assert batch.context is not None and torch.equal(batch.context.argmax(1), batch.targets[0])
    likelier = known["probability"] > 0.5
    assert np.allclose(known["probability"], np.where(likelier, 0.7, 0.3)) and near(likelier.sum(), 6000, 0.5)
    for side, p in ((likelier, 0.7), (~likelier, 0.3)):
        for k in range(7):
            assert near(known["side"][side, k].sum(), side.sum(), p)
    for n in range(8):  # cues of a trial share their odds: the counts are a mixture of two binomials
        odds = sum(0.5 * comb(7, n) * p**n * (1 - p) ** (7 - n) for p in (0.3, 0.7))
        assert near((known["evidence"] == 2 * n - 7).sum(), 6000, odds)


def test_a_decision_is_the_largest_mean_over_the_question() -> None:
    small = task("evidence_accumulation", cues=1, gap=0.001, cue=0.001, delay=0.001, recall=0.003, group=1)
    batch = small.batch(stream(), 50)
    outputs = torch.zeros(small.steps, 50, 2)
    outputs[:-3] = torch.nn.functional.one_hot(1 - batch.targets[:-3], 2) * 100.0  # before it nothing counts
    wrong, right = (torch.nn.functional.one_hot(each, 2) for each in (1 - batch.targets[-1], batch.targets[-1]))
    outputs[-3:] = torch.stack((wrong, wrong, 3 * right)).float()
    assert torch.equal(decided(outputs, batch), batch.targets[0]) and small.score(outputs, batch) == 1.0
    assert cross_entropy.score(outputs, batch.targets, batch.weight) == pytest.approx(1 / 3)
    outputs[-1, :10] = 0.0
    assert small.score(outputs, batch) == 0.8


def test_the_test_set_is_fixed_and_the_delay_grows() -> None:
    cues = EvidenceAccumulation(cues=1, group=2)
    sizes = [batch.size for batch in cues.test_batches(200)]
    assert sizes == [200, 200, 100]
    whole = bp.tasks.joined(list(cues.test_batches(200)))
    assert same(whole, bp.tasks.joined(list(task("evidence_accumulation", cues=1, group=2).test_batches(77))))
    assert not torch.equal(
        whole.inputs, next(task("evidence_accumulation", cues=1, group=2, test_seed=1).test_batches(500)).inputs
    )
    assert cues.harder().delay == pytest.approx(1.2) and cues.harder().harder().steps == cues.steps + 300
    short = task(
        "evidence_accumulation",
        cues=1,
        group=1,
        cue=0.01,
        gap=0.01,
        delay=0.01,
        growth=0.02,
        recall=0.01,
        solved=0.0,
        test_trials=2,
    )
    circuit = bp.circuit("recurrent", cell="lsnn_alif", inputs=4, units=3, outputs=2, input_gain=9.0)
    trainer = bp.Trainer(circuit, short, bp.rule("eprop"), bp.Training(batch=8, curriculum=True))
    assert [trainer.update()["steps"] for _ in range(3)] == [40, 60, 80]


def test_what_makes_no_evidence_is_refused() -> None:
    for options, message in (
        ({"cues": 4}, "cues=4.*no right answer.*odd"),
        ({"delay": 0.0105}, "delay=0.0105 s with dt=0.001 s, which is 10.5 steps"),
        ({"gap": 1e-5}, "0.01 steps; give a multiple of dt, one step or more"),
        ({"growth": 0.0301, "dt": 0.01}, "3.01 steps"),
        ({"rate": 2000.0}, "rate=2000 Hz with dt=0.001 s, which makes 2 spikes"),
        ({"background": 1500.0}, "background=1500 Hz"),
    ):
        with pytest.raises(TaskError, match=message) as error:
            task("evidence_accumulation", **options)
        paragraph(error)
    assert task("evidence_accumulation", delay=850 * ms, rate=40 * bp.Hz).describe()["delay"] == 0.85


# -- store and recall --------------------------------------------------------------------------------------------------------


def test_store_recall_asks_for_what_was_on_at_the_store_command() -> None:
    recall = task("store_recall", values=3, frames=7, probability=0.4, group=2, rate=1000.0, frame=0.003)
    batch = recall.batch(stream(), 400)
    known, inputs = batch.trials, batch.inputs.numpy().reshape(7, 3, 400, 5, 2)
    epochs: dict[str, Any] = batch.epochs
    for b in range(400):
        stored, pairs, expected, asked = None, [], np.zeros((7, 5)), np.zeros(7)
        for k, (command, value) in enumerate(zip(known["command"][b], known["value"][b], strict=True)):
            if command == 2:
                assert stored is not None and value == -1  # nothing is asked for that was not stored
                assert batch.targets[3 * k, b] == stored[1]
                pairs.append((stored[0], k, stored[1]))
                expected[k, 4], asked[k], stored = 1, 1, None
                continue
            expected[k, value] = 1
            if command == 1:
                assert stored is None  # commands take turns
                stored, expected[k, 3] = (k, value), 1
        assert pairs and known["answer"][b] == pairs[0][2]
        assert np.array_equal(inputs[:, :, b], np.broadcast_to(expected[:, None, :, None], (7, 3, 5, 2)))
        assert np.allclose(batch.weight[:, b], np.repeat(asked / (3 * asked.sum()), 3))
        for i, (first, last, _) in enumerate(pairs):
            assert epochs["store"][b, i].tolist() == [3 * first, 3 * first + 3]
            assert epochs["delay"][b, i].tolist() == [3 * first + 3, 3 * last]
            assert epochs["recall"][b, i].tolist() == [3 * last, 3 * last + 3]
        assert not epochs["recall"][b, len(pairs) :].any() and not epochs["delay"][b, len(pairs) :].any()
    assert np.array_equal(batch.during("recall"), batch.weight > 0)


def test_store_recall_has_the_stated_odds_and_rate() -> None:
    p, size = 0.4, 8000
    small = task("store_recall", values=2, frames=4, probability=p, group=1, frame=0.001)
    known = small.batch(stream(), size).trials
    odds: dict[tuple[int, ...], float] = {}
    for comes in product((False, True), repeat=4):
        turns = np.cumsum(comes)
        if turns[-1] >= 2:  # a recall: the others are drawn anew
            command = tuple(int(2 - turns[k] % 2) if comes[k] else 0 for k in range(4))
            odds[command] = p ** sum(comes) * (1 - p) ** (4 - sum(comes))
    found, counts = np.unique(known["command"], axis=0, return_counts=True)
    assert {tuple(row) for row in found.tolist()} == set(odds)
    for row, count in zip(found.tolist(), counts, strict=True):
        assert near(count, size, odds[tuple(row)] / sum(odds.values())), row
    shown = known["value"][known["value"] >= 0]
    assert near(shown.sum(), shown.size, 0.5)
    default = task("store_recall").batch(stream(), 16)
    spikes = default.inputs.sum()
    fires = (1 + (default.trials["command"] == 1)).sum() * 25 * 200  # one group a frame, two at the store command
    assert near(float(spikes), int(fires), 0.05)


def test_store_recall_scores_recalls() -> None:
    recall = task("store_recall", frames=6, probability=0.5, group=1, frame=0.002)
    batch = recall.batch(stream(), 60)
    outputs = torch.nn.functional.one_hot(batch.targets, 2).float()
    outputs[::2] = 0.4 - 0.5 * outputs[::2]  # wrong in each first step of a frame, less so than right in the second
    assert recall.score(outputs, batch) == 1.0
    b = int((batch.trials["command"] == 2).sum(1).argmax())
    last = int(np.flatnonzero(batch.trials["command"][b] == 2)[-1])
    outputs[2 * last : 2 * last + 2, b] *= -1
    assert recall.score(outputs, batch) == pytest.approx(1 - 1 / (batch.trials["command"] == 2).sum())


# -- a context decides -------------------------------------------------------------------------------------------------------


def test_the_context_says_which_stream_counts() -> None:
    clean = task("context_decision", noise=0.0, coherences=(0.1, 0.4))
    batch = clean.batch(stream(), 3000)
    known, inputs = batch.trials, batch.inputs.numpy()
    assert inputs.shape == (105, 3000, 4)
    assert not inputs[:10, :, :2].any() and not inputs[85:, :, :2].any()
    np.testing.assert_allclose(inputs[10:85, :, :2], np.broadcast_to(known["coherence"], (75, 3000, 2)), rtol=1e-6)
    motion = known["context"] == "motion"
    assert set(known["context"]) == {"motion", "colour"} and near(motion.sum(), 3000, 0.5)
    assert np.array_equal(inputs[..., 2], np.broadcast_to(motion, (105, 3000))) and (inputs[..., 2:].sum(-1) == 1).all()
    counts = np.where(motion, known["coherence"][:, 0], known["coherence"][:, 1])
    other = np.where(motion, known["coherence"][:, 1], known["coherence"][:, 0])
    assert np.array_equal(known["evidence"], counts) and np.array_equal(known["answer"], counts > 0)
    assert np.array_equal(batch.targets, np.broadcast_to(known["answer"], (105, 3000)))
    assert np.array_equal(known["congruent"], (counts > 0) == (other > 0)) and near(known["congruent"].sum(), 3000, 0.5)
    for one, two in product((-0.4, -0.1, 0.1, 0.4), repeat=2):
        assert near(((counts == one) & (other == two)).sum(), 3000, 1 / 16)
    assert np.array_equal(batch.during("answer"), batch.weight > 0) and np.allclose(batch.weight.sum(0), 1)
    assert batch.context is not None and np.array_equal(batch.context.argmax(1), known["answer"])


@pytest.mark.parametrize("dt", [0.01, 0.025])
def test_who_adds_up_the_right_stream_is_right_as_often_as_stated(dt: float) -> None:
    noisy = task("context_decision", dt=dt, fixation=0.1, answer=0.1)
    batch = noisy.batch(stream(), 6000)
    streams = batch.inputs.numpy()[batch.during("stimulus")[:, 0], :, :2]
    noise = streams - batch.trials["coherence"].astype(np.float32)
    assert noise.std() == pytest.approx(0.1 / dt**0.5, rel=5 / (2 * noise.size) ** 0.5)
    counts = np.where(batch.trials["context"] == "motion", *np.moveaxis(streams, -1, 0))
    correct = (counts.sum(0) > 0) == batch.trials["answer"]
    for size in (0.05, 0.15, 0.5):
        there = np.abs(batch.trials["evidence"]) == size
        assert near(correct[there].sum(), there.sum(), 0.5 * (1 + erf(size * 0.75**0.5 / 0.1 / 2**0.5))), size


# -- digits in spikes --------------------------------------------------------------------------------------------------------


def test_digits_by_latency_spike_once_and_the_brighter_the_sooner() -> None:
    digits: Any = task("spiking_digits", code="latency", shown=0.02, answer=0.005)
    batch = digits.batch(stream(), 40)
    pixels = digits.images("train").pixels[batch.trials["image"]].reshape(40, 64)
    expected = np.zeros((25, 40, 64), np.float32)
    for (b, i), pixel in np.ndenumerate(pixels):
        if pixel:
            expected[int((1 - pixel / 16) * 19 + 0.5), b, i] = 1
    assert np.array_equal(batch.inputs, expected) and (pixels == 16).any() and (pixels == 1).any()
    assert np.array_equal(
        batch.targets, np.broadcast_to(digits.images("train").labels[batch.trials["image"]], (25, 40))
    )
    assert np.array_equal(batch.during("answer"), batch.weight > 0) and np.allclose(batch.weight.sum(0), 1)


def test_digits_by_rate_fire_in_proportion_to_brightness() -> None:
    digits: Any = task("spiking_digits")
    batch = digits.batch(stream(), 200)
    pixels = digits.images("train").pixels[batch.trials["image"]].reshape(200, 64)
    spikes = batch.inputs[:50].numpy()
    assert not batch.inputs[50:].any() and set(np.unique(spikes)) == {0, 1}
    for level in range(17):
        there = spikes[:, pixels == level]
        assert near(there.sum(), there.size, 0.2 * level / 16), level


def test_every_test_digit_is_shown_once_in_spikes_that_stay() -> None:
    whole = next(task("spiking_digits").test_batches(360))
    assert whole.size == 360 and whole.trials["image"].tolist() == list(range(360))
    assert np.array_equal(whole.trials["answer"], SequentialDigits().images("test").labels)
    for size in (7, 100):
        assert same(whole, bp.tasks.joined(list(task("spiking_digits").test_batches(size))))
    halves = whole.inputs[:, :180], whole.inputs[:, 180:]
    assert not torch.equal(*halves)
    with pytest.raises(TaskError, match="split='t10k', which data='digits' does not have"):
        task("spiking_digits", split="t10k")


# -- a delay that varies -----------------------------------------------------------------------------------------------------


def test_delayed_match_with_a_delay_of_its_own_in_each_trial() -> None:
    match = task("delayed_match", stimuli=3, shown=2, delay=(1, 4), answer=2)
    batch = match.batch(stream(), 3000)
    assert match.steps == 10 and batch.inputs.shape == (10, 3000, 3)
    known = batch.trials
    for n in range(1, 5):
        assert near((known["delay"] == n).sum(), 3000, 0.25)
    for b in range(200):
        delay = known["delay"][b]
        shown = np.zeros((10, 3))
        shown[:2, known["sample"][b]] = shown[2 + delay : 4 + delay, known["test"][b]] = 1
        assert np.array_equal(batch.inputs[:, b], shown)
        assert np.flatnonzero(batch.weight[:, b]).tolist() == [4 + delay, 5 + delay]
        assert batch.epochs["delay"][b].tolist() == [2, 2 + delay]
    assert np.array_equal(known["answer"], known["sample"] == known["test"]) and near(known["answer"].sum(), 3000, 0.5)
    assert np.allclose(batch.weight.sum(0), 1)
    assert same(
        task("delayed_match", delay=(3, 3)).batch(stream(), 9), task("delayed_match", delay=3).batch(stream(), 9)
    )


def test_delayed_match_with_a_fixed_delay_draws_what_it_always_drew() -> None:
    batch, again = task("delayed_match", noise=0.5).batch(stream(), 5), stream()
    one, sample = torch.randint(2, (5,), generator=again), torch.randint(4, (5,), generator=again)
    test = (sample + (1 - one) * torch.randint(1, 4, (5,), generator=again)) % 4
    inputs = 0.5 * torch.randn(15, 5, 4, generator=again)
    inputs[:2] += torch.nn.functional.one_hot(sample, 4)
    inputs[12:14] += torch.nn.functional.one_hot(test, 4)
    weight = torch.zeros(15, 5)
    weight[-1] = 1
    plain = Batch(inputs, one.repeat(15, 1), weight, torch.nn.functional.one_hot(one, 2).float(), batch.trials)
    assert same(batch, plain)
    assert task("delayed_match").describe()["delay"] == 10


# -- learned -----------------------------------------------------------------------------------------------------------------

BRIEF = dict(
    group=5, rate=200.0, gap=0.005, cue=0.02, delay=0.03, recall=0.02, cues=3, background=50.0, test_trials=200
)

#: name → options, cell, rule, training and the score above which it is learned, far above chance
LEARNED: dict[str, tuple[dict[str, Any], str, str, dict[str, Any], float]] = {
    "evidence_accumulation": (BRIEF, "lsnn_alif", "eprop", dict(updates=30, batch=32), 0.7),
    "store_recall": (
        dict(frames=4, frame=0.02, probability=0.5, group=5, rate=200.0),
        "lsnn_alif",
        "eprop",
        dict(updates=40, batch=32),
        0.8,
    ),
    "context_decision": (
        dict(dt=0.05, stimulus=0.5, answer=0.1, coherences=(0.3,), noise=0.05),
        "gru",
        "bptt",
        dict(updates=60, batch=32),
        0.9,
    ),
    "delayed_match": (dict(stimuli=2, delay=(1, 5)), "gru", "bptt", dict(updates=80, batch=32), 0.9),
    "spiking_digits": (dict(shown=0.02, answer=0.01), "lsnn_alif", "eprop", dict(updates=40, batch=50), 0.3),
    "spiking_digits, latency": (
        dict(code="latency", shown=0.02, answer=0.01),
        "lsnn_alif",
        "eprop",
        dict(updates=60, batch=50),
        0.3,
    ),
}


@pytest.mark.parametrize("name", LEARNED)
def test_a_small_circuit_learns_it(name: str) -> None:
    options, cell, rule, training, enough = LEARNED[name]
    made = task(name.partition(",")[0], **options)
    spiking: dict[str, Any] = {"tau_out": 20 * ms, "input_gain": 1.5} if cell == "lsnn_alif" else {}
    circuit = bp.circuit("recurrent", cell=cell, units=30, inputs=made.inputs, outputs=made.outputs, **spiking)
    how = bp.Training(lr=1e-2, backend="torch", **training)
    trainer = bp.Trainer(circuit, made, bp.rule(rule), how)
    before = trainer.evaluate()["test_score"]
    for _ in range(how.updates):
        trainer.update()
    score = trainer.evaluate()["test_score"]
    assert score > max(enough, before + 0.1), (before, score)
    if name == "context_decision":  # also where the stream that does not count says the opposite
        batch = next(made.test_batches(512))
        right = (
            decided(torch.as_tensor(bp.simulate(trainer.network, batch).output.values), batch).numpy()
            == batch.trials["answer"]
        )
        assert right[~batch.trials["congruent"]].mean() > enough
