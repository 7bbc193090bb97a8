"""The grammar of a cell's texts: expressions, statements, conditions and equations, in Brian2's syntax with our functions.

Nothing else reads text: what is read here once is handed on as `Expression`, `Statement` and Brian2's `Equations`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sympy as sp
from brian2.equations.codestrings import Expression as BrianExpression
from brian2.equations.equations import BOOLEAN, EQUATIONS, SUBEXPRESSION, Equations, SingleEquation
from brian2.parsing.sympytools import str_to_sympy, sympy_to_str
from pyparsing import ParseException

from bioplaus.errors import CellError, cut
from bioplaus.symbolic import grammar, hints, logic
from bioplaus.symbolic.functions import LACKING, OURS, QUICK, for_brian, magnitude, reached
from bioplaus.symbolic.grammar import LINES, Refused, Weight
from bioplaus.symbolic.quiet import quiet

_STATEMENT = re.compile(r"^\s*([A-Za-z_]\w*)\s*(=|\+=|-=|\*=|/=)\s*([^=\s].*)$")
_RENAMED = re.compile(rf"\b({'|'.join(OURS)})\s*\(")
LACKING_IN_BRIAN = re.compile(rf"\b({'|'.join(LACKING)})\s*\(")
_ANSWERED = re.compile(r"\b(True|False)\b")  # what sympy, behind Brian2, makes of a condition that always holds
_JOINED = re.compile(r"\b(and|or|not)\b")
NOTHING: Mapping[str, Weight] = {}


@dataclass(frozen=True)
class Expression:
    """An expression that has been read: as it was written, as sympy, and in Brian2's language."""

    text: str
    value: sp.Expr
    brian: str
    weight: Weight = field(default=Weight(), compare=False)
    condition: bool = False  # 1 where it holds, and to Brian2 true

    @property
    def names(self) -> set[str]:
        """What it reads."""
        return names(self.value)


@dataclass(frozen=True)
class Statement:
    """An assignment that has been read: ``v -= threshold``."""

    name: str
    operator: str
    right: Expression

    def after(self) -> sp.Expr:
        """The value it gives to its variable, in values before it."""
        left, right = symbol(self.name), self.right.value
        return {"=": right, "+=": left + right, "-=": left - right, "*=": left * right, "/=": left / right}[
            self.operator
        ]


def uncommented(text: str) -> str:
    """The text without its comments, from a ``#`` to the end of the line."""
    return re.sub(r"#[^\n]*", "", text)


def symbol(name: str) -> sp.Symbol:
    """The symbol Brian2's parser makes of a name."""
    return sp.Symbol(name, real=True)


def substituted(e: sp.Expr, values: Mapping[sp.Symbol, sp.Expr]) -> sp.Expr:
    """The expression with symbols replaced by expressions, all at once."""
    return e.xreplace(dict(values))  # pyright: ignore[reportReturnType]  (sympy promises a Basic only)


def names(parsed: sp.Basic) -> set[str]:
    """Names of the free symbols."""
    return {s.name for s in parsed.free_symbols if isinstance(s, sp.Symbol)}


def expression(text: str, known: Mapping[str, Weight] | None = NOTHING) -> Expression:
    """Read an expression; functions Brian2 lacks (relu, sigmoid, softplus, step) become ours.

    Parameters
    ----------
    known : weights of the names that stand for other expressions; None for a text that Brian2 wrote, which is not weighed.

    Raises
    ------
    CellError
        If the text cannot be parsed, or holds what no expression of a cell does (`bioplaus.symbolic.grammar`).
    """
    # our names travel through Brian2's parser as unknown functions, so that its own `abs` and `sign` stay out of the way
    try:
        line = " ".join(text.split())
        if known is None:
            line = _ANSWERED.sub(lambda found: f"({found[0] == 'True':d} > 0)", line)
        weight = Weight() if known is None else grammar.weigh(grammar.tree(line), known)
        plain = logic.spelled(line)
        if known is not None and plain != line:
            weight = grammar.weigh(grammar.tree(plain), known)
        value = _ours(str_to_sympy(_RENAMED.sub(r"our_\1(", plain)))
    except Exception as error:
        raise CellError(
            f"The expression '{cut(text)}' can't be read: {reason(error)}. Write it as Brian2 equations are written."
            + hints.of_expression(text)
        ) from error
    # a whole number that no float holds is no number to torch or numpy
    value = value.xreplace({n: sp.Float(n) for n in value.atoms(sp.Integer) if abs(n.p) > 2**53})
    # Brian2's parser leaves its sqrt a function of which sympy knows no derivative
    value = value.replace(sp.Function("sqrt"), sp.sqrt).replace(sp.Abs, magnitude)
    # in Brian2's language as written, unless it uses a function that Brian2 lacks
    brian = sympy_to_str(for_brian(value)) if LACKING_IN_BRIAN.search(text) else text.strip()
    return Expression(text, value, brian, weight)


def _ours(value: Any) -> Any:
    """With our functions in place of those of Brian2's parser."""
    for name, function in OURS.items():
        try:
            value = value.replace(sp.Function(f"our_{name}"), function)
        except TypeError:
            raise Refused(f"{name} is given another number of values than it takes") from None
    for theirs, function in ({sp.Function("our_reached"): reached} | QUICK).items():
        value = value.replace(theirs, function)
    return value


def statements(text: str, shorthands: Mapping[str, Weight] | None = NOTHING) -> tuple[Statement, ...]:
    """Read ``"v -= threshold; a += 1"``.

    Parameters
    ----------
    shorthands : weights of the names that stand for expressions; None for a text that Brian2 wrote, which is not weighed.

    Raises
    ------
    CellError
        If a statement is not an assignment, or its right-hand side cannot be parsed.
    """
    found: list[Statement] = []
    known = dict(shorthands or {})  # a later statement names what an earlier one gave
    parts = [part for part in re.split(r"[;\n]", text) if part.strip()]
    if shorthands is not None and len(parts) > LINES:
        raise CellError(f"'{cut(text)}' has {len(parts)} statements, and at most {LINES} are read. Write fewer.")
    for part in parts:
        match = _STATEMENT.match(part)
        if match is None:
            raise CellError(
                f"'{cut(part)}' is not a statement. Expected 'name = expression' (or +=, -=, *=, /=), separated by ';'."
                + hints.of_statement(part)
            )
        name, operator, right = (
            match[1],
            match[2],
            expression(match[3].strip(), known if shorthands is not None else None),
        )
        known[name] = right.weight if operator == "=" else right.weight.beside(known.get(name, Weight()))
        found.append(Statement(name, operator, right))
    return tuple(found)


def equations(text: str, terms: float = math.inf) -> tuple[Equations, dict[str, Weight]]:
    """Read Brian2 equations as written, with functions that Brian2 lacks spelled out; and the weights of their shorthands.

    Parameters
    ----------
    terms : how many a right side may have at most, multiplied out.

    Raises
    ------
    CellError
        If the text cannot be parsed.
    """
    try:
        with quiet():
            weights = _check_lines(text, terms)
            written = Equations(text)
    except Exception as error:
        raise CellError(
            f"The equations can't be read: {reason(error)}. Each line is a differential equation with its unit, such as "
            "'dv/dt = (-v + I)/tau : 1', or a shorthand, such as 'drive = R*I : volt'." + hints.of_equations(text)
        ) from error
    held = any("unless refractory" in e.flags for e in written.values())
    return Equations([_spelled(e, held) for e in written.values()]), weights


def _check_lines(text: str, terms: float) -> dict[str, Weight]:
    """Ask the grammar about every expression and unit, as Brian2 will find them; it evaluates units, and expressions in sympy."""
    try:
        found = EQUATIONS.parse_string(text, parse_all=True)
    except ParseException:
        return {}  # Brian2 says so, before it evaluates anything
    written = [(line.getName(), dict(line.items())) for line in found]
    if len(written) > LINES:
        raise Refused(f"there are {len(written)} of them, and at most {LINES} are read")
    for _, line in written:
        grammar.unit(line["identifier"], line["unit"])
    expressions = {line["identifier"]: line["expression"] for _, line in written if "expression" in line}
    weights = grammar.lines(expressions, {line["identifier"] for kind, line in written if kind == SUBEXPRESSION}, terms)
    for name, right in expressions.items():
        grammar.in_line(name, logic.spelled, " ".join(right.split()))
    return weights


def _spelled(e: SingleEquation, held: bool) -> SingleEquation:
    """In words that Brian2 has; its numpy code stumbles over and, or and not where a variable is ``held`` while refractory."""
    if e.expr is None:
        return e
    code = e.expr.code
    if LACKING_IN_BRIAN.search(code):
        code = expression(code).brian
    elif held and e.var_type != BOOLEAN and _JOINED.search(code):
        code = logic.spelled(" ".join(code.split()), brian=True)
    else:
        return e
    return SingleEquation(e.type, e.varname, e.dim, expr=BrianExpression(code), flags=e.flags)


def reason(error: BaseException) -> str:
    """What Brian2 says, in one paragraph, each thing once, dimensionless called 1, without its full stop."""
    said: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        text = " ".join(str(cause.args[0] if cause.args else cause).replace("\n^", "").split())
        said += [text] if not any(text in earlier for earlier in said) else []
        cause = cause.__cause__
    return " ".join(said).replace("unit radian", "unit 1").rstrip(". ")
