"""Whether the signs that a rule draws are fair and independent, as it draws them in the circuit on which it is checked.

A stream is what a rule draws step after step, (step, sample, place): the shapes are those that it asks for in this circuit, for batches
from one sample to 1024, from the first step of a sequence on. For N independent fair signs, and for products of two of them in pairs
that make no circle, which are independent fair signs themselves, Hoeffding's inequality (1963, doi:10.1080/01621459.1963.10500830)
bounds ::

    P(|mean| > t) ≤ 2 exp(−N t²/2),     so with m means of N_i terms  t_i = √(2 ln(2m/α)/N_i)  fails by chance with P ≤ α    (1)

exactly, without a limit theorem: signs have no tails. All means of a rule in a circuit share α = 5e-10; the fewer than 200 such sets of a
whole `bioplaus check` leave less than one false alarm in ten million runs.

==================================================  =========================================================================
means that should vanish                            of
==================================================  =========================================================================
signs                                               every place, every sample, both; all together; every step of the first 40,
                                                    over 128 sequences begun anew: of all, of every sample and place
products with what comes 1, 2, … steps later        every lag to half the stream, all samples and places together
products of two samples or places, 0 … 64 steps     every pair, where there are up to 64 samples × places; where there are more,
apart                                               within a step, every pair of places, and samples 1 to 512 apart
==================================================  =========================================================================

What it sees, with m < 10⁶ (t < √(72/N)): of a mean or correlation of 3 % in all signs, or in those of any one place, in batches of
1024 (N = 262 144, t < 0.017), the estimate lies six standard deviations beyond t; so does one of 35 % in a single sample and place, or
of any pair, in batches of 1 and 2 (N = 2048, t < 0.19); and whatever holds always shows, in a first step, of one place or sample, or
from step to step with a period up to 1024.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from bioplaus.check.bench import Bench
from bioplaus.check.signs import Spelled, told
from bioplaus.eligibility.recursion import Recursion
from bioplaus.learning.sequence import sequence
from bioplaus.rules import Rule
from bioplaus.signal import Instant
from bioplaus.streams import stream
from bioplaus.tasks import squared

if TYPE_CHECKING:
    from torch import Tensor

#: chance of a false alarm, of all tests of a rule in a circuit
ALPHA = 5e-10
#: samples and steps of the streams; up to how many channels (samples × places) each is held against each
STREAMS = ((1, 2**11), (2, 2**11), (8, 2**10), (2**10, 2**8))
PAIRED = 64
#: the most steps apart of pairs
LAGS = 64
#: steps from the first on, sequences begun anew, and samples of each  # chosen: more than are drawn ahead
FIRST, BEGUN, BEGINNERS = 40, 128, 2

#: means, and of how many terms each or all are
Means = tuple["Tensor", "int | Tensor"]
Draw = Callable[[], "Tensor"]


def unfairness(bench: Bench, rule: Rule) -> float:
    """The largest mean that should vanish over what chance allows, |mean| / t of (1): at most 1 for fair signs.

    Zero for a rule that draws none, infinite for what is no sign.
    """
    found: list[Means] = []
    for begin in _halves(bench, rule):
        generator = stream(bench.seed, "signs")
        for batch, steps in STREAMS:
            draw = begin(batch, generator)
            drawn = torch.stack([draw() for _ in range(steps)]).float()
            if not bool((drawn.abs() == 1).all()):
                return math.inf
            found += _means(drawn)
        draws = [begin(BEGINNERS, generator) for _ in range(BEGUN)]
        begun = torch.stack([draw() for draw in draws for _ in range(FIRST)]).float()
        found += _of_beginnings(begun.unflatten(0, (BEGUN, FIRST)))
    over = [
        (means.abs() * terms**0.5).flatten() for means, terms in found if means.numel()
    ]  # of one place there are no pairs
    tests = sum(map(len, over))
    return max((float(each.max()) / allowed(tests) for each in over), default=0.0)


def allowed(tests: int) -> float:
    """t √N of (1)."""
    return math.sqrt(2 * math.log(2 * tests / ALPHA))


def _means(x: Tensor) -> Iterator[Means]:
    """Of a stream, (step, sample, place)."""
    T, B, K = x.shape
    yield x.mean()[None], T * B * K
    yield x.mean((0, 1)), T * B
    yield x.mean((0, 2)), T * K
    yield x.mean(0), T
    channels = x.flatten(1)
    yield from _later(channels)
    if B * K <= PAIRED:
        yield from _pairs(channels)
        return
    flat = x.flatten(0, 1)
    i, j = torch.triu_indices(K, K, 1)
    yield (flat.T @ flat / len(flat))[i, j], T * B
    if B > 1:
        yield from _later(x.transpose(0, 1).flatten(1))  # and with what samples so far apart draw


def _later(channels: Tensor) -> Iterator[Means]:
    """Products with what the same channel draws so many steps later: every lag, all channels together."""
    T, C = channels.shape
    moved = torch.fft.rfft(channels, n=2 * T, dim=0)
    sums = torch.fft.irfft(moved.abs().square().sum(1), n=2 * T)[1 : T // 2 + 1]
    terms = C * torch.arange(T - 1, T - 1 - len(sums), -1)
    yield sums / terms, terms


def _pairs(channels: Tensor) -> Iterator[Means]:
    """Products of all pairs of channels, so many steps apart; a channel with itself, later."""
    T, C = channels.shape
    i, j = torch.triu_indices(C, C, 1)
    yield (channels.T @ channels / T)[i, j], T
    for lag in range(1, LAGS + 1):
        yield (channels[lag:].T @ channels[:-lag]).flatten() / (T - lag), T - lag


def _of_beginnings(x: Tensor) -> Iterator[Means]:
    """Of (sequence, step, sample, place): every step."""
    N, _, B, K = x.shape
    yield x.mean((0, 2, 3)), N * B * K
    yield x.mean((0, 2)), N * B
    yield x.mean((0, 3)), N * K
    yield x.mean(0), N
    again = x[1:] * x[:-1]  # the same step of the next sequence
    yield again.mean((0, 2, 3)), (N - 1) * B * K


def _halves(bench: Bench, rule: Rule) -> Iterator[Callable[[int, torch.Generator], Draw]]:
    """Of each half that draws: (batch, generator) → what draws the signs of the next step, (sample, place)."""
    past, signal = rule.eligibility, rule.signal
    if past.declaration.random and isinstance(past, Recursion):
        shapes = _asked(bench, rule)

        def of_past(batch: int, generator: torch.Generator) -> Draw:
            state: Any = past.init(bench.network, batch, {}, generator)
            return lambda: _side_by_side(tuple(state.signs(batch, *rest) for rest in shapes))

        if shapes:
            yield of_past
    if signal.declaration.random and isinstance(signal, Instant):
        outputs = bench.batch.targets.shape[-1]

        def of_signal(batch: int, generator: torch.Generator) -> Draw:
            state: Any = signal.init(bench.network, batch, generator)
            error = torch.empty(1, batch, outputs, dtype=torch.float64)
            return lambda: signal.explore(state, error)[0]

        yield of_signal


def _side_by_side(drawn: tuple[Tensor, ...]) -> Tensor:
    """(sample, place), of all that a step draws."""
    if len(drawn) == 1 and drawn[0].dim() == 2:
        return drawn[0]
    return torch.cat([each.reshape(len(each), -1) for each in drawn], 1)


class _Heard(Spelled):
    """Writes down what is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def signs(self, batch: int, *rest: int) -> Tensor:
        self.shapes.append(rest)
        return super().signs(batch, *rest)


def _asked(bench: Bench, rule: Rule) -> list[tuple[int, ...]]:
    """The shapes, without the batch, of the signs that a rule's past half draws in one step."""
    heard, one = _Heard(), bench.short(1)
    still = Rule(rule.eligibility, Instant(), rule.schedule)
    sequence(one.network, told(still, heard), {}, one.batch, squared)
    return heard.shapes
