"""Worker processes: whoever starts them, whatever ends them, it is said as what it is, and nothing hangs or is lost."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest
from light_job import Counter, Counting, counted

from bioplaus.errors import NumericalError, RunError
from bioplaus.runs import asked, ended, script, workers
from bioplaus.runs.queue import Planned, Queue
from bioplaus.runs.serve import _sendable

HERE = Path(__file__).parent
ASK = "from bioplaus.runs.script import of_script\n{0}"


def python(*words: str, given: str | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(path for path in (str(HERE), *sys.path) if path)
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.run(
        [sys.executable, *words], input=given, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )


def statuses(folder: Path) -> list[str]:
    return [json.loads(file.read_text())["status"] for file in sorted(folder.glob("*/run.json"))]


# What they are asked to begin before anything runs


class Unbegun(Counting):
    def begin(self, seed: int) -> Counter:
        (Path(os.environ["UNBEGUN"]) / f"{os.getpid()}.{self.updates}").touch()
        if self.updates > 5:
            raise NumericalError(f"Nobody counts to {self.updates}.")
        if self.updates == 0:
            raise ZeroDivisionError("nothing to count")
        return super().begin(seed)


def begun(folder: Path, *updates: int) -> list[Planned]:
    return [Planned(f"to {each}", Unbegun(each), 0, folder / f"to{each}") for each in updates]


@pytest.fixture
def asked_to_begin(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "asked"
    folder.mkdir()
    monkeypatch.setenv("UNBEGUN", str(folder))
    return folder


def test_what_cannot_be_begun_is_refused_before_the_first_run_as_without_workers(tmp_path, asked_to_begin):
    """The earliest of several is told, in the same words, with no traceback of a worker behind."""
    runs = begun(tmp_path / "runs", 2, 8, 3, 7, 4)
    with pytest.raises(NumericalError) as alone:
        Queue(runs)
    queue = Queue(runs, 3)
    with pytest.raises(NumericalError) as refused:
        queue.run({})
    assert str(refused.value) == str(alone.value) == "Nobody counts to 8." and not getattr(
        refused.value, "__notes__", []
    )
    assert not (tmp_path / "runs").exists()


def test_a_fault_in_what_begins_is_told_with_the_way_that_it_took(tmp_path, asked_to_begin):
    with pytest.raises(ZeroDivisionError) as failed:
        Queue(begun(tmp_path / "runs", 2, 0), 2).run({})
    assert "in begin" in "".join(failed.value.__notes__) and not (tmp_path / "runs").exists()


def test_what_can_be_begun_is_made_and_this_process_begins_none(tmp_path, asked_to_begin):
    runs = begun(tmp_path / "runs", 2, 3, 4)
    assert Queue(runs, 2).run({}) == {} and statuses(tmp_path / "runs") == ["done"] * 3
    said = [file.name.split(".") for file in asked_to_begin.iterdir()]
    assert {updates for _, updates in said} == {"2", "3", "4"} and str(os.getpid()) not in {
        process for process, _ in said
    }
    assert Queue(runs, 2).run({}) == {}, "all is done, and none is begun again"
    assert len(list(asked_to_begin.iterdir())) == len(said)


# Who starts them


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("print(of_script())", "outside of `if __name__ =="),
        ("def main():\n    print(of_script())\nif True:\n    main()", "outside of `if __name__ =="),
        ("if __name__ == '__main__':\n    print('hello')\nprint(of_script())", "outside of `if __name__ =="),
        ("if __name__ == '__main__':\n    print(of_script())", "init_main_from_path"),
        ("if __name__ != '__main__':\n    raise SystemExit\nprint(of_script())", "init_main_from_path"),
    ],
)
def test_a_script_without_the_guard_is_refused_before_anything_starts(tmp_path, text, says):
    (tmp_path / "mine.py").write_text(ASK.format(text))
    done = python("mine.py", cwd=tmp_path)
    assert says in done.stdout + done.stderr.rpartition("RunError: ")[2]


@pytest.mark.parametrize("words", [("-",), ("-c", ASK.format("print(of_script())"))])
def test_where_there_is_no_file_there_is_nothing_to_read(words):
    assert python(*words, given=ASK.format("print(of_script())")).stdout == "{}\n"


def test_a_second_reading_that_asks_for_workers_too_is_said_as_that(tmp_path):
    """What only the worker itself can tell: the script does something else on its second reading, but not enough."""
    text = """if __name__ != "__main__":
    pass
from pathlib import Path
from light_job import Counting, Queue, counted
Queue(counted(Path("runs"), Counting()), 2).run({})
"""
    (tmp_path / "mine.py").write_text(text)
    done = python("mine.py", cwd=tmp_path)
    assert done.stderr.count("Traceback") == 1, "that of the script itself, none of a worker"
    assert "RunError: Worker processes were asked for outside of" in done.stderr and "memory" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_what_a_second_reading_raises_is_told(tmp_path):
    guarded = "from pathlib import Path\nfrom light_job import Counting, Queue, counted\nif __name__ == '__main__':\n"
    guarded += "    Queue(counted(Path('runs'), Counting()), 2).run({})\nelse:\n    import sys; sys.exit(3)\n"
    (tmp_path / "mine.py").write_text(guarded)
    done = python("mine.py", cwd=tmp_path)
    assert "each reads mine.py once more, and that raised SystemExit: 3" in done.stderr
    assert done.stderr.count("Traceback") == 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("raise SystemExit", "raised SystemExit. Put"),
        ("raise SystemExit('enough')", "raised SystemExit: enough. Put"),
        ("assert 0", "raised AssertionError. Put"),
    ],
)
def test_what_a_second_reading_raises_without_a_word_is_named(tmp_path, line, says):
    (tmp_path / "mine.py").write_text(f"{line}\n")
    with pytest.raises(RunError, match=re.escape(says)):
        script.read({"init_main_from_path": str(tmp_path / "mine.py")})


def test_runs_of_what_modules_define_are_made_from_standard_input(tmp_path):
    text = "from pathlib import Path\nfrom light_job import Counting, Queue, counted\n"
    done = python("-", given=text + "Queue(counted(Path('runs'), Counting()), 2).run({})\n", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and statuses(tmp_path / "runs") == ["done", "done"]


CASE = """
import torch
import bioplaus as bp
from bioplaus.runs import run_experiment

class Echo(bp.Task):
    inputs, outputs, steps, loss, test_trials = 1, 1, 6, bp.tasks.squared, 8

    def batch(self, generator, size, split="train"):
        x = torch.randn(6, size, 1, generator=generator)
        return bp.Batch(x, x.clone(), torch.full((6, size), 1 / 6))

circuit = bp.circuit("recurrent", cell=bp.model("elman"), inputs=1, units=4, outputs=1)
arms = {n: bp.Arm(circuit, Echo(), bp.rule(n), bp.Training(updates=2, batch=2)) for n in ("eprop", "bptt")}
run_experiment(bp.Experiment(title="t", arms=arms, seeds=(0,)), "guard", root="runs", workers=2)
"""


@pytest.mark.parametrize(
    ("words", "says"),
    [(("mine.py",), "Put the call under `if __name__ =="), (("-",), "`from parts import Echo`; or leave workers out")],
)
def test_a_task_of_the_script_itself(tmp_path, words, says):
    (tmp_path / "mine.py").write_text(CASE)
    last = python(*words, given=CASE, cwd=tmp_path).stderr.splitlines()[-1]
    assert last.startswith("bioplaus.errors.RunError: ") and says in last and "memory" not in last
    assert not (tmp_path / "runs").exists()


# What is sent to them


class Typed:
    """Stands for a class of a notebook."""


def test_what_was_typed_can_not_be_sent_where_no_file_tells_it(monkeypatch):
    monkeypatch.setattr(Typed, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "Typed", Typed, raising=False)
    with pytest.raises(
        RunError, match="The arm 'a' can't be sent to a worker process: Typed was defined in a notebook"
    ):
        script.pack("The arm 'a'", {"task": [Typed()]}, {})
    assert script.pack("The arm 'a'", Typed(), {"init_main_from_path": "mine.py"})


@pytest.mark.parametrize("thing", [lambda: 1, type("Inner", (), {})(), {"file": open(__file__)}])
def test_what_pickle_refuses_is_refused_in_words(thing):
    with pytest.raises(RunError, match="can't be sent to a worker process: .*pickle.* top level of a module"):
        script.pack("The arm 'a'", thing, {})


def test_what_a_worker_does_not_know_is_said(monkeypatch):
    module = types.ModuleType("gone_module")
    exec("class Gone:\n    pass", vars(module))
    monkeypatch.setitem(sys.modules, "gone_module", module)
    data = script.pack("x", module.Gone(), {})
    monkeypatch.delitem(sys.modules, "gone_module")
    with pytest.raises(RunError, match="can't make sense of what it was sent: ModuleNotFoundError"):
        script.unpack(data)


def test_errors_arrive_whole_or_in_words():
    class Difficult(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one} and {two}")

    sent = pickle.loads(pickle.dumps(_sendable(NumericalError("v is NaN"))))
    assert type(sent) is NumericalError and str(sent) == "v is NaN"
    sent = pickle.loads(pickle.dumps(_sendable(Difficult(1, 2))))
    assert type(sent) is RunError and "Difficult: 1 and 2" in str(sent) and "Traceback" not in str(sent)


# What ends them


@pytest.mark.parametrize(
    ("status", "before", "now", "says"),
    [
        (-signal.SIGKILL, 4, 5, "killed by the kernel (SIGKILL) for want of memory"),
        (-signal.SIGKILL, 4, 4, "killed from outside (SIGKILL); the kernel reports no want of memory"),
        (-signal.SIGKILL, None, None, "can't be told on this machine"),
        (-signal.SIGSEGV, 4, 5, "crashed (SIGSEGV) in compiled code"),
        (-signal.SIGTERM, 4, 5, "told from outside to end (SIGTERM)"),
        (ended.saved(signal.SIGTERM), 4, 5, "told from outside to end (SIGTERM)"),
        (ended.saved(signal.SIGHUP), 4, 5, "told from outside to end (SIGHUP)"),
        (-signal.SIGHUP, 4, 5, "told from outside to end (SIGHUP)"),
        (7, 4, 5, "left with exit status 7"),
    ],
)
def test_an_end_is_said_as_what_it_is(monkeypatch, status, before, now, says):
    monkeypatch.setattr(ended, "killed_for_memory", lambda: now)
    said = ended.why(status, before)
    assert says in said and ("for want of memory;" in said) == (
        status == -signal.SIGKILL and (now or 0) > (before or 0)
    )


def test_kills_for_memory_are_read_where_the_kernel_counts_them(tmp_path, monkeypatch):
    files = {"a": "low 0\noom 3\noom_kill 2\noom_group_kill 0\n", "b": "under_oom 0\noom_kill 1\n", "c": "none\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(ended, "_counters", lambda: [tmp_path / name for name in (*files, "missing")])
    assert ended.killed_for_memory() == 3
    monkeypatch.setattr(ended, "_counters", lambda: [tmp_path / "c"])
    assert ended.killed_for_memory() is None


@pytest.mark.parametrize("status", [*map(ended.saved, asked.FROM_OUTSIDE), *(-n for n in asked.FROM_OUTSIDE)])
def test_a_worker_that_a_signal_to_all_reached_first_is_no_death(tmp_path, monkeypatch, status):
    """The worker is gone already; the parent hears of the signal a moment later, or never, if it was the worker's alone."""
    monkeypatch.setattr(workers, "_BOTH", 0.05)
    process = types.SimpleNamespace(join=lambda seconds: None, exitcode=status)
    worker: Any = types.SimpleNamespace(process=process, run=counted(tmp_path, Counting())[0])
    looks = iter([0, 0, 1, 1, 1])
    workers._Crew([], {}, 1.0, lambda event: None, {}, lambda: next(looks))._died(worker)
    with pytest.raises(RunError, match="A worker process died while the run s0 was going: it was told from outside"):
        workers._Crew([], {}, 1.0, lambda event: None, {}, lambda: 0)._died(worker)


def started(folder: Path, what: str) -> tuple[subprocess.Popen[str], list[int]]:
    """Two long runs in a group of their own, once both ``spawned`` or both ``going``; the workers' numbers."""
    words = [sys.executable, str(HERE / "light_job.py"), str(folder), "100000", "0.01"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    found: list[int] = []
    while time.monotonic() < deadline:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        found = [int(child) for child in children if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]
        if len(found) == 2 and (what == "spawned" or len(list(folder.glob("*/metrics.csv"))) == 2):
            break
        time.sleep(0.005)
    time.sleep(0.05 if what == "spawned" else 0.3)  # in the middle of their imports, or of their runs
    return process, found


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are looked for in /proc")
@pytest.mark.parametrize(
    ("number", "when"), [(signal.SIGINT, "spawned"), (signal.SIGTERM, "going"), (signal.SIGINT, "going")]
)
def test_a_signal_to_all_processes_stops_them_without_a_word(tmp_path, number, when):
    process, _ = started(tmp_path, when)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "")
    assert set(statuses(tmp_path)) <= {"interrupted"} and (when == "spawned" or len(statuses(tmp_path)) == 2)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are looked for in /proc")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, "interrupted"), (signal.SIGKILL, "running")])
def test_a_worker_that_is_ended_is_told_of_and_the_other_saves(tmp_path, number, status):
    process, children = started(tmp_path, "going")
    os.kill(children[0], number)
    _, said = process.communicate(timeout=60)
    last = said.splitlines()[-1]
    assert process.returncode == 1 and said.count("Traceback") == 1
    assert "A worker process died" in last and number.name in last and "for want of memory;" not in last
    assert sorted(statuses(tmp_path)) == sorted(["interrupted", status])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_script_that_is_interrupted_is_told_that_all_is_saved_and_how_it_goes_on(tmp_path, number):
    left = [number]

    def progress(event):
        if event.kind == "update" and left:
            os.kill(os.getpid(), left.pop())

    with pytest.raises(KeyboardInterrupt) as stopped:
        Queue(counted(tmp_path, Counting(100_000, 0.01)), 2).run({}, report=progress)
    assert str(stopped.value) == (
        f"interrupted by {number.name}: what was computed is saved. Give the same command (run the script) again to go on."
    )
    assert set(statuses(tmp_path)) <= {"interrupted"}


def test_a_second_sigint_has_not_saved_all():
    said = ended.interrupted([signal.SIGTERM, signal.SIGINT])
    assert said.startswith("interrupted by SIGTERM: after a second SIGINT") and "what was computed is saved" not in said


def test_who_watches_and_raises_stops_the_workers_which_save(tmp_path):
    class Unhappy(Exception):
        pass

    def progress(event):
        if event.kind == "update":
            raise Unhappy

    queue = Queue(counted(tmp_path, Counting(100_000, 0.01)), 2)
    with pytest.raises(Unhappy):
        queue.run({}, report=progress)
    assert set(statuses(tmp_path)) == {"interrupted"}
    assert Counter(0).update() == {"loss": 1.0}
