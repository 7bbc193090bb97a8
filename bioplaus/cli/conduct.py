"""Running an experiment before the user's eyes: header, progress, footer."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioplaus.cli import UsageError
from bioplaus.cli.options import choose
from bioplaus.cli.terminal import frame, heading, pairs, say, table, took
from bioplaus.cli.watch import Watch
from bioplaus.errors import RunError
from bioplaus.learning.per_time import PerTime
from bioplaus.runs import run_experiment
from bioplaus.runs.experiment import check_seeds
from bioplaus.runs.report import make_remarks, make_table
from bioplaus.runs.tuning import number
from bioplaus.runs.usable import below, check_experiment

if TYPE_CHECKING:
    from bioplaus.learning.training import Rate
    from bioplaus.rules import Rule
    from bioplaus.runs.arm import Arm
    from bioplaus.runs.experiment import Experiment
    from bioplaus.runs.results import Results
    from bioplaus.tasks import Task


def conduct(
    experiment: Experiment,
    name: str,
    config: Any,
    seeds: Sequence[int] | None,
    only: Sequence[str] | None,
    workers: int,
    root: str,
) -> int:
    """Run it and return the exit status.

    Raises
    ------
    BioplausError
        If a simulation broke down, once what came of the others was told.
    """
    only = chosen(name, experiment.arms, only) if only is not None else None
    arms = experiment.only(only)
    seeds = check_seeds(experiment.seeds if seeds is None else seeds)
    folder = below(root, name)
    check_experiment(folder)
    header(experiment.title, arms, seeds, workers, folder)
    watch = Watch({label: arm.updates for label, arm in arms.items()}, len(seeds), workers)
    with watch:
        results = run_experiment(
            experiment,
            name,
            root=root,
            seeds=seeds,
            only=only,
            workers=workers,
            config=config,
            progress=watch,
            tolerant=True,
        )
    if results:
        footer(experiment, results, folder, watch.drawn)
    if results.error is not None:
        raise results.error
    return 0


def computed(experiment: Experiment, backend: str | None, threads: int | None) -> Experiment:
    """The same with what computes its time steps, where that was typed."""
    given = {key: value for key, value in (("backend", backend), ("threads", threads)) if value is not None}
    if not given:
        return experiment
    arms = {label: replace(arm, training=replace(arm.training, **given)) for label, arm in experiment.arms.items()}
    return replace(experiment, arms=arms)


def chosen(name: str, arms: Mapping[str, Arm], words: Sequence[str]) -> list[str]:
    """The arms that are meant: by label, however it is spelled, or by the name of their rule.

    ``bptt`` means ``BPTT``, ``bp_lambda=1`` means ``BP(λ=1)``, ``bp_lambda`` every arm with that rule.

    Raises
    ------
    UsageError
        If a word means none of them.
    """
    found: list[str] = []
    left = list(words)
    while left:
        # the longest first: a label may have commas itself
        several = next((n for n in range(len(left), 1, -1) if _meant(arms, ", ".join(left[:n]))), 1)
        word, left = ", ".join(left[:several]), left[several:]
        meant = _meant(arms, word) or [
            label for label, arm in arms.items() if arm.rule and _letters(arm.rule.name) == _letters(word)
        ]
        found += meant or [choose(f"arm of {name!r}", word, list(arms))]
    if not found:
        raise UsageError(f"`--only` was given no arm. The arms of {name!r}: {', '.join(arms)}.")
    return found


def _meant(arms: Mapping[str, Arm], word: str) -> list[str]:
    """The arms of a label as it is, or however it is spelled."""
    return [label for label in arms if label == word] or [label for label in arms if _letters(label) == _letters(word)]


def _letters(label: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", label.lower().replace("λ", "lambda").replace("γ", "gamma"))


def header(title: str, arms: Mapping[str, Arm], seeds: Sequence[int], workers: int, folder: Path) -> None:
    """What is going to run."""
    heading(title)
    # What all arms share is said once, what differs is said in the table.
    circuits = {label: arm.circuit.counts() if arm.circuit else "none" for label, arm in arms.items()}
    tasks = {label: in_words(arm.task) for label, arm in arms.items()}
    devices = {label: arm.training.device for label, arm in arms.items()}
    rates = {label: _rates(arm.training.lr) for label, arm in arms.items()}
    shared = {"circuit": circuits, "task": tasks, "device": devices, "learning rate": rates}
    same = {key: next(iter(each.values())) for key, each in shared.items() if len(set(each.values())) == 1}
    at_once = f", {workers} runs at a time" if workers > 1 else ""
    pairs(
        [
            *((key, text) for key, text in same.items()),
            ("seeds", f"{', '.join(map(str, seeds))}{at_once}"),
            ("folder", str(folder)),
        ]
    )
    differing = {key: each for key, each in shared.items() if key not in same}
    rows = [
        (label, *rule_in_words(arm.rule), arm.training.updates, *(each[label] for each in differing.values()))
        for label, arm in arms.items()
    ]
    table(("arm", "rule", "class", "schedule", "updates", *differing), rows, right=("updates",))
    say()


def _rates(lr: Rate | Mapping[str, Rate]) -> str:
    """``0.001``, or ``W_in 0, predictor 0.01``."""
    if isinstance(lr, Mapping):
        return ", ".join(f"{name} {_rates(rate)}" for name, rate in lr.items())
    return str(lr) if isinstance(lr, PerTime) else number(lr)


def in_words(task: Task | None) -> str:
    """``sequential_digits, 8 steps, accuracy``."""
    if task is None:
        return "none"
    clock = f" of {1e3 * task.dt:g} ms" if task.dt else ""
    return f"{task.name}, {task.steps} steps{clock}, scored by {task.score_name}"


def rule_in_words(rule: Rule | None) -> tuple[str, str, str]:
    """Name, class and schedule of a rule; dashes where none teaches, as in `bioplaus.runs.quadratic`."""
    if rule is None:
        return "–", "–", "–"
    schedule = rule.describe()["schedule"]
    steps = schedule.get("steps")
    window = f"window of {steps}" if steps else "whole sequence"
    return rule.name, rule.claim, "online" if schedule["kind"] == "Online" else window


def footer(experiment: Experiment, results: Results, folder: Path, figures: Sequence[str]) -> None:
    """What came of it, what one should see, and what to do next."""
    say()
    remarks = make_remarks(experiment, results)
    for line in remarks.about:
        say(line)
    if remarks.about:
        say()
    try:
        frame(make_table(experiment, results))
    except RunError:
        frame(results.table())
    say()
    for line in remarks.warnings:
        say(f"Warning: {line}")
    if remarks.warnings:
        say()
    timings = [run.record["timing"] for runs in results.values() for run in runs]
    pairs(
        [
            ("expected", experiment.expected),
            ("computed in", f"{took(timings)}, summed over {len(timings)} runs"),
            ("folder", str(folder)),
            ("figures", ", ".join(figures)),
            ("next", f"bioplaus figure {shlex.quote(str(next(iter(results.values()))[0].folder))} weights"),
        ]
    )
