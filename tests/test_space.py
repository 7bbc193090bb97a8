"""Synapses by distance: every pair with its own probability, sources in proportion to the kernel, at the cost of the synapses."""

from __future__ import annotations

import json
import pickle
import resource
import sys
import time
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import bioplaus as bp
from bioplaus import mm, ms, um
from bioplaus.circuit.near import Near
from bioplaus.errors import CircuitError

near: Any = sys.modules[Near.__module__]
RANDOM = np.random.default_rng(0)
SPACES = {
    "line": bp.grid(60, spacing=10 * um),
    "ring": bp.grid(60, spacing=10 * um, periodic=True),
    "sheet": bp.grid((6, 10), spacing=10 * um),
    "torus": bp.grid((6, 10), spacing=10 * um, periodic=True),
    "clusters": bp.Positions(RANDOM.normal(size=(60, 2)) ** 3 * 20 * um),
    "volume": bp.Positions(RANDOM.random((60, 3)) * 60 * um, period=60 * um),
}
KERNELS = {
    "gaussian": (bp.Gaussian(sigma=20 * um), lambda d: np.exp(-((d / 20e-6) ** 2) / 2)),
    "exponential": (bp.Exponential(20 * um), lambda d: np.exp(-d / 20e-6)),
    "within": (bp.Within(radius=25 * um), lambda d: 1.0 * (d < 25e-6)),
}


def distances(post: bp.Positions, pre: bp.Positions) -> np.ndarray:
    """Written out, [post, pre]: the shortest to all images."""
    a, b, period = (
        post.coordinates,
        pre.coordinates,
        post.periods if post.periods is not None else (0.0,) * post.coordinates.shape[1],
    )
    shifts = np.stack(np.meshgrid(*[[-p, 0, p] for p in period]), -1).reshape(-1, len(period))
    return np.sqrt(((a[:, None, None] - b[None, :, None] + shifts) ** 2).sum(-1)).min(-1)


def circuit(size: int, positions: Any, cell: Any = "lif", **options: Any) -> bp.Circuit:
    return bp.Circuit(
        populations={"E": bp.Population(bp.model(cell), size, positions=positions)},
        projections=(
            bp.Projection(name="W_in", source="input", target="E", gain=8.0),
            bp.Projection(name="W", source="E", target="E", **options),
        ),
        inputs=3,
        readout=bp.Readout(size=1),
    )


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_pair_has_its_probability_by_itself(space, kernel, monkeypatch):
    """Frequencies of all pairs over many draws, the spread of totals, and both with boxes and parts as small as can be."""
    monkeypatch.setattr(near, "AT_ONCE", 500)
    monkeypatch.setattr(near, "LEAF", 2)
    made, k = KERNELS[kernel]
    where, generator, rounds = SPACES[space], bp.stream(0, "pairs"), 300
    p = 0.4 * k(distances(where, where))
    drawn = Near(made, where, where, False, "W")
    found = [drawn.drawn(generator, 0.4, None) for _ in range(rounds)]
    there = np.stack([s.dense(torch.ones(len(s))).numpy() for s in found])
    assert there.max() == 1 and not there[:, p == 0].any()
    some = (p > 0.02) & (p < 1)
    chi = (rounds * (there.mean(0) - p) ** 2 / np.where(some, p * (1 - p), 1))[some]
    assert 1e-4 < stats.chi2.cdf(chi.sum(), some.sum()) < 1 - 1e-4 and some.sum() > 200
    rare = (p > 0) & ~some
    if rare.any():
        assert (
            1e-4 < stats.poisson.cdf(there[:, rare].sum(), rounds * p[rare].sum()) <= 1 - 1e-4
            or p[rare].sum() * rounds < 1
        )
    each = (p * (1 - p)).sum(
        1
    )  # spread of every neuron's number of sources: were pairs not by themselves, it would be another
    spread = there.sum(2).var(0, ddof=1)[each > 0] / each[each > 0]
    assert abs(spread.mean() - 1) < 5 * (2 / rounds / len(spread)) ** 0.5


@pytest.mark.parametrize("late", (False, pytest.param(True, marks=pytest.mark.slow)), ids=("at once", "in rounds"))
@pytest.mark.parametrize("kernel", KERNELS)
def test_sources_are_drawn_one_after_the_other_in_proportion_to_the_kernel(kernel, late, monkeypatch):
    """Every set of three as likely as all orders of drawing it are."""
    monkeypatch.setattr(near, "LEAF", 2)
    made, k = KERNELS[kernel]
    post, pre = bp.grid(2, spacing=15 * um), bp.Positions(np.array([-30.0, -12, 0, 2, 9, 11, 20, 24, 31]) * um)
    drawn, generator, rounds = Near(made, post, pre, False, "W"), bp.stream(1, "sources"), 4000
    if late:
        monkeypatch.setattr(Near, "time", lambda self, wanted: 0.3)
    counts: list[dict[Any, int]] = [{}, {}]
    for _ in range(rounds):
        s = drawn.drawn(generator, None, 3)
        for i, mine in enumerate(s.pre.view(2, 3).tolist()):
            counts[i][tuple(mine)] = counts[i].get(tuple(mine), 0) + 1
    for i, rates in enumerate(k(distances(post, pre))):
        expected: dict[Any, float] = {}
        for a, b, c in permutations(np.flatnonzero(rates).tolist(), 3):
            total = rates.sum()
            chance = rates[a] / total * rates[b] / (total - rates[a]) * rates[c] / (total - rates[a] - rates[b])
            expected[tuple(sorted((a, b, c)))] = expected.get(tuple(sorted((a, b, c))), 0) + chance
        assert counts[i].keys() <= expected.keys() and len(expected) > 3
        often = {key for key, chance in expected.items() if chance * rounds > 5}
        seen = [counts[i].get(key, 0) for key in often]
        wanted = [rounds * expected[key] for key in often]
        rest = rounds - sum(wanted)
        if rest > 1e-6:
            seen, wanted = [*seen, rounds - sum(seen)], [*wanted, rest]
        assert stats.chisquare(seen, wanted).pvalue > 1e-4


@pytest.mark.parametrize("options", (dict(fan_in=7), dict(probability=0.6)), ids=str)
def test_a_seed_says_all_and_storage_nothing(options):
    def there(seed: int, sparse: bool) -> torch.Tensor:
        kernel = bp.Gaussian(25 * um)
        made = circuit(60, SPACES["torus"], kernel=kernel, autapses=False, sparse=sparse, **options)
        network = made.build(seed)
        assert ("W" in network.synapses) == sparse
        found = network.there("W")
        assert found is not None
        return found

    one = there(0, True)
    assert (
        torch.equal(one, there(0, True)) and torch.equal(one, there(0, False)) and not torch.equal(one, there(1, True))
    )
    assert not one.diagonal().any()
    if "fan_in" in options:
        assert bool((one.sum(1) == 7).all())


def test_few_synapses_are_kept_one_by_one_and_first_weights_go_by_how_many_there_are():
    wide, narrow = (
        circuit(
            900,
            bp.grid((30, 30), spacing=10 * um, periodic=True),
            kernel=bp.Gaussian(s * um),
            probability=0.5,
            gain=3.0,
        )
        for s in (60, 15)
    )
    assert "W" in wide.build().masks and "W" in (network := narrow.build()).synapses
    p = narrow.projections[1]
    expected = 0.5 * 2 * np.pi * 1.5**2  # of σ = 1.5 neurons, as an integral
    assert p.count(900, 900) / 900 == pytest.approx(expected, rel=0.01)
    assert len(network.synapses["W"]) / 900 == pytest.approx(expected, rel=0.05)
    assert float(network.weights["W"].std()) == pytest.approx(3 / p.sources(900, 900) ** 0.5, rel=0.05)


def test_neurons_of_several_populations_meet_by_distance_and_learn():
    made = bp.Circuit(
        populations={
            "E": bp.Population(bp.model("alif"), 400, positions=bp.grid((20, 20), spacing=10 * um, periodic=True)),
            "I": bp.Population(bp.model("lif"), 100, positions=bp.grid((10, 10), spacing=20 * um, periodic=True)),
        },
        projections=(
            bp.Projection(name="W_in", source="input", target="E", gain=12.0),
            bp.Projection(
                name="EE", source="E", target="E", kernel=bp.Gaussian(15 * um), fan_in=10, autapses=False, gain=3.0
            ),
            bp.Projection(name="IE", source="E", target="I", kernel=bp.Within(25 * um), probability=1.0, gain=8.0),
            bp.Projection(name="EI", source="I", target="E", kernel=bp.Exponential(15 * um), probability=0.3, sign=-1),
        ),
        inputs=3,
        readout=bp.Readout(size=2, tau=20 * ms),
    )
    network = made.build(dtype=torch.float64)
    s, i, e = network.synapses["IE"], *(made.populations[n].positions for n in "IE")
    d = distances(i, e)
    assert len(s) == (d <= 25e-6).sum() and float(d[s.post, s.pre].max()) <= 25e-6
    task = bp.task("pattern_generation", steps=40, inputs=3, outputs=2)
    batch = task.batch(bp.stream(0, "task"), 2)
    assert bp.simulate(network, batch.inputs, "spikes")["I.spikes"].sum() > 0
    gradient = bp.gradient(network, "eprop", batch)
    assert all(bool(gradient[name].any()) for name in ("EE", "IE", "EI"))
    again = pickle.loads(pickle.dumps(network))
    assert all(torch.equal(again.matrix(name), network.matrix(name)) for name in ("EE", "IE", "EI"))
    other = replace(made, dt=0.5 * ms).build(dtype=torch.float64)
    assert torch.equal(other.synapses["EE"].pre, network.synapses["EE"].pre)


def test_what_is_said_is_described():
    torus = bp.grid((6, 10), spacing=10 * um, periodic=True)
    made = circuit(60, torus, kernel=bp.Gaussian(sigma=20 * um), fan_in=5)
    described = json.loads(json.dumps(made.describe()))
    assert described["projections"][1]["kernel"] == {"name": "Gaussian", "sigma": pytest.approx(20e-6)}
    there = described["populations"]["E"]["positions"]
    assert (there["count"], there["dimensions"]) == (60, 2) and there["period"] == pytest.approx([60e-6, 100e-6])
    same = bp.Positions(torus.coordinates * 1e6 * um, period=[60, 100] * um)
    assert same.coordinates == pytest.approx(torus.coordinates) and "near" not in described["projections"][1]
    assert made == circuit(60, bp.grid((6, 10), spacing=10 * um, periodic=True), kernel=bp.Gaussian(20 * um), fan_in=5)
    assert made != circuit(60, SPACES["sheet"], kernel=bp.Gaussian(20 * um), fan_in=5)
    assert "positions" not in circuit(60, None).describe()["populations"]["E"]
    assert "kernel" not in circuit(60, None).describe()["projections"][1]


@dataclass(frozen=True)
class Own(bp.Kernel):
    """A kernel of one's own."""

    slope: float

    def at(self, distance: np.ndarray) -> np.ndarray:
        return np.clip(1 + self.slope * distance / 1e-4, 0, None)


def test_a_kernel_of_ones_own():
    made = circuit(60, SPACES["line"], kernel=Own(-1.0), probability=0.9)
    there = made.build().there("W")
    assert there is not None
    d = distances(SPACES["line"], SPACES["line"])
    assert bool(there[torch.from_numpy(d > 1e-4)].any()) is False and bool(there.any())
    assert made.describe()["projections"][1]["kernel"] == {"name": "Own", "slope": -1.0}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(kernel=bp.Gaussian(20 * um)), "say how many there are, with fan_in=100, or probability=0.2"),
        (dict(kernel=bp.Gaussian(20 * um), synapses=([0], [1])), "say how many"),
        (dict(kernel=bp.Gaussian(20 * um), fan_in=3, source="input"), "external input has no positions"),
        (dict(kernel=bp.Gaussian(20 * um), fan_in=3, source="I"), "kernel, and 'I' no positions"),
        (dict(kernel=bp.Gaussian(20 * um), fan_in=3, source="L"), "from 1 dimension into 2"),
        (dict(kernel=bp.Gaussian(20 * um), fan_in=3, source="T"), "period 0.06 mm × 0.1 mm into one of period none"),
        (dict(kernel=bp.Within(5 * um), fan_in=3), "fan_in=3.*neuron 0 has 0 sources .*60 of 60"),
        (dict(kernel=bp.Within(15 * um), fan_in=4), "neuron 0 has 3 sources .*so 4 of 60"),
        (dict(kernel=Own(3.0), fan_in=3), "must give a number from 0 to 1"),
        (dict(kernel=bp.Kernel, fan_in=3), "of class Kernel"),
    ],
)
def test_what_makes_no_sense_is_refused(options, said):
    lif = bp.model("lif")
    with pytest.raises(CircuitError, match=said) as error:
        bp.Circuit(
            populations={
                "E": bp.Population(lif, 60, positions=SPACES["sheet"]),
                "I": bp.Population(lif, 6),
                "L": bp.Population(lif, 60, positions=SPACES["line"]),
                "T": bp.Population(lif, 60, positions=SPACES["torus"]),
            },
            projections=(bp.Projection(**{"name": "W", "source": "E", "target": "E", "autapses": False, **options}),),
            inputs=3,
            readout=bp.Readout(size=1),
        ).build()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: bp.Population(bp.model("lif"), 5, positions=SPACES["line"]), "5 neurons and positions of 60"),
        (lambda: bp.Population(bp.model("lif"), 2, positions=[[0, 0], [5, 0]]), "in metres.*up to 5"),
        (lambda: bp.Population(bp.model("lif"), 2, positions=[1, 2] * ms), "positions of a population"),
        (lambda: bp.Positions(np.zeros((3, 4)) * um), "1 to 3"),
        (lambda: bp.Positions([[0, np.nan]] * um), "finite"),
        (lambda: bp.Positions(np.zeros((3, 2)) * um, period=[1, 1, 1] * mm), "3 lengths, and the coordinates 2"),
        (lambda: bp.Positions(np.zeros((3, 2)) * um, period=0 * mm), "period of positions"),
        (lambda: bp.grid((3, 0), spacing=1 * um), "shape of a grid"),
        (lambda: bp.grid((3, 3, 3, 3), spacing=1 * um), "shape of a grid"),
        (lambda: bp.grid((3, 3), spacing=10), "in metres: write 10[*]um"),
        (lambda: bp.Gaussian(sigma=100), "in metres: write 100[*]um"),
        (lambda: bp.Gaussian(sigma=3 * ms), "sigma of a Gaussian kernel"),
    ],
)
def test_what_is_no_place_is_refused(make, said):
    with pytest.raises(CircuitError, match=said) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("options", (dict(fan_in=100), dict(probability=0.16)), ids=str)
def test_a_hundred_thousand_neurons_are_joined_at_the_cost_of_their_synapses(options):
    made = circuit(
        100_000,
        bp.Positions(np.random.default_rng(0).random((100_000, 2)) * mm, period=1 * mm),
        kernel=bp.Gaussian(32 * um),
        **options,
    )
    begin = time.process_time()
    network = made.build()
    assert time.process_time() - begin < 20  # of one processor
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2 * 2**20  # KiB
    s = network.synapses["W"]
    assert len(s) == pytest.approx(100 * 100_000, rel=0.05)
    where = made.populations["E"].positions
    d = where.between(s.post.numpy(), s.pre.numpy())
    if "probability" in options:  # distances go as d k(d): a Rayleigh distribution, far from the edge of space
        assert stats.kstest(d[::1009], stats.rayleigh(scale=32e-6).cdf).pvalue > 1e-4
