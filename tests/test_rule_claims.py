"""What rules claim and refuse: `bioplaus check`, pairs of halves, schedules, options."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from rule_helpers import (
    SEVEN,
    SMOOTH,
    case,
)

import bioplaus as bp
from bioplaus import check, ms, rules
from bioplaus.cell import Cell, triangular
from bioplaus.check.bench import bench, difference
from bioplaus.check.regimes import drawn
from bioplaus.eligibility import RFLO, RTRL, EProp, Immediate, influence
from bioplaus.eligibility.recursion import Recursion
from bioplaus.errors import RuleError
from bioplaus.learning.sequence import sequence
from bioplaus.measure.memory import tensors
from bioplaus.rules import TABLE, Rule, bptt
from bioplaus.schedule import Online, Window
from bioplaus.signal import BPTT, DNI, BPLambda, Instant, Oracle
from bioplaus.tasks import Batch, squared

MODELS = sorted(bp.content.names("model"))
#: in whose cells synapses make a state jump; those in which nothing is tried that the others do not have are slow
JUMPING = {
    "delta_lif",
    "tsodyks_markram",
    "cuba",
    "coba_nmda",
    "coba",
    "alpha_current",
    "qif",
    "izhikevich",
    "hodgkin_huxley",
    "wang_buzsaki",
}
REFUSED = {"lstm", "gru", "clocked", "adex"} | JUMPING  # some rule refuses them
LATE = {"izhikevich"}  # fires so late that in few steps nothing crosses a window
LONG = {
    "tsodyks_markram",
    "coba_nmda",
    "cuba",
    "coba",
    "alpha_current",
    "qif",
    "izhikevich",
    "hodgkin_huxley",
    "wang_buzsaki",
    "lsnn_lif",
}


@pytest.mark.parametrize("model", [pytest.param(m, marks=pytest.mark.slow) if m in LONG else m for m in MODELS])
def test_every_claim_holds_and_every_shipped_model_is_refereed_by_hand(model):
    rows = list(check.check(quick=model not in LATE, models=[model]))
    wrong = [row for row in rows if not row.ok]
    assert not wrong, wrong
    assert [(r.rule, r.model) for r in rows] == [
        (rule, model) for rule in (*TABLE, "immediate + oracle", "eprop + oracle")
    ]
    assert any(row.measured == "refused" for row in rows) == (model in REFUSED)
    for row in rows:
        assert "not written by hand" not in row.note, row
        expected = "exact" if row.rule in ("bptt", "rtrl") or "oracle" in row.rule else "biased"
        expected = "unbiased" if row.rule in ("uoro", "kf_rtrl", "r_kf_rtrl") else expected
        assert row.claim == expected and (row.measured in (expected, "refused")), row
        assert row.measured == "refused" or (row.error <= 1e-10) == (expected == "exact"), row
        assert row.rule != "bptt" or ("slopes" in row.note) == (row.model in (*SMOOTH, "clocked")), row


def test_without_a_name_every_model_is_checked(monkeypatch):
    monkeypatch.setattr(check, "_rows", lambda quick, rules, files, seed: iter(files))
    assert sorted(map(str, check.check())) == MODELS
    assert list(map(str, check.check(models=MODELS[:1]))) == MODELS[:1]
    assert set(SEVEN) | REFUSED < set(MODELS)


def of_leaky_rate(*rules: str) -> dict[str, check.Row]:
    return {row.rule: row for row in check.check(quick=True, rules=rules, models=["leaky_rate"])}


def test_a_boast_is_found(monkeypatch):
    monkeypatch.setattr(Rule, "claim", property(lambda self: "exact"))
    found = of_leaky_rate("eprop", "rtrl")
    assert not found["eprop"].ok and found["eprop"].measured == "biased" and found["rtrl"].ok


def test_a_rule_that_is_better_than_it_says_is_found(monkeypatch):
    monkeypatch.setattr(Rule, "claim", property(lambda self: "biased"))
    assert not of_leaky_rate("rtrl")["rtrl"].ok


def test_a_rule_that_is_worse_than_it_says_in_its_own_regime_is_found(monkeypatch):
    def smaller(self, linear):
        return tuple(p._replace(F=((0.9,),)) for p in linear.partials)

    monkeypatch.setattr(RFLO, "partials", smaller)
    found = of_leaky_rate("rflo", "eprop")
    assert not found["rflo"].ok and found["eprop"].ok


@pytest.mark.parametrize("rule", ("eprop", "rflo", "mdgl", "kernl", "bp_lambda with the local trace"))
def test_local_rules_leave_out_a_synapse_onto_oneself_too(rule):
    """No neuron is driven by another or by itself: exact without recurrent weights, and no longer with autapses alone."""
    plain = bench(bp.model("leaky_rate"), 20, 1, None, True)
    for selves in (False, True):
        b = plain.unconnected()
        if selves:
            b.network.weights["W_rec"].diagonal().fill_(0.9)
        if rule.startswith("bp_lambda"):
            found = lambda **how: bp.rule("bp_lambda", lmbda=1.0, **how)  # noqa: E731
            own = drawn(b, found())
            local, exact = (
                sequence(b.network, found(trace=trace), own, b.batch, squared).own for trace in ("local", "exact")
            )
            error = difference(local, exact)
        else:
            made = Rule(rules.ELIGIBILITIES[rule](), Instant(), Online())
            assert "by another or by itself" in made.exact_when
            error = difference(b.gradients(made, made.begin(b.network, b.batch, 0)), b.true)
        assert error > 1e-2 if selves else error < 1e-10, (selves, error)


def test_a_rule_without_a_regime_is_found(monkeypatch):
    monkeypatch.setitem(TABLE, "mine", lambda: Rule(EProp(), Instant(), Window(), "mine"))
    found = of_leaky_rate("mine")
    assert not found["mine"].ok and "regimes" in found["mine"].note


def test_a_dead_model_is_found(monkeypatch):
    silent = Cell(
        update="v = 0.5*v + I - 10000",
        inputs=("I",),
        spike="v > 1e6*threshold",
        reset="v -= threshold",
        surrogate=triangular(),
        parameters={"threshold": 1.0},
    )
    monkeypatch.setattr(bp.content, "model", lambda name: silent)
    (row,) = of_leaky_rate().values()
    assert not row.ok and row.measured == "dead" and "mean output" in row.note


def test_a_model_of_ones_own_is_refereed_by_autograd(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    (tmp_path / "bioplaus.toml").write_text("")
    (tmp_path / "models" / "lif.py").write_text(
        "from bioplaus.cell import Cell\n\n\ndef lif():\n"
        "    return Cell(name='lif', update='x = 0.7*x + I + 0.2*y; z = 0.5*z + x', output='tanh(z)')\n"
    )
    monkeypatch.setenv("BIOPLAUS_STUDY", str(tmp_path))
    monkeypatch.setattr(bp.content, "names", lambda kind, real=bp.content.names: {"lif": real(kind)["lif"]})
    rows = {row.rule: row for row in check.check(quick=True)}
    assert all(row.ok for row in rows.values()), rows
    assert "not written by hand" in rows["bptt"].note and "slopes" in rows["bptt"].note


def test_claims_follow_from_the_two_halves():
    exact = [
        bptt(),
        bp.rule("rtrl"),
        Rule(Immediate(), Oracle("state"), Window()),
        Rule(EProp(), Oracle("output"), Window()),
    ]
    assert {rule.claim for rule in exact} == {"exact"}
    biased = [
        bp.rule("tbptt"), bp.rule("eprop"), bp.rule("rflo"), bp.rule("dni"), bp.rule("bp_lambda"),
        Rule(RTRL(), Instant("random")), Rule(RTRL(), Instant("adaptive")), Rule(RFLO(), Oracle("output"), Window()),
    ]  # fmt: skip
    assert {rule.claim for rule in biased} == {"biased"}


@pytest.mark.parametrize("past", (Immediate(), EProp(), RFLO(), RTRL()), ids=lambda p: type(p).__name__)
@pytest.mark.parametrize(
    "future",
    (Instant(), BPTT(), DNI(), BPLambda(), Oracle("state"), Oracle("output"), Oracle("direct")),
    ids=lambda f: f"{type(f).__name__}-{f.declaration.credit}",
)
def test_halves_that_would_count_a_path_twice_are_refused(past, future):
    allowed = {"state": {"state"}, "output": {"output", "direct"}, "direct": {"direct"}}[past.declaration.credit]
    if future.declaration.credit in allowed:
        assert Rule(past, future, Window()).describe()["claim"] in ("exact", "biased")
        return
    with pytest.raises(RuleError) as error:
        Rule(past, future, Window())
    text = str(error.value)
    assert (
        type(past).__name__ in text
        and type(future).__name__ in text
        and "Signals that fit" in text
        and "\n" not in text
    )
    assert ("missed" if past.declaration.credit == "state" else "twice") in text


def test_schedules_that_hide_the_future_are_refused():
    for signal in (BPTT(), Oracle("state")):
        with pytest.raises(RuleError, match="looks into the future") as error:
            Rule(Immediate(), signal, Online())
        assert "Window()" in str(error.value)
    for steps in (0, -1, 2.5, True, "3"):
        with pytest.raises(RuleError, match="steps"):
            Window(steps)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ("lstm", "gru", "adex"))
def test_rflo_needs_a_plain_leak(model):
    network = bp.circuit("recurrent", cell=bp.model(model), inputs=2, units=3, outputs=1).build()
    with pytest.raises(RuleError) as error:
        bp.rule("rflo").refuse(network)
    text = str(error.value)
    assert "rflo" in text and "cortex" in text and "eprop" in text and "leak" in text and "\n" not in text


def test_a_regulariser_where_nothing_waits_for_the_mean():
    for rule in (bp.rule("dni", steps=3), bp.rule("tbptt", steps=3), bp.rule("bp_lambda", schedule="online")):
        c = case("lif", rate=(0.01, 1.0))
        theta = rule.signal.begin(c.network, torch.Generator(), 0)
        with pytest.raises(RuleError, match="rate regulariser"):
            c.gradients(rule, theta)


def test_rtrl_refuses_what_cannot_fit():
    network = bp.circuit("recurrent", cell=bp.model("lstm"), inputs=100, units=2000, outputs=1).build()
    with pytest.raises(RuleError, match="GiB.*smaller"):
        RTRL().init(network, 1000)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("epropp", {}, "eprop"),
        ("eprop", {"feedbak": "random"}, "feedback"),
        ("eprop", {"feedback": "rnadom"}, "random"),
        ("eprop", {"feedback": "adaptive", "decay": 1.0}, "decay"),
        ("eprop", {"schedule": "onlin"}, "online"),
        ("eprop", {"schedule": "online", "steps": 5}, "steps=5"),
        ("tbptt", {"steps": 0}, "steps"),
        ("bp_lambda", {"lmbda": 1.5}, "between 0 and 1"),
        ("bp_lambda", {"discount": -0.1}, "between 0 and 1"),
        ("bp_lambda", {"injection": float("nan")}, "finite"),
        ("bp_lambda", {"predictor": "liner"}, "linear"),
        ("bp_lambda", {"predictor": 3}, "bp.predictor"),
        ("bp_lambda", {"predictor": bp.predictor("linear"), "hidden": (3,)}, "hidden"),
        ("bp_lambda", {"hidden": ()}, "hidden"),
        ("dni", {"discount": True}, "discount"),
    ],
)
def test_nonsense_is_refused_in_words(name, options, words):
    with pytest.raises(RuleError) as error:
        bp.rule(name, **options)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_every_option_given_nonsense_is_refused_or_works():
    nonsense = ("x", "", None, -1, 0, 2.5, float("nan"), float("inf"), True, [], (), {}, object(), (0,), ("a",), 3 * ms)
    network = bp.circuit("recurrent", cell=bp.model("elman"), inputs=2, units=3, outputs=1).build()
    batch = Batch(torch.ones(4, 2, 2), torch.zeros(4, 2, 1), torch.ones(4, 2), torch.ones(2, 2))
    refused = 0
    for name, make in TABLE.items():
        for option in inspect.signature(make).parameters:
            for value in nonsense:
                try:
                    bp.gradient(network, bp.rule(name, **{option: value}), batch)
                except RuleError as error:
                    assert len(str(error).split()) > 6 and "\n" not in str(error)
                    refused += 1
    assert refused > 200, refused
    for name in (3, None, ["eprop"]):
        with pytest.raises(RuleError, match="eprop"):
            bp.rule(name)  # type: ignore[arg-type]


SHARED = ("feedback", "gain", "decay", "schedule", "steps")
#: the options of its own of every rule that is met by this step's error, and those it shares with the others
OPTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "sliding_bptt": (("steps",), SHARED[:-1]), "rtrl": ((), SHARED), "hops": (("hops",), SHARED), "snap": (("order",), SHARED),
    "uoro": ((), SHARED), "kf_rtrl": ((), SHARED), "r_kf_rtrl": ((), SHARED), "kernl": (("restart",), SHARED),
    "eprop": ((), SHARED), "rflo": ((), SHARED), "mdgl": (("types",), SHARED), "three_factor": ((), ("schedule", "steps")),
}  # fmt: skip
DEFAULTS = {"feedback": "symmetric", "gain": 1.0, "decay": 1e-3, "schedule": "", "steps": None}


@pytest.mark.parametrize("name", TABLE)
def test_every_rule_shows_its_options_and_their_defaults_arrive(name):
    """Its own first; a default given by name or by place makes the same rule as one left out."""
    shown = inspect.signature(TABLE[name]).parameters
    assert all(each.default is not each.empty for each in shown.values())
    assert all(each.kind is each.POSITIONAL_OR_KEYWORD for each in shown.values())
    defaults = {option: each.default for option, each in shown.items()}
    made = bp.rule(name)
    assert made == bp.rule(name, **defaults) == TABLE[name](*defaults.values())
    assert made.name == name and TABLE[name].__name__ == name and inspect.getdoc(TABLE[name])
    assert inspect.signature(getattr(rules, name)) == inspect.signature(TABLE[name])
    if name not in OPTIONS:
        assert name in ("bptt", "tbptt", "dni", "bp_lambda")
        return
    mine, shared = OPTIONS[name]
    assert tuple(shown) == mine + shared
    expected = DEFAULTS | ({"feedback": "random"} if name == "rflo" else {})
    assert {option: defaults[option] for option in shared} == {option: expected[option] for option in shared}
    feedback: Any = "reward" if name == "three_factor" else expected["feedback"]
    assert made.signal == Instant(feedback, gain=1.0, decay=1e-3)
    windows = name in ("eprop", "rflo", "mdgl", "three_factor")
    assert made.schedule == (Window() if windows else Online())
    for option in mine:
        its = "steps" if name == "sliding_bptt" else option
        assert getattr(made.eligibility, its) == defaults[option]
        other = True if name == "mdgl" else 3
        assert getattr(bp.rule(name, **{option: other}).eligibility, its) == other
    given: dict[str, Any] = {"feedback": "adaptive", "gain": 2.0, "decay": 0.25, "schedule": "window", "steps": 4}
    told = TABLE[name](**{option: given[option] for option in shared})
    assert told.eligibility == made.eligibility
    assert told.signal == (made.signal if name == "three_factor" else Instant("adaptive", 2.0, 0.25))
    assert told.schedule == Window(4 if "steps" in shared else None)
    with pytest.raises(TypeError):
        TABLE[name](feedbak="random")


def test_steps_alone_mean_windows():
    for name in ("eprop", "rflo", "rtrl", "bp_lambda"):
        assert bp.rule(name, steps=5).schedule == Window(5)
        assert bp.rule(name, steps=5, schedule="window").schedule == Window(5)
        assert bp.rule(name, schedule="online").schedule == Online()
    assert bp.rule("dni", steps=4).schedule == Window(4)
    assert bp.rule("rtrl").schedule == Online() and bp.rule("eprop").schedule == Window()


def test_declarations_are_complete():
    for half in (Immediate, EProp, RFLO, RTRL, Instant, BPTT, DNI, BPLambda):
        d = half.declaration
        assert d.half == ("past" if half in (Immediate, EProp, RFLO, RTRL) else "future")
        assert d.exact_when and d.memory and d.time and d.keeps
        assert d.reference.startswith(("doi:", "arXiv:"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"eligibility": "eprop", "signal": Instant()}, "and 'eprop' is none"),
        ({"eligibility": EProp, "signal": Instant()}, "and EProp is a class"),
        ({"eligibility": EProp(), "signal": "instant"}, "and 'instant' is none"),
        ({"eligibility": EProp(), "signal": Instant(), "schedule": "online"}, "not 'online'"),
        ({"eligibility": EProp(), "signal": Instant(), "schedule": 5}, "not 5"),
        ({"eligibility": EProp(), "signal": Instant(), "name": 7}, "not 7"),
    ],
)
def test_what_is_no_half_no_schedule_no_name_is_refused(given, said):
    with pytest.raises(RuleError) as error:
        Rule(**given)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_learner_of_wrong_parts_is_refused():
    circuit, task = case("elman", steps=3).network.circuit, bp.task("add")
    right = {"circuit": circuit, "task": task, "rule": bp.rule("eprop")}
    for wrong in (
        {"circuit": "recurrent"},
        {"task": "ad"},
        {"task": "add"},
        {"rule": "e-prop"},
        {"training": {"lr": 1}},
        {"seed": -1},
        {"seed": 1.5},
        {"seed": "a"},
    ):
        with pytest.raises(bp.errors.BioplausError) as error:
            bp.Trainer(**{**right, **wrong})  # type: ignore[arg-type]
        assert "must be" in str(error.value) or "no task" in str(error.value) or "has 2 inputs" in str(error.value), (
            error.value
        )
    with pytest.raises(bp.errors.RunError, match="clip of Training is 0"):
        bp.Training(clip=0)


@pytest.mark.parametrize("name", ["rtrl", "hops", "snap", "kf_rtrl", "r_kf_rtrl", "kernl", "uoro"])
def test_traces_that_do_not_fit_are_refused_before_anything_runs(name, monkeypatch):
    task = bp.task("add")
    circuit = bp.circuit("recurrent", cell=bp.model("elman"), inputs=2, units=20, outputs=2)
    made = bp.rule(name)
    network = circuit.build()
    assert isinstance(made.eligibility, Recursion)
    needed = 4 * made.eligibility.numbers(influence.Space(network)) * 64
    monkeypatch.setattr(influence, "memory", lambda device: int(needed / 0.9) + 2)
    bp.Trainer(circuit, task, made, bp.Training(batch=64))
    with pytest.raises(RuleError, match="Use a smaller circuit or batch"):
        bp.Trainer(circuit, task, made, bp.Training(batch=65))
    state = made.eligibility.init(network, 1)
    held = sum(t.numel() for t in tensors(state))
    assert held <= made.eligibility.numbers(influence.Space(network)) + 30 * (network.weights["W_rec"].numel()), (
        "more is kept than was said"
    )
