"""Spike-timing-dependent plasticity by pairs, all to all (Song, Miller & Abbott 2000, doi:10.1038/78829; Bi & Poo 1998).

    a ← a exp(−Δt/τ₊);  at a presynaptic spike, as it arrives:  a ← a + A₊,  w ← w + lr·b                (1)
    b ← b exp(−Δt/τ₋);  at a postsynaptic spike:                b ← b − A₋,  w ← w + lr·a                (2)

within [w_min, w_max]; of a projection with a sign, that is of |w|. Where both are in one step, the presynaptic one comes first. Modulated by
reward (Izhikevich 2007, doi:10.1093/cercor/bhl152) pairs move a tag in the weight's place, and at every step::

    w ← w + lr·r·c;  c ← c exp(−dt/τ_e)                                                                  (3)

=======  ============  ======================
symbol   variable      unit
=======  ============  ======================
τ₊, τ₋   ``tau_plus``  time
τ_e      ``tau_e``     time
A₊, A₋   ``A_plus``    of weight, times lr
=======  ============  ======================

It follows no gradient, and only Brian2 runs it: as events, `bioplaus.brian.plastic`. Projections between spiking neurons learn so, the readout from
its error as ever, all other weights stay. Differs from the papers in that A₊ and A₋ are factors of the learning rate, not parts of the largest weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from bioplaus import checks
from bioplaus.circuit.credit import Credit
from bioplaus.circuit.network import Network
from bioplaus.circuit.tangent import Tangent
from bioplaus.declaration import Declaration
from bioplaus.eligibility.base import Eligibility
from bioplaus.errors import RuleError
from bioplaus.own import Owns

ONLY = (
    "The rule 'stdp' follows spikes and no gradient, and torch has no gradient to give for it: it runs inside Brian2 alone, as events of synapses. Write "
    "bp.Training(backend='brian2', batch=1, optimiser='sgd', apply='window', dtype='float64', lr=…), or take a rule such as bp.rule('eprop')."
)


@dataclass(frozen=True)
class STDP(Eligibility[Credit]):
    """Pairs of spikes move weights, or a tag. Times in ms."""

    declaration: ClassVar[Declaration] = Declaration(
        half="past", credit="output", bias="biased", exact_when="never: it follows no gradient", causal=True, local=True, memory="n·m", time="n·m",
        keeps="traces of spikes of either side", reference="doi:10.1038/78829", tensor="a[jm]",
    )  # fmt: skip

    tau_plus: float = 20.0
    tau_minus: float = 20.0
    A_plus: float = 1.0
    A_minus: float = 1.05
    w_min: float = 0.0
    w_max: float = 1.0
    tau_e: float = 200.0

    constraints = checks.Table(
        RuleError,
        tau_plus=checks.Real(above=0),
        tau_minus=checks.Real(above=0),
        A_plus=checks.Real(),
        A_minus=checks.Real(),
        w_min=checks.Real(),
        w_max=checks.Real(),
        tau_e=checks.Real(above=0),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        if self.w_min >= self.w_max:
            raise RuleError(f"w_min={self.w_min:g} of stdp is not below w_max={self.w_max:g}. Give bounds with room between them.")  # fmt: skip

    def init(self, network: Network, batch: int, own: Owns | None = None, generator: Any = None) -> Any:
        raise RuleError(ONLY)

    def step(self, state: Any, tangent: Tangent) -> Any:
        raise RuleError(ONLY)

    def gradient(self, network: Network, state: Any, tangent: Tangent, credit: Credit) -> dict[str, Any]:
        raise RuleError(ONLY)
