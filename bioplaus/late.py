"""Packages that are loaded when they are first used, not when they are first named.

What only tells, such as the table of rules, reads declarations from modules that compute with torch; to name torch at their top
then costs nothing. Everything else is as if it had been imported: the first use loads it.

The standard library's `importlib.util.LazyLoader` does not do: a second ``import`` of the same package asks for its ``__spec__``,
which that takes for a use.
"""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any


class Unread(ModuleType):
    """A package that is named and not loaded; any attribute that it does not have yet loads it, in place."""

    def __getattr__(self, name: str) -> Any:
        spec = self.__spec__
        if spec is None or not isinstance(spec.loader, Later) or not spec.loader.made:
            raise AttributeError(name)
        there = sys.modules.get(self.__name__, self)
        if not isinstance(there, Unread):  # it was withdrawn, and loaded under another's hands
            return getattr(there, name)
        sys.modules[self.__name__] = self
        self.__class__ = ModuleType  # type: ignore[assignment]
        self.__loader__ = spec.loader = spec.loader.real
        self.__path__ = spec.submodule_search_locations or []
        spec.loader.exec_module(self)
        return getattr(self, name)


class Later(Loader):
    """Makes an `Unread` of what another loader will read."""

    def __init__(self, real: Loader) -> None:
        self.real = real
        self.made = False  # only then are attributes asked for in order to be used

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Unread(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        del module.__path__  # so that to look for a part of the package is to use it
        self.made = True


class Late(MetaPathFinder):
    """Finds one package, once, and puts off its loading."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname != self.package:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = Later(spec.loader)
        return spec


def put_off(package: str) -> None:
    """Load a package at its first use, unless it is here already."""
    waiting = [each.package for each in sys.meta_path if isinstance(each, Late)]
    if package not in sys.modules and package not in waiting:
        sys.meta_path.insert(0, Late(package))


def withdraw(package: str) -> None:
    """Take one that is named and not loaded out of the list of modules, where some look who would not load it themselves.

    Whoever has named it loads it at the first use, as before.
    """
    if isinstance(sys.modules.get(package), Unread):
        del sys.modules[package]
        put_off(package)
