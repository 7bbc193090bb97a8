"""A cerebellum that drives a cortex whose weights stand still, beside cortices that learn.

Six straight lines and standing still, asked for by a number at the first step (the task of Boven et al. 2023). Pemberton et al. 2024: a cerebellum
that has learned, by an error that comes some steps late, what the readout should say, and whose output is input to a fixed recurrent cortex, is enough.
It and the readout are all that learns. Beside it the same cortex without feedback and with the readout's own; with TD in the place of the late error; with
a granule layer in the place of a network of two layers; with a cortex that learns, by e-prop and by BPTT; taught by a second cerebellum (synthetic
gradients), driven or not; and recurrent networks with as many plastic weights as the fixed cortex with its cerebellum.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

import bioplaus as bp
from bioplaus import Arm, CerebellarDrive, Experiment, Training
from bioplaus.own import learned as learned_of


@dataclass(frozen=True)
class Config:
    cue: float = 1.0  # difference of neighbouring cues  # chosen: a fixed cortex tells cues of 0.1 apart hardly
    every: int = 1  # steps from one that is asked to the next
    units: int = 50  # of the cortex, h = keep·h + W tanh(h) + U (x, c); weights U(±1/√N)
    keep: float = 0.1  # of h, from step to step
    hidden: int = 128  # rectified units of the cerebellum, 128 as of Voce et al. 2026
    delays: tuple[int, ...] = (0, 2)  # steps by which its error comes late
    discount: float = 0.5  # γ, with TD
    active: float = 0.5  # part of granule cells that is active  # chosen: with 0.2 it does not learn
    batch: int = 50  # trials
    updates: int = 400  # batches
    lr: float = 1e-3  # Adam, all that learns
    granule_lr: float = 3e-3  # Adam, weights behind a granule layer; its thresholds at lr  # chosen: of 1e-3 to 1e-2
    teacher_lr: float = 1e-2  # Adam, a second cerebellum that teaches
    learned: float = 0.1  # r.m.s. error below which a seed has learned, a tenth of a line
    evaluate_every: int = 20  # updates between tests
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)  # each draws weights and trials anew


FIXED, RECURRENT = "no feedback", "recurrent net, BPTT"


def cerebellar_drive(config: Config = Config()) -> Experiment:
    """A fixed cortex with a cerebellum that drives it, against none, against plastic cortices and recurrent nets."""
    task = bp.task("lines", cue=config.cue, every=config.every)
    circuit = cortex(config, task.inputs + task.outputs, config.units)
    network = bp.predictor("mlp", hidden=(config.hidden,))
    td = CerebellarDrive(predictor=network, teaching="td", discount=config.discount)
    rates = CerebellarDrive(predictor=bp.predictor("granule", active=config.active))
    silent, told = CerebellarDrive(predictor="linear"), CerebellarDrive(predictor=network)
    training = {name: getattr(config, name) for name in ("updates", "batch", "evaluate_every")}
    fixed, lr = {"default": 0.0, "readout": config.lr}, config.lr

    def arm(by, rates, rule="bptt", made=circuit) -> Arm:
        return Arm(made, task, bp.rule(rule), Training(lr=rates, drive=by, **training))

    # to be the same circuit, one without feedback hears a cerebellum that never says anything
    free, fed = {"default": lr, "drive": 0.0}, fixed | {"drive": lr}
    slow = fixed | {"drive": config.granule_lr, "drive.golgi": lr}
    arms = {FIXED: arm(silent, fixed | {"drive": 0.0}), "readout fed back": arm(CerebellarDrive(predictor=None), fixed)}
    for delay in config.delays:
        arms[f"cerebellum, {delay} late"] = arm(CerebellarDrive(predictor=network, delay=delay), fed)
    arms |= {"cerebellum, TD": arm(td, fed), "granule layer": arm(rates, slow)}
    arms |= {"plastic, e-prop": arm(silent, free, "eprop"), "plastic, BPTT": arm(silent, free)}
    arms["plastic and driven, e-prop"] = arm(told, {"default": lr}, "eprop")
    arms["taught"] = arm(silent, free | {"predictor": config.teacher_lr}, "bp_lambda")
    arms["taught and driven"] = arm(told, {"default": lr, "predictor": config.teacher_lr, "drive": lr}, "bp_lambda")
    # as many as cerebellum and readout of the fixed cortex: n² + 4n + 2, with one input, biases, two outputs
    many = config.hidden * (config.units + 1) + 2 * (config.hidden + 1) + 2 * (config.units + 1)
    net = cortex(config, task.inputs, round((2 + many) ** 0.5) - 2)
    arms |= {RECURRENT: arm(None, lr, "bptt", net), "recurrent net, e-prop": arm(None, lr, "eprop", net)}
    return Experiment(
        title="Cerebellar drive: what a fixed cortex does with a cerebellum's output",
        arms=arms,
        seeds=config.seeds,
        table=partial(table, partial(plastic, arms), config.learned),
        figures={"summary": partial(summary, config.learned), "paths": paths},
        expected="r.m.s. error at the end: no feedback about 0.36, cerebellum 0.05–0.15, granule layer about 0.2, recurrent net by BPTT 0.04–0.07",
        references=("doi:10.1038/s41467-024-55315-6", "doi:10.1038/s41467-022-35658-8", "arXiv:2605.10356"),
    )


def cortex(config: Config, inputs: int, units: int):
    """Rate units that keep little of what they were."""
    cell = bp.Cell(name="kept", update=f"x = {config.keep}*x + I", inputs=("I",), output="tanh(x)")
    gain = (inputs / units) ** 0.5  # input weights U(±1/√N), too
    return bp.circuit("recurrent", cell=cell, inputs=inputs, units=units, outputs=2, init="uniform", input_gain=gain)


def plastic(arms, label: str) -> int:
    """How many weights learn, readout and cerebella included."""
    a = arms[label]
    made = bp.Trainer(a.circuit, a.task, a.rule, a.training)
    both = {**made.network.weights, **learned_of(made.own)}
    return sum(both[path].numel() for path, rate in made.optimisers.rates.items() if rate)


def table(plastic, learned: float, results):
    """Error at the end, when it was learned, what is plastic, and each arm against no feedback and the recurrent net, seed by seed."""
    rows, ends, curves = results.table(()), results.late("test_score"), results.curves("test_score")
    when = {label: [min(at[row < learned], default=np.inf) for row in found] for label, (at, found) in curves.items()}
    error = lambda v: v.std(ddof=1) / len(v) ** 0.5 if len(v) > 1 else np.nan  # noqa: E731
    columns = {
        "plastic weights": [plastic(label) for label in results],
        "r.m.s. error": [ends[label].mean() for label in results],
        "s.e.m.": [error(ends[label]) for label in results],
        "seeds that learned": [int(np.isfinite(when[label]).sum()) for label in results],
        "updates to it (median)": [
            m if np.isfinite(m := float(np.median(when[label]))) else np.nan for label in results
        ],
        f"error − {FIXED}": [results.against(ends, label, FIXED) for label in results],
        f"error − {RECURRENT}": [results.against(ends, label, RECURRENT) for label in results],
    }
    for place, (name, values) in enumerate(columns.items()):
        rows.insert(2 + place, name, values)
    return rows


def summary(learned: float, results):
    """Errors while learning, means over seeds, and at the end."""
    curves, ends = results.curves("test_score"), results.late("test_score")
    pens, ticks = bp.figures.pens(curves), [0.05, 0.1, 0.2, 0.4]
    with bp.figures.Sheet(bp.figures.DOUBLE, 80) as sheet:
        left, right = sheet.subplots(1, 2)
        for label, (updates, rows) in curves.items():
            left.plot(updates, rows.mean(0), color=pens[label].colour, linestyle=pens[label].line)
        bp.figures.panels.final_scores(
            right, ends, quantity="R.m.s. error at the end", unit="a.u.", counts=False, legend=False, strokes=pens
        )
        left.axhline(learned, **bp.figures.GUIDE)
        right.axvline(learned, **bp.figures.GUIDE)
        left.set(xlabel="Updates (number)", ylabel="Test r.m.s. error (a.u.)", yscale="log")
        right.set(xscale="log")
        for axis in (left.yaxis, right.xaxis):
            axis.set_ticks(ticks, [f"{each:g}" for each in ticks])
            axis.set_minor_formatter("")
        sheet.letter()
        return sheet.done({label: {"learning": curves[label][1], "end": each} for label, each in ends.items()})


def paths(results):
    """What is drawn in the test, of the first seed."""
    late = [label for label in results if label.endswith(" late")]
    some = [label for label in (FIXED, *late[-1:], "granule layer", RECURRENT) if label in results]
    return bp.figures.paths({label: results[label][0].recordings for label in some})
