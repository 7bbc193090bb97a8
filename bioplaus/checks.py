"""Checks of what descriptions are given: what makes no sense is refused at once, in one sentence.

``kind`` is the error to raise, ``what`` names the value in words. A checked value comes back as a plain one.
"""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Iterable
from typing import Any

from bioplaus.errors import BioplausError, unknown

_BASE = ("length", "mass", "time", "current", "temperature", "substance", "luminosity")


def _exponents(value: Any) -> dict[str, float]:
    """The base dimensions of a quantity with their exponents; nothing for a plain number."""
    exponent = getattr(getattr(value, "dim", None), "get_dimension", None)
    return {} if exponent is None else {base: exponent(base) for base in _BASE if exponent(base)}


def refusal(kind: type[BioplausError], what: str, value: Any, wanted: str) -> BioplausError:
    """The error that says what was given and what it must be."""
    shown = str(value) if hasattr(value, "dim") else reprlib.repr(value).replace("\n", " ")
    return kind(f"{what} is {shown}; it must be {wanted}.")


def whole(kind: type[BioplausError], what: str, value: Any, least: int = 1, most: int = 10**9) -> int:
    """A whole number in [least, most]."""
    wanted = f"a whole number from {least} to {most}" if most < 10**9 else f"a whole number of at least {least}"
    try:
        number = operator.index(value)
    except TypeError:
        raise refusal(kind, what, value, wanted) from None
    if isinstance(value, bool) or not least <= number <= most:
        raise refusal(kind, what, value, wanted)
    return number


def number(kind: type[BioplausError], what: str, value: Any, least: float = -math.inf, most: float = math.inf) -> float:
    """A finite plain number in [least, most]."""
    limits = {
        (False, False): "", (True, False): f" of at least {least:g}", (False, True): f" of at most {most:g}",
        (True, True): f" between {least:g} and {most:g}",
    }  # fmt: skip
    wanted = "a finite number" + limits[math.isfinite(least), math.isfinite(most)]
    if isinstance(value, (bool, str, bytes)) or _exponents(value):
        raise refusal(kind, what, value, wanted)
    try:
        plain = float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise refusal(kind, what, value, wanted) from None
    if not (math.isfinite(plain) and least <= plain <= most):
        raise refusal(kind, what, value, wanted)
    return plain


def seconds(kind: type[BioplausError], what: str, value: Any, example: str) -> float:
    """A time above zero in seconds, from a quantity or a plain number of seconds."""
    wanted = f"a time above zero, such as {example}"
    if isinstance(value, (bool, str, bytes)) or _exponents(value) not in ({}, {"time": 1}):
        raise refusal(kind, what, value, wanted)
    try:
        plain = float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise refusal(kind, what, value, wanted) from None
    if not (math.isfinite(plain) and plain > 0):
        raise refusal(kind, what, value, wanted)
    return plain


def word(kind: type[BioplausError], what: str, value: Any, known: Iterable[str] | None = None) -> str:
    """A name; one of the known ones, if they are given."""
    if not isinstance(value, str) or not value:
        raise refusal(kind, what, value, "a name" if known is None else f"one of {', '.join(known)}")
    if known is not None and value not in (words := tuple(known)):
        raise kind(unknown(what, value, words))
    return value


def flag(kind: type[BioplausError], what: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise refusal(kind, what, value, "True or False")
    return value


def names(kind: type[BioplausError], what: str, value: Any) -> tuple[str, ...]:
    """Several names, all different, at least one."""
    wanted = "a tuple of different names, at least one"
    if isinstance(value, str):
        raise refusal(kind, what, value, wanted)
    try:
        found = tuple(value)
    except TypeError:
        raise refusal(kind, what, value, wanted) from None
    if not found or not all(isinstance(n, str) and n for n in found) or len(set(found)) < len(found):
        raise refusal(kind, what, value, wanted)
    return found
