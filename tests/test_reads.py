"""Nothing is read from the device while a window is computed: flags and information are read once an update."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import bioplaus as bp
from bioplaus import ms
from bioplaus.errors import NumericalError
from bioplaus.learning import sequence as module
from bioplaus.learning.pace import BLOCK
from bioplaus.tasks import Batch, Task, squared

STEPS = 2 * BLOCK + 5

#: what waits for a device, or whose shape only the device knows
READS = {"aten::_local_scalar_dense", "aten::item", "aten::is_nonzero", "aten::nonzero", "aten::masked_select", "aten::equal"}  # fmt: skip


class Follow(Task):
    """The input is asked for, at every second step of the second half, and in one part at the end."""

    inputs, outputs, loss = 3, 2, squared

    def __init__(self, steps: int = STEPS) -> None:
        self.steps = steps

    def batch(self, generator, size, split="train"):
        x = torch.rand(self.steps, size, 3, generator=generator)
        weight = torch.zeros(self.steps, size)
        weight[self.steps // 2 :: 2] = 1.0
        weight[-5:, 1:] = 1.0
        return Batch(x, x[..., :2].clone(), weight)


def masked(index: Any) -> bool:
    return any(isinstance(i, torch.Tensor) and i.dtype in (torch.bool, torch.uint8) for i in index or ())


class Reads(TorchDispatchMode):
    """Counts what is read from tensors, also by ways that torch does not dispatch."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.found, self.within = Counter(), False
        for name in ("tolist", "numpy", "cpu"):
            real = getattr(torch.Tensor, name)
            patch.setattr(torch.Tensor, name, lambda *a, real=real, name=name, **k: self.count(name) or real(*a, **k))
        block = module.Walk.block

        def watched(*a: Any) -> Any:
            self.within = True
            try:
                return block(*a)
            finally:
                self.within = False

        patch.setattr(module.Walk, "block", watched)

    def count(self, name: str) -> None:
        self.found[name] += 1
        assert not self.within, f"{name} within a window"

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name
        if name in READS or (name in ("aten::index", "aten::index_put_", "aten::index_put") and masked(args[1])):
            self.count(name)
        return func(*args, **(kwargs or {}))


def learner(made: bp.Rule, cell: str, apply: str, steps: int = STEPS, **options: Any) -> bp.Trainer:
    spiking = {"input_gain": 14.0, "tau_out": 20 * ms} if cell == "alif" else {}
    circuit = bp.circuit("recurrent", cell=cell, inputs=3, units=6, outputs=2, **spiking)
    return bp.Trainer(circuit, Follow(steps), made, bp.Training(batch=3, apply=apply, backend="torch", clip=0.1, **options))  # fmt: skip


RULES = [
    ("bptt", {}), ("tbptt", {"steps": 5}), ("sliding_bptt", {"schedule": "online"}), ("eprop", {"schedule": "online"}), ("eprop", {"schedule": "window"}),
    ("rflo", {"schedule": "online"}), ("mdgl", {"schedule": "online"}), ("three_factor", {"schedule": "online"}), ("rtrl", {}), ("hops", {}), ("snap", {}), ("uoro", {}),
    ("kf_rtrl", {}), ("r_kf_rtrl", {}), ("kernl", {}), ("dni", {"steps": 3}), ("dni", {"steps": 3, "copy_every": 2}), ("bp_lambda", {}), ("bp_lambda", {"schedule": "online"}),
]  # fmt: skip


@pytest.mark.parametrize("apply", ["sequence", "window"])
@pytest.mark.parametrize("cell", ["alif", "elman"])
@pytest.mark.parametrize(
    ("name", "options"), RULES, ids=lambda v: v if isinstance(v, str) else "-".join(map(str, v.values()))
)
def test_nothing_is_read_while_a_window_is_computed(name, options, cell, apply, monkeypatch):
    trainer = learner(bp.rule(name, **options), cell, apply)
    with Reads(monkeypatch) as reads:
        row = trainer.update()
    assert row["rate"] != 0 and reads.found["aten::_local_scalar_dense"] >= 3  # it does see those of an update


@pytest.mark.parametrize(("name", "options", "window", "each"), [("eprop", {"schedule": "online"}, 1, 2), ("dni", {"steps": 3, "copy_every": 2}, 3, 2), ("bp_lambda", {"schedule": "online"}, 1, 3)])  # fmt: skip
def test_reads_are_as_many_whatever_the_length(name, options, window, each, monkeypatch):
    """Under ``apply="window"`` a window is an update: one read of what is finite in it, one of the gradients' norms, one of how large a trace has grown."""
    found: dict[tuple[str, int], int] = {}
    lengths = (30, 60)
    for apply in ("sequence", "window"):
        for steps in lengths:
            trainer = learner(bp.rule(name, **options), "elman", apply, steps)
            trainer.update()
            with monkeypatch.context() as patch, Reads(patch) as reads:
                trainer.update()
            found[apply, steps] = reads.found.total()
    assert found["sequence", 30] == found["sequence", 60]
    assert found["window", 60] - found["window", 30] == each * (60 - 30) // window


@pytest.mark.parametrize("apply", ["sequence", "window"])
@pytest.mark.parametrize(("name", "options"), [("eprop", {"schedule": "online"}), ("rtrl", {}), ("tbptt", {"steps": 7}), ("bptt", {}), ("bp_lambda", {})])  # fmt: skip
@pytest.mark.parametrize("step", [0, 33, STEPS - 1])
def test_what_was_not_finite_is_named_though_it_is_read_late(step, name, options, apply):
    trainer = learner(bp.rule(name, **options), "leaky_rate", apply, lr=1e-9)
    batch = trainer.task.batch(bp.stream(0, "x"), 3)
    batch.inputs[step, 1] = torch.nan
    trainer.task.batch = lambda *a, **k: batch
    from bioplaus.learning.sequence import sequence

    moved: list[Any] = []
    with pytest.raises(
        NumericalError, match=rf"at step {step}: variable 'x' of population 'cortex' is nan in neuron 0 \(sample 1 of"
    ):
        sequence(trainer.network, trainer.rule, trainer.own, batch, squared, apply=(lambda *g: moved.append(g)) if apply == "window" else None)  # fmt: skip
    window = trainer.rule.schedule.steps or STEPS
    first = STEPS - window * (STEPS // window)
    assert len(moved) == (0 if apply == "sequence" else (0 if step < first else (step - first) // window + (first > 0)))


@pytest.mark.parametrize("schedule", ["window", "online"])
def test_a_readout_that_is_no_number_names_step_output_and_weight(schedule):
    task = bp.task("pattern_generation", steps=60)
    network = bp.circuit("recurrent", cell="alif", inputs=task.inputs, units=8, outputs=1, input_gain=9.0).build(0)
    network.weights["W_out"][0, 3] = float("nan")
    said = r"at step 0: output 0 is nan \(sample 0 of the batch\), where all states are finite; W_out holds values"
    with pytest.raises(NumericalError, match=said):
        bp.gradient(network, bp.rule("eprop", schedule=schedule), task.batch(bp.stream(0, "trial"), 2))
