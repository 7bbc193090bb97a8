"""Layers that are taught by their own synthetic gradients, in a hierarchy of areas whose depth is time.

An image is flashed to the first of L areas and travels up, one area a step; its name is asked for when it has come to the last. With windows of
one step and a predictor for each area (Jaderberg et al. 2017, arXiv 1608.05343), no area waits for what comes back: each learns at once from
what its predictor makes of its activity (DNI), or of that and the label (cDNI), and the predictor from what comes back from the next area one
step later, which is itself predicted except at the top. Predictors are linear or have a hidden layer. Beside them BPTT, which here is
backpropagation of the multilayer network, and the top area alone: what is below stays as it was drawn.
"""

from dataclasses import dataclass

import numpy as np
import pandas

import bioplaus as bp
from bioplaus import Arm, Experiment, Training


@dataclass(frozen=True)
class Config:
    depths: tuple[int, ...] = (3, 6, 4, 5)  # areas, on scikit-learn's 8×8 digits
    mnist_depths: tuple[int, ...] = (3,)  # areas, on 8,000 + 2,000 images out of MNIST's 10,000 test images
    units: int = 64  # rectified units of an area
    hidden: int = 128  # units of the hidden layer of each predictor that has one
    updates: int = 2000  # batches
    batch: int = 50  # images
    lr: float = 1e-3  # Adam, areas and readout
    predictor_lr: float = 1e-3  # Adam
    evaluate_every: int = 100  # updates between tests
    align_every: int = 50  # updates between comparisons with the true gradient
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights and batches anew


def layered_dni(config: Config = Config()) -> Experiment:
    """Backpropagation, the top alone, DNI and cDNI with linear and deeper predictors, in 3 to 6 areas."""
    linear = bp.predictor("areas")
    deeper = bp.predictor("areas", of=bp.predictor("mlp", hidden=(config.hidden,)))
    rules = {
        "BPTT": bp.rule("bptt"),
        "cDNI": bp.rule("dni", predictor=linear, context=True),
        "DNI": bp.rule("dni", predictor=linear),
        "cDNI mlp": bp.rule("dni", predictor=deeper, context=True),
        "DNI mlp": bp.rule("dni", predictor=deeper),
        "top alone": bp.rule("tbptt", steps=1),
    }
    names = "updates", "batch", "lr", "predictor_lr", "evaluate_every", "align_every"
    training = Training(**{name: getattr(config, name) for name in names})
    cases = [("digits", "standard", depth) for depth in config.depths]
    cases[1:1] = [("mnist", "t10k", depth) for depth in config.mnist_depths]
    arms = {}
    for data, split, depth in cases:
        task = bp.task("volley", steps=depth, data=data, split=split)
        sizes = {"inputs": task.inputs, "units": (config.units,) * depth, "outputs": task.outputs}
        circuit = bp.circuit("hierarchy", **sizes)
        case = f"{'MNIST ' if data == 'mnist' else ''}L={depth}"
        arms |= {f"{name}, {case}": Arm(circuit, task, rule, training) for name, rule in rules.items()}
    return Experiment(
        title="Layered synthetic gradients: every area has a predictor of its own",
        arms=arms,
        seeds=config.seeds,
        table=table,
        figures={"summary": summary},
        expected="digits, 3 areas: cDNI within 1.5 points of BPTT (97–98 %), DNI below it, the top alone last",
        references=("arXiv:1608.05343",),
    )


def parted(label: str) -> tuple[str, str]:
    """``"cDNI mlp, L=3"`` → rule and case."""
    rule, _, case = label.rpartition(", ")
    return rule, case


def ends(results) -> dict[str, dict[int, float]]:
    """Arm → seed → % of the test images that are named rightly, mean of the last tenth of the tests."""
    pairs = {label: zip(results[label], scores, strict=True) for label, scores in results.late("test_score").items()}
    return {label: {run.seed: 100 * score for run, score in some} for label, some in pairs.items()}


def cosines(runs) -> dict[str, pandas.DataFrame]:
    """Area → updates by seeds: cosine of what it was told and the true gradient, NaN where that is 0; the top, which is told the truth, is not among them."""
    columns = [name for name in runs[0].metrics.columns if name.startswith("prediction_A")]
    each = {c: pandas.concat([run.metrics.set_index("update")[c] for run in runs], axis=1) for c in columns}
    return {c.removeprefix("prediction_"): rows.dropna(how="all") for c, rows in each.items()}


def shown(runs, first: bool) -> str:
    """Cosine of each area from the first up, mean over the first fifth of training or the last."""
    return ", ".join(f"{np.nanmean(fifth(rows, first)):.2f}" for rows in cosines(runs).values()) or "–"


def fifth(rows, first: bool):
    """The first fifth of comparisons, or the last."""
    return (rows.head if first else rows.tail)(max(1, len(rows) // 5))


def table(results):
    """Accuracy at the end, against BPTT seed by seed, and how well each area is told."""
    rows, found = results.table(()), ends(results)
    values = [np.array(list(of.values())) for of in found.values()]
    rows.insert(2, "accuracy (%)", [v.mean() for v in values])
    rows.insert(3, "accuracy s.e.m. (%)", [v.std(ddof=1) / len(v) ** 0.5 if len(v) > 1 else np.nan for v in values])
    rows.insert(4, "this − BPTT (points)", [against(found, label) for label in found])
    rows.insert(5, "cosine of A1, A2, … early", [shown(runs, True) for runs in results.values()])
    rows.insert(6, "cosine of A1, A2, … late", [shown(runs, False) for runs in results.values()])
    return rows


def against(found, label: str) -> str:
    """An arm and BPTT in the same hierarchy, in pairs."""
    rule, case = parted(label)
    mine, other = found[label], found.get(f"BPTT, {case}", {})
    both = [seed for seed in mine if seed in other and rule != "BPTT"]
    return str(bp.analysis.paired([mine[s] for s in both], [other[s] for s in both])) if both else "–"


def summary(results):
    """Accuracy at the end over depths, and while learning in the first; cosine by area there, and over areas in the deepest."""
    found = ends(results)
    rules = list(dict.fromkeys(parted(label)[0] for label in found))
    depth = lambda case: int(case.rpartition("=")[2])  # noqa: E731
    cases = sorted({parted(label)[1] for label in found}, key=lambda case: ("MNIST" in case, depth(case)))
    hues = ("black", "blue", "bluish green", "sky blue", "orange", "vermillion")
    colours = {rule: bp.figures.OKABE_ITO[hue] for rule, hue in zip(rules, hues, strict=False)}
    first, deepest = cases[0], max(cases, key=lambda case: (depth(case), "MNIST" not in case))
    drawn = {}
    with bp.figures.Sheet(bp.figures.DOUBLE, 120) as sheet:
        (top, early), (areas, deep) = sheet.subplots(2, 2)
        for label, runs in results.items():
            rule, case = parted(label)
            colour, at = colours[rule], cases.index(case) + 0.1 * (rules.index(rule) - 2.5)
            scores = np.array(list(found[label].values()))
            top.plot([at] * len(scores), scores, ".", color=colour, markersize=3, alpha=0.6)
            top.plot([at], [scores.mean()], "_", color=colour, markersize=8)
            drawn[label] = {"accuracy": scores}
            if case == first:
                early.plot((curve := results.curves("test_score")[label])[0], 100 * curve[1].mean(0), color=colour)
                for (name, rows), line in zip(cosines(runs).items(), ("-", "--", ":"), strict=False):
                    areas.plot(rows.index, rows.mean(axis=1), color=colour, linestyle=line)
                    drawn[label][name] = rows.to_numpy().T
            if case == deepest and (late := [np.nanmean(fifth(rows, False)) for rows in cosines(runs).values()]):
                deep.plot(range(1, len(late) + 1), late, "o-", color=colour, markersize=3)
        top.set(ylabel="Test images right (%)", xlabel="Areas", xticks=range(len(cases)))
        top.set_xticklabels([case.replace("L=", "") for case in cases])
        early.set(xlabel="Updates", ylabel=f"Test images right (%), {first}")
        areas.set(xlabel="Updates", ylabel=f"Cosine with the truth, {first}\n(solid A1, dashed A2, dotted A3)")
        deep.set(xlabel="Area", ylabel=f"Cosine at the end, {deepest}", xticks=range(1, depth(deepest)))
        sheet.letter()
        sheet.explain({rule: top.plot([], [], "_", color=colour, markersize=8)[0] for rule, colour in colours.items()})
        return sheet.done(drawn)
