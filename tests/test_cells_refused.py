"""Every argument of a cell replaced by nonsense: a paragraph that names what was given, before anything runs."""

from __future__ import annotations

import gc
import logging
import re
import warnings
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from cell_helpers import GIVEN, LEAK, LIF, MAP, RATE, VOLT_RATE, VOLTS, of
from task_helpers import paragraph

from bioplaus import Cell, circuit, fast_sigmoid, ms, mV, pA, triangular
from bioplaus import model as bp_model
from bioplaus.cell import Surrogate
from bioplaus.errors import CellError

NONSENSE: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    # equations
    (LIF, dict(equations="dv/dt = (-v + I)/tau : volt"), r"'- v' has unit V; 'I' has unit 1.*tau \(second\)"),
    (LIF, dict(equations="dv/dt = (-v + I)/tau_x : 1"), r"no parameter or variable 'tau_x'. Did you mean 'tau'\?"),
    (LIF, dict(equations="dv/dt = (-v + I/tau : 1"), r"can't be read: '\(' was never closed"),
    (LIF, dict(equations="dv/dt = (-v + I)/tau"), "can't be read.*differential equation with its unit"),
    (LIF, dict(equations="dv/dt = (-v + I)/tau : bogus"), "refers to 'bogus', but this is not a base unit"),
    (LIF, dict(equations="dv/dt = (-v + I)/tau : 1 (bogus)"), "flag 'bogus'"),
    (LIF, dict(equations="dv/dt = (-v + I)/tau : 1\ndv/dt = -v/tau : 1"), "Duplicate definition of variable 'v'"),
    (LIF, dict(equations="dv/dt = (-v + I + k)/tau : 1\nk : 1"), "k is declared in the equations but has no value"),
    (LIF, dict(equations="dv/dt = (-v + I)/tau : 1\ntau : volt"), "tau is declared .* unit volt, but its value has unit second"),
    (LIF, dict(equations="dv/dt = (-v + I)/tau : 1\nI : volt"), "I is declared .* unit volt, but its value has unit 1"),
    (LIF, dict(equations="v = I : 1"), "no differential equation"),
    (LIF, dict(equations="dv/dt = -v/tau : 1"), "Input channel I has no effect"),
    (LIF, dict(equations="dv/dt = (-v**2 + I)/tau : 1"), "method='exact' can't integrate .*linear components. Write method='rk4', which can.$"),
    (LIF, dict(equations="dv/dt = (-v + I)/tau + xi/tau**0.5 : 1"), "Write method='euler', which can"),
    (LIF, dict(equations="dv/dt = (-v + I)/tau + randn()/tau : 1"), "'randn', a random number, which a cell does not draw"),
    (LIF, dict(equations="dv/dt = (-v + I + randn())/tau : 1", method="euler"), "'randn', a random number"),
    (LIF, dict(equations="dv/dt = (-v + I*t/tau)/tau : 1", method="euler"), "'t', the time.*write 'I_0.gate' with 'gate' in inputs="),
    (LIF, dict(equations="dv/dt = (-v + I*(v > 0))/tau : 1", method="euler"), "condition|can't be read|refuses"),
    (LIF, dict(equations="dv/dt = (-v + I*int(v))/tau : 1", method="euler"), "in the line of v, 'v' is no condition"),
    (LIF, dict(equations="dv/dt = (-v + I + gamma(v))/tau : 1", method="euler"), "no parameter or variable 'gamma'"),
    (LIF, dict(equations="dv/dt = (-v + I)/tau : 1\ndu_v/dt = -u_v/tau : 1"), "'u_v' .* generated code"),
    (LIF, dict(equations=3), "equations=3 is not text"),
    (LIF, dict(equations=""), "exactly one"),
    (LIF, dict(update="v = I"), "exactly one"),
    # inputs
    (LIF, dict(inputs=()), "A cell without input channel"),
    (LIF, dict(inputs="I"), r"inputs='I' is not a sequence of names. Write a tuple, such as inputs=\('I',\)"),
    (LIF, dict(inputs=5), "not a sequence of names"),
    (LIF, dict(inputs=(5,)), "contains 5, which is not a name"),
    (LIF, dict(inputs=("I", "I")), "names something twice"),
    (LIF, dict(inputs=("J",)), "no parameter or variable 'I'"),
    (LIF, dict(inputs=("I", "J")), "Input channel J has no effect"),
    (LIF, dict(inputs=("v",), equations="dv/dt = -v/tau : 1"), "'v' is both a state variable and an input channel"),
    (LIF, dict(inputs=("tau",)), "'tau' is both an input channel and a parameter"),
    (LIF, dict(inputs=("spike",), equations="dv/dt = (-v + spike)/tau : 1"), "'spike' .* generated code"),
    (LIF, dict(inputs={"I": 100 * pA}), "'- v' has unit 1; 'I' has unit A"),
    *((LIF, dict(inputs={"I": bad}), "One unit of weight on input channel I is") for bad in ("a", None, float("nan"), 0.0, np.ones(3))),
    *((LIF, {which: ("J",)}, f"In {which}=.*no such choice 'J'. Known: I") for which in ("external", "recurrent")),
    *((LIF, {which: bad}, f"{which}=.* is not a sequence of names") for which in ("external", "recurrent") for bad in ("I", 3)),
    (LIF, dict(external=()), "opens no channel at all"),
    (LIF, dict(inhibitory=("J",)), r"In inhibitory=.*no such choice 'J'"),
    (LIF, dict(inhibitory={"I": 0.5}), r"gives no one sign of the weights that inhibit. Write inhibitory=\('gi',\)"),
    # spike
    *((LIF, dict(spike=bad), f"can't be read as a condition: {said}.*of the form 'left > right'") for bad, said in (
        ("v", "'v' is no comparison"), ("v >", ""), ("> 3", ""), ("v > 1 > threshold", "'v > 1 > threshold' compares more than two"), ("v > threshold and v", "'v' is no condition"),
        ("v == threshold", ".*same to the last bit"), ("v > threshold or v != 1", ".*same to the last bit"), ("not v", "'v' is no comparison"), ("int(v > 1)", ".*is no comparison"))),
    (LIF, dict(spike="v < threshold"), "No state variable is read by the greater side, 'threshold', of spike="),
    (LIF, dict(spike="v > threshold and tau > 1"), "different units"),
    (LIF, dict(spike="v > theta"), "In spike='v > theta': There is no parameter or variable 'theta'"),
    (LIF, dict(spike="v > treshold"), "Did you mean 'threshold'"),
    (LIF, dict(spike="v > I"), "'I' is an input channel, which only equations= and update= can read"),
    (LIF, dict(spike="v > y"), "'y', the neuron's own last output, can only be read by update="),
    (LIF, dict(spike="v > tau"), "'tau' has unit second, expected 1"),
    (LIF, dict(spike="v > 3*mV"), "'3.mV' has unit volt, expected 1"),
    (LIF, dict(spike="v > threshold +"), "can't be read"),
    (LIF, dict(spike="threshold > 0.5"), "No state variable is read by the greater side, 'threshold', of spike="),
    (LIF, dict(spike="v > rand()"), "a random number"),
    (LIF, dict(spike=3), "spike=3 is not text"),
    (LIF, dict(spike=""), "exactly one"),
    # reset
    (LIF, dict(reset="u = 0"), "no state 'u'. Known: v"),
    (LIF, dict(reset="threshold = 0"), "no state 'threshold'"),
    *((LIF, dict(reset=bad), "is not a statement. Expected 'name = expression'") for bad in ("v", "v == 0", "v =", "v **= 2", "0 = v")),
    (LIF, dict(reset="v = tau"), "the reset of v: 'tau' has unit second, expected 1"),
    (LIF, dict(reset="v *= tau"), "the reset of v: 'tau' has unit second, expected 1"),
    (LIF, dict(reset="v = 0*mV"), "the reset of v: '0.mV' has unit volt, expected 1"),
    (LIF, dict(reset="v = w"), "no parameter or variable 'w'"),
    (LIF, dict(reset="v = I"), "'I' is an input channel"),
    (LIF, dict(reset="v = 0 if v > 1 else 2"), "can't be read"),
    (LIF, dict(reset="v = step(v > 1)"), "condition"),
    (LIF, dict(reset=5), "reset=5 is not text"),
    # surrogate
    *((LIF, dict(surrogate=bad), "needs a surrogate derivative, not") for bad in (None, "triangular", triangular)),
    (LIF, dict(surrogate=triangular(width="bogus")), "the surrogate's width 'bogus'.*no parameter or variable 'bogus'"),
    (LIF, dict(surrogate=triangular(width="v")), "the surrogate's width 'v'"),
    (LIF, dict(surrogate=triangular(width="tau")), "'tau' has unit second, expected 1"),
    *((LIF, dict(surrogate=triangular(width=bad)), f"width '{bad}' is {bad} .*must be positive") for bad in ("0", "-1")),
    (LIF, dict(surrogate=triangular(), parameters=of(threshold=np.array([1.0, 0.0]))), "not positive in every neuron"),
    *((LIF, dict(surrogate=triangular(dampening=bad)), "surrogate_dampening is") for bad in ("a", float("nan"), None)),  # pyright: ignore[reportArgumentType]
    (LIF, dict(surrogate=triangular(dampening=3 * mV)), "the surrogate's height.*has unit volt, expected 1"),
    (LIF, dict(surrogate=fast_sigmoid(slope=3 * ms)), "the surrogate's height.*inconsistent units"),
    (LIF, dict(surrogate=Surrogate("z")), "no parameter or variable 'z'"),
    (LIF, dict(surrogate=Surrogate("v*x")), "no parameter or variable 'v'"),
    (LIF, dict(surrogate=Surrogate("x > 1")), "condition"),
    (LIF, dict(surrogate=Surrogate(3)), "height and width are text"),  # pyright: ignore[reportArgumentType]
    (LIF, dict(surrogate=Surrogate("x**2", "threshold", {"threshold": 5.0})), "threshold has one value in the cell and another"),
    # sends
    *((LIF, dict(sends=bad), "sends=.* is no mapping of names to texts") for bad in ("v", ["v"], 3, None)),
    *((LIF, dict(sends={bad: "v"}), "sends= names .*; write a name like a variable's") for bad in (3, "a b", "")),
    *((LIF, dict(sends={"z": bad}), r"sends\['z'\]=.* is not text") for bad in (3, None, b"v")),
    (LIF, dict(sends={"z": ""}), "says nothing|can't be read"),
    (LIF, dict(sends={"z": "# v"}), r"sends\['z'\]=.* says nothing but a comment"),
    (LIF, dict(sends={"z": "v; v"}), "can't be read"),
    (LIF, dict(sends={"z": "v = 2"}), "can't be read"),
    (LIF, dict(sends={"z": "I"}), "'I' is an input channel"),
    (LIF, dict(sends={"z": "y"}), "'y', the neuron's own last output"),
    (LIF, dict(sends={"z": "xi"}), "white noise"),
    (LIF, dict(sends={"z": "rand()"}), "a random number"),
    (LIF, dict(sends={"z": "v*t/ms"}), "the time, but a cell sees time"),
    (LIF, dict(sends={"z": "vv"}), "Did you mean 'v'"),
    (LIF, dict(sends={"z": "v*tau"}), r"has unit second.*sends\['z'\]='\(v\*tau\)/ms'"),
    (RATE, dict(sends={"z": "spike"}), "'spike'"),
    # jumps
    *((LIF, dict(jumps=bad), "jumps=.* is not a sequence of names") for bad in ("v", 3)),
    (LIF, dict(jumps={"w": 1}, inputs=("I",)), "There is no state variable 'w'"),
    (LIF, dict(jumps={"v": 0}), "give one jump that is not zero"),
    (LIF, dict(jumps={"v": 1 * mV}, inputs=("I",)), "makes a state jump by a quantity of its own unit"),
    # refractory, differentiate, start, method, name
    *((LIF, dict(refractory=bad), "refractory=.* is not a time that is zero or more. Give a time, such as 5\\*ms")
      for bad in (-5 * ms, -2, None, True, float("nan") * ms, float("inf"), np.array([[1, 2]]) * ms, np.array([1, -2]) * ms, [])),
    *((LIF, dict(refractory=bad), said) for bad, said in (
        ("5 ms", "can't be read"), ("", "not a time"), (" # none", "says nothing but a comment"), ("threshold", "'threshold' has unit 1, expected second"), ("tau_r", "no parameter or variable 'tau_r'"),
        ("v", "parameters alone: There is no parameter or variable 'v'"), ("v > I", "'I' is an input channel"), ("v > tau", "different units"), ("v == 1", "same to the last bit"), ("2*ms + t", "'t', the time"),
        ("-2*ms", "can't be negative|not a time"), ("tau/0", "finite|can't"), ("rand()*ms", "random number"), ("v > threshold > 3", "compares more than two"))),
    *((LIF, dict(refractory=bad), "neither a time nor a whole number of steps") for bad in (2.5, 5 * mV)),
    (LIF, dict(differentiate=("resets",)), "no such choice 'resets'. Did you mean 'reset'"),
    *((LIF, dict(differentiate=bad), r"differentiate=.* is not a sequence of names. Write a tuple, such as differentiate=\('reset',\)")
      for bad in ("reset", None, 3)),
    (LIF, dict(start={"u": 0}), "In start=: There is no state 'u'. Known: v"),
    (LIF, dict(start={"v": 0 * mV}), "The start of v is 0. V, which has unit volt, but v has unit 1"),
    *((LIF, dict(start={"v": bad}), "The start of v") for bad in ("a", float("nan"), None, np.ones((2, 2)), [], 1j)),
    (LIF, dict(start=3), "start=3 is not a mapping"),
    *((LIF, dict(method=bad), f"no integration method '{bad}'. .*Known: euler, exact, exponential_euler") for bad in ("bogus", "", "gsl")),
    (LIF, dict(method=3), "method=3 is not text"),
    (LIF, dict(name=3), "name=3 is not text"),
    (LIF, dict(source=None), "source=None is not text"),
    # parameters
    (LIF, dict(parameters=3), "parameters=3 is not a mapping"),
    (LIF, dict(parameters=of(tau=20)), "refuses these equations.*tau \\(1\\)"),
    (LIF, dict(parameters=of(tau=20 * mV)), "tau \\(volt\\)"),
    (LIF, dict(parameters=of(tau=-20 * ms)), "tau is -20. ms; a time can't be negative"),
    (LIF, dict(parameters=of(tau=float("inf") * ms)), "tau is inf .*must be finite"),
    (LIF, dict(parameters=dict(tau=20 * ms)), "no parameter or variable 'threshold'"),
    *((LIF, dict(parameters=of(threshold=bad)), "the parameter threshold is .*which is not a number") for bad in ("a", None, [0.6, "a"], True)),
    *((LIF, dict(parameters=of(threshold=bad)), "Parameter threshold") for bad in (1j, np.ones((2, 2)), [], float("nan"))),
    (LIF, dict(parameters=of(v=3)), "'v' is both a state variable and a parameter"),
    (LIF, dict(parameters=of(I=3)), "'I' is both an input channel and a parameter"),
    (LIF, dict(parameters=of(e=3), reset="v -= e"), "'e' .* already means a constant"),
    (LIF, dict(parameters=of(sin=3), reset="v -= sin"), "'sin' .* already means a function"),
    (LIF, dict(parameters=of(nS=3), reset="v -= nS"), "'nS' .* already means a unit"),
    (LIF, dict(equations=LEAK + "\ndrive = I : 1 (constant over dt)", spike="v + drive > threshold"), "drive is '.constant over dt.', computed once at the beginning.*Leave the flag out"),
    (LIF, dict(equations=LEAK + "\ndrive = I : 1", spike="v + drive > threshold"), "'I' is an input channel"),
    (LIF, dict(parameters=of(dt=3), reset="v -= dt"), "'dt' .* already means the circuit's time step.*leave it out of parameters="),
    (LIF, dict(parameters=of(k0_=3), reset="v -= k0_"), "'k0_' .* already means something else"),
    (LIF, dict(parameters=of(τ=3), reset="v -= τ"), "'τ' can't be the name|can't be read"),
    # rates
    (RATE, dict(output=""), "exactly one"),
    (RATE, dict(output="tanh(z)"), "no parameter or variable 'z'"),
    (RATE, dict(output="tanh(x"), "can't be read"),
    (RATE, dict(output="tau*x"), "output='tau\\*x' has unit second, but an output is a plain number. Divide it .*'\\(tau\\*x\\)/ms'"),
    (RATE, dict(output="x > 1"), "condition"),
    (RATE, dict(output="not x"), "condition"),
    (RATE, dict(output="bogus(x)"), "no differentiable function 'bogus'"),
    (RATE, dict(output="3"), "No state variable is read by output='3'"),
    (RATE, dict(output="I"), "'I' is an input channel"),
    (RATE, dict(output=np.tanh), "is not text"),
    *((RATE, bad, "belong to spiking cells") for bad in (dict(reset="x = 0"), dict(surrogate=triangular()), dict(refractory=2 * ms), dict(differentiate=("reset",)))),
    # discrete maps
    (MAP, dict(update="nonsense"), "is not a statement"),
    (MAP, dict(update=3), "update=3 is not text"),
    (MAP, dict(update="v += I"), "plain assignments only"),
    (MAP, dict(update="v = decay*v + J"), "no parameter or variable 'J'"),
    (MAP, dict(update="w = decay*v + I"), "no parameter or variable 'v'"),
    (MAP, dict(update="v = (decay*v + I"), "can't be read"),
    (MAP, dict(update="v = decay*v + I*mV"), "plain numbers.*inconsistent units"),
    (MAP, dict(update="v = decay"), "Input channel I has no effect|same value"),
    (MAP, dict(update="v = decay*v + I; w = decay; w = w*decay", spike="v > w"), "'w' takes the same value"),
    (MAP, dict(update="I = 3; v = I"), "'I' is both a state variable and an input channel"),
    (MAP, dict(update="decay = 3; v = decay*v + I"), "'decay' is both a state variable and a parameter"),
    (MAP, dict(update="y = 3; v = y + I"), "'y' .* the neuron's own last output"),
    (MAP, dict(method="euler"), "method='euler' integrates equations="),
    (MAP, dict(inputs={"I": 3 * pA}), "plain numbers"),
    (MAP, dict(parameters=of(decay=0.9 * ms)), "plain numbers"),
]  # fmt: skip


#: what people write who know Brian2, another simulator, or Python better: all of it is said in one paragraph, with what to write
MISTAKES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    # units
    (VOLT_RATE, dict(output="v"), r"output='v' has unit volt, but an output is a plain number. Divide it .*output='\(v\)/mV'"),
    (VOLT_RATE, dict(output="exp(v)"), "divide by a quantity of that unit where a plain number is needed"),
    (VOLTS, dict(reset="v = 0*ms"), "the reset of v: '0.ms' has unit second, expected volt"),
    (VOLTS, dict(spike="v > 10*mA"), "'10.mA' has unit amp, expected volt"),
    (VOLTS, dict(spike="v > -50mV"), "A product is written with a star"),
    (VOLTS, dict(equations="dv/dt = (-70 - v + R*I)/tau : volt"), "has unit 1"),
    (VOLTS, dict(equations="dv/dt = (E - v + R*I)/tau : mV"), "'mV', but this is not a base unit. Use 'volt'"),
    (VOLTS, dict(equations="dv/dt = (E - v + R*I)/tau : V"), "'V', but this is not a base unit"),
    (VOLTS, dict(inputs=("I",)), r"input channels: I \(1\).*inputs={'I': 100\*pA}"),
    (VOLTS, dict(start={"v": -70}), r"has unit 1, but v has unit volt. Give it with its unit, such as 1\*volt"),
    (LIF, dict(start={"v": 1 * mV}), "Give a plain number"),
    (LIF, dict(parameters=of(threshold=[1 * ms, 2 * mV])), r"Parameter threshold mixes units.*\[10, 20\]\*ms"),
    (LIF, dict(equations="dv/dt = (-v + I)/tau"), "'dv/dt = .-v . I./tau' has no unit: write ' : 1' behind it"),
    (LIF, dict(parameters=of(tau="20*ms")), "the parameter tau is '20.ms', which is not a number.*20.ms without quotes"),
    # flags
    (LIF, dict(equations=LEAK + "\ntau : second (shared)", parameters=of(tau=[1, 2, 3] * ms)), "'.shared.', one value for all neurons, but parameters= gives 3 values. Leave '.shared.' out, or"),
    (LIF, dict(equations=LEAK + "\nI : 1 (shared)"), "I is an input channel.*Leave the flag out, or the whole line"),
    (LIF, dict(equations=LEAK + "\nI : 1 (constant)"), "I is an input channel.*Leave the flag out"),
    (LIF, dict(equations=LEAK + "\nI : 1 (summed)"), "'.summed.' can't stand behind I.*a circuit's projections bring its inputs"),
    (LIF, dict(equations=LEAK + "\ntau : second (linked)"), "'.linked.' can't stand behind tau"),
    (LIF, dict(equations=LEAK + "\ndp/dt = -p/tau : 1 (event-driven)"), "'.event-driven.' can't stand behind p"),
    (LIF, dict(equations=LEAK + " (clock-driven)"), "'.clock-driven.' can't stand behind v"),
    (LIF, dict(equations=LEAK + " (unless_refractory)"), "Did you mean 'unless refractory'"),
    (LIF, dict(equations=LEAK + " unless refractory"), r"A flag stands in brackets: \(unless refractory\)"),
    (RATE, dict(equations="dx/dt = (-x + I)/tau : 1 (unless refractory)"), "output= never is refractory. Leave it out"),
    # the form of equations
    (LIF, dict(equations="v' = (-v + I)/tau : 1"), "the left side is to be dv/dt alone"),
    (LIF, dict(equations="tau*dv/dt = -v + I : 1"), "the left side is to be dv/dt alone.*divides the right side"),
    (LIF, dict(equations="dv/dt = : 1"), "nothing stands behind the '='"),
    (LIF, dict(equations=LEAK + "; da/dt = -a/tau : 1"), "a line of its own"),
    (LIF, dict(equations="dv/dt = (-v^2 + I)/tau : 1"), r"as in v\*\*2"),
    (LIF, dict(equations="dv/dt = (-2v + I)/tau : 1"), r"as in 2\*v"),
    (LIF, dict(equations="dv/dt = (\u2212v + I)/tau : 1"), r"It contains '\u2212' \(U\+2212\)"),
    (LIF, dict(equations="d\u00b5/dt = (-\u00b5 + I)/tau : 1"), r"U\+00B5.*letters a to z"),
    (LIF, dict(equations="dv/dt = (-v + (I if v > 0 else 0))/tau : 1"), "There is no if; step"),
    (LIF, dict(equations="din/dt = (-in + I)/tau : 1"), "'in' is a word of Python"),
    (LIF, dict(equations=[LEAK]), "is not text. Write it in quotes, such as equations='dv/dt"),
    (LIF, dict(equations="# to be written"), "equations='# to be written' says nothing but a comment"),
    (RATE, dict(output="  # tanh"), "says nothing but a comment.*or leave output= out"),
    (MAP, dict(update=" "), "update='' says nothing. Write it"),
    (LIF, dict(equations="dv/dt = (-v + I + N)/tau : 1"), "'N' is something else in Brian2.*another name, such as N_0"),
    (LIF, dict(equations="dv/dt = (-v + I + lastspike/tau)/tau : 1"), "'lastspike' is something else in Brian2"),
    *((base, {which: text}, f"U\\+{ord(letter):04X}.*letters a to z") for base, which, text, letter in (
        (LIF, "equations", "dv/dt = (-v + I)/\u03c4 : 1", "\u03c4"), (LIF, "equations", "dv/dt = (-v + I + \u03b8)/tau : 1", "\u03b8"),
        (LIF, "spike", "v > \u03b8", "\u03b8"), (LIF, "reset", "v -= \u03b8", "\u03b8"), (MAP, "update", "v = \u03b1*v + I", "\u03b1"))),
    *((base, {which: text}, "A comment starts with #, and ends with the line") for base, which, text in (
        (LIF, "equations", LEAK + " // membrane"), (LIF, "equations", "// membrane; leak\n" + LEAK), (LIF, "equations", LEAK + " /* leak */"),
        (LIF, "reset", "// reset"), (LIF, "reset", "v -= threshold // reset"), (RATE, "output", "tanh(x) // rate"))),
    # names
    (LIF, dict(spike="v > \u03b8", parameters=of(**{"\u03b8": 0.6})), "use the letters a to z"),
    (LIF, dict(parameters=of(**{"": 3})), "has a value under '', which is not a name"),
    (LIF, dict(parameters={**GIVEN, 3: 4}), "has a value under 3, which is not a name"),
    (MAP, dict(update="lambda = 3; v = decay*v + I"), "'lambda' .* a word of Python. Choose another name, such as lambda_0"),
    (MAP, dict(update="v = exp(-dt/tau)*v + I", parameters=of(dt=1 * ms)), "'dt' .* the circuit's time step.*leave it out of parameters="),
    (LIF, dict(equations="dv/dt = (-v + I + i)/tau : 1", parameters=of(i=2)), "'i' can't be the name of a parameter.*such as i_0"),
    # statements and expressions
    (LIF, dict(reset="v -= threshold, a = 0"), "Statements are separated by ';'"),
    (LIF, dict(reset="v \u2212= threshold"), r"U\+2212"),
    (LIF, dict(reset=["v -= threshold"]), "is not text. Write it in quotes, such as reset='v -= threshold'"),
    *((RATE, dict(output=bad), "It is to be one expression: leave out the ';'") for bad in ("x; x", "tanh(x);", "x = 2*x; x")),
    (LIF, dict(spike="v > threshold;"), "It is to be one expression"),
    (RATE, dict(output="y = tanh(x)"), "Write the right side alone"),
    (RATE, dict(output="tanh(x) : 1"), "leave out the ':'"),
    (RATE, dict(output="np.tanh(x)"), r"by their names alone: tanh\(x\)"),
    (MAP, dict(update="dv/dt = -v"), "A differential equation goes into equations="),
    (MAP, dict(update="v += I"), r"Write 'v = v \+ \(I\)'"),
    # methods: the advice never is what failed, and works
    (LIF, dict(method=None), "method=None is not text. Write it in quotes, such as method='exact'"),
    (LIF, dict(method="Euler"), "Did you mean 'euler'"),
    (LIF, dict(method="exponential_euler", equations="dv/dt = (-v**2 + I)/tau : 1"), "method='exponential_euler' can't integrate.*Write method='rk4', which can"),
    (LIF, dict(method="exponential_euler", equations="dv/dt = (-v + v**3 + I)/tau : 1"), "Write method='rk4', which can"),
    (LIF, dict(equations="dv/dt = (-v*g + I)/tau : 1\ndg/dt = -g/tau : 1"), "method='exact' can't.*Write method='exponential_euler', which can"),
    # made_for
    *((MAP, dict(made_for=bad), "made_for=.* is not one time above zero.*such as 1\\*ms") for bad in (1, 1e-3, "1*ms", 0 * ms, -1 * ms, 1 * mV, [1, 2] * ms, True)),
    *((MAP, dict(made_for=bad), "without a unit. Give the step") for bad in (1, 1e-3)),
    (LIF, dict(made_for=1 * ms), "made_for=1. ms belongs to update=.*Leave it out"),
    # arguments
    (LIF, dict(threshold=0.6), r"Cell has no threshold=; Brian2's threshold is spike= here\..*parameters=dict"),
    (LIF, dict(param=GIVEN), "no argument 'param' of Cell. Did you mean 'parameters'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("base", "changed", "said"), MISTAKES, ids=[f"{i}-{'-'.join(c)}" for i, (_, c, _) in enumerate(MISTAKES)]
)
def test_natural_mistakes_are_answered_with_what_to_write(base, changed, said):
    with pytest.raises(CellError, match=said) as error:
        Cell(**{**base, **changed})
    paragraph(error)


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        *((m, dict(scale_input=bad), "scale_input of the model lsnn_.* is .*it must be True or False") for m in ("lsnn_lif", "lsnn_alif") for bad in ("no", 0.5, None)),
        *((m, dict(dt=bad), "dt= of its model.* without a unit.*such as 1.ms") for m in ("lsnn_lif", "lsnn_alif") for bad in (1, 1e-3)),
        ("lsnn_lif", dict(dt=1j * ms), "is not one time above zero. Give"),
        ("lif", dict(refractory=1j * ms), "is not a time that is zero or more"),
        ("lsnn_lif", dict(tau_m=0 * ms), "tau_m = 0. tau_m is zero; give a value that is not.$"),
        ("lsnn_alif", dict(tau_m=[5, 0] * ms), "tau_m = 0 to 0.005. tau_m is zero"),
        ("lsnn_alif", dict(tau_a=0 * ms), r"tau_a = 0. tau_a is zero; give a value that is not.$"),
    ],
)  # fmt: skip
def test_models_refuse_with_words_about_what_was_typed(model, given, said):
    with warnings.catch_warnings(), pytest.raises(CellError, match=said) as error:
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        bp_model(model, **given).kernel(2, 1e-3, torch.float64, "cpu")
    paragraph(error)


@pytest.mark.parametrize(
    ("v", "said"), [("(a + I)/(a*b)", "a and b are zero"), ("a*I/b", "b is zero"), ("I/(a + b)", "a and b are zero")]
)
def test_of_several_zeros_those_are_named_that_do_harm(v, said):
    cell = Cell(update=f"v = {v}", output="v", parameters=dict(a=0.0, b=0.0))
    with pytest.raises(CellError, match=rf"\. {said}; give a value that is not\.$"):
        cell.kernel(1, 1e-3, torch.float64, "cpu")


@pytest.mark.parametrize("method", ["exact", "exponential_euler", "linear"])
@pytest.mark.parametrize("right", ["-v**2 + I", "-v*w + I", "-v + tanh(v) + I"])
def test_the_method_that_is_proposed_is_another_and_works(method, right):
    given: dict[str, Any] = {**LIF, "equations": f"dv/dt = ({right})/tau : 1\ndw/dt = (v - w)/tau : 1"}
    try:
        Cell(**given, method=method)
    except CellError as error:
        found = re.search(r"Write method='(\w+)', which can\.$", str(error))
        assert found and found[1] != method
        Cell(**given, method=found[1])
    else:
        assert method == "exponential_euler" and "v**2" not in right  # a function of v is held during a step


def test_arguments_without_a_name_are_refused():
    with pytest.raises(CellError, match="by name, not 'dv/dt") as error:
        Cell(LEAK)  # pyright: ignore[reportCallIssue]
    paragraph(error)


@pytest.mark.parametrize(
    ("base", "changed", "said"), NONSENSE, ids=[f"{i}-{'-'.join(c)}" for i, (_, c, _) in enumerate(NONSENSE)]
)
def test_nonsense_is_refused_in_one_paragraph(base, changed, said):
    with pytest.raises(CellError, match=said) as error:
        Cell(**{**base, **changed})
    paragraph(error)


def test_every_argument_is_replaced_by_nonsense_and_the_bases_are_sound():
    assert {name for _, changed, _ in (*NONSENSE, *MISTAKES) for name in changed} - {"threshold", "param"} == {
        f.name for f in fields(Cell) if f.init
    }
    for base in (LIF, RATE, MAP):
        Cell(**base)


@pytest.mark.parametrize("bad", [-0.1, -1])
def test_a_surrogate_of_the_wrong_sign_is_refused(bad):
    with pytest.raises(CellError, match="can't be negative"):
        triangular(dampening=bad)
    with pytest.raises(CellError, match="can't be negative"):
        fast_sigmoid(slope=bad)


@pytest.mark.parametrize(
    ("changed", "dt", "said"),
    [
        (dict(parameters=of(tau=0 * ms)), 1e-3, "not a finite real number at dt = 0.001 s"),
        (dict(parameters=of(tau=np.array([20, 0, 5]) * ms)), 1e-3, "not a finite real number"),
        (
            dict(parameters=of(threshold=[0.6, 0.7])),
            1e-3,
            r"Parameter threshold has shape \(2,\), but the population has 3 neurons",
        ),
        (
            dict(start={"v": [0.6, 0.7]}),
            1e-3,
            r"The start of v has shape \(2,\), but the population has 3 neurons",
        ),
        (dict(refractory=2.5 * ms), 1e-3, "2.5 steps of 1 ms; give a whole number"),
        (dict(refractory=1 * ms), 0.3e-3, "3.33333 steps of 0.3 ms"),
    ],
)
def test_what_only_the_circuit_can_know_is_refused_when_it_is_built(changed, dt, said):
    cell = Cell(**{**LIF, **changed})
    with pytest.raises(CellError, match=said) as error:
        cell.kernel(3, dt, torch.float64, "cpu")
    paragraph(error)
    with pytest.raises(CellError, match=said):
        circuit("recurrent", cell=cell, inputs=1, units=3, outputs=1, dt=dt).build()


def test_refusing_says_nothing_else(capfd, caplog):
    for changed in (
        dict(equations="dv/dt = (-v**2 + I)/tau : 1"),
        dict(equations="dv/dt = (-v + I)/tau : 1 (bogus)"),
        dict(parameters=of(tau=20)),
    ):
        with pytest.raises(CellError):
            Cell(**{**LIF, **changed})
    Cell(**LIF)
    gc.collect()  # Brian2 warns of objects that joined no network when they are collected
    assert capfd.readouterr() == ("", "")
    assert [r.message for r in caplog.records if r.levelno >= logging.WARNING] == []
