"""The frozen record: what eight rules compute on four circuits, number for number, so that a change of form shows any change of value.

    python tests/frozen_record.py              compare and say which rows differ
    python tests/frozen_record.py --write      write tests/frozen_record.json anew (in a commit that says why a row changed)

A row holds the metrics of ten updates and, before them, the gradient of one batch; or the reason why the rule refuses the circuit.
Numbers are kept as hexadecimal floats. On the processor and torch that the file names they must come out bit for bit, elsewhere to
1e-12 of the largest entry of each series: sums may be taken in another order there.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import bioplaus as bp
from bioplaus import Trainer, Training, ms
from bioplaus.errors import RuleError

FILE = Path(__file__).with_suffix(".json")
UPDATES = 10
CLOSE = 1e-12
#: gradients that vanish in no living circuit under any of the rules
RECURRENT = ("gradient W_out", "gradient W_rec", "gradient W_EE", "gradient W_EI")

Numbers = dict[str, list[float]]


def lstm() -> tuple[Any, Any]:
    task = bp.task("target_reaching", steps=12)
    return bp.circuit("recurrent", cell=bp.model("lstm"), inputs=task.inputs, units=4, outputs=task.outputs), task


def spiking_task() -> Any:
    return bp.task("pattern_generation", steps=50, inputs=10, outputs=2)


def adapting_leaky() -> tuple[Any, Any]:
    task = spiking_task()
    cell = bp.model("alif", beta=0.3, tau_a=50 * ms)
    common: dict[str, Any] = {"inputs": task.inputs, "units": 6, "outputs": task.outputs, "tau_out": 20 * ms}
    return bp.circuit("recurrent", cell=cell, input_gain=20.0, **common), task


def dale_sparse() -> tuple[Any, Any]:
    task = spiking_task()
    common: dict[str, Any] = {"inputs": task.inputs, "units": 10, "outputs": task.outputs, "tau_out": 20 * ms}
    cell = bp.model("lif")
    return bp.circuit("excitatory_inhibitory", cell=cell, fan_in=0.5, gain=1.5, input_gain=24.0, **common), task


def two_types_delayed() -> tuple[Any, Any]:
    task = spiking_task()
    cells = (bp.model("lif"), bp.model("alif", beta=0.3, tau_a=50 * ms))
    common: dict[str, Any] = {"inputs": task.inputs, "units": (5, 5), "outputs": task.outputs}
    return bp.circuit("recurrent", cell=cells, input_gain=20.0, delay=3, tau_out=None, **common), task


CIRCUITS: dict[str, Callable[[], tuple[Any, Any]]] = {
    each.__name__: each for each in (lstm, adapting_leaky, dale_sparse, two_types_delayed)
}
RULES: dict[str, dict[str, Any]] = {
    "bptt": {},
    "tbptt": {"steps": 5},
    "eprop": {},
    "rflo": {},
    "rtrl": {},
    "uoro": {},
    "dni": {"steps": 3},
    "bp_lambda": {"lmbda": 0.7, "discount": 0.95},
}
ROWS = [(circuit, rule) for circuit in CIRCUITS for rule in RULES]


def row(circuit: str, rule: str) -> Numbers | str:
    """What a rule computes on a circuit, or why it will not."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a sum split over another number of threads rounds differently
    try:
        return _row(*CIRCUITS[circuit](), bp.rule(rule, **RULES[rule]))
    except RuleError as refusal:
        return str(refusal).partition(" Rules that serve")[0]  # those grow with every new rule
    finally:
        torch.set_num_threads(threads)


def _row(circuit: Any, task: Any, rule: Any) -> Numbers:
    training = Training(updates=UPDATES, batch=3, lr=3e-3, dtype="float64", align_every=4)
    batch = task.batch(bp.stream(5, "record"), 3)
    out = {f"gradient {n}": g.flatten().tolist() for n, g in bp.gradient(circuit, rule, batch, seed=7).items()}
    trainer = Trainer(circuit, task, rule, training, seed=7)
    rows = [trainer.update() for _ in range(UPDATES)]
    rows.append(trainer.evaluate())
    for name in dict.fromkeys(name for each in rows for name in each if name != "seconds"):
        out[name] = [float(each[name]) for each in rows if name in each]
    assert min(out["rate"]) != 0, "the record wants living circuits"
    assert all(any(out[name]) for name in out if name.startswith(RECURRENT)), "and living gradients"
    return out


def fingerprint() -> dict[str, str]:
    """What decides in which order sums are taken."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    return {"cpu": cpu, "kernels": torch.backends.cpu.get_cpu_capability(), "torch": torch.__version__}


def differences(found: Numbers | str, frozen: Any, bitwise: bool) -> list[str]:
    """Which series of a row differ, and by how much."""
    if isinstance(found, str) or isinstance(frozen, str):
        return [] if found == frozen else [f"{found!r} where the record has {frozen!r}"]
    if found.keys() != frozen.keys():
        return [f"has {sorted(found)}, the record {sorted(frozen)}"]
    said = []
    for name, values in found.items():
        kept = [float.fromhex(x) for x in frozen[name]]
        if len(kept) != len(values):
            said.append(f"{name} has {len(values)} numbers, the record {len(kept)}")
            continue
        if [x.hex() for x in values] == frozen[name]:
            continue
        scale = max(map(abs, kept), default=0.0) or 1.0
        off = max(abs(a - b) for a, b in zip(values, kept, strict=True)) / scale
        if bitwise or not off <= CLOSE:
            said.append(f"{name} is off by {off:.1e} of its largest entry")
    return said


def frozen() -> dict[str, Any]:
    return json.loads(FILE.read_text())


def write() -> None:
    rows = {}
    for circuit, rule in ROWS:
        found = row(circuit, rule)
        plain = found if isinstance(found, str) else {name: [x.hex() for x in values] for name, values in found.items()}
        rows[f"{circuit} {rule}"] = plain
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(each, ensure_ascii=False)}" for name, each in rows.items())
    FILE.write_text(f'{{"fingerprint": {json.dumps(fingerprint())},\n"rows": {{\n{lines}\n}}}}\n')


def main() -> int:
    if "--write" in sys.argv[1:]:
        write()
        return 0
    kept = frozen()
    bitwise = fingerprint() == kept["fingerprint"]
    print("compared bit for bit" if bitwise else f"another machine than {kept['fingerprint']}: compared to {CLOSE:g}")
    said = {key: differences(row(*key), kept["rows"][" ".join(key)], bitwise) for key in ROWS}
    for key, lines in said.items():
        for line in lines:
            print(" ".join(key), line)
    print(f"{sum(not lines for lines in said.values())} of {len(said)} rows as recorded")
    return int(any(said.values()))


if __name__ == "__main__":
    sys.exit(main())
