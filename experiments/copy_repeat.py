"""Copy-repeat with a growing length: how far a cortex gets with a rule, in a given number of updates.

The curriculum of Pemberton & Costa 2024 (arXiv 2401.07044; after Jaderberg et al. 2017, arXiv 1608.05343): N random 8-bit
vectors come in and are to be given back R times, T = (R + 1) N + 3 steps. As soon as a batch is solved (less than 0.15 bits)
trials get longer: T = 5, 7, 9, 12, 15, 19, 23, 28, 33, 39, … An LSTM of 100 units, batches of 100, 150,000 updates in the paper;
here the first 4,000 unless more are asked for.
"""

from dataclasses import dataclass

import bioplaus as bp
from bioplaus import Arm, Experiment, Training
from bioplaus.tasks.copy_repeat import CopyRepeat


@dataclass(frozen=True)
class Config:
    units: int = 100  # LSTM units
    bits: int = 8  # of a vector
    lambdas: tuple[float, ...] = (0.0, 0.5, 1.0)  # λ of BP(λ)
    windows: tuple[int, ...] = (2, 5)  # n of truncated BPTT and of synthetic gradients
    discount: float = 0.9  # γ of the predictor's target
    injection: float = 1.0  # how much of the prediction the cortex uses
    lr: float = 1e-3  # Adam, cortex and readout
    predictor_lr: float = 1e-3  # Adam; the authors' 1e-5: their code divides what it predicts by the batch size
    betas: tuple[float, float] = (0.9, 0.98)  # of Adam
    batch: int = 100  # trials
    updates: int = 4000  # batches; 150,000 are published
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights and trials anew


def copy_repeat(config: Config = Config()) -> Experiment:
    """Longest trials solved with BP(λ), n-step synthetic gradients, truncated BPTT and BPTT."""
    task = bp.task("copy_repeat", bits=config.bits)
    sizes = {"inputs": task.inputs, "units": config.units, "outputs": task.outputs}
    circuit = bp.circuit("cortico_cerebellar", cell=bp.model("lstm"), **sizes)
    training = Training(
        updates=config.updates,
        batch=config.batch,
        lr=config.lr,
        predictor_lr=config.predictor_lr,
        betas=config.betas,
        eps=1e-9,
        curriculum=True,
    )
    given = {"discount": config.discount, "injection": config.injection}
    rules = {f"BP(λ={value:g})": bp.rule("bp_lambda", lmbda=value, **given) for value in config.lambdas}
    rules |= {f"DNI n={n}": bp.rule("dni", steps=n, **given) for n in config.windows}
    rules |= {f"TBPTT n={n}": bp.rule("tbptt", steps=n) for n in config.windows}
    rules["BPTT"] = bp.rule("bptt")
    return Experiment(
        title="Copy-repeat: the longest trials that a rule solves",
        arms={label: Arm(circuit, task, rule, training) for label, rule in rules.items()},
        seeds=config.seeds,
        table=table,
        figures={"curriculum": curriculum},
        expected="4,000 updates, largest T solved: BPTT 15 or 19; DNI n=5, TBPTT n=5 and BP(λ=1) 9 or 12; DNI n=2, TBPTT n=2 and "
        "λ=0.5 7 or 9; λ=0 5 or 7",
        references=("arXiv:2401.07044", "arXiv:1608.05343"),
    )


def solved(run):
    """Updates at which a stage was solved, and its T."""
    stages = run.metrics[run.metrics["solved"] > 0]
    return stages["update"].to_numpy(int), stages["steps"].to_numpy(int)


def table(results):
    """Largest T solved, and how soon the first stages were: medians over seeds, with the range."""
    rows = results.table(("score",))[["arm", "n", "ms per update"]]
    reached = {name: [max(solved(run)[1], default=0) for run in runs] for name, runs in results.items()}
    rows["largest T solved"] = [spread(reached[name]) for name in rows["arm"]]
    for T in (7, 9, 12):
        rows[f"updates to solve T={T}"] = [spread([when(run, T) for run in results[name]]) for name in rows["arm"]]
    return rows


def when(run, T):
    """The update at which T was solved; infinite: never."""
    return next((int(update) for update, steps in zip(*solved(run), strict=True) if steps == T), float("inf"))


def spread(values):
    """Median (lowest–highest); what never happened is a dash."""
    low, middle, high = ("–" if value == float("inf") else f"{value:g}" for value in _three(sorted(values)))
    return middle if low == high else f"{middle} ({low} to {high})"


def _three(ordered):
    return ordered[0], ordered[(len(ordered) - 1) // 2], ordered[-1]


def curriculum(results):
    """When each length was solved, and the longest at the end: medians and every seed."""
    import numpy as np
    from matplotlib.ticker import LogLocator

    reached = {
        name: np.array([max(solved(run)[1], default=0) for run in runs], float) for name, runs in results.items()
    }
    lengths = [T for T in CopyRepeat().curriculum(14) if T <= max(values.max() for values in reached.values())]
    times = {name: np.array([[when(run, T) for T in lengths] for run in runs]) for name, runs in results.items()}
    pen = bp.figures.pens(results)
    with bp.figures.Sheet(bp.figures.DOUBLE, 78) as sheet:
        left, right = sheet.subplots(1, 2)
        for beside, (name, values) in zip(np.linspace(-0.25, 0.25, len(times)), times.items(), strict=True):
            x, middle = np.arange(len(lengths)) + beside, np.sort(values, 0)[(len(values) - 1) // 2]
            left.plot(
                x, np.where(np.isfinite(middle), middle, np.nan), color=pen[name].colour, linestyle=pen[name].line
            )
            left.plot(x, np.where(np.isfinite(values), values, np.nan).T, ".", color=pen[name].colour, markersize=2.5)
        left.set(xlabel="Length of trials T (steps)", ylabel="Updates until solved", yscale="log")
        left.set_xticks(range(len(lengths)), [str(T) for T in lengths])
        left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        left.yaxis.set_major_formatter("{x:.0f}")
        left.yaxis.set_minor_formatter("")
        named = {"quantity": "Largest T solved", "unit": "steps", "counts": False, "legend": False}
        bp.figures.panels.final_scores(right, reached, strokes=pen, **named)
        sheet.letter()
        sheet.explain(pen, "median and each seed; right: mean ± s.e.m.")
        return sheet.done({"largest": reached, "updates": times})
