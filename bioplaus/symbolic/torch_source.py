"""Torch source of a cell: its step and its partials, constants folded in float64.

Everything that depends on parameters and dt alone is computed once, in float64, and enters the source as ``k0_, k1_, …``
(a float, or one value per neuron). The source works on tensors of any leading shape: ``(batch, unit)`` for one step,
``(time, batch, unit)`` for a whole window at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp
import torch
from sympy.printing.str import StrPrinter

from bioplaus.errors import CellError
from bioplaus.symbolic import arguments
from bioplaus.symbolic.derive import ACTIVE, HEIGHT, LAST, MARGIN, NOW, Derived, after
from bioplaus.symbolic.functions import NUMPY
from bioplaus.symbolic.text import symbol
from bioplaus.symbolic.units import plain

if TYPE_CHECKING:
    from bioplaus.cell import Cell

#: one partial derivative: structurally zero, constant, or a tensor that broadcasts to (…, batch, unit)
Entry = float | torch.Tensor | None


#: how each function is called in generated torch source
TORCH = {
    "exp": "torch.exp", "log": "torch.log", "sqrt": "torch.sqrt", "sin": "torch.sin", "cos": "torch.cos",
    "tan": "torch.tan", "sinh": "torch.sinh", "cosh": "torch.cosh", "tanh": "torch.tanh", "expm1": "torch.expm1",
    "log1p": "torch.log1p", "relu": "torch.relu", "sigmoid": "torch.sigmoid",
    "softplus": "softplus", "magnitude": "torch.abs", "direction": "torch.sign",
    "step": "heaviside", "Abs": "torch.abs", "sign": "torch.sign",  # sympy writes √(x²) as Abs(x)
}  # fmt: skip


class _Torch(StrPrinter):
    """Prints sympy as torch expressions, one kernel call for a term wherever torch fuses a product into a sum.

    ``scalars`` and ``fields`` name the constants: numbers, and one value per neuron.
    """

    def __init__(self, scalars: frozenset[str] = frozenset(), fields: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.scalars, self.fields = scalars, fields

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


@dataclass
class _Constants:
    """Folds parameter-only subexpressions into named constants."""

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


@dataclass(frozen=True)
class Kernel:
    """A cell's generated functions, bound to a dtype and a device.

    ``step(s, I, y, active, spike, cut) → (u, y, s)`` on tuples of tensors; ``partials(get) → (F, E, G, psi, Ru, ry)``, nested
    tuples of entries, where ``get(kind, index)`` hands out ``s`` (old states), ``I``, ``y_last``, ``u``, ``y_now``, ``active``.
    """

    derived: Derived
    source: str
    step: Callable[..., tuple[tuple[torch.Tensor, ...], torch.Tensor, tuple[torch.Tensor, ...]]]
    partials: Callable[[Callable[[str, int], torch.Tensor]], tuple[Any, ...]]
    #: pseudo-derivative of the spike at a margin; None for rate cells
    surrogate: Callable[[torch.Tensor], torch.Tensor] | None
    #: which kinds of quantity ``partials`` asks for
    needs: frozenset[str]


def hard_spike(x: torch.Tensor) -> torch.Tensor:
    """1 where the margin is positive."""
    return torch.heaviside(x, _zero(x.dtype, x.device))


@cache
def _zero(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return torch.zeros((), dtype=dtype, device=device)


def uncut(y: torch.Tensor) -> torch.Tensor:
    """No gradient is being recorded: nothing to cut."""
    return y


def surrogate_spike(surrogate: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """A spike whose derivative under autograd and torch.func is the surrogate's: x − x adds nothing but a slope."""

    def spike(x: torch.Tensor) -> torch.Tensor:
        return hard_spike(x.detach()) + surrogate(x.detach()) * (x - x.detach())

    return spike


def kernel(cell: Cell, n: int, dt: float, dtype: Any, device: Any) -> Kernel:
    """Generate and bind the torch source for ``n`` neurons, checking values per neuron against ``n``."""
    arguments.sizes(cell, n)
    numbers = {k: plain(v) for k, v in cell.parameters.items()}
    numbers |= {f"unit_{k}": v for k, v in cell.scales.items()}
    return generate(cell.derived, numbers, dt, arguments.refractory_steps(cell, dt) > 0, dtype, device)


def generate(
    derived: Derived,
    parameters: Mapping[str, Any],
    dt: float,
    refractory: bool,
    dtype: torch.dtype,
    device: torch.device | str,
) -> Kernel:
    """Write and bind the torch source of a cell.

    Parameters
    ----------
    derived : the cell's expressions.
    parameters : name → float or float64 array (one value per neuron), SI base units.
    dt : step in seconds.
    refractory : whether the cell is ever refractory; if not, that factor disappears from the source.
    """
    d = derived
    last = symbol("y_last")
    plainly = {} if refractory else {ACTIVE: sp.Integer(1)}
    in_f = {LAST: last, **plainly}
    height = d.surrogate.xreplace({MARGIN: d.output.xreplace(plainly)}) if d.surrogate is not None else None
    in_u = {HEIGHT: height, **plainly} if height is not None else plainly
    old, new, inputs = [symbol(s) for s in d.states], [after(s) for s in d.states], [symbol(k) for k in d.inputs]
    dynamic = frozenset([*old, *new, *inputs, last, NOW, ACTIVE, MARGIN])
    constants = _Constants(dynamic, {**parameters, "dt": dt})

    def ready(e: Any, swap: Mapping[Any, Any]) -> Any:
        return constants.fold(constants.tidy(e.xreplace(dict(swap))))

    f, output = [ready(e, in_f) for e in d.f], ready(d.output, plainly)
    r = [ready(e, plainly) for e in d.r]
    r_cut = [
        e if s in d.kept or not d.spiking else e.xreplace({NOW: symbol("y_cut")})
        for s, e in zip(d.states, r, strict=True)
    ]
    flat = {
        "F": [e for row in d.F for e in row], "E": list(d.E), "G": [e for row in d.G for e in row], "psi": list(d.psi),
        "Ru": [e for row in d.Ru for e in row], "ry": list(d.ry),
    }  # fmt: skip
    entries = {
        f"{name}_{i}": ready(e, in_f if name in ("F", "E", "G") else in_u)
        for name, group in flat.items()
        for i, e in enumerate(group)
    }
    pseudo = ready(d.surrogate, {}) if d.surrogate is not None else None

    numbers = {name: np.asarray(value, dtype=float) for name, value in constants.numbers().items()}
    show = _Torch(
        frozenset(n for n, v in numbers.items() if v.ndim == 0), frozenset(n for n, v in numbers.items() if v.ndim)
    ).doprint
    lines = [
        "def step(states, currents, y_last, not_refractory, spike, cut):",
        *_unpack("states", old),
        *_unpack("currents", inputs),
    ]
    lines += _assign(f, [str(u) for u in new], "f", show)
    if d.spiking:
        lines += _assign([output], ["margin"], "m", show)
        lines += ["    y_now = spike(margin)" + (" * not_refractory" if refractory else ""), "    y_cut = cut(y_now)"]
    else:
        lines += _assign([output], ["y_now"], "m", show)
    lines += _assign(r_cut, [f"new_{s}" for s in d.states], "r", show)
    lines.append(f"    return ({_tuple(map(str, new))}), y_now, ({_tuple(f'new_{s}' for s in d.states)})")

    wanted = set().union(*(e.free_symbols for e in entries.values())) if entries else set()
    handed = [*((s, "s", i) for i, s in enumerate(old)), *((k, "I", i) for i, k in enumerate(inputs)), (last, "y_last", 0),
              *((u, "u", i) for i, u in enumerate(new)), (NOW, "y_now", 0), (ACTIVE, "active", 0)]  # fmt: skip
    needs = frozenset(kind for s, kind, _ in handed if s in wanted)
    lines += ["", "", "def partials(get):"]
    lines += [f"    {s} = get({kind!r}, {i})" for s, kind, i in handed if s in wanted]
    moving = {n: e for n, e in entries.items() if e.free_symbols & dynamic}
    lines += _assign(list(moving.values()), list(moving), "p", show)
    S, K = len(d.states), len(d.inputs)
    shapes = {"F": (S, S), "E": (S,), "G": (S, K), "psi": (S,), "Ru": (S, S), "ry": (S,)}
    lines.append("    return " + ", ".join(_nested(name, shapes[name], entries, moving, show) for name in shapes))
    if pseudo is not None:
        lines += ["", "", "def surrogate(x):", *_assign([pseudo], ["height"], "h", show), "    return height"]
    source = "\n".join(lines) + "\n"
    namespace: dict[str, Any] = {"torch": torch, "heaviside": hard_spike, "softplus": _softplus}
    for name, array in numbers.items():
        namespace[name] = float(array) if array.ndim == 0 else torch.as_tensor(array, dtype=dtype, device=device)
    namespace["constant"] = _constant
    exec(compile(source, "<generated torch source of a bioplaus cell>", "exec"), namespace)
    return Kernel(d, source, namespace["step"], namespace["partials"], namespace.get("surrogate"), needs)


def _softplus(x: torch.Tensor) -> torch.Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


def _constant(value: Any) -> Entry:
    """A constant entry: nothing at all where it is zero."""
    if isinstance(value, torch.Tensor):
        return value
    return None if value == 0 else float(value)


def _tuple(parts: Any) -> str:
    return "".join(f"{p}, " for p in parts)


def _unpack(name: str, symbols: Sequence[sp.Symbol]) -> list[str]:
    return [f"    {_tuple(map(str, symbols))}= {name}"] if symbols else []


def _assign(
    expressions: Sequence[sp.Expr], targets: Sequence[str], prefix: str, show: Callable[[Any], str]
) -> list[str]:
    shared, reduced = sp.cse(list(expressions), symbols=(symbol(f"{prefix}{i}_") for i in range(10_000)), order="none")
    lines = [f"    {name} = {show(e)}" for name, e in shared]
    return lines + [f"    {target} = {show(e)}" for target, e in zip(targets, reduced, strict=True)]


def _nested(
    name: str,
    shape: tuple[int, ...],
    entries: Mapping[str, sp.Expr],
    moving: Mapping[str, sp.Expr],
    show: Callable[[Any], str],
) -> str:
    def one(i: int) -> str:
        key = f"{name}_{i}"
        if key in moving:
            return key
        return "None" if entries[key] == 0 else f"constant({show(entries[key])})"

    if len(shape) == 1:
        return f"({_tuple(one(i) for i in range(shape[0]))})"
    rows, columns = shape
    return "(" + _tuple(f"({_tuple(one(i * columns + j) for j in range(columns))})" for i in range(rows)) + ")"
