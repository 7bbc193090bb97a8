"""The traces of BP(λ) against traces written from the equations, its Jacobians by autograd, and its meeting with e-prop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from predictor_helpers import (
    Trajectory,
    drawn,
    forward_traces,
    jacobian,
    knowing,
    lambda_targets,
    loss_at,
    predicted,
    trajectory,
)
from rule_helpers import TIGHT, Case, normal, off, owned, paragraph, same, side_by_side, signal_of
from test_rule_table import BATCH, Walk, differ, of_one_order, value
from torch import Tensor
from trace_helpers import (
    CIRCUITS,
    GAMMA,
    LAMBDA,
    PREDICTORS,
    SCHEDULES,
    UNITS,
    VARIANTS,
    Clock,
    borrowed,
    circuit,
    crossing,
    drift,
    everywhere_the_same,
    follow,
    gates,
    inside,
    moving,
    path,
    rule,
    standard_errors,
    traced,
)

import bioplaus as bp
from bioplaus import Trainer, Training, ms
from bioplaus.cerebellum.nuclei import Nuclei
from bioplaus.circuit.carried import Layout
from bioplaus.declaration import order
from bioplaus.eligibility import EProp, Immediate
from bioplaus.errors import RuleError
from bioplaus.learning.sequence import sequence
from bioplaus.measure.memory import tensors
from bioplaus.measure.trace_quality import trace_quality
from bioplaus.rules import Rule, bp_lambda, dni
from bioplaus.schedule import Online, Window
from bioplaus.signal import DNI, BPLambda
from bioplaus.signal.jacobians import OfCircuit
from bioplaus.signal.traces import TRACES, afford, kronecker
from bioplaus.tasks import Batch, squared

#: of random feedback in the place of recurrent weights, as references name it
PREFIX = "fixed_back_"

everywhere = pytest.mark.parametrize("name", [*CIRCUITS, "two"])

# -- replay: the exact trace, also while everything moves --------------------------------------------------------------------


@everywhere
@pytest.mark.parametrize("predictor", PREDICTORS)
def test_replay_is_the_trace_while_everything_moves(name, predictor):
    c = circuit(name)
    theta = drawn(c, rule("replay", predictor))
    with borrowed(c):
        expected, steps = moving(c, theta)
    for chosen in (rule("replay", predictor), rule("exact", predictor)):
        mine, t, found = {n: v.clone() for n, v in theta.items()}, 0, []

        def apply(gradients: dict[str, Tensor], own: dict[str, Tensor], mine: Any = mine, found: Any = found) -> None:
            nonlocal t
            own = side_by_side(own)
            found.append(own)
            follow(mine, own)
            drift(c, t)
            t += 1

        with borrowed(c):
            sequence(c.network, replace(chosen, schedule=Online()), owned(mine), c.batch, squared, apply=apply)
        for mine_t, its in zip(found, steps, strict=True):
            same(mine_t, its)
        same(mine, expected)
    with borrowed(c):  # θ and W that stand still give something else
        same(
            side_by_side(c.outcome(replace(rule("replay", predictor), schedule=Online()), theta).own),
            forward_traces(path(name), theta, LAMBDA, GAMMA),
        )
        total = {n: torch.stack([own[n] for own in steps]).sum(0) for n in steps[0]}
        assert off(total, side_by_side(c.outcome(rule("replay", predictor), theta).own)) > 1e-3


def test_replay_along_a_trainers_updates():
    """With Adam, clipping and weight masks, after every step of a sequence: the same weights of circuit and predictor."""
    task = bp.task("target_reaching", steps=5, targets=6)
    cortex = bp.circuit(
        "excitatory_inhibitory", cell=bp.model("leaky_rate"), inputs=10, units=10, outputs=2, fan_in=0.7
    )
    training = Training(batch=3, lr=1e-2, predictor_lr=1e-2, clip=1.0, apply="window", dtype="float64")
    got = []
    for trace in ("exact", "replay"):
        trainer = Trainer(
            cortex, task, bp_lambda(0.8, "mlp", hidden=(4,), trace=trace, schedule="online"), training, seed=1
        )
        before = {n: w.clone() for n, w in trainer.network.weights.items()}
        for _ in range(3):
            trainer.update()
        assert off(trainer.network.weights, before) > 1e-3
        got.append({n: v.clone() for n, v in (trainer.network.weights | side_by_side(trainer.own)).items()})
    same(got[0], got[1])


@pytest.mark.parametrize(
    ("name", "predictor"), [("elman", "deep"), ("lif", "linear"), ("lstm", "features"), ("two", "linear")]
)
def test_replay_with_a_horizon_meets_the_last_predictions(name, predictor):
    c = circuit(name)
    theta = drawn(c, rule("replay", predictor))
    for k in (1, 3, 50):
        chosen = bp_lambda(LAMBDA, PREDICTORS[predictor], discount=GAMMA, trace="replay", horizon=k)
        everywhere_the_same(c, chosen, theta, traced(path(name), theta, horizon=k))
    exact = traced(path(name), theta)
    assert off(traced(path(name), theta, horizon=3), exact) > 1e-6
    same(side_by_side(c.outcome(chosen, theta).own), exact)
    one = c.outcome(bp_lambda(LAMBDA, PREDICTORS[predictor], discount=GAMMA, trace="replay", horizon=1), theta)
    same(
        side_by_side(one.own), side_by_side(c.outcome(bp_lambda(0.0, PREDICTORS[predictor], discount=GAMMA), theta).own)
    )


# -- local, projected, learned ---------------------------------------------------------------------------------------------


@everywhere
@pytest.mark.parametrize("predictor", PREDICTORS)
def test_local_traces_stay_inside_the_neuron(name, predictor):
    c, chosen = circuit(name), rule("local", predictor)
    theta = drawn(c, chosen)
    expected = traced(path(name), theta, trace=inside(name))
    everywhere_the_same(c, chosen, theta, expected)
    assert off(expected, traced(path(name), theta)) > 1e-6
    if name not in ("elman", "gru"):  # what carries states has more than this step inside the neuron
        assert (
            off(expected, side_by_side(c.outcome(bp_lambda(0.0, PREDICTORS[predictor], discount=GAMMA), theta).own))
            > 1e-6
        )


@pytest.mark.parametrize("name", ("leaky_rate", "alif", "gru", "lstm"))
def test_local_traces_are_exact_where_no_neuron_drives_another(name):
    c = circuit(name)
    theta = drawn(c, rule("local"))
    with borrowed(c) as weights:
        weights["W_rec"].zero_()
        alone = Case(c.network, c.batch)
        for schedule in SCHEDULES:
            found = side_by_side(alone.outcome(replace(rule("local"), schedule=schedule), theta).own)
            same(found, side_by_side(alone.outcome(rule("exact"), theta).own))


def test_a_local_trace_is_small():
    """S numbers a weight of the predictor for S coordinates of a neuron, where the exact one has S·n."""
    c = circuit("lstm")
    assert Layout(c.network).size == 2 * UNITS
    for name, each in (("local", 2), ("exact", 2 * UNITS)):
        signal = rule(name).signal
        theta = drawn(c, rule(name))
        state = signal.credit(owned(theta), signal.init(c.network, 2), replace(c.observed, final=False))[2]
        kept = sum(t.numel() for t in tensors(state.trace))
        assert kept == each * 2 * sum(v.numel() for v in theta.values())


@pytest.mark.parametrize("name", ("elman", "lstm", "lif", "two"))
@pytest.mark.parametrize("predictor", ("linear", "mlp"))
@pytest.mark.parametrize("p", (1, 3))
def test_projected_traces_live_among_the_outputs(name, predictor, p):
    """(VᵀJV) and the projected TD error, with every derivative by autograd."""
    c, tr = circuit(name), path(name)
    chosen = bp_lambda(LAMBDA, PREDICTORS[predictor], discount=GAMMA, trace="projected", outputs=p)
    theta = drawn(c, chosen)
    theta["fixed_V"] = torch.linalg.qr(normal(*theta["fixed_V"].shape, seed=4))[0]
    V, inner = theta["fixed_V"], {n: v for n, v in theta.items() if n != "fixed_V"}
    assert theta["A"].shape[0] == p
    T, e, total = len(tr.J), {}, {n: torch.zeros_like(v) for n, v in inner.items()}
    for t in range(1, T + 1):
        now = jacobian(inner, tr.h[t - 1])
        if t > 1:
            M = GAMMA * LAMBDA * V.T @ tr.J[t - 2] @ V
            now = {n: now[n] + torch.einsum("boh,bh...->bo...", M, e[n]) for n in now}
        e = now
        g = predicted(inner, tr.h[t]) @ V.T * (t < T)
        delta = torch.einsum("bo,boh->bh", tr.q[t - 1] + GAMMA * g, tr.J[t - 1]) @ V - predicted(inner, tr.h[t - 1])
        for n in total:
            total[n] -= torch.einsum("bo,bo...->...", delta, e[n]) / c.batch.size
    for schedule in SCHEDULES:
        same(side_by_side(c.outcome(replace(chosen, schedule=schedule), theta).own), total)
    exact = replace(signal_of(chosen), trace="exact", outputs=None)  # of the same predictor
    whole = c.outcome(replace(chosen, signal=exact), theta)
    same(whole.gradients, c.gradients(chosen, theta))
    assert off(total, side_by_side(whole.own)) > 1e-6


# not adex: its states are in volts and amperes, and turning one into the other costs ten digits
@pytest.mark.parametrize("name", [n for n in (*CIRCUITS, "two") if n != "adex"])
@pytest.mark.parametrize("predictor", ("linear", "deep"))
def test_projected_onto_all_dimensions_is_exact(name, predictor):
    c = circuit(name)
    H = Layout(c.network).size
    chosen = bp_lambda(LAMBDA, PREDICTORS[predictor], discount=GAMMA, trace="projected", outputs=H)
    theta = drawn(c, chosen)
    V = chosen.signal.begin(c.network, torch.Generator().manual_seed(0), 0)["predictor"].fixed["V"]
    torch.testing.assert_close(V.T @ V, torch.eye(H, dtype=V.dtype), rtol=0, atol=1e-13)
    theta["fixed_V"] = V
    plain = {n: v for n, v in theta.items() if n != "fixed_V"} | {"A": V @ theta["A"], "b": V @ theta["b"]}
    expected = forward_traces(path(name), plain, LAMBDA, GAMMA)
    expected |= {"A": V.T @ expected["A"], "b": V.T @ expected["b"]}
    for schedule in SCHEDULES:
        outcome = c.outcome(replace(chosen, schedule=schedule), theta)
        same(side_by_side(outcome.own), expected)
        same(outcome.gradients, c.gradients(bp_lambda(LAMBDA, PREDICTORS[predictor], discount=GAMMA), plain))


def test_deep_nuclei_serve_the_circuits_own_cerebellum():
    options: dict[str, Any] = dict(cell=bp.model("elman"), inputs=4, units=5, outputs=2)
    network = bp.circuit("cortico_cerebellar", cerebellum="mlp", hidden=(3,), **options).build(dtype=torch.float64)
    signal = signal_of(bp_lambda(trace="projected", outputs=2))
    shapes = {n: tuple(v.shape) for n, v in side_by_side(signal.begin(network, torch.Generator(), 0)).items()}
    assert shapes == {"A0": (3, 5), "b0": (3,), "A": (2, 3), "b": (2,), "fixed_V": (5, 2)}
    assert replace(signal, lmbda=0.5).predictor == signal.predictor == Nuclei(None, 2)
    assert bp_lambda(trace="projected", outputs=2).describe()["signal"]["predictor"]["predictor"] == "nuclei"


def test_other_traces_follow_what_speaks_through_nuclei():
    c = circuit("alif")
    behind = {
        t: BPLambda(Nuclei(PREDICTORS["features"], 3), LAMBDA, GAMMA, trace=t) for t in ("exact", "replay", "local")
    }  # type: ignore[arg-type]
    theta = drawn(c, Rule(Immediate(), behind["exact"]))
    whole = side_by_side(c.outcome(Rule(Immediate(), behind["exact"], Window()), theta).own)
    for schedule in SCHEDULES:
        same(side_by_side(c.outcome(Rule(Immediate(), behind["replay"], schedule), theta).own), whole)
        local = side_by_side(c.outcome(Rule(Immediate(), behind["local"], schedule), theta).own)
        same(local, side_by_side(c.outcome(Rule(Immediate(), behind["local"], Window()), theta).own))
        assert off(local, whole) > 1e-6
    with pytest.raises(RuleError, match="last layer"):
        BPLambda(Nuclei(PREDICTORS["linear"], 3), trace="kronecker")


@pytest.mark.parametrize(("name", "predictor"), [("lstm", "mlp"), ("alif", "linear"), ("two", "linear")])
def test_learned_models_carry_trace_and_error(name, predictor):
    c, tr = circuit(name), path(name)
    theta = drawn(c, rule("learned", predictor))
    model = {n: theta.pop(n) for n in list(theta) if n.startswith("model_")}
    M = [model["model_J"].expand_as(J) for J in tr.J]
    for variant, expected in (
        ("learned", traced(tr, theta, trace=M)),
        ("learned J", traced(tr, theta, error=M)),
    ):
        everywhere_the_same(c, rule(variant, predictor), theta | model, expected)
    both = bp_lambda(LAMBDA, PREDICTORS[predictor], discount=GAMMA, trace="learned", jacobian="learned")
    everywhere_the_same(c, both, theta | model, traced(tr, theta, error=M, trace=M))
    free = {n: v.clone().requires_grad_() for n, v in model.items()}
    loss = sum(
        0.5 * (old @ free["model_J"].T + x @ free["model_K"].T + free["model_c"] - new).square().sum()
        for old, x, new in zip(tr.h, c.batch.inputs, tr.h[1:], strict=False)
    )
    expected = torch.autograd.grad(loss / c.batch.size, list(free.values()))  # type: ignore[arg-type]
    own = side_by_side(c.outcome(rule("learned", predictor), theta | model).own)
    same({n: own[n] for n in free}, dict(zip(free, expected, strict=True)))


def test_a_model_that_is_right_gives_the_exact_trace_and_training_finds_it():
    linear = bp.circuit("recurrent", cell=bp.model("elman", rate="x"), inputs=10, units=4, outputs=2, gain=0.7)
    c = Case(
        network := linear.build(seed=1, dtype=torch.float64),
        Batch(normal(6, 3, 10), normal(6, 3, 2), torch.ones(6, 3).double()),
    )
    W = network.weights
    model = {"model_J": W["W_rec"], "model_K": W["W_in"], "model_c": W["b"]}
    theta = drawn(c, bp_lambda())
    for options in ({"trace": "learned"}, {"jacobian": "learned"}):
        chosen = bp.rule("bp_lambda", lmbda=LAMBDA, discount=GAMMA, **options)
        own = side_by_side(c.outcome(chosen, theta | model).own)
        same({n: own[n] for n in theta}, side_by_side(c.outcome(bp_lambda(LAMBDA, discount=GAMMA), theta).own))
        assert all(float(own[n].abs().max()) < 1e-12 for n in model), "nothing is left to be learned"
    trainer = Trainer(
        linear,
        bp.task("target_reaching", steps=6, targets=6),
        bp_lambda(trace="learned"),
        Training(batch=16, lr=0.0, predictor_lr=0.02, dtype="float64"),
    )
    first, *_, last = [trainer.update()["model_error"] for _ in range(150)]
    assert last < 0.02 * first


# -- Kronecker factors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "predictor"), [("elman", "linear"), ("lstm", "features"), ("lif", "linear"), ("two", "features")]
)
def test_kronecker_factors_are_right_on_average(name, predictor, monkeypatch):
    assert standard_errors(name, predictor) < 4
    fair = kronecker.Factors.signs

    def loaded(self: Any, like: Tensor) -> Tensor:  # three out of four are +1
        return torch.maximum(fair(self, like), fair(self, like))

    monkeypatch.setattr(kronecker.Factors, "signs", loaded)
    assert standard_errors(name, predictor) > 4


@pytest.mark.parametrize("name", ("lstm", "two"))
def test_kronecker_factors_over_all_signs(name):
    """Four steps, all 2⁴ signs, each once: the mean is exact."""
    c = circuit(name)
    b = c.batch
    short = Case(c.network, Batch(b.inputs[:4, :1], b.targets[:4, :1], torch.ones_like(b.weight[:4, :1])))
    theta, total = drawn(c, rule("kronecker")), {}
    before = kronecker.Factors.signs
    try:
        for corner in range(16):
            signs = iter([1.0 - 2.0 * (corner >> t & 1) for t in range(4)])
            kronecker.Factors.signs = lambda self, like, signs=signs: torch.full((len(like),), next(signs)).to(like)  # type: ignore[method-assign]
            for n, g in side_by_side(short.outcome(rule("kronecker"), theta).own).items():
                total[n] = total.get(n, 0) + g / 16
    finally:
        kronecker.Factors.signs = before  # type: ignore[method-assign]
    same(total, side_by_side(short.outcome(rule("exact"), theta).own))


@pytest.mark.parametrize("name", ("elman", "alif"))
def test_kronecker_draws_from_the_sequences_generator_alike_under_every_schedule(name):
    c, chosen = circuit(name), rule("kronecker")
    theta = drawn(c, chosen)

    def drawing(seed: int, schedule: Any) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return side_by_side(
            sequence(
                c.network, replace(chosen, schedule=schedule), owned(theta), c.batch, squared, generator=generator
            ).own
        )

    for schedule in SCHEDULES:
        same(drawing(3, schedule), drawing(3, Window()))
    assert off(drawing(4, Window()), drawing(3, Window())) > 1e-3
    same(
        side_by_side(c.outcome(bp_lambda(0.0, trace="kronecker"), theta).own),
        side_by_side(c.outcome(bp_lambda(0.0), theta).own),
    )


# -- Jacobians of the TD error -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "predictor"), [*((n, "linear") for n in (*CIRCUITS, "two")), ("lstm", "deep"), ("lif", "features")]
)
def test_jacobians_of_the_error(name, predictor):
    c, tr = circuit(name), path(name)
    theta = drawn(c, rule("within", predictor))
    within = traced(tr, theta, error=inside(name))
    everywhere_the_same(c, rule("within", predictor), theta, within)
    feedback = {n: v for n, v in drawn(c, rule("random", predictor)).items() if n.startswith(PREFIX)}
    assert set(feedback) == {PREFIX + w.spec.name for w in c.network.recurrent}
    random = traced(tr, theta, error=crossing(c, lambda n, W: feedback[PREFIX + n]))
    everywhere_the_same(c, rule("random", predictor), theta | feedback, random)
    true = traced(tr, theta)
    same(
        side_by_side(
            c.outcome(
                rule("random", predictor),
                theta | {PREFIX + w.spec.name: c.network.weights[w.spec.name] for w in c.network.recurrent},
            ).own
        ),
        true,
    )
    assert min(off(within, true), off(random, true), off(random, within)) > 1e-6


def test_random_feedback_is_drawn_where_there_are_synapses():
    network = bp.circuit(
        "excitatory_inhibitory", cell=bp.model("lif"), inputs=2, units=200, outputs=2, fan_in=0.5, gain=2.0
    ).build()
    theta = BPLambda(jacobian="random").begin(network, torch.Generator().manual_seed(0), 0)["feedback"].fixed
    for w in network.recurrent:
        B, mask = theta[w.spec.name], network.masks[w.spec.name]
        assert bool(B[mask == 1].all()) and not bool(B[mask == 0].any()) and bool((B > 0).any()) and bool((B < 0).any())
        assert float(B[mask == 1].std()) == pytest.approx(w.spec.gain / (w.spec.fan_in or B.shape[1]) ** 0.5, rel=0.05)
    assert OfCircuit(network).network is network, "the circuit's own weights are not touched"


def test_neither_trace_nor_jacobian_is_felt_by_a_circuit_whose_predictor_knows():
    c = circuit("alif")
    for options in (
        {"trace": "replay"},
        {"trace": "replay", "horizon": 2},
        {"jacobian": "within"},
        {"jacobian": "random"},
        {"trace": "learned"},
    ):
        chosen = bp.rule("bp_lambda", lmbda=0.5, predictor=knowing(c), **options)
        theta = chosen.signal.begin(c.network, torch.Generator(), 0)
        for schedule in SCHEDULES:
            same(c.gradients(replace(chosen, schedule=schedule), theta), c.true)


# -- credit for outputs: e-prop as the past half -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in (*CIRCUITS, "two") if n != "gru"])
def test_eprop_and_a_predictor_that_knows_are_bptt(name):
    """The future through other neurons from the predictor, the rest in the eligibility: elementwise, under every schedule."""
    c = circuit(name)
    known = knowing(c)
    direct = c.gradients(bp.rule("eprop"))
    for schedule in (*SCHEDULES, Window(5)):
        pair = Rule(EProp(), BPLambda(known, 0.6, gives="output"), schedule)
        same(c.gradients(pair), c.true)
        same(c.gradients(replace(pair, signal=BPLambda(known, injection=0.0, gives="output"))), direct)
        assert off(c.gradients(replace(pair, signal=BPLambda(known, injection=0.9, gives="output"))), c.true) > 1e-6
    for steps in (1, 3, 7):
        same(c.gradients(Rule(EProp(), DNI(known, gives="output"), Window(steps))), c.true)
    assert off(direct, c.true) > 1e-3, "or the test is empty"


@pytest.mark.parametrize("name", ("lstm", "lif", "two"))
def test_eprops_predictor_learns_as_the_other_one_does(name):
    c = circuit(name)
    theta = drawn(c, rule("exact"))
    for one, other in (
        (rule("exact", eligibility="eprop"), rule("exact")),
        (rule("local", eligibility="eprop"), rule("local")),
        (dni(3, eligibility="eprop"), dni(3)),
    ):
        a, b = c.outcome(one, theta), c.outcome(other, theta)
        same(side_by_side(a.own), side_by_side(b.own), 0.0)
        assert off(a.gradients, b.gradients) > 1e-3
    assert isinstance(one.eligibility, EProp) and isinstance(other.eligibility, Immediate)


def test_the_pair_says_what_it_is():
    pair = bp.rule("bp_lambda", eligibility="eprop")
    assert (pair.claim, pair.exact_when, pair.facing) == ("biased", "the predictor is exact", "both")
    assert pair.future.credit == "output" and BPLambda.declaration.credit == BPLambda().declaration.credit == "state"
    for past, signal in (
        (EProp(), BPLambda()),
        (Immediate(), BPLambda(gives="output")),
        (EProp(), DNI()),
        (Immediate(), DNI(gives="output")),
    ):
        with pytest.raises(RuleError, match="counted twice|missed"):
            Rule(past, signal, Window(2))


def test_cells_that_read_their_own_output_are_refused_for_outputs():
    network = circuit("gru").network
    for chosen in (bp_lambda(eligibility="eprop"), dni(1, eligibility="eprop")):
        with pytest.raises(RuleError, match="own last output.*immediate") as error:
            chosen.refuse(network)
        paragraph(error)
        for name in ("lstm", "alif", "elman", "two"):
            chosen.refuse(circuit(name).network)
    c = circuit("gru")  # for the reason that is given: the path would be counted twice
    twice = c.gradients(Rule(EProp(), BPLambda(knowing(c), gives="output"), Window()))
    assert off(twice, c.true) > 1e-3


# -- the released code ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_published_makes_the_published_mistakes(predictor):
    c, tr = circuit("lstm"), path("lstm")
    _, J, q = gates(c)
    chosen = rule("exact", predictor, published=True)
    theta = drawn(c, chosen)
    expected = forward_traces(Trajectory(tr.h, J, q), theta, LAMBDA, GAMMA)
    for schedule in SCHEDULES:
        same(side_by_side(c.outcome(replace(chosen, schedule=schedule), theta).own), expected)
    assert off(expected, traced(tr, theta)) > 1e-2
    for part in (Trajectory(tr.h, J, tr.q), Trajectory(tr.h, tr.J, q)):  # each of them counts
        assert off(expected, forward_traces(part, theta, LAMBDA, GAMMA)) > 1e-3


def test_the_cell_half_of_a_published_target_is_twice_the_truth():
    """One step before the only loss, whatever the weights; at every step and in both halves where none reaches the output gate."""
    c = circuit("lstm")
    n = UNITS
    last = torch.zeros_like(c.batch.weight)
    last[-1] = 1.0
    late = Case(c.network, replace(c.batch, weight=last))
    zero = {k: torch.zeros_like(v) for k, v in drawn(late, bp_lambda()).items()}

    def targets(published: bool) -> Tensor:
        """Γ_t at λ = γ = 1 as the code has them: with g = 0 the update is Σ Γ_t ∂g(h_t)/∂θ, here seen through a predictor of time."""
        clock: Any = Clock()
        signal = bp_lambda(1.0, clock, published=published).signal
        return signal.credit({}, signal.init(late.network, late.batch.size), late.observed)[1]["predictor.u"]

    true, released = targets(False), targets(True)
    for mine, its in zip(
        true, lambda_targets(trajectory(late), zero, 1.0, 1.0), strict=True
    ):  # the full Jacobian: the truth
        torch.testing.assert_close(-mine, its, rtol=1e-9, atol=TIGHT)
    assert bool((true[:, :, :n].abs() > 0).all())
    torch.testing.assert_close(released[-1, :, :n], 2.0 * true[-1, :, :n], rtol=1e-12, atol=0)
    assert float((released[-1, :, n:] / true[-1, :, n:] - 2).abs().max()) > 1e-2, (
        "here the output gate's path is missing"
    )
    assert float((released[-3, :, :n] / true[-3, :, :n] - 2).abs().max()) > 1e-3
    with borrowed(late) as weights:
        weights["W_rec"][3 * n :] = 0.0
        late = Case(late.network, c.batch)  # losses at other steps too
        torch.testing.assert_close(targets(True), 2.0 * targets(False), rtol=1e-10, atol=0)


def test_published_gates_see_a_partial_derivative():
    """The output gate learns from all of the prediction for y, the other gates from none of it: by autograd with y's cell held."""
    c = circuit("lstm")
    network, n = c.network, UNITS
    chosen = rule("exact", published=True)
    theta, layout = drawn(c, chosen), Layout(c.network)
    h = layout.vectors(c.window)
    kept = network.weights
    leaves = {k: w.clone().requires_grad_() for k, w in kept.items()}
    network.weights, total = leaves, torch.zeros((), dtype=torch.float64)
    try:
        for t, step in enumerate(c.window.steps):
            drive = tuple(d[t] for d in network.drive(c.batch.inputs))
            u = network.advance(step.before, drive, differentiable=True)
            cell, gate = u.u[0]
            total = total + loss_at(c, t, layout.vector(u.after))
            if t + 1 < c.batch.steps:
                g = predicted(theta, h[t + 1])
                total = total + (g[:, :n] * cell).sum() + (g[:, n:] * gate * torch.tanh(cell.detach())).sum()
        found = torch.autograd.grad(total / c.batch.size, list(leaves.values()))
    finally:
        network.weights = kept
    expected = dict(zip(leaves, found, strict=True))
    for schedule in SCHEDULES:
        same(c.gradients(replace(chosen, schedule=schedule), theta), expected)
    right = c.gradients(rule("exact"), theta)
    assert off(expected, right) > 1e-2
    same({"o": expected["W_rec"][3 * n :]}, {"o": right["W_rec"][3 * n :]})
    silent = {k: torch.zeros_like(v) for k, v in theta.items()}
    same(c.gradients(chosen, silent), c.gradients(rule("exact"), silent))  # this step's own loss is right


def test_published_is_for_plain_lstm_circuits():
    chosen = bp_lambda(published=True)
    for name in ("elman", "gru", "alif", "two"):
        with pytest.raises(RuleError, match="LSTM") as error:
            chosen.refuse(circuit(name).network)
        paragraph(error)
    for options in ({"tau_out": 10 * ms}, {"delay": 2}):
        network = bp.circuit("recurrent", cell=bp.model("lstm"), inputs=2, units=3, outputs=1, **options).build()
        with pytest.raises(RuleError, match="plain readouts"):
            chosen.refuse(network)
    chosen.refuse(circuit("lstm").network)


def test_with_the_full_jacobian_an_lstms_targets_are_exact():
    """λ = γ = 1: the update is the gradient of the regression on BPTT's own gradient, in all of h."""
    c = circuit("lstm")
    truth = knowing(c).truth
    theta = drawn(c, bp_lambda())
    free = {n: v.clone().requires_grad_() for n, v in theta.items()}
    h = Layout(c.network).vectors(c.window)
    loss = 0.5 * (predicted(free, h[:-1]) - truth[:-1]).square().sum() / c.batch.size
    expected = dict(zip(free, torch.autograd.grad(loss, list(free.values())), strict=True))
    for trace in ("exact", "replay"):
        for schedule in SCHEDULES:
            same(side_by_side(c.outcome(replace(bp_lambda(1.0, trace=trace), schedule=schedule), theta).own), expected)


# -- how good they are -------------------------------------------------------------------------------------------------------


def test_quality_of_traces():
    c = circuit("alif")
    theta = drawn(c, rule("exact"))
    H = Layout(c.network).size
    variants = {n: signal_of(rule(n)) for n in VARIANTS if n != "learned J"}
    variants["all"] = signal_of(bp_lambda(LAMBDA, discount=GAMMA, trace="projected", outputs=H))
    found = trace_quality(c.network, c.batch, variants, owned(theta), draws=100)
    exact = forward_traces(path("alif"), theta, LAMBDA, GAMMA)
    flat = lambda own: torch.cat([own["A"].flatten(), own["b"]])  # noqa: E731
    for name in ("exact", "replay", "all"):
        assert found[name].bias < 1e-12 and found[name].deviation == 0
    local = flat(traced(path("alif"), theta, trace=inside("alif")))
    expected = float((local - flat(exact)).norm() / flat(exact).norm())
    assert found["local"].bias == pytest.approx(expected, rel=1e-9) and found["local"].deviation == 0
    for name in ("replay 3", "projected", "learned", "random", "within"):
        assert found[name].bias > 1e-3 and found[name].deviation == 0
    kron = found["kronecker"]
    assert kron.deviation > 0.1 and abs(kron.bias_squared) < 4 * kron.deviation**2 / 100
    # before a model is learned it is BP(0)
    zero = flat(side_by_side(c.outcome(bp_lambda(0.0, discount=GAMMA), theta).own))
    assert found["learned"].bias == pytest.approx(float((zero - flat(exact)).norm() / flat(exact).norm()), rel=1e-9)
    again = trace_quality(c.network, c.batch, {"kronecker": variants["kronecker"]}, owned(theta), draws=100)
    assert again["kronecker"] == kron and bp.trace_quality is trace_quality
    with pytest.raises(RuleError, match="DNI"):
        trace_quality(c.network, c.batch, {"mine": DNI()})  # type: ignore[dict-item]


# -- what is refused, declared, kept -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"trace": "exactly"}, "exact"),
        ({"trace": None}, "one of"),
        ({"jacobian": "randm"}, "random"),
        ({"eligibility": "rtrl"}, "immediate"),
        ({"eligibility": 3}, "immediate"),
        ({"published": 1}, "True or False"),
        ({"trace": "projected"}, "outputs="),
        ({"trace": "projected", "outputs": 0}, "from 1"),
        ({"outputs": 3}, "projected"),
        ({"trace": "local", "outputs": 3}, "projected"),
        ({"horizon": 3}, "replay"),
        ({"trace": "replay", "horizon": 0}, "from 1"),
        ({"trace": "replay", "horizon": 2.5}, "whole number"),
        ({"trace": "kronecker", "hidden": (3,)}, "output"),
        ({"trace": "local", "published": True}, "published"),
        ({"jacobian": "within", "published": True}, "published"),
        ({"eligibility": "eprop", "published": True}, "published"),
        ({"gives": "output"}, "option"),
    ],
)
def test_wrong_options_are_refused_in_a_paragraph(options, words):
    with pytest.raises(RuleError, match=words) as error:
        bp.rule("bp_lambda", **options)
    paragraph(error)


def test_what_only_a_circuit_can_tell_is_refused_before_work():
    options: dict[str, Any] = dict(cell=bp.model("elman"), inputs=4, units=5, outputs=2)
    network = bp.circuit("cortico_cerebellar", cerebellum="mlp", hidden=(3,), **options).build()
    kronecker_ = bp_lambda(trace="kronecker")
    with pytest.raises(RuleError, match="train='output'") as error:
        kronecker_.refuse(network)
    paragraph(error)
    with pytest.raises(RuleError, match="train='output'"):
        kronecker_.signal.begin(network, torch.Generator(), 0)
    with pytest.raises(RuleError, match="only 5 dimensions") as error:
        bp_lambda(trace="projected", outputs=6).signal.begin(network, torch.Generator(), 0)
    paragraph(error)
    for gives in ("direct", 1):
        with pytest.raises(RuleError, match="one of|Known|state"):
            BPLambda(gives=gives)  # type: ignore[arg-type]
        with pytest.raises(RuleError, match="one of|Known|state"):
            DNI(gives=gives)  # type: ignore[arg-type]
    with pytest.raises(RuleError, match="auxiliary"):
        dni(3, auxiliary=0.1, eligibility="eprop")


def test_a_trace_that_does_not_fit_is_refused_before_it_is_kept(monkeypatch):
    c = circuit("lstm")
    H, size = 2 * UNITS, 2
    weights = H * H + H
    needed = {"exact": 2 * H * weights * size * 8, "local": 2 * 2 * weights * size * 8}
    for name, count in needed.items():
        theta = drawn(c, rule(name))
        monkeypatch.setattr(afford, "memory", lambda device, count=count: count / 0.9 * 1.001)
        for schedule in SCHEDULES:
            c.outcome(replace(rule(name), schedule=schedule), theta)
        monkeypatch.setattr(afford, "memory", lambda device, count=count: count / 0.9 * 0.999)
        c.outcome(replace(rule(name), schedule=Window()), theta)  # whole sequences need no trace
        for schedule in (Online(), Window(3)):
            with pytest.raises(RuleError, match="window.*replay.*kronecker.*local.*smaller") as error:
                c.outcome(replace(rule(name), schedule=schedule), theta)
            assert "MiB" in paragraph(error) and f"{weights} weights" in str(error.value)
    monkeypatch.setattr(afford, "memory", lambda device: 0)
    for name in ("replay", "kronecker"):
        c.outcome(replace(rule(name), schedule=Online()), drawn(c, rule(name)))
    monkeypatch.undo()
    network = bp.circuit("recurrent", cell=bp.model("lstm"), inputs=4, units=2000, outputs=2).build()
    batch = Batch(torch.zeros(2, 8, 4), torch.zeros(2, 8, 2), torch.ones(2, 8))
    chosen = bp_lambda(schedule="online")
    with pytest.raises(RuleError, match=r"[0-9.]+ GiB for a batch of 8"):
        sequence(network, chosen, chosen.signal.begin(network, torch.Generator(), 0), batch, squared)


def test_a_trace_that_does_not_fit_is_refused_before_anything_is_learned(monkeypatch):
    """By the trainer, which an experiment makes of all its arms before the first begins."""
    task = bp.task("target_reaching", steps=6)
    cortex = bp.circuit("cortico_cerebellar", cell=bp.model("lstm"), inputs=task.inputs, units=5, outputs=2)
    weights = 10 * 10 + 10
    traces = [
        (2 * 10 * weights, BPLambda()),
        (2 * 10 * weights, BPLambda(trace="learned")),
        (2 * 2 * weights, BPLambda(trace="local")),
        (2 * 3 * 33, BPLambda(trace="projected", outputs=3)),
    ]

    def made(signal: BPLambda, schedule: Any) -> Trainer:
        return Trainer(cortex, task, Rule(Immediate(), signal, schedule), Training(batch=7))

    for floats, signal in traces:
        there = 7 * floats * 4 / 0.9
        monkeypatch.setattr(afford, "memory", lambda device, there=there: there * 1.001)
        for schedule in (Online(), Window(4)):
            made(signal, schedule)
        monkeypatch.setattr(afford, "memory", lambda device, there=there: there * 0.999)
        made(signal, Window())  # whole sequences need no trace
        for schedule in (Online(), Window(4)):
            with pytest.raises(RuleError, match="batch of 7"):
                made(signal, schedule)
    monkeypatch.setattr(afford, "memory", lambda device: 0)
    for signal in (BPLambda(trace="replay"), BPLambda(trace="kronecker")):
        made(signal, Online())
    growing = bp.task("copy_repeat", bits=2)  # trials of 5 steps, and longer ones once they are solved
    cortex = bp.circuit("cortico_cerebellar", cell=bp.model("lstm"), inputs=growing.inputs, units=5, outputs=3)
    Trainer(cortex, growing, bp_lambda(schedule="window", steps=8), Training(batch=7))
    with pytest.raises(RuleError, match="batch of 7"):
        Trainer(cortex, growing, bp_lambda(schedule="window", steps=8), Training(batch=7, curriculum=True))


SETTINGS: dict[str, Any] = {
    **{n: signal_of(rule(n)) for n in VARIANTS},
    "local hidden": signal_of(rule("local", "mlp")),
    "local within": signal_of(bp_lambda(predictor="linear", trace="local", jacobian="within")),
    "outputs": BPLambda(gives="output"),
    "projected 1": bp_lambda(trace="projected", outputs=1).signal,
}


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_declared_of_each_setting_is_true(name):
    half = SETTINGS[name]
    d = half.declaration
    assert (d.bias, d.exact_when, d.causal, d.closed) == ("biased", "the predictor is exact", True, False)
    assert d.random == (half.trace == "kronecker") and d.local == (name == "local within")
    assert d.credit == half.gives and "arXiv:2401.07044" in d.references and all(d.references.values())
    walk = Walk("alif", 4, 3)
    assert differ(walk.future(half, seed=1)[2], walk.future(half, seed=2)[2]) == d.random
    own, before = walk.own(half), walk.future(half)[2]
    walk.network.weights["W_out"] += 1.0
    assert differ(before, walk.future(half, own=own)[2]) == d.transport


@pytest.mark.parametrize("name", [n for n in SETTINGS if n not in ("local hidden", "outputs")])
def test_memory_and_time_of_each_setting_are_of_the_declared_order(name):
    """Of one step online: what is carried into it and what is multiplied in it, at two sizes and for two kinds of cells."""
    half = SETTINGS[name]
    steps, kept, worked, memory, time = 4, [], [], [], []
    for model in ("elman", "adex"):
        for n in (8, 32):
            walk = Walk(model, n, 4, steps=steps)
            own = walk.own(half)
            theta = sum(v.numel() for v in own["predictor"].learned.values())
            letters = walk.letters | {"θ": theta, "T": steps, "k": half.outputs or half.horizon or 0}
            state, work, _ = walk.future(half, own=own)
            whole = [past.weights for past in state.trace] if half.trace == "replay" else []  # once for the batch
            shared = {id(t) for t in tensors(whole)}
            kept.append(sum(t.numel() for t in tensors(state) if id(t) not in shared) / BATCH)
            worked.append(work)
            memory.append(value(order(half.declaration.memory).replace(" + θ", ""), letters))  # θ would hide the rest
            time.append(value(half.declaration.time, letters))
    of_one_order(worked, time, models=2)
    of_one_order(kept, memory, models=2)


def test_every_trace_learns():
    """Six targets, credit over five steps: predictions come to point where they should, whatever the trace."""
    task = bp.task("target_reaching", steps=5, targets=6)
    cortex = bp.circuit("recurrent", cell=bp.model("leaky_rate"), inputs=10, units=8, outputs=2)
    training = Training(batch=16, lr=0.0, predictor_lr=1e-2, betas=(0.9, 0.98))
    found = {}
    for trace in TRACES:
        chosen = bp.rule("bp_lambda", lmbda=1.0, trace=trace, outputs=8 if trace == "projected" else None)
        trainer = Trainer(cortex, task, chosen, training, seed=0)
        for _ in range(120):
            trainer.update()
        found[trace] = trainer.alignment(task.batch(trainer.generator, 32))["prediction"]
    assert min(found.values()) > 0.1 and found["replay"] == pytest.approx(found["exact"], abs=1e-6), found
