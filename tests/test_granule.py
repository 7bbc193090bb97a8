"""The granule predictor: with all of it off the linear one, every part as written out in NumPy, each element off the rung below, signs that hold."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from cerebellum_helpers import (
    BATCH,
    OFF,
    ON,
    SCHEDULES,
    SIZE,
    T,
    batch,
    by_hand,
    cortex,
    drawn,
    granule,
    outcome,
    rule,
    said,
    states,
    synthetic,
    under,
)
from rule_helpers import normal, off, paragraph, random, same

import bioplaus as bp
from bioplaus import ms
from bioplaus.cerebellum.purkinje import Zones
from bioplaus.cerebellum.trial import Lesion, Trial
from bioplaus.circuit.carried import Layout
from bioplaus.errors import RunError
from bioplaus.learning.gradient import gradient
from bioplaus.schedule import Window
from bioplaus.signal.truth import observe
from bioplaus.tasks import squared

TRACES: dict[str, dict[str, Any]] = {
    "exact": {"lmbda": 0.7}, "local": {"lmbda": 0.7, "trace": "local"}, "replay": {"lmbda": 0.7, "trace": "replay"},
    "replay 3": {"trace": "replay", "horizon": 3}, "kronecker": {"trace": "kronecker"}, "projected": {"trace": "projected", "outputs": 4},
    "learned": {"trace": "learned"}, "within": {"jacobian": "within", "lmbda": 0.5}, "random": {"jacobian": "random"}, "bump": {"trace": "bump"},
    "eprop": {"eligibility": "eprop", "lmbda": 0.3},
}  # fmt: skip

# -- all off ---------------------------------------------------------------------------------------------------------------------


#: replay goes back over all steps at every step: one such case a test is quick enough
LATER = pytest.mark.slow
#: of a cell with gates in the quick tests; the others, which take long, in all tests
GATED = ("exact", "local", "kronecker", "projected")
CASES = (
    [(trace, "leaky_rate") for trace in TRACES if trace != "replay 3"]
    + [pytest.param("replay 3", "leaky_rate", marks=LATER)]
    + [(trace, "lstm") for trace in GATED]
)
CASES += [pytest.param(trace, "lstm", marks=LATER) for trace in TRACES if trace not in (*GATED, "eprop", "learned")]  # fmt: skip


@pytest.mark.parametrize(("trace", "cell"), CASES)
def test_with_every_element_off_it_is_the_linear_predictor(trace, cell):
    network = cortex(cell)
    options = TRACES[trace]
    one, other = rule(None, **options), rule(OFF, **options)
    a, b = drawn(one, network), drawn(other, network)
    M = b["predictor"]["granule.wiring"]
    b["predictor"]["purkinje.w"].copy_(-(a["predictor"]["A"] @ M.T)[None])
    b["predictor"]["nuclei.b"].copy_(a["predictor"]["b"][None])
    for part in a:
        for name in set(a[part]) & set(b[part]):
            b[part][name].copy_(a[part][name])
    for schedule in SCHEDULES:
        mine, its = outcome(under(other, schedule), b, network), outcome(under(one, schedule), a, network)
        found = {
            "predictor.A": -mine.own["predictor.purkinje.w"][0] @ M,
            "predictor.b": mine.own["predictor.nuclei.b"][0],
            **{path: value for path, value in mine.own.items() if not path.startswith("predictor.")},
        }
        assert all(bool(value.any()) for value in its.own.values())
        same(found, its.own)
        same(mine.gradients, its.gradients)


def test_so_it_is_for_synthetic_gradients_over_windows():
    one, other = bp.rule("dni", steps=3), bp.rule("dni", steps=3, predictor=bp.predictor("granule", **OFF))
    a, b = drawn(one), drawn(other)
    M = b["predictor"]["granule.wiring"]
    b["predictor"]["purkinje.w"].copy_(-(a["predictor"]["A"] @ M.T)[None])
    b["predictor"]["nuclei.b"].copy_(a["predictor"]["b"][None])
    its, mine = outcome(one, a), outcome(other, b)
    same({"predictor.A": -mine.own["predictor.purkinje.w"][0] @ M, "predictor.b": mine.own["predictor.nuclei.b"][0]}, its.own)  # fmt: skip
    same(mine.gradients, its.gradients)


def test_and_over_many_updates_of_an_optimiser():
    task = bp.task("delayed_match")
    circuit = bp.circuit("recurrent", cell="lstm", inputs=task.inputs, units=8, outputs=task.outputs)
    training = bp.Training(updates=15, batch=4, lr=1e-2, dtype="float64")
    ends = []
    for predictor in ("linear", bp.predictor("granule", **OFF)):
        trainer = bp.Trainer(circuit, task, bp.rule("bp_lambda", predictor=predictor), training, seed=2)
        for _ in range(15):
            trainer.update()
        ends.append((trainer.network.weights, trainer.own["predictor"]))
    same(ends[1][0], ends[0][0])
    assert off({"A": -ends[1][1]["purkinje.w"][0] @ ends[1][1]["granule.wiring"]}, {"A": ends[0][1]["A"]}) < 1e-10


WIDER: dict[str, dict[str, Any]] = {
    "expansion": {"expansion": 3}, "fan-in": {"expansion": 2, "fan_in": 4}, "lines": {"lines": 4}, "all": {"expansion": 3, "fan_in": 2, "lines": 6},
}  # fmt: skip


@pytest.mark.parametrize("how", ["exact", "local", pytest.param("replay", marks=LATER), "within", "bump", "eprop"])
@pytest.mark.parametrize("wider", WIDER)
def test_compression_expansion_and_fan_in_are_one_fixed_map_before_the_linear_one(wider, how):
    """φ = M C h: what is said is the linear predictor's at A M C, and what is learned its gradient times (M C)ᵀ."""
    one, other = rule(None, **TRACES[how]), rule(OFF | WIDER[wider], **TRACES[how])
    a, b = drawn(one), drawn(other)
    theta = b["predictor"]
    before = theta["granule.wiring"] @ theta["pons.C"] if "pons.C" in theta else theta["granule.wiring"]
    a["predictor"]["A"].copy_(-theta["purkinje.w"][0] @ before)
    a["predictor"]["b"].copy_(theta["nuclei.b"][0])
    assert theta["purkinje.w"].shape[-1] != SIZE or wider == "lines"
    for schedule in SCHEDULES:
        mine, its = outcome(under(other, schedule), b), outcome(under(one, schedule), a)
        found = {"A": -mine.own["predictor.purkinje.w"][0], "b": mine.own["predictor.nuclei.b"][0]}
        same(found, {"A": its.own["predictor.A"] @ before.T, "b": its.own["predictor.b"]})
        same(mine.gradients, its.gradients)


@pytest.mark.parametrize("how", ["exact", "local", pytest.param("replay", marks=LATER), "bump"])
def test_on_and_off_pairs_are_read_by_weights_and_their_opposites(how):
    """With w onto off cells the opposite of that onto on cells it is the linear map, and both learn its gradient between them."""
    one, other = rule(None, **TRACES[how]), rule(OFF | {"pairs": True}, **TRACES[how])
    a, b = drawn(one), drawn(other)
    M = b["predictor"]["granule.wiring"]
    assert M.shape == (2 * SIZE, 2 * SIZE)
    A = a["predictor"]["A"]
    b["predictor"]["purkinje.w"].copy_(-(torch.cat([A, -A], -1) @ M.T)[None])
    b["predictor"]["nuclei.b"].copy_(a["predictor"]["b"][None])
    assert torch.allclose(said(other, b), said(one, a), rtol=1e-10, atol=1e-13) and bool(said(one, a).any())
    for schedule in SCHEDULES:
        mine, its = outcome(under(other, schedule), b), outcome(under(one, schedule), a)
        on, off_ = (-mine.own["predictor.purkinje.w"][0] @ M).split(SIZE, -1)
        assert bool(on.any()) and bool(off_.any())
        same({"A": on - off_, "b": mine.own["predictor.nuclei.b"][0]}, {"A": its.own["predictor.A"], "b": its.own["predictor.b"]})  # fmt: skip
        same(mine.gradients, its.gradients)


# -- all on ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [ON, ON | {"tonic": 0.05}, ON | {"pairs": False, "lines": None, "opponent": False}])
def test_every_part_is_as_it_is_written(options):
    chosen = rule(options)
    own, h = drawn(chosen), states()
    o = asdict(granule(**options))
    expected = [by_hand(o, own["predictor"], h[:, i].numpy()) for i in range(BATCH)]
    g = said(chosen, own)
    for i, each in enumerate(expected):
        assert np.abs(each["g"]).max() > 1e-3 and (each["granule"] > 0).any() and each["golgi"].max() > 0.01
        assert np.allclose(g[:, i], each["g"], rtol=1e-12, atol=1e-14)
    if options.get("tonic"):
        assert any((each["nuclei"] == -0.05).any() for each in expected)  # some end at 0, some do not
        assert any((each["nuclei"] != -0.05).any() for each in expected)
    names = ["pons", "granule", "golgi", "purkinje", "nuclei"]
    for schedule in SCHEDULES[:2]:
        seen = bp.record(cortex(), under(chosen, schedule), batch(), [f"cerebellum.{name}" for name in names], own=own)
        for name in names:
            mine = seen[f"cerebellum.{name}"].values
            for i, each in enumerate(expected):
                assert np.allclose(mine[:, i], each[name][1:].reshape(T, -1), rtol=1e-12, atol=1e-14), name


@pytest.mark.parametrize("tonic", [None, 0.05])
def test_derivatives_are_those_of_what_it_says(tonic):
    chosen = rule(ON | {"tonic": tonic})
    own, g = drawn(chosen), bp.predictor("granule", **ON | {"tonic": tonic})
    theta = own["predictor"]
    phi = random(BATCH, theta["granule.wiring"].shape[0], seed=9)
    u = normal(BATCH, SIZE, seed=5)

    def free(name: str, value: torch.Tensor) -> torch.Tensor:
        return g.predict(theta.replaced({name: value}), phi)

    mine, jacobian = g.gradient(theta, phi, u), g.jacobian(theta, phi)
    assert set(mine) == set(jacobian) == set(theta.learned) - {"golgi.threshold"}
    for name in mine:
        J: Any = torch.autograd.functional.jacobian(lambda value, name=name: free(name, value), theta[name])
        J = J * theta["purkinje.mask"] if name != "nuclei.b" else J
        same({name: jacobian[name]}, {name: J})
        same({name: mine[name]}, {name: torch.einsum("bo,bo...->...", u, J)})


RUNGS: dict[str, dict[str, Any]] = {
    "all on": {}, "nuclei end at 0": {"tonic": 0.02}, "events": {"teaching": "events", "probability": 0.1, "fibres": 3},
    "perturb": {"teaching": "perturb", "probability": 0.1}, "late errors": {"delay_back": 3}, "late errors, own peak": {"delay_back": 2, "peak": 4},
}  # fmt: skip
#: rung → the traces that it goes with; those of all the others are refused
SERVED = {
    "nuclei end at 0": {"exact", "local", "replay", "replay 3", "projected", "learned", "within", "random", "eprop"},
    "late errors": {"bump"}, "late errors, own peak": {"bump"},
}  # fmt: skip
REASONS = {"nuclei end at 0": "tonic=None|last layer", "late errors": "trace='bump'", "late errors, own peak": "trace='bump'"}  # fmt: skip
QUICK = {
    ("all on", "exact"), ("all on", "local"), ("all on", "kronecker"), ("all on", "projected"), ("nuclei end at 0", "exact"), ("nuclei end at 0", "replay 3"),
    ("nuclei end at 0", "local"), ("events", "exact"), ("perturb", "local"), ("late errors", "bump"), ("late errors, own peak", "bump"),
}  # fmt: skip
EVERY = [(rung, trace) for rung in RUNGS for trace in TRACES]
AGREE = [(r, t) for r, t in EVERY if t in SERVED.get(r, TRACES)]


@pytest.mark.parametrize(
    ("rung", "trace"), [case if case in QUICK else pytest.param(*case, marks=LATER) for case in AGREE]
)
def test_schedules_agree(rung, trace):
    """All traces that a rung accepts, to 1e-10; none of them by saying nothing."""
    chosen = rule(ON | RUNGS[rung], **TRACES[trace])
    own = drawn(chosen)
    whole = outcome(under(chosen, Window()), own)
    mine = {name for name in whole.own if name.startswith("predictor.")}
    assert mine == {f"predictor.{n}" for n in own["predictor"].learned}
    assert all(bool(value.any()) for value in whole.own.values())
    for schedule in SCHEDULES[1:]:
        found = outcome(under(chosen, schedule), own)
        same(found.own, whole.own)
        same(found.gradients, whole.gradients)


@pytest.mark.parametrize(("rung", "trace"), [case for case in EVERY if case not in AGREE])
def test_a_trace_that_a_rung_does_not_go_with_is_refused_with_the_reason(rung, trace):
    with pytest.raises(bp.errors.BioplausError, match=REASONS[rung]) as error:
        gradient(cortex(), rule(ON | RUNGS[rung], **TRACES[trace]), batch())
    paragraph(error)


@pytest.mark.parametrize(
    "options", [ON, ON | {"tonic": 0.02}, pytest.param(ON | {"teaching": "events", "probability": 0.1}, marks=LATER)]
)
def test_the_exact_trace_and_its_replay_are_one(options):
    chosen, replayed = rule(options, lmbda=0.7), rule(options, lmbda=0.7, trace="replay")
    own = drawn(chosen)
    for schedule in SCHEDULES[:2]:
        mine, its = outcome(under(replayed, schedule), own), outcome(under(chosen, schedule), own)
        same(mine.own, its.own)
        same(mine.gradients, its.gradients)


# -- each element off --------------------------------------------------------------------------------------------------------------


def equal_without(less: dict[str, Any], more: dict[str, Any], change: Any = None, names: Any = None) -> None:
    """A rung with an element that does nothing, and the rung without: what they say and what they learn."""
    a, b = rule(less), rule(more)
    own_a, own_b = drawn(a), drawn(b)
    for name, value in own_a["predictor"].learned.items():
        mine = own_b["predictor"][name]
        mine.zero_()
        mine[: len(value)].copy_(value)
    for name in set(own_a["predictor"].fixed) & set(own_b["predictor"].fixed):
        own_b["predictor"][name].copy_(own_a["predictor"][name])
    for name in set(own_b["predictor"].learned) - set(own_a["predictor"].learned):
        own_b["predictor"][name].zero_()
    if change is not None:
        change(own_b["predictor"])
    assert torch.allclose(said(b, own_b), said(a, own_a), rtol=1e-10, atol=1e-12)
    assert bool(said(a, own_a).any())
    for schedule in SCHEDULES:
        mine, its = outcome(under(b, schedule), own_b), outcome(under(a, schedule), own_a)
        same(mine.gradients, its.gradients)
        for name, value in its.own.items():
            same({name: mine.own[name][: len(value)]}, {name: value})


SMALL = {"expansion": 2, "fan_in": 2, "active": None}


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({}, {"tau_golgi": 5, "subtractive": 0, "divisive": 0}),
        ({}, {"subtractive": 1e-14}),
        ({}, {"divisive": 1e-14}),
        ({}, {"tonic": 100.0}),
        ({"interneurons": False}, {"interneurons": True}),
        ({"opponent": False}, {"opponent": True}),
        ({"opponent": False, "tonic": 0.05}, {"opponent": True, "tonic": 0.05}),
        ({}, {"reach": 1.0}),
        ({}, {"active": 0.2}),  # thresholds of 0
        ({}, {"plastic_nuclei": True}),
        ({"rectify": False}, {"rectify": True}),  # fibres in pairs leave nothing below 0
    ],
)
def test_an_element_that_is_off_gives_the_rung_below(less, more):
    equal_without(SMALL | less, SMALL | less | more)


def test_signs_off_only_lets_weights_go_below_zero():
    a, b = rule(SMALL), rule(SMALL | {"signs": False})
    own_a, own_b = drawn(a), drawn(b)
    same(outcome(b, own_b).own, outcome(a, own_a).own)


def test_no_delay_and_no_peak_are_lambda_zero():
    bump, none = rule(ON, trace="bump"), rule(ON, lmbda=0.0)
    own = drawn(none)
    for schedule in SCHEDULES:
        same(outcome(under(bump, schedule), own).own, outcome(under(none, schedule), own).own)


def test_the_bump_is_what_it_says():
    """Σ_t δ_{t−d} φ̄_t, with K summed out and errors that arrive when the parallel fibres are silent."""
    d, p = 2, 3.0
    late, none = rule(SMALL | {"delay_back": d, "peak": 3}, trace="bump"), rule(SMALL, lmbda=0.0)
    own = drawn(none)
    network, signal = cortex(), synthetic(none)
    observed = observe(network, batch(), squared)
    phi, _ = signal.look(own, signal.sight(network), observed, Layout(network).vectors(observed.tangent.stretch))
    g, h = said(none, own), states()
    g[-1] = 0.0
    q = Layout(network).flat(observed.direct(), h[1:])
    deltas = Layout(network).back(observed.tangent, q + g[1:]) - g[:-1]
    rho = np.exp(-1 / p)
    K = [n * rho**n for n in range(T + d + 400)]
    K = [k / sum(K) for k in K]
    A = torch.zeros(SIZE, phi.shape[-1], dtype=torch.float64)
    for t in range(T):
        for s in range(T):
            if t + d >= s:
                A += K[t + d - s] * deltas[t].T @ phi[s]
    expected = (A / BATCH)[None]  # Δ of A; of w it is the opposite, and optimisers descend
    found = outcome(late, own).own["predictor.purkinje.w"]
    assert off({"w": found[:1]}, {"w": expected}) < 1e-10 and off({"w": found[1:]}, {"w": -expected}) < 1e-10


# -- signs, masks, thresholds --------------------------------------------------------------------------------------------------------


def learner(options: dict[str, Any], updates: int = 30, seed: int = 0, **more: Any) -> bp.Trainer:
    task = bp.task("delayed_match")
    circuit = bp.circuit("recurrent", cell="leaky_rate", inputs=task.inputs, units=8, outputs=task.outputs)
    training = {"updates": updates, "batch": 4, "lr": 1e-3, "predictor_lr": 0.05, "dtype": "float64"} | more
    return bp.Trainer(circuit, task, rule(options), bp.Training(**training), seed=seed)


@pytest.mark.parametrize("apply", ["sequence", "window"])
def test_signs_and_masks_hold_at_every_update(apply, monkeypatch):
    options = SMALL | {"reach": 0.4}
    trainer = learner(options, apply=apply)
    theta = trainer.own["predictor"]
    cells = theta["purkinje.w"].shape[-1]
    there = theta["purkinje.mask"].clone()
    assert bool((there.sum(-1) == max(round(0.4 * cells), 1)).all())
    before = {name: theta[name].clone() for name in ("purkinje.w", "interneuron.v")}
    for _ in range(12):
        trainer.update()
        for name in before:
            assert bool((theta[name] >= 0).all()) and not theta[name][there == 0].any()
    moved = [bool((theta[name] != before[name]).any()) for name in before]
    assert all(moved) and all(bool((theta[name] == 0)[there == 1].any()) for name in before)  # some were held at 0
    monkeypatch.setattr(Zones, "hold", lambda self, theta: None)
    free = learner(options, apply=apply)
    for _ in range(12):
        free.update()
    assert any(bool((free.own["predictor"][name] < 0).any()) for name in before)


def test_granule_cells_hear_exactly_so_many_fibres_each_about_as_often():
    for fan_in in (1, 4, 7):
        M = drawn(rule({"fan_in": fan_in, "expansion": 5}))["predictor"]["granule.wiring"]
        assert bool(((M > 0).sum(1) == fan_in).all()) and torch.allclose(M.sum(1), torch.ones(len(M)).double())
        often = (M > 0).sum(0)
        assert int(often.max() - often.min()) <= -(-M.shape[0] * fan_in // M.shape[1])


def test_thresholds_bring_every_granule_cell_to_its_fraction():
    """Of steps, 0.3, whatever it was before; and Golgi cells that are silenced change nothing."""
    g, chosen = bp.predictor("granule", active=0.3, expansion=2), rule({"active": 0.3, "expansion": 2})
    for silenced in (False, True):
        theta = chosen.begin(cortex(), batch(), 0)["predictor"]
        cut = (Lesion("golgi", None, None),) if silenced else ()

        def active(seed: int, theta: Any = theta, cut: Any = cut) -> tuple[np.ndarray, torch.Tensor]:
            h = normal(20, 40, SIZE, seed=seed)
            phi, memory = g.relay(theta, g.start(Trial(SIZE, SIZE, 1e-3, lesions=cut)), h)
            return (phi > 0).double().mean((0, 1)).numpy(), g.aside(theta, memory)["golgi.threshold"] / 800

        born = active(0)[0]
        for seed in range(200):
            theta["golgi.threshold"].sub_(0.1 * active(seed)[1])
        assert np.abs(born - 0.3).min() > 0.3
        if silenced:
            assert not theta["golgi.threshold"].any()
        else:
            assert np.abs(active(300)[0] - 0.3).max() < 0.06  # of 800 correlated draws, s.e.m. 0.016


def test_parts_have_rates_of_their_own():
    lr = {"default": 1e-3, "cerebellum": 1e-2, "cerebellum.nuclei": 0.0, "predictor.golgi": 0.5}
    trainer = learner(SMALL | {"active": 0.2, "plastic_nuclei": True}, lr=lr, predictor_lr=None)
    rates = trainer.optimisers.rates
    assert [rates[f"predictor.{n}"] for n in ("purkinje.w", "interneuron.v", "nuclei.b", "golgi.threshold")] == [1e-2, 1e-2, 0.0, 0.5]  # fmt: skip
    assert rates["W_rec"] == 1e-3
    with pytest.raises(RunError, match=r"cerebellum\.golg.*cerebellum\.golgi"):
        learner(SMALL | {"active": 0.2}, lr={"cerebellum.golg": 1e-2}, predictor_lr=None)


@pytest.mark.parametrize(
    "teaching", [{}, {"teaching": "events", "probability": 0.1}, {"teaching": "perturb", "probability": 0.1}]
)
def test_a_learner_that_is_interrupted_goes_on_bit_for_bit(teaching):
    whole, first, second = (learner(ON | teaching) for _ in range(3))
    rows = [whole.update() for _ in range(6)]
    for _ in range(3):
        first.update()
    second.load_state_dict(first.state_dict())
    again = [second.update() for _ in range(3)]
    for row, other in zip(rows[3:], again, strict=True):
        assert {k: v for k, v in row.items() if k != "seconds"} == {k: v for k, v in other.items() if k != "seconds"}
    for name, value in whole.own["predictor"].learned.items():
        assert bool((value == second.own["predictor"][name]).all()) and bool(value.any())


# -- what is refused -----------------------------------------------------------------------------------------------------------------


def served(options: dict[str, Any], cell: Any = "leaky_rate", name: str = "bp_lambda", **how: Any) -> None:
    chosen = bp.rule(name, predictor=bp.predictor("granule", **options), **how)
    gradient(cortex() if cell == "leaky_rate" else cell, chosen, batch())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: served({"tonic": 1.0}, trace="kronecker"), "kronecker.*last layer.*tonic=None"),
        (lambda: served({"tonic": 1.0}, trace="bump"), "bump.*tonic=None"),
        (lambda: served({"delay_back": 3}), "delay_back.*trace='bump'"),
        (lambda: served({"peak": 3}, trace="local"), "trace='bump'"),
        (lambda: served({"delay_back": 3}, trace="kronecker"), "trace='bump'"),
        (lambda: served({"delay_back": 3}, name="dni"), "trace='bump'"),
        (lambda: served({}, trace="bump", lmbda=0.5), "lmbda"),
        (lambda: served({"fan_in": 50}), "fan_in=50.*20"),
        (lambda: served({"fibres": 3}), "fibres=3.*teaching"),
        (lambda: served({"size": 0.1, "teaching": "events"}), "size.*perturb"),
        (lambda: served({"teaching": "events", "rate": 1, "probability": 0.1}), "twice"),
        (lambda: served({"teaching": "events", "probability": 0.3}), "more than 1"),
        (lambda: served({"teaching": "perturb", "rate": 1000}), "probability 1 in a step.*no step without"),
        (lambda: served({"rectify": False}), "active=None"),
        (
            lambda: bp.predictor("areas", of="granule"),
            "areas can't be made of 'granule'.*predictor='granule' itself.*of='linear'",
        ),
        (lambda: served({"active": 1.5}), "active of a granule predictor is 1.5"),
        (lambda: served({"delay_in": 1.5 * ms}), "delay_in is 1.5 ms.*whole number"),
        (lambda: served({"delay_in": -1}), "delay_in"),
        (lambda: served({"fibre": 1}), "no option 'fibre'.*fibres"),
        (lambda: bp.record(cortex(), "bp_lambda", batch(), "cerebellum.granule"), "no predictor with parts"),
        (lambda: bp.record(cortex(), rule({}), batch(), "cerebellum.granul"), "granule"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(make, words):
    with pytest.raises(bp.errors.BioplausError, match=words) as error:
        make()
    paragraph(error)
