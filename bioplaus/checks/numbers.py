"""Plain numbers from what Python, NumPy, torch and Brian2 call numbers, without importing any of them."""

from __future__ import annotations

import math
import operator
from typing import Any

_BASE = ("length", "mass", "time", "current", "temperature", "substance", "luminosity")


class Unfit(ValueError):
    """A value is not what is wanted. Whoever knows its name says so, and adds what this one says."""


def dtype(value: Any) -> str:
    """The name of the kind of numbers in an array, tensor or NumPy scalar; nothing for anything else."""
    return str(getattr(value, "dtype", "")).removeprefix("torch.")


def as_number(value: Any) -> int | float:
    """The int in a whole number, the float in another; truth values, text, complex and several numbers are Unfit.

    A whole number stays one, so that a configuration written with ``gain=1`` is the same whoever made the 1.
    """
    numeric = dtype(value).startswith(("int", "uint", "float", "bfloat")) or not dtype(value)
    if isinstance(value, bool) or not numeric or getattr(value, "ndim", 0):
        raise Unfit
    try:
        return operator.index(value)
    except TypeError:  # every array and tensor has an __index__, but only those of whole numbers answer
        pass
    if not hasattr(type(value), "__float__"):  # text has none, though float() would read it
        raise Unfit
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise Unfit from None


def as_truth(value: Any) -> bool:
    """True or False, also as NumPy and torch have them."""
    if isinstance(value, bool) or (dtype(value) == "bool" and not getattr(value, "ndim", 0)):
        return bool(value)
    raise Unfit


def dimensions(value: Any) -> dict[str, float]:
    """The base dimensions of a quantity with their exponents; nothing for a plain number."""
    exponent = getattr(getattr(value, "dim", None), "get_dimension", None)
    return {} if exponent is None else {base: exponent(base) for base in _BASE if exponent(base)}


def finite(number: float) -> bool:
    """Whether a number is one that a float can hold."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False
