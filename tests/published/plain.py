"""A published model in Brian2 alone: its groups, its schedule, its default delay; nothing of bioplaus."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Any

import brian2 as b2
import numpy as np
from brian2.core.namespace import DEFAULT_UNITS
from brian2.units.fundamentalunits import DIMENSIONLESS

from .model import Published


@dataclass(frozen=True)
class Ran:
    """What a run gave: spikes (time, neuron), states after the integrator, an output, and how near spikes were to being others."""

    spikes: np.ndarray
    states: dict[str, np.ndarray]
    output: np.ndarray | None = None
    margin: float = np.inf


def plain(model: Published, **changed: Any) -> Ran:
    """Run a model's texts; ``changed`` are parameters with another value."""
    x, (U, W), n, dt = model.lines(), model.weights(), model.n, model.dt
    parameters = {**model.parameters, **changed}
    varied = {name: value for name, value in parameters.items() if np.ndim(value)}
    refractory = model.refractory
    if np.ndim(refractory):
        varied["own_refractory"], refractory = refractory, "own_refractory"

    space = {name: value for name, value in parameters.items() if not np.ndim(value)}
    written = flowing(model)
    declared = b2.Equations(written).names
    lines = [f"{name} : {dimension(value)} (constant)" for name, value in varied.items() if name not in declared]
    for k, (name, unit) in enumerate(model.inputs.items()):
        space |= {
            f"stimulus_{name}": b2.TimedArray(x @ U[k * n : (k + 1) * n].T, dt=dt),
            f"unit_{name}": b2.Quantity(unit),
        }
        lines.append(f"{name} = unit_{name}*stimulus_{name}(t, i) : {dimension(unit)}")
    lines += [f"model_output = {model.output} : 1"] if model.output else []
    spiking: dict[str, Any] = dict(threshold=model.spike, reset=model.reset, refractory=refractory)
    group = b2.NeuronGroup(
        n, "\n".join([written, *lines]), method=model.method, namespace=space, dt=dt, **(spiking if model.spike else {}),
    )  # fmt: skip
    for name, value in {**{k: v for k, v in parameters.items() if k in declared}, **varied, **model.start}.items():
        setattr(group, name, value)

    first = len(model.inputs) * n  # rows of weights from here on jump
    step, line = np.nonzero(x[1:]) if model.jumps else ((), ())
    arriving = b2.SpikeGeneratorGroup(x.shape[1], np.asarray(line, int), np.asarray(step, int) * dt, dt=dt)
    wired = [(arriving, U, None), (group, W, model.delay)] if model.jumps else []
    synapses = [
        made
        for source, weights, delay in wired
        if weights is not None
        for row, (state, unit) in enumerate(model.jumps.items())
        if (made := jumping(source, group, state, unit, weights[first + row * n :][:n], delay, dt)) is not None
    ]

    states = list(group.equations.diff_eq_names)
    sides = compared(model)
    read = {name for pair in sides for text in pair for name in names(text) if name in group.variables}
    seen = b2.StateMonitor(
        group,
        sorted({*states, *read, *(["model_output"] if model.output else [])}),
        record=True,
        when="after_groups",
        dt=dt,
    )
    fired = b2.SpikeMonitor(group) if model.spike else None
    objects = [group, seen, *synapses, *([arriving] if synapses else []), *([fired] if fired is not None else [])]
    b2.Network(*objects).run(model.steps * dt, namespace={})

    spikes = np.zeros((model.steps, n))
    if fired is not None:
        spikes[np.rint(np.asarray(fired.t / dt)).astype(int), np.asarray(fired.i)] = 1
    values = {name: np.asarray(getattr(seen, f"{name}_")).T for name in seen.record_variables}
    known = {k: np.asarray(v) for k, v in {**parameters, **values}.items()}
    output = values["model_output"] if model.output else None
    return Ran(
        spikes, {s: values[s] for s in states}, output, min((apart(*pair, known) for pair in sides), default=np.inf)
    )


def flowing(model: Published) -> str:
    """The equations without the lines that declare an input."""
    inputs = "|".join(model.inputs) or "(?!)"
    return re.sub(rf"^[ \t]*({inputs})[ \t]*:.*$", "", model.original or model.equations, flags=re.M)


def jumping(source: Any, group: Any, state: str, unit: Any, weights: np.ndarray, delay: int | None, dt: Any) -> Any:
    """Synapses by which a state jumps, or None where there are none."""
    post, pre = np.nonzero(weights)
    if not post.size:
        return None
    made = b2.Synapses(
        source, group, "w : 1", on_pre=f"{state} += w*unit", namespace={"unit": b2.Quantity(unit)}, dt=dt
    )
    made.connect(i=pre, j=post)
    made.w = weights[post, pre]
    if delay is not None:
        made.delay = delay * dt
    return made


def compared(model: Published) -> list[tuple[str, str]]:
    """Both sides of every comparison that decides on a spike or on the end of refractoriness."""
    texts = [model.spike, model.refractory if isinstance(model.refractory, str) else ""]
    found = [
        node
        for text in texts
        if text
        for node in ast.walk(ast.parse(text.strip(), mode="eval"))
        if isinstance(node, ast.Compare)
    ]
    return [(ast.unparse(node.left), ast.unparse(node.comparators[0])) for node in found]


def names(text: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(text, mode="eval")) if isinstance(node, ast.Name)}


def apart(left: str, right: str, known: dict[str, np.ndarray]) -> float:
    """How near both sides come to one another, relative to the larger one's largest value."""
    units = {k: float(v) for k, v in DEFAULT_UNITS.items()}
    space = {**vars(np), **units, **known}
    a, b = (np.asarray(eval(text, {"__builtins__": {"int": lambda held: held * 1}}, space)) for text in (left, right))
    return float(np.abs(a - b).min() / max(np.abs(a).max(), np.abs(b).max()))


def dimension(value: Any) -> str:
    found = b2.get_dimensions(value)
    return "1" if found is DIMENSIONLESS else repr(found)
