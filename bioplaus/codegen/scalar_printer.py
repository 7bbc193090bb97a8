"""Sympy expressions as scalar Python that numba compiles: one neuron at one step.

Numbers enter by position in an array, so that they have the dtype of everything else (a literal would make float32 into float64),
and so that other numbers are no other text. Names of ours end in a digit and an underscore, which no name of an author does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sympy.printing.str import StrPrinter

from bioplaus.errors import CellError
from bioplaus.symbolic.functions import NEAR, TERMS

#: how each function is called: of the math or numpy module, or defined in `FUNCTIONS`
SCALAR = {
    "exp": "math0_.exp", "log": "math0_.log", "sqrt": "math0_.sqrt", "sin": "math0_.sin", "cos": "math0_.cos", "tan": "math0_.tan",
    "sinh": "math0_.sinh", "cosh": "math0_.cosh", "tanh": "math0_.tanh", "expm1": "math0_.expm1", "log1p": "math0_.log1p",
    "arctan": "math0_.atan", "arcsin": "math0_.asin", "arccos": "math0_.acos", "log10": "math0_.log10",
    "floor": "np0_.floor", "ceil": "np0_.ceil", "magnitude": "abs", "Abs": "abs",
    "relu": "relu0_", "sigmoid": "sigmoid0_", "softplus": "softplus0_", "direction": "direction0_", "sign": "direction0_", "step": "step0_",
    "reached": "reached0_", "exprel": "exprel0_", "exprel_slope": "exprel_slope0_", "larger": "larger0_", "smaller": "smaller0_",
}  # fmt: skip

#: text of what numba has not; ``x - x`` is a zero of x's own type
FUNCTIONS = {
    "relu0_": "def relu0_(x): return max(x, x - x)",
    "sigmoid0_": "def sigmoid0_(x): return (x - x + 1)/(x - x + 1 + math0_.exp(-x))",
    "softplus0_": "def softplus0_(x): return max(x, x - x) + math0_.log1p(math0_.exp(-abs(x)))",
    "step0_": "def step0_(x): return (x - x + 1) if x > 0 else (x - x)",
    "reached0_": "def reached0_(x): return (x - x + 1) if x >= 0 else (x - x)",
    "direction0_": "def direction0_(x): return step0_(x) - step0_(-x)",
    "larger0_": "def larger0_(a, b): return a if a > b else b",
    "smaller0_": "def smaller0_(a, b): return a if a < b else b",
    "exprel0_": "def exprel0_(x): return math0_.expm1(x)/x if x != 0 else (x - x + 1)",
    "exprel_slope0_": (
        f"def exprel_slope0_(x): return (math0_.exp(x)*(x - 1) + 1)/(x*x) if abs(x) >= {NEAR!r} else "
        + "".join(f"({term!r} + x*" for term in TERMS[:-1]) + repr(TERMS[-1]) + ")" * (len(TERMS) - 1)
    ),
}  # fmt: skip


class ScalarPrinter(StrPrinter):
    """``number(value)`` says by which name a number is read, ``numbers`` which names are constants of one cell."""

    def __init__(self, numbers: Mapping[str, np.ndarray], number: Callable[[float], str]) -> None:
        super().__init__()
        self.numbers, self.number = numbers, number

    def _print_Number(self, expr: Any) -> str:
        return self.number(float(expr))

    _print_Integer = _print_Rational = _print_Float = _print_Number
    _print_One = _print_NegativeOne = _print_Zero = _print_Half = _print_Number
    _print_Pi = _print_Exp1 = _print_Number  # pyright: ignore[reportAssignmentType]

    def _print_Symbol(self, expr: Any) -> str:
        value = self.numbers.get(expr.name)
        return expr.name if value is None or value.ndim else self.number(float(value))

    def _print_Add(self, expr: Any, order: Any = None) -> str:
        return "(" + " + ".join(self._print(a) for a in expr.args) + ")"

    def _print_Mul(self, expr: Any) -> str:
        return "(" + "*".join(self._print(a) for a in expr.args) + ")"

    def _print_Pow(self, expr: Any, rational: bool = False) -> str:
        base, power = self._print(expr.base), expr.exp
        if power.is_Integer and 0 < abs(int(power)) <= 8:
            product = "*".join([base] * abs(int(power)))
            return f"({product})" if power > 0 else f"({self.number(1.0)}/({product}))"
        if power.is_Rational and abs(power) == 0.5:
            return f"math0_.sqrt({base})" if power > 0 else f"({self.number(1.0)}/math0_.sqrt({base}))"
        return f"({base}**{self._print(power)})"

    def _print_Function(self, expr: Any) -> str:
        name = expr.func.__name__
        if name not in SCALAR:
            raise CellError(f"The function '{name}' has no scalar form. Known functions: {', '.join(sorted(SCALAR))}.")
        return f"{SCALAR[name]}({', '.join(self._print(a) for a in expr.args)})"

    _print_exp = _print_log = _print_sin = _print_cos = _print_tan = _print_Function
    _print_sinh = _print_cosh = _print_tanh = _print_Abs = _print_sign = _print_Function
