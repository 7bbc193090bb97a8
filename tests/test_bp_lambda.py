"""BP(λ) and n-step synthetic gradients against traces written from the equations, with every Jacobian by autograd."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from predictor_helpers import (
    Trajectory,
    bp_lambda_is_its_traces,
    cortex_sees_this_step_and_the_prediction,
    dni_is_autograd_of_its_windows,
    drawn,
    forward_traces,
    jacobian,
    knowing,
    lambda_targets,
    learned,
    loss_at,
    predicted,
    stepped,
    trajectory,
    windows,
    with_synthetic_gradients,
)
from rule_helpers import TIGHT, Case, case, normal, off, owned, same, side_by_side, signal_of, two_populations
from torch import Tensor

import bioplaus as bp
from bioplaus import Trainer, Training, ms
from bioplaus.cerebellum.predictors import Seen
from bioplaus.circuit.carried import Layout
from bioplaus.learning.sequence import sequence
from bioplaus.rules import bp_lambda, dni
from bioplaus.schedule import Online, Window
from bioplaus.signal.synthetic import SyntheticGradient
from bioplaus.signal.truth import asked, future_credit, predicted_and_true, prediction_alignment
from bioplaus.tasks import Batch, squared

# name → model, readout: with and without a memory of the readout, spikes with one
CIRCUITS: dict[str, tuple[str, Any, int]] = {
    "elman": ("elman", None, 1), "leaky_rate": ("leaky_rate", None, 1), "gru": ("gru", None, 1), "lstm": ("lstm", None, 1),
    "lif": ("lif", 10 * ms, 1), "alif": ("alif", 10 * ms, 1), "elman_leaky": ("elman", 5 * ms, 1), "lif_delays": ("lif", 10 * ms, 3),
    "adex": ("adex", 10 * ms, 2),
}  # fmt: skip
PREDICTORS = {
    "linear": "linear",
    "mlp": bp.predictor("mlp", hidden=(6,)),
    "deep": bp.predictor("mlp", hidden=(5, 4)),
    "features": bp.predictor("mlp", hidden=(6,), train="output"),
}
everywhere = pytest.mark.parametrize("name", CIRCUITS)
any_predictor = pytest.mark.parametrize("predictor", PREDICTORS)


@cache
def circuit(name: str) -> Case:
    model, tau, delay = CIRCUITS[name]
    return case(model, tau=tau, delay=delay, units=4, steps=11, size=3, gain=1.5)


@cache
def path(name: str) -> Trajectory:
    return trajectory(circuit(name))


def true_future(c: Case) -> list[Tensor]:
    """dL_{>t}/dh_t for t = 0 … T, by autograd through the whole rest of the sequence, T times."""
    layout, out = Layout(c.network), []
    for t in range(c.batch.steps + 1):
        h = layout.vectors(c.window)[t].detach().requires_grad_()
        state, total = h, torch.zeros(())
        for k in range(t, c.batch.steps):
            state = stepped(c, k, state)
            total = total + loss_at(c, k, state)
        out.append(torch.autograd.grad(total, h)[0] if t < c.batch.steps else torch.zeros_like(h))
    return out


# -- the facts of docs/concepts.md --------------------------------------------------------------------------------------------


@everywhere
def test_the_jacobian_is_autograds(name):
    c, tr = circuit(name), path(name)
    layout = Layout(c.network)
    for t, step in enumerate(c.observed.tangent.each()):
        torch.testing.assert_close(layout.jacobian(step), tr.J[t], rtol=TIGHT, atol=TIGHT * float(tr.J[t].abs().max()))
    direct = c.observed.direct()
    torch.testing.assert_close(
        layout.flat(direct, layout.vectors(c.window)[1:]), torch.stack(tr.q), rtol=TIGHT, atol=1e-12
    )


@everywhere
@any_predictor
@pytest.mark.parametrize("lmbda", (0.0, 0.5, 1.0))
def test_traces_forward_and_the_gradient_of_the_regression_on_lambda_targets(name, predictor, lmbda):
    """With θ held, Σ δ e is the gradient of ½ Σ ‖g(h_t) − Γ_t‖², and every schedule returns it."""
    c, tr = circuit(name), path(name)
    rule = bp_lambda(lmbda, PREDICTORS[predictor], discount=0.9)
    theta = drawn(c, rule)
    bp_lambda_is_its_traces(c, rule, tr)
    expected = forward_traces(tr, theta, lmbda, 0.9)
    targets = lambda_targets(tr, theta, lmbda, 0.9)
    free = {n: v.clone().requires_grad_() for n, v in theta.items()}
    loss = (
        sum(0.5 * (predicted(free, h) - target).square().sum() for h, target in zip(tr.h, targets, strict=False))
        / c.batch.size
    )
    assert isinstance(loss, Tensor)
    by_regression = dict(zip(expected, torch.autograd.grad(loss, [free[n] for n in expected]), strict=True))
    same(expected, by_regression)


@everywhere
def test_lambda_and_gamma_of_one_regress_on_the_true_gradient(name):
    c, tr = circuit(name), path(name)
    rule = bp_lambda(1.0)
    theta = drawn(c, rule)
    truth = true_future(c)
    for target, true in zip(lambda_targets(tr, theta, 1.0, 1.0), truth, strict=False):
        torch.testing.assert_close(target, true, rtol=1e-9, atol=TIGHT * float(true.abs().max()))
    torch.testing.assert_close(
        future_credit(c.network, c.observed.tangent, c.observed), torch.stack(truth[1:]), rtol=1e-9, atol=1e-11
    )
    free = {n: v.clone().requires_grad_() for n, v in theta.items()}
    loss = (
        0.5
        * sum((predicted(free, h) - t).square().sum() for h, t in zip(tr.h[:-1], truth, strict=False))
        / c.batch.size
    )
    assert isinstance(loss, Tensor)
    expected = dict(zip(free, torch.autograd.grad(loss, list(free.values())), strict=True))
    same(side_by_side(c.outcome(rule, theta).own), expected)


# -- what the cortex gets ---------------------------------------------------------------------------------------------


@everywhere
@pytest.mark.parametrize("predictor", ("linear", "mlp"))
def test_the_cortex_learns_from_this_step_and_the_prediction(name, predictor):
    cortex_sees_this_step_and_the_prediction(
        circuit(name), bp_lambda(0.5, PREDICTORS[predictor], discount=0.9, injection=0.7)
    )


@everywhere
@pytest.mark.parametrize("steps", (1, 3, 11, 50))
def test_n_step_synthetic_gradients(name, steps):
    c = circuit(name)
    rule = dni(steps, PREDICTORS["mlp"], discount=0.9, injection=0.7)
    dni_is_autograd_of_its_windows(c, rule, path(name))
    if steps >= c.batch.steps:
        same(c.gradients(rule, drawn(c, rule)), c.true)


@everywhere
def test_one_step_of_dni_is_bp_zero(name):
    c = circuit(name)
    for options in ({}, {"discount": 0.8, "injection": 0.3}):
        theta = drawn(c, dni())
        one, other = c.outcome(dni(1, **options), theta), c.outcome(bp_lambda(0.0, **options), theta)  # type: ignore[arg-type]
        same(one.gradients, other.gradients)
        same(side_by_side(one.own), side_by_side(other.own))


@everywhere
def test_without_injection_only_this_step_is_left(name):
    c = circuit(name)
    theta = drawn(c, bp_lambda())
    alone = c.gradients(bp.rule("tbptt", steps=1))
    for rule in (
        bp_lambda(1.0, injection=0.0),
        bp_lambda(0.0, injection=0.0, schedule="online"),
        dni(1, injection=0.0),
    ):
        same(c.gradients(rule, theta), alone)
    same(c.gradients(bp_lambda(), {n: torch.zeros_like(v) for n, v in theta.items()}), alone)
    assert off(c.gradients(bp_lambda(), theta), alone) > 1e-3


@everywhere
def test_a_predictor_that_knows_makes_it_exact(name):
    c = circuit(name)
    known = knowing(c)
    for rule in (
        bp_lambda(0.0, known),
        bp_lambda(1.0, known),
        bp_lambda(0.3, known, schedule="online"),
        dni(1, known),
        dni(4, known),
    ):
        outcome = c.outcome(rule)
        same(outcome.gradients, c.true)
        for error in ("td_error", "prediction_error"):
            assert outcome.info.get(error, 0.0) < 1e-20 * float(known.truth.square().mean())
    assert off(c.gradients(bp_lambda(0.0, known, injection=0.9)), c.true) > 1e-3


def test_the_exact_affine_predictor_of_a_linear_net():
    """T = 2, loss at the end: g(h) = CᵀC W h + Cᵀ(c − y) turned through W is exact, and the regression has its zero there."""
    network = bp.circuit("recurrent", cell=bp.model("elman", rate="x"), inputs=3, units=4, outputs=2, bias=False).build(
        seed=2, dtype=torch.float64
    )
    network.weights["b_out"] += 0.3
    x = normal(2, 40, 3, seed=1)
    x[1] = 0.0
    y = normal(1, 1, 2, seed=2).expand(2, 40, 2)
    weight = torch.tensor([[0.0], [1.0]], dtype=torch.float64).expand(2, 40)
    c = Case(network, Batch(x, y, weight)).alive()
    W, C, b = network.weights["W_rec"], network.weights["W_out"], network.weights["b_out"]
    theta = {"A": W.T @ C.T @ C @ W, "b": W.T @ C.T @ (b - y[0, 0])}
    assert Layout(network).size == 4  # h is y alone
    for lmbda in (0.0, 0.5, 1.0):
        for schedule in ("online", "window"):
            outcome = c.outcome(bp_lambda(lmbda, schedule=schedule), theta)
            same(outcome.gradients, c.true)
    same(c.gradients(dni(1), theta), c.true)
    assert off(c.gradients(bp_lambda(), {n: 1.01 * v for n, v in theta.items()}), c.true) > 1e-3


# -- γ, λ and s are three things ---------------------------------------------------------------------------------------


@everywhere
def test_discount_trace_and_injection_are_separate(name):
    c = circuit(name)
    theta = drawn(c, bp_lambda())
    base = {"lmbda": 0.5, "discount": 0.9, "injection": 0.7}
    at_base = c.outcome(bp_lambda(**base), theta)  # type: ignore[arg-type]

    def changed(**value: float) -> Any:
        return c.outcome(bp_lambda(**(base | value)), theta)  # type: ignore[arg-type]

    same(side_by_side(changed(injection=0.2).own), side_by_side(at_base.own), 0.0)
    assert off(changed(injection=0.2).gradients, at_base.gradients) > 1e-3
    for other in (changed(lmbda=0.1), changed(discount=0.4)):
        same(other.gradients, at_base.gradients, 0.0)
        assert off(side_by_side(other.own), side_by_side(at_base.own)) > 1e-3
    # γ and λ enter the trace together but the TD error apart
    assert off(side_by_side(changed(lmbda=0.9, discount=0.5).own), side_by_side(at_base.own)) > 1e-3


@everywhere
def test_beyond_the_end_there_is_no_future(name):
    """A sequence of one step: the predictor's weights change nothing for the cortex; nor does γ for the predictor."""
    c = circuit(name)
    short = Case(
        c.network, Batch(c.batch.inputs[:1], c.batch.targets[:1], torch.ones_like(c.batch.weight[:1]), c.batch.context)
    )
    theta = drawn(c, bp_lambda())
    for rule in (bp_lambda(1.0), bp_lambda(0.0, schedule="online"), dni(1), dni(3)):
        same(short.gradients(rule, theta), short.true)
    same(
        side_by_side(short.outcome(bp_lambda(1.0, discount=0.1), theta).own),
        side_by_side(short.outcome(bp_lambda(1.0), theta).own),
        0.0,
    )


def test_the_last_window_may_be_short_and_windows_may_be_longer_than_the_sequence():
    c = circuit("alif")
    theta = drawn(c, bp_lambda())
    whole = c.outcome(bp_lambda(0.8), theta)
    for steps in (2, 5, 10, 11, 12, 100):
        outcome = c.outcome(bp_lambda(0.8, schedule="window", steps=steps), theta)
        same(outcome.gradients, whole.gradients)
        same(side_by_side(outcome.own), side_by_side(whole.own))


def test_two_kinds_of_cells_with_delays_and_a_leaky_readout():
    c = two_populations("alif", "gru", steps=8)
    rule = bp_lambda(0.6, discount=0.9)
    bp_lambda_is_its_traces(c, rule)
    cortex_sees_this_step_and_the_prediction(c, rule)
    dni_is_autograd_of_its_windows(c, dni(3, discount=0.9))


# -- context, the circuit's own cerebellum, learning ---------------------------------------------------------------------


@pytest.mark.parametrize("each_step", (False, True))
@pytest.mark.parametrize("predictor", ("linear", "mlp"))
def test_context_is_part_of_what_the_predictor_sees(predictor, each_step):
    c = circuit("lstm")
    assert c.batch.context is not None
    T = c.batch.steps
    beside = [c.batch.context] * (T + 1)
    if each_step:  # told of a step behind it, so that before the first one nothing is
        beside = [torch.zeros_like(c.batch.context), *normal(T, *c.batch.context.shape, seed=5)]
        c = Case(c.network, replace(c.batch, context=torch.stack(beside[1:])))
    rule = bp_lambda(0.5, PREDICTORS[predictor], discount=0.9, context=True)
    theta = drawn(c, rule, context=3)
    h = [torch.cat(both, -1) for both in zip(path("lstm").h, beside, strict=True)]
    told = Trajectory(h, path("lstm").J, path("lstm").q)
    expected = forward_traces(told, theta, 0.5, 0.9)
    synthetic = {t: predicted(theta, told.h[t]) for t in range(1, c.batch.steps)}
    for schedule in (Online(), Window(), Window(4)):
        outcome = c.outcome(replace(rule, schedule=schedule), theta)
        same(side_by_side(outcome.own), expected)
        same(outcome.gradients, with_synthetic_gradients(c, windows(c.batch.steps, 1), synthetic))
    n = dni(3, PREDICTORS[predictor], context=True)
    assert c.batch.context is not None
    swapped = Case(c.network, replace(c.batch, context=c.batch.context.flip(-2)))
    assert off(side_by_side(swapped.outcome(n, theta).own), side_by_side(c.outcome(n, theta).own)) > 1e-3
    assert off(swapped.gradients(n, theta), c.gradients(n, theta)) > 1e-3
    one, by_traces = dni(1, PREDICTORS[predictor], context=True), bp_lambda(0.0, PREDICTORS[predictor], context=True)
    same(side_by_side(c.outcome(one, theta).own), side_by_side(c.outcome(by_traces, theta).own))
    same(c.gradients(one, theta), c.gradients(by_traces, theta))
    own = owned(theta)
    for signal in (n.signal, rule.signal):
        assert isinstance(signal, SyntheticGradient)
        g, _ = predicted_and_true(c.network, signal, own, c.batch, squared)
        same({"g": g}, {"g": torch.stack([predicted(theta, h) for h in told.h[1:-1]])})
    recorded = bp.record(c.network, n, c.batch, "prediction", squared, own=own)
    kept = torch.tensor(np.concatenate([recorded[name].values for name in ("prediction_c", "prediction_y")], -1))
    same({"g": kept[:-1]}, {"g": torch.stack([predicted(theta, h) for h in told.h[1:-1]])})


def test_the_circuits_own_cerebellum_is_used():
    options: dict[str, Any] = dict(cell=bp.model("lstm"), inputs=4, units=4, outputs=2)
    network = bp.circuit("cortico_cerebellar", cerebellum="mlp", hidden=(5,), **options).build(dtype=torch.float64)
    size = Layout(network).size
    assert size == 8  # c and y
    generator = torch.Generator()
    of_circuit = bp_lambda().signal.begin(network, generator, 0)["predictor"]
    assert of_circuit["A0"].shape == (5, 8) and of_circuit["A"].shape == (8, 5)
    assert bp_lambda(predictor="linear").signal.begin(network, generator, 0)["predictor"]["A"].shape == (8, 8)
    plain = bp.circuit("recurrent", **options).build(dtype=torch.float64)
    assert set(bp_lambda().signal.begin(plain, generator, 0)["predictor"]) == {"A", "b"}
    assert set(bp_lambda(hidden=(3, 2)).signal.begin(plain, generator, 0)["predictor"]) == {
        "A0",
        "b0",
        "A1",
        "b1",
        "A",
        "b",
    }


@any_predictor
def test_predictors_against_autograd(predictor):
    g = PREDICTORS[predictor] if not isinstance(PREDICTORS[predictor], str) else bp.predictor("linear")
    born = g.init(Seen(5, outputs=3, dtype=torch.float64), torch.Generator().manual_seed(1))
    assert not bool(g.predict(born, normal(7, 2, 5)).any()), "starts silent"
    theta = side_by_side({"predictor": born})
    theta = {n: v + 0.5 * normal(*v.shape, seed=i) for i, (n, v) in enumerate(theta.items())}
    mine = owned(theta)["predictor"]
    assert set(mine.learned) == set(born.learned) and set(mine.fixed) == set(born.fixed)
    h, u = normal(7, 2, 5, seed=3), normal(7, 2, 3, seed=4)
    torch.testing.assert_close(g.predict(mine, h), predicted(theta, h), rtol=1e-13, atol=1e-13)
    free = {n: v.clone().requires_grad_() for n, v in theta.items()}
    expected = torch.autograd.grad((predicted(free, h) * u).sum(), [free[n] for n in learned(theta)])
    same(g.gradient(mine, h, u), dict(zip(learned(theta), expected, strict=True)))
    assert set(g.gradient(mine, h, u)) == set(learned(theta))
    same(g.jacobian(mine, h[0]), jacobian(theta, h[0]))


def test_prediction_alignment_is_one_for_a_predictor_that_knows():
    c = circuit("lif")
    known = knowing(c)
    assert prediction_alignment(c.network, signal_of(bp_lambda(1.0, known)), {}, c.batch, squared, c.window)[
        :2
    ] == pytest.approx((1.0, 1.0), abs=1e-12)
    theta = drawn(c, bp_lambda())
    h, truth = torch.stack(path("lif").h[1:-1]), torch.stack(true_future(c)[1:-1])
    expected = torch.nn.functional.cosine_similarity(predicted(theta, h), truth, dim=-1).mean()
    assert prediction_alignment(c.network, signal_of(bp_lambda()), owned(theta), c.batch, squared, c.window)[
        0
    ] == pytest.approx(float(expected), abs=1e-10)


def test_prediction_and_truth_step_by_step():
    """With the window at hand or seen anew; and what is asked for at λ = γ = 1 is the truth."""
    c = circuit("lstm")
    rule = bp_lambda(0.4)
    theta = drawn(c, rule)
    h, truth = torch.stack(path("lstm").h[1:-1]), torch.stack(true_future(c)[1:-1])
    for window in (c.window, None):
        g, v = predicted_and_true(c.network, signal_of(rule), owned(theta), c.batch, squared, window)
        torch.testing.assert_close(g, predicted(theta, h), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(v, truth, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(
        asked(c.network, signal_of(bp_lambda(1.0)), c.batch, squared), truth, rtol=1e-9, atol=1e-11
    )
    silent = {n: torch.zeros_like(v) for n, v in theta.items()}
    expected = torch.stack(lambda_targets(path("lstm"), silent, 0.4, 0.9)[1 : c.batch.steps])
    found = asked(c.network, signal_of(bp_lambda(0.4, discount=0.9)), c.batch, squared)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def test_sharper_traces_see_further():
    """A fixed linear network, one target at the end: the longer the trace, the better the prediction of the gradient.

    Alignment after 400 updates of the predictor, one seed; the published size of network and task.
    """
    task = bp.task("target_reaching", steps=10, targets=1)
    tangent = bp.circuit(
        "recurrent", cell=bp.model("elman", rate="x"), inputs=10, units=30, outputs=2, init="uniform", bias=False
    )
    training = Training(batch=10, lr=0.0, predictor_lr=1e-4, betas=(0.9, 0.98), eps=1e-9)
    found = {}
    for lmbda in (0.0, 0.5, 1.0):
        trainer = Trainer(tangent, task, bp_lambda(lmbda), training, seed=0)
        before = {n: w.clone() for n, w in trainer.network.weights.items()}
        for _ in range(400):
            trainer.update()
        assert all(torch.equal(w, before[n]) for n, w in trainer.network.weights.items()), "the cortex is fixed"
        found[lmbda] = trainer.alignment(task.batch(trainer.generator, 10))["prediction"]
    assert found[1.0] > found[0.5] + 0.05 > found[0.0] + 0.1, found
    assert found[1.0] > 0.5, found


def test_the_cortex_learns_with_its_cerebellum():
    """Six targets, credit over six steps: with the prediction it learns what it cannot without."""
    task = bp.task("target_reaching", steps=6, targets=6)
    cortex = bp.circuit("cortico_cerebellar", cell=bp.model("elman"), inputs=10, units=20, outputs=2)
    training = Training(batch=16, lr=2e-3, predictor_lr=1e-2)
    final = {}
    for name, rule in {
        "with": bp_lambda(1.0),
        "without": bp_lambda(1.0, injection=0.0),
        "bptt": bp.rule("bptt"),
    }.items():
        trainer = Trainer(cortex, task, rule, training, seed=1)
        losses = [trainer.update()["loss"] for _ in range(320)]
        final[name] = sum(losses[-40:]) / 40
    assert final["bptt"] < final["with"] < 0.5 * final["without"], final


def test_sequence_gives_the_mean_over_the_batch():
    """Two samples side by side give the mean of what each gives alone, of every gradient."""
    c = circuit("elman")
    rule = bp_lambda(0.5)
    theta = drawn(c, rule)
    alone = []
    for i in range(c.batch.size):
        b = c.batch
        assert b.context is not None
        one = Batch(b.inputs[:, i : i + 1], b.targets[:, i : i + 1], b.weight[:, i : i + 1], b.context[i : i + 1])
        outcome = sequence(c.network, rule, owned(theta), one, squared)
        alone.append(outcome.gradients | side_by_side(outcome.own))
    together = c.outcome(rule, theta)
    same(together.gradients | side_by_side(together.own), {n: sum(a[n] for a in alone) / len(alone) for n in alone[0]})  # type: ignore[misc]
