"""Who watches runs: nobody, a function, or whoever reads the lines of text that ``progress=True`` shows."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import Any, cast

from bioplaus import checks
from bioplaus.errors import RunError
from bioplaus.runs.event import Event, Report, unheard
from bioplaus.runs.outlet import Outlet

_SPOKEN_EVERY = 10.0  # s between lines about the same run  # chosen: a log one can still read


def heard(progress: Any) -> Report:
    """Who watches: what was given as ``progress``; for True, lines on standard output; for None and False, nobody.

    Raises
    ------
    RunError
        If it is none of these.
    """
    if progress is None:
        return unheard
    with suppress(checks.Unfit):  # NumPy's True, too
        return Lines() if checks.Flag().plain(progress) else unheard
    if not callable(progress):
        raise checks.refusal(
            RunError,
            "progress",
            progress,
            "True for lines of text, None for silence, or a function that takes an Event",
        )
    return cast(Report, progress)


class Lines:
    """Plain lines about runs: when one begins, every ten seconds, at its end."""

    def __init__(self) -> None:
        self.spoke: dict[tuple[str, int], float] = {}

    def __call__(self, event: Event) -> None:
        if event.kind == "note":
            self._line(event.message)
        elif event.kind in ("remark", "waiting"):
            self._line(f"{event.label}  seed {event.seed}  {event.message}")
        elif event.kind != "drawn":
            now = time.monotonic()
            if event.kind == "update" and now - self.spoke.get((event.label, event.seed), now) < _SPOKEN_EVERY:
                return
            self.spoke[event.label, event.seed] = now
            self._line(f"{event.label}  seed {event.seed}  {told(event)}")

    def _line(self, text: str) -> None:
        out = Outlet(sys.stdout)  # asked for by progress=True: the engine itself prints nothing
        out.write(text + "\n")
        out.flush()


def told(event: Event) -> str:
    """What an event of one run says, in words."""
    measured = "  ".join(
        f"{key.replace('_', ' ')} {event.row[key]:.4g}"
        for key in ("loss", "score", "test_loss", "test_score")
        if event.row.get(key) is not None
    )
    words = {
        "start": f"starts: {event.updates} updates, {event.row.get('weights', 0):,} weights",
        "resume": f"goes on at update {event.update} of {event.updates}",
        "update": f"update {event.update}/{event.updates}  {measured}",
        "done": f"done  {event.folder}",
        "found": f"was done before  {event.folder}",
        "interrupted": f"interrupted at update {event.update} of {event.updates}, saved  {event.folder}",
        "failed": f"failed at update {event.update + 1}  {event.folder}",
    }
    return words[event.kind]
