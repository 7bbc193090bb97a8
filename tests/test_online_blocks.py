"""Online rules over several blocks of steps: what one block summed does not stay for the next."""

from __future__ import annotations

import pytest
import torch

import bioplaus as bp
from bioplaus import ms
from bioplaus.learning.pace import BLOCK
from bioplaus.learning.sequence import sequence
from bioplaus.tasks import Batch, squared

STEPS = 2 * BLOCK + 7


def gradients(made: bp.Rule, tau_out: object, cell: str) -> dict[str, torch.Tensor]:
    circuit = bp.circuit(
        "recurrent",
        cell=cell,
        inputs=4,
        units=9,
        outputs=2,
        input_gain=12.0 if cell == "alif" else 1.0,
        tau_out=tau_out,
    )
    network = circuit.build(1, dtype=torch.float64)
    g = bp.stream(3, "batch")
    x, target = (torch.rand(STEPS, 3, k, generator=g, dtype=torch.float64) for k in (4, 2))
    data = Batch(x, target, torch.ones(STEPS, 3, dtype=torch.float64))
    outcome = sequence(network, made, made.begin(network, data, 0), data, squared)
    assert outcome.rates["cortex"] != 0
    return outcome.gradients


@pytest.mark.parametrize("rule", ["eprop", "rflo"])
@pytest.mark.parametrize(("cell", "tau_out"), [("alif", 20 * ms), ("alif", None), ("leaky_rate", None)])
def test_online_is_the_window_over_several_blocks(rule, cell, tau_out):
    """The window schedule comes by the same sum in another way: backwards, without a trace."""
    online, window = (gradients(bp.rule(rule, schedule=schedule), tau_out, cell) for schedule in ("online", "window"))
    for name, g in window.items():
        assert g.abs().max() > 0, name
        torch.testing.assert_close(online[name], g, rtol=1e-10, atol=1e-13 * float(g.abs().max()), msg=name)


@pytest.mark.parametrize("cell", ["alif", "leaky_rate"])
def test_rtrl_is_bptt_over_several_blocks(cell):
    """J laid ready for a block begins behind the last step of the block before."""
    tau_out = 20 * ms if cell == "alif" else None
    online, true = (gradients(bp.rule(name), tau_out, cell) for name in ("rtrl", "bptt"))
    for name, g in true.items():
        assert g.abs().max() > 0, name
        torch.testing.assert_close(online[name], g, rtol=1e-9, atol=1e-12 * float(g.abs().max()), msg=name)
