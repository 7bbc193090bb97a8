"""A spiking circuit learns to draw a sum of sines: e-prop with random and with symmetric feedback, beside BPTT.

One frozen Poisson input of a second; the output of a leaky readout shall follow the target. The circuit, its learning rate and
its regularisation are those of Bellec et al. 2020 (doi:10.1038/s41467-020-17236-y, figure 3) in the discrete convention of
their code. One gradient step a trial, no optimiser with a memory: what is seen is the rule.
"""

from dataclasses import dataclass

import bioplaus as bp
from bioplaus import Arm, Experiment, Training, ms


@dataclass(frozen=True)
class Config:
    steps: int = 1000  # of 1 ms
    units: int = 100  # neurons, weights N(0, 1/n), no autapses
    inputs: int = 100  # Poisson inputs of 50 Hz
    pattern_seed: int = 0  # draws input and target, the same for all
    tau_m: float = 30.0  # ms, membrane
    tau_out: float = 30.0  # ms, readout
    threshold: float = 0.03  # in units of the input current
    dampening: float = 0.3  # height of the surrogate derivative
    lr: float = 1e-4  # plain gradient descent, a trial at a time
    rate_target: float = 10.0  # Hz
    rate_strength: float = 300.0  # of ½ Σ (f − target)², f in spikes a step
    updates: int = 500  # trials
    align_every: int = 50  # trials between comparisons with BPTT
    seeds: tuple[int, ...] = (0, 1, 2)  # each draws weights and feedback anew


# Measured with the authors' code, github.com/IGITUGraz/eligibility_propagation, seed 0: loss at the first trial, and at the last.
RELEASED = {"e-prop, random": (105.8, 11.07), "e-prop, symmetric": (102.2, 7.91), "BPTT": (105.5, 7.70)}


def pattern_generation(config: Config = Config()) -> Experiment:
    """Spiking circuit, sum of sines: random and symmetric e-prop, and BPTT."""
    task = bp.task("pattern_generation", steps=config.steps, inputs=config.inputs, pattern_seed=config.pattern_seed)
    cell = bp.model("lsnn_lif", tau_m=config.tau_m * ms, threshold=config.threshold, dampening=config.dampening, scale_input=True)
    circuit = bp.circuit(
        "recurrent", cell=cell, inputs=task.inputs, units=config.units, outputs=task.outputs, tau_out=config.tau_out * ms, output_bias=False
    )
    training = Training(
        updates=config.updates, batch=1, lr=config.lr, optimiser="sgd", rate_target=config.rate_target, rate_strength=config.rate_strength,
        align_every=config.align_every,
    )  # fmt: skip
    rules = {
        "e-prop, random": bp.rule("eprop", feedback="random"),
        "e-prop, symmetric": bp.rule("eprop", feedback="symmetric"),
        "BPTT": bp.rule("bptt"),
    }
    return Experiment(
        title="Pattern generation: a spiking circuit draws a sum of sines",
        arms={label: Arm(circuit, task, rule, training) for label, rule in rules.items()},
        seeds=config.seeds,
        table=table,
        figures={"learning": learning, "alignment": alignment, "activity": activity},
        expected="loss after 500 trials, from 80–140: e-prop with random feedback 7–15, with symmetric feedback and BPTT 3–10",
        references=("doi:10.1038/s41467-020-17236-y",),
    )


def table(results):
    """Loss of the first and after the last trial, rate, agreement with BPTT, and what the authors' code gave."""
    rows = results.table(("test_loss", "rate"))
    ends = results.curves("loss")
    cosine = results.curves("alignment") if any("alignment" in run.metrics for runs in results.values() for run in runs) else {}
    columns = {
        "loss of the first trial": {label: float(values[:, 0].mean()) for label, (_, values) in ends.items()},
        "weight-gradient cosine, mean over training": {label: float(values.mean()) for label, (_, values) in cosine.items()},
        "authors' code, first": {label: first for label, (first, _) in RELEASED.items()},
        "authors' code, last": {label: last for label, (_, last) in RELEASED.items()},
    }
    for name, values in columns.items():
        rows[name] = [values.get(label, float("nan")) for label in rows["arm"]]
    return rows.rename(columns={"rate": "rate (Hz)", "rate s.e.m.": "rate s.e.m. (Hz)"})


def learning(results):
    return bp.figures.learning(results.curves("loss"), log=True)


def alignment(results):
    return bp.figures.alignment(results.curves("alignment"))


def activity(results):
    """The trained circuit of the first seed: raster, rate, membrane potentials, output and target."""
    trial = results["e-prop, random"][0].recordings
    return bp.figures.activity(trial, target=trial["target"], states=("v",))
