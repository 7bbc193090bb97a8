"""Hodgkin and Huxley's neuron, Wang and Buzsáki's: rates as published, spikes as plain Brian2 has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brian2 as b2
import numpy as np
import pytest
import torch
from brian2 import ms, mV, uA
from scipy.integrate import solve_ivp

import bioplaus as bp
from bioplaus import check
from bioplaus.circuit import Circuit, Population, Projection, Readout
from bioplaus.symbolic.runtime import runtime

mS = b2.msiemens


def linoid(x: Any) -> Any:
    return np.where(np.abs(x) < 1e-6, 1 + x / 2, x / -np.expm1(-np.where(x == 0, 1, x)))


def squid(t: float, y: np.ndarray, I: float) -> list[Any]:
    v, m, h, n = y
    return [
        120 * m**3 * h * (50 - v) + 36 * n**4 * (-77 - v) + 0.3 * (-54.4 - v) + I,
        linoid((v + 40) / 10) * (1 - m) - 4 * np.exp((-65 - v) / 18) * m,
        0.07 * np.exp((-65 - v) / 20) * (1 - h) - h / (1 + np.exp((-35 - v) / 10)),
        0.1 * linoid((v + 55) / 10) * (1 - n) - 0.125 * np.exp((-65 - v) / 80) * n,
    ]


def interneuron(t: float, y: np.ndarray, I: float) -> list[Any]:
    v, h, n = y
    opens = linoid((v + 35) / 10)
    m = opens / (opens + 4 * np.exp((-60 - v) / 18))
    return [
        35 * m**3 * h * (55 - v) + 9 * n**4 * (-90 - v) + 0.1 * (-65 - v) + I,
        5 * (0.07 * np.exp((-58 - v) / 20) * (1 - h) - h / (1 + np.exp((-28 - v) / 10))),
        5 * (0.1 * linoid((v + 34) / 10) * (1 - n) - 0.125 * np.exp((-44 - v) / 80) * n),
    ]


#: name → (equations in mV, ms, µA/cm²; start; V_T; current → rate as published or widely found, Hz)
RATES: dict[str, tuple[Callable[..., Any], list[float], float, dict[float, float]]] = {
    "hodgkin_huxley": (squid, [-65, 0.053, 0.596, 0.318], -20, {5.0: 0, 7.0: 58, 10.0: 68}),
    "wang_buzsaki": (interneuron, [-64, 0.781, 0.089], 0, {0.15: 0, 1.0: 60, 20.0: 400}),
}


def rates(name: str, dt: float, currents: list[float], total: float = 260.0) -> np.ndarray:
    """Hz, of neurons under constant currents, from the intervals after 60 ms; 0 where there are none."""
    size = len(currents)
    network = Circuit(
        populations={"E": Population(bp.model(name), size)},
        projections=(Projection(name="W", source="input", target="E", channels=("I",)),),
        inputs=size, readout=Readout(size=1), dt=dt * ms,
    ).build(dtype=torch.float64)  # fmt: skip
    network.load({"W": np.diag(currents)})
    fired = bp.simulate(network, np.ones((round(total / dt), 1, size)), "spikes").spikes.values[:, 0]
    return np.array([rate(np.flatnonzero(each) * dt) for each in fired.T])


def rate(times: Any) -> float:
    late = times[times > 60]
    return 1000 * (len(late) - 1) / (late[-1] - late[0]) if len(late) > 2 else 0.0


@pytest.mark.slow
@pytest.mark.parametrize("name", RATES)
def test_rates_are_the_published_ones(name):
    """An integrator with an error of its own choice, and the model at two steps, whose error shrinks with the step."""
    equations, start, threshold, published = RATES[name]

    def up(t: float, y: np.ndarray, I: float) -> float:
        return y[0] - threshold

    up.direction = 1  # type: ignore[attr-defined]
    options: dict[str, Any] = {"method": "LSODA", "rtol": 1e-8, "atol": 1e-9, "events": up}
    exact = np.array([rate(solve_ivp(equations, (0, 260), start, args=(I,), **options).t_events[0]) for I in published])
    np.testing.assert_allclose(exact, list(published.values()), rtol=0.02)
    coarse, fine = (rates(name, dt, list(published)) for dt in (0.04, 0.02))
    assert (fine[1:] < exact[1:]).all() and (np.abs(fine - exact) < 0.06 * exact + 1e-9).all()
    np.testing.assert_allclose(2 * fine - coarse, exact, rtol=0.01)


def test_at_rest_nothing_moves():
    """Starts are the resting states, to the digits given."""
    for equations, start, *_ in RATES.values():
        v, *gates = np.abs(equations(0.0, np.array(start), 0.0))
        assert v < 0.1 and max(gates) < 1e-3, (v, gates)


def test_their_error_shrinks_with_the_step_as_their_method_promises():
    assert [each.ok for each in check.orders(tuple(RATES))] == [True, True]


# -- plain Brian2 ---------------------------------------------------------------------------------------------------------

N, STEPS, DT = 16, 1000, 0.05 * ms
TEXTS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "hodgkin_huxley": (
        """dv/dt = (120*(m*m*m)*h*(50*mV - v)*mS + 36*(n*n*n*n)*(-77*mV - v)*mS + 0.3*(-54.4*mV - v)*mS + (s + lines)*uA)/uF : volt
        dm/dt = 0.1/mV*10*mV/exprel((-40*mV - v)/(10*mV))/ms*(1 - m) - 4*exp((-65*mV - v)/(18*mV))/ms*m : 1
        dh/dt = 0.07*exp((-65*mV - v)/(20*mV))/ms*(1 - h) - 1/(exp((-35*mV - v)/(10*mV)) + 1)/ms*h : 1
        dn/dt = 0.01/mV*10*mV/exprel((-55*mV - v)/(10*mV))/ms*(1 - n) - 0.125*exp((-65*mV - v)/(80*mV))/ms*n : 1
        ds/dt = -s/(5*ms) : 1
        lines = current(t, i) : 1""",
        "v > -20*mV", "s += 2*w", {"v": -65 * mV, "m": 0.053, "h": 0.596, "n": 0.318},
    ),
    "wang_buzsaki": (
        """dv/dt = (35*(m*m*m)*h*(55*mV - v)*mS + 9*(n*n*n*n)*(-90*mV - v)*mS + 0.1*(-65*mV - v)*mS + g*(-75*mV - v)*mS + lines*uA)/uF : volt
        m = am/(am + bm) : 1
        am = 0.1/mV*10*mV/exprel((-35*mV - v)/(10*mV))/ms : Hz
        bm = 4*exp((-60*mV - v)/(18*mV))/ms : Hz
        dh/dt = 5*(0.07*exp((-58*mV - v)/(20*mV))/ms*(1 - h) - 1/(exp((-28*mV - v)/(10*mV)) + 1)/ms*h) : 1
        dn/dt = 5*(0.01/mV*10*mV/exprel((-34*mV - v)/(10*mV))/ms*(1 - n) - 0.125*exp((-44*mV - v)/(80*mV))/ms*n) : 1
        dg/dt = -g/(10*ms) : 1
        lines = current(t, i) : 1""",
        "v > 0*mV", "g += 0.1*w", {"v": -64 * mV, "h": 0.781, "n": 0.089},
    ),
}  # fmt: skip
DRIVE = {"hodgkin_huxley": (0.0, 14.0), "wang_buzsaki": (1.0, 6.0)}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hodgkin_huxley", "wang_buzsaki"])
def test_torch_and_the_twin_fire_the_spikes_of_plain_brian2(name):
    """Neurons drive one another, without any factor in the weights; currents differ from neuron to neuron and change."""
    text, spike, on_pre, start = TEXTS[name]
    held: Any = spike
    rng = np.random.default_rng(0)
    W = np.round(np.abs(rng.normal(size=(N, N))) * 0.2 * 1024) / 1024
    np.fill_diagonal(W, 0)
    x = np.repeat(rng.uniform(*DRIVE[name], (STEPS // 200, N)), 200, 0)  # 10 ms each
    with runtime():
        given = {"current": b2.TimedArray(x, dt=DT), "mS": mS, "uA": uA, "uF": b2.uF}
        group = b2.NeuronGroup(
            N,
            text,
            threshold=spike,
            refractory=held,
            reset="",
            method="exponential_euler",
            dt=DT,
            namespace=given,
        )
        for state, value in start.items():
            setattr(group, state, value)
        synapses = b2.Synapses(group, group, "w : 1", on_pre=on_pre, dt=DT)
        post, pre = np.nonzero(W)
        synapses.connect(i=pre, j=post)
        synapses.w = W[post, pre]
        spikes, seen = b2.SpikeMonitor(group), b2.StateMonitor(group, "v", record=True, when="after_groups", dt=DT)
        b2.Network(group, synapses, spikes, seen).run(STEPS * DT, namespace={})
    fired = np.zeros((STEPS, N))
    fired[np.rint(np.asarray(spikes.t / DT)).astype(int), spikes.i] = 1
    v = np.asarray(seen.v_).T
    assert 30 < fired.sum() < 0.05 * fired.size and (fired.sum(0) > 0).all(), "alive"
    assert np.abs(v - float(bp.model(name).parameters["V_T"])).min() > 1e-7

    network = Circuit(
        populations={"E": Population(bp.model(name), N)},
        projections=(
            Projection(name="W_in", source="input", target="E", channels=("I",)),
            Projection(name="W", source="E", target="E"),
        ),
        inputs=N, readout=Readout(size=1), dt=DT,
    ).build(dtype=torch.float64)  # fmt: skip
    network.load({"W_in": np.eye(N), "W": W})
    for simulate in (bp.simulate, bp.brian.simulate):
        found = simulate(network, x[:, None], ("v", "spikes"))
        np.testing.assert_array_equal(found.spikes.values[:, 0], fired)
        assert np.abs(found.v.values[:, 0] - v).max() < 1e-9  # V; an upstroke amplifies a last bit
    network.load({"W_in": np.eye(N), "W": 0 * W})
    alone = bp.simulate(network, x[:, None], "spikes").spikes.values[:, 0]
    assert np.abs(alone - fired).sum() > 20, "synapses change the spikes"
