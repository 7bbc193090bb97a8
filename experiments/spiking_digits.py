"""Handwritten digits in spikes, coded by rate or by latency: e-prop with random and symmetric feedback, BPTT, and the readout alone.

A brighter pixel fires more often (Poisson spikes), or sooner and once (Thorpe, Delorme, Van Rullen 2001, doi:10.1016/S0893-6080(01)00083-1).
A recurrent circuit of LIF neurons in the discrete convention of the e-prop papers sees 50 ms of it, and names the digit in the 20 ms behind.
The images are the 8×8 digits of scikit-learn (Alpaydin, Kaynak 1998, doi:10.24432/C50P49).
"""

from dataclasses import dataclass

import numpy as np
import pandas

import bioplaus as bp
from bioplaus import Arm, Experiment, Training


@dataclass(frozen=True)
class Config:
    data: str = "digits"  # 8×8; or "mnist"
    codes: tuple[str, ...] = ("poisson", "latency")  # of a pixel's brightness
    shown: float = 0.05  # s, of the image
    answer: float = 0.02  # s, of the question behind it
    units: int = 100  # LIF neurons; weights N(0, 1/n), no autapses
    tau: float = 20.0  # ms, membranes and readout
    threshold: float = 0.6  # of the membrane; its unit is that of the input
    dampening: float = 0.3  # height of the surrogate derivative, times the threshold
    refractory: int = 3  # steps from a spike to the next at the earliest
    lr: float = 5e-3  # Adam
    batch: int = 32  # images
    rate_target: float = 20.0  # Hz
    rate_strength: float = 2.0  # of ½ Σ (f − target)², f in spikes per step
    updates: int = 300  # batches: seven times through the training images
    evaluate_every: int = 50  # updates between tests on all test images
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights, feedback and trials anew


#: name → rule and what of the training differs
RULES = {
    "e-prop, random": (bp.rule("eprop", feedback="random"), {}),
    "e-prop, symmetric": (bp.rule("eprop"), {}),
    "BPTT": (bp.rule("bptt"), {}),
    "readout alone": (bp.rule("eprop"), {"alone": True}),
}


def spiking_digits(config: Config = Config()) -> Experiment:
    """Digits in Poisson spikes and by latency: random and symmetric e-prop, BPTT, and the readout alone."""
    return Experiment(
        title="Spiking digits: coded by rate and by latency",
        arms={f"{code}: {name}": arm(config, code, *how) for code in config.codes for name, how in RULES.items()},
        seeds=config.seeds,
        table=table,
        by_seed=seeds,
        figures={"summary": summary, "rasters": rasters},
        expected="accuracy after 300 updates: Poisson 85–93 % by e-prop and BPTT, 60–75 % by the readout alone; latency 60–80 %, and 20–35 % by "
        "the readout alone (chance 10 %)",
        references=("doi:10.1038/s41467-020-17236-y", "doi:10.1016/S0893-6080(01)00083-1", "doi:10.24432/C50P49"),
    )


def arm(config: Config, code: str, rule, differs) -> Arm:
    """A circuit of LIF neurons, all connected to all, and the digits in one of the codes."""
    task = bp.task("spiking_digits", code=code, data=config.data, shown=config.shown, answer=config.answer)
    shared = {name: getattr(config, name) for name in ("threshold", "dampening", "refractory")}
    cell = bp.model("lsnn_lif", tau_m=config.tau * bp.ms, **shared)
    ends = {"inputs": task.inputs, "outputs": task.outputs, "tau_out": config.tau * bp.ms}
    circuit = bp.circuit("recurrent", cell=cell, units=config.units, **ends)
    names = ("updates", "batch", "evaluate_every", "rate_target", "rate_strength")
    rates = {"lr": 0.0 if differs else config.lr, "readout_lr": config.lr}
    return Arm(circuit, task, rule, Training(**rates, **{name: getattr(config, name) for name in names}))


def seeds(results):
    """Of each seed the accuracy on all test images at the end, and the rate."""
    rows = [
        {"arm": label, "seed": run.seed, "accuracy (%)": 100 * run.final("test_score"), "rate (Hz)": run.final("rate")}
        for label, runs in results.items()
        for run in runs
    ]
    return pandas.DataFrame(rows)


def table(results):
    """Accuracy at the end, and random e-prop under the same code against each arm, pair by pair."""
    rows = []
    for label, runs in results.items():
        right, rate = (np.array([run.final(column) for run in runs]) for column in ("test_score", "rate"))
        row = {"arm": label, "n": len(runs), "accuracy (%)": 100 * right.mean()}
        row["accuracy s.e.m. (%)"] = 100 * right.std(ddof=1) / len(runs) ** 0.5 if len(runs) > 1 else np.nan
        row["rate (Hz)"] = rate.mean()
        first = f"{label.partition(':')[0]}: e-prop, random"
        other = [run.final("test_score") for run in results[first]] if first in results else []
        told = label == first or len(other) != len(runs)
        said = "–" if told else str(bp.analysis.paired(100 * np.array(other), 100 * right))
        rows.append(row | {"random e-prop − this (%)": said})
    return pandas.DataFrame(rows)


def summary(results):
    """Accuracy over training, a panel a code."""
    curves = {label: (at, 100 * right) for label, (at, right) in results.curves("test_score").items()}
    codes = list(dict.fromkeys(label.partition(": ")[0] for label in curves))
    strokes = bp.figures.pens(list(RULES))
    with bp.figures.Sheet(bp.figures.DOUBLE, 70) as sheet:
        panels = {}
        for ax, code in zip(sheet.subplots(1, len(codes), squeeze=False, sharey=True)[0], codes, strict=True):
            here = {label.partition(": ")[2]: curve for label, curve in curves.items() if label.startswith(code)}
            told = {"quantity": "Test accuracy", "unit": "%", "chance": 10.0, "legend": False, "strokes": strokes}
            bp.figures.panels.learning(ax, here, **told)
            ax.set_title(code)
            panels[code] = here
        sheet.letter()
        sheet.key(*panels.values(), strokes=strokes, chance=True)
        return sheet.done(bp.figures.table(**panels))


def rasters(results):
    """What goes in and what the circuit fires, of the same test image in either code, after random e-prop."""
    trials = {label.partition(":")[0]: runs[0].recordings.isel(batch=0) for label, runs in results.items() if label.endswith("random")}  # fmt: skip
    with bp.figures.Sheet(bp.figures.DOUBLE, 90) as sheet:
        drawn = {}
        for axes, (code, trial) in zip(sheet.subplots(2, len(trials), squeeze=False).T, trials.items(), strict=True):
            for ax, name in zip(axes, ("input", "spikes"), strict=True):
                bp.figures.panels.raster(
                    ax, trial[name].values, trial["time"].values, name="input" if name == "input" else ""
                )
                drawn[f"{code} {name}"] = trial[name].values
            bp.figures.stimuli(axes[0], {name: trial[f"epoch_{name}"].values for name in ("shown", "answer")})
            axes[0].set_title(f"{code}, digit {int(trial['answer'])}", loc="right", pad=14)
            sheet.stack(axes)
        sheet.letter()
        return sheet.done(drawn)
