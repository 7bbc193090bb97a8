"""What a fused loop leaves of a trajectory: arrays over time, which are steps to whoever asks for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from bioplaus.circuit.network import PopulationState, State, Step

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Lane:
    """One population over time; what was not written down is empty.

    said : (ages + time, batch, unit); s, after, wait, seen : (time + 1, …), before each step and after the last; u, active : (time, …);
    I : (channel, time, …).
    """

    ages: int
    said: Tensor
    u: tuple[Tensor, ...]
    s: tuple[Tensor, ...] = ()
    wait: Tensor | None = None
    active: Tensor | None = None
    I: Tensor | None = None
    seen: Tensor | None = None

    def __len__(self) -> int:
        return len(self.said) - self.ages

    def part(self, begin: int, end: int) -> Lane:
        """Steps from ``begin`` to before ``end``."""
        cut = lambda a, more=0: None if a is None else a[begin : end + more]  # noqa: E731
        s = tuple([each[begin : end + 1] for each in self.s])
        u = tuple([each[begin:end] for each in self.u])
        I = None if self.I is None else self.I[:, begin:end]
        return Lane(
            self.ages,
            self.said[begin : end + self.ages],
            u,
            s,
            cut(self.wait, 1),
            cut(self.active),
            I,
            cut(self.seen, 1),
        )

    def outputs(self, t: int) -> tuple[Tensor, ...]:
        """Outputs as they stand before step t, the newest first."""
        return tuple([self.said[t + self.ages - 1 - age] for age in range(self.ages)])

    def before(self, t: int) -> PopulationState:
        """What stands before step t."""
        return PopulationState(
            tuple([s[t] for s in self.s]), self.outputs(t), None if self.wait is None else self.wait[t]
        )


class Rolled(Sequence[Step]):
    """The steps of a stretch."""

    def __init__(self, lanes: Sequence[Lane], sources: Sequence[int], leaky: bool) -> None:
        self.lanes, self.sources, self.leaky = tuple(lanes), tuple(sources), leaky

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
            return Rolled([lane.part(begin, max(begin, end)) for lane in self.lanes], self.sources, self.leaky)
        t = range(len(self))[t]
        I = tuple(
            [lane.I[:, t].movedim(0, 1).flatten(1) if lane.I is not None else lane.said[t] for lane in self.lanes]
        )
        u = tuple([tuple([each[t] for each in lane.u]) for lane in self.lanes])
        active = tuple([None if lane.active is None else lane.active[t] for lane in self.lanes])
        full = all(lane.I is not None for lane in self.lanes)
        return Step(self._state(t), I if full else (), u, active, self._state(t + 1))

    def _state(self, t: int) -> State:
        filtered = tuple([self.lanes[p].seen[t] for p in self.sources]) if self.leaky else ()  # type: ignore[index]
        return State(tuple([lane.before(t) for lane in self.lanes]), filtered)

    @property
    def last(self) -> State:
        """What stands after the last step."""
        return self._state(len(self))

    def stacked(self) -> dict[Any, Tensor]:
        """By the keys of `bioplaus.circuit.trajectory.Stretch`, all that was written down."""
        import torch

        found: dict[Any, Tensor] = {}
        for p, lane in enumerate(self.lanes):
            T = len(lane)
            found["y_now", p, 0] = lane.said[lane.ages :]
            found["y_last", p, 0] = lane.said[lane.ages - 1 : lane.ages - 1 + T]
            found |= {
                ("pre", p, age): lane.said[lane.ages - 1 - age : lane.ages - 1 - age + T] for age in range(lane.ages)
            }
            found |= {("u", p, i): each for i, each in enumerate(lane.u)}
            for i, each in enumerate(lane.s):
                found |= {("s", p, i): each[:T], ("after", p, i): each[1:]}
            if lane.active is not None:
                found["active", p, 0] = lane.active
            if lane.wait is not None:
                found["receptive", p, 0] = (lane.wait[:T] == 0).to(lane.said.dtype)
            if lane.I is not None:
                found["I", p] = lane.I
        seen = [self.lanes[p].seen[1:] if self.leaky else found["y_now", p, 0] for p in self.sources]  # type: ignore[index]
        found["seen"] = seen[0] if len(seen) == 1 else torch.cat(seen, -1)
        return found
