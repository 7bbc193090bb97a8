"""A rule: a past half, a future half, how it is computed, and what the pair claims."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from bioplaus.circuit.network import Network
from bioplaus.declaration import Declaration
from bioplaus.eligibility import Eligibility
from bioplaus.errors import RuleError
from bioplaus.own import Own, Owns
from bioplaus.schedule import Online, Schedule, Window
from bioplaus.signal import BPTT, DNI, BPLambda, Instant, Signal
from bioplaus.signal.synthetic import SyntheticGradient
from bioplaus.streams import stream
from bioplaus.tasks import Batch

#: which signals may meet an eligibility so that no path from weight to loss is counted twice (docs/concepts.md); a signal that
#: gives less than is needed makes a biased rule, one that gives more counts paths twice and is refused
MEETS = {"state": {"state"}, "output": {"output", "direct"}, "direct": {"direct"}}


@dataclass(frozen=True)
class Rule:
    """A learning rule: eligibility (past), signal (future), schedule (how it is computed).

    Raises
    ------
    RuleError
        If the two halves would count a path from weight to loss twice, or the schedule shows the signal too little.
    """

    eligibility: Eligibility
    signal: Signal
    schedule: Schedule = Online()  # noqa: RUF009
    name: str = ""

    def __post_init__(self) -> None:
        _refuse_other("eligibility", self.eligibility, Eligibility)
        _refuse_other("signal", self.signal, Signal)
        if not isinstance(self.schedule, (Online, Window)):
            raise RuleError(f"The schedule of a rule is bp.Online() or bp.Window(steps), not {self.schedule!r:.60}.")
        if not isinstance(self.name, str):
            raise RuleError(f"The name of a rule is a word, not {self.name!r:.60}.")
        need, gives = self.past.credit, self.future.credit
        if gives not in MEETS[need]:
            possible = [n for n, c in SIGNALS.items() if c.declaration.credit in MEETS[need]]
            raise RuleError(
                f"{type(self.eligibility).__name__} (keeps {self.past.keeps}) needs {need} credit, but {type(self.signal).__name__} gives {gives} credit: "
                f"paths from weight to loss would be {'missed' if need == 'state' else 'counted twice'}. Signals that fit: {', '.join(possible)}."
            )
        if not self.future.causal and isinstance(self.schedule, Online):
            raise RuleError(
                f"{type(self.signal).__name__} looks into the future, so schedule=Online() would leave it nothing to see. "
                "Use schedule=Window() for whole sequences or Window(steps) for truncation."
            )

    @property
    def past(self) -> Declaration:
        return self.eligibility.declaration

    @property
    def future(self) -> Declaration:
        return self.signal.declaration

    @property
    def claim(self) -> str:
        """``exact``, ``unbiased`` or ``biased``, as a whole, in general circuits: the worse of what its halves are."""
        future = "biased" if self._cut else self.future.bias
        missing = "biased" if self._missing else "exact"
        return max(self.past.bias, future, missing, key=("exact", "unbiased", "biased").index)

    @property
    def exact_when(self) -> str:
        """The regime in which the gradient is exact: what each half says of itself, and what their meeting leaves out."""
        regimes = [self.past.exact_when]
        if self.future.bias != "exact" or self._cut:
            regimes.append(self.future.exact_when)
        if self._missing:
            regimes.append("no neuron is driven by another or by itself (W_rec = 0)")
        return "; ".join(dict.fromkeys(each for each in regimes if each != "always")) or "always"

    @property
    def _cut(self) -> bool:
        """Whether a signal that sees the future inside a window has less than the whole sequence."""
        return not self.future.causal and self.schedule.steps is not None

    @property
    def _missing(self) -> bool:
        """Whether the credit leaves out the future through other neurons, which the eligibility does not keep."""
        return self.past.credit == "output" and self.future.credit == "direct"

    @property
    def facing(self) -> str:
        """``past``: what the weights did meets this step's error; ``future``: this step's deed meets credit for all that follows; or ``both``."""
        if self.past.credit == "state":
            return "future"
        return "past" if self.future.credit == "direct" else "both"

    @property
    def references(self) -> dict[str, str]:
        """Sources and their addresses: of the half that it faces, and of the other unless that is plainly exact."""
        one, other = (self.future, self.past) if self.facing == "future" else (self.past, self.future)
        plain = other.bias == "exact" and other.exact_when == "always" and self.facing != "both"
        return one.references | ({} if plain else other.references)

    def refuse(self, network: Network, context: int | None = None) -> None:
        """Raise RuleError, with the reason and what would work, if a network cannot be learned by this rule; ``context``: of how many numbers, where it is known."""
        reason = self._reason(network)
        if reason is None and context is not None and isinstance(self.signal, SyntheticGradient):
            reason = self.signal.refuse_told(network, context)
        if reason is not None:
            others = ", ".join(name for name, make in TABLE.items() if make().serves(network))
            serving = f" Rules that serve it as they are: {others}." if others else ""
            raise RuleError(
                f"The rule '{self.name or type(self.eligibility).__name__}' cannot serve this circuit: {reason}.{serving}"
            )

    def serves(self, network: Network) -> bool:
        """Whether `refuse` would let it pass."""
        return self._reason(network) is None

    def _reason(self, network: Network) -> str | None:
        if network.cerebellar and not isinstance(self.signal, SyntheticGradient):
            return f"{network.cerebellar[0]!r} is of a predictor, and this rule has none (bp_lambda and dni have one)"
        past = self.eligibility.refuse(network)
        return past if past is not None else self.signal.refuse(network, self.schedule.steps)

    def unreached(self, network: Network) -> dict[str, list[str]]:
        """Population → its learned weights, where no credit can ever meet them; their gradient is zero."""
        reached = self.eligibility.reached(network, self.signal.hearers(network, self.schedule.steps))
        found: dict[str, list[str]] = {}
        for w in network.learned:
            if w.target not in reached:
                found.setdefault(network.populations[w.target].name, []).append(w.spec.name)
        return found

    def begin(self, network: Network, batch: Batch, seed: int) -> Owns:
        """What the rule learns or keeps beside the circuit's weights, drawn from its own streams; ``batch`` tells of its context.

        Raises
        ------
        RuleError
            If the rule wants a context that the batch has not.
        """
        size = 0
        if self.signal.wants_context:
            if batch.context is None:
                raise RuleError(
                    f"The rule '{self.name}' wants context=True, but this task gives none (no labels). Use context=False."
                )
            size = batch.context.shape[-1]
            self.refuse(network, size)
        past = self.eligibility.begin(network, stream(seed, "eligibility"))
        future = self.signal.begin(network, stream(seed, "feedback"), size)
        for half, parts in ((self.eligibility, past), (self.signal, future)):
            if not all(isinstance(own, Own) for own in parts.values()):
                raise RuleError(
                    f"begin() of {type(half).__name__} answers {{part: Own(learned=…, fixed=…)}}, such as {{'feedback': Own(fixed={{'B': B}})}}, and this one "
                    f"gave {{{', '.join(f'{part!r}: {type(own).__name__}' for part, own in parts.items())}}}."
                )
        if twice := past.keys() & future.keys():
            raise RuleError(
                f"Both halves of the rule '{self.name}' have tensors of their own in a part '{min(twice)}'. Call it otherwise in one of them."
            )
        return past | future

    def after_update(self, own: Owns, network: Network) -> None:
        """What both halves do after every step of the optimisers."""
        self.eligibility.after_update(own, network)
        self.signal.after_update(own, network)

    def describe(self) -> dict[str, Any]:
        """The whole rule as plain data."""
        return {
            "name": self.name,
            "claim": self.claim,
            "eligibility": _plain(self.eligibility),
            "signal": _plain(self.signal),
            "schedule": _plain(self.schedule),
        }


def _refuse_other(what: str, half: object, base: type) -> None:
    """Refuse what is not one of `base`, by its name and with what it lacks."""
    other = {"eligibility": Signal, "signal": Eligibility}[what]
    declared = getattr(half, "declaration", None)
    side = {"eligibility": "past", "signal": "future"}[what]
    if isinstance(half, base) and isinstance(declared, Declaration) and declared.half == side:
        return
    if isinstance(half, type):
        said = f"{half.__name__} is a class; make one of it: {half.__name__}()"
    elif isinstance(half, base) and isinstance(declared, Declaration):
        said = f"{type(half).__name__} declares half='{declared.half}', where the {what} is the {side} half"
    elif isinstance(half, base):
        said = f"{type(half).__name__} has no declaration, which says what it claims (bioplaus.declaration.Declaration)"
    elif isinstance(half, other):
        said = f"{type(half).__name__} is the other half, given in its place: Rule(eligibility, signal)"
    else:
        said = f"{half!r:.60} is none; a class of your own is a subclass of bioplaus.{what}.{base.__name__}"
    example = {"eligibility": "EProp()", "signal": "Instant()"}[what]
    raise RuleError(
        f"The {what} of a rule is an object such as {example} of bioplaus.{what}, and {said}. By name: bp.rule('eprop')."
    )


def _plain(part: Any) -> dict[str, Any]:
    if is_dataclass(part):
        names = [f.name for f in fields(part)]
    else:  # a plain class: what it was made with tells one of it from another
        names = [name for name in vars(part) if not name.startswith("_") and name != "declaration"]
    values, later = {}, getattr(part, "later", ())
    for name in names:
        if name in later and getattr(part, name) is None:
            continue
        value = getattr(part, name)
        values[name] = value.describe() if hasattr(value, "describe") else value
    return {"kind": type(part).__name__, **values}


SIGNALS: dict[str, type[Signal]] = {"instant": Instant, "bptt": BPTT, "dni": DNI, "bp_lambda": BPLambda}

#: the rules that have a name, as functions of their options; `bioplaus.rules.table` fills it, and anybody may add to it
TABLE: dict[str, Callable[..., Rule]] = {}
