"""Instantaneous learning signal L_t = B δ_t (Bellec et al. 2020, eq. 4; Lillicrap et al. 2016, doi:10.1038/ncomms13276).

B is the readout's transpose (symmetric), a fixed random matrix (random), or a matrix that receives the readout's own update
while both decay (adaptive: Kolen & Pollack 1994; Akrout et al. 2019, arXiv 1904.05391), so that it aligns with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from bioplaus.circuit import checks
from bioplaus.circuit.linear import Credit
from bioplaus.circuit.network import Network
from bioplaus.declaration import Declaration
from bioplaus.errors import RuleError
from bioplaus.signal.observed import Observed

FEEDBACKS = ("symmetric", "random", "adaptive")


@dataclass(frozen=True)
class Instant:
    """This step's error, fed back at once.

    Parameters
    ----------
    feedback : ``"symmetric"``, ``"random"`` or ``"adaptive"``.
    gain : standard deviation of random feedback weights, times √(units read): 1 gives N(0, 1/n). Ignored for symmetric.
    decay : for adaptive feedback, the fraction by which feedback and readout weights shrink at every update.
    """

    feedback: Literal["symmetric", "random", "adaptive"] = "symmetric"
    gain: float = 1.0
    decay: float = 1e-3

    #: needs nothing but each step by itself
    pointwise: ClassVar[bool] = True

    #: whether it looks at the carried state itself, not only at errors
    reads_state: ClassVar[bool] = False

    declaration: ClassVar[Declaration] = Declaration(
        half="future", credit="direct", bias="exact", exact_when="feedback is symmetric, as direct credit", causal=True, local=True,
        memory="–", time="n·outputs", keeps="this step's error", reference="doi:10.1038/s41467-020-17236-y",
    )  # fmt: skip

    def __post_init__(self) -> None:
        checks.word(RuleError, "feedback", self.feedback, FEEDBACKS)
        checks.number(RuleError, "gain", self.gain)
        if checks.number(RuleError, "decay", self.decay, 0, 1) == 1:
            raise RuleError(
                "decay is 1, which would forget everything; it is the fraction that feedback and readout lose at each update: 0 ≤ decay < 1."
            )

    def refuse(self, network: Network, steps: int | None) -> str | None:
        return None

    def parameters(self, network: Network, generator: torch.Generator, context: int) -> dict[str, Tensor]:
        if self.feedback == "symmetric":
            return {}
        C = network.weights["W_out"]
        B = torch.randn(C.shape, generator=generator, dtype=torch.float64) * self.gain / C.shape[1] ** 0.5
        return {("B" if self.feedback == "adaptive" else "fixed_B"): B.to(C)}

    def init(self, network: Network, batch: int) -> None:
        return None

    def credit(
        self, theta: dict[str, Tensor], state: None, observed: Observed
    ) -> tuple[Credit, dict[str, Tensor], None, dict[str, Any]]:
        B = theta.get("B", theta.get("fixed_B"))
        own = {}
        if "B" in theta:  # Kolen–Pollack: the readout's own gradient
            own["B"] = observed.error.flatten(0, -2).T @ observed.linear.window.seen().flatten(0, -2)
        return observed.direct(B), own, None, {}

    def after_update(self, theta: dict[str, Tensor], network: Network) -> None:
        """Decay of both, after the optimiser's step: what makes adaptive feedback forget where it started."""
        if self.feedback == "adaptive":
            theta["B"].mul_(1 - self.decay)
            network.weights["W_out"].mul_(1 - self.decay)
