"""UORO, KF-RTRL and R-KF-RTRL: exact on average over all their signs, by enumeration; over real draws, by statistics; no noise in vain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from influence_helpers import MODELS, copies, draws_are_unbiased, is_unbiased, made, over_all_signs, rewritten, rule_of
from rule_helpers import Case, Off, case, living, off, same
from torch import Tensor

import bioplaus as bp
from bioplaus import check, ms
from bioplaus.circuit import Circuit, Population, Projection, Readout
from bioplaus.circuit.tangent import Tangent
from bioplaus.eligibility import KFRTRL, RKFRTRL, UORO, kf_rtrl, r_kf_rtrl, uoro
from bioplaus.eligibility.influence import Space
from bioplaus.eligibility.recursion import Moving
from bioplaus.learning.regulariser import RateRegulariser
from bioplaus.learning.sequence import sequence
from bioplaus.schedule import Window
from bioplaus.streams import stream
from bioplaus.tasks import squared

Patch = pytest.MonkeyPatch
PASTS = {"uoro": UORO(), "kf_rtrl": KFRTRL(), "r_kf_rtrl": RKFRTRL()}
every_past = pytest.mark.parametrize("past", PASTS.values(), ids=PASTS)
STRONG = {"lif": 20.0, "alif": 20.0, "adex": 60.0, "lsnn_lif": 0.6, "lsnn_alif": 0.6}


@cache
def brief(model: str, units: int, steps: int, leaky: bool, delay: int) -> Case:
    """So few neurons and steps that all their signs can be tried, and living all the same."""
    rest = {"refractory": 0 * ms} if model in ("lif", "alif") else {}
    circuit = bp.circuit(
        "recurrent",
        cell=bp.model(model, **rest),
        inputs=2,
        units=units,
        outputs=2,
        bias=True,
        gain=2.0,
        delay=delay,
        tau_out=10 * ms if leaky else None,
    )
    return living(circuit, STRONG, steps, 1)


def sizes(past: Any, model: str) -> tuple[int, int]:
    """Neurons and steps."""
    if isinstance(past, KFRTRL):  # a sign a step
        return 3, 9
    if isinstance(past, UORO):  # one for every state that is driven
        return (2, 4) if model == "lstm" else (2, 7)
    return (1, 4) if model in ("lstm", "gru") else (2, 7)  # one for every channel


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("leaky", "delay"), ((False, 1), (True, 1), (True, 2)), ids=("direct", "leaky", "leaky, delay 2")
)
@every_past
def test_over_all_signs_the_mean_is_the_true_gradient(past, model, leaky, delay):
    is_unbiased(brief(model, *sizes(past, model), leaky, delay), past)


@cache
def two(tau: float | None, first: str = "leaky_rate", second: str = "lsnn_lif", steps: int = 4) -> Case:
    """Two kinds of neurons, two of each, both ways with different delays; the second is read, or both."""
    a, b = bp.model(first), bp.model(second)
    circuit = Circuit(
        populations={"a": Population(a, 2, {}), "b": Population(b, 2, {})},
        projections=(
            Projection(name="in_a", source="input", target="a"),
            Projection(name="in_b", source="input", target="b"),
            Projection(name="aa", source="a", target="a", delay=2),
            Projection(name="ab", source="b", target="a", gain=2.0),
            Projection(name="ba", source="a", target="b", gain=2.0, channels=(next(iter(b.inputs)),)),
            Projection(name="bb", source="b", target="b", delay=2, autapses=not b.spiking),
        ),
        inputs=2,
        readout=Readout(size=2, tau=None if tau is None else tau * ms, sources=("b",) if tau is None else ("b", "a")),
    )
    return living(circuit, STRONG, steps, 1)


@pytest.mark.parametrize("tau", (None, 10.0), ids=("direct", "leaky"))
@every_past
def test_over_all_signs_of_two_populations(past, tau):
    is_unbiased(two(tau), past)
    if isinstance(past, UORO):
        is_unbiased(two(tau, "elman", "gru"), past)
    if isinstance(past, KFRTRL):
        is_unbiased(two(tau, "elman", "lstm", steps=6), past)


def test_over_all_signs_with_weights_that_are_not_learned():
    c = two(10.0)
    held = replace(
        c.network.circuit, projections=tuple(replace(p, learned=p.name != "ab") for p in c.network.circuit.projections)
    )
    network = held.build(dtype=torch.float64)
    network.load({n: w * network.masks.get(n, 1) for n, w in c.network.weights.items()})
    for past in PASTS.values():
        free = Case(network, c.batch)
        free.__dict__["true"] = {n: g for n, g in c.true.items() if n != "ab"}
        from_signs = free.of_circuit(free.gradients(rule_of(past)))
        assert set(from_signs) == set(free.of_circuit(free.true))


@every_past
def test_over_all_signs_with_a_rate_regulariser(past):
    """Whole windows only: its credit is known at the end."""
    c = brief("leaky_rate", 2, 6, True, 1)
    regulated = Case(c.network, c.batch, RateRegulariser(0.1, 5.0))
    expected = regulated.of_circuit(regulated.true)
    assert off(expected, c.of_circuit(c.true)) > 1e-2
    same(regulated.of_circuit(over_all_signs(regulated, past, Window())), expected)


# -- what the same tests say of biased variants ----------------------------------------------------------------------------


def always_the_same(patch: Patch) -> None:
    """Each step draws what the first drew: terms of different steps no longer cancel."""
    real, first = Moving.signs, {}

    def signs(self: Moving, *shape: int) -> Tensor:
        drawn = real(self, *shape)
        return first.setdefault((id(self), shape), drawn)

    patch.setattr(Moving, "signs", signs)


def wrong_everywhere(owner: type, old: str, new: str) -> Callable[[Patch], None]:
    return lambda patch: rewritten(patch, owner, "advance", (old, new))


def readout_forgets_the_factor(module: Any) -> Callable[[Patch], None]:
    """ȳ's factor does not follow when the other factor is rescaled."""

    def make(patch: Patch) -> None:
        real = module.behind_readout
        patch.setattr(
            module, "behind_readout", lambda space, now, F, A, rho: real(space, now, F, A, torch.ones_like(rho))
        )

    return make


BIASED: dict[str, tuple[Any, Callable[[Patch], None]]] = {
    "uoro, M's share of one side without ρ₁": (UORO(), wrong_everywhere(UORO, "(gamma / rho1[:, None, None])", "gamma")),
    "uoro, B not divided by ρ₀": (UORO(), wrong_everywhere(UORO, "(1 / rho0)", "(0 * rho0 + 1)")),
    "uoro, noise dropped on one side": (UORO(), wrong_everywhere(UORO, "state.A = torch.addcmul(JA * rho0[:, None], nu, rho1[:, None])", "state.A = torch.addcmul(JA * rho0[:, None], nu.abs(), rho1[:, None])")),
    "uoro, ȳ without ρ₀": (UORO(), readout_forgets_the_factor(uoro)),
    "kf, p₂ squared on one side": (KFRTRL(), wrong_everywhere(KFRTRL, "(s * p2)", "(s * p2 * p2)")),
    "kf, sign on one side only": (KFRTRL(), wrong_everywhere(KFRTRL, "(s * p2)", "p2")),
    "kf, another sign on each side": (KFRTRL(), wrong_everywhere(KFRTRL, "(s * p2)", "(state.signs(batch) * p2)")),
    "kf, no signs": (KFRTRL(), wrong_everywhere(KFRTRL, "state.signs(batch)", "(0 * state.signs(batch) + 1)")),
    "kf, p₁ on one side only": (KFRTRL(), wrong_everywhere(KFRTRL, "state.b[p] * p1[:, None]", "state.b[p]")),
    "kf, ȳ without p₁": (KFRTRL(), readout_forgets_the_factor(kf_rtrl)),
    "r_kf, p₂ on one side only": (RKFRTRL(), wrong_everywhere(RKFRTRL, "(tilde / p2[:, None])", "tilde")),
    "r_kf, p₁ on one side only": (RKFRTRL(), wrong_everywhere(RKFRTRL, "state.A[p] * p1[:, None]", "state.A[p]")),
    "r_kf, the noise of A dropped": (RKFRTRL(), wrong_everywhere(RKFRTRL, "nu, p2[:, None])", "nu.abs(), p2[:, None])")),
    "r_kf, ȳ without p₁": (RKFRTRL(), readout_forgets_the_factor(r_kf_rtrl)),
}  # fmt: skip


@pytest.mark.parametrize("name", BIASED)
def test_a_biased_variant_is_found(name, monkeypatch):
    past, make = BIASED[name]
    c = brief("leaky_rate", 2, 6, True, 1)
    is_unbiased(c, past)
    make(monkeypatch)
    with pytest.raises(Off) as seen:
        is_unbiased(c, past)
    assert seen.value.error > 1e-3


# -- real draws ---------------------------------------------------------------------------------------------------------------


DRAWN = {
    "rates, leaky": lambda: brief("leaky_rate", 2, 4, True, 1),
    "lif": lambda: brief("lif", 2, 6, False, 1),
    "elman": lambda: brief("elman", 2, 5, False, 1),
}


@pytest.mark.parametrize("name", DRAWN)
@every_past
def test_the_mean_of_many_draws_is_the_true_gradient(past, name):
    draws_are_unbiased(DRAWN[name](), past, count=2000)


def lopsided(odds: float) -> Callable[..., Tensor]:
    def signs(self: Moving, *shape: int) -> Tensor:
        return torch.where(torch.rand(shape, generator=self.generator, dtype=torch.float64) < odds, 1.0, -1.0).to(
            torch.float64
        )

    return signs


WRONG_DRAWS: dict[str, Callable[..., Any]] = {
    "signs of mean 0.3": lambda patch: patch.setattr(Moving, "signs", lopsided(0.65)),
    "signs of size 1.03": lambda patch: patch.setattr(
        Moving, "signs", lambda self, *shape, real=Moving.signs: 1.03 * real(self, *shape)
    ),
    "the same sign at every step": always_the_same,
}


@pytest.mark.parametrize("wrong", WRONG_DRAWS)
@every_past
def test_wrong_draws_are_found(past, wrong, monkeypatch):
    WRONG_DRAWS[wrong](monkeypatch)
    with pytest.raises(Off, match="standard errors"):
        draws_are_unbiased(DRAWN["rates, leaky"](), past)


def test_check_finds_a_bias(monkeypatch):
    """`bioplaus check` says so too."""
    monkeypatch.setattr(Moving, "signs", lopsided(0.65))
    rows = list(check.check(quick=True, rules=tuple(PASTS), models=("leaky_rate",)))
    assert [row.rule for row in rows] == list(PASTS) and not any(row.ok for row in rows)


def test_signs_are_independent_and_fair():
    """Over samples, neurons and calls; the same again from the same seed."""
    space = Space(made("leaky_rate").network)
    drawn = {}
    for seed in (1, 1, 2):
        moving = Moving(space, stream(seed, "noise"))
        drawn.setdefault(seed, []).append(
            torch.cat([moving.signs(20_000, 3), moving.signs(20_000, 2), moving.signs(20_000)[:, None]], 1)
        )
    one = drawn[1][0]
    assert torch.equal(one, drawn[1][1]) and not torch.equal(one, drawn[2][0])
    assert set(one.unique().tolist()) == {-1.0, 1.0} and one.dtype == torch.float64
    torch.testing.assert_close(one.T @ one / len(one), torch.eye(6, dtype=torch.float64), rtol=0, atol=4 / 20_000**0.5)
    assert float(one.mean(0).abs().max()) < 4 / 20_000**0.5
    assert float((one[1:] * one[:-1]).mean(0).abs().max()) < 4 / 20_000**0.5  # nor do samples repeat one another
    kicks = Moving(space, stream(1, "noise")).normal(20_000, 4)
    torch.testing.assert_close(
        kicks.T @ kicks / len(kicks), torch.eye(4, dtype=torch.float64), rtol=0, atol=6 / 20_000**0.5
    )


# -- as little noise as can be -------------------------------------------------------------------------------------------------


def walked(c: Case, past: Any, steps: int, seed: int = 0, tamper: Callable[[Any], None] | None = None) -> Any:
    """The state after so many steps; ``tamper`` is let in before the last."""
    state = past.init(c.network, c.batch.size, {}, stream(seed, "noise"))
    for t, now in enumerate(state.space.moments(Tangent(c.network, c.window))[:steps]):
        if t == steps - 1 and tamper is not None:
            tamper(state)
        past.advance(state, now)
        state.before = now
    return state


def factors(state: Any) -> list[tuple[list[Tensor], list[Tensor]]]:
    """Per product, the factors on its two sides; what is behind a readout goes with the first."""
    if hasattr(state, "b"):
        return [([A, *([] if F is None else [F])], [b]) for A, F, b in zip(state.A, state.F, state.b, strict=True)]
    if isinstance(state.A, list):
        return [([B, *([] if F is None else [F])], [A]) for A, B, F in zip(state.A, state.B, state.F, strict=True)]
    return [([state.A, *([] if state.F is None else [state.F])], state.B)]


def norm(parts: list[Tensor]) -> Tensor:
    return sum(p.flatten(1).square().sum(1) for p in parts).sqrt()  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ("leaky_rate", "lstm, leaky", "alif, leaky, delay 3", "alif and lstm, leaky", "Dale"))
@every_past
def test_factors_are_balanced(past, name):
    """The first step makes two factors of one size; and however a product is shared out between its factors, the next step is the same."""
    c = made(name)
    for one, other in factors(walked(c, past, 1)):
        torch.testing.assert_close(norm(one[:1]), norm(other))

    def lopsided(state: Any) -> None:
        for i, (one, other) in enumerate(factors(state)):
            for p in one:
                p.mul_(7.0 + i)
            for p in other:
                p.div_(7.0 + i)

    straight, shared = walked(c, past, 9), walked(c, past, 9, tamper=lopsided)
    for (one, other), (one_again, other_again) in zip(factors(straight), factors(shared), strict=True):
        for a, b in zip((*one, *other), (*one_again, *other_again), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12 * float(b.abs().max()))
            assert bool(a.any())


@pytest.mark.parametrize(
    "name", (*MODELS, "adex, leaky, delay 3", "adex and gru, leaky", "alif and lstm", "Dale, leaky")
)
@every_past
def test_a_draw_is_of_the_gradients_own_size(past, name):
    """Noise where nothing is carried would be unbiased all the same: of states in volts and amperes, a million times too much."""
    c = copies(made(name), 50)
    generator, true = stream(0, "noise"), c.of_circuit(copies(made(name), 1).true)
    found = [sequence(c.network, rule_of(past), {}, c.batch, squared, generator=generator).gradients for _ in range(6)]
    for n, g in true.items():
        spread = torch.stack([f[n] for f in found]).std(0).norm() * c.batch.size**0.5 / g.norm()
        assert 1e-3 < float(spread) < 1000.0, (n, float(spread))


@pytest.mark.parametrize("model", ("elman", "gru", "leaky_rate"))
@every_past
def test_a_readout_that_outlasts_its_neurons_counts_in_the_balance(past, model):
    """Without recurrent weights a neuron forgets at once, or soon, and the leaky readout does not: what is shared out must still be."""
    c = case(model, units=4, size=1, steps=16, tau=10 * ms)
    c.network.weights["W_rec"].zero_()
    many, true, generator = copies(c, 50), copies(c, 1).by_hand(), stream(0, "noise")
    found = [
        sequence(c.network, rule_of(past), {}, many.batch, squared, generator=generator).gradients for _ in range(6)
    ]
    for n in ("W_in", "b"):
        spread = torch.stack([f[n] for f in found]).std(0).norm() * 50**0.5 / true[n].norm()
        assert float(spread) < 80.0, (n, float(spread))


@pytest.mark.parametrize("name", ("leaky_rate", "lstm", "alif, leaky"))
def test_balance_is_of_use(name, monkeypatch):
    """Without it the variance is larger."""
    c = copies(made(name), 400)

    def spread(past: Any) -> float:
        generator = stream(0, "noise")
        found = [
            sequence(c.network, rule_of(past), {}, c.batch, squared, generator=generator).gradients for _ in range(6)
        ]
        return float(
            torch.cat([torch.stack([f[n] for f in found]).std(0).flatten() for n in c.of_circuit(found[0])]).norm()
        )

    with_it = {n: spread(past) for n, past in PASTS.items()}
    for module in (uoro, kf_rtrl, r_kf_rtrl):
        monkeypatch.setattr(module, "balance", lambda a, b: torch.ones_like(a))
    without = {n: spread(past) for n, past in PASTS.items()}
    assert all(without[n] > with_it[n] for n in PASTS), (with_it, without)


def test_balance_is_a_ratio_and_never_nothing():
    a, b = torch.tensor([4.0, 0.0, 1.0, 0.0]), torch.tensor([1.0, 2.0, 0.0, 0.0])
    for dtype in (torch.float32, torch.float64):
        found = uoro.balance(a.to(dtype), b.to(dtype))
        assert found[0] == 2.0 and bool((found > 0).all()) and bool((1 / found).isfinite().all())


@every_past
def test_windows_and_steps_draw_alike(past):
    for name in ("alif, leaky, delay 3", "alif and lstm, leaky"):
        c = made(name)

        def gradients(schedule: Any, seed: int, c: Case = c) -> dict[str, Tensor]:
            return sequence(
                c.network, rule_of(past, schedule), {}, c.batch, squared, generator=stream(seed, "noise")
            ).gradients

        online = gradients(None, 1)
        for schedule in (Window(), Window(1), Window(7)):
            same(gradients(schedule, 1), online)
        assert off(c.of_circuit(gradients(None, 2)), c.of_circuit(online)) > 1e-2
