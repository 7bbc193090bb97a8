"""Two areas of two time scales: a fast one that moves at every step, and a slow one that moves when a clock ticks."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bioplaus import checks, ms
from bioplaus.cell import Cell
from bioplaus.cerebellum import predictor
from bioplaus.cerebellum.predictors import Predictor
from bioplaus.circuit import CELL, Circuit, Population, Projection, Readout
from bioplaus.content import model
from bioplaus.errors import CircuitError

INPUT, FAST, SLOW = "input", "fast", "slow"


def two_rate(
    *,
    inputs: int,
    outputs: int,
    units: Sequence[int] = (32, 32),
    cell: Cell | str = "elman",
    rate: str = "tanh(x)",
    lateral: bool = True,
    gain: float = 1.0,
    input_gain: float = 1.0,
    init: str = "normal",
    tau_out: Any = None,
    dt: Any = 1 * ms,
    cerebellum: Predictor | str | None = None,
    name: str = "two_rate",
) -> Circuit:
    """A fast area that hears the input and is read, and a slow one that hears and is heard by the fast one alone.

    The last line of the input is the slow area's clock c, 0 or 1, which reaches nothing else. Where it is 1 the slow area takes on what its input
    then is, where it is 0 it holds what it has::

        y^F_t = F(W_in x_t + W_FF y^F_{t−1} + W_FS y^S_{t−1} + b_F)
        y^S_t = c_t f(W_SF y^F_{t−1} + W_SS y^S_{t−1}) + (1 − c_t) y^S_{t−1},      o_t = W_out y^F_t + b_out

    Ticks in every n-th step, the last one of a window of n (``bp.rule("dni", steps=n)``), have all of their effect beyond that window: the
    weights onto the slow area, W_SF and W_SS, then learn from the synthetic gradient at its end alone, and without one not at all. The slow area
    has no bias, which would reach its clock, too.

    Parameters
    ----------
    inputs : external lines, of which the last is the clock.
    outputs : of the fast area's readout.
    units : neurons of the fast and of the slow area.
    cell : of the fast area.
    rate : f of the slow area's `clocked` cells, as a function of x.
    lateral : whether fast neurons project to each other (W_FF); without, what the circuit remembers of more than a step is in the slow area.
    gain, input_gain, init : of weights among areas, and of the input's, as in ``recurrent``.
    tau_out, dt : likewise.
    cerebellum : a predictor that belongs to the circuit; see ``cortico_cerebellar``.

    Raises
    ------
    CircuitError
        For a number of areas other than two, or no line beside the clock.

    References
    ----------
    Jaderberg et al. 2017, arXiv:1608.05343.
    """
    sizes = checks.accept(CircuitError, "units of two_rate", units, checks.Several(checks.Whole(), "(32, 32)"))
    lines = checks.whole(CircuitError, "inputs of two_rate", inputs, 2)
    if len(sizes) != 2:
        raise CircuitError(
            f"units of two_rate has {len(sizes)} sizes: give that of the fast and that of the slow area, such as (32, 32)."
        )
    fast, slow = sizes
    checks.accept(CircuitError, "lateral of two_rate", lateral, checks.Flag())
    unit: Cell = checks.accept(CircuitError, "The cell of a circuit", cell, CELL)
    seen = np.ones((fast, lines), dtype=bool)
    seen[:, -1] = False
    among: dict[str, Any] = {"init": init, "gain": gain}
    clock = (np.arange(slow), np.full(slow, lines - 1))
    own = [Projection(name="W_FF", source=FAST, target=FAST, autapses=not unit.spiking, **among)] if lateral else []
    return Circuit(
        populations={
            FAST: Population(unit, fast, None if unit.spiking or not unit.inputs else {}),
            SLOW: Population(model("clocked", rate=rate), slow),
        },
        projections=(
            Projection(name="W_in", source=INPUT, target=FAST, synapses=seen, sparse=False, init=init, gain=input_gain),
            *own,
            Projection(name="W_FS", source=SLOW, target=FAST, **among),
            Projection(name="W_SF", source=FAST, target=SLOW, **among),
            Projection(name="W_SS", source=SLOW, target=SLOW, **among),
            Projection(
                name="clock", source=INPUT, target=SLOW, channels=("c",), synapses=clock, init="constant", learned=False
            ),
        ),
        inputs=lines,
        dt=dt,
        name=name,
        cerebellum=predictor(cerebellum) if isinstance(cerebellum, str) else cerebellum,
        readout=Readout(size=outputs, tau=tau_out, sources=(FAST,), init="uniform" if init == "uniform" else "normal"),
    )
