"""A predictor and the cortex that it teaches, learning in one Brian2 network: against the library, and against an independent solver of their equations."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from task_helpers import paragraph
from test_time_constants import DURATION, ETA, TAU, TAU_GAMMA, TAU_LAMBDA, N, Waves, is_of_order_1, u, wanted

import bioplaus as bp
from bioplaus import Trainer, Training, ms
from bioplaus.brian.predictor import Learned
from bioplaus.cell import Cell
from bioplaus.errors import CircuitError, RuleError
from bioplaus.learning.outside import beside_predictor as learn
from bioplaus.own import tensors
from bioplaus.symbolic.runtime import runtime
from bioplaus.tasks import Batch, joined

RATE = 1e-3  # of the cortex, for a loss per ms
SETTINGS: dict[str, Any] = dict(
    batch=1, lr=RATE, predictor_lr=ETA / ms, loss_per="ms", optimiser="sgd", apply="window", dtype="float64"
)


class Drawn(Waves):
    """Waves, each input stronger or weaker from trial to trial, asked at some steps more than at others."""

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> Batch:
        batch = super().batch(generator, size)
        factor, weight = torch.rand(1, size, 2, generator=generator), torch.rand(self.steps, size, generator=generator)
        return Batch(batch.inputs * (1 + factor), batch.targets, weight.double())


def rule(jacobian: str = "random", **options: Any) -> Any:
    times = {"tau_lambda": TAU_LAMBDA * ms, "tau_gamma": TAU_GAMMA * ms}
    common: dict[str, Any] = dict(trace="local", schedule="online", eligibility="eprop") | times
    return bp.rule("bp_lambda", jacobian=jacobian, **common | options)


def circuit(dt: float, cell: Any = None, **options: Any) -> Any:
    cell = cell or bp.model("leaky_rate", tau=TAU * ms)
    return bp.circuit("recurrent", cell=cell, inputs=2, units=N, outputs=2, dt=dt * ms, **options)


def saying(trainer: Trainer, dt: float) -> None:
    """A predictor that says something; what it says of outputs is per step, and goes with dt."""
    theta, rng = trainer.own["predictor"], np.random.default_rng(1)
    for name in ("A", "b"):
        theta[name].copy_(torch.tensor(rng.normal(size=theta[name].shape) * 0.1))
        theta[name][N:] *= dt


def standing(trainer: Trainer) -> tuple[Any, Any]:
    """The network and the rule's own, as they are now."""
    network = copy.copy(trainer.network)
    network.weights = {name: w.clone() for name, w in network.weights.items()}
    return network, copy.deepcopy(trainer.own)


# -- against the library, number by number ------------------------------------------------------------------------------------

BENT = Cell(
    name="bent", equations="dx/dt = (-x - x**3 + 2*tanh(I))/tau : 1", inputs=("I",), output="sigmoid(x)", parameters={"tau": 8 * ms}, method="euler"
)  # fmt: skip
SEVERAL = bp.model("leaky_rate", tau=np.array([5, 8, 13, 30]) * ms, rate="softplus(x)")


def both(trials: int, rule: Any, made: Any, dt: float, **training: Any) -> tuple[Trainer, Learned, dict[str, Any]]:
    """The library and Brian2 on the same trials, and where they began."""
    given: dict[str, Any] = SETTINGS | {"lr": 3e-2} | training
    settings = Training(updates=trials, **given)
    trainer = Trainer(made, Drawn(dt, 16.0), rule, settings)
    saying(trainer, dt)
    network, own = standing(trainer)
    batches = [trainer.task.batch(torch.Generator().manual_seed(i), 1) for i in range(trials)]
    coming = iter(batches)
    trainer.task.batch = lambda generator, size, split="train": next(coming)  # type: ignore[method-assign]
    losses = [trainer.update()["loss"] for _ in range(trials)]
    found = learn(network, rule, joined(batches), settings, own)
    np.testing.assert_allclose(found.loss, losses, rtol=1e-12)
    return trainer, found, network.weights | tensors(own)


@pytest.mark.parametrize(
    ("jacobian", "dt", "cell", "options"),
    [
        ("random", 1.0, None, {}),
        ("exact", 0.5, None, {"bias": {"I": 0.1}}),
        ("within", 1.0, None, {"output_bias": False}),
        ("random", 0.5, BENT, {"bias": {"I": 0.1}}),
        ("exact", 1.0, SEVERAL, {"fan_in": 2}),
    ],
)
def test_the_map_is_the_library_number_for_number(jacobian, dt, cell, options):
    trainer, found, before = both(2, rule(jacobian, injection=0.7), circuit(dt, cell, **options), dt)
    for name, w in trainer.network.weights.items():
        np.testing.assert_allclose(found.weights[name], w.numpy(), atol=1e-13, rtol=0)
        assert abs(found.weights[name] - before[name].numpy()).max() > 1e-4, name
    theta = trainer.own["predictor"]
    for mine, name in ((found.A, "A"), (found.b, "b")):
        np.testing.assert_allclose(mine, theta[name].numpy(), atol=1e-13, rtol=0)
        assert abs(mine - before[f"predictor.{name}"].numpy()).max() > 1e-5


def test_what_the_predictor_says_teaches_the_cortex():
    """Without injection the cortex learns by e-prop alone: a difference that the equality above would not see were it zero."""
    with_it, without = (both(2, rule(injection=s), circuit(1.0), 1.0)[1] for s in (1.0, 0.0))
    assert abs(with_it.weights["W_rec"] - without.weights["W_rec"]).max() > 1e-4


def test_what_does_not_learn_stays():
    _, found, before = both(
        1, rule(), circuit(1.0), 1.0, lr={"default": 0, "W_in": 1e-2, "predictor": 0}, predictor_lr=None
    )
    for name in ("W_rec", "W_out"):
        assert np.array_equal(found.weights[name], before[name].numpy())
    assert np.array_equal(found.A, before["predictor.A"].numpy()) and not np.array_equal(
        found.weights["W_in"], before["W_in"].numpy()
    )


# -- against their differential equations ---------------------------------------------------------------------------------------


class Continuous:
    """Cortex, readout and predictor, all of which move; C Cᵀ and e-prop's traces as in the module's (1) to (5), written anew.

    Traces of a synapse are those of its source, as all neurons have one τ. B: what the predictor says of outputs, per ms.
    """

    def __init__(self, trainer: Trainer, dt: float, lr: float) -> None:
        self.W, self.U, self.C = (trainer.network.weights[n].numpy().copy() for n in ("W_rec", "W_in", "W_out"))
        self.V = trainer.own["feedback"]["W_rec"].numpy() if "feedback" in trainer.own else 0 * self.W
        theta = trainer.own["predictor"]
        both = np.c_[theta["A"].numpy(), theta["b"].numpy()]
        self.A, self.B, self.lr = both[:N], both[N:] / dt, lr

    def parts(self, s: np.ndarray) -> list[np.ndarray]:
        shapes = [(N,), (N,), (2,), (2 * N + 1,), (N, N), (N, 2), (2, N), (N, 2 * N + 1), (N, 2 * N + 1)]
        ends = np.cumsum([np.prod(shape) for shape in shapes])[:-1]
        return [part.reshape(shape) for part, shape in zip(np.split(s, ends), shapes, strict=True)]

    def slopes(self, t: float, s: np.ndarray) -> np.ndarray:
        x, of_y, of_u, e, W, U, C, A, B = self.parts(s)
        y, given = np.tanh(x), u(np.asarray(t))
        slope, error = 1 - y**2, C @ y - wanted(np.asarray(t))
        dx = (-x + W @ y + U @ given) / TAU
        h, dh = np.r_[x, y, 1], np.r_[dx, slope * dx, 0]
        faster = 1 / TAU + 1 / TAU_GAMMA
        g, G = A @ h, B @ h
        of_x = slope * (C.T @ error + G) + A @ dh - faster * g
        of_output = self.V.T @ g / TAU - G
        taught = slope * (C.T @ error + G)
        parts = [
            dx, (y - of_y) / TAU, (given - of_u) / TAU, h - e * (faster + 1 / TAU_LAMBDA), -self.lr * np.outer(taught, of_y), -self.lr * np.outer(taught, of_u),
            -self.lr * np.outer(error, y), ETA * np.outer(of_x + slope * of_output, e), ETA * np.outer(of_output, h),
        ]  # fmt: skip
        return np.concatenate([part.ravel() for part in parts])

    def solved(self) -> dict[str, np.ndarray]:
        start = np.concatenate([np.zeros(4 * N + 3), *(w.ravel() for w in (self.W, self.U, self.C, self.A, self.B))])
        end = solve_ivp(self.slopes, (0, DURATION), start, "DOP853", rtol=1e-10, atol=1e-12).y[:, -1]
        x, _, _, e, W, U, C, A, B = self.parts(end)
        event = -ETA * np.outer(A @ np.r_[x, np.tanh(x), 1], e)
        return {"W_rec": W, "W_in": U, "W_out": C, "A": A, "B": B, "event": event}


def told(weights: Any, A: Any, b: Any, dt: float) -> dict[str, np.ndarray]:
    found = {name: np.asarray(weights[name]) for name in ("W_rec", "W_in", "W_out")}
    both = np.c_[np.asarray(A), np.asarray(b)]
    return found | {"A": both[:N], "B": both[N:] / dt}


def off(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    return max(float(abs(one[name] - other[name]).max()) for name in one if name in other)


def before_the_end(dt: float, jacobian: str, lr: float) -> tuple[Learned, Trainer]:
    """What Brian2 has before the last step, and the library before all."""
    made = circuit(dt, bias=False, output_bias=False)
    trainer = Trainer(
        made, Waves(dt, DURATION, more=1), rule(jacobian), Training(**dict[str, Any](SETTINGS | {"lr": lr}))
    )
    saying(trainer, dt)
    network, own = standing(trainer)
    batch = trainer.task.batch(torch.Generator(), 1)
    settings = trainer.training
    return learn(network, trainer.rule, batch, settings, own, form="equations", steps=batch.steps - 1), trainer


def in_the_library(trainer: Trainer, dt: float) -> dict[str, np.ndarray]:
    """The same."""
    before: dict[str, torch.Tensor] = {}
    move = trainer.apply

    def keep(*given: Any) -> None:
        before.update({name: w.clone() for name, w in (trainer.network.weights | tensors(trainer.own)).items()})
        move(*given)

    trainer.apply = keep  # type: ignore[method-assign]
    trainer.update()
    return told(before, before["predictor.A"], before["predictor.b"], dt)


STEPS = (2.0, 1.0, 0.5, 0.25)


def test_a_predictor_alone_is_its_equations_to_order_1_and_the_end_of_a_trial_an_event():
    ran = [before_the_end(dt, "within", 0.0) for dt in STEPS]
    system = Continuous(ran[0][1], STEPS[0], 0.0)
    reference = system.solved()
    assert all(abs(reference[name] - start).max() > 0.01 for name, start in (("A", system.A), ("B", system.B)))
    found = [told(each.weights, each.A, each.b, dt) for (each, _), dt in zip(ran, STEPS, strict=True)]
    is_of_order_1(STEPS, [off(each, reference) for each in found])
    jumps, event = [], reference["event"][:, :N]
    for (each, _), dt in zip(ran, STEPS, strict=True):  # the network as it stands goes on by one step
        with runtime():
            each.network.run(dt * ms, namespace={})
        onto = next(each for each in each.network.objects if each.name.startswith("parallel_fibres"))
        behind = np.zeros((N, N))
        behind[np.asarray(onto.j), np.asarray(onto.i)] = np.asarray(onto.Axx)
        jumps.append(behind - each.A[:N, :N])
    assert abs(event).max() > 1e-4
    is_of_order_1(STEPS, [abs(jump - event).max() for jump in jumps])


@pytest.mark.slow
def test_cortex_and_predictor_together_are_their_equations_and_the_library_goes_there_too():
    ran = [before_the_end(dt, "random", RATE) for dt in STEPS]
    system = Continuous(ran[0][1], STEPS[0], RATE)
    reference = system.solved()
    moved = (("A", system.A), ("B", system.B), ("W_rec", system.W), ("W_in", system.U), ("W_out", system.C))
    assert all(abs(reference[name] - start).max() > 0.01 for name, start in moved)
    found = [told(each.weights, each.A, each.b, dt) for (each, _), dt in zip(ran, STEPS, strict=True)]
    is_of_order_1(STEPS, [off(each, reference) for each in found])
    library = [in_the_library(trainer, dt) for (_, trainer), dt in zip(ran, STEPS, strict=True)]
    for name in ("W_rec", "W_in", "W_out", "B"):
        is_of_order_1(STEPS, [abs(each[name] - reference[name]).max() for each in library])
    # rows for states still approach it at these steps: 0.73, 0.81, 0.91
    orders = np.diff(np.log2([off(each, reference) for each in library])) * -1
    assert np.all(np.diff(orders) > 0) and 0.9 < orders[-1] < 1.1, orders


# -- what is refused --------------------------------------------------------------------------------------------------------------


def asking(made: Any, rule: Any, **training: Any) -> None:
    task = Waves(1.0, 3.0)
    trainer = Trainer(made, task, rule, Training(batch=1))
    learn(trainer.network, rule, task.batch(torch.Generator(), 1), Training(**SETTINGS | training), trainer.own)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tau_out": 20 * ms}, "its readout has a memory"),
        ({"delay": 2}, "it has delays"),
        ({"cell": "lif"}, "not rate cells"),
        ({"cell": "elman"}, "not rate cells"),
    ],
)
def test_circuits_that_have_no_such_equations_are_refused(options, said):
    of = rule(tau_lambda=None, tau_gamma=None)
    with pytest.raises(CircuitError, match=said) as error:
        asking(circuit(1.0, **options), of)
    paragraph(error)


@pytest.mark.parametrize(
    ("options", "training", "said"),
    [
        ({"trace": "exact"}, {}, "trace='local'"),
        ({"jacobian": "learned"}, {}, "jacobian='exact', 'random' or 'within'"),
        ({"eligibility": "immediate"}, {}, "eligibility='eprop'"),
        ({"predictor": "mlp"}, {}, "linear"),
        ({}, {"optimiser": "adam"}, "optimiser='sgd'"),
        ({}, {"apply": "sequence"}, "apply='window'"),
        ({}, {"clip": 1.0}, "without clip"),
    ],
)
def test_rules_and_trainings_that_have_none_are_refused(options, training, said):
    with pytest.raises(RuleError, match=said) as error:
        asking(circuit(1.0), rule(**options), **training)
    paragraph(error)


def test_a_trainer_learns_beside_a_predictor_in_brian2():
    """The same trials, weights, predictor and losses as by torch; and it goes on from a checkpoint."""
    settings: dict[str, Any] = SETTINGS | {"lr": 3e-2, "batch": 1}
    made, task, asked = circuit(1.0), Drawn(1.0, 12.0), rule("random")
    ours, there = (Trainer(made, task, asked, Training(**settings, backend=b)) for b in ("torch", "brian2"))
    for trainer in (ours, there):
        saying(trainer, 1.0)
    start = {name: W.clone() for name, W in ours.network.weights.items()}
    rows = [(ours.update(), there.update()) for _ in range(2)]
    for mine, other in rows:
        assert other["loss"] == pytest.approx(mine["loss"], rel=1e-12) and other["rate"] == pytest.approx(mine["rate"])
    for name, value in (ours.network.weights | tensors(ours.own)).items():
        found = (there.network.weights | tensors(there.own))[name]
        np.testing.assert_allclose(found, value, rtol=0, atol=1e-13, err_msg=name)
    assert all(abs(ours.network.weights[n] - start[n]).max() > 1e-5 for n in ("W_rec", "W_in", "W_out"))
    again = Trainer(made, task, asked, Training(**settings, backend="brian2"))
    again.load_state_dict(there.state_dict())
    last = there.update(), again.update()
    assert last[0]["loss"] == last[1]["loss"]


STILL: dict[str, dict[str, Any]] = {
    "predictor": {"perturb": bp.Perturb("predictor", "freeze")},
    "predictor.A": {"perturb": bp.Perturb("predictor.A", "freeze")},
    "W_rec": {"perturb": bp.Perturb("W_rec", "freeze")},
    "predictor.b": {"lr": {"default": 3e-2, "predictor.b": 0.0, "predictor.A": ETA / ms}, "predictor_lr": None},
}


@pytest.mark.parametrize("path", STILL)
def test_what_somebody_holds_still_does_not_move_and_all_else_does(path):
    """One name is no other's: 'predictor' is not all that learns, nor is the rate of A that of b."""
    settings: dict[str, Any] = SETTINGS | {"lr": 3e-2} | STILL[path]
    if path == "predictor.b":
        settings |= {"loss_per": "step", "lr": {"default": 3e-2, "predictor.b": 0.0, "predictor.A": ETA}}
    ours, there = (Trainer(circuit(1.0), Drawn(1.0, 12.0), rule(), Training(**settings, backend=b)) for b in ("torch", "brian2"))  # fmt: skip
    for trainer in (ours, there):
        saying(trainer, 1.0)
    start = {name: value.clone() for name, value in (ours.network.weights | tensors(ours.own)).items()}
    for trainer in (ours, there):
        trainer.update()
    found = there.network.weights | tensors(there.own)
    for name, value in (ours.network.weights | tensors(ours.own)).items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-13, err_msg=name)
        still = name.startswith(path) or name.startswith("feedback")
        assert bool((found[name] == start[name]).all()) == still, name


def test_a_trainer_says_what_has_no_predictor_in_brian2():
    settings = Training(**SETTINGS, backend="brian2")
    for options, said in (({"schedule": "window"}, "holds weights"), ({"trace": "exact"}, "trace='local'")):
        other = bp.rule("bp_lambda", **{"trace": "local", "schedule": "online", "eligibility": "eprop"} | options)
        with pytest.raises(bp.errors.RuleError, match=re.escape(said)):
            Trainer(circuit(1.0), Drawn(1.0, 12.0), other, settings)
    with pytest.raises(bp.errors.CircuitError, match="its readout has a memory"):
        Trainer(circuit(1.0, tau_out=20 * ms), Drawn(1.0, 12.0), rule("random"), settings)
