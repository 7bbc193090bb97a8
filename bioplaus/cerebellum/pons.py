"""The pontine nuclei: what of the cortex's state the mossy fibres bring.

    x = C h         C is 1, or random, (lines, size of h), entries N(0, 1/size of h): fewer lines than there is state     (1)
    m = [x]₊, [−x]₊    on and off: rates are not negative                                                                (2)

Without pairs m = x, which no rate can be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Pons:
    """(1) and (2).

    Parameters
    ----------
    lines : how many x there are; None: as many as h, C = 1.
    pairs : on and off, or neither.
    """

    lines: int | None
    pairs: bool

    def fibres(self, inputs: int) -> int:
        """How many mossy fibres there are."""
        return (self.lines or inputs) * (2 if self.pairs else 1)

    def draw(self, inputs: int, generator: torch.Generator) -> dict[str, Tensor]:
        """C, where it is not 1."""
        if self.lines is None:
            return {}
        return {"pons.C": torch.randn(self.lines, inputs, generator=generator, dtype=torch.float64) / inputs**0.5}

    def rates(self, C: Tensor | None, h: Tensor) -> Tensor:
        """m, (…, fibre)."""
        x = h if C is None else h @ C.T
        return torch.cat([torch.relu(x), torch.relu(-x)], -1) if self.pairs else x
