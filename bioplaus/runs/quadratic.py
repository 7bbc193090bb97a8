"""A quadratic whose gradient is given with a bias and noise, as a job: what a method does where the truth can't be had.

    f(x) = |Ax − b|²/2m;   given: g + |g| (bias + noise), g = ∇f        A (m, n), b normal; the bias a fixed vector, the noise new at every update

As in the demonstrations to Maheswaranathan et al. 2019 (arXiv 1806.10230).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from bioplaus import checks
from bioplaus.errors import RunError
from bioplaus.learning.optimisers import made
from bioplaus.learning.training import Training
from bioplaus.runs.config import described
from bioplaus.runs.learner import Row
from bioplaus.streams import stream


@dataclass(frozen=True)
class Quadratic:
    """An arm of an experiment, in which no circuit learns; a `bioplaus.runs.learner.Job`.

    Parameters
    ----------
    training : updates, learning rate, optimiser and its options; of nothing else it has use.
    size, rows : n and m.
    bias, noise : their lengths, in that of the gradient.

    Raises
    ------
    RunError
    """

    training: Training
    size: int = 1000
    rows: int = 2000
    bias: float = 1.0
    noise: float = 1.5

    constraints = checks.Table(
        RunError,
        "of a quadratic",
        training=checks.Instance(Training, "bp.Training(updates=100, lr=0.2, optimiser='es')"),
        size=checks.Whole(),
        rows=checks.Whole(),
        bias=checks.Real(least=0),
        noise=checks.Real(least=0),
    )
    circuit: ClassVar[None] = None
    task: ClassVar[None] = None
    rule: ClassVar[None] = None
    evaluate_every: ClassVar[int] = 0
    device: ClassVar[str] = "cpu"
    files: ClassVar[Mapping[str, Any]] = {}

    def __post_init__(self) -> None:
        checks.settle(self)
        if self.size > self.rows:
            raise RunError(
                f"size of a quadratic is {self.size}, and rows is {self.rows}: with fewer data points than variables it has no one lowest point. Give rows ≥ size."
            )
        if not isinstance(self.training.lr, float | int):
            raise RunError(
                f"lr of the training of a quadratic is {self.training.lr!r}, and there is one vector to move. Give one number, such as lr=0.2."
            )

    @property
    def updates(self) -> int:
        """Those of the training."""
        return self.training.updates

    def describe(self, seed: int) -> dict[str, Any]:
        """All that decides what is computed."""
        return described(**{name: getattr(self, name) for name in self.constraints.rows}, seed=seed)

    def begin(self, seed: int) -> Descending:
        """Where x is 0."""
        return Descending(self, seed)


class Descending:
    """x, one update after another; its loss is f(x) − f(x*); a `bioplaus.runs.learner.Learner`."""

    def __init__(self, job: Quadratic, seed: int) -> None:
        n, m, g = job.size, job.rows, stream(seed, "problem")
        A, b, q = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((m, n), (m,), (n,)))
        # x, the bias and all that is drawn stand in the coordinates of H's eigenvectors: no direction is another there, and H is diagonal
        self.curvature, Q = torch.linalg.eigh(A.T @ A / m)
        self.best, self.x = Q.T @ (A.T @ b / m) / self.curvature, torch.zeros(n, dtype=torch.float64)
        self.job, self.bias = job, job.bias * q / q.norm()
        self.update_index, self.noise = 0, stream(seed, "noise")
        t = job.training
        self.optimiser = made([{"x": self.x}], {"x": t.lr}, t, generator=stream(seed, "directions"))  # type: ignore[dict-item]

    @property
    def size(self) -> int:
        """n."""
        return self.job.size

    def loss(self) -> float:
        """f(x) − f(x*) = ½ (x − x*)ᵀ H (x − x*), H = AᵀA/m."""
        away = self.x - self.best
        return float(away @ (self.curvature * away)) / 2

    def update(self) -> Row:
        """One step; the loss is that before it."""
        true = self.curvature * (self.x - self.best)
        row = {"update": self.update_index + 1, "loss": self.loss()}
        z = torch.randn(self.size, generator=self.noise, dtype=true.dtype)
        given = true + true.norm() * (self.bias + self.job.noise * z / z.norm())
        with torch.no_grad():
            self.optimiser.step({"x": given}, self.loss)
        self.update_index += 1
        return row

    def evaluate(self) -> Row:
        """Nothing is tested: the loss is all there is."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """x, and what is drawn."""
        kept = {"x": self.x.clone(), "noise": self.noise.get_state(), "optimiser": self.optimiser.state_dict()}
        return kept | {"update": self.update_index}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict` of the same job and seed."""
        self.x.copy_(state["x"])
        self.noise.set_state(state["noise"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.update_index = state["update"]
