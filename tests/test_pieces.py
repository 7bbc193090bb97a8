"""Simulations of any length: in pieces cut anywhere they are what they are in one, and hold no more than what is recorded."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import bioplaus as bp
from bioplaus import Hz, ms
from bioplaus.circuit.blocks import Blocks
from bioplaus.errors import CircuitError

STEPS = 331
SURROGATE = bp.triangular(dampening=0.3, width="1.0")


def alif(**more: Any) -> bp.Circuit:
    """Refractory neurons, delays, a readout that leaks."""
    return bp.circuit(
        "recurrent", cell="alif", inputs=37, units=11, outputs=3, input_gain=5.0, tau_out=20 * ms, delay=4, **more
    )


def noisy() -> bp.Circuit:
    """White noise, each neuron its own refractory time, a background."""
    cell = bp.Cell(
        equations="dv/dt = (I - v)/tau + 0.5*xi/tau**0.5 : 1",
        inputs=("I",),
        parameters={"tau": 20 * ms},
        spike="v > 1",
        reset="v = 0",
        surrogate=SURROGATE,
        method="euler",
        refractory=np.arange(1, 10) * ms,
    )
    driven = bp.Population(cell, 9, bias={"I": 0.3}, background={"I": bp.Poisson(rate=20 * Hz, n=10, weight=0.5)})
    others = bp.Population(bp.model("lif"), 5)
    return bp.Circuit(
        name="noisy",
        inputs=5,
        populations={"E": driven, "L": others},
        projections=(
            bp.Projection(name="W_in", source="input", target="E", gain=5.0),
            bp.Projection(name="W_EL", source="E", target="L", delay=3, gain=90.0),
            bp.Projection(name="W_LE", source="L", target="E", gain=2.0),
        ),
        readout=bp.Readout(size=2, tau=10 * ms),
    )


def jumping() -> bp.Circuit:
    """Conductances that jump, of which a spike takes a part, and refractoriness that ends by a condition on them."""
    cell = bp.Cell(
        equations="""dv/dt = (g - v)/(10*ms) : 1 (unless refractory)
        dg/dt = -g/(5*ms) : 1
        dw/dt = -w/(4*ms) : 1""",
        jumps=("g",),
        spike="v > 1",
        reset="v = 0.1*g; g *= 0.5; w += 1",
        surrogate=SURROGATE,
        refractory="w > 0.3 and g < 4",
    )
    return bp.circuit("recurrent", cell=cell, inputs=5, units=9, outputs=2, input_gain=6.0, delay=2)


def sparse() -> bp.Circuit:
    """One value a synapse: onto channels that jump and that do not, with delays, noise, a background, refractoriness of both kinds."""
    cell = bp.Cell(
        equations="""dv/dt = (g + I - v)/(10*ms) + 0.3*xi/(10*ms)**0.5 : 1 (unless refractory)
        dg/dt = -g/(5*ms) : 1""",
        inputs=("I",),
        jumps=("g",),
        spike="v > 1",
        reset="v = 0",
        surrogate=SURROGATE,
        method="euler",
        refractory=np.linspace(1, 5, 24).round() * ms,
    )
    driven = bp.Population(cell, 24, bias={"I": 0.2}, background={"g": bp.Poisson(rate=20 * Hz, n=10, weight=0.3)})
    some: dict[str, Any] = {"probability": 0.3, "sparse": True}
    return bp.Circuit(
        name="sparse",
        inputs=9,
        populations={"E": driven, "L": bp.Population(bp.model("alif"), 12)},
        projections=(
            bp.Projection(name="W_in", source="input", target="E", channels=("g",), gain=3.0, **some),
            bp.Projection(name="W_EE", source="E", target="E", channels=("I", "g"), delay=5, autapses=False, **some),
            bp.Projection(name="W_EL", source="E", target="L", delay=3, gain=60.0, **some),
            bp.Projection(name="W_LE", source="L", target="E", channels=("I",), gain=2.0, sign=-1, **some),
        ),
        readout=bp.Readout(size=2, tau=10 * ms),
    )


def sparse_rates() -> bp.Circuit:
    """Rates of before the first step are on their way in Brian2's neurons, not in its queues."""
    return bp.circuit("recurrent", cell="leaky_rate", inputs=37, units=20, outputs=3, delay=3, fan_in=2)


def rates() -> bp.Circuit:
    return bp.circuit("recurrent", cell="leaky_rate", inputs=37, units=11, outputs=3, tau_out=20 * ms, delay=3)


def sending() -> bp.Circuit:
    """What comes with spikes, and what is graded, beside the spikes, each with a delay of its own."""
    cell = bp.Cell(
        equations="""dv/dt = (g + I - v)/(10*ms) : 1 (unless refractory)
        dg/dt = -g/(5*ms) : 1
        dx/dt = (1 - x)/(80*ms) : 1
        dr/dt = 0/second : 1
        ds/dt = -s/(30*ms) : 1""",
        inputs=("I",),
        jumps=("g",),
        external=("g",),
        spike="v > 1",
        reset="v = 0; r = 0.4*x; x -= r; s += 0.3*(1 - s)",
        sends={"released": "spike*r", "gate": "s"},
        start={"x": 0.9, "s": 0.2},
        surrogate=SURROGATE,
        refractory=2 * ms,
    )
    return bp.Circuit(
        name="sending",
        inputs=5,
        populations={"E": bp.Population(cell, 9)},
        projections=(
            bp.Projection(name="W_in", source="input", target="E", gain=5.0),
            bp.Projection(name="W", source="E", target="E", sends="released", channels=("g", "I"), delay=4, gain=5.0),
            bp.Projection(name="W_gate", source="E", target="E", sends="gate", channels=("I",), delay=2),
            bp.Projection(name="W_spikes", source="E", target="E", channels=("g",), delay=3),
        ),
        readout=bp.Readout(size=2, tau=10 * ms),
    )


CIRCUITS = {
    "alif": alif,
    "noisy": noisy,
    "jumping": jumping,
    "sparse": sparse,
    "sending": sending,
    "rates": rates,
    "sparse rates": sparse_rates,
}
CASES = [
    (name, backend)
    for name in CIRCUITS
    for backend in ("torch", "numba")
    if (backend == "torch" or "rates" not in name)
]


def inputs(network: bp.Network, steps: int = STEPS, batch: int = 3) -> np.ndarray:
    return np.random.default_rng(5).random((steps, batch, network.circuit.inputs))


def everything(network: bp.Network) -> list[str]:
    found: list[str] = []
    for name, p in network.circuit.populations.items():
        found += [f"{name}.{each}" for each in (*p.cell.states, *p.cell.inputs, "spikes" if p.cell.spiking else "rate")]
    return found


def in_pieces(
    simulate: Any, network: bp.Network, x: np.ndarray, cuts: list[int], **asked: Any
) -> tuple[xr.Dataset, xr.Dataset]:
    """As one recording, and the state behind it."""
    state: Any = None
    parts: list[Any] = []
    for begin, end in zip([0, *cuts], [*cuts, len(x)], strict=True):
        part, state = simulate(network, x[begin:end], state=state, return_state=True, **asked)
        parts.append(part)
    whole: Any = xr.concat(parts, "time")
    return whole, state


def ten(seed: int, steps: int = STEPS) -> list[int]:
    return sorted(np.random.default_rng(seed).choice(np.arange(1, steps), 9, replace=False).tolist())


@pytest.mark.parametrize(
    "dtype", [torch.float64, pytest.param(torch.float32, marks=pytest.mark.slow)], ids=["float64", "float32"]
)
@pytest.mark.parametrize(("name", "backend"), CASES)
def test_ten_pieces_are_one_bit_for_bit(name, backend, dtype):
    network = CIRCUITS[name]().build(seed=2, dtype=dtype)
    x = inputs(network)
    given: dict[str, Any] = {"record": everything(network), "backend": backend}
    whole, end = bp.simulate(network, x, seed=7, return_state=True, **given)
    spikes = [float(v.sum()) for n, v in whole.items() if "spikes" in str(n)]
    assert all(total > 20 for total in spikes) and np.ptp(whole.output.values) > 0
    for cuts in (ten(0), ten(1), [1, 2, 3, 64, 65, 67, 128, 255, 330]):
        # the first seed goes on by itself
        first, state = bp.simulate(network, x[: cuts[0]], seed=7, return_state=True, **given)
        parts = [first]
        for a, b in zip(cuts, [*cuts[1:], STEPS], strict=True):
            part, state = bp.simulate(network, x[a:b], state=state, return_state=True, **given)
            parts.append(part)
        assert xr.concat(parts, "time").identical(whole)
        assert state.identical(end) and state.attrs["steps"] == STEPS and state.attrs["seed"] == 7


@pytest.mark.parametrize("name", [name for name, backend in CASES if backend == "numba"])
def test_loops_have_torchs_numbers(name):
    network = CIRCUITS[name]().build(seed=2, dtype=torch.float64)
    x, record = inputs(network), everything(network)
    torchs, loops = (bp.simulate(network, x, record, seed=7, backend=backend) for backend in ("torch", "numba"))
    for each in torchs:
        assert np.allclose(torchs[each], loops[each], rtol=1e-10, atol=1e-10), each


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_step_by_step_is_in_one_go(backend):
    network = alif().build(dtype=torch.float64)
    x = inputs(network, 70, 1)
    whole = bp.simulate(network, x, ("v", "spikes"), backend=backend)
    steps, state = in_pieces(bp.simulate, network, x, list(range(1, 70)), record=("v", "spikes"), backend=backend)
    assert steps.identical(whole) and float(whole.spikes.sum()) > 5
    assert float(steps.time[-1]) == 69.0 and steps.time.attrs["units"] == "ms"


def test_a_block_is_computed_alike_whatever_of_it_is_asked_for():
    """Matrix products round a row by how many there are."""
    x, W = torch.rand(200, 3, 37, dtype=torch.float64), torch.rand(11, 37, dtype=torch.float64)
    shapes = []

    def product(block):
        shapes.append(block.shape)
        return (block @ W.T, block.sum(-1))

    whole = Blocks(0, 64)(product, x)
    for a, b in ((0, 1), (1, 70), (63, 65), (64, 128), (130, 200)):
        for one, other in zip(Blocks(a, 64)(product, x[a:b]), whole, strict=True):
            assert torch.equal(one, other[a:b])
    assert set(shapes) == {(64, 3, 37)}
    assert torch.allclose(whole[0], x @ W.T, rtol=1e-13)


@pytest.mark.parametrize("length", [1, 7, 100])
def test_inputs_from_an_iterator(length):
    network = alif().build(dtype=torch.float64)
    x = inputs(network)
    given: dict[str, Any] = {"record": ("v", "spikes"), "backend": "torch"}
    streamed, state = bp.simulate(
        network, (x[a : a + length] for a in range(0, STEPS, length)), return_state=True, **given
    )
    whole, end = bp.simulate(network, x, return_state=True, **given)
    assert streamed.identical(whole.drop_vars("input")) and state.identical(end)
    more = bp.simulate(network, iter([x[:50]]), state=state, **given)
    assert more.time[0] == STEPS


# -- where it stands ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(CIRCUITS))
def test_a_state_is_saved_and_read(name, tmp_path):
    network = CIRCUITS[name]().build(dtype=torch.float64)
    x = inputs(network)
    _, state = bp.simulate(network, x[:101], return_state=True)
    state.to_netcdf(tmp_path / "state.nc")
    again = xr.load_dataset(tmp_path / "state.nc")
    one, other = (bp.simulate(network, x[101:], everything(network), state=each) for each in (state, again))
    assert one.identical(other)
    assert not one.drop_vars("time").identical(bp.simulate(network, x[101:], everything(network)).drop_vars("time"))


def test_one_state_for_many_samples_and_other_noise_from_here_on():
    circuit = noisy()
    network = circuit.build(seed=3, dtype=torch.float64)
    x = inputs(network, 60, 1)
    _, state = bp.simulate(circuit, x, seed=3, return_state=True)
    many = bp.simulate(circuit, np.repeat(x, 4, 1), "E.v", state=state.isel(batch=[0] * 4))
    assert many["E.v"].std("batch").min() > 0 and many.sizes["batch"] == 4
    # weights are those of the seed that goes on, and another seed is another future
    same, as_it_was, others = (
        bp.simulate(c, x, "E.v", state=state, seed=seed) for c, seed in ((circuit, None), (network, None), (network, 4))
    )
    assert same.identical(as_it_was) and not same["E.v"].equals(others["E.v"])


def test_a_state_can_be_written_to():
    network = alif().build(dtype=torch.float64)
    x = inputs(network)
    _, state = bp.simulate(network, x[:50], return_state=True)
    started = state.copy(deep=True)
    started["v"][:] = 100.0
    started["refractory steps"][:] = 0.0
    assert bool((bp.simulate(network, x[50:51], "spikes", state=started).spikes == 1).all())


def test_auto_goes_on_as_it_began():
    network = alif().build(dtype=torch.float64)
    x = inputs(network)
    _, state = bp.simulate(network, x[:100], backend="numba", return_state=True)
    _, end = bp.simulate(network, x[100:], state=state, return_state=True)
    assert end.attrs["backend"] == "numba"
    assert bp.simulate(network, x, backend="torch", return_state=True)[1].attrs["backend"] == "torch"


# -- what is recorded, and when -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "which"),
    [
        (3, [3]),
        ([0, 5], [0, 5]),
        (slice(2, 9, 3), [2, 5, 8]),
        (range(3), [0, 1, 2]),
        (-1, [10]),
        (np.arange(11) > 8, [9, 10]),
        (np.array([4, 1]), [4, 1]),
    ],
)
def test_units(units, which):
    network = alif().build(dtype=torch.float64)
    x = inputs(network)
    whole = bp.simulate(network, x, ("v", "spikes"))
    some = bp.simulate(network, x, {"v": units, "spikes": units})
    assert some.unit.values.tolist() == which and some.v.dims == ("time", "batch", "unit")
    assert some.v.equals(whole.v.isel(unit=which).assign_coords(unit=which))
    mixed = bp.simulate(network, x, {"v": units, "spikes": None})
    assert mixed.spikes.equals(whole.spikes) and mixed.v.dims[-1] == "unit_v" and mixed.unit_v.values.tolist() == which
    assert (mixed.v.values == whole.v.values[..., which]).all()


def test_names_of_populations():
    network = noisy().build(dtype=torch.float64)
    x = inputs(network)
    whole = bp.simulate(network, x, ("v", "spikes"))
    some = bp.simulate(network, x, {"E.v": [0, 8], "v": slice(2), "L.spikes": 4})
    assert set(some) == {"E.v", "L.v", "L.spikes", "input", "output"}
    assert (some["E.v"].values == whole["E.v"].values[..., [0, 8]]).all() and some["E.v"].dims[-1] == "unit_E"
    assert (some["L.v"].values == whole["L.v"].values[..., :2]).all() and some["L.v"].dims[-1] == "unit_L.v"
    assert (some["L.spikes"].values == whole["L.spikes"].values[..., [4]]).all() and float(whole["L.spikes"].sum()) > 20


def test_input_current_is_all_that_arrives_in_the_unit_of_the_channel():
    c = bp.circuit("recurrent", cell=bp.model("lif"), inputs=4, units=6, outputs=1, input_gain=8.0)
    network = c.build(dtype=torch.float64)
    x = inputs(network)
    seen = bp.simulate(network, x, ("I", "spikes"))
    W_in, W, said = network.weights["W_in"].numpy(), network.weights["W_rec"].numpy(), seen.spikes.values
    before = np.concatenate([np.zeros_like(said[:1]), said[:-1]])
    bias = network.weights["b"].numpy() if "b" in network.weights else 0.0
    assert np.allclose(seen.I.values, x @ W_in.T + before @ W.T + bias, rtol=1e-12, atol=1e-12) and said.sum() > 20


def test_an_input_current_has_a_unit():
    cell = bp.Cell(
        equations="dv/dt = (I*10*Mohm - v)/(20*ms) : volt",
        inputs={"I": 2 * bp.nA},
        spike="v > 15*mV",
        reset="v = 0*mV",
        surrogate=bp.triangular(dampening=0.3, width="15*mV"),
    )
    network = bp.circuit("recurrent", cell=cell, inputs=4, units=6, outputs=1, input_gain=4.0).build(
        dtype=torch.float64
    )
    x = inputs(network)
    ours, theirs = (simulate(network, x, ("I", "spikes")) for simulate in (bp.simulate, bp.brian.simulate))
    assert ours.I.attrs["units"] == theirs.I.attrs["units"] == "amp" and ours.spikes.sum() > 10
    assert 1e-10 < float(abs(ours.I).max()) < 1e-7 and np.allclose(ours.I, theirs.I, rtol=1e-12, atol=1e-21)


@pytest.mark.parametrize("simulate", [bp.simulate, bp.brian.simulate], ids=["ours", "brian2"])
def test_every_tenth_step_and_the_spikes_of_ten(simulate):
    network = alif().build(dtype=torch.float64)
    x = inputs(network)
    asked: dict[str, Any] = {"record": {"v": [0, 2], "spikes": None, "I": 1}}
    each, tenth = simulate(network, x, **asked), simulate(network, x, every=10, **asked)
    assert tenth.time.values.tolist() == [10.0 * k + 9 for k in range(33)] and tenth.attrs["every"] == 10
    for name in ("v", "I", "input", "output"):
        assert (tenth[name].values == each[name].values[9::10]).all()
    counts = each.spikes.values[:330].reshape(33, 10, 3, 11).sum(1)
    assert (
        (tenth.spikes.values == counts).all() and counts.max() > 1 and tenth.spikes.attrs["units"] == "1 per 10 steps"
    )
    # cut between two recorded steps: no spike is lost
    cuts = [3, 9, 10, 11, 24, 30, 37, 101, 200]
    parts, state = in_pieces(simulate, network, x, cuts, every=10, **asked)
    assert (parts.spikes.values == counts).all() and parts.time.equals(tenth.time)
    assert (state["spikes so far"].values == each.spikes.values[330:].sum(0)).all()


def test_targets_at_recorded_steps():
    network = alif().build(dtype=torch.float64)
    x = inputs(network)
    target, weight = np.random.default_rng(1).random((STEPS, 3, 3)), np.random.default_rng(2).random((STEPS, 3))
    found = bp.simulate(network, x, (), every=7, targets=target, weight=weight)
    assert (found.target.values == target[6::7]).all() and (found.weight.values == weight[6::7]).all()
    assert list(found) == ["input", "output", "target", "weight"]


def test_trainers_record_so_too():
    task = bp.task("sine_wave")
    trainer = bp.Trainer(
        bp.circuit("recurrent", cell="alif", inputs=task.inputs, units=8, outputs=task.outputs),
        task,
        "eprop",
        bp.Training(batch=2),
    )
    whole, some = trainer.record(("v", "spikes")), trainer.record({"v": [1]}, every=5)
    assert (some.v.values == whole.v.values[4::5][..., [1]]).all() and some.target.sizes["time"] == some.sizes["time"]


# -- Brian2 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ("alif", "jumping") else pytest.mark.slow) for name in CIRCUITS]
)
def test_brian_goes_on_too_and_from_our_state(name):
    network = CIRCUITS[name]().build(seed=2, dtype=torch.float64)
    x = inputs(network, 120)
    record = everything(network)
    whole, end = bp.simulate(network, x, record, return_state=True)
    theirs, behind = in_pieces(bp.brian.simulate, network, x, [1, 2, 40, 77], record=record)
    _, half = bp.simulate(network, x[:60], return_state=True)
    mixed = bp.brian.simulate(network, x[60:], record, state=half)
    for found, wanted in ((theirs, whole), (mixed, whole.isel(time=slice(60, None))), (behind, end)):
        assert set(found) == set(wanted) and ("time" not in wanted.dims or found.time.equals(wanted.time))
        for each in wanted:
            assert np.allclose(found[each], wanted[each], rtol=1e-10, atol=1e-10), each
    assert all(float(v.sum()) > 5 for n, v in whole.items() if "spikes" in str(n))


# -- mistakes -----------------------------------------------------------------------------------------------------------


def mistakes() -> dict[str, tuple[Any, str]]:
    network = alif().build(dtype=torch.float64)
    x = inputs(network)
    recording, state = bp.simulate(network, x[:33], return_state=True)
    other = bp.circuit("recurrent", cell="lif", inputs=37, units=11, outputs=3).build(dtype=torch.float64)
    smaller = bp.circuit("recurrent", cell="alif", inputs=37, units=7, outputs=3, tau_out=20 * ms, delay=4).build()
    finer = bp.circuit(
        "recurrent", cell="alif", inputs=37, units=11, outputs=3, tau_out=20 * ms, delay=4, dt=0.5 * ms
    ).build()
    sooner = bp.circuit("recurrent", cell="alif", inputs=37, units=11, outputs=3, tau_out=20 * ms, delay=2).build()
    broken = state.copy(deep=True)
    broken["v"][0, 0] = np.nan
    no_step = state.assign_attrs(steps="many")

    def run(net: Any = network, given: Any = x, **more: Any) -> Any:
        return lambda simulate: simulate(net, given, **more)

    return {
        "the recording": (
            run(state=recording),
            "state is a recording, from which nothing can go on: it must be what bp.simulate",
        ),
        "both": (run(state=(recording, state)), r"state is both .*recording, state = bp.simulate"),
        "a number": (run(state=3), "state is 3; it must be what bp.simulate"),
        "true": (run(state=True), "state is True"),
        "another cell": (
            run(other, state=state),
            "does not fit the circuit 'recurrent'.*has a, filtered output, which the circuit has not",
        ),
        "lacks": (run(state=state.drop_vars("a")), "it lacks a. Go on with"),
        "other sizes": (
            run(smaller, state=state),
            "'v' of the state has batch 3, unit 11; this circuit's has batch 3, unit 7",
        ),
        "other delays": (
            run(sooner, state=state),
            "'last outputs' of the state has age 4, batch 3, unit 11; this circuit's has age 2",
        ),
        "another dt": (run(finer, state=state), "whose step is 1 ms, and this one's is 0.5 ms"),
        "samples": (run(given=x[:, :1], state=state), r"has 3 samples, and the inputs have 1.*isel\(batch=\[0\]\*1\)"),
        "nan": (run(state=broken), "'v' of the state holds what is not a finite number"),
        "no step": (run(state=no_step), "'steps' of the state is 'many'"),
        "return_state": (run(return_state="yes"), "return_state is 'yes'; it must be True or False"),
        "every 0": (run(every=0), "every is 0; it must be a whole number from 1"),
        "every in ms": (run(every=10 * ms), "every is 10. ms; it must be a whole number"),
        "every too long": (
            run(every=1000),
            "every=1000 records the last of so many steps, and steps 1 to 331 have none",
        ),
        "between": (
            run(state=state, every=10, record="spikes"),
            "behind 33 steps, 3 of them since every=10 last recorded, and spikes of those were not counted",
        ),
        "seed": (run(seed=-1), "seed is -1"),
    }


@pytest.mark.parametrize("simulate", [bp.simulate, bp.brian.simulate], ids=["ours", "brian2"])
@pytest.mark.parametrize("which", list(mistakes()))
def test_mistakes(which, simulate):
    call, words = mistakes()[which]
    with pytest.raises(CircuitError, match=words) as told:
        call(simulate)
    assert "\n" not in str(told.value)


def test_mistakes_with_iterators():
    network = alif().build(dtype=torch.float64)
    x = inputs(network)
    used = iter([x])
    list(used)
    given: list[tuple[Any, dict[str, Any], str]] = [
        (used, {}, "an iterator that gives nothing"),
        (iter([x, x[:, :2]]), {}, "has 2 samples, and the first had 3"),
        (iter([x, x[..., :5]]), {}, r"shape \(331, 3, 5\)"),
        (iter([x]), {"targets": x}, "targets can't go beside inputs that come from an iterator"),
        (iter([x]), {"every": 500}, "steps 1 to 331 have none"),
    ]
    for pieces, more, words in given:
        with pytest.raises(CircuitError, match=words):
            bp.simulate(network, pieces, backend="torch", **more)
    with pytest.raises(CircuitError, match="array"):
        bp.brian.simulate(network, iter([x]))


# -- memory -------------------------------------------------------------------------------------------------------------

MEASURE = """
import ast, resource, sys
import numpy as np
import bioplaus as bp

backend, steps, record, every = sys.argv[1], int(sys.argv[2]), ast.literal_eval(sys.argv[3]), int(sys.argv[4])
net = bp.circuit("recurrent", cell="alif", inputs=5, units=100, outputs=2, tau_out=20 * bp.ms, input_gain=9.0).build()
rng = np.random.default_rng(0)
stream = lambda steps: (rng.random((1000, 1, 5)) for _ in range(steps // 1000))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20 * (1 if sys.platform == "darwin" else 2**10)
bp.simulate(net, stream(2000), record, every=every, backend=backend)
x = stream(steps) if every > 1 else rng.random((steps, 1, 5), dtype=np.float32)
before = peak()
found = bp.simulate(net, x, record, every=every, backend=backend)
recorded = sum(v.nbytes for v in found.variables.values()) / 2**20
assert found.sizes["time"] == steps // every
print(peak() - before - recorded)
"""


def beyond(backend: str, steps: int, record: str, every: int = 1) -> float:
    """MB beyond what is recorded, in a fresh process."""
    command = [sys.executable, "-c", MEASURE, backend, str(steps), record, str(every)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize(("backend", "steps"), [("torch", 5_000), ("numba", 100_000)])
@pytest.mark.parametrize(
    ("record", "every"),
    [
        ("'spikes'", 1),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (("('v', 'I')", 1), ("{'v': [0, 1], 'spikes': None}", 100))
        ),
    ],
)
def test_no_more_memory_than_what_is_recorded(backend, steps, record, every):
    assert beyond(backend, steps, record, every) < 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("record", "every"), [("'spikes'", 1), ("{'v': [0, 1]}", 1), ("{'v': None, 'spikes': None}", 1000)]
)
def test_a_million_steps(record, every):
    assert beyond("numba", 1_000_000, record, every) < 20
