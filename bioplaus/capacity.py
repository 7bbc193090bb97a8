"""How much memory there is, and what cannot be held in it: asked before anything is allocated."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

GIB = 2**30


def memory(device: torch.device) -> int:
    """Bytes of memory on a device: all of it, or what this process's control groups leave it (Linux)."""
    if device.type == "cuda":
        import torch

        return torch.cuda.mem_get_info(device)[1]
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])


def _limits(groups: Path, mounted: Path) -> Iterator[int]:
    """What the control groups of this process (version 2 and 1), and those around them, allow."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" not in controllers.split(",") and controllers:
            continue
        root = mounted / "memory" if controllers else mounted
        own = root / path.lstrip("/")
        for folder in (own, *own.parents):
            file = folder / ("memory.limit_in_bytes" if controllers else "memory.max")
            if folder.is_relative_to(root) and file.is_file() and (text := file.read_text().strip()).isdigit():
                yield int(text)


def shown(count: float) -> str:
    """Bytes in words."""
    return f"{count / GIB:,.1f} GiB" if count > 0.1 * GIB else f"{count / 2**20:.1f} MiB"


def lacking(needs: Mapping[str, int], device: torch.device) -> str:
    """What cannot be held on a device, as a sentence; nothing if it can.

    Parameters
    ----------
    needs : what is held at the same time, in words → its bytes.
    """
    needed, there = sum(needs.values()), memory(device)
    if needed <= there:
        return ""
    largest = max(needs, key=lambda what: needs[what])
    most = f", most of it, {shown(needs[largest])}, for {largest}" if len(needs) > 1 else f" for {largest}"
    where = f"the memory of {device}" if device.type != "cpu" else "the memory here"
    return f"would take at least {shown(needed)}{most}, and {where} is {shown(there)}."


def exhausted(error: BaseException) -> bool:
    """Whether this is how Python, NumPy or torch say that memory is used up."""
    said = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in said or "out of memory" in said)
    )
