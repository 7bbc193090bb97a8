"""Leaky membranes with a threshold, driven by currents and by jumps."""

from __future__ import annotations

import numpy as np
from brian2 import Hz, ms, mV
from numpy.random import Generator

from .model import Published, dyadic, held, spikes

DOCS = "https://brian2.readthedocs.io/en/stable"
DT = 0.1 * ms

LIF = Published(
    name="IF_curve_LIF",
    source="Brian2 example",
    link=f"{DOCS}/examples/IF_curve_LIF.html",
    equations="""
    dv/dt = (v0 - v) / tau : volt (unless refractory)
    v0 : volt
    """,
    spike="v > 10*mV",
    reset="v = 0*mV",
    refractory=5 * ms,
    parameters=dict(tau=10 * ms),
    start={"v": 0 * mV},
    inputs={"v0": mV},
    n=40,
    dt=DT,
    steps=1000,
    drive=lambda rng: np.tile(np.linspace(0, 20, 40), (1000, 1)),
)

INTRO_NEURONS = Published(
    name="Introduction, part 1: neurons",
    source="Brian2 tutorial",
    link=f"{DOCS}/resources/tutorials/1-intro-to-brian-neurons.html",
    equations="""
    dv/dt = (v0-v)/tau : 1 (unless refractory)
    v0 : 1
    """,
    spike="v>1",
    reset="v=0",
    refractory=5 * ms,
    parameters=dict(tau=10 * ms),
    inputs={"v0": 1.0},
    width="1",
    n=40,
    dt=DT,
    steps=1000,
    drive=lambda rng: np.tile(np.linspace(0, 3, 40), (1000, 1)),
)

INTRO_SYNAPSES = Published(
    name="Introduction, part 2: synapses",
    source="Brian2 tutorial",
    link=f"{DOCS}/resources/tutorials/2-intro-to-brian-synapses.html",
    equations="""
    dv/dt = (I-v)/tau : 1
    I : 1
    tau : second
    """,
    spike="v>1",
    reset="v = 0",
    parameters=dict(tau=np.linspace(10, 100, 20) * ms),
    inputs={"I": 1.0},
    jumps={"v": 0.2},
    width="1",
    n=20,
    dt=DT,
    steps=1500,
    # the first five are driven by a current, all others by spikes of theirs
    drive=lambda rng: np.ones((1500, 1)),
    into=lambda rng: np.concatenate([np.where(np.arange(20) < 5, 2 + np.arange(20) / 16, 0), np.zeros(20)])[:, None],
    recurrent=lambda rng: np.concatenate(
        [np.zeros((20, 20)), (rng.random((20, 20)) < 0.5) & (np.arange(20) < 5) & (np.arange(20)[:, None] >= 5)]
    ),
)

ADAPTIVE = Published(
    name="adaptive_threshold",
    source="Brian2 example",
    link=f"{DOCS}/examples/adaptive_threshold.html",
    equations="""
    dv/dt = -v/(10*ms) : volt
    dvt/dt = (10*mV-vt)/(15*ms) : volt
    """,
    spike="v>vt",
    reset="""
    v = 0*mV
    vt += 3*mV
    """,
    start={"vt": 10 * mV},
    jumps={"v": 3 * mV},
    n=20,
    dt=DT,
    steps=1000,
    drive=spikes(1000, 20, 0.05),
)

PHASE_LOCKING = Published(
    name="phase_locking",
    source="Brian2 example",
    link=f"{DOCS}/examples/phase_locking.html",
    original="""
    dv/dt = (-v + a * sin(2 * pi * freq * t) + b) / tau : 1
    a : 1
    """,
    equations="""
    dv/dt = (-v + a * wave + b) / tau : 1
    a : 1
    """,
    spike="v > 1",
    reset="v = 0",
    method="euler",
    parameters=dict(tau=20 * ms, b=1.2, freq=10 * Hz, a=0.05 + 0.7 * np.arange(40) / 40),
    start={"v": np.random.default_rng(0).random(40)},
    inputs={"wave": 1.0},
    width="1",
    named="`sin(2 * pi * freq * t)` is the input channel `wave`",
    n=40,
    dt=DT,
    steps=1000,
    drive=lambda rng: np.sin(2 * np.pi * 10 * np.arange(1000)[:, None] * 1e-4),
    into=lambda rng: np.ones((40, 1)),
)

BRETTE_2004 = Published(
    name="Phase locking of a leaky membrane",
    source="Brette 2004",
    link="https://doi.org/10.1007/s00285-003-0223-9",
    original="""
    dv/dt = (-v + a + 2*sin(2*pi*t/tau))/tau : 1
    a : 1
    """,
    equations="""
    dv/dt = (-v + a + 2*wave)/tau : 1
    a : 1
    """,
    spike="v>1",
    reset="v=0",
    method="euler",
    parameters=dict(tau=100 * ms, a=np.linspace(2, 4, 40)),
    inputs={"wave": 1.0},
    width="1",
    named="`sin(2*pi*t/tau)` is the input channel `wave`",
    n=40,
    dt=DT,
    steps=1500,
    drive=lambda rng: np.sin(2 * np.pi * np.arange(1500)[:, None] * 1e-4 / 0.1),
    into=lambda rng: np.ones((40, 1)),
)

GAP_JUNCTIONS = Published(
    name="gapjunctions",
    source="Brian2 example",
    link=f"{DOCS}/examples/synapses.gapjunctions.html",
    equations="""
    dv/dt = (v0 - v + Igap) / tau : 1
    Igap : 1  # what flows in from coupled neurons
    """,
    spike="v > 1",
    reset="v = 0",
    parameters=dict(v0=1.05, tau=10 * ms),
    start={"v": np.arange(20) / 19},
    inputs={"Igap": 1.0},
    width="1",
    n=20,
    dt=DT,
    steps=1000,
    drive=held(1000, 20, -0.1, 0.4),
)

BRUNEL = Published(
    name="Sparse network of excitatory and inhibitory neurons",
    source="Brunel 2000",
    link="https://doi.org/10.1023/A:1008925309027",
    equations="""
    dv/dt = -v/tau : volt (unless refractory)
    """,
    spike="v > theta",
    reset="v = V_r",
    refractory=2 * ms,
    parameters=dict(tau=20 * ms, theta=20 * mV, V_r=10 * mV),
    jumps={"v": 0.1 * mV},
    n=40,
    dt=DT,
    steps=1000,
    drive=spikes(1000, 200, 0.02),
    into=lambda rng: (rng.random((40, 200)) < 0.4).astype(float),
    # 32 excite, 8 inhibit five times as strongly (g); 1.5 ms on the way
    recurrent=lambda rng: (rng.random((40, 40)) < 0.2) * np.where(np.arange(40) < 32, 4.0, -20.0),
    delay=15,
)


def balanced(rng: Generator, n: int, excitatory: int, chance: float) -> np.ndarray:
    """Who reaches whom, onto two channels: the first neurons onto the first, the others onto the second."""
    there, inhibitory = rng.random((n, n)) < chance, np.arange(n) >= excitatory
    return np.concatenate([there & ~inhibitory, there & inhibitory]).astype(float)


CUBA = Published(
    name="CUBA",
    source="Brette et al. 2007",
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
    dt=DT,
    steps=1000,
    drive=spikes(1000, 30, 0.004),
    into=lambda rng: np.concatenate([rng.random((40, 30)) < 0.3, np.zeros((40, 30))]).astype(float),
    recurrent=lambda rng: balanced(rng, 40, 32, 0.1),
    slow=True,
)

STDP = Published(
    name="STDP (its neuron)",
    source="Song, Miller & Abbott 2000",
    link="https://doi.org/10.1038/78829",
    equations="""
    dv/dt = (ge * (Ee-v) + El - v) / taum : volt
    dge/dt = -ge / taue : 1
    """,
    spike="v>vt",
    reset="v = vr",
    method="euler",
    parameters=dict(taum=10 * ms, Ee=0 * mV, vt=-54 * mV, vr=-60 * mV, El=-74 * mV, taue=5 * ms),
    start={"v": -74 * mV},
    jumps={"ge": 0.01},  # gmax, of which a weight is a part
    n=10,
    dt=DT,
    steps=1000,
    drive=spikes(1000, 1000, 0.0015),
    into=lambda rng: dyadic(rng.random((10, 1000))),
)

SYNFIRE = Published(
    name="Synfire chain (its neuron)",
    source="Diesmann, Gewaltig & Aertsen 1999",
    link="https://doi.org/10.1038/990101",
    equations="""
    dV/dt = (-(V-Vr)+x)*(1./taum) : volt
    dx/dt = (-x+y)*(1./taupsp) : volt
    dy/dt = -y*(1./taupsp)+25.27*mV/ms+
            (39.24*mV/ms**0.5)*xi : volt
    """,
    spike="V>Vt",
    reset="V=Vr",
    refractory=1 * ms,
    method="euler",
    parameters=dict(Vr=-70 * mV, Vt=-55 * mV, taum=10 * ms, taupsp=0.325 * ms),
    start={"V": np.random.default_rng(0).uniform(-70, -55, 40) * mV},
    jumps={"y": 4.86 * mV},
    n=40,
    dt=DT,
    steps=600,
    # a volley of 85 spikes at 10 ms, another at 40 ms
    drive=lambda rng: volley(rng, 600, 85, (100, 400)),
    into=lambda rng: (rng.random((40, 85)) < 0.9).astype(float),
)


def volley(rng: Generator, steps: int, lines: int, at: tuple[int, ...]) -> np.ndarray:
    """Every line fires once about each of some steps, with a deviation of ten."""
    x = np.zeros((steps, lines))
    for centre in at:
        x[np.rint(rng.normal(centre, 10, lines)).astype(int), np.arange(lines)] = 1
    return x


HOMEOSTASIS = Published(
    name="spike_based_homeostasis (its neuron)",
    source="Brian2 example",
    link=f"{DOCS}/examples/synapses.spike_based_homeostasis.html",
    equations="dv/dt = (0 - v)/tau : 1 (unless refractory)",
    spike="v > 1",
    reset="v = -1",
    refractory=1 * ms,
    method="euler",
    parameters=dict(tau=10 * ms),
    jumps={"v": 1.0},
    width="1",
    n=20,
    dt=DT,
    steps=1000,
    # the fixed weight of one source, and what the plastic one of another may come to
    drive=spikes(1000, 40, 0.02),
    into=lambda rng: np.concatenate([2 * np.eye(20), np.diag(np.arange(20) * 0.05)], axis=1),
)

MODELS = (
    LIF, INTRO_NEURONS, INTRO_SYNAPSES, ADAPTIVE, PHASE_LOCKING, BRETTE_2004, GAP_JUNCTIONS, BRUNEL, CUBA, STDP, HOMEOSTASIS, SYNFIRE,
)  # fmt: skip
