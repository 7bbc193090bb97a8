"""Every shipped experiment, at reduced size through the same code, leaves its table and figures; what it says holds."""

import ast
import dataclasses
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import bioplaus as bp
from bioplaus import content
from bioplaus.errors import RuleError
from bioplaus.measure.time import cpu_seconds
from bioplaus.own import Own
from bioplaus.runs import Run, run_experiment
from bioplaus.runs.loop import execute
from bioplaus.signal.truth import asked, predicted_and_true
from bioplaus.tasks.copy_repeat import CopyRepeat

REDUCED = {
    "copy_repeat": {
        "units": 16,
        "bits": 1,
        "lambdas": (1.0,),
        "windows": (2, 5),
        "lr": 0.05,
        "predictor_lr": 0.01,
        "batch": 16,
        "updates": 120,
        "seeds": (0,),
    },
    "sequential_mnist": {
        "data": "digits",
        "units": 8,
        "updates": 6,
        "batch": 10,
        "evaluate_every": 2,
        "seeds": (0,),
    },
    "fixed_network_alignment": {"lengths": (6, 12), "updates": 200, "align_every": 20, "seeds": (0,)},
    # A higher learning rate, so that so few updates are enough to learn the short trials.
    "horizon": {"horizons": (2, 6), "units": 8, "updates": 60, "lr": 0.03, "seeds": (0,)},
    "online_rules": {"units": 5, "stretch": 30, "short": 2, "long": 2, "seeds": (0,)},
    "released_code": {
        "fixed": {"updates": 150, "align_every": 25},
        "reaching": {"updates": 20},
        "digits": {"units": 8, "updates": 4, "batch": 10},
        "seeds": (0,),
    },
    "sequential_digits": {
        "circuit": {"units": 8},
        "training": {"updates": 6, "batch": 10, "evaluate_every": 2, "align_every": 1},
        "seeds": (0,),
    },
    "target_reaching": {
        "fixed": {"updates": 109},
        "learning": {"updates": 60, "align_every": 20},
        "seeds": (0, 1),
    },
    "continuous_bp_lambda": {"steps": (2.0, 1.0), "units": 4, "batch": 2, "updates": 2, "seeds": (0, 1)},
    "trace_cost": {
        "steps": 5,
        "units": 5,
        "kept": 2,
        "lr": 0.03,
        "predictor_lr": 0.1,
        "updates": 12,
        "align_every": 4,
        "evaluate_every": 4,
        "draws": 16,
        "seeds": (0,),
    },
    "evidence_accumulation": {
        "cues": 1,
        "delay": 0.02,
        "units": 10,
        "sparse_delay": 0.02,
        "sparse_units": 20,
        "fan_in": 0.2,
        "batch": 8,
        "lr": 0.02,
        "updates": 2,
        "sparse_updates": 2,
        "evaluate_every": 1,
        "test_trials": 10,
        "seeds": (0,),
    },
    "balanced_network": {
        "excitatory": 400,
        "sources": 100,
        "settle": 50.0,
        "last": 120.0,
        "map_excitatory": 200,
        "map_last": 50.0,
        "inhibition": (3.0, 5.0),
        "drive": (1.0, 2.0),
        "steps": 300,
        "updates": 5,
        "lr": 3e-4,
        "seeds": (0,),
    },
    # A higher learning rate, so that so few trials are enough to see something learned.
    "delay_length": {
        "delays": (20,),
        "cues": 1,
        "units": 6,
        "batch": 4,
        "updates": 4,
        "predictor_lr": 1e-3,
        "last": 2,
        "seeds": (0, 1),
    },
    "reward": {"delay": 1, "wait": 1, "hold": 2, "units": 8, "batch": 4, "updates": 3, "last": 2, "seeds": (0, 1)},
    "silencing": {
        "cues": 1,
        "cue": 0.02,
        "delay": 0.02,
        "recall": 0.02,
        "units": 10,
        "updates": 2,
        "batch": 4,
        "test_trials": 5,
        "seeds": (0,),
    },
    "unlocking": {
        "areas": 2,
        "units": 6,
        "hidden": 4,
        "probabilities": (1.0, 0.5),
        "updates": 8,
        "batch": 5,
        "evaluate_every": 2,
        "seeds": (0, 1),
    },
    "cerebellar_drive": {"units": 8, "hidden": 6, "batch": 5, "updates": 6, "evaluate_every": 2, "seeds": (0,)},
    "cerebellar_target_reaching": {
        "units": 6,
        "hidden": (5, 5),
        "batch": 5,
        "updates": 4,
        "evaluate_every": 2,
        "seeds": (0, 1),
    },
    "two_rate": {
        "periods": (2,),
        "later": (3,),
        "lines": 3,
        "steps": 12,
        "fast": 6,
        "slow": 3,
        "updates": 4,
        "evaluate_every": 2,
        "seeds": (0, 1),
    },
    "cerebellar_horizon": {
        "asks": ("name", "drawing"),
        "windows": (1, 4),
        "hold": 1,
        "units": 4,
        "hidden": (5,),
        "batch": 5,
        "updates": 4,
        "evaluate_every": 2,
        "seeds": (0, 1),
    },
    "coupling": {"units": 6, "batch": 5, "updates": 6, "evaluate_every": 1, "seeds": (0, 1)},
    "layered_dni": {
        "depths": (2, 3),
        "mnist_depths": (),
        "units": 8,
        "hidden": 8,
        "updates": 4,
        "batch": 8,
        "evaluate_every": 2,
        "align_every": 2,
        "seeds": (0, 1),
    },
    "critic_or_gradient": {
        "depth": 2,
        "units": 8,
        "hidden": 8,
        "updates": 4,
        "batch": 8,
        "evaluate_every": 2,
        "align_every": 2,
        "seeds": (0, 1),
    },
    "traces_in_depth": {
        "depths": (2, 3),
        "units": 8,
        "updates": 4,
        "batch": 8,
        "evaluate_every": 2,
        "align_every": 2,
        "seeds": (0, 1),
    },
    "cerebellar_ladder": {
        "units": 8,
        "targets": (3, 2),
        "updates": (3, 2),
        "every": (1, 1),
        "fan_ins": (1,),
        "actives": (0.2,),
        "expansions": (1.0,),
        "fibres": (1,),
        "seeds": (0, 1),
    },
    "cerebellar_trace": {
        "delays": (0, 100),
        "peaks": (0, 100),
        "steps": 30,
        "units": 6,
        "updates": 4,
        "align_every": 1,
        "seeds": (0, 1),
    },
    "cerebellar_lesion": {
        "units": 8,
        "targets": 2,
        "updates": 6,
        "at": (2,),
        "soon": 1,
        "test_every": 1,
        "seeds": (0, 1),
    },
    "twin": {"steps": 120, "inputs": 20, "units": 10, "updates": 1, "shown": 50, "seeds": (0, 1)},
    "learning_in_brian2": {"units": 10, "updates": 1, "onward": 1, "seeds": (0,)},
    "time_step": {
        "steps": (1, 2, 4),
        "brian": (1, 2),
        "units": 12,
        "compared": 3,
        "updates": 2,
        "batch": 4,
        "seeds": (0, 1),
    },
    "spiking_digits": {
        "shown": 0.01,
        "answer": 0.01,
        "units": 10,
        "updates": 2,
        "batch": 4,
        "evaluate_every": 1,
        "seeds": (0,),
    },
    "guided_es": {
        "size": 20,
        "rows": 40,
        "steps": 40,
        "units": 4,
        "trial": 4,
        "pairs": 2,
        "updates": 6,
        "seeds": (0, 1),
    },
    "speed_of_unlocking": {
        "sizes": (12, 8, 8, 3),
        "hidden": (9,),
        "batch": 5,
        "updates": 4,
        "apart": 10,
        "seeds": (0,),
    },
    "pattern_generation": {"steps": 200, "units": 40, "updates": 25, "lr": 1e-3, "seeds": (0,)},
}


def changed(config, changes):
    """A configuration with some of its fields, or of its fields' fields, replaced."""
    new = {
        key: changed(getattr(config, key), value) if isinstance(value, dict) else value
        for key, value in changes.items()
    }
    return dataclasses.replace(config, **new)


def make(name, changes):
    config = changed(content.load("experiment", name).Config(), changes)
    return content.factory("experiment", name)(config), config


@pytest.fixture(scope="module")
def reduced(tmp_path_factory):
    """name → (experiment, results, folder), each computed when first asked for."""
    root, found = tmp_path_factory.mktemp("runs"), {}

    def get(name):
        if name not in found:
            experiment, config = make(name, REDUCED[name])
            found[name] = experiment, run_experiment(experiment, name, root=root, config=config), root / name
        return found[name]

    return get


def column(folder, name):
    """One column of an experiment's table, arm → number."""
    table = pd.read_csv(folder / "table.csv")
    return {str(arm): float(value) for arm, value in zip(table["arm"], table[name], strict=True)}


def test_every_experiment_is_here():
    assert set(REDUCED) == set(content.names("experiment"))


#: of which nothing is tried that the others do not have
LONG = {
    "cerebellar_drive",
    "cerebellar_target_reaching",
    "cerebellar_horizon",
    "coupling",
    "released_code",
    "trace_cost",
    "horizon",
    "evidence_accumulation",
    "balanced_network",
    "silencing",
    "spiking_digits",
    "learning_in_brian2",
    "time_step",
    "twin",
    "speed_of_unlocking",
    "target_reaching",
    "fixed_network_alignment",
    "pattern_generation",
    "cerebellar_ladder",
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in REDUCED])
def test_experiment_leaves_table_and_figures(name, reduced):
    experiment, results, folder = reduced(name)
    assert experiment.expected and experiment.references and experiment.table and experiment.figures
    assert list(results) == list(experiment.arms)
    assert all(run.done for runs in results.values() for run in runs)
    table = pd.read_csv(folder / "table.csv")
    # one an arm, or several, or one for all arms of which only the last word differs
    rows = list(dict.fromkeys(table["arm"]))
    assert list(dict.fromkeys(arm if arm in rows else arm.rpartition(" ")[0] for arm in experiment.arms)) == rows
    assert set(column(folder, "n").values()) == {len(experiment.seeds)}
    lines = (folder / "table.md").read_text(encoding="utf-8").splitlines()  # and below it what is warned of
    assert sum(line.startswith("|") for line in lines) == len(table) + 2
    seeds = pd.read_csv(folder / "seeds.csv")
    told = list(dict.fromkeys(zip(seeds["arm"], seeds["seed"], strict=True)))  # or several rows of each
    assert told == [(label, run.seed) for label, runs in results.items() for run in runs]
    if experiment.by_seed is None:
        ends = [run.metrics["loss"].iloc[-1] if len(run.metrics) else np.nan for _, r in results.items() for run in r]
        assert np.allclose(seeds["loss"], ends, rtol=1e-12, equal_nan=True) and len(seeds) == len(told)
    for figure in experiment.figures:
        files = {file.suffix for file in (folder / "figures").glob(f"{figure}.*")}
        assert {".pdf", ".svg", ".png", ".json"} <= files and files & {".csv", ".npz"}, figure
    assert len(list((folder / "figures").glob("*.pdf"))) == len(experiment.figures)


@pytest.mark.parametrize("name", REDUCED)
def test_experiment_is_short_and_says_what_every_field_is(name):
    text = content.names("experiment")[name].read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) <= 150
    classes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    fields = [field for node in classes for field in node.body if isinstance(field, ast.AnnAssign)]
    assert len(fields) > 5
    for field in fields:
        if not isinstance(field.value, ast.Call):  # a nested configuration speaks for itself
            assert "  # " in lines[field.lineno - 1], ast.unparse(field)


@pytest.mark.slow
def test_target_reaching_is_sane(reduced):
    _, results, folder = reduced("target_reaching")
    loss, cosine = column(folder, "test loss"), column(folder, "prediction cosine at the end")
    assert cosine["fixed BP(λ=1)"] > 0.6 > cosine["fixed BP(λ=0)"]
    for label in ("fixed BP(λ=0)", "fixed BP(λ=1)"):  # fixed is fixed: what the circuit says never changes
        losses = results[label][0].metrics["loss"].to_numpy()
        assert losses.std() < 1e-6 < losses[0]
        assert math.isnan(loss[label])
    assert loss["BPTT"] < 0.4 < loss["e-prop"]
    aligned = column(folder, "weight-gradient cosine, mean over training")
    assert aligned.pop("BPTT") == pytest.approx(1, abs=1e-6)
    others = [value for value in aligned.values() if not math.isnan(value)]
    assert len(others) == 8 and max(others) < 0.999
    output = results["BPTT"][0].recordings["output"]
    assert output.shape == (10, 6, 2) and float(output[-1].std()) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1, 2))])
def test_predictions_align_with_the_truth_as_published(seed, tmp_path):
    """Pemberton & Costa 2024: the larger λ, the better the prediction; near perfect at λ = 1."""
    experiment, config = make("target_reaching", {"seeds": (seed,)})
    labels = [label for label in experiment.arms if label.startswith("fixed ")]
    results = run_experiment(experiment, "target_reaching", root=tmp_path, only=labels, config=config)
    updates, _ = results.curves("prediction")["fixed BP(λ=1)"]
    assert updates[-1] == 1000
    zero, half, one = (float(results.final("prediction")[f"fixed BP(λ={value})"][0]) for value in ("0", "0.5", "1"))
    assert one >= 0.85
    assert one > half > zero
    folder = tmp_path / "target_reaching"  # arms that were left out are no trouble
    assert list(column(folder, "n")) == labels
    assert {file.stem for file in (folder / "figures").glob("*.pdf")} == {"fixed"}


@pytest.mark.slow
def test_cerebellar_ladder_counts_synapses_and_a_fixed_cortex_stands_still(reduced):
    _, results, folder = reduced("cerebellar_ladder")
    synapses, active = column(folder, "plastic synapses"), column(folder, "active (%)")
    state, cells = 2 * 8, 5 * 2 * 2 * 8  # x and y of each unit; five for each on and each off fibre
    assert synapses["fixed: linear"] == state**2 and synapses["fixed: mlp"] == 300 * state
    assert synapses["fixed: granule cells"] == cells * state and synapses["fixed: + signs"] == 4 * cells * state
    assert synapses["expansion 1"] == 4 * cells / 5 * state and synapses["fan-in 1"] == synapses["fixed: + signs"]
    assert synapses["learns: BPTT"] == 0 and math.isnan(active["fixed: linear"]) and active["fixed: + signs"] > 0
    for label, runs in results.items():
        before, after = (w["W_rec"] for w in (runs[0].network.circuit.build(seed=0).weights, runs[0].weights))
        assert np.allclose(before, after, rtol=0, atol=1e-7) == (not label.startswith("learns")), label


def test_cerebellar_lesions_begin_when_they_say(reduced):
    _, results, _ = reduced("cerebellar_lesion")
    losses = {label: runs[0].metrics["loss"].to_numpy() for label, runs in results.items()}
    ends = {label: runs[0].weights["W_rec"] for label, runs in results.items()}
    for label in ("output at 2", "olive at 2"):
        assert (losses[label][:3] == losses["no lesion"][:3]).all() and (ends[label] != ends["no lesion"]).any()
    assert (ends["output at 2"] != ends["olive at 2"]).any() and (ends["output at 0"] != ends["output at 2"]).any()


@pytest.mark.slow
def test_fixed_network_alignment_is_sane(reduced):
    _, results, folder = reduced("fixed_network_alignment")
    end = column(folder, "cosine after 200")
    assert end["T=12 BP(λ=1)"] > 0.97 > end["T=12 BP(λ=0)"] and end["T=6 BP(λ=1)"] > 0.99
    assert end["published BP(λ=1)"] > end["published BP(λ=0)"]
    for name in results:
        assert (results.curves("loss")[name][1].std() < 1e-6).all(), "fixed is fixed"
    drawn = pd.read_csv(folder / "figures" / "alignment.csv").query("arm == 'BP(λ=1)' and panel.str.contains('T=12')")
    assert sorted(drawn["update"]) == list(range(1, 12))  # steps to the loss
    at_the_end = float(drawn["value"].to_numpy().mean())  # one update after it was measured
    assert at_the_end == pytest.approx(end["T=12 BP(λ=1)"], abs=2e-3)


def test_an_affine_predictor_can_be_perfect_through_orthogonal_weights():
    """A = p(W) with p(W) h_1 = v_1: then A h_t = A Wᵗ⁻¹ h_1 = Wᵗ⁻¹ v_1 = v_t, however long the trial."""
    experiment, _ = make("fixed_network_alignment", {})
    arm = experiment.arms["T=60 BP(λ=1)"]
    network = arm.circuit.build(seed=0, dtype=torch.float64)
    batch = next(iter(arm.task.test_batches(1))).to(dtype=torch.float64)
    theta = {"A": torch.eye(30, dtype=torch.float64), "b": torch.zeros(30, dtype=torch.float64)}
    h, v = predicted_and_true(
        network, arm.rule.signal, {"predictor": Own(theta)}, batch, arm.task.loss
    )  # what says the state itself
    assert h.shape == (59, 1, 30)
    values, V = torch.linalg.eig(network.weights["W_rec"])
    torch.testing.assert_close(values.abs(), torch.ones(30, dtype=torch.float64), rtol=1e-10, atol=0)
    first = [torch.linalg.solve(V, each[0, 0].to(V.dtype)) for each in (h, v)]
    A = (V @ torch.diag(first[1] / first[0]) @ torch.linalg.inv(V)).real
    g, _ = predicted_and_true(
        network, arm.rule.signal, {"predictor": Own({"A": A, "b": theta["b"]})}, batch, arm.task.loss
    )
    torch.testing.assert_close(g, v, rtol=0, atol=1e-8 * float(v.abs().max()))


@pytest.mark.slow
def test_released_code_is_sane(reduced):
    """The mistakes are in the released arms alone: twice the truth, and gates that see part of it."""
    experiment, results, folder = reduced("released_code")
    ratio, aligned = column(folder, "norm ratio"), column(folder, "weight-gradient cosine")
    for value in ("0", "0.5", "1"):
        assert 1.6 < ratio[f"fixed λ={value} released"] / ratio[f"fixed λ={value}"] < 2.4
    assert aligned["digits BPTT"] == pytest.approx(1, abs=1e-6)
    arm, (run,) = experiment.arms["fixed λ=1 released"], results["fixed λ=1 released"]
    batch = next(iter(arm.task.test_batches(1)))
    rules = {name: experiment.arms[f"fixed λ=1{name}"].rule for name in ("", " released")}
    asked_for = {name: asked(run.network, rule.signal, batch, arm.task.loss) for name, rule in rules.items()}
    _, true = predicted_and_true(run.network, arm.rule.signal, run.own, batch, arm.task.loss)
    torch.testing.assert_close(asked_for[""], true, rtol=1e-4, atol=1e-6 * float(true.abs().max()))
    units = true.shape[-1] // 2  # the cell's half, one step before the loss
    torch.testing.assert_close(asked_for[" released"][-1, :, :units], 2 * true[-1, :, :units], rtol=1e-4, atol=0)
    assert float((asked_for[" released"][-1, :, units:] / true[-1, :, units:] - 2).abs().max()) > 1e-3


@pytest.mark.slow
def test_horizon_is_sane(reduced):
    _, _, folder = reduced("horizon")
    short, long, longest = (column(folder, name) for name in ("loss, T=2", "loss, T=6", "longest T"))
    assert short["BPTT"] == short["TBPTT n=5"] == short["DNI n=5"]  # a window of 5 steps holds the whole trial
    assert len({long[name] for name in ("BPTT", "TBPTT n=5", "DNI n=5")}) == 3
    assert longest["BPTT"] == 6 > longest["BP(λ=0)"] and long["BPTT"] < 0.05 < long["BP(λ=0)"]
    window, online = column(folder, "KiB per sample"), column(folder, "KiB per sample, step by step")
    assert window["TBPTT n=5"] < window["BPTT"] == window["BP(λ=1)"] < online["BP(λ=1)"]
    assert math.isnan(online["BPTT"])
    assert min(column(folder, "ms per update").values()) > 0
    reach = content.load("experiment", "horizon").longest
    ends = np.array(
        [[0.01, 0.01, 0.2], [0.01, 0.2, 0.01], [0.2, 0.01, 0.01]]
    )  # what comes after a failure does not count
    assert reach(np.array([5, 10, 20]), ends, 0.05).tolist() == [10, 5, 0]


@pytest.mark.slow
def test_trace_cost_is_sane(reduced):
    _, results, folder = reduced("trace_cost")
    losses = {name: runs[0].metrics["loss"].to_numpy() for name, runs in results.items()}
    for name in ("exact", "replay"):  # three ways to the same update
        np.testing.assert_allclose(losses[name], losses["reverse"], rtol=1e-3)
    others = [loss for name, loss in losses.items() if name not in ("exact", "replay", "reverse")]
    assert all(np.abs(loss - losses["reverse"]).max() > 1e-3 * losses["reverse"].max() for loss in others)
    bias, deviation = column(folder, "bias"), column(folder, "deviation")
    for name in ("reverse", "exact", "replay"):
        assert bias.pop(name) < 1e-9
    assert bias.pop("Kronecker") < deviation["Kronecker"]
    assert all(value > 0.01 for value in bias.values() if not math.isnan(value)) and len(bias) == 11
    assert [name for name, value in deviation.items() if value > 0] == ["Kronecker"]
    kept = column(folder, "KiB per sample")
    assert kept["exact"] == max(kept.values()) > 2 * kept["local"] > 2 * kept["reverse"] > 0
    aligned = column(folder, "weight-gradient cosine")
    assert aligned["BPTT"] == pytest.approx(1, abs=1e-6) and sorted(aligned.values())[-2] < 0.999


@pytest.mark.slow
def test_pattern_generation_is_sane(reduced):
    _, results, folder = reduced("pattern_generation")
    first, last = column(folder, "loss at first"), column(folder, "test loss")
    for label, (run,) in results.items():
        spikes = run.recordings["spikes"]
        assert spikes.shape == (200, 1, 40) and 0.002 < float(spikes.mean()) < 0.2, label
        assert run.recordings["v"].shape == spikes.shape
        assert last[label] < 0.95 * first[label], label
    assert len(set(first.values())) == 1  # the same weights and the same trial for every rule
    assert len(set(last.values())) == 3


def test_delay_length_is_sane(reduced):
    """Within neurons nothing is predicted of outputs, and the rule is e-prop; the others differ, and all circuits fire."""
    _, results, _ = reduced("delay_length")
    weights = {
        label: torch.cat([w.flatten() for w in runs[0].network.weights.values()]) for label, runs in results.items()
    }
    first = weights.pop("e-prop, 20 ms")
    assert torch.allclose(weights.pop("BP(λ), J within, 20 ms"), first, rtol=0, atol=1e-5)
    assert len(weights) == 3 and all(not torch.allclose(w, first, rtol=0, atol=1e-3) for w in weights.values())
    assert all(run.final("rate") > 2 for runs in results.values() for run in runs)


@pytest.mark.slow
def test_evidence_accumulation_is_sane(reduced):
    """What seeds.csv and the table say is what the runs measured; the circuits fire, and the rules differ."""
    experiment, results, folder = reduced("evidence_accumulation")
    seeds: Any = pd.read_csv(folder / "seeds.csv")
    assert list(zip(seeds["arm"], seeds["seed"], strict=True)) == [(arm, 0) for arm in experiment.arms]
    for row, run in zip(seeds.itertuples(index=False), (run for runs in results.values() for run in runs), strict=True):
        tested: Any = run.metrics[["update", "test_score"]].dropna()
        error = 100 - 100 * tested["test_score"].to_numpy()
        first = tested["update"].to_numpy()[tested["test_score"] > 0.9]
        assert [*tested["update"]] == [1, 2]
        np.testing.assert_allclose(row[2], first[0] if len(first) else np.nan)
        np.testing.assert_allclose(row[3:], [error[-1], error.min(), run.final("rate")], atol=1e-9)
    counted = seeds.groupby("arm")["below 10 % at update"].count()
    assert column(folder, "seeds below 10 %") == counted.to_dict()
    ends = seeds.groupby("arm")["error at end (%)"].mean()
    assert column(folder, "error at end (%)") == pytest.approx(ends.to_dict(), rel=1e-12)
    trial = results["e-prop, random"][0].recordings
    for kind in ("LIF", "ALIF"):
        assert trial[f"{kind}.spikes"].shape == (320, 10, 10) and 0.001 < float(trial[f"{kind}.spikes"].mean()) < 0.2
    assert set(trial["side"].values.ravel()) == {0, 1} and trial["epoch_cue"].values[0].tolist() == [[50.0, 150.0]]
    losses = {label: run.metrics["loss"].to_numpy() for label, (run,) in results.items()}
    assert len({loss[0] for loss in losses.values()}) == 2  # every rule begins with the same, in either circuit
    weights = {
        label: torch.cat([w.flatten() for w in run.network.weights.values()]) for label, (run,) in results.items()
    }
    assert len({float(each.abs().sum()) for each in weights.values()}) == 6  # and yet they learn otherwise
    sparse = results["sparse MDGL"][0]
    fired = sparse.recordings
    assert all(0.001 < float(fired[f"{kind}.spikes"].mean()) < 0.2 for kind in "EI")
    assert (sparse.network.matrix("W_EI") <= 0).all() and int((sparse.network.matrix("W_EE") > 0).sum()) <= 16 * 3


@pytest.mark.slow
def test_balanced_network_is_sane(reduced):
    """Inhibition makes it irregular; synapses move where they learn and keep their signs; the map is of what it says."""
    experiment, results, folder = reduced("balanced_network")
    AI = "AI, readout alone"
    cv, rate = column(folder, "CV"), column(folder, "rate (Hz)")
    assert cv["SR"] < 0.2 and min(cv[AI], cv["SI fast"]) > 0.5
    assert rate["SR"] > 5 * rate[AI] > 25 and rate[AI] != rate["AI, e-prop"]
    theory = column(folder, "theory (Hz)")
    assert (
        rate["SR"] == pytest.approx(theory["SR"], rel=0.05)
        and theory[AI] > theory["SI slow"]
        and math.isnan(theory["AI, e-prop"])
    )
    first, last = column(folder, "loss at first"), column(folder, "loss, last 5")
    assert math.isnan(first["SR"]) and first["AI, e-prop"] == first[AI]
    assert last["AI, e-prop"] < first["AI, e-prop"] and last[AI] < first[AI]
    moved, still = (results[name][0].network.weights for name in ("AI, e-prop", AI))
    before = experiment.arms["AI, e-prop"].circuit.build(0).weights
    assert torch.equal(moved["W_II"], before["W_II"])
    for name in ("W_EE", "W_EI", "W_in"):
        assert not torch.equal(moved[name], before[name]) and torch.equal(still[name], before[name])
    assert bool((moved["W_EE"] >= 0).all()) and bool((moved["W_EI"] <= 0).all())
    drawn = np.load(folder / "figures" / "map.npz")
    assert drawn["rate"].shape == (2, 2) and (drawn["rate"][:, 0] > 3 * drawn["rate"][:, 1]).all()
    assert drawn["rate"][1, 1] > drawn["rate"][0, 1] > 0


def test_exact_bptt_explodes_in_the_published_spiking_circuit():
    """Why `pattern_generation` gives BPTT a lower surrogate derivative than e-prop."""
    experiment, config = make("pattern_generation", {})

    def norm(circuit, rule):
        network = circuit.build(seed=0, dtype=torch.float64)
        task = experiment.arms["BPTT"].task
        batch = task.batch(bp.stream(0, "task"), 1)
        gradients = bp.gradient(network, rule, batch, task.loss)
        return float(torch.cat([gradients[name].flatten() for name in ("W_in", "W_rec")]).norm())

    published, damped = (experiment.arms[label].circuit for label in ("e-prop, random", "BPTT"))
    eprop, bptt = bp.rule("eprop"), bp.rule("bptt")
    assert norm(published, eprop) > 10
    assert norm(published, bptt) > 1e6 * norm(published, eprop)
    assert norm(damped, bptt) < 3 * norm(damped, eprop)


def test_copy_repeat_is_sane(reduced):
    """Trials grow along the published lengths as they are solved, and truncation tells."""
    _, results, folder = reduced("copy_repeat")
    lengths = CopyRepeat().curriculum(6)
    largest, first = {}, {}
    for label, (run,) in results.items():
        steps, solved = run.metrics["steps"], run.metrics["solved"] > 0
        assert list(steps.unique()) == lengths[: 1 + solved[:-1].sum()], label
        assert (run.metrics["score"][solved] < 0.15).all() and (run.metrics["score"][~solved] >= 0.15).all()
        largest[label], first[label] = steps[solved].max(), run.metrics["update"][solved].min()
    assert largest["BPTT"] == max(largest.values()) >= 7, largest
    assert first["BPTT"] == min(first.values()) < first["TBPTT n=2"], first
    table = pd.read_csv(folder / "table.csv").set_index("arm")
    assert table.loc["BPTT", "largest T solved"] == largest["BPTT"]


def test_sequential_mnist_is_sane(reduced):
    """The arms differ in what they learn from, not in what they begin with; n = 1 … 5 are five different truncations."""
    experiment, results, _ = reduced("sequential_mnist")
    assert len({run.metrics["loss"][0] for runs in results.values() for run in runs}) == 1
    ends = [run.metrics["loss"].iloc[-1] for runs in results.values() for run in runs]
    assert len(set(ends)) == len(experiment.arms) == 14


@pytest.mark.parametrize(
    ("name", "label", "after"),
    [("copy_repeat", "DNI n=5", 60), ("sequential_digits", "BP(λ=1)", 4), ("sequential_mnist", "BP(λ=1)", 3)],
)
def test_what_was_interrupted_ends_at_the_same_numbers(name, label, after, tmp_path):
    arm = make(name, REDUCED[name])[0].arms[label]
    count = iter(range(1, 10**6))
    execute(arm, 0, tmp_path / "whole", label=label)
    with pytest.raises(KeyboardInterrupt):
        execute(arm, 0, tmp_path / "parts", label=label, stop=lambda: next(count) >= after)
    assert len(Run.load(tmp_path / "parts", arm.circuit).metrics) == after
    execute(arm, 0, tmp_path / "parts", label=label)
    whole, parts = (Run.load(tmp_path / folder, arm.circuit) for folder in ("whole", "parts"))
    pd.testing.assert_frame_equal(whole.metrics.drop(columns="seconds"), parts.metrics.drop(columns="seconds"))
    assert parts.record["timing"]["sittings"] == 2
    for weight, value in whole.weights.items():
        assert torch.equal(value, parts.weights[weight]), weight
    if name == "copy_repeat":  # both before and after the interruption the curriculum went on
        solved = whole.metrics["solved"].to_numpy()
        assert solved[:after].any() and solved[after:].any()


def test_what_is_asked_is_known_for_the_exact_trace_only():
    experiment, _ = make("released_code", REDUCED["released_code"])
    arm = experiment.arms["fixed λ=1"]
    network, batch = arm.circuit.build(0), arm.task.batch(bp.stream(0, "task"), 3)
    assert asked(network, arm.rule.signal, batch, arm.task.loss).shape == (9, 3, 60)
    local: Any = bp.rule("bp_lambda", trace="local").signal
    with pytest.raises(RuleError, match="trace='exact'"):
        asked(network, local, batch, arm.task.loss)


ONLY = {
    "copy_repeat": ["BPTT"],
    "fixed_network_alignment": ["published BP(λ=0)", "published BP(λ=1)"],
    "horizon": ["BPTT T=2", "BPTT T=6"],
    "sequential_mnist": ["BP(λ=1)", "BPTT"],
    "trace_cost": ["exact", "local"],
}


@pytest.mark.parametrize("name", ONLY)
def test_some_arms_alone_leave_a_table_and_a_figure(name, tmp_path):
    """What is left out is missing in table and figures, and no trouble."""
    experiment, config = make(name, REDUCED[name])
    run_experiment(experiment, name, root=tmp_path, only=ONLY[name], config=config)
    table = pd.read_csv(tmp_path / name / "table.csv")
    assert len(table) == (1 if name == "horizon" else len(ONLY[name]))
    assert list((tmp_path / name / "figures").glob("*.png"))


def test_windows_other_than_the_published_ones_are_drawn(tmp_path):
    experiment, config = make("sequential_mnist", REDUCED["sequential_mnist"] | {"windows": (2, 12), "lambdas": (1.0,)})
    run_experiment(experiment, "sequential_mnist", root=tmp_path, config=config)
    assert (tmp_path / "sequential_mnist" / "figures" / "windows.png").exists()


def test_time_of_an_update_is_the_fastest_after_the_first(monkeypatch):
    """Two arms in turn: the clock says what each update took; that of the first round does not count."""
    experiment, _ = make("sequential_mnist", REDUCED["sequential_mnist"])
    took = {"BPTT": [0.1, 5.0, 3.0, 4.0], "e-prop": [0.2, 2.0, 9.0, 7.0]}
    clock = [0.0]
    for each in zip(*took.values(), strict=True):
        for seconds in each:
            clock += [clock[-1] + seconds, clock[-1] + seconds]
    times = iter(clock)
    monkeypatch.setattr("bioplaus.measure.time.time.process_time", lambda: next(times))
    assert cpu_seconds({name: experiment.arms[name] for name in took}, rounds=3) == pytest.approx(
        {"BPTT": 3, "e-prop": 2}
    )


def test_late_is_the_median_of_the_last_measurements(reduced):
    _, results, _ = reduced("target_reaching")
    values = results.curves("test_loss")["BPTT"][1]
    assert values.shape == (2, 3)
    assert results.late("test_loss")["BPTT"].tolist() == values[:, -1].tolist()
    assert results.late("test_loss", share=1.0)["BPTT"].tolist() == np.median(values, 1).tolist()


@pytest.mark.slow
def test_what_time_step_compares(reduced):
    """Spikes that are the same as Brian2's, none that moved at the finest step, and as much charge where weights grow."""
    _, results, folder = reduced("time_step")
    seeds: Any = pd.read_csv(folder / "seeds.csv")
    first = seeds[seeds["seed"] == 0]
    compared = first[first["step (ms)"] >= 0.5]
    assert (compared["other than Brian2's"] == 0).all() and (compared["rate (Hz)"] > 0).sum() >= 6
    finest = seeds[(seeds["step (ms)"] == 0.25) & (seeds["rate (Hz)"] > 0)]
    assert len(finest) >= 6 and (finest["moved (ms)"] == 0).all() and (finest["without partner (%)"] == 0).all()
    coarse = seeds[(seeds["step (ms)"] == 1) & (seeds["arm"] == "delta_lif")]
    assert (coarse["moved (ms)"] > 0.05).all(), "a step of 1 ms tells no spike better"
    lif = seeds[seeds["arm"] == "lif"].groupby(["weights", "step (ms)"])["rate (Hz)"].mean()
    assert lif["as they are", 0.25] < 0.5 * lif["times 1 ms / step", 0.25]


@pytest.mark.slow
def test_what_twin_compares(reduced):
    """Every spiking arm fires, and what the table calls equal is that of the recordings."""
    _, results, folder = reduced("twin")
    seeds: Any = pd.read_csv(folder / "seeds.csv").set_index("arm")
    spiking = seeds.drop("rates")
    assert (spiking["spikes"] > 0).all() and (spiking["other than Brian2's"] == 0).all()
    assert (spiking["voltages off by"].between(1e-18, 1e-9)).all() and (
        seeds.loc["rates", "rates off by"] < 1e-12
    ).all()
    made, run = content.load("experiment", "twin"), results["LIF"][0]
    here = bp.simulate(run.network, run.recordings.input.values, ("v", "spikes"))
    there = here.copy(deep=True)
    there["spikes"][5, 0, 3] = 1 - there["spikes"][5, 0, 3]
    wrong = made.seeds(lambda run: (here, there), {"LIF": [run]})
    assert wrong["other than Brian2's"].tolist() == [1] and wrong["spikes"].tolist() == [int(here["spikes"].sum())]
