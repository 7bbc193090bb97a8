"""Mistakes put into the text of fused loops, one at a time: each must be seen by the comparisons with torch of `test_fused`.

A text is run as the Python that it is, which needs no compiler; behind the marker *slow* one of each kind is compiled, too. Nothing counts as
seen that rounding could have done.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from brian2 import ms
from loops_helpers import changed
from test_fused import SPREAD, batch, close, inputs, one, same, several

import bioplaus as bp

#: what a mistake must change, over the largest entry of its kind
SEEN = 1e-6

CIRCUITS = {
    "all": several,
    "plain": lambda: one("alif"),
    # traces of neurons with time constants of their own are not put off
    "spread": lambda: bp.circuit(
        "recurrent",
        cell=bp.model("alif", tau_m=20 * SPREAD * ms),
        inputs=4,
        units=12,
        outputs=2,
        input_gain=8.0,
        tau_out=20 * ms,
    ).build(seed=1, dtype=torch.float64),
    "direct": lambda: one("alif", tau=None),
}


@cache
def network(circuit: str) -> bp.Network:
    return CIRCUITS[circuit]()


@cache
def of_torch(circuit: str, schedule: str) -> dict[str, torch.Tensor]:
    found = bp.gradient(network(circuit), bp.rule("eprop", schedule=schedule), batch(network(circuit)), backend="torch")
    assert sum(bool(g.any()) for g in found.values()) > 3, "gradients of nothing would show nothing"
    return found


def compared(kernel: str, circuit: str, tolerance: float) -> None:
    """Raise AssertionError where a loop is not torch's."""
    if kernel == "forward0_":
        same(network(circuit), inputs(network(circuit)), tolerance)
        return
    schedule = {"reverse0_": "window", "partials0_": "window", "traces0_": "online"}[kernel]
    ours = bp.gradient(network(circuit), bp.rule("eprop", schedule=schedule), batch(network(circuit)), backend="numba")
    for name, g in of_torch(circuit, schedule).items():
        close(ours[name], g, tolerance)


FORWARD = {
    "a delay is a step too short": (r"(speaking0_ = said0_\[time0_) \+ 0,", r"\1 + 1,"),
    "a delay is a step too long": (r"(speaking0_ = said1_\[time0_) \+ 3,", r"\1 + 2,"),
    "what had been said before the piece is forgotten": (r"spoke0_ = speaking0_\[pre0_\]", r"spoke0_ = speaking0_[pre0_]*(time0_ > 3)"),
    "the spikes of the last neuron are lost": (r"for pre0_ in range\(size0_\):", "for pre0_ in range(size0_ - 1):"),
    "the last synapse of a spike is lost": (r"for unit0_ in range\(size0_\):", "for unit0_ in range(size0_ - 1):"),
    "weights of the neuron before": (r"from0_ = weights0_\[pre0_,", "from0_ = weights0_[pre0_ - (pre0_ > 0),"),
    "a channel gets the rows of the other": (r"(weights3_\[pre0_,) 1\*size2_:2\*size2_\]", r"\1 0*size2_:1*size2_]"),
    "a spike arrives on one channel of two": (r"into0_ = cur2_\[1,", "into0_ = cur2_[0,"),
    "every sample hears the first": (r"(speaking0_ = said0_\[time0_ \+ \d), sample0_\]", r"\1, first0_]"),
    "one population speaks for another": (r"speaking0_ = said2_\[time0_ \+ 0,", "speaking0_ = said1_[time0_ + 3,"),
    "a population starts from the states of another": (r"(view3_ =) state0_1_\[", r"\1 state0_0_["),
    "constants of a neuron stand in each other's place": (r"fields1_\[0,", "fields1_[1,"),
    "noise is not heard": (r"\*normal_xi\b", "*normal_xi*c1_"),
    "input is not heard": (r"(cur0_\[0, begin0_:end0_\] =) drive0_", r"\1 0*drive0_"),
    "a neuron is refractory for a step too few": (r"max\(wait0_ - c0_,", "max(wait0_ - c0_ - c0_,"),
    "a neuron is refractory for a step too many": (r"wait0_ \+ y_now\*", "wait0_ + y_now + y_now*"),
    "a refractory neuron fires": (r"y_now = \(fired0_\*not_refractory\)", "y_now = fired0_"),
    "a refractory neuron is moved by what arrives": (r"jump_v\*receptive\*", "jump_v*"),
    "what arrives is told from this step's refractoriness": (r"(receptive = c0_ if) wait0_", r"\1 max(wait0_ - c0_, c1_)"),
    "the threshold sees the state of the step before": (r"(margin0_ = .*)\bu_v\b", r"\1v"),
    "a hard reset is forgotten": (r"new_v = \(u_v\*.*", "new_v = u_v"),
    "adaptation hears of the spike a step late": (r"new_a = \(u_a \+ y_now\)", "new_a = (u_a + y_last)"),
    "a state is written down before its reset": (r"(view\d+_\[unit0_\] =) new_v", r"\1 u_v"),
    "the readout leaks twice": (r"\+ kappa0_\*\(", "+ kappa0_*kappa0_*("),
    "the readout sees the spike a step late": (r"= y_now \+ kappa0_\*\((view\d+_\[unit0_\]) - y_now\)", r"= y_last + kappa0_*(\1 - y_last)"),
}  # fmt: skip

REVERSE = {
    "time runs forward": (r"time0_ = steps0_ - 1 - back0_", "time0_ = back0_"),
    "the surrogate is that of the step after": (r"(v0_ = arrays0_\[0\])\[time0_\]", r"\1[min(time0_ + 1, steps0_ - 1)]"),
    "the surrogate is forgotten": (r"(u0_ = .*yy0_)\*p\d+_", r"\1"),
    "credit for the adaptation misses the spike": (r"(u1_ = .*) \+ yy0_\*p\d+_", r"\1"),
    "credit is carried without what came in this step": (r"(carried0_\[0, unit0_\] =) u0_", r"\1 a0_"),
    "credit decays for a step too many": (r"(carried0_\[0, unit0_\] = u0_\*\w+)", r"\1*kappa0_"),
    "credit is not carried": (r"carried0_\[1, unit0_\] = u1_", "carried0_[1, unit0_] = 0*u1_"),
    "what the readout leaks is lost": (r"af0_\[unit0_\] = kappa0_\*s0_", "af0_[unit0_] = 0*s0_"),
    "the readout's leak is forgotten": (r"af0_\[unit0_\] = kappa0_\*s0_", "af0_[unit0_] = s0_"),
    "one minus kappa is forgotten": (r"\(c\d+_ - kappa0_\)\*s0_", "s0_"),
    "the jump of the adaptation has no credit": (r"(yy0_ = .*) \+ a1_", r"\1"),
    "the last neuron of the last sample is left out": (r"range\((ay0_.shape\[0\]|first0_, until0_)\)", r"range(\1 - 1)"),
    "a current's credit is that of another state": (r"(i0_\[unit0_\] =) u0_", r"\1 u1_"),
}  # fmt: skip

TRACES = {
    "a trace hears of the spike a step late": (r"x0_ = pres0_\[time0_,", "x0_ = pres0_[time0_ - (time0_ > 0),"),
    "credit meets the trace of the step before": (r"shown0_\*z0_", "shown0_*b0_"),
    "credit is that of the first sample": (r"credit1_\[time0_, sample0_,", "credit1_[time0_, 0,"),
    "traces that neurons share start anew in every call": (r"(h0_ =) commons0_", r"\1 0*commons0_"),
    "the surrogate is forgotten": (r"e0_ = (\w+)\*(\w+) \+ \w+\*", r"e0_ = \2 + "),
    "the surrogate is that of another neuron": (r"(p\d+_ = arrays0_\[0\]\[.*) unit0_\]", r"\1 0]"),
    "the last synapse is left out": (r"for into0_ in range\(pres0_.shape\[2\]\)", "for into0_ in range(pres0_.shape[2] - 1)"),
    "a stored trace forgets the spike": (r"(n0_ =) \w+\*e0_ \+", r"\1"),
    "a stored trace is not kept": (r"stored0_\[into0_\] = n0_", "stored0_[into0_] = 0*n0_"),
    "one minus kappa is forgotten": (r"\(c\d+_ - kappa0_\)\*e0_", "e0_"),
    "the readout's leak is forgotten": (r"z0_ = kappa0_\*", "z0_ = "),
    "decay that was put off is forgotten": (r"s0_ = stored0_\[into0_\]\*left0_", "s0_ = stored0_[into0_]"),
    "decay that was put off is made up for twice": (r"s0_ = stored0_\[into0_\]\*left0_", "s0_ = stored0_[into0_]*left0_*left0_"),
    "the leak that was put off is forgotten": (r"leftbar0_ \*= kappa0_", "leftbar0_ *= 1"),
    "the leak goes on in steps that were not put off": (r"(bar_row0_\[into0_\] =) z0_", r"\1 z0_*leftbar0_"),
    "what is put off at a call's end is forgotten": (r"(put0_\[0, sample0_, unit0_\] =) left0_", r"\1 1 + 0*left0_"),
    "the leak that is put off at a call's end is forgotten": (r"(put0_\[1, sample0_, unit0_\] =) leftbar0_", r"\1 1 + 0*leftbar0_"),
    "what was put off is never met": (r"owed0_ \+= shown0_\*leftbar0_", "owed0_ += 0*shown0_"),
    "credit of steps that were put off is not made less": (r"owed0_ \+= shown0_\*leftbar0_", "owed0_ += shown0_"),
}  # fmt: skip

PARTIALS = {
    "the surrogate is that of the step after": (r"given0_\[0\]\[time0_\]", "given0_[0][min(time0_ + 1, out0_.shape[1] - 1)]"),
    "the surrogate knows no refractoriness": (r"not_refractory = view", "not_refractory = 1 + 0*view"),
    "the last neuron is left out": (r"range\(first0_, until0_\)", "range(first0_, until0_ - 1)"),
    "constants of a neuron stand in each other's place": (r"fields0_\[0, unit0_\]", "fields0_[0, unit0_ - (unit0_ > 0)]"),
    "entries are written a step late": (r"out0_\[0, time0_\]", "out0_[0, min(time0_ + 1, out0_.shape[1] - 1)]"),
}  # fmt: skip

#: those that show in circuits of another kind
ELSEWHERE = {
    "a trace that is not put off: a step late": ("traces0_", "spread", r"pre0_ = pres0_\[time0_,", "pre0_ = pres0_[time0_ - (time0_ > 0),"),
    "a trace that is not put off: another neuron's decay": ("traces0_", "spread", r"(p\d+_ = arrays0_\[\d\]\[.*) unit0_\]", r"\1 0]"),
    "a trace that is not put off: the leak is forgotten": ("traces0_", "spread", r"z0_ = kappa0_\*", "z0_ = "),
    "a trace that is read directly: credit of the step before": ("traces0_", "direct", r"credit0_\[time0_,", "credit0_[time0_ - (time0_ > 0),"),
    "a sweep behind a direct readout: credit of the step after": ("reverse0_", "direct", r"told0_\[time0_\]", "told0_[min(time0_ + 1, steps0_ - 1)]"),
}  # fmt: skip

MISTAKES = {
    **{f"forward: {what}": ("forward0_", "all", *how) for what, how in FORWARD.items()},
    **{f"reverse: {what}": ("reverse0_", "plain", *how) for what, how in REVERSE.items()},
    **{f"partials: {what}": ("partials0_", "all", *how) for what, how in PARTIALS.items()},
    **{f"traces: {what}": ("traces0_", "plain", *how) for what, how in TRACES.items()},
    **ELSEWHERE,
}
#: those that are compiled, too
COMPILED = [
    "forward: a delay is a step too short",
    "forward: the last synapse of a spike is lost",
    "forward: one population speaks for another",
    "forward: a neuron is refractory for a step too few",
    "forward: a neuron is refractory for a step too many",
    "forward: the readout leaks twice",
    "reverse: the surrogate is that of the step after",
    "reverse: the readout's leak is forgotten",
    "traces: a trace hears of the spike a step late",
    "traces: decay that was put off is made up for twice",
    "a trace that is not put off: another neuron's decay",
]
KINDS = sorted({(kernel, circuit) for kernel, circuit, *_ in MISTAKES.values()})


@pytest.mark.parametrize(("kernel", "circuit"), KINDS)
def test_the_text_itself_is_torch_s(kernel, circuit, monkeypatch):
    """What is changed below is right: as Python it computes what it does compiled."""
    count = changed(monkeypatch, kernel, r"\Z", "")
    compared(kernel, circuit, 1e-11)
    assert count(), "the loop was run"


@pytest.mark.parametrize("what", MISTAKES)
def test_every_mistake_is_seen(what, monkeypatch):
    seen(what, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("what", COMPILED)
def test_every_mistake_is_seen_in_machine_code(what, monkeypatch):
    seen(what, monkeypatch, compiles=True)


def seen(what: str, patch: Any, compiles: bool = False) -> None:
    kernel, circuit, right, wrong = MISTAKES[what]
    count = changed(patch, kernel, right, wrong, compiles)
    try:
        compared(kernel, circuit, SEEN)
        found = False
    except AssertionError:
        found = True
    assert count(), "no text has this line any more: write the mistake into what stands in its place"
    assert found, "nobody has seen it"
