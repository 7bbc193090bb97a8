"""A trace among the deep nuclei: g speaks through p outputs, g(h) = V a(h), and the trace has their dimensions.

    δ'_t = (q_t + γ g(h_t)) J_t V − a(h_{t−1})           the TD error, as the nuclei see it                  (1)
    e'_t = γλ (Vᵀ J_{t−1} V) e'_{t−1} + ∂a(h_{t−1})/∂θ                                                       (2)

V (size, p) is fixed, random and orthonormal (cerebellum/nuclei.py); what leaves its span is lost on the way, unless p is the
size of h: then (1) and (2) are the exact trace (arXiv 2401.07044) in other coordinates.

=======  ===========  ===============================================
symbol   variable     shape
=======  ===========  ===============================================
δ'       ``delta``    (time, batch, p)
e'       ``trace``    {weight of a: (batch, p, shape of weight)}
=======  ===========  ===============================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bioplaus.circuit.tangent import Tangent
from bioplaus.signal.jacobians import Jacobian
from bioplaus.signal.traces.exact import Exact
from bioplaus.signal.traces.view import View

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Through(Jacobian):
    """VᵀJV."""

    J: Jacobian
    V: Tensor

    def back(self, tangent: Tangent, v: Tensor) -> Tensor:
        return self.J.back(tangent, v @ self.V.T) @ self.V


class Projected(Exact):
    """(2), and its reverse in windows."""

    claims = {
        "memory": "k·θ + k·S·n; T·S·n + θ as one window", "time": "k·K·n² + k·S·n + k²·θ; K·n² + k·S·n + θ as one window", "tensor": "a[o], e[oθ]",
        "keeps": "a prediction of the future through a few outputs",
    }  # fmt: skip

    def jacobian(self, view: View) -> Jacobian:
        return Through(view.J, view.theta["V"])
