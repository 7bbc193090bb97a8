"""Store a figure: PDF, SVG and PNG, the drawn data beside them, and the command that made it."""

from __future__ import annotations

import io
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import xarray as xr
from fontTools import subset
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bioplaus.content import impersonal, place
from bioplaus.errors import RunError
from bioplaus.figures import marks
from bioplaus.figures.style import style

DPI = 300
FORMATS = (".pdf", ".svg", ".png")

_DROPPED = "_drop_tables_default"  # where fontTools lists the tables that a font loses when it is cut out
_RULES = ("GDEF", "GPOS", "GSUB", "MATH", "kern")  # classes, kerning, ligatures, formulas


def save(
    figure: Figure,
    path: str | os.PathLike[str],
    *,
    data: Any = None,
    command: str | None = None,
    drawn_by: str = "a script",
) -> dict[str, Path]:
    """Write a figure in three formats, its data and its origin; each file appears whole or not at all.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : path
        Without suffix: ``figures/learning`` gives ``learning.pdf`` (fonttype 42), ``learning.svg`` (text as
        text), ``learning.png`` (300 dpi), ``learning.csv`` or ``learning.npz`` (the data) and
        ``learning.json``. ``~`` is the home.
    data : pandas.DataFrame, mapping, xarray.Dataset or None
        What is drawn. A table becomes a CSV file; arrays by name (mappings may be nested) or a dataset become
        an NPZ file. None: what the figures of `bioplaus.figures` remember themselves.
    command : str, optional
        What has to be typed to get this figure. None: the command line of this process.
    drawn_by : str
        Whose figure it is, for those who would draw another in its place.

    Returns
    -------
    dict of str to Path
        Suffix → file.

    Raises
    ------
    RunError
        No data were given, or they can't be stored; a file of that name is there that bioplaus has not drawn, or that was changed
        since; the folder can't be written to. Nothing is written then.
    """
    data = getattr(figure, "drawn", None) if data is None else data
    if data is None:
        raise RunError(
            f"The figure {os.fspath(path)!r} can't be saved without the data that it shows: it was not "
            "drawn by bioplaus.figures. Give save(figure, path, data=…) a table or a dict of arrays."
        )
    stem = stem_of(path)
    command = impersonal(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]) if command is None else command)
    kind, content = _encode(data)
    files = {**_pictures(figure, stem.name, command), kind: content}
    told = {"command": command, "drawn_by": drawn_by, "data": stem.name + kind}
    try:
        return marks.write(stem, files, told | _origin(figure, stem.name, files))
    except OSError as error:
        raise RunError(
            f"The figure {stem} can't be saved: {stem.parent} is no folder in which something can be written "
            f"({error.strerror or error}). Give another, or make room."
        ) from error


def _origin(figure: Figure, name: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "files": [name + suffix for suffix in files],
        "size_mm": [round(25.4 * side, 2) for side in figure.get_size_inches()],
        "saved": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"bioplaus": _version(), "matplotlib": matplotlib.__version__, "numpy": np.__version__},
    }


def load_data(path: str | os.PathLike[str]) -> pd.DataFrame | dict[str, np.ndarray]:
    """Data stored beside a figure, exactly as they were: a table from CSV, arrays by name from NPZ.

    Parameters
    ----------
    path : path
        Of the figure, with or without suffix.
    """
    stem = stem_of(path, (*FORMATS, ".csv", ".npz", ".json"))
    if (csv := stem.with_name(stem.name + ".csv")).is_file():
        # Python's float() restores every digit; pandas' own parser does so only in some versions.
        real = pd.read_csv(csv).select_dtypes("floating").columns
        return pd.read_csv(csv, converters=dict.fromkeys(real, lambda text: float(text or "nan")))
    if (npz := stem.with_name(stem.name + ".npz")).is_file():
        with np.load(npz, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    raise RunError(
        f"No data are stored beside the figure {os.fspath(stem)!r}: neither {csv.name} nor {npz.name} is "
        "there. Give the path of a figure that bioplaus.figures.save wrote."
    )


def stem_of(path: str | os.PathLike[str], suffixes: tuple[str, ...] = FORMATS) -> Path:
    """The path of a figure without the suffix of one of its files.

    Raises
    ------
    RunError
        If it is no path.
    """
    given = place(RunError, "The path of a figure", path)
    return given.with_name(given.stem) if given.suffix.lower() in suffixes else given


def _pictures(figure: Figure, name: str, command: str) -> dict[str, bytes]:
    """The figure as bytes in each format, with the command in the file's own metadata and no date in it."""
    notes = {
        ".pdf": {"Title": name, "Subject": command, "Creator": "bioplaus", "CreationDate": None},
        ".svg": {"Title": name, "Description": command, "Creator": "bioplaus", "Date": None},
        ".png": {"Title": name, "Description": command, "Software": "bioplaus"},
    }
    pictures = {}
    canvas = figure.canvas
    try:
        with style():
            # A canvas of our own: one from a notebook may draw at the screen's resolution.
            FigureCanvasAgg(figure)
            with _laid_out(figure), _bare_fonts():
                for suffix in FORMATS:
                    buffer = io.BytesIO()
                    figure.savefig(buffer, format=suffix[1:], dpi=DPI, facecolor="white", metadata=notes[suffix])
                    pictures[suffix] = buffer.getvalue()
    finally:
        figure.set_canvas(canvas)
    return pictures


@contextmanager
def _laid_out(figure: Figure) -> Iterator[None]:
    """Lay a figure out once for all formats, at the resolution of the finest; else it is laid out, and drawn more often, for each."""
    engine, dpi = figure.get_layout_engine(), figure.get_dpi()
    if engine is None:
        yield
        return
    figure.set_dpi(DPI)
    try:
        engine.execute(figure)
        figure.set_layout_engine(None)
        yield
    finally:
        figure.set_dpi(dpi)
        figure.set_layout_engine(engine)


@contextmanager
def _bare_fonts() -> Iterator[None]:
    """Fonts are put into PDF files without their rules for setting text, which two thirds of the time to cut a font out would go to.

    A file names the glyphs that it shows and where each stands, so that nobody who reads it looks at these rules.
    """
    before = getattr(subset.Options, _DROPPED, None)
    if before is None:  # another fontTools: fonts are as they come
        yield
        return
    setattr(subset.Options, _DROPPED, [*before, *_RULES])
    try:
        yield
    finally:
        setattr(subset.Options, _DROPPED, before)


def _encode(data: Any) -> tuple[str, bytes]:
    if isinstance(data, pd.DataFrame):
        return ".csv", data.to_csv(index=False, lineterminator="\n").encode()
    arrays = dict(_arrays(data))
    if not arrays:
        raise RunError("The data of a figure can't be empty: give a table with rows, or at least one array.")
    buffer = io.BytesIO()
    # The stubs take the second positional parameter's name for a keyword of another type.
    np.savez_compressed(buffer, **arrays)  # pyright: ignore[reportArgumentType]
    return ".npz", buffer.getvalue()


def _arrays(data: Any, prefix: str = ""):
    """(name, array) of every array in nested mappings, sequences and datasets; names joined by full stops."""
    if isinstance(data, xr.Dataset):
        data = {str(name): data[name].values for name in (*data.data_vars, *data.coords)}
    if isinstance(data, Mapping):
        for name, value in data.items():
            yield from _arrays(value, f"{prefix}.{name}" if prefix else str(name))
        return
    try:
        array = np.asarray(data)
    except ValueError:  # rows of different lengths
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "biufcUS" or not prefix:
        raise RunError(
            f"The data of a figure can't be stored: {prefix or 'they'} are a {type(data).__name__}. Give a "
            "pandas DataFrame, an xarray Dataset, or a dict of numbers, numpy arrays and strings."
        )
    yield prefix, array


def _version() -> str:
    try:
        return metadata.version("bioplaus")
    except metadata.PackageNotFoundError:  # read from a checkout that was never installed
        return "unknown"
