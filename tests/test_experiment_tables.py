"""Every column of every shipped experiment's table, computed a second time from metrics that are made up; nothing is trained."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from rule_helpers import Off
from scipy.stats import t
from table_helpers import table_is_its_runs

from bioplaus import content
from bioplaus.measure.memory import Cost
from bioplaus.runs.results import Results

UPDATES, SEEDS, STEPS = 40, 3, 25
#: columns that are measured at every update, at every second and at every eighth from the first on
OFTEN = ("loss", "score", "rate")
TESTED = ("test_score", "test_loss")
COMPARED = ("alignment", "prediction", "prediction_ratio")


class Made:
    """A run that never was."""

    def __init__(self, rng: np.random.Generator, seed: int, without: Sequence[str] = ()) -> None:
        update = np.arange(1, UPDATES + 1)
        columns: dict[str, Any] = {"update": update, "seconds": np.cumsum(rng.uniform(0.1, 0.9, UPDATES))}
        for names, now in ((OFTEN, update > 0), (TESTED, update % 2 == 0), (COMPARED, (update - 1) % 8 == 0)):
            for name in names:
                if name not in without:
                    columns[name] = np.where(now, rng.uniform(0.01, 1.0, UPDATES), np.nan)
        stage = np.sort(rng.integers(0, 5, UPDATES))
        columns["steps"] = np.array([5, 7, 9, 12, 15])[stage]
        columns["solved"] = np.append(np.diff(stage) > 0, False).astype(float)
        self.metrics, self.seed, self.config = pd.DataFrame(columns), seed, {"task": {"steps": STEPS}}
        self.weights, self.own = {}, {}

    def final(self, column: str) -> float:
        return float(self.metrics[column].dropna().iloc[-1])


def made_up(labels: Sequence[str], without: Callable[[str], Sequence[str]] = lambda label: ()) -> dict[str, list[Made]]:
    rng = np.random.default_rng(7)
    return {label: [Made(rng, seed, without(label)) for seed in range(SEEDS)] for label in labels}


def module(name: str) -> ModuleType:
    return content.load("experiment", name)


class Row:
    """What a row must be made of: (seed, measurement) arrays of an arm's metrics."""

    def __init__(self, label: str, runs: Sequence[Any]) -> None:
        self.label, self.runs = label, runs

    def __getitem__(self, column: str) -> np.ndarray:
        return np.array([run.metrics[column].dropna().to_numpy(float) for run in self.runs])

    def has(self, column: str) -> bool:
        return column in self.runs[0].metrics

    def at(self, column: str) -> np.ndarray:
        table = self.runs[0].metrics
        return table["update"][table[column].notna()].to_numpy(int)


Columns = Mapping[str, Callable[[Row], Any]]


def sem(values: np.ndarray) -> float:
    return float(np.sqrt(((values - values.mean()) ** 2).sum() / (len(values) - 1) / len(values)))


def nanless(row: Row, column: str, of: Callable[[np.ndarray], Any]) -> Any:
    return float(of(row[column])) if row.has(column) else "nan"


COMMON: Columns = {"arm": lambda r: r.label, "n": lambda r: SEEDS}
MS: Columns = {"ms per update": lambda r: 1000 * np.mean([run.metrics["seconds"].iloc[-1] / UPDATES for run in r.runs])}


def at_end(column: str) -> Columns:
    name = column.replace("_", " ")
    return {name: lambda r: r[column][:, -1].mean(), f"{name} s.e.m.": lambda r: sem(r[column][:, -1])}


def low_to_high(values: Sequence[float]) -> str:
    """Median, the lower of two, (lowest to highest); what never happened is a dash."""
    three = [sorted(values)[i] for i in (0, (len(values) - 1) // 2, len(values) - 1)]
    low, middle, high = ("–" if math.isinf(v) else f"{v:g}" for v in three)
    return middle if low == high else f"{middle} ({low} to {high})"


def stages(row: Row) -> list[dict[int, int]]:
    """Per seed, T → the update at which it was solved."""
    found = []
    for run in row.runs:
        lines = zip(*(run.metrics[c] for c in ("update", "steps", "solved")), strict=True)
        first: dict[int, int] = {}
        for update, steps, solved in lines:
            if solved:
                first.setdefault(int(steps), int(update))
        found.append(first)
    return found


def compare(found: pd.DataFrame, rows: Sequence[Row], columns: Columns) -> None:
    """As `table_is_its_runs`, where NaN is what is not there."""
    shown: Any = found.astype(object).where(found.notna(), "nan")
    table_is_its_runs(shown, rows, columns)  # type: ignore[arg-type]


def rows_of(runs: Mapping[str, Sequence[Any]]) -> list[Row]:
    return [Row(label, some) for label, some in runs.items()]


# -- the experiments


def online_rules(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    runs = made_up(("RTRL", "UORO", "R-KF-RTRL"))
    published = {"RTRL": "0.461", "UORO": "0.665, 0.669"}
    late: Callable[[Row], np.ndarray] = lambda r: r["score"][:, UPDATES - UPDATES // 10 :].mean(1)  # noqa: E731
    columns: Columns = {
        **COMMON, **at_end("test_score"), "score while learning": lambda r: late(r).mean(),
        "range over seeds": lambda r: f"{late(r).min():.3f}–{late(r).max():.3f}",
        "ms per step": lambda r: MS["ms per update"](r) / STEPS, "published score": lambda r: published.get(r.label, "–"),
    }  # fmt: skip
    return module("online_rules").table(Results(runs)), rows_of(runs), columns  # type: ignore[arg-type]


def copy_repeat(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    runs = made_up(("BPTT", "DNI n=5", "BP(λ=1)"))
    runs["BP(λ=1)"][0].metrics["solved"] = 0.0  # one that solves nothing
    runs["BPTT"][1].metrics.loc[3, ["steps", "solved"]] = [9, 1.0]  # solved twice: the first time counts
    columns: dict[str, Any] = {
        **COMMON, **MS, "largest T solved": lambda r: low_to_high([max(found, default=0) for found in stages(r)]),
    }  # fmt: skip
    for T in (7, 9, 12):
        columns[f"updates to solve T={T}"] = lambda r, T=T: low_to_high([f.get(T, math.inf) for f in stages(r)])
    found = module("copy_repeat").table(Results(runs))  # type: ignore[arg-type]
    return found, rows_of(runs), columns


def sequential_digits(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    runs = made_up(("BP(λ=1)", "BPTT"), lambda label: ("prediction", "prediction_ratio") if label == "BPTT" else ())

    def early(column: str) -> Callable[[Row], Any]:
        def of(r: Row) -> Any:
            last = r.at(column)[-1] if r.has(column) else 0
            return nanless(r, column, lambda x: x[:, r.at(column) <= last / 5].mean())

        return of

    columns: Columns = {
        **COMMON, **at_end("test_score"), **at_end("test_loss"), **MS,
        "early cosine of weight gradient": early("alignment"), "early cosine of prediction": early("prediction"),
        "early norm of prediction": early("prediction_ratio"),
    }  # fmt: skip
    return module("sequential_digits").table(Results(runs)), rows_of(runs), columns  # type: ignore[arg-type]


def sequential_mnist(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    runs = made_up(("BP(λ=1)", "TBPTT n=2"), lambda label: ("prediction",) if label.startswith("T") else ())
    columns: Columns = {
        **COMMON, **at_end("test_score"), **at_end("test_loss"), **MS,
        "test score at a fifth": lambda r: r["test_score"][:, UPDATES // 2 // 5 - 1].mean(),
        "weight-gradient cosine, mean over training": lambda r: r["alignment"].mean(),
        "prediction cosine, mean over training": lambda r: nanless(r, "prediction", lambda x: x[:, 1:].mean()),
    }  # fmt: skip
    return module("sequential_mnist").table(Results(runs)), rows_of(runs), columns  # type: ignore[arg-type]


def target_reaching(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    runs = made_up(
        ("fixed BP(λ=1)", "BP(λ=1)", "e-prop", "BPTT"),
        lambda label: ("prediction",) if label in ("e-prop", "BPTT") else (),
    )
    said = {"fixed BP(λ=1)": "cosine 0.86", "BP(λ=1)": "loss 0.105, unsteady", "BPTT": "loss 0.0004"}

    def still(of: Callable[[Row], Any]) -> Callable[[Row], Any]:
        return lambda r: "nan" if r.label.startswith("fixed") else of(r)

    columns: Columns = {
        **COMMON, **{name: still(of) for name, of in at_end("test_loss").items()}, **MS,
        "test loss at half time": still(lambda r: r["test_loss"][:, UPDATES // 2 // 2 - 1].mean()),
        "prediction cosine at the end": lambda r: nanless(r, "prediction", lambda x: x[:, -1].mean()),
        "prediction cosine, mean over training": lambda r: nanless(r, "prediction", np.mean),
        "weight-gradient cosine, mean over training": still(lambda r: r["alignment"].mean()),
        "authors' code": lambda r: said.get(r.label, "–"),
    }  # fmt: skip
    return module("target_reaching").table(Results(runs)), rows_of(runs), columns  # type: ignore[arg-type]


def fixed_network_alignment(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    runs = made_up(("published BP(λ=1)", "T=60 BP(λ=0)"))
    columns: dict[str, Any] = {**COMMON, **MS}
    for i, made in (
        (0, 0),
        (1, 8),
        (4, 32),
    ):  # of 0, 8, 16, 24, 32 updates made before: nearest a tenth, a third and all
        columns[f"cosine after {made}"] = lambda r, i=i: r["prediction"][:, i].mean()
        columns[f"s.e.m. at {made}"] = lambda r, i=i: sem(r["prediction"][:, i])
    columns["norm ratio at the end"] = lambda r: r["prediction_ratio"][:, -1].mean()
    columns["authors' code"] = lambda r: "0.69, 0.86, 0.97" if r.label.startswith("published") else "–"
    found = module("fixed_network_alignment").table(Results(runs))  # type: ignore[arg-type]
    return found, rows_of(runs), columns


def evidence_accumulation(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    runs = made_up(("e-prop, random", "BPTT", "another"))
    for run, (learned, end) in zip(
        runs["BPTT"], ((8, 0.93), (20, 0.99), (None, 0.5)), strict=True
    ):  # one that never learns
        run.metrics["test_score"] = np.where(run.metrics["update"] % 4 == 0, 0.5, np.nan)
        for update, score in ((learned, 0.901), (UPDATES, end)):
            run.metrics.loc[run.metrics["update"] == update, "test_score"] = score
    for run in runs["another"]:
        run.metrics["test_score"] = np.where(run.metrics["update"] % 4 == 0, 0.9, np.nan)  # 10 %, which is not below

    def first(r: Row) -> list[float]:
        found = [run.metrics.query("test_score > 0.9")["update"] for run in r.runs]
        return [float(each.iloc[0]) for each in found if len(each)]

    columns: Columns = {
        **COMMON, "seeds below 10 %": lambda r: len(first(r)),
        "first at update": lambda r: sum(first(r)) / len(first(r)) if first(r) else "nan",
        "error at end (%)": lambda r: 100 - 100 * r["test_score"][:, -1].mean(), "error s.e.m. (%)": lambda r: 100 * sem(r["test_score"][:, -1]),
        "rate (Hz)": lambda r: r["rate"][:, -1].mean(), "rate s.e.m. (Hz)": lambda r: sem(r["rate"][:, -1]), **MS,
    }  # fmt: skip
    by_seed = module("evidence_accumulation").seeds(Results(runs))  # type: ignore[arg-type]
    assert by_seed[["arm", "seed"]].values.tolist() == [[label, seed] for label in runs for seed in range(SEEDS)]
    assert by_seed["below 10 % at update"].dropna().tolist() == [u for row in rows_of(runs) for u in first(row)]
    least = [100 - 100 * run.metrics["test_score"].max() for some in runs.values() for run in some]
    assert by_seed["least error (%)"].tolist() == pytest.approx(least, abs=1e-9)
    return module("evidence_accumulation").table(Results(runs)), rows_of(runs), columns  # type: ignore[arg-type]


def pattern_generation(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    runs = made_up(("e-prop, random", "BPTT", "another"))
    said = {"e-prop, random": "105.8 → 11.07 (500)", "BPTT": "105.5 → 7.70 (500), spikes stopped"}
    columns: Columns = {
        **COMMON, "loss at first": lambda r: r["loss"][:, 0].mean(), **at_end("test_loss"),
        "rate (Hz)": lambda r: r["rate"][:, -1].mean(), "rate s.e.m. (Hz)": lambda r: sem(r["rate"][:, -1]), **MS,
        "authors' code": lambda r: said.get(r.label, "–"),
    }  # fmt: skip
    by_seed = module("pattern_generation").seeds(Results(runs))  # type: ignore[arg-type]
    for name, (column, at) in {"loss at first": ("loss", 0), "test loss": ("test_loss", -1), "rate (Hz)": ("rate", -1)}.items():  # fmt: skip
        assert by_seed[name].tolist() == [v for row in rows_of(runs) for v in row[column][:, at]]
    assert by_seed[["arm", "seed"]].values.tolist() == [[label, seed] for label in runs for seed in range(SEEDS)]
    return module("pattern_generation").table(Results(runs)), rows_of(runs), columns  # type: ignore[arg-type]


def released_code(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    labels = ("fixed λ=1", "fixed λ=1 released", "reaching λ=1", "reaching λ=1 released", "digits BPTT")
    runs = made_up(labels, lambda label: ("test_loss",) if label.startswith("fixed") else ("prediction",))
    fixed: Callable[[Row], bool] = lambda r: r.label.startswith("fixed ")  # noqa: E731

    def log_ratio(r: Row) -> np.ndarray:
        other = Row("", runs[r.label.removesuffix(" released")])
        return np.log10(r["test_loss"][:, -1] / other["test_loss"][:, -1])

    both = {
        "prediction cosine": lambda r: r["prediction"].mean(1) if fixed(r) else None,
        "weight-gradient cosine": lambda r: r["alignment"].mean(1),
        "norm ratio": lambda r: r["prediction_ratio"][:, -1] if fixed(r) else None,
        "test loss": lambda r: None if fixed(r) else r["test_loss"][:, -1],
        "log10 released / rule": lambda r: log_ratio(r) if "released" in r.label and not fixed(r) else None,
    }
    columns: dict[str, Any] = {**COMMON, **MS}
    for name, of in both.items():
        columns[name] = lambda r, of=of: "nan" if of(r) is None else of(r).mean()
        columns[f"{name} s.e.m."] = lambda r, of=of: "nan" if of(r) is None else sem(of(r))
    return module("released_code").table(Results(runs)), rows_of(runs), columns  # type: ignore[arg-type]


def costs_of(made: ModuleType, patch: pytest.MonkeyPatch) -> None:
    """An experiment measures what is made up: an arm takes 10 ms a letter, and keeps 512 B a "circuit", 256 B a "task"."""
    patch.setattr(made, "cpu_seconds", lambda arms: {name: 0.01 * len(name) for name in arms})
    patch.setattr(made, "memory", lambda circuit, task, rule: Cost(512.0 * circuit, 256.0 * task, 1e9))


def trace_cost(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    labels = ("exact", "local", "BPTT")
    runs, made = made_up(labels, lambda label: ("prediction",) if label == "BPTT" else ()), module("trace_cost")
    costs_of(made, patch)
    asked: list[int] = []

    def quality(network: Any, batch: Any, signals: Any, own: Any, draws: int, seed: int) -> Any:
        asked.append(draws)
        return {"": SimpleNamespace(bias=(seed - 1.2) ** 2, deviation=10.0 + seed**2)}

    patch.setattr(made.bp, "trace_quality", quality)
    network = SimpleNamespace(load=lambda weights: None)
    arms: Any = {
        name: SimpleNamespace(
            circuit=SimpleNamespace(build=lambda seed, dtype: network),
            task=SimpleNamespace(test_batches=lambda n: [None]),
            rule=SimpleNamespace(signal=SimpleNamespace(lmbda=0.0 if name == "BPTT" else 1.0)),
        )
        for name in labels
    }
    sizes = {n: SimpleNamespace(circuit=i + 1, task=i + 3, rule=None) for i, n in enumerate(labels)}
    late: Callable[[Row], np.ndarray] = lambda r: r["test_loss"][:, -2:].mean(1)  # noqa: E731  # the last tenth of 20 tests
    plain: Callable[[float], Callable[[Row], Any]] = lambda x: lambda r: "nan" if r.label == "BPTT" else x  # noqa: E731
    columns: Columns = {
        **COMMON, "test loss": lambda r: np.median(late(r)),
        "range over seeds": lambda r: f"{late(r).min():.2g}–{late(r).max():.2g}",
        "prediction cosine": lambda r: nanless(r, "prediction", np.mean), "weight-gradient cosine": lambda r: r["alignment"].mean(),
        "bias": plain(0.64), "deviation": plain(11.0),  # of (1.44, 0.04, 0.64) and (10, 11, 14)
        "ms per update": lambda r: 10.0 * len(r.label),
        "KiB per sample": lambda r: 0.5 * (labels.index(r.label) + 1) + 0.25 * (labels.index(r.label) + 3),
    }  # fmt: skip
    found = made.table(Results(runs), arms, made.measured(sizes), 17)  # type: ignore[arg-type]
    assert asked == [17] * 6
    return found, rows_of(runs), columns


def horizon(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    made, Ts, threshold = module("horizon"), (5, 10, 20), 0.6
    rules = ("BPTT", "BP(λ=1)")
    runs = made_up([f"{rule} T={T}" for rule in rules for T in Ts])
    costs_of(made, patch)
    patch.setattr(made, "replace", lambda thing, **changes: SimpleNamespace(**{**vars(thing), **changes}))
    sizes: Any = {
        n: SimpleNamespace(
            circuit=i + 1, task=i + 3,
            rule=SimpleNamespace(future=SimpleNamespace(causal=n != "BPTT"), schedule=SimpleNamespace(steps=None)),
        )
        for i, n in enumerate(rules)
    }  # fmt: skip
    ends: Callable[[Row, int], np.ndarray] = lambda r, T: Row("", runs[f"{r.label} T={T}"])["test_loss"][:, -2:].mean(1)  # noqa: E731

    def reached(r: Row) -> list[int]:
        found = []
        for seed in range(SEEDS):
            best = 0
            for T in Ts:
                if ends(r, T)[seed] >= threshold:
                    break
                best = T
            found.append(best)
        return found

    kib: Callable[[Row], float] = lambda r: 0.5 * (rules.index(r.label) + 1) + 0.25 * (rules.index(r.label) + 3)  # noqa: E731
    columns: dict[str, Any] = {
        **COMMON, "longest T": lambda r: float(np.median(reached(r))),
        "range over seeds": lambda r: f"{min(reached(r))}–{max(reached(r))}",
    }  # fmt: skip
    for T in Ts:
        columns[f"loss, T={T}"] = lambda r, T=T: np.median(ends(r, T))
    columns |= {"ms per update": lambda r: 10.0 * len(r.label), "KiB per sample": kib, "KiB per sample, step by step": lambda r: "nan" if r.label == "BPTT" else kib(r)}  # fmt: skip
    found = made.table(Results(runs), made.measured(sizes), threshold)  # type: ignore[arg-type]
    return found, [Row(rule, runs[f"{rule} T=5"]) for rule in rules], columns


def reward(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    runs = made_up(("actor–critic e-prop", "λ = 0"))
    first = Row("", runs["actor–critic e-prop"])

    def mean(r: Row) -> Any:
        return r["score"][:, -7:].mean(1)

    def against(r: Row) -> str:
        if r.label == "actor–critic e-prop":
            return "–"
        d = mean(first) - mean(r)
        reach = t.ppf(0.975, len(d) - 1) * sem(d)
        p = 2 * t.sf(abs(d.mean() / sem(d)), len(d) - 1)
        return f"{d.mean():+.3g} [{d.mean() - reach:+.3g}, {d.mean() + reach:+.3g}], paired t-test, n = 3, p = {p:.2g}; larger in {(d > 0).sum()} of 3"

    columns: Columns = {
        **COMMON,
        "return": lambda r: mean(r).mean(),
        "return s.e.m.": lambda r: sem(mean(r)),
        "first arm − this": against,
    }
    by_seed = module("reward").seeds(Results(runs), last=7)  # type: ignore[arg-type]
    assert by_seed[["arm", "seed"]].values.tolist() == [[label, seed] for label in runs for seed in range(SEEDS)]
    assert by_seed["return"].tolist() == pytest.approx(np.concatenate([mean(r) for r in rows_of(runs)]), rel=1e-12)
    return module("reward").table(Results(runs), last=7), rows_of(runs), columns  # type: ignore[arg-type]


def delay_length(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    runs = made_up(("e-prop, 50 ms", "BP(λ), 50 ms", "e-prop, 100 ms", "BP(λ), J within, 100 ms"))

    def right(r: Row) -> Any:
        return 100 * r["score"][:, -7:].mean(1)

    def against(r: Row) -> str:
        if r.label.startswith("e-prop"):
            return "–"
        d = right(r) - right(Row("", runs[f"e-prop, {r.label.split(', ')[-1]}"]))
        reach = t.ppf(0.975, len(d) - 1) * sem(d)
        p = 2 * t.sf(abs(d.mean() / sem(d)), len(d) - 1)
        return f"{d.mean():+.3g} [{d.mean() - reach:+.3g}, {d.mean() + reach:+.3g}], paired t-test, n = 3, p = {p:.2g}; larger in {(d > 0).sum()} of 3"

    columns: Columns = {
        **COMMON, "right (%)": lambda r: right(r).mean(), "right s.e.m. (%)": lambda r: sem(right(r)), "this − e-prop (points)": against,
        "rate (Hz)": lambda r: r["rate"][:, -1].mean(), "rate s.e.m. (Hz)": lambda r: sem(r["rate"][:, -1]), **MS,
    }  # fmt: skip
    by_seed = module("delay_length").seeds(Results(runs), last=7)  # type: ignore[arg-type]
    assert by_seed[["arm", "seed"]].values.tolist() == [[label, seed] for label in runs for seed in range(SEEDS)]
    assert by_seed["right (%)"].tolist() == pytest.approx(np.concatenate([right(r) for r in rows_of(runs)]), rel=1e-12)
    return module("delay_length").table(Results(runs), last=7), rows_of(runs), columns  # type: ignore[arg-type]


def by_areas(
    name: str,
    labels: Sequence[str],
    pairs: Sequence[str],
    base: Callable[[str], dict[str, str]],
    cosine: Mapping[str, slice],
) -> tuple[pd.DataFrame, list[Row], Columns]:
    """Experiments of hierarchies: accuracy at the end, against other arms in pairs, and how well each of two areas was told."""
    runs = made_up(labels)
    for label, some in runs.items():
        for i, run in enumerate(some):
            if "BPTT" not in label and "top" not in label:
                rng = np.random.default_rng(11 + i)
                when = run.metrics["alignment"].notna()
                for area in ("A1", "A2"):
                    run.metrics[f"prediction_{area}"] = np.where(when, rng.uniform(-0.2, 1.0, UPDATES), np.nan)

    def right(r: Row) -> Any:
        return 100 * np.median(r["test_score"][:, -2:], axis=1)  # of 20 tests

    def against(column: str, r: Row) -> str:
        other = base(r.label).get(column)
        if other is None or other not in runs:
            return "–"
        d = right(r) - right(Row("", runs[other]))
        reach = t.ppf(0.975, len(d) - 1) * sem(d)
        p = 2 * t.sf(abs(d.mean() / sem(d)), len(d) - 1)
        return f"{d.mean():+.3g} [{d.mean() - reach:+.3g}, {d.mean() + reach:+.3g}], paired t-test, n = 3, p = {p:.2g}; larger in {(d > 0).sum()} of 3"

    def told(when: slice, r: Row) -> str:
        if not r.has("prediction_A1"):
            return "–"
        return ", ".join(f"{r[f'prediction_{area}'][:, when].mean():.2f}" for area in ("A1", "A2"))

    columns: Columns = {
        **COMMON,
        "accuracy (%)": lambda r: right(r).mean(),
        "accuracy s.e.m. (%)": lambda r: sem(right(r)),
    }
    columns |= {c: lambda r, c=c: against(c, r) for c in pairs}
    columns |= {c: lambda r, when=when: told(when, r) for c, when in cosine.items()}
    columns |= MS
    return module(name).table(Results(runs)), rows_of(runs), columns  # type: ignore[arg-type]


#: of five comparisons
EARLY_LATE = {"cosine of A1, A2, … early": slice(0, 1), "cosine of A1, A2, … late": slice(-1, None)}


def layered_dni(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    labels = (
        "BPTT, L=3",
        "cDNI, L=3",
        "DNI mlp, L=3",
        "top alone, L=3",
        "BPTT, MNIST L=3",
        "cDNI, MNIST L=3",
        "DNI, L=4",
    )

    def base(label: str) -> dict[str, str]:
        return {} if "BPTT" in label else {"this − BPTT (points)": f"BPTT, {label.split(', ')[1]}"}

    return by_areas("layered_dni", labels, ("this − BPTT (points)",), base, EARLY_LATE)


def traces_in_depth(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    names = ("BPTT", "BP(λ=0), label", "BP(λ=1), label", "BP(λ=0)", "BP(λ=0.5)")

    def base(label: str) -> dict[str, str]:
        told, depth = "label" in label, label[-3:]
        if label.startswith("BPTT"):
            return {}
        zero = {} if "λ=0)" in label else {"this − λ=0 (points)": f"BP(λ=0){', label' if told else ''}, {depth}"}
        return {"this − BPTT (points)": f"BPTT, {depth}"} | zero

    return by_areas(
        "traces_in_depth",
        [f"{n}, L={d}" for d in (3, 6) for n in names],
        ("this − λ=0 (points)", "this − BPTT (points)"),
        base,
        {"cosine of A1, A2, …": slice(None)},
    )


def critic_or_gradient(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    def base(label: str) -> dict[str, str]:
        return {f"this − {other} (points)": other for other in ("gradient", "both") if other != label}

    return by_areas(
        "critic_or_gradient",
        ("BPTT", "gradient", "value", "both", "classifier, both", "gradient, slow"),
        ("this − gradient (points)", "this − both (points)"),
        base,
        EARLY_LATE,
    )


def continuous_bp_lambda(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    runs = made_up(("injection 1, exact", "injection 0, exact", "injection 1, random"))

    config = SimpleNamespace(lately=2, evaluate_every=3)

    def ended(r: Row, of: str) -> Any:
        return r["loss"][:, -6:].mean(1) if of == "loss" else r["test_loss"][:, -2:].mean(1)

    def against(of: str, r: Row) -> str:
        if r.label == "injection 0, exact":
            return "–"
        d = ended(r, of) - ended(Row("", runs["injection 0, exact"]), of)
        reach = t.ppf(0.975, len(d) - 1) * sem(d)
        p = 2 * t.sf(abs(d.mean() / sem(d)), len(d) - 1)
        return f"{d.mean():+.3g} [{d.mean() - reach:+.3g}, {d.mean() + reach:+.3g}], paired t-test, n = 3, p = {p:.2g}; larger in {(d > 0).sum()} of 3"

    columns: Columns = dict(COMMON)
    for of in ("loss", "test loss"):
        columns |= {of: lambda r, of=of: ended(r, of).mean(), f"{of} s.e.m.": lambda r, of=of: sem(ended(r, of))}
        columns[f"{of}: this − injection 0"] = lambda r, of=of: against(of, r)
    by_seed = module("continuous_bp_lambda").seeds(config, Results(runs))  # type: ignore[arg-type]
    for of in ("loss", "test loss"):
        assert by_seed[of].tolist() == pytest.approx(np.concatenate([ended(r, of) for r in rows_of(runs)]), rel=1e-12)
    return module("continuous_bp_lambda").table(config, Results(runs)), rows_of(runs), columns | MS  # type: ignore[arg-type]


def balanced_network(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    labels, made = ("SI fast", "AI, readout alone", "AI, e-prop"), module("balanced_network")
    runs = made_up(labels, lambda label: ("loss",) if "SI" in label else ())
    titles = {
        "rate": "rate (Hz)",
        "cv": "CV",
        "correlation": "correlation",
        "modulation": "modulation",
        "rhythm": "rhythm (Hz)",
    }

    def seen(run: Made) -> Any:
        return SimpleNamespace(**{of: (i + 2) * (run.seed + 0.5) ** 2 for i, of in enumerate(titles)}), None

    patch.setattr(made, "theory", lambda circuit: 7.0 * circuit)
    arms: Any = {name: SimpleNamespace(circuit=i + 1) for i, name in enumerate(labels)}
    published = {"SI fast": 60.7, "AI, readout alone": 37.7}
    columns: dict[str, Any] = dict(COMMON)
    for i, title in enumerate(titles.values()):
        columns[title] = lambda r, i=i: (i + 2) * (0.25 + 2.25 + 6.25) / 3
    columns |= {
        "theory (Hz)": lambda r: "nan" if r.label == "AI, e-prop" else 7.0 * (labels.index(r.label) + 1), "published (Hz)": lambda r: published.get(r.label, "nan"),
        "loss at first": lambda r: nanless(r, "loss", lambda x: x[:, 0].mean()),
        "loss, last 5": lambda r: nanless(r, "loss", lambda x: x[:, -5:].mean()),
    }  # fmt: skip
    return made.table(Results(runs), arms, seen), rows_of(runs), columns  # type: ignore[arg-type]


def paired_as_text(a: Any, b: Any) -> str:
    """What a paired t-test of three seeds says."""
    d = np.asarray(a) - np.asarray(b)
    reach, p = t.ppf(0.975, 2) * sem(d), 2 * t.sf(abs(d.mean() / sem(d)), 2)
    return f"{d.mean():+.3g} [{d.mean() - reach:+.3g}, {d.mean() + reach:+.3g}], paired t-test, n = 3, p = {p:.2g}; larger in {(d > 0).sum()} of 3"


def silencing(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    made, cases = module("silencing"), (("nothing", "–"), ("E", "cues"), ("E", "delay"), ("I", "cues"))
    runs = made_up(("e-prop, random", "e-prop, symmetric"))
    right = {
        id(run): dict(zip(cases, 50 + 50 * run.metrics["score"][:4], strict=True))
        for some in runs.values()
        for run in some
    }
    seen: Callable[[Any], Any] = lambda run: right[id(run)]  # noqa: E731

    class Case(Row):
        """An arm's runs, silenced so."""

        def __init__(self, label: str, case: tuple[str, str]) -> None:
            super().__init__(label, runs[label])
            self.case = case

        def right(self, case: tuple[str, str] = cases[0]) -> np.ndarray:
            return np.array([right[id(run)][case] for run in self.runs])

    columns: dict[str, Any] = {
        "arm": lambda r: r.label, "silenced": lambda r: r.case[0], "epoch": lambda r: r.case[1], "n": lambda r: SEEDS,
        "right (%)": lambda r: r.right(r.case).mean(), "right s.e.m. (%)": lambda r: sem(r.right(r.case)),
        "lost (%)": lambda r: "–" if r.case == cases[0] else paired_as_text(r.right(), r.right(r.case)),
    }  # fmt: skip
    results: Any = Results(runs)  # type: ignore[arg-type]
    by_seed = made.seeds(seen, results)
    told = [(run.seed, label, *case, right[id(run)][case]) for label in runs for run in runs[label] for case in cases]
    assert list(by_seed[["seed", "arm", "silenced", "epoch", "right (%)"]].itertuples(index=False, name=None)) == told
    return made.table(seen, results), [Case(label, case) for label in runs for case in cases], columns


def spiking_digits(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    rules = ("e-prop, random", "BPTT")
    runs = made_up([f"{code}: {rule}" for code in ("poisson", "latency") for rule in rules])
    end: Callable[[Row], np.ndarray] = lambda r: 100 * r["test_score"][:, -1]  # noqa: E731

    def against(r: Row) -> str:
        other = Row("", runs[r.label.replace("BPTT", "e-prop, random")])
        return "–" if r.label.endswith("random") else paired_as_text(end(other), end(r))

    columns: Columns = {
        **COMMON, "accuracy (%)": lambda r: end(r).mean(), "accuracy s.e.m. (%)": lambda r: sem(end(r)),
        "rate (Hz)": lambda r: r["rate"][:, -1].mean(), "random e-prop − this (%)": against,
    }  # fmt: skip
    results: Any = Results(runs)  # type: ignore[arg-type]
    by_seed = module("spiking_digits").seeds(results)
    assert by_seed["accuracy (%)"].tolist() == [a for row in rows_of(runs) for a in end(row)]
    assert by_seed[["arm", "seed"]].values.tolist() == [[label, seed] for label in runs for seed in range(SEEDS)]
    alone = module("spiking_digits").table(Results({"latency: BPTT": runs["latency: BPTT"]}))  # type: ignore[arg-type]
    assert alone.iloc[0, -1] == "–"  # nothing to compare with
    return module("spiking_digits").table(results), rows_of(runs), columns


def time_step(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    made, cases = module("time_step"), [("as they are", 1.0), ("as they are", 0.5), ("times 1 ms / step", 0.5)]
    names = ("right (%)", "rate (Hz)", "moved (ms)", "without partner (%)")
    runs, rng = made_up(("delta_lif", "lif")), np.random.default_rng(1)
    found = {id(run): rng.uniform(1, 90, (len(cases), len(names))) for some in runs.values() for run in some}

    def seen(run: Any) -> list[dict[str, Any]]:
        each = zip(cases, found[id(run)], strict=True)
        return [dict(zip(("weights", "step (ms)", *names), (*case, *row), strict=True)) for case, row in each]

    class Case(Row):
        def __init__(self, label: str, case: int) -> None:
            super().__init__(label, runs[label])
            self.case = case

        def of(self, name: str) -> np.ndarray:
            return np.array([found[id(run)][self.case, names.index(name)] for run in self.runs])

    columns: dict[str, Any] = {"arm": lambda r: r.label, "weights": lambda r: cases[r.case][0], "step (ms)": lambda r: cases[r.case][1], "n": lambda r: SEEDS}  # fmt: skip
    for name in names:
        columns[name] = lambda r, name=name: r.of(name).mean()
        if name == "right (%)":
            columns["right s.e.m. (%)"] = lambda r: sem(r.of("right (%)"))
    results: Any = Results(runs)  # type: ignore[arg-type]
    by_seed = made.seeds(seen, results)
    told = [(label, run.seed, *row.values()) for label, some in runs.items() for run in some for row in seen(run)]
    assert list(by_seed.itertuples(index=False, name=None)) == told
    return made.table(seen, results), [Case(label, case) for label in runs for case in range(len(cases))], columns


def twin(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    """Recordings here and there that differ in what is counted."""
    made, rng = module("twin"), np.random.default_rng(2)
    runs, pairs = made_up(("LIF", "rates")), {}
    for label, some in runs.items():
        for run in some:
            names = ("E.v", "E.spikes", "I.spikes") if label == "LIF" else ("rate",)
            here = xr.Dataset({n: (("time", "batch", "unit"), rng.normal(size=(9, 1, 4))) for n in (*names, "output")})
            here = here.assign({n: (here[n] > 0).astype(float) for n in names if n.endswith("spikes")})
            noisy = {n: here[n] + 1e-3 * rng.normal(size=(9, 1, 4)) for n in here if not str(n).endswith("spikes")}
            flipped = {n: abs(here[n] - (rng.random((9, 1, 4)) < 0.2)) for n in here if str(n).endswith("spikes")}
            pairs[id(run)] = here, here.assign(noisy | flipped)

    def off(r: Row, name: str) -> Any:
        if name not in pairs[id(r.runs[0])][0]:
            return "nan"
        both = [(a[name].values, b[name].values) for a, b in (pairs[id(run)] for run in r.runs)]
        return max(abs(a - b).max() / a.std() for a, b in both)

    def count(r: Row, of: Callable[[np.ndarray, np.ndarray], Any]) -> Any:
        if r.label == "rates":
            return "nan"
        each = [pairs[id(run)] for run in r.runs]
        return float(sum(of(a[n].values, b[n].values) for a, b in each for n in ("E.spikes", "I.spikes")))

    columns: Columns = {
        **COMMON, "spikes": lambda r: count(r, lambda a, b: a.sum()),
        "other than Brian2's": lambda r: count(r, lambda a, b: (a != b).sum()),
        "voltages off by": lambda r: off(r, "E.v"), "rates off by": lambda r: off(r, "rate"), "output off by": lambda r: off(r, "output"),
    }  # fmt: skip
    return made.table(lambda run: pairs[id(run)], Results(runs)), rows_of(runs), columns  # type: ignore[arg-type]


def learning_in_brian2(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    made, labels = module("learning_in_brian2"), ("torch", "Brian2")
    rng = np.random.default_rng(2)
    names = ("first loss", "last losses", "test score", "loss onward", "weights moved", "weights apart", "onward apart")
    seeds = {label: {name: rng.uniform(1, 9, SEEDS) for name in names} for label in labels}
    frames = [pd.DataFrame({"arm": label, **each}) for label, each in seeds.items()]
    patch.setattr(made, "by_seed", lambda *given: pd.concat(frames))
    means = {"first loss": "first loss", "last 10 losses": "last losses", "test score": "test score", "loss onward": "loss onward"}  # fmt: skip
    largest = {"weights moved by": "weights moved", "weights apart": "weights apart", "onward apart": "onward apart"}
    columns: dict[str, Any] = {"arm": lambda r: r.label, "n": lambda r: SEEDS}
    for name, head in means.items():
        columns[name] = lambda r, head=head: seeds[r.label][head].mean()
        if name == "test score":
            columns["test score s.e.m."] = lambda r: sem(seeds[r.label]["test score"])
    columns |= {name: lambda r, of=of: seeds[r.label][of].max() for name, of in largest.items()}
    return made.table(None, None, None), [Row(label, ()) for label in labels], columns


def paired_in_words(d: np.ndarray) -> str:
    """Of the differences of three pairs."""
    reach = t.ppf(0.975, len(d) - 1) * sem(d)
    p = 2 * t.sf(abs(d.mean() / sem(d)), len(d) - 1)
    return f"{d.mean():+.3g} [{d.mean() - reach:+.3g}, {d.mean() + reach:+.3g}], paired t-test, n = 3, p = {p:.2g}; larger in {(d > 0).sum()} of 3"


def guided_es(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    labels = {"a: gradient": "a: guided ES", "a: ES": "a: guided ES", "a: guided ES": "", "circuit: e-prop": "circuit: guided by e-prop",
              "circuit: guided by e-prop": "circuit: ES", "circuit: ES": "", "circuit: BPTT": ""}  # fmt: skip
    made, runs = module("guided_es"), made_up(tuple(labels))

    def end(label: str, stop: int = UPDATES, last: int = UPDATES // 10) -> np.ndarray:
        return np.median(Row(label, runs[label])["loss"][:, stop - last : stop], 1)

    def difference(r: Row) -> str:
        other = labels[r.label]
        return paired_in_words(end(r.label) - end(other)) if other else "–"

    columns: Columns = {
        **COMMON,
        "at first": lambda r: r["loss"][:, 0].mean(),
        "after 1/10": lambda r: end(r.label, 4, 1).mean(),
        "after 3/10": lambda r: end(r.label, 12, 1).mean(),
        "at the end": lambda r: end(r.label).mean(),
        "s.e.m.": lambda r: sem(end(r.label)),
        "against": lambda r: labels[r.label].rpartition(": ")[2] or "–",
        "difference": difference,
    }
    return made.table(Results(runs)), rows_of(runs), columns  # type: ignore[arg-type]


def speed_of_unlocking(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    """Layers whose work is typed in."""
    made, runs, rng = module("speed_of_unlocking"), made_up(("BP", "cDNI")), np.random.default_rng(4)
    layers = {
        "BP": SimpleNamespace(work=(3e6, 2e6), latency=5e6),
        "cDNI": SimpleNamespace(work=(4e6, 4e6), latency=4e6),
    }
    for some in runs.values():
        for run in some:
            run.metrics["one process"] = rng.uniform(1, 9, UPDATES)
            for name in ("process each", "processor each", "processors"):
                run.metrics[name] = [*[np.nan] * (UPDATES - 1), rng.uniform(1, 9)]

    def tenth(values: np.ndarray) -> float:
        """Between the fourth and the fifth of forty."""
        low = np.sort(values)
        return low[3] + 0.9 * (low[4] - low[3])

    def one(r: Row) -> float:
        return float(np.sort([tenth(run) for run in r["one process"]])[1])

    def last(name: str) -> Callable[[Row], float]:
        return lambda r: float(np.sort(r[name][:, -1])[1])

    found: dict[str, Callable[[Row], float]] = {
        "work": lambda r: 5.0 if r.label == "BP" else 8.0,
        "one process": one, "process each": last("process each"), "processor each": last("processor each"),
        "ideal latency": lambda r: 5.0 if r.label == "BP" else 4.0,
    }  # fmt: skip
    first = Row("BP", runs["BP"])
    columns: dict[str, Any] = {
        **COMMON, "work": found["work"], "ideal latency": found["ideal latency"],
        **{name: found[name] for name in ("one process", "process each", "processor each")},
        "range over seeds, process each": lambda r: f"{r['process each'].min():.3g}–{r['process each'].max():.3g}",
        "processors": lambda r: int(r["processors"].min()),
        **{f"times faster, {name}": lambda r, of=of: of(first) / of(r) for name, of in found.items()},
    }  # fmt: skip
    return made.table(Results(runs), layers), rows_of(runs), columns  # type: ignore[arg-type]


def unlocking(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    runs = made_up(("BPTT", "unlocked, p=1", "areas as drawn", "cDNI, p=1", "cDNI, p=0.5", "unlocked, p=0.5"))
    rng = np.random.default_rng(8)
    for label in ("unlocked, p=1", "areas as drawn", "unlocked, p=0.5"):
        for run in runs[label]:
            run.metrics["driven_score"] = np.where(run.metrics["update"] % 2 == 0, rng.uniform(0, 1, UPDATES), np.nan)

    def ended(r: Row, column: str = "test_score") -> Any:
        return 100 * np.median(r[column][:, -2:], 1)

    def against(r: Row, other: str) -> str:
        if r.label == other or other not in runs:
            return "–"
        d = ended(r) - ended(Row("", runs[other]))
        reach = t.ppf(0.975, len(d) - 1) * sem(d)
        p = 2 * t.sf(abs(d.mean() / sem(d)), len(d) - 1)
        return f"{d.mean():+.3g} [{d.mean() - reach:+.3g}, {d.mean() + reach:+.3g}], paired t-test, n = 3, p = {p:.2g}; larger in {(d > 0).sum()} of 3"

    driven = lambda of: lambda r: of(ended(r, "driven_score")) if r.has("driven_score") else "nan"  # noqa: E731
    columns: Columns = {
        **COMMON, "true chain (%)": lambda r: ended(r).mean(), "true chain s.e.m. (%)": lambda r: sem(ended(r)),
        "predicted drive (%)": driven(np.mean), "predicted drive s.e.m. (%)": driven(sem),
        "true chain − BPTT (points)": lambda r: against(r, "BPTT"),
        "true chain − p=1 (points)": lambda r: against(r, f"{r.label.split(',')[0]}, p=1"), **MS,
    }  # fmt: skip
    return module("unlocking").table(Results(runs)), rows_of(runs), columns  # type: ignore[arg-type]


def cerebellar_drive(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    runs = made_up(("no feedback", "cerebellum, 2 late", "recurrent net, BPTT"))
    for run in runs["no feedback"]:  # of which one seed learns
        run.metrics["test_score"] += 0.5 if run.seed else 0.0
    counts, learned = {"no feedback": 102, "cerebellum, 2 late": 6888, "recurrent net, BPTT": 6887}, 0.2
    ended = lambda r: np.median(r["test_score"][:, -2:], 1)  # noqa: E731

    def against(r: Row, other: str) -> str:
        return "–" if r.label == other else paired_as_text(ended(r), ended(Row("", runs[other])))

    def when(r: Row) -> list[float]:
        at, rows = r.at("test_score"), r["test_score"]
        return [next((float(u) for u, v in zip(at, row, strict=True) if v < learned), math.inf) for row in rows]

    columns: Columns = {
        **COMMON, "plastic weights": lambda r: counts[r.label], "r.m.s. error": lambda r: ended(r).mean(), "s.e.m.": lambda r: sem(ended(r)),
        "seeds that learned": lambda r: sum(math.isfinite(u) for u in when(r)),
        "updates to it (median)": lambda r: sorted(when(r))[1] if math.isfinite(sorted(when(r))[1]) else "nan",
        "error − no feedback": lambda r: against(r, "no feedback"), "error − recurrent net, BPTT": lambda r: against(r, "recurrent net, BPTT"), **MS,
    }  # fmt: skip
    found = module("cerebellar_drive").table(counts.__getitem__, learned, Results(runs))  # type: ignore[arg-type]
    assert 0 < found["seeds that learned"].min() < 3 and found["updates to it (median)"].isna().any()
    return found, rows_of(runs), columns


def cerebellar_target_reaching(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    runs, rng = made_up(("without", "with, as published", "BPTT")), np.random.default_rng(11)
    way = np.linspace(0, 1, 6)[:, None, None] * rng.normal(size=(1, 4, 2))
    for some in runs.values():
        for run in some:
            drawn = way + rng.normal(size=way.shape)
            dims = ("time", "batch", "unit_output")
            run.recordings = xr.Dataset({"output": (dims, drawn), "target": (dims, way)})  # type: ignore[attr-defined]

    def missed(r: Row) -> np.ndarray:
        """(seed, 2): off the line, off its end."""
        found = []
        for run in r.runs:
            o, b = run.recordings["output"].values, way[-1]
            across = np.stack([-b[:, 1], b[:, 0]], -1) / np.linalg.norm(b, axis=-1, keepdims=True)
            found.append(
                [(((o * across).sum(-1) ** 2).mean(0) ** 0.5).mean(), np.linalg.norm(o[-1] - b, axis=-1).mean()]
            )
        return np.array(found)

    ended = lambda r: np.median(r["test_score"][:, -2:], 1)  # noqa: E731
    while_learning = lambda r: r["test_score"].mean(1)  # noqa: E731
    score = lambda r: missed(r).sum(1)  # noqa: E731

    def against(r: Row, of: Callable[[Row], np.ndarray]) -> str:
        return "–" if r.label == "without" else paired_as_text(of(r), of(Row("", runs["without"])))

    columns: Columns = {
        **COMMON, "error": lambda r: ended(r).mean(), "error s.e.m.": lambda r: sem(ended(r)), "error while learning": lambda r: while_learning(r).mean(),
        "off the line": lambda r: missed(r)[:, 0].mean(), "off its end": lambda r: missed(r)[:, 1].mean(),
        "dysmetria": lambda r: score(r).mean(), "dysmetria s.e.m.": lambda r: sem(score(r)),
        "error − without": lambda r: against(r, ended), "error while learning − without": lambda r: against(r, while_learning),
        "dysmetria − without": lambda r: against(r, score), **MS,
    }  # fmt: skip
    made = module("cerebellar_target_reaching")
    by_seed = made.seeds(Results(runs))  # type: ignore[arg-type]
    assert np.allclose(by_seed["dysmetria"], np.concatenate([score(r) for r in rows_of(runs)]))
    return made.table(Results(runs)), rows_of(runs), columns  # type: ignore[arg-type]


def cerebellar_horizon(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    labels = [f"{ask}, {kind}, K={K}" for ask in ("name", "line") for K in (1, 4) for kind in ("without", "with")]
    runs = made_up((*labels, "name, BPTT"))
    ended = lambda r, column="test_loss": np.median(r[column][:, -2:], 1)  # noqa: E731

    def other(r: Row) -> np.ndarray | None:
        return ended(Row("", runs[r.label.replace("with", "without")])) if ", with," in r.label else None

    def gain(r: Row) -> Any:
        return "nan" if (without := other(r)) is None else (100 * (1 - ended(r) / without)).mean()

    columns: Columns = {
        **COMMON, "loss": lambda r: ended(r).mean(), "score": lambda r: ended(r, "test_score").mean(), "gain (%)": gain,
        "loss − without": lambda r: "–" if (without := other(r)) is None else paired_as_text(ended(r), without), **MS,
    }  # fmt: skip
    return module("cerebellar_horizon").table(Results(runs)), rows_of(runs), columns  # type: ignore[arg-type]


def coupling(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    runs, rng = made_up(("whole", "not heard")), np.random.default_rng(12)
    parts = {"pons": "mossy fibres", "granule": "granule cells", "purkinje": "Purkinje cells", "nuclei": "nuclei"}
    names = [f"dimension_{part}" for part in ("cortex", *parts)] + [f"coupling_{part}" for part in parts]
    for some in runs.values():
        for run in some:
            for name in names:
                run.metrics[name] = np.where(run.metrics["update"] % 2 == 0, rng.uniform(0, 1, UPDATES), np.nan)
    ended = lambda r: np.median(r["test_score"][:, -2:], 1)  # noqa: E731
    shown = lambda r, name: ", ".join(f"{r[name][:, k].mean():.3g}" for k in (0, 3, 19))  # noqa: E731
    columns: Columns = {
        **COMMON, "error": lambda r: ended(r).mean(),
        "error − not heard": lambda r: "–" if r.label == "not heard" else paired_as_text(ended(r), ended(Row("", runs["not heard"]))),
    }  # fmt: skip
    for part in ("granule", "nuclei"):
        of, name = f"coupling_{part}", f"coupling with {parts[part]}"
        columns = {
            **columns, f"{name}: first, fifth, end": lambda r, of=of: shown(r, of),
            f"{name}, fifth − first": lambda r, of=of: paired_as_text(r[of][:, 3], r[of][:, 0]),
            f"{name}, end − fifth": lambda r, of=of: paired_as_text(r[of][:, 19], r[of][:, 3]),
        }  # fmt: skip
    for part, name in {"cortex": "cortex", **parts}.items():
        columns = {**columns, f"dimension of {name}: first, fifth, end": lambda r, of=f"dimension_{part}": shown(r, of)}
    return module("coupling").table(Results(runs)), rows_of(runs), {**columns, **MS}  # type: ignore[arg-type]


def against(d: np.ndarray) -> str:
    """What a paired t-test of three seeds says of their differences."""
    return paired_as_text(d, np.zeros_like(d))


def cerebellar_ladder(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    #: arm → what it is held against
    labels = {"fixed: linear": "–", "fixed: mlp": "fixed: linear", "fixed: + signs": "fixed: mlp", "λ=0, slow": "–", "λ=0, fast": "–",
              "λ=1, slow": "λ=0, slow", "λ=1, fast": "λ=0, fast", "fan-in 1": "fixed: + signs", "fibres 40": "fixed: + signs",
              "learns: linear": "learns: no cerebellum", "learns: no cerebellum": "–", "learns: BPTT": "learns: no cerebellum"}  # fmt: skip
    made, runs = (
        module("cerebellar_ladder"),
        made_up(tuple(labels), lambda n: ("prediction",) if n.endswith("BPTT") else ()),
    )

    def seen(label: str, run: Any) -> dict[str, float]:
        number = 7.0 * list(labels).index(label) + run.seed**2
        return {"plastic synapses": number, "active (%)": math.nan if "linear" in label else 2 * number}

    def cosine(r: Row) -> np.ndarray:
        return r["prediction"][:, 2:].mean(1) if r.has("prediction") else np.full(SEEDS, math.nan)  # of five

    def loss(r: Row) -> np.ndarray:
        return np.median(r["test_loss"][:, -2:], 1) if r.label.startswith("learns") else np.full(SEEDS, math.nan)

    def difference(r: Row) -> str:
        if (other := labels[r.label]) == "–":
            return "–"
        of = loss if r.label.startswith("learns") else cosine
        return against(of(r) - of(Row(other, runs[other])))

    there = lambda of: lambda r: "nan" if np.isnan(of(r)).any() else of(r).mean()  # noqa: E731
    error = lambda of: lambda r: "nan" if np.isnan(of(r)).any() else sem(of(r))  # noqa: E731
    columns: Columns = {
        **COMMON, "plastic synapses": lambda r: 7 * list(labels).index(r.label) + 5 / 3,
        "active (%)": lambda r: "nan" if "linear" in r.label else 14 * list(labels).index(r.label) + 10 / 3,
        "cosine": there(cosine), "cosine s.e.m.": error(cosine), "test loss": there(loss), "test loss s.e.m.": error(loss),
        "against": lambda r: labels[r.label], "difference": difference,
    }  # fmt: skip
    results: Any = Results(runs)  # type: ignore[arg-type]
    by_seed = made.seeds(seen, results)
    assert by_seed[["arm", "seed"]].values.tolist() == [[label, seed] for label in runs for seed in range(SEEDS)]
    told = np.concatenate([cosine(r) for r in rows_of(runs)])
    np.testing.assert_allclose(by_seed["cosine"], told, rtol=1e-12)
    return made.table(seen, results), rows_of(runs), columns


def cerebellar_lesion(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    runs = made_up(("no lesion", "output at 0", "output at 8", "output at 15", "olive at 8", "olive at 15"))
    end: Callable[[Row], np.ndarray] = lambda r: np.median(r["test_loss"][:, -2:], 1)  # noqa: E731

    def soon(r: Row, label: str = "") -> np.ndarray:
        then = {"8": 5, "15": 8}[
            r.label.split()[-1]
        ]  # four updates later: tested after 12; after 18 and 20, of which the first
        return Row("", runs[label or r.label])["test_loss"][:, then]

    def ratio(r: Row, other: str) -> str:
        return "–" if other == r.label else against(np.log10(end(r)) - np.log10(end(Row("", runs[other]))))

    lesioned = lambda r: not r.label.endswith(("lesion", " 0"))  # noqa: E731
    columns: Columns = {
        **COMMON, "soon after": lambda r: soon(r).mean() if lesioned(r) else "nan",
        "soon: log10 this/no lesion": lambda r: against(np.log10(soon(r) / soon(r, "no lesion"))) if lesioned(r) else "–",
        "at the end": lambda r: end(r).mean(), "s.e.m.": lambda r: sem(end(r)),
        "log10 this/no lesion": lambda r: ratio(r, "no lesion"), "log10 this/output": lambda r: ratio(r, r.label.replace("olive", "output")),
    }  # fmt: skip
    config: Any = SimpleNamespace(soon=4)
    results: Any = Results(runs)  # type: ignore[arg-type]
    return module("cerebellar_lesion").table(config, results), rows_of(runs), columns


def cerebellar_trace(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    runs = made_up([f"delay {d} ms, peak {p} ms" for d in (0, 100) for p in (0, 100, 200)])
    late: Callable[[Row, str], np.ndarray] = lambda r, of: r[of][:, 2:].mean(1)  # noqa: E731

    def unmatched(r: Row) -> str:
        delay, peak = (int(word) for word in r.label.split() if word.isdigit())
        if delay == peak:
            return "–"
        return against(late(r, "prediction") - late(Row("", runs[f"delay {delay} ms, peak {delay} ms"]), "prediction"))

    columns: Columns = {
        **COMMON, **MS, "cosine": lambda r: late(r, "prediction").mean(), "s.e.m.": lambda r: sem(late(r, "prediction")),
        "norm ratio": lambda r: late(r, "prediction_ratio").mean(), "this − matched": unmatched,
    }  # fmt: skip
    return module("cerebellar_trace").table(Results(runs)), rows_of(runs), columns  # type: ignore[arg-type]


def two_rate(patch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[Row], Columns]:
    cases = ("n=2", "n=4, two later")
    kinds = ("BPTT", "SG", "SG, slow as drawn", "cut")
    runs = made_up(tuple(f"{kind}, {case}" for case in cases for kind in kinds))

    def ended(r: Row) -> Any:
        return 100 * np.mean(r["test_score"][:, -2:], 1)

    def against(r: Row, other: str) -> str:
        case = "n=2" if r.label.endswith("n=2") else "n=4, two later"
        if r.label == f"{other}, {case}":
            return "–"
        d = ended(r) - ended(Row("", runs[f"{other}, {case}"]))
        reach = t.ppf(0.975, len(d) - 1) * sem(d)
        p = 2 * t.sf(abs(d.mean() / sem(d)), len(d) - 1)
        return f"{d.mean():+.3g} [{d.mean() - reach:+.3g}, {d.mean() + reach:+.3g}], paired t-test, n = 3, p = {p:.2g}; larger in {(d > 0).sum()} of 3"

    columns: Columns = {
        **COMMON, "right (%)": lambda r: ended(r).mean(), "right s.e.m. (%)": lambda r: sem(ended(r)),
        "this − slow as drawn (points)": lambda r: against(r, "SG, slow as drawn"), "this − BPTT (points)": lambda r: against(r, "BPTT"), **MS,
    }  # fmt: skip
    return module("two_rate").table(Results(runs)), rows_of(runs), columns  # type: ignore[arg-type]


#: every shipped experiment
TABLES = (balanced_network, cerebellar_drive, cerebellar_horizon, cerebellar_ladder, cerebellar_lesion, cerebellar_target_reaching, cerebellar_trace, continuous_bp_lambda, copy_repeat, coupling, critic_or_gradient, delay_length, evidence_accumulation, fixed_network_alignment, guided_es, horizon, layered_dni, learning_in_brian2, online_rules, pattern_generation, released_code, reward, sequential_digits, sequential_mnist, silencing, speed_of_unlocking, spiking_digits, target_reaching, time_step, trace_cost, traces_in_depth, twin, two_rate, unlocking)  # fmt: skip


def test_what_the_page_of_evidence_accumulation_counts_is_in_its_seeds():
    """Its table, and its sentences, from seeds.csv."""
    pages = Path(__file__).parent.parent / "docs" / "experiments"
    seeds: Any = pd.read_csv(pages / "evidence_accumulation" / "seeds.csv")
    table = pd.read_csv(pages / "evidence_accumulation" / "table.csv").set_index("arm")
    by_arm = seeds.groupby("arm")
    first, end = by_arm["below 10 % at update"], by_arm["error at end (%)"]
    for name, values in {
        "n": by_arm.size(),
        "seeds below 10 %": first.count(),
        "first at update": first.mean(),
        "error at end (%)": end.mean(),
        "error s.e.m. (%)": end.std(ddof=1) / by_arm.size() ** 0.5,
    }.items():
        assert np.allclose(table[name], values[table.index], rtol=1e-3), name
    text = (pages / "evidence_accumulation.md").read_text(encoding="utf-8")
    random, symmetric = (seeds[seeds.arm == f"e-prop, {kind}"] for kind in ("random", "symmetric"))
    for kind in (random, symmetric):
        at = kind["below 10 % at update"]
        assert f"after {at.min():.0f}–{at.max():.0f} updates" in text
    assert (random["error at end (%)"] < 7).sum() == 2 and "below 7 % at the end in two of them" in text
    later = (symmetric["below 10 % at update"].values > random["below 10 % at update"].values).sum()
    assert later == 3 and "later than random feedback in three of five seeds" in text
    assert (seeds["error at end (%)"] > 10).sum() == 2 and "two of the ten runs end there (10.4 and 13.4 %)" in text


def test_what_the_page_of_delay_length_counts_is_in_its_seeds():
    """Its table, its pairs and its sentences, from seeds.csv."""
    pages = Path(__file__).parent.parent / "docs" / "experiments"
    seeds: Any = pd.read_csv(pages / "delay_length" / "seeds.csv")
    table = pd.read_csv(pages / "delay_length" / "table.csv").set_index("arm")
    right = seeds.groupby("arm")["right (%)"]
    assert np.allclose(table["right (%)"], right.mean()[table.index], rtol=1e-3)
    by = {arm: values.set_index("seed")["right (%)"] for arm, values in seeds.groupby("arm")}
    text = (pages / "delay_length.md").read_text(encoding="utf-8")
    ahead = {name: [] for name in ("BP(λ)", "BP(λ), random J", "BPTT")}
    for delay in (50, 100, 200):
        first = by[f"e-prop, {delay} ms"]
        assert np.allclose(by[f"BP(λ), J within, {delay} ms"], first, rtol=0, atol=1e-9)
        for name, found in ahead.items():
            d = by[f"{name}, {delay} ms"] - first
            found.append(int((d > 0).sum()))
            assert table.loc[f"{name}, {delay} ms", "this − e-prop (points)"].endswith(f"larger in {found[-1]} of 5")
    for name, counts in ahead.items():
        assert f"{name}: {counts[0]}, {counts[1]} and {counts[2]} of 5 seeds" in text, (name, counts)


def test_what_the_page_of_silencing_counts_is_in_its_seeds():
    pages = Path(__file__).parent.parent / "docs" / "experiments"
    seeds, table = (pd.read_csv(pages / "silencing" / f"{name}.csv") for name in ("seeds", "table"))
    found = {key: some["right (%)"].to_numpy() for key, some in seeds.groupby(["arm", "silenced", "epoch"])}
    assert len(table) == len(found) == 26
    for arm, who, epoch, n, mean, error, lost in table.itertuples(index=False, name=None):
        right, intact = found[arm, who, epoch], found[arm, "nothing", "–"]
        assert n == len(right) == 5 and np.allclose((mean, error), (right.mean(), sem(right)), rtol=1e-3)
        told = f"larger in {(intact - right > 0).sum()} of 5"
        assert who == "nothing" or (
            lost.endswith(told) and abs(float(lost.split()[0]) - (intact - right).mean()) < 0.06
        )
    text = (pages / "silencing.md").read_text(encoding="utf-8")
    for kind in ("random", "symmetric"):
        arm = f"e-prop, {kind}"
        intact = found[arm, "nothing", "–"]
        assert (found[arm, "E", "cues"] > found[arm, "E, held at rest", "cues"]).all()
        assert np.array_equal(found[arm, "E", "recall"], found[arm, "E, held at rest", "recall"])
        assert (found[arm, "I", "delay"] < intact).all()
        assert (found[arm, "I", "cues"] > intact).sum() == {"random": 5, "symmetric": 4}[kind]
        assert (found[arm, "half of E", "recall"] > 80).sum() == 2
    below = [(found[f"e-prop, {kind}", "half of E", "recall"] < 60).sum() for kind in ("random", "symmetric")]
    assert below == [2, 1]
    for words in (
        "in all seeds more than held at rest",
        "both are the same to the last trial",
        "wrong more often in every seed",
        "in every seed with random feedback (by 5 points, p = 0.001), in four of five with symmetric (by 1.7, p = 0.06)",
        "above 80 % in two circuits of five of either kind, and below 60 % in two and in one",
    ):
        assert words in text, words


def test_what_the_page_of_spiking_digits_counts_is_in_its_seeds():
    pages = Path(__file__).parent.parent / "docs" / "experiments"
    seeds, table = (pd.read_csv(pages / "spiking_digits" / f"{name}.csv") for name in ("seeds", "table"))
    found = {arm: some["accuracy (%)"].to_numpy() for arm, some in seeds.groupby("arm")}
    for row in table.to_dict("records"):
        right = found[row["arm"]]
        assert row["n"] == len(right) == 5
        assert np.allclose((row["accuracy (%)"], row["accuracy s.e.m. (%)"]), (right.mean(), sem(right)), rtol=1e-3)
    random = {code: found[f"{code}: e-prop, random"] for code in ("poisson", "latency")}
    behind = {code: random[code] - found[f"{code}: readout alone"] for code in random}
    assert all((d > 0).all() for d in behind.values()) and [round(d.mean()) for d in behind.values()] == [20, 48]
    ahead = {code: random[code] - found[f"{code}: BPTT"] for code in random}
    assert (ahead["poisson"] < 0).all() and (ahead["latency"] > 0).all()
    text = (pages / "spiking_digits.md").read_text(encoding="utf-8")
    assert "48 under the latency code, in every seed" in text
    assert "in every seed (by 2.8 points), and worse under the latency code, in every seed (by 11)" in text
    assert [round(d.mean(), 1) for d in ahead.values()] == [-2.8, 11.1]


def test_what_the_page_of_reward_counts_is_in_its_seeds():
    pages = Path(__file__).parent.parent / "docs" / "experiments"
    seeds, table = (pd.read_csv(pages / "reward" / f"{name}.csv") for name in ("seeds", "table"))
    found = {arm: some["return"].to_numpy() for arm, some in seeds.groupby("arm", sort=False)}
    both = found["actor–critic e-prop"]
    for arm, n, mean, error, against in table.itertuples(index=False, name=None):
        assert n == len(found[arm]) == 5 and np.allclose((mean, error), (found[arm].mean(), sem(found[arm])), rtol=1e-3)
        if arm != "actor–critic e-prop":
            difference = both - found[arm]
            assert abs(float(against.split()[0]) - difference.mean()) < 5e-4
            assert against.endswith(f"larger in {(difference > 0).sum()} of 5") and (difference > 0).all()
    text = (pages / "reward.md").read_text(encoding="utf-8")
    assert (
        "nothing is learned in this time, and with synapses that keep nothing of earlier steps less, in every seed"
        in text
    )
    assert abs(found["λ = 0"].mean()) < 2 * sem(found["λ = 0"]), "nothing is learned"


def test_what_the_page_of_pattern_generation_says_of_five_seeds_is_in_them():
    pages = Path(__file__).parent.parent / "docs" / "experiments"
    seeds = pd.read_csv(pages / "pattern_generation" / "seeds.csv")
    begun = {arm: some["loss at first"].to_numpy() for arm, some in seeds.groupby("arm")}
    ended = {arm: some["test loss"].to_numpy() for arm, some in seeds.groupby("arm")}
    random, symmetric = ended["e-prop, random"], ended["e-prop, symmetric"]
    assert len(random) == len(symmetric) == 5
    text = (pages / "pattern_generation.md").read_text(encoding="utf-8")
    low, high = min(random), max(random)
    assert (
        f"from {begun['e-prop, random'].mean():.1f} to {random.mean():.1f} ± {sem(random):.1f} ({low:.1f} to {high:.1f} in single seeds)"
        in text
    )
    assert f"with symmetric to {symmetric.mean():.1f} ± {sem(symmetric):.1f} in the 500 trials" in text
    assert random.mean() < 12 and (random > 12).sum() == 2 and "two of five seeds are above" in text
    assert f"the first three at {random[:3].mean():.1f} on average" in text


def test_what_the_page_of_time_step_says_is_in_its_seeds():
    pages = Path(__file__).parent.parent / "docs" / "experiments"
    seeds: Any = pd.read_csv(pages / "time_step" / "seeds.csv")
    table: Any = pd.read_csv(pages / "time_step" / "table.csv")
    mean: Any = seeds.groupby(["arm", "weights", "step (ms)"]).mean()
    assert np.allclose(mean.loc[[*zip(table["arm"], table["weights"], table["step (ms)"], strict=True)], "right (%)"], table["right (%)"], rtol=1e-3)  # fmt: skip
    assert (seeds["other than Brian2's"].dropna() == 0).all() and seeds["other than Brian2's"].notna().sum() == 12
    same = mean["right (%)"].drop(("lif", "as they are")).unstack()
    assert (same.sub(same[1.0], axis=0).abs() < 1.35).all(axis=None), "in 0 to 1 points"
    silent = mean.loc["lif", "as they are"]
    assert (silent["rate (Hz)"][[0.02, 0.1, 0.2]] == 0).all() and silent["right (%)"][0.5] < 30
    moved, alone = (mean[name].unstack() for name in ("moved (ms)", "without partner (%)"))
    assert moved.loc[("cuba", "as they are"), [0.1, 0.2, 0.5]].round(2).tolist() == [0.08, 0.17, 0.36]
    jumps, currents = ("delta_lif", "as they are"), ("cuba", "as they are")
    assert (
        round(moved[0.1][jumps] / moved[0.1][currents]) == 6 and round(alone[0.1][jumps] / alone[0.1][currents]) == 21
    )
    assert alone[1.0].drop(("lif", "as they are")).between(100 / 7, 100 / 4.6).all()


def test_what_the_page_of_twin_says_is_in_its_seeds():
    seeds: Any = pd.read_csv(Path(__file__).parent.parent / "docs" / "experiments" / "twin" / "seeds.csv")
    assert len(seeds) == 25 and (seeds["other than Brian2's"].dropna() == 0).all()
    spiking = seeds.dropna(subset=["spikes"])
    assert len(spiking) == 20 and (spiking["spikes"] > 300).all()
    off = seeds.groupby("arm")["voltages off by"].max()
    assert off["AdEx"] > 100 * off.drop("AdEx").max() and off["AdEx"] < 1e-9


def test_what_the_page_of_the_cerebellar_ladder_says_is_in_its_seeds():
    """Every row of directions: means, and in how many seeds each is larger than the one before it."""
    pages = Path(__file__).parent.parent / "docs" / "experiments"
    seeds: Any = pd.read_csv(pages / "cerebellar_ladder" / "seeds.csv")
    text = (pages / "cerebellar_ladder.md").read_text(encoding="utf-8")
    cosine, loss = (seeds.pivot(index="seed", columns="arm", values=name) for name in ("cosine", "test loss"))
    signs = "fixed: + signs"
    rows = {
        "exact trace, slow units": [f"λ={x}, slow" for x in ("0", "0.5", "1")],
        "the same, fast units": [f"λ={x}, fast" for x in ("0", "0.5", "1")],
        "trace within neurons": [f"λ={x}, within neurons" for x in ("0", "0.5", "1")],
        "olive without the cortex's Jacobian": [f"λ={x}, olive without J" for x in ("0", "0.5", "1")],
        "fan-in 1, 2, 4": ["fan-in 1", "fan-in 2", signs, "fan-in 8", "fan-in 16", "fan-in 60"],
        "active fraction .05": ["active 0.05", "active 0.1", "active 0.2", signs],
        "expansion 1, 2, 5": ["expansion 1", "expansion 2", signs, "expansion 10"],
        "climbing fibres 1": ["fibres 1", "fibres 10", "fibres 40", signs],
    }
    told = [line for line in text.splitlines() if line.startswith("|") and "of 5: " in line]
    assert len(told) == len(rows)
    for line, (start, arms) in zip(told, rows.items(), strict=True):
        means = ", ".join(f"{cosine[arm].mean():.2f}" for arm in arms)
        above = ", ".join(str((cosine[b] > cosine[a]).sum()) for a, b in zip(arms, arms[1:], strict=False))
        assert start in line and f"| {means} | larger in {above} of 5" in line, (start, means, above)
    ahead = lambda a, b: int((cosine[a] > cosine[b]).sum())  # noqa: E731
    assert (
        ahead("fan-in 1", "fan-in 2") == 0
        and ahead("fan-in 1", signs) == 1
        and "worse than four in four of five" in text
    )
    layers = [n for n in cosine if n.startswith("fixed: ") and n not in ("fixed: linear", "fixed: mlp")]
    assert all(ahead("fixed: mlp", n) == 5 for n in layers)
    assert min(cosine["fixed: mlp"].mean() - cosine[n].mean() for n in layers) == pytest.approx(0.17, abs=0.005)
    assert ahead("fixed: granule cells", "fixed: linear") == ahead("fixed: + Golgi gain", signs) == 5
    assert ahead("fixed: + fixed nuclei", "fixed: + Golgi gain") == 5 and ahead("fixed: + events", "fixed: linear") == 1
    none = loss["learns: no cerebellum"]
    below = {n.partition(": ")[2]: int((loss[n] < none).sum()) for n in loss if n.startswith("learns")}
    between = ("granule cells", "+ signs", "+ Golgi gain", "+ fixed nuclei", "+ events")
    assert [below[n] for n in ("linear", "mlp", *between, "+ late errors")] == [5, 5, 4, 4, 4, 4, 4, 0]


def test_what_the_page_of_cerebellar_lesion_says_is_in_its_seeds():
    pages = Path(__file__).parent.parent / "docs" / "experiments"
    seeds: Any = pd.read_csv(pages / "cerebellar_lesion" / "seeds.csv")
    table: Any = pd.read_csv(pages / "cerebellar_lesion" / "table.csv").set_index("arm")
    end = seeds.pivot(index="seed", columns="arm", values="at the end")
    assert len(end) == 10 and np.allclose(end.mean()[table.index], table["at the end"], rtol=1e-3)
    above = lambda a, b="no lesion": int((end[a] > end[b]).sum())  # noqa: E731
    assert [above(f"output at {at}") for at in (0, 100, 300, 600)] == [9, 9, 9, 2]
    assert [above(f"olive at {at}", f"output at {at}") for at in (100, 300, 600)] == [10, 10, 10]
    assert above("output at 100", "output at 300") == 9 and above("output at 300", "output at 600") == 10
    assert end[[n for n in end if n.startswith("olive")]].min(axis=None) > 0.44
    assert 10 ** (np.log10(end["output at 0"]) - np.log10(end["no lesion"])).mean() == pytest.approx(5, abs=0.2)
    soon = seeds[seeds["arm"].str.startswith("olive")].groupby("arm")["soon after"].mean()
    assert soon.between(0.6, 0.8).all() and "the loss rises to 0.6 to 0.8 within 100 updates" in (
        pages / "cerebellar_lesion.md"
    ).read_text(encoding="utf-8")
    late = seeds[seeds["arm"] == "output at 600"]
    assert np.log10(late["soon after"] / late["no lesion, then"]).mean() == pytest.approx(-0.57, abs=0.005)


def test_what_the_page_of_cerebellar_trace_says_is_in_its_seeds():
    pages = Path(__file__).parent.parent / "docs" / "experiments"
    seeds: Any = pd.read_csv(pages / "cerebellar_trace" / "seeds.csv")
    found = {key: some["cosine"].to_numpy() for key, some in seeds.groupby(["delay (ms)", "peak (ms)"])}
    peaks = sorted({peak for _, peak in found})
    for delay in (100, 200):
        assert all((found[delay, peak] < found[delay, delay]).all() for peak in peaks if peak < delay)
    assert [round(float((found[d, d] - found[d, 0]).mean()), 2) for d in (100, 200)] == [0.08, 0.15]
    assert (found[200, 400] > found[200, 200]).all() and (found[100, 200] > found[100, 100]).sum() == 4
    assert [round(float((found[d, 2 * d] - found[d, d]).mean()), 3) for d in (100, 200)] == [0.002, 0.005]
    assert [round(float(found[d, d].mean()), 2) for d in (0, 100, 200)] == [0.44, 0.43, 0.42]
    assert 0 < max((found[0, 0] - found[0, peak]).mean() for peak in peaks) < 0.031


PAGES = sorted((Path(__file__).parent.parent / "docs" / "experiments").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_table_on_a_page_is_the_one_that_is_kept_beside_it(page):
    """Cell by cell, to four digits: no number was typed, and none is of another run."""
    blocks = re.findall(r"<!-- measured ?(\w*): begin -->(.*?)<!-- measured", page.read_text(encoding="utf-8"), re.S)
    assert blocks
    for part, block in blocks:
        kept: Any = pd.read_csv(page.with_suffix("") / f"{part or 'table'}.csv")
        lines = [line.strip().strip("|").split("|") for line in block.splitlines() if line.startswith("|")]
        head, _, *rows = [[cell.strip() for cell in line] for line in lines]
        assert head == [str(name) for name in kept.columns] and len(rows) == len(kept)
        for row, (_, own) in zip(rows, kept.iterrows(), strict=True):
            for name, told in zip(head, row, strict=True):
                alike = told == str(own[name]) or (told == "–" and pd.isna(own[name]))
                assert alike or float(told) == pytest.approx(float(own[name]), rel=6e-4), (row[0], name)


def test_what_the_page_of_seven_targets_says_is_in_its_seeds():
    pages = Path(__file__).parent.parent / "docs" / "experiments"
    seeds: Any = pd.read_csv(pages / "cerebellar_target_reaching" / "seeds.csv")
    table: Any = pd.read_csv(pages / "cerebellar_target_reaching" / "table.csv").set_index("arm")
    by = {name: seeds.pivot(index="seed", columns="arm", values=name) for name in seeds.columns[2:]}
    assert all(np.allclose(found.mean()[table.index], table[name], rtol=1e-3) for name, found in by.items())
    told, usual = "with, as published", "without"
    ahead = {name: int((found[told] < found[usual]).sum()) for name, found in by.items()}
    assert set(ahead.values()) == {10} and len(ahead) == 5
    learning, error = by["error while learning"], by["error"]
    assert (1 - learning[told] / learning[usual]).mean() == pytest.approx(0.10, abs=0.005)
    text = (pages / "cerebellar_target_reaching.md").read_text(encoding="utf-8")
    means = lambda name: [f"{by[name][arm].mean():.1f}" for arm in (told, usual)]  # noqa: E731
    line, end = (" against ".join(means(name)) for name in ("off the line", "off its end"))
    assert f"{line} off the line, {end} off its end" in text
    assert f"dysmetria {' against '.join(means('dysmetria'))}, in ten of ten" in text
    cerebella = [arm for arm in error if arm not in ("e-prop", "BPTT", usual)]
    assert error["e-prop"].mean() < error[cerebella].mean().min()
    used = "BP(λ=1), all used"
    counts = [int((by[name][used] > by[name][usual]).sum()) for name in ("error", "dysmetria")]
    assert counts == [10, 7] and "all ten seeds (dysmetria in seven" in text


def test_every_shipped_experiment_has_a_second_computation():
    assert {each.__name__ for each in TABLES} == set(content.names("experiment"))


@pytest.mark.parametrize("of", TABLES, ids=lambda f: f.__name__)
def test_every_column_of_an_experiment_s_table(of, monkeypatch):
    found, rows, columns = of(monkeypatch)
    compare(found, rows, columns)
    with pytest.raises(Off, match="has the columns"):
        compare(found.assign(more=1.0), rows, columns)
    for column in found.columns[2:]:
        wrong = found.copy()
        values = wrong[column]
        wrong[column] = values * 1.001 if pd.api.types.is_numeric_dtype(values) else values + "x"
        with pytest.raises(Off, match="of "):
            compare(wrong, rows, columns)
