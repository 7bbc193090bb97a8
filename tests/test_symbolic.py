"""How a cell's texts are read: once, and kept."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable

import brian2.equations.equations as brian_equations
import numpy as np
import pytest

import bioplaus as bp
from bioplaus.symbolic import text


def counted(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> Counter[str]:
    """How often each text goes through a parser."""
    read, real = Counter(), getattr(owner, name)

    def parser(given: str) -> object:
        read[given] += 1
        return real(given)

    monkeypatch.setattr(owner, name, parser)
    return read


SPIKING = "dv/dt = (-v + I)/tau : 1\nda/dt = -a/tau_a : 1"
CELLS: dict[str, tuple[Callable[[], bp.Cell], list[str], str]] = {
    "spiking": (
        lambda: bp.Cell(
            equations=SPIKING,
            spike="v > limit + beta*a",
            reset="v -= limit*1; a += 1",
            surrogate=bp.triangular(width="2*limit"),
            refractory=2,
            parameters=dict(tau=20 * bp.ms, tau_a=200 * bp.ms, limit=0.6, beta=0.1),
        ),
        ["v", "limit + beta*a", "limit*1", "1", "surrogate_dampening*our_relu(1 - our_abs(x))", "2*limit"],
        SPIKING,
    ),
    "rate": (
        lambda: bp.Cell(
            equations="dx/dt = (-x + relu(I))/tau : 1",
            output="sigmoid(x)",
            method="euler",
            parameters=dict(tau=20 * bp.ms),
        ),
        ["our_sigmoid(x)", "(-x + our_relu(I))/tau"],
        "dx/dt = (-x + relu(I))/tau : 1",
    ),
    "map": (
        lambda: bp.Cell(update="c = tanh(I)*c; o = c + I", output="o*tanh(c)"),
        ["tanh(I)*c", "c + I", "o*tanh(c)"],
        "",
    ),
}


@pytest.mark.parametrize("kind", CELLS)
def test_every_text_is_read_once_on_the_way_to_the_network_and_the_twin(kind, monkeypatch):
    make, texts, equations = CELLS[kind]
    expressions = counted(monkeypatch, text, "str_to_sympy")
    blocks = counted(monkeypatch, brian_equations, "parse_string_equations")
    cell = make()
    circuit = bp.circuit("recurrent", cell=cell, inputs=2, units=3, outputs=1)
    network = circuit.build()
    record = ("spikes" if cell.spiking else "rate",)
    bp.simulate(network, np.ones((4, 1, 2)), record)
    if cell.continuous:
        bp.brian.simulate(network, np.ones((4, 1, 2)), record)
        assert blocks[equations] == 1
    assert {one: expressions[one] for one in texts} == dict.fromkeys(texts, 1)
    # what else was read is the code of Brian2's state updater
    assert cell.continuous or set(expressions) == set(texts)


def test_what_was_read_travels_with_the_cell():
    for make, *_ in CELLS.values():
        parsed = make().parsed
        assert pickle.loads(pickle.dumps(parsed)) == parsed
