"""A sine wave of the asked period that is switched on and off."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch

from bioplaus import checks
from bioplaus.tasks.base import Batch, Split, Task, asked, options
from bioplaus.tasks.losses import squared


@dataclass(frozen=True)
class SineWave(Task):
    """While the switch is on, draw a sine wave of the period that is asked for; while it is off, be silent.

    A trial starts switched off, and at every later step the switch flips with a fixed probability. Each time it
    goes on, a period P is drawn from `periods`, and s steps after that the target is

        (a cos(2π s / P), a sin(2π s / P)).

    Inputs (time, batch, 2) are the switch, 1 or 0, and the cue −log P, the logarithm of the cycles per step;
    cue and targets (time, batch, 2) are 0 while it is off. The loss is ½ Σ (o − y)²; every step has weight 1.

    Parameters
    ----------
    steps : int
        Steps of a trial; they have no duration.
    periods : tuple of int
        Periods in steps that are drawn from, equally often.
    switch_probability : float
        Probability that the switch flips at a step.
    amplitude : float
        a (0.1 in the released code).

    Raises
    ------
    TaskError
        For a value that makes no sense.

    References
    ----------
    The task comes with the code released for Marschall, Cho, Savin. A unified framework of online learning
    algorithms for training recurrent neural networks. JMLR 2020, 21(135), arXiv:1907.02649.

    Examples
    --------
    >>> import torch
    >>> wave = SineWave(periods=(10, 20))
    >>> batch = wave.batch(torch.Generator().manual_seed(0), size=3)
    >>> batch.inputs.shape, batch.targets.shape, batch.inputs[..., 0].unique()
    (torch.Size([200, 3, 2]), torch.Size([200, 3, 2]), tensor([0., 1.]))
    """

    steps: int = 200  # chosen, like periods and probability: a few switches and several cycles a trial
    periods: tuple[int, ...] = (8, 16, 32)
    switch_probability: float = 0.02
    amplitude: float = 0.1

    inputs = 2
    outputs = 2
    loss = squared

    constraints = options(
        steps=checks.Whole(2),  # the first one is always off
        periods=checks.Several(
            checks.Whole(2), "(8, 16, 32)", different=True
        ),  # in less than two steps a wave can't be told from a slower one
        switch_probability=checks.Float(above=0, most=1),
        amplitude=checks.Float(above=0, most=1000),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        super().__post_init__()

    def batch(self, generator: torch.Generator, size: int, split: Split = "train") -> Batch:
        size = asked(self, size, split)
        shape = (self.steps, size)
        flips = torch.rand(shape, generator=generator) < self.switch_probability
        flips[0] = False
        step = torch.arange(self.steps)[:, None]
        last = (step * flips).cummax(0).values  # step of the last flip, (time, batch)
        # A period is drawn at every step; the one that counts is that of the step of the last flip.
        drawn = torch.randint(len(self.periods), shape, generator=generator)
        period = torch.tensor(self.periods, dtype=torch.float64)[drawn.gather(0, last)]
        on = flips.cumsum(0) % 2
        angle = 2 * pi * (step - last).double() / period
        targets = self.amplitude * on[..., None] * torch.stack((angle.cos(), angle.sin()), -1)
        inputs = torch.stack((on, -on * period.log()), -1)
        return Batch(inputs.float(), targets.float(), torch.ones(shape))
