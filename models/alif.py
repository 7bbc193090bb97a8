"""Leaky integrate-and-fire neuron with an adaptive threshold."""

from bioplaus import ms
from bioplaus.cell import Cell, triangular


def alif(
    *,
    tau_m=20 * ms,
    tau_a=200 * ms,
    threshold=0.6,
    beta=0.0174,
    dampening=0.3,
    refractory=5 * ms,
    differentiate=("jumps",),
) -> Cell:
    """LIF whose threshold rises by beta at every spike and decays with τ_a.

    τ_m dv/dt = −v + I,  τ_a da/dt = −a;  spike at v > threshold + beta·a;  then v −= threshold, a += 1.

    Parameters
    ----------
    tau_m, tau_a : time constants of membrane and adaptation; scalar or one per neuron.
    threshold, beta : base threshold and its rise per spike, dimensionless.
    dampening : height of the triangular surrogate derivative.
    refractory : no spike for this long after one; the membrane integrates on.
    differentiate : through which of ``"reset"`` and ``"jumps"`` (the adaptation) the spike is differentiated.

    References
    ----------
    Bellec et al. 2020, doi:10.1038/s41467-020-17236-y. In continuous time: the published discrete map is ``lsnn_alif``.
    """
    return Cell(
        name="alif",
        equations="""dv/dt = (-v + I)/tau_m : 1
                     da/dt = -a/tau_a : 1""",
        inputs=("I",),
        spike="v > threshold + beta*a",
        reset="v -= threshold; a += 1",
        surrogate=triangular(dampening),
        refractory=refractory,
        differentiate=differentiate,
        parameters=dict(tau_m=tau_m, tau_a=tau_a, threshold=threshold, beta=beta),
        source="doi:10.1038/s41467-020-17236-y",
    )
