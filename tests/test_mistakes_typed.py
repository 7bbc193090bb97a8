"""What people type wrong at the command line: each answer is one paragraph that names what was given and what to do."""

from __future__ import annotations

import json
import shlex

import pytest

from bioplaus import cli

FILES = {
    "good": "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Config:\n    updates: int = 3\n    lr: float = 1e-3\n"
    "def good(config=Config()):\n    raise NotImplementedError\n",
    "broken": "def broken(:\n",
    "nameless": "def other():\n    pass\n",
    "raises": "x = 1\nx / 0\n",
    "exits": "raise SystemExit(3)\n",
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
    ("run good --learning_rate=1", "has no option --learning_rate. The nearest: --lr"),
    ("run good --lambda 0.5", "That is an option of a rule, which the experiment's file makes"),
    ("run good --num-workers 2", "The nearest: --workers"),
    ("run good --workers 0", "`--workers 0`: give 1 or more"),
    ("run good --workers two", "is 'two'; it must be a whole number"),
    ("run broken", "broken.py, line 1, raises SyntaxError"),
    ("run nameless", "defines no function 'nameless', only: other"),
    ("run raises", "raises.py, line 2, raises ZeroDivisionError: division by zero"),
    ("run exits", "exits.py, line 1, raises SystemExit: 3"),
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
    ("show lif --units 3", "has no options but --help; --units was given"),
    ("list modles", "Did you mean 'models'?"),
    ("list models rules", "'rules' is too much"),
    ("figure", "needs the folder of a run or an experiment"),
    ("figure nowhere", "There is no folder nowhere"),
    ("figure file", "file is a file, not the folder of a run"),
    ("figure --out x empty", "before any option"),
    ("figure empty --format png", "The nearest: --out"),
    ("compare", "needs the name of a task"),
    ("compare --task target_reaching", "before any option"),
    ("compare target_reaching", "needs --rules"),
    (f"{REACH} bptt eprop", "can make nothing of 'eprop'"),
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
    ("new file", "a file is there already"),
    ("new file/below", "can't be made at"),
    ("new ''", "must be a path"),
    ("new a b", "'b' is too much"),
]
LATER = [  # what is known only when something is read or called
    ("run later", "later.py, line 2, in later, raised IndexError: list index out of range"),
    ("show cut", "cut/run.json can't be read"),
    ("figure cut", "cut/run.json can't be read"),
    ("figure noconfig", "noconfig/run.json can't be read: it holds no configuration"),
    ("figure empty", "is neither the folder of a run nor that of an experiment"),
    ("figure noruns", "noruns/experiment.json can't be read: it names no runs"),
    ("figure list", "list/experiment.json can't be read: it names no runs"),
    (f"{REACH} eprop --root file", "The folder file/compare-target_reaching can't be used: file is not a folder"),
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
    assert said.err.startswith("bioplaus: ") and said.err.count("\n") == 1 and said.out == ""
    assert says in said.err
    left = [path for path in sorted(study.rglob("*")) if path not in before and "__pycache__" not in path.parts]
    assert left == [], "nothing is left behind"


def test_what_nobody_foresaw_is_one_paragraph_too_and_the_way_is_shown_on_request(study, capsys, monkeypatch):
    def fail(words):
        return {}["key"]

    monkeypatch.setattr("bioplaus.cli.verbs.list.main", fail)
    monkeypatch.setattr("bioplaus.cli.astray._is_own", lambda file: False)
    assert cli.main(["list"]) == 1
    said = capsys.readouterr().err
    assert (
        said.startswith("bioplaus: this is a fault of bioplaus: test_mistakes_typed.py, line ")
        and "KeyError: 'key'" in said
    )
    assert said.count("\n") == 1
    monkeypatch.setenv("BIOPLAUS_TRACEBACK", "1")
    with pytest.raises(KeyError):
        cli.main(["list"])
