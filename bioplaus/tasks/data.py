"""Data sets: MNIST from a folder or downloaded with its hash, idx files read with checks, fixed splits."""

from __future__ import annotations

import gzip
import hashlib
import logging
import math
import os
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bioplaus.errors import DataError

# LeCun, Cortes, Burges: sha256 of the four published files.
MNIST = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
MNIST_COUNT = {"train": 60_000, "t10k": 10_000}
MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
TIMEOUT = 20.0  # seconds without an answer before a mirror is given up


def read_idx(path: Path) -> np.ndarray:
    """Read an idx file of unsigned bytes, gzipped or not.

    The format: two zero bytes, the type (8: unsigned byte), the number of dimensions, each dimension's
    length as a big-endian 32-bit number, then the bytes, last dimension fastest.

    Raises
    ------
    DataError
        If the file can't be read, is no idx file of unsigned bytes, or is shorter or longer than it says.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"The data file {path} can't be read ({error}); fetch it anew.") from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise DataError(
            f"The data file {path} is no idx file of unsigned bytes: it begins with "
            f"{content[:4].hex(' ') or 'nothing'}, where 00 00 08 and the number of dimensions are expected; "
            f"fetch it anew."
        )
    start = 4 + 4 * content[3]
    shape = tuple(int(n) for n in np.frombuffer(content[4:start], dtype=">u4")) if len(content) >= start else ()
    if len(shape) != content[3] or len(content) - start != math.prod(shape):
        raise DataError(
            f"The data file {path} says that it holds an array of shape {shape}, which takes "
            f"{math.prod(shape)} bytes after its header, but {max(len(content) - start, 0)} are there; fetch "
            f"it anew."
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images (1797, 8, 8) and labels (1797,) that come with scikit-learn, read from its file: to import it takes a second and a half.

    Raises
    ------
    DataError
        If scikit-learn is not installed, or its file is not what it should be.
    """
    spec = find_spec("sklearn")  # finds, and does not import
    path = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz" if spec and spec.origin else None
    try:
        if path is None:
            raise OSError("scikit-learn is not installed")
        rows = np.array(gzip.decompress(path.read_bytes()).replace(b"\n", b",").split(b",")[:-1], dtype=np.float64)
        table = rows.reshape(1797, 65)  # 64 pixels and the label
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(
            f"The digit images of scikit-learn can't be read ({error}); install scikit-learn anew."
        ) from error
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)


def mnist(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 28, 28) and labels (n,) of one part of MNIST.

    Parameters
    ----------
    part : ``"train"`` (60,000 images) or ``"t10k"`` (10,000)

    Raises
    ------
    DataError
        If a file is neither in ``$BIOPLAUS_DATA`` nor to be downloaded, or is not what it should be.
    """
    files = [find_or_fetch(name) for name in MNIST if name.startswith(part)]
    images, labels = (read_idx(path) for path in files)
    count = MNIST_COUNT[part]
    if images.shape != (count, 28, 28) or labels.shape != (count,) or labels.max() > 9:
        raise DataError(
            f"The files {files[0]} and {files[1]} hold arrays of shape {images.shape} and {labels.shape} "
            f"with labels up to {labels.max() if labels.size else 'none'}, but this part of MNIST has shapes "
            f"({count}, 28, 28) and ({count},) with labels up to 9; put the published files there."
        )
    return images, labels


def folders() -> list[Path]:
    """Where data files are looked for before anything is downloaded."""
    given = os.environ.get("BIOPLAUS_DATA")
    return [Path(given).expanduser() / "mnist", Path(given).expanduser()] if given else []


def find(name: str) -> Path | None:
    """The file `name`, gzipped or not, in ``$BIOPLAUS_DATA/mnist`` or ``$BIOPLAUS_DATA``; None if missing."""
    for folder in folders():
        for path in (folder / name, folder / name.removesuffix(".gz")):
            if path.is_file():
                return path
    return None


def find_or_fetch(name: str) -> Path:
    """The MNIST file `name` from ``$BIOPLAUS_DATA``, the cache of earlier downloads, or a public mirror."""
    path = find(name)
    if path is None:
        return _fetch(name)
    if path.suffix == ".gz":
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != MNIST[name]:
            raise DataError(
                f"The file {path} is not the published MNIST file of that name: its sha256 is {found}, where "
                f"{MNIST[name]} is expected; put the published file there, or take it away to have it "
                f"downloaded."
            )
    return path


def _fetch(name: str) -> Path:
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)  # it would announce downloads on the terminal
    cache = Path(pooch.os_cache("bioplaus")) / "mnist"
    download: Any = pooch.HTTPDownloader(timeout=TIMEOUT, progressbar=False)
    failures = []
    for mirror in MIRRORS:
        try:
            address = mirror + name
            return Path(pooch.retrieve(address, f"sha256:{MNIST[name]}", name, cache, downloader=download))
        except (OSError, ValueError) as error:  # no network; a wrong hash
            failures.append(f"{mirror}: {type(error).__name__}")
    places = [str(folder) for folder in folders()]
    there = [n for n in MNIST if find(n) is not None]
    looked = f"in {' and in '.join(places)} ($BIOPLAUS_DATA)" if places else "nowhere, as $BIOPLAUS_DATA is not set"
    held = f"; of the four MNIST files only {', '.join(there)} lie there" if there else ""
    only_test = all((find(n) is not None) == n.startswith("t10k") for n in MNIST)
    alone = " The 10,000 images that are there can be used alone, split 8,000/2,000, with split='t10k'."
    raise DataError(
        f"The MNIST file {name} is missing. It was looked for {looked}{held}, then in the cache {cache}, and "
        f"could not be downloaded ({'; '.join(failures)}). Put the file, gzipped or not, into a folder and "
        f"set BIOPLAUS_DATA to it, or connect to the network and try again; data='digits' needs no "
        f"download.{alone if only_test else ''}"
    )


def stratified_split(labels: np.ndarray, test: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split into train and test with every class in the same proportion, the same way at every call.

    Each class gives ⌊test · its share⌋ of its images to the test set, and the classes with the largest
    remainders one more. Returns sorted indices (train, test).
    """
    rng = np.random.RandomState(seed)  # its stream is frozen by numpy's compatibility policy
    classes, counts = np.unique(labels, return_counts=True)
    share = test * counts / counts.sum()
    take = np.floor(share).astype(int)
    take[np.argsort(take - share, kind="stable")[: test - take.sum()]] += 1
    chosen = [rng.permutation(np.flatnonzero(labels == c))[:n] for c, n in zip(classes, take, strict=True)]
    held_out = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out
