"""The past half of a rule: what the weights did to the state. One file each.

An eligibility is a frozen description with

* ``declaration`` — what it claims and which credit it needs;
* ``refuse(network)`` — a reason why it cannot serve a network, or None;
* ``init(network, batch)`` → state;
* ``step(state, linear)`` → state, forward in time, one step (``linear`` spans one step);
* ``gradient(network, state, linear, credit)`` → {weight: Σ over batch}, for the step just taken;
* ``forward(network, state, linear, credit)`` → ({weight: Σ}, state): the two above for every step of a window, weights held;
* ``window(network, state, stretches, last)`` → ({weight: Σ}, state): the same gradient over a whole window at once, given as consecutive
  (linear, credit); ``last`` says that no step follows, so that no trace need be carried on;
* ``summed(network, state, credit)`` → {weight: Σ}: for credit that is constant over the sequence and known at its end (regularisers).
"""

from bioplaus.eligibility.eprop import EProp
from bioplaus.eligibility.immediate import Immediate
from bioplaus.eligibility.rflo import RFLO
from bioplaus.eligibility.rtrl import RTRL

__all__ = ["EProp", "Immediate", "RFLO", "RTRL"]
