"""Published models go in as they stand and fire plain Brian2's spikes: tests/published has them, docs/published_models.md the table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from published import MODELS, compare
from published.__main__ import BEGIN, COLUMNS, END, PAGE, entered, row
from published.compare import network, ran
from published.given import noisy
from published.plain import plain
from test_docs_tables import cells, tables

import bioplaus as bp
from bioplaus.symbolic.runtime import runtime

NAMES = [pytest.param(name, marks=[pytest.mark.slow] if model.slow else []) for name, model in MODELS.items()]
CONTROL = MODELS["Sparse network of excitatory and inhibitory neurons"]
NOISY = MODELS["non_reliability"]
TWO = "dx/dt = (1.1 - x)/tau + sigma*(2/tau)**.5*xi_b + 2*sigma*(2/tau)**.5*xi_a : 1 (unless refractory)"


def listed() -> list[list[str]]:
    """The rows of the page's table."""
    (table,) = tables(PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0])
    head, _, *rows = map(cells, table)
    assert head == list(COLUMNS)
    return rows


@pytest.mark.parametrize("name", NAMES)
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
    else:
        rates = found.plain.output
        assert rates is not None and (rates.std(0) > 0.05 * np.abs(rates).max(0)).mean() >= 0.9, "alive"
        assert len(np.unique(rates, axis=1).T) > 0.5 * model.n, "neurons differ"
    for state, values in found.plain.states.items():
        assert values.std() > 1e-3 * np.abs(values - values[0, 0]).max() > 0, f"{state} moves"
    assert found.difference <= model.bound
    (entry,) = [line for line in listed() if line[0] == name]
    assert entry[:-1] == list(row(found))[:-1], "the page is out of date: python -m tests.published"


def test_the_page_lists_the_models_that_are_tested():
    rows = listed()
    assert [tuple(line[:4]) for line in rows] == [entered(model) for model in MODELS.values()]
    for line, model in zip(rows, MODELS.values(), strict=True):
        assert float(line[-1]) <= model.bound
        assert model.bound <= 1e-12 or model.because, "a wider bound has a reason"
    verbatim = sum(not model.named for model in MODELS.values())
    assert verbatim >= 40
    assert f"{len(MODELS)} models, of which {verbatim} verbatim" in PAGE.read_text(encoding="utf-8")


def test_a_constant_that_is_wrong_is_seen():
    tau = CONTROL.parameters["tau"]
    ours = ran(bp.simulate, network(CONTROL), CONTROL)
    with runtime():
        right, wrong = plain(CONTROL), plain(CONTROL, tau=1.001 * tau)
    assert (ours.spikes == right.spikes).all() and (ours.spikes != wrong.spikes).sum() > 5
    assert np.abs(wrong.states["v"] - right.states["v"]).max() > 1e-6


def test_a_delay_that_is_off_by_one_is_seen():
    with runtime():
        theirs = plain(CONTROL)
    late = ran(bp.simulate, network(CONTROL, later=2), CONTROL)
    assert (late.spikes != theirs.spikes).sum() > 5


def test_noise_is_given_in_brian2s_order():
    """Of two noises each is its own, in whatever order Brian2 draws them; exchanged, or a step late, they give other spikes."""
    model = replace(NOISY, equations=TWO)
    found = compare(model)
    assert found.plain.spikes.sum() > 20 and found.plain.margin > model.margin
    for ours in (found.torch, found.twin):
        np.testing.assert_array_equal(ours.spikes, found.plain.spikes)
    assert found.difference <= 1e-12
    a, b = (found.plain.noise[xi] for xi in ("xi_a", "xi_b"))
    late = [np.roll(each, 1, axis=0) for each in (a, b)]
    for simulate in (bp.simulate, bp.brian.simulate):
        for first, second in ((b, a), late):
            other = ran(simulate, noisy(network(model), {"cells": {"xi_a": first, "xi_b": second}}), model)
            assert (other.spikes != found.plain.spikes).sum() > 5


def test_what_brian2_draws_besides_is_noticed():
    with runtime(), pytest.raises(AssertionError, match="something else"):
        plain(replace(NOISY, reset="x = 0.1*rand()"))
