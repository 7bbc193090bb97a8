"""How a rule is computed, never what it computes.

``Online()`` carries traces forward and asks for a gradient after every step: memory does not grow with time, weights may
move each step. ``Window(K)`` holds the weights for K steps and computes the same gradient backwards in matrix products,
carrying traces across window borders; ``Window()`` takes the whole sequence as one window. Windows are counted back from the
sequence's end, where many tasks ask: the last is whole, the first may be shorter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from bioplaus import checks
from bioplaus.circuit.linear import Credit, Linear, mapped, roll, silent
from bioplaus.circuit.network import Network, State
from bioplaus.errors import NumericalError, RuleError
from bioplaus.signal import Observed


@dataclass(frozen=True)
class Online:
    """One step at a time, traces carried forward."""

    @property
    def steps(self) -> int | None:
        return 1


@dataclass(frozen=True)
class Window:
    """``steps`` at a time (None: the whole sequence), computed backwards; if they don't divide it, the first window is shorter."""

    steps: int | None = None

    constraints = checks.Table(RuleError, steps=checks.Optional(checks.Whole(), "for whole sequences"))

    def __post_init__(self) -> None:
        checks.settle(self)


Schedule = Online | Window

#: steps an online rule simulates ahead while no weight moves, so that small things are computed together; traces are carried
#: step by step all the same, and memory stays flat  # chosen: 32 costs little memory and halves the time of small circuits
BLOCK = 32

#: steps of a window simulated before what its derivatives do not need is let go  # chosen: 200 steps of 32 × 100 neurons fit a cache
STRETCH = 200


@dataclass(frozen=True)
class RateRegulariser:
    """½ · strength · Σ_j (f_j − f₀)², f_j the mean output of neuron j over steps and batch (Bellec et al. 2020, eq. 54).

    Its credit for every output is strength · (f_j − f₀)/T, on the unfiltered eligibility. ``target`` is in outputs per step.
    """

    target: float
    strength: float

    constraints = checks.Table(RuleError, target=checks.Real(), strength=checks.Real(least=0))

    def __post_init__(self) -> None:
        checks.settle(self)

    def credit(self, mean: Tensor, steps: int) -> Tensor:
        return self.strength * (mean - self.target) / steps


class Halves(Protocol):
    """A rule, as far as its schedule is concerned."""

    @property
    def eligibility(self) -> Any: ...
    @property
    def signal(self) -> Any: ...
    @property
    def schedule(self) -> Any: ...


@dataclass
class Outcome:
    """What a sequence gave.

    Attributes
    ----------
    gradients : of the circuit's weights, mean over the batch.
    own : of the signal's own tensors (predictor, feedback), mean over the batch.
    loss : mean over the batch of Σ_t weight·loss.
    outputs : (time, batch, output).
    rates : mean output of every population, per step.
    info : means of what the signal reported.
    """

    gradients: dict[str, Tensor]
    own: dict[str, Tensor]
    loss: float
    outputs: Tensor
    rates: dict[str, float]
    info: dict[str, float]
    state: State
    windows: list[Any] = field(default_factory=list)


def sequence(
    network: Network,
    rule: Halves,
    theta: dict[str, Tensor],
    batch: Any,
    loss: Any,
    regulariser: RateRegulariser | None = None,
    apply: Callable[[dict[str, Tensor], dict[str, Tensor]], None] | None = None,
    keep_windows: bool = False,
    generator: torch.Generator | None = None,
    uses: Tensor | None = None,
) -> Outcome:
    """Run a circuit through one batch of sequences and compute the rule's gradient, step by step or window by window.

    Parameters
    ----------
    theta : the signal's own tensors.
    batch : has inputs (time, batch, input), targets, weight (time, batch) and context.
    loss : has value(outputs, targets) and error(outputs, targets).
    regulariser : on the outputs' mean; exact for rules whose past half takes output credit, and for whole windows.
    apply : called with the gradients of each window as it ends; they are then not summed up.
    keep_windows : return the trajectory too.
    generator : for rules that draw at random; None: a stream of its own, always the same.
    uses : (time,), 0 or 1: count only what weights do in some steps; the trajectory is the same. None: all.

    Raises
    ------
    RuleError
        If the rule and the regulariser cannot go together under this schedule.
    NumericalError
        At the first output that is not finite, naming step, variable and population.
    """
    T, B = batch.inputs.shape[:2]
    n = T if rule.schedule.steps is None else min(rule.schedule.steps, T)  # what the signal sees at a time
    online = isinstance(rule.schedule, Online)
    past, future = rule.eligibility, rule.signal
    pointwise = getattr(future, "pointwise", False)
    ahead = apply is None and (online or not pointwise)  # no weight moves meanwhile: small things are computed together
    K = min(T, n * max(1, BLOCK // n)) if ahead else n
    summing = regulariser is not None and (n < T or online)
    if summing and getattr(past, "summed", None) is None:
        raise RuleError(
            f"A rate regulariser needs the mean over the whole sequence, which {type(past).__name__.lower()} cannot wait for under "
            f"{rule.schedule}. Use schedule=Window(), or a rule whose past half keeps a trace (eprop, rflo, rtrl)."
        )
    with torch.no_grad():
        state = network.start(B)
        trace = past.init(network, B, theta, generator)
        if summing:
            trace.keep_sum = True
        memory = future.init(network, B, generator)
        totals: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
        sums = [torch.zeros(p.size, dtype=network.dtype, device=network.device) for p in network.populations]
        outputs, infos, windows = [], [], []
        lean = not (keep_windows or future.reads_state)
        for start, stop in borders(T, K):
            # a window is simulated in stretches, each reduced to what its derivatives need before the next begins
            final = stop == T
            size = STRETCH if pointwise and lean and past.takes_stretches and not online else K
            stretches: list[tuple[Linear, Tensor]] = []
            for begin in range(start, stop, size):
                x, targets, weight = (
                    a[begin : min(begin + size, stop)] for a in (batch.inputs, batch.targets, batch.weight)
                )
                window, state = roll(network, state, x, states=not lean)
                window.uses = None if uses is None else uses[begin : begin + len(window)]
                o = network.output(window.seen())
                outputs.append(o)
                for i, total in enumerate(sums):
                    total += window.spikes(i).sum((0, 1))
                _finite(network, window, o, begin)
                linear = Linear(network, window)
                if stop - start > size:
                    linear.freeze()
                stretches.append((linear, _error(loss, o, targets, weight)))
                if keep_windows:
                    windows.append(window)
            means = [total / (T * B) for total in sums]
            extra = tuple(regulariser.credit(m, T) for m in means) if regulariser is not None and not summing else None
            met: list[tuple[Linear, Any]] = []
            gradients: dict[str, Tensor] = {}
            own: dict[str, Tensor] = {}
            for linear, error in stretches:
                last = final and linear is stretches[-1][0]
                credits = []
                parts = [(linear, error)] if pointwise else _windows(linear, error, n)
                for i, (part, delta) in enumerate(parts):
                    ends = last and i == len(parts) - 1
                    observed = Observed(network, part, delta, ends, batch.context, extra)
                    credit, more, memory, info = future.credit(theta, memory, observed)
                    infos.append(info)
                    credits.append(credit)
                    _add(own, more)
                met.append((linear, _joined(credits)))
                errors = error.flatten(0, -2)
                _add(gradients, {"W_out": errors.T @ linear.window.seen().flatten(0, -2)})
                if "b_out" in network.weights:
                    _add(gradients, {"b_out": errors.sum(0)})
            if online:
                new, trace = past.forward(network, trace, *met[0])
            else:
                new, trace = past.window(network, trace, met, final)
            _add(own, {n: new.pop(n) for n in past.owns if n in new})  # what the past half learns for itself
            _add(gradients, new)
            if summing and final:
                assert regulariser is not None
                constant = _constant(network, [regulariser.credit(m, T) for m in means])
                _add(gradients, past.summed(network, trace, constant))
            for name, mask in network.masks.items():
                if name in gradients:
                    gradients[name] = gradients[name] * mask
            if apply is not None:
                apply({n: g / B for n, g in gradients.items()}, {n: g / B for n, g in own.items()})
            else:
                _add(totals[0], gradients)
                _add(totals[1], own)
        o = torch.cat(outputs)
        asked = batch.weight.any(-1)
        value = float((loss.value(o[asked], batch.targets[asked]) * batch.weight[asked]).sum()) / B
    names = [p.name for p in network.populations]
    return Outcome(
        gradients={n: g / B for n, g in totals[0].items()},
        own={n: g / B for n, g in totals[1].items()},
        loss=value,
        outputs=o,
        rates={n: float(total.mean()) / (T * B) for n, total in zip(names, sums, strict=True)},
        info={k: sum(i[k] for i in infos) / len(infos) for k in (infos[0] if infos else {})},
        state=state,
        windows=windows,
    )


def _error(loss: Any, o: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """weight · ∂loss/∂o; not computed, but zero, at steps that ask nothing of any sample."""
    asked = weight.any(-1)
    error = torch.zeros_like(o)
    if bool(asked.any()):
        error[asked] = loss.error(o[asked], targets[asked]) * weight[asked][..., None]
    return error


def _windows(linear: Linear, error: Tensor, n: int) -> list[tuple[Linear, Tensor]]:
    """Consecutive windows of n steps, each with its error."""
    T = len(linear.window)
    if n >= T:
        return [(linear, error)]
    return [(linear.part(slice(a, b)), error[a:b]) for a, b in borders(T, n)]


def borders(T: int, n: int) -> list[tuple[int, int]]:
    """(start, stop) of windows of n steps, counted back from the end: only the first may be shorter.

    >>> borders(7, 3)
    [(0, 1), (1, 4), (4, 7)]
    """
    return [(max(0, stop - n), stop) for stop in range(T, 0, -n)][::-1]


def _joined(credits: list[Any]) -> Any:
    """Credit of consecutive windows as one."""
    if len(credits) == 1:
        return credits[0]
    if isinstance(credits[0], Credit):
        return mapped(_cat, *credits)
    return tuple(_cat(*parts) for parts in zip(*credits, strict=True))


def _cat(*parts: Tensor | None) -> Tensor | None:
    """Side by side in time; which credit there is does not depend on the window."""
    return None if parts[0] is None else torch.cat([p for p in parts if p is not None])


def _add(total: dict[str, Tensor], new: dict[str, Tensor]) -> None:
    for name, g in new.items():
        total[name] = total[name] + g if name in total else g


def _constant(network: Network, credit: list[Tensor]) -> Credit:
    empty = silent(network)
    return empty._replace(y=tuple((c, *ages[1:]) for c, ages in zip(credit, empty.y, strict=True)))


def _finite(network: Network, window: Any, o: Tensor, start: int) -> None:
    """Look for trouble where it would show: if an output or a last state is not finite, find the first state that was not.

    Every population is looked at, for spikes hide a NaN: what is not a number is not above threshold.
    """
    if bool(torch.isfinite(o).all()) and all(bool(torch.isfinite(u).all()) for us in window.steps[-1].u for u in us):
        return
    for t, step in enumerate(window.steps):
        for p, us in zip(network.populations, step.u, strict=True):
            for name, u in zip(p.kernel.derived.states, us, strict=True):
                bad = (~torch.isfinite(u)).nonzero()
                if len(bad):
                    b, j = bad[0].tolist()
                    raise NumericalError(
                        f"The simulation went wrong at step {start + t}: variable '{name}' of population '{p.name}' is {float(u[b, j])} in neuron {j} "
                        f"(sample {b} of the batch). Lower the learning rate, clip gradients, or use a smaller dt or another integration method."
                    )
    raise NumericalError(
        f"The readout's output is not finite within steps {start} to {start + len(window.steps) - 1}: lower the readout's learning rate."
    )
