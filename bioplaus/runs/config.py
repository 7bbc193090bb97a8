"""A run's configuration as plain data, and the hash by which it is recognised."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import re
import sys
import types
import typing
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from bioplaus.errors import RunError

_FEW = 16  # chosen: an array up to this many entries is written out, a longer one stands as its hash


def described(**parts: object) -> dict[str, Any]:
    """Everything that decides what one run computes, as plain data: JSON-able, quantities with their units.

    Raises
    ------
    RunError
        If a part can't be written down.
    """
    # Through JSON and back, so that it compares equal to what a run.json gives.
    return json.loads(json.dumps({key: plain(value, key) for key, value in parts.items()}))


def digest(config: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits that stand for a resolved configuration."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def folder_name(label: str, seed: int, config: Mapping[str, Any]) -> str:
    """``<arm>-s<seed>-<hash>``, with everything that a file system might mind replaced."""
    label = label.replace("λ", "lambda").replace("γ", "gamma")  # folders keep to ASCII
    return f"{re.sub(r'[^A-Za-z0-9._=+-]+', '_', label).strip('_') or 'run'}-s{seed}-{digest(config)}"


def fits_name(folder: str, config: Mapping[str, Any]) -> bool:
    """Whether a folder's name, if it is one that `folder_name` makes, says the seed and the hash of this configuration."""
    found = re.search(r"-s(\d+)-([0-9a-f]{8})$", folder)
    return found is None or (int(found[1]), found[2]) == (config["seed"], digest(config))


def plain(value: Any, name: str = "value") -> Any:
    """`value` as JSON-able data that is the same for equal values in every process.

    Raises
    ------
    RunError
        If it is of a kind whose content can't be written down (so two runs could not be told apart).
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{name}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, set | frozenset):
        return sorted((plain(item, name) for item in value), key=repr)
    if hasattr(value, "describe") and not isinstance(value, type):
        return plain(value.describe(), name)
    if hasattr(value, "get_best_unit"):  # a Brian2 quantity, without importing Brian2 to say so
        return _quantity(value, name)
    if hasattr(value, "detach") and hasattr(value, "numpy"):
        value = value.detach().cpu().numpy()
    if "numpy" in sys.modules and isinstance(value, sys.modules["numpy"].ndarray | sys.modules["numpy"].generic):
        return _array(value, name)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            field.name: plain(getattr(value, field.name), f"{name}.{field.name}") for field in dataclasses.fields(value)
        }
        return {"type": type(value).__qualname__, **fields}
    if isinstance(value, functools.partial):
        return {
            "call": plain(value.func, name),
            "args": plain(value.args, name),
            **plain(value.keywords, name),
        }
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        return f"{value.__module__}.{value.__qualname__}"
    text = repr(value)
    if " at 0x" in text:
        raise RunError(
            f"The configuration can't be written down: {name} is a {type(value).__qualname__}, which does "
            "not say what it holds. Give it a describe() method that returns plain data, or make it a "
            "dataclass."
        )
    return text


def _quantity(value: Any, name: str) -> Any:
    unit = value.get_best_unit()
    number = plain(value / unit, name)
    return f"{number!r} {unit}" if isinstance(number, float) else {"values": number, "unit": str(unit)}


def _array(value: Any, name: str) -> Any:
    if value.dtype.hasobject:
        return [plain(item, name) for item in value.tolist()]
    if value.size <= _FEW:
        return plain(value.tolist(), name)
    data = hashlib.sha256(value.tobytes()).hexdigest()  # tobytes() writes in C order whatever the strides
    return {"shape": list(value.shape), "dtype": str(value.dtype), "sha256": data}


def differences(given: Any, found: Any, name: str = "") -> list[str]:
    """Where two plain configurations differ, as ``circuit.units is 64, was 32``."""
    if isinstance(given, dict) and isinstance(found, dict):
        keys = sorted(given.keys() | found.keys())
        missing = "(not given)"
        if name.endswith("populations") and given.keys() == found.keys() and list(given) != list(found):
            # random numbers are drawn for one population after the other; of everything else the order says nothing
            return [f"{name} stand in the order {', '.join(given)}, stood in the order {', '.join(found)}"]
        return [
            line
            for key in keys
            for line in differences(given.get(key, missing), found.get(key, missing), f"{name}.{key}".lstrip("."))
        ]
    return [] if given == found else [f"{name} is {_short(given)}, was {_short(found)}"]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"


def rebuild(cls: type, data: Mapping[str, Any]) -> Any:
    """A (nested) configuration dataclass from what ``dataclasses.asdict`` and JSON made of one."""
    hints = typing.get_type_hints(cls)
    known = {field.name for field in dataclasses.fields(cls)}
    return cls(**{key: _rebuilt(hints[key], value) for key, value in data.items() if key in known})


def _rebuilt(kind: Any, value: Any) -> Any:
    if isinstance(value, dict) and dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return rebuild(kind, value)
    if isinstance(value, list):
        inner = [arg for arg in typing.get_args(kind) if arg is not Ellipsis] or [Any]
        items = [_rebuilt(inner[min(i, len(inner) - 1)], item) for i, item in enumerate(value)]
        return items if typing.get_origin(kind) is list else tuple(items)
    return value
