"""The ladder of predictors: what each element of a cerebellum costs or buys, counted in plastic synapses.

From a linear map to granule cells, weights of one sign, Golgi gain, climbing-fibre events and late errors (docs/cerebellum.md), all taught by
BP(λ) (Pemberton & Costa 2024, arXiv 2401.07044). First the cortex is fixed and random: how near do predictions come to true gradients, by rung,
λ, fan-in (Litwin-Kumar et al. 2017), active fraction, expansion and number of climbing fibres? Then both learn, beside no cerebellum and BPTT.
"""

from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import pandas

import bioplaus as bp
from bioplaus import Arm, Experiment, Training, ms


@dataclass(frozen=True)
class Config:
    units: int = 30  # tanh units, weights U(±1/√N), dt 1 ms; ten steps from the cue to the target
    tau: float = 2.0  # ms, of slow units; fast ones keep nothing
    targets: int = 24  # points on the circle, fixed cortex: more than a linear map can tell the gradients of
    few: int = 6  # the same where λ is varied, and where the cortex learns
    updates: int = 400  # batches of 10, fixed cortex
    predictor_lr: float = 3e-3  # Adam, fixed cortex, every rung
    align_every: int = 10  # updates between comparisons with the true gradient, fixed cortex
    golgi_lr: float = 1e-2  # Adam, thresholds
    fan_ins: tuple[int, ...] = (1, 2, 8, 16, 60)  # beside 4; there are 120 mossy fibres
    actives: tuple[float, ...] = (0.05, 0.1, 0.2)  # beside 0.5
    expansions: tuple[float, ...] = (1.0, 2.0, 10.0)  # granule cells per mossy fibre, beside 5
    fibres: tuple[int, ...] = (1, 10, 40)  # climbing fibres per zone of an output, beside graded
    learning: int = 1000  # batches of 10, learning cortex
    lr: float = 1e-3  # Adam, learning cortex
    linear_lr: float = 0.1  # Adam, linear predictor of a learning cortex; as in target_reaching
    layer_lr: float = 1e-2  # Adam, every other  # chosen: of those on the page, on seed 100
    evaluate_every: int = 50  # updates between tests and between comparisons, learning cortex
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights, wiring and trials anew


GRANULE = {"fan_in": 4, "expansion": 5.0, "active": 0.5, "plastic_nuclei": True}
EVENTS = {"teaching": "events", "fibres": 10, "probability": 0.1}  # as if a step took 100 ms, at 1 Hz
RUNGS = {  # each with all of those before it
    "granule cells": {"signs": False, "interneurons": False, "opponent": False},
    "+ signs": {"signs": True, "interneurons": True, "opponent": True},
    "+ Golgi gain": {"divisive": 5.0, "subtractive": 0.5, "tau_golgi": 3},
    "+ fixed nuclei": {"plastic_nuclei": False},
    "+ events": EVENTS,
    "+ late errors": {"delay_in": 1, "delay_out": 1, "delay_back": 2},
}
UNVARIED = "fixed: + signs"  # what fan-in, active fraction, expansion and fibres are varied of
SYNAPSES = ("A", "purkinje.w", "interneuron.v")  # what is counted; neither tonic rates nor thresholds


def cerebellar_ladder(config: Config = Config()) -> Experiment:
    """Rungs with a fixed and with a learning cortex; λ, fan-in, active fraction, expansion and fibres with a fixed one."""
    c, options, rungs = config, dict(GRANULE), {"linear": bp.rule("bp_lambda", predictor="linear")}
    rungs["mlp"] = bp.rule("bp_lambda", predictor=bp.predictor("mlp", hidden=(300,), train="output"))
    for name, more in RUNGS.items():
        options |= more
        how = {"trace": "bump"} if "delay_back" in more else {}
        rungs[name] = bp.rule("bp_lambda", predictor=bp.predictor("granule", **options), **how)
    arms = {f"fixed: {name}": arm(c, rule) for name, rule in rungs.items()}
    few, signs = partial(arm, c, targets=c.few), GRANULE | RUNGS["granule cells"] | RUNGS["+ signs"]
    signed = lambda **more: bp.predictor("granule", **signs | more)  # noqa: E731
    for x in (0.0, 0.5, 1.0):
        linear = bp.rule("bp_lambda", predictor="linear", lmbda=x)
        arms |= {f"λ={x:g}, slow": few(linear), f"λ={x:g}, fast": few(linear, cell="fast")}
        ways = {"within neurons": {"trace": "local"}, "olive without J": {"jacobian": "within"}}
        arms |= {f"λ={x:g}, {n}": few(bp.rule("bp_lambda", predictor=signed(), lmbda=x, **w)) for n, w in ways.items()}
    varied = {f"fan-in {n}": {"fan_in": n} for n in c.fan_ins} | {f"active {f:g}": {"active": f} for f in c.actives}
    varied |= {f"expansion {x:g}": {"expansion": x} for x in c.expansions}
    varied |= {f"fibres {n}": EVENTS | {"fibres": n} for n in c.fibres}
    arms |= {name: arm(c, bp.rule("bp_lambda", predictor=signed(**more))) for name, more in varied.items()}
    rungs["no cerebellum"] = bp.rule("bp_lambda", predictor="linear", injection=0.0)
    arms |= {f"learns: {n}": few(rule, learns=True) for n, rule in (rungs | {"BPTT": bp.rule("bptt")}).items()}
    seen = cache(partial(measured, arms))
    return Experiment(
        title="The cerebellar ladder: what each element costs, in plastic synapses",
        arms=arms,
        seeds=config.seeds,
        table=partial(table, seen),
        by_seed=partial(seeds, seen),
        figures={"summary": partial(summary, seen)},
        expected="cosine: granule cells above linear; falls from fan-in 4 to 60, rises with active fraction, expansion, number of fibres",
        references=("arXiv:2401.07044", "doi:10.1016/j.neuron.2017.01.030", "doi:10.7554/eLife.31599"),
    )


def arm(c: Config, rule, cell: str = "slow", targets: int = 0, learns: bool = False) -> Arm:
    """A cortex that is cued at the first of ten steps and asked for a point at the last, under one rule."""
    task = bp.task("target_reaching", targets=targets or c.targets)
    sizes = {"inputs": task.inputs, "units": c.units, "outputs": task.outputs, "init": "uniform"}
    model = bp.model("leaky_rate", tau=c.tau * ms) if cell == "slow" else bp.model("elman")
    circuit = bp.circuit("cortico_cerebellar", cell=model, input_gain=(task.inputs / c.units) ** 0.5, **sizes)
    rates, predictor = {"default": c.lr if learns else 0.0}, getattr(rule.signal, "predictor", None)
    if predictor is not None:
        own = c.linear_lr if predictor.describe()["predictor"] == "linear" else c.layer_lr
        rates["predictor"] = own if learns else c.predictor_lr
    if getattr(predictor, "active", None):
        rates["cerebellum.golgi"] = c.golgi_lr
    given = {"updates": c.updates, "align_every": c.align_every}
    if learns:
        given = {
            "updates": c.learning,
            "align_every": c.evaluate_every,
            "evaluate_every": c.evaluate_every,
            "clip": 1.0,
        }
    return Arm(circuit, task, rule, Training(batch=10, lr=rates, **given))


def measured(arms, label: str, run) -> dict[str, float]:
    """Plastic synapses of a run's predictor, and how many granule cells are active at a step, in % of all, over all targets."""
    learned = run.own["predictor"].learned if "predictor" in run.own else {}
    found = {"plastic synapses": sum(w.numel() for n, w in learned.items() if n in SYNAPSES), "active (%)": np.nan}
    if "purkinje.w" in learned:
        task, part = arms[label].task, "cerebellum.granule"
        seen = bp.record(run.network, arms[label].rule, next(iter(task.test_batches(task.targets))), part, own=run.own)
        found["active (%)"] = 100 * float((seen[part].values > 0).mean())
    return found


def seeds(seen, results):
    """Each run's synapses, active cells, mean cosine over the second half of the updates, and test loss where the cortex learns."""
    cosines, losses, rows = results.curves("prediction"), results.late("test_loss"), []
    for label, runs in results.items():
        for i, run in enumerate(runs):
            values = cosines[label][1][i] if label in cosines else np.array([np.nan])
            row = {"arm": label, "seed": run.seed, **seen(label, run), "cosine": values[len(values) // 2 :].mean()}
            rows.append(row | {"test loss": losses[label][i] if label.startswith("learns") else np.nan})
    return pandas.DataFrame(rows)


def against(labels) -> dict[str, str]:
    """What an arm is held against: the rung below, λ = 0, no cerebellum, or granule cells of which one thing is varied."""
    rungs = [n for n in labels if n.startswith("fixed")]
    found = dict(zip(rungs[1:], rungs, strict=False)) | {
        n: f"λ=0, {n.partition(', ')[2]}" for n in labels if n[0] == "λ"
    }
    found |= {
        n: "learns: no cerebellum" if n.startswith("learns") else UNVARIED
        for n in labels
        if n not in rungs and n[0] != "λ"
    }
    return {n: other for n, other in found.items() if other in labels and other != n}


def table(seen, results):
    """Means over seeds; cosine (fixed cortex) or loss (learning cortex) minus that of the arm that each is held against."""
    rows, found = [], {name: each for name, each in seeds(seen, results).groupby("arm", sort=False)}
    for label, each in found.items():
        row = {"arm": label, "n": len(each)} | {name: each[name].mean() for name in ("plastic synapses", "active (%)")}
        for name in ("cosine", "test loss"):
            row |= {name: each[name].mean(), f"{name} s.e.m.": each[name].sem()}
        row |= {"against": "–", "difference": "–"}
        if other := against(found).get(label):
            of = "test loss" if label.startswith("learns") else "cosine"
            pair = bp.analysis.paired(each[of].to_numpy(), found[other][of].to_numpy())
            row |= {"against": other, "difference": str(pair)}
        rows.append(row)
    return pandas.DataFrame(rows)


def summary(seen, results):
    """Every arm's seeds as dots and their mean: cosine with a fixed cortex, the same by λ, and loss of a learning one."""
    frame = seeds(seen, results)
    parts = {"Cosine, fixed cortex": "fae", "Cosine, fixed cortex, few targets": "λ", "Test loss, learning cortex": "l"}
    with bp.figures.Sheet(bp.figures.DOUBLE, 88) as sheet:
        for ax, (what, letters) in zip(sheet.subplots(1, 3), parts.items(), strict=True):
            arms = [n for n in results if n[0] in letters]
            for y, arm in enumerate(arms):
                values = frame[frame["arm"] == arm]["test loss" if letters == "l" else "cosine"]
                ax.plot(values, np.full(len(values), y), ".", color="#999999", markersize=3)
                ax.plot([values.mean()], [y], "|", color="black", markersize=7)
            ax.set_yticks(range(len(arms)), [n.partition(": ")[2] or n for n in arms])
            ax.set(xlabel=what, ylim=(len(arms) - 0.5, -0.5), xscale="log" if letters == "l" else "linear")
        sheet.letter()
        return sheet.done(frame)
