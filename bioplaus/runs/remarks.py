"""What has to be said beside the table of a comparison: what it shows, and what it does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bioplaus.runs.experiment import Remarks
from bioplaus.runs.spread import LEVEL, overlap, spread
from bioplaus.runs.standings import Standing
from bioplaus.runs.tuning import Choice, Tuning, count, doubts

if TYPE_CHECKING:
    from bioplaus.tasks import Task

FEW = 5
"""Fewer seeds than these are told as few.  # chosen: below, a t-interval is more than 2.8 s.e.m. to either side"""


def remarks(rows: Sequence[Standing], task: Task, tuning: Tuning, chosen: Sequence[Choice]) -> Remarks:
    """Everything that is said beside the table.

    Parameters
    ----------
    rows : sequence of Standing
        All rules.
    task : Task
        What they learned; names the score and says which way is better.
    tuning : Tuning
        How a learning rate was searched.
    chosen : sequence of Choice
        What the search found; none if there was no search.
    """
    return Remarks(about(rows, task, tuning, chosen), warnings(rows, task.higher_is_better, chosen))


def about(rows: Sequence[Standing], task: Task, tuning: Tuning, chosen: Sequence[Choice]) -> tuple[str, ...]:
    """What was done, how often, and what the columns mean."""
    if not rows:
        return ()
    one = rows[0]
    seeds = sorted({seed for row in rows for seed in (*row.seeds, *row.broken)})
    way = "higher" if task.higher_is_better else "lower"
    if chosen:
        how = (
            f"tuned for each rule alike: {tuning.budget(one.updates)} per rule; the best mean final test score decided, on the "
            "same test trials as below"
        )
    else:
        how = "the same for every rule, not tuned"
    return (
        f"Score: {task.score_name} on test trials after {count(one.updates, 'update')} of {count(one.batch, 'trial')}, "
        f"{way} is better; mean, s.e.m. and half of the {100 * LEVEL:g} % t-interval over "
        f"{count(len(seeds), 'seed')} ({', '.join(map(str, seeds))}).",
        f"Learning rate: {how}.",
        "Time: wall clock during the runs, one thread each, tests left out, longer where the machine was busy; a step is "
        "one time step of all trials of an update. Memory: measured with one trial and with two; state is what the rule carries from step to step, "
        "buffers included, window the trajectory that its schedule looks at at once, fixed what does not grow with "
        "the trials.",
    )


def warnings(rows: Sequence[Standing], higher: bool, chosen: Sequence[Choice] = ()) -> tuple[str, ...]:
    """Why the table may not be read as a ranking; one paragraph each.

    Parameters
    ----------
    rows : sequence of Standing
        All rules.
    higher : bool
        Whether a higher score is better.
    chosen : sequence of Choice
        What a search for learning rates found.
    """
    found = [*_unequal(rows), *_few(rows), *_undecided(rows, higher)]
    return (*found, *doubts(chosen))


def _unequal(rows: Sequence[Standing]) -> list[str]:
    """Budgets that differ, and runs that broke down."""
    found = []
    wanted: tuple[tuple[str, Callable[[Standing], int]], ...] = (
        ("updates", lambda row: row.updates),
        ("trials an update", lambda row: row.batch),
        ("seeds", lambda row: len(row.seeds) + len(row.broken)),
    )
    for what, of in wanted:
        if len({of(row) for row in rows}) > 1:
            told = ", ".join(f"{row.label} {of(row)}" for row in rows)
            found.append(f"The rules did not have the same number of {what}: {told}.")
    for row in rows:
        if row.broken:
            all_of_them = len(row.seeds) + len(row.broken)
            found.append(
                f"{row.label} broke down with {len(row.broken)} of {count(all_of_them, 'seed')} "
                f"({', '.join(map(str, row.broken))}); "
                + ("its row is of the others alone." if row.seeds else "it has no score.")
            )
    return found


def _few(rows: Sequence[Standing]) -> list[str]:
    least = min((len(row.seeds) + len(row.broken) for row in rows), default=FEW)
    if least >= FEW:
        return []
    return [f"{count(least, 'seed')} {'is' if least == 1 else 'are'} few: give {FEW} or more, such as --seeds 0:{FEW}."]


def _undecided(rows: Sequence[Standing], higher: bool) -> list[str]:
    """Whether the two best rules can be told apart: by their intervals, and seed by seed, for weights and trials are the same."""
    scored = sorted((row for row in rows if row.seeds), key=lambda row: row.score.mean, reverse=higher)
    if len(scored) < 2:
        return []
    best, second = scored[:2]
    gaps = differences(best, second)
    low, high = spread(gaps).interval
    apart = low > 0 or high < 0
    if apart and not overlap(best.score, second.score):
        return []
    two, percent = f"The two best, {best.label} and {second.label},", f"{100 * LEVEL:g} %"
    if len(gaps) < 2:
        return [f"{two} are not told apart by {count(len(gaps), 'seed')}: a single score has no interval."]
    seen = f"the {percent} t-interval of their differences seed by seed, {low:.4g} to {high:.4g},"
    if apart:
        return [
            f"{two} have {percent} t-intervals that overlap ({_interval(best)} and {_interval(second)}), though {seen} leaves out 0."
        ]
    return [f"{two} are not told apart by {count(len(gaps), 'seed')}: {seen} holds 0."]


def _interval(row: Standing) -> str:
    low, high = row.score.interval
    return f"{low:.4g} to {high:.4g}"


def differences(one: Standing, other: Standing) -> list[float]:
    """Score of one rule minus that of another, for every seed with which both came to an end."""
    theirs = dict(zip(other.seeds, other.scores, strict=True))
    return [score - theirs[seed] for seed, score in zip(one.seeds, one.scores, strict=True) if seed in theirs]
