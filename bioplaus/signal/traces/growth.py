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
class Growth:
    """How large was what a trace carried since somebody last looked, as numbers that stay on the device.

    Attributes
    ----------
    back : (value, its step, value where it began, that step) of what was swept back: where it first grew too large on its way, in the
        first window in which it did; else of the last window. It begins at a window's last step. None where nothing is swept.
    forward : the same of what is carried on: of the first window behind which it was too large, else of the last one. It begins behind the
        first window. None where none is carried.
    """

    back: Tensor | None = None
    forward: Tensor | None = None


def limit(dtype: torch.dtype) -> float:
    """The largest number that a trace may carry."""
    return torch.finfo(dtype).max ** 0.5 / 2**20


def followed(so_far: Growth, first: int, back: Tensor | None, forward: Tensor | None, steps: int) -> Growth:
    """With one window more, of so many steps from ``first`` on: ``back`` (time,), ``forward`` () behind its last step."""
    last = first + steps - 1
    if back is not None:
        at = torch.where(_beyond(back), torch.arange(steps, device=back.device), -1).amax(0, keepdim=True).clamp(min=0)
        ends = back[-1:], back.new_full((1,), last)
        found = torch.cat([back.gather(0, at), (first + at).to(back.dtype), *ends])
        back = _first(so_far.back, found)
    if forward is not None:
        now = torch.stack([forward, forward.new_full((), last)])
        begun = now if so_far.forward is None else torch.where(so_far.forward[2] > 0, so_far.forward[2:], now)
        forward = _first(so_far.forward, torch.cat([now, begun]))
    return Growth(so_far.back if back is None else back, so_far.forward if forward is None else forward)


def _beyond(value: Tensor) -> Tensor:
    return ~(value <= limit(value.dtype))  # a NaN is


def _first(before: Tensor | None, found: Tensor) -> Tensor:
    return found if before is None else torch.where(_beyond(before[0]), before, found)


def refuse(grown: Growth, decay: float, name: str) -> None:
    """Refuse what has grown too large; ``decay`` is γλ, ``name`` that of the trace.

    Raises
    ------
    Exploded
        Naming the quantity, the step, how fast it grows, and what does not.
    """
    ways = {"back": grown.back, "forward": grown.forward}
    there = {way: part for way, part in ways.items() if part is not None}
    if not there or not bool(torch.stack([_beyond(part[0]) for part in there.values()]).any()):
        return
    way = next(way for way, part in there.items() if bool(_beyond(part[0])))
    value, at, began, begin = there[way].tolist()
    if way == "back" and at == begin:
        raise Exploded(
            f"The predictor's TD error at step {at:.0f} is {value:.2g}, which no trace brought there: its predictions, or the loss, run away. Lower "
            "predictor_lr, or give clip=1.0; the learning rate of the circuit where its states have grown, too."
        )
    went = f"came back from step {begin:.0f} to step {at:.0f}" if way == "back" else f"was carried on to step {at:.0f}"
    steps = int(abs(at - begin))
    raise Exploded(_said(went, value, steps, _factor(began, value, steps), decay, name))


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
