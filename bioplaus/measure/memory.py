"""What a rule keeps in memory, measured: a sequence is run with one sample and with two, and what is carried is weighed.

    per sample = bytes with two samples − bytes with one,    fixed = bytes with one − per sample

Weighed are the states that the two halves hand on from window to window, at their largest, buffers included; and beside them
the window itself, the stretch of the trajectory that the schedule looks at at once. The circuit's own weights are nobody's cost,
nor is a stock of random numbers.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from bioplaus.circuit import Circuit, Network
from bioplaus.circuit.trajectory import roll
from bioplaus.eligibility import Eligibility
from bioplaus.learning.fit import check_learner, drawn_with
from bioplaus.learning.sequence import sequence
from bioplaus.learning.training import Training
from bioplaus.own import Owns
from bioplaus.rules import Rule
from bioplaus.signal import Signal
from bioplaus.streams import stream
from bioplaus.tasks import Batch, Task, drawn

if TYPE_CHECKING:
    from torch import Tensor

#: what holds no numbers of the rule's: the circuit, random streams, code
_NOT_KEPT = (Network, Circuit, torch.Generator, types.FunctionType, types.MethodType, types.ModuleType, type)


#: attributes with random numbers drawn ahead, for speed alone: what will be drawn remembers nothing
_STOCK = frozenset({"pools"})


Half = TypeVar("Half", Eligibility, Signal)
#: where in what a method answers the state stands
_HANDS_ON = {"init": None, "forward": 1, "window": 1, "credit": 2}


@dataclass(frozen=True)
class Cost:
    """Memory of a rule, in bytes; NaN where it is not known.

    Attributes
    ----------
    state : per sample, carried by the eligibility and the signal (traces, influences, what a predictor remembers).
    window : per sample, the trajectory of the steps that the schedule looks at at once.
    fixed : whatever the batch: a predictor, a kernel, feedback weights.
    """

    state: float
    window: float
    fixed: float


def memory(
    circuit: Circuit | Network,
    task: Task | str,
    rule: Rule | str,
    *,
    dtype: str = "float32",
    device: str = "cpu",
    seed: int = 0,
) -> Cost:
    """Measure what a rule keeps while it learns a task in a circuit, on one whole sequence.

    Parameters
    ----------
    circuit, task, rule : as for `bioplaus.learning.trainer.Trainer`; they must fit.
    dtype : of the circuit, ``"float32"`` or ``"float64"``.
    seed : of the weights and the trials; sizes depend on it only where a circuit is wired at random.

    Raises
    ------
    BioplausError
        If circuit, task and rule do not fit, or the rule cannot serve the circuit.
    """
    circuit = circuit.circuit if isinstance(circuit, Network) else circuit
    task, rule = check_learner(circuit, task, rule, Training(dtype=dtype, device=device), seed)
    network = circuit.build(seed=seed, dtype=getattr(torch, dtype), device=device)
    rule.refuse(network)
    states, windows = {}, {}
    for size in (1, 2):
        batch = drawn(task, stream(seed, "check"), size).to(device, network.dtype)
        own = rule.begin(network, batch, seed)
        batch = drawn_with(network, batch, seed)
        scales = _Scales(own)
        watched = replace(rule, eligibility=scales.under(rule.eligibility), signal=scales.under(rule.signal))
        sequence(network, watched, own, batch, task.loss, generator=stream(seed, "noise"))
        states[size], windows[size] = scales.heaviest, _window(network, rule, batch)
    state = states[2] - states[1]
    return Cost(state, windows[2] - windows[1], states[1] - state)


def _window(network: Network, rule: Rule, batch: Batch) -> int:
    """Bytes of the steps that the rule looks at at once, and of their inputs."""
    steps = min(rule.schedule.steps or batch.steps, batch.steps)
    with torch.no_grad():
        stretch, _ = roll(network, network.start(batch.size), batch.inputs[:steps], states=rule.signal.reads_state)
    return bytes_of((stretch.steps, stretch.x))


class _Scales:
    """What both halves hold at a time, with the rule's own tensors, weighed whenever one of them changes."""

    def __init__(self, own: Owns) -> None:
        self.own, self.held, self.heaviest = own, {}, 0

    def put(self, half: type, state: Any) -> None:
        self.held[half] = state
        self.heaviest = max(self.heaviest, bytes_of((*self.held.values(), self.own)))

    def under(self, half: Half) -> Half:
        """The same half of a rule; every state it hands on is put on the scales."""
        weighed, kind, put = copy(half), type(half), self.put

        class Weighed(kind):  # type: ignore[misc, valid-type]
            pass

        def handing_on(method: str, place: int | None) -> Callable[..., Any]:
            def call(self: Any, *given: Any) -> Any:
                answer = getattr(kind, method)(self, *given)
                put(kind, answer if place is None else answer[place])
                return answer

            return call

        for method, place in _HANDS_ON.items():
            if hasattr(kind, method):
                setattr(Weighed, method, handing_on(method, place))
        Weighed.__name__ = kind.__name__  # as errors call it
        object.__setattr__(weighed, "__class__", Weighed)
        return weighed


def bytes_of(kept: Any) -> int:
    """Bytes of all tensors in something nested, each stretch of memory once.

    A view weighs what it shows: a step out of a stack of steps is one step, whatever stack keeps it alive.
    """
    shown: dict[int, dict[Any, int]] = {}
    whole: dict[int, int] = {}
    for tensor in tensors(kept):
        storage = tensor.untyped_storage()
        place = storage.data_ptr()
        view = (tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        shown.setdefault(place, {})[view] = tensor.numel() * tensor.element_size()
        whole[place] = storage.nbytes()
    return sum(min(whole[place], sum(views.values())) for place, views in shown.items())


def tensors(kept: Any) -> Iterator[Tensor]:
    """Every tensor in tuples, lists, sets, dicts and objects, however deep; the circuit and its weights are passed by."""
    met: dict[int, Any] = {}  # the things themselves: an address is given anew once its owner is gone
    waiting = [kept]
    while waiting:
        thing = waiting.pop()
        if thing is None or isinstance(thing, (str, bytes, bool, int, float, *_NOT_KEPT)) or id(thing) in met:
            continue
        met[id(thing)] = thing
        if isinstance(thing, torch.Tensor):
            yield thing
        elif isinstance(thing, Mapping):
            waiting += [*thing.keys(), *thing.values()]
        elif isinstance(thing, (tuple, list, set, frozenset)):
            waiting += thing
        else:
            held = vars(thing) if hasattr(thing, "__dict__") else {}
            waiting += [value for name, value in held.items() if name not in _STOCK]
