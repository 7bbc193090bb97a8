"""Natural mistakes in `bp.align`, `bp.credit_by_lag` and `bp.trace_quality`: each is answered in one paragraph that says what to write."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from rule_helpers import paragraph

import bioplaus as bp
from bioplaus.errors import BioplausError
from bioplaus.own import Own
from bioplaus.signal import BPLambda
from bioplaus.tasks import Batch, cross_entropy

TASK = bp.task("target_reaching", steps=4)
SIZES: Any = {"inputs": TASK.inputs, "units": 4, "outputs": TASK.outputs}
CIRCUIT = bp.circuit("recurrent", cell=bp.model("elman"), **SIZES)
NARROW = bp.circuit("recurrent", cell=bp.model("elman"), **SIZES | {"inputs": 3})
GATED = bp.circuit("recurrent", cell=bp.model("lstm"), **SIZES)
EPROP, TRAINING = bp.rule("eprop"), bp.Training(batch=2)
BATCH = TASK.batch(torch.Generator().manual_seed(0), 2)
LOCAL = {"local": BPLambda(trace="local")}


def aligned(**changes: Any) -> xr.Dataset:
    given = {"circuit": CIRCUIT, "task": TASK, "rules": [bp.rule("bptt"), EPROP], "updates": 2, "training": TRAINING}
    return bp.align(**given | changes)


def credited(**changes: Any) -> xr.Dataset:
    given = {"circuit": CIRCUIT, "task": TASK, "rules": [bp.rule("bptt"), EPROP], "training": TRAINING}
    return bp.credit_by_lag(**given | changes)


def judged(**changes: Any) -> Any:
    return bp.trace_quality(**{"circuit": CIRCUIT, "batch": BATCH, "variants": LOCAL} | changes)


RULE = "bp.rule("
#: what is asked, with what, and what the answer must name
MISTAKES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "circuit by name": (aligned, {"circuit": "recurrent"}, "bp.circuit("), "circuit forgotten": (aligned, {"circuit": None}, "bp.circuit("),
    "the function for the circuit": (aligned, {"circuit": bp.circuit}, "bp.circuit("), "task misspelled": (aligned, {"task": "target_reachin"}, "'target_reaching'"),
    "class for the task": (aligned, {"task": type(TASK)}, "bioplaus.task("), "circuit and task in the other order": (aligned, {"circuit": TASK, "task": CIRCUIT}, "bp.circuit("),
    "task of another size": (aligned, {"circuit": NARROW}, "inputs=task.inputs"), "rule misspelled": (aligned, {"rules": "epropp"}, "'eprop'"),
    "rules in one word": (aligned, {"rules": "bptt,eprop"}, "no rule 'bptt,eprop'"), "dict of names misspelled": (aligned, {"rules": {"mine": "e-prop"}}, "'eprop'"),
    "no rules": (aligned, {"rules": []}, "give one or more"), "no rules in a dict": (aligned, {"rules": {}}, "give one or more"), "rules forgotten": (aligned, {"rules": None}, RULE),
    "the class of rules": (aligned, {"rules": [bp.Rule]}, RULE), "the function for a rule": (aligned, {"rules": bp.rule}, RULE), "a set, which has no first": (aligned, {"rules": {EPROP}}, "in their order"),
    "a rule without a name": (aligned, {"rules": {"": EPROP}}, "'mine'"), "the task for a rule": (aligned, {"rules": [TASK]}, RULE), "another rule called bptt": (aligned, {"rules": {"bptt": EPROP}}, "another name"),
    "a rule that cannot serve": (aligned, {"circuit": GATED, "rules": [bp.rule("rflo")]}, "rflo"), "no updates": (aligned, {"updates": 0}, "from 1"), "half an update": (aligned, {"updates": 2.5}, "2.5"),
    "updates as text": (aligned, {"updates": "2"}, "'2'"), "several updates": (aligned, {"updates": np.array([2, 3])}, "array([2, 3])"), "True updates": (aligned, {"updates": True}, "True"),
    "every 0": (aligned, {"every": 0}, "every"), "every None": (aligned, {"every": None}, "every"), "one draw": (aligned, {"draws": 1}, "2 or more"), "draws below 0": (aligned, {"draws": -1}, "draws"),
    "training as a dict": (aligned, {"training": {"lr": 1e-3}}, "bp.Training("), "the class of trainings": (aligned, {"training": bp.Training}, "bp.Training("), "rate for training": (aligned, {"training": 1e-3}, "bp.Training("),
    "several seeds": (aligned, {"seed": [0, 1]}, "[0, 1]"), "seed below 0": (aligned, {"seed": -1}, "-1"), "no seed": (aligned, {"seed": None}, "None"),
    "rules misspelled, by lag": (credited, {"rules": ("kfrtrl",)}, "'kf_rtrl'"), "one lag": (credited, {"lags": 3}, "(0, 1, 5)"), "lags as text": (credited, {"lags": "0:3"}, "'0:3'"), "lags in a dict": (credited, {"lags": {0: 1}}, "{0: 1}"),
    "a lag of no dimension": (credited, {"lags": np.array(1)}, "array(1)"), "lags in a table": (credited, {"lags": np.zeros((2, 2), int)}, "different steps"), "no lags": (credited, {"lags": []}, "[]"),
    "a lag twice": (credited, {"lags": [1, 1]}, "[1, 1]"), "a lag below 0": (credited, {"lags": [-1]}, "-1"), "a lag beyond the trial": (credited, {"lags": [0, 100]}, "from 0 to 3"), "half a lag": (credited, {"lags": [0.5]}, "0.5"),
    "after as text": (credited, {"after": "2"}, "after"), "after below 0": (credited, {"after": -1}, "after"), "no draws by lag": (credited, {"draws": 0}, "draws"),
    "circuit by name, of traces": (judged, {"circuit": "recurrent"}, "bp.circuit("), "task for the batch": (judged, {"batch": TASK}, "Batch(inputs"), "size for the batch": (judged, {"batch": 5}, "Batch(inputs"),
    "inputs for the batch": (judged, {"batch": BATCH.inputs}, "Batch(inputs"), "arrays for the batch": (judged, {"batch": (BATCH.inputs, BATCH.targets)}, "Batch(inputs"), "batch of another task": (judged, {"circuit": NARROW}, "(time, batch, 3)"),
    "batch of other outputs": (judged, {"batch": Batch(BATCH.inputs, torch.zeros(4, 2, 5), BATCH.weight)}, "(4, 2, 2)"), "one variant without a name": (judged, {"variants": BPLambda()}, "{'local'"),
    "variants in a list": (judged, {"variants": [BPLambda()]}, "{'local'"), "variant by name": (judged, {"variants": {"local": "local"}}, "BPLambda(trace="), "variants by name": (judged, {"variants": "local"}, "{'local'"),
    "a rule for its signal": (judged, {"variants": {"a": bp.rule("bp_lambda")}}, ".signal"), "another signal": (judged, {"variants": {"a": bp.rule("dni").signal}}, "DNI"), "the class of signals": (judged, {"variants": {"a": BPLambda}}, "BPLambda(trace="),
    "no variants": (judged, {"variants": {}}, "{}"), "one draw of traces": (judged, {"draws": 1}, "from 2"), "draws as text": (judged, {"draws": "64"}, "'64'"), "own without parts": (judged, {"own": {"A": torch.zeros(8, 8)}}, "Own("),
    "own as a tensor": (judged, {"own": torch.zeros(3)}, "Own("), "an unknown part": (judged, {"own": {"predictr": Own()}}, "'predictor'"), "own of another size": (judged, {"own": {"predictor": Own({"A": torch.zeros(3, 3)})}}, "(3, 3)"),
    "own of other names": (judged, {"own": {"predictor": Own({"Q": torch.zeros(4, 4)})}}, "A, b"), "loss misspelled": (judged, {"loss": "square"}, "'squared'"), "torch's loss": (judged, {"loss": torch.nn.MSELoss()}, "MSELoss"),
    "the class of losses": (judged, {"loss": type(TASK.loss)}, "bp.tasks.squared"), "loss of other targets": (judged, {"loss": cross_entropy}, "class indices"), "seed of traces as text": (judged, {"seed": "a"}, "seed"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_answered_in_one_paragraph(name):
    function, changes, words = MISTAKES[name]
    with pytest.raises(BioplausError) as error:
        function(**changes)
    assert words in paragraph(error)


def test_there_are_forty_and_more():
    assert len(MISTAKES) >= 70 and {aligned, credited, judged} == {function for function, _, _ in MISTAKES.values()}


@pytest.mark.parametrize("number", (np.int64(2), np.array(2), torch.tensor(2)), ids=("scalar", "array", "tensor"))
def test_numbers_of_numpy_and_torch_are_numbers(number):
    one = aligned(
        updates=number, every=number, draws=number, seed=number, training=bp.Training(batch=2, updates=number)
    )
    xr.testing.assert_identical(one, aligned(updates=2, every=2, draws=2, seed=2))
    lags = credited(lags=[number, 0], after=number, draws=number, seed=number)
    xr.testing.assert_identical(lags, credited(lags=(0, 2), after=2, draws=2, seed=2))
    assert judged(draws=number, seed=number) == judged(draws=2, seed=2)


@pytest.mark.parametrize("form", (np.array, torch.tensor, tuple, set, iter), ids=lambda form: form.__name__)
def test_lags_of_any_form_of_several(form):
    assert credited(lags=form([2, 0, 1]), after=1)["lag"].values.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "form", (tuple, iter, lambda rules: np.array(rules, dtype=object)), ids=("tuple", "iterator", "array")
)
def test_rules_of_any_form_of_several(form):
    xr.testing.assert_identical(aligned(rules=form([bp.rule("bptt"), EPROP])), aligned())
    assert aligned(rules=EPROP).attrs["driver"] == "eprop"
    assert aligned(rules={1: EPROP})["rule"].values.tolist() == ["1", "bptt"]


def test_own_of_a_trainer_goes_in_whole():
    """Parts and tensors that a variant does not have are left out; those that it has are taken."""
    trainer = bp.Trainer(
        CIRCUIT, TASK, bp.rule("bp_lambda", jacobian="learned"), bp.Training(batch=2, dtype="float64"), 0
    )
    for _ in range(3):
        trainer.update()
    assert {"predictor", "model"} <= set(trainer.own)
    found, born = judged(own=trainer.own), judged()
    assert found["local"].bias != born["local"].bias
    assert judged(own={"predictor": trainer.own["predictor"]}) == found
