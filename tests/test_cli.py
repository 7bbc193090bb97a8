"""The command line: its words, options, errors, what it imports; whole commands on small circuits."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from task_helpers import after_study

from bioplaus import cli
from bioplaus.cli import options, watch
from bioplaus.cli.terminal import duration, took
from bioplaus.runs.event import Event

LIGHT = '''
"""An experiment that needs nothing to be described."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    units: int = 64  # neurons in the circuit
    lambdas: tuple[float, ...] = (0.0, 1.0)
    cell_type: str | None = None


@dataclass(frozen=True)
class Config:
    circuit: Sizes = Sizes()
    updates: int = 10
    gated: bool = True
{more}

def light(config: Config = Config()):
    raise NotImplementedError(config)
'''


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study with one light experiment, and the working directory in it."""
    (tmp_path / "bioplaus.toml").write_text("")
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "light.py").write_text(LIGHT.format(more=""))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BIOPLAUS_STUDY", raising=False)
    return tmp_path


def shell(*words, **more):
    """Run the command line in a process of its own."""
    return subprocess.run([sys.executable, "-m", "bioplaus.cli", *words], capture_output=True, text=True, **more)


def refused(capsys, *words):
    """The one paragraph with which a command is refused."""
    status = cli.main(words)
    said = capsys.readouterr()
    err = after_study(said.err)
    assert status == 2 and said.out == "" and err.startswith("bioplaus: ")
    assert err.count("\n") == 1, "an error is one paragraph"
    return err


# What is imported


HEAVY = "{'torch', 'brian2', 'matplotlib', 'numpy', 'pandas', 'xarray', 'numba', 'sympy'}"


def imported(words):
    code = (
        f"import sys, contextlib, io\nfrom bioplaus.cli import main\n"
        f"with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):\n"
        f"    try: status = main({words!r})\n    except SystemExit as e: status = e.code\n"
        f"print(status, sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    status, _, names = done.stdout.strip().partition(" ")
    return status, names


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--help"], "0"),
        (["--version"], "0"),
        (["rn"], "2"),
        (["list", "models"], "0"),
        (["list", "tasks"], "0"),
        (["list", "modles"], "2"),
        (["run", "--help"], "0"),
        (["run", "no_such"], "2"),
        (["run", "light", "--help"], "0"),
        (["run", "light", "--circuit.unts", "3"], "2"),
        (["run", "light", "--circuit.units", "many"], "2"),
        (["run", "light", "--seeds", "3:1"], "2"),
        (["compare", "target_reachin", "--rules", "bptt"], "2"),
        (["compare", "target_reaching", "--rulez", "bptt"], "2"),
        (["compare", "target_reaching", "--rules", "bptt", "--mode", "algin"], "2"),
        (["compare", "target_reaching", "--rules", "bptt", "--mode", "align", "--draws", "1"], "2"),
        (["compare", "target_reaching", "--rules", "bptt", "--cell", "lsmt"], "2"),
        (["check", "--quik"], "2"),
        (["figure", "no/such/folder"], "2"),
        (["new"], "2"),
    ],
)
def test_nothing_heavy_is_imported_for(study, words, status):
    assert imported(words) == (status, "[]")


# Words


def test_help_tells_every_verb(capsys):
    assert cli.main(["--help"]) == 0
    said = capsys.readouterr().out
    for verb in ("list", "show", "run", "compare", "check", "figure", "new"):
        assert f"\n  {verb} " in said


def test_unknown_words_name_the_nearest(study, capsys):
    assert "Did you mean 'compare'" in refused(capsys, "comprae")
    assert "Did you mean 'light'" in refused(capsys, "run", "lihgt")
    assert "Did you mean 'rules'" in refused(capsys, "list", "rulez")
    assert "Did you mean 'alif'" in refused(capsys, "show", "alff")
    assert "Did you mean 'lstm'" in refused(capsys, "compare", "target_reaching", "--rules", "bptt", "--cell", "lsmt")
    assert "Did you mean 'bp_lambda'" in refused(capsys, "compare", "target_reaching", "--rules", "bp_lamda")
    assert "too much" in refused(capsys, "run", "light", "again")
    assert "needs --rules" in refused(capsys, "compare", "target_reaching")


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("--circuit.unit", "--circuit.units"),
        ("--circut.units", "--circuit.units"),
        ("--circuit.cell", "--circuit.cell-type"),
        ("--epochs", "--updates"),
        ("--n_epochs", "--updates"),
        ("--n-jobs", "--workers"),
        ("--hidden-size", "--circuit.units"),
        ("--out", "--root"),
        ("--update", "--updates"),
        ("--worker=2", "--workers"),
        ("-w", "--workers"),
        ("--no-gate", "--no-gated"),
    ],
)
def test_unknown_options_name_the_nearest(study, capsys, word, near):
    said = refused(capsys, "run", "light", word, "3")
    assert f"has no option {word.partition('=')[0]}." in said
    assert near in said.partition("The nearest: ")[2].partition(".  ")[0].partition(" All of them")[0]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("--circuit.units", "many"), ("--circuit.units", "'many'")),
        (("--circuit.units",), ("--circuit.units", "Missing value")),
        (("--circuit.lambdas", "0", "half"), ("--circuit.lambdas", "half")),
        (("--workers", "0"), ("--workers 0",)),
        (("--seeds", "a"), ("'a' are not seeds", "0:5")),
    ],
)
def test_values_of_the_wrong_kind_are_refused(study, capsys, words, names):
    said = refused(capsys, "run", "light", *words)
    assert all(name in said for name in names)


# Options


def test_options_are_dotted_and_typed(study):
    from bioplaus.cli.verbs.run import options as parse

    words = "--circuit.units 256 --circuit.lambdas 0.5 1 --no-gated --circuit.cell_type gru"
    config, own = parse("light", f"{words} --seeds 0:3 --only a,b".split())
    sizes = config.circuit
    assert (sizes.units, sizes.lambdas, sizes.cell_type) == (256, (0.5, 1.0), "gru")
    assert config.gated is False and config.updates == 10
    assert own == {"seeds": (0, 1, 2), "only": "a,b", "workers": 1, "root": "runs", "backend": None, "threads": None}
    config, own = parse("light", ["--circuit.units=7"])
    assert config.circuit.units == 7 and own["seeds"] is None


def test_the_last_part_of_an_option_is_enough_where_no_other_ends_so(study, capsys):
    from bioplaus.cli.verbs.run import options as parse

    words = "--units 256 --lambdas 0.5 1 --cell_type=gru --no-gated".split()
    sizes = parse("light", words)[0].circuit
    assert (sizes.units, sizes.lambdas, sizes.cell_type) == (256, (0.5, 1.0), "gru")
    assert parse("light", ["--no-gated"])[0].gated is False and parse("light", ["--gated"])[0].gated is True
    twice = LIGHT.format(more="    other: Sizes = Sizes()\n    inner: bool = True\n")
    (study / "experiments" / "light.py").write_text(twice)
    said = refused(capsys, "run", "light", "--units", "3")
    assert "--units may mean --circuit.units or --other.units" in said
    assert parse("light", ["--other.units", "3"])[0].other.units == 3


def test_a_configuration_may_have_seeds_of_its_own(study):
    from bioplaus.cli.verbs.run import options as parse

    more = "    seeds: tuple[int, ...] = (0, 1)\n"
    (study / "experiments" / "light.py").write_text(LIGHT.format(more=more))
    config, own = parse("light", ["--seeds", "2:5", "--updates", "3"])
    assert config.seeds == own["seeds"] == (2, 3, 4) and config.updates == 3
    config, own = parse("light", ["--seeds=4,6"])
    assert config.seeds == own["seeds"] == (4, 6)
    config, own = parse("light", [])
    assert config.seeds == (0, 1) and own["seeds"] is None


def test_a_configuration_that_takes_an_option_of_run_is_refused(study, capsys):
    (study / "experiments" / "light.py").write_text(LIGHT.format(more="    workers: int = 3\n"))
    assert "has a field 'workers'" in refused(capsys, "run", "light")


def test_the_comment_of_a_field_is_its_help(study):
    said = shell("run", "light", "--help", env={**os.environ, "COLUMNS": "100"})
    assert said.returncode == 0 and "neurons in the circuit" in said.stdout and "--circuit.units INT" in said.stdout


@pytest.mark.parametrize(
    ("text", "seeds"), [("0:5", (0, 1, 2, 3, 4)), ("0,2,4", (0, 2, 4)), ("3", (3,)), ("0:2,7", (0, 1, 7))]
)
def test_seeds(text, seeds):
    assert options.parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "5:0", "0:0", "-1", "1,1", "0:3,2", "1.5", "0::2"])
def test_what_are_not_seeds(text):
    with pytest.raises(cli.UsageError, match="are not seeds"):
        options.parse_seeds(text)


def test_arms_are_meant_by_label_or_rule():
    from bioplaus.cli.conduct import chosen

    rules = {
        "BP(λ=1)": "bp_lambda",
        "BP(λ=0.5)": "bp_lambda",
        "predictor off": "dni",
        "e-prop": "eprop",
        "BPTT": "bptt",
    }
    arms: Any = {label: SimpleNamespace(rule=SimpleNamespace(name=rule)) for label, rule in rules.items()}
    assert chosen("x", arms, ["bptt", "eprop"]) == ["BPTT", "e-prop"]
    assert chosen("x", arms, ["bp_lambda"]) == ["BP(λ=1)", "BP(λ=0.5)"]
    assert chosen("x", arms, ["bp_lambda=0.5", "predictor_off"]) == ["BP(λ=0.5)", "predictor off"]
    delays = {f"{rule}, {ms} ms": arm for rule, arm in arms.items() for ms in (50, 100)}
    typed = [
        "e-prop",
        "50 ms",
        "BPTT 100 ms",
        "BP(λ=1)",
        "50ms",
    ]  # as commas part --only "e-prop, 50 ms,BPTT 100 ms,BP(λ=1), 50ms"
    assert chosen("x", delays, typed) == ["e-prop, 50 ms", "BPTT, 100 ms", "BP(λ=1), 50 ms"]
    assert chosen("x", arms, ["BPTT", "e-prop"]) == ["BPTT", "e-prop"]
    with pytest.raises(cli.UsageError, match="Did you mean 'BPTT'"):
        chosen("x", arms, ["tbptt"])
    with pytest.raises(cli.UsageError, match="given no arm"):
        chosen("x", arms, [])


def test_rules_may_have_options():
    from bioplaus.errors import RuleError
    from bioplaus.runs.compare import parse_rule, split_rules

    text = "bptt, bp_lambda(lmbda=0.5, predictor=mlp,hidden=(8, 8)),eprop(feedback='random')"
    rules = split_rules(text)
    assert [parse_rule(rule) for rule in rules] == [
        ("bptt", {}),
        ("bp_lambda", {"lmbda": 0.5, "predictor": "mlp", "hidden": (8, 8)}),
        ("eprop", {"feedback": "random"}),
    ]
    for wrong in ("bp lambda", "bptt(1)", "bptt(x=open('f'))", "a.b", "bptt("):
        with pytest.raises(RuleError, match="is not a rule"):
            parse_rule(wrong)


# Lists and pages


@pytest.mark.parametrize("kind", ["models", "circuits", "rules", "predictors", "tasks", "experiments"])
def test_every_name_that_is_listed_can_be_shown(study, capsys, kind):
    from bioplaus.cli.catalogue import names

    assert cli.main(["list", kind]) == 0
    listed = capsys.readouterr().out
    for name in names(kind):
        assert f"  {name} " in listed or f"`bioplaus show {name}`" in listed  # stdp has no halves to stand in the table
        assert cli.main(["show", name]) == 0
        assert name in capsys.readouterr().out
    assert cli.main(["list", kind.removesuffix("s")]) == 0


def test_a_model_is_shown_with_equations_units_and_source(capsys):
    assert cli.main(["show", "alif"]) == 0
    said = capsys.readouterr().out
    for part in ("dv/dt", "tau_m", "20.0 ms", "doi:10.1038/s41467-020-17236-y", "models/alif.py (shipped)"):
        assert part in said


def test_what_a_study_adds_is_marked(study, capsys):
    (study / "models").mkdir()
    (study / "models" / "lif.py").write_text('"""Mine."""\n')
    assert cli.main(["list", "models"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "Mine." in lines["lif"] and "study, in place of a shipped one" in lines["lif"]
    assert lines["alif"].endswith("shipped")


def test_a_folder_one_may_not_write_to_is_one_paragraph(study, capsys, monkeypatch):
    def fail(words):
        raise PermissionError(13, "Permission denied", "runs")

    monkeypatch.setattr("bioplaus.cli.verbs.list.main", fail)
    assert cli.main(["list"]) == 1
    said = after_study(capsys.readouterr().err)
    assert said == "bioplaus: [Errno 13] Permission denied: 'runs'. What was saved before is as it was.\n"


def test_new_makes_a_study_and_harms_none(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new", "mine", "--copy", "alif"]) == 0
    assert (tmp_path / "mine" / "bioplaus.toml").exists() and (tmp_path / "mine" / "models" / "alif.py").exists()
    capsys.readouterr()
    before = sorted(path.name for path in (tmp_path / "mine").rglob("*"))
    assert "nothing is overwritten" in refused(capsys, "new", "mine")
    assert sorted(path.name for path in (tmp_path / "mine").rglob("*")) == before
    assert "Did you mean 'alif'" in refused(capsys, "new", "other", "--copy", "alff")
    assert not (tmp_path / "other").exists()


# Watching


def test_time_left_counts_all_runs(monkeypatch):
    clock = iter(range(0, 1000))
    monkeypatch.setattr(watch.time, "monotonic", lambda: float(next(clock)))  # every look takes a second
    look = watch.Watch({"a": 10, "b": 10}, seeds=2)
    assert look.seconds_left() is None
    look(Event("start", "a", 0, "f", 0, 10))
    for update in range(1, 6):
        look(Event("update", "a", 0, "f", update, 10, {"loss": 1.0, "score": 2.0}))
    assert look.pace["a"] == pytest.approx(1.0)
    assert look.seconds_left() == pytest.approx(35.0)  # 5 of this run, 10 of its second seed, 20 of b
    assert watch.Watch({"a": 10}, seeds=2, workers=8).workers == 2


def test_without_a_terminal_there_are_plain_lines(capsys):
    with watch.Watch({"bptt": 2}, seeds=2) as look:
        look(Event("start", "bptt", 0, "runs/x", 0, 2, {"weights": 1234}))
        row = {"loss": 0.5, "score": 90.0, "test_loss": 0.25, "test_score": 91.0}
        look(Event("update", "bptt", 0, "runs/x", 2, 2, row))
        look(Event("done", "bptt", 0, "runs/x", 2, 2))
        look(Event("found", "bptt", 1, "runs/y", 2, 2))
        look(Event("note", message="The figure was not drawn."))
    assert capsys.readouterr().out.splitlines() == [
        "bptt  seed 0  starts: 2 updates, 1,234 weights",
        "bptt  seed 0  done  test loss 0.25  test score 91  runs/x",
        "bptt  seed 1  was done before  runs/y",
        "The figure was not drawn.",
    ]
    assert look.seconds_left() == 0.0


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_on_a_terminal_lines_move():
    code = """if True:
        import time
        from bioplaus.cli import main
        from bioplaus.cli.watch import Watch
        from bioplaus.runs.event import Event
        with Watch({"bptt": 3, "eprop": 3}, seeds=1) as look:
            look(Event("start", "bptt", 0, "runs/x", 0, 3))
            row = {"loss": 0.5, "score": 90.0, "test_loss": 0.25, "test_score": 91.0}
            look(Event("update", "bptt", 0, "runs/x", 3, 3, row))
            time.sleep(0.5)  # it is drawn ten times a second
            look(Event("done", "bptt", 0, "runs/x", 3, 3))
            look(Event("found", "eprop", 0, "runs/y", 3, 3))
        main(["list", "tasks"])
    """
    ours, theirs = os.openpty()
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += (part := os.read(ours, 65536))
        except OSError:  # how Linux says that the other end was closed
            break
        if not part:
            break
    assert process.wait() == 0, shown.decode()
    text = shown.decode()
    for part in (
        "all 2 runs",
        "3/6",
        "left",
        "test score 91  runs/x",
        "was done before",
        "sequential_digits",
    ):
        assert part in text
    assert "\x1b[" in text, "no colours, no moving lines"


def test_durations():
    assert [duration(s) for s in (0, 8.4, 65, 3600, 7384)] == ["0 s", "8 s", "1:05", "1:00:00", "2:03:04"]


def test_cpu_time_is_told_where_all_runs_counted_it():
    new, old = {"seconds": 40.0, "cpu": 30.0}, {"seconds": 25.0}  # of before
    assert took([new, new]) == "1:00 of CPU time, 1:20 by the clock"
    assert took([new, old]) == "1:05 by the clock" == took([new, {"seconds": 25.0, "cpu": None}])
