"""What a circuit draws by itself: white noise of its cells, spikes of a background.

What is drawn stands beside the given input, in columns of their own: whoever runs a batch once more, a window or a single step of it
sees the same numbers, and derivatives are those at the given draw. Every noise of every population has its own named stream, so that
what another population draws changes nothing; an occasion ("update 7") goes into the name, so that training goes on from its seed and
the number of the update alone; and so does the number of a block of steps, so that a long simulation need not hold them all, and
begins as a short one does.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from bioplaus.circuit.description import Poisson

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.circuit.circuit import Circuit


#: steps that are drawn from one stream
BLOCK = 64


@dataclass(frozen=True)
class Drawn:
    """What one channel of a population is given, a number for every neuron and step, times ``weight``; its columns of the input."""

    population: str
    what: str  # the noise, or the channel of a background
    channel: int
    columns: slice
    background: Poisson | None = None
    chance: float = 0.0  # of a source's spike in a step

    @property
    def weight(self) -> float:
        return 1.0 if self.background is None else self.background.weight

    @property
    def width(self) -> int:
        return self.columns.stop - self.columns.start

    def draw(self, seed: int, occasion: str, first: int, steps: int, batch: int) -> Tensor:
        """From step ``first`` on, (time, batch, unit), in float64 on the CPU, whatever the network has: normal numbers, or how many sources spike."""
        blocks = range(first // BLOCK, -(-(first + steps) // BLOCK))
        begin = first - blocks.start * BLOCK
        return torch.cat([self._block(seed, occasion, b, batch) for b in blocks])[begin : begin + steps]

    def _block(self, seed: int, occasion: str, block: int, batch: int) -> Tensor:
        name = f"{seed}: {self.what} of {self.population}, {occasion}, {block}"
        generator = np.random.Generator(np.random.Philox(key=key(name)))
        shape = (BLOCK, batch, self.width)
        if self.background is None:
            return torch.from_numpy(generator.standard_normal(shape))
        return torch.from_numpy(generator.binomial(self.background.n, self.chance, shape).astype(np.float64))


def key(name: str) -> int:
    """Of the stream of a name: torch's generators keep 32 bits of a seed, too few for as many streams as there are updates."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")


def wanted(circuit: Circuit) -> tuple[Drawn, ...]:
    """What a circuit draws, and where it stands beside the input."""
    found, begin = [], circuit.inputs
    for name, population in circuit.populations.items():
        cell = population.cell
        backgrounds = population.background or {}
        each = [(channel, tuple(cell.channels).index(channel), poisson) for channel, poisson in backgrounds.items()]
        each += [(xi, len(cell.channels) + k, None) for k, xi in enumerate(cell.noises)]
        for what, channel, poisson in each:
            chance = 0.0 if poisson is None else poisson.rate * circuit.dt
            found.append(Drawn(name, what, channel, slice(begin, begin + population.size), poisson, chance))
            begin += population.size
    return tuple(found)
