"""Which eligibility traces a channel needs inside a neuron, read off the pattern of zeros and constants in the partials."""

from __future__ import annotations

from dataclasses import dataclass

from bioplaus.codegen.partials import Partials


@dataclass(frozen=True)
class Plan:
    """Which traces one channel of one projection needs."""

    shared: tuple[int, ...]  # u_i whose trace is the same for all neurons: constant coefficients all along
    own: tuple[int, ...]  # u_i with a trace per synapse
    stored: tuple[int, ...]  # s_j kept per synapse
    output: bool  # the last e is needed (cells that read their own output)


def plan(part: Partials, k: int) -> Plan:
    """Reachability and factorisation of channel ``k``."""
    reach = _reached(part, k)
    shared = _shared(part, k, reach)
    own = reach - shared
    stored = tuple(
        m
        for m in range(len(part.psi))
        if any(part.F[i][m] is not None for i in own)
        and (part.ry[m] is not None or any(part.Ru[m][j] is not None for j in reach))
    )
    return Plan(tuple(sorted(shared)), tuple(sorted(own)), stored, any(part.E[i] is not None for i in own))


def _feeds(part: Partials, j: int, i: int) -> bool:
    """Whether u_j of one step moves u_i of the next, inside the neuron: through a state or through the neuron's own output."""
    spoken = part.psi[j] is not None
    through_s = any(
        part.F[i][m] is not None and (part.Ru[m][j] is not None or (part.ry[m] is not None and spoken))
        for m in range(len(part.psi))
    )
    return through_s or (part.E[i] is not None and spoken)


def _reached(part: Partials, k: int) -> set[int]:
    """The u_i that input on channel ``k`` moves, at once or later."""
    S = range(len(part.psi))
    reach = {i for i in S if part.G[i][k] is not None}
    while more := {i for i in S if i not in reach and any(_feeds(part, j, i) for j in reach)}:
        reach |= more
    return reach


def _shared(part: Partials, k: int, reach: set[int]) -> set[int]:
    """Those of them whose trace is the same for all neurons: what feeds it is shared, and all coefficients are constants."""

    def alike(i: int, shared: set[int]) -> bool:
        sources = [m for m, entry in enumerate(part.F[i]) if entry is not None]
        constant = isinstance(part.G[i][k], float | None) and part.E[i] is None
        return constant and all(
            isinstance(part.F[i][m], float)
            and part.ry[m] is None
            and all(part.Ru[m][j] is None or (isinstance(part.Ru[m][j], float) and j in shared) for j in reach)
            for m in sources
        )

    shared = set(reach)
    while bad := {i for i in shared if not alike(i, shared)}:
        shared -= bad
    return shared
