"""Spikes by trials, and weights before and after learning: what is drawn is what was given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.patches import StepPatch

import bioplaus as bp
from bioplaus import figures
from bioplaus.errors import RunError
from bioplaus.figures.sheet import BAR


@pytest.fixture(scope="module")
def recording():
    """Trials of two populations with cues, of 120 ms."""
    task = bp.task("evidence_accumulation", cues=3, cue=0.02, gap=0.01, delay=0.02, recall=0.01)
    circuit = bp.circuit("excitatory_inhibitory", inputs=task.inputs, units=20, outputs=2, cell="lif", input_gain=100.0)
    found = bp.simulate(circuit.build(seed=1), task.batch(bp.stream(0, "task"), 9), ("spikes",))
    assert found.sizes["time"] == 120 and all(float(found[n].sum()) > 100 for n in ("E.spikes", "I.spikes"))
    return found


def fired(ax) -> dict[str, np.ndarray]:
    """Colour → (spike, 2) time and height of the ticks on the axes, sorted."""
    found = {}
    for each in ax.collections:
        if isinstance(each, LineCollection):
            at = [(float(s[0, 0]), float(s[:, 1].mean())) for s in map(np.asarray, each.get_segments())]
            found[to_hex(np.atleast_2d(each.get_color())[0])] = np.array(sorted(at)).reshape(-1, 2)
    return found


def bars(ax) -> np.ndarray:
    return np.array([np.asarray(line.get_xdata(), dtype=float) for line in ax.lines if line.get_label() == BAR])


def spikes_at(recording, name: str, trial: int, above: int = 0) -> np.ndarray:
    step, unit = np.nonzero(recording[name].values[:, trial])
    return np.array(sorted(zip(step * 1.0, unit + above * 1.0, strict=True)))


def test_every_spike_of_a_trial_of_each_condition_is_in_its_place(recording):
    answer = recording.answer.values
    assert set(answer) == {0, 1}
    figure = figures.rasters(recording, "answer")
    firsts = [int(np.flatnonzero(answer == k)[0]) for k in (0, 1)]
    blue, vermillion = "#0072b2", "#d55e00"
    for ax, k in zip(figure.axes, firsts, strict=True):
        drawn = fired(ax)
        assert np.array_equal(drawn[blue], spikes_at(recording, "E.spikes", k))
        assert np.array_equal(drawn[vermillion], spikes_at(recording, "I.spikes", k, above=16))
        assert f"answer {answer[k]}, trial {k}" in [text.get_text() for text in ax.texts]
        assert bars(ax).tolist() == [[10, 30], [40, 60], [70, 90], [90, 110], [110, 120]]
        assert (figure.drawn[f"trial {k}"]["E"] == recording["E.spikes"].values[:, k]).all()
    assert [text.get_text() for text in figure.axes[0].texts][:3] == ["cue", "delay", "recall"]
    chosen = figures.rasters(recording, recording.evidence.values, trials=(4, -1), bars={"light": (20, 50)})
    assert np.array_equal(fired(chosen.axes[1])[blue], spikes_at(recording, "E.spikes", 8))
    assert bars(chosen.axes[0]).tolist() == [[20, 50]] and "light" in [t.get_text() for t in chosen.axes[0].texts]


def test_epochs_of_each_trial_are_its_own():
    """Those that it has: a trial with one recall has one bar, not a second one from 0 to 0."""
    task = bp.task("store_recall", frames=6, frame=0.01, probability=0.5)
    circuit = bp.circuit("recurrent", cell="lif", inputs=task.inputs, units=8, outputs=2, input_gain=40.0)
    batch = task.batch(bp.stream(0, "task"), 12)
    found = bp.simulate(circuit.build(seed=1), batch, ("spikes",))
    counts = set()
    for k in range(12):
        recalls = 10.0 * np.flatnonzero(batch.trials["command"][k] == 2)
        told = figures.epochs(found, k)
        assert told["recall"].tolist() == [[at, at + 10] for at in recalls]
        assert (told["delay"][:, 0] < told["delay"][:, 1]).all() if "delay" in told else True
        counts.add(len(recalls))
    assert len(counts) > 1
    one = figures.rasters(found, trials=[3])
    assert len(bars(one.axes[0])) == sum(map(len, figures.epochs(found, 3).values()))
    # over all trials only what is the same in all
    assert len(bars(figures.unit_trials(found, 2).axes[0])) == 0


def test_one_neuron_in_all_trials_sorted_by_condition(recording):
    figure = figures.unit_trials(recording, 5, "answer", population="E")
    (ax,), answer = figure.axes, recording.answer.values
    order = [*np.flatnonzero(answer == 0), *np.flatnonzero(answer == 1)]
    expected: dict[str, list[tuple[float, float]]] = {"#0072b2": [], "#d55e00": []}
    for row, k in enumerate(order):
        for t in np.flatnonzero(recording["E.spikes"].values[:, k, 5]):
            expected["#d55e00" if answer[k] else "#0072b2"].append((float(t), float(row)))
    assert min(map(len, expected.values())) > 3
    assert {c: [tuple(x) for x in at.tolist()] for c, at in fired(ax).items()} == {
        c: sorted(at) for c, at in expected.items()
    }
    assert bars(ax).tolist() == [[10, 30], [40, 60], [70, 90], [90, 110], [110, 120]]
    assert figure.drawn["trial"].tolist() == order


@pytest.fixture(scope="module")
def learned():
    task = bp.task("evidence_accumulation", cues=1, delay=0.02, cue=0.02, recall=0.02)
    cell = bp.model("lsnn_alif")
    circuit = bp.circuit(
        "excitatory_inhibitory", cell=cell, units=30, fan_in=0.2, inputs=40, outputs=2, input_gain=40.0, gain=2.0
    )
    trainer = bp.Trainer(
        circuit, task, bp.rule("eprop", feedback="random"), bp.Training(batch=8, lr=0.05, updates=4), seed=3
    )
    for _ in range(4):
        trainer.update()
    return trainer.network


def histogram(ax, label):
    (found,) = [p for p in ax.patches if isinstance(p, StepPatch) and p.get_label() == label]
    heights, edges, _ = found.get_data()
    return np.asarray(heights), np.asarray(edges), found


def test_weights_before_and_after_are_those_of_the_synapses(learned):
    figure = figures.weight_distributions(learned, bins=17)
    first = learned.circuit.build(seed=3, dtype=learned.dtype)
    names = [p.name for p in learned.circuit.projections]
    assert [ax.get_xlabel() for ax in figure.axes] == [f"{name} (a.u.)" for name in names] and len(names) == 6
    stopped = 0
    for ax, p in zip(figure.axes, learned.circuit.projections, strict=True):
        there = learned.there(p.name)
        inside = np.ones(learned.matrix(p.name).shape, bool) if there is None else there.numpy() != 0
        assert 0 < inside.sum() and (inside.all() or "in" not in p.name)
        old, new = (some.matrix(p.name).numpy()[inside].astype(float) for some in (first, learned))
        assert not np.array_equal(old, new)  # it has learned
        for label, values in (("before", old), ("after", new)):
            assert np.array_equal(figure.drawn[p.name][label], values)
            heights, edges, _ = histogram(ax, label)
            assert np.array_equal(heights, np.histogram(values[values != 0], edges)[0]) and len(heights) == 17
            assert heights.sum() + (values == 0).sum() == inside.sum()
        colour = to_hex(histogram(ax, "after")[2].get_edgecolor())
        assert colour == {1: "#d55e00", -1: "#0072b2", None: "#000000"}[p.sign]
        if (new == 0).any() and p.sign:
            stopped += 1
            told = f"{100 * (old == 0).mean():.3g} → {100 * (new == 0).mean():.3g} % at 0"
            assert told in [text.get_text() for text in ax.texts]
    assert stopped  # the law has stopped some


def test_weights_that_are_given_and_chosen(learned):
    figure = figures.weight_distributions(learned, learned, projections=("W_EI",), unit="mV")
    assert np.array_equal(figure.drawn["W_EI"]["before"], figure.drawn["W_EI"]["after"])
    assert figure.axes[0].get_xlabel() == "W_EI (mV)" and list(figure.drawn) == ["W_EI"]
    frozen = bp.circuit("recurrent", cell="lif", inputs=2, units=4, outputs=1).build(seed=1)
    with torch.no_grad():
        frozen.weights["W_rec"].zero_()
    nothing = figures.weight_distributions(frozen, projections=["W_rec"])
    assert nothing.drawn["W_rec"]["after"].tolist() == [0.0] * 12  # no autapses


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda r, n: figures.rasters(3), "xarray Dataset"),  # type: ignore[arg-type]
        (lambda r, n: figures.rasters(r.drop_vars(["E.spikes", "I.spikes"])), "No spikes"),
        (lambda r, n: figures.rasters(r, "answers"), "Did you mean 'answer'"),
        (lambda r, n: figures.rasters(r, trials=[9]), "no trial 9"),
        (lambda r, n: figures.rasters(r, trials=range(7)), "6 trials, and 7"),
        (lambda r, n: figures.rasters(r, trials="0"), r"\(0, 1, 2\)"),  # type: ignore[arg-type]
        (lambda r, n: figures.rasters(r, bars=[(0, 1)]), "begins and ends"),  # type: ignore[arg-type]
        (lambda r, n: figures.rasters(r, bars={"cue": (0, 1, 2)}), "a begin and an end"),
        (lambda r, n: figures.rasters(r * 0.5), "other than 0 and 1"),
        (lambda r, n: figures.unit_trials(r, 3), "variable in this recording"),
        (lambda r, n: figures.unit_trials(r, 16, population="E"), "no unit 16"),
        (lambda r, n: figures.epochs(r, 9), "no trial 9"),
        (lambda r, n: figures.weight_distributions(3), "a network"),  # type: ignore[arg-type]
        (lambda r, n: figures.weight_distributions(n, {}), "a network"),  # type: ignore[arg-type]
        (lambda r, n: figures.weight_distributions(n, projections=["W_E"]), "Known"),
        (lambda r, n: figures.weight_distributions(n, projections=[]), "1 to 15"),
        (lambda r, n: figures.weight_distributions(n, bins=0), "bins"),
    ],
)
def test_what_makes_no_sense_is_refused(recording, learned, call, said):
    with pytest.raises(RunError, match=said):
        call(recording, learned)
