"""A published model in Brian2 alone: its groups, its schedule, its default delay; nothing of bioplaus."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import brian2 as b2
import numpy as np
from brian2.core.namespace import DEFAULT_UNITS
from brian2.units.fundamentalunits import DIMENSIONLESS

from .model import Published

#: methods that ask for an input within a step, where one that follows `t` is the next step's already
STAGES = ("rk2", "rk4", "heun", "milstein")
#: of Brian2's random numbers
SEED = 11
#: how Brian2's code of a step draws a noise
DRAWN = re.compile(r"^(xi\w*) = dt\*\*\.5 \* randn\(\)$", re.MULTILINE)


@dataclass(frozen=True)
class Ran:
    """What a run gave: spikes (time, neuron), states after the integrator, an output, how near spikes were to being others, and what it drew."""

    spikes: np.ndarray
    states: dict[str, np.ndarray]
    output: np.ndarray | None = None
    margin: float = np.inf
    noise: dict[str, np.ndarray] = field(default_factory=dict)


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
        flow, inflow = f"stimulus_{name}(t, i)", W is not None and W[k * n : (k + 1) * n].any()
        lines += [f"from_others_{name} : 1"] if inflow else []
        held = " (constant over dt)" if model.method in STAGES and not inflow else ""
        lines.append(
            f"{name} = unit_{name}*({flow}{f' + from_others_{name}' if inflow else ''}) : {dimension(unit)}{held}"
        )
    lines += [f"model_output = {model.output} : 1"] if model.output else []
    spiking: dict[str, Any] = dict(threshold=model.spike, reset=model.reset, refractory=refractory)
    group = b2.NeuronGroup(
        n, "\n".join([written, *lines]), method=model.method, namespace=space, dt=dt, **(spiking if model.spike else {}),
    )  # fmt: skip
    for name, value in {**{k: v for k, v in parameters.items() if k in declared}, **varied, **model.start}.items():
        setattr(group, name, value)

    first = len(model.inputs) * n  # rows of weights from here on jump
    arriving = []
    if model.jumps and x.shape[1]:
        step, line = np.nonzero(x[1:])
        arriving = [b2.SpikeGeneratorGroup(x.shape[1], line, step * dt, dt=dt)]
    wired = [*((each, U, None) for each in arriving), (group, W, model.delay)]
    synapses = [
        made
        for source, weights, delay in wired
        if weights is not None
        for row, (state, unit) in enumerate(model.jumps.items())
        if (made := jumping(source, group, state, unit, weights[first + row * n :][:n], delay, dt)) is not None
    ]

    for k, name in enumerate(model.inputs):
        if W is not None and W[k * n : (k + 1) * n].any():
            synapses.append(flowing_into(group, f"from_others_{name}", W[k * n : (k + 1) * n], dt))

    states = list(group.equations.diff_eq_names)
    asked = conditions(model)
    read = {node.id for each in asked for node in ast.walk(each) if isinstance(node, ast.Name)} & {*group.variables}
    seen = b2.StateMonitor(
        group,
        sorted({*states, *read, *(["model_output"] if model.output else [])}),
        record=True,
        when="after_groups",
        dt=dt,
    )
    fired = b2.SpikeMonitor(group) if model.spike else None
    b2.seed(SEED)
    b2.Network(group, seen, *synapses, *arriving, *([fired] if fired is not None else [])).run(
        model.steps * dt, namespace={}
    )
    (noise,) = drawn([group], model.steps)

    spikes = np.zeros((model.steps, n))
    if fired is not None:
        spikes[np.rint(np.asarray(fired.t / dt)).astype(int), np.asarray(fired.i)] = 1
    values = {name: np.asarray(getattr(seen, f"{name}_")).T for name in seen.record_variables}
    known = {k: np.asarray(v) for k, v in {**parameters, **values}.items()}
    output = values["model_output"] if model.output else None
    return Ran(
        spikes,
        {s: values[s] for s in states},
        output,
        min((float(np.abs(leeway(each, known)).min()) for each in asked), default=np.inf),
        noise,
    )


def drawn(groups: Iterable[Any], steps: int) -> list[dict[str, np.ndarray]]:
    """For each group the normal numbers of its noises, (time, neuron), in a run that has just ended and began with `SEED`.

    In every step Brian2 draws for one group after the other, as their updaters are named, and for one noise of it after the other,
    as its code has them, which is another order in every process.
    """
    groups, source = list(groups), np.random.RandomState(SEED)
    wanted = [(group, xi) for group in groups for xi in DRAWN.findall(group.state_updater.abstract_code)]
    wanted.sort(key=lambda each: (each[0].state_updater.order, each[0].state_updater.name))
    ends = np.cumsum([len(group) for group, _ in wanted])
    numbers = source.randn(steps, ends[-1]) if wanted else np.empty((steps, 0))
    assert source.rand() == np.random.rand(), "Brian2 has drawn something else"
    found: list[dict[str, np.ndarray]] = [{} for _ in groups]
    for (group, xi), end in zip(wanted, ends, strict=True):
        found[groups.index(group)][xi] = numbers[:, end - len(group) : end]
    return found


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


def flowing_into(group: Any, variable: str, weights: np.ndarray, dt: Any) -> Any:
    """Synapses that add up other neurons' outputs at the start of each step."""
    post, pre = np.nonzero(weights)
    summed = f"w : 1\n{variable}_post = w*model_output_pre : 1 (summed)"
    # what a shorthand of the neurons reads is looked for among the synapses' names
    made = b2.Synapses(group, group, summed, dt=dt, namespace=dict(group.namespace))
    made.connect(i=pre, j=post)
    made.w = weights[post, pre]
    return made


def conditions(model: Published) -> list[ast.expr]:
    """What decides on a spike, and on the end of refractoriness where that is a condition."""
    texts = [model.spike, model.refractory if isinstance(model.refractory, str) else ""]
    found = [ast.parse(text.strip(), mode="eval").body for text in texts if text]
    return [each for each in found if isinstance(each, (ast.Compare, ast.BoolOp, ast.UnaryOp))]


def leeway(node: ast.expr, known: dict[str, np.ndarray]) -> np.ndarray:
    """By how much the sides of a condition may move before it turns, relative to their largest value; above zero where it holds."""
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            a, b = (value(each, known) for each in (left, right))
            return (a - b) / max(np.abs(a).max(), np.abs(b).max()) * (1 if isinstance(op, (ast.Gt, ast.GtE)) else -1)
        case ast.BoolOp(op=op, values=values):
            inner = [leeway(each, known) for each in values]
            return (np.minimum if isinstance(op, ast.And) else np.maximum).reduce(inner)
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return -leeway(inner, known)
    raise ValueError(f"{ast.unparse(node)} is no condition")


def value(node: ast.expr, known: dict[str, np.ndarray]) -> np.ndarray:
    """A side of a comparison in every step and neuron, in SI units."""
    units = {name: float(unit) for name, unit in DEFAULT_UNITS.items()}
    code = compile(ast.Expression(node), "side", "eval")
    return np.asarray(eval(code, {"__builtins__": {}}, {**vars(np), **units, **known}))


def dimension(value: Any) -> str:
    found = b2.get_dimensions(value)
    return "1" if found is DIMENSIONLESS else repr(found)
