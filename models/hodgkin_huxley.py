"""Hodgkin and Huxley's neuron with a synaptic current."""

from bioplaus import cm, mS, ms, mV, uA, uF
from bioplaus.cell import Cell, triangular


def hodgkin_huxley(
    *,
    C=1 * uF / cm**2,
    g_Na=120 * mS / cm**2,
    g_K=36 * mS / cm**2,
    g_L=0.3 * mS / cm**2,
    E_Na=50 * mV,
    E_K=-77 * mV,
    E_L=-54.4 * mV,
    tau_s=5 * ms,
    V_T=-20 * mV,
    unit=2 * uA / cm**2,
    unit_current=1 * uA / cm**2,
    surrogate_width=60 * mV,
    dampening=0.3,
    method: str = "exponential_euler",
) -> Cell:
    """Hodgkin and Huxley's neuron, per area of membrane; at rest near −65 mV.

    C dv/dt = g_Na m³ h (E_Na − v) + g_K n⁴ (E_K − v) + g_L (E_L − v) + s + I,  τ_s ds/dt = −s;  s += w·unit at a spike that arrives;
    dx/dt = α_x (1 − x) − β_x x for x = m, h, n, with α and β in 1/ms and v in mV:

    ===  ============================================  =======================
    x    α                                             β
    ===  ============================================  =======================
    m    0.1 (v + 40) / (1 − exp(−(v + 40)/10))        4 exp(−(v + 65)/18)
    h    0.07 exp(−(v + 65)/20)                        1 / (1 + exp(−(v + 35)/10))
    n    0.01 (v + 55) / (1 − exp(−(v + 55)/10))       0.125 exp(−(v + 65)/80)
    ===  ============================================  =======================

    A spike is v's way up through V_T; nothing is reset, and no other spike is fired until v is back below. The upstroke takes
    a fraction of a millisecond: give circuits ``dt=0.05*ms`` or less. 10 µA/cm² make it fire at
    68 Hz (67 at that step).

    Parameters
    ----------
    C, g_Na, g_K, g_L : capacitance and largest conductances, per area.
    E_Na, E_K, E_L : reversal potentials.
    tau_s : time constant of the synaptic current.
    V_T : where a spike is told of. # chosen: far above rest, far below the peak
    unit : the current density by which one unit of weight makes s jump. # chosen: a spike of weight 1 lifts a neuron from rest by 2.6 mV, one of 2 makes it fire
    unit_current : the one that it gives on I.
    surrogate_width, dampening : half width (mV) and height of the triangular surrogate derivative. # chosen: from V_T to E_K, below which v never is
    method : Brian2 integration method.

    References
    ----------
    Hodgkin & Huxley 1952, doi:10.1113/jphysiol.1952.sp004764, depolarisation counted upwards and from −65 mV.
    """
    return Cell(
        name="hodgkin_huxley",
        equations="""dv/dt = (g_Na*m**3*h*(E_Na - v) + g_K*n**4*(E_K - v) + g_L*(E_L - v) + s + I)/C : volt
                     dm/dt = alpha_m*(1 - m) - beta_m*m : 1
                     dh/dt = alpha_h*(1 - h) - beta_h*h : 1
                     dn/dt = alpha_n*(1 - n) - beta_n*n : 1
                     ds/dt = -s/tau_s : amp/metre**2
                     alpha_m = 1/exprel(-(v + 40*mV)/(10*mV))/ms : Hz
                     beta_m = 4*exp(-(v + 65*mV)/(18*mV))/ms : Hz
                     alpha_h = 0.07*exp(-(v + 65*mV)/(20*mV))/ms : Hz
                     beta_h = 1/(1 + exp(-(v + 35*mV)/(10*mV)))/ms : Hz
                     alpha_n = 0.1/exprel(-(v + 55*mV)/(10*mV))/ms : Hz
                     beta_n = 0.125*exp(-(v + 65*mV)/(80*mV))/ms : Hz""",
        inputs={"I": unit_current},
        jumps={"s": unit},
        external=("s",),
        recurrent=("s",),
        spike="v > V_T",
        refractory="v > V_T",
        surrogate=triangular(dampening, width="surrogate_width"),
        start={"v": -65 * mV, "m": 0.053, "h": 0.596, "n": 0.318},
        parameters=dict(
            C=C,
            g_Na=g_Na,
            g_K=g_K,
            g_L=g_L,
            E_Na=E_Na,
            E_K=E_K,
            E_L=E_L,
            tau_s=tau_s,
            V_T=V_T,
            surrogate_width=surrogate_width,
        ),  # fmt: skip
        method=method,
        source="doi:10.1113/jphysiol.1952.sp004764",
    )
