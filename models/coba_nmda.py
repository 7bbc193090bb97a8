"""Integrate-and-fire neuron with AMPA, GABA and NMDA receptors."""

from bioplaus import ms, mV
from bioplaus.cell import Cell, triangular


def coba_nmda(
    *,
    tau_m=20 * ms,
    E_L=-70 * mV,
    E_e=0 * mV,
    E_i=-70 * mV,
    tau_e=2 * ms,
    tau_i=5 * ms,
    tau_rise=2 * ms,
    tau_decay=100 * ms,
    alpha=0.5 / ms,
    magnesium=1.0,
    V_T=-50 * mV,
    V_reset=-55 * mV,
    unit=1.0,
    unit_current=10 * mV,
    surrogate_width=20 * mV,
    dampening=0.3,
    refractory=2 * ms,
    method: str = "exponential_euler",
) -> Cell:
    """Integrate-and-fire neuron with conductances (over the leak's) of AMPA, GABA and NMDA receptors, the last behind a magnesium block.

    τ_m dv/dt = (E_L − v) + g_e (E_e − v) + g_i (E_i − v) + g_n B(v) (E_e − v) + I,   B(v) = 1/(1 + [Mg] exp(−0.062 v/mV)/3.57)

    AMPA and GABA: g_e += w·unit or g_i += w·unit at a spike that arrives, and they decay with τ_e and τ_i. NMDA saturates, and all
    synapses of a neuron share one gate s, which it sends: dx/dt = −x/τ_rise, x += 1 at its spike, ds/dt = −s/τ_decay + α x (1 − s);
    g_n = Σ w s. Spike at v > V_T, then v = V_reset, held while refractory.

    External input and other neurons reach g_e. Slow excitation is a projection of its own,
    ``Projection(name="W_nmda", source="E", target="E", sends="nmda", sign=1)``, onto the channel ``nmda``; inhibition reaches ``gi``.
    The pyramidal cells of the source have a leak of 25 nS, interneurons τ_m = 10 ms, refractory = 1 ms and 20 nS; recurrent weights are
    of the order of 0.05 nS (AMPA), 0.165 nS (NMDA) and 1.3 nS (GABA) over the leak.

    Parameters
    ----------
    tau_m, E_L : time constant of the membrane by its leak, rest.
    E_e, E_i : reversal potentials of excitation, of both kinds, and of inhibition.
    tau_e, tau_i : decay of AMPA and GABA.
    tau_rise, tau_decay, alpha : of the NMDA gate.
    magnesium : concentration outside, mM.
    V_T, V_reset : threshold, reset.
    unit : the conductance, over the leak's, that one unit of weight gives.
    unit_current : the current, over the leak conductance, that it gives on I.
    surrogate_width, dampening : half width (mV) and height of the triangular surrogate derivative. # chosen: threshold minus rest
    refractory, method : the membrane is held for this long after a spike; Brian2 integration method.

    References
    ----------
    Brunel & Wang 2001, doi:10.1023/A:1011204814320; Wang 2002, doi:10.1016/S0896-6273(02)01092-9. The block: Jahr & Stevens 1990,
    doi:10.1523/JNEUROSCI.10-09-03178.1990.
    """
    return Cell(
        name="coba_nmda",
        equations="""dv/dt = (E_L - v + ge*(E_e - v) + gi*(E_i - v) + nmda*block*(E_e - v) + I)/tau_m : volt (unless refractory)
                     block = 1/(1 + magnesium*exp(-0.062*v/mV)/3.57) : 1
                     dge/dt = -ge/tau_e : 1
                     dgi/dt = -gi/tau_i : 1
                     dx/dt = -x/tau_rise : 1
                     ds/dt = -s/tau_decay + alpha*x*(1 - s) : 1""",
        inputs={"I": unit_current, "nmda": unit},
        jumps={"ge": unit, "gi": unit},
        external=("ge",),
        recurrent=("ge",),
        inhibitory=("gi",),
        sends={"nmda": "s"},
        spike="v > V_T",
        reset="v = V_reset; x += 1",
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
            tau_rise=tau_rise,
            tau_decay=tau_decay,
            alpha=alpha,
            magnesium=magnesium,
            V_T=V_T,
            V_reset=V_reset,
            surrogate_width=surrogate_width,
        ),  # fmt: skip
        method=method,
        source="doi:10.1016/S0896-6273(02)01092-9",
    )
