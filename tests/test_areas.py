"""Predictors of areas, torch modules and critics: against plain torch, and against one another where they are the same thing."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from rule_helpers import case, normal, paragraph, two_populations
from torch import Tensor, nn
from trace_helpers import GAMMA, LAMBDA, VARIANTS

import bioplaus as bp
from bioplaus.cerebellum.base import Predictor
from bioplaus.cerebellum.predictors import Seen
from bioplaus.circuit.carried import Layout
from bioplaus.errors import RuleError
from bioplaus.learning.sequence import sequence
from bioplaus.own import Own, mapped
from bioplaus.rules import Rule, bp_lambda, dni
from bioplaus.schedule import Online, Window
from bioplaus.signal.truth import area_alignment
from bioplaus.tasks import cross_entropy, squared

DEPTH, UNITS = 3, (14, 12, 10)
CLOSE: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-13}


# -- a hierarchy in plain torch: nothing of the library but its weights takes part


def up(W: dict[str, Tensor], inputs: Tensor) -> list[list[Tensor]]:
    """Activity of every area at steps 0 … T, [step][area], each a leaf of autograd's that the next is made of."""
    h = [[torch.zeros(inputs.shape[1], n, dtype=inputs.dtype, requires_grad=True) for n in UNITS]]
    for x in inputs:
        below = [x.clone().requires_grad_(), *h[-1][:-1]]
        h.append([torch.relu(b @ W[f"W{i + 1}"].T + W[f"b_A{i + 1}"]) for i, b in enumerate(below)])
    for step in h:
        for each in step:
            each.retain_grad()
    return h


def out(W: dict[str, Tensor], top: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(top @ W["W_out"].T + W["b_out"], labels, reduction="sum")


@cache
def flashed(biased: bool = True) -> tuple[bp.Network, bp.Batch]:
    circuit = bp.circuit("hierarchy", inputs=64, units=UNITS, outputs=10)
    network = circuit.build(seed=3, dtype=torch.float64)
    for i in range(DEPTH):
        network.weights[f"b_A{i + 1}"] += 0.2 * biased * normal(UNITS[i], seed=i)
    batch = bp.task("volley", steps=DEPTH).batch(torch.Generator().manual_seed(1), 9).to(dtype=torch.float64)
    h = up(network.weights, batch.inputs)
    assert all(0.2 < float((h[i + 1][i] > 0).double().mean()) < 0.9 for i in range(DEPTH)), "areas are silent"
    return network, batch


def begun(rule: Rule, network: bp.Network, batch: bp.Batch, scale: float = 0.3) -> Any:
    """The rule's own tensors, all that is learned of them random."""
    own, seed = rule.begin(network, batch, 0), iter(range(100))
    moved = lambda v: v + scale * normal(*v.shape, seed=next(seed)) if v.is_floating_point() else v  # noqa: E731
    return {part: Own({n: moved(v) for n, v in each.learned.items()}, each.fixed) for part, each in own.items()}


def found(rule: Rule, own: Any, network: bp.Network, batch: bp.Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Gradients of weights and of own tensors, sums over the batch."""
    outcome = sequence(network, rule, own, batch, cross_entropy)
    return tuple({n: g * batch.size for n, g in each.items()} for each in (outcome.gradients, outcome.own))  # type: ignore[return-value]


def spoken(theta: Own, i: int, h: Tensor, c: Tensor | None) -> Tensor:
    seen = h if c is None else torch.cat([h, c], -1)
    return seen @ theta[f"A{i + 1}.A"].T + theta[f"A{i + 1}.b"]


@pytest.mark.parametrize("label", (False, True))
def test_dni_with_areas_is_layered_synthetic_gradients_at_every_step(label: bool) -> None:
    """Each area learns from what its synthesiser says, that from what comes back of the next one; areas at rest do so, too."""
    network, batch = flashed()
    rule = dni(1, bp.predictor("areas"), context=label)
    own = begun(rule, network, batch)
    theta, c, T = own["predictor"], batch.context if label else None, batch.steps
    W = {n: w.clone().requires_grad_() for n, w in network.weights.items()}
    h = up(W, batch.inputs)
    expected: dict[str, Tensor] = {n: torch.zeros_like(w) for n, w in W.items()}
    synthesisers = {n: torch.zeros_like(v) for n, v in theta.learned.items()}
    for t in range(1, T + 1):
        before = [batch.inputs[t - 1], *(each.detach().requires_grad_() for each in h[t - 1])]
        parts: Tensor = torch.zeros((), dtype=torch.float64)
        for i in range(DEPTH):
            after = torch.relu(before[i] @ W[f"W{i + 1}"].T + W[f"b_A{i + 1}"])
            if t == T:
                parts = parts + (out(W, after, batch.targets[-1]) if i == DEPTH - 1 else 0 * after.sum())
            else:
                parts = parts + (spoken(theta, i, after, c).detach() * after).sum()
        leaves = {**W, **{str(i): before[i + 1] for i in range(DEPTH)}}
        got = torch.autograd.grad(parts, list(leaves.values()), allow_unused=True)
        back = {n: torch.zeros_like(leaves[n]) if g is None else g for n, g in zip(leaves, got, strict=True)}
        for n in W:
            expected[n] += back[n]
        for i in range(DEPTH):  # ½ ‖g_i(h) − what came back‖²
            free = Own({n: v.clone().requires_grad_() for n, v in theta.learned.items()})
            miss = 0.5 * (spoken(free, i, h[t - 1][i].detach(), c) - back[str(i)]).square().sum()
            names = (f"A{i + 1}.A", f"A{i + 1}.b")
            for n, g in zip(names, torch.autograd.grad(miss, [free[n] for n in names]), strict=True):
                synthesisers[n] += g
    weights, mine = found(rule, own, network, batch)
    for n, g in expected.items():
        assert float(g.abs().max()) > 1e-4, n
        torch.testing.assert_close(weights[n], g, **CLOSE)
    for n, g in synthesisers.items():
        assert float(g.abs().max()) > 1e-4, n
        torch.testing.assert_close(mine[f"predictor.{n}"], g, **CLOSE)


@pytest.mark.parametrize("label", (False, True))
def test_dni_with_areas_is_jaderbergs_feed_forward_update_where_areas_rest_in_silence(label: bool) -> None:
    """Layer by layer in a multilayer network, with no steps at all; what a synthesiser learns of an area at rest (b, and the label's weights) apart."""
    network, batch = flashed(biased=False)
    rule = dni(1, bp.predictor("areas"), context=label)
    own = begun(rule, network, batch)
    theta, c = own["predictor"], batch.context if label else None
    W, x = network.weights, batch.inputs[0]
    weights, mine = found(rule, own, network, batch)
    below, came = x, None
    asked: list[tuple[Tensor, Tensor]] = []
    for i in range(DEPTH):
        h = torch.relu(below @ W[f"W{i + 1}"].T)
        if i == DEPTH - 1:
            o = h @ W["W_out"].T + W["b_out"]
            error = torch.softmax(o, -1) - nn.functional.one_hot(batch.targets[-1], 10)
            told = error @ W["W_out"]
        else:
            told = spoken(theta, i, h, c)
        delta = told * (h > 0)
        torch.testing.assert_close(weights[f"W{i + 1}"], delta.T @ below, **CLOSE)
        torch.testing.assert_close(weights[f"b_A{i + 1}"], delta.sum(0), **CLOSE)
        came = delta @ W[f"W{i + 1}"]
        if i:
            asked.append((below, came))
        below = h
    for i, (h, target) in enumerate(asked):
        learned = (spoken(theta, i, h, c) - target).T @ h
        assert float(learned.abs().max()) > 1e-3
        torch.testing.assert_close(mine[f"predictor.A{i + 1}.A"][:, : UNITS[i]], learned, **CLOSE)


@pytest.mark.parametrize("label", (False, True))
def test_bp_of_one_in_depth_regresses_on_the_true_gradient(label: bool) -> None:
    network, batch = flashed()
    rule = bp_lambda(1.0, bp.predictor("areas"), context=label)
    own = begun(rule, network, batch)
    theta, c = own["predictor"], batch.context if label else None
    h = up(network.weights, batch.inputs)
    out(network.weights, h[-1][-1], batch.targets[-1]).backward()
    weights, mine = found(rule, own, network, batch)
    for i in range(DEPTH):
        total = torch.zeros_like(theta[f"A{i + 1}.A"])
        for t in range(batch.steps):
            now = h[t][i].detach()
            grad = h[t][i].grad
            true = torch.zeros_like(now) if grad is None else grad
            seen = now if c is None else torch.cat([now, c], -1)
            total += (spoken(theta, i, now, c) - true).T @ seen
        torch.testing.assert_close(mine[f"predictor.A{i + 1}.A"], total, **CLOSE)
    assert float(weights["W1"].abs().max()) > 1e-4


def test_the_cosine_of_each_area_is_over_what_has_a_bearing_on_the_loss() -> None:
    network, batch = flashed()
    rule = dni(1, bp.predictor("areas"), context=True)
    own = begun(rule, network, batch)
    h = up(network.weights, batch.inputs)
    out(network.weights, h[-1][-1], batch.targets[-1]).backward()
    cosines = area_alignment(network, rule.signal, own, batch, cross_entropy, None)  # type: ignore[arg-type]
    assert set(cosines) == {"A1", "A2"}  # the top is told the truth
    for i in range(2):
        g, true = spoken(own["predictor"], i, h[i + 1][i].detach(), batch.context), h[i + 1][i].grad
        assert true is not None
        expected = nn.functional.cosine_similarity(g, true, dim=-1)[true.abs().amax(-1) > 0].mean()
        assert cosines[f"A{i + 1}"] == pytest.approx(float(expected), abs=1e-12)


# -- blocks of one map: every trace, Jacobian and schedule

BLOCKS = [n for n in VARIANTS if n != "projected"]


def blocked(sees: str, seen: Seen) -> dict[str, tuple[list[int], list[int]]]:
    """Area → the rows and columns of the one matrix that are its own, written from the words."""
    names, context = list(seen.areas), [*range(seen.size, seen.inputs)]
    places = {n: list(seen.areas[n]) for n in names}
    reads = {n: {"own": [n], "all": names}.get(sees, [n, *seen.above[n]]) for n in names}
    return {n: (places[n], sorted(p for r in reads[n] for p in places[r]) + context) for n in names}


@pytest.mark.parametrize(
    ("name", "sees"),
    [(n, "own") for n in BLOCKS]
    + [(n, sees) for n in ("exact", "local", "kronecker") for sees in ("own+above", "all")],
)
def test_areas_are_blocks_of_one_linear_map_under_every_trace_and_schedule(name: str, sees: str) -> None:
    c = two_populations("alif", "lstm", steps=7)
    seen = Layout(c.network).seen(0)
    options: dict[str, Any] = {"discount": GAMMA, **VARIANTS[name]}
    # what several areas read counts several times in the length that balances random factors: the same on average, and exactly so at λ = 0
    lmbda = 0.0 if name == "kronecker" and sees != "own" else LAMBDA
    rules = {
        "blocks": bp_lambda(lmbda, bp.predictor("areas", sees=sees), **options),
        "whole": bp_lambda(lmbda, "linear", **options),
    }
    own = begun(rules["blocks"], c.network, c.batch)
    theta, size = own["predictor"], seen.size
    A, b = torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    for area, (rows, columns) in blocked(sees, seen).items():
        A[torch.tensor(rows)[:, None], torch.tensor(columns)] = theta[f"{area}.A"]
        b[rows] = theta[f"{area}.b"]
    whole = own | {"predictor": Own({"A": A, "b": b})}
    for schedule in (Online(), Window(3), Window()):
        mine, other = (
            sequence(c.network, replace(rules[which], schedule=schedule), given, c.batch, squared)
            for which, given in (("blocks", own), ("whole", whole))
        )
        for n, g in other.gradients.items():
            torch.testing.assert_close(mine.gradients[n], g, **CLOSE)
        for area, (rows, columns) in blocked(sees, seen).items():
            g = other.own["predictor.A"][torch.tensor(rows)[:, None], torch.tensor(columns)]
            assert float(g.abs().max()) > 1e-6
            torch.testing.assert_close(mine.own[f"predictor.{area}.A"], g, rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(
                mine.own[f"predictor.{area}.b"], other.own["predictor.b"][rows], rtol=1e-9, atol=1e-12
            )


def test_areas_of_deeper_maps_learn_alike_step_by_step_and_in_windows() -> None:
    c = two_populations("alif", "lstm", steps=7)
    rule = bp_lambda(LAMBDA, bp.predictor("areas", of=bp.predictor("mlp", hidden=(5,))), discount=GAMMA)
    own = begun(rule, c.network, c.batch)
    outcomes = [
        sequence(c.network, replace(rule, schedule=s), own, c.batch, squared) for s in (Online(), Window(3), Window())
    ]
    for n, g in outcomes[-1].own.items():
        for other in outcomes[:-1]:
            torch.testing.assert_close(other.own[n], g, rtol=1e-9, atol=1e-12)


# -- torch modules


def straight(inputs: int, outputs: int) -> nn.Module:
    made = nn.Linear(inputs, outputs)
    nn.init.zeros_(made.weight)
    nn.init.zeros_(made.bias)
    return made


@pytest.mark.parametrize(
    "make", (lambda g: dni(3, g), lambda g: bp_lambda(LAMBDA, g), lambda g: bp_lambda(LAMBDA, g, schedule="online"))
)
def test_a_module_that_is_linear_is_linear(make: Any) -> None:
    c = case("lstm", units=4, steps=8, size=3)
    plain, module = make("linear"), make(bp.predictor("module", module=straight))
    theirs = begun(plain, c.network, c.batch)
    A, b = theirs["predictor"]["A"], theirs["predictor"]["b"]
    mine = module.begin(c.network, c.batch, 0)
    assert set(mine["predictor"].learned) == {"weight", "bias"} and not mine["predictor"]["weight"].any()
    mine = {"predictor": Own({"weight": A, "bias": b}, mine["predictor"].fixed)}
    one, other = (sequence(c.network, r, o, c.batch, squared) for r, o in ((plain, theirs), (module, mine)))
    for n, g in one.gradients.items():
        torch.testing.assert_close(other.gradients[n], g, rtol=1e-12, atol=1e-14)
    for n, twin in (("A", "weight"), ("b", "bias")):
        torch.testing.assert_close(other.own[f"predictor.{twin}"], one.own[f"predictor.{n}"], rtol=1e-12, atol=1e-14)


def test_a_modules_draws_come_from_the_seed_alone() -> None:
    g = bp.predictor(
        "module", module=lambda m, n: nn.Sequential(nn.Linear(m, 7), nn.Dropout(0.5), nn.Tanh(), nn.Linear(7, n))
    )
    c = case("lstm", units=4, steps=8, size=3)
    before = torch.random.get_rng_state()
    one, two, three = (bp_lambda(predictor=g).begin(c.network, c.batch, seed)["predictor"] for seed in (0, 0, 1))
    assert bool((torch.random.get_rng_state() == before).all())
    assert all(bool((one[n] == two[n]).all()) for n in one) and not bool((one["0.weight"] == three["0.weight"]).all())
    h = normal(5, 8)
    assert bool((g.predict(one, h) == g.predict(one, h)).all()), "as in evaluation, without dropout"


SMOOTH = {
    "module": bp.predictor("module", module=lambda m, n: nn.Sequential(nn.Linear(m, 6), nn.Tanh(), nn.Linear(6, n))),
    "critic": bp.predictor("critic", hidden=(6, 5)),
    "logits": bp.predictor("critic", hidden=(6,), form="logits"),
    "areas": bp.predictor("areas", of=bp.predictor("critic", hidden=(6,))),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_of_a_predictor_are_those_of_finite_steps(name: str) -> None:
    g = SMOOTH[name]
    seen = Seen(5, 3, areas={"a": (0, 3), "b": (1, 2, 4)}, above={"a": ("b",), "b": ()}, dtype=torch.float64)
    born = g.init(seen, torch.Generator().manual_seed(0))
    theta = Own({n: v + 0.5 * normal(*v.shape, seed=i) for i, (n, v) in enumerate(born.learned.items())}, born.fixed)
    h, u = normal(4, 2, 8, seed=3), normal(4, 2, 5, seed=4)
    gradient, jacobian = g.gradient(theta, h, u), g.jacobian(theta, h[0])
    assert set(gradient) == set(jacobian) == set(theta.learned)
    for n, v in theta.learned.items():
        way = normal(*v.shape, seed=9)
        up_, down = (g.predict(theta.replaced({n: v + s * 1e-5 * way}), h) for s in (1, -1))
        slope = (up_ - down) / 2e-5
        torch.testing.assert_close((gradient[n] * way).sum(), (slope * u).sum(), rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(torch.einsum("bo...,...->bo", jacobian[n], way), slope[0], rtol=1e-6, atol=1e-8)


# -- critics


@pytest.mark.parametrize("form", ("loss", "logits"))
def test_what_a_critic_says_is_autograds_slope_of_what_it_predicts(form: str) -> None:
    g: Any = bp.predictor("critic", hidden=(7, 6), form=form)
    born = g.init(Seen(5, 3, dtype=torch.float64), torch.Generator().manual_seed(0))
    theta = Own({n: v + 0.5 * normal(*v.shape, seed=i) for i, (n, v) in enumerate(born.learned.items())}, born.fixed)
    h, c = normal(6, 5, seed=1).requires_grad_(), nn.functional.one_hot(torch.arange(6) % 3, 3).double()
    net = torch.cat([h, c], -1) if form == "loss" else h
    for i in range(2):
        net = nn.functional.softplus(net @ theta[f"A{i}"].T + theta[f"b{i}"])
    net = net @ theta["A"].T + theta["b"]
    worth = net[:, 0] if form == "loss" else nn.functional.cross_entropy(net, torch.arange(6) % 3, reduction="none")
    seen = torch.cat([h, c], -1).detach()
    torch.testing.assert_close(g.worth(theta, seen)[:, 0], worth, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(g.predict(theta, seen), torch.autograd.grad(worth.sum(), h)[0], rtol=1e-12, atol=1e-13)


def test_critics_of_areas_learn_value_and_slope_from_the_area_above() -> None:
    """One window of one step: what the area above predicts and says one step later, and at the end what it did cost."""
    network, batch = flashed()
    rule = dni(1, bp.predictor("areas", of=bp.predictor("critic", value=0.7, slope=1.3, hidden=(6,))), context=True)
    own = begun(rule, network, batch)
    theta, c, T = own["predictor"], batch.context, batch.steps
    assert c is not None
    W, h = network.weights, up(network.weights, batch.inputs)

    def worth(theta: Own, i: int, seen: Tensor) -> Tensor:
        z = nn.functional.softplus(torch.cat([seen, c], -1) @ theta[f"A{i + 1}.A0"].T + theta[f"A{i + 1}.b0"])  # type: ignore[list-item]
        return (z @ theta[f"A{i + 1}.A"].T + theta[f"A{i + 1}.b"])[:, 0]

    cost = nn.functional.cross_entropy(
        h[-1][-1] @ W["W_out"].T + W["b_out"], batch.targets[-1], reduction="none"
    ).detach()
    free = Own({n: v.clone().requires_grad_() for n, v in theta.learned.items()})
    total: Tensor = torch.zeros((), dtype=torch.float64)
    for t in range(1, T + 1):
        for i in range(DEPTH):
            seen = h[t - 1][i].detach().requires_grad_()
            above = min(i + 1, DEPTH - 1)
            after = h[t][above].detach().requires_grad_()
            value = cost if t == T else worth(theta, above, after)
            if i == DEPTH - 1:  # nothing stands above it
                back = torch.zeros_like(seen)
            else:
                drive = seen @ W[f"W{i + 2}"].T + W[f"b_A{i + 2}"]
                last = t == T
                spoke = (
                    out(W, torch.relu(drive), batch.targets[-1])
                    if last and i + 2 == DEPTH
                    else torch.zeros(()).double()
                )
                if last:
                    back = torch.autograd.grad(spoke, seen)[0] if i + 2 == DEPTH else torch.zeros_like(seen)
                else:
                    said = torch.autograd.grad(worth(theta, above, after).sum(), after)[0]
                    back = torch.autograd.grad((torch.relu(drive) * said).sum(), seen)[0]
            mine = worth(free, i, seen)
            slope = torch.autograd.grad(mine.sum(), seen, create_graph=True)[0]
            total = (
                total + 0.5 * 0.7 * (mine - value.detach()).square().sum() + 0.5 * 1.3 * (slope - back).square().sum()
            )
    expected = dict(zip(free.learned, torch.autograd.grad(total, list(free.learned.values())), strict=True))
    got = found(rule, own, network, batch)[1]
    for n, g in expected.items():
        assert float(g.abs().max()) > 1e-5, n
        torch.testing.assert_close(got[f"predictor.{n}"], g, **CLOSE)


# -- refusals, checkpoints


@pytest.mark.parametrize(
    ("make", "words"),
    (
        (lambda: bp.predictor("areas", sees="above"), "sees"),
        (lambda: bp.predictor("areas", of="lin"), "lin"),
        (lambda: bp.predictor("module"), "torch.nn.Linear"),
        (lambda: bp.predictor("module", module=nn.Linear(2, 2)), "a function (inputs, outputs)"),
        (lambda: bp.predictor("critic", value=0, slope=0), "learns nothing"),
        (lambda: bp.predictor("critic", form="slope"), "logits"),
        (lambda: begin(bp_lambda(0.5, "areas", trace="projected", outputs=3)), "deep nuclei"),
        (lambda: begin(bp_lambda(0.5, bp.predictor("areas", of="mlp"), trace="kronecker")), "last layer"),
        (lambda: begin(dni(2, "areas", auxiliary=0.5)), "last layer"),
        (lambda: begin(bp_lambda(0.5, "critic"), learn=True), "value=0"),
        (lambda: begin(dni(2, bp.predictor("areas", of="critic", sees="all"))), "sees='own'"),
        (lambda: begin(dni(2, bp.predictor("critic", form="logits"))), "context=True"),
        (lambda: begin(dni(2, bp.predictor("module", module=lambda m, n: nn.Linear(m, n + 1)))), "to map it to"),
        (lambda: begin(dni(2, bp.predictor("module", module=lambda m, n: nn.Linear(m + 1, n)))), "cannot take"),
        (lambda: begin(dni(2, bp.predictor("module", module=lambda m, n: 3))), "made a int"),
        (lambda: begin(dni(2, module(lambda m: nn.Linear(m, m)))), "raised TypeError"),
        (lambda: begin(dni(2, module(lambda m, n: 1 / 0))), "raised ZeroDivisionError"),
        (lambda: begin(dni(2, module(lambda m, n: nn.Sequential(nn.Linear(m, n), nn.BatchNorm1d(n))))), "states of three trials"),
        (lambda: begin(dni(2, module(lambda m, n: nn.Sequential(nn.Linear(m, n), nn.Softmax(-2))))), "each by itself"),
        (lambda: bp.predictor("areas", of="areas"), "already is one population's"),
        (lambda: begin(dni(2, Before())), "init(seen, generator)"),
    ),
)  # fmt: skip
def test_what_does_not_go_together_is_said_in_a_paragraph(make: Any, words: str) -> None:
    with pytest.raises(RuleError) as error:
        make()
    assert words in paragraph(error)


def module(make: Any) -> Predictor:
    return bp.predictor("module", module=make)


def begin(rule: Rule, learn: bool = False) -> None:
    c = two_populations("alif", "lstm", steps=7)
    if learn:
        rule.refuse(c.network)
    rule.begin(c.network, c.batch, 0)


class Before(Predictor):
    """As predictors were written once."""

    def init(self, inputs: int, outputs: int, generator: Any, dtype: Any, device: Any) -> Own:  # type: ignore[override]
        return Own()

    def predict(self, theta: Own, h: Tensor) -> Tensor:
        return torch.zeros_like(h)

    gradient = jacobian = lambda self, *_: {}  # type: ignore[assignment]  # noqa: E731

    def describe(self) -> dict[str, Any]:
        return {"predictor": "before"}


@pytest.mark.parametrize("name", ("areas", "module", "critic"))
def test_a_checkpoint_goes_on_as_if_nothing_had_been(name: str) -> None:
    of = {
        "areas": "mlp",
        "module": bp.predictor("module", module=nn.Linear),
        "critic": bp.predictor("critic", hidden=(8,)),
    }[name]
    circuit = bp.circuit("hierarchy", inputs=64, units=(8, 6), outputs=10)
    made = (
        circuit,
        bp.task("volley", steps=2),
        dni(1, bp.predictor("areas", of=of), context=True),
        bp.Training(batch=8, align_every=1),
    )
    through, first, second = (bp.Trainer(*made, seed=0) for _ in range(3))
    for _ in range(2):
        through.update()
        first.update()
    second.load_state_dict(first.state_dict())
    one, other = through.update(), second.update()
    assert {n: v for n, v in one.items() if n != "seconds"} == pytest.approx(
        {n: v for n, v in other.items() if n != "seconds"}, nan_ok=True, abs=0
    )
    assert "prediction_A1" in one and all(
        bool((through.own["predictor"][n] == second.own["predictor"][n]).all()) for n in through.own["predictor"]
    )
    moved = mapped(torch.Tensor.clone, second.own)["predictor"]
    assert any(bool((moved[n] != first.own["predictor"][n]).any()) for n in moved.learned)
