"""Rules along one trajectory: every number against a computation of its own, and that measuring moves nothing."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from rule_helpers import paragraph
from torch import Tensor

import bioplaus as bp
from bioplaus import Trainer, Training, ms
from bioplaus.check import by_hand
from bioplaus.circuit import Circuit
from bioplaus.eligibility import History
from bioplaus.errors import NumericalError, RuleError, RunError
from bioplaus.learning.sequence import sequence
from bioplaus.measure.along import Along, clone
from bioplaus.measure.reach import Reach, last_asked, spread
from bioplaus.own import tensors
from bioplaus.rules import TABLE
from bioplaus.signal import Instant
from bioplaus.tasks import Batch, Task, squared

READOUT = ("W_out", "b_out")


class Plain(Task):
    """Regression on noise, asked for at some steps."""

    inputs, outputs, steps, loss = 4, 2, 12, squared

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> Batch:
        x = torch.rand(self.steps, size, 4, generator=generator)
        weight = (torch.rand(self.steps, size, generator=generator) < 0.6).float()
        weight[0] = 1.0
        return Batch(x, torch.randn(self.steps, size, 2, generator=generator), weight)


class Early(Plain):
    """The same; nothing is asked in the last three steps."""

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> Batch:
        plain = super().batch(generator, size, split)
        plain.weight[-3:] = 0.0
        plain.weight[-4, 0] = 0.5
        return plain


def small(model: str = "leaky_rate", **options: Any) -> Circuit:
    spiking = bp.model(model).spiking
    given: dict[str, Any] = {"tau_out": 5 * ms if spiking else None, "input_gain": 15.0 if spiking else 1.0} | options
    return bp.circuit("recurrent", cell=bp.model(model), inputs=4, units=6, outputs=2, **given)


def training(**options: Any) -> Training:
    return Training(**({"batch": 3, "dtype": "float64", "lr": 1e-2} | options))


def rules(*names: str) -> dict[str, bp.Rule]:
    return {name: bp.rule(name) for name in names}


def stood(updates: int, rule: str = "bptt", **options: Any) -> tuple[Trainer, Batch]:
    """A trainer by itself after so many updates, and the batch of its next."""
    trainer = Trainer(small(), Plain(), bp.rule(rule), training(**options), 0)
    for _ in range(updates):
        trainer.update()
    return trainer, Plain().batch(clone(trainer.generator), 3).to(dtype=torch.float64)


def flat(gradients: dict[str, Tensor], weights: dict[str, Tensor], name: str) -> np.ndarray:
    """One weight's gradient, or that of all the circuit's, in one row."""
    names = [n for n in weights if n not in READOUT] if name == "all" else [name]
    parts = [gradients[n] if n in gradients else torch.zeros_like(weights[n]) for n in names]
    return np.concatenate([p.numpy().ravel() for p in parts])


# -- what is compared -----------------------------------------------------------------------------------------------------


def test_many_rules_along_one_trajectory():
    rules = [bp.rule(n) for n in ("bptt", "eprop", "rtrl", "bp_lambda")] + [bp.rule("eprop", feedback="random")]
    found = bp.align(small("alif"), Plain(), rules, updates=6, training=Training(batch=2, dtype="float64"), every=2)
    assert found.sizes == {"rule": 5, "other": 5, "weight": 5, "update": 3}
    assert list(found["rule"].values) == ["bptt", "eprop#1", "rtrl", "bp_lambda", "eprop#4"]
    assert list(found["weight"].values) == ["W_in", "W_rec", "W_out", "b_out", "all"]
    assert found["update"].values.tolist() == [1, 3, 5] and found.attrs == {"driver": "bptt", "reference": "bptt"}
    for exact in ("bptt", "rtrl"):
        assert float(found["relative_error"].sel(rule=exact).max()) < 1e-10
        assert float(abs(found["cosine"].sel(rule=exact) - 1).max()) < 1e-10
    assert float(found["relative_error"].sel(rule="eprop#1", weight="W_rec").min()) > 1e-4
    assert float(found["relative_error"].sel(weight="W_out").max()) < 1e-10, "the readout learns the same with all"


@pytest.mark.parametrize("updates", (0, 3))
def test_every_measure_is_that_of_two_gradients(updates):
    """Against `bp.gradient` where the driver stands, by numpy, for every weight and for all of the circuit's together."""
    given = rules("bptt", "eprop", "tbptt", "hops", "rtrl") | {"random": bp.rule("eprop", feedback="random")}
    found = bp.align(small(), Plain(), given, updates + 1, training()).isel(update=updates)
    trainer, batch = stood(updates)
    weights = trainer.network.parameters()
    gradients = {n: bp.gradient(trainer.network, r, batch, squared, seed=0) for n, r in given.items()}
    seen = set()
    for name in found["weight"].values:
        rows = {n: flat(g, weights, name) for n, g in gradients.items()}
        true = rows["bptt"]
        for n, row in rows.items():
            one = found.sel(rule=n, weight=name)
            expected = {
                "cosine": row @ true / np.linalg.norm(row) / np.linalg.norm(true),
                "norm_ratio": np.linalg.norm(row) / np.linalg.norm(true),
                "relative_error": abs(row - true).max() / abs(true).max(),
                "bias": np.linalg.norm(row - true) / np.linalg.norm(true),
                "bias_squared": np.sum((row - true) ** 2) / np.sum(true**2),
                "deviation": 0.0,
            }
            for kind, value in expected.items():
                assert float(one[kind]) == pytest.approx(value, rel=1e-9, abs=1e-12), (n, name, kind)
            for o, other in rows.items():
                value = row @ other / np.linalg.norm(row) / np.linalg.norm(other)
                assert float(one["pairwise"].sel(other=o)) == pytest.approx(value, rel=1e-9, abs=1e-12), (n, o, name)
                seen.add(round(float(value), 6))
    assert (found["pairwise"].values[range(6), range(6)] == 1).all() and (found["cosine"].sel(rule="bptt") == 1).all()
    assert len(seen) > 30, "the gradients must differ, or the test is empty"
    assert float(found["loss"]) == pytest.approx(trainer.update()["loss"], rel=1e-12)


def test_bptt_is_there_once():
    found = bp.align(small(), Plain(), rules("eprop", "rtrl"), 1, training())
    assert list(found["rule"].values) == list(found["other"].values) == ["eprop", "rtrl", "bptt"]
    assert found.attrs == {"driver": "eprop", "reference": "bptt"}
    assert float(found["pairwise"].sel(rule="bptt", other="rtrl", weight="all").squeeze()) == pytest.approx(
        1.0, abs=1e-12
    )
    for given in ([bp.rule("eprop"), bp.rule("bptt")], {"eprop": bp.rule("eprop"), "backprop": bp.rule("bptt")}):
        found = bp.align(small(), Plain(), given, 1, training())
        assert found.sizes["rule"] == 2 and found.attrs["reference"] == list(found["rule"].values)[1]
    assert bp.align(small(), Plain(), bp.rule("eprop"), 1, training()).sizes["rule"] == 2


def test_what_would_be_divided_by_zero_is_unknown():
    """A readout that is silent gives BPTT no credit, and random feedback some: NaN, not an infinity."""
    along = Along(small(), Plain(), rules("bptt") | {"random": bp.rule("eprop", feedback="random")}, training())
    along.driver.network.weights["W_out"].zero_()
    along.update(measured=True)
    found = along.dataset().sel(weight="all").isel(update=0)
    for kind in ("cosine", "norm_ratio", "relative_error", "bias", "bias_squared", "deviation"):
        assert bool(found[kind].isnull().all()), kind
    assert found["pairwise"].sel(rule="random", other="random") == pytest.approx(1)
    assert int(found["pairwise"].isnull().sum()) == 3


# -- random rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ("uoro", "kf_rtrl", "r_kf_rtrl", "three_factor", "kernl"))
@pytest.mark.parametrize("updates", (0, 2))
def test_bias_and_deviation_are_those_of_the_draws(name, updates):
    """By numpy, over the gradients that the same named generators give."""
    n = 5
    found = bp.align(small(), Plain(), rules("bptt", name), updates + 1, training(), seed=0, draws=n).isel(
        update=updates
    )
    trainer, batch = stood(updates)
    weights = trainer.network.parameters()
    along = Along(small(), Plain(), rules("bptt", name), training(), 0)
    for _ in range(updates):
        along.update()
    own = along._riders[name].own
    draws = [
        sequence(
            trainer.network, bp.rule(name), own, batch, squared, generator=bp.stream(0, f"draw {d} of update {updates}")
        ).gradients
        for d in range(n)
    ]
    true = bp.gradient(trainer.network, bp.rule("bptt"), batch, squared)
    for weight in ("W_rec", "b", "all"):
        b = flat(true, weights, weight)
        rows = np.stack([flat(g, weights, weight) for g in draws])
        variance = rows.var(axis=0, ddof=1).sum()
        squared_bias = (np.sum((rows.mean(0) - b) ** 2) - variance / n) / np.sum(b**2)
        one = found.sel(rule=name, weight=weight)
        assert float(one["deviation"]) == pytest.approx(np.sqrt(variance / np.sum(b**2)), rel=1e-9, abs=1e-12)
        assert float(one["bias_squared"]) == pytest.approx(squared_bias, rel=1e-9)
        assert float(one["bias"]) == pytest.approx(np.sqrt(max(0.0, squared_bias)), rel=1e-9)
        assert (float(one["deviation"]) > 0.05) == (name != "kernl"), (
            "a kernel is random while it is learned, not where it is used"
        )
    assert float(found["deviation"].sel(rule="bptt", weight="all")) == 0.0


def test_no_draws_leave_bias_and_deviation_of_random_rules_unknown():
    found = bp.align(small(), Plain(), rules("bptt", "uoro", "eprop"), 2, training()).sel(weight="all")
    for kind in ("bias", "bias_squared", "deviation"):
        assert bool(found[kind].sel(rule="uoro").isnull().all()) and not bool(
            found[kind].sel(rule="eprop").isnull().any()
        )
    assert not bool(found["cosine"].isnull().any())


@pytest.mark.slow
def test_sampling_noise_is_taken_off_the_bias():
    """An unbiased rule has none on average, though n draws miss the truth by s²/n; a biased one keeps its own."""
    given = rules("bptt", "uoro", "kf_rtrl", "three_factor", "eprop")
    found = bp.align(small(), Plain(), given, 60, training(lr=0.0, batch=4), draws=4).sel(weight="all")
    squares = found["bias_squared"]
    left, error = squares.mean("update"), squares.std("update", ddof=1) / 60**0.5
    noise = (found["deviation"] ** 2).mean("update") / 4
    eprop = float(left.sel(rule="eprop"))
    assert eprop > 0.05
    for name, truth in (
        ("uoro", 0.0),
        ("kf_rtrl", 0.0),
        ("three_factor", eprop),
    ):  # three-factor: e-prop's past half, an unbiased future
        of_rule = {"rule": name}
        assert abs(float(left.sel(of_rule)) - truth) < 3 * float(error.sel(of_rule)), name
        if not truth:
            assert float((left + noise).sel(of_rule)) > 4 * float(error.sel(of_rule)), (
                "left in, the noise would be seen"
            )
    assert float(squares.sel(rule="uoro").min()) < 0 == float(found["bias"].sel(rule="uoro").min())


# -- measuring moves nothing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "driver",
    ("bptt", "bp_lambda", "adaptive", *(pytest.param(d, marks=pytest.mark.slow) for d in ("uoro", "kernl", "window"))),
)
def test_the_driver_goes_its_own_way(driver):
    """Bit for bit that of a trainer alone: whatever rides along, however often is measured and drawn."""
    rule = (
        bp.rule("eprop", feedback="adaptive")
        if driver == "adaptive"
        else bp.rule("dni" if driver == "window" else driver)
    )
    options = training(apply="window" if driver == "window" else "sequence")
    alone = Trainer(small(), Plain(), rule, options, seed=3)
    losses = [alone.update()["loss"] for _ in range(5)]
    riders = {"a": bp.rule("uoro"), "b": bp.rule("bp_lambda"), "c": bp.rule("kernl"), "d": bp.rule("rtrl")}
    for others, every, draws in (({}, 1, 0), (riders, 1, 0), (riders, 2, 3), ({"c": bp.rule("kernl")}, 4, 2)):
        along = Along(
            small(), Plain(), {driver: rule} | others if driver != "bptt" else rules("bptt") | others, options, 3
        )
        assert [row["loss"] for row in along.go(5, every, draws)] == losses
        for name, weight in alone.network.weights.items():
            assert torch.equal(weight, along.driver.network.weights[name]), (name, every, draws)
        for name, value in tensors(alone.own).items():
            assert torch.equal(value, tensors(along.driver.own)[name]), name


def test_what_is_measured_depends_on_nothing_else_that_is():
    given = rules("eprop", "uoro", "kernl", "bp_lambda")
    whole = bp.align(small(), Plain(), given, 6, training(), draws=3)
    some = bp.align(small(), Plain(), given, 6, training(), every=3, draws=3)
    few = bp.align(small(), Plain(), rules("eprop", "bp_lambda", "kernl"), 6, training())
    for kind in ("cosine", "norm_ratio", "relative_error", "deviation", "bias", "pairwise"):
        np.testing.assert_array_equal(whole[kind].sel(update=[1, 4]), some[kind])
    for kind in ("cosine", "norm_ratio"):
        for name in ("eprop", "bp_lambda", "kernl"):
            np.testing.assert_allclose(whole[kind].sel(rule=name), few[kind].sel(rule=name), rtol=1e-12)
    assert len({round(float(v), 9) for v in whole["cosine"].sel(rule="uoro", weight="all")}) == 6, (
        "new signs at every update"
    )


@pytest.mark.parametrize("strength", (0.0, 20.0))
@pytest.mark.parametrize("name", ("uoro", "eprop"))
def test_the_measured_gradient_is_the_one_that_drives(name, strength):
    """Also of a rule that draws, and with a regulariser: plain gradient descent moves the weights by what was compared."""
    if name == "uoro" and strength:
        return  # it cannot wait for the mean over the sequence
    options = training(optimiser="sgd", lr=0.1, rate_strength=strength, rate_target=0.5)
    along = Along(small(), Plain(), {name: bp.rule(name)}, options, 1)
    network = along.driver.network
    before = {n: w.clone() for n, w in network.weights.items()}
    true = by_hand.gradient(network, along.batch(), squared, along.driver.regulariser)[1]
    along.update(measured=True)
    moved = {n: (before[n] - w) / 0.1 for n, w in network.weights.items()}
    a, b = (flat(g, network.parameters(), "all") for g in (moved, true))
    found = along.dataset().sel(rule=name, weight="all").isel(update=0)
    assert float(found["norm_ratio"]) == pytest.approx(np.linalg.norm(a) / np.linalg.norm(b), rel=1e-6)
    assert float(found["cosine"]) == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-6)


class Same(Plain):
    """One batch for ever."""

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> Batch:
        return super().batch(bp.stream(0, "same"), size, split)


def test_random_riders_draw_anew_at_every_update_and_each_for_itself():
    given = rules("bptt", "eprop", "uoro", "kf_rtrl") | {"another": bp.rule("uoro")}
    found = bp.align(small(), Same(), given, 5, training(lr=0.0)).sel(weight="all")
    number = {name: len({round(float(v), 9) for v in found["cosine"].sel(rule=name)}) for name in given}
    assert number == {"bptt": 1, "eprop": 1, "uoro": 5, "kf_rtrl": 5, "another": 5}
    assert (abs(found["cosine"].sel(rule="uoro") - found["cosine"].sel(rule="another")) > 1e-6).all()


@pytest.mark.parametrize("name", ("bp_lambda", "dni", "kernl"))
def test_riders_learn_their_own_tensors(name):
    """Where the circuit stands still, a rider's predictor becomes what a trainer of its own would have made it."""
    options = training(lr=0.0, predictor_lr=0.02)
    alone = Trainer(small(), Plain(), bp.rule(name), options, 0)
    along = Along(small(), Plain(), rules("bptt", name), options, 0)
    first = {n: v.clone() for n, v in tensors(along._riders[name].own).items()}
    if name == "kernl":  # its kicks are its own
        for _ in along.go(4, every=3):
            pass
    else:
        for _ in along.go(4, every=3):
            alone.update()
        for n, v in tensors(alone.own).items():
            torch.testing.assert_close(tensors(along._riders[name].own)[n], v, rtol=1e-12, atol=0)
    assert any(not torch.equal(v, first[n]) for n, v in tensors(along._riders[name].own).items())


def test_a_rider_that_breaks_down_is_named():
    with pytest.raises(NumericalError) as error:
        bp.align(
            small(), Plain(), rules("bptt", "bp_lambda"), 20, training(lr=0.0, predictor_lr=1e200, optimiser="sgd")
        )
    said = paragraph(error)
    assert (
        "'bp_lambda', which rides along" in said and "TD error at step 11 is" in said and "Lower predictor_lr" in said
    )


# -- putting back ---------------------------------------------------------------------------------------------------------


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("at", (1, 3))
def test_what_is_put_back_goes_on_bit_for_bit(at):
    """Driver, predictors, kernels, optimisers' momenta, and what was measured; then the credit, from between two lags."""
    given = rules("bptt", "uoro", "bp_lambda", "dni", "kernl")
    options = training(optimiser="adam", predictor_lr=0.02)
    make = lambda: Along(small(), Asked(), given, options, 3)  # noqa: E731
    straight, first, second = make(), make(), make()
    for _ in straight.go(5, every=2, draws=2):
        pass
    for u in range(at):
        first.update(measured=u % 2 == 0, draws=2)
    second.load_state_dict(through_a_file(first.state_dict()))
    for u in range(at, 5):
        second.update(measured=u % 2 == 0, draws=2)
    xr.testing.assert_identical(straight.dataset(), second.dataset())
    whole, half, rest = (Reach(along, [0, 2, 5, 9], 3) for along in (straight, second, second))
    for _ in whole.lags:
        whole.measure()
    assert [half.measure(), half.measure()] == half.measured == [0, 2]
    rest.load_state_dict(through_a_file(half.state_dict()))
    assert [rest.measure(), rest.measure()] == [5, 9]
    xr.testing.assert_identical(whole.dataset(), rest.dataset())


def test_what_was_saved_of_others_is_refused():
    along = Along(small(), Asked(), rules("bptt", "eprop"), training())
    with pytest.raises(RunError, match="bptt, eprop, this one of bptt, rtrl"):
        Along(small(), Asked(), rules("bptt", "rtrl"), training()).load_state_dict(along.state_dict())
    with pytest.raises(RunError, match="the same lags"):
        Reach(along, [1]).load_state_dict(Reach(along, [2]).state_dict())


def test_all_ride_along_the_driver_s_curriculum():
    """Every batch solves its stage here; what is measured next is of the next stage, as the driver learns it."""
    along = Along(small(), Stage(), rules("bptt", "eprop"), training(curriculum=True))
    assert along.batch().steps == 12
    along.update(measured=True)
    assert along.batch().steps == 13
    along.update(measured=True)
    assert float(along.dataset()["norm_ratio"].sel(rule="bptt", weight="all").min()) == 1
    assert Reach(along).last == 13


class Stage(Plain):
    """Longer by a step at every stage."""

    solved = float("inf")

    def __init__(self, steps: int = 12) -> None:
        self.steps = steps

    def harder(self) -> Task:
        return Stage(self.steps + 1)

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> Batch:
        plain = super().batch(generator, size, split)
        plain.weight[-1] = 1.0
        return plain


def test_a_lag_before_the_first_step_has_no_credit():
    reach = Reach(Along(small(), Early(), rules("bptt", "eprop"), training()), [0, 8, 9])
    for _ in reach.lags:
        reach.measure()
    found = reach.dataset()
    assert found["norm"].isnull().values.tolist() == [False, False, True]
    assert found["cosine"].isnull().sel(lag=9).all() and found["norm_ratio"].sel(lag=0, rule="eprop") > 0


# -- what makes no sense ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"rules": []}, RuleError, "no rule"),
        ({"rules": {}}, RuleError, "no rule"),
        ({"rules": ["bptt", 3]}, RuleError, "bp.rule"),
        ({"rules": {"bptt": "x"}}, RuleError, "no rule 'x'"),
        ({"rules": {"bptt": bp.rule("eprop")}}, RuleError, "another name"),
        ({"updates": 0}, RunError, "updates is 0"),
        ({"every": 0}, RunError, "every"),
        ({"draws": 1}, RunError, "how far draws scatter"),
        ({"draws": -2}, RunError, "draws is -2"),
        ({"circuit": small("lstm"), "rules": rules("bptt", "rflo")}, RuleError, "'rflo' cannot serve"),
    ],
)
def test_nonsense_is_refused(changes, error, words):
    given: dict[str, Any] = {
        "circuit": small(),
        "task": Plain(),
        "rules": rules("bptt"),
        "training": training(),
    } | changes
    given = {"updates": 1} | given
    with pytest.raises(error) as raised:
        bp.align(**given)
    assert words in paragraph(raised), str(raised.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lags": [12]}, "from 0 to 11"),
        ({"lags": [-1]}, "from 0 to 11"),
        ({"lags": [1, 1]}, "different"),
        ({"lags": []}, "several different steps"),
        ({"lags": [0.5]}, "whole number"),
        ({"after": -1}, "after"),
        ({"draws": 0}, "draws is 0"),
    ],
)
def test_nonsense_lags_are_refused(changes, words):
    with pytest.raises(RunError) as raised:
        bp.credit_by_lag(small(), Asked(), rules("bptt"), training=training(), **changes)
    assert words in paragraph(raised), str(raised.value)


class Asked(Plain):
    """The last step is always asked for."""

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> Batch:
        plain = super().batch(generator, size, split)
        plain.weight[-1] = 2.0
        return plain


# -- credit by lag --------------------------------------------------------------------------------------------------------


def by_step(network: Any, batch: Batch, last: int, stop: bool = False) -> list[dict[str, Tensor]]:
    """∂L_last/∂W(t) for every step t by autograd, the weights of each step tensors of their own; outputs between neurons cut if asked."""
    circuit = network.circuit
    (population,) = circuit.populations.values()
    names = [n for n in network.weights if n not in READOUT]
    copies = [{n: network.weights[n].clone().requires_grad_() for n in names} for _ in range(last + 1)]
    B = batch.inputs.shape[1]
    cells = by_hand.Neurons(population.cell, circuit.dt, (B, population.size))
    sent, seen = torch.zeros(B, population.size, dtype=torch.float64), torch.zeros(())
    for t, W in enumerate(copies):
        currents = dict.fromkeys(population.cell.inputs, torch.zeros(B, population.size, dtype=torch.float64))
        for p in circuit.projections:
            assert p.channels is not None and p.delay in (None, 0, 1)
            arriving = batch.inputs[t] if p.source == "input" else sent.detach() if stop else sent
            for k, block in zip(p.channels, W[p.name].chunk(len(p.channels)), strict=True):
                currents[k] = currents[k] + arriving @ block.T
        if "b" in W:
            currents = {k: I + b for (k, I), b in zip(currents.items(), W["b"].chunk(len(currents)), strict=True)}
        sent = by_hand.CELLS[population.cell.name](cells, *currents.values())
        cells.y, cells.t = sent, cells.t + 1
        seen = circuit.kappa * seen + (1 - circuit.kappa) * sent
    o = seen @ network.weights["W_out"].T
    o = o + network.weights["b_out"] if "b_out" in network.weights else o
    loss = (squared.value(o[None], batch.targets[last : last + 1]) * batch.weight[last]).sum() / B
    found = torch.autograd.grad(loss, [w for W in copies for w in W.values()], allow_unused=True, retain_graph=True)
    gradients = iter(found)
    out = []
    for W in copies:
        row = {n: next(gradients) for n in W}
        out.append({n: torch.zeros_like(W[n]) if g is None else g * network.masks.get(n, 1) for n, g in row.items()})
    return out


@pytest.mark.parametrize("model", ("leaky_rate", "elman", "lstm", "gru", "alif"))
@pytest.mark.parametrize("task", (Asked(), Early()), ids=("asked", "early"))
def test_credit_of_one_step_is_autograd_with_a_copy_of_the_weights_for_every_step(model, task):
    circuit = small(model)
    along = Along(circuit, task, rules("bptt", "eprop"), training(), 2)
    for _ in range(2):
        along.update()
    reach = Reach(along)
    batch, network = along.batch(), along.driver.network
    last = last_asked(batch)
    assert last == reach.last == (11 if isinstance(task, Asked) else 8) and reach.lags == list(range(last + 1))
    true, cut = by_step(network, batch, last), by_step(network, batch, last, stop=True)
    found = bp.credit_by_lag(circuit, task, rules("bptt", "eprop"), None, training(), seed=2, after=2)
    differs = 0
    for lag in reach.lags:
        weight, uses = torch.zeros_like(batch.weight), torch.zeros(batch.steps)
        weight[last], uses[last - lag] = batch.weight[last], 1.0
        only = replace(batch, weight=weight)
        ours = sequence(network, bp.rule("bptt"), {}, only, squared, uses=uses).gradients
        for name, g in true[last - lag].items():
            torch.testing.assert_close(ours[name], g, rtol=1e-9, atol=1e-13)
        b, e = (flat(rows[last - lag], rows[last - lag], "all") for rows in (true, cut))
        assert float(found["norm"].sel(lag=lag)) == pytest.approx(np.linalg.norm(b), rel=1e-9)
        one = found.sel(rule="eprop", lag=lag)
        if not b.any():  # the spikes of a silent stretch
            assert np.isnan(float(one["norm_ratio"]))
            continue
        assert float(one["norm_ratio"]) == pytest.approx(np.linalg.norm(e) / np.linalg.norm(b), rel=1e-9, abs=1e-12)
        if e.any():
            cosine = e @ b / np.linalg.norm(e) / np.linalg.norm(b)
            assert float(one["cosine"]) == pytest.approx(cosine, rel=1e-9, abs=1e-12)
        else:
            assert np.isnan(float(one["cosine"]))
        differs += np.linalg.norm(e - b) > 1e-3 * np.linalg.norm(b)
    assert differs, "e-prop must lose some credit here, or the test is empty"
    assert found.attrs == {"driver": "bptt", "last_step": last, "after": 2, "draws": 16}


@pytest.mark.parametrize("model", ("leaky_rate", "lstm", "alif"))
def test_what_each_rule_can_reach(model):
    given = rules("rtrl", "eprop", "bptt") | {
        "tbptt": bp.rule("tbptt", steps=5),
        "sliding": bp.rule("sliding_bptt", steps=4),
        "all of it": bp.rule("sliding_bptt", steps=12),
    }
    found = bp.credit_by_lag(small(model), Asked(), given, training=training())
    for exact in ("rtrl", "bptt", "all of it"):
        np.testing.assert_allclose(found["cosine"].sel(rule=exact), 1.0, atol=1e-10)
        np.testing.assert_allclose(found["norm_ratio"].sel(rule=exact), 1.0, atol=1e-10)
    now = found.sel(rule="eprop", lag=0)
    assert float(now["cosine"]) == pytest.approx(1, abs=1e-10) and float(now["norm_ratio"]) == pytest.approx(
        1, abs=1e-10
    )
    # 12 steps in windows of 5: the first has two, the last is whole.
    for name, window in (("tbptt", 5), ("sliding", 4)):
        ratio, cosine = found["norm_ratio"].sel(rule=name).values, found["cosine"].sel(rule=name).values
        np.testing.assert_allclose(ratio[:window], 1.0, atol=1e-10)
        assert (ratio[window:] == 0).all() and np.isnan(cosine[window:]).all()


EVERY = {
    **{name: bp.rule(name) for name in TABLE if name not in ("uoro", "kf_rtrl", "r_kf_rtrl", "three_factor", "rflo")},
    **{
        f"{name}, windows": bp.rule(name, schedule="window", steps=5)
        for name in ("eprop", "mdgl", "rtrl", "kernl", "hops")
    },
    **{f"{name}, online": bp.rule(name, schedule="online") for name in ("eprop", "mdgl", "bp_lambda")},
    "dni, 4 steps": bp.rule("dni", steps=4),
    "sliding_bptt, windows": bp.Rule(History(7), Instant(), bp.Window(5), "sliding"),
}


@pytest.mark.parametrize("model", ("leaky_rate", "lstm", "alif"))
@pytest.mark.parametrize("name", EVERY)
def test_credit_of_all_lags_is_the_gradient(name, model):
    """(1), of every rule without random numbers in its gradient: what all steps did together is what each did by itself."""
    rule = EVERY[name]
    along = Along(small(model), Asked(), {"it": rule} if name != "bptt" else rules("bptt"), training(), 0)
    along.update()
    batch, label = along.batch(), along.asked[0]
    weight = torch.zeros_like(batch.weight)
    weight[-1] = batch.weight[-1]
    only = replace(batch, weight=weight)
    parts = [along.gradient(label, only, None, torch.eye(12, dtype=torch.float64)[t]) for t in range(12)]
    whole = along.gradient(label, only, None)
    assert float(whole.norm()) > 1e-6
    torch.testing.assert_close(torch.stack(parts).sum(0), whole, rtol=1e-9, atol=1e-12 * float(whole.abs().max()))


def test_random_rules_are_averaged_over_draws():
    found = bp.credit_by_lag(small(), Asked(), rules("bptt", "uoro"), [2], training(), seed=5, draws=3)
    along = Along(small(), Asked(), rules("bptt", "uoro"), training(), 5)
    batch = along.batch()
    weight, uses = torch.zeros_like(batch.weight), torch.zeros(12)
    weight[-1], uses[9] = batch.weight[-1], 1.0
    only, network = replace(batch, weight=weight), along.driver.network
    draws = [
        sequence(
            network, bp.rule("uoro"), {}, only, squared, uses=uses, generator=bp.stream(5, f"draw {d} at lag 2")
        ).gradients
        for d in range(3)
    ]
    true = flat(sequence(network, bp.rule("bptt"), {}, only, squared, uses=uses).gradients, network.parameters(), "all")
    mean = np.mean([flat(g, network.parameters(), "all") for g in draws], axis=0)
    one = found.sel(rule="uoro", lag=2)
    assert float(one["norm_ratio"]) == pytest.approx(np.linalg.norm(mean) / np.linalg.norm(true), rel=1e-9)
    assert float(one["cosine"]) == pytest.approx(mean @ true / np.linalg.norm(mean) / np.linalg.norm(true), rel=1e-9)


def test_predictors_learn_before_their_credit_is_measured():
    """A silent predictor credits nothing but the present; after some updates it does, and measuring trains it no further."""
    given = rules("bptt", "bp_lambda", "dni")
    options: dict[str, Any] = {"training": training(predictor_lr=0.05)}
    fresh = bp.credit_by_lag(small(), Asked(), given, **options)
    assert (fresh["norm_ratio"].sel(rule=["bp_lambda", "dni"]).isel(lag=slice(1, None)) == 0).all()
    later = bp.credit_by_lag(small(), Asked(), given, after=10, **options)
    assert (later["norm_ratio"].sel(rule=["bp_lambda", "dni"]).isel(lag=slice(1, None)) > 0).all()
    few = bp.credit_by_lag(small(), Asked(), given, [7, 1], after=10, **options)
    assert few["lag"].values.tolist() == [1, 7]
    np.testing.assert_array_equal(few["cosine"], later["cosine"].sel(lag=[1, 7]))


def test_lags_spread_over_long_tasks():
    assert spread(0) == [0] and spread(5) == [0, 1, 2, 3, 4, 5] and spread(19) == list(range(20))
    for last in (20, 99, 2249):
        lags = spread(last)
        assert lags[:2] == [0, 1] and lags[-1] == last and len(lags) <= 20 and lags == sorted(set(lags))
        assert max(np.diff(lags)[1:] / np.array(lags[1:-1])) <= 1.01, "no gap greater than what lies before it"
