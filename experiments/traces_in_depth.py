"""Eligibility traces over areas: BP(λ) where depth is time.

In a hierarchy a volley is one area further at every step, so that the n-step targets that λ mixes (Pemberton & Costa 2024, arXiv 2401.07044) are
n-area targets: with λ = 0 an area's predictor is asked for what the next area's predictor says, swept back through one layer of weights
(Jaderberg et al. 2017, arXiv 1608.05343); with λ = 1 for the true gradient, through all layers above. Does a longer reach help in depth as it
does in time? Every area has a linear predictor, told the label or not; beside them BPTT, here backpropagation of the multilayer network.
"""

from dataclasses import dataclass

import numpy as np

import bioplaus as bp
from bioplaus import Arm, Experiment, Training


@dataclass(frozen=True)
class Config:
    depths: tuple[int, ...] = (3, 6)  # areas
    lambdas: tuple[float, ...] = (0.0, 0.5, 1.0)  # λ of the trace, from area to area
    units: int = 64  # rectified units of an area
    updates: int = 1000  # batches
    batch: int = 50  # images of scikit-learn's 8×8 digits
    lr: float = 1e-3  # Adam, areas and readout
    predictor_lr: float = 1e-3  # Adam
    evaluate_every: int = 50  # updates between tests
    align_every: int = 25  # updates between comparisons with the true gradient
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights and batches anew


def traces_in_depth(config: Config = Config()) -> Experiment:
    """BP(λ) with a linear predictor for each area, λ = 0, 0.5 and 1, with and without the label, beside BPTT."""
    given = {"predictor": bp.predictor("areas")}
    rules = {"BPTT": bp.rule("bptt")}
    for label, name in ((True, ", label"), (False, "")):
        rules |= {f"BP(λ={x:g}){name}": bp.rule("bp_lambda", lmbda=x, context=label, **given) for x in config.lambdas}
    names = ("updates", "batch", "lr", "predictor_lr", "evaluate_every", "align_every")
    training = Training(**{name: getattr(config, name) for name in names})
    arms = {}
    for depth in config.depths:
        task = bp.task("volley", steps=depth)
        circuit = bp.circuit("hierarchy", inputs=task.inputs, units=(config.units,) * depth, outputs=task.outputs)
        arms |= {f"{name}, L={depth}": Arm(circuit, task, rule, training) for name, rule in rules.items()}
    return Experiment(
        title="Traces in depth: BP(λ) from area to area",
        arms=arms,
        seeds=config.seeds,
        table=table,
        figures={"summary": summary},
        expected="with the label λ = 1 within a point of BPTT in 3 areas; a larger λ not worse, and the more it helps the deeper",
        references=("arXiv:2401.07044", "arXiv:1608.05343"),
    )


def parted(label: str) -> tuple[str, str]:
    """``"BP(λ=1), label, L=3"`` → rule and number of areas."""
    rule, _, depth = label.rpartition(", L=")
    return rule, depth


def ends(results) -> dict[str, dict[int, float]]:
    """Arm → seed → % of the test images that are named rightly, mean of the last tenth of the tests."""
    pairs = {label: zip(results[label], scores, strict=True) for label, scores in results.late("test_score").items()}
    return {label: {run.seed: 100 * score for run, score in some} for label, some in pairs.items()}


def cosines(runs) -> dict[str, np.ndarray]:
    """Area → (seed, comparison): cosine of what it was told and the true gradient; of all but the top, which is told the truth."""
    columns = [name for name in runs[0].metrics.columns if name.startswith("prediction_A")]
    values = [np.stack([run.metrics[c].dropna().to_numpy(float) for run in runs]) for c in columns]
    return {c.removeprefix("prediction_"): rows for c, rows in zip(columns, values, strict=True)}


def over_time(runs) -> str:
    """Cosine of each area from the first up, mean over all of training."""
    return ", ".join(f"{rows.mean():.2f}" for rows in cosines(runs).values()) or "–"


def table(results):
    """Accuracy at the end, against λ = 0 and BPTT seed by seed, and how well each area was told on the way."""
    rows, found = results.table(()), ends(results)
    values = [np.array(list(of.values())) for of in found.values()]
    rows.insert(2, "accuracy (%)", [v.mean() for v in values])
    rows.insert(3, "accuracy s.e.m. (%)", [v.std(ddof=1) / len(v) ** 0.5 if len(v) > 1 else np.nan for v in values])
    rows.insert(4, "this − λ=0 (points)", [against(found, label, "BP(λ=0)") for label in found])
    rows.insert(5, "this − BPTT (points)", [against(found, label, "BPTT") for label in found])
    rows.insert(6, "cosine of A1, A2, …", [over_time(runs) for runs in results.values()])
    return rows


def against(found, label: str, base: str) -> str:
    """An arm and another in the same hierarchy, told the label where this one is, in pairs."""
    rule, depth = parted(label)
    told = ", label" if base != "BPTT" and rule.endswith(", label") else ""
    other = found.get(f"{base}{told}, L={depth}", {})
    both = [seed for seed in found[label] if seed in other]
    if rule in ("BPTT", base + told) or not both:
        return "–"
    return str(bp.analysis.paired([found[label][s] for s in both], [other[s] for s in both]))


def summary(results):
    """Accuracy at the end, seeds as dots and means as lines; and by area how well it was told."""
    found, drawn = ends(results), {}
    rules = list(dict.fromkeys(parted(label)[0] for label in found))
    depths = sorted({int(parted(label)[1]) for label in found})
    shades = dict(zip([r for r in rules if r.endswith("label")], ("#E5BCD2", "#CC79A7", "#8A3B66"), strict=False))
    shades |= dict(
        zip([r for r in rules if r not in shades and r != "BPTT"], ("#A3CCE3", "#0072B2", "#00395A"), strict=False)
    )
    colours = {rule: shades.get(rule, "#000000") for rule in rules}
    with bp.figures.Sheet(bp.figures.DOUBLE, 66) as sheet:
        ends_at, *told = sheet.subplots(1, 1 + len(depths))
        for label, runs in results.items():
            rule, depth = parted(label)
            colour, at = colours[rule], depths.index(int(depth)) + 0.11 * (rules.index(rule) - (len(rules) - 1) / 2)
            scores = np.array(list(found[label].values()))
            ends_at.plot([at] * len(scores), scores, ".", color=colour, markersize=3, alpha=0.6)
            ends_at.plot([at], [scores.mean()], "_", color=colour, markersize=7)
            drawn[label] = {"accuracy": scores}
            if by := cosines(runs):
                means = np.stack([rows.mean(1) for rows in by.values()])  # (area, seed)
                ax = told[depths.index(int(depth))]
                ax.plot(range(1, len(means) + 1), means.mean(1), "o-", color=colour, markersize=3)
                drawn[label]["cosine"] = means
        ends_at.set(xlabel="Areas", ylabel="Test images right (%)", xticks=range(len(depths)), xticklabels=depths)
        for ax, depth in zip(told, depths, strict=True):
            ax.set(xlabel="Area", ylabel=f"Cosine while learning, {depth} areas", xticks=range(1, depth))
        sheet.letter()
        sheet.explain({rule: ends_at.plot([], [], "_", color=c, markersize=8)[0] for rule, c in colours.items()})
        return sheet.done(drawn)
