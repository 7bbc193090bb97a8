"""Rules against BPTT, and BPTT against autograd through circuits written by hand and against finite differences."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from rule_helpers import (
    SEVEN,
    SMOOTH,
    SPIKING,
    TIGHT,
    Case,
    bptt_is_autograd,
    case,
    dale,
    eprop_is_stopped_autograd,
    living,
    normal,
    off,
    oracle_pairs_are_bptt,
    random_feedback_is_autograd,
    rflo_is_the_leak,
    rtrl_is_bptt,
    same,
    tbptt_is_cut_autograd,
    two_populations,
)

import bioplaus as bp
from bioplaus import ms
from bioplaus.check import by_hand
from bioplaus.circuit import Circuit, Population, Projection, Readout
from bioplaus.circuit.trajectory import roll
from bioplaus.eligibility import RFLO, EProp
from bioplaus.errors import RuleError
from bioplaus.rules import Rule, bptt
from bioplaus.schedule import Online, RateRegulariser, Window, sequence
from bioplaus.signal import Instant
from bioplaus.tasks import Batch, squared

ALL = (*SEVEN, "lsnn_lif", "lsnn_alif")
READOUTS = {"direct": None, "leaky": 10 * ms}


@cache
def shared(model: str, delay: int, readout: str) -> Case:
    return case(model, delay=delay, tau=READOUTS[readout])


@cache
def mixed(name: str) -> Case:
    circuits = {
        "alif_lstm_leaky": lambda: two_populations("alif", "lstm"),
        "alif_lstm_direct": lambda: two_populations("alif", "lstm", tau=None),
        "adex_gru": lambda: two_populations("adex", "gru"),
        "rate_lif": lambda: two_populations("leaky_rate", "lif"),
        "dale_leaky": dale,
        "dale_direct": lambda: dale(tau=None, delay=1),
        "dale_rates": lambda: dale(cell="leaky_rate", inhibitory="lif"),
        "lif_and_alif": lambda: case_of_two_cells(),
    }
    return circuits[name]()


def case_of_two_cells() -> Case:
    """The published circuit of e-prop: half of the neurons adapt, all share their projections."""
    circuit = bp.circuit(
        "recurrent",
        cell=[bp.model("lsnn_lif", refractory=5), bp.model("lsnn_alif", tau_a=100 * ms, beta=0.2, refractory=5)],
        units=[4, 4],
        inputs=4,
        outputs=2,
        tau_out=20 * ms,
        gain=0.4,
        bias=True,
    )
    return living(circuit, {"lsnn_lif": 0.15, "lsnn_alif": 0.15}, 40, 3)


MIXED = (
    "alif_lstm_leaky",
    "alif_lstm_direct",
    "adex_gru",
    "rate_lif",
    "dale_leaky",
    "dale_direct",
    "dale_rates",
    "lif_and_alif",
)


@cache
def unusual(name: str) -> Case:
    """Cells off the beaten path: other integration methods, rates, resets, switches, one parameter per neuron."""
    per_neuron = np.array([5.0, 10.0, 15.0, 20.0, 40.0]) * ms
    both, none = ("reset", "jumps"), ()
    cells = {
        "euler": lambda: bp.model("leaky_rate", method="euler", rate="softplus(x)"),
        "relu": lambda: bp.model("leaky_rate", tau=per_neuron, rate="relu(x)"),
        "sigmoid": lambda: bp.model("elman", rate="sigmoid(x)"),
        "linear": lambda: bp.model("elman", rate="x"),
        "hard_reset": lambda: bp.model("lif", hard_reset=True, refractory=0 * ms),
        "hard_reset_differentiated": lambda: bp.model("lif", hard_reset=True, differentiate=both),
        "reset_differentiated": lambda: bp.model("lif", tau_m=per_neuron, differentiate=both),
        "alif_both": lambda: bp.model("alif", beta=0.3, tau_a=50 * ms, differentiate=both, refractory=2 * ms),
        "alif_none": lambda: bp.model("alif", beta=0.3, tau_a=50 * ms, differentiate=none),
        "alif_jumps": lambda: bp.model("alif", beta=0.3, tau_a=per_neuron),
        "lsnn_refractory": lambda: bp.model("lsnn_alif", beta=0.3, tau_a=50 * ms, refractory=3),
    }
    return case(cells[name](), tau=10 * ms, delay=2, size=4)


UNUSUAL = (
    "euler", "relu", "sigmoid", "linear", "hard_reset", "hard_reset_differentiated", "reset_differentiated", "alif_both", "alif_none", "alif_jumps",
    "lsnn_refractory",
)  # fmt: skip

every = pytest.mark.parametrize(
    "c",
    [pytest.param((shared, m, d, r), id=f"{m}-delay{d}-{r}") for m in ALL for d in (1, 3) for r in READOUTS]
    + [pytest.param((mixed, m), id=m) for m in MIXED]
    + [pytest.param((unusual, m), id=m) for m in UNUSUAL],
)


def made(how: tuple) -> Case:
    return how[0](*how[1:])


# -- exact rules, and the referee -------------------------------------------------------------------------------------


@every
def test_the_loop_by_hand_runs_as_the_network_does(c):
    c = made(c)
    outputs, sent = by_hand.run(c.network.circuit, c.network.weights, c.batch.inputs)
    torch.testing.assert_close(c.network.output(c.window.seen()), outputs, rtol=1e-11, atol=1e-12)
    for i, y in enumerate(sent.values()):
        torch.testing.assert_close(c.window.spikes(i), y, rtol=1e-11, atol=1e-12)


@every
def test_bptt_is_autograd_through_the_loop_by_hand(c):
    bptt_is_autograd(made(c))


@every
def test_rtrl_is_bptt(c):
    rtrl_is_bptt(made(c))


@every
def test_with_the_true_credit_every_pair_is_bptt(c):
    oracle_pairs_are_bptt(made(c))


@pytest.mark.parametrize("model", SEVEN)
def test_rtrl_is_bptt_over_many_steps(model):
    """200 steps: in none of the models does rounding grow beyond 1e-10, adex's upswing included, for its reset ends it."""
    c = case(model, steps=200, tau=10 * ms, size=1)
    same(c.gradients(bp.rule("rtrl")), c.gradients(bptt()))
    assert off(c.gradients(bptt()), c.true) < 1e-10


@pytest.mark.parametrize("model", SMOOTH)
@pytest.mark.parametrize("delay", (1, 3))
def test_finite_differences_of_every_weight(model, delay):
    """Five points around every single weight; nothing but the forward simulation."""
    c = case(model, delay=delay, tau=10 * ms if delay == 1 else None, units=3, steps=10, size=2)
    network, batch, step = c.network, c.batch, 1e-3

    def loss() -> float:
        window, _ = roll(network, network.start(batch.size), batch.inputs)
        return float(squared.total(network.output(window.seen()), batch.targets, batch.weight))

    g = c.gradients(bptt())
    for name, w in network.weights.items():
        flat, slopes = w.view(-1), torch.zeros(w.numel(), dtype=w.dtype)
        for i in range(len(flat)):
            kept, values = float(flat[i]), []
            for k in (-2, -1, 1, 2):
                flat[i] = kept + k * step
                values.append(loss())
            flat[i] = kept
            slopes[i] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
        torch.testing.assert_close(slopes.view_as(g[name]), g[name], rtol=1e-8, atol=1e-9 * float(g[name].abs().max()))


# -- biased rules: exactly what they leave out ------------------------------------------------------------------------


@every
def test_eprop_is_autograd_with_stopped_outputs(c):
    c = made(c)
    stopped = c.by_hand(stop="between")
    if off(stopped, c.true) > 1e-3:
        eprop_is_stopped_autograd(c)
    else:  # the readout sees no neuron that others reach more than a little
        pytest.fail(f"e-prop and BPTT differ by {off(stopped, c.true):.1e} only: the circuit tests nothing")


@every
def test_tbptt_is_autograd_cut_at_the_borders(c):
    tbptt_is_cut_autograd(made(c))


@pytest.mark.parametrize("model", ALL)
def test_a_window_of_the_whole_sequence_is_bptt(model):
    c = shared(model, 1, "leaky")
    for steps in (c.batch.steps, 10 * c.batch.steps):
        same(c.gradients(bp.rule("tbptt", steps=steps)), c.true)


@pytest.mark.parametrize("model", [m for m in ALL if m not in ("lstm", "gru", "adex")])
@pytest.mark.parametrize("readout", READOUTS)
def test_rflo_follows_the_leak_alone(model, readout):
    c = case(bp.model(model, beta=0.3) if "alif" in model else model, tau=READOUTS[readout])
    rflo_is_the_leak(c)
    leak, stopped = c.by_hand(stop="all"), c.by_hand(stop="between")
    if "alif" in model:
        assert off(leak, stopped) > 1e-3, "it drops the adaptation, which e-prop keeps"
    else:
        assert off(leak, stopped) < TIGHT


@pytest.mark.parametrize("model", ALL)
@pytest.mark.parametrize("rule", ("eprop", "rflo"))
def test_without_recurrent_weights_they_are_bptt(model, rule):
    """Their own regime, with a circuit that still has recurrent synapses, all of weight zero."""
    if rule == "rflo" and model in ("lstm", "gru", "adex", "alif", "lsnn_alif"):
        return  # another path inside the neuron, or refused
    c = case(model, tau=10 * ms)
    c.network.weights["W_rec"].zero_()
    unconnected = Case(c.network, c.batch).alive()
    past = EProp() if rule == "eprop" else RFLO()
    for schedule in (Online(), Window(4), Window()):
        same(unconnected.gradients(Rule(past, Instant(), schedule)), unconnected.true)


def test_lstm_eprop_in_closed_form():
    """ε ← fε + ∂c/∂W and e = o(1 − tanh²c)ε for input, forget and candidate gate; e = tanh(c)·o(1 − o)·pre for the output gate."""
    c = case("lstm", tau=None)
    W, x = c.network.weights, c.batch.inputs
    T, B, n = c.batch.steps, c.batch.size, 5
    y, cell = torch.zeros(B, n, dtype=x.dtype), torch.zeros(B, n, dtype=x.dtype)
    eps = {k: torch.zeros(B, n, 4 + n + 1, dtype=x.dtype) for k in "ifg"}
    total = {k: torch.zeros(n, 4 + n + 1, dtype=x.dtype) for k in "ifgo"}
    joined = torch.cat([W["W_in"], W["W_rec"], W["b"][:, None]], 1).chunk(4)
    for t in range(T):
        pre = torch.cat([x[t], y, torch.ones(B, 1, dtype=x.dtype)], 1)
        I = dict(zip("ifgo", (pre @ w.T for w in joined), strict=True))
        i, f, o, g = I["i"].sigmoid(), I["f"].sigmoid(), I["o"].sigmoid(), I["g"].tanh()
        partial = {"i": g * i * (1 - i), "f": cell * f * (1 - f), "g": i * (1 - g**2)}
        cell = f * cell + i * g
        y = o * cell.tanh()
        error = (y @ W["W_out"].T + W["b_out"] - c.batch.targets[t]) * c.batch.weight[t][:, None]
        L = error @ W["W_out"]
        for k in "ifg":
            eps[k] = f[..., None] * eps[k] + partial[k][..., None] * pre[:, None, :]
            total[k] += torch.einsum("bn,bnm->nm", L * o * (1 - cell.tanh() ** 2), eps[k]) / B
        total["o"] += torch.einsum("bn,bm->nm", L * cell.tanh() * o * (1 - o), pre) / B
    whole = torch.cat([total[k] for k in "ifgo"])
    expected = {"W_in": whole[:, :4], "W_rec": whole[:, 4:-1], "b": whole[:, -1]}
    for schedule in ("online", "window"):
        same(c.of_circuit(c.gradients(bp.rule("eprop", schedule=schedule))), expected)
    assert off(expected, c.of_circuit(c.true)) > 1e-3


def test_random_feedback_replaces_the_readout_and_nothing_else():
    c = case("alif", tau=10 * ms)
    random_feedback_is_autograd(c)
    C = c.network.weights["W_out"]
    same(c.gradients(bp.rule("eprop", feedback="random"), {"fixed_B": C}), c.gradients(bp.rule("eprop")), 0.0)


# -- rate regularisation ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", SPIKING)
@pytest.mark.parametrize("readout", READOUTS)
def test_rate_regularisation(model, readout):
    """On the unfiltered trace; exact in exact rules; under every schedule."""
    c = case(model, tau=READOUTS[readout], delay=2, rate=(0.01, 30.0))
    plain = Case(c.network, c.batch)
    assert off(c.true, plain.true) > 1e-2, "the regulariser must matter"
    same(c.gradients(bptt()), c.true)
    rtrl_is_bptt(c)
    same(c.gradients(bp.rule("rtrl", schedule="window", steps=7)), c.true)
    eprop_is_stopped_autograd(c)


def test_rate_regularisation_of_several_populations():
    for c in (two_populations("alif", "lif"), dale()):
        regulated = Case(c.network, c.batch, RateRegulariser(0.02, 20.0))
        same(regulated.gradients(bptt()), regulated.true)
        rtrl_is_bptt(regulated)
        eprop_is_stopped_autograd(regulated)


# -- schedules ----------------------------------------------------------------------------------------------------------


@every
def test_eprop_windows_of_any_length_agree(c):
    c = made(c)
    online = c.gradients(bp.rule("eprop", schedule="online"))
    for steps in (2, 11, 29, 1000):
        same(c.gradients(bp.rule("eprop", steps=steps, schedule="window")), online)


@every
def test_where_computations_are_cut_for_speed_changes_nothing(c, monkeypatch):
    """Pieces of a reverse sweep and blocks of an online run, here much shorter than the sequence."""
    c = made(c)
    whole = {s: c.gradients(bp.rule("eprop", schedule=s)) for s in ("online", "window")}
    monkeypatch.setattr("bioplaus.schedule.STRETCH", 4)
    monkeypatch.setattr("bioplaus.schedule.BLOCK", 3)
    for name, g in whole.items():
        same(c.gradients(bp.rule("eprop", schedule=name)), g)
    same(c.gradients(bp.rule("eprop", schedule="window", steps=11)), whole["online"])
    same(c.gradients(bp.rule("rtrl")), c.true)
    regulated = Case(c.network, c.batch, RateRegulariser(0.02, 20.0))
    same(regulated.gradients(bp.rule("rtrl")), regulated.true)
    online = regulated.gradients(bp.rule("eprop", schedule="online"))
    same(regulated.gradients(bp.rule("eprop", steps=11)), online)
    same(regulated.gradients(bp.rule("eprop")), online)
    same(online, regulated.by_hand(stop="between"))


def test_weights_that_move_after_every_step_or_window():
    """`apply` is called with each window's gradient, the weights then differ for the next, and nothing else changes."""
    for schedule, count in ((Online(), 30), (Window(7), 5), (Window(), 1)):
        c = case("alif", tau=10 * ms)
        rule, calls = Rule(EProp(), Instant(), schedule), []
        sequence(c.network, rule, {}, c.batch, squared, apply=lambda g, own, calls=calls: calls.append(g))
        total = {n: sum((g[n] for g in calls if n in g), torch.zeros_like(w)) for n, w in c.network.weights.items()}
        assert len(calls) == count
        same(total, c.gradients(rule))
        weights = {n: w.clone() for n, w in c.network.weights.items()}

        def move(g: dict, own: dict, c: Case = c) -> None:
            for n in g:
                c.network.weights[n] -= 1e-2 * g[n]

        sequence(c.network, rule, {}, c.batch, squared, apply=move)
        assert all(not torch.equal(w, weights[n]) for n, w in c.network.weights.items())


# -- corners ----------------------------------------------------------------------------------------------------


def test_weights_that_are_not_learned_get_no_gradient():
    c = case("alif")
    held = Circuit(
        populations={"cortex": Population(bp.model("alif"), 5, {})},
        inputs=4,
        readout=Readout(size=2, tau=10 * ms),
        projections=(
            Projection(name="W_in", source="input", target="cortex", learned=False),
            Projection(name="W_rec", source="cortex", target="cortex"),
        ),
    )
    network = held.build(dtype=torch.float64)
    network.load({n: c.network.weights[n] for n in ("W_in", "W_rec", "b", "W_out", "b_out")})
    still = Case(network, c.batch)
    free = {n: g for n, g in still.true.items() if n != "W_in"}
    for name in ("bptt", "rtrl"):
        same(still.gradients(bp.rule(name)), free)
    assert set(still.gradients(bp.rule("eprop"))) == set(free) == set(network.parameters())


def test_gradient_of_a_batch_by_name():
    circuit = bp.circuit("recurrent", cell=bp.model("elman"), inputs=3, units=4, outputs=2)
    batch = Batch(normal(6, 2, 3).float(), normal(6, 2, 2).float(), torch.ones(6, 2))
    network = circuit.build(seed=4, dtype=torch.float64)
    reference = by_hand.gradient(network, batch.to(dtype=torch.float64), squared)[1]
    same(bp.gradient(circuit, bp.rule("bptt"), batch, seed=4), reference)
    same(bp.gradient(network, bp.rule("rtrl"), batch), reference)
    assert off(bp.gradient(network, bp.rule("eprop"), batch), reference) > 1e-3
    with pytest.raises(RuleError, match="context=True"):
        bp.gradient(network, bp.rule("bp_lambda", context=True), batch)
