"""The main experiment at reduced size, with the same code."""

from dataclasses import replace

import pandas
import pytest

import bioplaus as bp
from bioplaus import content
from bioplaus.runs import run_experiment


@pytest.fixture(scope="module")
def small():
    """The experiment with 300 updates of 48 units."""
    module = content.load("experiment", "sequential_digits")
    config = module.Config()
    learning = replace(config.training, updates=300, evaluate_every=100, align_every=100)
    return module.sequential_digits(
        replace(config, training=learning, circuit=replace(config.circuit, units=48), seeds=(0,))
    )


@pytest.fixture(scope="module")
def compared(small, tmp_path_factory: pytest.TempPathFactory):
    """The arms that are told apart by their scores, trained; the figures are drawn by the test that wants them."""
    root = tmp_path_factory.mktemp("runs")
    arms = ("BP(λ=1)", "BP(λ=0)", "BPTT")
    return run_experiment(replace(small, figures={}), "sequential_digits", root=root, only=arms), root


@pytest.fixture(scope="module")
def done(small, compared):
    """All arms; those that were compared are found."""
    _, root = compared
    return run_experiment(replace(small, figures={}), "sequential_digits", root=root), root


def test_the_cortex_learns_from_its_cerebellum(compared) -> None:
    results, _ = compared
    final = {label: float(scores[0]) for label, scores in results.final("test_score").items()}
    assert final["BP(λ=1)"] > 0.8  # 0.87 to 0.93 over seeds at this size; chance is 0.1
    assert final["BPTT"] > 0.9
    assert final["BP(λ=0)"] < final["BP(λ=1)"]


def test_the_predictions_are_used_and_point_somewhere(done) -> None:
    results, _ = done
    prediction = {label: values[0] for label, (_, values) in results.curves("prediction").items()}
    assert set(prediction) == {"BP(λ=1)", "BP(λ=0)", "predictor off", "label-conditioned"}
    assert prediction["label-conditioned"][1:].mean() > prediction["BP(λ=1)"][1:].mean() > 0.02
    alignment = {label: values[0] for label, (_, values) in results.curves("alignment").items()}
    assert alignment["BPTT"] == pytest.approx(1.0) and abs(alignment["BP(λ=1)"][1:] - 1).min() > 1e-3


def test_table_and_figures_are_written(small, done) -> None:
    _, root = done
    heard = []
    results = run_experiment(small, "sequential_digits", root=root, progress=heard.append)
    assert {event.kind for event in heard} == {"found", "drawn"}, "what was trained is not trained again"
    folder = root / "sequential_digits"
    table = pandas.read_csv(folder / "table.csv")
    assert list(table["arm"]) == list(results)
    for name in ("summary", "learning", "prediction"):
        for suffix in (".pdf", ".svg", ".png", ".csv"):
            assert (folder / "figures" / f"{name}{suffix}").stat().st_size > 0


def test_an_impossible_option_is_refused_before_anything_runs() -> None:
    module = content.load("experiment", "sequential_digits")
    with pytest.raises(bp.errors.BioplausError, match="data"):
        module.sequential_digits(module.Config(task=module.Task(data="imagenet")))
