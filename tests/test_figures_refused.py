"""Bad data for a figure: one clear paragraph each."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import xarray as xr

from bioplaus import figures
from bioplaus.errors import RunError
from bioplaus.figures import panels


def recording(populations=("",), units=30, steps=400, trials=2):
    rng = np.random.default_rng(1)
    arrays = {}
    for name in populations:
        dot, dim = (f"{name}.", f"unit_{name}") if name else ("", "unit")
        spikes = (rng.random((steps, trials, units)) < 0.02).astype(np.float32)
        arrays[f"{dot}spikes"] = (("time", "batch", dim), spikes)
        v = -60 + rng.normal(0, 3, spikes.shape)
        arrays[f"{dot}v"] = (("time", "batch", dim), v, {"units": "mV"})
    arrays["output"] = (("time", "batch", "unit_output"), rng.normal(0, 1, (steps, trials, 1)))
    return xr.Dataset(arrays, coords={"time": ("time", np.arange(steps) * 1.0, {"units": "ms"})})


def reach(steps=10, batch=12):
    rng = np.random.default_rng(2)
    angle = 2 * np.pi * np.arange(batch) / 6
    goal = np.stack([np.sin(angle), np.cos(angle)], 1)
    way = ((np.arange(steps) + 1) / steps)[:, None, None]
    weight = np.zeros((steps, batch))
    weight[-1] = 1
    outputs = way * goal + np.cumsum(rng.normal(0, 0.02, (steps, batch, 2)), 0)
    return outputs, np.broadcast_to(goal, outputs.shape), weight


def axes():
    return figures.Sheet(89, 60).subplots()


GOOD = ([0.0, 1.0], [[1.0, 2.0]])
OUT, TARGET, WEIGHT = reach()
NAN = np.full((10, 12, 2), np.nan)

BAD = {
    "no dict": (lambda: figures.learning([GOOD]), "are a list"),  # pyright: ignore
    "no arm": (lambda: figures.learning({}), "nothing to draw"),
    "only NaN": (lambda: figures.learning({"a": ([0, 1], [[np.nan, np.nan]])}), "nothing to draw.*'a'"),
    "no pair": (lambda: figures.learning({"a": np.zeros((2, 3, 1))}), "not a pair"),  # pyright: ignore
    "one seed flat": (lambda: figures.learning({"a": ([0, 1], [1.0, 2.0])}), r"values\[None, :\]"),
    "lengths": (
        lambda: figures.learning({"a": ([0, 1, 2], [[1.0, 2.0]])}),
        r"\(3,\) and values of shape \(1, 2\)",
    ),
    "falling": (lambda: figures.learning({"a": ([1, 0], [[1.0, 2.0]])}), "do not rise"),
    "infinite": (lambda: figures.learning({"a": ([0, 7], [[1.0, np.inf]])}), "row 0 at update 7"),
    "gradient": (lambda: figures.weights({"W": torch.ones(2, 2, requires_grad=True)}), "without gradient"),
    "words": (lambda: figures.learning({"a": ([0, 1], [["x", "y"]])}), "real numbers"),
    "log": (lambda: figures.learning({"a": ([0, 1], [[0.0, 1.0]])}, log=True), "log=False"),
    "most": (lambda: figures.learning({"a": GOOD}, most=0), "at most 0 points"),
    "width": (lambda: figures.learning({"a": GOOD}, width=100), "89 mm"),
    "cosine": (lambda: figures.alignment({"a": ([0, 1], [[0.3, 1.2]])}), "between -1 and 1"),
    "pairwise size": (lambda: figures.pairwise(np.eye(3), ["a", "b"]), r"2 rules.*\(3, 3\)"),
    "no rules": (lambda: figures.pairwise(np.zeros((0, 0)), []), "0 rules"),
    "pairwise cosine": (lambda: figures.pairwise([[1.0, 2.0], [2.0, 1.0]], ["a", "b"]), "between -1 and 1"),
    "no lag": (lambda: figures.credit({}, {}), "nothing to draw"),
    "no score": (lambda: figures.final_scores({}), "no final scores"),
    "scores no dict": (lambda: figures.final_scores([1.0]), "no final scores"),  # pyright: ignore
    "empty score": (lambda: figures.final_scores({"a": []}), "'a'.*none of them empty"),
    "NaN score": (lambda: figures.final_scores({"a": [np.nan]}), "'a'.*NaN"),
    "empty alignments": (lambda: figures.summary({"a": GOOD}, {}), "nothing to draw"),
    "no dataset": (lambda: figures.raster(np.zeros(3)), "xarray Dataset"),  # pyright: ignore
    "no spikes": (lambda: figures.raster(recording().drop_vars("spikes")), "it holds v, output"),
    "no trial": (lambda: figures.raster(recording(), batch=2), "no trial 2"),
    "rates": (lambda: figures.raster(recording() * 0.5), "other than 0 and 1"),
    "NaN spikes": (lambda: figures.raster(recording() * np.nan), "NaN or infinite"),
    "window": (lambda: figures.raster(recording(), window=0), "window"),
    "no unit": (lambda: panels.traces(axes(), np.zeros((3, 2)), [0, 1, 2], units=(2,)), "no unit 2.*0 to 1"),
    "times": (lambda: panels.traces(axes(), np.zeros((3, 2)), [0, 1]), "2 times for 3 steps"),
    "target": (lambda: figures.activity(recording(), target=np.zeros((5, 1))), r"\(400, 1\)"),
    "shapes": (lambda: figures.trajectories(OUT, TARGET[:5]), "must be the same"),
    "labels": (lambda: figures.trajectories(OUT, np.zeros((10, 12))), r"\(time, batch, output\)"),
    "NaN path": (lambda: figures.trajectories(NAN, TARGET), "240 values"),
    "no sample": (lambda: figures.trajectories(OUT, TARGET, sample=12), "no sample 12"),
    "three outputs": (lambda: figures.trajectories(NAN[..., :1] * 0 + 1, TARGET[..., :1], plane=True), "NaN"),
    "never asked": (lambda: figures.trajectories(OUT, TARGET, weight=WEIGHT * 0), "at no step"),
    "weight shape": (lambda: figures.trajectories(OUT, TARGET, weight=WEIGHT[:5]), "loss weights have shape"),
    "no paths": (lambda: figures.paths({}), "no paths to draw"),
    "no plane": (lambda: figures.paths({"a": recording()}), "'a' has no output and target of two"),
    "no matrix": (lambda: figures.weights({}), "no weights"),
    "cube": (lambda: figures.weights({"W": np.zeros((2, 2, 2))}), r"'W'.*\(2, 2, 2\)"),
    "NaN weight": (lambda: figures.weights({"W": np.full((2, 2), np.nan)}), "'W'.*NaN"),
    "no weight": (lambda: figures.weights({"W": np.zeros((0, 3))}), "none of them empty"),
    "too many": (lambda: figures.weights({str(k): np.eye(2) for k in range(9)}), "page"),
    "no panel": (lambda: figures.curves(figures.table(a={"b": GOOD}), "c"), "no panel 'c'.*a"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_clear_paragraph(name):
    call, told = BAD[name]
    with pytest.raises(RunError) as caught:
        call()
    message = str(caught.value)
    assert re.search(told, message), message
    assert "\n" not in message and message.endswith((".", "?")) and len(message) > 60
