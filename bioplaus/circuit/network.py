"""A circuit with numbers: compiled cells, weights, masks, and one step of the whole.

One step, in Brian2's order (docs/concepts.md)::

    I_t = Σ_p W_p y_{t−d_p} + U x_t + b
    u_t = f(s_{t−1}, I_t);   y_t = φ(u_t);   s_t = r(u_t, y_t)   (and, of cells that send more, z_t = g(s_t, y_t) beside y_t)
    ȳ_t = κ ȳ_{t−1} + (1 − κ) y_t;   o_t = C ȳ_t + c
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from bioplaus.circuit.afford import afford
from bioplaus.circuit.delays import Late, steps
from bioplaus.circuit.description import INPUT, Projection, Readout
from bioplaus.circuit.drawn import wanted
from bioplaus.circuit.initial import initial
from bioplaus.circuit.loading import fitting
from bioplaus.circuit.synapses import Synapses, drawn
from bioplaus.circuit.wiring import Bias, External, Outputs, Source, Wired, Wiring
from bioplaus.codegen.kernel import Kernel, hard_spike, surrogate_spike, uncut
from bioplaus.settings import ours
from bioplaus.streams import stream

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.cell import Cell
    from bioplaus.circuit.circuit import Circuit
    from bioplaus.perturb import Perturb


class PopulationState(NamedTuple):
    """State variables, recent outputs and steps left in the refractory period, each (batch, unit).

    Of outputs the newest come first; of every step y, and then what is sent beside it.
    """

    s: tuple[Tensor, ...]
    y: tuple[Tensor, ...]
    wait: Tensor | None


class State(NamedTuple):
    """Everything that crosses from one step to the next."""

    populations: tuple[PopulationState, ...]
    filtered: tuple[Tensor, ...]
    #: what stands beside the circuit and remembers something (`bioplaus.circuit.beside`)
    beside: Any = None

    def outputs(self) -> State:
        """The same with outputs only, where nothing else will be asked for."""
        return State(tuple([PopulationState((), p.y, None) for p in self.populations]), self.filtered)


class Step(NamedTuple):
    """What happened in one step; per population."""

    before: State
    I: tuple[Tensor, ...]  # (batch, (channels and noises) · unit)
    u: tuple[tuple[Tensor, ...], ...]
    active: tuple[Tensor | None, ...]
    after: State


class Network:
    """A built circuit.

    Attributes
    ----------
    weights : dict of str to Tensor
        ``W[post, pre]`` by projection name, biases ``b`` (``b_<population>`` if there are several), readout ``W_out`` (output,
        units of all sources) and ``b_out``. Replace values in place or with `load`.
    masks : dict of str to Tensor
        1 where a weight may be nonzero; absent where all may.
    synapses : dict of str to Synapses
        Of sparse projections, whose weights are one value a synapse: which neuron speaks to which. `matrix` gives W[post, pre].
    """

    #: who interferes with it (`bioplaus.circuit.perturbed`), and what of its weights and of a rule's own tensors does not learn meanwhile
    perturbs: tuple[Perturb, ...] = ()
    frozen: tuple[str, ...] = ()
    #: those of them whose path leads into a predictor beside it, which rules have
    cerebellar: tuple[Perturb, ...] = ()
    #: where it hears something that was predicted (`bioplaus.circuit.driven`, `bioplaus.circuit.beside`): what that is, as half a sentence
    drives: str = ""

    @ours()
    def __init__(self, circuit: Circuit, seed: int = 0, dtype: torch.dtype | None = None, device: Any = "cpu") -> None:
        self.circuit, self.seed = circuit, seed
        self.dtype, self.device = dtype or torch.float32, torch.device(device)
        self.kappa = circuit.kappa
        afford(circuit, self.dtype, self.device)
        names = list(circuit.populations)
        self.drawn = wanted(circuit)
        self.weights: dict[str, Tensor] = {}
        self.masks: dict[str, Tensor] = {}
        self.synapses: dict[str, Synapses] = {}
        generator = stream(seed, "weights")
        outside: list[Wired[External | Bias]] = []
        recurrent: list[Wired[Outputs]] = []
        self.wired: list[Wired[Source]] = []
        for p in circuit.projections:
            cell = circuit.populations[p.target].cell
            assert p.channels is not None
            channels = tuple(tuple(cell.channels).index(c) for c in p.channels)
            self._draw(p, generator)
            onto = (names.index(p.target), channels, _whole(cell, channels), self.synapses.get(p.name))
            if p.source == INPUT:
                outside.append(Wired(p, External(), *onto))
                self.wired.append(outside[-1])
            else:
                sends = tuple(circuit.populations[p.source].cell.sends)
                voice, voices = 0 if p.sends is None else 1 + sends.index(p.sends), 1 + len(sends)
                delays = (
                    self.synapses[p.name].delays if isinstance(p.delay, Late) else (steps(p.delay, circuit.dt, p.name),)
                )
                slots = tuple([(d - 1) * voices + voice for d in delays])
                recurrent.append(Wired(p, Outputs(names.index(p.source), slots, voices), *onto))
                self.wired.append(recurrent[-1])
        for i, (name, population) in enumerate(circuit.populations.items()):
            if population.bias is not None:
                outside.append(self._bias(i, name, "b" if len(names) == 1 else f"b_{name}"))
                self.wired.append(outside[-1])
        self.recurrent = tuple(recurrent)
        self.learned = tuple(w for w in self.wired if w.spec.learned)
        assert circuit.readout.sources is not None
        self.sources = tuple(names.index(s) for s in circuit.readout.sources)
        read = sum(circuit.populations[names[s]].size for s in self.sources)
        out = circuit.readout
        if out.apart:
            self._read_apart(out, generator)
        else:
            self.weights["W_out"] = self._tensor(initial((out.size, read), read, out.init, out.gain, generator))
        if out.bias:
            self.weights["b_out"] = self._tensor(torch.zeros(out.size))
        self.populations = tuple(self._wire(i, n, outside) for i, n in enumerate(names))

    def __repr__(self) -> str:
        count = sum(w.numel() for w in self.weights.values())
        return f"Network({self.circuit!r}, {count:_} weights, {str(self.dtype).removeprefix('torch.')}, {self.device})"

    def __reduce__(self) -> Any:
        """Generated functions stay behind and are generated again."""
        weights = {name: w.detach().cpu() for name, w in self.weights.items()}
        masks = {name: m.cpu() for name, m in self.masks.items()}
        synapses = {name: each.to(torch.device("cpu")) for name, each in self.synapses.items()}
        return _again, (
            self.circuit,
            self.seed,
            str(self.dtype).removeprefix("torch."),
            str(self.device),
            weights,
            masks,
            synapses,
        )

    def _steps(self, refractory: Any) -> Tensor:
        return torch.as_tensor(refractory, device=self.device, dtype=self.dtype)

    def _tensor(self, value: Tensor) -> Tensor:
        return value.to(device=self.device, dtype=self.dtype)

    def _bias(self, index: int, name: str, label: str) -> Wired[Bias]:
        """The learned constant input of a population, and its weights."""
        population = self.circuit.populations[name]
        inputs = tuple(population.cell.inputs)
        channels = tuple(range(len(inputs)))
        values = torch.tensor([(population.bias or {}).get(c, 0.0) for c in inputs], dtype=torch.float64)
        self.weights[label] = self._tensor(values).repeat_interleave(population.size)
        spec = Projection(name=label, source="1", target=name, channels=inputs)
        return Wired(spec, Bias(), index, channels, _whole(population.cell, channels))

    def _wire(self, index: int, name: str, outside: list[Wired[External | Bias]]) -> Wiring:
        from bioplaus.symbolic import refractory
        from bioplaus.symbolic.units import plain

        population = self.circuit.populations[name]
        cell = population.cell
        kernel = cell.kernel(population.size, self.circuit.dt, self.dtype, self.device)
        ages = max([d for w in self.recurrent if w.source.population == index for d in w.source.delays], default=1)
        return Wiring(
            name=name,
            size=population.size,
            kernel=kernel,
            refractory=self._steps(refractory.steps(cell, self.circuit.dt)),
            ages=ages,
            start=tuple(plain(cell.start.get(s, 0.0)) for s in cell.states),
            live=tuple(s in kernel.derived.live for s in cell.states),
            driven=tuple(w for w in outside if w.target == index),
            recurrent=tuple(w for w in self.recurrent if w.target == index),
            channels=len(cell.channels),
            drawn=tuple(d for d in self.drawn if d.population == name),
            noises=len(cell.noises),
            units=tuple(cell.units[s] for s in cell.states),
            jumps={k: cell.scales[k] for k in cell.jumps},
        )

    def _draw(self, p: Projection, generator: torch.Generator) -> None:
        circuit = self.circuit
        pre = circuit.inputs if p.source == INPUT else circuit.populations[p.source].size
        post = circuit.populations[p.target].size
        assert p.channels is not None
        K, fan_in = len(p.channels), p.sources(post, pre)
        if p.apart(post, pre):
            found = self._synapses(p, post, pre, generator)
            W = initial((K, len(found)), fan_in, p.init, p.gain, generator)
            if isinstance(p.delay, Late):
                found, order = found.late(p.delay.steps(found, circuit.dt, stream(self.seed, f"delays of {p.name}"), p))
                W = W[:, order]
            elif p.source != INPUT:
                found = replace(found, delays=(steps(p.delay, circuit.dt, p.name),))
            self.synapses[p.name], W = found.to(self.device), W.flatten()
            self.weights[p.name] = self._tensor(W.abs() * p.sign if p.sign else W)
            return
        mask = torch.ones(post, pre)
        if not p.autapses and p.source == p.target:
            mask.fill_diagonal_(0)
        if p.fan_in is not None and p.near is None:
            drawn = torch.rand(post, pre, generator=generator, dtype=torch.float32).masked_fill(mask == 0, 2.0)
            order = drawn.argsort(dim=1, stable=True).argsort(1)
            mask = (order < p.fan_in).to(mask.dtype)
        elif p.partial:
            found = self._synapses(p, post, pre, generator)
            mask = found.dense(torch.ones(len(found)))
        W = initial((K * post, pre), fan_in, p.init, p.gain, generator, K)
        mask = mask.repeat(K, 1)
        self.weights[p.name] = self._tensor((W.abs() * p.sign if p.sign else W) * mask)
        if not bool(mask.all()):
            self.masks[p.name] = self._tensor(mask)

    def _read_apart(self, out: Readout, generator: torch.Generator) -> None:
        """A readout with a block for each population that it sees."""
        sizes = [list(self.circuit.populations.values())[s].size for s in self.sources]
        each = out.size // len(sizes)
        blocks = [initial((each, n), n, out.init, out.gain, generator) for n in sizes]
        self.weights["W_out"] = self._tensor(torch.block_diag(*blocks))
        self.masks["W_out"] = self._tensor(torch.block_diag(*map(torch.ones_like, blocks)))

    @staticmethod
    def _synapses(p: Projection, post: int, pre: int, generator: torch.Generator) -> Synapses:
        autapses, most = p.autapses or p.source != p.target, p.possible(1, pre)
        if p.synapses is not None:
            return Synapses.of(torch.from_numpy(p.synapses.post), torch.from_numpy(p.synapses.pre), (post, pre))
        if p.near is not None:
            return p.near.drawn(generator, p.probability, p.fan_in)
        if p.fan_in is not None:
            return drawn(torch.full((post,), p.fan_in), pre, autapses, generator)
        if p.probability is None:
            return drawn(torch.full((post,), most), pre, autapses, generator)
        many = torch.full((post,), float(most), dtype=torch.float64)
        chance = torch.full_like(many, p.probability or 0.0)
        return drawn(torch.binomial(many, chance, generator=generator).long(), pre, autapses, generator)

    def matrix(self, name: str) -> Tensor:
        """W[post, pre] of a projection, however its weights are kept; rows grouped by channel."""
        W = self.weights[name]
        return self.synapses[name].matrix(W) if name in self.synapses else W

    def there(self, name: str) -> Tensor | None:
        """1 in [post, pre] where there is a synapse, rows grouped by channel; None where all are."""
        if name in self.synapses:
            return self.synapses[name].matrix(torch.ones_like(self.weights[name]))
        return self.masks.get(name)

    def fitted(self, gradients: dict[str, Tensor], in_place: bool = False) -> dict[str, Tensor]:
        """Gradients where there are synapses: those of matrices masked, or taken where weights are kept one by one."""
        for name, mask in self.masks.items():
            if name in gradients:
                gradients[name] = gradients[name].mul_(mask) if in_place else gradients[name] * mask
        for name, synapses in self.synapses.items():
            if name in gradients and gradients[name].dim() == 2:
                gradients[name] = synapses.at(gradients[name])
        return gradients

    # -- weights --------------------------------------------------------------------------------------------------------

    def load(self, weights: Mapping[str, Any]) -> None:
        """Set weights by name from tensors or arrays.

        Raises
        ------
        CircuitError
            For an unknown name, a shape that does not fit, a value that is not finite, of the wrong sign, or where there is no
            synapse; nothing is changed then.
        """
        ready = fitting(self, weights)
        with torch.no_grad():
            for name, tensor in ready.items():
                self.weights[name].copy_(tensor)

    def constrain(self) -> None:
        """Hold masks and signs (Dale's law) after an update, in place."""
        for w in self.wired:
            W = self.weights[w.spec.name]
            if w.spec.sign:
                W.copy_((W * w.spec.sign).clamp_min(0) * w.spec.sign)
            if w.spec.name in self.masks:
                W.mul_(self.masks[w.spec.name])
        if "W_out" in self.masks:
            self.weights["W_out"].mul_(self.masks["W_out"])

    def parameters(self) -> dict[str, Tensor]:
        """The weights that rules learn: learned projections, biases, readout."""
        fixed = {w.spec.name for w in self.wired if not w.spec.learned}
        return {n: w for n, w in self.weights.items() if n not in fixed}

    # -- one step -------------------------------------------------------------------------------------------------------

    def start(self, batch: int) -> State:
        """The state before the first step."""

        def full(value: float, n: int) -> Tensor:
            return torch.as_tensor(value, dtype=self.dtype, device=self.device).expand(batch, n).clone()

        populations = []
        for p in self.populations:
            s, silent = tuple(full(v, p.size) for v in p.start), full(0.0, p.size)
            said = (silent, *(p.kernel.send(s, silent) if p.kernel.send else ()))
            y = tuple(each.expand(batch, p.size).clone() for _ in range(p.ages) for each in said)
            populations.append(PopulationState(s, y, full(0.0, p.size) if p.refracts else None))
        filtered = tuple(full(0.0, self.populations[s].size) for s in self.sources) if self.kappa else ()
        return State(tuple(populations), filtered)

    @property
    def lines(self) -> int:
        """Numbers that a step is given for every sample: external input, and what the circuit draws by itself."""
        return max([self.circuit.inputs, *(d.columns.stop for d in self.drawn)])

    def draw(self, x: Tensor, seed: int, occasion: str = "", first: int = 0) -> Tensor:
        """External input (time, batch, input) and beside it, from a seed, what the circuit draws by itself: (time, batch, `lines`).

        Equal seeds and occasions give equal numbers, on every device, in either dtype to its precision, also for a part of a sequence
        from step ``first`` on. Where nothing is drawn, x itself.
        """
        if not self.drawn or x.shape[-1] == self.lines:
            return x
        return torch.cat([x, *(d.draw(seed, occasion, first, *x.shape[:2]).to(x) for d in self.drawn)], -1)

    def given(self, x: Tensor, blocks: Callable[..., tuple[Tensor, ...]] | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What a stretch keeps of its inputs x, (time, …), and what its steps are given of them, from `drive`, in blocks (`bioplaus.circuit.blocks`) or at once."""
        return x, self.drive(x) if blocks is None else blocks(self.drive, x)

    def drive(self, x: Tensor) -> tuple[Tensor, ...]:
        """Input, bias and what is drawn, of every population, (…, batch, (channels and noises) · unit), for one step or many at once.

        ``x`` is (…, batch, `lines`), see `draw`.
        """
        total, given = [], x[..., : self.circuit.inputs]
        for p in self.populations:
            I: Tensor | None = None
            for w in p.driven:
                I = self._add(I, w.drive(given, self.weights[w.spec.name]), w, p)
            if I is None:
                I = x.new_zeros(*x.shape[:-1], p.taken * p.size)
            if p.drawn:
                I = I.unflatten(-1, (p.taken, p.size)).clone()
                for d in p.drawn:
                    I[..., d.channel, :] += d.weight * x[..., d.columns]
                I = I.flatten(-2)
            total.append(I)
        return tuple(total)

    @staticmethod
    def _add(I: Tensor | None, part: Tensor, w: Wired[Source], p: Wiring) -> Tensor:
        if w.whole:
            return part if I is None else I + part
        spread = part.new_zeros(*part.shape[:-1], p.taken, p.size)
        spread[..., list(w.channels), :] = part.unflatten(-1, (len(w.channels), p.size))
        return spread.flatten(-2) if I is None else I + spread.flatten(-2)

    def advance(self, state: State, drive: tuple[Tensor, ...], differentiable: bool = False) -> Step:
        """One step from ``state`` under ``drive`` (from `drive`, one step of it)."""
        currents, us, actives, after = [], [], [], []
        for p, before, I in zip(self.populations, state.populations, drive, strict=True):
            for w in p.recurrent:
                y, W = w.source.of(state.populations[w.source.population].y), self.weights[w.spec.name]
                I = torch.addmm(I, y, W.T) if w.whole and w.synapses is None else self._add(I, w.drive(y, W), w, p)
            channels = (I,) if p.taken == 1 else I.chunk(p.taken, -1)
            wait, active, receptive = before.wait, None, None
            if wait is not None:
                receptive = (wait == 0).to(self.dtype)
                if p.kernel.waits is None:
                    wait = (wait - 1).clamp_min_(0)
                else:
                    wait = wait * p.kernel.waits(before.s, channels, before.y[0], receptive)
                active = (wait == 0).to(self.dtype)
            spike, cut = (_differentiable(p.kernel)) if differentiable else (hard_spike, uncut)
            u, y, s = p.kernel.step(before.s, channels, before.y[0], active, spike, cut, receptive)
            if wait is not None:
                wait = torch.addcmul(wait, y.detach() if differentiable else y, p.refractory)
            currents.append(I)
            us.append(u)
            actives.append(active)
            said = (y, *p.kernel.send(s, y)) if p.kernel.send else (y,)
            if p.silence is not None:
                said = tuple([each * (1 - channels[p.silence]) for each in said])
            after.append(PopulationState(s, (*said, *before.y[: -len(said)]), wait))
        filtered = tuple(
            torch.lerp(after[s].y[0], f, self.kappa) for s, f in zip(self.sources, state.filtered, strict=False)
        )
        return Step(state, tuple(currents), tuple(us), tuple(actives), State(tuple(after), filtered))

    def read(self, state: State) -> tuple[Tensor, ...]:
        """What the readout sees: ȳ of each source (y itself if κ = 0)."""
        return state.filtered if self.kappa else tuple(state.populations[s].y[0] for s in self.sources)

    def output(self, seen: Tensor) -> Tensor:
        """o = C ȳ + c, for ȳ of all sources side by side."""
        o = seen @ self.weights["W_out"].T
        return o + self.weights["b_out"] if "b_out" in self.weights else o


def _whole(cell: Cell, channels: tuple[int, ...]) -> bool:
    """Whether these are all that a step takes, in order."""
    return not cell.noises and channels == tuple(range(len(cell.channels)))


def _again(
    circuit: Circuit,
    seed: int,
    dtype: str,
    device: str,
    weights: dict[str, Tensor],
    masks: dict[str, Tensor],
    synapses: dict[str, Synapses],
) -> Network:
    """A network that was pickled."""
    network = Network(circuit, seed, getattr(torch, dtype), device)
    for name, mine in network.synapses.items():
        mine.become(synapses[name])
    for mine, saved in ((network.weights, weights), (network.masks, masks)):
        mine.update({name: value.to(network.device) for name, value in saved.items()})
    return network


def _differentiable(kernel: Kernel) -> tuple[Any, Any]:
    return (surrogate_spike(kernel.surrogate) if kernel.surrogate else hard_spike), torch.Tensor.detach
