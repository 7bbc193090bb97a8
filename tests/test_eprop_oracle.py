"""e-prop against the published numbers: five losses on which four independent programs agree to 6e-8."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from oracle_eprop import LOSSES, draw
from rule_helpers import Case, off, same

import bioplaus as bp
from bioplaus import Hz, Trainer, Training, ms
from bioplaus.circuit import Network
from bioplaus.learning.regulariser import RateRegulariser
from bioplaus.learning.sequence import sequence
from bioplaus.own import Own, Owns
from bioplaus.rules import Rule
from bioplaus.tasks import Batch, squared

RTOL = 1e-6
REGULARISER = RateRegulariser(0.010, 300.0)
RATE = 1e-4


def circuit() -> bp.Circuit:
    cell = bp.model("lsnn_lif", tau_m=30 * ms, threshold=0.03, scale_input=True)
    return bp.circuit("recurrent", cell=cell, inputs=100, units=100, outputs=1, tau_out=30 * ms, output_bias=False)


def published(dtype: torch.dtype = torch.float64) -> tuple[Network, Batch, Owns]:
    """Network, batch and feedback of the oracle."""
    drawn = draw()
    network = circuit().build(dtype=dtype)
    network.load({"W_in": drawn["W_in"].T, "W_rec": drawn["W_rec"].T, "W_out": drawn["W_out"].T})
    inputs, target = (torch.tensor(drawn[name], dtype=dtype)[:, None] for name in ("input", "target"))
    return (
        network,
        Batch(inputs, target, torch.ones(1000, 1, dtype=dtype)),
        {"feedback": Own(fixed={"B": torch.tensor(drawn["B"].T, dtype=dtype)})},
    )


def rule(**options: Any) -> Rule:
    return bp.rule("eprop", feedback="random", **options)


def descend(network: Network, rule: Rule, own: Owns, batch: Batch, regulariser: Any = REGULARISER) -> Iterator[float]:
    """Losses before each update of plain gradient descent."""
    while True:
        outcome = sequence(network, rule, own, batch, squared, regulariser)
        yield outcome.loss
        for name, w in network.weights.items():
            w -= RATE * outcome.gradients[name]
        network.constrain()


@pytest.mark.parametrize(
    "schedule",
    (rule(schedule="online"), rule(), rule(steps=100, schedule="window")),
    ids=("online", "window", "windows_of_100"),
)
def test_the_five_losses(schedule):
    network, batch, own = published()
    losses = [loss for loss, _ in zip(descend(network, schedule, own, batch), LOSSES, strict=False)]
    np.testing.assert_allclose(losses, LOSSES, rtol=RTOL)
    assert bool((network.weights["W_rec"].diagonal() == 0).all()), "no autapses"


class Once(bp.Task):
    """The oracle's one trial."""

    inputs, outputs, steps, loss, dt = 100, 1, 1000, squared, 1e-3

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> Batch:
        return published(torch.float32)[1]


@pytest.mark.parametrize("schedule", ("online", "window"))
def test_the_five_losses_through_the_trainer(schedule):
    training = Training(
        updates=5, batch=1, lr=RATE, optimiser="sgd", rate_target=10.0, rate_strength=300.0, dtype="float64"
    )
    trainer = Trainer(circuit(), Once(), rule(schedule=schedule), training)
    network, _, own = published()
    trainer.network.load(network.weights)
    trainer.own["feedback"]["B"].copy_(own["feedback"]["B"])
    rows = [trainer.update() for _ in LOSSES]
    np.testing.assert_allclose([row["loss"] for row in rows], LOSSES, rtol=RTOL)
    assert torch.equal(trainer.own["feedback"]["B"], own["feedback"]["B"]), "fixed feedback moved"
    spikes = np.mean([row["rate"] for row in rows])
    assert 1 < spikes < 200, "rate in Hz"


@pytest.mark.parametrize(
    "mistake",
    [
        lambda n, r, t, b: descend(n, r, t, b, None),
        lambda n, r, t, b: descend(n, r, t, b, replace(REGULARISER, strength=150.0)),
        lambda n, r, t, b: descend(n, bp.rule("eprop"), {}, b),
        lambda n, r, t, b: descend(n, bp.rule("tbptt", steps=1000), {}, b),
        lambda n, r, t, b: descend(n, r, {"feedback": Own(fixed={"B": -t["feedback"]["B"]})}, b),
    ],
    ids=("no regulariser", "half the regulariser", "symmetric feedback", "bptt", "feedback of the other sign"),
)
def test_the_losses_would_tell(mistake):
    """The second and third loss already part with anything else."""
    network, batch, own = published()
    losses = [loss for loss, _ in zip(mistake(network, rule(), own, batch), range(3), strict=False)]
    np.testing.assert_allclose(losses[0], LOSSES[0], rtol=RTOL)
    assert max(abs(a / b - 1) for a, b in zip(losses[1:], LOSSES[1:3], strict=True)) > 10 * RTOL


def test_a_trace_by_trace_program_in_numpy():
    """The first gradient, by the equations of the paper with the published recursion: ε filtered pre, e = ψ ε, ē filtered e."""
    network, batch, own = published()
    drawn = draw()
    x, target = drawn["input"].astype(float), drawn["target"].astype(float)
    W_in, W_rec, W_out, B = (drawn[n].astype(float) for n in ("W_in", "W_rec", "W_out", "B"))
    alpha = kappa = np.exp(-1 / 30)
    thr, n, T = 0.03, 100, 300
    v, z, y = np.zeros(n), np.zeros(n), 0.0
    eps, e_bar, e_sum, g, spikes = (
        np.zeros(200),
        np.zeros((200, n)),
        np.zeros((200, n)),
        np.zeros((200, n)),
        np.zeros(n),
    )
    for t in range(T):
        pre = np.concatenate([x[t], z])
        v = alpha * v + (1 - alpha) * (x[t] @ W_in + z @ W_rec) - thr * z
        z = (v > thr).astype(float)
        spikes += z
        psi = 0.3 / thr * np.maximum(0, 1 - np.abs(v - thr) / thr)
        eps = alpha * eps + (1 - alpha) * pre
        e = eps[:, None] * psi[None]
        e_bar, e_sum = kappa * e_bar + (1 - kappa) * e, e_sum + e
        y = kappa * y + (1 - kappa) * float(z @ W_out[:, 0])
        g += (y - target[t, 0]) * e_bar * B[:, 0]
    g += 300 * (spikes / T - 0.010) * e_sum / T
    np.fill_diagonal(g[100:], 0.0)
    short = Batch(batch.inputs[:T], batch.targets[:T], batch.weight[:T])
    assert 0.001 < spikes.mean() / T < 0.3 and spikes.min() < spikes.max()
    for schedule in (rule(schedule="online"), rule()):
        mine = sequence(network, schedule, own, short, squared, REGULARISER).gradients
        expected = {"W_in": torch.tensor(g[:100].T), "W_rec": torch.tensor(g[100:].T)}
        same({n: mine[n] for n in expected}, expected)


def test_alif_traces_of_the_paper():
    """ALIF in the published convention: e = ψ(ε_v − β ε_a), then ε_a ← ψ ε_v + (ρ − β ψ) ε_a, refractory neurons without ψ."""
    cell = bp.model("lsnn_alif", tau_m=20 * ms, tau_a=100 * ms, threshold=0.6, beta=0.3, refractory=5)
    circuit = bp.circuit(
        "recurrent", cell=cell, inputs=6, units=8, outputs=2, tau_out=20 * ms, output_bias=False, gain=0.7
    )
    network = circuit.build(seed=3, dtype=torch.float64)
    network.weights["W_in"].abs_().mul_(0.15)
    generator = torch.Generator().manual_seed(0)
    T, n = 120, 8
    x = (torch.rand(T, 1, 6, generator=generator) < 0.4).double()
    targets = torch.randn(T, 1, 2, generator=generator, dtype=torch.float64)
    case = Case(network, Batch(x, targets, torch.ones(T, 1, dtype=torch.float64)), RateRegulariser(0.01, 50.0)).alive()
    W_in, W_rec, C = (network.weights[k].numpy() for k in ("W_in", "W_rec", "W_out"))
    alpha, rho, kappa = np.exp(-1 / 20), np.exp(-1 / 100), np.exp(-1 / 20)
    thr, beta = 0.6, 0.3
    v, a, z, y, left = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(2), np.zeros(n)
    eps_v, eps_a = np.zeros(14), np.zeros((n, 14))
    e_bar, e_sum, g, spikes = np.zeros((n, 14)), np.zeros((n, 14)), np.zeros((n, 14)), np.zeros(n)
    silenced = 0
    for t in range(T):
        pre = np.concatenate([x[t, 0].numpy(), z])
        v = alpha * v + W_in @ x[t, 0].numpy() + W_rec @ z - thr * z
        a = rho * a + z
        left = np.maximum(left - 1, 0)
        free = (left == 0).astype(float)
        margin = (v - thr - beta * a) / thr
        silenced += int(((margin > 0) & (free == 0)).sum())
        z = (margin > 0) * free
        left = left + 5 * z
        spikes += z
        psi = free * 0.3 / thr * np.maximum(0, 1 - np.abs(margin))
        eps_v = alpha * eps_v + pre
        e = psi[:, None] * (eps_v[None] - beta * eps_a)
        eps_a = psi[:, None] * eps_v[None] + (rho - beta * psi[:, None]) * eps_a
        e_bar, e_sum = kappa * e_bar + (1 - kappa) * e, e_sum + e
        y = kappa * y + (1 - kappa) * C @ z
        g += (C.T @ (y - targets[t, 0].numpy()))[:, None] * e_bar
    g += 50.0 * (spikes / T - 0.01)[:, None] * e_sum / T
    np.fill_diagonal(g[:, 6:], 0.0)
    assert silenced > 0, "refractoriness must matter"
    expected = {"W_in": torch.tensor(g[:, :6]), "W_rec": torch.tensor(g[:, 6:])}
    for schedule in ("online", "window"):
        mine = case.gradients(bp.rule("eprop", schedule=schedule))
        same({k: mine[k] for k in expected}, expected)
    assert off(expected, {k: case.true[k] for k in expected}) > 1e-3


def test_rates_are_per_second():
    task = bp.task("pattern_generation", steps=50, inputs=10, rate=50 * Hz)
    spiking = bp.circuit("recurrent", cell=bp.model("lif"), inputs=10, units=5, outputs=1, input_gain=30.0)
    trainer = Trainer(spiking, task, bp.rule("eprop"), Training(batch=1, rate_target=20.0, rate_strength=1.0))
    assert trainer.regulariser == RateRegulariser(0.02, 1.0)
    row = trainer.update()
    spikes = float(trainer.record(["spikes"])["spikes"].mean())
    assert spikes > 0 and row["rate"] == pytest.approx(1000 * spikes, rel=0.5)
