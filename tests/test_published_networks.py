"""Networks of published models fire plain Brian2's spikes, all populations of them: tests/published/networks.py has them."""

from __future__ import annotations

import numpy as np
import pytest
from published.networks import NETWORKS
from published.wiring import a_step_later

import bioplaus as bp
from bioplaus.symbolic.runtime import runtime

#: sympy reads three large cells for it, and again for the circuit that is a step late
LARGE = "Wang 2002"


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n == LARGE else []) for n in NETWORKS])
def test_a_published_network_fires_the_spikes_of_plain_brian2(name):
    make, least, read = NETWORKS[name]
    with runtime():
        network, x, (fired, states) = make()
    record = ("spikes", *{*read.values()})
    several = len(network.circuit.populations) > 1
    for simulate in (bp.simulate, bp.brian.simulate):
        ours = simulate(network, x, record)
        assert fired.keys() == least.keys() and states.keys() == read.keys()
        for population, state in states.items():
            before = f"{population}." if several else ""
            wanted = fired.get(population, np.zeros_like(state))
            if population in fired:
                assert wanted.sum() >= least[population] and wanted.mean() < 0.2
                np.testing.assert_array_equal(ours[f"{before}spikes"].values[:, 0], wanted)
            found, quiet = ours[f"{before}{read[population]}"].values[:, 0], wanted == 0
            assert np.abs(found - state)[quiet].max() < 1e-10 * np.abs(state).max()
    late = bp.simulate(a_step_later(network), x)
    assert all(
        (late[f"{p}.spikes" if several else "spikes"].values[:, 0] != wanted).any()
        for p, wanted in fired.items()
        if p != "legs"
    )
