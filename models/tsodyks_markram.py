"""Leaky integrate-and-fire neuron whose synapses facilitate and tire."""

from bioplaus import ms, mV
from bioplaus.cell import Cell, triangular


def tsodyks_markram(
    *,
    tau_m=15 * ms,
    U=0.2,
    tau_f=1500 * ms,
    tau_d=200 * ms,
    V_T=20 * mV,
    V_reset=16 * mV,
    unit=1 * mV,
    dampening=0.3,
    refractory=2 * ms,
) -> Cell:
    """Leaky integrate-and-fire with delta synapses, and short-term plasticity of those that it makes.

    τ_m dv/dt = −v + I, v += w·unit at a spike that arrives; spike at v > V_T, then v = V_reset, held while refractory.
    The share u of its resources x that a spike releases grows with every spike, u += U (1 − u), and falls back to U with τ_f; what is
    released, r = u x, is taken from them, x −= r, and comes back with τ_d. A projection with ``sends="released"`` brings w·r; without it,
    w whatever the neuron has left.

    The default facilitates, as in prefrontal cortex; U = 0.5, τ_f = 1 ms, τ_d = 800 ms tires. All synapses of a neuron are in the
    same state, for they have heard the same spikes.

    Parameters
    ----------
    tau_m : membrane time constant.
    U, tau_f, tau_d : release probability at rest; time constants of facilitation and of recovery. Scalars or one per neuron.
    V_T, V_reset : threshold, reset, above rest.
    unit : the jump that one unit of weight gives, and the current over the leak conductance on I.
    dampening : height of the triangular surrogate derivative.
    refractory : the membrane is held for this long after a spike.

    References
    ----------
    Tsodyks, Pawelzik & Markram 1998, doi:10.1162/089976698300017502; the constants: Mongillo, Barak & Tsodyks 2008,
    doi:10.1126/science.1150769.
    """
    return Cell(
        name="tsodyks_markram",
        equations="""dv/dt = (-v + I)/tau_m : volt (unless refractory)
                     du/dt = (U - u)/tau_f : 1
                     dx/dt = (1 - x)/tau_d : 1
                     dr/dt = 0/second : 1""",
        inputs={"I": unit},
        jumps={"v": unit},
        external=("v",),
        recurrent=("v",),
        sends={"released": "spike*r"},
        spike="v > V_T",
        reset="v = V_reset; u += U*(1 - u); r = u*x; x -= r",
        surrogate=triangular(dampening, width="V_T"),
        refractory=refractory,
        start={"u": U, "x": 1.0},
        parameters=dict(tau_m=tau_m, U=U, tau_f=tau_f, tau_d=tau_d, V_T=V_T, V_reset=V_reset),
        source="doi:10.1126/science.1150769",
    )
