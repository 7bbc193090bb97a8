"""A run is recognised by the code that made it: an edited rule, predictor or function does not get the old result."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

import pytest

import bioplaus as bp
from bioplaus.errors import RunError, SealWarning
from bioplaus.runs import Experiment, records, run_experiment
from bioplaus.runs.config import folder_name
from bioplaus.runs.recognised import without_code
from bioplaus.runs.sources import sources

MODULE = '''
"""Parts of my own."""
from dataclasses import dataclass
import numpy as np
import other_parts
from bioplaus.cerebellum.predictors import Linear
from bioplaus.eligibility import EProp
from bioplaus.rules import Rule
from bioplaus.signal import Instant

GAIN = 0.5
TABLE = {"a": 1.0}
_cache = {}


def gain(x):
    """Scaled."""
    return GAIN * x * TABLE["a"]  # by the gain


def decorated(f):
    def around(*given):
        return f(*given)
    return around


class Base(EProp):
    def note(self):
        return 1


@dataclass(frozen=True)
class Mine(Base):
    """A past half of my own."""

    strength: float = 1.0

    @decorated
    def scaled(self, x):
        return other_parts.shifted(gain(x)) * self.strength


class Guess(Linear):
    def guess(self, h):
        return np.tanh(h)


def unused():
    return 1


def rule():
    return Rule(Mine(), Instant())


def made(strength):
    return lambda x: x * strength
'''
OTHER = "def shifted(x):\n    return x + 1\n\n\ndef unused():\n    return 2\n"


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Writes my_parts.py and other_parts.py with something replaced, and imports them anew."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(old: str = "", new: str = ""):
        assert not old or (old in MODULE) != (old in OTHER), "what is replaced stands in one of the two files"
        for name, text in (("my_parts", MODULE), ("other_parts", OTHER)):
            (tmp_path / f"{name}.py").write_text(text.replace(old, new) if old else text)
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        sys.dont_write_bytecode = True  # bytecode is dated to the second
        return importlib.import_module("my_parts")

    yield write
    sys.dont_write_bytecode = False
    for name in ("my_parts", "other_parts"):
        sys.modules.pop(name, None)


def test_what_ships_has_no_code_of_ones_own():
    circuit = bp.circuit("recurrent", cell=bp.model("alif"), inputs=40, units=5, outputs=2)
    assert sources(circuit, bp.task("target_reaching"), bp.rule("bp_lambda"), bp.Training()) == {}


def test_all_that_a_part_runs_is_named(parts):
    found = sources(parts().rule())
    assert found.keys() == {"Base", "Mine", "gain", "decorated", "decorated.<locals>.around", "shifted"}
    assert found == sources(parts().rule()), "the same code, loaded twice"


EDITS = {
    "a method": ("* self.strength", "* self.strength * 2"),
    "a base class": ("return 1\n\n\n@dataclass", "return 3\n\n\n@dataclass"),
    "a function that it calls": ("GAIN * x * TABLE", "GAIN + x * TABLE"),
    "a constant": ("GAIN = 0.5", "GAIN = 0.25"),
    "an entry of a table": ('{"a": 1.0}', '{"a": 2.0}'),
    "a decorator": ("return f(*given)", "return f(*given) or 0"),
    "a default": ("strength: float = 1.0", "strength: float = 2.0"),
    "another module": ("return x + 1", "return x + 2"),
    "what becomes of a name": ("@decorated\n    ", ""),
}
SAME = {
    "a comment": ("# by the gain", "# scaled"),
    "a docstring": ('"""Scaled."""', '"""Scaled by the gain."""'),
    "a docstring of the class": ('"""A past half of my own."""', '"""Mine."""'),
    "layout": ("return GAIN * x", "\n    return GAIN*x"),
    "what stands beside it": ("def unused():\n    return 1", "def unused():\n    return 5"),
    "what stands beside it elsewhere": ("return 2", "return 4"),
    "something that changes while it runs": ("_cache = {}", "_cache = {1: 2}"),
    "lines above": ('"""Parts of my own."""', '"""Parts\nof my\nown."""\n\n\n'),
}


@pytest.mark.parametrize("edit", EDITS)
def test_what_is_edited_is_seen(parts, edit):
    before = sources(parts().rule())
    assert sources(parts(*EDITS[edit]).rule()) != before


@pytest.mark.parametrize("edit", SAME)
def test_what_does_not_count_is_not(parts, edit):
    before = sources(parts().rule())
    assert sources(parts(*SAME[edit]).rule()) == before


def test_what_was_loaded_counts_and_not_what_the_file_says_since(parts, tmp_path):
    module = parts()
    loaded, file = sources(module.rule()), tmp_path / "my_parts.py"
    text = file.read_text()
    file.write_text(text.replace("* self.strength", "* self.strength * 2"))
    stale = sources(module.rule())
    edited = sources(parts("* self.strength", "* self.strength * 2").rule())
    assert stale != edited and stale != loaded, "the code that runs is not the one in the file"
    assert loaded["gain"] == stale["gain"]


def test_what_a_closure_holds_counts(parts):
    module = parts()
    assert sources(module.made(1.0)) != sources(module.made(2.0))
    assert sources(module.made(1.0)) == sources(module.made(1.0))


def test_predictors_and_parts_inside_parts(parts):
    module = parts()
    assert set(sources([{"a": (module.Guess,)}])) == {"Guess"}


def arm(rule, updates=2):
    circuit = bp.circuit("recurrent", cell=bp.model("leaky_rate"), inputs=2, units=4, outputs=2)
    task = bp.task("target_reaching")
    circuit = bp.circuit("recurrent", cell=bp.model("leaky_rate"), inputs=task.inputs, units=4, outputs=task.outputs)
    return bp.Arm(circuit, task, rule, bp.Training(updates=updates, batch=2))


def test_an_edited_rule_is_another_run(parts, tmp_path, monkeypatch):
    """By default in a folder of its own; in a folder that was named it is refused, by the name of what was edited."""
    monkeypatch.chdir(tmp_path)
    one = arm(parts().rule())
    given: dict[str, Any] = {"updates": 2, "batch": 2}
    first = bp.train(one.circuit, one.task, one.rule, **given)
    assert bp.train(one.circuit, one.task, parts().rule(), **given).folder == first.folder, "the same code is found"
    named = bp.train(one.circuit, one.task, parts().rule(), folder="named", **given)
    edited = parts("* self.strength", "* self.strength * 2").rule()
    assert bp.train(one.circuit, one.task, edited, **given).folder != first.folder
    with pytest.raises(RunError, match="another configuration: the code of Mine was edited"):
        bp.train(one.circuit, one.task, edited, folder="named", **given)
    with pytest.raises(RunError, match="the code of Mine does not belong to it, and did"):
        bp.train(one.circuit, one.task, bp.Rule(bp.rule("eprop").eligibility, one.rule.signal), folder="named", **given)
    assert named.config["sources"].keys() == sources(edited).keys()


@pytest.mark.filterwarnings("ignore::bioplaus.errors.SealWarning")
def test_a_run_of_before_is_recognised_without_its_code(parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment = Experiment("e", {"mine": arm(parts().rule())})
    run_experiment(experiment, "e")
    (place,) = Path("runs/e").glob("mine-*")
    record = json.loads((place / "run.json").read_text())
    del record["seal"]
    config = without_code(record["config"])
    older = place.with_name(folder_name("mine", 0, config))
    place.rename(older)
    (older / "run.json").write_text(json.dumps(record | {"format": 2, "config": config}))
    heard = []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run_experiment(experiment, "e", progress=heard.append)
    assert [event.kind for event in heard if event.kind in ("start", "found")] == ["found"]
    assert any(each.category is SealWarning for each in said)
    assert [each.name for each in Path("runs/e").glob("mine-*")] == [older.name]
    records.write(older / "run.json", record | {"config": record["config"] | {"sources": {"Mine": "0"}}})
    run_experiment(experiment, "e", progress=heard.append)
    assert heard[-1].kind != "found" or len(list(Path("runs/e").glob("mine-*"))) == 2, "made by other code: left alone"


SCRIPT = """
import json, sys
import bioplaus as bp
from bioplaus.eligibility import EProp
from bioplaus.rules import Rule
from bioplaus.signal import Instant
from bioplaus.runs.sources import sources

class Mine(EProp):
    def twice(self, x):
        return FACTOR * x if x in {"a", "b", "c", "d"} else 0

print(json.dumps(sources(Rule(Mine(), Instant()))))
"""


def test_what_was_typed_is_told_apart_too():
    """Where there is no file, by what it was compiled to."""

    def typed(factor: str, seed: str) -> dict[str, str]:
        text = textwrap.dedent(SCRIPT).replace("FACTOR", factor)
        ours = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, env=ours)
        return json.loads(done.stdout)

    two, again, three = typed("2", "1"), typed("2", "2"), typed("3", "1")
    assert two.keys() and two == again != three


@pytest.mark.slow
def test_a_worker_finds_the_same_code(tmp_path):
    """In a worker the script is __mp_main__, and its classes are others of the same text."""
    script = tmp_path / "mine.py"
    script.write_text(
        textwrap.dedent("""
        import sys
        import bioplaus as bp
        from bioplaus.eligibility import EProp
        from bioplaus.rules import Rule
        from bioplaus.runs import Experiment, run_experiment
        from bioplaus.signal import Instant

        class Mine(EProp):
            pass

        if __name__ == "__main__":
            task = bp.task("target_reaching")
            circuit = bp.circuit("recurrent", cell=bp.model("leaky_rate"), inputs=task.inputs, units=4, outputs=task.outputs)
            arm = bp.Arm(circuit, task, Rule(Mine(), Instant()), bp.Training(updates=2, batch=2))
            run_experiment(Experiment("e", {"mine": arm}, seeds=(0, 1)), "e", workers=int(sys.argv[1]), progress=True)
        """)
    )

    def said(workers: str) -> str:
        words = [sys.executable, str(script), workers]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert said("2").count("done") == 2
    assert said("1").count("was done before") == 2


MANY = """
import enum, functools, os, sys, types, contextlib
from dataclasses import dataclass
from fractions import Fraction
import numpy as np
import torch
import pk.sub
from bioplaus.eligibility import EProp
from bioplaus.rules import Rule
from bioplaus.signal import Instant

HERE = os.path.dirname(os.path.abspath(__file__))
calls = 0
params = {"a": 1.0}
cache = {}
TABLE = {"a": 1.0}
TABLE["me"] = TABLE
CHOSEN = {"a", "b", "c", "d", "e"}
HUGE = 10**5000
STEPS, SHARE, SPACE = range(3), Fraction(1, 3), types.SimpleNamespace(a=1)
CLAMP = functools.partial(torch.clamp, min=0.0)
ACT = (lambda x: x + 1, lambda x: x + 2)


class Odd:
    dtype = "odd"


ODD = Odd()
OBJECTS = np.array([Odd(), None], dtype=object)


@dataclass(frozen=True)
class P:
    k: float = 1.0


PARAMS = P(k=3.0)


class Kind(enum.Enum):
    A = "first"


@torch.no_grad()
def decayed(x):
    return 0.9 * x


@functools.lru_cache
def cached(x):
    return 0.8 * x


@contextlib.contextmanager
def entered():
    yield 0.7


@np.vectorize
def vectorised(x):
    return 0.6 * x


def factory(k):
    class Inner:
        K = k

    return Inner


class Mine(EProp):
    gain = 1.0
    made = factory(5)

    def all(self, x):
        global calls
        calls += 1
        cache[x] = x
        from pk.sub import local
        return (decayed(x), cached(x), entered(), vectorised(x), pk.sub.chained(x), local(x), HERE, params, TABLE, CHOSEN, HUGE, STEPS, SHARE,
                SPACE, CLAMP, ACT, ODD, OBJECTS, PARAMS, Kind.A, __file__, __name__, self.gain)


def rule():
    return Rule(Mine(), Instant())
"""
PK = "def chained(x):\n    return 11 * x\n\n\ndef local(x):\n    return 12 * x\n"
SEEN = {
    "under torch.no_grad": ("0.9 * x", "0.91 * x"),
    "under functools.lru_cache": ("0.8 * x", "0.81 * x"),
    "under contextlib": ("yield 0.7", "yield 0.71"),
    "under numpy.vectorize": ("0.6 * x", "0.61 * x"),
    "in a module of a package": ("11 * x", "110 * x"),
    "imported where it is used": ("12 * x", "120 * x"),
    "a dictionary in small letters": ('params = {"a": 1.0}', 'params = {"a": 2.0}'),
    "a set": ('"d", "e"}', '"d", "f"}'),
    "a whole number of any size": ("10**5000", "10**5000 + 1"),
    "a range": ("range(3)", "range(4)"),
    "a fraction": ("Fraction(1, 3)", "Fraction(1, 4)"),
    "a namespace": ("SimpleNamespace(a=1)", "SimpleNamespace(a=2)"),
    "a partial": ("min=0.0", "min=0.5"),
    "the second lambda of a line": ("x + 2", "x + 3"),
    "a frozen dataclass": ("P(k=3.0)", "P(k=4.0)"),
    "an enumeration": ('"first"', '"second"'),
    "what a class was made with": ("factory(5)", "factory(6)"),
}


@pytest.fixture
def many(tmp_path, monkeypatch):
    """Writes my_many.py and pk/sub.py into a folder, with something replaced, and imports them anew."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names = ("my_many", "pk", "pk.sub")

    def write(old: str = "", new: str = "", folder: str = "here"):
        place = tmp_path / folder
        (place / "pk").mkdir(parents=True, exist_ok=True)
        (place / "my_many.py").write_text(MANY.replace(old, new) if old else MANY)
        (place / "pk" / "__init__.py").write_text("")
        (place / "pk" / "sub.py").write_text(PK.replace(old, new) if old else PK)
        monkeypatch.syspath_prepend(place)
        for name in names:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("my_many")

    yield write
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("edit", SEEN)
def test_whatever_code_of_ones_own_uses_is_seen(many, edit):
    old, new = SEEN[edit]
    assert (old in MANY) != (old in PK)
    before = sources(many().rule())
    assert sources(many(old, new).rule()) != before == sources(many().rule())


def test_what_runs_changes_nothing_of_it(many):
    """Counters, caches, the folder in which the file stands."""
    module = many()
    before = sources(module.rule())
    module.Mine().all(1.0)
    assert module.calls == 1 and module.cache and sources(module.rule()) == before
    assert sources(many(folder="elsewhere").rule()) == before


def test_what_is_set_in_a_class_later_is_seen(many):
    module = many()
    before = sources(module.rule())
    module.Mine.gain = 2.0
    assert sources(module.rule()) != before


def test_classes_that_no_module_has_are_seen(tmp_path):
    """Loaded by hand, made of a text, or by type()."""

    def loaded(factor: str):
        file = tmp_path / "by_hand.py"
        file.write_text(
            f"from bioplaus.eligibility import EProp\nclass Mine(EProp):\n    def f(self):\n        return {factor}\n"
        )
        spec = importlib.util.spec_from_file_location("by_hand", file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.Mine

    def of_text(factor: str):
        space: dict[str, Any] = {}
        exec(
            f"from bioplaus.eligibility import EProp\nclass Mine(EProp):\n    def f(self):\n        return {factor}\n",
            space,
        )
        return space["Mine"]

    for make in (loaded, of_text):
        found = [sources(make(factor)()) for factor in ("1", "2", "1")]
        assert found[0] and found[0] == found[2] != found[1], make.__name__
