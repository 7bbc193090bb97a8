"""A predictor that speaks through fewer outputs than there is state: deep nuclei between Purkinje cells and the cortex.

    g(h) = V a(h; θ),      VᵀV = 1

a is any predictor with p outputs, V fixed and random. Fewer nuclear neurons than cortical ones send the prediction on; what
is learned, and a trace that lives among the outputs, has p dimensions instead of H.

=======  ===========  ========
symbol   variable     shape
=======  ===========  ========
V        ``V``        (H, p), fixed
a        ``of``       (…, p)
=======  ===========  ========
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from bioplaus import checks
from bioplaus.cerebellum.predictors import PREDICTOR, Linear, Predictor, Seen, born
from bioplaus.cerebellum.trial import Trial
from bioplaus.errors import RuleError
from bioplaus.own import Gradients, Own

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.perturb import Perturb


@dataclass(frozen=True)
class Nuclei(Predictor):
    """V a(h).

    Parameters
    ----------
    of : the predictor a; None: the circuit's own cerebellum, or a linear one.
    outputs : p, at most the size of the carried state.
    """

    of: Predictor | None
    outputs: int

    constraints = checks.Table(RuleError, of=PREDICTOR, outputs=checks.Whole())

    def __post_init__(self) -> None:
        checks.settle(self)

    @property
    def affine(self) -> bool:
        """Not in the sense of `Predictor`: no row of A serves one output alone."""
        return False

    @property
    def inner(self) -> Predictor:
        """a, which stands alone where there is no circuit to ask."""
        return self.of or Linear()

    def init(self, seen: Seen, generator: torch.Generator) -> Own:
        outputs = seen.outputs
        if self.outputs > outputs:
            raise RuleError(
                f"The predictor would speak through {self.outputs} outputs, but the carried state that it predicts for has "
                f"only {outputs} dimensions. Give outputs={outputs} or fewer."
            )
        theta = born(self.inner, seen.through(self.outputs), generator)
        drawn = torch.randn(outputs, self.outputs, generator=generator, dtype=torch.float64)
        Q, R = torch.linalg.qr(drawn)
        V = Q * torch.where(R.diagonal() < 0, -1.0, 1.0)  # so that no direction is preferred
        return Own(theta.learned, theta.fixed | {"V": V.to(dtype=seen.dtype, device=seen.device)})

    def predict(self, theta: Own, h: Tensor) -> Tensor:
        return self.inner.predict(theta, h) @ theta["V"].T

    def gradient(self, theta: Own, h: Tensor, u: Tensor) -> Gradients:
        return self.inner.gradient(theta, h, u @ theta["V"])

    def jacobian(self, theta: Own, h: Tensor) -> Gradients:
        each = self.inner.jacobian(theta, h)
        return {name: torch.einsum("op,bp...->bo...", theta["V"], now) for name, now in each.items()}

    def start(self, trial: Trial) -> Any:
        return self.inner.start(replace(trial, outputs=self.outputs))

    def relay(self, theta: Own, memory: Any, h: Tensor) -> tuple[Tensor, Any]:
        return self.inner.relay(theta, memory, h)

    def say(self, theta: Own, memory: Any, seen: Tensor, first: int) -> Tensor:
        return self.inner.say(theta, memory, seen, first) @ theta["V"].T

    def hear(self, theta: Own, memory: Any, delta: Tensor) -> tuple[Tensor, Any]:
        return self.inner.hear(theta, memory, delta)

    def watch(self, theta: Own, memory: Any, seen: Tensor, first: int) -> dict[str, Tensor]:
        return self.inner.watch(theta, memory, seen, first)

    def aside(self, theta: Own, memory: Any) -> Gradients:
        return self.inner.aside(theta, memory)

    def constrain(self, theta: Own) -> None:
        self.inner.constrain(theta)

    @property
    def bumps(self) -> bool:
        return self.inner.bumps

    def sizes(self, inputs: int, outputs: int) -> Mapping[str, int]:
        return self.inner.sizes(inputs, self.outputs)

    def delayed(self, perturbs: Iterable[Perturb]) -> Predictor:
        return replace(self, of=self.inner.delayed(perturbs))

    def refuse(self, trial: Trial, perturbs: tuple[Perturb, ...] = ()) -> str | None:
        return self.inner.refuse(replace(trial, outputs=self.outputs), perturbs)

    def describe(self) -> dict[str, Any]:
        return {"predictor": "nuclei", "outputs": self.outputs, "of": self.inner.describe()}
