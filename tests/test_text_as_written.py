"""Equations as Brian2 users write them: units and conditions in the texts, against plain Brian2 and against torch.func.

The plain side is a `brian2.NeuronGroup` of the same words and nothing of ours: Brian2's own schedule, its own namespaces, its units.
"""

from __future__ import annotations

import re
from typing import Any

import brian2 as b2
import numpy as np
import pytest
import torch
from brian2.units.fundamentalunits import DIMENSIONLESS
from torch import Tensor
from torch.func import jacfwd, jacrev

import bioplaus as bp
from bioplaus import Cell, Mohm, ms, mV, nA, triangular
from bioplaus.codegen.kernel import hard_spike, surrogate_spike, uncut
from bioplaus.symbolic.runtime import runtime
from bioplaus.symbolic.units import cm, pA

N, STEPS, DT = 12, 800, 0.1 * ms
TALL = triangular(width="10*mV")


def circuit(cell: Cell, lines: int) -> bp.Network:
    """One population, neuron i driven by line i of each channel in turn; no neuron by another."""
    made = bp.Circuit(
        populations={"cells": bp.Population(cell, N)},
        projections=(bp.Projection(name="W_in", source="input", target="cells"),),
        inputs=lines,
        readout=bp.Readout(size=1),
        dt=DT,
    )  # fmt: skip
    network = made.build(dtype=torch.float64)
    network.load({"W_in": torch.eye(lines, dtype=torch.float64)})
    return network


def drive(channels: int, low: float, high: float, seed: int = 0) -> np.ndarray:
    """Input that differs from neuron to neuron and changes every 5 ms, (time, 1, channel · neuron)."""
    levels = np.random.default_rng(seed).uniform(low, high, (STEPS // 50, 1, channels * N))
    return np.repeat(levels, 50, 0)


def plain(cell: dict[str, Any], x: np.ndarray, states: tuple[str, ...]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Spikes (time, neuron) and states at the end of each step, by Brian2 alone."""
    channels = cell["inputs"]
    given = {f"line{k}": b2.TimedArray(x[:, 0, k * N : (k + 1) * N], dt=DT) for k in range(len(channels))}
    given |= {f"one{k}": unit for k, unit in enumerate(channels.values())}
    flowing = [f"{name} = line{k}(t, i)*one{k} : {dim(unit)}" for k, (name, unit) in enumerate(channels.items())]
    parameters = cell.get("parameters", {})
    varied = {k: v for k, v in parameters.items() if np.ndim(v)}
    flowing += [f"{k} : {dim(v)} (constant)" for k, v in varied.items()]
    refractory: Any = cell.get("refractory", False)
    if np.ndim(refractory):
        varied, refractory, flowing = {"own": refractory}, "own", [*flowing, "own : second (constant)"]
    with runtime():
        group = b2.NeuronGroup(
            N, cell["equations"] + "\n" + "\n".join(flowing), threshold=cell["spike"], reset=cell["reset"], refractory=refractory,
            method=cell.get("method", "exact"), dt=DT, namespace=given | {k: v for k, v in parameters.items() if not np.ndim(v)},
        )  # fmt: skip
        for name, value in (varied | cell.get("start", {})).items():
            setattr(group, name, value)
        spikes, seen = b2.SpikeMonitor(group), b2.StateMonitor(group, states, record=True, when="end")
        b2.Network(group, spikes, seen).run(STEPS * DT)
        fired = np.zeros((STEPS, N))
        fired[np.rint(np.asarray(spikes.t / DT)).astype(int), np.asarray(spikes.i)] = 1
        return fired, {s: np.asarray(getattr(seen, f"{s}_")).T for s in states}


def dim(value: Any) -> str:
    dimension = b2.get_dimensions(value)
    return "1" if dimension is DIMENSIONLESS else repr(dimension)


LEAKY: dict[str, Any] = dict(
    equations="dv/dt = (-70*mV - v + 20*Mohm*I)/(10*ms) : volt (unless refractory)",
    inputs={"I": 1 * nA},
    spike="v > -50*mV",
    reset="v = -60*mV",
    surrogate=TALL,
    start={"v": -70 * mV},
)
HODGKIN_HUXLEY: dict[str, Any] = dict(
    equations="""dv/dt = (0.3*msiemens*(-65*mV - v)/10 - 100*msiemens*(m*m*m)*h*(v - 50*mV) - 30*msiemens*(n*n*n*n)*(v + 90*mV) + I)/(1*uF) : volt
    dm/dt = 0.32*(mV**-1)*4*mV/exprel((13*mV - v - 63*mV)/(4*mV))/ms*(1 - m) - 0.28*(mV**-1)*5*mV/exprel((v + 63*mV - 40*mV)/(5*mV))/ms*m : 1
    dn/dt = 0.032*(mV**-1)*5*mV/exprel((15*mV - v - 63*mV)/(5*mV))/ms*(1 - n) - 0.5*exp((10*mV - v - 63*mV)/(40*mV))/ms*n : 1
    dh/dt = 0.128*exp((17*mV - v - 63*mV)/(18*mV))/ms*(1 - h) - 4/(1 + exp((40*mV - v - 63*mV)/(5*mV)))/ms*h : 1""",
    inputs={"I": 1 * b2.uA},
    spike="v > -40*mV",
    reset="",
    refractory="v > -40*mV",
    surrogate=TALL,
    method="exponential_euler",
    start={"v": -65 * mV, "h": 1},
)
SPREAD = np.random.default_rng(1).uniform(0.5, 2, N)

#: name → (cell, lowest and highest input, how far voltages may differ in volt or 1)
CELLS: dict[str, tuple[dict[str, Any], tuple[float, float], float]] = {
    "units in every text": (LEAKY | dict(refractory=5 * ms), (0.5, 2.0), 1e-12),
    "a density": (
        dict(
            equations="dv/dt = (3e-4*siemens/cm**2*(-70*mV - v) + I)/(1*uF/cm**2) : volt", inputs={"I": 1 * b2.uA / cm**2}, spike="v > -50*mV", reset="v = -70*mV",
            surrogate=TALL, start={"v": -70 * mV},
        ),
        (0, 30),
        1e-12,
    ),
    ">=, and, or, not": (
        dict(
            equations="dv/dt = (I - v)/(10*ms) : 1\ndw/dt = (0.5*v - w)/(30*ms) : 1", inputs={"I": 1.0}, spike="v >= 0.5 and not (w > 0.3 and v < 0.9 or w >= 0.6)", reset="v = 0; w += 0.1",
            surrogate=triangular(width="0.5"),
        ),
        (0.3, 2.0),
        1e-12,
    ),
    "turned round": (LEAKY | dict(spike="-50*mV < v", refractory=3 * ms), (0.5, 2.0), 1e-12),
    "or decides": (
        dict(
            equations="dv/dt = (I - v)/(10*ms) : 1\ndw/dt = (J - w)/(20*ms) : 1", inputs={"I": 1.0, "J": 1.0}, spike="v > 0.6 or w > 0.7", reset="v = 0; w = 0.1*w", surrogate=triangular(width="0.5")
        ),
        (0.3, 1.2),
        1e-12,
    ),
    "int, clip, exprel, arctan, floor": (
        dict(
            equations="""dv/dt = (I - v + 0.2*int(w > 0.2 and v <= 0.4) + exprel(-w) - 1 + 0.1*floor(3*w))/(10*ms) : 1
            dw/dt = (clip(v, 0, 0.5) + arctan(I) - int(not (v > 0.3)) - w)/(40*ms) : 1""",
            inputs={"I": 1.0}, spike="v > 0.6", reset="v = 0", surrogate=triangular(width="0.5"), method="euler",
        ),
        (-0.5, 2.0),
        1e-12,
    ),
    "conditions with a name": (
        dict(
            equations="""dv/dt = (I*int(open) - v + 0.2*int(not high))/(10*ms) : 1
            dw/dt = (v - w)/(40*ms) : 1
            open = index < 8 and w < 0.7 : boolean
            high = w > 0.2 or
                   not open : boolean""",
            inputs={"I": 1.0}, spike="v > 0.6 and open", reset="v = 0; w += 0.1*int(high)", refractory="w > 0.3 and (high or v > 0.1) and int(open) > 0", surrogate=triangular(width="0.6"),
            method="euler", parameters=dict(index=np.arange(N)),
        ),
        (0.3, 3.0),
        1e-12,
    ),
    "clip without a bound": (
        dict(
            equations="""dv/dt = (10*Mohm*I - 58*mV - v + clip(w + 55*mV, clip(-v - 56*mV, -inf*mV, -1*mV), inf*mV))/(10*ms) : volt
            dw/dt = (clip(v, -56*mV, mV*inf) - 2*mV*clip(v/mV + 50, -inf, 2) + clip(w, -(inf*mV), inf*mV)/2 - 1.5*w)/(40*ms) : volt""",
            inputs={"I": 1 * nA}, spike="clip(v, -inf*volt, -45*mV) > -48*mV", reset="v = clip(w, -inf*mV, -55*mV)", surrogate=triangular(width="8*mV"), method="euler",
            start={"v": -58 * mV, "w": -56 * mV},
        ),
        (-0.5, 3.0),
        1e-12,
    ),
    "Hodgkin and Huxley": (HODGKIN_HUXLEY, (0.0, 3.0), 1e-9),
    "refractory while a condition holds": (
        dict(
            equations="dv/dt = (I - v)/(10*ms) : 1 (unless refractory)\nda/dt = -a/(15*ms) : 1", inputs={"I": 1.0}, spike="v > 0.6", reset="v = 0; a += 1", refractory="a > 0.5 and v < 2",
            surrogate=triangular(width="0.6"),
        ),
        (0.3, 2.0),
        1e-12,
    ),
    "a refractory time for each": (LEAKY | dict(refractory=np.arange(N) * 0.5 * ms), (0.5, 2.0), 1e-12),
    "a refractory time by name": (
        LEAKY | dict(refractory="tau_r", parameters=dict(tau_r=np.arange(1, N + 1) * 0.7 * ms)), (0.5, 2.0), 1e-12
    ),
    "a refractory time of parameters": (LEAKY | dict(refractory="2*tau_r + 1*ms", parameters=dict(tau_r=1.5 * ms)), (0.5, 2.0), 1e-12),
    "shorthands read by spike and reset": (
        dict(
            equations="dv/dt = (I - v)/(10*ms) : 1\ndw/dt = (v - w)/(50*ms) : 1\nabove = v - both/4 : 1\nboth = w + 0.1*v : 1", inputs={"I": 1.0}, spike="above > 0.5", reset="w += 0.1*both + 0.1*above; v -= 0.5",
            surrogate=triangular(width="0.5"),
        ),
        (0.3, 2.0),
        1e-12,
    ),
    "a state called y": (
        dict(
            equations="dy/dt = (I - y + 0.2*x)/(10*ms) : 1\ndx/dt = (y - x)/(30*ms) : 1", inputs={"I": 1.0}, spike="y > limit", reset="y = 0; x -= 0.1", surrogate=triangular(width="limit"),
            parameters=dict(limit=0.6 * SPREAD),
        ),
        (0.3, 2.0),
        1e-12,
    ),
    "a parameter called x, and one called y": (
        dict(equations="dv/dt = (I*y - v)/(10*ms) : 1", inputs={"I": 1.0}, spike="v > x", reset="v -= x", surrogate=triangular(width="x"), parameters=dict(x=0.6 * SPREAD, y=1.5)), (0.3, 2.0), 1e-12
    ),
}  # fmt: skip


LONG = (
    "Hodgkin and Huxley",
    "or decides",
    "a density",
    "turned round",
    "a refractory time of parameters",
    "a parameter called x, and one called y",
)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in LONG else []) for n in CELLS])
def test_text_goes_in_as_it_stands_and_gives_plain_brian2s_spikes(name):
    written, (low, high), tolerance = CELLS[name]
    cell = Cell(**written)
    x = drive(len(cell.channels), low, high)
    network = circuit(cell, x.shape[-1])
    record = ("spikes", *cell.states)
    ours, twin = (simulate(network, x, record) for simulate in (bp.simulate, bp.brian.simulate))
    spikes, states = plain(written, x, cell.states)
    assert (spikes.sum(0) > 0).mean() > 0.5 and 20 < spikes.sum() < 0.2 * spikes.size, spikes.sum()
    for found in (ours, twin):
        np.testing.assert_array_equal(found.spikes.values[:, 0], spikes)
        for state, wanted in states.items():
            np.testing.assert_allclose(found[state].values[:, 0], wanted, rtol=0, atol=tolerance)


#: what Brian2 has no word for
OURS: dict[str, dict[str, Any]] = {
    "min, max and relu": dict(
        equations="dx/dt = (max(I, 0.1, x) - min(x, 0.5*J) + relu(x - 0.2) - x)/(10*ms) : 1", inputs={"I": 1.0, "J": 1.0}, output="max(tanh(x), min(x, -0.1))", method="euler",
    ),
    "min and max with units": dict(
        equations="dv/dt = (max(5*nS*(-70*mV - v) + I, -10*pA) + I)/(100*pF) : volt", inputs={"I": 10 * pA}, output="min(v, -55*mV)/mV", method="euler", start={"v": -70 * mV}
    ),
    "a rate in volt over a unit, through a shorthand": dict(
        equations="dv/dt = (-v + I)/(10*ms) : volt\nabove = v - 2*mV : volt", inputs={"I": -50 * mV}, output="clip(above, -60*mV, -45*mV)/mV"
    ),
    "conditions of what Brian2 lacks": dict(
        equations="dv/dt = (I - v)/(10*ms) : 1\ndw/dt = (v - w)/(50*ms) : 1", inputs={"I": 1.0}, spike="v >= relu(w) + 0.3 and max(v, w) < 2", reset="v = 0", surrogate=triangular(width="0.5"),
        refractory="min(w, v + 1) > 0.2",
    ),
    "conditions that are joined, where a variable is held while refractory": dict(
        equations="""dv/dt = (I*int(w < 0.5 or not (v > -1 and both)) - v + 0.2*int(w > 0.2 and v <= 0.4))/(10*ms) : 1 (unless refractory)
        dw/dt = (v - w)/(50*ms) : 1
        both = v < 2 and int(w >= 0.1 or v > 0.3) > 0 : boolean""",
        inputs={"I": 1.0}, spike="v > 0.6", reset="v = 0", surrogate=triangular(width="0.5"), refractory=2 * ms, method="euler",
    ),
    "all other functions": dict(
        equations="dx/dt = (-x + I + ceil(x) + log10(2 + x**2) + arcsin(x/99) - arccos(x/99) + exprel(-x*x))/(10*ms) : 1", inputs={"I": 1.0}, output="arctan(x)", method="euler"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OURS)
def test_the_twin_computes_what_brian2_has_no_word_for(name):
    cell = Cell(**OURS[name])
    x = drive(len(cell.channels), -1, 3)[:400]
    network = circuit(cell, x.shape[-1])
    record = (*cell.states, "spikes" if cell.spiking else "rate")
    ours, twin = (simulate(network, x, record) for simulate in (bp.simulate, bp.brian.simulate))
    for what in record:
        scale = abs(ours[what].values).max()
        assert scale > 0 and ours[what].values.std() > 1e-3 * scale
        np.testing.assert_allclose(ours[what].values, twin[what].values, rtol=0, atol=1e-12 * scale)


def drawn(cell: Cell) -> tuple[list[Tensor], Tensor]:
    """Old states, currents and last output, (row, 4, neuron), about where the cell lives; and refractoriness."""
    g = np.random.default_rng(0)
    unit = {"volt": (-52e-3, 8e-3)}
    rows = [
        unit.get(u, (0.4, 0.5))[0] + unit.get(u, (0.4, 0.5))[1] * g.normal(size=(4, N)) for u in cell.units.values()
    ]
    rows += [g.uniform(0, 2, (4, N)) for _ in cell.channels] + [g.random((4, N)) < 0.5]
    return [torch.as_tensor(r, dtype=torch.float64) for r in rows], torch.as_tensor(
        g.random((4, N)) < 0.7, dtype=torch.float64
    )  # pyright: ignore


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own jacfwd
@pytest.mark.parametrize("name", [*CELLS, *OURS])
def test_derivatives_are_those_of_torch(name):
    cell = Cell(**(CELLS[name][0] if name in CELLS else OURS[name]))
    kernel = cell.kernel(N, 1e-4, torch.float64, "cpu")
    rows, active = drawn(cell)
    S, K, z = len(cell.states), len(cell.channels), torch.stack(rows)
    learned = surrogate_spike(kernel.surrogate) if kernel.surrogate else hard_spike

    def step(z: Tensor, spike: Any = learned, cut: Any = Tensor.detach) -> Tensor:
        u, y, s = kernel.step(tuple(z[:S]), tuple(z[S : S + K]), z[-1], active, spike, cut)
        return torch.stack([*u, y, *s])

    out = step(z)
    np.testing.assert_array_equal(step(z, hard_spike, uncut), out)
    values = {
        "s": z[:S],
        "I": z[S : S + K],
        "u": out[:S],
        "y_last": z[-1:],
        "y_now": out[S : S + 1],
        "active": active[None],
    }

    def full(e: Any) -> Tensor:
        if isinstance(e, tuple):
            return torch.stack([full(each) for each in e])
        return torch.zeros(4, N).double() if e is None else torch.as_tensor(e, dtype=torch.float64).expand(4, N)

    F, E, G, psi, Ru, ry = map(full, kernel.partials(lambda kind, i: values[kind][i])[:6])
    first = torch.cat([F, G, E[:, None]], 1)
    wanted = [first, torch.einsum("sbn,skbn->kbn", psi, first)[None]]
    wanted.append(torch.einsum("rsbn,skbn->rkbn", Ru + ry[:, None] * psi, first))
    for jacobian in (jacrev, jacfwd):
        found = jacobian(lambda z: step(z).sum((-1, -2)))(z)
        scale = found.abs().amax((-1, -2), keepdim=True).clamp_min(1e-300)
        assert float(((found - torch.cat(wanted)).abs() / scale).max()) < 1e-12
    assert (psi != 0).any() and (F != 0).any() and (G != 0).any()
    if cell.spiking:
        assert 0.02 < out[S].mean() < 0.9 and (psi == 0).any()


def test_exprel_and_its_slope_at_zero_and_near_it():
    """Against 50 digits, where the formulas are 0/0 and noise."""
    import mpmath

    cell = Cell(equations="dx/dt = (-x + I)/(10*ms) : 1", output="exprel(x)")
    kernel = cell.kernel(13, 1e-4, torch.float64, "cpu")
    at = torch.tensor([[0.0, 1e-300, -1e-16, 1e-9, -1e-5, 1e-3, 0.1, -0.4999, 0.5, -0.5, 1.0, -30.0, 20.0]]).double()

    def rate(u: Tensor) -> Tensor:
        # the step that ends at u: its x is recovered below
        return kernel.step((u,), (u,), u, None, hard_spike, uncut)[1]

    (u,), y, _ = kernel.step((at,), (at,), at, None, hard_spike, uncut)
    values = {"s": (at,), "I": (at,), "u": (u,), "y_last": (at,), "y_now": (y,)}
    psi = kernel.partials(lambda kind, i: values[kind][i])[3][0]
    automatic = torch.autograd.functional.jacobian(lambda a: rate(a).sum(), at)
    with mpmath.workdps(50):
        for x, found, slope in zip(u[0].tolist(), y[0].tolist(), psi[0].tolist(), strict=True):
            b = mpmath.mpf(x)
            value = (mpmath.exp(b) - 1) / b if x else mpmath.mpf(1)
            derivative = (b * mpmath.exp(b) - mpmath.exp(b) + 1) / b**2 if x else mpmath.mpf(0.5)
            if 0 < abs(x) < 1e-20:
                derivative = mpmath.mpf(0.5)
            assert abs(found / value - 1) < 1e-15 and abs(slope / derivative - 1) < 1e-14, x
    # u is x itself here: −x + I = 0
    np.testing.assert_allclose(automatic, psi, rtol=1e-14)


#: condition → what it is of v, w and z, by hand; and where its first comparison decides
CONDITIONS: dict[str, tuple[Any, Any]] = {
    "v > 0.2": (lambda v, w, z: v > 0.2, lambda v, w, z: np.ones_like(v)),
    "v >= 0.2": (lambda v, w, z: v >= 0.2, lambda v, w, z: np.ones_like(v)),
    "0.2 <= v": (lambda v, w, z: v >= 0.2, lambda v, w, z: np.ones_like(v)),
    "not v < 0.2": (lambda v, w, z: v >= 0.2, lambda v, w, z: np.ones_like(v)),
    "not (v <= 0.2)": (lambda v, w, z: v > 0.2, lambda v, w, z: np.ones_like(v)),
    "v > 0.2 and w < 0.5": (lambda v, w, z: (v > 0.2) & (w < 0.5), lambda v, w, z: w < 0.5),
    "v > 0.2 or w < 0.5 or z >= 0": (lambda v, w, z: (v > 0.2) | (w < 0.5) | (z >= 0), lambda v, w, z: (w >= 0.5) & (z < 0)),
    "v >= 0.2 and (w <= 0.5 or not z > 0)": (lambda v, w, z: (v >= 0.2) & ((w <= 0.5) | (z <= 0)), lambda v, w, z: (w <= 0.5) | (z <= 0)),
    "not (v < 0.2 or w > 0.5 and z > 0)": (lambda v, w, z: ~((v < 0.2) | (w > 0.5) & (z > 0)), lambda v, w, z: ~((w > 0.5) & (z > 0))),
    "(v > 0.2 and w > 0.5) or z > 0": (lambda v, w, z: (v > 0.2) & (w > 0.5) | (z > 0), lambda v, w, z: (w > 0.5) & (z <= 0)),
    "v > 0.2 and int(w > 0.5 and not z > 0) >= 1": (lambda v, w, z: (v > 0.2) & (w > 0.5) & (z <= 0), lambda v, w, z: (w > 0.5) & (z <= 0)),
}  # fmt: skip


@pytest.mark.parametrize("spike", CONDITIONS)
def test_a_condition_is_what_it_says_and_its_first_comparison_has_the_margin(spike):
    used = [name for name in "vwz" if re.search(rf"\b{name}\b", spike)]
    cell = Cell(
        update="; ".join(f"{name} = I_{name}" for name in used), inputs=tuple(f"I_{name}" for name in used), spike=spike, reset="v = 0",
        surrogate=triangular(width="0.25"),
    )  # fmt: skip
    kernel = cell.kernel(200, 1e-3, torch.float64, "cpu")
    grid = (
        np.random.default_rng(0).integers(-4, 5, (3, 1, 200)) / 4 + np.array([0.2, 0.5, 0])[:, None, None]
    )  # equal, too
    v, w, z = grid
    given = tuple(map(torch.as_tensor, grid[: len(used)] if "z" not in used or "w" in used else grid[::2]))
    u, y, _ = kernel.step(given, given, given[0], None, hard_spike, uncut)
    holds, decides = CONDITIONS[spike]
    np.testing.assert_array_equal(y, holds(v, w, z))
    values = {"u": u, "y_now": (y,)}
    psi = kernel.partials(lambda kind, i: values[kind][i])[3][0]
    height = 0.3 * np.maximum(0, 1 - np.abs((v - 0.2) / 0.25)) / 0.25
    np.testing.assert_allclose(psi, height * decides(v, w, z), rtol=0, atol=1e-13)
    assert (v == 0.2).any() and 0 < holds(v, w, z).mean() < 1


def test_refractory_while_a_condition_holds_by_hand():
    """It sets in with a spike alone, is asked before the step, and does not come back when the condition does."""
    cell = Cell(
        update="a = I; b = J", inputs=("I", "J"), spike="a > 0", refractory="b > 0", surrogate=triangular(width="1"),
    )  # fmt: skip
    fires, holds = [1, 1, 1, 1, 1, 0, 1, 1, 0, 1], [0, 1, 0, 1, 1, 1, 0, 0, 1, 1]
    network = bp.circuit("recurrent", cell=cell, inputs=2, units=1, outputs=1, delay=1).build(dtype=torch.float64)
    names = {p.name: w for p, w in zip(network.circuit.projections, network.circuit.projections, strict=True)}
    network.load({n: torch.zeros_like(network.weights[n]) for n in names} | {"W_in": torch.eye(2).double()})
    x = np.stack([2.0 * np.array(fires) - 1, 2.0 * np.array(holds) - 1], -1)[:, None]
    found = bp.simulate(network, x, ("spikes",)).spikes.values[:, 0, 0]
    waiting, before, wanted = False, 0, []
    for fire, hold in zip(fires, holds, strict=True):
        waiting = waiting and before > 0
        y = fire and not waiting
        waiting, before = waiting or bool(y), hold
        wanted.append(float(y))
    np.testing.assert_array_equal(found, wanted)
    assert 0 < sum(wanted) < sum(fires)


def test_units_are_no_parameters():
    """They stand in no description, and a parameter that is the unit itself (of ``locals()``) is the unit."""
    cell = Cell(**LEAKY)
    assert set(cell.describe()["parameters"]) == {"surrogate_dampening"}
    again = Cell(**{**LEAKY, "parameters": dict(ms=ms, mV=mV, Mohm=Mohm)})
    assert again.kernel(2, 1e-4, torch.float64, "cpu").source == cell.kernel(2, 1e-4, torch.float64, "cpu").source


def test_a_map_reads_units_too():
    cell = Cell(update="v = exp(-dt/(20*ms))*v + I", output="v")
    u, *_ = cell.kernel(1, 1e-3, torch.float64, "cpu").step(
        (torch.ones(1, 1).double(),), (torch.zeros(1, 1).double(),), torch.zeros(1, 1), None, hard_spike, uncut
    )
    assert u[0].item() == pytest.approx(np.exp(-1 / 20), rel=1e-15)


def test_gates_and_refractoriness_in_the_gradient_of_a_circuit():
    """Reverse sweep and forward recursion against autograd through the steps; neurons are refractory, gated and free."""
    cell = Cell(
        equations="dv/dt = (I - v)/(10*ms) : 1 (unless refractory)\nda/dt = -a/(15*ms) : 1", inputs={"I": 1.0}, spike="v >= 0.6 and a < 1.4", reset="v = 0; a += 1",
        refractory="a > 0.5 + drop", surrogate=triangular(width="0.6"), differentiate=("reset", "jumps"), parameters=dict(drop=np.linspace(-0.5, 0.4, 8)),
    )  # fmt: skip
    task = bp.task("pattern_generation")
    made = bp.circuit("recurrent", cell=cell, inputs=task.inputs, units=8, outputs=task.outputs, input_gain=9.0)
    network = made.build(dtype=torch.float64)
    batch = task.batch(bp.stream(0, "task"), 3)
    weights = {n: w.clone().requires_grad_() for n, w in network.weights.items()}
    network.weights, x = weights, batch.inputs.double()
    state, outputs, seen = network.start(3), [], []
    for drive in zip(*network.drive(x), strict=True):
        step = network.advance(state, drive, differentiable=True)
        state = step.after
        outputs.append(network.output(torch.cat(network.read(state), -1)))
        seen.append(step.active[0])
    loss = (task.loss.value(torch.stack(outputs), batch.targets.double()) * batch.weight).sum(0).mean()
    wanted = dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))
    network.weights = {n: w.detach() for n, w in weights.items()}
    assert 0.05 < float(torch.stack(seen).mean()) < 0.98  # pyright: ignore
    for rule in ("bptt", "rtrl"):
        for name, found in bp.gradient(network, rule, batch, task.loss).items():
            mask = network.masks.get(name, torch.ones(()))
            scale = wanted[name].abs().max()
            assert scale > 0 and float((found - wanted[name] * mask).abs().max()) < 1e-12 * scale, (rule, name)
