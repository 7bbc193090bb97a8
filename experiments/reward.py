"""A spiking circuit learns from rewards alone: which way a cue pointed, asked after a delay, told after another.

Actor and critic are outputs of one circuit of adaptive neurons, taught by temporal differences through e-prop's traces (Bellec et al. 2020,
doi:10.1038/s41467-020-17236-y, reward-based e-prop). Beside it the same without the trace of policy and value (λ = 0), so that reward reaches
back by the critic alone, and the same whose synapses keep nothing of earlier steps.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas

import bioplaus as bp
from bioplaus import Experiment, Training


@dataclass(frozen=True)
class Config:
    cue: int = 2  # steps of the environment that the cue lasts
    delay: int = 8  # steps from it to the question
    wait: int = 3  # steps from the choice to its reward
    hold: int = 5  # ms of the circuit for a step of the environment
    units: int = 50  # adaptive neurons
    tau_a: float = 200.0  # ms, of their threshold
    tau_out: float = 20.0  # ms, readout
    input_gain: float = 30.0  # of weights from what is seen
    discount: float = 0.95  # γ, a step of the environment
    lmbda: float = 0.9  # λ of the trace of policy and value
    lr: float = 5e-3  # Adam
    batch: int = 16  # episodes at a time
    updates: int = 300  # batches of episodes
    last: int = 30  # updates whose mean return is compared
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights, feedback and episodes anew


def reward(config: Config = Config()) -> Experiment:
    """Delayed reward: actor–critic e-prop beside the same without traces."""
    from bioplaus.reward import Agent, DelayedCue

    environment = partial(DelayedCue, cue=config.cue, delay=config.delay, wait=config.wait)
    cell = bp.model("alif", tau_a=config.tau_a * bp.ms)
    cortex = bp.circuit(
        "recurrent",
        cell=cell,
        inputs=3,
        units=config.units,
        outputs=3,  # left, right, value
        tau_out=config.tau_out * bp.ms,
        input_gain=config.input_gain,
    )
    training = Training(updates=config.updates, batch=config.batch, lr=config.lr)
    agent = Agent(
        cortex,
        environment,
        bp.rule("eprop", feedback="random"),
        training,
        discount=config.discount,
        lmbda=config.lmbda,
        hold=config.hold,
    )
    return Experiment(
        title="Delayed reward: a spiking circuit learns by actor–critic e-prop",
        arms={
            "actor–critic e-prop": agent,
            "λ = 0": replace(agent, lmbda=0.0),
            "no synaptic trace": replace(agent, traces=False),
        },
        seeds=config.seeds,
        table=partial(table, last=config.last),
        by_seed=partial(seeds, last=config.last),
        figures={"summary": summary},
        expected=f"mean return of the last {config.last} updates, of 300: with both traces 0.5–0.8, without the synapse's 0.4–0.6, with λ = 0 about 0 (guessing)",
        references=("doi:10.1038/s41467-020-17236-y",),
    )


def ends(results, last: int) -> dict[str, dict[int, float]]:
    """Arm → seed → mean return of the last updates."""
    return {
        label: {run.seed: float(run.metrics["score"].to_numpy(float)[-last:].mean()) for run in runs}
        for label, runs in results.items()
    }


def seeds(results, last: int) -> pandas.DataFrame:
    """Mean return of the last updates of every run."""
    found = ends(results, last)
    rows = [(label, seed, score) for label, scores in found.items() for seed, score in scores.items()]
    return pandas.DataFrame(rows, columns=["arm", "seed", "return"])


def table(results, last: int) -> pandas.DataFrame:
    """Mean return of the last updates, and each arm against the first, seed by seed."""
    found = ends(results, last)
    first = next(iter(found))
    rows = []
    for label, scores in found.items():
        values = np.array(list(scores.values()))
        row = {"arm": label, "n": len(values), "return": values.mean()}
        row["return s.e.m."] = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
        both = [seed for seed in found[first] if seed in scores]
        row["first arm − this"] = (
            "–"
            if label == first or not both
            else str(bp.analysis.paired([found[first][s] for s in both], [scores[s] for s in both]))
        )
        rows.append(row)
    return pandas.DataFrame(rows)


def summary(results):
    """Return over training, and the spikes of the trained circuit in one test episode."""
    shown, group = bp.figures.averaged(results.curves("score"))
    strokes = bp.figures.pens(shown)
    trial = next(iter(results.values()))[0].recordings.isel(batch=0)
    with bp.figures.Sheet(bp.figures.DOUBLE, 66) as sheet:
        left, right = sheet.subplots(1, 2)
        bp.figures.panels.learning(left, shown, quantity="Return", chance=0.0, most=None, legend=False, strokes=strokes)
        time, spikes = trial["time"].values, trial["spikes"].values
        bp.figures.panels.raster(right, spikes, time)
        step = float(time[1] - time[0])
        given = trial["input"].values
        names = {"cue": given[:, :2].any(1), "go": given[:, 2] > 0}
        bars = {n: (time[w].min(), time[w].max() + step) for n, w in names.items() if w.any()}
        bp.figures.stimuli(right, bars)
        sheet.letter()
        sheet.key(shown, strokes=strokes, group=group, chance=True)
        returns = {label: {"updates": updates, "return": values} for label, (updates, values) in shown.items()}
        return sheet.done({"spikes": spikes, "time": time} | returns)
