"""A rate regulariser: neurons that are too quiet or too loud are held to account for it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bioplaus import checks
from bioplaus.errors import RuleError


@dataclass(frozen=True)
class RateRegulariser:
    """½ · strength · Σ_j (f_j − f₀)², f_j the mean output of neuron j over steps and batch (Bellec et al. 2020, eq. 54).

    Its credit for every output is strength · (f_j − f₀)/T, on the unfiltered eligibility. ``target`` is in outputs per step.
    """

    target: float
    strength: float

    def __post_init__(self) -> None:
        checks.number(RuleError, "target of a rate regulariser (in outputs per step)", self.target)
        checks.number(RuleError, "strength of a rate regulariser", self.strength, 0)

    def credit(self, mean: Tensor, steps: int) -> Tensor:
        return self.strength * (mean - self.target) / steps
