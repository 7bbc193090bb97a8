"""Recordings as labelled arrays with units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from bioplaus.circuit import Network
from bioplaus.errors import CircuitError
from bioplaus.recording.asked import Asked
from bioplaus.recording.kept import recorded_steps
from bioplaus.recording.known import coordinates as known

if TYPE_CHECKING:
    import xarray


def dataset(
    network: Network,
    recorded: Sequence[tuple[Asked, np.ndarray]],
    first: int,
    last: int,
    every: int,
    beside: Mapping[str, np.ndarray],
    trials: Mapping[str, np.ndarray] = MappingProxyType({}),
    others: Mapping[int, Sequence[np.ndarray | None]] = MappingProxyType({}),
) -> xarray.Dataset:
    """Label what was recorded of the steps from ``first`` to before ``last``, counted from the first there ever was.

    Parameters
    ----------
    beside : input, output, target and weight at these steps.
    trials : what is known of each sample.
    others : by population, the units of what will be recorded beside.

    Raises
    ------
    CircuitError
        If what is known goes by the name of something recorded.
    """
    import xarray as xr

    variables: dict[str, Any] = {}
    coordinates = known(trials, first, *_scale(network))
    coordinates["time"] = times(network, recorded_steps(first, last, every))
    for one, value in recorded:
        p = network.populations[one.population]
        dim = f"unit_{p.name}" if len(network.populations) > 1 else "unit"
        together = [other.units for other, _ in recorded if other.population == one.population]
        if one.units is not None:
            # numbers that are not those of its neighbours are counted along an axis of its own
            dim = dim if alike([*together, *others.get(one.population, ())]) else f"unit_{one.label}"
            coordinates[dim] = one.units
        unit = f"1 per {every} steps" if one.counted and every > 1 else one.unit
        variables[one.label] = (("time", "batch", dim), value, {"units": unit, "population": p.name})
    for name, values in beside.items():
        dim = "unit_input" if name == "input" else "unit_output"
        variables[name] = (("time", "batch", dim) if values.ndim == 3 else ("time", "batch"), values, {"units": "1"})
    if taken := sorted(coordinates.keys() & variables.keys()):
        raise CircuitError(
            f"The trials have an entry '{taken[0]}', and so is called what is recorded. Call it otherwise in trials= of the Batch, or do not record it."
        )
    attributes: dict[str, Any] = {"dt_ms": network.circuit.dt * 1e3, "circuit": network.circuit.name}
    if every > 1:
        attributes["every"] = every
    return xr.Dataset(variables, coords=coordinates, attrs=attributes)


def alike(units: Sequence[np.ndarray | None]) -> bool:
    """Whether all are the same numbers, or all are None: all units."""
    first = units[0]
    return all(
        np.array_equal(each, first) if each is not None and first is not None else each is first for each in units
    )


def times(network: Network, steps: np.ndarray) -> Any:
    """When steps begin: in ms; of discrete maps their number, unless a differential equation beside them gives time a scale."""
    import xarray as xr

    scale, unit = _scale(network)
    return xr.DataArray(steps * scale, dims="time", attrs={"units": unit})


def _scale(network: Network) -> tuple[float, str]:
    """What a step is on the axis of time, and in which unit."""
    scaled = any(p.cell.continuous or p.cell.spiking for p in network.circuit.populations.values())
    return (network.circuit.dt * 1e3, "ms") if scaled else (1, "1")
