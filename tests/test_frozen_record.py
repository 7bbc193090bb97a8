"""Ten updates and a gradient of eight rules on four circuits, against the numbers of before."""

from __future__ import annotations

import copy

import pytest
from frozen_record import RECURRENT, ROWS, RULES, differences, fingerprint, frozen, row

KEPT = frozen()
BITWISE = fingerprint() == KEPT["fingerprint"]


@pytest.mark.parametrize(("circuit", "rule"), ROWS)
def test_numbers_are_as_recorded(circuit, rule):
    assert differences(row(circuit, rule), KEPT["rows"][f"{circuit} {rule}"], BITWISE) == []


def test_the_record_is_alive():
    rows = KEPT["rows"]
    assert list(rows) == [" ".join(key) for key in ROWS]
    refused = [name for name, each in rows.items() if isinstance(each, str)]
    assert refused == ["lstm rflo"], "a rule that refuses a circuit records why"
    for circuit in dict(ROWS):
        found = {rule: rows[f"{circuit} {rule}"] for rule in RULES if f"{circuit} {rule}" not in refused}
        seen = {rule: str([each[n] for n in sorted(each) if n.startswith(RECURRENT)]) for rule, each in found.items()}
        exact = {"bptt", "rtrl"}  # equal up to rounding
        assert len({seen[rule] for rule in seen.keys() - exact}) == len(seen.keys() - exact), (
            "two rules compute the same"
        )


def test_a_last_bit_is_seen():
    name = "lstm eprop"
    numbers = {k: [float.fromhex(x) for x in v] for k, v in KEPT["rows"][name].items()}
    moved = copy.deepcopy(numbers)
    moved["loss"][3] *= 1 + 2**-52
    assert differences(numbers, KEPT["rows"][name], True) == []
    assert differences(moved, KEPT["rows"][name], True) and not differences(moved, KEPT["rows"][name], False)
    moved["loss"][3] *= 1 + 1e-11
    assert differences(moved, KEPT["rows"][name], False)
