"""`bioplaus check` of rules with random signs: right ones pass with any seed, biased ones are found, chance is counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from influence_helpers import rewritten
from torch import Tensor

import bioplaus as bp
from bioplaus import check
from bioplaus.check import fairness, signs, steps
from bioplaus.check.bench import Bench, bench, difference
from bioplaus.check.regimes import FAIR, over_signs
from bioplaus.cli.verbs.check import main
from bioplaus.eligibility import KFRTRL, RKFRTRL, UORO, snap
from bioplaus.eligibility.recursion import Moving
from bioplaus.errors import RuleError
from bioplaus.learning.sequence import sequence
from bioplaus.rules import Rule, eprop, three_factor
from bioplaus.signal import Instant, reward
from bioplaus.streams import stream
from bioplaus.tasks import squared

Patch = pytest.MonkeyPatch
RANDOM = ("uoro", "kf_rtrl", "r_kf_rtrl", "three_factor")
MODELS = sorted(bp.content.names("model"))


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in range(1, 20))])
def test_right_rules_pass_with_any_seed(seed):
    """Two rules that draw, on a model each; over the seeds each rule on every model, or nearly."""
    for i in (0, 1):
        rule, model = RANDOM[(seed + i) % len(RANDOM)], MODELS[(seed + 2 * i) % len(MODELS)]
        (row,) = check.check(quick=True, rules=(rule,), models=(model,), seed=seed)
        assert row.ok and "mean over all signs" in row.note and FAIR in row.note, row
        assert ("every step" in row.note) == (rule != "three_factor"), row


def scaled(patch: Patch) -> None:
    """3 % too large, as small as a bias must be seen."""
    real = KFRTRL.meet

    def meet(self: KFRTRL, state: Any, c: Tensor, f: Tensor | None, total: list[Tensor]) -> None:
        found = [torch.zeros_like(t) for t in total]
        real(self, state, c, f, found)
        for t, g in zip(total, found, strict=True):
            t += 1.03 * g

    patch.setattr(KFRTRL, "meet", meet)


def without_a_term(patch: Patch) -> None:
    """UORO's B forgets what came before."""
    rewritten(
        patch,
        UORO,
        "advance",
        ("B.mul_((1 / rho0)[:, None, None, None])", "B.mul_(0.9 * (1 / rho0)[:, None, None, None])"),
    )


def sign_on_one_side(patch: Patch) -> None:
    rewritten(patch, RKFRTRL, "advance", ("nu, p2[:, None])", "nu.abs(), p2[:, None])"))


def wrong_mask(patch: Patch) -> None:
    """SnAp's mask a synapse short."""
    real = snap.reach
    patch.setattr(snap, "reach", lambda space, synapses: real(space, synapses if synapses < 3 else 0))


def scaled_reward(patch: Patch) -> None:
    real = reward.estimate
    patch.setattr(reward, "estimate", lambda error, xi: 1.03 * real(error, xi))


def lopsided(patch: Patch) -> None:
    """Signs with a mean of 3 %, which no enumeration sees."""

    def drawn(self: Moving, *shape: int) -> Tensor:
        return torch.where(torch.rand(shape, generator=self.generator, dtype=torch.float64) < 0.515, 1.0, -1.0).double()

    patch.setattr(Moving, "signs", drawn)


def large(patch: Patch) -> None:
    patch.setattr(Moving, "signs", lambda self, *shape, real=Moving.signs: 1.03 * real(self, *shape))


def twice(patch: Patch) -> None:
    """Every other draw is the one before."""
    real, kept = Moving.signs, {}

    def signs(self: Moving, *shape: int) -> Tensor:
        return kept.pop(shape) if shape in kept else kept.setdefault(shape, real(self, *shape))

    patch.setattr(Moving, "signs", signs)


def one_for_all_samples(patch: Patch) -> None:
    real = Moving.signs
    patch.setattr(Moving, "signs", lambda self, batch, *rest: real(self, 1, *rest).expand(batch, *rest).clone())


def exploring_together(patch: Patch) -> None:
    """All outputs explore alike."""
    real = reward.signs
    patch.setattr(reward, "signs", lambda generator, like: real(generator, like[..., :1]).expand_as(like).clone())


BIASED: dict[str, tuple[str, Callable[[Patch], None]]] = {
    "kf_rtrl 3 % too large": ("kf_rtrl", scaled), "uoro without a term": ("uoro", without_a_term),
    "r_kf_rtrl with a sign on one side": ("r_kf_rtrl", sign_on_one_side), "snap with a wrong mask": ("snap", wrong_mask),
    "three_factor 3 % too large": ("three_factor", scaled_reward), "lopsided signs": ("uoro", lopsided), "large signs": ("r_kf_rtrl", large),
    "signs drawn twice": ("kf_rtrl", twice), "one sign for all samples": ("uoro", one_for_all_samples),
    "outputs that explore together": ("three_factor", exploring_together),
}  # fmt: skip


@pytest.mark.parametrize("name", BIASED)
@pytest.mark.parametrize("model", ("gru", "lif"))
def test_a_biased_rule_is_found(name, model, monkeypatch):
    label, make = BIASED[name]
    make(monkeypatch)
    (row,) = check.check(quick=True, rules=(label,), models=(model,))
    assert not row.ok and row.measured == "biased", row


def test_the_command_says_so_and_ends_with_1(monkeypatch, capsys):
    words = ["--quick", "--rules", "kf_rtrl,eprop", "--models", "gru", "--seed", "3"]
    assert main(words) == 0 and "All 2 claims hold." in capsys.readouterr().out
    scaled(monkeypatch)
    assert main(words) == 1
    said = capsys.readouterr().out
    assert "1 of 2 claims hold." in said and said.count("WRONG") == 1


# -- the mean over all signs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", (1, 4))
def test_every_outcome_is_spelled_once(size):
    found = [signs.Spelled(first) for first in range(0, 64, size)]
    drawn = [torch.cat([one.signs(size, 2), one.signs(size)[:, None], one.signs(size, 3)], 1) for one in found]
    rows = {tuple(row) for row in torch.cat(drawn).tolist()}
    assert rows == set(product((-1.0, 1.0), repeat=6)) and {one.bits for one in found} == {6}


@pytest.fixture(scope="module")
def tiny() -> Bench:
    found = signs.short(bench(bp.model("elman"), 20, 1, None, True), Rule(UORO(), Instant()))
    assert found is not None
    return found.short(3)


@pytest.mark.parametrize("past", (UORO(), RKFRTRL()), ids=lambda p: type(p).__name__)
def test_the_mean_is_that_of_the_outcomes_one_by_one(past, tiny, monkeypatch):
    """Told its signs by hand, and in chunks."""
    rule, told = Rule(past, Instant()), iter(())
    monkeypatch.setattr(signs, "CHUNK", 8)
    expected: dict[str, Tensor] = {}

    def signed(self: Moving, *shape: int) -> Tensor:
        return torch.tensor([next(told) for _ in range(math.prod(shape))]).double().view(shape)

    found = signs.expectation(tiny, rule)
    monkeypatch.setattr(Moving, "signs", signed)
    for outcome in product((-1, 1), repeat=signs.count(tiny, rule)):
        told: Iterator[int] = iter(outcome)
        for n, g in sequence(tiny.network, rule, {}, tiny.batch, squared).gradients.items():
            expected[n] = expected.get(n, 0) + g / 64
    assert signs.count(tiny, rule) == 6 and difference(found, expected) < 1e-13
    assert difference(found, tiny.true) < 1e-12


def test_a_rule_that_is_told_its_signs_is_the_same_rule(tiny):
    """With the signs that it would have drawn it finds what it would have found; the rule itself goes on drawing."""
    rule = three_factor()
    drawn: list[Tensor] = []

    class Heard(signs.Spelled):
        def signs(self, batch: int, *rest: int) -> Tensor:
            return drawn.pop(0)

    generator = reward.branch(stream(5, "noise"))
    drawn += reward.signs(generator, torch.empty(3, 1, 2, dtype=torch.float64))
    told = sequence(tiny.network, signs.told(rule, Heard()), {}, tiny.batch, squared).gradients
    asked: Any = {"generator": stream(5, "noise")}
    own = sequence(tiny.network, rule, {}, tiny.batch, squared, **asked).gradients
    assert difference(told, own) == 0 and difference(own, tiny.gradients(eprop())) > 1e-3
    assert type(rule.signal) is Instant and signs.told(eprop(), Heard()).signal == eprop().signal


def test_a_cell_with_more_signs_than_can_be_tried_is_told_of(monkeypatch):
    monkeypatch.setattr(signs, "MOST", 3)
    (row,) = check.check(quick=True, rules=("uoro",), models=("lstm",))
    assert not row.ok and "too many signs" in row.note


# -- chance -------------------------------------------------------------------------------------------------------------------


def test_a_false_alarm_is_rarer_than_once_in_a_million_runs():
    """By Hoeffding's bound of every test of signs that a run makes; exactly, by the binomial distribution, of one of them."""
    from scipy.stats import binom

    sets = 2 * len(MODELS) * len(RANDOM)  # two circuits a model
    assert sets * fairness.ALPHA < 1e-6 / 10
    for tests in (1, 1000, 10**6):
        n = fairness.STREAMS[-1][0] * fairness.STREAMS[-1][1]
        t = fairness.allowed(tests) / math.sqrt(n)
        assert 2 * binom.cdf(math.ceil(n * (1 - t) / 2), n, 0.5) * tests < fairness.ALPHA
        assert binom.sf(math.floor(n * (1 + t) / 2), n, 0.515) > 1 - 1e-9  # of signs with a mean of 3 %
        assert fairness.allowed(tests) < math.sqrt(72)


def test_of_many_seeds_no_sign_comes_near_what_chance_allows(tiny):
    found = [fairness.unfairness(replace(tiny, seed=seed), Rule(UORO(), Instant())) for seed in range(10)]
    assert 0.2 < min(found) and max(found) < 0.85 and len(set(found)) > 8
    assert fairness.unfairness(tiny, eprop()) == 0.0, "it draws nothing"


@pytest.mark.parametrize(("samples", "places"), ((1, 1), (2, 3), (8, 2), (8, 24), (300, 2)))
def test_means_of_a_stream_are_those_of_its_signs_one_by_one(samples, places):
    """As many as are said, each of as many terms as it is said to have; what repeats has a mean of 1."""
    x = 2.0 * torch.randint(0, 2, (130, samples, places), generator=stream(1, "noise")).float() - 1
    x[65:] = x[:65]
    found = [(means, terms) for means, terms in fairness._means(x) if means.numel()]
    assert all(
        float(means.abs().max()) <= 1 + 1e-5 and int(torch.as_tensor(terms).max()) <= x.numel()
        for means, terms in found
    )
    signal: Any = x.flatten(1)
    ((later, terms),) = fairness._later(signal)
    assert (
        isinstance(terms, Tensor) and len(later) == len(terms) == 65 and float(later[64]) == pytest.approx(1, abs=1e-5)
    )
    for lag in (1, 7, 64):
        product = (signal[lag:] * signal[:-lag]).double()
        assert float(later[lag - 1]) == pytest.approx(float(product.mean()), abs=1e-5)
        assert int(terms[lag - 1]) == product.numel()
    if samples * places <= fairness.PAIRED:
        pairs = list(fairness._pairs(signal))
        for lag in (1, 64):
            one, other = signal[lag:, 0], signal[:-lag, -1]
            assert float(pairs[lag][0][samples * places - 1]) == pytest.approx(float((one * other).mean()), abs=1e-5)


@pytest.mark.parametrize("count", (1, 3, 8, 9, 12, 24, 33))
def test_outcomes_of_a_step_are_balanced(count):
    """Of up to eight signs all; of more, any three of them stand in all their combinations equally often."""
    found = signs.design(count)
    if count <= 8:
        assert {tuple(row) for row in found.tolist()} == set(product((-1.0, 1.0), repeat=count)) and len(
            found
        ) == 2**count
        return
    assert {tuple(row) for row in found.tolist()} == {tuple(row) for row in (-found).tolist()}
    triples = torch.einsum("ra,rb,rc->abc", found, found, found)
    assert not bool(triples.any()) and torch.equal(found.T @ found, len(found) * torch.eye(count).double())


def test_a_step_s_mean_is_that_of_outcomes_one_by_one(tiny):
    """P̂ by the rule's own factors, after two steps."""
    rule = Rule(UORO(), Instant())
    assert steps.mismatch(tiny, rule) < 1e-13
    past: Any = UORO()
    state = past.init(tiny.network, 1, {}, stream(3, "noise"))
    past.step(state, tiny.observed.tangent)
    (found, *_) = steps.carried(past, state, 1)
    n, k, m = state.space.columns[0]
    outer = torch.einsum("z,jkm->zjkm", state.A[0], state.B[0][0]).reshape(-1, n * k * m)
    torch.testing.assert_close(found, outer, rtol=1e-14, atol=0)


@pytest.mark.parametrize("seed", (-1, 1.5, "3", None, 2**63))
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(RuleError, match=r"seed is .*; it must be a whole number"):
        check.check(seed=seed)


def test_another_seed_is_another_circuit():
    one, again, other = (list(check.check(True, ("kf_rtrl",), ("gru",), seed)) for seed in (1, 1, 2))
    assert one == again and one[0].error != other[0].error
    assert dict(over_signs(bench(bp.model("gru"), 20, 1, None, True, 4), three_factor(), eprop()))[FAIR] < 1
