"""From expressions to source: one table of functions for each language, constants folded, equal text compiled once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch

import bioplaus as bp
from bioplaus import ms
from bioplaus.codegen import source
from bioplaus.codegen.folded import Folded, entries, fold
from bioplaus.codegen.kernel import hard_spike, uncut
from bioplaus.codegen.partials import Partials
from bioplaus.codegen.plans import Plan, plan
from bioplaus.codegen.torch_printer import TORCH
from bioplaus.symbolic.functions import DIFFERENTIABLE, NUMPY
from bioplaus.symbolic.units import plain

N, DT = 40, 1e-3


def test_torch_has_every_function_that_an_equation_may_use():
    assert set(TORCH) == DIFFERENTIABLE


def folded(cell: bp.Cell) -> Folded:
    units = {f"unit_{k}": v for k, v in cell.scales.items()}
    return fold(cell.derived, {**{k: plain(v) for k, v in cell.parameters.items()}, **units}, DT, refractory=True)


CELLS = {
    "alif": lambda: bp.model("alif", beta=0.1, tau_a=200 * np.linspace(0.5, 2, N) * ms),
    "adex": lambda: bp.model("adex"),
    "gru": lambda: bp.model("gru"),
}


@pytest.mark.parametrize("name", CELLS)
def test_folded_expressions_are_the_step_in_any_language(name):
    """Evaluated by numpy, one by one, they are what the torch source computes."""
    cell = CELLS[name]()
    done, kernel, g = folded(cell), cell.kernel(N, DT, torch.float64, "cpu"), np.random.default_rng(0)
    state = {"v": (-0.048, 0.008), "w": (1e-10, 1e-10)} if name == "adex" else {"v": (0.6, 0.6)}
    drawn: dict[str, Any] = {}
    for s in done.old:
        middle, spread = state.get(str(s), (0.0, 1.0))
        drawn[str(s)] = middle + spread * g.normal(size=N)
    drawn |= {str(k): g.normal(size=N) for k in done.inputs}
    drawn |= {"y_last": g.normal(size=N), "not_refractory": np.tile([1.0, 1.0, 0.0, 1.0], N // 4)}

    def value(e: Any) -> Any:
        symbols = sorted(e.free_symbols, key=str)
        return sp.lambdify(symbols, e, [NUMPY, "numpy"])(*({**drawn, **done.numbers}[str(s)] for s in symbols))

    ready = {n: torch.as_tensor(v) for n, v in drawn.items()}
    given = [tuple(ready[str(s)] for s in some) for some in (done.old, done.inputs)]
    u, y, s = kernel.step(*given, ready["y_last"], ready["not_refractory"], hard_spike, uncut)
    drawn |= {str(symbol): value(e) for symbol, e in zip(done.new, done.f, strict=True)}
    output = value(done.output)
    drawn["y_now"] = (output > 0) * drawn["not_refractory"] if cell.spiking else output
    for torch_value, e in zip((*u, *s), (*done.f, *done.r), strict=True):
        np.testing.assert_allclose(torch_value, value(e), rtol=1e-12)
    np.testing.assert_allclose(y, drawn["y_now"], rtol=1e-12)
    assert not cell.spiking or 0 < y.sum() < N
    values = {
        kind: [torch.as_tensor(drawn[str(s)]) for s, k, _ in done.given if k == kind and str(s) in drawn]
        for _, kind, _ in done.given
    }
    found = list(entries(kernel.partials(lambda kind, i: values[kind][i])))
    for entry, e in zip(found, entries(done.partials), strict=True):
        np.testing.assert_allclose(0.0 if entry is None else entry, value(e), rtol=1e-10, atol=1e-300)
    assert any(isinstance(entry, torch.Tensor) for entry in found)


def test_equal_text_is_compiled_once_and_bound_anew():
    source._compiled.cache_clear()
    cell = bp.model("lif")
    first, other = (cell.kernel(n, DT, torch.float64, "cpu") for n in (3, 4))
    slower = bp.model("lif", tau_m=30 * ms).kernel(3, DT, torch.float64, "cpu")
    assert source._compiled.cache_info().misses == 1
    assert first.source == other.source == slower.source
    one = torch.ones(1, 3, dtype=torch.float64)
    u, v = (k.step((one,), (0 * one,), one, one, hard_spike, uncut)[0][0] for k in (first, slower))
    assert float(u[0, 0]) == pytest.approx(np.exp(-1 / 20)) and float(v[0, 0]) == pytest.approx(np.exp(-1 / 30))


PLANS = {
    "lif": (lambda: bp.model("lif"), Plan((0,), (), (), False)),  # ε_v is low-passed input, the same for all neurons
    "lif per neuron": (lambda: bp.model("lif", tau_m=np.linspace(10, 30, N) * ms), Plan((), (0,), (0,), False)),
    "alif": (lambda: bp.model("alif", beta=0.1), Plan((0,), (1,), (1,), False)),  # the spike moves a: ε_a by synapse
    "alif, reset differentiated": (
        lambda: bp.model("alif", beta=0.1, differentiate=("reset", "jumps")),
        Plan((), (0, 1), (0, 1), False),
    ),
    "lsnn_lif": (lambda: bp.model("lsnn_lif"), Plan((0,), (), (), False)),
    "gru": (lambda: bp.model("gru"), Plan((), (0,), (), True)),  # reads its own last output
}


@pytest.mark.parametrize("name", PLANS)
def test_which_traces_a_channel_needs(name):
    make, expected = PLANS[name]
    ones = torch.ones(1, N, dtype=torch.float64)
    part = Partials(*make().kernel(N, DT, torch.float64, "cpu").partials(lambda kind, i: ones))
    assert plan(part, 0) == expected
