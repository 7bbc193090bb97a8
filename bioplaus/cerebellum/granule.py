"""The cerebellum as a circuit of rates: pontine nuclei, granule and Golgi cells, Purkinje cells and interneurons, deep nuclei, olive.

    cortex  h → pons m → (delay) → granule cells φ, kept in bounds by Golgi cells → (delay) → Purkinje cells, nuclei  g = A φ + b → cortex
                                                                                         ↑  Δ ∝ δ̂ · trace of φ
    error   δ ──────────────────────── (delay) ─────────────────────────── olive  δ̂ ────┘

Each part is a file of this room, and each of its elements can be switched off; what is left is the rung below. All off is a linear map, and with nuclei
that learn the linear predictor, whose offset they are:

=====================================  ========================================  =============================================
element                                off                                       file
=====================================  ========================================  =============================================
on and off pairs                       ``pairs=False``                           pons
compression                            ``lines=None``                            pons
expansion and fan-in of granule cells  ``expansion=1, fan_in=1``                 wiring
rectification                          ``rectify=False``                         golgi
homeostatic thresholds                 ``active=None``                           golgi
gain control                           ``subtractive=0, divisive=0``             golgi
opponent zones                         ``opponent=False``                        purkinje
interneurons                           ``interneurons=False``                    purkinje
weights of one sign                    ``signs=False``                           purkinje
absent synapses                        ``reach=1``                               purkinje
nuclei that end at rate 0              ``tonic=None``                            purkinje
plasticity of the nuclei               ``plastic_nuclei=False``                  purkinje
climbing-fibre events                  ``teaching="graded"``                     olive
delays                                 ``delay_in=0, delay_out=0, delay_back=0``  delays, signal/traces/bump
=====================================  ========================================  =============================================
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch

from bioplaus import checks
from bioplaus.capacity import lacking
from bioplaus.cerebellum import delays, wiring
from bioplaus.cerebellum import trial as trials
from bioplaus.cerebellum.base import Predictor, Taken
from bioplaus.cerebellum.golgi import Golgi
from bioplaus.cerebellum.olive import CLIP, TEACHING, Olive
from bioplaus.cerebellum.pons import Pons
from bioplaus.cerebellum.purkinje import MASK, Zones
from bioplaus.cerebellum.seen import Seen
from bioplaus.cerebellum.trial import Lesion, Trial
from bioplaus.errors import RuleError
from bioplaus.own import Gradients, Own
from bioplaus.streams import branch

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.perturb import Perturb

#: delays by the part at whose end they are
WAYS = {"pons": "delay_in", "nuclei": "delay_out", "olive": "delay_back"}
THRESHOLD, WIRING, C = "golgi.threshold", "granule.wiring", "pons.C"


@dataclass
class Memory(Taken):
    """What the circuit remembers from step to step of a trial.

    ``steps`` are the delays.
    """

    steps: dict[str, int] = field(default_factory=dict)
    generator: torch.Generator | None = None
    arriving: Tensor | None = None  # on its way along mossy fibres
    leaving: Tensor | None = None  # on its way out
    a: Tensor | None = None
    square: Tensor | None = None
    there: Tensor | None = None  # Golgi cells, in the last stretch
    #: part → its rates in the last stretch, (time, batch, unit)
    rates: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Granule(Predictor):
    """g = A φ(h) + b, behind a granule layer, with weights that keep their sign.

    Parameters
    ----------
    pairs : whether mossy fibres come in on and off pairs of rates that end at 0.
    lines : mixtures of the cortex's state that the pontine nuclei pass on; None: all of it.
    expansion : granule cells for each mossy fibre; 4 to 13 are published.
    fan_in : mossy fibres that each of them hears, exactly.
    rectify : whether granule cells' rates end at 0.
    active : the fraction of steps in which each is active, held by thresholds that learn; None: no thresholds.
    subtractive, divisive : how strongly Golgi cells subtract from granule cells' drive, and divide it; 0: not.
    tau_golgi : how long the Golgi cells' activity lasts, steps or a time; 0: a step.
    signs : whether weights are held at 0 or above.
    interneurons : whether parallel fibres also inhibit Purkinje cells, by weights that learn.
    opponent : whether each output has two zones that pull opposite ways, or one.
    reach : the part of all granule cells that each Purkinje cell hears.
    tonic : the deep nuclei's rate, in the unit of the output, if nobody inhibits them; they end at 0. None: in their linear range.
    plastic_nuclei : whether their tonic rate learns (give it a slow rate: ``lr={"cerebellum.nuclei": 1e-5}``).
    teaching : ``"graded"``, ``"events"`` or ``"perturb"`` (`bioplaus.cerebellum.olive`).
    fibres : climbing fibres for each zone of each output; None: 1.
    rate : how often each fires at rest; None: 1 Hz.
    probability : for circuits whose steps are no time: with which probability in a step, in the place of ``rate``.
    scale : the error that doubles it; None: 3 times the running r.m.s.
    size : of perturbations, in that scale; None: 0.1.
    delay_in, delay_out : mossy fibres' delay, and that from granule cells to the cortex; steps, or times.
    delay_back : the delay with which an error comes back. Needs ``trace="bump"``.
    peak : after how long the synapses' trace of parallel fibres is highest; None: when the error comes back.

    Raises
    ------
    RuleError
    """

    pairs: bool = True
    lines: int | None = None
    expansion: float = 5.0
    fan_in: int = 4
    rectify: bool = True
    active: float | None = 0.2
    subtractive: float = 0.0
    divisive: float = 0.0
    tau_golgi: float = 0
    signs: bool = True
    interneurons: bool = True
    opponent: bool = True
    reach: float = 1.0
    tonic: float | None = None
    plastic_nuclei: bool = False
    teaching: Literal["graded", "events", "perturb"] = "graded"
    fibres: int | None = None
    rate: float | None = None
    probability: float | None = None
    scale: float | None = None
    size: float | None = None
    delay_in: float = 0
    delay_out: float = 0
    delay_back: float = 0
    peak: float | None = None

    constraints = checks.Table(
        RuleError,
        "of a granule predictor",
        pairs=checks.Flag(),
        lines=checks.Optional(checks.Whole(1, 10**6), "for the whole state"),
        expansion=checks.Real(above=0),
        fan_in=checks.Whole(1, 10**6),
        rectify=checks.Flag(),
        active=checks.Optional(checks.Real(above=0, below=1), "for no thresholds"),
        subtractive=checks.Real(least=0),
        divisive=checks.Real(least=0),
        tau_golgi=delays.Lasting(),
        signs=checks.Flag(),
        interneurons=checks.Flag(),
        opponent=checks.Flag(),
        reach=checks.Real(above=0, most=1),
        tonic=checks.Optional(checks.Real(above=0), "for the linear range"),
        plastic_nuclei=checks.Flag(),
        teaching=checks.Word(TEACHING),
        fibres=checks.Optional(checks.Whole(1, 10**5), "for 1"),
        rate=checks.Optional(checks.Amount("Hz", "1*Hz"), "for 1 Hz"),
        probability=checks.Optional(checks.Real(above=0, below=1), "for what rate says"),
        scale=checks.Optional(checks.Real(above=0), "for 3 times the running r.m.s. of the error"),
        size=checks.Optional(checks.Real(above=0), "for 0.1"),
        delay_in=delays.Lasting(),
        delay_out=delays.Lasting(),
        delay_back=delays.Lasting(),
        peak=checks.Optional(delays.Lasting(), "for the delay of the error"),
    )

    def __post_init__(self) -> None:
        checks.settle(self)
        only = {"fibres": ("events",), "scale": TEACHING[1:], "rate": TEACHING[1:], "probability": TEACHING[1:], "size": ("perturb",)}  # fmt: skip
        for name, where in only.items():
            if getattr(self, name) is not None and self.teaching not in where:
                raise RuleError(
                    f"{name}={getattr(self, name)} is for teaching={' or '.join(map(repr, where))}, and the teaching is '{self.teaching}'. Leave {name} out."
                )
        if self.rate is not None and self.probability is not None:
            raise RuleError(
                "rate and probability of a granule predictor say the same thing twice, how often a climbing fibre fires at rest. Leave one of them out."
            )
        if self.active is not None and not self.rectify:
            raise RuleError(
                "active= is the fraction of steps in which a rate is above 0, and rectify=False lets rates go below. Give active=None, or rectify=True."
            )
        if self.peak is not None and self.delays["olive"] == 0 and self.peak == 0:
            object.__setattr__(self, "peak", None)

    # -- its parts -----------------------------------------------------------------------------------------------------------

    @cached_property
    def pons(self) -> Pons:
        return Pons(self.lines, self.pairs)

    @cached_property
    def golgi(self) -> Golgi:
        return Golgi(self.subtractive, self.divisive, self.active, self.rectify)

    @cached_property
    def zones(self) -> Zones:
        return Zones(self.opponent, self.interneurons, self.signs, self.tonic, self.plastic_nuclei)

    @cached_property
    def olive(self) -> Olive:
        return Olive(self.teaching, self.fibres or 1, self.scale, self.size or 0.1, self.zones.count)

    @property
    def delays(self) -> dict[str, float]:
        return {part: getattr(self, name) for part, name in WAYS.items()}

    @property
    def bumps(self) -> bool:
        return bool(self.delay_back or self.peak)

    def loop(self, dt: float) -> tuple[int, float]:
        by = delays.steps(self.delay_back, dt, "delay_back")
        return by, by if self.peak is None else delays.in_steps(self.peak, dt)

    def cells(self, inputs: int) -> int:
        """How many granule cells there are."""
        return max(round(self.expansion * self.pons.fibres(inputs)), 1)

    def sizes(self, inputs: int, outputs: int) -> dict[str, int]:
        """Part → how many units it has."""
        zones = self.zones.count * outputs
        found = {"pons": self.pons.fibres(inputs), "granule": self.cells(inputs), "golgi": 1, "purkinje": zones}
        found |= {"interneuron": zones} if self.interneurons else {}
        fibres = zones if self.teaching == "events" else outputs
        return found | {"nuclei": zones, "olive": fibres}

    def delayed(self, perturbs: Iterable[Perturb]) -> Granule:
        found = self
        for p in perturbs:
            if p.kind == "delay":
                name = WAYS.get(p.path.rpartition(".")[2])
                timed = p.unit in ("s", "second")
                if name is None:
                    continue  # `refuse` says so
                if not timed and not isinstance(p.value, int):
                    raise RuleError(f"value of {p!r} is neither steps nor a time: give value=5, or value=5*ms.")
                peak = self.peak if self.peak is not None else self.delay_back  # synapses stay as they are
                found = replace(found, **{name: float(p.value) if timed else p.value}, peak=peak)
        return found

    def refuse(self, trial: Trial, perturbs: tuple[Perturb, ...] = ()) -> str | None:
        fibres = self.pons.fibres(trial.inputs)
        if self.fan_in > fibres and trial.told:
            return f"fan_in={self.fan_in} of its granule cells is more than there are mossy fibres, {fibres} (give fan_in={fibres} or less)"
        more = () if trial.told else ("pons", "granule")
        if reason := trials.refuse(perturbs, self.sizes(trial.inputs, trial.outputs), WAYS, more):
            return reason
        given = {name: getattr(self, name) for name in (*WAYS.values(), "peak", "tau_golgi")}
        times = [name for name, value in given.items() if isinstance(value, float)]
        times += ["rate"] if self.olive.random and self.probability is None else []
        if times and not trial.timed:
            instead = "probability" if times == ["rate"] else "steps"
            return f"{times[0]} of its predictor is a time, and the steps of a discrete map (update=) are none (give {instead})"
        p, most = self.chance(trial.dt), 1 + CLIP[1] if self.teaching == "events" else 1.0
        if self.olive.random and (p * most > 1 or p == 1):
            often = f", and up to {most:g} times that when the error is large, which is more than 1" if most > 1 else ""
            never = "" if often else ", so that there is no step without a perturbation to hold one against"
            return (
                f"climbing fibres would fire with probability {p:.3g} in a step at rest{often}{never} "
                "(give a lower rate or probability, or a shorter dt)"
            )
        return None

    def chance(self, dt: float) -> float:
        """p."""
        return self.probability if self.probability is not None else (self.rate or 1.0) * dt

    # -- the way in ----------------------------------------------------------------------------------------------------------

    def init(self, seen: Seen, generator: torch.Generator) -> Own:
        kind = {"dtype": seen.dtype, "device": seen.device}
        fibres, cells = self.pons.fibres(seen.inputs), self.cells(seen.inputs)
        size = torch.finfo(seen.dtype).bits // 8
        zones = self.zones.count * (2 if self.interneurons else 1)
        needs = {
            f"its {cells} granule cells' synapses onto {seen.outputs} outputs": zones * seen.outputs * cells * size,
            f"their wiring to {fibres} mossy fibres": cells * fibres * size,
        }
        if reason := lacking(needs, torch.device(seen.device)):
            raise RuleError(
                f"The predictor {reason} Use a smaller expansion, fewer lines from the pons (lines=100), or a smaller circuit."
            )
        if self.fan_in > fibres:
            raise RuleError(
                f"fan_in={self.fan_in} of the granule cells is more than there are mossy fibres, {fibres}. Give fan_in={fibres} or less."
            )
        fixed = self.pons.draw(seen.inputs, generator)
        fixed[WIRING] = wiring.matrix(wiring.dealt(cells, fibres, self.fan_in, generator), fibres)
        if self.reach < 1:
            fixed[MASK] = wiring.some((self.zones.count, seen.outputs, cells), self.reach, generator)
        learned = self.zones.weights(seen.outputs, cells, **kind)
        if self.active is not None:
            learned[THRESHOLD] = torch.zeros(cells, **kind)
        return Own(learned, {name: value.to(**kind) for name, value in fixed.items()})

    def start(self, trial: Trial) -> Memory:
        steps = {part: delays.steps(lasting, trial.dt, WAYS[part]) for part, lasting in self.delays.items()}
        return Memory(trial, steps=steps, generator=branch(trial.generator) if self.olive.random else None)

    def relay(self, theta: Own, memory: Memory, h: Tensor) -> tuple[Tensor, Memory]:
        first, cut = memory.at, memory.trial.lesions
        now = replace(memory, at=first + len(h), rates={})
        m = self.pons.rates(theta[C] if C in theta else None, h)
        now.rates["pons"] = m = trials.silenced(m, cut, "pons", first)
        m, now.arriving = delays.late(m, memory.arriving, memory.steps["pons"])
        on = trials.silenced(h.new_ones(len(h), 1, 1), cut, "golgi", first)
        tau = delays.in_steps(self.tau_golgi, memory.trial.dt)
        threshold = theta[THRESHOLD] if self.active is not None else None
        u = m @ theta[WIRING].T
        phi, now.rates["golgi"], now.a = self.golgi.run(u, threshold, memory.a, tau, on)
        now.rates["granule"] = phi = trials.silenced(phi, cut, "granule", first)
        now.there = on
        phi, now.leaving = delays.late(phi, memory.leaving, memory.steps["nuclei"])
        return phi, now

    # -- the way out ---------------------------------------------------------------------------------------------------------

    @property
    def affine(self) -> bool:
        return self.tonic is None

    def features(self, theta: Own, h: Tensor) -> Tensor:
        return self._phi(theta, h)

    def named(self, theta: Own, found: Tensor) -> Gradients:
        zones = self.zones.count
        A, b = found[..., :-1], found[..., -1]
        return self.zones.spread(theta, A.expand(zones, *A.shape), b.expand(zones, *b.shape))

    def predict(self, theta: Own, h: Tensor) -> Tensor:
        return self.zones.say(theta, self._phi(theta, h))

    def say(self, theta: Own, memory: Memory, seen: Tensor, first: int) -> Tensor:
        cut, zones = memory.trial.lesions, self.zones
        parts = {lesion.part for lesion in cut}
        if not parts & {"cerebellum", "purkinje", "interneuron", "nuclei"}:
            return self.predict(theta, seen)
        rates = self.outgoing(theta, seen, cut, first)
        g = torch.einsum("z,...zo->...o", zones.sigma(seen), rates["nuclei"].unflatten(-1, (zones.count, -1)))
        return trials.silenced(g, cut, "cerebellum", first)

    def outgoing(self, theta: Own, seen: Tensor, cut: tuple[Lesion, ...], first: int) -> dict[str, Tensor]:
        """Purkinje cells, interneurons and nuclei, (time, batch, zone · output); nuclei by how far they are from their tonic rate."""
        zones, rates = self.zones, {}
        flat = lambda values: values.flatten(-2)  # noqa: E731
        excited = flat(zones.purkinje(theta, seen, inhibited=False))
        inhibited = torch.zeros_like(excited)
        if self.interneurons:
            inhibited = -flat(zones.purkinje(theta, seen, excited=False))
            rates["interneuron"] = inhibited = trials.silenced(inhibited, cut, "interneuron", first)
        rates["purkinje"] = trials.silenced(excited - inhibited, cut, "purkinje", first)
        P = rates["purkinje"].unflatten(-1, (zones.count, -1))
        rates["nuclei"] = trials.silenced(flat(zones.nuclei(theta, P)), cut, "nuclei", first)
        return rates

    def watch(self, theta: Own, memory: Memory, seen: Tensor, first: int) -> dict[str, Tensor]:
        entering = {part: rates[-len(seen) :] for part, rates in memory.rates.items()}
        return entering | self.outgoing(theta, seen, memory.trial.lesions, first)

    # -- learning ------------------------------------------------------------------------------------------------------------

    def gradient(self, theta: Own, h: Tensor, u: Tensor) -> Gradients:
        phi = self._phi(theta, h).flatten(0, -2)
        u = u.flatten(0, -2)
        if (gate := self.zones.open(theta, phi)) is None:
            return self.named(theta, torch.cat([u.T @ phi, u.sum(0)[:, None]], -1))
        through = gate * u[:, None, :]
        return self.zones.spread(theta, torch.einsum("bzo,bn->zon", through, phi), through.sum(0))

    def jacobian(self, theta: Own, h: Tensor) -> Gradients:
        phi = self._phi(theta, h)
        gate = self.zones.open(theta, phi)
        many, outputs = self.zones.count, theta["purkinje.w"].shape[1]
        if gate is None:
            gate = phi.new_ones(len(phi), many, outputs)
        eye = torch.eye(outputs, dtype=phi.dtype, device=phi.device)
        b = eye[:, None, :] * gate[:, None]  # (batch, output, zone, output)
        return self.zones.spread(theta, b[..., None] * phi[:, None, None, None, :], b)

    def hear(self, theta: Own, memory: Memory, delta: Tensor) -> tuple[Tensor, Memory]:
        cut, first = memory.trial.lesions, memory.at - len(delta)
        said, heard, now = self._olive(memory, delta, cut, first)
        if memory.log is not None:
            memory.log.append((first, said))
        return trials.silenced(heard, cut, "cerebellum", first), now

    def _olive(
        self, memory: Memory, delta: Tensor, cut: tuple[Lesion, ...], first: int
    ) -> tuple[Tensor, Tensor, Memory]:
        """What its fibres do, what the synapses hear of that, and what is remembered."""
        if memory.generator is None:
            heard = trials.silenced(delta, cut, "olive", first)
            return heard, heard, memory
        square, heard, fired, p = memory.square, [], [], self.chance(memory.trial.dt)
        fibres = self.sizes(memory.trial.inputs, delta.shape[-1])["olive"]
        on = trials.silenced(delta.new_ones(len(delta), 1, fibres), cut, "olive", first)
        for each, there in zip(delta, on, strict=True):
            square = self.olive.mean_square(each, square)
            now = self.olive.hear(each, square, p, memory.generator, there)
            heard.append(now.delta)
            fired.append(now.fired)
        return torch.stack(fired), torch.stack(heard), replace(memory, square=square)

    def aside(self, theta: Own, memory: Memory) -> Gradients:
        if self.active is None or memory.there is None:
            return {}
        return {THRESHOLD: self.golgi.homeostasis(memory.rates["granule"], memory.there)}

    def constrain(self, theta: Own) -> None:
        self.zones.hold(theta)

    def describe(self) -> dict[str, Any]:
        return {"predictor": "granule", **asdict(self)}

    def _phi(self, theta: Own, h: Tensor) -> Tensor:
        """What it has been handed, if it can be granule cells' rates."""
        cells = theta[WIRING].shape[0]
        if h.shape[-1] != cells:
            raise RuleError(
                f"A granule predictor reads its {cells} granule cells' rates, which relay() gives, and was handed {h.shape[-1]} numbers. Rules that have a predictor do so: "
                "whoever calls predict() gives it those."
            )
        return h
