"""Why a process ended, as far as its exit status and the kernel's counts say."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from bioplaus.runs.asked import FROM_OUTSIDE

GO_ON = "Give the same command (run the script) again to go on."


def interruption(text: str) -> KeyboardInterrupt:
    """A `KeyboardInterrupt` whose text a script shows that does not catch it: Brian2 has it end without a word."""
    if str(getattr(sys.excepthook, "__module__", "")).startswith("brian2."):
        sys.excepthook = sys.__excepthook__
    return KeyboardInterrupt(text)


def saved(number: int) -> int:
    """Exit status of a worker that a signal asked to go, and that had saved."""
    return 128 + number


def asked_to_go(status: int | None) -> int | None:
    """The signal by which somebody asked a worker with this exit status to go, whether it could save or not; None if nobody did."""
    return next((number for number in FROM_OUTSIDE if status in (-number, saved(number))), None)


def killed_for_memory() -> int | None:
    """How many processes the Linux kernel says that it killed for want of memory; None where it does not say."""
    counts = [count for file in _counters() if (count := _count(file)) is not None]
    return sum(counts) if counts else None


def _counters() -> list[Path]:
    """Files that count such kills: those of this process's control groups (version 2 and 1), and that of the whole machine."""
    files = [Path("/proc/vmstat")]
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return files
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            root = Path("/sys/fs/cgroup", controllers)
            own = root / path.lstrip("/")
            name = "memory.oom_control" if controllers else "memory.events"
            files += [folder / name for folder in (own, *own.parents) if folder.is_relative_to(root)]
    return files


def _count(file: Path) -> int | None:
    try:
        found = re.search(r"^oom_kill (\d+)$", file.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None


def why(status: int | None, before: int | None) -> str:
    """In words, after "A worker process died: it ".

    Parameters
    ----------
    status : int or None
        As `multiprocessing.Process.exitcode` has it.
    before : int or None
        What `killed_for_memory` said before.
    """
    if status is None:
        return "does not answer any more"
    number = asked_to_go(status) or -status
    if number <= 0:
        return f"left with exit status {status}, which something in the task or the circuit asked for"
    name = _name(number)
    if number == signal.SIGKILL:
        now = killed_for_memory()
        if before is None or now is None:
            return f"was killed ({name}); whether for want of memory can't be told on this machine"
        if now > before:
            return f"was killed by the kernel ({name}) for want of memory; give fewer workers or a smaller batch"
        return f"was killed from outside ({name}); the kernel reports no want of memory"
    if name in ("SIGTERM", "SIGINT", "SIGHUP"):
        return f"was told from outside to end ({name})"
    return f"crashed ({name}) in compiled code"


def interrupted(signals: Sequence[int]) -> str:
    """In words, what the signals that asked workers to stop have left, and how it goes on."""
    first = _name(signals[0])
    kept = "what was computed is saved"
    if len(signals) > 1:
        kept = f"after a second {_name(signals[-1])} the workers were ended at once, and what they had saved before is as it was"
    return f"interrupted by {first}: {kept}. {GO_ON}"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
