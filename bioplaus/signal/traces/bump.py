"""A trace that rises and falls, for errors that come back late (after Bouvier et al. 2018, whose eligibility peaks 100 ms after the volley).

    Δθ ∝ Σ_t δ_{t−d} ⊗ φ̄_t,        φ̄_t = Σ_n K(n) φ(h_{t−1−n}),       K(n) ∝ n ρⁿ, Σ K = 1, highest at n = p              (1)

The error of step t arrives d steps later at the synapses, and meets a trace of what the parallel fibres said, which is highest for what they said p
steps before: for p = d, for what the error is about, with a width of about p to both sides. The bump stands in the place of λ: (1) has no other trace,
and with d = p = 0 it is λ = 0. Errors that are on their way at the end of a sequence arrive while the parallel fibres are silent. Delays and peak are the
predictor's (bioplaus/cerebellum/delays.py).

=======  ============  ==================================
symbol   variable      shape
=======  ============  ==================================
δ        ``delta``     (time, batch, outputs)
φ̄       ``bar``       (batch, features and 1)
=======  ============  ==================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from bioplaus.cerebellum.delays import Bump as Filter
from bioplaus.cerebellum.predictors import Predictor
from bioplaus.own import Gradients
from bioplaus.signal.traces.view import PredictorTrace, View

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Way:
    """The trace, and the errors on their way, the oldest first."""

    trace: Filter
    by: int
    errors: list[Tensor] = field(default_factory=list)


class Bump(PredictorTrace):
    """(1), forward whatever the schedule."""

    claims = {
        "memory": "θ", "time": "K·n² + θ", "tensor": "g[z], φ̄[m]", "keeps": "a prediction of the future, traced by a bump in each parallel fibre",
    }  # fmt: skip

    def refuse(self, g: Predictor) -> str | None:
        if g.affine:
            return None
        return (
            "trace='bump' is of the parallel fibres' rates, and follows a predictor whose last layer alone learns, within its linear range (use "
            "predictor='linear', 'granule' with tonic=None, or an mlp with train='output')"
        )

    def update(self, view: View, state: Way | None, delta: Tensor) -> tuple[Gradients, Way | None]:
        if state is None:
            by, peak = view.g.loop(view.layout.network.circuit.dt)
            state = Way(Filter(peak), by)
        total = delta.new_zeros(delta.shape[-1], view.features(0).shape[-1])
        for t, now in enumerate(delta):
            bar = state.trace.step(view.features(t))
            state.errors.append(now)
            if len(state.errors) > state.by:
                total += state.errors.pop(0).T @ bar
        if not view.final:
            return view.named(total), state
        while state.errors:
            bar = state.trace.step(torch.zeros_like(view.features(0)))
            total += state.errors.pop(0).T @ bar
        return view.named(total), None
