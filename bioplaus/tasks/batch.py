"""Trials that run side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bioplaus import checks
from bioplaus.errors import TaskError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Batch:
    """Trials that run side by side.

    Arrays of NumPy, lists and sparse tensors become dense tensors. Whole numbers and truth values are inputs like any other: spikes may be given as such.

    Parameters
    ----------
    inputs : Tensor (time, batch, input)
        What the circuit is given at each step.
    targets : Tensor (time, batch, output); or (time, batch), whole numbers, for a loss on class indices
        What is asked. Steps of weight 0 hold any valid value.
    weight : Tensor (time, batch)
        Weight of each step in the loss; 0 where nothing is asked. The mean over the batch is not in it.
    context : Tensor (batch, context), optional
        What a predictor may be told about a trial besides the circuit's state, such as its label, one-hot.
    """

    inputs: Tensor
    targets: Tensor
    weight: Tensor
    context: Tensor | None = None

    def __init__(self, inputs: Any, targets: Any, weight: Any, context: Any = None) -> None:
        for name, value in {"inputs": inputs, "targets": targets, "weight": weight, "context": context}.items():
            object.__setattr__(self, name, _tensor(value))

    @property
    def steps(self) -> int:
        return self.inputs.shape[0]

    @property
    def size(self) -> int:
        return self.inputs.shape[1]

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> Batch:
        """The same batch on `device`, its numbers as `dtype`; targets that are whole numbers stay so, being class indices."""

        def move(name: str) -> Tensor | None:
            array = getattr(self, name)
            if array is None:
                return None
            return array.to(device=device, dtype=None if name == "targets" and not array.is_floating_point() else dtype)

        return replace(self, **{field.name: move(field.name) for field in fields(self)})

    def trials(self, first: int, stop: int | None = None) -> Batch:
        """Some of its trials, from ``first`` to before ``stop``."""
        some = slice(first, stop)
        context = None if self.context is None else self.context[some]
        return Batch(self.inputs[:, some], self.targets[:, some], self.weight[:, some], context)

    def __repr__(self) -> str:
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        shown = (
            f"{name} {tuple(array.shape) if isinstance(array, torch.Tensor) else type(array).__name__}"
            for name, array in arrays.items()
            if array is not None
        )
        return f"Batch({', '.join(shown)})"


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches of trials of one length side by side."""
    if len(batches) == 1:
        return batches[0]
    contexts = [batch.context for batch in batches if batch.context is not None]
    return Batch(
        torch.cat([batch.inputs for batch in batches], 1),
        torch.cat([batch.targets for batch in batches], 1),
        torch.cat([batch.weight for batch in batches], 1),
        torch.cat(contexts) if contexts else None,
    )


def _tensor(value: Any) -> Any:
    """The tensor in an array or a list of numbers; anything else as it is, for `bioplaus.tasks.check_batch` to tell of."""
    if isinstance(value, torch.Tensor):
        return value.to_dense() if value.layout != torch.strided else value
    if value is None:
        return value
    if unit := checks.dimensions(value):
        raise TaskError(
            f"An array of a batch carries a unit ({', '.join(unit)}); arrays of a batch are plain numbers, and weights turn inputs into currents: one unit of "
            "weight is what the cell's inputs={'I': …} says. Divide by a unit."
        )
    try:
        array = np.array(value)
    except ValueError:  # rows of different lengths
        return value
    if array.dtype.kind not in "biuf" or not array.ndim:
        return value
    return torch.from_numpy(array.astype(np.int64) if array.dtype.kind == "u" and array.dtype.itemsize > 1 else array)
