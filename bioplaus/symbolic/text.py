"""Reading expressions and statements: Brian2's grammar, our functions, units checked."""

from __future__ import annotations

import re
from collections.abc import Mapping

import sympy as sp
from brian2.equations.unitcheck import check_dimensions
from brian2.parsing.sympytools import str_to_sympy, sympy_to_str
from brian2.units.fundamentalunits import Dimension, DimensionMismatchError, get_dimensions

from bioplaus.errors import CellError
from bioplaus.symbolic.functions import OURS, for_brian, magnitude

_STATEMENT = re.compile(r"^\s*([A-Za-z_]\w*)\s*(=|\+=|-=|\*=|/=)\s*([^=].*)$")
_RENAMED = re.compile(r"\b(step|relu|sigmoid|softplus|abs|sign)\s*\(")


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
        raise CellError(f"The expression '{text}' cannot be read: {error}. Write it as Brian2 equations are written.") from error
    for name, function in OURS.items():
        parsed = parsed.replace(sp.Function(f"our_{name}"), function)
    return parsed.replace(sp.Abs, magnitude)  # type: ignore[no-untyped-call]


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
            raise CellError(f"'{part.strip()}' is not a statement. Expected 'name = expression' (or +=, -=, *=, /=), separated by ';'.")
        found.append((match[1], match[2], match[3].strip()))
    return found


def apply(name: str, operator: str, right: sp.Expr) -> sp.Expr:
    """The value a statement gives to its variable."""
    left = symbol(name)
    return {"=": right, "+=": left + right, "-=": left - right, "*=": left * right, "/=": left / right}[operator]


def check_units(text: str, expected: Dimension | None, variables: Mapping[str, object], where: str) -> None:
    """Refuse an expression whose units do not fit; ``expected=None`` accepts any consistent unit.

    Raises
    ------
    CellError
        Naming the expression, its place and the units found and expected.
    """
    from brian2.core.functions import DEFAULT_FUNCTIONS
    from brian2.parsing.expressions import parse_expression_dimensions

    known = {**DEFAULT_FUNCTIONS, **variables}
    spelled = sympy_to_str(for_brian(expression(text))).replace("inf", "1e300")
    try:
        if expected is None:
            parse_expression_dimensions(spelled, known)  # type: ignore[no-untyped-call]
        else:
            check_dimensions(spelled, expected, known)  # type: ignore[no-untyped-call]
    except DimensionMismatchError as error:
        raise CellError(f"Units do not fit in {where}: '{text}'. {error} Give every parameter its unit, e.g. 20*ms.") from error
    except (KeyError, ValueError, TypeError, SyntaxError) as error:
        raise CellError(f"{where} cannot be checked: '{text}'. {error}") from error


def names(parsed: sp.Basic) -> set[str]:
    """Names of the free symbols."""
    return {s.name for s in parsed.free_symbols}  # type: ignore[attr-defined]


__all__ = ["apply", "check_units", "expression", "get_dimensions", "names", "statements", "symbol"]
