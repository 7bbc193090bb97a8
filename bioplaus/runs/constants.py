"""The values of the names that code uses: of those that stay as they are, as plain data that is the same in every process."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Collection, Mapping
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import partial
from pathlib import PurePath
from typing import Any

from bioplaus.errors import BioplausError
from bioplaus.runs.config import plain

_WRITTEN = (bool, float, complex, bytes, type(None), range, slice, Fraction, Decimal)


class _Unknown(Exception):
    """A value that can't be told, or that is code, and told elsewhere."""


def constants(named: Mapping[str, Any], changed: Collection[str], folder: str) -> dict[str, Any]:
    """Name → value, of the constants among what code names.

    Parameters
    ----------
    named : name → what it is now.
    changed : names of what code changes while it runs, such as counters and caches.
    folder : where the code stands; a text that names it means the same elsewhere.
    """
    found = {}
    for name, value in named.items():
        last = name.rpartition(".")[2]
        if last in changed or (last.startswith("__") and last.endswith("__")):  # __file__, __name__
            continue
        try:
            found[name] = _value(value, folder, ())
        except (_Unknown, BioplausError):
            continue
    return dict(sorted(found.items()))


def _value(value: Any, folder: str, around: tuple[int, ...]) -> Any:
    if id(value) in around or isinstance(value, type | types.FunctionType | types.ModuleType):
        raise _Unknown  # it holds itself, or is code
    inner = (*around, id(value))
    if isinstance(value, Enum):
        return [type(value).__qualname__, value.name]
    if isinstance(value, int) and not isinstance(value, bool):
        return hex(value)
    if isinstance(value, str | PurePath):
        return str(value).replace(folder, ".") if len(folder) > 1 else str(value)
    if isinstance(value, _WRITTEN):
        return repr(value)
    if isinstance(value, list | tuple):
        return [_value(each, folder, inner) for each in value]
    if isinstance(value, set | frozenset):
        return sorted((_value(each, folder, inner) for each in value), key=repr)
    if isinstance(value, dict):
        pairs = ((_value(key, folder, inner), _value(each, folder, inner)) for key, each in value.items())
        return sorted(map(list, pairs), key=repr)
    if isinstance(value, partial):
        held = (value.args, value.keywords)
        return [getattr(value.func, "__qualname__", ""), *(_value(each, folder, inner) for each in held)]
    if isinstance(value, types.SimpleNamespace) or _is_frozen(value):
        return [type(value).__qualname__, _value(vars(value), folder, inner)]
    if _is_array(value):
        return plain(value)
    raise _Unknown


def _is_frozen(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type) and type(value).__dataclass_params__.frozen  # type: ignore[attr-defined]


def _is_array(value: Any) -> bool:
    """Whether it is an array, a tensor or a quantity, of numbers."""
    home = {kind.__module__.partition(".")[0] for kind in type(value).__mro__}
    return (
        bool(home & {"numpy", "torch", "brian2"})
        and hasattr(value, "dtype")
        and not getattr(value.dtype, "hasobject", False)
    )
