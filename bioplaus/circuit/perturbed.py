"""A built circuit with somebody interfering: the same weights, other wiring and cells with switches in them.

What each kind does, to the step of `bioplaus.circuit.network`::

    silence   y_t and all that is sent beside it leave as 0 in these steps: nobody hears, nor does the readout. The neuron itself goes by its own
              output: it is reset, it is refractory, and a cell that looks back at its own output sees it. So it is as if all that it sends, and its
              readout, were cut
    drive     I_t + value
    noise     I_t + value · N(0, 1), drawn from the seed by name, as a circuit's own noise is
    clamp     u_t is the value, whatever arrives; the threshold is asked of it, and a reset acts as ever and is undone in the next step
    cut       what a projection brings to a current in these steps is 0: what is on its way for longer arrives
    delay     a projection's delay is another, for whole trials
    freeze    the gradient of weights is 0, and they stay to the last bit

Everything but the forward step of silence is in the cell's expressions (`bioplaus.symbolic.perturbed`) and in columns beside the input
(`bioplaus.circuit.switches`), so that derivatives are those of the circuit as it is perturbed, under every rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bioplaus import checks
from bioplaus.circuit.drawn import Drawn
from bioplaus.circuit.network import Network
from bioplaus.circuit.plan import Changes, planned, told
from bioplaus.circuit.switches import Column
from bioplaus.circuit.wiring import Gated, Outputs, Source, Wired, Wiring
from bioplaus.errors import CircuitError
from bioplaus.perturb import Perturb, Perturbs

if TYPE_CHECKING:
    from torch import Tensor


SILENCE = "silence0_"


def perturbed(network: Network, perturb: Any) -> Network:
    """A network that shares its weights with another, with which somebody interferes; the network itself where nobody does.

    ``updates=`` is not asked: all that are given hold.

    Raises
    ------
    CircuitError
        For a path that leads nowhere, a value of the wrong unit, and what can't be done to what is there.
    """
    perturbs = checks.accept(CircuitError, "perturb", perturb, Perturbs())
    if not perturbs:
        return network
    if not isinstance(network, Perturbed):
        return Perturbed(network, perturbs)
    both = Perturbed(network.base, (*network.perturbs, *perturbs))
    both.weights = network.weights
    return both


def alone(network: Network, perturb: Any) -> Network:
    """The same of a circuit that nothing stands beside: perturbations of a predictor are refused.

    Raises
    ------
    CircuitError
    """
    found = perturbed(network, perturb)
    if found is not network and len(found.cerebellar) > len(network.cerebellar):
        raise CircuitError(
            f"{told(found.cerebellar[-1])} is of a predictor, which a rule has, and here the circuit runs by itself. Give it where something is learned: bp.train, "
            "bp.Training, bp.gradient or bp.record."
        )
    return found


def refuse_late(network: Network, steps: int) -> None:
    """Refuse perturbations that begin behind the last of so many steps, which is not what anybody means.

    Raises
    ------
    CircuitError
    """
    for p in network.perturbs:
        if p.steps is not None and p.steps.start >= steps:
            raise CircuitError(
                f"{told(p)} begins at step {p.steps.start}, and there are {steps}, from 0 to {steps - 1}: it would never act. Give earlier steps=; they are numbers of steps, "
                f"of {network.circuit.dt * 1e3:g} ms each."
            )


class Perturbed(Network):
    """See `perturbed`."""

    def __init__(self, network: Network, perturbs: Sequence[Perturb]) -> None:
        self.__dict__.update(network.__dict__)  # weights, masks and synapses are the same objects
        self.base, self.perturbs = network, tuple(perturbs)
        plan = planned(network, perturbs)
        self.frozen, self.cerebellar = plan.frozen, plan.cerebellar
        wired = {
            w.spec.name: _later(w, plan.delays[w.spec.name]) if w.spec.name in plan.delays else w for w in self.wired
        }
        ages: dict[int, int] = {}
        for w in wired.values():
            if isinstance(w.source, Outputs):
                ages[w.source.population] = max(ages.get(w.source.population, 1), *w.source.delays)
        populations = list(self.populations)
        columns: list[Column] = []
        moved: dict[int, Drawn] = {}
        for i, changes in plan.changes.items():
            populations[i] = self._changed(i, changes, wired, columns, moved)
        self.drawn = (*(moved.get(d.columns.start, d) for d in self.drawn), *columns)
        self.populations = tuple(
            replace(
                p,
                ages=max(p.ages, ages.get(i, 1)),
                driven=tuple(wired[w.spec.name] for w in p.driven),  # type: ignore[misc]
                recurrent=tuple(wired[w.spec.name] for w in p.recurrent),  # type: ignore[misc]
            )
            for i, p in enumerate(populations)
        )
        self.recurrent = tuple(wired[w.spec.name] for w in self.recurrent)  # type: ignore[misc]
        self.learned = tuple(wired[w.spec.name] for w in self.learned)
        self.wired = list(wired.values())

    def __repr__(self) -> str:
        return f"Perturbed({self.base!r}, {', '.join(map(repr, self.perturbs))})"

    def __reduce__(self) -> Any:
        return _again, (self.base, self.perturbs, None if self.weights is self.base.weights else self.weights)

    def _changed(
        self, i: int, changes: Changes, wired: dict[str, Wired[Source]], columns: list[Column], moved: dict[int, Drawn]
    ) -> Wiring:
        """A population whose cell has switches; its projections, and columns for what they say, are put where they belong."""
        from bioplaus.codegen import torch_source
        from bioplaus.symbolic import perturbed as symbolic

        p = self.populations[i]
        cell = self.circuit.populations[p.name].cell
        d, told, gated = cell.derived, [], []
        for name, pieces in changes.cut.items():
            switch = f"cut{self.wired.index(next(w for w in self.wired if w.spec.name == name))}_"
            d, onto = symbolic.switched(d, switch), []
            for k in wired[name].channels:
                d = symbolic.gated(d, k, switch)
                onto.append(len(d.inputs) - 1)
                gated.append((onto[-1], k, switch))
            wired[name] = replace(wired[name], channels=tuple(onto))
            told.append((switch, pieces, False))
        for state, pairs in changes.clamp.items():
            switch, value = f"held_{state}0_", f"value_{state}0_"
            d = symbolic.clamped(d, state, switch, value)
            told += [(switch, [on for on, _ in pairs], False), (value, [held for _, held in pairs], False)]
        if changes.silence:
            d = symbolic.silenced(d, SILENCE)
            told.append((SILENCE, changes.silence, False))
        told += [(d.inputs[k], pieces, True) for k, pieces in changes.drive.items()]
        taken = {name: k for k, name in enumerate((*d.inputs, *d.noises))}
        # what the population draws by itself stands behind the channels, of which there may be more now
        more, first = len(d.inputs) - p.channels, self.lines + sum(c.width for c in columns)
        own = {e.columns.start: replace(e, channel=e.channel + more * (e.channel >= p.channels)) for e in p.drawn}
        moved |= own
        mine = [
            Column(p.name, name, taken[name], slice(at, at + p.size), pieces=tuple(pieces), summed=summed)
            for at, (name, pieces, summed) in enumerate_by(p.size, first, told)
        ]
        columns += mine
        for w in self.wired:
            if w.target == i:
                wired[w.spec.name] = replace(wired[w.spec.name], whole=False)
        return replace(
            p,
            kernel=torch_source.kernel(cell, p.size, self.circuit.dt, self.dtype, self.device, d),
            start=(*p.start, *(0.0,) * (len(d.states) - len(p.start))),
            live=tuple(s in d.live for s in d.states),
            channels=len(d.inputs),
            noises=len(d.noises),
            drawn=(*own.values(), *mine),
            silence=taken.get(SILENCE),
            gated=tuple(Gated(new, k, taken[switch]) for new, k, switch in gated),
            clamped=tuple((d.states.index(s), taken[f"held_{s}0_"], taken[f"value_{s}0_"]) for s in changes.clamp),
        )


def enumerate_by(width: int, first: int, some: Sequence[Any]) -> list[tuple[int, Any]]:
    """Each with where it begins, so wide side by side."""
    return [(first + k * width, each) for k, each in enumerate(some)]


def _again(base: Network, perturbs: tuple[Perturb, ...], weights: dict[str, Tensor] | None) -> Network:
    """One that was pickled."""
    network = Perturbed(base, perturbs)
    network.weights = base.weights if weights is None else weights
    return network


def _later(w: Wired[Source], delay: int) -> Wired[Source]:
    """A projection with another delay."""
    assert isinstance(w.source, Outputs)
    source = replace(w.source, slots=((delay - 1) * w.source.voices + w.source.voice,))
    return replace(w, source=source, synapses=None if w.synapses is None else replace(w.synapses, delays=(delay,)))
