"""Seven targets, with and without a cerebellum: error, speed, and dysmetria.

A small number at the first of ten steps asks for one of six straight lines, or for standing still; where the output should be is told at every second
step (Boven et al. 2023). The cortex, LSTM units, learns from each step's error alone, as if time ended there; a cerebellum beside it says what the
state is worth to the errors still to come. As published that is an n-step synthetic gradient with n = 1 by two layers of 400 units, of which a tenth is
used, and a tenth of what lies further ahead is in its target. Beside it the same from a granule layer; BP(λ = 1) by a linear map, with all that lies ahead in
its target, of which a tenth is used, or all; e-prop and BPTT, which need no cerebellum.

Dysmetria is the sum of two distances, in the unit of the output (`bioplaus.analysis.dysmetria`): the r.m.s. distance of what is drawn from the line asked
for, over all steps, and the distance of its last point from the line's end; the mean over the seven targets.
"""

from dataclasses import dataclass

import numpy as np

import bioplaus as bp
from bioplaus import Arm, Experiment, Training


@dataclass(frozen=True)
class Config:
    length: float = 10.0  # of a line, as published
    cue: float = 0.1  # difference of neighbouring cues, as published
    every: int = 2  # steps from one that is asked to the next, as published
    units: int = 50  # LSTM units, as published; weights U(±1/√N)
    hidden: tuple[int, ...] = (400, 400)  # rectified units of the cerebellum's layers, as published
    factor: float = 0.1  # how much of a prediction is used, by the cortex and in the next target, as published
    active: float = 0.5  # part of granule cells that is active
    batch: int = 50  # trials, as published
    lr: float = 1e-3  # Adam, everything, as published
    updates: int = 600  # batches, of 1600 that are published
    evaluate_every: int = 20  # updates between tests
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)  # each draws weights and trials anew


WITHOUT, DYSMETRIA = "without", "dysmetria"
#: parts of the score → what they are called
PARTS = {"off_line": "off the line", "off_end": "off its end", DYSMETRIA: DYSMETRIA}


def cerebellar_target_reaching(config: Config = Config()) -> Experiment:
    """One-step credit without a cerebellum, with the published one, with BP(λ), and BPTT, on seven targets."""
    task = bp.task("lines", length=config.length, cue=config.cue, every=config.every)
    gain = (task.inputs / config.units) ** 0.5
    sizes = {"inputs": task.inputs, "units": config.units, "outputs": task.outputs}
    circuit = bp.circuit("recurrent", cell="lstm", init="uniform", input_gain=gain, **sizes)
    tenth = {"injection": config.factor, "discount": config.factor}
    mlp, granule = bp.predictor("mlp", hidden=config.hidden), bp.predictor("granule", active=config.active)
    rules = {
        WITHOUT: bp.rule("tbptt", steps=1),
        "with, as published": bp.rule("dni", steps=1, predictor=mlp, **tenth),
        "with, granule layer": bp.rule("dni", steps=1, predictor=granule, **tenth),
        "BP(λ=1), part used": bp.rule("bp_lambda", injection=config.factor),
        "BP(λ=1), all used": bp.rule("bp_lambda"),
        "e-prop": bp.rule("eprop"),
        "BPTT": bp.rule("bptt"),
    }
    names = ("updates", "batch", "lr", "evaluate_every")
    training = Training(**{name: getattr(config, name) for name in names})
    return Experiment(
        title="Target reaching with and without a cerebellum: seven targets, error and dysmetria",
        arms={label: Arm(circuit, task, rule, training) for label, rule in rules.items()},
        seeds=config.seeds,
        table=table,
        by_seed=seeds,
        figures={"summary": summary, "paths": paths},
        expected="dysmetria, here the r.m.s. distance from the line plus the distance from its end: without about 9, with, as published 4–7, e-prop lowest",
        references=("doi:10.1038/s41467-022-35658-8", "arXiv:2401.07044"),
    )


def scores(results) -> dict[str, dict[str, np.ndarray]]:
    """Arm → error at the end and over training, and the parts of dysmetria in the test at the end, (seed,) each, means over targets."""
    ends, curves, found = results.late("test_score"), results.curves("test_score"), {}
    for label, runs in results.items():
        missed = [bp.analysis.dysmetria(run.recordings) for run in runs]
        found[label] = {"error": ends[label], "error while learning": curves[label][1].mean(1)}
        found[label] |= {name: np.array([float(each[part].mean()) for each in missed]) for part, name in PARTS.items()}
    return found


def seeds(results):
    """The same of each seed."""
    import pandas

    found = scores(results)
    rows = [
        {"arm": label, "seed": run.seed} | {name: float(values[k]) for name, values in found[label].items()}
        for label, runs in results.items()
        for k, run in enumerate(runs)
    ]
    return pandas.DataFrame(rows)


def table(results):
    """Errors and dysmetria, and each arm against that without a cerebellum, seed by seed."""
    rows, found = results.table(()), scores(results)
    error = lambda v: v.std(ddof=1) / len(v) ** 0.5 if len(v) > 1 else np.nan  # noqa: E731
    columns = {}
    for name in next(iter(found.values())):
        columns[name] = [found[label][name].mean() for label in results]
        if name in ("error", DYSMETRIA):
            columns[f"{name} s.e.m."] = [error(found[label][name]) for label in results]
    for name in ("error", "error while learning", DYSMETRIA):
        each = {label: values[name] for label, values in found.items()}
        columns[f"{name} − {WITHOUT}"] = [results.against(each, label, WITHOUT) for label in results]
    for place, (name, values) in enumerate(columns.items()):
        rows.insert(2 + place, name, values)
    return rows


def summary(results):
    """Error while learning; dysmetria at the end, and the two distances that it is made of."""
    curves, found = results.curves("test_score"), scores(results)
    pens = bp.figures.pens(curves)
    with bp.figures.Sheet(bp.figures.DOUBLE, 62) as sheet:
        left, middle, right = sheet.subplots(1, 3)
        told = {"unit": "a.u.", "legend": False, "strokes": pens}
        bp.figures.panels.learning(left, curves, quantity="Test r.m.s. error", **told)
        ends = {label: each[DYSMETRIA] for label, each in found.items()}
        bp.figures.panels.final_scores(middle, ends, quantity="Dysmetria", counts=False, **told)
        for label, each in found.items():
            right.plot(each["off the line"], each["off its end"], "o", color=pens[label].colour, markersize=2.6)
        right.set(xlabel="R.m.s. distance from the line (a.u.)", ylabel="Distance from its end (a.u.)")
        sheet.letter()
        return sheet.done({label: {**each, "learning": curves[label][1]} for label, each in found.items()})


def paths(results):
    """What the first seed draws in the test at the end."""
    some = [label for label in results if not label.startswith("BP(")]
    return bp.figures.paths({label: results[label][0].recordings for label in some}, unit="a.u.")
