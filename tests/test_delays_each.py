"""Delays of each synapse: Brian2's spikes, and the gradients of the same circuit written with one projection for each delay."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import brian2 as b2
import numpy as np
import pytest
import torch
from scipy import stats

import bioplaus as bp
from bioplaus import mm, ms, um
from bioplaus.cell import triangular
from bioplaus.circuit.trajectory import pieces
from bioplaus.errors import CircuitError, RuleError
from bioplaus.rules import TABLE
from bioplaus.symbolic.runtime import runtime

CELLS = {
    "alif": lambda: (bp.model("alif", refractory=2 * ms), bp.model("lif")),
    "cuba": lambda: (bp.model("cuba"), bp.model("alif")),
    "gru": lambda: (bp.model("gru"), bp.model("leaky_rate")),
}


def there(post: int, pre: int, share: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((post, pre)) < share


def circuit(
    cells: Any, task: tuple[int, int] = (4, 2), gain: float = 10.0, late: Any = None, **more: Any
) -> bp.Circuit:
    """Onto E from E by several channels with delays drawn, from I given; from E to I all connected, a matrix of delays; one stays dense."""
    E, I = cells
    matrix = np.random.default_rng(5).integers(1, 4, (5, 8))
    listed = np.random.default_rng(6).integers(2, 6, int(there(8, 5, 0.6, 2).sum()))
    listed = listed * ms if E.spiking else listed
    make = bp.Projection
    return bp.Circuit(
        populations={"E": bp.Population(E, 8, None if E.spiking else {}), "I": bp.Population(I, 5)},
        projections=(
            make(name="W_in", source="input", target="E", gain=gain),
            make(name="in_I", source="input", target="I", gain=gain),
            make(
                name="EE",
                source="E",
                target="E",
                synapses=there(8, 8, 0.5, 1) & ~np.eye(8, dtype=bool),
                channels=tuple(E.channels)[:2],
                delay=bp.Uniform(1, 4) if late is None else late,
            ),
            make(name="EI", source="I", target="E", delay=listed, synapses=there(8, 5, 0.6, 2), sign=-1),
            make(name="IE", source="E", target="I", delay=matrix, gain=4.0),
            make(name="II", source="I", target="I"),
        ),
        inputs=task[0],
        readout=bp.Readout(size=task[1], tau=20 * ms, sources=("E",)),
        cerebellum=bp.predictor("linear"),
        **more,
    )


def one_each(network: bp.Network) -> tuple[bp.Network, dict[str, list[tuple[str, torch.Tensor]]]]:
    """The same circuit with a projection for each delay; of which values each has which."""
    projections: list[bp.Projection] = []
    parts: dict[str, list[tuple[str, torch.Tensor]]] = {}
    for p in network.circuit.projections:
        s = network.synapses.get(p.name)
        if s is None:
            projections.append(p)
            continue
        parts[p.name] = []
        for d in s.delay.unique().tolist():
            mine = (s.delay == d).nonzero().flatten()
            pairs = s.post[mine].numpy(), s.pre[mine].numpy()
            projections.append(replace(p, name=f"{p.name}_{d}", delay=d, synapses=pairs, sparse=True))
            parts[p.name].append((f"{p.name}_{d}", mine))
    other = replace(network.circuit, projections=tuple(projections)).build(seed=1, dtype=torch.float64)
    weights = {name: W for name, W in network.weights.items() if name not in parts}
    for name, each in parts.items():
        values = network.weights[name].view(-1, len(network.synapses[name]))
        weights |= {part: values[:, mine].flatten() for part, mine in each}
    other.load(weights)
    return other, parts


def together(
    found: Mapping[str, torch.Tensor], parts: Mapping[str, list[tuple[str, torch.Tensor]]], network: bp.Network
) -> dict[str, torch.Tensor]:
    """What the other circuit has of its weights, as this one has it."""
    out = {name: g for name, g in found.items() if not any(name == part for each in parts.values() for part, _ in each)}
    for name, each in parts.items():
        total = torch.zeros_like(network.weights[name]).view(-1, len(network.synapses[name]))
        for part, mine in each:
            total[:, mine] = found[part].view(len(total), -1)
        out[name] = total.flatten()
    return out


def batch(steps: int = 40) -> bp.Batch:
    x = torch.rand(steps, 3, 4, generator=bp.stream(0, "x"), dtype=torch.float64) * 2
    y = torch.randn(steps, 3, 2, generator=bp.stream(0, "y"), dtype=torch.float64)
    return bp.Batch(x, y, (torch.rand(steps, 3, generator=bp.stream(0, "w")) < 0.7).double())


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-12) -> None:
    assert a.shape == b.shape and float((a - b).abs().max()) <= tolerance * max(float(b.abs().max()), 1e-300)


@pytest.mark.parametrize("rule", [*TABLE, "eprop online", "rflo online", "eprop random", "tbptt 20"])
@pytest.mark.parametrize("cells", CELLS)
def test_every_rule_has_the_gradient_of_one_projection_for_each_delay(rule, cells):
    word, _, how = rule.partition(" ")
    options: dict[str, Any] = {"schedule": how} if how == "online" else {"feedback": how} if how == "random" else {}
    options |= {"steps": int(how)} if how.isdigit() else {}
    made = bp.rule(word, **options)
    b = batch(16 if word in ("uoro", "kf_rtrl", "r_kf_rtrl", "rtrl", "hops", "snap") else 40)
    network = circuit(CELLS[cells]()).build(seed=1, dtype=torch.float64)
    assert {name: len(s.delays) for name, s in network.synapses.items()} == {"EE": 4, "EI": 4, "IE": 3}
    other, parts = one_each(network)
    try:
        made.refuse(network)
    except RuleError:
        pytest.skip("the rule does not serve these cells or delays")
    ours, theirs = (bp.gradient(each, made, b, backend="torch") for each in (network, other))
    for name, g in together(theirs, parts, network).items():
        close(ours[name], g, 1e-12)
    assert sum(bool(ours[name].any()) for name in ("W_in", "EE", "EI", "IE")) > 1


@pytest.mark.parametrize("cells", CELLS)
def test_a_trajectory_is_that_of_one_projection_for_each_delay(cells):
    network = circuit(CELLS[cells]()).build(seed=1, dtype=torch.float64)
    ours, theirs = (bp.simulate(each, batch().inputs, backend="torch") for each in (network, one_each(network)[0]))
    for name in theirs:
        assert abs(ours[name] - theirs[name]).max() < 1e-12
    assert all(bool(ours[name].any()) for name in ours if "spikes" in str(name) or "rate" in str(name))


@pytest.mark.parametrize(
    ("rule", "cells"),
    [
        ("eprop online", "alif"),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (("eprop", "cuba"), ("bptt", "alif"), ("rflo online", "alif"))
        ),
    ],
)
def test_loops_have_torchs_numbers(rule, cells):
    word, _, how = rule.partition(" ")
    made = bp.rule(word, **({"schedule": how} if how else {}), **({"feedback": "random"} if word == "eprop" else {}))
    network = circuit(CELLS[cells]()).build(seed=1, dtype=torch.float64)
    ours, theirs = (bp.gradient(network, made, batch(), backend=backend) for backend in ("numba", "torch"))
    assert all(bool(theirs[name].any()) for name in ("EE", "EI"))
    for name, g in theirs.items():
        close(ours[name], g, 1e-12)
    loops, torchs = (next(pieces(network, batch().inputs, backend=b)).spikes(0) for b in ("numba", "torch"))
    assert bool(loops.any()) and torch.equal(loops, torchs)


# -- Brian2 -----------------------------------------------------------------------------------------------------------------

N, M, T, DT = 40, 30, 1000, 0.1 * ms
TEXT = "dv/dt = (ge - v)/taum : 1 (unless refractory)\ndge/dt = -ge/taue : 1"
CONSTANTS: dict[str, Any] = dict(taum=20 * ms, taue=5 * ms, thr=1.0)


def given() -> tuple[np.ndarray, ...]:
    """Input spikes, weights on a dyadic grid, pairs and their delays in ms, off the grid of steps."""
    rng = np.random.default_rng(0)
    x = (rng.random((T, M)) < 0.02).astype(float)
    x[0] = 0
    U = np.round(rng.random((N, M)) * 1024) / 1024
    post, pre = np.nonzero((rng.random((N, N)) < 0.3) & ~np.eye(N, dtype=bool))
    shuffled = rng.permutation(len(post))
    post, pre = post[shuffled], pre[shuffled]
    w = np.round(rng.normal(size=len(post)) * 0.8 * 1024) / 1024
    return x, U, post, pre, w, rng.uniform(0.1, 3.0, len(post))


def plain() -> np.ndarray:
    """Spikes of a script that knows nothing of us. Its delays are one step shorter: what has none acts in the next step."""
    x, U, post, pre, w, late = given()
    with runtime():
        group = b2.NeuronGroup(
            N, TEXT, threshold="v > thr", reset="v = 0", refractory=2 * ms, method="exact", namespace=CONSTANTS, dt=DT
        )
        step, line = np.nonzero(x[1:])
        source = b2.SpikeGeneratorGroup(M, line, step * DT, dt=DT)
        outside = b2.Synapses(source, group, "w : 1", on_pre="ge += w", dt=DT)
        outside.connect()
        outside.w = U.T.flatten()
        inside = b2.Synapses(group, group, "w : 1", on_pre="ge += w", dt=DT)
        inside.connect(i=pre, j=post)
        inside.w = w
        inside.delay = late * ms - DT
        spikes = b2.SpikeMonitor(group)
        b2.Network(group, source, outside, inside, spikes).run(T * DT, namespace={})
    fired = np.zeros((T, N))
    fired[np.rint(np.asarray(spikes.t / DT)).astype(int), spikes.i] = 1
    return fired


def test_spikes_are_those_of_brian2_written_straight():
    x, U, post, pre, w, late = given()
    cell = bp.Cell(
        equations=TEXT,
        jumps={"ge": 1},
        spike="v > thr",
        reset="v = 0",
        refractory=2 * ms,
        method="exact",
        parameters={**CONSTANTS, "width": 1.0},
        surrogate=triangular(width="width"),
    )
    made = bp.Circuit(
        populations={"E": bp.Population(cell, N)},
        projections=(
            bp.Projection(name="U", source="input", target="E"),
            bp.Projection(name="W", source="E", target="E", synapses=(post, pre), delay=late * ms),
        ),
        inputs=M,
        readout=bp.Readout(size=1),
        dt=DT,
    )
    network = made.build(dtype=torch.float64)
    W = torch.zeros(N, N, dtype=torch.float64).index_put(
        (torch.from_numpy(post), torch.from_numpy(pre)), torch.from_numpy(w)
    )
    network.load({"U": U, "W": W})
    assert torch.equal(network.matrix("W"), W) and len(network.synapses["W"].delays) == 30
    theirs = plain()
    assert theirs.sum() > 300
    for simulated in (
        bp.simulate(network, x[:, None], "spikes", backend="torch"),
        bp.simulate(network, x[:, None], "spikes", backend="numba"),
        bp.brian.simulate(network, x[:, None], "spikes"),
    ):
        assert np.array_equal(simulated.spikes[:, 0], theirs)
    network.load({"W": torch.zeros(N, N)})
    assert not np.array_equal(bp.simulate(network, x[:, None], "spikes", backend="torch").spikes[:, 0], theirs)


@pytest.mark.parametrize("cells", (("alif", "lif"), ("cuba", "alif"), ("leaky_rate", "lif")), ids=" ".join)
def test_the_twin_in_brian2_has_the_same_delays(cells):
    E, I = (bp.model(name) for name in cells)
    made = circuit((E, I), late=bp.Normal(4 * ms, 2 * ms))
    x = batch(200).inputs[:, :2]
    ours, theirs = (each(made, x, seed=1) for each in (bp.simulate, bp.brian.simulate))
    for name in ours.keys() & theirs.keys():
        assert abs(ours[name] - theirs[name]).max() < 1e-9
    assert ours["I.spikes"].sum() > 0


@pytest.mark.parametrize("way", ("torch", "numba", "brian"))
def test_a_simulation_that_is_cut_goes_on_with_what_is_on_its_way(way):
    network, x = circuit(CELLS["alif"]()).build(seed=1, dtype=torch.float64), batch(90).inputs
    run: Any = bp.brian.simulate if way == "brian" else lambda *a, **k: bp.simulate(*a, backend=way, **k)
    whole = run(network, x, "spikes")
    first, state = run(network, x[:31], "spikes", return_state=True)
    rest = run(network, x[31:], "spikes", state=state)
    for name in ("E.spikes", "I.spikes"):
        assert whole[name].sum() > 0 and np.array_equal(np.concatenate([first[name], rest[name]]), whole[name])


# -- what is said -------------------------------------------------------------------------------------------------------------


def single(delay: Any, **more: Any) -> bp.Circuit:
    dt = more.pop("dt", 1 * ms)
    options = {"synapses": there(6, 6, 0.5, 0), "source": "E", **more}
    return bp.Circuit(
        populations={"E": bp.Population(bp.model("lif"), 6, positions=bp.grid((2, 3), spacing=100 * um))},
        projections=(bp.Projection(name="W", target="E", delay=delay, **options),),
        inputs=0,
        readout=bp.Readout(size=1),
        dt=dt,
    )


def test_the_order_of_indices_does_not_matter():
    pairs = there(6, 6, 0.5, 0)
    post, pre = np.nonzero(pairs)
    late = np.random.default_rng(1).integers(1, 9, len(post))
    matrix = np.ones((6, 6), int)
    matrix[post, pre] = late
    shuffled = np.random.default_rng(0).permutation(len(post))
    each = [
        single(late),
        single(late, synapses=(post, pre)),
        single(late[shuffled], synapses=(post[shuffled], pre[shuffled])),
        single(late.tolist(), synapses=(post.tolist(), pre.tolist())),
        single(matrix),
        single(late * ms),
        single(late * 1e-3),
    ]
    first, *others = (c.build(seed=0) for c in each)
    s = first.synapses["W"]
    assert {(i, j): d for i, j, d in zip(s.post.tolist(), s.pre.tolist(), s.delay.tolist(), strict=True)} == {
        (i, j): d for i, j, d in zip(post.tolist(), pre.tolist(), late.tolist(), strict=True)
    }
    for other in others:
        assert torch.equal(other.matrix("W"), first.matrix("W")) and torch.equal(other.synapses["W"].delay, s.delay)
    assert each[0] == each[1] == each[2] == each[3] and each[0] != each[4] and each[0] != single(late[::-1])
    assert (
        each[2].describe() == each[0].describe()
        and replace(each[2], dt=0.5 * ms).build(0).synapses["W"].delays == s.delays
    )
    # the same synapses and weights as with one delay for all
    assert torch.equal(single(2, sparse=True).build(0).matrix("W"), first.matrix("W"))


def test_times_stay_themselves_at_another_dt():
    late = np.random.default_rng(1).uniform(1, 9, int(there(6, 6, 0.5, 0).sum()))
    coarse, fine = (single(late * ms, dt=dt * ms).build(0).synapses["W"] for dt in (1, 0.1))
    one, other = (
        dict(zip(zip(s.post.tolist(), s.pre.tolist(), strict=True), s.delay.tolist(), strict=True))
        for s in (coarse, fine)
    )
    assert [one[pair] for pair in sorted(one)] == np.floor(late + 0.5).tolist()
    assert [other[pair] for pair in sorted(one)] == np.floor(late * 10 + 0.5).tolist()


def test_delays_by_distance():
    made = single(bp.Conduction(velocity=0.1 * mm / ms, synaptic=0.5 * ms), dt=0.1 * ms)
    s = made.build().synapses["W"]
    d = np.array(
        [[abs(i // 3 - j // 3), abs(i % 3 - j % 3)] for i, j in zip(s.post.tolist(), s.pre.tolist(), strict=True)]
    )
    steps = np.floor(np.hypot(*d.T) * 10 + 5 + 0.5)
    assert np.array_equal(s.delay.numpy(), steps) and len(s.delays) > 3
    assert single(bp.Conduction(velocity=1 * mm / ms)).build().synapses["W"].delays == (1,)


def test_drawn_delays_are_of_their_distribution_and_of_the_seed():
    made = {
        "steps": (bp.Uniform(3, 7), lambda d: stats.chisquare(np.bincount(d, minlength=8)[3:8]).pvalue),
        "times": (bp.Uniform(3 * ms, 7 * ms), lambda d: stats.kstest(d / 10 + 0.0001, stats.uniform(3, 4).cdf).pvalue),
        "normal": (bp.Normal(9 * ms, 2 * ms), lambda d: stats.kstest(d / 10, stats.norm(9, 2).cdf).pvalue),
    }
    for name, (delay, probable) in made.items():
        c = bp.Circuit(
            populations={"E": bp.Population(bp.model("lif"), 60)},
            projections=(bp.Projection(name="W", source="E", target="E", fan_in=30, delay=delay),),
            inputs=0,
            readout=bp.Readout(size=1),
            dt=0.1 * ms,
        )
        one, same, other = (c.build(seed=s).synapses["W"] for s in (0, 0, 1))
        assert torch.equal(one.delay, same.delay) and not torch.equal(one.delay, other.delay)
        jitter = 0 if name == "steps" else np.random.default_rng(0).random(1800) - 0.5  # steps are times, rounded
        assert probable(one.delay.numpy() + jitter) > 1e-4
        assert 29 < len(one.delays) or name == "steps" and one.delays == (3, 4, 5, 6, 7)
    assert single(bp.Normal(1, 5)).build().synapses["W"].delays[0] == 1


def test_ten_updates_checkpoints_and_pickles():
    task = bp.task("pattern_generation", steps=30)
    made = circuit(CELLS["alif"](), (task.inputs, task.outputs), 40.0)
    rule = bp.rule("eprop", feedback="random")
    t = bp.Training(updates=10, batch=3, lr=1e-2, dtype="float64", backend="torch", clip=1.0)
    ours = bp.Trainer(made, task, rule, t, seed=2)
    network, parts = one_each(ours.network)
    theirs = bp.Trainer(network.circuit, task, rule, t, seed=2)
    theirs.network.load(network.weights)
    mine, other = ([trainer.update()["loss"] for _ in range(10)] for trainer in (ours, theirs))
    assert mine == pytest.approx(other, rel=1e-9) and mine[0] != mine[-1]
    for name, W in together(theirs.network.weights, parts, ours.network).items():
        close(ours.network.weights[name], W, 1e-9)
    assert float(ours.network.weights["EI"].max()) <= 0 < float(ours.network.weights["EI"].abs().max())

    again = bp.Trainer(made, task, rule, t, seed=2)
    again.load_state_dict(ours.state_dict())
    assert again.update()["loss"] == ours.update()["loss"]
    copied = pickle.loads(pickle.dumps(ours.network))
    for name, s in ours.network.synapses.items():
        assert torch.equal(copied.matrix(name), ours.network.matrix(name)) and torch.equal(
            copied.synapses[name].delay, s.delay
        )
    x = batch().inputs[:, :, [0] * task.inputs]
    assert bp.simulate(copied, x).equals(bp.simulate(ours.network, x))
    other_seed = bp.Trainer(
        circuit(CELLS["alif"](), (task.inputs, task.outputs), 40.0, bp.Normal(40, 9)), task, rule, t, seed=3
    )
    with pytest.raises((CircuitError, bp.errors.BioplausError), match="other delays"):
        other_seed.load_state_dict(ours.state_dict())


def test_a_run_holds_what_was_said(tmp_path):
    task = bp.task("pattern_generation", steps=20)
    made = circuit(CELLS["alif"](), (task.inputs, task.outputs), 40.0)
    run = bp.train(made, task, bp.rule("eprop", feedback="random"), folder=tmp_path / "run", updates=2, batch=2)
    said = {p["name"]: p["delay"] for p in json.loads(json.dumps(run.config["circuit"]["projections"]))}
    assert said["EE"] == {"name": "Uniform", "low": 1, "high": 4} and said["II"] == 1
    assert said["IE"]["count"] == 40 and said["EI"]["unit"] == "s"
    assert run.network.matrix("IE").shape == (5, 8)
    from bioplaus.runs.draw import _matrices

    assert np.array_equal(_matrices(run)["EE"], run.network.matrix("EE").numpy())


@pytest.mark.parametrize(
    ("delay", "more", "said"),
    [
        ([1, 2], {}, "2 values, one a synapse, and there are"),
        ([1, 2], dict(synapses=None, fan_in=2), "2 values, one a synapse, and synapses= does not say"),
        (np.ones((3, 6), int), {}, "a matrix 3 × 6, and it goes from 6 neurons to 6"),
        (np.zeros((6, 6), int), {}, "delay of projection W"),
        (np.full((6, 6), 1.5), {}, "in seconds: write array[*]ms"),
        (np.full((6, 6), -1) * ms, {}, "delay of projection W"),
        (np.full((6, 6), np.nan) * ms, {}, "delay of projection W"),
        (np.ones((6, 6)) * mm, {}, "delay of projection W"),
        (bp.Uniform(1, 3), dict(sparse=False), "sparse=False and delays that differ"),
        (bp.Uniform(1, 3), dict(source="input"), "external input has none"),
        (bp.Uniform(1, 3), dict(synapses=None, init="orthogonal"), "would not be orthogonal"),
        (bp.Normal(9000 * ms, 1 * ms), dict(dt=0.1 * ms), "up to 10_000 steps are kept"),
    ],
)
def test_what_is_no_delay_is_refused(delay, more, said):
    with pytest.raises(CircuitError, match=said) as error:
        single(delay, **more).build()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: bp.Uniform(3, 1), "the other way round"),
        (lambda: bp.Uniform(1, 3 * ms), "both in steps"),
        (lambda: bp.Normal(1.5, 1), "mean of normal delays"),
        (lambda: bp.Conduction(velocity=3 * ms), "velocity of delays by distance"),
        (lambda: bp.Conduction(velocity=0), "velocity of delays by distance"),
    ],
)
def test_what_is_no_distribution_is_refused(make, said):
    with pytest.raises(CircuitError, match=said):
        make()


def test_distance_needs_positions():
    with pytest.raises(CircuitError, match="has delays by distance, and 'E' no positions"):
        bp.Circuit(
            populations={"E": bp.Population(bp.model("lif"), 6)},
            projections=(bp.Projection(name="W", source="E", target="E", delay=bp.Conduction(0.3 * mm / ms)),),
            inputs=0,
            readout=bp.Readout(size=1),
        )


def test_maps_take_steps():
    silent = bp.Cell(update="x = 0.9*x + I", output="tanh(x)", name="map")
    for delay, fits in ((bp.Uniform(1, 3), True), (bp.Uniform(1 * ms, 3 * ms), False), (np.ones((4, 4)) * ms, False)):
        make = lambda delay=delay: bp.Circuit(  # noqa: E731
            populations={"E": bp.Population(silent, 4)},
            projections=(bp.Projection(name="W", source="E", target="E", delay=delay),),
            inputs=0,
            readout=bp.Readout(size=1),
        )
        if fits:
            assert make().build().recurrent[0].source.slots == (0, 1, 2)
        else:
            with pytest.raises(CircuitError, match="does not read dt"):
                make()
