"""What does not learn while somebody interferes: weights, and tensors that a rule has for itself, by path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from bioplaus.errors import CircuitError, unknown
from bioplaus.learning.rates import FEEDBACK
from bioplaus.own import Owns, learned

if TYPE_CHECKING:
    from torch import Tensor


def holds(frozen: Iterable[str], path: str) -> bool:
    """Whether an own tensor, by its path, is among what is frozen: itself, its part, or ``predictor`` for all but feedback weights."""
    part = path.partition(".")[0]
    return any(name in (path, part) or (name == "predictor" and part != FEEDBACK) for name in frozen)


def refuse_stray(frozen: Iterable[str], weights: Mapping[str, Tensor], own: Owns) -> None:
    """Refuse to freeze what is not there.

    Raises
    ------
    CircuitError
    """
    paths = list(learned(own))
    for name in frozen:
        if name not in weights and not any(holds([name], path) for path in paths):
            known = [*weights, *paths, *sorted({path.partition(".")[0] for path in paths}), "readout"]
            raise CircuitError(f"Perturb('{name}', 'freeze') leads nowhere. {unknown('weight', name, known)}")
