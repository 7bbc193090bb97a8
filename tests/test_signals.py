"""Signals beside the plain ones: broadcast and reward feedback; a predictor's copy, learned Jacobian and auxiliary task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any, ClassVar

import pytest
import torch
from predictor_helpers import (
    Trajectory,
    drawn,
    knowing,
    learned,
    predicted,
    trajectory,
    windows,
    with_synthetic_gradients,
)
from rule_helpers import (
    Case,
    Off,
    case,
    living,
    normal,
    off,
    paragraph,
    same,
    side_by_side,
    signal_of,
    two_populations,
)
from torch import Tensor

import bioplaus as bp
from bioplaus import Trainer, Training, ms
from bioplaus.check import by_hand
from bioplaus.eligibility import RTRL, EProp, Immediate
from bioplaus.errors import RuleError
from bioplaus.learning.sequence import sequence
from bioplaus.learning.tally import Outcome
from bioplaus.own import tensors
from bioplaus.rules import Rule, dni, eprop, rflo
from bioplaus.schedule import Online, Window
from bioplaus.signal import DNI, Instant, reward
from bioplaus.streams import stream
from bioplaus.tasks import Batch, Task, squared

ALL = (Online(), Window(), Window(7), Window(1))


@cache
def circuit(name: str) -> Case:
    """Spikes behind a leaky readout, gates in front of a plain one, delays, two kinds of cells."""
    if name == "two":
        return two_populations("alif", "gru", steps=11)
    tau, delay = {"alif": (10 * ms, 1), "lif": (10 * ms, 3)}.get(name, (None, 1))
    return case(name, tau=tau, delay=delay, units=4, steps=11, size=3, gain=1.5)


def fed_back(c: Case, heard: Callable[[Tensor], Tensor], B: Tensor, stop: str = "between") -> dict[str, Tensor]:
    """By autograd through Σ heard(δ)·B ȳ, where outputs are stopped between neurons; the readout learns from δ itself."""
    network, batch = c.network, c.batch
    with torch.no_grad():
        outputs, _ = by_hand.run(network.circuit, network.weights, batch.inputs)
        error = heard(squared.error(outputs, batch.targets) * batch.weight[..., None])
    weights = {n: w.clone().requires_grad_() for n, w in network.weights.items()}
    through = {**weights, "W_out": B, "b_out": torch.zeros(len(B), dtype=B.dtype)}
    fed, _ = by_hand.run(network.circuit, through, batch.inputs, stop=stop)
    names = list(c.of_circuit(weights))
    found = torch.autograd.grad((fed * error).sum() / batch.size, [weights[n] for n in names])
    expected = {n: g * network.masks.get(n, 1) for n, g in zip(names, found, strict=True)}
    return expected | {n: c.true[n] for n in ("W_out", "b_out")}


# -- broadcast ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ("alif", "lstm", "two"))
def test_broadcast_is_the_same_mixture_of_errors_for_all(name):
    c = circuit(name)
    C = c.network.weights["W_out"]
    theta = side_by_side(eprop(feedback="broadcast").signal.begin(c.network, stream(3, "feedback"), 0))
    assert {n: v.shape for n, v in theta.items()} == {"fixed_B": (C.shape[0], 1)}
    b = theta["fixed_B"]
    expected = fed_back(c, lambda error: error, b.repeat(1, C.shape[1]))
    for schedule in ALL:
        same(c.gradients(replace(eprop(feedback="broadcast"), schedule=schedule), theta), expected)
    assert off(expected, c.gradients(eprop())) > 1e-2
    if name == "alif":
        leak = fed_back(c, lambda error: error, b.repeat(1, C.shape[1]), stop="all")
        same(c.gradients(rflo(feedback="broadcast"), theta), {n: leak[n] for n in leak})


def test_broadcast_weights_are_as_wide_as_random_ones():
    network = bp.circuit("recurrent", cell=bp.model("elman"), inputs=2, units=25, outputs=4000).build()
    for gain in (1.0, 3.0):
        b = Instant("broadcast", gain).begin(network, stream(0, "feedback"), 0)["feedback"].fixed["B"]
        assert float(b.std()) == pytest.approx(gain / 5, rel=0.05) and abs(float(b.mean())) < 0.02 * gain
        assert torch.equal(
            b, Instant("broadcast", gain).begin(network, stream(0, "feedback"), 0)["feedback"].fixed["B"]
        )
    assert not torch.equal(b, Instant("broadcast", 3.0).begin(network, stream(1, "feedback"), 0)["feedback"].fixed["B"])


# -- reward ------------------------------------------------------------------------------------------------------------


def exploring(monkeypatch: pytest.MonkeyPatch, xi: Tensor) -> None:
    """Let the readout explore by what is given."""
    monkeypatch.setattr(reward, "signs", lambda generator, like: xi.expand_as(like))


@pytest.mark.parametrize("name", ("alif", "lstm", "two"))
def test_reward_is_one_number_times_what_each_neuron_knows(name, monkeypatch):
    c = circuit(name)
    C = c.network.weights["W_out"]
    xi = normal(c.batch.steps, c.batch.size, len(C), seed=4)
    exploring(monkeypatch, xi)
    expected = fed_back(c, lambda error: xi * torch.einsum("tbk,tbk->tb", xi, error)[..., None], C)
    same(c.gradients(eprop(feedback="reward")), expected)
    assert off(expected, c.gradients(eprop())) > 1e-2


@pytest.mark.parametrize("name", ("alif", "lstm"))
def test_over_all_signs_the_reward_tells_the_error(name, monkeypatch):
    """The credit is linear in ξξᵀ at every step: its mean over the four corners, the same at all steps, is exact."""
    c = circuit(name)
    corners = []
    for corner in product((-1.0, 1.0), repeat=2):
        exploring(monkeypatch, torch.tensor(corner, dtype=torch.float64))
        corners.append(c.gradients(eprop(feedback="reward")))
    same({n: sum(g[n] for g in corners) / 4 for n in corners[0]}, fed_back(c, lambda e: e, c.network.weights["W_out"]))  # type: ignore[misc]
    assert off(corners[0], corners[1]) > 1e-2


def test_a_single_output_is_told_exactly():
    options: dict[str, Any] = dict(inputs=4, units=5, tau_out=10 * ms)
    c = living(bp.circuit("recurrent", cell=bp.model("alif"), outputs=1, **options), {"alif": 3.0}, 30, 3)
    same(c.gradients(eprop(feedback="reward")), c.gradients(eprop()))


def replicated(name: str, times: int) -> Case:
    """One sample, many times: every copy explores for itself."""
    c = case(name, tau=10 * ms if name == "alif" else None, units=3, steps=15, size=1, gain=1.5)
    b = c.batch
    return Case(
        c.network,
        Batch(b.inputs.expand(-1, times, -1), b.targets.expand(-1, times, -1), b.weight.expand(-1, times)),
    )


def is_unbiased(c: Case, rule: Rule, expected: dict[str, Tensor], runs: int = 60) -> None:
    """The mean over many draws within 4 standard errors of what is expected, element by element; and the errors are small."""
    generator = stream(0, "test of the mean")
    draws = [sequence(c.network, rule, {}, c.batch, squared, generator=generator).gradients for _ in range(runs)]
    for n, value in expected.items():
        each = torch.stack([g[n] for g in draws])
        error = each.std(0) / runs**0.5
        scale = float(value.abs().max())
        assert float(error.mean()) < 0.03 * scale, "too few draws to tell"
        if n not in ("W_out", "b_out"):
            assert float(error.max()) > 1e-6 * scale, "nothing was drawn"
        beyond = (each.mean(0) - value).abs() - 4 * error - 1e-10 * scale
        if bool((beyond > 0).any()):
            raise Off(f"the mean of {n} is beyond 4 standard errors", float(beyond.max()))


@pytest.mark.parametrize("name", ("alif", "lstm"))
def test_reward_is_unbiased(name, monkeypatch):
    """e-prop's gradient and, with every path kept, the true one; wrong exploration is found out by the same test."""
    c = replicated(name, 400)
    rule, expected = eprop(feedback="reward"), c.gradients(eprop())
    is_unbiased(c, rule, expected)
    if name == "lstm":
        is_unbiased(replicated(name, 100), Rule(RTRL(), Instant("reward"), Online()), c.true, runs=60)

    def either(generator: torch.Generator, like: Tensor, odds: float = 0.5) -> Tensor:
        drawn = torch.rand(like.shape, generator=generator, dtype=like.dtype)
        return torch.where(drawn < odds, 1.0, -1.0).to(like)

    wrong: dict[str, Callable[[torch.Generator, Tensor], Tensor]] = {
        "mean 0.5": lambda g, like: either(g, like, 0.75),
        "variance 1.2": lambda g, like: 1.2**0.5 * either(g, like),
        "outputs alike": lambda g, like: either(g, like[..., :1]) * either(g, like, 0.85),
    }
    for signs in wrong.values():
        monkeypatch.setattr(reward, "signs", signs)
        with pytest.raises(Off):
            is_unbiased(c, rule, expected)


def test_signs_are_signs():
    xi = reward.signs(stream(1, "noise"), torch.empty(200, 50, 3, dtype=torch.float32))
    assert xi.dtype == torch.float32 and set(xi.unique().tolist()) == {-1.0, 1.0}
    flat = xi.flatten(0, 1).double()
    assert float(flat.mean(0).abs().max()) < 0.04
    torch.testing.assert_close(flat.T @ flat / len(flat), torch.eye(3, dtype=torch.float64), rtol=0, atol=0.04)
    for shift in (xi[1:] * xi[:-1], xi[:, 1:] * xi[:, :-1]):  # neither steps nor samples repeat one another
        assert abs(float(shift.mean())) < 0.03


class Restless(EProp):
    """e-prop that draws from the sequence's generator whenever it is asked for anything."""

    held: ClassVar[list[torch.Generator]] = []

    def init(self, network: Any, batch: int, own: Any = None, generator: Any = None) -> Any:
        self.held[:] = [generator]
        return super().init(network, batch, own, generator)

    def forward(self, network: Any, state: Any, tangent: Any, credit: Any) -> Any:
        torch.rand(1, generator=self.held[0])
        return super().forward(network, state, tangent, credit)

    def window(self, network: Any, state: Any, stretches: Any, last: bool) -> Any:
        torch.rand(1, generator=self.held[0])
        return super().window(network, state, stretches, last)


@pytest.mark.parametrize("past", (EProp(), Restless()), ids=("alone", "beside another that draws"))
def test_the_reward_is_the_same_under_every_schedule(past, monkeypatch):
    c = circuit("alif")

    def gradients(schedule: Any, seed: int | None = 5, apply: bool = False) -> dict[str, Tensor]:
        generator = None if seed is None else stream(seed, "noise")
        total: list[dict[str, Tensor]] = []
        outcome = sequence(
            c.network,
            Rule(past, Instant("reward"), schedule),
            {},
            c.batch,
            squared,
            generator=generator,
            apply=(lambda g, own: total.append(g)) if apply else None,
        )
        return {n: sum(g[n] for g in total) for n in total[0]} if apply else outcome.gradients  # type: ignore[misc]

    whole: dict[str, Tensor] = {}
    for seed in (5,) if isinstance(past, Restless) else (5, None):
        whole = gradients(Window(), seed)
        for schedule in (Online(), Window(1), Window(4), Window(7), Window(100)):
            same(gradients(schedule, seed), whole)
        same(gradients(Online(), seed, apply=True), whole)  # step by step, without looking ahead
        same(gradients(Window(3), seed, apply=True), whole)
        with monkeypatch.context() as cut:
            cut.setattr("bioplaus.learning.pace.BLOCK", 3)
            cut.setattr("bioplaus.learning.pace.STRETCH", 4)
            same(gradients(Online(), seed), whole)
            same(gradients(Window(), seed), whole)
        same(gradients(Window(), seed), whole, 0.0)  # and again
    circuit_only = c.of_circuit(gradients(Window(), 6))
    assert off(circuit_only, c.of_circuit(whole)) > 1e-2, "another seed explores otherwise"


def test_each_update_explores_anew_and_measuring_changes_nothing():
    def trainer(**options: Any) -> Trainer:
        return Trainer(
            reaching(), bp.task("target_reaching"), eprop(feedback="reward"), Training(batch=3, **options), seed=2
        )

    one, other = trainer(), trainer(align_every=1)
    for _ in range(3):
        one.update()
        other.update()
    assert all(torch.equal(w, other.network.weights[n]) for n, w in one.network.weights.items())
    c, g = circuit("lstm"), stream(0, "noise")
    first, second = (
        c.of_circuit(sequence(c.network, eprop(feedback="reward"), {}, c.batch, squared, generator=g).gradients)
        for _ in "ab"
    )
    assert off(first, second) > 1e-2


def test_what_each_feedback_declares():
    bias = {"symmetric": "exact", "reward": "unbiased"}
    for feedback in ("symmetric", "random", "adaptive", "broadcast", "reward"):
        d = Instant(feedback).declaration  # type: ignore[arg-type]
        assert d.bias == bias.get(feedback, "biased") and d.random == (feedback == "reward")
        assert d.half == "future" and d.credit == "direct" and d.causal and d.reference.startswith(("doi:", "arXiv:"))
    assert Instant.declaration.bias == "exact"
    assert Instant("reward") == Instant("reward") and hash(Instant("reward")) == hash(Instant("reward"))
    assert replace(Instant("reward"), feedback="random").declaration.bias == "biased"


# -- n-step synthetic gradients: everything at once, by autograd -------------------------------------------------------------


@cache
def path(name: str) -> Trajectory:
    return trajectory(circuit(name))


def by_autograd(
    c: Case, rule: Rule, theta: dict[str, Tensor], tr: Trajectory
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Gradients of the circuit, and of the signal's own tensors, from the losses as the docstrings state them."""
    signal, T, B, told = signal_of(rule), c.batch.steps, c.batch.size, c.batch.context
    assert rule.schedule.steps is not None and told is not None
    s, gamma, w, cuts = signal.injection, signal.discount, signal.auxiliary, windows(T, rule.schedule.steps)
    see = (lambda h: torch.cat([h, told], -1)) if signal.context else (lambda h: h)

    def with_head(own: dict[str, Tensor]) -> dict[str, Tensor]:
        return own | {n: own[f"auxiliary_{n}"] for n in ("A", "b")}

    def foreseeing(own: dict[str, Tensor], h: Tensor, b: int) -> Tensor:
        return 0.5 * w * (predicted(with_head(own), see(h)) - predicted(theta, see(tr.h[b]))).square().sum()

    tasks = {a + 1: b for a, b in cuts if w and b < T and b - a > 1}
    injected = {b: s * predicted(theta, see(tr.h[b])) for _, b in cuts[:-1]}
    of_circuit = with_synthetic_gradients(
        c, cuts, injected, lambda t, h: foreseeing(theta, h, tasks[t]) if t in tasks else torch.zeros(())
    )

    free = {n: v.clone().requires_grad_() for n, v in learned(theta).items()}
    both = theta | free
    copy = (
        {
            n: theta[f"fixed_copy_{n}"] if signal.copy_every and n in free else v
            for n, v in theta.items()
            if not n.startswith(("model", "auxiliary"))
        }
        if signal.copy_every
        else theta
    )
    loss = torch.zeros(())
    for a, b in cuts:
        target = torch.zeros_like(tr.h[b]) if b == T else gamma * predicted(copy, see(tr.h[b]))
        for t in reversed(range(a, b)):
            J = theta["model_J"].expand(B, -1, -1) if signal.jacobian == "learned" else tr.J[t]
            target = torch.einsum("bo,boh->bh", tr.q[t] + target, J)
        loss = loss + 0.5 * (predicted(both, see(tr.h[a])) - target).square().sum()
    for t, b in tasks.items():
        loss = loss + foreseeing(both, tr.h[t], b)
    if signal.jacobian == "learned":
        for t, x in enumerate(c.batch.inputs):
            next_h = torch.einsum("ij,bj->bi", free["model_J"], tr.h[t]) + torch.einsum("ij,bj->bi", free["model_K"], x)
            loss = loss + 0.5 * (next_h + free["model_c"] - tr.h[t + 1]).square().sum()
    found = torch.autograd.grad(loss / B, list(free.values()), allow_unused=True)
    return of_circuit, {n: g for n, g in zip(free, found, strict=True) if g is not None}


OPTIONS: dict[str, dict[str, Any]] = {
    "copy": {"copy_every": 5}, "learned": {"jacobian": "learned"}, "auxiliary": {"auxiliary": 0.3},
    "all": {"copy_every": 2, "jacobian": "learned", "auxiliary": 2.0},
    "all of equal weight": {"copy_every": 2, "auxiliary": 1.0, "discount": 1.0, "injection": 1.0},
    "told": {"copy_every": 2, "jacobian": "learned", "auxiliary": 0.3, "context": True},
}  # fmt: skip
PREDICTORS = {
    "linear": "linear",
    "mlp": bp.predictor("mlp", hidden=(6,)),
    "features": bp.predictor("mlp", hidden=(6,), train="output"),
}


def is_by_autograd(c: Case, rule: Rule, tr: Trajectory) -> Outcome:
    theta = drawn(c, rule, context=3 if signal_of(rule).context else 0)
    outcome = c.outcome(rule, theta)
    of_circuit, own = by_autograd(c, rule, theta, tr)
    same(outcome.gradients, of_circuit)
    assert set(side_by_side(outcome.own)) == set(own)
    same(side_by_side(outcome.own), own)
    return outcome


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("predictor", PREDICTORS)
@pytest.mark.parametrize("name", ("elman", "lif", "lstm"))
def test_every_option_is_autograd_of_what_it_says(name, predictor, options):
    for steps in (2, 5, 50):
        given: dict[str, Any] = {"discount": 0.9, "injection": 0.7} | OPTIONS[options]
        is_by_autograd(circuit(name), dni(steps, PREDICTORS[predictor], **given), path(name))


def test_every_option_with_two_kinds_of_cells():
    is_by_autograd(circuit("two"), dni(3, discount=0.9, **OPTIONS["all"]), path("two"))


@pytest.mark.parametrize("options", OPTIONS)
def test_every_option_matters_where_it_should(options):
    """The copy and the learned Jacobian change the predictor's lesson only; the auxiliary task the circuit's too."""
    c, given = circuit("lstm"), OPTIONS[options]
    context = given.get("context", False)
    plain = dni(3, PREDICTORS["mlp"], context=context)
    rule = dni(3, PREDICTORS["mlp"], **given)
    theta = drawn(c, rule, context=3 if context else 0)
    own = set(side_by_side(plain.signal.begin(c.network, torch.Generator(), 3)))
    mine, without = c.outcome(rule, theta), c.outcome(plain, theta)
    assert off({n: side_by_side(mine.own)[n] for n in own}, side_by_side(without.own)) > 1e-3
    if "auxiliary" in given:
        assert off(mine.gradients, without.gradients) > 1e-3
    else:
        same(mine.gradients, without.gradients, 0.0)


@pytest.mark.parametrize("options", ("copy", "learned", "auxiliary", "all"))
def test_a_whole_sequence_has_nothing_to_predict(options):
    c = circuit("alif")
    rule = dni(50, **OPTIONS[options])
    same(c.gradients(rule, drawn(c, rule)), c.true)


# -- the copy ----------------------------------------------------------------------------------------------------------


def reaching(model: str = "elman") -> Any:
    return bp.circuit("recurrent", cell=bp.model(model), inputs=10, units=6, outputs=2)


def learner(rule: Rule, seed: int = 1, **options: Any) -> Trainer:
    task = bp.task("target_reaching", steps=8, targets=6, path="line")
    return Trainer(reaching(), task, rule, Training(batch=4, lr=1e-2, **options), seed=seed)


@pytest.mark.parametrize("apply", ("sequence", "window"))
@pytest.mark.parametrize("every", (1, 3))
def test_the_copy_is_taken_when_it_is_due(every, apply):
    seen: list[dict[str, Tensor]] = []

    class Watched(Trainer):
        def apply(self, gradients: dict[str, Tensor], own: dict[str, Tensor], evaluate: Any = None) -> None:
            super().apply(gradients, own, evaluate)
            seen.append({n: v.clone() for n, v in side_by_side(self.own).items()})

    plain = learner(dni(3, hidden=(5,), copy_every=every), apply=apply)
    plain.__class__ = Watched
    seen.append({n: v.clone() for n, v in side_by_side(plain.own).items()})
    for _ in range(5):
        plain.update()
    assert len(seen) == 1 + 5 * (3 if apply == "window" else 1)  # 8 steps in windows of 3
    names = ("A0", "b0", "A", "b")
    assert set(seen[0]) == {*names, *(f"fixed_copy_{n}" for n in names), "fixed_count"}
    for n in names:
        assert not torch.equal(seen[-1][n], seen[0][n]), "the predictor moves"
        for update, now in enumerate(seen):
            assert torch.equal(now[f"fixed_copy_{n}"], seen[update - update % every][n]), (update, n)
            assert int(now["fixed_count"]) == update % every


@pytest.mark.parametrize("apply", ("sequence", "window"))
def test_a_copy_of_every_update_is_no_copy(apply):
    """θ⁻ = θ whenever it is asked for: the same run bit for bit; not so with one of every second."""
    none, each, second = (learner(dni(3, copy_every=k), apply=apply) for k in (0, 1, 2))
    for trainer in (none, each, second):
        for _ in range(6):
            trainer.update()
    assert all(torch.equal(w, each.network.weights[n]) for n, w in none.network.weights.items())
    alone, first, other = (tensors(trainer.own) for trainer in (none, each, second))
    assert all(torch.equal(v, first[n]) for n, v in alone.items())
    assert not all(torch.equal(v, other[n]) for n, v in alone.items())


# -- the learned Jacobian ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", (None, 5 * ms), ids=("direct", "leaky"))
def test_with_the_true_jacobian_the_learned_one_is_exact(tau):
    """A linear network, h = y or (y, ȳ): y ← W y + U x + b, ȳ ← κ ȳ + (1 − κ) y."""
    c = case(bp.model("elman", rate="x"), tau=tau, units=4, steps=11, size=3)
    W, U, b, k = *(c.network.weights[n] for n in ("W_rec", "W_in", "b")), c.network.kappa
    exact = dni(3, discount=0.9, injection=0.7)
    modelled = dni(3, discount=0.9, injection=0.7, jacobian="learned")
    theta = drawn(c, modelled)
    eye = torch.eye(4, dtype=W.dtype)
    true = (
        {"model_J": W, "model_K": U, "model_c": b}
        if tau is None
        else {
            "model_J": torch.cat([torch.cat([W, 0 * eye], 1), torch.cat([(1 - k) * W, k * eye], 1)]),
            "model_K": torch.cat([U, (1 - k) * U]),
            "model_c": torch.cat([b, (1 - k) * b]),
        }
    )
    known, wanted = c.outcome(modelled, theta | true), c.outcome(exact, theta)
    same({n: side_by_side(known.own)[n] for n in side_by_side(wanted.own)}, side_by_side(wanted.own))
    assert (
        all(float(side_by_side(known.own)[n].abs().max()) < 1e-12 for n in true) and known.info["model_error"] < 1e-24
    )
    other = c.outcome(modelled, theta)
    assert (
        off({n: side_by_side(other.own)[n] for n in side_by_side(wanted.own)}, side_by_side(wanted.own)) > 1e-2
        and other.info["model_error"] > 1e-2
    )


class Noise(Task):
    """Nothing to learn but what the network does with it."""

    inputs, outputs, steps, loss = 4, 2, 20, squared

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> Batch:
        x = torch.randn(self.steps, size, 4, generator=generator)
        return Batch(x, torch.zeros(self.steps, size, 2), torch.ones(self.steps, size))


def test_the_model_learns_the_network():
    """A linear network held still: J becomes its recurrent weights, K its input's."""
    cortex = bp.circuit(
        "recurrent", cell=bp.model("elman", rate="x"), inputs=4, units=5, outputs=2, gain=0.7, bias=False
    )
    still = Training(batch=16, lr=0.0, predictor_lr=2e-2)
    trainer = Trainer(cortex, Noise(), dni(5, jacobian="learned"), still)
    errors = [trainer.update()["model_error"] for _ in range(200)]
    assert errors[-1] < 1e-4 * errors[0]
    for model, weight in (("J", "W_rec"), ("K", "W_in")):
        W = trainer.network.weights[weight]
        assert float((trainer.own["model"][model] - W).abs().max()) < 0.02 * float(W.abs().max()), model


# -- running, continuing, refusing -----------------------------------------------------------------------------------------

RULES: dict[str, Callable[[], Rule]] = {
    "broadcast": lambda: eprop(feedback="broadcast"),
    "reward": lambda: eprop(feedback="reward"),
    "reward online": lambda: rflo(feedback="reward", schedule="online"),
    "copy": lambda: dni(3, hidden=(5,), copy_every=2),
    "learned": lambda: dni(3, jacobian="learned"),
    "auxiliary": lambda: dni(3, hidden=(5,), auxiliary=0.5),
    "all": lambda: dni(3, context=True, copy_every=4, jacobian="learned", auxiliary=0.5),
}


@pytest.mark.parametrize("apply", ("sequence", "window"))
@pytest.mark.parametrize("name", RULES)
def test_a_run_can_be_repeated_and_continued_bit_for_bit(name, apply, tmp_path):
    def trainer(seed: int = 4) -> Trainer:
        model = "leaky_rate" if "reward" in name else "elman"
        task = bp.task("target_reaching", steps=8, targets=6, path="line")
        return Trainer(reaching(model), task, RULES[name](), Training(batch=4, lr=1e-2, apply=apply), seed=seed)

    straight, again, broken = trainer(), trainer(), trainer()
    rows = [straight.update() for _ in range(6)]
    assert [again.update() | {"seconds": 0} for _ in range(6)] == [row | {"seconds": 0} for row in rows]
    for _ in range(3):
        broken.update()
    torch.save(broken.state_dict(), tmp_path / "checkpoint.pt")
    broken.update()
    resumed = trainer(seed=99)
    assert not all(torch.equal(w, broken.network.weights[n]) for n, w in resumed.network.weights.items())
    resumed.load_state_dict(torch.load(tmp_path / "checkpoint.pt", weights_only=True))
    assert [resumed.update() | {"seconds": 0} for _ in range(3)] == [row | {"seconds": 0} for row in rows[3:]]
    for one in (again, resumed):
        mine, theirs = tensors(one.own), tensors(straight.own)
        assert set(mine) == set(theirs)
        assert all(torch.equal(v, mine[n]) for n, v in theirs.items())
        assert all(torch.equal(w, one.network.weights[n]) for n, w in straight.network.weights.items())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: eprop(feedback="rewrad"), ("rewrad", "reward")),  # type: ignore[arg-type]
        (lambda: rflo(feedback="broadcasted"), ("broadcast",)),  # type: ignore[arg-type]
        (lambda: rflo(feedback=3), ("feedback of Instant is 3", "broadcast")),  # type: ignore[arg-type]
        (lambda: dni(3, copy_every=-1), ("copy_every of dni is -1",)),
        (lambda: dni(3, copy_every=2.5), ("copy_every of dni is 2.5", "whole")),  # type: ignore[arg-type]
        (lambda: dni(3, copy_every=True), ("copy_every of dni is True",)),
        (lambda: dni(3, jacobian="learnt"), ("learnt", "learned", "exact")),  # type: ignore[arg-type]
        (lambda: dni(3, jacobian=None), ("jacobian", "None")),  # type: ignore[arg-type]
        (lambda: dni(3, auxiliary=-0.1), ("auxiliary of dni is -0.1",)),
        (lambda: dni(3, auxiliary=float("nan")), ("auxiliary of dni is nan",)),
        (lambda: dni(1, auxiliary=0.1), ("auxiliary=0.1", "steps=2")),
        (lambda: dni(auxiliary=0.1), ("auxiliary=0.1", "steps=2")),
    ],
)
def test_nonsense_is_refused_in_words(make, words):
    with pytest.raises(RuleError) as error:
        make()
    assert all(word in paragraph(error) for word in words), str(error.value)


def test_what_leaves_the_auxiliary_task_nothing_is_refused():
    c = circuit("elman")
    for schedule in (Online(), Window(1)):
        with pytest.raises(RuleError, match="steps=2") as error:
            Rule(Immediate(), DNI(auxiliary=0.1), schedule, "mine").refuse(c.network)
        assert "mine" in paragraph(error)
    for schedule in (Window(), Window(2)):
        Rule(Immediate(), DNI(auxiliary=0.1), schedule).refuse(c.network)
    Rule(Immediate(), DNI(auxiliary=0.0), Window(1)).refuse(c.network)
    with pytest.raises(RuleError, match="last layer") as error:
        dni(3, knowing(c), auxiliary=0.1).signal.begin(c.network, torch.Generator(), 0)
    assert "linear" in paragraph(error)
