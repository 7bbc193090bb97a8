"""What the experiment on silencing says is silenced, is: what its table is made of, from simulations, not its statistics."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import bioplaus as bp
from bioplaus import content

#: steps of 1 ms in which the cues come, of the delay, of the question
EPOCHS = {"cues": slice(20, 210), "delay": slice(210, 310), "recall": slice(310, 360)}


def test_who_and_when_are_those_of_the_table():
    made = content.load("experiment", "silencing")
    task = bp.task("evidence_accumulation", cues=3, gap=0.02, cue=0.05, delay=0.1, recall=0.05, test_trials=100)
    assert task.steps == EPOCHS["recall"].stop
    cell = bp.model("lsnn_alif", threshold=0.6, beta=0.03, refractory=5)
    circuit = bp.circuit(
        "excitatory_inhibitory",
        cell=cell,
        units=40,
        fan_in=0.2,
        inputs=task.inputs,
        outputs=task.outputs,
        tau_out=20 * bp.ms,
    )
    network = circuit.build(seed=0)
    (batch,) = task.test_batches(100)

    def score(outputs: np.ndarray) -> float:
        return 100 * task.score(torch.as_tensor(outputs), batch)

    found = made.tested(task, made.ways(circuit), SimpleNamespace(network=network))
    seen = bp.simulate(network, batch, "spikes")
    assert all(float(seen[f"{p}.spikes"].sum()) > 100 for p in "EI")
    outputs = seen.output.values.copy()
    assert found["nothing", "–"] == pytest.approx(score(outputs))
    bias = network.weights["b_out"].numpy()
    for step in range(EPOCHS["recall"].start, task.steps):  # nobody is heard: what was heard decays
        outputs[step] = bias + np.exp(-1 / 20) * (outputs[step - 1] - bias)
    assert found["E", "recall"] == pytest.approx(score(outputs))
    done = {
        "E": lambda steps: bp.Perturb("E", "silence", steps=steps),
        "half of E": lambda steps: bp.Perturb("E[0:16]", "silence", steps=steps),
        "E, held at rest": lambda steps: bp.Perturb("E.v", "clamp", steps=steps, value=0.0),
        "I": lambda steps: bp.Perturb("I", "silence", steps=steps),
    }
    assert set(found) == {("nothing", "–"), *((who, epoch) for who in done for epoch in EPOCHS)}
    for who, do in done.items():
        for epoch, steps in EPOCHS.items():
            other = bp.simulate(network, batch, (), perturb=do(steps)).output.values
            assert found[who, epoch] == pytest.approx(score(other)), (who, epoch)
            assert not np.array_equal(other, seen.output.values)
    assert len({round(right, 6) for right in found.values()}) > 4
