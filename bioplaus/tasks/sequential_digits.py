"""Read a handwritten digit row by row, and name it at the last row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from bioplaus import checks
from bioplaus.tasks.base import Batch, options
from bioplaus.tasks.images import SIDE, SPLITS, Images, refuse_split
from bioplaus.tasks.labelled import Labelled
from bioplaus.tasks.losses import cross_entropy

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SequentialDigits(Labelled):
    """Rows of a real digit image, one a step, pixels in [0, 1]; cross-entropy of ten classes at the last row.

    Training trials are drawn with replacement; the test set is every test image once, in a fixed order. The
    context of a trial is its label, one-hot.

    =========  ==========  =============================================================  ======  =======
    data       split       images                                                         train   test
    =========  ==========  =============================================================  ======  =======
    digits     standard    scikit-learn's 8×8 digits, stratified with a fixed seed        1,437   360
    mnist      standard    MNIST, 28×28, as published                                     60,000  10,000
    mnist      t10k        the 10,000 test images of MNIST, stratified with a fixed seed  8,000   2,000
    =========  ==========  =============================================================  ======  =======

    The writers of the 8×8 digits are not known, so the same hand may be in both of its parts.

    Parameters
    ----------
    data : ``"digits"`` or ``"mnist"``
        MNIST is read from ``$BIOPLAUS_DATA`` (the four idx files, there or in ``mnist/``), or else
        downloaded and its hash checked.
    split : ``"standard"`` or ``"t10k"``
        See the table.

    Raises
    ------
    TaskError
        For any other value.
    DataError
        If the data set is missing and can't be downloaded, or is not what it should be.

    References
    ----------
    Alpaydin, Kaynak 1998, doi:10.24432/C50P49 (8×8). LeCun et al. 1998, doi:10.1109/5.726791 (MNIST).

    Examples
    --------
    >>> import torch
    >>> digits = SequentialDigits()
    >>> batch = digits.batch(torch.Generator().manual_seed(0), size=5)
    >>> batch.inputs.shape, batch.targets.shape, batch.weight[:, 0].tolist()
    (torch.Size([8, 5, 8]), torch.Size([8, 5]), [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    """

    data: str = "digits"
    split: str = "standard"
    inputs: int = field(init=False)
    steps: int = field(init=False)

    outputs = 10
    loss = cross_entropy

    constraints = options(data=checks.Word(SIDE), split=checks.Word(SPLITS["mnist"]))

    def __post_init__(self) -> None:
        checks.settle(self)
        refuse_split(self)
        for name in ("inputs", "steps"):
            object.__setattr__(self, name, SIDE[self.data])
        super().__post_init__()
        self.images("train")  # a missing data set is refused now, not at the first update

    def _trials(self, images: Images, which: Tensor) -> Batch:
        pixels, labels = (each[which] for each in images.tensors)
        rows = pixels.transpose(0, 1).contiguous().float() / images.brightest
        weight = torch.zeros(self.steps, len(which))
        weight[-1] = 1.0
        return Batch(
            rows, labels.repeat(self.steps, 1), weight, torch.nn.functional.one_hot(labels, self.outputs).float()
        )
