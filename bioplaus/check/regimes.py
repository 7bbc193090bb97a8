"""When each biased rule is exact, as tests: one function a rule. A new rule joins by adding its own.

Each yields (what was tried, relative error), which must vanish. ``exact_when`` of a rule's declarations says the same in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bioplaus.check.bench import Bench, difference
from bioplaus.circuit.carried import Layout
from bioplaus.circuit.linear import sweep
from bioplaus.eligibility import RFLO, EProp
from bioplaus.rules import Rule, bp_lambda, dni, eprop, rflo, tbptt
from bioplaus.schedule import Online, Window, sequence
from bioplaus.signal import Instant
from bioplaus.streams import stream
from bioplaus.tasks import squared
from bioplaus.train import future_credit

Found = Iterator[tuple[str, float]]


@dataclass(frozen=True)
class Knowing:
    """A predictor that knows: it looks a state up in a recorded trajectory and answers with the true gradient of its future loss."""

    states: Tensor  # (time + 1, batch, size)
    truth: Tensor

    def init(self, inputs: int, outputs: int, generator: torch.Generator, dtype: Any, device: Any) -> dict[str, Tensor]:
        return {}

    def predict(self, theta: dict[str, Tensor], h: Tensor) -> Tensor:
        many = h if h.dim() == 3 else h[None]
        at = int(
            (self.states - many[0]).abs().flatten(1).amax(1).argmin()
        )  # windows of other lengths round differently
        return self.truth[at : at + len(many)].reshape(h.shape).clone()

    def gradient(self, theta: dict[str, Tensor], h: Tensor, u: Tensor) -> dict[str, Tensor]:
        return {}

    def jacobian(self, theta: dict[str, Tensor], h: Tensor) -> dict[str, Tensor]:
        return {}

    def describe(self) -> dict[str, Any]:
        return {"predictor": "knowing"}


def knowing(bench: Any) -> Knowing:
    """The predictor that knows the futures of a bench's batch."""
    with torch.no_grad():
        layout, linear = Layout(bench.network), bench.observed.linear
        states = layout.vectors(bench.window)
        start = layout.flat(sweep(linear, bench.observed.direct()).start, states[0])
        return Knowing(states, torch.cat([start[None], future_credit(bench.network, linear, bench.observed)]))


def schedules(bench: Bench, rule: Rule, theta: dict[str, Tensor] | None = None) -> Found:
    """Online and in windows: the same gradient, of the circuit and of the signal's own weights."""
    got = []
    for schedule in (Online(), Window(7), Window()):
        outcome = sequence(bench.network, replace(rule, schedule=schedule), theta or {}, bench.batch, squared)
        got.append(outcome.gradients | outcome.own)
    yield "online = windows", max(difference(g, got[-1]) for g in got[:-1])


def of_tbptt(bench: Bench) -> Found:
    yield "one window", difference(bench.gradients(tbptt(bench.batch.steps)), bench.true)
    if bench.written_by_hand:
        yield "autograd cut every 5", difference(bench.gradients(tbptt(5)), bench.by_hand(cut_every=5))


def of_eprop(bench: Bench) -> Found:
    alone = bench.unconnected()
    yield "W_rec = 0", difference(alone.gradients(eprop(schedule="online")), alone.true)
    if bench.written_by_hand:
        yield (
            "autograd with stopped outputs",
            difference(bench.gradients(eprop(schedule="online")), bench.by_hand(stop="between")),
        )
    yield from schedules(bench, eprop())


def of_rflo(bench: Bench) -> Found:
    symmetric = Rule(RFLO(), Instant(), Online())
    derived = bench.network.populations[0].kernel.derived
    off = [e for i, row in enumerate(derived.F) for j, e in enumerate(row) if i != j]
    if not any(e != 0 for e in (*off, *derived.E, *derived.ry)):  # the leak is the only path
        alone = bench.unconnected()
        yield "W_rec = 0, symmetric, the leak alone", difference(alone.gradients(symmetric), alone.true)
        yield "= eprop", difference(bench.gradients(symmetric), bench.gradients(Rule(EProp(), Instant(), Window())))
    if bench.written_by_hand:
        yield "autograd of the leak", difference(bench.gradients(symmetric), bench.by_hand(stop="all"))
    theta = rflo().signal.parameters(bench.network, stream(0, "feedback"), 0)
    yield from schedules(bench, rflo(), theta)


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
    yield from schedules(bench, bp_lambda(0.7, discount=0.9), drawn(bench, bp_lambda()))


def drawn(bench: Bench, rule: Rule) -> dict[str, Tensor]:
    """A predictor's weights, drawn at random: zeros would hide most mistakes."""
    generator = stream(0, "predictor")
    theta = rule.signal.parameters(bench.network, generator, 0)
    return {n: torch.randn(v.shape, generator=generator, dtype=v.dtype) * 0.1 for n, v in theta.items()}


REGIMES: dict[str, Callable[[Bench], Found]] = {
    "tbptt": of_tbptt, "eprop": of_eprop, "rflo": of_rflo, "dni": of_dni, "bp_lambda": of_bp_lambda,
}  # fmt: skip
