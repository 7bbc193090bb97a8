"""Generated text as a compiled module: kept in the user's cache folder, and only run if it is what would be written now.

numba keeps machine code beside a module that can be imported by name. So every text has a folder of its own, called by the hash of text,
versions and processor; a seal holds the hashes of what the compiler left there. Where text or seal do not fit, the folder is
made anew. Two processes that compile the same do so in folders of their own, of which the first to be done stays.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import shutil
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from types import ModuleType

#: where generated modules are kept; else below the user's cache folder
PLACE = "BIOPLAUS_KERNELS"
SEAL = "seal.json"


def place() -> Path:
    """The folder of compiled kernels."""
    if given := os.environ.get(PLACE):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bioplaus" / "kernels"


def name_of(text: str) -> str:
    """What a text's module is called: a hash of it and of all that its machine code depends on."""
    import llvmlite
    import numba
    import numpy as np

    versions = (numba.__version__, llvmlite.__version__, np.__version__, platform.python_version(), _processor())
    return "kernel_" + hashlib.sha256("\n".join((*versions, text)).encode()).hexdigest()[:24]


@lru_cache(maxsize=1)
def _processor() -> str:
    from llvmlite import binding

    return f"{binding.get_host_cpu_name()} {sorted(binding.get_host_cpu_features().items())}"


@lru_cache(maxsize=64)
def module(text: str) -> ModuleType:
    """The module of a text. What it defines is compiled when it is first called, or taken from the cache."""
    name = name_of(text)
    if name in sys.modules:
        return sys.modules[name]
    folder = _ready(name, text)
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


def known(text: str) -> bool:
    """Whether a text was compiled before, so that nobody waits for it."""
    return _sound(place() / name_of(text), name_of(text), text)


def seal(text: str) -> None:
    """Note what the compiler has left of a text that was called."""
    name = name_of(text)
    folder = place() / name
    if not folder.is_dir():
        return
    found = json.dumps(_hashes(folder), indent=1, sort_keys=True)
    if not (folder / SEAL).is_file() or (folder / SEAL).read_text(encoding="utf-8") != found:
        _write(folder / SEAL, found)


def _ready(name: str, text: str) -> Path:
    """The folder of a text, sound, or new where it was not."""
    folder = place() / name
    if _sound(folder, name, text):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder.parent))
    _write(fresh / f"{name}.py", text)
    try:
        if folder.exists():
            shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    except OSError:  # another process was first
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _sound(folder: Path, name: str, text: str) -> bool:
    try:
        written = (folder / f"{name}.py").read_text(encoding="utf-8")
        sealed = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        return written == text and sealed == _hashes(folder) and folder.stat().st_uid == os.getuid()
    except (OSError, ValueError):
        return False


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in (".nbi", ".nbc"))
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def _write(path: Path, text: str) -> None:
    """All or nothing."""
    handle, fresh = tempfile.mkstemp(dir=path.parent, prefix=".")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(fresh, path)
