"""The tables of rules are what the rules declare, and what they declare is true of the code."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import bioplaus as bp
from bioplaus import cli
from bioplaus.check.bench import one_step
from bioplaus.check.regimes import REGIMES
from bioplaus.circuit.carried import Layout
from bioplaus.circuit.network import Network
from bioplaus.circuit.tangent import Tangent
from bioplaus.circuit.trajectory import Stretch, roll
from bioplaus.declaration import INDICES, LETTERS, Declaration, order
from bioplaus.eligibility import MDGL, EProp, History, Hops, SnAp
from bioplaus.errors import RuleError
from bioplaus.measure.memory import tensors
from bioplaus.own import Owns, learned
from bioplaus.own import tensors as every
from bioplaus.rules import ELIGIBILITIES, SIGNALS, TABLE, Rule
from bioplaus.schedule import Online
from bioplaus.signal import BPTT, DNI, BPLambda, Instant, Observed, Oracle
from bioplaus.signal.instant import FEEDBACKS

PASTS = [make() for make in ELIGIBILITIES.values()] + [Hops(0), Hops(2), SnAp(2), MDGL(types=True)]
FUTURES = [Instant(feedback) for feedback in FEEDBACKS] + [BPTT(), DNI(), BPLambda()]  # type: ignore[arg-type]
HALVES = [*PASTS, *FUTURES]
OUTPUTS, BATCH, STEPS = 3, 2, 6


def name_of(half: Any) -> str:
    return repr(half).replace(", ", ",")


# The pages


@cache
def writer() -> ModuleType:
    file = Path(__file__).parent.parent / "docs" / "rules_table.py"
    spec = importlib.util.spec_from_file_location("rules_table", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_hold_what_the_rules_declare_now():
    for page in writer().PAGES:
        assert writer().filled(page) == page.read_text(), f"{page.name} is out of date: python docs/rules_table.py"


def test_the_pages_follow_the_declarations(monkeypatch):
    monkeypatch.setattr(EProp, "declaration", replace(EProp.declaration, memory="S·K·n·m·7", reference="doi:10.1/x"))
    docs, readme = writer().PAGES
    rows = [line for line in writer().filled(docs).splitlines() if line.startswith("| `eprop` | yes")]
    assert len(rows) == 1 and "S·K·n·m·7" in rows[0] and "[doi:10.1/x](https://doi.org/10.1/x)" in rows[0]
    assert "S·K·n·m·7" in writer().filled(readme)
    monkeypatch.setitem(TABLE, "mine", lambda: Rule(EProp(), Instant("random"), Online(), "mine"))
    assert "| `mine` | past | `EProp`" in writer().filled(docs)


def test_a_page_without_markers_is_refused(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    monkeypatch.setitem(writer().PAGES, page, {"pairs": writer().pairs})
    with pytest.raises(SystemExit, match="lacks the markers"):
        writer().filled(page)


def test_every_pair_is_in_the_table_and_refused_for_the_right_reason():
    """Which stretch of a path each half follows, thought out anew: inside the neuron, and from neuron to neuron."""
    kept = {"state": set(), "output": {"inside"}, "direct": {"inside", "between"}}
    brought = {"state": {"inside", "between"}, "output": {"between"}, "direct": set()}
    head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in writer().pairs().splitlines()]
    columns = {f"instant, {f}": Instant.declaration for f in FEEDBACKS} | {n: c.declaration for n, c in SIGNALS.items()}
    assert set(head) == {"past half", "needs", *columns} - {"instant"} and len(rows) == len(ELIGIBILITIES)
    for name, need, *cells in rows:
        assert ELIGIBILITIES[name.strip("`")].declaration.credit == need
        for column, cell in zip(head[2:], cells, strict=True):
            past, future = kept[need], brought[columns[column].credit]
            if past & future:
                assert cell == "– twice", (name, column, cell)
            elif past | future != {"inside", "between"} and need != "output":
                assert cell == "– missed", (name, column, cell)
            else:  # e-prop may leave out what goes through other neurons
                assert cell.split()[0] in ("exact", "unbiased", "biased"), (name, column, cell)
                assert past | future == {"inside", "between"} or cell.startswith("biased")
    with pytest.raises(RuleError, match="counted twice"):
        Rule(ELIGIBILITIES["eprop"](), Oracle("state"), bp.Window())
    with pytest.raises(RuleError, match="missed"):
        Rule(ELIGIBILITIES["immediate"](), Oracle("output"), bp.Window())


def test_the_concepts_name_every_half():
    text = (Path(__file__).parent.parent / "docs" / "concepts.md").read_text()
    for half in (*ELIGIBILITIES.values(), *SIGNALS.values()):
        assert f"`{half.__name__}`" in text, half.__name__


# The command line


def test_the_list_fits_its_page_and_agrees(capsys):
    assert cli.main(["list", "rules"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 120
    head, rows = lines[0].split(), {line.split()[0]: re.split(r"\s{2,}", line.strip()) for line in lines[1:17]}
    assert list(rows) == list(TABLE)
    for name, cells in rows.items():
        row, rule = dict(zip(head, cells, strict=True)), TABLE[name]()
        assert row["claim"] == rule.claim and row["faces"] == rule.facing
        assert row["random"] == ("yes" if rule.past.random or rule.future.random else "no")
        assert row["closed"] == ("yes" if rule.past.closed and rule.future.closed else "no")
        assert row["local"].startswith("yes") == (rule.past.local and rule.future.local)
        assert (row["local"] == "yes") == (row["local"] != "no" and not (rule.past.transport or rule.future.transport))
    assert rows["kf_rtrl"][1:7] == ["past", "A[zj]·b[m]", "yes", "yes", "unbiased", "yes"]
    assert rows["bp_lambda"][-2:] == ["S·n·θ", "S²·n²·θ"] and rows["uoro"][-2] == "S·n+K·n·m"
    assert {name for name, row in rows.items() if row[7] == "yes"} == {"rflo"}


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_on_a_terminal_of_120_columns_no_row_is_folded():
    ours, theirs = os.openpty()
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    command = [sys.executable, "-m", "bioplaus.cli", "list", "rules"]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += (part := os.read(ours, 65536))
        except OSError:  # how Linux says that the other end was closed
            break
        if not part:
            break
    assert process.wait() == 0, shown.decode()
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())
    lines = [line for line in text.splitlines() if line.strip()]
    assert "─" in text and [line.split()[0] for line in lines[2:18]] == list(TABLE)
    assert max(len(line.rstrip()) for line in lines) <= 120


@pytest.mark.parametrize("name", TABLE)
def test_a_rule_is_shown_with_its_equations_and_declarations(name, capsys):
    assert cli.main(["show", name]) == 0
    said = capsys.readouterr().out
    rule = TABLE[name]()
    for half in (rule.eligibility, rule.signal):
        words = sys.modules[type(half).__module__].__doc__
        assert words and all(line.strip() in said for line in words.splitlines())
        d = half.declaration
        for text in (d.memory, d.time, d.keeps, d.tensor, d.reference, d.exact_when):
            assert text in said, text
        assert re.search(rf"random +{'yes' if d.random else 'no'}\n", said)
    assert all(where in said for where in rule.references.values())
    assert re.search(rf"claim +{rule.claim}\n", said) and re.search(
        rf"exact when +{re.escape(rule.exact_when)}\n", said
    )


def test_some_rules_on_some_models_may_be_checked(capsys):
    assert cli.main(["check", "--quick", "--rules", "eprop, rtrl", "--models", "elman"]) == 0
    rows = [line.split()[:3] for line in capsys.readouterr().out.splitlines()[2:4]]
    assert rows == [["eprop", "elman", "biased"], ["rtrl", "elman", "exact"]]
    for words, near in ((["--rules", "epropp"], "'eprop'"), (["--models", "elmann"], "'elman'")):
        assert cli.main(["check", *words]) == 2
        said = capsys.readouterr()
        assert near in said.err and said.out == ""


# What is declared


def test_whatever_is_not_exact_has_a_regime_in_which_it_is_tested():
    assert set(REGIMES) == {name for name, make in TABLE.items() if make().claim != "exact"}
    assert all((make().exact_when == "always") == (make().claim == "exact") for make in TABLE.values())


def test_regimes_follow_from_the_two_halves():
    assert bp.rule("eprop").exact_when == "no neuron is driven by another or by itself (W_rec = 0)"
    assert bp.rule("tbptt").exact_when == "the window is the whole sequence" and bp.rule("bptt").exact_when == "always"
    several = bp.rule("rflo").exact_when.split("; ")
    assert several == [
        ELIGIBILITIES["rflo"].declaration.exact_when,
        "its feedback weights are the readout's",
        "no neuron is driven by another or by itself (W_rec = 0)",
    ]
    assert Rule(EProp(), Oracle("output"), bp.Window()).exact_when == "always"
    assert Rule(EProp(), Oracle("output"), bp.Window()).facing == "both"


@pytest.mark.parametrize("half", HALVES, ids=name_of)
def test_declarations_are_complete(half):
    d = half.declaration
    assert isinstance(d, Declaration) and d.half == ("past" if half in PASTS else "future")
    assert d.exact_when and d.keeps and d.references
    assert (d.exact_when == "always") == (d.bias == "exact") or isinstance(half, BPTT)
    for reference, where in d.references.items():
        assert re.fullmatch(r"doi:10\.\d{4,}/\S+|arXiv:\d{4}\.\d{5}|https://\S+", reference), reference
        assert where.startswith("https://")
    for text in (d.memory, d.time):
        assert {c for c in order(text) if c.isalpha()} <= set(LETTERS), text
    assert {c for group in re.findall(r"\[(.*?)\]", d.tensor) for c in group} <= set(INDICES)


@pytest.mark.parametrize("name", TABLE)
def test_the_source_that_a_docstring_names_is_declared(name):
    named = re.findall(r"(doi:10\.[^\s,)]+|arXiv[ :]\d{4}\.\d{5})", TABLE[name].__doc__ or "")
    declared = {re.sub(r"\W", "", each) for each in TABLE[name]().references}
    assert named or name == "kernl"
    assert {re.sub(r"\W", "", each) for each in named} <= declared


# Whether it is true: orders, counted


class Work(TorchDispatchMode):
    """Counts multiplications of matrix products, and the numbers that everything else computes."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.rstrip("_")
        if name in ("mm", "bmm", "addmm", "baddbmm", "mv", "dot"):
            a, b = [each for each in args if isinstance(each, Tensor)][-2:]
            self.count += a.numel() * (b.shape[-1] if b.dim() > 1 else 1)
        elif not func.is_view and not re.match("(new_)?(empty|zeros)", name):
            results = out if isinstance(out, tuple | list) else [out]
            self.count += sum(each.numel() for each in results if isinstance(each, Tensor))
        return out


class Walk:
    """A recurrent circuit of one model along a recorded trajectory, one step at a time."""

    def __init__(self, model: str, n: int, inputs: int, steps: int = STEPS) -> None:
        circuit = bp.circuit("recurrent", cell=bp.model(model), inputs=inputs, units=n, outputs=OUTPUTS, input_gain=4.0)
        self.network: Network = circuit.build(dtype=torch.float64)
        generator = torch.Generator().manual_seed(0)
        x = torch.rand(steps, BATCH, inputs, dtype=torch.float64, generator=generator)
        self.error = torch.randn(steps, BATCH, OUTPUTS, dtype=torch.float64, generator=generator)
        with torch.no_grad():
            self.window, _ = roll(self.network, self.network.start(BATCH), x)
        p = self.network.populations[0]
        pre = sum(w.source.width(self.network.weights[w.spec.name]) for w in self.network.learned)
        self.letters: dict[str, Any] = {"n": n, "m": pre, "K": p.channels, "S": len(p.start), "o": OUTPUTS, "T": 1}

    def linears(self) -> Iterator[Tangent]:
        """One step after the other, with what every rule shares computed beforehand."""
        for t, step in enumerate(self.window.steps):
            tangent = Tangent(self.network, Stretch(self.network, [step], self.window.x[t : t + 1]))
            assert tangent.transposes and tangent.varying is not None
            yield tangent

    def true_credit(self, half: Any) -> Any:
        with torch.no_grad():
            whole = Observed(self.network, Tangent(self.network, self.window), self.error, True)
            return Oracle(half.declaration.credit).credit({}, None, whole)[0]

    def past(self, half: Any, seed: int = 1, credit: Any = None) -> tuple[Any, float, dict[str, Tensor]]:
        """State at the end, work of the last step per sample, and all gradients, given true credit or another."""
        with torch.no_grad():
            credit = self.true_credit(half) if credit is None else credit
            own = half.begin(self.network, torch.Generator().manual_seed(0))
            state = half.init(self.network, BATCH, own, torch.Generator().manual_seed(seed))
            total: dict[str, Tensor] = {}
            work = Work()
            for t, tangent in enumerate(self.linears()):
                now = one_step(credit, t)
                with (work := Work()):
                    found, state = half.forward(self.network, state, tangent, now)
                for name, g in found.items():
                    total[name] = total.get(name, torch.zeros(())) + g
            total |= half.learned(state)
        return state, work.count / BATCH, total

    def future(self, half: Any, seed: int = 1, own: Owns | None = None) -> tuple[Any, float, Any]:
        """State before the last step, its work per sample, and what came out of all."""
        with torch.no_grad():
            own = self.own(half) if own is None else own
            state = half.init(self.network, BATCH, torch.Generator().manual_seed(seed))
            out, before, work = [], state, Work()
            for t, tangent in enumerate(self.linears()):
                before, seen = state, Observed(self.network, tangent, self.error[t : t + 1], False)
                with (work := Work()):
                    credit, more, state, _ = half.credit(own, state, seen)
                out += [*tensors(credit), *more.values()]
        return before, work.count / BATCH, out

    def own(self, half: Any) -> Owns:
        return half.begin(self.network, torch.Generator().manual_seed(0), 0)


def value(text: str, letters: dict[str, Any]) -> float:
    """An order in numbers."""
    code = order(text).replace("²", "**2").replace("³", "**3").replace("·", "*")
    return eval(code, {"__builtins__": {}}, letters)


#: models and sizes at which a wrong power shows; neurons and external inputs
SIZES = [(model, n, inputs) for model in ("elman", "adex", "gru") for n, inputs in ((64, 8), (16, 8), (16, 256))]
#: how far the ratio of what is counted to what is declared may vary, over the sizes of one model and over models of one size;
#: a power of n, K or S² too many makes it 4, one of m 3 to 11
SPREAD = 3.0


def of_one_order(counted: list[float], declared: list[float], models: int = 1) -> None:
    ratios = [a / b for a, b in zip(counted, declared, strict=True)]
    assert 0.2 < min(ratios) and max(ratios) < 12, ratios
    sizes = len(ratios) // models
    for alike in (*(ratios[i * sizes : (i + 1) * sizes] for i in range(models)), ratios[::sizes]):
        assert max(alike) / min(alike) < SPREAD, ratios


@pytest.mark.parametrize(
    "half", [half for half in (*PASTS, History(3)) if half not in (Hops(0), History())], ids=name_of
)
def test_memory_and_time_of_past_halves_are_of_the_declared_order(half):
    kept, worked, memory, time = [], [], [], []
    for size in SIZES:
        walk = Walk(*size)
        n = walk.letters["n"]
        numbers = walk.letters | {
            "k": getattr(half, "steps", getattr(half, "hops", 0)),
            "r": n if getattr(half, "order", 1) > 1 else 1,
        }
        state, work, _ = walk.past(half)
        # what is written anew in every step, and the local derivatives of the last one
        skipped = {id(each) for name in ("J", "spare", "before") for each in tensors(getattr(state, name, None))}
        kept.append(sum(each.numel() for each in tensors(state) if id(each) not in skipped) / BATCH)
        worked.append(work)
        memory.append(0 if half.declaration.memory == "–" else value(half.declaration.memory, numbers))
        time.append(value(half.declaration.time, numbers))
    of_one_order(worked, time, models=3)
    if any(memory):
        of_one_order(kept, memory, models=3)
    else:
        assert not any(kept)


def test_a_wrong_order_is_seen():
    """The same counting with a power too many, or a letter too few."""
    state = [Walk(*size) for size in SIZES]
    P = [walk.letters["S"] * walk.letters["K"] * walk.letters["n"] ** 2 * walk.letters["m"] for walk in state]
    of_one_order(P, [value("S·K·n²·m", walk.letters) for walk in state], models=3)
    for wrong in ("S·K·n·m", "S·n²·m", "S·K·n³·m", "S·K·n²", "S·K·n²·m·m", "S³·K·n²·m"):
        with pytest.raises(AssertionError):
            of_one_order(P, [value(wrong, walk.letters) for walk in state], models=3)


@pytest.mark.parametrize("half", FUTURES, ids=name_of)
def test_memory_and_time_of_future_halves_are_of_the_declared_order(half):
    d, kept, worked, memory, time = half.declaration, [], [], [], []
    for n in (16, 64) if isinstance(half, BPLambda) else (64, 256):
        walk = Walk("elman", n, 4, steps=2)
        own = walk.own(half)
        letters = walk.letters | {"θ": sum(each.numel() for each in every(own).values())}
        state, work, _ = walk.future(half, own=own)
        carried = sum(each.numel() for each in tensors(state)) / BATCH
        window = Layout(walk.network).size if d.memory.startswith("T·") else 0
        kept.append(carried + window + letters["θ"] * (not isinstance(half, BPLambda)))
        worked.append(work)
        memory.append(0 if d.memory == "–" else value(d.memory, letters))
        time.append(value(d.time, letters))
    of_one_order(worked, time)
    if any(memory):
        of_one_order(kept, memory)
    else:
        assert not any(kept)


# Whether it is true: chance, form, what is local


def differ(a: Any, b: Any) -> bool:
    return any(not torch.equal(x, y) for x, y in zip(tensors(a), tensors(b), strict=True))


@pytest.mark.parametrize("half", HALVES, ids=name_of)
def test_random_halves_draw_and_the_others_do_not(half):
    walk = Walk("alif", 6, 4)
    found = walk.past if half in PASTS else walk.future
    assert not differ(found(half, seed=1)[2], found(half, seed=1)[2])
    assert differ(found(half, seed=1)[2], found(half, seed=2)[2]) == half.declaration.random


@pytest.mark.parametrize("half", HALVES, ids=name_of)
def test_numerical_halves_learn_something_of_their_own_and_closed_ones_do_not(half):
    walk = Walk("alif", 6, 4)
    generator = torch.Generator().manual_seed(0)
    own = half.begin(walk.network, generator) if half in PASTS else walk.own(half)
    assert bool(learned(own)) == (not half.declaration.closed)


@pytest.mark.parametrize("half", PASTS, ids=name_of)
def test_local_past_halves_need_no_synapse_of_others_but_for_transport(half):
    """Along one trajectory and with the same credit, synapses between neurons are changed in pairs, so that their mean is not."""
    walk = Walk("lif", 6, 4)
    (w,) = walk.network.recurrent
    credit = walk.true_credit(half)
    before = walk.past(half, credit=credit)[2]
    for post, pre, by in ((0, 1, 1.0), (1, 2, -1.0), (3, 5, 2.0), (4, 0, -2.0)):
        walk.network.weights[w.spec.name][post, pre] += by
    after = walk.past(half, credit=credit)[2]
    names = [
        name for name in before if name in walk.network.weights
    ]  # what a kernel learns from its twin is another matter
    moved = any(not torch.allclose(before[name], after[name], rtol=1e-10, atol=1e-12) for name in names)
    assert moved == (not half.declaration.local or half.declaration.transport)


@pytest.mark.parametrize("half", FUTURES, ids=name_of)
def test_credit_without_transport_does_not_know_forward_weights(half):
    walk = Walk("lif", 6, 4)
    own, before = walk.own(half), walk.future(half)[2]
    walk.network.weights["W_out"] += 1.0
    assert differ(before, walk.future(half, own=own)[2]) == half.declaration.transport
    assert half.declaration.local == isinstance(half, Instant)
