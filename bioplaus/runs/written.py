"""The text of a class or function as Python reads it: without comments, docstrings and layout; and whether it is what was loaded."""

from __future__ import annotations

import ast
import linecache
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

Node = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda


@dataclass(frozen=True)
class Written:
    """A class or function as it is written."""

    text: str
    words: frozenset[str]  # every name in it
    attributes: frozenset[tuple[str, str]]  # a.b in it, as (a, b)


def written(code: type | types.FunctionType) -> Written | None:
    """How a class or function is written; None where no text is found that is what was loaded.

    A file may have been edited since it was imported: what it says then is not what runs.
    """
    if isinstance(code, types.FunctionType):
        return _function(code.__code__)
    methods = [each.__code__ for each in map(_plain, vars(code).values()) if each is not None]
    # not those that a decorator has made, such as a dataclass's __init__
    own = [each for each in methods if each.co_qualname.startswith(f"{code.__qualname__}.")]
    files = [each.co_filename for each in own] or [getattr(sys.modules.get(code.__module__), "__file__", None)]
    file = _read(files[0]) if files[0] else None
    if file is None or not all(_function(each) for each in own):
        return None
    nodes = [node for name, node in file.nodes if name == code.__qualname__]
    lines = {each.co_firstlineno for each in own}
    around = [node for node in nodes if all(node.lineno <= line <= (node.end_lineno or line) for line in lines)]
    return _of(around[-1]) if around else None


def _plain(value: object) -> types.FunctionType | None:
    value = getattr(value, "fget", None) or getattr(value, "__func__", None) or value
    return value if isinstance(value, types.FunctionType) else None


def _function(code: types.CodeType) -> Written | None:
    file = _read(code.co_filename)
    if file is None or not any(same(code, each) for each in file.codes):
        return None
    nodes = [node for name, node in file.nodes if name == code.co_qualname and _first(node) == code.co_firstlineno]
    return _of(nodes[0]) if nodes else None


def same(a: types.CodeType, b: types.CodeType) -> bool:
    """Whether two pieces of compiled code do the same, wherever they stand."""
    return a.co_qualname == b.co_qualname and content(a) == content(b)


def content(code: types.CodeType) -> tuple[object, ...]:
    """What compiled code does, as plain data; not where it stands, nor its docstring."""
    constants = tuple(map(_constant, code.co_consts))
    return code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars


def _constant(value: object) -> object:
    if isinstance(value, types.CodeType):
        return content(value)
    if isinstance(value, tuple):
        return tuple(map(_constant, value))
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)  # in an order that each process has


@dataclass(frozen=True)
class _File:
    nodes: list[tuple[str, Node]]  # name within the file → how it is written
    codes: list[types.CodeType]


def _read(file: str) -> _File | None:
    linecache.checkcache(file)
    return _parsed("".join(linecache.getlines(file)), file)


@lru_cache(maxsize=64)
def _parsed(text: str, file: str) -> _File | None:
    try:
        tree = ast.parse(text)
        return _File(list(_nodes(tree, "")), list(_codes(compile(text, file, "exec"))))
    except (SyntaxError, ValueError):
        return None


def _nodes(tree: ast.AST, inside: str) -> Iterator[tuple[str, Node]]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, Node):
            name = f"{inside}{getattr(child, 'name', '<lambda>')}"
            yield name, child
            yield from _nodes(child, f"{name}." if isinstance(child, ast.ClassDef) else f"{name}.<locals>.")
        else:
            yield from _nodes(child, inside)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from _codes(each)


def _first(node: Node) -> int:
    return min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])


def _of(node: Node) -> Written:
    words = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    attributes = {
        (each.value.id, each.attr)
        for each in ast.walk(node)
        if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name)
    }
    return Written(ast.unparse(_Bare().visit(ast.parse(ast.unparse(node)))), frozenset(words), frozenset(attributes))


class _Bare(ast.NodeTransformer):
    """Takes docstrings out."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and isinstance(body, list):
            first = body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = body[1:] or [ast.Pass()]
        return node
