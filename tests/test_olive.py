"""Teaching by climbing-fibre events and by perturbation: right on average within their range, as noisy as they say; what clipping costs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cerebellum_helpers import BATCH, SIZE, T, batch, cortex, drawn, granule, outcome, rule, under
from rule_helpers import same

import bioplaus as bp
from bioplaus.cerebellum.olive import Olive
from bioplaus.cerebellum.trial import Trial
from bioplaus.learning.sequence import sequence
from bioplaus.schedule import Window
from bioplaus.tasks import squared

DRAWS, P, SCALE = 40_000, 0.05, 0.2
#: errors of five outputs, in their linear range
DELTA = SCALE * torch.tensor([-0.9, -0.3, 0.0, 0.4, 1.0], dtype=torch.float64)


def heard(olive: Olive, delta: torch.Tensor = DELTA, seed: int = 0) -> torch.Tensor:
    """δ̂, (draw, output)."""
    generator = torch.Generator().manual_seed(seed)
    many, on = delta.expand(DRAWS, -1), torch.ones(1, olive.zones * len(delta), dtype=torch.float64)
    square = torch.full_like(delta, (SCALE / 3) ** 2)  # so that the running scale is this one, too
    return olive.hear(many, square, P, generator, on if olive.teaching == "events" else on[:, : len(delta)]).delta


def off_by(found: torch.Tensor, expected: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """How far the mean is off, in standard errors."""
    return (found.mean(0) - expected).abs() / (variance / len(found)).sqrt()


def events_variance(x: torch.Tensor, zones: int, fibres: int) -> torch.Tensor:
    p = P
    if zones == 1:
        return SCALE**2 * (1 + x) * (1 - p * (1 + x)) / (p * fibres)
    return SCALE**2 * (1 - p * (1 + x**2)) / (2 * p * fibres)


def perturb_variance(delta: torch.Tensor, a: float) -> torch.Tensor:
    there = delta - a / 2
    return (there**2).sum() - there**2 + there**2 * (1 / (P * (1 - P)) - 4)


@pytest.mark.parametrize("scale", [SCALE, None])
@pytest.mark.parametrize("zones", [1, 2])
@pytest.mark.parametrize("fibres", [1, 10])
def test_events_are_right_on_average_and_as_noisy_as_they_say(zones, fibres, scale):
    found = heard(Olive("events", fibres, scale, 0.1, zones))
    variance = events_variance(DELTA / SCALE, zones, fibres)
    assert bool((off_by(found, DELTA, variance) < 4).all())
    assert torch.allclose(found.var(0), variance, rtol=0.1)
    assert bool((off_by(found, 0.8 * DELTA, variance)[[0, 1, 3, 4]] > 4).any())  # a tenth less would be seen


@pytest.mark.parametrize("zones", [1, 2])
def test_what_clipping_costs(zones):
    """Beyond δ₀ the mean is the clipped one, which is off by much: with one zone errors below −δ₀ all look alike."""
    x = torch.tensor([-4.0, -2.0, 3.0, 8.0], dtype=torch.float64)
    found = heard(Olive("events", 10, SCALE, 0.1, zones), SCALE * x)
    up, down = x.clamp(-1, 5), (-x).clamp(-1, 5)
    expected = SCALE * (up if zones == 1 else (up - down) / 2)
    p, n = P * (1 + up), P * (1 + down)
    variance = (SCALE / P) ** 2 / 10 * (p * (1 - p) if zones == 1 else (p * (1 - p) + n * (1 - n)) / 4)
    assert bool((off_by(found, expected, variance.clamp_min(1e-12)) < 4).all())
    clipped = (expected - SCALE * x).abs() > 1e-12
    assert clipped.tolist() == ([True, True, False, True] if zones == 1 else [True] * 4)
    assert bool((off_by(found, SCALE * x, variance.clamp_min(1e-12))[clipped] > 4).all())
    assert bool((found.mean(0).abs() < SCALE * x.abs())[clipped].all())  # towards 0


@pytest.mark.parametrize("size", [0.01, 1.0])
def test_perturbation_is_right_but_for_half_its_size_and_as_noisy_as_it_says(size):
    a = size * SCALE
    found = heard(Olive("perturb", 1, SCALE, size, 2))
    variance = perturb_variance(DELTA, a)
    assert bool((off_by(found, DELTA - a / 2, variance) < 4).all())
    assert torch.allclose(found.var(0), variance, rtol=0.15)
    if size == 1.0:
        assert bool((off_by(found, DELTA, variance) > 4).any())


def test_a_perturbation_comes_as_often_as_it_likes():
    """It has one probability whatever the error, so that what p (1 + x) must not exceed is no limit of its."""
    with pytest.raises(bp.errors.RuleError, match="up to 6 times"):
        bp.gradient(cortex(), rule({"teaching": "events", "probability": 0.5}), batch())
    chosen = rule({"teaching": "perturb", "probability": 0.5})
    bp.gradient(cortex(), chosen, batch())
    assert bool(outcome(chosen, drawn(chosen)).own["predictor.purkinje.w"].any())


def test_silent_fibres_are_heard_as_such():
    """Graded, nothing is heard; with one zone of events silence is as if the output were too large, with two zones both are silent."""
    for zones, expected in ((1, -SCALE), (2, 0.0)):
        olive, none = Olive("events", 3, SCALE, 0.1, zones), torch.zeros(1, zones * 5, dtype=torch.float64)
        found = olive.hear(DELTA.expand(7, -1), DELTA, P, torch.Generator(), none)
        assert bool((found.delta == expected).all()) and not found.fired.any()


def test_the_running_scale_is_of_the_steps_so_far():
    olive, square = Olive("events", 1, None, 0.1, 2), None
    deltas = torch.tensor([[[0.1], [0.3]], [[0.0], [0.0]], [[2.0], [0.0]]], dtype=torch.float64)
    expected, so_far = [], 0.0
    for t, mean in enumerate((0.05, 0.0, 2.0)):
        so_far = mean if t == 0 else 0.9 * so_far + 0.1 * mean
        expected.append(3 * so_far**0.5)
    for delta, scale in zip(deltas, expected, strict=True):
        square = olive.mean_square(delta, square)
        assert abs(float(olive.unit(square)) - scale) < 1e-12


SMALL: dict[str, Any] = {"expansion": 2, "fan_in": 2, "active": None, "plastic_nuclei": True}


@pytest.mark.parametrize("how", [{"lmbda": 0.6}, {"trace": "local"}, {"trace": "bump"}])
def test_what_is_learned_from_events_is_right_on_average(how):
    """The gradient that events teach is the graded one's, within 4 standard errors, in every trace; with half of it, it is not."""
    graded = under(rule(SMALL, **how), Window())
    chosen = under(
        rule(SMALL | {"teaching": "events", "probability": 0.1, "fibres": 50, "scale": 6.0}, **how), Window()
    )
    own = drawn(graded)
    true = outcome(graded, own).own["predictor.nuclei.b"]
    generator = torch.Generator().manual_seed(1)
    draws = torch.stack([
        sequence(cortex(), chosen, own, batch(), squared, generator=generator).own["predictor.nuclei.b"]
        for _ in range(150)
    ])  # fmt: skip
    errors = draws.std(0) / len(draws) ** 0.5
    assert bool(((draws.mean(0) - true).abs() < 4 * errors).all())
    assert bool(((draws.mean(0) - 0.5 * true).abs() > 4 * errors).any())


def test_cortical_credit_does_not_hear_how_the_cerebellum_is_taught():
    own = drawn(rule(SMALL))
    for teaching in ("events", "perturb"):
        chosen = rule(SMALL | {"teaching": teaching, "probability": 0.1})
        same(outcome(chosen, own).gradients, outcome(rule(SMALL), own).gradients)


def test_events_are_recorded_and_are_those_that_taught():
    chosen = rule(SMALL | {"teaching": "events", "probability": 0.1, "fibres": 2, "scale": 2.0}, lmbda=0.0)
    own = drawn(chosen)
    seen = bp.record(cortex(), chosen, batch(), "cerebellum.olive", own=own, seed=4)["cerebellum.olive"]
    fired = torch.from_numpy(seen.values)
    assert fired.shape == (T, BATCH, 2 * SIZE) and set(fired.unique().tolist()) <= {0.0, 1.0, 2.0} and bool(fired.any())
    told = 2.0 / 0.1 * (fired[..., :SIZE] - fired[..., SIZE:]) / 2 / 2
    expected = -told.sum((0, 1)) / BATCH  # nuclei of the first zone, descending
    mine = sequence(cortex(), chosen, own, batch(), squared, generator=bp.stream(4, "noise")).own
    same({"b": mine["predictor.nuclei.b"][0]}, {"b": expected})


def test_a_rate_is_a_probability_per_step_of_this_length():
    g = granule(teaching="events", rate=2)
    assert g.chance(1e-3) == pytest.approx(2e-3) and granule(teaching="events").chance(0.02) == 0.02
    assert g.refuse(Trial(5, 5, 1e-3)) is None and "more than 1" in str(g.refuse(Trial(5, 5, 0.1)))
