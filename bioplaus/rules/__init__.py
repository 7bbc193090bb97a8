"""Rules: a past and a future half (pair), and those that have a name (table)."""

from bioplaus.rules.pair import MEETS, SIGNALS, TABLE, Rule
from bioplaus.rules.table import (
    ELIGIBILITIES,
    as_rule,
    bp_lambda,
    bptt,
    dni,
    eprop,
    hops,
    kernl,
    kf_rtrl,
    mdgl,
    r_kf_rtrl,
    rflo,
    rtrl,
    rule,
    sliding_bptt,
    snap,
    tbptt,
    three_factor,
    uoro,
)

__all__ = [
    "ELIGIBILITIES", "MEETS", "SIGNALS", "TABLE", "Rule", "as_rule", "bp_lambda", "bptt", "dni", "eprop", "hops", "kernl", "kf_rtrl", "mdgl", "r_kf_rtrl",
    "rflo", "rtrl", "rule", "sliding_bptt", "snap", "tbptt", "three_factor", "uoro",
]  # fmt: skip
