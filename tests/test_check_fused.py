"""`bioplaus check` holds the loops that numba compiles against torch: right ones pass on every cell, a wrong line of text fails it."""

from __future__ import annotations

import pytest
from loops_helpers import changed

from bioplaus import check, content
from bioplaus.check.fused import ROUNDING
from bioplaus.cli import main
from bioplaus.codegen import compiled

MODELS = sorted(content.names("model"))
RATES = {"elman", "gru", "leaky_rate", "lstm"}
#: those whose loops are compiled in `make test`
QUICK = ("lif",)
LOCAL = ("eprop", "rflo", "mdgl", "three_factor")


@pytest.mark.parametrize("model", [m if m in QUICK else pytest.param(m, marks=pytest.mark.slow) for m in MODELS])
def test_the_loops_of_every_cell_are_torch_s(model):
    (found,) = check.loops(quick=model in QUICK, models=[model])
    assert found.ok and not found.wrong and found.model == model
    if model in RATES:
        assert "have rates" in found.none and not found.numbers
        return
    assert not found.none and found.numbers > 3_000 and 0 < found.error <= ROUNDING
    expected = {"forward", *(f"{rule} {how}" for rule in LOCAL for how in ("window", "online"))}
    refused = {"rflo window", "rflo online"} | ({"mdgl window", "mdgl online"} if model in QUICK else set())
    assert expected - set(found.tried) <= refused, "rflo refuses some cells, and mdgl delays"


WRONG = {
    "outputs": ("forward0_", "y_now = ", "y_now = 0*", "the outputs of cortex: the largest difference is infinite"),
    "a refractory step": ("forward0_", r"wait0_ - c0_,", "wait0_ - c0_ - c0_,", "who is refractory in cortex"),
    "a sweep": ("reverse0_", "time0_ = steps0_ - 1 - back0_", "time0_ = back0_", "eprop's gradient of W_in, window"),
    "a trace": ("traces0_", r"x0_ = pres0_\[time0_,", "x0_ = pres0_[time0_ - (time0_ > 0),", "eprop's gradient of W_in, "),
    "no text at all": ("traces0_", "e0_ =", "e0_ = (", "can't be run: SyntaxError"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_loop_fails_the_check_in_one_paragraph(what, monkeypatch, capsys):
    kernel, right, wrong, told = WRONG[what]
    count = changed(monkeypatch, kernel, right, wrong)
    monkeypatch.setattr(check, "check", lambda *given: [])
    monkeypatch.setattr(check, "orders", lambda *given: [])
    assert main(["check", "--quick", "--models", "lif", "--rules", "eprop"]) == 1
    assert count()
    out = capsys.readouterr().out.strip().splitlines()
    (row,) = [line for line in out if line.startswith("lif ")]
    assert "numbers" in row and "WRONG" in row and "forward" in row
    (paragraph,) = [line for line in out if line.startswith("The loops that numba compiles of lif ")]
    assert told in paragraph and "backend='torch'" in paragraph and paragraph.endswith(".")
    assert out[-1] == "0 of 1 claims hold."


def test_rules_without_loops_of_their_own_are_not_held_against_torch(monkeypatch):
    monkeypatch.setattr(compiled, "function", lambda *given: pytest.fail("nothing is compiled"))
    assert list(check.loops(rules=("uoro", "bptt"), models=("lif",))) == []
    (rates,) = check.loops(models=("lstm",))
    assert rates.none and rates.ok


def test_a_cell_of_ones_own_is_held_against_torch(tmp_path, monkeypatch):
    """A study's, that stands nowhere in bioplaus; a neuron whose threshold follows its voltage."""
    (tmp_path / "models").mkdir()
    (tmp_path / "bioplaus.toml").write_text("")
    (tmp_path / "models" / "mine.py").write_text(
        "from bioplaus.cell import Cell\nfrom bioplaus import ms, triangular\n\n\ndef mine():\n"
        "    return Cell(name='mine', equations='dv/dt = (I - v)/tau : 1\\ndw/dt = (0.3*tanh(v) - w)/tau_w : 1', inputs=('I',), method='exponential_euler',\n"
        "                spike='v > threshold + w', reset='v -= threshold; w += 0.2', refractory=3*ms, surrogate=triangular(),\n"
        "                parameters=dict(tau=20*ms, tau_w=50*ms, threshold=0.6))\n"
    )
    monkeypatch.setenv("BIOPLAUS_STUDY", str(tmp_path))
    count = changed(monkeypatch, "forward0_", r"\Z", "")
    (found,) = check.loops(quick=True, models=["mine"])
    assert found.ok and found.numbers > 3_000 and "eprop online" in found.tried and count()
    changed(monkeypatch, "reverse0_", r"u1_ = ", "u1_ = 2*")
    (found,) = check.loops(quick=True, models=["mine"])
    assert not found.ok and "mine" in found.wrong and "window" in found.wrong


@pytest.mark.parametrize(
    ("kernel", "right", "wrong"),
    [
        ("forward0_", r"y_now = \(fired0_\*not_refractory\)", "y_now = fired0_"),  # shows where input is strong
        ("traces0_", r"(h0_ =) commons0_", r"\1 0*commons0_"),  # shows in a second call
    ],
)
def test_what_shows_in_few_circuits_is_found_too(kernel, right, wrong, monkeypatch):
    count = changed(monkeypatch, kernel, right, wrong)
    (found,) = check.loops(quick=True, rules=["eprop"], models=["alif"])
    assert not found.ok and count()
