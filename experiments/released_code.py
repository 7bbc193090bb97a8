"""What three mistakes of the released BP(λ) code change: its LSTM mode beside the rule as the paper has it.

The code that Pemberton & Costa released with BP(λ) (arXiv 2401.07044) leaves, in an LSTM without e-prop traces, the path through
the output gate out of the Jacobian, counts the loss of a step twice on its way through the cell, and shows the input, forget and
candidate gates a partial derivative of the future (bioplaus/signal/published.py). First the LSTM stands still and only the
predictor learns: what is it asked to say, and what does it come to say? Then LSTM and predictor learn together.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

import bioplaus as bp
from bioplaus import Arm, Experiment, Training


@dataclass(frozen=True)
class Part:
    units: int = 30  # LSTM units
    updates: int = 2000  # batches
    batch: int = 10  # trials
    lr: float = 0.0  # Adam, LSTM and readout; 0 keeps them fixed
    predictor_lr: float = 1e-3  # Adam
    align_every: int = 50  # updates between comparisons with the true gradient


@dataclass(frozen=True)
class Config:
    steps: int = 10  # T of target reaching
    targets: int = 6  # points on the circle while the LSTM learns; one while it is fixed
    lambdas: tuple[float, ...] = (0.0, 0.5, 1.0)  # λ of the trace
    clip: float = 1.0  # largest gradient norm while the LSTM learns, LSTM and predictor each
    betas: tuple[float, float] = (0.9, 0.98)  # of Adam
    fixed: Part = Part()  # target reaching, only the predictor learns
    reaching: Part = Part(updates=1500, lr=1e-3, predictor_lr=1e-2)  # target reaching, both learn
    digits: Part = Part(units=64, updates=500, batch=50, lr=3e-3)  # 8×8 digits read row by row, both learn
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights and trials anew


def released_code(config: Config = Config()) -> Experiment:
    """BP(λ) as it should be and as released: a fixed LSTM, target reaching, and digits read row by row."""
    one, several = (bp.task("target_reaching", targets=n, steps=config.steps) for n in (1, config.targets))
    tasks, arms = {"fixed": one, "reaching": several, "digits": bp.task("sequential_digits", data="digits")}, {}
    for part, task in tasks.items():
        options = {**vars(getattr(config, part)), "betas": config.betas, "eps": 1e-9}
        sizes = {"inputs": task.inputs, "units": options.pop("units"), "outputs": task.outputs}
        circuit = bp.circuit("cortico_cerebellar", cell=bp.model("lstm"), **sizes)
        if part == "fixed":  # one update more, before which the last comparison is made
            options["updates"] += 1
        else:
            options["clip"] = config.clip
            arms[f"{part} BPTT"] = Arm(circuit, task, bp.rule("bptt"), Training(**options))
        for value in config.lambdas:
            for published in (False, True):
                rule = bp.rule("bp_lambda", lmbda=value, published=published)
                arms[f"{part} λ={value:g}{' released' * published}"] = Arm(circuit, task, rule, Training(**options))
    return Experiment(
        title="The released BP(λ) code beside the rule: an LSTM that stands still, and one that learns",
        arms=arms,
        seeds=config.seeds,
        table=table,
        figures={"summary": partial(summary, arms)},
        expected="fixed LSTM: the two cosines alike, norm ratio near 1 as it should be, near 2 as released; learning LSTM: final "
        "losses of the two within the spread of seeds",
        references=("arXiv:2401.07044",),
    )


def part(curves, name):
    """The arms of one part, under their rules' names."""
    return {arm.removeprefix(f"{name} "): it for arm, it in curves.items() if arm.startswith(f"{name} ")}


def table(results):
    """Cosines over training, norms at the end, and the final loss, with log10 of the loss as released over that of the rule."""
    from bioplaus.figures import mean_sem

    rows = results.table(())
    columns = {"prediction cosine": {}, "weight-gradient cosine": {}}
    for values, column in zip(columns.values(), ("prediction", "alignment"), strict=True):
        if any(column in run.metrics for runs in results.values() for run in runs):
            values |= {arm: cosines.mean(1) for arm, (_, cosines) in results.curves(column).items()}
    columns["norm ratio"] = ends(results, "prediction_ratio", still=True)
    columns["test loss"] = loss = ends(results, "test_loss", still=False)
    pairs = {arm: arm.removesuffix(" released") for arm in loss if arm.endswith(" released")}
    columns["log10 released / rule"] = {
        arm: np.log10(loss[arm] / loss[rule]) for arm, rule in pairs.items() if rule in loss
    }
    for name, values in columns.items():
        spread = {arm: mean_sem(each[:, None]) for arm, each in values.items()}
        for i, column in enumerate((name, f"{name} s.e.m.")):
            rows[column] = [float(spread[arm][i][0]) if arm in spread else float("nan") for arm in rows["arm"]]
    return rows


def ends(results, column, still):
    """Last values of the arms with a fixed LSTM, or of those with a learning one."""
    chosen = {arm: runs for arm, runs in results.items() if arm.startswith("fixed ") == still}
    return {arm: np.array([run.final(column) for run in runs]) for arm, runs in chosen.items()}


def asked(arms, results, name):
    """Norm of the λ-target against that of the true gradient by steps to the loss, half of the state → (steps, (seed, step))."""
    from bioplaus.signal import truth

    task, rule, found = arms[name].task, arms[name].rule, {"cell": [], "output": []}
    batch = next(iter(task.test_batches(100)))
    for run in results[name]:
        targets = truth.asked(run.network, rule.signal, batch, task.loss)
        _, true = truth.predicted_and_true(run.network, rule.signal, run.own, batch, task.loss)
        for half, a, b in zip(found, targets.chunk(2, -1), true.chunk(2, -1), strict=True):
            found[half].append((a.norm(dim=-1).mean(1) / b.norm(dim=-1).mean(1)).flip(0).numpy())
    return {half: (np.arange(1, task.steps), np.stack(ratios)) for half, ratios in found.items()}


def summary(arms, results):
    """What the predictor is asked for at λ = 1, comes to say, and what that makes of the weights' gradient; final losses."""
    over = {what: part(results.curves(what), "fixed") for what in ("prediction_ratio", "prediction", "alignment")}
    halves, pens = {}, {}
    for name, when, line in (("fixed", "weights as drawn", "-"), ("reaching", "after learning", "--")):
        for half, ratios in asked(arms, results, f"{name} λ=1 released").items():
            halves[f"{half}, {when}"] = ratios
            pens[f"{half}, {when}"] = bp.figures.Pen({"cell": "#882255", "output": "#44AA99"}[half], line)
    losses = {name: part(ends(results, "test_loss", still=False), name) for name in ("reaching", "digits")}
    strokes = bp.figures.pens([*over["alignment"], "BPTT"])
    with bp.figures.Sheet(bp.figures.DOUBLE, 110) as sheet:
        axes = sheet.subplots(2, 3).ravel()
        bp.figures.panels.learning(axes[0], halves, legend=False, each=False, strokes=pens)
        axes[0].set(ylabel="Norm, target as released / truth", xlabel="Steps to the loss", ylim=(0, None))
        axes[0].legend(title="half of the state, λ = 1")
        labels = ("Norm, prediction / truth", "Cosine of prediction", "Cosine of weight gradient")
        for ax, (column, curves), label in zip(axes[1:4], over.items(), labels, strict=True):
            panel = bp.figures.panels.learning if column == "prediction_ratio" else bp.figures.panels.alignment
            panel(ax, curves, legend=False, each=False, strokes=strokes)
            ax.set(ylabel=label, xlabel="Updates of the predictor")
        axes[3].set_ylim(0.9, 1.005)
        for ax, (name, values) in zip(axes[4:], losses.items(), strict=True):
            named = {"quantity": f"Final loss, {name}", "unit": "", "counts": False, "legend": False}
            bp.figures.panels.final_scores(ax, values, strokes=strokes, **named)
            ax.set_xscale("log")
            ax.xaxis.set_minor_formatter("")
        sheet.letter()
        sheet.key(over["alignment"], strokes=strokes)
        final = {name: bp.figures.ends(values) for name, values in losses.items()}
        return sheet.done(bp.figures.table(**over, asked=halves, **final))
