"""Whether what a trace carries from step to step outgrows its numbers; said by name before it overflows.

    u_s = δ_{s+1} + γλ u_{s+1} J_{s+1}        back through a window: n steps on, (γλ)ⁿ J…J
    e_t = γλ J_{t−1} e_{t−1} + …               or forward

Where spikes drive spikes, the product of Jacobians can grow by a factor a step, and a thousand steps of that are beyond any number. What
may be carried ends at √(largest number)/2²⁰, so that the sum of a million such can still be squared, as norms and optimisers do.

Nothing is read from the device here: maxima stay there until `refuse` is asked, when gradients are applied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from bioplaus.errors import NumericalError

if TYPE_CHECKING:
    from torch import Tensor


class Exploded(NumericalError):
    """Said of a step; who knows of which update, says it before."""


@dataclass(frozen=True)
class Carry:
    """What was carried in a window of which ``first`` is the first step.

    Attributes
    ----------
    back : (time,) largest number that came back to each step; None where nothing is swept.
    forward : () largest number in the trace behind its last step; None where none is carried.
    """

    first: int
    steps: int
    back: Tensor | None
    forward: Tensor | None


def limit(dtype: torch.dtype) -> float:
    """The largest number that a trace may carry."""
    return torch.finfo(dtype).max ** 0.5 / 2**20


def refuse(carried: list[Carry], decay: float, name: str) -> None:
    """Refuse what has grown too large; ``decay`` is γλ, ``name`` that of the trace.

    Raises
    ------
    Exploded
        Naming the quantity, the step, how fast it grows, and what does not.
    """
    largest = [part.max() for one in carried for part in (one.back, one.forward) if part is not None]
    if not largest:
        return
    most = limit(largest[0].dtype)
    if bool((torch.stack(largest) <= most).all()):  # a NaN is not
        return
    begin = 0.0  # before anything has grown
    for one in carried:
        if one.back is not None and bool((beyond := ~(one.back <= most)).any()):
            s = int(beyond.nonzero()[-1])
            last = one.first + one.steps - 1
            if not bool(one.back[-1] <= most):
                raise Exploded(
                    f"The predictor's TD error at step {last} is {float(one.back[-1]):.2g}, which no trace brought there: its predictions, or the loss, run away. Lower "
                    "predictor_lr, or give clip=1.0; the learning rate of the circuit where its states have grown, too."
                )
            grown = _factor(float(one.back[-1]), float(one.back[s]), one.steps - 1 - s)
            raise Exploded(
                _said(
                    f"came back from step {last} to step {one.first + s}",
                    float(one.back[s]),
                    last - one.first - s,
                    grown,
                    decay,
                    name,
                )
            )
        if one.forward is not None and not bool(one.forward <= most):
            at, value = one.first + one.steps - 1, float(one.forward)
            raise Exploded(_said(f"was carried on to step {at}", value, at, _factor(begin, value, at), decay, name))
        begin = begin or float(one.forward or 0.0)


def _factor(first: float, last: float, steps: int) -> float | None:
    """By how much it grew a step, on average, where that can be told."""
    if not 0 < first < last < float("inf") or steps < 1:
        return None
    return (last / first) ** (1 / steps)


def _said(way: str, value: float, steps: int, factor: float | None, decay: float, name: str) -> str:
    rate = "" if factor is None else f", by a factor of {factor:.3g} a step,"
    below = "" if factor is None else f" below {decay / factor:.2g}"
    return (
        f"The predictor's trace explodes: credit that {way} (trace='{name}', γλ = {decay:g}) has grown to {value:.2g}{rate} and is about to overflow. Through {steps} steps "
        "in which neurons drive one another the circuit's Jacobians multiply. Follow credit within neurons alone (trace='local', jacobian='within'), forget sooner "
        f"(lmbda or discount such that γλ is{below or ' smaller'}), keep the last steps only (trace='replay' with horizon=20, schedule='online'), or use the rule dni, whose windows are cut."
    )
