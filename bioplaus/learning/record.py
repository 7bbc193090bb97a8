"""What a rule does on the way, recorded: learning signals, traces, slopes, predictions, beside what the circuit does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bioplaus import checks
from bioplaus.cerebellum.trial import CEREBELLUM
from bioplaus.circuit import Circuit, Network
from bioplaus.circuit.carried import Layout
from bioplaus.circuit.perturbed import perturbed, refuse_late
from bioplaus.circuit.tangent import Tangent
from bioplaus.errors import CircuitError, RuleError
from bioplaus.learning.fit import drawn_with, given
from bioplaus.learning.inside import AT_SYNAPSES, LATE, PART, Line, Seen, apart, kind_of, labelled
from bioplaus.learning.pace import BLOCK, Pace
from bioplaus.learning.sequence import Walk, error_of
from bioplaus.own import Gradients, Owns, tensors
from bioplaus.recording import Kept, alike, asked, dataset, thinned
from bioplaus.recording.asked import named
from bioplaus.recording.between import refuse_nothing, settled
from bioplaus.rules import Rule, as_rule
from bioplaus.schedule import borders
from bioplaus.settings import ours
from bioplaus.signal import Observed
from bioplaus.signal.observed import context_of
from bioplaus.signal.oracle import Oracle
from bioplaus.signal.synthetic import Sight, SyntheticGradient, theta
from bioplaus.signal.truth import future_credit, observe
from bioplaus.streams import stream
from bioplaus.tasks import Batch, Loss
from bioplaus.tasks.known import known_of

if TYPE_CHECKING:
    import xarray

    from bioplaus.recording import Asked


@ours()
def record(
    circuit: Circuit | Network,
    rule: Rule | str,
    batch: Batch,
    record: Any = ("spikes", "learning_signal", "eligibility"),
    loss: Loss | str | None = None,
    *,
    every: int = 1,
    own: Owns | None = None,
    seed: int = 0,
    dtype: str = "float64",
    perturb: Any = None,
) -> xarray.Dataset:
    """Run a batch under a rule and record what goes on inside; nothing is updated.

    Learning signal times eligibility, summed over time and batch and divided by the batch, is the rule's gradient (`bioplaus.gradient`, without
    regularisers)::

        dL/dW_ji = 1/B Σ_bt L_j(b, t) e_ji(b, t)

    Behind a leaky readout rules with traces whose signal predicts have a second such pair, ``learning_signal_now`` and ``eligibility_now``, whose product is
    added. What credits the state, as ``bp_lambda`` does by itself, has all of it in the first.

    Parameters
    ----------
    circuit : a circuit, built here with ``seed`` and ``dtype``, or a built network.
    rule : a rule or its name; window rules are recorded by their windows, others step by step.
    batch : inputs (time, batch, input), targets, weight; see `bioplaus.tasks.Batch`.
    record : a name, several, or ``{name: units}``: all that `bioplaus.simulate` takes, and ``error``, ``learning_signal``, ``eligibility``, ``psi``,
        ``prediction``, ``true_prediction``, ``true_credit`` (`bioplaus.learning.inside`). Units of an eligibility are postsynaptic; ``"W_rec.eligibility"``
        is that of one projection. What is known at the end only (``true_…``) needs the whole trajectory in memory, all else no more than what is recorded.
    loss : default: squared error for real targets, cross-entropy for integer ones.
    every : record the last of so many steps.
    perturb : who interferes, one `bioplaus.Perturb` or several: signals, traces and slopes are those of the circuit as it is then.
    own : the rule's own tensors, such as a trained predictor: ``trainer.own``; None: as they are at birth, from ``seed``.

    Returns
    -------
    xarray.Dataset
        As of `bioplaus.simulate`; of synapses (time, batch, unit, source_<projection>), with a dim ``channel`` where a cell has several, or (time,
        batch, synapse_<projection>) of sparse projections; ``target`` and ``weight`` beside the output.

    Raises
    ------
    CircuitError
        For an unknown name or units that there are not.
    RuleError
        For what the rule does not have.

    Examples
    --------
    >>> import bioplaus as bp
    >>> task = bp.task("pattern_generation", steps=100)
    >>> network = bp.circuit("recurrent", cell="alif", inputs=task.inputs, units=20, outputs=1).build()
    >>> batch = task.batch(bp.stream(0, "trial"), 1)
    >>> inside = bp.record(network, "eprop", batch, {"v": [3], "learning_signal": [3], "W_in.eligibility": [3]})
    >>> dict(inside["W_in.eligibility"].sizes)
    {'time': 100, 'batch': 1, 'unit': 1, 'source_W_in': 100}
    """
    rule = as_rule(rule)
    if not isinstance(circuit, (Circuit, Network)):
        raise checks.refusal(CircuitError, "The circuit", circuit, "one that bp.circuit('recurrent', cell=…) makes")
    dtype = checks.accept(CircuitError, "dtype", dtype, checks.Word(("float64", "float32")))
    every, seed = settled(every, None, seed)
    network = circuit if isinstance(circuit, Network) else circuit.build(seed=seed, dtype=getattr(torch, dtype))
    network = perturbed(network, perturb)
    rule.refuse(network)
    batch, chosen = given(network, batch, loss)
    refuse_nothing(every, 0, batch.steps, None)
    refuse_late(network, batch.steps)
    context = None if batch.context is None else batch.context.shape[-1]
    lines, others = apart(network, rule, record, context)
    wanted = asked(network, others) if others else []
    own = rule.begin(network, batch, seed) if own is None else _fitting(own, rule.begin(network, batch, seed))
    batch = drawn_with(network, batch, seed)
    with torch.no_grad():
        walk = Inside(network, rule, own, batch, chosen, seed, lines, wanted, every)
        for start, stop in borders(batch.steps, walk.pace.block):
            walk.block(start, stop)
            walk.settle()
        walk.ended()
    return walk.dataset()


def of_rule(record: Any) -> bool:
    """Whether something of it is the rule's, and not the circuit's."""
    parts = [name.rpartition(".") for name, _ in named(record)]
    return any(kind_of(quantity) is not None or where == CEREBELLUM for where, _, quantity in parts)


def _fitting(own: Any, born: Owns) -> Owns:
    """A rule's own tensors that are given, if they are shaped as it makes them.

    Raises
    ------
    RuleError
    """
    shapes = lambda owns: {path: tuple(t.shape) for path, t in tensors(owns).items()}  # noqa: E731
    try:
        found = shapes(own)
    except (AttributeError, TypeError):
        raise checks.refusal(
            RuleError, "own", own, "a rule's own tensors, such as trainer.own, or None for new ones"
        ) from None
    if found != shapes(born):
        raise RuleError(
            f"own holds {found or 'nothing'}, and this rule on this circuit has {shapes(born) or 'no tensors of its own'}. Give trainer.own of the same "
            "circuit and rule, or leave it out."
        )
    return own


class Inside(Walk):
    """A walk along a sequence that writes down what it sees, and computes no gradient."""

    def __init__(
        self,
        network: Network,
        rule: Rule,
        own: Owns,
        batch: Batch,
        loss: Loss,
        seed: int,
        lines: list[Line],
        wanted: list[Asked],
        every: int,
    ) -> None:
        pace = replace(Pace.of(rule, batch.steps, moving=False, keep=False), lean=False)
        # what sees each step by itself needs no window
        block = min(BLOCK, batch.steps) if rule.signal.pointwise else pace.block
        pace = replace(pace, block=block, stretch=block)
        noise = stream(seed, "noise")
        super().__init__(network, rule, own, batch, loss, None, pace, noise, None, None, "torch")
        self.lines, self.every = lines, every
        self.sight: Sight | None = None
        #: what the olive writes down
        self.log: list[tuple[int, torch.Tensor]] | None = None
        if any(line.label == f"{CEREBELLUM}.olive" and line.quantity == PART for line in lines):
            assert isinstance(rule.signal, SyntheticGradient)
            self.log = rule.signal.remembered(self.memory).memory.log = []
        self.states = [(one, Kept(one, every)) for one in wanted]
        for each in (*(line.kept for line in lines), *(kept for _, kept in self.states)):
            each.every = every
            each.reserve(batch.steps // every)

    def block(self, start: int, stop: int) -> tuple[Gradients, Gradients]:
        final = stop == self.batch.steps
        parts = [self.simulate(*piece, frozen=False) for piece in self.pace.pieces(start, stop)]
        met, _ = self.credit(parts, start, final)
        at = start
        olive = self.climbing(stop - start, start)
        for part, (tangent, credit) in zip(parts, met, strict=True):
            prediction, rates = self.predicted(at, tangent, part.error, final and part is parts[-1])
            if olive is not None:
                rates["olive"] = olive[at - start : at - start + len(tangent)]
            seen = Seen(tangent, credit, part.error, prediction, rates)
            for one, kept in self.states:
                kept.add(at, tangent.stretch.get(*one.key).cpu().numpy())
            for line in self.lines:
                if line.quantity not in (*LATE, *AT_SYNAPSES):
                    line.add(at, line.of(seen))
            self.synapses(at, tangent)
            at += len(tangent)
        return {}, {}

    def synapses(self, first: int, tangent: Tangent) -> None:
        """Traces step by step, where they are asked for."""
        mine = [line for line in self.lines if line.quantity in AT_SYNAPSES]
        if not mine:
            return
        past, network = self.rule.eligibility, self.network
        by_name = {w.spec.name: w for w in network.learned}
        for t, one in enumerate(tangent.each()):
            self.trace = past.step(self.trace, one)
            if (first + t + 1) % self.every:
                continue
            for line in mine:
                w = by_name[line.label.rpartition(".")[0]]
                e, bar = past.at_synapses(network, self.trace, one, w)
                line.add(first + t, line.of(e if bar is None or line.quantity == "eligibility_now" else bar))

    def climbing(self, steps: int, first: int) -> torch.Tensor | None:
        """What the predictor's olive did in the last steps, if somebody asks; 0 where it met no error."""
        if self.log is None:
            return None
        found = self.log[0][1].new_zeros(steps, *self.log[0][1].shape[1:])
        for at, rates in self.log:
            found[at - first : at - first + len(rates)] = rates
        self.log.clear()
        return found

    def predicted(
        self, first: int, tangent: Tangent, error: torch.Tensor, final: bool
    ) -> tuple[Any, dict[str, torch.Tensor]]:
        """g(h_t) behind every step, and what the predictor's parts do, if somebody asks; nothing follows the last."""
        signal, asked = self.rule.signal, {line.quantity for line in self.lines}
        if not isinstance(signal, SyntheticGradient) or not asked & {"prediction", PART}:
            return None, {}
        told = context_of(self.batch.context, first, first + len(tangent))
        layout, observed = Layout(self.network), Observed(self.network, tangent, error, final, told)
        seen, self.sight = signal.look(
            self.own, self.sight or signal.sight(self.network), observed, layout.vectors(tangent.stretch)
        )
        g = signal.said(self.own, self.sight, observed, seen[1:])
        if final:
            g[-1] = 0.0
        rates = signal.of(self.network).watch(
            theta(self.own), self.sight.memory, seen[1:], self.sight.memory.at - len(seen) + 1
        )
        return layout.credit(g), rates

    def ended(self) -> None:
        """What nobody knows before the end: by a sweep back through all of it."""
        late = [line for line in self.lines if line.quantity in LATE]
        if not late:
            return
        network, batch = self.network, self.batch
        observed = observe(network, batch, self.loss)
        error = error_of(self.loss, self.tally.outputs, batch.targets, batch.weight, self.asked)
        observed = replace(observed, error=error)
        credit, *_ = Oracle(self.rule.past.credit).credit({}, None, observed)  # type: ignore[arg-type]
        future = None
        if any(line.quantity == "true_prediction" for line in late):
            future = Layout(network).credit(future_credit(network, observed.tangent, observed))
        seen = Seen(observed.tangent, credit, error, future)
        for line in late:
            line.add(0, line.of(seen))

    def dataset(self) -> xarray.Dataset:
        """All of it, labelled."""
        beside: dict[str, np.ndarray] = {
            "input": self.batch.inputs[..., : self.network.circuit.inputs].cpu().numpy(),
            "output": self.tally.outputs.cpu().numpy(),
            "target": self.batch.targets.cpu().numpy(),
            "weight": self.batch.weight.cpu().numpy(),
        }
        units: dict[int, list[np.ndarray | None]] = {}
        for line in self.lines:
            if line.population is not None:
                units.setdefault(line.population, []).append(line.units)
        thin = {name: thinned(values, 0, self.every) for name, values in beside.items()}
        seen = [(one, kept.values) for one, kept in self.states]
        known = known_of("The batch that is recorded:", self.batch.trials, self.batch.steps, self.batch.size)
        found = dataset(self.network, seen, 0, self.batch.steps, self.every, thin, known, units)
        for line in self.lines:
            mine = units.get(line.population, []) if line.population is not None else [line.units]
            others = [one.units for one, _ in self.states if one.population == line.population]
            dims, coordinates = labelled(line, alike([*mine, *others]))
            about: Mapping[str, str] = {"units": "1", "long_name": line.about}
            found = found.assign_coords(coordinates).assign(
                {line.label: (("time", "batch", *dims), line.kept.values, about)}
            )
        found.attrs["rule"] = self.rule.name or type(self.rule.eligibility).__name__
        return found
