"""The past half of a rule: what the weights did to the state. One file each.

What it must have and may have says `bioplaus.eligibility.base.Eligibility`; `bioplaus.eligibility.recursion.Recursion` is the base
of those whose state moves forward step by step.
"""

from bioplaus.eligibility.base import Eligibility
from bioplaus.eligibility.eprop import EProp
from bioplaus.eligibility.history import History
from bioplaus.eligibility.hops import Hops
from bioplaus.eligibility.immediate import Immediate
from bioplaus.eligibility.kernl import KeRNL
from bioplaus.eligibility.kf_rtrl import KFRTRL
from bioplaus.eligibility.mdgl import MDGL
from bioplaus.eligibility.r_kf_rtrl import RKFRTRL
from bioplaus.eligibility.rflo import RFLO
from bioplaus.eligibility.rtrl import RTRL
from bioplaus.eligibility.snap import SnAp
from bioplaus.eligibility.stdp import STDP
from bioplaus.eligibility.two_stage import TwoStage
from bioplaus.eligibility.uoro import UORO

__all__ = [
    "EProp", "Eligibility", "History", "Hops", "Immediate", "KFRTRL", "KeRNL", "MDGL", "RFLO", "RKFRTRL", "RTRL", "STDP", "SnAp", "TwoStage", "UORO",
]  # fmt: skip
