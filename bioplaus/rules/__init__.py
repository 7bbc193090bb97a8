"""Rules: a past and a future half (pair), and those that have a name (table)."""

from bioplaus.rules.pair import MEETS, SIGNALS, TABLE, Rule
from bioplaus.rules.table import (
    BESIDE,
    ELIGIBILITIES,
    as_rule,
    bp_lambda,
    bptt,
    climbing_fibre,
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
    stdp,
    tbptt,
    three_factor,
    uoro,
)

__all__ = [
    "BESIDE", "ELIGIBILITIES", "MEETS", "SIGNALS", "TABLE", "Rule", "as_rule", "bp_lambda", "bptt", "climbing_fibre", "dni", "eprop", "hops", "kernl", "kf_rtrl", "mdgl", "r_kf_rtrl",
    "rflo", "rtrl", "rule", "sliding_bptt", "snap", "stdp", "tbptt", "three_factor", "uoro",
]  # fmt: skip
