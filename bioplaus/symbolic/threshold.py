"""The condition of a spike: comparisons, joined by `and`, `or` and `not`, of which the first has the margin that the surrogate sees.

With A that first comparison and c the whole condition, the spike is

    y = c(A=0) + (c(A=1) − c(A=0)) A,        ψ = (c(A=1) − c(A=0)) · height(margin of A) · ∂margin/∂u

which is exact for y, and gives ψ where A decides: behind `and` where all else holds, behind `or` where nothing else does. `not` turns A
round: its margin is positive where it favours a spike.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp
from brian2.parsing.sympytools import sympy_to_str

from bioplaus.errors import CellError, cut
from bioplaus.symbolic import grammar, hints, logic
from bioplaus.symbolic.functions import for_brian, reached, step
from bioplaus.symbolic.grammar import Refused, Weight
from bioplaus.symbolic.text import LACKING_IN_BRIAN, NOTHING, Expression, expression, reason


@dataclass(frozen=True)
class Threshold:
    """A condition that has been read: a spike is ``floor + gate · [left > right]``, or with ``>=`` where it is ``closed``."""

    left: Expression
    right: Expression
    closed: bool
    gate: sp.Expr
    floor: sp.Expr
    whole: Expression  # all of it, as 0 or 1


def condition(text: str, known: Mapping[str, Weight] = NOTHING, where: str = "spike") -> Threshold:
    """Read a condition such as ``"v > threshold"`` or ``"v >= threshold and w < limit"``.

    Parameters
    ----------
    known : weights of the names that stand for other expressions.
    where : the argument that it was given as.

    Raises
    ------
    CellError
        For what is no condition, or a side that cannot be parsed.
    """
    line = " ".join(text.split())
    try:
        node = grammar.tree(line)
        grammar.weigh(node, known)
        first, turned = logic.first(node)
        if not isinstance(first, ast.Compare):
            raise Refused(f"{logic.shown(line, first)} is no comparison")
        greater, lesser, closed = logic.sides(first, line)
        if turned:
            greater, lesser, closed = lesser, greater, not closed
        left, right = expression(greater, known), expression(lesser, known)
        given = [logic.number(node, line, {first: favours is not turned}) for favours in (True, False)]
        on, off = (sp.Integer(e) if e in ("0", "1") else expression(e, known).value for e in given)
        holds: Any = reached if closed else step
        whole = (
            Expression(line, holds(left.value - right.value), line, left.weight.beside(right.weight))
            if first is node
            else expression(logic.number(node, line), known)
        )
    except (Refused, SyntaxError) as error:
        raise CellError(
            f"{where}='{cut(text)}' can't be read as a condition: {reason(error)}. Write one of the form 'left > right' (or >=, <, <=), such as "
            f"'v > threshold + beta*a'; several are joined by and, or and not.{hints.of_expression(text)}"
        ) from error
    brian = line
    if LACKING_IN_BRIAN.search(line):
        alone = f"{left.brian} {'>=' if closed else '>'} {right.brian}"
        brian = alone if first is node else f"{sympy_to_str(for_brian(whole.value))} > 0.5"
    return Threshold(left, right, closed, on - off, off, Expression(line, whole.value, brian, whole.weight, True))
