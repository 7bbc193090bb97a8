"""Is a gradient better predicted as itself, or as the slope of a predicted loss?

A critic predicts the loss to come, and what it tells an area is the slope of that; it may be taught the value, the slope, or both, as Sobolev
training does (Czarnecki et al. 2017, arXiv 1706.04859). In a hierarchy of areas that a flashed digit crosses one area a step, every area has a critic
of its own, a net with one hidden layer that is told the label: its value is to be what the next area's critic predicts one step later, and its slope
what that one says, swept back through one layer of weights; at the top the loss and its gradient. Or the critic is a small classifier whose
cross-entropy with the label is the value. Beside them a predictor of the gradient itself, of as many hidden units, and BPTT.
"""

from dataclasses import dataclass, replace

import numpy as np

import bioplaus as bp
from bioplaus import Arm, Experiment, Training


@dataclass(frozen=True)
class Config:
    depth: int = 3  # areas
    units: int = 64  # rectified units of an area
    hidden: int = 128  # units of the hidden layer of each predictor
    slope: float = 100.0  # weight of the slope's squared error where the value's is 1  # chosen: slopes are small
    updates: int = 1000  # batches
    batch: int = 50  # images of scikit-learn's 8×8 digits
    lr: float = 1e-3  # Adam, areas and readout
    predictor_lr: float = 1e-2  # Adam, predictors  # chosen: of 1e-3, 3e-3 and 1e-2 for critics, on seed 100
    slow: float = 1e-3  # a second rate, for the predictor of the gradient itself and the classifier
    evaluate_every: int = 50  # updates between tests
    align_every: int = 25  # updates between comparisons with the true gradient
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights and batches anew


def critic_or_gradient(config: Config = Config()) -> Experiment:
    """Predictors of the gradient, of the value, of the slope and of both, in every area of a hierarchy."""
    critics = {
        "value": {"slope": 0.0},
        "slope": {"value": 0.0},
        "both": {"slope": config.slope},
        "classifier, value": {"slope": 0.0, "form": "logits"},
        "classifier, both": {"slope": config.slope, "form": "logits"},
    }
    predictors = {"gradient": bp.predictor("mlp", hidden=(config.hidden,))}
    predictors |= {name: bp.predictor("critic", hidden=(config.hidden,), **how) for name, how in critics.items()}
    told = {"context": True}
    rules = {name: bp.rule("dni", predictor=bp.predictor("areas", of=of), **told) for name, of in predictors.items()}
    task = bp.task("volley", steps=config.depth)
    circuit = bp.circuit("hierarchy", inputs=task.inputs, units=(config.units,) * config.depth, outputs=task.outputs)
    names = ("updates", "batch", "lr", "predictor_lr", "evaluate_every", "align_every")
    training = Training(**{name: getattr(config, name) for name in names})
    slow = replace(training, predictor_lr=config.slow)
    arms = {"BPTT": Arm(circuit, task, bp.rule("bptt"), training)}
    arms |= {name: Arm(circuit, task, rule, training) for name, rule in rules.items()}
    arms |= {f"{name}, slow": Arm(circuit, task, rules[name], slow) for name in ("gradient", "classifier, both")}
    return Experiment(
        title="Critic or gradient: what an area's predictor is to predict",
        arms=arms,
        seeds=config.seeds,
        table=table,
        figures={"summary": summary},
        expected="value alone learns nothing; slope, and both, come near the predictor of the gradient; classifiers above other critics",
        references=("arXiv:1706.04859", "arXiv:1608.05343"),
    )


def ends(results) -> dict[str, dict[int, float]]:
    """Arm → seed → % of the test images that are named rightly, mean of the last tenth of the tests."""
    pairs = {label: zip(results[label], scores, strict=True) for label, scores in results.late("test_score").items()}
    return {label: {run.seed: 100 * score for run, score in some} for label, some in pairs.items()}


def cosines(runs) -> dict[str, np.ndarray]:
    """Area → (seed, comparison): cosine of what it was told and the true gradient; of all but the top, which is told the truth."""
    columns = [name for name in runs[0].metrics.columns if name.startswith("prediction_A")]
    values = [np.stack([run.metrics[c].dropna().to_numpy(float) for run in runs]) for c in columns]
    return {c.removeprefix("prediction_"): rows for c, rows in zip(columns, values, strict=True)}


def shown(runs, first: bool) -> str:
    """Cosine of each area from the first up, mean over the first fifth of training or the last."""
    part = lambda n: slice(0, max(1, n // 5)) if first else slice(-max(1, n // 5), None)  # noqa: E731
    return ", ".join(f"{rows[:, part(rows.shape[1])].mean():.2f}" for rows in cosines(runs).values()) or "–"


def table(results):
    """Accuracy at the end, against the predictor of the gradient and against the critic of both, seed by seed; how well areas are told."""
    rows, found = results.table(()), ends(results)
    values = [np.array(list(of.values())) for of in found.values()]
    rows.insert(2, "accuracy (%)", [v.mean() for v in values])
    rows.insert(3, "accuracy s.e.m. (%)", [v.std(ddof=1) / len(v) ** 0.5 if len(v) > 1 else np.nan for v in values])
    for at, (name, base) in enumerate((("this − gradient (points)", "gradient"), ("this − both (points)", "both"))):
        rows.insert(4 + at, name, [against(found, label, base) for label in found])
    rows.insert(6, "cosine of A1, A2, … early", [shown(runs, True) for runs in results.values()])
    rows.insert(7, "cosine of A1, A2, … late", [shown(runs, False) for runs in results.values()])
    return rows


def against(found, label: str, base: str) -> str:
    """An arm and another, in pairs."""
    both = [seed for seed in found[label] if seed in found.get(base, {})]
    if label == base or not both:
        return "–"
    return str(bp.analysis.paired([found[label][s] for s in both], [found[base][s] for s in both]))


def summary(results):
    """Accuracy at the end and while learning; and the cosine of what the first area is told."""
    found, drawn = ends(results), {}
    palette = ("#000000", "#009E73", "#999999", "#56B4E9", "#0072B2", "#E69F00", "#D55E00", "#66C7A8", "#F0A878")
    colours = dict(zip(results, palette, strict=False))
    with bp.figures.Sheet(bp.figures.DOUBLE, 70) as sheet:
        end, curve, told = sheet.subplots(1, 3)
        for at, (label, runs) in enumerate(results.items()):
            scores = np.array(list(found[label].values()))
            end.plot([at] * len(scores), scores, ".", color=colours[label], markersize=3, alpha=0.6)
            end.plot([at], [scores.mean()], "_", color=colours[label], markersize=8)
            updates, tests = results.curves("test_score")[label]
            curve.plot(updates, 100 * tests.mean(0), color=colours[label])
            drawn[label] = {"accuracy": scores, **cosines(runs)}
            if by := cosines(runs):
                measured = runs[0].metrics.dropna(subset=["alignment"])["update"].to_numpy()
                told.plot(measured, next(iter(by.values())).mean(0), color=colours[label])
        end.set(ylabel="Test images right (%)", xticks=[])
        curve.set(xlabel="Updates", ylabel="Test images right (%)")
        told.set(xlabel="Updates", ylabel="Cosine of what A1 is told")
        sheet.letter()
        sheet.explain({label: end.plot([], [], "_", color=c, markersize=8)[0] for label, c in colours.items()})
        return sheet.done(drawn)
