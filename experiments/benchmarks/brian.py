"""CPU seconds of a trial of 1000 steps, by torch, by fused loops and by Brian2 with each of its targets, with and without learning.

    python experiments/benchmarks/brian.py [--units 100 1000] [--repeats 5] [--out FILE.csv]

A recurrent circuit of ALIF neurons, 40 Poisson inputs, float64, one trial at a time. With learning its weights move after every step, by e-prop with
random feedback and plain descent. Every row is a process of its own with one thread and an empty home, so that nothing has been compiled before:
``cold_s`` is its first trial, compiling included, ``warm_s`` the median of those behind it. Counted is the CPU time of the process and of compilers
and programs that it waits for; imports are not. Brian2 learns with its numpy target alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pandas

STEPS, INPUTS = 1000, 40
#: way → whether it learns too
WAYS = {"torch": True, "numba": True, "numpy": True, "cython": False, "standalone": False}


def clock() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    return sum(os.times()[:4])


def trial(way: str, units: int, learns: bool) -> Callable[[], Any]:
    """What takes one trial, and the number of its spikes (simulated) or its row of metrics (learned)."""
    import torch

    import bioplaus as bp

    torch.set_num_threads(1)
    task = bp.task("pattern_generation", steps=STEPS, inputs=INPUTS, outputs=2)
    ends = {"inputs": INPUTS, "outputs": 2, "tau_out": 20 * bp.ms, "input_gain": 8.0}
    circuit = bp.circuit("recurrent", cell="alif", units=units, **ends)
    if learns:
        plain: Any = {"batch": 1, "optimiser": "sgd", "apply": "window", "dtype": "float64", "lr": 1e-5}
        rule = bp.rule("eprop", feedback="random", schedule="online")
        training = bp.Training(updates=100, backend={"numpy": "brian2"}.get(way, way), **plain)
        return bp.Trainer(circuit, task, rule, training).update
    network, x = circuit.build(dtype=torch.float64), next(iter(task.test_batches(1))).inputs
    if way in ("torch", "numba"):
        return lambda: int(bp.simulate(network, x, "spikes", backend=way).spikes.sum())
    return lambda: int(bp.brian.simulate(network, x, "spikes", target=way).spikes.sum())


def measured(way: str, units: int, learns: bool, repeats: int) -> dict[str, Any]:
    """A row, in this process."""
    take, seconds, found = trial(way, units, learns), [], []
    for _ in range(repeats + 1):
        began = clock()
        found.append(take())
        seconds.append(clock() - began)
    alive = found[0]["rate"] if learns else found[0] / STEPS / units * 1e3
    assert alive > 1, f"the benchmark's circuit fires at {alive} Hz"
    return {"cold_s": round(seconds[0], 3), "warm_s": round(median(seconds[1:]), 4), "rate_hz": round(alive, 1)}


def apart(way: str, units: int, learns: bool, repeats: int) -> dict[str, Any]:
    """The same in a process of its own, with an empty home.

    Raises
    ------
    RuntimeError
        If it fails.
    """
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory() as home:
        there = {"HOME": home, "XDG_CACHE_HOME": home, "NUMBA_CACHE_DIR": home}
        words = [sys.executable, __file__, "--row", way, str(units), str(int(learns)), "--repeats", str(repeats)]
        done = subprocess.run(words, env=os.environ | one | there, cwd=home, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{way}, {units} neurons, learning {learns}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def table(sizes: list[int], repeats: int) -> pandas.DataFrame:
    """All rows."""
    rows = []
    for learns in (False, True):
        for units in sizes:
            for way, can in WAYS.items():
                if can or not learns:
                    head = {
                        "what": "e-prop" if learns else "simulation",
                        "units": units,
                        "by": way if way in ("torch", "numba") else f"Brian2, {way}",
                    }
                    rows.append(head | apart(way, units, learns, repeats))
    return pandas.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None, help="also write the table to this CSV file")
    parser.add_argument("--row", nargs=3, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.row is not None:
        way, units, learns = given.row
        print(json.dumps(measured(way, int(units), learns == "1", given.repeats)))
        return
    found = table(given.units, given.repeats)
    print(found.to_string(index=False))
    if given.out is not None:
        found.to_csv(given.out, index=False)


if __name__ == "__main__":
    main()
