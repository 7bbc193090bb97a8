"""Populations and units that have a rate."""

from __future__ import annotations

import numpy as np
from brian2 import ms

from .model import Published, held

WRITTEN = "written here, after the publication's equations"

CHAOS = Published(
    name="Chaos in a random network",
    source="Sompolinsky, Crisanti & Sommers 1988",
    link="https://doi.org/10.1103/PhysRevLett.61.259",
    equations="dh/dt = (-h + field)/tau : 1",
    output="tanh(h)",
    parameters=dict(tau=10 * ms),
    inputs={"field": 1.0},
    named=WRITTEN,
    n=40,
    dt=0.1 * ms,
    steps=1000,
    # driven for 5 ms, then left to itself
    drive=lambda rng: np.where(np.arange(1000)[:, None] < 50, rng.normal(size=40) * 4, 0),
    recurrent=lambda rng: 2 * rng.normal(size=(40, 40)) / np.sqrt(40) * (1 - np.eye(40)),
)

WILSON_COWAN = Published(
    name="Excitatory and inhibitory populations",
    source="Wilson & Cowan 1972",
    link="https://doi.org/10.1016/S0006-3495%2872%2986068-5",
    equations="""
    dE/dt = (-E + (1 - r*E)*(1/(1 + exp(-a_e*(c_1*E - c_2*I + P - theta_e))) - 1/(1 + exp(a_e*theta_e))))/tau : 1
    dI/dt = (-I + (1 - r*I)*(1/(1 + exp(-a_i*(c_3*E - c_4*I - theta_i))) - 1/(1 + exp(a_i*theta_i))))/tau : 1
    """,
    output="E",
    method="rk2",
    # the oscillation of the publication's figure 11; its time is in units of tau
    parameters=dict(
        tau=10 * ms, r=1.0, c_1=16.0, c_2=12.0, c_3=15.0, c_4=3.0, a_e=1.3, a_i=2.0, theta_e=4.0, theta_i=3.7
    ),
    start={"E": 0.1, "I": 0.05},
    inputs={"P": 1.25},
    named=WRITTEN,
    n=20,
    dt=0.1 * ms,
    steps=1000,
    drive=held(1000, 20, 0.8, 1.4, every=200),
)

MODELS = (CHAOS, WILSON_COWAN)
