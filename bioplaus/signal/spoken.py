"""What tells synapses that follow spikes of how things go: nothing, or one reward for all (`bioplaus.eligibility.stdp`).

    r_t = b_t − L_t,    b ← b + (1 − exp(−dt/τ_r)) (L_t − b),   b before the first step 0

L_t is the loss of this step, 0 where nothing is asked: a step that costs less than steps lately is rewarding. Like the error of a gradient, it is
known to the readout; unlike that, it says nothing of which output was wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from bioplaus import checks
from bioplaus.circuit.credit import silent
from bioplaus.declaration import Declaration
from bioplaus.errors import RuleError
from bioplaus.own import Owns
from bioplaus.signal.base import Answer, Signal
from bioplaus.signal.observed import Observed


@dataclass(frozen=True)
class Spoken(Signal):
    """``feedback="none"``, or ``"loss"``: the reward above. ``tau_r`` in ms."""

    feedback: Literal["none", "loss"] = "none"
    tau_r: float = 200.0

    pointwise: ClassVar[bool] = True
    #: adaptive feedback's, which this is not
    decay: ClassVar[float] = 0.0

    declaration: ClassVar[Declaration] = Declaration(
        half="future", credit="direct", bias="biased", exact_when="never: it is no gradient", causal=True, local=True, memory="1", time="o",
        keeps="one reward for all neurons", reference="doi:10.1093/cercor/bhl152",
    )  # fmt: skip

    constraints = checks.Table(RuleError, feedback=checks.Word(("none", "loss")), tau_r=checks.Real(above=0))

    def __post_init__(self) -> None:
        checks.settle(self)

    def credit(self, own: Owns, state: Any, observed: Observed) -> Answer:
        return silent(observed.network), {}, state, {}
