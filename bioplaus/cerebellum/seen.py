"""What a predictor meets at its birth: how many numbers it reads and says, and which of them are whose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Seen:
    """The predictor's view of a circuit.

    It reads (h, c): the carried state, and behind it what it is told beside that; and says one number for each of h.

    Attributes
    ----------
    size : numbers of h.
    context : numbers of c; 0: none.
    outputs : numbers that it says; None: those of h.
    areas : population → where its numbers stand in h; empty where what is said is not h's, as by deep nuclei.
    above : population → those that it drives and that stand behind it in the circuit.
    dtype, device : of its weights.
    """

    size: int
    context: int = 0
    outputs: int = None  # type: ignore[assignment]
    areas: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    above: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dtype: Any = None
    device: Any = "cpu"

    def __post_init__(self) -> None:
        if self.outputs is None:
            object.__setattr__(self, "outputs", self.size)

    @property
    def inputs(self) -> int:
        """Numbers that it reads."""
        return self.size + self.context

    def through(self, outputs: int) -> Seen:
        """The same for one that speaks through other outputs, of which none belongs to a population."""
        return replace(self, outputs=outputs, areas={}, above={})

    def part(self, reads: int, says: int) -> Seen:
        """The same for one that reads some numbers of h, and speaks to some."""
        return replace(self, size=reads, outputs=says, areas={}, above={})
