"""Sequential digits: real images, disjoint fixed splits, idx files, missing and damaged data."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from task_helpers import paragraph, stream

from bioplaus.errors import DataError, TaskError
from bioplaus.tasks import check_batch, task
from bioplaus.tasks import data as files
from bioplaus.tasks.base import Split
from bioplaus.tasks.drawn_digits import CORNERS, DrawnDigits
from bioplaus.tasks.images import load
from bioplaus.tasks.sequential_digits import SequentialDigits

SPLITS: tuple[Split, Split] = ("train", "test")


def test_digits_are_real_images_read_row_by_row() -> None:
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    known = {image.tobytes(): label for image, label in zip(bunch.images, bunch.target, strict=True)}
    digits = SequentialDigits()
    seen = 0
    for batch in digits.test_batches(100):
        for b in range(batch.size):
            image = (batch.inputs[:, b] * 16).double().numpy()
            assert known[image.tobytes()] == batch.targets[-1, b]
            seen += 1
        assert 0 <= batch.inputs.min() and batch.inputs.max() == 1
        assert torch.equal(batch.weight.sum(1), torch.tensor([0.0] * 7 + [float(batch.size)]))
        assert batch.context is not None and torch.equal(batch.context.argmax(-1), batch.targets[-1])
        assert torch.equal(batch.targets, batch.targets[-1].expand(8, -1))
    assert seen == 360


def test_drawn_digits_hold_their_rows_and_ask_for_lines_and_names() -> None:
    (plain,), (lines,), (names,) = (
        made.test_batches(1000)
        for made in (SequentialDigits(), DrawnDigits(hold=3, every=5), DrawnDigits(ask="name", hold=2))
    )
    assert (
        lines.steps == 24
        and torch.equal(lines.inputs[::3], plain.inputs)
        and torch.equal(lines.inputs[2::3], plain.inputs)
    )
    assert lines.context is not None and plain.context is not None and torch.equal(lines.context, plain.context)
    assert lines.weight[:, 7].nonzero().flatten().tolist() == [3, 8, 13, 18, 23]
    torch.testing.assert_close(lines.weight.sum(0), torch.ones(360))
    for b, label in enumerate(plain.targets[-1].tolist()):
        end = np.array([np.cos(2 * np.pi * label / 10), np.sin(2 * np.pi * label / 10)])
        np.testing.assert_allclose(lines.targets[:, b].numpy(), np.linspace(0, 1, 24)[:, None] * end, atol=1e-6)
    assert torch.equal(names.targets[-1], plain.targets[-1]) and names.weight.sum() == names.weight[-1].sum() == 360


def test_a_digit_is_drawn_at_one_speed_along_its_strokes() -> None:
    drawn = DrawnDigits(ask="drawing", hold=1000)  # so finely that its corners are met
    places = drawn.places().numpy()
    assert len({path.round(3).tobytes() for path in places}) == 10
    for path, corners in zip(places, CORNERS, strict=True):
        strokes = np.diff(np.array(corners) / 2, axis=0)
        length = np.abs(strokes).sum()  # each is upright or level
        steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
        aside = np.abs(steps - length / 7999) > 1e-6  # where the pen turns
        assert aside.sum() <= len(corners) and steps.sum() == pytest.approx(length, rel=1e-3)
        at = np.concatenate([[0], np.cumsum(np.abs(strokes).sum(1))]) / length * 7999
        assert np.abs(path[at.round().astype(int)] - np.array(corners) / 2).max() < 2e-3


def test_digits_splits_are_disjoint_whole_stratified_and_fixed() -> None:
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    labels = bunch.target
    train, test = files.stratified_split(labels, 360, 0)
    assert (len(train), len(test)) == (1437, 360)
    assert sorted([*train, *test]) == list(range(1797))
    shares = np.bincount(labels[test]) - 360 * np.bincount(labels) / 1797
    assert np.abs(shares).max() < 1
    # Published numbers hang on this split: it must not move with a version of anything.
    assert test[:8].tolist() == [3, 7, 13, 19, 36, 38, 43, 48]
    digits = SequentialDigits()
    pixels, read = files.digits()  # not through scikit-learn, but the same
    assert np.array_equal(pixels, bunch.images) and np.array_equal(read, labels) and pixels.dtype == bunch.images.dtype
    assert [len(digits.images(split).labels) for split in SPLITS] == [1437, 360]
    assert np.array_equal(digits.images("test").labels, labels[test])
    counts = digits.batch(stream(), 20_000).targets[-1].bincount(minlength=10) / 20_000
    expected = torch.tensor(np.bincount(labels[train]) / 1437, dtype=torch.float32)
    torch.testing.assert_close(counts, expected, rtol=0, atol=5 * np.sqrt(0.09 / 20_000))


def write_idx(path: Path, array: np.ndarray) -> bytes:
    content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return content


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files_are_read_and_damaged_ones_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"tiny-idx3-ubyte{ending}"
    array = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    content = write_idx(path, array)
    np.testing.assert_array_equal(files.read_idx(path), array)
    damaged = {
        content[:-1]: r"shape \(2, 3, 4\), which takes 24 bytes after its header, but 23 are there",
        content + b"\0": "but 25 are there",
        content[:9]: "bytes after its header",
        b"\0\0\x0d" + content[3:]: "begins with 00 00 0d 03",
        b"<html>": "begins with 3c 68",
        b"": "begins with nothing",
    }
    for wrong, message in damaged.items():
        path.write_bytes(gzip.compress(wrong) if ending else wrong)
        with pytest.raises(DataError, match=message) as error:
            files.read_idx(path)
        assert path.name in paragraph(error)
    path.write_bytes(gzip.compress(content)[:-9])
    with pytest.raises(DataError, match="can't be read"):
        files.read_idx(path)
    with pytest.raises(DataError, match="can't be read"):
        files.read_idx(tmp_path / "missing")


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, an empty cache, and no network: a proxy that nobody listens at."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache" / project)
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("BIOPLAUS_DATA", str(folder))
    return folder


def write_mnist(folder: Path, part: str, count: int) -> np.ndarray:
    """Files of the right form, ungzipped, whose images say which one they are in their first two pixels."""
    folder.mkdir(exist_ok=True)
    images = np.zeros((count, 28, 28), dtype=np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.arange(count) // 256, np.arange(count) % 256
    images[:, 27, 27] = 255
    labels = (np.arange(count) % 10).astype(np.uint8)
    write_idx(folder / f"{part}-images-idx3-ubyte", images)
    write_idx(folder / f"{part}-labels-idx1-ubyte", labels)
    return images


def test_missing_mnist_says_where_it_was_looked_for(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="train-images-idx3-ubyte.gz is missing") as error:
        task("sequential_digits", data="mnist")
    text = paragraph(error)
    assert str(offline) in text and str(offline / "mnist") in text and "$BIOPLAUS_DATA" in text
    assert "cache" in text and "set BIOPLAUS_DATA" in text and "could not be downloaded" in text
    assert "split='t10k'" not in text
    monkeypatch.delenv("BIOPLAUS_DATA")
    with pytest.raises(DataError, match=r"nowhere, as \$BIOPLAUS_DATA is not set"):
        task("sequential_digits", data="mnist")


@pytest.mark.parametrize("inside", ["", "mnist"])
def test_the_test_part_of_mnist_alone_is_split_on_request(offline: Path, inside: str) -> None:
    write_mnist(offline / inside, "t10k", 10_000)
    with pytest.raises(DataError, match="only t10k-images.*lie there.*split='t10k'") as error:
        task("sequential_digits", data="mnist")
    paragraph(error)
    digits = SequentialDigits(data="mnist", split="t10k")
    assert (digits.steps, digits.inputs) == (28, 28)
    numbers = []
    for split in SPLITS:
        pixels = digits.images(split).pixels.astype(int)
        numbers.append(set((256 * pixels[:, 0, 0] + pixels[:, 0, 1]).tolist()))
        assert np.bincount(digits.images(split).labels).tolist() == [len(pixels) // 10] * 10
    train, test = numbers
    assert (len(train), len(test), train & test) == (8000, 2000, set())
    assert digits.batch(stream(), 3).inputs.max() == 1.0
    assert digits.describe()["test_images"] == 2000
    assert digits.describe()["train_sha256"] != digits.describe()["test_sha256"]
    with pytest.raises(TaskError, match="split"):
        task("sequential_digits", split="t10k")


def test_files_that_are_not_mnist_are_refused(offline: Path) -> None:
    write_mnist(offline, "t10k", 300)
    with pytest.raises(DataError, match=r"\(300, 28, 28\).*\(10000, 28, 28\)") as error:
        task("sequential_digits", data="mnist", split="t10k")
    paragraph(error)
    images = offline / "t10k-images-idx3-ubyte.gz"
    images.write_bytes(gzip.compress((offline / "t10k-images-idx3-ubyte").read_bytes()))
    with pytest.raises(DataError, match="not the published MNIST file") as error:
        task("sequential_digits", data="mnist", split="t10k")
    paragraph(error)


def test_mnist_as_published_is_found_in_the_data_folder(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(files.MNIST_COUNT, "train", 600)
    write_mnist(offline, "train", 600)
    write_mnist(offline, "t10k", 10_000)
    digits = SequentialDigits(data="mnist")
    assert [len(digits.images(split).labels) for split in SPLITS] == [600, 10_000]
    assert sum(batch.size for batch in digits.test_batches(999)) == 10_000


def test_a_download_with_a_wrong_hash_is_refused(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(url: str, output_file: str, pooch: Any) -> None:
        Path(output_file).write_bytes(b"something else")

    monkeypatch.setattr("pooch.HTTPDownloader", lambda **options: download)
    with pytest.raises(DataError, match="ValueError"):
        task("sequential_digits", data="mnist")
    # and a right one is taken, kept, and not downloaded again
    name = "t10k-labels-idx1-ubyte.gz"
    monkeypatch.setitem(files.MNIST, name, hashlib.sha256(b"something else").hexdigest())
    assert files.find_or_fetch(name).read_bytes() == b"something else"
    monkeypatch.setattr("pooch.HTTPDownloader", lambda **options: None)
    assert files.find_or_fetch(name).read_bytes() == b"something else"


@pytest.mark.parametrize("wrong", [np.nan, -1.0, 17.0, np.inf])
def test_damaged_digits_are_refused(monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    images, labels = files.digits()
    images[5, 2, 3] = wrong
    monkeypatch.setattr(files, "digits", lambda: (images, labels))
    load.cache_clear()
    try:
        with pytest.raises(DataError, match=f"holds {wrong} at row 2, column 3.*from 0 to 16") as error:
            SequentialDigits()
        paragraph(error)
    finally:
        load.cache_clear()


@pytest.mark.parametrize(
    "content", [b"", b"no gzip", gzip.compress(b"1,2,3\n", mtime=0), gzip.compress(b"1,2,x\n", mtime=0)]
)
def test_a_damaged_file_of_digits_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "datasets" / "data").mkdir(parents=True)
    (tmp_path / "datasets" / "data" / "digits.csv.gz").write_bytes(content)
    found = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(files, "find_spec", lambda name: found)
    with pytest.raises(DataError, match="install scikit-learn anew") as error:
        files.digits()
    paragraph(error)


def real_mnist() -> Path | None:
    given = os.environ.get("BIOPLAUS_DATA")
    folders = [Path(given)] if given else []
    folders.append(Path(__file__).resolve().parents[2] / "shared" / "data")
    names = [name for name in files.MNIST if name.startswith("t10k")]
    for folder in folders:
        if all((folder / "mnist" / n).is_file() or (folder / n).is_file() for n in names):
            return folder
    return None


@pytest.mark.skipif(real_mnist() is None, reason="the MNIST test files are not in $BIOPLAUS_DATA")
def test_the_real_test_part_of_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOPLAUS_DATA", str(real_mnist()))
    digits = SequentialDigits(data="mnist", split="t10k")
    images, labels = files.mnist("t10k")
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert images.mean() / 255 == pytest.approx(0.1325, abs=1e-4)  # the published mean of the test images
    for split, count in zip(SPLITS, (8000, 2000), strict=True):
        part = digits.images(split)
        assert len(part.labels) == count
        shares = np.bincount(part.labels) - count * np.bincount(labels) / 10_000
        assert np.abs(shares).max() < 1
        batch = digits.batch(stream(), 16, split)
        check_batch(digits, batch)
        assert batch.inputs.shape == (28, 16, 28)
