"""Where a run came from: versions, git state, machine, command. No host, user or network names, no folders of this machine."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bioplaus.content import impersonal

_PACKAGES = ("torch", "numpy", "brian2", "numba", "xarray", "scikit-learn")


def versions() -> dict[str, str]:
    """Versions of Python, bioplaus and what its numbers depend on, without importing any of it."""
    import bioplaus

    found = {"python": platform.python_version(), "bioplaus": bioplaus.__version__}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def changed(sittings: Sequence[Mapping[str, Any]]) -> str:
    """What changed between the versions of consecutive sittings of a run, in words; nothing if nothing did."""
    found = []
    for name in dict.fromkeys(name for versions in sittings for name in versions):
        values = [str(versions.get(name, "missing")) for versions in sittings]
        ways = [value for i, value in enumerate(values) if not i or value != values[i - 1]]
        if len(ways) > 1:
            found.append(f"{name if name != 'format' else 'format of the folder'} {', then '.join(ways)}")
    if not found:
        return ""
    return (
        f"The versions changed while this run was computed: {'; '.join(found)}. Its numbers may differ in the last digits from those of a run in one "
        "go. Where that matters, go on with the versions it was begun with, or move its folder away and compute it anew."
    )


def git() -> dict[str, dict[str, Any]]:
    """Commit and cleanliness of the checkout one works in, and of bioplaus's own where it is run from one."""
    package = Path(__file__).parents[2]
    states = {"working_directory": _git(Path.cwd())}
    if (package / ".git").exists():
        states["bioplaus"] = _git(package)
    return {name: state for name, state in states.items() if state}


def _git(folder: Path) -> dict[str, Any] | None:
    def ask(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    if not commit:
        return None
    changed = ask("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "changed_files": len(changed.splitlines()) if changed is not None else None}


def machine(device: str = "cpu") -> dict[str, Any]:
    """Processor, cores, system and, for a run on one, the accelerator."""
    found: dict[str, Any] = {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "system": platform.system(),
    }
    if device.startswith("cuda"):
        import torch

        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def command() -> str:
    """The command line that is running, as one would type it again in this folder."""
    if not sys.argv or not sys.argv[0] or sys.argv[0] == "-c":
        return "python"
    program = Path(sys.argv[0])
    name = "bioplaus" if program.stem == "bioplaus" or program.parent.name == "cli" else f"python {program.name}"
    return impersonal(" ".join([name, *map(shlex.quote, sys.argv[1:])]))
