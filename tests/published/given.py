"""A network whose noise is what Brian2 has drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

import bioplaus as bp
from bioplaus.circuit.drawn import Drawn


@dataclass(frozen=True, kw_only=True)
class Given(Drawn):
    """Numbers (time, neuron) in place of those of a seed; every trial has the same."""

    numbers: np.ndarray

    def draw(self, seed: int, occasion: str, first: int, steps: int, batch: int) -> torch.Tensor:
        assert first + steps <= len(self.numbers)
        return torch.as_tensor(self.numbers)[first : first + steps, None].expand(-1, batch, -1)


def noisy(network: bp.Network, noise: Mapping[str, Mapping[str, np.ndarray]]) -> bp.Network:
    """The network itself, with the numbers of each noise of each population."""
    network.drawn = tuple(Given(**vars(d), numbers=noise[d.population][d.what]) for d in network.drawn)
    return network
