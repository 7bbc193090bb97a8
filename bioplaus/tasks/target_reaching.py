"""Reach for a point on the circle that a cue at the first step stands for.

The toy task of Pemberton & Costa 2024, in which credit must cross the whole trial: one binary pattern at
step 0, zeros after it, and at the last step (or all along a straight line from the origin) the target (sin
θ, cos θ), θ = 2πk/n for target k of n.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import pi
from typing import TYPE_CHECKING

import torch

from bioplaus import checks
from bioplaus.errors import TaskError
from bioplaus.tasks.base import SEED, Batch, Split, Task, asked, options
from bioplaus.tasks.losses import squared

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TargetReaching(Task):
    """A cue at step 0; at the last step, the point on the unit circle it stands for.

    With ``path="line"`` every step has a target, t/(T − 1) of the way from the origin to the point, and a
    weight of 1/T, so that the loss is the mean over the steps; with ``path="end"`` the last step alone
    counts, with weight 1. The context of a trial is its target's number, one-hot. The test set is every
    target once.

    Parameters
    ----------
    steps : int
        T, steps of a trial; they have no duration.
    targets : int
        n, targets on the circle (1 and 6 are published).
    path : ``"end"`` or ``"line"``
        Where a target is asked for.
    inputs : int
        Length of the binary cue patterns, all different and none of them all zeros.
    cue_seed : int
        Seed that the patterns are drawn with, once.

    Raises
    ------
    TaskError
        For a value that makes no sense, or more targets than there are patterns.

    References
    ----------
    Pemberton, Costa. BP(λ): online learning via synthetic gradients. TMLR 2024, arXiv:2401.07044.

    Examples
    --------
    >>> import torch
    >>> reaching = TargetReaching(targets=4, path="line")
    >>> batch = reaching.batch(torch.Generator().manual_seed(0), size=3)
    >>> batch.inputs.shape, batch.targets.shape, batch.targets[-1].norm(dim=-1)
    (torch.Size([10, 3, 10]), torch.Size([10, 3, 2]), tensor([1., 1., 1.]))
    """

    steps: int = 10
    targets: int = 1
    path: str = "end"
    inputs: int = 10
    cue_seed: int = 0

    outputs = 2
    loss = squared

    constraints = options(
        steps=checks.Whole(),
        targets=checks.Whole(),
        path=checks.Word(("end", "line")),
        inputs=checks.Whole(),
        cue_seed=SEED,
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        if self.path == "line":  # needs its two ends
            checks.whole(TaskError, f"steps of the task '{self.name}'", self.steps, 2)
        # Cues are counted by all the patterns of `inputs` bits but the empty one.
        patterns = 2 ** min(self.inputs, 62) - 1  # more than can be asked for anyway
        if self.targets > patterns:
            raise TaskError(
                f"The task '{self.name}' was given targets={self.targets} with inputs={self.inputs}, but "
                f"{self.inputs} binary inputs make only {patterns} different cues that are not all zeros; "
                f"give it more inputs."
            )
        super().__post_init__()

    @cached_property
    def cues(self) -> Tensor:
        """Binary pattern of each target, (target, input)."""
        generator = torch.Generator().manual_seed(self.cue_seed)
        found: dict[tuple[int, ...], None] = {}
        while len(found) < self.targets:
            drawn = torch.randint(2, (self.targets, self.inputs), generator=generator).tolist()
            found |= dict.fromkeys(tuple(pattern) for pattern in drawn if any(pattern))
        return torch.tensor(list(found)[: self.targets], dtype=torch.float32)

    @cached_property
    def points(self) -> Tensor:
        """(sin θ, cos θ) of each target, (target, 2)."""
        angle = 2 * pi * torch.arange(self.targets, dtype=torch.float64) / self.targets
        return torch.stack((angle.sin(), angle.cos()), -1).float()

    def batch(self, generator: torch.Generator, size: int, split: Split = "train") -> Batch:
        size = asked(self, size, split)
        return self._trials(torch.randint(self.targets, (size,), generator=generator))

    def test_batches(self, size: int) -> Iterator[Batch]:
        size = asked(self, size)
        for which in torch.arange(self.targets).split(size):
            yield self._trials(which)

    def _trials(self, which: Tensor) -> Batch:
        """One trial for each target number in `which`."""
        inputs = torch.zeros(self.steps, len(which), self.inputs)
        inputs[0] = self.cues[which]
        if self.path == "line":
            way = torch.linspace(0, 1, self.steps)
            weight = torch.full((self.steps, len(which)), 1 / self.steps)
        else:
            way = torch.ones(self.steps)
            weight = torch.zeros(self.steps, len(which))
            weight[-1] = 1.0
        targets = way[:, None, None] * self.points[which]
        return Batch(inputs, targets, weight, torch.nn.functional.one_hot(which, self.targets).float())
