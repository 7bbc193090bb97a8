"""The same seed and configuration give the same numbers, whatever else a script has set, and however much is asked for at a time."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bioplaus as bp
from bioplaus.tasks import TASKS

SIZE = {"inputs": 4, "units": 12, "outputs": 2}


def small(name: str, **options: Any) -> bp.Task:
    return bp.task(name, **options)


def digest(trainer: bp.Trainer) -> list[float]:
    rows = [trainer.update() for _ in range(2)]
    weights = [float(w.double().abs().sum()) for w in trainer.network.weights.values()]
    return [rows[-1]["loss"], *trainer.evaluate().values(), *weights]


#: tasks of thousands of steps
SHORT: dict[str, dict[str, Any]] = {
    "evidence_accumulation": {"cues": 3, "delay": 0.1, "test_trials": 40},
    "store_recall": {"frame": 0.01},
}


def a_task(name: str) -> list[float]:
    task = bp.task(name, **SHORT.get(name, {}))
    circuit = bp.circuit("recurrent", cell=bp.model("elman"), inputs=task.inputs, units=6, outputs=task.outputs)
    batch = task.batch(torch.Generator().manual_seed(3), 2)
    assert all(each.device.type == "cpu" for each in (batch.inputs, batch.targets, batch.weight))
    assert batch.inputs.dtype == torch.float32
    drawn = [float(each.double().abs().sum()) for each in (batch.inputs, batch.targets, batch.weight)]
    return drawn + digest(bp.Trainer(circuit, task, bp.rule("eprop"), bp.Training(batch=3)))


def a_rule(name: str, **options: Any) -> list[float]:
    with_cerebellum = {"cerebellum": bp.predictor("mlp", hidden=(8,))} if name in ("bp_lambda", "dni") else {}
    circuit = bp.circuit("recurrent", cell=bp.model("elman"), **SIZE, **with_cerebellum)
    return digest(bp.Trainer(circuit, Own(), bp.rule(name, **options), bp.Training(batch=3)))


class Own(bp.Task):
    """Of a user who has never heard of generators' types."""

    inputs, outputs, steps, loss, test_trials = 4, 2, 8, bp.tasks.squared, 30

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> bp.Batch:
        x = torch.randn(8, size, 4, generator=generator) + torch.rand(4, generator=generator)
        return bp.Batch(x, x[..., :2].cumsum(0), torch.ones(8, size))


def sparse_spikes() -> list[float]:
    circuit = bp.circuit(
        "excitatory_inhibitory", cell=bp.model("alif"), inputs=4, units=40, outputs=2, fan_in=0.3, input_gain=30
    )
    trainer = bp.Trainer(circuit, Own(), bp.rule("eprop", feedback="random"), bp.Training(batch=3))
    assert trainer.update()["rate"] > 0
    return digest(trainer)


def a_simulation() -> list[float]:
    circuit = bp.circuit("recurrent", cell=bp.model("lif"), **SIZE, input_gain=20, fan_in=3)
    x = np.random.default_rng(0).normal(size=(30, 2, 4))
    found = [
        float(abs(simulated.v).sum())
        for simulated in (bp.simulate(circuit, x, ("v",)), bp.brian.simulate(circuit, x, ("v",)))
    ]
    assert min(found) > 0
    return found


def large() -> list[float]:
    """Large enough for sums to be split over threads."""
    circuit = bp.circuit("recurrent", cell=bp.model("elman"), inputs=4, units=200, outputs=2)
    trainer = bp.Trainer(circuit, Own(), bp.rule("bptt"), bp.Training(batch=100))
    x = np.random.default_rng(0).normal(size=(10, 100, 4))
    batch = bp.Batch(x, x[..., :2], np.ones((10, 100)))
    return [*digest(trainer), *(g.numpy().sum() for g in bp.gradient(circuit, bp.rule("eprop"), batch).values())]


MADE: dict[str, Callable[[], list[float]]] = {
    **{name: (lambda name=name: a_task(name)) for name in TASKS},
    **{
        name: (lambda name=name: a_rule(name))
        for name in ("bptt", "uoro", "kf_rtrl", "r_kf_rtrl", "dni", "kernl", "snap")
    },
    "bp_lambda": lambda: a_rule("bp_lambda", trace="replay"),
    "reward": lambda: a_rule("eprop", feedback="adaptive"),
    "sparse spikes": sparse_spikes,
    "simulation": a_simulation,
    "large": large,
}


@contextmanager
def set_to(setting: str) -> Iterator[None]:
    """What a script may have set, put back afterwards."""
    dtype, threads, precision = torch.get_default_dtype(), torch.get_num_threads(), torch.get_float32_matmul_precision()
    modes: dict[str, Any] = {
        "device": torch.device("meta"),
        "autocast": torch.autocast("cpu", dtype=torch.bfloat16),
        "no grad": torch.no_grad(),
        "inference": torch.inference_mode(),
        "numpy raises": np.errstate(all="raise"),
    }
    try:
        if setting in ("float64", "bfloat16"):
            torch.set_default_dtype(getattr(torch, setting))
        if setting == "threads":
            torch.set_num_threads(2)
        if setting == "matmul":
            torch.set_float32_matmul_precision("medium")
        if setting == "seeds":
            torch.manual_seed(7)
            np.random.seed(7)
        if setting in modes:
            with modes[setting]:
                yield
        else:
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


SETTINGS = (
    "float64",
    "bfloat16",
    "device",
    "threads",
    "matmul",
    "autocast",
    "no grad",
    "inference",
    "numpy raises",
    "seeds",
)


@pytest.mark.parametrize("name", MADE)
def test_whatever_a_script_has_set(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = MADE[name]()
        assert all(np.isfinite(wanted)) and len(set(wanted)) > 1
        for setting in SETTINGS:
            with set_to(setting):
                assert MADE[name]() == wanted, f"with {setting} set"


def test_in_threads_of_a_script_too() -> None:
    """The default type is the process's: the first thread to come sets it, the last one to go puts it back."""

    class Slow(Own):
        def batch(self, generator: torch.Generator, size: int, split: str = "train") -> bp.Batch:
            time.sleep(0.005)
            return super().batch(generator, size, split)

    def made(seed: int) -> list[float]:
        circuit = bp.circuit("recurrent", cell="elman", **SIZE)
        return digest(bp.Trainer(circuit, Slow(), "eprop", bp.Training(batch=3), seed=seed))

    wanted = [made(seed) for seed in range(4)]
    with set_to("float64"), ThreadPoolExecutor(4) as pool:
        assert list(pool.map(made, range(4))) == wanted
        assert torch.get_default_dtype() == torch.float64


def test_what_a_script_has_set_is_as_it_was() -> None:
    for setting in ("float64", "threads", "matmul", "device"):
        with set_to(setting):
            before = (
                torch.get_default_dtype(),
                torch.get_num_threads(),
                torch.get_float32_matmul_precision(),
                torch.get_default_device(),
            )
            a_rule("bptt")
            with pytest.raises(bp.errors.TaskError):
                Own().test_batches(0).__next__()
            after = (
                torch.get_default_dtype(),
                torch.get_num_threads(),
                torch.get_float32_matmul_precision(),
                torch.get_default_device(),
            )
            assert after == before


@pytest.mark.parametrize("name", TASKS)
def test_the_test_set_does_not_depend_on_how_many_trials_are_asked_for_at_a_time(name: str) -> None:
    task = bp.task(name)
    found = [bp.tasks.joined(list(task.test_batches(size))) for size in (7, 256, 1000)]
    for other in found[1:]:
        assert torch.equal(found[0].inputs, other.inputs) and torch.equal(found[0].targets, other.targets)
        assert torch.equal(found[0].weight, other.weight)


def test_the_test_score_does_not_depend_on_the_training_batch() -> None:
    """Above 256 trials of training the test set was another one."""

    def tested(batch: int) -> dict[str, float]:
        circuit = bp.circuit("recurrent", cell=bp.model("elman"), **SIZE)
        trainer = bp.Trainer(circuit, many, bp.rule("bptt"), bp.Training(batch=batch))
        assert trainer.record(("rate",)).output.shape[1] == 16
        return trainer.evaluate()

    many = type("Many", (Own,), {"test_trials": 600})()
    assert tested(4) == tested(300) == tested(512)


def test_the_gradient_does_not_depend_on_the_order_in_which_rules_are_asked() -> None:
    circuit = bp.circuit("recurrent", cell=bp.model("elman"), **SIZE)
    names = ("bptt", "uoro", "kf_rtrl", "eprop")

    def cosines(order: tuple[str, ...]) -> dict[str, float]:
        found = bp.align(
            circuit, Own(), [bp.rule(n) for n in ("bptt", *order)], updates=2, training=bp.Training(batch=3)
        )
        return {n: float(found.cosine.sel(rule=n, weight="W_rec", update=2)) for n in order}

    assert cosines(names[1:]) == pytest.approx(cosines(names[:0:-1]), abs=0)


def test_populations_in_another_order_are_another_configuration(tmp_path: Path) -> None:
    """Random numbers are drawn for one after the other: the numbers differ, so one is not taken for the other."""

    def ordered(names: str) -> bp.Circuit:
        return bp.Circuit(
            populations={name: bp.Population(bp.model("elman"), 3, {}) for name in names},
            projections=(
                bp.Projection(name="in_a", source="input", target="a"),
                bp.Projection(name="ba", source="a", target="b"),
                bp.Projection(name="ab", source="b", target="a"),
            ),
            inputs=4,
            readout=bp.Readout(size=2, sources=("a", "b")),
        )

    def trained(names: str) -> bp.runs.Run:
        return bp.train(ordered(names), Own(), "uoro", updates=3, batch=2, lr=0.1, folder=tmp_path)

    run = trained("ab")
    assert run.done and trained("ab").metrics.equals(run.metrics)
    with pytest.raises(bp.errors.RunError, match="populations stand in the order b, a, stood in the order a, b"):
        trained("ba")
