"""A recurrent circuit of one or several cell types."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bioplaus import checks, ms
from bioplaus.cell import Cell
from bioplaus.cerebellum import predictor
from bioplaus.cerebellum.predictors import Predictor
from bioplaus.circuit import CELL, Circuit, Poisson, Population, Projection, Readout
from bioplaus.circuit.dale import conducts
from bioplaus.errors import CircuitError


def recurrent(
    *,
    cell: Cell | str | Sequence[Cell | str] | Mapping[str, Cell | str],
    inputs: int,
    units: int | Sequence[int] | Mapping[str, int],
    outputs: int,
    tau_out: Any = None,
    dt: Any = 1 * ms,
    gain: float = 1.0,
    input_gain: float = 1.0,
    fan_in: int | None = None,
    delay: Any = 1,
    autapses: bool | None = None,
    init: str = "normal",
    bias: Mapping[str, float] | bool | None = None,
    background: Mapping[str, Poisson] | None = None,
    output_bias: bool = True,
    cerebellum: Predictor | str | None = None,
    name: str = "recurrent",
) -> Circuit:
    """All-to-all (or sparse) recurrent circuit with a linear readout.

    Weights onto cells that have conductances (``coba``) are positive and stay so; ``excitatory_inhibitory`` has neurons that inhibit them.

    Parameters
    ----------
    cell : one cell type, or several, which then share all projections; in a mapping, by the names of their populations. A model's
        name stands for the model as it comes.
    inputs, units, outputs : sizes; ``units`` one number per cell type, in a mapping if those are.
    tau_out : time constant of a leaky readout; None for none.
    dt : time step.
    gain, input_gain : standard deviation of weights times √fan-in; for spiking cells choose ``input_gain`` so that the circuit fires.
    fan_in : recurrent inputs per neuron from each cell type; None: all.
    delay : from a neuron's output to its effect, in steps, or a time that stays itself when dt changes, such as ``1.5*ms``.
    autapses : self-connections; default: none in spiking circuits.
    init : distribution of the weights, ``"normal"``, ``"uniform"``, ``"gamma"``, ``"orthogonal"``, ``"zeros"``.
    bias : first values of a learned bias per channel, e.g. ``{"I_f": 1.0}``; True zeros, False none; default: zeros for cells with a rate.
    background : Poisson spikes that every neuron gets by channel, ``{"ge": bp.Poisson(rate=5*Hz, n=800, weight=0.02)}``.
    output_bias : whether the readout has a bias.
    cerebellum : a predictor that belongs to the circuit; see ``cortico_cerebellar``.
    """
    types, sizes = _populations(cell, units)
    synapses = {"gain": gain, "init": init, "fan_in": fan_in, "delay": delay}
    populations = {}
    for n, size in sizes.items():
        wanted = (not types[n].spiking and bool(types[n].inputs)) if bias is None else bias
        if not isinstance(wanted, Mapping):
            wanted = (
                {}
                if checks.accept(
                    CircuitError,
                    "bias",
                    wanted,
                    checks.Flag("True, False, or first values by channel, such as {'I': 0.0}"),
                )
                else None
            )
        first = None if wanted is None else dict(wanted)
        populations[n] = Population(types[n], size, first, background)
    return Circuit(
        populations=populations,
        projections=_projections(types, autapses, {"gain": input_gain, "init": init}, synapses),
        inputs=inputs,
        dt=dt,
        name=name,
        cerebellum=predictor(cerebellum) if isinstance(cerebellum, str) else cerebellum,
        readout=Readout(size=outputs, tau=tau_out, bias=output_bias, init="uniform" if init == "uniform" else "normal"),
    )


def _populations(cell: Any, units: Any) -> tuple[dict[str, Cell], dict[str, Any]]:
    """Cell and size of every population, by name."""
    several = cell.values() if isinstance(cell, Mapping) else cell if isinstance(cell, (tuple, list)) else [cell]
    cells = [checks.accept(CircuitError, "The cell of a circuit", each, CELL) for each in several]
    if isinstance(cell, Mapping):
        names = list(cell)
    else:
        names = ["cortex"] if len(cells) == 1 else [f"{c.name or 'cells'}{i}" for i, c in enumerate(cells)]
    if isinstance(units, Mapping):
        if set(units) != set(names):
            raise CircuitError(
                f"units name the populations {', '.join(map(str, units))}, and the cells are of {', '.join(map(str, names))}: give both under the same names, "
                "such as cell={'E': 'lif', 'I': 'lif'}, units={'E': 80, 'I': 20}."
            )
        sizes = [units[name] for name in names]
    else:
        several = isinstance(units, Iterable) and not isinstance(units, str) and getattr(units, "ndim", 1)
        sizes = list(units) if several else [units]
    if len(cells) != len(sizes):
        raise CircuitError(_unequal(names, cell, units, len(sizes)))
    return dict(zip(names, cells, strict=True)), dict(zip(names, sizes, strict=True))


def _unequal(names: Sequence[str], cell: Any, units: Any, sizes: int) -> str:
    """That there is not one size per cell type, and how it is written."""
    types = "one cell type" if len(names) == 1 else f"{len(names)} cell types"
    many = "one size" if sizes == 1 else f"{sizes} sizes"
    each = [8] + [2] * (len(names) - 1)
    such = str(
        dict(zip(names, each, strict=True)) if isinstance(cell, Mapping) else tuple(each) if len(each) > 1 else 10
    )
    return f"cell has {types} and units is {units!r}, {many}: give one size per cell type, such as units={such}."


def _projections(
    types: Mapping[str, Cell], autapses: bool | None, lines: Mapping[str, Any], synapses: Mapping[str, Any]
) -> tuple[Projection, ...]:
    """Input lines and recurrent synapses onto every population, in this order; named alone where there is only one."""

    def label(*parts: str) -> str:
        return "_".join(parts if len(types) > 1 else parts[:1])

    projections = []
    for post, cell in types.items():
        own = autapses if autapses is not None else not cell.spiking
        held: dict[str, Any] = {"sign": 1} if conducts(cell) else {}
        projections.append(Projection(name=label("W_in", post), source="input", target=post, **lines, **held))
        for pre in types:
            name = label("W_rec", post, pre)
            projections.append(Projection(name=name, source=pre, target=post, autapses=own, **synapses, **held))
    return tuple(projections)
