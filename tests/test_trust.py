"""A study of somebody else: which one is used is said first, and its files are not run unasked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from task_helpers import paragraph

import bioplaus as bp
from bioplaus import cli, content
from bioplaus.content import trust
from bioplaus.errors import ContentError

STRANGER = 54321
PARTS = [".", "bioplaus.toml", "models", "models/probe.py", "models/__pycache__", "experiments"]
only_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
where_owned = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owner here")


@pytest.fixture
def study(tmp_path, monkeypatch) -> Path:
    """A study whose model leaves a mark when it is run, and the working directory in it."""
    folder = tmp_path / "study"
    (folder / "models" / "__pycache__").mkdir(parents=True)
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
    """In a script and at the command line, in one paragraph, before anything of it is run."""
    for asked in (lambda: bp.model("probe"), lambda: bp.model("lif"), lambda: content.names("model")):
        with pytest.raises(
            ContentError, match=f"The study {study} is not used: .*{why}.*--trust.*BIOPLAUS_TRUST=1"
        ) as error:
            asked()
        assert str((study / part).resolve()) in paragraph(error)
    assert content.study() == study, "it is there all the same"
    assert cli.main(["list", "models"]) == 2
    said = capsys.readouterr()
    assert (
        said.out == "" and said.err.startswith(f"bioplaus: The study {study} is not used") and said.err.count("\n") == 1
    )
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
    with pytest.raises(ContentError, match="linked.py belongs to"):
        bp.model("lif")


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
    assert cli.main(["list", "models"]) == 2


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
    """``bioplaus figure FOLDER`` makes the experiment anew from its file, in the study in which the folder lies."""
    (study / "experiments" / "probing.py").write_text(
        f"import pathlib\npathlib.Path({str(tmp_path / 'mark')!r}).touch()\n\ndef probing():\n    raise NotImplementedError\n"
    )
    folder = study / "runs" / "probing"
    folder.mkdir(parents=True)
    (folder / "experiment.json").write_text(
        '{"format": 2, "runs": {}, "experiment": {"name": "probing", "config": {}}, "content": {}}'
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with monkeypatch.context() as patched:
        patched.setattr(trust, "_ours", lambda: {STRANGER})
        assert cli.main(["figure", str(folder)]) == 2
        assert f"The study {study} is not used" in capsys.readouterr().err and not was_run(study)
    assert cli.main(["figure", str(folder)]) == 1 and was_run(study)
    assert capsys.readouterr().err.startswith(f"study: {study}\n")
