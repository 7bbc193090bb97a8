"""torch as bioplaus computes with it, whatever else a script has set: the same seed and configuration give the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

#: whether someone has said how many threads there are to be, around what is going on
_chosen = False

#: whether what is going on is inside already
_inside = False


@contextmanager
def ours() -> Iterator[None]:
    """Inside, and in a function that this decorates: torch as it comes, on one thread unless `threads_limited` says otherwise.

    New numbers are float32 on the CPU, products of matrices are not rounded to fewer digits, nothing is cast on its own. A sum split
    over several threads rounds differently. What a script has set holds again outside.
    """
    global _inside
    if _inside:
        yield
        return
    import torch

    dtype, precision = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    number = torch.get_num_threads()
    with ExitStack() as stack:
        stack.callback(partial(torch.set_default_dtype, dtype))
        stack.callback(partial(torch.set_float32_matmul_precision, precision))
        stack.callback(partial(torch.set_num_threads, number))
        _inside = True
        stack.callback(_leave)
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")
        if not _chosen:
            torch.set_num_threads(1)
        if torch.is_autocast_enabled("cpu"):
            stack.enter_context(torch.autocast("cpu", enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))  # makes every call slower, so only where it changes something
        yield


def _leave() -> None:
    global _inside
    _inside = False


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
    import torch

    try:
        torch.zeros(1, device=device).item()  # type: ignore[arg-type]  # there must be something to read back, which "meta" has not
    except (RuntimeError, AssertionError, TypeError) as error:
        known = str(device).partition(":")[0] in ("cpu", "cuda", "mps", "xpu")
        why = f" ({str(error).splitlines()[0]})" if known else ", being none of its devices"
        return f"device is {str(device)!r}, which torch cannot use here{why}. Use device='cpu', or 'cuda' where there is an NVIDIA GPU."
    return ""
