"""A rate regulariser: neurons that are too quiet or too loud are held to account for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bioplaus import checks
from bioplaus.errors import RuleError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RateRegulariser:
    """½ · strength · Σ_j (f_j − f₀)², f_j the mean output of neuron j over steps and batch (Bellec et al. 2020, eq. 54).

    Its credit for every output is strength · (f_j − f₀)/T, on the unfiltered eligibility. ``target`` is in outputs per step.
    """

    target: float
    strength: float

    constraints = checks.Table(RuleError, target=checks.Real(), strength=checks.Real(least=0))

    def __post_init__(self) -> None:
        checks.settle(self)

    def credit(self, mean: Tensor, steps: int) -> Tensor:
        return self.strength * (mean - self.target) / steps
