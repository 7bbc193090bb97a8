"""Natural mistakes in figures, panels, and measures of cost: each is answered in one paragraph that says what to write."""

# pyright: reportArgumentType=false
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.figure import Figure
from rule_helpers import paragraph

import bioplaus as bp
from bioplaus import figures, ms
from bioplaus.errors import BioplausError
from bioplaus.figures import panels
from bioplaus.measure.memory import memory
from bioplaus.measure.time import cpu_seconds, seconds_per_update

TASK = bp.task("target_reaching", steps=4)
CIRCUIT = bp.circuit("recurrent", cell=bp.model("elman"), inputs=TASK.inputs, units=4, outputs=TASK.outputs)
EPROP = bp.rule("eprop")
ARMS = {"a": bp.Arm(CIRCUIT, TASK, EPROP, bp.Training(batch=2))}
CURVES = {"bptt": ([0, 1], [[1.0, 2.0]])}
SCORES = {"bptt": [1.0, 2.0]}
PATHS = np.zeros((5, 2, 2))
SPIKES = np.zeros((9, 2, 3))
TRIAL = xr.Dataset(
    {"spikes": (("time", "batch", "unit"), SPIKES), "v": (("time", "batch", "unit"), SPIKES + 0.5)},
    {"time": np.arange(9.0)},
)


def axes() -> Any:
    return Figure().subplots()


#: what is called, and what the answer must name
MISTAKES: dict[str, tuple[Any, str]] = {
    "memory, circuit by name": (lambda: memory("recurrent", TASK, EPROP), "bp.circuit("), "memory, task misspelled": (lambda: memory(CIRCUIT, "target_reach", EPROP), "'target_reaching'"),
    "memory, rule misspelled": (lambda: memory(CIRCUIT, TASK, "epropp"), "'eprop'"), "memory, dtype misspelled": (lambda: memory(CIRCUIT, TASK, EPROP, dtype="float46"), "'float64'"),
    "memory, torch's dtype": (lambda: memory(CIRCUIT, TASK, EPROP, dtype=torch.float64), "'float64'"), "memory, device": (lambda: memory(CIRCUIT, TASK, EPROP, device="gpu"), "device='cpu'"),
    "memory, seed": (lambda: memory(CIRCUIT, TASK, EPROP, seed=-1), "-1"), "memory, another task's circuit": (lambda: memory(CIRCUIT, bp.task("add"), EPROP), "inputs=task.inputs"),
    "times, arms in a list": (lambda: cpu_seconds(list(ARMS.values())), "bp.Arm("), "times, a rule for an arm": (lambda: cpu_seconds({"a": EPROP}), "bp.Arm("), "times, no rounds": (lambda: cpu_seconds(ARMS, 0), "rounds is 0"),
    "times, rounds as text": (lambda: cpu_seconds(ARMS, "3"), "'3'"), "time of a folder": (lambda: seconds_per_update("runs/x"), "bp.Run.load("),
    "curves in a list": (lambda: figures.learning([1, 2]), "dict"), "most as text": (lambda: figures.learning(CURVES, most="3"), "'3'"), "half a point": (lambda: figures.learning(CURVES, most=2.5), "2.5"),
    "chance as text": (lambda: figures.learning(CURVES, chance="10"), "'10'"), "no quantity": (lambda: figures.learning(CURVES, quantity=None), "quantity is None"), "chance of scores": (lambda: figures.final_scores(SCORES, chance="x"), "'x'"),
    "curves with gradient": (lambda: figures.learning({"a": (torch.arange(2), torch.zeros(1, 2, requires_grad=True))}), "without gradient"), "width as text": (lambda: figures.Sheet("89"), "width=89"),
    "height as text": (lambda: figures.Sheet(89, "a"), "height"), "sample by name": (lambda: figures.trajectories(PATHS, PATHS, sample="a", plane=False), "'a'"), "half a sample": (lambda: figures.trajectories(PATHS, PATHS, sample=0.5), "0.5"),
    "no such sample": (lambda: figures.trajectories(PATHS, PATHS, sample=2), "no sample 2"), "time by name": (lambda: figures.trajectories(PATHS, PATHS, time="x", plane=False), "numpy array"),
    "rates for times": (lambda: figures.trajectories(PATHS, PATHS, time=np.arange(5) / ms, plane=False), "'ms'"), "trial by name": (lambda: figures.raster(TRIAL, batch="0"), "'0'"), "half a trial": (lambda: figures.raster(TRIAL, batch=0.5), "0.5"),
    "no such trial": (lambda: figures.raster(TRIAL, batch=-3), "no trial -3"), "window as text": (lambda: figures.raster(TRIAL, window="10"), "'10'"), "no window": (lambda: figures.raster(TRIAL, window=0), "above 0"),
    "window with a unit": (lambda: figures.raster(TRIAL, window=10 * ms), "10. ms"), "one unit": (lambda: figures.activity(TRIAL, units=0), "(0, 1, 2)"), "units by name": (lambda: figures.activity(TRIAL, units="all"), "'all'"),
    "costs forgotten": (lambda: figures.pareto(CURVES, None, SCORES, higher=True), "two dicts"), "names in one word": (lambda: figures.pairwise(np.eye(2), "ab"), "'ab'"), "names forgotten": (lambda: figures.pairwise(np.eye(2), None), "several names"),
    "one label": (lambda: figures.pens("bptt"), "['bptt', 'eprop']"), "a number of labels": (lambda: figures.pens(3), "['bptt', 'eprop']"), "no table": (lambda: figures.curves("x", "loss"), "figures.table"),
    "scores in a list": (lambda: figures.ends([1.0]), "{'bptt'"), "one unit of a panel": (lambda: panels.traces(axes(), SPIKES[:, 0], np.arange(9), units=5), "(0, 1, 2)"),
    "units of a panel by name": (lambda: panels.traces(axes(), SPIKES[:, 0], np.arange(9), units=("a",)), "('a',)"), "bins below 0": (lambda: panels.histogram(axes(), np.eye(3), bins=-1), "bins is -1"),
    "bins as text": (lambda: panels.histogram(axes(), np.eye(3), bins="a"), "'a'"), "more scores than costs": (lambda: panels.frontier([1.0], [1.0, 2.0], True), "1 costs for 2 scores"), "no samples": (lambda: panels.plane(axes(), PATHS, PATHS, most=0), "most"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_answered_in_one_paragraph(name):
    call, words = MISTAKES[name]
    with pytest.raises(BioplausError) as error:
        call()
    assert words in paragraph(error)


@pytest.mark.parametrize("number", (np.int64(1), np.array(1), torch.tensor(1)), ids=("scalar", "array", "tensor"))
def test_numbers_of_numpy_and_torch_are_numbers(number):
    figures.learning(CURVES, most=number, chance=number)
    figures.trajectories(PATHS, PATHS, sample=number, plane=False)
    figures.activity(TRIAL, batch=number, window=number, units=np.arange(2))
    panels.histogram(axes(), np.eye(3), bins=number)
    assert memory(CIRCUIT, TASK, EPROP, seed=number) == memory(CIRCUIT, TASK, EPROP, seed=1)
    assert set(cpu_seconds(ARMS, number)) == {"a"}


def test_what_has_one_meaning_is_taken():
    """A network for its circuit, one state's name, rules that are called by numbers, times with their unit."""
    assert memory(CIRCUIT.build(), TASK, EPROP) == memory(CIRCUIT, TASK, EPROP)
    assert len(figures.activity(TRIAL, states="v").axes) == len(figures.activity(TRIAL, states=("v",)).axes) == 3
    assert [t.get_text() for t in figures.pairwise(np.eye(2), [0.5, 1.0]).axes[0].get_yticklabels()] == ["0.5", "1.0"]
    (drawn,) = figures.trajectories(PATHS[..., :1], PATHS[..., :1], time=np.arange(5) * ms, time_unit="ms").axes
    assert drawn.get_xlim() == (0.0, 5.0) and drawn.get_xlabel() == "Time (ms)"
