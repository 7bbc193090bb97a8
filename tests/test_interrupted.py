"""Signals to a command and its workers, output that nobody can read, and the same command given twice at once."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from light_job import Counting, counted
from task_helpers import after_study

from bioplaus import cli
from bioplaus.errors import RunError
from bioplaus.runs import Run, asked
from bioplaus.runs.event import Event
from bioplaus.runs.folder import InUse, RunFolder
from bioplaus.runs.lines import Lines
from bioplaus.runs.outlet import Outlet, spelled, steady
from bioplaus.runs.queue import Queue
from bioplaus.runs.waiting import Left

EXPERIMENT = """
import brian2  # it puts its own answer to SIGINT in the place of the one it finds
import bioplaus as bp
from bioplaus import Arm, Experiment, Training


def tiny() -> Experiment:
    task = bp.task("add", steps=12)
    circuit = bp.circuit("recurrent", cell=bp.model("elman"), inputs=task.inputs, units=3, outputs=task.outputs)
    training = Training(updates=UPDATES, batch=2)
    arms = {"BP(λ)": Arm(circuit, task, bp.rule("bp_lambda"), training), "bptt": Arm(circuit, task, bp.rule("bptt"), training)}
    return Experiment("λ", arms, figures=dict.fromkeys(("one", "two"), draw))


def draw(results):
    from bioplaus import figures

    return figures.learning(results.curves("loss"))
"""

SCRIPT = """
import sys
import bioplaus as bp
from bioplaus.runs import run_experiment

if __name__ == "__main__":
    run_experiment(bp.experiment("tiny"), "tiny", workers=int(sys.argv[1]))
"""


@pytest.fixture
def study(tmp_path):
    def made(updates: int, name: str = "study") -> Path:
        folder = tmp_path / name
        (folder / "experiments").mkdir(parents=True)
        (folder / "bioplaus.toml").write_text("")
        (folder / "experiments" / "tiny.py").write_text(EXPERIMENT.replace("UPDATES", str(updates)))
        (folder / "script.py").write_text(SCRIPT)
        return folder

    return made


def start(folder: Path, *words: str, **options: Any) -> subprocess.Popen[str]:
    """A command in a group of its own, as a terminal starts it."""
    command = (
        [sys.executable, "-m", "bioplaus.cli", *words]
        if words[0] != "script"
        else [sys.executable, "script.py", words[1]]
    )
    told: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen(command, cwd=folder, env=environment(), start_new_session=True, preexec_fn=heeding, **told)


def heeding() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may be run under nohup


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("BIOPLAUS_STUDY", "BIOPLAUS_TRACEBACK")}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "1", **more}


def until(true: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + 90
    while not true():
        assert time.monotonic() < deadline and (process is None or process.poll() is None)
        time.sleep(0.02)


def going(folder: Path) -> int:
    """How many runs have begun."""
    return len(list(folder.glob("runs/tiny/*/run.json")))


def told(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(folder.glob("runs/tiny/*/run.json"))]


def rows(folder: Path) -> dict[str, list[list[str]]]:
    found = {}
    for file in folder.glob("runs/tiny/*/metrics.csv"):
        lines = [line.split(",") for line in file.read_text().splitlines()]
        seconds = lines[0].index("seconds")
        found[file.parent.name] = [line[:seconds] + line[seconds + 1 :] for line in lines]
    return found


def saved(folder: Path, runs: int) -> None:
    """Every run that was begun is interrupted, with a checkpoint of where it was."""
    assert [record["status"] for record in told(folder)] == ["interrupted"] * runs
    for place in folder.glob("runs/tiny/*"):
        run = Run(place)
        assert run.checkpoint["update"] == run.record["update"] == len(run.metrics) > 0
    assert not [path for path in folder.glob("runs/tiny/*/.*") if path.name != ".lock"]


# Signals


def send(process: subprocess.Popen[str], number: int, whom: str) -> None:
    if whom == "group":
        os.killpg(process.pid, number)
    elif whom == "parent":
        process.send_signal(number)
    else:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        worker = next(each for each in children if "spawn_main" in Path(f"/proc/{each}/cmdline").read_text())
        os.kill(int(worker), number)


def interrupt(folder: Path, words: Sequence[str], number: int, whom: str, workers: int) -> str:
    process = start(folder, *words)
    until(lambda: going(folder) == workers, process)
    time.sleep(0.3)
    send(process, number, whom)
    _, complained = process.communicate(timeout=90)
    script = words[0] == "script"
    if whom == "worker":
        assert process.returncode == 1 and "A worker process died" in complained
        assert f"told from outside to end ({signal.Signals(number).name})" in complained
    else:
        assert process.returncode == (-signal.SIGINT if script else 130)
        assert "to go on" in complained.splitlines()[-1] and "saved" in complained.splitlines()[-1]
    assert complained.count("Traceback") == int(script)
    saved(folder, workers)
    return complained


COMMAND = ("run", "tiny", "--workers")


def test_a_group_is_interrupted_and_all_is_saved(study):
    """Two workers, each of which has imported Brian2: what Ctrl-C does."""
    interrupt(study(5000), (*COMMAND, "2"), signal.SIGINT, "group", 2)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["command", "script"])
@pytest.mark.parametrize("whom", ["group", "parent", "worker"])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, *asked.FROM_OUTSIDE])
def test_every_signal_to_everyone(study, way, whom, workers, number):
    if whom == "worker" and (workers == 1 or number == signal.SIGINT):
        pytest.skip("there is none, or it leaves that to the parent")
    folder = study(5000)
    interrupt(folder, ("script", str(workers)) if way == "script" else (*COMMAND, str(workers)), number, whom, workers)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, *asked.FROM_OUTSIDE])
@pytest.mark.parametrize("delay", [0.3, 0.8, 1.5, 2.5, 3.5, 4.5, 6.0])
def test_a_signal_at_any_time(study, number, delay):
    """While the command imports, while its workers do, while they begin, while they run."""
    folder = study(5000)
    process = start(folder, *COMMAND, "2")
    time.sleep(delay)
    os.killpg(process.pid, number)
    _, complained = process.communicate(timeout=90)
    # Python itself ends by SIGINT where the interruption came within an exec, caught or not: a shell says 130 of both
    assert process.returncode in (130, -signal.SIGINT)
    complained = after_study(complained)
    assert complained.endswith("give the same command to go on.\n") and complained.count("\n") == 1
    saved(folder, going(folder))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, *asked.FROM_OUTSIDE])
def test_while_figures_are_drawn(study, number):
    folder = study(3)
    process = start(folder, *COMMAND, "1")
    until(lambda: list(folder.glob("runs/tiny/figures/one.*")), process)
    os.killpg(process.pid, number)
    _, complained = process.communicate(timeout=90)
    assert process.returncode in (0, 130) and "Traceback" not in complained
    assert [record["status"] for record in told(folder)] == ["done"] * 2
    again = start(folder, *COMMAND, "1")
    assert after_study(again.communicate(timeout=90)[1]) == "" and again.returncode == 0
    assert {file.suffix for file in folder.glob("runs/tiny/figures/*")} == {".pdf", ".svg", ".png", ".csv", ".json"}


def test_nohup_is_respected_and_handlers_are_put_back():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with asked.answered(asked.interrupt):
            os.kill(os.getpid(), signal.SIGHUP)
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(1)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is not asked.interrupt
    finally:
        signal.signal(signal.SIGHUP, before)


# Output


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_who_has_read_enough_ends_no_run(study, workers):
    folder = study(30)
    process = start(folder, *COMMAND, workers)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()  # as `head -1` does
    assert after_study(process.stderr.read()) == "" and process.wait(timeout=90) == 0
    assert [(record["status"], record["update"]) for record in told(folder)] == [("done", 30)] * 2
    assert (folder / "runs/tiny/table.csv").exists() and len(list((folder / "runs/tiny/figures").glob("*.pdf"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("where", [">/dev/full", ">&-", ">&- 2>&- <&-", "2>/dev/full", ">/dev/full 2>&1"])
def test_full_or_closed_output_ends_no_run(study, where, workers):
    folder = study(20)
    for way in (f"-m bioplaus.cli run tiny --workers {workers}", f"script.py {workers}"):
        done = subprocess.run(
            ["bash", "-c", f"{sys.executable} {way} {where}"], cwd=folder, env=environment(), timeout=90
        )
        assert done.returncode == 0 and [record["status"] for record in told(folder)] == ["done"] * 2


@pytest.mark.parametrize(
    ("where", "status", "says"),
    [("| head -1", 0, ""), (">&-", 0, ""), (">/dev/full", 1, "No space left on device"), (">/dev/full 2>&1", 1, "")],
)
def test_a_listing_ends_quietly_or_says_what_was_lost(tmp_path, where, status, says):
    command = f"set -o pipefail; {sys.executable} -m bioplaus.cli list {where}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == status and done.stderr.count("\n") == bool(says) and says in done.stderr


LETTERS = ({"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})


@pytest.mark.parametrize("letters", LETTERS)
@pytest.mark.parametrize(
    "words",
    ["show bp_lambda", *(pytest.param(words, marks=pytest.mark.slow) for words in ("list", "--help", "run tiny"))],
)
def test_a_terminal_without_greek(study, words, letters):
    """On a terminal, with its colours and bars, and in a pipe."""
    folder = study(3)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "bioplaus.cli", *words.split()]
    process = subprocess.Popen(
        command, cwd=folder, env=environment(TERM="xterm", **letters), stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 90)[0]:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # closed by its last writer
            break
    os.close(ours)
    assert process.wait(timeout=90) == 0 and b"Traceback" not in shown and b"codec" not in shown
    piped = subprocess.run(command, cwd=folder, env=environment(**letters), capture_output=True, timeout=90)
    assert (piped.returncode, after_study(piped.stderr.decode("ascii"))) == (0, "")
    if words == "run tiny":
        assert b"BP(lambda)" in shown and b"BP(lambda)" in piped.stdout


def test_what_an_alphabet_lacks_is_spelled():
    assert spelled("BP(λ=1) é ± 1 – T·n² 漢", "ascii") == "BP(lambda=1) e +- 1 - T*n^2 ?"
    assert spelled("BP(λ) ± é", "latin-1") == "BP(lambda) ± é" and spelled("λ漢", "utf-8") == "λ漢"


class Broken:
    """A stream that fails."""

    encoding = "ascii"

    def __init__(self, error: Exception) -> None:
        self.error, self.asked = error, 0

    def write(self, text: str) -> int:
        self.asked += 1
        raise self.error

    def flush(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error", [BrokenPipeError(32, "no"), OSError(28, "full"), ValueError("closed"), BlockingIOError(11, "slow")]
)
def test_lines_go_on_whatever_becomes_of_them(monkeypatch, error):
    stream: Any = Broken(error)
    out = Outlet(stream)
    assert out.write("a") == 1 and stream.asked == 1
    out.flush()
    assert out.complaint == ("full" if error.args[0] == 28 else "")
    monkeypatch.setattr(sys, "stdout", stream)
    Lines()(Event("note", message="λ"))
    monkeypatch.setattr(sys, "stdout", None)
    Lines()(Event("note", message="λ"))
    with steady() as put:
        print("said to nobody")
    assert put.lost is None and sys.stdout is None
    assert cli.main(["--version"]) == 0


# The same command twice


@pytest.mark.slow
def test_two_at_once_share_the_runs(study):
    """One and two workers at a time: the same rows and tables as an undisturbed command has."""
    folder, whole = study(60), study(60, "whole")
    both = [start(folder, *COMMAND, workers) for workers in ("1", "2")]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert [after_study(err) for _, err in said] == ["", ""]
    alone = start(whole, *COMMAND, "1")
    assert after_study(alone.communicate(timeout=90)[1]) == "" and alone.returncode == 0
    assert rows(folder) == rows(whole) and len(rows(whole)) == 2
    first, second = (out.split("\n\n")[-2] for out, _ in said)
    assert first == second and "BP(λ)" in first
    for place in folder.glob("runs/tiny/bptt-*"):
        one, other = (Run(root / place.relative_to(folder)) for root in (folder, whole))
        assert all(torch.equal(weight, other.weights[name]) for name, weight in one.weights.items())


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("ends", ["done", "stops"])
def test_what_another_computes_is_waited_for_or_taken_over(tmp_path, workers, ends):
    """Another process holds the first run, finishes it or stops at once; the second is made meanwhile."""
    runs = counted(tmp_path, Counting(3))
    code = f"""
import sys, time
from pathlib import Path
from light_job import Counting, counted
run = counted(Path({str(tmp_path)!r}), Counting(3))[0]
def report(event):
    if event.kind == "start":
        print("holds", flush=True)
        sys.stdin.readline()
        if {ends!r} == "stops":
            import os; os._exit(0)
run.make({{}}, 15.0, report)
"""
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    other = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}, **options)
    assert other.stdin is not None and other.stdout is not None and other.stdout.readline() == "holds\n"
    with pytest.raises(InUse, match="Another process is computing"):
        runs[0].make({}, 15.0, lambda event: None)
    heard: list[Event] = []

    def report(event: Event) -> None:
        heard.append(event)
        if event.kind == "waiting":
            assert other.stdin is not None
            other.stdin.write("\n")
            other.stdin.flush()

    assert Queue(runs, workers).run({}, report=report) == {}
    other.communicate(timeout=60)
    said = [(event.kind, event.seed) for event in heard if event.kind != "update"]
    wanted = [("found", 0)] if ends == "done" else [("start", 0), ("done", 0)]
    assert said == [("start", 1), ("done", 1), ("waiting", 0), *wanted] or (
        workers == 2 and sorted(said) == sorted([("start", 1), ("done", 1), ("waiting", 0), *wanted])
    )
    assert [Run(each.folder).record["status"] for each in runs] == ["done"] * 2


def test_who_waits_can_be_interrupted(tmp_path):
    runs = counted(tmp_path, Counting(3), seeds=1)

    def report(event: Event) -> None:
        if event.kind == "waiting":
            signal.setitimer(signal.ITIMER_REAL, 0.05)

    before = signal.signal(signal.SIGALRM, asked.interrupt)
    try:
        with RunFolder(runs[0].folder).locked(), pytest.raises(KeyboardInterrupt):
            Queue(runs).run({}, report=report)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not RunFolder(runs[0].folder).in_use()


def test_a_run_is_told_of_once_and_handed_out_once(tmp_path):
    runs = counted(tmp_path, Counting(3), seeds=3)
    heard: list[Event] = []
    left = Left(runs, heard.append)
    with RunFolder(runs[0].folder).locked():
        assert [left.take(), left.take(), left.take(), left.take()] == [runs[1], runs[2], None, None]
        assert [(event.kind, event.seed) for event in heard] == [("waiting", 0)]
    assert left.take() is runs[0] and not left
    left.put_back(runs[0])
    assert left.take() is runs[0]


def test_a_disk_without_locks_is_refused_as_that(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("bioplaus.runs.folder.fcntl.flock", refuse)
    with pytest.raises(RunError, match="a disk that can't keep other processes away .Function not implemented"):
        with RunFolder(tmp_path).locked():
            raise AssertionError
