"""Leaky rate neuron with any rate function."""

from bioplaus import ms
from bioplaus.cell import Cell


def leaky_rate(*, tau=10 * ms, rate: str = "tanh(x)", method: str = "exact") -> Cell:
    """Leaky rate neuron, τ dx/dt = −x + I, y = rate(x).

    Parameters
    ----------
    tau : time constant; scalar or one per neuron.
    rate : the output as a function of x: ``tanh(x)``, ``relu(x)``, ``sigmoid(x)``, ``softplus(x)``, ``x``, …
    method : Brian2 integration method. ``"euler"`` gives x ← (1 − dt/τ)x + (dt/τ)I.

    References
    ----------
    Wilson & Cowan 1972, doi:10.1016/S0006-3495(72)86068-5.
    """
    return Cell(
        name="leaky_rate",
        equations="dx/dt = (-x + I)/tau : 1",
        inputs=("I",),
        output=rate,
        parameters=locals(),
        method=method,
        source="doi:10.1016/S0006-3495(72)86068-5",
    )
