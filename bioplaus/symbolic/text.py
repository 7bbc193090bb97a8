"""Reading expressions and statements: Brian2's grammar, our functions, units checked."""

from __future__ import annotations

import re
from collections.abc import Mapping

import sympy as sp
from brian2.core.functions import DEFAULT_CONSTANTS, DEFAULT_FUNCTIONS
from brian2.parsing.expressions import parse_expression_dimensions
from brian2.parsing.sympytools import str_to_sympy, sympy_to_str
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension, DimensionMismatchError, get_unit

from bioplaus.errors import CellError
from bioplaus.symbolic.functions import OURS, for_brian, magnitude

_STATEMENT = re.compile(r"^\s*([A-Za-z_]\w*)\s*(=|\+=|-=|\*=|/=)\s*([^=\s].*)$")
_RENAMED = re.compile(r"\b(step|relu|sigmoid|softplus|abs|sign)\s*\(")
_LACKING = re.compile(r"\b(step|relu|sigmoid|softplus)\s*\(")  # in Brian2


def symbol(name: str) -> sp.Symbol:
    """The symbol Brian2's parser makes of a name."""
    return sp.Symbol(name, real=True)


def expression(text: str) -> sp.Expr:
    """A sympy expression; functions Brian2 lacks (relu, sigmoid, softplus, step) become ours.

    Raises
    ------
    CellError
        If the text cannot be parsed.
    """
    # our names travel through Brian2's parser as unknown functions, so that its own `abs` and `sign` stay out of the way
    try:
        parsed = str_to_sympy(_RENAMED.sub(r"our_\1(", text))
    except Exception as error:
        raise CellError(
            f"The expression '{text}' can't be read: {reason(error)}. Write it as Brian2 equations are written."
        ) from error
    for name, function in OURS.items():
        parsed = parsed.replace(sp.Function(f"our_{name}"), function)
    # Brian2's parser leaves its sqrt a function of which sympy knows no derivative
    return parsed.replace(sp.Function("sqrt"), sp.sqrt).replace(sp.Abs, magnitude)  # type: ignore[no-untyped-call]


def statements(text: str) -> list[tuple[str, str, str]]:
    """Split ``"v -= threshold; a += 1"`` into (name, operator, right-hand side).

    Raises
    ------
    CellError
        If a statement is not an assignment.
    """
    found = []
    for part in re.split(r"[;\n]", text):
        if not part.strip():
            continue
        match = _STATEMENT.match(part)
        if match is None:
            raise CellError(
                f"'{part.strip()}' is not a statement. Expected 'name = expression' (or +=, -=, *=, /=), separated by ';'."
            )
        found.append((match[1], match[2], match[3].strip()))
    return found


def brian_text(text: str) -> str:
    """The expression in Brian2's language: as written, unless it uses a function that Brian2 lacks."""
    return sympy_to_str(for_brian(expression(text))) if _LACKING.search(text) else text.strip()


def apply(name: str, operator: str, right: sp.Expr) -> sp.Expr:
    """The value a statement gives to its variable."""
    left = symbol(name)
    return {"=": right, "+=": left + right, "-=": left - right, "*=": left * right, "/=": left / right}[operator]


def check_units(text: str, expected: Dimension | None, variables: Mapping[str, object], where: str) -> Dimension:
    """The dimensions of an expression; refuses one whose units do not fit. ``expected=None`` accepts any consistent unit.

    Raises
    ------
    CellError
        Naming the expression, its place and the units found and expected.
    """
    known = {**DEFAULT_FUNCTIONS, **DEFAULT_CONSTANTS, **variables}
    try:
        found = parse_expression_dimensions(brian_text(text), known)  # type: ignore[no-untyped-call]
    except DimensionMismatchError as error:
        raise CellError(
            f"Units do not fit in {where}: '{text}'. {reason(error)}. Give every parameter its unit, e.g. 20*ms."
        ) from error
    except (KeyError, ValueError, TypeError, SyntaxError) as error:
        raise CellError(
            f"The units of '{text}' in {where} can't be found: {reason(error)}. Quantities get their units in parameters=."
        ) from error
    if expected is not None and found is not expected:
        raise CellError(
            f"Units do not fit in {where}: '{text}' has unit {unit_text(found)}, expected {unit_text(expected)}. "
            "Give every parameter its unit, e.g. 20*ms."
        )
    return found


def unit_text(dimension: Dimension) -> str:
    """The SI unit of a dimension, as people write it; ``1`` for none."""
    return "1" if dimension is DIMENSIONLESS else repr(get_unit(dimension))


def reason(error: BaseException) -> str:
    """What Brian2 says, in one paragraph, each thing once, dimensionless called 1, without its full stop."""
    said: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        text = " ".join(str(cause.args[0] if cause.args else cause).replace("\n^", "").split())
        said += [text] if not any(text in earlier for earlier in said) else []
        cause = cause.__cause__
    return " ".join(said).replace("unit radian", "unit 1").rstrip(". ")


def names(parsed: sp.Basic) -> set[str]:
    """Names of the free symbols."""
    return {s.name for s in parsed.free_symbols}  # type: ignore[attr-defined]


__all__ = ["apply", "brian_text", "check_units", "expression", "names", "reason", "statements", "symbol", "unit_text"]
