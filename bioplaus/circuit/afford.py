"""Whether a circuit fits into memory; asked before a weight is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bioplaus.capacity import lacking
from bioplaus.circuit.description import INPUT, Projection
from bioplaus.errors import CircuitError

if TYPE_CHECKING:
    from bioplaus.circuit.circuit import Circuit

_INDEX = 32  # bytes of a synapse's place, by its two neurons, in both orders
_DRAWN = 8  # bytes of a weight while it is drawn: float64, on the CPU


def afford(circuit: Circuit, dtype: torch.dtype, device: torch.device) -> None:
    """Refuse a circuit whose weights cannot be held, or not be drawn.

    Raises
    ------
    CircuitError
        Saying how much would be needed, and for what.
    """
    shapes, apart = {}, {}
    for p in circuit.projections:
        post, pre = _ends(circuit, p)
        if p.apart(post, pre):
            apart[p.name] = p.count(post, pre)
        else:
            shapes[p.name] = (len(p.channels or ()) * post, pre)
    read = sum(circuit.populations[name].size for name in circuit.readout.sources or ())
    shapes["W_out"] = (circuit.readout.size, read)
    numbers = {f"the weights {name} ({post} × {pre})": post * pre for name, (post, pre) in shapes.items()}
    channels = {p.name: len(p.channels or ()) for p in circuit.projections}
    numbers |= {f"the {count:_} synapses of {name}": channels[name] * count for name, count in apart.items()}
    size = torch.finfo(dtype).bits // 8
    largest = max(numbers, key=lambda what: numbers[what])
    held = {what: size * count for what, count in numbers.items()}
    if apart:
        held["where synapses are"] = _INDEX * sum(apart.values())
    drawing = {f"{largest} while they are drawn": _DRAWN * numbers[largest]}
    for needs, where in ((held, device), (drawing, torch.device("cpu"))):
        if reason := lacking(needs, where):
            raise CircuitError(
                f"The circuit '{circuit.name}' ({circuit.counts()}) {reason} Give fewer units, inputs or outputs, or fewer synapses: of projections "
                "that connect at most a tenth of all pairs (fan_in=, probability=, synapses=) only the synapses are kept."
            )


def _ends(circuit: Circuit, p: Projection) -> tuple[int, int]:
    """(post, pre)"""
    pre = circuit.inputs if p.source == INPUT else circuit.populations[p.source].size
    return circuit.populations[p.target].size, pre
