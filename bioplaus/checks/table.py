"""A table of constraints, the function that walks it, and the one wording of what it refuses."""

from __future__ import annotations

import reprlib
from dataclasses import is_dataclass
from types import MappingProxyType
from typing import Any

from bioplaus.checks.constraints import MOST, Constraint, Whole
from bioplaus.checks.numbers import Unfit
from bioplaus.errors import BioplausError, cut


class Table:
    """Field → constraint, and how a refusal is raised.

    Parameters
    ----------
    error : the class of error.
    of : whose fields they are, for messages, with the object as ``{0}``: ``"of projection {0.name}"``; else the class's name.
    rows : the constraint of each field.
    """

    def __init__(self, error: type[BioplausError], of: str = "", /, **rows: Constraint) -> None:
        self.error, self.of, self.rows = error, of, MappingProxyType(rows)

    def plain(self, thing: Any) -> dict[str, Any]:
        """The fields of an object as plain values.

        Raises
        ------
        BioplausError
            For the first one that is not as it should be.
        """
        of = cut(self.of.format(thing)) if self.of else f"of {type(thing).__name__}"
        return {
            field: accept(self.error, f"{field} {of}", getattr(thing, field, None), row)
            for field, row in self.rows.items()
        }


def settle(thing: Any) -> None:
    """Check a dataclass by the tables of its classes, called ``constraints``, and keep plain values. For ``__post_init__``."""
    for kind in reversed(type(thing).__mro__):
        if is_dataclass(kind) and isinstance(table := vars(kind).get("constraints"), Table):
            for field, value in table.plain(thing).items():
                object.__setattr__(thing, field, value)


def accept(kind: type[BioplausError], what: str, value: Any, constraint: Constraint) -> Any:
    """One value as a plain one, or the error that says what it must be."""
    try:
        return constraint.plain(value)
    except Unfit as more:
        raise refusal(kind, what, value, constraint.wanted, str(more)) from None


def whole(kind: type[BioplausError], what: str, value: Any, least: int = 1, most: int = MOST) -> int:
    """A whole number in [least, most]."""
    return accept(kind, what, value, Whole(least, most))


def refusal(kind: type[BioplausError], what: str, value: Any, wanted: str, more: str = "") -> BioplausError:
    """The error that says what was given and what it must be."""
    return kind(f"{what} is {short(value)}; it must be {wanted}.{more}")


def short(value: Any) -> str:
    """What was given, on one line and cut to a length that fits in a sentence."""
    try:
        return cut(str(value) if hasattr(value, "get_best_unit") else reprlib.repr(value))
    except ValueError:  # Python writes no number of so many digits
        return "a number of thousands of digits"
