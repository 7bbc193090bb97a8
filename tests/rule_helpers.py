"""Living circuits, independent derivatives and detectors of mistakes, for the tests of rules.

A detector is a function that asserts one fact about the rules on circuits it builds itself. The tests of the rules call
it; the tests of mistakes (test_mutations) call the same function with the mistake in place, and it must fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pytest
import torch
from torch import Tensor

import bioplaus as bp
from bioplaus import ms
from bioplaus.check import by_hand
from bioplaus.check.bench import one_step
from bioplaus.circuit import Circuit, Network, Population, Projection, Readout
from bioplaus.circuit.tangent import Tangent
from bioplaus.circuit.trajectory import Stretch, roll
from bioplaus.eligibility import RFLO, RTRL, EProp, Immediate
from bioplaus.learning.regulariser import RateRegulariser
from bioplaus.learning.sequence import sequence
from bioplaus.learning.tally import Outcome
from bioplaus.own import Own, Owns, by_part
from bioplaus.rules import Rule, bptt
from bioplaus.schedule import Online
from bioplaus.schedule import Window as Windows
from bioplaus.signal import Instant, Observed, Oracle
from bioplaus.tasks import Batch, squared

TIGHT = 1e-10

SEVEN = ("leaky_rate", "elman", "lif", "alif", "lstm", "gru", "adex")
SMOOTH = ("leaky_rate", "elman", "lstm", "gru")
SPIKING = ("lif", "alif", "adex", "lsnn_lif", "lsnn_alif")
#: input strength at which circuits of these cells fire, neither silent nor always
DRIVE = {"lif": 3.0, "alif": 3.0, "adex": 9.0, "lsnn_lif": 0.1, "lsnn_alif": 0.1}

Gradients = Mapping[str, Tensor]


def random(*shape: int, seed: int = 0) -> Tensor:
    """Uniform numbers between 0 and 1, float64."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def off(a: Gradients, b: Gradients) -> float:
    """Largest elementwise difference of any gradient over the largest entry of that gradient in b; a missing one is zero."""
    assert b and set(a) <= set(b), (set(a), set(b))
    assert all(bool(torch.isfinite(g).all()) for g in (*a.values(), *b.values()))
    return max(
        float((a.get(n, torch.zeros_like(g)) - g).abs().max() / g.abs().max().clamp_min(1e-300)) for n, g in b.items()
    )


class Off(AssertionError):
    """A detector's finding, and by how much."""

    def __init__(self, message: str, error: float = float("inf")) -> None:
        super().__init__(message)
        self.error = error


def same(a: Gradients, b: Gradients, tolerance: float = TIGHT) -> None:
    """Raise `Off` unless all gradients agree elementwise."""
    error = off(a, b)
    if not error <= tolerance:
        each = ", ".join(f"{n} {off({n: a.get(n, torch.zeros_like(g))}, {n: g}):.0e}" for n, g in b.items())
        raise Off(f"relative error {error:.1e}: {each}", error)


#: a rule's own tensors, by part or as references have them
Theta = Mapping[str, Own] | Mapping[str, Tensor] | None

#: what references call a part's tensors, learned and fixed
PREFIXES = {
    ("predictor", True): "", ("predictor", False): "fixed_", ("feedback", True): "", ("feedback", False): "fixed_back_",
    ("copy", False): "fixed_copy_", ("model", True): "model_", ("auxiliary", True): "auxiliary_", ("kernel", True): "",
}  # fmt: skip
ALONE = {"kernel.weights": "kernel", "copy.count": "fixed_count"}


def side_by_side(found: Mapping[str, Own] | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A rule's own tensors, or gradients of them by path, under the short names by which references tell them apart."""
    out: dict[str, Tensor] = {}

    def put(part: str, name: str, value: Tensor, learned: bool) -> None:
        short = ALONE.get(f"{part}.{name}", PREFIXES[part, learned] + name)
        short = "fixed_B" if short == "fixed_back_B" else short
        assert short not in out, short
        out[short] = value

    for path, value in found.items():
        if isinstance(value, Own):
            for name, v in value.learned.items():
                put(path, name, v, True)
            for name, v in value.fixed.items():
                put(path, name, v, False)
        else:
            put(*path.split(".", 1), value, True)  # type: ignore[call-arg]
    return out


def owned(theta: Theta) -> Owns:
    """By part, as rules want them, whichever way they are given; the tensors are the same."""
    given = dict(theta or {})
    parts = {part: own for part, own in given.items() if isinstance(own, Own)}
    return parts or by_part({name: v for name, v in given.items() if isinstance(v, Tensor)})


def signal_of(rule: Rule) -> Any:
    """A rule's signal, whose options are its own."""
    return rule.signal


def paragraph(error: pytest.ExceptionInfo[Any]) -> str:
    """The message of an error: prose on one line."""
    text = str(error.value)
    assert "\n" not in text and text.endswith((".", "?")) and len(text.split()) > 6, text
    return text


@dataclass(frozen=True)
class Case:
    """A network, a batch for it, and its gradients."""

    network: Network
    batch: Batch
    regulariser: RateRegulariser | None = None

    def outcome(self, rule: Any, theta: Theta = None) -> Outcome:
        return sequence(self.network, rule, owned(theta), self.batch, squared, self.regulariser)

    def gradients(self, rule: Any, theta: Theta = None) -> dict[str, Tensor]:
        return self.outcome(rule, theta).gradients

    @cached_property
    def true(self) -> dict[str, Tensor]:
        """By autograd through the circuit by hand."""
        return self.by_hand()

    def by_hand(self, stop: str = "", cut_every: int | None = None) -> dict[str, Tensor]:
        return by_hand.gradient(self.network, self.batch, squared, self.regulariser, stop, cut_every)[1]

    @cached_property
    def window(self) -> Stretch:
        return roll(self.network, self.network.start(self.batch.size), self.batch.inputs)[0]

    @cached_property
    def observed(self) -> Observed:
        error = (
            squared.error(self.network.output(self.window.seen()), self.batch.targets) * self.batch.weight[..., None]
        )
        return Observed(self.network, Tangent(self.network, self.window), error, final=True, context=self.batch.context)

    def stepwise(self, past: Any, signal: Any) -> dict[str, Tensor]:
        """An eligibility that moves forward step by step, with credit that was found beforehand."""
        credit = signal.credit({}, None, self.observed)[0]
        state, total = past.init(self.network, self.batch.size), {}
        for t, step in enumerate(self.window.steps):
            one = Tangent(self.network, Stretch(self.network, [step], self.window.x[t : t + 1]))
            state = past.step(state, one)
            for name, g in past.gradient(self.network, state, one, one_step(credit, t)).items():
                total[name] = total.get(name, 0) + g / self.batch.size
        return {n: g * self.network.masks.get(n, 1) for n, g in total.items()}

    def of_circuit(self, gradients: Gradients) -> dict[str, Tensor]:
        """Without the readout's gradients."""
        return {n: g for n, g in gradients.items() if n not in ("W_out", "b_out")}

    def alive(self) -> Case:
        """Assert that everything moves: outputs, ψ, every weight's gradient, at every population."""
        for i, p in enumerate(self.network.populations):
            y = self.window.spikes(i)
            if p.kernel.derived.spiking:
                assert set(y.unique().tolist()) == {0.0, 1.0}, f"population {p.name} is silent or saturated"
                assert 0.01 < float(y.mean()) < 0.7, f"population {p.name}: mean output {float(y.mean()):.3f}"
            psi = [torch.as_tensor(e) for e in Tangent(self.network, self.window).partials[i].psi if e is not None]
            assert psi and any(bool((e > 0).any()) for e in psi), f"ψ is zero in population {p.name}"
        for name, g in self.true.items():
            assert bool(g.any()), f"no gradient of {name}"
        return self


def batch_for(network: Network, steps: int, size: int, spiking: bool, seed: int = 5) -> Batch:
    """Random inputs, targets and weights of steps, some of them zero."""
    inputs = random(steps, size, network.circuit.inputs, seed=seed)
    targets = normal(steps, size, network.circuit.readout.size, seed=seed + 1)
    weight = (random(steps, size, seed=seed + 2) < 0.6).double() * (1 + random(steps, size, seed=seed + 3))
    weight[-1] = 1.0
    return Batch(inputs if spiking else 2 * inputs - 1, targets, weight, normal(size, 3, seed=seed + 4))


def living(
    circuit: Circuit,
    drive: Mapping[str, float],
    steps: int,
    size: int,
    regulariser: RateRegulariser | None = None,
    seed: int = 1,
) -> Case:
    """Build a circuit, excite its spiking populations, give it biases, and insist that it lives."""
    network = circuit.build(seed=seed, dtype=torch.float64)
    for name, w in network.weights.items():
        if name.startswith("b"):
            w += 0.2 * (random(*w.shape, seed=11) - 0.5)
    for p in circuit.projections:
        cell = circuit.populations[p.target].cell
        if p.source == "input" and cell.spiking:
            network.weights[p.name].abs_().mul_(drive[cell.name])
    any_spiking = any(p.cell.spiking for p in circuit.populations.values())
    return Case(network, batch_for(network, steps, size, any_spiking), regulariser).alive()


def case(
    model: str | bp.Cell,
    *,
    delay: int = 1,
    tau: Any = None,
    steps: int = 30,
    units: int = 5,
    size: int = 3,
    gain: float = 1.0,
    rate: tuple[float, float] | None = None,
    bias: bool = True,
    **options: Any,
) -> Case:
    """A recurrent circuit of one model; ``rate`` = (target, strength) of a regulariser."""
    cell = bp.model(model) if isinstance(model, str) else model
    gain = gain * (0.25 if cell.name.startswith("lsnn") else 1.0)
    circuit = bp.circuit(
        "recurrent",
        cell=cell,
        inputs=4,
        units=units,
        outputs=2,
        tau_out=tau,
        delay=delay,
        gain=gain,
        bias=bias,
        **options,
    )
    return living(circuit, DRIVE, steps, size, RateRegulariser(*rate) if rate else None)


def two_populations(first: str = "alif", second: str = "lstm", tau: Any = 10 * ms, steps: int = 30) -> Case:
    """Two kinds of cells that talk both ways with different delays; channels of their own; the readout sees the second more than once removed."""
    a, b = bp.model(first), bp.model(second)
    link = next(iter(b.inputs))
    circuit = Circuit(
        populations={"a": Population(a, 5, {}), "b": Population(b, 4, {})},
        projections=(
            Projection(name="in_a", source="input", target="a"),
            Projection(name="in_b", source="input", target="b"),
            Projection(name="aa", source="a", target="a", autapses=False, delay=2),
            Projection(name="ab", source="b", target="a", delay=1),
            Projection(name="ba", source="a", target="b", delay=3, channels=(link,), fan_in=3),
            Projection(name="bb", source="b", target="b", delay=1, fan_in=2),
        ),
        inputs=4,
        readout=Readout(size=2, tau=tau, sources=("b", "a") if tau is not None else ("b",)),
        name="two",
    )
    return living(circuit, DRIVE, steps, 3)


def dale(tau: Any = 10 * ms, cell: str = "lif", inhibitory: str = "alif", delay: int = 2, steps: int = 40) -> Case:
    """Excitatory and inhibitory neurons, sparse, without autapses; the readout sees the excitatory ones."""
    circuit = bp.circuit(
        "excitatory_inhibitory",
        cell=bp.model(cell),
        inhibitory=bp.model(inhibitory),
        inputs=4,
        units=10,
        outputs=2,
        fraction=0.6,
        fan_in=0.7,
        tau_out=tau,
        delay=delay,
        gain=1.5,
    )
    return living(circuit, DRIVE, steps, 3)


# -- detectors ---------------------------------------------------------------------------------------------------------


def bptt_is_autograd(c: Case) -> None:
    same(c.gradients(bptt()), c.true)


def rtrl_is_bptt(c: Case) -> None:
    """Online, step by step."""
    rule = bp.rule("rtrl")
    assert isinstance(rule.schedule, Online)
    same(c.gradients(rule), c.true)


def oracle_pairs_are_bptt(c: Case) -> None:
    """Given the true credit of the kind it needs, every exact past half returns BPTT's gradient, online and as a window."""
    true = c.of_circuit(c.true)
    for past in (Immediate(), EProp(), RTRL()):
        signal = Oracle(past.declaration.credit)
        same(c.stepwise(past, signal), true)
        same(c.of_circuit(c.gradients(Rule(past, signal, Windows()))), true)


def eprop_is_stopped_autograd(c: Case, online: bool = True, window: bool = True) -> None:
    """e-prop differs from BPTT and equals autograd with the outputs between neurons stopped, under every schedule."""
    stopped = c.by_hand(stop="between")
    assert off(stopped, c.true) > 1e-3, "e-prop must differ from BPTT here, or the test is empty"
    if online:
        same(c.gradients(bp.rule("eprop", schedule="online")), stopped)
    if window:
        for steps in (None, 7, 1):
            same(c.gradients(bp.rule("eprop", schedule="window", steps=steps)), stopped)


def rflo_is_the_leak(c: Case) -> None:
    rule = Rule(RFLO(), Instant(), Online())
    leak = c.by_hand(stop="all")
    assert off(leak, c.true) > 1e-3
    same(c.gradients(rule), leak)
    same(c.gradients(replace(rule, schedule=Windows(7))), leak)


def tbptt_is_cut_autograd(c: Case, steps: int = 7) -> None:
    cut = c.by_hand(cut_every=steps)
    assert off(cut, c.true) > 1e-3
    same(c.gradients(bp.rule("tbptt", steps=steps)), cut)


def random_feedback_is_autograd(c: Case) -> None:
    """The true readout's error, fed back through another matrix B: autograd through B y with that error held."""
    network, batch = c.network, c.batch
    B = normal(*network.weights["W_out"].shape, seed=9)
    outputs, _ = by_hand.run(network.circuit, network.weights, batch.inputs)
    error = squared.error(outputs, batch.targets) * batch.weight[..., None]
    weights = {n: w.clone().requires_grad_() for n, w in network.weights.items()}
    fed, _ = by_hand.run(
        network.circuit,
        {**weights, "W_out": B, "b_out": torch.zeros(len(B), dtype=B.dtype)},
        batch.inputs,
        stop="between",
    )
    names = list(c.of_circuit(weights))
    found = torch.autograd.grad((fed * error).sum() / batch.size, [weights[n] for n in names])
    expected = {n: g * network.masks.get(n, 1) for n, g in zip(names, found, strict=True)}
    expected |= {n: c.true[n] for n in ("W_out", "b_out")}
    for schedule in ("online", "window"):
        same(c.gradients(bp.rule("eprop", feedback="random", schedule=schedule), {"fixed_B": B}), expected)
    assert off(expected, c.gradients(bp.rule("eprop"))) > 1e-2


def masks_hold(c: Case) -> None:
    """Neither a gradient nor an update ever touches a weight that is not there; signs stay."""
    network = c.network
    assert network.masks, "this circuit has no masks"
    for name in ("bptt", "eprop", "rtrl"):
        for weight, mask in network.masks.items():
            g = c.gradients(bp.rule(name)).get(weight, torch.zeros_like(mask))
            if bool(g[mask == 0].any()):
                raise Off(f"{name} has a gradient where {weight} has no synapse")
    before = {n: w.clone() for n, w in network.weights.items()}
    for n, w in network.weights.items():
        w -= 3.0 * torch.sign(before[n]) * random(*w.shape, seed=3)  # a large step, across zero
    network.constrain()
    for p in network.circuit.projections:
        W = network.weights[p.name]
        expected = before[p.name] - 3.0 * torch.sign(before[p.name]) * random(*W.shape, seed=3)
        if p.sign:
            if bool((W * p.sign < 0).any()):
                raise Off(f"{p.name} has a weight of the wrong sign")
            expected = torch.where(expected * p.sign > 0, expected, 0.0)
        if p.name in network.masks:
            if bool(W[network.masks[p.name] == 0].any()):
                raise Off(f"{p.name} has a weight where there is no synapse")
            expected = expected * network.masks[p.name]
        assert torch.equal(W, expected)
        W.copy_(before[p.name])
