"""The future half of a rule: credit for outputs or states. One file each.

What it must have and may have says `bioplaus.signal.base.Signal`; `bioplaus.signal.synthetic.SyntheticGradient` is the base of those
that speak of the future by a predictor.
"""

from bioplaus.signal.base import Signal
from bioplaus.signal.bp_lambda import BPLambda
from bioplaus.signal.bptt import BPTT
from bioplaus.signal.climbing import ClimbingFibres
from bioplaus.signal.dni import DNI
from bioplaus.signal.instant import Instant
from bioplaus.signal.observed import Observed
from bioplaus.signal.oracle import Oracle
from bioplaus.signal.spoken import Spoken

__all__ = ["BPTT", "DNI", "BPLambda", "ClimbingFibres", "Instant", "Observed", "Oracle", "Signal", "Spoken"]
