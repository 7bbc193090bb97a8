"""Functions an equation may use: those that Brian2 lacks, with their derivatives, and which of its own are smooth."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp


class step(sp.Function):
    """1 where x > 0, else 0."""

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


#: sympy's, and ours in their place
QUICK = {sp.tanh: tanh, sp.sinh: sinh, sp.cosh: cosh}
OURS = {f.__name__: f for f in (step, relu, sigmoid, softplus)} | {"abs": magnitude, "sign": direction}

#: of Brian2's functions, those with a derivative
SMOOTH = ("exp", "log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "expm1", "log1p")
#: every function an equation may use: as authors write it, and as sympy calls it (which writes √(x²) as Abs(x))
WRITTEN = (*SMOOTH, *OURS)
DIFFERENTIABLE = frozenset({*SMOOTH, *(f.__name__ for f in OURS.values()), "Abs", "sign"})

#: ours in numpy, for constants
NUMPY = {
    "relu": lambda x: np.maximum(x, 0.0), "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "softplus": lambda x: np.logaddexp(x, 0.0),
    "magnitude": np.abs, "direction": np.sign, "step": lambda x: np.heaviside(x, 0.0),
}  # fmt: skip

_abs, _sign, _log1p = sp.Function("abs"), sp.Function("sign"), sp.Function("log1p")

#: the same in Brian2's language, which lacks ours; whatever the unit of x, and exact in floating point
BRIAN = {
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
