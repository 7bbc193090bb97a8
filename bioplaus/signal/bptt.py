"""The true future inside a window (Werbos 1990, doi:10.1109/5.58337; truncated: Williams & Peng 1990, doi:10.1162/neco.1990.2.4.490).

a_t = ψ_t q_t + J_{t+1}ᵀ a_{t+1}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bioplaus.circuit.network import Network
from bioplaus.circuit.sweep import sweep
from bioplaus.circuit.upstream import upstream
from bioplaus.declaration import Declaration
from bioplaus.own import Owns
from bioplaus.signal.base import Answer, Signal
from bioplaus.signal.observed import Observed


@dataclass(frozen=True)
class BPTT(Signal):
    """Credit for the state from a reverse sweep over the schedule's window; nothing from beyond it."""

    declaration: ClassVar[Declaration] = Declaration(
        half="future", credit="state", bias="exact", exact_when="the window is the whole sequence", causal=False, local=False,
        memory="T·S·n", time="K·n²", keeps="the future inside the window", reference="doi:10.1109/5.58337, doi:10.1162/neco.1990.2.4.490", tensor="a[z]",
        transport=True,
    )  # fmt: skip

    def hearers(self, network: Network, steps: int | None) -> set[int]:
        return upstream(network, network.sources, steps=float("inf") if steps is None else steps - 1)

    def credit(self, own: Owns, state: None, observed: Observed) -> Answer:
        return sweep(observed.tangent, observed.direct()).a_I, {}, None, {}
