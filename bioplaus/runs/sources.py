"""Which code of the user's own makes a run, by hash: so that an edited rule, predictor, cell or circuit is not taken for that of before.

What is described as plain data says what a thing is made with, not what its code does. The code that counts is that of every
class and function of the user's own that is among the parts of a run, and all that these name in turn, as far as it is the user's own:
other functions and classes, and constants. Engine, shipped content and installed packages are told by their versions.
"""

from __future__ import annotations

import hashlib
import json
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from bioplaus.content import shipped
from bioplaus.runs.config import described, plain
from bioplaus.runs.written import content, written

_CONSTANT = (bool, int, float, complex, str, bytes, type(None))


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
    found: dict[str, list[str]] = {}
    codes = list(_codes(parts))
    classes = {code.__qualname__ for code in codes if isinstance(code, type) and written(code)}
    for code in codes:
        name = code.__qualname__
        in_its_class = "<" not in name and {*_around(name)} & classes and written(code)
        if not in_its_class:
            found.setdefault(name, []).append(_hash(code))
    return {name: "-".join(sorted(hashes)) for name, hashes in sorted(found.items())}


def _around(name: str) -> Iterator[str]:
    """``"A.B.f"`` → ``"A.B"``, ``"A"``."""
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        yield ".".join(parts[:end])


def _codes(things: Iterable[Any]) -> Iterator[Any]:
    """The user's own classes and functions in what things are made of, each once."""
    waiting = list(things)
    seen: dict[int, Any] = {}  # with the things themselves: the number of one that is gone may be given again
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, _CONSTANT):
            continue
        seen[id(thing)] = thing
        if isinstance(thing, type | types.FunctionType):
            if _is_own(thing):
                yield thing
                waiting += _inside(thing)
        else:
            waiting += _parts(thing)


def _parts(thing: Any) -> list[Any]:
    """What an object holds, as far as it can be code or hold some."""
    if isinstance(thing, Mapping):
        return [*thing.keys(), *thing.values()]
    if isinstance(thing, list | tuple | set | frozenset):
        return list(thing)
    if isinstance(thing, partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if isinstance(thing, types.MethodType):
        return [thing.__func__, thing.__self__]
    if isinstance(thing, staticmethod | classmethod):
        return [thing.__func__]
    if isinstance(thing, property):
        return [each for each in (thing.fget, thing.fset, thing.fdel) if each is not None]
    kind = type(thing)
    if not (_is_own(kind) or kind.__module__.partition(".")[0] == "bioplaus"):
        return []
    slots = [getattr(thing, name, None) for each in kind.__mro__ for name in _slots(each)]
    return [*kind.__mro__, *getattr(thing, "__dict__", {}).values(), *slots]


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _is_own(code: Any) -> bool:
    """Whether a class or function is neither the engine's, nor shipped content's, nor of Python, nor of an installed package."""
    module = code.__name__ if isinstance(code, types.ModuleType) else getattr(code, "__module__", None)
    if not isinstance(module, str):
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    if not _is_own_file(module, file) or not isinstance(code, types.FunctionType):
        return _is_own_file(module, file)
    # A decorator may have put its own function in place of what is written, and given it that name.
    compiled = code.__code__.co_filename
    return file is None if compiled.startswith("<") else _is_own_file(module, compiled)


@lru_cache
def _is_own_file(module: str, file: str | None) -> bool:
    if file is None:  # typed at a prompt or in a notebook; a built-in module has no code to read
        return module in ("__main__", "__mp_main__")
    place = Path(file).resolve()
    return not any(place.is_relative_to(root) for root in _others())


def _others() -> set[Path]:
    engine = Path(__file__).resolve().parents[1]
    content = {shipped() / folder for folder in ("models", "circuits", "experiments")}
    paths = sysconfig.get_paths()
    return {engine, *content, *(Path(paths[name]).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib"))}


def _names(code: Any) -> dict[str, Any]:
    """What a class or function names of its module, and what an enclosing function holds for it: name → what that is now."""
    text = written(code)
    if isinstance(code, type):
        held, space = {}, vars(sys.modules.get(code.__module__, types.ModuleType("")))
        words = text.words if text else set()
    else:
        held = dict(_held(code))
        space = code.__globals__
        words = text.words if text else set(_words(code.__code__))
    found = held | {name: space[name] for name in words if name in space and name not in held}
    modules = {name: value for name, value in found.items() if isinstance(value, types.ModuleType)}
    for name, attribute in text.attributes if text else ():
        if name in modules and _is_own(modules[name]):
            found[f"{name}.{attribute}"] = getattr(modules[name], attribute, None)
    return found


def _held(code: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """What enclosing functions hold for it, and its defaults."""
    for name, cell in zip(code.__code__.co_freevars, code.__closure__ or (), strict=True):
        with suppress(ValueError):  # a name that is not given a value yet
            yield name, cell.cell_contents
    for i, default in enumerate(code.__defaults__ or ()):
        yield f"default {i}", default
    yield from (code.__kwdefaults__ or {}).items()
    if "__wrapped__" in vars(code):
        yield "what is wrapped", vars(code)["__wrapped__"]


def _words(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from _words(each)


def _inside(code: Any) -> list[Any]:
    """What is to be looked at next."""
    own = [] if isinstance(code, types.FunctionType) else [*code.__mro__[1:], *_attributes(code).values()]
    return [*own, *_names(code).values()]


def _attributes(kind: type) -> dict[str, Any]:
    return {name: value for name, value in vars(kind).items() if not name.startswith("__") or callable(value)}


def _hash(code: Any) -> str:
    """Of what is written, or else of what it compiled to, with the constants that it names."""
    text = written(code)
    constants = {name: value for name, value in _names(code).items() if _is_constant(name, value)}
    if text is not None:
        said: object = text.text
    elif isinstance(code, type):
        said = {name: value for name, value in _attributes(code).items() if _is_constant(name.upper(), value)}
    else:
        said = repr(content(code.__code__))
    described = [plain(said, code.__qualname__), {name: plain(constants[name], name) for name in sorted(constants)}]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]


def _is_constant(name: str, value: Any) -> bool:
    """Whether a value is one that is not going to change: a number, a text, an array, and whatever is named like a constant."""
    if isinstance(value, _CONSTANT) or hasattr(value, "dtype"):
        return True
    inside = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple | frozenset) else None
    )
    if inside is None or (isinstance(value, dict | list) and not name.rpartition(".")[2].isupper()):
        return False
    return all(_is_constant("A", each) for each in inside)
