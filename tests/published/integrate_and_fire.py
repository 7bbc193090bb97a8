"""Leaky membranes with a threshold, driven by currents and by jumps."""

from __future__ import annotations

import numpy as np
from brian2 import ms, mV

from .model import Published, spikes

EXAMPLES = "https://brian2.readthedocs.io/en/stable/examples"


def balanced(n: int, excitatory: int, chance: float) -> np.ndarray:
    """Which neuron reaches which, onto two channels: the first of them onto the first, the others onto the second."""
    rng = np.random.default_rng(3)
    there = rng.random((n, n)) < chance
    inhibitory = np.arange(n) >= excitatory
    return np.concatenate([there & ~inhibitory, there & inhibitory]).astype(float)


LIF = Published(
    name="IF_curve_LIF",
    source="Brian2 example",
    link=f"{EXAMPLES}/IF_curve_LIF.html",
    equations="""
    dv/dt = (v0 - v) / tau : volt (unless refractory)
    """,
    spike="v > 10*mV",
    reset="v = 0*mV",
    refractory=5 * ms,
    parameters=dict(tau=10 * ms),
    start={"v": 0 * mV},
    inputs={"v0": mV},
    n=40,
    dt=0.1 * ms,
    steps=1000,
    drive=lambda rng: np.tile(np.linspace(0, 20, 40), (1000, 1)),
)

CUBA = Published(
    name="CUBA",
    source="Vogels & Abbott 2005; Brette et al. 2007",
    link="https://doi.org/10.1007/s10827-007-0038-6",
    equations="""
    dv/dt  = (ge+gi-(v-El))/taum : volt (unless refractory)
    dge/dt = -ge/taue : volt
    dgi/dt = -gi/taui : volt
    """,
    spike="v>Vt",
    reset="v = Vr",
    refractory=5 * ms,
    parameters=dict(taum=20 * ms, taue=5 * ms, taui=10 * ms, Vt=-50 * mV, Vr=-60 * mV, El=-49 * mV),
    start={"v": np.linspace(-60, -50.1, 40) * mV},
    jumps={"ge": 60 * 0.27 / 10 * mV, "gi": -20 * 4.5 / 10 * mV},
    n=40,
    dt=0.1 * ms,
    steps=1000,
    drive=spikes(1000, 30, 0.004),
    into=lambda rng: np.concatenate([rng.random((40, 30)) < 0.3, np.zeros((40, 30))]).astype(float),
    recurrent=lambda rng: balanced(40, 32, 0.1),
)

MODELS = (LIF, CUBA)
