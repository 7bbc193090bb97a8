"""Every batch goes through one gate, the test set before training; losses of one's own are held against their own words."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

import bioplaus as bp
from bioplaus.errors import BioplausError, TaskError
from bioplaus.tasks import Loss, check_loss, cross_entropy, squared


class Trials(bp.Task):
    """Noise in, a class out, until something goes wrong in one of the splits, from a batch on."""

    inputs, outputs, steps, loss, test_trials = 2, 3, 6, cross_entropy, 40

    def __init__(self, flaw: Any = None, split: str = "train", after: int = 1) -> None:
        self.flaw, self.split, self.after, self.calls = flaw, split, after, 0

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> bp.Batch:
        self.calls += split == "train"
        x = torch.randn(self.steps, size, 2, generator=generator)
        arrays = [x, torch.zeros(self.steps, size, dtype=torch.int64), torch.ones(self.steps, size)]
        if self.flaw is not None and split == self.split and (split == "test" or self.calls > self.after):
            arrays = self.flaw(*arrays)
        return bp.Batch(*arrays)


def a_class_too_many(x: Tensor, y: Tensor, w: Tensor) -> list[Tensor]:
    y[-1, 1] = 7
    return [x, y, w]


def a_nan(x: Tensor, y: Tensor, w: Tensor) -> list[Tensor]:
    x[2, 1, 0] = math.nan
    return [x, y, w]


def shorter(x: Tensor, y: Tensor, w: Tensor) -> list[Tensor]:
    return [x[:-1], y[:-1], w[:-1]]


def one_input_more(x: Tensor, y: Tensor, w: Tensor) -> list[Tensor]:
    return [torch.cat([x, x], -1), y, w]


def a_weight_below_zero(x: Tensor, y: Tensor, w: Tensor) -> list[Tensor]:
    w[3, 0] = -1
    return [x, y, w]


def unasked(x: Tensor, y: Tensor, w: Tensor) -> list[Tensor]:
    return [x, y, w * 0]


FLAWS = {
    a_class_too_many: "'targets' holds 7 at step 5, sample 1.*from 0 to 2",
    a_nan: "'inputs' holds nan at step 2, sample 1, unit 0.*finite",
    shorter: r"'inputs' has shape \(5, .*= \(6, ",
    one_input_more: r"'inputs' has shape \(6, \d+, 4\).*, 2\)",
    a_weight_below_zero: "'weight' holds -1.0 at step 3, sample 0",
}
CIRCUIT = bp.circuit("recurrent", cell=bp.model("elman"), inputs=2, units=8, outputs=3)


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw.__name__)
def test_a_later_batch_is_looked_at_like_the_first(flaw: Any) -> None:
    trainer = bp.Trainer(CIRCUIT, Trials(flaw, after=3), bp.rule("bptt"), bp.Training(batch=4))
    trainer.update()
    trainer.update()
    before = {name: w.clone() for name, w in trainer.network.weights.items()}
    with pytest.raises(TaskError, match=FLAWS[flaw]) as error:
        trainer.update()
    assert "The task 'trials' returned a batch" in str(error.value)
    assert all(torch.equal(w, before[name]) for name, w in trainer.network.weights.items()), "nothing was learned of it"


@pytest.mark.parametrize("flaw", [*FLAWS, unasked], ids=lambda flaw: flaw.__name__)
def test_the_test_set_is_looked_at_before_training(flaw: Any) -> None:
    task = Trials(flaw, split="test")
    with pytest.raises(TaskError, match=FLAWS.get(flaw, "The test set of the task 'trials' asks nothing")):
        bp.Trainer(CIRCUIT, task, bp.rule("bptt"), bp.Training(batch=4))
    assert task.calls <= 1, "before the first update"


def test_a_test_set_without_trials_is_refused() -> None:
    class Empty(Trials):
        def test_batches(self, size: int) -> Any:
            return iter(())

    with pytest.raises(TaskError, match="The test set of the task 'empty' is empty, so it has no score"):
        bp.Trainer(CIRCUIT, Empty(), bp.rule("bptt"), bp.Training(batch=4))


def test_a_batch_without_a_question_has_no_score_and_that_is_said() -> None:
    trainer = bp.Trainer(CIRCUIT, Trials(unasked, after=2), bp.rule("bptt"), bp.Training(batch=4))
    assert math.isfinite(trainer.update()["score"])
    with pytest.warns(RuntimeWarning, match="batch of update 2 asks nothing.*no score"):
        row = trainer.update()
    assert math.isnan(row["score"]) and row["loss"] == 0
    assert math.isfinite(trainer.evaluate()["test_score"])


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool, torch.float16, torch.float64])
def test_spikes_may_be_whole_numbers_or_truth_values(dtype: torch.dtype) -> None:
    circuit = bp.circuit("recurrent", cell=bp.model("lif"), inputs=3, units=6, outputs=2, input_gain=9.0)
    spikes = torch.rand(30, 2, 3, generator=torch.Generator().manual_seed(0)) < 0.3

    def found(x: Tensor) -> Tensor:
        batch = bp.Batch(x, torch.ones(30, 2, 2), torch.ones(30, 2))
        return bp.gradient(circuit, bp.rule("eprop"), batch)["W_in"]

    wanted = found(spikes.double())
    assert wanted.abs().sum() > 0 and bp.simulate(circuit, spikes).spikes.sum() > 0
    assert torch.equal(found(spikes.to(dtype)), wanted)


def test_a_task_may_give_whole_numbers_arrays_of_numpy_and_lists() -> None:
    """Targets and weights too, on the way of training, testing and recording."""

    class Spikes(bp.Task):
        inputs, outputs, steps, loss, test_trials = 3, 2, 5, squared, 20
        kind: ClassVar[Any] = staticmethod(lambda array: array)

        def batch(self, generator: torch.Generator, size: int, split: str = "train") -> bp.Batch:
            x = torch.randint(2, (5, size, 3), generator=generator).numpy()
            return bp.Batch(*(self.kind(each) for each in (x, x[..., :2], np.ones((5, size)))))

    def trained(kind: Any) -> tuple[float, float, Tensor]:
        task = Spikes()
        object.__setattr__(task, "kind", kind)
        circuit = bp.circuit("recurrent", cell=bp.model("elman"), inputs=3, units=4, outputs=2)
        trainer = bp.Trainer(circuit, task, bp.rule("eprop"), bp.Training(batch=4, dtype="float64"))
        losses = [trainer.update()["loss"] for _ in range(2)]
        assert trainer.record(("rate",)).output.shape == (5, 16, 2)
        return losses[-1], trainer.evaluate()["test_loss"], trainer.network.weights["W_rec"]

    wanted = trained(lambda array: torch.tensor(array, dtype=torch.float32))
    kinds = (
        lambda array: array.astype(np.uint16),
        lambda array: array.astype(bool),
        lambda array: array.tolist(),
        lambda array: torch.tensor(array, dtype=torch.uint8),
        lambda array: array.astype(np.float64)[::-1][::-1],
    )
    for kind in kinds:
        found = trained(kind)
        assert found[:2] == wanted[:2] and torch.equal(found[2], wanted[2])


def test_class_indices_may_be_of_any_whole_kind() -> None:
    def found(y: Any) -> Tensor:
        x = torch.randn(4, 2, 2, generator=torch.Generator().manual_seed(0))
        return bp.gradient(CIRCUIT, bp.rule("bptt"), bp.Batch(x, y, torch.ones(4, 2)))["W_in"]

    wanted = found(torch.tensor([[0, 1]] * 4))
    assert wanted.abs().sum() > 0
    for y in (np.array([[0, 1]] * 4, np.int8), [[0, 1]] * 4, torch.tensor([[0, 1]] * 4, dtype=torch.int32)):
        assert torch.equal(found(y), wanted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": torch.full((4, 2), 9)}, "In this batch the array 'targets' holds 9 at step 0, sample 0"),
        ({"targets": torch.zeros(3, 2, dtype=torch.int64)}, r"'targets' has shape \(3, 2\).*\(4, 2\)"),
        ({"targets": torch.zeros(4, 2, 5)}, r"'targets' has shape \(4, 2, 5\).*\(4, 2, 3\)"),
        ({"weight": torch.full((4, 2), math.nan)}, "'weight' holds nan"),
        ({"weight": -torch.ones(4, 2)}, "'weight' holds -1.0"),
        ({"weight": torch.ones(4)}, r"'weight' has shape \(4,\)"),
        ({"inputs": torch.full((4, 2, 2), math.inf)}, "not finite"),
        ({"context": torch.ones(3, 4)}, r"'context' has shape \(3, 4\)"),
        ({"context": torch.ones(3, 2, 5)}, r"'context' has shape \(3, 2, 5\).*\(time, batch, context\) = \(4, 2, 5\)"),
        ({"context": torch.full((4, 2, 5), math.nan)}, "'context' holds nan at step 0, sample 0, entry 0"),
    ],
)
def test_a_batch_of_ones_own_is_looked_at_too(change: dict[str, Any], message: str) -> None:
    good = {
        "inputs": torch.randn(4, 2, 2),
        "targets": torch.zeros(4, 2, dtype=torch.int64),
        "weight": torch.ones(4, 2),
    }
    bp.gradient(CIRCUIT, bp.rule("bptt"), bp.Batch(**good))
    with pytest.raises(BioplausError, match=message) as error:
        bp.gradient(CIRCUIT, bp.rule("bptt"), bp.Batch(**(good | change)))
    assert "\n" not in str(error.value)


# -- losses of one's own ------------------------------------------------------------------------------------------------


def halves(o: Tensor, y: Tensor) -> Tensor:
    return 0.5 * (o - y).square().sum(-1)


def loss_of(kind: str = "real", **methods: Any) -> Loss:
    return type("Mine", (Loss,), {"name": "mine", "kind": kind} | {k: staticmethod(v) for k, v in methods.items()})()


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (loss_of(value=halves, error=lambda o, y: y - o), "error is not the derivative of its value.*for output"),
        (loss_of(value=halves, error=lambda o, y: 2 * (o - y)), "error is not the derivative"),
        (loss_of(value=halves, error=lambda o, y: 1.001 * (o - y)), "error is not the derivative"),
        (loss_of(value=halves, error=lambda o, y: (o - y).sum(-1)), r"error.* gave \(3, 2\).*\(3, 2, 3\)"),
        (
            loss_of(value=lambda o, y: 0.5 * (o - y).square()),
            r"value.* gave \(3, 2, 3\).*\(3, 2\): one number for each",
        ),
        (loss_of(value=lambda o, y: (o - y).square().mean()), r"value.* gave \(\)"),
        (loss_of(value=lambda o, y: halves(o, y) / o.shape[0]), "another value beside others than alone"),
        (loss_of(value=lambda o, y: float(halves(o, y).sum())), "value.* gave float"),
        (loss_of(value=lambda o, y: o @ y), "value.* ended in RuntimeError"),
        (loss_of(), "no method value"),
        (loss_of(value=lambda o, y: (o - y * torch.log(o)).sum(-1)), "value is .*nan.* at outputs .*may be any number"),
        (loss_of("classes", value=halves), "kind of the loss|kind of .*classes.*real"),
        (loss_of(value=lambda o, y: torch.from_numpy(halves(o, y).detach().numpy())), "autograd doesn't see"),
        (loss_of("index", value=halves), "value.* ended in RuntimeError"),
        (squared.value, "The loss is .*it must be of class Loss"),
    ],
)
def test_a_loss_that_breaks_its_word_is_refused_before_anything_is_learned(loss: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message) as error:
        check_loss(loss, 3)
    assert "\n" not in str(error.value)
    if not isinstance(loss, Loss):
        return
    x = torch.zeros(2, 1, 2)
    with pytest.raises(TaskError, match=message):
        bp.gradient(CIRCUIT, bp.rule("bptt"), bp.Batch(x, torch.zeros(2, 1, 3), torch.ones(2, 1)), loss)
    task = type("Own", (Trials,), {"loss": loss})()
    with pytest.raises(TaskError, match=message):
        bp.Trainer(CIRCUIT, task, bp.rule("bptt"), bp.Training(batch=4))


@pytest.mark.parametrize(
    "loss", [bp.tasks.squared, bp.tasks.cross_entropy, bp.tasks.soft_cross_entropy, bp.tasks.binary_cross_entropy]
)
@pytest.mark.parametrize("outputs", [1, 4])
def test_the_shipped_losses_keep_theirs(loss: Loss, outputs: int) -> None:
    check_loss(loss, outputs)


def test_a_loss_without_error_gets_it_from_autograd() -> None:
    """The same gradients as with the derivative written out, by every kind of half, also where a script has put autograd off."""
    mine = loss_of(value=halves)
    numpys = loss_of(value=lambda o, y: torch.from_numpy(halves(o, y).detach().numpy()), error=lambda o, y: o - y)
    x, y = torch.randn(4, 2, 2), torch.randn(4, 2, 3)
    for rule in ("bptt", "eprop", "rtrl"):
        wanted = bp.gradient(CIRCUIT, bp.rule(rule), bp.Batch(x, y, torch.ones(4, 2)), squared)
        for loss in (mine, numpys):
            with torch.no_grad():
                found = bp.gradient(CIRCUIT, bp.rule(rule), bp.Batch(x, y, torch.ones(4, 2)), loss)
            assert wanted["W_rec"].abs().sum() > 0
            for name in wanted:
                torch.testing.assert_close(found[name], wanted[name], rtol=1e-12, atol=1e-14)
    with torch.inference_mode():
        bp.gradient(CIRCUIT, bp.rule("eprop"), bp.Batch(x, y, torch.ones(4, 2)), mine)
