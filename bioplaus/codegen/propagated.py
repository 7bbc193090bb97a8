"""The entries of a propagator as numbers: Brian2's closed form where it gives the matrix exponential, the matrix exponential elsewhere.

    [Φ Γ; 0 1] = exp(dt [A B; 0 0])

The closed form of a chain v ← g divides by τ_v − τ_g: 0/0 where the time constants are equal, a quotient of roundings where they
are nearly so, and complex where states swing. The matrix exponential knows no such cases. Each neuron is asked by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from bioplaus.codegen.constants import evaluated, finite
from bioplaus.codegen.exponential import exponential
from bioplaus.errors import CellError
from bioplaus.symbolic.linear import Propagator

CLOSE = 1e-12  # chosen: above what the closed form loses by itself (1 − exp(−dt/τ) loses ε τ/dt), far below what anybody would notice


class Propagated(NamedTuple):
    """Entries by name, a number or one per neuron; and whether all of them are what Brian2's closed form gives."""

    numbers: dict[str, Any]
    closed: bool


def propagated(p: Propagator, values: Mapping[str, Any]) -> Propagated:
    """Entries of Φ and Γ.

    Parameters
    ----------
    values : name → float or array (one value per neuron), in SI base units, ``dt`` among them.

    Raises
    ------
    CellError
        For coefficients that are not finite, or equations that leave the range of numbers within one step.
    """
    right = _exponential(p, values)
    numbers, closed = {}, True
    for name, (i, j) in p.entries.items():
        true = right[..., i, j]
        given = evaluated(p.closed[name], values) if name in p.closed else np.nan
        near = np.abs(given - true) <= CLOSE * np.abs(true) + np.finfo(float).tiny
        closed = closed and bool(np.all(near))
        numbers[name] = given if np.all(near) else _shared(np.where(near, given, true))
    return Propagated(numbers, closed)


def _exponential(p: Propagator, values: Mapping[str, Any]) -> np.ndarray:
    """exp(dt [A B; 0 0]), (…, row, column)."""
    n, m = len(p.states), len(p.drives)
    coefficients = [[finite(e, values) for e in (*a, *b)] for a, b in zip(p.A, p.B, strict=True)]
    shape = np.broadcast_shapes(*(np.shape(c) for row in coefficients for c in row))
    M = np.zeros((*shape, n + m, n + m))
    for i, row in enumerate(coefficients):
        for j, c in enumerate(row):
            M[..., i, j] = c
    with np.errstate(all="ignore"):
        found = exponential(values["dt"] * M)
    if not np.isfinite(found).all():
        raise CellError(
            f"The equations of {', '.join(p.states)} grow beyond all numbers within one step of {values['dt'] * 1e3:g} ms with these "
            "parameters. Look for a coefficient with the wrong sign, a time constant that is far too small, or a unit that is missing."
        )
    return found


def _shared(value: np.ndarray) -> Any:
    """One number, where all neurons have the same."""
    return value.flat[0] if value.size and (value == value.flat[0]).all() else value
