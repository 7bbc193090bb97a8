"""What an optimiser is, and those of torch as one.

An optimiser is made of ``(tensors, rates, **options)``, both by path, and has

* ``step(gradients, evaluate)`` — move the tensors in place; ``evaluate()`` is the penalised loss of the present batch at the
  weights as they are, for optimisers that ask again;
* ``state_dict()``, ``load_state_dict(state)`` — all that later steps depend on: tensors, numbers and text, in dicts and lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Protocol

import torch

from bioplaus.learning.plain import Plain
from bioplaus.own import Gradients

if TYPE_CHECKING:
    from torch import Tensor

#: the loss of the present batch at the weights as they are
Evaluate = Callable[[], float]


class Optimiser(Protocol):
    """What moves tensors by their gradients."""

    def step(self, gradients: Gradients, evaluate: Evaluate) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Descent:
    """One of torch's optimisers, and one of its learning-rate schedules.

    Parameters
    ----------
    groups : tensors by path; what stands in one group has one rate, so that a schedule may move it.
    rates : by path; what has 0 stays where it is, whatever the optimiser or the schedule makes of 0.
    make : torch's optimiser, of groups.
    schedule : torch's schedule, of an optimiser; None: rates as they are.
    """

    def __init__(
        self,
        groups: Iterable[Mapping[str, Tensor]],
        rates: Mapping[str, float],
        make: Callable[[list[dict[str, Any]]], torch.optim.Optimizer],
        schedule: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler] | None = None,
    ) -> None:
        self.tensors = {path: w for group in groups for path, w in group.items()}
        self.held = {path for path in self.tensors if rates[path] == 0}
        self.torch = make([{"params": list(g.values()), "lr": rates[next(iter(g))]} for g in groups if g])
        self.schedule = schedule(self.torch) if schedule is not None else None
        self._moved = False

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """What torch holds: tensors and their rate."""
        return self.torch.param_groups

    def step(self, gradients: Gradients, evaluate: Evaluate) -> None:
        for path, w in self.tensors.items():
            w.grad = None if path in self.held else gradients.get(path)
        self.torch.step()
        for w in self.tensors.values():
            w.grad = None
        self._moved = True

    def advance(self) -> None:
        """An update is over: the schedule goes on, if anything has moved since it last did."""
        if self.schedule is not None and self._moved:
            self.schedule.step()
        self._moved = False

    def state_dict(self) -> dict[str, Any]:
        return deepcopy(self.torch.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.torch.load_state_dict(state)
        moved = [w for group in self.torch.param_groups for w in group["params"]]
        for i, held in state[
            "state"
        ].items():  # torch casts to the dtype of the weight what had one of its own (NAdam's)
            now = self.torch.state[moved[i]]
            now |= {n: v.to(now[n].device, copy=True) for n, v in held.items() if isinstance(v, torch.Tensor)}

    def renew(self, renewed: Callable[[str, Tensor], Tensor]) -> None:
        """Make of what is kept for a tensor, shaped as that was, what is kept now."""
        for path, w in self.tensors.items():
            kept = self.torch.state.get(w, {})
            kept |= {n: renewed(path, v) for n, v in kept.items() if isinstance(v, torch.Tensor) and v.dim()}


class TensorFlowAdam(Plain, torch.optim.Optimizer):
    """Adam as TensorFlow and NEST compute it: ε beside √v before its bias is corrected.

        m ← β₁ m + (1 − β₁) g;   v ← β₂ v + (1 − β₂) g²
        w ← w − lr √(1 − β₂ᵗ)/(1 − β₁ᵗ) · m/(√v + ε)

    The form at the end of section 2 of Kingma & Ba 2015 (arXiv 1412.6980), with ε for their ε̂. At equal ε the first steps differ
    from `torch.optim.Adam`'s where √v is not far above ε: there torch's step is the longer one.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # nothing is asked again
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for w in group["params"]:
                if w.grad is None:
                    continue
                state = self.state[w]
                if not state:
                    state |= {"step": 0, "m": torch.zeros_like(w), "v": torch.zeros_like(w)}
                state["step"] += 1
                t, m, v = state["step"], state["m"], state["v"]
                m.mul_(beta1).add_(w.grad, alpha=1 - beta1)
                v.mul_(beta2).addcmul_(w.grad, w.grad, value=1 - beta2)
                rate = float(group["lr"]) * (1 - beta2**t) ** 0.5 / (1 - beta1**t)
                w.addcdiv_(m, v.sqrt().add_(group["eps"]), value=-rate)
