"""A figure takes the place only of what bioplaus has drawn, and a standard one only of a standard one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from bioplaus import figures
from bioplaus.errors import RunError
from bioplaus.figures import marks
from bioplaus.runs.standard import save_standard

CURVES = {"bptt": ([0, 1, 2], [[3.0, 2.0, 1.0]])}


def drawn(stem: Path, **more) -> dict[str, Path]:
    return figures.save(figures.learning(CURVES), stem, **more)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_figure_is_replaced_by_its_next(tmp_path):
    drawn(tmp_path / "a")
    drawn(tmp_path / "a", data={"x": np.arange(3)})
    assert list(figures.load_data(tmp_path / "a")) == ["x"], "not the data of the figure before"
    drawn(tmp_path / "a")
    record = json.loads((tmp_path / "a.json").read_text())
    assert set(record["sha256"]) == {"a.pdf", "a.svg", "a.png", "a.csv"} and record["drawn_by"] == "a script"
    assert all(len(hashes) == 1 for hashes in record["sha256"].values())


@pytest.mark.parametrize("suffix", [".pdf", ".svg", ".png", ".csv", ".json"])
def test_a_file_of_somebody_else_is_not_replaced(tmp_path, suffix):
    (tmp_path / f"a{suffix}").write_bytes(b"{}" if suffix == ".json" else b"mine")
    before = content(tmp_path)
    with pytest.raises(RunError, match=rf"has not drawn .*a\{suffix}.*nothing is overwritten.*--out FOLDER") as error:
        drawn(tmp_path / "a")
    assert content(tmp_path) == before and "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", [".pdf", ".svg", ".png", ".csv"])
def test_a_figure_that_somebody_has_worked_on_is_not_replaced(tmp_path, suffix):
    file = drawn(tmp_path / "a")[suffix]
    file.write_bytes(file.read_bytes() + b" ")
    before = content(tmp_path)
    with pytest.raises(RunError, match="somebody has changed it since"):
        drawn(tmp_path / "a")
    assert content(tmp_path) == before


def test_a_picture_by_matplotlib_alone_is_somebody_elses(tmp_path):
    for suffix in ("pdf", "svg", "png"):
        Figure().savefig(tmp_path / f"a.{suffix}")
    with pytest.raises(RunError, match="a.pdf and .*a.svg and .*a.png"):
        drawn(tmp_path / "a")


def test_figures_of_before_are_known_by_their_signature(tmp_path):
    files = drawn(tmp_path / "a")
    record = json.loads(files[".json"].read_text())
    files[".json"].write_text(json.dumps({key: record[key] for key in record if key not in ("sha256", "drawn_by")}))
    drawn(tmp_path / "a")
    files[".json"].unlink()
    files[".csv"].unlink()
    drawn(tmp_path / "a")


def test_a_writer_that_was_killed_leaves_what_can_be_drawn_again(tmp_path, monkeypatch):
    drawn(tmp_path / "a")
    write, written = marks._write, []

    def killed(path, data):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write(path, data)

    monkeypatch.setattr(marks, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        drawn(tmp_path / "a", command="another")
    monkeypatch.undo()
    drawn(tmp_path / "a")


@pytest.mark.parametrize(
    ("record", "of_run", "replaced"),
    [
        ({"drawn_by": marks.STANDARD}, True, True),
        ({"drawn_by": marks.STANDARD}, False, True),
        ({"drawn_by": "the experiment"}, False, False),
        ({"drawn_by": "a script"}, True, False),
        ({"command": "bioplaus figure runs/x/a-s0-1"}, True, True),  # before they said who drew them
        ({"command": "bioplaus figure runs/x"}, False, False),
        ({"command": "python mine.py"}, True, False),
        (None, True, False),
    ],
)
def test_a_standard_figure_replaces_standard_ones_only(tmp_path, record, of_run, replaced):
    files = drawn(tmp_path / "learning")
    if record is None:
        files[".json"].unlink()
    else:
        told = json.loads(files[".json"].read_text())
        files[".json"].write_text(json.dumps({key: told[key] for key in told if key != "drawn_by"} | record))
    before = content(tmp_path)
    if replaced:
        save_standard(figures.learning(CURVES, log=True), "learning", tmp_path, of_run)
        assert content(tmp_path)["learning.png"] != before["learning.png"]
        assert json.loads((tmp_path / "learning.json").read_text())["drawn_by"] == marks.STANDARD
    else:
        with pytest.raises(RunError, match="learning.pdf is one that the experiment itself or a script has drawn"):
            save_standard(figures.learning(CURVES, log=True), "learning", tmp_path, of_run)
        assert content(tmp_path) == before


def test_a_notebook_shows_every_figure_as_a_picture(tmp_path):
    made = [
        figures.learning(CURVES),
        figures.alignment({"bptt": ([0, 1], [[0.1, 0.9]])}),
        figures.final_scores({"bptt": [1.0, 2.0]}),
        figures.weights({"W": np.eye(3)}),
        figures.trajectories(np.zeros((4, 1, 2)), np.ones((4, 1, 2))),
    ]
    for figure in made:
        canvas = figure.canvas
        assert isinstance(figure, Figure) and figure._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"
        assert figure.canvas is canvas, "whoever shows it on a screen still does"
