"""Adaptive LIF neuron in the discrete convention of the e-prop papers."""

from bioplaus import ms
from bioplaus.cell import Cell, triangular
from bioplaus.checks import Flag, accept
from bioplaus.errors import CellError


def lsnn_alif(
    *,
    tau_m=20 * ms,
    tau_a=2000 * ms,
    threshold=0.6,
    beta=0.0174,
    dampening=0.3,
    refractory=0,
    scale_input: bool = False,
    dt=None,
) -> Cell:
    """v_t = α v_{t−1} + g i_t − threshold z_{t−1}, a_t = ρ a_{t−1} + z_{t−1}, z_t = [v_t > threshold + beta a_t].

    Reset and adaptation are written at the spike and divided by their decays, which gives the published numbers one step
    later. Not Brian2's native order: for that see ``alif``.

    Parameters
    ----------
    tau_m, tau_a : time constants: α = exp(−dt/τ_m), ρ = exp(−dt/τ_a), dt the circuit's step; scalar or one per neuron.
    threshold, beta, dampening : base threshold, its rise per spike, height of the surrogate.
    refractory : number of steps (or a time); n silences n − 1 steps after a spike.
    scale_input : g = 1 − α instead of 1: a current, where 1 makes of each step's input a jump, so that twice the steps bring
        twice the input.
    dt : the only step a circuit of it may have; any if not given.

    References
    ----------
    Bellec et al. 2020, doi:10.1038/s41467-020-17236-y.
    """
    scaled = accept(CellError, "scale_input of the model lsnn_alif", scale_input, Flag())
    return Cell(
        name="lsnn_alif",
        update="v = exp(-dt/tau_m)*v + (1 - scaled*exp(-dt/tau_m))*I; a = exp(-dt/tau_a)*a",
        inputs=("I",),
        spike="v > threshold + beta*a",
        reset="v -= threshold*exp(dt/tau_m); a += exp(dt/tau_a)",
        surrogate=triangular(dampening),
        refractory=refractory,
        parameters=dict(tau_m=tau_m, tau_a=tau_a, scaled=float(scaled), threshold=threshold, beta=beta),
        made_for=dt,
        source="doi:10.1038/s41467-020-17236-y",
    )
