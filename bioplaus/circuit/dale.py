"""Which channels of a cell excitatory and inhibitory neurons reach, and the sign of weights there (Dale's law)."""

from __future__ import annotations

from collections.abc import Mapping

from bioplaus.cell import Cell
from bioplaus.errors import CircuitError


def reached(cell: Cell, excitatory: bool) -> tuple[tuple[str, ...] | None, int]:
    """Channels, None for those that the cell opens, and the sign: +1 or −1.

    Cells with ``inhibitory`` channels keep them apart: what excites goes onto the others. At all other cells both kinds of neuron reach
    the same channels, with weights of opposite signs.

    Raises
    ------
    CircuitError
        If nothing is left for excitatory neurons.
    """
    if not cell.inhibitory:
        return None, 1 if excitatory else -1
    if not excitatory:
        return tuple(cell.inhibitory), 1 if conducts(cell) else -1
    if not apart(cell):
        raise CircuitError(
            f"All channels of the cell {cell.name or 'unnamed'!r} that other neurons reach inhibit it ({', '.join(cell.inhibitory)}), and excitatory neurons "
            "need one: name it in recurrent= of the cell too, or take a cell that has one, such as 'coba'."
        )
    return apart(cell), 1


def apart(cell: Cell) -> tuple[str, ...]:
    """The channels that excitatory neurons reach of a cell that keeps them apart from inhibitory ones; none of all others."""
    return tuple(c for c in cell.recurrent or cell.channels if c not in cell.inhibitory) if cell.inhibitory else ()


def conducts(cell: Cell) -> bool:
    """Whether a cell is inhibited by conductances: no weight there, nor of its input, is negative."""
    signs: Mapping[str, int] = cell.inhibitory  # pyright: ignore[reportAssignmentType]  (a mapping once it is made)
    return 1 in signs.values()
