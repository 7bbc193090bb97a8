"""Credit: row vectors shaped like what the circuit carries, or like its currents; None where there is none.

h = (s, y, older outputs in flight, ȳ) is what crosses from step to step, u the integrator's result, I the currents.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from bioplaus.circuit.network import Network

if TYPE_CHECKING:
    from torch import Tensor

#: credit for u of every population: [population][state]
Inner: TypeAlias = "list[tuple[Tensor | None, ...]]"

#: credit for the currents of every population, (…, batch, channels · unit)
Currents: TypeAlias = "tuple[Tensor | None, ...]"


class Credit(NamedTuple):
    """Credit for h (or anything shaped like it); None where there is none. Tensors are (…, batch, unit)."""

    s: tuple[tuple[Tensor | None, ...], ...]  # [population][state]
    y: tuple[tuple[Tensor | None, ...], ...]  # [population][age]
    filtered: tuple[Tensor | None, ...]  # [population], read or not; none at all where the readout keeps nothing


def plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """a + b, where None is zero."""
    return b if a is None else a if b is None else a + b


def silent(network: Network) -> Credit:
    """No credit at all."""
    return Credit(
        tuple(tuple(None for _ in p.start) for p in network.populations),
        tuple((None,) * p.ages for p in network.populations),
        (None,) * len(network.populations) if network.kappa else (),
    )


def mapped(change: Callable[..., Any], *credits: Credit) -> Credit:
    """A function applied to every part of one or several credits."""
    return Credit(
        tuple(tuple(map(change, *parts)) for parts in zip(*(c.s for c in credits), strict=True)),
        tuple(tuple(map(change, *parts)) for parts in zip(*(c.y for c in credits), strict=True)),
        tuple(map(change, *(c.filtered for c in credits))),
    )


def add(a: Credit, b: Credit) -> Credit:
    """Sum of two credits."""
    return mapped(plus, a, b)


def at(credit: Credit, t: int | slice) -> Credit:
    """One step, or a stretch, of a credit over time."""
    return mapped(lambda a: None if a is None else a[t], credit)
