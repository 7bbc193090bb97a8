"""The text of a fused loop in C, compiled on the spot: how fast the same loop can be, without numba.

What `bioplaus.codegen` prints of a loop is a small part of Python: loops over ranges, assignments, entries and rows of arrays, arithmetic, a
choice, calls of functions of one line. That part is translated here word by word, and compiled with leave to reorder sums as numba has it.
A benchmark only: bioplaus runs what numba compiles.

    with in_c() as compiled:        # every loop is C; compiled says which have been
        bp.simulate(circuit, x, backend="numba")
"""

from __future__ import annotations

import ast
import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bioplaus.codegen import compiled

#: as numba's options of `bioplaus.codegen.scalars.OPTIONS`: sums in another order, fused products, no sign of zero; NaN stays NaN
FLAGS = "-O3 -march=native -std=c11 -fPIC -shared -ffp-contract=fast -fassociative-math -fno-signed-zeros -freciprocal-math -fno-trapping-math -fno-math-errno"
#: loops over these run over entries that do not touch each other
APART = {"unit0_", "into0_"}
REALS = {"float64": "double", "float32": "float"}


def compiler() -> str | None:
    """Where a C compiler is, if there is one."""
    return shutil.which("gcc") or shutil.which("cc")


@contextmanager
def in_c() -> Iterator[list[str]]:
    """Loops are C while this lasts; the names of those that were compiled."""
    real, made, names = compiled.function, {}, []

    def function(text: str, name: str, dtype: str) -> Callable[..., Any]:
        if (text, dtype) not in made:
            made[text, dtype] = loop(text, name, dtype)
            names.append(name)
        return made[text, dtype]

    compiled.function = function  # type: ignore[assignment]
    try:
        yield names
    finally:
        compiled.function = real


def loop(text: str, name: str, dtype: str) -> Callable[..., None]:
    """A function that a text defines, compiled when it is first called: by what it is called with."""
    made: Callable[..., None] | None = None

    def call(*given: Any) -> None:
        nonlocal made
        if made is None:
            made = built(translated(text, name, dtype, given), name)
        made(*given)

    return call


def built(source: str, name: str) -> Callable[..., None]:
    """A function of a C source, which takes what its Python takes."""
    folder = Path(_folder())
    place = folder / f"loop{len(list(folder.iterdir()))}.c"
    place.write_text(source)
    program = compiler()
    assert program is not None
    done = subprocess.run(
        [program, *FLAGS.split(), str(place), "-o", str(place.with_suffix(".so")), "-lm"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{program} refuses {place}:\n{done.stderr[:4000]}\n{source}")
    found = getattr(ctypes.CDLL(str(place.with_suffix(".so"))), name)
    found.restype = None

    def call(*given: Any) -> None:
        copies: list[tuple[np.ndarray, np.ndarray]] = []
        found(*(each for value in given for each in _handed(value, copies)))
        assert all(np.array_equal(*pair) for pair in copies), "what is no plain array is read only"

    return call


@cache
def _folder() -> str:
    made = tempfile.TemporaryDirectory(prefix="c_text.")
    _KEPT.append(made)  # until the process ends
    return made.name


_KEPT: list[Any] = []


def _handed(value: Any, copies: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[Any]:
    """What C takes in a value's place: an array is its address and its shape, from which strides follow."""
    if isinstance(value, tuple):
        for each in value:
            yield from _handed(each, copies)
    elif isinstance(value, np.ndarray):
        if not value.flags.c_contiguous:
            copies.append((value, value := np.ascontiguousarray(value)))
        yield ctypes.c_void_p(value.ctypes.data)
        yield from map(ctypes.c_long, value.shape)
    elif isinstance(value, (np.floating, float)):
        narrow = np.asarray(value).dtype == np.float32
        yield (ctypes.c_float if narrow else ctypes.c_double)(float(value))
    else:
        yield ctypes.c_long(int(value))


@dataclass(frozen=True)
class Array:
    """A pointer in C, and what an entry and each dimension is called there."""

    name: str
    kind: str
    shape: tuple[str, ...]


def translated(text: str, name: str, dtype: str, given: Sequence[Any]) -> str:
    """C for a text, as it is called with ``given``."""
    functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    small = [_Function(REALS[dtype]).small(f) for f in functions if f.name != name]
    (large,) = [f for f in functions if f.name == name]
    head = "#include <math.h>\n#include <stdlib.h>\n#include <string.h>\n"
    return "\n".join([head, *small, _Function(REALS[dtype]).large(large, given)])


class _Function:
    """One function; what its names stand for: "long", "int", the real type, an array, or a tuple of arrays."""

    def __init__(self, real: str) -> None:
        self.real, self.lines, self.depth, self.freed = real, [], 1, []
        self.names: dict[str, Any] = {}
        self.suffix = "f" if real == "float" else ""

    def small(self, f: ast.FunctionDef) -> str:
        """A function of one line."""
        names = [a.arg for a in f.args.args]
        self.names = dict.fromkeys(names, self.real)
        (line,) = f.body
        assert isinstance(line, ast.Return) and line.value is not None
        body = self.of(line.value)[0]
        return (
            f"static inline {self.real} {f.name}({', '.join(f'{self.real} {n}' for n in names)}) {{ return {body}; }}"
        )

    def large(self, f: ast.FunctionDef, given: Sequence[Any]) -> str:
        taken = []
        for a, value in zip(f.args.args, given, strict=True):
            self.names[a.arg] = self._argument(a.arg, value, taken)
        before = set(self.names)
        for statement in f.body:
            self.statement(statement)
        scalars = {n: kind for n, kind in self.names.items() if n not in before and isinstance(kind, str)}
        views = {n: kind for n, kind in self.names.items() if n not in before and isinstance(kind, Array)}
        declared = [f"    {kind} {n} = 0;" for n, kind in scalars.items()]
        declared += [f"    {each.kind} *{n} = 0;" for n, each in views.items()]
        declared += [f"    long {dim} = 0;" for each in views.values() for dim in each.shape if dim.isidentifier()]
        freed = [f"    free({n});" for n in self.freed]
        return "\n".join([f"void {f.name}({', '.join(taken)}) {{", *declared, *self.lines, *freed, "}", ""])

    def _argument(self, name: str, value: Any, taken: list[str]) -> Any:
        if isinstance(value, tuple):
            return tuple(self._argument(f"{name}t{i}", each, taken) for i, each in enumerate(value))
        if isinstance(value, np.ndarray):
            shape = tuple(f"{name}n{d}" for d in range(value.ndim))
            kind = REALS.get(value.dtype.name) or {"int32": "int", "int64": "long"}[value.dtype.name]
            taken.append(f"{kind} *{name}")
            taken.extend(f"long {n}" for n in shape)
            return Array(name, kind, shape)
        kind = self.real if isinstance(value, (float, np.floating)) else "long"
        taken.append(f"{kind} {name}")
        return kind

    # -- statements

    def put(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    def block(self, head: str, body: Sequence[ast.stmt]) -> None:
        self.put(head + " {")
        self.depth += 1
        for each in body:
            self.statement(each)
        self.depth -= 1
        self.put("}")

    def statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.For):
            self.loop(node)
        elif isinstance(node, ast.If):
            self.block(f"if ({self.of(node.test)[0]})", node.body)
            if node.orelse:
                self.block("else", node.orelse)
        elif isinstance(node, ast.Assign):
            (target,) = node.targets
            if isinstance(target, ast.Tuple):
                assert isinstance(node.value, ast.Tuple)
                for one, value in zip(target.elts, node.value.elts, strict=True):
                    self.assign(one, value)
            else:
                self.assign(target, node.value)
        elif isinstance(node, ast.AugAssign):
            signs = {ast.Add: "+", ast.Mult: "*", ast.Sub: "-"}
            self.put(f"{self.of(node.target)[0]} {signs[type(node.op)]}= {self.of(node.value)[0]};")
        elif not isinstance(node, ast.Pass):
            raise NotImplementedError(ast.dump(node))

    def loop(self, node: ast.For) -> None:
        assert isinstance(node.target, ast.Name) and isinstance(node.iter, ast.Call)
        bounds = [self.of(a)[0] for a in node.iter.args]
        first, last, step = {1: ["0", *bounds, "1"], 2: [*bounds, "1"], 3: bounds}[len(bounds)]
        i = node.target.id
        self.names[i] = "long"
        if i in APART and not any(isinstance(inner, ast.For) for each in node.body for inner in ast.walk(each)):
            self.put("#pragma GCC ivdep")
        self.block(f"for ({i} = {first}; {i} < {last}; {i} += {step})", node.body)

    def assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            if isinstance(value, ast.Call) and ast.unparse(value.func) == "np0_.empty":
                return self.empty(target.id, value)
            text, kind = self.of(value)
            if isinstance(kind, Array):
                shape = tuple(f"{target.id}n{d}" for d in range(len(kind.shape)))
                self.names[target.id] = Array(target.id, kind.kind, shape)
                self.put(f"{target.id} = {text};")
                for mine, theirs in zip(shape, kind.shape, strict=True):
                    self.put(f"{mine} = {theirs};")
                return None
            known = self.names.setdefault(target.id, kind)
            assert known == kind or known == self.real, f"{target.id} is {known} and {kind}"
            self.put(f"{target.id} = {text};")
            return None
        into, kind = self.of(target)
        text, source = self.of(value)
        if not isinstance(kind, Array):
            self.put(f"{into} = {text};")
        elif isinstance(source, Array):
            self.put(f"memcpy({into}, {text}, sizeof({kind.kind})*({kind.shape[0]}));")
        else:
            self.put(f"for (long at = 0; at < {kind.shape[0]}; at++) ({into})[at] = {text};")
        return None

    def empty(self, name: str, call: ast.Call) -> None:
        sizes = call.args[0].elts if isinstance(call.args[0], ast.Tuple) else [call.args[0]]
        kind = {"np0_.int32": "int", "np0_.int64": "long"}.get(ast.unparse(call.args[1]), self.real)
        shape = tuple(f"{name}n{d}" for d in range(len(sizes)))
        for mine, size in zip(shape, sizes, strict=True):
            self.put(f"{mine} = {self.of(size)[0]};")
        self.names[name] = Array(name, kind, shape)
        self.put(f"{name} = malloc(sizeof({kind})*{'*'.join(shape)});")
        self.freed.append(name)

    # -- expressions: their text, and what they are

    def of(self, node: ast.expr) -> tuple[str, Any]:
        found = getattr(self, "of_" + type(node).__name__, None)
        if found is None:
            raise NotImplementedError(ast.dump(node))
        return found(node)

    def of_Constant(self, node: ast.Constant) -> tuple[str, Any]:
        if isinstance(node.value, bool):
            return str(int(node.value)), "int"
        return (str(node.value), "long") if isinstance(node.value, int) else (repr(node.value) + self.suffix, self.real)

    def of_Name(self, node: ast.Name) -> tuple[str, Any]:
        return node.id, self.names[node.id]

    def of_UnaryOp(self, node: ast.UnaryOp) -> tuple[str, Any]:
        text, kind = self.of(node.operand)
        return f"({'!' if isinstance(node.op, ast.Not) else '-'}{text})", kind

    def of_BinOp(self, node: ast.BinOp) -> tuple[str, Any]:
        (a, one), (b, two) = self.of(node.left), self.of(node.right)
        kind = self.real if self.real in (one, two) else "long"
        if isinstance(node.op, ast.Pow):
            return f"pow{self.suffix}({a}, {b})", self.real
        signs = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
        return f"({a} {signs[type(node.op)]} {b})", kind

    def of_BoolOp(self, node: ast.BoolOp) -> tuple[str, Any]:
        sign = " && " if isinstance(node.op, ast.And) else " || "
        return "(" + sign.join(self.of(each)[0] for each in node.values) + ")", "int"

    def of_Compare(self, node: ast.Compare) -> tuple[str, Any]:
        signs = {ast.Eq: "==", ast.NotEq: "!=", ast.Gt: ">", ast.GtE: ">=", ast.Lt: "<", ast.LtE: "<="}
        ((op,), (right,)) = node.ops, node.comparators
        return f"({self.of(node.left)[0]} {signs[type(op)]} {self.of(right)[0]})", "int"

    def of_IfExp(self, node: ast.IfExp) -> tuple[str, Any]:
        test, (a, kind), (b, other) = self.of(node.test)[0], self.of(node.body), self.of(node.orelse)
        return f"({test} ? {a} : {b})", self.real if self.real in (kind, other) else kind

    def of_Call(self, node: ast.Call) -> tuple[str, Any]:
        called, found = ast.unparse(node.func), [self.of(a) for a in node.args]
        texts = [text for text, _ in found]
        if called in ("max", "min"):
            a, b = texts
            kind = self.real if any(k == self.real for _, k in found) else "long"
            return f"({a} {'>' if called == 'max' else '<'} {b} ? {a} : {b})", kind
        if called in ("np0_.int64", "int"):
            return f"((long)({texts[0]}))", "long"
        if called == "abs":
            called = "math0_.fabs"
        if called.startswith(("math0_.", "np0_.")):
            called = called.partition(".")[2] + self.suffix
        return f"{called}({', '.join(texts)})", self.real

    def of_Subscript(self, node: ast.Subscript) -> tuple[str, Any]:
        if isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
            array = self.of(node.value.value)[1]
            assert isinstance(node.slice, ast.Constant)
            return array.shape[int(node.slice.value)], "long"  # type: ignore[arg-type]
        text, array = self.of(node.value)
        if isinstance(array, tuple):
            assert isinstance(node.slice, ast.Constant), "which array of several is known"
            chosen = array[int(node.slice.value)]  # type: ignore[arg-type]
            return chosen.name, chosen
        at = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        whole, offset = list(array.shape), []
        for d, each in enumerate(at):
            stride = "*".join(["1", *array.shape[d + 1 :]])
            if isinstance(each, ast.Slice):
                assert d == len(array.shape) - 1, "only the last dimension is cut"
                begin = self.of(each.lower)[0] if each.lower else "0"
                end = self.of(each.upper)[0] if each.upper else array.shape[d]
                offset.append(begin)
                return f"({text} + {' + '.join(offset)})", Array("", array.kind, (f"({end} - {begin})",))
            offset.append(f"({self.of(each)[0]})*{stride}")
        rest = tuple(whole[len(at) :])
        if rest:
            return f"({text} + {' + '.join(offset)})", Array("", array.kind, rest)
        return f"{text}[{' + '.join(offset)}]", array.kind if array.kind == self.real else "long"
