"""Gradients handed to optimisers: the circuit with its readout, and what a rule learns for itself, apart."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch

from bioplaus.errors import NumericalError, RuleError
from bioplaus.learning.training import Training
from bioplaus.own import Gradients, Owns, learned

if TYPE_CHECKING:
    from torch import Tensor

READOUT = ("W_out", "b_out")
#: feedback weights that learn do so as the readout does, at its rate
WITH_THE_READOUT = "feedback."


class Optimisers:
    """One for the circuit's weights, readout and feedback in a group of their own, and one for what else the rule learns."""

    def __init__(self, weights: dict[str, Tensor], own: Owns, training: Training) -> None:
        t, mine = training, learned(own)
        self.clip, self.weights, self.mine = t.clip, weights, mine
        fed_back = [v for path, v in mine.items() if path.startswith(WITH_THE_READOUT)]
        readout = [w for n, w in weights.items() if n in READOUT] + fed_back
        cortex = [w for n, w in weights.items() if n not in READOUT]
        apart = [v for path, v in mine.items() if not path.startswith(WITH_THE_READOUT)]
        rate = lambda value: t.lr if value is None else value  # noqa: E731
        groups = [{"params": cortex, "lr": t.lr}, {"params": readout, "lr": rate(t.readout_lr)}]
        self.circuit = made(groups, t)
        self.predictor = made([{"params": apart, "lr": rate(t.predictor_lr)}], t) if apart else None

    def step(self, gradients: Gradients, own: Gradients) -> None:
        """Move what has a gradient, each optimiser's clipped together.

        Raises
        ------
        NumericalError
            If a gradient is not finite; nothing has moved then but what comes before.
        RuleError
            If there is a gradient of what is not learned.
        """
        if stray := own.keys() - self.mine.keys():
            raise RuleError(
                f"The rule gave a gradient for '{min(stray)}', and what it learns for itself is {', '.join(self.mine) or 'nothing'}: gradients of own "
                "tensors stand by path, part.name, such as 'feedback.B'."
            )
        for name, w in self.weights.items():
            w.grad = gradients.get(name)
        for path, v in self.mine.items():
            v.grad = own.get(path)
        for optimiser in (self.circuit, self.predictor):
            if optimiser is None:
                continue
            held = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
            if not held:  # a rider along another rule's trajectory, which moves the circuit
                continue
            norm = torch.linalg.vector_norm(torch.cat([g.flatten() for g in held]))
            if not bool(torch.isfinite(norm)):
                raise NumericalError(worst(gradients | own))
            if self.clip is not None and float(norm) > self.clip:
                for g in held:
                    g.mul_(self.clip / float(norm))
            optimiser.step()
            for group in optimiser.param_groups:
                for p in group["params"]:
                    p.grad = None

    def state_dict(self) -> dict[str, Any]:
        return {
            "optimiser": deepcopy(self.circuit.state_dict()),
            "predictor_optimiser": deepcopy(self.predictor.state_dict()) if self.predictor else None,
        }

    def load_state_dict(self, state: dict[str, Any], renewed: Callable[[str, Tensor], Tensor]) -> None:
        """Take up a state; ``renewed`` makes of what was kept for an own tensor, by its path, what is kept now."""
        self.circuit.load_state_dict(state["optimiser"])
        for path, v in self.mine.items():
            for name, kept in self.circuit.state.get(v, {}).items():
                if isinstance(kept, torch.Tensor) and kept.dim():
                    self.circuit.state[v][name] = renewed(path, kept)
        if self.predictor is not None:
            self.predictor.load_state_dict(state["predictor_optimiser"])


def made(groups: list[dict[str, Any]], training: Training) -> torch.optim.Optimizer:
    """An optimiser of these groups, empty ones left out."""
    t, groups = training, [g for g in groups if g["params"]]
    if t.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=t.lr)
    return torch.optim.Adam(groups, lr=t.lr, betas=t.betas, eps=t.eps, fused=True)


def worst(gradients: Gradients) -> str:
    """Where it began."""
    bad = [n for n, g in gradients.items() if not bool(torch.isfinite(g).all())]
    return f"first in {bad[0]}" if bad else "its norm overflows"
