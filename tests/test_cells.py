"""Cells: the generated step against steps written by hand, the generated partials against torch.func."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from torch import Tensor
from torch.func import jacfwd, jacrev

import bioplaus as bp
from bioplaus import cm, content, ms, mV, nS, pA, pF, uF
from bioplaus.codegen.kernel import Kernel, hard_spike, surrogate_spike, uncut

N, BATCH = 7, 9
SPREAD = np.random.default_rng(0).uniform(0.5, 2.0, N)  # one value per neuron
BOTH = ("reset", "jumps")
DT = 1e-3

CELLS: dict[str, Callable[[], bp.Cell]] = {
    "leaky_rate tanh": lambda: bp.model("leaky_rate", tau=10 * SPREAD * ms),
    "leaky_rate relu": lambda: bp.model("leaky_rate", rate="relu(x - 0.1)"),
    "leaky_rate sigmoid": lambda: bp.model("leaky_rate", rate="sigmoid(3*x)", method="euler"),
    "leaky_rate softplus": lambda: bp.model("leaky_rate", rate="softplus(x) + x**2 - abs(x)"),
    "leaky_rate spelled out": lambda: bp.model("leaky_rate", rate="x**2/(1 + exp(-x))**2 + exp(-x)/(2 + cos(x))**3 + x/sqrt(1 + x**2)"),
    "elman": lambda: bp.model("elman"),
    "elman linear": lambda: bp.model("elman", rate="x"),
    "lif": lambda: bp.model("lif"),
    "lif per neuron": lambda: bp.model("lif", tau_m=20 * SPREAD * ms, threshold=0.6 * SPREAD, refractory=0),
    "lif hard reset": lambda: bp.model("lif", hard_reset=True),
    "lif reset differentiated": lambda: bp.model("lif", differentiate=BOTH),
    "lif hard reset differentiated": lambda: bp.model("lif", hard_reset=True, differentiate=BOTH),
    "alif": lambda: bp.model("alif", beta=0.1),
    "alif per neuron": lambda: bp.model("alif", tau_a=200 * SPREAD * ms, beta=0.1 * SPREAD, differentiate=BOTH),
    "alif reset only": lambda: bp.model("alif", beta=0.1, differentiate=("reset",)),
    "alif nothing": lambda: bp.model("alif", beta=0.1, differentiate=()),
    "lsnn_lif": lambda: bp.model("lsnn_lif", refractory=3, scale_input=True),
    "lsnn_alif": lambda: bp.model("lsnn_alif", tau_m=20 * SPREAD * ms, beta=0.1),
    "lstm": lambda: bp.model("lstm"),
    "gru": lambda: bp.model("gru"),
    "clocked": lambda: bp.model("clocked"),
    "clocked rectified": lambda: bp.model("clocked", rate="relu(x)"),
    "adex": lambda: bp.model("adex"),
    "adex per neuron": lambda: bp.model("adex", C=200 * SPREAD * pF, V_T=-50 * mV + SPREAD * mV, refractory=0, unit_current=80 * pA),
    "adex rk4": lambda: bp.model("adex", method="rk4", V_T=-40 * mV, V_cut=-45 * mV),
    "delta_lif": lambda: bp.model("delta_lif", threshold=0.6),
    "delta_lif elsewhere": lambda: bp.model("delta_lif", threshold=0.6, V_reset=0.25, differentiate=BOTH),
    "delta_lif soft": lambda: bp.model("delta_lif", threshold=0.6, hard_reset=False, differentiate=BOTH),
    "delta_lif differentiated": lambda: bp.model("delta_lif", threshold=0.6 * SPREAD, differentiate=BOTH),
    "cuba": lambda: bp.model("cuba", tau_e=5 * SPREAD * ms),
    "coba": lambda: bp.model("coba", unit=0.1),
    "alpha_current": lambda: bp.model("alpha_current", V_T=-50 * mV),
    "tsodyks_markram": lambda: bp.model("tsodyks_markram", V_T=0.6 * mV, V_reset=0.1 * mV),
    "tsodyks_markram per neuron": lambda: bp.model("tsodyks_markram", V_T=0.6 * mV, V_reset=0.1 * mV, U=0.4 * SPREAD, tau_d=50 * SPREAD * ms),
    "coba_nmda": lambda: bp.model("coba_nmda", unit=0.1),
    "noisy_lif": lambda: bp.model("noisy_lif", threshold=0.6),
    "noisy_lif per neuron": lambda: bp.model("noisy_lif", sigma=SPREAD, threshold=0.6, hard_reset=True, differentiate=BOTH),
    "qif": lambda: bp.model("qif"),
    "izhikevich": lambda: bp.model("izhikevich"),
    "hodgkin_huxley": lambda: bp.model("hodgkin_huxley"),
    "wang_buzsaki": lambda: bp.model("wang_buzsaki", C=SPREAD * uF / cm**2),
}  # fmt: skip
#: where a state is near its threshold: (middle, spread)
RANGES = {"v": (0.6, 0.6), "a": (2.0, 1.0)}
IN_VOLTS = {"v": (-0.05, 0.008), **{s: (0.002, 0.004) for s in ("ge", "gi", "s", "h")}}
OF_CELLS: dict[str, dict[str, tuple[float, float]]] = {
    "adex": {"v": (-0.048, 0.008), "w": (1e-10, 1e-10)}, "cuba": IN_VOLTS, "alpha_current": IN_VOLTS,
    "tsodyks_markram": {"v": (0.0006, 0.0006), **{s: (0.5, 0.2) for s in "uxr"}},
    "coba_nmda": {"v": (-0.05, 0.008), **{s: (0.5, 0.2) for s in ("ge", "gi", "x", "s")}},
    "coba": {"v": (-0.05, 0.008), "ge": (0.5, 0.2), "gi": (0.5, 0.2)}, "qif": {"v": (6.0, 6.0)}, "izhikevich": {"v": (-0.05, 0.05), "u": (-13.0, 2.0)},
    "hodgkin_huxley": {"v": (-0.03, 0.03), "s": (0.0, 0.05)} | {gate: (0.5, 0.15) for gate in "mhn"},
    "wang_buzsaki": {"v": (-0.01, 0.04), "h": (0.5, 0.15), "n": (0.5, 0.15), "g": (1.0, 0.5)},
}  # fmt: skip


def test_every_shipped_model_is_tried_here():
    assert (
        {label.split()[0] for label in CELLS} == {cell().name for cell in CELLS.values()} == set(content.names("model"))
    )


def draw(cell: bp.Cell, seed: int = 0) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Tensor, Tensor | None]:
    """Random old states, currents and noises, last outputs and refractoriness, (batch, unit)."""
    g = torch.Generator().manual_seed(seed)
    ranges = OF_CELLS.get(cell.name, RANGES)
    normal = lambda: torch.randn(BATCH, N, generator=g, dtype=torch.float64)  # noqa: E731
    states = tuple(ranges.get(s, (0, 1))[0] + ranges.get(s, (0, 1))[1] * normal() for s in cell.states)
    last = (torch.rand(BATCH, N, generator=g) < 0.5).double() if cell.spiking else torch.tanh(normal())
    waits = isinstance(cell.refractory, str) or float(np.asarray(cell.refractory)) > 0
    active = (torch.rand(BATCH, N, generator=g) < 0.7).double() if waits else None
    return states, tuple(normal() for _ in (*cell.channels, *cell.noises)), last, active


def receptive(active: Tensor | None) -> Tensor | None:
    """Whether jumps are taken, drawn apart from whether a neuron is refractory."""
    return None if active is None else active.roll(1, 0)


def tensor(e: Any) -> Tensor:
    """An entry as a (batch, unit) tensor."""
    return (
        torch.zeros(BATCH, N, dtype=torch.float64)
        if e is None
        else torch.as_tensor(e, dtype=torch.float64).expand(BATCH, N)
    )


def handed(kernel: Kernel, states, currents, last, active, u, y) -> list[Any]:
    """F, E, G, psi, Ru, ry, and of what is sent Zu and zy, as stacked tensors, rows first."""
    values = {"s": states, "I": currents, "u": u, "y_last": (last,), "y_now": (y,), "active": (active,)}
    values["receptive"] = (receptive(active),)
    stack = lambda e: torch.stack([stack(x) for x in e]) if isinstance(e, tuple) else tensor(e)  # noqa: E731
    return [stack(e) if e else torch.empty(0) for e in kernel.partials(lambda kind, i: values[kind][i])]


def close(a: Tensor, b: Tensor, tolerance: float = 1e-12) -> None:
    """Elementwise, relative to the largest value of each row and column over neurons (their units differ)."""
    scale = torch.maximum(a.abs(), b.abs()).amax((-1, -2), keepdim=True)
    assert torch.isfinite(a).all() and torch.isfinite(b).all()
    assert bool(((a - b).abs() <= tolerance * scale).all()), float(((a - b).abs() / scale.clamp_min(1e-300)).max())


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own jacfwd
@pytest.mark.parametrize("label", CELLS)
def test_partials_equal_torch_func(label):
    cell = CELLS[label]()
    kernel = cell.kernel(N, DT, torch.float64, "cpu")
    states, currents, last, active = draw(cell)
    S, K = len(states), len(cell.channels)
    z, normals = torch.stack([*states, *currents[:K], last]), tuple(currents[K:])

    def step(z: Tensor, spike: Callable[[Tensor], Tensor], cut: Callable[[Tensor], Tensor]) -> Tensor:
        u, y, s = kernel.step(tuple(z[:S]), (*z[S : S + K], *normals), z[-1], active, spike, cut, receptive(active))
        return torch.stack([*u, y, *s, *(kernel.send(s, y) if kernel.send else ())])

    learned = surrogate_spike(kernel.surrogate) if kernel.surrogate else hard_spike
    out = step(z, learned, Tensor.detach)
    u, y, after = tuple(out[:S]), out[S], out[S + 1 : 2 * S + 1]
    np.testing.assert_array_equal(step(z, hard_spike, uncut), out)  # recording a gradient changes no value

    F, E, G, psi, Ru, ry, Zu, zy = handed(kernel, states, currents, last, active, u, y)
    first = torch.cat([F, G, E[:, None]], 1)  # ∂u/∂(s, I, y₋): (S, S + K + 1, batch, unit)
    expected = torch.cat(
        [
            first,
            torch.einsum("s...,sk...->k...", psi, first)[None],
            torch.einsum("rs...,sk...->rk...", Ru + ry[:, None] * psi, first),
            *([torch.einsum("vs...,sk...->vk...", Zu + zy[:, None] * psi, first)] if cell.sends else []),
        ]
    )
    assert len(zy) == len(cell.sends) and (not cell.sends or (Zu != 0).any(0).any())
    for jac in (jacrev, jacfwd):
        # neurons do not see each other inside a cell, so the sum over them has each one's own derivatives
        found = jac(lambda z: step(z, learned, Tensor.detach).sum((-1, -2)))(z)
        close(found, expected)
    unseen = jacrev(lambda z: step(z, lambda x: hard_spike(x.detach()), Tensor.detach).sum((-1, -2)))(z)
    if cell.spiking:  # without a slope at the spike only Ru is left
        close(unseen[S + 1 : 2 * S + 1], torch.einsum("rs...,sk...->rk...", Ru, first))
        assert 0.1 < y.mean() < 0.9 and (psi > 0).any() and (psi == 0).any()
        assert active is None or (
            0.1 < active.mean() < 0.9 and not (y * (1 - active)).any() and not (psi * (1 - active)).any()
        )
        assert (after - out[:S])[:, y > 0].any() == bool(cell.reset) and not (after - out[:S])[:, y == 0].any()
    else:
        assert (psi != 0).any()
    assert (G != 0).any() and (F != 0).any() is not torch.tensor(cell.name == "elman")


@pytest.mark.parametrize(
    ("name", "differentiate", "ry"),
    [
        ("lif", ("jumps",), (None,)),
        ("lif", BOTH, (-0.6,)),
        ("alif", (), (None, None)),
        ("alif", ("jumps",), (None, 1.0)),
        ("alif", ("reset",), (-0.6, None)),
        ("alif", BOTH, (-0.6, 1.0)),
    ],
)
def test_what_a_spike_is_differentiated_through(name, differentiate, ry):
    cell = bp.model(name, differentiate=differentiate)
    states, currents, last, active = draw(cell)
    kernel = cell.kernel(N, DT, torch.float64, "cpu")
    u, y, _ = kernel.step(states, currents, last, active, hard_spike, uncut)
    entries = kernel.partials(
        lambda kind, i: {
            "s": states,
            "I": currents,
            "u": u,
            "y_last": (last,),
            "y_now": (y,),
            "active": (active,),
        }[kind][i]
    )
    assert entries[5] == ry


def test_surrogates_are_the_published_ones():
    """ψ = dampening/threshold · max(0, 1 − |v − A|/threshold); adex has a width of its own; fast sigmoid."""
    v = torch.linspace(-0.5, 2.0, N, dtype=torch.float64).expand(BATCH, N)
    a = torch.full_like(v, 3.0)
    far = lambda middle: (v - middle).abs() / 0.6  # noqa: E731
    fast = replace(bp.model("lif"), surrogate=bp.fast_sigmoid(slope=7.0, dampening=0.8))
    cells = {
        "alif": (bp.model("alif", beta=0.1), 0.3 / 0.6 * (1 - far(0.9)).relu()),  # threshold 0.6 + 0.1 a
        "lif": (bp.model("lif", dampening=0.5), 0.5 / 0.6 * (1 - far(0.6)).relu()),
        "adex": (bp.model("adex"), 0.3 / 10e-3 * (1 - (v - 1).abs() * 1e-3 / 10e-3).relu()),
        "fast": (fast, 0.8 / 0.6 / (1 + 7 * far(0.6)) ** 2),
    }
    psi: Any = ()
    for name, (cell, expected) in cells.items():
        u = (-40e-3 + (v - 1) * 1e-3, a) if name == "adex" else (v, a)[: len(cell.states)]
        kernel = cell.kernel(N, DT, torch.float64, "cpu")
        values = {
            "s": u,
            "I": (a,),
            "u": u,
            "y_last": (a,),
            "y_now": (torch.zeros_like(v),),
            "active": (torch.ones_like(v),),
        }
        psi = kernel.partials(lambda kind, i, values=values: values[kind][i])[3]
        np.testing.assert_allclose(tensor(psi[0]), expected, rtol=1e-12, atol=1e-12 * float(expected.max()))
        if name == "alif":  # the threshold rises with a
            np.testing.assert_allclose(tensor(psi[1]), -0.1 * expected, rtol=1e-12)
    assert (psi[0] > 0).any()


# -- the step, written by hand ----------------------------------------------------------------------------------------


def exp(x: Any) -> Any:
    return np.exp(x)


def lif(s, I, y, active, hard=False):
    (v,), a = s, exp(-1 / 20)
    v = a * v + (1 - a) * I[0]
    z = (v > 0.6) * active
    return (v,), z, ((1 - z) * v if hard else v - 0.6 * z,)


def alif(s, I, y, active):
    (v, a), alpha, rho = s, exp(-1 / 20), exp(-1 / 200)
    v, a = alpha * v + (1 - alpha) * I[0], rho * a
    z = (v > 0.6 + 0.1 * a) * active
    return (v, a), z, (v - 0.6 * z, a + z)


def adex(s, I, y, active):
    C, g, E, V_T, slope = 200e-12, 10e-9, -70e-3, -50e-3, 2e-3
    (v, w), decay, decay_w = s, exp(-DT * g / C), exp(-DT / 0.12)
    target = E + slope * exp((v - V_T) / slope) + (100e-12 * I[0] - w) / g
    w = decay_w * w + (1 - decay_w) * 2e-9 * (v - E)
    v = np.where(active, decay * v + (1 - decay) * target, v)
    z = (v > -40e-3) * active
    return (v, w), z, (np.where(z, -58e-3, v), w + 60e-12 * z)


def leaky(s, I, y, active, rate=np.tanh):
    (x,), a = s, exp(-1 / 10)
    x = a * x + (1 - a) * I[0]
    return (x,), rate(x), (x,)


def sigmoid(x):
    return 1 / (1 + exp(-x))


def lstm(s, I, y, active):
    i, f, g, o = I
    c = sigmoid(f) * s[0] + sigmoid(i) * np.tanh(g)
    return (c, sigmoid(o)), sigmoid(o) * np.tanh(c), (c, sigmoid(o))


def gru(s, I, y, active):
    r, z, n, h = I
    y = (1 - sigmoid(z)) * np.tanh(n + sigmoid(r) * h) + sigmoid(z) * y
    return (y,), y, (y,)


BY_HAND: dict[str, tuple[Callable[[], bp.Cell], Callable[..., Any], float]] = {
    "leaky_rate": (lambda: bp.model("leaky_rate"), leaky, 1.0),
    "leaky_rate relu": (
        lambda: bp.model("leaky_rate", rate="relu(x)"),
        lambda *a: leaky(*a, rate=lambda x: np.maximum(x, 0)),
        1.0,
    ),
    "elman": (lambda: bp.model("elman"), lambda s, I, y, active: (I, np.tanh(I[0]), I), 1.0),
    "lif": (lambda: bp.model("lif"), lif, 6.0),
    "lif hard": (lambda: bp.model("lif", hard_reset=True), lambda *a: lif(*a, hard=True), 6.0),
    "alif": (lambda: bp.model("alif", beta=0.1), alif, 6.0),
    "adex": (lambda: bp.model("adex"), adex, 15.0),
    "lstm": (lambda: bp.model("lstm"), lstm, 1.0),
    "gru": (lambda: bp.model("gru"), gru, 1.0),
}


def rolled(
    cell: bp.Cell, step: Callable[..., Any], currents: np.ndarray, dt: float = DT
) -> tuple[list[Any], list[Any], list[Any]]:
    """States before the reset, outputs, states after it, over time; refractoriness as time since a spike."""
    refractory = cell.refractory / (dt * bp.second) if cell.refractory else 0
    s = tuple(np.full((BATCH, N), float(np.asarray(cell.start.get(n, 0.0)))) for n in cell.states)
    y, last = np.zeros((BATCH, N)), np.full((BATCH, N), -(10**6))
    us, ys, after = [], [], []
    for k, I in enumerate(currents):
        active = (k - last >= refractory) * 1.0
        u, y, s = step(s, tuple(I), y, active)
        last = np.where(y, k, last) if cell.spiking else last
        for recorded, value in ((us, np.stack(u)), (ys, y), (after, np.stack(s))):
            recorded.append(value)
    return us, ys, after


def generated(cell: bp.Cell, dt: float = DT) -> Callable[..., Any]:
    kernel = cell.kernel(N, dt, torch.float64, "cpu")

    def step(s, I, y, active):
        u, y, s = kernel.step(
            tuple(map(torch.as_tensor, s)),
            tuple(map(torch.as_tensor, I)),
            torch.as_tensor(y),
            torch.as_tensor(active),
            hard_spike,
            uncut,
        )
        return tuple(a.numpy() for a in u), y.numpy(), tuple(a.numpy() for a in s)

    return step


@pytest.mark.parametrize("label", BY_HAND)
def test_step_equals_the_one_written_by_hand(label):
    make, by_hand, gain = BY_HAND[label]
    cell = make()
    currents = gain * np.random.default_rng(1).normal(0.1, 1, (300, len(cell.inputs), BATCH, N))
    u, y, s = rolled(cell, generated(cell), currents)
    u_, y_, s_ = rolled(cell, by_hand, currents)
    np.testing.assert_allclose(y, y_, rtol=0, atol=0 if cell.spiking else 1e-13)
    assert not cell.spiking or 100 < np.sum(y) < 0.3 * np.size(y)
    for a, b in ((u, u_), (s, s_)):
        a, b = np.stack(a, 1), np.stack(b, 1)  # (state, time, batch, unit)
        for one, other in zip(a, b, strict=True):
            np.testing.assert_allclose(
                one, other, rtol=0, atol=(1e-8 if cell.name == "adex" else 1e-12) * np.abs(other).max()
            )


@pytest.mark.parametrize("adaptive", [False, True])
def test_lsnn_cells_are_the_published_map(adaptive):
    n_ref = 4
    cell = bp.model("lsnn_alif", beta=0.1, refractory=n_ref) if adaptive else bp.model("lsnn_lif", refractory=n_ref)
    currents = 0.3 * np.random.default_rng(2).normal(0.2, 1, (300, 1, BATCH, N))
    kernel_u, y, _ = rolled(replace(cell, refractory=n_ref * ms), generated(cell), currents)
    v, a, z, wait = np.zeros((4, BATCH, N))
    for k, (i,) in enumerate(currents):
        v = exp(-1 / 20) * v + i - 0.6 * z
        a = exp(-1 / 2000) * a + z
        wait = np.maximum(wait + n_ref * z - 1, 0)  # the LSNN counter
        z = (v > 0.6 + 0.1 * adaptive * a) * (wait <= 0) * 1.0
        np.testing.assert_array_equal(y[k], z)
        np.testing.assert_allclose(kernel_u[k][0], v, atol=1e-12)
        if adaptive:
            np.testing.assert_allclose(kernel_u[k][1], a, atol=1e-12)
    assert np.sum(y) > 300


def compare(name: str, module: Any) -> None:
    """A recurrent circuit of the cell against torch's own module with the same weights."""
    circuit = bp.circuit("recurrent", cell=bp.model(name), inputs=5, units=6, outputs=2, bias=True)
    network = circuit.build(seed=3, dtype=torch.float64)
    g = torch.Generator().manual_seed(0)
    network.weights["b"].copy_(torch.randn(network.weights["b"].shape, generator=g))
    W, U, b = (network.weights[k] for k in ("W_in", "W_rec", "b"))
    with torch.no_grad():
        module.weight_ih.copy_(W)
        module.weight_hh.copy_(U)
        module.bias_hh.zero_()
        if name == "gru":  # (r, z, n) of the input side; the recurrent side of n has a bias of its own
            module.bias_ih.copy_(b[:18])
            module.bias_hh[12:].copy_(b[18:])
        else:
            module.bias_ih.copy_(b)
        x = torch.randn(40, 3, 5, generator=g, dtype=torch.float64)
        h, state, seen = torch.zeros(3, 6, dtype=torch.float64), None, []
        for x_t in x:
            state = module(x_t, state)
            h = state[0] if isinstance(state, tuple) else state
            seen.append(h)
    np.testing.assert_allclose(bp.simulate(network, x, "rate").rate.values, torch.stack(seen), atol=1e-13)


def test_gated_circuits_equal_the_modules_of_torch():
    compare("lstm", torch.nn.LSTMCell(5, 6, dtype=torch.float64))
    compare("gru", torch.nn.GRUCell(5, 6, dtype=torch.float64))
    compare("elman", torch.nn.RNNCell(5, 6, dtype=torch.float64))


# -- integration ------------------------------------------------------------------------------------------------------


def one(
    cell: bp.Cell, state: tuple[float, ...], I: float, dt: float, active: float = 1.0, dtype=torch.float64
) -> list[float]:
    """One step of one neuron, before the reset."""
    ready = lambda values: tuple(torch.full((1, 1), v, dtype=dtype) for v in values)  # noqa: E731
    u, _, _ = cell.kernel(1, dt, dtype, "cpu").step(ready(state), ready([I]), *ready([0.0, active]), hard_spike, uncut)
    return [float(v) for v in u]


@pytest.mark.parametrize("dt", [1e-4, 1e-3, 4e-3])
def test_methods_on_a_leak_are_the_textbook_ones(dt):
    z, v, I = -dt / 10e-3, 0.7, -0.4
    grows = {
        "exact": np.exp(z), "exponential_euler": np.exp(z), "linear": np.exp(z), "euler": 1 + z,
        "rk2": 1 + z + z**2 / 2, "rk4": 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24,
    }  # fmt: skip
    for method, factor in grows.items():
        found = one(bp.model("leaky_rate", tau=10 * ms, method=method), (v,), I, dt)
        assert found == pytest.approx([I + factor * (v - I)], abs=1e-14), method


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("exponential_euler", 1), ("rk2", 2), ("rk4", 4)])
def test_the_order_of_each_method(method, order):
    cell = bp.Cell(
        equations="dv/dt = (-v*(1 + w**2) + I)/tau : 1\ndw/dt = (v - w)/tau_w : 1",
        output="v",
        method=method,
        parameters=dict(tau=10 * ms, tau_w=5 * ms),
    )

    def end(steps: int) -> np.ndarray:
        kernel = cell.kernel(1, 20e-3 / steps, torch.float64, "cpu")
        s = tuple(torch.full((1, 1), v, dtype=torch.float64) for v in (1.0, -0.5))
        for _ in range(steps):
            s = kernel.step(s, (torch.full((1, 1), 2.0, dtype=torch.float64),), s[0], None, hard_spike, uncut)[2]
        return np.array([float(v) for v in s])

    coarse, middle, fine = (end(n) for n in (20, 40, 80))
    measured = np.log2(np.abs(coarse - middle).max() / np.abs(middle - fine).max())
    assert order - 0.25 < measured < order + 0.5


def test_exact_steps_compose_and_euler_steps_do_not():
    for method, equal in (("exact", True), ("euler", False)):
        cell = replace(bp.model("alif", refractory=0), method=method)
        halves = one(cell, tuple(one(cell, (0.2, 1.5), 0.3, 0.5e-3)), 0.3, 0.5e-3)
        assert np.allclose(halves, one(cell, (0.2, 1.5), 0.3, 1e-3), rtol=1e-14, atol=0) == equal


def test_a_held_variable_stands_still_for_the_others_too():
    cell = bp.Cell(
        equations="dv/dt = (-v - w + I)/tau : 1 (unless refractory)\ndw/dt = (0.5*v - w)/tau_w : 1",
        spike="v > threshold",
        reset="v = 0",
        surrogate=bp.triangular(),
        refractory=3 * ms,
        parameters=dict(tau=15 * ms, tau_w=150 * ms, threshold=0.6),
    )
    A = np.array([[-1 / 15, -1 / 15, 1 / 15], [0.5 / 150, -1 / 150, 0], [0, 0, 0]])
    v, w, I = 0.3, -0.8, 0.5
    assert one(cell, (v, w), I, 1e-3) == pytest.approx(list((expm(A) @ [v, w, I])[:2]), abs=1e-14)
    assert one(cell, (v, w), I, 1e-3, active=0.0) == pytest.approx(
        [v, w * exp(-1 / 150) + 0.5 * v * (1 - exp(-1 / 150))], abs=1e-14
    )


# -- spikes, resets, refractoriness -----------------------------------------------------------------------------------


def driven(cell: bp.Cell, current: float, steps: int = 200, dt: Any = 1 * ms):
    """One neuron under a constant current, recorded."""
    circuit = bp.circuit("recurrent", cell=cell, inputs=1, units=1, outputs=1, gain=0.0, dt=dt, autapses=True)
    network = circuit.build(dtype=torch.float64)
    network.load({"W_in": [[current]]})
    return bp.simulate(network, np.ones((steps, 1, 1)), (*cell.states, "spikes"))


@pytest.mark.parametrize(
    ("refractory", "dt", "interval"),
    [
        (0 * ms, 1 * ms, 1),
        (1 * ms, 1 * ms, 1),
        (2 * ms, 1 * ms, 2),
        (5 * ms, 1 * ms, 5),
        (5 * ms, 0.5 * ms, 10),
        (4, 1 * ms, 4),
        (4, 0.5 * ms, 4),
        (0.3 * ms, 0.1 * ms, 3),
    ],
)
def test_refractory_time_is_the_shortest_interval(refractory, dt, interval):
    spikes = np.flatnonzero(
        driven(bp.model("lif", refractory=refractory), 1e4, dt=dt).spikes.values
    )  # 5 ms: 4 silent steps of 1 ms
    assert set(np.diff(spikes)) == {interval} and spikes[0] == 0


def test_the_membrane_integrates_on_or_is_held():
    free, held = (
        driven(bp.model("lif", refractory=6 * ms), 5.0),
        driven(bp.model("adex", refractory=6 * ms), 12.0),
    )
    first = int(np.flatnonzero(free.spikes.values)[0])
    assert (np.diff(free.v.values[first : first + 6, 0, 0]) > 0.01).all()
    first = int(np.flatnonzero(held.spikes.values)[0])
    assert (held.v.values[first : first + 6, 0, 0] == -58e-3).all() and held.v.values[first + 6, 0, 0] > -58e-3
    assert len(set(held.w.values[first : first + 6, 0, 0])) == 6  # adaptation is not held


def test_soft_resets_subtract_and_hard_resets_set():
    for hard in (False, True):
        seen = driven(bp.model("lif", hard_reset=hard, refractory=0), 3.0, 60)
        a, v = exp(-1 / 20), 0.0
        for k in range(60):
            v = a * v + (1 - a) * 3.0
            if v > 0.6:
                v = 0.0 if hard else v - 0.6
            assert seen.v.values[k, 0, 0] == pytest.approx(v, abs=1e-14)
        assert seen.spikes.sum() > 8


def test_float32_is_float32_throughout_and_near():
    for label in ("alif per neuron", "adex per neuron", "lstm", "leaky_rate relu"):
        cell = CELLS[label]()
        states, currents, last, active = draw(cell)
        single = lambda some: tuple(None if a is None else a.float() for a in some)  # noqa: E731
        results = []
        for dtype, ready in ((torch.float64, tuple), (torch.float32, single)):
            kernel = cell.kernel(N, DT, dtype, "cpu")
            s, I, (y, z) = ready(states), ready(currents), ready((last, active))
            u, out, after = kernel.step(s, I, y, z, hard_spike, uncut)
            values = {"s": s, "I": I, "u": u, "y_last": (y,), "y_now": (out,), "active": (z,)}
            entries = [
                e
                for group in kernel.partials(lambda kind, i, values=values: values[kind][i])
                for row in group
                for e in (row if isinstance(row, tuple) else (row,))
            ]
            assert all(a.dtype == dtype for a in (*u, out, *after, *(e for e in entries if isinstance(e, Tensor))))
            results.append((*u, *after))
        for wide, narrow in zip(*results, strict=True):
            assert torch.allclose(wide.float(), narrow, rtol=1e-4, atol=1e-5 * float(wide.abs().max()))


# -- cells as objects -------------------------------------------------------------------------------------------------

CODE = """
import pickle, sys, torch
cell = pickle.load(sys.stdin.buffer)
sys.stdout.write(cell.kernel(7, 1e-3, torch.float64, "cpu").source + repr(cell.describe()))
"""


def test_cells_travel_to_other_processes():
    for label in ("adex per neuron", "alif reset only", "gru"):
        cell = CELLS[label]()
        again = pickle.loads(pickle.dumps(cell))
        assert again.derived == cell.derived and again.units == cell.units and again.describe() == cell.describe()
    cell = CELLS["adex per neuron"]()
    done = subprocess.run([sys.executable, "-c", CODE], input=pickle.dumps(cell), capture_output=True, check=False)
    assert done.stdout.decode() == cell.kernel(7, DT, torch.float64, "cpu").source + repr(cell.describe()), (
        done.stderr.decode()
    )


def test_a_second_construction_is_fast():
    for name in content.names("model"):
        bp.model(name)
        begin = time.process_time()
        bp.model(name)
        assert time.process_time() - begin < 0.5, name


def test_a_changed_copy_keeps_everything_else():
    cell = bp.model("adex")
    other = replace(cell, method="euler", refractory=4 * ms)
    assert other.scales == {"I": 100e-12} and other.units == {"v": "volt", "w": "amp"}
    assert one(other, (-0.06, 0.0), 2.0, 1e-3) != one(cell, (-0.06, 0.0), 2.0, 1e-3)
    assert replace(cell).describe() == cell.describe()


def test_names_of_a_user_do_not_collide_with_those_of_the_source():
    cell = bp.Cell(
        equations="""dv/dt = (-v + I/J_max)/tau : 1
                     dI/dt = (-I + J)/tau_s : amp
                     dx/dt = -x*margin/tau : 1""",
        inputs={"J": 100 * pA},
        spike="v > k0 + x",
        reset="v -= k0*k1; x += constant",
        surrogate=bp.triangular(width="k0"),
        parameters=dict(tau=20 * ms, tau_s=5 * ms, k0=0.5, k1=2.0, J_max=50 * pA, constant=0.25, margin=1.5),
    )
    kernel = cell.kernel(1, DT, torch.float64, "cpu")
    state = tuple(torch.full((1, 1), v, dtype=torch.float64) for v in (0.9, 40e-12, 0.1))
    u, y, s = kernel.step(state, (torch.full((1, 1), 0.3, dtype=torch.float64),), state[0], None, hard_spike, uncut)
    A = np.array([[-1 / 20, 1 / 20 / 50, 0], [0, -1 / 5, 1 / 5], [0, 0, 0]])  # ms, pA
    v, I, _ = expm(A) @ [0.9, 40, 30]
    assert float(y) == 1.0
    assert [float(u[0]), float(u[1])] == pytest.approx([v, I * 1e-12], rel=1e-12)
    assert float(u[2]) == pytest.approx(0.1 * exp(-1.5 / 20), rel=1e-12)
    assert float(s[0]) == pytest.approx(float(u[0]) - 1.0, rel=1e-12) and float(s[2]) == pytest.approx(
        float(u[2]) + 0.25, rel=1e-12
    )


def test_constants_may_use_every_function():
    cell = bp.Cell(
        update="x = sigmoid(k)*x + relu(-k)*I + softplus(k)*step(k) + sign(k)*abs(k)",
        output="x",
        parameters={"k": -0.3},
    )
    got = one(cell, (2.0,), 0.7, DT)
    assert got == pytest.approx([2 * sigmoid(-0.3) + 0.3 * 0.7 - 0.3], abs=1e-14)


def test_two_channels_with_units_of_their_own():
    cell = bp.Cell(
        equations="dv/dt = (g_L*(E_L - v) + g*(E_e - v) + I)/C : volt",
        inputs={"I": 100 * pA, "g": 2 * nS},
        output="v/width",
        parameters=dict(g_L=10 * nS, E_L=-70 * mV, E_e=0 * mV, C=200 * pF, width=10 * mV),
        method="euler",
    )
    kernel = cell.kernel(1, DT, torch.float64, "cpu")
    full = lambda v: torch.full((1, 1), v, dtype=torch.float64)  # noqa: E731
    u, y, _ = kernel.step((full(-0.06),), (full(2.0), full(0.5)), full(0.0), None, hard_spike, uncut)
    v = -0.06 + DT * (10e-9 * -0.01 + 0.5 * 2e-9 * 0.06 + 2 * 100e-12) / 200e-12
    assert float(u[0]) == pytest.approx(v, rel=1e-12) and float(y) == pytest.approx(v / 0.01, rel=1e-12)
