"""Give back a sequence of random binary vectors as often as asked, with the published curriculum."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch

from bioplaus import checks
from bioplaus.errors import TaskError
from bioplaus.tasks.base import Batch, Split, Task, asked, options
from bioplaus.tasks.losses import binary_cross_entropy


@dataclass(frozen=True)
class CopyRepeat(Task):
    """N random binary vectors between a start flag and a count R; then they are to come out R times, and an end.

    A trial has T = (R + 1) N + 3 steps:

    ===============  =====================================  ==================================
    step             input                                  target
    ===============  =====================================  ==================================
    0                start flag                             not asked
    1 … N            the vectors, one a step                not asked
    N+1              R/10                                   not asked
    N+2 … T−2        zeros                                  the vectors, one a step, R times
    T−1              zeros                                  end flag
    ===============  =====================================  ==================================

    Inputs (time, batch, bits + 2) are the bits, the start flag and the count; targets (time, batch, bits + 1) the
    bits and the end flag. Asked steps have weight 1/(bits + 1): the loss adds up over the steps the mean binary
    cross-entropy of the outputs, as the released code scales its learning signal.

    The score is bits per output and asked step, the end flag and its step among them, which is what the released
    code holds against its 0.15 bits: at best 0, and RN·bits/((RN + 1)(bits + 1)) for who knows when but not what.

    Parameters
    ----------
    length, repeats : int
        N, vectors to be remembered, and R, how often they are asked (the curriculum starts at 1 and 1).
    bits : int
        Length of a vector (8 are published).

    Raises
    ------
    TaskError
        For a value that makes no sense.

    References
    ----------
    Graves, Wayne, Danihelka. Neural Turing machines. 2014, arXiv:1410.5401. Curriculum and sizes: Pemberton,
    Costa. BP(λ): online learning via synthetic gradients. TMLR 2024, arXiv:2401.07044.

    Examples
    --------
    >>> import torch
    >>> task = CopyRepeat(length=2, repeats=2)
    >>> batch = task.batch(torch.Generator().manual_seed(0), size=4)
    >>> batch.inputs.shape, batch.targets.shape
    (torch.Size([9, 4, 10]), torch.Size([9, 4, 9]))
    >>> task.harder()
    CopyRepeat(length=3, repeats=2, bits=8)
    >>> CopyRepeat().curriculum(6)
    [5, 7, 9, 12, 15, 19]
    """

    length: int = 1
    repeats: int = 1
    bits: int = 8
    inputs: int = field(init=False, repr=False)
    outputs: int = field(init=False, repr=False)
    steps: int = field(init=False, repr=False)

    solved: ClassVar[float] = 0.15  # score of a batch that takes the curriculum one stage on
    loss = binary_cross_entropy

    constraints = options(length=checks.Whole(), repeats=checks.Whole(), bits=checks.Whole())

    def __post_init__(self) -> None:
        checks.settle(self)
        settled = {
            "inputs": self.bits + 2,
            "outputs": self.bits + 1,
            "steps": (self.repeats + 1) * self.length + 3,
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)
        super().__post_init__()

    def harder(self) -> CopyRepeat:
        """The next stage of the curriculum: one repeat more while there are fewer than vectors, else one vector more."""
        if self.repeats < self.length:
            return replace(self, repeats=self.repeats + 1)
        return replace(self, length=self.length + 1)

    def curriculum(self, stages: int = 14) -> list[int]:
        """T of this task and of the ever harder ones after it, `stages` in all (14 are published)."""
        stages = checks.whole(TaskError, f"stages of the task '{self.name}'", stages)
        task, steps = self, [self.steps]
        while len(steps) < stages:
            task = task.harder()
            steps.append(task.steps)
        return steps

    def batch(self, generator: torch.Generator, size: int, split: Split = "train") -> Batch:
        size = asked(self, size, split)
        vectors = torch.randint(2, (self.length, size, self.bits), generator=generator).float()
        count = self.length + 1
        inputs = torch.zeros(self.steps, size, self.inputs)
        inputs[0, :, self.bits] = 1.0
        inputs[1:count, :, : self.bits] = vectors
        inputs[count, :, self.bits + 1] = self.repeats / 10  # as published, so that the count stays near 1
        targets = torch.zeros(self.steps, size, self.outputs)
        targets[count + 1 : -1, :, : self.bits] = vectors.repeat(self.repeats, 1, 1)
        targets[-1, :, self.bits] = 1.0
        weight = torch.zeros(self.steps, size)
        weight[count + 1 :] = 1 / self.outputs
        return Batch(inputs, targets, weight)
