"""Images of digits, by data set and split: the shipped 8×8 ones and MNIST."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bioplaus.errors import DataError, TaskError
from bioplaus.tasks import data

if TYPE_CHECKING:
    from torch import Tensor

SPLIT_SEED = 0
SIDE = {"digits": 8, "mnist": 28}
"""Data set → rows and columns of an image."""
SPLITS = {"digits": ("standard",), "mnist": ("standard", "t10k")}
"""Data set → ways in which it is parted."""


@dataclass(frozen=True)
class Images:
    """Images of one split: pixels (image, row, column), whole numbers up to `brightest`; labels (image,)."""

    pixels: np.ndarray
    labels: np.ndarray
    brightest: int
    sha256: str

    @cached_property
    def tensors(self) -> tuple[Tensor, Tensor]:
        """Pixels and labels, made when trials are."""
        return torch.tensor(self.pixels), torch.tensor(self.labels)


@lru_cache(maxsize=4)
def load(name: str, split: str, folder: str | None) -> tuple[Images, Images]:
    """Train and test images; the folder of the data is a key because it decides which files are read."""
    if name == "mnist" and split == "standard":
        return _images(*data.mnist("train"), brightest=255), _images(*data.mnist("t10k"), brightest=255)
    if name == "mnist":
        pixels, labels = data.mnist("t10k")
        held_out, brightest = 2000, 255
    else:
        pixels, labels = data.digits()
        held_out, brightest = 360, 16
    train, test = data.stratified_split(labels, held_out, SPLIT_SEED)
    return _images(pixels[train], labels[train], brightest), _images(pixels[test], labels[test], brightest)


def refuse_split(task: Any) -> None:
    """Refuse a ``split`` that a task's ``data`` does not have.

    Raises
    ------
    TaskError
    """
    if task.split not in SPLITS[task.data]:
        raise TaskError(
            f"The task '{task.name}' was given split='{task.split}', which data='{task.data}' does not have; leave it out, or take data='mnist'."
        )


def parted(task: Any, split: str) -> Images:
    """All images of a split of a task's ``data``, ``"train"`` or ``"test"``."""
    train, test = load(task.data, task.split, os.environ.get("BIOPLAUS_DATA"))
    return train if split == "train" else test


def _images(pixels: np.ndarray, labels: np.ndarray, brightest: int) -> Images:
    wrong = ~((pixels >= 0) & (pixels <= brightest))  # true for NaN too
    if wrong.any():
        image, row, column = np.argwhere(wrong)[0]
        raise DataError(
            f"Image {image} of the digit images holds {pixels[image, row, column]} at row {row}, column "
            f"{column}, where a number from 0 to {brightest} is expected; the data set is damaged, install "
            f"or fetch it anew."
        )
    pixels, labels = pixels.astype(np.uint8), labels.astype(np.int64)
    sha256 = hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest()
    return Images(pixels, labels, brightest, sha256)
