"""A disk that is full: at every write, and in every kilobyte, of a run. One paragraph, and once there is room it goes on bit for bit."""

from __future__ import annotations

import builtins
import errno
import io
import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import bioplaus as bp
from bioplaus.errors import RunError
from bioplaus.runs.folder import RunFolder
from bioplaus.tasks import Batch, Task, squared

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a process is forked for every write")


class Disk:
    """Every call that puts something below a folder, counted; from the ``full``-th on they fail, or that one alone."""

    def __init__(self, folder: Path, full: float, alone: bool, number: int) -> None:
        self.folder, self.full, self.alone, self.number, self.calls = str(folder), full, alone, number, 0

    def fails(self, path: object) -> bool:
        if not str(path).startswith(self.folder):
            return False
        self.calls += 1
        return self.calls == self.full if self.alone else self.calls >= self.full

    def refuse(self, path: object) -> None:
        if self.fails(path):
            raise OSError(self.number, os.strerror(self.number), str(path))

    def open(self, file, mode="r", *more, **named):
        """Files as Python's own, but that what reaches the disk is asked for."""
        if not isinstance(file, str | os.PathLike) or not set(mode) & set("wax"):
            return _OPEN(file, mode, *more, **named)
        self.refuse(file)
        if named.get("opener"):  # a file without a name, which only tries
            return _OPEN(file, mode, *more, **named)
        buffered = io.BufferedWriter(_Raw(self, file, mode.replace("b", "").replace("t", "")))
        if "b" in mode:
            return buffered
        return io.TextIOWrapper(buffered, encoding=named.get("encoding"), newline=named.get("newline"))

    def put_in(self) -> None:
        builtins.open = io.open = self.open  # pyright: ignore[reportAttributeAccessIssue]
        for name in ("replace", "mkdir", "fsync"):
            setattr(os, name, self._asked(getattr(os, name)))

    def _asked(self, real: Callable) -> Callable:
        def call(first, *more, **named):
            self.refuse(os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else first)
            return real(first, *more, **named)

        return call


_OPEN = open


class _Raw(io.FileIO):
    def __init__(self, disk: Disk, file, mode: str) -> None:
        super().__init__(file, mode)
        self.disk, self.file, self.cut = disk, file, False

    def write(self, data) -> int:
        if not self.cut and not self.disk.fails(self.file):
            return super().write(data)
        content = bytes(data)
        self.cut = not self.cut and len(content) > 1
        if (
            self.cut
        ):  # as systems do: what there was room for is written, and the rest is refused when it is asked for again
            return super().write(content[: len(content) // 2])
        raise OSError(self.disk.number, os.strerror(self.disk.number), str(self.file))


class Follow(Task):
    """The input of now is asked for."""

    inputs, outputs, steps, loss, test_trials = 1, 1, 4, squared, 2

    def batch(self, generator, size, split="train"):
        x = torch.rand(self.steps, size, 1, generator=generator)
        return Batch(x, x.clone(), torch.ones(self.steps, size))


CIRCUIT = bp.circuit("recurrent", cell="elman", inputs=1, units=3, outputs=1)


def train(folder: Path) -> bp.runs.Run:
    options: dict[str, Any] = {"updates": 4, "batch": 2, "evaluate_every": 3}
    return bp.train(CIRCUIT, Follow(), "rflo", folder=folder, checkpoint_every=0, **options)


def ended(work: Callable[[], str]) -> str:
    """What a forked process says of its work; torch is imported already, and what is patched there is patched there alone."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = os.fork()
    if not child:
        try:
            said = work()
        except BaseException:
            said = "TRACEBACK " + traceback.format_exc()
        theirs.send(said)
        os._exit(0)
    theirs.close()
    said = ours.recv()
    assert os.waitpid(child, 0)[1] == 0
    return said


def on(disk: Disk, folder: Path) -> str:
    disk.put_in()
    try:
        train(folder)
    except RunError as error:
        return f"{disk.calls} refused {error}"
    return f"{disk.calls} done"


def numbers(run: bp.runs.Run) -> tuple:
    table = run.metrics.drop(columns="seconds")
    weights = {name: value.tolist() for name, value in run.weights.items()}
    return list(table.columns), table.fillna(-1.0).values.tolist(), weights, run.recordings.to_dict()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[tuple, int]:
    """Its numbers, and how often it writes."""
    whole, counted = (tmp_path_factory.mktemp(name) for name in ("whole", "counted"))
    run = train(whole / "run")
    writes = int(ended(lambda: on(Disk(counted, float("inf"), False, 0), counted / "run")).split()[0])
    assert writes > 50
    return numbers(run), writes


def disturbed(folder: Path, disk: Disk, undisturbed: tuple) -> str:
    said = ended(lambda: on(disk, folder))
    assert "TRACEBACK" not in said and "\n" not in said
    if "refused" in said:
        assert os.strerror(disk.number) in said and str(disk.folder) in said, said
        assert "Nothing was computed." in said or "Make room" in said, said
    if RunFolder(folder).record() is not None:  # what is left can be read, whatever was cut off
        left = bp.runs.Run.load(folder)
        assert left.record["status"] in ("running", "failed", "done") and len(left.metrics) <= 4
    assert numbers(train(folder)) == undisturbed
    return said


def at_every(undisturbed, folder: Path, number: int, alone: bool, step: int) -> set[str]:
    numbers, writes = undisturbed
    kept = set()
    for nth in range(1, writes + 1, step):
        place = folder / f"n{nth}"
        place.mkdir()
        said = disturbed(place / "run", Disk(place, nth, alone, number), numbers)
        assert alone or "refused" in said
        kept |= {
            text for text in ("no checkpoint yet", *(f"checkpoint of update {n}," for n in range(5))) if text in said
        }
    return kept


def test_a_disk_that_fills_up_at_any_write_loses_nothing(undisturbed, tmp_path):
    kept = at_every(undisturbed, tmp_path, errno.ENOSPC, False, 7)
    assert {"no checkpoint yet", "checkpoint of update 2,"} <= kept and len(kept) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS])
def test_whatever_keeps_from_writing_at_any_write_loses_nothing(number, alone, undisturbed, tmp_path):
    at_every(undisturbed, tmp_path, number, alone, 1)
