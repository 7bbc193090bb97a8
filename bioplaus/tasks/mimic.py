"""Reproduce what a fixed random network makes of a random input (Marschall, Cho & Savin 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

import torch

from bioplaus import checks
from bioplaus.tasks.base import SEED, Batch, Split, Task, asked, options
from bioplaus.tasks.losses import squared

if TYPE_CHECKING:
    from torch import Tensor


class Teacher(NamedTuple):
    """Weights [post, pre] and biases of the network to be imitated, float64, named as in a recurrent circuit."""

    W_in: Tensor
    W_rec: Tensor
    b: Tensor
    W_out: Tensor
    b_out: Tensor


@dataclass(frozen=True)
class Mimic(Task):
    """Reproduce the outputs of a fixed random network that gets the same input.

    The teacher starts each trial at h = 0 and runs

        h_t = tanh(W_in x_t + W_rec h_{t−1} + b),    y_t = W_out h_t + b_out

    with weights drawn once: W_in ~ N(0, 1/inputs), W_rec a random rotation (orthogonal), W_out ~ N(0, 1/units),
    both biases ~ N(0, 0.1²). Each input is independent, Bernoulli(½) or N(0, 1); the loss is ½ Σ (o − y)² and
    every step has weight 1. A circuit of as many tanh units can reach 0. Inputs are (time, batch, inputs),
    targets (time, batch, outputs).

    Parameters
    ----------
    steps : int
        Steps of a trial; they have no duration.
    units : int
        Units of the teacher (32 are published).
    inputs, outputs : int
        Input units and outputs (32 each).
    distribution : ``"bernoulli"`` or ``"gaussian"``
        What inputs are drawn from (Bernoulli).
    seed : int
        Seed that the teacher is drawn with.

    Raises
    ------
    TaskError
        For a value that makes no sense.

    References
    ----------
    Marschall, Cho, Savin. A unified framework of online learning algorithms for training recurrent neural
    networks. JMLR 2020, 21(135), arXiv:1907.02649. Weights as in the code released with it.

    Examples
    --------
    >>> import torch
    >>> mimic = Mimic(units=16, inputs=4, outputs=3)
    >>> batch = mimic.batch(torch.Generator().manual_seed(0), size=5)
    >>> batch.inputs.shape, batch.targets.shape, mimic.teacher.W_rec.shape
    (torch.Size([100, 5, 4]), torch.Size([100, 5, 3]), torch.Size([16, 16]))
    """

    steps: int = 100  # chosen
    units: int = 32
    inputs: int = 32
    outputs: int = 32
    distribution: str = "bernoulli"
    seed: int = 0

    loss = squared

    constraints = options(
        steps=checks.Whole(),
        units=checks.Whole(),
        inputs=checks.Whole(),
        outputs=checks.Whole(),
        distribution=checks.Word(("bernoulli", "gaussian")),
        seed=SEED,
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        super().__post_init__()

    @cached_property
    def teacher(self) -> Teacher:
        """The network to be imitated."""
        generator = torch.Generator().manual_seed(self.seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        W_in = normal(self.units, self.inputs) / sqrt(self.inputs)
        q, r = torch.linalg.qr(normal(self.units, self.units))
        # Libraries differ in the signs of q's columns; r's diagonal made positive leaves one answer.
        W_rec = q * r.diagonal().sign()
        b = 0.1 * normal(self.units)
        W_out = normal(self.outputs, self.units) / sqrt(self.units)
        return Teacher(W_in, W_rec, b, W_out, 0.1 * normal(self.outputs))

    def batch(self, generator: torch.Generator, size: int, split: Split = "train") -> Batch:
        size = asked(self, size, split)
        shape = (self.steps, size, self.inputs)
        if self.distribution == "bernoulli":
            inputs = torch.randint(2, shape, generator=generator).float()
        else:
            inputs = torch.randn(shape, generator=generator)
        return Batch(inputs, self._answers(inputs.double()).float(), torch.ones(self.steps, size))

    def _answers(self, inputs: Tensor) -> Tensor:
        """The teacher's outputs, (time, batch, output)."""
        teacher = self.teacher
        driven = inputs @ teacher.W_in.T + teacher.b
        h = torch.zeros_like(driven[0])
        states = []
        for drive in driven:
            h = torch.tanh(drive + h @ teacher.W_rec.T)
            states.append(h)
        return torch.stack(states) @ teacher.W_out.T + teacher.b_out
