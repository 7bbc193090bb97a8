"""A spiking circuit that has learned at a step of 1 ms is simulated at smaller ones: which spikes move, and what becomes of what it knows.

Three cells name digits in Poisson spikes: at a spike that arrives the membrane jumps (`delta_lif`), a synaptic current that decays does (`cuba`), or
a current is on for one step (`lif`), whose charge is less the smaller the step, unless weights grow by as much. Spikes of the input come at the
same times, one between neurons takes 1 ms, and what a spike does to the readout stays; so what is left is when neurons notice that they fire.
"""

from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import pandas
import torch

import bioplaus as bp
from bioplaus import Arm, Experiment, Training, ms


@dataclass(frozen=True)
class Config:
    steps: tuple[int, ...] = (1, 2, 5, 10, 50)  # in a millisecond, the most of which all others are compared with
    brian: tuple[int, ...] = (1, 2, 10)  # at which the first seed's spikes are compared with Brian2's
    units: int = 100  # neurons; weights N(0, gain²/n), no autapses
    compared: int = 50  # test images whose spikes are compared
    tau: float = 20.0  # ms, readout
    lr: float = 5e-3  # Adam
    batch: int = 32  # images
    rate_target: float = 20.0  # Hz
    rate_strength: float = 2.0  # of ½ Σ (f − target)², f in spikes per step
    updates: int = 300  # batches: seven times through the training images
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights and trials anew


#: cell → what of it, and of the draw of its weights, is not as by default: such that neurons fire, and none by itself
CELLS = {"delta_lif": ({}, {}), "cuba": ({"E_L": -60 * bp.mV}, {"input_gain": 20.0, "gain": 5.0}), "lif": ({}, {"input_gain": 6.0})}  # fmt: skip
#: how weights are taken to another step: as they are, or as much larger as a step is smaller
WAYS = {"delta_lif": ("as they are",), "cuba": ("as they are",), "lif": ("as they are", "times 1 ms / step")}
PARTNER = 2.0  # ms within which a neuron's spike is found again


def time_step(config: Config = Config()) -> Experiment:
    """Circuits trained by e-prop at 1 ms, tested at smaller steps: their score, their spikes, and Brian2's."""
    task = bp.task("spiking_digits")
    ends = {"inputs": task.inputs, "outputs": task.outputs, "tau_out": config.tau * ms, "delay": 1 * ms}
    training = {n: getattr(config, n) for n in ("updates", "batch", "lr", "rate_target", "rate_strength")}
    arms = {}
    for name, (cell, draw) in CELLS.items():
        circuit = bp.circuit("recurrent", cell=bp.model(name, **cell), units=config.units, **ends, **draw)
        arms[name] = Arm(circuit, task, bp.rule("eprop"), Training(**training))
    seen = cache(partial(tested, config, task))
    return Experiment(
        title="Time step: a trained circuit at smaller steps",
        arms=arms,
        seeds=config.seeds,
        table=partial(table, seen),
        by_seed=partial(seeds, seen),
        figures={"summary": partial(summary, seen)},
        expected="jumps, synaptic currents, and currents with weights that grow: as many digits right at every step, within two points; currents "
        "with weights as they are: chance (10 %) from 0.2 ms on; no spike other than Brian2's",
        references=("doi:10.1007/s10827-007-0038-6", "doi:10.1038/s41467-020-17236-y"),
    )


def carried(network, n: int, way: str):
    """The same circuit at a step of 1/n ms: what a spike does to the readout is as before, and so are weights, or times n."""
    fine = replace(network.circuit, dt=1e-3 / n).build(dtype=torch.float64)
    weights = {name: W.double().clone() for name, W in network.weights.items()}
    weights["W_out"] *= (1 - network.kappa) / (1 - fine.kappa)
    for name in ("W_in", "W_rec") if way.startswith("times") else ():
        weights[name] *= n
    fine.load(weights)
    return fine


def finer(x, n: int):
    """Spikes of steps of 1 ms as spikes of steps of 1/n ms, at the same times."""
    out = np.zeros((n * len(x), *x.shape[1:]), x.dtype)
    out[::n] = x
    return out


def moved(spikes, other, dt: float, finest: float):
    """How far spikes (time, batch, unit) are from the same neuron's nearest ones in another simulation, in ms; infinite beyond `PARTNER`."""
    apart = 1e3 + len(spikes) * dt  # ms from a neuron's first step to the next one's
    there, here = (np.nonzero(s.transpose(1, 2, 0).reshape(-1, len(s))) for s in (other, spikes))
    reference = np.r_[-np.inf, there[0] * apart + (there[1] + 1) * finest, np.inf]
    after = np.searchsorted(reference, at := here[0] * apart + (here[1] + 1) * dt)
    nearest = np.minimum(reference[after] - at, at - reference[after - 1])
    return np.where(nearest <= PARTNER, nearest, np.inf)


def tested(config: Config, task, run) -> list[dict]:
    """A trained circuit at every step, a row for each way of taking it there."""
    batch, rows = next(iter(task.test_batches(10_000))), []
    x, labels = batch.inputs.numpy(), batch.targets[0].numpy()
    first = int(batch.weight[:, 0].argmax())  # step of 1 ms from which the digit is asked for
    for way in WAYS[run.label]:
        other = None
        for n in sorted(config.steps, reverse=True):
            fine = carried(run.network, n, way)
            output = bp.simulate(fine, finer(x, n), ()).output.values[first * n :].mean(0)
            spikes = bp.simulate(fine, few := finer(x[:, : config.compared], n), "spikes").spikes.values
            other = spikes if other is None else other
            far = moved(spikes, other, 1 / n, 1 / max(config.steps))
            row = {"weights": way, "step (ms)": 1 / n, "right (%)": 100 * float((output.argmax(-1) == labels).mean())}
            row |= {"rate (Hz)": 1e3 * n * spikes.mean(), "moved (ms)": pandas.Series(far[far <= PARTNER]).mean()}
            row["without partner (%)"] = 100 * pandas.Series(far > PARTNER, dtype=float).mean()
            if n in config.brian and run.seed == config.seeds[0]:
                theirs = bp.brian.simulate(fine, few, "spikes").spikes.values
                row["other than Brian2's"] = int((theirs != spikes).sum())
            rows.append(row)
    return sorted(rows, key=lambda row: WAYS[run.label].index(row["weights"]))


def seeds(seen, results):
    """A row for each circuit, way and step."""
    every = [(label, run) for label, runs in results.items() for run in runs]
    return pandas.DataFrame([{"arm": label, "seed": run.seed} | row for label, run in every for row in seen(run)])


def table(seen, results):
    """Means over seeds."""
    each: Any = seeds(seen, results).groupby(["arm", "weights", "step (ms)"], sort=False)
    rows = each.mean().drop(columns="seed")
    rows.insert(0, "n", each.size())
    rows.insert(2, "right s.e.m. (%)", each["right (%)"].sem())
    return rows.reset_index()


def summary(seen, results):
    """What is right, how far spikes have moved, and how many are not found again, over the step; means over seeds."""
    frame: Any = seeds(seen, results)
    cases = {f"{arm}, {way}": some for (arm, way), some in frame.groupby(["arm", "weights"], sort=False)}
    pens = bp.figures.pens(cases)
    with bp.figures.Sheet(bp.figures.DOUBLE, 60) as sheet:
        for ax, of in zip(sheet.subplots(1, 3), ("right (%)", "moved (ms)", "without partner (%)"), strict=True):
            for case, some in cases.items():
                mean = some.groupby("step (ms)")[of].mean()
                ax.plot(mean.index, mean, marker=".", color=pens[case].colour, linestyle=pens[case].line)
            ax.set(xscale="log", xlabel="Step (ms)", ylabel=of.capitalize())
        sheet.letter()
        sheet.explain(pens)
        return sheet.done(frame)
