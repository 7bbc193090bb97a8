"""Adaptive exponential integrate-and-fire neuron in biological units."""

from bioplaus import ms, mV, nS, pA, pF
from bioplaus.cell import Cell, triangular


def adex(
    *,
    C=200 * pF,
    g_L=10 * nS,
    E_L=-70 * mV,
    V_T=-50 * mV,
    Delta_T=2 * mV,
    V_cut=-40 * mV,
    V_reset=-58 * mV,
    tau_w=120 * ms,
    a=2 * nS,
    b=60 * pA,
    unit_current=100 * pA,
    surrogate_width=10 * mV,
    dampening=0.3,
    refractory=2 * ms,
    method: str = "exponential_euler",
) -> Cell:
    """Adaptive exponential integrate-and-fire neuron.

    C dv/dt = g_L (E_L − v) + g_L Δ_T exp((v − V_T)/Δ_T) − w + I,  τ_w dw/dt = a (v − E_L) − w;
    spike at v > V_cut; then v = V_reset, w += b. The membrane is held at V_reset while refractory.

    Parameters
    ----------
    C, g_L, E_L : capacitance, leak conductance, rest.
    V_T, Delta_T, V_cut, V_reset : soft threshold, slope, spike detection, reset.
    tau_w, a, b : adaptation: time constant, subthreshold coupling, jump per spike.
    unit_current : the current one unit of weight gives.
    surrogate_width, dampening : half width (mV) and height of the triangular surrogate derivative. # chosen: 10 mV spans V_T to V_cut
    refractory, method : refractory time; Brian2 integration method.

    References
    ----------
    Brette & Gerstner 2005, doi:10.1152/jn.00686.2005; parameters near Naud et al. 2008, doi:10.1007/s00422-008-0264-7.
    """
    return Cell(
        name="adex",
        equations="""dv/dt = (g_L*(E_L - v) + g_L*Delta_T*exp((v - V_T)/Delta_T) - w + I)/C : volt (unless refractory)
                     dw/dt = (a*(v - E_L) - w)/tau_w : amp""",
        inputs={"I": unit_current},
        spike="v > V_cut",
        reset="v = V_reset; w += b",
        surrogate=triangular(dampening, width="surrogate_width"),
        refractory=refractory,
        start={"v": E_L},
        parameters=locals(),
        method=method,
        source="doi:10.1152/jn.00686.2005",
    )
