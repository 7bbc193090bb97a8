"""Excitation and inhibition on channels of their own, against plain Brian2: conductances and currents as published, no factors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import brian2 as b2
import numpy as np
import pytest
import torch
from brian2 import ms, mV

import bioplaus as bp
from bioplaus.cell import Cell
from bioplaus.check.bench import bench
from bioplaus.circuit.dale import reached
from bioplaus.errors import CellError, CircuitError
from bioplaus.symbolic.runtime import runtime

E, I, LINES, STEPS, DT = 40, 10, 30, 1000, 0.1 * ms  # noqa: E741
#: equations as Brette et al. 2007 give them; where it starts, and the signs of weights from E and from I
PUBLISHED: dict[str, tuple[str, Any, str, int]] = {
    "coba": (
        """dv/dt = (-60*mV - v + ge*(0*mV - v) + gi*(-80*mV - v))/(20*ms) : volt (unless refractory)
        dge/dt = -ge/(5*ms) : 1
        dgi/dt = -gi/(10*ms) : 1""",
        -60 * mV, "w", 1,
    ),
    "cuba": (
        """dv/dt = (ge + gi - (v + 49*mV))/(20*ms) : volt (unless refractory)
        dge/dt = -ge/(5*ms) : volt
        dgi/dt = -gi/(10*ms) : volt""",
        -60 * mV, "w*mV", -1,
    ),
}  # fmt: skip
GAINS: dict[str, dict[str, float]] = {
    "coba": {"gain": 3.0, "balance": 2.0, "input_gain": 6.0},
    "cuba": {"gain": 20.0, "balance": 2.0, "input_gain": 10.0},
}


def made(name: str, **more: Any) -> bp.Circuit:
    options = {"inputs": LINES, "units": E + I, "outputs": 2, "fan_in": 0.5, "dt": DT, **GAINS[name]}
    return bp.circuit("excitatory_inhibitory", cell=name, **options | more)


def plain(name: str, weights: dict[str, np.ndarray], x: np.ndarray, late: Any) -> dict[str, np.ndarray]:
    """Spikes of a script that knows nothing of us: E onto ge, I onto gi."""
    text, start, jump, _ = PUBLISHED[name]
    method: Any = "exact" if name == "cuba" else "exponential_euler"
    with runtime():
        groups = {
            n: b2.NeuronGroup(size, text, threshold="v > -50*mV", reset="v = -60*mV", refractory=5 * ms, method=method, dt=DT)  # pyright: ignore
            for n, size in (("E", E), ("I", I))
        }  # fmt: skip
        for group in groups.values():
            group.v = start
        step, line = np.nonzero(x[1:])
        sources = groups | {"in": b2.SpikeGeneratorGroup(LINES, line, step * DT, dt=DT)}
        synapses = []
        for post in groups:
            for pre, state in (("in", "ge"), ("E", "ge"), ("I", "gi")):
                w = weights[f"W_in_{post}" if pre == "in" else f"W_{post}{pre}"]
                one = b2.Synapses(sources[pre], groups[post], "w : 1", on_pre=f"{state} += {jump}", dt=DT)
                rows, columns = np.nonzero(w)
                one.connect(i=columns, j=rows)
                one.w = w[rows, columns]
                if late is not None and pre != "in":
                    one.delay = late
                synapses.append(one)
        monitors = {n: b2.SpikeMonitor(group) for n, group in groups.items()}
        seen = [b2.StateMonitor(g, "v", record=True, when="after_groups", dt=DT) for g in groups.values()]
        b2.Network(*sources.values(), *synapses, *monitors.values(), *seen).run(STEPS * DT, namespace={})
    found = {}
    for n, monitor in monitors.items():
        found[n] = np.zeros((STEPS, len(groups[n])))
        found[n][np.rint(np.asarray(monitor.t / DT)).astype(int), monitor.i] = 1
    assert min(np.abs(np.asarray(each.v_) + 0.05).min() for each in seen) > 1e-11, "no tie with the threshold"
    return found


@pytest.mark.parametrize(("delay", "late"), [(1, None), pytest.param(1.5 * ms, 1.4 * ms, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n == "coba" else pytest.mark.slow) for n in PUBLISHED])
def test_the_circuit_fires_the_spikes_of_plain_brian2(name, delay, late):
    network = made(name, delay=delay).build(seed=0, dtype=torch.float64)
    dyadic = {n: (w * 1024).round() / 1024 for n, w in network.weights.items()}  # sums are the same in any order
    network.load(dyadic)
    weights = {n: w.numpy() for n, w in dyadic.items()}
    x = (np.random.default_rng(1).random((STEPS, LINES)) < 0.01).astype(float)
    x[0] = 0
    if name == "cuba":
        weights = {n: np.abs(w) if n.startswith("W_in") else w for n, w in weights.items()}
        network.load(weights)
    fired = plain(name, weights, x, late)
    for n, spikes in fired.items():
        assert 30 < spikes.sum() < 0.1 * spikes.size, (n, spikes.sum())
    for simulate in (bp.simulate, bp.brian.simulate):
        found = simulate(network, x[:, None], "spikes")
        for n, spikes in fired.items():
            np.testing.assert_array_equal(found[f"{n}.spikes"].values[:, 0], spikes)
    network.load(weights | {n: 0 * w for n, w in weights.items() if n in ("W_EI", "W_II")})
    free = bp.simulate(network, x[:, None], "spikes")["E.spikes"].values
    assert free.sum() > 1.1 * fired["E"].sum(), "inhibition inhibits"


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_population_reaches_its_channel_with_its_sign(name):
    circuit = made(name)
    sign = PUBLISHED[name][3]
    reach = {p.name: (p.channels, p.sign) for p in circuit.projections if p.source != "input"}
    for post in "EI":
        assert reach[f"W_{post}E"] == (("ge",), 1) and reach[f"W_{post}I"] == (("gi",), sign)
        given = next(p for p in circuit.projections if p.name == f"W_in_{post}")
        assert (given.channels, given.sign, given.init) == (
            ("ge",), 1 if name == "coba" else None, "gamma" if name == "coba" else "normal"
        )  # fmt: skip


def test_cells_that_keep_none_apart_get_both_kinds_on_one_channel():
    circuit = bp.circuit("excitatory_inhibitory", cell="lif", inhibitory="coba", inputs=2, units=10, outputs=1)
    reach = {p.name: (p.channels, p.sign) for p in circuit.projections}
    assert reach == {
        "W_in_E": (("I",), None), "W_EE": (("I",), 1), "W_EI": (("I",), -1),
        "W_in_I": (("ge",), 1), "W_IE": (("ge",), 1), "W_II": (("gi",), 1),
    }  # fmt: skip
    assert reached(bp.model("alif"), True) == (None, 1) and reached(bp.model("alif"), False) == (None, -1)


def test_a_cell_that_nothing_excites_is_refused_in_such_a_circuit():
    with pytest.raises(
        CircuitError, match="'wang_buzsaki' that other neurons reach inhibit it .g., and excitatory neurons need one"
    ):
        bp.circuit("excitatory_inhibitory", cell="hodgkin_huxley", inhibitory="wang_buzsaki", inputs=2, units=10, outputs=1)  # fmt: skip


@pytest.mark.parametrize("given", ["gi", ("g",), ("gi", "gi"), {"gi": 2}, {"gi": -1.5}, {"gi": "a"}, {"ge": 1, "gi": -1}, 3, None])  # fmt: skip
def test_what_is_no_inhibitory_channel_is_refused(given):
    with pytest.raises(CellError, match="inhibitory=") as error:
        replace(bp.model("coba"), inhibitory=given)
    assert "\n" not in str(error.value)


def test_a_cell_keeps_its_inhibitory_channels():
    cell = bp.model("coba")
    assert isinstance(cell, Cell) and cell.inhibitory == {"gi": 1} == replace(cell, method="euler").inhibitory
    assert bp.model("cuba").inhibitory == {"gi": -1} and bp.model("lif").inhibitory == {}


@pytest.mark.parametrize("name", PUBLISHED)
def test_claims_are_tried_where_inhibition_counts(name):
    """In the second circuit of `bioplaus check` both kinds fire, and weights from inhibitory neurons have a gradient."""
    found = bench(bp.model(name), 40, 3, 10e-3, True, inhibition=True)
    assert not found.dead() and set(found.network.weights) >= {"W_EE", "W_EI", "W_IE", "W_II", "b_E", "b_I"}
    largest = float(found.true["W_EE"].abs().max())
    assert all(float(found.true[n].abs().max()) > 1e-2 * largest for n in ("W_EI", "W_II", "W_IE"))
    assert (found.network.weights["W_EI"] * PUBLISHED[name][3]).min() > 0
