"""A run's folder: every file appears whole or not at all, and one process writes at a time."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from bioplaus.content import impersonal
from bioplaus.errors import RunError
from bioplaus.runs.formats import FORMAT, opened

try:
    import fcntl
except ImportError:  # not a POSIX system: nothing then hinders two processes from computing the same run
    fcntl = None

RECORDINGS = "recordings.nc"


class InUse(RunError):
    """Another process holds the run's folder."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, force it to the disk, then put it in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: some writers choose their format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # the new name itself lives in the folder
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


class RunFolder:
    """The files of one run.

    Parameters
    ----------
    path : Path
        The folder; it need not exist.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.metrics = self.path / "metrics.csv"
        self.recordings = self.path / RECORDINGS
        self.checkpoint = self.path / "checkpoint.pt"
        self.record_file = self.path / "run.json"
        self.figures = self.path / "figures"
        self.log_file = self.path / "log.txt"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process.

        Raises
        ------
        InUse
            If another process holds it. A process that was killed holds nothing.
        """
        with self._lock_file() as file:
            if not _taken(file):
                raise InUse(
                    f"Another process is computing the run in {self.path}. Wait for it to end, or stop "
                    "it; the same command then continues from its last checkpoint."
                )
            for left in self.path.glob(".*.tmp*"):  # halves of files whose writer was killed
                left.unlink(missing_ok=True)
            yield

    def in_use(self) -> bool:
        """Whether a process holds the folder now."""
        try:
            with open(self.path / ".lock") as file:
                return not _taken(file)
        except OSError:  # nobody has ever held it, or may
            return False

    def _lock_file(self) -> IO[str]:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            return open(self.path / ".lock", "a")
        except OSError as error:
            raise RunError(
                f"The folder {self.path} can't be used: {error.strerror or error}. Nothing was computed. Give another folder."
            ) from error

    def log(self, text: str) -> None:
        """Append one line, with the time, to ``log.txt``; folders of this machine are not named."""
        text = impersonal(text, {str(self.path.absolute()): "."})
        with open(self.log_file, "a", encoding="utf-8") as file:
            file.write(f"{datetime.now().isoformat(sep=' ', timespec='seconds')}  {text}\n")

    def record(self) -> dict[str, Any] | None:
        """What ``run.json`` says; ``None`` where there is none.

        Raises
        ------
        RunError
            If it is there but can't be read.
        """
        try:
            record = json.loads(self.record_file.read_text(encoding="utf-8"))
            if not isinstance(record, dict) or not isinstance(record.get("config"), dict):
                raise ValueError("it holds no configuration")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, OSError) as error:
            raise RunError(
                f"{self.record_file} can't be read: {error}. Nothing was changed. Restore the file, or move "
                "the folder away to compute the run again."
            ) from error
        return record

    def write_record(self, record: dict[str, Any]) -> None:
        """Replace ``run.json``."""
        write_text(self.record_file, json.dumps(record, indent=2, ensure_ascii=False) + "\n")

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Replace ``checkpoint.pt``; until it is whole on the disk the old one stays."""
        import torch

        buffer = io.BytesIO()
        torch.save({"format": FORMAT, **state}, buffer)
        write_atomically(self.checkpoint, lambda temporary: temporary.write_bytes(buffer.getbuffer()))

    def load_checkpoint(self) -> dict[str, Any] | None:
        """What ``checkpoint.pt`` holds, on the CPU; ``None`` where there is none.

        Raises
        ------
        RunError
            If it is cut short, altered, or not a checkpoint. The file is left as it is.
        """
        if not self.checkpoint.exists():
            return None
        import torch

        try:
            # torch does not look at the checksums that its own zip entries carry.
            with zipfile.ZipFile(self.checkpoint) as archive:
                if (broken := archive.testzip()) is not None:
                    raise ValueError(f"the checksum of its part {broken!r} is wrong")
            return opened(torch.load(self.checkpoint, map_location="cpu", weights_only=True))
        except Exception as error:  # torch and zipfile raise a dozen kinds for damaged bytes
            raise RunError(
                f"The checkpoint {self.checkpoint} can't be used: "
                f"{str(error).splitlines()[0] or type(error).__name__}. Nothing was overwritten or deleted. "
                "Put an intact copy in its place and give the same command to go on, or move the folder "
                f"{self.path} away to compute the run from its beginning."
            ) from error


def _taken(file: IO[str]) -> bool:
    """Take the lock on an open file; whether that went well.

    Raises
    ------
    RunError
        If the disk knows no locks.
    """
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise RunError(
            f"The folder {Path(file.name).parent} lies on a disk that can't keep other processes away ({error.strerror or error}), and "
            "two that compute the same run would spoil it. Nothing was computed. Give a folder on another disk."
        ) from error
    return True
