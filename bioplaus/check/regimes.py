"""When each biased rule is exact, as tests: one function a rule. A new rule joins by adding its own.

Each yields (what was tried, relative error), which must vanish. ``exact_when`` of a rule's declarations says the same in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from bioplaus.cerebellum.predictors import Predictor, Seen
from bioplaus.check import fairness, signs
from bioplaus.check.bench import Bench, difference
from bioplaus.check.steps import mismatch
from bioplaus.circuit.carried import Layout
from bioplaus.circuit.sweep import sweep
from bioplaus.eligibility import MDGL, RFLO, EProp, Hops, KeRNL
from bioplaus.eligibility.recursion import Recursion
from bioplaus.errors import RuleError
from bioplaus.learning.sequence import sequence
from bioplaus.own import Own, Owns, mapped
from bioplaus.rules import (
    Rule,
    bp_lambda,
    bptt,
    dni,
    eprop,
    kernl,
    mdgl,
    rflo,
    rule,
    sliding_bptt,
    snap,
    tbptt,
    three_factor,
)
from bioplaus.schedule import Online, Window
from bioplaus.signal import Instant
from bioplaus.signal.truth import future_credit
from bioplaus.streams import stream
from bioplaus.tasks import squared

if TYPE_CHECKING:
    from torch import Tensor

Found = Iterator[tuple[str, float]]

#: what is measured of a random rule's signs in place of an error: how far they are off what chance allows
FAIR = "its signs, over what chance allows:"


@dataclass(frozen=True)
class Knowing(Predictor):
    """A predictor that knows: it looks a state up in a recorded trajectory and answers with the true gradient of its future loss."""

    states: Tensor  # (time + 1, batch, size)
    truth: Tensor

    def init(self, seen: Seen, generator: torch.Generator) -> Own:
        return Own()

    def predict(self, theta: Own, h: Tensor) -> Tensor:
        many = h if h.dim() == 3 else h[None]
        at = int(
            (self.states - many[0]).abs().flatten(1).amax(1).argmin()
        )  # windows of other lengths round differently
        return self.truth[at : at + len(many)].reshape(h.shape).clone()

    def gradient(self, theta: Own, h: Tensor, u: Tensor) -> dict[str, Tensor]:
        return {}

    def jacobian(self, theta: Own, h: Tensor) -> dict[str, Tensor]:
        return {}

    def describe(self) -> dict[str, Any]:
        return {"predictor": "knowing"}


def knowing(bench: Bench) -> Knowing:
    """The predictor that knows the futures of a bench's batch."""
    with torch.no_grad():
        layout, tangent = Layout(bench.network), bench.observed.tangent
        states = layout.vectors(bench.window)
        start = layout.flat(sweep(tangent, bench.observed.direct()).start, states[0])
        return Knowing(states, torch.cat([start[None], future_credit(bench.network, tangent, bench.observed)]))


def schedules(bench: Bench, rule: Rule, own: Owns | None = None) -> Found:
    """Online and in windows: the same gradient, of the circuit and of the signal's own weights."""
    got = []
    for schedule in (Online(), Window(7), Window()):
        outcome = sequence(bench.network, replace(rule, schedule=schedule), own or {}, bench.batch, squared)
        got.append(outcome.gradients | outcome.own)
    yield "online = windows", max(difference(g, got[-1]) for g in got[:-1])


def of_tbptt(bench: Bench) -> Found:
    yield "one window", difference(bench.gradients(tbptt(bench.batch.steps)), bench.true)
    if bench.written_by_hand:
        yield "autograd cut every 7", difference(bench.gradients(tbptt(7)), bench.by_hand(cut_every=7))


def of_eprop(bench: Bench) -> Found:
    alone = bench.unconnected()
    yield "W_rec = 0", difference(alone.gradients(eprop(schedule="online")), alone.true)
    if bench.written_by_hand:
        yield (
            "autograd with stopped outputs",
            difference(bench.gradients(eprop(schedule="online")), bench.by_hand(stop="between")),
        )
        B = torch.randn(bench.network.weights["W_out"].shape, generator=stream(0, "matrix"), dtype=torch.float64)
        told = eprop(feedback=B)
        found = bench.gradients(told, told.begin(bench.network, bench.batch, 0))
        yield "a feedback matrix, autograd", difference(found, bench.by_hand(stop="between", feedback=B))
    yield from schedules(bench, eprop())


def of_rflo(bench: Bench) -> Found:
    symmetric = Rule(RFLO(), Instant(), Online())
    if leak_alone(bench):
        alone = bench.unconnected()
        yield "W_rec = 0, symmetric, the leak alone", difference(alone.gradients(symmetric), alone.true)
        yield "= eprop", difference(bench.gradients(symmetric), bench.gradients(Rule(EProp(), Instant(), Window())))
    if bench.written_by_hand and not _wiped(bench):  # by hand a hard reset ends what the leak goes on with
        yield "autograd of the leak", difference(bench.gradients(symmetric), bench.by_hand(stop="all"))
    yield from schedules(bench, rflo(), rflo().begin(bench.network, bench.batch, 0))


def leak_alone(bench: Bench) -> bool:
    """Whether the leak is the only path inside a neuron."""
    derived = bench.network.populations[0].kernel.derived
    off = [e for i, row in enumerate(derived.F) for j, e in enumerate(row) if i != j]
    return not any(e != 0 for e in (*off, *derived.E, *derived.ry)) and not _wiped(bench)


def _wiped(bench: Bench) -> bool:
    """Whether a reset leaves less of a state than all that it was, or makes something else of it."""
    Ru = bench.network.populations[0].kernel.derived.Ru
    return any(e != (i == j) for i, row in enumerate(Ru) for j, e in enumerate(row))


def of_sliding_bptt(bench: Bench) -> Found:
    yield "k = T", difference(bench.gradients(sliding_bptt(bench.batch.steps)), bench.true)
    yield from schedules(bench, sliding_bptt(5))


def of_hops(bench: Bench) -> Found:
    enough = Rule(Hops(bench.batch.steps - 1), Instant(), Online())
    short = bench.short(8)
    yield "k = T − 1", difference(short.gradients(replace(enough, eligibility=Hops(7))), short.true)
    none = bench.gradients(Rule(Hops(0), Instant(), Online()))
    yield "k = 0 is eprop", difference(none, bench.gradients(eprop(schedule="online")))


def of_snap(bench: Bench) -> Found:
    yield "full mask", difference(bench.gradients(snap(sum(p.size for p in bench.network.populations))), bench.true)
    loops = any(
        w.source.population == w.target and bool(_diagonal(bench, w.spec.name).any()) for w in bench.network.recurrent
    )
    if not loops:
        yield "n = 1 without self-connections is eprop", difference(bench.gradients(snap(1)), bench.gradients(eprop()))


def _diagonal(bench: Bench, name: str) -> Tensor:
    W = bench.network.weights[name]
    return W.view(-1, W.shape[1], W.shape[1]).diagonal(dim1=1, dim2=2)


def of_kernl(bench: Bench) -> Found:
    one = bench.short(1)
    own = KeRNL().begin(bench.network, stream(0, "kernel"))
    yield "one step", difference(one.gradients(kernl(), own), one.true)
    try:
        rflo().refuse(bench.network)
    except RuleError:
        return
    symmetric = Rule(RFLO(), Instant(), Online())
    yield "Λ = 1, α the leak, is rflo", difference(bench.gradients(kernl(), own), bench.gradients(symmetric))
    if leak_alone(bench):
        alone = bench.unconnected()
        yield "W_rec = 0, the leak alone", difference(alone.gradients(kernl(), own), alone.true)


def of_mdgl(bench: Bench) -> Found:
    alone = bench.unconnected()
    yield "W_rec = 0", difference(alone.gradients(mdgl()), alone.true)
    if not bench.network.kappa:
        two = bench.short(2)
        yield "two steps", difference(two.gradients(mdgl()), two.true)
    yield from schedules(bench, mdgl())
    yield from schedules(bench, Rule(MDGL(types=True), Instant(), Online()))


def of_random(name: str) -> Callable[[Bench], Found]:
    """Of an unbiased influence: over all its signs the mean is BPTT."""
    return lambda bench: over_signs(bench, rule(name), bptt())


def of_three_factor(bench: Bench) -> Found:
    yield from over_signs(bench, three_factor(), eprop())


def over_signs(bench: Bench, random: Rule, expected: Rule) -> Found:
    """The mean over all signs of a random rule is another rule, of long sequences too, and its signs are fair."""
    short = signs.short(bench, random)
    if short is None:
        yield "there are too many signs to try all", float("inf")
        return
    yield "mean over all signs", difference(signs.expectation(short, random), short.gradients(expected))
    past, signal = random.eligibility, random.signal
    if past.declaration.random and isinstance(past, Recursion) and expected.claim == "exact":
        yield "mean over a step's signs is RTRL's step, at every step", mismatch(bench, random)
    if signal.declaration.random and not past.declaration.random:
        one = replace(bench, batch=bench.copies(1))
        yield "mean over each step's signs", difference(signs.by_step(bench, random), one.gradients(expected))
    yield FAIR, fairness.unfairness(bench, random)


def of_dni(bench: Bench) -> Found:
    yield "one window", difference(bench.gradients(dni(bench.batch.steps), drawn(bench, dni())), bench.true)
    for steps in (1, 3):
        yield (
            f"a predictor that knows, n = {steps}",
            difference(bench.gradients(dni(steps, knowing(bench))), bench.true),
        )


def of_bp_lambda(bench: Bench) -> Found:
    known = knowing(bench)
    yield (
        "a predictor that knows",
        max(difference(bench.gradients(bp_lambda(lmbda, known)), bench.true) for lmbda in (0.0, 0.5, 1.0)),
    )
    outputs = bp_lambda(0.5, known, eligibility="eprop")
    if outputs.signal.refuse(bench.network, None) is None:
        yield "a predictor that knows, met by eprop", difference(bench.gradients(outputs), bench.true)
    yield from schedules(bench, bp_lambda(0.7, discount=0.9), drawn(bench, bp_lambda()))


def drawn(bench: Bench, rule: Rule) -> Owns:
    """A predictor's weights, drawn at random: zeros would hide most mistakes."""
    generator = stream(0, "predictor")
    own = rule.signal.begin(bench.network, generator, 0)
    return mapped(lambda v: torch.randn(v.shape, generator=generator, dtype=v.dtype) * 0.1, own)


REGIMES: dict[str, Callable[[Bench], Found]] = {
    "tbptt": of_tbptt, "sliding_bptt": of_sliding_bptt, "hops": of_hops, "snap": of_snap, "kernl": of_kernl,
    "uoro": of_random("uoro"), "kf_rtrl": of_random("kf_rtrl"), "r_kf_rtrl": of_random("r_kf_rtrl"),
    "eprop": of_eprop, "rflo": of_rflo, "mdgl": of_mdgl, "three_factor": of_three_factor, "dni": of_dni, "bp_lambda": of_bp_lambda,
}  # fmt: skip
