"""Spiking neurons with short time constants count cues, and a delay grows until the question: does a predicted learning signal help e-prop?

E-prop meets what stays inside a neuron with an error that is told at once; what a spike does to later errors by way of other neurons is left
out. Bellec et al. 2020 (doi:10.1038/s41467-020-17236-y) propose to put a predicted gradient there (e-prop 3); here a linear cerebellum
learns it by BP(λ) (Pemberton & Costa 2024, arXiv 2401.07044), the label of the trial told to it. Its trace stays within neurons, and what
carries the error back one step, J, is the circuit's own, random feedback in its place, or within neurons too: as no output has a
future within its neuron, this last is e-prop itself, a control.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

import bioplaus as bp
from bioplaus import Arm, Experiment, Training


@dataclass(frozen=True)
class Config:
    delays: tuple[int, ...] = (50, 100, 200)  # ms, from the last cue to the question
    cues: int = 3  # of 20 ms, with gaps of 10 ms
    units: int = 15  # LIF neurons, and as many ALIF
    tau: float = 10.0  # ms, membranes and readout
    tau_a: float = 150.0  # ms, adaptation
    beta: float = 0.1  # by how much a spike raises the threshold of an ALIF neuron, which is 0.6
    dt: float = 2.0  # ms
    gain: float = 0.7  # recurrent weights N(0, gain²/15)
    input_gain: float = 2.0  # input weights N(0, gain²/20)
    discount: float = 1.0  # γ  # chosen: of 1 and exp(−dt/50 ms) on seeds 100 and 101
    lr: float = 0.015  # Adam
    predictor_lr: float = 1e-5  # Adam  # chosen: larger ones make predictions too long, and learn less
    batch: int = 32  # trials
    rate_target: float = 20.0  # Hz
    rate_strength: float = 2.0  # of ½ Σ (f − target)², f in spikes per step
    updates: int = 100  # batches
    last: int = 30  # updates whose mean counts, of trials that are new each time
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights and trials anew


def delay_length(config: Config = Config()) -> Experiment:
    """e-prop with instantaneous and with predicted learning signals, and BPTT, over delays."""
    told = {"discount": config.discount, "context": True}
    predicted = partial(bp.rule, "bp_lambda", trace="local", eligibility="eprop", **told)
    rules = {
        "e-prop": bp.rule("eprop"),
        "BP(λ)": predicted(jacobian="exact"),
        "BP(λ), random J": predicted(jacobian="random"),
        "BP(λ), J within": predicted(jacobian="within"),
        "BPTT": bp.rule("bptt"),
    }
    arms = {f"{name}, {delay} ms": arm(config, rule, delay) for delay in config.delays for name, rule in rules.items()}
    return Experiment(
        title="Evidence accumulation with growing delay: e-prop with instantaneous and with predicted learning signals",
        arms=arms,
        seeds=config.seeds,
        table=partial(table, last=config.last),
        by_seed=partial(seeds, last=config.last),
        figures={"summary": partial(summary, last=config.last)},
        expected="BPTT ahead of e-prop; BP(λ) not ahead of e-prop; J within equals e-prop in every seed",
        references=("doi:10.1038/s41467-020-17236-y", "arXiv:2401.07044"),
    )


def arm(config: Config, rule, delay: int) -> Arm:
    """The task with one delay, and a circuit with a cerebellum for it."""
    ms, kept = bp.ms, {"threshold": 0.6, "refractory": 2, "tau_m": config.tau * bp.ms}
    task = bp.task(
        "evidence_accumulation", cues=config.cues, gap=10 * ms, cue=20 * ms, delay=delay * ms, recall=30 * ms, group=5, rate=150.0,
        background=20.0, dt=config.dt * ms,
    )  # fmt: skip
    alif = bp.model("lsnn_alif", **kept, tau_a=config.tau_a * ms, beta=config.beta)
    cells = {"LIF": bp.model("lsnn_lif", **kept), "ALIF": alif}
    ends = {"inputs": task.inputs, "outputs": task.outputs, "tau_out": config.tau * ms, "output_bias": False}
    sizes = {"units": dict.fromkeys(cells, config.units), "gain": config.gain, "input_gain": config.input_gain}
    circuit = bp.circuit("cortico_cerebellar", cell=cells, dt=config.dt * ms, **sizes, **ends)
    names = ("updates", "batch", "lr", "predictor_lr", "rate_target", "rate_strength")
    return Arm(circuit, task, rule, Training(**{name: getattr(config, name) for name in names}))


def ends(results, last: int) -> dict[str, dict[int, float]]:
    """Arm → seed → % of trials that are right, mean of the last updates."""
    return {
        label: {run.seed: 100 * float(run.metrics["score"].to_numpy(float)[-last:].mean()) for run in runs}
        for label, runs in results.items()
    }  # fmt: skip


def parted(label: str) -> tuple[str, int]:
    """``"BP(λ), 50 ms"`` → rule and delay."""
    rule, _, delay = label.rpartition(", ")
    return rule, int(delay.removesuffix(" ms"))


def seeds(results, last: int):
    """Of each seed what it had right at the end, and its rate."""
    import pandas

    found = ends(results, last)
    told = lambda label, run: {"right (%)": found[label][run.seed], "rate (Hz)": run.final("rate")}  # noqa: E731
    rows = [{"arm": label, "seed": run.seed} | told(label, run) for label, runs in results.items() for run in runs]
    return pandas.DataFrame(rows)


def table(results, last: int):
    """What was right at the end, and each rule against e-prop at the same delay, seed by seed."""
    rows, found = results.table(("rate",)), ends(results, last)
    values = [np.array(list(of.values())) for of in found.values()]
    rows.insert(2, "right (%)", [v.mean() for v in values])
    rows.insert(3, "right s.e.m. (%)", [v.std(ddof=1) / len(v) ** 0.5 if len(v) > 1 else np.nan for v in values])
    rows.insert(4, "this − e-prop (points)", [against(found, label) for label in found])
    return rows.rename(columns={"rate": "rate (Hz)", "rate s.e.m.": "rate s.e.m. (Hz)"})


def against(found: dict[str, dict[int, float]], label: str) -> str:
    """An arm and e-prop at its delay, in pairs."""
    rule, delay = parted(label)
    other = found.get(f"e-prop, {delay} ms", {})
    both = [seed for seed in other if seed in found[label]]
    if rule == "e-prop" or not both:
        return "–"
    return str(bp.analysis.paired([found[label][s] for s in both], [other[s] for s in both]))


def summary(results, last: int):
    """What is right at the end over delays, and in pairs how far from e-prop; seeds as dots, means as lines."""
    found, drawn, hues = ends(results, last), {}, bp.figures.OKABE_ITO
    delays = sorted({parted(label)[1] for label in found})
    pens = bp.figures.pens(rules := list(dict.fromkeys(parted(label)[0] for label in found)))
    colours = {rule: pen.colour for rule, pen in pens.items()}
    colours |= {"BP(λ), random J": hues["sky blue"], "BP(λ), J within": hues["bluish green"]}
    with bp.figures.Sheet(bp.figures.DOUBLE, 66) as sheet:
        left, right = sheet.subplots(1, 2)
        for label, scores in found.items():
            rule, delay = parted(label)
            x = delays.index(delay) + 0.12 * (rules.index(rule) - (len(rules) - 1) / 2)
            base = found.get(f"e-prop, {delay} ms", {}) if rule != "e-prop" else {}
            pairs = [score - base[seed] for seed, score in scores.items() if seed in base]
            for ax, values in ((left, list(scores.values())), (right, pairs)):
                if values:
                    ax.plot([x] * len(values), values, ".", color=colours[rule], markersize=3, alpha=0.6)
                    ax.plot([x], [np.mean(values)], "_", color=colours[rule], markersize=9)
            drawn[label] = {"right": np.array(list(scores.values()))}
        left.axhline(50, **bp.figures.GUIDE)
        right.axhline(0, **bp.figures.GUIDE)
        for ax, name in ((left, "Right at the end (%)"), (right, "Right, minus e-prop's (points)")):
            ax.set(xlabel="Delay (ms)", ylabel=name, xticks=range(len(delays)), xticklabels=delays)
        sheet.letter()
        sheet.explain({rule: left.plot([], [], "_", color=colours[rule], markersize=9)[0] for rule in rules})
        return sheet.done(drawn)
