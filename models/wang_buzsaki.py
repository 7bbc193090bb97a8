"""Wang and Buzsáki's fast-spiking interneuron with a GABA conductance."""

from bioplaus import cm, mS, ms, mV, uA, uF
from bioplaus.cell import Cell, triangular


def wang_buzsaki(
    *,
    C=1 * uF / cm**2,
    g_Na=35 * mS / cm**2,
    g_K=9 * mS / cm**2,
    g_L=0.1 * mS / cm**2,
    E_Na=55 * mV,
    E_K=-90 * mV,
    E_L=-65 * mV,
    phi=5.0,
    E_syn=-75 * mV,
    tau_syn=10 * ms,
    V_T=0 * mV,
    unit=0.1 * mS / cm**2,
    unit_current=1 * uA / cm**2,
    surrogate_width=90 * mV,
    dampening=0.3,
    method: str = "exponential_euler",
) -> Cell:
    """Wang and Buzsáki's hippocampal interneuron, per area of membrane; at rest near −64 mV.

    C dv/dt = g_Na m³ h (E_Na − v) + g_K n⁴ (E_K − v) + g_L (E_L − v) + g (E_syn − v) + I,  τ_syn dg/dt = −g;  g += w·unit at a spike
    that arrives;  m = α_m / (α_m + β_m) at once,  dx/dt = φ (α_x (1 − x) − β_x x) for x = h, n, with α and β in 1/ms and v in mV:

    ===  ============================================  =======================
    x    α                                             β
    ===  ============================================  =======================
    m    0.1 (v + 35) / (1 − exp(−(v + 35)/10))        4 exp(−(v + 60)/18)
    h    0.07 exp(−(v + 58)/20)                        1 / (1 + exp(−(v + 28)/10))
    n    0.01 (v + 34) / (1 − exp(−(v + 34)/10))       0.125 exp(−(v + 44)/80)
    ===  ============================================  =======================

    A spike is v's way up through V_T; nothing is reset, and no other spike is fired until v is back below. The upstroke takes
    a fraction of a millisecond: give circuits ``dt=0.02*ms`` or so. 1 µA/cm² makes it fire at 60 Hz
    (56 at that step), 20 at 400.

    External input reaches I, other neurons reach g, through which they inhibit. A conductance is never negative: give projections
    ``sign=1``. In the paper a synapse opens within a fraction of a millisecond; here at once.

    Parameters
    ----------
    C, g_Na, g_K, g_L : capacitance and largest conductances, per area.
    E_Na, E_K, E_L : reversal potentials.
    phi : how fast h and n are.
    E_syn, tau_syn : reversal potential and time constant of inhibition.
    V_T : where a spike is told of.
    unit : the conductance by which one unit of weight makes g jump.
    unit_current : the current density that it gives on I.
    surrogate_width, dampening : half width (mV) and height of the triangular surrogate derivative. # chosen: from V_T to E_K, below which v never is
    method : Brian2 integration method.

    References
    ----------
    Wang & Buzsáki 1996, doi:10.1523/JNEUROSCI.16-20-06402.1996.
    """
    return Cell(
        name="wang_buzsaki",
        equations="""dv/dt = (g_Na*m_inf**3*h*(E_Na - v) + g_K*n**4*(E_K - v) + g_L*(E_L - v) + g*(E_syn - v) + I)/C : volt
                     dh/dt = phi*(alpha_h*(1 - h) - beta_h*h) : 1
                     dn/dt = phi*(alpha_n*(1 - n) - beta_n*n) : 1
                     dg/dt = -g/tau_syn : siemens/metre**2
                     m_inf = 1/(1 + 4*exp(-(v + 60*mV)/(18*mV))*exprel(-(v + 35*mV)/(10*mV))) : 1
                     alpha_h = 0.07*exp(-(v + 58*mV)/(20*mV))/ms : Hz
                     beta_h = 1/(1 + exp(-(v + 28*mV)/(10*mV)))/ms : Hz
                     alpha_n = 0.1/exprel(-(v + 34*mV)/(10*mV))/ms : Hz
                     beta_n = 0.125*exp(-(v + 44*mV)/(80*mV))/ms : Hz""",
        inputs={"I": unit_current},
        jumps={"g": unit},
        external=("I",),
        recurrent=("g",),
        inhibitory=("g",),
        spike="v > V_T",
        refractory="v > V_T",
        surrogate=triangular(dampening, width="surrogate_width"),
        start={"v": -64 * mV, "h": 0.781, "n": 0.089},
        parameters=dict(
            C=C,
            g_Na=g_Na,
            g_K=g_K,
            g_L=g_L,
            E_Na=E_Na,
            E_K=E_K,
            E_L=E_L,
            phi=phi,
            E_syn=E_syn,
            tau_syn=tau_syn,
            V_T=V_T,
            surrogate_width=surrogate_width,
        ),  # fmt: skip
        method=method,
        source="doi:10.1523/JNEUROSCI.16-20-06402.1996",
    )
