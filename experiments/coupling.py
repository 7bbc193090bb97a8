"""Cortex and cerebellum while they learn: how their activity goes together, and along how many directions each varies.

A cortex of LSTM units learns seven targets with a cerebellum of granule cells that predicts gradients (the setting of `cerebellar_target_reaching`).
Every so often the seven test trials are shown, and two things are measured of the rates of each part, over all steps and trials: the mean absolute
correlation of its units with the cortex's (coupling), and the participation ratio (dimension). Boven et al. 2023 (abstract) predict
representations that go together over learning. Beside it a cerebellum that learns and is not heard, one whose cortex does not learn, and one with another active fraction.
"""

from dataclasses import dataclass
from functools import partial

import bioplaus as bp
from bioplaus import Arm, Experiment, Training


@dataclass(frozen=True)
class Config:
    length: float = 10.0  # of a line
    cue: float = 0.1  # difference of neighbouring cues
    every: int = 2  # steps from one that is asked to the next
    units: int = 50  # LSTM units; weights U(±1/√N)
    factor: float = 0.1  # how much of a prediction is used, by the cortex and in the next target
    active: float = 0.5  # part of granule cells that is active
    sparse: float = 0.1  # the same in another arm
    batch: int = 50  # trials
    lr: float = 1e-3  # Adam, everything
    updates: int = 500  # batches
    evaluate_every: int = 20  # updates between two looks
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)  # each draws weights and trials anew


#: what is recorded of the cerebellum → what it is called
PARTS = {"pons": "mossy fibres", "granule": "granule cells", "purkinje": "Purkinje cells", "nuclei": "nuclei"}
CORTEX, USUAL, APART = "cortex", "whole", "not heard"


class Watched(Arm):
    """An arm whose tests also look at the activity of cortex and cerebellum."""

    def begin(self, seed):
        return Watching(self.circuit, self.task, self.rule, self.training, seed)


class Watching(bp.Trainer):
    """A trainer whose metrics hold ``dimension_…`` of every part, and ``coupling_…`` with the cortex."""

    def evaluate(self):
        paths = {part: f"cerebellum.{part}" for part in PARTS}
        seen = self.record(["rate", *paths.values()])
        row = super().evaluate() | {f"dimension_{CORTEX}": bp.analysis.dimension(seen, "rate")}
        for part, path in paths.items():
            row |= {f"dimension_{part}": bp.analysis.dimension(seen, path)}
            row |= {f"coupling_{part}": bp.analysis.coupling(seen, "rate", path)}
        return row


def coupling(config: Config = Config()) -> Experiment:
    """A granule layer that predicts gradients: whole, not heard, sparse, and beside a cortex that does not learn."""
    task = bp.task("lines", length=config.length, cue=config.cue, every=config.every)
    gain = (task.inputs / config.units) ** 0.5
    sizes = {"inputs": task.inputs, "units": config.units, "outputs": task.outputs}
    circuit = bp.circuit("recurrent", cell="lstm", init="uniform", input_gain=gain, **sizes)

    def arm(active=config.active, heard=config.factor, lr: float | dict[str, float] = config.lr) -> Arm:
        granule = bp.predictor("granule", active=active)
        rule = bp.rule("dni", steps=1, predictor=granule, injection=heard, discount=config.factor)
        names = ("updates", "batch", "evaluate_every")
        return Watched(circuit, task, rule, Training(lr=lr, **{name: getattr(config, name) for name in names}))

    still = {"default": 0.0, "readout": config.lr, "predictor": config.lr}
    return Experiment(
        title="Coupling: cortex and cerebellum while they learn",
        arms={
            USUAL: arm(),
            APART: arm(heard=0.0),
            f"f = {config.sparse:g}": arm(active=config.sparse),
            "cortex as drawn": arm(lr=still),
        },
        seeds=config.seeds,
        table=table,
        figures={"coupling": partial(figure, "coupling"), "dimension": partial(figure, "dimension")},
        expected="coupling with granule cells rises within 100 updates and falls again, whether the cerebellum is heard or not; not beside a cortex that stands still",
        references=("doi:10.1038/s41467-022-35658-8", "doi:10.1016/j.neuron.2017.01.030"),
    )


def table(results):
    """Error; coupling and dimension at the first look, after a fifth of all looks and at the last; what rose and what fell, seed by seed."""
    rows, ends = results.table(()), results.late("test_score")
    columns = {"error": [ends[label].mean() for label in results]}
    columns[f"error − {APART}"] = [results.against(ends, label, APART) for label in results]
    for part in ("granule", "nuclei"):
        at = {label: looks(values) for label, (_, values) in results.curves(f"coupling_{part}").items()}
        name = f"coupling with {PARTS[part]}"
        columns[f"{name}: first, fifth, end"] = [told(at[label]) for label in results]
        columns[f"{name}, fifth − first"] = [str(bp.analysis.paired(at[label][1], at[label][0])) for label in results]
        columns[f"{name}, end − fifth"] = [str(bp.analysis.paired(at[label][2], at[label][1])) for label in results]
    for part, name in {CORTEX: CORTEX, **PARTS}.items():
        found = results.curves(f"dimension_{part}")
        columns[f"dimension of {name}: first, fifth, end"] = [told(looks(found[label][1])) for label in results]
    for place, (name, values) in enumerate(columns.items()):
        rows.insert(2 + place, name, values)
    return rows


def looks(values):
    """(seed, look) → at the first look, after a fifth of them, and at the last, (3, seed)."""
    return values[:, [0, (values.shape[1] - 1) // 5, -1]].T


def told(at) -> str:
    return ", ".join(f"{each.mean():.3g}" for each in at)


def figure(what, results):
    """One of the two over learning, a panel for each arm, a line for each part."""
    parts = {CORTEX: CORTEX, **PARTS} if what == "dimension" else PARTS
    found = {name: results.curves(f"{what}_{part}") for part, name in parts.items()}
    hues = dict(zip((CORTEX, *PARTS.values()), ("#000000", "#56B4E9", "#009E73", "#D55E00", "#CC79A7"), strict=True))
    with bp.figures.Sheet(bp.figures.DOUBLE, 55) as sheet:
        axes = sheet.subplots(1, len(results), sharey=True, squeeze=False)[0]
        lines = {}
        for ax, label in zip(axes, results, strict=True):
            for name, curves in found.items():
                updates, values = curves[label]
                mean = values.mean(0)
                error = values.std(0, ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0 * mean
                dash = "--" if name == PARTS["nuclei"] else "-"  # nuclei in their linear range go as Purkinje cells do
                (lines[name],) = ax.plot(updates, mean, color=hues[name], linestyle=dash)
                ax.fill_between(updates, mean - error, mean + error, color=hues[name], alpha=0.25, linewidth=0)
            ax.set(xlabel="Updates (number)", title=label)
        axes[0].set_ylabel("Mean |correlation| with the cortex" if what == "coupling" else "Dimension (number)")
        sheet.letter()
        sheet.explain(lines, f"mean ± s.e.m., n = {len(next(iter(results.values())))}")
        return sheet.done({f"{label}, {name}": curves[label][1] for name, curves in found.items() for label in results})
