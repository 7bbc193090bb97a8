"""Weights before and after learning, projection by projection, in the colours of what excites and what inhibits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.patches import Patch

from bioplaus import checks
from bioplaus.errors import RunError, unknown
from bioplaus.figures.colours import OKABE_ITO
from bioplaus.figures.data import finite
from bioplaus.figures.panels.common import GUIDE
from bioplaus.figures.panels.weights import counted
from bioplaus.figures.panels.weights import edges as edges_of
from bioplaus.figures.sheet import Sheet
from bioplaus.figures.style import DOUBLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bioplaus.circuit import Network

#: sign that Dale's law holds a projection's weights to → colour and name
SIGNS: dict[int | None, tuple[str, str]] = {
    1: (OKABE_ITO["vermillion"], "excitatory"),
    -1: (OKABE_ITO["blue"], "inhibitory"),
    None: ("black", "of either sign"),
}
BEFORE = "#C4C4C4"
_MOST = 15  # panels, five rows of three, as many as a page holds


def weight_distributions(
    after: Network,
    before: Network | None = None,
    *,
    projections: Sequence[str] | None = None,
    unit: str = "",
    bins: int = 30,
) -> Sheet:
    """Histograms of the weights of every projection that learns, before and after learning.

    Grey is before, the line after: vermillion where Dale's law holds weights at or above zero, blue at or below, black where they have either sign.
    Only synapses that there are count. Those at exactly zero, where the law stops a weight that would change its sign, stand in no bin: their share,
    before → after, is told above the panel.

    Parameters
    ----------
    after : the network that learned, such as ``run.network``.
    before : the network as it was; None: as its circuit is drawn from its seed, which is how training begins where no ``initial=`` weights are given.
    projections : names; None: those that learn.
    unit : of the weights.
    bins : of each panel, the same before and after.

    Raises
    ------
    RunError
        What is no network, networks of different projections, a name that is none, weights that are not finite, or more panels than a page holds.

    Examples
    --------
    >>> import bioplaus as bp
    >>> circuit = bp.circuit("excitatory_inhibitory", cell="lif", inputs=3, units=20, outputs=2)
    >>> figure = bp.figures.weight_distributions(circuit.build(seed=1))
    >>> [ax.get_xlabel() for ax in figure.axes][:2]
    ['W_in_E (a.u.)', 'W_EE (a.u.)']
    """
    told = _projections(after, "after")
    if before is None:
        before = after.circuit.build(seed=after.seed, dtype=after.dtype)
    old = _projections(before, "before")
    bins = checks.whole(RunError, "bins", bins, 1, 10_000)
    names = [name for name, p in told.items() if p.learned] if projections is None else list(projections)
    for name in names:
        for some in (told, old):
            if name not in some:
                raise RunError(unknown("projection of the network", str(name), some))
    if not 1 <= len(names) <= _MOST:
        raise RunError(
            f"A page holds 1 to {_MOST} projections, and there are {len(names)}: name some, projections=(…)."
        )
    drawn = {name: {"before": _values(before, name), "after": _values(after, name)} for name in names}
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    with Sheet(DOUBLE, 14 + 38 * rows) as sheet:
        axes = sheet.subplots(rows, columns, squeeze=False).ravel()
        for ax in axes[len(names) :]:
            ax.remove()
        marks: dict[str, Any] = {"before": Patch(color=BEFORE)}
        for ax, name in zip(axes, names, strict=False):
            colour, kind = SIGNS[told[name].sign]
            pair = drawn[name]
            edges = edges_of([*pair["before"], *pair["after"]], bins)
            counts = {when: np.histogram(values[values != 0], edges)[0] for when, values in pair.items()}
            ax.stairs(counts["before"], edges, fill=True, color=BEFORE, label="before")
            ax.stairs(counts["after"], edges, color=colour, linewidth=0.9, label="after")
            marks.setdefault(f"after, {kind}", ax.patches[-1])
            ax.axvline(0.0, **GUIDE)
            zero = {when: f"{100 * (values == 0).mean():.3g}" for when, values in pair.items()}
            if set(zero.values()) != {"0"}:
                said = f"{zero['before']} → {zero['after']} % at 0"
                ax.text(1.0, 1.0, said, transform=ax.transAxes, ha="right", va="bottom")
            counted(ax, edges, name, unit)
        sheet.letter()
        sheet.explain(marks)
        return sheet.done(drawn)


def _projections(network: Any, what: str) -> dict[str, Any]:
    """Name → projection of a network's circuit."""
    circuit = getattr(network, "circuit", None)
    if circuit is None or not hasattr(network, "matrix"):
        raise checks.refusal(RunError, what, network, "a network, such as run.network or circuit.build(seed=1)")
    return {p.name: p for p in circuit.projections}


def _values(network: Network, name: str) -> np.ndarray:
    """The weights of the synapses that there are, (synapse,)."""
    there = network.there(name)
    weights = network.matrix(name).detach().cpu().numpy().astype(float)
    found = weights[there.cpu().numpy() != 0] if there is not None else weights.ravel()
    return finite(found, f"weights {name!r}", ("synapse",))
