"""Izhikevich's simple model of spiking neurons."""

from bioplaus import ms, mV
from bioplaus.cell import Cell, triangular


def izhikevich(
    *,
    a=0.02 / ms,
    b=0.2 / ms,
    c=-65 * mV,
    d=8 * mV / ms,
    V_peak=30 * mV,
    unit=1 * mV,
    surrogate_width=100 * mV,
    dampening=0.3,
    method: str = "euler",
) -> Cell:
    """Izhikevich's model: dv/dt = 0.04 v² + 5 v + 140 − u + I (mV, ms), du/dt = a (b v − u); at v > 30 mV, v = c and u += d.

    A spike that arrives makes v jump by w·unit, as in the published network, whose step of 1 ms adds its weight to v; ``I`` is held
    over the step. By its four numbers: regular spiking as it comes; intrinsically bursting c=-55*mV, d=4*mV/ms; chattering c=-50*mV,
    d=2*mV/ms; fast spiking a=0.1/ms, d=2*mV/ms; low-threshold spiking b=0.25/ms, d=2*mV/ms.

    Parameters
    ----------
    a, b, c, d : rate and sensitivity of recovery, reset of v, jump of u.
    V_peak : top of the spike.
    unit : jump of v that one unit of weight gives; on I the same in 1 ms.
    surrogate_width, dampening : half width (mV) and height of the triangular surrogate derivative. # chosen: from rest to the peak
    method : Brian2 integration method; the paper takes Euler steps of 0.5 ms.

    References
    ----------
    Izhikevich 2003, doi:10.1109/TNN.2003.820440.
    """
    return Cell(
        name="izhikevich",
        equations="""dv/dt = k_2*v**2 + k_1*v + k_0 - u + I : volt
                     du/dt = a*(b*v - u) : volt/second""",
        inputs={"I": unit / ms},
        jumps={"v": unit},
        external=("v",),
        recurrent=("v",),
        spike="v > V_peak",
        reset="v = c; u += d",
        surrogate=triangular(dampening, width="surrogate_width"),
        start={"v": -65 * mV, "u": -13 * mV / ms},
        parameters=dict(
            k_2=0.04 / ms / mV,
            k_1=5 / ms,
            k_0=140 * mV / ms,
            a=a,
            b=b,
            c=c,
            d=d,
            V_peak=V_peak,
            surrogate_width=surrogate_width,
        ),  # fmt: skip
        method=method,
        source="doi:10.1109/TNN.2003.820440",
    )
