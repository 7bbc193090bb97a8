"""Every column of every table that is written or printed, by a second computation; a column that no test names fails."""

from __future__ import annotations

import importlib.util
import io
import re
import statistics
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from table_helpers import (
    COLUMNS,
    Arm,
    a_comparison_s_table_is_its_runs,
    at_end,
    made_up,
    metrics,
    sem,
    table_is_its_runs,
)

import bioplaus as bp
from bioplaus import cli
from bioplaus.measure.memory import Cost
from bioplaus.runs import Run
from bioplaus.runs.results import Results

ROOT = Path(__file__).parent.parent
FLOAT, UNITS, INPUTS, OUTPUTS, STEPS, BATCH, UPDATES, SEEDS = 4, 6, 10, 2, 10, 3, 12, 2
RATES = (1e-3, 1e-2)
WORDS = (
    f"compare target_reaching --rules bptt,eprop,dni(steps=5) --cell leaky_rate --units {UNITS} --batch {BATCH} --updates "
    f"{UPDATES} --evaluate-every 5 --align-every 6 --seeds 0:{SEEDS} --tune 1e-3,1e-2 --tune-updates 4 --tune-seeds 7,8"
)
FOLDER = Path("runs/compare-target_reaching")
ARRIVING = INPUTS + UNITS + 1  # with the bias
H = 2 * UNITS  # state and output: what crosses a step

#: bytes that each rule keeps, counted by hand: a trial's state, its window, and what is the same for all trials
KEPT = {
    # no state; inputs, state and output of every step, and the output before
    "bptt": (0, FLOAT * (STEPS * (INPUTS + H) + UNITS), 0),
    # a trace a synapse, and the arriving traces
    "eprop": (FLOAT * (UNITS * ARRIVING + ARRIVING), FLOAT * (STEPS * (INPUTS + H) + UNITS), 0),
    # five steps, and the state before each and behind the last; a linear predictor
    "dni(steps=5)": (0, FLOAT * (5 * (INPUTS + H) + UNITS + 6 * UNITS), FLOAT * (H * H + H)),
}


def runs_of(folder: Path, label: str) -> list[Path]:
    return [place for place in sorted(folder.glob("*-s*")) if Run.load(place).label == label]


def printed(text: str, columns: list[str]) -> list[dict[str, str]]:
    """A table as it was printed, perhaps in parts that each start with the first column."""
    lines, rows = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()], []
    for i, line in enumerate(lines):
        if len(line) > 1 and line[0] == columns[0] and set(line) <= set(columns):
            body = []
            for after in lines[i + 1 :]:
                if len(after) != len(line):
                    break
                body.append(dict(zip(line, after, strict=True)))
            rows = [a | b for a, b in zip(rows, body, strict=True)] if rows else body
    return rows


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> Any:
    """A comparison by the command line: where it lies, what it printed."""
    root = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("BIOPLAUS_STUDY", raising=False)
        patch.setenv("COLUMNS", "200")
        out = io.StringIO()
        patch.setattr(sys, "stdout", out)
        assert cli.main(WORDS.split()) == 0
    return SimpleNamespace(folder=root / FOLDER, said=out.getvalue())


@pytest.fixture(scope="module")
def arms(compared) -> list[Arm]:
    rate = {label: json_rate(compared.folder, label) for label in KEPT}
    runs = {label: [metrics(place) for place in runs_of(compared.folder, label)] for label in KEPT}
    return [Arm(label, rate[label], runs[label], STEPS, BATCH, kept) for label, kept in KEPT.items()]


def json_rate(folder: Path, label: str) -> float:
    """The rate with the least mean error over the tries; the smaller of equals."""
    tries = {rate: tried(folder, label, rate) for rate in RATES}
    return min(RATES, key=lambda rate: (tries[rate], rate))


def tried(folder: Path, label: str, rate: float) -> float:
    found = runs_of(folder / "tune", f"{label} lr={rate:g}")
    assert len(found) == 2
    return statistics.fmean(at_end(metrics(place), "test_score") for place in found)


def test_a_comparison_s_table_is_that_of_its_metrics(compared, arms):
    table_is_its_runs(pd.read_csv(compared.folder / "table.csv"), arms, COLUMNS)
    a_comparison_s_table_is_its_runs()


def test_a_column_that_no_test_names_is_found(compared, arms):
    found = pd.read_csv(compared.folder / "table.csv")
    for other in (found.assign(more=1.0), found.drop(columns="fixed B"), found.rename(columns={"lr": "rate"})):
        with pytest.raises(AssertionError, match="has the columns"):
            table_is_its_runs(other, arms, COLUMNS)
    assert len(made_up()[0]) == 2


def test_the_printed_table_and_the_page_are_the_same(compared):
    table = pd.read_csv(compared.folder / "table.csv")
    lines = (compared.folder / "table.md").read_text().splitlines()
    page = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    said = printed(compared.said, list(table.columns))
    assert page[0] == list(table.columns) and len(said) == len(page) - 1 == len(table)
    rows: Any = table.to_dict("records")
    for row, on_page, told in zip(rows, page[1:], said, strict=True):
        assert list(told) == page[0]
        for column, text in zip(page[0], on_page, strict=True):
            value = row[column]
            expected = value if isinstance(value, str) else str(value) if float(value) == int(value) else f"{value:.4g}"
            assert text == told[column] == expected or float(text) == float(told[column]) == float(f"{value:.4g}"), (
                column
            )


def test_the_printed_table_of_a_search(compared):
    columns = ["rule", *(f"lr {rate:g}" for rate in RATES), "chosen"]
    rows = printed(compared.said, columns)
    assert [row["rule"] for row in rows] == list(KEPT)
    for row in rows:
        assert set(row) == set(columns)
        for rate in RATES:
            assert row[f"lr {rate:g}"] == f"{tried(compared.folder, row['rule'], rate):.4g}"
        assert float(row["chosen"]) == json_rate(compared.folder, row["rule"])


#: columns of what is drawn, and in which panels what stands
DRAWN = ("panel", "arm", "seed", "update", "value")


def test_the_data_of_figures_are_those_of_the_metrics(compared, arms):
    folder = compared.folder / "figures"
    for name, panels in {
        "learning": {"loss": "loss", "score": "test_score"},
        "alignment": {"alignment": "alignment"},
        "pareto": {"learning": "test_score", "final": "test_score", "cost": ""},
    }.items():
        data = pd.read_csv(folder / f"{name}.csv")
        assert tuple(data.columns) == DRAWN and set(data["panel"]) == set(panels), name
        for panel, column in panels.items():
            for arm in arms:
                rows: Any = data[(data["panel"] == panel) & (data["arm"] == arm.label)]
                found = {(r["seed"], r["update"]): r["value"] for r in rows.to_dict("records")}
                if panel == "cost":
                    expected = {(s, -1.0): 1e3 * value for s, value in enumerate(arm.times)}
                elif panel == "final":
                    expected = {(s, -1.0): value for s, value in enumerate(arm.scores)}
                else:
                    expected = {
                        (s, float(row["update"])): float(row[column])
                        for s, run in enumerate(arm.runs)
                        for row in run
                        if row[column]
                    }
                assert found == pytest.approx(expected, rel=1e-12), (name, panel, arm.label)


def test_the_common_table_of_experiments():
    """`Results.table`: what experiments without a table of their own have."""
    columns: dict[str, Any] = {
        "arm": lambda a: a.label, "n": lambda a: len(a.runs),
        "test score": lambda a: statistics.fmean(a.scores), "test score s.e.m.": lambda a: sem(a.scores),
        "test loss": lambda a: statistics.fmean(a.losses), "test loss s.e.m.": lambda a: sem(a.losses),
        "ms per update": lambda a: 1e3 * statistics.fmean(at_end(run, "seconds") / at_end(run, "update") for run in a.runs),
    }  # fmt: skip
    arms, _ = made_up()

    def run(rows: Any) -> Any:
        return SimpleNamespace(final=lambda column: at_end(rows, column))

    table_is_its_runs(Results({a.label: [run(r) for r in a.runs] for a in arms}).table(), arms, columns)


# -- rules along one trajectory ------------------------------------------------------------------------------------------------

ALONG = (
    "compare target_reaching --mode align --rules bptt,eprop,uoro --cell leaky_rate --units 5 --updates 5 --batch 3 "
    "--lr 0.01 --align-every 2 --draws 3 --lags 0,2,5 --seeds 0:2"
)


@pytest.fixture(scope="module")
def aligned(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("aligned")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("BIOPLAUS_STUDY", raising=False)
        assert cli.main(ALONG.split()) == 0
    return root / "runs/compare-target_reaching-align"


def test_every_column_of_an_alignment_s_table(aligned):
    """Of the datasets, whose values test_align compares with two gradients."""
    one: Any = xr.load_dataset(aligned / "alignment.nc", engine="h5netcdf")
    found: Any = pd.read_csv(aligned / "table.csv")
    rules = ["bptt", "eprop", "uoro"]
    expected: dict[str, list[Any]] = {"rule": rules, "n": [2] * 3}
    kinds = {"cosine": "cosine", "norm ratio": "norm_ratio", "relative error": "relative_error", "bias": "bias_squared", "deviation": "deviation"}  # fmt: skip
    for name, variable in kinds.items():
        values = one[variable].sel(weight="all").transpose("rule", "seed", "update").values  # (rule, seed, update)
        if name == "bias":
            by_seed = np.sqrt(np.maximum(values.mean(2), 0))
        elif name == "deviation":
            by_seed = np.sqrt((values**2).mean(2))
        else:
            by_seed = values.mean(2)
        expected[name] = by_seed.mean(1).tolist()
        expected[f"{name} s.e.m."] = (by_seed.std(1, ddof=1) / 2**0.5).tolist()
    assert list(found.columns) == list(expected)
    for column, values in expected.items():
        assert (
            found[column].tolist() == pytest.approx(values, abs=1e-12)
            if column != "rule"
            else found[column].tolist() == values
        )
    assert (found["cosine"][1:] < 1).all() and found["deviation"][2] > 0


def test_every_variable_of_an_alignment_s_datasets(aligned):
    alignment, credit = (xr.load_dataset(aligned / f"{n}.nc", engine="h5netcdf") for n in ("alignment", "credit"))
    assert set(map(str, alignment.data_vars)) == {
        "cosine", "norm_ratio", "relative_error", "bias", "bias_squared", "deviation", "pairwise", "loss",
    }  # fmt: skip
    assert set(map(str, credit.data_vars)) == {"cosine", "norm_ratio", "norm"}
    coords: dict[str, list[Any]] = {
        "rule": ["bptt", "eprop", "uoro"], "other": ["bptt", "eprop", "uoro"], "update": [1, 3, 5], "seed": [0, 1],
        "weight": ["W_in", "W_rec", "b", "W_out", "b_out", "all"],
    }  # fmt: skip
    assert {n: c.values.tolist() for n, c in alignment.coords.items()} == coords
    lags = {"rule": coords["rule"], "seed": [0, 1], "lag": [0, 2, 5]}
    assert {n: c.values.tolist() for n, c in credit.coords.items()} == lags
    # their values: of one seed, along the driver's way, from two gradients each (the rest is test_align's)
    rows = metrics(next(aligned.glob("along_bptt-s1-*")))
    driver = [float(row["loss"]) for row in rows if row["update"] in ("1", "3", "5")]
    assert alignment["loss"].sel(seed=1).values.tolist() == driver
    assert [row["lag"] for row in rows] == [""] * 5 + ["0.0", "2.0", "5.0"]
    np.testing.assert_allclose(alignment["pairwise"].sel(other="bptt", drop=True), alignment["cosine"], atol=1e-12)
    np.testing.assert_allclose(alignment["bias"], np.sqrt(np.maximum(alignment["bias_squared"], 0)), atol=1e-12)
    assert (credit["norm_ratio"].sel(rule="bptt") == 1).all() and (credit["norm"] > 0).all()


def records(table: pd.DataFrame) -> list[Any]:
    return [SimpleNamespace(**{str(name): value for name, value in row.items()}) for row in table.to_dict("records")]


def test_the_data_of_an_alignment_s_figures(aligned):
    one, credit = (xr.load_dataset(aligned / f"{n}.nc", engine="h5netcdf") for n in ("alignment", "credit"))
    data = {name: pd.read_csv(aligned / "figures" / f"{name}.csv") for name in ("alignment", "pairwise", "credit")}
    assert tuple(data["alignment"].columns) == DRAWN
    for row in records(data["alignment"]):
        assert row.value == pytest.approx(
            float(one["cosine"].sel(rule=row.arm, weight="all", seed=row.seed, update=row.update))
        )
    assert tuple(data["pairwise"].columns) == ("rule", "other", "cosine") and len(data["pairwise"]) == 9
    for row in records(data["pairwise"]):
        assert row.cosine == pytest.approx(
            float(one["pairwise"].sel(rule=row.rule, other=row.other, weight="all").mean())
        )
    assert tuple(data["credit"].columns) == ("panel", "rule", "seed", "lag", "value")
    kind = {"cosine": "cosine", "ratio": "norm_ratio"}
    assert set(data["credit"]["panel"]) == set(kind)
    for row in records(data["credit"]):
        assert row.value == pytest.approx(float(credit[kind[row.panel]].sel(rule=row.rule, seed=row.seed, lag=row.lag)))


# -- benchmarks ------------------------------------------------------------------------------------------------------------------


def benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / f"experiments/benchmarks/{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def columns_of(name: str) -> list[str]:
    return list(pd.read_csv(ROOT / f"docs/benchmarks/{name}.csv").columns)


def test_every_column_of_the_benchmark_of_rules(monkeypatch):
    module = benchmark("rules")
    monkeypatch.setattr(
        module, "RULES", {"rtrl": {}, "eprop": {"schedule": "online"}, "bp_lambda": {"schedule": "online"}}
    )
    spent: dict[Any, float] = {}

    def clock(f: Any, device: str) -> float:
        """Seconds, by what is timed: the steps that learn nothing, those with the rule, and whole updates."""
        kind = f.__name__
        spent[kind] = {"alone": 2.0, "learning": 5.0, "update": 7.0}[kind]
        return spent[kind]

    monkeypatch.setattr(module, "clock", clock)
    monkeypatch.setattr(module, "sequence", lambda *given: None)
    found: Any = module.measure(3, "cpu").set_index("rule")
    steps = 320
    for rule, row in found.iterrows():
        for units in (32, 64, 100):
            timed = units <= {"rtrl": 100, "bp_lambda": 32}.get(str(rule), 100)
            expected = (3e3 / steps, 5e3 / steps) if timed else (None, None)
            for column, value in zip((f"N {units}", f"N {units}, whole step"), expected, strict=True):
                assert pd.isna(row[column]) if value is None else row[column] == pytest.approx(value)
        many = row["N 100, batch 32, per sample"]
        assert many == pytest.approx(3e3 / 32 / 32) if rule == "eprop" else pd.isna(many)
        assert row["N 32, moving"] == pytest.approx(7e3 / 200)
        published = {"rtrl": (0.17, 7.9)}.get(str(rule))
        for column, value in zip(("published N 32", "published N 100"), published or (None, None), strict=True):
            assert pd.isna(row[column]) if value is None else row[column] == value
    named = [f"N {n}{what}" for n in (32, 64, 100) for what in ("", ", whole step")]
    named = ["rule", *named, "N 100, batch 32, per sample", "N 32, moving", "published N 32", "published N 100"]
    assert ["rule", *found.columns] == named == columns_of("rules")


def test_every_column_of_the_benchmark_of_traces(monkeypatch):
    module = benchmark("traces")
    monkeypatch.setattr(module, "RULES", {"exact": {}, "local": {"trace": "local"}})
    sizes = {label: len(arm.circuit.populations) for label, arm in module.arms(8).items()}
    assert sizes == {"exact": 1, "local": 1}

    def times(arms: Any, rounds: int) -> dict[str, float]:
        return {label: 1e-3 * len(label) * arm.circuit.populations["cortex"].size for label, arm in arms.items()}

    def kept(circuit: Any, task: Any, rule: Any) -> Cost:
        units = circuit.populations["cortex"].size
        return Cost(1024.0 * units, 512.0 * units, 1e9)

    monkeypatch.setattr(module, "cpu_seconds", times)
    monkeypatch.setattr(module, "memory", kept)
    found = module.measure(1)
    assert list(found.columns) == columns_of("traces")
    for row in found.to_dict("records"):
        for units in (8, 16, 32, 64):
            assert row[f"ms, N {units}"] == pytest.approx(len(f"{row['trace']} {units}") * units)
            assert row[f"KiB, N {units}"] == pytest.approx(1.5 * units)


def test_every_column_of_the_benchmark_of_speed(monkeypatch):
    module, calls = benchmark("speed"), iter(range(1000))
    seconds = iter([1.0, 2.0, 4.0, 3.0, 9.0, 6.0, 5.0, 10.0])  # ours, theirs: after one pair that warms up
    now = 0.0

    def lasting() -> None:
        nonlocal now
        if next(calls) >= 2:
            now += next(seconds)

    monkeypatch.setattr(module.time, "process_time", lambda: now)
    found = module.paired(lasting, lasting, repeats=4, device="cpu")
    monkeypatch.undo()
    assert found == pytest.approx(
        {"ours_ms": 4500.0, "bptt_ms": 4500.0, "ratio": 11 / 12, "lowest": 0.5, "highest": 1.5}
    )  # ratios 1/2, 4/3, 3/2, 1/2
    large = {"what": "", "ours_ms": 0.0, "MiB": 0.0}
    assert columns_of("speed") == ["what", "bound", *found, "MiB"] and set(large) <= set(columns_of("speed"))
    stored: Any = pd.read_csv(ROOT / "docs/benchmarks/speed.csv")
    timed = stored[stored["ratio"].notna()]
    assert (timed["lowest"] <= timed["ratio"]).all() and (timed["ratio"] <= timed["highest"]).all()
    assert stored["MiB"].notna().sum() + len(timed) == len(stored), "what is no ratio is a memory"


def test_every_column_of_the_table_of_claims(capsys):
    """`bioplaus check`: rule, model, claim, measured, steps, error, verdict, note."""
    assert cli.main("check --quick --rules eprop,tbptt --models elman".split()) == 0
    lines = [re.split(r"\s{2,}", line.strip()) for line in capsys.readouterr().out.splitlines()]
    (head,) = [line for line in lines if line[0] == "rule"]
    assert head == ["rule", "model", "claim", "measured", "steps", "error", "what else was tried"]
    rows = {row.rule: row for row in bp.check.check(True, ("eprop", "tbptt"), ("elman",))}
    for line in lines:
        if line[0] in rows:
            row = rows[line[0]]
            expected = [row.rule, "elman", "biased", "biased", "20", f"{row.error:.1e}", "ok"]
            assert line[:7] == expected and " ".join(line[7:]) == row.note
