"""What a predictor g(h; θ) is.

A predictor is a frozen description. Its weights θ are an `Own`, made by ``init``; an optimiser moves what is learned of them:

* ``init(seen, generator)`` → θ; ``seen`` says what it reads and speaks to (`Seen`): ``seen.inputs``, ``seen.outputs``, ``seen.areas``, …
* ``predict(θ, h)`` → g, (…, outputs); h is the carried state, with the context behind it if the rule has one
* ``gradient(θ, h, u)`` → {name: Σ u·∂g/∂θ} over all leading dimensions of h and u, of what is learned
* ``jacobian(θ, h)`` → {name: ∂g/∂θ, (batch, outputs, *shape of θ)}, for forward traces
* ``describe()`` → plain data

and, for what is cheaper if only the last layer learns,

* ``affine`` — whether g = A φ(h) + b where A and b are all that learns, so that ∂g/∂θ does not depend on θ
* ``features(θ, h)`` → φ(h), what the last layer reads; asked of affine ones alone
* ``read(θ, rows)`` → which features the outputs ``rows`` read; all, unless A has blocks
* ``named(θ, found)`` → what stands for (A, b) side by side, (outputs, features and 1), by the names of the weights

and, where more happens between the cortex and the layer that learns than a map of one state, in a sequence

* ``start(trial)`` → what it remembers (`Taken`) when a trial begins, of which `Trial` tells
* ``relay(θ, memory, h)`` → (what stands for h in all of the above, memory): consecutive states are taken in, (time, batch, inputs), each once
* ``say(θ, memory, seen, first)`` → g of some of them, the first of which is the state of step ``first`` (−1: before the first step), with lesions
* ``hear(θ, memory, δ)`` → (what its synapses are taught instead of the errors δ of the last few steps, (time, batch, outputs), memory)
* ``watch(θ, memory, seen, first)`` → part → its rates then, (time, batch, unit); all but the olive's
* ``aside(θ, memory)`` → Σ over the states taken in last of gradients of what learns by a rule of its own, such as thresholds
* ``constrain(θ)`` — after every step of an optimiser: signs, masks
* ``bumps`` — whether errors come late, to traces that rise and fall, which ``trace="bump"`` alone follows
* ``loop(dt)`` → after how many steps an error comes back, and after how many the trace is highest

and of its parts

* ``sizes(inputs, outputs)`` → part → how many units it has
* ``delayed(perturbs)`` → the predictor with other delays, as perturbations have them
* ``refuse(trial, perturbs)`` → why it can't serve a circuit, or can't be interfered with so, or None

and, of one that predicts the loss to come too,

* ``weights`` — of the squared errors of the loss and of its gradient; (0, 1): it predicts the gradient alone
* ``worth(θ, h)`` → the predicted losses, (…, k)
* ``worth_gradient(θ, h, u)`` → {name: Σ u·∂worth/∂θ}
* ``handed(θ, worth)`` → which of the losses predicted one window later stand in the target of each
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bioplaus.cerebellum import trial as trials
from bioplaus.cerebellum.seen import Seen
from bioplaus.cerebellum.trial import CEREBELLUM, Trial
from bioplaus.errors import RuleError
from bioplaus.own import Gradients, Own

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bioplaus.perturb import Perturb


@dataclass
class Taken:
    """What a predictor remembers of a trial.

    Attributes
    ----------
    trial : the trial.
    at : the step whose state is taken in next, −1 for the one before the first.
    log : where it writes down what its olive says, (step of the first, rates); None: nowhere.
    """

    trial: Trial
    at: int = -1
    log: list[tuple[int, Tensor]] | None = None


class Predictor(ABC):
    """What every rung of the ladder offers."""

    @property
    def affine(self) -> bool:
        return False

    @abstractmethod
    def init(self, seen: Seen, generator: torch.Generator) -> Own: ...
    @abstractmethod
    def predict(self, theta: Own, h: Tensor) -> Tensor: ...
    @abstractmethod
    def gradient(self, theta: Own, h: Tensor, u: Tensor) -> Gradients: ...
    @abstractmethod
    def jacobian(self, theta: Own, h: Tensor) -> Gradients: ...
    @abstractmethod
    def describe(self) -> dict[str, Any]: ...

    def features(self, theta: Own, h: Tensor) -> Tensor:
        raise RuleError(
            f"{type(self).__name__} says that it is affine and not what its last layer reads: write features(θ, h)."
        )

    def read(self, theta: Own, rows: Tensor) -> slice | Tensor:
        return slice(None)

    def named(self, theta: Own, found: Tensor) -> Gradients:
        return {"A": found[..., :-1], "b": found[..., -1]}

    def start(self, trial: Trial) -> Any:
        return Taken(trial)

    def relay(self, theta: Own, memory: Any, h: Tensor) -> tuple[Tensor, Any]:
        return h, replace(memory, at=memory.at + len(h))

    def say(self, theta: Own, memory: Any, seen: Tensor, first: int) -> Tensor:
        return trials.silenced(self.predict(theta, seen), memory.trial.lesions, CEREBELLUM, first)

    def hear(self, theta: Own, memory: Any, delta: Tensor) -> tuple[Tensor, Any]:
        return trials.silenced(delta, memory.trial.lesions, CEREBELLUM, memory.at - len(delta)), memory

    def watch(self, theta: Own, memory: Any, seen: Tensor, first: int) -> dict[str, Tensor]:
        return {}

    def aside(self, theta: Own, memory: Any) -> Gradients:
        return {}

    def constrain(self, theta: Own) -> None:
        return None

    @property
    def bumps(self) -> bool:
        return False

    def loop(self, dt: float) -> tuple[int, float]:
        return 0, 0.0

    def sizes(self, inputs: int, outputs: int) -> Mapping[str, int]:
        return {}

    def delayed(self, perturbs: Iterable[Perturb]) -> Predictor:
        return self

    def refuse(self, trial: Trial, perturbs: tuple[Perturb, ...] = ()) -> str | None:
        sizes = self.sizes(trial.inputs, trial.outputs)
        return trials.refuse(perturbs, sizes, (), () if trial.told else sizes)

    @property
    def weights(self) -> tuple[float, float]:
        return 0.0, 1.0

    def worth(self, theta: Own, h: Tensor) -> Tensor:
        raise RuleError(f"{type(self).__name__} gives the loss a weight and does not predict it: write worth(θ, h).")

    def worth_gradient(self, theta: Own, h: Tensor, u: Tensor) -> Gradients:
        raise RuleError(f"{type(self).__name__} predicts the loss and cannot learn it: write worth_gradient(θ, h, u).")

    def handed(self, theta: Own, worth: Tensor) -> Tensor:
        return worth

    def spoken(self, theta: Own) -> dict[str, Tensor]:
        """Population → where what it is told stands among the outputs, of one that speaks to each by a map of its own."""
        return {}


def born(g: Predictor, seen: Seen, generator: torch.Generator) -> Own:
    """θ.

    Raises
    ------
    RuleError
        For a predictor whose ``init`` is written for what it was given before.
    """
    if len(inspect.signature(g.init).parameters) != 2:
        raise RuleError(
            f"init of {type(g).__name__} takes {', '.join(inspect.signature(g.init).parameters)}, and is given two things, init(seen, generator): "
            "write seen.inputs, seen.outputs, seen.dtype and seen.device for the sizes, the type and the place."
        )
    return g.init(seen, generator)
