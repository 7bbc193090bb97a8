"""Every column of ``metrics.csv``, at every update, from the weights of that update by formulas written here once more.

The cell is a leaky rate neuron, x_t = a x_{t−1} + (1 − a)(W_in i_t + W_rec y_{t−1} + b), y = tanh x, o = W_out y + b_out.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rule_helpers import Case
from torch import Tensor

import bioplaus as bp
from bioplaus.circuit.trajectory import roll
from bioplaus.errors import RuleError
from bioplaus.learning.trainer import Trainer
from bioplaus.rules import TABLE
from bioplaus.runs import sitting
from bioplaus.runs.metrics import COLUMNS
from bioplaus.signal import DNI, BPLambda
from bioplaus.signal.truth import predicted_and_true
from bioplaus.tasks import Batch

UPDATES, BATCH, STEPS, WINDOW, UNITS, OUTPUTS = 6, 3, 10, 5, 4, 2
LEAK = math.exp(-1 / 10)  # 1 ms of 10 ms
TASK = bp.task("flip_flop", bits=OUTPUTS, steps=STEPS, pulse_probability=0.3)
RULES: dict[str, dict[str, Any]] = {
    "eprop": {}, "dni": {"steps": WINDOW}, "dni with an auxiliary task": {"steps": WINDOW, "auxiliary": 0.3},
    "dni with a model": {"steps": WINDOW, "jacobian": "learned"}, "bp_lambda": {"lmbda": 0.7, "discount": 0.9}, "bp_lambda with a model": {"jacobian": "learned"},
}  # fmt: skip


def made(name: str) -> dict[str, Any]:
    circuit = bp.circuit(
        "recurrent", cell=bp.model("leaky_rate"), inputs=OUTPUTS, units=UNITS, outputs=OUTPUTS, gain=1.5
    )
    training = bp.Training(batch=BATCH, updates=UPDATES, lr=0.02, evaluate_every=2, align_every=2, dtype="float64")
    return {"circuit": circuit, "task": TASK, "rule": bp.rule(name.split()[0], **RULES[name]), "training": training}


class Stands:
    """A trainer before an update, its batch, and what follows from them."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.w, self.own = trainer, dict(trainer.network.weights), trainer.own
        generator = torch.Generator()
        generator.set_state(trainer.generator.get_state())
        self.batch = TASK.batch(generator, BATCH).to(dtype=torch.float64)
        zero = torch.zeros(BATCH, 2 * UNITS, dtype=torch.float64)
        self.h = [zero, *(h for h, _ in self.walk(self.batch.inputs, zero))]

    def walk(self, inputs: Tensor, h: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(x, y) side by side, and o, after every step from a state on."""
        w, (x, y), found = self.w, h.chunk(2, -1), []
        for now in inputs:
            x = LEAK * x + (1 - LEAK) * (now @ w["W_in"].T + y @ w["W_rec"].T + w["b"].flatten())
            y = torch.tanh(x)
            found.append((torch.cat([x, y], -1), y @ w["W_out"].T + w["b_out"]))
        return found

    def losses(self, batch: Batch, o: Tensor) -> Tensor:
        """(batch,)"""
        return 0.5 * ((o - batch.targets).square().sum(-1) * batch.weight).sum(0)

    def scored(self, batch: Batch) -> tuple[float, float]:
        """Loss and share of right signs of a batch."""
        zero = torch.zeros(batch.size, 2 * UNITS, dtype=torch.float64)
        o = torch.stack([o for _, o in self.walk(batch.inputs, zero)])
        right = ((o > 0) == (batch.targets > 0)).double().mean()
        return float(self.losses(batch, o).mean()), float(right)

    def ahead(self, t: int, end: int, beyond: Tensor | float = 0.0) -> Tensor:
        """∂(loss of steps t … end − 1 + beyond · h_end)/∂h_t, (batch, size)."""
        h = self.h[t].clone().requires_grad_()
        walked = self.walk(self.batch.inputs[t:end], h)
        part = Batch(*(x[t:end] for x in (self.batch.inputs, self.batch.targets, self.batch.weight)))
        value = self.losses(part, torch.stack([o for _, o in walked])).sum() + (walked[-1][0] * beyond).sum()
        return torch.autograd.grad(value, h)[0]

    def g(self, t: int, part: str = "predictor") -> Tensor:
        """A linear prediction of the future at t, nothing at the end."""
        theta = self.own[part]
        return self.h[t] @ theta["A"].T + theta["b"] if t < STEPS else torch.zeros_like(self.h[0])


def mean_square(errors: list[Tensor]) -> float:
    return float(torch.stack(errors).square().mean())


def flat(gradients: dict[str, Tensor]) -> Tensor:
    return torch.cat([gradients[n].flatten() for n in ("W_in", "W_rec", "b")])


def alignment(s: Stands) -> float:
    """With BPTT's gradient by autograd; e-prop's by autograd with stopped outputs."""
    c = Case(s.trainer.network, s.batch)
    true, rule = flat(c.by_hand()), s.trainer.rule
    mine = flat(c.by_hand(stop="between") if rule.name == "eprop" else c.gradients(rule, s.own))
    return float(mine @ true / mine.norm() / true.norm())


def predictions(s: Stands) -> tuple[Tensor, Tensor]:
    """Prediction and truth at steps 1 … T − 1."""
    return torch.stack([s.g(t) for t in range(1, STEPS)]), torch.stack([s.ahead(t, STEPS) for t in range(1, STEPS)])


def prediction(s: Stands) -> float:
    g, true = predictions(s)
    size = g.norm(dim=-1) * true.norm(dim=-1)
    return float(torch.where(size > 0, (g * true).sum(-1) / size.clamp_min(1e-300), 0.0).mean())


def prediction_ratio(s: Stands) -> float:
    g, true = predictions(s)
    return float(g.norm(dim=-1).mean() / true.norm(dim=-1).mean())


def prediction_error(s: Stands) -> float:
    """Of the target that a window has at its beginning."""
    J = s.own["model"]["J"] if "model" in s.own else None
    found = []
    for t in range(0, STEPS, WINDOW):
        target = s.ahead(t, t + WINDOW, s.g(t + WINDOW))
        if J is not None:  # credit carried back by the model
            target = s.g(t + WINDOW)
            for k in reversed(range(t, t + WINDOW)):
                y = s.h[k + 1][:, UNITS:]
                delta = (y @ s.w["W_out"].T + s.w["b_out"] - s.batch.targets[k]) * s.batch.weight[k][:, None]
                target = (target + torch.nn.functional.pad(delta @ s.w["W_out"], (UNITS, 0))) @ J
        found.append(s.g(t) - target)
    return mean_square(found)


def td_error(s: Stands) -> float:
    J, decay = s.own["model"]["J"] if "model" in s.own else None, s.trainer.rule.describe()["signal"]["discount"]
    found = []
    for t in range(STEPS):
        back = s.ahead(t, t + 1, decay * s.g(t + 1))
        if J is not None:
            y = s.h[t + 1][:, UNITS:]
            delta = (y @ s.w["W_out"].T + s.w["b_out"] - s.batch.targets[t]) * s.batch.weight[t][:, None]
            back = (torch.nn.functional.pad(delta @ s.w["W_out"], (UNITS, 0)) + decay * s.g(t + 1)) @ J
        found.append(back - s.g(t))
    return mean_square(found)


def model_error(s: Stands) -> float:
    m = s.own["model"]
    steps = [s.h[t] @ m["J"].T + s.batch.inputs[t] @ m["K"].T + m["c"] - s.h[t + 1] for t in range(STEPS)]
    return mean_square(steps)


def auxiliary_error(s: Stands) -> float:
    """The last window foresees nothing."""
    return mean_square([s.g(1, "auxiliary") - s.g(WINDOW)]) / 2


#: of columns that are measured before an update, from where it stands
BEFORE: dict[str, Callable[[Stands], float]] = {
    "loss": lambda s: s.scored(s.batch)[0], "score": lambda s: s.scored(s.batch)[1],
    "rate": lambda s: float(torch.stack(s.h[1:])[..., UNITS:].mean()), "alignment": alignment,
    "prediction": prediction, "prediction_ratio": prediction_ratio, "prediction_error": prediction_error,
    "td_error": td_error, "model_error": model_error, "auxiliary_error": auxiliary_error,
}  # fmt: skip
#: and of those that are measured after it, on the test trials
AFTER = ("test_loss", "test_score")
#: of runs of another kind: see `test_columns_of_a_curriculum`, and test_reported_tables for the lags
ELSEWHERE = {"steps", "solved", "lag"}


UPDATE, TEST = 1.25, 10.0  # s


def lasting(real: Callable[[Trainer], Any], seconds: float, now: list[float]) -> Callable[[Trainer], Any]:
    def call(self: Trainer) -> Any:
        now[0] += seconds
        return real(self)

    return call


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by so much in every update and every test."""
    now = [1000.0]
    monkeypatch.setattr(sitting, "time", SimpleNamespace(**{**vars(time), "perf_counter": lambda: now[0]}))
    for method, lasts in (("update", UPDATE), ("evaluate", TEST)):
        monkeypatch.setattr(Trainer, method, lasting(getattr(Trainer, method), lasts, now))


@pytest.mark.parametrize("name", RULES)
def test_every_column_of_the_metrics(name, clock, tmp_path):
    given, seed = made(name), 4
    options = {field.name: getattr(given["training"], field.name) for field in fields(bp.Training)}
    run = bp.train(given["circuit"], TASK, given["rule"], seed=seed, folder=tmp_path / "run", **options)
    with open(Path(run.folder, "metrics.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0])[: len(COLUMNS)] == COLUMNS
    unnamed = set(rows[0]) - set(BEFORE) - set(AFTER) - {"update", "seconds"}
    assert not unnamed, f"no test knows the columns {unnamed}: say here what they are"
    assert len(rows) == UPDATES
    trainer = Trainer(**given, seed=seed)
    for i, row in enumerate(rows):
        assert row["update"] == str(i + 1)
        s = Stands(trainer)
        for column, of in BEFORE.items():
            measured = column in row and (i % 2 == 0 or column not in ("alignment", "prediction", "prediction_ratio"))
            assert bool(row.get(column)) == measured, (column, i)
            if measured:
                assert float(row[column]) == pytest.approx(of(s), rel=1e-9, abs=1e-14), (column, i)
        assert float(row["seconds"]) == pytest.approx((i + 1) * UPDATE + (i + 1) // 2 * TEST), i
        trainer.update()
        tested = i % 2 == 1
        assert [bool(row[column]) for column in AFTER] == [tested] * 2, i
        if tested:
            loss, right = Stands(trainer).scored(whole_test(trainer))
            assert float(row["test_loss"]) == pytest.approx(loss, rel=1e-9)
            assert float(row["test_score"]) == pytest.approx(right, rel=1e-9)


def whole_test(trainer: Trainer) -> Batch:
    parts = [batch.to(dtype=torch.float64) for batch in trainer.task.test_batches(256)]
    return Batch(*(torch.cat([getattr(p, n) for p in parts], 1) for n in ("inputs", "targets", "weight")))


def test_the_rate_of_spiking_circuits_is_in_hertz():
    circuit = bp.circuit("recurrent", cell=bp.model("lif"), inputs=2, units=5, outputs=2, input_gain=20.0)
    trainer = Trainer(circuit, TASK, bp.rule("bptt"), bp.Training(batch=3), 0)
    generator = torch.Generator()
    generator.set_state(trainer.generator.get_state())
    batch = TASK.batch(generator, 3)
    recorded = bp.simulate(trainer.network, batch.inputs, record=("spikes",))["spikes"].values
    assert trainer.update()["rate"] == pytest.approx(1000 * recorded.mean()) and recorded.any()


def test_the_rate_of_several_populations_is_the_mean_of_theirs():
    """However many neurons each has."""
    circuit = bp.circuit(
        "recurrent", cell={"E": "lif", "I": "lsnn_lif"}, inputs=2, units={"E": 8, "I": 2}, outputs=2, input_gain=20.0
    )
    trainer = Trainer(circuit, TASK, bp.rule("bptt"), bp.Training(batch=3), 0)
    generator = torch.Generator()
    generator.set_state(trainer.generator.get_state())
    batch = TASK.batch(generator, 3)
    trajectory = roll(trainer.network, trainer.network.start(3), batch.inputs)[0]
    means = [float(trajectory.spikes(i).mean()) for i in range(2)]
    assert abs(means[0] - means[1]) > 1e-3
    assert trainer.update()["rate"] == pytest.approx(1000 * sum(means) / 2, rel=1e-5)


def test_columns_of_a_curriculum():
    task = bp.task("copy_repeat")
    circuit = bp.circuit("recurrent", cell=bp.model("lstm"), inputs=task.inputs, units=5, outputs=task.outputs)
    trainer = Trainer(circuit, task, bp.rule("bptt"), bp.Training(batch=2, curriculum=True), 0)
    for solved in (0.0, 1.0, 0.0):
        steps = trainer.task.batch(torch.Generator().manual_seed(0), 2).steps
        with pytest.MonkeyPatch.context() as patch:
            limit = -1.0 if trainer.task.higher_is_better == bool(solved) else 1e9
            patch.setattr(type(trainer.task), "solved", limit, raising=False)
            row = trainer.update()
        assert (row["steps"], row["solved"]) == (steps, solved)


@pytest.mark.parametrize("name", TABLE)
def test_no_rule_reports_a_column_that_no_test_knows(name):
    given: dict[str, Any] = made("eprop") | {"rule": bp.rule(name)}
    trainer = Trainer(**given, seed=0)
    assert set(trainer.update()) <= set(BEFORE) | set(COLUMNS) | ELSEWHERE


@pytest.mark.parametrize("signal", (DNI, BPLambda))
def test_what_is_predicted_is_looked_up_where_it_is_measured(signal):
    """`predicted_and_true`, of which figures are drawn, is what the columns are of."""
    trainer = Trainer(**made("bp_lambda" if signal is BPLambda else "dni"), seed=1)
    for _ in range(3):
        trainer.update()
    s, network = Stands(trainer), trainer.network
    its = trainer.rule.signal
    assert isinstance(its, (DNI, BPLambda)) and isinstance(its, signal)
    found = predicted_and_true(network, its, trainer.own, s.batch, TASK.loss)
    for mine, theirs in zip(predictions(s), found, strict=True):
        torch.testing.assert_close(theirs, mine, rtol=1e-9, atol=1e-14)


def test_a_signal_may_not_take_the_name_of_a_column():
    trainer = Trainer(**made("eprop"), seed=0)
    with pytest.MonkeyPatch.context() as patch:
        real = type(trainer.rule.signal).credit
        patch.setattr(type(trainer.rule.signal), "credit", lambda *given: (*real(*given)[:3], {"test_loss": 1.0}))
        with pytest.raises(RuleError, match="reports 'test_loss'"):
            trainer.update()
