"""One neuron while it learns: spikes and membrane, slope, learning signal, traces, output and target on one axis of time."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from bioplaus import checks
from bioplaus.errors import RunError, unknown
from bioplaus.figures.data import place
from bioplaus.figures.panels.common import GUIDE, SERIES, TARGET, clock, ticks, time_axis
from bioplaus.figures.recordings import time_of
from bioplaus.figures.sheet import Sheet
from bioplaus.figures.style import SINGLE, axis_label

SIGNALS = ("learning_signal", "true_credit", "prediction_y")
_ABOVE: dict[str, Any] = {
    "loc": "lower right",
    "bbox_to_anchor": (1.0, 0.93),
    "handlelength": 1.2,
    "columnspacing": 1.0,
}


def neuron(
    dataset: xr.Dataset, unit: int = 0, *, population: str = "", batch: int = 0, state: str = "", synapses: int = 3
) -> Sheet:
    """A neuron in a trial that `bioplaus.record` has recorded, from its spikes to what its synapses learn.

    One panel each of what was recorded: the membrane with ticks where it fired, ψ, the learning signal (beside it the true credit and the prediction), the
    eligibility of the synapses onto it that learn most, and all outputs with their targets.

    Parameters
    ----------
    dataset : xarray.Dataset
        For example ``bp.record(network, "eprop", batch, ("spikes", "v", "psi", "learning_signal", "eligibility"))``.
    unit : int
        The neuron's number in its population.
    population : str
        Its population, where there are several.
    batch : int
        Which trial.
    state : str
        The state variable to draw; "": v, or the first that was recorded.
    synapses : int
        How many of each projection, those whose learning signal times eligibility has the largest sum over this trial.

    Raises
    ------
    RunError
        Nothing of this neuron was recorded, or there is no such trial.

    Examples
    --------
    >>> import bioplaus as bp
    >>> task = bp.task("pattern_generation", steps=100)
    >>> network = bp.circuit("recurrent", cell="alif", inputs=task.inputs, units=20, outputs=1).build()
    >>> asked = ("spikes", "v", "psi", "learning_signal", "eligibility")
    >>> inside = bp.record(network, "eprop", task.batch(bp.stream(0, "trial"), 1), asked)
    >>> [ax.get_ylabel().split()[0] for ax in bp.figures.neuron(inside, unit=3).axes]
    ['v', 'ψ', 'Learning', 'Trace', 'Trace', 'Output']
    """
    times, clocked = time_of(dataset)
    one = _One(dataset, unit, population, batch)
    synapses = checks.whole(RunError, "synapses", synapses, 0)
    shown = state or next((s for s in ("v", *one.states) if one.there(s)), "")
    traced = {name: one.synapses(name, synapses) for name in one.traces} if synapses else {}
    signals = {name: one.of(name) for name in SIGNALS if one.there(name)}
    rows = [
        *([lambda ax: _membrane(ax, one, shown, times)] if shown or one.there("spikes") else []),
        *([lambda ax: _line(ax, times, one.of("psi"), "ψ")] if one.there("psi") else []),
        *([lambda ax: _signals(ax, times, signals, one.channels)] if signals else []),
        *(
            [
                lambda ax, name=name, each=each: _traces(ax, times, name, *each)
                for name, each in traced.items()
                if each[1].size
            ]
        ),
    ]
    if not rows:
        raise RunError(
            f"Nothing of a neuron is in this recording, which holds {', '.join(map(str, dataset.data_vars)) or 'nothing'}. Record it with "
            "bp.record(network, rule, batch, ('spikes', 'v', 'psi', 'learning_signal', 'eligibility'))."
        )
    if "output" in dataset:
        rows.append(lambda ax: _outputs(ax, dataset, times, batch))
    with Sheet(SINGLE, min(240, 16 + 24 * len(rows))) as sheet:
        axes = sheet.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
        for ax, draw in zip(axes, rows, strict=True):
            draw(ax)
            ax.yaxis.set_major_locator(ticks(3))
            time_axis(ax, clock(times, len(times)), clocked)
        sheet.stack(axes)
        sheet.letter()
        drawn: dict[str, Any] = {"time": times, **signals}
        drawn |= {name: one.of(name) for name in (shown, "spikes", "psi") if name and one.there(name)}
        drawn |= {name: values for name, (_, values) in traced.items()}
        return sheet.done(drawn)


class _One:
    """What a recording holds of one neuron in one trial."""

    def __init__(self, dataset: xr.Dataset, unit: int, population: str, batch: int) -> None:
        self.dataset, self.unit = dataset, checks.whole(RunError, "unit", unit, 0)
        first = next(iter(dataset.data_vars.values()), None)
        trials = 0 if first is None else first.sizes.get("batch", 0)
        self.batch = place(batch, trials, "trial", "batch", "this recording")
        names = [str(name).rpartition(".")[::2] for name in dataset.data_vars]
        projections = {where for where, what in names if what.startswith("eligibility")}
        populations = sorted({where for where, _ in names if where} - projections)
        if population and population not in populations:
            raise RunError(unknown("population in this recording", population, populations))
        if populations and not population:
            raise RunError(
                f"This recording is of {len(populations)} populations: say which the neuron is of, population='{populations[0]}'. They are {', '.join(populations)}."
            )
        self.population = population
        self._refuse_stranger(population)
        self.states = [what for where, what in names if where == population and self._plain(what)]

    def _refuse_stranger(self, population: str) -> None:
        """Whoever counts on from a recording's last neuron is told how many it has."""
        dim = f"unit_{population}" if population else "unit"
        if dim in self.dataset.dims:
            values = self.dataset.coords.get(dim)
            numbers = np.arange(self.dataset.sizes[dim]) if values is None else values.values
            others = {str(d) for d in self.dataset.dims} - {"unit_input", "unit_output"}
            alone = not any(d.startswith((f"{dim}_", f"{dim}.")) for d in others)
            if alone and self.unit not in numbers:
                raise RunError(
                    f"There is no unit {self.unit}{f' of {population}' if population else ''} in this recording, which holds {len(numbers)}, with numbers from {numbers.min()} to {numbers.max()}."
                )

    def _plain(self, what: str) -> bool:
        name = self.label(what)
        shape = self.dataset[name].dims
        return (
            what not in ("spikes", "psi", *SIGNALS, "input", "output", "target", "weight", "error") and len(shape) == 3
        )

    def label(self, name: str) -> str:
        return f"{self.population}.{name}" if self.population else name

    def there(self, name: str) -> bool:
        return self.label(name) in self.dataset and self._at(self.dataset[self.label(name)]) is not None

    def _at(self, values: xr.DataArray) -> xr.DataArray | None:
        """Of this neuron in this trial, or None."""
        dim = next((str(d) for d in values.dims if str(d).startswith("unit")), None)
        if dim is None:
            return None
        numbers = values[dim].values if dim in values.coords else np.arange(values.sizes[dim])
        here = np.flatnonzero(numbers == self.unit)
        return values.isel({dim: here[0], "batch": self.batch}) if len(here) else None

    def of(self, name: str) -> np.ndarray:
        """(time,), or (time, channel)."""
        found = self._at(self.dataset[self.label(name)])
        assert found is not None
        return found.values

    @property
    def channels(self) -> list[str]:
        """Of a learning signal that has several."""
        values = self.dataset.get(self.label("learning_signal"), self.dataset.get(self.label("true_credit")))
        dim = next((d for d in values.dims if str(d).startswith("channel")), None) if values is not None else None
        return [] if dim is None or values is None else list(map(str, values[dim].values))

    @property
    def traces(self) -> list[str]:
        """The projections whose synapses onto this neuron were recorded."""
        return [
            str(n)
            for n in self.dataset.data_vars
            if str(n).endswith(".eligibility") and self._synapses(str(n)) is not None
        ]

    def _synapses(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """(source), (time, …, source) of those onto this neuron."""
        values, w = self.dataset[name], name.rpartition(".")[0]
        if f"synapse_{w}" in values.dims:
            here = np.flatnonzero(values[f"post_{w}"].values == self.unit)
            found = values.isel({f"synapse_{w}": here, "batch": self.batch})
            return (found[f"source_{w}"].values, found.values) if len(here) else None
        if self.population and f"unit_{self.population}" not in values.dims and f"unit_{name}" not in values.dims:
            return None
        found = self._at(values)
        return None if found is None else (np.arange(found.sizes[f"source_{w}"]), found.values)

    def synapses(self, name: str, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Sources and traces (time, synapse) of those that learn most, or, of which nobody knows, that have the largest trace."""
        found = self._synapses(name)
        assert found is not None
        sources, traces = found
        signal = self.of("learning_signal") if self.there("learning_signal") else None
        if traces.ndim == 3:  # of several channels: the one onto which most is learned
            k = int(np.abs(traces).sum((0, 2)).argmax())
            traces = traces[:, k]
            signal = signal if signal is None or signal.ndim == 1 else signal[:, k]
        learned = traces if signal is None or signal.ndim > 1 else signal[:, None] * traces
        chosen = np.sort(np.argsort(-np.abs(learned.sum(0)), kind="stable")[:most])
        chosen = chosen[np.ptp(traces[:, chosen], axis=0) > 0]  # what never moves, as a bias does, tells nothing
        return sources[chosen], traces[:, chosen]


def _line(ax: Axes, times: np.ndarray, values: np.ndarray, name: str, unit: str = "") -> None:
    ax.plot(times, values, color="black", linewidth=0.8)
    ax.set_ylabel(axis_label(name, unit))


def _membrane(ax: Axes, one: _One, state: str, times: np.ndarray) -> None:
    """A state, and ticks above it where the neuron fired."""
    top, span = 0.0, 1.0
    if state:
        values = one.of(state)
        unit = str(one.dataset[one.label(state)].attrs.get("units", ""))
        _line(ax, times, values, state, "" if unit == "1" else unit)
        top, span = float(values.max()), float(np.ptp(values)) or 1.0
    else:
        ax.set_ylabel("Spikes")
        ax.set_yticks([])
    if one.there("spikes"):
        when = times[np.flatnonzero(one.of("spikes"))]
        ax.vlines(when, top + 0.08 * span, top + 0.25 * span, color=SERIES[1], linewidth=0.7)


def _signals(ax: Axes, times: np.ndarray, signals: dict[str, np.ndarray], channels: list[str]) -> None:
    """Learning signal, and what it would be if it saw the future; of several channels a line for each."""
    for (name, values), colour in zip(signals.items(), ("black", TARGET, SERIES[0]), strict=False):
        style: Any = {"linestyle": (0, (3, 2))} if name == "true_credit" else {}
        said = name.removesuffix("_y").replace("_", " ")
        if values.ndim == 1:
            ax.plot(times, values, color=colour, linewidth=0.8, label=said, **style)
            continue
        for k, channel in enumerate(channels):
            ax.plot(
                times,
                values[:, k],
                color=SERIES[k % len(SERIES)],
                linewidth=0.8,
                label=f"{said} {channel}" if style else channel,
                **style,
            )
    ax.axhline(0, **GUIDE)
    ax.set_ylabel("Learning\nsignal (a.u.)")
    if len(ax.lines) > 2:
        ax.legend(ncols=len(ax.lines) - 1, **_ABOVE)


def _traces(ax: Axes, times: np.ndarray, name: str, sources: np.ndarray, values: np.ndarray) -> None:
    for k, colour in zip(range(len(sources)), SERIES, strict=False):
        ax.plot(times, values[:, k], color=colour, linewidth=0.8, label=f"from {sources[k]}")
    ax.set_ylabel(f"Trace of\n{name.rpartition('.')[0]} (a.u.)")
    ax.legend(ncols=len(sources), **_ABOVE)


def _outputs(ax: Axes, dataset: xr.Dataset, times: np.ndarray, batch: int) -> None:
    """All outputs, and their targets where something is asked."""
    outputs = dataset["output"].isel(batch=batch).values
    target = dataset["target"].isel(batch=batch).values if "target" in dataset else None
    for k in range(outputs.shape[1]):
        colour = SERIES[k % len(SERIES)]
        ax.plot(
            times, outputs[:, k], color=colour, linewidth=0.8, label=f"output {k}" if outputs.shape[1] > 1 else "output"
        )
        if target is not None and target.ndim == 2 and target.dtype.kind == "f":
            asked = dataset["weight"].isel(batch=batch).values > 0 if "weight" in dataset else np.ones(len(times), bool)
            ax.plot(times, np.where(asked, target[:, k], np.nan), color=TARGET if outputs.shape[1] == 1 else colour, linewidth=0.8, linestyle=(0, (3, 2)), label="target" if k == 0 else None)  # fmt: skip
    ax.set_ylabel(axis_label("Output", ""))
    if len(ax.lines) <= 8:
        ax.legend(ncols=4, **_ABOVE)
