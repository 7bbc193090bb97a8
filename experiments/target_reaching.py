"""Credit across a trial: how well a cerebellum predicts it, and what a cortex learns from the prediction.

A cue at the first of ten steps asks for a point on the circle at the last, so that all but the readout learns from the
future alone (Pemberton & Costa 2024, arXiv 2401.07044). First the cortex is fixed, a random linear network with one target,
and only the predictor learns: does it come to point where the true gradient points? Then cortex and predictor learn
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
    predictor_lr: float = 1e-3  # Adam; the authors' 1e-4: their code divides what it predicts by the batch size
    align_every: int = 27  # updates between comparisons with the true gradient; divides 999: the last is at the end


@dataclass(frozen=True)
class Learning:
    targets: int = 6  # points on the circle, each with a cue
    updates: int = 2000  # batches
    lr: float = 1e-3  # Adam, cortex and readout, for every rule
    predictor_lr: float = 0.1  # Adam, for every rule with a predictor  # chosen: must keep up with a moving cortex
    bootstrap_lr: float = 3e-3  # the same for λ = 0  # chosen: at faster rates some of its runs diverge
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


# Measured with the authors' code, github.com/neuralml/bp_lambda, seed 0, 1000 updates.
AUTHORS = {"fixed BP(λ=0)": "cosine 0.21", "fixed BP(λ=0.5)": "cosine 0.45", "fixed BP(λ=1)": "cosine 0.86"}
AUTHORS |= {"BP(λ=0)": "loss 0.495", "BP(λ=0.5)": "loss 0.482", "BP(λ=1)": "loss 0.105, unsteady"}
AUTHORS |= {"TBPTT n=2": "loss 0.44", "TBPTT n=5": "loss 0.22", "BPTT": "loss 0.0004"}


def target_reaching(config: Config = Config()) -> Experiment:
    """BP(λ) with a fixed and a learning cortex, beside n-step synthetic gradients, e-prop and BPTT."""
    shared = {"batch": config.batch, "betas": config.betas, "eps": 1e-9}
    lambdas = {f"BP(λ={value:g})": bp.rule("bp_lambda", lmbda=value) for value in (0.0, 0.5, 1.0)}
    rules = lambdas | {f"DNI n={n}": bp.rule("dni", steps=n) for n in (2, 5)}  # n = 1 is BP(0)
    rules |= {f"TBPTT n={n}": bp.rule("tbptt", steps=n) for n in (2, 5)}
    rules |= {"e-prop": bp.rule("eprop"), "BPTT": bp.rule("bptt")}

    given = vars(config.fixed) | shared
    task, circuit = setting(config, given.pop("targets"))
    arms = {f"fixed {name}": Arm(circuit, task, rule, Training(lr=0.0, **given)) for name, rule in lambdas.items()}
    given = vars(config.learning) | shared
    task, circuit = setting(config, given.pop("targets"))
    slow = {"predictor_lr": given.pop("bootstrap_lr")}
    for name, rule in rules.items():
        arms[name] = Arm(circuit, task, rule, Training(**given | (slow if name == "BP(λ=0)" else {})))
    return Experiment(
        title="Target reaching: predicted credit with a fixed and with a learning cortex",
        arms=arms,
        seeds=config.seeds,
        table=table,
        figures={"fixed": fixed, "learning": learning, "prediction": prediction, "reached": reached},
        expected="fixed cortex, cosine at 1000 updates: λ=1 0.85–1, λ=0.5 0.5–0.9, λ=0 0.1–0.6; learning cortex, loss "
        "at 2000: BPTT < 0.002, BP(λ=1) < 0.02, DNI n=5 < 0.1, all others 0.1–0.7",
        references=("arXiv:2401.07044", "arXiv:1608.05343", "doi:10.1038/s41467-020-17236-y"),
    )


def setting(config: Config, targets: int):
    """The task with so many targets, and the cortex with its cerebellum."""
    task = bp.task("target_reaching", targets=targets, steps=config.steps)
    sizes = {"inputs": task.inputs, "units": config.units, "outputs": task.outputs}
    weights = {"init": "uniform", "input_gain": (task.inputs / config.units) ** 0.5}
    return task, bp.circuit("cortico_cerebellar", cell=bp.model("elman", rate=config.rate), **sizes, **weights)


def curves(results, column, still=None):
    """Curves of the arms with a fixed cortex, with a learning one, or (None) of all; none if nothing was measured."""
    if not any(column in run.metrics for runs in results.values() for run in runs):
        return {}
    return {name: it for name, it in results.curves(column).items() if still in (None, name.startswith("fixed "))}


def table(results):
    """Loss at half time and at the end (learning cortex), agreement with true gradients, and the authors' code."""
    rows = results.table(("test_loss",))
    rows.loc[rows["arm"].str.startswith("fixed "), ["test loss", "test loss s.e.m."]] = float("nan")
    losses, cosines = curves(results, "test_loss", still=False), curves(results, "prediction")
    aligned = curves(results, "alignment", still=False)
    columns = {
        "test loss at half time": {name: row[:, max(0, len(at) // 2 - 1)].mean() for name, (at, row) in losses.items()},
        "prediction cosine at the end": {name: row[:, -1].mean() for name, (_, row) in cosines.items()},
        "prediction cosine, mean over training": {name: row.mean() for name, (_, row) in cosines.items()},
        "weight-gradient cosine, mean over training": {name: row.mean() for name, (_, row) in aligned.items()},
    }
    for column, values in columns.items():
        rows[column] = [float(values.get(name, "nan")) for name in rows["arm"]]
    rows["authors' code"] = [AUTHORS.get(name, "–") for name in rows["arm"]]
    return rows


def fixed(results):
    results["fixed BP(λ=1)"]  # tells what is missing where these arms were left out
    cosines = curves(results, "prediction", still=True)
    return bp.figures.alignment({name.removeprefix("fixed "): curve for name, curve in cosines.items()})


def learning(results):
    results["BPTT"]
    return bp.figures.summary(curves(results, "test_loss", still=False), quantity="Test loss", unit="", log=True)


def prediction(results):
    results["BP(λ=1)"]
    return bp.figures.alignment(curves(results, "prediction", still=False), most=10)


def reached(results):
    """Outputs at the last step, every target and seed."""
    ends = {}
    for name in ("BPTT", "BP(λ=1)", "DNI n=5", "TBPTT n=5"):
        trials = [run.recordings.isel(time=[-1]) for run in results[name]]
        ends[name] = {what: np.concatenate([trial[what] for trial in trials], 1) for what in ("output", "target")}
    with bp.figures.Sheet(bp.figures.DOUBLE, 54) as sheet:
        axes = sheet.subplots(1, len(ends))
        for ax, (name, end) in zip(axes, ends.items(), strict=True):
            bp.figures.panels.plane(ax, end["output"], end["target"], most=end["output"].shape[1], legend=False)
            ax.set_aspect("equal", adjustable="box")
            ax.set(xlim=(-1.45, 1.45), ylim=(-1.45, 1.45), title=name)
        (dot,), (cross,) = axes[0].plot([], "o", color="black", markersize=3), axes[0].plot([], "x", color="#777777")
        sheet.letter()
        sheet.explain({"output at the last step, every seed": dot, "target": cross})
        return sheet.done(ends)
