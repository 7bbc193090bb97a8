"""A pattern flashed at the first step, and its name asked for when it has come up a hierarchy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from bioplaus import checks
from bioplaus.errors import TaskError
from bioplaus.tasks.base import Batch, options
from bioplaus.tasks.each import EachCrossEntropy
from bioplaus.tasks.images import SIDE, SPLITS, Images, refuse_split
from bioplaus.tasks.labelled import Labelled
from bioplaus.tasks.losses import cross_entropy

if TYPE_CHECKING:
    from torch import Tensor


CLASSES = 10


@dataclass(frozen=True)
class Volley(Labelled):
    """A whole image of a digit at once, pixels in [0, 1], at the first step; cross-entropy of ten classes at the last.

    In the circuit ``hierarchy`` activity goes up one area a step, as a volley does: an image that is flashed at step 1 is in area L at step
    L, where the answer is asked for, and what a multilayer network does between its layers the circuit does in time. The images and their
    splits are those of ``sequential_digits``; training trials are drawn with replacement, the test set is every test image once. The context of a
    trial is its label, one-hot.

    Parameters
    ----------
    steps : int
        L, the areas that are to be crossed.
    shown : int
        Steps for which the image stays, for cells that need it longer, such as spiking ones; one is a flash. A predictor that sees an
        area held on the same input averages over steps that reach the loss and steps that do not.
    readouts : ``"top"`` or ``"each"``
        Whether one area answers, at the last step, or each of as many as there are steps, at the step at which the image is there: outputs and
        targets are then one part after the other, with the loss `bioplaus.tasks.each.EachCrossEntropy`, and the score is that of the last.
    data : ``"digits"`` or ``"mnist"``
    split : ``"standard"`` or ``"t10k"``
        As of ``sequential_digits``: MNIST's test part alone is ``data="mnist", split="t10k"``.

    Raises
    ------
    TaskError
        For any other value, or an image that is shown for more steps than there are.
    DataError
        If the data set is missing and can't be downloaded, or is not what it should be.

    References
    ----------
    Alpaydin, Kaynak 1998, doi:10.24432/C50P49 (8×8). LeCun et al. 1998, doi:10.1109/5.726791 (MNIST).

    Examples
    --------
    >>> import torch
    >>> batch = Volley(steps=3).batch(torch.Generator().manual_seed(0), size=5)
    >>> batch.inputs.shape, batch.inputs.any(-1)[:, 0].tolist(), batch.weight[:, 0].tolist()
    (torch.Size([3, 5, 64]), [True, False, False], [0.0, 0.0, 1.0])
    """

    steps: int = 3
    shown: int = 1
    readouts: str = "top"
    data: str = "digits"
    split: str = "standard"
    inputs: int = field(init=False)

    outputs = 10
    loss = cross_entropy

    constraints = options(
        steps=checks.Whole(),
        shown=checks.Whole(),
        readouts=checks.Word(("top", "each")),
        data=checks.Word(SIDE),
        split=checks.Word(SPLITS["mnist"]),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        refuse_split(self)
        if self.shown > self.steps:
            raise TaskError(
                f"The task '{self.name}' was given shown={self.shown}, and a trial has steps={self.steps}: show an image for as many at most."
            )
        object.__setattr__(self, "inputs", SIDE[self.data] ** 2)
        if self.readouts == "each":
            object.__setattr__(self, "outputs", CLASSES * self.steps)
            object.__setattr__(self, "loss", EachCrossEntropy(self.steps))
        super().__post_init__()
        self.images("train")  # a missing data set is refused now, not at the first update

    def _trials(self, images: Images, which: Tensor) -> Batch:
        pixels, labels = (each[which] for each in images.tensors)
        inputs = torch.zeros(self.steps, len(which), self.inputs)
        inputs[: self.shown] = pixels.flatten(1).float() / images.brightest
        weight = torch.zeros(self.steps, len(which))
        weight[-1] = 1.0
        label, known = torch.nn.functional.one_hot(labels, CLASSES).float(), {"answer": labels.numpy()}
        if self.readouts == "top":
            return Batch(inputs, labels.repeat(self.steps, 1), weight, label, known)
        each = torch.eye(self.steps)[:, None, :, None] * label[None, :, None]  # at step k part k is asked
        return Batch(inputs, each.flatten(2), torch.ones_like(weight), label, known)
