"""The options of a comparison's search for learning rates, and the search before the user's eyes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bioplaus.cli import UsageError
from bioplaus.cli.options import parse_seeds, split
from bioplaus.cli.terminal import heading, pairs, say, table
from bioplaus.cli.watch import Watch
from bioplaus.errors import RunError, cut
from bioplaus.runs.compare import Comparison, Setting, trials
from bioplaus.runs.tuning import Tuning, number
from bioplaus.runs.usable import below, check_experiment

if TYPE_CHECKING:
    from bioplaus.tasks import Task


def asked(rates: str, updates: int | None, seeds: str, setting: Setting, judged: Sequence[int]) -> Tuning:
    """What ``--tune``, ``--tune-updates`` and ``--tune-seeds`` ask for; no rates: no search.

    Parameters
    ----------
    rates, seeds : str
        As typed; empty if nothing was.
    updates : int or None
        Of each run; None: as many as in the comparison.
    setting : Setting
        The comparison's own, whose rate a search replaces.
    judged : sequence of int
        Seeds of the comparison itself. None of them may be searched with: a rate would be judged by what it was
        chosen for.

    Raises
    ------
    UsageError
        If it makes no sense.
    """
    if not rates.strip():
        for option, value in (("--tune-updates", updates), ("--tune-seeds", seeds)):
            if value not in (None, ""):
                raise UsageError(
                    f"`{option} {value}` says how learning rates are searched, but none are to be tried: give --tune "
                    "with two or more, such as --tune 1e-4,1e-3,1e-2."
                )
        return Tuning()
    if setting.lr != Setting.lr:
        raise UsageError(
            f"`--lr {number(setting.lr)}` sets one learning rate for every rule, `--tune {cut(rates)}` searches one for each: "
            "give either."
        )
    chosen = parse_seeds(seeds) if seeds.strip() else (_unused(judged),)
    if both := sorted({*chosen} & {*judged}):
        raise UsageError(
            f"`--tune-seeds {cut(seeds)}`: {cut(', '.join(map(str, both)))} would also judge the rates chosen with it. Give seeds "
            f"that are not among --seeds, such as {_unused(judged)}."
        )
    try:
        return Tuning(tuple(map(_rate, split(rates))), chosen, updates)
    except RunError as error:
        raise UsageError(f"`--tune {cut(rates)}`: {error}") from error


def _rate(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(
            f"`--tune`: {cut(text)!r} is no learning rate; give numbers with commas between, such as 1e-4,1e-3,1e-2."
        ) from None


def _unused(judged: Sequence[int]) -> int:
    """The search's own seed: 1000, or the next that judges nothing."""
    seed = Tuning().seeds[0]
    while seed in judged:
        seed += 1
    return seed


def search(config: Comparison, workers: int, root: str) -> Comparison:
    """Carry out the search and tell what it found.

    Raises
    ------
    BioplausError, KeyboardInterrupt
        As `bioplaus.runs.tune.tune` does.
    """
    from bioplaus.runs.tune import tune

    check_experiment(below(root, config.name_of_trials))
    experiment = trials(config)
    arms, tuning = experiment.arms, config.tuning
    task = next(iter(arms.values())).task
    heading(experiment.title)
    pairs(
        [
            ("each rule", tuning.budget(config.setting.updates)),
            ("decided by", f"the best mean final test score, {score_in_words(task)}; of equal ones the smaller rate"),
            ("folder", str(below(root, config.name_of_trials))),
        ]
    )
    say()
    watch = Watch({label: arm.updates for label, arm in arms.items()}, len(tuning.seeds), workers)
    with watch:
        found = tune(config, root=root, workers=workers, progress=watch)
    say()
    rows = [(each.rule, *map(_score, each.scores), number(each.rate)) for each in found.chosen]
    rates = [f"lr {number(rate)}" for rate in tuning.rates]
    table(("rule", *rates, "chosen"), rows, right=(*rates, "chosen"))
    say()
    return found


def score_in_words(task: Task) -> str:
    """``r.m.s. error, lower is better``."""
    return f"{task.score_name}, {'higher' if task.higher_is_better else 'lower'} is better"


def _score(score: float | None) -> str:
    return "broke down" if score is None else f"{score:.4g}"
