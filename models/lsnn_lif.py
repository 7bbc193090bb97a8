"""LIF neuron in the discrete convention of the e-prop papers."""

import numpy as np

from bioplaus import ms
from bioplaus.cell import Cell, triangular


def lsnn_lif(
    *, tau_m=20 * ms, threshold=0.6, dampening=0.3, refractory=0, scale_input: bool = False, dt=1 * ms
) -> Cell:
    """v_t = α v_{t−1} + g i_t − threshold z_{t−1}, z_t = [v_t > threshold], α = exp(−dt/τ_m).

    The reset acts one step after the spike and is not decayed in that step; here it is written at the spike and divided by
    α, which is the same number. Not Brian2's native order: for that see ``lif``.

    Parameters
    ----------
    tau_m, dt : membrane time constant and step; α is their only use.
    threshold, dampening : threshold and height of the surrogate.
    refractory : number of steps (or a time); n silences n − 1 steps after a spike.
    scale_input : g = 1 − α (pattern generation) instead of 1.

    References
    ----------
    Bellec et al. 2020, doi:10.1038/s41467-020-17236-y.
    """
    decay = np.exp(-np.asarray(dt / tau_m))
    return Cell(
        name="lsnn_lif",
        update="v = decay*v + gain*I",
        inputs=("I",),
        spike="v > threshold",
        reset="v -= threshold/decay",
        surrogate=triangular(dampening),
        refractory=refractory,
        parameters=dict(decay=decay, gain=1 - decay if scale_input else 1.0, threshold=threshold),
        source="doi:10.1038/s41467-020-17236-y",
    )
