"""Brian2 without what it opens with and nobody here asks for: drawing, tests, compilers of C and Fortran.

``import brian2`` begins with ``from pylab import *``, which loads matplotlib's windows and interactive drawing; it reads matplotlib's
version, and loads pytest for `brian2.test`, Cython's compiler for code that it may compile some day, and ``from numpy import *`` loads
numpy's own tests and f2py. While Brian2 is first loaded by us, each of these is held by a module that has what Brian2 looks at
meanwhile, and loads the real one for anything else. Afterwards they are where they would be if nobody had asked for them yet, and
Brian2 gets the names that it lacks at the first use of one, or of all, as ``from brian2 import *`` is: whoever works with Brian2 beside
bioplaus finds in it what is always there.
"""

from __future__ import annotations

import builtins
import datetime
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np

_PYLAB, _TESTS, _CYTHON = "pylab", "brian2.tests", "Cython.Build"
#: names that numpy has, too, and pylab gives as Python's own
_PYTHONS = ("bytes", "abs", "bool", "max", "min", "pow", "round")


@contextmanager
def undrawn() -> Iterator[None]:
    """In which ``import brian2`` loads little besides itself; nothing changes where it, or pylab, is here already."""
    if "brian2" in sys.modules or _PYLAB in sys.modules:
        yield
        return
    numbers, parts = _numbers(), [name for name in np.__all__ if name not in vars(np)]
    held = [
        Held(_PYLAB, numbers, __all__=list(numbers)),
        _Package("matplotlib", __version__=""),
        Held(_TESTS, {"run": None}),
    ]
    held += [Held(_CYTHON, __path__=path)] if (path := _path(_CYTHON)) else []
    held += [Held(f"numpy.{name}") for name in parts]
    with _in_place(held):
        yield
    brian2, only, numpy_ = (sys.modules[name] for name in ("brian2", "brian2.only", "brian2.numpy_"))
    for module, names in ((brian2, ["test"]), (only, ["test"]), (numpy_, parts)):
        for name in names:
            vars(module).pop(name, None)
    _later(brian2, lambda: _drawing(numbers) | _suite())
    _later(only, lambda: {"test": _suite()["test"]})
    _later(numpy_, lambda: {name: getattr(np, name) for name in parts})


class Held(ModuleType):
    """A module of which only some names are there; any other loads the module itself (another thread may ask for one meanwhile)."""

    def __init__(self, name: str, names: Mapping[str, Any] | None = None, **more: Any) -> None:
        super().__init__(name)
        vars(self).update(names or {}, **more)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._real(name)

    def _real(self, name: str) -> Any:
        self.give_back()
        return getattr(importlib.import_module(self.__name__), name)

    def take_place(self) -> None:
        """Of the real module, as if that had been imported."""
        sys.modules[self.__name__] = self
        above, _, last = self.__name__.rpartition(".")
        if above in sys.modules:
            setattr(sys.modules[above], last, self)

    def give_back(self) -> None:
        """The place, and those of what was loaded out of the same folder."""
        if sys.modules.get(self.__name__) is self:
            for name in [each for each in sys.modules if each == self.__name__ or each.startswith(f"{self.__name__}.")]:
                del sys.modules[name]
            above, _, last = self.__name__.rpartition(".")
            if vars(sys.modules.get(above, self)).get(last) is self:
                delattr(sys.modules[above], last)


class _Package(Held):
    """One of which a part may be imported meanwhile: Python then asks where its parts lie."""

    @property
    def __path__(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._real("__path__")


@contextmanager
def _in_place(modules: list[Held]) -> Iterator[None]:
    """Modules in the places of those that are not loaded yet."""
    held = [each for each in modules if each.__name__ not in sys.modules]
    for each in held:
        each.take_place()
    try:
        yield
    finally:
        for each in held:
            each.give_back()


def _numbers() -> dict[str, Any]:
    """pylab's names of numbers, in its order; not the parts of numpy that load at their first use."""
    found: dict[str, Any] = {}
    for part in (np, np.fft, np.random, np.linalg):
        found |= {name: vars(part)[name] for name in part.__all__ if name in vars(part)}
    found |= {name: getattr(builtins, name) for name in _PYTHONS}
    return found | {"np": np, "ma": np.ma, "datetime": datetime}


def _path(package: str) -> list[str] | None:
    """Where the modules of a package lie; None if there is no such package."""
    try:
        spec = find_spec(package)
    except ModuleNotFoundError:
        return None
    return None if spec is None else spec.submodule_search_locations


def _drawing(had: Mapping[str, Any]) -> dict[str, Any]:
    """pylab's names besides those that Brian2 ``had``, of which it has deleted some."""
    names = vars(importlib.import_module(_PYLAB))
    return {name: value for name, value in names.items() if not name.startswith("_") and name not in had}


def _suite() -> dict[str, Any]:
    """Brian2's own tests."""
    tests = importlib.import_module(_TESTS)
    return {"tests": tests, "test": tests.run}


def _later(module: ModuleType, names: Callable[[], Mapping[str, Any]]) -> None:
    """Have a module get more names when one is looked for that it has not, or all are."""

    def missing(name: str) -> Any:
        if name == "__all__" or not name.startswith("__"):  # Python asks for __all__ first where it imports *
            del module.__getattr__  # first: what is missing now is missing
            for other, value in names().items():
                vars(module).setdefault(other, value)
            if name in vars(module):
                return vars(module)[name]
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

    module.__getattr__ = missing  # type: ignore[method-assign]
