"""What a trace sees of one window."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch

from bioplaus.cerebellum.predictors import Predictor
from bioplaus.circuit.carried import Layout
from bioplaus.circuit.tangent import Tangent
from bioplaus.own import Gradients, Own, Owns
from bioplaus.signal.jacobians import Jacobian, OfCircuit

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class View:
    """One window, step t leading from h_t to h_{t+1}.

    Attributes
    ----------
    g, own : the predictor, as far as the trace follows it, and the signal's own tensors now.
    seen : what the predictor saw at h_0 … h_K, (time + 1, batch, input).
    tangent, layout : the circuit's linearisation along the window, and where what lies in h.
    decay : γλ.
    final : whether the sequence ends here, so that nothing need be kept.
    """

    g: Predictor
    own: Owns
    seen: Tensor
    tangent: Tangent
    layout: Layout
    decay: float
    final: bool
    #: the largest number that came back to every step, (time,), and in the trace behind the last, (), by these names
    grown: dict[str, Tensor] = field(default_factory=dict)

    def note(self, back: Tensor | None = None, trace: Iterable[Tensor] = ()) -> None:
        """Write down how large is what was swept back, (time, …), and what is carried on (see `growth`)."""
        if back is not None:
            self.grown["back"] = torch.linalg.vector_norm(back.flatten(1), torch.inf, dim=1)
        if largest := [torch.linalg.vector_norm(e, torch.inf) for e in trace]:
            self.grown["forward"] = torch.stack(largest).max()

    @property
    def theta(self) -> Own:
        """The predictor's weights."""
        return self.own.get("predictor", Own())

    @property
    def J(self) -> Jacobian:
        """The circuit's own."""
        return OfCircuit(self.layout.network)

    def gradient(self, u: Tensor) -> dict[str, Tensor]:
        """Σ u_s ∂g(h_s)/∂θ over the window."""
        return self.g.gradient(self.theta, self.seen[:-1], u)

    def features(self, t: int | slice) -> Tensor:
        """(φ(h), 1), what the weights and biases of an affine g multiply."""
        phi = self.g.features(self.theta, self.seen[t])
        return torch.cat([phi, torch.ones_like(phi[..., :1])], -1)

    def read(self, rows: Tensor) -> Tensor:
        """Which of them the outputs ``rows`` of an affine g read, the one for biases among them."""
        many = self.features(0).shape[-1]
        every = torch.arange(many, device=rows.device)
        return torch.cat([every[:-1][self.g.read(self.theta, rows)], every[-1:]])

    def named(self, found: Tensor) -> Gradients:
        """What stands for weights and biases side by side, (outputs, features and 1), by their names."""
        return self.g.named(self.theta, found)


class PredictorTrace(ABC):
    """How Σ_t δ_t e_t is found: a description without state, and a state that it hands on. Defaults: any predictor, no state, little memory."""

    #: what it declares of itself (memory, time, …), where that differs from the exact trace
    claims: Mapping[str, Any] = MappingProxyType({})

    def refuse(self, g: Predictor) -> str | None:
        """A reason why it cannot follow a predictor, or None."""
        return refuse_bumps(g)

    def floats(self, g: Predictor, layout: Layout, weights: int, outputs: int) -> int:
        """How many numbers a sample it may come to carry that have to be afforded."""
        return 0

    def start(self, generator: torch.Generator | None) -> Any:
        """The state before a sequence."""
        return None

    @abstractmethod
    def update(self, view: View, state: Any, delta: Tensor) -> tuple[Gradients, Any]:
        """{weight of g: Σ δ e} over the window, and the state behind it."""


def refuse_bumps(g: Predictor) -> str | None:
    """Why what has no traces that rise and fall cannot follow a predictor, or None."""
    if not g.bumps:
        return None
    return "errors come back to it late (delay_back, peak), to traces that rise and fall, which bp_lambda with trace='bump' has (use that, or no such delay)"
