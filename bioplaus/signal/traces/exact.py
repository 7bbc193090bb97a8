"""The trace itself (Pemberton & Costa 2024, arXiv 2401.07044).

    e_t = γλ J_{t−1} e_{t−1} + ∂g(h_{t−1})/∂θ                                                       (1)
    u_s = δ_{s+1} + γλ u_{s+1} J_{s+1},     Σ_t δ_t e_t = Σ_s u_s ∂g(h_s)/∂θ                         (2)

Within a window (2) gives the sum without a trace; (1) carries it from window to window, which online is from step to step.

=======  ==========  ==============================================
symbol   variable    shape
=======  ==========  ==============================================
δ, u     ``delta``   (time, batch, size)
J e      ``trace``   {weight of g: (batch, size, shape of weight)}
=======  ==========  ==============================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bioplaus.cerebellum.predictors import Predictor
from bioplaus.circuit.carried import Layout
from bioplaus.signal.jacobians import Jacobian
from bioplaus.signal.traces.afford import afford
from bioplaus.signal.traces.view import PredictorTrace, View

if TYPE_CHECKING:
    from torch import Tensor


class Exact(PredictorTrace):
    """(1) and (2); relatives put another Jacobian in the place of J."""

    def jacobian(self, view: View) -> Jacobian:
        return view.J

    def update(
        self, view: View, state: dict[str, Tensor] | None, delta: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
        """Σ δ e over the window, and γλ J e behind its last step."""
        J = self.jacobian(view)
        u = J.sweep(view.tangent, delta, view.decay)
        view.note(u)
        found = view.gradient(u)
        if state is None and not view.final:
            self.afford(view, found, delta)
        if state is not None:  # what earlier windows left
            for name, e in state.items():
                found[name] = found[name] + torch.einsum("bo,bo...->...", u[0], e)
        return found, None if view.final else self.carry(view, J, state, delta[0])

    def afford(self, view: View, found: dict[str, Tensor], delta: Tensor) -> None:
        weights = sum(g.numel() for g in found.values())
        floats = self.floats(view.g, view.layout, weights, delta.shape[-1])
        afford(view.layout, view.seen.shape[-1], delta.shape[1], floats, weights)

    def floats(self, g: Predictor, layout: Layout, weights: int, outputs: int) -> int:
        """What a trace carried from window to window takes for each sample, with the product that replaces it."""
        return 2 * outputs * weights

    def carry(self, view: View, J: Jacobian, trace: dict[str, Tensor] | None, like: Tensor) -> dict[str, Tensor] | None:
        """(1), forward over the window, times γλ J of its own last step."""
        for t, step in enumerate(view.tangent.each()):
            now = view.g.jacobian(view.theta, view.seen[t])
            e = now if trace is None else {name: trace[name] + now[name] for name in now}
            M = J.matrix(step, like) * view.decay
            trace = {name: torch.einsum("boh,bh...->bo...", M, value) for name, value in e.items()}
        view.note(trace=(trace or {}).values())
        return trace
