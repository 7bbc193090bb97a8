"""``method="exact"`` against matrix exponentials, where a closed form fails: equal and nearly equal time constants, oscillations.

The referee works in ms and in currents of about 1: mpmath's ``expm`` of the whole system with 50 digits, neuron by neuron; nothing of
it is in the code it judges.
"""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
import torch

import bioplaus as bp
from bioplaus import Mohm, content, ms, mV, nA, nS, pA, pF, volt
from bioplaus.cell import Cell, triangular
from bioplaus.codegen.kernel import hard_spike, uncut
from bioplaus.codegen.propagated import propagated
from bioplaus.symbolic.units import plain

#: relative differences of time constants, one a neuron: equal, equal but for rounding, nearly equal, different
APART = np.array([0, 2**-52, -(2**-52), 1e-15, -1e-14, 1e-12, 1e-10, -1e-8, 1e-6, 1e-5, -1e-4, 1e-3, 0.1, 1.0, 9.0])
N, STEPS = len(APART), 25
TAU = np.linspace(5.0, 40.0, N)  # ms


def exponential(M: np.ndarray) -> np.ndarray:
    """With 50 digits: scipy's own is wrong beside the diagonal where time constants are nearly equal and short."""
    with mpmath.workdps(50):
        return np.array(mpmath.expm(mpmath.matrix(M.tolist()), method="taylor").tolist(), dtype=float)


def referee(systems: list[np.ndarray], inputs: np.ndarray, start: np.ndarray, dt: float = 1.0) -> np.ndarray:
    """States (time, neuron, state) of dx/dt = M [x, I, 1] with M (state, state + 2) for each neuron, times in ms."""
    steps = [exponential(dt * np.vstack([M, np.zeros((2, M.shape[1]))])) for M in systems]
    x, seen = np.tile(start, (len(systems), 1)), []
    for I in inputs:
        x = np.stack([(s @ [*row, I, 1.0])[: len(start)] for s, row in zip(steps, x, strict=True)])
        seen.append(x)
    return np.stack(seen)


def one_line(cell: Cell, units: int, weight: float = 1.0) -> bp.Network:
    """Every neuron receives the one input alone."""
    circuit = bp.circuit("recurrent", cell=cell, inputs=1, units=units, outputs=1, gain=0.0, bias=False)
    network = circuit.build(dtype=torch.float64)
    network.load({"W_in": np.full((units, 1), weight)})
    return network


def agrees(
    cell: Cell,
    systems: list[np.ndarray],
    scale: dict[str, float],
    start: tuple[float, ...] = (),
    least: float = 1e-4,
) -> None:
    """States in units of ``scale`` are the referee's, in torch and in the twin."""
    inputs = np.random.default_rng(1).normal(0.3, 1.0, STEPS)
    right = referee(systems, inputs, np.array(start or (0.0,) * len(cell.states)))
    network = one_line(cell, len(systems))
    assert np.abs(right).max(0).min() > least, "something stands still"
    for simulate in (bp.simulate, bp.brian.simulate):
        came = simulate(network, inputs[:, None, None], record=cell.states)
        for k, state in enumerate(cell.states):
            found = came[state].values[:, 0] / scale[state]
            worst = np.abs(found - right[..., k]).max(0) / np.abs(right[..., k]).max(0)
            assert worst.max() < 1e-12, (simulate.__module__, state, worst)


def test_a_membrane_behind_a_synapse_of_its_own_time_constant():
    """v ← g ← I with R C = τ_s: exactly, up to rounding, nearly, not at all; in volts and amperes."""
    R, C = 100 + np.arange(N), TAU / (100 + np.arange(N)) * 1e3  # MΩ, pF
    tau = TAU * (1 + APART)
    cell = Cell(
        equations="dv/dt = (-v + R*g)/(R*C) : volt\ndg/dt = (-g + I)/tau_s : amp",
        inputs={"I": 1 * nA},
        output="v/unit",
        parameters=dict(R=R * Mohm, C=C * pF, tau_s=tau * ms, unit=1 * volt),
    )
    systems = [
        np.array([[-1 / t, r / t * 1e-3, 0, 0], [0, -1 / s, 1 / s, 0]]) for t, s, r in zip(TAU, tau, R, strict=True)
    ]
    agrees(cell, systems, {"v": 1.0, "g": 1e-9})


@pytest.mark.parametrize(("R", "C"), [(110, 100), (150, 40), (200, 100), (130, 70)])
def test_time_constants_that_are_the_same_number_written_twice(R, C):
    cell = Cell(
        equations="dv/dt = (-v + R*g)/(R*C) : volt\ndg/dt = (-g + I)/tau_s : amp",
        inputs={"I": 1 * nA},
        output="v/unit",
        parameters=dict(R=R * Mohm, C=C * pF, tau_s=R * C / 1000 * ms, unit=1 * volt),
    )
    t = 20e3 / (R * C)
    right = (1 - (1 + t) * np.exp(-t)) * R * 1e-3  # the limit of the closed form
    for simulate in (bp.simulate, bp.brian.simulate):
        came = simulate(one_line(cell, 1), np.ones((20, 1, 1)), record="v").v.values[-1, 0, 0]
        assert came == pytest.approx(right, rel=1e-12)


def test_three_equal_time_constants_in_a_row():
    cell = Cell(
        equations="dv/dt = (-v + g + rest)/a : 1\ndg/dt = (-g + h)/b : 1\ndh/dt = (-h + I)/c : 1",
        output="v",
        parameters=dict(a=TAU * ms, b=TAU * (1 + APART) * ms, c=TAU * (1 - APART[::-1] / 10) * ms, rest=0.2),
        start={"g": 0.5},
    )
    systems = [
        np.array([[-1 / a, 1 / a, 0, 0, 0.2 / a], [0, -1 / b, 1 / b, 0, 0], [0, 0, -1 / c, 1 / c, 0]])
        for a, b, c in zip(TAU, TAU * (1 + APART), TAU * (1 - APART[::-1] / 10), strict=True)
    ]
    agrees(cell, systems, dict.fromkeys("vgh", 1.0), (0.0, 0.5, 0.0))


SHORT = np.array([20.0, 1.0, 0.25, 0.1, 0.02])  # ms, at a step of 1 ms


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_chains_of_short_time_constants(n):
    """dt/τ of 0.05 to 50, and 1e-3 at one end of every other chain; equal, equal but for rounding, nearly; one chain a neuron."""
    apart = np.array([0, 2**-52, -(2**-52), 1e-15, 1e-12, 1e-9, -1e-6, 1e-3, 0.1])
    tau = np.repeat(SHORT, len(apart)) * (1 + np.arange(n)[:, None] * np.tile(apart, len(SHORT)))  # (state, neuron)
    tau[-1, 1::2] = 1000.0
    weight = np.resize([1.0, -3.0, 0.02], n)
    names = "abcdgh"[:n]
    lines = [f"d{s}/dt = (-{s} + w_{s}*{after})/tau_{s} : 1" for s, after in zip(names, (*names[1:], "I"), strict=True)]
    cell = Cell(
        equations="\n".join(lines),
        output="a",
        parameters={f"tau_{s}": t * ms for s, t in zip(names, tau, strict=True)}
        | {f"w_{s}": w for s, w in zip(names, weight, strict=True)},
    )
    systems = []
    for t in tau.T:
        M = np.hstack([np.diag(-1 / t), np.zeros((n, 2))])
        M[range(n), range(1, n + 1)] = weight / t
        systems.append(M)
    agrees(cell, systems, dict.fromkeys(names, 1.0), least=0)
    (p,) = cell.derived.propagators
    found = propagated(p, {**{k: plain(v) for k, v in cell.parameters.items()}, "dt": 1e-3}).numbers
    right = np.array([exponential(np.vstack([M, np.zeros((2, n + 2))])) for M in systems])
    for name, (i, j) in p.entries.items():
        np.testing.assert_allclose(
            found[name], right[:, i, j], rtol=1e-12, atol=0, err_msg=f"{name}: row {i}, column {j}"
        )


@pytest.mark.parametrize(("R", "C", "tau_d"), [(110, 100, 11.0), (150, 40, 6.0), (100, 2, 0.2), (70, 2, 0.14)])
def test_a_synapse_that_rises_faster_than_a_step(R, C, tau_d):
    cell = Cell(
        equations="dv/dt = (-v + R*g)/(R*C) : volt\ndg/dt = (-g + h)/tau_d : amp\ndh/dt = (-h + I)/tau_r : amp",
        inputs={"I": 1 * nA},
        output="v/unit",
        parameters=dict(R=R * Mohm, C=C * pF, tau_d=tau_d * ms, tau_r=0.2 * ms, unit=1 * volt),
    )
    t = R * C / 1000
    M = [[-1 / t, R / t * 1e-3, 0, 0, 0], [0, -1 / tau_d, 1 / tau_d, 0, 0], [0, 0, -5.0, 5.0, 0]]
    agrees(cell, [np.array(M)], {"v": 1.0, "g": 1e-9, "h": 1e-9})


def test_loops_and_growth_within_a_step_of_many_time_constants():
    """A resonator that turns 8 times within a step, beside one that grows 1e8-fold; friction is 2 to 16 time constants a step."""
    turns, friction = np.linspace(0.5, 50, 12), np.linspace(2.0, 16.0, 12)
    cell = Cell(
        equations="dv/dt = (-f*v - k*w + I)/tau : 1\ndw/dt = (k*v - f*w)/tau : 1\ndg/dt = (10*g + v)/tau : 1",
        output="v",
        parameters=dict(tau=1 * ms, k=turns, f=friction),
    )
    (p,) = cell.derived.propagators
    found = propagated(p, {**{k: plain(v) for k, v in cell.parameters.items()}, "dt": 1e-3}).numbers
    right = np.array([
        exponential(np.array([[-f, -k, 0, 1], [k, -f, 0, 0], [1, 0, 10, 0], [0, 0, 0, 0]]))
        for k, f in zip(turns, friction, strict=True)
    ])  # fmt: skip
    natural = np.abs(right).max(-1)
    for name, (i, j) in p.entries.items():
        assert (np.abs(found[name] - right[:, i, j]) <= 1e-12 * natural[:, i]).all(), (name, i, j)


def test_no_coupling_between_two_states_of_one_time_constant():
    """The weight w of g on v is zero in every other neuron."""
    w = np.arange(N) % 2.0
    cell = Cell(
        equations="dv/dt = (-v + w*g + I)/tau : 1\ndg/dt = (-g + I)/tau_s : 1",
        output="v",
        parameters=dict(w=w, tau=TAU * ms, tau_s=TAU * (1 + APART) * ms),
    )
    systems = [
        np.array([[-1 / t, k / t, 1 / t, 0], [0, -1 / s, 1 / s, 0]])
        for t, s, k in zip(TAU, TAU * (1 + APART), w, strict=True)
    ]
    agrees(cell, systems, {"v": 1.0, "g": 1.0})


SWING = "dv/dt = (-v - k*w + I)/tau : 1\ndw/dt = (v - w)/tau_w : 1"


@pytest.mark.parametrize(
    ("equations", "rows"),
    [
        # a resonator: damped oscillations, and at k = 0 none
        (SWING, lambda t, s, k: [[-1 / t, -k / t, 1 / t, 0], [1 / s, -1 / s, 0, 0]]),
        # no friction at all
        ("dv/dt = w/tau : 1\ndw/dt = (-k*v + I)/tau_w : 1", lambda t, s, k: [[0, 1 / t, 0, 0], [-k / s, 0, 1 / s, 0]]),
        # pure integrators, which Brian2 refuses
        ("dv/dt = w/tau : 1\ndw/dt = k*I/tau_w + I/tau : 1", lambda t, s, k: [[0, 1 / t, 0, 0], [0, 0, k / s + 1 / t, 0]]),
        # inputs through a function
        ("dv/dt = (w - v)/tau : 1\ndw/dt = (-w + k + relu(I) - 0.5*relu(-I))/tau_w + I/(2*tau_w) : 1",
         lambda t, s, k: [[-1 / t, 1 / t, 0, 0], [0, -1 / s, 1 / s, k / s]]),
    ],
    ids=["resonator", "no friction", "integrators", "relu"],
)  # fmt: skip
def test_systems_without_a_closed_form_over_the_reals(equations, rows):
    k = np.linspace(0.0, 30.0, N)
    tau_w = 2 * TAU
    cell = Cell(equations=equations, output="v", parameters=dict(tau=TAU * ms, tau_w=tau_w * ms, k=k))
    systems = [np.array(rows(*one), dtype=float) for one in zip(TAU, tau_w, k, strict=True)]
    if "relu" in equations:  # relu(I) − ½ relu(−I) + ½ I = I for I > 0 and 0 below
        inputs = np.random.default_rng(1).normal(0.3, 1.0, STEPS)
        right = referee(systems, np.where(inputs > 0, 1.5 * inputs, inputs), np.zeros(2))
        for simulate in (bp.simulate, bp.brian.simulate):
            came = simulate(one_line(cell, N), inputs[:, None, None], record="v").v.values[:, 0]
            np.testing.assert_allclose(came, right[..., 0], rtol=0, atol=1e-12 * np.abs(right[..., 0]).max())
    else:
        agrees(cell, systems, {"v": 1.0, "w": 1.0})


def test_volts_and_amperes_do_not_drown_each_other():
    """A membrane of 1e-2 V that resonates with a current of 1e-13 A: in SI units the entries of A differ by 1e23."""
    C, g = 10 * TAU, 1e-4 * (1 + np.arange(N))  # pF, nS; ms, mV and pA go together
    cell = Cell(
        equations="dv/dt = (-v/R - w + I)/C : volt\ndw/dt = (g*v - w)/tau : amp",
        inputs={"I": 1 * pA},
        output="v/unit",
        parameters=dict(R=1000 * Mohm, C=C * pF, g=g * nS, tau=TAU * ms, unit=1 * mV),
    )
    systems = [np.array([[-1 / c, -1 / c, 1 / c, 0], [k / t, -1 / t, 0, 0]]) for c, k, t in zip(C, g, TAU, strict=True)]
    agrees(cell, systems, {"v": 1e-3, "w": 1e-12}, least=1e-6)


def test_three_states_in_a_loop_need_no_formula():
    cell = Cell(
        equations="dv/dt = (-v + w - g + I)/a : 1\ndw/dt = (-w - k*v)/b : 1\ndg/dt = (-g + v + w)/c : 1",
        output="v",
        parameters=dict(a=10 * ms, b=20 * ms, c=30 * ms, k=2.0),
    )
    system = np.array([[-0.1, 0.1, -0.1, 0.1, 0], [-0.1, -0.05, 0, 0, 0], [1 / 30, 1 / 30, -1 / 30, 0, 0]])
    agrees(cell, [system], dict.fromkeys("vwg", 1.0))


@pytest.mark.parametrize("flagged", ["v", "g", "vg"])
def test_equal_time_constants_while_one_state_is_held(flagged):
    """Torch and the twin run the same; one step of either kind is the referee's."""
    flag = {s: " (unless refractory)" if s in flagged else "" for s in "vg"}
    tau, tau_s = 15.0 * (1 + 0 * APART), 15.0 * (1 + APART)
    cell = Cell(
        equations=f"dv/dt = (-v + g)/tau : 1{flag['v']}\ndg/dt = (-g - k*v + I)/tau_s : 1{flag['g']}",
        spike="v > threshold",
        reset="v -= threshold; g += jump",
        surrogate=triangular(),
        refractory=4 * ms,
        parameters=dict(tau=tau * ms, tau_s=tau_s * ms, k=0.0 * APART, threshold=0.5, jump=0.1),
    )
    network = one_line(cell, N)
    x = np.random.default_rng(0).normal(1.2, 1.0, (200, 1, 1))
    ours, twin = (f(network, x, record=("v", "g", "spikes")) for f in (bp.simulate, bp.brian.simulate))
    assert ours.spikes.sum("time").min() > 5 and (ours.spikes.values == twin.spikes.values).all()
    for s in "vg":
        np.testing.assert_allclose(ours[s].values, twin[s].values, rtol=0, atol=1e-12)
    kernel = cell.kernel(N, 1e-3, torch.float64, "cpu")
    full = lambda v: torch.full((1, N), v, dtype=torch.float64)  # noqa: E731
    for active in (1.0, 0.0):
        u, _, _ = kernel.step((full(0.2), full(-0.7)), (full(1.3),), full(0.0), full(active), hard_spike, uncut)
        for i, s in enumerate(tau_s):
            M = np.array([[-1 / 15, 1 / 15, 0], [0, -1 / s, 1 / s], [0, 0, 0]])
            if not active:
                M[["vg".index(name) for name in flagged]] = 0
            right = exponential(M) @ [0.2, -0.7, 1.3]
            assert [float(one[0, i]) for one in u] == pytest.approx(list(right[:2]), rel=1e-12)


def test_the_derivatives_have_the_same_constants():
    cell = Cell(
        equations="dv/dt = (-v + g)/tau : 1\ndg/dt = (-g + I)/tau_s : 1",
        output="tanh(v)",
        parameters=dict(tau=TAU * ms, tau_s=TAU * (1 + APART) * ms),
    )
    zero = torch.zeros(1, N, dtype=torch.float64)
    F, _, G, *_ = cell.kernel(N, 1e-3, torch.float64, "cpu").partials(lambda kind, i: zero)
    assert F[1][0] is None  # nothing leads from v to g
    for i, (t, s) in enumerate(zip(TAU, TAU * (1 + APART), strict=True)):
        right = exponential(np.array([[-1 / t, 1 / t, 0], [0, -1 / s, 1 / s], [0, 0, 0]]))
        found = [[float(e[i]) for e in row if e is not None] for row in ((*F[0], *G[0]), (*F[1], *G[1]))]
        assert found == [pytest.approx(right[0], rel=1e-12), pytest.approx(right[1, 1:], rel=1e-12)]


def test_where_brian2s_own_constants_are_right_they_are_kept():
    """In every shipped cell that is integrated exactly, and in a chain of time constants that are apart; not if one neuron's are equal."""

    def kept(cell: Cell) -> list[bool]:
        values = {**{k: plain(v) for k, v in cell.parameters.items()}, "dt": 1e-3}
        return [propagated(p, values).closed for p in cell.derived.propagators]

    exact = [n for n in content.names("model") if kept(bp.model(n))]
    still = {"tsodyks_markram"}  # has a state that moves at spikes alone, for which Brian2 has no closed form
    assert set(exact) >= {"lif", "alif", "leaky_rate"} | still
    assert all(all(kept(bp.model(n))) == (n not in still) for n in exact)
    chain: dict[str, Any] = dict(equations="dv/dt = (-v + g)/tau : 1\ndg/dt = (-g + I)/tau_s : 1", output="v")
    for tau_s, expected in (([5, 7], [True]), ([5, 20], [False]), ([5, 20 * (1 + 1e-14)], [False])):
        assert kept(Cell(**chain, parameters=dict(tau=20 * ms, tau_s=np.array(tau_s) * ms))) == expected
    # a neuron's constants do not depend on its neighbours'
    one, two = (Cell(**chain, parameters=dict(tau=20 * ms, tau_s=np.array(t) * ms)) for t in ([5.0, 7.0], [5.0, 20.0]))
    first = [
        cell.kernel(2, 1e-3, torch.float64, "cpu").partials(lambda kind, i: torch.zeros(1))[0][0][1][0]
        for cell in (one, two)
    ]
    assert first[0] == first[1]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (dict(tau=0 * ms), "1/tau, .*with tau = 0. tau is zero; give a value that is not.$"),
        (dict(C=np.array([0, 1, 2]) * pF), "C = 0 to 2e-12, g_L = 1e-08. C is zero"),
        (dict(tau=-1e-9 * ms), "negative"),
        (dict(g_L=-1e9 * pA / mV), "grow beyond all numbers within one step of 1 ms"),
    ],
)
def test_what_cannot_be_integrated_says_the_true_reason(changed, said):
    parameters = dict(tau=5 * ms, C=100 * pF, g_L=10 * pA / mV) | changed
    with pytest.raises(bp.errors.CellError, match=said) as error:
        cell = Cell(
            equations="dv/dt = (-g_L*v + I)/C : volt\ndI/dt = (-I + J)/tau : amp",
            inputs={"J": 1 * nA},
            output="v/unit",
            parameters=parameters | {"unit": 1 * mV},
        )
        cell.kernel(3, 1e-3, torch.float64, "cpu")
    assert "oscillat" not in str(error.value) and "\n" not in str(error.value)
