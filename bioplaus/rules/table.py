"""The rules that have a name, one row each."""

from __future__ import annotations

import inspect
from typing import Any, Literal, Unpack

from bioplaus import checks
from bioplaus.cerebellum import predictor as make_predictor
from bioplaus.cerebellum.predictors import Predictor
from bioplaus.checks.numbers import as_number
from bioplaus.eligibility import (
    KFRTRL,
    MDGL,
    RFLO,
    RKFRTRL,
    RTRL,
    STDP,
    UORO,
    Eligibility,
    EProp,
    History,
    Hops,
    Immediate,
    KeRNL,
    SnAp,
    TwoStage,
)
from bioplaus.errors import RuleError, by_name, unknown
from bioplaus.rules.pair import TABLE, Rule
from bioplaus.rules.rows import Fed, Shared, Word, chosen, met_by_the_error, named
from bioplaus.schedule import Online, Window
from bioplaus.signal import BPTT, DNI, BPLambda, ClimbingFibres, Spoken

_OF_TRAINING = (
    "lr",
    "learning_rate",
    "readout_lr",
    "predictor_lr",
    "clip",
    "optimiser",
    "optimizer",
    "batch",
    "updates",
)

ELIGIBILITIES: dict[str, type[Eligibility]] = {
    "immediate": Immediate, "eprop": EProp, "rflo": RFLO, "mdgl": MDGL, "kernl": KeRNL, "history": History, "hops": Hops, "snap": SnAp, "rtrl": RTRL,
    "uoro": UORO, "kf_rtrl": KFRTRL, "r_kf_rtrl": RKFRTRL,
}  # fmt: skip


@named
def bptt() -> Rule:
    """Backpropagation through time over whole sequences; the reference (Werbos 1990, doi:10.1109/5.58337)."""
    return Rule(Immediate(), BPTT(), Window(), "bptt")


@named
def tbptt(steps: int = 5) -> Rule:
    """Backpropagation through time, cut into windows of ``steps`` (Williams & Peng 1990, doi:10.1162/neco.1990.2.4.490)."""
    return Rule(Immediate(), BPTT(), Window(steps), "tbptt")


@met_by_the_error(Online(), without=("steps",))
def sliding_bptt(steps: int = 10, **shared: Unpack[Fed]) -> Eligibility:
    """Every error carried back ``steps`` steps, as time runs (Williams & Peng 1990, doi:10.1162/neco.1990.2.4.490)."""
    return History(steps)


@met_by_the_error(Online())
def rtrl(**shared: Unpack[Shared]) -> Eligibility:
    """Real-time recurrent learning: exact and online, n⁴ a step (Williams & Zipser 1989, doi:10.1162/neco.1989.1.2.270)."""
    return RTRL()


@met_by_the_error(Online())
def hops(hops: int = 1, **shared: Unpack[Shared]) -> Eligibility:
    """RTRL along paths that cross between neurons at most ``hops`` times (arXiv 2207.11439)."""
    return Hops(hops)


@met_by_the_error(Online())
def snap(order: int = 1, **shared: Unpack[Shared]) -> Eligibility:
    """Sparse n-step approximation of RTRL (Menick et al. 2021, arXiv 2006.07232)."""
    return SnAp(order)


@met_by_the_error(Online())
def uoro(**shared: Unpack[Shared]) -> Eligibility:
    """Unbiased online recurrent optimisation: a random rank-one influence (Tallec & Ollivier 2018, arXiv 1702.05043)."""
    return UORO()


@met_by_the_error(Online())
def kf_rtrl(**shared: Unpack[Shared]) -> Eligibility:
    """RTRL with random Kronecker factors (Mujika et al. 2018, arXiv 1805.10842)."""
    return KFRTRL()


@met_by_the_error(Online())
def r_kf_rtrl(**shared: Unpack[Shared]) -> Eligibility:
    """The reverse factors (Marschall et al. 2020, arXiv 1907.02649)."""
    return RKFRTRL()


@met_by_the_error(Online())
def kernl(restart: int = 50, **shared: Unpack[Shared]) -> Eligibility:
    """A sensitivity kernel learned from a twin that is kicked at random (Roth et al. 2019, ICLR)."""
    return KeRNL(restart)


@met_by_the_error(Window())
def eprop(**shared: Unpack[Shared]) -> Eligibility:
    """e-prop with symmetric, random, adaptive, broadcast or reward feedback (Bellec et al. 2020, doi:10.1038/s41467-020-17236-y)."""
    return EProp()


@met_by_the_error(Window(), feedback="random")
def rflo(**shared: Unpack[Shared]) -> Eligibility:
    """Random feedback local online learning (Murray 2019, doi:10.7554/eLife.43299)."""
    return RFLO()


@met_by_the_error(Window())
def mdgl(types: bool = False, **shared: Unpack[Shared]) -> Eligibility:
    """e-prop and what the neighbours tell, neuron by neuron or averaged over types (Liu et al. 2021, doi:10.1073/pnas.2111821118)."""
    return MDGL(types)


@met_by_the_error(Window(), without=("feedback", "gain", "decay"), feedback="reward")
def three_factor(**shared: Unpack[Shared]) -> Eligibility:
    """e-prop's traces and one scalar reward for all neurons, earned by exploring outputs (Frémaux & Gerstner 2016, doi:10.3389/fncir.2015.00085)."""
    return EProp()


def stdp(
    signal: Literal["none", "reward"] = "none",
    tau_plus: Any = 20.0,
    tau_minus: Any = 20.0,
    A_plus: float = 1.0,
    A_minus: float = 1.05,
    w_min: float = 0.0,
    w_max: float = 1.0,
    tau_e: Any = 200.0,
    tau_r: Any = 200.0,
) -> Rule:
    """Spike-timing-dependent plasticity, by itself or modulated by reward, inside Brian2 alone; the options are those of `STDP`, times in ms or quantities."""
    if signal not in ("none", "reward"):
        raise RuleError(unknown("signal of stdp", str(signal), ("none", "reward")))
    times = {"tau_plus": tau_plus, "tau_minus": tau_minus, "tau_e": tau_e, "tau_r": tau_r}
    tau = {name: _ms(f"{name} of stdp", time) for name, time in times.items()}
    reward = Spoken("loss" if signal == "reward" else "none", tau.pop("tau_r"))
    past = STDP(**tau, A_plus=A_plus, A_minus=A_minus, w_min=w_min, w_max=w_max)
    return Rule(past, reward, Online(), "stdp")


def climbing_fibre(
    tau: Any = 100.0,
    rate: Any = 1.0,
    parallel: str = "W_pf",
    climbing: str = "W_cf",
    schedule: Word = "",
    steps: int | None = None,
) -> Rule:
    """Parallel fibres that were active a while before a complex spike are depressed, others come back (`bioplaus.eligibility.two_stage`, `bioplaus.signal.climbing`).

    ``tau``: after what time a spike counts most, in ms or as a quantity; ``rate``: of climbing fibres at which nothing changes on average, in Hz or as a
    quantity; ``parallel``, ``climbing``: the projection that learns, and the one that brings complex spikes to the same neurons. No other weights
    learn, but the readout's, which learn from the error as under every rule: give ``lr={"default": 0.0, "W_pf": 1e-3}`` where they are not to.
    """
    past, told = TwoStage(_ms("tau of climbing_fibre", tau), parallel), ClimbingFibres(_hz(rate), climbing)
    return Rule(past, told, chosen(schedule, Window(), steps), "climbing_fibre")


def _ms(name: str, time: Any) -> Any:
    """A time as a number of ms."""
    unit = checks.dimensions(time)
    if unit and unit != {"time": 1}:
        raise checks.refusal(RuleError, name, time, "a time, such as 20*ms, or a number of ms")
    return as_number(time) * 1e3 if unit else time


def _hz(rate: Any) -> Any:
    """A rate as a number of Hz."""
    unit = checks.dimensions(rate)
    if unit and unit != {"time": -1}:
        raise checks.refusal(RuleError, "rate of climbing_fibre", rate, "a rate, such as 1*Hz, or a number of Hz")
    return as_number(rate) if unit else rate


#: rules that follow no gradient, so that tables and checks of gradients do not know them
BESIDE: dict[str, Any] = {"stdp": stdp, "climbing_fibre": climbing_fibre}

Named = Literal["immediate", "eprop"]


@named
def dni(
    steps: int = 1,
    predictor: str | Predictor | None = None,
    hidden: tuple[int, ...] | None = None,
    discount: float | None = None,
    injection: float = 1.0,
    context: bool = False,
    copy_every: int = 0,
    jacobian: Literal["exact", "learned"] = "exact",
    auxiliary: float = 0.0,
    eligibility: Named = "immediate",
    tau_gamma: Any = None,
) -> Rule:
    """n-step synthetic gradients (Jaderberg et al. 2017, arXiv 1608.05343); the options are those of `DNI`."""
    past, gives = _past(eligibility)
    schedule, g = Window(steps), _predictor(predictor, hidden)
    signal = DNI(g, discount, injection, context, copy_every, jacobian, auxiliary, gives, tau_gamma)
    if reason := signal.too_short(schedule.steps):
        raise RuleError(f"These options of dni do not fit together: {reason}.")
    return Rule(past, signal, schedule, "dni")


@named
def bp_lambda(
    lmbda: float | None = None,
    predictor: str | Predictor | None = None,
    hidden: tuple[int, ...] | None = None,
    discount: float | None = None,
    injection: float = 1.0,
    context: bool = False,
    schedule: Word = "",
    steps: int | None = None,
    trace: Literal["exact", "replay", "local", "kronecker", "projected", "learned", "bump"] = "exact",
    outputs: int | None = None,
    horizon: int | None = None,
    jacobian: Literal["exact", "random", "within", "learned"] = "exact",
    eligibility: Named = "immediate",
    published: bool = False,
    tau_lambda: Any = None,
    tau_gamma: Any = None,
) -> Rule:
    """Synthetic gradients learned by TD errors and eligibility traces (Pemberton & Costa 2024, arXiv 2401.07044); the options are those of `BPLambda`."""
    past, gives = _past(eligibility)
    g = _predictor(predictor, hidden)
    options = (
        lmbda,
        discount,
        injection,
        context,
        trace,
        outputs,
        horizon,
        jacobian,
        gives,
        published,
        tau_lambda,
        tau_gamma,
    )
    signal = BPLambda(g, *options)
    return Rule(past, signal, chosen(schedule, Window(), steps), "bp_lambda")


def _past(eligibility: str) -> tuple[Eligibility, Literal["state", "output"]]:
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


def as_rule(given: Any) -> Rule:
    """A rule as it is, or the one of that name as it comes.

    Raises
    ------
    RuleError
        For anything else.
    """
    example = "bp.rule('eprop')"
    return checks.accept(RuleError, "The rule", given, checks.Instance(Rule, example, by_name=rule))


def rule(name: str, *given: Any, **options: Any) -> Rule:
    """A rule by name: ``bp.rule("eprop", feedback="random")``.

    Raises
    ------
    RuleError
        For an unknown rule or option.
    """
    table = TABLE | BESIDE
    if not isinstance(name, str) or name not in table:
        raise RuleError(unknown("rule", str(name), table))
    if given:
        raise RuleError(by_name(f"bp.rule({name!r}, …)", given))
    allowed = inspect.signature(table[name]).parameters
    for option in options:
        if option not in allowed:
            learning = (
                " How fast it learns is said of its training: bp.Training(lr=…)." if option in _OF_TRAINING else ""
            )
            raise RuleError(unknown(f"option of the rule '{name}'", option, allowed) + learning)
    return table[name](**options)
