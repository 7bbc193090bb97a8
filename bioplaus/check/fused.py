"""Whether the loops over time that numba compiles of a cell compute what torch does: its steps, and e-prop's two schedules of learning.

Of every spiking model, in the circuits of `bioplaus check`, everything that a loop writes down is held against torch's, in float64: outputs
must be the same, numbers equal to rounding, entry by entry over the largest one of their kind.

==========  =======================================================================================================================
forward     the whole sequence: the same outputs. A few steps of it after the others, each time from where torch stood, and once more
            driven hard: outputs, states before and after the reset, currents, refractoriness, what a leaky readout sees, and what is left
            behind, whether all is kept or not. A few, for there are cells in which an upstroke makes a thousand last bits of one, rightly
reverse     the gradient of two windows along the trajectory of the loops, which torch follows too, with one credit for both
online      the same with traces carried forward
==========  =======================================================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from bioplaus import content
from bioplaus.check.bench import UNITS, Bench, bench, benches
from bioplaus.circuit.credit import at
from bioplaus.circuit.fused import reason
from bioplaus.circuit.tangent import Tangent
from bioplaus.circuit.trajectory import Stretch, roll
from bioplaus.eligibility import EProp
from bioplaus.errors import BioplausError
from bioplaus.learning.tally import add
from bioplaus.rules import TABLE, Rule, rule
from bioplaus.streams import stream
from bioplaus.symbolic.arguments import neurons

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.circuit.credit import Credit
    from bioplaus.circuit.network import Network, State
    from bioplaus.own import Owns

#: largest difference over the largest entry  # float64 rounds to 1e-16, a step is some ten operations, and a gradient a sum over 100 steps
ROUNDING = 1e-12
#: what to do where loops are wrong
REMEDY = (
    "Give backend='torch' (--backend torch) wherever this cell is used, and tell of it with the cell's file: "
    "such a fault is bioplaus's, not the cell's."
)
#: times its input with which a circuit is run once more: so hard driven, neurons would fire while they are refractory
LOUD = 4.0
#: steps that loops go by themselves before they are put back to where torch stands  # chosen: more than delays here
PIECE = 4


@dataclass(frozen=True)
class Loops:
    """The loops of one model.

    Attributes
    ----------
    numbers : how many were compared.
    error : the largest difference, over the largest entry of its kind; infinite where outputs differ or a number is none.
    tried : of what: forward, and rules with their schedules.
    none : why there are none to compare, in half a sentence; empty where there are.
    wrong : one paragraph where they compute something else; else empty.
    """

    model: str
    numbers: int = 0
    error: float = 0.0
    tried: tuple[str, ...] = ()
    none: str = ""
    wrong: str = ""

    @property
    def ok(self) -> bool:
        return not self.wrong


def loops(quick: bool = False, rules: Sequence[str] = (), models: Sequence[str] = (), seed: int = 0) -> Iterator[Loops]:
    """Every model, a study's own included; arguments as of `bioplaus.check.check`. Nothing where rules are named that have no loops of their own."""
    made = {label: rule(label) for label in rules or TABLE}
    local = {label: each for label, each in made.items() if isinstance(each.eligibility, EProp)}
    if not local:
        return
    for name in content.names("model"):
        if models and name not in models:
            continue
        try:
            cell = content.model(name)
            if not cell.spiking:  # its circuit need not live
                yield Loops(name, none=reason(bench(cell, 1, 1, None, False, units=neurons(cell) or UNITS).network))
                continue
            living = benches(cell, quick, seed)
            if any(each.dead() for each in living):
                continue  # said where rules are tried on it
        except BioplausError:
            continue  # the same
        yield of(name, living[1:] if quick else living, local)  # each circuit has loops of its own to compile


def of(model: str, living: Sequence[Bench], rules: dict[str, Rule]) -> Loops:
    """The loops of a model, in circuits that are alive."""
    found = Held()
    try:
        for bench in living:
            forward(bench, found)
            for label, each in rules.items():
                gradients(bench, label, each, found)
    except Exception as error:  # whatever a text that is wrong makes numba, or the loop, say
        text = " ".join(str(error).split())
        wrong = f"The loops that numba compiles of {model} can't be run: {type(error).__name__}: {text[:400]}. {REMEDY}"
        return Loops(model, found.numbers, float("inf"), tuple(found.tried), wrong=wrong)
    wrong = ""
    if found.error > ROUNDING:
        far = "infinite" if math.isinf(found.error) else f"{found.error:.1e}"
        wrong = (
            f"The loops that numba compiles of {model} compute something else than torch, first {found.first}: the largest difference "
            f"is {far}, where {ROUNDING:.0e} would be rounding. {REMEDY}"
        )
    return Loops(model, found.numbers, found.error, tuple(found.tried), wrong=wrong)


class Held:
    """What was compared so far."""

    def __init__(self) -> None:
        self.numbers, self.error, self.first = 0, 0.0, ""
        self.tried: dict[str, None] = {}

    def hold(self, what: str, ours: Tensor, theirs: Tensor, same: bool = False) -> None:
        """One kind of numbers; ``same`` where nothing may differ."""
        self.numbers += theirs.numel()
        off = (ours - theirs).abs() if ours.shape == theirs.shape else torch.full((1,), float("inf"))
        size = 1.0 if same else max(float(theirs.abs().max()), torch.finfo(theirs.dtype).tiny)
        error = float(off.max()) / size
        error = float("inf") if error != error or (same and error) else error
        if error > ROUNDING and not self.first:
            self.first = what
        self.error = max(self.error, error)


def forward(bench: Bench, found: Held) -> None:
    """Steps of a circuit, by loops that keep all and by those that keep what derivatives need."""
    found.tried["forward"] = None
    network, x = bench.network, bench.batch.inputs
    run(network, x, bench.window, found, whole=True)
    loud = torch.cat([x[..., : network.circuit.inputs] * LOUD, x[..., network.circuit.inputs :]], -1)
    with torch.no_grad():
        theirs, _ = roll(network, network.start(x.shape[1]), loud)
    if all(
        bool(theirs.get(p, "after", i).isfinite().all()) for p, i in _all_states(network)
    ):  # not every cell bears it
        run(network, loud, theirs, found, whole=False)


def run(network: Network, x: Tensor, theirs: Stretch, found: Held, whole: bool) -> None:
    """Loops over one input, against torch's trajectory: piece by piece, and its outputs as a ``whole`` too."""
    behind = [*(step.before for step in theirs.steps), theirs.steps[-1].after]
    for full in (True, False):
        at_once = roll(network, network.start(x.shape[1]), x, full, "numba")[0] if whole else None
        pieces = [roll(network, behind[t], x[t : t + PIECE], full, "numba") for t in range(0, len(x), PIECE)]
        ends = [behind[min(t + PIECE, len(x))] for t in range(0, len(x), PIECE)]
        for p, wiring in enumerate(network.populations):
            said = [torch.cat([stretch.spikes(p) for stretch, _ in pieces])]
            for ours in said if at_once is None else [*said, at_once.spikes(p)]:
                found.hold(f"the outputs of {wiring.name}", ours, theirs.spikes(p), same=True)
            for kind, i, what in _written(network, p, full):
                ours = torch.cat([stretch.get(p, kind, i) for stretch, _ in pieces])
                found.hold(f"{what} in {wiring.name}", ours, theirs.get(p, kind, i))
        found.hold("what the readout sees", torch.cat([stretch.seen() for stretch, _ in pieces]), theirs.seen())
        for what, pick in _carried(network):
            left, expected = (torch.stack([pick(state) for state in some]) for some in ([a for _, a in pieces], ends))
            found.hold(f"{what}, as it is left behind", left, expected)


def _written(network: Network, p: int, full: bool) -> Iterator[tuple[str, int, str]]:
    """What loops write down of a population, as `Stretch.get` takes it, and what it is."""
    wiring = network.populations[p]
    for i, state in enumerate(_states(network, p)):
        yield "u", i, f"{state} before the reset"
        if full:
            yield "s", i, state
            yield "after", i, state
    for k in range(wiring.taken if full else 0):
        yield "I", k, f"what channel {k} is told"
    if wiring.refracts:
        yield "active", 0, "who is refractory"


def _carried(network: Network) -> Iterator[tuple[str, Callable[[State], Any]]]:
    """What crosses to the next step."""
    for p, wiring in enumerate(network.populations):
        for i, state in enumerate(_states(network, p)):
            yield f"{state} in {wiring.name}", lambda h, p=p, i=i: h.populations[p].s[i]
        for slot in range(wiring.slots):
            yield f"what {wiring.name} has said", lambda h, p=p, slot=slot: h.populations[p].y[slot]
        if wiring.refracts:
            yield f"how long neurons of {wiring.name} are refractory", lambda h, p=p: h.populations[p].wait
    for i, _ in enumerate(network.sources if network.kappa else ()):
        yield "what a leaky readout has seen", lambda h, i=i: h.filtered[i]


def _states(network: Network, p: int) -> Sequence[str]:
    return network.populations[p].kernel.derived.states


def _all_states(network: Network) -> Iterator[tuple[int, int]]:
    """Population and state, by number."""
    yield from ((p, i) for p, _ in enumerate(network.populations) for i, _ in enumerate(_states(network, p)))


def gradients(bench: Bench, label: str, made: Rule, found: Held) -> None:
    """A rule's gradient along the loops' trajectory, swept back and carried forward, by loops and by torch."""
    try:
        made.refuse(bench.network)
    except BioplausError:
        return
    network, past, x = bench.network, made.eligibility, bench.batch.inputs
    assert isinstance(past, EProp)
    own = made.begin(network, bench.batch, bench.seed)
    memory = made.signal.init(network, bench.batch.size, stream(bench.seed, "loops"))
    credit: Any = made.signal.credit(own, memory, bench.observed)[0]
    rolled, _ = roll(network, network.start(x.shape[1]), x, backend="numba")
    # what is a list of steps and no more is torch's to go on with
    ways = [Tangent(network, each) for each in (rolled, Stretch(network, list(rolled.steps), x))]
    for schedule in ("window", "online"):
        with torch.no_grad():
            ours, theirs = (_in_halves(past, own, tangent, credit, schedule) for tangent in ways)
        found.tried[f"{label} {schedule}"] = None
        for name, g in theirs.items():
            found.hold(f"{label}'s gradient of {name}, {schedule}", ours.get(name, g * float("nan")), g)


def _in_halves(past: EProp, own: Owns, tangent: Tangent, credit: Credit, schedule: str) -> dict[str, Tensor]:
    """A gradient in two calls, the second going on where the first has left its traces."""
    network, T, total = tangent.network, len(tangent), {}
    state = past.init(network, tangent.stretch.x.shape[1], own)
    for when in (slice(0, T // 2), slice(T // 2, T)):
        part, told = tangent.part(when), at(credit, when)
        if schedule == "window":
            found, state = past.window(network, state, [(part, told)], when.stop == T)
        else:
            found, state = past.forward(network, state, part, told)
        add(total, found)
    return total


__all__ = ["Loops", "loops"]
