"""A job that counts, for tests of what happens around runs: nothing in it takes time but a pause.

``python tests/light_job.py FOLDER UPDATES PAUSE`` makes two such runs in two worker processes.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioplaus.runs.queue import Planned, Queue


class Counter:
    """A learner that only counts its updates."""

    size = 1

    def __init__(self, pause: float) -> None:
        self.pause, self.update_index = pause, 0

    def update(self) -> dict[str, Any]:
        time.sleep(self.pause)
        self.update_index += 1
        return {"loss": 1.0 / self.update_index}

    def evaluate(self) -> dict[str, Any]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.update_index}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.update_index = state["count"]


@dataclass(frozen=True)
class Counting:
    """The job that begins it."""

    updates: int = 3
    pause: float = 0.0
    evaluate_every: int = 0
    device: str = "cpu"

    @property
    def files(self) -> dict[str, Any]:
        return {}

    def describe(self, seed: int) -> dict[str, Any]:
        return {"training": {"updates": self.updates}, "seed": seed}

    def begin(self, seed: int) -> Counter:
        return Counter(self.pause)


def counted(folder: Path, job: Counting, seeds: int = 2) -> list[Planned]:
    return [Planned("counting", job, seed, folder / f"s{seed}") for seed in range(seeds)]


if __name__ == "__main__":
    try:
        Queue(counted(Path(sys.argv[1]), Counting(int(sys.argv[2]), float(sys.argv[3]))), 2).run({})
    except KeyboardInterrupt:
        sys.exit(130)
