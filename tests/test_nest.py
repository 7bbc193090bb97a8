"""e-prop against NEST 3.10: losses, and weights after every one of eight updates, on frozen numbers; run anew where NEST is installed.

Losses alone hide mistakes: they move little when a gradient is a little wrong. So every weight is compared after every update.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import nest_eprop
import numpy as np
import pytest
import torch
from nest_eprop import ITERATIONS, SETUPS, Setup, draw

import bioplaus as bp
from bioplaus import Trainer, Training, ms
from bioplaus.tasks import Batch, Loss, Task, cross_entropy, squared

FROZEN = json.loads((Path(__file__).parent / "nest_eprop.json").read_text())
#: the Python that has NEST, if it is another than this one: BIOPLAUS_NEST=/…/bin/python
PYTHON = os.environ.get("BIOPLAUS_NEST", sys.executable)


class Drawn(Task):
    """The trials of a setup, one iteration after the other."""

    outputs: int
    dt = 1e-3

    def __init__(self, s: Setup, drawn: dict[str, np.ndarray]) -> None:
        self.s, self.drawn, self.next = s, drawn, 0
        self.inputs, self.outputs, self.steps, self.test_trials = s.inputs, s.outputs, s.steps, s.batch
        self.loss: Loss = squared if s.kind == "regression" else cross_entropy

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> Batch:
        k, self.next = self.next, (self.next + 1) % (ITERATIONS + 1)
        x = torch.as_tensor(self.drawn["x"][k], dtype=torch.float32).transpose(0, 1)[:, :size]
        target = torch.as_tensor(self.drawn["target"][k])[:size]
        weight = torch.zeros(self.steps, size)
        if self.s.kind == "regression":
            weight[-self.s.window :] = 1.0
            return Batch(x, target.float().transpose(0, 1), weight)
        weight[-self.s.window :] = 1 / self.s.window
        return Batch(x, target.expand(self.steps, size), weight)


def learned(s: Setup, **change: Any) -> dict[str, np.ndarray]:
    """The same in bioplaus: losses and weights (iteration, post, pre); ``change`` says otherwise how it is trained."""
    d = draw(s)
    common: dict[str, Any] = {
        "tau_m": s.tau_m * ms, "threshold": s.threshold, "refractory": int(s.refractory), "scale_input": s.scaled,
    }  # fmt: skip
    cells = [bp.model("lsnn_lif", **common)] if s.lif else []
    cells += [bp.model("lsnn_alif", tau_a=s.tau_a * ms, beta=s.beta, **common)] if s.alif else []
    sizes = [n for n in (s.lif, s.alif) if n]
    circuit = bp.circuit(
        "recurrent", cell=cells if len(cells) > 1 else cells[0], inputs=s.inputs, units=sizes if len(sizes) > 1 else sizes[0],
        outputs=s.outputs, tau_out=s.tau_out * ms, output_bias=False,
    )  # fmt: skip
    options: dict[str, Any] = {
        "batch": s.batch, "lr": s.rate, "optimiser": {"adam": "adam_tf", "gradient_descent": "sgd"}[s.optimiser], "dtype": "float64",
        "rate_target": s.target_rate, "rate_strength": s.strength / (1 if s.kind == "regression" else s.window), "rate_over": "trial",
    }  # fmt: skip
    task = Drawn(s, d)
    trainer = Trainer(circuit, task, bp.rule("eprop", feedback="random"), Training(**(options | change)))
    task.next = 0  # looked at before
    parts = {
        name: slice(0, s.lif) if s.lif and i == 0 else slice(s.lif, s.units)
        for i, name in enumerate(circuit.populations)
    }
    blocks = {}
    for p in circuit.projections:
        rows = parts[p.target]
        blocks[p.name] = ("W_in", (rows, slice(None))) if p.source == "input" else ("W_rec", (rows, parts[p.source]))
    blocks["W_out"] = ("W_out", (slice(None), slice(None)))
    trainer.network.load({name: d[whole][where] for name, (whole, where) in blocks.items()})
    trainer.own["feedback"]["B"].copy_(torch.as_tensor(d["B"]))
    found: dict[str, list[Any]] = {"losses": [], "W_in": [], "W_rec": [], "W_out": []}
    for _ in range(ITERATIONS):
        found["losses"].append(trainer.update()["loss"])
        now = {name: np.zeros_like(d[name]) for name in ("W_in", "W_rec", "W_out")}
        for name, (whole, where) in blocks.items():
            now[whole][where] = trainer.network.weights[name].numpy()
        for name, W in now.items():
            found[name].append(W)
    return {name: np.array(values) for name, values in found.items()}


def distance(mine: dict[str, np.ndarray], theirs: dict[str, Any], start: dict[str, np.ndarray]) -> tuple[float, float]:
    """Largest relative error of a loss; and of a weight after any update, over how far the furthest of its kind has moved by then."""
    loss = np.abs(mine["losses"] / np.array(theirs["losses"]) - 1).max()
    weights = 0.0
    for name in ("W_in", "W_rec", "W_out"):
        a, b = mine[name], np.array(theirs[name])
        moved = np.abs(b - start[name]).max((1, 2))
        assert a.shape == b.shape and len(b) == ITERATIONS and (moved > 1e-4).all()
        weights = max(weights, float((np.abs(a - b).max((1, 2)) / moved).max()))
    return float(loss), weights


@pytest.mark.parametrize("name", SETUPS)
def test_losses_and_weights_are_nests(name):
    s = SETUPS[name]
    loss, weights = distance(learned(s), FROZEN[name], draw(s))
    assert loss <= 1e-12 and weights <= 1e-10


MISTAKES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "the batch's rate for each trial's": ("lif, batch", {}, {"rate_over": "batch"}),
    "the same with classes": ("both, classes, batch", {}, {"rate_over": "batch"}),
    "no regularisation": ("alif", {}, {"rate_strength": 0.0}),
    "torch's Adam": ("both, classes", {}, {"optimiser": "adam"}),
    "refractory a step longer": ("lif, batch", {"refractory": 6.0}, {}),
    "a slower adaptation": ("alif, batch", {"tau_a": 151.0}, {}),
    "twice the rate": ("lif", {}, {"lr": 2e-3}),
}


SHORT = ("the batch's rate for each trial's", "torch's Adam", "refractory a step longer")


@pytest.mark.parametrize("mistake", [pytest.param(m, marks=() if m in SHORT else pytest.mark.slow) for m in MISTAKES])
def test_a_mistake_is_seen(mistake):
    name, setup, training = MISTAKES[mistake]
    s = SETUPS[name]
    mine = learned(replace(s, **setup), **training)
    assert distance(mine, FROZEN[name], draw(s))[1] > 1e-6


@pytest.mark.slow
def test_nest_still_says_so(tmp_path):
    there = subprocess.run([PYTHON, "-c", "import nest; print(nest.__version__)"], capture_output=True, text=True)
    if there.returncode or not there.stdout.strip().endswith(FROZEN["nest"]):
        pytest.skip(
            f"NEST {FROZEN['nest']} is not installed for {PYTHON}: pip install 'nest-simulator==3.10.*', BIOPLAUS_NEST=/…/bin/python"
        )
    subprocess.run([PYTHON, nest_eprop.__file__, tmp_path / "again.json"], check=True, capture_output=True)
    again = json.loads((tmp_path / "again.json").read_text())
    for name, s in SETUPS.items():
        now = {kind: np.array(values) for kind, values in again[name].items()}
        loss, weights = distance(now, FROZEN[name], draw(s))
        assert loss <= 1e-12 and weights <= 1e-10
