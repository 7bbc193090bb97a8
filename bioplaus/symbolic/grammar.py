"""What an expression may be made of, asked before anything else reads its text.

sympy, and Brian2 in front of it, evaluate what they are given: a string inside an expression is run as Python, a tower of powers
is computed to its last digit. So every text is held against a list of what may stand in it (`tree`), and what an author has written
is weighed (`weigh`) before a number of it is computed: how many parts it has once its shorthands are written in, how many terms once
it is multiplied out, how many digits once its numbers are.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from graphlib import CycleError, TopologicalSorter
from typing import Any

from brian2.core.namespace import DEFAULT_UNITS

from bioplaus.errors import cut

LONGEST = 10_000  # chosen: letters of a text; the longest cell that is known to us has 300
DEEPEST = 100  # chosen: brackets, and operations inside one another; sympy walks them with some ten calls each, of Python's 1000
PARTS = 600  # chosen: numbers, names and operations; sympy differentiates a product of so many in two seconds
TERMS = 100  # chosen: of the sum that an equation is when multiplied out, as some methods do
LINES = 50  # chosen: equations or statements of a cell; more states of a neuron than anything known to us has
DIGITS = 300  # of exact numbers; floats end at 1e308
POWER = 1_000  # chosen: largest exponent

_KNOWN = (
    ast.Name, ast.Load, ast.Constant, ast.Call, ast.UnaryOp, ast.UAdd, ast.USub, ast.Not, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div,
    ast.Pow, ast.Compare, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq, ast.BoolOp, ast.And, ast.Or,
)  # fmt: skip
_UNIT = (ast.Name, ast.Load, ast.Constant, ast.UnaryOp, ast.USub, ast.BinOp, ast.Mult, ast.Div, ast.Pow)

_OPERATIONS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b, ast.Sub: lambda a, b: a - b, ast.Mult: lambda a, b: a * b, ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
}  # fmt: skip
_CONSTANTS = {"pi": math.pi, "e": math.e, "inf": math.inf}  # no parameter may be called so
#: of numbers, by the names that Brian2 and we have for them
_FUNCTIONS: dict[str, Any] = {
    **{f.__name__: f for f in (math.exp, math.log, math.sqrt, math.sin, math.cos, math.tan, math.sinh, math.cosh, math.tanh)},
    "expm1": math.expm1, "log1p": math.log1p, "arcsin": math.asin, "arccos": math.acos, "arctan": math.atan, "abs": abs,
    "floor": math.floor, "ceil": math.ceil, "sign": lambda x: (x > 0) - (x < 0), "step": lambda x: x > 0, "our_reached": lambda x: x >= 0, "relu": lambda x: max(x, 0.0),
    "log10": math.log10, "exprel": lambda x: math.expm1(x) / x if x else 1.0, "max": max, "min": min, "clip": lambda x, low, high: min(max(x, low), high),
    "sigmoid": lambda x: (1 + math.tanh(x / 2)) / 2, "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
}  # fmt: skip

#: how often what stands in their brackets is written out where Brian2 lacks them, or is asked for its unit by Brian2
_TIMES = {
    "relu": 2,
    "softplus": 3,
    "step": 2,
    "our_reached": 2,
    "max": 5,
    "min": 5,
    "clip": 4,
    "abs": 2,
    "sqrt": 2,
    "floor": 2,
    "ceil": 2,
}


class Refused(ValueError):
    """A text that is not read, and why: half a sentence."""


@dataclass(frozen=True)
class Weight:
    """How large an expression becomes.

    ``number`` is its value where no name stands in it, NaN where it has none; ``size`` is how large its value gets where its names
    cancel, as in ``9**(10**9 + 0*x)``.
    """

    parts: int = 1
    terms: int = 1
    digits: float = 0
    number: float | None = None
    size: float = 1

    @classmethod
    def of(cls, number: float, parts: int = 1, whole: bool = False) -> Weight:
        """That of a number."""
        return cls(parts, 1, _digits(number, whole), number, abs(number))

    @property
    def inverse(self) -> float:
        """The size of what it divides."""
        if self.number is None:
            return _value(ast.Pow(), 10, self.digits)
        return _value(ast.Div(), 1, self.size)

    def beside(self, other: Weight) -> Weight:
        """The weight of both in one expression; asked about when that one is weighed."""
        return _of_two(ast.Mult(), self, other)


def tree(text: str, unit: bool = False) -> ast.expr:
    """The expression in a text, in which nothing stands but numbers, names, operations and calls of names.

    Parameters
    ----------
    unit : whether it is a unit, such as ``siemens/metre**2``, in which nothing is added or called.

    Raises
    ------
    Refused
        For anything else.
    SyntaxError
        For what is no expression.
    """
    _short(text)
    try:
        found = ast.parse(text.strip(), mode="eval").body
    except (RecursionError, MemoryError):
        raise Refused("more brackets or signs stand inside one another than can be read") from None
    for node in ast.walk(found):
        if not isinstance(node, _UNIT if unit else _KNOWN):
            raise Refused(f"{_shown(text, node)} is not understood")
        if isinstance(node, ast.Name) and node.id not in text:
            raise Refused(f"{_shown(text, node)} has letters that mean others, {node.id!r}")
        if isinstance(node, ast.Constant) and type(node.value) not in (int, float):
            raise Refused(f"{_shown(text, node)} is not a number")
        if isinstance(node, ast.Call) and (not isinstance(node.func, ast.Name) or node.keywords):
            raise Refused(f"{_shown(text, node)} is no function with values in brackets")
    return found


def lines(expressions: Mapping[str, str], shorthands: Collection[str], terms: float) -> dict[str, Weight]:
    """Check and weigh several expressions by name, of which some are shorthands that others, or one another, name.

    The weights of the shorthands come back.

    Parameters
    ----------
    terms : as `weigh` takes it.

    Raises
    ------
    Refused, SyntaxError
        As `tree` and `weigh` do, with the name of the line.
    """
    trees = {name: in_line(name, tree, text) for name, text in expressions.items()}
    named = {name: {n.id for n in ast.walk(trees[name]) if isinstance(n, ast.Name)} for name in shorthands}
    known: dict[str, Weight] = {}
    try:
        for name in TopologicalSorter({name: found & named.keys() for name, found in named.items()}).static_order():
            known[name] = in_line(name, weigh, trees[name], known, terms)
    except CycleError:
        return {}  # Brian2 refuses it, before it writes one into the other
    for name, found in trees.items():
        in_line(name, weigh, found, known, terms)
    return known


def unit(name: str, text: str) -> None:
    """Check and weigh the unit of a variable.

    Raises
    ------
    Refused
        For what is no unit, with its text and the name of the variable.
    """
    try:
        in_line(name, weigh, in_line(name, tree, text, True), {})
    except SyntaxError:
        raise Refused(
            f"in the line of {name}, '{cut(text)}' is no unit; one is written without brackets, such as volt or siemens/metre**2"
        ) from None


def in_line(name: str, asked: Callable[..., Any], *given: Any) -> Any:
    """What is asked of a line of that name, which a refusal names."""
    try:
        return asked(*given)
    except Refused as error:
        raise Refused(f"in the line of {name}, {error}") from error


def weigh(node: ast.expr, known: Mapping[str, Weight], terms: float = math.inf, depth: int = 0) -> Weight:
    """The weight of an expression, with those of the names that stand for others.

    Parameters
    ----------
    terms : how many it may have at most once it is multiplied out; it is not, where nothing is said.

    Raises
    ------
    Refused
        If it, or something in it, is too heavy. Nothing is computed exactly here, so that this takes no time.
    """
    if depth > DEEPEST:
        raise Refused(f"more than {DEEPEST} operations stand inside one another")

    def of(each: ast.expr) -> Weight:
        return weigh(each, known, terms, depth + 1)

    match node:
        case ast.Name(id=name) if name not in known and name in _CONSTANTS:
            weight = Weight.of(_CONSTANTS[name])
        case ast.Name():
            return known.get(node.id, Weight())
        case ast.Constant():
            number = float(node.value) if abs(node.value) < 10**DIGITS else math.inf  # pyright: ignore
            weight = Weight.of(number, whole=isinstance(node.value, int))
        case ast.BinOp():
            first, others = _chain(node)
            weight = of(first)
            for op, other in others:
                weight = _bearable(_of_two(op, weight, of(other)), terms)
        case ast.UnaryOp():
            inner = of(node.operand)
            weight = replace(inner, parts=inner.parts + 1, number=_negative(node.op, inner.number))
        case ast.Call(func=ast.Name(id="clip"), args=[inner, low, high]):
            bounds = [Weight() if endless(each) == side else of(each) for each, side in ((low, -1), (high, 1))]
            weight = _called("clip", [of(inner), *bounds])
        case ast.Call(func=ast.Name(id=name), args=args):
            weight = _called(name, [of(each) for each in args])
        case ast.Compare(left=left, comparators=others) | ast.BoolOp(values=[left, *others]):
            weight = Weight(1 + sum(of(each).parts for each in (left, *others)))
        case _:
            raise Refused("it is not understood")
    return _bearable(weight, terms)


def endless(node: ast.expr) -> int:
    """1 for ``inf`` and ``inf*mV``, −1 for ``-inf`` and ``-inf*mV``, 0 for anything else.

    A bound that is none is the one place for it: nothing is ever computed of it. A unit is positive; of another name nobody knows.
    """
    match node:
        case ast.Name(id="inf"):
            return 1
        case ast.UnaryOp(op=ast.USub(), operand=ast.Name() | ast.BinOp() as inner):
            return -endless(inner)
        case ast.BinOp(left=ends, op=ast.Mult() | ast.Div(), right=ast.Name(id=unit)) if unit in DEFAULT_UNITS:
            return endless(ends) if isinstance(ends, ast.Name | ast.UnaryOp) else 0
        case ast.BinOp(left=ast.Name(id=unit), op=ast.Mult(), right=ast.Name(id="inf")) if unit in DEFAULT_UNITS:
            return 1
    return 0


def _chain(node: ast.BinOp) -> tuple[ast.expr, list[tuple[ast.operator, ast.expr]]]:
    """A sum, or a product, as its first part and the others behind their signs: they stand beside one another, not inside."""
    kind = next((k for k in ((ast.Add, ast.Sub), (ast.Mult, ast.Div)) if isinstance(node.op, k)), ())
    left, others = node.left, [(node.op, node.right)]
    while isinstance(left, ast.BinOp) and isinstance(left.op, kind):
        others.append((left.op, left.right))
        left = left.left
    return left, others[::-1]


def _of_two(op: ast.operator, left: Weight, right: Weight) -> Weight:
    parts, digits = left.parts + right.parts + 1, left.digits + right.digits
    if isinstance(op, ast.Pow):
        return _power(left, right)
    if left.number is not None and right.number is not None:
        number = _value(op, left.number, right.number)
        return Weight(parts, 1, digits, number, abs(number))
    match op:
        case ast.Mult():
            return Weight(parts, left.terms * right.terms, digits, size=left.size * right.size)
        case ast.Div():
            return Weight(parts, left.terms, digits, size=left.size * right.inverse)
        case _:
            return Weight(parts, left.terms + right.terms, max(left.digits, right.digits), size=left.size + right.size)


def _power(base: Weight, exponent: Weight) -> Weight:
    power = exponent.size
    if not power <= POWER or base.size != base.size:
        raise Refused(f"an exponent is beyond {POWER}, or one that can't be known, or of what is no number")
    parts, size = base.parts + exponent.parts + 1, _value(ast.Pow(), max(base.size, base.inverse, 1), power)
    if exponent.number is None:
        return Weight(parts, base.terms, base.digits + exponent.digits, size=size)
    times = int(power)
    terms = min(math.comb(min(base.terms, TERMS + 1) + times - 1, times), TERMS + 1) if base.terms > 1 else 1
    digits = base.digits * max(1, times) + times * math.log10(base.terms)
    if base.number is None:
        return Weight(parts, terms, digits, size=size)
    number = _value(ast.Pow(), base.number, exponent.number)
    return Weight(parts, 1, digits, number, abs(number))


def _value(op: ast.operator, left: float, right: float) -> float:
    try:
        value = _OPERATIONS[type(op)](left, right)
    except ZeroDivisionError:
        return math.nan  # said elsewhere, with the names of what is zero
    except OverflowError:
        return math.inf
    return math.nan if isinstance(value, complex) else value


def _negative(op: ast.unaryop, number: float | None) -> float | None:
    return -number if number is not None and isinstance(op, ast.USub) else number


def _called(name: str, inner: list[Weight]) -> Weight:
    """The weight of a function; of numbers alone it is a number."""
    parts, values = 1 + sum(each.parts for each in inner), [each.number for each in inner]
    if name in ("max", "min") and inner:  # of three, it is that of the first two, and the third
        parts = reduce(lambda before, more: _TIMES[name] * (before + more) + 1, (each.parts for each in inner))
    elif name in _TIMES:
        parts *= _TIMES[name]
    if not values or None in values:
        size = max((max(each.size, abs(_of_number(name, [each.size]))) for each in inner), default=1)
        return Weight(parts, size=size)
    if name not in _FUNCTIONS:
        raise Refused(f"{name} is no function whose numbers are known")
    return Weight.of(_of_number(name, values), parts)  # pyright: ignore[reportArgumentType]


def _of_number(name: str, values: list[float]) -> float:
    try:
        return float(_FUNCTIONS[name](*values)) if name in _FUNCTIONS else 0
    except OverflowError:
        return math.inf
    except (ValueError, TypeError):
        return math.nan  # what is none, such as the root of -1, or of two numbers


def _digits(number: float, whole: bool) -> float:
    if not number or not math.isfinite(number):
        return 0 if number != number else abs(number)
    size = abs(math.log10(abs(number)))
    return math.ceil(size) if whole else size


def _bearable(weight: Weight, terms: float) -> Weight:
    if weight.digits > DIGITS or weight.number in (math.inf, -math.inf):
        raise Refused(
            f"a number in it is beyond 1e{DIGITS}, nearer to zero than 1e-{DIGITS}, or has more than {DIGITS} digits"
        )
    if weight.parts > PARTS:
        raise Refused(f"it has more than {PARTS} parts, what its shorthands stand for written in")
    if weight.terms > terms:
        raise Refused(f"multiplied out, as its method does, it has more than {terms} terms")
    return weight


def _short(text: str) -> None:
    """Refuse a text that is too long, or nested too deeply, for Python itself to read in a moment."""
    if len(text) > LONGEST:
        raise Refused(f"it has {len(text)} letters, of {LONGEST} that are read")
    if re.search(rf"[\d_]{{{DIGITS + 1}}}", text):
        raise Refused(f"a number in it has more than {DIGITS} digits")
    depth = 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if depth > DEEPEST:
            raise Refused(f"more than {DEEPEST} brackets stand inside one another")


def _shown(text: str, node: ast.AST) -> str:
    """The place in a text, quoted."""
    place = ast.get_source_segment(text.strip(), node) if hasattr(node, "lineno") else None
    return f"'{cut(place or text)}'"
