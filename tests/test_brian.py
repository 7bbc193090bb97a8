"""The same circuit in two simulators: torch, from generated source, and Brian2."""

from __future__ import annotations

import logging

import brian2
import numpy as np
import pytest
import torch
import xarray as xr

import bioplaus as bp
from bioplaus import ms, mV, nS, pA, pF
from bioplaus.brian import run, twin
from bioplaus.circuit import Circuit, Population, Projection, Readout
from bioplaus.circuit.linear import roll
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
            g_L=10 * nS, C=200 * pF, E_L=-65 * mV, E_e=0 * mV, E_i=-80 * mV, tau_e=5 * ms, tau_i=10 * ms, tau_w=80 * ms, V_T=-50 * mV,
            w=40 * pA, I_max=100 * pA, k0=1 * mV, width=10 * mV,
        ),
    )  # fmt: skip


def drive(steps: int = STEPS, batch: int = BATCH, lines: int = LINES, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3, 1.0, (steps, batch, lines))


def both(circuit: Circuit, record: tuple[str, ...], inputs: np.ndarray | None = None) -> tuple[xr.Dataset, xr.Dataset, bp.Network]:
    network = circuit.build(seed=1, dtype=torch.float64)
    x = drive(lines=circuit.inputs) if inputs is None else inputs
    return bp.simulate(network, x, record), bp.brian.simulate(network, x, record), network


def gap(a: xr.Dataset, b: xr.Dataset, name: str) -> float:
    """Largest difference, relative to the largest value."""
    return float(abs(a[name] - b[name]).max() / abs(a[name]).max())


def margins(network: bp.Network, inputs: np.ndarray) -> float:
    """The closest call: smallest distance to threshold at any step, in widths of the surrogate."""
    window, _ = roll(network, network.start(inputs.shape[1]), torch.as_tensor(inputs))
    closest = np.inf
    for i, p in enumerate(network.populations):
        if not p.kernel.derived.spiking:
            continue
        seen: list[torch.Tensor] = []
        us = tuple(window.get(i, "u", j) for j in range(len(p.start)))
        old, channels = tuple(window.get(i, "s", j) for j in range(len(us))), tuple(window.get(i, "I", k) for k in range(len(p.kernel.derived.inputs)))
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
    "lif, hard reset, 3 ms refractory, delay": (lambda: bp.model("lif", hard_reset=True, refractory=3 * ms), dict(delay=4), 1e-12),
    "lif, never refractory, per neuron": (lambda: bp.model("lif", refractory=0, tau_m=20 * SPREAD * ms, threshold=0.6 * SPREAD), dict(delay=2), 1e-12),
    "lif, clamped while refractory": (clamped, dict(), 1e-12),
    "alif": (lambda: bp.model("alif", tau_a=100 * SPREAD * ms, beta=0.1), dict(delay=3, tau_out=20 * ms), 1e-12),
    "adex": (lambda: bp.model("adex"), dict(gain=4.0, input_gain=14.0), 1e-8),
    "adex, rk4, delay": (lambda: bp.model("adex", method="rk4"), dict(gain=4.0, input_gain=40.0, delay=2, dt=0.2 * ms), 1e-8),
    "conductances": (synaptic, dict(gain=10.0, input_gain=15.0, init="gamma"), 1e-12),
}


@pytest.mark.parametrize("name", SPIKING)
def test_same_spikes_and_voltages(name):
    make, options, tolerance = SPIKING[name]
    cell = make()
    circuit = bp.circuit("recurrent", cell=cell, inputs=LINES, units=UNITS, outputs=2, **{"gain": 3.0, "input_gain": 5.0, **options})
    a, b, network = both(circuit, (*cell.states, "spikes"))
    same(a, b)
    counts = a.spikes.sum("time").values
    assert (counts > 0).mean() > 0.5 and 100 < counts.sum() < 10_000, counts
    assert margins(network, drive()) > 1e-9
    assert float(abs(network.weights["W_rec"]).min()) == 0 and float(network.weights["W_rec"].std()) > 0  # recurrent, no autapses
    np.testing.assert_array_equal(a.spikes.values, b.spikes.values)
    print(counts.sum(), margins(network, drive()), {st: gap(a, b, st) for st in cell.states})
    for state in cell.states:
        assert gap(a, b, state) <= tolerance, state
    assert gap(a, b, "output") <= tolerance


@pytest.mark.parametrize(("rate", "delay"), [("tanh(x)", 1), ("relu(x)", 1), ("sigmoid(x)", 3), ("softplus(x) - 0.5*step(x)", 2)])
def test_same_rates(rate, delay):
    cell = bp.model("leaky_rate", rate=rate, tau=10 * SPREAD * ms)
    circuit = bp.circuit("recurrent", cell=cell, inputs=LINES, units=UNITS, outputs=2, gain=1.2, delay=delay, bias={"I": 0.2})
    a, b, _ = both(circuit, ("x", "rate"))
    same(a, b)
    assert float(a.rate.std("time").min()) > 0.01
    for name in ("x", "rate", "output"):
        assert gap(a, b, name) <= 1e-12, name
