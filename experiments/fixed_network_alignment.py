"""How well a cerebellum can come to predict a true gradient, by λ and by the length of a trial, while the cortex stands still.

The cortex is a fixed linear network that is cued at the first step and asked for a point at the last (Pemberton & Costa 2024,
arXiv 2401.07044); only the predictor learns, by BP(λ). First with the published weights, U(±1/√N), and ten steps. Then over
longer trials, where such weights leave one or two modes of the cue: there W is orthogonal, and all modes stay alive. Its transpose
is its inverse, so that h_t = Wᵗ⁻¹ h_1 and the true gradient v_t = Wᵗ⁻¹ v_1, and A = p(W) with A h_1 = v_1 has no error at any t.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

import bioplaus as bp
from bioplaus import Arm, Experiment, Training


@dataclass(frozen=True)
class Config:
    steps: int = 10  # T of the published setting
    lengths: tuple[int, ...] = (10, 20, 40, 60)  # T through orthogonal weights; the paper goes up to 60
    units: int = 30  # recurrent units, N; linear
    lambdas: tuple[float, ...] = (0.0, 0.5, 1.0)  # λ of the trace
    updates: int = 3000  # batches, and one more, before which the last comparison is made
    batch: int = 10  # trials
    predictor_lr: float = 1e-3  # Adam; the authors' 1e-4: their code divides what it predicts by the batch size
    slow_lr: float = 1e-4  # the same once more, for the longest trials  # chosen: is it the rate that keeps λ = 0 back?
    betas: tuple[float, float] = (0.9, 0.98)  # of Adam
    align_every: int = 50  # updates between comparisons with the true gradient
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights anew


# Cosine measured with the authors' code, github.com/neuralml/bp_lambda, one seed, after 300, 1000 and 3000 updates.
AUTHORS = {"0": "0.15, 0.21, 0.17", "0.5": "0.39, 0.45, 0.52", "1": "0.69, 0.86, 0.97"}  # by λ


def fixed_network_alignment(config: Config = Config()) -> Experiment:
    """The published network, orthogonal ones with ever longer trials, and the longest at a tenth of the learning rate."""
    settings = {"published": ("uniform", config.steps, config.predictor_lr)}
    settings |= {f"T={steps}": ("orthogonal", steps, config.predictor_lr) for steps in config.lengths}
    settings[f"T={config.lengths[-1]} slow"] = ("orthogonal", config.lengths[-1], config.slow_lr)
    arms = {}
    for setting, (init, steps, rate) in settings.items():
        task = bp.task("target_reaching", targets=1, steps=steps)
        sizes = {"inputs": task.inputs, "units": config.units, "outputs": task.outputs, "init": init}
        sizes["input_gain"] = (task.inputs / config.units) ** 0.5 if init == "uniform" else 1.0
        circuit = bp.circuit("cortico_cerebellar", cell=bp.model("elman", rate="x"), **sizes)
        shared = {"updates": config.updates + 1, "batch": config.batch, "betas": config.betas, "eps": 1e-9}
        training = Training(lr=0.0, predictor_lr=rate, align_every=config.align_every, **shared)
        for value in config.lambdas:
            arms[f"{setting} BP(λ={value:g})"] = Arm(circuit, task, bp.rule("bp_lambda", lmbda=value), training)
    return Experiment(
        title="Fixed network: how near a predicted gradient comes to the true one",
        arms=arms,
        seeds=config.seeds,
        table=table,
        figures={"alignment": partial(alignment, arms), "by_length": partial(by_length, arms)},
        expected="cosine after 3000 updates, published setting: λ=1 0.95–1, λ=0.5 0.85–1, λ=0 0.4–0.9; orthogonal weights, λ=1 "
        "above 0.99 at every T, λ=0.5 above 0.9, λ=0 0.8–1 at T = 10 and 20, 0.7–0.95 beyond",
        references=("arXiv:2401.07044", "arXiv:1312.6120"),
    )


def by_setting(results):
    """Setting → rule → arm, of those that were run."""
    parts = [(*arm.rsplit(" ", 1), arm) for arm in results]
    return {setting: {rule: arm for of, rule, arm in parts if of == setting} for setting, _, _ in parts}


def measured(results, rules):
    """Cosine of prediction and truth, rule → (updates made before, (seed, update))."""
    curves = results.curves("prediction")
    return {rule: (curves[arm][0] - 1, curves[arm][1]) for rule, arm in rules.items()}


def table(results):
    """Cosine after a tenth, a third and all of the updates, and the length of the prediction against that of the truth."""
    from bioplaus.figures import mean_sem

    rows = results.table(())
    curves, ratios = results.curves("prediction"), results.final("prediction_ratio")
    updates = next(iter(curves.values()))[0] - 1
    for share in (0.1, 1 / 3, 1):
        i = int(np.abs(updates - share * updates[-1]).argmin())
        spread = [mean_sem(curves[name][1][:, [i]]) for name in rows["arm"]]
        rows[f"cosine after {updates[i]}"] = [float(mean[0]) for mean, _, _ in spread]
        rows[f"s.e.m. at {updates[i]}"] = [float(sem[0]) for _, sem, _ in spread]
    rows["norm ratio at the end"] = [float(ratios[name].mean()) for name in rows["arm"]]
    rows["authors' code"] = [AUTHORS.get(name.removeprefix("published BP(λ=").rstrip(")"), "–") for name in rows["arm"]]
    return rows


def by_distance(arms, results, rules):
    """Cosine at the end by the number of steps to the loss, rule → (steps, (seed, step))."""
    from bioplaus.signal.truth import predicted_and_true

    found = {}
    for label, arm in rules.items():
        task, rule = arms[arm].task, arms[arm].rule
        batch = next(iter(task.test_batches(1)))
        pairs = [predicted_and_true(run.network, rule.signal, run.own, batch, task.loss) for run in results[arm]]
        cosines = [(g * v).sum(-1) / (g.norm(dim=-1) * v.norm(dim=-1)).clamp_min(1e-30) for g, v in pairs]
        found[label] = np.arange(1, task.steps), np.stack([each.mean(1).flip(0).numpy() for each in cosines])
    return found


def alignment(arms, results):
    """Published setting over training; at the end by the length of a trial; within the longest trials by distance."""
    of, parts = by_setting(results), {}
    if "published" in of:
        parts["U(±1/√N), T=10"] = "Updates", measured(results, of["published"])
    if lengths := {int(name[2:]): rules for name, rules in of.items() if name.startswith("T=") and "slow" not in name}:
        at_end = [{rule: it[:, -1] for rule, (_, it) in measured(results, rules).items()} for rules in lengths.values()]
        everywhere = [rule for rule in at_end[0] if all(rule in each for each in at_end)]
        ends = {rule: (np.array(list(lengths)), np.stack([each[rule] for each in at_end], 1)) for rule in everywhere}
        last = max(lengths)
        parts["orthogonal, at the end"] = "Length of a trial, T (steps)", ends
        parts[f"orthogonal, T={last}, at the end"] = "Steps to the loss", by_distance(arms, results, lengths[last])
    return drawn(parts, len(parts))


def by_length(arms, results):
    """With orthogonal weights, one column a setting: over training; and at the end by distance to the loss."""
    of = {name: rules for name, rules in by_setting(results).items() if name.startswith("T=")}
    if not of:
        results[next(arm for arm in arms if arm.startswith("T="))]  # tells what is missing
    parts = {name: ("Updates", measured(results, rules)) for name, rules in of.items()}
    parts |= {f"{n} by distance": ("Steps to the loss", by_distance(arms, results, rules)) for n, rules in of.items()}
    figure = drawn(parts, len(of))
    for ax in figure.axes[len(of) :]:
        ax.set_title("")  # the column's stands above
    return figure


def drawn(parts, columns):
    """One panel a part, λ by its shade of blue."""
    rows, drawn = len(parts) // columns, {title: curves for title, (_, curves) in parts.items()}
    strokes = bp.figures.pens(dict.fromkeys(rule for curves in drawn.values() for rule in curves))
    with bp.figures.Sheet(bp.figures.DOUBLE, 10 + 48 * rows) as sheet:
        axes = sheet.subplots(rows, columns, squeeze=False).ravel()
        for ax, (title, (label, curves)) in zip(axes, parts.items(), strict=True):
            bp.figures.panels.alignment(ax, curves, legend=False, strokes=strokes, each=False)
            ax.set(xlabel=label, ylabel="Cosine with the true gradient" if ax in axes[::columns] else "", title=title)
        sheet.letter()
        sheet.key(*drawn.values(), strokes=strokes)
        return sheet.done(bp.figures.table(**drawn))
