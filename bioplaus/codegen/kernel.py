"""What generated source for a cell comes to: its step and its partials as functions on tensors, and the spike they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

if TYPE_CHECKING:
    from bioplaus.codegen.folded import Folded
    from bioplaus.symbolic.derive import Derived

#: one partial derivative: structurally zero, constant, or a tensor that broadcasts to (…, batch, unit)
Entry: TypeAlias = "float | torch.Tensor | None"


@dataclass(frozen=True)
class Kernel:
    """A cell's generated functions, bound to a dtype and a device.

    ``step(s, I, y, active, spike, cut, receptive) → (u, y, s)`` on tuples of tensors; ``partials(get) → (F, E, G, psi, Ru, ry)``, nested
    tuples of entries, where ``get(kind, index)`` hands out ``s`` (old states), ``I``, ``y_last``, ``u``, ``y_now``, ``active``,
    ``receptive``.
    """

    derived: Derived
    #: the same with constants folded, as other languages are printed from
    folded: Folded
    source: str
    step: Callable[..., tuple[tuple[torch.Tensor, ...], torch.Tensor, tuple[torch.Tensor, ...]]]
    partials: Callable[[Callable[[str, int], torch.Tensor]], tuple[Any, ...]]
    #: pseudo-derivative of the spike at a margin; None for rate cells
    surrogate: Callable[[torch.Tensor], torch.Tensor] | None
    #: which kinds of quantity ``partials`` asks for
    needs: frozenset[str]
    #: ``waits(s, I, y_last, receptive)``, whether a refractory neuron stays so; None where it waits for a time
    waits: Callable[..., torch.Tensor] | None = None
    #: of states after the reset and the output: what is sent beside it; None where nothing is
    send: Callable[[tuple[torch.Tensor, ...], torch.Tensor], tuple[torch.Tensor, ...]] | None = None

    @property
    def voices(self) -> int:
        """How many numbers a neuron sends in a step: its output, and what it sends beside it."""
        return 1 + len(self.derived.sends)


def hard_spike(x: torch.Tensor, closed: bool = False) -> torch.Tensor:
    """1 where the margin is positive, and where it is zero if the condition is ``>=``."""
    return torch.heaviside(x, _at_zero(closed, x.dtype, x.device))


@cache
def _at_zero(closed: bool, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return torch.tensor(float(closed), dtype=dtype, device=device)


def uncut(y: torch.Tensor) -> torch.Tensor:
    """No gradient is being recorded: nothing to cut."""
    return y


def surrogate_spike(surrogate: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
    """A spike whose derivative under autograd and torch.func is the surrogate's: x − x adds nothing but a slope."""

    def spike(x: torch.Tensor, closed: bool = False) -> torch.Tensor:
        return hard_spike(x.detach(), closed) + surrogate(x.detach()) * (x - x.detach())

    return spike
