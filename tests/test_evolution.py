"""Evolution strategies against plain numpy, against autograd, and as what moves a circuit: guided by a rule, with the batch and the noise of the update."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from perturb_helpers import Pattern, pair

import bioplaus as bp
from bioplaus import Perturb, Phase, Trainer, Training
from bioplaus.errors import NumericalError, RunError
from bioplaus.learning.evolution import EvolutionStrategy, Search, basis
from bioplaus.learning.phased import Phased
from bioplaus.learning.plain import SGD
from bioplaus.own import learned
from bioplaus.streams import stream

N = 12
TASK = bp.task("add", t1=2, t2=4, steps=9)


def quadratic(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((2 * N, N))
    return A.T @ A / (2 * N), rng.standard_normal(N)


def strategy(search: Search, rate: float = 1.0, seed: int = 1, **more: Any) -> EvolutionStrategy:
    """Of two tensors, which together are the N weights; the third has no rate."""
    rng = np.random.default_rng(5)
    tensors = {
        "a": torch.as_tensor(rng.standard_normal((2, 3))),
        "b": torch.as_tensor(rng.standard_normal(N - 6)),
        "still": torch.ones(4, dtype=torch.float64),
    }
    groups = [{n: w} for n, w in tensors.items()]
    rates = {"a": rate, "b": rate, "still": 0.0}
    return EvolutionStrategy(groups, rates, SGD, search=search, generator=stream(seed, "z"), **more)


def flat(found: Any) -> np.ndarray:
    return np.concatenate([found[n].numpy().ravel() for n in ("a", "b")])


def surrogates(count: int) -> list[dict[str, torch.Tensor]]:
    g = torch.Generator().manual_seed(2)
    shapes = {"a": (2, 3), "b": (N - 6,), "still": (4,)}
    return [{n: torch.randn(s, generator=g, dtype=torch.float64) for n, s in shapes.items()} for _ in range(count)]


def asks(of: EvolutionStrategy, at: Callable[[np.ndarray], float]) -> Callable[[], float]:
    return lambda: at(flat(of.tensors))


def by_numpy(w: np.ndarray, loss: Any, zs: Any, gradients: list[np.ndarray], s: Search) -> np.ndarray:
    """(1) and (2) as they are written; the gradients' basis by numpy's QR, whose signs are free."""
    n, total, U = len(w), np.zeros_like(w), None
    if gradients and s.alpha < 1:
        Q, R = np.linalg.qr(np.stack(gradients, 1))
        U = Q * np.sign(np.diag(R))
    for z, z_k in zs:
        if U is None:
            epsilon = s.sigma * z / np.sqrt(n)
        else:
            epsilon = s.sigma * (np.sqrt(s.alpha / n) * z + np.sqrt((1 - s.alpha) / U.shape[1]) * U @ z_k)
        total = total + epsilon * (loss(w + epsilon) - loss(w - epsilon))
    return s.beta / (2 * s.sigma**2 * len(zs)) * total


@pytest.mark.parametrize(
    "search",
    [Search(), Search(k=3, pairs=4, beta=2.0, alpha=0.3, sigma=0.05), Search(alpha=1.0, pairs=2), Search(alpha=0.0)],
)
def test_the_estimate_is_what_the_equations_say(search):
    """With a loss of fourth order, so that σ counts; over five updates, of which the first have fewer gradients than k."""
    H, c = quadratic()
    loss = lambda w: float(0.5 * w @ H @ w - c @ w + 0.1 * (w**4).sum())  # noqa: E731
    one, g, seen = strategy(search), stream(1, "z"), []
    for given in surrogates(5):
        w, seen = flat(one.tensors), [flat(given), *seen][: search.k]
        k = min(len(seen), search.k) if search.alpha < 1 else 0
        draw = lambda count: torch.randn(count, generator=g, dtype=torch.float64).numpy()  # noqa: E731
        wanted = by_numpy(w, loss, [(draw(N), draw(k)) for _ in range(search.pairs)], seen, search)
        one.step(given, asks(one, loss))
        np.testing.assert_allclose(w - flat(one.tensors), wanted, rtol=1e-12, atol=1e-12 * abs(wanted).max())
        assert abs(wanted).max() > 1e-3
    assert one.tensors["still"].equal(torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize(("alpha", "k", "beta"), [(1.0, 1, float(N)), (0.4, 2, 2.0)])
def test_the_mean_of_estimates_is_the_gradient_autograd_finds(alpha, k, beta):
    """(3), to four standard errors in every component; with another share of the search, or another gradient, outside of them."""
    H, c = quadratic()
    loss: Any = lambda w, H=H, c=c: 0.5 * w @ H @ w - c @ w  # noqa: E731
    one = strategy(Search(alpha=alpha, k=k, beta=beta))
    w = torch.as_tensor(flat(one.tensors)).requires_grad_()
    (true,) = (g.numpy() for g in torch.autograd.grad(loss(w, torch.as_tensor(H), torch.as_tensor(c)), w))
    given, found = surrogates(k), []
    before = [{n: g[n] for n in ("a", "b")} for g in given[1:]]
    for _ in range(2000):  # a quadratic's differences are exact at every σ
        one.guides = list(before)
        found.append(flat(one.estimate(given[0], asks(one, loss))))
    U = np.linalg.qr(np.stack([flat(g) for g in given], 1))[0]
    mean, error = np.mean(found, 0), np.std(found, 0, ddof=1) / len(found) ** 0.5
    expected = lambda a, g: beta * (a / N * g + (1 - a) / k * U @ (U.T @ g))  # noqa: E731
    assert (abs(mean - expected(alpha, true)) < 4 * error).all()
    if alpha == 1:  # the gradient itself
        np.testing.assert_allclose(expected(alpha, true), true, rtol=1e-13)
    else:
        assert (abs(mean - expected(0.6, true)) > 4 * error).any()
    assert (abs(mean - expected(alpha, true + 0.5 * np.linalg.norm(true) / N**0.5)) > 4 * error).any()


def test_what_guides_is_a_line_and_not_a_vector():
    """Longer, shorter or turned round, the surrogate leads to the same estimates but for the sign of what is drawn; one that adds nothing, or is 0, is left out."""
    g, h = (torch.as_tensor(flat(each)) for each in surrogates(2))
    U = basis(torch.stack([g, h], 1))
    Q, R = np.linalg.qr(torch.stack([g, h], 1).numpy())
    np.testing.assert_allclose(U.numpy(), Q * np.sign(np.diag(R)), rtol=1e-12, atol=1e-14)
    assert basis(torch.stack([5 * g, 1e-9 * h], 1)).allclose(U, rtol=0, atol=1e-14)
    assert basis(torch.stack([g, -2 * g, 0 * g, h], 1)).allclose(U, rtol=0, atol=1e-14)
    assert basis(torch.stack([0 * g], 1)).shape == (N, 0)


# -- a circuit's optimiser ------------------------------------------------------------------------------------------------------


def learner(optimiser: str = "guided_es", rule: Any = "bp_lambda", seed: int = 3, **training: Any) -> Trainer:
    circuit = bp.circuit("recurrent", cell="elman", inputs=TASK.inputs, units=4, outputs=TASK.outputs)
    plain: dict[str, Any] = {"batch": 3, "dtype": "float64", "lr": 0.5, "optimiser": optimiser}
    return Trainer(circuit, TASK, rule, Training(**plain | training), seed=seed)


def weights(trainer: Any) -> dict[str, torch.Tensor]:
    return {n: w.clone() for n, w in trainer.network.weights.items()}


def same(one: Any, other: Any) -> bool:
    mine, theirs = ({**t.network.weights, **learned(t.own)} for t in (one, other))
    return mine.keys() == theirs.keys() and all(torch.equal(mine[n], theirs[n]) for n in mine)


def test_a_circuit_moves_by_the_loss_of_its_batch_at_weights_round_about():
    """Loss by numpy from the circuit's equations; two tensors, of rates of their own."""
    search = Search(k=2, pairs=3, alpha=0.3, sigma=0.2, beta=1.5)
    options = {n: getattr(search, n) for n in ("k", "pairs", "alpha", "sigma", "beta")}
    trainer = learner(optimiser_options=options, lr={"W_rec": 0.5, "readout": 0.25, "default": 0})
    paths, g = ["W_rec", "W_out", "b_out"], stream(3, "directions")
    given: list[dict[str, torch.Tensor]] = []
    step = trainer.optimisers.circuit.step
    trainer.optimisers.circuit.step = lambda gs, ask: (given.append(gs), step(gs, ask))[1]  # type: ignore[method-assign]
    for _ in range(3):
        before = {n: w.numpy().copy() for n, w in trainer.network.weights.items()}
        trainer.update()
        batch, sizes = trainer._batch, [before[p].size for p in paths]
        assert batch is not None
        x, y, m = (each.numpy() for each in (batch.inputs, batch.targets, batch.weight))

        def loss(w: np.ndarray, before: Any = before, sizes: Any = sizes, x: Any = x, y: Any = y, m: Any = m) -> float:
            parts = np.split(w, np.cumsum(sizes)[:-1])
            of = before | {p: v.reshape(before[p].shape) for p, v in zip(paths, parts, strict=True)}
            h, total = np.zeros((x.shape[1], 4)), 0.0
            for t in range(len(x)):
                h = np.tanh(x[t] @ of["W_in"].T + h @ of["W_rec"].T + of["b"])
                o = h @ of["W_out"].T + of["b_out"]
                logs = o - np.log(np.exp(o).sum(-1, keepdims=True))
                total -= float(((y[t] * logs).sum(-1) * m[t]).sum())
            return total / x.shape[1]

        line = lambda found: np.concatenate([np.asarray(found[p]).ravel() for p in paths])  # noqa: E731
        w, seen = line(before), [line(each) for each in reversed(given)][: search.k]
        draw = lambda count: torch.randn(count, generator=g, dtype=torch.float64).numpy()  # noqa: E731
        zs = [(draw(len(w)), draw(len(seen))) for _ in range(search.pairs)]
        rate = np.repeat([0.5, 0.25, 0.25], sizes)
        wanted = rate * by_numpy(w, loss, zs, seen, search)
        np.testing.assert_allclose(w - line(trainer.network.weights), wanted, rtol=1e-9, atol=1e-12)
        assert abs(wanted).max() > 1e-3
        assert all(np.array_equal(before[n], trainer.network.weights[n].numpy()) for n in ("W_in", "b"))


@pytest.mark.parametrize("cell", ["leaky_rate", "elman"])
def test_both_of_a_pair_see_the_batch_and_the_noise_of_the_update(cell):
    """Guided by the true gradient alone, what is estimated is a multiple of it; another draw of the noise would count for 1/σ. Signs and masks hold."""
    training = Training(batch=4, dtype="float64", lr=1.0, optimiser="guided_es", perturb=Perturb("E", "noise", value=0.5),
                        optimiser_options={"alpha": 0.0, "sigma": 1e-5, "beta": 1e-3})  # fmt: skip
    trainer = Trainer(pair(cell), Pattern(), "bptt", training, seed=3)
    given: list[Any] = []
    step = trainer.optimisers.circuit.step
    trainer.optimisers.circuit.step = lambda gs, ask: (given.append(gs), step(gs, ask))[1]  # type: ignore[method-assign]
    before = weights(trainer)
    trainer.update()
    moved = {n: before[n] - w for n, w in trainer.network.parameters().items()}
    d, g = (torch.cat([found[n].flatten() for n in moved]) for found in (moved, given[0]))
    assert float(g.norm()) > 1e-3 and float(d @ g / d.norm() / g.norm()) > 1 - 1e-8
    assert trainer.network.masks and all(bool((trainer.network.weights[n][m == 0] == 0).all()) for n, m in trainer.network.masks.items())  # fmt: skip


def test_the_loss_is_asked_at_weights_that_hold_dales_law():
    trainer = Trainer(pair("leaky_rate"), Pattern(), "eprop", Training(batch=2, lr=1.0, optimiser="es", optimiser_options={"sigma": 30.0}))  # fmt: skip
    signs = {w.spec.name: w.spec.sign for w in trainer.network.wired if w.spec.sign}
    asked: list[bool] = []
    step = trainer.optimisers.circuit.step

    def listening(gradients: Any, evaluate: Any) -> None:
        def heard() -> float:
            asked.append(all(bool((trainer.network.weights[n] * s >= 0).all()) for n, s in signs.items()))
            return evaluate()

        step(gradients, heard)

    trainer.optimisers.circuit.step = listening  # type: ignore[method-assign]
    trainer.update()
    assert signs and asked == [True, True]
    g, masks = (
        stream(0, "directions"),
        trainer.network.masks,
    )  # where there is no synapse nothing is searched, and n counts none
    n = sum(int(masks.get(name, torch.ones_like(w)).sum()) for name, w in trainer.network.parameters().items())
    torch.randn(n, generator=g, dtype=torch.float32)
    assert masks and g.get_state().equal(trainer.optimisers.circuit.generator.get_state())  # type: ignore[attr-defined]


def test_alpha_one_is_the_plain_strategy_to_the_last_bit_and_another_alpha_is_not():
    plain, full, guided = learner("es"), learner(optimiser_options={"alpha": 1.0}), learner()
    for _ in range(4):
        for trainer in (plain, full, guided):
            trainer.update()
    assert same(plain, full) and plain.update()["loss"] == full.update()["loss"]
    assert not torch.equal(plain.network.weights["W_rec"], guided.network.weights["W_rec"])


def test_the_plain_strategy_asks_no_gradient_for_directions_and_the_guided_one_does():
    ends = {}
    for optimiser in ("es", "guided_es"):
        for rule in ("bptt", "eprop"):
            trainer = learner(optimiser, rule)
            for _ in range(2):
                trainer.update()
            ends[optimiser, rule] = weights(trainer)
    assert all(torch.equal(w, ends["es", "eprop"][n]) for n, w in ends["es", "bptt"].items())
    assert not torch.equal(ends["guided_es", "bptt"]["W_rec"], ends["guided_es", "eprop"]["W_rec"])


def test_what_the_rule_learns_for_itself_goes_by_adam_and_its_own_gradient():
    guided, moved = learner(predictor_lr=0.01), []
    step = guided.optimisers.predictor.step  # type: ignore[union-attr]
    guided.optimisers.predictor.step = lambda gs, ask: (moved.append(gs), step(gs, ask))[1]  # type: ignore[union-attr,method-assign]
    A, m, v = guided.own["predictor"]["A"].numpy().copy(), 0.0, 0.0
    for t in range(1, 5):
        guided.update()
        g = moved[-1]["predictor.A"].numpy()
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        A = A - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(guided.own["predictor"]["A"].numpy(), A, rtol=1e-11, atol=1e-13)
    assert abs(A).max() > 1e-3
    fed = learner(rule=bp.rule("eprop", feedback="adaptive"))
    assert fed.optimisers.predictor is not None
    fed.update()  # feedback weights have a gradient of their own


def test_clip_and_then_are_of_the_estimate():
    free, cut, adam = learner(lr=1.0), learner(lr=1.0, clip=1e-3), learner(optimiser_options={"then": "adam"}, lr=0.01)
    before = weights(free)
    for trainer in (free, cut, adam):
        trainer.update()
    line = lambda t: torch.cat([(before[n] - w).flatten() for n, w in t.network.weights.items()])  # noqa: E731
    assert float(line(cut).norm()) == pytest.approx(1e-3, rel=1e-9) and float(line(free).norm()) > 1e-2
    torch.testing.assert_close(line(cut) / 1e-3, line(free) / line(free).norm(), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(line(adam), 0.01 * line(free).sign(), rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("options", [{}, {"k": 3, "pairs": 2, "then": "adam"}])
def test_a_run_that_goes_on_is_bit_equal(options):
    plain: dict[str, Any] = {
        "optimiser_options": options,
        "lr_schedule": "StepLR",
        "lr_schedule_options": {"step_size": 2},
    }
    straight, broken = learner(**plain), learner(**plain)
    for _ in range(6):
        straight.update()
    for _ in range(3):
        broken.update()
    held = io.BytesIO()
    torch.save(broken.state_dict(), held)
    broken.update()  # must not reach into what was saved
    again = learner(seed=99, **plain)
    again.load_state_dict(torch.load(io.BytesIO(held.getvalue()), weights_only=True))
    for _ in range(3):
        again.update()
    assert same(straight, again)
    for lost in ("directions", "guides"):  # both are needed
        state = torch.load(io.BytesIO(held.getvalue()), weights_only=True)
        state["optimiser"][lost] = learner(seed=8, **plain).state_dict()["optimiser"][lost]
        other = learner(seed=99, **plain)
        other.load_state_dict(state)
        for _ in range(3):
            other.update()
        assert lost == "guides" and not options or not same(straight, other)


def test_phases_that_say_nothing_are_one_training():
    options: dict[str, Any] = {"batch": 3, "optimiser": "guided_es", "optimiser_options": {"k": 3}, "dtype": "float64"}
    circuit = bp.circuit("recurrent", cell="elman", inputs=TASK.inputs, units=4, outputs=TASK.outputs)
    whole = Trainer(circuit, TASK, bp.rule("bp_lambda"), Training(**options), seed=3)
    parts = Phased(circuit, TASK, bp.rule("bp_lambda"), Training(**options), [Phase(2), Phase(3)], seed=3)
    for _ in range(5):
        whole.update()
        parts.update()
    assert same(whole, parts.trainer)


def test_what_is_frozen_stays_and_is_not_searched():
    trainer = learner(perturb=Perturb("W_rec", "freeze"))
    before = weights(trainer)
    trainer.update()
    assert torch.equal(trainer.network.weights["W_rec"], before["W_rec"])
    assert not torch.equal(trainer.network.weights["W_in"], before["W_in"])
    assert "W_rec" not in trainer.optimisers.circuit.guides[0]  # type: ignore[attr-defined]


def test_a_loss_that_breaks_stops_the_run_and_leaves_the_weights():
    trainer = learner()
    before = weights(trainer)
    with pytest.raises(NumericalError, match="evolution strategy"):
        trainer.apply({n: torch.ones_like(w) for n, w in before.items()}, {}, lambda: float("nan"))
    assert all(torch.equal(w, before[n]) for n, w in trainer.network.weights.items())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"apply": "window"}, "moves weights within a trial"),
        ({"backend": "brian2"}, "optimiser='sgd'"),
        ({"optimiser_options": {"sigma": 0}}, "sigma of optimiser_options is 0"),
        ({"optimiser_options": {"alpha": 1.5}}, "alpha of optimiser_options"),
        ({"optimiser_options": {"k": 0}}, "k of optimiser_options"),
        ({"optimiser_options": {"pairs": 2.5}}, "pairs of optimiser_options"),
        ({"optimiser_options": {"then": "RMSprop"}}, "then of optimiser_options"),
        ({"optimiser_options": {"momentum": 0.9}}, "no option 'momentum' of guided_es"),
        ({"optimiser": "es", "optimiser_options": {"alpha": 0.5}}, "no option 'alpha' of es"),
        ({"optimiser": "guided"}, "Did you mean 'guided_es'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_paragraph(options, said):
    with pytest.raises(RunError) as refused:
        Training(**{"optimiser": "guided_es"} | options)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_an_agent_has_no_batch_whose_loss_could_be_asked():
    circuit = bp.circuit("recurrent", cell="elman", inputs=3, units=2, outputs=3)
    with pytest.raises(RunError, match="other weights") as refused:
        bp.reward.Agent(circuit, "delayed_cue", bp.rule("eprop"), Training(optimiser="es"))
    assert "\n" not in str(refused.value)
