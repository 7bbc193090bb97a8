"""The cerebellum looked at: its circuit with the numbers that it has, granule cells by their peaks, simple and complex spikes, weights at zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bioplaus import checks
from bioplaus.errors import RunError
from bioplaus.figures import panels
from bioplaus.figures.data import numbers, place
from bioplaus.figures.panels.cerebellum import EVENT, events_of, peak_order
from bioplaus.figures.recordings import time_of
from bioplaus.figures.sheet import Sheet
from bioplaus.figures.style import DOUBLE, SINGLE

if TYPE_CHECKING:
    from bioplaus.cerebellum.granule import Granule
    from bioplaus.cerebellum.trial import Trial
    from bioplaus.circuit import Network
    from bioplaus.own import Own, Owns
    from bioplaus.rules import Rule

_W, _V, _MASK, _WIRING, _C = "purkinje.w", "interneuron.v", "purkinje.mask", "granule.wiring", "pons.C"
_SHOWN = 6  # Purkinje cells, where nobody says which  # chosen
_TRIES = "Take bp.record(network, rule, batch, ['cerebellum.granule', 'cerebellum.purkinje', 'cerebellum.olive'], own=trainer.own)."


def cerebellum(network: Network, rule: Rule, own: Owns | None = None, *, recording: xr.Dataset | None = None) -> Sheet:
    """The circuit of a `granule` predictor as it stands in a network, with the numbers of that very one.

    Counted are lines, mossy fibres, granule cells and what each hears in the wiring that was drawn, and synapses that learn in the weights and their mask.
    What is switched off is grey.

    Parameters
    ----------
    network : the cortex, such as ``trainer.network`` or ``circuit.build(seed=1)``.
    rule : with the predictor, such as ``bp.rule("bp_lambda", predictor=bp.predictor("granule"))``.
    own : the rule's own tensors, ``trainer.own`` or ``run.own``; None: as they are at birth.
    recording : with ``cerebellum.granule``: the share of granule cells and steps that is active stands beside the one that is aimed at.

    Raises
    ------
    RunError
        For a rule whose predictor is none of granule cells, or own tensors of another circuit.

    Examples
    --------
    >>> import bioplaus as bp
    >>> circuit = bp.circuit("recurrent", cell="leaky_rate", inputs=3, units=20, outputs=2)
    >>> figure = bp.figures.cerebellum(circuit.build(seed=1), bp.rule("bp_lambda", predictor=bp.predictor("granule")))
    >>> int(figure.drawn["granule cells"]), int(figure.drawn["w that learn"])
    (400, 32000)
    """
    g, signal = _granule(network, rule)
    theta = _theta(signal, network, own)
    counted = _counted(g, theta, signal.trial(network))
    if recording is not None:
        counted["active share"] = float((_recorded(recording, "granule") > 0).mean())
    parts, ways, off = _told(g, counted, network.circuit.name or "circuit")
    with Sheet(DOUBLE, 80) as sheet:
        marks: dict[str, Any] = panels.anatomy(sheet.subplots(), parts, ways, off, g.zones.count)
        sheet.explain(marks)
        return sheet.done({name: np.asarray(value) for name, value in counted.items()})


def _granule(network: Any, rule: Any) -> tuple[Granule, Any]:
    """The predictor of granule cells that a rule has in a network, and the rule's signal."""
    from bioplaus.cerebellum.granule import Granule
    from bioplaus.cerebellum.nuclei import Nuclei
    from bioplaus.signal.synthetic import SyntheticGradient

    if getattr(network, "circuit", None) is None or not hasattr(network, "matrix"):
        raise checks.refusal(RunError, "network", network, "a network, such as trainer.network or circuit.build(seed=1)")  # fmt: skip
    signal = getattr(rule, "signal", None)
    g = signal.of(network) if isinstance(signal, SyntheticGradient) else None
    while isinstance(g, Nuclei):
        g = g.inner
    if not isinstance(g, Granule):
        has = f"the predictor {type(g).__name__}" if g else "no predictor"
        raise RunError(
            f"A drawing of the cerebellar circuit needs a rule whose predictor has granule cells, and {getattr(rule, 'name', None) or type(rule).__name__!r} has {has}. "
            "Give bp.rule('bp_lambda', predictor=bp.predictor('granule'))."
        )
    return g, signal


def _theta(signal: Any, network: Network, own: Owns | None) -> Own:
    """The predictor's weights; at birth, where none are given."""
    from bioplaus.streams import stream

    if own is None:
        if signal.context:
            raise RunError(
                "How many numbers a predictor with context=True is told stands in no description of it, but in its wiring: give own=trainer.own or own=run.own."
            )
        return signal.at_birth(network, stream(network.seed, "feedback"), 0)
    return part_of(own)


def part_of(own: Any) -> Own:
    """The predictor with granule cells among a rule's own tensors, or by itself."""
    theta = own.get("predictor") if isinstance(own, Mapping) else own
    if theta is None or not hasattr(theta, "learned") or _W not in theta:
        raise checks.refusal(RunError, "own", own, "what a rule with predictor='granule' has beside the circuit's weights, such as trainer.own or run.own")  # fmt: skip
    return theta


def _counted(g: Granule, theta: Own, trial: Trial) -> dict[str, Any]:
    """What there is of each, from the tensors themselves."""
    cells, fibres = theta[_WIRING].shape
    zones, spoken, reads = theta[_W].shape
    lines = fibres // (2 if g.pairs else 1)
    size = theta[_C].shape[1] if _C in theta else lines
    if reads != cells or spoken > trial.outputs or not trial.outputs <= size:
        raise RunError(
            f"These own tensors are of another circuit: they read {size} numbers and speak to {spoken}, and this circuit has {trial.outputs}. "
            "Give the rule's own in this network, trainer.own."
        )
    there = int(_array(theta, _MASK).sum()) if _MASK in theta else theta[_W].numel()
    return {
        "cortical numbers": trial.outputs,
        "context": size - trial.outputs,
        "lines": lines,
        "mossy fibres": fibres,
        "granule cells": cells,
        "fan-in": np.unique(np.count_nonzero(_array(theta, _WIRING), axis=1)),
        "w that learn": there,
        "v that learn": there if g.interneurons else 0,
        "thresholds that learn": cells if g.active is not None else 0,
        "tonic rates that learn": zones * spoken if g.plastic_nuclei else 0,
        "Purkinje cells": zones * spoken,
        "outputs": spoken,
        "climbing fibres": {"graded": 0, "perturb": spoken}.get(g.teaching, zones * spoken * g.olive.fibres),
    }


def _told(g: Granule, n: Mapping[str, Any], name: str) -> tuple[dict[str, list[str]], dict[str, str], list[str]]:
    """What stands in the boxes, beside the ways, and what is off."""
    many = lambda name: f"{int(n[name]):,}"  # noqa: E731
    each = "–".join(map(str, sorted({int(n["fan-in"].min()), int(n["fan-in"].max())})))
    active = [] if g.active is None else [f"aims at {_percent(g.active)} active"]
    active += [f"{_percent(n['active share'])} active"] if "active share" in n else []
    gain = [f"divides by 1 + {g.divisive:g} a"] * bool(g.divisive) + [f"subtracts {g.subtractive:g} a"] * bool(g.subtractive)  # fmt: skip
    gain += [f"a lasts {_lasting(g.tau_golgi) or 'a step'}"] * bool(gain)
    gain += [f"{many('thresholds that learn')} θ learn"] if g.active is not None else []
    nuclei = [f"end at rate 0, T = {g.tonic:g}" if g.tonic is not None else "in their linear range"]
    nuclei += [f"{many('tonic rates that learn')} b learn"] if g.plastic_nuclei else []
    zones = f"{g.zones.count} zone{'s' * (g.zones.count > 1)} × {many('outputs')}"
    parts = {
        "cortex": ["Cortex", name, f"{many('cortical numbers')} numbers h", *([f"{many('context')} of context"] if n["context"] else [])],
        "pons": ["Pontine nuclei", f"{many('lines')} lines", *(["on and off pairs"] if g.pairs else []), f"{many('mossy fibres')} mossy fibres"],
        "granule": ["Granule cells", many("granule cells"), f"each hears {each} fibre{'s' * (each != '1')}", *active],
        "golgi": ["Golgi cells", *(gain or ["off"])],
        "interneuron": ["Interneurons", *([f"{many('v that learn')} v learn"] if g.interneurons else ["off"])],
        "purkinje": ["Purkinje cells", zones, f"{many('w that learn')} w learn", "held at w ≥ 0" if g.signs else "of either sign"],
        "nuclei": ["Deep nuclei", *nuclei],
        "olive": ["Inferior olive", *_olive(g, n)],
    }  # fmt: skip
    ways = {"mossy in": _lasting(g.delay_in), "out": f"g, {_lasting(g.delay_out)}".rstrip(", ")}
    back = [f"back after {_lasting(g.delay_back)}"] * bool(g.delay_back)
    if g.bumps:
        back.append(f"trace peaks at {_lasting(g.delay_back if g.peak is None else g.peak) or '0'}")
    ways["error"] = "\n".join(["error δ", *back])
    off = ["golgi"] * (not gain) + ["interneuron"] * (not g.interneurons)
    return parts, {name: words for name, words in ways.items() if words}, off


def _olive(g: Granule, n: Mapping[str, Any]) -> list[str]:
    """Lines about teaching."""
    if g.teaching == "graded":
        return ["graded error"]
    often = f"p = {g.probability:g} a step" if g.probability is not None else f"{(g.rate or 1.0):g} Hz at rest"
    return [g.teaching, f"{int(n['climbing fibres']):,} fibres", often]


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _lasting(value: float) -> str:
    """A delay as it was given: steps, or a time; nothing, where there is none."""
    if not value:
        return ""
    if isinstance(value, int):
        return f"{value} step{'s' * (value > 1)}"
    return f"{1e3 * value:g} ms"


def granule_peaks(
    recording: xr.Dataset, *, part: str = "granule", trials: Sequence[int] | None = None, every: int = 1
) -> Sheet:
    """Granule cells sorted by when they are most active, in half of the trials; and the other half in the same order.

    Sorted by what is drawn, noise has a diagonal, too. What is left of it in trials that did not sort is a sequence.

    Parameters
    ----------
    recording : of `bioplaus.record` or ``trainer.record`` with ``cerebellum.granule``.
    part : ``granule`` or ``pons``: what is 0 when silent.
    trials : which trials, such as those of one condition; None: all. Of a single trial there is one panel.
    every : draws so many of the sorted cells as every second, third, ….

    Raises
    ------
    RunError
        Nothing of the part was recorded, no cell is ever active, or there is no such trial.
    """
    rates = _recorded(recording, part)
    times, unit = time_of(recording)
    every = checks.whole(RunError, "every", every, 1)
    some = range(rates.shape[1]) if trials is None else checks.accept(RunError, "trials", trials, checks.Several(checks.Whole(-checks.MOST), "(0, 1, 2)"))  # fmt: skip
    chosen = [place(k, rates.shape[1], "trial", "trials", "this recording") for k in some]
    halves = [chosen[::2], chosen[1::2]] if len(chosen) > 1 else [chosen]
    means = [rates[:, half].mean(1) for half in halves]
    order = peak_order(means[0], f"{part} cell")
    silent = rates.shape[2] - len(order)
    with Sheet(DOUBLE if len(halves) > 1 else SINGLE, 70) as sheet:
        axes = sheet.subplots(1, len(halves), squeeze=False)[0]
        said = (f"sorted by these {len(halves[0])} trials", f"{len(halves[-1])} others, same order")
        for ax, mean, words in zip(axes, means, said if len(halves) > 1 else ("one trial",), strict=True):
            panels.by_peak(ax, mean, times, order[::every], time_unit=unit, name=f"{part} cell")
            ax.set_title(words, loc="right")
        bar = sheet.colorbar(axes[-1].images[0], ax=list(axes), fraction=0.03, pad=0.02, ticks=[0, 1])
        bar.set_label(f"Rate (share of its own highest); {silent} silent".replace("; 0 silent", ""))
        bar.outline.set_linewidth(0.6)  # pyright: ignore[reportCallIssue]
        if len(halves) > 1:
            sheet.letter()
        names = ("sorted", "others")[: len(means)]
        return sheet.done({"time": times, "order": order, **dict(zip(names, means, strict=True))})


def simple_and_complex(recording: xr.Dataset, *, units: Sequence[int] | None = None, batch: int = 0) -> Sheet:
    """What Purkinje cells say in a trial (simple spikes, as a rate about its tonic one), and when their climbing fibres fire (complex spikes).

    Parameters
    ----------
    recording : of `bioplaus.record` or ``trainer.record`` with ``cerebellum.purkinje`` and ``cerebellum.olive``, with teaching ``events`` or ``perturb``.
    units : which cells, first those of all + zones, then those of the − zones; None: up to six whose climbing fibres fire most.
    batch : which trial.

    Raises
    ------
    RunError
        Either was not recorded; graded teaching has no events; there is no such trial or cell.
    """
    rates, fired = _recorded(recording, "purkinje"), _recorded(recording, "olive")
    batch = place(batch, rates.shape[1], "trial", "batch", "this recording")
    said, events = rates[:, batch], events_of(fired[:, batch])
    times, unit = time_of(recording)
    if units is None:
        often = events.sum(0)[np.arange(said.shape[1]) % events.shape[1]]
        units = sorted(map(int, np.argsort(-often, kind="stable")[:_SHOWN]))
    with Sheet(SINGLE, 24 + 8 * len(units)) as sheet:
        ax = sheet.subplots()
        panels.climbing(ax, said, events, times, units=units, time_unit=unit)
        sheet.explain({"simple spikes (rate)": ax.plot([], [], color="black", linewidth=0.8)[0], "climbing fibre": ax.plot([], [], color=EVENT, marker="|", linestyle="", markersize=5)[0]})  # fmt: skip
        return sheet.done({"time": times, "purkinje": said, "olive": events, "units": np.array(units)})


def parallel_fibres(own: Owns | Own, *, unit: str = "", bins: int = 30) -> Sheet:
    """Weights from parallel fibres onto Purkinje cells (w) and by interneurons (v), zone by zone, with the share that the sign holds at 0.

    Parameters
    ----------
    own : a rule's own tensors, ``trainer.own`` or ``run.own``.
    unit : of the weights.
    bins : of each panel.

    Raises
    ------
    RunError
        For what has no such weights, or weights that are not finite.
    """
    theta = part_of(own)
    there = _array(theta, _MASK) != 0 if _MASK in theta else np.ones(theta[_W].shape, bool)
    drawn: dict[str, dict[str, np.ndarray]] = {}
    for name in (_W, _V):
        if name in theta:
            zones = zip(("+ zones", "− zones") if len(there) > 1 else ("one zone",), _array(theta, name), there, strict=True)  # fmt: skip
            drawn[name.rpartition(".")[2]] = {zone: values[mask] for zone, values, mask in zones}
    with Sheet(DOUBLE if len(drawn) > 1 else SINGLE, 56) as sheet:
        axes = sheet.subplots(1, len(drawn), squeeze=False)[0]
        titles = {"w": "w, onto Purkinje cells", "v": "v, by interneurons"}
        for ax, (name, by_zone) in zip(axes, drawn.items(), strict=True):
            panels.at_zero(ax, by_zone, name=titles[name], unit=unit, bins=bins)
        if len(drawn) > 1:
            sheet.letter()
        sheet.explain({zone: patch for zone, patch in zip(drawn["w"], axes[0].patches, strict=True)})
        return sheet.done(drawn)


def _array(theta: Own, name: str) -> np.ndarray:
    return numbers(theta[name].detach().cpu(), name)


def _recorded(recording: Any, part: str) -> np.ndarray:
    """(time, batch, unit) of a part of the predictor."""
    time_of(recording)
    part = checks.accept(RunError, "part", part, checks.Word())
    name = f"cerebellum.{part}"
    if name not in recording:
        held = ", ".join(str(each) for each in recording.data_vars if str(each).startswith("cerebellum.")) or "no part"
        raise RunError(f"Of the cerebellum this recording holds {held}, and '{name}' is needed. {_TRIES}")
    values = recording[name]
    if values.ndim != 3 or "batch" not in values.dims:
        raise RunError(f"The recorded '{name}' has dimensions {values.dims}, but (time, batch, unit) is needed, as it was recorded.")  # fmt: skip
    return numbers(values.transpose("time", "batch", ...).values, name)
