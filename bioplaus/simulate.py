"""Run a circuit and record it: labelled arrays with units."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import torch

from bioplaus import checks
from bioplaus.circuit import Circuit, Network
from bioplaus.circuit.backend import STEPS, choice
from bioplaus.circuit.dale import refuse_negative
from bioplaus.circuit.perturbed import alone, refuse_late
from bioplaus.circuit.trajectory import Way
from bioplaus.codegen.threads import threads as on
from bioplaus.errors import CircuitError
from bioplaus.recording import Kept, Standing, asked, dataset, standing, state_of, thinned
from bioplaus.recording.between import over, refuse_nothing, settled, so_far
from bioplaus.settings import ours
from bioplaus.tasks import Batch
from bioplaus.tasks.known import known_of

if TYPE_CHECKING:
    import xarray


#: what is recorded where nothing is asked for: what neurons say, in spikes or rates
SPOKEN = ("spikes", "rate")


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
    dtype: str = ...,
    targets: Any = ...,
    weight: Any = ...,
    lenient: bool = ...,
    backend: str = ...,
    threads: int = ...,
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
    dtype: str = ...,
    targets: Any = ...,
    weight: Any = ...,
    lenient: bool = ...,
    backend: str = ...,
    threads: int = ...,
    perturb: Any = ...,
) -> tuple[xarray.Dataset, xarray.Dataset]: ...
@ours()
def simulate(
    circuit: Circuit | Network,
    inputs: Any,
    record: Any = SPOKEN,
    *,
    every: int = 1,
    state: Any = None,
    return_state: bool = False,
    seed: int | None = None,
    dtype: str = "float64",
    targets: Any = None,
    weight: Any = None,
    lenient: bool = False,
    backend: str = "auto",
    threads: int = 1,
    perturb: Any = None,
) -> xarray.Dataset | tuple[xarray.Dataset, xarray.Dataset]:
    """Simulate a circuit under external input; nothing learns.

    No more is held than what is recorded and a few steps; and in pieces, cut anywhere, it is bit for bit the same as in one, by the same backend.

    Parameters
    ----------
    circuit : a circuit, built here with ``seed`` and ``dtype``, or a built network (for example ``run.network``).
    inputs : a `Batch`, such as a task draws, whose targets and weight are recorded, and what its ``trials`` tell as coordinates along the batch; or (time,
        batch, input) or (time, input), array or tensor; or an iterator of such pieces, of which one is held at a time and none recorded.
    record : a name, several, or ``{name: units}``, units by number, several, a slice, or None for all: any of the cells' state variables (value at the
        end of the step, after the reset), ``"spikes"`` (spiking cells) or ``"rate"``, or a channel held over a step (``"I"``: all that arrives on it); by
        default that of ``"spikes"`` and ``"rate"`` which a cell has. ``"E.v"`` is that of one population.
    every : record the last of so many steps (the k-th, the 2 k-th, … since the first), and of spikes how many there were in them.
    state : where to go on: what ``return_state=True`` returned. Time goes on, and so do noise and background.
    return_state : return the recording and the state behind its last step, a dataset that can be saved, too.
    seed : of the weights, where they are drawn here, and of noise and background; None: the state's, or 0. `bioplaus.brian.simulate` draws the same.
    targets, weight : recorded beside the output, if given: what was asked for, and where; None: those of a `Batch`.
    backend : ``"torch"``, ``"numba"`` (fused loops, for spiking circuits), or ``"auto"``: the state's; else loops where the work is large, or of unknown length.
    threads : on how many processors fused loops run at most, with the same results to the last bit.
    lenient : pass over names that no population has, instead of refusing.
    perturb : who interferes, one `bioplaus.Perturb` or several. Their steps are counted as time is, on from a state's.

    Returns
    -------
    xarray.Dataset
        Dims time (ms), batch, unit; one variable per recorded name, plus ``input`` and ``output``. With several populations
        the variables are ``population.name`` and the unit dims ``unit_population``. Where only some units are recorded a coordinate says which; where
        they are not the same for all names of a population, their dim is ``unit_name``. Units in the attributes.

    Raises
    ------
    CircuitError
        For an unknown name, inputs of the wrong shape, or a state that does not fit.

    Examples
    --------
    >>> import bioplaus as bp
    >>> network = bp.circuit("recurrent", cell="alif", inputs=3, units=20, outputs=1, input_gain=9.0).build()
    >>> x = np.random.default_rng(0).random((300, 1, 3))
    >>> first, state = bp.simulate(network, x[:101], {"v": [0, 1]}, return_state=True)
    >>> then = bp.simulate(network, x[101:], {"v": [0, 1]}, state=state)
    >>> whole = bp.simulate(network, x, {"v": [0, 1]})
    >>> bool((whole.v[:101] == first.v).all()), bool((whole.v[101:] == then.v).all())
    (True, True)
    """
    if not isinstance(circuit, (Circuit, Network)):
        raise checks.refusal(CircuitError, "The circuit", circuit, "one that bp.circuit('recurrent', cell=…) makes")
    dtype = checks.accept(CircuitError, "dtype", dtype, checks.Word(("float64", "float32")))
    every, seed = settled(every, state, seed)
    return_state = checks.accept(CircuitError, "return_state", return_state, checks.Flag())
    network = circuit if isinstance(circuit, Network) else circuit.build(seed=seed, dtype=getattr(torch, dtype))
    from bioplaus.circuit.fused import reason  # what it needs is loaded with a network

    network = alone(network, perturb)
    wanted = asked(network, record, lenient or record is SPOKEN)

    known: Any = {}
    if isinstance(inputs, Batch):
        targets, weight = (b if a is None else a for a, b in ((targets, inputs.targets), (weight, inputs.weight)))
        inputs, known = inputs.inputs, inputs.trials
    streamed, given = hasattr(inputs, "__next__"), in_pieces(network, inputs)
    x = next(given)
    T, batch = x.shape[:2]
    said = beside(targets, weight, None if streamed else x)
    trials = known_of("The batch that is simulated:", known, T, batch)
    at = None if state is None else standing(network, state, batch)
    if at is not None and backend == "auto" and not (at.backend == "numba" and reason(network)):
        backend = at.backend
    chosen = choice(backend, network, STEPS if streamed else T, batch).name  # how long a stream is nobody knows
    begin = 0 if at is None else at.step
    way = Way(network, batch, seed, "", chosen, None if at is None else at.state, begin)
    if not (streamed or return_state or at):
        refuse_late(network, T)
    if not streamed:
        refuse_nothing(every, begin, begin + T, return_state)
    counted = so_far(at, wanted, every)
    kept = [Kept(one, every, counted.get(one.population), streamed) for one in wanted]
    output = Kept(None, every, grows=streamed)
    states = any(one.kind != "y_now" for one in wanted)
    with torch.no_grad(), on(checks.accept(CircuitError, "threads", threads, checks.Whole())):
        piece: torch.Tensor | None = x
        while piece is not None:
            for each in (*kept, output):
                each.reserve((way.step + len(piece)) // every - way.step // every)
            for stretch in way.along(piece, states=states, u=states):
                first = way.step - len(stretch)
                for each, one in zip(kept, wanted, strict=True):
                    each.add(first, stretch.get(*one.key).cpu().numpy())
                output.add(first, stretch.output().cpu().numpy())
                del stretch
            piece = next(given, None)
    refuse_nothing(every, begin, way.step, return_state)
    seen = [(one, each.values) for one, each in zip(wanted, kept, strict=True)]
    thin = {} if streamed else {"input": thinned(x.cpu().numpy(), begin, every)}
    thin |= {"output": output.values} | {name: thinned(values, begin, every) for name, values in said.items()}
    recording = dataset(network, seen, begin, way.step, every, thin, trials)
    if not return_state:
        return recording
    at = Standing(way.state, way.step, seed, chosen, every, over(kept, way.step, every))
    return recording, state_of(network, at)


def beside(targets: Any, weight: Any, x: torch.Tensor | None) -> dict[str, np.ndarray]:
    """What is recorded beside the output, if it is as long as the inputs."""
    found = {}
    for name, said, values in (("target", "targets", targets), ("weight", "weight", weight)):
        if values is None:
            continue
        if x is None:
            raise CircuitError(
                f"{said} can't go beside inputs that come from an iterator, of which nobody knows how many there are. Put them beside the recording."
            )
        found[name] = array = np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values)
        if array.shape[:2] != x.shape[:2]:
            raise CircuitError(
                f"{said} have shape {array.shape}, but the inputs have {x.shape[0]} steps of {x.shape[1]} samples: (time, batch, …) is expected of both."
            )
    return found


def checked_inputs(network: Network, inputs: Any) -> torch.Tensor:
    """Inputs as a (time, batch, input) tensor that fits the network."""
    try:
        if (unit := checks.dimensions(inputs)) and not hasattr(inputs, "detach"):
            raise CircuitError(
                f"inputs carry a unit ({', '.join(unit)}); they are plain numbers, which the weights turn into currents: one unit of weight is what the cell's "
                "inputs={'I': …} says. Divide by a unit."
            )
        given = (
            inputs.detach().to_dense()
            if isinstance(inputs, torch.Tensor)
            else torch.as_tensor(_copied(inputs, network))
        )
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
    if x.numel() and not all(map(torch.isfinite, x.aminmax())):
        raise CircuitError("inputs contain values that are not finite (NaN or infinity).")
    refuse_negative(network.circuit, x, "inputs")
    return x


def _copied(inputs: Any, network: Network) -> np.ndarray:
    """Inputs apart from the user's, as numbers that the network computes with at once: of a million steps a copy of a copy is much."""
    plain = isinstance(inputs, np.ndarray) and inputs.dtype.kind in "fiub"
    return np.array(inputs, dtype=str(network.dtype).removeprefix("torch.") if plain else None)


def in_pieces(network: Network, inputs: Any) -> Iterator[torch.Tensor]:
    """Inputs as tensors that fit the network: an array as one, of an iterator one after the other.

    Raises
    ------
    CircuitError
    """
    if not hasattr(inputs, "__next__"):
        yield checked_inputs(network, inputs)
        return
    batch = 0
    for given in inputs:
        x = checked_inputs(network, given)
        batch = batch or x.shape[1]
        if x.shape[1] != batch:
            raise CircuitError(
                f"A piece of inputs has {x.shape[1]} samples, and the first had {batch}; all must have as many."
            )
        yield x
    if not batch:
        raise CircuitError(
            "inputs is an iterator that gives nothing, or that has been used up; it must give arrays (time, batch, input). Make it anew."
        )
