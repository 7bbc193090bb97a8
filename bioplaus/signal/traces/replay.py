"""No trace: the steps themselves are kept, and every error is swept back through them.

    v_{t−1} = δ_t,     v_{s−1} = γλ v_s J_s,     δ_t e_t = Σ_{s<t} v_s ∂g(h_s)/∂θ                   (1)

J_s with the circuit's weights of that time, ∂g(h_s)/∂θ with the predictor's: the same update as with the trace itself (arXiv
2401.07044), also while both learn at every step. The price is that of backpropagation, once per error, and memory that grows
with time; ``horizon`` k keeps the last k steps only, so that each error meets the last k predictions.

=======  =========  ======================================================================
symbol   variable   shape
=======  =========  ======================================================================
v        ``v``      (batch, size)
J_s      ``Past``   the entries of D_s, (batch, unit) each, and the weights of R_s
h_s      ``seen``   (batch, input of the predictor)
=======  =========  ======================================================================

Weights are copied only when they have moved, and θ only if ∂g/∂θ depends on it (hidden layers that learn).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from bioplaus.circuit.carried import Layout
from bioplaus.signal.jacobians import stand_in
from bioplaus.signal.traces.view import PredictorTrace, View

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Past:
    """One step, as far as credit needs it to go back through it, and what the predictor saw before it."""

    transposes: tuple[Any, ...]
    varying: tuple[tuple[Tensor, ...], ...]
    weights: dict[str, Tensor]
    theta: dict[str, Tensor]
    seen: Tensor


_LAST = {
    "memory": "k·S·n + θ", "time": "k·K·n² + k·θ", "tensor": "v[z]", "keeps": "a prediction of the future, and the last k steps",
}  # fmt: skip
_ALL = {
    "memory": "T·S·n + θ; and once for the whole batch, if they move at every step, T copies of the weights",
    "time": "T·K·n² + T·θ; K·n² + θ as one window", "tensor": "v[z]", "keeps": "a prediction of the future, and all steps",
}  # fmt: skip


@dataclass(frozen=True)
class Replay(PredictorTrace):
    """(1).

    Parameters
    ----------
    horizon : k, steps kept; None: all of the sequence.
    """

    horizon: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "claims", _ALL if self.horizon is None else _LAST)

    def start(self, generator: torch.Generator | None) -> list[Past]:
        return []

    def update(self, view: View, state: list[Past], delta: Tensor) -> tuple[dict[str, Tensor], list[Past]]:
        if self.horizon is None:
            u = view.J.sweep(view.tangent, delta, view.decay)
            view.note(u)
            found = view.gradient(u)
            if state:
                before = view.decay * _layout(view, state[-1]).back(state[-1], u[0])  # type: ignore[arg-type]
                _add(found, _swept(view, state, before))
            return found, [] if view.final else [*state, *_steps(view, state)]
        found = {}
        for now, past in zip(delta.unbind(0), _steps(view, state), strict=True):
            state = [*state, past][-self.horizon :]
            _add(found, _swept(view, state, now))
        return found, [] if view.final else state


def _steps(view: View, state: list[Past]) -> list[Past]:
    """The window's steps, to be kept."""
    network, tangent = view.layout.network, view.tangent
    now = {w.spec.name: network.weights[w.spec.name] for w in network.recurrent}
    weights = held(now, state[-1].weights if state else None)
    theta: dict[str, Tensor] = {}
    if not view.g.affine:
        theta = held(view.theta.learned, state[-1].theta if state else None)
    return [
        Past(tangent.transposes, P, weights, theta, seen)
        for P, seen in zip(tangent.at_steps(), view.seen[:-1].unbind(0), strict=True)
    ]


def held(now: Mapping[str, Tensor], last: dict[str, Tensor] | None) -> dict[str, Tensor]:
    """Copies of tensors that others change in place; the last copies, where nothing has moved since."""
    if last is not None and all(torch.equal(value, last[name]) for name, value in now.items()):
        return last
    return {name: value.clone() for name, value in now.items()}


def _layout(view: View, past: Past) -> Layout:
    """The circuit with the weights of that time."""
    return Layout(stand_in(view.layout.network, past.weights))


def _swept(view: View, steps: list[Past], v: Tensor) -> dict[str, Tensor]:
    """(1): v meets what the predictor saw before the last of the steps, and from there all that it saw before."""
    vs, layouts = [v], {}
    for past in reversed(steps[:-1]):
        if id(past.weights) not in layouts:
            layouts[id(past.weights)] = _layout(view, past)
        vs.append(view.decay * layouts[id(past.weights)].back(past, vs[-1]))
    vs.reverse()
    if view.g.affine:  # one matrix product for all
        return view.g.gradient(view.theta, torch.stack([past.seen for past in steps]), torch.stack(vs))
    found: dict[str, Tensor] = {}
    for past, at in zip(steps, vs, strict=True):
        _add(found, view.g.gradient(view.theta.replaced(past.theta), past.seen, at))
    return found


def _add(total: dict[str, Tensor], new: dict[str, Tensor]) -> None:
    for name, g in new.items():
        total[name] = total[name] + g if name in total else g
