"""Brian2 without the drawing that it opens with.

``import brian2`` begins with ``from pylab import *``, which loads matplotlib's windows and interactive drawing for names that nothing
here uses. While Brian2 is first loaded by us, pylab is held by a module that has what pylab gives of numbers and loads the real
one for anything else. Brian2 gets the names of drawing at the first use of one, or of all, as ``from brian2 import *`` is: whoever
works with Brian2 beside bioplaus finds in it what is always there.
"""

from __future__ import annotations

import builtins
import datetime
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

_PYLAB = "pylab"
#: names that numpy has, too, and pylab gives as Python's own
_PYTHONS = ("bytes", "abs", "bool", "max", "min", "pow", "round")


@contextmanager
def undrawn() -> Iterator[None]:
    """In which ``import brian2`` loads nothing to draw with; nothing changes where it, or pylab, is here already."""
    if "brian2" in sys.modules or _PYLAB in sys.modules:
        yield
        return
    held = sys.modules[_PYLAB] = _Numbers()
    try:
        yield
    finally:
        if sys.modules.get(_PYLAB) is held:
            del sys.modules[_PYLAB]
    _later(sys.modules["brian2"], frozenset(held.__all__))


class _Numbers(ModuleType):
    """pylab's names of numbers; any other loads pylab itself (another thread may ask for one meanwhile)."""

    def __init__(self) -> None:
        super().__init__(_PYLAB)
        for part in (np, np.fft, np.random, np.linalg):  # in pylab's order
            vars(self).update({name: getattr(part, name) for name in part.__all__})
        vars(self).update({name: getattr(builtins, name) for name in _PYTHONS})
        vars(self).update(np=np, ma=np.ma, datetime=datetime)
        self.__all__ = [name for name in vars(self) if not name.startswith("_")]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(_PYLAB) is self:
            del sys.modules[_PYLAB]
        return getattr(importlib.import_module(_PYLAB), name)


def _later(brian2: ModuleType, had: frozenset[str]) -> None:
    """Have Brian2 get pylab's other names when one is looked for, or all are; of those that it ``had`` it has deleted some."""

    def missing(name: str) -> Any:
        if name == "__all__" or not name.startswith("__"):  # Python asks for __all__ first where it imports *
            del brian2.__getattr__  # first: what is missing now is missing
            for other, value in vars(importlib.import_module(_PYLAB)).items():
                if not other.startswith("_") and other not in had:
                    vars(brian2).setdefault(other, value)
            if name in vars(brian2):
                return vars(brian2)[name]
        raise AttributeError(f"module {brian2.__name__!r} has no attribute {name!r}")

    brian2.__getattr__ = missing  # type: ignore[method-assign]
