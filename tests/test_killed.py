"""Runs, tables and figures whose process is killed at every point at which it writes, and at random moments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
FILE = Path(__file__).parent / "kill_points.py"


def killed(folder: Path, *jobs: str, timeout: float) -> dict[str, int]:
    """How often each job was killed; nothing was wrong with what went on."""
    words = [sys.executable, str(FILE), str(folder), *jobs]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {job: each["wrong"] for job, each in found.items()} == dict.fromkeys(jobs, [])
    return {job: each["points"] for job, each in found.items()}


def test_killed_at_many_points_a_run_ends_as_if_it_had_not_been(tmp_path):
    jobs = ("some of a walk", "some of a figure", "some of a run", "some moments")
    found = killed(tmp_path, *jobs, timeout=240)
    # Fewer points than there are files to be replaced would mean that writers have found another way.
    assert found["some of a walk"] > 20 and found["some of a figure"] >= 4
    assert found["some of a run"] >= 3 and found["some moments"] == 2


@pytest.mark.slow
def test_killed_around_a_lesion_at_update_300_a_run_leaves_the_same_files(tmp_path):
    assert killed(tmp_path, "lesion", timeout=1800) == {"lesion": 8}


@pytest.mark.slow
def test_killed_at_every_point_and_twenty_moments_a_circuit_learns_the_same(tmp_path):
    found = killed(tmp_path, "walk", "figure", "run", "moments", timeout=1800)
    assert found["walk"] > 60 and found["figure"] > 20 and found["run"] > 60 and found["moments"] == 20


@pytest.mark.slow
def test_killed_at_every_point_the_tables_and_figures_of_an_experiment_are_made(tmp_path):
    found = killed(tmp_path, "report", "report and figures", timeout=1800)
    assert found["report"] > 20 and found["report and figures"] > found["report"] + 20
