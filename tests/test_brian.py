"""The same circuit in two simulators: torch, from generated source, and Brian2."""

from __future__ import annotations

import doctest
import logging
from typing import Any

import brian2
import numpy as np
import pytest
import torch
import xarray as xr
from brian2.devices.device import reset_device

import bioplaus as bp
from bioplaus import Hz, ms, mV, nS, pA, pF
from bioplaus.brian import run, twin
from bioplaus.circuit import Circuit, Population, Projection, Readout
from bioplaus.circuit.trajectory import roll
from bioplaus.errors import CircuitError
from bioplaus.symbolic.runtime import runtime

STEPS, UNITS, LINES, BATCH = 1000, 25, 10, 2
RNG = np.random.default_rng(3)
SPREAD = RNG.uniform(0.5, 2.0, UNITS)  # one value per neuron


def clamped() -> bp.Cell:
    """LIF held at its reset while refractory: input that arrives meanwhile acts on nothing."""
    return bp.Cell(
        name="clamped",
        equations="dv/dt = (-v + I)/tau : 1 (unless refractory)",
        spike="v > threshold",
        reset="v = rest",
        surrogate=bp.triangular(),
        refractory=4 * ms,
        start={"v": 0.1 * SPREAD},
        parameters=dict(tau=15 * ms, threshold=0.6, rest=0.05 * SPREAD),
    )


def held() -> bp.Cell:
    """Two coupled variables, one held while refractory: the other, too, then takes another step."""
    return bp.Cell(
        name="held",
        equations="""dv/dt = (-v - w + I)/tau : 1 (unless refractory)
                     dw/dt = (0.5*v - w)/tau_w : 1""",
        spike="v > threshold",
        reset="v = -0.5",
        surrogate=bp.triangular(),
        refractory=10 * ms,
        method="rk2",
        parameters=dict(tau=15 * ms, tau_w=150 * ms, threshold=0.6),
    )


def synaptic() -> bp.Cell:
    """LIF with two conductances in volts and siemens, each an input channel of its own; the state I is no channel."""
    return bp.Cell(
        name="synaptic",
        equations="""drive = g_e*(E_e - v) + g_i*(E_i - v) + I : amp
                     dv/dt = (g_L*(E_L - v) + drive)/C : volt
                     dI/dt = -I/tau_w : amp
                     dg_e/dt = (-g_e + J_e)/tau_e : siemens
                     dg_i/dt = (-g_i + J_i)/tau_i : siemens""",
        inputs={"J_e": 2 * nS, "J_i": 3 * nS},
        external=("J_e",),
        spike="v > V_T + 0.1*V_T*relu(I/I_max)",
        reset="v -= 15*k0; I -= w*sigmoid(I/I_max)",
        surrogate=bp.triangular(width="width"),
        refractory=2 * ms,
        start={"v": -65 * mV},
        method="exponential_euler",
        parameters=dict(
            g_L=10 * nS,
            C=200 * pF,
            E_L=-65 * mV,
            E_e=0 * mV,
            E_i=-80 * mV,
            tau_e=5 * ms,
            tau_i=10 * ms,
            tau_w=80 * ms,
            V_T=-50 * mV,
            w=40 * pA,
            I_max=100 * pA,
            k0=1 * mV,
            width=10 * mV,
        ),
    )


def drive(steps: int = STEPS, batch: int = BATCH, lines: int = LINES, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3, 1.0, (steps, batch, lines))


def both(
    circuit: Circuit, record: tuple[str, ...], inputs: np.ndarray | None = None
) -> tuple[xr.Dataset, xr.Dataset, bp.Network]:
    network = circuit.build(seed=1, dtype=torch.float64)
    x = drive(lines=circuit.inputs) if inputs is None else inputs
    return bp.simulate(network, x, record), bp.brian.simulate(network, x, record), network


def gap(a: xr.Dataset, b: xr.Dataset, name: str) -> float:
    """Largest difference, relative to the largest value."""
    return float(np.abs(a[name].values - b[name].values).max() / np.abs(a[name].values).max())  # NaN if anything is


def margins(network: bp.Network, inputs: np.ndarray) -> float:
    """The closest call: smallest distance to threshold at any step, in widths of the surrogate."""
    window, _ = roll(network, network.start(inputs.shape[1]), torch.as_tensor(inputs))
    closest = np.inf
    for i, p in enumerate(network.populations):
        if not p.kernel.derived.spiking:
            continue
        seen: list[torch.Tensor] = []
        us = tuple(window.get(i, "u", j) for j in range(len(p.start)))
        old, channels = (
            tuple(window.get(i, "s", j) for j in range(len(us))),
            tuple(window.get(i, "I", k) for k in range(len(p.kernel.derived.inputs))),
        )
        active = window.get(i, "active", 0) if p.refractory else None

        def listen(margin: torch.Tensor, seen: list[torch.Tensor] = seen) -> torch.Tensor:
            seen.append(margin)
            return (margin > 0).to(margin.dtype)

        p.kernel.step(old, channels, window.get(i, "y_last", 0), active, listen, lambda y: y)
        closest = min(closest, float(seen[0].abs().min()))
    return closest


def same(a: xr.Dataset, b: xr.Dataset) -> None:
    """Equal but for the values: names, dims, coordinates, units, attributes."""
    assert list(a) == list(b) and a.sizes == b.sizes and a.attrs == b.attrs
    xr.testing.assert_identical(a.coords.to_dataset(), b.coords.to_dataset())
    for name in a:
        assert a[name].dims == b[name].dims and a[name].attrs == b[name].attrs
        assert a[name].dtype == b[name].dtype


SPIKING = {
    "lif": (lambda: bp.model("lif"), dict(), 1e-12),
    "lif, hard reset, 3 ms refractory, delay": (
        lambda: bp.model("lif", hard_reset=True, refractory=3 * ms),
        dict(delay=4),
        1e-12,
    ),
    "lif, never refractory, per neuron": (
        lambda: bp.model("lif", refractory=0, tau_m=20 * SPREAD * ms, threshold=0.6 * SPREAD),
        dict(delay=2),
        1e-12,
    ),
    "lif, clamped while refractory": (clamped, dict(), 1e-12),
    "two variables, one held while refractory": (held, dict(), 1e-12),
    "alif": (
        lambda: bp.model("alif", tau_a=100 * SPREAD * ms, beta=0.1),
        dict(delay=3, tau_out=20 * ms),
        1e-12,
    ),
    "adex": (lambda: bp.model("adex"), dict(gain=4.0, input_gain=14.0), 1e-8),
    "adex, rk4": (
        lambda: bp.model("adex", method="rk4", V_cut=-45 * mV),
        dict(gain=4.0, input_gain=40.0, delay=2, dt=0.2 * ms),
        1e-8,
    ),
    "conductances": (synaptic, dict(gain=10.0, input_gain=15.0, init="gamma"), 1e-12),
}


@pytest.mark.parametrize("name", SPIKING)
def test_same_spikes_and_voltages(name):
    make, options, tolerance = SPIKING[name]
    cell = make()
    circuit = bp.circuit(
        "recurrent",
        cell=cell,
        inputs=LINES,
        units=UNITS,
        outputs=2,
        **{"gain": 3.0, "input_gain": 5.0, **options},
    )
    a, b, network = both(circuit, (*cell.states, "spikes"))
    same(a, b)
    counts = a.spikes.sum("time").values
    assert (counts > 0).mean() > 0.5 and 100 < counts.sum() < 10_000, counts
    assert margins(network, drive()) > 1e-9
    assert (
        float(abs(network.weights["W_rec"]).min()) == 0 and float(network.weights["W_rec"].std()) > 0
    )  # recurrent, no autapses
    np.testing.assert_array_equal(a.spikes.values, b.spikes.values)
    for state in cell.states:
        assert gap(a, b, state) <= tolerance, state
    assert gap(a, b, "output") <= tolerance


def threshold_linear() -> bp.Cell:
    """Functions that Brian2 lacks, inside the equations and with units."""
    return bp.Cell(
        name="threshold_linear",
        equations="dr/dt = (-r + gain*relu(I - theta) - loss*step(I - theta)*sigmoid(r/top))/tau : Hz",
        inputs={"I": 100 * pA},
        output="r/top",
        method="euler",
        parameters=dict(tau=10 * SPREAD * ms, theta=20 * pA, gain=10 * Hz / (100 * pA), top=10 * Hz, loss=2 * Hz),
    )


RATES = {
    "tanh": (lambda: bp.model("leaky_rate", rate="tanh(x)", tau=10 * SPREAD * ms), 1),
    "relu": (lambda: bp.model("leaky_rate", rate="relu(x)", tau=10 * SPREAD * ms), 1),
    "sigmoid, delay": (lambda: bp.model("leaky_rate", rate="sigmoid(x)", tau=10 * SPREAD * ms), 3),
    "other functions": (
        lambda: bp.model("leaky_rate", rate="softplus(x) - 0.5*step(x) + sign(x)/sqrt(1 + abs(x))"),
        2,
    ),
    "threshold-linear": (threshold_linear, 1),
}


@pytest.mark.parametrize("name", RATES)
def test_same_rates(name):
    make, delay = RATES[name]
    cell = make()
    (state,) = cell.states
    circuit = bp.circuit(
        "recurrent", cell=cell, inputs=LINES, units=UNITS, outputs=2, gain=1.2, delay=delay, bias={"I": 0.2}
    )
    a, b, _ = both(circuit, (state, "rate"))
    same(a, b)
    assert float(a.rate.std("time").min()) > 0.01
    for variable in (state, "rate", "output"):
        assert gap(a, b, variable) <= 1e-12, variable


def test_excitation_and_inhibition_sparse_with_delays():
    cells = dict(
        cell=bp.model("alif", beta=0.05),
        inhibitory=bp.model("lif", hard_reset=True, refractory=2 * ms, tau_m=10 * ms),
    )
    circuit = bp.circuit(
        "excitatory_inhibitory",
        **cells,
        inputs=LINES,
        units=50,
        outputs=3,
        fan_in=0.2,
        gain=6.0,
        input_gain=4.0,
        delay=5,
        tau_out=30 * ms,
    )
    a, b, network = both(circuit, ("v", "spikes"))
    same(a, b)
    assert {"E.v", "I.v", "E.spikes", "I.spikes", "input", "output"} == set(a)
    assert margins(network, drive()) > 1e-9
    for p in "EI":
        assert a[f"{p}.spikes"].sum() > 200
        np.testing.assert_array_equal(a[f"{p}.spikes"].values, b[f"{p}.spikes"].values)
        assert gap(a, b, f"{p}.v") <= 1e-12
    assert gap(a, b, "output") <= 1e-12
    W, mask = network.weights["W_EI"], network.masks["W_EI"]
    assert W.max() <= 0 and W.min() < 0 and mask.sum() == 2 * 40  # fan-in 2 of 10 inhibitory cells
    with runtime():
        made = synapses(network, "W_EI", batch=3)
        assert len(made) == 3 * 2 * 40
        assert made.i[:].max() == 29 and set(made.i[:] // 10) == {0, 1, 2}
        assert np.all(made.i[:] // 10 == made.j[:] // 40), "a synapse leaves its sample"


def synapses(network: bp.Network, name: str, batch: int) -> brian2.Synapses:
    clock, x = twin.clock(network), torch.zeros(1, batch, LINES, dtype=torch.float64)
    groups = [twin.neurons(network, i, d.numpy(), clock) for i, d in enumerate(network.drive(x))]
    w = next(w for w in network.recurrent if w.spec.name == name)
    made = twin.synapses(network, w, groups[w.source.population], groups[w.target], batch, clock)
    assert made is not None
    brian2.Network(*groups, made).run(0 * ms, namespace={})  # or Brian2 warns that they were forgotten
    return made


def test_rates_and_spikes_in_one_circuit_on_chosen_channels():
    rate, spike = bp.model("leaky_rate", rate="relu(x)", tau=5 * ms), synaptic()
    circuit = Circuit(
        populations={
            "rate": Population(rate, 20, bias={"I": 0.5}),
            "spike": Population(spike, UNITS, bias={"J_e": 1.5}),
        },
        projections=(
            Projection(name="in", source="input", target="rate", gain=3.0),
            Projection(
                name="forth",
                source="rate",
                target="spike",
                channels=("J_e",),
                delay=3,
                init="gamma",
                gain=4.0,
            ),
            Projection(
                name="around",
                source="spike",
                target="spike",
                channels=("J_i", "J_e"),
                delay=2,
                init="gamma",
                fan_in=6,
                gain=5.0,
            ),
            Projection(
                name="against",
                source="spike",
                target="spike",
                channels=("J_i",),
                delay=6,
                init="gamma",
                autapses=False,
                gain=5.0,
            ),
            Projection(name="back", source="spike", target="rate", delay=4, gain=20.0),
        ),
        inputs=LINES,
        readout=Readout(size=2, tau=10 * ms),
        dt=0.5 * ms,
    )
    inputs = drive(600)
    network = circuit.build(seed=4, dtype=torch.float64)
    record = ("x", "rate", "v", "g_i", "spikes")
    a, b = bp.simulate(network, inputs, record), bp.brian.simulate(network, inputs, record)
    same(a, b)
    assert a["spike.spikes"].sum() > 300 and a["rate.rate"].std("time").max() > 0.1
    assert margins(network, inputs) > 1e-9
    np.testing.assert_array_equal(a["spike.spikes"].values, b["spike.spikes"].values)
    for name in ("rate.x", "rate.rate", "spike.v", "spike.g_i", "output"):
        assert gap(a, b, name) <= 1e-12, name


def small(**options) -> Circuit:
    return bp.circuit(
        "recurrent",
        **{
            "cell": bp.model("lif"),
            "inputs": 4,
            "units": UNITS,
            "outputs": 1,
            "input_gain": 6.0,
            "gain": 3.0,
            **options,
        },
    )


def test_the_example_in_the_docstring():
    assert doctest.testmod(run) == (0, 5)


def test_large_batches_run_in_parts(monkeypatch):
    network, inputs = small().build(seed=2, dtype=torch.float64), drive(200, 5, 4)
    whole = bp.brian.simulate(network, inputs)
    monkeypatch.setattr(run, "SYNAPSES", 2 * UNITS**2)
    parts = bp.brian.simulate(network, inputs)
    same(whole, parts)
    np.testing.assert_array_equal(whole.spikes.values, parts.spikes.values)
    assert gap(whole, parts, "v") < 1e-14
    alone = bp.brian.simulate(network, inputs[:, 3])  # (time, input)
    assert whole.spikes.sum() > 50
    np.testing.assert_allclose(alone.v.values[:, 0], whole.v.values[:, 3], atol=1e-14)


def test_the_comparison_would_notice_one_step_or_one_weight():
    network, inputs = small().build(seed=2, dtype=torch.float64), drive(200, 1, 4)
    right = bp.brian.simulate(network, inputs)
    late = bp.simulate(network, np.roll(inputs, 1, axis=0))
    assert (right.spikes.values != late.spikes.values).sum() > 10
    network.weights["W_rec"][3, 4] += 1e-3  # the network's own weights are used, as they are now
    assert 1e-6 < float(abs(bp.brian.simulate(network, inputs).v - right.v).max())
    np.testing.assert_allclose(
        bp.brian.simulate(network, inputs).v.values, bp.simulate(network, inputs, ("v",)).v.values, atol=1e-12
    )


def test_a_circuit_is_built_with_the_seed_and_float32_is_served():
    circuit, inputs = small(), drive(100, 1, 4)
    a, b = bp.simulate(circuit, inputs, "v", seed=5), bp.brian.simulate(circuit, inputs, "v", seed=5)
    assert gap(a, b, "v") <= 1e-12
    single = bp.brian.simulate(circuit.build(seed=5), inputs, ("v", "spikes"))
    assert single.output.dtype == np.float32 and single.spikes.sum() > 10
    assert gap(b, single, "v") < 1e-5


def test_nothing_is_printed_and_brian_is_left_as_it_was(capfd):
    logger, level = logging.getLogger("brian2"), logging.getLogger("brian2").level
    previous = brian2.prefs.codegen.target
    brian2.set_device("cpp_standalone", build_on_run=False)
    brian2.prefs.codegen.target, brian2.prefs.core.default_float_dtype = "cython", np.float32
    try:
        device: Any = brian2.get_device()
        arrays = len(device.arrays)
        circuit, inputs = small(), drive(100, 1, 4)
        assert gap(bp.simulate(circuit, inputs, "v"), bp.brian.simulate(circuit, inputs, "v"), "v") <= 1e-12
        with pytest.raises(bp.errors.CellError):
            bp.Cell(equations="dv/dt = -v**2/tau + I/tau : 1", output="v", parameters={"tau": 5 * ms})
        assert brian2.get_device() is device and len(device.arrays) == arrays
        assert brian2.prefs.codegen.target == "cython" and brian2.prefs.core.default_float_dtype is np.float32
        assert logger.level == level
    finally:
        brian2.prefs.codegen.target, brian2.prefs.core.default_float_dtype = previous, np.float64
        reset_device()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["lstm", "gru", "elman"])
def test_discrete_maps_are_refused(name):
    with pytest.raises(CircuitError, match=f"'cortex' \\({name}\\).*discrete maps.*bioplaus.simulate"):
        bp.brian.simulate(small(cell=bp.model(name)), drive(10, 1, 4))


MAPS = {
    "lsnn_lif": (dict(), dict()),
    "lsnn_lif, refractory, scaled": (dict(refractory=4, scale_input=True, tau_m=20 * SPREAD * ms), dict(input_gain=20.0, delay=3)),
    "lsnn_alif": (dict(beta=0.1, refractory=2), dict(delay=2, tau_out=20 * ms)),
}  # fmt: skip


@pytest.mark.parametrize("name", MAPS)
def test_maps_that_spike_are_statements_in_brian(name):
    parameters, options = MAPS[name]
    cell = bp.model(name.split(",")[0], **parameters)
    circuit = small(cell=cell, **{"input_gain": 1.0, "gain": 0.5, **options})
    network, x = circuit.build(seed=2, dtype=torch.float64), drive(500, 2, 4)
    record = (*cell.states, "spikes")
    ours, theirs = (run(network, x, record) for run in (bp.simulate, bp.brian.simulate))
    same(ours, theirs)
    assert ours.spikes.sum() > 300 and margins(network, x) > 1e-9
    np.testing.assert_array_equal(ours.spikes.values, theirs.spikes.values)
    assert all(gap(ours, theirs, each) <= 1e-12 for each in (*cell.states, "output"))
    whole, state = bp.brian.simulate(network, x[:301], record, return_state=True)
    assert np.array_equal(
        bp.brian.simulate(network, x[301:], record, state=state).spikes.values, ours.spikes.values[301:]
    )
    with pytest.raises(CircuitError, match=r"'cortex' \(lsnn_a?lif\) is of a discrete map.*dt= and method="):
        bp.brian.simulate(network, x, dt=0.5 * ms)


def test_a_map_that_looks_back_at_its_own_spike_is_refused():
    cell = bp.Cell(
        update="v = 0.9*v + I - 0.6*y", spike="v > 0.6", surrogate=bp.triangular(width="width"), parameters={"width": 0.6}, name="looks_back"
    )  # fmt: skip
    with pytest.raises(CircuitError, match="looks_back"):
        bp.brian.simulate(small(cell=cell), drive(10, 1, 4))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (
            lambda c: bp.brian.simulate(c.name, drive(10, 1, 4)),
            "takes a circuit or a built network, not 'recurrent'",
        ),
        (lambda c: bp.brian.simulate(c, drive(10, 1, 3)), r"\(10, 1, 3\); expected \(time, batch, 4\)"),
        (lambda c: bp.brian.simulate(c, np.full((10, 1, 4), np.nan)), "not finite"),
        (lambda c: bp.brian.simulate(c, drive(10, 1, 4), ("w",)), "no recordable variable 'w'"),
        (lambda c: bp.brian.simulate(c, drive(10, 1, 4), ("rate",)), "no recordable variable 'rate'"),
    ],
)
def test_wrong_usage_is_refused_before_anything_runs(how, said, monkeypatch):
    monkeypatch.setattr(brian2.Network, "run", lambda *_, **__: pytest.fail("Brian2 ran"))
    with pytest.raises(CircuitError, match=said):
        how(small())


@pytest.mark.parametrize(
    "population, projection, called",
    [("E", "W", ["E", "W"]), ("layer 1", "1-x", ["layer_1", "_1_x"]), ("A", "A", ["A", "A_"])],
)
def test_objects_in_brian_have_the_names_of_the_circuit(population, projection, called, monkeypatch):
    """As far as Brian2 takes them; spikes are the same under any name."""
    circuit = Circuit(
        populations={population: Population(bp.model("lif"), 10)},
        projections=(
            Projection(name="W_in", source="input", target=population, gain=6.0),
            Projection(name=projection, source=population, target=population),
        ),
        inputs=3,
        readout=Readout(size=1),
    )
    seen, real = [], twin.objects
    monkeypatch.setattr(twin, "objects", lambda *given: seen.append(real(*given)) or seen[-1])
    x = drive(100, 1, 3)
    ours, theirs = (run(circuit, x, "spikes") for run in (bp.simulate, bp.brian.simulate))
    assert [each.name for each in (*seen[0][0], *seen[0][1])] == called
    assert ours.spikes.sum() > 5 and ours.spikes.equals(theirs.spikes)
