"""The one gate through which every batch goes, before it is trained on, tested with or measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from bioplaus import checks
from bioplaus.errors import TaskError
from bioplaus.tasks.arrays import array_of, values_of
from bioplaus.tasks.base import Split, Task, check_task
from bioplaus.tasks.batch import Batch
from bioplaus.tasks.known import known_of
from bioplaus.tasks.losses import Loss

if TYPE_CHECKING:
    from torch import Tensor


def drawn(task: Task, generator: torch.Generator, size: int, split: Split = "train") -> Batch:
    """The batch that a task draws, checked; one that asks nothing may come.

    Raises
    ------
    TaskError
        As `check_batch`.
    """
    return _checked(task, task.batch(generator, size, split), "returned a batch in which")


def test_set(task: Task, size: int = 256) -> Iterator[Batch]:
    """The test set of a task in batches, each checked.

    Raises
    ------
    TaskError
        As `check_batch`; also if there are no test trials, or none of them asks anything.
    """
    count, asked = 0, False
    batches = task.test_batches(size)
    if isinstance(batches, Batch) or not isinstance(batches, Iterable):
        wanted = "an iterable of Batch, such as a list or what a method with yield gives"
        raise checks.refusal(
            TaskError, f"What test_batches({size}) of the task '{task.name}' returned", batches, wanted
        )
    for batch in batches:
        batch = _checked(task, batch, "has a test set in which")
        count, asked = count + batch.size, asked or bool(batch.weight.any())
        yield batch
    if not asked:
        what = "asks nothing: its weight is 0 at every step of every trial" if count else "is empty"
        raise TaskError(
            f"The test set of the task '{task.name}' {what}, so it has no score. Look at what its test_batches(size) yields, or "
            "its batch(generator, size, split) with split='test'; give the steps that have a target a weight above 0."
        )


def check_batch(task: Task, batch: Batch) -> None:
    """Refuse a batch that doesn't fit its task: the type, shape and values of every array.

    Raises
    ------
    TaskError
        One paragraph naming the task, the array, the place in it, and what was expected there.
    """
    check_task(task)
    if not _checked(task, batch, "returned a batch in which").weight.any():
        raise TaskError(
            f"The task '{task.name}' returned a batch whose weight is 0 at every step of every trial, so "
            f"nothing is asked and nothing can be learned; give the steps that have a target a weight above "
            f"0."
        )


def fitted(batch: Batch, owner: str, shape: tuple[Any, Any, Any], loss: Loss) -> Batch:
    """A batch that is as a loss takes it, its numbers floating, classes int64.

    Parameters
    ----------
    owner : whose it is, as `bioplaus.tasks.arrays.array_of` takes it.
    shape : steps, inputs and outputs that are expected.

    Raises
    ------
    TaskError
        As `check_batch`.
    """
    steps, inputs, outputs = shape
    size = batch.inputs.shape[1] if isinstance(batch.inputs, torch.Tensor) and batch.inputs.dim() == 3 else "batch"
    index = loss.kind == "index"
    expected: dict[str, tuple[str, tuple[Any, ...]]] = {
        "inputs": ("(time, batch, input)", (steps, size, inputs)),
        "targets": ("(time, batch)", (steps, size)) if index else ("(time, batch, output)", (steps, size, outputs)),
        "weight": ("(time, batch)", (steps, size)),
    }
    arrays = {
        name: array_of(owner, name, getattr(batch, name), order, wanted, whole=index and name == "targets")
        for name, (order, wanted) in expected.items()
    }
    if not size:
        raise TaskError(f"{owner} there is no trial: its inputs have shape {tuple(batch.inputs.shape)}.")
    if batch.context is not None:
        dims = batch.context.dim() if isinstance(batch.context, torch.Tensor) else 0
        width = batch.context.shape[-1] if dims else "context"
        each = dims == 3  # one for every step
        order, wanted = (
            ("(time, batch, context)", (steps, size, width)) if each else ("(batch, context)", (size, width))
        )
        arrays["context"] = array_of(owner, "context", batch.context, order, wanted, whole=False)
    _refuse_targets(owner, arrays["targets"], loss, outputs)
    values_of(owner, "weight", arrays["weight"], arrays["weight"] < 0, "0 (nothing asked) or more")
    return replace(batch, **arrays, trials=known_of(owner, batch.trials, *arrays["weight"].shape))


def _refuse_targets(owner: str, targets: Tensor, loss: Loss, outputs: int) -> None:
    """Refuse targets that the loss does not take."""
    highest = {"index": outputs - 1, "binary": 1, "distribution": 1}.get(loss.kind)
    if highest is None:
        return
    kind = "class index (one of the task's outputs)" if loss.kind == "index" else "number"
    values_of(owner, "targets", targets, (targets < 0) | (targets > highest), f"a {kind} from 0 to {highest}")
    if loss.kind == "distribution":
        sums = targets.sum(-1)
        wanted = "1 (a distribution over the outputs)"
        values_of(owner, "targets", sums, (sums - 1).abs() > 1e-4, wanted, says="adds up to")


def _checked(task: Task, batch: Any, says: str) -> Batch:
    if not isinstance(batch, Batch):
        raise TaskError(
            f"The task '{task.name}' returned {checks.short(batch)} from its batch(), where a "
            f"Batch(inputs, targets, weight) is expected."
        )
    return fitted(batch, f"The task '{task.name}' {says}", (task.steps, task.inputs, task.outputs), task.loss)
