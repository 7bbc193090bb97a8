"""Integrate-and-fire neuron with an alpha-shaped synaptic current."""

from math import e

from bioplaus import ms, mV
from bioplaus.cell import Cell, triangular


def alpha_current(
    *,
    tau_m=10 * ms,
    tau_s=2 * ms,
    E_L=-70 * mV,
    V_T=-55 * mV,
    V_reset=-70 * mV,
    unit=1 * mV,
    surrogate_width=15 * mV,
    dampening=0.3,
    refractory=2 * ms,
) -> Cell:
    """Integrate-and-fire neuron whose synaptic current (as a voltage, over the leak) is an alpha function: (t/τ_s) exp(1 − t/τ_s), 1 at
    its peak at τ_s.

    τ_m dv/dt = E_L − v + s + I,  τ_s ds/dt = h − s,  τ_s dh/dt = −h;  h += e·w·unit at a spike that arrives, so that w is the peak of its
    current; spike at v > V_T, then v = V_reset, held while refractory.

    Parameters
    ----------
    tau_m, E_L : membrane time constant, rest.
    tau_s : from a spike's arrival to the peak of its current.
    V_T, V_reset : threshold, reset.
    unit : the peak current that one unit of weight gives (with the leak of 25 nS of NEST's neuron 1 mV is 25 pA); on I, the current held.
    surrogate_width, dampening : half width (mV) and height of the triangular surrogate derivative. # chosen: threshold minus reset
    refractory : the membrane is held for this long after a spike.

    References
    ----------
    Rall 1967, doi:10.1152/jn.1967.30.5.1138; exact integration: Rotter & Diesmann 1999, doi:10.1007/s004220050570. Numbers as NEST's
    ``iaf_psc_alpha``.
    """
    return Cell(
        name="alpha_current",
        equations="""dv/dt = (E_L - v + s + I)/tau_m : volt (unless refractory)
                     ds/dt = (h - s)/tau_s : volt
                     dh/dt = -h/tau_s : volt""",
        inputs={"I": unit},
        jumps={"h": e * unit},
        external=("h",),
        recurrent=("h",),
        spike="v > V_T",
        reset="v = V_reset",
        surrogate=triangular(dampening, width="surrogate_width"),
        refractory=refractory,
        start={"v": E_L},
        parameters=dict(tau_m=tau_m, tau_s=tau_s, E_L=E_L, V_T=V_T, V_reset=V_reset, surrogate_width=surrogate_width),
        source="doi:10.1007/s004220050570",
    )
