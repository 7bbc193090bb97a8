"""A predictor's trace that explodes is stopped by name, before it overflows and before anything is learned from it."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from rule_helpers import paragraph

import bioplaus as bp
from bioplaus import Trainer, Training, ms
from bioplaus.circuit.carried import Layout
from bioplaus.circuit.tangent import Tangent
from bioplaus.circuit.trajectory import roll
from bioplaus.errors import NumericalError
from bioplaus.signal.traces.growth import Exploded, Growth, followed, limit, refuse
from bioplaus.signal.truth import observe

STEPS = 200
LOCAL: dict[str, Any] = {"trace": "local", "jacobian": "within", "eligibility": "eprop"}


def trainer(dtype: str = "float32", long: int = STEPS, training: Any = None, **rule: Any) -> Trainer:
    """Spiking neurons that drive one another hard."""
    task = bp.task("pattern_generation", steps=long, inputs=8, outputs=1)
    circuit = bp.circuit(
        "cortico_cerebellar",
        cell=bp.model("lsnn_lif", dampening=1.0),
        inputs=8,
        units=14,
        outputs=1,
        gain=1.2,
        input_gain=0.5,
        tau_out=20 * ms,
    )
    return Trainer(
        circuit,
        task,
        bp.rule("bp_lambda", **rule),
        Training(batch=2, updates=3, dtype=dtype, **(training or {})),
        seed=1,
    )


def kept(t: Trainer) -> dict[str, torch.Tensor]:
    return {n: w.clone() for n, w in (t.network.weights | t.own["predictor"].learned).items()}


def stopped(t: Trainer) -> str:
    """What is said, and that nothing was learned from it."""
    before = kept(t)
    with pytest.raises(NumericalError, match=r"^At update 1: The predictor's trace explodes") as error:
        t.update()
    after = kept(t)
    assert all(torch.equal(after[n], before[n]) for n in before)
    return paragraph(error)


@pytest.fixture(scope="module")
def way_back() -> tuple[torch.Tensor, float]:
    """|u_s| at every step by a loop, u_s = δ_{s+1} + u_{s+1} J_{s+1}, and the rate of the neurons: nothing is predicted yet, so δ = q J."""
    t = trainer()
    batch = t.draw(bp.tasks.drawn(t.task, bp.stream(1, "task"), 2).to("cpu", torch.float32))
    network, layout = t.network, Layout(t.network)
    with torch.no_grad():
        stretch, _ = roll(network, network.start(2), batch.inputs)
        observed = observe(network, batch, t.task.loss, stretch)
        q = layout.flat(observed.direct(), layout.vectors(stretch)[1:])
        back, u = [], torch.zeros_like(q[0])
        for s, step in reversed(list(enumerate(Tangent(network, stretch).each()))):
            J = layout.jacobian(step).double()
            u = torch.einsum("bo,boh->bh", q[s].double() + u, J)
            back.append(float(u.abs().max()))
    return torch.tensor(back[::-1], dtype=torch.float64), float(stretch.outputs(0, 0).mean())


def test_it_says_what_exploded_where_and_what_does_not(way_back):
    back, rate = way_back
    assert 0.01 < rate < 0.5
    assert float(back[0]) > 1e3 * limit(torch.float32)
    said = stopped(trainer())
    at = int((back > limit(torch.float32)).nonzero()[-1])
    assert f"came back from step {STEPS - 1} to step {at} (trace='exact', γλ = 1)" in said
    assert "trace='local', jacobian='within'" in said
    factor = re.search(r"by a factor of ([\d.]+) a step", said)
    assert factor
    assert float(factor[1]) == pytest.approx(float(back[at] / back[-1]) ** (1 / (STEPS - 1 - at)), rel=1e-2)


def test_what_is_advised_helps():
    said = stopped(trainer())
    below = re.search(r"γλ is below ([\d.]+)", said)
    assert below
    assert 0.1 < float(below[1]) < 1
    forgetting: dict[str, Any] = {"lmbda": 0.95 * float(below[1])}
    for rule in (forgetting, LOCAL):
        row = trainer(long=2 * STEPS if rule is LOCAL else STEPS, **rule).update()
        assert row["td_error"] > 0
        assert row["rate"] > 10


@pytest.mark.parametrize("trace", ("exact", "kronecker"))
def test_carried_from_step_to_step_too(trace, way_back):
    said = stopped(trainer(trace=trace, schedule="online"))
    at = re.search(r"was carried on to step (\d+) \(trace='(\w+)'", said)
    assert at and at[2] == trace
    assert 10 < int(at[1]) < STEPS - 1


def test_in_windows_and_also_where_predictor_and_weights_move():
    """Windows of 40 steps hand the trace on: none of them alone explodes. What was learned before the step stays."""
    t = trainer(schedule="window", steps=40, training={"apply": "window", "lr": 1e-6})
    before = kept(t)
    with pytest.raises(NumericalError, match="At update 1: .* was carried on to step (119|159) "):
        t.update()
    after = kept(t)
    assert all(bool(torch.isfinite(w).all()) for w in after.values())
    assert not torch.equal(before["A"], after["A"])


def test_numbers_of_more_digits_carry_further():
    """The limit is that of the numbers, not of the circuit."""
    row = trainer("float64").update()
    assert row["td_error"] > 0
    assert limit(torch.float64) > 1e140


@pytest.mark.parametrize("window", (1, 40))
def test_how_fast_it_grows_does_not_depend_on_the_window(window):
    """1.3 a step, from a trace that begins at 10⁻³; where it is first too large depends on when it is looked at."""
    grown, steps = Growth(), 400
    sizes = 1e-3 * 1.3 ** torch.arange(steps, dtype=torch.float32)
    for first in range(0, steps, window):
        grown = followed(grown, first, None, sizes[first + window - 1], window)
    at = next(t for t in range(window - 1, steps, window) if not float(sizes[t]) <= limit(torch.float32))
    with pytest.raises(Exploded, match=rf"was carried on to step {at} .* by a factor of 1\.3 a step.* below 0\.77"):
        refuse(grown, 1.0, "exact")


class Nothing(bp.Task):
    """No input, and 1 asked for at the end."""

    inputs, outputs, steps, loss = 1, 1, 200, bp.tasks.squared

    def batch(self, generator, size, split="train"):
        weight = torch.zeros(self.steps, size)
        weight[-1] = 1.0
        return bp.Batch(torch.zeros(self.steps, size, 1), torch.ones(self.steps, size, 1), weight)


def test_a_trace_within_neurons_is_watched_as_it_walks():
    """Neurons that run away by themselves, x to 1.65 x a step, and stand at 0: the trace alone grows."""
    cell = bp.Cell(
        equations="dx/dt = (x + I)/tau : 1", output="tanh(x)", inputs=("I",), parameters={"tau": 2 * ms}, method="exact"
    )
    circuit = bp.circuit("cortico_cerebellar", cell=cell, inputs=1, units=3, outputs=1, gain=0.0)
    rule = bp.rule("bp_lambda", trace="local", jacobian="within", schedule="online")
    said = stopped(Trainer(circuit, Nothing(), rule, Training(batch=2, updates=1, dtype="float32"), seed=0))
    e = [math.exp(0.5)]
    while e[-1] <= limit(torch.float32):
        e.append(math.exp(0.5) * (e[-1] + 1))  # the bias's: its feature is 1
    factor = (e[-1] / e[0]) ** (1 / (len(e) - 1))
    assert (
        f"was carried on to step {len(e) - 1} (trace='local', γλ = 1) has grown to {e[-1]:.2g}, by a factor of {factor:.3g} a step"
        in said
    )
