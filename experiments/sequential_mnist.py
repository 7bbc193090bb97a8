"""Row-wise MNIST with an LSTM of 30 units: what synthetic gradients are worth where truncation costs much.

The published setting of Pemberton & Costa 2024 (arXiv 2401.07044): 28 rows a digit, the class asked for after the last one,
8,000 training images, 50 epochs of 160 batches. Accumulate BP(λ) beside n-step synthetic gradients (Jaderberg et al. 2017,
arXiv 1608.05343) and truncated BPTT with windows of n = 1 … 5 rows, e-prop and BPTT. The images are those of MNIST's test set,
8,000 to learn from and 2,000 held out, the ten digits alike in both.
"""

from dataclasses import dataclass

import bioplaus as bp
from bioplaus import Arm, Experiment, Training


@dataclass(frozen=True)
class Config:
    data: str = "mnist"  # 28×28; "digits": scikit-learn's 8×8 images, no download
    units: int = 30  # LSTM units
    lambdas: tuple[float, ...] = (0.0, 0.5, 1.0)  # λ of BP(λ)
    windows: tuple[int, ...] = (1, 2, 3, 4, 5)  # n of truncated BPTT and DNI; BP(0) is DNI n=1
    discount: float = 0.9  # γ of the predictor's target
    injection: float = 0.1  # how much of the prediction the cortex uses
    lr: float = 3e-4  # Adam, cortex, readout and predictor
    betas: tuple[float, float] = (0.9, 0.98)  # of Adam
    batch: int = 50  # images
    updates: int = 3200  # batches, 20 epochs; published are 50, which is 8000
    evaluate_every: int = 160  # updates between tests, and between comparisons with the true gradient: one epoch
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights and batches anew


def sequential_mnist(config: Config = Config()) -> Experiment:
    """BP(λ), n-step synthetic gradients, truncated BPTT, e-prop and BPTT on digits read row by row."""
    task = bp.task("sequential_digits", data=config.data, split="t10k" if config.data == "mnist" else "standard")
    sizes = {"inputs": task.inputs, "units": config.units, "outputs": task.outputs}
    circuit = bp.circuit("cortico_cerebellar", cell=bp.model("lstm"), **sizes)
    training = Training(
        updates=config.updates,
        batch=config.batch,
        lr=config.lr,
        betas=config.betas,
        eps=1e-9,
        evaluate_every=config.evaluate_every,
        align_every=config.evaluate_every,
    )
    given = {"discount": config.discount, "injection": config.injection}
    rules = {f"BP(λ={value:g})": bp.rule("bp_lambda", lmbda=value, **given) for value in config.lambdas}
    rules |= {f"DNI n={n}": bp.rule("dni", steps=n, **given) for n in config.windows if n > 1}
    rules |= {f"TBPTT n={n}": bp.rule("tbptt", steps=n) for n in config.windows}
    rules |= {"e-prop": bp.rule("eprop"), "BPTT": bp.rule("bptt")}
    return Experiment(
        title="Row-wise MNIST: BP(λ), n-step synthetic gradients and truncated BPTT",
        arms={label: Arm(circuit, task, rule, training) for label, rule in rules.items()},
        seeds=config.seeds,
        table=table,
        figures={"windows": windows},
        expected="held-out accuracy: BPTT 0.83–0.87; BP(λ=1) 0.72–0.77, λ=0.5 and λ=0 0.55–0.65; DNI and TBPTT rise with n, to "
        "0.72–0.75 and 0.68–0.73 at n = 5; e-prop 0.7–0.73",
        references=("arXiv:2401.07044", "arXiv:1608.05343", "doi:10.1038/s41467-020-17236-y"),
    )


KINDS = ("DNI", "TBPTT")


def percent(curves):
    return {label: (updates, 100 * values) for label, (updates, values) in curves.items()}


def table(results):
    """Held-out accuracy at a fifth of training and at the end, and agreement with the true gradients over training."""
    rows = results.table(("test_score", "test_loss"))
    scores, cosines = results.curves("test_score"), results.curves("alignment")
    predicted = results.curves("prediction") if any(name.startswith(("BP(", "DNI")) for name in results) else {}
    columns = {
        "test score at a fifth": {name: row[:, max(0, len(at) // 5 - 1)].mean() for name, (at, row) in scores.items()},
        "weight-gradient cosine, mean over training": {name: row.mean() for name, (_, row) in cosines.items()},
        "prediction cosine, mean over training": {
            name: row[:, min(1, row.shape[1] - 1) :].mean() for name, (_, row) in predicted.items()
        },
    }
    for column, values in columns.items():
        rows[column] = [float(values.get(name, "nan")) for name in rows["arm"]]
    return rows


def windows(results):
    """Accuracy over training, and at the end by how many rows credit is carried truly."""
    curves = percent(results.curves("test_score"))
    ends = {name: (at[-1:], values[:, -1:]) for name, (at, values) in curves.items()}
    by_n = {
        kind: {int(name.rpartition("=")[2]): name for name in curves if name.startswith(f"{kind} n=")} for kind in KINDS
    }
    few = {name for of in by_n.values() if of for name in (of[min(of)], of[max(of)])}
    shown = {name: curve for name, curve in curves.items() if "n=" not in name or name in few}
    if "BP(λ=0)" in curves:
        by_n["DNI"] = {1: "BP(λ=0)", **by_n["DNI"]}
    pen = bp.figures.pens(curves)
    with bp.figures.Sheet(bp.figures.DOUBLE, 70) as sheet:
        left, right = sheet.subplots(1, 2)
        bp.figures.panels.learning(
            left, shown, quantity="Held-out accuracy", unit="%", legend=False, strokes=pen, each=False
        )
        for kind, of in by_n.items():
            for n, name in of.items():
                right.plot(
                    [n] * len(ends[name][1]), ends[name][1], ".", color=bp.figures.colour(kind), markersize=3, alpha=0.6
                )
            right.plot(list(of), [ends[name][1].mean() for name in of.values()], color=bp.figures.colour(kind))
        for name in (name for name in ends if "n=" not in name):
            right.axhline(ends[name][1].mean(), color=pen[name].colour, linestyle=pen[name].line, linewidth=0.8)
        right.set_xticks(sorted(set().union(*by_n.values())))
        right.set(xlabel="Window n (rows)", ylabel=left.get_ylabel(), ylim=left.get_ylim())
        sheet.letter()
        sheet.key(shown, strokes=pen)
        return sheet.done(bp.figures.table(learning=curves, final=ends))
