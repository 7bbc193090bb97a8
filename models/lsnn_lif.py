"""LIF neuron in the discrete convention of the e-prop papers."""

from bioplaus import ms
from bioplaus.cell import Cell, triangular
from bioplaus.checks import Flag, accept
from bioplaus.errors import CellError


def lsnn_lif(*, tau_m=20 * ms, threshold=0.6, dampening=0.3, refractory=0, scale_input: bool = False, dt=None) -> Cell:
    """v_t = α v_{t−1} + g i_t − threshold z_{t−1}, z_t = [v_t > threshold], α = exp(−dt/τ_m), dt the circuit's step.

    The reset acts one step after the spike and is not decayed in that step; here it is written at the spike and divided by
    α, which is the same number. Not Brian2's native order: for that see ``lif``.

    Parameters
    ----------
    tau_m : membrane time constant; scalar or one per neuron.
    threshold, dampening : threshold and height of the surrogate.
    refractory : number of steps (or a time); n silences n − 1 steps after a spike.
    scale_input : g = 1 − α (pattern generation) instead of 1: a current, where 1 makes of each step's input a jump, so that twice the
        steps bring twice the input.
    dt : the only step a circuit of it may have; any if not given.

    References
    ----------
    Bellec et al. 2020, doi:10.1038/s41467-020-17236-y.
    """
    scaled = accept(CellError, "scale_input of the model lsnn_lif", scale_input, Flag())
    return Cell(
        name="lsnn_lif",
        update="v = exp(-dt/tau_m)*v + (1 - scaled*exp(-dt/tau_m))*I",
        inputs=("I",),
        spike="v > threshold",
        reset="v -= threshold*exp(dt/tau_m)",
        surrogate=triangular(dampening),
        refractory=refractory,
        parameters=dict(tau_m=tau_m, scaled=float(scaled), threshold=threshold),
        made_for=dt,
        source="doi:10.1038/s41467-020-17236-y",
    )
