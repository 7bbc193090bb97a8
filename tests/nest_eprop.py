"""e-prop as NEST 3.10 computes it, on small tasks drawn here: losses and weights of eight iterations, into nest_eprop.json.

Nothing of bioplaus is used. Where NEST is installed (``pip install "nest-simulator==3.10.*"``)::

    python tests/nest_eprop.py tests/nest_eprop.json

NEST's models are ``eprop_iaf_bsshslm_2020`` and ``eprop_iaf_adapt_bsshslm_2020`` (Bellec et al. 2020, doi:10.1038/s41467-020-17236-y;
written by Korcsak-Gorzo et al. 2022). Two of its ways decide how the tasks are made:

* A synapse is brought up to date when its presynaptic neuron next fires. So every neuron and input must fire in every iteration,
  which is checked, and the weights after an update are read at the end of the iteration that follows it.
* A spike takes a step from generator to neuron, and one from neuron to readout. So the first five steps of a trial are silent, and the
  last ones too, so that no spike crosses into the next trial, which starts from rest.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ITERATIONS = 8
QUIET_BEFORE, QUIET_AFTER = 5, 40  # steps without input
START, SHIFT = 1.0, 4.0  # ms: when input begins, and when what it does is seen by the readout


@dataclass(frozen=True)
class Setup:
    """One network and its task; times in ms, which are steps."""

    kind: str  # "regression", a target at every step, or "classification", one in the last steps of a trial
    lif: int  # neurons without and with adaptation
    alif: int
    batch: int
    optimiser: str  # NEST's name: gradient_descent or adam
    rate: float
    seed: int
    refractory: float = 0.0
    strength: float = 0.0  # c_reg
    inputs: int = 6
    outputs: int = 2
    steps: int = 160
    window: int = 160  # steps in which a target is there
    tau_m: float = 17.0
    tau_out: float = 23.0
    tau_a: float = 150.0
    threshold: float = 0.03
    beta: float = 0.005
    scaled: bool = True  # input times 1 − α
    target_rate: float = 10.0
    firing: float = 0.15  # probability of an input spike in a step

    @property
    def units(self) -> int:
        return self.lif + self.alif


_CLASSES: dict[str, Any] = {
    "kind": "classification", "window": 64, "tau_m": 20.0, "tau_out": 13.0, "threshold": 0.6, "beta": 0.1, "scaled": False,
}  # fmt: skip

SETUPS = {
    "lif": Setup("regression", 5, 0, 1, "gradient_descent", 1e-3, 11, strength=50.0),
    "lif, batch": Setup("regression", 5, 0, 3, "adam", 2e-3, 2, refractory=5.0, strength=50.0),
    "alif": Setup("regression", 0, 5, 1, "adam", 2e-3, 3, strength=50.0),
    "alif, batch": Setup("regression", 0, 5, 3, "gradient_descent", 2e-3, 4, refractory=3.0, strength=50.0),
    "both, classes": Setup(
        lif=3, alif=3, batch=1, optimiser="adam", rate=5e-3, seed=5, refractory=4.0, strength=80.0, **_CLASSES
    ),
    "both, classes, batch": Setup(
        lif=3, alif=3, batch=3, optimiser="adam", rate=5e-3, seed=6, refractory=4.0, strength=80.0, **_CLASSES
    ),
}


def draw(s: Setup) -> dict[str, np.ndarray]:
    """Everything that is drawn, in this order: weights [post, pre], input (iteration, batch, step, input), target.

    There is one iteration more than are counted: the weights after the last update are read in it. Targets are float32, as batches are.
    """
    rng = np.random.RandomState(s.seed)
    count = ITERATIONS + 1
    w_in = rng.randn(s.units, s.inputs) / s.inputs**0.5
    w_rec = 0.6 * rng.randn(s.units, s.units) / s.units**0.5
    np.fill_diagonal(w_rec, 0.0)
    drawn = {
        "W_in": np.abs(w_in) * (1.0 if s.scaled else 0.7),  # so that all fire
        "W_rec": w_rec * (1.0 if s.scaled else 0.7),
        "W_out": rng.randn(s.outputs, s.units) / s.units**0.5,
        "B": rng.randn(s.outputs, s.units) / s.units**0.5,
    }
    x = rng.rand(count, s.batch, s.steps, s.inputs) < s.firing
    x[:, :, :QUIET_BEFORE] = False
    x[:, :, s.steps - QUIET_AFTER :] = False
    drawn["x"] = x.astype(float)
    if s.kind == "regression":
        drawn["target"] = (
            (np.cumsum(rng.randn(count, s.batch, s.steps, s.outputs), 2) / s.steps**0.5)
            .astype(np.float32)
            .astype(float)
        )
    else:
        drawn["target"] = rng.randint(0, s.outputs, (count, s.batch))
    return drawn


def build(nest: Any, s: Setup, d: dict[str, np.ndarray]) -> dict[str, Any]:
    """The network, with what listens to it."""
    classes = s.kind == "classification"
    trials = (ITERATIONS + 1) * s.batch
    nest.ResetKernel()
    nest.set(
        resolution=1.0, total_num_virtual_procs=1, print_time=False, eprop_update_interval=float(s.steps),
        eprop_learning_window=float(s.window), eprop_reset_neurons_on_update=True,
    )  # fmt: skip
    neuron = {
        "C_m": 1.0, "E_L": 0.0, "I_e": 0.0, "V_m": 0.0, "V_th": s.threshold, "tau_m": s.tau_m, "t_ref": s.refractory, "c_reg": s.strength,
        "f_target": s.target_rate, "regular_spike_arrival": not s.scaled, "flush_event_send_interval": float(s.steps),
        "surrogate_gradient_function": "piecewise_linear", "surrogate_gradient_height": 0.3 / s.threshold, "surrogate_gradient_width": s.threshold,
    }  # fmt: skip
    adapting = neuron | {"adapt_beta": s.beta, "adapt_tau": s.tau_a, "adaptation": 0.0}
    parts = [nest.Create("eprop_iaf_bsshslm_2020", s.lif, neuron)] if s.lif else []
    parts += [nest.Create("eprop_iaf_adapt_bsshslm_2020", s.alif, adapting)] if s.alif else []
    units = parts[0] if len(parts) == 1 else parts[0] + parts[1]
    told = {"C_m": 1.0, "E_L": 0.0, "I_e": 0.0, "V_m": 0.0, "tau_m": s.tau_out, "regular_spike_arrival": False}
    readout = nest.Create(
        "eprop_readout_bsshslm_2020", s.outputs, told | {"loss": "cross_entropy" if classes else "mean_squared_error"}
    )
    generators, lines = nest.Create("spike_generator", s.inputs), nest.Create("parrot_neuron", s.inputs)
    targets = nest.Create("step_rate_generator", s.outputs)
    meter = nest.Create(
        "multimeter",
        params={
            "interval": 1.0,
            "record_from": ["readout_signal", "target_signal"],
            "start": SHIFT,
            "stop": SHIFT + trials * s.steps,
        },
    )
    spikes = nest.Create("spike_recorder")

    optimiser: dict[str, Any] = {
        "type": s.optimiser,
        "batch_size": s.batch,
        "eta": s.rate,
        "Wmin": -100.0,
        "Wmax": 100.0,
    }
    if s.optimiser == "adam":
        optimiser |= {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}
    nest.SetDefaults("eprop_synapse_bsshslm_2020", {"optimizer": optimiser, "average_gradient": classes})
    every = {"rule": "all_to_all", "allow_autapses": False}
    plastic = {"synapse_model": "eprop_synapse_bsshslm_2020", "delay": 1.0, "tau_m_readout": s.tau_out}
    fixed = {"synapse_model": "static_synapse", "delay": 1.0}
    nest.Connect(generators, lines, "one_to_one", fixed)
    nest.Connect(lines, units, every, plastic | {"weight": d["W_in"]})
    nest.Connect(units, units, every, plastic | {"weight": d["W_rec"]})
    nest.Connect(units, readout, every, plastic | {"weight": d["W_out"]})
    back = {"synapse_model": "eprop_learning_signal_connection_bsshslm_2020", "delay": 1.0, "weight": d["B"].T}
    nest.Connect(readout, units, every, back)
    rate = {"synapse_model": "rate_connection_delayed", "delay": 1.0}
    nest.Connect(targets, readout, "one_to_one", rate | {"receptor_type": 2})
    if classes:
        nest.Connect(readout, readout, every, rate | {"receptor_type": 1, "weight": 1.0})
    nest.Connect(units, spikes, every, fixed)
    nest.Connect(meter, readout, every, fixed)

    x, when = d["x"].reshape(trials * s.steps, s.inputs) > 0, np.arange(float(trials * s.steps)) + START
    generators.set([{"spike_times": when[x[:, i]]} for i in range(s.inputs)])
    if classes:
        value, when = np.eye(s.outputs)[d["target"].ravel()], np.arange(0.0, trials * s.steps, s.steps) + SHIFT
    else:
        value, when = d["target"].reshape(-1, s.outputs), np.arange(float(trials * s.steps)) + SHIFT
    targets.set([{"amplitude_times": when, "amplitude_values": value[:, k]} for k in range(s.outputs)])
    return {"units": units, "lines": lines, "readout": readout, "meter": meter, "spikes": spikes}


def weights(nest: Any, pre: Any, post: Any) -> np.ndarray:
    """W[post, pre]."""
    found = nest.GetConnections(pre, post, synapse_model="eprop_synapse_bsshslm_2020").get(
        ["source", "target", "weight"]
    )
    W = np.zeros((len(post), len(pre)))
    W[np.array(found["target"]) - post[0].global_id, np.array(found["source"]) - pre[0].global_id] = found["weight"]
    return W


def run(nest: Any, s: Setup) -> dict[str, Any]:
    """Losses before each of eight updates, and the weights after it."""
    d = draw(s)
    of = build(nest, s, d)
    found: dict[str, Any] = {"W_in": [], "W_rec": [], "W_out": []}
    nest.Simulate(SHIFT)
    for _ in range(ITERATIONS + 1):
        nest.Simulate(float(s.batch * s.steps))
        for name, pre, post in (("W_in", "lines", "units"), ("W_rec", "units", "units"), ("W_out", "units", "readout")):
            found[name].append(weights(nest, of[pre], of[post]))
    nest.Simulate(1.0)  # what was recorded last is handed over
    for name, kept in found.items():
        assert np.array_equal(kept[0], d[name]), "the first update came too early"
        found[name] = np.array(kept[1:]).tolist()
    check(s, d, of)
    e = of["meter"].get("events")
    who = np.unique(e["senders"])
    y, target = (
        np.array([e[k][e["senders"] == i] for i in who]).reshape(s.outputs, ITERATIONS + 1, s.batch, s.steps)[:, :-1]
        for k in ("readout_signal", "target_signal")
    )
    if s.kind == "regression":
        losses = 0.5 * ((y - target) ** 2).sum((0, 3)).mean(1)
    else:
        asked = (target * np.log(np.where(target > 0, y, 1.0)))[..., -s.window :]
        losses = -asked.sum(0).mean((1, 2))
    return {"losses": losses.tolist(), **found}


def check(s: Setup, d: dict[str, np.ndarray], of: dict[str, Any]) -> None:
    """Whether all fired in every iteration, and nobody at a border of trials."""
    events = of["spikes"].get("events")
    step = np.round(events["times"] - START - 2).astype(int)
    step, who = step[step >= 0], (events["senders"] - of["units"][0].global_id)[step >= 0]
    span = s.batch * s.steps
    for k in range(ITERATIONS + 1):
        fired = np.bincount(who[step // span == k], minlength=s.units)
        assert fired.all(), f"silent in iteration {k}: {np.flatnonzero(fired == 0)}"
        assert d["x"][k].any((0, 1)).all(), f"no input in iteration {k}"
    late = (step % s.steps) >= s.steps - 3
    assert not late.any(), f"{late.sum()} spikes at the borders of trials"
    print(f"{1000 * len(step) / (s.units * span * (ITERATIONS + 1)):.0f} Hz", file=sys.stderr)


def main(path: str) -> None:
    import nest  # pyright: ignore[reportMissingImports]  # installed by itself

    nest.set_verbosity("M_ERROR")
    found = {name: run(nest, s) for name, s in SETUPS.items()}
    lines = ",\n".join(f'"{name}": {json.dumps(each)}' for name, each in found.items())
    Path(path).write_text(f'{{"nest": "{nest.__version__}",\n{lines}}}\n')


if __name__ == "__main__":
    main(sys.argv[1])
