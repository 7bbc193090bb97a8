"""The error of every loss is arbitrated twice: by torch autograd and by finite differences, in float64."""

from __future__ import annotations

import math
import pickle

import pytest
import torch
from torch import Tensor

from bioplaus.errors import TaskError
from bioplaus.tasks.losses import Loss, binary_cross_entropy, cross_entropy, soft_cross_entropy, squared

LOSSES = (squared, cross_entropy, soft_cross_entropy, binary_cross_entropy)


def example(loss: Loss, shape: tuple[int, ...], scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Outputs and targets of the kind that the loss takes, float64."""
    generator = torch.Generator().manual_seed(3)
    outputs = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
    if loss.kind == "index":
        return outputs, torch.randint(shape[-1], shape[:-1], generator=generator)
    if loss.kind == "binary":
        return outputs, torch.rand(shape, generator=generator, dtype=torch.float64)
    if loss.kind == "distribution":
        drawn = torch.rand(shape, generator=generator, dtype=torch.float64)
        return outputs, drawn / drawn.sum(-1, keepdim=True)
    return outputs, torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("shape", [(6, 5), (4, 3, 5), (2, 1)], ids=str)
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_error_is_the_autograd_derivative_of_value(loss: Loss, shape: tuple[int, ...], scale: float) -> None:
    outputs, targets = example(loss, shape, scale)
    outputs.requires_grad_()
    value = loss.value(outputs, targets)
    assert value.shape == shape[:-1]
    (expected,) = torch.autograd.grad(value.sum(), outputs)
    with torch.no_grad():
        error = loss.error(outputs, targets)
    assert error.shape == outputs.shape
    torch.testing.assert_close(error, expected, rtol=1e-12, atol=1e-12)
    if shape[-1] > 1:  # one class alone is always right
        assert error.abs().max() > 0.1


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_error_is_the_finite_difference_of_value(loss: Loss) -> None:
    outputs, targets = example(loss, (3, 2, 4))
    # Central differences of eighth order: at this step truncation and rounding are both below 1e-13.
    step, coefficients = 1e-2, (4 / 5, -1 / 5, 4 / 105, -1 / 280)
    expected = torch.zeros_like(outputs)
    for unit in range(outputs.shape[-1]):
        for k, coefficient in enumerate(coefficients, start=1):
            shift = torch.zeros_like(outputs)
            shift[..., unit] = k * step
            difference = loss.value(outputs + shift, targets) - loss.value(outputs - shift, targets)
            expected[..., unit] += coefficient * difference / step
    torch.testing.assert_close(loss.error(outputs, targets), expected, rtol=0, atol=1e-12)


def test_values_by_hand() -> None:
    outputs = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    assert squared.value(outputs, torch.tensor([[0.0, 1.0]], dtype=torch.float64)).item() == 5.0
    expected = math.log(math.exp(1) + math.exp(-2)) + 2
    assert cross_entropy.value(outputs, torch.tensor([1])).item() == pytest.approx(expected, rel=1e-14)
    expected = math.log(math.exp(1) + math.exp(-2)) - 0.25 * 1 + 0.75 * 2
    targets = torch.tensor([[0.25, 0.75]], dtype=torch.float64)
    assert soft_cross_entropy.value(outputs, targets).item() == pytest.approx(expected, rel=1e-14)
    expected = math.log(1 + math.exp(1)) - 1 + math.log(1 + math.exp(-2))
    targets = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    assert binary_cross_entropy.value(outputs, targets).item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_one_step_and_many_steps_are_the_same_call(loss: Loss, dtype: torch.dtype) -> None:
    outputs, targets = example(loss, (4, 3, 5))
    outputs, targets = outputs.to(dtype), targets if loss.kind == "index" else targets.to(dtype)
    # Vectorised and remaining elements of an array may differ in the last bit.
    rtol, atol = (1e-5, 1e-7) if dtype == torch.float32 else (1e-13, 1e-15)
    for step in range(4):
        one, many = loss.value(outputs[step], targets[step]), loss.value(outputs, targets)[step]
        torch.testing.assert_close(one, many, rtol=rtol, atol=atol)
        one, many = loss.error(outputs[step], targets[step]), loss.error(outputs, targets)[step]
        torch.testing.assert_close(one, many, rtol=rtol, atol=atol)
        assert one.dtype == dtype


def test_large_outputs_neither_overflow_nor_lose_the_small_error() -> None:
    outputs = torch.tensor([[1e4, -1e4]])
    for targets in (torch.tensor([0]), torch.tensor([1])):
        assert torch.isfinite(cross_entropy.value(outputs, targets)).all()
        assert torch.isfinite(cross_entropy.error(outputs, targets)).all()
    targets = torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(binary_cross_entropy.value(outputs, targets), torch.tensor([2e4]))
    torch.testing.assert_close(binary_cross_entropy.error(outputs, targets), torch.tensor([[1.0, -1.0]]))
    # σ(50) rounds to 1, so that σ(50) − 1 would be 0 where the error is −exp(−50).
    sure = torch.tensor([[50.0, 0.0]], dtype=torch.float64)
    assert cross_entropy.error(sure, torch.tensor([0]))[0, 0].item() == pytest.approx(-math.exp(-50), rel=1e-9, abs=0)
    first = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    assert soft_cross_entropy.error(sure, first)[0, 0].item() == pytest.approx(-math.exp(-50), rel=1e-9, abs=0)
    assert torch.isfinite(soft_cross_entropy.value(outputs, targets)).all()
    right = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    assert binary_cross_entropy.error(sure, right)[0, 0].item() == pytest.approx(-math.exp(-50), rel=1e-9, abs=0)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_total_is_the_weighted_sum_over_steps_and_the_mean_over_the_batch(loss: Loss) -> None:
    outputs, targets = example(loss, (4, 3, 5))
    weight = torch.rand(4, 3, dtype=torch.float64)
    expected = sum(
        weight[t, b] * loss.value(outputs[t : t + 1, b], targets[t : t + 1, b])[0] / 3
        for t in range(4)
        for b in range(3)
    )
    torch.testing.assert_close(loss.total(outputs, targets, weight), expected, rtol=1e-13, atol=0)


def test_scores() -> None:
    weight = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    outputs = torch.tensor([[[9.0, 0.0]] * 2, [[0.0, 1.0], [1.0, 0.0]]])
    targets = torch.tensor([[1, 1], [1, 1]])
    assert cross_entropy.score(outputs, targets, weight) == 0.5  # the wrong ones at step 0 are not asked
    unequal = torch.tensor([[0.0, 0.0], [3.0, 1.0]])
    assert cross_entropy.score(outputs, targets, unequal) == 0.75
    assert squared.score(outputs, outputs + 0.3, weight) == pytest.approx(0.3)
    odds = torch.tensor([[[0.0, 1.0]] * 2, [[0.25, 0.75], [0.5, 0.5]]])
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    for given, expected in ((weight, (entropy + math.log(2)) / 2), (unequal, (3 * entropy + math.log(2)) / 4)):
        best = soft_cross_entropy.score(odds.clamp(min=1e-30).log(), odds, given)
        assert best == pytest.approx(expected)  # step 0 is not asked
        assert soft_cross_entropy.score(odds, odds, given) > best
    zero = torch.zeros(2, 2, 3)
    assert binary_cross_entropy.score(zero, zero, weight) == pytest.approx(1.0)  # chance: one bit
    assert binary_cross_entropy.score(zero - 30, zero, weight) == pytest.approx(0.0, abs=1e-9)
    assert [loss.higher_is_better for loss in LOSSES] == [False, True, False, False]


def test_shapes_that_would_be_broadcast_are_refused() -> None:
    outputs = torch.zeros(4, 3, 5)
    for loss in (squared, soft_cross_entropy, binary_cross_entropy):
        for call in (loss.value, loss.error):
            with pytest.raises(TaskError, match=r"\(4, 3, 5\).*\(3, 5\)"):
                call(outputs, torch.zeros(3, 5))
    for targets in (torch.zeros(3, dtype=torch.int64), torch.zeros(4, 3)):
        for call in (cross_entropy.value, cross_entropy.error):
            with pytest.raises(TaskError, match=r"one class index \(int64\) per step and sample"):
                call(outputs, targets)


def test_soft_cross_entropy_of_one_certain_class_is_cross_entropy() -> None:
    outputs, targets = example(cross_entropy, (4, 3, 5))
    certain = torch.nn.functional.one_hot(targets, 5).double()
    for name in ("value", "error"):
        one, other = getattr(soft_cross_entropy, name), getattr(cross_entropy, name)
        torch.testing.assert_close(one(outputs, certain), other(outputs, targets), rtol=1e-13, atol=0)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_a_loss_that_was_pickled_is_still_the_same(loss: Loss) -> None:
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert len({*LOSSES, pickle.loads(pickle.dumps(loss))}) == len(LOSSES)


def test_a_loss_of_ones_own_scores_its_weighted_mean() -> None:
    class Absolute(Loss):
        name = "absolute"

        def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
            return (outputs - targets).abs().sum(-1)

    weight = torch.tensor([[1.0], [3.0]])
    outputs = torch.tensor([[[2.0]], [[4.0]]])
    assert Absolute().score(outputs, torch.zeros(2, 1, 1), weight) == pytest.approx(3.5)
