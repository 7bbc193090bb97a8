"""A random rule's mean over its signs, by trying them all; and whether signs, as they are drawn, are fair.

A rule that draws n signs ±1 in a sequence has 2ⁿ outcomes, equally likely, and its expected gradient is their mean::

    E[g] = 2⁻ⁿ Σ_s g(s),     s ∈ {−1, 1}ⁿ                                                          (1)

On a circuit and a sequence so short that n ≤ 14, (1) is summed, one outcome a sample. Nothing is estimated: what differs from the
true gradient by more than rounding is biased, however heavy the tails of single draws are, and with whatever seed.

That the outcomes are equally likely is left to chance to show, on the signs alone. For N independent fair signs, and for products
of two of them in pairs that share no more than one, Hoeffding's inequality (1963, doi:10.1080/01621459.1963.10500830) bounds ::

    P(|mean| > t) ≤ 2 exp(−N t²/2),     so with m means  t = √(2 ln(2m/α)/N)  fails by chance with P ≤ α   (2)

exactly, without a limit theorem: signs have no tails. α = 1e-9 and at most a hundred such tests in `bioplaus check` leave less than
one false alarm in ten million runs. Of the N = 262_144 signs of each place t is below 0.015: signs with a mean of 3 % lie eight
standard deviations beyond it.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from bioplaus.check.bench import ATTEMPTS, Bench, seeds
from bioplaus.check.bench import bench as bench_of
from bioplaus.eligibility import Eligibility
from bioplaus.eligibility.recursion import Recursion
from bioplaus.learning.sequence import sequence
from bioplaus.rules import Rule
from bioplaus.signal import Instant, Signal
from bioplaus.streams import stream
from bioplaus.tasks import squared

if TYPE_CHECKING:
    from torch import Tensor

#: outcomes that are tried at once, and the most signs of which all outcomes are tried
CHUNK, MOST = 2**14, 14
#: of the circuits for that: the longest sequence and delay, steps; outputs a step and neuron, and the gain of recurrent weights
#: between spiking neurons  # chosen: with these most seeds of all shipped models give one that lives
LONGEST, LATEST, LIVELY, GAIN = 12, 2, 0.1, 2.0
#: chance of a false alarm, of each test of signs
ALPHA = 1e-9
#: places, samples and draws of the signs that are tested
PLACES, SAMPLES, DRAWS = 4, 2**10, 2**8


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
    """A living circuit of the same model in which all outcomes of a rule's signs can be tried; None: there is none.

    Two neurons, or else one, over as many steps as there are signs for, more than the delay. The true gradient alone decides which is
    taken, whatever the rule finds.
    """
    circuit = bench.network.circuit
    (population,) = circuit.populations.values()
    delay = min(LATEST, max(p.delay or 1 for p in circuit.projections))
    fixed: Any = {"delay": delay, "tau": circuit.readout.tau, "written_by_hand": False, "lively": LIVELY, "gain": GAIN}
    for units, more in ((2, 2), (1, 2), (1, 1)):
        make = partial(bench_of, population.cell, units=units, **fixed)
        each = count(make(1, seed=bench.seed), rule)
        steps = min(LONGEST, MOST // each)
        if steps < delay + more:
            continue
        for seed in seeds(bench.seed, ATTEMPTS):
            found = make(steps, seed=seed)
            found = replace(found, batch=replace(found.batch, weight=torch.ones_like(found.batch.weight))).short(steps)
            if not found.dead():
                return found
    return None


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


def unfairness(bench: Bench, rule: Rule, seed: int) -> float:
    """The largest mean that should vanish, of signs as a rule draws them, over t of (2); infinite for what is no sign.

    Tried are the signs of every place, and the products of those of two places, two samples and two draws beside each other.
    """
    worst = 0.0
    for drawn in _drawn(bench, rule, stream(seed, "signs")):
        if not bool((drawn.abs() == 1).all()):
            return math.inf
        places = drawn.shape[-1]
        means = [drawn.flatten(0, -2).mean(0)]
        means += [(drawn[..., i] * drawn[..., j]).mean()[None] for i in range(places) for j in range(i)]
        means += [
            (drawn[1:] * drawn[:-1]).flatten(0, -2).mean(0),
            (drawn[:, 1:] * drawn[:, :-1]).flatten(0, -2).mean(0),
        ]
        found = torch.cat(means).abs()
        least = (DRAWS - 1) * (SAMPLES - 1)
        worst = max(worst, float(found.max()) / math.sqrt(2 * math.log(2 * len(found) / ALPHA) / least))
    return worst


def _drawn(bench: Bench, rule: Rule, generator: torch.Generator) -> list[Tensor]:
    """Signs as each half draws them, (draw, sample, place)."""
    past, signal, found = rule.eligibility, rule.signal, []
    if past.declaration.random and isinstance(past, Recursion):
        state: Any = past.init(bench.network, SAMPLES, {}, generator)
        # of two shapes, as a rule may draw: with places and without, which makes one place more
        both = [(state.signs(SAMPLES, PLACES - 1), state.signs(SAMPLES)[:, None]) for _ in range(DRAWS)]
        found.append(torch.stack([torch.cat(each, 1) for each in both]))
    if signal.declaration.random and isinstance(signal, Instant):
        state = signal.init(bench.network, SAMPLES, generator)
        found.append(signal.explore(state, torch.empty(DRAWS, SAMPLES, PLACES, dtype=torch.float64)))
    return found
