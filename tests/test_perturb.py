"""Interfering with a circuit: what each kind does, in a loop by hand, in torch, in Brian2; its gradients; and while a circuit learns."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pytest
import torch
from perturb_helpers import BATCH, Pattern, T, after, batch, learner, pair, same
from torch import Tensor

import bioplaus as bp
from bioplaus import Perturb, ms, mV
from bioplaus.circuit.perturbed import perturbed
from bioplaus.errors import BioplausError, CircuitError, RunError
from bioplaus.learning.sequence import sequence
from bioplaus.rules import TABLE
from bioplaus.schedule import Online, Window
from bioplaus.tasks import squared

TIGHT = 1e-12

#: its adaptation is a way from one spike to the next, of which the derivative is kept
SPIKING = bp.Cell(
    update="v = 0.8*v + I; a = 0.9*a",
    inputs=("I",),
    spike="v > 1 + 0.3*a",
    reset="v -= 1; a += 1",
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


INPUT = batch()
INSIDE = [Perturb("A[1:4]", "silence", steps=range(4, 12)), Perturb("B", "silence", steps=range(10, 18))]
KINDS: dict[str, list[Perturb]] = {
    "silence": INSIDE,
    "drive": [
        Perturb("A.I", "drive", steps=slice(3, 9), value=0.4),
        Perturb("B[2]", "drive", steps=slice(5, None), value=-0.3),
    ],
    "clamp": [
        Perturb("A[0, 2].v", "clamp", steps=range(6, 10), value=[0.7, 1.3]),
        Perturb("B", "clamp", steps=range(8, 11), value=0.2),
    ],
    "cut": [
        Perturb("W_BA", "cut", steps=range(5, 14)),
        Perturb("W_in", "cut", steps=range(2, 20, 3)),
        Perturb("W_AB", "cut", steps=range(9)),
    ],
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
    a = zero["A"]
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
        a = 0.9 * a
        margin = u["A"] - 1 - 0.3 * a
        slope = 0.3 * (1 - margin.abs()).clamp_min(0).detach()  # of a triangle
        spike = (margin > 0).double() + slope * (margin - margin.detach())
        own = {"A": spike, "B": torch.tanh(u["B"])}
        s, a = {"A": u["A"] - spike.detach(), "B": u["B"]}, a + spike
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
    found = [
        bp.gradient(network, bp.rule(rule, schedule=s), INPUT, squared, perturb=KINDS[kind])
        for s in (Online(), Window(9))
    ]
    assert all(float(found[0][n].abs().max()) > 0 for n in ("W_in", "W_AA", "W_out"))
    assert largest(found[1], found[0]) < 1e-11


@pytest.mark.parametrize("rule", sorted(TABLE))
def test_no_rule_gives_credit_where_nothing_can_come_from(rule: str) -> None:
    """Weights onto neurons that are silenced throughout, of projections that are cut, onto states that are held, and frozen ones."""
    network = three().build(seed=1, dtype="float64")
    perturbs = [
        Perturb("S", "silence"),
        Perturb("W_cut", "cut"),
        Perturb("C.v", "clamp", value=0.5),
        Perturb("W_frozen", "freeze"),
    ]
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


# -- what must hold -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["alif", "delta_lif", "coba", "leaky_rate", "tsodyks_markram"])
def test_silencing_a_population_is_cutting_its_projections_and_its_readout(cell: str) -> None:
    network = pair(cell).build(seed=1, dtype="float64")
    x = batch(80).inputs
    states = network.circuit.populations["E"].cell.states
    names = ("spikes", "rate", *states)
    silent = bp.simulate(network, x, names, lenient=True, perturb=Perturb("E", "silence"))
    cut = bp.simulate(network, x, names, lenient=True, perturb=[Perturb(n, "cut") for n in ("W_EE", "W_IE")])
    said = "E.spikes" if "E.spikes" in cut else "E.rate"
    assert abs(cut[said]).sum() > 20 and (silent[said] == 0).all() and (silent.output == 0).all()
    for name in cut.data_vars:
        if name not in (said, "output"):
            assert abs(silent[name] - cut[name]).max() <= TIGHT, name
    assert abs(bp.simulate(network, x, states)["I." + states[0]] - cut["I." + states[0]]).max() > 1e-3  # it matters


HARD = bp.Cell(
    equations="dv/dt = -v/(20*ms) : 1",
    jumps=("v",),
    spike="v > 1",
    reset="v = 0",
    surrogate=bp.triangular(dampening=0.3, width="1.0"),
)


def test_a_silenced_neuron_wipes_out_what_arrives_with_its_own_spike() -> None:
    """Its next step goes by the output that it did not send."""
    circuit = bp.Circuit(
        inputs=3,
        populations={name: bp.Population(HARD, 6) for name in "EI"},
        projections=(
            bp.Projection(name="W_in", source="input", target="E", gain=2.0),
            bp.Projection(name="W_IE", source="E", target="I", gain=3.0),
            bp.Projection(name="W_EI", source="I", target="E"),
        ),
        readout=bp.Readout(size=2),
    )
    network, given = circuit.build(seed=1, dtype="float64"), batch(60)
    silent, cut, plain = (
        bp.simulate(network, given.inputs, ("v", "spikes"), perturb=p)
        for p in (Perturb("E", "silence"), Perturb("W_IE", "cut"), None)
    )
    assert cut["E.spikes"].sum() > 20 and plain["I.spikes"].sum() > 5
    assert abs(silent["E.v"] - cut["E.v"]).max() < TIGHT and abs(silent["I.v"] - cut["I.v"]).max() < TIGHT
    theirs = bp.brian.simulate(
        network, given.inputs, ("v", "spikes"), perturb=Perturb("E", "silence", steps=range(10, 40))
    )
    ours = bp.simulate(network, given.inputs, ("v", "spikes"), perturb=Perturb("E", "silence", steps=range(10, 40)))
    assert (
        all(ours[n].equals(theirs[n]) for n in ("E.spikes", "I.spikes"))
        and abs(ours["E.v"] - theirs["E.v"]).max() < TIGHT
    )


def sending() -> bp.Circuit:
    """Short-term plasticity: what projections carry is a function of states, beside the spike."""
    cell = bp.model("tsodyks_markram")
    between = [
        bp.Projection(name=f"W_{q}{p}", source=p, target=q, sends="released", gain=12.0) for p in "EI" for q in "EI"
    ]
    return bp.Circuit(
        inputs=3,
        populations={"E": bp.Population(cell, 8), "I": bp.Population(cell, 3)},
        projections=(*(bp.Projection(name=f"W_in_{p}", source="input", target=p, gain=12.0) for p in "EI"), *between),
        readout=bp.Readout(size=2, tau=20 * ms),
    )


def test_the_twin_of_what_is_sent_beside_spikes() -> None:
    network, x = sending().build(seed=1, dtype="float64"), batch(40).inputs
    some = [Perturb("E", "silence", steps=range(2, 30)), Perturb("W_EI", "cut", steps=range(5, 35, 2))]
    ours, theirs = (f(network, x, ("v", "spikes"), perturb=some) for f in (bp.simulate, bp.brian.simulate))
    assert ours["I.spikes"].sum() > 10 and abs(ours["I.v"] - bp.simulate(network, x, "v")["I.v"]).max() > 1e-3
    assert all(abs(ours[n] - theirs[n]).max() < TIGHT for n in ("E.v", "I.v", "E.spikes", "I.spikes"))


@pytest.mark.parametrize("cell", ["tsodyks_markram", "coba", "delta_lif"])
def test_gradients_of_cells_that_send_more_and_are_reset_hard(cell: str) -> None:
    """Autograd through the step itself, which the twin has been compared with."""
    circuit = sending() if cell == "tsodyks_markram" else pair(cell)
    network, given = circuit.build(seed=1, dtype="float64"), batch(30)
    silence = [Perturb("E[0:5]", "silence", steps=range(6, 22)), Perturb("I", "silence", steps=range(4, 9))]
    view = perturbed(network, silence)
    view.weights = {n: w.clone().requires_grad_() for n, w in network.weights.items()}
    state, outputs = view.start(BATCH), []
    for drive in zip(*(d.unbind(0) for d in view.drive(view.draw(given.inputs, 0))), strict=True):
        state = view.advance(state, drive, differentiable=True).after
        outputs.append(view.output(torch.cat(view.read(state), -1)))
    loss = 0.5 * ((torch.stack(outputs) - given.targets) ** 2).sum() / BATCH
    true = view.fitted(dict(zip(view.weights, torch.autograd.grad(loss, list(view.weights.values())), strict=True)))
    for rule in ("bptt", "rtrl"):
        found = bp.gradient(network, rule, given, squared, perturb=silence)
        assert all(float(found[n].abs().max()) > 1e-6 for n in ("W_EE", "W_EI", "W_IE"))
        assert largest(found, {n: true[n] for n in found}) < 1e-11


@pytest.mark.parametrize("delay", [1, 3])
def test_what_is_not_sent_in_some_steps_does_not_arrive_a_delay_later(delay: int) -> None:
    network, x = pair("alif", delay).build(seed=1, dtype="float64"), batch(80).inputs
    sent = bp.simulate(network, x, "v", perturb=Perturb("E", "silence", steps=range(10, 40)))
    arrived = bp.simulate(
        network, x, "v", perturb=[Perturb(n, "cut", steps=range(10 + delay, 40 + delay)) for n in ("W_EE", "W_IE")]
    )
    early = bp.simulate(network, x, "v", perturb=[Perturb(n, "cut", steps=range(10, 40)) for n in ("W_EE", "W_IE")])
    assert all(abs(sent[n] - arrived[n]).max() <= TIGHT for n in ("E.v", "I.v"))
    assert abs(sent["E.v"] - early["E.v"]).max() > 1e-3


def everything(cell: str) -> list[Perturb]:
    held, channel = {"coba": (-55 * mV, "I"), "delta_lif": (0.3, "v")}.get(cell, (0.3, "I"))
    return [
        Perturb("E[0:3]", "silence", steps=range(5, 45)),
        Perturb(f"E.{channel}", "drive", steps=slice(3, 49), value=0.7),
        Perturb(f"E.{channel}", "noise", value=0.2),
        Perturb("E[1, 2].v", "clamp", steps=range(8, 22), value=held),
        Perturb("W_IE", "cut", steps=range(4, 50, 2)),
        Perturb("W_in_E", "cut", steps=range(10, 60, 2)),
        Perturb("W_EE", "delay", value=3),
    ]


@pytest.mark.parametrize("cell", [pytest.param("alif", marks=pytest.mark.slow), "delta_lif", "coba"])
def test_the_twin_shows_the_same_spikes_and_states(cell: str) -> None:
    network, x = pair(cell).build(seed=1, dtype="float64"), batch(70).inputs
    names = ("spikes", *network.circuit.populations["E"].cell.states, *network.circuit.populations["E"].cell.inputs)
    more = {"seed": 3, "return_state": True, "perturb": everything(cell)}
    ours, left = bp.simulate(network, x, names, **more)
    theirs, behind = bp.brian.simulate(network, x, names, **more)
    plain = bp.simulate(network, x, names, seed=3)
    assert ours["E.spikes"].sum() > 20 and (ours["E.spikes"] != plain["E.spikes"]).any()
    for name in ours.data_vars:
        assert abs(ours[name] - theirs[name]).max() < 1e-12, name
    for name in left.data_vars:
        assert abs(left[name] - behind[name]).max() < 1e-12, name


def test_the_twin_leaves_what_was_not_sent_where_silence_lasts_to_the_end() -> None:
    network, x = pair("alif").build(seed=1, dtype="float64"), batch(70).inputs
    who = Perturb("E[0:6]", "silence", steps=slice(10, None))
    spikes = bp.simulate(network, x, "v", perturb=who, return_state=True)[1]
    unsent = spikes["E.unsent output"]
    ends = [t for t in range(20, 70) if _left(network, x[:t], who)["E.unsent output"].any()]
    assert len(ends) > 3 and unsent.shape == (BATCH, network.populations[0].size)
    for end in ends[:2]:
        ours, theirs = _left(network, x[:end], who), _left(network, x[:end], who, bp.brian.simulate)
        for name in ours.data_vars:
            assert abs(ours[name] - theirs[name]).max() < 1e-12, name
        then = bp.simulate(network, x[end:], "spikes", state=theirs, perturb=who, backend="torch")
        assert then["E.spikes"].equals(bp.simulate(network, x, "spikes", perturb=who)["E.spikes"][end:])


def _left(network: bp.Network, x: Tensor, who: Perturb, run: Any = bp.simulate) -> Any:
    return run(network, x, "v", perturb=who, return_state=True)[1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["silence", "clamp", "cut", "rest"])
def test_the_twin_of_each_kind_by_itself(kind: str) -> None:
    network, x = pair("coba").build(seed=1, dtype="float64"), batch(60).inputs
    mine = [
        p for p in everything("coba") if p.kind == kind or (kind == "rest" and p.kind in ("drive", "noise", "delay"))
    ]
    ours, theirs = (f(network, x, ("v", "spikes"), perturb=mine) for f in (bp.simulate, bp.brian.simulate))
    assert ours["E.spikes"].equals(theirs["E.spikes"]) and ours["I.spikes"].equals(theirs["I.spikes"])
    assert abs(ours["E.v"] - theirs["E.v"]).max() < 1e-12


@pytest.mark.parametrize("cell", ["alif", "delta_lif"])
def test_pieces_cut_where_somebody_interferes_are_the_whole_to_the_last_bit(cell: str) -> None:
    network, x = pair(cell).build(seed=1, dtype="float64"), batch(60).inputs
    more: dict[str, Any] = {"record": ("v", "spikes"), "perturb": everything(cell)}
    whole, unsent = bp.simulate(network, x, **more), 0
    for at in (7, 14, 15, 16, 17, 18, 30):
        first, state = bp.simulate(network, x[:at], return_state=True, **more)
        then = bp.simulate(network, x[at:], state=state, **more)
        assert all(then[n].identical(whole[n][at:]) for n in ("E.v", "I.v", "E.spikes", "I.spikes")), at
        unsent += int((state["E.unsent output"] != 0).sum())
    assert unsent > 0


def test_a_state_goes_on_unperturbed_where_that_makes_sense() -> None:
    x = batch(60).inputs
    for cell, refused in (("alif", False), ("delta_lif", True)):
        network = pair(cell).build(seed=1, dtype="float64")
        silence = Perturb("E", "silence", steps=slice(None, 30))
        at = next(
            t
            for t in range(10, 30)
            if (bp.simulate(network, x[:t], perturb=silence, return_state=True)[1]["E.unsent output"] != 0).any()
        )
        _, state = bp.simulate(network, x[:at], perturb=silence, return_state=True)
        if refused:
            with pytest.raises(CircuitError, match="Give the same perturb= here"):
                bp.simulate(network, x[at:], state=state)
        else:
            went = bp.simulate(network, x[at:], "v", state=state)
            ended = Perturb("E", "silence", steps=slice(None, at))
            assert went["E.v"].identical(bp.simulate(network, x, "v", perturb=ended)["E.v"][at:])
        _, plain = bp.simulate(network, x[:10], return_state=True)
        later = Perturb("E", "silence", steps=slice(10, None))
        assert bp.simulate(network, x[10:], "v", state=plain, perturb=later)["E.v"].identical(
            bp.simulate(network, x, "v", perturb=later)["E.v"][10:]
        )


def test_drives_of_the_same_channel_add_up_and_the_last_clamp_counts() -> None:
    network, x = pair("alif").build(seed=1, dtype="float64"), batch(40).inputs
    run = lambda *p: bp.simulate(network, x, ("I", "v"), perturb=list(p))  # noqa: E731
    two = run(Perturb("E.I", "drive", value=0.2), Perturb("E[2].I", "drive", steps=range(1), value=0.3))
    plain = run()
    added = (two["E.I"] - plain["E.I"])[0, 0]
    assert np.allclose(added, [0.5 if i == 2 else 0.2 for i in range(8)], atol=1e-12)
    held = run(Perturb("E.v", "clamp", value=0.1), Perturb("E[2].v", "clamp", steps=range(5, 9), value=0.3))["E.v"]
    assert (held[5:9, :, 2] == 0.3).all() and (held[9:, :, 2] == 0.1).all() and (held[5:9, :, 3] == 0.1).all()


def test_noise_comes_from_its_seed_and_name_alone() -> None:
    network, x = pair("alif").build(seed=1, dtype="float64"), batch(40).inputs
    noise = Perturb("E.I", "noise", value=0.5)
    run = lambda *p, seed=0: bp.simulate(network, x, "I", seed=seed, perturb=list(p))["E.I"]  # noqa: E731
    plain, one = run(), run(noise)
    added = (one - plain)[0]  # before anything came back
    assert added.identical((run(Perturb("I.I", "drive", value=0.1), noise) - plain)[0])
    assert abs(added - (run(noise, seed=1) - plain)[0]).max() > 0.1
    twice = (run(noise, noise) - plain)[0]
    assert 0.3 < float(added.std()) < 0.7 and abs(twice - 2 * added).max() > 0.1  # two noises, not one twice


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["alif", "coba"])
def test_loops_serve_all_but_silence(cell: str) -> None:
    network, given = pair(cell).build(seed=1, dtype="float64"), batch(70)
    some = [p for p in everything(cell) if p.kind != "silence"]
    ours, theirs = (
        bp.simulate(network, given.inputs, ("v", "spikes", "I"), perturb=some, backend=b) for b in ("torch", "numba")
    )
    assert ours["E.spikes"].sum() > 20 and all(abs(ours[n] - theirs[n]).max() < 1e-12 for n in ours.data_vars)
    for rule in (bp.rule("eprop"), bp.rule("eprop", schedule=Window()), bp.rule("bptt")):
        a, b = (
            bp.gradient(network, rule, given, squared, perturb=some, backend=backend) for backend in ("torch", "numba")
        )
        assert largest(a, b) < 1e-11


@pytest.mark.slow
def test_torch_goes_on_with_silence_where_loops_left_off() -> None:
    network, x = pair("alif").build(seed=1, dtype="float64"), batch(40).inputs
    silence = Perturb("E", "silence", steps=slice(20, None))
    _, state = bp.simulate(network, x[:20], return_state=True, backend="numba")
    then, whole = (
        bp.simulate(network, x[20:], "v", state=state, perturb=silence),
        bp.simulate(network, x, "v", perturb=silence),
    )
    assert abs(then["I.v"].values - whole["I.v"].values[20:]).max() < 1e-12


def test_loops_do_not_serve_silence_and_say_so() -> None:
    network, x = pair("alif").build(seed=1, dtype="float64"), batch().inputs
    with pytest.raises(CircuitError, match="what E would send is silenced.*backend='torch'"):
        bp.simulate(network, x, perturb=Perturb("E", "silence"), backend="numba")
    training = bp.Training(updates=10**6, perturb=Perturb("E", "silence", updates=range(5, 9)))
    trainer = bp.Trainer(pair("alif"), Pattern(), "eprop", training)
    assert trainer.backend == "torch" and "silenced" in trainer.computed["because"]


def test_a_perturbed_network_is_one_and_shares_its_weights() -> None:
    network, x = pair("alif").build(seed=1, dtype="float64"), batch().inputs
    one = perturbed(network, Perturb("E", "silence"))
    both = perturbed(one, Perturb("W_II", "cut"))
    assert one.weights is network.weights is both.weights and perturbed(network, None) is network
    assert len(both.perturbs) == 2 and "silence" in repr(both)
    again = pickle.loads(pickle.dumps(both))
    assert bp.simulate(again, x, "v").identical(bp.simulate(both, x, "v"))
    assert bp.simulate(both, x, "v").identical(bp.simulate(network, x, "v", perturb=both.perturbs))


# -- while a circuit learns ---------------------------------------------------------------------------------------------


#: what begins, ends and overlaps while a circuit learns
OVER_TIME = [
    Perturb("E[0:5]", "silence", steps=range(5, 20), updates=range(2, 5)),
    Perturb("W_EI", "cut", updates=range(3, 6)),
    Perturb("E", "noise", value=0.3),
    Perturb("W_EE", "freeze", updates=range(1, 4)),
    Perturb("W_IE", "delay", value=4, updates=slice(4, None)),
]


def test_what_was_learned_until_it_begins_is_what_is_learned_without_it() -> None:
    plain, late = learner(), learner([Perturb("E", "silence", steps=range(10), updates=range(3, 5))])
    for u in range(6):
        assert same(plain, late) == (u < 4), u
        assert after(plain, 1) == after(late, 1) or u >= 3


def test_an_update_is_the_gradient_of_the_circuit_as_it_is_then() -> None:
    trainer = learner(OVER_TIME, optimiser="sgd", dtype="float64")
    for u in range(6):
        before = {n: w.clone() for n, w in trainer.network.weights.items()}
        drawn = trainer.draw(trainer.task.batch(_clone(trainer.generator), 4).to("cpu", torch.float64))
        view = perturbed(trainer.network, [p for p in OVER_TIME if p.updates is None or u in p.updates])
        found = sequence(view, bp.rule("bptt"), {}, drawn, squared).gradients
        after(trainer, 1)
        for n, w in trainer.network.weights.items():
            moved = before[n] - 1e-2 * found[n]
            sign = next((p.spec.sign for p in trainer.network.wired if p.spec.name == n), None)
            moved = (moved * sign).clamp_min(0) * sign if sign else moved
            assert float((w - moved).abs().max()) < 1e-15, (u, n)
        assert torch.equal(trainer.network.weights["W_EE"], before["W_EE"]) == (1 <= u < 4)


def _clone(generator: torch.Generator) -> torch.Generator:
    other = torch.Generator()
    other.set_state(generator.get_state())
    return other


@pytest.mark.parametrize(
    "optimiser", ["adam", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sgd", "adam_tf"))]
)
def test_what_is_frozen_stays_to_the_last_bit_and_is_forgotten_by_nobody(optimiser: str) -> None:
    """Also what the optimiser remembers of it; and a shared clip does not feel it."""
    frozen = [Perturb("W_EE", "freeze", updates=range(2, 5)), Perturb("readout", "freeze", updates=range(3, 5))]
    trainer = learner(frozen, optimiser=optimiser, clip=0.01, lr=0.5)
    after(trainer, 2)
    W, kept = trainer.network.weights["W_EE"].clone(), trainer.optimisers.state_dict()
    after(trainer, 1)
    C = trainer.network.weights["W_out"].clone()
    after(trainer, 2)
    assert torch.equal(trainer.network.weights["W_EE"], W) and torch.equal(trainer.network.weights["W_out"], C)
    now, held = (s["optimiser"]["state"] for s in (trainer.optimisers.state_dict(), kept))
    place = trainer.optimisers._order.index("W_EE")
    if held:
        assert all(torch.equal(torch.as_tensor(now[place][n]), torch.as_tensor(v)) for n, v in held[place].items())
    after(trainer, 1)
    assert not torch.equal(trainer.network.weights["W_EE"], W) and not torch.equal(trainer.network.weights["W_out"], C)


def test_a_predictor_and_feedback_weights_freeze_too() -> None:
    circuit = bp.circuit("cortico_cerebellar", cell="leaky_rate", inputs=3, units=8, outputs=2)
    for rule, path in ((bp.rule("bp_lambda"), "predictor"), (bp.rule("eprop", feedback="adaptive"), "feedback")):
        trainer = bp.Trainer(
            circuit,
            Pattern(),
            rule,
            bp.Training(updates=4, batch=4, perturb=Perturb(path, "freeze", updates=range(2))),
            seed=3,
        )
        own = {n: v.clone() for part in trainer.own.values() for n, v in part.learned.items()}
        after(trainer, 2)
        assert own and all(torch.equal(v, own[n]) for part in trainer.own.values() for n, v in part.learned.items())
        after(trainer, 1)
        assert not all(torch.equal(v, own[n]) for part in trainer.own.values() for n, v in part.learned.items())


def test_tests_are_taken_under_what_holds_in_the_update_before() -> None:
    plain, ends = learner(), learner([Perturb("E", "silence", updates=range(2))])
    assert ends.evaluate() != plain.evaluate()
    after(ends, 2)
    silent = ends.evaluate()
    assert (ends.record("spikes")["E.spikes"] == 0).all()
    after(ends, 1)
    assert (ends.record("spikes")["E.spikes"] != 0).any() and silent != ends.evaluate()


@pytest.mark.parametrize("at", [4, pytest.param(2, marks=pytest.mark.slow)])
def test_a_learner_goes_on_bit_for_bit(at: int) -> None:
    whole, first, then = (learner(OVER_TIME, rule=bp.rule("eprop", feedback="random")) for _ in range(3))
    rows, begun = after(whole, 6), after(first, at)
    then.load_state_dict(first.state_dict())
    assert [*begun, *after(then, 6 - at)] == rows and same(whole, then)


def test_a_run_that_was_interrupted_ends_as_if_it_had_not_been(tmp_path: Any) -> None:
    def train(folder: str, **more: Any) -> bp.runs.Run:
        options = {"updates": 8, "batch": 4, "lr": 1e-2, "perturb": OVER_TIME, "evaluate_every": 2, "threads": 1}
        return bp.train(
            pair("alif"),
            Pattern(),
            bp.rule("eprop", feedback="random"),
            seed=3,
            folder=tmp_path / folder,
            **options | more,
        )

    def stop(event: Any) -> None:
        if event.kind == "update" and event.update == 4:
            raise ZeroDivisionError

    whole = train("whole")
    with pytest.raises(ZeroDivisionError):
        train("parts", progress=stop)
    parts = train("parts")
    assert parts.record["timing"]["sittings"] == 2 and parts.done
    same_rows = whole.metrics.drop(columns="seconds").equals(parts.metrics.drop(columns="seconds"))
    assert same_rows and all(torch.equal(parts.weights[n], w) for n, w in whole.weights.items())
    assert whole.recordings.identical(parts.recordings)
    assert whole.config["training"]["perturb"][0] == {
        "path": "E[0:5]",
        "kind": "silence",
        "steps": "5:20",
        "updates": "2:5",
    }
    with pytest.raises(RunError, match="another configuration"):
        train("whole", perturb=OVER_TIME[:2])


# -- what is refused ----------------------------------------------------------------------------------------------------

BAD: list[tuple[Any, str]] = [
    (lambda: Perturb("E", "silent"), "kind of Perturb is 'silent'; it must be one of 'silence', .*Did you mean 'silence'"),
    (lambda: Perturb("", "silence"), "path of Perturb is ''"),
    (lambda: Perturb("E[x]", "silence"), r"units: \[5\], \[0, 3\], \[0:20\]; not \[x\]"),
    (lambda: Perturb("E[1", "silence"), "path of Perturb"),
    (lambda: Perturb("E..v", "clamp", value=1), "path of Perturb"),
    (lambda: Perturb(cast(Any, 3), "silence"), "path of Perturb is 3"),
    (lambda: Perturb("E", "silence", steps=5), "steps of Perturb is 5; it must be steps of a trial counted from 0, such as range"),
    (lambda: Perturb("E", "silence", steps=range(5, 5)), "with at least one of them"),
    (lambda: Perturb("E", "silence", steps=slice(-5, None)), "counted from 0"),
    (lambda: Perturb("E", "silence", updates=range(10, 0, -1)), "updates of Perturb"),
    (lambda: Perturb("E", "silence", value=1), "takes no value, and value=1 was given: leave it out"),
    (lambda: Perturb("E.I", "drive"), "takes a value, and value=0.5 is missing"),
    (lambda: Perturb("E.I", "drive", value=float("nan")), "value of Perturb is nan"),
    (lambda: Perturb("E.I", "drive", value=[1 * mV, 2 * mV]), r"a list of numbers times a unit, \[1, 2\]\*mV"),
    (lambda: Perturb("E.I", "drive", value="much"), "value of Perturb is 'much'"),
    (lambda: Perturb("E.I", "noise", value=-1), "a standard deviation, which is 0 or more"),
    (lambda: Perturb("W_EI", "delay", value=[1, 2]), "takes one delay"),
    (lambda: Perturb("W_EI", "freeze", steps=range(3)), "holds for whole trials, and steps=:3 were given. Leave steps out"),
    (lambda: bp.Training(perturb="E"), "perturb of Training is 'E'; it must be a bp.Perturb"),
    (lambda: bp.Training(updates=5, perturb=Perturb("E", "silence", updates=range(5, 9))), "begins with update 5, and the training has 5"),
    (lambda: simulated(Perturb("X", "silence")), "There is no population 'X'.*Known: E, I"),
    (lambda: simulated(Perturb("W_EI", "silence")), "names 'W_EI', which is a projection.*cut, delay or freeze"),
    (lambda: simulated(Perturb("E.v", "silence")), "silence is of all that neurons send. Leave it out: 'E'"),
    (lambda: simulated(Perturb("E[8]", "silence")), "names unit 8; 'E' has 8, from 0 to 7"),
    (lambda: simulated(Perturb("E[3:9]", "silence")), r"names units \[3:9\]; 'E' has 8, from 0 to 7. Leave the end out"),
    (lambda: simulated(Perturb("E[8:]", "silence")), "names none of the 8 units of 'E'"),
    (lambda: simulated(Perturb("E.v[0]", "clamp", value=1)), r"units stand before it, as in 'E\[0:5\].v'"),
    (lambda: simulated(Perturb("E.x", "clamp", value=1)), "no state 'x' of population 'E'"),
    (lambda: simulated(Perturb("E.x", "drive", value=1)), "no input channel 'x' of population 'E'"),
    (lambda: simulated(Perturb("E", "clamp", value=1)), "does not say which state of 'E' is meant: 'E.v', 'E"),
    (lambda: simulated(Perturb("E[0:3].I", "drive", value=[1, 2])), "has 2 numbers, and these are 3 units"),
    (lambda: simulated(Perturb("E.v", "clamp", value=1 * mV)), "in volt, and v has none: give a plain number"),
    (lambda: simulated(Perturb("E.v", "clamp", value=1), "coba"), r"a number without unit, and v is in volt: write a quantity, such as -70\*mV"),
    (lambda: simulated(Perturb("E.ge", "drive", value=-1), "coba"), "a conductance, which is never negative, and a value below zero"),
    (lambda: simulated(Perturb("E.ge", "noise", value=1), "coba"), "as often below zero as above"),
    (lambda: simulated(Perturb("E", "cut")), "names a population, and cut is of a projection: W_in_E, "),
    (lambda: simulated(Perturb("W_out", "cut")), "is no projection: those are W_in_E, .*silenced with it"),
    (lambda: simulated(Perturb("W_EI[0:2]", "cut")), "brackets behind a projection, and cut is of a whole one. Write 'W_EI'"),
    (lambda: simulated(Perturb("W_XY", "cut")), "There is no projection 'W_XY'"),
    (lambda: simulated(Perturb("W_in_E", "delay", value=2)), "external input, which acts in its own step"),
    (lambda: simulated(Perturb("W_EI", "delay", value=0)), "0 steps; an output takes effect one step later at least|is 0"),
    (lambda: simulated(Perturb("W_EI", "delay", value=1.5 * ms)), "1.5 steps of the circuit's dt"),
    (lambda: simulated(Perturb("W_EI", "delay", value=5 * mV)), "is no time: give steps"),
    (lambda: simulated(Perturb("E", "freeze")), "what freezes are weights. Onto it go W_in_E, "),
    (lambda: simulated(Perturb("E", "silence", steps=range(24, 30))), "begins at step 24, and there are 24, from 0 to 23: it would never act"),
    (lambda: bp.gradient(pair("alif"), "eprop", batch(), perturb=Perturb("predictor", "freeze")), "This rule has no predictor of its own that learns. There is no weight 'predictor'"),
    (lambda: learner([Perturb("W_XY", "freeze")]), "There is no weight 'W_XY'"),
    (lambda: learner([Perturb("E", "silence", steps=range(24, 30))]), "begins at step 24, and there are 24"),
    (lambda: learner([Perturb("E.v", "clamp", value=0.1, updates=range(3, 5))], rule="rflo"), "rflo.*leak"),
]  # fmt: skip


def simulated(perturb: Perturb, cell: str = "alif") -> Any:
    return bp.simulate(pair(cell), batch().inputs, perturb=perturb)


@pytest.mark.parametrize("number", range(len(BAD)))
def test_what_makes_no_sense_is_refused_in_one_paragraph(number: int) -> None:
    make, words = BAD[number]
    with pytest.raises(BioplausError, match=words) as raised:
        make()
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 700


def test_a_longer_delay_is_refused_where_a_predictor_sees_what_is_on_its_way() -> None:
    circuit = bp.circuit("cortico_cerebellar", cell="leaky_rate", inputs=3, units=8, outputs=2)
    with pytest.raises(BioplausError, match="a longer delay keeps more outputs"):
        bp.Trainer(circuit, Pattern(), "bp_lambda", bp.Training(updates=4, perturb=Perturb("W_rec", "delay", value=3)))


def test_delays_of_each_synapse_are_left_alone() -> None:
    circuit = bp.Circuit(
        populations={"E": bp.Population(bp.model("lif"), 6)},
        projections=(bp.Projection(name="W", source="E", target="E", delay=bp.Uniform(1, 4)),),
        inputs=3,
        readout=bp.Readout(size=1),
    )
    with pytest.raises(CircuitError, match="a delay of its own"):
        bp.simulate(circuit, batch().inputs, perturb=Perturb("W", "delay", value=2))
    assert "E.I" not in bp.simulate(circuit, batch().inputs, "I", perturb=Perturb("W", "cut"))


@pytest.mark.parametrize("given, told", [
    (Perturb("E", "silence", steps=slice(5, None, 2)), {"path": "E", "kind": "silence", "steps": "5::2"}),
    (Perturb("E.v", "clamp", value=-70 * mV), {"path": "E.v", "kind": "clamp", "value": -0.07, "unit": "volt"}),
    (Perturb("E.I", "drive", value=np.array([1, 2])), {"path": "E.I", "kind": "drive", "value": [1, 2]}),
])  # fmt: skip
def test_it_is_plain_data_in_a_record(given: Perturb, told: dict[str, Any]) -> None:
    assert given.describe() == told
    assert (
        Perturb(**{k: v for k, v in told.items() if k != "unit"} | ({"value": -70 * mV} if "unit" in told else {}))
        == given
    )


def test_sparse_projections_are_cut_and_delayed_as_matrices_are() -> None:
    found: list[dict[str, Tensor]] = []
    W = torch.empty(0)
    for sparse in (False, True):
        populations = {"E": bp.Population(bp.model("lif"), 10)}
        some = np.random.default_rng(1).random((10, 10)) < 0.4
        circuit = bp.Circuit(
            populations=populations,
            projections=(
                bp.Projection(name="W_in", source="input", target="E", gain=9.0),
                bp.Projection(name="W", source="E", target="E", synapses=some, sparse=sparse, delay=2),
            ),
            inputs=3,
            readout=bp.Readout(size=2),
        )
        network = circuit.build(seed=1, dtype="float64")
        W = network.matrix("W").clone() if not found else W
        network.load({"W": 5 * W, "W_in": torch.full((10, 3), 3.0), "W_out": torch.ones(2, 10)})
        for perturb in (Perturb("W", "cut", steps=range(5, 15)), Perturb("W", "delay", value=4)):
            g = bp.gradient(network, "rtrl", INPUT, squared, perturb=perturb)
            g["W"] = network.synapses["W"].matrix(g["W"]) if sparse else g["W"]
            found.append(g)
    assert float(found[0]["W"].abs().max()) > 0 and largest(found[0], found[1]) > 1e-3
    assert largest(found[0], found[2]) < 1e-11 and largest(found[1], found[3]) < 1e-11
