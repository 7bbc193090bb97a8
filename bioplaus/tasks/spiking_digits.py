"""See a handwritten digit in spikes, and name it when it is gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bioplaus import checks
from bioplaus.tasks.base import CHUNK, Batch, Split, Task, asked, options
from bioplaus.tasks.batch import recut
from bioplaus.tasks.decision import right
from bioplaus.tasks.images import SIDE, SPLITS, Images, parted, refuse_split
from bioplaus.tasks.losses import cross_entropy
from bioplaus.tasks.spikes import at_most_one, steps_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SpikingDigits(Task):
    """One image of a digit in spikes, an input a pixel, then nothing while its name is asked for.

    With p in [0, 1] the brightness of a pixel, in each step of length dt while the image is shown, for n steps:

    ===========  ==============================================================================
    code         spikes of an input
    ===========  ==============================================================================
    ``poisson``  in every step one with probability p · `rate` · dt
    ``latency``  a single one, in step ⌊(1 − p)(n − 1) + ½⌋: the brighter the sooner; none where p = 0
    ===========  ==============================================================================

    Inputs (time, batch, side²) are the pixels row by row; targets (time, batch) are the digit; the loss is the mean cross-entropy of
    ten classes over the answer epoch, each of its steps with weight 1/steps. The score is the fraction of trials in which the output
    that is largest on average over that epoch is the right one. The context of a trial is its label, one-hot.

    Training trials are drawn with replacement; the test set is every test image once, in a fixed order, with spikes that are always the same. `trials` tells of each trial
    ``answer``; ``image``, its number in its part of the data; ``epoch_shown``, ``epoch_answer``.

    Parameters
    ----------
    code : ``"poisson"`` or ``"latency"``
    data : ``"digits"`` or ``"mnist"``
        The 8×8 digits of scikit-learn, or MNIST, as of `bioplaus.tasks.sequential_digits.SequentialDigits`.
    split : ``"standard"`` or ``"t10k"``
        How it is parted, as there.
    rate : float or quantity
        Of the brightest pixels under the Poisson code (200 Hz); under the other it says nothing.
    shown, answer : float or quantity
        For how long the image is there (50 ms), and how long its name is asked for behind it (20 ms).
    dt : float or quantity
        Length of a step (1 ms), of which they are multiples.

    Raises
    ------
    TaskError
        For a value that makes no sense.
    DataError
        If the data set is missing and can't be downloaded, or is not what it should be.

    References
    ----------
    Alpaydin, Kaynak 1998, doi:10.24432/C50P49 (8×8). LeCun et al. 1998, doi:10.1109/5.726791 (MNIST). The earlier spike of the stronger
    stimulus: Thorpe, Delorme, Van Rullen 2001, Neural Networks 14:715, doi:10.1016/S0893-6080(01)00083-1.

    Examples
    --------
    >>> import torch
    >>> digits = SpikingDigits(code="latency")
    >>> batch = digits.batch(torch.Generator().manual_seed(0), size=5)
    >>> batch.inputs.shape, float(batch.inputs.sum(0).max())
    (torch.Size([70, 5, 64]), 1.0)
    """

    code: str = "poisson"
    data: str = "digits"
    split: str = "standard"
    rate: float = 200.0  # chosen, like the times: some five spikes of a bright pixel
    shown: float = 0.05
    answer: float = 0.02
    dt: float = 1e-3  # type: ignore[assignment]  # other tasks may have none
    inputs: int = field(init=False, repr=False)
    steps: int = field(init=False, repr=False)

    outputs = 10
    loss = cross_entropy

    constraints = options(
        code=checks.Word(("poisson", "latency")),
        data=checks.Word(SIDE),
        split=checks.Word(SPLITS["mnist"]),
        rate=checks.Amount("Hz", "200*Hz"),
        shown=checks.Amount("s", "50*ms"),
        answer=checks.Amount("s", "20*ms"),
        dt=checks.Amount("s", "1*ms"),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        refuse_split(self)
        at_most_one(self, "rate")
        object.__setattr__(self, "inputs", SIDE[self.data] ** 2)
        object.__setattr__(self, "steps", steps_of(self, "shown") + steps_of(self, "answer"))
        super().__post_init__()
        self.images("train")  # a missing data set is refused now, not at the first update

    def images(self, split: Split) -> Images:
        """All images of a split."""
        asked(self, 1, split)
        return parted(self, split)

    def score(self, outputs: Tensor, batch: Batch) -> float:
        return right(outputs, batch)

    def batch(self, generator: torch.Generator, size: int, split: Split = "train") -> Batch:
        size = asked(self, size)
        images = self.images(split)
        return self._trials(images, torch.randint(len(images.labels), (size,), generator=generator), generator)

    def test_batches(self, size: int) -> Iterator[Batch]:
        size = asked(self, size)
        images, generator = self.images("test"), torch.Generator().manual_seed(self.test_seed)
        every = torch.arange(len(images.labels)).split(CHUNK)
        yield from recut((self._trials(images, which, generator) for which in every), size)

    def _trials(self, images: Images, which: Tensor, generator: torch.Generator) -> Batch:
        pixels, labels = (each[which] for each in images.tensors)
        bright = pixels.flatten(1).float() / images.brightest
        shown = steps_of(self, "shown")
        inputs = torch.zeros(self.steps, *bright.shape)
        if self.code == "poisson":
            drawn = torch.rand(shown, *bright.shape, generator=generator)
            inputs[:shown] = (drawn < bright * (self.rate * self.dt)).float()
        else:
            when = ((1 - bright) * (shown - 1) + 0.5).floor().long()
            inputs.scatter_(0, when[None], (bright > 0).float()[None])
        weight = torch.zeros(self.steps, len(which))
        weight[shown:] = 1 / (self.steps - shown)
        ranges = {"epoch_shown": (0, shown), "epoch_answer": (shown, self.steps)}
        known = {"answer": labels, "image": which} | {n: np.array([r] * len(which)) for n, r in ranges.items()}
        told = torch.nn.functional.one_hot(labels, self.outputs).float()
        return Batch(inputs, labels.repeat(self.steps, 1), weight, told, known)

    def describe(self) -> dict[str, Any]:
        described = super().describe()
        for split in ("train", "test"):
            images = self.images(split)
            described |= {f"{split}_images": len(images.labels), f"{split}_sha256": images.sha256}
        return described
