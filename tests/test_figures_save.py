"""What is stored with a figure: three formats, the drawn data, the command."""

from __future__ import annotations

import json
import os
import re
import sys
import zlib
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from fontTools import subset
from fontTools.ttLib import TTFont, TTLibError
from matplotlib.figure import Figure
from PIL import Image

from bioplaus import figures
from bioplaus.errors import RunError

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


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    figure = figures.learning(random_curves(), quantity="Accuracy", unit="%")
    return figure, figures.save(figure, folder / "lambda-0.5", command="bioplaus run sequential_digits --seeds 0:3")


def test_files_are_named_after_the_path(stored):
    _, files = stored
    assert set(files) == {".pdf", ".svg", ".png", ".csv", ".json"}
    assert all(path.name == "lambda-0.5" + suffix for suffix, path in files.items())
    assert sorted(path.name for path in files[".pdf"].parent.iterdir()) == sorted(p.name for p in files.values())


def test_pdf_has_editable_fonts_the_width_and_the_command(stored):
    content = stored[1][".pdf"].read_bytes()
    for found in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.S):
        try:
            content += zlib.decompress(found)
        except zlib.error:
            continue
    assert b"/CIDFontType2" in content and b"/Type3" not in content  # fonttype 42
    box = re.search(rb"/MediaBox \[ *0 0 ([\d.]+) ([\d.]+) *\]", content)
    assert box and float(box[1]) / 72 * 25.4 == pytest.approx(89, abs=0.01)
    assert b"bioplaus run sequential_digits" in content


def test_pdf_has_the_outlines_of_its_letters_and_no_rules_for_setting_them(stored):
    content, fonts = stored[1][".pdf"].read_bytes(), []
    for found in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.S):
        with suppress(zlib.error, TTLibError):
            fonts.append(TTFont(BytesIO(zlib.decompress(found))))
    drawn = {name for font in fonts for name in font.getGlyphOrder() if font["glyf"][name].numberOfContours}
    assert {"A", "c", "u", "r", "a", "y", "percent", "zero", "lambda"} <= drawn
    assert not {"GSUB", "GPOS", "GDEF", "MATH", "kern"} & {table for font in fonts for table in font.keys()}
    assert "GSUB" not in subset.Options._drop_tables_default, "fontTools cuts fonts out for others as ever"


def test_svg_keeps_its_text(stored):
    root = ElementTree.fromstring(stored[1][".svg"].read_text(encoding="utf-8"))
    assert float(root.attrib["width"].removesuffix("pt")) / 72 * 25.4 == pytest.approx(89, abs=0.01)
    words = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Accuracy (%)", "Updates (number)", "label-conditioned"} <= {word.strip() for word in words}
    names = [node.attrib["id"] for node in root.iter() if "id" in node.attrib]
    assert len(names) == len(set(names))
    assert "bioplaus run sequential_digits" in stored[1][".svg"].read_text(encoding="utf-8")


def test_png_has_300_dots_per_inch(stored):
    with Image.open(stored[1][".png"]) as image:
        assert image.width == pytest.approx(89 * MM * 300, abs=1)
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert image.info["Description"].startswith("bioplaus run")
        pixels = np.asarray(image.convert("L"))
    assert pixels.min() < 30 and 0.01 < (pixels < 250).mean() < 0.5


def test_drawn_curves_come_back(stored):
    figure, files = stored
    frame = figures.load_data(files[".png"])
    assert isinstance(frame, pd.DataFrame)
    pd.testing.assert_frame_equal(frame, figure.drawn, check_dtype=False)
    back = figures.curves(frame, "learning")
    assert list(back) == list(LABELS)
    for label, (updates, values) in random_curves().items():
        assert np.array_equal(back[label][0], updates) and np.array_equal(back[label][1], values)


def test_origin_is_told(stored):
    origin = json.loads(stored[1][".json"].read_text(encoding="utf-8"))
    assert origin["command"] == "bioplaus run sequential_digits --seeds 0:3"
    assert origin["data"] == "lambda-0.5.csv" and set(origin["versions"]) == {
        "bioplaus",
        "matplotlib",
        "numpy",
    }
    assert origin["size_mm"][0] == 89


def test_same_figure_gives_the_same_files(tmp_path):
    once, twice = (
        figures.save(figures.alignment(cosines()), tmp_path / name / "a", command="c") for name in ("one", "two")
    )
    for suffix in (".pdf", ".svg", ".png", ".csv"):
        assert once[suffix].read_bytes() == twice[suffix].read_bytes(), suffix


def test_arrays_and_datasets_come_back(tmp_path):
    data = recording()
    figure = figures.activity(data)
    back = figures.load_data(figures.save(figure, tmp_path / "activity.pdf")[".npz"])
    assert isinstance(back, dict)
    assert np.array_equal(back["spikes"], data["spikes"].values[:, 0])
    assert np.array_equal(back["time"], data["time"].values)
    assert (tmp_path / "activity.svg").is_file()

    figures.save(figure, tmp_path / "own", data=data)
    back = figures.load_data(tmp_path / "own")
    assert isinstance(back, dict) and np.array_equal(back["v"], data["v"].values)

    nested = {"a": {"x": np.arange(3), "label": "word"}, "b": 2.5}
    figures.save(figure, tmp_path / "nested", data=nested)
    back = figures.load_data(tmp_path / "nested")
    assert isinstance(back, dict) and back["a.x"].tolist() == [0, 1, 2] and back["a.label"] == "word"


def test_command_of_this_process_is_the_default(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/bioplaus", "figure", "runs/a b"])
    files = figures.save(figures.alignment(cosines()), tmp_path / "a")
    assert json.loads(files[".json"].read_text())["command"] == "bioplaus figure 'runs/a b'"


@pytest.mark.parametrize("data", [{}, {"a": object()}, {"a": [[1], [1, 2]]}, 3.0, {"a": np.array([None])}])
def test_data_that_cannot_be_stored_are_refused_before_anything_is_written(tmp_path, data):
    with pytest.raises(RunError, match="data of a figure"):
        figures.save(figures.alignment(cosines()), tmp_path / "new" / "a", data=data)
    assert not (tmp_path / "new").exists()


def test_figure_without_data_is_refused(tmp_path):
    with pytest.raises(RunError, match="data=…"):
        figures.save(Figure(), tmp_path / "a")
    with pytest.raises(RunError, match=r"neither a\.csv nor a\.npz"):
        figures.load_data(tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_interrupted_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = figures.save(figures.alignment(cosines()), tmp_path / "a")[".csv"]
    before = path.read_bytes()

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(RunError, match="can.t be saved: .*disk full"):
        figures.save(figures.alignment(cosines(("bptt",))), tmp_path / "a")
    assert path.read_bytes() == before
    assert not [each for each in Path(tmp_path).iterdir() if each.name.endswith(".part")]


@pytest.mark.parametrize("layout", ["constrained", "tight", None])
def test_all_formats_are_of_one_layout_that_is_made_once(layout, tmp_path, monkeypatch):
    """The panel stands at the same place in each; what the figure was set to holds again."""
    figure = Figure(figsize=(3, 2), dpi=90, layout=layout)
    axes = figure.subplots()
    axes.set(xlabel="Time (ms)", ylabel="A label of several words", xlim=(0, 1), ylim=(0, 1))
    engine, made, seen = figure.get_layout_engine(), [], []
    if engine is not None:
        execute = engine.execute
        monkeypatch.setattr(engine, "execute", lambda figure: (made.append(figure.dpi), execute(figure)))
    savefig = figure.savefig
    monkeypatch.setattr(figure, "savefig", lambda *a, **k: (savefig(*a, **k), seen.append(axes.get_position().bounds)))
    start = axes.get_position().bounds
    figures.save(figure, tmp_path / "one", data={"x": np.ones(2)}, command="test")
    assert len(seen) == 3 and len(set(seen)) == 1 and made == ([300] if layout else [])
    assert (seen[0] == start) is (layout is None)
    assert figure.get_layout_engine() is engine and figure.dpi == 90
    left, top = seen[0][0] * 3 * 72, (1 - seen[0][1] - seen[0][3]) * 2 * 72  # points from above, as SVG counts
    corner = re.search(r'<g id="patch_2">\s*<path d="M ([\d.]+) ([\d.]+)', (tmp_path / "one.svg").read_text())
    assert corner is not None
    x, y = map(float, corner.groups())
    assert x == pytest.approx(left, abs=0.01) and y == pytest.approx(top + seen[0][3] * 2 * 72, abs=0.01)
