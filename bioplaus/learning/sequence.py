"""One batch of sequences: simulate, credit, and the rule's gradient, step by step or window by window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from bioplaus.circuit.credit import Credit, Currents, mapped, silent
from bioplaus.circuit.network import Network
from bioplaus.circuit.tangent import Tangent
from bioplaus.errors import NumericalError, RuleError
from bioplaus.learning.choose import choose
from bioplaus.learning.finite import refuse_broken, sound
from bioplaus.learning.pace import Pace
from bioplaus.learning.regulariser import RateRegulariser
from bioplaus.learning.tally import Outcome, Tally, add, mean
from bioplaus.learning.voltage import VoltageRegulariser
from bioplaus.own import Gradients, Owns
from bioplaus.rules import Rule
from bioplaus.schedule import borders
from bioplaus.settings import ours
from bioplaus.signal import Observed, Signal
from bioplaus.signal.base import Answer
from bioplaus.signal.observed import context_of
from bioplaus.tasks import Batch, Loss

if TYPE_CHECKING:
    from torch import Tensor

#: called with the gradients of the circuit's weights and of the rule's own tensors, means over the batch
Apply = Callable[[Gradients, Gradients], None]


@ours()
def sequence(
    network: Network,
    rule: Rule,
    own: Owns,
    batch: Batch,
    loss: Loss,
    regulariser: RateRegulariser | None = None,
    apply: Apply | None = None,
    keep: bool = False,
    generator: torch.Generator | None = None,
    uses: Tensor | None = None,
    voltage: VoltageRegulariser | None = None,
    backend: str = "torch",
) -> Outcome:
    """Run a circuit through one batch of sequences and compute the rule's gradient, step by step or window by window.

    Parameters
    ----------
    own : the rule's own tensors.
    batch : inputs (time, batch, input), targets, weight (time, batch) and context.
    loss : has value(outputs, targets) and error(outputs, targets).
    regulariser : on the outputs' mean; exact for rules whose past half takes output credit, and for whole windows.
    apply : called with the gradients of each window as it ends; they are then not summed up.
    keep : return the trajectory too.
    generator : for rules that draw at random; None: a stream of its own, always the same.
    voltage : on membranes; exact for every rule as far as its past half is.
    backend : ``"torch"`` or ``"numba"`` (`bioplaus.circuit.backend`).
    uses : (time,), 0 or 1: count only what weights do in some steps; the trajectory is the same. None: all.

    Raises
    ------
    RuleError
        If the rule and the regulariser cannot go together under this schedule.
    NumericalError
        At the first output that is not finite, naming step, variable and population.
    """
    T = batch.steps
    pace = Pace.of(rule, T, moving=apply is not None, keep=keep)
    with torch.no_grad():
        walk = Walk(network, rule, own, batch, loss, regulariser, pace, generator, uses, voltage, backend)
        for start, stop in borders(T, pace.block):
            try:
                gradients, more = walk.block(start, stop)
            except Exception:
                walk.settle()  # if numbers were broken already, that is what there is to say
                raise
            found = complete(network, gradients), more
            if apply is not None:
                walk.settle()
                apply(mean(found[0], batch.size, walk.path.single), mean(more, batch.size))
            else:
                for total, each in zip(walk.tally.totals, found, strict=True):
                    add(total, each)
        walk.settle()
        return walk.tally.outcome(network, batch, loss, walk.state)


class Part(NamedTuple):
    """Some steps: their linearisation, their error, the direct credit for u, and where the signal asks for it what they cost."""

    tangent: Tangent
    error: Tensor
    inner: tuple[tuple[Tensor | None, ...], ...] | None
    loss: Tensor | None


class Walk:
    """Along a sequence, block by block (see `Pace`): the circuit's state, the eligibility's, the signal's."""

    def __init__(
        self,
        network: Network,
        rule: Rule,
        own: Owns,
        batch: Batch,
        loss: Loss,
        regulariser: RateRegulariser | None,
        pace: Pace,
        generator: torch.Generator | None,
        uses: Tensor | None,
        voltage: VoltageRegulariser | None,
        backend: str,
    ) -> None:
        self.network, self.rule, self.own, self.batch, self.loss = network, rule, own, batch, loss
        self.regulariser, self.pace, self.uses, self.path = (
            regulariser,
            pace,
            uses,
            choose(rule, backend, pace.moving, pace.single),
        )
        self.voltage, self.apart = voltage, regulariser is not None and regulariser.apart
        #: whether the mean that is regularised is known at the sequence's end only
        self.late = regulariser is not None and pace.several
        if self.late and not rule.eligibility.sums:
            raise RuleError(
                f"A rate regulariser needs the mean over the whole sequence, which {type(rule.eligibility).__name__.lower()} cannot wait for under "
                f"{rule.schedule}. Use schedule=Window(), or a rule whose past half keeps a trace (eprop, rflo, rtrl)."
            )
        B = batch.size
        self.state = network.start(B)
        #: where nothing has been read since, and whether all was finite there
        self.began, self.at, self.sound = self.state, 0, torch.ones((), dtype=torch.bool, device=network.device)
        self.from_step = 0
        #: which steps ask something of any sample; read once, before anything runs
        self.asked: list[bool] = batch.weight.any(-1).tolist()
        self.costs = rule.signal.wants_loss(network)
        self.trace = rule.eligibility.init(network, B, own, generator)
        if self.late:
            rule.eligibility.keep_sum(self.trace, self.apart)
        self.memory = rule.signal.init(network, B, generator)
        each = [(B, p.size) if self.apart else (p.size,) for p in network.populations]
        like = {"dtype": network.dtype, "device": network.device}
        outputs = torch.empty(batch.steps, B, network.circuit.readout.size, **like)
        self.tally = Tally([torch.zeros(shape, **like) for shape in each], outputs)

    def block(self, start: int, stop: int) -> tuple[Gradients, Gradients]:
        """Σ over batch and steps of the gradients of the circuit's weights, and of the rule's own tensors."""
        past, final = self.rule.eligibility, stop == self.batch.steps
        stretches = [
            self.simulate(*piece, frozen=stop - start > self.pace.stretch) for piece in self.pace.pieces(start, stop)
        ]
        met, own = self.credit(stretches, start, final)
        gradients = readout_gradients(self.network, [(part.tangent, part.error) for part in stretches])
        new, self.trace = self.path.meet(past, self.network, self.trace, met, final)
        add(own, past.learned(self.trace))
        add(gradients, new)
        if self.late and final:
            assert self.regulariser is not None
            add(gradients, past.summed(self.network, self.trace, self.constant(self.regulariser)))
        return self.network.fitted(gradients, self.path.single), own  # of a step that is not held, nor are gradients

    def simulate(self, begin: int, end: int, frozen: bool) -> Part:
        """Some steps of the circuit, and what is asked of them; ``frozen`` reduces them to what their derivatives need."""
        network, tally, when = self.network, self.tally, slice(begin, end)
        stretch, self.state = self.path.simulate(network, self.state, self.batch.inputs[when], not self.pace.lean)
        stretch.uses = None if self.uses is None else self.uses[when]
        o = stretch.output()
        tally.outputs[when] = o
        tally.count(stretch, self.apart)
        if stretch.fused:  # on the CPU, where reading is free, and maybe in a place that the next step takes
            refuse_broken(network, stretch, o, begin)
        else:
            self.sound = self.sound & sound(stretch, o)
        self.at = end
        # of a stretch that is frozen below nothing could be asked later; steps in one place are asked for the last alone, at the end
        tally.last = stretch if self.pace.single else stretch.part(slice(-1, None))
        tangent = Tangent(network, stretch)
        inner = None if self.voltage is None else self.voltage.credit(network, stretch)
        if frozen:
            tangent.freeze()
        if self.pace.keep:
            tally.stretches.append(stretch)
        asked = self.batch.targets[when], self.batch.weight[when]
        error, cost = error_of(self.loss, o, *asked, self.asked[when]), None
        if self.costs:
            cost = self.loss.value(o, asked[0]) * asked[1]
        return Part(tangent, error, inner, cost)

    def settle(self) -> None:
        """Read, once, whether all was finite since it was last read; if not, run the circuit again from there and say where it began.

        Raises
        ------
        NumericalError
            Naming step, variable and population.
        """
        if not bool(self.sound):
            state, pace = self.began, self.pace
            for start, stop in borders(self.batch.steps, pace.block):
                for begin, end in pace.pieces(start, stop):
                    if self.from_step <= begin and end <= self.at:
                        stretch, state = self.path.simulate(self.network, state, self.batch.inputs[begin:end], True)
                        refuse_broken(self.network, stretch, stretch.output(), begin)
            raise NumericalError(
                "The simulation gave numbers that are not finite, and gave others when it was run again."
            )
        self.rule.signal.settle(self.memory)
        self.began, self.from_step = self.state, self.at

    def credit(
        self, stretches: Sequence[Part], start: int, final: bool
    ) -> tuple[list[tuple[Tangent, Credit | Currents]], Gradients]:
        """What the signal says of the stretches of a block that begins at ``start``, and the gradients of its own tensors."""
        extra = None
        if self.regulariser is not None and not self.late:
            extra = tuple(self.constant(self.regulariser).y[i][0] for i in range(len(self.network.populations)))
        met, own, at = [], {}, start
        for tangent, error, inner, cost in stretches:
            parts, credits = self.pace.seen(tangent), []
            for i, (part, when) in enumerate(parts):
                ends = final and tangent is stretches[-1].tangent and i == len(parts) - 1
                there = None if inner is None else tuple(tuple(a if a is None else a[when] for a in p) for p in inner)
                told = context_of(self.batch.context, at + when.start, at + when.stop)
                paid = None if cost is None else cost[when]
                observed = Observed(self.network, part, error[when], ends, told, extra, there, paid)
                credit, more, self.memory, info = answered(self.rule.signal, self.own, self.memory, observed)
                self.tally.note(info)
                credits.append(credit)
                add(own, more)
            met.append((tangent, joined(credits)))
            at += len(tangent)
        return met, own

    def constant(self, regulariser: RateRegulariser) -> Credit:
        """The regulariser's credit for every output, the same at all steps."""
        T, B = self.batch.inputs.shape[:2]
        empty = silent(self.network)
        sums = [total if self.apart or total.dim() == 1 else total.sum(0) for total in self.tally.sums]
        each, count = zip(sums, empty.y, strict=True), T if self.apart else T * B
        return empty._replace(y=tuple((regulariser.credit(total / count, T), *ages[1:]) for total, ages in each))


def answered(signal: Signal, own: Owns, memory: Any, observed: Observed) -> Answer:
    """What a signal says of a window, if it is of the form that it promised.

    Raises
    ------
    RuleError
    """
    answer = signal.credit(own, memory, observed)
    gives = signal.declaration.credit
    if not (
        isinstance(answer, tuple) and len(answer) == 4 and isinstance(answer[1], dict) and isinstance(answer[3], dict)
    ):
        parts = ", ".join(type(part).__name__ for part in answer) if isinstance(answer, tuple) else "no tuple"
        raise RuleError(
            f"credit() of {type(signal).__name__} answers four things: credit, {{path: gradient of own tensors}}, the state for the next window, {{name: number "
            f"to report}}; this one gave a {type(answer).__name__} ({parts})."
        )
    if isinstance(answer[0], Credit) == (gives == "state"):
        wanted = "a tuple of credit for the currents of every population" if gives == "state" else "a Credit"
        raise RuleError(
            f"{type(signal).__name__} declares {gives} credit, which is {wanted} (bioplaus/circuit/credit.py), and gave a {type(answer[0]).__name__}."
        )
    return answer


def readout_gradients(network: Network, stretches: Sequence[tuple[Tangent, Tensor]]) -> Gradients:
    """Σ δ ⊗ ȳ: the readout learns from the error itself under every rule."""
    gradients: Gradients = {}
    for tangent, error in stretches:
        if (found := tangent.stretch.learned(error)) is None:
            errors = error.flatten(0, -2)
            found = {"W_out": errors.T @ tangent.stretch.seen().flatten(0, -2)}
            if "b_out" in network.weights:
                found["b_out"] = errors.sum(0)
        add(gradients, found)
    return gradients


def complete(network: Network, found: Gradients) -> Gradients:
    """The gradients of all learned weights, the same names in the same order under every rule: zeros where no credit came, or where they are frozen."""
    names = [name for name in ("W_out", "b_out") if name in network.weights]
    names += [w.spec.name for w in network.learned]
    return {
        n: found[n] if n in found and n not in network.frozen else torch.zeros_like(network.weights[n]) for n in names
    }


def error_of(loss: Loss, o: Tensor, targets: Tensor, weight: Tensor, asked: Sequence[bool]) -> Tensor:
    """weight · ∂loss/∂o; not computed, but zero, at steps that ask nothing of any sample."""
    if all(asked):
        return loss.error(o, targets) * weight[..., None]
    error, steps = torch.zeros_like(o), [t for t, asks in enumerate(asked) if asks]
    if steps:
        first, last = steps[0], steps[-1] + 1
        together = len(steps) == last - first
        where = slice(first, last) if together else torch.tensor(steps, device=o.device)
        error[where] = loss.error(o[where], targets[where]) * weight[where][..., None]
    return error


def joined(credits: list[Credit | Currents]) -> Credit | Currents:
    """Credit of consecutive windows as one."""
    first = credits[0]
    if len(credits) == 1:
        return first
    if isinstance(first, Credit):
        return mapped(_cat, *(each for each in credits if isinstance(each, Credit)))
    return tuple(_cat(*parts) for parts in zip(*credits, strict=True))


def _cat(*parts: Any) -> Tensor | None:
    """Side by side in time; which credit there is does not depend on the window."""
    return None if parts[0] is None else torch.cat([p for p in parts if p is not None])
