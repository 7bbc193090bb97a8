"""Read a handwritten digit row by row, and meanwhile draw a line whose direction says which it is, or the digit itself (Boven et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import pi
from typing import TYPE_CHECKING

import torch

from bioplaus import checks
from bioplaus.tasks.base import Batch, options
from bioplaus.tasks.images import SIDE, SPLITS, Images
from bioplaus.tasks.losses import cross_entropy, squared
from bioplaus.tasks.sequential_digits import SequentialDigits

if TYPE_CHECKING:
    from torch import Tensor

#: corners that the pen passes for each digit, of a box from (−½, −1) to (½, 1), as on a display of seven segments  # chosen: theirs are not described
CORNERS = (
    ((-1, 2), (1, 2), (1, -2), (-1, -2), (-1, 2)),
    ((0, 2), (0, -2)),
    ((-1, 2), (1, 2), (1, 0), (-1, 0), (-1, -2), (1, -2)),
    ((-1, 2), (1, 2), (1, 0), (-1, 0), (1, 0), (1, -2), (-1, -2)),
    ((-1, 2), (-1, 0), (1, 0), (1, 2), (1, -2)),
    ((1, 2), (-1, 2), (-1, 0), (1, 0), (1, -2), (-1, -2)),
    ((1, 2), (-1, 2), (-1, -2), (1, -2), (1, 0), (-1, 0)),
    ((-1, 2), (1, 2), (1, -2)),
    ((1, 0), (-1, 0), (-1, 2), (1, 2), (1, -2), (-1, -2), (-1, 0)),
    ((1, 0), (-1, 0), (-1, 2), (1, 2), (1, -2)),
)


@dataclass(frozen=True)
class DrawnDigits(SequentialDigits):
    """The rows of an image, each for some steps, and an answer in one of three forms.

    ===========  =======================================================================================  ============
    ask          what is asked for                                                                        when
    ===========  =======================================================================================  ============
    ``name``     the digit, of ten classes, by cross-entropy                                              last step
    ``line``     a point, t/(T − 1) of the way from the origin to (cos 2πc/10, sin 2πc/10) for digit c    every k-th step
    ``drawing``  a point, t/(T − 1) of the way along strokes that write the digit, by their length        every k-th step
    ===========  =======================================================================================  ============

    At every k-th step means the last step, and each k steps before; all that are asked weigh alike, together 1. Images, their parts and the context
    are those of `SequentialDigits`.

    Parameters
    ----------
    ask : one of these.
    hold : steps for which a row is shown; T = 8·hold of the small images.
    every : k (4 is published).
    data, split : as of `SequentialDigits`.

    Raises
    ------
    TaskError
        For a value that makes no sense.

    References
    ----------
    Boven, Pemberton, Chadderton, Apps, Costa 2023, doi:10.1038/s41467-022-35658-8.

    Examples
    --------
    >>> import torch
    >>> lines = DrawnDigits(ask="line", hold=2)
    >>> batch = lines.batch(torch.Generator().manual_seed(0), size=5)
    >>> batch.inputs.shape, batch.targets.shape, batch.weight[:, 0].nonzero().flatten().tolist()
    (torch.Size([16, 5, 8]), torch.Size([16, 5, 2]), [3, 7, 11, 15])
    """

    ask: str = "line"
    hold: int = 3
    every: int = 4
    outputs: int = field(init=False)  # type: ignore[assignment]

    constraints = options(
        data=checks.Word(SIDE),
        split=checks.Word(SPLITS["mnist"]),
        ask=checks.Word(("name", "line", "drawing")),
        hold=checks.Whole(1, 1000),
        every=checks.Whole(1, 10**6),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        object.__setattr__(self, "outputs", 10 if self.ask == "name" else 2)
        object.__setattr__(self, "loss", cross_entropy if self.ask == "name" else squared)
        super().__post_init__()
        object.__setattr__(self, "steps", SIDE[self.data] * self.hold)

    def places(self) -> Tensor:
        """What is asked of each digit at each step, (digit, time, 2)."""
        way = torch.linspace(0, 1, self.steps, dtype=torch.float64)
        if self.ask == "line":
            angle = 2 * pi * torch.arange(10, dtype=torch.float64) / 10
            return (way[None, :, None] * torch.stack((angle.cos(), angle.sin()), -1)[:, None]).float()
        return torch.stack([along(torch.tensor(each, dtype=torch.float64) / 2, way) for each in CORNERS]).float()

    def _trials(self, images: Images, which: Tensor) -> Batch:
        pixels, labels = (each[which] for each in images.tensors)
        rows = pixels.transpose(0, 1).repeat_interleave(self.hold, 0).float() / images.brightest
        context = torch.nn.functional.one_hot(labels, 10).float()
        if self.ask == "name":
            weight = torch.zeros(self.steps, len(which))
            weight[-1] = 1.0
            return Batch(rows, labels.repeat(self.steps, 1), weight, context)
        asked = (torch.arange(self.steps - 1, -1, -1) % self.every == 0).float()
        weight = (asked / asked.sum())[:, None].repeat(1, len(which))
        return Batch(rows, self.places()[labels].transpose(0, 1).contiguous(), weight, context)


def along(corners: Tensor, way: Tensor) -> Tensor:
    """Points of a chain of straight strokes, at parts ``way`` of its length, (time, 2)."""
    strokes = corners.diff(dim=0)
    length = torch.cat([strokes.new_zeros(1), strokes.norm(dim=-1).cumsum(0)])
    at = way * length[-1]
    stroke = torch.searchsorted(length, at, right=True).clamp(1, len(strokes)) - 1
    part = (at - length[stroke]) / (length[stroke + 1] - length[stroke])
    return corners[stroke] + part[:, None] * strokes[stroke]
