"""Interfering with a circuit: what each kind does, in a loop by hand, in torch, in Brian2; its gradients; and while a circuit learns."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import bioplaus as bp
from bioplaus import Perturb, mV, ms
from bioplaus.circuit.perturbed import perturbed
from bioplaus.errors import BioplausError, CircuitError, RunError
from bioplaus.rules import TABLE
from bioplaus.schedule import Online, Window
from bioplaus.tasks import squared

T, BATCH = 24, 2
TIGHT = 1e-12

SPIKING = bp.Cell(
    update="v = 0.8*v + I",
    inputs=("I",),
    spike="v > 1",
    reset="v -= 1",
    surrogate=bp.triangular(dampening=0.3, width="1.0"),
)
#: it looks back at its own output
RATE = bp.Cell(update="h = 0.5*h + 0.4*y + I", inputs=("I",), output="tanh(h)")
SIZES = {"A": 7, "B": 4}


def mixed(delay: int = 2) -> bp.Circuit:
    return bp.Circuit(
        name="mixed",
        inputs=3,
        populations={"A": bp.Population(SPIKING, SIZES["A"]), "B": bp.Population(RATE, SIZES["B"])},
        projections=(
            bp.Projection(name="W_in", source="input", target="A", gain=2.0),
            bp.Projection(name="W_AA", source="A", target="A"),
            bp.Projection(name="W_BA", source="A", target="B", delay=delay),
            bp.Projection(name="W_AB", source="B", target="A"),
        ),
        readout=bp.Readout(size=2, tau=5 * ms),
    )


def batch(steps: int = T, inputs: int = 3, outputs: int = 2) -> bp.Batch:
    g = torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.rand(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    return bp.Batch(draw(steps, BATCH, inputs), draw(steps, BATCH, outputs), torch.ones(steps, BATCH).double())


INPUT = batch()
INSIDE = [Perturb("A[1:4]", "silence", steps=range(4, 12)), Perturb("B", "silence", steps=range(10, 18))]
KINDS: dict[str, list[Perturb]] = {
    "silence": INSIDE,
    "drive": [Perturb("A.I", "drive", steps=slice(3, 9), value=0.4), Perturb("B[2]", "drive", steps=slice(5, None), value=-0.3)],
    "clamp": [Perturb("A[0, 2].v", "clamp", steps=range(6, 10), value=[0.7, 1.3]), Perturb("B", "clamp", steps=range(8, 11), value=0.2)],
    "cut": [Perturb("W_BA", "cut", steps=range(5, 14)), Perturb("W_in", "cut", steps=range(2, 20, 3)), Perturb("W_AB", "cut", steps=range(9))],
    "delay": [Perturb("W_BA", "delay", value=3), Perturb("W_AA", "delay", value=2)],
}
KINDS["all"] = [each for some in KINDS.values() for each in some]
SPANS = {
    "silence": {"A": (range(4, 12), [1, 2, 3]), "B": (range(10, 18), [0, 1, 2, 3])},
    "drive": {"A": (range(3, 9), range(7), 0.4), "B": (range(5, T), [2], -0.3)},
    "clamp": {"A": (range(6, 10), [0, 2], [0.7, 1.3]), "B": (range(8, 11), range(4), 0.2)},
    "cut": {"W_BA": range(5, 14), "W_in": range(2, 20, 3), "W_AB": range(9)},
}


def loop(W: Mapping[str, Tensor], kinds: Sequence[str]) -> Tensor:
    """The circuit `mixed` as anybody would write it down, with what interferes: outputs (time, batch, output)."""
    late = {"W_BA": 3, "W_AA": 2, "W_AB": 1} if "delay" in kinds else {"W_BA": 2, "W_AA": 1, "W_AB": 1}
    source, target = {"W_BA": "A", "W_AA": "A", "W_AB": "B"}, {"W_BA": "B", "W_AA": "A", "W_AB": "A"}
    zero = {p: torch.zeros(BATCH, n, dtype=torch.float64) for p, n in SIZES.items()}
    said: list[dict[str, Tensor]] = []
    s, own, filtered, outputs = dict(zero), dict(zero), torch.zeros(BATCH, 11).double(), []
    kappa = float(np.exp(-1 / 5))
    for t in range(T):
        brought = {p: torch.zeros_like(z) for p, z in zero.items()}
        open_ = lambda name, t=t: not ("cut" in kinds and t in SPANS["cut"].get(name, ()))  # noqa: E731
        if open_("W_in"):
            brought["A"] = brought["A"] + INPUT.inputs[t] @ W["W_in"].T
        for name, delay in late.items():
            if t >= delay and open_(name):
                brought[target[name]] = brought[target[name]] + said[t - delay][source[name]] @ W[name].T
        if "drive" in kinds:
            for p, (when, units, value) in SPANS["drive"].items():
                if t in when:
                    brought[p] = brought[p] + torch.zeros_like(zero[p]).index_fill(1, torch.tensor(list(units)), value)
        u = {"A": 0.8 * s["A"] + brought["A"], "B": 0.5 * s["B"] + 0.4 * own["B"] + brought["B"]}
        if "clamp" in kinds:
            for p, (when, units, value) in SPANS["clamp"].items():
                if t in when:
                    u[p] = u[p].clone()
                    u[p][:, list(units)] = torch.tensor(value, dtype=torch.float64)
        margin = u["A"] - 1
        slope = 0.3 * (1 - margin.abs()).clamp_min(0).detach()
        spike = (margin > 0).double() + slope * (margin - margin.detach())
        own = {"A": spike, "B": torch.tanh(u["B"])}
        s = {"A": u["A"] - spike.detach(), "B": u["B"]}
        sent = dict(own)
        if "silence" in kinds:
            for p, (when, units) in SPANS["silence"].items():
                if t in when:
                    sent[p] = sent[p] * torch.ones_like(zero[p]).index_fill(1, torch.tensor(list(units)), 0)
        said.append(sent)
        filtered = kappa * filtered + (1 - kappa) * torch.cat([sent["A"], sent["B"]], 1)
        outputs.append(filtered @ W["W_out"].T + W["b_out"])
    return torch.stack(outputs)


@pytest.fixture(scope="module")
def network() -> bp.Network:
    return mixed().build(seed=2, dtype="float64")


def gradients_by_hand(network: bp.Network, kinds: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
    W = {n: w.clone().requires_grad_() for n, w in network.weights.items()}
    o = loop(W, kinds)
    loss = 0.5 * ((o - INPUT.targets) ** 2).sum() / BATCH
    return o.detach(), dict(zip(W, torch.autograd.grad(loss, list(W.values())), strict=True))


def largest(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    assert set(a) == set(b)
    return max(float((a[n] - b[n]).abs().max()) for n in b)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_what_a_loop_by_hand_does_and_so_are_exact_gradients(network: bp.Network, kind: str) -> None:
    names = [name for name in KINDS if name != "all"] if kind == "all" else [kind]
    o, true = gradients_by_hand(network, names)
    plain, _ = gradients_by_hand(network, [])
    recording = bp.simulate(network, INPUT.inputs, ("spikes", "rate"), perturb=KINDS[kind])
    assert recording["A.spikes"].sum() > 20 and abs(recording["B.rate"]).max() > 0.1
    assert float((o - plain).abs().max()) > 1e-2  # it matters
    assert np.abs(recording.output.values - o.numpy()).max() < TIGHT
    for name, weight in true.items():
        assert float(weight.abs().max()) > 1e-3, name
    for rule in (bp.rule("bptt"), bp.rule("rtrl"), bp.rule("rtrl", schedule=Window(7))):
        found = bp.gradient(network, rule, INPUT, squared, perturb=KINDS[kind])
        assert largest(found, true) < TIGHT, rule


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", ["eprop", "three_factor", "mdgl", "uoro", "snap"])
def test_traces_forward_are_the_sweep_backward(network: bp.Network, rule: str, kind: str) -> None:
    if rule == "mdgl":
        network = mixed(delay=1).build(seed=2, dtype="float64")
        if kind in ("delay", "all"):
            with pytest.raises(BioplausError, match="takes [23] steps"):
                bp.gradient(network, rule, INPUT, squared, perturb=KINDS[kind])
            return
    found = [bp.gradient(network, bp.rule(rule, schedule=s), INPUT, squared, perturb=KINDS[kind]) for s in (Online(), Window(9))]
    assert all(float(found[0][n].abs().max()) > 0 for n in ("W_in", "W_AA", "W_out"))
    assert largest(found[1], found[0]) < 1e-11


@pytest.mark.parametrize("rule", sorted(TABLE))
def test_no_rule_gives_credit_where_nothing_can_come_from(rule: str) -> None:
    """Weights onto neurons that are silenced throughout, of projections that are cut, onto states that are held, and frozen ones."""
    network = three().build(seed=1, dtype="float64")
    perturbs = [Perturb("S", "silence"), Perturb("W_cut", "cut"), Perturb("C.v", "clamp", value=0.5), Perturb("W_frozen", "freeze")]
    if rule == "rflo":
        with pytest.raises(BioplausError, match="the leak of 'v' in population 'C' is not constant"):
            bp.gradient(network, rule, INPUT, squared, perturb=perturbs)
        del perturbs[2]
    before, found = (bp.gradient(network, rule, INPUT, squared, perturb=p) for p in (None, perturbs))
    assert all(bool(torch.isfinite(g).all()) for g in found.values())
    assert float(found["W_in"].abs().max()) > 0
    # of a product of random vectors every weight has a part, which is 0 on average
    nothing = [*(["W_S"] if rule != "uoro" else []), "W_cut", "W_frozen", *(["W_C"] if rule != "rflo" else [])]
    assert {n for n in nothing if float(found[n].abs().max()) != 0} == set()
    assert sum(float(before[n].abs().max()) > 0 for n in nothing) >= 2


def three() -> bp.Circuit:
    """E, and beside it a population that will be silenced and one that will be held; the readout sees all."""
    lif = bp.model("lif")
    return bp.Circuit(
        name="three",
        inputs=3,
        populations={name: bp.Population(lif, 6) for name in "ESC"},
        projections=(
            bp.Projection(name="W_in", source="input", target="E", gain=9.0),
            bp.Projection(name="W_S", source="input", target="S", gain=9.0),
            bp.Projection(name="W_C", source="input", target="C", gain=9.0),
            bp.Projection(name="W_cut", source="E", target="E", gain=2.0),
            bp.Projection(name="W_frozen", source="S", target="E", gain=2.0),
            bp.Projection(name="W_SE", source="E", target="S", gain=2.0),
        ),
        readout=bp.Readout(size=2),
    )
