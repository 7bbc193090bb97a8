"""Ways that take time: into the cerebellum, out of it, and back by the inferior olive.

Delays are whole numbers of steps, or times that stay themselves when dt changes. A line of d steps hands on what it was given d steps ago, and
nothing before that: a trial begins at rest.

The error comes back d steps late and must meet a trace of what the parallel fibres said d steps before. A trace that rises and falls does so
approximately (Bouvier et al. 2018, doi:10.7554/eLife.31599; its peak there is 100 ms)::

    K(n) = n ρⁿ (1 − ρ)²/ρ,      ρ = exp(−1/p),       Σ_n K(n) = 1                     a peak at n = p                 (1)

    a_t = ρ a_{t−1} + x_t,       ā_t = ρ ā_{t−1} + (1 − ρ)² a_{t−1}                    ā_t = Σ_n K(n) x_{t−n}          (2)

With p = 0 the trace is x itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING, Any

import torch

from bioplaus import checks
from bioplaus.checks.numbers import as_number
from bioplaus.errors import RuleError

if TYPE_CHECKING:
    from torch import Tensor

LONGEST = 10_000  # steps, every one of which is kept  # chosen: 10 s at 1 ms


@dataclass(frozen=True)
class Lasting:
    """The constraint of a delay or a time constant: a whole number of steps, or a time from a quantity or in seconds."""

    steps = checks.Whole(0, LONGEST)
    time = checks.Amount("s", "20*ms", plain_below=1.0)

    @property
    def wanted(self) -> str:
        return f"{self.steps.wanted} (steps), or a time above zero, such as {self.time.example}"

    def plain(self, value: Any) -> int | float:
        whole = not checks.dimensions(value) and isinstance(as_number(value), int)
        return (self.steps if whole else self.time).plain(value)


def steps(lasting: int | float, dt: float, name: str) -> int:
    """In steps of ``dt``.

    Raises
    ------
    RuleError
        For a time that is no whole number of them.
    """
    if isinstance(lasting, int):
        return lasting
    found = round(lasting / dt)
    if abs(lasting / dt - found) > 1e-6 or found > LONGEST:
        raise RuleError(
            f"{name} is {lasting * 1e3:g} ms, which is {lasting / dt:.6g} steps of the circuit's dt, {dt * 1e3:g} ms; it must be a whole number of them, up to {LONGEST:_}. "
            f"Give {max(found, 1) * dt * 1e3:g}*ms, or a circuit whose dt fits."
        )
    return found


def in_steps(lasting: int | float, dt: float) -> float:
    """A time constant in steps, whole or not."""
    return float(lasting) if isinstance(lasting, int) else lasting / dt


def late(values: Tensor, line: Tensor | None, by: int) -> tuple[Tensor, Tensor | None]:
    """(time, …) by some steps later, and what is on its way then; ``line`` is what was on its way, None: nothing."""
    if not by:
        return values, None
    line = values.new_zeros(by, *values.shape[1:]) if line is None else line
    both = torch.cat([line, values])
    return both[: len(values)], both[len(values) :]


@dataclass
class Bump:
    """(2), of which a and ā are kept; ``peak`` is p, in steps."""

    peak: float
    a: Tensor | None = None
    bar: Tensor | None = None

    def step(self, x: Tensor) -> Tensor:
        """ā behind one more step."""
        if self.peak == 0:
            return x
        rho = exp(-1 / self.peak)
        if self.a is None or self.bar is None:
            self.a, self.bar = torch.zeros_like(x), torch.zeros_like(x)
        self.bar = rho * self.bar + (1 - rho) ** 2 * self.a
        self.a = rho * self.a + x
        return self.bar
