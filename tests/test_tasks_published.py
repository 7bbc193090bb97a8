"""Target reaching and pattern generation against what is published, and the e-prop oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from oracle_eprop import LOSSES, draw
from task_helpers import paragraph, stream

from bioplaus.errors import TaskError
from bioplaus.tasks import check_batch, squared, task
from bioplaus.tasks.lines import Lines
from bioplaus.tasks.pattern_generation import PatternGeneration
from bioplaus.tasks.target_reaching import TargetReaching

# Target reaching


@pytest.mark.parametrize("targets", [1, 6, 100])
def test_reaching_targets_lie_on_the_circle_and_cues_differ(targets: int) -> None:
    reaching = TargetReaching(targets=targets)
    angle = 2 * np.pi * np.arange(targets) / targets
    expected = np.stack((np.sin(angle), np.cos(angle)), -1)
    np.testing.assert_allclose(reaching.points.numpy(), expected, atol=1e-7)
    assert len(torch.unique(reaching.cues, dim=0)) == targets
    assert set(reaching.cues.unique().tolist()) <= {0.0, 1.0}
    assert reaching.cues.sum(1).min() >= 1
    (batch,) = reaching.test_batches(1000)
    assert batch.size == targets
    assert batch.context is not None and torch.equal(batch.context, torch.eye(targets))
    assert torch.equal(batch.inputs[0], reaching.cues) and not batch.inputs[1:].any()
    assert torch.equal(batch.targets[-1], reaching.points)
    assert torch.equal(batch.weight.sum(1), torch.tensor([0.0] * 9 + [float(targets)]))


def test_reaching_along_the_line() -> None:
    reaching = TargetReaching(targets=6, path="line", steps=11)
    batch = reaching.batch(stream(), 50)
    assert batch.context is not None
    points = batch.context @ reaching.points
    for t in range(11):
        torch.testing.assert_close(batch.targets[t], points * t / 10)
    torch.testing.assert_close(batch.weight.sum(0), torch.ones(50))
    # The published loss is the mean over batch, steps and both outputs.
    outputs = torch.randn(11, 50, 2, generator=stream())
    expected = torch.nn.functional.mse_loss(outputs, batch.targets)
    torch.testing.assert_close(squared.total(outputs, batch.targets, batch.weight), expected)


@pytest.mark.parametrize("lines", [1, 5, 6])
def test_lines_begin_at_the_origin_and_cues_are_neighbours(lines: int) -> None:
    drawn = Lines(lines=lines, length=10.0, steps=10, every=2)
    (batch,) = drawn.test_batches(100)
    assert batch.size == lines + 1 and not batch.inputs[1:].any()
    cues = batch.inputs[0, :, 0].numpy()
    assert cues[0] == 0 and not batch.targets[:, 0].any()
    np.testing.assert_allclose(sorted(cues), 0.1 * (np.arange(lines + 1) - lines // 2), atol=1e-7)
    ends = batch.targets[-1, 1:].numpy()
    angle = 2 * np.pi * np.arange(lines) / lines
    np.testing.assert_allclose(ends, 10 * np.stack((np.cos(angle), np.sin(angle)), -1), atol=1e-5)
    for t in range(10):
        np.testing.assert_allclose(batch.targets[t, 1:].numpy(), ends * t / 9, atol=1e-5)
    for column in batch.weight.T.numpy():  # at every second step, the last for certain
        np.testing.assert_allclose(column, [0, 0.2] * 5, atol=1e-7)
    assert batch.trials["line"].tolist() == list(range(lines + 1))
    outputs = torch.randn(10, lines + 1, 2, generator=stream())
    expected = torch.nn.functional.mse_loss(outputs[1::2], batch.targets[1::2])
    torch.testing.assert_close(squared.total(outputs, batch.targets, batch.weight), expected)
    counts = torch.bincount(torch.as_tensor(drawn.batch(stream(), 6000).trials["line"]), minlength=lines + 1)
    assert ((counts - 6000 / (lines + 1)).abs() < 5 * (6000 / (lines + 1)) ** 0.5).all()


@pytest.mark.parametrize(("steps", "every", "there"), [(7, 3, [0, 3, 6]), (5, 9, [4]), (3, 1, [0, 1, 2])])
def test_lines_ask_at_every_kth_step_and_the_last(steps: int, every: int, there: list[int]) -> None:
    (batch,) = Lines(steps=steps, every=every).test_batches(7)
    assert batch.weight[:, 3].nonzero().flatten().tolist() == there
    torch.testing.assert_close(batch.weight.sum(0), torch.ones(7))
    with pytest.raises(TaskError, match="steps of the task 'lines' is 1"):
        Lines(steps=1)


def test_reaching_draws_every_target_equally_often() -> None:
    batch = TargetReaching(targets=6).batch(stream(), 6000)
    assert batch.context is not None
    counts = batch.context.sum(0)
    chi_squared = ((counts - 1000) ** 2 / 1000).sum().item()
    assert 0 < chi_squared < 20.5  # 5 degrees of freedom: exceeded once in a thousand


def test_reaching_cues_follow_from_their_seed_alone_and_are_balanced() -> None:
    assert torch.equal(TargetReaching(targets=6).cues, TargetReaching(targets=6, steps=40).cues)
    assert not torch.equal(TargetReaching(targets=6).cues, TargetReaching(targets=6, cue_seed=1).cues)
    cues = TargetReaching(targets=2000, inputs=30).cues
    assert cues.mean().item() == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(cues.numel()))
    every = TargetReaching(targets=15, inputs=4)
    assert len(torch.unique(every.cues, dim=0)) == 15
    with pytest.raises(TaskError, match="only 15 different cues") as error:
        TargetReaching(targets=16, inputs=4)
    paragraph(error)
    with pytest.raises(TaskError, match="steps of .* must be a whole number from 2"):
        TargetReaching(steps=1, path="line")


# Pattern generation


def test_pattern_input_is_poisson_of_the_stated_rate() -> None:
    pattern = PatternGeneration(steps=4000, rate=50.0)
    spikes = pattern.batch(stream(), 1).inputs[:, 0]
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    assert spikes.mean().item() == pytest.approx(0.05, abs=5 * np.sqrt(0.05 * 0.95 / spikes.numel()))
    counts = spikes.sum(0)  # of each unit: variance n p (1 − p)
    assert counts.var().item() / (4000 * 0.05 * 0.95) == pytest.approx(1.0, abs=5 * np.sqrt(2 / 99))
    lagged = (spikes[1:] * spikes[:-1]).mean().item()  # one step tells nothing about the next
    assert lagged == pytest.approx(0.0025, abs=5 * 0.05 / np.sqrt(spikes.numel()))


@pytest.mark.parametrize("cycles", [(1, 2, 3, 5), (2, 7)])
def test_pattern_target_is_a_sum_of_the_stated_sines(cycles: tuple[int, ...]) -> None:
    target = PatternGeneration(cycles=cycles, outputs=40, steps=1001).pattern[1].double()
    assert not target[0].any()
    torch.testing.assert_close(target.abs().amax(0), torch.ones(40).double())
    # First and last step are the same point of every cycle, so all but the last make whole periods.
    power = torch.fft.rfft(target[:-1], dim=0).abs() / 500
    present = torch.zeros(501, dtype=torch.bool)
    present[[0, *cycles]] = True
    assert power[list(cycles)].min() > 1e-2
    assert power[~present].max() < 1e-6
    # Amplitudes are U(0.5, 2) before the common scaling, so no two of them differ by more than a factor of 4.
    sines = power[list(cycles)]
    assert (sines.amax(0) / sines.amin(0)).max() < 4
    assert (sines.amax(0) / sines.amin(0)).max() > 2


def test_pattern_is_frozen_and_follows_from_its_seed() -> None:
    pattern = PatternGeneration()
    batch = pattern.batch(stream(5), 3)
    for b in range(3):
        assert torch.equal(batch.inputs[:, b], pattern.pattern[0])
        assert torch.equal(batch.targets[:, b], pattern.pattern[1])
    other = PatternGeneration(pattern_seed=1).batch(stream(5), 3)
    assert not torch.equal(other.inputs, batch.inputs) and not torch.equal(other.targets, batch.targets)
    assert len(list(pattern.test_batches(10))) == 1


def test_pattern_takes_quantities_and_refuses_wrong_units() -> None:
    from brian2 import Hz, ms, mV

    given: Any = task("pattern_generation", rate=80 * Hz, dt=2 * ms)
    plain = PatternGeneration(rate=80.0, dt=0.002)
    assert given.describe() == plain.describe()
    assert (type(given.dt), given.dt) == (float, 0.002)
    for wrong in ({"rate": 80 * ms}, {"dt": 1 * mV}, {"dt": 1 * Hz}, {"rate": [50, 60] * Hz}):
        with pytest.raises(TaskError, match="above zero, such as .* or a number in (s|Hz)") as error:
            task("pattern_generation", **wrong)
        paragraph(error)
    with pytest.raises(TaskError, match="spikes in a step") as error:
        PatternGeneration(dt=0.999)
    with pytest.raises(TaskError, match=r"A number without unit is in seconds: write 1\*ms"):
        PatternGeneration(dt=1)  # meant as 1 ms
    paragraph(error)


def test_pattern_takes_a_given_input_and_target() -> None:
    drawn = draw()
    pattern = PatternGeneration(input=drawn["input"], target=drawn["target"])
    batch = pattern.batch(stream(), 1)
    check_batch(pattern, batch)
    np.testing.assert_array_equal(batch.inputs[:, 0].numpy(), drawn["input"])
    np.testing.assert_array_equal(batch.targets[:, 0].numpy(), drawn["target"])
    assert pattern.describe() != PatternGeneration().describe()
    drawn["target"][3] = 9.0  # the task keeps a copy
    assert pattern.pattern[1][3].item() != 9.0

    with pytest.raises(TaskError, match=r"shape \(500, 100\).*steps=1000") as error:
        PatternGeneration(input=drawn["input"][:500])
    paragraph(error)
    drawn["input"][17, 4] = np.nan
    with pytest.raises(TaskError, match="input array that holds nan at step 17, unit 4") as error:
        PatternGeneration(input=drawn["input"])
    paragraph(error)
    with pytest.raises(TaskError, match="target of .* must be an array"):
        PatternGeneration(target=drawn["target"] * 1j)
    for cycles in ((), (1, 1), (0,), (501,), (1.5,), 3):
        with pytest.raises(TaskError, match="cycles"):
            PatternGeneration(cycles=cycles)  # pyright: ignore[reportArgumentType]


def test_the_oracle_draws_give_the_published_first_loss() -> None:
    """The forward pass of the published network, in numpy alone: the draws are the oracle's."""
    o = {name: array.astype(np.float64) for name, array in draw().items()}
    assert not o["input"][0].any() and not np.diag(o["W_rec"]).any()
    decay, threshold = np.exp(-1 / 30), 0.03
    v, z, y, loss, spikes = np.zeros(100), np.zeros(100), np.zeros(1), 0.0, 0.0
    for x, target in zip(o["input"], o["target"], strict=True):
        v = decay * v + (1 - decay) * (x @ o["W_in"] + z @ o["W_rec"]) - z * threshold
        z = (v > threshold).astype(float)
        y = decay * y + (1 - decay) * (z @ o["W_out"])
        loss += 0.5 * ((y - target) ** 2).sum()
        spikes += z.sum()
    assert spikes > 0
    assert loss == pytest.approx(LOSSES[0], rel=1e-6)
