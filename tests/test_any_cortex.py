"""A cerebellum beside any cortex: states with units at the order of one, whatever the circuit, and credit that an independent loop finds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from rule_helpers import paragraph, same
from torch import Tensor
from torch.func import jacrev, vmap

import bioplaus as bp
from bioplaus import ms, mV, nS, pA
from bioplaus.cell import Cell, Surrogate, triangular
from bioplaus.circuit import Circuit, Network
from bioplaus.circuit.carried import Layout
from bioplaus.circuit.trajectory import roll
from bioplaus.errors import BioplausError
from bioplaus.learning.sequence import sequence
from bioplaus.own import Own
from bioplaus.schedule import Online, Window
from bioplaus.tasks import Batch, squared

DAMPENING = 0.3


def in_volts(**more: Any) -> Cell:
    """The membrane and the threshold's rise in volts; threshold 20 mV above rest."""
    given: dict[str, Any] = {"tau_m": 15 * ms, "tau_a": 40 * ms, "E_L": -70 * mV, "V_T": -50 * mV, "b": 6 * mV}
    return Cell(
        equations="dv/dt = (E_L - v + I)/tau_m : volt\nda/dt = -a/tau_a : volt", inputs={"I": 20 * mV}, spike="v > V_T + a",
        reset="v -= V_T - E_L; a += b", surrogate=triangular(DAMPENING, width="V_T - E_L"), refractory=2 * ms, start={"v": -70 * mV},
        parameters=given | more,
    )  # fmt: skip


def without_units() -> Cell:
    """The same neuron, counted from rest in units of 20 mV."""
    return Cell(
        equations="dv/dt = (-v + I)/tau_m : 1\nda/dt = -a/tau_a : 1", spike="v > 1 + a", reset="v -= 1; a += b",
        surrogate=triangular(DAMPENING, width="one"), refractory=2 * ms, parameters={"tau_m": 15 * ms, "tau_a": 40 * ms, "b": 0.3, "one": 1.0},
    )  # fmt: skip


def batch(steps: int, size: int, inputs: int, outputs: int, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    like: Any = {"generator": g, "dtype": torch.float64}
    x = (torch.rand(steps, size, inputs, **like) < 0.3).double()
    weight = torch.rand(steps, size, **like) / steps
    return Batch(x, torch.randn(steps, size, outputs, **like), weight)


def drawn(network: Network, seed: int = 1) -> dict[str, Own]:
    """A linear predictor that says something."""
    H, g = Layout(network).size, torch.Generator().manual_seed(seed)
    A, b = (0.2 * torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((H, H), (H,)))
    return {"predictor": Own({"A": A / H**0.5, "b": b})}


def mixed(cell: Any, delay: int = 1) -> Network:
    """Excitatory neurons in volts and inhibitory ones without units, under Dale's law."""
    made = bp.circuit(
        "excitatory_inhibitory", cell=cell, inhibitory=bp.model("lif", threshold=0.8, tau_m=12 * ms, refractory=0), units=6, inputs=5,
        outputs=2, fraction=0.67, gain=3.0, balance=0.3, input_gain=40.0, tau_out=8 * ms, delay=delay,
    )  # fmt: skip
    return bp.circuit("cortico_cerebellar", cortex=made).build(seed=4, dtype="float64")


# -- units -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"name": "bp_lambda", "lmbda": 0.8, "discount": 0.9},
        {"name": "bp_lambda", "lmbda": 0.8, "discount": 0.9, "trace": "local", "jacobian": "within", "eligibility": "eprop"},
        {"name": "bp_lambda", "trace": "projected", "outputs": 3, "jacobian": "random"},
        {"name": "bp_lambda", "trace": "kronecker", "schedule": "online"},
        {"name": "dni", "steps": 4, "jacobian": "learned"},
        {"name": "dni", "steps": 4, "predictor": "mlp", "hidden": (5,), "eligibility": "eprop"},
    ],
    ids=str,
)  # fmt: skip
def test_a_cortex_in_volts_and_the_same_without_units_learn_alike(options):
    """The same spikes; the same gradients of weights and of the predictor: a change of unit is none of the problem."""
    found = []
    for cell in (in_volts(), without_units()):
        network = mixed(cell)
        data = batch(25, 3, 5, 2)
        rule = bp.rule(**options)
        own = rule.begin(network, data, 0)
        for i, part in enumerate(own.values()):
            for name, value in part.learned.items():
                more = torch.randn(value.shape, generator=torch.Generator().manual_seed(i), dtype=torch.float64)
                part.learned[name].add_(0.05 * more)
        outcome = sequence(network, rule, own, data, squared)
        found.append({**outcome.gradients, **outcome.own, "o": outcome.outputs})
        assert all(rate > 0.02 for rate in outcome.rates.values())
        assert all(bool(g.any()) for g in found[-1].values())
    same(found[0], found[1], 1e-9)


#: cell, its options, step → zero and scale of every state, worked out by hand from the constants of the model
BY_HAND: list[tuple[str, float, list[tuple[float, float]]]] = [
    ("adex", 1e-3, [(-70e-3, 30e-3), (0.0, 10e-9 * 30e-3)]),  # −70 … −40 mV; the leak's 10 nS by that
    ("cuba", 1e-3, [(-60e-3, 10e-3), (0.0, 10e-3), (0.0, 10e-3)]),
    ("coba", 1e-3, [(-60e-3, 10e-3), (0.0, 1.0), (0.0, 1.0)]),
    ("alpha_current", 1e-3, [(-70e-3, 15e-3), (0.0, 15e-3), (0.0, 15e-3)]),
    ("izhikevich", 1e-4, [(-65e-3, 95e-3), (-13.0, 95e-3 * 0.2e3)]),  # 5/ms + 0.08/mV/ms · (−65 mV) = −0.2/ms
    ("hodgkin_huxley", 5e-5, [(-65e-3, 45e-3), (0, 1), (0, 1), (0, 1), (0.0, 45e-3 * 6.78)]),  # 0.678 mS/cm² at rest
]


@pytest.mark.parametrize(("model", "dt", "expected"), BY_HAND, ids=[row[0] for row in BY_HAND])
def test_zero_and_scale_are_the_cells_own(model, dt, expected):
    network = bp.circuit("recurrent", cell=model, inputs=1, units=3, outputs=1, dt=dt).build(dtype="float64")
    found = network.populations[0].scale
    assert found is not None
    for zero, sigma, (z, s) in zip(*found, expected, strict=True):
        assert torch.allclose(zero, torch.full_like(zero, z), rtol=1e-12, atol=0)
        assert torch.allclose(sigma, torch.full_like(sigma, s), rtol=3e-3, atol=0), (sigma, s)


def test_where_the_threshold_does_not_tell():
    """At the threshold from the start, a rate, a current that jumps and a state that nothing tells of."""
    given: dict[str, Any] = {"tau": 10 * ms, "V_T": -50 * mV, "w": 5 * mV}
    base: dict[str, Any] = {
        "surrogate": Surrogate("surrogate_dampening", "w", {"surrogate_dampening": 0.3}),
        "parameters": given,
    }
    at = Cell(
        equations="dv/dt = (V_T - v + I)/tau : volt",
        inputs={"I": mV},
        spike="v > V_T",
        reset="v = V_T - w",
        start={"v": -50 * mV},
        **base,
    )
    rate = Cell(
        equations="dv/dt = (-v + I)/tau : volt",
        inputs={"I": mV},
        output="tanh(v/w)",
        parameters={"tau": 10 * ms, "w": 5 * mV},
    )
    alone = Cell(
        equations="dv/dt = (V_T - w - v + I)/tau : volt\ndx/dt = -x/tau : amp\nds/dt = -s/tau : siemens",
        inputs={"I": mV}, jumps={"x": 3 * pA}, spike="v > V_T", reset="v = V_T - w", start={"v": -55 * mV, "s": 4 * nS}, **base,
    )  # fmt: skip
    expected = {at: [5e-3], rate: [5e-3], alone: [5e-3, 3e-12, 4e-9]}
    for cell, sigmas in expected.items():
        found = (
            bp.circuit("recurrent", cell=cell, inputs=1, units=2, outputs=1).build(dtype="float64").populations[0].scale
        )
        assert found is not None
        assert [float(s[0]) for s in found.sigma] == pytest.approx(sigmas, rel=1e-9)


def test_a_scale_for_each_neuron():
    V_T = torch.tensor([-50.0, -40.0, -60.0], dtype=torch.float64).numpy() * mV
    network = bp.circuit("recurrent", cell=in_volts(V_T=V_T), inputs=1, units=3, outputs=1).build(dtype="float64")
    found = network.populations[0].scale
    assert found is not None
    assert found.sigma[0].tolist() == pytest.approx([20e-3, 30e-3, 10e-3], rel=1e-12)


@pytest.mark.parametrize(
    ("model", "gain", "dt"),
    [("adex", 14.0, 1.0), ("coba", 0.3, 1.0), ("cuba", 6.0, 1.0), ("hodgkin_huxley", 6.0, 0.05)],
)
def test_what_a_predictor_sees_is_of_the_order_of_one(model, gain, dt):
    """A network that fires; in SI units the same states are below a tenth, or above a hundred."""
    network = bp.circuit("recurrent", cell=model, inputs=10, units=8, outputs=1, input_gain=gain, dt=dt * ms).build(
        1, "float64"
    )
    x = (torch.rand(300, 2, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64) < 0.2 * dt).double()
    stretch, _ = roll(network, network.start(2), x)
    layout = Layout(network)
    h = layout.vectors(stretch)[100:].flatten(0, 1)
    assert float(stretch.outputs(0, 0).sum()) > 5
    largest = h.abs().amax(0)
    states = sum(size for kind, _, _, size in layout.blocks if kind == "s")
    assert float(largest[:states].max()) < 12
    assert float(h[:, :states].std(0).max()) > 0.05
    assert float(largest[:8].min()) > 0.1  # membranes


def test_states_without_units_are_seen_as_they_are():
    network = bp.circuit("excitatory_inhibitory", cell="alif", inputs=2, units=10, outputs=1).build()
    assert not any(Layout(network).scales)
    assert [p.scale for p in network.populations] == [None, None]


# -- credit, by an independent loop --------------------------------------------------------------------------------------------------


class Spike(torch.autograd.Function):
    """1 above 0; the derivative is that of the e-prop papers."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return (x > 0).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return g[0] * DAMPENING * (1 - x.abs()).clamp_min(0)


def hand_step(W: dict[str, Tensor], h: Tensor, x: Tensor, free: Tensor, between: bool) -> Tensor:
    """h = (v_E, a_E, y_E, v_I, y_I, ȳ_E) → the same a step later, for one sample; v and a of E over 20 mV from −70 mV.

    ``free`` is 0 where E is refractory; ``between`` False cuts what neurons say to others.
    """
    nE, nI = 4, 2
    v, a, y, w, z, f = h.split([nE, nE, nE, nI, nI, nE])
    yE, zI = (y, z) if between else (y.detach(), z.detach())
    e = lambda tau: torch.exp(torch.tensor(-1.0 / tau, dtype=torch.float64))  # noqa: E731
    I_E, I_I = (W[f"W_in_{p}"] @ x + W[f"W_{p}E"] @ yE + W[f"W_{p}I"] @ zI for p in "EI")
    v, a = e(15) * v + (1 - e(15)) * I_E, e(40) * a
    y = free * Spike.apply(v - 1 - a)
    v, a = v - y.detach(), a + 0.3 * y  # 6 of 20 mV
    w = e(12) * w + (1 - e(12)) * I_I
    z = Spike.apply((w - 0.8) / 0.8)
    w = w - 0.8 * z.detach()
    return torch.cat([v, a, y, w, z, e(8) * f + (1 - e(8)) * y])


def by_hand(network: Network, rule: Any, own: Own, data: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Gradients of weights and predictor: the forward traces of BP(λ), and autograd where the past half cuts the graph."""
    s = rule.signal
    W = {n: w.clone().requires_grad_() for n, w in network.weights.items()}
    (T, B, _), H = data.inputs.shape, 20
    A, b = own["A"], own["b"]
    h, wait, total = torch.zeros(B, H, dtype=torch.float64), torch.zeros(B, 4), torch.zeros((), dtype=torch.float64)
    trace: dict[str, Tensor] = {}
    found = {"predictor.A": torch.zeros_like(A), "predictor.b": torch.zeros_like(b)}
    J_before = None
    for t in range(T):
        x = data.inputs[t]
        wait = (wait - 1).clamp_min(0)
        free = (wait == 0).double()
        old = h.detach()
        step = vmap(lambda a, c, d: hand_step(W, a, c, d, s.jacobian == "exact"))
        J = vmap(
            jacrev(lambda a, c, d: hand_step({n: w.detach() for n, w in W.items()}, a, c, d, s.jacobian == "exact"))
        )(old, x, free)
        if s.gives == "state":
            h = vmap(lambda a, c, d: hand_step(W, a, c, d, True))(old, x, free)
        else:
            h = vmap(lambda a, c, d: hand_step(W, a, c, d, False))(h, x, free)
        del step
        wait = wait + 2 * h[:, 8:12].detach()
        o = h[:, 16:] @ W["W_out"].T + W["b_out"]
        loss = (squared.value(o, data.targets[t]) * data.weight[t]).sum()
        q = torch.zeros_like(old)
        q[:, 16:] = (squared.error(o, data.targets[t]) * data.weight[t][:, None] @ W["W_out"]).detach()
        g = (h.detach() @ A.T + b) * (t < T - 1)
        told = slice(None) if s.gives == "state" else [*range(8, 12), *range(14, 16)]  # y alone
        total = total + loss + s.injection * (g[:, told] * h[:, told]).sum()
        eye = torch.eye(H, dtype=torch.float64)
        now = {"predictor.A": torch.einsum("ok,bm->bokm", eye, old), "predictor.b": eye.expand(B, H, H)}
        through = J_before if s.trace == "exact" or J_before is None else J_before
        for name, value in now.items():
            carried = 0 if t == 0 else s.discount * s.lmbda * torch.einsum("bpo,bo...->bp...", through, trace[name])
            trace[name] = value + carried
        delta = torch.einsum("bo,boh->bh", q + s.discount * g, J) - (old @ A.T + b)
        for name in found:
            found[name] = found[name] - torch.einsum("bo,bo...->...", delta, trace[name]) / B
        J_before = J
    gradients = torch.autograd.grad(total / B, list(W.values()))
    return {n: g * network.masks.get(n, 1) for n, g in zip(W, gradients, strict=True)}, found


@pytest.mark.parametrize(
    "options",
    [
        {"trace": "local", "jacobian": "within", "eligibility": "eprop"},
        {"trace": "exact", "jacobian": "exact", "eligibility": "eprop"},
        {"trace": "exact", "jacobian": "exact", "eligibility": "immediate"},
    ],
    ids=str,
)
def test_predicted_credit_in_a_spiking_cortex_is_that_of_a_loop_by_hand(options):
    """Excitatory adaptive neurons in volts, inhibitory ones without unit, a leaky readout: step by step, in windows, and as one."""
    network, data = mixed(in_volts()), batch(40, 3, 5, 2)
    rule = bp.rule("bp_lambda", lmbda=0.8, discount=0.9, injection=0.7, **options)
    own = drawn(network)
    expected, of_g = by_hand(network, rule, own["predictor"], data)
    plain = sequence(network, bp.rule("eprop"), {}, data, squared)
    assert all(rate > 0.02 for rate in plain.rates.values())
    for schedule in (Online(), Window(7), Window()):
        outcome = sequence(network, replace(rule, schedule=schedule), own, data, squared)
        same(outcome.gradients, expected)
        same(outcome.own, of_g)
    for name in ("W_EE", "W_EI", "W_IE", "W_II", "W_in_E", "W_in_I"):
        assert float(expected[name].abs().max()) > 1e-6, name
        assert float((expected[name] - plain.gradients[name]).abs().max()) > 1e-6, name


@pytest.mark.parametrize("model", ("lif", "alif", "lsnn_lif", "lsnn_alif", "adex", "coba", "cuba"))
def test_eprops_traces_meet_predictions_in_every_spiking_cortex(model):
    """Excitatory and inhibitory neurons, step by step as in one sweep, and away from e-prop alone."""
    drive = {"lif": 6.0, "alif": 6.0, "lsnn_lif": 0.6, "lsnn_alif": 0.6, "adex": 30.0, "coba": 1.0, "cuba": 5.0}[model]
    made: dict[str, Any] = {
        "inputs": 5,
        "units": 10,
        "outputs": 2,
        "tau_out": 10 * ms,
        "input_gain": drive,
        "gain": drive / 6,
    }
    network = bp.circuit("cortico_cerebellar", cortex="excitatory_inhibitory", cell=model, **made).build(2, "float64")
    data, own = batch(60, 3, 5, 2), drawn(network)
    rule = bp.rule("bp_lambda", lmbda=0.7, discount=0.95, trace="local", jacobian="within", eligibility="eprop")
    first, other = (
        sequence(network, replace(rule, schedule=each), own, data, squared) for each in (Online(), Window())
    )
    assert all(0.005 < rate < 0.6 for rate in first.rates.values()), first.rates
    same({**first.gradients, **first.own}, {**other.gradients, **other.own}, 1e-9)
    plain = sequence(network, bp.rule("eprop"), {}, data, squared).gradients
    assert all(bool((first.gradients[n] - plain[n]).any()) for n in plain if n.startswith("W_") and n != "W_out")


def test_within_neurons_no_output_has_a_future():
    """With D for J the predictor's part for outputs is asked for nothing but zero, and e-prop with its signal is e-prop, update for update."""
    found = {}
    for name, options in {
        "eprop": None,
        "within": {"jacobian": "within"},
        "exact": {"jacobian": "exact"},
        "random": {"jacobian": "random"},
    }.items():
        more: Any = options and {"trace": "local", "eligibility": "eprop", **options}
        rule = bp.rule("bp_lambda", **more) if more else bp.rule("eprop")
        task = bp.task("pattern_generation", steps=40, inputs=8, outputs=1)
        circuit = bp.circuit(
            "recurrent", cell="alif", inputs=8, units=10, outputs=1, input_gain=16.0, gain=3.0, tau_out=20 * ms
        )
        trainer = bp.Trainer(circuit, task, rule, bp.Training(batch=4, dtype="float64", lr=1e-2), seed=2)
        assert all(trainer.update()["rate"] > 5 for _ in range(8))
        found[name] = trainer.network.weights
    same(found["within"], found["eprop"], 1e-12)
    for name in ("exact", "random"):
        assert float((found[name]["W_rec"] - found["eprop"]["W_rec"]).abs().max()) > 1e-4


# -- any circuit as a cortex ---------------------------------------------------------------------------------------------------------


def test_any_circuit_is_a_cortex():
    sizes: dict[str, Any] = {"cell": "lif", "inputs": 3, "units": 10, "outputs": 2}
    for name in ("recurrent", "excitatory_inhibitory"):
        alone = bp.circuit(name, **sizes)
        for one in (
            bp.circuit("cortico_cerebellar", cortex=name, cerebellum="mlp", hidden=(7,), **sizes),
            bp.circuit("cortico_cerebellar", cortex=alone, cerebellum="mlp", hidden=(7,)),
        ):
            assert isinstance(one, Circuit)
            assert one.cerebellum == bp.predictor("mlp", hidden=(7,))
            told = one.describe()
            assert {**told, "cerebellum": None, "name": name} == {**alone.describe(), "name": name}
            a, b = one.build(4), alone.build(4)
            assert all(torch.equal(a.weights[n], b.weights[n]) for n in b.weights)
    brunel = bp.circuit(
        "cortico_cerebellar", cortex=bp.circuit("brunel", excitatory=40, inputs=2, outputs=1), name="balanced"
    )
    assert brunel.name == "balanced"
    assert brunel.cerebellum == bp.predictor("linear")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cortex": bp.circuit("recurrent", cell="lif", inputs=1, units=2, outputs=1), "cell": "lif"}, "cell of it would have to be said where it is made"),
        ({"cortex": 3}, "cortex of cortico_cerebellar is 3"),
        ({"cortex": "excitatory_inhibitory", "cell": "lif", "inputs": 1, "units": 8, "outputs": 1, "fan": 2}, "fan"),
        ({"cortex": "nowhere"}, "nowhere"),
    ],
)  # fmt: skip
def test_no_cortex(options, said):
    with pytest.raises(BioplausError, match=said) as error:
        bp.circuit("cortico_cerebellar", **options)
    paragraph(error)
