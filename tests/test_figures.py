"""The look of the composed figures: size, type, units, nothing clipped, nothing overlapping."""

from __future__ import annotations

import copy
import itertools
import pickle
import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox
from PIL import Image

from bioplaus import figures
from bioplaus.errors import RunError
from bioplaus.figures.panels.labels import place_labels

MM = 1 / 25.4
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


def costs_and_scores(labels=LABELS):
    rng = np.random.default_rng(4)
    costs = {label: 1e-3 * 1.7**k * rng.normal(1, 0.1, 3) for k, label in enumerate(labels)}
    return costs, {label: 70 + 4 * k + rng.normal(0, 2, 3) for k, label in enumerate(labels)}


RIDERS = ("bptt", "tbptt", "rtrl", "eprop", "rflo", "kf_rtrl", "dni", "eprop(feedback=random)")


def by_lag(scale=1.0):
    """Credit of 8 rules over 12 steps, of which one ends and one is exact."""
    rng = np.random.default_rng(5)
    lags = np.arange(12.0)
    curves = {
        label: (lags, scale * np.exp(-lags / (2 + 3 * k)) * rng.uniform(0.8, 1, (3, 12)))
        for k, label in enumerate(RIDERS)
    }
    curves["rtrl"][1][:] = curves["bptt"][1][:] = 1.0
    curves["tbptt"][1][:, 4:] = 0.0 if scale > 1 else np.nan
    return curves


def every_two(names):
    rng = np.random.default_rng(6)
    rows = rng.normal(0, 1, (len(names), 5))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return figures.pairwise(rows @ rows.T, names)


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


def matrices():
    rng = np.random.default_rng(3)
    sparse = rng.normal(0, 0.1, (60, 60)) * (rng.random((60, 60)) < 0.2)
    return {"W_in": rng.normal(0, 0.2, (60, 20)), "W_rec": sparse, "b_out": rng.normal(0, 0.3, 2)}


def pattern():
    time = np.arange(300.0)
    target = np.sin(time / 40)[:, None, None]
    return figures.trajectories(target + 0.1, target, time=time)


COMPOSED = {
    "learning": (lambda: figures.learning(random_curves(), quantity="Accuracy", unit="%", chance=10), 89),
    "learning, long labels": (
        lambda: figures.learning(random_curves((f"eprop, {'random ' * 7}", "own"), 1)),
        89,
    ),
    "loss": (lambda: figures.learning(random_curves(last=900, every=1), unit="per sample", log=True), 89),
    "alignment": (lambda: figures.alignment(cosines()), 89),
    "final_scores": (lambda: figures.final_scores(figures.final(random_curves()), chance=10), 89),
    "summary": (lambda: figures.summary(random_curves(), cosines(), chance=10), 183),
    "summary, two panels": (lambda: figures.summary(random_curves(seeds=1)), 183),
    "pareto": (lambda: figures.pareto(random_curves(), *costs_and_scores(), higher=True, unit="%"), 183),
    "along": (lambda: figures.along(random_curves(RIDERS, last=300, every=1, low=-0.6, high=0.9)), 183),
    "pairwise": (lambda: every_two(RIDERS[:7]), 89),
    "pairwise of 17": (lambda: every_two([*RIDERS, *(f"own rule {k}" for k in range(9))]), 183),
    "credit": (lambda: figures.credit(by_lag(), by_lag(20.0)), 183),
    "raster": (lambda: figures.raster(recording()), 89),
    "activity": (lambda: figures.activity(recording(), target=np.zeros((400, 1))), 89),
    "two populations": (lambda: figures.activity(recording(("excitatory", "inhibitory"))), 89),
    "plane": (lambda: figures.trajectories(*reach()[:2], weight=reach()[2]), 89),
    "over time": (lambda: figures.trajectories(*reach()[:2], weight=reach()[2], plane=False), 89),
    "pattern": (pattern, 89),
    "weights": (lambda: figures.weights(matrices()), 89),
}


@pytest.fixture(params=COMPOSED)
def composed(request):
    """One of the composed figures, and the width it should have; drawn only once each."""
    if request.param not in _drawn:
        _drawn[request.param] = COMPOSED[request.param][0]()
    return _drawn[request.param], COMPOSED[request.param][1]


_drawn: dict[str, Figure] = {}


def texts(figure: Figure) -> list[Text]:
    found = [each for each in figure.findobj(Text) if isinstance(each, Text)]
    return [text for text in found if text.get_text().strip() and text.get_visible()]


def labels(figure: Figure) -> list[str]:
    """Of all axes that have one; rows of names have none."""
    return [text.replace("\n", " ") for ax in figure.axes for text in (ax.get_xlabel(), ax.get_ylabel()) if text]


def has_a_unit(label: str) -> None:
    found = re.fullmatch(r"(.+) \(([^()]+)\)", label)
    assert found, f"{label!r} has no unit"
    quantity, unit = found[1].lower(), found[2]
    if "accuracy" in quantity or "right signs" in quantity:
        assert unit in ("fraction", "%"), label
    if "entropy" in quantity:
        assert unit.partition("/")[0] in ("nats", "bits"), label
    if quantity == "time":
        assert unit in ("ms", "s", "steps"), label
    if "squared error" in quantity:
        assert unit.startswith("a.u.²"), label


def test_every_axis_has_a_unit(composed):
    found = labels(composed[0])
    assert found
    for label in found:
        has_a_unit(label)


def test_size_and_type(composed):
    figure, width = composed
    assert isinstance(figure, Figure)
    assert figure.get_figwidth() * 25.4 == pytest.approx(width)
    assert figure.get_figheight() * 25.4 <= 247


def test_all_text_is_seven_points(composed):
    figure, _ = composed
    # Drawn outside the style, where ticks made late would take the global font size of 10 pt.
    figure.draw_without_rendering()
    sizes = {text.get_fontsize() for text in texts(figure) if not re.fullmatch("[a-p]", text.get_text())}
    assert sizes == {7.0}
    letters = [text for text in texts(figure) if re.fullmatch("[a-p]", text.get_text())]
    assert all(text.get_fontsize() == 8 and text.get_fontweight() == "bold" for text in letters)


def test_every_axis_tells_its_unit(composed):
    figure, _ = composed
    for ax in figure.axes:
        beside = ax.yaxis.get_label().get_text()
        rows = [text.get_text() for text in ax.get_yticklabels()]
        if not any(re.search("[a-z]", row) for row in rows):  # rows with names need no label
            assert re.search(r"\S \(.+\)$", beside), beside
        below = ax.xaxis.get_label().get_text()
        shares = ax.xaxis.get_tick_params().get("labelbottom") is False
        if ax.get_label() != "<colorbar>" and not shares:
            assert re.search(r"\S \(.+\)$", below), below


def test_no_top_or_right_spine(composed):
    figure, _ = composed
    for ax in figure.axes:
        if not ax.images and ax.get_label() != "<colorbar>":
            assert not ax.spines["top"].get_visible() and not ax.spines["right"].get_visible()


def test_nothing_is_clipped_and_nothing_overlaps(composed):
    figure, _ = composed
    figure.draw_without_rendering()
    page = figure.bbox
    drawn = []
    for ax in figure.axes:
        for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
            low, high = min(low, high), max(low, high)
            span = 1e-9 * (high - low)
            shown = [tick for tick in axis.get_major_ticks() if low - span <= tick.get_loc() <= high + span]
            drawn += [tick.label1 for tick in shown] + [tick.label2 for tick in shown]
            drawn.append(axis.get_label())
        drawn += [*ax.texts, ax._left_title]  # pyright: ignore[reportAttributeAccessIssue]
    legends = [*figure.legends, *(legend for ax in figure.axes if (legend := ax.get_legend()))]
    drawn += [text for legend in legends for text in legend.get_texts()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in drawn if text.get_text() and text.get_visible()]
    assert len(boxes) > 6
    for name, box in boxes:
        inside = box.x0 >= -0.5 and box.y0 >= -0.5 and box.x1 <= page.x1 + 0.5 and box.y1 <= page.y1 + 0.5
        assert inside, f"{name!r} is clipped: {box} on {page}"
    for (name, box), (other, their) in itertools.combinations(boxes, 2):
        wide = min(box.x1, their.x1) - max(box.x0, their.x0)
        high = min(box.y1, their.y1) - max(box.y0, their.y0)
        assert wide < 1 or high < 1, f"{name!r} overlaps {other!r}"


def test_legend_covers_no_data(composed):
    figure, _ = composed
    figure.draw_without_rendering()
    for legend in [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]:
        box = legend.get_window_extent()
        for ax in figure.axes:
            inner = ax.get_window_extent()
            wide = min(box.x1, inner.x1) - max(box.x0, inner.x0)
            high = min(box.y1, inner.y1) - max(box.y0, inner.y0)
            assert wide < 1 or high < 3


def test_global_settings_are_left_alone(tmp_path):
    before = copy.deepcopy(dict(matplotlib.rcParams))
    figure = figures.summary(random_curves(), cosines())
    figures.save(figure, tmp_path / "summary")
    with pytest.raises(RunError), figures.style():
        figures.Sheet(100)
    assert dict(matplotlib.rcParams) == before


def test_pyplot_is_never_imported():
    code = (
        "import sys, numpy as np; from bioplaus import figures as f;"
        "f.learning({'bptt': ([0, 1], [[1., 2.]])}); f.weights({'W': np.eye(3)});"
        "assert 'matplotlib.pyplot' not in sys.modules; assert 'torch' not in sys.modules;"
        "assert 'brian2' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_sheet_sizes():
    assert figures.Sheet(183, 100).get_size_inches() == pytest.approx([183 * MM, 100 * MM])
    with pytest.raises(RunError, match="89 mm .* or 183 mm"):
        figures.Sheet(120, 60)
    with pytest.raises(RunError, match="247"):
        figures.Sheet(89, 300)


def test_a_sheet_has_its_style_while_it_is_drawn_on():
    before = copy.deepcopy(dict(matplotlib.rcParams))
    with pytest.raises(ZeroDivisionError), figures.Sheet(89, 60) as sheet:
        ax = sheet.subplots()
        assert not ax.spines["top"].get_visible() and ax.set_title("x").get_fontsize() == 7
        _ = 1 / 0
    assert dict(matplotlib.rcParams) == before
    with figures.Sheet(89, 60) as sheet:
        figure = sheet.done({"x": [1.0]})
    assert pickle.loads(pickle.dumps(figure)).drawn == {"x": [1.0]}


def test_panels_have_letters_and_colour_bars_have_none():
    with figures.Sheet(183, 60) as sheet:
        for ax in sheet.subplots(1, 2):
            figures.panels.matrix(ax, np.eye(3))
        sheet.letter()
    assert [(ax.get_label(), ax.get_title("left")) for ax in sheet.axes] == [
        ("", "a"),
        ("", "b"),
        ("<colorbar>", ""),
        ("<colorbar>", ""),
    ]


def test_own_marks_are_explained_above_the_panels():
    pens = figures.pens(("bptt", "tbptt"))
    with figures.Sheet(89, 60) as sheet:
        (dot,) = sheet.subplots().plot([0], [0], "o")
        sheet.explain({**pens, "target": dot}, "median")
    (legend,) = sheet.legends
    assert legend.get_title().get_text() == "median"
    assert [text.get_text() for text in legend.get_texts()] == ["bptt", "tbptt", "target"]
    lines = [handle for handle in legend.legend_handles if isinstance(handle, Line2D)]
    assert [line.get_color() for line in lines[:2]] == [pen.colour for pen in pens.values()]
    assert lines[2].get_marker() == "o"
    below = max(ax.get_window_extent().y1 for ax in sheet.axes)
    assert legend.get_window_extent().y0 >= below


@pytest.mark.parametrize(("letters", "columns"), [(1, 6), (20, 2), (80, 1)])
def test_a_key_takes_as_many_columns_as_stand_beside_each_other(letters, columns):
    with figures.Sheet(89, 100) as sheet:
        sheet.subplots()
        sheet.explain({f"{k}{'x' * letters}": pen for k, pen in enumerate(figures.pens(list("abcdefg")).values())})
    (legend,) = sheet.legends
    assert legend._ncols == columns  # pyright: ignore[reportAttributeAccessIssue]
    assert legend.get_window_extent().width <= sheet.bbox.width


def test_names_of_points_are_placed_in_the_final_layout():
    places = []
    for laid_out in (False, True):
        with figures.Sheet(89, 80) as sheet:
            points = figures.panels.pareto(sheet.subplots(), *costs_and_scores(), higher=True)
            if laid_out:
                sheet.draw_without_rendering()
            sheet.name_points(points)
        assert [text.get_text() for text in points.ax.texts] == list(LABELS)
        places.append([text.xyann for text in points.ax.texts if isinstance(text, Annotation)])
    assert places[0] == places[1]


@pytest.mark.parametrize(
    ("places", "line"),
    [
        ({f"rule {k}": (0.5, 0.5) for k in range(6)}, []),
        ({"rule": (0.5, 0.5), "beside": (0.56, 0.5)}, []),
        ({"rule": (0.5, 0.5)}, [(0.55, 0.0), (0.55, 1.0)]),
        ({"rule": (0.99, 0.5)}, []),
    ],
    ids=["names", "points", "lines", "the edge"],
)
def test_names_are_put_where_they_cover_nothing(places, line):
    """At first each stands to the right of its point, where another name or point, a line, or the edge is in its way."""
    with figures.Sheet(89, 80) as sheet:
        ax = sheet.subplots()
        ax.set(xlim=(0, 1), ylim=(0, 1))
        sheet.draw_without_rendering()
        texts = place_labels(ax, places, dict.fromkeys(places, "#000000"), [np.array(line)] if line else [])
        boxes = [Text.get_window_extent(text) for text in texts]  # without the line to the point
        middles, radius = ax.transData.transform(list(places.values())), 1.8 / 72 * sheet.dpi
        dots = [Bbox([middle - radius, middle + radius]) for middle in middles]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    for box in boxes:
        assert box.x1 <= ax.get_window_extent().x1
        assert not any(box.overlaps(dot) for dot in dots)
        assert not line or not box.x0 < ax.transData.transform(line[0])[0] < box.x1


def test_stacked_panels_have_their_shared_label_once():
    with figures.Sheet(89, 80) as sheet:
        axes = sheet.subplots(3, 1, sharex=True)
        for ax in axes:
            ax.set(xlabel="Time (ms)", ylabel="v (mV)")
        axes[0].set_yticks([0.0], ["a long number"])
        sheet.stack(axes)
    sheet.draw_without_rendering()
    assert [ax.get_xlabel() for ax in axes] == ["", "", "Time (ms)"]
    assert len({ax.yaxis.label.get_window_extent().x0 for ax in axes}) == 1


def test_every_figure_can_be_saved(composed, tmp_path):
    figure, width = composed
    files = figures.save(figure, tmp_path / "figure")
    with Image.open(files[".png"]) as image:
        assert image.width == pytest.approx(width * MM * 300, abs=1)
    assert figures.load_data(tmp_path / "figure") is not None
