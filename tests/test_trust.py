"""A study of somebody else: which one is used is said first, and its files are not run unasked."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from task_helpers import paragraph

import bioplaus as bp
from bioplaus import cli, content
from bioplaus.content import trust
from bioplaus.errors import ContentError, StudyWarning, UntrustedError
from bioplaus.runs import Run, records

STRANGER = 54321
PARTS = [
    ".",
    "bioplaus.toml",
    "models",
    "models/probe.py",
    "models/__pycache__",
    "models/pack/deep/part.py",
    "experiments",
]
only_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
where_owned = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owner here")


@pytest.fixture
def study(tmp_path, monkeypatch) -> Path:
    """A study whose model leaves a mark when it is run, and the working directory in it."""
    folder = tmp_path / "study"
    (folder / "models" / "__pycache__").mkdir(parents=True)
    (folder / "models" / "pack" / "deep").mkdir(parents=True)
    (folder / "models" / "pack" / "deep" / "part.py").write_text("")
    (folder / "experiments").mkdir()
    (folder / "bioplaus.toml").write_text("")
    (folder / "models" / "probe.py").write_text(
        f"import pathlib\npathlib.Path({str(tmp_path / 'mark')!r}).touch()\n\ndef probe():\n    return 'probed'\n"
    )
    for name in ("BIOPLAUS_STUDY", "BIOPLAUS_TRUST", "SUDO_UID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    return folder


def was_run(study: Path) -> bool:
    return (study.parent / "mark").exists()


def refused(study: Path, part: str, why: str, capsys) -> None:
    """In a script and at the command line, in one paragraph, before anything of it is run; what shipped is there."""
    said = f"The study {study} is not used: .*{why}.*BIOPLAUS_TRUST .*--trust"
    for asked in (
        lambda: bp.model("probe"),
        lambda: content.describe("model", "probe"),
        lambda: content.load("model", "probe"),
    ):
        with pytest.raises(UntrustedError, match=said) as error:
            asked()
        assert str((study / part).resolve()) in paragraph(error)
    with pytest.warns(StudyWarning, match=said):
        bp.model("leaky_rate")
    with pytest.warns(StudyWarning), pytest.raises(ImportError):
        importlib.import_module("bioplaus.content.models.probe")
    assert content.study() == study, "it is there all the same"
    assert cli.main(["list", "models"]) == 0
    told = capsys.readouterr()
    assert re.search(r"^ *probe .*study, not used$", told.out, re.M) and "leaky_rate" in told.out
    assert told.err.startswith(f"bioplaus: The study {study} is not used") and told.err.count("\n") == 1
    assert cli.main(["show", "probe"]) == 2
    assert "'probe' stands for a file that is not run" in capsys.readouterr().err
    assert not was_run(study)


@where_owned
def test_a_study_of_ones_own_is_used(study):
    assert bp.model("probe") == "probed" and was_run(study)


@where_owned
def test_a_study_of_somebody_else_is_not(study, monkeypatch, capsys):
    monkeypatch.setattr(trust, "_ours", lambda: {STRANGER})
    refused(study, ".", "belongs to the user .*, and neither to you nor to root", capsys)


@only_root
@pytest.mark.parametrize("part", PARTS)
def test_nor_is_one_of_which_a_part_is_somebody_elses(study, part, capsys):
    os.chown(study / part, STRANGER, -1)
    refused(study, part, f"belongs to the user {STRANGER}, and neither", capsys)


@where_owned
@pytest.mark.parametrize("part", PARTS)
def test_nor_is_one_to_which_everybody_may_write(study, part, capsys):
    (study / part).chmod((study / part).stat().st_mode | 0o002)
    refused(study, part, "may be written to by everybody", capsys)


@only_root
def test_what_a_link_leads_to_counts(study, tmp_path, capsys):
    (tmp_path / "theirs.py").write_text("def linked(): ...\n")
    os.chown(tmp_path / "theirs.py", STRANGER, -1)
    (study / "models" / "linked.py").symlink_to(tmp_path / "theirs.py")
    with pytest.raises(UntrustedError, match="linked.py belongs to"):
        bp.model("probe")
    (study / "models" / "linked.py").unlink()
    (study / "models" / "linked").symlink_to(tmp_path)
    with pytest.raises(UntrustedError, match="linked/theirs.py belongs to"):
        bp.model("probe")
    os.chown(tmp_path / "theirs.py", 0, -1)
    assert bp.model("probe") == "probed", "a link that leads to where it lies has an end"


@where_owned
def test_a_shipped_name_that_the_study_has_too_is_refused(study, monkeypatch):
    """It would mean something else with and without trust."""
    (study / "models" / "lif.py").write_text((study / "models" / "probe.py").read_text().replace("probe", "lif"))
    monkeypatch.setattr(trust, "_ours", lambda: {STRANGER})
    with pytest.raises(UntrustedError, match="'lif' stands for a file that is not run"):
        bp.model("lif")
    monkeypatch.delitem(sys.modules, "bioplaus.content.models.lif", raising=False)  # another test may have loaded it
    with pytest.warns(StudyWarning):
        module = importlib.import_module("bioplaus.content.models.lif")
    assert module.__file__ == str(content.shipped() / "models" / "lif.py") and not was_run(study)
    assert cli.main(["show", "lif"]) == 2


@where_owned
def test_a_relative_path_does_not_count_and_is_told(study, monkeypatch):
    monkeypatch.setattr(trust, "_ours", lambda: {STRANGER})
    monkeypatch.setenv("BIOPLAUS_TRUST", "/nowhere:.")
    with pytest.raises(UntrustedError, match=r"BIOPLAUS_TRUST says '\.': a path counts there in full only"):
        bp.model("probe")


@where_owned
def test_a_study_that_was_named_is_used(study, monkeypatch):
    """Whoever sets the variable means this folder."""
    monkeypatch.setattr(trust, "_ours", lambda: {STRANGER})
    monkeypatch.setenv("BIOPLAUS_STUDY", str(study))
    assert bp.model("probe") == "probed"


@where_owned
@pytest.mark.parametrize(("said", "used"), [("1", True), ("{study}", True), ("/nowhere:{study}", True), ("0", False), ("yes", False), ("{study}/models", False), ("", False), (":", False), (".", False)])  # fmt: skip
def test_trust_is_said_for_all_or_for_one_folder(study, monkeypatch, said, used):
    monkeypatch.setattr(trust, "_ours", lambda: {STRANGER})
    monkeypatch.setenv("BIOPLAUS_TRUST", said.format(study=study))
    if used:
        assert bp.model("probe") == "probed"
    else:
        with pytest.raises(ContentError):
            bp.model("probe")


@where_owned
def test_the_option_trusts_for_one_command(study, monkeypatch, capsys):
    monkeypatch.setattr(trust, "_ours", lambda: {STRANGER})
    for words in (["list", "models", "--trust"], ["--trust", "list", "models"]):
        assert cli.main(words) == 0
        said = capsys.readouterr()
        assert said.err == "study: .\n" and "probe" in said.out
    assert "BIOPLAUS_TRUST" not in os.environ
    assert cli.main(["show", "probe"]) == 2
    assert cli.main(["list", "models", "--trust=1"]) == 2
    assert "`--trust` takes no value" in capsys.readouterr().err
    assert cli.main(["--trust"]) == 0 and "usage" in capsys.readouterr().out


@pytest.mark.parametrize("verb", [*cli.VERBS, "run sequential_digits"])
def test_the_option_is_told_of_in_every_help(verb, capsys):
    try:
        cli.main([*verb.split(), "--help"])
    except SystemExit:
        pass
    assert "\n--trust, anywhere in the command: " in capsys.readouterr().out


@where_owned
def test_results_of_somebody_else_are_verified(study, monkeypatch, capsys):
    """Data alone is read."""
    monkeypatch.setattr(trust, "_ours", lambda: {STRANGER})
    assert cli.main(["verify", "."]) == 1
    said = capsys.readouterr().err
    assert "nothing to verify" in said and "not used" not in said


@only_root
def test_who_has_called_root_is_no_stranger(study, monkeypatch):
    os.chown(study, STRANGER, -1)
    for caller, used in (("1", False), ("nobody", False), (str(STRANGER), True)):
        monkeypatch.setenv("SUDO_UID", caller)
        if used:
            assert bp.model("probe") == "probed"
        else:
            with pytest.raises(ContentError):
                bp.model("probe")


@only_root
def test_worker_processes_trust_what_the_command_does(study):
    """Python alone is started in them, as `bioplaus.runs.workers` does."""
    os.chown(study / "models", STRANGER, -1)
    script = study.parent / "script.py"
    script.write_text(
        "import multiprocessing\nfrom bioplaus.cli.told import trusting\nfrom bioplaus.content import load\n\n"
        "if __name__ == '__main__':\n    with trusting(['--trust']):\n"
        "        worker = multiprocessing.get_context('spawn').Process(target=load, args=('model', 'probe'))\n"
        "        worker.start()\n        worker.join()\n    print(worker.exitcode)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.stdout == "0\n" and was_run(study), done.stderr


@where_owned
def test_the_study_is_told_first_and_beside_the_tables(study, monkeypatch, capsys):
    def first(*words: str) -> str:
        assert cli.main(words) == 0
        return capsys.readouterr().err

    assert first("list", "models") == "study: .\n"
    (study / "runs" / "deep").mkdir(parents=True)
    monkeypatch.chdir(study / "runs" / "deep")
    assert first("list", "models") == first("show", "lif") == "study: ../..\n"
    assert first("--help") == first("--version") == first("new", "other") == ""
    with pytest.raises(SystemExit):
        cli.main(["compare", "--help"])
    assert capsys.readouterr().err == ""
    monkeypatch.chdir(study.parent)
    assert first("list", "models") == ""
    monkeypatch.setenv("BIOPLAUS_STUDY", str(study))
    assert first("list", "models") == "study: study ($BIOPLAUS_STUDY)\n"


@where_owned
def test_a_folder_whose_name_is_no_line_is_shown_as_one(study, monkeypatch, capsys):
    odd = study.parent / "a\nstudy: b"
    odd.mkdir()
    (odd / "bioplaus.toml").write_text("")
    monkeypatch.setenv("BIOPLAUS_STUDY", str(odd))
    assert cli.main(["list", "models"]) == 0
    assert capsys.readouterr().err.count("\n") == 1


@where_owned
def test_figures_of_somebody_elses_runs_do_not_run_their_files(study, tmp_path, monkeypatch, capsys):
    """``bioplaus figure FOLDER`` makes the experiment anew from its file, in the study in which the folder lies; if it may not be run,
    what needs none of its code is drawn."""
    (study / "experiments" / "probing.py").write_text(
        f"import pathlib\npathlib.Path({str(tmp_path / 'mark')!r}).touch()\n\ndef probing():\n    raise NotImplementedError\n"
    )
    folder = study / "runs" / "probing"
    task = bp.task("target_reaching")
    circuit = bp.circuit("recurrent", cell=bp.model("leaky_rate"), inputs=task.inputs, units=3, outputs=task.outputs)
    run = bp.train(circuit, task, "eprop", updates=1, batch=2, folder=folder / "one")
    for record in (folder / "experiment.json", folder / "one" / "run.json"):
        said = (
            json.loads(record.read_text())
            if record.exists()
            else {"format": 2, "runs": {"eprop": ["one"]}, "content": {}}
        )
        records.write(record, said | {"experiment": {"name": "probing", "config": {}}})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with monkeypatch.context() as patched:
        patched.setattr(trust, "_ours", lambda: {STRANGER})
        assert cli.main(["figure", str(run.folder)]) == 0
        assert f"The study {study} is not used" in capsys.readouterr().err
        assert cli.main(["figure", str(folder)]) == 0
        told = capsys.readouterr()
        assert told.out.splitlines()[0].startswith(str(folder / "figures" / "learning"))
        assert told.err.count("The own figures of the experiment 'probing' are left out") == 1
        assert cli.main(["figure", str(folder), "of_its_own"]) == 2
        assert "are left out" in capsys.readouterr().err
        with pytest.raises(UntrustedError):
            Run.load(run.folder).network  # noqa: B018
        assert not was_run(study)
    assert cli.main(["figure", str(folder)]) == 1 and was_run(study)
    assert capsys.readouterr().err.startswith(f"study: {study}\n")
