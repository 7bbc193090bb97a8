"""One pattern after the other, each named when it has come up a hierarchy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from bioplaus import checks
from bioplaus.errors import TaskError
from bioplaus.tasks.base import Batch, Split, asked, options
from bioplaus.tasks.images import SIDE, SPLITS, Images, refuse_split
from bioplaus.tasks.labelled import Labelled
from bioplaus.tasks.losses import cross_entropy

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Stream(Labelled):
    """Another image of a digit at every step, pixels in [0, 1]; at every step the class is asked of the one ``lag`` steps before.

    ``volley`` as a pipeline: while an image is in area 3 of a ``hierarchy`` the next one is in area 2, and the one after it in area 1, so that no
    area ever waits. The circuit keeps nothing of the image before, and must not. The first ``lag`` steps ask nothing, each of the others weighs
    1/(steps − lag), so that the loss is their mean.

    What a predictor is told at a step, (time, batch, (lag + 1)·10), are the labels of what is on its way, one-hot: first that of this step's image,
    which is in area 1, then that of the step before, which is in area 2, …, at last that of the image that is asked for. Where there is none
    yet, zeros. Images are drawn with replacement for training; in the test set every test image is asked for once.

    Parameters
    ----------
    steps : int
        Of a trial.
    lag : int
        Steps from an image to its answer; one less than there are areas to cross.
    data : ``"digits"`` or ``"mnist"``
    split : ``"standard"`` or ``"t10k"``
        As of ``sequential_digits``.

    Raises
    ------
    TaskError
        For any other value, or a lag that leaves no step to ask at.
    DataError
        If the data set is missing and can't be downloaded, or is not what it should be.

    References
    ----------
    Alpaydin, Kaynak 1998, doi:10.24432/C50P49 (8×8). LeCun et al. 1998, doi:10.1109/5.726791 (MNIST).

    Examples
    --------
    >>> import torch
    >>> batch = Stream(steps=6, lag=2).batch(torch.Generator().manual_seed(0), size=5)
    >>> batch.inputs.shape, batch.context.shape, batch.weight[:, 0].tolist()
    (torch.Size([6, 5, 64]), torch.Size([6, 5, 30]), [0.0, 0.0, 0.25, 0.25, 0.25, 0.25])
    >>> bool((batch.context[2:, :, 20:].argmax(-1) == batch.targets[2:]).all())
    True
    """

    steps: int = 10
    lag: int = 2
    data: str = "digits"
    split: str = "standard"
    inputs: int = field(init=False)

    outputs = 10
    loss = cross_entropy

    constraints = options(
        steps=checks.Whole(),
        lag=checks.Whole(0),
        data=checks.Word(SIDE),
        split=checks.Word(SPLITS["mnist"]),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        refuse_split(self)
        if self.lag >= self.steps:
            raise TaskError(
                f"The task '{self.name}' was given lag={self.lag}, and a trial has steps={self.steps}: the first step that asks anything is number {self.lag + 1}. "
                "Give more steps."
            )
        object.__setattr__(self, "inputs", SIDE[self.data] ** 2)
        super().__post_init__()
        self.images("train")  # a missing data set is refused now, not at the first update

    def batch(self, generator: torch.Generator, size: int, split: Split = "train") -> Batch:
        size = asked(self, size)
        images = self.images(split)
        return self._trials(images, torch.randint(len(images.labels), (self.steps, size), generator=generator))

    def test_batches(self, size: int) -> Iterator[Batch]:
        size = asked(self, size)
        images = self.images("test")
        answers = self.steps - self.lag
        count = len(images.labels)
        trials = -(-count // answers)
        order = torch.arange(trials)[None] * answers + torch.arange(self.steps)[:, None]  # (time, trial)
        for some in order.split(size, 1):
            batch = self._trials(images, some % count)
            batch.weight[some - self.lag >= count] = 0.0  # images that come twice, to fill the last trial
            yield batch

    def _trials(self, images: Images, which: Tensor) -> Batch:
        """Trials of images by number, (time, batch): what is shown at a step is answered ``lag`` steps later."""
        pixels, labels = (each[which] for each in images.tensors)
        shown = torch.nn.functional.one_hot(labels, self.outputs).float()
        told, targets = torch.zeros(*which.shape, self.lag + 1, self.outputs), torch.zeros_like(labels)
        for late in range(self.lag + 1):
            told[late:, :, late] = shown[: self.steps - late]
        targets[self.lag :] = labels[: self.steps - self.lag]
        weight = torch.zeros(which.shape)
        weight[self.lag :] = 1 / (self.steps - self.lag)
        return Batch(pixels.flatten(2).float() / images.brightest, targets, weight, told.flatten(2))
