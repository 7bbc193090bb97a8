"""Every shipped task and a task of one's own: reproducible, described, and refused where they are wrong."""

from __future__ import annotations

import doctest
import hashlib
import importlib
import inspect
import json
import pickle
import subprocess
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from task_helpers import paragraph, same, stream

import bioplaus.tasks as tasks
from bioplaus.errors import TaskError
from bioplaus.tasks import (
    Batch,
    Task,
    binary_cross_entropy,
    check_batch,
    cross_entropy,
    soft_cross_entropy,
    squared,
    task,
)

SHIPPED = {
    "target_reaching": [{}, {"targets": 6, "path": "line", "steps": 25}],
    "pattern_generation": [{}, {"outputs": 3, "inputs": 20, "steps": 300, "cycles": (1, 4)}],
    "sequential_digits": [{}],
    "lines": [{}, {"lines": 5, "steps": 6, "every": 3, "length": 10.0, "cue": 1.0}],
    "drawn_digits": [{}, {"ask": "drawing", "hold": 1, "every": 3}, {"ask": "name", "hold": 2}],
    "add": [{}, {"t1": 3, "t2": 1, "steps": 12}],
    "copy": [{}, {"length": 2, "bits": 3}],
    "copy_repeat": [{}, {"length": 3, "repeats": 4, "bits": 2}],
    "delayed_match": [{}, {"stimuli": 2, "shown": 1, "delay": 0, "answer": 3, "noise": 0.5}, {"delay": (2, 9)}],
    "evidence_accumulation": [{}, {"cues": 3, "group": 2, "delay": 0.02, "gap": 0.01, "cue": 0.01, "recall": 0.01}],
    "store_recall": [{}, {"values": 3, "frames": 4, "probability": 0.5, "group": 2, "frame": 0.01}],
    "context_decision": [{}, {"coherences": (0.1,), "noise": 0.0, "dt": 0.05}],
    "spiking_digits": [{}, {"code": "latency", "shown": 0.02}],
    "flip_flop": [{}, {"bits": 1, "steps": 7, "pulse_probability": 0.5}],
    "mimic": [{}, {"inputs": 3, "outputs": 2, "units": 8, "distribution": "gaussian", "seed": 4}],
    "stream": [{}, {"steps": 7, "lag": 0}],
    "volley": [{}, {"steps": 4, "shown": 2}],
    "sine_wave": [{}, {"periods": (2, 5), "switch_probability": 0.5, "steps": 30, "amplitude": 2.0}],
}
CASES = [pytest.param(name, options, id=f"{name}-{len(options)}") for name in SHIPPED for options in SHIPPED[name]]


def test_every_shipped_task_is_tried_here() -> None:
    assert set(SHIPPED) == set(tasks.TASKS)


def test_the_readme_names_every_shipped_task() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    assert [name for name in tasks.TASKS if f"`{name}`" not in readme] == []


@pytest.mark.parametrize(("name", "options"), CASES)
def test_batches_fit_their_task_and_follow_from_the_generator(name: str, options: dict[str, Any]) -> None:
    made = task(name, **options)
    assert made.name == name
    torch.manual_seed(1)
    np.random.seed(1)
    before, before_numpy = torch.get_rng_state(), np.random.get_state()[1].tolist()  # pyright: ignore
    for split in ("train", "test"):
        first = made.batch(stream(), 7, split)
        check_batch(made, first)
        assert (first.steps, first.size) == (made.steps, 7)
        assert first.inputs.dtype == first.weight.dtype == torch.float32
        assert first.inputs.any() and first.targets.any()
        assert same(first, made.batch(stream(), 7, split))
        assert same(first, task(name, **options).batch(stream(), 7, split))
    for batch, again in zip(made.test_batches(5), made.test_batches(5), strict=True):
        check_batch(made, batch)
        assert same(batch, again)
    assert torch.equal(torch.get_rng_state(), before), "the global torch stream was used"
    assert np.random.get_state()[1].tolist() == before_numpy, "the global numpy stream was used"  # pyright: ignore


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_task_can_be_described_pickled_and_scored(name: str, options: dict[str, Any]) -> None:
    made = task(name, **options)
    described = made.describe()
    assert json.loads(json.dumps(described)) == described
    assert described["name"] == name and described["steps"] == made.steps
    returned = pickle.loads(pickle.dumps(made))
    assert returned.describe() == described
    batch = made.batch(stream(), 4)
    assert same(batch, returned.batch(stream(), 4))
    if made.loss == cross_entropy:
        perfect = torch.nn.functional.one_hot(batch.targets, made.outputs).float()
        assert made.higher_is_better and made.score(perfect, batch) == 1.0
        assert made.score(perfect.roll(1, -1), batch) == 0.0
    elif made.loss == binary_cross_entropy:
        perfect = 80 * (batch.targets - 0.5)
        assert not made.higher_is_better and made.score(perfect, batch) == pytest.approx(0.0, abs=1e-9)
        assert made.score(0 * perfect, batch) == pytest.approx(1.0)
    elif made.loss == soft_cross_entropy:
        perfect = batch.targets.clamp(min=1e-30).log()
        assert not made.higher_is_better and made.score(perfect, batch) < made.score(-perfect, batch)
        assert made.score(0 * perfect, batch) == pytest.approx(np.log(made.outputs))
    elif made.higher_is_better:  # signs, learned with a squared loss
        assert made.score(batch.targets, batch) == 1.0
        assert made.score(-batch.targets, batch) == made.score(0 * batch.targets, batch) == 0.0
    else:
        assert not made.higher_is_better and made.score(batch.targets, batch) == 0.0
        assert made.score(batch.targets + 0.5, batch) == pytest.approx(0.5)


def test_a_batch_moves_with_its_class_indices_whole() -> None:
    batch = task("sequential_digits").batch(stream(), 3).to("cpu", torch.float64)
    assert batch.context is not None
    assert {a.dtype for a in (batch.inputs, batch.weight, batch.context)} == {torch.float64}
    assert batch.targets.dtype == torch.int64
    assert batch.to().inputs.dtype == torch.float64


NONSENSE = [
    "nonsense",
    "",
    -1,
    -0.5,
    float("nan"),
    float("inf"),
    None,
    True,
    [],
    {},
    object(),
    1j,
    10**40,
    b"1",
]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_argument_refuses_nonsense(name: str) -> None:
    factory = type(task(name))
    for field in fields(factory):  # pyright: ignore[reportArgumentType]
        if not field.init:
            continue
        optional = field.name in ("input", "target")
        for nonsense in NONSENSE:
            if optional and nonsense is None:
                continue
            with pytest.raises(TaskError, match=rf"(?=.*'{name}').*{field.name}") as error:
                task(name, **{field.name: nonsense})
            paragraph(error)
    for nonsense in [*NONSENSE, 0, 2.0]:
        with pytest.raises(TaskError, match="size"):
            task(name).batch(stream(), nonsense)  # pyright: ignore[reportArgumentType]
        with pytest.raises(TaskError, match="size"):
            next(iter(task(name).test_batches(nonsense)))  # pyright: ignore[reportArgumentType]
    with pytest.raises(TaskError, match="split of .* is 'validation'; it must be one of 'train', 'test'"):
        task(name).batch(stream(), 2, "validation")  # pyright: ignore[reportArgumentType]


def test_unknown_names_and_options_name_the_nearest() -> None:
    with pytest.raises(TaskError, match="Did you mean 'target_reaching'") as error:
        task("target_reachin")
    assert "handed over as the object itself" in paragraph(error)
    with pytest.raises(TaskError, match="option 'tragets' of the task 'target_reaching'. Did you mean 'targets'"):
        task("target_reaching", tragets=6)
    with pytest.raises(TaskError, match="no task"):
        task(3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TaskError, match="'inputs'"):  # follows from the data, so it is no option
        task("sequential_digits", inputs=8)
    with pytest.raises(AttributeError, match="nothing"):
        tasks.nothing  # noqa: B018


def test_listing_the_tasks_imports_neither_torch_nor_numpy() -> None:
    heavy = "{'torch', 'numpy', 'brian2'} & set(sys.modules)"
    code = f"import sys, bioplaus.tasks as t; t.TASKS; print(sorted({heavy}))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "module", ["", ".base", ".batch", ".decision", ".losses", ".data", *(f".{name}" for name in SHIPPED)]
)
def test_the_examples_in_the_docstrings_run(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"bioplaus.tasks{module}"))
    assert found.failed == 0
    assert found.attempted > 0 or module in (".losses", ".data")


# A task of one's own


class Parity(Task):
    inputs, outputs, steps, loss = 1, 1, 6, binary_cross_entropy

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> Batch:
        bits = torch.randint(2, (self.steps, size, 1), generator=generator).float()
        return Batch(bits, bits.cumsum(0) % 2, torch.ones(self.steps, size))


@dataclass(frozen=True)
class Naming(Task):
    steps: int = 4
    inputs: int = 3
    outputs: int = 3
    loss = cross_entropy

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> Batch:
        which = torch.randint(3, (size,), generator=generator)
        cue = torch.nn.functional.one_hot(which, 3).float()
        return Batch(cue.repeat(4, 1, 1), which.repeat(4, 1), torch.ones(4, size), cue)


class Guessing(Task):
    inputs, outputs, steps, loss = 1, 2, 3, soft_cross_entropy

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> Batch:
        bits = torch.randint(2, (3, size, 1), generator=generator).float()
        return Batch(bits, torch.full((3, size, 2), 0.5), torch.ones(3, size))


def test_a_task_of_ones_own_needs_only_five_things() -> None:
    parity = Parity()
    check_batch(parity, parity.batch(stream(), 5))
    assert (parity.name, parity.dt, parity.score_name, parity.higher_is_better) == (
        "parity",
        None,
        "bits",
        False,
    )
    sizes = [batch.size for batch in parity.test_batches(100)]
    assert sizes == [100, 100, 100, 100, 100, 12]
    assert same(next(iter(parity.test_batches(9))), next(iter(Parity().test_batches(9))))
    batch = parity.batch(stream(), 5)
    assert parity.score(torch.zeros_like(batch.targets), batch) == pytest.approx(1.0)
    described = parity.describe()
    assert json.loads(json.dumps(described)) == described
    assert described["loss"] == "binary_cross_entropy" and len(described["source_sha256"]) == 64
    assert pickle.loads(pickle.dumps(parity)).describe() == described
    guessing = Guessing()
    check_batch(guessing, guessing.batch(stream(), 5))
    naming = Naming()
    check_batch(naming, naming.batch(stream(), 5))
    assert (naming.name, naming.score_name, naming.higher_is_better) == ("naming", "accuracy", True)


def test_a_task_that_lacks_something_is_refused() -> None:
    class NoSteps(Task):
        inputs, outputs, loss = 1, 1, squared
        batch = Parity.batch

    class NoLoss(Task):
        inputs, outputs, steps = 1, 1, 3
        batch = Parity.batch

    class NoBatch(Task):
        inputs, outputs, steps, loss = 1, 1, 3, squared

    class WrongTime(Parity):
        dt = -1.0

    good = Parity().batch(stream(), 2)
    expected = {
        NoSteps: "steps of the task 'no_steps' is None",
        NoLoss: "loss of .* is None.*squared",
        NoBatch: "no method batch",
    }
    for kind, message in (expected | {WrongTime: "dt of .* is -1.0"}).items():
        with pytest.raises(TaskError, match=message) as error:
            check_batch(kind(), good)
        paragraph(error)
    with pytest.raises(TaskError, match="no method batch"):
        NoBatch().batch(stream(), 1)
    with pytest.raises(TaskError, match="A task is an object") as error:
        check_batch("sequential_digits", good)  # pyright: ignore[reportArgumentType]
    paragraph(error)
    with pytest.raises(TaskError, match="steps of .* is -4"):
        Naming(steps=-4)  # a dataclass is refused as soon as it is made


def test_a_wrong_batch_is_refused_naming_array_place_and_expectation() -> None:
    parity, naming = Parity(), Naming()
    real, named = parity.batch(stream(), 5), naming.batch(stream(), 5)

    def spoilt(array: torch.Tensor, place: tuple[int, ...], value: float) -> torch.Tensor:
        copy = array.clone()
        copy[place] = value
        return copy

    nan, inf = float("nan"), float("inf")
    context = named.context
    assert context is not None
    wrong: list[tuple[Task, Any, str]] = [
        (
            parity,
            replace(real, inputs=spoilt(real.inputs, (3, 1, 0), nan)),
            "'inputs' holds nan at step 3, sample 1",
        ),
        (
            parity,
            replace(real, inputs=real.inputs / 0),
            r"'inputs' holds .*\(and at 29 more of its 30 places\)",
        ),
        (
            parity,
            replace(real, targets=spoilt(real.targets, (0, 4, 0), inf)),
            "'targets' holds inf at step 0, sample 4",
        ),
        (
            parity,
            replace(real, targets=spoilt(real.targets, (0, 4, 0), 1.5)),
            "'targets' holds 1.5.*number from 0 to 1",
        ),
        (
            parity,
            replace(real, weight=spoilt(real.weight, (2, 2), nan)),
            "'weight' holds nan at step 2, sample 2,",
        ),
        (
            parity,
            replace(real, weight=spoilt(real.weight, (2, 2), -1)),
            r"'weight' holds -1.0.*0 \(nothing asked\)",
        ),
        (parity, replace(real, weight=real.weight * 0), "weight is 0 at every step"),
        (
            parity,
            replace(real, weight=real.weight[:, :, None]),
            r"'weight' has shape \(6, 5, 1\).*= \(6, 5\)",
        ),
        (parity, replace(real, inputs=real.inputs[:5]), r"'inputs' has shape \(5, 5, 1\).*= \(6, 5, 1\)"),
        (parity, replace(real, inputs=real.inputs[:, 0]), r"'inputs' has shape \(6, 1\).*= \(6, batch, 1\)"),
        (
            parity,
            replace(real, targets=real.targets[:, :3]),
            r"'targets' has shape \(6, 3, 1\).*= \(6, 5, 1\)",
        ),
        (
            parity,
            replace(real, inputs=real.inputs.to(torch.complex64)),
            "'inputs' holds torch.complex64.*torch.float32",
        ),
        (parity, replace(real, inputs="spikes"), "'inputs' is of type str"),
        (parity, replace(real, inputs=[[1, 2], [3]]), "'inputs' is of type list"),
        (parity, Batch(*(a[:, :0] for a in (real.inputs, real.targets, real.weight))), "there is no trial"),
        (parity, replace(real, context=torch.ones(4, 2)), r"'context' has shape \(4, 2\).*= \(5, 2\)"),
        (parity, replace(real, context=torch.tensor(1.0)), r"'context' has shape \(\).*= \(5, context\)"),
        (parity, (real.inputs, real.targets), "returned .* from its batch"),
        (
            naming,
            replace(named, context=spoilt(context, (1, 2), nan)),
            "'context' holds nan at sample 1, entry 2",
        ),
        (
            naming,
            replace(named, targets=spoilt(named.targets, (1, 2), 3)),
            "'targets' holds 3 at step 1.*from 0 to 2",
        ),
        (naming, replace(named, targets=spoilt(named.targets, (1, 2), -100)), "'targets' holds -100"),
        (naming, replace(named, targets=named.targets.float()), "'targets' holds torch.float32.*torch.int64"),
        (naming, replace(named, targets=named.targets.bool()), "'targets' holds torch.bool.*torch.int64"),
        (
            naming,
            replace(named, targets=context.repeat(4, 1, 1).long()),
            r"'targets' has shape \(4, 5, 3\).*\(4, 5\)",
        ),
    ]
    guessing = Guessing()
    odds = guessing.batch(stream(), 5)
    wrong += [
        (
            guessing,
            replace(odds, targets=spoilt(odds.targets, (1, 2, 0), 0.75)),
            "'targets' adds up to 1.25 at step 1, sample 2, where 1",
        ),
        (guessing, replace(odds, targets=1 - 3 * odds.targets), "'targets' holds -0.5.*number from 0 to 1"),
        (
            guessing,
            replace(odds, targets=odds.targets.argmax(-1)),
            r"'targets' has shape \(.*\), where a torch tensor \(time, batch, output\)",
        ),
    ]
    for owner, batch, message in wrong:
        with pytest.raises(TaskError, match=message) as error:
            check_batch(owner, batch)
        assert owner.name in paragraph(error)


def test_the_source_of_a_task_of_ones_own_is_part_of_its_description() -> None:
    assert "source_sha256" not in task("target_reaching").describe()
    expected = hashlib.sha256(inspect.getsource(Naming).encode()).hexdigest()
    assert Naming().describe()["source_sha256"] == expected


def test_an_environment_is_told_from_a_task():
    with pytest.raises(TaskError, match="acts and is rewarded: bp.reward.Agent"):
        tasks.task("delayed_cue")
