"""What all tasks of labelled images share: which images, drawn how, and what is recorded of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from bioplaus.tasks.base import Batch, Split, Task, asked
from bioplaus.tasks.images import Images, parted

if TYPE_CHECKING:
    from torch import Tensor


class Labelled(Task):
    """Trials of images: drawn with replacement to learn from, in the test set every test image once, in a fixed order."""

    data: str
    split: str

    @abstractmethod
    def _trials(self, images: Images, which: Tensor) -> Batch:
        """A trial of each of these images, by number."""

    def images(self, split: Split) -> Images:
        """All images of a split."""
        asked(self, 1, split)
        return parted(self, split)

    def batch(self, generator: torch.Generator, size: int, split: Split = "train") -> Batch:
        size = asked(self, size)
        images = self.images(split)
        return self._trials(images, torch.randint(len(images.labels), (size,), generator=generator))

    def test_batches(self, size: int) -> Iterator[Batch]:
        size = asked(self, size)
        images = self.images("test")
        for which in torch.arange(len(images.labels)).split(size):
            yield self._trials(images, which)

    def describe(self) -> dict[str, Any]:
        described = super().describe()
        for split in ("train", "test"):
            images = self.images(split)
            described |= {f"{split}_images": len(images.labels), f"{split}_sha256": images.sha256}
        return described
