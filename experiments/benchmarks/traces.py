"""What every trace of BP(λ) costs as the circuit grows.

    python experiments/benchmarks/traces.py [--rounds 15] [--out docs/benchmarks/traces.csv]

Target reaching, 10 steps, batch 10, N LSTM units (what crosses a step is 2N), float32, one thread. Every update is a whole one: circuit, gradient, trace, both
optimisers. Time is CPU time, every trace in turn and again, and the fastest; memory is what a rule keeps for each sample, the
stretch of trajectory it looks at at once included.
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path
from typing import Any

import pandas
import torch
from matplotlib.figure import Figure

import bioplaus as bp
from bioplaus import Arm, Training
from bioplaus.measure.memory import memory
from bioplaus.measure.time import cpu_seconds
from bioplaus.runs.report import markdown

RULES: dict[str, dict[str, Any]] = {
    "reverse": {"schedule": "window"}, "exact": {}, "replay": {"trace": "replay"}, "replay k=5": {"trace": "replay", "horizon": 5},
    "local": {"trace": "local"}, "Kronecker": {"trace": "kronecker"}, "projected p=8": {"trace": "projected", "outputs": 8},
    "learned": {"trace": "learned"},
}  # fmt: skip
UNITS = (8, 16, 32, 64)


def arms(units: int) -> dict[str, Arm]:
    """Every trace in a circuit of so many units; step by step, but for the first."""
    task = bp.task("target_reaching", targets=6)
    sizes = {"inputs": task.inputs, "units": units, "outputs": task.outputs}
    circuit = bp.circuit("cortico_cerebellar", cell=bp.model("lstm"), **sizes)
    rules = {name: bp.rule("bp_lambda", **{"schedule": "online"} | given) for name, given in RULES.items()}
    return {name: Arm(circuit, task, rule, Training(batch=10)) for name, rule in rules.items()}


def measure(rounds: int) -> pandas.DataFrame:
    """One row a trace: ms per update and KiB per sample at every N."""
    rows: dict[str, dict[str, Any]] = {name: {"trace": name} for name in RULES}
    given = {(name, units): arm for units in UNITS for name, arm in arms(units).items()}
    times = cpu_seconds({f"{name} {units}": arm for (name, units), arm in given.items()}, rounds)
    for name, units in given:
        rows[name][f"ms, N {units}"] = 1e3 * times[f"{name} {units}"]
    for (name, units), arm in given.items():
        kept = memory(arm.circuit, arm.task, arm.rule)
        rows[name][f"KiB, N {units}"] = (kept.state + kept.window) / 1024
    return pandas.DataFrame(list(rows.values()))


def growth(table: pandas.DataFrame) -> Figure:
    """Both against N."""
    pen = bp.figures.pens(RULES)
    with bp.figures.Sheet(bp.figures.DOUBLE, 75) as sheet:
        axes = sheet.subplots(1, 2)
        for ax, unit, quantity in zip(axes, ("ms", "KiB"), ("Time per update", "Memory per sample"), strict=True):
            values = table[[f"{unit}, N {units}" for units in UNITS]].to_numpy(float)
            for name, row in zip(RULES, values, strict=True):
                mark = "x" if name == "learned" else "o"  # it costs what the exact one does, and lies upon it
                ax.plot(UNITS, row, color=pen[name].colour, linestyle=pen[name].line, marker=mark, label=name)
            ax.set(xlabel="N (units)", ylabel=f"{quantity} ({unit})", xscale="log", yscale="log")
            ax.set_xticks(UNITS, [str(units) for units in UNITS])
            ax.xaxis.minorticks_off()
        handles, names = axes[0].get_legend_handles_labels()
        sheet.letter()
        sheet.explain(dict(zip(names, handles, strict=True)))
        return sheet.done(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--out",
        type=Path,
        default=None,
        help="also write the table to this CSV file, and as Markdown, PNG and SVG beside it",
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    table = measure(given.rounds)
    print(markdown(table))
    if given.out is not None:
        table.round(4).to_csv(given.out, index=False)
        about = f"CPU time per update and memory per sample; torch {torch.__version__}, {platform.processor() or platform.machine()}, one thread, float32, batch 10, fastest of {given.rounds}"
        given.out.with_suffix(".md").write_text(f"{markdown(table)}\n{about}\n")
        figure = growth(table)
        with bp.figures.style():
            for suffix in (".png", ".svg"):
                figure.savefig(given.out.with_suffix(suffix))


if __name__ == "__main__":
    main()
