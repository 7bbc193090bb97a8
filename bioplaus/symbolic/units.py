"""Physical units for scripts: Brian2's quantities under their usual names.

Quantities live at the border only: a cell converts its parameters once, and everything inside computes with plain
floats in SI base units (seconds, volts, amperes), the numbers Brian2 itself computes with.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from brian2.units import (  # noqa: F401  (re-exported)
    Hz,
    Mohm,
    Quantity,
    amp,
    cm,
    farad,
    get_dimensions,
    kHz,
    mm,
    mS,
    ms,
    mV,
    nA,
    nF,
    nS,
    pA,
    pF,
    second,
    siemens,
    uA,
    uF,
    um,
    uS,
    us,
    volt,
)
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension, get_unit

SECOND = get_dimensions(second)


def plain(value: Any) -> Any:
    """The bare number (or array) of a quantity, in SI base units; anything else comes back as a float or array."""
    array = np.asarray(value, dtype=float)
    return float(array) if array.ndim == 0 else array


def show(value: Any) -> str:
    """A parameter as people write it: ``20 ms``, ``0.6``, ``array of 100 (s)``."""
    if np.ndim(value):
        return f"{np.size(value)} values, {np.min(plain(value)):g} to {np.max(plain(value)):g} ({unit_name(value)})"
    return value.in_best_unit(precision=12) if isinstance(value, Quantity) else repr(float(value))


def unit_name(value: Any) -> str:
    """Name of the SI unit of a quantity; ``1`` if it has none."""
    return unit_text(get_dimensions(value))


def unit_text(dimension: Dimension) -> str:
    """The SI unit of a dimension, as people write it; ``1`` for none."""
    return "1" if dimension is DIMENSIONLESS else repr(get_unit(dimension))


def declaration(name: str, value: Any, flag: str = "") -> str:
    """The line that declares a variable of a value's unit in Brian2's equations, which know no brackets in a unit."""
    dimension = get_dimensions(value)
    return f"{name} : {'1' if dimension is DIMENSIONLESS else repr(dimension)}{flag}"
