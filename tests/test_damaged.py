"""Folders of results that were damaged or changed: refused in words, or without any effect on what is read and gone on with."""

from __future__ import annotations

import json
import random
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_helpers import as_killed

import bioplaus as bp
from bioplaus import cli
from bioplaus.errors import RunError
from bioplaus.own import tensors
from bioplaus.runs import Experiment, Run, records, run_experiment, seal, verify
from bioplaus.runs.folder import RunFolder
from bioplaus.runs.metrics import COLUMNS
from bioplaus.runs.queue import planned
from bioplaus.runs.reopen import reopen

UPDATES, STOPPED = 4, 3
STATES = ("done", "interrupted", "killed")


def arms() -> dict[str, bp.Arm]:
    task = bp.task("target_reaching")
    circuit = bp.circuit("recurrent", cell=bp.model("leaky_rate"), inputs=task.inputs, units=3, outputs=task.outputs)
    training = bp.Training(updates=UPDATES, batch=2, evaluate_every=2, align_every=3)
    return {"mine": bp.Arm(circuit, task, bp.rule("bp_lambda"), training)}


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """An experiment of two seeds that is done; beside it the first of them interrupted, and killed later."""
    root = tmp_path_factory.mktemp("kept")
    experiment = Experiment("e", arms(), seeds=(0, 1))
    run_experiment(experiment, "e", root=root / "done", checkpoint_every=0)

    def stopping(event):
        if event.kind == "update" and event.update == STOPPED:
            raise KeyboardInterrupt

    for state in ("interrupted", "killed"):
        with pytest.raises(KeyboardInterrupt):
            run_experiment(experiment, "e", root=root / state, seeds=(0,), checkpoint_every=0, progress=stopping)
    as_killed(first(root / "killed"))
    return root


def first(root: Path) -> Path:
    (found,) = (root / "e").glob("mine-s0-*")
    return found


def observed(root: Path) -> dict[str, Any]:
    """All that can be read of the first run and of the experiment, or the error that is said instead."""
    folder = first(root)

    def of_run(read: Callable[[Run], Any]) -> Callable[[], Any]:
        return lambda: read(Run.load(folder))

    doors = {
        "metrics": of_run(measured),
        "final": of_run(lambda run: run.final("loss")),
        "about": of_run(lambda run: (run.seed, run.label, run.done, run.config)),
        "weights": of_run(lambda run: {name: each.numpy() for name, each in run.weights.items()}),
        "own": of_run(lambda run: {name: each.numpy() for name, each in tensors(run.own).items()}),
        "recordings": of_run(lambda run: run.recordings["output"].values),
        "experiment": lambda: {label: [run.seed for run in runs] for label, runs in reopen(root / "e")[1].items()},
    }
    return {name: said(door) for name, door in doors.items()}


def measured(run: Run) -> dict[str, Any]:
    """The rows that lie behind the last checkpoint; of those after it, if a run was killed, nothing is promised."""
    table = run.metrics.iloc[:STOPPED] if run.record["status"] == "running" else run.metrics
    return {name: table[name].to_numpy() for name in table if name != "seconds"}


def said(door: Callable[[], Any]) -> Any:
    try:
        return door()
    except RunError as error:
        assert "\n" not in str(error) and len(str(error)) < 2000, "one paragraph"
        return error


def same(a: Any, b: Any) -> bool:
    try:
        np.testing.assert_equal(a, b)
    except AssertionError:
        return False
    return True


WHOLE: dict[str, Callable[[Run], Any]] = {
    "metrics": measured,
    "weights": lambda run: {name: each.numpy() for name, each in run.weights.items()},
    "recordings": lambda run: run.recordings["output"].values,
}


def contents(root: Path) -> dict[str, Any]:
    return {
        str(each.relative_to(root)): each.read_bytes() if each.is_file() else None
        for each in sorted(root.rglob("*"))
        if each.name not in (".lock", "log.txt")
    }


# --- damages: what is in a file → what is in it then; None: nothing any more


def flipped(rng: random.Random, data: bytes, other: bytes) -> bytes:
    i = rng.randrange(len(data))
    return data[:i] + bytes([data[i] ^ (1 << rng.randrange(8))]) + data[i + 1 :]


def lost(rng: random.Random, data: bytes, other: bytes) -> bytes:
    i = rng.randrange(len(data))
    return data[:i] + data[i + 1 :]


def added(rng: random.Random, data: bytes, other: bytes) -> bytes:
    i = rng.randrange(len(data) + 1)
    return data[:i] + bytes([rng.randrange(256)]) + data[i:]


def cut(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def last_byte(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data[:-1]


def emptied(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return b""


def of_another(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return other


def gone(rng: random.Random, data: bytes, other: bytes) -> None:
    return None


def zeros(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """What a file system leaves of a file whose content had not reached the disk."""
    return bytes(len(data))


def digit(rng: random.Random, data: bytes, other: bytes) -> bytes:
    places = [i for i, letter in enumerate(data) if chr(letter).isdigit()]
    i = rng.choice(places)
    return data[:i] + str((int(chr(data[i])) + rng.randrange(1, 10)) % 10).encode() + data[i + 1 :]


def lines_swapped(rng: random.Random, data: bytes, other: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    i = rng.randrange(1, len(lines) - 1)
    lines[i], lines[i + 1] = lines[i + 1], lines[i]
    return b"".join(lines)


def line_doubled(rng: random.Random, data: bytes, other: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    i = rng.randrange(len(lines))
    return b"".join([*lines[: i + 1], *lines[i:]])


def line_lost(rng: random.Random, data: bytes, other: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    i = rng.randrange(len(lines))
    return b"".join([*lines[:i], *lines[i + 1 :]])


def encoded(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data.decode().encode(rng.choice(["utf-16", "utf-32", "utf-8-sig", "cp037"]))


def windows(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data.replace(b"\n", b"\r\n")


def other_kind(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return rng.choice(
        [b"[]", b"3", b"null", b'"text"', b"{}", b"[" * 100_000, b"NaN", b'{"format": 1e999}', b"\xff\xfe"]
    )


def value_replaced(rng: random.Random, data: bytes, other: bytes) -> bytes:
    record = json.loads(data)
    place = record
    while True:
        key = rng.choice(sorted(place))
        if not isinstance(place[key], dict) or not place[key] or rng.random() < 0.3:
            break
        place = place[key]
    new = [None, 0, -1, "x", [], {}, True, 1e308, "../..", 10**30]
    place[key] = rng.choice([each for each in new if type(each) is not type(place[key]) or each != place[key]])
    return json.dumps(record, indent=2, ensure_ascii=False).encode() + b"\n"


def key_lost(rng: random.Random, data: bytes, other: bytes) -> bytes:
    record = json.loads(data)
    place = record[rng.choice([key for key in record if isinstance(record[key], dict) and record[key]])]
    place = rng.choice([place, record])
    del place[rng.choice(sorted(place))]
    return json.dumps(record, indent=2, ensure_ascii=False).encode() + b"\n"


def columns_swapped(rng: random.Random, data: bytes, other: bytes) -> bytes:
    rows = [line.split(b",") for line in data.splitlines()]
    i, j = rng.sample(range(1, len(rows[0])), 2)
    for row in rows:
        row[i], row[j] = row[j], row[i]
    return b"\n".join(map(b",".join, rows)) + b"\n"


ANY = (flipped, lost, added, cut, last_byte, emptied, of_another, gone, zeros)
TEXT = (*ANY, digit, lines_swapped, line_doubled, line_lost, encoded, windows)
DAMAGES: dict[str, tuple[Callable[..., bytes | None], ...]] = {
    "run.json": (*TEXT, other_kind, value_replaced, key_lost),
    "metrics.csv": (*TEXT, columns_swapped, other_kind),
    "checkpoint.pt": ANY,
    "recordings.nc": ANY,
    "experiment.json": (*TEXT, other_kind, value_replaced, key_lost),
    "table.csv": (digit, cut),
}
CASES = [
    (state, file, damage)
    for file, some in DAMAGES.items()
    for damage in some
    for state in (STATES if file in ("run.json", "metrics.csv", "checkpoint.pt") else ("done",))
]


def damaged(root: Path, file: str, damage: Callable[..., bytes | None], rng: random.Random) -> bool:
    """Whether that changed anything."""
    outside = file in ("experiment.json", "table.csv")
    path = (root / "e" if outside else first(root)) / file
    siblings = [] if outside else list((root / "e").glob(f"mine-s1-*/{file}"))
    data = path.read_bytes()
    new = damage(rng, data, siblings[0].read_bytes() if siblings else b"something else")
    if new is None:
        path.unlink()
    else:
        path.write_bytes(new)
    return new != data


def check(kept: Path, root: Path, state: str, file: str, damage: Callable[..., bytes | None], seed: int) -> None:
    """Damage a copy; read it, verify it, go on with it."""
    shutil.copytree(kept / state, root)
    before = observed(root)
    rng = random.Random(f"{seed} {state} {file} {damage.__name__}")
    if not damaged(root, file, damage, rng):
        return
    left = contents(root)
    for name, now in observed(root).items():
        assert isinstance(now, RunError) or same(now, before[name]), f"{name} differs in silence"
    faults = (
        [fault for finding in verify(root / "e") for fault in finding.faults]
        if list(root.rglob("*.json"))
        else ["none"]
    )
    assert contents(root) == left, "to look changes nothing"
    try:
        run_experiment(Experiment("e", arms(), seeds=(0,)), "e", root=root)
    except RunError as error:
        assert "\n" not in str(error)
        assert contents(root) == left, "what is refused is left as it was"
        assert faults, "what is refused is found by verify, too"
    else:
        freed = state == "done" and file == "checkpoint.pt" and damage is gone  # to save room, as one may
        for name in WHOLE.keys() - ({"weights"} if freed else set()):
            assert same(WHOLE[name](Run.load(first(root))), WHOLE[name](Run.load(first(kept / "done")))), (
                "other numbers"
            )
        assert not [fault for finding in verify(first(root)) for fault in finding.faults]


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("part", range(4))
def test_damaged_folders(kept, tmp_path, part):
    """A seeded choice of all kinds of damage; with the slow ones, all of them, several times."""
    chosen = random.Random(1).sample(CASES, 32)[part::4]
    assert {case[1] for case in random.Random(1).sample(CASES, 32)} >= {"run.json", "metrics.csv", "checkpoint.pt"}
    for i, (state, file, damage) in enumerate(chosen):
        check(kept, tmp_path / str(i), state, file, damage, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize(("state", "file", "damage"), CASES, ids=lambda one: getattr(one, "__name__", one))
def test_every_kind_of_damage(kept, tmp_path, state, file, damage):
    for seed in range(1, 4):
        check(kept, tmp_path / str(seed), state, file, damage, seed)


def other_label(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data.replace(b'"label": "mine"', b'"label": "mind"')


def other_loss(rng: random.Random, data: bytes, other: bytes) -> bytes:
    lines = data.split(b"\n")
    entries = lines[2].split(b",")
    entries[COLUMNS.index("loss")] = b"0.25"
    return b"\n".join([*lines[:2], b",".join(entries), *lines[3:]])


def blind_to_files(monkeypatch):
    monkeypatch.setattr(seal, "changed", lambda *given: {})


def blind_to_records(monkeypatch):
    monkeypatch.setattr(records, "_check", lambda record: None)


def blind_to_rows(monkeypatch):
    load = RunFolder.load_checkpoint

    def unaware(self):
        return {key: each for key, each in (load(self) or {}).items() if key != "rows"}

    monkeypatch.setattr(RunFolder, "load_checkpoint", unaware)


@pytest.mark.parametrize(
    ("blinded", "state", "file", "damage"),
    [
        (blind_to_files, "done", "metrics.csv", other_loss),
        (blind_to_records, "done", "run.json", other_label),
        (blind_to_rows, "killed", "metrics.csv", other_loss),
    ],
)
def test_each_part_of_the_seal_is_needed(kept, tmp_path, monkeypatch, blinded, state, file, damage):
    """With it the damage is refused; without, these tests notice what is then taken in silence."""
    check(kept, tmp_path / "whole", state, file, damage, seed=0)
    blinded(monkeypatch)
    with pytest.raises(AssertionError, match="differs in silence"):
        check(kept, tmp_path / "blind", state, file, damage, seed=0)


def rows(path: Path) -> Iterator[list[str]]:
    return (line.split(",") for line in path.read_text().splitlines())


def test_a_changed_number_is_found_in_every_state(kept, tmp_path):
    """The one that matters most: a measurement that somebody, or something, has changed."""
    for state in STATES:
        shutil.copytree(kept / state, tmp_path / state)
        file = first(tmp_path / state) / "metrics.csv"
        table = list(rows(file))
        place = COLUMNS.index("loss")
        table[2][place] = repr(float(table[2][place]) + 1e-9)
        file.write_text("".join(",".join(row) + "\n" for row in table))
        with pytest.raises(RunError, match=r"metrics.csv .*Nothing was changed"):
            _ = Run.load(file.parent).metrics
        with pytest.raises(RunError, match=r"metrics.csv .*Nothing was changed"):
            run_experiment(Experiment("e", arms(), seeds=(0,)), "e", root=tmp_path / state)


def test_verify_tells_what_is_wrong(kept, tmp_path, capsys):
    shutil.copytree(kept / "done", tmp_path / "runs")
    assert cli.main(["verify", str(tmp_path / "runs")]) == 0
    assert "Nothing is wrong with any of the 3." in capsys.readouterr().out
    (second,) = (tmp_path / "runs" / "e").glob("mine-s1-*")
    (second / "metrics.csv").unlink()
    with open(tmp_path / "runs" / "e" / "table.csv", "a") as file:
        file.write("mine,1\n")
    assert cli.main(["verify", str(tmp_path / "runs")]) == 1
    said = capsys.readouterr().out
    assert "2 of 3 are damaged" in said and "metrics.csv is missing" in said
    assert "table.csv is not what was written there" in said
    assert cli.main(["verify", str(tmp_path)]) == 1
    assert cli.main(["verify"]) == 2 and cli.main(["verify", str(tmp_path / "none")]) == 2
    (tmp_path / "empty").mkdir()
    assert cli.main(["verify", str(tmp_path / "empty")]) == 1
    assert "holds nothing to verify" in capsys.readouterr().err


@pytest.mark.parametrize(("state", "faults"), [("done", []), ("interrupted", ["checkpoint.pt is missing."])])
def test_what_one_may_delete_of_a_finished_run_is_no_damage(kept, tmp_path, capsys, state, faults):
    """docs/runs.md: to save room. One that goes on needs its checkpoint."""
    shutil.copytree(kept / state / "e", tmp_path / "e")
    for name in ("recordings.nc", "checkpoint.pt"):
        (first(tmp_path) / name).unlink(missing_ok=True)
    (finding,) = verify(first(tmp_path))
    assert [each.removeprefix(f"{first(tmp_path)}/") for each in finding.faults] == faults
    assert cli.main(["verify", str(tmp_path)]) == bool(faults)
    if state == "done":
        assert [Path(note.split()[0]).name for note in finding.notes] == ["checkpoint.pt", "recordings.nc"]
        assert capsys.readouterr().out.count("note: ") == 2


def test_a_run_without_a_checkpoint_says_whether_it_is_going(tmp_path):
    seen = []

    def watching(event):
        if event.kind == "update" and event.update == 1:
            seen.append(said(lambda: Run.load(first(tmp_path)).weights))

    run_experiment(Experiment("e", arms(), seeds=(0,)), "e", root=tmp_path, checkpoint_every=1e6, progress=watching)
    assert re.search("no checkpoint yet: it is going, and has not come to its first", str(seen[0]))
    as_killed(first(tmp_path))
    (first(tmp_path) / "checkpoint.pt").unlink()
    with pytest.raises(RunError, match="no checkpoint yet: it was stopped before its first"):
        Run.load(first(tmp_path)).weights  # noqa: B018


def test_a_run_that_was_made_anew_is_not_that_of_the_table(kept, tmp_path):
    """experiment.json knows of which runs its table was made."""
    shutil.copytree(kept / "done", tmp_path / "runs")
    root = tmp_path / "runs"
    shutil.rmtree(first(root))
    (each,) = planned(arms(), (0,), root / "e")
    each.make({}, 15.0, lambda event: None)
    with pytest.raises(RunError, match="not the run of which the table"):
        reopen(root / "e")
    run_experiment(Experiment("e", arms(), seeds=(0, 1)), "e", root=root)
    assert reopen(root / "e")[1]["mine"][0].seed == 0
