"""Quadratic integrate-and-fire neuron."""

from bioplaus import ms
from bioplaus.cell import Cell, triangular


def qif(
    *,
    tau_m=10 * ms,
    eta=-1.0,
    V_peak=10.0,
    dampening=0.3,
    surrogate_width=12.0,
    method: str = "euler",
) -> Cell:
    """Quadratic integrate-and-fire neuron, τ_m dv/dt = v² + η + I; v += w at a spike that arrives; at v > V_peak it jumps to −V_peak.

    For η + I < 0 it rests at −√(−η − I) and fires once pushed beyond √(−η − I); for η + I > 0 it fires by itself. As V_peak → ∞ it is
    the theta neuron, the normal form of a saddle-node bifurcation on a circle.

    Parameters
    ----------
    tau_m, eta : time constant, excitability; scalar or one per neuron.
    V_peak : where it is reset, dimensionless. # chosen: 10, so that the way from there to infinity takes a tenth of τ_m
    dampening, surrogate_width : height and half width of the triangular surrogate derivative. # chosen: from rest to the peak
    method : Brian2 integration method.

    References
    ----------
    Ermentrout & Kopell 1986, doi:10.1137/0146017; Montbrió, Pazó & Roxin 2015, doi:10.1103/PhysRevX.5.021028.
    """
    return Cell(
        name="qif",
        equations="dv/dt = (v**2 + eta + I)/tau_m : 1",
        inputs=("I",),
        jumps=("v",),
        external=("v",),
        recurrent=("v",),
        spike="v > V_peak",
        reset="v = -V_peak",
        surrogate=triangular(dampening, width="surrogate_width"),
        start={"v": -1.0},
        parameters=dict(tau_m=tau_m, eta=eta, V_peak=V_peak, surrogate_width=surrogate_width),
        method=method,
        source="doi:10.1103/PhysRevX.5.021028",
    )
