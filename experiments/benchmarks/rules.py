"""Cost of a step of every online rule, beside the times published for a reference implementation.

    python experiments/benchmarks/rules.py [--repeats 7] [--out FILE.csv]

A circuit of N tanh units (leaky, 2 inputs, 2 outputs), float32, one thread. A step that learns nothing (simulation, loss, readout)
and a step with the rule are timed in turn (A B A B …); the rule's own time is the difference, pair by pair, and its median is
reported, with the whole step beside it. ``moving`` is the whole
step with a weight update by plain gradient descent at every step, simulation, error and optimiser included.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pandas
import torch

import bioplaus as bp
from bioplaus.circuit.credit import silent
from bioplaus.schedule import sequence
from bioplaus.tasks import Batch, squared
from bioplaus.train import Trainer, Training, own_tensors

#: ms per step of the learning rule, N = 32 and 100 (Marschall, Cho & Savin 2020, JMLR)
PUBLISHED = {
    "rtrl": (0.17, 7.9), "uoro": (0.07, 0.15), "kf_rtrl": (0.09, 0.20), "rflo": (0.026, 0.042), "dni": (0.056, 0.13),
}  # fmt: skip

RULES: dict[str, dict[str, Any]] = {
    "rtrl": {}, "sliding_bptt": {"schedule": "online"}, "snap": {}, "uoro": {}, "kf_rtrl": {}, "r_kf_rtrl": {}, "kernl": {},
    "eprop": {"schedule": "online"}, "rflo": {"schedule": "online"}, "mdgl": {"schedule": "online"}, "dni": {}, "bp_lambda": {"schedule": "online"},
}  # fmt: skip
#: largest circuit on which rules whose cost grows with the fourth power of N are timed; they are not timed at batch 32
LARGEST = {"rtrl": 100, "bp_lambda": 32}


class Stream(bp.Task):
    """Random inputs and targets, the same at every call: what is timed is learning."""

    inputs, outputs, loss, name = 2, 2, squared, "stream"

    def __init__(self, steps: int, batch: int) -> None:
        g = torch.Generator().manual_seed(0)
        self.steps = steps
        self.given = Batch(
            torch.rand(steps, batch, 2, generator=g), torch.rand(steps, batch, 2, generator=g), torch.ones(steps, batch)
        )

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> Batch:
        return self.given


class Nothing:
    """Both halves of a rule that learns nothing, under another rule's schedule: simulation, loss, error, the readout's gradient."""

    takes_stretches, owns = False, ()

    def __init__(self, rule: bp.Rule) -> None:
        self.eligibility = self.signal = self
        self.schedule, self.reads_state = rule.schedule, rule.signal.reads_state
        self.pointwise = getattr(rule.signal, "pointwise", False)

    def init(self, network: Any, *given: Any) -> None:
        self.none = silent(network)

    def credit(self, theta: Any, state: Any, observed: Any) -> tuple[Any, dict[str, Any], None, dict[str, Any]]:
        return self.none, {}, None, {}

    def forward(self, network: Any, state: Any, *given: Any) -> tuple[dict[str, Any], None]:
        return {}, None

    window = forward


def circuit(units: int) -> bp.Circuit:
    return bp.circuit("recurrent", cell=bp.model("leaky_rate"), inputs=2, units=units, outputs=2)


def cost(name: str, units: int, batch: int, repeats: int, device: str) -> tuple[float, float]:
    """ms per step that the rule adds, and of the whole step, weights held."""
    network = circuit(units).build(0, device=device)
    rule = bp.rule(name, **RULES[name])
    steps = max(32, 320 // batch)
    data = Stream(steps, batch).given.to(device)
    own = own_tensors(rule, network, data, 0)

    nothing = Nothing(rule)

    def alone() -> Any:
        return sequence(network, nothing, own, data, squared)

    def learning() -> Any:
        return sequence(network, rule, own, data, squared)

    learning()
    pairs = [(clock(alone, device), clock(learning, device)) for _ in range(repeats)]
    return 1e3 * median(b - a for a, b in pairs) / steps, 1e3 * median(b for _, b in pairs) / steps


def moving(name: str, units: int, repeats: int, device: str) -> float:
    """ms of a whole step with an update of the weights at every step, batch 1."""
    steps = 200
    training = Training(batch=1, lr=1e-4, optimiser="sgd", apply="window", device=device)
    trainer = Trainer(circuit(units), Stream(steps, 1), bp.rule(name, **RULES[name]), training)
    trainer.update()
    return 1e3 * median(clock(trainer.update, device) for _ in range(repeats)) / steps


def clock(f: Callable[[], Any], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    f()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def measure(repeats: int, device: str) -> pandas.DataFrame:
    rows = []
    for name in RULES:
        row: dict[str, Any] = {"rule": name}
        for units in (32, 64, 100):
            timed = units <= LARGEST.get(name, units)
            row[f"N {units}"], row[f"N {units}, whole step"] = (
                cost(name, units, 1, repeats, device) if timed else (None, None)
            )
        many = name not in LARGEST
        row["N 100, batch 32, per sample"] = cost(name, 100, 32, repeats, device)[0] / 32 if many else None
        row["N 32, moving"] = moving(name, 32, repeats, device)
        small, large = PUBLISHED.get(name, (None, None))
        rows.append(row | {"published N 32": small, "published N 100": large})
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in rows[-1].items()}, flush=True)
    return pandas.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--out", type=Path, default=None, help="also write the table to this CSV file, and as Markdown beside it"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    table = measure(given.repeats, given.device)
    if given.out is not None:
        table.round(4).to_csv(given.out, index=False)
        shown = [
            ["–" if pandas.isna(v) else f"{v:.3g}" if isinstance(v, float) else v for v in row]
            for row in table.to_numpy()
        ]
        lines = [list(table.columns), ["---"] * len(table.columns), *shown]
        about = f"ms per step; torch {torch.__version__}, {platform.processor() or platform.machine()}, one thread, float32, median of {given.repeats}"
        given.out.with_suffix(".md").write_text(
            "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + f"\n\n{about}\n"
        )
        print(f"written to {given.out} and {given.out.with_suffix('.md')}", file=sys.stderr)


if __name__ == "__main__":
    main()
