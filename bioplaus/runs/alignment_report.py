"""What all seeds of an alignment leave together: two datasets, a table, three figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioplaus.errors import RunError, unknown
from bioplaus.runs import provenance, seal
from bioplaus.runs.event import Event, Report, unheard
from bioplaus.runs.folder import RunFolder
from bioplaus.runs.netcdf import read_netcdf, write_netcdf
from bioplaus.runs.report import markdown, read_report, write_tables
from bioplaus.runs.spread import spread

if TYPE_CHECKING:
    import pandas
    import xarray
    from matplotlib.figure import Figure

FIGURES = ("alignment", "pairwise", "credit")
ALL = "all"  # weights of the circuit together


def write_report(
    folder: Path,
    places: Mapping[int, Path],
    label: str,
    origin: dict[str, Any],
    report: Report = unheard,
) -> list[Path]:
    """Put the seeds together; write datasets, table and figures, each whole or not at all.

    Parameters
    ----------
    folder : Path
        Where to.
    places : mapping of int to Path
        Seed → its folder.
    label : str
        How the seeds' trajectories are called.
    origin : dict
        What `bioplaus.runs.origin.origin_of` gave.
    report : callable
        Told of every figure (``"drawn"``).

    Returns
    -------
    list of Path
        The figures' PDF files.

    Raises
    ------
    RunError
        A seed's file is damaged.
    """
    from bioplaus.figures.alone import alone

    with alone(folder, ".*.tmp.*"):
        data = {name: joined(places, name) for name in ("alignment.nc", "credit.nc")}
        for name, dataset in data.items():
            write_netcdf(dataset.assign_attrs(command=provenance.command()), folder / name)
        rows = table(data["alignment.nc"], [str(rule) for rule in data["credit.nc"]["rule"].values])
        said = {"title": label, **origin, "runs": {label: [place.name for place in places.values()]}}
        write_tables(folder, said, {"table.csv": rows.to_csv(index=False), "table.md": markdown(rows)}, data)
    return draw_figures(folder, report)


def joined(places: Mapping[int, Path], name: str) -> xarray.Dataset:
    """One file of every seed, side by side along ``seed``."""
    import xarray

    parts: list[xarray.Dataset] = [
        RunFolder(place).dataset(name).expand_dims(seed=[seed]) for seed, place in places.items()
    ]
    return xarray.concat(parts, "seed", join="outer", combine_attrs="drop_conflicts")


def table(alignment: xarray.Dataset, rules: list[str]) -> pandas.DataFrame:
    """Mean ± s.e.m. over seeds of what each rule's gradient of all the circuit's weights was like, over the measured updates.

    Cosine, norm ratio and relative error are means over updates. Bias and deviation are root mean squares; the squares of the
    bias are averaged as they were estimated, below 0 where it so happened, and the root is taken of what is left, so that a
    rule without bias has about none, however noisy it is.
    """
    import pandas

    found = []
    for rule in rules:
        one = alignment.sel(rule=rule, weight=ALL)
        squares = (one["bias_squared"].mean("update"), (one["deviation"] ** 2).mean("update"))
        measures = {
            "cosine": one["cosine"].mean("update"),
            "norm ratio": one["norm_ratio"].mean("update"),
            "relative error": one["relative_error"].mean("update"),
            "bias": squares[0].clip(min=0) ** 0.5,
            "deviation": squares[1] ** 0.5,
        }
        row: dict[str, Any] = {"rule": rule, "n": alignment.sizes["seed"]}
        for name, values in measures.items():
            over_seeds = spread(values.values.tolist())
            row |= {name: over_seeds.mean, f"{name} s.e.m.": over_seeds.sem}
        found.append(row)
    return pandas.DataFrame(found)


def draw_figures(
    folder: Path, report: Report = unheard, names: tuple[str, ...] = FIGURES, into: Path | None = None
) -> list[Path]:
    """Draw from the datasets in a folder, that of all seeds or that of one, in figures/ unless said; figures without anything to show
    are skipped with a note."""
    from bioplaus.figures import marks, save

    names_of_data = ("alignment.nc", "credit.nc")
    if (folder / "run.json").exists():
        datasets = [RunFolder(folder).dataset(name) for name in names_of_data]
    else:
        seal.check(folder, read_report(folder), *names_of_data, remedy=seal.AGAIN)
        datasets = [read_netcdf(folder / name) for name in names_of_data]
    alignment, credit = (each if "seed" in each.dims else each.expand_dims("seed") for each in datasets)
    drawn = []
    for name in names:
        try:
            figure = draw(alignment, credit, name)
        except RunError as error:
            report(Event("note", message=f"The figure {name!r} was not drawn: {error}"))
            continue
        where = (into or folder / "figures") / name
        drawn.append(save(figure, where, command=provenance.command(), drawn_by=marks.STANDARD)[".pdf"])
        report(Event("drawn", folder=str(drawn[-1])))
    return drawn


def draw(alignment: xarray.Dataset, credit: xarray.Dataset, name: str) -> Figure:
    """One of `FIGURES`, of all the circuit's weights together.

    Raises
    ------
    RunError
        If there is no such figure, or nothing was measured that it could show.
    """
    from bioplaus import figures

    rules = [str(rule) for rule in credit["rule"].values]
    if name == "alignment":
        return figures.along(_curves(alignment["cosine"].sel(weight=ALL), "update", rules))
    if name == "pairwise":
        cosines = alignment["pairwise"].sel(weight=ALL)
        return figures.pairwise(
            cosines.mean(["seed", "update"]).values, [str(rule) for rule in alignment["rule"].values]
        )
    if name == "credit":
        return figures.credit(*(_curves(credit[kind], "lag", rules) for kind in ("cosine", "norm_ratio")))
    raise RunError(unknown("figure of an alignment", name, FIGURES))


def _curves(values: xarray.DataArray, along: str, rules: list[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    places = values[along].values.astype(float)
    rows = {rule: values.sel(rule=rule).transpose("seed", along).values for rule in rules}
    return {rule: (places, np.where(np.isinf(row), math.nan, row)) for rule, row in rows.items()}
