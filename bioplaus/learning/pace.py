"""How a sequence is cut for the sake of speed and memory; what is computed does not depend on it."""

from __future__ import annotations

from dataclasses import dataclass

from bioplaus.circuit.tangent import Tangent
from bioplaus.rules import Rule
from bioplaus.schedule import Online, borders

#: steps an online rule simulates ahead while no weight moves, so that small things are computed together; traces are carried
#: step by step all the same, and memory stays flat  # chosen: 32 costs little memory and halves the time of small circuits
BLOCK = 32

#: steps of a window simulated before what its derivatives do not need is let go  # chosen: 200 steps of 32 × 100 neurons fit a cache
STRETCH = 200


@dataclass(frozen=True)
class Pace:
    """Where a sequence is cut.

    Attributes
    ----------
    window : steps that the signal sees at a time; None: as many as there are.
    block : steps that go together while no weight moves: one window, or several short ones.
    stretch : steps of them that are simulated before they are reduced to what their derivatives need.
    several : whether there is more than one window, so that what is meant over the sequence is known at its end only.
    lean : whether states are let go.
    keep : whether the trajectory is to be kept.
    moving : whether weights move after every window.
    single : whether steps come one by one, and nobody looks at one when the next is taken.
    """

    window: int | None
    block: int
    stretch: int
    several: bool
    lean: bool
    keep: bool
    moving: bool
    single: bool

    @classmethod
    def of(cls, rule: Rule, T: int, moving: bool, keep: bool) -> Pace:
        """For sequences of T steps; ``moving``: weights move after every window."""
        online = isinstance(rule.schedule, Online)
        signal, n = rule.signal, T if rule.schedule.steps is None else min(rule.schedule.steps, T)
        together = not moving and (online or not signal.pointwise)
        block = min(T, n * max(1, BLOCK // n)) if together else n
        lean = not (keep or signal.reads_state)
        reduced = signal.pointwise and lean and rule.eligibility.takes_stretches and not online
        window = None if signal.pointwise else n
        single = moving and n == 1 and lean and signal.pointwise and rule.eligibility.lets_go
        return cls(window, block, STRETCH if reduced else block, n < T or online, lean, keep, moving, single)

    def pieces(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Where what goes together is cut to be simulated."""
        return [(begin, min(begin + self.stretch, stop)) for begin in range(start, stop, self.stretch)]

    def seen(self, tangent: Tangent) -> list[tuple[Tangent, slice]]:
        """Consecutive windows as the signal sees them, each with where it stands."""
        T = len(tangent)
        if self.window is None or self.window >= T:
            return [(tangent, slice(0, T))]
        return [(tangent.part(slice(a, b)), slice(a, b)) for a, b in borders(T, self.window)]
