"""Integrate-and-fire neuron with an alpha-shaped synaptic current."""

from math import e

from bioplaus import ms, mV, pA, pF
from bioplaus.cell import Cell, triangular


def alpha_current(
    *,
    C=250 * pF,
    tau_m=10 * ms,
    tau_s=2 * ms,
    E_L=-70 * mV,
    V_T=-55 * mV,
    V_reset=-70 * mV,
    unit_current=100 * pA,
    surrogate_width=15 * mV,
    dampening=0.3,
    refractory=2 * ms,
) -> Cell:
    """Integrate-and-fire neuron whose synaptic current is an alpha function: (t/τ_s) exp(1 − t/τ_s), 1 at its peak at τ_s.

    C dv/dt = C (E_L − v)/τ_m + s + I,  τ_s ds/dt = h − s,  τ_s dh/dt = −h;  h += e·w·unit_current at a spike that arrives, so that w
    is the peak of its current; spike at v > V_T, then v = V_reset, held while refractory.

    Parameters
    ----------
    C, tau_m, E_L : capacitance, membrane time constant, rest.
    tau_s : from a spike's arrival to the peak of its current.
    V_T, V_reset : threshold, reset.
    unit_current : the peak current that one unit of weight gives; on I, the current held over a step.
    surrogate_width, dampening : half width (mV) and height of the triangular surrogate derivative. # chosen: threshold minus reset
    refractory : the membrane is held for this long after a spike.

    References
    ----------
    Rall 1967, doi:10.1152/jn.1967.30.5.1138; exact integration: Rotter & Diesmann 1999, doi:10.1007/s004220050570. Numbers as NEST's
    ``iaf_psc_alpha``.
    """
    return Cell(
        name="alpha_current",
        equations="""dv/dt = (E_L - v)/tau_m + (s + I)/C : volt (unless refractory)
                     ds/dt = (h - s)/tau_s : amp
                     dh/dt = -h/tau_s : amp""",
        inputs={"I": unit_current},
        jumps={"h": e * unit_current},
        external=("h",),
        recurrent=("h",),
        spike="v > V_T",
        reset="v = V_reset",
        surrogate=triangular(dampening, width="surrogate_width"),
        refractory=refractory,
        start={"v": E_L},
        parameters=dict(
            C=C, tau_m=tau_m, tau_s=tau_s, E_L=E_L, V_T=V_T, V_reset=V_reset, surrogate_width=surrogate_width
        ),
        source="doi:10.1007/s004220050570",
    )
