"""Rate and voltage regularisers inside every rule's gradient: against autograd of the whole penalised loss, and e-prop against loops by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from rule_helpers import TIGHT, batch_for, case, off, same, two_populations
from torch import Tensor

import bioplaus as bp
from bioplaus import ms
from bioplaus.check import by_hand
from bioplaus.errors import RuleError, RunError
from bioplaus.learning.regulariser import RateRegulariser
from bioplaus.learning.sequence import sequence
from bioplaus.learning.voltage import VoltageRegulariser
from bioplaus.signal.truth import _Silent, future_credit
from bioplaus.tasks import squared

RATE = RateRegulariser(0.02, 40.0, "trial")
CELLS = ("lif", "alif", "adex", "lsnn_lif", "lsnn_alif")
#: strengths at which the penalty is about as large as the loss
STRENGTH = {"lif": 3.0, "alif": 3.0, "adex": 1e4, "lsnn_lif": 30.0, "lsnn_alif": 30.0}


def threshold(n: by_hand.Neurons) -> Tensor:
    """A, as the papers write it, at the moment at which the spike is decided."""
    if n.cell.name == "adex":
        return n.V_cut
    if n.cell.name == "alif":  # the circuit by hand stores a after the spike
        return n.threshold + n.beta * torch.exp(-n.dt / n.tau_a) * n["a"]
    return n.threshold + n.beta * n["a"] if n.cell.name == "lsnn_alif" else n.threshold


def penalised(
    network: Any,
    batch: Any,
    rate: Any,
    strength: float,
    stop: str,
    monkeypatch: Any,
    loss: Any = squared,
    below_too: bool = False,
) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradient by autograd through the circuit by hand, with penalties written from their formulas."""
    beyond: list[Tensor] = []
    fire = by_hand.Neurons.fire

    def watched(n: by_hand.Neurons, margin: Tensor, width: Tensor) -> Tensor:
        A, rest = threshold(n), float(np.asarray(n.cell.start.get("v", 0.0), dtype=float))
        below = 2 * rest - A - (margin + A)
        beyond.append(torch.stack([(margin.clamp_min(0) ** 2).sum(), (below.clamp_min(0) ** 2).sum()]))
        return fire(n, margin, width)

    with monkeypatch.context() as patch:
        patch.setattr(by_hand.Neurons, "fire", watched)
        weights = {n: w.detach().clone().requires_grad_() for n, w in network.weights.items()}
        outputs, sent = by_hand.run(network.circuit, weights, batch.inputs, stop)
    total = (loss.value(outputs, batch.targets) * batch.weight).sum() / batch.size
    for y in sent.values() if rate else ():
        f = y.mean(0) if rate.apart else y.mean((0, 1)).unsqueeze(0)
        total = total + 0.5 * rate.strength * (f - rate.target).square().sum() / len(f)
    if strength:
        each = torch.stack(beyond).sum(0)
        assert not below_too or bool((each > 0).all()), "both sides are tried"
        penalty = strength * each.sum() / batch.size
        assert float(penalty.detach()) > 0.03 * float(total.detach())
        total = total + penalty
    found = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
    return float(total.detach()), {
        n: (torch.zeros_like(weights[n]) if g is None else g) * network.masks.get(n, 1)
        for n, g in zip(weights, found, strict=True)
    }


def found(c: Any, rule: bp.Rule, rate: Any, strength: float) -> dict[str, Tensor]:
    voltage = VoltageRegulariser(strength) if strength else None
    own = rule.begin(c.network, c.batch, 0)
    return sequence(c.network, rule, own, c.batch, squared, rate, voltage=voltage).gradients


WHOLE = {
    "bptt": bp.rule("bptt"),
    "rtrl online": bp.rule("rtrl"),
    "rtrl in windows": bp.rule("rtrl", schedule="window", steps=7),
    "hops": bp.rule("hops", hops=20),
    "one window of dni": bp.rule("dni", steps=18),
}
INSIDE = {
    "eprop online": bp.rule("eprop", schedule="online"),
    "eprop in windows": bp.rule("eprop", schedule="window", steps=7),
    "eprop in one window": bp.rule("eprop", schedule="window"),
}
ONLY_VOLTAGE = {
    "sliding_bptt": bp.rule("sliding_bptt", steps=18),
    "snap": bp.rule("snap", order=9),
}


#: input that takes a neuron near its threshold, and then far below
SIDES = {"lif": (2.5, 6.0), "alif": (2.5, 6.0), "adex": (9.0, 60.0), "lsnn_lif": (0.15, 0.5), "lsnn_alif": (0.15, 0.5)}


def to_both_sides(c: Any, up: float, down: float) -> None:
    """The first neuron nears its threshold, where ψ and adaptation begin, and is then inhibited."""
    c.network.weights["W_in"][0] = torch.tensor([up, -down, up, -down])
    c.batch.inputs[:6, :, 1::2] = 0.0
    c.batch.inputs[6:, :, 0::2] = 0.0


QUICK = {("lif", "plain"), ("lsnn_alif", "leaky"), ("adex", "plain")}
CASES = [
    pytest.param(cell, tau, id=f"{cell}-{how}", marks=() if (cell, how) in QUICK else pytest.mark.slow)
    for cell in CELLS
    for how, tau in (("plain", None), ("leaky", 10 * ms))
]


@pytest.mark.parametrize(("cell", "tau"), CASES)
def test_both_penalties_are_in_the_gradient(cell, tau, monkeypatch):
    c = case(cell, tau=tau, steps=18, units=4, delay=2 if cell == "lif" else 1)
    to_both_sides(c, *SIDES[cell])
    for rate, strength in ((RATE, 0.0), (None, STRENGTH[cell]), (replace(RATE, over="batch"), STRENGTH[cell])):
        whole = penalised(c.network, c.batch, rate, strength, "", monkeypatch, below_too=True)[1]
        inside = penalised(c.network, c.batch, rate, strength, "between", monkeypatch)[1]
        bare = c.by_hand()
        assert off(c.of_circuit(bare), c.of_circuit(whole)) > 1e-2
        rules = WHOLE if rate else WHOLE | ONLY_VOLTAGE
        for rule in rules.values():
            same(found(c, rule, rate, strength), whole, TIGHT)
        for name, rule in INSIDE.items():
            same(found(c, rule, rate, strength), inside, TIGHT)
            assert off(inside, whole) > 1e-4, name


def test_each_trial_has_its_own_rate_and_its_own_sum(monkeypatch):
    """A batch whose trials differ: the mean's penalty is another."""
    c = case("lsnn_alif", steps=18, units=4)
    c.batch.inputs[:, 0] *= 0.2
    c.batch.inputs[:, 1] *= 2.0
    own = penalised(c.network, c.batch, RATE, 0.0, "", monkeypatch)[1]
    mean = penalised(c.network, c.batch, replace(RATE, over="batch"), 0.0, "", monkeypatch)[1]
    assert off(c.of_circuit(mean), c.of_circuit(own)) > 1e-2
    for rule in WHOLE.values():
        same(found(c, rule, RATE, 0.0), own, TIGHT)
    one = replace(c, batch=batch_for(c.network, 18, 1, True))  # alone in a batch, both are the same
    same(found(one, bp.rule("rtrl"), RATE, 0.0), found(one, bp.rule("rtrl"), replace(RATE, over="batch"), 0.0), 1e-13)


@pytest.mark.parametrize("pair", [("alif", "lstm"), ("lif", "lsnn_alif")])
def test_two_populations_one_of_which_may_have_no_threshold(pair, monkeypatch):
    c = two_populations(*pair, steps=18)
    whole = penalised(c.network, c.batch, RATE, 3.0, "", monkeypatch)[1]
    inside = penalised(c.network, c.batch, RATE, 3.0, "between", monkeypatch)[1]
    for rule in (WHOLE["bptt"], WHOLE["rtrl online"]):
        same(found(c, rule, RATE, 3.0), whole, TIGHT)
    for rule in INSIDE.values():
        same(found(c, rule, RATE, 3.0), inside, TIGHT)


def test_the_reset_may_be_differentiated(monkeypatch):
    c = case(bp.model("alif", differentiate=("reset", "jumps")), steps=18, units=4)
    whole = penalised(c.network, c.batch, None, 3.0, "", monkeypatch)[1]
    for rule in (WHOLE | ONLY_VOLTAGE).values():
        same(found(c, rule, None, 3.0), whole, TIGHT)


def test_feedback_alignment_leaves_the_penalties_alone():
    """They are a neuron's own affair: what they add is the same whatever brings the errors."""
    c = case("lsnn_lif", steps=18, units=4)
    added = []
    for feedback in ("symmetric", "random", "broadcast"):
        rule = bp.rule("eprop", feedback=feedback)
        with_, without = found(c, rule, RATE, 20.0), found(c, rule, None, 0.0)
        added.append({n: with_[n] - without[n] for n in ("W_in", "W_rec")})
    for other in added[1:]:
        same(other, added[0], 1e-9)


# -- what is predicted, and approximations ----------------------------------------------------------------------------------------


def observed(c: Any, strength: float) -> Any:
    return replace(c.observed, inner=VoltageRegulariser(strength).credit(c.network, c.window))


@pytest.mark.parametrize("cell", ("lif", "lsnn_alif"))
def test_what_a_predictor_is_asked_for_holds_the_penalty_of_the_future(cell):
    c = case(cell, steps=18, units=4)
    o = observed(c, STRENGTH[cell])
    signal = replace(bp.rule("bp_lambda").signal, predictor=_Silent())  # type: ignore[call-arg]  # bp_lambda's
    asked = -signal.credit({}, signal.init(c.network, c.batch.size), o)[1]["predictor.u"][1:]
    true = future_credit(c.network, o.tangent, o)[:-1]
    assert float((true - future_credit(c.network, o.tangent, c.observed)[:-1]).abs().max()) > 1e-2 * float(
        true.abs().max()
    )
    torch.testing.assert_close(asked, true, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("jacobian", ("exact", "learned"))
def test_one_step_windows_and_bp0_learn_the_same(jacobian):
    c = case("lsnn_lif", steps=9, units=3)
    o = observed(c, 30.0)
    generator = torch.Generator().manual_seed(0)
    bp0, dni = (
        bp.rule("bp_lambda", lmbda=0.0, jacobian=jacobian).signal,
        bp.rule("dni", steps=1, jacobian=jacobian).signal,
    )
    own = bp0.begin(c.network, generator, 0)
    for part in own.values():
        for w in part.learned.values():
            w += 0.1 * torch.randn(w.shape, generator=generator, dtype=w.dtype)
    found_by = bp0.credit(own, bp0.init(c.network, c.batch.size), o)
    total: dict[str, Tensor] = {}
    currents, sight = [], dni.init(c.network, c.batch.size)
    for t in range(9):
        when = slice(t, t + 1)
        inner = tuple(tuple(a[when] for a in p) for p in o.inner)
        one = replace(o, tangent=o.tangent.part(when), error=o.error[when], final=t == 8, inner=inner)
        credit, gradients, sight, _ = dni.credit(own, sight, one)
        currents.append(credit[0])
        for n, g in gradients.items():
            total[n] = total.get(n, 0) + g
    assert set(total) == set(found_by[1])
    for n, g in total.items():
        torch.testing.assert_close(g, found_by[1][n], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(torch.cat(currents), found_by[0][0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rule", ("mdgl", "rflo"))
def test_approximations_are_exact_where_they_say_so(rule, monkeypatch):
    c = case("lsnn_lif", steps=18, units=4)
    c.network.weights["W_rec"].zero_()
    whole = penalised(c.network, c.batch, None, 30.0, "", monkeypatch)[1]
    for schedule in ("online", "window"):
        options = {"feedback": "symmetric"} if rule == "rflo" else {}
        g = found(c, bp.rule(rule, schedule=schedule, **options), None, 30.0)
        same({n: g[n] for n in ("W_in", "W_out")}, {n: whole[n] for n in ("W_in", "W_out")}, TIGHT)


def test_a_neighbour_tells_of_its_penalty():
    """Two neurons in a chain, the second without memory: the only way over the synapse is the one mdgl keeps."""
    c = case(bp.model("lsnn_lif", tau_m=0.02 * ms, threshold=0.1), steps=18, units=4)
    c.network.weights["W_rec"].tril_(-1)
    c.network.weights["W_rec"][1:, 1:] = 0  # 0 → others, and no further
    c.network.weights["W_out"].zero_()  # the penalty is all there is
    true = found(c, bp.rule("bptt"), None, 30.0)
    assert float(true["W_in"][0].abs().max()) > 1e-3
    assert off({"W_in": found(c, bp.rule("eprop"), None, 30.0)["W_in"]}, {"W_in": true["W_in"]}) > 1e-2
    for schedule in ("online", "window"):
        same({"W_in": found(c, bp.rule("mdgl", schedule=schedule), None, 30.0)["W_in"]}, {"W_in": true["W_in"]}, TIGHT)


# -- e-prop by hand, in numpy --------------------------------------------------------------------------------------------------------


def test_eprop_against_a_loop_in_numpy():
    """Bellec et al. 2020's equations for LIF with adaptation, forward in time, one sample after another."""
    c = case("lsnn_alif", steps=18, units=4)
    network, batch = c.network, c.batch
    to_both_sides(c, *SIDES["lsnn_alif"])
    sides = np.zeros(2)
    W = {n: w.numpy() for n, w in network.weights.items()}
    x, target, weight = batch.inputs.numpy(), batch.targets.numpy(), batch.weight.numpy()
    T, B, m = x.shape
    n = len(W["W_rec"])
    alpha, rho, thr, beta, gamma, strength = np.exp(-1 / 20), np.exp(-1 / 2000), 0.6, 0.0174, 0.3, 30.0
    total = {k: np.zeros_like(v) for k, v in W.items()}
    for b in range(B):
        v, a, z = np.zeros(n), np.zeros(n), np.zeros(n)
        eps_v, eps_a, e_sum = np.zeros(m + n + 1), np.zeros((n, m + n + 1)), np.zeros((n, m + n + 1))
        spikes, psi, grad = np.zeros(n), np.zeros(n), np.zeros((n, m + n + 1))
        for t in range(T):
            pre = np.concatenate([x[t, b], z, [1.0]])
            eps_a = psi[:, None] * eps_v + (rho - beta * psi)[:, None] * eps_a
            eps_v = alpha * eps_v + pre
            v = alpha * v + W["W_in"] @ x[t, b] + W["W_rec"] @ z + W["b"] - thr * z
            a = rho * a + z
            A = thr + beta * a
            psi = gamma / thr * np.maximum(0, 1 - np.abs(v - A) / thr)
            z = (v > A).astype(float)
            spikes += z
            e = psi[:, None] * (eps_v - beta * eps_a)
            e_sum += e
            delta = (W["W_out"] @ z + W["b_out"] - target[t, b]) * weight[t, b]
            above, below = np.maximum(0, v - A), np.maximum(0, -v - A)
            sides += above.sum(), below.sum()
            beyond = 2 * (above - below)[:, None] * eps_v - 2 * (above + below)[:, None] * beta * eps_a
            grad += (W["W_out"].T @ delta)[:, None] * e + strength * beyond
            total["W_out"] += np.outer(delta, z)
            total["b_out"] += delta
        grad += (RATE.strength * (spikes / T - RATE.target) / T)[:, None] * e_sum
        total["W_in"] += grad[:, :m]
        total["W_rec"] += grad[:, m : m + n] * (1 - np.eye(n))
        total["b"] += grad[:, -1]
    assert (sides > 0).all()
    wanted = {k: torch.as_tensor(v / B) for k, v in total.items()}
    for rule in INSIDE.values():
        same(found(c, rule, RATE, strength), wanted, TIGHT)


# -- how it is asked for -------------------------------------------------------------------------------------------------------------


def test_gradient_takes_them(monkeypatch):
    c = case("lsnn_lif", steps=18, units=4)
    options: dict[str, Any] = {
        "rate_target": 20 * bp.Hz,
        "rate_strength": 40.0,
        "rate_over": "trial",
        "voltage_strength": 30.0,
    }
    whole = penalised(c.network, c.batch, RATE, 30.0, "", monkeypatch)[1]
    same(bp.gradient(c.network, "bptt", c.batch, squared, **options), whole, TIGHT)
    nonsense: dict[str, Any] = {"rate_target": "x", "rate_strength": -1, "rate_over": "neuron", "voltage_strength": "x"}
    for name, value in nonsense.items():
        given: dict[str, Any] = {name: value}
        with pytest.raises(RunError, match=name):
            bp.gradient(c.network, "bptt", c.batch, squared, **given)
    rates = case("leaky_rate", steps=9)
    with pytest.raises(RuleError, match="no cell of this circuit spikes"):
        bp.gradient(rates.network, "bptt", rates.batch, squared, voltage_strength=1.0)


def test_a_condition_of_another_form_is_refused_with_how_to_write_it():
    cell = bp.Cell(equations="dv/dt = (I - v)/tau : 1", spike="v - 1 > 0", reset="v = 0", surrogate=bp.triangular(0.3, "width"),
                   parameters={"tau": 20 * ms, "width": 1.0})  # fmt: skip
    task = bp.task("add", t1=2, t2=4, steps=9)
    circuit = bp.circuit("recurrent", cell=cell, inputs=task.inputs, units=3, outputs=task.outputs)
    with pytest.raises(RuleError, match="such as 'v > threshold'"):
        bp.Trainer(circuit, task, "eprop", bp.Training(voltage_strength=1.0))


@pytest.mark.parametrize("over", ("batch", "trial"))
def test_a_trainer_learns_with_them_and_says_the_loss_with_them(over, monkeypatch):
    task = bp.task("add", t1=2, t2=4, steps=9)
    circuit = bp.circuit(
        "recurrent", cell="lsnn_alif", inputs=task.inputs, units=4, outputs=task.outputs, input_gain=3.0
    )
    options: dict[str, Any] = {"batch": 3, "dtype": "float64", "optimiser": "sgd", "lr": 1.0}
    bare = bp.Trainer(circuit, task, "bptt", bp.Training(**options))
    kept = bp.Trainer(
        circuit,
        task,
        "bptt",
        bp.Training(rate_strength=40.0, rate_target=20.0, rate_over=over, voltage_strength=30.0, **options),
    )
    before = {n: w.clone() for n, w in kept.network.weights.items()}
    row = kept.update()
    assert row["rate"] == bare.update()["rate"] > 0
    batch = kept._batch
    assert batch is not None
    moved = {n: before[n] - w for n, w in kept.network.weights.items()}
    kept.network.load(before)
    loss, wanted = penalised(kept.network, batch, RateRegulariser(0.02, 40.0, over), 30.0, "", monkeypatch, task.loss)
    same(moved, wanted, 1e-9)
    np.testing.assert_allclose(kept.loss(batch), loss, rtol=1e-12)


def test_nothing_is_told_of_where_nothing_is_asked():
    told = bp.Training().describe()
    assert not {"rate_over", "voltage_strength"} & told.keys()
    assert bp.Training(rate_over="trial", voltage_strength=2.0).describe() | {} == told | {
        "rate_over": "trial",
        "voltage_strength": 2.0,
    }
