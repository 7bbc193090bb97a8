"""Delays as times: themselves at every dt, in torch and in the Brian2 twin; refused where they are no steps."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import bioplaus as bp
from bioplaus import ms
from bioplaus.brian import simulate
from bioplaus.circuit import Circuit, Population, Projection, Readout
from bioplaus.errors import CircuitError

US = ms / 1000


def chain(delay: Any, dt: Any, cell: Any = None, **options: Any) -> Circuit:
    """a is driven, b hears a alone."""
    cell = bp.model("lif", refractory=100 * ms) if cell is None else cell
    return Circuit(
        populations={"a": Population(cell, 1), "b": Population(cell, 1)},
        projections=(
            Projection(name="in", source="input", target="a"),
            Projection(name="ba", source="a", target="b", delay=delay),
        ),
        inputs=1,
        dt=dt,
        readout=Readout(size=1),
        **options,
    )


def lag(circuit: Circuit, means: Any) -> float:
    """ms from the spike of a to the one that it makes b fire; in steps it is found from what was recorded."""
    network = circuit.build(dtype=torch.float64)
    network.load({"in": [[1e3]], "ba": [[1e3]]})
    x = np.zeros((round(12e-3 / circuit.dt), 1, 1))
    x[3] = 1.0
    found = means(network, x, record="spikes")
    (a,), (b,) = (np.nonzero(found[f"{p}.spikes"].values[:, 0, 0])[0] for p in "ab")
    return float(b - a) * circuit.dt * 1e3


@pytest.mark.parametrize("means", (bp.simulate, simulate), ids=("torch", "twin"))
@pytest.mark.parametrize("dt", (1.0, 0.5, 0.1))
def test_a_time_is_itself_at_every_dt_and_steps_are_not(means, dt):
    assert lag(chain(3 * ms, dt * ms), means) == pytest.approx(3.0)
    assert lag(chain(3, dt * ms), means) == pytest.approx(3 * dt)


@pytest.mark.parametrize("means", (bp.simulate, simulate), ids=("torch", "twin"))
def test_a_circuit_that_is_made_anew_at_another_dt_has_the_same_delay(means):
    assert lag(replace(chain(3 * ms, 1 * ms), dt=0.1 * ms), means) == pytest.approx(3.0)
    assert lag(replace(chain(1.5 * ms, 0.5 * ms), dt=0.1 * ms), means) == pytest.approx(1.5)
    with pytest.raises(CircuitError, match="1.5 ms.*1.5 steps"):
        replace(chain(1.5 * ms, 0.5 * ms), dt=1 * ms)


def test_a_time_and_its_steps_are_the_same_circuit_to_everything_that_computes():
    task = bp.task("pattern_generation", steps=30, inputs=6, outputs=2)
    options: dict[str, Any] = {"inputs": 6, "units": 10, "outputs": 2, "tau_out": 20 * ms, "input_gain": 24.0}
    batch = task.batch(bp.stream(0, "task"), 3)
    for name, more in (("recurrent", {"cell": "lif"}), ("excitatory_inhibitory", {"cell": "alif", "gain": 1.5})):
        made = [bp.circuit(name, **more, **options, delay=delay) for delay in (3, 3 * ms, 3000 * US)]
        for rule in ("bptt", "rtrl", "eprop"):
            first, *others = (bp.gradient(circuit, rule, batch) for circuit in made)
            assert all(torch.equal(g[n], first[n]) for g in others for n in first)


@pytest.mark.parametrize(
    ("delay", "dt", "words"),
    [
        (1.5 * ms, 1 * ms, ("1.5 ms", "1.5 steps", "1*ms (1 step) or 2*ms (2 steps)")),
        (0.25 * ms, 0.1 * ms, ("0.2*ms (2 steps) or 0.3*ms (3 steps)",)),
        (0.4 * ms, 1 * ms, ("0.4 steps", "nearest: 1*ms (1 step).")),
        (2000 * ms, 0.1 * ms, ("20_000 steps", "10_000")),
        (1.5, 1 * ms, ("steps", "in seconds: write 1.5*ms")),
        (-1 * ms, 1 * ms, ("time above zero",)),
        (0 * ms, 1 * ms, ("time above zero",)),
        (3 / ms, 1 * ms, ("time above zero",)),
        (float("nan") * ms, 1 * ms, ("time above zero",)),
        ([1, 2] * ms, 1 * ms, ("time above zero",)),
        ("3 ms", 1 * ms, ("time above zero",)),
        (-1, 1 * ms, ("whole number",)),
        (0, 1 * ms, ("at least 1",)),
        (10_001, 1 * ms, ("10_000",)),
    ],
    ids=str,
)
def test_what_is_no_delay_is_refused(delay, dt, words):
    with pytest.raises(CircuitError) as error:
        chain(delay, dt)
    text = str(error.value)
    assert text.startswith("delay of projection ba is ") and "\n" not in text
    for word in words:
        assert word in text, text


def test_external_input_has_none():
    with pytest.raises(CircuitError, match="delay of projection U is 2.0 ms; external input has none"):
        Projection(name="U", source="input", target="a", delay=2 * ms)


def a_map(update: str, **options: Any) -> bp.Cell:
    return bp.Cell(update=update, output="tanh(x)", parameters={"tau": 20 * ms}, name="map", **options)


def test_maps_take_steps_unless_they_know_what_a_step_is():
    silent = a_map("x = 0.9*x + I")
    assert chain(3, 1 * ms, silent).projections[1].delay == 3
    with pytest.raises(CircuitError, match=r"3.0 ms, and 'a' is of a discrete map.*steps, such as delay=2") as error:
        chain(3 * ms, 1 * ms, silent)
    assert "\n" not in str(error.value)
    for cell in (a_map("x = exp(-dt/tau)*x + I"), a_map("x = 0.9*x + I", made_for=1 * ms)):
        assert chain(3 * ms, 1 * ms, cell).build().recurrent[0].source.slots[0] == 2


def test_a_delay_is_described_as_it_was_given_and_sent():
    in_steps, in_time = chain(3, 1 * ms), chain(3 * ms, 1 * ms)
    assert in_steps.describe()["projections"][1]["delay"] == 3
    described = json.loads(json.dumps(in_time.describe()["projections"][1]["delay"]))
    assert described == "3.0 ms" and "delay" in in_steps.describe()["projections"][0]
    network = pickle.loads(pickle.dumps(in_time.build()))
    assert network.circuit == in_time and network.recurrent[0].source.slots[0] == 2
