"""Circuits: masks, signs, delays, several kinds of cells, the carried state; and learners built on them."""

from __future__ import annotations

import copy
import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from rule_helpers import TIGHT, Case, case, dale, masks_hold, normal, off, random, same, two_populations
from torch import Tensor

import bioplaus as bp
from bioplaus import Trainer, Training, ms, mV
from bioplaus.check import by_hand
from bioplaus.circuit import Circuit, Network, Population, Projection, Readout
from bioplaus.circuit.carried import Layout
from bioplaus.circuit.linear import Linear, roll
from bioplaus.errors import CircuitError, NumericalError, RuleError, RunError, TaskError
from bioplaus.rules import Rule
from bioplaus.schedule import sequence
from bioplaus.tasks import Batch, Task, cross_entropy, squared


def paragraph(error: pytest.ExceptionInfo[Any]) -> str:
    """The message of an error: prose on one line."""
    text = str(error.value)
    assert "\n" not in text and text.endswith((".", "?")) and len(text.split()) > 6, text
    return text


# -- structure ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", (dale, two_populations, lambda: case("alif", tau=10 * ms), lambda: case("lif", fan_in=2)))
def test_masks_and_signs_hold(make):
    masks_hold(make())


def test_sparse_fan_in_is_exact_and_without_autapses():
    network = bp.circuit("recurrent", cell=bp.model("lif"), inputs=3, units=40, outputs=1, fan_in=7).build(seed=2)
    W = network.weights["W_rec"]
    assert bool(((W != 0).sum(1) == 7).all()) and not bool(W.diagonal().any())
    assert len({tuple(row.nonzero().flatten().tolist()) for row in W}) > 30, "every neuron draws its own sources"
    own = bp.circuit("recurrent", cell=bp.model("elman"), inputs=3, units=40, outputs=1, fan_in=7).build(seed=2)
    assert bool(((own.weights["W_rec"] != 0).sum(1) == 7).all()) and bool(own.weights["W_rec"].diagonal().any())
    gated = bp.circuit("recurrent", cell=bp.model("lstm"), inputs=3, units=10, outputs=1, fan_in=4, autapses=False).build()
    mask = gated.masks["W_rec"].view(4, 10, 10)
    assert bool((mask == mask[0]).all()) and bool((mask.sum(-1) == 4).all()), "all gates of a neuron hear the same neurons"
    assert torch.equal(gated.weights["W_rec"] != 0, gated.masks["W_rec"] != 0)


def test_dales_law_survives_training():
    task = bp.task("pattern_generation", steps=60, inputs=8)
    circuit = bp.circuit("excitatory_inhibitory", cell=bp.model("lif"), inputs=8, units=20, outputs=1, fan_in=0.5, input_gain=40.0, gain=2.0, tau_out=10 * ms)
    trainer = Trainer(circuit, task, bp.rule("eprop"), Training(batch=1, lr=0.3, rate_target=100.0, rate_strength=50.0), seed=3)
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
    network = bp.circuit("excitatory_inhibitory", cell=bp.model("elman"), inputs=4, units=500, outputs=1, fan_in=0.5, gain=2.0).build(dtype=torch.float64)
    E, I = network.weights["W_EE"], network.weights["W_EI"]
    assert E.shape == (400, 400) and I.shape == (400, 100)
    assert float(E.sum(1).mean()) == pytest.approx(2.0, rel=0.02)
    assert float(I.sum(1).mean()) == pytest.approx(-2.0, rel=0.05), "balance 1: inhibition cancels excitation"
    present = E[E != 0]
    assert float(present.std() / present.mean()) == pytest.approx(2**-0.5, rel=0.02), "gamma of shape 2"
    for init, spread in {"normal": 1.0, "uniform": 3**-0.5}.items():
        W = bp.circuit("recurrent", cell=bp.model("elman"), inputs=4, units=400, outputs=1, init=init, gain=1.5).build(dtype=torch.float64).weights["W_rec"]
        assert float(W.std()) * 20 == pytest.approx(1.5 * spread, rel=0.02)
    assert not bool(bp.circuit("recurrent", cell=bp.model("elman"), inputs=4, units=9, outputs=1, init="zeros").build().weights["W_rec"].any())


@pytest.mark.parametrize("delay", (1, 2, 5))
def test_a_pulse_arrives_after_its_delay(delay):
    """Neuron 0 is driven at step 3; neuron 1, which hears it alone, moves ``delay`` steps later and not before."""
    circuit = Circuit(
        populations={"a": Population(bp.model("elman"), 1), "b": Population(bp.model("elman"), 1)},
        projections=(Projection(name="in", source="input", target="a"), Projection(name="ba", source="a", target="b", delay=delay)),
        inputs=1, readout=Readout(size=1, sources=("b",), bias=False),
    )  # fmt: skip
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
    network = bp.circuit("recurrent", cell=bp.model("lsnn_lif", refractory=4), inputs=1, units=1, outputs=1, tau_out=5 * ms, output_bias=False).build(dtype=torch.float64)
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
    assert network.weights["W_in"].shape == (6, 3) and network.weights["W_rec"].shape == (6, 2) and network.weights["b"].shape == (8,)
    one = Circuit(
        populations={"a": Population(bp.model("lstm"), 2, {"I_f": 1.0})}, inputs=3, readout=Readout(size=1),
        projections=(Projection(name="in", source="input", target="a", channels=("I_g",)),),
    )  # fmt: skip
    network = one.build(dtype=torch.float64)
    assert network.weights["in"].shape == (2, 3) and network.weights["b"].tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    (drive,) = network.drive(normal(1, 1, 3))
    assert bool((drive.view(4, 2)[[0, 3]] == 0).all()) and bool((drive.view(4, 2)[1] == 1).all()) and bool(drive.view(4, 2)[2].all())


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
        torch.testing.assert_close(torch.cat([first.spikes(i), second.spikes(i)]), c.window.spikes(i), rtol=1e-12, atol=1e-13)


def test_credit_there_and_back():
    c = two_populations()
    layout, v = Layout(c.network), normal(3, Layout(c.network).size)
    torch.testing.assert_close(layout.flat(layout.credit(v), v), v, rtol=0, atol=0)
    one = Linear(c.network, c.window).each()[5]
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
    return {"projections": (Projection(**({"name": "W", "source": "a", "target": "a"} | changes)),)}


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


NONSENSE = ("x", "", None, -1, 0, 2.5, float("nan"), float("inf"), True, [], (), {}, object(), (0,), ("a",), [[1]], 3 * mV)


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
                field = {Projection: {"projections": (made,)}, Population: {"populations": {"a": made}}, Readout: {"readout": made}}.get(what)
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
    for x, word in ((np.zeros((5, 2, 3)), "(time, batch, 2)"), (np.zeros(7), "time"), (np.full((3, 1, 2), np.nan), "finite"), (np.zeros((0, 1, 2)), "time")):
        with pytest.raises(CircuitError) as error:
            bp.simulate(circuit, x)
        assert word in paragraph(error)
    with pytest.raises(CircuitError, match="spikes"):
        bp.simulate(circuit, np.zeros((5, 2)), record=("spike",))


def test_a_task_that_does_not_fit():
    circuit = bp.circuit("recurrent", cell=bp.model("lif"), inputs=3, units=4, outputs=2)
    for task, words in (
        (bp.task("target_reaching"), ("10 inputs", "inputs=task.inputs")),
        (bp.task("pattern_generation", inputs=3, outputs=2, dt=2e-3), ("2 ms", "1 ms")),
    ):
        with pytest.raises(TaskError) as error:
            Trainer(circuit, task, bp.rule("eprop"))
        assert all(word in paragraph(error) for word in words), str(error.value)
    rates = bp.circuit("recurrent", cell=bp.model("elman"), inputs=10, units=4, outputs=2)
    Trainer(rates, bp.task("target_reaching"), bp.rule("bptt"))  # steps without a duration fit any circuit


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"inputs": torch.zeros(12, 3, 7)}, CircuitError, ("(12, 3, 7)", "4")),
        ({"inputs": torch.full((12, 3, 4), float("nan"))}, CircuitError, ("finite",)),
        ({"targets": torch.zeros(12, 3, 5)}, TaskError, ("(12, 3, 5)", "squared")),
        ({"targets": torch.zeros(11, 3, 2)}, TaskError, ("targets", "(11, 3, 2)", "12 steps of 3")),
        ({"weight": torch.ones(12)}, TaskError, ("weight", "(12,)", "12 steps of 3")),
        ({"weight": torch.ones(3, 12)}, TaskError, ("weight", "(3, 12)")),
    ],
)
def test_a_batch_that_does_not_fit(changes, error, words):
    good = {"inputs": torch.zeros(12, 3, 4), "targets": torch.zeros(12, 3, 2), "weight": torch.ones(12, 3)}
    with pytest.raises(error) as raised:
        bp.gradient(small(), bp.rule("eprop"), Batch(**(good | changes)))
    assert all(word in paragraph(raised) for word in words), str(raised.value)
    with pytest.raises(TaskError, match="Batch"):
        bp.gradient(small(), bp.rule("eprop"), (good["inputs"], good["targets"]))  # type: ignore[arg-type]


class Plain(Task):
    """Regression on noise, without context."""

    inputs, outputs, steps, loss = 4, 2, 12, squared

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> Batch:
        x = torch.rand(self.steps, size, 4, generator=generator)
        return Batch(x, torch.randn(self.steps, size, 2, generator=generator), torch.ones(self.steps, size))


class Steady(Plain):
    """Hold one output up and the other down."""

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> Batch:
        plain = super().batch(generator, size, split)
        return replace(plain, targets=torch.tensor([1.0, -1.0]).expand(self.steps, size, 2).contiguous())


class Labelled(Plain):
    """The same with classes, and the class as context."""

    loss = cross_entropy

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> Batch:
        plain = super().batch(generator, size, split)
        label = torch.randint(2, (size,), generator=generator)
        return Batch(plain.inputs, label.expand(self.steps, size).contiguous(), plain.weight, torch.nn.functional.one_hot(label, 2).float())


def small(model: str = "alif", **options: Any) -> Circuit:
    drive = {"alif": 15.0, "lif": 15.0}.get(model, 1.0)
    return bp.circuit("recurrent", cell=bp.model(model), inputs=4, units=6, outputs=2, tau_out=5 * ms if model in ("alif", "lif") else None, input_gain=drive, **options)


def test_context_that_is_not_there():
    with pytest.raises(RuleError) as error:
        Trainer(small("lstm"), Plain(), bp.rule("bp_lambda", context=True))
    assert "context" in paragraph(error) and "labels" in str(error.value)
    assert "td_error" in Trainer(small("lstm"), Labelled(), bp.rule("bp_lambda", context=True)).update()


# -- numerical trouble ---------------------------------------------------------------------------------------------------


class Poisoned(Plain):
    """One bad input, after the batch that is looked at beforehand."""

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> Batch:
        batch = super().batch(generator, size, split)
        self.drawn = getattr(self, "drawn", 0) + 1
        if self.drawn > 1:
            batch.inputs[7, 1, 2] = float("nan")
        return batch


@pytest.mark.parametrize("model", ("alif", "lstm", "adex"))
@pytest.mark.parametrize("rule", ("eprop", "bptt", "rtrl", "bp_lambda"))
@pytest.mark.parametrize("schedule", ("online", "window"))
def test_the_first_nan_stops_the_run_and_is_named(model, rule, schedule):
    if rule == "bptt" and schedule == "online":
        return
    options = {} if rule == "bptt" else {"schedule": schedule}
    trainer = Trainer(small(model), Poisoned(), bp.rule(rule, **options), Training(batch=3))
    before = {n: w.clone() for n, w in trainer.network.weights.items()}
    with pytest.raises(NumericalError) as error:
        trainer.update()
    text = paragraph(error)
    first = {"alif": "'v'", "lstm": "'c'", "adex": "'v'"}[model]
    assert "step 7" in text and first in text and "'cortex'" in text and "sample 1" in text, text
    assert all(torch.equal(w, before[n]) for n, w in trainer.network.weights.items()), "no weight was harmed"


@pytest.mark.parametrize("schedule", ("online", "window"))
def test_a_nan_in_a_population_that_the_readout_does_not_see(schedule):
    """Spikes hide a NaN: what is not a number is not above threshold. So every population is looked at."""
    circuit = Circuit(
        populations={"a": Population(bp.model("lif"), 3), "b": Population(bp.model("alif"), 3)},
        projections=(Projection(name="in_a", source="input", target="a"), Projection(name="in_b", source="input", target="b"), Projection(name="ab", source="b", target="a")),
        inputs=4, readout=Readout(size=2, sources=("a",)),
    )  # fmt: skip
    network = circuit.build(dtype=torch.float64)
    batch = Plain().batch(torch.Generator().manual_seed(0), 3).to(dtype=torch.float64)
    network.weights["in_b"][1, 2] = float("inf")
    batch.inputs[:, :, 2] = 0.0
    with pytest.raises(NumericalError, match="step 0: variable 'v' of population 'b'"):
        sequence(network, bp.rule("eprop", schedule=schedule), {}, batch, squared)


def test_a_diverging_run_says_so():
    trainer = Trainer(small("leaky_rate"), Plain(), bp.rule("bptt"), Training(optimiser="sgd", lr=1e30))
    with pytest.raises(NumericalError) as error:
        for _ in range(10):
            trainer.update()
    assert "learning rate" in paragraph(error)


# -- learners: constraints, feedback, checkpoints ----------------------------------------------------------------------------

RULES = {
    "bptt": lambda: bp.rule("bptt"),
    "eprop_random": lambda: bp.rule("eprop", feedback="random"),
    "eprop_adaptive": lambda: bp.rule("eprop", feedback="adaptive"),
    "rtrl": lambda: bp.rule("rtrl"),
    "bp_lambda": lambda: bp.rule("bp_lambda"),
    "bp_lambda_mlp_online": lambda: bp.rule("bp_lambda", lmbda=0.5, hidden=(5,), schedule="online"),
    "dni_context": lambda: bp.rule("dni", steps=3, context=True),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("apply", ("sequence", "window"))
def test_continuing_from_a_checkpoint_is_bit_equal(name, apply, tmp_path):
    training = Training(batch=3, lr=1e-2, apply=apply, align_every=2)

    def trainer(seed: int = 4) -> Trainer:
        return Trainer(small("alif" if "eprop" in name else "lstm", fan_in=4), Labelled(), RULES[name](), training, seed=seed)

    straight = trainer()
    rows = [straight.update() for _ in range(6)]
    broken = trainer()
    for _ in range(3):
        broken.update()
    torch.save(broken.state_dict(), tmp_path / "checkpoint.pt")
    broken.update()  # what happens after saving must not reach into the file
    resumed = trainer(seed=99)  # everything that differs comes from the checkpoint
    resumed.load_state_dict(torch.load(tmp_path / "checkpoint.pt", weights_only=True))
    again = [resumed.update() for _ in range(3)]
    for row, other in zip(rows[3:], again, strict=True):
        assert row | {"seconds": 0} == other | {"seconds": 0}
    for mine, theirs in ((straight.network.weights, resumed.network.weights), (straight.theta, resumed.theta), (straight.network.masks, resumed.network.masks)):
        assert set(mine) == set(theirs) and all(torch.equal(mine[n], theirs[n]) for n in mine)
    assert straight.evaluate()["test_loss"] == resumed.evaluate()["test_loss"]


def test_a_state_is_a_copy():
    trainer = Trainer(small("lstm"), Plain(), bp.rule("bp_lambda"), Training(batch=2))
    trainer.update()
    state = trainer.state_dict()
    kept = copy.deepcopy(state)
    trainer.update()

    def equal(a: Any, b: Any) -> bool:
        if isinstance(a, Tensor):
            return torch.equal(a, b)
        if isinstance(a, dict):
            return set(a) == set(b) and all(equal(a[k], b[k]) for k in a)
        if isinstance(a, (list, tuple)):
            return len(a) == len(b) and all(map(equal, a, b))
        return a == b

    assert equal(state, kept)


def test_a_checkpoint_of_something_else_is_refused():
    a = Trainer(small("lstm"), Plain(), bp.rule("bp_lambda"), Training(batch=2))
    a.update()
    for other in (Trainer(small("gru"), Plain(), bp.rule("bp_lambda"), Training(batch=2)), Trainer(small("lstm"), Plain(), bp.rule("bptt"), Training(batch=2))):
        before = {n: w.clone() for n, w in other.network.weights.items()}
        with pytest.raises(RunError) as error:
            other.load_state_dict(a.state_dict())
        assert "another configuration" in paragraph(error)
        assert all(torch.equal(w, before[n]) for n, w in other.network.weights.items()), "half a checkpoint was loaded"
    for nonsense in ({}, {"weights": {}}, {"weights": 3}):
        with pytest.raises(RunError, match="checkpoint"):
            a.load_state_dict(nonsense)


@pytest.mark.parametrize("optimiser", ("sgd", "adam"))
def test_adaptive_feedback_becomes_the_readout(optimiser):
    """B and C get the same updates and both forget: their difference shrinks by 1 − decay at every update."""
    decay = 0.05
    trainer = Trainer(small("lstm", output_bias=False), Steady(), bp.rule("eprop", feedback="adaptive", decay=decay), Training(batch=4, lr=0.03, optimiser=optimiser))
    C, B = trainer.network.weights["W_out"], trainer.theta["B"]
    gap = (C - B).clone()
    assert float(gap.abs().max()) > 0.1
    for k in range(1, 101):
        trainer.update()
        if k in (1, 10, 100):
            torch.testing.assert_close(C - B, gap * (1 - decay) ** k, rtol=1e-4, atol=2e-6)
    assert float(torch.nn.functional.cosine_similarity(C.flatten(), B.flatten(), dim=0)) > 0.9
    fixed = Trainer(small(), Plain(), bp.rule("eprop", feedback="random"), Training(batch=4))
    before = fixed.theta["fixed_B"].clone()
    fixed.update()
    assert torch.equal(fixed.theta["fixed_B"], before)
    assert not torch.allclose(fixed.theta["fixed_B"], fixed.network.weights["W_out"])


def test_learning_rates_reach_their_weights_only():
    for rates, moved in (
        ({"lr": 0.0, "readout_lr": 0.1, "predictor_lr": 0.0}, {"W_out", "b_out"}),
        ({"lr": 0.1, "readout_lr": 0.0, "predictor_lr": 0.0}, {"W_in", "W_rec", "b"}),
        ({"lr": 0.0, "readout_lr": 0.0, "predictor_lr": 0.1}, {"A", "b_of_predictor"}),
    ):
        trainer = Trainer(small("lstm"), Plain(), bp.rule("bp_lambda"), Training(batch=2, **rates))
        named = dict(trainer.network.weights) | {"A": trainer.theta["A"], "b_of_predictor": trainer.theta["b"]}
        before = {n: w.clone() for n, w in named.items()}
        trainer.update()
        trainer.update()
        assert {n for n, w in named.items() if not torch.equal(w, before[n])} == moved


def test_a_gradient_step_is_the_rules_gradient():
    """Plain gradient descent moves every weight by −lr times what the rule computed, clipped or not."""
    for clip in (None, 0.05):
        trainer = Trainer(small("lstm"), Plain(), bp.rule("bptt"), Training(batch=2, lr=0.1, optimiser="sgd", dtype="float64", clip=clip))
        batch = Plain().batch(clone(trainer.generator), 2)
        g = by_hand.gradient(trainer.network, batch.to(dtype=torch.float64), squared)[1]
        norm = float(torch.cat([v.flatten() for v in g.values()]).norm())
        scale = 1.0 if clip is None else clip / norm
        assert clip is None or norm > clip
        before = {n: w.clone() for n, w in trainer.network.weights.items()}
        trainer.update()
        same({n: before[n] - w for n, w in trainer.network.weights.items()}, {n: 0.1 * scale * v for n, v in g.items()}, 1e-6 if clip else TIGHT)


def clone(generator: torch.Generator) -> torch.Generator:
    other = torch.Generator()
    other.set_state(generator.get_state())
    return other


def test_windows_are_applied_as_they_end():
    calls: list[int] = []

    class Counting(Trainer):
        def apply(self, gradients: dict[str, Tensor], own: dict[str, Tensor]) -> None:
            calls.append(len(gradients))
            super().apply(gradients, own)

    Counting(small("lstm"), Plain(), bp.rule("dni", steps=5), Training(batch=2, apply="window")).update()
    assert len(calls) == 3  # 12 steps in windows of 5
    calls.clear()
    Counting(small("lstm"), Plain(), bp.rule("bp_lambda", schedule="online"), Training(batch=2, apply="window")).update()
    assert len(calls) == 12
    calls.clear()
    Counting(small("lstm"), Plain(), bp.rule("dni", steps=5), Training(batch=2)).update()
    assert len(calls) == 1


def test_many_rules_along_one_trajectory():
    rules = [bp.rule("bptt"), bp.rule("eprop"), bp.rule("rtrl"), bp.rule("bp_lambda"), bp.rule("eprop", feedback="random")]
    found = bp.align(small(), Plain(), rules, updates=6, training=Training(batch=2, dtype="float64"), every=2)
    assert found.sizes == {"rule": 5, "weight": 4, "update": 3} and list(found["rule"].values) == ["bptt", "eprop#1", "rtrl", "bp_lambda", "eprop#4"]
    for exact in ("bptt", "rtrl"):
        assert float(found["relative_error"].sel(rule=exact).max()) < 1e-10
        assert float(abs(found["cosine"].sel(rule=exact) - 1).max()) < 1e-10
    assert float(found["relative_error"].sel(rule="eprop#1", weight="W_rec").min()) > 1e-3
    assert float(found["relative_error"].sel(weight="W_out").max()) < 1e-10, "the readout learns the same with all"


def test_alignment_of_an_exact_rule_is_one():
    for rule in (bp.rule("rtrl"), bp.rule("tbptt", steps=12)):
        row = Trainer(small("lstm"), Plain(), rule, Training(batch=2, align_every=1)).update()
        assert row["alignment"] == pytest.approx(1.0, abs=1e-5)
    row = Trainer(small("lstm"), Plain(), bp.rule("bp_lambda"), Training(batch=2, align_every=1)).update()
    assert 0 < row["alignment"] < 1 and row["prediction"] == 0.0  # a silent predictor


# -- forward in time, the same everywhere -------------------------------------------------------------------------------------


def test_simulate_labels_what_it_records():
    c = two_populations("adex", "lif", tau=None)
    data = bp.simulate(c.network, c.batch.inputs, record=("v", "w", "spikes"))
    assert set(data.data_vars) == {"a.v", "a.w", "a.spikes", "b.v", "b.spikes", "input", "output"}
    assert data["a.v"].dims == ("time", "batch", "unit_a") and data["a.v"].attrs["units"] == "volt" and data["a.w"].attrs["units"] == "amp"
    assert data["time"].attrs["units"] == "ms" and float(data["time"][3]) == 3.0
    _, sent = by_hand.run(c.network.circuit, c.network.weights, c.batch.inputs)
    for name, y in sent.items():
        np.testing.assert_array_equal(data[f"{name}.spikes"].values, y.numpy())
    assert -0.1 < float(data["a.v"].mean()) < -0.03


def test_one_population_without_recurrence_or_input():
    """Corners: no recurrent weights at all; no external input, driven by a bias."""
    alone = Circuit(populations={"a": Population(bp.model("lif"), 3)}, inputs=2, readout=Readout(size=1), projections=(Projection(name="in", source="input", target="a", gain=9.0),))
    network = alone.build(dtype=torch.float64)
    network.weights["in"].abs_()
    c = Case(network, Batch(random(20, 2, 2), normal(20, 2, 1), torch.ones(20, 2, dtype=torch.float64))).alive()
    for name in ("bptt", "rtrl", "eprop"):
        same(c.gradients(bp.rule(name)), c.true)
    humming = Circuit(populations={"a": Population(bp.model("lif"), 3, {"I": 2.0})}, inputs=0, readout=Readout(size=1), projections=(Projection(name="W", source="a", target="a"),))
    network = humming.build(dtype=torch.float64)
    c = Case(network, Batch(torch.zeros(20, 2, 0, dtype=torch.float64), normal(20, 2, 1), torch.ones(20, 2, dtype=torch.float64))).alive()
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
        theta = rule.signal.parameters(c.network, torch.Generator(), 0)
        kept = {n: v.clone() for n, v in theta.items()}
        c.outcome(rule, theta)
        assert all(torch.equal(v, kept[n]) for n, v in theta.items())
    assert isinstance(c.network, Network) and all(torch.equal(w, before[n]) for n, w in c.network.weights.items())
