"""Arrays that fill with what is recorded, piece by piece, and hold nothing else."""

from __future__ import annotations

import math

import numpy as np

from bioplaus.recording.asked import Asked

#: bytes laid out for what grows, of which those that are never written to take no memory
#: chosen: twice what the C library gives pages of their own at the most, which it can move without copying
OPEN = 64 * 2**20


def recorded_steps(first: int, last: int, every: int) -> np.ndarray:
    """Of the steps from ``first`` to before ``last``, counted from 0, those with which another ``every`` are over."""
    return np.arange(first - first % every + every - 1, last, every)


def thinned(values: np.ndarray, first: int, every: int) -> np.ndarray:
    """What stands at the recorded steps, of all steps from ``first`` on."""
    return values if every == 1 else values[every - 1 - first % every :: every].copy()


class Kept:
    """What is recorded of one quantity: (time, batch, unit), its values at the recorded steps, or what was counted since the one before.

    Parameters
    ----------
    every : of how many steps one is recorded, the last.
    counted : what was counted already since the last recorded step, (batch, unit), of all units; None: nothing.
    grows : whether nobody knows yet how many steps there will be.
    """

    def __init__(self, asked: Asked | None, every: int, counted: np.ndarray | None = None, grows: bool = False) -> None:
        self.asked, self.every, self.grows = asked, every, grows
        self.counts = asked is not None and asked.counted and every > 1
        self.counted = counted if self.counts else None
        self._values: np.ndarray | None = None
        self._filled = self._until = 0

    def reserve(self, more: int) -> None:
        """Say how many recorded steps will come beyond those that are there."""
        self._until = self._filled + more

    @property
    def values(self) -> np.ndarray:
        """All there is, (time, batch, unit)."""
        assert self._values is not None
        if self._filled < len(self._values):
            self._values.resize((self._filled, *self._values.shape[1:]), refcheck=False)
        return self._values

    def add(self, first: int, piece: np.ndarray) -> None:
        """The steps from ``first`` on, (time, batch, unit), of all units."""
        steps = recorded_steps(first, first + len(piece), self.every) - first
        if self.counts:
            found = self._count(piece, steps)
        else:
            found = piece if self.every == 1 else piece[steps]
        if self.asked is not None and self.asked.units is not None:
            found = found[..., self.asked.units]
        into = self._room(found)
        if self.asked is None or self.asked.scale == 1:
            into[:] = found
        else:
            np.multiply(found, found.dtype.type(self.asked.scale), out=into)

    def _count(self, piece: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """How much there was in each of the stretches that end with a recorded step; what comes after waits."""
        waiting = np.zeros_like(piece[0]) if self.counted is None else self.counted.astype(piece.dtype)
        begins, found = [0, *(steps + 1)], np.empty((len(steps), *piece.shape[1:]), piece.dtype)
        for i, (begin, end) in enumerate(zip(begins, begins[1:], strict=False)):
            found[i] = piece[begin:end].sum(0)
        if len(steps):
            found[0] += waiting
            waiting = np.zeros_like(waiting)
        self.counted = waiting + piece[begins[-1] :].sum(0)
        return found

    def _room(self, found: np.ndarray) -> np.ndarray:
        end = self._filled + len(found)
        most = max(end, self._until)
        if self._values is None:
            row = found.dtype.itemsize * math.prod(found.shape[1:])
            self._values = np.empty((max(most, OPEN // row if self.grows else 0), *found.shape[1:]), found.dtype)
        elif end > len(self._values):
            # memory of this size grows in its place: a copy would take as much again
            self._values.resize((most, *found.shape[1:]), refcheck=False)
        into = self._values[self._filled : end]
        self._filled = end
        return into
