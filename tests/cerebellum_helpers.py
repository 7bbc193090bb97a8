"""A cortex that is alive, a granule predictor with all that it has, and both written out once more in NumPy."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from rule_helpers import normal, random

import bioplaus as bp
from bioplaus.cerebellum.granule import Granule
from bioplaus.circuit import Network
from bioplaus.circuit.carried import Layout
from bioplaus.learning.sequence import sequence
from bioplaus.learning.tally import Outcome
from bioplaus.own import Owns
from bioplaus.rules import Rule
from bioplaus.schedule import Online, Window
from bioplaus.signal.synthetic import SyntheticGradient
from bioplaus.signal.truth import observe
from bioplaus.tasks import squared

T, BATCH, UNITS = 11, 3, 5
#: of the carried state: v and y of each
SIZE = 2 * UNITS
SCHEDULES = (Window(), Online(), Window(4))
#: every element off: the linear predictor
OFF: dict[str, Any] = {
    "pairs": False, "expansion": 1, "fan_in": 1, "rectify": False, "active": None, "signs": False, "interneurons": False, "opponent": False,
    "plastic_nuclei": True,
}  # fmt: skip
#: every element on, but for chance
ON: dict[str, Any] = {
    "lines": 4, "expansion": 3, "fan_in": 3, "active": 0.3, "subtractive": 0.8, "divisive": 5.0, "tau_golgi": 3, "reach": 0.5, "plastic_nuclei": True,
    "delay_in": 2, "delay_out": 1,
}  # fmt: skip


@cache
def cortex(cell: str = "leaky_rate", units: int = UNITS) -> Network:
    network = bp.circuit("recurrent", cell=cell, inputs=3, units=units, outputs=2, gain=1.5).build(
        seed=1, dtype="float64"
    )
    return network


@cache
def batch(steps: int = T, size: int = BATCH) -> bp.Batch:
    asked = torch.zeros(steps, size, dtype=torch.float64)
    asked[2::3] = 1.0
    return bp.Batch(6 * normal(steps, size, 3, seed=1), normal(steps, size, 2, seed=2), asked)


def rule(options: dict[str, Any] | None = None, **more: Any) -> Rule:
    predictor = "linear" if options is None else bp.predictor("granule", **options)
    return bp.rule("bp_lambda", predictor=predictor, **more)


def drawn(chosen: Rule, network: Network | None = None, size: float = 0.1, seed: int = 0) -> Owns:
    """Its own tensors, all of them alive."""
    network = network or cortex()
    own = chosen.begin(network, batch(), 0)
    for i, (name, value) in enumerate(own["predictor"].learned.items()):
        each = size / 5 if name == "golgi.threshold" else size
        signed = name == "nuclei.b" or "." not in name
        value.copy_(each * (normal if signed else random)(*value.shape, seed=seed + i))
    chosen.after_update(own, network)
    return own


def outcome(chosen: Rule, own: Owns, network: Network | None = None, **more: Any) -> Outcome:
    return sequence(network or cortex(), chosen, own, batch(), squared, **more)


def under(chosen: Rule, schedule: Any) -> Rule:
    return replace(chosen, schedule=schedule)


def states(network: Network | None = None) -> torch.Tensor:
    """h_0 … h_T."""
    network = network or cortex()
    return Layout(network).vectors(observe(network, batch(), squared).tangent.stretch)


def granule(**options: Any) -> Granule:
    """The predictor by name."""
    made = bp.predictor("granule", **options)
    assert isinstance(made, Granule)
    return made


def synthetic(chosen: Rule) -> SyntheticGradient:
    """Its signal, which has a predictor."""
    assert isinstance(chosen.signal, SyntheticGradient)
    return chosen.signal


def said(chosen: Rule, own: Owns, network: Network | None = None) -> torch.Tensor:
    """g at h_0 … h_T, as the rule's signal has it."""
    network, signal = network or cortex(), synthetic(chosen)
    observed = observe(network, batch(), squared)
    seen, sight = signal.look(own, signal.sight(network), observed, Layout(network).vectors(observed.tangent.stretch))
    return signal.said(own, sight, observed, seen)


def by_hand(o: dict[str, Any], theta: Any, h: np.ndarray) -> dict[str, np.ndarray]:
    """Every part's rates for h (time, input) of one trial, one number after another; ``o`` are a predictor's options."""

    def get(name: str) -> Any:
        return theta[name].numpy() if name in theta else None

    M, C, w, v = get("granule.wiring"), get("pons.C"), get("purkinje.w"), get("interneuron.v")
    thresholds, b = get("golgi.threshold"), get("nuclei.b")
    cells, zones, outputs = len(M), w.shape[0], w.shape[1]
    rho = np.exp(-1 / o["tau_golgi"]) if o["tau_golgi"] else 0.0
    a, mossy, parallel, out = (
        0.0,
        [],
        [],
        {name: [] for name in ("pons", "granule", "golgi", "purkinje", "nuclei", "g")},
    )
    for now in h:
        x = now if C is None else np.array([sum(C[i, k] * now[k] for k in range(len(now))) for i in range(len(C))])
        mossy.append(np.array([*np.maximum(x, 0), *np.maximum(-x, 0)]) if o["pairs"] else x)
        out["pons"].append(mossy[-1])
        late = len(mossy) - 1 - o["delay_in"]
        m = mossy[late] if late >= 0 else np.zeros_like(mossy[-1])
        g = []
        for j in range(cells):
            heard = np.flatnonzero(M[j])
            u = sum(m[i] for i in heard) / len(heard) - (0.0 if thresholds is None else thresholds[j])
            u = (u - o["subtractive"] * a) / (1 + o["divisive"] * a)
            g.append(max(u, 0.0) if o["rectify"] else u)
        out["golgi"].append(a)
        out["granule"].append(g)
        a = rho * a + (1 - rho) * sum(g) / cells
        parallel.append(np.array(g))
        late = len(parallel) - 1 - o["delay_out"]
        phi = parallel[late] if late >= 0 else np.zeros(cells)
        P, d, total = np.zeros((zones, outputs)), np.zeros((zones, outputs)), np.zeros(outputs)
        for z in range(zones):
            for k in range(outputs):
                P[z, k] = w[z, k] @ phi - (0.0 if v is None else v[z, k] @ phi)
                d[z, k] = (0.0 if b is None else b[z, k]) - P[z, k]
                if o["tonic"] is not None:
                    d[z, k] = max(o["tonic"] + d[z, k], 0.0) - o["tonic"]
                total[k] += d[z, k] if z == 0 else -d[z, k]
        out["purkinje"].append(P.flatten())
        out["nuclei"].append(d.flatten())
        out["g"].append(total)
    return {name: np.array(values) for name, values in out.items()}
