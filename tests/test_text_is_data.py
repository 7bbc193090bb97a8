"""Text is data: what is put into equations, names, rules, options and folders is neither run, nor computed, nor followed out of its root."""

from __future__ import annotations

import json
import pickle
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from brian2 import metre
from cell_helpers import LEAK, LIF, MAP, RATE, of
from task_helpers import paragraph

import bioplaus as bp
from bioplaus import Cell, cli, ms, mV, nA
from bioplaus.cell import Surrogate
from bioplaus.errors import BioplausError, CellError, CircuitError, RunError
from bioplaus.runs import Experiment, Run, records, run_experiment
from bioplaus.runs.compare import parse_rule, split_rules
from bioplaus.runs.experiment import check_seeds
from bioplaus.runs.reopen import reopen
from bioplaus.runs.usable import below
from bioplaus.symbolic import grammar, text
from bioplaus.symbolic.units import amp, cm, farad, get_dimensions, get_unit, nF, siemens, uS

MARK = "mark"
#: as it is tried: a file in the working directory that must not appear
RUN = f"__import__('pathlib').Path('{MARK}').touch()"
LIMIT = 2  # s


@contextmanager
def harmless() -> Iterator[None]:
    """Nothing is run, and nothing takes long: what hangs is ended, and fails."""

    def hung(*given: Any) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, hung)
    signal.setitimer(signal.ITIMER_REAL, 3 * LIMIT)
    start = time.process_time()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.process_time() - start < LIMIT
    assert not Path(MARK).exists(), "it was run"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working directory, in no study."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in ("BIOPLAUS_STUDY", "BIOPLAUS_TRUST"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "here"


def test_the_mark_would_be_seen():
    with pytest.raises(AssertionError, match="it was run"), harmless():
        eval(RUN)


def nested(times: int, before: str, inside: str, behind: str) -> str:
    return before * times + inside + behind * times


def doubling(lines: int, form: str, between: str) -> str:
    """Each shorthand names the one before it twice."""
    return between.join(form.format(f"a{i + 1}", f"sin(a{i})*cos(1 + a{i})") for i in range(lines))


def named(lines: int) -> str:
    """Each condition names the one before it twice."""
    conditions = "".join(f"\nb{i + 1} = b{i} and b{i} : boolean" for i in range(lines))
    return f"dx/dt = (-x + I*int(b{lines}))/tau : 1\nb0 = x > 1 : boolean{conditions}"


CELLS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    # code, through every text
    *((LIF, dict(equations=f"dv/dt = (-v + I + {how})/tau : 1"), "can't be read: in the line of v, .*is not a number") for how in (f'"{RUN}"', f'tanh("{RUN}")', f'sin(v*"{RUN}")', f"exp(b'{RUN.replace(chr(39), chr(34))}')")),
    (LIF, dict(equations=f"drive = exp(\"{RUN}\") : 1\ndv/dt = (-v + I + drive)/tau : 1"), "in the line of drive, .*is not a number"),
    (LIF, dict(equations=f"dv/dt = (-v + I + {RUN})/tau : 1"), "is no function with values in brackets"),
    (LIF, dict(spike=f'v > threshold + tanh("{RUN}")'), "is not a number"),
    (LIF, dict(spike=f'tanh("{RUN}")*v > threshold'), "is not a number"),
    (LIF, dict(reset=f'v -= tanh("{RUN}")'), "is not a number"),
    (LIF, dict(reset=f'v -= {RUN}'), "is no function with values in brackets"),
    (LIF, dict(surrogate=Surrogate(f'relu("{RUN}")')), "is not a number"),
    (LIF, dict(surrogate=Surrogate("relu(1 - abs(x))", f'abs("{RUN}")')), "is not a number"),
    (RATE, dict(output=f'tanh("{RUN}")'), "is not a number"),
    (RATE, dict(output=f"abs('''{RUN.replace(chr(39), chr(34))}''')"), "is not a number"),
    (MAP, dict(update=f'v = decay*v + I + tanh("{RUN}")'), "is not a number"),
    # other syntax of Python
    *((RATE, dict(output=how), said) for how, said in (
        (f"[{RUN} for x in (1,)][0]", "is not understood"), (f"(lambda: {RUN})()", "is no function"), (f"x if {RUN} else x", "not understood.*There is no if"),
        (f"(y := {RUN})", "is not understood"), (f"{{{RUN}}}", "is not understood"), (f"x[{RUN}]", "is not understood"), (f"f'{{{RUN}}}'".replace("'mark'", '"mark"'), "can't be read"),
        ("x.__class__", "is not understood"), ("().__class__.__base__", "is not understood"), ("tanh(x, key=x)", "is no function with values"), ("tanh(*x)", "is not understood"),
        ("x @ x", "is not understood"), ("x % 2", "is not understood"), ("~x", "is not understood"), ("x in x", "is not understood"), ("x is x", "is not understood"),
        ("True*x", "is not a number"), ("None", "is not a number"), ("x*2j", "is not a number"), ("x + ...", "is not a number"), ("await x", "can't be read"),
        ("\uff54anh(x)", "letters that mean others, 'tanh'"), ("__import__(x)", "no differentiable function '__import'"), ("eval(x)", "no differentiable function 'eval'"),
        ("factorial(x)*exec(x)", "no differentiable function"), ("tanh(x)\0", "can't be read"))),
    # numbers
    *((RATE, dict(output=f"tanh(x)*{how}"), said) for how, said in (
        ("9**9**9**9", "exponent"), ("10**10**8", "exponent"), ("2**-1000000000", "exponent"), ("exp(10**9**9)", "exponent"), ("x**1000000", "exponent"),
        ("(1 + 10**-9)**(10**9)", "exponent"), ("((1/3)**1000)**1000", "digits"), ("1e999", "beyond 1e300"), ("1e-999", "no number|beyond|accepted"), ("10**400", "digits"), ("9" * 5000, "digits"),
        ("0x" + "f" * 5000, "digits"), ("1e200*1e200", "digits"), ("exp(exp(exp(exp(9))))", "beyond 1e300"), ("sinh(10**9)", "beyond 1e300"), ("1_0" * 200, "digits")) if how != "1e-999"),
    (LIF, dict(reset="v = 9**9**9**9"), "exponent"),
    (LIF, dict(spike="v > 9**9**9**9"), "exponent"),
    (LIF, dict(equations="dv/dt = (-v + I + 9**9**9**9)/tau : 1"), "in the line of v, an exponent"),
    (LIF, dict(surrogate=Surrogate("relu(x)*9**9**9", "9**9**9")), "exponent"),
    # numbers in functions, constants, and what names that cancel leave
    *((RATE, dict(output=how), "exponent|beyond 1e300") for how in (
        "x*floor(pi**(pi**(pi**pi)))", "x*9**abs(-10**9)", "x*9**sqrt(10**18)", "x*9**relu(10**9)", "x*9**softplus(9)**softplus(9)**softplus(9)",
        "x*(9*step(1))**(9*step(1))**(9*step(1))", "x*e**e**e**e**e", "x*inf**inf", "x*9**(10**9 + 0*x)", "x*9**(10**9*x/x)", "x*2**(x + 10**9)", "x*9**(x/(x - x*(1 - 10**-9)))",
        "x*floor(exp(floor(10**290)))", "x*(sqrt(-4)**1000)**1000", "x*((floor(9)**1000)**1000)**1000", "x*9**sqrt(-1)")),
    (RATE, dict(output="x*zeta(9)"), "zeta is no function whose numbers are known"),
    *((RATE, dict(equations=f"{lines}dx/dt = (-x + I + {how})/tau : 1"), "in the line of .*exponent") for lines, how in (
        ("a = abs(9) : 1\nb = a**a : 1\nc = a**b : 1\n", "c"), ("", "abs(9)**abs(9)**abs(9)"), ("", "x*9**(10**9 + 0*x)"))),
    (LIF, dict(reset="v = abs(9)**abs(9)**abs(9)"), "exponent"),
    (MAP, dict(update="k = abs(9); k = k**k; k = k**k; k = k**k; v = decay*v + I + k"), "exponent"),
    (LIF, dict(surrogate=Surrogate("relu(x)*abs(9)**abs(9)**abs(9)")), "exponent"),
    # numbers that Python does not write
    *((RATE, {field: how}, "a number of thousands of digits") for field, how in (
        ("start", {"x": 10**5000}), ("start", 10**5000), ("inputs", {"I": 10**5000}), ("inputs", 10**5000), ("parameters", 10**5000), ("refractory", 10**5000))),
    (RATE, dict(output="tanh(k*x)", parameters=dict(tau=10 * ms, k=10**10000)), "the parameter k is a number of thousands of digits"),
    (MAP, dict(made_for=10**5000), "a number of thousands of digits"),
    # units
    *((LIF, dict(equations=f"dv/dt = (-v + I)/tau : {unit}"), said) for unit, said in (
        ("volt**9**9**9**9", "exponent"), ("volt**99999999", "exponent"), (RUN, "can't be read"), ("volt.dim", "is not understood"), ("1**9**9**9", "exponent"), ("9" * 5000, "digits"),
        ("volt - volt", "is not understood"), ("1/0", "can't be read"), ("1/(second)", "in the line of v, '1/' is no unit.*without brackets"))),
    # size
    (RATE, dict(output=nested(3000, "(", "x", ")")), "brackets stand inside one another"),
    (RATE, dict(output="-" * 9000 + "x"), "stand inside one another"),
    (RATE, dict(output="2**" * 3000 + "x"), "stand inside one another"),
    (RATE, dict(output="x" + "+x" * 3000), "stand inside one another"),
    (RATE, dict(output="not " * 2000 + "x"), "stand inside one another"),
    (RATE, dict(output=nested(99, "tanh(x + ", "x", ")")), "stand inside one another"),
    (RATE, dict(output="x + " * 10**6 + "x"), "output= has 4000001 letters.*at most 10000"),
    (LIF, dict(equations=LEAK + "#" * 10**6), "equations= has .* letters"),
    (LIF, dict(surrogate=Surrogate("x" * 10**6)), "it has 1000000 letters"),
    (LIF, dict(method="e" * 10**6), "method= has 1000000 letters"),
    (LIF, dict(name="n" * 10**6), "name= has 1000000 letters"),
    (LIF, dict(equations="\n".join(f"dv{i}/dt = (-v{i} + I)/tau : 1" for i in range(300))), "at most 50 are read"),
    (MAP, dict(update="; ".join(f"v{i} = v{i} + I" for i in range(600))), "at most 50 are read"),
    (RATE, dict(equations=f"a0 = x : 1\n{doubling(40, '{} = {} : 1', chr(10))}\ndx/dt = (-x + I + a40)/tau : 1", method="euler"), f"more than {grammar.PARTS} parts"),
    (MAP, dict(update=f"a0 = v; {doubling(40, '{} = {}', '; ')}; v = a40 + I"), f"more than {grammar.PARTS} parts"),
    (LIF, dict(reset="; ".join(["v = sin(v)*cos(1 + v)"] * 40)), f"more than {grammar.PARTS} parts"),
    (LIF, dict(reset="; ".join(["v *= sin(v)"] * 40)), f"more than {grammar.PARTS} parts"),
    (RATE, dict(equations="a = b : 1\nb = a : 1\ndx/dt = (-x + I + a)/tau : 1"), "cycle"),
    (RATE, dict(equations="dx/dt = (-x*" + "*".join(f"(x + {i})" for i in range(40)) + " + I)/tau : 1", method="exponential_euler"), "multiplied out"),
    (RATE, dict(equations="dx/dt = ((x + I + 1)**500)/tau : 1", method="exponential_euler"), "multiplied out"),
    (RATE, dict(equations="dx/dt = (" + nested(12, "exp(x + ", "x", ")") + " + I)/tau : 1", method="rk4"), "method='rk4' makes a step of more than"),
    (RATE, dict(equations="dx/dt = (-x + I + (sin(I) + cos(I) + exp(I) + 1)**15)/tau : 1", method="exponential_euler"), "multiplied out"),
    (RATE, dict(output="1/(1+x*" * 45 + "x" + ")" * 45), "more operations stand inside one another than sympy can follow"),
    # conditions, and functions of several values
    *((LIF, {field: f"v > threshold and {how}"}, said) for field in ("spike", "refractory") for how, said in (
        (f'tanh("{RUN}") > 0', "can't be read|is not a number"), (RUN, "is no function with values in brackets"), ("v.__class__ > 3", "is not understood"), ("9**9**9**9 > v", "exponent"),
        ("abs(9)**abs(9)**abs(9) > v", "exponent"), ("True", "is not a number"), ("v > 1 > (lambda: 3)()", "is no function"), ("not " * 2000 + "v > 1", "stand inside one another"),
        (nested(60, "not (v > 1 and ", "v > 2", ")"), "stand inside one another"), (nested(30, "(v > 1 or ", "v > 2", " and v > 3)"), f"more than {grammar.PARTS} parts"),
        (nested(30, "int(v > 1 and ", "v > 2", ") > 0"), f"more than {grammar.PARTS} parts"), (" or ".join(["v > 1"] * 99), f"more than {grammar.PARTS} parts"))),
    *((LIF, dict(refractory=how), said) for how, said in (
        (RUN, "is no function"), (f'tanh("{RUN}")*tau', "is not a number"), ("9**9**9**9*tau", "exponent"), ("tau*exp(exp(exp(exp(9))))", "beyond 1e300"), ("tau" + "*tau" * 3000, "letters|stand inside"),
        ("t" * 10**6, "refractory= has 1000000 letters"), (nested(3000, "(", "tau", ")"), "brackets stand inside"))),
    *((RATE, dict(output=how), said) for how, said in (
        (f'int("{RUN}" > 0)', "is not a number"), (f"max({RUN}, x)", "is no function"), ("max(" + ",".join(["x"] * 2000) + ")", f"more than {grammar.PARTS} parts"), ("x*9**max(9, 10**9)", "exponent"),
        ("x*9**clip(10**9, 0, 10**10)", "exponent"), ("x*2**(10**9*int(3 > 2))", "exponent"), ("x*int(9**9**9 > x)", "exponent"), ("x*exprel(10**9)", "beyond 1e300"), ("x*9**(10**9*mV/mV)", "exponent"),
        ("x*(1000*volt/volt)**999", "beyond 1e300"), ("max()", "another number of values"), ("clip(x)", "another number of values"), ("int(x > 1, x > 2)", "is not int of one condition"),
        # without a bound, where a bound may be none; no other number is endless
        *((how, "beyond 1e300") for how in (
            "clip(x, inf, 1)", "clip(x, 0, -inf)", "clip(x, 0, inf*x)", "clip(x, 0, inf*tau/ms)", "clip(x, 0, inf*inf)", "clip(x, 0, inf + 1)", "clip(x, 0, inf**2)", "clip(x, 0, abs(inf))",
            "clip(inf, 0, 1)", "x*inf", "max(x, inf)", "clip(x, 0, 2*inf)", "clip(x, inf/mV*mV, inf)")),
        ("x*9**clip(10**9, 0, inf)", "exponent"), ("clip(x, 0, " + "-" * 8000 + "inf)", "stand inside one another"), ("clip(x, 0, inf" + "*mV/mV" * 700 + ")", "beyond 1e300"), ("clip(x, 0, " + "-(" * 90 + "inf" + ")" * 90 + ")", "beyond 1e300"),
        ("our_reached(x)", "Unknown function"), ("softplus(" * 30 + "x" + ")" * 30, f"more than {grammar.PARTS} parts"))),
    # conditions with a name, which are written in where it stands
    (RATE, dict(equations=named(40)), "With the conditions .* written in, a text of the cell has"), (RATE, dict(equations=named(9) + "\nc = b9 and b9 and b9 : boolean"), "written in|parts"),
    *((RATE, dict(equations=f"dx/dt = (-x + I*int(a))/tau : 1\na = {how} : boolean"), said) for how, said in (
        (RUN, "can't be read|is no function"), ("x > 9**9**9", "exponent"), ("x", "'x' is no condition"), ("a and x > 1", "'a' is no condition"), ("(x > 1) > 0", "is a condition, not a number"))),
    (LIF, dict(spike="(v > 1) > 3"), "is a condition, not a number"),
    # what is in their brackets Brian2 asks for its unit several times, inside one another
    *((RATE, dict(equations=f"dx/dt = (-x + I + {call * 40}x{more * 40})/tau : 1", method="euler"), f"more than {grammar.PARTS} parts") for call, more in (
        ("clip(", ",0,1)"), ("max(", ",1)"), ("relu(", ")"), ("abs(", ")"), ("sqrt(", ")"), ("floor(", ")"), ("ceil(", ")"))),
    # names
    (LIF, dict(inputs=(f"I = {RUN}",)), "no parameter or variable|can't be the name"),
    (MAP, dict(inputs=("I", f"J\n{RUN}")), "can't be the name of an input channel"),
    (MAP, dict(update=f"v = decay*v + I; {RUN} = 3"), "is not a statement"),
    (LIF, dict(start={RUN: 3}), "no state"),
    (LIF, dict(method=RUN), "no integration method"),
    (LIF, dict(differentiate=(RUN,)), "no such choice"),
    (LIF, dict(refractory=RUN), "is no function with values in brackets"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("base", "changed", "said"), CELLS, ids=[f"{i}-{'-'.join(c)}" for i, (_, c, _) in enumerate(CELLS)]
)
def test_a_text_of_a_cell_is_refused_before_it_is_run_or_computed(base, changed, said):
    with harmless(), pytest.raises(CellError, match=said) as error:
        Cell(**{**base, **changed})
    assert len(paragraph(error)) < 1000


def test_names_that_nothing_reads_reach_no_source():
    """Whatever ``parameters=locals()`` holds; and populations and projections, which may be called anything."""
    with harmless():
        cell = Cell(**{**LIF, "parameters": of(**{RUN: 3, "x\nimport os": 4}), "name": RUN, "source": RUN})
        assert RUN not in cell.kernel(2, 1e-3, torch.float64, "cpu").source
        circuit = bp.Circuit(
            populations={RUN: bp.Population(cell, 3)},
            projections=(bp.Projection(name="in", source="input", target=RUN), bp.Projection(name=f"{RUN}\n", source=RUN, target=RUN)),
            inputs=1,
            readout=bp.Readout(size=1),
            name=RUN,
        )  # fmt: skip
        network = circuit.build(dtype=torch.float64)
        x = np.ones((20, 1, 1))
        ours, theirs = (simulate(network, x, ("v",)) for simulate in (bp.simulate, bp.brian.simulate))
    np.testing.assert_allclose(ours["v"].values, theirs["v"].values, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["L2/3", "a\nb", "a\x1b[2J", "../../x"])
def test_a_population_is_called_what_its_recordings_can_be(name):
    """It was found out when the run was computed, and could not be saved."""
    with pytest.raises(CircuitError, match="A population cannot be called .* Write ") as error:
        bp.Circuit(populations={name: bp.Population(bp.model("elman"), 3)}, projections=(), inputs=1, readout=bp.Readout(size=1))  # fmt: skip
    paragraph(error)


def test_every_shipped_model_is_within_the_bounds_with_room():
    for name in bp.content.names("model"):
        cell = bp.model(name)
        for part in ("equations", "update", "output", "spike", "reset"):
            assert len(getattr(cell, part)) < grammar.LONGEST / 10
        read = cell.parsed
        expressions = [*read.observed, *(s.right for s in (*read.update, *read.reset)), *(read.surrogate or ())]
        expressions += [text.expression(e.expr.code) for e in (read.equations or {}).values() if e.expr is not None]
        assert expressions and max(e.weight.parts for e in expressions) < grammar.PARTS / 10
        assert max(e.weight.terms for e in expressions) < grammar.TERMS / 10, "no model is multiplied out to more"
    assert Cell(**{**RATE, "output": nested(40, "tanh(x + ", "x", ")")}).states == ("x",)


HODGKIN_HUXLEY: dict[str, Any] = dict(
    equations="""dv/dt = (I - gNa*m**3*h*(v - ENa) - gK*n**4*(v - EK) - gL*(v - EL))/C : volt
am = 0.1/q*(v + 40*q)/(1 - exp(-(v + 40*q)/(10*q)))/r : Hz
bm = 4*exp(-(v + 65*q)/(18*q))/r : Hz
ah = 0.07*exp(-(v + 65*q)/(20*q))/r : Hz
bh = 1/(1 + exp(-(v + 35*q)/(10*q)))/r : 1/second
an = 0.01/q*(v + 55*q)/(1 - exp(-(v + 55*q)/(10*q)))/r : Hz
bn = 0.125*exp(-(v + 65*q)/(80*q))/r : Hz
dm/dt = am*(1 - m) - bm*m : 1
dh/dt = ah*(1 - h) - bh*h : 1
dn/dt = an*(1 - n) - bn*n : 1""",
    inputs={"I": 1 * nA},
    output="v/Dw",
    parameters=dict(gNa=120 * uS, ENa=50 * mV, gK=36 * uS, EK=-77 * mV, gL=0.3 * uS, EL=-54.4 * mV, C=1 * nF, q=1 * mV, r=1 * ms, Dw=10 * mV),
)  # fmt: skip

#: what people write, which no bound may come near
ORDINARY: list[dict[str, Any]] = [
    *(HODGKIN_HUXLEY | {"method": method} for method in ("euler", "exponential_euler")),
    *({**RATE, "output": how} for how in (
        "+".join(["x"] * 110), "-".join(f"{i}.5*sin({i}.25*x)" for i in range(1, 61)), "(1+x)*" * 10 + "(1+x)", "x*2.3**((x - 309.15)/10)", "abs(x)**0.5*exp(3)**2", "x**3*sqrt(2*pi)**2",
        "x*arctan(1)", "x*softplus(2)**relu(3)", "x*e**2", "log(2)*x + tanh(0.5)**2", "x**(1 + sigmoid(x))")),
    # of hyperbolic functions sympy asks whether their argument is real by multiplying it out
    *({**RATE, "method": "rk4", "equations": f"dx/dt = (-x + I + {how})/tau : 1"} for how in (
        "tanh(x - x**3/3)", "tanh((x + 1)**12)", "cosh((x + 1)**40)", "sinh(1/(x + 1)**9)", "tanh(sin((x + 1)**10))", "tanh(1)*sinh(0)")),
    # of comparisons sympy asks whether they always hold; and none of them multiplies what is multiplied out
    *({**RATE, "method": method, "equations": f"dx/dt = (-x + I + int({how}))/tau : 1"} for method in ("euler", "exponential_euler") for how in (
        " or ".join(f"not x > {i}" for i in range(40)), "(x + 1)**40 > 0", "x**2 >= 0 and 3 > 2", nested(20, "x > int(", "x > 1", ")"))),
    *({**RATE, "output": how} for how in ("exprel(" * 40 + "x" + ")" * 40, "max(x, 1, 2, 3)", "arctan((x + 1)**40) + floor((x + 1)**40)")),
    {**RATE, "equations": "\n".join(f"dx{i}/dt = (-x{i} + I)/tau : 1" for i in range(24)), "output": "x0"},
]  # fmt: skip


@pytest.mark.parametrize("written", ORDINARY, ids=range(len(ORDINARY)))
def test_what_people_write_is_no_mistake(written):
    with harmless():
        assert Cell(**written).states


def test_a_division_to_whole_numbers_is_no_comment():
    with pytest.raises(CellError, match="no division to whole numbers"):
        Cell(**{**RATE, "output": "x // 1"})
    with pytest.raises(CellError, match="A comment starts with #"):
        Cell(**{**RATE, "output": "x // the state"})


@pytest.mark.parametrize("name", ["a//b", "./a", "a/", "a/../b"])
def test_a_part_of_a_name_that_is_no_folder_is_told_of_as_that(name):
    with pytest.raises(RunError, match="a part of it between slashes may be empty, or blanks and full stops alone"):
        below("results", name)


@pytest.mark.slow
def test_hodgkin_and_huxley_by_runge_and_kutta():
    assert Cell(**HODGKIN_HUXLEY, method="rk4").states == ("v", "m", "h", "n")


def test_a_current_may_be_a_density():
    """Brian2 calls the unit ``amp / (metre ** 2)`` once it has been made so, and reads no brackets in a unit."""
    density = amp / (cm * cm) * 1e-6
    assert "(" in repr(get_unit(get_dimensions(amp / metre**2)))
    g = 0.3e-3 * siemens / cm**2
    cell = Cell(equations="dv/dt = (g*(E - v) + I)/C : volt", inputs={"I": density}, output="v/E", parameters=dict(g=g, E=50 * mV, C=1e-6 * farad / cm**2))  # fmt: skip
    circuit = bp.circuit("recurrent", cell=cell, inputs=2, units=3, outputs=1)
    x = np.ones((20, 1, 2))
    ours, theirs = (simulate(circuit, x, record=("v",)) for simulate in (bp.simulate, bp.brian.simulate))
    np.testing.assert_allclose(ours["v"].values, theirs["v"].values, rtol=1e-12)


def test_what_is_read_means_what_python_means_by_it():
    generator = np.random.default_rng(0)

    def grown(depth: int) -> str:
        kind = generator.integers(6) if depth else generator.integers(2)
        if kind < 2:
            return ("x", f"{generator.integers(1, 9)}")[kind]
        if kind == 2:
            return f"-({grown(depth - 1)})"
        if kind == 3:
            return f"{generator.choice(['sin', 'cos', 'tanh'])}({grown(depth - 1)})"
        if kind == 4:
            return f"({grown(depth - 1)})**{generator.integers(1, 4)}"
        return f"({grown(depth - 1)}) {generator.choice(['+', '-', '*'])} ({grown(depth - 1)})"

    known = {"sin": np.sin, "cos": np.cos, "tanh": np.tanh, "x": 0.7}
    for written in (grown(4) for _ in range(60)):
        with suppress(CellError):  # 8**3**3**3 is refused
            found = float(text.expression(written).value.subs(text.symbol("x"), 0.7))
            assert found == pytest.approx(float(eval(written, {"__builtins__": {}}, known)), rel=1e-9, abs=1e-9), (
                written
            )


@pytest.mark.parametrize(
    "number", ["10**10*x*10**10", "cos(10**20)*x", "sqrt(10**299 + 7)*x", "x + log(10**299)", "x**2*10**20"]
)
def test_large_whole_numbers_are_computed_with(number):
    """Torch and numpy know no whole number of so many digits; a float holds it."""
    cell = Cell(**{**RATE, "output": number})
    kernel = cell.kernel(2, 1e-3, torch.float64, "cpu")
    one = torch.full((1, 2), 0.5, dtype=torch.float64)
    (u,), y, _ = kernel.step((one,), (one,), one, one, lambda m: m, lambda y: y)
    space = {name: getattr(np, name) for name in ("cos", "sqrt", "log")} | {"x": u[0, 0].item()}
    wanted = eval(number.replace("10**299", "1e299").replace("10**20", "1e20"), space)
    assert y[0, 0].item() == pytest.approx(float(wanted), rel=1e-12)


#: words behind `bioplaus compare target_reaching`, and what is said
TYPED: list[tuple[list[str], str]] = [
    *((["--rules", rule], said) for rule, said in (
        (RUN, "is not a rule"), (f"eprop(feedback={RUN})", "is not a rule"), (f"eprop(**{{{RUN}: 1}})", "is not a rule|no option"), (f"(lambda: {RUN})()", "is not a rule"),
        (f"eprop(feedback=f'{{{RUN}}}')", "is not a rule"), ("eprop(feedback=exec)", "feedback"), (f"[{RUN} for x in 'a']", "is not a rule"), ("x.y(z=1)", "is not a rule"),
        ("bp_lambda(lmbda=9**9**9)", "is not a rule"), ("bp_lambda(lmbda=1e999)", "lmbda of bp_lambda is inf"), ("bp_lambda(lmbda=" + "9" * 5000 + ")", "at most 500"),
        ("bp_lambda(lmbda=" + "9" * 400 + ")", "lmbda of bp_lambda is 99"), ("eprop(feedback='a'*10**9)", "is not a rule"), ("eprop(feedback=" + nested(150, "(", "1", ")") + ")", "feedback"),
        ("eprop(feedback=" + "-" * 450 + "1)", "is not a rule"), ("eprop(feedback=" + nested(180, "[", "", "]") + ")", "feedback"), ("(" * 5000, "at most 500"), ("b" * 400, "no rule"),
        ("b" * 10**6, "letters"), (",".join(f"b{i}" for i in range(1500)), "no rule"), ("bptt\0", "is not a rule"), ("../../bptt", "is not a rule"))),
    *((["--rules", "bptt", *more], said) for more, said in (
        (["--seeds", "0:10000000000"], "more than 10000 seeds"), (["--seeds", "0:9999999999999999999999"], "not seeds"), (["--seeds", "9" * 5000], "not seeds"),
        (["--seeds", ",".join(["0:9000"] * 900)], "more than 10000 seeds"), (["--seeds", RUN], "not seeds"),
        (["--mode", "align", "--lags", "0:10000000000"], "not lags.*at most 10000"), (["--mode", "align", "--draws", "9" * 30], "draws"),
        (["--updates", "1e400"], "whole number"), (["--updates", "9" * 5000], "thousands of digits"), (["--updates", "9" * 30], "updates of Training"),
        (["--units", "9" * 30], "size of a population"), (["--batch", "9" * 30], "batch of Training"), (["--lr", "1e400"], "lr of Training is inf"), (["--input-gain", "1e400"], "is inf"),
        (["--tune", ",".join(f"{i}e-6" for i in range(1, 900))], "entries, at most 100, each"), (["--tune", "1e400,1"], "finite number"), (["--tune", "9" * 5000 + ",1"], "rates"),
        (["--tune", RUN], "no learning rate"), (["--tune", "1,2", "--tune-seeds", "0:10000000000"], "more than 10000 seeds"),
        (["--cell", "../../cell"], "no model"), (["--circuit", RUN], "no circuit"), (["--root", "a\nb"], "a path on one line"), (["--" + "a" * 9000, "1"], "has no option"))),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), TYPED, ids=range(len(TYPED)))
def test_what_is_typed_is_refused_in_a_paragraph(capsys, here, words, said):
    with harmless():
        assert cli.main(["compare", "target_reaching", *words]) in (1, 2)
    err = capsys.readouterr().err
    assert err.startswith("bioplaus: ") and err.count("\n") == 1 and 60 < len(err) < 1500
    with pytest.raises(BioplausError, match=said):
        raise BioplausError(err)
    assert not [*here.iterdir()], "nothing is left behind"


@pytest.mark.parametrize("words", [["a" * 10**6], ["show", RUN], ["show", "a" * 10**6], ["show", "a\nb"], ["figure", "a\nb"], ["new", "a\nb"], ["run", f"../{RUN}"], ["run", RUN], ["list", RUN], ["check", "--rules", RUN], ["check", "--seed", "9" * 40], ["new", "mine", "--copy", "../../etc/passwd"]])  # fmt: skip
def test_so_is_what_other_verbs_are_given(capsys, here, words):
    with harmless():
        assert cli.main(words) in (1, 2)
    err = capsys.readouterr().err
    assert err.startswith("bioplaus: ") and err.count("\n") == 1 and len(err) < 1500
    assert not [*here.iterdir()]


@pytest.mark.parametrize("call", [
    lambda: bp.model(RUN), lambda: bp.model("../models/lif"), lambda: bp.model("b" * 10**6), lambda: bp.circuit(RUN), lambda: bp.experiment(f"a.{RUN}"), lambda: bp.rule(RUN),
    lambda: bp.task("b" * 10**6), lambda: bp.predictor(RUN), lambda: bp.rule("bp_lambda", lmbda=10**5000), lambda: bp.rule("b" * 10**6), lambda: check_seeds(range(10**10)),
    lambda: bp.circuit("recurrent", cell=bp.model("lif"), inputs=10**5000, units=3, outputs=1), lambda: parse_rule("eprop(feedback=" + "-" * 10**5 + "1)"),
    lambda: parse_rule(3), lambda: parse_rule("(" * 10**6), lambda: [parse_rule(rule) for rule in split_rules("x" * 10**6)], lambda: bp.simulate(bp.circuit("recurrent", cell=bp.model("lif"), inputs=1, units=3, outputs=1), np.ones((3, 1, 1)), RUN),  # pyright: ignore
])  # fmt: skip
def test_so_is_what_a_script_gives(call: Callable[[], Any]):
    with harmless(), pytest.raises(BioplausError) as error:
        call()
    assert len(paragraph(error)) < 1500


OUTSIDE = ["../../x", "/etc/x", "", " ", ".", "..", "...", "a/b", "a\\b", "a\nb", "a\0b", "a\x1b[2J", "x ", " x", "x.", "~", "~root", "-x", "C:x", "a" * 300, 3, None]  # fmt: skip


def arm() -> bp.Arm:
    circuit = bp.circuit("recurrent", cell=bp.model("elman"), inputs=10, units=3, outputs=2)
    return bp.Arm(circuit, bp.task("target_reaching"), bp.rule("bptt"), bp.Training(updates=1, batch=2))


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_figure_is_drawn_into_its_folder_or_not_at_all(name):
    with pytest.raises(RunError, match="The name of a figure of 'title' is ") as error:
        Experiment("title", {"a": arm()}, figures={name: lambda results: None})  # pyright: ignore
    paragraph(error)


@pytest.mark.parametrize("name", [n for n in OUTSIDE if n != "a/b"] + ["a/../b", "a//b", "a/", "a/./b"])
def test_an_experiment_lies_below_its_root_or_nowhere(here, name):
    with pytest.raises(RunError, match="The name of an experiment is ") as error:
        below(here, name)
    paragraph(error)
    assert below(here, "a/b") == here / "a" / "b"


@pytest.mark.parametrize("label", ["../../out", "/out", "a\nb", "..", "x" * 100, RUN])
def test_the_label_of_an_arm_leads_nowhere(here, label):
    with harmless():
        results = run_experiment(Experiment("title", {label: arm()}), "named", root=here / "runs")
    assert [run.folder.parent for runs in results.values() for run in runs] == [here / "runs" / "named"]
    assert {path.name for path in here.iterdir()} == {"runs"} and {path.name for path in here.parent.iterdir()} == {
        "here"
    }


class Malicious:
    """A pickle that runs code where it is read."""

    def __reduce__(self):
        return eval, (RUN,)


@pytest.fixture
def finished(here) -> Path:
    results = run_experiment(Experiment("title", {"a": arm()}), "made", root=here / "runs")
    return results["a"][0].folder


def test_a_pickle_in_place_of_a_checkpoint_is_not_run(finished):
    for content in (pickle.dumps(Malicious()), None):
        if content is None:
            torch.save({"format": 2, "update": 1, "trainer": Malicious()}, finished / "checkpoint.pt")
        else:
            (finished / "checkpoint.pt").write_bytes(content)
        with harmless(), pytest.raises(RunError) as error:
            Run.load(finished).weights  # noqa: B018
        paragraph(error)


@pytest.mark.parametrize("origin", [
    {"name": RUN, "config": {}}, {"name": "../../experiments/x", "config": {}}, {"name": "os", "config": {}},
    {"name": "compare-x", "config": {"task": "target_reaching", "rules": [RUN]}}, {"name": "compare-x", "config": {"task": RUN, "rules": ["bptt"]}},
    {"name": "compare-x", "config": {"task": "target_reaching", "rules": ["bptt"], "setting": {"cell": "../../x"}}},
])  # fmt: skip
def test_what_a_record_names_is_looked_up_and_not_run(finished, origin):
    folder = finished.parent
    record = json.loads((folder / "experiment.json").read_text())
    records.write(folder / "experiment.json", record | {"experiment": origin})
    with harmless():
        try:
            assert reopen(folder)[0] is None
        except BioplausError as error:
            assert origin["name"].startswith("compare-") and "\n" not in str(error)


@pytest.mark.parametrize("text", [
    "[" * 100_000, '{"a":' * 100_000, '{"format": %s}' % ("1" * 5_000), '{"format": 1e999}', '{"format": NaN}', '{"format": 2, "format": 3}',
    "[]", "null", "", "\ufeff{}", '{"format": 2}', '{"format": true, "runs": {}}', '{"format": 2, "runs": []}', '{"format": 2, "runs": {"a": [3]}}',
    '{"format": 2, "runs": {"a": ["../../../../etc"]}}', '{"format": 2, "runs": {"a": ["/etc"]}}', '{"format": 2, "runs": {"a": [".."]}}',
    '{"format": 2, "runs": {"a": ["x\\u0000"]}}', '{"format": 2, "runs": {}, "experiment": {"name": 3, "config": {}}}',
    '{"format": 2, "runs": {}, "title": "\\ud800"}', '{"format": 99, "runs": {}}',
])  # fmt: skip
def test_a_record_that_somebody_wrote_is_refused(finished, text):
    """Of an experiment; that of a run is read by the same reader."""
    (finished.parent / "experiment.json").write_bytes(text.encode())
    with harmless(), pytest.raises(RunError, match="experiment.json can't be read") as error:
        reopen(finished.parent)
    paragraph(error)
    (finished / "run.json").write_bytes(text.encode())
    with harmless(), pytest.raises(RunError, match="run.json can't be read") as error:
        Run.load(finished)
    paragraph(error)


@pytest.mark.parametrize(("data", "why"), [
    (b"[" * 100_000, "its brackets lie too deep in one another"), (b"\xff\xfe{", "it is not UTF-8 text, from byte 1 on"),
    (b"\xef\xbb\xbf{}", "it begins with a byte order mark, which some editors put before a text"),
    (b'{"format": ' + b"1" * 5_000 + b"}", "it says a number of 5000 digits"), (b"", "it is not JSON: expecting value at line 1"),
    (b'{\n"a": 1\n"b"', "it is not JSON: expecting ',' delimiter at line 3"), (b'{"a\n', "it is not JSON: invalid control character at line 1"),
    (b'{"format": 2, "config": {}, "title": {"x": "\\ud800"}}', r"'title' is {'x': '\ud800'}; it must be text"),
    (b'{"format": 2, "runs": {}, "other": "\\ud800"}', r"it says '\ud800', which is half of a character"), (None, "Is a directory"),
])  # fmt: skip
def test_what_is_wrong_with_a_record_is_said_in_words(here, data, why):
    """Not by the names of Python's classes."""
    file = here / "experiment.json"
    file.mkdir() if data is None else file.write_bytes(data)
    with pytest.raises(RunError, match=re.escape(f"{file} can't be read: {why}. Nothing was changed.")) as error:
        records.read_experiment(file)
    assert not re.search("Error|codec|sys[.]|utf-8-sig", paragraph(error))


@pytest.mark.parametrize("given", ["\ud800", "a\udfff"])
@pytest.mark.parametrize("call", [
    lambda text, folder: Experiment("title", {text: arm()}), lambda text, folder: Experiment(text, {"a": arm()}),
    lambda text, folder: Experiment("title", {"a": arm()}, expected=text),
    lambda text, folder: bp.train(arm().circuit, "target_reaching", "eprop", updates=1, label=text, folder=folder),
    lambda text, folder: bp.train(arm().circuit, "target_reaching", "eprop", updates=1, folder=f"{folder}/{text}"),
])  # fmt: skip
def test_half_a_character_is_refused_before_anything_is_computed(here, call, given):
    with pytest.raises(RunError) as error:
        call(given, here / "runs")
    paragraph(error)
    assert not list(here.iterdir())


def test_so_is_a_label_that_is_no_text():
    with pytest.raises(RunError, match="The label of an arm of 'title' is 3; it must be text"):
        Experiment("title", {3: arm()})  # type: ignore[dict-item]


def test_a_study_is_not_marked_by_what_its_mark_says(here):
    """The file is asked whether it is there, never what it holds."""
    (here / "bioplaus.toml").write_text(f'run = "{RUN}"\n' + nested(10_000, "[", "", "]"))
    with harmless():
        assert bp.content.study() == here and cli.main(["list", "models"]) == 0


def test_a_record_does_not_speak_to_the_terminal(finished, capsys):
    """Control letters of a file that came from somewhere are shown, and not obeyed."""
    record = json.loads((finished / "run.json").read_text())
    records.write(finished / "run.json", record | {"command": "bioplaus \x1b]0;mine\x07 \x1b[2J run"})
    assert cli.main(["show", str(finished)]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said and "\x07" not in said and "\\x1b]0;mine\\x07" in said
