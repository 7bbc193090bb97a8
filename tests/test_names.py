"""A name stands for what it names, NumPy's numbers for numbers; what can't be meant is refused by name."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch

import bioplaus as bp
from bioplaus import ms
from bioplaus.errors import BioplausError, CircuitError, RuleError, TaskError

TASK = bp.task("delayed_match", stimuli=3)
SIZES = {"inputs": 3, "units": 5, "outputs": 2}


def circuit(**options: Any) -> bp.Circuit:
    return bp.circuit("recurrent", **(SIZES | {"cell": "elman"} | options))


# -- names for objects --------------------------------------------------------------------------------------------------


def test_a_models_name_stands_for_the_model() -> None:
    assert circuit(cell="alif") == circuit(cell=bp.model("alif"))
    assert circuit(cell=["lif", bp.model("alif")], units=[3, 4]) == circuit(
        cell=[bp.model("lif"), bp.model("alif")], units=(3, 4)
    )
    made = bp.circuit("excitatory_inhibitory", cell="lif", inhibitory="alif", inputs=3, units=20, outputs=1)
    assert [p.cell.name for p in made.populations.values()] == ["lif", "alif"]
    assert bp.Population("lif", 3) == bp.Population(bp.model("lif"), 3)  # type: ignore[arg-type]


def test_cells_may_be_named_populations() -> None:
    made = circuit(cell={"E": "lif", "I": bp.model("alif")}, units={"I": 2, "E": 8})
    assert {n: (p.size, p.cell.name) for n, p in made.populations.items()} == {"E": (8, "lif"), "I": (2, "alif")}
    assert [p.name for p in made.projections] == [
        "W_in_E",
        "W_rec_E_E",
        "W_rec_E_I",
        "W_in_I",
        "W_rec_I_E",
        "W_rec_I_I",
    ]
    assert circuit(cell={"E": "lif", "I": "alif"}, units=[8, 2]).counts() == made.counts()


def test_a_tasks_and_a_rules_name_stand_for_them() -> None:
    by_name = bp.Trainer(circuit(inputs=4), "delayed_match", "eprop", bp.Training(batch=3))
    made = bp.Trainer(circuit(inputs=4), bp.task("delayed_match"), bp.rule("eprop"), bp.Training(batch=3))
    assert by_name.update()["loss"] == made.update()["loss"]
    batch = TASK.batch(bp.stream(0, "task"), 3)
    one, other = (bp.gradient(circuit(), rule, batch)["W_in"] for rule in ("rtrl", bp.rule("rtrl")))
    assert torch.equal(one, other) and one.abs().sum() > 0
    found = bp.align(circuit(), TASK, ["eprop", bp.rule("rflo")], updates=1, training=bp.Training(batch=3))
    assert list(found.rule.values) == ["eprop", "rflo", "bptt"]
    assert list(bp.align(circuit(), TASK, "eprop", updates=1, training=bp.Training(batch=3)).rule.values) == [
        "eprop",
        "bptt",
    ]


def test_a_predictors_name_stands_for_it() -> None:
    assert circuit(cerebellum="mlp") == circuit(cerebellum=bp.predictor("mlp"))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: circuit(cell="alfi"), BioplausError, "alif"),
        (lambda: circuit(cell={"E": "lif", "I": "lif"}, units=10), CircuitError, r"cell has 2 cell types and units is 10, one size: .*units=\{'E': 8, 'I': 2\}"),
        (lambda: circuit(cell={"E": "lif", "I": "lif"}, units={"E": 1, "X": 2}), CircuitError, "units name the populations E, X"),
        (lambda: circuit(cell={}, units={}), CircuitError, "populations"),
        (lambda: circuit(cell=bp.model), CircuitError, "such as bp.model"),
        (lambda: circuit(cerebellum="liner"), RuleError, "linear"),
        (lambda: bp.Trainer("recurrent", TASK, "eprop"), CircuitError, "'recurrent'; it must be .*bp.circuit"),  # type: ignore[arg-type]
        (lambda: bp.Trainer(circuit(), "delayed_mach", "eprop"), TaskError, "delayed_match"),
        (lambda: bp.Trainer(circuit(), TASK, "e-prop"), RuleError, "eprop"),
        (lambda: bp.Trainer(circuit(), TASK, bp.rule), RuleError, "bp.rule\\('eprop'\\)"),  # type: ignore[arg-type]
        (lambda: bp.Trainer(circuit(), type(TASK), "eprop"), TaskError, "A task is an object"),  # type: ignore[arg-type]
        (lambda: bp.gradient(circuit(), "bppt", TASK.batch(bp.stream(0, "task"), 3)), RuleError, "bptt"),
        (lambda: bp.gradient("recurrent", "bptt", TASK.batch(bp.stream(0, "task"), 3)), CircuitError, "recurrent"),  # type: ignore[arg-type]
        (lambda: bp.simulate("recurrent", np.ones((3, 1, 3))), CircuitError, "recurrent"),  # type: ignore[arg-type]
        (lambda: bp.simulate(circuit(), np.ones((3, 1, 3)), dtype="double"), CircuitError, "float64"),
        (lambda: bp.simulate(circuit(), "noise"), CircuitError, "inputs is 'noise'"),
        (lambda: bp.simulate(circuit(), np.ones((3, 1, 3)) * 1j), CircuitError, "complex"),
        (lambda: bp.simulate(circuit(), [[1, 2], [3]]), CircuitError, "inputs is"),
        (lambda: bp.align(circuit(), TASK, ["eprop", 3], updates=1), RuleError, "The rule is 3"),  # type: ignore[list-item]
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_by_name(make: Any, error: type[BioplausError], words: str) -> None:
    with pytest.raises(error, match=words) as raised:
        make()
    assert "\n" not in str(raised.value) and len(str(raised.value).split()) > 6


# -- numbers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, np.array, torch.tensor], ids=lambda k: k.__name__)
def test_whole_numbers_of_any_library(kind: Any) -> None:
    made = circuit(inputs=kind(3), units=kind(5), outputs=kind(2), delay=kind(2), fan_in=kind(3), cell="lif")
    assert made == circuit(delay=2, fan_in=3, cell="lif")
    task = bp.task("delayed_match", stimuli=kind(3))
    trainers = [
        bp.Trainer(circuit(), TASK, "eprop", bp.Training(batch=4, updates=5), seed=2),
        bp.Trainer(circuit(), task, "eprop", bp.Training(batch=kind(4), updates=kind(5)), seed=kind(2)),
    ]
    assert trainers[0].update()["loss"] == trainers[1].update()["loss"]
    assert trainers[0].training == trainers[1].training
    x = np.ones((3, 1, 3))
    assert bp.simulate(circuit(), x, (), seed=kind(1)).output.equals(bp.simulate(circuit(), x, (), seed=1).output)
    assert bp.rule("tbptt", steps=kind(4)) == bp.rule("tbptt", steps=4)
    batches = [task.batch(bp.stream(kind(3), "task"), kind(2)) for _ in range(2)]
    assert torch.equal(batches[0].inputs, batches[1].inputs)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.array, torch.tensor], ids=lambda k: k.__name__)
def test_real_numbers_of_any_library(kind: Any) -> None:
    assert bp.Training(lr=kind(0.5), clip=kind(2.0), betas=(kind(0.5), kind(0.25))) == bp.Training(
        lr=0.5, clip=2.0, betas=(0.5, 0.25)
    )
    assert circuit(gain=kind(0.5), input_gain=kind(0.25)) == circuit(gain=0.5, input_gain=0.25)
    assert bp.rule("bp_lambda", lmbda=kind(0.5)).describe() == bp.rule("bp_lambda", lmbda=0.5).describe()
    assert bp.model("lif", threshold=kind(0.5)) == bp.model("lif", threshold=0.5)


# -- what is recorded ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("simulate", [bp.simulate, bp.brian.simulate], ids=["torch", "brian2"])
@pytest.mark.parametrize(
    ("record", "words"),
    [
        (
            {"v": "all"},
            r"record\['v'\] is 'all'; it must be a unit's number, several, a slice, or None for all, of the \d+ units of v",
        ),
        ({"v": [0, 100]}, r"record\['v'\] names unit 100; v has \d+, from 0 to \d+"),
        ({"v": slice(100, 200)}, r"record\['v'\] is slice\(100, 200, None\), which is none of the \d+ units of v"),
        ({"v": 0.5}, r"record\['v'\] is 0.5"),
        ({"v": True}, r"record\['v'\] is True"),
        ({"v": {0: 1}}, r"record\['v'\] is"),
        ({"V": 0}, "no recordable variable 'V'.*Did you mean 'v'"),
        ({3: 0}, "record is"),
        ({}, "record is"),
        ("E.v", "record asks for 'E.v'. There is no population 'E'.*Known: cortex"),
        ("cortex.V", "no recordable variable 'V' of population 'cortex'. Did you mean 'v'"),
        (("v", 3), "record is .*name"),
        (True, "record is True"),
        (None, "record is None"),
        ("V", "no recordable variable 'V'.*Did you mean 'v'"),
        (("v", "output"), "'output', which is recorded beside all that is asked for"),
    ],
)
def test_what_can_be_recorded(simulate: Any, record: Any, words: str) -> None:
    with pytest.raises(CircuitError, match=words):
        simulate(circuit(cell="lif"), np.ones((3, 1, 3)), record)


def test_a_list_an_array_or_a_name_of_what_is_recorded() -> None:
    for record in ("v", ["v"], ("v",), np.array(["v"])):
        assert set(bp.simulate(circuit(cell="lif"), np.ones((3, 1, 3)), record)) == {"v", "input", "output"}


# -- weights that are given ---------------------------------------------------------------------------------------------


def dale() -> bp.Network:
    made = bp.circuit("excitatory_inhibitory", cell="lif", inputs=3, units=20, outputs=1, fan_in=0.5)
    return made.build(seed=0)


def test_weights_of_the_wrong_sign_or_without_synapse_are_refused() -> None:
    network = dale()
    before = {name: w.clone() for name, w in network.weights.items()}
    for name, value, words in (
        ("W_EI", network.masks["W_EI"], r"W_EI has \d+ of 64 entries of the wrong sign.*sign=-1"),
        ("W_EE", -network.weights["W_EE"], "W_EE has .* of the wrong sign.*sign=\\+1.*Give 0 and positive"),
        ("W_EE", torch.ones_like(network.weights["W_EE"]), "where the circuit has no synapse.*masks\\['W_EE'\\]"),
        ("W_IE", np.eye(3), r"shape \(3, 3\), expected \(4, 16\)"),
        ("W_IE", "big", "an array of real numbers"),
        ("W_EX", np.eye(3), "no weight 'W_EX' of this network"),
    ):
        with pytest.raises(CircuitError, match=words):
            network.load({"W_out": torch.zeros(1, 16), name: value})
    with pytest.raises(CircuitError, match="weights is .*a mapping of names"):
        network.load([torch.zeros(1, 16)])  # type: ignore[arg-type]
    assert all(torch.equal(w, before[name]) for name, w in network.weights.items()), "nothing is changed"
    network.load({name: w.numpy() for name, w in before.items()})


def test_weights_that_were_put_in_place_are_held_to_their_sign_too() -> None:
    task = bp.task("delayed_match", stimuli=3)
    made = bp.circuit("excitatory_inhibitory", cell="lif", inputs=3, units=20, outputs=2)
    trainer = bp.Trainer(made, task, "eprop", bp.Training(batch=2))
    for _ in range(2):  # before the first update, and between two
        trainer.network.weights["W_EI"].abs_()
        with pytest.raises(CircuitError, match="W_EI has .* of the wrong sign"):
            trainer.update()
        trainer.network.weights["W_EI"].neg_()
        trainer.update()


def test_a_strength_has_no_sign_where_the_sign_is_given() -> None:
    with pytest.raises(CircuitError, match=r"gain of projection W is -2 and its sign \+1.*Write gain=2"):
        bp.Projection(name="W", source="a", target="a", gain=-2, sign=1)


# -- objects ------------------------------------------------------------------------------------------------------------


def heterogeneous() -> bp.Circuit:
    return circuit(cell=bp.model("lif", tau_m=np.linspace(10, 30, 5) * ms))


def test_circuits_with_arrays_can_be_compared() -> None:
    assert heterogeneous() == heterogeneous() and heterogeneous() != circuit(cell="lif")
    other = circuit(cell=bp.model("lif", tau_m=np.linspace(10, 31, 5) * ms))
    assert heterogeneous() != other and bp.model("lif") != "lif"
    assert len({bp.model("lif"), bp.model("lif"), bp.model("alif")}) == 2


@pytest.mark.parametrize(
    "made", [heterogeneous(), circuit(cell=["lif", "elman"], units=[3, 2], fan_in=2)], ids=["array", "two"]
)
def test_a_network_can_be_pickled(made: bp.Circuit) -> None:
    network = made.build(seed=3, dtype=torch.float64)
    network.weights["W_out"].mul_(2)
    again = pickle.loads(pickle.dumps(network))
    assert all(torch.equal(w, again.weights[name]) for name, w in network.weights.items())
    assert all(torch.equal(m, again.masks[name]) for name, m in network.masks.items())
    x = np.random.default_rng(0).normal(size=(9, 1, 3)) * 20
    assert bp.simulate(network, x, ()).equals(bp.simulate(again, x, ()))


def test_what_is_shown_of_an_object_fits_on_a_line() -> None:
    trainer = bp.Trainer(circuit(), TASK, "eprop", bp.Training(batch=2, updates=7))
    batch = TASK.batch(bp.stream(0, "task"), 3)
    for thing, words in (
        (circuit(), "Circuit('recurrent': 5 elman, 3 inputs, 2 outputs, dt 1 ms)"),
        (trainer.network, "57 weights, float32, cpu"),
        (trainer, "Trainer('delayed_match', 'eprop', 0 of 7 updates"),
        (batch, f"inputs ({TASK.steps}, 3, 3), targets ({TASK.steps}, 3), weight"),
        (bp.model("alif"), "Cell('alif'"),
    ):
        assert words in repr(thing) and len(repr(thing)) < 200 and "\n" not in repr(thing), repr(thing)
