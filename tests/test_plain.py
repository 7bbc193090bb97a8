"""The optimisers that leave torch's compiler alone give what torch's give, bit for bit, and read each other's states."""

from __future__ import annotations

import io
import subprocess
import sys
from itertools import product
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from bioplaus.learning.by_name import SCHEDULES, maker
from bioplaus.learning.plain import SGD, Adam

STEPS = 12
SHAPES = ((), (1,), (7,), (64, 100), (3, 5, 7), (33, 17), (0, 4))
KINDS: dict[str, tuple[type[torch.optim.Optimizer], type[torch.optim.Optimizer]]] = {
    "adam": (Adam, torch.optim.Adam),
    "sgd": (SGD, torch.optim.SGD),
}
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("adam", {}),
    ("adam", {"fused": True}),
    ("adam", {"fused": True, "betas": (0.7, 0.9), "eps": 1e-2}),
    ("adam", {"fused": True, "betas": (0.0, 0.5), "eps": 1e-30}),
    ("adam", {"fused": True, "weight_decay": 0.1}),
    ("adam", {"fused": True, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("adam", {"fused": True, "amsgrad": True, "maximize": True}),
    ("adam", {"foreach": True, "weight_decay": 0.1}),
    ("adam", {"foreach": False, "betas": (0.5, 0.99)}),
    ("adam", {"differentiable": True}),
    ("sgd", {}),
    ("sgd", {"momentum": 0.9, "weight_decay": 0.1}),
    ("sgd", {"momentum": 0.9, "nesterov": True, "foreach": True}),
    ("sgd", {"momentum": 0.5, "dampening": 0.1, "fused": True}),
]
HOW: dict[str, dict[str, Any]] = {
    "StepLR": {"step_size": 2, "gamma": 0.5}, "MultiStepLR": {"milestones": [1, 4]}, "ConstantLR": {"total_iters": 3},
    "LinearLR": {"total_iters": 4}, "ExponentialLR": {"gamma": 0.8}, "PolynomialLR": {"total_iters": 5}, "CosineAnnealingLR": {"T_max": 9},
    "CosineAnnealingWarmRestarts": {"T_0": 3}, "CyclicLR": {"base_lr": 0.01, "max_lr": 0.03, "step_size_up": 2},
    "OneCycleLR": {"max_lr": 0.05, "total_steps": STEPS + 1},
}  # fmt: skip


def start(dtype: torch.dtype) -> list[torch.Tensor]:
    make = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=make, dtype=dtype) for shape in SHAPES]


def gradients(step: int, dtype: torch.dtype) -> list[torch.Tensor | None]:
    """Of sizes from 1e-12 to 1e4; zeros in places; one tensor has none at every third step."""
    make = torch.Generator().manual_seed(100 + step)
    made: list[torch.Tensor | None] = []
    for i, shape in enumerate(SHAPES):
        g = torch.randn(shape, generator=make, dtype=dtype) * 10.0 ** torch.randint(-12, 5, shape, generator=make)
        made.append(None if i == 2 and step % 3 == 2 else g * (torch.rand(shape, generator=make) > 0.1))
    return made


def both(name: str, options: dict[str, Any], dtype: torch.dtype, lr: float = 0.02) -> list[torch.optim.Optimizer]:
    """Ours and torch's, of the same start in two groups, the second with a rate of its own."""
    made = []
    for kind in KINDS[name]:
        w = start(dtype)
        groups: list[dict[str, Any]] = [{"params": w[:4], "lr": lr}, {"params": w[4:], "lr": lr / 4}]
        made.append(kind(groups, **options))  # type: ignore[call-arg]
    return made


def weights(optimiser: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [w for group in optimiser.param_groups for w in group["params"]]


def move(optimiser: torch.optim.Optimizer, step: int, dtype: torch.dtype) -> None:
    for w, g in zip(weights(optimiser), gradients(step, dtype), strict=True):
        w.grad = g
    optimiser.step()


def same(mine: Any, theirs: Any) -> None:
    """Bit for bit, with the kinds and the order of everything that is kept."""
    assert type(mine) is type(theirs)
    if isinstance(mine, torch.Tensor):
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape and torch.equal(mine, theirs)
        assert torch.equal(torch.signbit(mine), torch.signbit(theirs))
    elif isinstance(mine, dict):
        assert list(mine) == list(theirs)
        for key in mine:
            same(mine[key], theirs[key])
    elif isinstance(mine, list | tuple):
        assert len(mine) == len(theirs)
        for a, b in zip(mine, theirs, strict=True):
            same(a, b)
    else:
        assert mine == theirs


def written(optimiser: torch.optim.Optimizer) -> Any:
    """A state as a checkpoint gives it back."""
    held = io.BytesIO()
    torch.save(optimiser.state_dict(), held)
    return torch.load(io.BytesIO(held.getvalue()), weights_only=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_every_step_is_torchs(name, options, dtype):
    mine, theirs = both(name, options, dtype)
    before = [w.clone() for w in weights(mine)]
    for step in range(STEPS):
        move(mine, step, dtype)
        move(theirs, step, dtype)
        same(weights(mine), weights(theirs))
        same(mine.state_dict(), theirs.state_dict())
    assert all(not torch.equal(w, old) for w, old in zip(weights(mine), before, strict=True) if w.numel())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_takes_both_alike(name, dtype):
    """Two of them turn β₁ as well, which is kept in the groups."""
    pair = both("adam", {"fused": True, "betas": (0.8, 0.95)}, dtype)
    schedules = [getattr(lr_scheduler, name)(each, **HOW[name]) for each in pair]
    rates = set()
    for step in range(STEPS):
        for each, schedule in zip(pair, schedules, strict=True):
            move(each, step, dtype)
            schedule.step()
        same(weights(pair[0]), weights(pair[1]))
        same(pair[0].state_dict(), pair[1].state_dict())
        same(schedules[0].state_dict(), schedules[1].state_dict())
        rates.add(float(pair[0].param_groups[0]["lr"]))
    assert len(rates) > 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "options"), [case for case in OPTIONS if "differentiable" not in case[1]])
@pytest.mark.parametrize("ours_reads", [True, False])
def test_each_goes_on_from_what_the_other_wrote(name, options, dtype, ours_reads):
    straight, writer = (both(name, options, dtype)[ours_reads] for _ in range(2))
    reader = both(name, options, dtype, lr=0.5)[not ours_reads]
    for step in range(STEPS):
        move(straight, step, dtype)
    for step in range(STEPS // 2):
        move(writer, step, dtype)
    reader.load_state_dict(written(writer))
    with torch.no_grad():
        for w, old in zip(weights(reader), weights(writer), strict=True):
            w.copy_(old)
    for step in range(STEPS // 2, STEPS):
        move(reader, step, dtype)
    same(weights(reader), weights(straight))
    same(reader.state_dict(), straight.state_dict())


def test_what_torch_refuses_is_refused():
    for options, (mine, theirs) in product(({"eps": -1.0}, {"momentum": -1.0}, {"lr": -1.0}), KINDS.values()):
        said = []
        for kind in (mine, theirs):
            with pytest.raises((ValueError, TypeError)) as refused:
                kind([torch.zeros(2)], **options)  # type: ignore[call-arg]
            said.append((type(refused.value), str(refused.value)))
        assert said[0] == said[1]


def test_names_of_ours_make_these_and_torchs_make_torchs():
    fields = {"betas": (0.9, 0.999), "eps": 1e-8}
    assert maker("adam", {}, fields).func is Adam and maker("sgd", {}, fields).func is SGD  # type: ignore[attr-defined]
    assert maker("Adam", {}, fields).func is torch.optim.Adam and maker("SGD", {}, fields).func is torch.optim.SGD  # type: ignore[attr-defined]


def test_learning_loads_no_compiler():
    """With a schedule, a state taken up, and each optimiser of ours; torch's own loads it, so that the test would see it."""
    done = subprocess.run([sys.executable, "-c", LEARNS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["adam", "False", "sgd", "False", "adam_tf", "False", "AdamW", "True"]


LEARNS = """
import sys
import bioplaus as bp
from bioplaus import Trainer, Training
task = bp.task("add", t1=2, t2=4, steps=9)
circuit = bp.circuit("recurrent", cell="elman", inputs=task.inputs, units=4, outputs=task.outputs)
for name in ("adam", "sgd", "adam_tf", "AdamW"):
    how = Training(batch=3, optimiser=name, lr_schedule="StepLR", lr_schedule_options={"step_size": 2})
    trainer = Trainer(circuit, task, "bp_lambda", how, seed=1)
    for _ in range(3):
        trainer.update()
    trainer.load_state_dict(trainer.state_dict())
    print(name, "torch._dynamo" in sys.modules)
"""
