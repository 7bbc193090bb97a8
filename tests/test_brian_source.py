"""A circuit as a script: with Brian2 alone it fires the same spikes, and a person can read it."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bioplaus as bp
from bioplaus import Hz, content, ms
from bioplaus.brian import script, twin
from bioplaus.brian.names import words
from bioplaus.circuit import Circuit, Population, Projection, Readout
from bioplaus.errors import CircuitError

LINES, UNITS, T = 4, 20, 120
CELLS = [name for name in sorted(content.names("model")) if bp.model(name).continuous]
#: how each is driven, where that is not as all are
DRIVE: dict[str, dict[str, Any]] = {
    "hodgkin_huxley": dict(dt=0.05 * ms, input_gain=0.1, gain=0.05),
    "wang_buzsaki": dict(dt=0.05 * ms, input_gain=10.0, gain=0.05),
    "coba": dict(input_gain=1.0, init="gamma"),
    "coba_nmda": dict(input_gain=1.0, init="gamma"),
    "adex": dict(input_gain=14.0),
}
STEPS_OF = {"izhikevich": 200, "hodgkin_huxley": 400, "wang_buzsaki": 400}
#: runs each script in its folder, in a process that has neither bioplaus nor torch
ALONE = """
import os, runpy, sys
for name in ("bioplaus", "torch"):
    sys.modules[name] = None
for folder in sys.argv[1:]:
    os.chdir(folder)
    runpy.run_path("twin.py", run_name="__main__")
"""


def recurrent(name: str, **options: Any) -> Circuit:
    given = dict(inputs=LINES, units=UNITS, outputs=2, input_gain=8.0, gain=1.5) | DRIVE.get(name, {}) | options
    return bp.circuit("recurrent", cell=bp.model(name), **given)


def mixed(name: str, **options: Any) -> Circuit:
    given = dict(inputs=LINES, units=UNITS, outputs=2, input_gain=8.0) | DRIVE.get(name, {}) | options
    given.pop("init", None)
    return bp.circuit("excitatory_inhibitory", cell=bp.model(name), **given)


def sending() -> Circuit:
    """Graded and spike-borne sends, delays of each synapse its own, a background, names that Brian2 does not take."""
    cell = bp.model("tsodyks_markram")
    return Circuit(
        inputs=LINES,
        populations={
            "layer 2-3": Population(cell, 12, background={"v": bp.Poisson(rate=20 * Hz, n=20, weight=3.0)}),
            "ms": Population(bp.model("leaky_rate"), 3),
        },
        projections=(
            Projection(name="W_in", source="input", target="layer 2-3", gain=12.0),
            Projection(name="rec_pre", source="layer 2-3", target="layer 2-3", sends="released", gain=12.0, delay=bp.Uniform(1, 6)),
            Projection(name="plain", source="layer 2-3", target="layer 2-3", fan_in=4, gain=2.0, delay=bp.Uniform(1, 4), sparse=True),
            Projection(name="np", source="layer 2-3", target="ms", gain=2.0),
            Projection(name="data", source="ms", target="ms", delay=3),
        ),
        readout=Readout(size=1),
    )  # fmt: skip


def drawn(circuit: Circuit, name: str = "", batch: int = 1) -> np.ndarray:
    low = 0.0 if name in ("coba", "coba_nmda") else -0.7
    return np.random.default_rng(0).uniform(low, 1.3, (STEPS_OF.get(name, T), batch, circuit.inputs))


Case = tuple[Circuit, np.ndarray, dict[str, Any]]


def ran(folder: Path, cases: dict[str, Case]) -> dict[str, Any]:
    """The scripts, run alone, one after the other: what they have kept."""
    places = {}
    for number, (name, (circuit, x, options)) in enumerate(cases.items()):
        places[name] = folder / str(number)
        places[name].mkdir()
        bp.brian.source(circuit, x, places[name] / "twin.py", **options)
    done = subprocess.run([sys.executable, "-c", ALONE, *map(str, places.values())], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: np.load(place / "twin_spikes.npz") for name, place in places.items()}


def compare(kept: Any, case: Case) -> int:
    """Every spike of every population, or every rate, against the twin and against torch; how many spikes."""
    circuit, x, options = case
    ours, twin = (run(circuit, x, **options) for run in (bp.simulate, bp.brian.simulate))
    count, dt = 0, circuit.dt
    for name, word in zip(circuit.populations, words(circuit.populations), strict=True):
        word = next(
            each.removesuffix(end)
            for each in kept
            for end in ("_i", "_rate")
            if each.startswith(word) and each.endswith(end)
        )
        one = circuit.populations[name]
        said = "spikes" if one.cell.spiking else "rate"
        label = said if len(circuit.populations) == 1 else f"{name}.{said}"
        theirs = twin[label].values.reshape(len(x), -1)
        if said == "rate":
            assert theirs.std() > 1e-3 and np.array_equal(kept[f"{word}_rate"], theirs)
            continue
        fired = np.zeros_like(theirs)
        fired[np.rint(kept[f"{word}_t"] / dt).astype(int), kept[f"{word}_i"]] = 1
        for p in options.get("perturb", ()):
            if p.kind == "silence":  # it fires, and nobody hears
                assert fired[p.steps.start : p.steps.stop].any()
                fired[p.steps.start : p.steps.stop] = 0
        assert np.array_equal(fired, theirs), name
        assert np.array_equal(fired, ours[label].values.reshape(len(x), -1)), name
        count += int(fired.sum())
    return count


def few() -> dict[str, Case]:
    lif, adex, noisy, rate = (
        recurrent("lif", delay=3),
        recurrent("adex"),
        mixed("noisy_lif"),
        recurrent("leaky_rate", delay=2),
    )
    several, lsnn = sending(), recurrent("lsnn_alif", input_gain=1.0, gain=0.5)
    x = drawn(lif, batch=2)
    _, state = bp.brian.simulate(lif, x[:50], return_state=True)
    cut = [bp.Perturb("W_rec", "cut", steps=range(20, 60)), bp.Perturb("cortex", "silence", steps=range(50, 90))]
    return {
        "lif, two samples": (lif, x, {}),
        "goes on from a state": (lif, x[50:], {"state": state}),
        "cut and silenced": (lif, x, {"perturb": cut}),
        "a cell with a variable w": (adex, drawn(adex), {}),
        "noise": (noisy, drawn(noisy), {"seed": 3}),
        "a map": (lsnn, drawn(lsnn), {}),
        "rates": (rate, drawn(rate), {}),
        "sends, delays, background, odd names": (several, drawn(several), {}),
    }  # fmt: skip


def test_scripts_fire_the_same_spikes_without_bioplaus(tmp_path):
    cases = few()
    for name, kept in ran(tmp_path, cases).items():
        spikes = compare(kept, cases[name])
        assert spikes > 30 or name == "rates", (name, spikes)


@pytest.mark.slow
def test_every_circuit_with_every_cell_is_a_script(tmp_path):
    cases: dict[str, Case] = {}
    for cell in CELLS:
        for make in (
            (recurrent, mixed) if cell != "wang_buzsaki" else (recurrent,)
        ):  # nothing excites that but a current
            circuit = make(cell)
            cases[f"{make.__name__} {cell}"] = (circuit, drawn(circuit, cell), {})
        circuit = bp.circuit("cortico_cerebellar", cortex=recurrent(cell))
        cases[f"cortico_cerebellar {cell}"] = (circuit, drawn(circuit, cell), {})
    for cell in ("delta_lif", "tsodyks_markram"):
        circuit = bp.circuit(
            "brunel",
            inputs=LINES,
            outputs=1,
            excitatory=40,
            jump=0.1,
            input_gain=5.0,
            delay=0.3 * ms,
            cell=bp.model("delta_lif", V_reset=0.5) if cell == "delta_lif" else bp.model(cell, unit=20 * bp.mV),
        )
        cases[f"brunel {cell}"] = (circuit, drawn(circuit), {})
    silent = []
    for name, kept in ran(tmp_path, cases).items():
        if not compare(kept, cases[name]) and "leaky_rate" not in name:
            silent.append(name)
    assert not silent


def test_a_script_can_be_read(tmp_path):
    circuit = mixed("alif", delay=2)
    text = bp.brian.source(circuit, drawn(circuit))
    for said in (
        "# -------- E: 16 alif -----", "# -------- I: 4 alif -----", "# -------- W_EI: I to E, onto I, delay 2 ms -----", "dv/dt = (-v + I)/tau_m : 1", "E.tau_a = 200*ms",
        "I = I_unit*(I_external(t, i) + I_from_W_EE + I_from_W_EI)", "on_pre='I_from_W_EI_post += w'", 'prefs.codegen.target = "numpy"', "refractory=5*ms",
    ):  # fmt: skip
        assert said in text, said
    assert max(map(len, text.splitlines())) < 140 and "__file__" not in text
    assert compile(text, "script", "exec")
    written = bp.brian.source(circuit, drawn(circuit), tmp_path / "E and I.py")
    assert (tmp_path / "E and I.py").read_text() == written and 'data["W_EI_w"]' in written and len(written) < 8000
    with np.load(tmp_path / "E and I.npz") as kept:
        network = circuit.build(dtype=torch.float64)
        mask = network.masks["W_EE"].bool()
        assert np.array_equal(kept["W_EE_w"], network.weights["W_EE"][mask].numpy())


def test_numbers_are_exact():
    """A quantity prints rounded, and here it must not be."""
    odd = bp.model("lif", tau_m=20.123456789012345 * ms, threshold=0.1 + 0.2)
    circuit = bp.circuit("recurrent", cell=odd, inputs=LINES, units=5, outputs=1)
    space: dict[str, Any] = {}
    from brian2 import ms as unit

    for line in bp.brian.source(circuit, drawn(circuit)).splitlines():
        if line.startswith(("cortex.tau_m = ", "cortex.threshold = ")):
            name, value = line.split(" = ")
            space[name] = float(eval(value, {"ms": unit, "second": 1000 * unit}))
    assert space == {"cortex.tau_m": float(20.123456789012345 * ms), "cortex.threshold": 0.1 + 0.2}


def test_a_twin_that_does_something_else_makes_another_script(monkeypatch):
    circuit = recurrent("lif", delay=3)
    real = twin._weights
    monkeypatch.setattr(twin, "_weights", lambda *given: {k: f"{name}2" for k, name in real(*given).items()})
    text = bp.brian.source(circuit, drawn(circuit))
    assert (
        "w2 : 1 (constant)" in text
        and "cortex_post += w2" in text.replace("I_from_W_rec", "cortex")
        and ".w2 = " in text
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(path="twin.txt"), r"path='twin.txt' is where the script goes, a file of Python: call it 'twin.py'"),
        (dict(path="nowhere/twin.py"), "in a folder that is not there"),
        (dict(inputs=None), "runs as long as its inputs"),
        (dict(inputs=np.zeros((3, 1, 9))), r"\(3, 1, 9\); expected"),
        (dict(circuit="lif"), "bp.brian.source takes a circuit or a built network"),
        (dict(perturb=bp.Perturb("cortex.v", "clamp", value=0.1)), r"holds states of 'cortex' \(a clamp\)"),
        (dict(circuit=bp.circuit("recurrent", cell="lstm", inputs=LINES, units=5, outputs=1)), r"'cortex' \(lstm\)"),
    ],
)  # fmt: skip
def test_what_is_no_script_is_refused(change, said):
    given = {"circuit": recurrent("lif"), "inputs": np.zeros((3, 1, LINES))} | change
    with pytest.raises(CircuitError, match=said):
        bp.brian.source(given.pop("circuit"), given.pop("inputs"), **given)


def test_the_example_in_the_docstring():
    failed, tried = doctest.testmod(script)
    assert tried == 4 and not failed
