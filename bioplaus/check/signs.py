"""A random rule's mean over its signs, by trying them all.

A rule that draws n signs ±1 in a sequence has 2ⁿ outcomes, equally likely, and its expected gradient is their mean::

    E[g] = 2⁻ⁿ Σ_s g(s),     s ∈ {−1, 1}ⁿ                                                          (1)

On a circuit and a sequence so short that n ≤ 14, (1) is summed, one outcome a sample. Nothing is estimated: what differs from the
true gradient by more than rounding is biased, however heavy the tails of single draws are, and with whatever seed.

Longer sequences and larger circuits are another's matter: of influences `bioplaus.check.steps`, of signals `by_step`. That all outcomes are
equally likely is for `bioplaus.check.fairness` to show.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bioplaus import checks
from bioplaus.cell import Cell
from bioplaus.check.bench import ATTEMPTS, Bench, seeds
from bioplaus.check.bench import bench as bench_of
from bioplaus.eligibility import Eligibility
from bioplaus.eligibility.recursion import Recursion
from bioplaus.learning.sequence import sequence
from bioplaus.rules import Rule
from bioplaus.signal import Instant, Signal
from bioplaus.symbolic.units import plain
from bioplaus.tasks import squared

if TYPE_CHECKING:
    from torch import Tensor

#: outcomes that are tried at once, and the most signs of which all outcomes are tried
CHUNK, MOST = 2**14, 14
#: of the circuits for that: the longest sequence and delay, steps; outputs a step and neuron, and the gain of recurrent weights
#: between spiking neurons  # chosen: with these most seeds of all shipped models give one that lives
LONGEST, LATEST, LIVELY, GAIN = 12, 2, 0.1, 2.0
#: how else they are made, in steps of a refractory time or 5 ms: a cell of many states has so many signs a step that in as few steps as are
#: left, of 1 ms, it has not answered, or is refractory throughout
COARSE, COARSELY = 5e-3, {"lively": 0.45, "gain": 8.0}
#: and of neurons that stay refractory while a condition holds, which must fire twice for what crosses a synapse to be seen, and take so
#: many steps more for that
TWICE, LASTING = {"lively": 0.2, "gain": 16.0}, 2
#: signs a step of which all outcomes are tried
ALL = 8


class Spelled:
    """Signs that spell out numbers: sample b of a batch draws the bits of first + b, the lowest first.

    Attributes
    ----------
    bits : how many signs a sample has drawn so far.
    """

    def __init__(self, first: int = 0) -> None:
        self.first, self.bits = first, 0

    def signs(self, batch: int, *rest: int) -> Tensor:
        """The next signs of every sample, (batch, *rest)."""
        at = torch.arange(self.bits, self.bits + math.prod(rest))
        self.bits += len(at)
        drawn = torch.arange(self.first, self.first + batch)[:, None] >> at & 1
        return (2 * drawn - 1).double().view(batch, *rest)


def design(count: int) -> Tensor:
    """Signs of one step, (outcomes, count): all 2^count of up to 8, a balanced part of more.

    That part is of 2^(1 + ⌈log₂ count⌉) outcomes, Hadamard's and their negatives: of any three signs all eight combinations stand in it
    equally often (an orthogonal array of strength 3), and with every outcome its negative.
    """
    if count <= ALL:
        masks = 2 ** torch.arange(count)
        outcomes = 2**count
    else:
        half = 2 ** (count - 1).bit_length()
        masks = half + torch.arange(count)  # no three of them add up to nothing, bit by bit: the highest bit is in all
        outcomes = 2 * half
    chosen = torch.arange(outcomes)[:, None] & masks
    parity = torch.stack([chosen >> bit & 1 for bit in range(outcomes.bit_length())]).sum(0) % 2
    return (1 - 2 * parity).double()


class Outcomes(Spelled):
    """Every sample draws the signs of an outcome of its own.

    Attributes
    ----------
    table : (sample, sign), those of one step; after the last come the first again.
    """

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = table

    def signs(self, batch: int, *rest: int) -> Tensor:
        at = torch.arange(self.bits, self.bits + math.prod(rest)) % self.table.shape[1]
        self.bits += len(at)
        return self.table[:, at].view(batch, *rest)


def told(rule: Rule, spelled: Spelled) -> Rule:
    """The same rule, which is told its signs instead of drawing them."""
    return replace(rule, eligibility=_past(rule.eligibility, spelled), signal=_future(rule.signal, spelled))


def _past(half: Eligibility, spelled: Spelled) -> Eligibility:
    kind = type(half)
    if not (half.declaration.random and issubclass(kind, Recursion)):
        return half

    class Told(kind):  # type: ignore[misc, valid-type]
        def init(self, *given: Any, **named: Any) -> Any:
            state = super().init(*given, **named)
            state.signs = spelled.signs
            return state

    return _as(half, Told)


def _future(half: Signal, spelled: Spelled) -> Signal:
    if not (half.declaration.random and isinstance(half, Instant)):
        return half

    class Told(type(half)):
        def explore(self, state: torch.Generator, error: Tensor) -> Tensor:
            return torch.stack([spelled.signs(*each.shape) for each in error])

    return _as(half, Told)


def _as(half: Any, kind: type) -> Any:
    """A copy of a half of a rule, as one of a subclass of its class."""
    same = copy(half)
    object.__setattr__(same, "__class__", kind)
    return same


def short(bench: Bench, rule: Rule) -> Bench | None:
    """A living circuit of the same model, of one population, in which all outcomes of a rule's signs can be tried; None: there is none.

    Two neurons, or else one, also with no more delay than there must be, over as many steps as there are signs for, more than the delay. The true gradient alone decides which is
    taken, whatever the rule finds.
    """
    circuit = bench.network.circuit
    population = next(iter(circuit.populations.values()))
    delay = min(LATEST, max((d for w in bench.network.recurrent for d in w.source.delays), default=1))
    fixed: Any = {"delay": delay, "tau": circuit.readout.tau, "written_by_hand": False, "lively": LIVELY, "gain": GAIN}
    for units, more, late in ((2, 2, delay), (1, 2, delay), (1, 1, delay), (1, 1, 1)):
        make = partial(bench_of, population.cell, units=units, **fixed | {"delay": late})
        each = count(make(1, seed=bench.seed), rule)
        steps = min(LONGEST, MOST // each)
        if steps < late + more + (LASTING if isinstance(population.cell.refractory, str) else 0):
            continue
        for way, seed in _tries(population.cell, bench.seed):
            found = make(steps, seed=seed, **way)
            found = replace(found, batch=replace(found.batch, weight=torch.ones_like(found.batch.weight))).short(steps)
            if not found.dead():
                return found
    return None


def _tries(cell: Cell, seed: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Ways to make circuits of a cell, and seeds, in the order in which they are tried."""
    if isinstance(cell.refractory, str):
        return ((way, each) for each in seeds(seed, ATTEMPTS) for way in (TWICE, {}))
    return product(_ways(cell), seeds(seed, ATTEMPTS))


def _ways(cell: Cell) -> list[dict[str, Any]]:
    """Ways to make circuits of a cell with a refractory time, or none."""
    if cell.made_for is not None:
        return [{}]
    timed = checks.dimensions(cell.refractory) == {"time": 1}
    held = float(np.max(plain(cell.refractory))) if timed else 0.0
    coarse = {"dt": held or COARSE, **COARSELY}
    # a membrane that is held by its own spike misses what that brings in the next step
    later = coarse | {"lively": 0.3, "gain": GAIN, "delay": LATEST}
    return [{}, coarse, later]


def count(bench: Bench, rule: Rule) -> int:
    """How many signs a rule draws along the first sample of a bench."""
    spelled = Spelled()
    sequence(bench.network, told(rule, spelled), {}, bench.copies(1), squared)
    return spelled.bits


def expectation(bench: Bench, rule: Rule) -> dict[str, Tensor]:
    """(1): the mean of a rule's gradient over all outcomes of its signs, along the first sample of a bench."""
    outcomes = 2 ** count(bench, rule)
    total: dict[str, Tensor] = {}
    many = bench.copies(min(CHUNK, outcomes))
    for first in range(0, outcomes, many.size):
        found = sequence(bench.network, told(rule, Spelled(first)), {}, many, squared).gradients
        for name, g in found.items():
            total[name] = total.get(name, 0) + g * (many.size / outcomes)
    return total


def by_step(bench: Bench, rule: Rule) -> dict[str, Tensor]:
    """The mean of a rule's gradient over the outcomes of one step's signs, of all steps at once, along the first sample of a bench.

    It is the one over all outcomes if the gradient is a sum over steps, each of which knows of its own signs alone: so it is of signals
    that explore. Takes circuits and sequences of any size.
    """
    table = design(count(bench.short(1), rule))
    return sequence(bench.network, told(rule, Outcomes(table)), {}, bench.copies(len(table)), squared).gradients
