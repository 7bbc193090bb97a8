"""Leaky integrate-and-fire neuron with white noise on its membrane."""

from bioplaus import ms
from bioplaus.cell import Cell, triangular


def noisy_lif(
    *,
    tau_m=20 * ms,
    sigma=0.3,
    threshold=1.0,
    dampening=0.3,
    refractory=2 * ms,
    hard_reset: bool = False,
    differentiate=("jumps",),
) -> Cell:
    """Leaky integrate-and-fire in a noisy tissue, τ_m dv/dt = −v + I + σ √(2 τ_m) ξ; spike at v > threshold.

    Without a threshold v has the standard deviation σ and forgets within τ_m: an Ornstein–Uhlenbeck process around I. Every neuron has
    noise of its own, drawn anew for every trial; learning follows derivatives at the noise that was drawn.

    Parameters
    ----------
    tau_m : membrane time constant; scalar or one per neuron.
    sigma : standard deviation of the free membrane, in units of the threshold's; scalar or one per neuron.
    threshold : dimensionless.
    dampening : height of the triangular surrogate derivative.
    refractory : no spike for this long after one; the membrane integrates on.
    hard_reset : reset to 0 instead of subtracting the threshold.
    differentiate : add ``"reset"`` to differentiate the spike inside the reset too.

    References
    ----------
    Brunel & Hakim 1999, doi:10.1162/089976699300016179.
    """
    return Cell(
        name="noisy_lif",
        equations="dv/dt = (-v + I)/tau_m + sigma*sqrt(2/tau_m)*xi : 1",
        inputs=("I",),
        spike="v > threshold",
        reset="v = 0" if hard_reset else "v -= threshold",
        surrogate=triangular(dampening),
        refractory=refractory,
        differentiate=differentiate,
        parameters=dict(tau_m=tau_m, sigma=sigma, threshold=threshold),
        method="euler",
        source="doi:10.1162/089976699300016179",
    )
