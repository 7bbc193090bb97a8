"""``bioplaus compare TASK --mode align``: what it writes, what it finds again, what it refuses.

``python tests/test_align_runs.py`` measures one seed in the working directory, slowly, to be killed from outside.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from run_helpers import as_killed

import bioplaus as bp
from bioplaus import cli
from bioplaus.errors import NumericalError, RunError
from bioplaus.learning.trainer import Trainer
from bioplaus.runs import Run
from bioplaus.runs.alignment import Alignment, alignment_job
from bioplaus.runs.alignment_sweep import run_alignment
from bioplaus.runs.compare import Comparison, Setting

RULES = ("bptt", "eprop", "uoro", "dni")
SETTING = Setting(cell="leaky_rate", units=6, updates=4, batch=3, lr=1e-2, align_every=2)
FOLDER = Path("runs/compare-target_reaching-align")
WORDS = (
    "compare target_reaching --mode align --rules bptt,eprop,uoro,dni --cell leaky_rate --units 6 --updates 4 --batch 3 "
    "--lr 0.01 --align-every 2 --draws 3 --lags 0:4"
).split()


def config(**changes) -> Alignment:
    setting = Setting(**{**vars(SETTING), **changes})
    return Alignment(Comparison("target_reaching", RULES, setting), 3, (0, 1, 2, 3))


LONGER = Alignment(
    Comparison("target_reaching", (*RULES, "kernl"), Setting(**{**vars(SETTING), "updates": 12})), 3, tuple(range(8))
)


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BIOPLAUS_STUDY", raising=False)
    return tmp_path


@pytest.fixture
def undrawn(study, monkeypatch):
    """A study whose figures are left out, where they are not what is tested: drawing takes most of the time."""
    monkeypatch.setattr("bioplaus.runs.alignment_report.draw_figures", lambda folder, report: [])
    return study


def read(name: str, folder: Path = FOLDER) -> xr.Dataset:
    return xr.load_dataset(folder / name, engine="h5netcdf")


def kinds(heard) -> list[str]:
    return [event.kind for event in heard if event.kind not in ("update", "drawn")]


def test_the_command_writes_data_table_and_figures(study, capsys):
    assert cli.main([*WORDS, "--seeds", "0:2"]) == 0
    said = capsys.readouterr().out
    assert "bptt drives" in said and "3 of uoro" in said and "every 2 updates" in said and "seed 1  done" in said
    files = {path.name for path in FOLDER.iterdir() if path.is_file()}
    assert files == {"alignment.nc", "credit.nc", "table.csv", "table.md", "experiment.json"}
    figures = {path.name for path in (FOLDER / "figures").iterdir()}
    assert figures >= {
        f"{name}{kind}" for name in ("alignment", "pairwise", "credit") for kind in (".pdf", ".png", ".svg", ".csv")
    }
    assert not list(FOLDER.rglob("*.tmp*"))

    # What was measured is what the library measures.
    work = alignment_job(config())
    assert work.every == 2 and work.training.align_every == 0, "measured once, not by the driver's trainer too"
    given = {"circuit": work.circuit, "task": work.task, "rules": work.rules, "training": work.training}
    alignment, credit = read("alignment.nc"), read("credit.nc")
    assert alignment.sizes == {"seed": 2, "rule": 4, "other": 4, "weight": 6, "update": 2}
    assert credit.sizes == {"seed": 2, "rule": 4, "lag": 4} and credit.attrs["after"] == 4
    for seed in (0, 1):
        expected = bp.align(**given, updates=4, seed=seed, every=2, draws=3)
        for kind in expected.data_vars:
            np.testing.assert_array_equal(alignment[kind].sel(seed=seed), expected[kind], err_msg=str(kind))
        expected = bp.credit_by_lag(**given, lags=(0, 1, 2, 3), seed=seed, after=4, draws=3)
        for kind in expected.data_vars:
            np.testing.assert_array_equal(credit[kind].sel(seed=seed), expected[kind], err_msg=str(kind))

    # The table: means over updates, then mean ± s.e.m. over seeds.
    table: Any = pd.read_csv(FOLDER / "table.csv").set_index("rule").to_dict()
    assert list(table["n"]) == list(RULES) and set(table["n"].values()) == {2}
    for rule in RULES:
        one = alignment.sel(rule=rule, weight="all")
        by_seed = {
            "cosine": one["cosine"].values.mean(1),
            "norm ratio": one["norm_ratio"].values.mean(1),
            "relative error": one["relative_error"].values.mean(1),
            "bias": np.sqrt(np.maximum(0, one["bias_squared"].values.mean(1))),
            "deviation": np.sqrt((one["deviation"].values ** 2).mean(1)),
        }
        for name, values in by_seed.items():
            assert table[name][rule] == pytest.approx(values.mean(), abs=1e-12), (rule, name)
            sem = values.std(ddof=1) / 2**0.5
            assert table[f"{name} s.e.m."][rule] == pytest.approx(sem, abs=1e-12), (rule, name)
    assert table["deviation"]["uoro"] > 0.1 and table["deviation"]["eprop"] == 0
    assert (FOLDER / "table.md").read_text().startswith("| rule ")

    # The figures show it.
    drawn: Any = pd.read_csv(FOLDER / "figures" / "pairwise.csv").set_index(["rule", "other"])["cosine"].to_dict()
    pair = alignment["pairwise"].sel(rule="eprop", other="dni", weight="all").values.mean()
    assert drawn["eprop", "dni"] == pytest.approx(pair) and len(drawn) == 16
    rows = pd.read_csv(FOLDER / "figures" / "credit.csv").set_index(["panel", "rule", "seed", "lag"])
    drawn = rows["value"].to_dict()
    assert drawn["ratio", "dni", 1, 2.0] == pytest.approx(float(credit["norm_ratio"].sel(rule="dni", seed=1, lag=2)))


def test_what_is_done_is_recognised_and_what_is_missing_is_measured(undrawn):
    heard = []
    run_alignment(config(), seeds=(0, 1), progress=heard.append)
    assert kinds(heard) == ["start", "done"] * 2
    steps = [event.update for event in heard if event.kind == "update" and event.seed == 0]
    assert steps == list(range(1, 9)) and {event.updates for event in heard if event.kind == "update"} == {8}
    before = {path: path.stat().st_mtime_ns for path in FOLDER.glob("along_*/*.nc")}
    heard.clear()
    run_alignment(config(), seeds=(0, 1, 2), progress=heard.append)
    assert kinds(heard) == ["found", "found", "start", "done"]
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert read("alignment.nc")["seed"].values.tolist() == [0, 1, 2]
    heard.clear()
    run_alignment(config(lr=0.02), seeds=(0,), progress=heard.append)
    assert kinds(heard) == ["start", "done"], "another learning rate is another measurement"
    (place,) = FOLDER.glob("along_bptt-s1-*")
    (place / "credit.nc").unlink()
    heard.clear()
    run_alignment(config(), seeds=(0, 1), progress=heard.append)
    assert kinds(heard) == ["found", "resume", "done"], "its last checkpoint has it all"
    assert (place / "credit.nc").exists()


@pytest.mark.parametrize("at", (2, 6), ids=("along the way", "among the lags"))
def test_an_interrupted_command_goes_on_with_the_seeds_that_are_missing(undrawn, at):
    def stopping(event):
        if event.kind == "update" and (event.seed, event.update) == (1, at):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_alignment(config(), seeds=(0, 1), progress=stopping)
    (place,) = FOLDER.glob("along_bptt-s1-*")
    assert json.loads((place / "run.json").read_text())["status"] == "interrupted" and not list(place.glob("*.nc"))
    assert not (FOLDER / "table.csv").exists()
    half = Run.load(place)
    assert half.reached == (at + 1, 8) and set(half.weights) == {"W_in", "W_rec", "b", "W_out", "b_out"}
    with pytest.raises(RunError, match="Hand the circuit over"):
        _ = half.network
    heard = []
    run_alignment(config(), seeds=(0, 1), progress=heard.append)
    assert kinds(heard) == ["found", "resume", "done"]
    assert [event.update for event in heard if event.kind == "update"] == list(range(at + 2, 9))
    whole = run_alignment(config(), root="whole", seeds=(0, 1))
    for name in ("alignment.nc", "credit.nc"):
        xr.testing.assert_identical(read(name).drop_attrs(), read(name, whole).drop_attrs())


@pytest.mark.parametrize(
    "part",
    (pytest.param(range(2, 12), marks=pytest.mark.slow), range(13, 18)),
    ids=("along the way", "among the lags"),
)
def test_a_killed_command_goes_on_to_the_same_files(undrawn, part):
    """SIGKILL at any moment after the first checkpoint, which follows the first row; and the same command again."""
    at = random.choice(part)
    process = subprocess.Popen([sys.executable, __file__])
    deadline = time.monotonic() + 120
    while reached() < at and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    (place,) = FOLDER.glob("along_bptt-s0-*")
    killed = Run.load(place)
    assert killed.record["status"] == "running" and at - 1 <= killed.checkpoint["update"] < 20
    heard = []
    run_alignment(LONGER, progress=heard.append)
    assert kinds(heard) == ["resume", "done"] and heard[0].update == killed.checkpoint["update"]
    whole = run_alignment(LONGER, root="whole")
    for name in ("alignment.nc", "credit.nc"):
        xr.testing.assert_identical(read(name).drop_attrs(), read(name, whole).drop_attrs())
    assert (FOLDER / "table.csv").read_text() == (whole / "table.csv").read_text()
    mine, theirs = (
        pd.read_csv(next(folder.glob("along_*")) / "metrics.csv", dtype=str).drop(columns="seconds")
        for folder in (FOLDER, whole)
    )
    pd.testing.assert_frame_equal(mine, theirs)
    assert len(mine) == 20 and len(set(mine["loss"].dropna())) == 12
    assert list(map(float, mine["lag"].dropna())) == [*range(8)]


def reached() -> int:
    """Rows of the one seed's metrics; they are forced to the disk before each checkpoint."""
    return sum(path.read_text().count("\n") - 1 for path in FOLDER.glob("along_*/metrics.csv"))


def test_one_seed_takes_one_comparison_and_one_trainer_a_rule(undrawn, monkeypatch):
    made: list[str] = []
    for home, name in (("bioplaus.runs.alignment", "comparison"), ("bioplaus.runs.compare", "comparison")):
        given = getattr(sys.modules[home], name)
        monkeypatch.setattr(
            f"{home}.{name}", lambda options, given=given: [made.append("comparison"), given(options)][1]
        )
    init = Trainer.__init__
    monkeypatch.setattr(Trainer, "__init__", lambda *given: [made.append("trainer"), init(*given)][1])
    words = (
        "compare target_reaching --mode align --rules bptt,eprop,rtrl --cell leaky_rate --units 4 --updates 2 --batch 2"
    )
    assert cli.main([*words.split(), "--seeds", "0"]) == 0
    assert made == ["comparison", *["trainer"] * 3]


@pytest.mark.slow
def test_workers_measure_what_one_process_does(undrawn):
    one = run_alignment(config(), root="one", seeds=(0, 1))
    heard = []
    two = run_alignment(config(), root="two", seeds=(0, 1), workers=2, progress=heard.append)
    for name in ("alignment.nc", "credit.nc"):
        xr.testing.assert_identical(read(name, one).drop_attrs(), read(name, two).drop_attrs())
    assert kinds(heard).count("done") == 2


def test_a_damaged_file_is_named(undrawn):
    run_alignment(config(), seeds=(0,))
    (place,) = FOLDER.glob("along_*")
    (place / "alignment.nc").write_bytes(b"no data")
    with pytest.raises(RunError, match="alignment.nc is not what was written there") as error:
        run_alignment(config(), seeds=(0,))
    assert "\n" not in str(error.value)


def test_a_damaged_rider_is_told_of_with_its_file(undrawn):
    """One of several trainers in a checkpoint has lost what it holds; nothing is overwritten."""

    def stopping(event):
        if event.kind == "update" and event.update == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_alignment(LONGER, progress=stopping)
    (place,) = FOLDER.glob("along_*")
    file = place / "checkpoint.pt"
    state = torch.load(file, weights_only=True)
    state["trainer"]["along"]["trainers"][1] = None
    torch.save(state, file)
    as_killed(place)
    before = file.read_bytes()
    with pytest.raises(
        RunError,
        match=r"checkpoint\.pt: The checkpoint or state that was given is none of a trainer .* Nothing was changed\.",
    ) as error:
        run_alignment(LONGER)
    assert "\n" not in str(error.value) and file.read_bytes() == before


def test_a_trajectory_that_breaks_down_is_told(study):
    with pytest.raises(NumericalError):
        run_alignment(config(lr=1e38), seeds=(0,))
    (place,) = FOLDER.glob("along_*")
    assert json.loads((place / "run.json").read_text())["status"] == "failed"
    assert not (FOLDER / "alignment.nc").exists()


@pytest.mark.slow
def test_the_figures_are_drawn_again_from_the_folder(study, capsys):
    run_alignment(config(), seeds=(0, 1))
    for path in (FOLDER / "figures").iterdir():
        path.unlink()
    assert cli.main(["figure", str(FOLDER), "credit"]) == 0
    assert capsys.readouterr().out.split() == [str(FOLDER / "figures" / "credit.pdf")]
    (place,) = FOLDER.glob("along_bptt-s0-*")
    assert cli.main(["figure", str(place)]) == 0
    assert len(capsys.readouterr().out.split()) == 3 and (place / "figures" / "pairwise.png").exists()
    assert cli.main(["figure", str(FOLDER), "pairwse"]) == 2
    assert "Did you mean 'pairwise'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--mode", "algin"), "Did you mean 'align'"),
        (("--mode", "align", "--draws", "1"), "`--draws 1`"),
        (("--mode", "align", "--draws", "-3"), "`--draws -3`"),
        (("--mode", "align", "--lags", "many"), "'many' are not lags"),
        (("--mode", "align", "--lags", "0,10"), "from 0 to 9"),
        (("--mode", "align", "--updates", "0"), "updates is 0"),
        (("--mode", "align", "--evaluate-every", "5"), "is for --mode learn"),
        (("--mode", "align", "--tune", "1e-3,1e-2"), "is for --mode learn"),
        (("--mode", "align", "--rules", "bptt,bptt"), "named twice"),
        (("--mode", "align", "--rules", "bptt,eprpo"), "Did you mean 'eprop'"),
        (("--mode", "align", "--rules", "bptt,rflo", "--cell", "lstm"), "The rule 'rflo' cannot serve"),
        (("--draws", "4"), "give --mode align"),
        (("--lags", "4"), "give --mode align"),
    ],
)
def test_a_wrong_word_is_refused_before_work_starts(study, capsys, words, said):
    assert cli.main(["compare", "target_reaching", "--rules", "bptt", *words]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1 and said in told.err
    assert not Path("runs").exists()


def test_the_default_mode_is_to_learn(study, capsys):
    assert cli.main("compare target_reaching --rules bptt --units 4 --updates 1 --batch 2 --seeds 0".split()) == 0
    assert Path("runs/compare-target_reaching/table.csv").exists() and not FOLDER.exists()


if __name__ == "__main__":
    run_alignment(LONGER, progress=lambda event: time.sleep(0.05), checkpoint_every=0)
