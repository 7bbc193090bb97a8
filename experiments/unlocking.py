"""Areas that wait for nobody: neither for credit from above, nor for each other's updates, nor for activity from below.

A hierarchy of areas (a multilayer network, whose depth is time) names digits (Jaderberg et al. 2017, arXiv 1608.05343). Update-unlocked: each area
learns from what a linear predictor of its own makes of its activity and the label (cDNI), and moves with probability p in an update, as does
the readout. Fully unlocked: while they learn, areas are driven by forward models, which predict from the image alone what the area below will
say (`bp.Drive`), in half of the trials. Beside them backpropagation; areas that stay as they were drawn, under the same drive; and all trials
driven, so that areas learn at predicted inputs alone.

Two accuracies are told apart: of the true chain, in which each area hears the one below, and of the predicted drive, in which the last area hears
its forward model alone. Of the latter the forward models have a large part.
"""

from dataclasses import dataclass, replace

import numpy as np

import bioplaus as bp
from bioplaus import Arm, Drive, Experiment, Training


@dataclass(frozen=True)
class Config:
    areas: int = 3  # that an image crosses, one a step
    units: int = 64  # rectified units of an area
    hidden: int = 128  # units of the hidden layer of each forward model
    share: float = 0.5  # of the trials that forward models drive
    probabilities: tuple[float, ...] = (1.0, 0.5, 0.2, 0.1)  # that an area, or the readout, moves in an update
    updates: int = 3000  # batches
    batch: int = 50  # images
    lr: float = 1e-3  # Adam, everything
    evaluate_every: int = 100  # updates between tests
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights and batches anew


def unlocking(config: Config = Config()) -> Experiment:
    """Backpropagation, cDNI and fully unlocked at several probabilities, and two controls, on 8×8 digits."""
    task = bp.task("volley", steps=config.areas)
    sizes = {"inputs": task.inputs, "units": (config.units,) * config.areas, "outputs": task.outputs}
    circuit = bp.circuit("hierarchy", **sizes)
    names = ("updates", "batch", "lr", "evaluate_every")
    training = Training(**{name: getattr(config, name) for name in names})
    drive = Drive(hidden=(config.hidden,), share=config.share)
    bptt, cdni = bp.rule("bptt"), bp.rule("dni", predictor=bp.predictor("areas"), context=True)
    still = {"default": 0.0, "readout": config.lr, "predictor": config.lr}

    def arm(rule, **other) -> Arm:
        return Arm(circuit, task, rule, replace(training, **other))

    arms = {"BPTT": arm(bptt)}
    arms |= {f"unlocked, p={p:g}": arm(cdni, update_probability=p, drive=drive) for p in config.probabilities[:1]}
    arms |= {"areas as drawn": arm(bptt, lr=still, drive=drive)}
    arms |= {f"cDNI, p={p:g}": arm(cdni, update_probability=p) for p in config.probabilities}
    arms |= {f"unlocked, p={p:g}": arm(cdni, update_probability=p, drive=drive) for p in config.probabilities[1:]}
    arms |= {"unlocked, all driven": arm(cdni, drive=replace(drive, share=1.0))}
    return Experiment(
        title="Unlocking: areas that wait neither for credit nor for each other nor for activity",
        arms=arms,
        seeds=config.seeds,
        table=table,
        figures={"summary": summary},
        expected="true chain: unlocked, p=1 within 2 points of BPTT (97–98 %); less with smaller p; all driven as good, more slowly; areas as drawn some 85 %",
        references=("arXiv:1608.05343",),
    )


def ends(results, of: str = "test_score") -> dict[str, np.ndarray]:
    """Arm → (seed,), % of the test images that are named rightly, median of the last tenth of the tests; arms without a drive have no driven score."""
    having = {label: runs for label, runs in results.items() if of in runs[0].metrics}
    return {label: 100 * scores for label, scores in type(results)(having).late(of).items()}


def table(results):
    """Accuracy of the true chain and of the predicted drive at the end, against BPTT and against p = 1 of the same kind."""
    rows, true, alone = results.table(()), ends(results), ends(results, "driven_score")
    error = lambda v: v.std(ddof=1) / len(v) ** 0.5 if len(v) > 1 else np.nan  # noqa: E731
    rows.insert(2, "true chain (%)", [true[label].mean() for label in results])
    rows.insert(3, "true chain s.e.m. (%)", [error(true[label]) for label in results])
    rows.insert(4, "predicted drive (%)", [alone[label].mean() if label in alone else np.nan for label in results])
    rows.insert(
        5, "predicted drive s.e.m. (%)", [error(alone[label]) if label in alone else np.nan for label in results]
    )
    rows.insert(6, "true chain − BPTT (points)", [results.against(true, label, "BPTT") for label in results])
    first = {label: f"{label.partition(', ')[0]}, p=1" for label in results}
    rows.insert(7, "true chain − p=1 (points)", [results.against(true, label, first[label]) for label in results])
    return rows


def summary(results):
    """Accuracy against p, while learning, and of the predicted drive against that of the true chain."""
    hues = bp.figures.OKABE_ITO
    kinds = {
        "BPTT": "black",
        "cDNI": "blue",
        "unlocked": "vermillion",
        "areas as drawn": "grey",
        "unlocked, all driven": "orange",
    }
    true, alone, drawn = ends(results), ends(results, "driven_score"), {}
    with bp.figures.Sheet(bp.figures.DOUBLE, 65) as sheet:
        by_p, learning, apart = sheet.subplots(1, 3)
        keys = {}
        for label, scores in true.items():
            kind, _, p = label.partition(", p=")
            colour = hues.get(kinds[kind], "0.5")
            drawn[label] = {"true chain": scores}
            if p:
                by_p.plot([float(p)] * len(scores), scores, ".", color=colour, markersize=3, alpha=0.6)
                by_p.plot([float(p)], [scores.mean()], "_", color=colour, markersize=8)
            else:
                by_p.axhline(scores.mean(), color=colour, linewidth=0.8)
            if p in ("", "1"):
                updates, values = results.curves("test_score")[label]
                learning.plot(updates, 100 * values.mean(0), color=colour)
            if label in alone:
                drawn[label]["predicted drive"] = alone[label]
                apart.plot(scores, alone[label], "o", color=colour, markersize=3, alpha=1.0 if p in ("", "1") else 0.4)
            keys[kind] = colour
        by_p.set(xlabel="Probability that an area moves", ylabel="Test images right (%)", xscale="log")
        ticks = sorted({float(label.partition("p=")[2]) for label in true if "p=" in label})
        by_p.set_xticks(ticks, [f"{p:g}" for p in ticks])
        by_p.minorticks_off()
        learning.set(xlabel="Updates", ylabel="Test images right (%)", ylim=(0, 100))
        apart.set(xlabel="True chain (%)", ylabel="Predicted drive (%)")
        sheet.letter()
        sheet.explain({kind: by_p.plot([], [], "_", color=colour, markersize=8)[0] for kind, colour in keys.items()})
        return sheet.done(drawn)
