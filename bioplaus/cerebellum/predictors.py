"""Predictors g(h; θ) behind one interface.

A predictor is a frozen description. Its weights θ are an `Own`, made by ``init``; an optimiser moves what is learned of them:

* ``init(inputs, outputs, generator, dtype, device)`` → θ
* ``predict(θ, h)`` → g, (…, outputs)
* ``gradient(θ, h, u)`` → {name: Σ u·∂g/∂θ} over all leading dimensions of h and u, of what is learned
* ``jacobian(θ, h)`` → {name: ∂g/∂θ, (batch, outputs, *shape of θ)}, for forward traces
* ``describe()`` → plain data

and, for what is cheaper if only the last layer learns,

* ``affine`` — whether g = A φ(h) + b where A and b are all that learns, so that ∂g/∂θ does not depend on θ
* ``features(θ, h)`` → φ(h), what the last layer reads; asked of affine ones alone
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from bioplaus import checks
from bioplaus.capacity import lacking
from bioplaus.errors import RuleError, by_name, unknown
from bioplaus.own import Gradients, Own

if TYPE_CHECKING:
    from torch import Tensor


class Predictor(ABC):
    """What every rung of the ladder offers."""

    @property
    def affine(self) -> bool:
        return False

    @abstractmethod
    def init(self, inputs: int, outputs: int, generator: torch.Generator, dtype: Any, device: Any) -> Own: ...
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


@dataclass(frozen=True)
class Linear(Predictor):
    """g = h Aᵀ + b, zero-initialised: parallel fibres straight onto the output."""

    @property
    def affine(self) -> bool:
        return True

    def features(self, theta: Own, h: Tensor) -> Tensor:
        return h

    def init(self, inputs: int, outputs: int, generator: torch.Generator, dtype: Any, device: Any) -> Own:
        return Own(last_layer(outputs, inputs, dtype, device))

    def predict(self, theta: Own, h: Tensor) -> Tensor:
        return h @ theta["A"].T + theta["b"]

    def gradient(self, theta: Own, h: Tensor, u: Tensor) -> Gradients:
        return {"A": u.flatten(0, -2).T @ h.flatten(0, -2), "b": u.flatten(0, -2).sum(0)}

    def jacobian(self, theta: Own, h: Tensor) -> Gradients:
        outputs = theta["b"].shape[0]
        eye = torch.eye(outputs, dtype=h.dtype, device=h.device)
        return {"A": eye[:, :, None] * h[:, None, None, :], "b": eye.expand(h.shape[0], -1, -1)}

    def describe(self) -> dict[str, Any]:
        return {"predictor": "linear"}


@dataclass(frozen=True)
class MLP(Predictor):
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

    def init(self, inputs: int, outputs: int, generator: torch.Generator, dtype: Any, device: Any) -> Own:
        layers: dict[str, Tensor] = {}
        sizes = (inputs, *self.hidden)
        for i, (m, n) in enumerate(zip(sizes, self.hidden, strict=False)):
            A = torch.randn(n, m, generator=generator, dtype=torch.float64) * (2 / m) ** 0.5
            layers |= {f"A{i}": A.to(dtype=dtype, device=device), f"b{i}": torch.zeros(n, dtype=dtype, device=device)}
        last = last_layer(outputs, sizes[-1], dtype, device)
        return Own(layers | last) if self.train == "all" else Own(last, layers)

    @property
    def affine(self) -> bool:
        return self.train == "output"

    def features(self, theta: Own, h: Tensor) -> Tensor:
        return self._layers(theta, h)[-1]

    def _layers(self, theta: Own, h: Tensor) -> list[Tensor]:
        values = [h]
        for i in range(len(self.hidden)):
            values.append(torch.relu(values[-1] @ theta[f"A{i}"].T + theta[f"b{i}"]))
        return values

    def predict(self, theta: Own, h: Tensor) -> Tensor:
        return self._layers(theta, h)[-1] @ theta["A"].T + theta["b"]

    def gradient(self, theta: Own, h: Tensor, u: Tensor) -> Gradients:
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

    def jacobian(self, theta: Own, h: Tensor) -> Gradients:
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


def last_layer(outputs: int, features: int, dtype: Any, device: Any) -> dict[str, Tensor]:
    """A and b, zero: nothing is predicted before anything was learned.

    Raises
    ------
    RuleError
        If memory can't hold them.
    """
    shapes = {"A": (outputs, features), "b": (outputs,)}
    needs = {f"its last layer ({outputs} × {features})": outputs * features * torch.finfo(dtype).bits // 8}
    if reason := lacking(needs, torch.device(device)):
        raise RuleError(f"The predictor {reason} Use a smaller circuit, or a rule without a predictor, such as eprop.")
    return {name: torch.zeros(shape, dtype=dtype, device=device) for name, shape in shapes.items()}


PREDICTORS: dict[str, type[Predictor]] = {"linear": Linear, "mlp": MLP}

#: what a rule's ``predictor`` must be
PREDICTOR = checks.Optional(checks.Instance(Predictor, "bp.predictor('mlp')"), "for the circuit's own")


def predictor(name: str, *given: Any, **options: Any) -> Predictor:
    """A predictor by name: ``linear``, ``mlp``.

    Raises
    ------
    RuleError
        For an unknown name or option.
    """
    checks.accept(RuleError, "The name of a predictor", name, checks.Word(PREDICTORS))
    if given:
        raise RuleError(by_name(f"bp.predictor({name!r}, …)", given))
    allowed = inspect.signature(PREDICTORS[name]).parameters
    for option in options:
        if option not in allowed:
            raise RuleError(unknown(f"option of the predictor '{name}'", option, allowed))
    return PREDICTORS[name](**options)
