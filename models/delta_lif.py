"""Leaky integrate-and-fire neuron whose membrane jumps at every spike that arrives."""

from bioplaus import ms
from bioplaus.cell import Cell, triangular
from bioplaus.errors import CellError


def delta_lif(
    *,
    tau_m=20 * ms,
    threshold=1.0,
    V_reset=0.0,
    dampening=0.3,
    refractory=2 * ms,
    hard_reset: bool = True,
    differentiate=("jumps",),
) -> Cell:
    """Leaky integrate-and-fire with delta synapses: τ_m dv/dt = −v + I, v += w at a spike that arrives; spike at v > threshold.

    A weight is the size of the jump, whatever the step: of the dimension of v, in units of the threshold's. What arrives while the
    neuron is refractory is lost, and with a hard reset also what arrives together with its own spike.

    Parameters
    ----------
    tau_m : membrane time constant; scalar or one per neuron.
    threshold : dimensionless.
    dampening : height of the triangular surrogate derivative.
    V_reset : where a hard reset leaves v: Brunel's 10 mV of 20 are 0.5 of 1.
    refractory : the membrane is held for this long after a spike.
    hard_reset : reset to V_reset; else the threshold is subtracted.
    differentiate : add ``"reset"`` to differentiate the spike inside the reset too.

    References
    ----------
    Brunel 2000, doi:10.1023/A:1008925309027.
    """
    elsewhere = {} if isinstance(V_reset, (int, float)) and V_reset == 0 else {"V_reset": V_reset}
    if elsewhere and not hard_reset:
        raise CellError(
            "delta_lif was given V_reset, and hard_reset=False, which subtracts the threshold instead. Leave one out."
        )
    return Cell(
        name="delta_lif",
        equations="dv/dt = (-v + I)/tau_m : 1 (unless refractory)",
        inputs=("I",),
        jumps=("v",),
        external=("v",),
        recurrent=("v",),
        spike="v > threshold",
        reset=("v = V_reset" if elsewhere else "v = 0") if hard_reset else "v -= threshold",
        surrogate=triangular(dampening),
        refractory=refractory,
        differentiate=differentiate,
        parameters=dict(tau_m=tau_m, threshold=threshold, **elsewhere),
        source="doi:10.1023/A:1008925309027",
    )
