"""How a rule is computed, never what it computes.

``Online()`` carries traces forward and asks for a gradient after every step: memory does not grow with time, weights may
move each step. ``Window(K)`` holds the weights for K steps and computes the same gradient backwards in matrix products,
carrying traces across window borders; ``Window()`` takes the whole sequence as one window. Windows are counted back from the
sequence's end, where many tasks ask: the last is whole, the first may be shorter.
"""

from __future__ import annotations

from dataclasses import dataclass

from bioplaus import checks
from bioplaus.errors import RuleError


@dataclass(frozen=True)
class Online:
    """One step at a time, traces carried forward."""

    @property
    def steps(self) -> int | None:
        return 1


@dataclass(frozen=True)
class Window:
    """``steps`` at a time (None: the whole sequence), computed backwards; if they don't divide it, the first window is shorter."""

    steps: int | None = None

    constraints = checks.Table(RuleError, steps=checks.Optional(checks.Whole(), "for whole sequences"))

    def __post_init__(self) -> None:
        checks.settle(self)


Schedule = Online | Window


def borders(T: int, n: int) -> list[tuple[int, int]]:
    """(start, stop) of windows of n steps, counted back from the end: only the first may be shorter.

    >>> borders(7, 3)
    [(0, 1), (1, 4), (4, 7)]
    """
    return [(max(0, stop - n), stop) for stop in range(T, 0, -n)][::-1]
