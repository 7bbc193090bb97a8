"""Hold the sign of the last pulse on each of several channels (Sussillo & Barak 2013)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from bioplaus import checks
from bioplaus.tasks.base import Batch, Split, Task, asked, options
from bioplaus.tasks.losses import squared

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class FlipFlop(Task):
    """Pulses of ±1 on n channels; each output holds the sign of the last pulse on its channel.

    At a step a channel carries a pulse x = ±1, either sign equally likely, with a fixed probability p and else 0,
    independently of the others; at the first step every channel carries one, so that all is known from there on:

        y_t = x_t where x_t ≠ 0, else y_{t−1}.

    Inputs and targets are (time, batch, bits). The loss is ½ Σ (o − y)², every step has weight 1, and the score is
    the fraction of outputs of the right sign: ½ at chance.

    Parameters
    ----------
    bits : int
        n, channels (3 are published).
    steps : int
        Steps of a trial; they have no duration.
    pulse_probability : float
        p, of a pulse on a channel at a step.

    Raises
    ------
    TaskError
        For a value that makes no sense.

    References
    ----------
    Sussillo, Barak. Opening the black box: low-dimensional dynamics in high-dimensional recurrent neural networks.
    Neural Computation 2013, doi:10.1162/NECO_a_00409.

    Examples
    --------
    >>> import torch
    >>> flip_flop = FlipFlop(bits=3)
    >>> batch = flip_flop.batch(torch.Generator().manual_seed(0), size=4)
    >>> batch.inputs.shape, batch.inputs.unique(), batch.targets.unique()
    (torch.Size([100, 4, 3]), tensor([-1.,  0.,  1.]), tensor([-1.,  1.]))
    >>> flip_flop.score(torch.ones_like(batch.targets), batch) < flip_flop.score(batch.targets, batch)
    True
    """

    bits: int = 3
    steps: int = 100  # chosen
    pulse_probability: float = 0.05  # chosen: a sign is held for 40 steps on average
    inputs: int = field(init=False, repr=False)
    outputs: int = field(init=False, repr=False)

    loss = squared

    constraints = options(
        bits=checks.Whole(),
        steps=checks.Whole(),
        pulse_probability=checks.Float(above=0, most=1),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        for name in ("inputs", "outputs"):
            object.__setattr__(self, name, self.bits)
        super().__post_init__()

    @property
    def score_name(self) -> str:
        return "right signs"

    @property
    def higher_is_better(self) -> bool:
        return True

    def batch(self, generator: torch.Generator, size: int, split: Split = "train") -> Batch:
        size = asked(self, size, split)
        shape = (self.steps, size, self.bits)
        there = torch.rand(shape, generator=generator) < self.pulse_probability
        there[0] = True
        signs = 2.0 * torch.randint(2, shape, generator=generator) - 1.0
        last = (torch.arange(self.steps)[:, None, None] * there).cummax(0).values  # step of the last pulse
        return Batch(signs * there, signs.gather(0, last), torch.ones(shape[:2]))

    def score(self, outputs: Tensor, batch: Batch) -> float:
        """Fraction of outputs whose sign is the target's; an output of 0 has none."""
        right = (outputs.sign() == batch.targets.sign()).to(batch.weight.dtype).mean(-1)
        return float((batch.weight * right).sum() / batch.weight.sum())
