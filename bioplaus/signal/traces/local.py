"""A trace that never leaves the neuron it speaks to: J replaced by its within-neuron part D.

    e_t = γλ D_{t−1} e_{t−1} + ∂g(h_{t−1})/∂θ                                                       (1)

D couples only the coordinates of one neuron (its states, its output, …; c of them). For an affine g, whose row o serves
coordinate o, the trace of one parallel fibre m onto the rows of neuron j is a matrix of c by c numbers: row i of it says how
credit for coordinate i meets the weight onto coordinate k::

    e[i, k, j, m] ← γλ Σ_l D[i, l, j] e[l, k, j, m] + δ_ik φ_m(h)                                    (2)

One number a synapse where a neuron has one coordinate. Exact where no neuron is driven by another or by itself (W_rec = 0); the
idea is e-prop's, turned onto the predictor (arXiv 2401.07044 for the trace itself). Hidden layers that learn send every weight to
every output, and need the whole trace with D in the place of J.

=======  ============  ======================================================
symbol   variable      shape
=======  ============  ======================================================
e        ``e``         per population (batch, c, c, neuron, features and 1)
D        ``D``         per population (batch, c, c, neuron)
=======  ============  ======================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from bioplaus.cerebellum.predictors import Predictor
from bioplaus.circuit.carried import Layout
from bioplaus.circuit.tangent import Tangent
from bioplaus.signal.jacobians import Jacobian, OfCircuit
from bioplaus.signal.traces.exact import Exact
from bioplaus.signal.traces.view import View

if TYPE_CHECKING:
    from torch import Tensor


class Local(Exact):
    """(1), and (2) where it is enough."""

    claims = {
        "memory": "S·θ; S·n·θ with hidden layers that learn, T·S·n + θ as one window",
        "time": "K·n² + S²·θ; K·n² + θ as one window", "tensor": "g[z], e[θ]", "keeps": "a prediction of the future, traced within each neuron",
    }  # fmt: skip

    def jacobian(self, view: View) -> Jacobian:
        return OfCircuit(view.layout.network, recurrent=False)

    def update(self, view: View, state: Any, delta: Tensor) -> tuple[dict[str, Tensor], Any]:
        if not view.g.affine:
            return super().update(view, state, delta)
        J = self.jacobian(view)
        u = J.sweep(view.tangent, delta, view.decay)
        view.note(u)
        found = view.gradient(u)
        where = coordinates(view.layout)
        alone = state is None and view.final
        reads = [] if alone else [view.read(rows.flatten()) for rows in where]
        if state is None and not view.final:
            self.afford(view, found, delta)
        if state is not None:
            left = u.new_zeros(delta.shape[-1], view.features(0).shape[-1])
            for rows, e, read in zip(where, state, reads, strict=True):
                left[rows[..., None], read] = torch.einsum("bin,biknm->knm", u[0][:, rows], e)
            for name, g in view.named(left).items():
                found[name] = found[name] + g
        after = None if view.final else self._walk(view, J, where, reads, state)
        view.note(trace=after or [])
        return found, after

    def floats(self, g: Predictor, layout: Layout, weights: int, outputs: int) -> int:
        if not g.affine:
            return super().floats(g, layout, weights, outputs)
        return 2 * max(len(rows) for rows in coordinates(layout)) * weights

    @staticmethod
    def _walk(
        view: View, J: Jacobian, where: list[Tensor], reads: list[Tensor], state: list[Tensor] | None
    ) -> list[Tensor]:
        """(2) over the window, times γλ D of its own last step."""
        for t, step in enumerate(view.tangent.each()):
            features, after = view.features(t), []
            for p, D in enumerate(within(step, J, view.layout, where, features)):
                (c, n), phi = where[p].shape, features[:, reads[p]]
                e = phi.new_zeros(len(phi), c, c, n, phi.shape[-1]) if state is None else state[p]
                e.diagonal(dim1=1, dim2=2).add_(phi[:, None, :, None])  # (batch, neuron, features, c)
                after.append(view.decay * torch.einsum("biln,blknm->biknm", D, e))
            state = after
        assert state is not None
        return state


def coordinates(layout: Layout) -> list[Tensor]:
    """Per population, where each coordinate of each neuron stands in h, (c, neuron)."""
    return [torch.tensor(each, device=layout.network.device) for each in layout.places]


def within(step: Tangent, J: Jacobian, layout: Layout, where: list[Tensor], like: Tensor) -> list[Tensor]:
    """D of one step per population, (batch, c, c, neuron): a row for every coordinate, of all neurons at once."""
    rows = max(len(places) for places in where)
    basis = like.new_zeros(rows, len(like), layout.size)
    for places in where:
        for i, place in enumerate(places):
            basis[i, :, place] = 1.0
    back = J.back(step, basis)  # (rows, batch, size)
    return [back[: len(places)][:, :, places].transpose(0, 1) for places in where]
