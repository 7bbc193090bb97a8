"""Entries of a step's derivatives as scalar text: what is zero is left out, what is a number is read by position, what varies from an array.

Arrays that vary come as (time, batch · unit), one row where they do not vary in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

#: an entry's pattern: None, a number, or (its array's position, whether it varies in time)
Pattern: TypeAlias = "None | float | tuple[int, bool]"

#: what a loop over time is compiled with: sums may be reordered, but what is not finite stays so
OPTIONS = "fastmath={'contract', 'reassoc', 'nsz', 'arcp'}, error_model='numpy', cache=True"


class Numbers:
    """Numbers of a text, by position: other numbers are no other text."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self._where: dict[Any, int] = {}

    def name(self, value: float) -> str:
        """What a value is called; every value once."""
        at = self._where.setdefault((value, bool(np.signbit(value))), len(self.values))
        if at == len(self.values):
            self.values.append(value)
        return f"c{at}_"

    def loads(self, array: str) -> list[str]:
        """The names, read from an array."""
        return [f"c{i}_ = {array}[{i}]" for i, _ in enumerate(self.values)]


def total(terms: Sequence[tuple[str, Pattern]], numbers: Numbers) -> str:
    """Σ variable · entry; empty where there is none."""
    found = []
    for variable, entry in terms:
        if entry is None:
            continue
        if isinstance(entry, tuple):
            found.append(f"{variable}*p{entry[0]}_")
        else:
            found.append(variable if entry == 1.0 else f"{variable}*{numbers.name(entry)}")
    return " + ".join(found)


def entries(e: Any) -> Sequence[Any]:
    """The entries of nested tuples; a pair of a position and whether it moves is one."""
    if isinstance(e, tuple) and not (len(e) == 2 and isinstance(e[1], bool)):
        return [x for inner in e for x in entries(inner)]
    return [e]
