"""Integrate-and-fire neuron with exponential synaptic conductances."""

from bioplaus import ms, mV
from bioplaus.cell import Cell, triangular


def coba(
    *,
    tau_m=20 * ms,
    E_L=-60 * mV,
    E_e=0 * mV,
    E_i=-80 * mV,
    tau_e=5 * ms,
    tau_i=10 * ms,
    V_T=-50 * mV,
    V_reset=-60 * mV,
    unit=1.0,
    unit_current=10 * mV,
    surrogate_width=10 * mV,
    dampening=0.3,
    refractory=5 * ms,
    method: str = "exponential_euler",
) -> Cell:
    """Integrate-and-fire neuron with two exponential conductances (over the leak's), the "COBA" benchmark.

    τ_m dv/dt = (E_L − v) + g_e (E_e − v) + g_i (E_i − v) + I,  τ_e dg_e/dt = −g_e,  τ_i dg_i/dt = −g_i;  g_e += w·unit or
    g_i += w·unit at a spike that arrives; spike at v > V_T, then v = V_reset, held while refractory. As published, with a leak of
    10 nS, excitatory weights are 0.6 (6 nS) and inhibitory ones 6.7 (67 nS).

    External input and other neurons reach g_e unless a projection names ``channels=("gi",)``, as inhibitory neurons of the circuit
    ``excitatory_inhibitory`` do. A conductance is never negative: give projections ``sign=1``, inhibitory ones too.

    Parameters
    ----------
    tau_m, E_L : time constant of the membrane by its leak, rest.
    E_e, E_i, tau_e, tau_i : reversal potentials and time constants of excitation and inhibition.
    V_T, V_reset : threshold, reset.
    unit : the conductance, over the leak's, by which one unit of weight makes g jump.
    unit_current : the current, over the leak conductance, that it gives on I.
    surrogate_width, dampening : half width (mV) and height of the triangular surrogate derivative. # chosen: threshold minus reset
    refractory, method : the membrane is held for this long after a spike; Brian2 integration method.

    References
    ----------
    Vogels & Abbott 2005, doi:10.1523/JNEUROSCI.3508-05.2005; Brette et al. 2007, doi:10.1007/s10827-007-0038-6.
    """
    return Cell(
        name="coba",
        equations="""dv/dt = (E_L - v + ge*(E_e - v) + gi*(E_i - v) + I)/tau_m : volt (unless refractory)
                     dge/dt = -ge/tau_e : 1
                     dgi/dt = -gi/tau_i : 1""",
        inputs={"I": unit_current},
        jumps={"ge": unit, "gi": unit},
        external=("ge",),
        recurrent=("ge",),
        inhibitory=("gi",),
        spike="v > V_T",
        reset="v = V_reset",
        surrogate=triangular(dampening, width="surrogate_width"),
        refractory=refractory,
        start={"v": E_L},
        parameters=dict(
            tau_m=tau_m,
            E_L=E_L,
            E_e=E_e,
            E_i=E_i,
            tau_e=tau_e,
            tau_i=tau_i,
            V_T=V_T,
            V_reset=V_reset,
            surrogate_width=surrogate_width,
        ),  # fmt: skip
        method=method,
        source="doi:10.1007/s10827-007-0038-6",
    )
