"""Circuits: masks, signs, delays, several kinds of cells, the carried state, and what is refused."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from rule_helpers import Case, case, dale, masks_hold, normal, off, paragraph, random, same, two_populations

import bioplaus as bp
from bioplaus import Trainer, Training, ms, mV
from bioplaus.check import by_hand
from bioplaus.circuit import Circuit, Network, Population, Projection, Readout
from bioplaus.circuit.carried import Layout
from bioplaus.circuit.tangent import Tangent
from bioplaus.circuit.trajectory import roll
from bioplaus.errors import CircuitError
from bioplaus.learning.sequence import sequence
from bioplaus.own import tensors
from bioplaus.rules import Rule
from bioplaus.tasks import Batch, squared

# -- structure ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", (dale, two_populations, lambda: case("alif", tau=10 * ms), lambda: case("lif", fan_in=2))
)
def test_masks_and_signs_hold(make):
    masks_hold(make())


def test_sparse_fan_in_is_exact_and_without_autapses():
    network = bp.circuit("recurrent", cell=bp.model("lif"), inputs=3, units=40, outputs=1, fan_in=7).build(seed=2)
    W = network.weights["W_rec"]
    assert bool(((W != 0).sum(1) == 7).all()) and not bool(W.diagonal().any())
    assert len({tuple(row.nonzero().flatten().tolist()) for row in W}) > 30, "every neuron draws its own sources"
    own = bp.circuit("recurrent", cell=bp.model("elman"), inputs=3, units=40, outputs=1, fan_in=7).build(seed=2)
    assert bool(((own.weights["W_rec"] != 0).sum(1) == 7).all()) and bool(own.weights["W_rec"].diagonal().any())
    gated = bp.circuit(
        "recurrent", cell=bp.model("lstm"), inputs=3, units=10, outputs=1, fan_in=4, autapses=False
    ).build()
    mask = gated.masks["W_rec"].view(4, 10, 10)
    assert bool((mask == mask[0]).all()) and bool((mask.sum(-1) == 4).all()), (
        "all gates of a neuron hear the same neurons"
    )
    assert torch.equal(gated.weights["W_rec"] != 0, gated.masks["W_rec"] != 0)


def test_dales_law_survives_training():
    task = bp.task("pattern_generation", steps=60, inputs=8)
    circuit = bp.circuit(
        "excitatory_inhibitory",
        cell=bp.model("lif"),
        inputs=8,
        units=20,
        outputs=1,
        fan_in=0.5,
        input_gain=40.0,
        gain=2.0,
        tau_out=10 * ms,
    )
    trainer = Trainer(
        circuit, task, bp.rule("eprop"), Training(batch=1, lr=0.3, rate_target=100.0, rate_strength=50.0), seed=3
    )
    before = {n: w.clone() for n, w in trainer.network.weights.items()}
    rows = [trainer.update() for _ in range(8)]
    assert min(row["rate"] for row in rows) > 0
    flipped = 0
    for name, sign in {"W_EE": 1, "W_IE": 1, "W_EI": -1, "W_II": -1}.items():
        W = trainer.network.weights[name]
        assert bool((W * sign >= 0).all())
        assert bool((W[trainer.network.masks[name] == 0] == 0).all())
        flipped += int(((W == 0) & (before[name] != 0)).sum())
    assert not torch.equal(trainer.network.weights["W_EE"], before["W_EE"])
    assert flipped > 0, "the step was too small to test anything: no weight reached zero"


def test_balance_and_initial_distributions():
    network = bp.circuit(
        "excitatory_inhibitory", cell=bp.model("elman"), inputs=4, units=500, outputs=1, fan_in=0.5, gain=2.0
    ).build(dtype=torch.float64)
    E, I = network.weights["W_EE"], network.weights["W_EI"]
    assert E.shape == (400, 400) and I.shape == (400, 100)
    assert float(E.sum(1).mean()) == pytest.approx(2.0, rel=0.02)
    assert float(I.sum(1).mean()) == pytest.approx(-2.0, rel=0.05), "balance 1: inhibition cancels excitation"
    present = E[E != 0]
    assert float(present.std() / present.mean()) == pytest.approx(2**-0.5, rel=0.02), "gamma of shape 2"
    for init, spread in {"normal": 1.0, "uniform": 3**-0.5}.items():
        W = (
            bp.circuit("recurrent", cell=bp.model("elman"), inputs=4, units=400, outputs=1, init=init, gain=1.5)
            .build(dtype=torch.float64)
            .weights["W_rec"]
        )
        assert float(W.std()) * 20 == pytest.approx(1.5 * spread, rel=0.02)
    assert not bool(
        bp.circuit("recurrent", cell=bp.model("elman"), inputs=4, units=9, outputs=1, init="zeros")
        .build()
        .weights["W_rec"]
        .any()
    )


def test_orthogonal_weights_pass_all_directions_on_alike():
    """Wᵀ W = gain², channel by channel; W Wᵀ too where W is square; never the same matrix twice, nor one with a preference."""
    circuits = {
        "elman": bp.circuit(
            "recurrent", cell=bp.model("elman"), inputs=4, units=9, outputs=2, init="orthogonal", gain=1.5
        ),
        "lstm": bp.circuit(
            "recurrent", cell=bp.model("lstm"), inputs=12, units=9, outputs=2, init="orthogonal", gain=1.5
        ),
    }
    eye = torch.eye(9, dtype=torch.float64)
    for name, circuit in circuits.items():
        first, other = (circuit.build(seed=seed, dtype=torch.float64).weights for seed in (0, 1))
        assert not torch.allclose(first["W_rec"], other["W_rec"])
        for W in first["W_rec"].view(-1, 9, 9):
            torch.testing.assert_close(W @ W.T, 1.5**2 * eye, rtol=0, atol=1e-13)
        for W in first["W_in"].view(-1, 9, circuit.inputs):  # 9 × 4: columns; 9 × 12: rows
            product = W.T @ W if name == "elman" else W @ W.T
            torch.testing.assert_close(product, eye[: len(product), : len(product)], rtol=0, atol=1e-13)
    gates = circuits["lstm"].build(dtype=torch.float64).weights["W_rec"].view(4, 9, 9)
    assert not torch.allclose(gates[0], gates[1])
    drawn = torch.stack([circuits["elman"].build(seed, torch.float64).weights["W_rec"] for seed in range(400)])
    assert float(drawn.mean(0).abs().max()) < 0.15, "uniform over all of them: each entry as often negative as positive"


@pytest.mark.parametrize("delay", (1, 2, 5))
def test_a_pulse_arrives_after_its_delay(delay):
    """Neuron 0 is driven at step 3; neuron 1, which hears it alone, moves ``delay`` steps later and not before."""
    circuit = Circuit(
        populations={"a": Population(bp.model("elman"), 1), "b": Population(bp.model("elman"), 1)},
        projections=(
            Projection(name="in", source="input", target="a"),
            Projection(name="ba", source="a", target="b", delay=delay),
        ),
        inputs=1,
        readout=Readout(size=1, sources=("b",), bias=False),
    )
    network = circuit.build(dtype=torch.float64)
    network.load({"in": [[2.0]], "ba": [[0.5]], "W_out": [[1.0]]})
    x = torch.zeros(12, 1, 1, dtype=torch.float64)
    x[3] = 1.0
    window, _ = roll(network, network.start(1), x)
    expected = torch.zeros(12, dtype=torch.float64)
    expected[3 + delay] = np.tanh(0.5 * np.tanh(2.0))
    torch.testing.assert_close(window.spikes(1).flatten(), expected, rtol=1e-15, atol=0)
    torch.testing.assert_close(network.output(window.seen()).flatten(), expected, rtol=1e-15, atol=0)


def test_a_leaky_readout_and_refractory_neurons():
    network = bp.circuit(
        "recurrent",
        cell=bp.model("lsnn_lif", refractory=4),
        inputs=1,
        units=1,
        outputs=1,
        tau_out=5 * ms,
        output_bias=False,
    ).build(dtype=torch.float64)
    network.load({"W_in": [[1.0]], "W_out": [[2.0]]})
    window, _ = roll(network, network.start(1), torch.ones(13, 1, 1, dtype=torch.float64))
    spikes = [1.0 if t % 4 == 0 else 0.0 for t in range(13)]  # driven always: a spike, three silent steps, a spike
    assert window.spikes(0).flatten().tolist() == spikes
    kappa, seen, o = np.exp(-1 / 5), 0.0, []
    for z in spikes:
        seen = kappa * seen + (1 - kappa) * z
        o.append(2 * seen)
    np.testing.assert_allclose(network.output(window.seen()).flatten().numpy(), o, rtol=1e-13)


def test_channels_have_rows_of_their_own():
    """GRU: external input reaches r, z and n, recurrent input r, z and h; a projection may choose fewer."""
    network = bp.circuit("recurrent", cell=bp.model("gru"), inputs=3, units=2, outputs=1).build()
    assert (
        network.weights["W_in"].shape == (6, 3)
        and network.weights["W_rec"].shape == (6, 2)
        and network.weights["b"].shape == (8,)
    )
    one = Circuit(
        populations={"a": Population(bp.model("lstm"), 2, {"I_f": 1.0})},
        inputs=3,
        readout=Readout(size=1),
        projections=(Projection(name="in", source="input", target="a", channels=("I_g",)),),
    )
    network = one.build(dtype=torch.float64)
    assert network.weights["in"].shape == (2, 3) and network.weights["b"].tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    (drive,) = network.drive(normal(1, 1, 3))
    assert (
        bool((drive.view(4, 2)[[0, 3]] == 0).all())
        and bool((drive.view(4, 2)[1] == 1).all())
        and bool(drive.view(4, 2)[2].all())
    )


def test_weights_depend_on_the_seed_alone():
    circuit = bp.circuit("recurrent", cell=bp.model("alif"), inputs=3, units=6, outputs=2, fan_in=3)
    a, b, other = circuit.build(seed=1), circuit.build(seed=1), circuit.build(seed=2)
    assert all(torch.equal(a.weights[n], b.weights[n]) for n in a.weights)
    assert not torch.equal(a.weights["W_rec"], other.weights["W_rec"])
    exact = circuit.build(seed=1, dtype=torch.float64)
    assert all(torch.equal(exact.weights[n].float(), a.weights[n]) for n in a.weights)


# -- the carried state --------------------------------------------------------------------------------------------------


def test_the_carried_state_is_what_the_future_needs_and_no_more():
    """Its size, block by block; and a run continued from it alone is the same run."""
    sizes = {"elman": 5, "leaky_rate": 10, "lstm": 10, "gru": 5, "lif": 10, "alif": 15, "adex": 15}
    for model, size in sizes.items():
        c = case(model)
        assert Layout(c.network).size == size, model
        assert Layout(case(model, tau=10 * ms, delay=3, steps=12).network).size == size + 5 + 10
    c = two_populations()
    x = c.batch.inputs
    first, state = roll(c.network, c.network.start(c.batch.size), x[:13])
    second, _ = roll(c.network, state, x[13:])
    for i in range(2):
        torch.testing.assert_close(
            torch.cat([first.spikes(i), second.spikes(i)]), c.window.spikes(i), rtol=1e-12, atol=1e-13
        )


def test_credit_there_and_back():
    c = two_populations()
    layout, v = Layout(c.network), normal(3, Layout(c.network).size)
    torch.testing.assert_close(layout.flat(layout.credit(v), v), v, rtol=0, atol=0)
    one = Tangent(c.network, c.window).each()[5]
    J = layout.jacobian(one)
    torch.testing.assert_close(layout.back(one, v), torch.einsum("bo,boh->bh", v, J), rtol=1e-12, atol=1e-13)


# -- refusals -----------------------------------------------------------------------------------------------------------


def parts(**changes: Any) -> dict[str, Any]:
    options: dict[str, Any] = {
        "populations": {"a": Population(bp.model("lif"), 4)},
        "projections": (Projection(name="W", source="a", target="a"),),
        "inputs": 2,
        "readout": Readout(size=1),
    }
    return options | changes


def one(**changes: Any) -> dict[str, Any]:
    """A circuit's parts with one projection, changed."""
    options: dict[str, Any] = {"name": "W", "source": "a", "target": "a"} | changes
    return {"projections": (Projection(**options),)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (lambda: one(source="b"), ("'b'", "a")),
        (lambda: one(target="c"), ("'c'", "target")),
        (lambda: one(channels=("J",)), ("J", "I")),
        (lambda: one(delay=0), ("delay", "W", "1")),
        (lambda: one(source="input", delay=2), ("delay", "external")),
        (lambda: one(sign=2), ("sign", "W", "2")),
        (lambda: one(fan_in=9), ("fan_in=9", "4")),
        (lambda: one(fan_in=4, autapses=False), ("fan_in=4", "3")),
        (lambda: one(init="gausian"), ("gausian", "normal")),
        (lambda: one(init="orthogonal", fan_in=2), ("orthogonal", "fan_in")),
        (lambda: one(init="orthogonal", autapses=False), ("orthogonal", "autapses")),
        (lambda: one(init="orthogonal", sign=1), ("orthogonal", "sign")),
        (lambda: one(name="W_out"), ("W_out", "differently")),
        (lambda: {"projections": one()["projections"] * 2}, ("W", "differently")),
        (lambda: {"populations": {"a": Population(bp.model("lif"), 4, {})}, **one(name="b")}, ("b", "bias")),
        (lambda: {"populations": {"a": Population(bp.model("lif"), 0)}}, ("size", "0")),
        (lambda: {"populations": {"a": Population(bp.model("lif"), 4, {"J": 1.0})}}, ("bias", "J", "I")),
        (lambda: {"populations": {"input": Population(bp.model("lif"), 4)}}, ("'input'", "external")),
        (lambda: {"inputs": -1}, ("inputs", "-1")),
        (lambda: {"dt": 0.0}, ("dt", "ms")),
        (lambda: {"dt": 1 * mV}, ("dt", "1. mV", "time")),
        (lambda: {"readout": Readout(size=0)}, ("readout", "0")),
        (lambda: {"readout": Readout(size=1, tau=-1 * ms)}, ("readout", "ms")),
        (lambda: {"readout": Readout(size=1, tau=5 * mV)}, ("readout", "mV", "time")),
        (lambda: {"readout": Readout(size=1, sources=("z",))}, ("'z'", "readout")),
        (lambda: {"readout": Readout(size=1, sources=("a", "a"))}, ("sources", "different")),
    ],
)  # fmt: skip
def test_impossible_circuits(changes, words):
    with pytest.raises(CircuitError) as error:
        Circuit(**parts(**changes()))
    text = paragraph(error)
    assert all(word in text for word in words), text


NONSENSE = (
    "x",
    "",
    None,
    -1,
    0,
    2.5,
    float("nan"),
    float("inf"),
    True,
    [],
    (),
    {},
    object(),
    (0,),
    ("a",),
    [[1]],
    3 * mV,
)


@pytest.mark.parametrize("what", (Projection, Population, Readout, Circuit))
def test_every_field_given_nonsense_is_refused_or_works(what):
    """Never another error than ours, and never later than the description."""
    cell = bp.model("lif", refractory=0 * ms)  # at any dt
    good: dict[Any, dict[str, Any]] = {
        Projection: {"name": "W", "source": "a", "target": "a"},
        Population: {"cell": cell, "size": 4},
        Readout: {"size": 1},
        Circuit: parts(populations={"a": Population(cell, 4)}),
    }
    refused = 0
    for name in inspect.signature(what).parameters:
        for value in NONSENSE:
            try:
                made = what(**(good[what] | {name: value}))
                field = {
                    Projection: {"projections": (made,)},
                    Population: {"populations": {"a": made}},
                    Readout: {"readout": made},
                }.get(what)
                circuit = made if field is None else Circuit(**(good[Circuit] | field))
            except CircuitError as error:
                assert len(str(error).split()) > 6 and "\n" not in str(error)
                refused += 1
                continue
            network = circuit.build()
            x = torch.ones(4, 2, circuit.inputs)
            bp.gradient(network, bp.rule("eprop"), Batch(x, torch.zeros(4, 2, circuit.readout.size), torch.ones(4, 2)))
    assert refused > 30, refused


def test_weights_that_do_not_fit():
    network = Circuit(**parts()).build()
    before = network.weights["W"].clone()
    for given, words in (
        ({"V": before}, ("'V'", "W_out")),
        ({"W": before[:2]}, ("(2, 4)", "(4, 4)")),
        ({"W_out": torch.zeros(1, 4), "W": before * float("nan")}, ("W", "finite")),
    ):
        with pytest.raises(CircuitError) as error:
            network.load(given)
        assert all(word in paragraph(error) for word in words)
    assert torch.equal(network.weights["W"], before), "nothing is changed by a load that is refused"


def test_inputs_that_do_not_fit():
    circuit = Circuit(**parts())
    for x, word in (
        (np.zeros((5, 2, 3)), "(time, batch, 2)"),
        (np.zeros(7), "time"),
        (np.full((3, 1, 2), np.nan), "finite"),
        (np.zeros((0, 1, 2)), "time"),
    ):
        with pytest.raises(CircuitError) as error:
            bp.simulate(circuit, x)
        assert word in paragraph(error)
    with pytest.raises(CircuitError, match="spikes"):
        bp.simulate(circuit, np.zeros((5, 2)), record=("spike",))


# -- forward in time, the same everywhere -------------------------------------------------------------------------------------


def test_simulate_labels_what_it_records():
    c = two_populations("adex", "lif", tau=None)
    data = bp.simulate(c.network, c.batch.inputs, record=("v", "w", "spikes"))
    assert set(data.data_vars) == {"a.v", "a.w", "a.spikes", "b.v", "b.spikes", "input", "output"}
    assert (
        data["a.v"].dims == ("time", "batch", "unit_a")
        and data["a.v"].attrs["units"] == "volt"
        and data["a.w"].attrs["units"] == "amp"
    )
    assert data["time"].attrs["units"] == "ms" and float(data["time"][3]) == 3.0
    _, sent = by_hand.run(c.network.circuit, c.network.weights, c.batch.inputs)
    for name, y in sent.items():
        np.testing.assert_array_equal(data[f"{name}.spikes"].values, y.numpy())
    assert -0.1 < float(data["a.v"].mean()) < -0.03


def test_one_population_without_recurrence_or_input():
    """Corners: no recurrent weights at all; no external input, driven by a bias."""
    alone = Circuit(
        populations={"a": Population(bp.model("lif"), 3)},
        inputs=2,
        readout=Readout(size=1),
        projections=(Projection(name="in", source="input", target="a", gain=9.0),),
    )
    network = alone.build(dtype=torch.float64)
    network.weights["in"].abs_()
    c = Case(network, Batch(random(20, 2, 2), normal(20, 2, 1), torch.ones(20, 2, dtype=torch.float64))).alive()
    for name in ("bptt", "rtrl", "eprop"):
        same(c.gradients(bp.rule(name)), c.true)
    humming = Circuit(
        populations={"a": Population(bp.model("lif"), 3, {"I": 2.0})},
        inputs=0,
        readout=Readout(size=1),
        projections=(Projection(name="W", source="a", target="a"),),
    )
    network = humming.build(dtype=torch.float64)
    c = Case(
        network,
        Batch(torch.zeros(20, 2, 0, dtype=torch.float64), normal(20, 2, 1), torch.ones(20, 2, dtype=torch.float64)),
    ).alive()
    for name in ("bptt", "rtrl"):
        same(c.gradients(bp.rule(name)), c.true)
    assert off(c.gradients(bp.rule("eprop")), c.true) > 1e-3


def test_float32_follows_float64():
    for model in ("lif", "lstm", "adex"):
        c = case(model, tau=10 * ms)
        network = c.network.circuit.build(seed=1, dtype=torch.float32)
        network.load(c.network.weights)
        for name in ("bptt", "eprop", "rtrl"):
            g = sequence(network, bp.rule(name), {}, c.batch.to(dtype=torch.float32), squared).gradients
            same({n: v.double() for n, v in g.items()}, c.gradients(bp.rule(name)), 1e-3)


def test_a_network_is_not_changed_by_looking_at_it():
    c = case("alif", tau=10 * ms)
    before = {n: w.clone() for n, w in c.network.weights.items()}
    for name in ("bptt", "tbptt", "rtrl", "eprop", "rflo", "dni", "bp_lambda"):
        rule: Rule = bp.rule(name)
        own = rule.signal.begin(c.network, torch.Generator(), 0)
        kept = {n: v.clone() for n, v in tensors(own).items()}
        c.outcome(rule, own)
        assert all(torch.equal(v, kept[n]) for n, v in tensors(own).items())
    assert isinstance(c.network, Network) and all(torch.equal(w, before[n]) for n, w in c.network.weights.items())


@pytest.mark.parametrize("cell", [None, 3, [None], bp.model])
@pytest.mark.parametrize("name", ["recurrent", "excitatory_inhibitory"])
def test_what_is_no_cell_is_refused_by_the_shipped_circuits(name, cell):
    with pytest.raises(CircuitError, match="The cell of a circuit is .*; it must be of class Cell, such as bp.model"):
        bp.circuit(name, cell=cell, inputs=2, units=10, outputs=1)


@pytest.mark.parametrize("fraction", [None, "most", float("nan"), 0, 1, -0.5])
def test_what_is_no_fraction_is_refused(fraction):
    with pytest.raises(CircuitError, match="fraction of excitatory_inhibitory is .*above 0 and below 1"):
        bp.circuit("excitatory_inhibitory", cell=bp.model("lif"), inputs=2, units=10, outputs=1, fraction=fraction)
