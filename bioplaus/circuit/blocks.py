"""Matrix products over time that round the same wherever a sequence is cut.

A matrix product rounds a row by how many rows there are: those that are left over go another way through the processor. So what every
step has by itself (its drive, its readout) is computed in blocks of so many steps, which begin at multiples of that number, counted
from the first step there ever was; what else stands in a block of which a part is asked for does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.circuit.network import Network

#: the fewest steps of a block  # chosen: a product of so many rows reads its weights from memory seldom enough
FEWEST = 16
#: the most, and rows (of steps and samples) that it has about  # measured: a product's call takes 10 us, a step in torch 100, in loops 2
MOST, ROWS = {"torch": 64, "numba": 512}, {"torch": 256, "numba": 2048}

#: bytes at multiples of which torch lays its own memory, and a block of at least 16 rows begins if the first does: products are not asked to round alike elsewhere
ALIGNED = 64


@dataclass(frozen=True)
class Blocks:
    """Consecutive steps, the first of which is step ``first``, in blocks of ``length``."""

    first: int
    length: int

    def __call__(self, rows: Callable[[Tensor], tuple[Tensor, ...]], x: Tensor) -> tuple[Tensor, ...]:
        """Functions of x, (time, …), that go row by row."""
        out: tuple[Tensor, ...] = ()
        spare: Tensor | None = None
        aligned = x.is_contiguous() and x.data_ptr() % ALIGNED == 0  # then so is every block of it
        end = self.first + len(x)
        for begin in range(self.first - self.first % self.length, end, self.length):
            left, right = max(begin, self.first), min(begin + self.length, end)
            if aligned and right - left == self.length:
                block = x[left - self.first : right - self.first]
            else:
                spare = block = x.new_zeros(self.length, *x.shape[1:]) if spare is None else spare
                block[left - begin : right - begin] = x[left - self.first : right - self.first]
            made = rows(block)
            if right - left == len(x):
                return tuple([each[left - begin : right - begin] for each in made])
            if not out:
                out = tuple([each.new_empty(len(x), *each.shape[1:]) for each in made])
            for into, each in zip(out, made, strict=True):
                into[left - self.first : right - self.first] = each[left - begin : right - begin]
        return out


def length(network: Network, batch: int, backend: str, most: int) -> int:
    """Steps of a block: by what all pieces of a way have in common, and so that ``most`` steps of neurons are not exceeded where that can be."""
    width, found = batch * sum(p.size for p in network.populations), MOST[backend]
    while found > FEWEST and (found * batch > ROWS[backend] or found * width > most):
        found //= 2
    return found
