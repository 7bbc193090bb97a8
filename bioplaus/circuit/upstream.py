"""Which populations speak to which, over how many synapses or steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bioplaus.circuit.network import Network


def upstream(
    network: Network, of: Iterable[int], synapses: float = float("inf"), steps: float = float("inf")
) -> set[int]:
    """Populations from which a path leads to one of these, themselves included.

    Parameters
    ----------
    synapses, steps : the longest path that counts, by its crossings and by what their delays add up to.
    """
    found = {(i, 0, 0) for i in of}
    waiting = list(found)
    while waiting:
        to, crossed, passed = waiting.pop()
        for w in network.recurrent:
            now = (w.source.population, crossed + 1, passed + min(w.source.delays))
            if w.target == to and now[1] <= synapses and now[2] <= steps and not _shorter(found, now):
                found.add(now)
                waiting.append(now)
    return {i for i, _, _ in found}


def _shorter(found: set[tuple[int, int, int]], path: tuple[int, int, int]) -> bool:
    """Whether a path from the same population is known that is no longer in either way."""
    return any(i == path[0] and c <= path[1] and s <= path[2] for i, c, s in found)
