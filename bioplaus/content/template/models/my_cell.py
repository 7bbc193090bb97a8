"""A cell of this study: change the equations, and everything else follows from them."""

from bioplaus import Cell, ms, triangular


def my_cell(*, tau_m=20 * ms, tau_s=5 * ms, threshold=0.06, dampening=0.3, refractory=2 * ms) -> Cell:
    """Leaky integrate-and-fire behind a synapse that decays: τ_m dv/dt = −v + s, τ_s ds/dt = −s + I.

    Parameters
    ----------
    tau_m, tau_s : time constants of membrane and synaptic current; scalar or one per neuron.
    threshold : a spike where v exceeds it, which then is subtracted from v; dimensionless, as is v.
    dampening : height of the triangular surrogate derivative.
    refractory : no spike for this long after one.
    """
    return Cell(
        name="my_cell",
        equations="""dv/dt = (-v + s)/tau_m : 1
                     ds/dt = (-s + I)/tau_s : 1""",
        inputs=("I",),
        spike="v > threshold",
        reset="v -= threshold",
        surrogate=triangular(dampening),
        refractory=refractory,
        parameters=dict(tau_m=tau_m, tau_s=tau_s, threshold=threshold),
    )
