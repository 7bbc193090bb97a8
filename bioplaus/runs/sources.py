"""Which code of the user's own makes a run, by hash: so that an edited rule, predictor, cell or circuit is not taken for that of before.

What is described as plain data says what a thing is made with, not what its code does. The code that counts is that of every
class and function of the user's own that is among the parts of a run, and all that these name in turn, as far as it is the user's own:
other functions and classes, and constants (`bioplaus.runs.constants`). Engine, shipped content and installed packages are told by
their versions. What is asked for by a text, as ``getattr(module, name)`` does, is not seen.
"""

from __future__ import annotations

import hashlib
import json
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bioplaus.content import shipped
from bioplaus.runs.config import described
from bioplaus.runs.constants import constants
from bioplaus.runs.written import Written, compiled, written

_HELD = ("__wrapped__", "__func__", "__self__", "func", "pyfunc", "py_func", "fget", "fset", "fdel")
"""Where what wraps a function keeps it: functools, numpy, numba, Python's own descriptors."""


def with_code(parts: Mapping[str, object]) -> dict[str, Any]:
    """Parts described as plain data, with the `sources` of those that are the user's own, if there are any.

    Raises
    ------
    RunError
        If a part can't be written down.
    """
    code = sources(*parts.values())
    return described(**parts) | ({"sources": code} if code else {})


def sources(*parts: object) -> dict[str, str]:
    """Every class and function of the user's own that these parts run, name → SHA-256 of its code, shortened; sorted by name.

    Comments, docstrings and layout don't count, nor what other things stand in the same file.
    """
    found: dict[str, set[str]] = {}
    classes: set[str] = set()  # those of which the text is known,
    methods: set[str] = set()  # and what stands in it
    seen: dict[int, Any] = {}  # with the things themselves: the number of one that is gone may be given again
    waiting = list(parts)
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, str | bytes | int | float | None):
            continue
        seen[id(thing)] = thing
        if isinstance(thing, type | types.FunctionType) and is_own(thing):
            text, named, name = _text(thing), _named(thing), thing.__qualname__
            if written(thing) is not None:
                (classes if isinstance(thing, type) else methods).add(name)
            found.setdefault(name, set()).add(_hash(thing, text, named))
            waiting += named.values()
        waiting += _inside(thing)
    told = {name for name in methods if "<" not in name and {*_around(name)} & classes}
    kept = {name: hashes for name, hashes in found.items() if name not in told}
    return {name: "-".join(sorted(hashes)) for name, hashes in sorted(kept.items())}


def _around(name: str) -> Iterator[str]:
    """``"A.B.f"`` → ``"A.B"``, ``"A"``."""
    parts = name.split(".")
    return (".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))


def _hash(code: Any, text: Written, named: Mapping[str, Any]) -> str:
    """Of what is written and of the constants that it names."""
    folder = str(Path(_file(code) or "<").parent)
    said = [text.text, constants(named, text.changed, folder)]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def _text(code: Any) -> Written:
    """How it is written, or else what it was compiled to; a class without text is told by its methods and attributes."""
    nothing = Written("", frozenset(), frozenset(), frozenset())
    return written(code) or (compiled(code.__code__) if isinstance(code, types.FunctionType) else nothing)


def _named(code: Any) -> dict[str, Any]:
    """What a class or function names of its module, and what an enclosing function holds for it: name → what that is now."""
    text = _text(code)
    if isinstance(code, type):
        space = vars(sys.modules.get(code.__module__, types.ModuleType("")))
        own = {name: value for name, value in vars(code).items() if not name.startswith("__") or callable(value)}
    else:
        space, own = code.__globals__, dict(_held(code))
    found = own | {name: space[name] for name in text.words if name in space and name not in own}
    modules = [value for value in found.values() if isinstance(value, types.ModuleType)]
    modules += filter(None, map(_module, text.modules))
    looked: set[str] = set()
    while modules:
        module = modules.pop()
        if is_own(module) and module.__name__ not in looked:
            looked.add(module.__name__)
            inside = {name: vars(module)[name] for name in text.words if name in vars(module)}
            found |= {f"{module.__name__}.{name}": value for name, value in inside.items()}
            modules += [value for value in inside.values() if isinstance(value, types.ModuleType)]
    return found


def _held(code: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """What enclosing functions hold for it, and its defaults."""
    for name, cell in zip(code.__code__.co_freevars, code.__closure__ or (), strict=True):
        with suppress(ValueError):  # a name that is not given a value yet
            yield name, cell.cell_contents
    for i, default in enumerate(code.__defaults__ or ()):
        yield f"default {i}", default
    yield from (code.__kwdefaults__ or {}).items()


def _module(name: str) -> types.ModuleType | None:
    """A module that a function imports when it is called: the user's own are imported now, as they will be then."""
    if name in sys.modules:
        return sys.modules[name]
    with suppress(Exception):
        spec = find_spec(name)
        if spec is not None and spec.origin is not None and _is_own_file(spec.origin):
            return import_module(name)
    return None


def _inside(thing: Any) -> list[Any]:
    """What a thing holds, whoever made it, as far as it can be code or hold some."""
    if isinstance(thing, Mapping):
        return [*thing.keys(), *thing.values()]
    if isinstance(thing, list | tuple | set | frozenset):
        return list(thing)
    if isinstance(thing, partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if isinstance(thing, type):
        return list(thing.__mro__[1:]) if is_own(thing) else []
    if isinstance(thing, types.ModuleType):
        return []
    held = [cell for _, cell in _held(thing)] if isinstance(thing, types.FunctionType) else []
    if callable(thing) or isinstance(thing, property | staticmethod | classmethod):
        for name in _HELD:
            with suppress(Exception):
                held.append(getattr(thing, name))
    kind: type = type(thing)
    if is_own(kind) or kind.__module__.partition(".")[0] == "bioplaus":
        slots = [getattr(thing, name, None) for each in kind.__mro__ for name in _slots(each)]
        held += [*kind.__mro__, *getattr(thing, "__dict__", {}).values(), *slots]
    return held


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def is_own(code: Any) -> bool:
    """Whether a class, function or module is neither the engine's, nor shipped content's, nor of Python, nor of an installed package."""
    if isinstance(code, types.FunctionType):
        made = code.__code__.co_qualname.startswith("__create_fn__")  # by dataclasses, of what is written elsewhere
        file = code.__code__.co_filename
        return not made and (_is_own_module(code.__module__) if file.startswith("<") else _is_own_file(file))
    if isinstance(code, types.ModuleType):
        return _is_own_module(code.__name__)
    if code.__module__ == "builtins":  # as it is called where a class was made of a text, or it is Python's own
        return any(isinstance(each, types.FunctionType) and is_own(each) for each in vars(code).values())
    return _is_own_module(code.__module__)


def _is_own_module(name: str | None) -> bool:
    """Of a module that is not known to Python nothing but that is known: some loader of one's own made it, or a text that was run."""
    module = sys.modules.get(name or "")
    file = getattr(module, "__file__", None)
    if file is None or file.startswith("<"):
        return module is None or name in ("__main__", "__mp_main__")  # typed at a prompt, a notebook, on standard input
    return _is_own_file(file)


@lru_cache
def _is_own_file(file: str) -> bool:
    place = Path(file).resolve()
    installed = {"site-packages", "dist-packages"} & {*place.parts}
    return not installed and not any(place.is_relative_to(root) for root in _others())


@lru_cache
def _others() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    content = (shipped() / folder for folder in ("models", "circuits", "experiments"))
    return (
        Path(__file__).resolve().parents[1],
        *content,
        *(Path(paths[name]).resolve() for name in ("stdlib", "platstdlib")),
    )


def _file(code: Any) -> str | None:
    if isinstance(code, types.FunctionType):
        return code.__code__.co_filename
    return getattr(sys.modules.get(code.__module__), "__file__", None)
