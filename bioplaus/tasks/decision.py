"""What tasks share in which every trial ends with a choice between alternatives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bioplaus.tasks.batch import Batch

if TYPE_CHECKING:
    from torch import Tensor


def decided(outputs: Tensor, batch: Batch) -> Tensor:
    """The choice in each trial, (batch,): the output that is largest on average over the asked steps, each counting as its weight.

    Parameters
    ----------
    outputs : (time, batch, output)
    batch : the trials they belong to.

    Examples
    --------
    >>> import torch
    >>> outputs = torch.tensor([[[0.0, 3.0]], [[1.0, 0.0]]])  # two steps of one trial
    >>> batch = Batch(torch.zeros(2, 1, 1), torch.zeros(2, 1, dtype=torch.int64), torch.ones(2, 1))
    >>> decided(outputs, batch).tolist()
    [1]
    """
    return (outputs * batch.weight.to(outputs)[..., None]).sum(0).argmax(-1)


def right(outputs: Tensor, batch: Batch) -> float:
    """Fraction of trials in which `decided` is what is asked, of those in which anything is."""
    asked = batch.weight.any(0)
    wanted = batch.targets.gather(0, batch.weight.argmax(0)[None])[0]  # at the step that counts most
    return float((decided(outputs, batch) == wanted)[asked].double().mean())
