"""What all signals with a predictor share: whose it is, what it sees, how it begins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from bioplaus.cerebellum import Linear
from bioplaus.cerebellum.base import Predictor, born
from bioplaus.cerebellum.nuclei import Nuclei
from bioplaus.cerebellum.trial import Trial, lesions
from bioplaus.circuit.carried import Layout
from bioplaus.circuit.delays import timeless
from bioplaus.circuit.network import Network
from bioplaus.own import Gradients, Own, Owns, under
from bioplaus.signal.base import Signal
from bioplaus.signal.observed import Observed

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Sight:
    """What a predictor remembers, and what stood for the last state, (batch, …); None before the first, and for one that reads states as they are."""

    memory: Any
    last: Tensor | None = None


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
        g = which(self.predictor, network)
        return g.delayed(network.cerebellar) if network.cerebellar else g

    def refuse(self, network: Network, steps: int | None) -> str | None:
        return self.of(network).refuse(self.trial(network), network.cerebellar)

    def refuse_told(self, network: Network, context: int) -> str | None:
        """The same, now that it is known of how many numbers the context is."""
        return self.of(network).refuse(self.trial(network, context=context), network.cerebellar)

    def trial(self, network: Network, generator: torch.Generator | None = None, context: int | None = None) -> Trial:
        """What a predictor is told of a trial; ``context`` numbers are beside the state, None: nobody has seen a batch yet."""
        size, populations = Layout(network).size, network.circuit.populations
        timed = not any(timeless(p.cell) for p in populations.values())
        reads = size + (context or 0 if self.context else 0)
        told = not self.context or context is not None
        return Trial(reads, size, network.circuit.dt, timed, lesions(network.cerebellar), generator, told)

    def sight(self, network: Network, generator: torch.Generator | None = None) -> Sight:
        """Before a sequence."""
        return Sight(self.of(network).start(self.trial(network, generator)))

    def remembered(self, state: Any) -> Sight:
        """The sight in a state that it hands on."""
        return state.sight

    def look(self, own: Owns, sight: Sight, observed: Observed, h: Tensor) -> tuple[Tensor, Sight]:
        """What g has of the states h of a window, the one before it first, (time + 1, batch, …), of which each is taken in once."""
        given = self.see(observed, h)
        fresh = given if sight.memory.at < 0 else given[1:]
        seen, memory = self.of(observed.network).relay(theta(own), sight.memory, fresh)
        if seen is fresh:  # g reads the states themselves, and the one before the window is at hand
            return given, Sight(memory)
        if sight.last is not None:
            seen = torch.cat([sight.last.unsqueeze(0), seen])
        return seen, Sight(memory, seen[-1])

    def said(self, own: Owns, sight: Sight, observed: Observed, seen: Tensor) -> Tensor:
        """g of all that was seen in a window, or of the last few of it."""
        return self.of(observed.network).say(theta(own), sight.memory, seen, sight.memory.at - len(seen))

    def hear(self, g: Predictor, own: Owns, sight: Sight, delta: Tensor) -> tuple[Tensor, Gradients, Sight]:
        """What g's synapses are taught of errors (time, batch, outputs), and what else of it learns meanwhile, by path."""
        heard, memory = g.hear(theta(own), sight.memory, delta)
        return heard, under("predictor", g.aside(theta(own), memory)), replace(sight, memory=memory)

    def after_update(self, own: Owns, network: Network) -> None:
        """What holds of a predictor's weights at every update: signs, masks."""
        self.of(network).constrain(theta(own))

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
