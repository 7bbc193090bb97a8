"""The ladder of predictors: what each element of a cerebellum costs or buys, counted in plastic synapses (docs/cerebellum.md).

All are taught by BP(λ) (Pemberton & Costa 2024). First the cortex is fixed and random: how near do predictions come to true gradients, by rung,
λ, fan-in (Litwin-Kumar et al. 2017), active fraction, expansion, number of climbing fibres? Then cortex and cerebellum learn together.
"""

from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import pandas

import bioplaus as bp
from bioplaus import Arm, Experiment, Training, ms


@dataclass(frozen=True)
class Config:
    units: int = 30  # tanh units, weights U(±1/√N), dt 1 ms; slow ones have τ = 2 ms, fast ones keep nothing
    targets: tuple[int, int] = (24, 6)  # points on the circle; few where λ is varied and where the cortex learns
    updates: tuple[int, int] = (400, 1000)  # batches of 10; with a fixed and with a learning cortex
    every: tuple[int, int] = (10, 50)  # updates between comparisons with true gradients (and tests), likewise
    predictor_lr: float = 3e-3  # Adam, fixed cortex, every rung
    fan_ins: tuple[int, ...] = (1, 2, 8, 16, 60)  # beside 4; there are 120 mossy fibres
    actives: tuple[float, ...] = (0.05, 0.1, 0.2)  # beside 0.5
    expansions: tuple[float, ...] = (1.0, 2.0, 10.0)  # granule cells per mossy fibre, beside 5
    fibres: tuple[int, ...] = (1, 10, 40)  # climbing fibres per zone of an output, beside graded
    lr: float = 1e-3  # Adam, learning cortex
    own_lr: tuple[float, float] = (0.1, 1e-2)  # Adam, its predictor, linear or other  # chosen: of those on the page
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights, wiring and trials anew


RUNGS = {  # each with all of those before it; fan-in 4, expansion 5
    "granule cells": {"signs": False, "interneurons": False, "opponent": False, "active": 0.5, "plastic_nuclei": True},
    "+ signs": {"signs": True, "interneurons": True, "opponent": True},
    "+ Golgi gain": {"divisive": 5.0, "subtractive": 0.5, "tau_golgi": 3},
    "+ fixed nuclei": {"plastic_nuclei": False},
    "+ events": {"teaching": "events", "fibres": 10, "probability": 0.1},  # as if a step took 100 ms, at 1 Hz
    "+ late errors": {"delay_in": 1, "delay_out": 1, "delay_back": 2},
}


def cerebellar_ladder(config: Config = Config()) -> Experiment:
    """Rungs with a fixed and with a learning cortex; λ, fan-in, active fraction, expansion and fibres with a fixed one."""
    c, options, rungs = config, {}, {"linear": bp.rule("bp_lambda", predictor="linear")}
    rungs["mlp"] = bp.rule("bp_lambda", predictor=bp.predictor("mlp", hidden=(300,), train="output"))
    for name, more in RUNGS.items():
        options |= more
        trace = "bump" if "delay_back" in more else "exact"
        rungs[name] = bp.rule("bp_lambda", predictor=bp.predictor("granule", **options), trace=trace)
    arms = {f"fixed: {name}": arm(c, rule) for name, rule in rungs.items()}
    few, signs = partial(arm, c, few=True), RUNGS["granule cells"] | RUNGS["+ signs"]
    signed = lambda **more: bp.predictor("granule", **signs | more)  # noqa: E731
    for x in (0.0, 0.5, 1.0):
        linear = bp.rule("bp_lambda", predictor="linear", lmbda=x)
        arms |= {f"λ={x:g}, slow": few(linear), f"λ={x:g}, fast": few(linear, cell=bp.model("elman"))}
        ways = {"within neurons": {"trace": "local"}, "olive without J": {"jacobian": "within"}}
        arms |= {f"λ={x:g}, {n}": few(bp.rule("bp_lambda", predictor=signed(), lmbda=x, **w)) for n, w in ways.items()}
    varied = {f"fan-in {n}": {"fan_in": n} for n in c.fan_ins} | {f"active {f:g}": {"active": f} for f in c.actives}
    varied |= {f"expansion {x:g}": {"expansion": x} for x in c.expansions}
    varied |= {f"fibres {n}": RUNGS["+ events"] | {"fibres": n} for n in c.fibres}
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
        expected="in every seed cosine rises with λ, active fraction and fibres, and falls from fan-in 4 to 60; granule cells above linear",
        references=("arXiv:2401.07044", "doi:10.1016/j.neuron.2017.01.030", "doi:10.7554/eLife.31599"),
    )


def arm(c: Config, rule, cell=None, few: bool = False, learns: bool = False) -> Arm:
    """A cortex that is cued at the first of ten steps and asked for a point at the last, under one rule."""
    task = bp.task("target_reaching", targets=c.targets[few])
    sizes = {"inputs": task.inputs, "units": c.units, "outputs": task.outputs, "init": "uniform"}
    sizes |= {"cell": cell or bp.model("leaky_rate", tau=2 * ms), "input_gain": (task.inputs / c.units) ** 0.5}
    rates, predictor = {"default": c.lr if learns else 0.0}, getattr(rule.signal, "predictor", None)
    if predictor is not None:
        rates["predictor"] = c.own_lr[predictor.describe() != {"predictor": "linear"}] if learns else c.predictor_lr
    rates |= {"cerebellum.golgi": 1e-2} if getattr(predictor, "active", None) else {}  # thresholds
    given = {"updates": c.updates[learns], "batch": 10, "lr": rates, "align_every": c.every[learns]}
    given |= {"evaluate_every": c.every[1], "clip": 1.0} if learns else {}
    return Arm(bp.circuit("cortico_cerebellar", **sizes), task, rule, Training(**given))


def measured(arms, label: str, run) -> dict[str, float]:
    """Plastic synapses of a run's predictor, and how many granule cells are active at a step, in % of all, over all targets."""
    learned = run.own["predictor"].learned if "predictor" in run.own else {}
    counted = [learned[name].numel() for name in ("A", "purkinje.w", "interneuron.v") if name in learned]
    found = {"plastic synapses": sum(counted), "active (%)": np.nan}
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


def against(label: str, labels: list[str]) -> str:
    """What an arm is held against: the rung below, λ = 0, no cerebellum, or granule cells of which one thing is varied."""
    found = {"fixed": labels[max(labels.index(label) - 1, 0)], "learns": "learns: no cerebellum"}
    return found.get(label.split(":")[0], f"λ=0, {label.partition(', ')[2]}" if label[0] == "λ" else "fixed: + signs")


def table(seen, results):
    """Means over seeds; cosine (fixed cortex) or loss (learning cortex) minus that of the arm that each is held against."""
    rows, found = [], {str(name): each for name, each in seeds(seen, results).groupby("arm", sort=False)}
    for label, each in found.items():
        row = {"arm": label, "n": len(each)} | {name: each[name].mean() for name in ("plastic synapses", "active (%)")}
        for name in ("cosine", "test loss"):
            row |= {name: each[name].mean(), f"{name} s.e.m.": each[name].sem()}
        other, of = against(label, list(found)), "test loss" if label.startswith("learns") else "cosine"
        pair = other in found and other != label
        row["against"] = other if pair else "–"
        rows.append(row | {"difference": str(bp.analysis.paired(each[of], found[other][of])) if pair else "–"})
    return pandas.DataFrame(rows)


def summary(seen, results):
    """Every arm's seeds as dots and their mean: cosine with a fixed cortex, the same by λ, and loss of a learning one."""
    frame = seeds(seen, results)
    parts = {"Cosine, fixed cortex": "fae", "Cosine, fixed cortex, few targets": "λ", "Test loss, learning cortex": "l"}
    with bp.figures.Sheet(bp.figures.DOUBLE, 88) as sheet:
        for ax, (what, letters) in zip(sheet.subplots(1, 3), parts.items(), strict=True):
            arms = sorted((n for n in results if n[0] in letters), key=lambda n: n.partition(", ")[2])  # λ by way
            for y, arm in enumerate(arms):
                each = frame[frame["arm"] == arm]  # BPTT's loss is rounding
                values = np.maximum(each["test loss"], 1e-4) if letters == "l" else each["cosine"]
                ax.plot(values, np.full(len(values), y), ".", color="#999999", markersize=3)
                ax.plot([values.mean()], [y], "|", color="black", markersize=7)
            ax.set_yticks(range(len(arms)), [n.partition(": ")[2] or n for n in arms])
            ax.set(xlabel=what, ylim=(len(arms) - 0.5, -0.5), xscale="log" if letters == "l" else "linear")
        sheet.letter()
        return sheet.done(frame)
