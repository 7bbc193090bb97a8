"""What the panels draw equals what they were given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.patches import StepPatch

from bioplaus import figures
from bioplaus.errors import RunError
from bioplaus.figures import panels
from bioplaus.figures.data import averaged
from bioplaus.figures.panels.activity import population_rate

LABELS = ("bp_lambda λ=1", "bp_lambda λ=0", "label-conditioned", "predictor off", "eprop", "bptt")


def random_curves(labels=LABELS, seeds=3, last=2000, every=100, low=10.0, high=95.0):
    rng = np.random.default_rng(0)
    updates = np.arange(0, last + 1, every)
    rise = 1 - np.exp(-updates / 200)
    return {
        label: (
            updates,
            low + (high * (1 - 0.08 * k) - low) * rise + rng.normal(0, 0.01 * high, (seeds, updates.size)),
        )
        for k, label in enumerate(labels)
    }


def cosines(labels=LABELS[:2]):
    return random_curves(labels, low=0.0, high=0.9)


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


def line(ax, label):
    (found,) = [each for each in ax.lines if each.get_label() == label]
    return found


def lines(ax, label):
    return [each for each in ax.lines if each.get_label() == label]


def xy(drawn):
    """(point, 2) of a line."""
    return np.asarray(drawn.get_xydata())


def levels(ax):
    """Heights of the steps drawn on the axes."""
    (steps,) = [each for each in ax.patches if isinstance(each, StepPatch)]
    return np.asarray(steps.get_data()[0])


def test_mean_and_sem_are_those_of_the_data():
    curves = random_curves(("eprop",), seeds=4)
    updates, values = curves["eprop"]
    values[1, 3] = values[2, 3] = np.nan
    ax = axes()
    panels.learning(ax, curves, quantity="Accuracy", unit="%")
    frame = pd.DataFrame(values)
    mean, sem = frame.mean().to_numpy(), frame.sem(ddof=1).to_numpy()
    assert xy(line(ax, "eprop")) == pytest.approx(np.stack([updates, mean], 1))

    (band,) = [each for each in ax.collections if isinstance(each, PolyCollection)]
    corners = np.asarray(band.get_paths()[0].vertices)
    for k, update in enumerate(updates):
        edge = corners[corners[:, 0] == update, 1]
        assert edge.min() == pytest.approx(mean[k] - sem[k]) and edge.max() == pytest.approx(mean[k] + sem[k])

    rows = lines(ax, "_seed")
    assert len(rows) == 4
    for row, given_ in zip(rows, values, strict=True):
        assert xy(row)[:, 1] == pytest.approx(given_[np.isfinite(given_)])
        assert row.get_linewidth() < line(ax, "eprop").get_linewidth()
    assert ax.get_ylabel() == "Accuracy (%)" and ax.get_xlabel() == "Updates (number)"


@given(st.data())
def test_mean_sem_equals_pandas(data):
    shape = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 6)))
    number = st.floats(-1e3, 1e3) | st.just(np.nan)
    size = shape[0] * shape[1]
    values = np.array(data.draw(st.lists(number, min_size=size, max_size=size))).reshape(shape)
    mean, sem, n = figures.mean_sem(values)
    frame = pd.DataFrame(values)
    assert mean == pytest.approx(frame.mean().to_numpy(), nan_ok=True, abs=1e-9)
    assert sem == pytest.approx(frame.sem(ddof=1).to_numpy(), nan_ok=True, abs=1e-9)
    assert n.tolist() == frame.count().tolist()


def test_single_seed_has_no_band_and_says_so():
    figure = figures.learning(random_curves(("bptt",), seeds=1))
    (ax,) = figure.axes
    assert not ax.collections and len(ax.lines) == 1
    assert figure.legends[0].get_title().get_text() == "n = 1 seed"


def test_number_of_seeds_stands_in_the_key():
    curves = random_curves(("bptt", "eprop"), seeds=3)
    (legend,) = figures.learning(curves).legends
    assert legend.get_title().get_text() == "mean ± s.e.m., n = 3 seeds"
    curves["eprop"][1][2] = np.nan  # never measured
    (legend,) = figures.learning(curves).legends
    assert [text.get_text() for text in legend.get_texts()] == ["bptt (n = 3)", "eprop (n = 2)"]
    (legend,) = figures.summary(random_curves(("bptt",)), {"bptt": ([0], [[0.5]])}).legends
    assert [text.get_text() for text in legend.get_texts()] == ["bptt (n = 3, 1)"]


def test_arm_without_any_value_is_left_out():
    curves = random_curves(("bptt", "eprop"))
    curves["eprop"][1][:] = np.nan
    (legend,) = figures.learning(curves).legends
    assert [text.get_text() for text in legend.get_texts()] == ["bptt"]


def test_one_measurement_shows_as_a_point():
    (ax,) = figures.learning({"bptt": ([5], [[1.0]])}).axes
    assert line(ax, "bptt").get_marker() == "o"


def test_long_curves_are_averaged_and_the_key_tells():
    updates = np.arange(1, 1001)
    values = np.random.default_rng(0).normal(5, 1, (3, 1000))
    values[0, 10:20] = np.nan
    figure = figures.learning({"bptt": (updates, values)})
    (ax,) = figure.axes
    drawn = xy(line(ax, "bptt"))
    groups = values.reshape(3, 100, 10)
    by_seed = pd.DataFrame(groups.reshape(-1, 10)).mean(axis=1).to_numpy().reshape(3, 100)
    assert drawn[:, 0].tolist() == list(range(10, 1001, 10))
    assert drawn[:, 1] == pytest.approx(np.nanmean(by_seed, 0))
    assert figure.legends[0].get_title().get_text().endswith("points average 10 measurements")
    (ax,) = figures.learning({"bptt": (updates, values)}, most=None).axes
    assert len(xy(line(ax, "bptt"))) == 1000
    assert averaged({"bptt": (updates[:200], values[:, :200])})[1] == 1


def test_alignment_axis():
    (ax,) = figures.alignment(cosines()).axes
    assert "cosine" in ax.get_ylabel() and ax.get_ylim()[1] == pytest.approx(1.03)
    (ax,) = figures.alignment({"eprop": ([0, 1], [[-0.9, 0.2]])}).axes
    assert ax.get_ylim()[0] <= -1


def test_credit_by_lag_is_drawn_as_it_is():
    lags = np.array([0.0, 1.0, 2.0, 5.0])
    cosine = {
        "bptt": (lags, np.ones((3, 4))),
        "rtrl": (lags, np.ones((3, 4))),
        "tbptt": (lags, np.array([[1.0, 0.9, np.nan, np.nan]] * 3)),
    }
    ratio = {**cosine, "tbptt": (lags, np.array([[1.0, 0.8, 0.0, 0.0], [1.0, 0.6, 0.0, 0.0], [1.0, 0.7, 0.0, 0.0]]))}
    figure = figures.credit(cosine, ratio)
    left, right = figure.axes
    assert xy(line(left, "tbptt")).tolist() == [[0, 1], [1, 0.9]], "no credit, no cosine"
    assert xy(line(right, "tbptt")) == pytest.approx(np.array([[0, 1], [1, 0.7], [2, 0], [5, 0]]))
    band = next(each for each in right.collections if np.asarray(each.get_paths()[0].vertices)[:, 1].min() < 0.9)
    corners = np.asarray(band.get_paths()[0].vertices)
    sem = np.std([0.8, 0.6, 0.7], ddof=1) / 3**0.5
    assert corners[corners[:, 0] == 1, 1].min() == pytest.approx(0.7 - sem)
    # Of two curves in the same place the one below is wider.
    assert line(left, "bptt").get_linewidth() > line(left, "rtrl").get_linewidth()
    assert right.get_yscale() == "symlog" and right.get_ylim()[0] < 0 and left.get_xlabel() == "Lag (steps)"
    with figures.style():
        ax = axes()
        long = {"bptt": (np.array([0.0, 1.0, 10.0, 300.0]), np.ones((1, 4)))}
        panels.by_lag(ax, long, quantity="Credit", unit="cosine")
    assert ax.get_xscale() == "symlog" and xy(line(ax, "bptt")).shape == (4, 2)


def test_cosines_of_every_two_rules_stand_in_their_cells():
    cosines = np.array([[1.0, -0.4567, np.nan], [-0.4567, 1.0, 0.004], [np.nan, 0.004, np.nan]])
    (ax,) = figures.pairwise(cosines, ["a", "b", "c"]).axes
    told = {tuple(map(int, text.get_position())): text for text in ax.texts}
    assert {place: text.get_text() for place, text in told.items()} == {
        (0, 0): "1",
        (1, 0): "\N{MINUS SIGN}.46",
        (0, 1): "\N{MINUS SIGN}.46",
        (1, 1): "1",
        (2, 1): "0",
        (1, 2): "0",
    }
    assert told[0, 0].get_color() == "white" and told[2, 1].get_color() == "black"
    (image,) = ax.images
    assert np.asarray(image.get_array()) == pytest.approx(cosines, nan_ok=True) and image.get_clim() == (-1, 1)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b", "c"]


def test_many_rules_are_drawn_without_a_line_for_each_seed():
    curves = [random_curves([f"own {k}" for k in range(n)], low=0.0, high=0.9) for n in (5, 6)]
    few, many = (figures.along(each).axes[0] for each in curves)
    assert len(lines(few, "_seed")) == 15 and not lines(many, "_seed") and len(many.collections) == 6


def test_final_scores_draw_every_seed():
    scores = {"bptt": [97.0, 98.0, 99.5], "eprop": [90.0]}
    ax = axes()
    panels.final_scores(ax, scores, unit="%")
    dots = [xy(each)[:, 0].tolist() for each in lines(ax, "_seed")]
    assert dots == list(scores.values())
    bars = [each.get_segments()[0][:, 0] for each in ax.collections if isinstance(each, LineCollection)]
    mean, sem = np.mean(scores["bptt"]), np.std(scores["bptt"], ddof=1) / np.sqrt(3)
    assert len(bars) == 1 and bars[0] == pytest.approx([mean - sem, mean + sem])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["bptt (n = 3)", "eprop (n = 1)"]


def test_final_is_the_last_measured_value():
    values = np.array([[1.0, 2.0, np.nan], [3.0, 4.0, 5.0], [np.nan] * 3])
    assert figures.final({"a": ([0, 1, 2], values)})["a"].tolist() == [2.0, 5.0]


def test_population_rate_in_hertz():
    spikes = np.zeros((100, 4))
    spikes[::10, 0] = 1  # one of four units at 200 Hz if a step is 0.5 ms
    edges, rate = population_rate(spikes, np.arange(100) * 0.5, 10.0)
    assert edges == pytest.approx(np.arange(0, 51, 10)) and rate * 1e3 == pytest.approx(np.full(5, 50.0))
    ax = axes()
    panels.rate(ax, spikes, np.arange(100) * 0.5)
    assert levels(ax) == pytest.approx(np.full(5, 50.0))
    assert ax.get_ylabel() == "Rate (Hz)"
    # A last window cut short is not an underestimate.
    assert population_rate(np.ones((7, 2)), np.arange(7.0), 5.0)[1] == pytest.approx([1.0, 1.0])
    ax = axes()
    panels.rate(ax, spikes, np.arange(100), time_unit="step")
    assert ax.get_ylabel() == "Rate (spikes/step)"


def test_raster_draws_each_spike_in_its_place():
    spikes = np.zeros((5, 3))
    spikes[1, 2] = spikes[4, 0] = 1
    ax = axes()
    panels.raster(ax, spikes, np.arange(5) * 2.0)
    (ticks,) = [each for each in ax.collections if isinstance(each, LineCollection)]
    places = sorted((float(s[0, 0]), float(s[:, 1].mean())) for s in map(np.asarray, ticks.get_segments()))
    assert np.array(places) == pytest.approx(np.array([(2.0, 2.0), (8.0, 0.0)]))
    assert ax.get_xlabel() == "Time (ms)"


def test_silent_population_is_drawn_as_silent():
    data = recording()
    data["spikes"] = data["spikes"] * 0
    figure = figures.raster(data)
    assert "no spikes" in [text.get_text() for ax in figure.axes for text in ax.texts]
    assert figure.axes[1].get_ylim() == (0.0, 1.0)


def test_activity_takes_the_trial_asked_for_and_its_units():
    data = recording()
    figure = figures.activity(data, batch=1, units=(4,))
    state = next(ax for ax in figure.axes if "v" in ax.get_ylabel())
    assert state.get_ylabel() == "v (mV)"
    assert np.array_equal(xy(line(state, "unit 4"))[:, 1], data["v"].values[:, 1, 4])
    two = figures.activity(recording(("excitatory", "inhibitory")))
    assert [ax.get_ylabel().replace("\n", " ") for ax in two.axes] == [
        "Excitatory unit (index)",
        "Inhibitory unit (index)",
        "Rate (Hz)",
        "Excitatory v (mV)",
        "Inhibitory v (mV)",
        "Output (a.u.)",
    ]


def test_paths_end_where_the_outputs_end():
    outputs, targets, weight = reach(batch=7)
    ax = axes()
    panels.plane(ax, outputs, targets, weight=weight)
    paths = lines(ax, "_path")
    assert len(paths) == 7
    for sample, path in enumerate(paths):
        assert xy(path) == pytest.approx(outputs[:, sample])
    colours = [path.get_color() for path in paths]
    assert colours[0] == colours[6] and len(set(colours)) == 6  # samples 0 and 6 have the same target
    goals = [xy(each)[0] for each in lines(ax, "_goal")]
    assert np.array(goals) == pytest.approx(targets[-1])
    assert not lines(ax, "_target")  # only the end was asked for
    ax = axes()
    panels.plane(ax, outputs, targets)
    assert len(lines(ax, "_target")) == 7


def test_paths_of_several_are_drawn_to_one_scale_each_with_what_it_was_asked():
    outputs, targets, weight = reach(batch=6)
    dims = ("time", "batch", "output")
    given = {
        label: xr.Dataset(
            {"output": (dims, far * outputs), "target": (dims, far * targets), "weight": (dims[:2], weight)}
        )
        for label, far in (("near", 1.0), ("far", 3.0))
    }
    figure = figures.paths(given)
    left, right = figure.axes[:2]
    for ax, far, label in ((left, 1.0, "near"), (right, 3.0, "far")):
        assert label in ax.get_title()
        for sample, path in enumerate(lines(ax, "_path")):
            assert xy(path) == pytest.approx(far * outputs[:, sample])
        assert np.array([xy(each)[0] for each in lines(ax, "_goal")]) == pytest.approx(far * targets[-1])
    assert left.get_xlim() == right.get_xlim() == right.get_ylim() and right.get_xlim()[1] > 3


def test_target_over_time_only_where_asked():
    outputs, targets, weight = reach()
    figure = figures.trajectories(outputs, targets, weight=weight, sample=3, plane=False)
    asked = xy(line(figure.axes[1], "target"))[:, 1]
    assert np.isnan(asked[:-1]).all() and asked[-1] == targets[-1, 3, 1]
    assert np.array_equal(xy(line(figure.axes[1], "output"))[:, 1], outputs[:, 3, 1])


def test_weights_are_rows_of_postsynaptic_units_and_zero_is_white():
    weight = np.array([[0.0, 2.0, -1.0], [0.5, 0.0, 0.0]])
    figure = figures.weights({"W": weight})
    heat = next(ax for ax in figure.axes if ax.images)
    image = heat.images[0]
    assert np.array_equal(np.asarray(image.get_array()), weight)
    assert image.get_clim() == (-2.0, 2.0)
    white = np.asarray(image.to_rgba(np.zeros(1)))[0, :3]
    assert white.min() > 0.95
    assert heat.get_ylabel().startswith("Post") and heat.get_xlabel().startswith("Pre")
    assert levels(figure.axes[1]).sum() == 3  # zeros are left out, and their share is told
    assert "50 % ≠ 0" in [text.get_text() for ax in figure.axes for text in ax.texts]


def test_silent_matrix_is_drawn():
    figure = figures.weights({"W": np.zeros((3, 2))})
    assert "0 % ≠ 0" in [text.get_text() for ax in figure.axes for text in ax.texts]


def test_panels_of_a_summary_share_their_colours():
    figure = figures.summary(random_curves(), cosines(("bptt", "eprop")))
    left, middle, right = figure.axes
    for label in ("bptt", "eprop"):
        wanted = figures.colour(label).lower()
        assert {to_hex(line(ax, label).get_color()) for ax in (left, middle)} == {wanted}
    dots = [to_hex(each.get_color()) for each in right.lines if each.get_label() == "_seed"]
    assert dots == [figures.colour(label).lower() for label in LABELS]


def test_many_outputs_without_target_share_a_panel():
    data = recording().drop_vars(["output", "v"])
    scores = np.random.default_rng(0).normal(size=(400, 2, 10))
    data["output"] = (("time", "batch", "unit_output"), scores)
    *_, last = figures.activity(data, batch=1).axes
    assert len(last.lines) == 10 and last.get_ylabel() == "Output (a.u.)"
    assert np.array_equal(xy(line(last, "output 7"))[:, 1], scores[:, 1, 7])
    assert len(figures.activity(data, target=scores[:, 0]).axes) == 12
    with pytest.raises(RunError, match="mm high"):
        panels_on_no_page = xr.concat([data["output"]] * 2, "unit_output")
        figures.activity(data.drop_vars("output").assign(output=panels_on_no_page), target=np.zeros((400, 20)))
