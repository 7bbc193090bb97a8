"""What a task is."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import torch

from bioplaus import checks
from bioplaus.errors import TaskError
from bioplaus.settings import ours
from bioplaus.tasks.batch import Batch, recut
from bioplaus.tasks.description import plain, settings, source_hash
from bioplaus.tasks.losses import Loss

if TYPE_CHECKING:
    from torch import Tensor

Split = Literal["train", "test"]

options = partial(checks.Table, TaskError, "of the task '{0.name!s:.40}'")
"""Makes the table of what a task's options must be."""

SEED = checks.Whole(0, 2**32 - 1)
"""What every random generator in use accepts."""

CHUNK = 256
"""Test trials that are drawn at a time: how many are asked for at a time doesn't change them.  # chosen: few draws, little memory"""


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
        dt=checks.Optional(checks.Amount("s", "1*ms", plain_below=0.1), "for steps without duration"),
        loss=checks.Instance(Loss, "bp.tasks.squared"),
    )

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        if "batch" in cls.__dict__:
            cls.batch = _drawing(cls.batch)

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
        """Yield the test set in batches of `size`, the last one smaller: the same trials in the same order, whatever the size."""
        size = asked(self, size)
        generator = torch.Generator().manual_seed(self.test_seed)
        firsts = range(0, self.test_trials, CHUNK)
        yield from recut(
            (self.batch(generator, min(CHUNK, self.test_trials - first), "test") for first in firsts), size
        )

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
    for method, called, given in (
        ("batch", "batch(generator, size, split)", (None, 1, "train")),
        ("test_batches", "test_batches(size)", (1,)),
    ):
        try:
            inspect.signature(getattr(task, method)).bind(*given)
        except TypeError as error:
            raise TaskError(
                f"The method {method} of the task '{task.name}' can't be called as {called}, which is how trials are drawn ({error}). Write "
                f"def {called.replace('(', '(self, ').replace('split', 'split=' + repr('train'))}."
            ) from None


def _drawing(batch: Callable[..., Batch]) -> Callable[..., Batch]:
    """A method that draws trials, with torch as it comes, so that equal states of the generator give equal trials."""

    @wraps(batch)
    @ours()
    def drawing(self: Task, generator: torch.Generator, *more: Any, **named: Any) -> Batch:
        if not isinstance(generator, torch.Generator):
            raise checks.refusal(
                TaskError,
                f"generator of a batch of the task '{self.name}'",
                generator,
                "a torch.Generator, such as bp.stream(0, 'task')",
            )
        return batch(self, generator, *more, **named)

    return drawing


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
