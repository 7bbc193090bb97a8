"""What cells send beside their output: short-term plasticity, gates, graded synapses."""

from dataclasses import replace

import brian2
import numpy as np
import pytest
import torch
from brian2 import ms, mV

import bioplaus as bp
from bioplaus.check.bench import squared
from bioplaus.circuit.trajectory import roll
from bioplaus.errors import CellError, CircuitError
from bioplaus.learning.sequence import sequence
from bioplaus.symbolic.runtime import runtime
from bioplaus.tasks import Batch

f64 = torch.float64
DT = 0.1 * ms


def stp(order="facilitates first", **more):
    """Tsodyks and Markram's synapse in its presynaptic neuron: what a spike releases is what it finds there."""
    return bp.Cell(
        name="stp",
        equations="""dv/dt = (-v + I + g)/tau : 1 (unless refractory)
                     dg/dt = -g/tau_g : 1
                     du/dt = (U - u)/tau_f : 1
                     dx/dt = (1 - x)/tau_d : 1
                     dr/dt = 0/second : 1""",
        inputs=("I",),
        jumps=("g",),
        spike="v > 1",
        reset="v = 0; u += U*(1 - u); r = u*x; x -= r",
        sends={"released": "spike*r"},
        surrogate=bp.triangular(width="width"),
        refractory=2 * ms,
        start={"u": 0.2, "x": 1.0},
        parameters=dict(tau=10 * ms, tau_g=3 * ms, tau_f=60 * ms, tau_d=90 * ms, U=0.2, width=1.0),
        **more,
    )


def nmda(**more):
    """A gate that all synapses of a neuron share (Wang 2002), opened by what a spike releases, and read with its voltage dependence."""
    return bp.Cell(
        name="nmda",
        equations="""dv/dt = (E_L - v + g_n*(0*mV - v)/(1 + exp(-0.062*v/mV)/3.57) + I)/tau : volt (unless refractory)
                     dx/dt = -x/tau_x : 1
                     ds/dt = -s/tau_s + alpha*x*(1 - s) : 1""",
        inputs={"I": 10 * mV, "g_n": 1},
        spike="v > -50*mV",
        reset="v = -60*mV; x += 1",
        sends={"gate": "s"},
        surrogate=bp.triangular(width="width"),
        refractory=2 * ms,
        external=("I",),
        recurrent=("g_n",),
        start={"v": -70 * mV},
        parameters=dict(E_L=-70 * mV, tau=20 * ms, tau_x=2 * ms, tau_s=50 * ms, alpha=0.5 / ms, width=10 * mV),
        method="exponential_euler",
        **more,
    )


def drawn(*shape, seed=0, low=0.0, high=1.0):
    """On a grid of 2⁻¹⁰, so that sums are exact in any order."""
    x = torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=f64) * (high - low) + low
    return (x * 1024).round() / 1024


def network(cell, projections, units=20, inputs=5, seed=0, dt=DT, **weights):
    circuit = bp.Circuit(
        populations={"E": bp.Population(cell, units)},
        projections=(bp.Projection(name="W_in", source="input", target="E", channels=("I",)), *projections),
        inputs=inputs,
        readout=bp.Readout(size=2, tau=20 * ms),
        dt=dt,
    )
    built = circuit.build(seed, dtype=f64)
    built.load(weights)
    return built


def between(**more):
    return bp.Projection(name="W", source="E", target="E", autapses=False, **more)


def no_diagonal(W):
    return W * (1 - torch.eye(len(W), dtype=f64))


# -- plain Brian2 --------------------------------------------------------------------------------------------------------


def plain_stp(W, W_in, x, steps, delay):
    """Synapses with variables of their own, as Brian2's users write them; external current held over each step."""
    brian2.start_scope()
    clock = brian2.Clock(DT)
    given = brian2.TimedArray(x @ W_in.T, dt=DT)
    neurons = brian2.NeuronGroup(
        len(W),
        """dv/dt = (-v + given(t, i) + g)/(10*ms) : 1 (unless refractory)
           dg/dt = -g/(3*ms) : 1""",
        threshold="v > 1",
        reset="v = 0",
        refractory=2 * ms,  # pyright: ignore[reportArgumentType]
        method="exact",
        clock=clock,
        namespace={"given": given},
    )
    synapses = brian2.Synapses(
        neurons,
        neurons,
        """w : 1
           du/dt = (0.2 - u)/(60*ms) : 1 (event-driven)
           dx/dt = (1 - x)/(90*ms) : 1 (event-driven)""",
        on_pre="""u += 0.2*(1 - u)
                  g_post += w*u*x
                  x -= u*x""",
        clock=clock,
        method="exact",
        namespace={},
    )
    i, j = np.nonzero(W.T)
    synapses.connect(i=i, j=j)
    synapses.w, synapses.u, synapses.x = W[j, i], 0.2, 1.0
    synapses.delay = np.broadcast_to(delay, W.shape)[j, i] * DT
    spikes = brian2.SpikeMonitor(neurons)
    trace = brian2.StateMonitor(neurons, "v", record=True, when="after_groups", clock=clock)
    brian2.Network(neurons, synapses, spikes, trace).run(steps * DT)
    return fired(spikes, steps, len(W)), trace.v.T


def fired(monitor, steps, units):
    found = np.zeros((steps, units))
    found[np.round(np.asarray(monitor.t / DT)).astype(int), np.asarray(monitor.i)] = 1
    return found


@pytest.mark.parametrize("delay", [1, 12, np.random.default_rng(4).integers(1, 9, (20, 20))])
def test_short_term_plasticity_is_that_of_plain_brian2(delay):
    W = no_diagonal(drawn(20, 20, seed=1, high=1.0))
    W_in, x = drawn(20, 5, seed=2, high=0.8), drawn(1000, 5, seed=3)
    with runtime():
        spikes, v = plain_stp(W.numpy(), W_in.numpy(), x.numpy(), 1000, delay - 1)
    built = network(stp(), [between(channels=("g",), sends="released", delay=delay)], W_in=W_in)
    built.load({"W": W if np.ndim(delay) == 0 else built.synapses["W"].at(W)})
    found = bp.simulate(built, x[:, None], ("v", "spikes"))
    tireless = network(stp(), [between(channels=("g",))], W=W, W_in=W_in)
    silent = bp.simulate(tireless, x[:, None], "spikes")
    assert 100 < spikes.sum() < 4000 and not np.array_equal(silent.spikes[:, 0], spikes)
    assert np.array_equal(found.spikes[:, 0], spikes)
    free = spikes == 0
    assert np.abs(np.asarray(found.v[:, 0]) - v)[free].max() < 1e-12
    twin = bp.brian.simulate(built, x[:, None], ("v", "spikes"))
    assert np.array_equal(twin.spikes[:, 0], spikes) and float(np.abs(twin.v - found.v).max()) < 1e-12
    looped = bp.simulate(built, x[:, None], "spikes", backend="numba")
    assert np.array_equal(looped.spikes[:, 0], spikes)


def plain_nmda(W, W_in, x, steps, delay):
    brian2.start_scope()
    clock = brian2.Clock(DT)
    given = brian2.TimedArray(x @ W_in.T, dt=DT)
    neurons = brian2.NeuronGroup(
        len(W),
        """dv/dt = (-70*mV - v + g_n*(0*mV - v)/(1 + exp(-0.062*v/mV)/3.57) + 10*mV*given(t, i))/(20*ms) : volt (unless refractory)
           g_n : 1
           dx/dt = -x/(2*ms) : 1
           ds/dt = -s/(50*ms) + 0.5/ms*x*(1 - s) : 1""",
        threshold="v > -50*mV",
        reset="v = -60*mV; x += 1",
        refractory=2 * ms,  # pyright: ignore[reportArgumentType]
        method="exponential_euler",
        clock=clock,
        namespace={"given": given},
    )
    neurons.v = -70 * mV
    synapses = brian2.Synapses(neurons, neurons, "w : 1\ng_n_post = w*s_pre : 1 (summed)", clock=clock, namespace={})
    i, j = np.nonzero(W.T)
    synapses.connect(i=i, j=j)
    synapses.w = W[j, i]
    for updater in synapses.summed_updaters.values():
        updater.when = "start"
    spikes = brian2.SpikeMonitor(neurons)
    trace = brian2.StateMonitor(neurons, "s", record=True, when="end", clock=clock)
    brian2.Network(neurons, synapses, spikes, trace).run(steps * DT)
    return fired(spikes, steps, len(W)), trace.s.T


def test_gates_are_those_of_plain_brian2():
    W = no_diagonal(drawn(20, 20, seed=1, high=0.12))
    W_in, x = drawn(20, 5, seed=2, low=0.6, high=1.8), drawn(1000, 5, seed=3)
    with runtime():
        spikes, s = plain_nmda(W.numpy(), W_in.numpy(), x.numpy(), 1000, 1)
    built = network(nmda(), [between(sends="gate")], W=W, W_in=W_in)
    found = bp.simulate(built, x[:, None], ("s", "spikes"))
    alone = bp.simulate(network(nmda(), [between(sends="gate")], W=0 * W, W_in=W_in), x[:, None], "spikes")
    assert 100 < spikes.sum() < 4000 and not np.array_equal(alone.spikes[:, 0], spikes)
    assert np.array_equal(found.spikes[:, 0], spikes) and np.abs(np.asarray(found.s[:, 0]) - s).max() < 1e-12
    twin = bp.brian.simulate(built, x[:, None], ("s", "spikes"))
    assert np.array_equal(twin.spikes[:, 0], spikes) and float(np.abs(twin.s - found.s).max()) < 1e-12
    looped = bp.simulate(built, x[:, None], ("s", "spikes"), backend="numba")
    assert np.array_equal(looped.spikes[:, 0], spikes) and float(np.abs(looped.s - found.s).max()) < 1e-13


# -- autograd, through loops written by hand -----------------------------------------------------------------------------


class Spike(torch.autograd.Function):
    """1 above zero, with the slope max(0, 1 − |x|) · 0.3."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x > 0).to(x)

    @staticmethod
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        return grad * 0.3 * (1 - x.abs()).clamp_min(0)


def exp(t, tau):
    return float(np.exp(-t / tau))


def stp_by_hand(W, x, crosses=lambda z: z, delay=3):
    """Released by spikes onto g, `delay` steps late; spikes themselves also onto g, one step late. Times in ms, dt 1 ms."""
    B, n = x.shape[1], len(W["W_in"])
    zero = torch.zeros(B, n, dtype=f64)
    v, g, u, z, r, y = zero, zero, zero + 0.2, zero + 1.0, zero, zero
    since, sent, spikes, seen, out = zero + 100, [zero] * delay, [zero], zero, []
    a, tau, tau_g = exp(1, 10), 10.0, 3.0
    b = exp(1, tau_g)
    c = tau_g / (tau_g - tau) * (b - a)  # of g in v
    for step in x:
        I = step @ W["W_in"].T
        J = crosses(sent[-delay]) @ W["W"].T + crosses(spikes[-1]) @ W["V"].T
        free = (since >= 2).to(f64)
        old_g = g + J
        v = torch.where(free > 0, a * v + (1 - a) * I + c * old_g, v)
        g = b * old_g
        u = 0.2 + (u - 0.2) * exp(1, 60)
        z = 1 + (z - 1) * exp(1, 90)
        y = Spike.apply(v - 1) * free
        v = v * (1 - y.detach())
        u = u + y * 0.2 * (1 - u)
        r = (1 - y) * r + y * u * z
        z = z - y * r
        since = torch.where(y > 0, torch.zeros_like(since), since) + 1
        sent.append(y * r)
        spikes.append(y)
        k = exp(1, 20)
        seen = k * seen + (1 - k) * y
        out.append(seen @ W["W_out"].T + W["b_out"])
    return torch.stack(out), torch.stack(spikes[1:])


def nmda_by_hand(W, x, crosses=lambda z: z, delay=2):
    """Gates onto g_n, `delay` steps late; dt 1 ms, in ms and mV; every derivative of the step is held at its beginning."""
    B, n = x.shape[1], len(W["W_in"])
    zero = torch.zeros(B, n, dtype=f64)
    v, g, s, since, seen, out = zero - 70, zero, zero, zero + 100, zero, []
    gates, spikes = [zero] * delay, []
    for step in x:
        I, J = step @ W["W_in"].T, crosses(gates[-delay]) @ W["W"].T
        block = 1 / (1 + torch.exp(-0.062 * v) / 3.57)
        free = (since >= 2).to(f64)
        # exponential Euler: what is linear in v, at the block of before
        k = 1 + J * block
        target = (-70 + 10 * I) / k
        moved = target + (v - target) * torch.exp(-k / 20)
        rate = 1 / 50 + 0.5 * g
        s, g = 0.5 * g / rate + (s - 0.5 * g / rate) * torch.exp(-rate), g * exp(1, 2)
        v = torch.where(free > 0, moved, v)
        y = Spike.apply((v + 50) / 10) * free
        v, g = v + y.detach() * (-60 - v), g + y
        since = torch.where(y > 0, torch.zeros_like(since), since) + 1
        gates.append(s)
        spikes.append(y)
        k = exp(1, 20)
        seen = k * seen + (1 - k) * y
        out.append(seen @ W["W_out"].T + W["b_out"])
    return torch.stack(out), torch.stack(spikes)


CASES = {
    "stp": (
        stp(),
        [
            between(channels=("g",), sends="released", delay=3),
            bp.Projection(name="V", source="E", target="E", channels=("g",)),
        ],
        stp_by_hand,
        dict(W_in=(0.3, 1.5), W=(-0.5, 2.0), V=(-0.3, 0.5)),
    ),
    "nmda": (nmda(), [between(sends="gate", delay=2)], nmda_by_hand, dict(W_in=(0.5, 3.0), W=(0.0, 0.3))),
}


def case(name):
    cell, projections, by_hand, ranges = CASES[name]
    weights = {
        k: drawn(8, 4 if k == "W_in" else 8, seed=i, low=low, high=high)
        for i, (k, (low, high)) in enumerate(ranges.items())
    }
    weights["W"] = no_diagonal(weights["W"])
    built = network(cell, projections, units=8, inputs=4, seed=0, dt=1 * ms, **weights)
    x, targets = drawn(50, 3, 4, seed=7), drawn(50, 3, 2, seed=8, low=-2.0, high=2.0)
    return built, Batch(x, targets, torch.ones(50, 3, dtype=f64)), by_hand


def autograd(built, batch, by_hand, crosses=lambda z: z):
    W = {name: w.clone().requires_grad_() for name, w in built.weights.items()}
    out, spikes = by_hand(W, batch.inputs, crosses)
    loss = squared.total(out, batch.targets, batch.weight)
    found = dict(zip(W, torch.autograd.grad(loss, list(W.values()), allow_unused=True), strict=True))
    for name, mask in built.masks.items():
        found[name] = found[name] * mask
    return {k: g for k, g in found.items() if g is not None}, spikes


def close(found, true, within=1e-10):
    for name, g in true.items():
        assert bool(g.any()) and float((found[name] - g).abs().max()) < within * float(g.abs().max()), name


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_loops_by_hand(name):
    built, batch, by_hand = case(name)
    true, spikes = autograd(built, batch, by_hand)
    stretch, _ = roll(built, built.start(3), batch.inputs)
    assert torch.equal(stretch.spikes(0), spikes) and 0.02 < spikes.mean().item() < 0.5
    for rule in ("bptt", "rtrl"):
        close(sequence(built, bp.rule(rule), {}, batch, squared).gradients, true)
    local, _ = autograd(built, batch, by_hand, torch.Tensor.detach)
    found = sequence(built, bp.rule("eprop"), {}, batch, squared).gradients
    close(found, local)
    assert float((found["W"] - true["W"]).abs().max()) > 1e-3 * float(true["W"].abs().max())


# -- every derivative, every way to compute ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    ("rule", "how"),
    [("bptt", {}), ("rtrl", {}), ("eprop", {}), ("eprop", {"schedule": "online"}), ("three_factor", {})],
)
def test_loops_have_the_numbers_of_torch(name, rule, how):
    built, batch, _ = case(name)
    made = bp.rule(rule, **how)
    true, found = (
        sequence(built, made, made.begin(built, batch, 0), batch, squared, backend=backend).gradients
        for backend in ("torch", "numba")
    )
    close(found, true, 1e-12)


def test_a_train_of_spikes_releases_what_tsodyks_and_markram_have():
    """u and x of the n-th of regular spikes, by their recursion: doi:10.1073/pnas.94.2.719, Eqs. 3 and 4, at one more spike each."""
    cell, T = stp(), 20
    built = network(
        cell, [between(channels=("g",), sends="released")], units=2, inputs=1, dt=1 * ms, W_in=[[40.0], [0.0]]
    )
    x = np.zeros((10 * T, 1, 1))
    x[::T] = 1.0
    seen = bp.simulate(built, x, ("r", "spikes"))
    assert seen.spikes[:, 0, 0].sum() == 10 and seen.spikes[:, 0, 1].sum() == 0
    u, z = 0.2, 1.0
    for n in range(10):
        u += 0.2 * (1 - u)
        r = u * z
        assert float(seen.r[n * T, 0, 0]) == pytest.approx(r, rel=1e-12)
        z -= r
        u, z = 0.2 + (u - 0.2) * exp(T, 60), 1 + (z - 1) * exp(T, 90)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (dict(sends=["s"]), "sends=.* is no mapping of names to texts"),
        (dict(sends={"a b": "s"}), "sends= names 'a b'; write a name like a variable's"),
        (dict(sends={"z": 3}), r"sends\['z'\]=3 is not text"),
        (dict(sends={"z": "v"}), r"has unit volt, but an output is a plain number.*sends\['z'\]='\(v\)/mV'"),
        (dict(sends={"z": "q*s"}), "There is no parameter or variable 'q'"),
        (dict(sends={"z": "s +"}), "can't be read"),
    ],
)
def test_what_cannot_be_sent_is_refused(given, said):
    common = {
        f: getattr(nmda(), f) for f in ("equations", "inputs", "spike", "reset", "surrogate", "parameters", "method")
    }
    with pytest.raises(CellError, match=said):
        bp.Cell(**common, **given)


def test_spike_is_a_name_of_spiking_cells():
    with pytest.raises(CellError, match="'spike'"):
        bp.Cell(equations="dx/dt = (-x + I)/tau : 1", output="x", sends={"z": "spike*x"}, parameters=dict(tau=5 * ms))
    with pytest.raises(CellError, match="has a name of its own like that"):
        bp.Cell(
            equations="dv/dt = (-v + I + 0*s0)/tau : 1",
            spike="v > spike",
            sends={"z": "spike*v"},
            surrogate=bp.triangular(width="spike"),
            parameters=dict(tau=5 * ms, spike=1.0, s0=0.0),
        )


def test_a_projection_carries_what_there_is():
    with pytest.raises(CircuitError, match="carries 'gates', and the cell of 'E' sends gate"):
        network(nmda(), [between(sends="gates")])
    with pytest.raises(CircuitError, match="carries 'gate', and the cell of 'E' sends nothing beside its output"):
        network(bp.model("lif"), [between(sends="gate")])
    with pytest.raises(CircuitError, match="brings gate of 'E' to ge.*Rates act on"):
        cell = bp.Cell(**{f: getattr(bp.model("coba_nmda"), f) for f in ("equations", "inputs", "jumps", "spike", "reset", "surrogate", "parameters", "method")}, sends={"gate": "s"})  # fmt: skip
        network(cell, [between(sends="gate", channels=("ge",))])
    with pytest.raises(CircuitError, match="external input is what it is"):
        bp.Projection(name="W", source="input", target="E", sends="gate")


def test_the_channel_of_a_name_hears_what_is_sent_under_it():
    circuit = network(bp.model("coba_nmda"), []).circuit
    more = between(sends="nmda", sign=1, init="gamma")
    found = replace(
        circuit, projections=(*circuit.projections, more, bp.Projection(name="W_ampa", source="E", target="E"))
    )
    assert {p.name: p.channels for p in found.projections} == {"W_in": ("I",), "W": ("nmda",), "W_ampa": ("ge",)}
    assert next(p for p in found.describe()["projections"] if p["name"] == "W")["sends"] == "nmda"


def test_a_rule_that_cannot_serve_it_says_so():
    said = bp.rule("mdgl").eligibility.refuse(case("stp")[0])
    assert said is not None and "projection 'W' carries 'released'" in said


def test_weights_that_move_at_every_step_are_torchs_too():
    """Both what is sent and delays of each synapse, in the loop that stands in one place."""
    task = bp.task("flip_flop", steps=40)
    circuit = replace(
        network(stp(), [], units=12, inputs=task.inputs, dt=1 * ms).circuit,
        readout=bp.Readout(size=task.outputs, tau=20 * ms),
        projections=(
            bp.Projection(name="W_in", source="input", target="E", channels=("I",), gain=9.0),
            between(channels=("g",), sends="released", delay=bp.Uniform(1, 5), fan_in=6, gain=4.0),
            bp.Projection(name="V", source="E", target="E", channels=("g",), delay=2),
        ),
    )

    def trained(backend):
        training = bp.Training(updates=3, batch=3, lr=1e-3, dtype="float64", apply="window", backend=backend)
        trainer = bp.Trainer(circuit, task, bp.rule("eprop", schedule="online"), training, seed=3)
        rows = [trainer.update() for _ in range(3)]
        assert trainer.backend == backend and rows[0]["rate"] > 1
        return trainer.network

    ours, theirs = trained("numba"), trained("torch")
    start = circuit.build(seed=3, dtype=f64)
    for name, w in theirs.weights.items():
        assert float((ours.weights[name] - w).abs().max()) < 1e-9 * float(w.abs().max())
    assert not torch.equal(ours.weights["W"], start.weights["W"])
