"""A run that goes on with other versions says so: to who watches or by a warning, in run.json, and below the table."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from run_helpers import as_killed

import bioplaus as bp
from bioplaus.errors import RunWarning
from bioplaus.runs import provenance, records
from bioplaus.runs.report import make_remarks
from bioplaus.runs.results import Results

THEN = {"python": "3.11.1", "bioplaus": "0.1", "torch": "2.5.0", "numpy": "2.0"}


def train(folder: Path, updates: int = 3, **more: Any) -> bp.runs.Run:
    task = bp.task("target_reaching")
    circuit = bp.circuit("recurrent", cell="elman", inputs=task.inputs, units=2, outputs=task.outputs)
    return bp.train(circuit, task, "bptt", folder=folder, updates=updates, batch=2, checkpoint_every=0, **more)


def arm() -> bp.Arm:
    task = bp.task("target_reaching")
    return bp.Arm(
        bp.circuit("recurrent", cell="elman", inputs=task.inputs, units=2, outputs=task.outputs),
        task,
        bp.rule("bptt"),
        bp.Training(),
    )


class Enough(Exception):
    pass


def interrupted(folder: Path, monkeypatch, versions: dict[str, str], at: int = 1, **more: Any) -> list:
    """A sitting with these versions, up to an update; the events of it."""
    heard = []

    def watch(event) -> None:
        heard.append(event)
        if event.kind == "update" and event.update == at:
            raise Enough

    monkeypatch.setattr(provenance, "versions", lambda: dict(versions))
    with pytest.raises(Enough):
        train(folder, progress=watch, **more)
    return heard


def remarks(events) -> list[str]:
    return [event.message for event in events if event.kind == "remark"]


def test_who_watches_is_told_and_it_stays_in_the_record_to_the_table(tmp_path, monkeypatch):
    assert not remarks(interrupted(tmp_path, monkeypatch, THEN))
    second = interrupted(tmp_path, monkeypatch, THEN | {"torch": "2.6.0"}, at=2)
    (said,) = remarks(second)
    assert (
        "torch 2.5.0, then 2.6.0." in said
        and "last digits" in said
        and "numpy" not in said
        and "go on with the versions" in said
    )
    assert [event.kind for event in second[:2]] == ["resume", "remark"] and said in (tmp_path / "log.txt").read_text()
    monkeypatch.setattr(provenance, "versions", lambda: THEN | {"torch": "2.6.0"})
    events: list = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", RunWarning)
        run = train(tmp_path, progress=events.append)  # the same versions as before, yet not those that it began with
    assert remarks(events) == [said]
    assert run.record["remarks"]["versions"] == said and run.record["versions"]["torch"] == "2.6.0"
    assert [each["torch"] for each in run.record["versions_before"]] == ["2.5.0"]
    results = Results({"bptt": [run]})
    assert make_remarks(bp.Experiment("e", {"bptt": arm()}), results).warnings == (f"bptt, seed 0: {said}",)


def test_where_nobody_watches_it_is_a_warning(tmp_path, monkeypatch):
    interrupted(tmp_path, monkeypatch, THEN)
    monkeypatch.setattr(provenance, "versions", lambda: {**THEN, "bioplaus": "0.2", "numba": "0.61"})
    with pytest.warns(
        RunWarning, match=r"bptt, seed 0: .* bioplaus 0.1, then 0.2; numba missing, then 0.61\."
    ) as caught:
        run = train(tmp_path)
    assert Path(caught[0].filename).name == Path(__file__).name and run.done
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(tmp_path)  # done before: nothing is computed


def test_a_folder_of_another_format_is_told_of(tmp_path, monkeypatch):
    interrupted(tmp_path, monkeypatch, THEN)
    record = json.loads((tmp_path / "run.json").read_text())
    records.write(tmp_path / "run.json", record | {"format": 1})
    with pytest.warns(RunWarning, match=r"format of the folder 1, then \d+"):
        train(tmp_path)


def test_a_run_that_begins_anew_has_no_past(tmp_path, monkeypatch):
    interrupted(tmp_path, monkeypatch, THEN)
    as_killed(tmp_path)
    (tmp_path / "checkpoint.pt").unlink()
    monkeypatch.setattr(provenance, "versions", lambda: THEN | {"torch": "2.6.0"})
    events: list = []
    run = train(tmp_path, progress=events.append)
    assert not remarks(events) and "versions_before" not in run.record and not run.record["remarks"]


def test_the_terminal_shows_it(tmp_path, monkeypatch, capsys):
    interrupted(tmp_path, monkeypatch, THEN)
    monkeypatch.setattr(provenance, "versions", lambda: THEN | {"torch": "2.6.0"})
    train(tmp_path, progress=True)
    assert (
        "bptt  seed 0  The versions changed while this run was computed: torch 2.5.0, then 2.6.0."
        in capsys.readouterr().out
    )
