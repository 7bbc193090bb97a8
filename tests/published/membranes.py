"""Membranes without a threshold: channels, and oscillations that follow from them; and the rates of a cortical column."""

from __future__ import annotations

import numpy as np
from brian2 import mS, ms, msiemens, mV, nS, pA, pF, uA, uF
from numpy.random import Generator

from .model import Published, held

DT = 0.1 * ms
W_MAX = (60 * 100**2 / (100 - 1)) ** 0.5  # where plasticity and scaling balance
UPSTROKE = "the upstroke of a spike amplifies the last bit"

HINDMARSH_ROSE = Published(
    name="Bursts of three equations",
    source="Hindmarsh & Rose 1984",
    link="https://doi.org/10.1098/rspb.1984.0024",
    original="""
    dx/dt = (y - a*x**3 + b*x**2 + I - z)/time_unit : 1
    dy/dt = (c - d*x**2 - y)/time_unit : 1
    dz/dt = r*(s*(x - x_1) - z)/time_unit : 1
    I : 1 (constant)
    """,
    equations="""
    dx/dt = (y - a*x**3 + b*x**2 + I - z)/time_unit : 1
    dy/dt = (c - d*x**2 - y)/time_unit : 1
    dz/dt = r*(s*(x - x_1) - z)/time_unit : 1
    I : 1
    """,
    output="x",
    method="rk4",
    parameters=dict(a=1, b=3, c=1, d=5, r=0.001, s=4, x_1=-1.6, time_unit=1 * ms),
    start={"x": -1.6, "y": 1 - 5 * 1.6**2},
    inputs={"I": 1.0},
    named="`(constant)` is left out behind the input channel `I`",
    n=12,
    dt=DT,
    steps=1000,
    drive=lambda rng: np.tile(np.linspace(0.4, 4, 12), (1000, 1)),
    bound=1e-10,
    because=UPSTROKE,
    slow=True,
)

MORRIS_LECAR = Published(
    name="Voltage oscillations of the barnacle's muscle fibre",
    source="Morris & Lecar 1981",
    link="https://doi.org/10.1016/S0006-3495%2881%2984782-0",
    equations="""
    dV/dt = (-g_L*(V - V_L) - g_Ca*m_inf*(V - V_Ca) - g_K*n*(V - V_K) + I)/C : volt
    dn/dt = lambda_n*(n_inf - n) : 1
    m_inf = 0.5*(1 + tanh((V - V_1)/V_2)) : 1
    n_inf = 0.5*(1 + tanh((V - V_3)/V_4)) : 1
    lambda_n = lambda_n__max*cosh((V - V_3)/(2*V_4)) : Hz
    I : amp
    """,
    output="V/mV",
    method="exponential_euler",
    parameters=dict(
        g_L=2 * mS, g_Ca=4 * mS, g_K=8 * mS, V_L=-50 * mV, V_Ca=100 * mV, V_K=-70 * mV, lambda_n__max=1.0 / (15 * ms), V_1=10 * mV, V_2=15 * mV,
        V_3=-1 * mV, V_4=14.5 * mV, C=20 * uF,
    ),
    start={"V": -50 * mV, "n": 0.5 * (1 + np.tanh((-50 + 1) / 14.5))},
    inputs={"I": uA},
    n=17,
    dt=0.01 * ms,
    steps=1500,
    drive=lambda rng: np.tile(100.0 + 25 * np.arange(17), (1500, 1)),
)  # fmt: skip

WANG_BUZSAKI = Published(
    name="Gamma oscillation (its interneuron)",
    source="Wang & Buzsáki 1996",
    link="https://doi.org/10.1523/JNEUROSCI.16-20-06402.1996",
    equations="""
    dv/dt = (-gNa*m**3*h*(v-ENa)-gK*n**4*(v-EK)-gL*(v-EL)+Iapp)/Cm : volt
    m = alpha_m/(alpha_m+beta_m) : 1
    alpha_m = 0.1/mV*10*mV/exprel(-(v+35*mV)/(10*mV))/ms : Hz
    beta_m = 4*exp(-(v+60*mV)/(18*mV))/ms : Hz
    dh/dt = 5*(alpha_h*(1-h)-beta_h*h) : 1
    alpha_h = 0.07*exp(-(v+58*mV)/(20*mV))/ms : Hz
    beta_h = 1./(exp(-0.1/mV*(v+28*mV))+1)/ms : Hz
    dn/dt = 5*(alpha_n*(1-n)-beta_n*n) : 1
    alpha_n = 0.01/mV*10*mV/exprel(-(v+34*mV)/(10*mV))/ms : Hz
    beta_n = 0.125*exp(-(v+44*mV)/(80*mV))/ms : Hz
    """,
    output="v/mV",
    method="exponential_euler",
    parameters=dict(Cm=1 * uF, gL=0.1 * msiemens, EL=-65 * mV, ENa=55 * mV, EK=-90 * mV, gNa=35 * msiemens, gK=9 * msiemens),
    start={"v": -70 * mV, "h": 1},
    inputs={"Iapp": uA},
    n=12,
    dt=0.01 * ms,
    steps=1000,
    drive=lambda rng: np.tile(np.linspace(2, 24, 12), (1000, 1)),
    bound=1e-10,
    because=UPSTROKE,
    slow=True,  # Brian2's exprel, more than anything
)  # fmt: skip

#: of gna, gkht, gklt, gka, gh, gno and gl in nS: types I-c, I-t, I-II, II-I, II, and an octopus cell
CONDUCTANCES = np.array([
    (1000, 150, 0, 0, 0.5, 0, 2), (1000, 80, 0, 65, 0.5, 0, 2), (1000, 150, 20, 0, 2, 0, 2),
    (1000, 150, 35, 0, 3.5, 0, 2), (1000, 150, 200, 0, 20, 0, 2), (1000, 150, 600, 0, 0, 40, 2),
]).repeat(2, 0).T  # fmt: skip

ROTHMAN_MANIS = Published(
    name="Cells of the cochlear nucleus, six types",
    source="Rothman & Manis 2003",
    link="https://doi.org/10.1152/jn.00127.2002",
    equations="""
    dv/dt = (ileak + ina + ikht + iklt + ika + ih + ihcno + I)/C : volt
    vu = v/mV : 1
    I : amp
    ileak = gl*(El-v) : amp
    ika = gkabar*a**4*b*c*(EK-v): amp
    da/dt=q10*(ainf-a)/atau : 1
    db/dt=q10*(binf-b)/btau : 1
    dc/dt=q10*(cinf-c)/ctau : 1
    ainf = (1. / (1 + exp(-(vu + 31) / 6.)))**0.25 : 1
    binf = 1. / (1 + exp((vu + 66) / 7.))**0.5 : 1
    cinf = 1. / (1 + exp((vu + 66) / 7.))**0.5 : 1
    atau =  ((100. / (7*exp((vu+60) / 14.) + 29*exp(-(vu+60) / 24.))) + 0.1)*ms : second
    btau =  ((1000. / (14*exp((vu+60) / 27.) + 29*exp(-(vu+60) / 24.))) + 1)*ms : second
    ctau = ((90. / (1 + exp((-66-vu) / 17.))) + 10)*ms : second
    ina = gnabar*m**3*h*(ENa-v) : amp
    dm/dt=q10*(minf-m)/mtau : 1
    dh/dt=q10*(hinf-h)/htau : 1
    minf = 1./(1+exp(-(vu + 38.) / 7.)) : 1
    hinf = 1./(1+exp((vu + 65.) / 6.)) : 1
    mtau =  ((10. / (5*exp((vu+60.) / 18.) + 36.*exp(-(vu+60.) / 25.))) + 0.04)*ms : second
    htau =  ((100. / (7*exp((vu+60.) / 11.) + 10.*exp(-(vu+60.) / 25.))) + 0.6)*ms : second
    ih = ghbar*r*(Eh-v) : amp
    dr/dt=q10*(rinf-r)/rtau : 1
    rinf = 1. / (1+exp((vu + 76.) / 7.)) : 1
    rtau = ((100000. / (237.*exp((vu+60.) / 12.) + 17.*exp(-(vu+60.) / 14.))) + 25.)*ms : second
    iklt = gkltbar*w**4*z*(EK-v) : amp
    dw/dt=q10*(winf-w)/wtau : 1
    dz/dt=q10*(zinf-z)/ztau : 1
    winf = (1. / (1 + exp(-(vu + 48.) / 6.)))**0.25 : 1
    zinf = zss + ((1.-zss) / (1 + exp((vu + 71.) / 10.))) : 1
    wtau = ((100. / (6.*exp((vu+60.) / 6.) + 16.*exp(-(vu+60.) / 45.))) + 1.5)*ms : second
    ztau = ((1000. / (exp((vu+60.) / 20.) + exp(-(vu+60.) / 8.))) + 50)*ms : second
    ikht = gkhtbar*(nf*n**2 + (1-nf)*p)*(EK-v) : amp
    dn/dt=q10*(ninf-n)/ntau : 1
    dp/dt=q10*(pinf-p)/ptau : 1
    ninf =   (1 + exp(-(vu + 15) / 5.))**-0.5 : 1
    pinf =  1. / (1 + exp(-(vu + 23) / 6.)) : 1
    ntau =  ((100. / (11*exp((vu+60) / 24.) + 21*exp(-(vu+60) / 23.))) + 0.7)*ms : second
    ptau = ((100. / (4*exp((vu+60) / 32.) + 5*exp(-(vu+60) / 22.))) + 5)*ms : second
    ihcno = gbarno*(h1*frac + h2*(1-frac))*(Eh-v) : amp
    dh1/dt=(hinfno-h1)/tau1 : 1
    dh2/dt=(hinfno-h2)/tau2 : 1
    hinfno = 1./(1+exp((vu+66.)/7.)) : 1
    tau1 = bet1/(qt*0.008*(1+alp1))*ms : second
    tau2 = bet2/(qt*0.0029*(1+alp2))*ms : second
    alp1 = exp(1e-3*3*(vu+50)*9.648e4/(8.315*(273.16+temp))) : 1
    bet1 = exp(1e-3*3*0.3*(vu+50)*9.648e4/(8.315*(273.16+temp))) : 1
    alp2 = exp(1e-3*3*(vu+84)*9.648e4/(8.315*(273.16+temp))) : 1
    bet2 = exp(1e-3*3*0.6*(vu+84)*9.648e4/(8.315*(273.16+temp))) : 1
    """,
    output="v/mV",
    method="exponential_euler",
    parameters=dict(
        C=12 * pF, Eh=-43 * mV, EK=-70 * mV, El=-65 * mV, ENa=50 * mV, nf=0.85, zss=0.5, temp=22.0, q10=1.0, frac=0.0, qt=4.5 ** ((22.0 - 33.0) / 10.0),
        **{name: g * nS for name, g in zip(("gnabar", "gkhtbar", "gkltbar", "gkabar", "ghbar", "gbarno", "gl"), CONDUCTANCES, strict=True)},
    ),
    start={"v": -65 * mV},
    inputs={"I": pA},
    n=12,
    dt=DT,
    steps=500,
    drive=held(500, 12, 0, 600),
    slow=True,
)  # fmt: skip

JANSEN_RIT = Published(
    name="A cortical column",
    source="Jansen & Rit 1995",
    link="https://doi.org/10.1007/BF00199471",
    equations="""
    dy0/dt = y3                             /second : 1
    dy3/dt = (A        * Sp -2*y3 -y0/te*second)/te : 1
    dy1/dt = y4                             /second : 1
    dy4/dt = (A*(p+ C2 * Se)-2*y4 -y1/te*second)/te : 1
    dy2/dt = y5                             /second : 1
    dy5/dt = (B   * C4 * Si -2*y5 -y2/ti*second)/ti : 1
    p  = P0+nstim*dlP                   : 1
    Sp = e0/(1+exp(r0*(v0 - (y1-y2)    ))) : 1
    Se = e0/(1+exp(r0*(v0 -  C1*y0     ))) : 1
    Si = e0/(1+exp(r0*(v0 -  C3*y0     ))) : 1
    C1            : 1
    C2 = 0.8 *C1  : 1
    C3 = 0.25*C1  : 1
    C4 = 0.25*C1  : 1
    P0            : 1
    dlP           : 1
    """,
    output="y1 - y2",
    method="euler",
    parameters=dict(te=10 * ms, ti=20 * ms, e0=5.0, v0=6.0, r0=0.56, A=3.25, B=22.0, C1=np.array([68.0, 128, 135, 270, 675, 1350]), P0=120, dlP=200),
    inputs={"nstim": 1.0},
    named="`nstim(t)` is the input channel `nstim`",
    n=6,
    dt=DT,
    steps=2000,
    drive=held(2000, 1, 0, 1, every=20),
    into=lambda rng: np.ones((6, 1)),
)  # fmt: skip


def assemblies(rng: Generator) -> np.ndarray:
    """What all see: the learning phase, whose turn it is of two stimuli, and the stimulus."""
    k = np.arange(1000)
    return np.stack([k // 100 % 10 > 1, k // 250 % 2 == 0, k // 250 % 2 == 1, 100 * (np.sin(0.1 * (k + 1)) + 1)], 1)


TETZLAFF = Published(
    name="Cell assemblies",
    source="Tetzlaff et al. 2015",
    link="https://doi.org/10.1038/srep12866",
    equations="""
    F = F_max/(1+exp(beta*(epsilon-u))) : 1
    du/dt = (-u + R*(I_E - I_I + W_input*(I_stim_A + I_stim_B)))/tau_u + R*W_ext*20*sqrt((DT/ms)/ms)*xi: 1
    I_E : 1
    I_I : 1
    index : 1 (constant)
    stim_units_A = index < stim_A_units_until :  boolean
    stim_units_B = index >= (stim_B_units_from) : boolean
    I_stim_A = learning_phase*int(stim_units_A)*stim_A_gate*stim_func : 1
    I_stim_B = learning_phase*int(stim_units_B)*stim_B_gate*stim_func : 1
    """,
    output="F",
    method="euler",
    parameters=dict(
        F_max=100, beta=0.03, epsilon=120, R=0.012, W_input=W_MAX, W_ext=W_MAX, tau_u=1 * ms, DT=0.5 * ms, index=np.arange(20),
        stim_A_units_until=4, stim_B_units_from=16,
    ),
    # all begin silent: what a unit would have said before the first step is 0 here, and F(u) in Brian2
    start={"u": -1200},
    inputs={"I_E": 1.0, "I_I": 1.0, "learning_phase": 1.0, "stim_A_gate": 1.0, "stim_B_gate": 1.0, "stim_func": 1.0},
    named="`learning_phase(t)` and the like are input channels",
    n=20,
    dt=0.5 * ms,
    steps=1000,
    drive=assemblies,
    into=lambda rng: np.concatenate([np.zeros((40, 4)), np.kron(np.eye(4), np.ones((20, 1)))]),
    recurrent=lambda rng: np.concatenate([
        W_MAX * rng.random((20, 20)) * (rng.random((20, 20)) < 0.1), 0.3 * W_MAX * (rng.random((20, 20)) < 0.2), np.zeros((80, 20))
    ]),
)  # fmt: skip

MODELS = (HINDMARSH_ROSE, MORRIS_LECAR, WANG_BUZSAKI, ROTHMAN_MANIS, JANSEN_RIT, TETZLAFF)
