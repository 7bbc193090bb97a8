"""Instantaneous learning signal L_t = Bᵀ δ_t (Bellec et al. 2020, eq. 4; Lillicrap et al. 2016, doi:10.1038/ncomms13276).

=============  =========================================================================================================
feedback       what a neuron hears of the errors δ_t
=============  =========================================================================================================
symmetric      B = C, the readout's own weights
random         B fixed and random
adaptive       B receives the readout's own update while both decay, so that it aligns with it (Kolen & Pollack 1994; Akrout
               et al. 2019, arXiv 1904.05391)
broadcast      B_kj = b_k, fixed and random: the same mixture of errors everywhere, as a diffuse neuromodulator carries it
               (Frémaux & Gerstner 2016, doi:10.3389/fncir.2015.00085)
reward         Cᵀ ξ (ξ·δ_t): one reward for all, times what the neuron knows of the readout's exploration ξ (see reward.py)
a matrix       B as it is given, fixed
=============  =========================================================================================================

B and C are (output, unit); δ_t (batch, output); no units. C has weights for the neurons that the readout reads, and only those hear
of symmetric feedback and reward. B has weights for all neurons, read or not. It stands in C's place, so its variance is that of C,
gain²/n with n the units that are read: a neuron that is not read hears errors as loudly as one that is, and how loudly a neuron hears
them does not change with neurons that are added elsewhere.

Adaptive feedback moves by the product of what its two ends know, the error and the presynaptic output as the readout filters it::

    ΔB ∝ Σ_t δ_t ⊗ ȳ_t,   B ← (1 − decay) B

for every neuron. Of a neuron that is read that is the readout's own update, and B − C fades. One that is not read has no C to align
with: its B becomes the weight by which a readout that also read it would, from what it says, lessen the errors that there are; that
readout does not exist, so the errors stay, and it is decay that bounds B.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch

from bioplaus import checks
from bioplaus.circuit.network import Network
from bioplaus.declaration import Declaration
from bioplaus.errors import RuleError
from bioplaus.own import Own, Owns
from bioplaus.signal import everyone, reward
from bioplaus.signal.base import Answer, Signal
from bioplaus.signal.given import Feedback, Matrix
from bioplaus.signal.observed import Observed

FEEDBACKS = ("symmetric", "random", "adaptive", "broadcast", "reward")

_KEEPS = {
    "random": "this step's error through random weights",
    "adaptive": "this step's error through weights that align with the readout's",
    "broadcast": "one mixture of this step's errors, the same for all neurons",
}


@dataclass(frozen=True)
class Instant(Signal):
    """This step's error, fed back at once.

    Parameters
    ----------
    feedback : ``"symmetric"``, ``"random"``, ``"adaptive"``, ``"broadcast"`` or ``"reward"``; or a matrix (output, unit), its columns
        the neurons of all populations in the circuit's order. The readout's own weights learn from δ_t with each of them.
    gain : standard deviation of random feedback weights, times √(units read): 1 gives N(0, 1/n). Ignored for symmetric and
        reward, which have none, and for a matrix, which is taken as it is.
    decay : for adaptive feedback, the fraction by which feedback and readout weights shrink at every update.

    Raises
    ------
    RuleError
        If one of them makes no sense.
    """

    feedback: Literal["symmetric", "random", "adaptive", "broadcast", "reward"] | Any = "symmetric"
    gain: float = 1.0
    decay: float = 1e-3

    #: needs nothing but each step by itself
    pointwise: ClassVar[bool] = True

    declaration: ClassVar[Declaration] = Declaration(
        half="future", credit="direct", bias="exact", exact_when="always", causal=True, local=True, memory="–", time="o·n",
        keeps="this step's error through the readout's weights", reference="doi:10.1038/s41467-020-17236-y", transport=True,
    )  # fmt: skip

    constraints = checks.Table(
        RuleError,
        feedback=Feedback(FEEDBACKS),
        gain=checks.Real(),
        decay=checks.Real(least=0, below=1),  # 1 would forget everything at each update
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        if self.feedback != "symmetric":
            object.__setattr__(self, "declaration", replace(type(self).declaration, **self._claim()))

    def _claim(self) -> dict[str, Any]:
        """What other feedback than symmetric declares of itself."""
        if self.feedback == "reward":
            return {
                "bias": "unbiased", "exact_when": "there is one output (else on average over its exploration)", "tensor": "ξ[o]",
                "keeps": "this step's reward times what was explored", "random": True,
                "reference": "doi:10.1103/PhysRevLett.97.048104, doi:10.3389/fncir.2015.00085",
            }  # fmt: skip
        references = {"broadcast": "doi:10.3389/fncir.2015.00085", "adaptive": "arXiv:1904.05391"}
        return {
            "bias": "biased",
            "exact_when": "its feedback weights are the readout's",
            "keeps": _KEEPS.get(self.feedback, "this step's error through weights that are given"),
            "memory": "o" if self.feedback == "broadcast" else "o·n",
            "tensor": "b[o]" if self.feedback == "broadcast" else "B[oj]",
            "reference": references.get(self.feedback, "doi:10.1038/ncomms13276"),
            "closed": self.feedback != "adaptive",
            "transport": False,
        }

    def begin(self, network: Network, generator: torch.Generator, context: int) -> Owns:
        if self.feedback in ("symmetric", "reward"):
            return {}
        C = network.weights["W_out"]
        tensors = {"B": self._drawn(network, generator).to(C)}
        return {"feedback": Own(learned=tensors) if self.feedback == "adaptive" else Own(fixed=tensors)}

    def _drawn(self, network: Network, generator: torch.Generator) -> torch.Tensor:
        """B, float64; what is read is drawn first, so that it does not depend on what else there is."""
        if isinstance(self.feedback, Matrix):
            return self.feedback.values
        o, n = network.weights["W_out"].shape

        def draw(width: int) -> torch.Tensor:
            return torch.randn((o, width), generator=generator, dtype=torch.float64) * self.gain / n**0.5

        if self.feedback == "broadcast":
            return draw(1)
        return everyone.in_order(network, draw(n), draw(sum(everyone.sizes(network)) - n))

    def refuse(self, network: Network, steps: int | None) -> str | None:
        return self.feedback.misfit(network) if isinstance(self.feedback, Matrix) else None

    def hearers(self, network: Network, steps: int | None) -> set[int]:
        if isinstance(self.feedback, Matrix):
            return set(self.feedback.reaches(network))
        if self.feedback in ("symmetric", "reward"):
            return set(network.sources)
        return super().hearers(network, steps)

    def init(self, network: Network, batch: int, generator: torch.Generator | None = None) -> Any:
        return reward.branch(generator) if self.feedback == "reward" else None

    def credit(self, own: Owns, state: Any, observed: Observed) -> Answer:
        if self.feedback == "reward":
            state = state or reward.branch(None)  # asked outside a sequence
            xi = self.explore(state, observed.error)
            return replace(observed, error=reward.estimate(observed.error, xi)).direct(), {}, state, {}
        if "feedback" not in own:
            return observed.direct(), {}, state, {}
        network, found = observed.network, {}
        if self.feedback == "adaptive":  # Kolen–Pollack: the readout's own gradient, and its like for who is not read
            seen, state = everyone.outputs(network, observed.tangent.stretch, state or {})
            found["feedback.B"] = observed.error.flatten(0, -2).T @ seen.flatten(0, -2)
        B = own["feedback"]["B"]
        if self.feedback == "broadcast":
            B = B.expand(-1, sum(everyone.sizes(network)))
        return observed.direct(B), found, state, {}

    def renewed(self, path: str, value: torch.Tensor, network: Network) -> torch.Tensor:
        """B had weights for what is read, and nobody else heard anything: so it goes on, with zeros."""
        if path != "feedback.B" or self.feedback == "broadcast":
            return value
        rest = sum(everyone.sizes(network)) - value.shape[1]
        return everyone.in_order(network, value, value.new_zeros(len(value), rest))

    def explore(self, state: torch.Generator, error: torch.Tensor) -> torch.Tensor:
        """The signs ξ by which the readout explores, shaped like the error."""
        return reward.signs(state, error)

    def after_update(self, own: Owns, network: Network) -> None:
        """Decay of both, after the optimiser's step: what makes adaptive feedback forget where it started."""
        if self.feedback == "adaptive":
            own["feedback"]["B"].mul_(1 - self.decay)
            network.weights["W_out"].mul_(1 - self.decay)
