"""A trainer's saved state: its formats, and what stands in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bioplaus.errors import RunError
from bioplaus.own import Own, Owns, by_part

if TYPE_CHECKING:
    from torch import Tensor

#: of a trainer's state: 3, feedback weights of all neurons; 2, a rule's own tensors by part, learned and fixed, and feedback weights of
#: those that the readout reads; without a number, side by side
FORMAT = 3


def shapes(held: Mapping[str, Tensor]) -> str:
    """Names and shapes, for messages."""
    return ", ".join(f"{name} {tuple(held[name].shape)}" for name in sorted(held)) or "nothing"


def own_of(state: dict[str, Any]) -> Owns:
    """A rule's own tensors in a trainer's state of any format.

    Raises
    ------
    RunError
        If it is of a format that comes after this version.
    """
    number = state.get("format", 1)
    if number > FORMAT:
        raise RunError(
            f"The checkpoint is of format {number}, and this version of bioplaus reads formats up to {FORMAT}. Use the version that wrote it, or a newer one."
        )
    return {part: Own(**kinds) for part, kinds in state["own"].items()} if number > 1 else by_part(state["own"])
