"""Cost of one update against plain torch autograd BPTT of the same circuit, written by hand; ratios measured in one run.

    python experiments/benchmarks/speed.py [--repeats 7] [--out FILE.csv]

Every pair is timed in turn (A B A B …) on one thread and the ratio taken pair by pair, so that a machine whose speed
drifts does not matter; the median ratio is reported with the spread. Memory is the peak of tensors alive, from torch's
allocator on a GPU, and from the process's high-water mark in a fresh process on a CPU.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from statistics import median
from typing import Any

import pandas
import torch
from torch import Tensor

import bioplaus as bp
from bioplaus import ms
from bioplaus.circuit.trajectory import pieces, roll
from bioplaus.learning.sequence import sequence
from bioplaus.learning.trainer import Trainer
from bioplaus.learning.training import Training
from bioplaus.tasks import Batch, cross_entropy, squared
from bioplaus.tasks.copy_repeat import CopyRepeat


class Given(bp.Task):
    """A task that hands out one fixed batch: what is timed is learning, not making data."""

    def __init__(self, batch: Batch, outputs: int, loss: Any, dt: float | None = None) -> None:
        self.given, self.outputs, self.loss, self.dt = batch, outputs, loss, dt
        self.inputs, self.steps, self.name = batch.inputs.shape[2], batch.inputs.shape[0], "given"

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> Batch:
        return self.given


def lstm(device: str, task: bp.Task, batch: int, units: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """BP(λ) with Adam on an LSTM, and torch.nn.LSTM with BPTT and Adam on the same batch."""
    data = task.batch(torch.Generator().manual_seed(0), batch)
    given = Given(data, task.outputs, task.loss)
    circuit = bp.circuit(
        "cortico_cerebellar", cell=bp.model("lstm"), inputs=task.inputs, units=units, outputs=task.outputs
    )
    trainer = Trainer(circuit, given, bp.rule("bp_lambda", lmbda=1.0), Training(batch=batch, device=device))

    net = torch.nn.LSTM(task.inputs, units).to(device)
    readout = torch.nn.Linear(units, task.outputs).to(device)
    optimiser = torch.optim.Adam([*net.parameters(), *readout.parameters()], lr=1e-3, fused=True)
    asked = data.weight.any(1)
    x, target, weight = (a.to(device) for a in (data.inputs, data.targets[asked], data.weight[asked]))
    asked = asked.to(device)

    def plain() -> None:
        optimiser.zero_grad()
        ((task.loss.value(readout(net(x)[0][asked]), target) * weight).sum() / batch).backward()
        optimiser.step()

    return trainer.update, plain


def rows(device: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The shape of row-wise MNIST: 28 rows of 28 pixels, the class asked for after the last."""
    x, label = torch.rand(28, 50, 28), torch.randint(10, (50,))
    weight = torch.zeros(28, 50)
    weight[-1] = 1.0
    return lstm(device, Given(Batch(x, label.expand(28, 50).contiguous(), weight), 10, cross_entropy), 50, 30)


def large(queue: Any) -> None:
    """In a fresh process: seconds of an update of exact BP(1) with N = 1000 rate units, T = 100, batch 32, and its MiB."""
    torch.set_num_threads(1)
    task = bp.task("target_reaching", steps=100, targets=6)
    circuit = bp.circuit(
        "cortico_cerebellar", cell=bp.model("elman"), inputs=task.inputs, units=1000, outputs=task.outputs
    )
    before = _status("VmRSS")
    trainer = Trainer(circuit, task, bp.rule("bp_lambda", lmbda=1.0), Training(batch=32))
    trainer.update()
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        trainer.update()
        seconds.append(time.perf_counter() - began)
    queue.put((median(seconds), (_status("VmHWM") - before) / 1024))


class PlainALIF(torch.nn.Module):
    """The ALIF circuit of the e-prop papers written by hand for autograd: what one would write without bioplaus."""

    def __init__(self, network: Any, decay: float, decay_a: float, kappa: float, refractory: int) -> None:
        super().__init__()
        self.W = torch.nn.ParameterDict({n: torch.nn.Parameter(w.clone()) for n, w in network.weights.items()})
        self.decay, self.decay_a, self.kappa, self.refractory = decay, decay_a, kappa, refractory

    def forward(self, x: Tensor) -> Tensor:
        B, n = x.shape[1], self.W["W_rec"].shape[0]
        v = a = z = seen = wait = x.new_zeros(B, n)
        drive = (x @ self.W["W_in"].T).unbind(0)  # not drive[t], whose backward fills the whole array at every step
        seens = []
        for t in range(len(x)):
            v = self.decay * v + (1 - self.decay) * (drive[t] + z @ self.W["W_rec"].T)
            a = self.decay_a * a
            wait = (wait - 1).clamp_min(0)
            z = Spike.apply((v - 0.6 - 0.0174 * a) / 0.6) * (wait == 0)  # type: ignore[no-untyped-call]
            wait = wait + self.refractory * z.detach()
            v = v - 0.6 * z.detach()
            a = a + z
            seen = self.kappa * seen + (1 - self.kappa) * z
            seens.append(seen)
        return torch.stack(seens) @ self.W["W_out"].T + self.W["b_out"]


class Spike(torch.autograd.Function):
    """Heaviside with a triangular surrogate derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] * 0.3 * torch.relu(1 - x.abs())


def alif(
    device: str,
    learns: str,
    backend: str = "torch",
    batch: int = 32,
    units: int = 100,
    inputs: int = 40,
    steps: int = 2000,
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The gradient of a rule on an ALIF circuit, and autograd BPTT through the same circuit.

    ``learns`` is e-prop's schedule, ``"moving"`` for online with weights that may move at every step, or ``"bptt"``.
    """
    circuit = bp.circuit(
        "recurrent",
        cell=bp.model("alif", tau_a=2000 * ms),
        inputs=inputs,
        units=units,
        outputs=2,
        tau_out=20 * ms,
        input_gain=10.0,
    )
    network = circuit.build(0, device=device)
    x = (torch.rand(steps, batch, inputs, generator=torch.Generator().manual_seed(0)) < 0.03).float().to(device)
    data = Batch(x, torch.zeros(steps, batch, 2, device=device), torch.full((steps, batch), 1 / steps, device=device))
    schedule = {"moving": "online", "bptt": "window"}.get(learns, learns)
    rule = bp.rule("bptt") if learns == "bptt" else bp.rule("eprop", feedback="random", schedule=schedule)
    apply = (lambda gradients, own: None) if learns == "moving" else None
    own = rule.begin(network, data, 0)
    import math

    plain = PlainALIF(network, math.exp(-1 / 20), math.exp(-1 / 2000), network.kappa, 5).to(device)

    def ours() -> Any:
        return sequence(network, rule, own, data, squared, apply=apply, backend=backend)

    def theirs() -> Tensor:
        plain.zero_grad()
        value = 0.5 * plain(x).square().sum() / steps / batch
        value.backward()
        return value.detach()

    outcome, value = ours(), float(theirs())
    assert outcome.rates["cortex"] > 1e-3, "the benchmark's circuit is silent"
    assert abs(outcome.loss - value) < 1e-3 * abs(value), f"not the same circuit: {outcome.loss} and {value}"
    return ours, theirs


def forward(units: int, batch: int, steps: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A LIF circuit that is simulated by fused loops, a piece after the other, and by the loop that one would write in torch."""
    circuit = bp.circuit("recurrent", cell=bp.model("lif"), inputs=40, units=units, outputs=2, input_gain=6.0)
    network = circuit.build(0)
    x = (torch.rand(steps, batch, 40, generator=torch.Generator().manual_seed(0)) < 0.05).float() * 5
    W, U = (network.weights[name].T.contiguous() for name in ("W_rec", "W_in"))
    decay = float(torch.exp(torch.tensor(-1 / 20, dtype=torch.float64)))

    def ours() -> Tensor:
        fired = torch.zeros(())
        for stretch in pieces(network, x, backend="numba", states=False, u=False):
            fired = fired + stretch.spikes(0).sum()
        return fired

    def theirs() -> Tensor:
        v = z = wait = torch.zeros(batch, units)
        fired = torch.zeros(())
        drive = (x @ U).unbind(0)
        for I in drive:
            v = decay * v + (1 - decay) * torch.addmm(I, z, W)
            wait = (wait - 1).clamp_min(0)
            z = ((v > 0.6) & (wait == 0)).float()
            v, wait = v - 0.6 * z, wait + 5 * z
            fired = fired + z.sum()
        return fired

    mine, other = float(ours()), float(theirs())
    assert mine > 0.005 * steps * batch * units, "the benchmark's circuit is silent"
    assert abs(mine - other) < 0.02 * other, f"not the same circuit: {mine} and {other} spikes"
    return ours, theirs


def rtrl(batch: int, steps: int, units: int = 64) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """RTRL's gradient of a sequence, and the one product of its Jacobian with its influence, as often."""
    circuit = bp.circuit("recurrent", cell=bp.model("leaky_rate"), inputs=2, units=units, outputs=2)
    network, g = circuit.build(0), torch.Generator().manual_seed(0)
    x, target = (torch.rand(steps, batch, 2, generator=g) for _ in range(2))
    data, rule = Batch(x, target, torch.ones(steps, batch)), bp.rule("rtrl")
    own = rule.begin(network, data, 0)
    state = rule.eligibility.init(network, batch)
    J, P, spare = torch.randn_like(state.J) / units**0.5, torch.randn_like(state.P), state.spare

    def ours() -> Any:
        return sequence(network, rule, own, data, squared)

    def theirs() -> None:
        old, new = P, spare
        for _ in range(steps - 1):  # nothing came in before the first
            torch.bmm(J, old, out=new)
            old, new = new, old

    assert float(ours().gradients["W_rec"].abs().max()) > 1e-4, "the benchmark's circuit learns nothing"
    return ours, theirs


def paired(
    ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int, device: str, inner: int = 1
) -> dict[str, float]:
    """Median seconds of each, of CPU time on a CPU, and the median of the pairwise ratio."""
    now = time.perf_counter if device == "cuda" else time.process_time  # others' work is not ours

    def clock(f: Callable[[], Any]) -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        began = now()
        for _ in range(inner):
            f()
        if device == "cuda":
            torch.cuda.synchronize()
        return (now() - began) / inner

    ours()
    theirs()
    pairs = [(clock(ours), clock(theirs)) for _ in range(repeats)]
    ratios = sorted(a / b for a, b in pairs)
    return {
        "ours_ms": 1e3 * median(a for a, _ in pairs), "bptt_ms": 1e3 * median(b for _, b in pairs),
        "ratio": median(ratios), "lowest": ratios[0], "highest": ratios[-1],
    }  # fmt: skip


def _status(field: str) -> int:
    """KiB, from the kernel."""
    return int(
        next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    )


def peak(rule: str, backend: str, steps: int, queue: Any) -> None:
    """In a fresh process: MiB by which the high-water mark rises while one online gradient is computed, inputs apart."""
    torch.set_num_threads(1)
    circuit = bp.circuit(
        "recurrent",
        cell=bp.model("alif"),
        inputs=40,
        units=100 if rule != "rtrl" else 10,
        outputs=2,
        tau_out=20 * ms,
        input_gain=10.0,
    )
    network = circuit.build(0)
    options = {"schedule": "online"}

    def run(T: int) -> None:
        x = torch.rand(T, 4, 40, generator=torch.Generator().manual_seed(0)).lt_(0.03)
        data = Batch(x, torch.zeros(T, 4, 2), torch.ones(T, 4))
        r = bp.rule(rule, **options)
        sequence(network, r, r.begin(network, data, 0), data, squared, backend=backend)

    run(20)  # what is allocated once
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the high-water mark starts again from here
    before = _status("VmRSS")
    run(steps)
    data_mib = steps * 4 * (40 + 2 + 1 + 2) * 4 / 2**20
    queue.put((_status("VmHWM") - before) / 1024 - data_mib)


def exact_at_scale() -> dict[str, Any]:
    """What one update costs a machine where a trace carried forward would take hundreds of GiB."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=large, args=(queue,))
    process.start()
    seconds, mib = queue.get(timeout=600)
    process.join()
    what = "exact BP(1) update, 1000 rate units, T 100, batch 32 (aimed for: 5000 ms, 4096 MiB)"
    return {"what": what, "ours_ms": round(1e3 * seconds, 1), "MiB": round(mib, 1)}


def memory(
    rules: tuple[tuple[str, str], ...] = (("eprop", "torch"), ("eprop", "numba"), ("rflo", "torch"), ("rtrl", "torch")),
    lengths: tuple[int, ...] = (500, 5000, 50_000),
) -> list[dict[str, Any]]:
    """Peak memory of online rules against the length of the sequence."""
    rows = []
    context = multiprocessing.get_context("spawn")
    for rule, backend in rules:
        for steps in lengths:
            queue = context.Queue()
            process = context.Process(target=peak, args=(rule, backend, steps, queue))
            process.start()
            value, fused = queue.get(timeout=600), ", fused" if backend == "numba" else ""
            process.join()
            rows.append(
                {"what": f"peak memory, {rule} online{fused}, ALIF, batch 4, T {steps}", "MiB": round(value, 1)}
            )
    return rows


def sibling(name: str) -> Any:
    """Another file of this folder, however this one is run."""
    spec = spec_from_file_location(f"benchmark_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


def same_in_c(c_text: Any) -> None:
    """Refuse to time loops in C that do not compute what numba's do: spikes, states and both schedules of e-prop, float64."""
    for name, schedule in (("lif", "window"), ("alif", "window"), ("alif", "online")):
        circuit = bp.circuit(
            "recurrent", cell=bp.model(name), inputs=40, units=20, outputs=2, tau_out=20 * ms, input_gain=10.0
        )
        network = circuit.build(0, dtype=torch.float64)
        generator = torch.Generator().manual_seed(0)
        x = (torch.rand(300, 4, 40, generator=generator) < 0.05).double()
        data = Batch(x, torch.randn(300, 4, 2, generator=generator).double(), torch.ones(300, 4).double())

        def found(network: Any = network, x: Tensor = x, data: Batch = data, schedule: str = schedule) -> list[Tensor]:
            stretch, _ = roll(network, network.start(4), x, False, "numba")
            rule = bp.rule("eprop", schedule=schedule)
            gradients = sequence(network, rule, {}, data, squared, backend="numba").gradients
            return [stretch.spikes(0), stretch.get(0, "u", 0), *gradients.values()]

        numba = found()
        with c_text.in_c() as compiled:
            c = found()
        assert compiled and bool(numba[0].any())
        for a, b in zip(c, numba, strict=True):
            error = float((a - b).abs().max() / b.abs().max())
            assert error <= 1e-12, f"in C the loops of {name}, {schedule}, are off by {error}"


def in_c(repeats: int) -> Iterator[dict[str, Any]]:
    """The loops of two rows above compiled by a C compiler, where there is one: what the same text can reach."""
    c_text = sibling("c_text")
    what = {
        "simulation, the same loop in C / a loop in torch; LIF, N 100, batch 32, T 2000": lambda: forward(100, 32, 2000),
        "windowed e-prop, the same loops in C / autograd BPTT; ALIF, batch 32, N 100, 40 in, T 2000": lambda: alif("cpu", "window", "numba"),
    }  # fmt: skip
    if c_text.compiler() is None:
        for text in what:
            print(f"{text}: no compiler", flush=True)
        return
    same_in_c(c_text)
    for text, pair in what.items():
        with c_text.in_c():
            measured = paired(*pair(), repeats=repeats, device="cpu")
        yield {"what": text, **{k: round(v, 3) for k, v in measured.items()}}


def in_others(repeats: int) -> Iterator[dict[str, Any]]:
    """Simulation by other packages that are installed, against the same loop in torch."""
    units, batch, steps = 100, 32, 2000
    x = (torch.rand(steps, batch, 40, generator=torch.Generator().manual_seed(0)) < 0.05).float() * 5
    for name, make in sibling("others").installed().items():
        theirs, (_, plain) = make(x, units), forward(units, batch, steps)
        rate = float(theirs()) / (units * batch * steps)
        assert 0.005 < rate < 0.5, f"{name}: {rate} spikes a step and neuron"
        measured = paired(theirs, plain, repeats=repeats, device="cpu")
        text = f"simulation, {name} / a loop in torch; LIF, N {units}, batch {batch}, T {steps}"
        yield {"what": text, **{k: round(v, 3) for k, v in measured.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--out", type=Path, default=None, help="also write the table to this CSV file, and as Markdown beside it"
    )
    parser.add_argument("--skip-memory", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found: list[dict[str, Any]] = []
    for what, bound, pair, inner in (
        ("BP(1) update / torch.nn.LSTM BPTT; LSTM, batch 50, N 30, T 28", 3.5, lambda: rows(given.device), 20),
        (
            "BP(1) update / torch.nn.LSTM BPTT; LSTM, batch 100, N 100, T 33",
            5.0,
            lambda: lstm(given.device, CopyRepeat(5, 5), 100, 100),
            5,
        ),
        (
            "windowed e-prop / autograd BPTT; ALIF, batch 32, N 100, 40 in, T 2000",
            0.6,
            lambda: alif(given.device, "window"),
            1,
        ),
        (
            "online e-prop / autograd BPTT; ALIF, batch 32, N 100, 40 in, T 2000",
            1.8,
            lambda: alif(given.device, "online"),
            1,
        ),
        ("windowed e-prop, fused / the same", 0.12, lambda: alif(given.device, "window", "numba"), 1),
        ("online e-prop, fused / the same", 0.3, lambda: alif(given.device, "online", "numba"), 1),
        (
            "online e-prop, fused, weights that move each step / the same",
            0.6,
            lambda: alif(given.device, "moving", "numba"),
            1,
        ),
        ("BPTT, fused / the same", 0.8, lambda: alif(given.device, "bptt", "numba"), 1),
        ("RTRL / its one matrix product; leaky rate units, N 64, batch 1, T 320", 1.3, lambda: rtrl(1, 320), 1),
        ("RTRL / its one matrix product; leaky rate units, N 64, batch 32, T 32", 1.3, lambda: rtrl(32, 32), 1),
        ("simulation, fused / a loop in torch; LIF, N 100, batch 1, T 2000", 0.03, lambda: forward(100, 1, 2000), 1),
        ("simulation, fused / a loop in torch; LIF, N 100, batch 32, T 2000", 0.2, lambda: forward(100, 32, 2000), 1),
        ("simulation, fused / a loop in torch; LIF, N 1000, batch 32, T 500", 0.2, lambda: forward(1000, 32, 500), 1),
    ):
        measured = paired(*pair(), repeats=given.repeats, device=given.device, inner=inner)
        found.append({"what": what, "bound": bound, **{k: round(v, 3) for k, v in measured.items()}})
        print(found[-1], flush=True)
    for row in () if given.device != "cpu" else (*in_c(given.repeats), *in_others(given.repeats)):
        found.append(row)
        print(row, flush=True)
    if not given.skip_memory:
        for row in [exact_at_scale(), *memory()]:
            found.append(row)
            print(row, flush=True)
    if given.out is not None:
        table = pandas.DataFrame(found)
        table.to_csv(given.out, index=False)
        columns = ["" if c == "what" else c for c in table]
        lines = [columns, ["---"] * len(columns), *table.astype(object).where(table.notna(), "–").to_numpy().tolist()]
        about = f"torch {torch.__version__}, {platform.processor() or platform.machine()}, one thread, median of {given.repeats}"
        text = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
        given.out.with_suffix(".md").write_text(f"{text}\n\n{about}\n")
        print(f"written to {given.out} and {given.out.with_suffix('.md')}", file=sys.stderr)


if __name__ == "__main__":
    main()
