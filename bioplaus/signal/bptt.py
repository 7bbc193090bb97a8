"""The true future inside a window (Werbos 1990, doi:10.1109/5.58337; truncated: Williams & Peng 1990, doi:10.1162/neco.1990.2.4.490).

a_t = ψ_t q_t + J_{t+1}ᵀ a_{t+1}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from bioplaus.circuit.network import Network
from bioplaus.circuit.sweep import sweep
from bioplaus.declaration import Declaration
from bioplaus.signal.observed import Observed


@dataclass(frozen=True)
class BPTT:
    """Credit for the state from a reverse sweep over the schedule's window; nothing from beyond it."""

    #: whether it looks at the carried state itself, not only at errors
    reads_state: ClassVar[bool] = False

    declaration: ClassVar[Declaration] = Declaration(
        half="future", credit="state", bias="exact", exact_when="the window is the whole sequence", causal=False, local=False,
        memory="T·S·n", time="K·n²", keeps="the future inside the window", reference="doi:10.1109/5.58337, doi:10.1162/neco.1990.2.4.490", tensor="a[z]",
        transport=True,
    )  # fmt: skip

    def refuse(self, network: Network, steps: int | None) -> str | None:
        return None

    def parameters(self, network: Network, generator: torch.Generator, context: int) -> dict[str, Tensor]:
        return {}

    def init(self, network: Network, batch: int, generator: torch.Generator | None = None) -> None:
        return None

    def credit(
        self, theta: dict[str, Tensor], state: None, observed: Observed
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor], None, dict[str, Any]]:
        return sweep(observed.tangent, observed.direct()).a_I, {}, None, {}
