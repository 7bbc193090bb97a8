"""Integrate-and-fire neuron with exponential synaptic currents."""

from bioplaus import ms, mV
from bioplaus.cell import Cell, triangular


def cuba(
    *,
    tau_m=20 * ms,
    tau_e=5 * ms,
    tau_i=10 * ms,
    E_L=-49 * mV,
    V_T=-50 * mV,
    V_reset=-60 * mV,
    unit=1 * mV,
    surrogate_width=10 * mV,
    dampening=0.3,
    refractory=5 * ms,
) -> Cell:
    """Integrate-and-fire neuron with two exponential currents (as voltages, over the leak), the "CUBA" benchmark.

    τ_m dv/dt = g_e + g_i + I − (v − E_L),  τ_e dg_e/dt = −g_e,  τ_i dg_i/dt = −g_i;  g_e += w·unit or g_i += w·unit at a spike that
    arrives; spike at v > V_T, then v = V_reset, held while refractory.

    External input and other neurons reach g_e, with weights of either sign, unless a projection names ``channels=("gi",)``, as
    inhibitory neurons of the circuit ``excitatory_inhibitory`` do, with negative weights.

    Parameters
    ----------
    tau_m, tau_e, tau_i : time constants of the membrane, of excitation, of inhibition.
    E_L, V_T, V_reset : rest (above threshold as published: neurons fire by themselves), threshold, reset.
    unit : the jump that one unit of weight gives.
    surrogate_width, dampening : half width (mV) and height of the triangular surrogate derivative. # chosen: threshold minus reset
    refractory : the membrane is held for this long after a spike.

    References
    ----------
    Vogels & Abbott 2005, doi:10.1523/JNEUROSCI.3508-05.2005; Brette et al. 2007, doi:10.1007/s10827-007-0038-6.
    """
    return Cell(
        name="cuba",
        equations="""dv/dt = (ge + gi + I - (v - E_L))/tau_m : volt (unless refractory)
                     dge/dt = -ge/tau_e : volt
                     dgi/dt = -gi/tau_i : volt""",
        inputs={"I": unit},
        jumps={"ge": unit, "gi": unit},
        external=("ge",),
        recurrent=("ge",),
        inhibitory={"gi": -1},
        spike="v > V_T",
        reset="v = V_reset",
        surrogate=triangular(dampening, width="surrogate_width"),
        refractory=refractory,
        start={"v": V_reset},
        parameters=dict(
            tau_m=tau_m, tau_e=tau_e, tau_i=tau_i, E_L=E_L, V_T=V_T, V_reset=V_reset, surrogate_width=surrogate_width
        ),
        source="doi:10.1007/s10827-007-0038-6",
    )
