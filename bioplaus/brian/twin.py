"""A built circuit as Brian2 objects: a group for each population, a `Synapses` for each recurrent projection.

Brian2's step k runs in slots, and every piece of a circuit's step (docs/concepts.md) has its own::

    start          I_from_W = Σ W y of rate cells, d steps old           summed variables
    before_groups  I = I_unit (I_external + Σ I_from_W);  I_from_W = 0   constant during the step
                   normal = what the circuit has drawn                   xi = √dt normal
    groups         u = f(s, I)                                           Brian2's state updater, ``cell.method``,
                                                                         or named entries of Φ and Γ (below);
                                                                         of a map that spikes its own statements
    after_groups   u = the value, where a state is held                  written past Brian2, which leaves refractory neurons alone
                   rate_d = rate_{d−1}; …; rate = φ(u)                   rate cells: recent outputs by age
                   s_sent_d = s_sent_{d−1}; …; s_sent_1 = g(r(u, y), y)  what is sent beside them, of every cell
    thresholds     y = [left > right], 0 while refractory
    synapses       I_from_W += w (s_sent_d), for spikes fired d − 1 ago  which so act d steps after they were fired
                   s += unit (w, or external_{k+1}), where s jumps
    resets         s = r(u, y)
    end            recorded

What is held over a step waits in ``I_from_W`` until the next, so neither a hard reset nor a clamped membrane can lose it. What
jumps does so when Brian2 lets it, by default: before the reset, which may wipe it out. The samples of a batch are one group:
neuron i of sample b has number b·size + i, and no synapse leaves its sample.

Where the closed form of ``exact`` is not the matrix exponential (time constants that are equal, or nearly so; states that swing),
Brian2 is given the step with the constants that torch has: `bioplaus.codegen.propagated`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from brian2 import Clock, Equations, NeuronGroup, Synapses, second
from brian2.parsing.sympytools import sympy_to_str
from brian2.stateupdaters.base import StateUpdateMethod

from bioplaus.brian.make import Make
from bioplaus.brian.names import Names, free, words
from bioplaus.brian.standing import begun, events, inside, refractory
from bioplaus.circuit import Network
from bioplaus.circuit.wiring import Wired, Wiring
from bioplaus.codegen.propagated import propagated
from bioplaus.symbolic import noise
from bioplaus.symbolic.derive import HELD, LAST, NOW, RECEPTIVE, after, arriving
from bioplaus.symbolic.functions import for_brian
from bioplaus.symbolic.integrate import declared
from bioplaus.symbolic.text import substituted, symbol
from bioplaus.symbolic.units import declaration, plain

if TYPE_CHECKING:
    from bioplaus.cell import Cell
    from bioplaus.circuit.network import State
    from bioplaus.symbolic.text import Expression

ANY = "bioplaus*"  # a name that Brian2 numbers
BRIAN = Make()


class Beside(NamedTuple):
    """What neurons have beside their cell's equations where their synapses learn (`bioplaus.brian.plastic`).

    All that arrives is then summed up anew in every step, from outputs that spiking neurons keep too: a weight that has just moved acts at once.
    """

    onto: Sequence[Wired] = ()  # projections that arrive so, beside the recurrent ones
    model: Sequence[str] = ()  # more variables


def neurons(
    network: Network,
    population: int,
    drive: np.ndarray,
    clock: Clock,
    start: State | None = None,
    name: str = ANY,
    make: Make = BRIAN,
    beside: Beside | None = None,
) -> NeuronGroup:
    """The neurons of one population under external input and bias ``drive``, (time, batch, channels · unit), from where they stand, or their start."""
    p = network.populations[population]
    cell = network.circuit.populations[p.name].cell
    T, batch = drive.shape[:2]
    recurrent: Sequence[Wired] = p.recurrent if beside is None else (*p.recurrent, *beside.onto)
    stands, keeps = (start or network.start(batch)).populations[population], beside is not None or not cell.spiking
    taken = drive.reshape(T, batch, p.taken, p.size).transpose(2, 0, 1, 3).reshape(p.taken, T, batch * p.size)

    # the declarations from which the torch step was derived, and what only spike, reset or output use
    texts, called = cell.parsed, Names(network, population)
    model = _declared(cell) if texts.equations is None else declared(cell, texts.equations)
    read = (*texts.after_step, texts.refractory, *(each.right for each in texts.update))
    used = set().union(*(e.names for e in read if e is not None))
    more = [declaration(n, v, " (constant)") for n, v in cell.parameters.items() if n in used and n not in model]
    ours = _named_entries(cell, network.circuit.dt)
    more += [f"{name} : 1 (constant)" for name in ours]
    waits = (
        {called.wait: p.refractory.cpu().numpy() * network.circuit.dt}
        if p.refractory.ndim and texts.refractory is None
        else {}
    )
    more += [f"{name} : second (constant)" for name in waits]
    of = {gate.channel: gate.of for gate in p.gated}
    held = len(cell.inputs) if beside is None else len(cell.channels)
    more += [f"{called.arriving[w.spec.name, k]} : 1" for w in recurrent for k in w.channels if of.get(k, k) < held]
    more += [f"{said} : 1" for said in called.said[0] if keeps]
    more += [f"{said} : 1" for voice in called.said[1:] for said in voice]
    more += [] if beside is None else beside.model

    outside = called.external
    namespace: dict[str, Any] = {
        each: make.timed(values, clock, name, each) for each, values in zip(outside, taken, strict=True)
    }
    collect, clear, jumps, landing = [], [], [], []
    for k, channel in enumerate(cell.channels):
        namespace |= {called.unit[k]: cell.channels[channel]}
        gates = [gate for gate in p.gated if gate.of == k]
        if channel in cell.jumps and beside is not None:
            brought = [f"{outside[k]}(t, i)", *(called.arriving[w.spec.name, k] for w in recurrent if k in w.channels)]
            more.append(f"{called.jump[channel]} : 1")
            landing.append(f"{called.jump[channel]} = {' + '.join(brought)}")
            continue
        if channel in cell.jumps:
            brought = [
                f"{outside[k]}(t + dt, i)",
                *(_gated(f"{outside[g.channel]}(t + dt, i)", outside[g.switch], "t + dt") for g in gates),
            ]
            jumps.append(f"{channel} += {called.unit[k]}*({' + '.join(brought)})")
            continue
        brought = [f"{outside[k]}(t, i)", *(called.arriving[w.spec.name, k] for w in recurrent if k in w.channels)]
        for gate in gates:
            behind = [called.arriving[w.spec.name, gate.channel] for w in recurrent if gate.channel in w.channels]
            brought.append(_gated(" + ".join([f"{outside[gate.channel]}(t, i)", *behind]), outside[gate.switch], "t"))
        collect.append(f"{channel} = {called.unit[k]}*({' + '.join(brought)})")
        here = [(w, c) for c in (k, *(gate.channel for gate in gates)) for w in recurrent if c in w.channels]
        clear += [f"{called.arriving[w.spec.name, c]} = 0" for w, c in here if beside is None and events(network, w)]

    for k, xi in enumerate(cell.noises, p.channels):
        more.append(f"{noise.normal(xi)} : 1")
        collect.append(f"{noise.normal(xi)} = {outside[k]}(t, i)")

    reset = [f"{s.name} {s.operator} {s.right.brian}" for s in texts.reset]
    if cell.spiking and keeps:
        reset.append(f"{called.said[0][0]} = 1")
    group = make.group(
        batch * p.size,
        model + "\n".join(more),
        method=_in_named_entries(cell, p.refracts) if ours else _drawn_before(cell),  # type: ignore[arg-type]
        threshold=texts.spike.whole.brian if texts.spike else None,
        reset="; ".join(reset) or None,
        refractory=_refractory(p, texts.refractory, clock, called.wait),  # type: ignore[arg-type]
        namespace=namespace,
        clock=clock,
        name=name,
    )
    landing += _landed(cell, called) if landing else []
    for code, when, order in ((collect + clear, "before_groups", 0), (jumps, "synapses", 0), (landing, "start", 1)):
        if code:
            make.regularly(group, "\n".join(code), clock, when, order)
    if texts.update:
        make.regularly(group, "\n".join(f"{s.name} = {s.right.brian}" for s in texts.update), clock, "groups")
    if keeps:
        aged = _older(called.said[0])
        said = "0" if texts.output is None else _heard(p, texts.output.brian, outside)
        make.regularly(group, "\n".join([*aged, f"{called.said[0][0]} = {said}"]), clock, "after_groups")
    if p.voices > 1:
        make.regularly(group, "\n".join(_sending(p, cell, called)), clock, "after_groups", order=1)
    # what is declared, not all that is there: t, i or N may be among the parameters, unused
    values = {n: v for n, v in cell.parameters.items() if n in group.equations} | ours | waits
    for name, value in values.items():
        each = np.tile(np.broadcast_to(plain(value), p.size), batch)
        make.set(group, name, each[0] if group.variables[name].scalar else each)
    # spikes of before the first step have arrived when it begins
    arrived = {}
    for k, s in enumerate(cell.channels):
        if s in cell.jumps and beside is not None:
            arrived[s] = np.zeros((batch, p.size))
        elif s in cell.jumps:
            both = [
                taken[k, 0],
                *((1 - taken[gate.switch, 0]) * taken[gate.channel, 0] for gate in p.gated if gate.of == k),
            ]
            arrived[s] = np.sum(both, 0).reshape(batch, p.size)
    for name, value in zip(cell.states, begun(cell, inside(p, stands, len(cell.states)), arrived), strict=True):
        make.set(group, name, value.reshape(-1))
    for slot, value in enumerate(stands.y):
        age, voice = divmod(slot, p.voices)
        if voice or keeps:
            make.set(group, called.said[voice][age], value.double().cpu().numpy().reshape(-1))
    if p.clamped:
        make.operation(group, _clamping(p, cell, group, taken, clock), clock, -1)
    if stands.wait is not None and bool(stands.wait.any()):
        make.set(group, *refractory(p.refractory, stands, p.kernel.waits is not None, network.circuit.dt))
    return group


def _declared(cell: Cell) -> Equations:
    """The variables of a discrete map, plain numbers: its states, and the channels that are held over a step."""
    return Equations("\n".join(f"{name} : 1" for name in (*cell.states, *cell.inputs)))


def _older(said: list[str]) -> list[str]:
    """What was said becomes a step older."""
    return [f"{old} = {new}" for new, old in reversed(list(zip(said, said[1:], strict=False)))]


def _sending(p: Wiring, cell: Cell, called: Names) -> list[str]:
    """What is sent beside the output: a function of the states as the reset will leave them, and of whether there is a spike."""
    d, texts = cell.derived, cell.parsed
    fired = symbol(called.fired)
    settled = {symbol(s): substituted(r, {NOW: fired}) for s, r in zip(d.states, d.r, strict=True)}
    ours = {after(s): symbol(s) for s in d.states}
    lines = []
    if texts.spike:
        free = "*int(not_refractory)" if p.refracts else ""
        lines.append(f"{called.fired} = int({texts.spike.whole.brian}){free}")
    for v, e in enumerate(d.sends, 1):
        lines += _older(called.said[v])
        new = substituted(substituted(substituted(e, {NOW: fired}), settled), ours)
        lines.append(f"{called.said[v][0]} = {_heard(p, sympy_to_str(for_brian(new)), called.external)}")
    return lines


def _landed(cell: Cell, called: Names) -> list[str]:
    """Where states are when a step begins, after what has arrived since the last reset: s + J (`bioplaus.symbolic.derive.landed`)."""
    last = symbol(called.said[0][0])
    ours = {LAST: last, HELD: last, RECEPTIVE: symbol("int(not_refractory)")}
    for k, s in enumerate(cell.channels):
        if s in cell.jumps:  # where it is 1 of a unit, the expression has no factor for it
            own = symbol(called.unit[k]) if cell.scales[s] == 1 else 1
            ours |= {arriving(s): own * symbol(called.jump[s]), symbol(f"unit_{s}"): symbol(called.unit[k])}
    moved = zip(cell.states, cell.derived.begins, strict=True)
    return [f"{s} = {sympy_to_str(for_brian(substituted(e, ours)))}" for s, e in moved if e != symbol(s)]


def _heard(p: Wiring, said: str, outside: list[str]) -> str:
    """What is said, unless that is silenced."""
    return said if p.silence is None else f"(1 - {outside[p.silence]}(t, i))*({said})"


def _gated(brought: str, switch: str, when: str) -> str:
    """What is brought, unless that is cut."""
    return f"(1 - {switch}({when}, i))*({brought})"


def _clamping(p: Wiring, cell: Cell, group: NeuronGroup, taken: np.ndarray, clock: Clock) -> Callable[[Any], None]:
    """States that are held, between the integrator and the threshold: no statement of Brian2's, which would leave refractory neurons alone."""
    held = [
        (group.variables[cell.states[state]], taken[switch] != 0, taken[value]) for state, switch, value in p.clamped
    ]

    def hold(t: Any) -> None:
        step = clock.variables["timestep"].get_value().item()
        for variable, when, value in held:
            variable.set_value(np.where(when[step], value[step], variable.get_value()))

    return hold


def _refractory(p: Wiring, written: Expression | None, clock: Clock, each: str) -> Any:
    """How long, as Brian2 takes it: as written, a time, or the name of one per neuron."""
    if not p.refracts:
        return False
    if written is not None:
        return written.brian
    return each if p.refractory.ndim else int(p.refractory) * clock.dt


def _named_entries(cell: Cell, dt: float) -> dict[str, Any]:
    """The entries of the cell's propagators by name; none where Brian2's own closed form gives all of them."""
    values = {**{k: plain(v) for k, v in cell.constants.items()}, "dt": dt}
    found = [propagated(p, values) for p in cell.derived.propagators]
    if all(one.closed for one in found) or not _linear(cell):
        return {}
    return {name: number for one in found for name, number in one.numbers.items()}


def _linear(cell: Cell) -> bool:
    """Whether the whole step is a propagator's, not only that of a refractory neuron."""
    return any(not p.regime for p in cell.derived.propagators)


def _in_named_entries(cell: Cell, refractory: bool) -> Callable[..., str]:
    """A state updater that takes the step x(t + dt) = Φ x + Γ φ, and a refractory neuron's where that is another."""
    assert cell.parsed.equations is not None
    new = {p.regime: {s: sympy_to_str(for_brian(e)) for s, e in p.step().items()} for p in cell.derived.propagators}
    waiting = next((step for regime, step in new.items() if regime), {})
    waiting |= {s: s for s in cell.states if "unless refractory" in cell.parsed.equations[s].flags}

    def step(s: str, free: str) -> str:
        if not refractory or s not in waiting:
            return f"_{s} = {free}"
        return f"_{s} = int(not_refractory)*({free}) + (1 - int(not_refractory))*({waiting[s]})"

    code = "\n".join([*(step(s, free) for s, free in new[""].items()), *(f"{s} = _{s}" for s in cell.states)])
    return lambda *given, **options: code


def _drawn_before(cell: Cell) -> str | Callable[..., str]:
    """The cell's method; where it would draw normal numbers in Brian2, its code with those that the circuit has drawn."""
    if not cell.noises:
        return cell.method
    return lambda equations, variables, *given, **options: noise.given(
        str(StateUpdateMethod.apply_stateupdater(equations, variables, cell.method))
    )


def synapses(
    network: Network,
    w: Wired,
    source: NeuronGroup,
    target: NeuronGroup,
    batch: int,
    clock: Clock,
    name: str = ANY,
    make: Make = BRIAN,
) -> Synapses | None:
    """The synapses of one recurrent projection, those that its mask leaves; None where it leaves none."""
    pre, post = network.populations[w.source.population].size, network.populations[w.target].size
    W = network.weights[w.spec.name].cpu().numpy()
    if w.synapses is not None:
        j, i = (each.cpu().numpy() for each in (w.synapses.post, w.synapses.pre))
        W = W.reshape(len(w.channels), -1)
    else:
        mask = network.masks.get(w.spec.name)
        W = W.reshape(len(w.channels), post, pre)
        j, i = np.nonzero(np.ones((post, pre)) if mask is None else mask.cpu().numpy().reshape(W.shape).any(0))
        W = W[:, j, i]
    if not i.size:
        return None
    said_by, called = Names(network, w.source.population), Names(network, w.target)
    taken = {*said_by.taken, *called.taken}
    weights = _weights(called, w, taken)
    model = [f"{each} : 1 (constant)" for each in weights.values()]
    late = np.full(len(i), w.source.delays[0]) if w.synapses is None else w.synapses.delay.cpu().numpy()
    several = len(w.source.delays) > 1
    steps = free("steps", taken)
    model += [f"{steps} : 1 (constant)"] if several else []
    told = [(age, f"{said_by.said[w.source.voice][age - 1]}_pre") for age in w.source.delays]
    said = "*(" + " + ".join(f"int({steps} == {age})*{name}" if several else name for age, name in told) + ")"
    if events(network, w):
        brought, units = said if w.source.voice else "", {}
        silence, p = network.populations[w.source.population].silence, network.populations[w.target]
        if silence is not None and not w.source.voice:  # asked of when they spiked
            silent = free("source_" + said_by.external[silence], taken)
            units[silent] = source.namespace[said_by.external[silence]]
            brought = f"*(1 - {silent}(t - ({steps if several else w.source.delays[0]} - 1)*dt, i))"
        cell = network.circuit.populations[p.name].cell
        names, gates = list(cell.channels), {gate.channel: gate for gate in p.gated}
        arrive = []
        for k in w.channels:
            onto = names.index(called.channels[k])
            if names[onto] in cell.jumps:
                unit = called.unit[onto]
                units[unit] = cell.channels[names[onto]]
                open_ = ""
                if k in gates:
                    cut = called.external[gates[k].switch]
                    units[cut] = target.namespace[cut]
                    open_ = f"*(1 - {cut}(t + dt, j))"
                arrive.append(f"{names[onto]}_post += {unit}*{weights[k]}{brought}{open_}")
            else:
                arrive.append(f"{called.arriving[w.spec.name, k]}_post += {weights[k]}{brought}")
        made = make.synapses(
            source,
            target,
            "\n".join(model),
            on_pre="\n".join(arrive),
            delay=(late[0] - 1) * clock.dt if len(w.source.delays) == 1 else None,
            clock=clock,
            namespace=units,
            name=name,
        )
    else:
        model += [f"{called.arriving[w.spec.name, k]}_post = {weights[k]}{said} : 1 (summed)" for k in w.channels]
        made = make.synapses(source, target, "\n".join(model), clock=clock, namespace={}, name=name)
        make.early(made)  # before currents are collected
    sample = np.arange(batch)[:, None]
    make.connect(made, (sample * pre + i).ravel(), (sample * post + j).ravel())
    for k, channel in zip(w.channels, W, strict=True):
        make.set(made, weights[k], np.tile(channel, batch))
    if several and events(network, w):
        make.delay(made, np.tile((late - 1) * network.circuit.dt, batch))
    if several:
        make.set(made, steps, np.tile(late.astype(float), batch))
    return made


def _weights(called: Names, w: Wired, taken: set[str]) -> dict[int, str]:
    """What the weights onto each channel are called: w, unless a cell has such a variable."""
    if len(w.channels) == 1:
        return {w.channels[0]: free("weight" if "w" in taken else "w", taken)}
    return {k: free(f"w_{called.channels[k]}", taken) for k in w.channels}


def objects(
    network: Network, drives: list[np.ndarray], clock: Clock, start: State | None = None, make: Make = BRIAN
) -> tuple[list[NeuronGroup], list[Synapses]]:
    """All that makes up a circuit in Brian2, called as in it: the neurons of each population, and the synapses of each recurrent projection that has any."""
    names = iter(words([*(p.name for p in network.populations), *(w.spec.name for w in network.recurrent)]))
    groups = []
    for i, (p, drive) in enumerate(zip(network.populations, drives, strict=True)):
        make.population(network, p)
        groups.append(neurons(network, i, drive, clock, start, next(names), make))
    batch, made = drives[0].shape[1], []
    for w in network.recurrent:
        make.projection(network, w)
        ends = groups[w.source.population], groups[w.target]
        made.append(synapses(network, w, *ends, batch, clock, next(names), make))
    return groups, [each for each in made if each is not None]


def clock(network: Network) -> Clock:
    """The circuit's time step."""
    return Clock(network.circuit.dt * second)
