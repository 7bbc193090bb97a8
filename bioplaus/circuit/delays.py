"""Delays of projections: steps, or a time that stays itself when the step changes.

Steps are whole numbers, a time is a float, in seconds. How many steps a time is, the circuit's dt says, and only there is it turned
into steps: a circuit that is made anew at another dt has the same delay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bioplaus import checks
from bioplaus.checks.numbers import as_number
from bioplaus.errors import CircuitError

if TYPE_CHECKING:
    from bioplaus.cell import Cell

LONGEST = 10_000  # steps of delay; every one of them is kept for every neuron  # chosen: 10 s at 1 ms


@dataclass(frozen=True)
class Delay:
    """The constraint of ``delay=``: a whole number of steps, or a time from a quantity or in seconds."""

    steps = checks.Whole(0, LONGEST)
    time = checks.Amount("s", "1.5*ms", plain_below=0.1)  # whoever means more seconds will say so

    @property
    def wanted(self) -> str:
        return f"{self.steps.wanted} (steps), or a time above zero, such as {self.time.example}"

    def plain(self, value: Any) -> int | float:
        whole = not checks.dimensions(value) and isinstance(as_number(value), int)
        return (self.steps if whole else self.time).plain(value)


def shown(delay: int | float) -> int | str:
    """Steps as they are, a time in ms."""
    return delay if isinstance(delay, int) else f"{delay * 1e3!r} ms"


def steps(delay: int | float, dt: float, name: str) -> int:
    """A delay in steps of ``dt`` (seconds).

    Raises
    ------
    CircuitError
        For a time that is no whole number of steps, or of more than there may be.
    """
    if isinstance(delay, int):
        return delay
    exactly = delay / dt
    found = round(exactly)
    if found < 1 or abs(exactly - found) > 1e-6:
        near = sorted({max(math.floor(exactly), 1), max(math.ceil(exactly), 1)})
        said = " or ".join(f"{n * dt * 1e3:g}*ms ({n} step{'s' if n > 1 else ''})" for n in near)
        raise CircuitError(
            f"delay of projection {name} is {delay * 1e3:g} ms, which is {exactly:.6g} steps of the circuit's dt, {dt * 1e3:g} ms; it must be a whole number of "
            f"them. The nearest: {said}. Or give the circuit a dt that fits."
        )
    if found > LONGEST:
        raise CircuitError(
            f"delay of projection {name} is {delay * 1e3:g} ms, which is {found:_} steps of the circuit's dt, {dt * 1e3:g} ms; up to {LONGEST:_} steps are kept. "
            "Give a shorter delay or a longer dt."
        )
    return found


def timeless(cell: Cell) -> bool:
    """Whether a cell's step is no time: a discrete map that neither reads ``dt`` nor is made for one."""
    return not cell.continuous and cell.made_for is None and "dt" not in cell.parsed.words
