"""A small living circuit for every model, on which claims are measured, and the measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch

from bioplaus.cell import Cell
from bioplaus.check import by_hand
from bioplaus.circuit import Circuit, Network, Population, Projection, Readout
from bioplaus.circuit.credit import Credit, anywhere, at
from bioplaus.circuit.dale import apart, reached
from bioplaus.circuit.tangent import Tangent
from bioplaus.circuit.trajectory import Stretch, roll
from bioplaus.eligibility import Eligibility
from bioplaus.learning.fit import drawn_with
from bioplaus.learning.sequence import sequence
from bioplaus.own import Owns
from bioplaus.rules import Rule, bptt, eprop
from bioplaus.signal import Observed, Signal
from bioplaus.streams import stream
from bioplaus.symbolic.arguments import neurons
from bioplaus.tasks import Batch, squared

if TYPE_CHECKING:
    from torch import Tensor

UNITS, INPUTS, OUTPUTS, BATCH = 6, 4, 2, 2
#: mean outputs per step between which a spiking circuit counts as alive  # chosen: neither silent nor always on
ALIVE = (0.02, 0.6)
#: circuits that are made of one seed until one lives  # chosen: of all shipped models nine in ten live at once
ATTEMPTS = 32
#: by how much, relative to it, what crosses recurrent weights must change the gradient: rules differ in that
COUNTS = 1e-3

Gradients = Mapping[str, torch.Tensor]


def difference(a: Gradients, b: Gradients) -> float:
    """Largest elementwise difference of any weight's gradient, over the largest entry of that gradient in b; a missing one is zero."""
    return max(
        float((a.get(n, torch.zeros_like(g)) - g).abs().max() / g.abs().max()) for n, g in b.items() if bool(g.any())
    )


@dataclass(frozen=True)
class Bench:
    """One model in one circuit with one batch, float64."""

    network: Network
    batch: Batch
    written_by_hand: bool
    seed: int = 0

    @cached_property
    def true(self) -> dict[str, Tensor]:
        """BPTT's gradient."""
        return self.gradients(bptt())

    def gradients(self, rule: Rule, own: Owns | None = None) -> dict[str, Tensor]:
        """The gradient a rule computes of the circuit's weights."""
        return sequence(self.network, rule, own or {}, self.batch, squared).gradients

    def by_hand(
        self, stop: str = "", cut_every: int | None = None, feedback: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Autograd's gradient through the circuit as it is written by hand; with feedback weights, without the readout's."""
        options: dict[str, Any] = {"stop": stop, "cut_every": cut_every, "feedback": feedback}
        found = by_hand.gradient(self.network, self.batch, squared, **options)[1]
        return found if feedback is None else {w.spec.name: found[w.spec.name] for w in self.network.learned}

    @cached_property
    def window(self) -> Stretch:
        with torch.no_grad():
            return roll(self.network, self.network.start(self.batch.size), self.batch.inputs)[0]

    @cached_property
    def observed(self) -> Observed:
        """The whole sequence, as a signal sees it."""
        error = (
            squared.error(self.network.output(self.window.seen()), self.batch.targets) * self.batch.weight[..., None]
        )
        return Observed(self.network, Tangent(self.network, self.window), error, final=True)

    def unconnected(self) -> Bench:
        """The same without recurrent weights."""
        network = self.network.circuit.build(dtype=torch.float64)
        network.load(self.network.weights)
        for w in network.recurrent:
            network.weights[w.spec.name].zero_()
        return replace(self, network=network)

    def stepwise(self, past: Eligibility, signal: Signal) -> dict[str, Tensor]:
        """The gradient of an eligibility that moves forward one step at a time, given credit that its signal found beforehand."""
        with torch.no_grad():
            credit = signal.credit({}, None, self.observed)[0]
            state, total = past.init(self.network, self.batch.size), {}
            for t, step in enumerate(self.window.steps):
                one = Tangent(self.network, Stretch(self.network, [step], self.window.x[t : t + 1]))
                now = one_step(credit, t)
                if isinstance(now, Credit) and anywhere(now.u):  # is met while a step is taken
                    found, state = past.forward(self.network, state, one, now)
                else:
                    state = past.step(state, one)
                    found = past.gradient(self.network, state, one, now)
                for name, g in found.items():
                    total[name] = total[name] + g if name in total else g
        masks = self.network.masks
        return {n: g * masks[n] / self.batch.size if n in masks else g / self.batch.size for n, g in total.items()}

    def finite_differences(self, step: float = 5e-5) -> float:
        """Slope of the loss along a random direction of every weight against BPTT's, five points: for smooth cells."""
        generator, worst = stream(self.seed, "directions"), 0.0
        for name, w in self.network.weights.items():
            direction = torch.randn(w.shape, generator=generator, dtype=w.dtype) * self.network.masks.get(
                name, torch.ones_like(w)
            )
            kept, losses = w.clone(), []
            for k in (-2, -1, 1, 2):
                w.copy_(kept + k * step * direction)
                window, _ = roll(self.network, self.network.start(self.batch.size), self.batch.inputs)
                o = self.network.output(window.seen())
                losses.append(float(squared.total(o, self.batch.targets, self.batch.weight)))
            w.copy_(kept)
            slope = (losses[0] - 8 * losses[1] + 8 * losses[2] - losses[3]) / (12 * step)
            true = float((self.true[name] * direction).sum())
            worst = max(worst, abs(slope - true) / float((self.true[name] * direction).abs().sum()))
        return worst

    def short(self, steps: int) -> Bench:
        """The first steps only, of the first sample."""
        b = self.batch
        one = Batch(b.inputs[:steps, :1], b.targets[:steps, :1], torch.ones_like(b.weight[:steps, :1]))
        return replace(self, batch=one)

    def copies(self, count: int) -> Batch:
        """The first sample, many times side by side."""
        b = self.batch
        return Batch(*(x[:, :1].repeat(1, count, *(1,) * (x.dim() - 2)) for x in (b.inputs, b.targets, b.weight)))

    def dead(self) -> str:
        """What is dead in it, or nothing: silent or saturated neurons, no ψ, a weight without gradient, recurrence."""
        for i, p in enumerate(self.network.populations):
            mean = float(self.window.spikes(i).mean())
            if p.kernel.derived.spiking and not ALIVE[0] <= mean <= ALIVE[1]:
                return f"mean output {mean:.3f} per step"
            psi = [e for e in self.observed.tangent.partials[i].psi if e is not None]
            if not psi or not any(bool(torch.as_tensor(e).any()) for e in psi):
                return "ψ = 0 everywhere"
        still = [n for n, g in self.true.items() if not bool(g.any())]
        if still:
            return f"no gradient of {', '.join(still)}"
        return "" if difference(self.gradients(eprop()), self.true) > COUNTS else "recurrent weights change nothing"


def bench(
    cell: Cell,
    steps: int,
    delay: int,
    tau: float | None,
    written_by_hand: bool,
    seed: int = 0,
    units: int = UNITS,
    lively: float = 2 * ALIVE[0],
    gain: float = 0.5,
    dt: float = 1e-3,
    inhibition: bool = False,
) -> Bench:
    """A circuit of one model in which everything moves: recurrent weights, biases, random inputs and targets.

    With ``inhibition`` a third of the neurons inhibit, on the channels that their targets have for it.

    The input of spiking cells grows until the circuit fires, ``lively`` outputs a step and neuron; their recurrent weights are too
    weak to keep firing without it.
    """
    spiking, generator = cell.spiking, stream(seed, "check")
    rand = lambda *shape: torch.rand(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    sizes = {"E": units - units // 3, "I": units // 3} if inhibition else {"cortex": units}
    recurrent = {
        "delay": delay,
        "autapses": not spiking or units == 1,
        "gain": gain if spiking else 1.0,
    }
    circuit = Circuit(
        populations={name: Population(cell, size, {} if cell.inputs else None) for name, size in sizes.items()},
        projections=_excitation_and_inhibition(cell, recurrent) if inhibition else _all_to_all(cell, recurrent),
        inputs=INPUTS,
        readout=Readout(size=OUTPUTS, tau=tau),
        dt=dt,
        name="check",
    )
    network = circuit.build(seed=seed, dtype=torch.float64)
    batch = Batch(
        rand(steps, BATCH, INPUTS) * 2 - (0 if spiking else 1),
        rand(steps, BATCH, OUTPUTS) * 4 - 2,
        (rand(steps, BATCH) < 0.5).double(),
    )
    batch = drawn_with(network, batch, seed)
    weights = network.weights
    if cell.inputs:
        for name in ("b_E", "b_I") if inhibition else ("b",):
            weights[name] += (rand(*weights[name].shape) - 0.5) * 0.2
    weights["b_out"] += 0.1
    if spiking:
        lines = ("W_in_E", "W_in_I") if inhibition else ("W_in",)
        for name in lines:
            weights[name].abs_().div_(16)  # excitation reaches every neuron
        for _ in range(32):
            found = Bench(network, batch, written_by_hand, seed)
            quiet = [i for i in range(len(lines)) if float(found.window.spikes(i).mean()) < lively]
            for i in quiet:
                weights[lines[i]] *= 1.5
            if not quiet:
                break
    return Bench(network, batch, written_by_hand, seed)


def _all_to_all(cell: Cell, recurrent: Mapping[str, Any]) -> tuple[Projection, ...]:
    """Input and synapses of one population, also such as carry what its cell sends beside its output."""
    return (
        Projection(name="W_in", source="input", target="cortex"),
        Projection(name="W_rec", source="cortex", target="cortex", **recurrent),
        *(
            Projection(name=f"W_{name}", source="cortex", target="cortex", sends=name, channels=some, **recurrent)
            for name in cell.sends
            if (some := tuple(c for c in cell.opened(name) if cell.with_spikes(name) or c not in cell.jumps))
        ),
    )


def _excitation_and_inhibition(cell: Cell, recurrent: Mapping[str, Any]) -> tuple[Projection, ...]:
    """Input and synapses of two, under Dale's law."""
    found = []
    for post in "EI":
        found.append(Projection(name=f"W_in_{post}", source="input", target=post))
        for pre in "EI":
            channels, sign = reached(cell, excitatory=pre == "E")
            found.append(
                Projection(
                    name=f"W_{post}{pre}",
                    source=pre,
                    target=post,
                    channels=channels,
                    sign=sign,
                    init="gamma",
                    **recurrent,
                )
            )
    return tuple(found)


def benches(cell: Cell, quick: bool, seed: int, written_by_hand: bool = False) -> list[Bench]:
    """The two circuits in which each model is tried; those of a cell's other seeds where the first are dead."""
    settings = [(20, 1, None), (20, 2, 10e-3)] if quick else [(100, 1, None), (40, 3, 10e-3)]
    fixed: Any = {"cell": cell, "written_by_hand": written_by_hand, "units": neurons(cell) or UNITS}
    kinds = [False, bool(apart(cell))]
    makes = [
        partial(bench, **fixed, steps=n, delay=delay, tau=tau, inhibition=two)
        for (n, delay, tau), two in zip(settings, kinds, strict=True)
    ]
    return [living(lambda each, make=make: make(seed=each), seed) for make in makes]


def living(make: Callable[[int], Bench], seed: int) -> Bench:
    """What a seed makes, or another of a few that follow from it if that one is dead; the last if all are."""
    *others, last = seeds(seed, ATTEMPTS)
    return next((found for each in others if not (found := make(each)).dead()), None) or make(last)


def seeds(seed: int, count: int) -> Iterator[int]:
    """A seed and others that follow from it, so far apart that neighbours have none in common."""
    return ((seed + i * 2**32) % 2**63 for i in range(count))


def one_step(credit: Any, t: int) -> Any:
    """Step t of a credit over time, its time dimension kept."""
    if isinstance(credit, Credit):
        step = at(credit, t)
        return Credit(
            tuple(tuple(_timed(a) for a in p) for p in step.s),
            tuple(tuple(_timed(a) for a in p) for p in step.y),
            tuple(_timed(a) for a in step.filtered),
            tuple(tuple(_timed(a) for a in p) for p in step.u),
        )
    return tuple(None if a is None else a[t : t + 1] for a in credit)


def _timed(a: Tensor | None) -> Tensor | None:
    return None if a is None else a.unsqueeze(0)
