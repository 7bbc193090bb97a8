"""A circuit that learns inside Brian2: its neurons, its readout and all its synapses, whose weights move at every step.

Beside the slots of `bioplaus.brian.twin` a step has these, as a trial goes by::

    start          x, and what was said: of each age that a synapse hears    so that it is still known at the end
                   arriving = Σ w · what was said                            all synapses; with weights that moved in the step before
    groups …       as in the twin, and the partials of `bioplaus.brian.eprop`
    after_resets   ȳ = κ ȳ + (1 − κ) y                                       of each neuron
                   o = Σ w ȳ + c;  δ = weight · ∂loss/∂o;  heard = δ          of each output; under reward, ξ (ξ·δ)
                   L = Σ b · heard                                           of each neuron: symmetric feedback through the readout's own synapses
    end            traces;  w −= rate · L · ē;  Dale's law                   of each synapse
                   w −= rate · δ ȳ;  c −= rate · δ;  adaptive b likewise     of the readout; then decay
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from brian2 import Clock, NeuronGroup, Synapses, TimedArray

from bioplaus.brian import twin
from bioplaus.brian.eprop import LACKING, Local, local, rows
from bioplaus.brian.names import Names
from bioplaus.circuit.wiring import Bias, External, Outputs, Wired
from bioplaus.rules import Rule
from bioplaus.signal import Instant

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.circuit import Network
    from bioplaus.own import Owns
    from bioplaus.tasks import Batch, Loss

#: δ of one output, by the name of its loss: of its output o_, target y_ and, where it needs them all, Σ exp(o_k − o_)
ERRORS = {
    "squared": "o_ - y_",
    "cross_entropy": "1/all_ - y_",
    "soft_cross_entropy": "1/all_ - y_",
    "binary_cross_entropy": "(1 - y_)/(1 + exp(-o_)) - y_/(1 + exp(o_))",
}
#: how a neuron hears of errors
FEEDBACK = "feedback.B"


@dataclass
class Plastic:
    """All that makes up a learning circuit in Brian2.

    Attributes
    ----------
    populations : the neurons of each population.
    readout : of each output.
    synapses : by weight; ``W_out`` has one for each population that is read.
    feedback : of each population, where it has weights of its own.
    """

    network: Network
    clock: Clock
    populations: list[NeuronGroup]
    readout: NeuronGroup
    synapses: dict[str, list[Synapses]] = field(default_factory=dict)
    feedback: list[Synapses] = field(default_factory=list)
    others: list[Any] = field(default_factory=list)

    @property
    def objects(self) -> list[Any]:
        every = [each for some in self.synapses.values() for each in some]
        return [*self.populations, self.readout, *every, *self.feedback, *self.others]


def plastic(
    network: Network,
    rule: Rule,
    own: Owns,
    batch: Batch,
    loss: Loss,
    rates: Mapping[str, float],
    xi: Tensor | None,
) -> Plastic:
    """Of one trial.

    Parameters
    ----------
    batch : of one trial, its inputs with what the circuit draws by itself.
    rates : by path; what has 0, or none, stays.
    xi : (time, output), by which the readout explores; only for reward.
    """
    assert isinstance(rule.signal, Instant)
    clock, signal = twin.clock(network), rule.signal
    drives = [each.double().cpu().numpy() for each in _given(network, batch.inputs)]
    locals_ = [_local(network, i, rule) for i in range(len(network.populations))]
    groups = [_neurons(network, i, drive, clock, locals_[i]) for i, drive in enumerate(drives)]
    made = Plastic(network, clock, groups, _readout(network, batch, loss, rates, xi, clock))
    lines = _lines(network, batch, clock)
    made.others += lines.values()
    for w in network.wired:
        if w.spec.learned or isinstance(w.source, Outputs):
            source = groups[w.source.population] if isinstance(w.source, Outputs) else lines[type(w.source)]
            found = _synapses(
                network, w, source, groups[w.target], locals_[w.target], rates.get(w.spec.name, 0.0), clock
            )
            made.synapses[w.spec.name] = [] if found is None else [found]
    made.synapses["W_out"] = _out(network, signal, groups, made.readout, rates, clock)
    if "feedback" in own:
        made.feedback = _feedback(network, signal, own, groups, made.readout, rates, clock)
    if loss.name in ("cross_entropy", "soft_cross_entropy"):
        made.others.append(_all(made.readout, "all__post = exp(o__pre - o__post)", 4, clock))
    if xi is not None:
        made.others.append(_all(made.readout, "earned__post = sign__pre*error__pre", 6, clock))
    return made


def _given(network: Network, x: Tensor) -> tuple[Tensor, ...]:
    """What arrives by no weight that learns."""
    still = copy(network)
    learned = {w.spec.name for w in network.learned if not isinstance(w.source, Outputs)}
    still.weights = {n: torch.zeros_like(W) if n in learned else W for n, W in network.weights.items()}
    return still.drive(x)


def _local(network: Network, i: int, rule: Rule) -> Local:
    p = network.populations[i]
    states = dict(zip(p.kernel.derived.states, p.units, strict=True))
    return local(p, states, Names(network, i), rule.eligibility, every=not p.kernel.derived.spiking)


def _neurons(network: Network, i: int, drive: np.ndarray, clock: Clock, told: Local) -> NeuronGroup:
    p, called = network.populations[i], Names(network, i)
    heard = sorted(
        {(w.source.voice, d) for w in network.recurrent if w.source.population == i for d in w.source.delays}
    )
    model = [f"{_was(voice, age)} : 1" for voice, age in heard]
    model += ["seen_ : 1", "credit_ : 1", "count_ : 1", *told.model]
    onto = [w for w in p.driven if w.spec.learned]
    group = twin.neurons(network, i, drive, clock, beside=twin.Beside(onto, model))
    group.namespace |= told.numbers | LACKING | {"kappa_": network.kappa}
    for name, values in told.fields.items():
        group.variables[name].set_value(np.broadcast_to(values, p.size))
    kept = [f"{_was(voice, age)} = {called.said[voice][age - 1]}" for voice, age in heard]
    _regularly(group, kept, "start", -2, clock)
    for (slot, order), code in told.code.items():
        _regularly(group, code, slot, -1 if slot == "start" else order, clock)
    now = called.said[0][0]
    seen = f"seen_ = kappa_*seen_ + (1 - kappa_)*{now}" if network.kappa else f"seen_ = {now}"
    _regularly(group, [seen, f"count_ += {now}"], "after_resets", 1, clock)
    return group


def _was(voice: int, age: int) -> str:
    """What a neuron had said, so many steps before this one."""
    return f"was{voice}_{age}_"


def _regularly(group: Any, code: list[str], when: str, order: int, clock: Clock) -> None:
    if code:
        group.run_regularly("\n".join(code), when=when, order=order, clock=clock)


def _lines(network: Network, batch: Batch, clock: Clock) -> dict[type, NeuronGroup]:
    """What is known before a step is taken: input lines, and the constant of biases."""
    found: dict[type, NeuronGroup] = {}
    kinds = {type(w.source) for w in network.learned}
    if External in kinds:
        x = batch.inputs[:, 0, : network.circuit.inputs].double().cpu().numpy()
        group = NeuronGroup(x.shape[1], "x_ : 1", namespace={"given_": TimedArray(x, dt=clock.dt)}, clock=clock)
        _regularly(group, ["x_ = given_(t, i)"], "start", -2, clock)
        found[External] = group
    if Bias in kinds:
        found[Bias] = NeuronGroup(1, "x_ : 1", namespace={}, clock=clock)
        found[Bias].variables["x_"].set_value(1.0)
    return found


def _synapses(
    network: Network, w: Wired, source: NeuronGroup, target: NeuronGroup, told: Local, rate: float, clock: Clock
) -> Synapses | None:
    """The synapses of one projection, and what they learn."""
    called = Names(network, w.target)
    W, j, i = laid(network, w)
    if not i.size:
        return None
    several = isinstance(w.source, Outputs) and len(w.source.delays) > 1
    if isinstance(w.source, Outputs):
        ages = [(age, f"{_was(w.source.voice, age)}_pre") for age in w.source.delays]
        heard = " + ".join(f"int(late == {age})*{name}" if several else name for age, name in ages)
    else:
        heard = "x__pre"
    model = ["late : 1 (constant)"] if several else []
    model += [f"w_{k} : 1" for k in w.channels]
    model += [f"{called.arriving[w.spec.name, k]}_post = w_{k}*({heard}) : 1 (summed)" for k in w.channels]
    space: dict[str, Any] = {"kappa_": network.kappa, "sign_": w.spec.sign or 0}
    code = [f"pre_ = {heard}"]
    for k in w.channels:
        trace = rows(told.part, k, "pre_", bool(network.kappa))
        model += trace.model
        space |= trace.numbers | {"rate_": rate}
        code += [*trace.code, f"w_{k} -= rate_*credit__post*{trace.met}"]
        code += [f"w_{k} = w_{k}*int(sign_*w_{k} > 0)"] if w.spec.sign else []
    made = Synapses(source, target, "\n".join(model), namespace=space, clock=clock)
    for updater in made.summed_updaters.values():
        updater.when = "start"
    made.connect(i=i, j=j)
    for k, values in zip(w.channels, W, strict=True):
        made.variables[f"w_{k}"].set_value(values)
    if several:
        assert w.synapses is not None
        made.variables["late"].set_value(w.synapses.delay.cpu().numpy().astype(float))
    if w.spec.learned and rate:
        _regularly(made, code, "end", 0, clock)
    return made


def laid(network: Network, w: Wired) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weights of a projection as its synapses have them, (channel, synapse), where they go, and whence they come."""
    W = network.weights[w.spec.name].double().cpu().numpy()
    if w.synapses is not None:
        j, i = (each.cpu().numpy() for each in (w.synapses.post, w.synapses.pre))
        return W.reshape(len(w.channels), -1), j, i
    W = W.reshape(len(w.channels), network.populations[w.target].size, -1)
    mask = network.masks.get(w.spec.name)
    j, i = np.nonzero(np.ones(W.shape[1:]) if mask is None else mask.cpu().numpy().reshape(W.shape).any(0))
    return W[:, j, i], j, i


def _readout(
    network: Network, batch: Batch, loss: Loss, rates: Mapping[str, float], xi: Tensor | None, clock: Clock
) -> NeuronGroup:
    """One neuron for each output."""
    size = network.circuit.readout.size
    asked = batch.weight[:, 0].double().cpu().numpy()
    y = batch.targets[:, 0].cpu()
    y = (torch.nn.functional.one_hot(y, size) if loss.kind == "index" else y).double().numpy()
    space: dict[str, Any] = {
        "asked_": TimedArray(asked, dt=clock.dt),
        "target_": TimedArray(np.where(asked[:, None] != 0, y, 0.0), dt=clock.dt),
        "rate_": rates.get("b_out", 0.0),
    }
    model = ["o_ : 1", "y_ : 1", "all_ : 1", "c_ : 1", "error_ : 1", "heard_ : 1", "earned_ : 1", "sign_ : 1"]
    model += [f"from{p}_ : 1" for p in network.sources]
    if xi is not None:
        space["explored_"] = TimedArray(xi.double().cpu().numpy(), dt=clock.dt)
    group = NeuronGroup(size, "\n".join(model), namespace=space, clock=clock)
    if "b_out" in network.weights:
        group.variables["c_"].set_value(network.weights["b_out"].double().cpu().numpy())
    add = " + ".join(f"from{p}_" for p in network.sources)
    _regularly(group, [f"o_ = {add} + c_", "y_ = target_(t, i)"], "after_resets", 3, clock)
    _regularly(group, [f"error_ = asked_(t)*({ERRORS[loss.name]})", *(["sign_ = explored_(t, i)"] if xi is not None else [])], "after_resets", 5, clock)  # fmt: skip
    _regularly(group, ["heard_ = error_" if xi is None else "heard_ = sign_*earned_"], "after_resets", 7, clock)
    _regularly(group, ["c_ -= rate_*error_"] if rates.get("b_out") else [], "end", 0, clock)
    return group


def _all(readout: NeuronGroup, what: str, order: int, clock: Clock) -> Synapses:
    """A sum over all outputs."""
    made = Synapses(readout, readout, f"{what} : 1 (summed)", namespace={}, clock=clock)
    for updater in made.summed_updaters.values():
        updater.when, updater.order = "after_resets", order
    made.connect()
    return made


def _out(
    network: Network,
    signal: Instant,
    groups: list[NeuronGroup],
    readout: NeuronGroup,
    rates: Mapping[str, float],
    clock: Clock,
) -> list[Synapses]:
    """From what is read to the readout; and back, where feedback is symmetric."""
    symmetric = signal.feedback in ("symmetric", "reward")
    parts = network.weights["W_out"].double().cpu().split([network.populations[p].size for p in network.sources], 1)
    found = []
    for p, W in zip(network.sources, parts, strict=True):
        model = ["w_ : 1", f"from{p}__post = w_*seen__pre : 1 (summed)"]
        model += ["credit__pre = w_*heard__post : 1 (summed)"] if symmetric else []
        forget = _decay(signal, rates, "W_out")
        made = Synapses(groups[p], readout, "\n".join(model), namespace={"rate_": rates.get("W_out", 0.0), "left_": 1 - forget}, clock=clock)  # fmt: skip
        for name, updater in made.summed_updaters.items():
            updater.when, updater.order = "after_resets", 2 if name.startswith("from") else 8
        made.connect()
        made.variables["w_"].set_value(W.T.numpy()[made.i[:], made.j[:]])
        _regularly(made, ["w_ -= rate_*error__post*seen__pre"] if rates.get("W_out") else [], "end", 1, clock)
        _regularly(made, ["w_ *= left_"] if forget else [], "end", 2, clock)
        found.append(made)
    return found


def _decay(signal: Instant, rates: Mapping[str, float], path: str) -> float:
    """What adaptive feedback makes weights forget in every step; frozen ones forget nothing."""
    return signal.decay if signal.feedback == "adaptive" and path in rates else 0.0


def _feedback(
    network: Network,
    signal: Instant,
    own: Owns,
    groups: list[NeuronGroup],
    readout: NeuronGroup,
    rates: Mapping[str, float],
    clock: Clock,
) -> list[Synapses]:
    """From the readout to all neurons."""
    sizes = [p.size for p in network.populations]
    B = own["feedback"]["B"].double().cpu()
    found = []
    for group, part in zip(groups, B.expand(-1, sum(sizes)).split(sizes, 1), strict=True):
        space = {"rate_": rates.get(FEEDBACK, 0.0), "left_": 1 - (forget := _decay(signal, rates, FEEDBACK))}
        made = Synapses(
            readout, group, "b_ : 1\ncredit__post = b_*heard__pre : 1 (summed)", namespace=space, clock=clock
        )
        for updater in made.summed_updaters.values():
            updater.when, updater.order = "after_resets", 8
        made.connect()
        made.variables["b_"].set_value(part.numpy()[made.i[:], made.j[:]])
        if signal.feedback == "adaptive":
            _regularly(made, ["b_ -= rate_*error__pre*seen__post"] if rates.get(FEEDBACK) else [], "end", 1, clock)
            _regularly(made, ["b_ *= left_"] if forget else [], "end", 2, clock)
        found.append(made)
    return found


def back(made: Plastic, own: Owns) -> None:
    """Write the weights, and the rule's own, as they are now, where they came from."""
    network = made.network
    for w in network.wired:
        for each in made.synapses.get(w.spec.name, []):
            W = network.weights[w.spec.name]
            values = np.stack([each.variables[f"w_{k}"].get_value() for k in w.channels])
            _, j, i = laid(network, w)
            new = np.zeros((len(w.channels), network.populations[w.target].size, W.numel() // (len(w.channels) * network.populations[w.target].size))) if w.synapses is None else values  # fmt: skip
            if w.synapses is None:
                new[:, j, i] = values
            W.copy_(torch.from_numpy(new).reshape(W.shape))
    read = [_matrix(each, "w_") for each in made.synapses["W_out"]]
    network.weights["W_out"].copy_(torch.from_numpy(np.concatenate([each.T for each in read], 1)))
    if "b_out" in network.weights:
        network.weights["b_out"].copy_(torch.from_numpy(made.readout.variables["c_"].get_value().copy()))
    if made.feedback and FEEDBACK.split(".")[1] in own["feedback"].learned:
        own["feedback"]["B"].copy_(torch.from_numpy(np.concatenate([_matrix(each, "b_") for each in made.feedback], 1)))


def _matrix(synapses: Synapses, name: str) -> np.ndarray:
    """(source, target) of synapses from everywhere to everywhere."""
    found = np.zeros((len(synapses.source), len(synapses.target)))
    found[synapses.i[:], synapses.j[:]] = synapses.variables[name].get_value()
    return found
