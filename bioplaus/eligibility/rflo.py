"""Random feedback local online learning: the leak alone (Murray 2019, doi:10.7554/eLife.43299).

    p_t = (1 − α) p_{t−1} + M_t,    dL/dW = Σ_t L_t ψ_t p_t                                     (eq. 5)

It is e-prop with every other path inside the neuron dropped: gates, adaptation, own output. For a plain leaky rate unit
nothing is dropped and the two are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bioplaus.circuit.network import Network
from bioplaus.circuit.tangent import Tangent
from bioplaus.codegen.partials import Partials
from bioplaus.declaration import Declaration
from bioplaus.eligibility.eprop import EProp


@dataclass(frozen=True)
class RFLO(EProp):
    """p ← (1 − α) p + M, α the leak alone. Needs credit for the output."""

    declaration: ClassVar[Declaration] = Declaration(
        half="past", credit="output", bias="biased", exact_when="the leak is the only path inside the neuron", causal=True, local=True,
        memory="K·n·m", time="K·n·m", keeps="the leak", reference="doi:10.7554/eLife.43299", tensor="p[jm]",
    )  # fmt: skip

    def refuse(self, network: Network) -> str | None:
        for p in network.populations:
            derived = p.kernel.derived
            used = {str(s) for s in set().union(*(f.free_symbols for f in derived.f))}
            moving = {
                *derived.states,
                *derived.inputs,
                *derived.noises,
                "y_last",
                "y_held",
                "receptive",
                "not_refractory",
            }
            for i, s in enumerate(derived.states):
                if {str(v) for v in derived.F[i][i].free_symbols} & moving:
                    return f"the leak of '{s}' in population '{p.name}' is not constant (it depends on the state, a gate or refractoriness), and rflo follows a constant leak only"
            if "y_last" in used:
                return f"population '{p.name}' feeds its own output back inside the neuron, so it has no plain leak"
        return None

    def partials(self, tangent: Tangent) -> tuple[Partials, ...]:
        return tuple(leak_alone(part) for part in tangent.partials)


def leak_alone(part: Partials) -> Partials:
    """The same with every path inside the neuron dropped but each state's own leak; whatever its entries are, where None is zero."""
    S = range(len(part.psi))
    return part._replace(
        F=tuple(tuple(part.F[i][j] if i == j else None for j in S) for i in S),
        E=(None,) * len(S),
        Ru=tuple(tuple(1.0 if i == j else None for j in S) for i in S),
        ry=(None,) * len(S),
    )
