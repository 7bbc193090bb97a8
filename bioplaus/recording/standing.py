"""Where a circuit stands, as labelled arrays that can be saved: what `bioplaus.simulate` goes on from.

Of every population, with its name and a full stop in front where there are several:

====================  ======================================================================================
``v``, …              state variables, (batch, unit)
``last outputs``      spikes or rates of the last steps, the newest first, (age, batch, unit): as many as delays are long
``refractory steps``  how many are left, (batch, unit); where cells are refractory
``filtered output``   what a leaky readout sees of it, (batch, unit); where the readout leaks
``spikes so far``     since the last recorded step, (batch, unit); where ``every=`` left off between two
====================  ======================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from bioplaus import checks
from bioplaus.circuit import Network
from bioplaus.circuit.network import PopulationState, State
from bioplaus.errors import CircuitError

if TYPE_CHECKING:
    import xarray

SAID, WAIT, SEEN, SO_FAR = "last outputs", "refractory steps", "filtered output", "spikes so far"
#: what says of a dataset that it is a state
MARK = "steps"
HOW = (
    "what bp.simulate(…, return_state=True) returns beside the recording, or what xarray.load_dataset reads of its file"
)


class Standing(NamedTuple):
    """A state, and what goes on with it."""

    state: State
    step: int
    seed: int
    backend: str
    every: int
    counted: Mapping[int, np.ndarray]  # by population


def state_of(network: Network, at: Standing) -> xarray.Dataset:
    """A state as labelled arrays."""
    import xarray as xr

    variables: dict[str, Any] = {}
    for (name, dims, unit), value in zip(_parts(network), _values(network, at.state), strict=True):
        variables[name] = (dims, value.cpu().numpy(), {"units": unit})
    for i, counts in at.counted.items():
        prefix, dim = _called(network, i)
        variables[prefix + SO_FAR] = (("batch", dim), counts, {"units": "1"})
    attributes: dict[str, Any] = {
        MARK: at.step,
        "seed": at.seed,
        "backend": at.backend,
        "dt_ms": network.circuit.dt * 1e3,
        "circuit": network.circuit.name,
    }
    if at.counted:
        attributes["every"] = at.every
    return xr.Dataset(variables, attrs=attributes)


def standing(network: Network, given: Any, batch: int) -> Standing:
    """A state that was given, if it fits.

    Raises
    ------
    CircuitError
        For what is no state, or that of another circuit, batch or step.
    """
    _refuse_strange(given)
    parts = _parts(network)
    _refuse_others(network, given, [name for name, _, _ in parts])
    dt = network.circuit.dt * 1e3
    if not np.isclose(given.attrs.get("dt_ms", dt), dt, rtol=1e-9):
        raise CircuitError(
            f"The state is of a circuit whose step is {given.attrs['dt_ms']:g} ms, and this one's is {dt:g} ms: refractory periods and what is on its way are "
            "counted in steps. Go on with the step it was made with."
        )
    if (samples := given.sizes.get("batch", batch)) != batch:
        raise CircuitError(
            f"The state has {samples} samples, and the inputs have {batch}. Give as many; one sample's state for all is state.isel(batch=[0]*{batch})."
        )
    sizes = _sizes(network, batch)
    taken = [_array(given, name, dims, sizes) for name, dims, _ in parts]
    values = iter([torch.tensor(each, dtype=network.dtype, device=network.device) for each in taken])
    populations = []
    for p in network.populations:
        s = tuple([next(values) for _ in p.start])
        # each in memory of its own: products round by how that is laid, too
        said = tuple([y.clone() for y in next(values)])
        populations.append(PopulationState(s, said, next(values) if p.refracts else None))
    counted = {}
    for i, _ in enumerate(network.populations):
        prefix, dim = _called(network, i)
        if prefix + SO_FAR in given:
            counted[i] = _array(given, prefix + SO_FAR, ("batch", dim), sizes)
    whole = {
        name: checks.whole(CircuitError, f"'{name}' of the state", given.attrs.get(name), least, checks.SEED.most)
        for name, least in ((MARK, 0), ("seed", 0), *((("every", 1),) if counted else ()))
    }
    backend = str(given.attrs.get("backend", "torch"))
    return Standing(
        State(tuple(populations), tuple(values)), whole[MARK], whole["seed"], backend, whole.get("every", 1), counted
    )


def seed_of(given: Any) -> int:
    """The seed that a state goes on with; 0 where there is none."""
    if given is None:
        return 0
    _refuse_strange(given)
    return checks.whole(CircuitError, "'seed' of the state", given.attrs.get("seed"), 0, checks.SEED.most)


def _called(network: Network, i: int) -> tuple[str, str]:
    """What stands before a population's names, and its dim."""
    name = network.populations[i].name
    return (f"{name}.", f"unit_{name}") if len(network.populations) > 1 else ("", "unit")


def _parts(network: Network) -> list[tuple[str, tuple[str, ...], str]]:
    """Name, dims and unit of all that crosses from one step to the next, in order."""
    found: list[tuple[str, tuple[str, ...], str]] = []
    for i, p in enumerate(network.populations):
        prefix, dim = _called(network, i)
        cell = network.circuit.populations[p.name].cell
        found += [(prefix + s, ("batch", dim), cell.units.get(s, "1")) for s in cell.states]
        found.append((prefix + SAID, (f"age{dim.removeprefix('unit')}", "batch", dim), "1"))
        if p.refracts:
            found.append((prefix + WAIT, ("batch", dim), "1"))
    if network.kappa:
        for i in network.sources:
            prefix, dim = _called(network, i)
            found.append((prefix + SEEN, ("batch", dim), "1"))
    return found


def _values(network: Network, state: State) -> list[torch.Tensor]:
    """What `_parts` names."""
    found: list[torch.Tensor] = []
    for p in state.populations:
        found += [*p.s, torch.stack(p.y)]
        found += [] if p.wait is None else [p.wait]
    return [*found, *state.filtered]


def _sizes(network: Network, batch: int) -> dict[str, int]:
    sizes = {"batch": batch}
    for i, p in enumerate(network.populations):
        dim = _called(network, i)[1]
        sizes |= {dim: p.size, f"age{dim.removeprefix('unit')}": p.slots}
    return sizes


def _refuse_strange(given: Any) -> None:
    import xarray as xr

    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], xr.Dataset):
        raise CircuitError(
            "state is both that simulate(…, return_state=True) returns; it must be the second. Write: recording, state = bp.simulate(…, return_state=True)."
        )
    if isinstance(given, xr.Dataset) and MARK not in given.attrs:
        what = "a recording" if "output" in given or "time" in given.dims else "a dataset without the attribute 'steps'"
        raise CircuitError(f"state is {what}, from which nothing can go on: it must be {HOW}.")
    if not isinstance(given, xr.Dataset):
        raise checks.refusal(CircuitError, "state", given, HOW)


def _refuse_others(network: Network, given: xarray.Dataset, names: list[str]) -> None:
    """Refuse a state that lacks something, or has more."""
    there = {str(name) for name in given.data_vars if str(name).rpartition(".")[2] != SO_FAR}
    lacking, more = [name for name in names if name not in there], sorted(there.difference(names))
    if lacking or more:
        said = [f"lacks {', '.join(lacking)}"] * bool(lacking) + [
            f"has {', '.join(more)}, which the circuit has not"
        ] * bool(more)
        raise CircuitError(
            f"The state, of the circuit '{given.attrs.get('circuit', 'unnamed')}', does not fit the circuit '{network.circuit.name}' ({network.circuit.counts()}): it "
            f"{' and '.join(said)}. Go on with the circuit it was made with."
        )


def _array(given: xarray.Dataset, name: str, dims: tuple[str, ...], sizes: Mapping[str, int]) -> np.ndarray:
    """One part, as it must be."""
    found = given[name]
    wanted = tuple(sizes[dim] for dim in dims)
    if set(found.dims) != set(dims) or (values := found.transpose(*dims).values).shape != wanted:
        has = ", ".join(f"{dim} {size}" for dim, size in found.sizes.items())
        raise CircuitError(
            f"'{name}' of the state has {has}; this circuit's has {', '.join(f'{dim} {sizes[dim]}' for dim in dims)}. Go on with the circuit it was made with."
        )
    if values.dtype.kind not in "fiub" or not np.isfinite(values).all():
        raise CircuitError(f"'{name}' of the state holds what is not a finite number: nothing can go on from there.")
    return values
