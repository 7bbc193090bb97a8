"""Simulate a circuit with Brian2, recorded like `bioplaus.simulate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, overload

import brian2
import numpy as np
import torch

from bioplaus import checks
from bioplaus.brian import twin
from bioplaus.brian.names import Names
from bioplaus.brian.standing import behind, evaluated, on_their_way, part
from bioplaus.circuit import Circuit, Network
from bioplaus.circuit.perturbed import perturbed, refuse_late
from bioplaus.errors import CircuitError
from bioplaus.recording import Kept, Standing, asked, dataset, standing, state_of, thinned
from bioplaus.recording.between import over, refuse_nothing, settled, so_far
from bioplaus.settings import ours
from bioplaus.simulate import beside, checked_inputs
from bioplaus.symbolic.derive import NOW, after
from bioplaus.symbolic.runtime import runtime
from bioplaus.symbolic.units import plain
from bioplaus.tasks import Batch
from bioplaus.tasks.known import known_of

if TYPE_CHECKING:
    import xarray
    from torch import Tensor

    from bioplaus.cell import Cell
    from bioplaus.circuit.network import State
    from bioplaus.circuit.wiring import Wiring
    from bioplaus.symbolic.derive import Derived

# chosen: so many synapses at once take Brian2 some 100 MB; larger batches run in parts
SYNAPSES = 2_000_000


#: what is recorded where nothing is asked for, as far as cells have it
SEEN = ("v", "spikes", "rate")


@overload
def simulate(
    circuit: Circuit | Network,
    inputs: Any,
    record: Any = ...,
    *,
    every: int = ...,
    state: Any = ...,
    return_state: Literal[False] = ...,
    seed: int | None = ...,
    perturb: Any = ...,
) -> xarray.Dataset: ...
@overload
def simulate(
    circuit: Circuit | Network,
    inputs: Any,
    record: Any = ...,
    *,
    every: int = ...,
    state: Any = ...,
    return_state: Literal[True],
    seed: int | None = ...,
    perturb: Any = ...,
) -> tuple[xarray.Dataset, xarray.Dataset]: ...
@ours()
def simulate(
    circuit: Circuit | Network,
    inputs: Any,
    record: Any = SEEN,
    *,
    every: int = 1,
    state: Any = None,
    return_state: bool = False,
    seed: int | None = None,
    perturb: Any = None,
) -> xarray.Dataset | tuple[xarray.Dataset, xarray.Dataset]:
    """Simulate a circuit with Brian2: equations, weights and step of `bioplaus.simulate` in another simulator.

    Brian2 runs inside this process with its numpy target; its device and preferences are put back as they were.

    Parameters
    ----------
    circuit : a circuit, built here with ``seed`` in float64, or a built network (for example ``run.network``),
        whose weights are taken as they are. Brian2 integrates its cells with their own ``method``.
    inputs : a `Batch`, (time, batch, input) or (time, input), array or tensor, as of `bioplaus.simulate`; constant during a step, acting in that step.
    record, every : as of `bioplaus.simulate`. Brian2 holds all steps and units while it runs.
    state, return_state : as of `bioplaus.simulate`; one may go on from the other's state.
    seed : of the weights, where they are drawn here, and of noise and background, the same that `bioplaus.simulate` draws; None: the state's, or 0.

    perturb : who interferes, as of `bioplaus.simulate`.

    Returns
    -------
    xarray.Dataset
        As from `bioplaus.simulate`: dims time (ms), batch, unit; always with ``input`` and ``output``; units in
        the attributes.

    Raises
    ------
    CircuitError
        For discrete maps, which Brian2 can't run, an unknown name, or inputs of the wrong shape.

    Examples
    --------
    >>> import bioplaus as bp
    >>> circuit = bp.circuit("recurrent", cell=bp.model("lif"), inputs=3, units=20, outputs=1, input_gain=9.0)
    >>> x = np.random.default_rng(0).normal(size=(200, 1, 3))
    >>> ours, theirs = bp.simulate(circuit, x, ("v", "spikes")), bp.brian.simulate(circuit, x, ("v", "spikes"))
    >>> bool(ours.spikes.equals(theirs.spikes)), bool(abs(ours.v - theirs.v).max() < 1e-12)
    (True, True)
    """
    if not isinstance(circuit, (Circuit, Network)):
        raise CircuitError(
            f"bp.brian.simulate takes a circuit or a built network, not {circuit!r}. "
            "Make one with bp.circuit('recurrent', …)."
        )
    every, seed = settled(every, state, seed)
    return_state = checks.accept(CircuitError, "return_state", return_state, checks.Flag())
    network = circuit if isinstance(circuit, Network) else circuit.build(seed=seed, dtype=torch.float64)
    _refuse_maps(network)
    network = perturbed(network, perturb)
    wanted = asked(network, record, lenient=record is SEEN)
    told = inputs if isinstance(inputs, Batch) else None
    given = checked_inputs(network, inputs if told is None else told.inputs)
    T, batch = given.shape[:2]
    trials = {} if told is None else known_of("The batch that is simulated:", told.trials, T, batch)
    at = None if state is None else standing(network, state, batch)
    first, start = (0, network.start(batch)) if at is None else (at.step, at.state)
    if not (return_state or at):
        refuse_late(network, T)
    refuse_nothing(every, first, first + T, return_state)
    counted = so_far(at, wanted, every)
    x = network.draw(given, seed, first=first)
    looked = {(p, "y_now", 0): None for p in network.sources}  # the readout sees outputs, recorded or not
    looked |= dict.fromkeys(one.key for one in wanted)
    if return_state:
        looked |= {(i, *each): None for i, p in enumerate(network.populations) for each in _crossing(network, p)}
    synapses = sum(network.weights[w.spec.name].numel() for w in network.recurrent)
    with torch.no_grad(), runtime():
        samples = range(0, batch, most := max(1, SYNAPSES // max(1, synapses)))
        parts = [_run(network, x[:, k : k + most], part(start, slice(k, k + most)), tuple(looked)) for k in samples]
        recorded = {key: np.concatenate([each[key] for each in parts], axis=1) for key in looked}
        silent = {i: _given(p, p.silence, x) for i, p in enumerate(network.populations) if p.silence is not None}
        sent = recorded | {
            (i, "y_now", 0): recorded[i, "y_now", 0] * (1 - q) for i, q in silent.items() if (i, "y_now", 0) in recorded
        }
        outputs = torch.as_tensor(np.concatenate([sent[p, "y_now", 0] for p in network.sources], axis=-1)).to(x)
        filtered = _filtered(network, outputs, start)
        output = network.output(filtered)
        kept = [Kept(replace(one, scale=1.0), every, counted.get(one.population)) for one in wanted]
        for each, one in zip(kept, wanted, strict=True):
            each.add(first, sent[one.key])
        left = (
            behind(network, start, recorded, silent, filtered[-1] if network.kappa else None) if return_state else None
        )
    seen_too = {"input": given.cpu().numpy(), "output": output.cpu().numpy()}
    seen_too |= {} if told is None else beside(told.targets, told.weight, given)
    thin = {name: thinned(values, first, every) for name, values in seen_too.items()}
    seen = [(one, each.values) for one, each in zip(wanted, kept, strict=True)]
    recording = dataset(network, seen, first, first + T, every, thin, trials)
    if left is None:
        return recording
    return recording, state_of(network, Standing(left, first + T, seed, "auto", every, over(kept, first + T, every)))


def _crossing(network: Network, p: Wiring) -> list[tuple[str, int]]:
    """What crosses from step to step, as `_run` names it."""
    by_condition = [("active", 0)] if p.kernel.waits is not None else []
    states = network.circuit.populations[p.name].cell.states
    return [("y_now", 0), *(("after", j) for j, _ in enumerate(states)), *by_condition]


def _given(p: Wiring, taken: int, x: Tensor) -> np.ndarray:
    """One of the numbers that a population's step takes and no projection brings, (time, batch, unit)."""
    columns = next(d.columns for d in p.drawn if d.channel == taken)
    return x[..., columns].double().cpu().numpy()


def _refuse_maps(network: Network) -> None:
    maps = {n: p.cell.name or "unnamed" for n, p in network.circuit.populations.items() if not p.cell.continuous}
    if maps:
        listed = ", ".join(f"'{n}' ({cell})" for n, cell in maps.items())
        raise CircuitError(
            f"Brian2 can't run this circuit: the cells of {listed} are discrete maps (update=), and Brian2 "
            "integrates differential equations. Simulate it with bioplaus.simulate, or choose a cell with "
            "equations=, such as lif, alif, adex or leaky_rate."
        )


def _run(
    network: Network, x: Tensor, start: State, asked: Sequence[tuple[int, str, int]]
) -> dict[tuple[int, str, int], np.ndarray]:
    """Run some samples from where they stand; (population, kind, index) → (time, batch, unit)."""
    T, batch = x.shape[:2]
    clock = twin.clock(network)
    drives = [d.double().cpu().numpy() for d in on_their_way(network, start, network.drive(x))]
    groups, projections = twin.objects(network, drives, clock, start)
    monitors: dict[tuple[int, str, int], Any] = {}
    jumping = [bool(network.circuit.populations[p.name].cell.jumps) for p in network.populations]
    for p, kind, i in asked:
        derived = network.circuit.populations[network.populations[p].name].cell.derived
        if kind == "after" and jumping[p]:
            # at the end of Brian2's step what arrived in it is there already: seen before, with the spikes its reset goes by
            wanted = [(p, "u", j) for j, _ in enumerate(derived.states)] + [(p, "y_now", 0)]
        else:
            wanted = [(p, kind, i)]
        for key in wanted:
            if key not in monitors:
                channels = list(network.circuit.populations[network.populations[p].name].cell.channels)
                said = Names(network, p).said[0][0]
                monitors[key] = _monitor(groups[p], derived, channels, said, *key[1:], clock)
    brian2.Network(*groups, *projections, *monitors.values()).run(T * clock.dt, namespace={})

    recorded = {}
    for (p, kind, i), monitor in monitors.items():
        n = network.populations[p].size
        if isinstance(monitor, brian2.SpikeMonitor):
            values = np.zeros((T, batch * n))
            values[np.rint(np.asarray(monitor.t_) / network.circuit.dt).astype(int), np.asarray(monitor.i)] = 1.0
        else:
            values = np.asarray(getattr(monitor, f"{monitor.record_variables[0]}_")).T
        recorded[p, kind, i] = values.reshape(T, batch, n)
    for p, kind, i in asked:
        if kind == "after" and jumping[p]:
            cell = network.circuit.populations[network.populations[p].name].cell
            u = [recorded[p, "u", j] for j, _ in enumerate(cell.states)]
            recorded[p, kind, i] = _reset(cell, i, u, recorded[p, "y_now", 0])
    return recorded


def _monitor(group: Any, derived: Derived, channels: Sequence[str], said: str, kind: str, i: int, clock: Any) -> Any:
    if kind == "y_now":
        if derived.spiking:
            return brian2.SpikeMonitor(group)
        return brian2.StateMonitor(group, said, record=True, when="end", clock=clock)
    if kind == "active":
        return brian2.StateMonitor(group, "not_refractory", record=True, when="end", clock=clock)
    if kind == "arrived":
        return brian2.StateMonitor(group, channels[i], record=True, when="after_groups", clock=clock)
    when = "end" if kind == "after" else "after_groups"
    return brian2.StateMonitor(group, derived.states[i], record=True, when=when, clock=clock)


def _reset(cell: Cell, i: int, u: Sequence[np.ndarray], y: np.ndarray) -> np.ndarray:
    """r_i(u, y), what the reset leaves of a state."""
    values: dict[str, Any] = {after(s).name: each for s, each in zip(cell.states, u, strict=True)} | {NOW.name: y}
    values |= {name: plain(value) for name, value in cell.constants.items()}
    return evaluated(cell.derived.r[i], values) + np.zeros_like(y)


def _filtered(network: Network, outputs: Tensor, start: State) -> Tensor:
    """ȳ_t = κ ȳ_{t−1} + (1 − κ) y_t over time."""
    if not network.kappa:
        return outputs
    filtered, seen = torch.cat(start.filtered, -1), []
    for y in outputs:
        filtered = torch.lerp(y, filtered, network.kappa)
        seen.append(filtered)
    return torch.stack(seen)
