"""Turn one frozen input spike pattern into a sum of sines (Bellec et al. 2020, figure 3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import pi
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bioplaus import checks
from bioplaus.errors import TaskError
from bioplaus.tasks.base import SEED, Batch, Split, Task, asked, options
from bioplaus.tasks.losses import squared

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class PatternGeneration(Task):
    """One frozen Poisson input, and a sum of sines to be drawn while it runs; every trial is the same.

    With x running from 0 at the first step to 1 at the last, a target is Σ_c a_c sin(2π c x + φ_c) over the
    cycles c, amplitudes a_c ~ U(0.5, 2), phases φ_c ~ U(0, 2π), minus its first value, divided by its
    largest magnitude. The loss is ½ Σ_t Σ_k (y − y*)²; every step has weight 1.

    Parameters
    ----------
    steps : int
        Steps of a trial (1000 are published).
    inputs, outputs : int
        Input units (100) and targets drawn side by side (1).
    dt : float or quantity
        Length of a step in seconds (0.001).
    rate : float or quantity
        Rate of each input unit in Hz (50); a step holds a spike with probability rate·dt.
    cycles : tuple of int
        Cycles that each sine makes in a trial (1, 2, 3, 5).
    pattern_seed : int
        Seed that input, amplitudes and phases are drawn with, once.
    input : array (steps, inputs), optional
        An input of one's own in place of the Poisson one; `rate` then says nothing.
    target : array (steps, outputs), optional
        A target of one's own in place of the sines; `cycles` then says nothing.

    Raises
    ------
    TaskError
        For a value that makes no sense, or an array that is not finite or not of the shape that the numbers
        say.

    References
    ----------
    Bellec et al. 2020, Nature Communications 11:3625, doi:10.1038/s41467-020-17236-y.

    Examples
    --------
    >>> import torch
    >>> pattern = PatternGeneration(steps=500, inputs=20)
    >>> batch = pattern.batch(torch.Generator(), size=1)
    >>> batch.inputs.shape, batch.targets.shape, float(batch.targets.abs().max())
    (torch.Size([500, 1, 20]), torch.Size([500, 1, 1]), 1.0)
    """

    steps: int = 1000
    inputs: int = 100
    outputs: int = 1
    dt: float = 1e-3  # type: ignore[assignment]  # other tasks may have none
    rate: float = 50.0
    cycles: tuple[int, ...] = (1, 2, 3, 5)
    pattern_seed: int = 0
    input: Any = field(default=None, repr=False)
    target: Any = field(default=None, repr=False)

    loss = squared

    constraints = options(
        steps=checks.Whole(2),
        inputs=checks.Whole(),
        outputs=checks.Whole(),
        dt=checks.Amount("s", "1*ms"),
        rate=checks.Amount("Hz", "50*Hz"),
        cycles=checks.Several(checks.Whole(), "(1, 2, 3, 5)", different=True),
        pattern_seed=SEED,
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        if max(self.cycles) > self.steps // 2:
            raise TaskError(
                f"The task '{self.name}' was given cycles={self.cycles} with steps={self.steps}, but above half a cycle per step "
                f"a sine can't be told from a slower one; give it cycles up to {self.steps // 2}, or more steps."
            )
        for name, units in (("input", "inputs"), ("target", "outputs")):
            given = self._given(name, getattr(self, name), (self.steps, getattr(self, units)), units)
            object.__setattr__(self, name, given)
        if self.rate * self.dt > 1:
            raise TaskError(
                f"The task '{self.name}' was given rate={self.rate:g} Hz with dt={self.dt:g} s, which makes "
                f"{self.rate * self.dt:g} spikes in a step, but a step holds at most one; both are plain "
                f"numbers in Hz and s, or quantities such as 50*Hz and 1*ms."
            )
        super().__post_init__()

    def _given(self, name: str, array: Any, shape: tuple[int, int], units: str) -> Tensor | None:
        """A copy of a given array as float32, or None where none was given."""
        if array is None:
            return None
        wanted = f"an array (steps, {units}) = {shape} of finite real numbers"
        try:
            if np.iscomplexobj(array):
                raise TypeError("complex numbers would lose their imaginary part")
            taken = torch.tensor(np.asarray(array, dtype=np.float64), dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError):
            raise checks.refusal(TaskError, f"{name} of the task '{self.name}'", array, wanted) from None
        if tuple(taken.shape) != shape:
            raise TaskError(
                f"The task '{self.name}' was given an {name} array of shape {tuple(taken.shape)}, but with "
                f"steps={shape[0]} and {units}={shape[1]} it must be {wanted}; change the array, or give "
                f"steps= and {units}= too."
            )
        wrong = (~torch.isfinite(taken)).nonzero()
        if len(wrong):
            step, unit = wrong[0].tolist()
            raise TaskError(
                f"The task '{self.name}' was given an {name} array that holds {taken[step, unit].item()} at "
                f"step {step}, unit {unit}, but it must be {wanted}."
            )
        return taken

    @cached_property
    def pattern(self) -> tuple[Tensor, Tensor]:
        """The frozen input (time, input) and target (time, output)."""
        generator = torch.Generator().manual_seed(self.pattern_seed)
        spikes = (torch.rand(self.steps, self.inputs, generator=generator) < self.rate * self.dt).float()
        shape = (len(self.cycles), self.outputs)
        amplitude = 0.5 + 1.5 * torch.rand(shape, generator=generator, dtype=torch.float64)
        phase = 2 * pi * torch.rand(shape, generator=generator, dtype=torch.float64)
        cycle = torch.tensor(self.cycles, dtype=torch.float64)[:, None]
        x = torch.linspace(0, 1, self.steps, dtype=torch.float64)[:, None, None]
        sines = (amplitude * torch.sin(2 * pi * cycle * x + phase)).sum(1)
        sines = sines - sines[0]
        sines = (sines / sines.abs().amax(0)).float()
        return (spikes if self.input is None else self.input), (sines if self.target is None else self.target)

    def batch(self, generator: torch.Generator, size: int, split: Split = "train") -> Batch:
        size = asked(self, size, split)
        spikes, target = (array[:, None].repeat(1, size, 1) for array in self.pattern)
        return Batch(spikes, target, torch.ones(self.steps, size))

    def test_batches(self, size: int) -> Iterator[Batch]:
        """The one pattern, once."""
        size = asked(self, size)
        yield self.batch(torch.Generator(), 1, "test")
