"""Fused loops in float32, 2000 steps: on one given trajectory all that they compute is torch's to 1e-5.

Steps start from where torch stands, sweeps and traces follow the loops' own trajectory. Spikes are compared along the whole run, which takes
weights of few digits: sums of those are the same in any order, and none flips a spike.
"""

from __future__ import annotations

import pytest
import torch
from test_fused import inputs, one, several

import bioplaus as bp
from bioplaus.check.bench import Bench
from bioplaus.check.fused import Held, forward, gradients

T, B = 2000, 4
CIRCUITS = {
    "lif": lambda: one("lif", dtype=torch.float32),
    "alif": lambda: one("alif", dtype=torch.float32),
    "direct": lambda: one("alif", tau=None, dtype=torch.float32),
    "all": lambda: several().circuit.build(seed=1, dtype=torch.float32),
}


#: those that are not slow; `test_fused` has a quick one of forward
QUICK = {("alif", "eprop")}


@pytest.mark.parametrize(
    ("name", "what"),
    [
        pytest.param(name, what, marks=[] if (name, what) in QUICK else pytest.mark.slow)
        for name in CIRCUITS
        for what in ("forward", "eprop", "mdgl")
    ],
)
def test_in_float32_loops_are_torch_s(name, what):
    network = CIRCUITS[name]()
    with torch.no_grad():
        for w in network.weights.values():
            w.copy_((w * 256).round() / 256)
    x = inputs(network, T, B)
    x[..., :4] = (x[..., :4] > 1.9) * 2  # of the input lines; what is drawn beside them stays
    y, weight = torch.randn(T, B, 2, generator=bp.stream(0, "y")), torch.ones(T, B)
    bench, held = Bench(network, bp.Batch(x, y, weight), written_by_hand=False), Held()
    made = bp.rule("eprop" if what == "forward" else what)
    if what == "forward":
        forward(bench, held)
    else:
        gradients(bench, what, made, held)
        served = [f"{what} window", f"{what} online"]
        assert list(held.tried) == ([] if what == "mdgl" and name == "all" else served), "mdgl takes no delays"
    assert held.error <= 1e-5, f"{held.first}: {held.error}"
    if held.tried:
        assert held.error > 1e-10, "it is float32"
        assert held.numbers > (1e6 if what == "forward" else 200)
    for p, _ in enumerate(network.populations):
        assert 0.005 < float(bench.window.spikes(p).mean()) < 0.4, "alive"
    assert not held.tried or sum(bool(g.any()) for g in bench.gradients(made).values()) > 3
