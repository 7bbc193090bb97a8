"""Trials that run side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bioplaus import checks
from bioplaus.errors import TaskError, unknown

if TYPE_CHECKING:
    from torch import Tensor

EPOCH = "epoch_"
"""How names of trial information begin that are ranges of steps."""


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
    context : Tensor (batch, context) or (time, batch, context), optional
        What a predictor may be told besides the circuit's state: about a trial, such as its label, one-hot, or at each of its steps, beside the
        state behind that step.
    trials : mapping of str to array (batch, …), optional
        What is known of each trial and the circuit is not told, NumPy arrays of numbers, truth values or text: the right answer
        (``answer``), conditions, what was shown. A name that begins with ``epoch_`` is an epoch, whole numbers (batch, 2): its first
        step, and the one after its last; or (batch, n, 2), where it comes n times.

    Examples
    --------
    >>> x = np.zeros((10, 2, 1))
    >>> batch = Batch(x, x, np.ones((10, 2)), trials={"coherence": [0.1, -0.5], "epoch_delay": [[2, 6], [2, 9]]})
    >>> batch.during("delay").sum(0).tolist()
    [4, 7]
    """

    inputs: Tensor
    targets: Tensor
    weight: Tensor
    context: Tensor | None = None
    trials: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __init__(self, inputs: Any, targets: Any, weight: Any, context: Any = None, trials: Any = None) -> None:
        for name, value in {"inputs": inputs, "targets": targets, "weight": weight, "context": context}.items():
            object.__setattr__(self, name, _tensor(value))
        object.__setattr__(self, "trials", _information(trials))

    @property
    def steps(self) -> int:
        return self.inputs.shape[0]

    @property
    def size(self) -> int:
        return self.inputs.shape[1]

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> Batch:
        """The same batch on `device`, its numbers as `dtype`; targets that are whole numbers stay so, being class indices, and so does `trials`."""

        def move(name: str) -> Tensor | None:
            array = getattr(self, name)
            if array is None:
                return None
            return array.to(device=device, dtype=None if name == "targets" and not array.is_floating_point() else dtype)

        return replace(self, **{name: move(name) for name in _ARRAYS})

    def part(self, first: int, stop: int | None = None) -> Batch:
        """Some of its trials, from ``first`` to before ``stop``."""
        some = slice(first, stop)
        context = None if self.context is None else self.context[..., some, :]
        known = {name: array[some] for name, array in self.trials.items()}
        return Batch(self.inputs[:, some], self.targets[:, some], self.weight[:, some], context, known)

    @property
    def epochs(self) -> dict[str, np.ndarray]:
        """The epochs in `trials`, by name, (batch, 2) or (batch, n, 2): first step, and the one after the last."""
        return {name.removeprefix(EPOCH): array for name, array in self.trials.items() if name.startswith(EPOCH)}

    def during(self, epoch: str) -> np.ndarray:
        """Which steps of each trial are in an epoch: (time, batch), True or False.

        Raises
        ------
        TaskError
            If its trials have no epoch of that name.
        """
        if epoch not in self.epochs:
            raise TaskError(unknown("epoch of these trials", str(epoch), self.epochs))
        ranges = self.epochs[epoch].reshape(self.size, -1, 2)
        step = np.arange(self.steps)[:, None, None]
        return np.any((ranges[..., 0] <= step) & (step < ranges[..., 1]), axis=-1)

    def __repr__(self) -> str:
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        shown = [
            f"{name} {tuple(array.shape) if isinstance(array, torch.Tensor) else type(array).__name__}"
            for name, array in arrays.items()
            if array is not None
        ]
        known = [f"trials: {', '.join(map(str, self.trials))}"] if self.trials else []
        return f"Batch({', '.join(shown + known)})"


_ARRAYS = ("inputs", "targets", "weight", "context")


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches of trials of one length side by side."""
    if len(batches) == 1:
        return batches[0]
    contexts = [batch.context for batch in batches if batch.context is not None]
    shared = [name for name in batches[0].trials if all(name in batch.trials for batch in batches)]
    return Batch(
        torch.cat([batch.inputs for batch in batches], 1),
        torch.cat([batch.targets for batch in batches], 1),
        torch.cat([batch.weight for batch in batches], 1),
        torch.cat(contexts, -2) if contexts else None,
        {name: np.concatenate([batch.trials[name] for batch in batches]) for name in shared},
    )


def recut(batches: Iterable[Batch], size: int) -> Iterator[Batch]:
    """The same trials in batches of `size`, the last one smaller."""
    waiting: Batch | None = None
    for batch in batches:
        waiting = batch if waiting is None else joined([waiting, batch])
        while waiting.size >= size:
            yield waiting.part(0, size)
            waiting = waiting.part(size)
    if waiting is not None and waiting.size:
        yield waiting


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


def _information(given: Any) -> Any:
    """What is known of trials as NumPy arrays of one's own; what is none as it is, for `bioplaus.tasks.check_batch` to tell of."""
    if given is None:
        return {}
    return {name: _plain(name, value) for name, value in given.items()} if isinstance(given, Mapping) else given


def _plain(name: Any, value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy().copy()
    if unit := checks.dimensions(value):
        raise TaskError(
            f"'{name}' of the trials of a batch carries a unit ({', '.join(unit)}); what is known of trials is plain numbers, truth values or text. Divide by a unit."
        )
    try:
        return np.array(value)
    except ValueError:  # rows of different lengths
        return value
