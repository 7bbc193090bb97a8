"""Published models go in as they stand and fire plain Brian2's spikes: tests/published has them, docs/published_models.md the table."""

from __future__ import annotations

import numpy as np
import pytest
from published import MODELS, compare
from published.__main__ import BEGIN, COLUMNS, END, PAGE, entered, row
from published.compare import network, ran
from published.plain import plain
from test_docs_tables import cells, tables

import bioplaus as bp
from bioplaus.symbolic.runtime import runtime

NAMES = [pytest.param(name, marks=[pytest.mark.slow] if model.slow else []) for name, model in MODELS.items()]
CONTROL = MODELS["Sparse network of excitatory and inhibitory neurons"]


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
    assert verbatim >= 30
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
