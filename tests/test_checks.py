"""Every row of every table of constraints is broken, stood on its bounds, and given NumPy's and torch's numbers.

The tables are found by walking the package, and what breaks a row follows from its constraint: a new dataclass or row joins by
itself.
"""

from __future__ import annotations

import importlib
import inspect
import json
import math
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

import bioplaus as bp
from bioplaus import rules
from bioplaus.cerebellum.delays import Lasting
from bioplaus.checks import (
    Among,
    Amount,
    Flag,
    Instance,
    Mapped,
    Optional,
    Real,
    Several,
    Span,
    Table,
    Text,
    Whole,
    Word,
)
from bioplaus.circuit import Projection
from bioplaus.circuit.connect import Connected, Pairs
from bioplaus.circuit.delays import Delay, One
from bioplaus.circuit.space import Coordinates, Periods, Placed
from bioplaus.eligibility import Immediate
from bioplaus.perturb import KINDS, Path, Perturbs, Spanned, Valued
from bioplaus.runs import Arm, Experiment
from bioplaus.runs.config import digest, plain
from bioplaus.signal import BPLambda
from bioplaus.signal.given import Feedback, Matrix
from bioplaus.tasks import squared
from bioplaus.tasks.sequential_digits import SequentialDigits
from bioplaus.tasks.spiking_digits import SpikingDigits
from bioplaus.tasks.stream import Stream
from bioplaus.tasks.volley import Volley

#: fields without a row, because they are checked as plain code or are nothing to check
FREE = {
    # torch is asked
    "Training": {"device", "optimiser", "optimiser_options", "lr_schedule", "lr_schedule_options"},
    "Phase": {"rule", "task"},  # None, a name, or what has what these have
    "Agent": {"circuit", "task", "rule", "training", "phases", "initial"},  # as an arm's, which has no table
    "PatternGeneration": {"input", "target"},  # arrays, of a shape that follows from the numbers
    "Experiment": {"arms", "table", "figures", "references", "remarks", "by_seed"},
}

#: what is needed to make one, besides the fields that have a row
START: dict[str, dict[str, Any]] = {
    "Experiment": {"title": "e", "arms": {"a": None}},
    "Agent": {
        "circuit": bp.circuit("recurrent", cell="elman", inputs=3, units=2, outputs=3),
        "task": "delayed_cue",
        "rule": "eprop",
        "training": None,
    },
}

#: what goes with a value, where a rule about several fields says so
BESIDE: dict[tuple[str, str], Callable[[Any], dict[str, Any]]] = {
    ("BPLambda", "outputs"): lambda value: {} if value is None else {"trace": "projected"},
    ("BPLambda", "horizon"): lambda value: {} if value is None else {"trace": "replay"},
    ("Perturb", "value"): lambda value: {"path": "E.I", "kind": "drive"},
    ("Perturb", "kind"): lambda kind: {"value": 0.5} if isinstance(kind, str) and KINDS.get(kind) else {},
    ("Perturb", "steps"): lambda value: {"kind": "cut"},
    ("Projection", "delay"): lambda value: {"source": "input"} if np.array_equal(value, 0) else {},
}


def owners() -> list[type]:
    """Every class of the package that has a table of its own."""
    found = []
    for module in pkgutil.walk_packages(bp.__path__, "bioplaus."):
        if ".template" in module.name or module.name.endswith("__main__"):
            continue
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if kind.__module__ == module.name and isinstance(vars(kind).get("constraints"), Table):
                found.append(kind)
    return found


OWNERS = owners()
ROWS = [(kind, field) for kind in OWNERS for field in kind.constraints.rows]  # type: ignore[attr-defined]


def made(text: str) -> Any:
    """What an example makes."""
    return eval(text, {"bp": bp} | {name: getattr(bp, name) for name in bp.__all__})


# -- what follows from a constraint -----------------------------------------------------------------------------------------


def good(row: Any) -> list[Any]:
    """Values that a row takes: those on its bounds, every known word, its example."""
    if isinstance(row, Whole):
        return [row.least, row.most]
    if isinstance(row, Real):
        ends = [end for end in (row.least, row.most) if math.isfinite(end)]
        inside = [0.5] if row.least <= 0.5 <= row.most and row.above < 0.5 < row.below else []
        open_ends = [math.nextafter(end, 0.5) for end in (row.above, row.below) if math.isfinite(end)]
        return [*ends, *open_ends, *inside] or [-1.5, 2]
    if isinstance(row, Among):
        return list(row.numbers)
    if isinstance(row, Text):
        return ["", "a", "λ"]
    if isinstance(row, Word):
        return ["a"] if row.known is None else list(row.known)
    if isinstance(row, Flag):
        return [True, False]
    if isinstance(row, Optional):
        return [None, *good(row.given)]
    if isinstance(row, Lasting):
        row = row.time
    if isinstance(row, Amount):
        return [made(row.example), float(made(row.example)), 5e-324]
    if isinstance(row, One):
        return [*good(row.steps), *good(row.time)]
    if isinstance(row, Delay):
        return [*good(row.one), bp.Uniform(1, 3), np.ones((2, 3), int), np.ones((2, 3)) * bp.ms]
    if isinstance(row, Feedback):
        return [*good(row.word), Matrix(torch.ones(1, 2))]
    if isinstance(row, Connected):
        return [Pairs(np.array([0, 1]), np.array([2, 0]))]
    if isinstance(row, Coordinates):
        return [np.array([[0.0, 0.1], [0.2, 0.3]])]
    if isinstance(row, Placed):
        return [bp.grid(3, spacing=1 * bp.mm)]
    if isinstance(row, Periods):
        return [(0.1, 0.2), *good(row.each)]
    if isinstance(row, Spanned):
        return [None, range(5, 9), slice(3, None), slice(None, 20, 4)]
    if isinstance(row, Valued):
        return [0.5, np.array([1.0, 2.0]), 5 * bp.mV, 3]
    if isinstance(row, Path):
        return ["cerebellum.golgi[0:20].v", "E.I"]
    if isinstance(row, Perturbs):
        return [
            None,
            bp.Perturb("E", "silence"),
            [bp.Perturb("W", "cut"), bp.Perturb("E", "silence", updates=range(1))],
        ]
    if isinstance(row, Span):
        return [*good(row.each), made(row.example)]
    assert isinstance(row, (Instance, Several, Mapped)), f"say here what {type(row).__name__} takes"
    return [made(row.example)]


WRONG: tuple[Any, ...] = (object(), b"1", 1j, float("nan"), np.array([1, 2]), [None], {1: 1}, np.complex64(1), bp.mV)


def bad(row: Any) -> list[Any]:
    """Values that a row refuses: of another type, beyond its bounds, unknown."""
    if isinstance(row, Optional):
        return [value for value in bad(row.given) if value is not None]
    if isinstance(row, Whole):
        return [
            *WRONG,
            None,
            "x",
            True,
            np.True_,
            row.least + 0.5,
            float(row.least),
            row.least - 1,
            row.most + 1,
            10**400,
        ]
    if isinstance(row, Real):
        ends = [
            math.nextafter(end, way * math.inf) for end, way in ((row.least, -1), (row.most, 1)) if math.isfinite(end)
        ]
        ends += [end for end in (row.above, row.below) if math.isfinite(end)]
        return [
            *WRONG,
            *ends,
            None,
            "1",
            True,
            np.array(True),
            torch.tensor(True),
            math.inf,
            -math.inf,
            10**400,
            np.array("1"),
        ]
    if isinstance(row, Lasting):  # 0 is no delay, in steps
        return [v for v in bad(row.time) if v is True or not isinstance(v, int) or v < 0]
    if isinstance(row, Amount):
        return [*WRONG, None, "1", True, 0, -1, math.inf, bp.Hz if row.unit == "s" else bp.ms]
    if isinstance(row, One):
        return [*bad(row.steps), -1 * bp.ms, 0.0, 1.5, math.inf, bp.Hz]
    if isinstance(row, Delay):  # an array of whole numbers is one of steps
        one = [value for value in bad(row.one) if not isinstance(value, np.ndarray)]
        return [*one, bp.Uniform, np.zeros((2, 3)), np.ones((2, 3, 4)), np.zeros((2, 3), int), np.ones((2, 3)) * bp.Hz]
    if isinstance(row, Feedback):
        return [*bad(row.word), [1.0, 2.0], [[1.0], [1.0, 2.0]], [[math.nan]], [[1j]], [[True]], np.ones((2, 0))]
    if isinstance(row, Among):
        return [*WRONG, None, "x", True, float(row.numbers[0]), max(row.numbers) + 1, 0]
    if isinstance(row, Text):
        return [*WRONG, None, 3, True, "\ud800"]
    if isinstance(row, Word):
        return [*WRONG, None, "", "\ud800", 3, True, *(["never a word"] if row.known is not None else [])]
    if isinstance(row, Flag):
        return [*WRONG, None, 0, 1, "True", np.int64(1), torch.tensor(1)]
    if isinstance(row, Several):
        few = [(good(row.each)[0],) * (row.least - 1)] * bool(row.least)
        many = [(good(row.each)[0],) * (row.most + 1)] if row.most is not None else []
        twice = [(good(row.each)[0],) * 2] if row.different else []
        inside = [(value,) * max(1, row.least) for value in bad(row.each)]
        return [*few, *many, *twice, *inside, None, 3, "x", object(), {1, 2}, {"a": 1}, np.array(3), True]
    if isinstance(row, Mapped):
        entry = good(row.each)[0]
        return [
            *WRONG,
            None,
            3,
            [("a", entry)],
            {3: entry},
            {"": entry},
            *({"a": value} for value in bad(row.each)),
        ] + [{}] * row.least
    if isinstance(row, Span):
        least, most = made(row.example)
        return [
            *(value for value in bad(row.each) if not isinstance(value, np.ndarray)),  # two numbers are a span
            (most, least),
            (least,),
            (least, most, most),
            (least, most + 0.5),
            (row.each.least - 1, most),
        ]
    if isinstance(row, Connected):
        twice, below, uneven = ([0, 0], [1, 1]), ([-1], [0]), ([0, 1], [2])
        return [*WRONG, 3, "x", True, twice, below, uneven, ([0.5], [1]), np.ones((3, 4)), [1, 2], ([0], [1], [2])]
    if isinstance(row, (Coordinates, Placed)):
        odd: list[Any] = [3, "x", True, [[0.0] * 4], [[[0.0]]], [[np.nan]], [[0.0], [0.0, 0.1]], [2.0], [1] * bp.ms, []]
        return [value for value in WRONG if not isinstance(value, np.ndarray)] + odd
    if isinstance(row, Periods):
        return [*bad(row.each), [0.1, -0.1], [], [0.1] * 4]
    if isinstance(row, Spanned):
        return [*WRONG, 3, "x", "-1:", True, range(5, 5), range(5, 0, -1), slice(-3, None), slice(0.5, 3), (1, 2)]
    if isinstance(row, Valued):
        return [
            *(v for v in WRONG if not isinstance(v, np.ndarray) and v is not bp.mV),
            "x",
            True,
            [],
            math.inf,
            [1, "x"],
            [bp.mV],
        ]
    if isinstance(row, Path):
        return [*WRONG, None, "", 3, "E[", "E[x]", "E[]", ".v", "E.", "E..v", "E]", "E[0]v", "E[::0]"]
    if isinstance(row, Perturbs):
        return [*WRONG, 3, "E", True, bp.Perturb, {"E": "silence"}]
    assert isinstance(row, Instance), f"say here what {type(row).__name__} refuses"
    return [*WRONG, None, 3, "x", True, type(made(row.example))]


def twins(value: Any) -> Iterator[Any]:
    """The same number, word or flag (or several) as other libraries have it."""
    if isinstance(value, bool):
        yield from (np.bool_(value), np.array(value), torch.tensor(value))
    elif isinstance(value, int) and abs(value) < 2**63:
        yield from (np.int64(value), np.array(value), torch.tensor(value))
    elif isinstance(value, float):
        yield from (
            np.float64(value),
            np.array(value),
            torch.tensor(value, dtype=torch.float64),
            Fraction(value),
            Decimal(value),
        )
    elif isinstance(value, str):
        yield np.str_(value)
    elif isinstance(value, tuple) and all(isinstance(each, (int, float)) for each in value):
        yield from (
            np.array(value),
            torch.tensor(value, dtype=torch.float64 if isinstance(value[0], float) else None),
            list(value),
        )


# -- an object with one field changed ----------------------------------------------------------------------------------------


class Plain(bp.Task):
    """A task of one's own, no dataclass."""

    inputs, outputs, steps, loss = 1, 1, 3, squared

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> bp.Batch:
        return bp.Batch(torch.zeros(3, size, 1), torch.zeros(3, size, 1), torch.ones(3, size))


def kept(kind: Any, field: str, value: Any) -> Any:
    """What an object of a class makes of a field, the other fields being good."""
    if kind is bp.Task:
        return bp.Task.constraints.plain(type("Own", (Plain,), {field: value})())[field]
    rows = kind.constraints.rows
    needed = [f.name for f in fields(kind) if f.init and f.default is MISSING and f.default_factory is MISSING]
    start = {name: good(rows[name])[-1] for name in needed if name in rows} | START.get(kind.__name__, {})
    return getattr(
        kind(**{**start, **BESIDE.get((kind.__name__, field), lambda value: {})(value), field: value}), field
    )


@pytest.fixture(autouse=True)
def _no_download(monkeypatch):
    for kind in (SequentialDigits, SpikingDigits, Stream, Volley):
        monkeypatch.setattr(kind, "images", lambda self, split: None)


def test_the_tables_are_found():
    names = {kind.__name__ for kind in OWNERS}
    assert names >= {
        "Population",
        "Projection",
        "Readout",
        "Circuit",
        "Training",
        "Window",
        "RateRegulariser",
        "BPLambda",
        "MLP",
    }
    assert names >= {"Task", "Copy", "PatternGeneration", "Hops", "Experiment", "Tuning"} and len(ROWS) > 100


@pytest.mark.parametrize("kind", [kind for kind in OWNERS if is_dataclass(kind)], ids=lambda kind: kind.__name__)
def test_every_field_has_a_row(kind: Any):
    tables = [vars(each).get("constraints") for each in kind.__mro__ if is_dataclass(each)]
    rows = {field for table in tables if table for field in table.rows}
    assert {field.name for field in fields(kind) if field.init} - rows == FREE.get(kind.__name__, set())


@pytest.mark.parametrize(("kind", "field"), ROWS, ids=lambda part: part if isinstance(part, str) else part.__name__)
def test_nonsense_is_refused_naming_the_field(kind, field):
    table = kind.constraints
    for value in bad(table.rows[field]):
        with pytest.raises(table.error) as error:
            kept(kind, field, value)
        text = str(error.value)
        assert "\n" not in text and text.endswith((".", "?"))
        assert type(error.value) is table.error and text.startswith(f"{field} of "), (value, text)
        assert table.rows[field].wanted in text


@pytest.mark.parametrize(("kind", "field"), ROWS, ids=lambda part: part if isinstance(part, str) else part.__name__)
def test_good_values_are_kept_plain_whoever_made_them(kind, field):
    row, made_of = kind.constraints.rows[field], 0
    for value in good(row):
        try:
            plain = kept(kind, field, value)
        except kind.constraints.error as error:  # a rule about several fields; never the row itself
            assert not (str(error).startswith(f"{field} of ") and row.wanted in str(error))
            continue
        made_of += 1
        if isinstance(value, (bool, int, float, str)) or (
            isinstance(value, tuple) and not isinstance(value[0], Projection)
        ):
            assert plain == value and json.loads(json.dumps([plain])) is not None
        for twin in twins(value):
            again = kept(kind, field, twin)
            assert again == plain and same_types(again, plain), (twin, again)
    assert made_of


def same_types(one: Any, other: Any) -> bool:
    if isinstance(one, tuple):
        return isinstance(other, tuple) and all(map(same_types, one, other))
    return type(one) is type(other)


# -- what users do -----------------------------------------------------------------------------------------------------------


def arm(whole: Any, real: Any) -> Arm:
    """A learner in which every number was made by ``whole`` or ``real``."""
    circuit = bp.circuit(
        "recurrent", cell=bp.model("elman"), inputs=whole(2), units=whole(4), outputs=whole(2), gain=real(0.5), fan_in=whole(2),
        delay=whole(2), tau_out=real(0.02), dt=real(0.001), bias={"I": real(0.25)},
    )  # fmt: skip
    signal = BPLambda(bp.predictor("mlp", hidden=(whole(3),)), real(0.5), trace="replay", horizon=whole(4))
    rule = bp.Rule(Immediate(), signal, bp.Window(whole(3)), "mine")
    training = bp.Training(
        updates=whole(5), batch=whole(2), lr=real(0.25), betas=(real(0.5), real(0.75)), clip=whole(1)
    )
    return Arm(circuit, bp.task("add", t1=whole(3), t2=whole(5), steps=whole(8)), rule, training)


@pytest.mark.parametrize(
    ("whole", "real"),
    [(np.int64, np.float64), (np.uint8, np.float32), (np.array, np.array), (torch.tensor, lambda x: torch.tensor(x, dtype=torch.float64))],
    ids=["numpy", "narrow", "0-d", "torch"],
)  # fmt: skip
def test_a_configuration_is_the_same_whoever_made_its_numbers(whole, real):
    exact = (lambda x: float(np.float32(x))) if real is np.float32 else float
    assert digest(arm(whole, real).describe(0)) == digest(arm(int, exact).describe(0))


@pytest.mark.parametrize("name", sorted(rules.TABLE))
def test_every_option_of_a_rule_takes_numpy(name):
    options = {n: p.default for n, p in inspect.signature(rules.TABLE[name]).parameters.items()}
    given = {n: np.array(v)[()] for n, v in options.items() if isinstance(v, (bool, int, float)) and n != "steps"}
    given |= {"steps": np.int64(2)} if "steps" in options else {}
    assert type(next(iter(given.values()), np.int64())).__module__ == "numpy"
    pure = {n: v.item() for n, v in given.items()}
    assert plain(bp.rule(name, **given)) == plain(bp.rule(name, **pure))


def test_seeds_and_sizes_from_numpy(tmp_path):
    learner = arm(int, float)
    given: list[Any] = [np.int64(3), np.arange(3), np.int64(2**62), np.int64(4), torch.tensor(5)]
    seed, seeds, large, size, other = given
    run = bp.train(
        learner.circuit, learner.task, learner.rule, seed=seed, folder=tmp_path, updates=np.int64(1), batch=2
    )
    assert run.seed == 3 and type(run.seed) is int
    assert Experiment("e", {"a": learner}, seeds=seeds).seeds == (0, 1, 2)
    one, same = (learner.circuit.build(seed=each) for each in (2**62, large))
    assert all(torch.equal(w, same.weights[n]) for n, w in one.weights.items())
    several = bp.circuit("recurrent", cell=[bp.model("elman")] * 2, inputs=2, units=np.array([2, 3]), outputs=1)
    assert [p.size for p in several.populations.values()] == [2, 3]
    balanced = bp.circuit("excitatory_inhibitory", cell=bp.model("elman"), inputs=2, units=torch.tensor(10), outputs=1)
    assert [p.size for p in balanced.populations.values()] == [8, 2]
    assert learner.task.batch(torch.Generator(), size).size == 4
    assert next(iter(learner.task.test_batches(other))).size == 5


@pytest.mark.parametrize("units", (5.0, True, np.True_, "4", None, [[4]]))
def test_what_is_no_size_is_refused_by_the_circuits(units):
    for name in ("recurrent", "excitatory_inhibitory"):
        with pytest.raises(bp.errors.CircuitError):
            bp.circuit(name, cell=bp.model("elman"), inputs=2, units=units, outputs=1)


@pytest.mark.parametrize(
    ("given", "kept_as"),
    [
        (10 * bp.Hz, 10.0),
        (0.02 * bp.kHz, 20.0),
        (0 * bp.Hz, 0.0),
        (-5 * bp.Hz, -5.0),
        (0, 0),
        (20, 20),
        (np.float32(2.5), 2.5),
    ],
)
def test_a_wanted_rate_is_a_number_in_hz_or_a_quantity(given, kept_as):
    found = bp.Training(rate_target=given).rate_target
    assert found == pytest.approx(kept_as, rel=1e-15) and type(found) is type(kept_as)


def test_what_is_said_to_be_of_training_is():
    from bioplaus.checks.named import _OF_TRAINING

    assert set(_OF_TRAINING) <= {field.name for field in fields(bp.Training)}
