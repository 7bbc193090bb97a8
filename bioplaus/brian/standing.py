"""Where a circuit stands, as Brian2 can begin with it, and what it has left behind.

Brian2's queues of spikes begin empty. Which spikes of before the first step are still on their way is known, and what they bring, too: it
comes beside the external input, in the step in which it would have arrived.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp
import torch

from bioplaus.circuit import Network
from bioplaus.circuit.network import PopulationState, State
from bioplaus.circuit.wiring import Outputs, Wired, Wiring
from bioplaus.symbolic.derive import HELD, LAST, RECEPTIVE, arriving
from bioplaus.symbolic.functions import NUMPY
from bioplaus.symbolic.units import plain

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.cell import Cell


def part(state: State, samples: slice) -> State:
    """Some samples of it."""
    populations = [
        PopulationState(
            tuple([s[samples] for s in p.s]),
            tuple([y[samples] for y in p.y]),
            None if p.wait is None else p.wait[samples],
        )
        for p in state.populations
    ]
    return State(tuple(populations), tuple([f[samples] for f in state.filtered]))


def on_their_way(network: Network, state: State, drives: Sequence[Tensor]) -> list[Tensor]:
    """External input, (time, batch, (channels and noises) · unit) of every population, with what earlier spikes bring.

    In step t, counted from 0, age i holds y_{t−1−i}: an output of before the first step as long as t ≤ i; those from then on Brian2 brings.
    """
    found = [drive.clone() for drive in drives]
    for w in network.recurrent:
        if not events(network, w):
            continue  # rates stand in the neurons themselves
        target, said = network.populations[w.target], state.populations[w.source.population].y
        silence = torch.zeros_like(said[0])
        for t in range(min(max(w.source.delays), len(found[w.target]))):
            brought = w.drive(w.source.of([*[silence] * (t * w.source.voices), *said]), network.weights[w.spec.name])
            into = found[w.target][t].unflatten(-1, (target.taken, target.size))
            into[..., list(w.channels), :] += brought.unflatten(-1, (len(w.channels), target.size))
    return found


def events(network: Network, w: Wired[Outputs]) -> bool:
    """Whether what a projection carries comes with spikes alone."""
    return network.circuit.populations[w.spec.source].cell.with_spikes(w.spec.sends)


def begun(cell: Cell, state: PopulationState, arrived: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """States as Brian2's first step finds them, (batch, unit) each: ``arrived`` since the last spikes, by state, it has before the reset that went with those."""
    old, last = ([each.double().cpu().numpy() for each in some] for some in (state.s, state.y[:1]))
    receptive = np.ones_like(last[0]) if state.wait is None else (state.wait == 0).double().cpu().numpy()
    values: dict[str, Any] = {LAST.name: last[0], HELD.name: last[0], RECEPTIVE.name: receptive}
    values |= {name: plain(value) for name, value in cell.constants.items()}
    values |= {f"unit_{channel}": scale for channel, scale in cell.scales.items()}
    values |= {arriving(s).name: number for s, number in arrived.items()} | dict(zip(cell.states, old, strict=True))
    return [evaluated(e, values) for e in cell.derived.begins]


def evaluated(e: sp.Expr, values: Mapping[str, Any]) -> np.ndarray:
    """An expression, by the numbers of its names."""
    needed = sorted(e.free_symbols, key=str)
    return sp.lambdify(needed, e, [NUMPY, np])(*(values[str(s)] for s in needed))


def inside(p: Wiring, state: PopulationState, states: int) -> PopulationState:
    """A population as its neurons have it, who go by their own outputs, sent or not."""
    if p.silence is None:
        return state
    return PopulationState(state.s[:states], (state.y[0] + state.s[-1], *state.y[1:]), state.wait)


def refractory(refracts: Any, state: PopulationState, condition: bool, dt: float) -> tuple[str, np.ndarray]:
    """A variable of Brian2's, and its values, by which neurons wait for as many more steps as they have left, ``refracts`` being all of them."""
    assert state.wait is not None
    left = state.wait.double().cpu().numpy()
    if condition:
        return "not_refractory", (left == 0).reshape(-1)
    spiked = np.where(left > 0, (left - np.broadcast_to(refracts.double().cpu().numpy(), left.shape) - 1) * dt, -1e4)
    return "lastspike", spiked.reshape(-1)


def behind(
    network: Network,
    state: State,
    recorded: Mapping[tuple[int, str, int], np.ndarray],
    silent: Mapping[int, np.ndarray],
    filtered: Tensor | None,
) -> State:
    """What stands behind the last step, by outputs and states (value at the end) of all steps, and who is not refractory where a condition ends it.

    Outputs are the neurons' own; ``silent`` is 1, (time, batch, unit), where those of a population are not sent.
    """
    populations = []
    for i, (p, before) in enumerate(zip(network.populations, state.populations, strict=True)):
        like = {"dtype": network.dtype, "device": network.device}
        y, states = torch.as_tensor(recorded[i, "y_now", 0], **like), len(p.start) - (p.silence is not None)
        s = [torch.as_tensor(recorded[i, "after", j], **like) for j in range(states)]
        quiet = torch.as_tensor(silent[i], **like) if i in silent else torch.zeros_like(y)
        if i in silent:
            s.append(quiet * y)
        send = p.kernel.send or (lambda s, y: ())
        steps = [
            tuple([each * (1 - quiet[t]) for each in (y[t], *send(tuple([each[t] for each in s]), y[t]))])
            for t in range(len(y))[-p.ages :]
        ]
        said = [*(each for step in reversed(steps) for each in step), *before.y][: p.slots]
        wait = before.wait
        if p.kernel.waits is not None and wait is not None:
            wait = 1 - torch.as_tensor(recorded[i, "active", 0][-1], **like)
        elif wait is not None:
            for now in y:
                wait = (wait - 1).clamp_min(0) + now * p.refractory
        populations.append(PopulationState(tuple([each[-1] for each in s]), tuple(said), wait))
    if filtered is None:
        return State(tuple(populations), ())
    return State(tuple(populations), tuple(filtered.split([network.populations[i].size for i in network.sources], -1)))
