"""What all signals with a predictor share: whose it is, what it sees, how it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bioplaus.cerebellum import Linear
from bioplaus.cerebellum.base import Predictor, born
from bioplaus.cerebellum.nuclei import Nuclei
from bioplaus.circuit.carried import Layout
from bioplaus.circuit.network import Network
from bioplaus.own import Own, Owns
from bioplaus.signal.base import Signal
from bioplaus.signal.observed import Observed

if TYPE_CHECKING:
    from torch import Tensor


class SyntheticGradient(Signal):
    """A signal that speaks of the future by a predictor g(h; θ), the part ``predictor`` of its own tensors."""

    predictor: Predictor | None
    context: bool
    injection: float

    @property
    def wants_context(self) -> bool:
        return self.context

    def wants_loss(self, network: Network) -> bool:
        return self.of(network).weights[0] > 0

    def of(self, network: Network) -> Predictor:
        """Its predictor g, where it has none of its own the circuit's cerebellum."""
        return which(self.predictor, network)

    def see(self, observed: Observed, h: Tensor, at: int | slice = slice(None)) -> Tensor:
        """What g is given: the carried state, and beside it the context if it asks for that; ``at`` as of `Observed.with_context`."""
        return observed.with_context(h, at) if self.context else h

    def at_birth(self, network: Network, generator: torch.Generator, context: int) -> Own:
        """θ."""
        return born(self.of(network), Layout(network).seen(context if self.context else 0), generator)


def theta(own: Owns) -> Own:
    """The predictor's weights among a rule's own tensors; one may have none."""
    return own.get("predictor", Own())


def which(predictor: Predictor | None, network: Network) -> Predictor:
    """The predictor a signal uses: its own, else the circuit's cerebellum, else a linear one; behind deep nuclei likewise."""
    if isinstance(predictor, Nuclei):
        return Nuclei(which(predictor.of, network), predictor.outputs)
    return predictor or network.circuit.cerebellum or Linear()
