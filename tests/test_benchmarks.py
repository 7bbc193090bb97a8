"""What the benchmarks measure: the sizes that are handed on, the units of what comes back, the bounds beside it."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from test_reported_tables import benchmark, columns_of


def test_every_column_of_the_benchmark_of_rules_is_of_its_size(monkeypatch):
    """What each column asks for comes back as a number that tells rule, units, batch and repeats."""
    module = benchmark("rules")
    rules = list(module.RULES)

    def code(name: str, units: int, batch: int, repeats: int) -> float:
        return 1e6 * rules.index(name) + 1e3 * units + batch + 0.01 * repeats

    monkeypatch.setattr(module, "cost", lambda name, units, batch, repeats, device: (code(name, units, batch, repeats), -code(name, units, batch, repeats)))  # fmt: skip
    monkeypatch.setattr(module, "moving", lambda name, units, repeats, device: code(name, units, 1, repeats) + 0.5)
    found: Any = module.measure(3, "cpu")
    assert list(found.columns) == columns_of("rules") and list(found["rule"]) == rules
    for row in found.to_dict("records"):
        name = row["rule"]
        for units in (32, 64, 100):
            if units <= module.LARGEST.get(name, units):
                assert row[f"N {units}"] == code(name, units, 1, 3) == -row[f"N {units}, whole step"]
            else:
                assert pd.isna(row[f"N {units}"]) and pd.isna(row[f"N {units}, whole step"])
        many = row["N 100, batch 32, per sample"]
        assert pd.isna(many) if name in module.LARGEST else many == code(name, 100, 32, 3) / 32
        assert row["N 32, moving"] == code(name, 32, 1, 3) + 0.5


@pytest.mark.parametrize(("units", "batch", "steps"), ((32, 1, 320), (7, 32, 32)))
def test_what_is_clocked_of_rules_is_of_that_size(units, batch, steps, monkeypatch):
    module, seen = benchmark("rules"), []
    monkeypatch.setattr(module, "sequence", lambda network, rule, own, data, loss: seen.append((network.populations[0].size, data.size, data.steps)))  # fmt: skip
    seconds = iter([2.0, 5.0, 2.0, 6.0, 2.0, 9.0])

    def clock(f: Any, device: str) -> float:
        f()
        return next(seconds)

    monkeypatch.setattr(module, "clock", clock)
    assert module.cost("eprop", units, batch, 3, "cpu") == pytest.approx((4e3 / steps, 6e3 / steps))
    assert seen == [(units, batch, steps)] * 7


def test_what_is_clocked_of_moving_weights(monkeypatch):
    module, made = benchmark("rules"), []

    class Trainer:
        def __init__(self, circuit: Any, task: Any, rule: Any, training: Any) -> None:
            (population,) = circuit.populations.values()
            made.append((population.size, task.steps, training.batch, training.apply))

        def update(self) -> None:
            pass

    monkeypatch.setattr(module, "Trainer", Trainer)
    seconds = iter([1.0, 4.0, 2.0])
    monkeypatch.setattr(module, "clock", lambda f, device: next(seconds))
    assert module.moving("eprop", 32, 3, "cpu") == pytest.approx(2e3 / 200)
    assert made == [(32, 200, 1, "window")]


class Context:
    """Processes that put what they are said to, without running."""

    def __init__(self, put: Any) -> None:
        self.put, self.started = put, []

    def Queue(self) -> Any:
        return SimpleNamespace(get=lambda timeout: self.put(self.started[-1]))

    def Process(self, target: Any, args: tuple[Any, ...]) -> Any:
        return SimpleNamespace(start=lambda: self.started.append((target.__name__, *args[:-1])), join=lambda: None)


def test_exact_at_scale_and_memory_are_in_their_units(monkeypatch):
    module = benchmark("speed")
    context = Context(lambda started: (1.25, 300.54) if started[0] == "large" else started[3] / 8 + 0.04)
    monkeypatch.setattr(module.multiprocessing, "get_context", lambda kind: context)
    large = module.exact_at_scale()
    assert (large["ours_ms"], large["MiB"]) == (1250.0, 300.5)
    assert "1000 rate units, T 100, batch 32" in large["what"]
    rows = module.memory((("eprop", "torch"), ("eprop", "numba")), (500, 5000))
    assert [row["MiB"] for row in rows] == [62.5, 625.0] * 2
    given = [("peak", "eprop", backend, T) for backend in ("torch", "numba") for T in (500, 5000)]
    assert context.started == [("large",), *given]
    told = [f"peak memory, eprop online{how}, ALIF, batch 4, T {T}" for how in ("", ", fused") for T in (500, 5000)]
    assert [row["what"] for row in rows] == told


def test_what_is_measured_at_scale(monkeypatch):
    module, made, put = benchmark("speed"), [], []

    class Trainer:
        def __init__(self, circuit: Any, task: Any, rule: Any, training: Any) -> None:
            made.append((circuit.populations["cortex"].size, task.steps, training.batch, rule.signal.lmbda))

        def update(self) -> None:
            pass

    monkeypatch.setattr(module, "Trainer", Trainer)
    monkeypatch.setattr(module, "_status", {"VmRSS": 2048, "VmHWM": 7168}.__getitem__)
    now = iter([0.0, 3.0, 10.0, 14.0, 20.0, 29.0, 30.0, 35.0, 40.0, 41.0])  # 3, 4, 9, 5, 1 s
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(now))
    module.large(SimpleNamespace(put=put.append))
    monkeypatch.undo()
    assert made == [(1000, 100, 32, 1.0)] and put == [(4.0, 5.0)]


def test_bounds_and_sizes_of_the_benchmark_of_speed(monkeypatch, tmp_path):
    """The whole script, with nothing to time: each row's text against the sizes that its measurement was given."""
    module, asked = benchmark("speed"), []
    monkeypatch.setattr(module, "rows", lambda device: (("rows",), None))
    monkeypatch.setattr(module, "lstm", lambda device, task, *sizes: (("lstm", task.steps, *sizes), None))
    monkeypatch.setattr(module, "alif", lambda device, *how: (("alif", *how), None))
    monkeypatch.setattr(module, "rtrl", lambda *sizes: (("rtrl", *sizes), None))
    monkeypatch.setattr(module, "forward", lambda *sizes: (("forward", *sizes), None))

    def paired(ours: Any, theirs: Any, repeats: int, device: str, inner: int) -> dict[str, float]:
        asked.append((ours, repeats, inner))
        return {"ours_ms": 1.23456, "bptt_ms": 2.0, "ratio": 3.0, "lowest": 4.0, "highest": 5.0}

    monkeypatch.setattr(module, "paired", paired)
    monkeypatch.setattr(module, "exact_at_scale", lambda: {"what": "large", "ours_ms": 6.0, "MiB": 7.0})
    monkeypatch.setattr(module, "memory", lambda: [{"what": "peak", "MiB": 8.0}])
    for beside in ("in_c", "in_others"):
        monkeypatch.setattr(module, beside, lambda repeats: [])
    monkeypatch.setattr(module.torch, "manual_seed", lambda seed: None)
    monkeypatch.setattr(sys, "argv", ["speed.py", "--repeats", "9", "--out", str(tmp_path / "speed.csv")])
    module.main()
    found: Any = pd.read_csv(tmp_path / "speed.csv")
    assert list(found.columns) == columns_of("speed")
    bounds = [3.5, 5.0, 0.6, 1.8, 0.12, 0.3, 0.6, 0.8, 1.3, 1.3, 0.03, 0.2, 0.2]
    n = len(bounds)
    assert found["bound"].tolist()[:n] == bounds and found["bound"].isna().tolist()[n:] == [True, True]
    for column, value in {"ours_ms": 1.235, "bptt_ms": 2.0, "ratio": 3.0, "lowest": 4.0, "highest": 5.0}.items():
        assert found[column].tolist()[:n] == [value] * n
    assert found["MiB"].tolist()[n:] == [7.0, 8.0] and found["ours_ms"].tolist()[n] == 6.0
    assert [repeats for _, repeats, _ in asked] == [9] * n
    assert [ours for ours, _, _ in asked] == [
        ("rows",), ("lstm", 33, 100, 100), ("alif", "window"), ("alif", "online"),
        *(("alif", how, "numba") for how in ("window", "online", "moving", "bptt")),
        ("rtrl", 1, 320), ("rtrl", 32, 32),
        ("forward", 100, 1, 2000), ("forward", 100, 32, 2000), ("forward", 1000, 32, 500),
    ]  # fmt: skip
    assert "batch 100, N 100, T 33" in found["what"][1]


def test_rows_in_c_are_of_the_sizes_that_they_say(monkeypatch, capsys):
    """Loops are C while they are made and clocked, and numba's again behind; without a compiler there are no rows, and it is said."""
    module, seen = benchmark("speed"), []
    c_text = module.sibling("c_text")
    real = c_text.compiled.function
    monkeypatch.setattr(module, "sibling", lambda name: c_text)
    monkeypatch.setattr(module, "same_in_c", lambda given: seen.append("the same"))

    def made(*how: Any) -> tuple[Any, Any]:
        assert c_text.compiled.function is not real
        return (how, None)

    def paired(ours: Any, theirs: Any, repeats: int, device: str) -> dict[str, float]:
        assert c_text.compiled.function is not real and device == "cpu"
        seen.append((ours, repeats))
        return {"ratio": 0.12345}

    for name in ("forward", "alif"):
        monkeypatch.setattr(module, name, made)
    monkeypatch.setattr(module, "paired", paired)
    monkeypatch.setattr(c_text, "compiler", lambda: "cc")
    rows = list(module.in_c(9))
    assert c_text.compiled.function is real
    assert seen == ["the same", ((100, 32, 2000), 9), (("cpu", "window", "numba"), 9)]
    assert [row["ratio"] for row in rows] == [0.123, 0.123] and "N 100, batch 32, T 2000" in rows[0]["what"]
    monkeypatch.setattr(c_text, "compiler", lambda: None)
    assert list(module.in_c(9)) == [] and len(seen) == 3
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2 and all("in C / " in line and line.endswith(": no compiler") for line in said)


def test_rows_of_other_packages_are_of_what_is_installed(monkeypatch):
    """Each against the loop in torch; one that never fires is no simulation."""
    module, fires = benchmark("speed"), [0.1]

    def other(x: torch.Tensor, units: int) -> Any:
        assert x.shape == (2000, 32, 40) and units == 100
        return lambda: torch.tensor(fires[0] * 100 * 32 * 2000)

    monkeypatch.setattr(module, "sibling", lambda name: SimpleNamespace(installed=lambda: {"other 1.0": other}))
    monkeypatch.setattr(module, "forward", lambda *sizes: (None, sizes))
    monkeypatch.setattr(
        module,
        "paired",
        lambda ours, theirs, repeats, device: {"ratio": float(repeats), "of": theirs == (100, 32, 2000)},
    )
    (row,) = module.in_others(9)
    assert row == {
        "what": "simulation, other 1.0 / a loop in torch; LIF, N 100, batch 32, T 2000",
        "ratio": 9.0,
        "of": True,
    }
    fires[0] = 0.0
    with pytest.raises(AssertionError, match="spikes a step"):
        list(module.in_others(9))
    monkeypatch.undo()
    others = module.sibling("others")
    monkeypatch.setattr(others, "find_spec", lambda name: None)
    assert others.installed() == {}


def test_what_a_start_costs_is_told_by_checkout_in_units_of_torch(monkeypatch, tmp_path):
    """The first round is left out; least, median, and the median of the ratios to what torch took in the same round."""
    module = benchmark("startup")
    checkouts = {"this": tmp_path / "a", "against": tmp_path / "b"}
    asked: list[Any] = []

    def cpu(words: Any, checkout: Any, compiled: str) -> float:
        turn, what = len(asked) // (2 * len(module.ROWS)), list(module.ROWS.values()).index(words)
        asked.append((what, checkout.name))
        if turn == 0:
            return 1000.0
        torch = {1: 2.0, 2: 4.0, 3: 3.0}[turn]
        return torch if what == 0 else torch * what * (1 + (checkout.name == "b"))

    monkeypatch.setattr(module, "cpu", cpu)
    found = module.measure(3, checkouts)
    assert asked == [(what, name) for what in range(len(module.ROWS)) for name in "ab"] * 4
    assert list(found["what"]) == [what for what in module.ROWS for _ in checkouts]
    for i, row in enumerate(found.to_dict("records")):
        times = 1 if i < 2 else (i // 2) * (1 + i % 2)
        assert (row["least_s"], row["median_s"], row["in_torch"]) == (2.0 * times, 3.0 * times, times)


def test_what_is_counted_of_a_start_is_of_the_process_and_of_those_it_waits_for(tmp_path):
    """Work of a child is the parent's; one that fails is no measurement."""
    module = benchmark("startup")
    busy = "import time\nwhile time.process_time() < 0.5: pass"
    here = (tmp_path, str(tmp_path / "compiled"))
    alone = module.cpu(("-c", busy), *here)
    both = module.cpu(
        ("-c", f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {busy!r}], check=True)"), *here
    )
    assert 0.5 <= alone and 0.5 <= both and module.cpu(("-c", "pass"), *here) < 0.5
    with pytest.raises(RuntimeError, match="ended with 3"):
        module.cpu(("-c", "raise SystemExit(3)"), *here)


def test_exponents_are_those_of_powers():
    """A series that grows as the power 1.5, told as that over all of it and between its last two rows; a constant as 0."""
    module = benchmark("scaling")
    rows = [{"series": "synapses, simulation", "synapses": n, "ms per step": 3.0 * n**1.5, "MiB": 7.0} for n in (10, 100, 1000)]  # fmt: skip
    rows += [{"series": "batch, simulation", "batch": b, "ms per step": 2.0 * b, "MiB": 5.0 * b * b} for b in (1, 4)]
    rows[2]["ms per step"] *= 10.0
    found = module.exponents(pd.DataFrame(rows)).to_dict("records")
    assert [(row["against"], row["from"], row["to"]) for row in found] == [("synapses", 10, 1000), ("batch", 1, 4)]
    assert found[0]["ms per step, last two"] == pytest.approx(2.5) and found[0]["exponent of ms per step"] == pytest.approx(2.0)  # fmt: skip
    assert found[0]["exponent of MiB"] == pytest.approx(0, abs=1e-12) and found[1]["exponent of MiB"] == pytest.approx(
        2
    )


def test_rows_of_scaling_are_of_the_sizes_that_they_say(monkeypatch):
    """The least of several rounds, size by size; and the largest is left out where a smaller one is asked for."""
    module, asked = benchmark("scaling"), []

    def apart(size: Any) -> dict[str, float]:
        asked.append(size)
        first = asked.index(size) == len(asked) - 1
        return {"build s": 1.0, "ms per step": 5.0 if first else 4.0, "MiB": float(size[1]), "rate (1/step)": 0.05}

    monkeypatch.setattr(module, "apart", apart)
    found: Any = module.measure(10_000, 2)
    assert (found["ms per step"] == 4.0).all() and (found["MiB"] == found["neurons"]).all()
    sizes = [size for each in module.series(10_000).values() for size in each]
    assert sorted(asked) == sorted(2 * sizes) and len(found) == len(sizes) and found["neurons"].max() == 10_000
    whole = module.series(100_000)
    assert max(n * k for _, n, k, _, _ in whole["synapses, simulation"]) == 10**7
    assert set(whole) == set(found["series"])


@pytest.mark.slow
@pytest.mark.parametrize("what", ("forward", "eprop"))
def test_what_is_clocked_of_scaling_is_alive_and_of_its_size(what):
    module, put = benchmark("scaling"), []
    circuit = module.circuit(200, 10)
    assert circuit.populations["cortex"].size == 200
    assert circuit.build(0).weights["W_rec"].shape == (2000,)
    module.measured((what, 200, 10, 40, 2), SimpleNamespace(put=put.append))
    (row,) = put
    assert row["ms per step"] > 0 and 0.005 < row["rate (1/step)"] < 0.2


def test_what_stands_against_a_dense_loop_is_the_same_circuit():
    ours, theirs = benchmark("scaling").against_dense(300, 10, 200)
    assert ours() == theirs() > 0.005 * 300 * 200


def test_rows_of_brian_are_of_the_ways_that_there_are(monkeypatch):
    module = benchmark("brian")
    asked = []

    def apart(way: str, units: int, learns: bool, repeats: int) -> dict[str, float]:
        asked.append((way, units, learns, repeats))
        return {"cold_s": 2.0, "warm_s": 1.0, "rate_hz": 5.0}

    monkeypatch.setattr(module, "apart", apart)
    found = module.table([7, 9], 3)
    assert asked == [(w, n, False, 3) for n in (7, 9) for w in ("torch", "numba", "numpy", "cython", "standalone")] + [
        (w, n, True, 3) for n in (7, 9) for w in ("torch", "numba", "numpy")
    ]
    assert found["by"].tolist()[:5] == ["torch", "numba", "Brian2, numpy", "Brian2, cython", "Brian2, standalone"]
    assert found["units"].tolist() == [n for _, n, _, _ in asked]


@pytest.mark.parametrize("learns", [False, True])
def test_what_is_clocked_of_brian_is_the_same_trial_by_every_way(learns, monkeypatch):
    """As many spikes, or as large a loss, by torch and by Brian2; and what is clocked is what was taken."""
    module = benchmark("brian")
    monkeypatch.setattr(module, "STEPS", 120)
    ways = ("torch", "numpy")
    first = [module.trial(way, 8, learns)() for way in ways]
    if learns:
        assert first[0]["rate"] == first[1]["rate"] > 0 and first[0]["loss"] == pytest.approx(
            first[1]["loss"], rel=1e-12
        )
    else:
        assert first[0] == first[1] > 0
    ticks = iter([0.0, 5.0, 10.0, 11.0, 20.0, 23.0, 30.0, 32.0])
    monkeypatch.setattr(module, "clock", lambda: next(ticks))
    row = module.measured("torch", 8, learns, repeats=3)
    assert row["cold_s"] == 5.0 and row["warm_s"] == 2.0 and row["rate_hz"] > 1
