"""Functions an equation may use: those that Brian2 lacks, with their derivatives, and which of its own are smooth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import sympy as sp


class step(sp.Function):
    """1 where x > 0, else 0."""

    def fdiff(self, argindex: int = 1) -> Any:
        return sp.Integer(0)


_holds: Any = step  # of which type checkers think that it is a type


class reached(sp.Function):
    """1 where x ≥ 0, else 0."""

    def fdiff(self, argindex: int = 1) -> Any:
        return sp.Integer(0)


class relu(sp.Function):
    """max(0, x)."""

    def fdiff(self, argindex: int = 1) -> Any:
        return step(self.args[0])


class sigmoid(sp.Function):
    """1 / (1 + exp(−x))."""

    def fdiff(self, argindex: int = 1) -> Any:
        return self * (1 - self)


class softplus(sp.Function):
    """log(1 + exp(x))."""

    def fdiff(self, argindex: int = 1) -> Any:
        return sigmoid(self.args[0])


class magnitude(sp.Function):
    """|x| with derivative sign(x), 0 at 0 (sympy's Abs differentiates into complex parts)."""

    def fdiff(self, argindex: int = 1) -> Any:
        return direction(self.args[0])


class direction(sp.Function):
    """sign(x)."""

    def fdiff(self, argindex: int = 1) -> Any:
        return sp.Integer(0)


class tanh(sp.Function):
    """sympy's without its questions: whether one is real, it asks by multiplying out what stands in its brackets."""

    def fdiff(self, argindex: int = 1) -> Any:
        return 1 - self**2


class sinh(sp.Function):
    """As `tanh`."""

    def fdiff(self, argindex: int = 1) -> Any:
        return cosh(self.args[0])


class cosh(sp.Function):
    """As `tanh`."""

    def fdiff(self, argindex: int = 1) -> Any:
        return sinh(self.args[0])


class arctan(sp.Function):
    """As `tanh`."""

    def fdiff(self, argindex: int = 1) -> Any:
        x: Any = self.args[0]
        return 1 / (1 + x**2)


class arcsin(sp.Function):
    """As `tanh`."""

    def fdiff(self, argindex: int = 1) -> Any:
        x: Any = self.args[0]
        return 1 / sp.sqrt(1 - x**2)


class arccos(sp.Function):
    """As `tanh`."""

    def fdiff(self, argindex: int = 1) -> Any:
        x: Any = self.args[0]
        return -1 / sp.sqrt(1 - x**2)


class log10(sp.Function):
    """As `tanh`."""

    def fdiff(self, argindex: int = 1) -> Any:
        return 1 / (self.args[0] * sp.log(10))


class floor(sp.Function):
    """The whole number below x, with derivative 0."""

    def fdiff(self, argindex: int = 1) -> Any:
        return sp.Integer(0)


class ceil(sp.Function):
    """The whole number above x, with derivative 0."""

    def fdiff(self, argindex: int = 1) -> Any:
        return sp.Integer(0)


class exprel(sp.Function):
    """(exp(x) − 1) / x, and 1 at 0."""

    def fdiff(self, argindex: int = 1) -> Any:
        return exprel_slope(self.args[0])


class exprel_slope(sp.Function):
    """The derivative of `exprel`, (x exp(x) − exp(x) + 1) / x², and ½ at 0; its own function, as that is 0/0 there, and noise near it."""


class larger(sp.Function):
    """The larger of two; where they are equal, the second."""

    def fdiff(self, argindex: int = 1) -> Any:
        a, b = self.args
        first = _holds(a - b)  # pyright: ignore[reportOperatorIssue]
        return first if argindex == 1 else 1 - first


class smaller(sp.Function):
    """The smaller of two; where they are equal, the second."""

    def fdiff(self, argindex: int = 1) -> Any:
        a, b = self.args
        first = _holds(b - a)  # pyright: ignore[reportOperatorIssue]
        return first if argindex == 1 else 1 - first


def _of_two_or_more(function: Any) -> Any:
    def of(one: Any, other: Any, *more: Any) -> Any:
        return of(function(one, other), *more) if more else function(one, other)

    return of


def _of_one(function: Any) -> Any:
    def of(x: Any) -> Any:
        return function(x)

    return of


def _within(x: Any, low: Any, high: Any) -> Any:
    """clip; a bound that is none, ``inf*mV``, is left out, as a number that is no number has no derivative."""
    none = (sp.S.Infinity, sp.S.NegativeInfinity)
    x = x if low.has(*none) else larger(x, low)
    return x if high.has(*none) else smaller(x, high)


#: sympy's, and ours in their place
QUICK = {sp.tanh: tanh, sp.sinh: sinh, sp.cosh: cosh}
#: what is read as ours, by the name that authors write
OURS = {f.__name__: _of_one(f) for f in (step, relu, sigmoid, softplus, arctan, arcsin, arccos, log10, floor, ceil, exprel)} | {
    "abs": _of_one(magnitude), "sign": _of_one(direction), "max": _of_two_or_more(larger), "min": _of_two_or_more(smaller),
    "clip": _within,
}  # fmt: skip
#: of those, the ones that Brian2 lacks
LACKING = ("step", "relu", "sigmoid", "softplus", "max", "min")

#: of Brian2's functions, those with a derivative that sympy knows
SMOOTH = ("exp", "log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "expm1", "log1p")
#: every function an equation may use: as authors write it, and as sympy calls it (which writes √(x²) as Abs(x))
WRITTEN = (*SMOOTH, *OURS, "int")
_READ = (step, reached, relu, sigmoid, softplus, magnitude, direction, arctan, arcsin, arccos, log10, floor, ceil, exprel, exprel_slope, larger, smaller)  # fmt: skip
DIFFERENTIABLE = frozenset({*SMOOTH, *(f.__name__ for f in _READ), "Abs", "sign"})

NEAR = 0.5  # chosen: where exprel's derivative is summed up term by term; beyond, its closed form loses one digit
TERMS = tuple(1 / (math.factorial(k) * (k + 2)) for k in range(16))  # of that sum: 0.5^16 / 16! is less than 1e-18


def _exprel(x: Any) -> Any:
    x = np.asarray(x, dtype=float)
    divisor = np.where(x == 0, 1.0, x)
    return np.where(x == 0, 1.0, np.expm1(x) / divisor)[()]


def _exprel_slope(x: Any) -> Any:
    x = np.asarray(x, dtype=float)
    far = np.where(np.abs(x) < NEAR, 1.0, x)
    near = np.polynomial.polynomial.polyval(np.where(np.abs(x) < NEAR, x, 0.0), TERMS)
    return np.where(np.abs(x) < NEAR, near, (np.exp(far) * (far - 1) + 1) / far**2)[()]


#: ours in numpy, for constants
NUMPY = {
    "relu": lambda x: np.maximum(x, 0.0), "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "softplus": lambda x: np.logaddexp(x, 0.0),
    "magnitude": np.abs, "direction": np.sign, "step": lambda x: np.heaviside(x, 0.0), "reached": lambda x: np.heaviside(x, 1.0), "larger": np.maximum, "smaller": np.minimum,
    "exprel": _exprel, "exprel_slope": _exprel_slope,
}  # fmt: skip

_abs, _sign, _log1p = sp.Function("abs"), sp.Function("sign"), sp.Function("log1p")

#: the same in Brian2's language, which lacks ours; whatever the unit of x, and exact in floating point
BRIAN = {
    # either factor is 0 or 1, so that what comes out is one of the two to the last bit
    larger: lambda a, b: a * _holds(a - b) + b * (1 - _holds(a - b)),
    smaller: lambda a, b: a * _holds(b - a) + b * (1 - _holds(b - a)),
    reached: lambda x: 1 - _holds(-x),
    relu: lambda x: 0.5 * (x + _abs(x)),
    sigmoid: lambda x: 1 / (1 + sp.exp(-x)),
    softplus: lambda x: 0.5 * (x + _abs(x)) + _log1p(sp.exp(-_abs(x))),
    magnitude: lambda x: _abs(x),
    direction: lambda x: _sign(x),
    step: lambda x: 0.5 * (_sign(x) + _abs(_sign(x))),
}


def for_brian(expression: sp.Expr) -> sp.Expr:
    """The expression with our functions spelled out in those Brian2 knows."""
    spelled_out: Any = expression
    for function, spelled in BRIAN.items():
        spelled_out = spelled_out.replace(function, spelled)
    return spelled_out
