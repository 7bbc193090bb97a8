"""Firing told by numbers, the theory's rate, and Brunel's network: against another way to each."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

import bioplaus as bp
from bioplaus.analysis.diffusion import rate, self_consistent
from bioplaus.analysis.spike_statistics import firing, spontaneous
from bioplaus.check.by_hand import gradient as by_hand_gradient
from bioplaus.errors import BioplausError, CellError, CircuitError, RunError
from bioplaus.learning.sequence import sequence
from bioplaus.tasks import Batch, squared

LIF = dict(tau=0.02, threshold=20.0, reset=10.0, refractory=0.002)


def by_hand(z: np.ndarray, dt: float) -> dict[str, float]:
    """The same, neuron by neuron and pair by pair."""
    cvs = []
    for train in z.T:
        intervals = np.diff(np.nonzero(train)[0])
        if len(intervals) >= 5:
            cvs.append(np.std(intervals, ddof=1) / np.mean(intervals))

    def bins(train: np.ndarray, width: int) -> list[int]:
        return [int(train[b : b + width].sum()) for b in range(0, len(train) - width + 1, width)]

    coarse = [bins(train, round(10 / dt)) for train in z.T]
    pairs = [
        np.corrcoef(a, b)[0, 1] for i, a in enumerate(coarse) for b in coarse[:i] if len(set(a)) > 1 and len(set(b)) > 1
    ]
    n = np.array(bins(z.sum(1), round(1 / dt)), float)
    over = n.var(ddof=1) - n.mean()
    return {
        "rate": z.sum() / z.shape[1] / (len(z) * dt / 1e3),
        "cv": float(np.mean(cvs)),
        "correlation": float(np.mean(pairs)),
        "modulation": math.sqrt(max(over, 0)) / n.mean(),
    }


def rhythmic(hertz: float, seed: int = 0, dt: float = 0.1, steps: int = 20_000) -> np.ndarray:
    """Neurons that fire by chance, all the more often together at a frequency."""
    t = np.arange(steps) * dt / 1e3
    chance = 4e-3 * (1 + np.sin(2 * np.pi * hertz * t))
    return np.random.default_rng(seed).random((steps, 40)) < chance[:, None]


def test_firing_is_what_it_is_neuron_by_neuron():
    z = rhythmic(60.0)
    z[:, 3], z[500:, 4] = False, False  # one that is silent, one that has too few intervals for a deviation
    found, wanted = firing(z, 0.1), by_hand(z, 0.1)
    assert wanted["modulation"] > 0.3 and wanted["correlation"] != 0
    for name, value in wanted.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-12), name


@pytest.mark.parametrize("hertz", [25.0, 60.0, 180.0])
def test_a_rhythm_is_found(hertz):
    assert firing(rhythmic(hertz), 0.1).rhythm == pytest.approx(hertz, abs=1.5)  # of stretches of 444 ms: 2.25 Hz apart


def test_chance_alone_is_neither_together_nor_modulated():
    z = np.random.default_rng(1).random((50_000, 200)) < 3e-3
    found = firing(z, 0.1)
    assert abs(found.correlation) < 4 / math.sqrt(500 * 200 * 199 / 2)  # four standard errors
    assert found.modulation < 0.05 and found.cv == pytest.approx(1, abs=0.05)


def test_silence_has_a_rate_and_nothing_else():
    found = firing(np.zeros((1000, 3), bool), 0.1)
    assert found.rate == 0
    assert all(math.isnan(each) for each in (found.cv, found.correlation, found.modulation, found.rhythm))


@pytest.mark.parametrize("given", [np.zeros(500), np.zeros((0, 3)), "spikes", None, np.zeros((30, 2)), [["a"]]])
def test_what_is_no_spikes_is_refused(given):
    with pytest.raises(RunError):
        firing(given, 0.1)
    with pytest.raises(BioplausError):
        firing(np.zeros((1000, 2)), -1)


@pytest.mark.parametrize(("mu", "sigma"), [(15.0, 5.0), (22.0, 2.0), (19.0, 8.0)])
def test_the_theory_s_integral_as_it_is_written(mu, sigma):
    low, high = (10 - mu) / sigma, (20 - mu) / sigma
    integral = quad(lambda u: math.exp(u * u) * math.erfc(-u), low, high, epsabs=0, epsrel=1e-11)[0]
    assert rate(mu, sigma, **LIF) == pytest.approx(1 / (0.002 + 0.02 * math.sqrt(math.pi) * integral), rel=1e-10)


def test_without_noise_the_theory_is_the_time_to_threshold():
    wanted = 1 / (0.002 + 0.02 * math.log((25 - 10) / (25 - 20)))
    assert rate(25.0, 1e-3, **LIF) == pytest.approx(wanted, rel=1e-6)
    assert rate(0.0, 0.1, **LIF) == 0


def test_a_self_consistent_rate_makes_itself():
    within, outside = ((1000, 0.1), (250, -0.5)), ((20_000.0, 0.1),)
    nu = self_consistent(within, outside, **LIF)
    mu = 0.02 * (1000 * 0.1 * nu - 250 * 0.5 * nu + 2000.0)
    sigma = math.sqrt(0.02 * (1000 * 0.01 * nu + 250 * 0.25 * nu + 200.0))
    assert rate(mu, sigma, **LIF) == pytest.approx(nu, rel=1e-6) and nu == pytest.approx(37.95, abs=0.01)


def test_the_network_is_as_published():
    circuit = bp.circuit("brunel", inputs=3, outputs=1)
    assert {n: p.size for n, p in circuit.populations.items()} == {"E": 10_000, "I": 2500}
    assert {p.name: p.fan_in for p in circuit.projections if p.fan_in} == {"W_EE": 1000, "W_EI": 250, "W_IE": 1000, "W_II": 250}  # fmt: skip
    outside = (circuit.populations["I"].background or {})["v"]
    # each of 1000 sources at η θ / (J C τ) = 2 · 20 mV / (0.1 mV · 1000 · 20 ms)
    assert (outside.n, outside.weight) == (1000, 0.005) and outside.rate == pytest.approx(20.0)
    small = bp.circuit("brunel", inputs=3, outputs=1, excitatory=80, inhibitory=12, sparseness=0.5, g=4.0, jump=0.1)
    network = small.build(seed=0)
    for name, (count, weight) in {"W_EE": (40, 0.1), "W_IE": (40, 0.1), "W_EI": (6, -0.4), "W_II": (6, -0.4)}.items():
        W = network.matrix(name)
        assert torch.equal((W != 0).sum(1), torch.full((len(W),), count)) and torch.allclose(W[W != 0], torch.tensor(weight))  # fmt: skip
    assert {p.name: p.sign for p in small.projections} == {"W_in": None, "W_EE": 1, "W_IE": 1, "W_EI": -1, "W_II": -1}


def test_neurons_that_do_not_speak_to_each_other_fire_as_the_theory_says():
    """Only the background drives them; at a step of 0.1 ms, jumps of a two-hundredth."""
    circuit = bp.circuit("brunel", inputs=1, outputs=1, excitatory=400, sparseness=1.0, eta=1.05, cell=bp.model("delta_lif", V_reset=0.5))  # fmt: skip
    network = circuit.build(seed=0)
    network.load({name: torch.zeros_like(W) for name, W in network.weights.items() if name[:3] in ("W_E", "W_I")})
    z = spontaneous(network, "E", 150.0, 400.0)
    assert z.shape == (4000, 400) and z.dtype == bool
    found, wanted = firing(z, 0.1), self_consistent((), ((1.05 * 10_000.0, 0.005),), 0.02, 1.0, 0.5, 0.002)
    assert wanted > 8 and found.rate == pytest.approx(wanted, rel=0.08)
    assert abs(found.correlation) < 0.01


def test_spontaneous_is_a_simulation_without_input():
    network = bp.circuit("brunel", inputs=2, outputs=1, excitatory=60, sparseness=0.5, jump=0.1).build(seed=0)
    whole = bp.simulate(network, np.zeros((2600, 1, 2), np.float32), backend="numba")["E.spikes"].values[:, 0]
    z = spontaneous(network, "E", 120.0, 140.0)
    np.testing.assert_array_equal(z, whole[1200:] > 0)
    assert 0.001 < z.mean() < 0.1


@pytest.mark.parametrize(
    "given",
    [
        {"excitatory": 1}, {"excitatory": 2.5}, {"inhibitory": 0}, {"g": -1}, {"eta": 0}, {"jump": 0}, {"jump": "0.1"}, {"sparseness": 0},
        {"sparseness": 2}, {"cell": bp.model("lif")}, {"cell": 5},
    ],
)  # fmt: skip
def test_a_network_that_makes_no_sense_is_refused(given):
    with pytest.raises(CircuitError):
        bp.circuit("brunel", inputs=1, outputs=1, **{"excitatory": 20} | given)


def test_a_reset_elsewhere_goes_with_a_hard_reset():
    assert bp.model("delta_lif").reset == "v = 0"
    with pytest.raises(CellError, match="hard_reset"):
        bp.model("delta_lif", V_reset=0.5, hard_reset=False)


def test_constant_weights_are_all_alike_whatever_their_sign():
    for sign, gain, wanted in ((None, -3.0, -0.3), (1, 3.0, 0.3), (-1, 3.0, -0.3)):
        lines = (
            bp.Projection(name="W_in", source="input", target="a"),
            bp.Projection(name="W", source="a", target="a", fan_in=10, init="constant", gain=gain, sign=sign),
        )
        W = bp.Circuit(populations={"a": bp.Population(bp.model("lif"), 40)}, projections=lines, inputs=1, readout=bp.Readout(size=1)).build().matrix("W")  # fmt: skip
        assert torch.allclose(W[W != 0], torch.tensor(wanted)) and int((W != 0).sum()) == 400


def test_a_neuron_is_left_where_its_reset_says():
    network = bp.circuit("brunel", inputs=1, outputs=1, excitatory=40, sparseness=1.0, jump=0.1).build(seed=0)
    for simulate in (bp.simulate, bp.brian.simulate):
        seen = simulate(network, np.zeros((800, 1, 1), np.float32), ("spikes", "v"))
        fired = seen["E.spikes"].values > 0
        assert fired.sum() > 20 and (seen["E.v"].values[fired] == 0.5).all()


def test_the_referee_leaves_a_neuron_there_too():
    """`bioplaus check`'s cell by hand: gradients through resets elsewhere, which matter, are those of the compiled cell."""
    found = {}
    for V_reset in (0.0, 0.25):
        cell = bp.model("delta_lif", threshold=0.6, V_reset=V_reset, differentiate=("reset",))
        network = bp.circuit("recurrent", cell=cell, inputs=4, units=6, outputs=2, input_gain=3.0).build(seed=0, dtype="float64")  # fmt: skip
        x, y = torch.rand(30, 2, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64), torch.ones(30, 2, 2, dtype=torch.float64)  # fmt: skip
        batch = Batch(x.round(), y, torch.full((30, 2), 1 / 30, dtype=torch.float64))
        outcome = sequence(network, bp.rule("bptt"), {}, batch, squared)
        assert outcome.rates["cortex"] > 0.02
        loss, wanted = by_hand_gradient(network, batch, squared)
        assert outcome.loss == pytest.approx(loss, rel=1e-12)
        for name, g in wanted.items():
            torch.testing.assert_close(outcome.gradients[name], g, rtol=1e-10, atol=1e-14)
        found[V_reset] = wanted["W_rec"]
    assert (found[0.0] - found[0.25]).abs().max() > 1e-3 * found[0.0].abs().max()
