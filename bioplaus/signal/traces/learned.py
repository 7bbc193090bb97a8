"""A trace that moves by a learned model of the circuit's step in the place of the step's own derivative.

    e_t = γλ M e_{t−1} + ∂g(h_{t−1})/∂θ,        ĥ_t = M h_{t−1} + K x_t + c                                 (1)

M, K and c learn by their one-step error ½‖ĥ_t − h_t‖² (signal/step_model.py; Marschall, Cho & Savin 2020, arXiv 1907.02649, who
do so for one step of synthetic gradients). One matrix for all states: exact in a linear circuit once it is learned; before, with
M = 0, it is BP(0) (arXiv 2401.07044).
"""

from __future__ import annotations

from bioplaus.signal import jacobians
from bioplaus.signal.jacobians import Jacobian
from bioplaus.signal.traces.exact import Exact
from bioplaus.signal.traces.view import View


class Learned(Exact):
    """(1)."""

    claims = {
        "memory": "S·n·θ; T·S·n + θ as one window", "time": "S²·n²·θ; S²·n² + θ as one window", "tensor": "g[z], M[zz], e[zθ]",
        "keeps": "a prediction of the future, and a model of the step", "reference": "arXiv:2401.07044, arXiv:1907.02649",
    }  # fmt: skip

    def jacobian(self, view: View) -> Jacobian:
        return jacobians.OfModel(view.own["model"]["J"])
