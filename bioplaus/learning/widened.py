"""A task as a circuit meets it whose last input lines something beside it writes on (`bioplaus.circuit.beside`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from bioplaus.tasks import Batch, Task
from bioplaus.tasks.base import Split

if TYPE_CHECKING:
    from torch import Tensor


class Widened(Task):
    """The same trials with as many input lines more as there are outputs, on which nothing stands yet."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.name, self.inputs, self.outputs = task.name, task.inputs + task.outputs, task.outputs
        self.steps, self.dt, self.loss = task.steps, task.dt, task.loss
        self.test_trials, self.test_seed = task.test_trials, task.test_seed

    @property
    def score_name(self) -> str:
        return self.task.score_name

    @property
    def higher_is_better(self) -> bool:
        return self.task.higher_is_better

    def batch(self, generator: torch.Generator, size: int, split: Split = "train") -> Batch:
        return self._wide(self.task.batch(generator, size, split))

    def test_batches(self, size: int) -> Iterator[Batch]:
        yield from map(self._wide, self.task.test_batches(size))

    def score(self, outputs: Tensor, batch: Batch) -> float:
        return self.task.score(outputs, batch)

    def describe(self) -> dict[str, Any]:
        return self.task.describe()

    def _wide(self, batch: Batch) -> Batch:
        more = batch.inputs.new_zeros(*batch.inputs.shape[:2], self.outputs)
        return replace(batch, inputs=torch.cat([batch.inputs, more], -1))
