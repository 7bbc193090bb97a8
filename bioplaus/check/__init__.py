"""Every rule's claim against BPTT, on every model it accepts: ``bioplaus check``.

BPTT itself is arbitrated by torch's autograd through circuits written by hand (`bioplaus.check.by_hand`) and, for smooth cells,
by finite differences. A rule that claims to be exact must equal BPTT elementwise; one that claims to be biased must differ
from it, and must be exact in the regime in which it says it is (`bioplaus.check.regimes`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioplaus import checks, content
from bioplaus.check.bench import Bench, difference
from bioplaus.check.bench import benches as benches_of
from bioplaus.check.by_hand import CELLS
from bioplaus.check.fused import Loops, loops
from bioplaus.check.order import Order, orders
from bioplaus.check.regimes import FAIR, REGIMES
from bioplaus.eligibility import Eligibility
from bioplaus.errors import BioplausError, ContentError, RuleError, unknown
from bioplaus.rules import ELIGIBILITIES, TABLE, Rule, rule
from bioplaus.schedule import Window
from bioplaus.signal import Oracle
from bioplaus.symbolic.derive import Derived
from bioplaus.symbolic.functions import direction, magnitude, relu, step

EXACT, BIASED = 1e-10, 1e-6
SLOPES = 1e-7  # of finite differences, whose own error is about 1e-10


@dataclass(frozen=True)
class Row:
    """One rule on one model.

    Attributes
    ----------
    claim : what the rule says of itself; from its declarations.
    measured : ``"exact"`` (error ≤ 1e-10), ``"unbiased"`` (biased in one draw, exact in the mean over all signs that it can draw), ``"biased"`` (> 1e-6), ``"neither"``, or ``"refused"``, ``"dead"``.
    steps : over how many.
    error : largest elementwise difference from BPTT's gradient of any weight, over that gradient's largest entry. For BPTT itself: from autograd.
    ok : whether the claim, its regimes and its referees all hold.
    note : what else was tried, and with what error.
    """

    rule: str
    model: str
    claim: str
    measured: str
    steps: int
    error: float
    ok: bool
    note: str


def check(quick: bool = False, rules: Sequence[str] = (), models: Sequence[str] = (), seed: int = 0) -> Iterator[Row]:
    """Measure the claims of all rules on all models, a study's own included.

    Each model is tried in two circuits: with a direct readout and delay 1, with a leaky readout and a longer delay. Of a cell that keeps
    apart the channels that inhibit it (``coba``), the second has excitatory and inhibitory neurons.

    Parameters
    ----------
    quick : fewer steps.
    rules : only these, by their names in `bioplaus.rules.TABLE`; by default all, and the past halves with the true credit.
    models : only these.
    seed : of weights, inputs, targets and signs.

    Raises
    ------
    RuleError, ContentError
        For a name that nothing has.
    """
    seed = checks.accept(RuleError, "seed", seed, checks.SEED)
    files = content.names("model")
    for label in rules:
        if label not in TABLE:
            raise RuleError(unknown("rule", label, TABLE))
    for name in models:
        if name not in files:
            raise ContentError(unknown("model", name, files))
    return _rows(quick, rules, {name: file for name, file in files.items() if not models or name in models}, seed)


def _rows(quick: bool, rules: Sequence[str], files: dict[str, Path], seed: int) -> Iterator[Row]:
    for name, file in files.items():
        own = content.shipped() not in file.parents  # a study's model: no circuit by hand, however it is called
        try:
            cell = content.model(name)
            benches = benches_of(cell, quick, seed, name in CELLS and not own)
            dead = next((why for b in benches if (why := b.dead())), "")
        except BioplausError as error:
            benches, dead = [], str(error)
        if dead:
            yield Row("all", name, "–", "dead", 0, float("nan"), False, f"nothing can be measured: {dead}")
            continue
        for label in rules or TABLE:
            yield from _rule(label, name, benches)
        for past in () if rules else ELIGIBILITIES.values():
            if past.declaration.bias == "exact" and past.declaration.credit != "direct":
                yield _oracle(past(), name, benches)


def _rule(label: str, model: str, benches: list[Bench]) -> Iterator[Row]:
    made = rule(label)
    served, reason = [], ""
    for b in benches:
        try:
            made.refuse(b.network)
            served.append(b)
        except RuleError as error:
            reason = str(error).partition(": ")[2].partition(". Rules that serve")[0]
    if not served:
        yield Row(label, model, made.claim, "refused", 0, float("nan"), True, reason)
        return
    benches = served
    tried: dict[str, float] = {}
    error = 0.0 if made.claim == "exact" else float("inf")
    for b in benches:
        if label == "bptt":
            one, more = _bptt(b)
        else:
            one = difference(b.gradients(made, made.begin(b.network, b.batch, 0)), b.true)
            more = dict(REGIMES[label](b)) if label in REGIMES else {}
        error = max(error, one) if made.claim == "exact" else min(error, one)  # the worst case of either claim
        tried |= {words: max(value, tried.get(words, 0.0)) for words, value in more.items()}
    holds = all(value <= _limit(words) for words, value in tried.items())
    if made.claim != "exact" and label not in REGIMES:
        holds, tried = (
            False,
            {"no regime in which it is exact is tested: add one to bioplaus/check/regimes.py": float("nan")},
        )
    measured = _word(error)
    if made.claim == "unbiased" and holds and measured == "biased":  # one draw is off, the mean of many is not
        measured = "unbiased"
    notes = [f"{words} {value:.2g}" if words == FAIR else f"{words} {value:.0e}" for words, value in tried.items()]
    yield Row(
        label, model, made.claim, measured, _steps(benches), error, holds and measured == made.claim, "; ".join(notes)
    )


def _bptt(b: Bench) -> tuple[float, dict[str, float]]:
    """BPTT against autograd: through the circuit by hand, or through the model's own step where there is none."""
    smooth = {"slopes of the loss": b.finite_differences()} if _smooth(b.network.populations[0].kernel.derived) else {}
    if b.written_by_hand:
        return difference(b.true, b.by_hand()), smooth
    return difference(b.true, _autograd(b)), smooth | {"not written by hand: autograd of its own step": 0.0}


def _autograd(b: Bench) -> dict[str, Any]:
    """Autograd through the compiled step, for models that nobody wrote by hand."""
    import torch

    from bioplaus.tasks import squared

    network = b.network.circuit.build(dtype=torch.float64)
    network.weights = {n: w.detach().clone().requires_grad_() for n, w in b.network.weights.items()}
    state, outputs = network.start(b.batch.size), []
    for drive in zip(*(d.unbind(0) for d in network.drive(b.batch.inputs)), strict=True):
        state = network.advance(state, drive, differentiable=True).after
        outputs.append(network.output(torch.cat(network.read(state), -1)))
    loss = squared.total(torch.stack(outputs), b.batch.targets, b.batch.weight)
    found = torch.autograd.grad(loss, list(network.weights.values()))
    return {n: g * network.masks[n] if n in network.masks else g for n, g in zip(network.weights, found, strict=True)}


def _smooth(derived: Derived) -> bool:
    return not derived.spiking and not any(
        e.has(relu, step, magnitude, direction) for e in (*derived.f, derived.output)
    )


def _oracle(past: Eligibility, model: str, benches: list[Bench]) -> Row:
    """A past half, stepping forward, with the true credit for its future half."""
    signal = Oracle(past.declaration.credit)
    pair = Rule(past, signal, Window())
    error = 0.0
    for b in benches:
        true = {w.spec.name: b.true[w.spec.name] for w in b.network.learned}
        error = max(error, difference(b.stepwise(past, signal), true), difference(b.gradients(pair), true))
    measured = _word(error)
    name = f"{type(past).__name__.lower()} + oracle"
    return Row(
        name,
        model,
        pair.claim,
        measured,
        _steps(benches),
        error,
        measured == pair.claim,
        "step by step and as one window",
    )


def _limit(words: str) -> float:
    return 1.0 if words == FAIR else SLOPES if "slopes" in words else EXACT


def _word(error: float) -> str:
    return "exact" if error <= EXACT else "biased" if error > BIASED else "neither"


def _steps(benches: list[Bench]) -> int:
    return max(b.batch.steps for b in benches)


__all__ = ["Loops", "Order", "Row", "check", "loops", "orders"]
