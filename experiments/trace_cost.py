"""What a cheaper eligibility trace costs a cerebellum that learns to predict credit, and what it spares.

Accumulate BP(λ) (Pemberton & Costa 2024, arXiv 2401.07044) with λ = 1 learns a prediction g of the gradient of the loss to come by
TD errors δ_t = (q_t + g(h_t)) J_t − g(h_{t−1}) and a trace e_t = J_{t−1} e_{t−1} + ∂g(h_{t−1})/∂θ. Both need J, the circuit's Jacobian, and
the trace has n³ entries. Here are cheaper traces beside the exact one, cheaper Jacobians in the TD error, and both at once, on target
reaching: a cue at the first of T steps, a point on the circle asked for at the last.
"""

from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import torch

import bioplaus as bp
from bioplaus import Arm, Experiment, Training
from bioplaus.measure.memory import memory
from bioplaus.measure.time import cpu_seconds


@dataclass(frozen=True)
class Config:
    steps: int = 10  # T
    targets: int = 6  # points on the circle, each with a cue
    units: int = 20  # LSTM units; what crosses a step is twice as large
    forget: float = 1.0  # bias of the forget gates at first
    nuclei: int = 8  # p, outputs of the projected trace
    kept: int = 5  # k, steps that the short replay keeps
    updates: int = 800  # batches
    batch: int = 10  # trials
    lr: float = 3e-3  # Adam, cortex and readout
    predictor_lr: float = 0.01  # Adam, for every arm  # chosen: of 0.01 and 0.03, on seeds 100, 101
    clip: float | None = 1.0  # largest gradient norm, cortex and predictor each
    betas: tuple[float, float] = (0.9, 0.98)  # of Adam
    align_every: int = 25  # updates between comparisons with the true gradient
    evaluate_every: int = 20  # updates between tests on all targets
    draws: int = 64  # of the random trace, for its bias and deviation
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights, trials and random signs anew


def trace_cost(config: Config = Config()) -> Experiment:
    """Traces: exact, replay, local, Kronecker, projected, learned; Jacobians: exact, random, within, learned."""
    rule = partial(bp.rule, "bp_lambda")
    traces = {
        "exact": rule(schedule="online"),
        "replay": rule(trace="replay", schedule="online"),
        f"replay k={config.kept}": rule(trace="replay", horizon=config.kept, schedule="online"),
        "local": rule(trace="local"),  # from here on run over whole trials: the same updates, sooner
        "Kronecker": rule(trace="kronecker"),
        f"projected p={config.nuclei}": rule(trace="projected", outputs=config.nuclei),
        "learned": rule(trace="learned"),
        "local + J within": rule(trace="local", jacobian="within"),
        "learned + J learned": rule(trace="learned", jacobian="learned"),
    }
    rules = {"reverse": rule()} | traces  # the exact trace's sum, backwards over the whole trial
    rules |= {f"J {name}": rule(jacobian=name) for name in ("random", "within", "learned")}
    rules |= {"BP(λ=0)": rule(lmbda=0.0), "BPTT": bp.rule("bptt")}
    task = bp.task("target_reaching", targets=config.targets, steps=config.steps)
    sizes = {"inputs": task.inputs, "units": config.units, "outputs": task.outputs, "bias": {"I_f": config.forget}}
    circuit = bp.circuit("cortico_cerebellar", cell=bp.model("lstm"), **sizes)
    training = Training(
        updates=config.updates,
        batch=config.batch,
        lr=config.lr,
        predictor_lr=config.predictor_lr,
        clip=config.clip,
        betas=config.betas,
        eps=1e-9,
        align_every=config.align_every,
        evaluate_every=config.evaluate_every,
    )
    arms = {name: Arm(circuit, task, rule, training) for name, rule in rules.items()}
    online = {name: replace(arms[name], rule=replace(rule, schedule=bp.Online())) for name, rule in traces.items()}
    costs = cache(lambda names: measured({name: (arms | online)[name] for name in names}))
    return Experiment(
        title="What a cheaper trace of BP(λ) costs and spares",
        arms=arms,
        seeds=config.seeds,
        table=lambda results: table(results, arms, costs(tuple(results)), config.draws),
        figures={"cost": lambda results: figure(results, costs(tuple(results)))},
        expected="median loss: BPTT, reverse, exact and replay below 0.001; replay k=5, local, Kronecker, projected and 'local + J within' "
        "0.001–0.02; 'learned + J learned' 0.01–0.2; BP(λ=0) and one learned, random or cut J without the other 0.1–0.5",
        references=("arXiv:2401.07044", "arXiv:1805.10842", "arXiv:1907.02649", "doi:10.1038/ncomms13276"),
    )


def table(results, arms, costs, draws):
    """Loss at the end, agreement with the true gradients over training, bias and deviation of the trace, and cost."""
    rows = results.table(()).drop(columns="ms per update")
    ended = results.late("test_loss")
    rows["test loss"] = [float(np.median(ended[name])) for name in rows["arm"]]
    rows["range over seeds"] = [f"{ended[name].min():.2g}–{ended[name].max():.2g}" for name in rows["arm"]]
    for column, title in (("prediction", "prediction cosine"), ("alignment", "weight-gradient cosine")):
        cosines = {name: float(np.nanmean(values)) for name, (_, values) in results.curves(column).items()}
        rows[title] = [cosines.get(name, float("nan")) for name in rows["arm"]]
    found = [quality(arms[name], results[name], draws) for name in rows["arm"]]
    rows["bias"], rows["deviation"] = zip(*found, strict=True)
    for column, values in costs.items():
        rows[column] = [values[name] for name in rows["arm"]]
    return rows


def quality(arm, runs, draws):
    """Bias and deviation of the predictor's update, in the circuits that the arm ended with; median over seeds."""
    signal, found = arm.rule.signal, []
    if getattr(signal, "lmbda", 0) == 0:
        return float("nan"), float("nan")
    for run in runs:
        network = arm.circuit.build(seed=run.seed, dtype=torch.float64)
        network.load({name: w.double() for name, w in run.weights.items()})
        batch = next(iter(arm.task.test_batches(256)))
        found.append(bp.trace_quality(network, batch, {"": signal}, run.own, draws=draws, seed=run.seed)[""])
    bias, deviation = np.median([[each.bias, each.deviation] for each in found], 0)
    return float(bias), float(deviation)


def measured(arms):
    """What each costs, traces step by step: CPU time of an update, and what is kept for each sample."""
    milliseconds = {name: 1e3 * seconds for name, seconds in cpu_seconds(arms).items()}
    kept = {name: memory(arm.circuit, arm.task, arm.rule) for name, arm in arms.items()}
    return {
        "ms per update": milliseconds,
        "KiB per sample": {name: (each.state + each.window) / 1024 for name, each in kept.items()},
    }


def figure(results, costs):
    """Loss at the end and agreement of the weight gradient, median and range over seeds, against time and memory."""
    aligned = {name: np.nanmean(values, 1) for name, (_, values) in results.curves("alignment").items()}
    scores = {"Test loss at the end": results.late("test_loss"), "Weight-gradient cosine": aligned}
    spent = dict(zip(("Time per update (ms)", "Memory per sample (KiB)"), costs.values(), strict=True))
    pen = bp.figures.pens(results)
    with bp.figures.Sheet(bp.figures.DOUBLE, 150) as sheet:
        axes, points = sheet.subplots(2, 2), []
        for row, (quantity, score), higher in zip(axes, scores.items(), (False, True), strict=True):
            middle = {name: [np.median(values)] for name, values in score.items()}
            for ax, (what, each) in zip(row, spent.items(), strict=True):
                at = {name: [each[name]] for name in score}
                for name, values in score.items():
                    ax.vlines(at[name], values.min(), values.max(), color=pen[name].colour, linewidth=0.8)
                points.append(bp.figures.panels.pareto(ax, at, middle, higher=higher, strokes=pen))
                ax.set(xlabel=what, ylabel=quantity)
        sheet.letter()
        sheet.name_points(*points)
        return sheet.done({**scores, **costs})
