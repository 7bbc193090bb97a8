"""A learned linear model of one step, to carry a predictor's target back without the circuit's own derivatives.

    ĥ_t = J h_{t−1} + K x_t + c                                                                    (1)
    loss  ½ Σ_t ‖ĥ_t − h_t‖²,      e_t = ĥ_t − h_t;   ∂J = Σ e_t h_{t−1}ᵀ,  ∂K = Σ e_t x_tᵀ,  ∂c = Σ e_t   (2)
    target at h_a:   v_b = end,   v_{t−1} = (q_t + v_t) J                        (row vectors)      (3)

The circuit's Jacobian changes with its state; J is one matrix for all states, exact in a linear network (Marschall, Cho &
Savin 2020, arXiv 1907.02649, for one step of synthetic gradients).

=======  ============  ===========================
symbol   variable      shape
=======  ============  ===========================
h        ``h``         (time + 1, batch, H)
x        ``x``         (time, batch, input)
q, v     ``q``, ``v``  (time, batch, H), (batch, H)
J        ``model.J``   (H, H), [after, before]
K        ``model.K``   (H, input)
c        ``model.c``   (H,)
=======  ============  ===========================

Differs from the paper: theirs is J alone, started from the recurrent weights, with a learning rate of its own; here input
and constant have their own terms, all start from zero like a linear predictor, and the predictor's optimiser moves them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bioplaus.own import Gradients, Own

if TYPE_CHECKING:
    from torch import Tensor


def at_birth(size: int, inputs: int, dtype: torch.dtype, device: torch.device) -> Own:
    """J, K and c, zero."""
    shapes = {"J": (size, size), "K": (size, inputs), "c": (size,)}
    return Own({name: torch.zeros(shape, dtype=dtype, device=device) for name, shape in shapes.items()})


def back(model: Own, q: Tensor, end: Tensor, inner: Tensor | None = None) -> Tensor:
    """(3): from credit beyond h_b to credit at h_a; ``inner`` is what a step's u has to say, of which the model knows nothing, at h_{t−1}."""
    v = end
    for t, now in reversed(list(enumerate(q.unbind(0)))):
        v = (now + v) @ model["J"]
        v = v if inner is None else v + inner[t]
    return v


def gradient(model: Own, h: Tensor, x: Tensor) -> tuple[Gradients, Tensor]:
    """(2), summed over time and batch, and the errors e (time, batch, H)."""
    before = h[:-1]
    e = before @ model["J"].T + x @ model["K"].T + model["c"] - h[1:]
    flat = e.flatten(0, 1)
    return {"J": flat.T @ before.flatten(0, 1), "K": flat.T @ x.flatten(0, 1), "c": flat.sum(0)}, e
