"""Learners: a circuit, a task and a rule that fit; trouble, constraints, feedback, checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from rule_helpers import TIGHT, paragraph, same
from torch import Tensor

import bioplaus as bp
from bioplaus import Trainer, Training, ms
from bioplaus.check import by_hand
from bioplaus.circuit import Circuit, Population, Projection, Readout
from bioplaus.errors import CircuitError, NumericalError, RuleError, RunError, TaskError
from bioplaus.learning.sequence import sequence
from bioplaus.own import tensors
from bioplaus.rules import Rule
from bioplaus.tasks import Batch, Task, cross_entropy, squared

# -- what does not fit ---------------------------------------------------------------------------------------------------


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
        ({"targets": torch.zeros(12, 3, 5)}, TaskError, ("(12, 3, 5)", "(12, 3, 2)")),
        ({"targets": torch.zeros(11, 3, 2)}, TaskError, ("targets", "(11, 3, 2)", "(12, 3, 2)")),
        ({"weight": torch.ones(12)}, TaskError, ("weight", "(12,)", "(12, 3)")),
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
        return Batch(
            plain.inputs,
            label.expand(self.steps, size).contiguous(),
            plain.weight,
            torch.nn.functional.one_hot(label, 2).float(),
        )


def small(model: str = "alif", **options: Any) -> Circuit:
    drive = {"alif": 15.0, "lif": 15.0}.get(model, 1.0)
    return bp.circuit(
        "recurrent",
        cell=bp.model(model),
        inputs=4,
        units=6,
        outputs=2,
        tau_out=5 * ms if model in ("alif", "lif") else None,
        input_gain=drive,
        **options,
    )


def test_context_that_is_not_there():
    with pytest.raises(RuleError) as error:
        Trainer(small("lstm"), Plain(), bp.rule("bp_lambda", context=True))
    assert "context" in paragraph(error) and "labels" in str(error.value)
    assert "td_error" in Trainer(small("lstm"), Labelled(), bp.rule("bp_lambda", context=True)).update()


# -- numerical trouble ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ("alif", "lstm", "adex"))
@pytest.mark.parametrize("rule", ("eprop", "bptt", "rtrl", "bp_lambda"))
@pytest.mark.parametrize("schedule", ("online", "window"))
def test_the_first_nan_stops_the_run_and_is_named(model, rule, schedule):
    if rule == "bptt" and schedule == "online":
        return
    options = {} if rule == "bptt" else {"schedule": schedule}
    trainer = Trainer(small(model), Plain(), bp.rule(rule, **options), Training(batch=3))
    before = {n: w.clone() for n, w in trainer.network.weights.items()}
    poisoned = trainer.task.batch(torch.Generator().manual_seed(0), 3)  # past the gate that refuses such inputs
    poisoned.inputs[7, 1, 2] = float("nan")
    with pytest.raises(NumericalError) as error:
        trainer._learn(poisoned)
    text = paragraph(error)
    first = {"alif": "'v'", "lstm": "'c'", "adex": "'v'"}[model]
    assert "step 7" in text and first in text and "'cortex'" in text and "sample 1" in text, text
    assert all(torch.equal(w, before[n]) for n, w in trainer.network.weights.items()), "no weight was harmed"


@pytest.mark.parametrize("schedule", ("online", "window"))
def test_a_nan_in_a_population_that_the_readout_does_not_see(schedule):
    """Spikes hide a NaN: what is not a number is not above threshold. So every population is looked at."""
    circuit = Circuit(
        populations={"a": Population(bp.model("lif"), 3), "b": Population(bp.model("alif"), 3)},
        projections=(
            Projection(name="in_a", source="input", target="a"),
            Projection(name="in_b", source="input", target="b"),
            Projection(name="ab", source="b", target="a"),
        ),
        inputs=4,
        readout=Readout(size=2, sources=("a",)),
    )
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
        return Trainer(
            small("alif" if "eprop" in name else "lstm", fan_in=4), Labelled(), RULES[name](), training, seed=seed
        )

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
    for mine, theirs in (
        (straight.network.weights, resumed.network.weights),
        (tensors(straight.own), tensors(resumed.own)),
        (straight.network.masks, resumed.network.masks),
    ):
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


#: rules, and what stood side by side in a checkpoint before a rule's own tensors stood by part; each with its path now
BEFORE: dict[str, tuple[Callable[[], Rule], dict[str, str]]] = {
    "synthetic": (
        lambda: bp.rule("dni", steps=3, predictor=bp.predictor("mlp", hidden=(5,), train="output"), copy_every=2),
        {
            "fixed_A0": "predictor.A0", "fixed_b0": "predictor.b0", "A": "predictor.A", "b": "predictor.b",
            "fixed_copy_A": "copy.A", "fixed_copy_b": "copy.b", "fixed_count": "copy.count",
        },
    ),
    "every layer, model, auxiliary": (
        lambda: bp.rule("dni", steps=3, hidden=(5,), copy_every=3, jacobian="learned", auxiliary=0.3),
        {
            **{n: f"predictor.{n}" for n in ("A0", "b0", "A", "b")},
            **{f"fixed_copy_{n}": f"copy.{n}" for n in ("A0", "b0", "A", "b")}, "fixed_count": "copy.count",
            **{f"model_{n}": f"model.{n}" for n in "JKc"}, "auxiliary_A": "auxiliary.A", "auxiliary_b": "auxiliary.b",
        },
    ),
    "nuclei and feedback": (
        lambda: bp.rule("bp_lambda", lmbda=0.5, jacobian="random", trace="projected", outputs=3),
        {"A": "predictor.A", "b": "predictor.b", "fixed_V": "predictor.V", "fixed_back_W_rec": "feedback.W_rec"},
    ),
    "adaptive": (lambda: bp.rule("eprop", feedback="adaptive"), {"B": "feedback.B"}),
    "random": (lambda: bp.rule("eprop", feedback="random"), {"fixed_B": "feedback.B"}),
    "kernel": (
        lambda: bp.rule("kernl", feedback="adaptive", restart=5),
        {"kernel": "kernel.weights", "decay": "kernel.decay", "B": "feedback.B"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BEFORE)
def test_a_checkpoint_of_before_parts_is_continued_bit_for_bit(name, tmp_path):
    make, paths = BEFORE[name]

    def trainer(seed: int = 4) -> Trainer:
        return Trainer(small("lstm"), Plain(), make(), Training(batch=3, lr=1e-2), seed=seed)

    straight = trainer()
    for _ in range(3):
        straight.update()
    state, now = straight.state_dict(), tensors(straight.own)
    assert state["format"] == 3 and set(now) == set(paths.values())
    for kind in ("learned", "fixed"):
        found = {f"{part}.{n}" for part, kinds in state["own"].items() for n in kinds[kind]}
        assert found == {path for n, path in paths.items() if n.startswith("fixed_") == (kind == "fixed")}
    old = {n: v for n, v in state.items() if n != "format"} | {
        "own": {n: now[path].clone() for n, path in paths.items()}
    }
    torch.save(old, tmp_path / "checkpoint.pt")
    rows = [straight.update() for _ in range(3)]
    resumed = trainer(seed=99)
    resumed.load_state_dict(torch.load(tmp_path / "checkpoint.pt", weights_only=True))
    for path, value in tensors(resumed.own).items():
        assert torch.equal(value, old["own"][next(n for n in paths if paths[n] == path)]), path
    assert [resumed.update() | {"seconds": 0} for _ in range(3)] == [row | {"seconds": 0} for row in rows]
    for mine, theirs in (
        (straight.network.weights, resumed.network.weights),
        (tensors(straight.own), tensors(resumed.own)),
    ):
        assert set(mine) == set(theirs) and all(torch.equal(mine[n], theirs[n]) for n in mine)


def test_a_checkpoint_of_a_later_format_or_of_other_parts_is_refused():
    trainer = Trainer(small("lstm"), Plain(), bp.rule("bp_lambda"), Training(batch=2))
    state = trainer.state_dict()
    with pytest.raises(RunError, match="format 4.*up to 3") as error:
        trainer.load_state_dict(state | {"format": 4})
    paragraph(error)
    for own in ({"A": torch.zeros(3)}, {}, {"A": state["own"]["predictor"]["learned"]["A"]}):
        before = {n: v.clone() for n, v in tensors(trainer.own).items()}
        with pytest.raises(RunError, match="another configuration"):
            trainer.load_state_dict({n: v for n, v in state.items() if n != "format"} | {"own": own})
        assert all(torch.equal(v, before[n]) for n, v in tensors(trainer.own).items())


def test_a_checkpoint_of_something_else_is_refused():
    a = Trainer(small("lstm"), Plain(), bp.rule("bp_lambda"), Training(batch=2))
    a.update()
    for other in (
        Trainer(small("gru"), Plain(), bp.rule("bp_lambda"), Training(batch=2)),
        Trainer(small("lstm"), Plain(), bp.rule("bptt"), Training(batch=2)),
    ):
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
    trainer = Trainer(
        small("lstm", output_bias=False),
        Steady(),
        bp.rule("eprop", feedback="adaptive", decay=decay),
        Training(batch=4, lr=0.03, optimiser=optimiser),
    )
    C, B = trainer.network.weights["W_out"], trainer.own["feedback"].learned["B"]
    gap = (C - B).clone()
    assert float(gap.abs().max()) > 0.1
    for k in range(1, 101):
        trainer.update()
        if k in (1, 10, 100):
            torch.testing.assert_close(C - B, gap * (1 - decay) ** k, rtol=1e-4, atol=2e-6)
    assert float(torch.nn.functional.cosine_similarity(C.flatten(), B.flatten(), dim=0)) > 0.9
    fixed = Trainer(small(), Plain(), bp.rule("eprop", feedback="random"), Training(batch=4))
    B = fixed.own["feedback"].fixed["B"]
    before = B.clone()
    fixed.update()
    assert torch.equal(B, before) and fixed.own["feedback"].fixed["B"] is B
    assert not torch.allclose(B, fixed.network.weights["W_out"])


def test_learning_rates_reach_their_weights_only():
    expected: tuple[tuple[dict[str, Any], set[str]], ...] = (
        ({"lr": 0.0, "readout_lr": 0.1, "predictor_lr": 0.0}, {"W_out", "b_out"}),
        ({"lr": 0.1, "readout_lr": 0.0, "predictor_lr": 0.0}, {"W_in", "W_rec", "b"}),
        ({"lr": 0.0, "readout_lr": 0.0, "predictor_lr": 0.1}, {"A", "b_of_predictor"}),
    )
    for rates, moved in expected:
        trainer = Trainer(small("lstm"), Plain(), bp.rule("bp_lambda"), Training(batch=2, **rates))
        theta = trainer.own["predictor"]
        named = dict(trainer.network.weights) | {"A": theta["A"], "b_of_predictor": theta["b"]}
        before = {n: w.clone() for n, w in named.items()}
        trainer.update()
        trainer.update()
        assert {n for n, w in named.items() if not torch.equal(w, before[n])} == moved


def test_a_gradient_step_is_the_rules_gradient():
    """Plain gradient descent moves every weight by −lr times what the rule computed, clipped or not."""
    for clip in (None, 0.05):
        trainer = Trainer(
            small("lstm"),
            Plain(),
            bp.rule("bptt"),
            Training(batch=2, lr=0.1, optimiser="sgd", dtype="float64", clip=clip),
        )
        batch = Plain().batch(clone(trainer.generator), 2)
        g = by_hand.gradient(trainer.network, batch.to(dtype=torch.float64), squared)[1]
        norm = float(torch.cat([v.flatten() for v in g.values()]).norm())
        scale = 1.0 if clip is None else clip / norm
        assert clip is None or norm > clip
        before = {n: w.clone() for n, w in trainer.network.weights.items()}
        trainer.update()
        same(
            {n: before[n] - w for n, w in trainer.network.weights.items()},
            {n: 0.1 * scale * v for n, v in g.items()},
            1e-6 if clip else TIGHT,
        )


def clone(generator: torch.Generator) -> torch.Generator:
    other = torch.Generator()
    other.set_state(generator.get_state())
    return other


def test_windows_are_applied_as_they_end():
    calls: list[int] = []

    class Counting(Trainer):
        def apply(self, gradients: dict[str, Tensor], own: dict[str, Tensor], evaluate: Any = None) -> None:
            calls.append(len(gradients))
            super().apply(gradients, own, evaluate)

    Counting(small("lstm"), Plain(), bp.rule("dni", steps=5), Training(batch=2, apply="window")).update()
    assert len(calls) == 3  # 12 steps in windows of 5
    calls.clear()
    Counting(
        small("lstm"), Plain(), bp.rule("bp_lambda", schedule="online"), Training(batch=2, apply="window")
    ).update()
    assert len(calls) == 12
    calls.clear()
    Counting(small("lstm"), Plain(), bp.rule("dni", steps=5), Training(batch=2)).update()
    assert len(calls) == 1


def test_alignment_of_an_exact_rule_is_one():
    for rule in (bp.rule("rtrl"), bp.rule("tbptt", steps=12)):
        row = Trainer(small("lstm"), Plain(), rule, Training(batch=2, align_every=1)).update()
        assert row["alignment"] == pytest.approx(1.0, abs=1e-5)
    row = Trainer(small("lstm"), Plain(), bp.rule("bp_lambda"), Training(batch=2, align_every=1)).update()
    assert 0 < row["alignment"] < 1 and row["prediction"] == 0.0  # a silent predictor


def test_adaptive_feedback_and_readout_shrink_together_at_every_update() -> None:
    task = bp.task("target_reaching")
    circuit = bp.circuit("recurrent", cell=bp.model("elman"), inputs=task.inputs, units=6, outputs=2)
    trainer = bp.Trainer(circuit, task, bp.rule("eprop", feedback="adaptive", decay=0.25), bp.Training(lr=0.0, batch=4))
    readout, feedback = trainer.network.weights["W_out"].clone(), trainer.own["feedback"]["B"].clone()
    trainer.update()
    torch.testing.assert_close(trainer.network.weights["W_out"], 0.75 * readout)
    torch.testing.assert_close(trainer.own["feedback"]["B"], 0.75 * feedback)


def test_a_silent_circuit_is_told() -> None:
    task = bp.task("target_reaching")
    circuit = bp.circuit("recurrent", cell=bp.model("lif"), inputs=task.inputs, units=6, outputs=2, input_gain=1e-3)
    with pytest.warns(RuntimeWarning, match="fired no spike"):
        bp.Trainer(circuit, task, bp.rule("eprop"), bp.Training(batch=4)).update()


class Asked(type(squared)):
    """Squared error that has never been asked about nothing."""

    def error(self, outputs: Tensor, targets: Tensor) -> Tensor:
        assert outputs.numel() and bool(targets.isfinite().all())
        return super().error(outputs, targets)


@pytest.mark.parametrize(
    "options", ({"schedule": "online"}, {"schedule": "window", "steps": 5}, {"schedule": "window"})
)
@pytest.mark.parametrize("rule", ("eprop", "bp_lambda"))
def test_steps_that_ask_nothing_are_not_looked_at(rule, options):
    """What stands in the targets where no sample has a weight makes no difference; where one has, the others' weight still counts."""
    circuit = small("lstm")
    network = circuit.build(0, dtype=torch.float64)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(12, 3, circuit.inputs, generator=generator, dtype=torch.float64)
    y = torch.randn(12, 3, circuit.readout.size, generator=generator, dtype=torch.float64)
    weight = torch.zeros(12, 3, dtype=torch.float64)
    weight[7], weight[11, 1] = 0.5, 2.0
    blank = y.where(weight.any(-1)[:, None, None], torch.nan)
    chosen = bp.rule(rule, **options)
    own = chosen.begin(network, Batch(x, y, weight), 0)
    found, expected = (
        sequence(network, chosen, own, Batch(x, targets, weight), loss)
        for targets, loss in ((blank, Asked()), (y, squared))
    )
    by_loss = (squared.value(expected.outputs, y) * weight).sum() / 3
    assert found.loss == expected.loss == pytest.approx(float(by_loss), rel=1e-14) and found.loss > 0.1
    error = (expected.outputs - y) * weight[..., None]
    torch.testing.assert_close(found.gradients["b_out"], error.sum((0, 1)) / 3, rtol=1e-12, atol=0)
    for name, value in expected.gradients.items():
        assert torch.equal(value, found.gradients[name]) and bool(value.any()), name
