"""A sparse network of excitatory and inhibitory neurons that fires irregularly and without rhythm; and it learns, by e-prop as it is.

The circuit is `brunel` (Brunel 2000, doi:10.1023/A:1008925309027). By its inhibition g and drive η the network is synchronous and regular
(SR), synchronous and irregular (SI) with a fast or a slow rhythm, or asynchronous and irregular (AI). What it does without input is measured,
beside the rate that the theory of white noise gives; then the network in the AI state learns to draw a sum of sines, and is measured once more.
"""

from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np

import bioplaus as bp
from bioplaus import Arm, Experiment, Training, ms
from bioplaus.measure.diffusion import self_consistent
from bioplaus.measure.spikes import firing, spontaneous


@dataclass(frozen=True)
class Config:
    excitatory: int = 10_000  # neurons, a quarter as many inhibitory ones; published
    settle: float = 300.0  # ms before anything is measured
    last: float = 1000.0  # ms that are measured
    sources: int = 1000  # excitatory ones of a neuron, published; in smaller networks too, which are denser then
    map_excitatory: int = 4000  # neurons of the networks of the map
    map_last: float = 200.0  # ms that are measured of each
    inhibition: tuple[float, ...] = (3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0)  # g of the map
    drive: tuple[float, ...] = (0.9, 1.5, 2.0, 3.0, 4.0)  # η of the map
    steps: int = 1000  # of 0.1 ms, a trial
    inputs: int = 100  # Poisson inputs of 50 Hz, the same spikes in every trial
    tau_out: float = 20.0  # ms, readout
    updates: int = 6  # trials
    lr: float = 5e-5  # Adam, all synapses, which are 0.005 and −0.025 at first; v is in units of the threshold
    readout_lr: float = 0.006  # Adam, readout
    seeds: tuple[int, ...] = (0,)  # each draws synapses, weights and background anew


#: what Brunel shows an example of: g, η, and the rate of his simulation (Hz)
REGIMES = {"SR": (3.0, 2.0, np.nan), "SI fast": (6.0, 4.0, 60.7), "AI": (5.0, 2.0, 37.7), "SI slow": (4.5, 0.9, 5.5)}
DT, SHOWN = 0.1, 1000  # ms of a step; steps of a raster


def balanced_network(config: Config = Config()) -> Experiment:
    """Four regimes of Brunel's network; and the AI state learns by e-prop: all of the network, or the readout alone."""
    task = bp.task("pattern_generation", steps=config.steps, inputs=config.inputs, dt=1e-4, cycles=(1, 2))
    rule = bp.rule("eprop", feedback="symmetric", schedule=bp.Window(500))
    training = Training(updates=config.updates, batch=1, lr=config.lr, readout_lr=config.readout_lr, backend="numba")
    short = bp.task("pattern_generation", steps=20, inputs=config.inputs, dt=1e-4, cycles=(1, 2))
    still = replace(training, updates=0)
    made = {name: circuit(config, config.excitatory, g, eta) for name, (g, eta, _) in REGIMES.items()}
    arms = {name: Arm(each, short, rule, still) for name, each in made.items()}
    learners = {"AI, e-prop": training, "AI, readout alone": replace(training, lr=0.0)}
    arms |= {name: Arm(made["AI"], task, rule, each) for name, each in learners.items()}
    spikes = cache(lambda run: spontaneous(run.network, "E", config.settle, config.last))  # of a network as it ended
    return Experiment(
        title="Balanced network: asynchronous, irregular, and it learns",
        arms=arms,
        seeds=config.seeds,
        table=lambda results: table(results, arms, cache(lambda run: firing(spikes(run), DT))),
        figures={"regimes": partial(regimes, spikes), "map": lambda _: at_every_point(config), "learning": learning},
        expected="rates near the theory in AI and SI, irregular in both; regular and together in SR; the loss of both learners falls",
        references=("doi:10.1023/A:1008925309027", "doi:10.1038/s41467-020-17236-y"),
    )


def circuit(config, excitatory, g, eta):
    """Brunel's network; of any size with as many sources, by which the theory's rate goes."""
    sizes = {"excitatory": excitatory, "sparseness": config.sources / excitatory, "jump": 5 / config.sources}
    lines = {"inputs": config.inputs, "input_gain": config.inputs**0.5, "outputs": 1, "tau_out": config.tau_out * ms}
    return bp.circuit("brunel", g=g, eta=eta, **sizes, **lines)


def theory(made):
    """Hz at which neurons of such a circuit fire if what arrives is white noise."""
    within = tuple((p.fan_in, p.sign * p.gain / p.fan_in) for p in made.projections if p.name in ("W_EE", "W_EI"))
    outside = made.populations["E"].background["v"]
    given = ((outside.n * outside.rate, outside.weight),)
    return self_consistent(within, given, tau=0.02, threshold=1.0, reset=0.5, refractory=0.002)


def table(results, arms, seen):
    """One row a network: what it does without input as it ended, beside the theory, and its loss in the first and the last trial; means over seeds."""
    rows, nan = results.table(()).iloc[:, :2], float("nan")
    for of, title in TITLES.items():
        rows[title] = [float(np.mean([getattr(seen(run), of) for run in results[name]])) for name in rows["arm"]]
    rows["theory (Hz)"] = [theory(arms[name].circuit) for name in rows["arm"]]
    rows["published (Hz)"] = [REGIMES.get(name, (nan,))[-1] for name in rows["arm"]]
    loss = {name: values.mean(0) for name, (_, values) in results.curves("loss").items()}
    for title, i in (("loss at first", 0), ("loss at the end", -1)):
        rows[title] = [float(loss[name][i]) if name in loss else nan for name in rows["arm"]]
    return rows


TITLES = {"rate": "rate (Hz)", "cv": "CV", "correlation": "correlation", "modulation": "modulation", "rhythm": "rhythm (Hz)"}  # fmt: skip
LABELS = {"rate": "Rate (Hz)", "cv": "CV of intervals (ratio)", "modulation": "Modulation (ratio)"}


def regimes(spikes, results):
    """Fifty neurons and the rate of all excitatory ones in each regime."""
    shown = {name: spikes(results[name][0])[:SHOWN] for name in REGIMES}
    with bp.figures.Sheet(bp.figures.DOUBLE, 80) as sheet:
        axes = sheet.subplots(2, len(shown), gridspec_kw={"height_ratios": (2, 1)})
        for (raster, rate), (name, z) in zip(axes.T, shown.items(), strict=True):
            bp.figures.panels.raster(raster, z[:, :50], DT * np.arange(len(z)))
            bp.figures.panels.rate(rate, z, DT * np.arange(len(z)), window=1.0)
            raster.set_title(f"{name}, g={REGIMES[name][0]:g}, η={REGIMES[name][1]:g}")
            sheet.stack((raster, rate))
        for ax in axes[:, 1:].flat:
            ax.set_ylabel("")
        sheet.letter()
        return sheet.done({name: {"spikes": z[:, :50], "spikes of all": z.sum(1)} for name, z in shown.items()})


def at_every_point(config):
    """What smaller networks do at every g and η."""
    found = []
    for eta in config.drive:
        network = circuit(config, config.map_excitatory, 1.0, eta).build(seed=0)
        one = {name: network.weights[name].clone() for name in ("W_EI", "W_II")}
        for g in config.inhibition:
            network.load({name: g * W for name, W in one.items()})
            found.append(firing(spontaneous(network, "E", config.settle, config.map_last), DT))
    shape = len(config.drive), len(config.inhibition)
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
    """Loss over trials; and what networks that learned by e-prop draw in the end."""
    curves = results.curves("loss")
    strokes = bp.figures.pens(curves)
    with bp.figures.Sheet(bp.figures.DOUBLE, 60) as sheet:
        left, *others = sheet.subplots(1, 3)
        bp.figures.panels.learning(left, curves, log=True, legend=False, strokes=strokes)
        for ax, label in zip(others, ("AI, readout alone", "AI, e-prop"), strict=True):
            trial = results[label][0].recordings.isel(batch=0)
            output, target = (trial[of].values[:, 0] for of in ("output", "target"))
            bp.figures.panels.over_time(ax, output, target, trial["time"].values)
            ax.set_title(label)
        sheet.letter()
        sheet.key(curves, strokes=strokes)
        return sheet.done(bp.figures.table(loss=curves))
