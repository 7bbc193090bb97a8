"""Errors that come late: the delay of the climbing-fibre loop against the peak of the parallel fibres' trace.

An error reaches the synapses when the parallel fibres that it is about have long said something else. A trace of each that rises and falls, highest
100 ms later in Bouvier et al. 2018 (doi:10.7554/eLife.31599), may let it meet what it is about. How near do predictions come to the true gradient of
a fixed random cortex that sees pulses, by delay and peak? The trace has an area of 1 whatever its peak, and is the wider the later it peaks.
"""

from dataclasses import dataclass

import pandas

import bioplaus as bp
from bioplaus import Arm, Experiment, Training, ms


@dataclass(frozen=True)
class Config:
    delays: tuple[int, ...] = (0, 100, 200)  # ms, from an error to its arrival at the synapses
    peaks: tuple[int, ...] = (0, 50, 100, 200, 400)  # ms, of the trace; a matched one for every delay
    dt: int = 10  # ms
    steps: int = 60  # of a trial
    pulses: float = 0.05  # probability of a pulse on each of three channels, in a step
    units: int = 20  # leaky tanh units, τ = 100 ms, weights normal; fixed
    active: float = 0.5  # fraction of the granule cells, of which each hears 4 of 80 mossy fibres
    updates: int = 200  # batches of 10
    predictor_lr: float = 3e-3  # Adam, Purkinje cells, interneurons and nuclei
    golgi_lr: float = 1e-2  # Adam, thresholds
    align_every: int = 10  # updates between comparisons with the true gradient
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws weights, wiring and trials anew


def cerebellar_trace(config: Config = Config()) -> Experiment:
    """Every delay with every peak, granule cells with signed weights, taught by graded errors."""
    c, arms = config, {}
    task = bp.task("flip_flop", steps=c.steps, pulse_probability=c.pulses)
    cell, sizes = bp.model("leaky_rate", tau=100 * ms), {"inputs": task.inputs, "outputs": task.outputs}
    cortex = bp.circuit("recurrent", cell=cell, units=c.units, dt=c.dt * ms, **sizes)
    rates = {"default": 0.0, "predictor": c.predictor_lr, "cerebellum.golgi": c.golgi_lr}
    training = Training(updates=c.updates, batch=10, lr=rates, align_every=c.align_every)
    for delay in c.delays:
        for peak in c.peaks:
            times = {"delay_back": delay // c.dt, "peak": peak // c.dt}  # in steps
            cerebellum = bp.predictor("granule", active=c.active, plastic_nuclei=True, **times)
            rule = bp.rule("bp_lambda", predictor=cerebellum, trace="bump")
            arms[f"delay {delay} ms, peak {peak} ms"] = Arm(cortex, task, rule, training)
    return Experiment(
        title="Late errors and the trace that waits for them",
        arms=arms,
        seeds=c.seeds,
        table=table,
        by_seed=seeds,
        figures={"peaks": figure},
        expected="late errors: a peak well before them is worse than one at them; one after them costs little",
        references=("doi:10.7554/eLife.31599", "arXiv:2401.07044"),
    )


def parted(label: str) -> tuple[int, int]:
    """``"delay 100 ms, peak 50 ms"`` → 100, 50."""
    words = label.split()
    return int(words[1]), int(words[4])


def seeds(results):
    """Of each run the mean cosine over the second half of the updates, and the length of what is said over that of the truth."""
    cosines, lengths, rows = results.curves("prediction"), results.curves("prediction_ratio"), []
    for label, runs in results.items():
        late = [values[1][:, values[1].shape[1] // 2 :] for values in (cosines[label], lengths[label])]
        for run, cosine, length in zip(runs, *late, strict=True):
            delay, peak = parted(label)
            row = {"arm": label, "seed": run.seed, "delay (ms)": delay, "peak (ms)": peak}
            rows.append(row | {"cosine": cosine.mean(), "norm ratio": length.mean()})
    return pandas.DataFrame(rows)


def table(results):
    """Means over seeds, and each peak against the one that is as late as the errors are, pair by pair."""
    rows, found = results.table(()), dict(iter(seeds(results).groupby("arm")))
    for i, label in enumerate(rows["arm"]):
        each, matched = found[label], "delay {0} ms, peak {0} ms".format(parted(label)[0])
        rows.loc[i, ["cosine", "s.e.m.", "norm ratio"]] = [
            each["cosine"].mean(),
            each["cosine"].sem(),
            each["norm ratio"].mean(),
        ]
        pair = matched in found and matched != label
        told = bp.analysis.paired(each["cosine"], found[matched]["cosine"]) if pair else "–"
        rows.loc[i, "this − matched"] = str(told)
    return rows


def figure(results):
    """Cosine by the trace's peak, a curve for each delay: mean, and all seeds; a circle where peak and delay are the same."""
    frame = seeds(results)
    delays, peaks = (sorted(frame[name].unique()) for name in ("delay (ms)", "peak (ms)"))
    shades = dict(zip(delays, ("#A3CCE3", "#0072B2", "#00395A"), strict=False))
    with bp.figures.Sheet(bp.figures.SINGLE, 66) as sheet:
        ax, lines = sheet.subplots(), {}
        for delay in delays:
            each = frame[frame["delay (ms)"] == delay].pivot(index="peak (ms)", columns="seed", values="cosine")
            at, colour = [peaks.index(peak) for peak in each.index], shades.get(delay, "#777777")
            ax.plot(at, each, color=colour, linewidth=0.4, alpha=0.7)
            (lines[f"errors {delay} ms late"],) = ax.plot(at, each.mean(axis=1), color=colour)
            if delay in each.index:
                ax.plot(peaks.index(delay), each.loc[delay].mean(), "o", color=colour, markersize=5)
        ax.set_xticks(range(len(peaks)), peaks)
        ax.set(xlabel="Peak of the trace (ms)", ylabel="Cosine of prediction and true gradient")
        sheet.explain(lines)
        return sheet.done(frame)
