"""Datasets as compressed NetCDF files, each whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from bioplaus.errors import RunError
from bioplaus.runs.atomic import write_atomically

if TYPE_CHECKING:
    import xarray


def write_netcdf(dataset: xarray.Dataset, path: Path) -> None:
    """Write a dataset; until it is whole on the disk an old file stays."""
    squeeze = {name: {"zlib": True, "complevel": 1} for name, array in dataset.data_vars.items() if array.ndim}
    content = io.BytesIO()  # first: HDF5 crashes where the disk is full
    dataset.to_netcdf(content, engine="h5netcdf", encoding=squeeze)
    write_atomically(path, lambda file: file.write_bytes(content.getbuffer()))


def read_netcdf(path: Path) -> xarray.Dataset:
    """A dataset, all of it.

    Raises
    ------
    RunError
        If the file is missing or damaged.
    """
    import xarray

    try:
        return xarray.load_dataset(path, engine="h5netcdf")
    except Exception as error:  # h5py raises several kinds for damaged files
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(
            f"{path} can't be read: {why}. Take the file away, and the command that made it makes it again."
        ) from error
