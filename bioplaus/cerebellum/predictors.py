"""Predictors g(h; θ) behind one interface.

A predictor is a frozen description. Its weights θ are a plain dict, made by ``init`` and changed by an optimiser:

* ``init(inputs, outputs, generator, dtype, device)`` → θ
* ``predict(θ, h)`` → g, (…, outputs)
* ``gradient(θ, h, u)`` → {name: Σ u·∂g/∂θ} over all leading dimensions of h and u
* ``jacobian(θ, h)`` → {name: ∂g/∂θ, (batch, outputs, *shape of θ)}, for forward traces

and, for what is cheaper if only the last layer learns,

* ``affine`` — whether g = A φ(h) + b where A and b are all that learns, so that ∂g/∂θ does not depend on θ
* ``features(θ, h)`` → φ(h), what the last layer reads
"""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from bioplaus import checks
from bioplaus.errors import RuleError, unknown

Theta = dict[str, Tensor]


class Predictor(Protocol):
    """What every rung of the ladder offers."""

    def init(self, inputs: int, outputs: int, generator: torch.Generator, dtype: Any, device: Any) -> Theta: ...
    def predict(self, theta: Theta, h: Tensor) -> Tensor: ...
    def gradient(self, theta: Theta, h: Tensor, u: Tensor) -> Theta: ...
    def jacobian(self, theta: Theta, h: Tensor) -> Theta: ...
    def describe(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Linear:
    """g = h Aᵀ + b, zero-initialised: parallel fibres straight onto the output."""

    @property
    def affine(self) -> bool:
        return True

    def features(self, theta: Theta, h: Tensor) -> Tensor:
        return h

    def init(self, inputs: int, outputs: int, generator: torch.Generator, dtype: Any, device: Any) -> Theta:
        return {
            "A": torch.zeros(outputs, inputs, dtype=dtype, device=device),
            "b": torch.zeros(outputs, dtype=dtype, device=device),
        }

    def predict(self, theta: Theta, h: Tensor) -> Tensor:
        return h @ theta["A"].T + theta["b"]

    def gradient(self, theta: Theta, h: Tensor, u: Tensor) -> Theta:
        return {"A": u.flatten(0, -2).T @ h.flatten(0, -2), "b": u.flatten(0, -2).sum(0)}

    def jacobian(self, theta: Theta, h: Tensor) -> Theta:
        outputs = theta["b"].shape[0]
        eye = torch.eye(outputs, dtype=h.dtype, device=h.device)
        return {"A": eye[:, :, None] * h[:, None, None, :], "b": eye.expand(h.shape[0], -1, -1)}

    def describe(self) -> dict[str, Any]:
        return {"predictor": "linear"}


@dataclass(frozen=True)
class MLP:
    """One or two hidden layers of rectified units, last layer zero-initialised.

    Parameters
    ----------
    hidden : units of each hidden layer.
    train : ``"all"`` layers, or the ``"output"`` layer only (fixed random features).
    """

    hidden: tuple[int, ...] = (300,)
    train: str = "all"

    constraints = checks.Table(
        RuleError,
        "of an mlp predictor",
        hidden=checks.Several(checks.Whole(1, 10**6), "(400, 400)"),
        train=checks.Word(("all", "output")),
    )

    def __post_init__(self) -> None:
        checks.settle(self)

    def init(self, inputs: int, outputs: int, generator: torch.Generator, dtype: Any, device: Any) -> Theta:
        theta: Theta = {}
        sizes = (inputs, *self.hidden)
        for i, (m, n) in enumerate(zip(sizes, self.hidden, strict=False)):
            prefix = "" if self.train == "all" else "fixed_"
            theta[f"{prefix}A{i}"] = (torch.randn(n, m, generator=generator, dtype=torch.float64) * (2 / m) ** 0.5).to(
                dtype=dtype, device=device
            )
            theta[f"{prefix}b{i}"] = torch.zeros(n, dtype=dtype, device=device)
        theta["A"] = torch.zeros(outputs, sizes[-1], dtype=dtype, device=device)
        theta["b"] = torch.zeros(outputs, dtype=dtype, device=device)
        return theta

    @property
    def affine(self) -> bool:
        return self.train == "output"

    def features(self, theta: Theta, h: Tensor) -> Tensor:
        return self._layers(theta, h)[-1]

    def _layers(self, theta: Theta, h: Tensor) -> list[Tensor]:
        prefix = "" if self.train == "all" else "fixed_"
        values = [h]
        for i in range(len(self.hidden)):
            values.append(torch.relu(values[-1] @ theta[f"{prefix}A{i}"].T + theta[f"{prefix}b{i}"]))
        return values

    def predict(self, theta: Theta, h: Tensor) -> Tensor:
        return self._layers(theta, h)[-1] @ theta["A"].T + theta["b"]

    def gradient(self, theta: Theta, h: Tensor, u: Tensor) -> Theta:
        values = [v.flatten(0, -2) for v in self._layers(theta, h)]
        u = u.flatten(0, -2)
        out = {"A": u.T @ values[-1], "b": u.sum(0)}
        back = u @ theta["A"]
        if self.train == "all":
            for i in reversed(range(len(self.hidden))):
                back = back * (values[i + 1] > 0)
                out |= {f"A{i}": back.T @ values[i], f"b{i}": back.sum(0)}
                back = back @ theta[f"A{i}"]
        return out

    def jacobian(self, theta: Theta, h: Tensor) -> Theta:
        values = self._layers(theta, h)
        outputs = theta["b"].shape[0]
        eye = torch.eye(outputs, dtype=h.dtype, device=h.device)
        out = {"A": eye[:, :, None] * values[-1][:, None, None, :], "b": eye.expand(h.shape[0], -1, -1)}
        back = theta["A"].expand(h.shape[0], -1, -1)
        if self.train == "all":
            for i in reversed(range(len(self.hidden))):
                back = back * (values[i + 1] > 0)[:, None, :]
                out |= {f"A{i}": back[..., None] * values[i][:, None, None, :], f"b{i}": back}
                back = back @ theta[f"A{i}"]
        return out

    def describe(self) -> dict[str, Any]:
        return {"predictor": "mlp", **asdict(self)}


PREDICTORS: dict[str, Any] = {"linear": Linear, "mlp": MLP}

#: what a rule's ``predictor`` must be
PREDICTOR = checks.Optional(checks.Offers("predict", "a predictor", "bp.predictor('mlp')"), "for the circuit's own")


def predictor(name: str, **options: Any) -> Predictor:
    """A predictor by name: ``linear``, ``mlp``.

    Raises
    ------
    RuleError
        For an unknown name or option.
    """
    checks.accept(RuleError, "The name of a predictor", name, checks.Word(PREDICTORS))
    allowed = inspect.signature(PREDICTORS[name]).parameters
    for option in options:
        if option not in allowed:
            raise RuleError(unknown(f"option of the predictor '{name}'", option, allowed))
    return PREDICTORS[name](**options)
