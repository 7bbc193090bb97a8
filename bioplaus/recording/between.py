"""Recordings of every k-th step, which may begin and end between two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bioplaus import checks
from bioplaus.errors import CircuitError
from bioplaus.recording.asked import Asked
from bioplaus.recording.kept import Kept
from bioplaus.recording.standing import Standing, seed_of


def settled(every: Any, state: Any, seed: Any) -> tuple[int, int]:
    """``every`` and ``seed`` as plain numbers; the seed is the state's where none is given.

    Raises
    ------
    CircuitError
    """
    every = checks.accept(CircuitError, "every", every, checks.Whole())
    seed = checks.accept(CircuitError, "seed", seed, checks.Optional(checks.SEED, "for the state's, or 0"))
    return every, seed_of(state) if seed is None else seed


def refuse_nothing(every: int, begin: int, end: int, return_state: bool | None) -> None:
    """Refuse to record nothing, unless somebody goes on from there; None: nobody can.

    Raises
    ------
    CircuitError
    """
    if not return_state and begin // every == end // every:
        more = "" if return_state is None else "; or return_state=True, to go on from there"
        raise CircuitError(
            f"every={every} records the last of so many steps, and steps {begin + 1} to {end} have none of those. Give a smaller one, or more inputs{more}."
        )


def so_far(at: Standing | None, wanted: Sequence[Asked], every: int) -> Mapping[int, np.ndarray]:
    """Spikes since the last recorded step, by population, where a recording goes on between two.

    Raises
    ------
    CircuitError
        If nobody has counted them.
    """
    if at is None or not at.step % every or not any(one.counted for one in wanted):
        return {}
    lacking = [one.label for one in wanted if one.counted and (one.population not in at.counted or at.every != every)]
    if lacking:
        raise CircuitError(
            f"The state is behind {at.step} steps, {at.step % every} of them since every={every} last recorded, and {', '.join(lacking)} of those were not counted. Go on "
            f"from a multiple of {every} steps, or record the piece before with the same every= and spikes in record=."
        )
    return at.counted


def over(kept: Sequence[Kept], end: int, every: int) -> dict[int, np.ndarray]:
    """What `so_far` will ask for, of a recording that ends with step ``end``."""
    if not end % every:
        return {}
    return {each.asked.population: each.counted for each in kept if each.asked is not None and each.counted is not None}
