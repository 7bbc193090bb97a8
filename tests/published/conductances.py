"""Membranes with channels that open and close, and with receptors."""

from __future__ import annotations

import numpy as np
from brian2 import (
    cm,
    kelvin,
    mM,
    ms,
    msiemens,
    mV,
    nA,
    nF,
    nM,
    nS,
    pA,
    pF,
    siemens,
    uF,
    ufarad,
    umetre,
)
from brian2.units.constants import faraday_constant, gas_constant, zero_celsius
from numpy.random import Generator

from .model import Published, dyadic, held, spikes

DOCS = "https://brian2.readthedocs.io/en/stable"
DT = 0.1 * ms
AREA = 20000 * umetre**2
TRAUB = dict(
    Cm=1 * ufarad * cm**-2 * AREA, gl=5e-5 * siemens * cm**-2 * AREA, EK=-90 * mV, ENa=50 * mV, VT=-63 * mV,
    g_na=100 * msiemens * cm**-2 * AREA, g_kd=30 * msiemens * cm**-2 * AREA,
)  # fmt: skip
UPSTROKE = "the upstroke of a spike amplifies the last bit"

HODGKIN_HUXLEY = Published(
    name="IF_curve_Hodgkin_Huxley",
    source="Brian2 example",
    link=f"{DOCS}/examples/IF_curve_Hodgkin_Huxley.html",
    equations="""
    dv/dt = (gl*(El-v) - g_na*(m*m*m)*h*(v-ENa) - g_kd*(n*n*n*n)*(v-EK) + I)/Cm : volt
    dm/dt = 0.32*(mV**-1)*4*mV/exprel((13.*mV-v+VT)/(4*mV))/ms*(1-m)-0.28*(mV**-1)*5*mV/exprel((v-VT-40.*mV)/(5*mV))/ms*m : 1
    dn/dt = 0.032*(mV**-1)*5*mV/exprel((15.*mV-v+VT)/(5*mV))/ms*(1.-n)-.5*exp((10.*mV-v+VT)/(40.*mV))/ms*n : 1
    dh/dt = 0.128*exp((17.*mV-v+VT)/(18.*mV))/ms*(1.-h)-4./(1+exp((40.*mV-v+VT)/(5.*mV)))/ms*h : 1
    I : amp
    """,
    spike="v > -40*mV",
    refractory="v > -40*mV",
    method="exponential_euler",
    parameters=TRAUB | dict(El=-65 * mV),
    start={"v": -65 * mV},
    inputs={"I": nA},
    n=12,
    dt=DT,
    steps=600,
    drive=lambda rng: np.tile(0.7 * np.arange(12) / 12, (600, 1)),
    bound=1e-8,
    because=UPSTROKE,
    slow=True,
)

INTRO_SIMULATIONS = Published(
    name="Introduction, part 3: simulations",
    source="Brian2 tutorial",
    link=f"{DOCS}/resources/tutorials/3-intro-to-brian-simulations.html",
    equations="""
    dv/dt = (gl*(El-v) - g_na*(m*m*m)*h*(v-ENa) - g_kd*(n*n*n*n)*(v-EK) + I)/Cm : volt
    dm/dt = 0.32*(mV**-1)*(13.*mV-v+VT)/
        (exp((13.*mV-v+VT)/(4.*mV))-1.)/ms*(1-m)-0.28*(mV**-1)*(v-VT-40.*mV)/
        (exp((v-VT-40.*mV)/(5.*mV))-1.)/ms*m : 1
    dn/dt = 0.032*(mV**-1)*(15.*mV-v+VT)/
        (exp((15.*mV-v+VT)/(5.*mV))-1.)/ms*(1.-n)-.5*exp((10.*mV-v+VT)/(40.*mV))/ms*n : 1
    dh/dt = 0.128*exp((17.*mV-v+VT)/(18.*mV))/ms*(1.-h)-4./(1+exp((40.*mV-v+VT)/(5.*mV)))/ms*h : 1
    I : amp
    """,
    spike="v > -40*mV",
    refractory="v > -40*mV",
    method="exponential_euler",
    parameters=TRAUB | dict(El=-65 * mV),
    start={"v": -65 * mV},
    inputs={"I": nA},
    n=10,
    dt=DT,
    steps=500,
    drive=held(500, 10, 0, 50, every=100),
    bound=1e-8,
    because=UPSTROKE,
)

COBAHH = Published(
    name="COBAHH",
    source="Brette et al. 2007",
    link="https://doi.org/10.1007/s10827-007-0038-6",
    equations="""
    dv/dt = (gl*(El-v)+ge*(Ee-v)+gi*(Ei-v)-
             g_na*(m*m*m)*h*(v-ENa)-
             g_kd*(n*n*n*n)*(v-EK))/Cm : volt
    dm/dt = alpha_m*(1-m)-beta_m*m : 1
    dn/dt = alpha_n*(1-n)-beta_n*n : 1
    dh/dt = alpha_h*(1-h)-beta_h*h : 1
    dge/dt = -ge*(1./taue) : siemens
    dgi/dt = -gi*(1./taui) : siemens
    alpha_m = 0.32*(mV**-1)*4*mV/exprel((13*mV-v+VT)/(4*mV))/ms : Hz
    beta_m = 0.28*(mV**-1)*5*mV/exprel((v-VT-40*mV)/(5*mV))/ms : Hz
    alpha_h = 0.128*exp((17*mV-v+VT)/(18*mV))/ms : Hz
    beta_h = 4./(1+exp((40*mV-v+VT)/(5*mV)))/ms : Hz
    alpha_n = 0.032*(mV**-1)*5*mV/exprel((15*mV-v+VT)/(5*mV))/ms : Hz
    beta_n = .5*exp((10*mV-v+VT)/(40*mV))/ms : Hz
    """,
    spike="v>-20*mV",
    refractory=3 * ms,
    method="exponential_euler",
    parameters=TRAUB | dict(El=-60 * mV, taue=5 * ms, taui=10 * ms, Ee=0 * mV, Ei=-80 * mV),
    start={
        "v": np.random.default_rng(0).normal(-65, 5, 12) * mV,
        "ge": np.random.default_rng(1).normal(40, 15, 12) * nS,
        "gi": np.random.default_rng(2).normal(200, 120, 12) * nS,
    },
    jumps={"ge": 6 * nS, "gi": 67 * nS},
    n=12,
    dt=DT,
    steps=600,
    drive=spikes(600, 40, 0.008),
    into=lambda rng: np.concatenate([rng.random((12, 40)) < 0.4, np.zeros((12, 40))]).astype(float),
    recurrent=lambda rng: two_kinds(rng, 12, 10, 0.2),
    bound=1e-8,
    because=UPSTROKE,
    slow=True,
)


def two_kinds(rng: Generator, n: int, excitatory: int, chance: float) -> np.ndarray:
    """Who reaches whom: the first neurons onto the first channel, the others onto the second."""
    there, inhibitory = rng.random((n, n)) < chance, np.arange(n) >= excitatory
    return np.concatenate([there & ~inhibitory, there & inhibitory]).astype(float)


WORKING_MEMORY = Published(
    name="Working memory (its pyramidal cell)",
    source="Brunel & Wang 2001",
    link="https://doi.org/10.1023/A:1011204814320",
    equations="""
    dv / dt = (- g_m_E * (v - V_L) - I_syn) / C_m_E : volt (unless refractory)

    I_syn = I_AMPA_ext + I_AMPA_rec + I_NMDA_rec + I_GABA_rec : amp

    I_AMPA_ext = g_AMPA_ext_E * (v - V_E) * s_AMPA_ext : amp
    I_AMPA_rec = g_AMPA_rec_E * (v - V_E) * 1 * s_AMPA : amp
    ds_AMPA_ext / dt = - s_AMPA_ext / tau_AMPA : 1
    ds_AMPA / dt = - s_AMPA / tau_AMPA : 1

    I_NMDA_rec = g_NMDA_E * (v - V_E) / (1 + Mg2 * exp(-0.062 * v / mV) / 3.57) * s_NMDA_tot : amp
    s_NMDA_tot : 1

    I_GABA_rec = g_GABA_E * (v - V_I) * s_GABA : amp
    ds_GABA / dt = - s_GABA / tau_GABA : 1
    """,
    spike="v > V_thr",
    reset="v = V_reset",
    refractory=2 * ms,
    method="euler",
    parameters=dict(
        V_L=-70 * mV, V_thr=-50 * mV, V_reset=-55 * mV, V_E=0 * mV, V_I=-70 * mV, C_m_E=0.5 * nF, g_m_E=25 * nS, g_AMPA_ext_E=2.08 * nS,
        g_AMPA_rec_E=0.104 * nS, tau_AMPA=2 * ms, g_NMDA_E=0.327 * nS, g_GABA_E=1.25 * nS, tau_GABA=10 * ms, Mg2=1.0,
    ),
    start={"v": np.linspace(-70, -51, 20) * mV},
    inputs={"s_NMDA_tot": 1.0},
    jumps={"s_AMPA_ext": 1.0, "s_AMPA": 1.0, "s_GABA": 1.0},
    n=20,
    dt=DT,
    steps=1000,
    # what the neurons' own NMDA gates add up to, then external spikes, and those of neighbours
    drive=lambda rng: np.concatenate([held(1000, 20, 0, 120)(rng), spikes(1000, 140, 0.012)(rng)], axis=1),
    into=lambda rng: receptors(rng, 20, (80, 40, 20)),
    recurrent=lambda rng: np.concatenate(
        [np.zeros((40, 20)), (np.arange(20) < 16) * dyadic(rng.random((20, 20))), (np.arange(20) >= 16) * np.ones((20, 20))]
    ),
)  # fmt: skip


def receptors(rng: Generator, n: int, lines: tuple[int, ...]) -> np.ndarray:
    """A line of its own for each neuron's current, then groups of lines, each of which jumps the next channel of half of the neurons."""
    U = np.zeros(((1 + len(lines)) * n, n + sum(lines)))
    U[:n, :n], column = np.eye(n), n
    for k, many in enumerate(lines, 1):
        U[k * n : (k + 1) * n, column : column + many] = rng.random((n, many)) < 0.5
        column += many
    return U


CLOPATH = Published(
    name="Voltage-based STDP (its neuron)",
    source="Clopath et al. 2010",
    link="https://doi.org/10.1038/nn.2479",
    equations="""
    dv/dt = (gleak*(V_rest-v) + I_ext + I_syn)/C: volt
    dv_lowpass1/dt = (v-v_lowpass1)/tau_lowpass1 : volt
    dv_lowpass2/dt = (v-v_lowpass2)/tau_lowpass2 : volt
    I_ext : amp
    I_syn = g_ampa*(E_AMPA-v): amp
    dg_ampa/dt = -g_ampa/tau_AMPA : siemens
    dx_trace/dt = -x_trace/taux :1
    """,
    spike="v>V_thresh",
    reset="v=V_rest;x_trace+=x_reset/(taux/ms)",
    method="euler",
    parameters=dict(
        gleak=30 * nS, C=300 * pF, V_rest=-70 * mV, V_thresh=-50 * mV, E_AMPA=0 * mV, tau_AMPA=2 * ms, taux=15 * ms, x_reset=1.0,
        tau_lowpass1=40 * ms, tau_lowpass2=30 * ms,
    ),
    start={"v": -70 * mV, "v_lowpass1": -70 * mV, "v_lowpass2": -70 * mV},
    inputs={"I_ext": nA},
    jumps={"g_ampa": 5e-10 * siemens},
    n=20,
    dt=DT,
    steps=1000,
    drive=lambda rng: np.concatenate([held(1000, 20, 0, 1.5)(rng), spikes(1000, 20, 0.02)(rng)], axis=1),
    recurrent=lambda rng: np.concatenate([np.zeros((20, 20)), 4 * dyadic(rng.random((20, 20)))]),
)  # fmt: skip

THALAMIC = Published(
    name="Thalamic relay cell (one compartment)",
    source="Destexhe et al. 1998",
    link="https://doi.org/10.1523/JNEUROSCI.18-10-03574.1998",
    equations="""
    dv/dt = (Im + I_inj/area)/Cm : volt
    Im = gl*(El-v) - I_Na - I_K - I_T: amp/meter**2
    I_inj : amp
    gl : siemens/meter**2

    g_Na : siemens/meter**2
    g_K : siemens/meter**2
    I_Na = g_Na * m**3 * h * (v-E_Na) : amp/meter**2
    I_K = g_K * n**4 * (v-E_K) : amp/meter**2
    v2 = v - VT : volt
    dm/dt = (0.32*(mV**-1)*(13.*mV-v2)/
            (exp((13.*mV-v2)/(4.*mV))-1.)*(1-m)-0.28*(mV**-1)*(v2-40.*mV)/
            (exp((v2-40.*mV)/(5.*mV))-1.)*m) / ms * tadj_HH: 1
    dn/dt = (0.032*(mV**-1)*(15.*mV-v2)/
            (exp((15.*mV-v2)/(5.*mV))-1.)*(1.-n)-.5*exp((10.*mV-v2)/(40.*mV))*n) / ms * tadj_HH: 1
    dh/dt = (0.128*exp((17.*mV-v2)/(18.*mV))*(1.-h)-4./(1+exp((40.*mV-v2)/(5.*mV)))*h) / ms * tadj_HH: 1

    I_T = P_Ca * m_T**2*h_T * G_Ca : amp/meter**2
    P_Ca : meter/second
    G_Ca = Z_Ca**2*F*v*gamma*(Ca_i - Ca_o*exp(-Z_Ca*gamma*v))/(1 - exp(-Z_Ca*gamma*v)) : coulomb/meter**3
    dm_T/dt = -(m_T - m_T_inf)/tau_m_T : 1
    dh_T/dt = -(h_T - h_T_inf)/tau_h_T : 1
    m_T_inf = 1/(1 + exp(-(v/mV + 56)/6.2)) : 1
    h_T_inf = 1/(1 + exp((v/mV + 80)/4)) : 1
    tau_m_T = (0.612 + 1.0/(exp(-(v/mV + 131)/16.7) + exp((v/mV + 15.8)/18.2))) * ms / tadj_m_T: second
    tau_h_T = (int(v<-81*mV) * exp((v/mV + 466)/66.6) +
               int(v>=-81*mV) * (28 + exp(-(v/mV + 21)/10.5))) * ms / tadj_h_T: second
    """,
    spike="v > -20*mV",
    refractory="v > -40*mV",
    method="euler",
    parameters=dict(
        El=-76.5 * mV, E_Na=50 * mV, E_K=-100 * mV, VT=-52 * mV, F=faraday_constant, Z_Ca=2.0, Ca_i=240 * nM, Ca_o=2 * mM, Cm=0.88 * uF / cm**2,
        gamma=faraday_constant / (gas_constant * (34 * kelvin + zero_celsius)), tadj_HH=3.0 ** ((34 - 36) / 10.0),
        tadj_m_T=2.5 ** ((34 - 24) / 10.0), tadj_h_T=2.5 ** ((34 - 24) / 10.0), area=np.pi * 38.42 * 26 * umetre**2,
        gl=0.0379 * msiemens / cm**2, g_Na=100 * msiemens / cm**2, g_K=100 * msiemens / cm**2, P_Ca=np.linspace(1.7e-5, 9.5e-5, 10) * cm / (1000 * ms),
    ),
    start={"v": -84 * mV, "m_T": 0.02, "h_T": 0.7, "h": 1.0},
    inputs={"I_inj": pA},
    n=10,
    dt=0.01 * ms,
    steps=1500,
    drive=held(1500, 10, 100, 700, every=500),
    bound=1e-8,
    because=UPSTROKE,
    slow=True,
    named="one compartment of the cable: the line of `dv/dt` and the spike are added, `(point current)` left out; Euler's method",
)  # fmt: skip

AXON = Published(
    name="Squid axon (one compartment)",
    source="Hodgkin & Huxley 1952",
    link="https://doi.org/10.1113/jphysiol.1952.sp004764",
    equations="""
    dv/dt = (Im + I/area)/Cm : volt
    Im = gl * (El-v) + gNa * m**3 * h * (ENa-v) + gK * n**4 * (EK-v) : amp/meter**2
    I : amp
    dm/dt = alpham * (1-m) - betam * m : 1
    dn/dt = alphan * (1-n) - betan * n : 1
    dh/dt = alphah * (1-h) - betah * h : 1
    alpham = (0.1/mV) * 10*mV/exprel((-v+25*mV)/(10*mV))/ms : Hz
    betam = 4 * exp(-v/(18*mV))/ms : Hz
    alphah = 0.07 * exp(-v/(20*mV))/ms : Hz
    betah = 1/(exp((-v+30*mV) / (10*mV)) + 1)/ms : Hz
    alphan = (0.01/mV) * 10*mV/exprel((-v+10*mV)/(10*mV))/ms : Hz
    betan = 0.125*exp(-v/(80*mV))/ms : Hz
    gNa : siemens/meter**2
    """,
    spike="m > 0.5",
    refractory="m > 0.4",
    method="exponential_euler",
    parameters=dict(
        El=10.613 * mV, ENa=115 * mV, EK=-12 * mV, gl=0.3 * msiemens / cm**2, gNa=np.linspace(110, 130, 10) * msiemens / cm**2,
        gK=36 * msiemens / cm**2, Cm=1 * uF / cm**2, area=np.pi * 476 * umetre * 100 * umetre,
    ),
    start={"v": 0 * mV, "h": 1.0, "n": 0.5},
    inputs={"I": nA},
    width="0.5",
    n=10,
    dt=DT,
    steps=500,
    drive=held(500, 10, 10, 30, every=100),
    named="one compartment of the cable: the line of `dv/dt` is added, `(point current)` left out",
    bound=1e-8,
    because=UPSTROKE,
    slow=True,
)  # fmt: skip

COUPLED = Published(
    name="continuous_interaction",
    source="Börgers 2017",
    link="https://doi.org/10.1007/978-3-319-51171-9",
    equations="""
    alphah = 0.128 * exp(-(vm + 50.0*mV) / (18.0*mV))/ms :Hz
    alpham = 0.32/mV * (vm + 54*mV) / (1.0 - exp(-(vm + 54.0*mV) / (4.0*mV)))/ms:Hz
    alphan = 0.032/mV * (vm + 52*mV) / (1.0 - exp(-(vm + 52.0*mV) / (5.0*mV)))/ms:Hz

    betah  = 4.0 / (1.0 + exp(-(vm + 27.0*mV) / (5.0*mV)))/ms:Hz
    betam  = 0.28/mV * (vm + 27.0*mV) / (exp((vm + 27.0*mV) / (5.0*mV)) - 1.0)/ms:Hz
    betan  = 0.5 * exp(-(vm + 57.0*mV) / (40.0*mV))/ms:Hz

    membrane_Im = I_ext + gNa*m**3*h*(ENa-vm) +
                  gl*(El-vm) + gK*n**4*(EK-vm) + gSyn*s_in*(-vm): amp
    I_ext : amp
    s_in  : 1

    dm/dt = alpham*(1-m)-betam*m : 1
    dn/dt = alphan*(1-n)-betan*n : 1
    dh/dt = alphah*(1-h)-betah*h : 1

    ds/dt = 0.5 * (1 + tanh(0.1*vm/mV)) * (1-s)/tau_r - s/tau_d : 1

    dvm/dt = membrane_Im/C : volt
    """,
    output="s",
    method="exponential_euler",
    parameters=dict(
        El=-67 * mV, EK=-100 * mV, ENa=50 * mV, gl=0.1 * msiemens, gK=80 * msiemens, gNa=100 * msiemens, C=1 * ufarad, gSyn=1 * msiemens,
        tau_d=2 * ms, tau_r=0.2 * ms,
    ),
    start={"vm": np.linspace(-70, -65, 10) * mV, "h": 0.9, "n": 0.1},
    inputs={"I_ext": 1e3 * nA, "s_in": 1.0},
    n=10,
    dt=DT,
    steps=600,
    # the first five are driven, each gates a channel of one of the others
    drive=lambda rng: np.tile(np.where(np.arange(10) < 5, 1.5 + 0.1 * np.arange(10), 0), (600, 1)),
    into=lambda rng: np.eye(20, 10),
    recurrent=lambda rng: 0.25 * np.eye(20, 10, -15),
    bound=1e-8,
    because=UPSTROKE,
    slow=True,
)  # fmt: skip

MODELS = (HODGKIN_HUXLEY, INTRO_SIMULATIONS, COBAHH, WORKING_MEMORY, CLOPATH, THALAMIC, AXON, COUPLED)
