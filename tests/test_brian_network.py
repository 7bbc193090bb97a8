"""A circuit as a Brian2 network: what somebody types next works, and things are called as in the circuit."""

from __future__ import annotations

import doctest
from typing import Any

import brian2 as b2
import numpy as np
import pytest
import torch
from brian2.devices.device import reset_device

import bioplaus as bp
from bioplaus import ms
from bioplaus.brian import net as door
from bioplaus.brian.names import Names, free
from bioplaus.circuit import Circuit, Population, Projection, Readout
from bioplaus.errors import CircuitError

LINES, T = 4, 100
X = np.random.default_rng(0).normal(0.3, 1.0, (T, 2, LINES))


def small(**options: Any) -> Circuit:
    given = dict(cell="lif", inputs=LINES, units=10, outputs=1, input_gain=6.0, gain=3.0, delay=2) | options
    return bp.circuit("recurrent", **given)


@pytest.fixture(autouse=True)
def numpy_code():
    """What tests do not look at is not compiled; the session's step is put back."""
    before, step = b2.prefs.codegen.target, b2.defaultclock.dt
    b2.prefs.codegen.target = "numpy"
    yield
    b2.prefs.codegen.target, b2.defaultclock.dt = before, step


def fired(monitor: b2.SpikeMonitor, shape: tuple[int, ...], dt: Any = ms) -> np.ndarray:
    found = np.zeros((shape[0], int(np.prod(shape[1:]))))
    found[np.rint(np.asarray(monitor.t / dt)).astype(int), monitor.i] = 1
    return found.reshape(shape)


def test_monitors_and_a_run_are_all_that_has_to_be_added():
    circuit = small()
    tau_m, v, I = 5, 6, 7  # noqa: F841, E741  (a script has names of its own)
    net = bp.brian.network(circuit, X)
    M, V = b2.SpikeMonitor(net["cortex"]), b2.StateMonitor(net["cortex"], "v", record=[3, 14])
    net.add(M, V)
    net.run(40 * b2.ms)
    net.run(60 * b2.ms)
    ours = bp.simulate(circuit, X, ("v", "spikes"))
    assert ours.spikes.sum() > 30 and np.array_equal(fired(M, (T, 2, 10)), ours.spikes.values)
    assert V.v.shape == (2, T), "once a step"
    # what stands at the start of a step is what the step before has left
    np.testing.assert_allclose(V.v[:, 1:].T, ours.v.values.reshape(T, 20)[:-1, [3, 14]], atol=1e-12)
    W, network = net["W_rec"], circuit.build(seed=0, dtype=torch.float64)
    i, j, w = (np.asarray(each) for each in (W.i, W.j, W.w))
    assert len(w) == 2 * 90 and np.array_equal(w, network.weights["W_rec"].numpy()[j % 10, i % 10])


def test_weights_and_groups_are_there_to_be_changed():
    net = bp.brian.network(small(), X)
    net["W_rec"].w = 0
    M = b2.SpikeMonitor(net["cortex"])
    net.add(M)
    net.run(T * b2.ms)
    network = small().build(seed=0, dtype=torch.float64)
    network.weights["W_rec"].zero_()
    alone = bp.simulate(network, X, "spikes")
    assert np.array_equal(fired(M, (T, 2, 10)), alone.spikes.values)
    assert not alone.spikes.equals(bp.simulate(small(), X, "spikes").spikes)


def test_behind_the_last_step_nothing_comes_in():
    """A TimedArray would go on with its last row."""
    circuit = bp.circuit(
        "recurrent", cell=bp.model("lif", hard_reset=True), inputs=LINES, units=10, outputs=1, input_gain=9.0
    )
    net = bp.brian.network(circuit, np.ones((20, LINES)))
    M = b2.SpikeMonitor(net["cortex"])
    net.add(M)
    net.run(100 * b2.ms)
    assert M.num_spikes > 10 and max(M.t / b2.ms) < 25
    assert net["cortex"].v[:].max() < 0.1


def test_without_inputs_a_circuit_is_still_and_waits_for_others():
    cell = bp.model("delta_lif")
    net = bp.brian.network(bp.circuit("recurrent", cell=cell, inputs=0, units=5, outputs=1, gain=0.0))
    assert len(net["cortex"]) == 5
    source = b2.SpikeGeneratorGroup(1, np.zeros(5, dtype=int), np.arange(1, 10, 2) * b2.ms)
    S = b2.Synapses(
        source, net["cortex"], on_pre="v_post += 2*threshold*int(v_post < 100)", namespace={"threshold": 1.0}
    )
    S.connect()
    M = b2.SpikeMonitor(net["cortex"])
    net.add(source, S, M)
    net.run(12 * b2.ms)
    assert M.num_spikes >= 10
    noisy = bp.circuit("recurrent", cell="noisy_lif", inputs=2, units=5, outputs=1)
    with pytest.raises(CircuitError, match=r"draws .*'cortex'.*np.zeros\(\(steps, batch, 2\)\)"):
        bp.brian.network(noisy)
    assert bp.brian.network(noisy, np.zeros((3, 1, 2)))["cortex"].normal_xi.shape == (5,)


def test_it_goes_on_from_a_state_with_somebody_interfering():
    circuit = small()
    clamp = bp.Perturb("cortex[2].v", "clamp", steps=range(60, 80), value=0.3)
    _, state = bp.simulate(circuit, X[:50], return_state=True)
    ours = bp.simulate(circuit, X[50:], ("v", "spikes"), state=state, perturb=clamp)
    net = bp.brian.network(circuit, X[50:], state=state, perturb=clamp)
    M = b2.SpikeMonitor(net["cortex"])
    net.add(M)
    net.run(50 * b2.ms)
    assert np.array_equal(fired(M, (50, 2, 10)), ours.spikes.values)
    assert not ours.spikes.equals(bp.simulate(circuit, X[50:], "spikes", state=state).spikes)


def test_code_is_compiled_only_where_somebody_asks_for_it():
    net = bp.brian.network(small(), X)
    assert net["cortex"].codeobj_class is None, "Brian2 goes by its preference"
    b2.prefs.codegen.target = "auto"
    net = bp.brian.network(small(), X)
    assert {each.codeobj_class.class_name for each in net["cortex"].contained_objects} == {"numpy"}
    assert {each.codeobj_class.class_name for each in net["W_rec"].contained_objects} == {"numpy"}
    assert b2.prefs.codegen.target == "auto" and b2.defaultclock.dt == 1 * b2.ms


def test_a_clamp_is_refused_in_a_standalone_program(tmp_path):
    b2.set_device("cpp_standalone", build_on_run=False)
    try:
        with pytest.raises(CircuitError, match=r"'cortex' \(a clamp\).*NetworkOperation.*standalone"):
            bp.brian.network(small(), X, perturb=bp.Perturb("cortex.v", "clamp", value=0.1))
        net = bp.brian.network(small(), X)
        net.run(5 * b2.ms)
        device: Any = b2.get_device()
        device.build(directory=str(tmp_path), compile=False, run=False)
        assert (tmp_path / "main.cpp").exists()
    finally:
        reset_device()
        b2.device.reinit()


def odd() -> bp.Cell:
    """Has what we would call ours."""
    return bp.Cell(
        equations="dw/dt = (-w + I)/I_external : 1\ndrate/dt = -rate/I_unit : 1",
        spike="w > 0.6", reset="w -= 0.6; rate += steps*w", surrogate=bp.triangular(width="steps"),
        parameters=dict(I_external=20 * ms, I_unit=10 * ms, steps=0.6),
    )  # fmt: skip


def test_names_of_a_cell_are_left_to_it():
    circuit = Circuit(
        populations={"a": Population(odd(), 8)},
        projections=(
            Projection(name="in", source="input", target="a", gain=6.0),
            Projection(name="a_pre", source="a", target="a", gain=3.0, delay=bp.Uniform(1, 4)),
        ),
        inputs=LINES,
        readout=Readout(size=1),
    )
    network = circuit.build(seed=0, dtype=torch.float64)
    called = Names(network, 0)
    assert (called.external, called.unit, called.said[0][0]) == (["I_external2"], ["I_unit2"], "rate2")
    assert list(called.arriving.values())[0] == "I_from_a_pre2", "Brian2 reads x_pre as x of a synapse's source"
    ours, theirs = (run(network, X, ("w", "rate", "spikes")) for run in (bp.simulate, bp.brian.simulate))
    assert ours.spikes.sum() > 50 and np.array_equal(ours.spikes, theirs.spikes)
    assert "weight" in bp.brian.network(network, X)["a_pre"].variables


@pytest.mark.parametrize(
    ("wanted", "found"), [("x", "x"), ("1-x", "x"), ("a_", "a"), ("v", "v2"), ("a.b_post", "a_b_post2"), ("é", "x")]
)
def test_free_names(wanted, found):
    assert free(wanted, {"v"}) == found


def test_what_is_no_network_is_refused():
    with pytest.raises(CircuitError, match="bp.brian.network takes a circuit or a built network, not 'lif'"):
        bp.brian.network("lif")  # pyright: ignore[reportArgumentType]
    with pytest.raises(CircuitError, match="gru"):
        bp.brian.network(small(cell="gru"), X)
    with pytest.raises(CircuitError, match="expected"):
        bp.brian.network(small(), X[..., :2])


def test_the_example_in_the_docstring():
    failed, tried = doctest.testmod(door)
    assert tried == 10 and not failed
