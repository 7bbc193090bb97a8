"""Generated text as a compiled function: kept in the user's cache folder, and only run if it is what would be written now.

numba keeps machine code beside a module that can be imported by name. So every text has a folder of its own, called by the hash of text,
dtype, versions and processor, with a seal: the hashes of what the compiler left there. Where text or seal do not fit, it is compiled
anew. That guards against damage; who may write into the user's cache folder may write a seal, too, and folders of other users are not
read. A process compiles in a folder that only it knows, and puts it in its place when it is whole; so of several that compile the same,
one folder stays, and none sees half a one.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
import time
import types
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

#: names the folder where compiled loops are kept; else it lies below the user's cache folder
PLACE = "BIOPLAUS_KERNELS"
SEAL = "seal.json"
#: seconds after which what a process that was killed has left is thrown away  # chosen: no compilation takes so long
STRAY = 86_400
#: how long a compilation takes, in words  # measured: 1 to 5 s each, of which a circuit has two to four; more where processors are busy
LENGTH = "5 to 30 s"


def place() -> Path:
    """The folder of compiled loops."""
    if given := os.environ.get(PLACE):
        return Path(os.path.expanduser(given))
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "bioplaus" / "kernels"


def name_of(text: str) -> str:
    """What a text's module is called: a hash of it and of all that its machine code depends on."""
    import llvmlite
    import numba
    import numpy as np

    versions = (numba.__version__, llvmlite.__version__, np.__version__, platform.python_version(), _processor())
    return "loops_" + hashlib.sha256("\n".join((*versions, text)).encode()).hexdigest()[:24]


@lru_cache(maxsize=1)
def _processor() -> str:
    from llvmlite import binding

    return f"{binding.get_host_cpu_name()} {sorted(binding.get_host_cpu_features().items())}"


@lru_cache(maxsize=256)
def function(text: str, name: str, dtype: str) -> Callable[..., Any]:
    """A function that a text defines, for arrays of one dtype; announced, where it has to be compiled."""
    text = f"# {dtype}\n{text}"
    called = name_of(text)
    folder = place() / called
    if sound(folder, called, text):
        return _alone(getattr(_module(called, folder, text), name))
    _announce()
    fresh = _fresh(called, text)
    made = getattr(_module(called, fresh, text), name)

    def first(*given: Any) -> Any:
        nonlocal kept
        began = time.perf_counter()
        answer = made(*given)
        if not kept:
            kept = True
            _SPENT[0] += time.perf_counter() - began
            _keep(fresh, folder, called, text)
            _alone(made)
            shutil.rmtree(fresh, ignore_errors=True)
        return answer

    kept = False
    return first


#: seconds that this process has spent compiling
_SPENT = [0.0]


def spent() -> float:
    """Seconds that this process has spent compiling, or waiting for what was first called."""
    return _SPENT[0]


def _alone(made: Any) -> Any:
    """A function that writes no more beside its text, where a seal is of what stands there: other kinds of arrays are compiled for this process."""
    made._cache.save_overload = lambda *given: None
    return made


@lru_cache(maxsize=1)
def _announce() -> None:
    """Once in a process."""
    sys.stderr.write(f"bioplaus compiles the loops of this circuit: {LENGTH}, once on this machine.\n")
    sys.stderr.flush()


def sound(folder: Path, called: str, text: str) -> bool:
    """Whether a folder holds what this text compiles to, as the compiler left it."""
    try:
        written = (folder / f"{called}.py").read_text(encoding="utf-8")
        sealed = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        mine = not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
        return mine and written == text and bool(sealed) and sealed == _hashes(folder)
    except (OSError, ValueError):
        return False


def _module(called: str, folder: Path, text: str) -> Any:
    """The text that was compared, run; not what Python may have kept of some file."""
    made = types.ModuleType(called)
    made.__file__ = str(folder / f"{called}.py")
    sys.modules[called] = made  # numba looks it up by name
    exec(compile(text, made.__file__, "exec"), made.__dict__)
    return made


def _fresh(called: str, text: str) -> Path:
    """A folder of this process alone; in the temporary folder, where nothing can be written below the user's."""
    try:
        place().mkdir(parents=True, exist_ok=True, mode=0o700)
        _sweep()
        made = Path(tempfile.mkdtemp(prefix=f".{called}.", dir=place()))
    except OSError:
        made = Path(tempfile.mkdtemp(prefix=f"{called}."))
    (made / f"{called}.py").write_text(text, encoding="utf-8")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def _keep(fresh: Path, folder: Path, called: str, text: str) -> None:
    """Put what was compiled in its place, unless another process has done so."""
    try:
        (fresh / SEAL).write_text(json.dumps(_hashes(fresh), indent=1, sort_keys=True), encoding="utf-8")
        if not sound(folder, called, text):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(fresh, whole := fresh.with_name(fresh.name + ".whole"))
            whole.rename(folder)
    except OSError:  # it is compiled again next time
        shutil.rmtree(fresh.with_name(fresh.name + ".whole"), ignore_errors=True)


def _sweep() -> None:
    """Throw away what killed processes have left."""
    for left in place().glob(".loops_*"):
        try:
            if time.time() - left.stat().st_mtime > STRAY:
                shutil.rmtree(left, ignore_errors=True)
        except OSError:
            continue


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".nbi", ".nbc"))
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
