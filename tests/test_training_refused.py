"""How a circuit is trained, each setting replaced by nonsense: refused in our words, before anything is drawn or written."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest
import torch

import bioplaus as bp
from bioplaus.errors import RunError

RATE = ["fast", "1e-3", -1, nan, inf, -inf, True, [1], {}, 1e308, 1e39, 1e-320, 1e-39, 10**400, 1j]
NONSENSE: dict[str, list[Any]] = {
    "lr": [*[rate for rate in RATE if rate], None, {"W_nowhere": 1e-3}, {"W_rec": -1}, {"W_rec": "fast"}, {"W_rec": 1e-320}, {1: 1e-3}, {"": 1}, {}],
    "readout_lr": RATE,
    "predictor_lr": RATE,
    "eps": ["x", -1, 0, 0.0, nan, inf, True, None, 1e308, 1e-50],
    "clip": ["x", -1, 0, nan, inf, True, 1e308, 1e-50],
    "rate_strength": ["x", -1, nan, inf, True, None, 1e308],
    "voltage_strength": ["x", -1, nan, inf, True, None, 1e308],
    "loss_per": [None, "", "s", "MS", 1, ["ms"], 1 * bp.ms],
    "rate_over": [None, "", "sample", "Trial", 1, ["trial"]],
    "rate_target": ["x", nan, inf, True, None, 1e308],
    "betas": ["ab", 0.9, None, (), (0.9,), (0.9, 0.9, 0.9), (0.9, 1.0), (1, 0.9), (1.5, 0.9), (-0.1, 0.9), (nan, 0.9), (True, 0.9),
              ("0.9", "0.9"), (0.9, 1 - 1e-17)],
    "optimiser": [None, 1, "", "adamw", "LBFGS", "SparseAdam", "rmsprop", "Optimizer", ["adam"], int, torch.nn.Linear, torch.optim.LBFGS,
                  torch.optim.SparseAdam, torch.optim.Optimizer],
    "optimiser_options": ["x", 1, ["momentum"], {"momentum": 0.9}, {"lr": 1}, {"betas": (0.9, 0.9)}, {"params": []}, {"weight_decay": -1},
                          {"weight_decay": "much"}, {"weight_decay": inf}, {1: 2}, {"amsgrad": object()}],
    "lr_schedule": ["cosine", "steplr", "StepLR", "LambdaLR", "ReduceLROnPlateau", "SequentialLR", "LRScheduler", 1, ["StepLR"], torch.optim.lr_scheduler.StepLR],
    "lr_schedule_options": [{"step_size": 3}, "x", 1, {"gamma": inf}],
    "apply": [None, "never", 1],
    "update_probability": ["x", 0, -0.5, 1.5, nan, inf, True, None, [0.5]],
    "curriculum": [None, "yes", 2],
    "updates": [None, "3", -1, 1.5, nan, inf, True, 10**12],
    "batch": [None, "3", 0, -1, 2.5, nan, True, 10**12],
    "evaluate_every": [None, "x", -1, 1.5, True],
    "align_every": [None, "x", -1, 1.5, True],
    "dtype": [None, "float16", "int8", 32, float],
    "perturb": ["E", 3, ["E"], {"E": "silence"}, bp.Perturb],
    "drive": ["mlp", 3, True, {"share": 0.5}, bp.Drive],
    "threads": [0, -1, 1.5, "x", True, 10**30],
    "backend": [None, "", "jax", "Numba", 1, ["torch"], "brian2"],
    "device": [None, "tpu", 1, "cuda:99"],
    # what optimisers have elsewhere
    "momentum": [0.9], "nesterov": [True], "dampening": [0.1], "weight_decay": [0.1], "amsgrad": [True], "fused": [True], "foreach": [True],
    "maximize": [True], "scheduler": [None], "max_iter": [20], "params": [[]],
}  # fmt: skip
CASES = [(name, value) for name, values in NONSENSE.items() for value in values]


@pytest.mark.parametrize(("name", "value"), CASES, ids=[f"{name}={str(value)[:20]}" for name, value in CASES])
def test_nonsense_is_refused_before_anything_is_written(name, value, tmp_path):
    task = bp.task("target_reaching")
    circuit = bp.circuit("recurrent", cell="elman", inputs=task.inputs, units=2, outputs=task.outputs)
    options: dict[str, Any] = {"updates": 1, "batch": 2} | {name: value}
    with pytest.raises(RunError) as refused:
        bp.train(circuit, task, "bptt", folder=tmp_path / "run", **options)
    said = str(refused.value)
    assert name in said and "\n" not in said and not list(tmp_path.iterdir())


def test_every_setting_is_tried():
    import dataclasses

    assert {field.name for field in dataclasses.fields(bp.Training)} <= NONSENSE.keys()


def test_what_a_dtype_holds_is_taken():
    most = 3.4028234e38
    assert bp.Training(lr=most, readout_lr=1.2e-38, rate_target=-most, clip=most).lr == most
    assert bp.Training(lr=1e300, eps=1e-300, dtype="float64").eps == 1e-300
    assert bp.Training(lr=0, readout_lr=0.0, rate_strength=0, betas=(0, 0)).betas == (0.0, 0.0)
