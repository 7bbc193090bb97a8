"""Lesions of a cerebellum that teaches: its output removed, or its olive, early, in the middle or late in learning.

A model whose cerebellum predicts the cortex's learning signals is published to be hurt differently by the one and by the other (Boven et al. 2023,
doi:10.1038/s41467-022-35658-8). The task here is that of Pemberton & Costa 2024 (arXiv 2401.07044), in which credit must cross the whole trial. A
lesion lasts to the end; the cortex's optimiser and random streams are left alone.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas

import bioplaus as bp
from bioplaus import Arm, Experiment, Perturb, Training, ms


@dataclass(frozen=True)
class Config:
    units: int = 30  # tanh units, τ = 2 ms, dt 1 ms, weights U(±1/√N); ten steps from the cue to the target
    targets: int = 6  # points on the circle
    active: float = 0.5  # fraction of granule cells, of which each hears 4 of 120 mossy fibres
    updates: int = 900  # batches of 10
    at: tuple[int, ...] = (100, 300, 600)  # updates before the lesion: early, in the middle, late
    soon: int = 100  # updates after it, when it is looked at as well as at the end
    lr: float = 1e-3  # Adam, cortex and readout
    predictor_lr: float = 1e-2  # Adam, Purkinje cells and interneurons
    golgi_lr: float = 1e-2  # Adam, thresholds
    clip: float = 1.0  # largest gradient norm, cortex and predictor each
    test_every: int = 20  # updates between tests on all targets
    seeds: tuple[int, ...] = tuple(range(10))  # each draws weights, wiring and trials anew, the same for every lesion


WHOLE = "no lesion"
LESIONS = {"output": "cerebellum", "olive": "cerebellum.olive"}  # what is silenced


def cerebellar_lesion(config: Config = Config()) -> Experiment:
    """Output or olive silenced from some update on, beside the same seeds unlesioned and without a cerebellum all along."""
    task = bp.task("target_reaching", targets=config.targets)
    cell, sizes = bp.model("leaky_rate", tau=2 * ms), {"inputs": task.inputs, "outputs": task.outputs}
    weights = {"init": "uniform", "input_gain": (task.inputs / config.units) ** 0.5}
    cortex = bp.circuit("cortico_cerebellar", cell=cell, units=config.units, **sizes, **weights)
    gain = {"divisive": 5.0, "subtractive": 0.5, "tau_golgi": 3}
    rule = bp.rule("bp_lambda", predictor=bp.predictor("granule", active=config.active, **gain))
    rates = {"default": config.lr, "predictor": config.predictor_lr, "cerebellum.golgi": config.golgi_lr}
    shared = {"updates": config.updates, "batch": 10, "lr": rates, "clip": config.clip}
    shared |= {"evaluate_every": config.test_every, "align_every": config.test_every}
    lesions = {WHOLE: (), "output at 0": Perturb("cerebellum", "silence")}
    for name, path in LESIONS.items():
        lesions |= {f"{name} at {u}": Perturb(path, "silence", updates=slice(u, None)) for u in config.at}
    arms = {n: Arm(cortex, task, rule, Training(perturb=lesion, **shared)) for n, lesion in lesions.items()}
    return Experiment(
        title="Lesions of a cerebellum that teaches, by epoch of learning",
        arms=arms,
        seeds=config.seeds,
        table=partial(table, config),
        by_seed=partial(seeds, config),
        figures={"lesions": partial(figure, config)},
        expected="output: early and middle lesions end above no lesion in most seeds, late ones below; olive: at chance (0.5), whenever",
        references=("doi:10.1038/s41467-022-35658-8", "arXiv:2401.07044"),
    )


def seeds(config, results):
    """Of each run the test loss so many updates after the lesion, what it is then without one, and at the end (median of the last tenth)."""
    curves, ends, rows = results.curves("test_loss"), results.late("test_loss"), []
    whole = dict(zip([run.seed for run in results[WHOLE]], curves[WHOLE][1], strict=True))
    for label, (updates, losses) in curves.items():
        then = np.abs(updates - begins(label) - config.soon).argmin()
        for run, loss, end in zip(results[label], losses, ends[label], strict=True):
            soon = {"soon after": loss[then], "no lesion, then": whole[run.seed][then]}
            rows.append({"arm": label, "seed": run.seed} | (soon if begins(label) else {}) | {"at the end": end})
    return pandas.DataFrame(rows)


def begins(label: str) -> int:
    """``"olive at 300"`` → 300; 0 for what is so all along."""
    return 0 if label == WHOLE else int(label.rpartition(" ")[2])


def table(config, results):
    """Mean losses, and by how many powers of ten they differ, seed by seed: from no lesion, and of olive from output."""
    rows, found = [], {str(n): each.set_index("seed") for n, each in seeds(config, results).groupby("arm", sort=False)}
    for label, each in found.items():
        row = {"arm": label, "n": len(each), "soon after": each["soon after"].mean()}
        row["soon: log10 this/no lesion"] = paired(each["soon after"], each["no lesion, then"])
        row |= {"at the end": each["at the end"].mean(), "s.e.m.": each["at the end"].sem()}
        against = {"log10 this/no lesion": WHOLE, "log10 this/output": label.replace("olive", "output")}
        for column, other in against.items():
            row[column] = "–" if other in (label, None) else paired(each["at the end"], found[other]["at the end"])
        rows.append(row)
    return pandas.DataFrame(rows)


def paired(a, b) -> str:
    """What pairs of losses say, of seeds that have both."""
    a, b = (np.log10(each[a.notna() & b.notna()]) for each in (a, b))
    return str(bp.analysis.paired(a, b)) if len(a) else "–"


def figure(config, results):
    """Test loss over learning without either, geometric means; and at the end: bars are geometric means, dots seeds, lines pairs."""
    curves, frame = results.curves("test_loss"), seeds(config, results)
    shades = dict(zip(config.at, ("#E69F00", "#D55E00", "#7A3600"), strict=False))
    ends = frame.pivot(index="seed", columns="arm", values="at the end")
    with bp.figures.Sheet(bp.figures.DOUBLE, 72) as sheet:
        *over, bars = sheet.subplots(1, 3, width_ratios=(1, 1, 1.5), sharey=True)
        for ax, lesion in zip(over, LESIONS, strict=True):
            for label in (n for n in curves if n in (WHOLE, "output at 0") or n.startswith(f"{lesion} ")):
                updates, losses = curves[label]
                colour = {WHOLE: "#000000"}.get(label, shades.get(begins(label), "#999999"))
                ax.plot(updates, 10 ** np.log10(losses).mean(0), color=colour)
            ax.set(xlabel="Updates (number)", title=f"{lesion} removed", yscale="log")
        over[0].set_ylabel("Test loss (a.u.)")
        top = ("data", "axes fraction")
        for group, at in enumerate(config.at):
            arms = [WHOLE, *(f"{name} at {at}" for name in LESIONS)]
            x = 4 * group + np.arange(len(arms))
            bars.bar(x, 10 ** np.log10(ends[arms]).mean(), color=["#BBBBBB", shades[at], shades[at]], alpha=0.6)
            bars.plot(x, ends[arms].T, color="#777777", linewidth=0.4, marker="o", markersize=1.5)
            for place, arm in zip(x[1:], arms[1:], strict=True):
                p = bp.analysis.paired(np.log10(ends[arm]), np.log10(ends[WHOLE])).p
                bars.annotate(f"p = {p:.1g}", (place, 0.98), xycoords=top, ha="center", va="top", rotation=90)
            bars.annotate(f"from {at}", (x[1], 1.0), xycoords=top, ha="center", va="bottom")
        places = np.add.outer(4 * np.arange(len(config.at)), np.arange(3)).flatten()
        bars.set_xticks(places, ["none", *LESIONS] * len(config.at), rotation=90)
        bars.set(xlabel=f"n = {len(ends)} seeds; paired t-test of log10 loss against none")
        bars.set_ylim(top=bars.get_ylim()[1] * 10)
        sheet.letter()
        marks = {WHOLE: "#000000", "no output from the start": "#999999"} | {f"from {at}": shades[at] for at in shades}
        sheet.explain({name: over[0].plot([], [], color=colour)[0] for name, colour in marks.items()})
        return sheet.done(frame)
