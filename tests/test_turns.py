"""Areas that move with a probability, each by itself: what moves moves as ever, what does not stays to the last bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import bioplaus as bp
from bioplaus import Trainer, Training
from bioplaus.errors import RunError
from bioplaus.learning.turns import READ, Turns
from bioplaus.own import tensors

RULE = bp.rule("dni", steps=1, predictor=bp.predictor("areas"), context=True)
AREAS = {"A1": ("W1", "b_A1"), "A2": ("W2", "b_A2"), "A3": ("W3", "b_A3"), READ: ("W_out", "b_out")}
ABOVE = {"A1": "A2", "A2": "A3", "A3": READ}


def trainer(rule: Any = RULE, seed: int = 0, **options: Any) -> Trainer:
    circuit = bp.circuit("hierarchy", inputs=64, units=(14, 12, 10), outputs=10)
    settings = {"optimiser": "sgd", "lr": 0.1, "batch": 8, "dtype": "float64"} | options
    made = Trainer(circuit, bp.task("volley"), rule, Training(**settings), seed=seed)
    if "predictor" in made.own:  # what says nothing yet teaches the areas below nothing
        for i, value in enumerate(made.own["predictor"].learned.values()):
            value.copy_(0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(i), dtype=value.dtype))
    return made


def held(of: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in (of.network.weights | tensors(of.own)).items()}


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor], names: Any) -> set[bool]:
    return {not torch.equal(before[name], after[name]) for name in names}


@pytest.mark.parametrize("apply", ("sequence", "window"))
def test_each_area_moves_by_its_own_chance_and_its_predictor_with_the_area_above(apply: str) -> None:
    made, all_move = trainer(update_probability=0.4, apply=apply), trainer(apply=apply)
    whole = held(all_move)
    all_move.update()
    assert changed(whole, held(all_move), [n for names in AREAS.values() for n in names]) == {True}
    taken: list[set[str]] = []
    assert made.turns is not None
    draw = type(made.turns).__call__

    def drawn(turns: Turns, *given: Any) -> Any:
        moved = draw(turns, *given)
        taken.append({area for area, names in AREAS.items() if names[0] in moved[0]})
        return moved

    made.turns.__class__ = type("Watched", (Turns,), {"__call__": drawn})
    may = {True} if apply == "sequence" else {True, False}  # a window of one step teaches some areas nothing
    for _ in range(100):
        before = held(made)
        taken.clear()
        made.update()
        after, moved = held(made), set().union(*taken)
        for area, names in AREAS.items():
            assert changed(before, after, names) <= (may if area in moved else {False}), area
        for area, above in ABOVE.items():
            mine = [name for name in after if name.startswith(f"predictor.{area}.") and name[-1] in "Ab"]
            assert len(mine) == 2 and changed(before, after, mine) <= (may if above in moved else {False}), area


def test_turns_are_independent_and_as_likely_as_asked() -> None:
    made = trainer(update_probability=0.3)
    assert made.turns is not None
    names = {name: torch.zeros(()) for weights in AREAS.values() for name in weights}
    n = 4000
    both = torch.tensor([[float(w[0] in found) for w in AREAS.values()] for found in (made.turns(names, {})[0] for _ in range(n))])  # fmt: skip
    assert (both.mean(0) - 0.3).abs().max() < 5 * (0.3 * 0.7 / n) ** 0.5
    apart = torch.corrcoef(both.T) - torch.eye(4)
    assert apart.abs().max() < 5 / n**0.5


def test_what_moves_moves_as_if_all_did() -> None:
    found = set()
    for seed in range(6):
        some, whole = trainer(seed=seed, update_probability=0.5), trainer(seed=seed)
        before = held(some)
        some.update()
        whole.update()
        for name, value in held(some).items():
            stayed, went = torch.equal(value, before[name]), torch.equal(value, held(whole)[name])
            assert stayed or went
            found.add((name in whole.network.weights, went))
    assert found == {(True, True), (True, False), (False, True), (False, False)}


@pytest.mark.parametrize("optimiser", ("sgd", "adam"))
def test_a_run_that_goes_on_takes_the_same_turns(optimiser: str) -> None:
    whole, first = (trainer(update_probability=0.5, optimiser=optimiser, lr=1e-2) for _ in range(2))
    rows = [whole.update() for _ in range(9)]
    [first.update() for _ in range(4)]
    again = trainer(update_probability=0.5, optimiser=optimiser, lr=1e-2)
    again.load_state_dict(first.state_dict())
    later = [again.update() for _ in range(5)]
    assert [row["loss"] for row in later] == [row["loss"] for row in rows[4:]]
    for name, value in held(whole).items():
        assert torch.equal(value, held(again)[name]), name


def test_one_is_as_without_and_a_single_map_always_learns() -> None:
    one, without = trainer(update_probability=1), trainer()
    assert one.turns is None and "turns" not in one.state_dict()["streams"]
    assert (
        one.training.describe() == without.training.describe() and "update_probability" not in one.training.describe()
    )
    whole = trainer(bp.rule("dni", steps=1), update_probability=1e-9)
    before = held(whole)
    whole.update()
    after = held(whole)
    assert changed(before, after, whole.network.weights) == {False} and changed(before, after, ("predictor.A",)) == {
        True
    }


def test_brian_moves_all_weights() -> None:
    with pytest.raises(RunError, match="update_probability=0.5") as error:
        Training(backend="brian2", batch=1, optimiser="sgd", apply="window", dtype="float64", update_probability=0.5)
    assert "\n" not in str(error.value)
