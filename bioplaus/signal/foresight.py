"""The auxiliary task of synthetic gradients: foresee, early in a window, the prediction that will be made at its end.

Read from Jaderberg et al. 2017 (arXiv 1608.05343, on recurrent networks) as follows. A window leads from h_a to h_b. From the
state after its first step, with a head of its own on the predictor's hidden layers φ (φ(h) = h for a linear predictor)::

    g'(h) = φ(h) A'ᵀ + b'                                                                           (1)
    loss  ½ w ‖g'(h_{a+1}) − g(h_b)‖²,      g(h_b) held                                              (2)

The loss trains A', b' and the layers of φ; its gradient with respect to h_{a+1} is credit for that state, on top of all other
credit, so that the circuit learns to keep what the gradients to come depend on.

=======  ===================  ==============================================================
symbol   variable             shape
=======  ===================  ==============================================================
A'       ``auxiliary.A``      like the predictor's last layer ``A``, zero at first
b'       ``auxiliary.b``      like ``b``, zero at first
w        ``weight``           –
=======  ===================  ==============================================================

Differs from the paper, where every step has the extra output, its distance is not weighted, and its gradient runs back
through all steps before it in the window: here there is one output a window, after the first step, beyond which credit has
nowhere to go but into that step's own weights. The predictor does not learn to predict gradients of (2). At the end of a
sequence, where no prediction is made, and in windows of one step, where nothing lies ahead, there is no such task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from bioplaus.cerebellum.predictors import Predictor
from bioplaus.errors import RuleError
from bioplaus.own import Gradients, Own, Owns

if TYPE_CHECKING:
    from torch import Tensor

HEAD = ("A", "b")


def at_birth(predictor: Own) -> Own:
    """The head beside a predictor's own last layer.

    Raises
    ------
    RuleError
        If the predictor has no last layer A, b to stand beside.
    """
    if not set(HEAD) <= set(predictor.learned):
        raise RuleError(
            "The auxiliary task puts a second last layer beside the predictor's own, called A and b, which this predictor "
            "does not have. Use predictor='linear' or 'mlp', or auxiliary=0."
        )
    return Own({name: torch.zeros_like(predictor[name]) for name in HEAD})


def task(
    g_of: Predictor, own: Owns, see: Callable[[Tensor], Tensor], h: Tensor, target: Tensor, weight: float
) -> tuple[Gradients, Tensor, Tensor]:
    """Gradient of (2) for head and layers by path, credit for h (batch, H), and the error g'(h) − target."""
    other = own["predictor"].replaced(own["auxiliary"].learned)
    with torch.enable_grad():  # of the predictor alone; the circuit is not part of it
        free = h.detach().clone().requires_grad_()
        foreseen = g_of.predict(other, see(free))
        error = foreseen.detach() - target
        (credit,) = torch.autograd.grad(foreseen, free, weight * error)
    found = g_of.gradient(other, see(h), weight * error)
    return {f"{'auxiliary' if n in HEAD else 'predictor'}.{n}": g for n, g in found.items()}, credit, error
