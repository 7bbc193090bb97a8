"""A published neuron as Brian2 takes it, and what it is driven by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import Generator


@dataclass(frozen=True, kw_only=True)
class Published:
    """The texts and numbers of a publication; both sides of the comparison are made of them.

    Parameters
    ----------
    name, source, link : what it is called, who published it and where (DOI, or the page of Brian2's example).
    equations : Brian2's text. A line of it that declares an input (``I : amp``) is left out on Brian2's side, where the input is defined.
    original : the text that plain Brian2 runs, where that of ``equations`` had to be changed.
    inputs, jumps : channels held over a step, ``{"I": nA}``, and ``{"ge": mV}``, Brian2's ``on_pre="ge += w*mV"``; with what one unit of weight gives.
    parameters, start : one value, or one for each of the ``n`` neurons.
    drive : draws the input lines, (time, line). Those that lead to a jump are 0 or 1, and 0 in the first step. None where nothing drives.
    into : draws the weights of the lines, (channel · n, line), currents first; by default line k·n + i is channel k of neuron i.
    recurrent : draws the weights among the neurons, (channel · n, n); spikes onto jumps, outputs onto currents. Draws are of dyadic numbers
        where several spikes add up.
    delay : of recurrent spikes in steps as Brian2 counts them; None is its default, 0.
    width : of the surrogate's triangle, an expression; the spikes do not depend on it.
    named : in words, what differs from the text as it was published; "" where nothing does.
    bound : how far the states may be from plain Brian2's, relative to the largest value of each.
    because : why that is more than 1e-12.
    slow : whether it takes many seconds, as where sympy solves three equations at once, or Brian2 checks `exprel` at every call.
    margin : how near the two sides of the spike condition may come to one another, relative to the larger, in any step and neuron.
    """

    name: str
    source: str
    link: str
    equations: str
    original: str = ""
    spike: str = ""
    reset: str = ""
    output: str = ""
    refractory: Any = False
    method: str = "exact"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    start: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    jumps: Mapping[str, Any] = field(default_factory=dict)
    n: int
    dt: Any
    steps: int
    drive: Callable[[Generator], np.ndarray] | None = None
    into: Callable[[Generator], np.ndarray] | None = None
    recurrent: Callable[[Generator], np.ndarray] | None = None
    delay: int | None = None
    width: str = "10*mV"
    named: str = ""
    bound: float = 1e-12
    because: str = ""
    slow: bool = False
    margin: float = 1e-9

    @property
    def channels(self) -> dict[str, Any]:
        """Currents, then jumps."""
        return {**self.inputs, **self.jumps}

    def lines(self) -> np.ndarray:
        """Input, (time, line)."""
        x = np.empty((self.steps, 0)) if self.drive is None else self.drive(np.random.default_rng(0))
        assert x.shape[0] == self.steps, f"{self.name}: {x.shape[0]} steps of input, {self.steps} of the run"
        return x

    def weights(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Those of the lines, and those among the neurons."""
        rows = len(self.channels) * self.n
        U = np.eye(rows) if self.into is None else self.into(np.random.default_rng(1))
        U = np.empty((rows, 0)) if self.drive is None else U
        W = None if self.recurrent is None else self.recurrent(np.random.default_rng(2))
        if W is not None:
            first = len(self.inputs) * self.n
            astray = W[first:] if self.output else W[:first]
            assert W.shape == (rows, self.n) and not astray.any(), f"{self.name}: spikes jump, outputs flow"
        return U, W


def held(steps: int, lines: int, low: float, high: float, every: int = 50) -> Callable[[Generator], np.ndarray]:
    """Levels, different on every line, that change every so many steps."""

    def drive(rng: Generator) -> np.ndarray:
        return np.repeat(rng.uniform(low, high, (-(-steps // every), lines)), every, 0)[:steps]

    return drive


def spikes(steps: int, lines: int, chance: float) -> Callable[[Generator], np.ndarray]:
    """Independent spikes, so likely in a step; none in the first."""

    def drive(rng: Generator) -> np.ndarray:
        x = (rng.random((steps, lines)) < chance).astype(float)
        x[0] = 0
        return x

    return drive


def beside(*drives: Callable[[Generator], np.ndarray]) -> Callable[[Generator], np.ndarray]:
    """The lines of several, one after the other."""

    def drive(rng: Generator) -> np.ndarray:
        return np.concatenate([each(rng) for each in drives], 1)

    return drive


def dyadic(values: np.ndarray) -> np.ndarray:
    """Rounded to 1/1024, so that sums are the same in any order."""
    return np.round(values * 1024) / 1024
