"""A recurrent cortex reads handwritten digits row by row, taught by its cerebellum.

The circuit sees one row of the image a step and names the digit after the last one. How earlier rows mattered is told by a
synthetic gradient: a cerebellar predictor maps the cortex's state to the gradient of the loss still to come, and learns it by
TD errors and eligibility traces (accumulate BP(λ), Pemberton & Costa 2024, arXiv 2401.07044). Beside it, on the same images
from the same initial weights: λ = 0, the predictor switched off, a predictor that is told the label, e-prop, and BPTT.
"""

from dataclasses import dataclass

import bioplaus as bp
from bioplaus import Arm, Experiment, Training


@dataclass(frozen=True)
class Task:
    data: str = "digits"  # "digits": scikit-learn's 8×8 images, no download; "mnist": 28×28
    split: str = "standard"  # "t10k": 8,000 + 2,000 images out of MNIST's 10,000 test images


@dataclass(frozen=True)
class Cortex:
    cell: str = "lstm"  # any model with a rate output: lstm, gru, elman, leaky_rate
    units: int = 64  # recurrent units


@dataclass(frozen=True)
class Cerebellum:
    predictor: str = "linear"  # "linear" or "mlp"
    lmbda: float = 1.0  # λ of the eligibility trace
    discount: float = 1.0  # γ of the TD error
    injection: float = 1.0  # how much of the prediction the cortex uses


@dataclass(frozen=True)
class Learning:
    updates: int = 1500  # batches
    batch: int = 50  # images
    lr: float = 3e-3  # Adam, cortex and readout
    predictor_lr: float = 1e-3  # Adam, cerebellum
    clip: float | None = None  # largest gradient norm, None: no clipping
    evaluate_every: int = 50  # updates between tests on the held-out images
    align_every: int = 25  # updates between comparisons with the true gradient; 0: never
    device: str = "cpu"  # or "cuda"


@dataclass(frozen=True)
class Config:
    task: Task = Task()
    circuit: Cortex = Cortex()
    rule: Cerebellum = Cerebellum()
    training: Learning = Learning()
    seeds: tuple[int, ...] = (0, 1, 2)  # each draws weights, batches and predictor anew


def sequential_digits(config: Config = Config()) -> Experiment:
    """Digits read row by row: a cortex taught by its cerebellum, beside e-prop and BPTT."""
    task = bp.task("sequential_digits", data=config.task.data, split=config.task.split)
    circuit = bp.circuit(
        "cortico_cerebellar",
        cell=bp.model(config.circuit.cell),
        inputs=task.inputs,
        units=config.circuit.units,
        outputs=task.outputs,
        cerebellum=config.rule.predictor,
    )
    training = Training(**vars(config.training))
    given = {"discount": config.rule.discount, "injection": config.rule.injection}
    rules = {
        f"BP(λ={config.rule.lmbda:g})": bp.rule("bp_lambda", lmbda=config.rule.lmbda, **given),
        "BP(λ=0)": bp.rule("bp_lambda", lmbda=0.0, **given),
        "predictor off": bp.rule("bp_lambda", lmbda=config.rule.lmbda, discount=config.rule.discount, injection=0.0),
        "label-conditioned": bp.rule("bp_lambda", lmbda=config.rule.lmbda, context=True, **given),
        "e-prop": bp.rule("eprop"),
        "BPTT": bp.rule("bptt"),
    }
    return Experiment(
        title="Sequential digits: a cortex that learns from its cerebellum",
        arms={label: Arm(circuit, task, rule, training) for label, rule in rules.items()},
        seeds=config.seeds,
        table=table,
        figures={"summary": summary, "learning": learning, "prediction": prediction},
        expected="8×8 digits, 1500 updates: BP(λ=1) 95–98 % of held-out images, above the predictor switched off (89–96 %); BPTT 96–98 %",
        references=("arXiv:2401.07044", "doi:10.1038/s41467-020-17236-y", "doi:10.1038/s41467-022-35658-8"),
    )


def percent(curves):
    return {label: (updates, 100 * values) for label, (updates, values) in curves.items()}


def table(results):
    """Held-out accuracy; and over the first fifth of training, where most is learned, agreement with the true gradients."""
    rows = results.table(("test_score", "test_loss"))
    names = {
        "alignment": "cosine of weight gradient",
        "prediction": "cosine of prediction",
        "prediction_ratio": "norm of prediction",
    }
    for column, name in names.items():
        if any(column in run.metrics for runs in results.values() for run in runs):
            curves = results.curves(column)
            early = {
                label: float(values[:, updates <= max(updates[0], updates[-1] / 5)].mean())
                for label, (updates, values) in curves.items()
            }
            rows[f"early {name}"] = [early.get(label, float("nan")) for label in rows["arm"]]
    return rows


def summary(results):
    return bp.figures.summary(
        percent(results.curves("test_score")),
        results.curves("alignment"),
        quantity="Held-out accuracy",
        unit="%",
        scores={label: 100 * values for label, values in results.final("test_score").items()},
    )


def learning(results):
    return bp.figures.learning(percent(results.curves("test_score")), quantity="Held-out accuracy", unit="%", chance=10)


def prediction(results):
    return bp.figures.alignment(results.curves("prediction"))
