"""Whether a circuit fits into memory; asked before a weight is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bioplaus.capacity import lacking
from bioplaus.circuit.description import INPUT, Projection
from bioplaus.errors import CircuitError

if TYPE_CHECKING:
    from bioplaus.circuit.circuit import Circuit

_DRAWN = 8  # bytes of a weight while it is drawn: float64, on the CPU


def afford(circuit: Circuit, dtype: torch.dtype, device: torch.device) -> None:
    """Refuse a circuit whose weights cannot be held, or not be drawn.

    Raises
    ------
    CircuitError
        Saying how much would be needed, and for what.
    """
    shapes = {p.name: _shape(circuit, p) for p in circuit.projections}
    read = sum(circuit.populations[name].size for name in circuit.readout.sources or ())
    shapes["W_out"] = (circuit.readout.size, read)
    numbers = {f"the weights {name} ({post} × {pre})": post * pre for name, (post, pre) in shapes.items()}
    size = torch.finfo(dtype).bits // 8
    largest = max(numbers, key=lambda what: numbers[what])
    held = {what: size * count for what, count in numbers.items()}
    drawing = {f"{largest} while they are drawn": _DRAWN * numbers[largest]}
    for needs, where in ((held, device), (drawing, torch.device("cpu"))):
        if reason := lacking(needs, where):
            raise CircuitError(
                f"The circuit '{circuit.name}' ({circuit.counts()}) {reason} Every weight of a projection is kept, also where fan_in leaves out "
                "most of them. Give fewer units, inputs or outputs, or several smaller populations with projections between some of them."
            )


def _shape(circuit: Circuit, p: Projection) -> tuple[int, int]:
    pre = circuit.inputs if p.source == INPUT else circuit.populations[p.source].size
    return len(p.channels or ()) * circuit.populations[p.target].size, pre
