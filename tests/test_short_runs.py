"""Runs of one to three updates, of one seed, never tested on the way: tables and figures without a warning from NumPy."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bioplaus import cli
from bioplaus.measure.time import seconds_per_update
from bioplaus.runs.results import Results
from bioplaus.runs.spread import spread

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BIOPLAUS_STUDY", raising=False)


WORDS = "compare target_reaching --rules bptt,uoro --cell leaky_rate --units 4 --batch 2 --seeds 0 --updates 1"


@pytest.mark.parametrize(
    "more", ("", "--evaluate-every 1 --align-every 1", "--mode align --draws 0", "--mode align --lags 0")
)
def test_a_comparison_of_one_update(more, capsys):
    assert cli.main([*WORDS.split(), *more.split()]) == 0
    said = capsys.readouterr()
    assert "Warning:" not in said.err and "was not drawn" not in said.out


def run(updates: int, columns: dict[str, Any], seed: int = 0) -> Any:
    class Made:
        metrics = pd.DataFrame({"update": np.arange(1, updates + 1), **columns})
        label, config = "a", {"task": {}}

        def final(self, column: str) -> float:
            return float(self.metrics[column].iloc[-1])

    made = Made()
    made.seed = seed  # type: ignore[attr-defined]
    return made


def experiment(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"short_{name}", ROOT / f"experiments/{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("updates", (1, 2, 3))
@pytest.mark.parametrize("name", ("sequential_digits", "sequential_mnist", "target_reaching"))
def test_tables_of_experiments_have_a_mean_of_what_little_there_is(name, updates):
    """What is early is at least the first that was measured."""
    values = np.full(updates, np.nan)
    values[0] = 0.25
    end = np.full(updates, np.nan)
    end[-1] = 0.5
    columns = {"seconds": np.arange(1.0, updates + 1), "test_score": end, "test_loss": end}
    columns |= dict.fromkeys(("alignment", "prediction", "prediction_ratio"), values)
    table = experiment(name).table(Results({"BP(λ=1)": [run(updates, columns), run(updates, columns, 1)]}))
    assert len(table) == 1
    measured = [c for c in table.columns if "cosine" in c or "norm" in c]
    assert measured and all(float(table[c].iloc[0]) == 0.25 for c in measured)
    for column in ("test score at a fifth", "test loss at half time"):
        assert column not in table or float(table[column].iloc[0]) == 0.5


def test_the_late_measurements_of_a_seed_without_any():
    whole, cut = run(3, {"test_loss": [1.0, 2.0, 4.0]}), run(3, {"test_loss": [1.0, np.nan, np.nan]})
    (found,) = Results({"a": [whole, cut]}).late().values()
    assert found[0] == 4.0 and math.isnan(found[1])
    (found,) = Results({"a": [whole, cut]}).late(share=1.0).values()
    assert found.tolist() == [2.0, 1.0]


def test_spread_and_time_of_next_to_nothing():
    for values in ([], [1.0], [math.nan], [math.nan, 2.0], [math.inf]):
        found = spread(values)
        assert math.isnan(found.sem) and math.isnan(found.half)
    assert math.isnan(seconds_per_update(run(0, {"seconds": np.empty(0)})))
    assert seconds_per_update(run(1, {"seconds": [2.0]})) == 2.0
    assert seconds_per_update(run(2, {"seconds": [2.0, 3.0], "test_score": [np.nan, 1.0]})) == 1.5
