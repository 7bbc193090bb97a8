"""Adaptive LIF neuron in the discrete convention of the e-prop papers."""

import numpy as np

from bioplaus import ms
from bioplaus.cell import Cell, triangular


def lsnn_alif(
    *,
    tau_m=20 * ms,
    tau_a=2000 * ms,
    threshold=0.6,
    beta=0.0174,
    dampening=0.3,
    refractory=0,
    scale_input: bool = False,
    dt=1 * ms,
) -> Cell:
    """v_t = α v_{t−1} + g i_t − threshold z_{t−1}, a_t = ρ a_{t−1} + z_{t−1}, z_t = [v_t > threshold + beta a_t].

    Reset and adaptation are written at the spike and divided by their decays, which gives the published numbers one step
    later. Not Brian2's native order: for that see ``alif``.

    Parameters
    ----------
    tau_m, tau_a, dt : time constants and step: α = exp(−dt/τ_m), ρ = exp(−dt/τ_a).
    threshold, beta, dampening : base threshold, its rise per spike, height of the surrogate.
    refractory : number of steps (or a time); n silences n − 1 steps after a spike.
    scale_input : g = 1 − α instead of 1.

    References
    ----------
    Bellec et al. 2020, doi:10.1038/s41467-020-17236-y.
    """
    decay, decay_a = np.exp(-np.asarray(dt / tau_m)), np.exp(-np.asarray(dt / tau_a))
    return Cell(
        name="lsnn_alif",
        update="v = decay*v + gain*I; a = decay_a*a",
        inputs=("I",),
        spike="v > threshold + beta*a",
        reset="v -= threshold/decay; a += 1/decay_a",
        surrogate=triangular(dampening),
        refractory=refractory,
        parameters=dict(
            decay=decay, decay_a=decay_a, gain=1 - decay if scale_input else 1.0, threshold=threshold, beta=beta
        ),
        source="doi:10.1038/s41467-020-17236-y",
    )
