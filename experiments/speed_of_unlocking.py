"""Does it save time not to wait for credit? Layers that do (backpropagation) beside layers that take a prediction for it (Jaderberg et al. 2017, arXiv 1608.05343).

Bisong (2017) reports in an abstract training "over 3-fold faster" by synthetic gradients. Four things are told apart here: how much there is to compute;
the time an update takes in one process; the same with each layer in a process of its own; and what would be left if every layer had a processor and
messages took no time.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas

import bioplaus as bp
from bioplaus import Experiment, Training


@dataclass(frozen=True)
class Config:
    sizes: tuple[int, ...] = (784, 256, 256, 256, 10)  # of the input and every layer
    hidden: tuple[int, ...] = (1024, 1024)  # of the large predictor
    batch: int = 100  # samples of an update
    updates: int = 300  # timed in one process
    apart: int = 300  # timed with a process for each layer
    seeds: tuple[int, ...] = (0, 1, 2)  # each draws weights and samples, and takes the time, anew


def speed_of_unlocking(config: Config = Config()) -> Experiment:
    """Backpropagation, and synthetic gradients without and with the label, linear and of two layers."""
    from bioplaus.measure.unlocked import Layers
    from bioplaus.runs.timed import Timed

    methods: dict[str, dict[str, Any]] = {"BP": {"method": "BP"}, "DNI": {"method": "DNI"}, "cDNI": {"method": "cDNI"}}
    methods[f"cDNI {'×'.join(map(str, config.hidden))}"] = {"method": "cDNI", "hidden": config.hidden}
    training = Training(updates=config.updates, batch=config.batch, lr=Layers.rate, optimiser="sgd")
    made = {name: Layers(sizes=config.sizes, batch=config.batch, **how) for name, how in methods.items()}
    arms: dict[str, Any] = {name: Timed(layers, training, config.apart) for name, layers in made.items()}
    return Experiment(
        title="The speed of unlocking: work, one process, a process each, ideal latency",
        arms=arms,
        seeds=config.seeds,
        table=lambda results: table(results, made),
        by_seed=seeds,
        figures={"speed": lambda results: figure(results, made)},
        expected="one process: BP fastest, DNI and cDNI 1.5 to 2 times as long, with the large predictor more than 10 times; ideal latency: BP 1.5 times that of DNI and cDNI; nowhere 3",
        references=("arXiv:1608.05343", "Bisong 2017 (abstract)"),
    )


#: what is measured, and what is counted, of an update; all four as a multiple of backpropagation's speed, too
MEASURED = {
    "one process": "ms",
    "process each": "ms by the clock",
    "processor each": "ms, from each process's CPU time",
}
COUNTED = {"work": "10⁶ multiply-adds", "ideal latency": "10⁶ multiply-adds"}


def seeds(results):
    """Of every run: the time of the fastest tenth of updates in one process, the others as they were measured, and losses."""
    rows = []
    for label, runs in results.items():
        for run in runs:
            m, row = run.metrics, {"arm": label, "seed": run.seed}
            row["one process"] = float(np.quantile(m["one process"], 0.1))
            row |= {name: run.final(name) for name in ("process each", "processor each", "processors")}
            rows.append(row | {"loss at first": m["loss"].iloc[0], "loss at the end": m["loss"].iloc[-1]})
    return pandas.DataFrame(rows)


def table(results, made):
    """Medians over seeds; work and latency counted; and each as how many times faster than backpropagation (below 1: slower)."""
    rows = []
    for label, each in seeds(results).groupby("arm", sort=False):
        layers = made[label]
        row = {"arm": label, "n": len(each), "work": sum(layers.work) / 1e6, "ideal latency": layers.latency / 1e6}
        row |= {name: each[name].median() for name in MEASURED}
        row["range over seeds, process each"] = f"{each['process each'].min():.3g}–{each['process each'].max():.3g}"
        rows.append(row | {"processors": int(np.min(each["processors"]))})
    found = pandas.DataFrame(rows)
    if "BP" in results:
        for name in ("work", *MEASURED, "ideal latency"):
            found[f"times faster, {name}"] = found.set_index("arm")[name]["BP"] / found[name]
    return found


def figure(results, made):
    """How many times faster than backpropagation, by what is told apart; each seed against backpropagation's median."""
    results["BP"]  # what all others are held against
    found, apart = table(results, made).set_index("arm"), seeds(results).groupby("arm", sort=False)
    pens, drawn = bp.figures.pens(found.index), {}
    kinds = ("work", *MEASURED, "ideal latency")
    with bp.figures.Sheet(bp.figures.DOUBLE, 62) as sheet:
        ax = sheet.subplots(1, 1)
        for k, (label, row) in enumerate(found.to_dict("index").items()):
            at = np.arange(len(kinds)) + 0.12 * (k - (len(found) - 1) / 2)
            drawn[label] = np.array([found.loc["BP", kind] / row[kind] for kind in kinds])
            ax.plot(at, drawn[label], "D", color=pens[label].colour, markersize=3, label=label)
            for x, kind in zip(at, kinds, strict=True):
                if kind in MEASURED:
                    values = np.asarray(apart.get_group(label)[kind])
                    faster = found.loc["BP", kind] / values
                    ax.plot(np.full(len(values), x), faster, ".", color=pens[label].colour, alpha=0.5)
        ax.axhline(3, **bp.figures.GUIDE)
        ax.set(ylabel="Times faster than BP (ratio)", yscale="log")
        ax.set_xticks(range(len(kinds)), [f"{kind} ({'counted' if kind in COUNTED else 'measured'})" for kind in kinds])
        ax.legend()
        return sheet.done(drawn)
