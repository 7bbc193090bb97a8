"""Every shipped cell of equations that spikes, in a recurrent circuit, against plain Brian2 that knows nothing of us, at 1 and 0.1 ms.

What a cell is written in (equations, threshold, reset, refractoriness, integrator, parameters) goes into a `NeuronGroup` as it stands, with
Brian2's own schedule; jumps are ``on_pre``, currents are held over a step. Cells that send something beside spikes are in test_sends,
noise is in test_noise, delays per synapse in test_delays_each.
"""

from __future__ import annotations

from typing import Any

import brian2 as b2
import numpy as np
import pytest
import torch

import bioplaus as bp
from bioplaus import ms, mV
from bioplaus.brian.names import Names  # noqa: F401  (Brian2 comes by way of bioplaus)
from bioplaus.symbolic.runtime import runtime

N, LINES, T = 12, 8, 1000

#: cell → (options, weights so large that it fires, steps in ms)
CELLS: dict[str, tuple[dict[str, Any], dict[str, float], tuple[float, float]]] = {
    "lif": ({}, {"gain": 3.0, "input_gain": 5.0}, (1.0, 0.1)),
    "alif": ({}, {"gain": 3.0, "input_gain": 5.0}, (1.0, 0.1)),
    "delta_lif": ({}, {"gain": 0.5, "input_gain": 1.2}, (1.0, 0.1)),
    "qif": ({}, {"gain": 0.5, "input_gain": 4.0}, (1.0, 0.1)),
    "izhikevich": ({}, {"gain": 4.0, "input_gain": 60.0}, (1.0, 0.1)),
    "adex": ({}, {"gain": 4.0, "input_gain": 14.0}, (1.0, 0.1)),
    "cuba": ({"E_L": -60 * mV}, {"gain": 6.0, "input_gain": 70.0}, (1.0, 0.1)),
    "coba": ({}, {"gain": 0.5, "input_gain": 4.0}, (1.0, 0.1)),
    "alpha_current": ({}, {"gain": 40.0, "input_gain": 200.0}, (1.0, 0.1)),
    # an upstroke takes a fraction of a millisecond
    "hodgkin_huxley": ({}, {"gain": 1.0, "input_gain": 5.0}, (0.1, 0.02)),
    "wang_buzsaki": ({}, {"gain": 1.0, "input_gain": 12.0}, (0.1, 0.02)),
}


#: of the others nothing is tried that these do not have
QUICK = {"lif", "alif", "delta_lif", "adex"}


def made(name: str, dt: float, delay: int) -> Any:
    options, gains, _ = CELLS[name]
    cell = bp.model(name, **options)
    init = {"init": "gamma"} if name in ("coba", "hodgkin_huxley", "wang_buzsaki") else {}  # conductances
    circuit = bp.circuit(
        "recurrent", cell=cell, inputs=LINES, units=N, outputs=1, bias=False, dt=dt * ms, delay=delay, **gains, **init
    )
    return circuit.build(seed=1, dtype=torch.float64)


def into_jumps(network: Any) -> bool:
    """Whether input is spikes that a state jumps at, or a current."""
    cell = next(iter(network.circuit.populations.values())).cell
    return all(list(cell.channels)[k] in cell.jumps for k in network.populations[0].driven[0].channels)


def given(jumps: bool, dt: float) -> np.ndarray:
    """Spikes, none in the first step, of a rate per ms that does not depend on it; or a current that changes every 10 ms."""
    rng = np.random.default_rng(2)
    if not jumps:
        return np.repeat(rng.normal(0.3, 1, (T, LINES)), round(10 / dt), axis=0)[:T]
    x = (rng.random((T, LINES)) < 0.1 * dt**0.5).astype(float)
    x[0] = 0
    return x


def plain(network: Any, x: np.ndarray, late: int, **changed: Any) -> np.ndarray:
    """Spikes (time, unit) of a script in Brian2's own words; delays are one step shorter there."""
    (p,), cell, dt = (
        network.populations,
        next(iter(network.circuit.populations.values())).cell,
        network.circuit.dt * b2.second,
    )
    into, back = ({list(cell.channels)[k]: k for k in w.channels} for w in (p.driven[0], network.recurrent[0]))
    U, W = (network.weights[name].numpy() for name in ("W_in", "W_rec"))
    space: dict[str, Any] = {**cell.parameters, "unit": 1.0}
    text, collected = [str(cell.equations)], []
    for channel, unit in cell.inputs.items():
        brought = U.T[:, :] if channel in into else np.zeros((LINES, N))
        space |= {f"given_{channel}": b2.TimedArray(x @ brought, dt=dt), f"unit_{channel}": unit}
        dimension = b2.get_dimensions(unit)
        of = "1" if dimension.is_dimensionless else repr(b2.get_unit(dimension))
        text.append(f"{channel} = unit_{channel}*(given_{channel}(t, i) + held_{channel}) : {of} (constant over dt)")
        text.append(f"held_{channel} : 1\ncoming_{channel} : 1")
        collected.append(f"held_{channel} = coming_{channel}; coming_{channel} = 0")
    refractory = cell.refractory
    if isinstance(refractory, int):
        refractory = refractory * dt if refractory else False
    with runtime():
        group = b2.NeuronGroup(N, "\n".join(text), threshold=cell.spike, reset=cell.reset, refractory=refractory, method=changed.get("method", cell.method), namespace=space, dt=dt)  # fmt: skip
        for state, value in zip(cell.states, network.start(1).populations[0].s, strict=True):
            group.variables[state].set_value(value[0].numpy())
        objects: list[Any] = [group]
        if collected:
            group.run_regularly(
                "\n".join(collected), when="before_start", order=-1, dt=dt
            )  # currents are read at before_start

        def connected(source: Any, weights: np.ndarray, channels: dict[str, int], delay: Any) -> None:
            for row, channel in enumerate(channels):
                here = weights[row * N : (row + 1) * N]
                onto = f"{channel}_post += weight*unit" if channel in cell.jumps else f"coming_{channel}_post += weight"
                made = b2.Synapses(
                    source,
                    group,
                    "weight : 1",
                    on_pre=onto,
                    namespace={"unit": cell.channels[channel]},
                    dt=dt,
                    delay=delay,
                )
                post, pre = np.nonzero(here)
                made.connect(i=pre, j=post)
                made.weight = here[post, pre]
                objects.append(made)

        if any(channel in cell.jumps for channel in into):
            step, line = np.nonzero(x[1:])
            lines = b2.SpikeGeneratorGroup(LINES, line, step * dt, dt=dt)
            objects.append(lines)
            connected(lines, U, into, 0 * b2.ms)
        connected(group, W, back, (late - 1) * dt)
        seen = b2.SpikeMonitor(group)
        b2.Network(*objects, seen).run(T * dt, namespace={})
    fired = np.zeros((T, N))
    fired[np.rint(np.asarray(seen.t_) / network.circuit.dt).astype(int), np.asarray(seen.i)] = 1
    return fired


@pytest.mark.parametrize("which", [0, 1], ids=["coarse", "fine"])
@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in CELLS])
def test_spikes_are_those_of_plain_brian2(name, which):
    """Here, in the twin and in plain Brian2, with recurrent delays of three steps."""
    dt = CELLS[name][2][which]
    network = made(name, dt, delay=3)
    x = given(into_jumps(network), dt)
    theirs = plain(network, x, late=3)
    assert theirs.sum() > 15 and (theirs.sum(0) > 0).sum() > 4, (theirs.sum(), "alive")
    for mine in (bp.simulate(network, x[:, None], "spikes"), bp.brian.simulate(network, x[:, None], "spikes")):
        np.testing.assert_array_equal(mine.spikes.values[:, 0], theirs)


@pytest.mark.parametrize("name", ["lif", pytest.param("cuba", marks=pytest.mark.slow), "adex"])
def test_another_delay_or_integrator_is_seen(name):
    network = made(name, 1.0, delay=3)
    cell = next(iter(network.circuit.populations.values())).cell
    x = given(into_jumps(network), 1.0)
    mine = bp.simulate(network, x[:, None], "spikes").spikes.values[:, 0]
    assert (plain(network, x, late=2) != mine).sum() > 10 and (plain(network, x, late=4) != mine).sum() > 10
    other = "euler" if cell.method != "euler" else "rk4"
    assert (plain(network, x, late=3, method=other) != mine).sum() > 10
    assert (plain(network, x, late=3) == mine).all()
