"""The tables of a comparison a second time, from the text of metrics.csv alone, and detectors of mistakes in them."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
from rule_helpers import Off
from scipy import stats

from bioplaus.measure.memory import Cost
from bioplaus.runs.results import Results
from bioplaus.runs.standings import standings, table

#: rows of a metrics.csv, as text
Metrics = Sequence[Mapping[str, str]]


def metrics(folder: Path) -> Metrics:
    with open(folder / "metrics.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def at_end(run: Metrics, column: str) -> float:
    return float(run[-1][column])


def step_seconds(run: Metrics, steps: int) -> float:
    """Seconds of a step: the mean of the middle half of the updates after the first, those with a test or an alignment left out."""
    plain = [
        float(row["seconds"]) - float(before["seconds"])
        for before, row in zip(run, run[1:], strict=False)
        if not row.get("test_score") and not row.get("alignment")
    ]
    plain.sort()
    quarter = len(plain) // 4
    middle = plain[quarter : len(plain) - quarter]
    return sum(middle) / len(middle) / steps


def sem(values: Sequence[float]) -> float:
    return statistics.stdev(values) / len(values) ** 0.5


class Arm:
    """What a comparison's row is made of: an arm's runs, and what it was given."""

    def __init__(self, label: str, rate: float, runs: Sequence[Metrics], steps: int, batch: int, kept: Any) -> None:
        self.label, self.rate, self.runs, self.steps, self.batch, self.kept = label, rate, runs, steps, batch, kept
        self.scores = [at_end(run, "test_score") for run in runs]
        self.losses = [at_end(run, "test_loss") for run in runs]
        self.times = [step_seconds(run, steps) for run in runs]


#: every column of a comparison's table, and what it must hold; a column without a line here fails
COLUMNS: dict[str, Callable[[Arm], Any]] = {
    "arm": lambda a: a.label,
    "n": lambda a: len(a.runs),
    "lr": lambda a: a.rate,
    "test score": lambda a: statistics.fmean(a.scores),
    "test score s.e.m.": lambda a: sem(a.scores),
    "test score 95 %": lambda a: stats.t.ppf(0.975, len(a.runs) - 1) * sem(a.scores),
    "test loss": lambda a: statistics.fmean(a.losses),
    "test loss s.e.m.": lambda a: sem(a.losses),
    "ms per update": lambda a: 1e3 * a.steps * statistics.fmean(a.times),
    "ms per step": lambda a: 1e3 * statistics.fmean(a.times),
    "ms per step s.e.m.": lambda a: 1e3 * sem(a.times),
    "us per step and trial": lambda a: 1e6 * statistics.fmean(a.times) / a.batch,
    "state B per trial": lambda a: a.kept[0],
    "window B per trial": lambda a: a.kept[1],
    "fixed B": lambda a: a.kept[2],
}


def table_is_its_runs(found: pd.DataFrame, arms: Sequence[Arm], columns: Mapping[str, Callable[[Any], Any]]) -> None:
    """Every column, every row; raise `Off` for a value that differs, and for a column that nothing is known of."""
    if list(found.columns) != list(columns):
        raise Off(f"the table has the columns {list(found.columns)}, and tests are of {list(columns)}")
    if len(found) != len(arms):
        raise Off(f"{len(found)} rows of {len(arms)} arms")
    rows: Any = found.to_dict("records")
    for row, arm in zip(rows, arms, strict=True):
        for column, of in columns.items():
            value, expected = row[column], of(arm)
            if isinstance(expected, str):
                if value != expected:
                    raise Off(f"{column} of {arm.label} is {value!r}, not {expected!r}")
                continue
            error = abs(value - expected) / max(abs(expected), 1e-6)  # the s.e.m. of equal times is rounding
            if not error < 1e-9:
                raise Off(
                    f"{column} of {arm.label} is {value!r}, not {expected!r}", error if error == error else math.inf
                )


class Told:
    """What a row is made of, in place of a run."""

    def __init__(self, table: pd.DataFrame, seed: int) -> None:
        self.metrics, self.seed = table, seed


def made_up() -> tuple[list[Arm], pd.DataFrame]:
    """Two arms of three seeds with metrics as no run would write them, all different, and their table."""
    arms, given, results = [], {}, {}
    for i, label in enumerate(("bptt", "eprop")):
        runs = []
        for seed in range(3):
            rows = []
            for u in range(1, 11):
                tested = {
                    "test_score": f"{0.3 + 0.1 * i + 0.07 * seed**2 + u}",
                    "test_loss": f"{2 + i + seed**2 / 3 - u / 9}",
                }
                spent = 5 + u * (0.2 + 0.11 * i + 0.013 * seed) + 0.01 * u * (u % 3) + 3 * (u > 4) + 7 * (u > 7)
                blank = dict.fromkeys(tested, "")
                rows.append(
                    {
                        "update": str(u),
                        "seconds": f"{spent}",
                        "alignment": "0.5" if u == 8 else "",
                        **(tested if u in (5, 10) else blank),
                    }
                )
            runs.append(rows)
        kept, rate, steps, batch = (17.0 + i, 400.0 - i, 3.0 * i + 1), 0.02 + i, 7 + i, 5 + i
        arms.append(Arm(label, rate, runs, steps, batch, kept))
        training = SimpleNamespace(lr=rate, updates=10, batch=batch)
        given[label] = SimpleNamespace(task=SimpleNamespace(steps=steps), training=training), Cost(*kept)
        tables: Any = [pd.DataFrame(run).apply(pd.to_numeric) for run in runs]
        results[label] = [Told(each, seed) for seed, each in enumerate(tables)]
    costs: Any = {label: cost for label, (_, cost) in given.items()}
    of: Any = {label: arm for label, (arm, _) in given.items()}
    return arms, table(standings(of, Results(results), costs))  # type: ignore[arg-type]


def a_comparison_s_table_is_its_runs() -> None:
    arms, found = made_up()
    table_is_its_runs(found, arms, COLUMNS)
