"""Optimisers, schedules and rates by path, each against a plain numpy loop; resumed bit for bit; told only where they differ."""

from __future__ import annotations

import io
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import bioplaus as bp
from bioplaus import Trainer, Training
from bioplaus.errors import RunError
from bioplaus.learning.by_name import OURS, SCHEDULES, of_torch
from bioplaus.learning.optimiser import Descent
from bioplaus.learning.rates import rates
from bioplaus.measure.along import Along
from bioplaus.own import learned
from bioplaus.runs.compare import Comparison, Setting, comparison

TASK = bp.task("add", t1=2, t2=4, steps=9)
UPDATES = 7


def learner(rule: Any = "bptt", seed: int = 3, **training: Any) -> Trainer:
    circuit = bp.circuit("recurrent", cell="lstm", inputs=TASK.inputs, units=4, outputs=TASK.outputs)
    return Trainer(circuit, TASK, rule, Training(**{"batch": 3, "dtype": "float64", "lr": 0.02} | training), seed=seed)


def followed(trainer: Trainer) -> tuple[list[dict[str, np.ndarray]], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The gradients that the optimisers were given at every update, and the tensors by path before and after."""
    tensors = {**trainer.network.parameters(), **learned(trainer.own)}
    copy = lambda found: {n: v.detach().numpy().copy() for n, v in found.items()}  # noqa: E731
    given: list[dict[str, np.ndarray]] = []
    step = trainer.optimisers.step

    def listening(gradients: Any, own: Any, evaluate: Any) -> None:
        given.append(copy(gradients | own))
        step(gradients, own, evaluate)

    trainer.optimisers.step = listening  # type: ignore[method-assign]
    before = copy(tensors)
    for _ in range(UPDATES):
        trainer.update()
    return given, before, copy(tensors)


# -- plain numpy, one weight's whole story at a time: gradients over time, rate over time → the weight at the end ---------------------


def sgd(w: Any, gs: Any, lrs: Any, **_: Any) -> Any:
    for g, lr in zip(gs, lrs, strict=True):
        w = w - lr * g
    return w


def adam(w: Any, gs: Any, lrs: Any, eps: float = 1e-8, b1: float = 0.9, b2: float = 0.999) -> Any:
    m, v = 0 * w, 0 * w
    for t, (g, lr) in enumerate(zip(gs, lrs, strict=True), 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        w = w - lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
    return w


def adam_tf(w: Any, gs: Any, lrs: Any, eps: float = 1e-8, b1: float = 0.9, b2: float = 0.999) -> Any:
    m, v = 0 * w, 0 * w
    for t, (g, lr) in enumerate(zip(gs, lrs, strict=True), 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        w = w - lr * math.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + eps)
    return w


def momentum(w: Any, gs: Any, lrs: Any) -> Any:
    held = None
    for g, lr in zip(gs, lrs, strict=True):
        held = g if held is None else 0.9 * held + g
        w = w - lr * held
    return w


def adamw(w: Any, gs: Any, lrs: Any) -> Any:
    m, v = 0 * w, 0 * w
    for t, (g, lr) in enumerate(zip(gs, lrs, strict=True), 1):
        w = w - lr * 0.1 * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = w - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return w


def rmsprop(w: Any, gs: Any, lrs: Any) -> Any:
    v = 0 * w
    for g, lr in zip(gs, lrs, strict=True):
        v = 0.9 * v + 0.1 * g * g
        w = w - lr * g / (np.sqrt(v) + 1e-8)
    return w


LOOPS: dict[str, tuple[dict[str, Any], Any]] = {
    "sgd": ({"optimiser": "sgd"}, sgd),
    "adam": ({}, adam),
    "adam, large ε": ({"eps": 1e-2, "betas": (0.7, 0.9)}, lambda *a: adam(*a, eps=1e-2, b1=0.7, b2=0.9)),
    "adam_tf": ({"optimiser": "adam_tf"}, adam_tf),
    "adam_tf, large ε": ({"optimiser": "adam_tf", "eps": 1e-2, "betas": (0.7, 0.9)}, lambda *a: adam_tf(*a, eps=1e-2, b1=0.7, b2=0.9)),
    "SGD": ({"optimiser": "SGD", "optimiser_options": {"momentum": 0.9}}, momentum),
    "sgd with momentum": ({"optimiser": "sgd", "optimiser_options": {"momentum": 0.9}}, momentum),
    "AdamW": ({"optimiser": torch.optim.AdamW, "optimiser_options": {"weight_decay": 0.1}}, adamw),
    "RMSprop": ({"optimiser": "RMSprop", "optimiser_options": {"alpha": 0.9}}, rmsprop),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOPS)
def test_every_weight_ends_where_a_plain_loop_takes_it(name):
    options, loop = LOOPS[name]
    trainer = learner("bp_lambda", readout_lr=0.05, predictor_lr=0.001, **options)
    given, before, after = followed(trainer)
    rate = {"W_out": 0.05, "b_out": 0.05, "predictor.A": 0.001, "predictor.b": 0.001}
    assert set(rate) <= set(after)
    for path, w in after.items():
        wanted = loop(before[path], [g[path] for g in given], [rate.get(path, 0.02)] * UPDATES)
        np.testing.assert_allclose(w, wanted, rtol=1e-11, atol=1e-13, err_msg=path)
        assert abs(w - before[path]).max() > 1e-6


def test_the_two_adams_differ_by_where_epsilon_stands():
    ends = [followed(learner(optimiser=name, eps=1e-2))[2]["W_out"] for name in ("adam", "adam_tf")]
    assert abs(ends[0] - ends[1]).max() > 1e-3


# -- schedules -----------------------------------------------------------------------------------------------------------------

PI = math.pi
RATES: dict[str, tuple[dict[str, Any], Any]] = {
    "StepLR": ({"step_size": 2, "gamma": 0.5}, lambda t: 0.02 * 0.5 ** (t // 2)),
    "MultiStepLR": ({"milestones": [1, 4], "gamma": 0.1}, lambda t: 0.02 * 0.1 ** ((t >= 1) + (t >= 4))),
    "ConstantLR": ({"factor": 0.25, "total_iters": 3}, lambda t: 0.02 * (0.25 if t < 3 else 1)),
    "LinearLR": ({"start_factor": 0.1, "total_iters": 4}, lambda t: 0.02 * (0.1 + 0.9 * min(t, 4) / 4)),
    "ExponentialLR": ({"gamma": 0.8}, lambda t: 0.02 * 0.8**t),
    "PolynomialLR": ({"total_iters": 5, "power": 2.0}, lambda t: 0.02 * (1 - min(t, 5) / 5) ** 2),
    "CosineAnnealingLR": ({"T_max": 9, "eta_min": 0.001}, lambda t: 0.001 + 0.019 * (1 + math.cos(PI * t / 9)) / 2),
    "CosineAnnealingWarmRestarts": ({"T_0": 3}, lambda t: 0.02 * (1 + math.cos(PI * (t % 3) / 3)) / 2),
    "CyclicLR": ({"base_lr": 0.01, "max_lr": 0.03, "step_size_up": 2, "cycle_momentum": False},
                 lambda t: 0.01 + 0.02 * (1 - abs(t % 4 - 2) / 2)),
    "OneCycleLR": ({"max_lr": 0.05, "total_steps": 11, "pct_start": 0.5, "anneal_strategy": "linear", "div_factor": 5.0, "final_div_factor": 10.0,
                    "cycle_momentum": False},
                   lambda t: 0.01 + 0.04 * t / 4.5 if t <= 4.5 else 0.05 - (0.05 - 0.001) * (t - 4.5) / 5.5),
}  # fmt: skip


def test_every_schedule_is_tried():
    assert set(RATES) == set(SCHEDULES)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_takes_the_rates_where_its_formula_says(name):
    options, formula = RATES[name]
    trainer = learner(optimiser="sgd", lr_schedule=name, lr_schedule_options=options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given, before, after = followed(trainer)
    lrs = [formula(t) for t in range(UPDATES)]
    assert len(set(lrs)) > 1
    for path, w in after.items():
        np.testing.assert_allclose(w, sgd(before[path], [g[path] for g in given], lrs), rtol=1e-11, atol=1e-13)


def test_a_schedule_goes_on_once_an_update_also_where_weights_move_at_every_window():
    rule = bp.rule("dni", steps=3)
    trainer = learner(
        rule, optimiser="sgd", apply="window", lr_schedule="ExponentialLR", lr_schedule_options={"gamma": 0.5}
    )
    given, before, after = followed(trainer)
    windows = len(given) // UPDATES
    assert windows == 3
    lrs = [0.02 * 0.5 ** (i // windows) for i in range(len(given))]
    np.testing.assert_allclose(after["W_out"], sgd(before["W_out"], [g["W_out"] for g in given], lrs), rtol=1e-11)


def test_a_schedule_moves_the_predictors_rate_and_riders_follow_it():
    options: dict[str, Any] = {
        "optimiser": "sgd",
        "predictor_lr": 0.01,
        "lr_schedule": "StepLR",
        "lr_schedule_options": {"step_size": 1, "gamma": 0.5},
    }
    trainer = learner("bp_lambda", **options)
    given, before, after = followed(trainer)
    lrs = [0.01 * 0.5**t for t in range(UPDATES)]
    np.testing.assert_allclose(
        after["predictor.A"], sgd(before["predictor.A"], [g["predictor.A"] for g in given], lrs), rtol=1e-11
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        along = Along(trainer.circuit, TASK, ["bptt", "bp_lambda"], Training(batch=3, **options))
        for _ in along.go(3):
            pass
    optimiser = along._riders["bp_lambda"].optimisers.predictor
    assert isinstance(optimiser, Descent) and optimiser.param_groups[0]["lr"] == 0.01 * 0.125


# -- rates by path ---------------------------------------------------------------------------------------------------------------


def test_the_most_exact_name_counts():
    paths = (["W_in", "W_rec", "b", "W_out", "b_out"], ["predictor.A", "predictor.b", "model.J", "feedback.B"])
    found = rates(
        *paths,
        Training(lr={"W_in": 0, "predictor": 2, "model": 3, "b_out": 4, "readout": 5, "predictor.b": 6, "default": 7}),
    )
    assert found == {
        "W_in": 0,
        "W_rec": 7,
        "b": 7,
        "W_out": 5,
        "b_out": 4,
        "predictor.A": 2,
        "predictor.b": 6,
        "model.J": 3,
        "feedback.B": 5,
    }
    assert rates(*paths, Training(lr={"feedback": 2}))["feedback.B"] == 2
    plain = Training(lr=1, readout_lr=2, predictor_lr=3)
    assert rates(*paths, plain) == rates(*paths, Training(lr={"default": 1, "readout": 2, "predictor": 3}))
    assert rates(*paths, plain)["model.J"] == 3 and rates(*paths, plain)["feedback.B"] == 2
    assert set(rates(*paths, Training(lr={"W_in": 0})).values()) == {0, 1e-3}


#: of torch's classes those that are tried whenever tests are run; the first keeps a state of another dtype
SOME = ("NAdam", "Rprop", "Muon")
OPTIMISERS = [
    pytest.param(name, marks=() if name in (*OURS, *SOME) else pytest.mark.slow) for name in (*OURS, *of_torch())
]


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_rates_by_path_and_0_keeps_still_under_every_optimiser(optimiser):
    if optimiser == "Muon":
        with pytest.raises(RunError, match="does not take the tensors"):
            learner(optimiser=optimiser)
        return
    trainer = learner("bp_lambda", optimiser=optimiser, lr={"W_in": 0, "predictor": 0, "readout": 0.5})
    _, before, after = followed(trainer)
    still = {path for path, w in after.items() if np.array_equal(w, before[path])}
    assert still == {"W_in", "predictor.A", "predictor.b"}


def test_0_keeps_still_under_a_schedule_that_says_rates():
    trainer = learner(lr={"W_in": 0, "default": 0.02}, lr_schedule="CyclicLR", lr_schedule_options=RATES["CyclicLR"][0])
    _, before, after = followed(trainer)
    assert {path for path, w in after.items() if np.array_equal(w, before[path])} == {"W_in"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lr": {"W_nowhere": 1}}, "gives a rate to 'W_nowhere'"),
        ({"lr": {"W_rce": 1}}, "Did you mean 'W_rec'"),
        ({"lr": {"readout": 1}, "readout_lr": 2}, "readout_lr=2 says the same again"),
        ({"lr": {"predictor": 1}, "predictor_lr": 2}, "says the same again"),
        ({"optimiser": "adamw"}, "Did you mean 'AdamW'"),
        ({"optimiser": "LBFGS"}, "steps from gradients alone"),
        ({"optimiser": "SGD", "optimiser_options": {"momentun": 1}}, "Did you mean 'momentum'"),
        ({"optimiser": "SGD", "optimiser_options": {"momentum": -1.0}}, "Invalid momentum value"),
        ({"optimiser": "SGD", "optimiser_options": {"lr": 1.0}}, "a field of Training itself"),
        ({"optimiser_options": {"eps": 1.0}}, "bp.Training(eps=…)"),
        ({"lr_schedule": "StepLR"}, "step_size"),
        ({"lr_schedule": "StepLR", "lr_schedule_options": {"step": 3}}, "Did you mean 'step_size'"),
        ({"lr_schedule": "steplr"}, "Did you mean 'StepLR'"),
        ({"lr_schedule_options": {"step_size": 3}}, "without an lr_schedule"),
        (
            {"lr": {"W_in": 1}, "lr_schedule": "OneCycleLR", "lr_schedule_options": {"max_lr": 1.0, "total_steps": 9}},
            "says itself what the rates are",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_paragraph(options, said):
    with pytest.raises(RunError) as refused:
        learner(**options)
    assert said in str(refused.value) and "\n" not in str(refused.value)


# -- optimisers of one's own --------------------------------------------------------------------------------------------------------


class Backtracking:
    """Halves its step until the loss falls; asks again for that."""

    def __init__(self, tensors: Any, rates: Any, shrink: float = 0.5) -> None:
        self.tensors, self.rates, self.shrink, self.asked = tensors, rates, shrink, 0

    def step(self, gradients: Any, evaluate: Any) -> None:
        before, old, size = evaluate(), {n: w.clone() for n, w in self.tensors.items()}, 4.0
        while True:
            for n, g in gradients.items():
                self.tensors[n].copy_(old[n] - size * self.rates[n] * g)
            self.asked += 1
            if size < 1e-3 or evaluate() < before:
                return
            size *= self.shrink

    def state_dict(self) -> dict[str, Any]:
        return {"asked": self.asked}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.asked = state["asked"]


class Half(torch.optim.Optimizer):
    """torch's kind: half of every gradient."""

    def __init__(self, params: Any, lr: float = 1.0) -> None:
        super().__init__(params, {"lr": lr})

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is not None:
                    w.add_(w.grad, alpha=-group["lr"] / 2)


def test_one_that_asks_again_hears_the_penalised_loss_of_the_same_batch():
    trainer, heard = learner(optimiser=Backtracking, lr=1.0, rate_strength=3.0, rate_target=200.0), []
    step = trainer.optimisers.circuit.step
    trainer.optimisers.circuit.step = lambda g, evaluate: (
        heard.append(evaluate()),
        step(g, evaluate),
        heard.append(evaluate()),
    )  # type: ignore[method-assign]
    for _ in range(4):
        trainer.update()
    batch, network = trainer._batch, trainer.network
    assert batch is not None and all(after < before for before, after in zip(heard[::2], heard[1::2], strict=True))
    assert trainer.optimisers.circuit.state_dict()["asked"] > 4 and trainer.loss() == heard[-1]
    rate = bp.simulate(network, batch.inputs, record=["rate"])["rate"].values  # (time, batch, unit)
    bare = Trainer(trainer.circuit, TASK, "bptt", Training(batch=3, dtype="float64"), seed=3)
    bare.network.load(network.weights)
    penalty = 1.5 * ((rate.mean((0, 1)) - 200.0 * 1e-3) ** 2).sum()
    np.testing.assert_allclose(trainer.loss(), bare.loss(batch) + penalty, rtol=1e-13)
    o = rate @ network.weights["W_out"].numpy().T + network.weights["b_out"].numpy()
    logs = o - np.log(np.exp(o).sum(-1, keepdims=True))
    task = -(batch.targets.numpy() * logs).sum(-1) * batch.weight.numpy()
    np.testing.assert_allclose(bare.loss(batch), task.sum() / 3, rtol=1e-12)


def test_a_class_of_torchs_kind():
    given, before, after = followed(learner(optimiser=Half))
    for path, w in after.items():
        np.testing.assert_allclose(
            w, sgd(before[path], [g[path] for g in given], [0.01] * UPDATES), rtol=1e-11, atol=1e-13
        )
    assert Training(optimiser=Half).describe()["optimiser"] is Half


# -- going on ------------------------------------------------------------------------------------------------------------------------

GOING: dict[str, dict[str, Any]] = {
    **{name: {"optimiser": name} for name in (*OURS, *of_torch()) if name != "Muon"},
    **{name: {"lr_schedule": name, "lr_schedule_options": RATES[name][0]} for name in SCHEDULES},
    "a cycle of momentum": {"optimiser": "SGD", "optimiser_options": {"momentum": 0.9}, "lr_schedule": "OneCycleLR",
                            "lr_schedule_options": {"max_lr": 0.05, "total_steps": 11}},
    "rates": {"lr": {"W_in": 0, "predictor": 1e-3, "b": 0.1}},
    "one's own": {"optimiser": Backtracking, "lr": 1.0},
}  # fmt: skip
GONE_ON = (*OURS, *SOME, "StepLR", "CyclicLR", "a cycle of momentum", "rates", "one's own")


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in GONE_ON else pytest.mark.slow) for n in GOING])
def test_going_on_is_bit_equal(name):
    options = GOING[name]
    straight, broken = learner("bp_lambda", **options), learner("bp_lambda", **options)
    for _ in range(6):
        straight.update()
    for _ in range(3):
        broken.update()
    held = io.BytesIO()
    torch.save(broken.state_dict(), held)
    broken.update()  # must not reach into what was saved
    again = learner("bp_lambda", seed=99, **options)
    again.load_state_dict(torch.load(io.BytesIO(held.getvalue()), weights_only=True))
    for _ in range(3):
        again.update()
    for mine, theirs in (
        (straight.network.weights, again.network.weights),
        (learned(straight.own), learned(again.own)),
    ):
        assert all(torch.equal(mine[n], theirs[n]) for n in mine)


def test_it_is_told_only_where_it_differs():
    told = Training().describe()
    assert not {"optimiser_options", "lr_schedule", "lr_schedule_options"} & told.keys() and told["optimiser"] == "adam"
    given = Training(
        optimiser="SGD", optimiser_options={"momentum": 0.5}, lr_schedule="StepLR", lr_schedule_options={"step_size": 2}
    )
    told = given.describe()
    assert told["optimiser_options"] == {"momentum": 0.5} and told["lr_schedule_options"] == {"step_size": 2}
    assert Training(optimiser=torch.optim.AdamW) == Training(optimiser="AdamW")


def test_a_run_is_recorded_recognised_and_goes_on(tmp_path):
    circuit = bp.circuit("recurrent", cell="elman", inputs=TASK.inputs, units=3, outputs=TASK.outputs)
    options: dict[str, Any] = {
        "updates": 4, "batch": 2, "lr": {"W_in": 0, "default": 0.1}, "optimiser": "RMSprop", "optimiser_options": {"alpha": 0.5},
        "lr_schedule": "MultiStepLR", "lr_schedule_options": {"milestones": [1, 3]}, "checkpoint_every": 0,
    }  # fmt: skip
    whole = bp.train(circuit, TASK, "bptt", folder=tmp_path / "whole", **options)

    def stop(event: Any) -> None:
        if event.update == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bp.train(circuit, TASK, "bptt", folder=tmp_path / "broken", progress=stop, **options)
    again = bp.train(circuit, TASK, "bptt", folder=tmp_path / "broken", **options)
    assert all(torch.equal(whole.network.weights[n], w) for n, w in again.network.weights.items())
    assert bp.train(circuit, TASK, "bptt", folder=tmp_path / "whole", **options).folder == whole.folder
    with pytest.raises(RunError, match="optimiser_options"):
        options["optimiser_options"] = {"alpha": 0.6}
        bp.train(circuit, TASK, "bptt", folder=tmp_path / "whole", **options)


def test_compare_takes_one_by_name():

    setting = Setting(cell="elman", units=3, optimiser="adam_tf")
    arms = comparison(Comparison("add", ("bptt", "rflo"), setting)).arms.values()
    assert {arm.training.optimiser for arm in arms} == {"adam_tf"}
    with pytest.raises(RunError, match="Did you mean 'AdamW'"):
        comparison(Comparison("add", ("bptt",), Setting(cell="elman", units=3, optimiser="adamw")))
