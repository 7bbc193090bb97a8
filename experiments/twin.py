"""Circuits that e-prop has trained, simulated here and by Brian2: their spikes, their voltages, and how far these are from each other.

Brian2 (Stimberg, Brette, Goodman 2019, doi:10.7554/eLife.47314) gets the same equations, weights and inputs, and steps by its own integrator, queues of
spikes and order of things. Five cells: a leaky neuron, one that adapts and is heard late, excitatory and inhibitory neurons with synaptic currents, an
exponential one, and a rate. Where both round differently in the last bit a voltage near an upstroke tells it; spikes are to be the same.
"""

from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import pandas

import bioplaus as bp
from bioplaus import Arm, Experiment, Training, ms, mV


@dataclass(frozen=True)
class Config:
    steps: int = 1000  # of 1 ms, a trial
    inputs: int = 50  # Poisson inputs of 50 Hz
    units: int = 50  # neurons
    tau: float = 20.0  # ms, readout
    updates: int = 30  # of e-prop before both simulate
    lr: float = 3e-3  # Adam
    rate_strength: float = 10.0  # of ½ Σ (f − 10 Hz)², f in spikes per step
    neuron: int = 0  # of which the figure shows the voltage
    shown: int = 400  # steps of the figure
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights anew


#: arm → circuit, cell, its options, and what else: such that neurons fire, and none by itself
CIRCUITS = {
    "LIF": ("recurrent", "lif", {}, {"input_gain": 9.0}),
    "ALIF, delayed": ("recurrent", "alif", {}, {"input_gain": 9.0, "delay": 3 * ms}),
    "CUBA, E and I": (
        "excitatory_inhibitory",
        "cuba",
        {"E_L": -60 * mV},
        {"input_gain": 60.0, "gain": 5.0, "fan_in": 0.2},
    ),
    "AdEx": ("recurrent", "adex", {}, {"input_gain": 60.0, "gain": 4.0}),
    "rates": ("recurrent", "leaky_rate", {}, {}),
}


def twin(config: Config = Config()) -> Experiment:
    """Trained circuits of five cells, here and in Brian2."""
    task = bp.task("pattern_generation", steps=config.steps, inputs=config.inputs)
    numbers = {name: getattr(config, name) for name in ("updates", "lr", "rate_strength")}
    ends = {"units": config.units, "inputs": task.inputs, "outputs": task.outputs, "tau_out": config.tau * ms}
    arms = {}
    for name, (kind, cell, options, more) in CIRCUITS.items():
        circuit = bp.circuit(kind, cell=bp.model(cell, **options), **ends, **more)
        arms[name] = Arm(circuit, task, bp.rule("eprop"), Training(batch=1, dtype="float64", **numbers))
    seen = cache(partial(both, config, task))
    return Experiment(
        title="Twins: trained circuits here and in Brian2",
        arms=arms,
        seeds=config.seeds,
        table=partial(table, seen),
        by_seed=partial(seeds, seen),
        figures={"summary": partial(summary, config, seen)},
        expected="no spike other than Brian2's; voltages equal to 1e-12, of AdEx, whose upstroke amplifies the last bit, to 1e-9",
        references=("doi:10.7554/eLife.47314",),
    )


def both(config: Config, task, run):
    """The trial as it is simulated here and by Brian2."""
    x = next(task.test_batches(1)).inputs
    return bp.simulate(run.network, x, ("v", "spikes", "rate"), lenient=True), bp.brian.simulate(run.network, x)


def of(recording, *kinds: str) -> list[str]:
    """What a recording has of some kinds, of any population."""
    return [str(name) for name in recording.data_vars if str(name).rpartition(".")[2] in kinds]


def seeds(seen, results):
    """Of each circuit: its spikes, those that Brian2 has not or has more, and the largest differences, in standard deviations of what differs."""
    rows = []
    for label, run in ((label, run) for label, runs in results.items() for run in runs):
        here, there = seen(run)
        spikes = [(here[name].values, there[name].values) for name in of(here, "spikes")]
        row = {"arm": label, "seed": run.seed, "spikes": sum(int(a.sum()) for a, _ in spikes) if spikes else np.nan}
        row["other than Brian2's"] = sum(int((a != b).sum()) for a, b in spikes) if spikes else np.nan
        for title, kinds in (("voltages off by", ("v",)), ("rates off by", ("rate",)), ("output off by", ("output",))):
            off = [float(abs(here[n] - there[n]).max() / here[n].std()) for n in of(here, *kinds)]
            row[title] = max(off, default=np.nan)
        rows.append(row)
    return pandas.DataFrame(rows)


def table(seen, results):
    """Sums of spikes, and the largest differences in any seed."""
    each: Any = seeds(seen, results).groupby("arm", sort=False)
    rows = each[["spikes", "other than Brian2's"]].sum(min_count=1)
    rows.insert(0, "n", each.size())
    return pandas.concat([rows, each[[c for c in each.obj if c.endswith("off by")]].max()], axis=1).reset_index()


def summary(config: Config, seen, results):
    """Of the first circuit of each spiking arm: its spikes here and in Brian2, one neuron's voltage in both, and how far they are apart."""
    shown = {label: seen(runs[0]) for label, runs in results.items() if of(seen(runs[0])[0], "spikes")}
    with bp.figures.Sheet(bp.figures.DOUBLE, 130) as sheet:
        drawn = {}
        for column, (label, pair) in zip(sheet.subplots(3, len(shown), squeeze=False).T, shown.items(), strict=True):
            here, there = (each.isel(time=slice(config.shown)) for each in pair)
            spikes, v, time = of(here, "spikes")[0], of(here, "v")[0], here["time"].values
            mine, theirs = ((each[spikes].values[:, 0], each[v].values[:, 0, config.neuron]) for each in (here, there))
            for (z, _), style in (
                (mine, {"marker": "|", "color": "#bbbbbb", "markersize": 5}),
                (theirs, {"marker": ".", "color": "black", "markersize": 1}),
            ):
                t, i = np.nonzero(z)
                column[0].plot(time[t], i, linestyle="", **style)
            column[1].plot(time, mine[1], color="#bbbbbb", linewidth=2)
            column[1].plot(time, theirs[1], color="black", linewidth=0.5)
            column[2].plot(
                time,
                np.maximum(abs(here[v] - there[v]).max(("batch", here[v].dims[-1])).values, 1e-18),
                color="black",
                linewidth=0.5,
            )
            column[2].set(yscale="log", xlabel="Time (ms)")
            column[0].set_title(label)
            drawn[label] = {
                "spikes": mine[0],
                "Brian2's": theirs[0],
                "v": mine[1],
                "Brian2's v": theirs[1],
                "time": time,
            }
            for ax, name in zip(
                column,
                ("Neuron", "v (V)" if here[v].attrs.get("units") == "volt" else "v", "Largest |Δv|"),
                strict=True,
            ):
                ax.set_ylabel(name)
        sheet.letter()
        return sheet.done(drawn)
