"""A run's folder: every file appears whole or not at all, and one process writes at a time."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bioplaus.content import impersonal
from bioplaus.errors import RunError
from bioplaus.runs import records, seal
from bioplaus.runs.atomic import or_make_room, write_atomically, writing
from bioplaus.runs.config import fits_name
from bioplaus.runs.formats import FORMAT, opened
from bioplaus.runs.metrics import read_metrics
from bioplaus.runs.netcdf import read_netcdf

if TYPE_CHECKING:
    import pandas
    import xarray

try:
    import fcntl
except ImportError:  # not a POSIX system: nothing then hinders two processes from computing the same run
    fcntl = None

RECORDINGS = "recordings.nc"


class InUse(RunError):
    """Another process holds the run's folder."""


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
                f"The folder {self.path} can't be used: {error.strerror or error}. Nothing was computed. Give another folder.{or_make_room(error)}"
            ) from error

    def log(self, text: str) -> None:
        """Append one line, with the time, to ``log.txt``; folders of this machine are not named."""
        text = impersonal(text, {str(self.path.absolute()): "."})
        with writing(self.log_file), open(self.log_file, "a", encoding="utf-8") as file:
            file.write(f"{datetime.now().isoformat(sep=' ', timespec='seconds')}  {text}\n")

    def record(self) -> dict[str, Any] | None:
        """What ``run.json`` says; ``None`` where there is none.

        Raises
        ------
        RunError
            If it is damaged, was changed since it was written, or is that of another run.
        """
        said = records.read_run(self.record_file)
        if said is not None and not fits_name(self.path.name, said["config"]):
            raise RunError(
                f"{self.record_file} is that of another run than the one for which {self.path.name} is named: its seed or its "
                "configuration is not the one in that name. Nothing was changed. Put the right file back, or give the folder a name "
                "of your own."
            )
        return said

    def write_record(self, said: Mapping[str, Any], left: Iterable[str] = ()) -> None:
        """Replace ``run.json``.

        Parameters
        ----------
        said : what it says.
        left : names of the files that a finished run leaves beside the usual ones; of a run that is closed all files are sealed.
        """
        closed = said["status"] in records.CLOSED
        names = (self.metrics.name, self.checkpoint.name, *left) if closed else ()
        records.write(self.record_file, {**said, "seal": {"files": seal.of_files(self.path, names)}})

    def check(self, said: Mapping[str, Any]) -> None:
        """Refuse files that are not as a closed run left them.

        Parameters
        ----------
        said : what ``run.json`` says.

        Raises
        ------
        RunError
            If one was changed, or its table is missing, or the checkpoint from which it would go on.
        """
        needed = (self.metrics,) if said["status"] == "done" else (self.metrics, self.checkpoint)
        seal.check_there(self.path, said, *(file.name for file in needed))
        seal.check(self.path, said)
        if said["status"] in records.CLOSED and not seal.of(said):
            self.read_metrics()

    def read_metrics(self) -> pandas.DataFrame:
        """The rows of ``metrics.csv``.

        Raises
        ------
        RunError
            If they are not those that were written.
        """
        said = self.record() or {"status": "running"}
        if said["status"] in records.CLOSED:
            seal.check_there(self.path, said, self.metrics.name)
            seal.check(self.path, said, self.metrics.name)
            return read_metrics(
                self.metrics, closed=True, rows=said.get("update") if said["status"] == "done" else None
            )
        saved = self.load_checkpoint()
        if saved is None or "rows" not in saved:
            return read_metrics(self.metrics)
        return read_metrics(self.metrics, rows=saved["update"], sha256=saved["rows"])

    def dataset(self, name: str) -> xarray.Dataset:
        """A NetCDF file that the finished run left.

        Raises
        ------
        RunError
            If it is missing, damaged, or was changed since it was written.
        """
        seal.check(self.path, self.record(), name)
        return read_netcdf(self.path / name)

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
