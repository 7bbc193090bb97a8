"""Sympy expressions as torch expressions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp
from sympy.printing.str import StrPrinter

from bioplaus.errors import CellError

#: how each function is called in generated torch source
TORCH = {
    "exp": "torch.exp", "log": "torch.log", "sqrt": "torch.sqrt", "sin": "torch.sin", "cos": "torch.cos",
    "tan": "torch.tan", "sinh": "torch.sinh", "cosh": "torch.cosh", "tanh": "torch.tanh", "expm1": "torch.expm1",
    "log1p": "torch.log1p", "relu": "torch.relu", "sigmoid": "torch.sigmoid",
    "softplus": "softplus", "magnitude": "torch.abs", "direction": "torch.sign",
    "arctan": "torch.atan", "arcsin": "torch.asin", "arccos": "torch.acos", "log10": "torch.log10", "floor": "torch.floor", "ceil": "torch.ceil",
    "exprel": "exprel", "exprel_slope": "exprel_slope", "larger": "larger", "smaller": "smaller",
    "step": "heaviside", "reached": "reached", "Abs": "torch.abs", "sign": "torch.sign",  # sympy writes √(x²) as Abs(x)
}  # fmt: skip


class TorchPrinter(StrPrinter):
    """Prints one kernel call for a term wherever torch fuses a product into a sum.

    ``numbers`` are the constants by name: scalars, and fields with one value per neuron.
    """

    def __init__(self, numbers: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.scalars = frozenset(name for name, value in numbers.items() if value.ndim == 0)
        self.fields = frozenset(name for name, value in numbers.items() if value.ndim)

    def _moves(self, e: Any) -> bool:
        return any(s.name not in self.scalars | self.fields for s in e.free_symbols)

    def _print_Add(self, expr: Any, order: Any = None) -> str:
        still = [a for a in expr.args if not self._moves(a)]
        terms = []  # (number or None, what it multiplies)
        for a in (a for a in expr.args if self._moves(a)):
            factors = sp.Mul.make_args(a)
            numbers = [f for f in factors if f.is_Number or (f.is_Symbol and f.name in self.scalars)]  # type: ignore[attr-defined]
            terms.append((sp.Mul(*numbers) if numbers else None, [f for f in factors if f not in numbers]))
        # begin with what no fused call takes: a lone symbol or function
        terms.sort(key=lambda t: (t[0] is not None, len(t[1]) == 2))
        if not terms:
            return str(super()._print_Add(expr, order))
        (c, first), *rest = terms
        total = (
            self.parenthesize(sp.Mul(*first), 50)
            if c is None
            else f"{self.parenthesize(c, 50)}*{self.parenthesize(sp.Mul(*first), 50)}"
        )
        for a in still:
            total = f"{total} + {self.parenthesize(a, 40)}"
        for c, factors in rest:
            if c is not None and not any(f.is_Symbol and f.name in self.fields for f in factors):
                total = f"torch.add({total}, {self._print(sp.Mul(*factors))}, alpha={self._print(c)})"
            elif c is None and len(factors) == 2:
                total = f"torch.addcmul({total}, {self._print(factors[0])}, {self._print(factors[1])})"
            else:
                term = sp.Mul(*factors) if c is None else sp.Mul(c, *factors, evaluate=False)
                total = f"{total} + {self.parenthesize(term, 40)}"
        return total if not rest and not still else f"({total})"

    def _print_Float(self, expr: Any) -> str:
        return repr(float(expr))

    def _print_Rational(self, expr: Any) -> str:
        return repr(expr.p / expr.q)

    def _print_Function(self, expr: Any) -> str:
        name = expr.func.__name__
        if name not in TORCH:
            raise CellError(f"The function '{name}' has no torch form. Known functions: {', '.join(sorted(TORCH))}.")
        return f"{TORCH[name]}({', '.join(self._print(a) for a in expr.args)})"

    _print_exp = _print_log = _print_sin = _print_cos = _print_tan = _print_Function
    _print_sinh = _print_cosh = _print_tanh = _print_Function

    def _print_Pow(self, expr: Any, rational: bool = False) -> str:
        base, power = self.parenthesize(expr.base, 100), expr.exp
        if power == 2 and expr.base.is_Symbol:
            return f"({base}*{base})"
        if power == sp.Rational(1, 2):
            return f"torch.sqrt({self._print(expr.base)})"
        return f"{base}**{self.parenthesize(power, 100)}"
