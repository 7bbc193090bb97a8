"""Figures of the cerebellum: the numbers in the drawing are those of the object, every rate, event and weight is where it was given."""

from __future__ import annotations

import itertools
import re
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from matplotlib.patches import FancyArrowPatch, Rectangle, StepPatch
from matplotlib.text import Text
from rule_helpers import paragraph

import bioplaus as bp
from bioplaus import figures
from bioplaus.errors import RunError
from bioplaus.figures import panels
from bioplaus.figures.panels.anatomy import BOXES, WAYS

EVENTS: dict[str, Any] = {"teaching": "events", "probability": 0.1, "fibres": 3}
FULL = EVENTS | {
    "lines": 7, "expansion": 3, "fan_in": 5, "active": 0.3, "divisive": 2.0, "subtractive": 0.5, "tau_golgi": 10, "reach": 0.25, "plastic_nuclei": True,
    "delay_in": 2, "delay_out": 1,
}  # fmt: skip
PARTS = [f"cerebellum.{part}" for part in ("granule", "purkinje", "olive")]


@cache
def learned(**options: Any) -> bp.Trainer:
    task = bp.task("delayed_match")
    circuit = bp.circuit("recurrent", cell="leaky_rate", inputs=task.inputs, units=10, outputs=task.outputs)
    rule = bp.rule("bp_lambda", predictor=bp.predictor("granule", **options), lmbda=0.8)
    trainer = bp.Trainer(circuit, task, rule, bp.Training(updates=6, batch=6, lr=1e-2, dtype="float64"), seed=2)
    for _ in range(6):
        trainer.update()
    return trainer


@cache
def recording(**options: Any) -> Any:
    found = learned(**options).record(PARTS)
    assert all(float(abs(found[name]).max()) > 0 for name in PARTS)
    return found


def words(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


# -- the circuit ---------------------------------------------------------------------------------------------------------------


def test_the_numbers_in_the_drawing_are_those_of_the_object():
    trainer = learned(**FULL)
    theta = trainer.own["predictor"]
    # as ours are read and spoken to: v and y of 10 neurons; 7 lines in pairs; 3 · 14 granule cells, of which each Purkinje cell hears a quarter
    counted = {
        "cortical numbers": 20,
        "lines": 7,
        "mossy fibres": 14,
        "granule cells": 42,
        "w that learn": 2 * 20 * 10,
        "v that learn": 2 * 20 * 10,
    }
    counted |= {"Purkinje cells": 40, "climbing fibres": 120, "fan-in": [5], "thresholds that learn": 42, "tonic rates that learn": 40}  # fmt: skip
    assert int((theta["purkinje.w"] != 0).sum()) <= 400 and int(theta["purkinje.mask"].sum()) == 400
    figure = figures.cerebellum(trainer.network, trainer.rule, trainer.own, recording=recording(**FULL))
    assert {name: figure.drawn[name].tolist() for name in counted} == counted
    said = words(figure)
    asked = {
        "20 numbers h", "7 lines", "on and off pairs", "14 mossy fibres", "42", "each hears 5 fibres", "aims at 30 % active", "divides by 1 + 2 a", "subtracts 0.5 a",
        "a lasts 10 steps", "42 θ learn", "400 w learn", "400 v learn", "40 b learn", "2 zones × 20", "held at w ≥ 0", "events", "120 fibres", "p = 0.1 a step",
        "2 steps", "g, 1 step", "error δ",
    }  # fmt: skip
    assert asked <= set(said), asked - set(said)
    share = float((recording(**FULL)["cerebellum.granule"].values > 0).mean())
    assert 0 < share < 1 and f"{100 * share:.3g} % active" in said
    boxes = [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
    assert len(boxes) == 8 + 3  # the opponents of Purkinje cells, interneurons and nuclei stand behind them
    arrows = [p.get_label() for p in figure.axes[0].patches if isinstance(p, FancyArrowPatch)]
    assert len(arrows) == len(WAYS) and "from golgi" in arrows


def test_what_is_off_is_grey_and_has_no_arrows():
    trainer = learned(interneurons=False, opponent=False, active=None, expansion=2, signs=False)
    figure = figures.cerebellum(trainer.network, trainer.rule, trainer.own)
    said = words(figure)
    assert said.count("off") == 2 and {"1 zone × 20", "of either sign", "graded error"} <= set(said)
    assert not [text for text in said if "aims" in text or "θ" in text or text.endswith(" v learn")]
    arrows = [p.get_label() for p in figure.axes[0].patches if isinstance(p, FancyArrowPatch)]
    assert not {"to golgi", "from golgi", "to interneuron", "from interneuron"} & set(arrows) and "parallel" in arrows
    grey = [p.get_label() for p in figure.axes[0].patches if isinstance(p, Rectangle) and p.get_linestyle() == "--"]
    assert grey == ["golgi", "interneuron"]


def test_at_birth_it_is_wired_as_training_begins():
    trainer = learned(**FULL)
    born = figures.cerebellum(trainer.circuit.build(seed=2), trainer.rule)
    there = figures.cerebellum(trainer.network, trainer.rule, trainer.own)
    assert all((born.drawn[name] == value).all() for name, value in there.drawn.items())
    context = bp.rule("bp_lambda", predictor=bp.predictor("granule"), context=True)
    with pytest.raises(RunError, match=r"context=True.*own=trainer\.own") as error:
        figures.cerebellum(trainer.circuit.build(seed=2), context)
    paragraph(error)
    task = bp.task("volley", steps=2)
    circuit = bp.circuit("hierarchy", inputs=task.inputs, units=(6, 6), outputs=task.outputs)
    with_label = bp.Trainer(circuit, task, context, bp.Training(updates=1, batch=2))
    told = figures.cerebellum(with_label.network, context, with_label.own)
    assert int(told.drawn["context"]) > 0 and f"{int(told.drawn['context'])} of context" in words(told)


def test_times_are_told_as_times_and_a_late_error_with_its_trace():
    circuit = bp.circuit("recurrent", cell="leaky_rate", inputs=2, units=6, outputs=1, dt=1 * bp.ms)
    late = bp.predictor(
        "granule", delay_in=5 * bp.ms, delay_out=4 * bp.ms, delay_back=20 * bp.ms, peak=30 * bp.ms, tonic=None
    )
    said = words(figures.cerebellum(circuit.build(seed=1), bp.rule("bp_lambda", predictor=late, trace="bump")))
    assert {"5 ms", "g, 4 ms", "error δ\nback after 20 ms\ntrace peaks at 30 ms"} <= set(said)
    projected = bp.rule("bp_lambda", predictor=bp.predictor("granule"), trace="projected", outputs=3)
    assert "2 zones × 3" in words(figures.cerebellum(circuit.build(seed=1), projected))


# -- granule cells, Purkinje cells ---------------------------------------------------------------------------------------------------


def test_cells_are_sorted_by_their_peaks_in_half_of_the_trials():
    found = recording(**EVENTS)
    rates = found["cerebellum.granule"].values
    figure = figures.granule_peaks(found)
    mean, other = rates[:, ::2].mean(1), rates[:, 1::2].mean(1)
    active = [k for k in range(rates.shape[2]) if mean[:, k].max() > 0]
    expected = sorted(active, key=lambda k: (int(mean[:, k].argmax()), k))
    assert figure.drawn["order"].tolist() == expected and len({int(mean[:, k].argmax()) for k in active}) > 2
    left, right = (np.asarray(ax.images[0].get_array()) for ax in figure.axes[:2])
    assert np.allclose(left, (mean[:, expected] / mean[:, expected].max(0)).T, rtol=1e-12)
    high = other[:, expected].max(0)
    assert np.allclose(right, (other[:, expected] / np.where(high > 0, high, 1)).T, rtol=1e-12)
    assert (np.diff(left.argmax(1)) >= 0).all() and not (np.diff(right.argmax(1)) >= 0).all()
    silent = rates.shape[2] - len(active)
    assert (f"{silent} silent" in figure.axes[-1].get_ylabel()) == (silent > 0)
    third = figures.granule_peaks(found, trials=(3,), every=3)
    assert np.asarray(third.axes[0].images[0].get_array()).shape[0] == -(-len(third.drawn["order"]) // 3)
    assert len(third.axes) == 2  # and its bar


def test_every_event_stands_above_its_cell_and_rates_are_drawn_in_one_scale():
    found = recording(**EVENTS)
    figure = figures.simple_and_complex(found, units=(2, 21, 5), batch=1)
    ax = figure.axes[0]
    rates, fired = (found[f"cerebellum.{part}"].values[:, 1] for part in ("purkinje", "olive"))
    times = found.time.values
    span = np.abs(rates[:, [2, 21, 5]]).max()
    lines = [line for line in ax.lines if line.get_label() == "_rate"]
    ticks = [c for c in ax.collections if isinstance(c, LineCollection)]
    assert len(lines) == len(ticks) == 3 and fired[:, [2, 21, 5]].any()
    for row, (k, line, events) in enumerate(zip((2, 21, 5), lines, ticks, strict=True)):
        assert np.allclose((np.asarray(line.get_ydata()) - row) * span / 0.3, rates[:, k], atol=1e-12 * span)
        segments = [np.asarray(s) for s in events.get_segments()]
        assert [s[0, 0] for s in segments] == times[fired[:, k] > 0].tolist()
        assert not events.get_clip_on() and events.get_zorder() > ax.spines["left"].get_zorder()  # one at 0 is seen
        height = [float(s[1, 1] - s[0, 1]) for s in segments]
        many = fired[fired[:, k] > 0, k]
        assert all((a > b) == (m > n) for (a, m), (b, n) in itertools.combinations(zip(height, many, strict=True), 2))
        assert all(row + 0.3 < s[0, 1] and s[1, 1] < row + 0.7 for s in segments)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["2", "21", "5"]
    (scale,) = [line for line in ax.lines if line.get_label() == "_scale"]
    # a bar of height 0.6 stands for 2 span, as 0.3 of a trace does for span
    assert np.ptp(np.asarray(scale.get_ydata())) == pytest.approx(0.6)
    assert float(ax.texts[-1].get_text().split()[0]) == pytest.approx(2 * span, rel=0.05)
    first = figures.simple_and_complex(found)
    often = fired_most = found["cerebellum.olive"].values[:, 0].sum(0)
    assert sorted(often[first.drawn["units"]]) == sorted(np.sort(fired_most)[-6:]) and often.max() > 0


def test_a_fibre_that_perturbs_is_that_of_both_zones():
    found = recording(teaching="perturb", probability=0.15)
    fired = found["cerebellum.olive"].values[:, 0]
    assert fired.shape[1] == 20 and found["cerebellum.purkinje"].shape[2] == 40
    k = int(fired.sum(0).argmax())
    figure = figures.simple_and_complex(found, units=(k, k + 20))
    one, other = [c for c in figure.axes[0].collections if isinstance(c, LineCollection)]
    at = [[float(np.asarray(s)[0, 0]) for s in c.get_segments()] for c in (one, other)]
    assert at[0] == at[1] == found.time.values[fired[:, k] > 0].tolist() != []


# -- weights -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [FULL, {"opponent": False}, {"interneurons": False, "signs": False}])
def test_histograms_are_of_the_synapses_that_there_are_zone_by_zone(options):
    theta = learned(**options).own["predictor"]
    figure = figures.parallel_fibres(learned(**options).own)
    names = [name for name in ("purkinje.w", "interneuron.v") if name in theta]
    assert len(figure.axes) == len(names)
    for ax, name in zip(figure.axes, names, strict=True):
        W = theta[name].numpy()
        there = theta["purkinje.mask"].numpy() > 0 if "purkinje.mask" in theta else np.ones(W.shape, bool)
        shares = []
        steps = [p for p in ax.patches if isinstance(p, StepPatch)]
        assert len(steps) == len(W)
        for patch, w, mask in zip(steps, W, there, strict=True):
            counts, edges, _ = patch.get_data()
            some = w[mask]
            assert np.array_equal(counts, np.histogram(some[some != 0], edges)[0])
            assert counts.sum() == np.count_nonzero(w) > 0
            shares.append(f"{100 * (some == 0).mean():.3g}")
            assert (edges[0] < 0) == (options.get("signs") is False)
        assert ax.texts[0].get_text() == f"{', '.join(shares)} % at 0"
        if options is FULL:
            assert shares != ["0", "0"]


def test_weights_that_nobody_has_taught_yet_are_all_at_zero():
    circuit = bp.circuit("recurrent", cell="leaky_rate", inputs=2, units=6, outputs=1)
    trainer = bp.Trainer(circuit, bp.task("pattern_generation", inputs=2), bp.rule("bp_lambda", predictor=bp.predictor("granule")), bp.Training(updates=1))  # fmt: skip
    for figure in (figures.parallel_fibres(trainer.own), figures.parallel_fibres(trainer.own["predictor"])):
        assert [ax.texts[0].get_text() for ax in figure.axes] == ["100, 100 % at 0"] * 2


# -- how they look, and what is refused ------------------------------------------------------------------------------------------------


def drawings() -> dict[str, Any]:
    trainer = learned(**FULL)
    return {
        "cerebellum": figures.cerebellum(trainer.network, trainer.rule, trainer.own, recording=recording(**FULL)),
        "peaks": figures.granule_peaks(recording(**FULL)),
        "spikes": figures.simple_and_complex(recording(**FULL)),
        "weights": figures.parallel_fibres(trainer.own),
    }


@pytest.mark.parametrize("name", ["cerebellum", "peaks", "spikes", "weights"])
def test_all_text_is_seven_points_stays_on_the_page_and_apart_and_is_saved(name, tmp_path):
    figure = drawings()[name]
    figure.draw_without_rendering()
    texts = [t for t in figure.findobj(Text) if isinstance(t, Text) and t.get_text().strip() and t.get_visible()]
    assert {t.get_fontsize() for t in texts if not re.fullmatch("[ab]", t.get_text())} == {7.0}
    drawn = [t for ax in figure.axes for t in (*ax.texts, ax.xaxis.label, ax.yaxis.label, ax._left_title, ax._right_title) if t.get_text()]  # fmt: skip
    for axis in (axis for ax in figure.axes if ax.axison for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        drawn += [
            each
            for tick in axis.get_major_ticks()
            if low <= tick.get_loc() <= high
            for each in (tick.label1, tick.label2)
        ]
    boxes = [(t.get_text(), t.get_window_extent()) for t in drawn if t.get_text() and t.get_visible()]
    assert len(boxes) > 8
    page = figure.bbox
    for said, box in boxes:
        assert box.x0 >= -0.5 and box.y0 >= -0.5 and box.x1 <= page.x1 + 0.5 and box.y1 <= page.y1 + 0.5, said
    for (said, a), (other, b) in itertools.combinations(boxes, 2):
        assert min(a.x1, b.x1) - max(a.x0, b.x0) < 1 or min(a.y1, b.y1) - max(a.y0, b.y0) < 1, (said, other)
    if name == "cerebellum":  # words stay in their boxes
        for box in (p.get_window_extent() for p in figure.axes[0].patches if p.get_label() in BOXES):  # fmt: skip
            for said, text in boxes:
                if box.x0 < (text.x0 + text.x1) / 2 < box.x1 and box.y0 < (text.y0 + text.y1) / 2 < box.y1:
                    assert box.x0 <= text.x0 and text.x1 <= box.x1 and box.y0 <= text.y0 and text.y1 <= box.y1, said
    files = figures.save(figure, tmp_path / name)
    assert {".pdf", ".svg", ".png", ".npz"} <= set(files)


def axes() -> Any:
    return figures.Sheet(89, 60).subplots()


def strange(what: Any) -> Any:
    return what


def network() -> Any:
    return learned(**EVENTS).network


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: figures.cerebellum(strange("net"), learned(**EVENTS).rule), "network is 'net'"),
        (lambda: figures.cerebellum(network(), bp.rule("eprop")), "'eprop' has no predictor"),
        (lambda: figures.cerebellum(network(), bp.rule("bp_lambda")), "the predictor Linear"),
        (lambda: figures.cerebellum(network(), learned(**EVENTS).rule, {}), "own"),
        (lambda: figures.cerebellum(bp.circuit("recurrent", cell="leaky_rate", inputs=4, units=11, outputs=2).build(), learned(**EVENTS).rule, learned(**EVENTS).own), "another circuit.*20 numbers.*22"),
        (lambda: figures.cerebellum(network(), learned(**EVENTS).rule, recording=bp.simulate(network(), np.zeros((3, 1, 4)), "rate")), "holds no part"),
        (lambda: figures.granule_peaks(strange(np.zeros(3))), "xarray Dataset"),
        (lambda: figures.granule_peaks(recording(**EVENTS), part="nuclei"), r"holds cerebellum\.granule.*'cerebellum\.nuclei'"),
        (lambda: figures.granule_peaks(recording(**EVENTS), part="purkinje"), "go down to -.*traces"),
        (lambda: figures.granule_peaks(recording(**EVENTS) * 0), "None of the 200"),
        (lambda: figures.granule_peaks(recording(**EVENTS), trials=(99,)), "no trial 99"),
        (lambda: figures.granule_peaks(recording(**EVENTS), every=0), "every"),
        (lambda: figures.granule_peaks(recording(**EVENTS).isel(batch=0)), "dimensions"),
        (lambda: figures.simple_and_complex(recording(expansion=2)), "graded teaching"),
        (lambda: figures.simple_and_complex(recording(**EVENTS), units=(40,)), "no Purkinje cell 40.*0 to 39"),
        (lambda: figures.simple_and_complex(recording(**EVENTS), units=()), "units"),
        (lambda: figures.simple_and_complex(recording(**EVENTS), batch=77), "no trial 77"),
        (lambda: figures.simple_and_complex(recording(**EVENTS)[["cerebellum.purkinje"]]), r"'cerebellum\.olive' is needed"),
        (lambda: figures.parallel_fibres({}), "own"),
        (lambda: figures.parallel_fibres(learned(**EVENTS).own, bins=0), "bins"),
        (lambda: panels.anatomy(axes(), {"cortex": ["Cortex"], "thalamus": []}, {}), "thalamus"),
        (lambda: panels.anatomy(axes(), {}, {"mosy": "x"}), "mosy.*mossy"),
        (lambda: panels.anatomy(axes(), {}, {}, zones=3), "zones"),
        (lambda: panels.by_peak(axes(), np.ones((3, 2)), range(3), [2]), "order"),
        (lambda: panels.by_peak(axes(), np.ones((3, 2)), range(4)), "4 times for 3 steps"),
        (lambda: panels.climbing(axes(), np.ones((3, 4)), np.ones((3, 3)), range(3), units=[0]), r"\(3, 4\).*\(3, 3\)"),
        (lambda: panels.at_zero(axes(), {}), "no weights"),
        (lambda: panels.at_zero(axes(), {"w": [np.nan]}), "NaN"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_in_one_paragraph(make, said):
    with pytest.raises(RunError, match=said) as error:
        make()
    paragraph(error)


def test_a_gradient_is_no_weight():
    own = learned(**EVENTS).own["predictor"]
    broken = own.replaced({"purkinje.w": torch.full_like(own["purkinje.w"], torch.nan)})
    with pytest.raises(RunError, match="NaN"):
        figures.parallel_fibres(broken)
