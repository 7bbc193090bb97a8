"""Which neuron speaks to which by their distance, drawn at the cost of the synapses that there are.

Both populations are halved again and again where they are widest, until a box holds a few neurons (a k-d tree). Of two boxes the kernel is
at most what it is at their smallest distance; where it varies little between them, or few synapses are expected, they are drawn together:

    hits ~ Poisson(n_post n_pre μ),   μ = −ln(1 − p_most),   each at two neurons at random, kept with probability ln(1 − p(d)) / ln(1 − p_most)

A pair that is hit has a synapse: the probability is p(d) for every pair by itself, exactly, however far. Where p_most is large all pairs are
looked at. A fixed number of sources are those of the first arrivals, when pair (i, j) arrives at a rate k(d_ij): one after the other,
each in proportion to the kernel among those that are left. All have arrived until t with probability 1 − exp(−t k), and t grows until
every neuron has enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch

from bioplaus.circuit.space import Kernel, Positions, norm
from bioplaus.circuit.synapses import Synapses
from bioplaus.errors import CircuitError

#: neurons of the smallest box, and hits of two boxes for which they are not halved further  # chosen
LEAF, FEW = 8, 16
#: pairs, of neurons or boxes, that are looked at at once  # chosen: some 100 MB
AT_ONCE = 1_000_000
#: from where on all pairs of two boxes are looked at
LIKELY = 0.5
#: neurons from which a mean over all of them is taken; it is good to some per cent, and only storage and first weights go by it  # chosen
SAMPLE = 256
#: beyond this time what has not arrived is taken to be never there  # chosen
LATEST = 1e15

Chance = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Near:
    """A kernel between the neurons of two populations."""

    kernel: Kernel
    post: Positions
    pre: Positions
    others: bool  # whether a neuron speaks to others alone, of its own population
    name: str  # of the projection

    def at(self, distance: np.ndarray) -> np.ndarray:
        """The kernel.

        Raises
        ------
        CircuitError
            Where it is none.
        """
        k = np.asarray(self.kernel.at(distance))
        if k.shape != distance.shape or not ((k >= 0) & (k <= 1)).all():
            raise CircuitError(
                f"The kernel of projection {self.name}, {self.kernel!r}, must give a number from 0 to 1 for every distance: it says how likely a synapse is beside one between "
                "neurons at the same place."
            )
        return k

    def rows(self, many: int) -> Iterator[np.ndarray]:
        """The kernel between one neuron and all that may speak to it, of so many at even intervals."""
        for i in np.unique(np.linspace(0, len(self.post) - 1, many).astype(int)):
            k = self.at(self.post.between([i], slice(None), self.pre))
            yield np.delete(k, i) if self.others else k

    @cached_property
    def mean(self) -> float:
        """Σ of the kernel over the sources of a neuron, on average."""
        return float(np.mean([k.sum() for k in self.rows(SAMPLE)]))

    def time(self, wanted: float) -> float:
        """t until which so many sources of a neuron have arrived, on average."""
        found = list(self.rows(SAMPLE // 16))
        k, n = np.concatenate([each[each * LATEST > 1] for each in found]), len(found)
        low, high = 0.0, 1.0
        while -np.expm1(-high * k).sum() < wanted * n and high < LATEST:
            low, high = high, 4 * high
        for _ in range(8):
            middle = (low + high) / 2
            low, high = (middle, high) if -np.expm1(-middle * k).sum() < wanted * n else (low, middle)
        return high

    def drawn(self, generator: torch.Generator, probability: float | None, fan_in: int | None) -> Synapses:
        """Every pair with its probability, or so many sources of every neuron."""
        if fan_in is None:
            p = probability or 0.0
            flat = self.pairs(np.arange(len(self.post)), lambda d: p * self.at(d), generator)
        else:
            flat = self.first(fan_in, generator)
        shape = len(self.post), len(self.pre)
        return Synapses.of(torch.from_numpy(flat // shape[1]), torch.from_numpy(flat % shape[1]), shape)

    def first(self, count: int, generator: torch.Generator) -> np.ndarray:
        """The pairs of every neuron's first ``count`` arrivals, as post · sources + pre."""
        m, lacks = len(self.pre), np.ones(len(self.post), bool)
        flat, when, found = np.empty(0, np.int64), np.empty(0), []
        begin, end = 0.0, self.time(count + 2 * count**0.5 + 2)
        while True:
            span = end - begin
            fresh = self.pairs(np.flatnonzero(lacks), partial(self._until, span), generator)
            fresh = fresh[~np.isin(fresh, flat, assume_unique=True)] if len(flat) else fresh  # who has arrived is there
            times = [
                self._arrived(part, begin, span, generator) for part in np.array_split(fresh, len(fresh) // AT_ONCE + 1)
            ]
            flat, when = np.concatenate([flat, fresh]), np.concatenate([when, *times])
            if begin:
                order = np.argsort(flat)
                flat, when = flat[order], when[order]
            first, rest = _earliest(flat // m, when, count)
            found.append(flat[first])
            lacks[found[-1] // m] = False
            flat, when = flat[rest], when[rest]
            if not lacks.any():
                return np.concatenate(found)
            if end >= LATEST:
                one = int(lacks.argmax())
                raise CircuitError(
                    f"Projection {self.name} wants fan_in={count}, and where the kernel {self.kernel!r} is not as good as zero neuron {one} has {(flat // m == one).sum()} sources "
                    f"(so {lacks.sum():_} of {len(lacks):_} neurons lack some). Give a wider kernel or a smaller fan_in, or probability=, of which a neuron at the edge gets fewer."
                )
            begin, end = end, 4 * end

    def _until(self, time: float, distance: np.ndarray) -> np.ndarray:
        """The chance of an arrival until then."""
        return -np.expm1(-time * self.at(distance))

    def _arrived(self, flat: np.ndarray, begin: float, span: float, generator: torch.Generator) -> np.ndarray:
        """When in a span of time, of pairs that arrive in it."""
        k = self.at(self.post.between(flat // len(self.pre), flat % len(self.pre), self.pre))
        u = torch.rand(len(flat), generator=generator, dtype=torch.float64).numpy()
        return begin - np.log1p(u * np.expm1(-span * k)) / k

    def pairs(self, some: np.ndarray, chance: Chance, generator: torch.Generator) -> np.ndarray:
        """Pairs of some neurons and their sources, each with its chance by itself, ascending, as post · sources + pre."""
        post, pre = Tree(self.post.coordinates, some), self._sources
        found = [np.empty(0, np.int64)]
        stack = [(0, np.zeros(1, np.int64), np.zeros(1, np.int64))]
        while stack:
            level, a, b = stack.pop()
            last = post.last(level) and pre.last(level)
            one, two = post.boxes(level), pre.boxes(level)
            near, far = self._apart(one, a, two, b)
            most, least = chance(near), chance(far)
            sizes = one.sizes[a] * two.sizes[b]
            done = ((most <= 2 * least) | (sizes * most < FEW)) & (sizes * most < AT_ONCE) | last
            for part in _parts(np.flatnonzero(done & (most > 0)), np.where(most > LIKELY, 1.0, 2 * most) * sizes):
                i, j, bound = _hits(one, a[part], two, b[part], most[part], generator)
                i, j = post.order[i], pre.order[j]
                p = chance(self.post.between(i, j, self.pre))
                if (p > bound * (1 + 1e-9)).any():
                    raise CircuitError(
                        f"The kernel of projection {self.name}, {self.kernel!r}, grows with the distance somewhere; it may only fall or stay. Give the pairs themselves: synapses=(post, pre)."
                    )
                u = torch.rand(len(i), generator=generator, dtype=torch.float64).numpy()
                with np.errstate(divide="ignore", invalid="ignore"):
                    kept = np.where(bound > LIKELY, u < p, u * np.log1p(-bound) > np.log1p(-p))
                kept &= ~((i == j) & self.others)
                found.append(i[kept] * len(self.pre) + j[kept])
            rest = np.flatnonzero(~done)
            for begin in range(0, len(rest), AT_ONCE):
                part = rest[begin : begin + AT_ONCE]
                if len(part):
                    i, j = post.halves(level, a[part]), pre.halves(level, b[part])
                    i, j = np.broadcast_arrays(i[:, :, None], j[:, None, :])
                    stack.append((level + 1, i.ravel(), j.ravel()))
        flat = np.sort(np.concatenate(found))
        return flat[_begin(flat)]  # what was hit more than once is there once

    @cached_property
    def _sources(self) -> Tree:
        return Tree(self.pre.coordinates, np.arange(len(self.pre)))

    def _apart(self, one: Boxes, a: np.ndarray, two: Boxes, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The smallest and the largest distance between boxes; a little less and more, so that rounding is none."""
        centres = self.post.shortest(np.abs(one.centre[a] - two.centre[b]))
        reach = one.half[a] + two.half[b]
        far = centres + reach
        if self.post.periods is not None:
            far = np.minimum(far, self.post.periods / 2)
        return norm(np.maximum(centres - reach, 0)) * (1 - 1e-12), norm(far) * (1 + 1e-12)


@dataclass(frozen=True)
class Boxes:
    """The boxes of one level: where their neurons begin, how many they are, (box, dimension) centre and half an edge."""

    begins: np.ndarray
    sizes: np.ndarray
    centre: np.ndarray
    half: np.ndarray


class Tree:
    """Neurons in an order in which every box is a stretch; boxes of a level are halves of those before."""

    def __init__(self, at: np.ndarray, some: np.ndarray) -> None:
        self.order, self.levels = some, []
        while True:
            here = at[self.order]
            begins = (np.arange(2 ** len(self.levels) + 1) * len(some)) >> len(self.levels)
            low, high = (each.reduceat(here, begins[:-1]) for each in (np.minimum, np.maximum))
            self.levels.append(Boxes(begins[:-1], np.diff(begins), (low + high) / 2, (high - low) / 2))
            if 2 * len(low) * LEAF > len(some):
                break
            box = np.repeat(np.arange(len(low)), np.diff(begins))
            widest = (high - low).argmax(1)
            self.order = self.order[np.lexsort((here[np.arange(len(here)), widest[box]], box))]

    def boxes(self, level: int) -> Boxes:
        return self.levels[min(level, len(self.levels) - 1)]

    def last(self, level: int) -> bool:
        return level >= len(self.levels) - 1

    def halves(self, level: int, boxes: np.ndarray) -> np.ndarray:
        """(box, 1 or 2): its halves; itself where it is as small as they are."""
        return boxes[:, None] if self.last(level) else 2 * boxes[:, None] + np.arange(2)


def _parts(chosen: np.ndarray, work: np.ndarray) -> list[np.ndarray]:
    """Parts of what is chosen, of about as much work each as is done at once."""
    ends = np.cumsum(work[chosen])
    where = np.searchsorted(ends, np.arange(AT_ONCE, ends[-1] if len(ends) else 0, AT_ONCE))
    return [part for part in np.split(chosen, where) if len(part)]


def _hits(
    one: Boxes, a: np.ndarray, two: Boxes, b: np.ndarray, most: np.ndarray, generator: torch.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places of the neurons that are looked at, and the bound of their chance."""
    sizes, likely = one.sizes[a] * two.sizes[b], most > LIKELY
    mu = -np.log1p(-np.where(likely, 0.0, most)) * sizes
    many = np.where(likely, sizes, torch.poisson(torch.from_numpy(mu), generator=generator).numpy().astype(np.int64))
    pair = np.repeat(np.arange(len(a)), many)
    each = np.arange(len(pair)) - np.repeat(np.cumsum(many) - many, many)
    uniform = torch.rand(2, len(pair), generator=generator, dtype=torch.float64).numpy()
    n, m, likely = one.sizes[a][pair], two.sizes[b][pair], likely[pair]
    i = np.where(likely, each // m, np.minimum((uniform[0] * n).astype(np.int64), n - 1))
    j = np.where(likely, each % m, np.minimum((uniform[1] * m).astype(np.int64), m - 1))
    return one.begins[a][pair] + i, two.begins[b][pair] + j, most[pair]


def _begin(ascending: np.ndarray) -> np.ndarray:
    """Where a number stands for the first time."""
    return np.concatenate([np.ones(min(len(ascending), 1), bool), ascending[1:] != ascending[:-1]])


def _earliest(post: np.ndarray, when: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Of pairs in the order of ``post``, the earliest ``count`` of each neuron that has so many, and all pairs of the others."""
    begins = np.flatnonzero(_begin(post))
    sizes = np.diff(begins, append=len(post))
    enough, found = sizes >= count, [np.empty(0, np.int64)]
    begin, size = begins[enough], sizes[enough]
    each = np.arange(size.max(initial=0))
    for some in np.array_split(np.arange(len(begin)), len(begin) * len(each) // AT_ONCE + 1):
        at = np.minimum(begin[some, None] + each, len(post) - 1)
        times = np.where(each < size[some, None], when[at], np.inf)
        if len(some):
            found.append((begin[some, None] + np.argpartition(times, count - 1, 1)[:, :count]).ravel())
    return np.concatenate(found), np.flatnonzero(np.repeat(~enough, sizes))
