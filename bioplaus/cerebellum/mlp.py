"""g = A φ(h) + b, φ one or two layers of rectified units: granule cells that learn, or do not."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from bioplaus import checks
from bioplaus.cerebellum.base import Predictor
from bioplaus.cerebellum.linear import last_layer
from bioplaus.cerebellum.seen import Seen
from bioplaus.errors import RuleError
from bioplaus.own import Gradients, Own

if TYPE_CHECKING:
    from torch import Tensor


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

    def init(self, seen: Seen, generator: torch.Generator) -> Own:
        layers: dict[str, Tensor] = {}
        sizes, dtype, device = (seen.inputs, *self.hidden), seen.dtype, seen.device
        for i, (m, n) in enumerate(zip(sizes, self.hidden, strict=False)):
            A = torch.randn(n, m, generator=generator, dtype=torch.float64) * (2 / m) ** 0.5
            layers |= {f"A{i}": A.to(dtype=dtype, device=device), f"b{i}": torch.zeros(n, dtype=dtype, device=device)}
        last = last_layer(seen.outputs, sizes[-1], dtype, device)
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
