"""The contract of learners and jobs: what is written to it, and to nothing else, is run, recorded, resumed, refused early."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bioplaus.errors import RunError
from bioplaus.learning.phased import Phased
from bioplaus.learning.trainer import Trainer
from bioplaus.runs.alignment import Aligner, AlignmentJob
from bioplaus.runs.arm import Arm
from bioplaus.runs.event import Event
from bioplaus.runs.learner import Job, Learner
from bioplaus.runs.queue import Queue, planned


class Strict:
    """Complains of being asked for anything that the contract does not name."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"asked for {name}, which is not in the contract")


class Walk(Strict):
    """A learner: a random walk."""

    size = 1
    computed = {"backend": "feet", "because": "there are no wheels"}

    def __init__(self, seed: int) -> None:
        self._stream, self._place, self.update_index = np.random.default_rng(seed), 0.0, 0

    @property
    def remarks(self) -> dict[str, str]:
        return {"far": "It has gone far."} if self.update_index >= 5 else {}

    def update(self) -> dict[str, float]:
        self._place += self._stream.normal()
        self.update_index += 1
        return {"place": self._place}

    def evaluate(self) -> dict[str, float]:
        return {"test_score": abs(self._place)}

    def state_dict(self) -> dict[str, Any]:
        state = json.dumps(self._stream.bit_generator.state)
        return {"stream": state, "place": self._place, "update": self.update_index}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._stream.bit_generator.state = json.loads(state["stream"])
        self._place, self.update_index = state["place"], state["update"]

    def where(self) -> xr.Dataset:
        return xr.Dataset({"place": ((), self._place)})


class Walks(Strict):
    """A job: walks of so many steps."""

    evaluate_every, device = 4, "cpu"

    def __init__(self, updates: int = 10) -> None:
        self.updates, self.begun = updates, 0

    @property
    def files(self) -> Mapping[str, Callable[[Walk], xr.Dataset]]:
        return {"place.nc": Walk.where}

    def describe(self, seed: int) -> dict[str, Any]:
        return {"steps": self.updates, "seed": seed}

    def begin(self, seed: int) -> Walk:
        if seed == 13:
            raise RunError("Nobody walks with seed 13.")
        self.begun += 1
        return Walk(seed)


def as_jobs(arm: Arm, alignment: AlignmentJob, walks: Walks) -> tuple[Job[Trainer | Phased], Job[Aligner], Job[Walk]]:
    """What pyright proves when it reads this."""
    return arm, alignment, walks


def rows(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "metrics.csv").drop(columns="seconds")


def test_what_keeps_the_contract_and_no_more_is_run_and_resumed(tmp_path):
    walks = Walks()
    whole = Queue(planned({"walk": walks}, (0, 1), tmp_path / "whole"))
    assert walks.begun == 1, "the first was begun to see whether it can be"
    assert whole.run({}) == {} and walks.begun == 2, "and went on from there"
    assert Queue(planned({"walk": walks}, (0, 1), tmp_path / "whole")).run({}) == {} and walks.begun == 2

    def stopping(event: Event) -> None:
        if event.update == 5:
            raise KeyboardInterrupt

    parts = planned({"walk": walks}, (0, 1), tmp_path / "parts")
    with pytest.raises(KeyboardInterrupt):
        Queue(parts).run({}, checkpoint_every=0, report=stopping)
    heard: list[Event] = []
    assert Queue(parts).run({}, report=heard.append) == {}
    begun = [(event.kind, event.seed, event.update) for event in heard if event.kind in ("start", "resume", "found")]
    assert begun == [("resume", 0, 5), ("start", 1, 0)]
    for one, other in zip(whole.runs, parts, strict=True):
        assert one.folder.name == other.folder.name
        pd.testing.assert_frame_equal(rows(one.folder), rows(other.folder))
        tested = rows(one.folder).set_index("update")["test_score"].dropna()
        assert tested.index.tolist() == [4, 8, 10]
        ends = [xr.load_dataset(each.folder / "place.nc", engine="h5netcdf") for each in (one, other)]
        xr.testing.assert_identical(*ends)
        assert float(ends[0]["place"]) == rows(one.folder)["place"].iloc[-1]


def test_what_cannot_be_begun_is_refused_before_the_first_run(tmp_path):
    jobs: dict[str, Job[Any]] = {"walk": Walks(), "other": Walks(3)}
    with pytest.raises(RunError, match="Nobody"):
        Queue(planned(jobs, (13, 0), tmp_path))
    assert not list(tmp_path.iterdir())


def test_the_contract_is_all_that_is_asked_for():
    """A name that a protocol has and the classes above lack would show as an AssertionError there; the reverse, here."""
    for protocol, own in ((Learner, Walk), (Job, Walks)):
        named = {name for name, _ in inspect.getmembers(protocol) if not name.startswith("_")}
        assert named and named <= {*vars(own), *vars(own(0))}
