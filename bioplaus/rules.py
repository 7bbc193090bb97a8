"""Named rules: pairs of a past and a future half, and what each pair claims."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from bioplaus.cerebellum import predictor as make_predictor
from bioplaus.cerebellum.predictors import Predictor
from bioplaus.circuit.network import Network
from bioplaus.declaration import Declaration
from bioplaus.eligibility import (
    KFRTRL,
    MDGL,
    RFLO,
    RKFRTRL,
    RTRL,
    UORO,
    EProp,
    History,
    Hops,
    Immediate,
    KeRNL,
    SnAp,
)
from bioplaus.errors import RuleError, unknown
from bioplaus.schedule import Online, Schedule, Window
from bioplaus.signal import BPTT, DNI, BPLambda, Instant

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

    eligibility: Any
    signal: Any
    schedule: Schedule = Online()  # noqa: RUF009
    name: str = ""

    def __post_init__(self) -> None:
        for what, half in (("eligibility", self.eligibility), ("signal", self.signal)):
            if isinstance(half, type) or not isinstance(getattr(half, "declaration", None), Declaration):
                raise RuleError(
                    f"The {what} of a rule is an object such as bioplaus.{what} makes, EProp() or Instant(), not {half!r:.60}. By name: bp.rule('eprop')."
                )
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
            regimes.append("no neuron drives another (W_rec = 0)")
        return "; ".join(dict.fromkeys(each for each in regimes if each != "always")) or "always"

    @property
    def _cut(self) -> bool:
        """Whether a signal that sees the future inside a window has less than the whole sequence."""
        return isinstance(self.signal, BPTT) and self.schedule.steps is not None

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

    def refuse(self, network: Network) -> None:
        """Raise RuleError, with the reason and what would work, if a network cannot be learned by this rule."""
        reason = self._reason(network)
        if reason is not None:
            others = ", ".join(name for name, make in TABLE.items() if make()._reason(network) is None)
            raise RuleError(
                f"The rule '{self.name or type(self.eligibility).__name__}' cannot serve this circuit: {reason}. Rules that serve it as they are: {others}."
            )

    def _reason(self, network: Network) -> str | None:
        past = self.eligibility.refuse(network)
        return past if past is not None else self.signal.refuse(network, self.schedule.steps)

    def describe(self) -> dict[str, Any]:
        """The whole rule as plain data."""
        return {
            "name": self.name,
            "claim": self.claim,
            "eligibility": _plain(self.eligibility),
            "signal": _plain(self.signal),
            "schedule": _plain(self.schedule),
        }


def _plain(part: Any) -> dict[str, Any]:
    values = {}
    for f in fields(part) if is_dataclass(part) else ():
        value = getattr(part, f.name)
        values[f.name] = value.describe() if hasattr(value, "describe") else value
    return {"kind": type(part).__name__, **values}


ELIGIBILITIES = {
    "immediate": Immediate, "eprop": EProp, "rflo": RFLO, "mdgl": MDGL, "kernl": KeRNL, "history": History, "hops": Hops, "snap": SnAp, "rtrl": RTRL,
    "uoro": UORO, "kf_rtrl": KFRTRL, "r_kf_rtrl": RKFRTRL,
}  # fmt: skip
SIGNALS = {"instant": Instant, "bptt": BPTT, "dni": DNI, "bp_lambda": BPLambda}


def _schedule(name: str, default: Schedule, steps: int | None = None) -> Schedule:
    """``steps`` alone means windows of so many."""
    if name not in ("", "online", "window"):
        raise RuleError(unknown("schedule", name, ("online", "window")))
    if name == "online" and steps is not None:
        raise RuleError(
            f"schedule='online' goes step by step, so steps={steps!r} says nothing. Give schedule='window' with it, or leave it out."
        )
    if steps is not None or name == "window":
        return Window(steps)
    return Online() if name == "online" else default


def bptt() -> Rule:
    """Backpropagation through time over whole sequences; the reference (Werbos 1990, doi:10.1109/5.58337)."""
    return Rule(Immediate(), BPTT(), Window(), "bptt")


def tbptt(steps: int = 5) -> Rule:
    """Backpropagation through time, cut into windows of ``steps`` (Williams & Peng 1990, doi:10.1162/neco.1990.2.4.490)."""
    return Rule(Immediate(), BPTT(), Window(steps), "tbptt")


def sliding_bptt(
    steps: int = 10, feedback: str = "symmetric", gain: float = 1.0, decay: float = 1e-3, schedule: str = ""
) -> Rule:
    """Every error carried back ``steps`` steps, as time runs (Williams & Peng 1990, doi:10.1162/neco.1990.2.4.490)."""
    return _direct("sliding_bptt", History(steps), feedback, gain, decay, schedule, None)


def rtrl(
    feedback: str = "symmetric", gain: float = 1.0, decay: float = 1e-3, schedule: str = "", steps: int | None = None
) -> Rule:
    """Real-time recurrent learning: exact and online, n⁴ a step (Williams & Zipser 1989, doi:10.1162/neco.1989.1.2.270)."""
    return _direct("rtrl", RTRL(), feedback, gain, decay, schedule, steps)


def hops(
    hops: int = 1,
    feedback: str = "symmetric",
    gain: float = 1.0,
    decay: float = 1e-3,
    schedule: str = "",
    steps: int | None = None,
) -> Rule:
    """RTRL along paths that cross between neurons at most ``hops`` times (arXiv 2207.11439)."""
    return _direct("hops", Hops(hops), feedback, gain, decay, schedule, steps)


def snap(
    order: int = 1,
    feedback: str = "symmetric",
    gain: float = 1.0,
    decay: float = 1e-3,
    schedule: str = "",
    steps: int | None = None,
) -> Rule:
    """Sparse n-step approximation of RTRL (Menick et al. 2021, arXiv 2006.07232)."""
    return _direct("snap", SnAp(order), feedback, gain, decay, schedule, steps)


def uoro(
    feedback: str = "symmetric", gain: float = 1.0, decay: float = 1e-3, schedule: str = "", steps: int | None = None
) -> Rule:
    """Unbiased online recurrent optimisation: a random rank-one influence (Tallec & Ollivier 2018, arXiv 1702.05043)."""
    return _direct("uoro", UORO(), feedback, gain, decay, schedule, steps)


def kf_rtrl(
    feedback: str = "symmetric", gain: float = 1.0, decay: float = 1e-3, schedule: str = "", steps: int | None = None
) -> Rule:
    """RTRL with random Kronecker factors (Mujika et al. 2018, arXiv 1805.10842)."""
    return _direct("kf_rtrl", KFRTRL(), feedback, gain, decay, schedule, steps)


def r_kf_rtrl(
    feedback: str = "symmetric", gain: float = 1.0, decay: float = 1e-3, schedule: str = "", steps: int | None = None
) -> Rule:
    """The reverse factors (Marschall et al. 2020, arXiv 1907.02649)."""
    return _direct("r_kf_rtrl", RKFRTRL(), feedback, gain, decay, schedule, steps)


def kernl(
    restart: int = 50,
    feedback: str = "symmetric",
    gain: float = 1.0,
    decay: float = 1e-3,
    schedule: str = "",
    steps: int | None = None,
) -> Rule:
    """A sensitivity kernel learned from a twin that is kicked at random (Roth et al. 2019, ICLR)."""
    return _direct("kernl", KeRNL(restart), feedback, gain, decay, schedule, steps)


def mdgl(
    types: bool = False,
    feedback: str = "symmetric",
    gain: float = 1.0,
    decay: float = 1e-3,
    schedule: str = "",
    steps: int | None = None,
) -> Rule:
    """e-prop and what the neighbours tell, neuron by neuron or averaged over types (Liu et al. 2021, doi:10.1073/pnas.2111821118)."""
    return Rule(MDGL(types), Instant(feedback, gain, decay), _schedule(schedule, Window(), steps), "mdgl")  # type: ignore[arg-type]


def three_factor(schedule: str = "", steps: int | None = None) -> Rule:
    """e-prop's traces and one scalar reward for all neurons, earned by exploring outputs (Frémaux & Gerstner 2016, doi:10.3389/fncir.2015.00085)."""
    return Rule(EProp(), Instant("reward"), _schedule(schedule, Window(), steps), "three_factor")


def _direct(name: str, past: Any, feedback: str, gain: float, decay: float, schedule: str, steps: int | None) -> Rule:
    """A past half that direct credit meets, forward in time."""
    return Rule(past, Instant(feedback, gain, decay), _schedule(schedule, Online(), steps), name)  # type: ignore[arg-type]


def eprop(
    feedback: str = "symmetric", gain: float = 1.0, decay: float = 1e-3, schedule: str = "", steps: int | None = None
) -> Rule:
    """e-prop with symmetric, random, adaptive, broadcast or reward feedback (Bellec et al. 2020, doi:10.1038/s41467-020-17236-y)."""
    return Rule(EProp(), Instant(feedback, gain, decay), _schedule(schedule, Window(), steps), "eprop")  # type: ignore[arg-type]


def rflo(
    feedback: str = "random", gain: float = 1.0, decay: float = 1e-3, schedule: str = "", steps: int | None = None
) -> Rule:
    """Random feedback local online learning (Murray 2019, doi:10.7554/eLife.43299)."""
    return Rule(RFLO(), Instant(feedback, gain, decay), _schedule(schedule, Window(), steps), "rflo")  # type: ignore[arg-type]


def dni(
    steps: int = 1,
    predictor: str | Predictor | None = None,
    hidden: tuple[int, ...] | None = None,
    discount: float = 1.0,
    injection: float = 1.0,
    context: bool = False,
    copy_every: int = 0,
    jacobian: str = "exact",
    auxiliary: float = 0.0,
    eligibility: str = "immediate",
) -> Rule:
    """n-step synthetic gradients (Jaderberg et al. 2017, arXiv 1608.05343); the options are those of `DNI`."""
    schedule, (past, gives) = Window(steps), _past(eligibility)
    signal = DNI(_predictor(predictor, hidden), discount, injection, context, copy_every, jacobian, auxiliary, gives)  # type: ignore[arg-type]
    if reason := signal.too_short(schedule.steps):
        raise RuleError(f"These options of dni do not fit together: {reason}.")
    return Rule(past, signal, schedule, "dni")


def bp_lambda(
    lmbda: float = 1.0,
    predictor: str | Predictor | None = None,
    hidden: tuple[int, ...] | None = None,
    discount: float = 1.0,
    injection: float = 1.0,
    context: bool = False,
    schedule: str = "",
    steps: int | None = None,
    trace: str = "exact",
    outputs: int | None = None,
    horizon: int | None = None,
    jacobian: str = "exact",
    eligibility: str = "immediate",
    published: bool = False,
) -> Rule:
    """Synthetic gradients learned by TD errors and eligibility traces (Pemberton & Costa 2024, arXiv 2401.07044); the options are those of `BPLambda`."""
    past, gives = _past(eligibility)
    signal = BPLambda(
        _predictor(predictor, hidden),
        lmbda,
        discount,
        injection,
        context,
        trace,  # type: ignore[arg-type]
        outputs,
        horizon,
        jacobian,  # type: ignore[arg-type]
        gives,
        published,  # type: ignore[arg-type]
    )
    return Rule(past, signal, _schedule(schedule, Window(), steps), "bp_lambda")


def _past(eligibility: str) -> tuple[Any, Any]:
    """What meets a predicted gradient, and which part of it that needs."""
    if eligibility not in ("immediate", "eprop"):
        raise RuleError(
            unknown("eligibility that meets a predicted gradient", str(eligibility), ("immediate", "eprop"))
        )
    return (EProp(), "output") if eligibility == "eprop" else (Immediate(), "state")


def _predictor(given: str | Predictor | None, hidden: tuple[int, ...] | None) -> Predictor | None:
    if hidden is None:
        return make_predictor(given) if isinstance(given, str) else given
    if not (given is None or isinstance(given, str)):
        raise RuleError(
            f"hidden={hidden!r} is for a predictor given by name; this one is an object and has its layers. Leave hidden out."
        )
    return make_predictor("mlp" if given is None else given, hidden=hidden)


TABLE: dict[str, Callable[..., Rule]] = {
    f.__name__: f
    for f in (
        bptt,
        tbptt,
        sliding_bptt,
        rtrl,
        hops,
        snap,
        uoro,
        kf_rtrl,
        r_kf_rtrl,
        kernl,
        eprop,
        rflo,
        mdgl,
        three_factor,
        dni,
        bp_lambda,
    )
}


def rule(name: str, **options: Any) -> Rule:
    """A rule by name: ``bp.rule("eprop", feedback="random")``.

    Raises
    ------
    RuleError
        For an unknown rule or option.
    """
    if not isinstance(name, str) or name not in TABLE:
        raise RuleError(unknown("rule", str(name), TABLE))
    allowed = inspect.signature(TABLE[name]).parameters
    for option in options:
        if option not in allowed:
            raise RuleError(unknown(f"option of the rule '{name}'", option, allowed))
    return TABLE[name](**options)
