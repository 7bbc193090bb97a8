"""A hierarchy of areas is a multilayer network: its gradient by BPTT is that of plain torch by backpropagation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from rule_helpers import paragraph

import bioplaus as bp
from bioplaus import ms
from bioplaus.circuit import Readout
from bioplaus.errors import CircuitError, TaskError
from bioplaus.tasks import check_loss, cross_entropy, joined
from bioplaus.tasks.stream import Stream
from bioplaus.tasks.volley import Volley


def flashed(depth: int, size: int = 16, **options: Any) -> bp.Batch:
    batch = bp.task("volley", steps=depth, **options).batch(torch.Generator().manual_seed(1), size)
    return batch.to(dtype=torch.float64)


def backpropagated(
    network: bp.Network, batch: bp.Batch, skip: tuple[tuple[int, int], ...] = ()
) -> dict[str, torch.Tensor]:
    """The gradient of a plain multilayer network with the same weights; nothing of the library takes part."""
    W = {name: value.clone().requires_grad_() for name, value in network.weights.items()}
    h = [batch.inputs[0]]
    for i in range(1, sum(name[1:].isdigit() for name in W) + 1):
        drive = h[-1] @ W[f"W{i}"].T
        for low, high in skip:
            drive = drive + h[low] @ W[f"W_A{high}A{low}"].T if high == i else drive
        h.append(torch.relu(drive + W["b" if "b" in W else f"b_A{i}"]))
    loss = torch.nn.functional.cross_entropy(h[-1] @ W["W_out"].T + W["b_out"], batch.targets[-1])
    loss.backward()
    assert min(float((each > 0).double().mean()) for each in h[1:]) > 0.1, "areas are silent"
    return {name: value.grad for name, value in W.items() if value.grad is not None}


@pytest.mark.parametrize("depth", (1, 3, 5))
def test_bptt_of_a_hierarchy_is_backpropagation(depth: int) -> None:
    circuit = bp.circuit("hierarchy", inputs=64, units=(24, 16, 20, 12, 18)[:depth], outputs=10)
    network, batch = circuit.build(seed=depth, dtype=torch.float64), flashed(depth)
    found, true = bp.gradient(network, bp.rule("bptt"), batch, cross_entropy), backpropagated(network, batch)
    assert found.keys() == true.keys() and len(true) == 2 * depth + 2
    for name, value in true.items():
        assert float(value.abs().max()) > 1e-4
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-14)


def test_projections_that_skip_areas_arrive_with_the_volley() -> None:
    circuit = bp.circuit("hierarchy", inputs=64, units=(20, 16, 12, 14), outputs=10, skip=(("A1", "A3"), ("A1", "A4")))
    assert {p.name: p.delay for p in circuit.projections if "A1" in p.name} == {"W_A3A1": 2, "W_A4A1": 3}
    network, batch = circuit.build(seed=2, dtype=torch.float64), flashed(4)
    found, true = (
        bp.gradient(network, bp.rule("bptt"), batch, cross_entropy),
        backpropagated(network, batch, ((1, 3), (1, 4))),
    )
    assert found.keys() == true.keys()
    for name, value in true.items():
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-14)


def test_a_rule_that_cuts_time_learns_the_top_alone() -> None:
    circuit = bp.circuit("hierarchy", inputs=64, units=(24, 16, 20), outputs=10)
    network, batch = circuit.build(seed=3, dtype=torch.float64), flashed(3)
    found, true = bp.gradient(network, bp.rule("tbptt", steps=1), batch, cross_entropy), backpropagated(network, batch)
    assert not found["W1"].any() and not found["W2"].any()
    torch.testing.assert_close(found["W3"], true["W3"], rtol=1e-12, atol=1e-14)


def test_lateral_and_feedback_projections_and_areas_that_spike() -> None:
    circuit = bp.circuit(
        "hierarchy", inputs=64, units=(30, 20, 10), outputs=10, cell="lif", lateral=True, feedback=True, input_gain=20.0, gain=30.0, delay=2, tau_out=20 * ms
    )  # fmt: skip
    ends = {p.name: (p.source, p.target) for p in circuit.projections}
    assert ends == {
        "W1": ("input", "A1"), "W2": ("A1", "A2"), "W3": ("A2", "A3"), "W_A1A1": ("A1", "A1"), "W_A2A2": ("A2", "A2"), "W_A3A3": ("A3", "A3"),
        "W_A1A2": ("A2", "A1"), "W_A2A3": ("A3", "A2"),
    }  # fmt: skip
    network = circuit.build(seed=0)
    assert not network.weights["W_A2A2"].diagonal().any() and network.circuit.readout.sources == ("A3",)
    spikes = bp.simulate(network, flashed(40, shown=20).to(dtype=torch.float32), "spikes")
    assert min(float(spikes[f"A{i}.spikes"].mean()) for i in (1, 2, 3)) > 0.005, "areas are silent"


def test_a_stream_is_volleys_one_after_the_other() -> None:
    """At every step the gradient is the sum of what each volley by itself would give, and the labels told are of what is in each area."""
    circuit = bp.circuit("hierarchy", inputs=64, units=(24, 16, 20), outputs=10)
    network = circuit.build(seed=1, dtype=torch.float64)
    batch = bp.task("stream", steps=7, lag=2).batch(torch.Generator().manual_seed(3), 6).to(dtype=torch.float64)
    found = bp.gradient(network, bp.rule("bptt"), batch, cross_entropy)
    W = {name: value.clone().requires_grad_() for name, value in network.weights.items()}
    loss = torch.zeros((), dtype=torch.float64)
    for t in range(5):
        h = batch.inputs[t]
        for i in (1, 2, 3):
            h = torch.relu(h @ W[f"W{i}"].T + W[f"b_A{i}"])
        loss = (
            loss
            + torch.nn.functional.cross_entropy(h @ W["W_out"].T + W["b_out"], batch.targets[t + 2])
            * batch.weight[t + 2, 0]
        )
    loss.backward()
    for name, value in W.items():
        assert value.grad is not None and float(value.grad.abs().max()) > 1e-4
        torch.testing.assert_close(found[name], value.grad, rtol=1e-12, atol=1e-14)
    assert batch.context is not None and batch.context.shape == (7, 6, 30)
    label = batch.targets[2:]  # of the images of steps 0 to 4
    for area in range(3):
        told = batch.context[..., 10 * area : 10 * (area + 1)]
        assert torch.equal(told[area : area + 5].argmax(-1), label) and not told[:area].any()


def test_the_test_set_of_a_stream_asks_for_every_image_once() -> None:
    task = Stream(steps=9, lag=2)
    batches = list(task.test_batches(20))
    assert sum(batch.size for batch in batches) == 52
    asked = torch.cat([batch.targets[batch.weight > 0] for batch in batches])
    assert len(asked) == 360 and torch.equal(asked.bincount(), torch.tensor(task.images("test").labels).bincount())
    with pytest.raises(TaskError, match="lag=9, and a trial has steps=9") as error:
        Stream(steps=9, lag=9)
    paragraph(error)


@pytest.mark.parametrize("context", ("of a trial", "of a step"))
def test_context_goes_where_its_trials_go(context: str) -> None:
    def batch(seed: int) -> bp.Batch:
        told = torch.rand(4, 3, 2) if context == "of a step" else torch.rand(3, 2)
        return bp.Batch(torch.rand(4, 3, 1), torch.rand(4, 3, 1), torch.ones(4, 3), told)

    one, other = batch(0), batch(1)
    both = joined([one, other])
    assert both.context is not None and one.context is not None and both.part(2, 5).context is not None
    torch.testing.assert_close(both.part(0, 3).context, one.context, rtol=0, atol=0)
    torch.testing.assert_close(both.part(3).context, other.context, rtol=0, atol=0)
    middle = both.part(2, 5).context
    assert middle is not None and middle.shape == (*both.context.shape[:-2], 3, 2)


@pytest.mark.parametrize("rule", ("eprop", "tbptt"))
def test_areas_with_readouts_of_their_own_learn_from_losses_of_their_own(rule: str) -> None:
    circuit = bp.circuit("hierarchy", inputs=64, units=(24, 16, 20), outputs=10, readouts="each")
    network = circuit.build(seed=1, dtype=torch.float64)
    task = Volley(steps=3, readouts="each")
    batch = task.batch(torch.Generator().manual_seed(3), 6).to(dtype=torch.float64)
    steps: dict[str, Any] = {"steps": 1} if rule == "tbptt" else {}
    found = bp.gradient(network, bp.rule(rule, **steps), batch, task.loss)
    W = {name: value.clone().requires_grad_() for name, value in network.weights.items()}
    h, loss, at = batch.inputs[0], torch.zeros((), dtype=torch.float64), 0
    label = torch.as_tensor(batch.trials["answer"])
    for i, n in enumerate((24, 16, 20), 1):
        h = torch.relu(h.detach() @ W[f"W{i}"].T + W[f"b_A{i}"])  # the loss of an area goes no further
        rows = slice(10 * i - 10, 10 * i)
        loss = loss + torch.nn.functional.cross_entropy(h @ W["W_out"][rows, at : at + n].T + W["b_out"][rows], label)
        at += n
    loss.backward()
    for name, value in W.items():
        assert value.grad is not None and float(value.grad.abs().max()) > 1e-4
        torch.testing.assert_close(found[name], value.grad, rtol=1e-12, atol=1e-14)
    assert int((network.weights["W_out"] != 0).sum()) == 10 * 60
    whole = bp.gradient(network, bp.rule("bptt"), batch, task.loss)
    assert float((whole["W1"] - found["W1"]).abs().max()) > 1e-4, "losses of areas above reach A1, too"


def test_a_readout_that_looks_apart_stays_apart_and_scores_by_its_last_part() -> None:
    circuit = bp.circuit("hierarchy", inputs=64, units=(24, 16), outputs=10, readouts="each")
    task = Volley(steps=2, readouts="each")
    trainer = bp.Trainer(circuit, task, bp.rule("eprop"), bp.Training(batch=20, lr=5e-3), seed=0)
    before = trainer.evaluate()["test_score"]
    for _ in range(60):
        trainer.update()
    W, mask = trainer.network.weights["W_out"], trainer.network.masks["W_out"]
    assert not W[mask == 0].any() and bool((W[mask == 1] != 0).all())
    (batch,) = task.test_batches(360)
    o = torch.as_tensor(bp.simulate(trainer.network, batch)["output"].values)
    right = (o[1, :, 10:].argmax(-1) == torch.as_tensor(batch.trials["answer"])).float().mean()
    assert trainer.evaluate()["test_score"] == pytest.approx(float(right))
    assert float(right) > before + 0.3
    with pytest.raises(CircuitError, match="does not look") as error:
        trainer.network.load({"W_out": torch.ones_like(W)})
    paragraph(error)
    with pytest.raises(CircuitError, match="size of the readout is 21") as error:
        replace(circuit, readout=Readout(size=21, apart=True))
    paragraph(error)
    check_loss(task.loss, task.outputs)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"units": ()}, "units of hierarchy"),
        ({"units": 64}, "units of hierarchy"),
        ({"cell": ("elman", "elman")}, "2 cell types and units 3 areas"),
        ({"skip": (("A1", "A2"),)}, "skips no area"),
        ({"skip": (("A1", "A7"),)}, "skip of hierarchy"),
        ({"skip": "A1"}, "skip of hierarchy"),
        ({"skip": (("A1", "A3"),), "delay": bp.Uniform(1 * ms, 2 * ms), "cell": "lif"}, "or leave skip out"),
        ({"readouts": "all"}, "readouts of hierarchy"),
        ({"lateral": 1}, "lateral of hierarchy"),
        ({"feedback": "yes"}, "feedback of hierarchy"),
    ],
)
def test_what_makes_no_hierarchy_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(CircuitError, match=says) as error:
        bp.circuit("hierarchy", **{"inputs": 64, "outputs": 10, "units": (8, 8, 8)} | wrong)
    paragraph(error)


def test_the_volley_is_an_image_flashed_and_its_label_told() -> None:
    task = Volley(steps=4, shown=2)
    batch = task.batch(torch.Generator().manual_seed(0), 50)
    images = task.images("train")
    known = {image.tobytes(): label for image, label in zip(images.pixels, images.labels, strict=True)}
    for b in range(batch.size):
        pixels = (batch.inputs[0, b] * images.brightest).round().byte().reshape(8, 8).numpy()
        assert known[pixels.tobytes()] == batch.targets[-1, b] == batch.trials["answer"][b]
    assert torch.equal(batch.inputs[0], batch.inputs[1]) and not batch.inputs[2:].any()
    assert batch.context is not None and torch.equal(batch.context.argmax(-1), batch.targets[-1])
    assert torch.equal(batch.weight.sum(1), torch.tensor([0.0, 0.0, 0.0, 50.0]))
    assert sum(each.size for each in task.test_batches(100)) == 360
    with pytest.raises(TaskError, match="shown=5, and a trial has steps=4") as error:
        bp.task("volley", steps=4, shown=5)
    paragraph(error)
