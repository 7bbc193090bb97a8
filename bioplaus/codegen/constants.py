"""Constants folded in float64: all that depends on parameters and dt alone is computed once and enters source text by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any

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
        out, values = {}, dict(self.values)
        for e, name in self.found.items():
            symbols = sorted(e.free_symbols, key=str)
            unknown = [s.name for s in symbols if s.name not in values]
            if unknown:
                raise CellError(
                    f"Unknown name {', '.join(unknown)} in a cell's equations. Known parameters: {', '.join(sorted(self.values))}."
                )
            try:
                with np.errstate(divide="raise", over="raise", invalid="raise"):
                    value = sp.lambdify(symbols, e, [NUMPY, "numpy"])(*(values[s.name] for s in symbols))
            except (ArithmeticError, KeyError, NameError):  # division by zero, sympy's ComplexInfinity
                value = math.nan
            if np.iscomplexobj(value) or not np.isfinite(value).all():
                raise CellError(
                    f"A constant of the cell, {shorten(str(e), 120)}, is not a finite real number at dt = {values['dt']:g} s with these parameters. "
                    "Look for time constants or capacitances that are zero or far too small; method='exact' can't integrate oscillations "
                    "(try 'rk4' or 'exponential_euler')."
                )
            out[name.name] = values[name.name] = value
        return out
