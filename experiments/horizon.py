"""The longest dependency each rule learns, and what it costs.

A cue at the first of T steps asks for a point on the circle at the last (Pemberton & Costa 2024, arXiv 2401.07044); nothing
happens in between. Every rule learns every T from the same first weights, with equally many updates: up to which T does the
loss come below a threshold? LSTM units can hold the cue as long as needed, once they have learned to keep their forget gates
open, so that what limits is the credit a rule gives to the early steps. (In a network that holds any cue by itself, such as
one with orthogonal weights, learning the readout alone would do.)
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

import bioplaus as bp
from bioplaus import Arm, Experiment, Training
from bioplaus.measure.memory import memory
from bioplaus.measure.time import cpu_seconds


@dataclass(frozen=True)
class Config:
    horizons: tuple[int, ...] = (5, 10, 20, 40, 60)  # T, steps from the cue to the target, both included
    targets: int = 6  # points on the circle, each with a cue
    units: int = 30  # LSTM units
    forget: float = 1.0  # bias of the forget gates at first  # chosen: as usual; half of the cue is gone after 2 steps
    updates: int = 1000  # batches, for every rule and T
    batch: int = 20  # trials
    lr: float = 3e-3  # Adam, cortex and readout, for every rule and T
    predictor_lr: float = 0.01  # Adam, for every rule with a predictor  # chosen: of 0.003 to 0.1, on seeds 100, 101
    clip: float | None = 1.0  # largest gradient norm, cortex and predictor each
    betas: tuple[float, float] = (0.9, 0.98)  # of Adam
    threshold: float = 0.05  # learned: loss below  # chosen: a tenth of what an output of zero costs
    evaluate_every: int = 20  # updates between tests on all targets
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights and trials anew


def horizon(config: Config = Config()) -> Experiment:
    """BP(λ), n-step synthetic gradients, truncated BPTT, e-prop and BPTT from T = 5 to 60."""
    rules = {f"BP(λ={value:g})": bp.rule("bp_lambda", lmbda=value) for value in (0.0, 0.5, 1.0)}
    rules |= {f"DNI n={n}": bp.rule("dni", steps=n) for n in (2, 5)}  # n = 1 is BP(0)
    rules |= {"TBPTT n=5": bp.rule("tbptt", steps=5), "e-prop": bp.rule("eprop"), "BPTT": bp.rule("bptt")}
    training = Training(
        updates=config.updates,
        batch=config.batch,
        lr=config.lr,
        predictor_lr=config.predictor_lr,
        clip=config.clip,
        betas=config.betas,
        eps=1e-9,
        evaluate_every=config.evaluate_every,
    )
    tasks = {T: bp.task("target_reaching", targets=config.targets, steps=T) for T in sorted(config.horizons)}
    task = tasks[max(tasks)]
    sizes = {"inputs": task.inputs, "units": config.units, "outputs": task.outputs, "bias": {"I_f": config.forget}}
    circuit = bp.circuit("cortico_cerebellar", cell=bp.model("lstm"), **sizes)
    arms = {f"{name} T={T}": Arm(circuit, tasks[T], rule, training) for name, rule in rules.items() for T in tasks}
    costs = cache(lambda rules: measured({name: arms[f"{name} T={max(tasks)}"] for name in rules}))
    return Experiment(
        title="Horizon: the longest dependency each rule learns",
        arms=arms,
        seeds=config.seeds,
        table=lambda results: table(results, costs(tuple(losses(results))), config.threshold),
        figures={"horizon": lambda results: figure(results, costs(tuple(losses(results))), config.threshold)},
        expected="longest T learned, median over seeds: BPTT 60, e-prop and BP(λ=1) 40, TBPTT n=5 20, BP(λ=0.5), DNI n=5 and "
        "DNI n=2 10, BP(λ=0) 5; a step of the grid more or less with other seeds",
        references=("arXiv:2401.07044", "arXiv:1608.05343", "doi:10.1038/s41467-020-17236-y"),
    )


def losses(results):
    """Rule → (T, loss): loss (seed, T) at the end, the median of the tests in the last tenth of the updates."""
    found = {}
    for label, ends in results.late("test_loss").items():
        rule, _, T = label.rpartition(" T=")
        found.setdefault(rule, {})[int(T)] = ends
    return {
        rule: (np.array(sorted(ends)), np.stack([ends[T] for T in sorted(ends)], 1)) for rule, ends in found.items()
    }


def longest(Ts, ends, threshold):
    """The largest T, per seed, up to which every T was learned; 0 if none was."""
    learned = np.cumprod(ends < threshold, axis=1).sum(1)
    return np.append(0, Ts)[learned]


def measured(arms):
    """What every rule costs: CPU time of an update, what it keeps for each sample, and would keep if it went step by step."""
    causal = {name: arm for name, arm in arms.items() if arm.rule.future.causal and arm.rule.schedule.steps is None}
    steps = {name: replace(arm, rule=replace(arm.rule, schedule=bp.Online())) for name, arm in causal.items()}
    return {
        "ms per update": {name: 1e3 * seconds for name, seconds in cpu_seconds(arms).items()},
        "KiB per sample": {name: kib(arm) for name, arm in arms.items()},
        "KiB per sample, step by step": {name: kib(arm) for name, arm in steps.items()},
    }


def kib(arm):
    """What a rule keeps for each sample."""
    kept = memory(arm.circuit, arm.task, arm.rule)
    return (kept.state + kept.window) / 1024


def table(results, costs, threshold):
    """One row a rule: the longest T, the loss at every T, and the costs; medians over seeds."""
    import pandas

    rows = []
    for rule, (Ts, ends) in losses(results).items():
        reached = longest(Ts, ends, threshold)
        row = {"arm": rule, "n": len(ends), "longest T": float(np.median(reached))}
        row["range over seeds"] = f"{reached.min()}–{reached.max()}"
        row |= {f"loss, T={T}": float(loss) for T, loss in zip(Ts, np.median(ends, 0), strict=True)}
        rows.append(row | {name: each.get(rule, float("nan")) for name, each in costs.items()})
    return pandas.DataFrame(rows)


def figure(results, costs, threshold):
    """Loss at the end against T, and the longest T against the time an update takes at the longest there is."""
    curves = losses(results)
    reach = {rule: longest(Ts, ends, threshold) for rule, (Ts, ends) in curves.items()}
    pen = bp.figures.pens(curves)
    with bp.figures.Sheet(bp.figures.DOUBLE, 80) as sheet:
        left, right = sheet.subplots(1, 2)
        for place, (rule, (Ts, ends)) in zip(np.linspace(0.94, 1.06, len(curves)), curves.items(), strict=True):
            colour, line = pen[rule]
            left.plot(Ts * place, np.median(ends, 0), "D", color=colour, linestyle=line, markersize=2.2, label=rule)
            left.plot(Ts * place, ends.T, "o", color=colour, alpha=0.5, markersize=1.6)
        left.axhline(threshold, **bp.figures.GUIDE)
        left.set(xlabel="T (steps)", ylabel="Loss at the end (a.u.)", xscale="log", yscale="log")
        *_, (lengths, _) = curves.values()
        left.set_xticks(lengths, [str(T) for T in lengths])
        left.xaxis.minorticks_off()
        spent = {rule: [costs["ms per update"][rule]] for rule in curves}
        middle = {rule: [np.median(T)] for rule, T in reach.items()}
        for rule, T in reach.items():
            right.vlines(spent[rule], T.min(), T.max(), color=pen[rule].colour, linewidth=0.8)
        points = bp.figures.panels.pareto(right, spent, middle, higher=True, strokes=pen)
        right.set(xlabel="Time per update (ms)", ylabel="Longest T learned (steps)")
        sheet.letter()
        sheet.explain(pen, "median and each seed; right: median and range")
        sheet.name_points(points)
        return sheet.done({"loss": {rule: ends for rule, (_, ends) in curves.items()}, "longest": reach, "ms": spent})
