"""A circuit of two rates: what it computes, what its gradient is, and that the slow area learns from what is predicted alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from rule_helpers import normal, off, paragraph, same

import bioplaus as bp
from bioplaus.content import experiment
from bioplaus.errors import CircuitError, TaskError
from bioplaus.learning.sequence import sequence
from bioplaus.tasks import cross_entropy

LINES, FAST, SLOW, STEPS, BATCH = 5, 7, 4, 12, 3
ONTO_SLOW = ("W_SF", "W_SS")


def network(lateral: bool = True, seed: int = 1) -> bp.Network:
    circuit = bp.circuit("two_rate", inputs=LINES, units=(FAST, SLOW), outputs=3, lateral=lateral, gain=1.2)
    return circuit.build(seed=seed, dtype=torch.float64)


def batch(period: int, asked: Any = slice(None)) -> bp.Batch:
    """Noise and a clock that ticks in the last step of each period; an answer where it is asked for."""
    x = normal(STEPS, BATCH, LINES, seed=3)
    x[..., -1] = 0.0
    x[period - 1 :: period, :, -1] = 1.0
    weight = torch.zeros(STEPS, BATCH, dtype=torch.float64)
    weight[asked] = 1.0
    targets = torch.arange(STEPS * BATCH).view(STEPS, BATCH) % 3
    return bp.Batch(x, targets, weight)


def plainly(W: dict[str, torch.Tensor], x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Fast and slow rates and outputs (time, batch, …), written out in torch."""
    fast, slow = x.new_zeros(x.shape[1], FAST), x.new_zeros(x.shape[1], SLOW)
    seen = []
    for now in x:
        drive = now[:, :-1] @ W["W_in"][:, :-1].T + slow @ W["W_FS"].T + W["b_fast"]
        drive = drive + fast @ W["W_FF"].T if "W_FF" in W else drive
        took = torch.tanh(fast @ W["W_SF"].T + slow @ W["W_SS"].T)
        c = now[:, -1:]
        fast, slow = torch.tanh(drive), c * took + (1 - c) * slow
        seen.append((fast, slow, fast @ W["W_out"].T + W["b_out"]))
    one, two, three = (torch.stack(each) for each in zip(*seen, strict=True))
    return one, two, three


@pytest.mark.parametrize("period", [1, 3, 4])
@pytest.mark.parametrize("lateral", [True, False])
def test_rates_and_gradients_are_those_of_two_networks_one_of_which_waits(lateral, period):
    net, trial = network(lateral), batch(period)
    W = {name: value.clone().requires_grad_(name != "clock") for name, value in net.weights.items()}
    fast, slow, outputs = plainly(W, trial.inputs)
    seen = bp.simulate(net, trial, ("rate",))
    assert np.allclose(seen["fast.rate"].values, fast.detach().numpy(), rtol=1e-12, atol=1e-14)
    assert np.allclose(seen["slow.rate"].values, slow.detach().numpy(), rtol=1e-12, atol=1e-14)
    ticks = trial.inputs[:, 0, -1].numpy() > 0
    moves = np.abs(np.diff(seen["slow.rate"].values, axis=0)).max((1, 2)) > 1e-3
    assert (moves == ticks[1:]).all() and ticks.sum() == STEPS // period and ("W_FF" in W) == lateral
    assert not net.weights["W_in"][:, -1].any()  # the clock is the slow area's alone
    loss = torch.nn.functional.cross_entropy(outputs.flatten(0, 1), trial.targets.flatten(), reduction="sum") / BATCH
    loss.backward()
    found = bp.gradient(net, "bptt", trial, cross_entropy)
    assert "clock" not in found and all(bool(g.any()) for g in found.values())
    true = {name: value.grad for name, value in W.items() if value.grad is not None}
    true["W_in"] = true["W_in"] * (net.weights["W_in"] != 0)
    same(found, true)


@pytest.mark.parametrize("period", [2, 3, 4])
def test_weights_onto_the_slow_area_learn_from_the_synthetic_gradient_alone(period):
    """Nothing without it; and with it in proportion to it, whatever the errors in the window are."""
    net, trial = network(), batch(period)
    cut = bp.gradient(net, bp.rule("tbptt", steps=period), trial, cross_entropy)
    true = bp.gradient(net, "bptt", trial, cross_entropy)
    assert not any(cut[name].any() for name in ONTO_SLOW) and all(bool(true[name].any()) for name in ONTO_SLOW)
    assert all(bool(cut[name].any()) for name in ("W_in", "W_FS", "W_FF"))  # the fast area has errors of its own

    def told(injection: float) -> dict[str, torch.Tensor]:
        task = _Given(trial)
        rule = bp.rule("dni", steps=period, injection=injection, discount=0.0)
        trainer = bp.Trainer(net.circuit, task, rule, bp.Training(updates=1, batch=BATCH, dtype="float64"), seed=1)
        theta = trainer.own["predictor"]
        for i, value in enumerate(theta.learned.values()):
            value.copy_(0.1 * normal(*value.shape, seed=i))
        before = {name: value.clone() for name, value in trainer.network.weights.items()}
        found = sequence(trainer.network, rule, trainer.own, trial, cross_entropy).gradients
        assert all(bool((before[n] == v).all()) for n, v in trainer.network.weights.items())
        return found

    none, one, two = told(0.0), told(1.0), told(2.0)
    same({n: none[n] for n in ("W_in", "W_FS")}, {n: cut[n] for n in ("W_in", "W_FS")})
    assert not any(none[n].any() for n in ONTO_SLOW) and all(bool(one[n].any()) for n in ONTO_SLOW)
    assert off({n: two[n] for n in ONTO_SLOW}, {n: 2 * one[n] for n in ONTO_SLOW}) < 1e-10


class _Given(bp.Task):
    """One batch, always the same."""

    loss = cross_entropy

    def __init__(self, of: bp.Batch) -> None:
        self.of, self.inputs, self.outputs, self.steps, self.name = of, LINES, 3, STEPS, "given"

    def batch(self, generator, size, split="train"):
        torch.randint(2, (1,), generator=generator)
        return self.of


def test_ticks_elsewhere_let_the_window_s_own_errors_reach_the_slow_area():
    """What the test before holds is a matter of where the clock ticks, not of the circuit."""
    net, trial = network(), batch(4)
    trial.inputs[..., -1] = trial.inputs[..., -1].roll(-2, 0)
    cut = bp.gradient(net, bp.rule("tbptt", steps=4), trial, cross_entropy)
    assert all(bool(cut[name].any()) for name in ONTO_SLOW)


def test_the_task_asks_for_what_was_shown_a_slow_period_before_and_ticks_at_the_ends_of_windows():
    arms = experiment("two_rate").arms
    for label, n, lag in (("SG, n=4", 4, 1), ("SG, n=8", 8, 1), ("SG, n=4, two later", 4, 2)):
        arm = arms[label]
        trial = arm.task.batch(bp.stream(0, "page"), 50)
        assert arm.rule.schedule.steps == n and trial.inputs.shape == (24, 50, 13)
        ticks = trial.inputs[..., -1]
        assert (ticks.nonzero()[:, 0].unique() % n == n - 1).all() and ticks.sum() == 50 * 24 // n
        held = trial.inputs[..., :-1].unflatten(0, (-1, n))
        assert (held == held[:, :1]).all() and set(held.unique().tolist()) == {-1.0, 1.0}
        bits = (held[:, 0, :, :2] > 0).long()
        named = 2 * bits[..., 0] + bits[..., 1]
        asked = trial.targets.unflatten(0, (-1, n))
        assert (asked[lag:] == named[:-lag, None]).all() and set(named.unique().tolist()) == {0, 1, 2, 3}
        assert not trial.weight[: lag * n].any() and torch.allclose(trial.weight.sum(0), torch.ones(50))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"units": (4, 4, 4)}, "3 sizes.*fast and.*slow"),
        ({"units": 8}, "units of two_rate"),
        ({"inputs": 1}, "inputs of two_rate"),
        ({"lateral": "yes"}, "lateral of two_rate"),
        ({"cell": 3}, "cell"),
    ],
)
def test_what_makes_no_circuit_of_two_rates_is_refused(options, words):
    with pytest.raises(CircuitError, match=words) as error:
        bp.circuit("two_rate", **{"inputs": 3, "outputs": 2} | options)
    paragraph(error)


def test_a_fast_area_that_spikes_may_hear_a_slow_one():
    circuit = bp.circuit("two_rate", cell="lif", inputs=4, units=(10, 4), outputs=2, input_gain=200.0, gain=20.0)
    x = torch.rand(200, 2, 4, generator=torch.Generator().manual_seed(0))
    x[..., -1] = (torch.arange(200) % 5 == 4).float()[:, None]
    seen = bp.simulate(circuit, x, ("spikes", "rate"), seed=1)
    assert float(seen["fast.spikes"].sum()) > 20 and float(np.abs(seen["slow.rate"]).max()) > 0.1


@pytest.mark.parametrize("periods", [(5,), (24,), (0,)])
def test_slow_periods_that_do_not_fit_into_a_trial_are_refused(periods):
    with pytest.raises(TaskError, match="slow period") as error:
        experiment("two_rate", periods=periods, later=())
    paragraph(error)
