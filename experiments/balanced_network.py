"""A sparse network of excitatory and inhibitory neurons that fires irregularly and without rhythm; and it learns, by e-prop as it is.

The circuit is `brunel` (Brunel 2000, doi:10.1023/A:1008925309027). By its inhibition g and drive η it is synchronous and regular (SR), synchronous
and irregular (SI) with a fast or a slow rhythm, or asynchronous and irregular (AI). What it does without input is measured, beside the rate that
the theory of white noise gives. From the AI state it learns to draw a sum of sines, by its readout alone or by e-prop too.
"""

from copy import copy
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product

import numpy as np

import bioplaus as bp
from bioplaus import Arm, Experiment, Training, ms
from bioplaus.analysis.diffusion import self_consistent
from bioplaus.analysis.spike_statistics import firing, spontaneous


@dataclass(frozen=True)
class Config:
    excitatory: int = 10_000  # neurons, a quarter as many inhibitory ones; published
    settle: float = 200.0  # ms before anything is measured
    last: float = 1000.0  # ms that are measured
    sources: int = 1000  # excitatory ones of a neuron, published; in smaller networks too, which are denser then
    map_excitatory: int = 4000  # neurons of the networks of the map
    map_last: float = 200.0  # ms that are measured of each
    inhibition: tuple[float, ...] = (3.0, 3.5, 4.0, 4.5, 5.0, 6.0)  # g of the map
    drive: tuple[float, ...] = (0.9, 1.5, 2.0, 4.0)  # η of the map
    steps: int = 1000  # of 0.1 ms, a trial
    inputs: int = 100  # Poisson inputs of 50 Hz, the same spikes in every trial
    updates: int = 20  # trials
    lr: float = 1e-4  # Adam, synapses onto excitatory neurons, which are 0.005 and −0.025 at first; v is in units of the threshold
    readout_lr: float = 0.006  # Adam, readout
    seeds: tuple[int, ...] = (0, 1, 2)  # each draws synapses, weights and background anew


ALONE, ALL = "AI, readout alone", "AI, e-prop"  # the network of the first stays as it was drawn
#: what Brunel shows an example of (his figure 8): g, η, and the rate of his simulation (Hz), as others quote it
REGIMES = {"SR": (3.0, 2.0, np.nan), "SI fast": (6.0, 4.0, 60.7), ALONE: (5.0, 2.0, 37.7), "SI slow": (4.5, 0.9, 5.5)}
LEARNED = {ALONE: (), ALL: ("W_in", "W_EE", "W_EI")}  # onto excitatory neurons: the readout sees no others
DT, SHOWN, LAST = 0.1, 1000, 5  # ms of a step; steps of a raster; trials whose loss is told


def balanced_network(config: Config = Config()) -> Experiment:
    """Four regimes of Brunel's network; and the AI state learns, by its readout alone or by e-prop too."""
    task = bp.task("pattern_generation", steps=config.steps, inputs=config.inputs, dt=1e-4, cycles=(1, 2))
    rule = bp.rule("eprop", feedback="symmetric", schedule=bp.Window())
    training = Training(updates=config.updates, batch=1, lr=config.lr, readout_lr=config.readout_lr, backend="numba")
    short = bp.task("pattern_generation", steps=20, inputs=config.inputs, dt=1e-4, cycles=(1, 2))
    made, still = partial(circuit, config, config.excitatory), replace(training, updates=0)
    arms = {name: Arm(made(g, eta), short, rule, still) for name, (g, eta, _) in REGIMES.items()}
    arms |= {name: Arm(made(*REGIMES[ALONE][:2], some), task, rule, training) for name, some in LEARNED.items()}
    seen = cache(partial(observe, config))
    return Experiment(
        title="Balanced network: asynchronous, irregular, and it learns",
        arms=arms,
        seeds=config.seeds,
        table=lambda results: table(results, arms, seen),
        figures={"regimes": partial(regimes, seen), "map": lambda _: at_every_point(config), "learning": learning},
        expected="rates near the theory in AI and SI, irregular in both; regular and together in SR; loss 45–60 by the readout alone, 36–44 by e-prop",
        references=("doi:10.1023/A:1008925309027", "doi:10.1038/s41467-020-17236-y"),
    )


def circuit(config, excitatory, g, eta, learned=()):
    """Brunel's network; of any size with as many sources, by which the theory's rate goes."""
    sizes = {"excitatory": excitatory, "sparseness": config.sources / excitatory, "jump": 5 / config.sources}
    lines = {"inputs": config.inputs, "input_gain": config.inputs**0.5, "outputs": 1, "tau_out": 20 * ms}
    made = bp.circuit("brunel", g=g, eta=eta, **sizes, **lines)
    return replace(made, projections=tuple(replace(p, learned=p.name in learned) for p in made.projections))


def observe(config, run):
    """What a network does without input as it ended; and its first spikes."""
    z = spontaneous(copy(run).network, "E", config.settle, config.last)  # of a copy: no run holds its network
    return firing(z, DT), z[:SHOWN].copy()


def theory(made):
    """Hz at which neurons of such a circuit fire if what arrives is white noise."""
    within = tuple((p.fan_in, p.sign * p.gain / p.fan_in) for p in made.projections if p.name in ("W_EE", "W_EI"))
    outside = [(each.n * each.rate, each.weight) for each in made.populations["E"].background.values()]
    return self_consistent(within, outside, tau=0.02, threshold=1.0, reset=0.5, refractory=0.002)


def table(results, arms, seen):
    """One row a network: what it does without input as it ended, beside the theory, and its loss in the first and the last trials; means over seeds."""
    rows, nan = results.table(()).iloc[:, :2], float("nan")
    for of, title in TITLES.items():
        rows[title] = [float(np.mean([getattr(seen(run)[0], of) for run in results[name]])) for name in rows["arm"]]
    rows["theory (Hz)"] = [theory(arms[name].circuit) if name in REGIMES else nan for name in rows["arm"]]
    rows["published (Hz)"] = [REGIMES.get(name, (nan,))[-1] for name in rows["arm"]]
    loss = {name: values.mean(0) for name, (_, values) in results.curves("loss").items()}
    for title, trials in (("loss at first", slice(1)), (f"loss, last {LAST}", slice(-LAST, None))):
        rows[title] = [float(loss[name][trials].mean()) if name in loss else nan for name in rows["arm"]]
    return rows


TITLES = {"rate": "rate (Hz)", "cv": "CV", "correlation": "correlation", "modulation": "modulation", "rhythm": "rhythm (Hz)"}  # fmt: skip
LABELS = {"rate": "Rate (Hz)", "cv": "CV of intervals (ratio)", "modulation": "Modulation (ratio)"}


def regimes(seen, results):
    """Fifty neurons and the rate of all excitatory ones in each regime."""
    shown = {name: seen(results[name][0])[1] for name in REGIMES}
    with bp.figures.Sheet(bp.figures.DOUBLE, 80) as sheet:
        axes = sheet.subplots(2, len(shown), gridspec_kw={"height_ratios": (2, 1)})
        for (raster, rate), (name, z) in zip(axes.T, shown.items(), strict=True):
            bp.figures.panels.raster(raster, z[:, :50], DT * np.arange(len(z)))
            bp.figures.panels.rate(rate, z, DT * np.arange(len(z)), window=1.0)
            raster.set_title(f"{name.partition(',')[0]}, g={REGIMES[name][0]:g}, η={REGIMES[name][1]:g}")
            sheet.stack((raster, rate))
        for ax in axes[:, 1:].flat:
            ax.set_ylabel("")
        sheet.letter()
        return sheet.done({name: {"spikes": z[:, :50], "spikes of all": z.sum(1)} for name, z in shown.items()})


def at_every_point(config):
    """What smaller networks do at every g and η."""
    shape, places = (len(config.drive), len(config.inhibition)), product(config.drive, config.inhibition)
    networks = (circuit(config, config.map_excitatory, g, eta).build(seed=0) for eta, g in places)
    found = [firing(spontaneous(each, "E", config.settle, config.map_last), DT) for each in networks]
    values = {of: np.reshape([getattr(each, of) for each in found], shape) for of in LABELS}
    with bp.figures.Sheet(bp.figures.DOUBLE, 55) as sheet:
        for ax, of in zip(sheet.subplots(1, 3), LABELS, strict=True):
            image = ax.pcolormesh(values[of], cmap="cividis", norm="log" if of == "rate" else "linear")
            sheet.colorbar(image, ax=ax, label=LABELS[of])
            ax.set_xticks(np.arange(shape[1]) + 0.5, [f"{g:g}" for g in config.inhibition])
            ax.set_yticks(np.arange(shape[0]) + 0.5, [f"{eta:g}" for eta in config.drive])
            ax.set(xlabel="Inhibition, g (ratio)", ylabel="Drive, η (ratio)")
        sheet.letter()
        return sheet.done({**values, "g": np.array(config.inhibition), "eta": np.array(config.drive)})


def learning(results):
    """Loss over trials; and what is drawn in the end, beside the target (broken)."""
    strokes = bp.figures.pens(curves := results.curves("loss"))
    with bp.figures.Sheet(bp.figures.DOUBLE, 60) as sheet:
        left, *others = sheet.subplots(1, 3)
        bp.figures.panels.learning(left, curves, log=True, legend=False, strokes=strokes)
        for ax, label in zip(others, LEARNED, strict=True):
            trial = results[label][0].recordings.isel(batch=0, unit_output=0)
            shown = (trial[of].values for of in ("output", "target", "time"))
            bp.figures.panels.over_time(ax, *shown, name=label[4:], legend=False)
        sheet.letter()
        sheet.key(curves, strokes=strokes)
        return sheet.done(bp.figures.table(loss=curves))
