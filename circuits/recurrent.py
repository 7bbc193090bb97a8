"""A recurrent circuit of one or several cell types."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bioplaus import ms
from bioplaus.cell import Cell
from bioplaus.circuit import Circuit, Population, Projection, Readout
from bioplaus.errors import CircuitError


def recurrent(
    *,
    cell: Cell | Sequence[Cell],
    inputs: int,
    units: int | Sequence[int],
    outputs: int,
    tau_out: Any = None,
    dt: Any = 1 * ms,
    gain: float = 1.0,
    input_gain: float = 1.0,
    fan_in: int | None = None,
    delay: int = 1,
    autapses: bool | None = None,
    init: str = "normal",
    bias: Mapping[str, float] | bool | None = None,
    output_bias: bool = True,
    cerebellum: Any = None,
    name: str = "recurrent",
) -> Circuit:
    """All-to-all (or sparse) recurrent circuit with a linear readout.

    Parameters
    ----------
    cell : one cell type, or several, which then share all projections.
    inputs, units, outputs : sizes; ``units`` one number per cell type.
    tau_out : time constant of a leaky readout; None for none.
    dt : time step.
    gain, input_gain : standard deviation of weights times √fan-in; for spiking cells choose ``input_gain`` so that the circuit fires.
    fan_in : recurrent inputs per neuron from each cell type; None: all.
    delay : steps from a neuron's output to its effect.
    autapses : self-connections; default: none in spiking circuits.
    init : distribution of the weights, ``"normal"``, ``"uniform"``, ``"gamma"``, ``"orthogonal"``, ``"zeros"``.
    bias : first values of a learned bias per channel, e.g. ``{"I_f": 1.0}``; True zeros, False none; default: zeros for cells with a rate.
    output_bias : whether the readout has a bias.
    cerebellum : a predictor that belongs to the circuit; see ``cortico_cerebellar``.
    """
    cells = [cell] if isinstance(cell, Cell) else list(cell)
    sizes = list(units) if isinstance(units, Iterable) and getattr(units, "ndim", 1) else [units]
    if len(cells) != len(sizes):
        raise CircuitError(
            f"{len(cells)} cell types but {len(sizes)} sizes (units={units}); give one size per cell type."
        )
    names = ["cortex"] if len(cells) == 1 else [f"{c.name or 'cells'}{i}" for i, c in enumerate(cells)]
    label = lambda *parts: "_".join(parts if len(cells) > 1 else parts[:1])  # noqa: E731
    projections = []
    for post, c in zip(names, cells, strict=True):
        projections.append(
            Projection(name=label("W_in", post), source="input", target=post, gain=input_gain, init=init)
        )
        for pre in names:
            own = autapses if autapses is not None else not c.spiking
            projections.append(
                Projection(
                    name=label("W_rec", post, pre),
                    source=pre,
                    target=post,
                    gain=gain,
                    init=init,
                    fan_in=fan_in,
                    delay=delay,
                    autapses=own,
                )
            )
    populations = {}
    for n, c, size in zip(names, cells, sizes, strict=True):
        wanted = (not c.spiking) if bias is None else bias
        first = dict(wanted) if isinstance(wanted, Mapping) else ({} if wanted else None)
        populations[n] = Population(c, size, first)
    return Circuit(
        populations=populations,
        projections=tuple(projections),
        inputs=inputs,
        dt=dt,
        name=name,
        cerebellum=cerebellum,
        readout=Readout(size=outputs, tau=tau_out, bias=output_bias, init="uniform" if init == "uniform" else "normal"),
    )
