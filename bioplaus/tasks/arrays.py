"""Checks of the arrays of a batch: what is wrong is refused in one paragraph naming array and place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from bioplaus.errors import TaskError

if TYPE_CHECKING:
    from torch import Tensor


def array_of(owner: str, name: str, array: Any, order: str, shape: tuple[Any, ...], whole: bool) -> Tensor:
    """An array as floating-point numbers, or as class indices (``whole``), if it is one of this shape.

    Parameters
    ----------
    owner : whose batch it is, as the beginning of a sentence: ``"The task 'add' returned a batch in which"``.
    order, shape : names and lengths of its dimensions.

    Raises
    ------
    TaskError
        For another type or shape, or a number that is not finite.
    """
    where = f"{owner} the array '{name}'"
    kind = "class indices (torch.int64)" if whole else "floating-point numbers (torch.float32)"
    wanted = f"a torch tensor {order} = ({', '.join(map(str, shape))}) of {kind} is expected"
    if not isinstance(array, torch.Tensor):
        raise TaskError(f"{where} is of type {type(array).__name__}, where {wanted}.")
    if array.is_complex() or (whole and (array.is_floating_point() or array.dtype == torch.bool)):
        raise TaskError(f"{where} holds {array.dtype}, where {wanted}.")
    if tuple(array.shape) != shape:
        raise TaskError(f"{where} has shape {tuple(array.shape)}, where {wanted}.")
    if whole:
        return array.long()
    if not array.is_floating_point():
        return array.to(torch.float32)
    if not bool(torch.isfinite(array.sum())):  # faster than to look at each; they are looked at if it may be
        values_of(owner, name, array, ~torch.isfinite(array), "a finite number")
    return array


def values_of(owner: str, name: str, array: Tensor, wrong: Tensor, wanted: str, says: str = "holds") -> None:
    """Refuse an array with a wrong value, naming the first place."""
    count = int(wrong.sum())
    if not count:
        return
    place = tuple(int(i) for i in wrong.nonzero()[0])
    axes = {("context", 2): ("sample", "entry"), ("context", 3): ("step", "sample", "entry")}.get(
        (name, array.dim()), ("step", "sample", "unit")
    )
    spot = ", ".join(f"{axis} {i}" for axis, i in zip(axes, place, strict=False))
    more = f" (and at {count - 1} more of its {array.numel()} places)" if count > 1 else ""
    everywhere = ", also where the weight is 0" if name == "targets" else ""
    look = " Look at what the task's batch() computes there." if "task" in owner else ""
    raise TaskError(
        f"{owner} the array '{name}' {says} {array[place].item()} at {spot}{more}, where {wanted} is expected{everywhere}.{look}"
    )
