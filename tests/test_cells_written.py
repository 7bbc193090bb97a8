"""What may be written in a cell beside what is meant: comments, names that nothing reads, one value for all neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from cell_helpers import LEAK, LIF, MAP, RATE, VOLT_RATE, VOLTS, of

from bioplaus import Cell, brian, circuit, ms, simulate
from bioplaus.cell import Surrogate

COMMENTED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (LIF, dict(equations="dv/dt = (-v + I)/tau : 1  # potential at time t")),
    (
        LIF,
        dict(equations="# deterministic: no rand() here, no xi; t is not read\ndv/dt = (-v + I)/tau : 1  # N, i, dt"),
    ),
    (LIF, dict(reset="v -= threshold  # soft; a hard one would be v = 0")),
    (LIF, dict(reset="# nothing at all; v = 0")),
    (LIF, dict(spike="v > threshold  # not >=, whatever t")),
    (LIF, dict(surrogate=Surrogate("relu(1 - abs(x))  # of x at t", "threshold  # or 2*threshold"))),
    (RATE, dict(output="tanh(x)  # x > 0 at any t")),
    (MAP, dict(update="# leak; then v = w\nv = decay*v + I  # xi = 0; randn() = 1")),
]


@pytest.mark.parametrize(("base", "changed"), COMMENTED, ids=range(len(COMMENTED)))
def test_comments_are_not_read_but_kept(base, changed):
    bare = Cell(**{**base, **({"reset": ""} if changed.get("reset", "").startswith("#") else {})})
    cell = Cell(**{**base, **changed})
    assert cell.states == bare.states
    if "surrogate" not in changed:
        assert cell.derived == bare.derived
    assert all(cell.describe()[k] == v for k, v in changed.items() if k != "surrogate")
    network = circuit("recurrent", cell=cell, inputs=1, units=3, outputs=1).build(dtype=torch.float64)
    x = np.ones((30, 1, 1))
    if cell.continuous:
        ours, twin = (f(network, x, record=cell.states) for f in (simulate, brian.simulate))
        for s in cell.states:
            np.testing.assert_allclose(ours[s].values, twin[s].values, rtol=0, atol=1e-13)


@pytest.mark.parametrize("base", [LIF, RATE, VOLTS, VOLT_RATE], ids=["spiking", "rate", "volts", "rate in volts"])
def test_what_is_unused_among_the_parameters_may_be_called_anything(base):
    """``parameters=locals()`` holds whatever a factory has; the twin has variables t, i, N and dt of its own."""
    unused = dict(
        t=3 * ms, i=2, N=100, dt=1 * ms, lastspike=1 * ms, not_refractory=3, t_in_timesteps=4, y=1, ms=5, k0_=1, e=2
    )
    if base is not RATE:
        unused["x"] = 3  # also the margin's name, in a surrogate
    cell = Cell(**{**base, "parameters": {**base["parameters"], **unused}})
    network = circuit("recurrent", cell=cell, inputs=1, units=3, outputs=1).build(dtype=torch.float64)
    ours, twin = (f(network, np.ones((40, 1, 1)), record=cell.states) for f in (simulate, brian.simulate))
    for s in cell.states:
        np.testing.assert_allclose(ours[s].values, twin[s].values, rtol=0, atol=1e-13)


def test_one_shared_value_is_the_same_for_all():
    cell = Cell(**{**LIF, "equations": LEAK + "\ntau : second (shared, constant)"})
    network = circuit("recurrent", cell=cell, inputs=1, units=3, outputs=1).build(dtype=torch.float64)
    ours, twin = (f(network, np.ones((40, 1, 1)), record="v") for f in (simulate, brian.simulate))
    np.testing.assert_allclose(ours.v.values, twin.v.values, rtol=0, atol=1e-13)


def test_quantities_in_a_list_keep_their_unit():
    cell = Cell(**{**LIF, "parameters": of(tau=[10 * ms, 20 * ms])})
    assert list(np.asarray(cell.parameters["tau"])) == [0.01, 0.02]
