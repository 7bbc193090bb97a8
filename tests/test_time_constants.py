"""Times in the place of factors per step: the same numbers at the circuit's dt, the same rule at any; and TD(λ) against its differential equations."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from task_helpers import paragraph

import bioplaus as bp
from bioplaus import Trainer, Training, ms
from bioplaus.errors import LearningWarning, RuleError, RunError
from bioplaus.learning import several_dt
from bioplaus.learning.per_time import PerTime
from bioplaus.own import tensors
from bioplaus.runs.compare import parse_rule
from bioplaus.tasks import Batch, squared

EXACT: dict[str, Any] = dict(rtol=0.0, atol=1e-15)


@pytest.fixture(autouse=True)
def _nothing_was_met(monkeypatch):
    monkeypatch.setattr(several_dt, "_met", {})


class Waves(bp.Task):
    """Two phases of a wave in, two waves asked: functions of time, sampled every dt ms."""

    inputs, outputs, loss = 2, 2, squared
    name = "waves"

    def __init__(self, dt: float, duration: float, more: int = 0, weight: float = 1.0) -> None:
        self.dt, self.steps, self.factor = dt * 1e-3, round(duration / dt) + more, weight

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> Batch:
        assert self.dt is not None
        t = np.arange(self.steps) * self.dt * 1e3
        both = (u(t), wanted(t + self.dt * 1e3))
        x, y = (torch.tensor(each)[:, None].expand(-1, size, -1) for each in both)
        return Batch(x, y, torch.full(x.shape[:2], self.factor, dtype=torch.float64))


def u(t: Any) -> np.ndarray:
    return np.stack([np.sin(t / 12), np.cos(t / 7 + 0.3)], -1)


def wanted(t: Any) -> np.ndarray:
    return np.stack([np.sin(t / 15 + 1), np.cos(t / 9)], -1)


def circuit(dt: float = 1.0, cell: Any = "leaky_rate", **more: Any) -> Any:
    return bp.circuit("recurrent", cell=cell, inputs=2, units=5, outputs=2, dt=dt * ms, **more)


def learned(rule: Any, dt: float = 1.0, updates: int = 2, task: Any = None, **training: Any) -> dict[str, torch.Tensor]:
    """Weights of circuit and predictor after a few updates."""
    asked: dict[str, Any] = dict(lr=1e-2, predictor_lr=1e-2, optimiser="sgd") | training
    trainer = Trainer(
        circuit(dt), task or Waves(dt, 12.0), rule, Training(batch=2, dtype="float64", updates=updates, **asked)
    )
    mine = {n: w for n, w in tensors(trainer.own).items() if w.is_floating_point()}
    for i, w in enumerate(mine.values()):  # a predictor that says something
        w += 0.3 * torch.randn(w.shape, generator=torch.Generator().manual_seed(i), dtype=w.dtype)
    for _ in range(updates):
        trainer.update()
    return {n: w.clone() for n, w in (trainer.network.weights | mine).items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys() and all(bool(w.any()) for w in one.values())
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], **EXACT)


def differ(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return max(float((one[n] - other[n]).abs().max()) for n in one) > 1e-9


# -- the two forms ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dt", "trace", "schedule"),
    [
        (1.0, "exact", "window"), (0.5, "exact", "window"), (1.0, "exact", "online"), (0.5, "local", "online"), (1.0, "replay", "window"),
        (0.5, "kronecker", "window"), (0.5, "learned", "window"),
    ],
)  # fmt: skip
def test_factors_and_times_are_the_same_at_the_circuits_dt(dt, trace, schedule):
    common: dict[str, Any] = dict(trace=trace, schedule=schedule)
    factors = dict(lmbda=float(np.exp(-dt / 5)), discount=float(np.exp(-dt / 30)))
    by_factor = learned(bp.rule("bp_lambda", **factors, **common), dt)
    same(by_factor, learned(bp.rule("bp_lambda", tau_lambda=5e-3, tau_gamma=30 * ms, **common), dt))
    assert differ(by_factor, learned(bp.rule("bp_lambda", tau_lambda=9 * ms, tau_gamma=30 * ms, **common), dt))
    assert differ(by_factor, learned(bp.rule("bp_lambda", tau_lambda=5 * ms, tau_gamma=60 * ms, **common), dt))


@pytest.mark.parametrize("options", [{}, {"copy_every": 2}, {"jacobian": "learned"}, {"eligibility": "eprop"}], ids=str)
def test_a_window_of_dni_discounts_by_how_long_it_lasts(options):
    for dt, steps in ((1.0, 3), (0.5, 6), (1.0, 1)):
        gamma = float(np.exp(-3.0 / 20)) if steps > 1 else float(np.exp(-dt / 20))
        by_factor = learned(bp.rule("dni", steps=steps, discount=gamma, **options), dt)
        same(by_factor, learned(bp.rule("dni", steps=steps, tau_gamma=20 * ms, **options), dt))
        assert differ(by_factor, learned(bp.rule("dni", steps=steps, tau_gamma=40 * ms, **options), dt))


def test_the_first_window_of_dni_is_shorter_and_discounts_less():
    """12 steps in windows of 5 begin with one of 2, at whose end the prediction is discounted by 2 steps."""
    rule = bp.rule("dni", steps=5, tau_gamma=20 * ms)
    trainer = Trainer(circuit(), Waves(1.0, 12.0), rule, Training(batch=1, dtype="float64", lr=0, optimiser="sgd"))
    asked = []
    kind: Any = type(rule.signal)
    target = kind._target

    def watch(self, own, observed, direct, bootstrapped, used, another):
        g = self.of(observed.network).predict(own["predictor"], bootstrapped)
        asked.append((len(observed.tangent), bootstrapped, g))
        return target(self, own, observed, direct, bootstrapped, used, another)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(rule.signal), "_target", watch)
        trainer.own["predictor"]["b"].fill_(1.0)  # g = 1 everywhere, A = 0
        trainer.update()
    assert [steps for steps, *_ in asked] == [2, 5, 5]
    for steps, bootstrapped, _ in asked[:2]:
        expected = torch.full_like(bootstrapped, np.exp(-steps / 20))
        torch.testing.assert_close(bootstrapped, expected, **EXACT)
    assert not asked[2][1].any()  # of the last one nothing is left to come


def test_rates_and_a_loss_per_ms_are_per_step_at_1_ms_bit_for_bit():
    rule = bp.rule("bp_lambda", tau_lambda=5 * ms)
    per_step = learned(rule)
    assert all(torch.equal(w, per_step[n]) for n, w in learned(rule, loss_per="ms", predictor_lr=1e-2 / ms).items())
    assert all(torch.equal(w, per_step[n]) for n, w in learned(rule, lr=1e-2 / ms).items())
    assert all(torch.equal(w, per_step[n]) for n, w in learned(rule, lr={"default": 1e-2 / ms}).items())


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("apply", ["sequence", "window"])
def test_at_half_the_step_they_are_half_as_large(optimiser, apply):
    rule = bp.rule("bp_lambda", tau_lambda=5 * ms, schedule="online")
    common: dict[str, Any] = dict(dt=0.5, optimiser=optimiser, apply=apply)
    in_time = learned(
        rule,
        lr={"default": 1e-2, "readout": 3e-2 / ms, "predictor": 2e-2 / ms},
        predictor_lr=None,
        loss_per="ms",
        **common,
    )
    by_hand = learned(
        rule,
        lr={"default": 1e-2, "readout": 1.5e-2, "predictor": 1e-2},
        predictor_lr=None,
        task=Waves(0.5, 12.0, weight=0.5),
        **common,
    )
    same(in_time, by_hand)
    rates = {"default": 1e-2, "readout": 1.5e-2, "predictor": 1e-2}
    per_step = learned(rule, lr=rates, predictor_lr=None, **common)  # the loss is
    assert optimiser == "adam" or differ(in_time, per_step)


def test_the_loss_that_is_told_is_the_integral():
    common: dict[str, Any] = dict(batch=2, dtype="float64", lr=0)
    fine, coarse = (
        Trainer(circuit(dt), Waves(dt, 60.0), "eprop", Training(loss_per="ms", **common)) for dt in (0.25, 0.5)
    )
    plain = Trainer(circuit(0.25), Waves(0.25, 60.0), "eprop", Training(**common))
    rows = [each.update() | each.evaluate() for each in (fine, coarse, plain)]
    for column in ("loss", "test_loss"):
        assert rows[0][column] == pytest.approx(rows[1][column], rel=0.05)
        assert rows[0][column] == pytest.approx(rows[2][column] / 4, rel=1e-12)
    assert rows[0]["score"] == pytest.approx(rows[2]["score"], rel=1e-12)
    batch = Waves(0.25, 60.0).batch(bp.stream(0, "task"), 2)
    assert fine.loss() == pytest.approx(fine.loss(batch)) == pytest.approx(plain.loss(batch) / 4)


# -- TD(λ) in continuous time -----------------------------------------------------------------------------------------------

N, TAU, TAU_GAMMA, TAU_LAMBDA, ETA, DURATION = 4, 10.0, 80.0, 20.0, 2e-3, 100.0  # ms, 1/ms


class Continuous:
    """A rate circuit, its predictor of the future loss, and how they move, as differential equations; all learning is the predictor's.

    x' = (−x + W y + U u)/τ,  y = tanh(x),  h = (x, y, 1),  1/τ_d = 1/τ + 1/τ_γ,  1/τ_e = 1/τ_d + 1/τ_λ
    δ = (1 − y²) Cᵀ(C y − y*) + A h' − A h/τ_d,   e' = −e/τ_e + h,   A' = η δ eᵀ
    """

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.W, self.U, self.C = rng.normal(size=(N, N)) * 0.6, rng.normal(size=(N, 2)), rng.normal(size=(2, N)) * 0.5
        self.A = np.c_[rng.normal(size=(N, 2 * N)) * 0.1, rng.normal(size=N) * 0.05]

    def slopes(self, t: float, s: np.ndarray) -> np.ndarray:
        x, e, A = s[:N], s[N : 3 * N + 1], s[3 * N + 1 :].reshape(N, -1)
        y, slope = np.tanh(x), 1 - np.tanh(x) ** 2
        dx = (-x + self.W @ y + self.U @ u(np.asarray(t))) / TAU
        h, dh = np.r_[x, y, 1], np.r_[dx, slope * dx, 0]
        faster = 1 / TAU + 1 / TAU_GAMMA
        delta = slope * (self.C.T @ (self.C @ y - wanted(np.asarray(t)))) + A @ dh - faster * (A @ h)
        return np.r_[dx, -e * (faster + 1 / TAU_LAMBDA) + h, (ETA * np.outer(delta, e)).ravel()]

    def solved(self) -> tuple[np.ndarray, np.ndarray]:
        """A at the end, before the terminal event; and what that adds: −η g e, for nothing is left to be predicted."""
        start = np.r_[np.zeros(3 * N + 1), self.A.ravel()]
        s = solve_ivp(self.slopes, (0, DURATION), start, "DOP853", rtol=1e-11, atol=1e-13).y[:, -1]
        x, e, A = s[:N], s[N : 3 * N + 1], s[3 * N + 1 :].reshape(N, -1)
        return A, -ETA * np.outer(A @ np.r_[x, np.tanh(x), 1], e)

    def built(self, trainer: Trainer) -> Trainer:
        trainer.network.load({"W_in": self.U, "W_rec": self.W, "W_out": self.C})
        own = trainer.own["predictor"]
        own["A"][:N], own["b"][:N] = torch.tensor(self.A[:, :-1]), torch.tensor(self.A[:, -1])
        return trainer


class Watched(Trainer):
    """Keeps what the predictor was before the last step."""

    def apply(self, gradients, own, evaluate=None):
        self.before = {n: w.clone() for n, w in tensors(self.own).items()}
        super().apply(gradients, own, evaluate)


def by_the_library(of: Continuous, dt: float, **factors: Any) -> Watched:
    """One sequence, learning at every step; one more than lasts, for at the last g(h_T) = 0: an event, not a slope."""
    task = Waves(dt, DURATION, more=1)
    cell = bp.model("leaky_rate", tau=TAU * ms)
    made = bp.circuit(
        "recurrent", cell=cell, inputs=2, units=N, outputs=2, dt=dt * ms, bias=False, output_bias=False
    )  # fmt: skip
    times = {"tau_lambda": TAU_LAMBDA * ms, "tau_gamma": TAU_GAMMA * ms} if not factors else factors
    rule = bp.rule("bp_lambda", trace="local", jacobian="within", schedule="online", **times)
    training = Training(
        batch=1, lr=0, predictor_lr=ETA / ms, loss_per="ms", optimiser="sgd", apply="window", dtype="float64"
    )
    trainer = Watched(made, task, rule, training)
    of.built(trainer)
    trainer.update()
    return trainer


def rows(tensors: dict[str, torch.Tensor]) -> np.ndarray:
    """A | b of the rows for x; those for y never learn anything, as within a neuron no output has a future."""
    A, b = tensors["predictor.A"], tensors["predictor.b"]
    assert not A[N:].any() and not b[N:].any()
    return np.c_[A[:N].numpy(), b[:N].numpy()]


def is_of_order_1(steps: Sequence[float], off: Sequence[float]) -> None:
    order, between = np.polyfit(np.log(steps), np.log(off), 1)[0], np.log2(np.divide(off[:-1], off[1:]))
    assert abs(order - 1) <= 0.1, (off, order)
    assert abs(between[-1] - 1) < 0.05, between


def test_td_lambda_is_its_differential_equations_to_order_1():
    of, steps = Continuous(), (2.0, 1.0, 0.5, 0.25)
    reference, event = of.solved()
    assert abs(reference - of.A).max() > 0.1 and abs(event).max() > 1e-4  # it has learned, and predicts something
    ran = [by_the_library(of, dt) for dt in steps]
    is_of_order_1(steps, [abs(rows(each.before) - reference).max() for each in ran])
    # the terminal zero is an event: what it does to the predictor does not go with dt
    jumps = [rows(tensors(each.own)) - rows(each.before) for each in ran]
    is_of_order_1(steps, [abs(jump - event).max() for jump in jumps])


def test_with_factors_per_step_it_does_not_converge():
    of = Continuous()
    reference, _ = of.solved()
    factors = {"lmbda": float(np.exp(-1 / TAU_LAMBDA)), "discount": float(np.exp(-1 / TAU_GAMMA))}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        ran = [by_the_library(of, dt, **factors) for dt in (1.0, 0.25)]
    off = [abs(rows(each.before) - reference).max() for each in ran]
    assert off[1] > 3 * off[0], off
    assert [each.category for each in said] == [LearningWarning]  # once, and it says so


# -- what is said, kept and refused -----------------------------------------------------------------------------------------


def test_rules_of_before_are_described_as_they_were():
    told = bp.rule("bp_lambda", lmbda=0.7).describe()["signal"]
    assert (told["lmbda"], told["discount"]) == (0.7, 1.0) and not {"tau_lambda", "tau_gamma"} & told.keys()
    assert bp.rule("dni").describe()["signal"]["discount"] == 1.0
    assert "tau_gamma" not in bp.rule("dni").describe()["signal"] and "loss_per" not in Training().describe()
    told = bp.rule("bp_lambda", tau_lambda=20 * ms).describe()["signal"]
    assert (told["lmbda"], told["tau_lambda"], told["discount"]) == (None, 0.02, 1.0)


def test_a_rate_per_time_is_told_with_its_unit():
    from bioplaus.runs.config import plain

    training = Training(lr={"W_in": 0, "predictor": 2e-3 / ms}, loss_per="ms")
    assert plain(training)["lr"] == {"W_in": 0, "predictor": "0.002 / ms"} and plain(training)["loss_per"] == "ms"
    assert repr(Training(lr=2e-3 / ms)) == "Training(lr=0.002/ms)"
    assert Training(lr=2.0 * bp.Hz) == Training(lr=PerTime(2.0)) == Training(lr=2e-3 / ms)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("bp_lambda", dict(lmbda=0.5, tau_lambda=20 * ms)),
        ("bp_lambda", dict(lmbda=1.0, tau_lambda=20 * ms)),
        ("bp_lambda", dict(discount=0.5, tau_gamma=20 * ms)),
        ("dni", dict(discount=1.0, tau_gamma=20 * ms)),
    ],
)
def test_a_factor_and_its_time_are_not_both_given(name, options):
    with pytest.raises(RuleError) as error:
        bp.rule(name, **options)
    said = str(paragraph(error))
    assert all(option in said for option in options)


@pytest.mark.parametrize("tau", [0, -1, 20, "20ms", 5 * bp.mV, float("inf"), True], ids=str)
def test_a_time_is_a_time(tau):
    for name, option in (("bp_lambda", "tau_lambda"), ("bp_lambda", "tau_gamma"), ("dni", "tau_gamma")):
        with pytest.raises(RuleError, match=option):
            bp.rule(name, **{option: tau})


@pytest.mark.parametrize("rate", [-2e-3 / ms, float("inf") / ms, 2 * ms, {"W_in": -1 * bp.Hz}], ids=str)
def test_a_rate_per_time_is_one(rate):
    with pytest.raises(RunError, match=r"lr of Training .* or a rate per time, such as 2e-3/ms"):
        Training(lr=rate)


def test_steps_that_are_no_time_have_no_time_constants():
    made = bp.circuit("recurrent", cell="elman", inputs=2, units=3, outputs=2)
    for name, option in (("bp_lambda", "tau_lambda"), ("bp_lambda", "tau_gamma"), ("dni", "tau_gamma")):
        with pytest.raises(RuleError, match=f"{option} is a time, and the cell of .* its steps are no time"):
            Trainer(made, Waves(1.0, 5.0), bp.rule(name, **{option: 20 * ms}))
    per_time: list[dict[str, Any]] = [dict(lr=1e-3 / ms), dict(predictor_lr=1e-3 / ms), dict(loss_per="ms")]
    for options in per_time:
        with pytest.raises(RunError, match=f"{next(iter(options))} of Training is per time"):
            Trainer(made, Waves(1.0, 5.0), "bptt", Training(**options))


def test_time_is_not_counted_twice():
    with pytest.raises(RunError, match="count time twice") as error:
        Trainer(circuit(), Waves(1.0, 5.0), "eprop", Training(lr=1e-3 / ms, loss_per="ms", optimiser="sgd"))
    paragraph(error)
    Trainer(circuit(), Waves(1.0, 5.0), "eprop", Training(lr=0 / ms, loss_per="ms", optimiser="sgd"))


def test_times_are_typed_with_their_unit():
    assert parse_rule("bp_lambda(tau_lambda=20*ms, trace=local)") == (
        "bp_lambda",
        {"tau_lambda": 20 * 1e-3, "trace": "local"},
    )
    for text in ("bp_lambda(tau_lambda='a'*ms)", "bp_lambda(tau_lambda=20*mV)", "bp_lambda(tau_lambda=20+ms)"):
        with pytest.raises(RuleError, match="is not a rule"):
            parse_rule(text)


# -- a study of dt ----------------------------------------------------------------------------------------------------------


def met(*dts: float, cell: Any = "leaky_rate", **options: Any) -> list[str]:
    """What is said when a rule meets one circuit at several dt."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for dt in dts:
            Trainer(circuit(dt, cell), Waves(dt, 5.0), bp.rule("bp_lambda", **options))
    return [str(each.message) for each in said if issubclass(each.category, LearningWarning)]


def test_a_study_of_dt_with_factors_per_step_is_told_once():
    (said,) = met(1.0, 0.5, 0.25, lmbda=0.9, discount=0.95)
    assert "lmbda=0.9 and discount=0.95 per step" in said and "tau_lambda and tau_gamma=20*ms" in said
    assert "dt = 1 and 0.5 ms" in said and "\n" not in said


@pytest.mark.parametrize(
    "options",
    [{}, {"lmbda": 0.0}, {"lmbda": 1.0, "discount": 1}, {"tau_lambda": 20 * ms, "tau_gamma": 9 * ms}],
    ids=str,
)
def test_what_has_no_other_time_at_another_dt_is_not(options):
    assert not met(1.0, 0.5, **options)


def test_nor_is_one_dt_or_another_circuit():
    assert not met(0.5, 0.5, lmbda=0.9)
    assert not met(1.0, lmbda=0.8) and not met(0.5, lmbda=0.7)
    assert not met(0.5, lmbda=0.8, cell="lif")  # it met a leaky_rate at 1 ms


def test_arms_of_one_experiment_are(tmp_path):
    from bioplaus.runs import run_experiment

    rule = bp.rule("bp_lambda", lmbda=0.9)
    arms = {f"{dt}": bp.Arm(circuit(dt), Waves(dt, 5.0), rule, Training(updates=1, batch=1)) for dt in (1.0, 0.5)}
    with warnings.catch_warnings(), pytest.raises(LearningWarning, match="two rules, one of which forgets"):
        warnings.simplefilter("error")  # before anything runs
        run_experiment(bp.Experiment(title="dt", arms=arms), "steps", root=tmp_path)
