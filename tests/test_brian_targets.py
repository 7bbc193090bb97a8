"""Brian2 by other code, at another step, by another integrator."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import brian2
import numpy as np
import pytest
import torch
from brian2.devices.device import get_device

import bioplaus as bp
from bioplaus import ms
from bioplaus.brian import finer, target
from bioplaus.circuit import Circuit, Population, Projection, Readout
from bioplaus.errors import CellError, CircuitError

LINES, T = 3, 120
RNG = np.random.default_rng(0)
X = RNG.normal(0.2, 1.0, (T, 2, LINES))


def small(cell: Any = "alif", **options: Any) -> Circuit:
    given = dict(inputs=LINES, units=12, outputs=1, input_gain=8.0, gain=2.0, delay=2, tau_out=20 * ms) | options
    return bp.circuit("recurrent", cell=cell, **given)


# -- another step -----------------------------------------------------------------------------------------------------


def by_hand(circuit: Circuit, x: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Spikes and output of plain Brian2 at the finer step, written from the equations; of one sample."""
    from bioplaus.symbolic.runtime import runtime

    network = circuit.build(seed=0, dtype=torch.float64)
    W, U, C = (network.weights[name].numpy() for name in ("W_rec", "W_in", "W_out"))
    dt, cell = 1.0 / n * brian2.ms, circuit.populations["cortex"].cell
    jumps = "v" in cell.jumps
    with runtime():
        # the input of a millisecond: a current that is held, or one jump at its beginning
        given = np.repeat(x @ U.T, n, axis=0)
        given[np.arange(len(given)) % n > 0] *= not jumps
        I = brian2.TimedArray(given, dt=dt)  # noqa: E741
        held = "" if jumps else "+ I(t, i) + pulse"
        G = brian2.NeuronGroup(
            12, f"dv/dt = (-v {held})/tau : 1 (unless refractory)\npulse : 1" if jumps else f"dv/dt = (-v {held})/tau : 1\npulse : 1\ncoming : 1",
            threshold="v > 1" if jumps else "v > 0.6", reset="v = 0" if jumps else "v -= 0.6", refractory=(2 if jumps else 5) * brian2.ms,  # type: ignore[reportArgumentType]
            method="exact", namespace={"I": I, "tau": 20 * brian2.ms}, dt=dt,
        )  # fmt: skip
        S = brian2.Synapses(G, G, "w : 1", on_pre="v_post += w" if jumps else f"coming_post += {n}*w", dt=dt)
        post, pre = np.nonzero(W)
        S.connect(i=pre, j=post)
        S.w, S.delay = W[post, pre], 2 * brian2.ms - dt  # what is delivered in a step acts in the next
        if jumps:
            G.v = given[0]
            G.run_regularly("v += I(t + dt, i)*int(not_refractory)", when="synapses", dt=dt)
        else:
            G.run_regularly("pulse = coming; coming = 0", when="before_groups", dt=dt)
        M = brian2.SpikeMonitor(G)
        brian2.Network(G, S, M).run(len(x) * brian2.ms, namespace={})
    spikes = np.zeros((len(x) * n, 12))
    spikes[np.rint(np.asarray(M.t / dt)).astype(int), M.i] = 1
    kappa, filtered, out = np.exp(-1 / n / 20), np.zeros(12), []
    for y in spikes:
        filtered = kappa * filtered + (1 - kappa) * n * y
        out.append(C @ filtered)
    return spikes, np.array(out)


@pytest.mark.parametrize("cell", ["lif", "delta_lif"])
@pytest.mark.parametrize("n", [1, 10])
def test_a_finer_step_is_the_same_circuit_in_plain_brian2(cell, n):
    circuit = small(cell, units=12, input_gain=8.0 if cell == "lif" else 2.0)
    spikes, out = by_hand(circuit, X[:, 0], n)
    ours = bp.brian.simulate(circuit, X[:, :1], ("v", "spikes"), dt=1 / n * ms)
    assert 30 < spikes.sum() and np.array_equal(ours.spikes.values[:, 0], spikes)
    np.testing.assert_allclose(ours.output.values[:, 0], out, atol=1e-12)
    assert ours.sizes["time"] == n * T and ours.time.values[-1] == pytest.approx(T - 1 / n)
    if n > 1:  # none of it would pass unnoticed: spikes that bring less charge, delays in steps
        network = finer.another(circuit.build(seed=0, dtype=torch.float64), n, None)
        assert network.circuit.projections[1].delay == 2e-3
        network.weights["W_rec"] /= 2
        assert not np.array_equal(
            bp.brian.simulate(network, np.repeat(X[:, :1], n, 0), "spikes").spikes.values[:, 0], spikes
        )


def test_it_goes_to_a_limit_and_a_batch_goes_along():
    """Rates settle as 1/n; targets, weight and epochs of a batch are those of the time."""
    circuit = small("leaky_rate", gain=1.2, tau_out=None)
    task = bp.Batch(
        inputs=X, targets=X[..., :1], weight=np.ones((T, 2)), trials={"epoch_cue": np.array([[10, 20], [30, 40]])}
    )
    found = {n: bp.brian.simulate(circuit, task, "rate", dt=1 / n * ms) for n in (1, 2, 4, 8)}
    ends = {n: one.rate.values.reshape(T, n, 2, 12)[:, -1] for n, one in found.items()}
    gaps = [np.abs(ends[n] - ends[8]).max() for n in (1, 2, 4)]
    assert 1e-4 < gaps[2] < gaps[1] < gaps[0] < 0.2
    four = found[4]
    assert np.array_equal(four.target, np.repeat(X[..., :1], 4, 0)) and np.array_equal(four.input, np.repeat(X, 4, 0))
    assert np.array_equal(four.epoch_cue, found[1].epoch_cue) and four.weight.shape == (4 * T, 2)


def test_sparse_synapses_with_delays_of_their_own_keep_their_weights():
    given: dict[str, Any] = dict(source="a", target="a", sparse=True, probability=0.5, gain=4.0, autapses=False)
    circuit = Circuit(
        populations={"a": Population(bp.model("delta_lif"), 30)},
        projections=(Projection(name="U", source="input", target="a", gain=2.0), Projection(name="W", delay=bp.Uniform(1 * ms, 5 * ms), **given)),
        inputs=LINES, readout=Readout(size=1),
    )  # fmt: skip
    network = circuit.build(seed=2, dtype=torch.float64)
    other = finer.another(network, 5, None)
    assert torch.equal(other.matrix("W"), network.matrix("W"))
    old, new = (each.synapses["W"] for each in (network, other))
    late = [np.zeros((30, 30)) for _ in range(2)]
    for each, steps, dt in ((old, late[0], 1.0), (new, late[1], 0.2)):
        steps[each.post, each.pre] = each.delay * dt
    assert 0 < np.abs(late[0] - late[1]).max() <= 0.5 + 1e-9, "to the nearest step"
    spikes = bp.brian.simulate(network, X, "spikes", dt=0.2 * ms).spikes
    assert spikes.sum() > 100
    network.synapses["W"].columns[[0, 1]] = network.synapses["W"].columns[[1, 0]]
    steps = replace(
        circuit, projections=(circuit.projections[0], Projection(name="W", delay=bp.Uniform(1, 5), **given))
    )
    with pytest.raises(CircuitError, match=r"delay of projection W .* in steps .*bp.Uniform\(1\*ms, 5\*ms\)"):
        bp.brian.simulate(steps, X, dt=0.5 * ms)


def test_steps_of_refractoriness_are_the_time_they_were():
    circuit = small(bp.model("lif", refractory=4))
    cell = finer.another(circuit.build(), 5, None).circuit.populations["cortex"].cell
    assert float(cell.refractory / ms) == pytest.approx(4)
    assert finer.another(network := circuit.build(), 1, None) is network


def test_another_integrator():
    circuit = small("lif")
    ours, euler = bp.brian.simulate(circuit, X, "v"), bp.brian.simulate(circuit, X, "v", method="euler")
    cell = replace(circuit.populations["cortex"].cell, method="euler")
    by_name = bp.brian.simulate(replace(circuit, populations={"cortex": Population(cell, 12)}), X, "v")
    assert np.array_equal(euler.v, by_name.v) and np.abs(euler.v - ours.v).max() > 1e-3
    with pytest.raises(CellError, match="integration method"):
        bp.brian.simulate(circuit, X, method="eular")
    with pytest.raises(CellError, match="method='exact' can't integrate"):
        bp.brian.simulate(small("adex"), X, method="exact")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (dict(dt=0.3 * ms), r"dt=0.3 ms goes into the circuit's step of 1 ms 3.33333 times.*0.333333\*ms is near"),
        (dict(dt=2 * ms), r"goes into the circuit's step of 1 ms 0.5 times.*dataclasses.replace"),
        (dict(dt=-1), "dt is -1; it must be a time above zero"),
        (dict(dt="fine"), "dt is 'fine'"),
        (dict(target="cuda"), "target is 'cuda'; it must be .*standalone"),
        (dict(method=3), "method is 3"),
        (dict(dt=0.5 * ms, return_state=True), r"return_state=True can't go with another dt= or method="),
        (dict(method="rk4", perturb=bp.Perturb("cortex", "silence")), r"perturb= can't go with another dt= or method="),
        (dict(target="standalone", perturb=bp.Perturb("cortex.v", "clamp", value=0.1)), r"'cortex' \(a clamp\).*NetworkOperation.*without a word"),
        (dict(circuit=bp.circuit("recurrent", cell="gru", inputs=LINES, units=3, outputs=1), dt=0.5 * ms), "gru"),
    ],
)  # fmt: skip
def test_what_does_not_carry_over_is_refused_before_anything_runs(given, said, monkeypatch):
    monkeypatch.setattr(brian2.Network, "run", lambda *_, **__: pytest.fail("Brian2 ran"))
    with pytest.raises(CircuitError, match=said):
        bp.brian.simulate(given.pop("circuit", small("lif")), X, **given)


def test_without_a_compiler_it_says_so(monkeypatch):
    monkeypatch.setattr(target.shutil, "which", lambda name: None)
    with pytest.raises(CircuitError, match=r"target='cython' compiles, and there is no C\+\+ compiler here"):
        bp.brian.simulate(small("lif"), X, target="cython")


# -- compiled ---------------------------------------------------------------------------------------------------------


def left(before: Any) -> bool:
    return before == (
        get_device(),
        brian2.prefs.codegen.target,
        brian2.prefs.core.default_float_dtype,
        dict(os.environ),
        os.getcwd(),
    )


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["alif", "delta_lif", "leaky_rate", "noisy_lif"])
def test_a_program_runs_again_with_other_weights_inputs_and_states(cell, capfd):
    before = (
        get_device(),
        brian2.prefs.codegen.target,
        brian2.prefs.core.default_float_dtype,
        dict(os.environ),
        os.getcwd(),
    )
    circuit = small(cell, **({"input_gain": 2.0} if cell == "delta_lif" else {}))
    said = "rate" if cell == "leaky_rate" else "spikes"
    compiled = len(target._PROGRAMS)
    state = next(iter(circuit.populations["cortex"].cell.states))
    for seed, x, begin in ((0, X, None), (0, X[::-1].copy(), None), (5, X, None), (5, X, 30), (0, X, 40)):
        network = circuit.build(seed=seed, dtype=torch.float64)
        at = None if begin is None else bp.simulate(network, x[:begin], return_state=True)[1]
        ours, theirs = (
            bp.brian.simulate(network, x, (state, said), seed=seed, state=at, target=t) for t in ("numpy", "standalone")
        )
        assert ours[said].std() > 0.01
        for name in ours:
            assert float(np.abs(ours[name] - theirs[name]).max()) < 1e-12, name
        assert (ours[said].values == theirs[said].values).all() or said == "rate"
    # who is refractory is known of a state alone: one program more, for all that go on
    programs = len(target._PROGRAMS) - compiled
    assert programs <= 2 and left(before)
    out, err = capfd.readouterr()
    assert not out and err.count("Brian2 compiles this circuit (target='standalone'): 15 to 40 s") == programs


@pytest.mark.slow
def test_cython_says_that_it_compiles_and_only_then(tmp_path, capfd, monkeypatch):
    before = (
        get_device(),
        brian2.prefs.codegen.target,
        brian2.prefs.core.default_float_dtype,
        dict(os.environ),
        os.getcwd(),
    )
    circuit, cache = small("lif"), brian2.prefs.codegen.runtime.cython.cache_dir
    brian2.prefs.codegen.runtime.cython.cache_dir = str(tmp_path)
    try:
        ours, theirs, again = (
            bp.brian.simulate(circuit, X, ("v", "spikes"), target=t) for t in ("numpy", "cython", "cython")
        )
    finally:
        brian2.prefs.codegen.runtime.cython.cache_dir = cache
    assert ours.spikes.sum() > 30 and ours.spikes.equals(theirs.spikes) and theirs.equals(again) and left(before)
    assert float(np.abs(ours.v - theirs.v).max()) < 1e-12
    assert capfd.readouterr().err.count("Brian2 compiles this circuit (target='cython'): 30 to 75 s") == 1
