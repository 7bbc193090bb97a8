"""A spiking circuit that has learned to count cues is silenced, a population at a time, while cues come, while it remembers, while it is asked.

What optogenetic studies do to mice and rats that accumulate evidence (Hanks et al. 2015, doi:10.1038/nature14066; Pinto et al. 2022,
doi:10.7554/eLife.70263), done to circuits under Dale's law that e-prop has trained on a short form of such a task, its feedback random, or
symmetric, which tells inhibitory neurons nothing, as no readout sees them. Weights stay as they are in tests, which are of the same trials.
"""

from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import pandas
import torch

import bioplaus as bp
from bioplaus import Arm, Experiment, Perturb, Training


@dataclass(frozen=True)
class Config:
    cues: int = 3  # with gaps of 20 ms
    cue: float = 0.05  # s, of each
    delay: float = 0.3  # s, from the last cue to the question
    recall: float = 0.05  # s, of the question
    units: int = 80  # ALIF neurons, four fifths of them excitatory, which the readout sees; weights gamma, balanced
    fan_in: float = 0.2  # part of either kind that a neuron hears
    tau: float = 20.0  # ms, membranes and readout
    tau_a: float = 500.0  # ms, adaptation
    threshold: float = 0.6  # of the membrane; its unit is that of the input
    beta: float = 0.03  # by how much a spike raises the threshold
    dampening: float = 0.3  # height of the surrogate derivative, times the threshold
    refractory: int = 5  # steps from a spike to the next at the earliest
    lr: float = 5e-3  # Adam, going down to 0 along half a cosine
    batch: int = 32  # trials
    rate_target: float = 10.0  # Hz
    rate_strength: float = 2.0  # of ½ Σ (f − target)², f in spikes per step
    updates: int = 300  # batches
    test_trials: int = 400  # always the same
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights, feedback and trials anew


INTACT = "nothing"  # is silenced


def silencing(config: Config = Config()) -> Experiment:
    """Excitatory and inhibitory neurons that count cues, silenced by population and epoch of the trial."""
    times = {name: getattr(config, name) for name in ("cues", "cue", "delay", "recall", "test_trials")}
    task = bp.task("evidence_accumulation", gap=0.02, **times)
    shared = {name: getattr(config, name) for name in ("threshold", "dampening", "refractory", "beta")}
    cell = bp.model("lsnn_alif", tau_m=config.tau * bp.ms, tau_a=config.tau_a * bp.ms, **shared)
    ends = {"inputs": task.inputs, "outputs": task.outputs, "tau_out": config.tau * bp.ms}
    cortex = bp.circuit("excitatory_inhibitory", cell=cell, units=config.units, fan_in=config.fan_in, **ends)
    names = ("updates", "lr", "batch", "rate_target", "rate_strength")
    cosine = {"lr_schedule": "CosineAnnealingLR", "lr_schedule_options": {"T_max": config.updates}}
    training = Training(**{name: getattr(config, name) for name in names}, **cosine)
    rules = {f"e-prop, {each}": bp.rule("eprop", feedback=each) for each in ("random", "symmetric")}
    seen = cache(partial(tested, task, ways(cortex)))
    return Experiment(
        title="Silencing: which spikes, and when, a decision needs",
        arms={label: Arm(cortex, task, rule, training) for label, rule in rules.items()},
        seeds=config.seeds,
        table=partial(table, seen),
        by_seed=partial(seeds, seen),
        figures={"summary": partial(summary, seen), "rasters": rasters, "weights": weights},
        expected="intact 85–100 % right; less without E while cues come; at chance (50 %) without E in the question, which is all that the readout sees",
        references=("doi:10.1038/nature14066", "doi:10.7554/eLife.70263", "doi:10.1038/s41467-020-17236-y"),
    )


def ways(circuit) -> dict[str, partial]:
    """What is done to whom: a Perturb but for its steps."""
    half = circuit.populations["E"].size // 2
    return {
        "E": partial(Perturb, "E", "silence"),
        "half of E": partial(Perturb, f"E[0:{half}]", "silence"),
        # neurons that never reach threshold, and adapt to nothing
        "E, held at rest": partial(Perturb, "E.v", "clamp", value=0.0),
        "I": partial(Perturb, "I", "silence"),
    }


def tested(task, done, run) -> dict[tuple[str, str], float]:
    """(who, epoch) → right choices of a trained circuit in %, silenced so, of all test trials."""
    batches, network, found = list(task.test_batches(task.test_trials)), run.network, {}
    epochs = {name.replace("cue", "cues"): slice(int(e.min()), int(e.max())) for name, e in batches[0].epochs.items()}
    cases: dict = {(who, name): do(steps=steps) for who, do in done.items() for name, steps in epochs.items()}
    for case, light in ({(INTACT, "–"): None} | cases).items():
        outputs = [bp.simulate(network, batch, (), perturb=light).output.values for batch in batches]
        right = [task.score(torch.as_tensor(o), batch) for o, batch in zip(outputs, batches, strict=True)]
        found[case] = 100 * float(np.average(right, weights=[o.shape[1] for o in outputs]))
    return found


def seeds(seen, results):
    """Right choices of each seed, by who was silenced and when."""
    rows = [
        {"arm": label, "seed": run.seed, "silenced": who, "epoch": epoch, "right (%)": right}
        for label, runs in results.items()
        for run in runs
        for (who, epoch), right in seen(run).items()
    ]
    return pandas.DataFrame(rows)


def table(seen, results):
    """Mean over seeds, and each case against the same circuits unperturbed, pair by pair."""
    rows = []
    for arm, runs in results.items():
        found = [seen(run) for run in runs]
        intact = [each[INTACT, "–"] for each in found]
        for who, epoch in found[0]:
            right = np.array([each[who, epoch] for each in found])
            row = {"arm": arm, "silenced": who, "epoch": epoch, "n": len(right), "right (%)": right.mean()}
            row["right s.e.m. (%)"] = right.std(ddof=1) / len(right) ** 0.5 if len(right) > 1 else np.nan
            rows.append(row | {"lost (%)": "–" if who == INTACT else str(bp.analysis.paired(intact, right))})
    return pandas.DataFrame(rows)


def summary(seen, results):
    """Right choices of every seed, unperturbed and silenced in each epoch; a row an arm, a column who is silenced."""
    frame = seeds(seen, results)
    who = [each for each in frame["silenced"].unique() if each != INTACT]
    with bp.figures.Sheet(bp.figures.DOUBLE, 20 + 40 * len(results)) as sheet:
        axes = sheet.subplots(len(results), len(who), squeeze=False, sharey=True)
        for row, arm in zip(axes, results, strict=True):
            for ax, each in zip(row, who, strict=True):
                here = frame[(frame["arm"] == arm) & frame["silenced"].isin((INTACT, each))]
                wide = here.pivot(index="seed", columns="epoch", values="right (%)")[["–", "cues", "delay", "recall"]]
                ax.plot(range(wide.shape[1]), wide.T, color="#999999", linewidth=0.6, marker="o", markersize=2)
                ax.errorbar(range(wide.shape[1]), wide.mean(), wide.sem(), fmt="D", color="black", markersize=3)
                ax.axhline(50.0, **bp.figures.GUIDE)
                ax.set_xticks(range(wide.shape[1]), ["intact", *wide.columns[1:]])
                ax.set(xlim=(-0.4, wide.shape[1] - 0.6), title=f"{arm.removeprefix('e-prop, ')}: {each}")
            row[0].set_ylabel("Right (%)")
        sheet.letter()
        return sheet.done(frame)


def rasters(results):
    """A test trial of either answer in the first circuit that e-prop trained."""
    return bp.figures.rasters(results["e-prop, random"][0].recordings, "answer")


def weights(results):
    """Weights of that circuit before and after learning."""
    return bp.figures.weight_distributions(results["e-prop, random"][0].network)
