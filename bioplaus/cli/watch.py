"""Watching runs: one moving line for each that is going and one for all, or a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bioplaus.cli.terminal import console, duration, say, shown
from bioplaus.runs.event import Event

_PLAIN_EVERY = 10.0  # s between plain lines about the same run  # chosen: a log one can still read
_SMOOTHING = 0.05  # weight of one update in the pace  # chosen: the last twenty or so count


@dataclass
class _Going:
    """A run that is on its way."""

    update: int
    heard: float  # s, monotonic, when it last told of itself
    spoke: float  # s, monotonic, when a plain line was last printed
    bar: Any = None
    test: str = ""


class Watch:
    """Receives the `Event` objects of the runs of one command.

    Parameters
    ----------
    updates : mapping of str to int
        Label of each arm → updates of each of its runs.
    seeds : int
        Runs an arm.
    workers : int
        Runs at a time.
    """

    def __init__(self, updates: Mapping[str, int], seeds: int, workers: int = 1):
        self.left = {label: each * seeds for label, each in updates.items()}
        self.total, self.runs, self.over = sum(self.left.values()), len(updates) * seeds, 0
        self.workers = max(1, min(workers, self.runs))
        self.width = max(len(label) for label in updates)
        self.going: dict[tuple[str, int], _Going] = {}
        self.pace: dict[str, float] = {}  # label → seconds an update, smoothed
        self.bars = _bars() if sys.stdout.isatty() else None
        self.all: Any = None
        self.drawn: list[str] = []  # files of the figures

    def __enter__(self) -> Watch:
        if self.bars:
            self.bars.start()
            if self.runs > 1:
                self.all = self.bars.add_task(f"all {self.runs} runs", total=self.total, said="starting", left="")
        return self

    def __exit__(self, *_: object) -> None:
        if self.bars:
            for bar in self.bars.task_ids:
                self.bars.remove_task(bar)
            self.bars.stop()

    def __call__(self, event: Event) -> None:
        name = f"{event.label:<{self.width}}  seed {event.seed}"
        if event.kind == "note":
            self._line(event.message)
        elif event.kind in ("remark", "waiting"):
            self._line(f"{name}  {event.message}")
        elif event.kind == "drawn":
            self.drawn.append(event.folder)
        elif event.kind in ("start", "resume"):
            self._begin(name, event)
        elif event.kind == "update":
            self._step(self.going[event.label, event.seed], name, event)
        else:
            self._end(name, event)

    def seconds_left(self) -> float | None:
        """Time until all runs are done; arms that did not begin are taken to be as fast as those that did."""
        if not self.pace:
            return None
        typical = sum(self.pace.values()) / len(self.pace)
        return sum(n * self.pace.get(label, typical) for label, n in self.left.items()) / self.workers

    def _begin(self, name: str, event: Event) -> None:
        now = time.monotonic()
        run = self.going[event.label, event.seed] = _Going(event.update, now, now)
        self.left[event.label] -= event.update
        if event.kind == "resume":
            self._line(f"{name}  goes on at update {event.update} of {event.updates}")
        elif not self.bars:
            self._line(f"{name}  starts: {event.updates} updates, {event.row.get('weights', 0):,} weights")
        if self.bars:
            run.bar = self.bars.add_task(name, total=event.updates, completed=event.update, said="", left="")

    def _step(self, run: _Going, name: str, event: Event) -> None:
        now, steps = time.monotonic(), event.update - run.update
        self.left[event.label] -= steps
        if steps > 0:
            pace = (now - run.heard) / steps
            old = self.pace.get(event.label, pace)
            self.pace[event.label] = old + min(1.0, _SMOOTHING * steps) * (pace - old)
        run.update, run.heard = event.update, now
        if event.row.get("test_score") is not None:
            run.test = f"  test loss {event.row['test_loss']:.4g}  test score {event.row['test_score']:.4g}"
        self._show(run, name, event, now)

    def _show(self, run: _Going, name: str, event: Event, now: float) -> None:
        mine = duration((event.updates - event.update) * self.pace.get(event.label, 0.0))
        said = "  ".join(f"{key} {event.row[key]:.4g}" for key in ("loss", "score") if event.row.get(key) is not None)
        everything = duration(self.seconds_left() or 0.0)
        if self.bars:
            self.bars.update(run.bar, completed=event.update, said=said, left=mine)
            if self.all is not None:
                done = self.total - sum(self.left.values())
                self.bars.update(self.all, completed=done, said=f"{self.over} done", left=everything)
        elif now - run.spoke >= _PLAIN_EVERY:
            run.spoke = now
            more = f" (all runs {everything})" if self.runs > 1 else ""
            self._line(f"{name}  update {event.update}/{event.updates}  {said}  left {mine}{more}")

    def _end(self, name: str, event: Event) -> None:
        run = self.going.pop((event.label, event.seed), None)
        self.over += event.kind in ("done", "found")
        if event.kind == "found":
            self.left[event.label] -= event.updates
        if event.kind == "failed" and run:  # nothing more will come of it
            self.left[event.label] -= event.updates - run.update
        words = {
            "done": f"done{run.test if run else ''}",
            "found": "was done before",
            "interrupted": f"interrupted at update {event.update} of {event.updates}, saved",
            "failed": f"failed at update {event.update + 1}",
        }
        self._line(f"{name}  {words[event.kind]}  {event.folder}")
        if self.bars and run:
            self.bars.remove_task(run.bar)

    def _line(self, text: str) -> None:
        if self.bars:
            self.bars.console.print(shown(text), markup=False, highlight=False, soft_wrap=True)
        else:
            say(text)


def _bars() -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn())
    more = (TextColumn("{task.fields[said]}"), TextColumn("left {task.fields[left]}"))
    return Progress(*columns, *more, console=console(), transient=True)
