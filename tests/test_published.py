"""Published models go in as they stand and fire plain Brian2's spikes: tests/published has them, docs/published_models.md the table."""

from __future__ import annotations

import numpy as np
import pytest
from published import MODELS, compare
from published.compare import network, ran
from published.plain import plain

import bioplaus as bp
from bioplaus.symbolic.runtime import runtime


@pytest.mark.parametrize("name", MODELS)
def test_a_model_fires_the_spikes_of_plain_brian2(name):
    model = MODELS[name]
    found = compare(model)
    if model.spike:
        spikes = found.plain.spikes
        assert (spikes.sum(0) > 0).mean() >= 0.3 and 20 <= spikes.sum() <= 0.1 * spikes.size, "alive"
        assert len(np.unique(spikes, axis=1).T) > 0.25 * model.n, "neurons differ"
        assert found.plain.margin > model.margin
        for ours in (found.torch, found.twin):
            np.testing.assert_array_equal(ours.spikes, spikes)
    for state, values in found.plain.states.items():
        assert values.std() > 1e-3 * np.abs(values - values[0, 0]).max() > 0, f"{state} moves"
    assert found.difference <= model.bound
    assert model.bound <= 1e-12 or model.because, "a wider bound has a reason"


def test_a_constant_that_is_wrong_is_seen():
    model = MODELS["CUBA"]
    with runtime():
        right, wrong = plain(model), plain(model, taum=20.02 * model.parameters["taum"] / 20)
    ours = ran(bp.simulate, network(model), model)
    assert (ours.spikes == right.spikes).all() and (ours.spikes != wrong.spikes).sum() > 10
    assert np.abs(wrong.states["v"] - right.states["v"]).max() > 1e-6


def test_a_delay_that_is_off_by_one_is_seen():
    model = MODELS["CUBA"]
    with runtime():
        theirs = plain(model)
    late = ran(bp.simulate, network(model, later=2), model)
    assert (late.spikes != theirs.spikes).sum() > 5
