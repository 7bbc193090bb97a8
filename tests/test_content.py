"""Content by name: the study shadows what shipped, wherever one stands, and follows files as they change."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import bioplaus as bp
from bioplaus import content
from bioplaus.errors import BioplausError, CellError, ContentError


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(text))
    return file


def make_study(folder: Path, text: str) -> Path:
    write(folder, "bioplaus.toml", "")
    write(
        folder,
        "models/probe.py",
        f"def probe(*, gain=1.0, offset=0.0):\n    return {text!r}, gain, offset\n",
    )
    return folder


def answer(kind: str = "model", name: str = "probe") -> str:
    return content.call(kind, name)[0]


@pytest.fixture(autouse=True)
def outside(tmp_path, monkeypatch):
    """Each test starts outside of any study, in an empty folder."""
    (tmp_path / "outside").mkdir()
    monkeypatch.chdir(tmp_path / "outside")
    monkeypatch.delenv("BIOPLAUS_STUDY", raising=False)


@pytest.fixture
def study(tmp_path, monkeypatch) -> Path:
    folder = make_study(tmp_path / "study", "first")
    monkeypatch.chdir(folder)
    return folder


def test_a_study_is_found_from_any_folder_inside_it(study, monkeypatch):
    deep = study / "runs" / "probe" / "figures"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert content.study() == study
    assert bp.model("probe", gain=2.0) == ("first", 2.0, 0.0)


def test_the_nearest_study_counts_and_the_variable_wins(study, tmp_path, monkeypatch):
    inner = make_study(study / "inner", "inner")
    monkeypatch.chdir(inner)
    assert answer() == "inner"
    monkeypatch.setenv("BIOPLAUS_STUDY", str(make_study(tmp_path / "other", "other")))
    assert answer() == "other"


def test_a_change_of_study_is_followed_and_undone(study, tmp_path, monkeypatch):
    other = make_study(tmp_path / "other", "other")
    assert answer() == "first"
    monkeypatch.chdir(other)
    assert answer() == "other"
    monkeypatch.chdir(tmp_path / "outside")
    with pytest.raises(ContentError, match="no model 'probe'"):
        bp.model("probe")
    monkeypatch.chdir(study)
    assert answer() == "first"


def test_a_study_file_shadows_the_shipped_one(study):
    shipped = content.names("model")["lif"]
    assert shipped == content.shipped() / "models" / "lif.py"
    before = content.load("model", "lif")
    mine = write(study, "models/lif.py", "def lif():\n    return 'mine'\n")
    assert content.names("model")["lif"] == mine
    assert bp.model("lif") == "mine"
    mine.unlink()
    again = content.load("model", "lif")
    assert again.__file__ == before.__file__ == str(shipped)


def test_shipped_content_keeps_its_identity_when_the_study_changes(study, tmp_path, monkeypatch):
    module = content.load("model", "lif")
    bp.model("probe")
    monkeypatch.chdir(make_study(tmp_path / "other", "other"))
    bp.model("probe")
    assert content.load("model", "lif") is module


def test_an_edited_file_is_read_again_even_within_the_same_second(study, monkeypatch):
    # same length and same second: stale bytecode would go unnoticed
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for text in ("aaa", "bbb", "ccc"):
        make_study(study, text)
        assert answer() == text
    assert content.load("model", "probe") is content.load("model", "probe")


@pytest.mark.parametrize(
    ("how", "use"),
    [
        ("from bioplaus.content.models.probe import probe", "probe()"),
        ("from bioplaus.content.models import probe", "probe.probe()"),
        ("import bioplaus.content.models.probe as p", "p.probe()"),
    ],
)
def test_content_that_imports_changed_content_is_read_again(study, how, use):
    write(study, "circuits/outer.py", f"{how}\n\ndef outer():\n    return {use}\n")
    assert answer("circuit", "outer") == "first"
    make_study(study, "other")
    assert answer("circuit", "outer") == "other"


def test_content_modules_are_ordinary_modules(study):
    module = content.load("model", "probe")
    assert module.__name__ == "bioplaus.content.models.probe"
    assert sys.modules[module.__name__] is module
    from bioplaus.content.models import probe  # type: ignore[attr-defined]

    assert probe is module


THING = """
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Thing:
        value: int

    def thing(*, value=1):
        return Thing(value)

    def double(some):
        return Thing(2 * some.value)
    """


def test_content_travels_to_spawned_workers(study):
    write(study, "models/thing.py", THING)
    write(
        study,
        "script.py",
        """
        import multiprocessing
        import bioplaus as bp
        from bioplaus import content

        if __name__ == "__main__":
            double = content.load("model", "thing").double
            with multiprocessing.get_context("spawn").Pool(2) as pool:
                back = pool.map(double, [bp.model("thing", value=n) for n in (1, 2, 3)])
            assert all(type(some) is content.load("model", "thing").Thing for some in back)
            print([some.value for some in back])
        """,
    )
    for variable in (None, str(study)):
        env = os.environ | ({"BIOPLAUS_STUDY": variable} if variable else {})
        where = study.parent / "outside" if variable else study
        done = subprocess.run([sys.executable, study / "script.py"], cwd=where, env=env, capture_output=True, text=True)
        assert done.stdout.strip() == "[2, 4, 6]", done.stderr


def test_an_unpickled_class_is_the_loaded_one(study):
    write(study, "models/thing.py", THING)
    text = pickle.dumps(bp.model("thing", value=7))
    assert pickle.loads(text) == bp.model("thing", value=7)


def test_a_record_names_each_file_in_use_with_the_hash_of_what_was_loaded(study):
    file = study / "models" / "probe.py"
    bp.model("probe")
    record = content.loaded()["models/probe"]
    assert record == content.describe("model", "probe")
    assert record["file"] == str(file) and len(record["sha256"]) == 64
    make_study(study, "edited after loading")
    assert content.loaded()["models/probe"] == record != content.describe("model", "probe")
    bp.model("probe")
    assert content.loaded()["models/probe"] == content.describe("model", "probe")


def test_private_and_unnameable_files_are_not_content(study):
    for name in ("_helper", "two-words", "__init__"):
        write(study, f"models/{name}.py", "raise RuntimeError\n")
    found = content.names("model")
    assert "probe" in found and not {"_helper", "two-words", "__init__"} & set(found)


CONFIGURED = """
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Config:
        updates: int = 10
        rate: float = 0.1

    def configured(config: Config = Config()):
        return config
    """


def test_an_experiment_takes_its_configuration_whole_or_by_field(study):
    write(study, "experiments/configured.py", CONFIGURED)
    config_type = content.load("experiment", "configured").Config
    assert bp.experiment("configured") == config_type()
    assert bp.experiment("configured", updates=3) == config_type(updates=3)
    assert bp.experiment("configured", config=config_type(rate=2.0)) == config_type(rate=2.0)
    with pytest.raises(ContentError, match="'updatse'.* Did you mean 'updates'.* rate, updates"):
        bp.experiment("configured", updatse=3)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: bp.model("prob"), r"no model 'prob'\. Did you mean 'probe'\?.*study.models and .*models"),
        (lambda: bp.circuit("probe"), r"no circuit 'probe'.*among the models"),
        (lambda: bp.model("../probe"), "no model '../probe'"),
        (lambda: bp.model("probe", gian=1), r"parameter 'gian' of the model 'probe'\. Did you mean 'gain'\?.*gain, offset"),
        (lambda: bp.model("needs"), r"No value .* for 'size', 'rate'.* all it takes: size, rate, gain"),
        (lambda: bp.model("broken"), r"broken\.py, line 3, raises SyntaxError"),
        (lambda: bp.model("raises"), r"raises\.py, line 2, raises ZeroDivisionError: division by zero"),
        (lambda: bp.model("imports"), r"imports\.py, line 1, raises ModuleNotFoundError: .*nowhere"),
        (lambda: bp.model("nameless"), r"nameless\.py defines no function 'nameless', only: other"),
        (lambda: content.names("rule"), "no content kind 'rule'.*circuit, experiment, model"),
    ],
)  # fmt: skip
def test_every_mistake_is_told_in_one_paragraph(study, ask, says):
    write(study, "models/needs.py", "def needs(*, size, rate, gain=1.0):\n    return size\n")
    write(study, "models/broken.py", "x = 1\n\ndef broken(:\n")
    write(study, "models/raises.py", "x = 0\nx = 1 / x\n")
    write(study, "models/imports.py", "import nowhere_at_all\n")
    write(study, "models/nameless.py", "from math import pi\n\ndef other():\n    return pi\n")
    with pytest.raises(ContentError, match=says) as caught:
        ask()
    assert "\n" not in str(caught.value)


def test_what_a_factory_itself_refuses_comes_through_unchanged(study):
    write(
        study,
        "models/refuses.py",
        """
        from bioplaus.errors import CellError
        def refuses():
            raise CellError("no such cell can be")
        """,
    )
    with pytest.raises(CellError, match="no such cell can be"):
        bp.model("refuses")


def test_a_file_that_failed_can_be_corrected_without_a_restart(study):
    write(study, "models/fixed.py", "def fixed(:\n")
    with pytest.raises(ContentError):
        bp.model("fixed")
    write(study, "models/fixed.py", "def fixed():\n    return 1\n")
    assert bp.model("fixed") == 1


def test_a_variable_that_names_no_folder_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("BIOPLAUS_STUDY", str(tmp_path / "nowhere"))
    with pytest.raises(ContentError, match=r"BIOPLAUS_STUDY.*not a folder.*bioplaus new"):
        bp.model("lif")


def test_a_deleted_working_directory_still_finds_what_shipped(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert content.study() is None and "lif" in content.names("model")


def test_new_makes_a_study_that_works(tmp_path, monkeypatch):
    made = content.new(tmp_path / "deep" / "my_study")
    own = {str(file.relative_to(made.folder)) for file in made.files if file.suffix == ".py"}
    assert own == {"models/my_cell.py", "circuits/my_circuit.py", "experiments/my_experiment.py"}
    assert {"bioplaus.toml", "README.md"} <= {file.name for file in made.files}
    for kind, folder in content.KINDS.items():  # outside of the study: nothing of it may shadow what shipped
        assert not {file.stem for file in (made.folder / folder).iterdir()} & set(content.names(kind))
    monkeypatch.chdir(made.folder)
    cell = bp.model("my_cell")
    assert isinstance(cell, bp.Cell) and cell.spiking
    circuit = bp.circuit("my_circuit", units=7)
    assert isinstance(circuit, bp.Circuit)
    assert isinstance(bp.experiment("my_experiment"), bp.Experiment)


def test_the_advice_for_a_new_study_shadows_a_shipped_model(tmp_path):
    made = content.new(tmp_path / "my_study")
    commands = [line.strip() for line in made.advice.splitlines() if line.startswith("    ")]
    copy = next(line for line in commands if line.startswith("cp "))
    ask = "from bioplaus import content; print(content.describe('model', 'lif')['file'])"
    script = f'cd {made.folder} && {copy} && {sys.executable} -c "{ask}"'
    done = subprocess.run(script, shell=True, capture_output=True, text=True)
    assert done.stdout.strip() == str(made.folder / "models" / "lif.py"), done.stderr


def test_new_copies_what_is_to_be_changed(tmp_path, monkeypatch):
    made = content.new(tmp_path / "my_study", copy=["lif", "alif"])
    text = (content.shipped() / "models" / "lif.py").read_text()
    assert (made.folder / "models" / "lif.py").read_text() == text
    monkeypatch.chdir(made.folder)
    (made.folder / "models" / "lif.py").write_text(text.replace("threshold=0.6", "threshold=0.7"))
    assert bp.model("lif").parameters["threshold"] == 0.7
    with pytest.raises(ContentError, match="'aliff'. Did you mean 'alif'"):
        content.new(tmp_path / "other", copy=["aliff"])
    assert not (tmp_path / "other").exists()


def test_new_overwrites_nothing(tmp_path):
    write(tmp_path, "taken/notes.txt", "mine")
    for path in ("taken", "taken/notes.txt", "taken/notes.txt/below"):
        with pytest.raises(ContentError, match="can't be made"):
            content.new(tmp_path / path)
    assert [file.name for file in (tmp_path / "taken").iterdir()] == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    assert content.new(tmp_path / "empty").folder == tmp_path / "empty"


def test_every_error_is_a_bioplaus_error_and_names_the_nearest():
    from bioplaus import errors

    kinds = [value for name, value in vars(errors).items() if name.endswith("Error")]
    assert len(kinds) == 10 and all(issubclass(kind, BioplausError) for kind in kinds)
    assert "'Epropp'. Did you mean 'eprop'? Known: bptt" in errors.unknown("rule", "Epropp", ["bptt", "eprop"])
    assert "Did you mean" not in errors.unknown("rule", "zzz", ["bptt", "eprop"])
    assert errors.unknown("rule", "x", []) == "There is no rule 'x'. Known: none."
