"""No trace: only what a weight does in its own step, M_t = ∂u_t/∂W = G_t ⊗ pre_t."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from bioplaus.circuit.network import Network
from bioplaus.circuit.sweep import weight_gradients
from bioplaus.circuit.tangent import Tangent
from bioplaus.declaration import Declaration
from bioplaus.eligibility.base import Eligibility


@dataclass(frozen=True)
class Immediate(Eligibility):
    """dL/dW = Σ_t a_t M_t. Needs credit for the state, all of the future included (BPTT, synthetic gradients)."""

    declaration: ClassVar[Declaration] = Declaration(
        half="past", credit="state", bias="exact", exact_when="always", causal=True, local=True,
        memory="–", time="K·n·m", keeps="one step", reference="doi:10.1109/5.58337",
    )  # fmt: skip

    def init(
        self,
        network: Network,
        batch: int,
        own: dict[str, Tensor] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        return None

    def step(self, state: None, tangent: Tangent) -> None:
        return None

    def gradient(
        self, network: Network, state: None, tangent: Tangent, credit: tuple[Tensor | None, ...]
    ) -> dict[str, Tensor]:
        return weight_gradients(network, tangent.stretch, credit)

    def forward(
        self, network: Network, state: None, tangent: Tangent, credit: tuple[Tensor | None, ...]
    ) -> tuple[dict[str, Tensor], None]:
        return weight_gradients(network, tangent.stretch, credit), None

    def window(
        self, network: Network, state: None, stretches: Sequence[tuple[Tangent, Any]], last: bool
    ) -> tuple[dict[str, Tensor], None]:
        ((tangent, credit),) = stretches
        return weight_gradients(network, tangent.stretch, credit), None
