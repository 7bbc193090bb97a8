"""A circuit, described: populations, projections, input, readout, step; and built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil, exp
from typing import Any

import torch

from bioplaus import checks
from bioplaus.cerebellum import predictor
from bioplaus.cerebellum.predictors import Predictor
from bioplaus.circuit.connect import told
from bioplaus.circuit.delays import Conduction, Late, Listed, shown, steps, timeless
from bioplaus.circuit.description import INPUT, Population, Projection, Readout
from bioplaus.circuit.network import Network
from bioplaus.errors import CircuitError, cut
from bioplaus.settings import unusable


@dataclass(frozen=True, kw_only=True, repr=False)
class Circuit:
    """Populations, projections, external input and a readout.

    Parameters
    ----------
    populations : name → Population.
    projections : weights between them and from ``"input"``.
    inputs : number of external input lines.
    readout : Readout.
    dt : step; a quantity or seconds. Discrete maps read it as ``dt``; those made for another are refused.
    name : for reports.
    cerebellum : a predictor (`bioplaus.cerebellum`) beside the circuit, which rules with a synthetic gradient learn and read.

    Raises
    ------
    CircuitError
        For unknown populations or channels, repeated names, impossible sizes, delays or fan-ins.
    CellError
        For a discrete map that is made for another step.
    """

    populations: Mapping[str, Population]
    projections: tuple[Projection, ...]
    inputs: int
    readout: Readout
    dt: Any = 1e-3
    name: str = "circuit"
    cerebellum: Predictor | None = None
    kappa: float = field(init=False, default=0.0)

    constraints = checks.Table(
        CircuitError,
        "of the circuit",
        populations=checks.Mapped(
            checks.Instance(Population, "Population(bp.model('lif'), 100)"),
            "{'E': Population(bp.model('lif'), 100)}",
            1,
        ),
        projections=checks.Several(
            checks.Instance(Projection, "Projection(name='W', source='E', target='E')"),
            "(Projection(name='W', source='E', target='E'),)",
            0,
        ),
        inputs=checks.Whole(0),
        readout=checks.Instance(Readout, "Readout(size=2)"),
        dt=checks.Amount("s", "1*ms", plain_below=0.1),
        name=checks.Word(),
        cerebellum=checks.Optional(checks.Instance(Predictor, "bp.predictor('linear')", by_name=predictor), "for none"),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        if INPUT in self.populations:
            raise CircuitError("A population cannot be called 'input': that names the external input.")
        for name in self.populations:
            if "/" in name or not name.isprintable():
                plain = "".join(letter if letter.isprintable() and letter != "/" else "_" for letter in name)
                raise CircuitError(
                    f"A population cannot be called {cut(repr(name))}: its recordings are called after it, and in their files '/' parts "
                    f"groups and a name is one line. Write {cut(repr(plain))}."
                )
        self._at_its_step()
        self._not_too_fast()
        names = [p.name for p in self.projections] + ["W_out", "b_out"] + self._biases()
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise CircuitError(
                f"Several weights would be called {', '.join(twice)}. Name each projection differently, and not like a bias or the readout's weights."
            )
        object.__setattr__(self, "projections", tuple(self._completed(p) for p in self.projections))
        sources = self.readout.sources if self.readout.sources is not None else tuple(self.populations)
        for source in sources:
            self._population(source, "the readout's sources")
        object.__setattr__(self, "readout", replace(self.readout, sources=sources))
        if self.readout.apart and (not sources or self.readout.size % len(sources)):
            raise CircuitError(
                f"size of the readout is {self.readout.size}, and apart=True gives each of its {len(sources)} sources ({', '.join(sources)}) as many outputs of its own: "
                "give a multiple of that number."
            )
        tau = self.readout.tau
        object.__setattr__(self, "kappa", 0.0 if tau is None else exp(-self.dt / tau))

    def _at_its_step(self) -> None:
        """Refuse discrete maps whose constants do not hold at this step."""
        if all(p.cell.made_for is None for p in self.populations.values()):
            return
        from bioplaus.symbolic.arguments import step_of

        for name, p in self.populations.items():
            step_of(p.cell, self.dt, f"population '{name}'")

    def _not_too_fast(self) -> None:
        """Refuse a background whose sources would spike more than once a step."""
        for name, p in self.populations.items():
            for channel, poisson in (p.background or {}).items():
                if poisson.rate * self.dt > 1:
                    more = 10 * ceil(poisson.rate * self.dt)
                    raise CircuitError(
                        f"The background of population '{name}' onto {channel} has rate={poisson.rate:g}*Hz, more than one spike in a step of {self.dt * 1e3:g} ms, and a "
                        f"source spikes once a step at most. Write it as more sources of a lower rate: n={poisson.n * more}, rate={poisson.rate / more:g}*Hz."
                    )

    def _biases(self) -> list[str]:
        """What the learned biases are called."""
        return [
            "b" if len(self.populations) == 1 else f"b_{n}" for n, p in self.populations.items() if p.bias is not None
        ]

    def _population(self, name: str, where: str) -> Population:
        if name not in self.populations:
            raise CircuitError(f"Unknown population '{name}' in {where}. Populations: {', '.join(self.populations)}.")
        return self.populations[name]

    def _completed(self, p: Projection) -> Projection:
        cell = self._population(p.target, f"projection {p.name} (target)").cell
        external = p.source == INPUT
        pre = self.inputs if external else self._population(p.source, f"projection {p.name} (source; or 'input')").size
        opened = (cell.external or tuple(cell.channels)) if external else cell.opened(p.sends)
        channels = p.channels if p.channels is not None else opened
        stray = set(channels) - set(cell.channels)
        if stray:
            raise CircuitError(
                f"Projection {p.name} targets channel {sorted(stray)}; '{p.target}' has {', '.join(cell.channels)}."
            )
        if not external and p.sends is not None and p.sends not in (sends := self.populations[p.source].cell.sends):
            raise CircuitError(
                f"Projection {p.name} carries '{p.sends}', and the cell of '{p.source}' sends {', '.join(sends) or 'nothing beside its output'}: name it in the "
                f"cell's sends=, such as sends={{'{p.sends}': 's'}}, or leave sends= of the projection out."
            )
        if (
            not external
            and (jumping := [c for c in channels if c in cell.jumps])
            and not self.populations[p.source].cell.with_spikes(p.sends)
        ):
            raise CircuitError(
                f"Projection {p.name} brings {p.sends or 'rates'} of '{p.source}' to {', '.join(jumping)} of '{p.target}', which jumps at every step by what arrives: the "
                "smaller dt, the more. Rates act on channels held over a step, inputs=: name one in channels=, or give the target's cell one."
            )
        delay = (0 if external else 1) if p.delay is None else p.delay
        self._in_steps(p.name, delay, (p.source, p.target))
        most = pre if p.autapses or p.source != p.target else pre - 1
        if p.fan_in is not None and p.fan_in > most:
            raise CircuitError(f"Projection {p.name} wants fan_in={p.fan_in} of {most} possible sources.")
        if p.synapses is not None:
            self._within(p, pre)
        completed = replace(p, channels=tuple(channels), delay=delay)
        if p.kernel is not None or isinstance(delay, Conduction):
            self._place(completed)
        return completed

    def _place(self, p: Projection) -> None:
        """Tell a projection that goes by distance where its neurons are."""
        from bioplaus.circuit.near import Near

        what = "a kernel" if p.kernel is not None else "delays by distance"
        ends = [self.populations[name] for name in (p.target, p.source)]
        nowhere = sorted(
            {name for name, each in zip((p.target, p.source), ends, strict=True) if each.positions is None}
        )
        if nowhere:
            raise CircuitError(
                f"Projection {p.name} has {what}, and '{nowhere[0]}' no positions: give the population positions=bp.grid((20, 50), spacing=10*um), or an array "
                "(neuron, 1 to 3) of lengths."
            )
        post, pre = (each.positions for each in ends)
        post.refuse(pre, p.name)
        object.__setattr__(p, "ends", (post, pre))
        if p.kernel is not None:
            near = Near(p.kernel, post, pre, p.source == p.target and not p.autapses, p.name)
            object.__setattr__(p, "near", near)

    def _within(self, p: Projection, pre: int) -> None:
        """Refuse synapses of neurons that there are not."""
        post, given = self.populations[p.target].size, p.synapses
        if given.shape not in (None, (post, pre)):
            raise CircuitError(
                f"synapses of projection {p.name} are a matrix {given.shape[0]} × {given.shape[1]}, and '{p.target}' has {post} neurons, '{p.source}' {pre}: "
                f"give one of {post} × {pre}, [post, pre]."
            )
        for end, indices, size, name in (("post", given.post, post, p.target), ("pre", given.pre, pre, p.source)):
            if len(given) and indices.max() >= size:
                raise CircuitError(
                    f"synapses of projection {p.name} name {end}synaptic neuron {indices.max()}, and '{name}' has {size}: indices go from 0 to {size - 1}."
                )
        if p.source == p.target and not p.autapses and (given.post == given.pre).any():
            raise CircuitError(
                f"synapses of projection {p.name} connect neuron {given.post[given.post == given.pre][0]} to itself, and autapses=False. Leave such pairs out, or say autapses=True."
            )

    def _in_steps(self, name: str, delay: int | float | Late, ends: tuple[str, str]) -> None:
        """Refuse a delay in ms that is none in steps."""
        maps = [each for each in ends if each in self.populations and timeless(self.populations[each].cell)]
        if (delay.in_time if isinstance(delay, Late) else isinstance(delay, float)) and maps:
            raise CircuitError(
                f"delay of projection {name} is {delay if isinstance(delay, Late) else shown(delay)}, and '{maps[0]}' is of a discrete map (update=) that does not read dt: its steps are no time. "
                "Give the delay in steps, such as delay=2; or write the map's constants with dt, or say made_for= which dt they hold."
            )
        if isinstance(delay, Listed):
            delay.refuse(name, *(self.populations[each].size for each in ends[::-1]))
        elif not isinstance(delay, Late):
            steps(delay, self.dt, name)

    def build(
        self, seed: int = 0, dtype: torch.dtype | str | None = None, device: str | torch.device = "cpu"
    ) -> Network:
        """Compile the cells and draw the weights: see `bioplaus.circuit.network.Network`.

        Raises
        ------
        CircuitError
            For another dtype than float32 and float64, or a device that torch cannot use here.
        """
        if isinstance(dtype, str):
            dtype = getattr(torch, checks.accept(CircuitError, "dtype", dtype, checks.Word(("float32", "float64"))))
        if dtype not in (None, torch.float32, torch.float64):
            raise checks.refusal(CircuitError, "dtype", dtype, "torch.float32 or torch.float64, or None for float32")
        if reason := unusable(device):
            raise CircuitError(reason)
        return Network(self, seed=seed, dtype=dtype, device=device)

    def __repr__(self) -> str:
        return f"Circuit({self.name!r}: {self.counts()}, dt {self.dt * 1e3:g} ms)"

    def counts(self) -> str:
        """``100 alif, 40 inputs, 2 outputs``"""
        cells = ", ".join(f"{p.size} {p.cell.name or 'cells'}" for p in self.populations.values())
        return f"{cells}, {self.inputs} inputs, {self.readout.size} outputs"

    def describe(self) -> dict[str, Any]:
        """Everything that defines the circuit, as plain data."""
        return {
            "name": self.name,
            "dt": f"{self.dt * 1e3!r} ms",
            "inputs": self.inputs,
            "populations": {
                n: {"size": p.size, "bias": None if p.bias is None else dict(p.bias), "cell": p.cell.describe()}
                | ({"background": {k: vars(b) for k, b in p.background.items()}} if p.background else {})
                | ({"positions": p.positions.describe()} if p.positions is not None else {})
                for n, p in self.populations.items()
            },
            "projections": [{k: v for k, v in (vars(p) | _told(p)).items() if v is not None} for p in self.projections],
            "cerebellum": None if self.cerebellum is None else self.cerebellum.describe(),
            "readout": {
                **{k: v for k, v in vars(self.readout).items() if k != "tau" and (k != "apart" or v)},
                "kappa": self.kappa,
            },
        }


def _told(p: Projection) -> dict[str, Any]:
    """What a projection's record holds in other words than the projection itself."""
    kernel = None if p.kernel is None else p.kernel.describe()
    return {"delay": shown(p.delay), "synapses": told(p.synapses), "kernel": kernel, "near": None, "ends": None}
