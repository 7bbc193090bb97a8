"""Simulate a circuit with Brian2, recorded like `bioplaus.simulate`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import torch

from bioplaus import checks
from bioplaus.brian.finer import another, charge, drives, times
from bioplaus.brian.given import built, refuse_maps
from bioplaus.brian.standing import behind, on_their_way, part
from bioplaus.brian.target import TARGETS, refuse, run
from bioplaus.circuit import Circuit, Network
from bioplaus.circuit.perturbed import alone, refuse_late
from bioplaus.errors import CircuitError
from bioplaus.recording import Kept, Standing, asked, dataset, standing, state_of, thinned
from bioplaus.recording.between import over, refuse_nothing, settled, so_far
from bioplaus.settings import ours
from bioplaus.simulate import beside, checked_inputs
from bioplaus.symbolic.runtime import runtime
from bioplaus.tasks import Batch
from bioplaus.tasks.batch import EPOCH
from bioplaus.tasks.known import known_of

if TYPE_CHECKING:
    import xarray
    from torch import Tensor

    from bioplaus.circuit.network import State
    from bioplaus.circuit.wiring import Wiring

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
    target: str = ...,
    dt: Any = ...,
    method: str | None = ...,
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
    target: str = ...,
    dt: Any = ...,
    method: str | None = ...,
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
    target: str = "numpy",
    dt: Any = None,
    method: str | None = None,
) -> xarray.Dataset | tuple[xarray.Dataset, xarray.Dataset]:
    """Simulate a circuit with Brian2: equations, weights and step of `bioplaus.simulate` in another simulator.

    Its device and preferences are put back as they were.

    Parameters
    ----------
    circuit : a circuit, built here with ``seed`` in float64, or a built network (for example ``run.network``),
        whose weights are taken as they are. Brian2 integrates its cells with their own ``method``.
    inputs : a `Batch`, (time, batch, input) or (time, input), array or tensor, as of `bioplaus.simulate`; constant during a step, acting in that step.
    record, every : as of `bioplaus.simulate`. Brian2 holds all steps and units while it runs.
    state, return_state : as of `bioplaus.simulate`; one may go on from the other's state.
    seed : of the weights, where they are drawn here, and of noise and background, the same that `bioplaus.simulate` draws; None: the state's, or 0.
    perturb : who interferes, as of `bioplaus.simulate`.
    target : ``"numpy"`` needs nothing; ``"cython"`` compiles for half a minute and more, once for the same equations; ``"standalone"`` makes a program of its own, which is
        compiled for about as long and runs fastest, and again with other weights, inputs and states, of as many steps and samples, in the same process. Both say so
        before they begin. Compiled code differs from numpy's by roundings.
    dt : a step that goes into the circuit's a whole number of times, for the same circuit in finer steps: the same weights, and delays and refractory times,
        also those that were given in steps. ``inputs`` stay those of the circuit's own steps: a current is held, a jump comes once. A spike onto a channel that is held over
        a step brings the same charge, so much more for a shorter time, and so it does to the readout. Recordings, and ``every``, count the finer steps; noise is drawn for each of them.
    method : another integrator of Brian2's for all cells, ``"rk4"``.

    Returns
    -------
    xarray.Dataset
        As from `bioplaus.simulate`: dims time (ms), batch, unit; always with ``input`` and ``output``; units in
        the attributes.

    Raises
    ------
    CircuitError
        For discrete maps of rates, which Brian2 can't run, an unknown name, or inputs of the wrong shape; for what can't go together: a clamp in a standalone program,
        states or perturbations at another ``dt`` or by another ``method``.
    CellError
        For a ``method`` that can't integrate the equations.

    Examples
    --------
    >>> import bioplaus as bp
    >>> circuit = bp.circuit("recurrent", cell=bp.model("lif"), inputs=3, units=20, outputs=1, input_gain=9.0)
    >>> x = np.random.default_rng(0).normal(size=(200, 1, 3))
    >>> ours, theirs = bp.simulate(circuit, x, ("v", "spikes")), bp.brian.simulate(circuit, x, ("v", "spikes"))
    >>> bool(ours.spikes.equals(theirs.spikes)), bool(abs(ours.v - theirs.v).max() < 1e-12)
    (True, True)
    """
    every, seed = settled(every, state, seed)
    target = checks.accept(CircuitError, "target", target, checks.Word(TARGETS))
    method = checks.accept(CircuitError, "method", method, checks.Optional(checks.Word(), "for the cells' own"))
    return_state = checks.accept(CircuitError, "return_state", return_state, checks.Flag())
    network = built("simulate", circuit, seed)
    refuse_maps(network)
    network = alone(network, perturb)
    if (n := times(network, dt)) > 1 or method is not None:
        _refuse_standing(state, return_state)
        network = another(network, n, method)
    refuse(network, target)
    wanted = asked(network, record, lenient=record is SEEN)
    told = inputs if isinstance(inputs, Batch) else None
    given = checked_inputs(network, inputs if told is None else told.inputs)
    trials = {} if told is None else known_of("The batch that is simulated:", told.trials, *given.shape[:2])
    trials = {name: each * n if name.startswith(EPOCH) else each for name, each in trials.items()}
    wished = {} if told is None else beside(told.targets, told.weight, given)
    given, wished = given.repeat_interleave(n, 0), {name: np.repeat(each, n, 0) for name, each in wished.items()}
    T, batch = given.shape[:2]
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
        parts = []
        for k in samples:
            begin = part(start, slice(k, k + most))
            driven = on_their_way(network, begin, drives(network, x[:, k : k + most], n))
            parts.append(run(network, [d.double().cpu().numpy() for d in driven], begin, tuple(looked), target))
        recorded = {key: np.concatenate([each[key] for each in parts], axis=1) for key in looked}
        silent = {i: _given(p, p.silence, x) for i, p in enumerate(network.populations) if p.silence is not None}
        sent = recorded | {
            (i, "y_now", 0): recorded[i, "y_now", 0] * (1 - q) for i, q in silent.items() if (i, "y_now", 0) in recorded
        }
        said = [sent[p, "y_now", 0] * charge(network, p, n) for p in network.sources]
        outputs = torch.as_tensor(np.concatenate(said, axis=-1)).to(x)
        filtered = _filtered(network, outputs, start)
        output = network.output(filtered)
        kept = [Kept(replace(one, scale=1.0), every, counted.get(one.population)) for one in wanted]
        for each, one in zip(kept, wanted, strict=True):
            each.add(first, sent[one.key])
        left = (
            behind(network, start, recorded, silent, filtered[-1] if network.kappa else None) if return_state else None
        )
    seen_too = {"input": given.cpu().numpy(), "output": output.cpu().numpy()}
    seen_too |= wished
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


def _refuse_standing(state: Any, return_state: bool) -> None:
    """Refuse to go on at another step, or to leave a state there."""
    if state is not None or return_state:
        raise CircuitError(
            f"{'return_state=True' if state is None else 'state='} can't go with another dt= or method=: a state is what stands behind so many of the circuit's own steps. Make the "
            "circuit anew at that step, dataclasses.replace(circuit, dt=…), which can stop and go on."
        )


def _filtered(network: Network, outputs: Tensor, start: State) -> Tensor:
    """ȳ_t = κ ȳ_{t−1} + (1 − κ) y_t over time."""
    if not network.kappa:
        return outputs
    filtered, seen = torch.cat(start.filtered, -1), []
    for y in outputs:
        filtered = torch.lerp(y, filtered, network.kappa)
        seen.append(filtered)
    return torch.stack(seen)
