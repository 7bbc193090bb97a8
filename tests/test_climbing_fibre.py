"""Parallel fibres that learn from complex spikes: against an independent numpy loop, in torch, in loops and inside Brian2."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from climbing_helpers import DT, RATE, TAU, Told, arrived, built, circuit, inputs, loop, trial

import bioplaus as bp
from bioplaus import Hz, ms
from bioplaus.brian.climbing import lesson
from bioplaus.errors import BioplausError, RuleError

RULE = bp.rule("climbing_fibre", tau=TAU, rate=RATE)
ONLINE = replace(RULE, schedule=bp.Online())
PLAIN: dict[str, Any] = {
    "updates": 1, "batch": 1, "optimiser": "sgd", "apply": "window", "dtype": "float64", "lr": {"default": 0.0, "W_pf": 0.05},
}  # fmt: skip
HEARS = np.arange(5) % 2  # which olive cell


def matrix(network: bp.Network, values: torch.Tensor) -> np.ndarray:
    """[post, pre] of what is kept for W_pf."""
    if "W_pf" not in network.synapses:
        return values.numpy()
    there, found = network.synapses["W_pf"], np.zeros((5, 12))
    found[there.post, there.pre] = values.numpy()
    return found


def spikes(network: bp.Network, x: np.ndarray, b: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """As they arrive: of parallel fibres (T, pre), complex ones (T, post)."""
    seen = bp.simulate(network, x, record="spikes")
    assert float(seen["purkinje.spikes"].sum()) > 100
    return arrived(seen["granule.spikes"].values[:, b], 3), arrived(seen["olive.spikes"].values[:, b], 2)[:, HEARS]


@pytest.mark.parametrize("sparse", (False, True))
def test_the_gradient_is_that_of_a_loop(sparse):
    network, x = built(circuit(sparse)), inputs(1000, batch=2)
    there, expected = network.matrix("W_pf").numpy() != 0, np.zeros((5, 12))
    for b in range(2):
        fibres, climbing = spikes(network, x, b)
        first, second = np.zeros((2, 12))
        for s, c in zip(fibres, climbing, strict=True):
            first, second = np.exp(-1 / TAU) * first, np.exp(-1 / TAU) * (second + first / TAU)
            first = first + s
            expected += np.outer(c - RATE * DT, second) / 2 * there
    assert abs(expected[there]).min() > 0.1
    for rule in (RULE, ONLINE, replace(RULE, schedule=bp.Window(7))):
        for backend in ("torch", "numba"):
            found = bp.gradient(network, rule, trial(x), backend=backend)
            np.testing.assert_allclose(matrix(network, found["W_pf"]) * there, expected, rtol=0, atol=1e-12)


def test_the_trace_is_highest_after_tau_and_has_that_area():
    network, x = built(circuit()), np.zeros((400, 1, 14))
    x[0, 0, 3] = 1
    seen = bp.record(network, RULE, trial(x), "W_pf.eligibility")["W_pf.eligibility"].values[:, 0]
    trace = seen.max(1)  # over the neurons, of which some have no synapse with this fibre
    assert not np.delete(trace, 3, 1).any()
    t = np.arange(400.0) - np.argmax(trace[:, 3] > 0) + 1
    np.testing.assert_allclose(trace[:, 3], np.where(t > 0, t / TAU * np.exp(-t / TAU), 0), atol=1e-14)
    assert abs(trace[:, 3].sum() - TAU) < 0.01 * TAU


@pytest.mark.parametrize(("sparse", "lr"), ((False, 0.02), (True, 0.02), (True, 3.0)))
def test_brian2_moves_weights_as_a_loop_does(sparse, lr):
    """1000 steps of given spikes; with the large rate weights come to 0, where their sign holds them."""
    network, x = built(circuit(sparse)), inputs(1000)
    W = network.matrix("W_pf").numpy()
    found = lesson(network, ONLINE, torch.as_tensor(x), lr)
    fibres, climbing = arrived(found.spikes[0], 3), arrived(found.spikes[1], 2)[:, HEARS]
    assert (fibres.any(1) & climbing.any(1)).sum() > 5 and found.spikes[2].sum() > 50
    expected = loop(W, W != 0, fibres, climbing, lr)
    free = loop(W, W != 0, fibres, climbing, lr, floor=-np.inf)
    assert abs(expected - W)[W != 0].min() > 0 and (lr < 1 or abs(free - expected).max() > 0.1)
    np.testing.assert_allclose(_kept(network, found.weights), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("when", "heard"), ((97, True), (98, False)))
def test_the_last_step_counts_and_what_is_on_its_way_then_does_not(when, heard):
    """Of 100 steps: a complex spike that takes 2 arrives in the last, or behind it."""
    network, x = built(circuit()), np.zeros((100, 1, 14))
    x[60, 0, :12], x[when, 0, 12:] = 1, 1
    W = network.matrix("W_pf").numpy()
    found = lesson(network, ONLINE, torch.as_tensor(x), 0.5)
    expected = loop(W, W != 0, arrived(found.spikes[0], 3), arrived(found.spikes[1], 2)[:, HEARS], 0.5)
    assert (expected < W).any() == heard
    np.testing.assert_allclose(_kept(network, found.weights), expected, rtol=0, atol=1e-12)


def _kept(network: bp.Network, weights: np.ndarray) -> np.ndarray:
    if "W_pf" in network.synapses:
        return matrix(network, torch.from_numpy(weights[0]))
    found = np.zeros((5, 12))
    found[network.matrix("W_pf").numpy() != 0] = weights[0]
    return found


@pytest.mark.parametrize("sparse", (False, True))
def test_brian2_ends_where_torch_does(sparse):
    """Weights that move at every step, of the parallel fibres and of the readout, over three trials."""
    plain: dict[str, Any] = PLAIN | {"updates": 3, "lr": {"W_pf": 0.05, "readout": 1e-3}}
    theirs, ours = (
        bp.Trainer(circuit(sparse), Told(), ONLINE, bp.Training(backend=each, **plain)) for each in ("brian2", "torch")
    )
    for trainer in (theirs, ours):
        trainer.network.load({"to_granule": np.eye(14)[:12] * 100, "to_olive": np.eye(14)[12:] * 100})
    before = ours.network.weights["W_pf"].clone()
    for _ in range(3):
        one, other = theirs.update(), ours.update()
        assert abs(one["loss"] - other["loss"]) < 1e-12 * max(1, abs(other["loss"]))
    for name, W in ours.network.weights.items():
        assert (theirs.network.weights[name] - W).abs().max() < 1e-12, name
    assert (ours.network.weights["W_pf"] - before).abs().max() > 0.01


def test_nothing_changes_on_average_at_the_rate_of_balance():
    """Complex spikes at r₀ and independent of fibres: within 4 standard errors of 0, and far from it at 3 r₀."""
    T, rng = 200_000, np.random.default_rng(1)
    fibres, second, first = rng.random(T) < 0.02, 0.0, 0.0
    trace = np.empty(T)
    for t in range(T):
        second = np.exp(-1 / TAU) * (second + first / TAU)
        first = np.exp(-1 / TAU) * first + fibres[t]
        trace[t] = second
    for often, still in ((RATE, True), (3 * RATE, False)):
        told = ((rng.random(T) < often * DT) - RATE * DT) * trace
        blocks = told.reshape(100, -1).sum(1)
        assert (abs(blocks.mean()) < 4 * blocks.std() / 10) == still


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no such fibres": (dict(parallel="W_x"), r"'W_x' is none of its projections that learn \(W_pf\)"),
    "no such climbing": (dict(climbing="W_x"), r"'W_x' is none of its projections between neurons \(W_pf, W_cf\)"),
    "a voltage": (dict(tau=3 * bp.mV), "tau of climbing_fibre is 3. mV; it must be a time"),
    "a time": (dict(rate=3 * ms), "rate of climbing_fibre is 3. ms; it must be a rate"),
    "no time": (dict(tau=0), "tau of TwoStage is 0"),
    "no option": (dict(peak=3), "no option 'peak' of the rule 'climbing_fibre'"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_nonsense_is_refused_in_words(what):
    options, said = REFUSED[what]
    with pytest.raises(RuleError, match=said):
        bp.gradient(built(circuit()), bp.rule("climbing_fibre", **options), trial(inputs(20)))


def test_units_are_understood():
    assert bp.rule("climbing_fibre", tau=20 * ms, rate=3 * Hz) == RULE


def test_what_brian2_can_not_serve_says_so(tmp_path: Path):
    with pytest.raises(BioplausError, match="holds weights"):
        bp.train(circuit(), Told(), RULE, backend="brian2", updates=1, lr=1e-3, folder=tmp_path / "r")


def moved(c: bp.Circuit, backend: str, *perturb: bp.Perturb) -> torch.Tensor:
    trainer = bp.Trainer(c, Told(), ONLINE, bp.Training(backend=backend, perturb=perturb, **PLAIN))
    trainer.network.load({"to_granule": np.eye(14)[:12] * 100, "to_olive": np.eye(14)[12:] * 100})
    before = trainer.network.weights["W_pf"].clone()
    trainer.update()
    return trainer.network.weights["W_pf"] - before


def test_without_an_olive_synapses_only_come_back():
    whole, silent = moved(circuit(), "torch"), moved(circuit(), "torch", bp.Perturb("olive", "silence"))
    assert whole.min() < -0.1 and silent.min() >= 0 and silent.max() > 0.01
    for backend in ("torch", "brian2"):
        assert not moved(circuit(), backend, bp.Perturb("W_pf", "freeze")).any()


@pytest.mark.parametrize("backend", ("torch", "brian2"))
@pytest.mark.parametrize("name", ("W_pf", "W_cf"))
def test_what_is_cut_is_refused_as_it_would_go_on_teaching(name, backend):
    with pytest.raises(RuleError, match=f"'{name}' is cut"):
        moved(circuit(), backend, bp.Perturb(name, "cut"))


def test_brian2_refuses_silence_and_fibres_that_do_not_meet():
    with pytest.raises(RuleError, match="'olive' is silenced, clamped or cut off"):
        moved(circuit(), "brian2", bp.Perturb("olive", "silence"))
    c = circuit()
    elsewhere = [
        replace(p, target="granule", channels=("v",), synapses=None) if p.name == "W_cf" else p for p in c.projections
    ]
    with pytest.raises(RuleError, match="do not end at the same neurons"):
        moved(replace(c, projections=tuple(elsewhere)), "brian2")


@pytest.mark.slow
def test_compiled_by_cython_weights_move_alike():
    network, x = built(circuit(True)), torch.as_tensor(inputs(1000))
    one, other = (lesson(network, ONLINE, x, 0.05, target) for target in ("numpy", "cython"))
    assert all(np.array_equal(a, b) for a, b in zip(one.spikes, other.spikes, strict=True))
    np.testing.assert_allclose(one.weights, other.weights, rtol=0, atol=1e-12)
