"""The text of a class or function as Python reads it: without comments, docstrings and layout; and whether it is what was loaded."""

from __future__ import annotations

import ast
import dis
import linecache
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import resolve_name

Node = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda

_CHANGING = frozenset(
    "append add extend insert update setdefault pop popitem remove discard clear appendleft __setitem__".split()
)


@dataclass(frozen=True)
class Written:
    """A class or function as it is written.

    ``words`` are all names in it, those behind a dot included; ``modules`` what it imports itself; ``changed`` what its file changes
    while it runs: names and attributes that are set, or of which something is set, inside of functions.
    """

    text: str
    words: frozenset[str]
    modules: frozenset[str]
    changed: frozenset[str]


def written(code: type | types.FunctionType) -> Written | None:
    """How a class or function is written; None where no text is found that is what was loaded, or not which.

    A file may have been edited since it was imported: what it says then is not what runs.
    """
    package = getattr(sys.modules.get(code.__module__ or ""), "__package__", None) or ""
    if isinstance(code, types.FunctionType):
        return _function(code.__code__, package)
    methods = [each.__code__ for each in map(_plain, vars(code).values()) if each is not None]
    # not those that a decorator has made, such as a dataclass's __init__
    own = [each for each in methods if each.co_qualname.startswith(f"{code.__qualname__}.")]
    files = [each.co_filename for each in own] or [getattr(sys.modules.get(code.__module__), "__file__", None)]
    file = _read(files[0]) if files[0] else None
    if file is None or not all(_function(each, package) for each in own):
        return None
    lines = {each.co_firstlineno for each in own}
    fitting = [
        node
        for name, node in file.nodes
        if name == code.__qualname__ and all(node.lineno <= line <= (node.end_lineno or line) for line in lines)
    ]
    return _of(fitting[-1], file, package) if fitting else None


def _plain(value: object) -> types.FunctionType | None:
    value = getattr(value, "fget", None) or getattr(value, "__func__", None) or value
    return value if isinstance(value, types.FunctionType) else None


def _function(code: types.CodeType, package: str) -> Written | None:
    file = _read(code.co_filename)
    if file is None or not any(same(code, each) for each in file.codes):
        return None
    nodes = [node for name, node in file.nodes if name == code.co_qualname and _first(node) == code.co_firstlineno]
    return _of(nodes[0], file, package) if len(nodes) == 1 else None  # two lambdas may stand in one line


def same(a: types.CodeType, b: types.CodeType) -> bool:
    """Whether two pieces of compiled code do the same, wherever they stand."""
    return a.co_qualname == b.co_qualname and content(a) == content(b)


def content(code: types.CodeType) -> tuple[object, ...]:
    """What compiled code does, as plain data; not where it stands."""
    constants = tuple(map(_constant, code.co_consts))
    return code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars


def _constant(value: object) -> object:
    if isinstance(value, types.CodeType):
        return content(value)
    if isinstance(value, tuple):
        return tuple(map(_constant, value))
    return (
        sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)
    )  # in an order that each process has


def compiled(code: types.CodeType) -> Written:
    """The same of code whose text is not known, from what it was compiled to; that depends on the version of Python."""
    parts = list(_codes(code))
    words = {name for each in parts for name in each.co_names}
    changed = {
        step.argval
        for each in parts
        for step in dis.get_instructions(each)
        if step.opname in ("STORE_GLOBAL", "STORE_DEREF")
    }
    return Written(repr(content(code)), frozenset(words), frozenset(words & sys.modules.keys()), frozenset(changed))


@dataclass(frozen=True)
class _File:
    nodes: list[tuple[str, Node]]  # name within the file → how it is written
    codes: list[types.CodeType]
    changed: frozenset[str]


def _read(file: str) -> _File | None:
    linecache.checkcache(file)
    return _parsed("".join(linecache.getlines(file)), file)


@lru_cache(maxsize=64)
def _parsed(text: str, file: str) -> _File | None:
    try:
        tree = ast.parse(text)
        nodes = list(_nodes(tree, ""))
        changed = {name for _, node in nodes if not isinstance(node, ast.ClassDef) for name in _changed(node)}
        return _File(nodes, list(_codes(compile(text, file, "exec"))), frozenset(changed))
    except (SyntaxError, ValueError, RecursionError):
        return None


def _nodes(tree: ast.AST, inside: str) -> Iterator[tuple[str, Node]]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, Node):
            name = f"{inside}{getattr(child, 'name', '<lambda>')}"
            yield name, child
            yield from _nodes(child, f"{name}." if isinstance(child, ast.ClassDef) else f"{name}.<locals>.")
        else:
            yield from _nodes(child, inside)


def _changed(function: ast.AST) -> Iterator[str]:
    """Names and attributes that a function sets, or sets something of: counters, caches."""
    for node in ast.walk(function):
        if isinstance(node, ast.Global | ast.Nonlocal):
            yield from node.names
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            yield from {node.attr} if isinstance(node, ast.Attribute) else _last(node.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGING:
            yield from _last(node.func.value)


def _last(node: ast.AST) -> set[str]:
    while isinstance(node, ast.Subscript):
        node = node.value
    return {node.attr} if isinstance(node, ast.Attribute) else {node.id} if isinstance(node, ast.Name) else set()


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from _codes(each)


def _first(node: Node) -> int:
    return min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])


def _of(node: Node, file: _File, package: str) -> Written:
    words: set[str] = set()
    modules: set[str] = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            words.add(each.id)
        elif isinstance(each, ast.Attribute):
            words.add(each.attr)
        elif isinstance(each, ast.Import):
            modules |= {alias.name for alias in each.names}
        elif isinstance(each, ast.ImportFrom):
            words |= {alias.name for alias in each.names}
            modules |= _from(each, package)
    text = ast.unparse(_Bare().visit(ast.parse(ast.unparse(node))))
    return Written(text, frozenset(words), frozenset(modules), file.changed)


def _from(node: ast.ImportFrom, package: str) -> set[str]:
    try:
        base = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
    except ImportError:
        return set()
    return {base, *(f"{base}.{alias.name}" for alias in node.names)}


class _Bare(ast.NodeTransformer):
    """Takes docstrings out."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = node.body[0]
            text = first.value if isinstance(first, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                node.body = node.body[1:] or [ast.Pass()]
        return node
