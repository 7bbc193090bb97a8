"""Which channels of a cell excitatory and inhibitory neurons reach, and the sign of weights there (Dale's law)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bioplaus.cell import Cell
from bioplaus.errors import CircuitError

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.circuit.circuit import Circuit


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


def conductances(cell: Cell) -> frozenset[str]:
    """The channels on which a cell has conductances, which are never negative; none if what inhibits it is a current."""
    return frozenset((*cell.inhibitory, *apart(cell))) if conducts(cell) else frozenset()


def refuse_negative(circuit: Circuit, x: Tensor, what: str) -> None:
    """Refuse input below zero onto conductances: they would drive a membrane away from where they reverse, without end.

    Raises
    ------
    CircuitError
    """
    if not x.numel() or float(least := x.min()) >= 0:
        return
    for p in circuit.projections:
        onto = sorted({*(p.channels or ())} & conductances(circuit.populations[p.target].cell))
        if p.source == "input" and onto:
            raise CircuitError(
                f"{what} reach down to {least:g}, and projection {p.name} leads them to conductances ({', '.join(onto)} of population '{p.target}'), which are never "
                "negative. Give 0 or more, or lead them to a current: Projection(…, channels=('I',)), or a cell with external=('I',)."
            )
