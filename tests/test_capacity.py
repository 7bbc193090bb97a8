"""What memory cannot hold is refused in words, before it is allocated."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import pytest
import torch

import bioplaus as bp
from bioplaus import capacity
from bioplaus.circuit import afford as circuits
from bioplaus.eligibility import influence
from bioplaus.errors import CircuitError, RuleError, RunError
from bioplaus.learning import afford as batches

CPU = torch.device("cpu")


def trainer(**options):
    task = bp.task("target_reaching")
    circuit = bp.circuit("recurrent", cell="elman", inputs=task.inputs, units=4, outputs=task.outputs)
    return bp.Trainer(circuit, task, options.pop("rule", "bptt"), bp.Training(**options))


def sized(**sizes):
    return bp.circuit("recurrent", cell="alif", **({"inputs": 2, "units": 3, "outputs": 1} | sizes))


TOO_LARGE = {
    "units": (lambda: sized(units=10**6).build(), CircuitError, r"W_rec \(1000000 × 1000000\)"),
    "inputs": (lambda: sized(inputs=10**9, units=100).build(), CircuitError, "W_in"),
    "outputs": (lambda: sized(outputs=10**9, units=100).build(), CircuitError, "W_out"),
    "few synapses": (lambda: sized(units=10**7, fan_in=10**5).build(), CircuitError, "fewer synapses"),
    "double": (lambda: sized(units=10**6).build(dtype="float64"), CircuitError, "GiB"),
    "simulated": (lambda: bp.simulate(sized(units=10**6), torch.zeros(2, 2)), CircuitError, "fewer units"),
    "learning": (lambda: bp.Trainer(sized(inputs=10, units=10**6, outputs=2), "target_reaching", "bptt"), CircuitError, "GiB"),
    "batch": (lambda: trainer(batch=10**9), RunError, "1_000_000_000 trials of 10 steps"),
    "batch, online": (lambda: trainer(batch=10**9, rule=bp.rule("eprop")), RunError, "smaller batch"),
    "influence": (lambda: trainer(batch=10**6, rule="rtrl"), RuleError, "GiB.*smaller"),
}  # fmt: skip


@pytest.mark.parametrize("what", TOO_LARGE)
def test_what_memory_cannot_hold_is_refused_at_once(what, monkeypatch):
    made, kind, says = TOO_LARGE[what]
    monkeypatch.setattr(capacity, "memory", lambda device: 2**33)  # wherever this runs
    monkeypatch.setattr(influence, "memory", lambda device: 2**29)
    sized().build()  # what is read and imported once is no part of it
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(kind, match=says) as refused:
        made()
    assert "\n" not in str(refused.value) and " is 8.0 GiB" in str(refused.value) or what == "influence"
    assert time.perf_counter() - began < 1
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (
        1 if sys.platform == "darwin" else 1024
    ) < 2**26


@pytest.mark.parametrize(
    ("rule", "says"),
    [("bp_lambda", "last layer.*8.0 GiB"), ("dni", "last layer"), ("snap", "SnAp.*GiB"), ("rtrl", "RTRL.*GiB")],
)
def test_few_synapses_and_a_rule_that_keeps_more_than_them(rule, says, monkeypatch):
    """The circuit fits; what the rule would make of all pairs of its neurons is refused before it is made."""
    monkeypatch.setattr(capacity, "memory", lambda device: 2**33)
    monkeypatch.setattr(influence, "memory", lambda device: 2**33)
    task = bp.task("flip_flop", steps=10)
    circuit = bp.circuit("recurrent", cell="lif", inputs=task.inputs, units=60_000, outputs=task.outputs, fan_in=2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RuleError, match=says) as refused:
        bp.Trainer(circuit, task, rule, bp.Training(batch=1))
    assert "\n" not in str(refused.value)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (
        1 if sys.platform == "darwin" else 1024
    ) < 2**28


def test_the_border_of_a_circuit_is_where_its_weights_end(monkeypatch):
    circuit = sized(inputs=2, units=30, outputs=1)
    held, drawn = 4 * (30 * 2 + 30 * 30 + 30), 8 * 30 * 30
    assert drawn > held
    monkeypatch.setattr(capacity, "memory", lambda device: drawn)
    circuit.build()
    monkeypatch.setattr(capacity, "memory", lambda device: drawn - 1)
    with pytest.raises(CircuitError, match="while they are drawn"):
        circuit.build()


def test_every_weight_of_a_network_was_counted(monkeypatch):
    counted: list[int] = []
    monkeypatch.setattr(circuits, "lacking", lambda needs, device: counted.append(sum(needs.values())) or "")
    for circuit in (sized(units=7), bp.circuit("excitatory_inhibitory", cell="lif", inputs=3, units=10, outputs=2)):
        counted.clear()
        weights = circuit.build().weights
        assert counted[0] == sum(4 * w.numel() for name, w in weights.items() if not name.startswith("b"))


@pytest.mark.parametrize(("rule", "window"), [(bp.rule("bptt"), 10), (bp.rule("eprop", schedule=bp.Online()), 1)])
def test_the_border_of_a_batch_is_what_it_holds(rule, window, monkeypatch):
    needed = 3 * 10 * (10 + 2 + 1 + 2) * 4 + 3 * window * 4 * 4  # given and outputs; neurons
    for there, fits in ((needed, True), (needed - 1, False)):
        monkeypatch.setattr(
            batches, "lacking", lambda needs, device, there=there: "short" * (sum(needs.values()) > there)
        )
        if fits:
            trainer(batch=3, rule=rule)
        else:
            with pytest.raises(RunError, match="A batch of 3 trials of 10 steps .* short"):
                trainer(batch=3, rule=rule)


def test_the_limit_of_a_control_group_counts(tmp_path):
    (tmp_path / "own").write_text("0::/a/b\n")
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "memory.max").write_text("1000\n")
    (tmp_path / "a" / "b" / "memory.max").write_text("max\n")
    assert list(capacity._limits(tmp_path / "own", tmp_path)) == [1000]
    (tmp_path / "own").write_text("3:cpu:/a\n4:memory:/c\n")
    (tmp_path / "memory" / "c").mkdir(parents=True)
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("3000\n")
    (tmp_path / "memory" / "c" / "memory.limit_in_bytes").write_text("2000\n")
    assert list(capacity._limits(tmp_path / "own", tmp_path)) == [2000, 3000]
    assert list(capacity._limits(tmp_path / "missing", tmp_path)) == []
    assert 2**28 < capacity.memory(CPU) < 2**50


def exhaust() -> RuntimeError:
    """What torch says where memory is used up."""
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**55)
    return raised.value


@pytest.mark.parametrize("error", [exhaust, MemoryError], ids=["torch", "Python"])
def test_memory_that_is_used_up_in_a_run_is_told_with_what_is_kept(error, monkeypatch, tmp_path):
    task = bp.task("target_reaching")
    circuit = bp.circuit("recurrent", cell="elman", inputs=task.inputs, units=4, outputs=task.outputs)
    draw = type(task).batch
    calls: list[int] = []

    def batch(self, *given):
        calls.append(1)
        if len(calls) == 4:
            raise error()
        return draw(self, *given)

    options: dict[str, Any] = {"updates": 4, "batch": 2, "checkpoint_every": 0}
    whole = bp.train(circuit, task, "bptt", folder=tmp_path / "whole", **options)
    monkeypatch.setattr(type(task), "batch", batch)
    with pytest.raises(RunError, match=r"more memory than there is \(.+\)\. .*keeps the checkpoint of update [123],"):
        bp.train(circuit, task, "bptt", folder=tmp_path / "run", **options)
    run = bp.train(circuit, task, "bptt", folder=tmp_path / "run", **options)
    assert run.done and all(torch.equal(run.weights[name], whole.weights[name]) for name in whole.weights)


def test_other_errors_are_no_want_of_memory():
    assert not any(map(capacity.exhausted, (RuntimeError("shape"), ValueError("out of memory"), KeyError("a"))))
