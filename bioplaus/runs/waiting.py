"""Runs that another process is computing: passed over, waited for, and taken over where it ends before them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bioplaus.runs.event import Event, Report
from bioplaus.runs.folder import RunFolder

if TYPE_CHECKING:
    from bioplaus.runs.queue import Planned

LOOK_EVERY = 0.2  # s between two looks whether a folder is free  # chosen: not felt, and costs nothing


class Left:
    """The runs that are left, handed out in their order but for those that another process holds.

    Parameters
    ----------
    runs : sequence of Planned
    report : callable
        Told once of every run that is waited for.
    """

    def __init__(self, runs: Sequence[Planned], report: Report) -> None:
        self.runs, self.report = list(runs), report
        self.told: set[Path] = set()

    def __bool__(self) -> bool:
        return bool(self.runs)

    def take(self) -> Planned | None:
        """The next that can be made; None if there is none, or another process holds all of them."""
        for each in self.runs:
            if not RunFolder(each.folder).in_use():
                self.runs.remove(each)
                return each
        for each in self.runs:
            if each.folder not in self.told:
                self.told.add(each.folder)
                self.report(waited_for(each.label, each.seed, each.folder))
        return None

    def put_back(self, run: Planned) -> None:
        """One that another process took just before."""
        self.runs.insert(0, run)


def waited_for(label: str, seed: int, folder: Path) -> Event:
    """Tells that a run is."""
    return Event("waiting", label, seed, str(folder), message="is being computed by another process: waited for")


def until_free(folder: Path) -> None:
    """Return once no other process holds a run's folder."""
    while RunFolder(folder).in_use():
        time.sleep(LOOK_EVERY)
