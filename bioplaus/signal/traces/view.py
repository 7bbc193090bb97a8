"""What a trace sees of one window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from bioplaus.cerebellum.predictors import Predictor
from bioplaus.circuit.carried import Layout
from bioplaus.circuit.tangent import Tangent
from bioplaus.signal.jacobians import Jacobian, OfCircuit


@dataclass(frozen=True)
class View:
    """One window, step t leading from h_t to h_{t+1}.

    Attributes
    ----------
    g, theta : the predictor, as far as the trace follows it, and its weights now.
    seen : what the predictor saw at h_0 … h_K, (time + 1, batch, input).
    linear, layout : the circuit's linearisation along the window, and where what lies in h.
    decay : γλ.
    final : whether the sequence ends here, so that nothing need be kept.
    """

    g: Predictor
    theta: Mapping[str, Tensor]
    seen: Tensor
    tangent: Tangent
    layout: Layout
    decay: float
    final: bool

    @property
    def J(self) -> Jacobian:
        """The circuit's own."""
        return OfCircuit(self.layout.network)

    def gradient(self, u: Tensor) -> dict[str, Tensor]:
        """Σ u_s ∂g(h_s)/∂θ over the window."""
        return self.g.gradient(dict(self.theta), self.seen[:-1], u)

    def features(self, t: int | slice) -> Tensor:
        """(φ(h), 1), what the weights and biases of an affine g multiply."""
        phi = self.g.features(dict(self.theta), self.seen[t])  # type: ignore[attr-defined]
        return torch.cat([phi, torch.ones_like(phi[..., :1])], -1)


class Trace(Protocol):
    """How Σ_t δ_t e_t is found: a description without state, a state that it hands on.

    ``claims`` is what it declares of itself (memory, time, …); ``refuse(g)`` a reason why it cannot follow a predictor, or
    None; ``floats(g, layout, weights, outputs)`` how many numbers a sample it may come to carry that have to be afforded;
    ``start(generator)`` the state before a sequence; ``update(view, state, delta)`` → ({weight of g: Σ δ e}, state).
    """

    @property
    def claims(self) -> Mapping[str, Any]: ...

    def refuse(self, g: Predictor) -> str | None: ...
    def floats(self, g: Predictor, layout: Layout, weights: int, outputs: int) -> int: ...
    def start(self, generator: torch.Generator | None) -> Any: ...
    def update(self, view: View, state: Any, delta: Tensor) -> tuple[dict[str, Tensor], Any]: ...


def with_bias(found: Tensor) -> dict[str, Tensor]:
    """(outputs, features and 1) as the weights of the last layer."""
    return {"A": found[:, :-1], "b": found[:, -1]}
