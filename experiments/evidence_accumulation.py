"""Spiking neurons, half of them adaptive, count cues and remember the count: e-prop with random and symmetric feedback, and BPTT.

Circuit, optimiser and regularisation are those of Bellec et al. 2020 (doi:10.1038/s41467-020-17236-y, figure 4) and their code:
50 LIF and 50 ALIF neurons in the discrete convention of that code, a leaky readout without bias, Adam, firing rates held near 10 Hz.
Beside them e-prop, MDGL and BPTT in sparse circuits under Dale's law, as Liu et al. 2021 (doi:10.1073/pnas.2111821118) had them.
"""

from dataclasses import dataclass

import numpy as np

import bioplaus as bp
from bioplaus import Arm, Experiment, Training


@dataclass(frozen=True)
class Config:
    cues: int = 7  # of 100 ms, with gaps of 50 ms
    delay: float = 1.05  # s, from the last cue to the question
    units: int = 50  # LIF neurons, and as many ALIF; weights N(0, 1/n) with n the neurons of both, no autapses
    sparse_delay: float = 0.85  # s, for circuits under Dale's law
    sparse_units: int = 100  # ALIF neurons of those, four fifths of them excitatory; weights gamma, balanced
    fan_in: float = 0.1  # part of either kind that a neuron of those hears
    tau: float = 20.0  # ms, membranes and readout
    tau_a: float = 2000.0  # ms, adaptation
    threshold: float = 0.6  # of the membrane; its unit is that of the input
    beta: float = 0.0174  # by how much a spike raises the threshold of an ALIF neuron
    dampening: float = 0.3  # height of the surrogate derivative, times the threshold
    bptt_dampening: float = 0.05  # of BPTT  # chosen: at 0.3 its gradient explodes in most seeds, clipped or not
    refractory: int = 5  # steps from a spike to the next at the earliest
    lr: float = 5e-3  # Adam
    batch: int = 64  # trials
    rate_target: float = 10.0  # Hz
    rate_strength: float = 2.0  # of ½ Σ (f − target)², f in spikes per step; published without the ½
    updates: int = 600  # batches
    sparse_updates: int = 2000  # batches, under Dale's law
    evaluate_every: int = 20  # updates between tests
    test_trials: int = 500  # always the same
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights, feedback and trials anew


LEARNED = 10.0  # %, error on the test trials below which the task counts as learned


def evidence_accumulation(config: Config = Config()) -> Experiment:
    """LIF and ALIF neurons, cues on two sides: random and symmetric e-prop, and BPTT; sparse ones under Dale's law: e-prop, MDGL, BPTT."""
    loud = (2 * config.units) ** 0.5  # random feedback is N(0, gain²/n): N(0, 1) as published
    rules = {
        "e-prop, random": bp.rule("eprop", feedback="random", gain=loud),
        "e-prop, symmetric": bp.rule("eprop"),
        "BPTT": bp.rule("bptt"),
        "sparse e-prop": bp.rule("eprop"),
        "sparse MDGL": bp.rule("mdgl"),
        "sparse BPTT": bp.rule("bptt"),
    }
    return Experiment(
        title="Evidence accumulation: spiking neurons count cues on two sides",
        arms={label: arm(config, rule, label.startswith("sparse")) for label, rule in rules.items()},
        seeds=config.seeds,
        table=table,
        by_seed=seeds,
        figures={"summary": summary, "sparse": sparse},
        expected="error below 10 % first at update 100–600 with e-prop, in every seed; at chance 50 %",
        references=("doi:10.1038/s41467-020-17236-y", "doi:10.1073/pnas.2111821118"),
    )


def arm(config: Config, rule, dale: bool) -> Arm:
    """A circuit in the convention of the e-prop code, all-to-all or sparse under Dale's law, with the task that it is given."""
    delay, updates = (config.sparse_delay, config.sparse_updates) if dale else (config.delay, config.updates)
    task = bp.task("evidence_accumulation", cues=config.cues, delay=delay, test_trials=config.test_trials)
    shared = {"threshold": config.threshold, "refractory": config.refractory, "tau_m": config.tau * bp.ms}
    shared["dampening"] = config.bptt_dampening if rule.name == "bptt" else config.dampening
    alif = bp.model("lsnn_alif", **shared, tau_a=config.tau_a * bp.ms, beta=config.beta)
    ends = {"inputs": task.inputs, "outputs": task.outputs, "tau_out": config.tau * bp.ms}
    if dale:
        sizes = {"units": config.sparse_units, "fan_in": config.fan_in}
        circuit = bp.circuit("excitatory_inhibitory", cell=alif, **sizes, **ends)
    else:
        cells = {"LIF": bp.model("lsnn_lif", **shared), "ALIF": alif}
        sizes = {"units": dict.fromkeys(cells, config.units), "gain": 0.5**0.5}  # each kind is half of what is heard
        circuit = bp.circuit("recurrent", cell=cells, **sizes, output_bias=False, **ends)
    names = ("lr", "batch", "rate_target", "rate_strength", "evaluate_every")
    return Arm(circuit, task, rule, Training(updates=updates, **{name: getattr(config, name) for name in names}))


def errors(results, begin: tuple[str, ...] = ("",)):
    """Error on the test trials in %, arm → (updates, (seed, update)), of arms whose names begin so."""
    right = results.curves("test_score").items()
    return {label: (at, (100 - 100 * r).round(9)) for label, (at, r) in right if label.startswith(begin)}


def seeds(results):
    """Of each seed the first test below 10 % error, the last and the best one."""
    import pandas

    rows = []
    for label, (updates, error) in errors(results).items():
        for run, row in zip(results[label], error, strict=True):
            learned = updates[row < LEARNED]
            first = learned[0] if len(learned) else np.nan
            ends = {"error at end (%)": row[-1], "least error (%)": row.min(), "rate (Hz)": run.final("rate")}
            rows.append({"arm": label, "seed": run.seed, "below 10 % at update": first, **ends})
    return pandas.DataFrame(rows)


def table(results):
    """In how many seeds the error came below 10 %, when it first did in those, what it was at the end, and the rate then."""
    rows, by_seed = results.table(("rate",)), seeds(results).groupby("arm", sort=False)
    first, end = by_seed["below 10 % at update"], by_seed["error at end (%)"]
    more = {"seeds below 10 %": first.count(), "first at update": first.mean()}
    more |= {"error at end (%)": end.mean(), "error s.e.m. (%)": end.sem()}
    for place, (name, values) in enumerate(more.items(), start=2):
        rows.insert(place, name, values.to_numpy())
    return rows.rename(columns={"rate": "rate (Hz)", "rate s.e.m.": "rate s.e.m. (Hz)"})


def summary(results):
    """Error over training; and a test trial in the first circuit that random e-prop trained: spikes, rates, what speaks for right."""
    trial = results["e-prop, random"][0].recordings.isel(batch=0)
    time, right = trial["time"].values, trial["output"].diff("unit_output").values[:, 0]
    spikes = {kind: trial[f"{kind}.spikes"].values for kind in ("LIF", "ALIF")}
    shown, group = bp.figures.averaged(errors(results, ("e-prop", "BPTT")))
    strokes = bp.figures.pens(shown)
    blue, orange, purple = (bp.figures.OKABE_ITO[name] for name in ("blue", "orange", "reddish purple"))
    with bp.figures.Sheet(bp.figures.DOUBLE, 110) as sheet:
        axes = sheet.subplots(2, 2)
        told = {"quantity": "Error", "unit": "%", "legend": False, "strokes": strokes}
        bp.figures.panels.learning(axes[0, 0], shown, most=None, **told)
        axes[0, 0].axhline(LEARNED, **bp.figures.GUIDE)
        bp.figures.panels.raster(axes[0, 1], np.concatenate([*spikes.values()], -1), time)
        for kind, colour in {"LIF": "black", "ALIF": purple}.items():
            bp.figures.panels.rate(axes[1, 0], spikes[kind], time, window=50.0, name=kind, colour=colour)
        axes[1, 0].legend(ncols=2, loc="lower right", bbox_to_anchor=(1.0, 1.0))
        bp.figures.panels.over_time(axes[1, 1], right, None, time, name="Right − left", unit="a.u.", legend=False)
        for ax in axes.flat[1:]:
            for side, (begin, end) in zip(trial["side"].values, trial["epoch_cue"].values, strict=True):
                ax.axvspan(begin, end, color=(blue, orange)[side], alpha=0.25, linewidth=0, zorder=0)
            ax.axvspan(*trial["epoch_recall"].values, color="black", alpha=0.12, linewidth=0, zorder=0)
        sheet.letter()
        sheet.key(shown, strokes=strokes, group=group)
        curves = {label: {"updates": updates, "error": values} for label, (updates, values) in shown.items()}
        return sheet.done({**spikes, "right": right, "time": time, "side": trial["side"].values} | curves)


def sparse(results):
    """Error over training of the sparse circuits."""
    if not any(label.startswith("sparse") for label in results):
        return results["sparse e-prop"]  # left out: not drawn
    return bp.figures.learning(errors(results, ("sparse",)), quantity="Error", unit="%", chance=50.0)
