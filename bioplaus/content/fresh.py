"""Keeping loaded content in step with its files.

A module that Python has imported stays as it was, whatever happens to its file. Content must not: someone
edits a model in a notebook session, or moves to another study, and expects the name to mean what the file now
says. So what each module was made from is noted, and modules that no longer match are forgotten, with those
that took something from them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from bioplaus.content.path import KINDS, SearchPath, shipped

ROOT = f"{__package__}."
OURS = tuple(f"{ROOT}{folder}." for folder in KINDS.values())


class _Version(NamedTuple):
    """The state of a file when it was loaded."""

    file: Path
    stamp: tuple[int, int]  # modification time in ns, size
    sha256: str


_noted: dict[str, _Version] = {}  # module name → what it was made from


def loaded() -> dict[str, dict[str, str]]:
    """Each content file this process is using, as ``{"models/alif": {"file": ..., "sha256": ...}}``.

    The hash is that of the text which was loaded, even if the file was edited since.
    """
    note()
    return {
        name.removeprefix(ROOT).replace(".", "/"): {"file": str(version.file), "sha256": version.sha256}
        for name, version in sorted(_noted.items())
    }


def recorded() -> dict[str, dict[str, str]]:
    """The same for a record that travels: ``{"models/alif": {"file": "models/alif.py", "of": "shipped", "sha256": ...}}``.

    ``file`` is relative to the folder of what shipped or of the study, as ``of`` says.
    """
    found = {}
    for name, version in loaded().items():
        file = Path(version["file"])
        inside = f"{name}/__init__.py" if file.stem == "__init__" else f"{name}.py"
        of = "shipped" if file == shipped() / inside else "study"
        found[name] = {"file": inside, "of": of, "sha256": version["sha256"]}
    return found


def note() -> None:
    """Note what each new content module was made from, also if other content or unpickling imported it."""
    for name, module in list(sys.modules.items()):
        if name.startswith(OURS) and name not in _noted and (file := getattr(module, "__file__", None)):
            text = Path(file).read_bytes()
            _noted[name] = _Version(Path(file), _stamp(Path(file)), hashlib.sha256(text).hexdigest())


def forget_changed() -> None:
    """Drop modules whose name stands for another file now or whose file was edited, and all that use them."""
    note()
    stale = {name for name, version in _noted.items() if not _is_current(name, version)}
    while more := {name for name in _noted.keys() - stale if _uses(sys.modules.get(name), stale)}:
        stale |= more
    for name in stale:
        version = _noted.pop(name)
        sys.modules.pop(name, None)
        package, _, stem = name.rpartition(".")
        if package in sys.modules:  # `from package import stem` would still find it there
            vars(sys.modules[package]).pop(stem, None)
        with suppress(OSError):  # bytecode is dated to the second: too coarse
            os.unlink(importlib.util.cache_from_source(str(version.file)))


def _is_current(name: str, version: _Version) -> bool:
    folder, *inside = name.removeprefix(ROOT).split(".")
    for place in SearchPath(folder):
        for file in (Path(place, *inside, "__init__.py"), Path(place, *inside).with_suffix(".py")):
            if file.is_file():
                return file == version.file and _stamp(file) == version.stamp
    return False


def _uses(module: ModuleType | None, stale: set[str]) -> bool:
    """Whether a module holds another, or a function, class or object that comes from it."""
    for value in vars(module).values() if module is not None else ():
        origin = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if isinstance(origin, str) and origin in stale:
            return True
    return False


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size
