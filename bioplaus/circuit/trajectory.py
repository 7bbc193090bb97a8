"""A stretch of a trajectory: consecutive steps of a circuit, stacked over time when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from bioplaus.circuit.blocks import Blocks, length
from bioplaus.circuit.network import Network, PopulationState, State, Step
from bioplaus.circuit.rolled import Rolled
from bioplaus.circuit.wiring import Source, Wired, side_by_side
from bioplaus.codegen.partials import Partials

if TYPE_CHECKING:
    from torch import Tensor

#: steps that are held at a time where a trajectory is only looked at  # chosen: more is not faster
PIECE = 64
#: the same for loops, in steps of neurons  # measured: 2 MB of outputs stay in a cache; a call of 1000 steps costs what they do
LOOP = 500_000
#: the same where they write down states as well, of which there are some ten  # chosen: some 15 MB
FULL = 2**18


class Stretch:
    """Consecutive steps of a trajectory, stacked over time when somebody asks."""

    def __init__(self, network: Network, steps: Sequence[Step], x: Tensor) -> None:
        self.network, self.x = network, x
        self.steps: Sequence[Step] = steps
        #: the same steps, if a fused loop has run them
        self.rolled = steps if isinstance(steps, Rolled) else None
        self.fused = self.rolled is not None
        self._stacked: dict[Any, Tensor] = {}
        #: (time,) 0 or 1: in which steps the weights' own deeds count; None: in all
        self.uses: Tensor | None = None
        #: how products over its steps are computed, where it is a piece of a longer way
        self.blocks: Blocks | None = None

    def __len__(self) -> int:
        return self.x.shape[0]

    @property
    def given(self) -> Tensor:
        """The circuit's input lines, (time, batch, input), without what it draws by itself."""
        return self.x[..., : self.network.circuit.inputs]

    def part(self, when: slice) -> Stretch:
        """Some consecutive steps of it."""
        part = Stretch(self.network, self.steps[when], self.x[when])
        part.uses = None if self.uses is None else self.uses[when]
        return part

    def forget(self) -> None:
        """Keep outputs and presynaptic signals, as far as they are stacked; the steps themselves are gone."""
        self.steps, self.rolled = (), None
        self._stacked = {
            key: value for key, value in self._stacked.items() if key == "seen" or key[1] in ("pre", "y_now")
        }

    def _kept(self, key: Any, make: Callable[[], Tensor]) -> Tensor:
        if key not in self._stacked:
            self._stacked[key] = make()
        return self._stacked[key]

    def _stack(self, pick: Callable[[Step], Tensor]) -> Tensor:
        parts = [pick(step) for step in self.steps]
        return parts[0].unsqueeze(0) if len(parts) == 1 else torch.stack(parts)

    def get(self, p: int, kind: str, i: int) -> Tensor:
        """A stacked quantity of population ``p``, (time, batch, unit)."""
        if (rolled := self.rolled) is not None and kind != "arrived":
            return self._kept((p, kind, i), lambda: rolled.get(p, kind, i))
        if kind == "I":
            return self._kept((p, "I"), lambda: self._currents(p))[i]
        if kind == "arrived":
            return self._arrived(p, i)
        picks: dict[str, Callable[[Step], Tensor]] = {
            "s": lambda step: step.before.populations[p].s[i],
            "pre": lambda step: step.before.populations[p].y[i],
            "y_last": lambda step: step.before.populations[p].y[0],
            "y_now": lambda step: step.after.populations[p].y[0],
            "u": lambda step: step.u[p][i],
            "active": lambda step: step.active[p],  # type: ignore[return-value]
            "receptive": lambda step: (step.before.populations[p].wait == 0).to(self.x.dtype),  # type: ignore[union-attr]
            "after": lambda step: step.after.populations[p].s[i],
        }
        return self._kept((p, kind, i), lambda: self._stack(picks[kind]))

    def _currents(self, p: int) -> Tensor:
        """(channel, time, batch, unit): each in one piece, so that functions of a channel run twice as fast."""
        stacked = torch.stack([step.I[p] for step in self.steps])
        return stacked.unflatten(-1, (-1, self.network.populations[p].size)).movedim(-2, 0).contiguous()

    def _arrived(self, p: int, i: int) -> Tensor:
        """All that arrives on a channel of the cell, also by what may be cut."""
        total = self.get(p, "I", i)
        for gate in self.network.populations[p].gated:
            if gate.of == i:
                total = total + (1 - self.get(p, "I", gate.switch)) * self.get(p, "I", gate.channel)
        return total

    def outputs(self, p: int, age: int) -> Tensor:
        """What population ``p`` had said before each step, ``age`` steps before the last it said, (time, batch, unit)."""
        return self.get(p, "pre", age)

    def partials(self) -> tuple[Partials, ...]:
        """The partials of every population's cell at all steps."""
        if self.rolled is not None:
            return self.rolled.partials()
        kernels = enumerate(p.kernel for p in self.network.populations)
        return tuple(Partials(*k.partials(lambda kind, i, p=p: self._inside(p, kind, i))) for p, k in kernels)

    def _inside(self, p: int, kind: str, i: int) -> Tensor:
        """The same as the neurons have it, which go by their own outputs while these are silenced."""
        if kind == "y_now" and self.network.populations[p].silence is not None:
            unsent = len(self.network.populations[p].start) - 1
            return self.get(p, kind, i) + self.get(p, "after", unsent)
        return self.get(p, kind, i)

    def pre(self, w: Wired[Source]) -> Tensor:
        """What a projection's weights multiply, (time, batch, pre)."""
        return side_by_side(self.parts(w))

    def parts(self, w: Wired[Source]) -> list[Tensor]:
        """The same piece by piece, where it lies: one for each delay."""
        parts = w.source.parts(self)
        return parts if self.uses is None else [part * self.uses[:, None, None].to(part) for part in parts]

    def seen(self) -> Tensor:
        """ȳ of all readout sources side by side, (time, batch, unit)."""
        if self.rolled is not None:
            return self._kept("seen", self.rolled.seen)
        read, several = self.network.read, len(self.network.sources) > 1
        return self._kept(
            "seen",
            lambda: self._stack(lambda step: torch.cat(read(step.after), -1) if several else read(step.after)[0]),
        )

    def output(self) -> Tensor:
        """The readout's output, (time, batch, output)."""
        if self.rolled is not None and self.rolled.o is not None:
            return self.rolled.o
        output, seen = self.network.output, self.seen()
        return output(seen) if self.blocks is None else self.blocks(lambda block: (output(block),), seen)[0]

    def learned(self, error: Tensor) -> dict[str, Tensor] | None:
        """What the readout's weights learn of errors (time, batch, output), Σ over time and batch, if a loop that reads steps out has run it."""
        return None if self.rolled is None else self.rolled.learned(error)

    def through(self, error: Tensor, W: Tensor) -> Tensor:
        """Errors (time, batch, output) through weights (output, unit), as what has run it computes a product."""
        return error @ W if self.rolled is None else self.rolled.through(error, W)

    def spikes(self, p: int) -> Tensor:
        """Outputs of a population, (time, batch, unit)."""
        return self.get(p, "y_now", 0)


def roll(
    network: Network,
    state: State,
    x: Tensor,
    states: bool = True,
    backend: str = "torch",
    u: bool = True,
    rows: Any = None,
    blocks: Blocks | None = None,
) -> tuple[Stretch, State]:
    """Run the circuit over inputs (time, batch, input).

    ``states=False`` forgets the state variables (after the reset) and currents that no derivative needs: the less is kept,
    the less memory is touched. ``u=False`` lets loops forget u and refractoriness as well, so that outputs are left and nothing can be
    differentiated. ``backend`` is ``"torch"`` or ``"numba"``; ``rows`` what `weights_for` has laid ready for it;
    ``blocks`` says that it is a piece of a longer way, and where that was begun.
    """
    x, drive = network.given(x, blocks)
    rows = weights_for(network, backend) if rows is None else rows
    if rows is not None:
        from bioplaus.circuit.fused import fused  # sympy and numba, for whoever asks for loops

        rolled, after = fused(network).roll(network, state, drive, states, u, rows)
        return _placed(Stretch(network, rolled, x), blocks), after
    drives = [d.unbind(0) for d in drive]
    steps = []
    lean = not states and not any(p.kernel.needs & {"s", "I", "receptive"} for p in network.populations)
    last = state.outputs() if lean else state
    for drive in zip(*drives, strict=True):
        step = network.advance(state, drive)
        state = step.after
        if lean:
            step = Step(last, (), step.u, step.active, last := state.outputs())
        steps.append(step)
    return _placed(Stretch(network, steps, x), blocks), state


def _placed(stretch: Stretch, blocks: Blocks | None) -> Stretch:
    stretch.blocks = blocks
    return stretch


def weights_for(network: Network, backend: str) -> Any:
    """The weights as loops read them, for `roll` over one stretch after the other while they are held; None where torch takes the steps."""
    if backend != "numba":
        return None
    from bioplaus.circuit.fused import weights

    return weights(network)


class Way:
    """A circuit on its way through time, a piece after the other, cut anywhere: the numbers are the same to the last bit.

    Attributes
    ----------
    state : what stands behind the last step.
    step : how many steps there were since the first; by it noise and background are drawn, and products cut (`bioplaus.circuit.blocks`).
    """

    def __init__(
        self,
        network: Network,
        batch: int,
        seed: int = 0,
        occasion: str = "",
        backend: str = "torch",
        state: State | None = None,
        step: int = 0,
    ) -> None:
        self.network, self.batch, self.seed, self.occasion, self.backend = network, batch, seed, occasion, backend
        self.state, self.step = network.start(batch) if state is None else state, step
        self._rows = weights_for(network, backend)

    def along(self, x: Tensor, states: bool = True, u: bool = True) -> Iterator[Stretch]:
        """The steps of inputs (time, batch, input), a few at a time, so that memory does not grow with time; ``states`` and ``u`` as for `roll`.

        What the circuit draws by itself is drawn for each, if it does not stand beside the input yet.
        """
        each, most = length(self.network, self.batch, self.backend, FULL), PIECE
        if self.backend == "numba":
            width = self.batch * sum(p.size for p in self.network.populations)
            most = max(each, (FULL if states else LOOP) // width // each * each)
        begin, end = self.step, self.step + len(x)
        for left in range(begin - begin % most, end, most):
            first, last = max(left, begin), min(left + most, end)
            given = self.network.draw(x[first - begin : last - begin], self.seed, self.occasion, first)
            blocks = Blocks(first, each)
            stretch, state = roll(self.network, self.state, given, states, self.backend, u, self._rows, blocks)
            self.state, self.step = apart(state), last
            yield stretch
            del stretch, state  # nor is the piece before held while the next is made


def pieces(
    network: Network,
    x: Tensor,
    seed: int = 0,
    occasion: str = "",
    backend: str = "torch",
    states: bool = True,
    u: bool = True,
) -> Iterator[Stretch]:
    """Run the circuit over inputs (time, batch, input) from its start, a piece at a time: see `Way`."""
    return Way(network, x.shape[1], seed, occasion, backend).along(x, states, u)


def apart(state: State) -> State:
    """The same in memory of its own: what loops leave lies in arrays over all their steps."""
    kept = [
        PopulationState(
            tuple([s.clone() for s in p.s]),
            tuple([y.clone() for y in p.y]),
            None if p.wait is None else p.wait.clone(),
        )
        for p in state.populations
    ]
    return State(tuple(kept), tuple([f.clone() for f in state.filtered]), state.beside)
