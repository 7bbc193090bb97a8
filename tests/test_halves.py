"""Halves of a rule that keep the contract in form and not in substance are refused by name; plain ones of one's own are told apart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch

import bioplaus as bp
from bioplaus import Trainer, Training
from bioplaus.declaration import Declaration
from bioplaus.eligibility import EProp
from bioplaus.own import Own, Owns
from bioplaus.signal import Instant, Observed, Signal


class Told(Signal):
    """A signal of one's own, a plain class: what it answers and begins with is said from outside."""

    declaration: ClassVar[Declaration] = replace(Instant.declaration, keeps="what it is told")

    def __init__(self, answer: Any = None, parts: Any = None) -> None:
        self.answer, self.parts = answer, parts

    def begin(self, network: bp.Network, generator: torch.Generator, context: int) -> Any:
        return self.parts() if self.parts else {}

    def credit(self, own: Owns, state: Any, observed: Observed) -> Any:
        plain = (observed.direct(), {}, None, {})
        return self.answer(plain) if self.answer else plain


def told(answer: Any = None, parts: Any = None) -> Trainer:
    task = bp.task("target_reaching", steps=4)
    circuit = bp.circuit("recurrent", cell=bp.model("elman"), inputs=10, units=4, outputs=2)
    return Trainer(circuit, task, bp.Rule(EProp(), Told(answer, parts), name="told"), Training(batch=2))


def some_B() -> dict[str, Own]:
    return {"feedback": Own(learned={"B": torch.ones(2, 4)})}


@pytest.mark.parametrize(
    ("answer", "parts", "said"),
    [
        (lambda a: (a[0], {"B": torch.ones(2, 4)}, None, {}), some_B, "gradient for 'B'.*feedback.B.*by path"),
        (lambda a: (a[0], {"feedback.B": torch.ones(1)}, None, {}), None, "gradient for 'feedback.B'.*is nothing"),
        (lambda a: a[:3], None, "answers four things.*tuple"),
        (lambda a: (a[0], None, None, {}), None, "answers four things"),
        (lambda a: (a[0].y[0], {}, None, {}), None, "declares direct credit, which is a Credit.*gave a tuple"),
        (lambda a: (*a[:3], {"loss": 1.0}), None, "reports 'loss'.*another"),
        (None, lambda: {"B": torch.ones(2)}, r"begin\(\) of Told answers \{part: Own"),
    ],
)
def test_an_answer_of_another_form_is_refused_by_name(answer, parts, said):
    with pytest.raises(bp.errors.RuleError, match=said) as error:
        told(answer, parts).update()
    assert "\n" not in str(error.value)


def test_a_part_belongs_to_one_half():
    @dataclass(frozen=True)
    class Fed(EProp):
        def begin(self, network: bp.Network, generator: torch.Generator) -> Owns:
            return some_B()

    network = told().network
    rule = bp.Rule(Fed(), Told(parts=some_B), name="both")
    with pytest.raises(bp.errors.RuleError, match="Both halves of the rule 'both'.*'feedback'"):
        rule.begin(network, bp.task("target_reaching", steps=4).batch(bp.stream(0, "b"), 2), 0)


def test_what_a_signal_reports_now_and_then_is_averaged_over_those_times():
    reports = iter([{}, {"now": 1.0, "ever": 2.0}, {"now": 5.0}, {}])
    trainer = told(lambda a: (*a[:3], next(reports)))
    row = trainer.update()  # online: asked four times
    assert row["now"] == 3.0 and row["ever"] == 2.0


def test_a_half_declares_the_side_it_is_given_for():
    with pytest.raises(bp.errors.RuleError, match="Told declares half='past', where the signal is the future half"):
        wrong = Told()
        wrong.declaration = EProp.declaration  # type: ignore[misc]
        bp.Rule(EProp(), wrong)


def test_two_plain_objects_of_one_class_are_told_apart():
    """A run is recognised by what a half says of itself; what it was made with is part of that."""

    class Scaled(Told):
        def __init__(self, scale: float) -> None:
            super().__init__()
            self.scale = scale

    one, other = (bp.Rule(EProp(), Scaled(scale)).describe() for scale in (1.0, -5.0))
    assert one != other and one == bp.Rule(EProp(), Scaled(1.0)).describe()
