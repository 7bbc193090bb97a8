"""What a task is, the batches it makes, and the check that refuses a batch before it is trained on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import torch

from bioplaus import checks
from bioplaus.errors import TaskError
from bioplaus.tasks.arrays import array_of, values_of
from bioplaus.tasks.description import plain, settings, source_hash
from bioplaus.tasks.losses import Loss

if TYPE_CHECKING:
    from torch import Tensor

Split = Literal["train", "test"]

options = partial(checks.Table, TaskError, "of the task '{0.name!s:.40}'")
"""Makes the table of what a task's options must be."""

SEED = checks.Whole(0, 2**32 - 1)
"""What every random generator in use accepts."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Trials that run side by side.

    Parameters
    ----------
    inputs : Tensor (time, batch, input), float
        What the circuit is given at each step.
    targets : Tensor (time, batch, output), float; or (time, batch), int64, for a loss on class indices
        What is asked. Steps of weight 0 hold any valid value.
    weight : Tensor (time, batch), float
        Weight of each step in the loss; 0 where nothing is asked. The mean over the batch is not in it.
    context : Tensor (batch, context), float, optional
        What a predictor may be told about a trial besides the circuit's state, such as its label, one-hot.
    """

    inputs: Tensor
    targets: Tensor
    weight: Tensor
    context: Tensor | None = None

    @property
    def steps(self) -> int:
        return self.inputs.shape[0]

    @property
    def size(self) -> int:
        return self.inputs.shape[1]

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> Batch:
        """The same batch on `device`, its floating arrays as `dtype`; class indices stay whole numbers."""

        def move(array: Tensor | None) -> Tensor | None:
            if array is None:
                return None
            return array.to(device=device, dtype=dtype if array.is_floating_point() else None)

        return replace(self, **{field.name: move(getattr(self, field.name)) for field in fields(self)})


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches of trials of one length side by side."""
    if len(batches) == 1:
        return batches[0]
    contexts = [batch.context for batch in batches if batch.context is not None]
    return Batch(
        torch.cat([batch.inputs for batch in batches], 1),
        torch.cat([batch.targets for batch in batches], 1),
        torch.cat([batch.weight for batch in batches], 1),
        torch.cat(contexts) if contexts else None,
    )


class Task:
    """Trials to learn from: a generator of batches with a loss and a score.

    A task of one's own is a subclass, in any script, that gives `inputs`, `outputs`, `steps`, `loss` and
    `batch`, as class attributes or as fields of a frozen dataclass; the rest has defaults.

    Attributes
    ----------
    name : str
        Default: the class's name in snake case.
    inputs, outputs, steps : int
        Numbers of input and output units and of time steps of a trial.
    dt : float or None
        Length of a step in seconds; None where steps have no duration.
    loss : Loss
        `squared`, `cross_entropy`, `soft_cross_entropy`, `binary_cross_entropy`, or a subclass of `Loss`.
    score_name, higher_is_better : str, bool
        What `score` returns; default: the loss's own (r.m.s. error, accuracy, nats, bits).
    test_trials, test_seed : int
        How many trials the test set of a generative task has, and the seed they are drawn with.

    Examples
    --------
    >>> import torch
    >>> from bioplaus.tasks import Batch, Task, binary_cross_entropy, check_batch
    >>> class Parity(Task):  # was the number of ones odd?
    ...     inputs, outputs, steps, loss = 1, 1, 6, binary_cross_entropy
    ...     def batch(self, generator, size, split="train"):
    ...         bits = torch.randint(2, (self.steps, size, 1), generator=generator).float()
    ...         weight = torch.zeros(self.steps, size)
    ...         weight[-1] = 1.0
    ...         return Batch(bits, bits.cumsum(0) % 2, weight)
    >>> parity = Parity()
    >>> check_batch(parity, parity.batch(torch.Generator().manual_seed(0), 4))
    >>> parity.name, parity.score_name
    ('parity', 'bits')
    """

    name: str
    inputs: int
    outputs: int
    steps: int
    loss: Loss
    dt: float | None = None
    test_trials: int = 512
    test_seed: int = 2**31  # chosen: far from the seeds people give to training

    constraints = options(
        name=checks.Word(),
        inputs=checks.Whole(),
        outputs=checks.Whole(),
        steps=checks.Whole(),
        test_trials=checks.Whole(),
        test_seed=SEED,
        dt=checks.Optional(checks.Amount("s", "1*ms"), "for steps without duration"),
        loss=checks.Instance(Loss, "bp.tasks.squared"),
    )

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def __post_init__(self) -> None:  # called at the end of construction where the subclass is a dataclass
        check_task(self)

    @property
    def score_name(self) -> str:
        return self.loss.score_name

    @property
    def higher_is_better(self) -> bool:
        return self.loss.higher_is_better

    def batch(self, generator: torch.Generator, size: int, split: Split = "train") -> Batch:
        """Draw `size` trials, float32 on the CPU; every random number comes from `generator`.

        Parameters
        ----------
        generator : torch.Generator
            A CPU generator; equal states give equal batches.
        size : int
            Number of trials.
        split : ``"train"`` or ``"test"``
            Which trials they are drawn from. A generative task draws both from the same distribution.
        """
        raise TaskError(
            f"The task '{self.name}' has no method batch(generator, size, split) and so no trials; write one "
            f"that returns a Batch(inputs, targets, weight)."
        )

    def test_batches(self, size: int) -> Iterator[Batch]:
        """Yield the test set in batches of `size`, the last one smaller: the same trials at every call."""
        size = asked(self, size)
        generator = torch.Generator().manual_seed(self.test_seed)
        for first in range(0, self.test_trials, size):
            yield self.batch(generator, min(size, self.test_trials - first), "test")

    def score(self, outputs: Tensor, batch: Batch) -> float:
        """How well `outputs` (time, batch, output) do on the asked steps of `batch`; see `score_name`."""
        return self.loss.score(outputs, batch.targets, batch.weight)

    def describe(self) -> dict[str, Any]:
        """All that fixes the trials, ready for JSON.

        Arrays are given as shape and sha256; a task of one's own with the sha256 of its class's source.
        """
        described: dict[str, Any] = {
            "name": self.name,
            "class": f"{type(self).__module__}.{type(self).__qualname__}",
        }
        described |= {key: plain(getattr(self, key)) for key in ("inputs", "outputs", "steps", "dt", "loss")}
        described["score"] = self.score_name
        described |= {key: plain(value) for key, value in settings(self, Task).items() if key not in described}
        if not type(self).__module__.startswith("bioplaus.tasks."):
            described["source_sha256"] = source_hash(type(self))
        return described


@runtime_checkable
class Staged(Protocol):
    """A task with a harder one behind it: a batch that scores better than ``solved`` leads there."""

    solved: float

    def harder(self) -> Task:
        """The next stage."""
        ...


def check_task(task: Task) -> None:
    """Refuse a task whose declarations a circuit could not be built or trained with.

    Raises
    ------
    TaskError
        Naming what is missing or wrong, and what was expected.
    """
    if not isinstance(task, Task):
        wanted = "an object such as bioplaus.task('sequential_digits') makes, or of your own subclass of Task"
        raise TaskError(f"A task is {wanted}, but this was given: {checks.short(task)}.")
    Task.constraints.plain(task)
    if type(task).batch is Task.batch:
        Task.batch(task, torch.Generator(), 1)  # raises, saying what is missing


def asked(task: Task, size: Any, split: Any = "train") -> int:
    """The number of trials that `batch` was asked for, a plain one.

    Raises
    ------
    TaskError
        If it is none, or the split is no split.
    """
    of = f"of a batch of the task '{task.name}'"
    checks.accept(TaskError, f"split {of}", split, checks.Word(("train", "test")))
    return checks.whole(TaskError, f"size {of}", size)


def check_batch(task: Task, batch: Batch) -> None:
    """Refuse a batch that doesn't fit its task: the type, shape and values of every array.

    Raises
    ------
    TaskError
        One paragraph naming the task, the array, the place in it, and what was expected there.
    """
    check_task(task)
    if not isinstance(batch, Batch):
        raise TaskError(
            f"The task '{task.name}' returned {checks.short(batch)} from its batch(), where a "
            f"Batch(inputs, targets, weight) is expected."
        )
    size = batch.inputs.shape[1] if isinstance(batch.inputs, torch.Tensor) and batch.inputs.dim() == 3 else "batch"
    index = task.loss.kind == "index"
    expected = {
        "inputs": ("(time, batch, input)", (task.steps, size, task.inputs)),
        "targets": ("(time, batch, output)", (task.steps, size, task.outputs)),
        "weight": ("(time, batch)", (task.steps, size)),
    }
    if index:
        expected["targets"] = ("(time, batch)", (task.steps, size))
    for name, (order, shape) in expected.items():
        array_of(task.name, name, getattr(batch, name), order, shape, whole=index and name == "targets")
    if not size:
        shape = tuple(batch.inputs.shape)
        raise TaskError(f"The task '{task.name}' returned an empty batch: its inputs have shape {shape}.")
    if batch.context is not None:
        width = (
            batch.context.shape[-1] if isinstance(batch.context, torch.Tensor) and batch.context.dim() else "context"
        )
        array_of(task.name, "context", batch.context, "(batch, context)", (size, width), whole=False)
    low_high = {"index": task.outputs - 1, "binary": 1, "distribution": 1}.get(task.loss.kind)
    if low_high is not None:
        kind = "class index (one of the task's outputs)" if index else "number"
        wrong = (batch.targets < 0) | (batch.targets > low_high)
        values_of(task.name, "targets", batch.targets, wrong, f"a {kind} from 0 to {low_high}")
    if task.loss.kind == "distribution":
        sums = batch.targets.sum(-1)
        wanted = "1 (a distribution over the outputs)"
        values_of(task.name, "targets", sums, (sums - 1).abs() > 1e-4, wanted, says="adds up to")
    values_of(task.name, "weight", batch.weight, batch.weight < 0, "0 (nothing asked) or more")
    if not batch.weight.any():
        raise TaskError(
            f"The task '{task.name}' returned a batch whose weight is 0 at every step of every trial, so "
            f"nothing is asked and nothing can be learned; give the steps that have a target a weight above "
            f"0."
        )
