"""A published model three ways: in plain Brian2, in torch, in the twin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import bioplaus as bp
from bioplaus.symbolic.runtime import runtime

from .given import noisy
from .model import Published
from .plain import Ran, plain


@dataclass(frozen=True)
class Outcome:
    """Three runs of a model."""

    model: Published
    plain: Ran
    torch: Ran
    twin: Ran

    @property
    def difference(self) -> float:
        """Of a state or an output in torch or the twin from plain Brian2's, relative to its largest value, where nothing was reset."""
        quiet = self.plain.spikes == 0
        found = [far(ours.states[s], v, quiet) for ours in (self.torch, self.twin) for s, v in self.plain.states.items()]  # fmt: skip
        if self.plain.output is not None:
            found += [far(ours.output, self.plain.output, quiet) for ours in (self.torch, self.twin)]
        return max(found)


def far(ours: np.ndarray | None, plain: np.ndarray, where: np.ndarray) -> float:
    assert ours is not None and np.isfinite(plain).all() and np.isfinite(ours).all()
    return float(np.abs(ours - plain)[where].max() / np.abs(plain).max())


def cell(model: Published, **changed: Any) -> bp.Cell:
    """The same texts, with a surrogate."""
    spiking: dict[str, Any] = dict(
        spike=model.spike,
        reset=model.reset,
        refractory=model.refractory or 0,
        surrogate=bp.triangular(width=model.width),
    )
    given: dict[str, Any] = dict(
        equations=model.equations,
        method=model.method,
        parameters=model.parameters,
        start=model.start,
        inputs=model.inputs,
        jumps=model.jumps,
        **(spiking if model.spike else dict(output=model.output)),
    )
    return bp.Cell(**{**given, **changed})


def network(model: Published, later: int = 1, **changed: Any) -> bp.Network:
    """One population; Brian2's delay is ours but for the step in which ours is not yet there (``later``)."""
    U, W = model.weights()
    projections, weights = [], {}
    if model.drive is not None:
        projections.append(bp.Projection(name="W_in", source="input", target="cells"))
        weights["W_in"] = U
    if W is not None:
        projections.append(bp.Projection(name="W", source="cells", target="cells", delay=(model.delay or 0) + later))
        weights["W"] = W
    made = bp.Circuit(
        populations={"cells": bp.Population(cell(model, **changed), model.n)},
        projections=tuple(projections),
        inputs=U.shape[1],
        readout=bp.Readout(size=1),
        dt=model.dt,
    ).build(seed=0, dtype=torch.float64)
    made.load(weights)
    return made


def ran(simulate: Callable[..., Any], built: bp.Network, model: Published) -> Ran:
    """A run of ours, in the same form as Brian2's."""
    states = built.circuit.populations["cells"].cell.states
    said = "spikes" if model.spike else "rate"
    found = simulate(built, model.lines(), (said, *states))
    values = {name: found[name].values[:, 0] for name in (said, *states)}
    own = {s: values[s] for s in states}
    if model.spike:
        return Ran(values["spikes"], own)
    return Ran(np.zeros((model.steps, model.n)), own, values["rate"])


def compare(model: Published) -> Outcome:
    """Run a model three ways, on one noise."""
    with runtime():
        theirs = plain(model)
    built = noisy(network(model), {"cells": theirs.noise})
    return Outcome(model, theirs, ran(bp.simulate, built, model), ran(bp.brian.simulate, built, model))
