"""Sparse projections: the numbers of a dense one with the same zeros, under every rule, whatever the order of the indices."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from brian2 import ms

import bioplaus as bp
from bioplaus.circuit.synapses import Synapses, drawn
from bioplaus.circuit.trajectory import pieces
from bioplaus.errors import CircuitError, RuleError
from bioplaus.rules import TABLE
from bioplaus.runs.draw import _matrices


def given(post: int, pre: int, share: float, seed: int, autapses: bool = True) -> np.ndarray:
    there = np.random.default_rng(seed).random((post, pre)) < share
    if not autapses:
        np.fill_diagonal(there, False)
    return there


def circuit(
    sparse: bool,
    cells: tuple[Any, Any],
    tau: Any,
    delay: int = 3,
    inputs: int = 4,
    outputs: int = 2,
    gain: float = 10.0,
) -> bp.Circuit:
    """Two populations; input, one of two recurrent projections onto each, several channels and a frozen one are sparse."""
    E, I = cells
    make = bp.Projection
    several = tuple(E.channels)[:2]
    return bp.Circuit(
        populations={"E": bp.Population(E, 8, None if E.spiking else {}), "I": bp.Population(I, 5)},
        projections=(
            make(name="W_in", source="input", target="E", gain=gain, synapses=given(8, inputs, 0.7, 0), sparse=sparse),
            make(name="in_I", source="input", target="I", gain=10.0),
            make(
                name="EE",
                source="E",
                target="E",
                synapses=given(8, 8, 0.4, 1, False),
                autapses=False,
                sparse=sparse,
                channels=several,
            ),
            make(name="EI", source="I", target="E", delay=delay, synapses=given(8, 5, 0.5, 2), sparse=sparse, sign=-1),
            make(
                name="IE", source="E", target="I", synapses=given(5, 8, 0.5, 3), sparse=sparse, gain=2.0, learned=False
            ),
            make(name="II", source="I", target="I"),
        ),
        inputs=inputs,
        readout=bp.Readout(size=outputs, tau=tau, sources=("E",)),
        cerebellum=bp.predictor("linear"),
    )


def twins(cells: tuple[Any, Any], tau: Any, delay: int = 3) -> tuple[bp.Network, bp.Network]:
    """The same circuit with its weights kept one by one, and in matrices."""
    sparse, dense = (circuit(each, cells, tau, delay).build(seed=1, dtype=torch.float64) for each in (True, False))
    dense.load({name: sparse.matrix(name) for name in sparse.weights})
    assert set(sparse.synapses) == {"W_in", "EE", "EI", "IE"} and not dense.synapses and not sparse.masks
    return sparse, dense


def batch(steps: int = 40) -> bp.Batch:
    x = torch.rand(steps, 3, 4, generator=bp.stream(0, "x"), dtype=torch.float64) * 2
    y = torch.randn(steps, 3, 2, generator=bp.stream(0, "y"), dtype=torch.float64)
    return bp.Batch(x, y, (torch.rand(steps, 3, generator=bp.stream(0, "w")) < 0.7).double())


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-12) -> None:
    assert a.shape == b.shape and float((a - b).abs().max()) <= tolerance * max(float(b.abs().max()), 1e-300)


CELLS = {
    "alif": lambda: (bp.model("alif", refractory=2 * ms), bp.model("lif")),
    "cuba": lambda: (bp.model("cuba"), bp.model("alif")),
    "gru": lambda: (bp.model("gru"), bp.model("leaky_rate")),
}


@pytest.mark.parametrize("rule", [*TABLE, "eprop online", "mdgl online", "rflo online", "eprop random", "tbptt 20"])
@pytest.mark.parametrize("cells", CELLS)
def test_every_rule_has_the_gradient_of_a_matrix_with_the_same_zeros(rule, cells):
    word, _, how = rule.partition(" ")
    options: dict[str, Any] = {"schedule": how} if how == "online" else {"feedback": how} if how == "random" else {}
    options |= {"steps": int(how)} if how.isdigit() else {}
    made, b = (
        bp.rule(word, **options),
        batch(12 if word in ("uoro", "kf_rtrl", "r_kf_rtrl", "rtrl", "hops", "snap") else 40),
    )
    for tau, delay in ((20 * ms, 3), (None, 1)):
        sparse, dense = twins(CELLS[cells](), tau, delay)
        try:
            made.refuse(dense)
        except RuleError:
            continue
        ours, theirs = (bp.gradient(each, made, b, backend="torch") for each in (sparse, dense))
        for name, g in theirs.items():
            close(ours[name], sparse.synapses[name].at(g) if name in sparse.synapses else g, 1e-12)
        assert sum(bool(g.any()) for g in theirs.values()) > 2
        return
    pytest.skip("the rule serves neither")


def test_a_trajectory_is_that_of_a_matrix():
    for cells in CELLS.values():
        sparse, dense = twins(cells(), 20 * ms)
        ours, theirs = (bp.simulate(each, batch().inputs, backend="torch") for each in (sparse, dense))
        for name in theirs:
            assert abs(ours[name] - theirs[name]).max() < 1e-12


@pytest.mark.parametrize(
    ("rule", "cells"),
    [
        ("eprop online", "alif"),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (("eprop", "cuba"), ("eprop online", "cuba"), ("mdgl online", "alif"), ("rflo online", "alif"))
        ),
    ],
)
def test_loops_have_torchs_numbers(rule, cells):
    """Forward by the spikes' own synapses, traces by each neuron's."""
    word, _, how = rule.partition(" ")
    made = bp.rule(word, **({"schedule": how} if how else {}), **({"feedback": "random"} if word == "eprop" else {}))
    network, _ = twins(CELLS[cells](), 20 * ms, 1 if word == "mdgl" else 3)
    ours, theirs = (bp.gradient(network, made, batch(), backend=backend) for backend in ("numba", "torch"))
    assert all(bool(g.any()) for name, g in theirs.items() if name in network.synapses)
    for name, g in theirs.items():
        close(ours[name], g, 1e-12)
    stretches = [next(pieces(network, batch().inputs, backend=backend)) for backend in ("numba", "torch")]
    loops, torchs = (each.spikes(0) for each in stretches)
    assert bool(loops.any()) and torch.equal(loops, torchs)


def test_the_order_of_indices_does_not_matter():
    there = given(6, 7, 0.5, 0)
    post, pre = np.nonzero(there)
    shuffled = np.random.default_rng(0).permutation(len(post))
    each = [
        bp.Projection(name="W", source="input", target="E", synapses=s, sparse=True)
        for s in (there, (post, pre), (post[shuffled], pre[shuffled]), [post.tolist(), pre.tolist()])
    ]
    assert len({(p.synapses, p) for p in each}) <= 2 and all(p.synapses == each[0].synapses for p in each)

    def build(p: bp.Projection) -> bp.Network:
        populations = {"E": bp.Population(bp.model("lif"), 6)}
        return bp.Circuit(populations=populations, projections=(p,), inputs=7, readout=bp.Readout(size=1)).build(0)

    first, *others = (build(p).matrix("W") for p in each)
    assert torch.equal(first != 0, torch.from_numpy(there)) and all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize(
    ("counts", "pre", "autapses"), [((3, 0, 5, 1), 40, True), ((3,) * 12, 12, False), ((11,) * 12, 12, False)]
)
def test_sources_are_distinct_and_every_set_is_as_likely(counts, pre, autapses):
    generator = bp.stream(0, "synapses")
    total, rounds = torch.zeros(len(counts), pre), 600
    for _ in range(rounds):
        s = drawn(torch.tensor(counts), pre, autapses, generator)
        there = s.dense(torch.ones(len(s)))
        assert torch.equal(there.sum(1), torch.tensor(counts).float())
        assert autapses or not bool(there.diagonal().any())
        total += there
    mean = total / rounds
    for row, count in enumerate(counts):
        chance = count / (pre if autapses else pre - 1)
        free = mean[row] if autapses else torch.cat([mean[row, :row], mean[row, row + 1 :]])
        assert float((free - chance).abs().max()) < 5 * (0.25 / rounds) ** 0.5 + 1e-9


def test_products_are_those_of_the_matrix():
    s = drawn(torch.full((9,), 3), 7, True, bp.stream(0, "s"))
    values = torch.randn(2 * len(s), generator=bp.stream(1, "s"), dtype=torch.float64)
    W = s.dense(values)
    x, a = (torch.randn(2, 5, n, generator=bp.stream(n, "s"), dtype=torch.float64) for n in (7, 18))
    close(s.product(x, values), x @ W.T)
    close(s.back(a, values), a @ W)
    flat = a.flatten(0, 1), x.flatten(0, 1)
    close(s.outer(*flat), s.at(flat[0].T @ flat[1]))
    assert torch.equal(s.at(W), values)
    again = Synapses.of(s.post.flip(0), s.pre.flip(0), s.shape)
    assert torch.equal(again.rows, s.rows) and torch.equal(again.pre, s.pre)


def test_ten_updates_are_those_of_a_matrix_and_signs_hold():
    task = bp.task("pattern_generation", steps=30)
    rule = bp.rule("eprop", feedback="random")
    for optimiser in ("adam", "sgd", "RMSprop"):
        t = bp.Training(updates=10, batch=3, lr=1e-2, dtype="float64", optimiser=optimiser, backend="torch", clip=1.0)
        ours, theirs = (
            bp.Trainer(
                circuit(each, CELLS["alif"](), 20 * ms, 3, task.inputs, task.outputs, 40.0), task, rule, t, seed=2
            )
            for each in (True, False)
        )
        theirs.network.load({name: ours.network.matrix(name) for name in ours.network.weights})
        mine, other = ([trainer.update()["loss"] for _ in range(10)] for trainer in (ours, theirs))
        assert mine == pytest.approx(other, rel=1e-9) and mine[0] != mine[-1]
        for name in theirs.network.weights:
            close(ours.network.matrix(name), theirs.network.matrix(name), 1e-9)
        assert float(ours.network.weights["EI"].max()) <= 0 < float(ours.network.weights["EI"].abs().max())


def test_a_checkpoint_of_matrices_goes_on_with_values():
    """Other draws gave other synapses then; weights, moments of Adam and updates are those of the run that goes on in matrices."""
    task = bp.task("pattern_generation", steps=20)
    t = bp.Training(updates=10, batch=3, lr=1e-2, dtype="float64", backend="torch")

    def make(sparse: bool) -> bp.Trainer:
        return bp.Trainer(with_storage(task, sparse), task, bp.rule("eprop", feedback="random"), t, seed=2)

    before, after = make(False), make(True)
    assert before.network.masks and not before.network.synapses
    assert not torch.equal(there(before), there(after))
    for _ in range(3):
        before.update()
    state = before.state_dict()
    del state["synapses"]
    assert after.network.synapses["W"].events[0].size  # both orders are looked up once, and anew for other synapses
    after.load_state_dict(state)
    assert torch.equal(after.network.matrix("W"), before.network.matrix("W"))
    a = torch.randn(2, 10, generator=bp.stream(0, "a"), dtype=torch.float64)
    close(after.network.synapses["W"].back(a, after.network.weights["W"]), a @ before.network.matrix("W"))
    assert np.array_equal(after.network.synapses["W"].events[1], after.network.synapses["W"].by_pre[1])
    mine, other = ([each.update()["loss"] for _ in range(4)] for each in (after, before))
    assert mine == pytest.approx(other, rel=1e-10) and len(set(mine)) == 4
    close(after.network.matrix("W"), before.network.matrix("W"), 1e-10)
    again = make(True)
    again.load_state_dict(after.state_dict())
    assert torch.equal(there(again), there(before))
    assert again.update()["loss"] == after.update()["loss"]
    copied = pickle.loads(pickle.dumps(after.network))
    assert torch.equal(copied.matrix("W"), after.network.matrix("W"))


def test_brian2_and_a_run_know_the_same_synapses(tmp_path):
    """Brian2's spikes, what a run's record and its figure hold, and values of the wrong sign."""
    task = bp.task("pattern_generation", steps=40)
    made = circuit(True, (bp.model("alif"), bp.model("lif")), 20 * ms, 3, task.inputs, task.outputs, 40.0)
    alive, x = circuit(True, (bp.model("alif"), bp.model("lif")), 20 * ms), batch().inputs[:, :1]
    ours, theirs = bp.simulate(alive, x, seed=1), bp.brian.simulate(alive, x, seed=1)
    for name in ("E.spikes", "I.spikes"):
        assert ours[name].sum() > 0 and np.array_equal(ours[name], theirs[name])
    run = bp.train(made, task, bp.rule("eprop", feedback="random"), folder=tmp_path / "run", updates=2, batch=2)
    described = {p["name"]: p for p in run.config["circuit"]["projections"]}
    assert described["EE"]["synapses"]["count"] == len(run.network.synapses["EE"])
    drawn = _matrices(run)
    assert {"EE", "EI", "W_in", "II"} <= drawn.keys()
    assert np.array_equal(drawn["EE"], run.network.matrix("EE").numpy())
    with pytest.raises(CircuitError, match=r"wrong sign.*at \[0\]"):
        run.network.load({"EI": torch.ones(len(run.network.synapses["EI"]))})


def there(trainer: bp.Trainer) -> torch.Tensor:
    found = trainer.network.there("W")
    assert found is not None
    return found


def with_storage(task: bp.Task, sparse: bool) -> bp.Circuit:
    make = bp.Projection
    return bp.Circuit(
        populations={"E": bp.Population(bp.model("lif"), 10)},
        projections=(
            make(name="W_in", source="input", target="E", gain=30.0),
            make(name="W", source="E", target="E", fan_in=3, autapses=False, sparse=sparse, gain=3.0),
        ),
        inputs=task.inputs,
        readout=bp.Readout(size=task.outputs, tau=20 * ms),
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(fan_in=2, probability=0.5), "in 2 ways, fan_in and probability"),
        (dict(sparse=True), "every synapse"),
        (dict(synapses=([0, 0], [1, 1])), "each pair once"),
        (dict(synapses=([0, 9], [1, 1])), "postsynaptic neuron 9, and 'E' has 6"),
        (dict(synapses=([0, 1], [1, 8])), "presynaptic neuron 8, and 'E' has 6"),
        (dict(synapses=([0, 1], [1, 1]), autapses=False), "neuron 1 to itself"),
        (dict(synapses=np.ones((3, 4), bool)), "a matrix 3 × 4"),
        (dict(synapses=np.ones((6, 6))), "two arrays of whole numbers"),
        (dict(probability=1.5), "probability"),
        (dict(probability=0.5, init="orthogonal"), "would not be orthogonal"),
    ],
)
def test_what_makes_no_sense_is_refused(options, said):
    with pytest.raises(CircuitError, match=said):
        bp.Circuit(
            populations={"E": bp.Population(bp.model("lif"), 6)},
            projections=(bp.Projection(name="W", source="E", target="E", **options),),
            inputs=0,
            readout=bp.Readout(size=1),
        )
