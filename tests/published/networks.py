"""Networks of published neurons, wired as they were published: their delays, and synapses that are currents or rates.

Each comes as our network, its input, and what Brian2 fired, with one state of each population.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import brian2 as b2
import numpy as np
from brian2 import ms, nF, nS

import bioplaus as bp
from bioplaus.circuit import Population

from .compare import cell
from .given import noisy
from .model import dyadic, spikes
from .noisy import COMMON, LINKED, RELIABLE
from .receptors import COMMAND, DIEHL_EXCITATORY, DIEHL_INHIBITORY, LEGS, WANG, wave
from .spike_and_reset import IZHIKEVICH_2003
from .wiring import STEPS, Played, arriving, built, group, onto, played, wired

Network = tuple[Any, np.ndarray, tuple[Played, Played]]


def izhikevich() -> Network:
    """All to all; a spike is a current that is held for one step: it comes on at once, and goes off 1 ms later."""
    n, rng = 20, np.random.default_rng(1)
    W = dyadic(np.where(np.arange(n) < 16, 8.0, -16.0) * rng.random((n, n)))
    noise = rng.normal(size=(STEPS, n)) * np.where(np.arange(n) < 16, 6, 3)
    excited = group(IZHIKEVICH_2003, n, {"I_noise": noise})
    on = wired(excited, excited, W, {"up": "I += w", "down": "I -= w"}, {"up": 0 * ms, "down": 1 * ms})
    theirs, _ = played(1 * ms, {"E": excited}, on, read={"E": "v"})
    network = built(
        1 * ms,
        {"E": Population(cell(IZHIKEVICH_2003), n)},
        {"W_in": onto("W_in", "input", "E", "I_noise", np.eye(n)), "W": onto("W", "E", "E", "I", W, delay=1)},
        n,
    )
    return network, noise, theirs


def scorpion() -> Network:
    """Eight legs, eight neurons: each is excited by its leg at once and inhibited by three others after 0.7 ms."""
    dt, rng = LEGS.dt, np.random.default_rng(0)
    x = np.resize(wave(rng), (STEPS, 8))
    across = (np.abs((np.arange(8)[:, None] - np.arange(8)) % 8 - 4) <= 1).astype(float)
    legs = group(replace(LEGS, equations=f"{LEGS.equations}\n    rates : 1"), 8, {"rates": x})
    neurons = group(COMMAND, 8)
    excite = wired(legs, neurons, np.eye(8), "y += wex", wex=7)
    inhibit = wired(legs, neurons, across, "y += winh", 0.7 * ms, winh=-2)
    theirs, noise = played(dt, {"legs": legs, "neurons": neurons}, excite, inhibit, read={"legs": "v", "neurons": "x"})
    network = built(
        dt,
        {"legs": Population(cell(LEGS), 8), "neurons": Population(cell(COMMAND), 8)},
        {
            "rates": onto("rates", "input", "legs", "rates", np.eye(8)),
            "excite": onto("excite", "legs", "neurons", "y", 7 * np.eye(8), delay=1),
            "inhibit": onto("inhibit", "legs", "neurons", "y", -2 * across, delay=8),
        },
        8,
    )
    return noisy(network, noise), x, theirs


def diehl() -> Network:
    """Each excitatory neuron drives one inhibitory neuron, which silences all the others."""
    n, dt, rng = 20, DIEHL_EXCITATORY.dt, np.random.default_rng(2)
    x = spikes(STEPS, 60, 0.02)(rng)
    U, others = np.round(rng.random((n, 60)) * 1024) / 1024, 1 - np.eye(n)
    late = replace(DIEHL_EXCITATORY, start={**DIEHL_EXCITATORY.start, "timer": (45.05 + np.arange(n)) * ms})
    exc, inh, lines = group(late, n), group(DIEHL_INHIBITORY, n), arriving(x, dt)
    synapses = [
        wired(lines, exc, U, "ge_post += w"),
        wired(exc, inh, np.eye(n), "ge_post += 10.4"),
        wired(inh, exc, others, "gi_post += 17.0"),
    ]
    theirs, _ = played(dt, {"exc": exc, "inh": inh}, lines, *synapses, read={"exc": "v", "inh": "v"})
    network = built(
        dt,
        {"exc": Population(cell(late), n), "inh": Population(cell(DIEHL_INHIBITORY), n)},
        {
            "W_in": onto("W_in", "input", "exc", "ge", U),
            "W_ei": onto("W_ei", "exc", "inh", "ge", 10.4 * np.eye(n), delay=1),
            "W_ie": onto("W_ie", "inh", "exc", "gi", 17 * others, delay=1),
        },
        60,
    )
    return network, x, theirs


def wang() -> Network:
    """Two populations that compete; NMDA, which every neuron makes and whose sum all see, is a population of rates beside them."""
    n, m, dt, rng = 16, 4, WANG.dt, np.random.default_rng(3)
    label = np.minimum(np.arange(n) // 4, 2)
    same, chosen = label[:, None] == label, label[:, None] < 2
    W = np.where(chosen, np.where(same, 1.7, 1 - 0.15 * 0.7 / 0.85), 1.0)
    x = spikes(STEPS, n + m, 0.24)(rng)
    g = dict(EEA=0.05 * nS / n * 1600, EIA=0.04 * nS / n * 1600, IE=1.3 * nS / m * 400, II=1.0 * nS / m * 400, extE=2.1 * nS, extI=1.62 * nS)  # fmt: skip
    quick = {"gLeakE": 20 * nS, "CmE": 0.2 * nF, "gEEN": 0.13 * nS / n * 1600, "label": np.zeros(m)}
    slow = {"gEEN": 0.165 * nS / n * 1600, "label": label}

    pyramids, lines = group(WANG, n, **slow), arriving(x, dt)
    interneurons = group(replace(WANG, refractory=1 * ms), m, **quick)
    late = 0.5 * ms
    total = b2.Synapses(pyramids, pyramids, "w : 1\ns_NMDA_tot_post = w*s_NMDA_pre : 1 (summed)", dt=dt)
    total.connect()
    total.w = W.T.ravel()
    seen = b2.Synapses(pyramids, interneurons, "s_NMDA_tot_post = s_NMDA_pre : 1 (summed)", dt=dt)
    seen.connect()
    outside = np.eye(n + m)
    synapses = [
        total,
        seen,
        wired(pyramids, pyramids, W, "s_AMPA += w*unit", late, unit=g["EEA"]),
        wired(pyramids, interneurons, np.ones((m, n)), "s_AMPA += unit", late, unit=g["EIA"]),
        wired(pyramids, pyramids, np.eye(n), "x_pre += 1", late),
        wired(interneurons, pyramids, np.ones((n, m)), "s_GABA += unit", late, unit=g["IE"]),
        wired(interneurons, interneurons, np.ones((m, m)), "s_GABA += unit", late, unit=g["II"]),
        wired(lines, pyramids, outside[:n], "s_AMPA_ext += unit", unit=g["extE"]),
        wired(lines, interneurons, outside[n:], "s_AMPA_ext += unit", unit=g["extI"]),
    ]
    theirs, _ = played(dt, {"E": pyramids, "I": interneurons}, lines, *synapses, read={"E": "s_NMDA", "I": "V"})

    flowing = [line for line in WANG.equations.splitlines() if line.strip().startswith(("ds_NMDA", "dx"))]
    gates = bp.Cell(
        equations="\n".join(flowing),
        output="s_NMDA",
        jumps={"x": 1.0},
        parameters={**WANG.parameters, "label": 0},
        method="euler",
    )
    own = cell(
        WANG,
        parameters={**WANG.parameters, **slow},
        jumps={"s_AMPA": g["EEA"], "s_GABA": g["IE"], "s_AMPA_ext": g["extE"], "x": 1.0},
    )
    other = cell(
        WANG, parameters={**WANG.parameters, **quick}, jumps={"s_AMPA": g["EIA"], "s_GABA": g["II"], "s_AMPA_ext": g["extI"], "x": 1.0}, refractory=1 * ms
    )  # fmt: skip
    network = built(
        dt,
        {"E": Population(own, n), "I": Population(other, m), "NMDA": Population(gates, n)},
        {
            name: onto(name, *path, delay=None if path[0] == "input" else delay)
            for name, path, delay in (
                ("ext_E", ("input", "E", "s_AMPA_ext", outside[:n]), 0),
                ("ext_I", ("input", "I", "s_AMPA_ext", outside[n:]), 0),
                ("AMPA_EE", ("E", "E", "s_AMPA", W), 6),
                ("AMPA_EI", ("E", "I", "s_AMPA", np.ones((m, n))), 6),
                ("own", ("E", "E", "x", np.eye(n)), 6),
                ("opened", ("E", "NMDA", "x", np.eye(n)), 6),
                ("NMDA_EE", ("NMDA", "E", "s_NMDA_tot", W), 1),
                ("NMDA_EI", ("NMDA", "I", "s_NMDA_tot", np.ones((m, n))), 1),
                ("GABA_IE", ("I", "E", "s_GABA", np.ones((n, m))), 6),
                ("GABA_II", ("I", "I", "s_GABA", np.ones((m, m))), 6),
            )
        },
        n + m,
    )
    return network, x, theirs


def brette() -> Network:
    """Noise of each neuron's own, and one that all share: a population of one, whose rate is its state."""
    n, dt = 20, RELIABLE.dt
    common, neurons = group(COMMON, 1), group(replace(RELIABLE, equations=LINKED), n, p=np.arange(n) / n)
    neurons.x = b2.linked_var(common, "x")
    # by the names that they have in the publication's script Brian2 updates the neurons first: they see what x was
    common.state_updater.order = 1
    theirs, noise = played(dt, {"common": common, "neurons": neurons}, read={"common": "x", "neurons": "v"})
    network = built(
        dt,
        {"common": Population(cell(COMMON), 1), "neurons": Population(cell(RELIABLE), n)},
        {"x": onto("x", "common", "neurons", "x", np.ones((n, 1)), delay=1)},
        0,
    )
    return noisy(network, noise), np.empty((STEPS, 0)), theirs


#: name → (network, least number of spikes of each population, which states were read)
NETWORKS: dict[str, tuple[Any, dict[str, int], dict[str, str]]] = {
    "Izhikevich 2003": (izhikevich, {"E": 100}, {"E": "v"}),
    "Stürzl et al. 2000": (scorpion, {"legs": 40, "neurons": 40}, {"legs": "v", "neurons": "x"}),
    "Brette & Guigon 2003": (brette, {"neurons": 40}, {"common": "x", "neurons": "v"}),
    "Diehl & Cook 2015": (diehl, {"exc": 10, "inh": 10}, {"exc": "v", "inh": "v"}),
    "Wang 2002": (wang, {"E": 15, "I": 8}, {"E": "s_NMDA", "I": "V"}),
}
