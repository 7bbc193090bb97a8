"""The benchmark's C: loops as a C compiler makes them of the same text compute what torch does."""

from __future__ import annotations

import pytest
import torch
from test_fused import SPIKING, STEEP, STEPS_OF, batch, close, inputs, one, same, several
from test_reported_tables import benchmark

import bioplaus as bp

C = benchmark("speed").sibling("c_text")
pytestmark = pytest.mark.skipif(C.compiler() is None, reason="no C compiler")

CIRCUITS = {"all": several, "direct": lambda: one("alif", tau=None), **{n: lambda n=n: one(n) for n in SPIKING}}


@pytest.mark.parametrize(
    "name", [n if n in ("all", "alif") else pytest.param(n, marks=pytest.mark.slow) for n in CIRCUITS]
)
def test_loops_in_c_are_torch_s(name):
    network, steps = CIRCUITS[name](), STEPS_OF.get(name, 60)
    with C.in_c() as compiled:
        same(network, inputs(network, steps), 1e-9 if name in STEEP else 1e-12)
        for schedule in ("window", "online"):
            rule = bp.rule("eprop", schedule=schedule)
            ours, theirs = (
                bp.gradient(network, rule, batch(network, steps), backend=each) for each in ("numba", "torch")
            )
            for key, g in theirs.items():
                close(ours[key], g, 1e-9 if name in STEEP else 1e-11)
    assert {"forward0_", "reverse0_", "traces0_"} <= set(compiled)


def test_in_float32_nothing_is_double():
    network = one("alif", dtype=torch.float32)
    found = []
    with C.in_c():
        real = C.built
        C.built = lambda source, name: found.append(source) or real(source, name)
        try:
            same(network, inputs(network, 60), 1e-5)
        finally:
            C.built = real
    assert found and not any("double" in source for source in found)


def test_what_is_no_part_of_the_texts_is_refused():
    text = "def f(a):\n    while True:\n        a[0] = 1\n"
    with pytest.raises(NotImplementedError):
        C.translated(text, "f", "float64", (torch.ones(1).double().numpy(),))
