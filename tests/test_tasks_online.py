"""Add, mimic, sine wave, flip-flop, delayed match, copy and copy-repeat against naive loops and published numbers."""

from __future__ import annotations

from dataclasses import replace
from math import cos, isclose, log, log2, pi, sin
from typing import Any

import numpy as np
import pytest
import torch
from task_helpers import paragraph, same, stream

import bioplaus as bp
from bioplaus.errors import TaskError
from bioplaus.tasks import Task, task
from bioplaus.tasks.add import Add
from bioplaus.tasks.copy import Copy
from bioplaus.tasks.copy_repeat import CopyRepeat
from bioplaus.tasks.delayed_match import DelayedMatch
from bioplaus.tasks.flip_flop import FlipFlop
from bioplaus.tasks.mimic import Mimic
from bioplaus.tasks.sine_wave import SineWave

# Add


def entropy(p: float) -> float:
    return -sum(q * log(q) for q in (p, 1 - p) if q > 0)


@pytest.mark.parametrize(("t1", "t2", "steps"), [(5, 9, 40), (4, 1, 12), (0, 2, 3)])
def test_add_targets_are_the_stated_sum(t1: int, t2: int, steps: int) -> None:
    batch = Add(t1=t1, t2=t2, steps=steps).batch(stream(), 20)
    x = batch.inputs[..., 0]
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(batch.inputs[..., 1], 1 - x)
    asked = 0
    for t in range(steps):
        for b in range(20):
            known = t >= t1 and t >= t2
            assert batch.weight[t, b] == (1.0 if known else 0.0)
            if known:
                y = 0.5 + 0.5 * float(x[t - t1, b]) - 0.25 * float(x[t - t2, b])
                assert batch.targets[t, b].tolist() == [y, 1 - y]
                asked += 1
    assert asked == 20 * (steps - max(t1, t2))


def test_add_levels_are_the_published_ones_for_any_lags() -> None:
    for add in (Add(), Add(t1=3, t2=1)):
        levels = add.levels
        assert list(levels) == ["nothing", "t2", "t1", "both"]
        published = [0.662, 0.628, 0.519]
        assert [round(levels[known], 3) for known in ("nothing", "t2", "t1")] == published
        assert levels["both"] == pytest.approx(0.4544, abs=1e-4)  # 0.45445: published cut off, not rounded
    by_hand = {
        "nothing": entropy(5 / 8),
        "t2": (entropy(3 / 4) + entropy(1 / 2)) / 2,
        "t1": (entropy(3 / 8) + entropy(7 / 8)) / 2,
        "both": (entropy(1 / 2) + entropy(1 / 4) + entropy(1) + entropy(3 / 4)) / 4,
    }
    assert Add().levels == pytest.approx(by_hand, rel=1e-12)


def test_add_is_answered_as_well_as_what_is_remembered_allows() -> None:
    add = Add(steps=109)
    batch = add.batch(stream(), 1000)
    x = batch.inputs[..., 0]
    early, late = torch.zeros_like(x), torch.zeros_like(x)
    early[5:], late[9:] = x[:-5], x[:-9]
    remembered = {
        "nothing": 0.625 + 0 * x,
        "t2": 0.75 - 0.25 * late,
        "t1": 0.375 + 0.5 * early,
        "both": 0.5 + 0.5 * early - 0.25 * late,
    }
    scores = {}
    for known, p in remembered.items():
        outputs = torch.stack((p, 1 - p), -1).clamp(min=1e-30).log()
        scores[known] = add.score(outputs, batch)
        # 100,000 asked steps; five standard errors of a mean of numbers from 0 to 2.
        assert scores[known] == pytest.approx(add.levels[known], abs=0.01)
    assert scores["both"] < scores["t1"] < scores["t2"] < scores["nothing"]
    assert scores["both"] == pytest.approx(0.4544, abs=0.004)
    assert add.score_name == "nats" and not add.higher_is_better


# Mimic


@pytest.mark.parametrize("distribution", ["bernoulli", "gaussian"])
def test_mimic_targets_are_the_teachers_outputs(distribution: str) -> None:
    mimic = Mimic(steps=30, units=7, inputs=4, outputs=3, distribution=distribution, seed=2)
    batch = mimic.batch(stream(), 6)
    W_in, W_rec, b, W_out, b_out = (array.numpy() for array in mimic.teacher)
    for trial in range(6):
        h = np.zeros(7)
        for t in range(30):
            x = batch.inputs[t, trial].double().numpy()
            h = np.tanh([W_in[i] @ x + W_rec[i] @ h + b[i] for i in range(7)])
            np.testing.assert_allclose(batch.targets[t, trial], W_out @ h + b_out, rtol=0, atol=1e-6)
    assert batch.targets.std() > 0.1
    assert torch.equal(batch.weight, torch.ones(30, 6))


def test_mimic_can_be_answered_by_a_circuit_with_the_teachers_weights() -> None:
    mimic = Mimic(units=12, inputs=5, outputs=4)
    batch = mimic.batch(stream(), 8)
    circuit = bp.circuit("recurrent", cell=bp.model("elman"), inputs=5, units=12, outputs=4)
    network = circuit.build(seed=0, dtype=torch.float64)
    before = mimic.score(torch.tensor(bp.simulate(network, batch.inputs, record=())["output"].values), batch)
    network.load(mimic.teacher._asdict())
    after = mimic.score(torch.tensor(bp.simulate(network, batch.inputs, record=())["output"].values), batch)
    assert after < 1e-6 < 0.1 < before


def test_mimic_teacher_follows_from_its_seed_alone() -> None:
    def weights(mimic: Mimic) -> list[list[float]]:
        return [array.flatten().tolist() for array in mimic.teacher]

    torch.manual_seed(0)
    first = weights(Mimic())
    torch.manual_seed(1)
    assert weights(Mimic(steps=7, distribution="gaussian")) == first
    other = weights(Mimic(seed=1))
    assert all(a != b for a, b in zip(first, other, strict=True))
    one, two = (Mimic(seed=seed).batch(stream(), 3) for seed in (0, 1))
    assert torch.equal(one.inputs, two.inputs) and not torch.equal(one.targets, two.targets)


def test_mimic_weights_and_inputs_have_the_stated_distributions() -> None:
    mimic = Mimic(units=200, inputs=300, outputs=100)
    W_in, W_rec, b, W_out, b_out = mimic.teacher
    assert (W_in * 300**0.5).std().item() == pytest.approx(1, abs=5 / (2 * W_in.numel()) ** 0.5)
    assert (W_out * 200**0.5).std().item() == pytest.approx(1, abs=5 / (2 * W_out.numel()) ** 0.5)
    biases = torch.cat((b, b_out))
    assert (biases / 0.1).std().item() == pytest.approx(1, abs=5 / (2 * 300) ** 0.5)
    torch.testing.assert_close(W_rec @ W_rec.T, torch.eye(200).double())
    # Of a random rotation the diagonal is balanced; QR as a library happens to sign it is not.
    assert abs(W_rec.diagonal().sum().item()) < 5
    bits = Mimic().batch(stream(), 100).inputs
    assert set(bits.unique().tolist()) == {0.0, 1.0}
    assert bits.mean().item() == pytest.approx(0.5, abs=5 * 0.5 / bits.numel() ** 0.5)
    normal = Mimic(distribution="gaussian").batch(stream(), 100).inputs
    assert normal.mean().item() == pytest.approx(0, abs=5 / normal.numel() ** 0.5)
    assert normal.var().item() == pytest.approx(1, abs=5 * (2 / normal.numel()) ** 0.5)


# Sine wave


@pytest.mark.parametrize("periods", [(8, 16, 32), (2, 7)])
def test_sine_wave_follows_its_switch(periods: tuple[int, ...]) -> None:
    wave = SineWave(periods=periods, steps=150, switch_probability=0.05, amplitude=0.3)
    batch = wave.batch(stream(), 20)
    seen = set()
    for b in range(20):
        since, before, held = 0, 0.0, 0
        for t in range(150):
            on, cue = batch.inputs[t, b].tolist()
            if on == 1.0:
                since = 0 if before == 0.0 else since + 1
                period = min(periods, key=lambda p: abs(-log(p) - cue))
                assert isclose(cue, -log(period), abs_tol=1e-6)
                assert since == 0 or period == held
                held = period
                seen.add(period)
                expected = [0.3 * cos(2 * pi * since / period), 0.3 * sin(2 * pi * since / period)]
            else:
                assert (on, cue) == (0.0, 0.0)
                expected = [0.0, 0.0]
            assert t or not on  # a trial starts switched off
            assert batch.targets[t, b].tolist() == pytest.approx(expected, abs=1e-6)
            before = on
    assert seen == set(periods)
    assert torch.equal(batch.weight, torch.ones(150, 20))


def test_sine_wave_switches_as_often_and_draws_periods_as_evenly_as_stated() -> None:
    wave = SineWave(periods=(4, 8), steps=400, switch_probability=0.1)
    inputs = wave.batch(stream(), 500).inputs
    flips = inputs[1:, :, 0] != inputs[:-1, :, 0]
    assert flips.float().mean().item() == pytest.approx(0.1, abs=5 * (0.09 / flips.numel()) ** 0.5)
    went_on = flips & (inputs[1:, :, 0] == 1)
    short = (inputs[1:, :, 1][went_on] > -log(6)).float()
    assert short.mean().item() == pytest.approx(0.5, abs=5 * 0.5 / len(short) ** 0.5)


# Flip-flop


@pytest.mark.parametrize(("bits", "probability"), [(3, 0.05), (1, 0.5), (2, 1.0)])
def test_flip_flop_holds_the_last_sign(bits: int, probability: float) -> None:
    flip_flop = FlipFlop(bits=bits, steps=60, pulse_probability=probability)
    batch = flip_flop.batch(stream(), 30)
    assert (flip_flop.inputs, flip_flop.outputs) == (bits, bits)
    for b in range(30):
        for channel in range(bits):
            held = 0.0
            for t in range(60):
                pulse = float(batch.inputs[t, b, channel])
                assert pulse in (-1.0, 0.0, 1.0) and (t or pulse)
                held = pulse or held
                assert batch.targets[t, b, channel] == held
    assert torch.equal(batch.weight, torch.ones(60, 30))


def test_flip_flop_pulses_have_the_stated_odds() -> None:
    inputs = FlipFlop(steps=200, pulse_probability=0.1).batch(stream(), 300).inputs
    later = inputs[1:]
    assert later.abs().mean().item() == pytest.approx(0.1, abs=5 * (0.09 / later.numel()) ** 0.5)
    signs = inputs[inputs != 0]
    assert signs.mean().item() == pytest.approx(0, abs=5 / len(signs) ** 0.5)
    both = (later[..., 0] * later[..., 1]).abs().mean().item()  # channels know nothing of each other
    assert both == pytest.approx(0.01, abs=5 * 0.1 / later[..., 0].numel() ** 0.5)


def test_flip_flop_scores_signs_and_learns_from_squares() -> None:
    flip_flop = FlipFlop(bits=2, steps=4)
    batch = flip_flop.batch(stream(), 5)
    assert (flip_flop.score_name, flip_flop.higher_is_better) == ("right signs", True)
    assert flip_flop.score(0.01 * batch.targets, batch) == 1.0
    outputs = batch.targets.clone()
    outputs[1, 2, 0] *= -1
    outputs[3, 4, 1] = 0.0
    assert flip_flop.score(outputs, batch) == pytest.approx(38 / 40)
    asked = replace(batch, weight=torch.tensor([0.0, 0.0, 0.0, 1.0])[:, None].repeat(1, 5))
    assert flip_flop.score(outputs, asked) == pytest.approx(9 / 10)
    assert flip_flop.loss.total(outputs, batch.targets, batch.weight).item() == pytest.approx((2.0 + 0.5) / 5)
    assert flip_flop.describe()["score"] == "right signs"


# Delayed match


@pytest.mark.parametrize(
    "epochs",
    [
        {},
        {"stimuli": 2, "shown": 1, "delay": 0, "answer": 3},
        {"stimuli": 5, "shown": 3, "delay": 4, "answer": 2},
    ],
)
def test_delayed_match_asks_whether_the_two_stimuli_were_the_same(epochs: dict[str, int]) -> None:
    match = DelayedMatch(**epochs)
    k, shown, delay, answer = match.stimuli, match.shown, match.delay, match.answer
    assert isinstance(delay, int)
    batch = match.batch(stream(), 40)
    assert (match.steps, match.inputs) == (2 * shown + delay + answer, k) == (batch.steps, batch.inputs.shape[-1])
    guess = torch.zeros(match.steps, 40, 2)
    for b in range(40):
        steps = [batch.inputs[t, b].tolist() for t in range(match.steps)]
        sample, test = steps[0], steps[shown + delay]
        blank = [0.0] * k
        assert sorted(sample) == sorted(test) == [*blank[1:], 1.0]
        assert steps == [sample] * shown + [blank] * delay + [test] * shown + [blank] * answer
        label = int(sample == test)
        assert batch.targets[:, b].tolist() == [label] * match.steps
        assert batch.context is not None and batch.context[b].tolist() == [1.0 - label, float(label)]
        expected = [0.0] * (match.steps - answer) + [1 / answer] * answer
        assert batch.weight[:, b].tolist() == pytest.approx(expected)
        guess[:, b, label] = 1.0
    assert match.score(guess, batch) == 1.0


def test_delayed_match_is_balanced_and_neither_stimulus_alone_tells() -> None:
    match = DelayedMatch(stimuli=3, shown=1, delay=2)
    batch = match.batch(stream(), 18_000)
    counts = torch.zeros(3, 3)
    for sample, test in zip(batch.inputs[0].argmax(-1).tolist(), batch.inputs[3].argmax(-1).tolist(), strict=True):
        counts[sample, test] += 1
    expected = torch.full((3, 3), 1500.0) + torch.eye(3) * 1500.0  # ½ · ⅓ the same, ½ · ⅙ each other pair
    chi_squared = ((counts - expected) ** 2 / expected).sum().item()
    assert 0 < chi_squared < 26.1  # 8 degrees of freedom: exceeded once in a thousand


def test_delayed_match_noise_is_on_every_input_of_every_step() -> None:
    quiet, noisy = (DelayedMatch(noise=noise).batch(stream(), 2000) for noise in (0.0, 0.5))
    assert torch.equal(quiet.targets, noisy.targets)
    noise = noisy.inputs - quiet.inputs
    spread = noise.square().mean((1, 2)).sqrt()
    torch.testing.assert_close(spread, torch.full((15,), 0.5), rtol=0, atol=5 * 0.5 / (2 * 8000) ** 0.5)


# Copy


@pytest.mark.parametrize(("length", "bits"), [(5, 8), (1, 1), (3, 2)])
def test_copy_frame(length: int, bits: int) -> None:
    copy = Copy(length=length, bits=bits)
    batch = copy.batch(stream(), 10)
    assert (copy.inputs, copy.outputs, copy.steps) == (bits + 2, bits, 2 * length + 2)
    for b in range(10):
        rows = [batch.inputs[t, b].tolist() for t in range(copy.steps)]
        vectors = [row[:bits] for row in rows[1 : length + 1]]
        assert {bit for vector in vectors for bit in vector} <= {0.0, 1.0}
        blank = [0.0] * bits
        expected = [[*blank, 1.0, 0.0]] + [[*vector, 0.0, 0.0] for vector in vectors]
        expected += [[*blank, 0.0, 1.0]] + [[*blank, 0.0, 0.0]] * length
        assert rows == expected
        assert batch.targets[-length:, b].tolist() == vectors
        asked = [0.0] * (length + 2) + [1 / bits] * length
        assert batch.weight[:, b].tolist() == pytest.approx(asked)
    assert copy.score(torch.zeros_like(batch.targets), batch) == pytest.approx(1.0)  # knows nothing: one bit each


def test_copy_bits_are_balanced_and_independent() -> None:
    targets = Copy(length=4).batch(stream(), 3000).targets[-4:]
    assert targets.mean().item() == pytest.approx(0.5, abs=5 * 0.5 / targets.numel() ** 0.5)
    signs = 2 * targets.transpose(0, 1).flatten(1) - 1  # (trial, vector and bit)
    correlation = (signs.T @ signs / 3000 - torch.eye(32)).abs().max().item()
    assert correlation < 5 / 3000**0.5


# Copy-repeat


@pytest.mark.parametrize(("length", "repeats", "bits"), [(1, 1, 8), (3, 2, 8), (2, 5, 3)])
def test_copy_repeat_frame(length: int, repeats: int, bits: int) -> None:
    made = CopyRepeat(length=length, repeats=repeats, bits=bits)
    batch = made.batch(stream(), 10)
    steps = (repeats + 1) * length + 3
    assert (made.inputs, made.outputs, made.steps) == (bits + 2, bits + 1, steps)
    blank = [0.0] * bits
    for b in range(10):
        rows = [batch.inputs[t, b].tolist() for t in range(steps)]
        vectors = [row[:bits] for row in rows[1 : length + 1]]
        assert {bit for vector in vectors for bit in vector} <= {0.0, 1.0}
        assert rows[0] == [*blank, 1.0, 0.0]
        assert rows[1 : length + 1] == [[*vector, 0.0, 0.0] for vector in vectors]
        assert rows[length + 1] == pytest.approx([*blank, 0.0, repeats / 10])
        assert rows[length + 2 :] == [[*blank, 0.0, 0.0]] * (steps - length - 2)
        asked = batch.targets[length + 2 :, b].tolist()
        assert asked == [[*vector, 0.0] for vector in vectors] * repeats + [[*blank, 1.0]]
        weight = [0.0] * (length + 2) + [1 / (bits + 1)] * (repeats * length + 1)
        assert batch.weight[:, b].tolist() == pytest.approx(weight)


def test_copy_repeat_curriculum_is_the_published_one() -> None:
    published = [5, 7, 9, 12, 15, 19, 23, 28, 33, 39, 45, 52, 59, 67]
    assert CopyRepeat().curriculum() == published
    stage, steps = CopyRepeat(bits=4), []
    for _ in published:
        steps.append(stage.batch(stream(), 2).steps)
        assert stage.bits == 4
        stage = stage.harder()
    assert steps == published
    assert CopyRepeat(length=3, repeats=2).curriculum(3) == [12, 15, 19]
    pairs = [(1, 1), (2, 1), (2, 2), (3, 2), (3, 3), (4, 3)]
    stage = CopyRepeat()
    for pair in pairs:
        assert (stage.length, stage.repeats) == pair
        stage = stage.harder()
    for stages in (0, -1, 2.0, None, True):
        with pytest.raises(TaskError, match="stages") as error:
            CopyRepeat().curriculum(stages)  # pyright: ignore[reportArgumentType]
        paragraph(error)


def test_copy_repeat_scores_bits_per_output_and_asked_step() -> None:
    made = CopyRepeat(length=3, repeats=2)
    batch = made.batch(stream(), 50)
    assert made.score_name == "bits" and not made.higher_is_better
    # Who knows when but not what pays one bit for each bit of a vector.
    outputs = 80 * (batch.targets - 0.5)
    outputs[5:-1, :, :8] = 0.0
    assert made.score(outputs, batch) == pytest.approx(6 * 8 / (7 * 9))
    # The mean over samples, asked steps and outputs, in bits, by hand.
    outputs = torch.randn(batch.targets.shape, generator=stream(1))
    total = 0.0
    for t in range(5, 12):
        for b in range(50):
            for k in range(9):
                p = 1 / (1 + np.exp(-float(outputs[t, b, k])))
                total -= log2(p if batch.targets[t, b, k] else 1 - p)
    assert made.score(outputs, batch) == pytest.approx(total / (7 * 50 * 9), rel=1e-5)
    loss = made.loss.total(outputs, batch.targets, batch.weight).item()
    assert loss == pytest.approx(total * log(2) / (50 * 9), rel=1e-5)
    assert made.score(80 * (batch.targets - 0.5), batch) < made.solved == 0.15
    for stage in (made, CopyRepeat()):  # without the vectors no stage is passed
        blind = stage.repeats * stage.length * 8 / ((stage.repeats * stage.length + 1) * 9)
        assert blind > stage.solved


# All of them


ONLINE = ["add", "mimic", "sine_wave", "flip_flop", "delayed_match", "copy", "copy_repeat"]


@pytest.mark.parametrize("name", ONLINE)
def test_trials_follow_from_the_generator_and_differ_between_states(name: str) -> None:
    made = task(name)
    generator = stream(3)
    first, second = made.batch(generator, 6), made.batch(generator, 6)
    assert same(first, made.batch(stream(3), 6))
    assert not torch.equal(first.inputs, second.inputs)
    assert not torch.equal(first.inputs, made.batch(stream(4), 6).inputs)
    trials = first.inputs.transpose(0, 1).flatten(1)
    assert len(torch.unique(trials, dim=0)) > 1
    tested = next(iter(made.test_batches(6)))
    assert not torch.equal(tested.inputs, first.inputs)


REFUSED: list[tuple[type[Task], dict[str, Any], str]] = [
    (Add, {"t1": 4, "t2": 4}, "t1=4 and t2=4"),
    (Add, {"t1": -1}, "t1 of .* must be a whole number from 0"),
    (Add, {"t2": 9, "steps": 9}, "steps of .* must be a whole number from 10"),
    (Add, {"t1": 20, "steps": 20}, "steps of .* must be a whole number from 21"),
    (Mimic, {"units": 0}, "units of .* must be a whole number from 1"),
    (Mimic, {"outputs": 0}, "outputs of .* must be a whole number from 1"),
    (Mimic, {"distribution": "uniform"}, "distribution of .* must be one of 'bernoulli', 'gaussian'"),
    (Mimic, {"seed": 2**32}, "seed of .* must be a whole number"),
    (SineWave, {"steps": 1}, "steps of .* must be a whole number from 2"),
    (SineWave, {"periods": (8, 8)}, "periods of .* must be a tuple of one or more different"),
    (SineWave, {"periods": (8, 1)}, "periods of .* each a whole number from 2"),
    (SineWave, {"periods": (8.5,)}, "periods of .* each a whole number from 2"),
    (SineWave, {"switch_probability": 0}, "switch_probability of .* must be a finite number above 0 and at most 1"),
    (SineWave, {"switch_probability": 1.01}, "switch_probability of .* must be a finite number above 0 and at most 1"),
    (SineWave, {"amplitude": 0.0}, "amplitude of .* must be a finite number above 0"),
    (FlipFlop, {"bits": 0}, "bits of .* must be a whole number from 1"),
    (FlipFlop, {"pulse_probability": 0}, "pulse_probability of .* must be a finite number above 0 and at most 1"),
    (
        FlipFlop,
        {"pulse_probability": 5 * bp.ms},
        "pulse_probability of .* must be a finite number above 0 and at most 1",
    ),
    (DelayedMatch, {"stimuli": 1}, "stimuli of .* must be a whole number from 2"),
    (DelayedMatch, {"delay": -1}, "delay of .* must be a whole number from 0"),
    (DelayedMatch, {"answer": 0}, "answer of .* must be a whole number from 1"),
    (DelayedMatch, {"noise": -0.1}, "noise of .* must be a finite number between 0 and 1000"),
    (Copy, {"length": 0}, "length of .* must be a whole number from 1"),
    (Copy, {"bits": 0}, "bits of .* must be a whole number from 1"),
    (CopyRepeat, {"repeats": 0}, "repeats of .* must be a whole number from 1"),
]


@pytest.mark.parametrize(("kind", "options", "message"), REFUSED, ids=lambda value: getattr(value, "name", None))
def test_bad_options_are_refused_in_a_paragraph(kind: type[Task], options: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message) as error:
        kind(**options)
    assert f"'{kind.name}'" in paragraph(error)


def test_the_ends_of_the_allowed_are_allowed() -> None:
    Add(t1=0, t2=1, steps=2)
    SineWave(steps=2, periods=(2,), switch_probability=1)
    FlipFlop(bits=1, steps=1, pulse_probability=1)
    DelayedMatch(stimuli=2, shown=1, delay=0, answer=1, noise=0)
    Mimic(steps=1, units=1, inputs=1, outputs=1)
