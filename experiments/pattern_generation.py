"""A spiking circuit learns to draw a sum of sines: e-prop with random and with symmetric feedback, beside BPTT.

One frozen Poisson input lasts a second; a leaky readout shall follow the target meanwhile. Circuit, learning rate and
regularisation are those of Bellec et al. 2020 (doi:10.1038/s41467-020-17236-y, figure 3), cells in the convention of their
code, one step of plain gradient descent a trial. Exact BPTT explodes in this circuit (through a thousand steps of recurrent
spikes its gradient grows to 1e8 times that of e-prop and more), so its surrogate derivative is lower.
"""

from dataclasses import dataclass

import pandas

import bioplaus as bp
from bioplaus import Arm, Experiment, Training


@dataclass(frozen=True)
class Config:
    steps: int = 1000  # of 1 ms
    inputs: int = 100  # Poisson inputs of 50 Hz
    pattern_seed: int = 0  # draws the input and the target, the same for all
    units: int = 100  # neurons; weights N(0, 1/n), no autapses
    tau_m: float = 30.0  # ms, membrane
    tau_out: float = 30.0  # ms, readout
    threshold: float = 0.03  # of the membrane; its unit is that of the input
    dampening: float = 0.3  # height of the surrogate derivative, times the threshold
    bptt_dampening: float = 0.05  # the same for BPTT  # chosen: from 0.1 on its gradient explodes, sooner or later
    lr: float = 1e-4  # of plain gradient descent, one trial at a time
    rate_target: float = 10.0  # Hz
    rate_strength: float = 300.0  # of ½ Σ (f − target)², f in spikes per step
    updates: int = 500  # trials
    seeds: tuple[int, ...] = (0, 1, 2)  # each draws weights and feedback anew


# Measured with the authors' code, github.com/IGITUGraz/eligibility_propagation, seed 0: loss, first → after so many trials.
# Its BPTT stops gradients at recurrent spikes unless told otherwise, which makes it e-prop with symmetric feedback.
AUTHORS = {"e-prop, random": "105.8 → 11.07 (500)", "e-prop, symmetric": "102.2 → 7.91 (400)"}
AUTHORS["BPTT"] = "105.5 → 7.70 (500), spikes stopped"


def pattern_generation(config: Config = Config()) -> Experiment:
    """Spiking circuit, sum of sines: random and symmetric e-prop, and BPTT."""
    task = bp.task("pattern_generation", steps=config.steps, inputs=config.inputs, pattern_seed=config.pattern_seed)
    training = Training(
        updates=config.updates,
        batch=1,
        lr=config.lr,
        optimiser="sgd",
        rate_target=config.rate_target,
        rate_strength=config.rate_strength,
    )
    cortex, damped = (circuit(config, task, dampening) for dampening in (config.dampening, config.bptt_dampening))
    return Experiment(
        title="Pattern generation: a spiking circuit draws a sum of sines",
        arms={
            "e-prop, random": Arm(cortex, task, bp.rule("eprop", feedback="random"), training),
            "e-prop, symmetric": Arm(cortex, task, bp.rule("eprop", feedback="symmetric"), training),
            "BPTT": Arm(damped, task, bp.rule("bptt"), training),
        },
        seeds=config.seeds,
        table=table,
        by_seed=seeds,
        figures={"summary": summary, "activity": activity},
        expected="loss, 80–140 at first, after 500 trials: e-prop with random feedback 7–15, with symmetric feedback "
        "3–8, BPTT with its lower surrogate 6–20",
        references=("doi:10.1038/s41467-020-17236-y",),
    )


def circuit(config: Config, task, dampening: float):
    """LIF neurons in the convention of the e-prop code, leaky readout without bias."""
    cell = {"tau_m": config.tau_m * bp.ms, "threshold": config.threshold, "dampening": dampening, "scale_input": True}
    sizes = {"inputs": task.inputs, "units": config.units, "outputs": task.outputs}
    readout = {"tau_out": config.tau_out * bp.ms, "output_bias": False}
    return bp.circuit("recurrent", cell=bp.model("lsnn_lif", **cell), **sizes, **readout)


def table(results):
    """Loss at the first trial and after the last, rate at the last, and what the authors' code gave."""
    rows = results.table(("test_loss", "rate"))
    first = {label: values[:, 0].mean() for label, (_, values) in results.curves("loss").items()}
    rows.insert(2, "loss at first", [float(first[label]) for label in rows["arm"]])
    rows["authors' code"] = [AUTHORS.get(label, "–") for label in rows["arm"]]
    return rows.rename(columns={"rate": "rate (Hz)", "rate s.e.m.": "rate s.e.m. (Hz)"})


def seeds(results):
    """Of each seed the loss at the first trial and after the last, and the rate at the last."""
    rows = [
        {
            "arm": label,
            "seed": run.seed,
            "loss at first": float(run.metrics["loss"].iloc[0]),
            "test loss": run.final("test_loss"),
            "rate (Hz)": run.final("rate"),
        }
        for label, runs in results.items()
        for run in runs
    ]
    return pandas.DataFrame(rows)


def summary(results):
    """Loss over training; and, in the first circuit that random e-prop trained, spikes, membranes and the output."""
    trial = results["e-prop, random"][0].recordings.isel(batch=0)
    time, spikes, v = trial["time"].values, trial["spikes"].values, trial["v"].values
    output, target = trial["output"].values[:, 0], trial["target"].values[:, 0]
    shown, group = bp.figures.averaged(results.curves("loss"))
    strokes = bp.figures.pens(shown)
    with bp.figures.Sheet(bp.figures.DOUBLE, 104) as sheet:
        axes = sheet.subplots(2, 2)
        bp.figures.panels.raster(axes[0, 0], spikes, time)
        bp.figures.panels.learning(axes[0, 1], shown, log=True, most=None, legend=False, strokes=strokes)
        bp.figures.panels.traces(axes[1, 0], v, time, units=(0, 1, 2), spikes=spikes)
        axes[1, 0].legend(ncols=3, loc="lower right", bbox_to_anchor=(1.0, 1.0))
        bp.figures.panels.over_time(axes[1, 1], output, target, time)
        sheet.letter()
        sheet.key(shown, strokes=strokes, group=group)
        losses = {label: {"updates": updates, "loss": values} for label, (updates, values) in shown.items()}
        return sheet.done({"spikes": spikes, "v": v, "output": output, "target": target, "time": time} | losses)


def activity(results):
    """The same trial in one column, with the rate of the population."""
    trial = results["e-prop, random"][0].recordings
    return bp.figures.activity(trial, target=trial["target"])
