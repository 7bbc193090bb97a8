"""`bioplaus check` measures with which power of the step a cell's error shrinks."""

from __future__ import annotations

import math

import pytest

import bioplaus as bp
from bioplaus import check
from bioplaus.check import order as module
from bioplaus.check.order import order
from bioplaus.cli import main


@pytest.mark.parametrize(
    "method, promised",
    [("euler", 1), ("exponential_euler", 1), ("rk2", 2), pytest.param("rk4", 4, marks=pytest.mark.slow)],
)
def test_the_order_that_is_found_is_the_method_s(method, promised):
    for model in ("adex", "coba"):
        assert abs(order(bp.model(model, method=method)) - promised) < 0.1


def test_an_exact_method_has_no_error():
    for model in ("lif", "cuba", "alpha_current"):
        assert order(bp.model(model)) == math.inf


def test_a_method_that_does_less_than_it_promises_is_found(monkeypatch, capsys):
    assert all(each.ok for each in check.orders(("qif", "lif")))
    monkeypatch.setitem(module.PROMISED, "euler", 2)
    assert [each.ok for each in check.orders(("qif",))] == [False]
    for other in ("check", "loops"):
        monkeypatch.setattr(check, other, lambda *given: [])
    assert main(["check", "--models", "qif"]) == 1
    assert "qif" in (out := capsys.readouterr().out) and "WRONG" in out and "0 of 1 claims hold" in out
