"""Membranes with a spike's upstroke or a threshold of its own, and a reset: quadratic, exponential, adaptive."""

from __future__ import annotations

import numpy as np
from brian2 import ms, mV, nA, nS, pA, pF, second
from numpy.random import Generator

from .model import Published, beside, dyadic, held, spikes

DT = 0.1 * ms
UPSTROKE = "the upstroke of a spike amplifies the last bit"
SPREAD = np.random.default_rng(5).random(20)

IZHIKEVICH_2003 = Published(
    name="Simple model of spiking neurons",
    source="Izhikevich 2003",
    link="https://doi.org/10.1109/TNN.2003.820440",
    equations="""
    dv/dt = (0.04*v**2 + 5*v + 140 - u + I + I_noise )/ms : 1
    du/dt = (a*(b*v - u))/ms  : 1
    I : 1
    I_noise : 1
    a : 1
    b : 1
    c : 1
    d : 1
    """,
    spike="v>=30",
    reset="v=c; u+=d",
    method="euler",
    # sixteen excitatory neurons, four inhibitory ones
    parameters=dict(
        a=np.where(np.arange(20) < 16, 0.02, 0.02 + 0.08 * SPREAD),
        b=np.where(np.arange(20) < 16, 0.2, 0.25 - 0.05 * SPREAD),
        c=np.where(np.arange(20) < 16, -65 + 15 * SPREAD**2, -65),
        d=np.where(np.arange(20) < 16, 8 - 6 * SPREAD**2, 2),
    ),
    start={"v": -65, "u": -65 * np.where(np.arange(20) < 16, 0.2, 0.25 - 0.05 * SPREAD)},
    inputs={"I": 1.0, "I_noise": 1.0},
    width="30",
    n=20,
    dt=1 * ms,
    steps=1000,
    drive=beside(held(1000, 20, -2, 6, every=20), lambda rng: rng.normal(size=(1000, 20))),
    into=lambda rng: np.diag(np.concatenate([np.ones(20), np.where(np.arange(20) < 16, 5, 2)])),
    bound=1e-10,
    because=UPSTROKE,
)

#: of the paper's table, as its figures show them: c_m, g_l, e_l, a, tau_w, b, v_r, i_stim
PATTERNS = np.array([
    (200, 10, -70, 2, 30, 0, -58, 500), (200, 12, -70, 2, 300, 60, -58, 500), (130, 18, -58, 4, 150, 120, -50, 400),
    (200, 10, -58, 2, 120, 100, -46, 210), (200, 12, -70, -10, 300, 0, -58, 300), (100, 10, -65, -10, 90, 30, -47, 110),
    (100, 10, -65, 10, 90, 100, -47, 180), (100, 12, -60, -11, 130, 30, -48, 160),
], dtype=float).T  # fmt: skip

NAUD = Published(
    name="Firing patterns of the adaptive exponential neuron",
    source="Naud et al. 2008",
    link="https://doi.org/10.1007/s00422-008-0264-7",
    equations="""
    dvm/dt = (g_l*(e_l - vm) + g_l*d_t*exp((vm-v_t)/d_t) + i_stim - w)/c_m : volt
    dw/dt  = (a*(vm - e_l) - w)/tau_w : amp
    """,
    spike="vm > 0*mV",
    reset="vm = v_r; w += b",
    method="euler",
    parameters=dict(
        c_m=PATTERNS[0] * pF, g_l=PATTERNS[1] * nS, e_l=PATTERNS[2] * mV, v_t=-50 * mV, d_t=2 * mV, a=PATTERNS[3] * nS, tau_w=PATTERNS[4] * ms,
        b=PATTERNS[5] * pA, v_r=PATTERNS[6] * mV,
    ),
    start={"vm": PATTERNS[2] * mV},
    inputs={"i_stim": pA},
    n=8,
    dt=DT,
    steps=2000,
    drive=lambda rng: np.tile(PATTERNS[7], (2000, 1)),
    bound=1e-7,
    because=UPSTROKE,
    margin=1e-12,  # of the million volts that a spike is high in its last step
)  # fmt: skip

TOUBOUL = Published(
    name="Chaos in the adaptive exponential neuron",
    source="Touboul & Brette 2008",
    link="https://doi.org/10.1007/s00422-008-0267-4",
    equations="""
    dvm/dt=(gL*(EL-vm)+gL*DeltaT*exp((vm-VT)/DeltaT)+I-w)/C : volt
    dw/dt=(a*(vm-EL)-w)/tauw : amp
    Vr:volt
    """,
    spike="vm > Vcut",
    reset="vm = Vr; w += b",
    method="euler",
    parameters=dict(
        C=281 * pF, gL=30 * nS, EL=-70.6 * mV, VT=-50.4 * mV, DeltaT=2 * mV, tauw=40 * ms, a=4 * nS, b=0.08 * nA, Vcut=-40.4 * mV,
        Vr=np.linspace(-48.3, -47.7, 20) * mV,
    ),
    start={"vm": -70.6 * mV},
    inputs={"I": nA},
    n=20,
    dt=0.01 * ms,
    steps=1500,
    drive=lambda rng: np.tile(np.linspace(0.8, 3, 20), (1500, 1)),
)  # fmt: skip

PLATKIEWICZ = Published(
    name="Threshold that follows the membrane",
    source="Platkiewicz & Brette 2011",
    link="https://doi.org/10.1371/journal.pcbi.1001129",
    equations="""
    dv/dt=(EL-v+mu+sigma*I)/tau : volt
    dtheta/dt=(vT+a*clip(v-Vi, 0*mV, inf*mV)-theta)/tauh : volt
    dI/dt=-I/tauI+(2/tauI)**.5*xi : 1 # Ornstein-Uhlenbeck
    """,
    spike="v>theta",
    reset="v=EL",
    refractory=5 * ms,
    method="euler",
    parameters=dict(
        EL=-70 * mV, mu=15 * mV, sigma=6 * mV * 2**0.5, tau=5 * ms, vT=-55 * mV, a=5 / 6, Vi=-63 * mV, tauh=5 * ms, tauI=5 * ms
    ),
    start={"v": -70 * mV, "theta": -55 * mV},
    jumps={"v": mV},
    n=40,
    dt=DT,
    steps=1000,
)  # fmt: skip


def sorted_by_sign(there: np.ndarray, excitatory: int) -> np.ndarray:
    """Who reaches whom, onto two channels: the first neurons onto the first, the others onto the second."""
    inhibitory = np.arange(len(there)) >= excitatory
    return np.concatenate([there & ~inhibitory, there & inhibitory]).astype(float)


KREMER = Published(
    name="Direction maps in barrel cortex (its layer 2/3)",
    source="Kremer et al. 2011",
    link="https://doi.org/10.1523/JNEUROSCI.6541-10.2011",
    equations="""
    dv/dt=(ge+gi+El-v)/taum : volt
    dge/dt=-ge/taue : volt
    dgi/dt=-gi/taui : volt
    dvt/dt=(Vt-vt)/tauvt : volt
    barrel_idx : integer
    x : 1
    y : 1
    """,
    spike="v>vt",
    reset="v = El; vt += vt_inc",
    refractory=2 * ms,
    method="euler",
    parameters=dict(
        taum=10 * ms, taue=2 * ms, taui=25 * ms, El=-70 * mV, Vt=-55 * mV, vt_inc=2 * mV, tauvt=50 * ms,
        barrel_idx=np.arange(20) // 10, x=np.arange(20) % 5 / 5, y=np.arange(20) // 5 / 4,
    ),
    start={"v": -70 * mV, "vt": -55 * mV},
    # the currents whose potentials are 1 mV and −1 mV high
    jumps={"ge": mV * (2 / 10) ** (10 / (2 - 10)), "gi": -mV * (25 / 10) ** (10 / (25 - 10))},
    n=20,
    dt=DT,
    steps=1000,
    drive=spikes(1000, 60, 0.05),
    into=lambda rng: np.concatenate([rng.integers(0, 5, (20, 60)) / 4, np.zeros((20, 60))]),
    recurrent=lambda rng: sorted_by_sign(rng.random((20, 20)) < 0.3, 15),
)  # fmt: skip

DOPAMINE = Published(
    name="Distal reward (its neuron)",
    source="Izhikevich 2007",
    link="https://doi.org/10.1093/cercor/bhl152",
    equations="""
    dv/dt = (ge * (Ee-v) + El - v) / taum : volt
    dge/dt = -ge / taue : 1
    """,
    spike="v>vt",
    reset="v = vr",
    method="euler",
    parameters=dict(taum=10 * ms, Ee=0 * mV, vt=-54 * mV, vr=-60 * mV, El=-74 * mV, taue=5 * ms),
    start={"v": -60 * mV},
    jumps={"v": 100 * mV, "ge": 1.0},
    n=20,
    dt=DT,
    steps=1000,
    drive=beside(spikes(1000, 20, 0.004), spikes(1000, 20, 0.01)),
    into=lambda rng: np.diag(np.concatenate([np.arange(1, 21) / 16, np.full(20, 0.25)])),
    recurrent=lambda rng: np.concatenate([np.zeros((20, 20)), np.eye(20, k=-1) / 8]),
)


def either_sign(rng: Generator) -> np.ndarray:
    """Who reaches whom, by chance and with strengths of either sign."""
    return dyadic(rng.normal(size=(20, 20)) * (rng.random((20, 20)) < 0.3) / 4)


NICOLA = Published(
    name="FORCE training of spiking neurons (its neuron)",
    source="Nicola & Clopath 2017",
    link="https://doi.org/10.1038/s41467-017-01827-3",
    original="""
    dv/dt = (-v + BIAS + IPSC + E*z)/tm: 1 (unless refractory)
    dIPSC/dt = -IPSC/tr + h : 1
    dh/dt = -h/td : 1/second
    dr/dt = -r/tr + hr : 1
    dhr/dt = -hr/td : 1/second
    BPhi : 1
    z : 1 (shared)
    E : 1
    """,
    equations="""
    dv/dt = (-v + BIAS + IPSC + E*z)/tm: 1 (unless refractory)
    dIPSC/dt = -IPSC/tr + h : 1
    dh/dt = -h/td : 1/second
    dr/dt = -r/tr + hr : 1
    dhr/dt = -hr/td : 1/second
    BPhi : 1
    z : 1
    E : 1
    """,
    spike="v>=vpeak",
    reset="v=vreset; hr += 1/(tr*td)*second",
    refractory=2 * ms,
    method="euler",
    parameters=dict(td=20 * ms, tr=2 * ms, tm=10 * ms, vreset=-65, vpeak=-40, BIAS=-40, BPhi=0.0 * SPREAD, E=(2 * SPREAD - 1) * 10),
    start={"v": -65 + 95 * SPREAD[::-1]},
    inputs={"z": 1.0},
    jumps={"h": second / (20 * ms * 2 * ms)},
    width="20",
    named="`(shared)` is left out behind the input channel `z`",
    n=20,
    dt=0.05 * ms,
    steps=1000,
    drive=beside(lambda rng: np.sin(2 * np.pi * 5 * np.arange(1000)[:, None] * 5e-5 + 1), spikes(1000, 20, 0.01)),
    into=lambda rng: np.block([[np.ones((20, 1)), np.zeros((20, 20))], [np.zeros((20, 1)), np.eye(20) / 4]]),
    recurrent=lambda rng: np.concatenate([np.zeros((20, 20)), either_sign(rng)]),
)  # fmt: skip

MODELS = (IZHIKEVICH_2003, NAUD, TOUBOUL, PLATKIEWICZ, KREMER, DOPAMINE, NICOLA)
