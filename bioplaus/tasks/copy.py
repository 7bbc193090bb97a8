"""Give back a sequence of random binary vectors (Graves et al. 2014; Jaderberg et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from bioplaus import checks
from bioplaus.tasks.base import Batch, Split, Task, asked, options
from bioplaus.tasks.losses import binary_cross_entropy


@dataclass(frozen=True)
class Copy(Task):
    """N random binary vectors between a start flag and a recall flag; then the same vectors are to come out.

    =============  =====================================  =======================
    step           input                                  target
    =============  =====================================  =======================
    0              start flag                             not asked
    1 … N          the vectors, one a step                not asked
    N+1            recall flag                            not asked
    N+2 … 2N+1     zeros                                  the vectors, one a step
    =============  =====================================  =======================

    Inputs (time, batch, bits + 2) are the bits, the start flag and the recall flag; targets (time, batch, bits).
    Asked steps have weight 1/bits: the loss adds up over the steps the mean binary cross-entropy of the bits. The
    score is bits per output and asked step: 1 for who remembers nothing, 0 at best.

    Parameters
    ----------
    length : int
        N, vectors to be remembered.
    bits : int
        Length of a vector (8 are published).

    Raises
    ------
    TaskError
        For a value that makes no sense.

    References
    ----------
    Graves, Wayne, Danihelka. Neural Turing machines. 2014, arXiv:1410.5401. Jaderberg et al. Decoupled neural
    interfaces using synthetic gradients. ICML 2017, arXiv:1608.05343.

    Examples
    --------
    >>> import torch
    >>> copy = Copy(length=3)
    >>> batch = copy.batch(torch.Generator().manual_seed(0), size=4)
    >>> batch.inputs.shape, batch.targets.shape, torch.equal(batch.inputs[1:4, :, :8], batch.targets[5:])
    (torch.Size([8, 4, 10]), torch.Size([8, 4, 8]), True)
    """

    length: int = 5  # chosen
    bits: int = 8
    inputs: int = field(init=False, repr=False)
    outputs: int = field(init=False, repr=False)
    steps: int = field(init=False, repr=False)

    loss = binary_cross_entropy

    constraints = options(length=checks.Whole(), bits=checks.Whole())

    def __post_init__(self) -> None:
        checks.settle(self)
        settled = {
            "inputs": self.bits + 2,
            "outputs": self.bits,
            "steps": 2 * self.length + 2,
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)
        super().__post_init__()

    def batch(self, generator: torch.Generator, size: int, split: Split = "train") -> Batch:
        size = asked(self, size, split)
        vectors = torch.randint(2, (self.length, size, self.bits), generator=generator).float()
        recall = self.length + 1
        inputs = torch.zeros(self.steps, size, self.inputs)
        inputs[0, :, self.bits] = 1.0
        inputs[1:recall, :, : self.bits] = vectors
        inputs[recall, :, self.bits + 1] = 1.0
        targets = torch.zeros(self.steps, size, self.outputs)
        targets[recall + 1 :] = vectors
        weight = torch.zeros(self.steps, size)
        weight[recall + 1 :] = 1 / self.outputs
        return Batch(inputs, targets, weight)
