"""Constants folded in float64: all that depends on parameters and dt alone is computed once and enters source text by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any, Literal

import numpy as np
import sympy as sp

from bioplaus.errors import CellError
from bioplaus.symbolic.functions import NUMPY
from bioplaus.symbolic.text import symbol


@dataclass
class Constants:
    """Replaces subexpressions without a ``dynamic`` symbol by named constants ``k0_, k1_, …``."""

    dynamic: frozenset[sp.Symbol]
    values: Mapping[str, Any]
    found: dict[Any, sp.Symbol] = field(default_factory=dict)

    def tidy(self, e: Any) -> Any:
        """A linear expression as Σ coefficient·variable + rest, so that each coefficient folds into one constant."""
        if any(f.free_symbols & self.dynamic for f in e.atoms(sp.Function)):
            return e  # also step(x), though its derivative is a constant
        variables = sorted(e.free_symbols & self.dynamic, key=str)
        coefficients = [sp.diff(e, v) for v in variables]
        if variables and not any(c.free_symbols & self.dynamic for c in coefficients):
            rest = e.xreplace({v: sp.Integer(0) for v in variables})
            return sp.Add(
                *(sp.Mul(self.name(c), v) for c, v in zip(coefficients, variables, strict=True)), self.name(rest)
            )
        return e

    def name(self, e: Any) -> Any:
        """The constant's symbol; a plain number where it is simple enough to stay visible."""
        if e.is_Integer or e in self.found.values() or (not e.free_symbols and e.is_Rational):
            return e
        if e not in self.found:
            self.found[e] = symbol(f"k{len(self.found)}_")
        return self.found[e]

    def fold(self, e: Any) -> Any:
        if not e.free_symbols & self.dynamic:
            return self.name(e)
        if e.is_Mul or e.is_Add:
            fixed = [a for a in e.args if not a.free_symbols & self.dynamic]
            moving = [self.fold(a) for a in e.args if a.free_symbols & self.dynamic]
            return e.func(self.name(e.func(*fixed)), *moving) if fixed else e.func(*moving)
        return e.func(*(self.fold(a) for a in e.args)) if e.args else e

    def numbers(self) -> dict[str, Any]:
        """Every constant by name: a number, or one value per neuron.

        Raises
        ------
        CellError
            For one that is not a finite real number, saying which of its parameters are zero.
        """
        out, values = {}, dict(self.values)
        for e, name in self.found.items():
            out[name.name] = values[name.name] = finite(e, values)
        return out


def evaluated(e: Any, values: Mapping[str, Any], trouble: Literal["ignore", "raise"] = "ignore") -> Any:
    """The value of an expression; NaN where it is none: in single neurons, or with ``trouble="raise"`` in all of them."""
    symbols = sorted(e.free_symbols, key=str)
    unknown = [s.name for s in symbols if s.name not in values]
    if unknown:
        raise CellError(
            f"Unknown name {', '.join(unknown)} in a cell's equations. Known parameters: {', '.join(sorted(values))}."
        )
    try:
        with np.errstate(divide=trouble, over=trouble, invalid=trouble):
            value = sp.lambdify(symbols, e, [NUMPY, np])(*(values[s.name] for s in symbols))
    except (ArithmeticError, KeyError, NameError):  # division by zero, sympy's ComplexInfinity
        return math.nan
    return np.where(np.imag(value) == 0, np.real(value), math.nan)[()] if np.iscomplexobj(value) else value


def finite(e: Any, values: Mapping[str, Any]) -> Any:
    """The value of an expression, finite and real in every neuron."""
    value = evaluated(e, values, "raise")  # exp(−dt/0) is 0, and finite
    if np.isfinite(value).all():
        return value
    given = {s.name: values[s.name] for s in sorted(e.free_symbols, key=str) if s.name != "dt"}
    zero = _at_fault(e, values, [name for name, number in given.items() if np.any(np.asarray(number) == 0)])
    listed = ", ".join(f"{name} = {_shown(number)}" for name, number in given.items())
    raise CellError(
        f"A constant of the cell, {shorten(str(e), 120)}, is not a finite real number at dt = {values['dt']:g} s with {listed or 'any parameters'}. "
        + (
            f"{' and '.join(zero)} {'is' if len(zero) == 1 else 'are'} zero; give a value that is not."
            if zero
            else "Look for a value that is far too small or too large, a unit that is missing, or a root of a negative number."
        )
    )


def _at_fault(e: Any, values: Mapping[str, Any], zero: list[str]) -> list[str]:
    """Of the parameters that are zero, those whose zero alone would do, were the others 1; all, where only together they do."""
    ones = {name: np.where(np.asarray(values[name]) == 0, 1.0, values[name]) for name in zero}
    alone = [n for n in zero if not np.isfinite(evaluated(e, {**values, **ones, n: values[n]}, "raise")).all()]
    return alone or zero


def _shown(number: Any) -> str:
    least, most = np.min(number), np.max(number)
    return f"{least:g}" if least == most else f"{least:g} to {most:g}"
