"""Folders: as they are given, whether they can be used, and that no record names those of one machine."""

from __future__ import annotations

import errno
import getpass
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from light_job import Counting, counted
from PIL import Image

import bioplaus as bp
from bioplaus import cli, content, figures
from bioplaus.errors import ContentError, RunError
from bioplaus.runs import Run, run_experiment
from bioplaus.runs.loop import execute
from bioplaus.runs.queue import Queue
from bioplaus.runs.usable import check_experiment, check_writable


class Echo(bp.Task):
    inputs, outputs, steps, loss, test_trials = 1, 1, 4, bp.tasks.squared, 4

    def batch(self, generator, size, split="train"):
        x = torch.randn(4, size, 1, generator=generator)
        return bp.Batch(x, x.clone(), torch.full((4, size), 1 / 4))


def circuit():
    return bp.circuit("recurrent", cell=bp.model("elman"), inputs=1, units=3, outputs=1)


def echoed(**options):
    return bp.train(circuit(), Echo(), bp.rule("bptt"), updates=1, batch=2, **options)


def arm():
    return bp.Arm(circuit(), Echo(), bp.rule("bptt"), bp.Training(updates=1, batch=2))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home, and a working directory elsewhere."""
    for name in ("home", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("BIOPLAUS_STUDY", raising=False)
    return tmp_path / "home"


# As they are given


def test_a_run_and_an_experiment_go_into_the_home_folder(home, capsys):
    run = echoed(folder="~/echo")
    assert run.done and run.folder == home / "echo" and Run.load("~/echo").recordings["output"].size
    run_experiment(bp.Experiment("t", {"a": arm()}), "t", root=Path("~/all"))
    assert (home / "all" / "t" / "table.csv").exists()
    assert cli.main(["figure", "~/echo", "weights"]) == 0 and (home / "echo" / "figures" / "weights.pdf").exists()
    assert (
        cli.main(["figure", "~/echo", "weights", "--out", "~/mine"]) == 0 and (home / "mine" / "weights.png").exists()
    )
    figures.save(run.figure("learning"), "~/saved/learning.pdf")
    assert len(figures.load_data("~/saved/learning")) == 2
    assert content.new("~/study").folder == home / "study"
    assert list(Path().iterdir()) == [], "no folder is called ~"


def test_the_command_line_takes_the_home_folder_too(home, capsys):
    words = "compare add --rules bptt --updates 1 --batch 2 --units 3 --cell elman --seeds 0 --root ~/out"
    assert cli.main(words.split()) == 0
    assert len(list(home.glob("out/compare-add/bptt-s0-*"))) == 1 and list(Path().iterdir()) == []
    (place,) = home.glob("out/compare-add/bptt-s0-*")
    capsys.readouterr()
    assert cli.main(["show", f"~/{place.relative_to(home)}"]) == 0 and "done, 1 of 1" in capsys.readouterr().out


@pytest.mark.parametrize("given", [3, "", "  ", b"runs", "a\0b", ["runs"], "~no_such_user_at_all/x"])
def test_what_is_no_folder_is_refused(given):
    for ask in (lambda: Run.load(given), lambda: figures.load_data(given)):
        with pytest.raises(RunError, match="must be a path|nobody's home is known"):
            ask()
    with pytest.raises(ContentError, match="must be a path|nobody's home is known"):
        content.new(given)
    with pytest.raises(RunError, match="must be a path|nobody's home is known"):
        echoed(folder=given)


@pytest.mark.parametrize("name", ["", "../out", "/absolute", None, 3])
def test_the_name_of_an_experiment_is_that_of_a_folder_below(tmp_path, name):
    with pytest.raises(RunError, match="The name of an experiment is .*it must be that of a folder below"):
        run_experiment(bp.Experiment("t", {"a": arm()}), name, root=tmp_path)


# Whether they can be used


class Unbegun(Counting):
    def begin(self, seed):
        raise AssertionError("begun, although the folder can't be used")


@pytest.mark.parametrize("place", ["file", "file/below", "file/below/deeper", "dangling", "dangling/below", "/proc/x"])
def test_a_folder_that_can_not_be_made_is_refused_before_anything_is_computed(tmp_path, place):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    before = tree(tmp_path)
    for ask in (
        lambda: execute(Unbegun(), 0, tmp_path / place),
        lambda: Queue(counted(tmp_path / place, Unbegun())),
        lambda: check_experiment(tmp_path / place),
    ):
        with pytest.raises(RunError, match="can't be used: .*Nothing was computed. Give another folder") as error:
            ask()
        assert "\n" not in str(error.value)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_can_not_be_written_to_is_refused_before_anything_is_computed(
    tmp_path, monkeypatch, number, there
):
    folder = tmp_path / "runs" / "mine"
    if there:
        folder.mkdir(parents=True)

    def refuse(*given, **more):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(RunError, match=os.strerror(number)):
        execute(Unbegun(), 0, folder)
    monkeypatch.undo()
    assert tree(tmp_path) == ({"runs": b"", "runs/mine": b""} if there else {})
    check_writable(folder)
    assert tree(tmp_path) == ({"runs": b"", "runs/mine": b""} if there else {}), "to ask leaves nothing behind"


@pytest.mark.parametrize(
    ("name", "text"), [("metrics.csv", "day,weight\n1,2\n"), ("recordings.nc", "x"), ("log.txt", "dear diary\n")]
)
def test_files_of_somebody_else_are_not_overwritten(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(RunError, match=f"holds {name} and no run.json.*nothing is overwritten"):
        echoed(folder=tmp_path)
    assert tree(tmp_path) == {name: text.encode()}


def test_a_table_of_somebody_else_is_not_overwritten(tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "table.csv").write_text("mine")
    with pytest.raises(RunError, match="holds table.csv and no experiment.json"):
        run_experiment(bp.Experiment("t", {"a": arm()}), "t", root=tmp_path)
    assert tree(tmp_path / "t") == {"table.csv": b"mine"}


# What is written down

EXPERIMENT = """
import bioplaus as bp
from bioplaus import Arm, Experiment, Training

def small() -> Experiment:
    task = bp.task("add", steps=12)
    circuit = bp.circuit("recurrent", cell=bp.model("mine"), inputs=task.inputs, units=3, outputs=task.outputs)
    return Experiment(
        title="{title}",
        arms={{"bptt": Arm(circuit, task, bp.rule("bptt"), Training(updates=2, batch=2))}},
        figures={{"learning": lambda results: bp.figures.learning(results.curves("loss"), quantity="{title}")}},
    )
"""
MODEL = "import bioplaus as bp\n\ndef mine():\n    return bp.model('elman')\n"


def study(folder: Path, title: str) -> Path:
    for name, text in {"models/mine.py": MODEL, "experiments/small.py": EXPERIMENT.format(title=title)}.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)
    (folder / "bioplaus.toml").write_text("")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study in a home folder whose experiment was run, in a process as people start one."""
    home = tmp_path_factory.mktemp("home")
    folder = study(home / "my project", "Mine")
    words = [sys.executable, "-m", "bioplaus.cli", "run", "small", "--root", str(folder / "runs")]
    environment = {key: value for key, value in os.environ.items() if key != "BIOPLAUS_STUDY"} | {"HOME": str(home)}
    subprocess.run(words, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE)
    return folder


@pytest.fixture
def ran(made, home):
    """The same, to be moved about."""
    return Path(shutil.copytree(made, home / made.name))


def test_no_record_names_a_folder_of_this_machine(made):
    files = [path for path in (made / "runs").rglob("*") if path.is_file() and path.name != ".lock"]
    assert {"run.json", "experiment.json", "checkpoint.pt", "recordings.nc", "learning.pdf"} <= {
        path.name for path in files
    }
    names = {str(made.parent), str(content.shipped()), str(Path.home()) + "/", f"/{getpass.getuser()}/"}
    for path in files:
        found = [name for name in names if name.encode() in path.read_bytes()]
        assert not found and socket.gethostname() not in path.read_bytes().decode(errors="ignore").split(), path.name
    record = json.loads(next((made / "runs" / "small").glob("*/run.json")).read_text())
    assert record["command"] == "bioplaus run small --root './runs'"
    of = {name: (entry["file"], entry["of"]) for name, entry in record["content"].items()}
    assert of["models/mine"] == ("models/mine.py", "study") and of["models/elman"] == ("models/elman.py", "shipped")
    told = hashlib.sha256((made / "models" / "mine.py").read_bytes()).hexdigest()
    assert record["content"]["models/mine"]["sha256"] == told


def test_a_failure_is_logged_without_the_folders_of_this_machine(tmp_path):
    class Failing(Counting):
        def begin(self, seed):
            made = super().begin(seed)
            made.update = lambda: open(tmp_path / "here" / "nothing")  # type: ignore[method-assign]
            return made

    with pytest.raises(FileNotFoundError):
        execute(Failing(), 0, tmp_path / "here")
    said = (tmp_path / "here" / "log.txt").read_text()
    assert "FileNotFoundError" in said and str(tmp_path / "here") not in said and sys.prefix not in said


def test_a_run_is_made_anew_from_anywhere_and_after_the_project_has_moved(ran, home, tmp_path, monkeypatch, capsys):
    (place,) = (ran / "runs" / "small").glob("bptt-*")
    assert Run.load(place).network.weights, "from a working directory outside of the study"
    moved = tmp_path / "moved"
    shutil.move(ran, moved)
    assert Run.load(moved / "runs" / "small" / place.name).network.weights
    monkeypatch.chdir(study(tmp_path / "other", "Theirs"))
    assert Run.load(moved / "runs" / "small" / place.name).network.weights
    assert cli.main(["figure", str(moved / "runs" / "small")]) == 0
    drawn = (moved / "runs" / "small" / "figures" / "learning.svg").read_text()
    assert "Mine (" in drawn and "Theirs" not in drawn, "drawn by the experiment of the folder's own study"


def test_an_experiment_of_the_same_name_is_not_taken_for_another(ran, tmp_path, monkeypatch, capsys):
    """A folder of runs alone, looked at from another study with another experiment of that name."""
    alone = tmp_path / "alone"
    shutil.move(ran / "runs", alone)
    before = tree(alone)
    monkeypatch.chdir(study(tmp_path / "other", "Theirs"))
    assert cli.main(["figure", str(alone / "small")]) == 1
    said = capsys.readouterr().err
    assert "learning.pdf is one that the experiment itself or a script has drawn" in said and "--out FOLDER" in said
    assert tree(alone) == before
    assert cli.main(["figure", str(alone / "small"), "--out", "here"]) == 0
    assert tree(alone) == before and Path("here/learning.pdf").exists()


def test_paths_are_shortened_as_a_whole_only(home, monkeypatch):
    here = Path.cwd()
    says = {
        f"--root {here}/runs": "--root ./runs",
        f"--root={home}/x": "--root=~/x",
        f"'{home}/a b'": "'~/a b'",
        f"{here}x/runs": f"{here}x/runs",
        f"/mnt{here}/runs": f"/mnt{here}/runs",
        f"{content.shipped()}/models/lif.py": "bioplaus/models/lif.py",
        str(here): ".",
    }
    assert {text: content.impersonal(text) for text in says} == says


def test_the_advice_of_a_new_study_can_be_typed_whatever_it_is_called(tmp_path):
    made = content.new(tmp_path / "it's my study")
    cd = next(line.strip() for line in made.advice.splitlines() if line.strip().startswith("cd "))
    done = subprocess.run(["sh", "-c", f"{cd} && pwd"], capture_output=True, text=True)
    assert done.stdout.strip() == str(made.folder)


def test_figures_of_the_pages_name_no_folder():
    """Their metadata tell the command that drew them, which may have been given elsewhere."""
    pages = Path(__file__).parent.parent / "docs"
    figures = [file for file in pages.rglob("*") if file.suffix in (".png", ".svg")]
    commands = 0
    for file in figures:
        if file.suffix == ".png":
            with Image.open(file) as image:
                image.load()
                told = "\n".join(getattr(image, "text", {}).values())
        else:
            told = "\n".join(re.findall(r"<dc:.*?</dc:", file.read_text(encoding="utf-8"), re.DOTALL))
        commands += "bioplaus " in told
        assert not re.search(r"--root|--out|(?<![\w.])/[a-z]+/", told), (file, told)
    assert commands > 20
