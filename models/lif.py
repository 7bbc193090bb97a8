"""Leaky integrate-and-fire neuron."""

from bioplaus import ms
from bioplaus.cell import Cell, triangular


def lif(
    *,
    tau_m=20 * ms,
    threshold=0.6,
    dampening=0.3,
    refractory=5 * ms,
    hard_reset: bool = False,
    differentiate=("jumps",),
) -> Cell:
    """Leaky integrate-and-fire, τ_m dv/dt = −v + I; spike at v > threshold.

    Parameters
    ----------
    tau_m : membrane time constant; scalar or one per neuron.
    threshold : dimensionless.
    dampening : height of the triangular surrogate derivative.
    refractory : no spike for this long after one; the membrane integrates on.
    hard_reset : reset to 0 instead of subtracting the threshold.
    differentiate : add ``"reset"`` to differentiate the spike inside the reset too.

    References
    ----------
    Lapicque 1907; surrogate as in Bellec et al. 2020, doi:10.1038/s41467-020-17236-y.
    """
    return Cell(
        name="lif",
        equations="dv/dt = (-v + I)/tau_m : 1",
        inputs=("I",),
        spike="v > threshold",
        reset="v = 0" if hard_reset else "v -= threshold",
        surrogate=triangular(dampening),
        refractory=refractory,
        differentiate=differentiate,
        parameters=dict(tau_m=tau_m, threshold=threshold),
        source="doi:10.1038/s41467-020-17236-y",
    )
