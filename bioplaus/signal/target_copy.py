"""A copy of the predictor that stands still while the predictor learns from it.

The bootstrapped part of a predictor's target is its own prediction, which moves with every update. With a copy θ⁻, taken
over from θ after every n-th update, the target of the updates in between is a fixed function (the target network of Mnih et
al. 2015, doi:10.1038/nature14236; for synthetic gradients Marschall et al. 2020, arXiv 1907.02649)::

    target = (…, γ g(h_b; θ⁻));      θ⁻ ← θ after updates n, 2n, 3n, …

The copy and the count of updates since it was taken (a whole number) are a fixed part of the signal's own tensors, so that
checkpoints keep them and no optimiser moves them.
"""

from __future__ import annotations

import torch

from bioplaus.own import Own

COUNT = "count"


def at_birth(predictor: Own) -> Own:
    """The copy of a predictor as it is made; what does not learn needs none."""
    copied = {name: value.clone() for name, value in predictor.learned.items()}
    device = next((predictor[name].device for name in predictor), None)
    return Own(fixed={**copied, COUNT: torch.zeros((), dtype=torch.int64, device=device)})


def in_place(predictor: Own, copy: Own) -> Own:
    """The predictor with the copy in the place of what it is a copy of."""
    return predictor.replaced({name: value for name, value in copy.fixed.items() if name != COUNT})


def refresh(predictor: Own, copy: Own, every: int) -> None:
    """Count one update, and take the copy if it is the ``every``-th since the last; in place."""
    copy[COUNT].add_(1)
    due = copy[COUNT] >= every  # stays on the device
    copy[COUNT].mul_(~due)
    for name, value in predictor.learned.items():
        copy[name].copy_(torch.where(due, value, copy[name]))
