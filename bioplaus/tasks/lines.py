"""Draw one of several straight lines from the origin, or stay there, as a number at the first step asks (Boven et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import pi
from typing import TYPE_CHECKING

import torch

from bioplaus import checks
from bioplaus.tasks.base import Batch, Split, Task, asked, options
from bioplaus.tasks.losses import squared

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Lines(Task):
    """A cue at step 0, a multiple of 0.1; then the way to the target that it stands for.

    Targets are the origin, whose cue is 0, and n points at equal angles and the same distance, θ_j = 2πj/n, with cues …, −2, −1, 1, 2, … times
    ``cue``. At step t, counted from 0, the place asked for is t/(T − 1) of the way, and it is asked for at every k-th step, the last one for certain: with
    T = 10 and k = 2 at 1, 3, 5, 7, 9. All that are asked weigh alike, together 1, so that the loss is the mean of ½ |o − y|² over them.

    The test set is every target once, the origin first; the context is the target's number, one-hot; ``line`` of the trials is that number.

    Parameters
    ----------
    steps : int
        T, steps of a trial; they have no duration.
    lines : int
        n (6 are published).
    length : float
        Of each line (10 is published).
    every : int
        k, steps from one that is asked to the next (2 is published).
    cue : float
        Difference of neighbouring cues.

    Raises
    ------
    TaskError
        For a value that makes no sense.

    References
    ----------
    Boven, Pemberton, Chadderton, Apps, Costa. Cerebro-cerebellar networks facilitate learning through feedback decoupling. Nature Communications
    2023, doi:10.1038/s41467-022-35658-8.

    Examples
    --------
    >>> import torch
    >>> lines = Lines(length=10.0)
    >>> (batch,) = lines.test_batches(7)
    >>> batch.inputs.shape, batch.targets[-1].norm(dim=-1).round().tolist(), batch.weight[:, 0].bool().tolist()[:4]
    (torch.Size([10, 7, 1]), [0.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0], [False, True, False, True])
    """

    steps: int = 10
    lines: int = 6
    length: float = 1.0
    every: int = 2
    cue: float = 0.1

    inputs = 1
    outputs = 2
    loss = squared

    constraints = options(
        steps=checks.Whole(2),
        lines=checks.Whole(),
        length=checks.Real(above=0, most=1e6),
        every=checks.Whole(),
        cue=checks.Real(above=0, most=1e6),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        super().__post_init__()

    @cached_property
    def cues(self) -> Tensor:
        """Of the origin and of each line, (target,)."""
        below = self.lines // 2
        return self.cue * torch.tensor([0, *range(-below, 0), *range(1, self.lines - below + 1)], dtype=torch.float32)

    @cached_property
    def points(self) -> Tensor:
        """Where each ends, (target, 2)."""
        angle = 2 * pi * torch.arange(self.lines, dtype=torch.float64) / self.lines
        ends = self.length * torch.stack((angle.cos(), angle.sin()), -1)
        return torch.cat([torch.zeros(1, 2, dtype=torch.float64), ends]).float()

    def batch(self, generator: torch.Generator, size: int, split: Split = "train") -> Batch:
        size = asked(self, size, split)
        return self._trials(torch.randint(self.lines + 1, (size,), generator=generator))

    def test_batches(self, size: int) -> Iterator[Batch]:
        size = asked(self, size)
        for which in torch.arange(self.lines + 1).split(size):
            yield self._trials(which)

    def _trials(self, which: Tensor) -> Batch:
        """One trial for each target number."""
        inputs = torch.zeros(self.steps, len(which), 1)
        inputs[0, :, 0] = self.cues[which]
        way = torch.linspace(0, 1, self.steps)
        weight = (torch.arange(self.steps - 1, -1, -1) % self.every == 0).float()
        weight = (weight / weight.sum())[:, None].repeat(1, len(which))
        targets = way[:, None, None] * self.points[which]
        context = torch.nn.functional.one_hot(which, self.lines + 1).float()
        return Batch(inputs, targets, weight, context, {"line": which.numpy()})
