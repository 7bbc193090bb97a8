"""Run a circuit and record it: labelled arrays with units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bioplaus import checks
from bioplaus.circuit import Circuit, Network
from bioplaus.circuit.backend import choice
from bioplaus.circuit.dale import refuse_negative
from bioplaus.circuit.trajectory import pieces
from bioplaus.codegen.threads import threads as on
from bioplaus.errors import CircuitError, unknown
from bioplaus.settings import ours

if TYPE_CHECKING:
    import xarray


#: what is recorded where nothing is asked for: what neurons say, in spikes or rates
SPOKEN = ("spikes", "rate")


@ours()
def simulate(
    circuit: Circuit | Network,
    inputs: Any,
    record: Any = SPOKEN,
    *,
    seed: int = 0,
    dtype: str = "float64",
    targets: Any = None,
    weight: Any = None,
    lenient: bool = False,
    backend: str = "auto",
    threads: int = 1,
) -> xarray.Dataset:
    """Simulate a circuit under external input; nothing learns.

    Parameters
    ----------
    circuit : a circuit, built here with ``seed`` and ``dtype``, or a built network (for example ``run.network``).
    seed : of the weights, where they are drawn here, and of noise and background; `bioplaus.brian.simulate` draws the same.
    inputs : (time, batch, input) or (time, input), array or tensor.
    record : a name or several: any of the cells' state variables (value at the end of the step, after the reset), ``"spikes"`` (spiking cells) or ``"rate"``;
        by default that of the two which a cell has.
    targets, weight : recorded beside the output, if given: what was asked for, and where.
    backend : ``"torch"``, ``"numba"`` (fused loops, for spiking circuits), or ``"auto"``, which takes those where the work is large.
    threads : on how many processors fused loops run at most, with the same results to the last bit.
    lenient : pass over names that no population has, instead of refusing.

    Returns
    -------
    xarray.Dataset
        Dims time (ms), batch, unit; one variable per recorded name, plus ``input`` and ``output``. With several populations
        the variables are ``population.name`` and the unit dims ``unit_population``. Units in the attributes.

    Raises
    ------
    CircuitError
        For an unknown name or inputs of the wrong shape.
    """
    if not isinstance(circuit, (Circuit, Network)):
        raise checks.refusal(CircuitError, "The circuit", circuit, "one that bp.circuit('recurrent', cell=…) makes")
    dtype = checks.accept(CircuitError, "dtype", dtype, checks.Word(("float64", "float32")))
    network = circuit if isinstance(circuit, Network) else circuit.build(seed=seed, dtype=getattr(torch, dtype))
    x = checked_inputs(network, inputs)
    wanted = resolve(network, record, lenient or record is SPOKEN)
    chosen = choice(backend, network, *x.shape[:2]).name
    with torch.no_grad(), on(checks.accept(CircuitError, "threads", threads, checks.Whole())):
        parts: dict[str, list[np.ndarray]] = {label: [] for label in wanted}
        outputs = []
        states = any(kind != "y_now" for _, kind, _ in wanted.values())
        for piece in pieces(network, x, seed, backend=chosen, states=states, u=states):
            for label, (p, kind, i) in wanted.items():
                parts[label].append(piece.get(p, kind, i).cpu().numpy())
            outputs.append(network.output(piece.seen()).cpu().numpy())
    values, output = {label: np.concatenate(each) for label, each in parts.items()}, np.concatenate(outputs)
    return dataset(network, values, {k: p for k, (p, _, _) in wanted.items()}, x.cpu().numpy(), output, targets, weight)


def checked_inputs(network: Network, inputs: Any) -> torch.Tensor:
    """Inputs as a (time, batch, input) tensor that fits the network."""
    try:
        if (unit := checks.dimensions(inputs)) and not hasattr(inputs, "detach"):
            raise CircuitError(
                f"inputs carry a unit ({', '.join(unit)}); they are plain numbers, which the weights turn into currents: one unit of weight is what the cell's "
                "inputs={'I': …} says. Divide by a unit."
            )
        given = inputs.detach().to_dense() if isinstance(inputs, torch.Tensor) else torch.as_tensor(np.array(inputs))
    except (TypeError, ValueError) as error:
        raise checks.refusal(
            CircuitError, "inputs", inputs, f"an array (time, batch, {network.circuit.inputs})"
        ) from error
    if given.is_complex():
        raise CircuitError(
            f"inputs hold complex numbers ({given.dtype}); a circuit takes real ones. Give .real or abs()."
        )
    x = given.to(device=network.device, dtype=network.dtype)
    x = x.unsqueeze(1) if x.dim() == 2 else x
    if x.dim() != 3 or x.shape[2] != network.circuit.inputs or 0 in x.shape[:2]:
        raise CircuitError(
            f"inputs have shape {tuple(np.shape(inputs))}; expected (time, batch, {network.circuit.inputs}) or (time, {network.circuit.inputs})."
        )
    if not bool(torch.isfinite(x).all()):
        raise CircuitError("inputs contain values that are not finite (NaN or infinity).")
    refuse_negative(network.circuit, x, "inputs")
    return x


def resolve(network: Network, record: Any, lenient: bool = False) -> dict[str, tuple[int, str, int]]:
    """Recorded names → (population, kind, index)."""
    if isinstance(record, str):
        record = (record,)
    if isinstance(record, Mapping):
        raise CircuitError(
            f"record is {checks.short(record)}; it must be a name, or several such as ('v', 'spikes'). All units are recorded: choose among them afterwards, "
            f"as in .{next(iter(record), 'v')}.isel(unit=[0, 1])."
        )
    record = checks.accept(CircuitError, "record", record, checks.Several(checks.Word(), "('v', 'spikes')", least=0))
    found: dict[str, tuple[int, str, int]] = {}
    several = len(network.populations) > 1
    for name in record:
        here = {}
        for i, p in enumerate(network.populations):
            label = f"{p.name}.{name}" if several else name
            derived = p.kernel.derived
            if name in derived.states:
                here[label] = (i, "after", derived.states.index(name))
            elif name == ("spikes" if derived.spiking else "rate"):
                here[label] = (i, "y_now", 0)
        if not here and not lenient:
            known = sorted(
                {
                    n
                    for p in network.populations
                    for n in (*p.kernel.derived.states, "spikes" if p.kernel.derived.spiking else "rate")
                }
            )
            raise CircuitError(unknown("recordable variable", name, known))
        found |= here
    return found


def dataset(
    network: Network,
    values: dict[str, Any],
    population: dict[str, int],
    inputs: Any,
    output: Any,
    targets: Any = None,
    weight: Any = None,
) -> xarray.Dataset:
    """Label recordings."""
    import xarray as xr

    several = len(network.populations) > 1
    variables: dict[str, Any] = {}
    for label, value in values.items():
        p = network.populations[population[label]]
        unit = f"unit_{p.name}" if several else "unit"
        variables[label] = (
            ("time", "batch", unit),
            value,
            {"units": _unit(network, p.name, label.rpartition(".")[2]), "population": p.name},
        )
    variables["input"] = (("time", "batch", "unit_input"), inputs, {"units": "1"})
    variables["output"] = (("time", "batch", "unit_output"), output, {"units": "1"})
    if targets is not None:
        t = _beside(np.asarray(targets), "targets", inputs)
        dims = ("time", "batch", "unit_output") if t.ndim == 3 else ("time", "batch")
        variables["target"] = (dims, t, {"units": "1"})
    if weight is not None:
        variables["weight"] = (("time", "batch"), _beside(np.asarray(weight), "weight", inputs), {"units": "1"})
    dt = network.circuit.dt * 1e3
    # discrete maps have steps, not milliseconds, unless a differential equation beside them gives time a scale
    scaled = any(p.cell.continuous or p.cell.spiking for p in network.circuit.populations.values())
    steps = np.arange(len(inputs))
    time = xr.DataArray(steps * dt if scaled else steps, dims="time", attrs={"units": "ms" if scaled else "1"})
    return xr.Dataset(variables, coords={"time": time}, attrs={"dt_ms": dt, "circuit": network.circuit.name})


def _beside(array: np.ndarray, name: str, inputs: Any) -> np.ndarray:
    if array.shape[:2] != inputs.shape[:2]:
        raise CircuitError(
            f"{name} have shape {array.shape}, but the inputs have {inputs.shape[0]} steps of {inputs.shape[1]} samples: (time, batch, …) is expected of both."
        )
    return array


def _unit(network: Network, population: str, name: str) -> str:
    if name in ("spikes", "rate"):
        return "1 per step" if name == "spikes" else "1"
    cell = network.circuit.populations[population].cell
    return cell.units.get(name, "1")
