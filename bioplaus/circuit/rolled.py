"""What a fused loop leaves of a trajectory: arrays over time, which are steps to whoever asks for one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

import numpy as np
import torch

from bioplaus.circuit.network import PopulationState, State, Step
from bioplaus.codegen.partials import Partials

if TYPE_CHECKING:
    from torch import Tensor


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array)  # asked for here, so that who only reads descriptions loads no torch


@dataclass(frozen=True)
class Lane:
    """One population over time; what was not written down is empty.

    said, sent : (ages + time, batch, unit), outputs and what is sent beside them; s, after, wait, seen : (time + 1, …), before each step and after the last, or, where states are not kept,
    s and wait (1, …), after the last; u, active : (time, …); I : (channel, time, …).
    """

    ages: int
    said: np.ndarray
    u: tuple[np.ndarray, ...]
    s: tuple[np.ndarray, ...] = ()
    wait: np.ndarray | None = None
    active: np.ndarray | None = None
    I: np.ndarray | None = None
    seen: np.ndarray | None = None
    sent: tuple[np.ndarray, ...] = ()

    def __len__(self) -> int:
        return len(self.said) - self.ages

    def part(self, begin: int, end: int) -> Lane:
        """Steps from ``begin`` to before ``end``."""
        cut = lambda a, more=0: None if a is None else a[begin : end + more]  # noqa: E731
        return Lane(
            self.ages,
            self.said[begin : end + self.ages],
            tuple([each[begin:end] for each in self.u]),
            tuple([each[begin : end + 1] for each in self.s]) if self.I is not None else (),
            cut(self.wait, 1) if self.I is not None else None,
            cut(self.active),
            None if self.I is None else self.I[:, begin:end],
            cut(self.seen, 1),
            tuple([each[begin : end + self.ages] for each in self.sent]),
        )

    def outputs(self, t: int) -> tuple[Tensor, ...]:
        """Outputs as they stand before step t, the newest first."""
        voices = (self.said, *self.sent)
        return tuple([_tensor(each[t + self.ages - 1 - age]) for age in range(self.ages) for each in voices])

    def before(self, t: int) -> PopulationState:
        """What stands before step t; without states, where they are not kept."""
        if self.I is None:
            return PopulationState((), self.outputs(t), None)
        wait = None if self.wait is None else _tensor(self.wait[t])
        return PopulationState(tuple([_tensor(s[t]) for s in self.s]), self.outputs(t), wait)

    @property
    def last(self) -> PopulationState:
        """What stands after the last step."""
        wait = None if self.wait is None else _tensor(self.wait[-1])
        return PopulationState(tuple([_tensor(s[-1]) for s in self.s]), self.outputs(len(self)), wait)

    def get(self, kind: str, i: int) -> np.ndarray:
        """A quantity over time, (time, batch, unit), by the names of `bioplaus.circuit.trajectory.Stretch`; KeyError for what was not written down."""
        T = len(self)
        if kind == "pre":
            age, voice = divmod(i, 1 + len(self.sent))
            return (self.said, *self.sent)[voice][self.ages - 1 - age : self.ages - 1 - age + T]
        if kind == "y_last":
            return self.said[self.ages - 1 : self.ages - 1 + T]
        if kind == "y_now":
            return self.said[self.ages :]
        if kind == "u" and self.u:
            return self.u[i]
        if kind == "active" and self.active is not None:
            return self.active
        if self.I is None:
            raise KeyError(kind)
        if kind == "wait" and self.wait is not None:
            return self.wait[:T]
        if kind == "receptive":
            return (self.get("wait", 0) == 0).astype(self.said.dtype)
        return {"s": lambda: self.s[i][:T], "after": lambda: self.s[i][1:], "I": lambda: self.I[i]}[kind]()  # type: ignore[index]


class Rolled(Sequence[Step]):
    """The steps of a stretch.

    Where the loop has read steps out: ``o`` is the readout's output, and ``counts`` Σ of what neurons said up to here, (batch, unit) of every population.
    """

    o: Tensor | None = None
    counts: list[Tensor] | None = None

    def __init__(
        self, lanes: Sequence[Lane], sources: Sequence[int], leaky: bool, linear: Sequence[Callable[[Lane], Partials]]
    ) -> None:
        self.lanes, self.sources, self.leaky, self.linear = tuple(lanes), tuple(sources), leaky, linear

    def __len__(self) -> int:
        return len(self.lanes[0])

    @overload
    def __getitem__(self, t: int) -> Step: ...
    @overload
    def __getitem__(self, t: slice) -> Rolled: ...
    def __getitem__(self, t: int | slice) -> Step | Rolled:
        if isinstance(t, slice):
            begin, end, stride = t.indices(len(self))
            if stride != 1:
                raise ValueError("consecutive steps only")
            return Rolled(
                [lane.part(begin, max(begin, end)) for lane in self.lanes], self.sources, self.leaky, self.linear
            )
        t = range(len(self))[t]
        full = all(lane.I is not None for lane in self.lanes)
        I = [_tensor(lane.I[:, t]).movedim(0, 1).flatten(1) for lane in self.lanes] if full else []  # type: ignore[index]
        u = tuple([tuple([_tensor(each[t]) for each in lane.u]) for lane in self.lanes])
        active = tuple([None if lane.active is None else _tensor(lane.active[t]) for lane in self.lanes])
        return Step(self._state(t), tuple(I), u, active, self._state(t + 1))

    def _state(self, t: int) -> State:
        return State(tuple([lane.before(t) for lane in self.lanes]), self._filtered(t))

    def _filtered(self, t: int) -> tuple[Tensor, ...]:
        return tuple([_tensor(self.lanes[p].seen[t]) for p in self.sources]) if self.leaky else ()  # type: ignore[index]

    @property
    def last(self) -> State:
        """What stands after the last step, states included."""
        return State(tuple([lane.last for lane in self.lanes]), self._filtered(len(self)))

    def get(self, p: int, kind: str, i: int) -> Tensor:
        """A quantity of population ``p`` over time."""
        return _tensor(self.lanes[p].get(kind, i))

    def finite(self, o: Tensor) -> bool:
        """Whether outputs are, and all that the last step left before its reset."""
        return all(bool(np.isfinite(a).all()) for a in (o.numpy(), *(u[-1] for lane in self.lanes for u in lane.u)))

    def learned(self, error: Tensor) -> dict[str, Tensor] | None:
        """What the readout's weights learn of errors, where the loop has read steps out."""
        return None

    def through(self, error: Tensor, W: Tensor) -> Tensor:
        """Errors (time, batch, output) through weights (output, unit)."""
        return error @ W

    def partials(self) -> tuple[Partials, ...]:
        """The partials of every population's cell at all steps."""
        return tuple([linear(lane) for linear, lane in zip(self.linear, self.lanes, strict=True)])

    def seen(self) -> Tensor:
        """ȳ of all readout sources side by side, (time, batch, unit)."""
        each = [self.lanes[p].seen[1:] if self.leaky else self.lanes[p].get("y_now", 0) for p in self.sources]  # type: ignore[index]
        return _tensor(each[0] if len(each) == 1 else np.concatenate(each, -1))
