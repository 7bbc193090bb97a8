"""Conditions as numbers: a comparison is 1 where it holds and else 0, and so is what `and`, `or` and `not` make of comparisons.

Written with functions (`bioplaus.symbolic.functions.step`, ``reached``) that have a derivative, 0, and about which sympy asks no questions:
of ``v > w`` it would try to find out whether it always holds. Whatever the condition, one term comes out, so that an equation that is
multiplied out does not grow by it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from bioplaus.errors import cut
from bioplaus.symbolic import grammar
from bioplaus.symbolic.grammar import Refused

#: whether a comparison holds where its sides are equal, and whether it is written with the greater side at the right
_COMPARED: dict[type[ast.cmpop], tuple[bool, bool]] = {
    ast.Gt: (False, False), ast.GtE: (True, False), ast.Lt: (False, True), ast.LtE: (True, True),
}  # fmt: skip


def spelled(text: str, brian: bool = False) -> str:
    """An expression of one line with what stands in ``int(…)`` as a number: ``int(v > w)`` as ``(step((v) - (w)))``.

    Parameters
    ----------
    brian : whether Brian2 is to read it, which has no step: ``int(v > w and v > 0)`` as ``(int((v) > (w))*int((v) > (0)))``.

    Raises
    ------
    Refused
        For an ``int`` of what is no condition.
    """
    written = text.encode()  # a place in a text is counted in bytes
    for call in reversed([*_conversions(grammar.tree(text))]):
        if len(call.args) != 1:
            raise Refused(f"{shown(text, call)} is not int of one condition")
        start, end = call.col_offset, call.end_col_offset
        asked = number(call.args[0], text, brian=brian)
        written = b"%b(%b)%b" % (written[:start], asked.encode(), written[end:])
    return written.decode()


def number(
    node: ast.expr, text: str, given: Mapping[ast.expr, bool] | None = None, turned: bool = False, brian: bool = False
) -> str:
    """A condition as a number.

    Parameters
    ----------
    node, text : the condition, and the expression of one line in which it stands.
    given : comparisons in it whose outcome is known.
    turned : whether it is 1 where the condition does not hold.
    brian : as `spelled` takes it.

    Raises
    ------
    Refused
        For what is neither a comparison of two numbers nor made of such.
    """
    if given and node in given:
        return str(int(given[node] is not turned))
    match node:
        case ast.Compare():
            greater, lesser, closed = sides(node, text)
            if turned:
                greater, lesser, closed = lesser, greater, not closed
            greater, lesser = spelled(greater, brian), spelled(lesser, brian)
            if brian:
                return f"int(({greater}) {'>=' if closed else '>'} ({lesser}))"
            return f"{'our_reached' if closed else 'step'}(({greater}) - ({lesser}))"
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return number(inner, text, given, not turned, brian)
        case ast.BoolOp(op=op, values=values):
            every = isinstance(op, ast.And) is not turned
            parts = [number(each, text, given, turned, brian) for each in values]
            return _every(parts) if every else _some(parts, "int({} > 0)" if brian else "step({})")
    said = shown(text, node)
    if "refractory" in said:
        raise Refused(
            f"{said} can't be read: what holds still while a neuron is refractory is marked (unless refractory) behind its equation, and no spike is fired then anyway"
        )
    raise Refused(f"{said} is no condition; write a comparison, such as v > w")


def sides(node: ast.Compare, text: str) -> tuple[str, str, bool]:
    """The greater and the lesser side of a comparison, and whether it holds where they are equal.

    Raises
    ------
    Refused
        For several comparisons in one, one that asks whether two numbers are the same, or one of a condition.
    """
    if len(node.ops) > 1:
        raise Refused(f"{shown(text, node)} compares more than two; write 'a < b and b < c'")
    if type(node.ops[0]) not in _COMPARED:
        raise Refused(f"{shown(text, node)} asks whether numbers are the same to the last bit; write >, >=, < or <=")
    for each in (node.left, node.comparators[0]):
        if isinstance(each, ast.Compare | ast.BoolOp) or (
            isinstance(each, ast.UnaryOp) and isinstance(each.op, ast.Not)
        ):
            raise Refused(
                f"{shown(text, each)} is a condition, not a number; write int of it, or join conditions by and, or, not"
            )
    closed, turned = _COMPARED[type(node.ops[0])]
    left, right = (segment(text, each) for each in (node.left, node.comparators[0]))
    return (right, left, closed) if turned else (left, right, closed)


def first(node: ast.expr) -> tuple[ast.expr, bool]:
    """What stands first in a condition, and whether `not` turns it round."""
    turned = False
    while True:
        match node:
            case ast.BoolOp(values=[node, *_]):
                pass
            case ast.UnaryOp(op=ast.Not(), operand=node):
                turned = not turned
            case _:
                return node, turned


def segment(text: str, node: ast.expr) -> str:
    """What stands in a text for a part of it."""
    return text.encode()[node.col_offset : node.end_col_offset].decode()


def shown(text: str, node: ast.expr) -> str:
    """The same, quoted."""
    return f"'{cut(segment(text, node))}'"


def _conversions(node: ast.expr) -> Iterator[ast.Call]:
    """Every ``int(…)`` in a text, in order, without those inside another."""
    waiting: list[ast.AST] = [node]
    found: list[ast.Call] = []
    while waiting:
        match waiting.pop():
            case ast.Call(func=ast.Name(id="int")) as call:
                found.append(call)
            case other:
                waiting.extend(ast.iter_child_nodes(other))
    return iter(sorted(found, key=lambda call: call.col_offset))


def _every(conditions: list[str]) -> str:
    if "0" in conditions:
        return "0"
    return "*".join(c for c in conditions if c != "1") or "1"


def _some(conditions: list[str], any_of: str) -> str:
    if "1" in conditions:
        return "1"
    left = [c for c in conditions if c != "0"]
    return any_of.format(" + ".join(left)) if len(left) > 1 else "".join(left) or "0"
