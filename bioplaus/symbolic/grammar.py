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
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from bioplaus.errors import cut

LONGEST = 10_000  # chosen: letters of a text; the longest cell that is known to us has 300
DEEPEST = 100  # chosen: brackets, and operations inside one another; sympy walks them with some ten calls each, of Python's 1000
PARTS = 400  # chosen: numbers, names and operations; sympy differentiates a product of so many in two seconds
TERMS = 1_000  # chosen: of the sum that it is when multiplied out, which method="exponential_euler" does
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
_GROWING = {f.__name__: f for f in (math.exp, math.expm1, math.sinh, math.cosh)}


class Refused(ValueError):
    """A text that is not read, and why: half a sentence."""


@dataclass(frozen=True)
class Weight:
    """How large an expression becomes; ``number`` is its value where no name stands in it, NaN where that is not known here."""

    parts: int = 1
    terms: int = 1
    digits: float = 0
    number: float | None = None

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


def lines(expressions: Mapping[str, str], shorthands: Collection[str]) -> None:
    """Check and weigh several expressions by name, of which some are shorthands that others, or one another, name.

    Raises
    ------
    Refused, SyntaxError
        As `tree` and `weigh` do, with the name of the line.
    """
    trees = {name: _in_line(name, tree, text) for name, text in expressions.items()}
    named = {name: {n.id for n in ast.walk(trees[name]) if isinstance(n, ast.Name)} for name in shorthands}
    known: dict[str, Weight] = {}
    try:
        for name in TopologicalSorter({name: found & named.keys() for name, found in named.items()}).static_order():
            known[name] = _in_line(name, weigh, trees[name], known)
    except CycleError:
        return  # Brian2 refuses it, before it writes one into the other
    for name, found in trees.items():
        _in_line(name, weigh, found, known)


def _in_line(name: str, asked: Callable[..., Any], *given: Any) -> Any:
    try:
        return asked(*given)
    except Refused as error:
        raise Refused(f"in the line of {name}, {error}") from error


def weigh(node: ast.expr, known: Mapping[str, Weight], depth: int = 0) -> Weight:
    """The weight of an expression, with those of the names that stand for others.

    Raises
    ------
    Refused
        If it, or something in it, is too heavy. Nothing is computed exactly here, so that this takes no time.
    """
    if depth > DEEPEST:
        raise Refused(f"more than {DEEPEST} operations stand inside one another")
    match node:
        case ast.Name():
            return known.get(node.id, Weight())
        case ast.Constant():
            number = float(node.value) if abs(node.value) < 10**DIGITS else math.inf  # pyright: ignore
            weight = Weight(digits=_digits(number, whole=isinstance(node.value, int)), number=number)
        case ast.BinOp():
            weight = _of_two(node.op, *(weigh(side, known, depth + 1) for side in (node.left, node.right)))
        case ast.UnaryOp():
            inner = weigh(node.operand, known, depth + 1)
            weight = Weight(inner.parts + 1, inner.terms, inner.digits, _negative(node.op, inner.number))
        case ast.Call(func=ast.Name(id=name), args=args):
            inner = [weigh(each, known, depth + 1) for each in args]
            weight = Weight(1 + sum(each.parts for each in inner), number=_called(name, inner))
        case ast.Compare(left=left, comparators=others) | ast.BoolOp(values=[left, *others]):
            weight = Weight(1 + sum(weigh(each, known, depth + 1).parts for each in (left, *others)))
        case _:
            raise Refused("it is not understood")
    return _bearable(weight)


def _of_two(op: ast.operator, left: Weight, right: Weight) -> Weight:
    fixed = left.number is not None and right.number is not None
    number = _value(op, left.number, right.number) if fixed else None  # pyright: ignore
    terms, digits = left.terms + right.terms, left.digits + right.digits
    if isinstance(op, ast.Add | ast.Sub) and not fixed:
        digits = max(left.digits, right.digits)
    if isinstance(op, ast.Mult):
        terms = left.terms * right.terms
    if isinstance(op, ast.Div):
        terms = left.terms
    if isinstance(op, ast.Pow):
        terms, digits = left.terms, left.digits + right.digits
        if right.number is not None:
            power = abs(right.number)
            if power > POWER:
                raise Refused(f"an exponent is beyond {POWER}")
            times = int(power) if power == power else 1
            terms = math.comb(left.terms + times - 1, times) if left.terms > 1 else 1
            digits = left.digits * max(1, times) + times * math.log10(left.terms)
    return Weight(left.parts + right.parts + 1, terms, digits, number)


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


def _called(name: str, inner: list[Weight]) -> float | None:
    """The value of a function of numbers, where it can be large; None of what holds a name."""
    if not inner or any(each.number is None for each in inner):
        return None
    try:
        return _GROWING[name](inner[0].number) if name in _GROWING else math.nan  # pyright: ignore
    except OverflowError:
        return math.inf


def _digits(number: float, whole: bool) -> float:
    if not number or not math.isfinite(number):
        return abs(number)
    size = abs(math.log10(abs(number)))
    return math.ceil(size) if whole else size


def _bearable(weight: Weight) -> Weight:
    if weight.digits > DIGITS or weight.number in (math.inf, -math.inf):
        raise Refused(
            f"a number in it is beyond 1e{DIGITS}, nearer to zero than 1e-{DIGITS}, or has more than {DIGITS} digits"
        )
    if weight.parts > PARTS:
        raise Refused(f"it has more than {PARTS} parts, what its shorthands stand for written in")
    if weight.terms > TERMS:
        raise Refused(f"multiplied out, it has more than {TERMS} terms")
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
