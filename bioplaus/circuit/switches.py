"""What interferes with a circuit, over time: columns beside its input, as its own noise has them (`bioplaus.circuit.drawn`).

Whoever runs a batch once more, a window or a single step of it sees the same numbers, and so does the simulator that is a circuit's twin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from bioplaus.circuit.drawn import Drawn
from bioplaus.perturb import Span

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Piece:
    """What one perturbation has to say of some units, in some steps: ``value``, one or (unit,), times normal numbers if it ``varies``."""

    steps: Span | None
    units: slice | np.ndarray
    value: float | np.ndarray = 1.0
    varies: str = ""  # the name of the numbers' stream


@dataclass(frozen=True)
class Column(Drawn):
    """A number for every unit and step, of what several perturbations say of the same: the last of them, or their sum.

    ``columns`` is where it stands beside the input; ``channel`` which of the numbers that a step takes it is.
    """

    pieces: tuple[Piece, ...] = ()
    summed: bool = False

    def draw(self, seed: int, occasion: str, first: int, steps: int, batch: int) -> Tensor:
        """From step ``first`` on, (time, batch, unit), in float64."""
        found = torch.zeros(steps, batch, self.width, dtype=torch.float64)
        for piece in self.pieces:
            when = [t for t in range(steps) if piece.steps is None or first + t in piece.steps]
            if not when:
                continue
            here = torch.zeros(len(when), batch, self.width, dtype=torch.float64)
            here[..., piece.units] = torch.as_tensor(piece.value, dtype=torch.float64)
            if piece.varies:
                normal = Drawn(self.population, piece.varies, self.channel, slice(0, self.width))
                here *= normal.draw(seed, occasion, first, steps, batch)[when]
            if self.summed:
                found[when] += here
            else:
                mask = torch.zeros(self.width, dtype=torch.bool)
                mask[piece.units] = True
                found[when] = torch.where(mask, here, found[when])
        return found
