"""Texts of fused loops with a line changed: run as the Python that they are, which takes no compiler, or compiled."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from bioplaus.codegen import compiled


def as_python(text: str, name: str) -> Callable[..., Any]:
    """A function that a text defines, as Python runs it."""
    space: dict[str, Any] = {"nb0_": SimpleNamespace(njit=lambda **options: lambda f: f, prange=range)}
    exec(compile(text.replace("import numba as nb0_\n", ""), name, "exec"), space)
    return space[name]


def changed(
    patch: pytest.MonkeyPatch, kernel: str, right: str, wrong: str, compiles: bool = False
) -> Callable[[], int]:
    """In every text of a kernel a pattern is replaced; how often it was, which has to be told before anything is made of it.

    ``right`` is a regular expression; where it matches nothing, another text has been written since, and the mistake is one no longer.
    """
    real, made, count = compiled.function, {}, 0

    def function(text: str, name: str, dtype: str) -> Callable[..., Any]:
        nonlocal count
        if name == kernel:
            text, found = re.subn(right, wrong, text)
            count += found
        if compiles:
            return real(text, name, dtype)
        if (text, name) not in made:
            made[text, name] = as_python(text, name)
        return made[text, name]

    patch.setattr(compiled, "function", function)
    return lambda: count
