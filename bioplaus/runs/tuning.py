"""Which learning rates are tried for every rule, and which is taken. Light to import."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bioplaus import checks
from bioplaus.errors import RunError
from bioplaus.runs.experiment import SEEDS

FOLDER = "tune"
"""Where the runs of a comparison's tuning lie, below its own folder."""
MOST = 100  # chosen: learning rates that are tried


@dataclass(frozen=True)
class Tuning:
    """The same search for every rule: each rate with each seed, so many updates long.

    Attributes
    ----------
    rates : tuple of float
        Rising; two or more, or none for no search.
    seeds : tuple of int
        None of them may be a seed that the comparison itself is judged by.
    updates : int or None
        Of each run; None: as many as in the comparison itself.

    Raises
    ------
    RunError
        If it is no search.
    """

    rates: tuple[float, ...] = ()
    seeds: tuple[int, ...] = (1000,)
    updates: int | None = None

    constraints = checks.Table(
        RunError,
        "of a search for learning rates",
        rates=checks.Several(checks.Real(least=0), "(1e-4, 1e-3, 1e-2)", 0, MOST),
        seeds=SEEDS,
        updates=checks.Optional(checks.Whole(), "for as many as are compared"),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        if len(self.rates) == 1 or len(set(self.rates)) < len(self.rates):
            raise RunError(
                f"The learning rates {', '.join(map(number, self.rates))} are nothing to choose from: give two or "
                "more different numbers ≥ 0, such as 1e-4,1e-3,1e-2."
            )
        object.__setattr__(self, "rates", tuple(sorted(map(float, self.rates))))

    def budget(self, updates: int) -> str:
        """In words, per rule; ``updates`` are those of the comparison itself."""
        each = self.updates or updates
        runs = len(self.rates) * len(self.seeds)
        return (
            f"{len(self.rates)} rates ({', '.join(map(number, self.rates))}) × {count(len(self.seeds), 'seed')} "
            f"({', '.join(map(str, self.seeds))}) × {count(each, 'update')} = {runs * each} updates"
        )


@dataclass(frozen=True)
class Choice:
    """What the search found for one rule.

    Attributes
    ----------
    rule : str
        As it was given.
    rate : float
        The one taken.
    rates, scores : tuple
        All that were tried, rising, with the mean final test score of each; None where a run broke down.
    """

    rule: str
    rate: float
    rates: tuple[float, ...]
    scores: tuple[float | None, ...]


def choose(rates: Sequence[float], scores: Sequence[float | None], higher: bool) -> float:
    """The rate of the best score; of equally good ones the smallest; None is worse than any score.

    Parameters
    ----------
    rates : sequence of float
        Those tried.
    scores : sequence of float or None
        One a rate.
    higher : bool
        Whether a higher score is better.
    """

    def place(pair: tuple[float, float | None]) -> tuple[float, float]:
        rate, score = pair
        return (math.inf if score is None else -score if higher else score), rate

    return min(zip(rates, scores, strict=True), key=place)[0]


def doubts(choices: Sequence[Choice]) -> list[str]:
    """Why the rates that were taken may not be the best there are; a sentence for all rules of which the same is true."""
    lost: dict[str, list[str]] = {}
    broken: dict[str, list[str]] = {}
    edges: dict[tuple[float, str], list[str]] = {}
    for each in choices:
        wild = [rate for rate, score in zip(each.rates, each.scores, strict=True) if score is None]
        if wild and len(wild) == len(each.rates):
            lost.setdefault(number(each.rate), []).append(each.rule)
            continue
        if wild:
            broken.setdefault(", ".join(map(number, wild)), []).append(each.rule)
        if each.rates and each.rate in (each.rates[0], each.rates[-1]):
            word = "smallest" if each.rate == each.rates[0] else "largest"
            edges.setdefault((each.rate, word), []).append(each.rule)
    return [
        *(
            f"{listed(rules)} broke down at every rate tried; the smallest, {rate}, was taken."
            for rate, rules in lost.items()
        ),
        *(
            f"{listed(rules)} broke down in the search at {rates}, which counted as worst."
            for rates, rules in broken.items()
        ),
        *(
            f"The best rate of {listed(rules)}, {number(rate)}, is the {word} tried; widen --tune."
            for (rate, word), rules in edges.items()
        ),
    ]


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([*([", ".join(names[:-1])] if len(names) > 1 else []), names[-1]])


def number(value: float) -> str:
    """As short as it can be read back: 0.001, 1e-05, 1e+06."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def count(n: int, thing: str) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{n} {thing}" + ("" if n == 1 else "s")
