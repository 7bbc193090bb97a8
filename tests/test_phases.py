"""A training in phases, and weights with which one begins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from perturb_helpers import Pattern, after, learner, pair, same

import bioplaus as bp
from bioplaus import Arm, Perturb, Phase
from bioplaus.errors import BioplausError, RunError
from bioplaus.learning.phased import Phased
from bioplaus.learning.trainer import Trainer

RULE = bp.rule("eprop", feedback="random")


class Other(Pattern):
    """The same with other trials."""

    steps = 20


PHASES = [
    Phase(2),
    Phase(3, perturb=[Perturb("E[0:4]", "silence", updates=range(1, 3)), Perturb("E", "noise", value=0.2)]),
    Phase(2, rule="bptt", lr=1e-3),
    Phase(2, task=Other(), perturb=Perturb("W_EE", "freeze")),
]


def phased(phases: Any = PHASES, rule: Any = RULE, **more: Any) -> Phased:
    return Phased(pair("alif"), Pattern(), rule, bp.Training(**{"batch": 4, "lr": 1e-2} | more), phases, seed=3)


def rows(some: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "phase"} for row in some]


@pytest.mark.parametrize("optimiser", ["adam", pytest.param("adam_tf", marks=pytest.mark.slow)])
def test_phases_that_say_nothing_are_one_training(optimiser: str) -> None:
    """Weights, optimisers, streams of the task and of the rule, feedback: all go on."""
    for rule in (bp.rule("eprop", feedback="adaptive"), bp.rule("uoro")):
        whole, parts = (
            learner(rule=rule, updates=5, optimiser=optimiser),
            phased([Phase(2), Phase(1), Phase(2)], rule, optimiser=optimiser),
        )
        told = after(parts, 5)
        assert [row["phase"] for row in told] == [0, 0, 1, 2, 2]
        assert rows(told) == after(whole, 5) and same(whole, parts.trainer)
        assert parts.evaluate().keys() == whole.evaluate().keys() and parts.evaluate() == whole.evaluate()


def test_a_phase_does_what_it_says_and_counts_from_its_first_update() -> None:
    one = phased()
    after(one, 2)
    by_hand = learner(
        [Perturb("E[0:4]", "silence", updates=range(3, 5)), Perturb("E", "noise", value=0.2, updates=slice(2, None))],
        RULE,
        updates=9,
    )
    told = after(by_hand, 5)
    assert rows(after(one, 3)) == told[2:] and same(by_hand, one.trainer)
    assert one.trainer.rule.name != "bptt"
    after(one, 1)
    assert one.trainer.rule.name == "bptt" and one.trainer.training.lr == 1e-3 and one.number == 2
    after(one, 1)
    before = one.network.weights["W_EE"].clone()
    after(one, 2)
    assert (
        isinstance(one.trainer.task, Other)
        and torch.equal(one.network.weights["W_EE"], before)
        and one.update_index == 9
    )


def test_a_rule_goes_on_where_it_is_the_same_and_begins_anew_where_not() -> None:
    one = phased(
        [Phase(2), Phase(1, rule="bptt"), Phase(1, rule=bp.rule("eprop", feedback="adaptive"))],
        bp.rule("eprop", feedback="adaptive"),
    )
    after(one, 2)
    B = one.own["feedback"]["B"].clone()
    after(one, 1)
    assert one.own == {}
    after(one, 1)
    assert one.own["feedback"]["B"].shape == B.shape and not torch.equal(one.own["feedback"]["B"], B)


@pytest.mark.parametrize("at", [4, pytest.param(2, marks=pytest.mark.slow)])
def test_phases_go_on_bit_for_bit(at: int) -> None:
    """Cut inside a phase, at its end, and while somebody interferes."""
    whole, first, then = phased(), phased(), phased()
    told, begun = after(whole, 9), after(first, at)
    then.load_state_dict(first.state_dict())
    assert [*begun, *after(then, 9 - at)] == told and same(whole.trainer, then.trainer)


def test_a_run_of_phases_that_was_interrupted_ends_as_if_it_had_not_been(tmp_path: Any) -> None:
    def train(folder: str, **more: Any) -> bp.runs.Run:
        given = {"phases": PHASES, "batch": 4, "lr": 1e-2, "evaluate_every": 3, "threads": 1}
        return bp.train(pair("alif"), Pattern(), RULE, seed=3, folder=tmp_path / folder, **given | more)

    def stop(event: Any) -> None:
        if event.kind == "update" and event.update == 4:  # silenced, in the middle of a phase
            raise ZeroDivisionError

    whole = train("whole")
    assert whole.config["training"]["updates"] == 9 and [p["updates"] for p in whole.config["phases"]] == [2, 3, 2, 2]
    assert whole.config["phases"][1]["perturb"][0] == {"path": "E[0:4]", "kind": "silence", "updates": "1:3"}
    with pytest.raises(ZeroDivisionError):
        train("parts", progress=stop)
    parts = train("parts")
    assert parts.record["timing"]["sittings"] == 2 and parts.done and parts.record["updates"] == 9
    assert whole.metrics.drop(columns="seconds").equals(parts.metrics.drop(columns="seconds"))
    assert all(torch.equal(parts.weights[n], w) for n, w in whole.weights.items()) and whole.recordings.identical(
        parts.recordings
    )
    with pytest.raises(RunError, match="another configuration: phases"):
        train("whole", phases=PHASES[:3])
    # and a training that begins where it ended
    again = Trainer(
        pair("alif"),
        Pattern(),
        RULE,
        seed=3,
        initial=Arm(pair("alif"), Pattern(), RULE, bp.Training(), initial=whole).initial,
    )
    assert all(torch.equal(again.network.weights[n], w) for n, w in whole.weights.items())
    described = Arm(pair("alif"), Pattern(), RULE, bp.Training(), initial=tmp_path / "whole").describe(3)
    assert described["initial"].keys() == whole.weights.keys()
    with pytest.raises(BioplausError, match="Another seed has its synapses elsewhere"):
        Trainer(pair("alif"), Pattern(), RULE, seed=4, initial={n: w for n, w in whole.weights.items() if n == "W_EE"})


def test_weights_are_given_by_name() -> None:
    W = np.full((2, 8), 0.25)
    one, plain = (Trainer(pair("alif"), Pattern(), RULE, seed=3, initial=some) for some in ({"W_out": W}, None))
    assert (one.network.weights["W_out"] == 0.25).all() and torch.equal(
        one.network.weights["W_EE"], plain.network.weights["W_EE"]
    )
    arm = Arm(pair("alif"), Pattern(), RULE, bp.Training(), initial={"W_out": torch.tensor(W)})
    assert arm.describe(0)["initial"]["W_out"] == W.tolist() and (arm.begin(3).network.weights["W_out"] == 0.25).all()
    assert "initial" not in Arm(pair("alif"), Pattern(), RULE, bp.Training()).describe(0) and arm.describe(0) != Arm(
        pair("alif"), Pattern(), RULE, bp.Training()
    ).describe(0)
    begun = Arm(pair("alif"), Pattern(), RULE, bp.Training(), PHASES, {"W_out": W}).begin(3)
    assert isinstance(begun, Phased) and (begun.network.weights["W_out"] == 0.25).all()


def arm(phases: Any = PHASES, initial: Any = None, **training: Any) -> Any:
    return Arm(pair("alif"), Pattern(), RULE, bp.Training(**training), phases, initial)


BAD: list[tuple[Any, str]] = [
    (lambda: Phase(0), "updates of Phase is 0"),
    (lambda: Phase(3, lr=-1), "lr of Phase is -1"),
    (lambda: Phase(3, rule=3), "rule of Phase is 3; it must be bp.rule"),
    (lambda: Phase(3, task=3), "task of Phase is 3; it must be bp.task"),
    (lambda: Phase(3, perturb="E"), "perturb of Phase is 'E'"),
    (lambda: Phase(3, perturb=Perturb("E", "silence", updates=range(3, 5))), "begins with update 3, and the phase has 3"),
    (lambda: arm(3), r"phases of an arm is 3; it must be a list of bp.Phase\(updates, …\)"),
    (lambda: arm([3]), "phases of an arm"),
    (lambda: arm(PHASES, updates=7), r"The phases have 9 updates \(2 \+ 3 \+ 2 \+ 2\), and updates=7 was given"),
    (lambda: arm(PHASES, perturb=Perturb("E", "silence")), "each phase says itself who interferes"),
    (lambda: arm([Phase(1, rule="epropp")]), "There is no rule 'epropp'"),
    (lambda: arm([Phase(2), Phase(1, perturb=Perturb("X", "silence"))]).begin(0), "There is no population 'X'"),
    (lambda: arm([Phase(2), Phase(1, task="delayed_match")]).begin(0), "inputs and .* outputs, but the circuit was built for"),
    (lambda: arm([Phase(2), Phase(1, lr={"W_XY": 1})]).begin(0), "gives a rate to 'W_XY'"),
    (lambda: arm(initial=3), "initial is 3; it must be weights by name"),
    (lambda: arm(initial={}), "initial is {}; it must be weights by name"),
    (lambda: arm(initial="nowhere/at/all"), "not the folder of a run|There is no"),
    (lambda: arm(initial={"W_XY": [1.0]}).begin(0), "There is no weight 'W_XY'"),
    (lambda: arm(initial={"W_out": np.ones((3, 3))}).begin(0), r"has shape \(3, 3\), expected \(2, 8\)"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(BAD)))
def test_what_makes_no_sense_is_refused_before_anything_begins(number: int) -> None:
    make, words = BAD[number]
    with pytest.raises(BioplausError, match=words) as raised:
        make()
    assert "\n" not in str(raised.value)


def test_a_run_that_is_not_finished_is_no_beginning(tmp_path: Any) -> None:
    def stop(event: Any) -> None:
        if event.kind == "update" and event.update == 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        bp.train(pair("alif"), Pattern(), RULE, seed=3, folder=tmp_path / "run", updates=3, batch=2, progress=stop)
    with pytest.raises(RunError, match="which is interrupted.*Run.load"):
        arm(initial=tmp_path / "run")
