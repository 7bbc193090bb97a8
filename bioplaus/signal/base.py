"""What a signal is: the future half of a rule, credit for what the circuit does now.

A signal is a frozen description of a subclass of `Signal`. It must have

* ``declaration`` — what it claims and which credit it gives (`bioplaus.declaration.Declaration`);
* ``credit(own, state, observed)`` → (credit, gradients, state, info): credit for every step of what was observed, Σ over steps and
  batch of the gradients of its own tensors by path (``{"predictor.A": …}``), the state for the next window, and numbers to report
(floats, or tensors of one number, which are read when the update is over);

and may have more than the defaults below. State goes in and comes out; the object holds options only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

import torch

from bioplaus.circuit.credit import Credit, Currents
from bioplaus.circuit.network import Network
from bioplaus.declaration import Declaration
from bioplaus.own import Gradients, Owns
from bioplaus.signal.observed import Observed

#: what a signal answers: credit for outputs, or for the state by way of its currents; gradients; state; what to report
Answer: TypeAlias = "tuple[Credit | Currents, Gradients, Any, Mapping[str, float | torch.Tensor]]"


class Signal(ABC):
    """Defaults: it serves every network, has no tensors and no state of its own, and looks at a window's errors alone."""

    declaration: ClassVar[Declaration]

    #: whether it needs nothing but each step by itself, so that steps may come in any number
    pointwise: ClassVar[bool] = False

    #: whether it looks at the carried state itself, not only at errors
    reads_state: ClassVar[bool] = False

    #: options that came later, and are not told of where they are None: runs of before are recognised
    later: ClassVar[tuple[str, ...]] = ()

    @property
    def wants_context(self) -> bool:
        """Whether it asks for the task's context, such as the label of a trial."""
        return False

    def wants_loss(self, network: Network) -> bool:
        """Whether it asks for what each step costs, not only for its error; `Observed.loss` then has it."""
        return False

    @property
    def per_step(self) -> dict[str, float]:
        """Its factors per step that mean another time at another dt, by name; here none (`bioplaus.signal.in_time`)."""
        return {}

    def refuse(self, network: Network, steps: int | None) -> str | None:
        """A reason why it cannot serve a network in windows of ``steps`` (None: whole sequences), or None."""
        return None

    def hearers(self, network: Network, steps: int | None) -> set[int]:
        """The populations whose outputs it may give credit for, in windows of ``steps``; here all."""
        return set(range(len(network.populations)))

    def fits(self, network: Network, own: Owns, batch: int) -> None:
        """Refuse a batch for which what is carried from window to window would not fit into memory.

        Raises
        ------
        RuleError
        """
        return None

    def begin(self, network: Network, generator: torch.Generator, context: int) -> Owns:
        """Its own tensors at their birth, by part; ``context`` is the size of what it is told beside the state."""
        return {}

    def init(self, network: Network, batch: int, generator: torch.Generator | None = None) -> Any:
        """The state before a sequence; what draws at random while it learns draws from the generator."""
        return None

    def settle(self, state: Any) -> None:
        """Called when numbers may be read from the device, before gradients are applied, with the state that it handed on last.

        Raises
        ------
        NumericalError
            If what it computed is beyond what it can stand for.
        """
        return None

    def renewed(self, path: str, value: torch.Tensor, network: Network) -> torch.Tensor:
        """A tensor of its own from a checkpoint of before format 3 of trainers, or what an optimiser kept of it, as it would be now."""
        return value

    @abstractmethod
    def credit(self, own: Owns, state: Any, observed: Observed) -> Answer:
        """Credit for every step of a window."""

    def after_update(self, own: Owns, network: Network) -> None:
        """Called after every step of the optimisers."""
        return None
