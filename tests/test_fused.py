"""Fused loops: the torch path's numbers for every spiking cell, circuit, rule and schedule; and machine code that is what it should be."""

from __future__ import annotations

import importlib
import importlib.util
import json
import multiprocessing
import py_compile
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from brian2 import Hz, ms

import bioplaus as bp
from bioplaus import content
from bioplaus.circuit.backend import NEURONS, STEPS, choice
from bioplaus.circuit.trajectory import roll
from bioplaus.codegen import compiled, forward_source, reverse_source, threads, traces_source
from bioplaus.eligibility import fused_traces
from bioplaus.eligibility.eprop import EProp
from bioplaus.errors import CircuitError, NumericalError
from bioplaus.learning.pace import STRETCH
from bioplaus.learning.sequence import sequence
from bioplaus.rules import TABLE
from bioplaus.signal import Instant
from bioplaus.tasks import squared

SPIKING = [name for name in sorted(content.names("model")) if bp.model(name).spiking]
#: those that are tried under every rule, in both schedules; the others' loops are compiled for a trajectory alone, and slow
QUICK = ("alif", "delta_lif")
SPREAD = 1 + 0.2 * torch.linspace(-1, 1, 12, dtype=torch.float64).numpy()
#: how each is driven, where that is not as all are: constant input onto what jumps is much, and 1 ms too long
DRIVE: dict[str, dict[str, Any]] = {
    "hodgkin_huxley": dict(dt=0.05 * ms, input_gain=0.1, gain=0.05),
    "wang_buzsaki": dict(dt=0.05 * ms, input_gain=10.0, gain=0.05),
    "coba": dict(input_gain=1.0, init="gamma"),
}
#: for how many steps each is followed, until it has fired
STEPS_OF = {"izhikevich": 150, "hodgkin_huxley": 400, "wang_buzsaki": 400}
#: in which an upstroke amplifies a last bit
STEEP = {"hodgkin_huxley", "wang_buzsaki", "izhikevich"}


def one(name: str, tau: Any = 20 * ms, dtype: torch.dtype = torch.float64, **options: Any) -> bp.Network:
    given = dict(inputs=4, units=12, outputs=2, input_gain=8.0, tau_out=tau) | DRIVE.get(name, {}) | options
    return bp.circuit("recurrent", cell=bp.model(name), **given).build(seed=1, dtype=dtype)


def several(tau: Any = 20 * ms) -> bp.Network:
    """Two populations, delays, a channel of several, values per neuron, noise, a background, masks, signs, a frozen projection, a bias."""
    E = bp.Population(bp.model("alif", tau_m=20 * SPREAD * ms, refractory=2 * ms), 12, {})
    I = bp.Population(
        bp.model("noisy_lif", sigma=0.2, threshold=0.5 * SPREAD[:5], hard_reset=True),
        5,
        background={"I": bp.Poisson(rate=100 * Hz, n=3, weight=0.5)},
    )
    coba = bp.Population(bp.model("delta_lif", refractory=np.array([1, 2, 3]) * ms), 3)
    make = bp.Projection
    return bp.Circuit(
        populations={"E": E, "I": I, "D": coba},
        projections=(
            make(name="W_E", source="input", target="E", gain=8.0),
            make(name="W_D", source="input", target="D", gain=2.0),
            make(name="EE", source="E", target="E", delay=2 * ms, fan_in=5, autapses=False, sign=1),
            make(name="IE", source="E", target="I", delay=1, gain=3.0),
            make(name="EI", source="I", target="E", delay=4, sign=-1, learned=False),
            make(name="DI", source="I", target="D", channels=("I", "v")),
            make(name="ED", source="D", target="E", delay=1),
        ),
        inputs=4,
        readout=bp.Readout(size=2, tau=tau, sources=("I", "E")),
        dt=1 * ms,
    ).build(seed=1, dtype=torch.float64)


def inputs(network: bp.Network, steps: int = 60, batch: int = 3) -> torch.Tensor:
    x = torch.rand(steps, batch, 4, generator=bp.stream(0, "x"), dtype=torch.float64) * 2
    return network.draw(x.to(network.dtype), 0)


def batch(network: bp.Network, steps: int = 60) -> bp.Batch:
    x = inputs(network, steps)[..., :4]
    y = torch.randn(steps, 3, 2, generator=bp.stream(0, "y"), dtype=torch.float64).to(x)
    return bp.Batch(x, y, (torch.rand(steps, 3, generator=bp.stream(0, "w")) < 0.7).to(x))


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-12) -> None:
    """Elementwise, relative to the largest entry."""
    assert a.shape == b.shape
    assert float((a - b).abs().max()) <= tolerance * max(float(b.abs().max()), 1e-300)


def flat(e: Any) -> list[Any]:
    return [x for inner in e for x in flat(inner)] if isinstance(e, tuple) else [e]


def same(network: bp.Network, x: torch.Tensor, tolerance: float = 1e-12) -> None:
    """A trajectory two ways, in two pieces, all that is kept of it, and what stands behind it."""
    for states in (True, False):
        before, spoken = [network.start(x.shape[1])] * 2, [0.0] * len(network.populations)
        for piece in (x[:37], x[37:]):
            (ours, after), (theirs, behind) = (
                roll(network, state, piece, states, backend)
                for state, backend in zip(before, ("numba", "torch"), strict=True)
            )
            before = [after, behind]
            close(ours.seen(), theirs.seen(), tolerance)
            for p, wiring in enumerate(network.populations):
                assert torch.equal(ours.spikes(p), theirs.spikes(p))
                for i, _ in enumerate(wiring.start):
                    close(ours.get(p, "u", i), theirs.get(p, "u", i), tolerance)
                    close(after.populations[p].s[i], behind.populations[p].s[i], tolerance)
                    for kind in ("s", "after") if states else ():
                        close(ours.get(p, kind, i), theirs.get(p, kind, i), tolerance)
                for age in range(wiring.ages):
                    assert torch.equal(ours.outputs(p, age), theirs.outputs(p, age))
                    assert torch.equal(after.populations[p].y[age], behind.populations[p].y[age])
                if wiring.refracts:
                    assert torch.equal(ours.get(p, "active", 0), theirs.get(p, "active", 0))
                    close(after.populations[p].wait, behind.populations[p].wait, tolerance)  # type: ignore[arg-type]
                if states:
                    for k in range(wiring.taken):
                        close(ours.get(p, "I", k), theirs.get(p, "I", k), tolerance)
                    step, other = ours.steps[5], theirs.steps[5]
                    assert torch.equal(step.after.populations[p].y[0], other.after.populations[p].y[0])
                    close(step.I[p], other.I[p], tolerance)
                    close(ours.part(slice(3, 9)).get(p, "u", 0), theirs.part(slice(3, 9)).get(p, "u", 0), tolerance)
                parts = zip(flat(ours.partials()[p]), flat(theirs.partials()[p]), strict=True)
                for mine, other in parts:
                    assert isinstance(mine, torch.Tensor) == isinstance(other, torch.Tensor)
                    if isinstance(other, torch.Tensor):
                        close(mine.expand_as(ours.spikes(p)), other.expand_as(ours.spikes(p)), max(tolerance, 1e-11))
                    else:
                        assert mine == other
                spoken[p] += float(theirs.spikes(p).sum()) / (x.shape[0] * x.shape[1] * wiring.size)
        assert all(1e-3 < each < 0.7 for each in spoken), "alive"
    said, _ = roll(network, network.start(x.shape[1]), x, False, "numba", u=False)
    close(said.seen(), roll(network, network.start(x.shape[1]), x)[0].seen(), tolerance)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in SPIKING])
def test_a_trajectory_is_torchs(name):
    network = one(name)
    same(network, inputs(network, STEPS_OF.get(name, 60)), 1e-9 if name in STEEP else 1e-12)


def test_a_circuit_of_all_that_there_is_runs_as_in_torch():
    network = several()
    same(network, inputs(network))


@pytest.mark.parametrize(
    "rule", [*TABLE, "eprop online", "mdgl online", "rflo online", "three_factor window", "eprop random", "tbptt 20"]
)
def test_every_rule_has_torchs_gradient(rule):
    """On the circuit of all that there is, or on a plain one where the rule serves that alone; dead weights would show nothing."""
    word, _, how = rule.partition(" ")
    options: dict[str, Any] = (
        {"schedule": how} if how in ("online", "window") else {"feedback": how} if how == "random" else {}
    )
    options |= {"steps": int(how)} if how.isdigit() else {}
    made = bp.rule(word, **options)
    for network in (several(), one("alif", delay=1, cerebellum="linear"), one("alif", tau=None, cerebellum="linear")):
        try:
            made.refuse(network)
        except bp.errors.RuleError:
            continue
        b = batch(network, 12 if word in ("uoro", "kf_rtrl", "r_kf_rtrl", "rtrl", "hops") else 60)
        ours, theirs = (bp.gradient(network, made, b, backend=backend) for backend in ("numba", "torch"))
        assert ours.keys() == theirs.keys()
        for name, g in theirs.items():
            close(ours[name], g, 1e-11)
        assert sum(bool(g.any()) for g in theirs.values()) > 3
        if word not in ("bptt", "rtrl") and not made.past.random and how != "random":
            assert not torch.allclose(theirs["W_out"], torch.zeros(()).double())
        return
    pytest.fail("served by none")


@pytest.mark.parametrize("schedule", ["window", "online"])
@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n == "delta_lif" else pytest.mark.slow) for n in SPIKING])
def test_eprop_has_torchs_gradient_on_every_cell(name, schedule):
    network = one(name)
    b = batch(network, STEPS_OF.get(name, 60))
    ours, theirs = (
        bp.gradient(network, bp.rule("eprop", schedule=schedule), b, backend=each) for each in ("numba", "torch")
    )
    for key, g in theirs.items():
        close(ours[key], g, 1e-9 if name in STEEP else 1e-11)
        assert bool(g.any()), f"{key} has a gradient"


@pytest.mark.parametrize(
    ("schedule", "apply"),
    [
        ("window", "sequence"),
        ("online", "sequence"),
        pytest.param("window", "window", marks=pytest.mark.slow),
        pytest.param("online", "window", marks=pytest.mark.slow),
    ],
)
def test_training_is_torchs(apply, schedule):
    """Also where weights move at every step."""
    task = bp.task("flip_flop", steps=20)
    circuit = bp.circuit(
        "recurrent", cell="alif", inputs=task.inputs, units=12, outputs=task.outputs, input_gain=8.0, tau_out=20 * ms
    )

    def trained(backend: str) -> tuple[list[dict[str, float]], bp.Trainer]:
        training = bp.Training(
            updates=4,
            batch=3,
            lr=1e-2,
            dtype="float64",
            apply=apply,
            backend=backend,
            rate_strength=0.1 * (apply == "sequence"),
        )
        trainer = bp.Trainer(circuit, task, bp.rule("eprop", schedule=schedule), training, seed=3)
        return [trainer.update() | trainer.evaluate() for _ in range(4)], trainer

    (ours, mine), (theirs, other) = trained("numba"), trained("torch")
    assert mine.backend == "numba" and other.backend == "torch" and theirs[0]["rate"] > 1
    for a, b in zip(ours, theirs, strict=True):
        for key in ("loss", "score", "rate", "test_loss"):
            assert a[key] == pytest.approx(b[key], rel=1e-9), key
    for key, w in other.network.weights.items():
        close(mine.network.weights[key], w, 1e-9)


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("three_factor", "all"),
        ("mdgl", "alif"),
        ("rflo", "alif"),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (("eprop", "all"), ("eprop", "adex"), ("mdgl", "coba"), ("eprop", "qif"))
        ),
    ],
)
def test_weights_that_move_at_every_step_move_as_in_torch(rule, name):
    """Steps are taken in one place then, and nothing of one may be left for the next."""
    made = bp.rule(rule, schedule="online", **({"feedback": "random"} if rule in ("eprop", "rflo") else {}))
    moved = []
    for backend in ("numba", "torch"):
        network = several() if name == "all" else one(name)
        made.refuse(network)
        data, began = batch(network, 40), {key: w.clone() for key, w in network.weights.items()}

        def apply(gradients: Any, own: Any, network: bp.Network = network) -> None:
            for key, g in gradients.items():
                network.weights[key] -= 0.02 * g

        own = made.begin(network, data, 0)
        data = bp.Batch(network.draw(data.inputs, 0), data.targets, data.weight)
        outcome = sequence(network, made, own, data, squared, apply=apply, backend=backend)
        moved.append((network, outcome))
        assert sum(not torch.equal(network.weights[key], w) for key, w in began.items()) > 3
    (ours, mine), (theirs, other) = moved
    close(mine.outputs, other.outputs, 1e-11)
    for key, w in theirs.weights.items():
        close(ours.weights[key], w, 1e-11)
    for a, b in zip(mine.state.populations, other.state.populations, strict=True):
        assert torch.equal(a.y[0], b.y[0])
    close(mine.last.get(0, "u", 0), other.last.get(0, "u", 0), 1e-11)


def test_sparse_weights_that_move_at_every_step_move_as_in_torch():
    """Each value finds its synapse again, in the order of sources and back."""
    moved = []
    for backend in ("numba", "torch"):
        make = bp.Projection
        network = bp.Circuit(
            populations={"E": bp.Population(bp.model("alif"), 40)},
            projections=(
                make(name="W_in", source="input", target="E", gain=8.0, probability=0.5, sparse=True),
                make(name="W_rec", source="E", target="E", fan_in=4, gain=3.0, sparse=True),
            ),
            inputs=4,
            readout=bp.Readout(size=2, tau=20 * ms),
            dt=1 * ms,
        ).build(seed=1, dtype=torch.float64)
        assert set(network.synapses) == {"W_in", "W_rec"}
        data, began = batch(network, 40), {key: w.clone() for key, w in network.weights.items()}

        def apply(gradients: Any, own: Any, network: bp.Network = network) -> None:
            for key, g in gradients.items():
                network.weights[key] -= 0.02 * g

        rule = bp.rule("eprop", schedule="online")
        outcome = sequence(network, rule, rule.begin(network, data, 0), data, squared, apply=apply, backend=backend)
        assert all(not torch.equal(network.weights[key], began[key]) for key in ("W_in", "W_rec", "W_out"))
        moved.append((network.weights, outcome))
    (ours, mine), (theirs, other) = moved
    assert mine.rates == pytest.approx(other.rates, rel=1e-12) and mine.rates["E"] > 0.005
    close(mine.outputs, other.outputs, 1e-11)
    for key, w in theirs.items():
        close(ours[key], w, 1e-11)


def test_a_readout_or_a_membrane_that_breaks_where_weights_move_is_told_of_as_by_torch():
    """What breaks is not a weight here: it is the sum that overflows."""
    for paths in (("W_out", "b_out"), ("W_in",)):
        said = []
        for backend in ("numba", "torch"):
            network, rule = one("alif"), bp.rule("eprop", schedule="online", feedback="random")
            for path in paths:
                network.weights[path].fill_(1.7e308)
            data = batch(network, 40)
            own = rule.begin(network, data, 0)
            with pytest.raises(NumericalError) as told:
                sequence(network, rule, own, data, squared, apply=lambda gradients, own: None, backend=backend)
            said.append(str(told.value))
        assert said[0] == said[1], said


@pytest.mark.slow
def test_float32_on_a_grid_is_torchs():
    """Weights of few digits, so that sums are the same in any order and no spike is flipped by rounding; one trajectory for both."""
    network = one("lif", dtype=torch.float32)
    with torch.no_grad():
        for w in network.weights.values():
            w.copy_((w * 256).round() / 256)
    x = (inputs(network, 2000, 4) > 1.9).float() * 2
    (ours, _), (theirs, _) = (roll(network, network.start(4), x, True, backend) for backend in ("numba", "torch"))
    assert torch.equal(ours.spikes(0), theirs.spikes(0)) and 0.005 < float(theirs.spikes(0).mean()) < 0.3
    close(ours.get(0, "u", 0), theirs.get(0, "u", 0), 1e-5)
    b = bp.Batch(x, torch.randn(2000, 4, 2, generator=bp.stream(0, "y")), torch.ones(2000, 4))
    for schedule in ("window", "online"):
        found = [
            bp.gradient(network, bp.rule("eprop", schedule=schedule), b, backend=each) for each in ("numba", "torch")
        ]
        for key, g in found[1].items():
            close(found[0][key], g, 1e-5)


BROKEN = {
    "a delay": (forward_source, "time0_ + {groups[q].ages - 1 - age}", "time0_ + {max(groups[q].ages - 2 - age, 0)}"),
    "a refractory step": (
        forward_source,
        "wait0_ = max(wait0_ - {one}, {zero})",
        "wait0_ = max(wait0_ - {one} - {one}, {zero})",
    ),
    "a synapse": (forward_source, "left0_ = count0_ - event0_", "left0_ = count0_ - event0_ - (count0_ > 1)"),
    "the order of a sweep": (reverse_source, "time0_ = steps0_ - 1 - back0_", "time0_ = back0_"),
    "what decayed, when something comes": (
        traces_source,
        'f"b0_ = bar_row0_[{at0}]" + ("*leftbar0_" if puts_off else "")',
        'f"b0_ = bar_row0_[{at0}]"',
    ),
    "what decayed while nothing came": (traces_source, "leftbar0_ *= kappa0_", "leftbar0_ *= 1"),
}


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(n, marks=pytest.mark.slow) if n in ("a delay", "a refractory step", "a synapse") else n
        for n in BROKEN
    ],
)
def test_a_loop_that_is_broken_is_seen(what, monkeypatch, request):
    """By the comparisons above: with one line of the text changed they fail."""
    import inspect

    module, right, wrong = BROKEN[what]
    source = inspect.getsource(module)
    assert source.count(right) == 1
    space = dict(vars(module))
    exec(compile(source.replace(right, wrong), str(module.__file__), "exec"), space)
    # traces that are put off are those of cells whose time constants are the same for all neurons
    network = one("alif") if module is traces_source else several()
    where = {forward_source: ("circuit.fused", "forward"), reverse_source: ("circuit.fused_sweep", "reverse")}
    home, name = where.get(module, ("eligibility.fused_traces", "traces"))
    monkeypatch.setattr(importlib.import_module(f"bioplaus.{home}"), name, space[name])
    request.addfinalizer(fused_traces._written.cache_clear)
    fused_traces._written.cache_clear()
    with pytest.raises(AssertionError):
        if module is forward_source:
            same(network, inputs(network))
        rule = bp.rule("eprop", schedule="window" if module is reverse_source else "online")
        ours, theirs = (bp.gradient(network, rule, batch(network), backend=each) for each in ("numba", "torch"))
        for key, g in theirs.items():
            close(ours[key], g, 1e-11)


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_a_window_of_several_stretches_ends_with_its_last_step(backend):
    """Stretches of a long window are reduced to what derivatives need; the last step stays whole."""
    network, data = one("alif"), batch(one("alif"), STRETCH + 30)
    found = sequence(network, bp.rule("eprop", schedule="window"), {}, data, squared, backend=backend)
    whole, state = roll(network, network.start(3), data.inputs)
    close(found.last.get(0, "u", 0), whole.get(0, "u", 0)[-1:])
    close(found.state.populations[0].s[0], state.populations[0].s[0])
    assert torch.equal(found.last.spikes(0), whole.spikes(0)[-1:])


class Flat(EProp):
    """A relative that makes new partials at every step."""

    def partials(self, tangent: Any) -> Any:
        return tuple(p._replace(psi=tuple(a if a is None else a * 0.5 for a in p.psi)) for p in tangent.partials)


def test_a_relative_of_eprop_is_followed_where_weights_move():
    made, found = bp.Rule(Flat(), Instant(), bp.Online(), "flat"), []
    for backend in ("numba", "torch"):
        network, steps = one("alif"), []
        sequence(
            network, made, {}, batch(network, 20), squared, apply=lambda g, own, s=steps: s.append(g), backend=backend
        )
        found.append(steps)
    assert sum(bool(g["W_rec"].any()) for g in found[1]) > 5
    for ours, theirs in zip(*found, strict=True):
        for name, g in theirs.items():
            close(ours[name], g, 1e-11)


@pytest.mark.parametrize("apply", [None, lambda gradients, own: None])
@pytest.mark.parametrize("schedule", ["window", "online"])
def test_a_weight_that_is_no_number_is_told_of_as_by_torch(schedule, apply):
    """Also where it is that of a neuron that never speaks, whose row no loop reads."""
    said = []
    for backend in ("numba", "torch"):
        network = one("alif")
        silent = int(bp.simulate(network, inputs(network)).spikes.sum(("time", "batch")).values.argmin())
        network.weights["W_rec"][3, silent] = torch.nan
        with pytest.raises(NumericalError) as told:
            sequence(
                network, bp.rule("eprop", schedule=schedule), {}, batch(network), squared, apply=apply, backend=backend
            )
        said.append(str(told.value))
    assert said[0] == said[1] and "step 0" in said[0]


def test_a_forked_process_has_threads_of_its_own(monkeypatch):
    monkeypatch.setattr(threads, "GRAIN", 100)
    monkeypatch.setattr(threads, "processors", lambda: 2)
    network = one("alif")
    go = lambda: bp.simulate(network, inputs(network), backend="numba", threads=2)  # noqa: E731
    go()
    go()
    child = multiprocessing.get_context("fork").Process(target=go)
    child.start()
    child.join(60)
    alive = child.is_alive()
    child.kill()
    assert not alive and child.exitcode == 0


# -- machine code ----------------------------------------------------------------------------------------------------------

TEXT = "import numba as nb0_\n\n\n@nb0_.njit(cache=True)\ndef f(a):\n    return a[0] + {}\n"


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    monkeypatch.setenv(compiled.PLACE, str(tmp_path / "loops"))
    compiled.function.cache_clear()
    yield tmp_path / "loops"
    compiled.function.cache_clear()


def run(text: str) -> float:
    return float(compiled.function(text, "f", "float64")(np.ones(1)))


def test_what_was_compiled_is_kept_and_found(shelf, capsys):
    assert run(TEXT.format(1)) == 2.0
    (folder,) = shelf.glob("loops_*")
    assert json.loads((folder / compiled.SEAL).read_text()) and not folder.stat().st_mode & 0o077
    stamps = {p: p.stat().st_mtime_ns for p in folder.rglob("*.nb*")}
    compiled.function.cache_clear()
    assert run(TEXT.format(1)) == 2.0 and {p: p.stat().st_mtime_ns for p in folder.rglob("*.nb*")} == stamps
    assert run(TEXT.format(2)) == 3.0 and len(list(shelf.glob("loops_*"))) == 2


@pytest.mark.parametrize("what", ["text", "code", "seal", "nothing"])
def test_what_is_not_as_it_was_compiled_is_never_run(shelf, what):
    """Another text that stands in its place, machine code of another, a seal that is gone."""
    assert run(TEXT.format(1)) == 2.0 and run(TEXT.format(2)) == 3.0
    one, two = (shelf / compiled.name_of(f"# float64\n{TEXT.format(n)}") for n in (1, 2))
    if what == "text":
        (one / f"{one.name}.py").write_text(f"# float64\n{TEXT.format(100)}")
    elif what == "code":
        mine, other = (sorted(each.rglob("*.nbc"))[0] for each in (one, two))
        mine.write_bytes(other.read_bytes())
    elif what == "seal":
        (one / compiled.SEAL).unlink()
    compiled.function.cache_clear()
    assert compiled.sound(one, one.name, f"# float64\n{TEXT.format(1)}") == (what == "nothing")
    assert run(TEXT.format(1)) == 2.0
    compiled.function.cache_clear()
    assert compiled.sound(one, one.name, f"# float64\n{TEXT.format(1)}") and run(TEXT.format(1)) == 2.0


def test_where_nothing_can_be_written_it_is_compiled_all_the_same(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(compiled.PLACE, str(tmp_path / "file" / "loops"))
    compiled.function.cache_clear()
    assert run(TEXT.format(7)) == 8.0
    compiled.function.cache_clear()


def _racing(shelf: str, queue: Any) -> None:
    import os

    os.environ[compiled.PLACE] = shelf
    queue.put(run(TEXT.format(3)))


@pytest.mark.slow
def test_two_processes_may_compile_the_same_at_once(shelf):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_racing, args=(str(shelf), queue)) for _ in range(2)]
    for process in processes:
        process.start()
    assert [queue.get(timeout=120) for _ in processes] == [4.0, 4.0]
    for process in processes:
        process.join()
    (folder,) = shelf.glob("loops_*")
    assert compiled.sound(folder, folder.name, f"# float64\n{TEXT.format(3)}") and not list(shelf.glob(".loops_*"))


# -- which is taken --------------------------------------------------------------------------------------------------------


def test_the_choice_follows_from_what_is_asked_alone():
    spiking = one("lif")
    rates = bp.circuit("recurrent", cell="leaky_rate", inputs=4, units=12, outputs=2).build()
    assert choice("auto", spiking, STEPS, 1).name == "numba" and choice("auto", spiking, STEPS - 1, 1).name == "torch"
    assert choice("auto", spiking, 10, NEURONS // 120 + 1).name == "numba"
    assert (
        choice("torch", spiking, STEPS, 1) == ("torch", "asked for") and choice("numba", spiking, 1, 1).name == "numba"
    )
    assert "less work than compiling" in choice("auto", spiking, 1, 1).because
    assert choice("auto", rates, STEPS, 1).name == "torch" and "rates" in choice("auto", rates, STEPS, 1).because
    with pytest.raises(
        CircuitError, match="backend='numba' can't serve this circuit: the neurons of cortex have rates"
    ):
        bp.simulate(rates, np.zeros((5, 1, 4)), backend="numba")
    with pytest.raises(CircuitError, match="There is no backend 'jax'|backend"):
        bp.simulate(spiking, np.zeros((5, 1, 4)), backend="jax")


def test_simulate_takes_it():
    network = several()
    x = inputs(network, 150)[..., :4].numpy()
    ours, theirs = (bp.simulate(network, x, ("v", "spikes"), seed=5, backend=each) for each in ("numba", "torch"))
    assert ours.keys() == theirs.keys() and float(theirs["E.spikes"].sum()) > 10
    for name in theirs.data_vars:
        np.testing.assert_allclose(ours[name].values, theirs[name].values, rtol=0, atol=1e-12)


def test_a_run_goes_on_as_it_began():
    """Its state says by what; states of before, that there was torch alone."""
    task = bp.task("flip_flop", steps=20)
    circuit = bp.circuit("recurrent", cell="alif", inputs=task.inputs, units=12, outputs=task.outputs, input_gain=8.0)
    make = lambda **o: bp.Trainer(circuit, task, "eprop", bp.Training(updates=4, batch=3, **o), seed=3)  # noqa: E731
    first = make(backend="numba")
    first.update()
    state = first.state_dict()
    on = make()
    assert on.backend == "torch"
    on.load_state_dict(state)
    assert on.backend == "numba" and on.computed == {"backend": "numba", "because": "what had begun it"}
    assert on.update()["loss"] == first.update()["loss"]
    del state["backend"]
    on.load_state_dict(state)
    assert on.backend == "torch"
    assert "backend" not in bp.Training().describe() and bp.Training(backend="numba").describe()["backend"] == "numba"


def test_bytecode_beside_a_sound_text_is_not_run(shelf):
    """Python would take it for the text's, by its time and size."""
    run(TEXT.format(1))
    compiled.function.cache_clear()
    (folder,) = shelf.glob("loops_*")
    (text,) = folder.glob("*.py")
    other = folder / "other.py"
    other.write_text("raise SystemExit('what nobody has written was run')\n")
    target = Path(importlib.util.cache_from_source(str(text)))
    target.parent.mkdir(exist_ok=True)
    py_compile.compile(str(other), cfile=str(target))
    stat, code = text.stat(), bytearray(target.read_bytes())
    code[8:16] = struct.pack("<II", int(stat.st_mtime) & 0xFFFFFFFF, stat.st_size)
    target.write_bytes(code)
    other.unlink()
    assert run(TEXT.format(1)) == 2.0


def test_arrays_of_another_kind_leave_what_is_kept_as_it_is(shelf, capsys):
    """A second signature is compiled for this process, and the seal is still that of what stands there."""
    f = compiled.function(TEXT.format(1), "f", "float64")
    f(np.ones(1))
    f(np.ones(4)[::2])
    compiled.function.cache_clear()
    f = compiled.function(TEXT.format(1), "f", "float64")
    f(np.ones(4)[::2])
    f(np.ones(1))
    compiled.function.cache_clear()
    capsys.readouterr()
    (folder,) = shelf.glob("loops_*")
    assert compiled.sound(folder, folder.name, f"# float64\n{TEXT.format(1)}")
    assert not list(shelf.glob(".loops_*")), "nothing is left beside it"


# -- threads ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["window", "online"])
def test_threads_change_no_bit(schedule, monkeypatch):
    """Also where loops are cut into more parts than divide samples or neurons evenly."""
    monkeypatch.setattr(threads, "GRAIN", 100)
    monkeypatch.setattr(threads, "processors", lambda: 5)
    network = several()
    data = batch(network)
    parts = []
    submit = threads._pool().submit
    monkeypatch.setattr(threads._pool(), "submit", lambda *a: parts.append(a) or submit(*a))
    rule = bp.rule("eprop", schedule=schedule)
    one, more = (bp.gradient(network, rule, data, backend="numba", threads=n) for n in (1, 5))
    assert len(parts) > 4
    for name, g in one.items():
        assert torch.equal(g, more[name])
    assert sum(bool(g.any()) for g in one.values()) > 3
    x = inputs(network)[..., :4]
    assert bp.simulate(network, x, backend="numba").equals(bp.simulate(network, x, backend="numba", threads=5))


def test_threads_are_no_more_than_there_are_processors_for(monkeypatch):
    monkeypatch.setattr(threads, "processors", lambda: 4)
    with threads.threads(8):
        assert threads.allowed() == 4
        monkeypatch.setenv(threads.LIMIT, "2")  # a worker among two
        assert threads.allowed() == 2
        monkeypatch.setenv(threads.LIMIT, "²")  # no number
        assert threads.allowed() == 4
    assert threads.allowed() == 1
