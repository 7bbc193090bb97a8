"""Membranes that adapt to their own spikes."""

from __future__ import annotations

import numpy as np
from brian2 import ms, mV, nA, nS, pF

from .model import Published, held

ADEX = Published(
    name="Adaptive exponential integrate-and-fire",
    source="Brette & Gerstner 2005",
    link="https://doi.org/10.1152/jn.00686.2005",
    equations="""
    dvm/dt = (gL*(EL - vm) + gL*DeltaT*exp((vm - VT)/DeltaT) + I - w)/C : volt
    dw/dt = (a*(vm - EL) - w)/tauw : amp
    I : amp
    """,
    spike="vm>Vcut",
    reset="vm=Vr; w+=b",
    method="euler",
    # regular, bursting and fast spiking by turns
    parameters=dict(
        C=281 * pF, gL=30 * nS, EL=-70.6 * mV, VT=-50.4 * mV, DeltaT=2 * mV, Vcut=-40.4 * mV,
        tauw=np.resize([144, 20, 144], 24) * ms, a=np.resize([4, 4, 2 * 281 / 144], 24) * nS,
        b=np.resize([0.0805, 0.5, 0], 24) * nA, Vr=np.resize([-70.6, -45.4, -70.6], 24) * mV,
    ),
    start={"vm": -70.6 * mV},
    inputs={"I": nA},
    n=24,
    dt=0.1 * ms,
    steps=1000,
    drive=held(1000, 24, 0.6, 1.8, every=200),
    bound=1e-9,
    because="the upstroke of a spike amplifies the last bit",
)  # fmt: skip

MODELS = (ADEX,)
