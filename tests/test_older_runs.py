"""Folders of runs as they were written before: listed, drawn, gone on with.

``data/runs_a60982b.tar.xz`` holds what the commands below left when bioplaus was at commit a60982b: seed 0 finished; seed 1
interrupted, bp_lambda (with a predictor) after 4 updates, rflo (with random feedback) after 5, the alignment after 3. Figures,
and the folder in front of content files, were taken out.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from frozen_record import fingerprint

from bioplaus import cli
from bioplaus.errors import RunError, SealWarning
from bioplaus.own import tensors
from bioplaus.runs import Run
from bioplaus.runs.formats import FORMAT

KEPT = Path(__file__).parent / "data" / "runs_a60982b.tar.xz"
LEARN = "compare target_reaching --rules bp_lambda,rflo --cell leaky_rate --units 6 --updates 6 --batch 3 --lr 0.01"
LEARN += " --evaluate-every 3 --seeds 0:2"
ALIGN = (
    "compare target_reaching --mode align --rules bptt,bp_lambda,uoro --cell leaky_rate --units 6 --updates 4 --batch 3"
)
ALIGN += " --lr 0.01 --align-every 2 --draws 3 --lags 0:4 --seeds 0:2"
COMPARED, ALIGNED = Path("runs/compare-target_reaching"), Path("runs/compare-target_reaching-align")


@pytest.fixture(autouse=True)
def older(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BIOPLAUS_STUDY", raising=False)
    with tarfile.open(KEPT) as archive:
        archive.extractall(".", filter="data")


@pytest.fixture
def undrawn(monkeypatch):
    """Figures left out, where they are not what is tested: drawing takes most of the time."""
    for home in ("report", "alignment_report"):
        monkeypatch.setattr(f"bioplaus.runs.{home}.draw_figures", lambda *given: [])


def told(capsys, words: str) -> str:
    assert cli.main(words.split()) == 0
    return capsys.readouterr().out


def folder(start: str, root: Path = COMPARED) -> Path:
    (found,) = root.glob(f"{start}-*")
    return found


def same(a, b, place: Path = COMPARED) -> None:
    """Bit for bit on the machine that wrote the older folders, or one like it; elsewhere sums round differently."""
    record = json.loads(next(place.glob("*-s0-*/run.json")).read_text())
    here = fingerprint()
    if (record["machine"]["cpu"], record["versions"]["torch"]) == (here["cpu"], here["torch"]):
        np.testing.assert_array_equal(a, b)
    else:
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("start", "root", "status"),
    [
        ("bp_lambda-s0", COMPARED, "done, 6 of 6 updates"),
        ("bp_lambda-s1", COMPARED, "interrupted, 4 of 6 updates"),
        ("rflo-s1", COMPARED, "interrupted, 5 of 6 updates"),
        ("along_bptt-s0", ALIGNED, "done, 4 of 4 updates"),
        ("along_bptt-s1", ALIGNED, "interrupted, 3 of 4 updates"),
    ],
)
def test_an_older_run_is_shown(capsys, start, root, status):
    said = told(capsys, f"show {folder(start, root)}")
    assert status in said and "bioplaus compare target_reaching" in said and '"leaky_rate"' in said


def test_older_runs_are_drawn(capsys):
    figures = {"learning", "pareto"}
    assert {Path(line).stem for line in told(capsys, f"figure {COMPARED}").split()} == figures
    for start in ("rflo-s0", "bp_lambda-s1"):
        for name in ("weights", "learning"):
            (drawn,) = told(capsys, f"figure {folder(start)} {name}").split()
            assert Path(drawn).stat().st_size > 1000
    assert len(told(capsys, f"figure {folder('along_bptt-s0', ALIGNED)}").split()) == 3


def test_an_older_run_is_read():
    run = Run.load(folder("bp_lambda-s0"))
    assert run.done and run.own["predictor"]["A"].any(), "the predictor has learned"
    feedback = Run.load(folder("rflo-s1")).own["feedback"].fixed["B"]
    assert feedback.shape == (2, 6) and feedback.any()
    assert run.network.weights.keys() == run.weights.keys()
    assert run.recordings["output"].shape == (10, 1, 2)


@pytest.mark.parametrize("words", [f"show {COMPARED}/rflo-s0-e4b1b89b", f"figure {COMPARED}", f"{LEARN} --workers 2"])
def test_one_remark_says_that_they_carry_no_seal(undrawn, capfd, words):
    """However many folders are read, and in however many processes; what goes on carries a seal from then on."""
    assert cli.main(words.split()) == 0
    assert capfd.readouterr().err.count("they carry no seal") == 1
    assert cli.main(["verify", "runs"]) == 0
    said = capfd.readouterr()
    unsealed = 4 if words.startswith(LEARN) else 7  # two runs have gone on, and their table was made anew
    assert f"Nothing is wrong with any of the 7.\n{unsealed} carry no seal" in said.out
    assert not said.err


def test_a_script_is_told_once(recwarn):
    for _ in range(2):
        Run.load(folder("bp_lambda-s0"))
    assert {each.category for each in recwarn} == {SealWarning}


def test_a_checkpoint_of_a_later_format_is_left_alone():
    file = folder("bp_lambda-s1") / "checkpoint.pt"
    torch.save(torch.load(file, weights_only=True) | {"format": FORMAT + 1}, file)
    before = file.read_bytes()
    with pytest.raises(RunError, match=f"its format is {FORMAT + 1}, and this bioplaus reads up to {FORMAT}"):
        _ = Run.load(file.parent).checkpoint
    assert file.read_bytes() == before


def test_an_older_run_goes_on_to_what_it_would_have_become(undrawn, capsys):
    said = told(capsys, LEARN)
    assert said.count("was done before") == 2
    assert (
        "bp_lambda  seed 1  goes on at update 4 of 6" in said and "rflo       seed 1  goes on at update 5 of 6" in said
    )
    assert "CPU time" not in said and "by the clock, summed over 4 runs" in said  # of runs that did not count it
    whole = told(capsys, f"{LEARN} --root whole")
    assert "s of CPU time, " in whole and "by the clock, summed over 4 runs" in whole
    for start in ("bp_lambda-s0", "bp_lambda-s1", "rflo-s0", "rflo-s1"):
        run, whole = Run.load(folder(start)), Run.load(folder(start, Path("whole", COMPARED.name)))
        assert run.folder.name == whole.folder.name and run.config == whole.config
        assert list(run.metrics) == list(whole.metrics) and len(run.metrics) == 6
        for column in set(run.metrics) - {"seconds"}:
            same(run.metrics[column], whole.metrics[column])
        for mine, theirs in ((run.weights, whole.weights), (tensors(run.own), tensors(whole.own))):
            assert mine.keys() == theirs.keys()
            for name, tensor in mine.items():
                same(tensor.numpy(), theirs[name].numpy())
        same(run.recordings["output"], whole.recordings["output"])
    assert not Run.load(folder("bp_lambda-s1")).metrics.equals(Run.load(folder("bp_lambda-s0")).metrics)


def test_an_older_alignment_is_found_and_an_interrupted_one_begins_anew(undrawn, capsys):
    said = told(capsys, ALIGN)
    assert "seed 0  was done before" in said and "seed 1  starts: 8 updates" in said and "seed 1  done" in said
    told(capsys, f"{ALIGN} --root whole")
    for name in ("alignment.nc", "credit.nc"):
        mine, whole = (
            xr.load_dataset(root / name, engine="h5netcdf") for root in (ALIGNED, Path("whole", ALIGNED.name))
        )
        assert mine.sizes["seed"] == 2 and mine.keys() == whole.keys()
        for kind in mine.data_vars:
            same(mine[kind], whole[kind], ALIGNED)
