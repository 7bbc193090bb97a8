"""How time and memory grow with neurons, synapses, steps and samples; exponents fitted; figure.

    python experiments/benchmarks/scaling.py [--largest 100000] [--rounds 2] [--out docs/benchmarks/scaling.csv]

An ALIF circuit with sparse recurrent weights, float32, one thread, loops (numba). Every row is a process of its own: CPU seconds to build, CPU
milliseconds a step (the fastest of three stretches after one that is not clocked), and by how much the process has grown at most. Rows of a series
are of as many steps, so that what a call costs once (weights laid in the order of their sources: 0.1 s of 10⁷ synapses) counts alike. The
input brings every size to about the same rate, which is told. Rows are taken in turn, and again, and the fastest stays: what others do on the machine
slows rows, and hardly ever quickens one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas
import torch
from matplotlib.figure import Figure

import bioplaus as bp
from bioplaus import ms
from bioplaus.circuit.trajectory import pieces
from bioplaus.learning.sequence import sequence
from bioplaus.runs.report import markdown
from bioplaus.tasks import Batch, squared

#: what grows → rows: what is done, neurons, sources of each, steps, samples
Size = tuple[str, int, int, int, int]
NEURONS = (1000, 3000, 10_000, 30_000, 100_000)
LENGTHS = (1000, 10_000, 100_000)


def series(largest: int) -> dict[str, list[Size]]:
    """Every series by name; sizes above ``largest`` neurons are left out."""
    units, of = [n for n in NEURONS if n <= largest], min(3000, largest)
    return {
        "synapses, simulation": [("forward", n, 100, 200, 1) for n in units],
        "synapses, online e-prop": [("eprop", n, 100, 100, 1) for n in units],
        "sources, simulation": [("forward", of, k, 200, 1) for k in (10, 30, 100, 300)],
        "batch, simulation": [("forward", of, 30, 100, b) for b in (1, 4, 16, 64)],
        "batch, online e-prop": [("eprop", of, 30, 40, b) for b in (1, 4, 16, 64)],
        "steps, simulation": [("forward", 100, 10, T, 1) for T in LENGTHS],
        "steps, online e-prop": [("eprop", 100, 10, T, 1) for T in LENGTHS[:2]],
    }


#: what grows in a series, and what it is a column of
GROWS = {"synapses": "synapses", "sources": "synapses", "batch": "batch", "steps": "steps"}


def circuit(units: int, sources: int) -> Any:
    """ALIF neurons with so many sources each, and ten inputs to all."""
    return bp.Circuit(
        populations={"cortex": bp.Population(bp.model("alif"), units)},
        projections=(
            bp.Projection(name="W_in", source="input", target="cortex", gain=8.0),
            bp.Projection(name="W_rec", source="cortex", target="cortex", fan_in=sources, sparse=True),
        ),
        inputs=10,
        readout=bp.Readout(size=2, tau=20 * ms),
    )


def measured(size: Size, queue: Any) -> None:
    """In a fresh process: what a row says of a size."""
    torch.set_num_threads(1)
    what, units, sources, steps, batch = size
    before, began = _status("VmRSS"), time.process_time()
    network = circuit(units, sources).build(0)
    built = time.process_time() - began
    x = (torch.rand(steps, batch, 10, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    data = Batch(x, torch.zeros(steps, batch, 2), torch.full((steps, batch), 1 / steps))
    rule = bp.rule("eprop", feedback="random", schedule="online")
    own = rule.begin(network, data, 0)

    def simulated() -> float:
        fired = 0.0
        for stretch in pieces(network, x, backend="numba", states=False, u=False):
            fired += float(stretch.spikes(0).sum())
        return fired / (steps * batch * units)

    def learned() -> float:
        return float(sequence(network, rule, own, data, squared, backend="numba").rates["cortex"])

    run, taken, rate = {"forward": simulated, "eprop": learned}[what], [], 0.0
    for _ in range(4):
        began = time.process_time()
        rate = run()
        taken.append(time.process_time() - began)
    assert rate > 1e-3, f"the benchmark's circuit is silent: {size}"
    queue.put({"build s": built, "ms per step": 1e3 * min(taken[1:]) / steps, "MiB": (_status("VmHWM") - before) / 1024, "rate (1/step)": rate})  # fmt: skip


def against_dense(
    units: int = 3000, sources: int = 30, steps: int = 500
) -> tuple[Callable[[], float], Callable[[], float]]:
    """LIF neurons with few sources each, batch 1: simulated by loops over synapses, and by the loop that one would write in torch, a matrix in it."""
    network = bp.circuit(
        "recurrent", cell="lif", inputs=40, units=units, outputs=2, input_gain=6.0, fan_in=sources
    ).build(0)
    x = (torch.rand(steps, 1, 40, generator=torch.Generator().manual_seed(0)) < 0.05).float() * 5
    W, U = (network.matrix(name).T.contiguous() for name in ("W_rec", "W_in"))
    decay = float(np.exp(-1 / 20))

    def ours() -> float:
        return sum(float(each.spikes(0).sum()) for each in pieces(network, x, backend="numba", states=False, u=False))

    def theirs() -> float:
        v = z = wait = torch.zeros(1, units)
        fired = 0.0
        for I in (x @ U).unbind(0):
            v = decay * v + (1 - decay) * torch.addmm(I, z, W)
            wait = (wait - 1).clamp_min(0)
            z = ((v > 0.6) & (wait == 0)).float()
            v, wait = v - 0.6 * z, wait + 5 * z
            fired += float(z.sum())
        return fired

    mine, other = ours(), theirs()
    assert mine > 0.005 * steps * units, "the benchmark's circuit is silent"
    assert abs(mine - other) < 0.02 * other, f"not the same circuit: {mine} and {other} spikes"
    return ours, theirs


def ratio(repeats: int) -> dict[str, float]:
    """Median milliseconds a step of both in CPU time, each pair's one after the other, and the median, lowest and highest ratio."""

    def clock(f: Callable[[], float]) -> float:
        began = time.process_time()
        f()
        return 1e3 * (time.process_time() - began) / 500

    ours, theirs = against_dense()
    pairs = [(clock(ours), clock(theirs)) for _ in range(repeats)]
    ratios = [a / b for a, b in pairs]
    return {
        "ours ms per step": median(a for a, _ in pairs), "dense ms per step": median(b for _, b in pairs),
        "ratio": median(ratios), "lowest": min(ratios), "highest": max(ratios),
    }  # fmt: skip


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(field)))


def apart(size: Size) -> dict[str, float]:
    """`measured` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=measured, args=(size, queue))
    process.start()
    found = queue.get(timeout=1200)
    process.join()
    return found


def measure(largest: int, rounds: int) -> pandas.DataFrame:
    """One row a size: the least of several rounds, and the rate."""
    rows = [(name, size) for name, sizes in series(largest).items() for size in sizes]
    found: list[dict[str, float]] = [{} for _ in rows]
    for _ in range(rounds):
        for row, (name, size) in zip(found, rows, strict=True):
            for column, value in apart(size).items():
                row[column] = min(value, row.get(column, value))
            print(name, *size, row, flush=True)
    sizes = [
        {"series": name, "neurons": n, "synapses": n * k, "steps": T, "batch": b} for name, (_, n, k, T, b) in rows
    ]
    return pandas.DataFrame([size | row for size, row in zip(sizes, found, strict=True)])


def exponents(table: pandas.DataFrame) -> pandas.DataFrame:
    """How each series grows, as size to the power of: from its first to its last row by least squares, and between its last two."""
    rows = []
    for name, part in table.groupby("series", sort=False):
        grows = GROWS[str(name).partition(",")[0]]
        x = np.log(part[grows].to_numpy(float))
        row: dict[str, Any] = {"series": name, "against": grows, "from": part[grows].min(), "to": part[grows].max()}
        for column in ("ms per step", "MiB"):
            y = np.log(part[column].to_numpy(float))
            row[f"exponent of {column}"] = float(np.polyfit(x, y, 1)[0])
            row[f"{column}, last two"] = float((y[-1] - y[-2]) / (x[-1] - x[-2]))
        rows.append(row)
    return pandas.DataFrame(rows)


def growth(table: pandas.DataFrame) -> Figure:
    """Time a step and memory against what grows."""
    with bp.figures.Sheet(bp.figures.DOUBLE, 105) as sheet:
        axes = sheet.subplots(2, 3)
        pens = bp.figures.pens(["simulation", "online e-prop"])
        for column, (axis, grows) in zip(
            axes.T, (("synapses", "synapses"), ("batch", "batch"), ("steps", "steps")), strict=True
        ):
            for name, part in table[table["series"].str.startswith(axis)].groupby("series", sort=False):
                pen = pens[str(name).partition(", ")[2]]
                for ax, of in zip(column, ("ms per step", "MiB"), strict=True):
                    ax.plot(part[grows], part[of], color=pen.colour, linestyle=pen.line, marker="o", markersize=3)
            for ax, label in zip(column, ("Time per step (ms)", "Memory (MiB)"), strict=True):
                ax.set(
                    xscale="log",
                    yscale="log",
                    xlabel={"synapses": "Synapses (number)", "batch": "Batch (samples)", "steps": "T (steps)"}[grows],
                    ylabel=label,
                )
        sheet.letter()
        sheet.explain(pens)
        return sheet.done(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=NEURONS[-1])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--out", type=Path, default=None, help="also write tables and figure: CSV, and Markdown, PNG and SVG beside it"
    )
    given = parser.parse_args()
    table = measure(given.largest, given.rounds)
    fitted = exponents(table)
    torch.set_num_threads(1)
    dense = pandas.DataFrame(
        [
            {
                "what": "simulation, loops over synapses / a dense loop in torch; LIF, N 3000, 30 sources, batch 1",
                **ratio(7),
            }
        ]
    )
    print(markdown(fitted), markdown(dense), markdown(table), sep="\n")
    if given.out is not None:
        table.round(4).to_csv(given.out, index=False)
        about = f"torch {torch.__version__}, {platform.processor() or platform.machine()}, one thread, float32, least of {given.rounds} rounds"
        given.out.with_suffix(".md").write_text(
            "\n".join((markdown(fitted), markdown(dense), markdown(table), about)) + "\n"
        )
        figure = growth(table)
        with bp.figures.style():
            for suffix in (".png", ".svg"):
                figure.savefig(given.out.with_suffix(suffix))


if __name__ == "__main__":
    main()
