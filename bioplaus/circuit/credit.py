"""Credit: row vectors shaped like what the circuit carries, or like its currents; None where there is none.

h = (s, y, older outputs in flight, ȳ) is what crosses from step to step, u the integrator's result, I the currents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from bioplaus.circuit.network import Network

if TYPE_CHECKING:
    from torch import Tensor

#: credit for u of every population: [population][state]
Inner: TypeAlias = "Sequence[tuple[Tensor | None, ...]]"

#: credit for the currents of every population, (…, batch, channels · unit)
Currents: TypeAlias = "tuple[Tensor | None, ...]"


#: asked for at every step
_SILENT: WeakKeyDictionary[Network, Credit] = WeakKeyDictionary()


class Credit(NamedTuple):
    """Credit for h (or anything shaped like it), and for what the integrator left at the same step; None where there is none.

    Tensors are (…, batch, unit). What stands at u_t does not cross from step to step: only what is asked of the state before its
    reset, by a voltage regulariser, gives such credit.
    """

    s: tuple[tuple[Tensor | None, ...], ...]  # [population][state]
    y: tuple[tuple[Tensor | None, ...], ...]  # [population][slot]
    filtered: tuple[Tensor | None, ...]  # [population], read or not; none at all where the readout keeps nothing
    u: tuple[tuple[Tensor | None, ...], ...]  # [population][state]


def plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """a + b, where None is zero."""
    return b if a is None else a if b is None else a + b


def silent(network: Network) -> Credit:
    """No credit at all."""
    if network not in _SILENT:
        _SILENT[network] = Credit(
            nowhere(network),
            tuple((None,) * p.slots for p in network.populations),
            (None,) * len(network.populations) if network.kappa else (),
            nowhere(network),
        )
    return _SILENT[network]


def nowhere(network: Network) -> tuple[tuple[None, ...], ...]:
    """No credit for any state."""
    return tuple(tuple(None for _ in p.start) for p in network.populations)


def anywhere(part: Sequence[Sequence[Tensor | None]]) -> bool:
    """Whether there is credit for any state of any population."""
    return any(a is not None for each in part for a in each)


def both(a: Inner, b: Inner) -> Inner:
    """Sum of two credits for u."""
    return tuple(tuple(map(plus, *each)) for each in zip(a, b, strict=True))


def mapped(change: Callable[..., Any], *credits: Credit) -> Credit:
    """A function applied to every part of one or several credits."""
    return Credit(
        tuple(tuple(map(change, *parts)) for parts in zip(*(c.s for c in credits), strict=True)),
        tuple(tuple(map(change, *parts)) for parts in zip(*(c.y for c in credits), strict=True)),
        tuple(map(change, *(c.filtered for c in credits))),
        tuple(tuple(map(change, *parts)) for parts in zip(*(c.u for c in credits), strict=True)),
    )


def add(a: Credit, b: Credit) -> Credit:
    """Sum of two credits."""
    return mapped(plus, a, b)


def at(credit: Credit, t: int | slice) -> Credit:
    """One step, or a stretch, of a credit over time."""
    return mapped(lambda a: None if a is None else a[t], credit)
