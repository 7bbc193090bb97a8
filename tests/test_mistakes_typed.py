"""What people type wrong at the command line: each answer is one paragraph that names what was given and what to do."""

from __future__ import annotations

import json
import shlex
import types

import pytest
from task_helpers import after_study

from bioplaus import cli

FILES = {
    "good": "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Config:\n    updates: int = 3\n    lr: float = 1e-3\n"
    "def good(config=Config()):\n    raise NotImplementedError\n",
    "broken": "def broken(:\n",
    "nameless": "def other():\n    pass\n",
    "raises": "x = 1\nx / 0\n",
    "exits": "raise SystemExit(3)\n",
    "leaves": "raise SystemExit\n",
    "parted": "from dataclasses import dataclass, field\n@dataclass(frozen=True)\nclass Training:\n    updates: int = 3\n    batch: int = 2\n"
    "    lr: float = 1e-3\n    device: str = 'cpu'\n    clip: float = 1.0\n"
    "@dataclass(frozen=True)\nclass Config:\n    training: Training = Training()\n    seeds: tuple[int, ...] = (0, 1)\n"
    "def parted(config=Config()):\n    raise NotImplementedError\n",
    "later": "def later():\n    return [][3]\n",
    "nothing": "def nothing():\n    pass\n",
    "needs": "def needs(config):\n    pass\n",
    "bare": "from dataclasses import dataclass\n@dataclass\nclass Config:\n    a: int\ndef bare(config=None):\n    pass\n",
    "three": "Config = 3\ndef three(config=None):\n    pass\n",
    "armless": "import bioplaus as bp\ndef armless():\n    return bp.Experiment('t', {})\n",
    "listed": "import bioplaus as bp\ndef listed():\n    return bp.Experiment('t', [1, 2])\n",
    "armed": "import bioplaus as bp\ndef armed():\n    return bp.Experiment('t', {'a': 1})\n",
    "typo": "import bioplaus as bp\ndef typo():\n    return bp.Training(epochs=3)\n",
}


@pytest.fixture(autouse=True)
def study(tmp_path, monkeypatch):
    (tmp_path / "bioplaus.toml").write_text("")
    (tmp_path / "experiments").mkdir()
    for name, text in FILES.items():
        (tmp_path / "experiments" / f"{name}.py").write_text(text)
    (tmp_path / "file").write_text("mine")
    records = {"noruns/experiment.json": {}, "list/experiment.json": [], "noconfig/run.json": {"status": "done"}}
    for place, record in records.items():
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).write_text(json.dumps(record))
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "run.json").write_text('{"config": ')
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BIOPLAUS_STUDY", raising=False)
    return tmp_path


REACH = "compare target_reaching --rules"
SAID = [
    ("rnu good", "'rnu'. Did you mean 'run'?"),
    ("run", "needs the name of an experiment"),
    ("run god", "Did you mean 'good'?"),
    ("run ./good.py", "write `bioplaus run good`"),
    ("run experiments/good.py", "write `bioplaus run good`"),
    ("run ../elsewhere.py", "none of its name is found here"),
    ("run experiments/", "takes the name of an experiment"),
    ("run --updates 3 good", "before any option"),
    ("run good again", "'again' is too much"),
    ("run good updates=3", "'updates=3' is too much. Options begin with --"),
    ("run good --seeds 0-2", "'0-2' are not seeds. Give 0:5"),
    ("run good --seeds a", "'a' are not seeds"),
    ("run good --seeds ''", "'' are not seeds"),
    ("run good --seeds -1", "'-1' are not seeds"),
    ("run good --seeds", "Missing value for --seeds"),
    ("run good --updates 1.5", "--updates of `bioplaus run good` is '1.5'; it must be a whole number"),
    ("run good --updates many", "is 'many'; it must be a whole number"),
    ("run good --updates", "Missing value for --updates"),
    ("run good --updates 3 4", "can make nothing of '4'"),
    ("run good --lr abc", "--lr of `bioplaus run good` is 'abc'; it must be a number"),
    ("run good --epochs 3", "The nearest: --updates"),
    ("run good --learning-rate 1", "The nearest: --lr"),
    ("run parted --training.epochs 3", "The nearest: --training.updates. All"),
    ("run parted --training.learning_rate=3", "The nearest: --training.lr. All"),
    ("run parted --circuit.n-updates 3", "The nearest: --training.updates. All"),
    ("run good --training.updates 3", "The nearest: --updates. All"),
    ("run good --rule.lambda 3", "That is an option of a rule"),
    ("run parted --seeds -1", "'-1' are not seeds"),
    ("run parted --seeds 0 -1", "'0,-1' are not seeds"),
    ("run parted --seeds=", "'' are not seeds"),
    ("run parted --seeds", "Missing value for --seeds of `bioplaus run parted`"),
    ("run parted --seeds --workers 2", "Missing value for --seeds of `bioplaus run parted`"),
    ("run good --learning_rate=1", "has no option --learning_rate. The nearest: --lr"),
    ("run good --lambda 0.5", "That is an option of a rule, which the experiment's file makes"),
    ("run good --num-workers 2", "The nearest: --workers"),
    ("run good --workers 0", "`--workers 0`: give 1 or more"),
    ("run good --workers two", "is 'two'; it must be a whole number"),
    ("run broken", "broken.py, line 1, raises SyntaxError"),
    ("run nameless", "defines no function 'nameless', only: other"),
    ("run raises", "raises.py, line 2, raises ZeroDivisionError: division by zero"),
    ("run exits", "exits.py, line 1, raises SystemExit: 3"),
    ("run leaves", "leaves.py, line 1, raises SystemExit. Correct"),
    ("run nothing", "What nothing() returns is None; it must be of class Experiment"),
    ("run needs", "No value was given for 'config'"),
    ("run bare", "its Config must be a dataclass with a default for every field"),
    ("run three", "its Config must be a dataclass"),
    ("run armless", "has no arms"),
    ("run listed", "give a mapping of at least one"),
    ("run armed", "The arm 'a' of 't' is 1; it must be an Arm"),
    ("run typo", "no option 'epochs' of Training. Did you mean 'updates'?"),
    ("show", "needs a name"),
    ("show alff", "Did you mean 'alif'?"),
    ("show empty", "is not the folder of a run: it holds no run.json"),
    ("show nowhere/run", "There is no folder nowhere/run"),
    ("show ./models/mine.py", "not a file; 'models/mine.py' was given: and none of its name is found here"),
    ("show experiments/good.py", "not a file; 'experiments/good.py' was given: write `bioplaus show good`"),
    ("show alif.py", "not a file; 'alif.py' was given: write `bioplaus show alif`"),
    ("show file", "takes a name or the folder of a run, not a file"),
    ("show -x", "write ./-x"),
    (f"show {'x' * 300}", "The name is too long: the name 'xxxxxxxxxxxxxxxxxxxx…' in it has 300 letters"),
    ("show lif --units 3", "has no options but --help; --units was given"),
    ("list modles", "Did you mean 'models'?"),
    ("list models rules", "'rules' is too much"),
    ("figure", "needs the folder of a run or an experiment"),
    ("figure nowhere", "There is no folder nowhere"),
    ("figure file", "file is a file, not the folder of a run"),
    ("figure cut noconfig", "draws one folder at a time, and was given 2: cut, noconfig. Give one"),
    ("figure cut noconfig noruns/", "draws one folder at a time, and was given 3: cut, noconfig, noruns/. Give one"),
    ("figure ./cut ./empty learning --out x", "draws one folder at a time, and was given 2: ./cut, ./empty. Give one"),
    ("figure -dash", "write ./-dash"),
    (f"figure {'y/' * 2200}", "The folder is too long: the path"),
    ("figure --out x empty", "before any option"),
    ("figure empty --format png", "The nearest: --out"),
    ("compare", "needs the name of a task"),
    ("compare --task target_reaching", "before any option"),
    ("compare target_reaching", "needs --rules"),
    (f"{REACH} bptt eprop", "can make nothing of 'eprop'"),
    (
        f"{REACH} bptt eprop",
        "one word unless --help shows several: rules, arms and seeds may all be written with commas",
    ),
    (f"{REACH} eprop --circuit.units 4", "The nearest: --units. All"),
    (f"{REACH} eprop --training.max_epochs 4", "The nearest: --updates. All"),
    (f"{REACH} ''", "needs --rules"),
    (f"{REACH} bptx", "Did you mean 'bptt'"),
    (f"{REACH} bptt,bptt", "A rule is named twice"),
    (f"{REACH} 'bp_lambda(lambda=0.5)'", "λ is written lmbda, 'bp_lambda(lmbda=0.5)'"),
    (f"{REACH} 'bp_lambda(0.5)'", "is not a rule"),
    (f"{REACH} eprop --lambda 0.5", "stands in brackets behind its name: --rules 'bp_lambda(lmbda=0.5)'"),
    (f"{REACH} eprop --batch-size 5", "The nearest: --batch."),
    (f"{REACH} eprop --lr-out 5", "The nearest: --readout-lr."),
    (f"{REACH} eprop --seeds 3:1", "'3:1' are not seeds"),
    (f"{REACH} eprop --units -2", "is -2"),
    ("check eprop", "takes no names; 'eprop' is too much"),
    ("check --rule eprop", "The nearest: --rules"),
    ("new", "needs the folder to make"),
    (
        "new -dash",
        "takes '-dash' for an option, as it begins with a dash, and has none of that name. For a folder of that name write ./-dash",
    ),
    ("new -- -dash", "write ./-dash"),
    ("new --dashes", "write ./--dashes"),
    ("new --copy alif", "needs the folder to make"),
    (f"new {'x' * 300}", "The study's folder is too long"),
    ("new file", "a file is there already"),
    ("new file/below", "can't be made at"),
    ("new ''", "must be a path"),
    ("new a b", "'b' is too much"),
]
LATER = [  # what is known only when something is read or called
    ("run later", "later.py, line 2, in later, raised IndexError: list index out of range"),
    ("show cut", "cut/run.json can't be read"),
    ("figure cut", "cut/run.json can't be read"),
    ("figure noconfig", "noconfig/run.json can't be read: it does not say 'format'"),
    ("figure empty", "is neither the folder of a run nor that of an experiment"),
    ("figure noruns", "noruns/experiment.json can't be read: it does not say 'format'"),
    ("figure list", "list/experiment.json can't be read: what it holds is []; it must be names with values"),
    (f"{REACH} eprop --root file", "The folder file/compare-target_reaching can't be used: file is not a folder"),
    (f"{REACH} eprop --root {'é' * 200}", "root is too long"),
    (f"{REACH} eprop --root ''", "root is ''; it must be a path"),
    (f"{REACH} eprop --root /proc/x", "can't be used: nothing can be written in /proc"),
]


@pytest.mark.parametrize(
    ("words", "says", "status"),
    [*((*row, 2) for row in SAID), *((*row, 1) for row in LATER)],
    ids=lambda x: str(x)[:40],
)
def test_a_mistake_is_answered_in_one_paragraph(study, capsys, words, says, status):
    before = sorted(study.rglob("*"))
    assert cli.main(shlex.split(words)) == status
    said = capsys.readouterr()
    err = after_study(said.err)
    assert err.startswith("bioplaus: ") and err.count("\n") == 1 and said.out == ""
    assert says in err
    left = [path for path in sorted(study.rglob("*")) if path not in before and "__pycache__" not in path.parts]
    assert left == [], "nothing is left behind"


def test_a_folder_that_begins_with_a_dash_is_made_as_it_is_told(study):
    assert cli.main(["new", "./-dash"]) == 0
    assert (study / "-dash" / "bioplaus.toml").exists()


@pytest.mark.parametrize("words", ["0,2", "0 2"])
def test_seeds_of_a_config_are_written_as_it_is_told(words, capsys):
    """Both ways, with commas and with spaces, lead as far as the experiment's own function."""
    assert cli.main(["run", "parted", "--seeds", *words.split()]) == 1
    assert "raised NotImplementedError" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "own"), [("learning", ["learning", "mine"]), ("mine", ["mine"]), ("alignment", [])])
def test_known_figures_are_named_once(study, capsys, monkeypatch, name, own):
    """Also where an experiment has a figure of a standard one's name; a folder of a figure's name is not taken for a second run."""
    made = types.SimpleNamespace(figures=dict.fromkeys(own))
    monkeypatch.setattr("bioplaus.runs.reopen.reopen", lambda folder: (made, {}))
    (study / name).mkdir()
    assert cli.main(["figure", "noruns", "nosuch"]) == 2
    said = after_study(capsys.readouterr().err)
    assert said.rstrip().endswith(f"Known: {', '.join(sorted({*own, 'learning', 'alignment'}))}.")
    monkeypatch.setattr("bioplaus.cli.verbs.figure._of_experiment", lambda *given: [given[1]])
    assert cli.main(["figure", "noruns", name]) == 0 and capsys.readouterr().out.strip() == name


def test_what_nobody_foresaw_is_one_paragraph_too_and_the_way_is_shown_on_request(study, capsys, monkeypatch):
    def fail(words):
        return {}["key"]

    monkeypatch.setattr("bioplaus.cli.verbs.list.main", fail)
    monkeypatch.setattr("bioplaus.cli.astray._is_own", lambda file: False)
    assert cli.main(["list"]) == 1
    said = after_study(capsys.readouterr().err)
    assert (
        said.startswith("bioplaus: this is a fault of bioplaus: test_mistakes_typed.py, line ")
        and "KeyError: 'key'" in said
    )
    assert said.count("\n") == 1
    monkeypatch.setenv("BIOPLAUS_TRACEBACK", "1")
    with pytest.raises(KeyError):
        cli.main(["list"])
