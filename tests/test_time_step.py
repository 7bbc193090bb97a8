"""The circuit's step is how finely time is cut, nothing else: every shipped cell at dt, dt/2 and dt/4."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from task_helpers import paragraph

import bioplaus as bp
from bioplaus import cm, content, mS, ms, mV, uA
from bioplaus.cell import Cell, triangular
from bioplaus.errors import CellError

#: shipped cell → (its making without a spike, a constant input, order of its method; None: exact)
TIMED: dict[str, tuple[dict[str, Any], float, int | None]] = {
    "leaky_rate": ({}, 0.7, None),
    "lif": (dict(threshold=1e9), 0.7, None),
    "alif": (dict(threshold=1e9), 0.7, None),
    "lsnn_lif": (dict(threshold=1e9, scale_input=True), 0.7, None),
    "lsnn_alif": (dict(threshold=1e9, scale_input=True), 0.7, None),
    "adex": (dict(V_cut=1e3 * mV), 1.5, 1),
    "delta_lif": (dict(threshold=1e9), 0.7, None),
    "cuba": (dict(V_T=1e3 * mV), 3.0, None),
    "coba": (dict(V_T=1e3 * mV), 1.0, 1),
    "alpha_current": (dict(V_T=1e3 * mV), 3.0, None),
    "tsodyks_markram": (dict(V_T=1e3 * mV), 3.0, None),
    "coba_nmda": (dict(V_T=1e3 * mV), 1.0, 1),
    "noisy_lif": (dict(threshold=1e9, sigma=0.0), 0.7, 1),
    "qif": (dict(), 0.2, 1),
    "izhikevich": (dict(), 2.0, 1),
    "hodgkin_huxley": (dict(V_T=1e3 * mV), 0.5, 1),
    "wang_buzsaki": (dict(V_T=1e3 * mV), 0.1, 1),
}
#: the whole step, ms, where gates are faster than 1 ms
FAST = {"hodgkin_huxley": 0.1, "wang_buzsaki": 0.25, "coba_nmda": 0.25}
#: what has no time constants: memory is counted in steps
UNTIMED = {"clocked", "elman", "gru", "lstm"}
#: what moves at spikes alone
STILL = {"tsodyks_markram": {"r"}}
START: dict[str, Any] = {"a": 1.5, "v": 0.2, "x": 0.2}
#: what has arrived before
ARRIVED: dict[str, dict[str, Any]] = {
    "cuba": {"ge": 4 * mV, "gi": -2 * mV}, "coba": {"ge": 0.2, "gi": 0.1}, "alpha_current": {"h": 9 * mV, "s": 1 * mV}, "tsodyks_markram": {"v": 1 * mV, "u": 0.6, "x": 0.3},
    "coba_nmda": {"ge": 0.2, "gi": 0.1, "x": 0.4, "s": 0.3}, "qif": {"v": -0.5},
    "izhikevich": {"v": -62 * mV}, "hodgkin_huxley": {"s": 1 * uA / cm**2}, "wang_buzsaki": {"g": 0.05 * mS / cm**2},
}  # fmt: skip


def test_every_shipped_cell_is_tried_here():
    assert {*TIMED, *UNTIMED} == set(content.names("model"))


def trajectory(cell: Cell, dt: float, current: float, total: float = 40.0) -> dict[str, np.ndarray]:
    """States at every ms of ``total`` under a constant input, from a start that is no equilibrium."""
    cell = cell if cell.start else replace(cell, start={s: START[s] for s in cell.states})
    cell = replace(cell, start={**cell.start, **ARRIVED.get(cell.name, {})}, external=tuple(cell.inputs)[:1])
    circuit = bp.circuit("recurrent", cell=cell, inputs=1, units=1, outputs=1, gain=0.0, bias=False, dt=dt * ms)
    network = circuit.build(dtype=torch.float64)
    network.load({"W_in": [[current]]})
    seen = bp.simulate(network, np.ones((round(total / dt), 1, 1)), record=cell.states)
    every = round(1 / dt)
    return {s: seen[s].values[every - 1 :: every, 0, 0] for s in cell.states}


@pytest.mark.parametrize("name", TIMED)
def test_half_the_step_is_the_same_curve_to_the_order_of_the_method(name):
    changed, current, order = TIMED[name]
    cell = bp.model(name, **changed)
    whole, half, quarter = (trajectory(cell, part * FAST.get(name, 1.0), current) for part in (1.0, 0.5, 0.25))
    inexact = set()
    for s in cell.states:
        if s in STILL.get(name, ()):
            continue
        size = np.ptp(quarter[s])
        assert size > 0, "nothing moves"
        if order is None or np.abs(half[s] - whole[s]).max() <= 1e-13 * np.abs(whole[s]).max():
            np.testing.assert_allclose(half[s], whole[s], rtol=0, atol=1e-13 * np.abs(whole[s]).max())
        else:
            inexact.add(s)
            coarse, fine = np.abs(whole[s] - half[s]).max(), np.abs(half[s] - quarter[s]).max()
            assert 1e-6 * size < coarse < 0.05 * size and order - 0.2 < np.log2(coarse / fine) < order + 0.2
    assert ("v" in inexact) == (order is not None), "a conductance that decays by itself is exact"


@pytest.mark.parametrize("name", ["lsnn_lif", "lsnn_alif"])
@pytest.mark.parametrize("dt", [0.1, 0.5, 1.0, 4.0])
def test_published_maps_keep_their_time_constants(name, dt):
    """What a jump leaves after 20 ms; a per-neuron tau too."""
    tau = np.array([10.0, 20.0, 50.0])
    cell = bp.model(name, tau_m=tau * ms, threshold=1e9)
    circuit = bp.circuit("recurrent", cell=cell, inputs=1, units=3, outputs=1, gain=0.0, bias=False, dt=dt * ms)
    network = circuit.build(dtype=torch.float64)
    network.load({"W_in": np.ones((3, 1))})
    x = np.zeros((round(20 / dt) + 1, 1, 1))
    x[0] = 1.0
    np.testing.assert_allclose(bp.simulate(network, x, record="v").v.values[-1, 0], np.exp(-20 / tau), rtol=1e-12)


@pytest.mark.parametrize("dt", [0.5, 1.0])
def test_resets_and_jumps_of_published_maps_follow_the_step(dt):
    """One step after a spike: v is less by a threshold, a more by one, neither decayed."""
    cell = bp.model("lsnn_alif", tau_m=20 * ms, tau_a=100 * ms, threshold=0.6, beta=0.1)
    circuit = bp.circuit("recurrent", cell=cell, inputs=1, units=1, outputs=1, gain=0.0, bias=False, dt=dt * ms)
    network = circuit.build(dtype=torch.float64)
    network.load({"W_in": [[1.0]]})
    x = np.zeros((2, 1, 1))
    x[0] = 1.0
    kernel = network.populations[0].kernel
    state = network.start(1)
    first = network.advance(state, network.drive(torch.as_tensor(x[0]))).after
    second = network.advance(first, network.drive(torch.as_tensor(x[1])))
    assert kernel.derived.states == ("v", "a")
    v, a = (float(u) for u in second.u[0])
    assert v == pytest.approx(np.exp(-dt / 20) - 0.6, rel=1e-13) and a == pytest.approx(1.0, rel=1e-13)


MAP: dict[str, Any] = dict(name="mine", update="x = 0.95*x + 0.05*I", output="x")


@pytest.mark.parametrize(
    ("make", "dt", "said"),
    [
        (lambda: Cell(**MAP, made_for=1 * ms), 0.5 * ms, "'mine' of population 'cortex' is made for a step of 1 ms .*circuit's dt is 0.5 ms. Give the circuit dt=1.ms"),
        (lambda: Cell(**MAP, made_for=0.1 * ms), 1e-3, "made for a step of 0.1 ms.*dt is 1 ms"),
        (lambda: bp.model("lsnn_lif", dt=1 * ms), 0.5 * ms, "'lsnn_lif' .* is made for a step of 1 ms"),
        (lambda: bp.model("lsnn_alif", dt=0.5 * ms), 1 * ms, "'lsnn_alif' .* is made for a step of 0.5 ms"),
    ],
)  # fmt: skip
def test_a_map_made_for_one_step_is_refused_at_another_when_the_circuit_is_made(make, dt, said):
    common: dict[str, Any] = dict(cell=make(), inputs=1, units=1, outputs=1)
    with pytest.raises(CellError, match=said) as error:
        bp.circuit("recurrent", **common, dt=dt)
    paragraph(error)
    fits = {"dt": make().made_for}
    assert bp.circuit("recurrent", **common, **fits).build().weights  # and at its own it is not


def test_only_cells_made_for_a_step_say_so():
    assert Cell(**MAP, made_for=1 * ms).describe()["made_for"].replace("1. ms", "1 ms") == "1 ms"
    assert "made_for" not in Cell(**MAP).describe() and "made_for" not in bp.model("lsnn_lif").describe()


def test_a_step_of_rounding_is_the_same_step():
    cell = Cell(**MAP, made_for=0.1 * ms)
    bp.circuit("recurrent", cell=cell, inputs=1, units=1, outputs=1, dt=1e-3 / 10)
    bp.circuit("recurrent", cell=cell, inputs=1, units=1, outputs=1, dt=0.3 * ms / 3)


def test_a_spiking_map_of_ones_own_that_reads_dt_is_served_at_any_step():
    cell = Cell(
        update="v = exp(-dt/tau_m)*v + I",
        spike="v > threshold",
        reset="v -= threshold",
        surrogate=triangular(),
        parameters=dict(tau_m=20 * ms, threshold=1e9),
    )
    left = []
    for dt in (1.0, 0.5):
        circuit = bp.circuit("recurrent", cell=cell, inputs=1, units=1, outputs=1, bias=False, dt=dt * ms)
        network = circuit.build(dtype=torch.float64)
        network.load({"W_in": [[1.0]]})
        x = np.zeros((round(20 / dt) + 1, 1, 1))
        x[0] = 1.0
        left.append(float(bp.simulate(network, x, record="v").v[-1, 0, 0]))
    assert left == pytest.approx([np.exp(-1)] * 2, rel=1e-12)


def test_how_far_spikes_have_moved_by_all_pairs():
    """`moved` of the experiment, against the nearest of all spikes of the same neuron in the same trial."""
    made, rng = content.load("experiment", "time_step"), np.random.default_rng(0)
    coarse, fine = (rng.random((10, 3, 4)) < 0.2).astype(float), (rng.random((50, 3, 4)) < 0.06).astype(float)
    coarse[:, 0, 0] = 0  # nobody there
    fine[:, 1, 1] = 0
    wanted = []
    for b in range(3):
        for i in range(4):
            other = 0.21 * (np.flatnonzero(fine[:, b, i]) + 1)
            for t in 1.0 * (np.flatnonzero(coarse[:, b, i]) + 1):
                d = np.abs(other - t).min() if len(other) else np.inf
                wanted.append(d if d <= made.PARTNER else np.inf)
    assert np.isfinite(wanted).sum() > 5 and np.isinf(wanted).sum() > 1
    assert np.allclose(made.moved(coarse, fine, 1.0, 0.21), wanted, rtol=0, atol=1e-9)
    assert (made.moved(fine, fine, 0.21, 0.21) == 0).all()
