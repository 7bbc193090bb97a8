"""No trace: only what a weight does in its own step, M_t = ∂u_t/∂W = G_t ⊗ pre_t."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bioplaus.circuit.credit import Currents
from bioplaus.circuit.network import Network
from bioplaus.circuit.sweep import weight_gradients
from bioplaus.circuit.tangent import Tangent
from bioplaus.circuit.wiring import Source, Wired
from bioplaus.declaration import Declaration
from bioplaus.eligibility.base import Eligibility
from bioplaus.own import Gradients

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Immediate(Eligibility[Currents]):
    """dL/dW = Σ_t a_t M_t. Needs credit for the state, all of the future included (BPTT, synthetic gradients)."""

    declaration: ClassVar[Declaration] = Declaration(
        half="past", credit="state", bias="exact", exact_when="always", causal=True, local=True,
        memory="–", time="K·n·m", keeps="one step", reference="doi:10.1109/5.58337",
    )  # fmt: skip

    by_synapse: ClassVar[bool] = True

    def reached(self, network: Network, hearers: set[int]) -> set[int]:
        return hearers

    def step(self, state: None, tangent: Tangent) -> None:
        return None

    def at_synapses(self, network: Network, state: None, tangent: Tangent, w: Wired[Source]) -> tuple[Tensor, None]:
        """Credit for a current meets what the synapse heard."""
        pre = tangent.stretch.pre(w)[0]
        if w.synapses is not None:
            return pre[:, None, w.synapses.columns].expand(-1, len(w.channels), -1), None
        return pre[:, None, None].expand(-1, len(w.channels), network.populations[w.target].size, -1), None

    def gradient(self, network: Network, state: None, tangent: Tangent, credit: Currents) -> Gradients:
        return weight_gradients(network, tangent.stretch, credit)

    def forward(self, network: Network, state: None, tangent: Tangent, credit: Currents) -> tuple[Gradients, None]:
        return weight_gradients(network, tangent.stretch, credit), None
