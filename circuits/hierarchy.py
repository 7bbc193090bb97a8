"""A hierarchy of areas: a multilayer network as a circuit, whose depth is time."""

from collections.abc import Sequence
from typing import Any

from bioplaus import checks, ms
from bioplaus.cell import Cell
from bioplaus.cerebellum import predictor
from bioplaus.cerebellum.predictors import Predictor
from bioplaus.circuit import CELL, Circuit, Population, Projection, Readout
from bioplaus.circuit.dale import conducts
from bioplaus.content import model
from bioplaus.errors import CircuitError

INPUT = "input"


def hierarchy(
    *,
    inputs: int,
    outputs: int,
    units: Sequence[int] = (64, 64, 64),
    cell: Cell | str | Sequence[Cell | str] | None = None,
    lateral: bool = False,
    skip: Sequence[tuple[str, str]] = (),
    feedback: bool = False,
    readouts: str = "top",
    gain: float = 2**0.5,
    input_gain: float | None = None,
    lateral_gain: float = 1.0,
    init: str = "normal",
    delay: Any = 1,
    tau_out: Any = None,
    dt: Any = 1 * ms,
    cerebellum: Predictor | str | None = None,
    name: str = "hierarchy",
) -> Circuit:
    """Areas A1, …, AL; each drives the next one step later, external input the first, and the readout sees the last.

    A pattern that is flashed at step 1 is in area i at step i and at the readout at step L (the task ``volley``; ``stream`` sends one after the
    other). Without lateral, skipping and feedback projections, and with cells that keep nothing (the ones it comes with), the circuit then is the
    multilayer network::

        h^i_t = f(W_i h^{i−1}_{t−1} + b_i),     h^1_t = f(W_1 x_t + b_1),     o_t = W_out h^L_t + b_out

    and its gradient by BPTT is that network's by backpropagation. Its Jacobian has one block above the other, from each area to the next,
    so that a predictor that is local to areas is what Jaderberg et al. call a synthesiser of a layer, and ``dni(steps=1)`` their rule.

    Weights are called W1 (from the input) to WL, as layers are; beside them, on request, ``W_A1A1`` (lateral), ``W_A3A1`` (skipping, from
    A1 to A3) and ``W_A1A2`` (feedback, from each area to the one before).

    Parameters
    ----------
    inputs, outputs : numbers of external lines and of outputs.
    units : neurons of each area, from the input up.
    cell : of all areas, or one for each; None: ``elman`` with a rectified rate, y = relu(I).
    lateral : whether neurons of an area project to each other; those that spike not to themselves.
    skip : pairs (source, target) of areas that are further apart, ``(("A1", "A3"),)``. They take as long as the way through the areas between, so
        that one volley arrives at once.
    feedback : whether each area projects to the one before, too.
    readouts : ``"top"``: of the last area; ``"each"``: every area has ``outputs`` outputs of its own, those of A1 first, for losses that stay within areas
        (``Readout`` with ``apart=True``; of ``volley`` and its loss ``readouts="each"``).
    gain, input_gain : of ascending weights and of the input's: their standard deviation is gain/√fan-in, and at √2 rectified areas are alike in
        strength (He et al. 2015). ``input_gain`` None: as ``gain``. For spiking cells choose them so that areas fire.
    lateral_gain : of lateral and feedback weights.
    init, delay, tau_out, dt : as in ``recurrent``. A delay of d steps makes L areas L·d − d + 1 steps deep.
    cerebellum : a predictor that belongs to the circuit; see ``cortico_cerebellar``.

    Raises
    ------
    CircuitError
        For a number of cells that is not that of the areas, or a skipping projection that leads nowhere or skips nothing.

    References
    ----------
    Jaderberg et al. 2017, arXiv:1608.05343. He et al. 2015, arXiv:1502.01852.
    """
    sizes = checks.accept(CircuitError, "units of hierarchy", units, checks.Several(checks.Whole(), "(64, 64, 64)"))
    areas = [f"A{i + 1}" for i in range(len(sizes))]
    cells = dict(zip(areas, _cells(cell, len(areas)), strict=True))
    flags = {"lateral": lateral, "feedback": feedback}
    for what, flag in flags.items():
        checks.accept(CircuitError, f"{what} of hierarchy", flag, checks.Flag())
    checks.accept(CircuitError, "readouts of hierarchy", readouts, checks.Word(("top", "each")))
    count = checks.whole(CircuitError, "outputs of hierarchy", outputs)
    first: dict[str, Any] = {"init": init, "gain": gain if input_gain is None else input_gain}
    ascending, among = (
        {"init": init, "gain": gain, "delay": delay},
        {"init": init, "gain": lateral_gain, "delay": delay},
    )
    projections = [_onto(cells, "W1", INPUT, "A1", **first)]
    projections += [
        _onto(cells, f"W{i + 2}", low, high, **ascending)
        for i, (low, high) in enumerate(zip(areas, areas[1:], strict=False))
    ]
    for low, high in _skipping(skip, areas):
        late = _times(delay, areas.index(high) - areas.index(low))
        projections.append(_onto(cells, f"W_{high}{low}", low, high, **ascending | {"delay": late}))
    if lateral:
        projections += [_onto(cells, f"W_{a}{a}", a, a, autapses=not cells[a].spiking, **among) for a in areas]
    if feedback:
        projections += [
            _onto(cells, f"W_{low}{high}", high, low, **among) for low, high in zip(areas, areas[1:], strict=False)
        ]
    return Circuit(
        populations={
            a: Population(c, n, None if c.spiking or not c.inputs else {})
            for (a, c), n in zip(cells.items(), sizes, strict=True)
        },
        projections=tuple(projections),
        inputs=inputs,
        dt=dt,
        name=name,
        cerebellum=predictor(cerebellum) if isinstance(cerebellum, str) else cerebellum,
        readout=Readout(
            size=count if readouts == "top" else count * len(areas),
            tau=tau_out,
            sources=(areas[-1],) if readouts == "top" else tuple(areas),
            init="uniform" if init == "uniform" else "normal",
            apart=readouts == "each",
        ),
    )


def _cells(cell: Any, areas: int) -> list[Cell]:
    """One for each area."""
    if cell is None:
        cell = model("elman", rate="relu(x)")
    several = list(cell) if isinstance(cell, (tuple, list)) else [cell] * areas
    if len(several) != areas:
        raise CircuitError(
            f"cell of hierarchy has {len(several)} cell types and units {areas} areas: give one cell for all, or one for each area."
        )
    return [checks.accept(CircuitError, "The cell of a circuit", each, CELL) for each in several]


def _onto(cells: dict[str, Cell], name: str, source: str, target: str, **how: Any) -> Projection:
    """A projection; with positive weights where they are conductances."""
    held: dict[str, Any] = {"sign": 1} if conducts(cells[target]) else {}
    return Projection(name=name, source=source, target=target, **how, **held)


def _skipping(skip: Any, areas: list[str]) -> list[tuple[str, str]]:
    """Pairs of areas with one at least between them."""
    wanted = f"pairs (source, target) of {', '.join(areas)} with an area between them, such as (('A1', 'A3'),), or () for none"
    if not isinstance(skip, (tuple, list)):
        raise checks.refusal(CircuitError, "skip of hierarchy", skip, wanted)
    for pair in skip:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(each in areas for each in pair):
            raise checks.refusal(CircuitError, "skip of hierarchy", skip, wanted)
        if areas.index(pair[1]) < areas.index(pair[0]) + 2:
            raise CircuitError(
                f"skip of hierarchy has a projection from {pair[0]} to {pair[1]}, which skips no area: give {wanted}. "
                "lateral=True and feedback=True make those within an area and to the one before."
            )
    return [(pair[0], pair[1]) for pair in skip]


def _times(delay: Any, areas: int) -> Any:
    """How long it takes over so many areas."""
    try:
        return delay * areas
    except TypeError:
        raise CircuitError(
            f"delay of hierarchy is {delay!r}, and projections that skip areas take as long as those through them, which nobody can say of it: give steps "
            "or a time, or leave skip out."
        ) from None
