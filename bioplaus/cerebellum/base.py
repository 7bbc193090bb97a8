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

and, of one that predicts the loss to come too,

* ``weights`` — of the squared errors of the loss and of its gradient; (0, 1): it predicts the gradient alone
* ``worth(θ, h)`` → the predicted losses, (…, k)
* ``worth_gradient(θ, h, u)`` → {name: Σ u·∂worth/∂θ}
* ``handed(θ, worth)`` → which of the losses predicted one window later stand in the target of each
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from bioplaus.cerebellum.seen import Seen
from bioplaus.errors import RuleError
from bioplaus.own import Gradients, Own

if TYPE_CHECKING:
    import torch
    from torch import Tensor


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
