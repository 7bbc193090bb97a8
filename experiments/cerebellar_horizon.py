"""What a cerebellum adds to truncated credit, by how short that is: naming a digit, drawing a line for it, drawing it.

The rows of a small digit are shown one after another, each for some steps; asked for is its name at the end, or, at every fourth step, a point on a line
whose direction says which digit it is, or on the strokes that write it (Boven et al. 2023). The cortex, LSTM units, learns from windows of K steps:
truncated BPTT, or with what a cerebellum predicts beyond the window (n-step synthetic gradients, n = K), of which a tenth is used. Reported is that
the gain is largest where K is about a tenth of the sequence, and shrinks as K grows. Beside them BPTT through the whole sequence.
"""

from dataclasses import dataclass

import numpy as np

import bioplaus as bp
from bioplaus import Arm, Experiment, Training


@dataclass(frozen=True)
class Config:
    asks: tuple[str, ...] = ("name", "line", "drawing")  # what is asked for
    windows: tuple[int, ...] = (1, 2, 4, 8)  # K, steps, of T; a tenth of T is 1.6
    hold: int = 2  # steps for which a row is shown: T = 8·hold
    units: int = 30  # LSTM units, as published; weights U(±1/√N)
    hidden: tuple[int, ...] = (300,)  # rectified units of the cerebellum, as published
    factor: float = 0.1  # how much of a prediction is used, by the cortex and in the next target, as published
    batch: int = 50  # images
    lr: float = 3e-3  # Adam, cortex and readout
    predictor_lr: float = 1e-3  # Adam, cerebellum
    clip: float = 1.0  # largest gradient norm, cortex and cerebellum each
    updates: int = 300  # batches
    evaluate_every: int = 20  # updates between tests
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)  # each draws weights and images anew


WHOLE = "BPTT"


def cerebellar_horizon(config: Config = Config()) -> Experiment:
    """Truncated BPTT with and without synthetic gradients, over windows, on three tasks of digits."""
    names = ("updates", "batch", "lr", "predictor_lr", "clip", "evaluate_every")
    training = Training(**{name: getattr(config, name) for name in names})
    g = bp.predictor("mlp", hidden=config.hidden)
    told = {"predictor": g, "injection": config.factor, "discount": config.factor}
    arms = {}
    for ask in config.asks:
        task = bp.task("drawn_digits", ask=ask, hold=config.hold)
        sizes = {"inputs": task.inputs, "units": config.units, "outputs": task.outputs}
        gain = (task.inputs / config.units) ** 0.5
        circuit = bp.circuit("recurrent", cell="lstm", init="uniform", input_gain=gain, **sizes)
        for K in config.windows:
            arms[f"{ask}, without, K={K}"] = Arm(circuit, task, bp.rule("tbptt", steps=K), training)
            arms[f"{ask}, with, K={K}"] = Arm(circuit, task, bp.rule("dni", steps=K, **told), training)
        arms[f"{ask}, {WHOLE}"] = Arm(circuit, task, bp.rule("bptt"), training)
    return Experiment(
        title="Cerebellar horizon: what a cerebellum adds to truncated credit",
        arms=arms,
        seeds=config.seeds,
        table=table,
        figures={"gain": figure},
        expected="the loss falls as K grows, towards that of BPTT, with and without a cerebellum; no gain that is sure, on drawings a loss at small K",
        references=("doi:10.1038/s41467-022-35658-8", "arXiv:1608.05343"),
    )


def parted(label: str) -> tuple[str, str, int]:
    """Task, with or without or BPTT, and K, 0 for none."""
    ask, kind, *window = label.split(", ")
    return ask, kind, int(window[0].removeprefix("K=")) if window else 0


def gains(results) -> dict[str, np.ndarray]:
    """Arm with a cerebellum → (seed,): by which part of its loss the one without, of the same task and window, is better off with it, in %."""
    ends, found = results.late("test_loss"), {}
    for label in results:
        ask, kind, K = parted(label)
        other = f"{ask}, without, K={K}"
        if kind == "with" and other in results:
            seeds = {run.seed: loss for run, loss in zip(results[other], ends[other], strict=True)}
            pairs = [(seeds[r.seed], e) for r, e in zip(results[label], ends[label], strict=True) if r.seed in seeds]
            found[label] = np.array([100 * (without - loss) / without for without, loss in pairs])
    return found


def table(results):
    """Loss and score at the end, and each arm with a cerebellum against the same without, seed by seed."""
    rows, found = results.table(()), gains(results)
    loss, score = results.late("test_loss"), results.late("test_score")
    twin = {label: label.replace(", with,", ", without,") for label in results}
    columns = {
        "loss": [loss[label].mean() for label in results],
        "score": [score[label].mean() for label in results],
        "gain (%)": [found[label].mean() if label in found else np.nan for label in results],
        "loss − without": [results.against(loss, label, twin[label]) for label in results],
    }
    for place, (name, values) in enumerate(columns.items()):
        rows.insert(2 + place, name, values)
    return rows


def figure(results):
    """Loss over K with and without, and the gain, a row of panels for each; dotted: BPTT."""
    ends, found = results.late("test_loss"), gains(results)
    asks = list(dict.fromkeys(parted(label)[0] for label in results))
    hues = {"without": bp.figures.OKABE_ITO["blue"], "with": bp.figures.OKABE_ITO["vermillion"]}
    with bp.figures.Sheet(bp.figures.DOUBLE, 95) as sheet:
        axes, lines = sheet.subplots(2, len(asks), squeeze=False, sharex=True), {}
        for (top, below), ask in zip(axes.T, asks, strict=True):
            for kind, hue in hues.items():
                mine = {K: ends[f"{ask}, {kind}, K={K}"] for a, k, K in map(parted, results) if (a, k) == (ask, kind)}
                for K, each in mine.items():
                    top.plot(np.full(len(each), K), each, "o", color=hue, markersize=1.8, alpha=0.5)
                (lines[kind],) = top.plot(list(mine), [each.mean() for each in mine.values()], "D-", color=hue, markersize=2.5)  # fmt: skip
            if (bptt := f"{ask}, {WHOLE}") in ends:
                top.axhline(ends[bptt].mean(), **bp.figures.GUIDE)
            gained = {parted(label)[2]: each for label, each in found.items() if parted(label)[0] == ask}
            for K, each in gained.items():
                below.plot(np.full(len(each), K), each, "o", color="black", markersize=1.8, alpha=0.4)
            below.plot(list(gained), [each.mean() for each in gained.values()], "D-", color="black", markersize=2.5)
            below.axhline(0, **bp.figures.GUIDE)
            top.set(title=ask, ylabel="Test loss (a.u.)" if ask != "name" else "Test loss (nats)")
            below.set(xlabel="K (steps)", ylabel="Gain (% of the loss)", xscale="log")
            below.set_xticks(list(gained), [str(K) for K in gained])
            below.minorticks_off()
        sheet.letter()
        sheet.explain(lines, "mean and each seed; dotted: BPTT")
        return sheet.done({label: {"loss": ends[label], "gain": found.get(label, np.array([]))} for label in results})
