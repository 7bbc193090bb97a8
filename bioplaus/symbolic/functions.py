"""Functions an equation may use besides Brian2's own, with their derivatives and their torch spelling."""

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


OURS = {f.__name__: f for f in (step, relu, sigmoid, softplus)} | {"abs": magnitude, "sign": direction}

#: how each function is called in generated torch source
TORCH = {
    "exp": "torch.exp", "log": "torch.log", "sqrt": "torch.sqrt", "sin": "torch.sin", "cos": "torch.cos",
    "tan": "torch.tan", "sinh": "torch.sinh", "cosh": "torch.cosh", "tanh": "torch.tanh", "expm1": "torch.expm1",
    "log1p": "torch.log1p", "relu": "torch.relu", "sigmoid": "torch.sigmoid",
    "softplus": "softplus", "magnitude": "torch.abs", "direction": "torch.sign",
    "step": "heaviside", "Abs": "torch.abs", "sign": "torch.sign",  # sympy writes √(x²) as Abs(x)
}  # fmt: skip

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
    for function, spelled in BRIAN.items():
        expression = expression.replace(function, spelled)  # type: ignore[no-untyped-call]
    return expression
