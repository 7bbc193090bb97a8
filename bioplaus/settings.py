"""torch as bioplaus computes with it, whatever else a script has set: the same seed and configuration give the same numbers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

#: whether someone has said how many threads there are to be, around what is going on
_chosen = False

#: per thread, whether what is going on is inside already; how many threads are; and what to put back when the last one leaves
_here, _threads_inside = threading.local(), 0
_before: tuple[Any, Any, Any] = (None, None, None)
_gate = threading.Lock()


@contextmanager
def ours() -> Iterator[None]:
    """Inside, and in a function that this decorates: torch as it comes, on one thread unless `threads_limited` says otherwise.

    New numbers are float32 on the CPU, products of matrices are not rounded to fewer digits, nothing is cast on its own. A sum split
    over several threads rounds differently. What a script has set holds again outside.
    """
    if getattr(_here, "inside", False):
        yield
        return
    import torch

    with ExitStack() as stack:
        _enter()
        stack.callback(_leave)
        if torch.is_autocast_enabled("cpu"):
            stack.enter_context(torch.autocast("cpu", enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))  # makes every call slower, so only where it changes something
        yield


def _enter() -> None:
    """Default type, precision and threads are the process's: the first thread to come sets them."""
    global _threads_inside, _before
    import torch

    with _gate:
        if not _threads_inside:
            _before = (torch.get_default_dtype(), torch.get_float32_matmul_precision(), torch.get_num_threads())
            torch.set_default_dtype(torch.float32)
            torch.set_float32_matmul_precision("highest")
            if not _chosen:
                torch.set_num_threads(1)
        _threads_inside += 1
    _here.inside = True


def _leave() -> None:
    """The last one to go puts them back."""
    global _threads_inside
    import torch

    _here.inside = False
    with _gate:
        _threads_inside -= 1
        if not _threads_inside:
            dtype, precision, number = _before
            torch.set_default_dtype(dtype)
            torch.set_float32_matmul_precision(precision)
            torch.set_num_threads(number)


@contextmanager
def threads_limited(number: int | None) -> Iterator[None]:
    """Inside, so many torch threads; None: as many as the script has set."""
    global _chosen
    import torch

    before, chosen = torch.get_num_threads(), _chosen
    _chosen = True
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        _chosen = chosen
        torch.set_num_threads(before)


def unusable(device: object) -> str:
    """Why torch cannot compute on a device here, as a sentence with what to do; nothing if it can."""
    if str(device) == "cpu":  # it always can, and is not loaded to say so
        return ""
    import torch

    try:
        torch.zeros(1, device=device).item()  # type: ignore[arg-type]  # there must be something to read back, which "meta" has not
    except (RuntimeError, AssertionError, TypeError) as error:
        known = str(device).partition(":")[0] in ("cpu", "cuda", "mps", "xpu")
        why = f" ({str(error).splitlines()[0]})" if known else ", being none of its devices"
        return f"device is {str(device)!r}, which torch cannot use here{why}. Use device='cpu', or 'cuda' where there is an NVIDIA GPU."
    return ""
