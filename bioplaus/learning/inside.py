"""What can be recorded of a rule at work, and where each of it stands.

=======================  ====================================================================================================================
name                     what it is, at each step
=======================  ====================================================================================================================
``error``                δ = weight · ∂L/∂o, of each output
``learning_signal``      the credit that meets the eligibility: of each neuron, at ȳ behind a leaky readout; or of each channel, of rules whose signal
                         gives credit for the state
``eligibility``          what it meets, of each synapse: e, behind a leaky readout ē, or what the synapse hears, of rules without a trace
``learning_signal_now``  behind a leaky readout, of rules whose signal gives credit for outputs: credit for the output itself, such as a prediction's
``eligibility_now``      what that meets: e
``psi``                  ∂y/∂u, by the first variable on which what is said depends; ``psi_a``: by another
``prediction``           g(h_t), what a predictor says of ∂L_{>t}/∂h_t: ``prediction_v``, of each variable that is carried, ``prediction_y``, of the output,
                         ``prediction_filtered``, of what a leaky readout sees
``cerebellum.granule``   the rates of a part of the predictor: of a `granule` one ``pons``, ``granule``, ``golgi``, ``purkinje``, ``interneuron``, ``nuclei``
                         (by how far they are from their tonic rate) and ``olive`` (events in the step; graded, what is heard)
``true_prediction``      that gradient itself, of which g is an estimate
``true_credit``          what the learning signal would be if it saw the future: that of the oracle which the eligibility needs; met by ``eligibility_now``
                         behind a leaky readout
=======================  ====================================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from bioplaus.cerebellum.trial import CEREBELLUM
from bioplaus.circuit import Network
from bioplaus.circuit.carried import Layout
from bioplaus.circuit.credit import Credit, Currents
from bioplaus.circuit.tangent import Tangent
from bioplaus.circuit.wiring import Source, Wired, Wiring
from bioplaus.errors import CircuitError, RuleError, cut, unknown
from bioplaus.recording.asked import BESIDE, beside, chosen_units, named, names
from bioplaus.recording.kept import Kept
from bioplaus.rules import Rule
from bioplaus.signal.synthetic import SyntheticGradient

if TYPE_CHECKING:
    from torch import Tensor

#: of synapses, of neurons, of what is carried, of outputs
AT_SYNAPSES = ("eligibility", "eligibility_now")
AT_NEURONS = ("learning_signal", "learning_signal_now", "true_credit")
CARRIED = ("prediction", "true_prediction")
NAMES = (*AT_SYNAPSES, *AT_NEURONS, *CARRIED, "psi", "error")

#: of the predictor's parts
PART = "part"

#: those that are known when all is over
LATE = ("true_credit", "true_prediction")


class Seen(NamedTuple):
    """Some steps: their linearisation, their credit, and their error."""

    tangent: Tangent
    credit: Credit | Currents
    error: Tensor
    prediction: Credit | None = None
    rates: Mapping[str, Tensor] = MappingProxyType({})


@dataclass
class Line:
    """One recorded variable.

    Attributes
    ----------
    label, quantity, about : its name, what it is by the names above, and a few words.
    dims, coordinates : beside time and batch.
    of : its values over some steps, (time, batch, …); of a synapse's, in one.
    population, units : whose it is, and which of them are recorded; None: of no neuron, all.
    """

    label: str
    quantity: str
    dims: tuple[str, ...]
    of: Callable[..., Tensor]
    about: str
    coordinates: dict[str, Any] = field(default_factory=dict)
    population: int | None = None
    units: np.ndarray | None = None
    kept: Kept = field(default_factory=lambda: Kept(None, 1))

    def add(self, first: int, values: Tensor) -> None:
        """The steps from ``first`` on."""
        self.kept.add(first, values.cpu().numpy())


def apart(network: Network, rule: Rule, record: Any, context: int | None = None) -> tuple[list[Line], dict[str, Any]]:
    """What ``record=`` asks of the rule, with so many numbers of context; and what of the circuit, as `bioplaus.simulate` takes it.

    Raises
    ------
    CircuitError
        For an unknown name, or units that there are not.
    RuleError
        For what the rule has not.
    """
    lines: dict[str, Line] = {}
    others: dict[str, Any] = {}
    for name, units in named(record):
        where, _, quantity = name.rpartition(".")
        if where == CEREBELLUM and CEREBELLUM not in [p.name for p in network.populations]:
            lines[name] = _part(network, rule, name, quantity, units, context)
            continue
        kind = kind_of(quantity)
        if kind is None:
            if not any(quantity in names(network, i) for i in range(len(network.populations))):
                if name in BESIDE:
                    raise CircuitError(beside(name))
                known = {n for i in range(len(network.populations)) for n in names(network, i)}
                raise CircuitError(unknown("recordable variable", quantity, known | set(NAMES)))
            others[name] = units
            continue
        if reason := _lacking(network, rule, kind):
            raise RuleError(f"record asks for '{cut(name)}', and {reason}")
        found = list(_lines(network, rule, kind, quantity, where, units))
        if not found:
            raise CircuitError(f"record asks for '{cut(name)}'. {_nowhere(network, kind, quantity, where)}")
        lines |= {line.label: line for line in found}
    return list(lines.values()), others


def _part(network: Network, rule: Rule, name: str, part: str, units: Any, context: int | None) -> Line:
    """The rates of a part of the predictor."""
    sizes: Mapping[str, int] = {}
    if isinstance(rule.signal, SyntheticGradient):
        trial = rule.signal.trial(network, context=context)
        sizes = rule.signal.of(network).sizes(trial.inputs, trial.outputs)
    if not sizes:
        raise RuleError(
            f"record asks for '{cut(name)}', and the rule '{rule.name}' has no predictor with parts: bp_lambda and dni with predictor='granule' have one."
        )
    if part not in sizes:
        raise CircuitError(f"record asks for '{cut(name)}'. {unknown('part of the predictor', part, sizes)}")
    some = chosen_units(units, sizes[part], name, name)
    dim = f"unit_{part}"
    at = slice(None) if some is None else some
    coordinates = {} if some is None else {dim: some}
    return Line(name, PART, (dim,), lambda seen: seen.rates[part][..., at], f"rates of the {part}", coordinates)


def kind_of(quantity: str) -> str | None:
    """Which of `NAMES` it is; ``prediction_v`` is a prediction."""
    if quantity in NAMES:
        return quantity
    return next((kind for kind in ("true_prediction", "prediction", "psi") if quantity.startswith(f"{kind}_")), None)


def _lacking(network: Network, rule: Rule, kind: str) -> str | None:
    """Why a rule has nothing of a kind, or None."""
    said = rule.name or type(rule.eligibility).__name__
    if kind in CARRIED and not isinstance(rule.signal, SyntheticGradient):
        return f"the rule '{said}' has no predictor. bp_lambda and dni have one; of every rule there is 'true_credit', beside its 'learning_signal'."
    if kind in AT_SYNAPSES and not rule.eligibility.by_synapse:
        return (
            f"the rule '{said}' keeps no number of a synapse that a neuron's learning signal would multiply: it keeps {rule.past.keeps} ({rule.past.tensor or 'no tensor'}). "
            "eprop, rflo and three_factor do, and bptt, bp_lambda and dni, which keep what a synapse hears; of this one 'learning_signal' can be recorded."
        )
    if kind.endswith("_now") and not network.kappa:
        return f"this circuit's readout does not leak, so that credit stands at the output anyway: ask for '{kind.removesuffix('_now')}'."
    if kind.endswith("_now") and rule.past.credit == "state":
        return f"the signal of the rule '{said}' gives credit for the state, in which all is counted already: ask for '{kind.removesuffix('_now')}'."
    return None


def _nowhere(network: Network, kind: str, quantity: str, where: str) -> str:
    populations = [p.name for p in network.populations]
    if kind in AT_SYNAPSES:
        learned = [w.spec.name for w in network.learned]
        if where in populations or not where or where in learned:
            return "Nothing that is learned arrives there."
        return unknown("learned projection or population", where, [*learned, *populations])
    if where not in ("", *populations):
        return unknown("population", where, populations)
    return f"There is no such variable: {quantity.removeprefix(kind + '_')!r} is none on which it depends, of {', '.join(populations)}."


def _lines(network: Network, rule: Rule, kind: str, quantity: str, where: str, units: Any) -> Iterator[Line]:
    if kind == "error":
        yield Line("error", kind, ("unit_output",), lambda seen: seen.error, "weight · ∂loss/∂output")
        return
    if kind in AT_SYNAPSES:
        for w in network.learned:
            if where in ("", w.spec.name, network.populations[w.target].name):
                yield _synapses(network, rule, w, kind, units)
        return
    for i, p in enumerate(network.populations):
        if where in ("", p.name):
            yield from _neurons(network, rule, i, p, kind, quantity, units)


def _neurons(network: Network, rule: Rule, i: int, p: Wiring, kind: str, quantity: str, units: Any) -> Iterator[Line]:
    prefix = f"{p.name}." if len(network.populations) > 1 else ""

    def line(name: str, of: Callable[[Seen], Tensor], about: str, channels: bool = False) -> Line:
        label = f"{prefix}{name}"
        dim, coordinates, some = _dim(network, i, units, label, p.size)
        into = (f"channel_{p.name}" if prefix else "channel",) if channels and len(_channels(network, i)) > 1 else ()
        if into:
            coordinates[into[0]] = _channels(network, i)
        pick = lambda values: values if some is None else values[..., some]  # noqa: E731
        return Line(label, kind, (*into, dim), lambda seen: pick(of(seen)), about, coordinates, i, some)

    if kind == "psi":
        for j, s in enumerate(network.circuit.populations[p.name].cell.states):
            if p.kernel.derived.psi[j] != 0:
                if quantity in ("psi", f"psi_{s}"):
                    yield line(quantity, lambda seen, j=j: _over(seen.tangent.partials[i].psi[j], seen), f"∂y/∂{s}")
                    return
    elif kind in AT_NEURONS:
        about = "credit, as the eligibility needs it" if kind == "true_credit" else "credit that meets the eligibility"
        now = kind != "learning_signal"  # the oracle's stands at the output
        state = rule.past.credit == "state"
        yield line(kind, lambda seen: _credit(network, seen, i, now), about, channels=state)
    else:
        for name, of in _carried(network, i, p):
            if quantity in (kind, f"{kind}_{name}"):
                yield line(f"{kind}_{name}", of, f"gradient of the future loss by {name}")


def _synapses(network: Network, rule: Rule, w: Wired[Source], kind: str, units: Any) -> Line:
    p, label = network.populations[w.target], f"{w.spec.name}.{kind}"
    dim, coordinates, some = _dim(network, w.target, units, label, p.size)
    into: tuple[str, ...] = ()
    several = len(network.populations) > 1
    all_of_them, state = _channels(network, w.target), rule.past.credit == "state"
    if state and any(gate.channel in w.channels for gate in p.gated):
        raise RuleError(
            f"record asks for '{label}', and with '{w.spec.name}' cut in some steps credit for a current is not what its synapses meet. Ask for another projection's, or for "
            "that of a rule with traces, such as eprop."
        )
    if len(all_of_them) > 1 and (len(w.channels) > 1 or state):
        into = (f"channel_{p.name}" if several else "channel",)
        coordinates[into[0]] = all_of_them
    if w.synapses is None:
        dims, at = (*into, dim, f"source_{w.spec.name}"), slice(None) if some is None else torch.from_numpy(some)
        pick = lambda e: e[:, :, at] if into else e[:, 0, at]  # noqa: E731
    else:
        post, of = w.synapses.post.cpu().numpy(), w.synapses.columns.cpu().numpy()
        here = np.arange(len(post)) if some is None else np.flatnonzero(np.isin(post, some))
        along, chosen = f"synapse_{w.spec.name}", torch.from_numpy(here)
        coordinates = {k: v for k, v in coordinates.items() if k != dim}
        coordinates |= {
            f"post_{w.spec.name}": (along, post[here]),
            f"source_{w.spec.name}": (along, of[here]),
        }
        dims = (*into, along)
        pick = lambda e: e[..., chosen] if into else e[:, 0, chosen]  # noqa: E731
    mask = network.masks.get(w.spec.name)

    def of_step(e: Tensor) -> Tensor:
        e = e if mask is None else e * mask.view(len(w.channels), p.size, -1)
        if into and len(w.channels) < len(
            all_of_them
        ):  # 0 onto others, so that it meets the same credit as its neighbours
            e, onto = e.new_zeros(len(e), len(all_of_them), *e.shape[2:]), e
            e[:, list(w.channels)] = onto
        return pick(e)[None]

    about = "eligibility" if kind == "eligibility" else "eligibility, before the readout's filter"
    own = w.target if w.synapses is None else None
    return Line(label, kind, dims, of_step, f"{about}, of each synapse", coordinates, own, some)


def _dim(network: Network, i: int, units: Any, label: str, size: int) -> tuple[str, dict[str, Any], np.ndarray | None]:
    """Along which dim units lie, with the numbers of those that are wanted."""
    some = chosen_units(units, size, label, label)
    dim = f"unit_{network.populations[i].name}" if len(network.populations) > 1 else "unit"
    return dim, {} if some is None else {dim: some}, some


def _channels(network: Network, i: int) -> list[str]:
    return list(network.circuit.populations[network.populations[i].name].cell.channels)


def _credit(network: Network, seen: Seen, i: int, now: bool) -> Tensor:
    """Credit for a population: where it meets the eligibility, or at the output."""
    p, credit, n = network.populations[i], seen.credit, len(_channels(network, i))
    if not isinstance(credit, Credit):
        a = credit[i]
        if a is None:
            a = seen.error.new_zeros(*seen.error.shape[:2], n * p.size)
        each = a.unflatten(-1, (-1, p.size))[:, :, :n]
        return each if n > 1 else each[:, :, 0]
    a = credit.filtered[i] if network.kappa and not now else credit.y[i][0]
    return seen.error.new_zeros(*seen.error.shape[:2], p.size) if a is None else a.expand(*seen.error.shape[:2], -1)


def _carried(network: Network, i: int, p: Wiring) -> list[tuple[str, Callable[[Seen], Tensor]]]:
    """What of a population crosses from step to step, and where it stands in a prediction."""

    def said(seen: Seen) -> Credit:
        assert seen.prediction is not None
        return seen.prediction

    found: list[tuple[str, Callable[[Seen], Any]]] = []
    for kind, at, j, _ in Layout(network).blocks:
        if kind == "f" and j == i:
            found.append(("filtered", lambda seen: said(seen).filtered[i]))
        elif kind == "s" and at == i:
            found.append((p.kernel.derived.states[j], lambda seen, j=j: said(seen).s[i][j]))
        elif kind == "y" and at == i and j == 0:
            found.append(("y", lambda seen: said(seen).y[i][0]))
    return found


def _over(entry: Any, seen: Seen) -> Tensor:
    """A partial over time, also where it is one number."""
    T, B = seen.error.shape[:2]
    if isinstance(entry, torch.Tensor):
        return entry if entry.dim() == 3 else entry.expand(T, B, -1)
    return seen.error.new_full((T, B, 1), 0.0 if entry is None else entry)


def labelled(line: Line, alike: bool) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Dims and coordinates beside time and batch; units that are not those of its neighbours are counted along a dim of their own."""
    if alike or line.units is None:
        return line.dims, line.coordinates
    rename = lambda dim: f"unit_{line.label}" if dim.startswith("unit") else dim  # noqa: E731
    return tuple(map(rename, line.dims)), {rename(dim): values for dim, values in line.coordinates.items()}
