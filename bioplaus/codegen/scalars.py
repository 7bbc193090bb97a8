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
OPTIONS = "fastmath={'contract', 'reassoc', 'nsz', 'arcp'}, error_model='numpy', nogil=True, cache=True"


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

    def text(self, entry: Text | float) -> str:
        """An entry as it is written."""
        return entry.text if isinstance(entry, Text) else self.name(entry)

    def loads(self, array: str) -> list[str]:
        """The names, read from an array."""
        return [f"c{i}_ = {array}[{i}]" for i, _ in enumerate(self.values)]


class Text:
    """A scalar as text, of which products and sums with numbers and others are text."""

    def __init__(self, text: str, numbers: Numbers) -> None:
        self.text, self.numbers = text, numbers

    def __mul__(self, other: Text | float) -> Text:
        return self if other == 1.0 else Text(f"{self.text}*{self.numbers.text(other)}", self.numbers)

    def __add__(self, other: Text | float) -> Text:
        return Text(f"({self.text} + {self.numbers.text(other)})", self.numbers)

    __rmul__, __radd__ = __mul__, __add__


def scalar(pattern: Any, numbers: Numbers) -> Any:
    """Nested entries with what varies as text."""
    if isinstance(pattern, tuple) and not varies(pattern):
        parts = [scalar(inner, numbers) for inner in pattern]
        return type(pattern)(*parts) if hasattr(pattern, "_make") else tuple(parts)
    return Text(f"p{pattern[0]}_", numbers) if isinstance(pattern, tuple) else pattern


def total(terms: Sequence[tuple[str, Text | float | None]], numbers: Numbers) -> str:
    """Σ variable · entry; empty where there is none."""
    return " + ".join((Text(variable, numbers) * entry).text for variable, entry in terms if entry is not None)


def entries(e: Any) -> Sequence[Any]:
    """The entries of nested tuples; a pair of a position and whether it moves is one."""
    if isinstance(e, tuple) and not varies(e):
        return [x for inner in e for x in entries(inner)]
    return [e]


def varies(e: Any) -> bool:
    """Whether an entry is a pair of a position and whether it moves in time."""
    return isinstance(e, tuple) and len(e) == 2 and isinstance(e[1], bool)
