"""White noise in equations and Poisson backgrounds: Brian2's own, the same numbers everywhere, derivatives at the given draw."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import brian2 as b2
import numpy as np
import pytest
import torch
from brian2 import Hz, ms, mV
from torch.func import jacrev

import bioplaus as bp
from bioplaus.cell import Cell, triangular
from bioplaus.circuit import Circuit, Poisson, Population, Projection, Readout
from bioplaus.circuit.trajectory import roll
from bioplaus.codegen.kernel import surrogate_spike
from bioplaus.errors import CellError, CircuitError
from bioplaus.symbolic.runtime import runtime

N, M, T, B = 12, 3, 400, 2
DT = 0.1 * ms
NUMBERS: dict[str, Any] = dict(tau=10 * ms, sigma=0.4, threshold=1.0)
LEAKY = "dv/dt = (-v + I)/tau + sigma*sqrt(2/tau)*xi : 1"
#: a noise with a suffix may stand in a shorthand
SHORTHAND = "dv/dt = (-v + I)/tau + noise/tau : 1\nnoise = sigma*sqrt(2*tau)*xi_n : 1"
#: equations and method; each fires by its noise
CELLS: dict[str, tuple[str, str]] = {
    "additive, euler": (LEAKY, "euler"),
    "in a shorthand": (SHORTHAND, "euler"),
    "held while refractory": (f"{LEAKY} (unless refractory)", "euler"),
    "a coloured current": ("dv/dt = (-v + I + n)/tau : 1\ndn/dt = -n/(5*ms) + sigma*sqrt(2/(5*ms))*xi : 1", "euler"),
    "multiplied, heun": ("dv/dt = (-v + I)/tau + sigma*(1 + v)*sqrt(2/tau)*xi : 1", "heun"),
    "multiplied, milstein": ("dv/dt = (-v + I)/tau + sigma*(1 + v)*sqrt(2/tau)*xi : 1", "milstein"),
}


def cell(name: str = "additive, euler", **changed: Any) -> Cell:
    equations, method = CELLS[name]
    given = dict(
        equations=equations, method=method, spike="v > threshold", reset="v -= threshold", refractory=1 * ms, parameters=NUMBERS,
        surrogate=triangular(), name="noisy",
    )  # fmt: skip
    return Cell(**{**given, **changed})


def circuit(kind: Cell | None = None, dt: Any = DT, **population: Any) -> Circuit:
    return Circuit(
        populations={"E": Population(kind or cell(), N, **population)},
        projections=(
            Projection(name="W_in", source="input", target="E", sign=1, gain=1.5),
            Projection(name="W", source="E", target="E", gain=0.5, autapses=False),
        ),
        inputs=M,
        readout=Readout(size=2, tau=20 * ms),
        dt=dt,
    )


def inputs(steps: int = T, batch: int = B) -> torch.Tensor:
    return torch.rand(steps, batch, M, generator=bp.stream(1, "x"), dtype=torch.float64) * 2


@pytest.mark.parametrize("name", CELLS)
def test_brian2s_own_noise_is_ours(name):
    """Plain Brian2 draws its xi from a seeded generator; the same numbers beside the input give the same spikes, and voltages to rounding."""
    kind = cell(name)
    network = circuit(kind).build(dtype=torch.float64)
    network.load({"W": torch.zeros(N, N)})
    x = inputs(batch=1)
    drive = (x[:, 0] @ network.weights["W_in"].T).numpy()
    with runtime():
        I = b2.TimedArray(drive, dt=DT)
        group = b2.NeuronGroup(
            N, CELLS[name][0] + "\nI = drive(t, i) : 1", method=CELLS[name][1], threshold=kind.spike, reset=kind.reset, refractory=1 * ms,  # pyright: ignore[reportArgumentType]
            namespace=NUMBERS | {"drive": I}, dt=DT,
        )  # fmt: skip
        spikes, seen = b2.SpikeMonitor(group), b2.StateMonitor(group, "v", record=True, when="end", dt=DT)
        b2.seed(7)
        b2.Network(group, spikes, seen).run(T * DT, namespace={})
    normals = torch.as_tensor(np.random.RandomState(7).randn(T, 1, N))
    stretch, _ = roll(network, network.start(1), torch.cat([x, normals], -1))
    fired = np.zeros((T, N))
    fired[np.rint(np.asarray(spikes.t / DT)).astype(int), spikes.i] = 1
    v = stretch.get(0, "after", 0)[:, 0].numpy()
    assert 20 < fired.sum() < 0.3 * fired.size
    assert np.abs(stretch.get(0, "u", 0)[:, 0].numpy() - 1.0).min() > 1e-9
    np.testing.assert_array_equal(stretch.spikes(0)[:, 0].numpy(), fired)
    np.testing.assert_allclose(v, np.asarray(seen.v).T, rtol=0, atol=1e-12)
    still, _ = roll(network, network.start(1), torch.cat([x, torch.zeros_like(normals)], -1))
    assert still.spikes(0).sum() != fired.sum(), "noise decides when"


@pytest.mark.parametrize("name", CELLS)
def test_torch_and_the_twin_draw_the_same(name):
    made = circuit(cell(name), background={"I": Poisson(rate=20 * Hz, n=100, weight=0.5)})
    ours, theirs = (run(made, inputs(), ("v", "spikes"), seed=3) for run in (bp.simulate, bp.brian.simulate))
    assert 20 < float(ours.spikes.sum()) < 0.3 * ours.spikes.size
    assert bool(ours.spikes.equals(theirs.spikes)) and float(abs(ours.v - theirs.v).max()) < 1e-12
    again, other = (bp.simulate(made, inputs(), ("v",), seed=seed) for seed in (3, 4))
    assert bool(again.v.equals(ours.v)) and not bool(other.v.equals(ours.v))


def test_a_built_network_takes_other_noise_with_another_seed():
    network = circuit().build(seed=0, dtype=torch.float64)
    a, b, c = (bp.simulate(network, inputs(50), ("v",), seed=seed).v for seed in (0, 1, 0))
    assert bool(a.equals(c)) and float(abs(a - b).min()) > 0
    half = bp.simulate(circuit().build(seed=0, dtype=torch.float32), inputs(50), ("v",), seed=0).v
    assert 0 < float(abs(a - half).max()) < 1e-5, "the same numbers, to the precision of the dtype"


def test_a_longer_simulation_begins_as_a_shorter_one():
    """Also where a piece begins in the middle of a block of numbers, and for batch after batch of steps."""
    network = circuit(background={"I": Poisson(rate=20 * Hz, n=100, weight=0.5)}).build(dtype=torch.float64)
    long, short = (bp.simulate(network, inputs(T)[:steps], ("v",)).v.values for steps in (T, 130))
    np.testing.assert_array_equal(long[:130], short)
    whole, parts = (
        network.draw(inputs(), 3),
        [network.draw(inputs()[a:b], 3, "", a) for a, b in ((0, 70), (70, 100), (100, T))],
    )
    assert torch.equal(whole, torch.cat(parts)) and not torch.equal(whole[:64, :, M:], whole[64:128, :, M:])


def test_what_one_population_draws_changes_nothing_for_another():
    alone = circuit()
    both = Circuit(
        populations={"first": Population(bp.model("noisy_lif"), 5), **alone.populations},
        projections=alone.projections,
        inputs=M,
        readout=Readout(size=2, sources=("E",)),
        dt=DT,
    )
    network, larger = (c.build(dtype=torch.float64) for c in (alone, both))
    larger.load({name: network.weights[name] for name in ("W_in", "W")})
    a, b = bp.simulate(network, inputs(50), ("v",), seed=5).v, bp.simulate(larger, inputs(50), ("v",), seed=5)["E.v"]
    np.testing.assert_array_equal(a.values, b.values)


@pytest.mark.parametrize("name", CELLS)
def test_derivatives_are_those_of_the_step_at_the_given_draw(name):
    kind = cell(name)
    kernel = kind.kernel(N, 1e-3, torch.float64, "cpu")
    generator = bp.stream(0, "points")
    normal = lambda: torch.randn(B, N, generator=generator, dtype=torch.float64)  # noqa: E731
    states, I, xi, last = [0.6 + 0.6 * normal() for _ in kind.states], normal(), normal(), 0 * normal()
    active = (normal() > -1).double()
    S, z = len(states), torch.stack([*states, I])
    assert kernel.surrogate is not None
    spike = surrogate_spike(kernel.surrogate)

    def step(z: torch.Tensor, xi: torch.Tensor = xi) -> torch.Tensor:
        u, y, s = kernel.step(tuple(z[:S]), (z[S], xi), last, active, spike, torch.Tensor.detach, active)
        return torch.stack([*u, y, *s])

    out = step(z)
    values = {"s": states, "I": (I, xi), "u": out[:S], "y_last": (last,), "y_now": (out[S],), "active": (active,), "receptive": (active,)}  # fmt: skip
    F, _, G, psi, *_ = kernel.partials(lambda k, i: values[k][i])
    whole = lambda e: 0 * I + (0.0 if e is None else e)  # noqa: E731
    mine = torch.stack([torch.stack([*map(whole, row), *map(whole, g)]) for row, g in zip(F, G, strict=True)])
    found = jacrev(lambda z: step(z).sum((-1, -2)))(z)
    torch.testing.assert_close(mine, found[:S], rtol=1e-12, atol=1e-15)
    through = torch.einsum("s...,sk...->k...", torch.stack([*map(whole, psi)]), mine)
    torch.testing.assert_close(through, found[S], rtol=1e-12, atol=1e-15)
    assert len(G[0]) == 1, "noise is no channel that weights reach"
    depends = bool((step(z, xi + 1) - step(z, xi))[:S].any()) and bool(psi[0].any())
    multiplied = bool((jacrev(lambda z: step(z, 0 * xi).sum((-1, -2)))(z)[:S] != found[:S]).any())
    assert depends and multiplied == name.startswith("multiplied")


def by_hand(network: bp.Network, batch: bp.Batch) -> dict[str, torch.Tensor]:
    """Autograd through Heun's steps in plain torch, from the columns that were drawn."""
    weights = {name: w.clone().requires_grad_() for name, w in network.weights.items()}
    dt, tau, sigma, x = 1e-3, 10e-3, 0.4, network.draw(batch.inputs, 0)

    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, margin: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            ctx.save_for_backward(margin)
            return (margin > 0).double()

        @staticmethod
        def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            return grads[0] * 0.3 * (1 - ctx.saved_tensors[0].abs()).clamp_min(0)

    v = y = filtered = torch.zeros(batch.size, N, dtype=torch.float64)
    wait, kappa, loss = torch.zeros_like(v), np.exp(-1 / 20), torch.tensor(0.0)
    for t in range(batch.steps):
        I = x[t, :, :M] @ weights["W_in"].T + y @ weights["W"].T
        dW, g = x[t, :, M:] * dt**0.5, lambda v: sigma * (1 + v) * (2 / tau) ** 0.5
        v = v + dt * (I - v) / tau + 0.5 * (g(v) + g(v + g(v) * dW)) * dW
        wait = (wait - 1).clamp_min(0)
        y = Spike.apply(v - 1) * (wait == 0)
        wait, v = wait + y.detach(), v - y.detach()
        filtered = kappa * filtered + (1 - kappa) * y
        o = filtered @ weights["W_out"].T + weights["b_out"]
        loss = loss + 0.5 * ((o - batch.targets[t]) ** 2).sum()
    found = torch.autograd.grad(loss / batch.size, list(weights.values()))
    return {name: g * network.masks.get(name, torch.ones_like(g)) for name, g in zip(weights, found, strict=True)}


def batch(steps: int = 40) -> bp.Batch:
    x = inputs(steps, 3)
    return bp.Batch(x, torch.ones(steps, 3, 2, dtype=torch.float64), torch.ones(steps, 3, dtype=torch.float64))


def test_gradients_are_those_at_the_given_draw():
    network = circuit(cell("multiplied, heun"), dt=1 * ms).build(dtype=torch.float64)
    true, b = by_hand(network, batch()), batch()
    assert all(bool(g.any()) for g in true.values())
    for rule in ("bptt", "rtrl"):
        for name, g in bp.gradient(network, rule, b).items():
            torch.testing.assert_close(g, true[name], rtol=1e-9, atol=1e-12 * float(true[name].abs().max()))
    other = bp.gradient(network, "bptt", b, seed=1)
    assert float((other["W"] - true["W"]).abs().max()) > 1e-3 * float(true["W"].abs().max())
    assert not torch.allclose(bp.gradient(network, "eprop", b)["W"], true["W"], rtol=1e-3)
    tbptt, online = (bp.gradient(network, each, b) for each in (bp.rule("eprop"), bp.rule("eprop", schedule="online")))
    for name, g in tbptt.items():
        torch.testing.assert_close(g, online[name], rtol=1e-9, atol=1e-12)


def trainer(rule: str = "eprop", **options: Any) -> bp.Trainer:
    task = bp.task("flip_flop", steps=12)
    made = bp.circuit(
        "recurrent", cell=bp.model("noisy_lif", threshold=0.4), inputs=task.inputs, units=10, outputs=task.outputs, input_gain=4.0,
        background={"I": Poisson(rate=100 * Hz, n=5, weight=0.5)},
    )  # fmt: skip
    return bp.Trainer(made, task, rule, bp.Training(updates=6, batch=4, dtype="float64", **options), seed=2)


def test_training_goes_on_bit_for_bit():
    whole, cut, fresh = trainer(), trainer(), trainer()
    rows = [whole.update() for _ in range(6)]
    for _ in range(3):
        cut.update()
    state = cut.state_dict()
    fresh.load_state_dict(state)
    more = [fresh.update() for _ in range(3)]
    assert [r["loss"] for r in more] == [r["loss"] for r in rows[3:]]
    for name, w in whole.network.weights.items():
        assert torch.equal(w, fresh.network.weights[name]), name
    assert whole.evaluate()["test_loss"] == fresh.evaluate()["test_loss"] == fresh.evaluate()["test_loss"]
    assert rows[0]["rate"] > 0


def test_every_update_and_trial_has_noise_of_its_own():
    one = trainer()
    b = next(bp.tasks.test_set(one.task)).to("cpu", torch.float64).part(0, 4)
    first = one.draw(b).inputs[..., one.circuit.inputs :]
    one.update()
    second = one.draw(b).inputs[..., one.circuit.inputs :]
    assert not torch.equal(first, second) and not torch.equal(first[:, 0], first[:, 1])
    assert one.draw(one.draw(b)).inputs.shape[-1] == one.network.lines
    assert one.loss(b) == one.loss(one.draw(b))


def test_alignment_sees_the_noise_of_the_update():
    aligned = bp.align(
        trainer().circuit, bp.task("flip_flop", steps=12), ["eprop", "rtrl"], updates=2, training=bp.Training(batch=4, dtype="float64")
    )  # fmt: skip
    cosine = aligned["cosine"].sel(rule="rtrl")
    np.testing.assert_allclose(cosine.values[np.isfinite(cosine.values)], 1.0, atol=1e-9)


def test_an_ornstein_uhlenbeck_process_has_its_variance():
    """Euler's steps leave σ²/(1 − dt/2τ); the mean of 900 independent stretches lies within four standard errors of it."""
    free = bp.model("noisy_lif", sigma=0.3, threshold=1e9)
    made = Circuit(
        populations={"E": Population(free, 900)}, projections=(), inputs=0, readout=Readout(size=1), dt=1 * ms
    )
    v = bp.simulate(made, np.zeros((600, 1, 0)), ("v",)).v.values[200:, 0]
    each, expected = (v**2).mean(0), 0.09 / (1 - 1 / 40)
    assert abs(each.mean() - expected) < 4 * each.std(ddof=1) / 30
    assert 4 * each.std(ddof=1) / 30 < 0.05 * expected


@pytest.mark.parametrize("n", [1, 50])
def test_a_background_is_binomial_and_acts_like_input_of_its_weight(n):
    """Counts have the mean and variance of a Binomial(n, rate dt); one more unit of weight is one more unit of input."""
    made = circuit(cell("additive, euler"), dt=1 * ms, background={"I": Poisson(rate=80 * Hz, n=n, weight=0.25)})
    network = made.build(dtype=torch.float64)
    drawn = network.draw(inputs(2000, 4), 0)[..., M : M + N]
    p, count = 0.08, drawn.numel()
    assert drawn.unique().tolist() == [0, 1] if n == 1 else drawn.unique().numel() > 5
    assert abs(float(drawn.mean()) - n * p) < 4 * (n * p * (1 - p) / count) ** 0.5
    assert abs(float(drawn.var()) / (n * p * (1 - p)) - 1) < 0.05
    x = network.draw(inputs(20), 0)
    without = x.clone()
    without[..., M : M + N] = 0
    for a, b in zip(network.drive(x), network.drive(without), strict=True):
        torch.testing.assert_close(a - b, torch.cat([0.25 * x[..., M : M + N], torch.zeros(20, B, N)], -1))


def test_a_background_onto_a_jump_is_plain_brian2s():
    """Its spikes, handed to plain Brian2 by generators, one for each neuron."""
    made = Circuit(
        populations={"E": Population(bp.model("delta_lif"), N, background={"v": Poisson(rate=300 * Hz, n=3, weight=0.25)})},
        projections=(), inputs=0, readout=Readout(size=1), dt=DT,
    )  # fmt: skip
    network = made.build(dtype=torch.float64)
    counts = network.draw(torch.zeros(T, 1, 0, dtype=torch.float64), 0)[:, 0].numpy()
    ours, theirs = (run(made, np.zeros((T, 1, 0)), ("v", "spikes")) for run in (bp.simulate, bp.brian.simulate))
    assert bool(ours.spikes.equals(theirs.spikes))
    with runtime():
        group = b2.NeuronGroup(
            N, "dv/dt = -v/(20*ms) : 1 (unless refractory)", threshold="v > 1", reset="v = 0", refractory=2 * ms, method="exact", dt=DT  # pyright: ignore[reportArgumentType]
        )  # fmt: skip
        group.v = 0.25 * counts[0]
        times, who = np.nonzero(counts[1:])
        source = b2.SpikeGeneratorGroup(N, who, times * DT, dt=DT)
        table = b2.TimedArray(0.25 * np.vstack([counts[1:], 0 * counts[:1]]), dt=DT)
        synapses = b2.Synapses(source, group, on_pre="v += jump(t, j)", namespace={"jump": table}, dt=DT)
        synapses.connect(j="i")
        spikes = b2.SpikeMonitor(group)
        b2.Network(group, source, synapses, spikes).run(T * DT, namespace={})
    fired = np.zeros((T, N))
    fired[np.rint(np.asarray(spikes.t / DT)).astype(int), spikes.i] = 1
    assert fired.sum() > 20
    np.testing.assert_array_equal(ours.spikes.values[:, 0], fired)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(method="exact"), "Write method='euler'"),
        (dict(method="rk4"), "Write method='euler'"),
        (dict(method="exponential_euler"), "Write method='euler'"),
        (dict(equations="dv/dt = (-v + I)/tau + v*xi/sqrt(tau) : 1"), "Write method='heun', which can, in the sense of Stratonovich"),
        (dict(equations="dv/dt = (-v + I)/tau + xi : 1"), "Brian2 refuses these equations"),
        (dict(equations="dv/dt = (-v + I)/tau + s : 1\ns = sigma*xi/sqrt(tau) : Hz"), "xi"),
        (dict(spike="v + xi > threshold"), "only a differential equation"),
        (dict(reset="v = xi"), "only a differential equation"),
        (dict(equations=SHORTHAND, reset="v = 0.01*noise"), "reset='v = 0.01[*]noise': 'xi_n' is white noise"),
        (dict(equations=SHORTHAND, spike="v + noise > threshold"), "spike='v [+] noise > threshold': 'xi_n' is white noise"),
        (dict(parameters=NUMBERS | {"xi": 1.0}), "white noise"),
        (dict(equations="dv/dt = (-v + I)/tau + randn() : 1"), "random number"),
        (dict(equations="dv/dt = (-v + I)/tau + sigma*xi**2 : 1"), "square a state that follows it"),
    ],
)  # fmt: skip
def test_noise_where_it_cannot_be_is_refused(change, words):
    with pytest.raises(CellError, match=words):
        cell(**change)


def test_a_map_has_no_noise():
    with pytest.raises(CellError, match="only a differential equation"):
        Cell(update="v = 0.9*v + I + xi", output="v")


@pytest.mark.parametrize(
    ("background", "words"),
    [
        ({"J": Poisson(rate=5 * Hz)}, "its input channels are I"),
        ({"I": 3}, "bp.Poisson"),
        ({"I": Poisson(rate=5000 * Hz)}, "more than one spike in a step"),
    ],
)
def test_a_background_that_makes_no_sense_is_refused(background, words):
    with pytest.raises(CircuitError, match=words):
        circuit(dt=1 * ms, background=background)
    wrongs: tuple[dict[str, Any], ...] = (
        dict(rate=5 * mV),
        dict(rate=0),
        dict(rate=5 * Hz, n=0),
        dict(rate=5 * Hz, weight=float("nan")),
    )
    for wrong in wrongs:
        with pytest.raises(CircuitError, match="of Poisson"):
            Poisson(**wrong)


def test_excitation_and_inhibition_have_each_their_background():
    given = {
        "E": {"ge": Poisson(rate=5 * Hz, n=1000, weight=0.03)},
        "I": {"ge": Poisson(rate=4 * Hz, n=1000, weight=0.03)},
    }
    made = bp.circuit("excitatory_inhibitory", cell="coba", inputs=0, units=20, outputs=1, background=given, dt=DT)
    ours, theirs = (run(made, np.zeros((T, 1, 0)), ("spikes",)) for run in (bp.simulate, bp.brian.simulate))
    assert float(ours["E.spikes"].sum()) > 5 and float(ours["I.spikes"].sum()) > 0
    assert all(bool(ours[name].equals(theirs[name])) for name in ("E.spikes", "I.spikes"))
    for wrong in (["E"], "E", Poisson(rate=3 * Hz)):
        with pytest.raises(CircuitError, match="a mapping of E and I"):
            bp.circuit("excitatory_inhibitory", cell="coba", inputs=0, units=20, outputs=1, background=wrong)
    with pytest.raises(CircuitError, match="its populations are E and I"):
        bp.circuit("excitatory_inhibitory", cell="coba", inputs=0, units=20, outputs=1, background=given["E"])


def test_conductances_are_never_negative():
    """Neither by a background, nor by weights, nor by what a simulation or a task gives."""
    with pytest.raises(CircuitError, match="conductances are never negative"):
        Population(bp.model("coba"), 5, background={"ge": Poisson(rate=5 * Hz, weight=-0.1)})
    Population(bp.model("cuba"), 5, background={"gi": Poisson(rate=5 * Hz, weight=-0.1), "ge": Poisson(rate=5 * Hz)})
    made = bp.circuit("recurrent", cell="coba", inputs=3, units=10, outputs=1, input_gain=3.0)
    network = made.build(dtype=torch.float64)
    assert all(bool((network.weights[name] >= 0).all()) for name in ("W_in", "W_rec"))
    v = bp.simulate(network, (np.random.default_rng(0).random((300, 2, 3)) < 0.3) * 1.0, ("v", "ge"), seed=0)
    assert float(v.ge.min()) >= 0 and -0.1 < float(v.v.min()) and float(v.v.max()) < 0.01
    with pytest.raises(
        CircuitError,
        match="reach down to -1, and projection W_in leads them to conductances \\(ge of population 'cortex'\\)",
    ):
        bp.simulate(network, -np.ones((5, 1, 3)))
    task = bp.task("flip_flop", steps=12)
    flip = bp.circuit("recurrent", cell="coba", inputs=task.inputs, units=10, outputs=task.outputs)
    with pytest.raises(CircuitError, match="The inputs of the task 'flip_flop' reach down to -1"):
        bp.Trainer(flip, task, "eprop")


def test_streams_do_not_meet():
    """Two names of which torch's generators would make the same stream, for they keep 32 bits."""
    network = circuit().build()
    one, other = (network.draw(inputs(64), 0, occasion)[..., M:] for occasion in ("update 2076", "update 1683"))
    assert len({float(each) for each in torch.cat([one, other]).flatten()}) == 2 * one.numel()


def test_a_circuit_says_what_it_draws():
    made = circuit(background={"I": Poisson(rate=20 * Hz, n=100, weight=0.5)})
    assert made.describe()["populations"]["E"]["background"] == {"I": {"rate": 20.0, "n": 100, "weight": 0.5}}
    assert "background" not in circuit().describe()["populations"]["E"]
    assert replace(made, dt=1 * ms).populations["E"].background == made.populations["E"].background
