"""Memory of what looks along a whole trajectory: it does not grow with time beyond what is asked for."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import bioplaus as bp
from bioplaus import ms
from bioplaus.circuit import trajectory
from bioplaus.circuit.network import Network
from bioplaus.learning.sequence import sequence
from bioplaus.learning.tally import LONG
from bioplaus.tasks import Batch, Task, squared

STEPS, TRIALS, UNITS = 700, 3, 6


class Follow(Task):
    """The input of now is asked for."""

    inputs, outputs, loss, test_trials = 1, 1, squared, TRIALS

    def __init__(self, steps: int = STEPS) -> None:
        self.steps = steps

    def batch(self, generator, size, split="train"):
        x = torch.rand(self.steps, size, 1, generator=generator)
        return Batch(x, x.clone(), torch.ones(self.steps, size))


def learner(steps: int = STEPS, cell: str = "alif", backend: str = "torch") -> bp.Trainer:
    gain = {"input_gain": 9.0, "tau_out": 20 * ms} if cell == "alif" else {}
    circuit = bp.circuit("recurrent", cell=cell, inputs=1, units=UNITS, outputs=1, **gain)
    return bp.Trainer(circuit, Follow(steps), "eprop", bp.Training(batch=2, backend=backend))


class Largest(TorchDispatchMode):
    """The largest tensor that is made, in numbers."""

    found = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        tensors = made if isinstance(made, (tuple, list)) else (made,)
        self.found = max([self.found, *(each.numel() for each in tensors if isinstance(each, torch.Tensor))])
        return made


LOOKS = {
    "a test": lambda trainer: trainer.evaluate(),
    "a simulation": lambda trainer: bp.simulate(trainer.network, torch.rand(STEPS, TRIALS, 1), record=()),
}


def test_loops_hold_a_piece_at_a_time(monkeypatch):
    monkeypatch.setattr(trajectory, "LOOP", 64 * TRIALS * UNITS)
    with Largest() as largest:
        learner(backend="numba").evaluate()
    assert STEPS * TRIALS <= largest.found < STEPS * TRIALS * UNITS


@pytest.mark.parametrize("look", LOOKS.values(), ids=list(LOOKS))
def test_states_are_held_a_piece_at_a_time(look, monkeypatch):
    trainer, advance = learner(), Network.advance
    held: list[weakref.ref] = []
    alive: list[int] = []

    def counted(self, *given, **named):
        step = advance(self, *given, **named)
        held.append(weakref.ref(step.u[0][0]))
        alive.append(sum(each() is not None for each in held))
        return step

    monkeypatch.setattr(Network, "advance", counted)
    with Largest() as largest:
        look(trainer)
    assert len(alive) == STEPS
    assert max(alive) <= 3 * trajectory.PIECE  # a last piece is longer, and the one before may still be looked at
    assert STEPS * TRIALS <= largest.found < STEPS * TRIALS * UNITS  # outputs of all steps, no states


@pytest.mark.parametrize("steps", [1, 63, 64, 65, 127, 128, 129, 333])
@pytest.mark.parametrize("cell", ["alif", "elman"])
def test_pieces_compute_the_same_bit_for_bit(steps, cell, monkeypatch):
    def looked() -> tuple[dict[str, float], list]:
        trainer = learner(steps, cell)
        recorded = trainer.record(("v", "a", "h", "spikes", "rate"))
        return trainer.evaluate(), [recorded[name].values for name in sorted(map(str, recorded))]

    (tested, recorded), piece = looked(), trajectory.PIECE
    monkeypatch.setattr(trajectory, "PIECE", 10**9)
    whole, at_once = looked()
    assert piece == 64 and tested == whole
    assert len(recorded) >= 5
    for one, other in zip(recorded, at_once, strict=True):
        assert (one == other).all() and one.dtype == other.dtype


def test_a_few_steps_left_over_are_no_piece_of_their_own(monkeypatch):
    """Matrix products of very few rows round differently."""
    network = bp.circuit("recurrent", cell="elman", inputs=64, units=100, outputs=1).build()
    inputs = {steps: torch.rand(steps, 1, 64, generator=bp.stream(steps, "x")) for steps in (129, 130, 131, 193, 194)}
    found = [bp.simulate(network, x).rate.values for x in inputs.values()]
    monkeypatch.setattr(trajectory, "PIECE", 10**9)
    assert all((bp.simulate(network, x).rate.values == y).all() for x, y in zip(inputs.values(), found, strict=True))


class Pieces(type(squared)):
    """The squared loss, which notes how many steps it is asked for at a time."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def value(self, outputs, targets):
        self.asked.append(len(outputs))
        return super().value(outputs, targets)


def test_the_loss_of_a_long_sequence_is_computed_a_piece_at_a_time():
    steps, loss = 2 * LONG + 3, Pieces()
    network = bp.circuit("recurrent", cell="elman", inputs=1, units=4, outputs=1).build(dtype=torch.float64)
    batch = Follow(steps).batch(bp.stream(0, "x"), 2).to(dtype=torch.float64)
    batch.weight[7] = 0.0
    rule = bp.rule("rflo", schedule="online")
    outcome = sequence(network, rule, rule.begin(network, batch, 0), batch, loss)
    assert sum(loss.asked) == steps - 1 and max(loss.asked) == LONG
    whole = 0.5 * ((outcome.outputs - batch.targets).square().sum(-1) * batch.weight).sum() / 2
    assert outcome.loss == pytest.approx(float(whole), rel=1e-13) and outcome.loss > 0
