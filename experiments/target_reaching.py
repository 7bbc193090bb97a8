"""Credit across a trial: how well a cerebellum predicts it, and what a cortex learns from the prediction.

A cue at the first of ten steps asks for a point on the circle at the last, so that all but the readout learns from the future
alone (the toy task of Pemberton & Costa 2024, arXiv 2401.07044). First the cortex is fixed, a random linear network with one
target, and only the predictor learns: does it come to point where the true gradient points? Then cortex and predictor learn
together, six targets, beside n-step synthetic gradients, truncated BPTT, e-prop and BPTT.
"""

from dataclasses import dataclass

import numpy as np

import bioplaus as bp
from bioplaus import Arm, Experiment, Training


@dataclass(frozen=True)
class Fixed:
    targets: int = 1  # points on the circle, each with a cue
    updates: int = 1000  # batches
    predictor_lr: float = 1e-3  # Adam; the released code's 1e-4, which divides what it predicts by its batch of 10
    align_every: int = 27  # updates between comparisons with the true gradient; 27 divides 999, so that the last is the end


@dataclass(frozen=True)
class Learning:
    targets: int = 6  # points on the circle, each with a cue
    updates: int = 2000  # batches
    lr: float = 1e-3  # Adam, cortex and readout, for every rule
    predictor_lr: float = 0.1  # Adam, for every rule with a predictor  # chosen: it must keep up with a cortex that moves
    clip: float | None = 1.0  # largest gradient norm, cortex and predictor each
    align_every: int = 50  # updates between comparisons with the true gradient
    evaluate_every: int = 20  # updates between tests on all targets


@dataclass(frozen=True)
class Config:
    steps: int = 10  # T
    units: int = 30  # recurrent units, N; weights U(±1/√N)
    rate: str = "x"  # output of a unit: "x" linear, "tanh(x)"
    batch: int = 10  # trials
    betas: tuple[float, float] = (0.9, 0.98)  # of Adam
    fixed: Fixed = Fixed()
    learning: Learning = Learning()
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights and trials anew


# Measured with the authors' code, github.com/neuralml/bp_lambda, seed 0, 1000 updates: cosine with a fixed cortex, else loss.
RELEASED_COSINE = {"fixed BP(λ=0)": 0.21, "fixed BP(λ=0.5)": 0.45, "fixed BP(λ=1)": 0.86}
RELEASED_LOSS = {"BP(λ=0)": 0.495, "BP(λ=0.5)": 0.482, "BP(λ=1)": 0.105, "TBPTT n=2": 0.44, "TBPTT n=5": 0.22, "BPTT": 0.0004}
DRAWN = ("BPTT", "BP(λ=1)", "DNI n=5", "TBPTT n=5")  # whose outputs are shown


def target_reaching(config: Config = Config()) -> Experiment:
    """BP(λ) with a fixed and a learning cortex, beside n-step synthetic gradients, e-prop and BPTT."""
    shared = {"batch": config.batch, "betas": config.betas, "eps": 1e-9}
    still, moving = config.fixed, config.learning
    lambdas = {f"BP(λ={value:g})": bp.rule("bp_lambda", lmbda=value) for value in (0.0, 0.5, 1.0)}
    others = {f"DNI n={n}": bp.rule("dni", steps=n) for n in (1, 2, 5)} | {f"TBPTT n={n}": bp.rule("tbptt", steps=n) for n in (2, 5)}
    others |= {"e-prop": bp.rule("eprop"), "BPTT": bp.rule("bptt")}

    task, circuit = setting(config, still.targets)
    training = Training(lr=0.0, updates=still.updates, predictor_lr=still.predictor_lr, align_every=still.align_every, **shared)
    arms = {f"fixed {label}": Arm(circuit, task, rule, training) for label, rule in lambdas.items()}
    task, circuit = setting(config, moving.targets)
    training = Training(**{key: value for key, value in vars(moving).items() if key != "targets"}, **shared)
    arms |= {label: Arm(circuit, task, rule, training) for label, rule in (lambdas | others).items()}
    return Experiment(
        title="Target reaching: predicted credit with a fixed and with a learning cortex",
        arms=arms,
        seeds=config.seeds,
        table=table,
        figures={"fixed": fixed, "summary": summary, "prediction": prediction, "reached": reached},
        expected="fixed cortex, cosine at 1000 updates: λ=1 0.85–1, λ=0.5 0.5–0.9, λ=0 0.1–0.6; learning cortex, loss at 2000: BPTT < 0.01, "
        "BP(λ=1) and DNI n=5 < 0.1, all others 0.2–0.5",
        references=("arXiv:2401.07044", "arXiv:1608.05343", "doi:10.1162/neco.1990.2.4.490", "doi:10.1038/s41467-020-17236-y"),
    )


def setting(config: Config, targets: int):
    """The task with so many targets, and the cortex with its cerebellum."""
    task = bp.task("target_reaching", targets=targets, steps=config.steps)
    circuit = bp.circuit(
        "cortico_cerebellar", cell=bp.model("elman", rate=config.rate), inputs=task.inputs, units=config.units, outputs=task.outputs,
        init="uniform", input_gain=(task.inputs / config.units) ** 0.5,
    )  # fmt: skip
    return task, circuit


def curves(results, column, fixed=False):
    """Curves of the arms with a fixed, or with a learning cortex; none where nothing was measured."""
    if not any(column in run.metrics for runs in results.values() for run in runs):
        return {}
    return {label: curve for label, curve in results.curves(column).items() if label.startswith("fixed") == fixed}


def table(results):
    """Loss at half time and at the end (learning cortex), agreement with the true gradients, and what the authors' code gave."""
    rows = results.table(("test_loss",))
    for name in ("test loss", "test loss s.e.m."):
        rows[name] = rows[name].where(~rows["arm"].str.startswith("fixed"))
    half = {label: float(values[:, len(updates) // 2 - 1].mean()) for label, (updates, values) in curves(results, "test_loss").items()}
    cosines = curves(results, "prediction", fixed=True) | curves(results, "prediction")
    last = {label: tuple(float(number[0]) for number in bp.figures.mean_sem(values[:, -1:])) for label, (_, values) in cosines.items()}
    weights = {label: float(values.mean()) for label, (_, values) in curves(results, "alignment").items()}
    columns = {
        "test loss at half time": half,
        "authors' code, loss": RELEASED_LOSS,
        "prediction cosine": {label: mean for label, (mean, _, _) in last.items()},
        "prediction cosine s.e.m.": {label: sem for label, (_, sem, _) in last.items()},
        "authors' code, cosine": RELEASED_COSINE,
        "prediction cosine, mean over training": {label: float(values.mean()) for label, (_, values) in cosines.items()},
        "weight-gradient cosine, mean over training": weights,
    }
    for name, values in columns.items():
        rows[name] = [values.get(label, float("nan")) for label in rows["arm"]]
    return rows


def fixed(results):
    results["fixed BP(λ=1)"]  # without these arms there is nothing to draw
    return bp.figures.alignment({label.removeprefix("fixed "): curve for label, curve in curves(results, "prediction", fixed=True).items()})


def prediction(results):
    results["BP(λ=1)"]
    return bp.figures.alignment(curves(results, "prediction"))


def summary(results):
    results["BPTT"]
    return bp.figures.summary(curves(results, "test_loss"), curves(results, "alignment"), quantity="Test loss", unit="", log=True)


def reached(results):
    """Outputs of the first seed's trained circuits, one path a target."""
    from bioplaus.figures.compose import done, letters

    trials = {label: results[label][0].recordings for label in DRAWN}
    with bp.figures.style():
        figure = bp.figures.sheet(bp.figures.DOUBLE, 56)
        axes = figure.subplots(1, len(trials))
        for ax, (label, trial) in zip(axes, trials.items(), strict=True):
            asked = np.zeros(trial["output"].shape[:2])
            asked[-1] = 1.0
            bp.figures.panels.plane(ax, trial["output"], trial["target"], weight=asked, legend=label == DRAWN[-1])
        letters(axes)
        for ax, label in zip(axes, trials, strict=True):
            ax.set_title(label)
        return done(figure, {label: {"output": trial["output"].values, "target": trial["target"].values} for label, trial in trials.items()})
