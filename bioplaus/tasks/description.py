"""A task's settings as plain data, so that a run can record them and be recognised by them."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import torch

from bioplaus.tasks.losses import Loss

if TYPE_CHECKING:
    pass


def plain(value: Any) -> Any:
    """Turn a setting into something JSON can hold."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        if not value.shape:
            return value.item()
        array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
        return {"shape": list(array.shape), "sha256": hashlib.sha256(array.tobytes()).hexdigest()}
    return repr(value)


def settings(task: object, base: type) -> dict[str, Any]:
    """A dataclass's fields, or else whatever public attributes a plain subclass of `base` has but methods."""
    if is_dataclass(task):
        return {field.name: getattr(task, field.name) for field in fields(task)}
    classes = [cls for cls in reversed(type(task).__mro__) if issubclass(cls, base) and cls is not base]
    merged = {key: value for cls in classes for key, value in vars(cls).items()} | vars(task)
    simple = (bool, int, float, str, tuple, list, dict, Loss)
    return {
        key: value
        for key, value in merged.items()
        if not key.startswith("_") and (isinstance(value, simple) or hasattr(value, "shape"))
    }


def source_hash(cls: type) -> str | None:
    """Hash of the class's source, so that a finished run is not taken for one of an edited task."""
    try:
        return hashlib.sha256(inspect.getsource(cls).encode()).hexdigest()
    except (OSError, TypeError):  # defined in an interactive session
        return None
