"""Guided evolution strategies between a biased gradient and a search without one (Maheswaranathan et al. 2019, arXiv 1806.10230).

On a random quadratic whose gradient is given with a bias and noise as long as itself, the constants being those of the authors' demonstration
(github.com/brain-research/guided-evolutionary-strategies), and with each method's best rate; then in a circuit, where a rule's own gradient
guides: BP(λ) that looks one step ahead, and e-prop with random feedback.
"""

from dataclasses import dataclass

import numpy as np
import pandas

import bioplaus as bp
from bioplaus import Arm, Experiment, Training


@dataclass(frozen=True)
class Config:
    size: int = 1000  # n, variables of the quadratic
    rows: int = 2000  # m, data points
    bias: float = 1.0  # length of the bias, in that of the gradient
    noise: float = 1.5  # length of the noise, likewise
    sigma: float = 0.1  # σ
    alpha: float = 0.5  # α of guided ES, in the demonstrations and in the circuit
    demo: tuple[float, float, float] = (5e-3, 0.2, 0.2)  # rates of gradient, ES, guided ES in the demonstrations
    best: tuple[float, float, float] = (1e-3, 1.4, 0.5)  # the same  # chosen: of those on the page, on seed 100
    steps: int = 10_000  # updates of the quadratic
    units: int = 20  # LSTM units of the circuit
    trial: int = 10  # steps from the cue to the target
    lr: float = 3e-3  # Adam, for every arm of the circuit
    predictor_lr: float = 0.01  # Adam
    pairs: int = 5  # P, of the circuit
    updates: int = 400  # of the circuit, batches of 10
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws problem, weights, trials and directions anew


STOPS = {"after 1/10": 0.1, "after 3/10": 0.3, "at the end": 1.0}


def guided_es(config: Config = Config()) -> Experiment:
    """Surrogate, ES and guided ES on the perturbed quadratic and in a circuit."""
    from bioplaus.runs.quadratic import Quadratic

    c, arms = config, {}
    problem = {"size": c.size, "rows": c.rows, "bias": c.bias, "noise": c.noise}
    searched = {"es": {"sigma": c.sigma}, "guided_es": {"sigma": c.sigma, "alpha": c.alpha}}
    methods = {"gradient": "sgd", "ES": "es", "guided ES": "guided_es"}
    for said, rates in (("demo", c.demo), ("best rate", c.best)):
        for (name, optimiser), rate in zip(methods.items(), rates, strict=True):
            how = {"optimiser": optimiser, "optimiser_options": searched.get(optimiser)}
            arms[f"quadratic, {said}: {name}"] = Quadratic(Training(updates=c.steps, lr=rate, **how), **problem)
    task = bp.task("target_reaching", steps=config.trial)
    sizes = {"inputs": task.inputs, "units": config.units, "outputs": task.outputs, "bias": {"I_f": 1.0}}
    circuit = bp.circuit("cortico_cerebellar", cell=bp.model("lstm"), **sizes)
    plain = {"updates": config.updates, "batch": 10, "lr": config.lr, "predictor_lr": config.predictor_lr}
    more = {"pairs": config.pairs, "then": "adam"}
    guided = Training(optimiser="guided_es", optimiser_options=searched["guided_es"] | more, **plain)
    rules = {"BP(λ=0)": bp.rule("bp_lambda", lmbda=0.0), "e-prop": bp.rule("eprop", feedback="random")}
    for name, rule in rules.items():
        arms[f"circuit: {name}"] = Arm(circuit, task, rule, Training(**plain))
        arms[f"circuit: guided by {name}"] = Arm(circuit, task, rule, guided)
    es = Training(optimiser="es", optimiser_options=searched["es"] | more, **plain)
    arms["circuit: ES"] = Arm(circuit, task, rules["e-prop"], es)
    arms["circuit: BPTT"] = Arm(circuit, task, bp.rule("bptt"), Training(**plain))
    return Experiment(
        title="Guided evolution strategies: between a biased gradient and none",
        arms=arms,
        seeds=config.seeds,
        table=table,
        by_seed=seeds,
        figures={"guided": figure},
        expected="quadratic, in every seed: at the demonstrations' rates guided ES ends below plain ES and below the biased gradient; at each one's best rate below the gradient, and "
        "below ES after 3/10 of the updates, not at the end; circuit: guided by BP(λ=0) below it in most seeds, guided by e-prop above it",
        references=("arXiv:1806.10230", "arXiv:1608.05343"),
    )


def seeds(results):
    """Loss of every run at first, after a tenth and three tenths of its updates (medians of the last tenth of those), and at the end."""
    rows = []
    for label, (_, losses) in results.curves("loss").items():
        stops = {name: max(1, round(share * losses.shape[1])) for name, share in STOPS.items()}
        for run, loss in zip(results[label], losses, strict=True):
            ends = {name: np.median(loss[stop - max(1, stop // 10) : stop]) for name, stop in stops.items()}
            rows.append({"arm": label, "seed": run.seed, "at first": loss[0]} | ends)
    return pandas.DataFrame(rows)


#: what each method is held against, in its group
AGAINST = {
    "gradient": "guided ES",
    "BP(λ=0)": "guided by BP(λ=0)",
    "guided by BP(λ=0)": "ES",
    "e-prop": "guided by e-prop",
}
AGAINST |= {"ES": "guided ES", "guided by e-prop": "ES"}


def table(results):
    """Means over seeds, and by how much each arm ends above another of its group, seed by seed."""
    found = {name: each.set_index("seed") for name, each in seeds(results).groupby("arm", sort=False)}
    rows = []
    for name, each in found.items():
        row = {"arm": name, "n": len(each)} | {column: each[column].mean() for column in ("at first", *STOPS)}
        end, (group, _, method) = each["at the end"], str(name).rpartition(": ")
        row["s.e.m."] = end.std(ddof=1) / len(end) ** 0.5 if len(end) > 1 else float("nan")
        other = AGAINST.get(method, "")
        row |= {"against": "–", "difference": "–"}
        if f"{group}: {other}" in found:
            theirs = found[f"{group}: {other}"]["at the end"]
            both = end.index.intersection(theirs.index)
            row["against"], row["difference"] = (
                other,
                str(bp.analysis.paired(end.loc[both].to_numpy(), theirs.loc[both].to_numpy())),
            )
        rows.append(row)
    return pandas.DataFrame(rows)


def figure(results):
    """Loss over updates, mean of seeds: the quadratic at the demonstrations' rates and at the best, and the circuit."""
    curves, drawn = results.curves("loss"), {}
    pens = bp.figures.pens(dict.fromkeys(label.rpartition(": ")[2] for label in curves))
    with bp.figures.Sheet(bp.figures.DOUBLE, 72) as sheet:
        for ax, group in zip(sheet.subplots(1, 3), ("quadratic, demo", "quadratic, best rate", "circuit"), strict=True):
            shown = {n.rpartition(": ")[2]: c for n, c in curves.items() if n.startswith(group + ":")}
            for name, (updates, values) in shown.items():
                blocks = max(1, len(updates) // 200)  # of a batch's losses, their mean
                cut = len(updates) // blocks * blocks
                means = values[:, :cut].reshape(len(values), -1, blocks).mean(2).mean(0)
                ax.plot(updates[:cut:blocks], means, color=pens[name].colour, linestyle=pens[name].line)
                drawn[f"{group}: {name}"] = means
            ax.set(
                xlabel="Updates (number)",
                ylabel="Loss (a.u.)" if group == "circuit" else "f(x) − f(x*) (a.u.)",
                yscale="log",
                title=group,
            )
        sheet.letter()
        sheet.explain(pens)
        return sheet.done(drawn)
