"""What people write in scripts by mistake: every answer is one paragraph that names what was given and what to write."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import bioplaus as bp
from bioplaus import ms, mV, nA
from bioplaus.errors import BioplausError

LIF = bp.model("lif")
TASK = bp.task("delayed_match", stimuli=4)


def circuit(**options: Any) -> Any:
    return bp.circuit(
        "recurrent", **({"cell": LIF, "inputs": 4, "units": 10, "outputs": 2, "input_gain": 20} | options)
    )


def ei(**options: Any) -> Any:
    return bp.circuit("excitatory_inhibitory", **({"cell": LIF, "inputs": 3, "units": 10, "outputs": 1} | options))


def batch(**arrays: Any) -> Any:
    good = {"inputs": torch.rand(9, 2, 4), "targets": torch.rand(9, 2, 2), "weight": torch.ones(9, 2)}
    return bp.Batch(**(good | arrays))


def gradient(*more: Any, **arrays: Any) -> Any:
    return bp.gradient(circuit(), "eprop", batch(**arrays), *more)


def trainer(task: Any = TASK, rule: Any = "eprop", *more: Any, of: Any = None, **options: Any) -> Any:
    return bp.Trainer(circuit() if of is None else of, task, rule, *more, **options)


def own(**parts: Any) -> Any:
    """A task of somebody's own."""
    good = {"inputs": 4, "outputs": 2, "steps": 9, "loss": bp.tasks.squared, "test_trials": 2}
    return type("Mine", (bp.Task,), good | {"batch": lambda self, g, n, split="train": batch()} | parts)()


STEPS = np.ones((9, 1, 4))
make_circuit: Any = bp.circuit  # a type checker knows as well
make_model: Any = bp.model

# what is written → words of the answer
MISTAKES: list[tuple[Any, str]] = [
    # circuits
    (lambda: bp.circuit("recurrent", inputs=4, units=10, outputs=2), "No value was given for 'cell'"),
    (lambda: bp.circuit("recurent", cell=LIF, inputs=4, units=10, outputs=2), "Did you mean 'recurrent'"),
    (lambda: make_circuit("recurrent", LIF, inputs=4), r"takes its options by name.*Write bp.circuit\('recurrent', option=value"),
    (lambda: circuit(n_units=10), "no parameter 'n_units' of the circuit 'recurrent'. Did you mean 'units'"),
    (lambda: circuit(units=10.5), "is 10.5; it must be a whole number"),
    (lambda: circuit(units="10"), "is '10'; it must be a whole number"),
    (lambda: circuit(units=-3), "is -3; it must be a whole number from 1"),
    (lambda: circuit(units=[5, 5]), r"cell has one cell type and units is \[5, 5\], 2 sizes: .*such as units=10\."),
    (lambda: circuit(cell=[LIF, LIF]), r"cell has 2 cell types and units is 10, one size: .*such as units=\(8, 2\)\."),
    (lambda: circuit(cell=[LIF] * 3, units=(1, 2)), r"3 cell types and units is \(1, 2\), 2 sizes: .*units=\(8, 2, 2\)\."),
    (lambda: bp.circuit("cortico_cerebellar", cell=LIF, inputs=2, units=3, outputs=1, cerebellum="mlp", hidden=50), "hidden of an mlp predictor is 50; it must be a tuple"),
    (lambda: bp.circuit("cortico_cerebellar", cell=LIF, inputs=2, units=3, outputs=1, cerebellum="mlp", hidden="50"), "hidden of an mlp predictor is '50'"),
    (lambda: bp.circuit("cortico_cerebellar", cell=LIF, inputs=2, units=3, outputs=1, cerebellum="mlp", hidden=[0]), r"hidden of an mlp predictor is \[0\]"),
    (lambda: ei().build().load({"W_EI": np.ones((8, 2))}), "Give 0 and negative numbers only; a circuit of your own may leave"),
    (lambda: ei().build().load({"W_IE": -np.ones((2, 8))}), "Give 0 and positive numbers only; a circuit of your own may leave"),
    (lambda: bp.Arm(circuit(), TASK, bp.rule("eprop"), epochs=3), r"no option 'epochs' of Arm\..*bp.Training\(updates=…\)"),  # type: ignore[call-arg]
    (lambda: bp.Arm(circuit(), TASK, bp.rule("eprop"), updates=3), r"no option 'updates' of Arm\..*bp.Training\(updates=…\)"),  # type: ignore[call-arg]
    (lambda: bp.Experiment("e", {}, learning_rate=3), r"of Experiment\..*bp.Training\(lr=…\)"),  # type: ignore[call-arg]
    (lambda: bp.Training(rate_target=10 * ms), r"rate_target of Training is 10. ms; it must be a finite rate, such as 10\*Hz, or a number in Hz"),
    (lambda: bp.Training(rate_target="10 Hz"), "must be a finite rate, such as"),  # type: ignore[arg-type]
    (lambda: bp.Training(rate_target=float("nan")), "must be a finite rate, such as"),
    (lambda: bp.train(circuit(), TASK, "eprop", folder="x" * 300), "folder is too long: the name 'xxxxxxxxxxxxxxxxxxxx…' in it has 300 letters"),
    (lambda: bp.train(circuit(), TASK, "eprop", folder="new/" + "é" * 200), "folder is too long: .* has 200 letters, .*255 bytes"),
    (lambda: bp.train(circuit(), TASK, "eprop", label="x" * 300), "folder is too long"),
    (lambda: circuit(outputs=0), "is 0; it must be a whole number from 1"),
    (lambda: circuit(inputs=(2, 2)), r"is \(2, 2\); it must be a whole number"),
    (lambda: circuit(dt=1), r"dt of the circuit is 1;.*write 1\*ms, or 1\*second"),
    (lambda: circuit(dt=0.5), r"dt of the circuit is 0.5;.*write 0.5\*ms, or 0.5\*second"),
    (lambda: circuit(dt=0), r"dt of the circuit is 0; it must be a time above zero, such as 1\*ms"),
    (lambda: circuit(dt=0.1 * mV), r"is 100. uV; it must be a time"),
    (lambda: circuit(tau_out=20), r"tau of the readout is 20;.*write 20\*ms"),
    (lambda: circuit(tau_out="20ms"), "tau of the readout is '20ms'"),
    (lambda: circuit(delay=5.5 * ms), r"delay of projection W_rec is 5.5 ms, .* 5\*ms \(5 steps\) or 6\*ms \(6 steps\)"),
    (lambda: circuit(delay=5 * nA), "delay of projection W_rec is 5. nA; it must be a whole number from 0 to 10_000 .steps., or a time"),
    (lambda: circuit(cell="elman", delay=5 * ms), "'cortex' is of a discrete map .* Give the delay in steps"),
    (lambda: circuit(bias="yes"), "bias is 'yes'; it must be True, False, or first values by channel"),
    (lambda: circuit(bias={"J": 0.0}), "names J; its input channels are I"),
    (lambda: circuit(fan_in=0.1), "fan_in of projection W_rec is 0.1"),
    (lambda: circuit(fan_in=100), "fan_in=100 of 9 possible"),
    (lambda: circuit(init="kaiming"), "is 'kaiming'; it must be one of 'normal'"),
    (lambda: circuit(gain=float("nan")), "is nan; it must be a finite number"),
    (lambda: circuit(gain=np.ones(3)), "must be a finite number"),
    (lambda: circuit(cell=bp.model("lif", tau_m=np.ones(3) * ms)), r"tau_m has shape \(3,\), but the population has 10 neurons"),
    (lambda: ei(fraction=80), "is 80; it must be a finite number above 0 and below 1"),
    (lambda: ei(fan_in=5), "fan_in=5: need .* 0 < fan_in"),
    (lambda: bp.Population(LIF, "10"), "is '10'; it must be a whole number"),  # type: ignore[arg-type]
    (lambda: bp.Readout(size=1, tau=-5 * ms), "is -5. ms; it must be a time above zero"),
    (lambda: bp.Circuit(populations=[], projections=(), inputs=2, readout=bp.Readout(size=1)), "populations of the circuit is"),  # type: ignore[arg-type]
    (lambda: bp.Circuit(populations={"a": bp.Population(LIF, 3)}, projections=(), inputs=2, readout=1), "Readout"),  # type: ignore[arg-type]
    (lambda: circuit().build(seed="0"), "is '0'; it must be a whole number"),
    (lambda: circuit().build(dtype=torch.int32), "dtype is torch.int32; it must be torch.float32 or torch.float64"),
    (lambda: circuit().build(dtype="double"), "dtype is 'double'; it must be one of 'float32', 'float64'"),
    (lambda: circuit().build(device="gpu"), "device is 'gpu'.*Use device='cpu', or 'cuda'"),
    # models, tasks, rules, predictors
    (lambda: bp.model("lif", tau=20 * ms), "no parameter 'tau' of the model 'lif'. Did you mean 'tau_m'"),
    (lambda: make_model("lif", 20 * ms), "takes its options by name"),
    (lambda: bp.model("LIF"), "Did you mean 'lif'"),
    (lambda: bp.model(3), "no model 3"),  # type: ignore[arg-type]
    (lambda: bp.model("lif", tau_m=-20 * ms), "tau_m is -20. ms"),
    (lambda: bp.task("delayed_matching"), "Did you mean 'delayed_match'"),
    (lambda: bp.task("delayed_match", 3), "takes its options by name"),
    (lambda: bp.task("delayed_match", n_stimuli=3), "no option 'n_stimuli' of the task 'delayed_match'. Did you mean 'stimuli'"),
    (lambda: bp.task("delayed_match", delay="long"), "is 'long'; it must be a whole number"),
    (lambda: bp.task("sequential_digits", data="imagenet"), "it must be one of 'digits', 'mnist'"),
    (lambda: bp.rule("backprop"), "no rule 'backprop'"),
    (lambda: bp.rule("tbptt", 5), "takes its options by name"),
    (lambda: bp.rule("eprop", lr=1e-3), r"no option 'lr' of the rule 'eprop'.*bp.Training\(lr="),
    (lambda: bp.rule("bp_lambda", **{"lambda": 0.5}), "Did you mean 'lmbda'"),
    (lambda: bp.rule("bp_lambda", lmbda=2), "is 2; it must be a finite number between 0 and 1"),
    (lambda: bp.rule("eprop", feedback="symetric"), "Did you mean 'symmetric'"),
    (lambda: bp.rule("tbptt", steps=5 * ms), "is 5. ms; it must be a whole number"),
    (lambda: bp.rule("rtrl", schedule="offline"), "Did you mean 'online'"),
    (lambda: bp.rule("bp_lambda", hidden=8), r"such as \(400, 400\)"),
    (lambda: bp.Rule("eprop", "bptt"), r"bp.rule\('eprop'\)"),  # type: ignore[arg-type]
    (lambda: bp.predictor("mlp", layers=3), "no option 'layers' of the predictor 'mlp'"),
    (lambda: bp.predictor("mlp", (3,)), "takes its options by name"),
    (lambda: bp.Window("5"), "steps of Window is '5'"),  # type: ignore[arg-type]
    # learning
    (lambda: trainer("delayed_match", "eprop", {"lr": 1e-3}), r"training is .*bp.Training\(updates="),
    (lambda: trainer(seed=None), "seed is None"),
    (lambda: trainer(seed=1.0), "seed is 1.0; it must be a whole number"),
    (lambda: trainer(of=TASK), "The circuit is DelayedMatch"),
    (lambda: trainer(of=circuit(inputs=3)), "Build it with inputs=task.inputs"),
    (lambda: bp.Training(lr="1e-3"), "lr of Training is '1e-3'"),  # type: ignore[arg-type]
    (lambda: bp.Training(optimiser="adamw"), r"a class of torch.optim that steps from gradients alone \(.*AdamW"),
    (lambda: bp.Training(updates=1e3), "is 1000.0; it must be a whole number"),  # type: ignore[arg-type]
    (lambda: bp.Training(device="gpu"), "device is 'gpu'"),
    (lambda: trainer().load_state_dict({}), r"is none of a trainer.*state_dict\(\)"),
    (lambda: trainer().load_state_dict(trainer(of=circuit(units=5)).state_dict()), r"W_rec \(5, 5\).*W_rec \(10, 10\)"),
    (lambda: gradient("quadratic"), "must be one of 'squared'"),
    (lambda: gradient(torch.nn.MSELoss()), "must be of class Loss, such as bp.tasks.squared"),
    (lambda: bp.gradient(circuit(), "eprop", (torch.rand(9, 2, 4), torch.rand(9, 2, 2))), r"A batch is a Batch\("),  # type: ignore[arg-type]
    (lambda: gradient(inputs=torch.rand(2, 9, 4)), r"\(9, 2, 2\), where .* \(2, 9, 2\)"),
    (lambda: gradient(weight=torch.ones(9)), r"'weight' has shape \(9,\)"),
    (lambda: bp.stream(0, 3), "The name of a random stream is 3"),  # type: ignore[arg-type]
    # tasks of one's own
    (lambda: trainer(own(batch=bp.Task.batch)), "has no method batch"),
    (lambda: trainer(own(loss="squared")), "loss of the task 'mine' is 'squared'"),
    (lambda: trainer(own(loss=None)), "bp.tasks.squared"),
    (lambda: trainer(own(batch=lambda self, n: batch())), r"can't be called as batch\(generator, size, split\)"),
    (lambda: trainer(own(batch=lambda self, g, n, split="train": (1, 2))), r"returned \(1, 2\) from its batch"),
    (lambda: trainer(own(batch=lambda self, g, n, split="train": batch(inputs=torch.rand(2, 9, 4)))), r"'inputs' has shape \(2, 9, 4\)"),
    (lambda: trainer(own(test_batches=lambda self: [])), r"can't be called as test_batches\(size\)"),
    (lambda: trainer(own(test_batches=lambda self, size: batch())), r"What test_batches\(256\) of the task 'mine' returned is Batch"),
    (lambda: TASK.batch(0, 3), r"generator of a batch of the task 'delayed_match' is 0;.*bp.stream\(0, 'task'\)"),  # type: ignore[arg-type]
    (lambda: TASK.batch(np.random.default_rng(0), 3), "it must be a torch.Generator"),  # type: ignore[arg-type]
    (lambda: batch(inputs=np.ones((9, 2, 4)) * nA), r"array of a batch carries a unit \(current\)"),
    (lambda: gradient(weight=torch.zeros(9, 2)), "In this batch nothing is asked"),
    (lambda: gradient(targets=torch.rand(9, 2)), r"'targets' has shape \(9, 2\).*\(9, 2, 2\)"),
    (lambda: bp.tasks.check_loss(bp.tasks.squared, 0), "outputs is 0"),
    (lambda: bp.Arm("recurrent", TASK, "eprop", bp.Training()), "circuit of an arm is 'recurrent'"),  # type: ignore[arg-type]
    (lambda: bp.Arm(circuit(), TASK, "eprop", {"updates": 3}), r"training of an arm is .*bp.Training\(updates="),  # type: ignore[arg-type]
    # simulations
    (lambda: bp.simulate(circuit(), np.ones((9, 2, 5))), r"inputs have shape \(9, 2, 5\); expected \(time, batch, 4\)"),
    (lambda: bp.simulate(circuit(), 100), r"inputs have shape \(\)"),
    (lambda: bp.simulate(circuit(), np.full((9, 1, 4), np.nan)), "not finite"),
    (lambda: bp.simulate(circuit(), STEPS * nA), r"inputs carry a unit \(current\)"),
    (lambda: bp.simulate(circuit(), STEPS, record=["V"]), "Did you mean 'v'"),
    (lambda: bp.simulate(circuit(), STEPS, record=["rate"]), "Known: I, spikes, v"),
    (lambda: bp.simulate(circuit(), STEPS, targets=np.ones((5, 1, 2))), r"targets have shape \(5, 1, 2\), but the inputs have 9 steps"),
    (lambda: bp.brian.simulate(circuit(cell="elman"), STEPS), "discrete maps"),
    (lambda: circuit().build().load({"W_in": np.ones((4, 10))}), r"has shape \(4, 10\), expected \(10, 4\)"),
    (lambda: circuit().build().load({"W_in": np.ones((10, 4)) * 1j}), "an array of real numbers"),
    (lambda: circuit().build().load({"W": np.ones((4, 10))}), "no weight 'W' of this network"),
]  # fmt: skip


@pytest.mark.parametrize(("write", "answer"), MISTAKES, ids=[str(i) for i in range(len(MISTAKES))])
def test_a_mistake_is_answered_in_one_paragraph(write: Any, answer: str) -> None:
    with pytest.raises(BioplausError, match=answer) as error:
        write()
    text = str(error.value)
    assert "\n" not in text and text.strip() == text
    assert len(text.split()) > 6 and len(text) < 900


def test_what_is_made_by_name_is_said_where_it_is_taken_for_an_attribute() -> None:
    for name, words in (
        ("lstm", r"bp.model\('lstm'\)"),
        ("eprop", r"bp.rule\('eprop'\)"),
        ("recurrent", r"bp.circuit\('recurrent'\)"),
        ("add", r"bp.task\('add'\)"),
    ):
        with pytest.raises(
            AttributeError, match=f"no name '{name}' in bioplaus|no name in bioplaus '{name}'.*{words} makes"
        ):
            getattr(bp, name)


def test_what_may_be_written_either_way() -> None:
    assert bp.rule("rtrl", schedule=bp.Window(5)).schedule == bp.Window(5)
    for rule in (bp.rule("tbptt", steps=3), bp.rule("bp_lambda", schedule=bp.Online())):
        assert rule.describe()
    one = batch()
    found = [bp.gradient(circuit(), "eprop", one, loss)["W_in"] for loss in ("squared", bp.tasks.squared)]
    assert torch.equal(*found) and found[0].abs().sum() > 0
    arm = bp.Arm(circuit(), "delayed_match", "eprop", None)  # type: ignore[arg-type]
    assert (arm.task, arm.rule.name, arm.training) == (bp.task("delayed_match"), "eprop", bp.Training())
    said = [set(simulate(circuit(cell="leaky_rate"), STEPS)) for simulate in (bp.simulate, bp.brian.simulate)]
    assert said == [{"rate", "input", "output"}] * 2 and "spikes" in bp.simulate(circuit(), STEPS)
    sparse = torch.eye(9)[:, :8].reshape(9, 2, 4).to_sparse()
    assert torch.equal(batch(inputs=sparse).inputs, sparse.to_dense())
    assert bp.simulate(circuit(), sparse, ()).equals(bp.simulate(circuit(), sparse.to_dense(), ()))
    assert circuit().build(dtype="float64").dtype == torch.float64
