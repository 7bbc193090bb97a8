"""What an eligibility is: the past half of a rule, what the weights did to the state.

An eligibility is a frozen description of a subclass of `Eligibility`. It must have

* ``declaration`` — what it claims and which credit it needs (`bioplaus.declaration.Declaration`);
* ``step(state, tangent)`` → state, forward in time, one step (``tangent`` spans one step);
* ``gradient(network, state, tangent, credit)`` → {weight: Σ over batch}, for the step just taken;

and may have more than the defaults below. State goes in and comes out; the object holds options only.
`bioplaus.eligibility.recursion.Recursion` writes all of these for a state that moves forward step by step: then a rule is how it
starts, takes a step, and meets credit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

import torch

from bioplaus.circuit.credit import Credit, Currents, at
from bioplaus.circuit.network import Network
from bioplaus.circuit.tangent import Tangent
from bioplaus.circuit.upstream import upstream
from bioplaus.circuit.wiring import Source, Wired
from bioplaus.declaration import Declaration
from bioplaus.own import Gradients, Owns

#: the credit that an eligibility meets: for outputs, or for currents
C = TypeVar("C", bound="Credit | Currents")


class Eligibility(ABC, Generic[C]):
    """Defaults: it serves every network, has no tensors of its own, and wants a window in one piece."""

    declaration: ClassVar[Declaration]

    #: whether a window may come as stretches that keep only what derivatives need
    takes_stretches: ClassVar[bool] = False

    #: whether nothing of a step is held when the next is taken, so that this may stand in the same place
    lets_go: ClassVar[bool] = False

    #: whether the gradient of every synapse is credit for its neuron times a number of that synapse (`at_synapses`)
    by_synapse: ClassVar[bool] = False

    #: whether it can meet credit that is the same at all steps and known at the sequence's end only
    sums: ClassVar[bool] = False

    def refuse(self, network: Network) -> str | None:
        """A reason why it cannot serve a network, or None."""
        return None

    def reached(self, network: Network, hearers: set[int]) -> set[int]:
        """The populations whose weights meet credit that populations are given; here all from which a path leads to them."""
        return upstream(network, hearers)

    def fits(self, network: Network, batch: int) -> None:
        """Refuse a batch whose traces this machine's memory cannot hold.

        Raises
        ------
        RuleError
        """
        return None

    def begin(self, network: Network, generator: torch.Generator) -> Owns:
        """Its own tensors at their birth, by part."""
        return {}

    def init(
        self, network: Network, batch: int, own: Owns | None = None, generator: torch.Generator | None = None
    ) -> Any:
        """The state before a sequence; what draws at random while it learns draws from the generator."""
        return None

    @abstractmethod
    def step(self, state: Any, tangent: Tangent) -> Any:
        """One step forward."""

    @abstractmethod
    def gradient(self, network: Network, state: Any, tangent: Tangent, credit: C) -> Gradients:
        """What the step just taken, and all before it, did, met by its credit."""

    def forward(self, network: Network, state: Any, tangent: Tangent, credit: C) -> tuple[Gradients, Any]:
        """The two above for every step of a window, weights held."""
        total: Gradients = {}
        for t, one in enumerate(tangent.each()):
            state = self.step(state, one)
            for name, g in self.gradient(network, state, one, _at(credit, slice(t, t + 1))).items():
                total[name] = total[name] + g if name in total else g
        return total, state

    def window(
        self, network: Network, state: Any, stretches: Sequence[tuple[Tangent, C]], last: bool
    ) -> tuple[Gradients, Any]:
        """The same gradient over a whole window at once, given as consecutive stretches and their credit.

        ``last`` says that no step follows, so that no trace need be carried on.
        """
        ((tangent, credit),) = stretches
        return self.forward(network, state, tangent, credit)

    def keep_sum(self, state: Any, apart: bool = False) -> None:
        """From here on keep Σ_t e_t over the batch, or each sample's ``apart``, for `summed`; only where ``sums``."""
        state.keep_sum, state.apart = True, apart

    def summed(self, network: Network, state: Any, credit: Credit) -> Gradients:
        """Σ_t e_t met by one credit for all steps, (unit,) or, where samples are apart, (batch, unit); only where ``sums``."""
        raise NotImplementedError(f"{type(self).__name__} keeps no sum of its traces")

    def at_synapses(
        self, network: Network, state: Any, tangent: Tangent, w: Wired[Source]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What credit for a neuron meets at each of its synapses in the step just taken, and the same behind a leaky readout.

        (batch, channel, post, pre), or (batch, channel, synapse) of a sparse projection; only where ``by_synapse``.
        """
        raise NotImplementedError(f"{type(self).__name__} keeps no such number")

    def learned(self, state: Any) -> Gradients:
        """Gradients of its own tensors by path since they were last asked for, Σ over the batch."""
        return {}

    def after_update(self, own: Owns, network: Network) -> None:
        """Called after every step of the optimisers."""
        return None


def _at(credit: C, t: slice) -> C:
    if isinstance(credit, Credit):
        return at(credit, t)
    return tuple(None if a is None else a[t] for a in credit)  # type: ignore[return-value]
