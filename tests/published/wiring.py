"""Several populations in Brian2, as its users wire them, and in projections of ours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import brian2 as b2
import numpy as np
import torch

from bioplaus.circuit import Circuit, Population, Projection, Readout

from .model import Published
from .plain import SEED, drawn

STEPS = 800
#: by the name of a population, (time, neuron)
Played = dict[str, np.ndarray]


def group(model: Published, n: int, held: dict[str, np.ndarray] | None = None, **changed: Any) -> Any:
    """A publication's neurons in Brian2; ``held`` sets variables that its text declares, at the beginning of each step."""
    parameters = {**model.parameters, **changed}
    declared = b2.Equations(model.equations).names
    given = {name: b2.TimedArray(values, dt=model.dt) for name, values in (held or {}).items()}
    spiking: dict[str, Any] = dict(threshold=model.spike, reset=model.reset, refractory=model.refractory)
    made = b2.NeuronGroup(
        n, model.equations, method=model.method, dt=model.dt, **(spiking if model.spike else {}),
        namespace={k: v for k, v in parameters.items() if k not in declared} | {f"{k}_given": v for k, v in given.items()},
    )  # fmt: skip
    for name, value in {**{k: v for k, v in parameters.items() if k in declared}, **model.start}.items():
        setattr(made, name, value)
    for name in given:
        made.run_regularly(f"{name} = {name}_given(t, i)", dt=model.dt, when="start")
    return made


def arriving(x: np.ndarray, dt: Any) -> Any:
    """Spikes of input lines: what is there in a step was sent in the step before."""
    step, line = np.nonzero(x[1:])
    return b2.SpikeGeneratorGroup(x.shape[1], line, step * dt, dt=dt)


def wired(source: Any, target: Any, weights: np.ndarray, on_pre: Any, delay: Any = None, **space: Any) -> Any:
    """Synapses W[post, pre]."""
    made = b2.Synapses(
        source,
        target,
        "w : 1",
        on_pre=on_pre,
        namespace=space,
        clock=target.clock,
        **({} if delay is None else {"delay": delay}),
    )
    post, pre = np.nonzero(weights)
    made.connect(i=pre, j=post)
    made.w = weights[post, pre]
    return made


def played(
    dt: Any, groups: dict[str, Any], *others: Any, read: dict[str, str]
) -> tuple[tuple[Played, Played], dict[str, Played]]:
    """Spikes of groups that have any, and one state of each after the integrator; the numbers that each noise of a group was given."""
    fired = {name: b2.SpikeMonitor(each) for name, each in groups.items() if "spike" in each.events}
    seen = {
        name: b2.StateMonitor(groups[name], state, record=True, when="after_groups", dt=dt)
        for name, state in read.items()
    }
    b2.seed(SEED)
    b2.Network(*groups.values(), *others, *fired.values(), *seen.values()).run(STEPS * dt, namespace={})
    noise = dict(zip(groups, drawn(groups.values(), STEPS), strict=True))
    counted = {name: np.zeros((STEPS, len(groups[name]))) for name in fired}
    for name, each in fired.items():
        counted[name][np.rint(np.asarray(each.t / dt)).astype(int), np.asarray(each.i)] = 1
    return (counted, {name: np.asarray(getattr(each, f"{read[name]}_")).T for name, each in seen.items()}), noise


def built(
    dt: Any, populations: dict[str, Population], weights: dict[str, tuple[Projection, np.ndarray]], inputs: int
) -> Any:
    projections = tuple(projection for projection, _ in weights.values())
    made = Circuit(populations=populations, projections=projections, inputs=inputs, readout=Readout(size=1), dt=dt)
    network = made.build(seed=0, dtype=torch.float64)
    network.load({name: values for name, (_, values) in weights.items()})
    return network


def onto(
    name: str, source: str, target: str, channel: str, values: np.ndarray, delay: int | None = None
) -> tuple[Projection, np.ndarray]:
    return Projection(name=name, source=source, target=target, channels=(channel,), delay=delay), values


def a_step_later(network: Any) -> Any:
    """The same with one step more on the way between neurons."""
    circuit = network.circuit
    later = [replace(p, delay=p.delay + 1) if p.source != "input" else p for p in circuit.projections]
    made = replace(circuit, projections=tuple(later)).build(seed=0, dtype=torch.float64)
    made.load({name: weights for name, weights in network.weights.items()})
    made.drawn = network.drawn
    return made
