"""Neurons, rates and others whose text has white noise: Brian2's own `xi`, the numbers that it draws."""

from __future__ import annotations

import numpy as np
from brian2 import mmolar, ms, mV, pA, second, umolar
from numpy.random import Generator

from .model import Published, spikes

DOCS = "https://brian2.readthedocs.io/en/stable"
DT = 0.1 * ms

BRUNEL_HAKIM = Published(
    name="Fast oscillations of inhibited neurons",
    source="Brunel & Hakim 1999",
    link="https://doi.org/10.1162/089976699300016179",
    equations="""
    dV/dt = (-V+muext + sigmaext * sqrt(tau) * xi)/tau : volt
    """,
    spike="V>theta",
    reset="V=Vr",
    refractory=2 * ms,
    method="euler",
    parameters=dict(Vr=10 * mV, theta=20 * mV, tau=20 * ms, muext=25 * mV, sigmaext=1 * mV),
    start={"V": 10 * mV},
    jumps={"V": -0.1 * mV},
    n=40,
    dt=DT,
    steps=1000,
    # a fifth of them inhibit a neuron, as in the publication, but some 8 in place of 1000, each as strongly as 125; 2 ms on the way
    recurrent=lambda rng: 125 * (rng.random((40, 40)) < 0.2),
    delay=20,
)

NON_RELIABILITY = Published(
    name="non_reliability",
    source="Brian2 example",
    link=f"{DOCS}/examples/non_reliability.html",
    equations="""
    dx/dt = (1.1 - x) / tau + sigma * (2 / tau)**.5 * xi : 1 (unless refractory)
    """,
    spike="x > 1",
    reset="x = 0",
    refractory=5 * ms,
    method="euler",
    parameters=dict(tau=20 * ms, sigma=0.015),
    jumps={"x": 1.0},
    width="1",
    n=25,
    dt=DT,
    steps=2000,
)

COMMON = Published(
    name="Reliability of spike timing (the input)",
    source="Brette & Guigon 2003",
    link="https://doi.org/10.1162/089976603762552924",
    equations="""
    dx/dt = -x/taux + (2/taux)**.5*xi : 1
    """,
    output="x",
    method="euler",
    parameters=dict(taux=20 * ms),
    jumps={"x": 1.0},
    n=20,
    dt=DT,
    steps=1000,
)


def fluctuating(rng: Generator) -> np.ndarray:
    """One path of the input."""
    x = np.zeros((2000, 1))
    for k, normal in enumerate(rng.normal(size=1999)):
        x[k + 1] = x[k] * (1 - 0.1 / 20) + (2 * 0.1 / 20) ** 0.5 * normal
    return x


#: as it is published; a variable that is another group's is for networks
LINKED = """
    dv/dt = (v*I + 1)/tau + sigma*(2/tau)**.5*xi : 1
    I = 0.5 + 3*p*B : 1
    B = 2./(1 + exp(-2*x)) - 1 : 1 (shared)
    p : 1
    x : 1 (linked)
    """

RELIABLE = Published(
    name="Reliability of spike timing (the neurons)",
    source="Brette & Guigon 2003",
    link="https://doi.org/10.1162/089976603762552924",
    equations=LINKED.replace(" (shared)", "").replace(" (linked)", ""),
    spike="v>1",
    reset="v=0",
    method="euler",
    parameters=dict(tau=33 * ms, sigma=0.02, p=np.arange(20) / 20),
    start={"v": 0.0},
    inputs={"x": 1.0},
    width="1",
    named="`(shared)` and `(linked)` are left out: `x` is an input channel",
    n=20,
    dt=DT,
    steps=2000,
    drive=fluctuating,
    into=lambda rng: np.ones((20, 1)),
)

JEFFRESS = Published(
    name="jeffress (its coincidence detectors)",
    source="Brian2 example",
    link=f"{DOCS}/examples/synapses.jeffress.html",
    equations="""
    dv/dt = -v / tau + sigma * (2 / tau)**.5 * xi : 1
    """,
    spike="v>1",
    reset="v = 0",
    method="euler",
    parameters=dict(tau=1 * ms, sigma=0.1),
    jumps={"v": 0.5},
    width="1",
    n=30,
    dt=0.02 * ms,
    steps=2000,
    drive=spikes(2000, 60, 0.01),
    into=lambda rng: np.tile(np.eye(30), 2),
)

SECONDS = 2e-5 * np.arange(2000)

LICKLIDER = Published(
    name="licklider (its receptors)",
    source="Brian2 example",
    link=f"{DOCS}/examples/synapses.licklider.html",
    original="""
    dx/dt = (sound-x)/tau_ear+0.1*(2./tau_ear)**.5*xi : 1 (unless refractory)
    sound = 5*sin(2*pi*frequency*t)**3 : 1 # nonlinear distortion
    frequency = (200+200*t*Hz)*Hz : Hz # increasing pitch
    """,
    equations="""
    dx/dt = (sound-x)/tau_ear+0.1*(2./tau_ear)**.5*xi : 1 (unless refractory)
    sound = 5*wave**3 : 1 # nonlinear distortion
    """,
    spike="x>1",
    reset="x=0",
    refractory=2 * ms,
    method="euler",
    parameters=dict(tau_ear=1 * ms),
    inputs={"wave": 1.0},
    width="1",
    named="`sin(2*pi*frequency*t)` is the input channel `wave`",
    n=20,
    dt=0.02 * ms,
    steps=2000,
    drive=lambda rng: np.sin(2 * np.pi * (200 + 200 * SECONDS) * SECONDS)[:, None],
    into=lambda rng: np.ones((20, 1)),
)

SPREIZER = Published(
    name="Sequences in space (its neuron)",
    source="Spreizer, Aertsen & Kumar 2019",
    link="https://doi.org/10.1371/journal.pcbi.1007432",
    equations="""
    dv/dt = (E-v)/tau_m + (noise + I_syn)/C : volt (unless refractory)
    I_syn :  amp
    noise  = mu + sigma*sqrt(noise_dt)*xi_pop: amp

    mu               : amp (shared)
    sigma            : amp (shared)
    noise_dt = 1*ms  : second (shared)
    C = 250*pF       : farad (shared)
    tau_m = 10*ms      : second (shared)
    E = -70*mV       : volt (shared)
    """,
    spike="v > -55*mV",
    reset="v = -70*mV",
    refractory=2 * ms,
    method="euler",
    parameters=dict(mu=700 * pA, sigma=100 * pA),
    start={"v": -70 * mV},
    inputs={"I_syn": pA},
    n=20,
    dt=DT,
    steps=1000,
    drive=lambda rng: np.full((1000, 1), -10.0),
    into=lambda rng: np.arange(20.0)[:, None],
)

ORNSTEIN_UHLENBECK = Published(
    name="Ornstein_Uhlenbeck",
    source="Longtin 2010",
    link="https://doi.org/10.4249/scholarpedia.1619",
    equations="""
    tau : second
    sigma : 1
    dy/dt = -y/tau + sqrt(2*sigma**2/tau)*xi : 1
    """,
    output="y",
    method="euler",
    parameters=dict(tau=np.tile([1, 0.1], 5) * second, sigma=np.tile([0.1, 0.31622], 5)),
    start={"y": 1},
    jumps={"y": 1.0},
    n=10,
    dt=0.5 * ms,
    steps=2000,
)

GEOMETRIC = {
    method: Published(
        name=f"stochastic_odes ({method})",
        source="Brian2 example",
        link=f"{DOCS}/examples/advanced.stochastic_odes.html",
        equations="dX/dt = (mu - 0.5*second*sigma**2)*X + X*sigma*xi*second**.5: 1",
        output="X",
        method=method,
        parameters=dict(mu=0.5 / second, sigma=0.1 / second),
        start={"X": 1},
        jumps={"X": 1.0},
        n=10,
        dt=1 * ms,
        steps=1000,
    )
    for method in ("milstein", "heun")
}

ASTROCYTE = Published(
    name="Neurons beside glia (the astrocyte)",
    source="Stimberg et al. 2018",
    link="https://doi.org/10.1101/198366",
    equations="""
    # Fraction of activated astrocyte receptors:
    dGamma_A/dt = O_N * Y_S * (1 - Gamma_A) -
                  Omega_N*(1 + zeta * C/(C + K_KC)) * Gamma_A : 1

    # IP_3 dynamics:
    dI/dt = J_beta + J_delta - J_3K - J_5P + J_ex     : mmolar
    J_beta = O_beta * Gamma_A                         : mmolar/second
    J_delta = O_delta/(1 + I/kappa_delta) *
                             C**2/(C**2 + K_delta**2) : mmolar/second
    J_3K = O_3K * C**4/(C**4 + K_D**4) * I/(I + K_3K) : mmolar/second
    J_5P = Omega_5P*I                                 : mmolar/second
    delta_I_bias = I - I_bias : mmolar
    J_ex = -F_ex/2*(1 + tanh((abs(delta_I_bias) - I_Theta)/omega_I)) *
                    sign(delta_I_bias)                : mmolar/second
    I_bias                                            : mmolar (constant)

    # Ca^2+-induced Ca^2+ release:
    dC/dt = J_r + J_l - J_p                : mmolar
    # IP3R de-inactivation probability
    dh/dt = (h_inf - h_clipped)/tau_h *
            (1 + noise*xi*tau_h**0.5)      : 1
    h_clipped = clip(h,0,1)                : 1
    J_r = (Omega_C * m_inf**3 * h_clipped**3) *
          (C_T - (1 + rho_A)*C)            : mmolar/second
    J_l = Omega_L * (C_T - (1 + rho_A)*C)  : mmolar/second
    J_p = O_P * C**2/(C**2 + K_P**2)       : mmolar/second
    m_inf = I/(I + d_1) * C/(C + d_5)      : 1
    h_inf = Q_2/(Q_2 + C)                  : 1
    tau_h = 1/(O_2 * (Q_2 + C))            : second
    Q_2 = d_2 * (I + d_1)/(I + d_3)        : mmolar

    # Neurotransmitter concentration in the extracellular space
    Y_S     : mmolar
    # Noise flag
    noise   : 1 (constant)
    """,
    output="h",
    method="milstein",
    parameters=dict(
        O_P=0.9 * umolar / second, K_P=0.1 * umolar, C_T=2 * umolar, rho_A=0.18, Omega_C=6 / second, Omega_L=0.1 / second,
        d_1=0.13 * umolar, d_2=1.05 * umolar, O_2=0.2 / umolar / second, d_3=0.9434 * umolar, d_5=0.08 * umolar,
        O_beta=5 * umolar / second, O_N=0.3 / umolar / second, Omega_N=0.5 / second, K_KC=0.5 * umolar, zeta=10,
        O_delta=0.2 * umolar / second, kappa_delta=1.5 * umolar, K_delta=0.3 * umolar, Omega_5P=0.1 / second, K_D=0.5 * umolar,
        K_3K=1 * umolar, O_3K=4.5 * umolar / second, F_ex=0.09 * umolar / second, I_Theta=0.3 * umolar, omega_I=0.05 * umolar,
        I_bias=0 * mmolar, noise=np.arange(8) % 2,
    ),
    start={"h": 0.9},
    inputs={"Y_S": umolar},
    n=8,
    dt=1 * ms,
    steps=2000,
    # a release every half second, cleared from the cleft with a time constant of 25 ms
    drive=lambda rng: 500 * np.exp(-40e-3 * (np.arange(2000) % 500))[:, None],
    into=lambda rng: np.linspace(0.25, 2, 8)[:, None],
    slow=True,
)  # fmt: skip

GRAUPNER = Published(
    name="Plasticity by calcium (a synapse)",
    source="Graupner & Brunel 2012",
    link="https://doi.org/10.1073/pnas.1109359109",
    original="""
    tau      : second (constant, shared)
    rho_star : 1      (constant, shared)
    gamma_p  : 1      (constant, shared)
    theta_p  : 1      (constant, shared)
    gamma_d  : 1      (constant, shared)
    theta_d  : 1      (constant, shared)
    drho/dt = (-rho*(1-rho)*(rho_star-rho)
               + gamma_p*(1-rho)*int((c - theta_p) > 0)
               - gamma_d*rho*int((c-theta_d) > 0)
               + sigma*sqrt(tau)*sqrt(int((c-theta_d) > 0) + int((c-theta_p) > 0))*xi
               ) / tau : 1
    dc/dt = -c/tau_Ca  : 1
    tau_Ca : second (constant, shared)
    sigma  : 1      (constant, shared)
    """,
    equations="""
    tau      : second (constant, shared)
    rho_star : 1      (constant, shared)
    gamma_p  : 1      (constant, shared)
    theta_p  : 1      (constant, shared)
    gamma_d  : 1      (constant, shared)
    theta_d  : 1      (constant, shared)
    drho/dt = (-rho*(1-rho)*(rho_star-rho)
               + gamma_p*(1-rho)*int((c - theta_p) > 0)
               - gamma_d*rho*int((c-theta_d) > 0)
               + sigma*sqrt(tau)*sqrt(int((c-theta_d) > 0) + int((c-theta_p) > 0))*xi
               ) / tau : 1
    dc/dt = -c/tau_Ca  : 1
    tau_Ca : second (constant, shared)
    sigma  : 1      (constant, shared)
    """,
    output="rho",
    method="heun",
    parameters=dict(
        tau_Ca=20 * ms,
        theta_d=1,
        theta_p=1.3,
        gamma_d=200,
        gamma_p=321.808,
        sigma=2.8284,
        tau=150 * second,
        rho_star=0.5,
    ),
    start={"rho": np.arange(20) % 2},
    jumps={"c": 1.0},
    named="a synapse by itself: its equations without `(clock-driven)`; `on_pre` and `on_post` are two input lines",
    n=20,
    dt=1 * ms,
    steps=1000,
    drive=spikes(1000, 40, 0.02),
    into=lambda rng: np.concatenate([np.eye(20), 2 * np.eye(20)], axis=1),
)

MODELS = (
    BRUNEL_HAKIM, NON_RELIABILITY, COMMON, RELIABLE, JEFFRESS, LICKLIDER, SPREIZER, ORNSTEIN_UHLENBECK, *GEOMETRIC.values(), ASTROCYTE, GRAUPNER,
)  # fmt: skip
