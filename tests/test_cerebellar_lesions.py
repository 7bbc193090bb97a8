"""Lesions of the cerebellum: any part, at any step or update; what the cortex learns without it is what it learns with injection 0."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cerebellum_helpers import BATCH, ON, SCHEDULES, T, batch, cortex, drawn, outcome, rule, said, under
from rule_helpers import paragraph, same

import bioplaus as bp
from bioplaus import Perturb, ms
from bioplaus.circuit.perturbed import perturbed
from bioplaus.errors import BioplausError
from bioplaus.learning.phased import Phased

TIGHT = 1e-12
PARTS = ("pons", "granule", "golgi", "purkinje", "interneuron", "nuclei", "olive")
HOW: dict[str, dict[str, Any]] = {
    "exact": {"lmbda": 0.6},
    "local": {"trace": "local"},
    "kronecker": {"trace": "kronecker"},
}


def lesioned(*perturbs: Perturb) -> Any:
    return perturbed(cortex(), list(perturbs))


def recorded(chosen: Any, own: Any, *perturbs: Perturb, names: Any = PARTS) -> Any:
    return bp.record(cortex(), chosen, batch(), [f"cerebellum.{n}" for n in names], own=own, perturb=list(perturbs))


# -- all of it -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("options", [None, ON, ON | {"teaching": "events", "probability": 0.1}])
@pytest.mark.parametrize("path", ["cerebellum", "cerebellum.nuclei"])
def test_a_cortex_without_its_cerebellum_learns_as_with_injection_0(path, options, how):
    if options is None and path != "cerebellum":
        pytest.skip("a linear predictor has no parts")
    chosen, none = rule(options, **HOW[how]), rule(options, injection=0.0, **HOW[how])
    own = drawn(chosen)
    for schedule in SCHEDULES:
        there = outcome(under(chosen, schedule), own)
        mine = outcome(under(chosen, schedule), own, lesioned(Perturb(path, "silence")))
        its = outcome(under(none, schedule), own)
        same(mine.gradients, its.gradients, TIGHT)
        assert any(not torch.allclose(there.gradients[n], g, rtol=1e-3) for n, g in its.gradients.items())
        if path == "cerebellum":  # gone: nothing in it learns by errors
            assert not any(v.any() for n, v in mine.own.items() if "golgi" not in n)


def test_so_it_is_for_synthetic_gradients_over_windows():
    for steps in (1, 3):
        chosen, none = (
            bp.rule("dni", steps=steps, predictor=bp.predictor("granule", **ON), injection=s) for s in (1.0, 0.0)
        )
        own = drawn(chosen)
        mine = outcome(chosen, own, lesioned(Perturb("cerebellum", "silence")))
        same(mine.gradients, outcome(none, own).gradients, TIGHT)
        assert (
            any(bool(v.any()) for v in outcome(none, own).own.values()) and not mine.own["predictor.purkinje.w"].any()
        )


def test_in_some_steps_of_a_trial_it_says_nothing_and_before_it_is_as_it_was():
    chosen = rule(ON)
    own = drawn(chosen)
    whole, cut = said(chosen, own), said(chosen, own, lesioned(Perturb("cerebellum", "silence", steps=range(3, 7))))
    # g at h_{t+1} is what is said after step t, counted from 0
    assert not cut[4:8].any()
    same({"before": cut[:4], "after": cut[8:]}, {"before": whole[:4], "after": whole[8:]}, TIGHT)
    assert bool(whole[4:8].any())


# -- its parts -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_silent_in_these_steps_and_others_before_are_as_they_were(part):
    chosen = rule(ON | {"teaching": "events", "probability": 0.15, "fibres": 4, "scale": 1.0})
    own = drawn(chosen)
    whole = recorded(chosen, own)
    one = int(whole[f"cerebellum.{part}"].values[4:7].sum((0, 1)).argmax())
    for units in ("", f"[{one}]"):
        cut = recorded(chosen, own, Perturb(f"cerebellum.{part}{units}", "silence", steps=range(4, 7)))
        mine, its = cut[f"cerebellum.{part}"].values, whole[f"cerebellum.{part}"].values
        where = slice(one, one + 1) if units else slice(None)
        assert not mine[4:7, :, where].any() and its[4:7, :, where].any()
        for name in PARTS:
            assert (cut[f"cerebellum.{name}"].values[:4] == whole[f"cerebellum.{name}"].values[:4]).all()
    order = {"pons": "granule", "granule": "purkinje", "golgi": "granule", "purkinje": "nuclei", "interneuron": "purkinje", "nuclei": "nuclei"}  # fmt: skip
    if part in order:
        cut = recorded(chosen, own, Perturb(f"cerebellum.{part}", "silence"))
        below = f"cerebellum.{order[part]}"
        assert (cut[below].values != whole[below].values).any()


def test_without_purkinje_cells_nuclei_are_at_their_tonic_rate_and_without_interneurons_there_is_no_v():
    chosen = rule(ON)
    own = drawn(chosen)
    b = own["predictor"]["nuclei.b"]
    g = said(chosen, own, lesioned(Perturb("cerebellum.purkinje", "silence")))
    assert torch.allclose(g, (b[0] - b[1]).expand_as(g), rtol=0, atol=1e-15)
    v = own["predictor"]["interneuron.v"].clone()
    mine = said(chosen, own, lesioned(Perturb("cerebellum.interneuron", "silence")))
    own["predictor"]["interneuron.v"].zero_()
    assert torch.allclose(mine, said(chosen, own), rtol=0, atol=1e-14) and bool(v.any())


def test_without_golgi_cells_granule_cells_have_neither_threshold_nor_gain_control():
    chosen, none = rule(ON), rule(ON | {"active": None, "subtractive": 0, "divisive": 0})
    own = drawn(chosen)
    mine = said(chosen, own, lesioned(Perturb("cerebellum.golgi", "silence")))
    assert bool((mine == said(none, own)).all()) and bool((mine != said(chosen, own)).any())


def test_without_an_olive_purkinje_cells_do_not_learn_and_say_what_they_said():
    chosen = rule(ON)
    own = drawn(chosen)
    whole, cut = outcome(chosen, own), outcome(chosen, own, lesioned(Perturb("cerebellum.olive", "silence")))
    same(cut.gradients, whole.gradients, TIGHT)
    for name in ("purkinje.w", "interneuron.v", "nuclei.b"):
        assert not cut.own[f"predictor.{name}"].any() and bool(whole.own[f"predictor.{name}"].any())
    assert bool(cut.own["predictor.golgi.threshold"].any())


@pytest.mark.parametrize(
    ("path", "option", "how"),
    [("pons", "delay_in", {}), ("nuclei", "delay_out", {}), ("olive", "delay_back", {"trace": "bump"})],
)
def test_a_way_takes_longer_under_a_delay(path, option, how):
    options = ON | {"delay_back": 1, "peak": 2} if how else ON
    chosen = rule(options, **how)
    own = drawn(chosen)
    mine = outcome(chosen, own, lesioned(Perturb(f"cerebellum.{path}", "delay", value=4)))
    its = outcome(rule(options | {option: 4}, **how), own)
    same(mine.own, its.own)
    same(mine.gradients, its.gradients)
    assert not torch.allclose(outcome(chosen, own).own["predictor.purkinje.w"], its.own["predictor.purkinje.w"])
    in_time = lesioned(Perturb(f"cerebellum.{path}", "delay", value=4 * cortex().circuit.dt * 1e3 * ms))
    same(outcome(chosen, own, in_time).own, its.own)


def test_under_a_later_error_the_synapses_trace_is_as_it_was():
    """It is highest when errors came, also where that was not said, and does not know that they come later now."""
    bump = lambda **more: rule(ON | more, trace="bump")  # noqa: E731
    chosen = bump(delay_back=2)
    own = drawn(chosen)
    mine = outcome(chosen, own, lesioned(Perturb("cerebellum.olive", "delay", value=5))).own
    same(mine, outcome(bump(delay_back=5, peak=2), own).own)
    moved = outcome(bump(delay_back=5), own).own
    same(moved, outcome(bump(delay_back=5, peak=5), own).own)
    assert not torch.allclose(mine["predictor.purkinje.w"], moved["predictor.purkinje.w"])


# -- while it learns ---------------------------------------------------------------------------------------------------------------


def circuit_and_task() -> tuple[Any, Any]:
    task = bp.task("delayed_match")
    return bp.circuit("recurrent", cell="leaky_rate", inputs=task.inputs, units=8, outputs=task.outputs), task


def learner(perturb: Any = (), chosen: Any = None, **more: Any) -> bp.Trainer:
    circuit, task = circuit_and_task()
    training = {"updates": 10, "batch": 4, "lr": 1e-2, "dtype": "float64", "perturb": perturb} | more
    return bp.Trainer(
        circuit, task, chosen or rule(ON | {"teaching": "events", "probability": 0.1}), bp.Training(**training), seed=3
    )


def after(trainer: Any, updates: int = 10) -> dict[str, torch.Tensor]:
    for _ in range(updates):
        trainer.update()
    own = {f"predictor.{n}": v for n, v in trainer.own["predictor"].learned.items()}
    return {n: v.clone() for n, v in {**trainer.network.weights, **own}.items()}


def test_until_a_lesion_all_is_as_without_and_the_cortex_then_learns_as_with_injection_0():
    """Its optimiser is untouched: remembered moments and all, whatever clip= the predictor's gradients would need."""
    cut = Perturb("cerebellum", "silence", updates=slice(4, None))
    a, b = learner(cut, clip=0.01), learner(clip=0.01)
    assert all(
        bool((v == after_b).all()) for v, after_b in zip(after(a, 4).values(), after(b, 4).values(), strict=True)
    )
    none = learner(clip=0.01, chosen=rule(ON | {"teaching": "events", "probability": 0.1}, injection=0.0))
    none.load_state_dict(b.state_dict())
    mine, its = after(a, 6), after(none, 6)
    same({n: mine[n] for n in a.network.weights}, {n: its[n] for n in a.network.weights}, TIGHT)
    assert any(bool((mine[n] != v).any()) for n, v in after(b, 6).items() if n in a.network.weights)


@pytest.mark.parametrize("path", ["cerebellum.purkinje", "predictor.interneuron", "cerebellum.golgi", "cerebellum"])
def test_what_is_frozen_stays_and_the_rest_learns(path):
    trainer = learner(Perturb(path, "freeze"))
    before = {f"predictor.{n}": v.clone() for n, v in trainer.own["predictor"].learned.items()}
    found = after(trainer, 4)
    part = path.replace("cerebellum", "predictor")
    for name, value in before.items():
        still = name.startswith(part)
        assert bool((found[name] == value).all()) == still, name


def test_phases_lesion_and_mend():
    circuit, task = circuit_and_task()
    cut = Perturb("cerebellum.purkinje", "silence", steps=range(3, 9))
    phases = [bp.Phase(3), bp.Phase(3, perturb=[cut, Perturb("cerebellum.nuclei", "freeze")]), bp.Phase(2)]
    training = bp.Training(batch=4, lr=1e-2, dtype="float64")
    whole = Phased(circuit, task, rule(ON), training, phases, seed=1)
    for _ in range(3):
        whole.update()
    b = whole.own["predictor"]["nuclei.b"].clone()
    for _ in range(3):
        whole.update()
    assert bool((whole.own["predictor"]["nuclei.b"] == b).all()) and whole.trainer.acting.cerebellar == (cut,)
    whole.update()
    assert whole.trainer.acting.cerebellar == () and bool((whole.own["predictor"]["nuclei.b"] != b).any())


@pytest.mark.parametrize("interrupted", [3, 5, 8])
def test_a_run_that_is_interrupted_around_a_lesion_goes_on_bit_for_bit(interrupted):
    perturb = [
        Perturb("cerebellum", "silence", updates=range(5, 7)),
        Perturb("cerebellum.golgi", "silence", updates=slice(4, None), steps=range(2, 5)),
    ]
    whole, first, second = (learner(perturb) for _ in range(3))
    expected = after(whole)
    after(first, interrupted)
    second.load_state_dict(first.state_dict())
    found = after(second, 10 - interrupted)
    assert all(bool((found[n] == v).all()) for n, v in expected.items())
    assert any(bool((v != w).any()) for v, w in zip(expected.values(), after(learner()).values(), strict=True))


# -- what can't be done --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: learner(Perturb("cerebellum.golgy", "silence")), "golgy.*golgi"),
        (lambda: learner(Perturb("cerebellum.purkinje[99]", "silence")), "unit 99.*from 0 to"),
        (lambda: learner(Perturb("cerebellum[3]", "silence")), "units of the whole"),
        (lambda: learner(Perturb("cerebellum.granule.v", "silence")), "leads nowhere"),
        (lambda: learner(Perturb("cerebellum.granule", "drive", value=1.0)), "silence, delay and freeze"),
        (lambda: learner(Perturb("cerebellum.granule", "delay", value=3)), "pons or nuclei or olive"),
        (lambda: learner(Perturb("cerebellum.pons", "delay", value=2.5)), "neither steps nor a time"),
        (lambda: learner(Perturb("cerebellum.olive", "delay", value=3)), "trace='bump'"),
        (lambda: learner(Perturb("cerebellum.olive", "freeze")), "Nothing of that name learns here"),
        (lambda: learner(Perturb("cerebellum.golgi", "silence"), rule(None)), "golgi.*leads nowhere.*no parts.*'granule'"),
        (lambda: learner(Perturb("cerebellum", "silence"), bp.rule("eprop")), "this rule has none"),
        (lambda: bp.simulate(cortex(), batch().inputs, "rate", perturb=Perturb("cerebellum", "silence")), "runs by itself"),
        (lambda: bp.gradient(cortex(), rule(ON), batch(), perturb=Perturb("cerebellum", "silence", steps=range(T, T + 2))), "never act"),
    ],
)  # fmt: skip
def test_what_can_not_be_done_is_refused(make, words):
    with pytest.raises(BioplausError, match=words) as error:
        make()
    assert ".." not in paragraph(error)


def test_recordings_and_gradients_take_lesions_too():
    found = bp.gradient(cortex(), rule(ON), batch(), perturb=Perturb("cerebellum", "silence"))
    same(found, bp.gradient(cortex(), rule(ON, injection=0.0), batch()), TIGHT)
    seen = bp.record(cortex(), rule(ON), batch(), "prediction", own=drawn(rule(ON)), perturb=Perturb("cerebellum", "silence", steps=range(2, 5)))  # fmt: skip
    name = next(iter(n for n in map(str, seen.data_vars) if "prediction" in n))
    assert not seen[name][2:5].any() and bool(seen[name][6].any()) and seen[name].shape[:2] == (T, BATCH)


def test_mossy_fibres_of_the_context_can_be_lesioned_and_those_beyond_can_not():
    """The pons has as many fibres as the state and the context together ask for, which is known when a batch has been seen."""
    task = bp.task("volley", steps=2)
    circuit = bp.circuit("hierarchy", inputs=task.inputs, units=(4, 4), outputs=task.outputs)
    told = bp.rule("bp_lambda", predictor=bp.predictor("granule", expansion=2, active=None), context=True)
    fibres = 2 * (8 + 10)  # on and off of 8 neurons and 10 labels

    def begun(path: str) -> bp.Trainer:
        cut = Perturb(path, "silence")
        return bp.Trainer(circuit, task, told, bp.Training(updates=2, batch=3, dtype="float64", perturb=cut), seed=1)

    whole = bp.Trainer(circuit, task, told, bp.Training(updates=2, batch=3, dtype="float64"), seed=1)
    label = fibres // 2 - 10 + 3  # the fibre that is on for label 3
    seen = whole.record(["cerebellum.pons", "cerebellum.granule"])
    assert seen["cerebellum.pons"].shape[2] == fibres and seen["cerebellum.granule"].shape[2] == 2 * fibres
    assert bool(seen["cerebellum.pons"].values[..., label].any())
    cut = begun(f"cerebellum.pons[{label}]").record({"cerebellum.pons": [label, label + 1]})["cerebellum.pons"].values
    assert not cut[..., 0].any() and (cut[..., 1] == seen["cerebellum.pons"].values[..., label + 1]).all()
    last = begun(f"cerebellum.granule[{2 * fibres - 1}]")
    assert not last.record("cerebellum.granule")["cerebellum.granule"].values[..., -1].any()
    asked = task.batch(bp.stream(0, "page"), 3).to("cpu", torch.float64)
    for path, size in ((f"cerebellum.pons[{fibres}]", fibres), (f"cerebellum.granule[{2 * fibres}]", 2 * fibres)):
        for make in (begun, lambda p: bp.gradient(circuit, told, asked, perturb=Perturb(p, "silence")), lambda p: bp.record(circuit, told, asked, "prediction", perturb=Perturb(p, "silence"))):  # fmt: skip
            with pytest.raises(BioplausError, match=f"from 0 to {size - 1}") as error:
                make(path)
            paragraph(error)


def test_more_fibres_to_a_granule_cell_than_the_state_alone_has_are_no_fault_where_the_context_has_them():
    task = bp.task("volley", steps=1)
    circuit = bp.circuit("hierarchy", inputs=task.inputs, units=(3,), outputs=task.outputs)
    for fan_in, context in ((12, True), (12, False), (99, True)):
        wide = bp.predictor("granule", fan_in=fan_in, pairs=False, active=None)
        rule_ = bp.rule("bp_lambda", predictor=wide, context=context)
        if fan_in == 12 and context:
            assert (drawn_wiring(bp.Trainer(circuit, task, rule_, bp.Training(updates=1, batch=2))) == 12).all()
        else:
            with pytest.raises(BioplausError, match=f"fan_in={fan_in}") as error:
                bp.Trainer(circuit, task, rule_, bp.Training(updates=1, batch=2))
            paragraph(error)


def drawn_wiring(trainer: bp.Trainer) -> torch.Tensor:
    """How many fibres each granule cell hears."""
    return (trainer.own["predictor"]["granule.wiring"] > 0).sum(1)
