"""A circuit as a script that runs with Brian2 alone."""

from __future__ import annotations

import base64
import io
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import brian2
import numpy as np
import torch

from bioplaus.brian import twin
from bioplaus.brian.given import Given, given
from bioplaus.brian.names import Names
from bioplaus.brian.recorder import WIDTH, Recorder
from bioplaus.brian.standing import on_their_way
from bioplaus.errors import CircuitError
from bioplaus.settings import ours
from bioplaus.symbolic.runtime import runtime

if TYPE_CHECKING:
    from bioplaus.circuit import Circuit, Network


@ours()
def source(
    circuit: Circuit | Network,
    inputs: Any,
    path: str | Path | None = None,
    *,
    seed: int | None = None,
    state: Any = None,
    perturb: Any = None,
) -> str:
    """A circuit, under these inputs, as a readable script that needs Brian2 and nothing of bioplaus.

    It is what `bioplaus.brian.simulate` does, written down while it is done: a section for each population and each projection between populations,
    numbers with their units and exact to the last bit, and the same spikes. Run, it prints how many spikes there were and keeps them in
    ``<script>_spikes.npz``: ``E_i`` the neurons, ``E_t`` the times in seconds; of rates, ``E_rate`` (step, neuron). Neuron i of sample b of a batch has
    number b·size + i. Spikes of silenced neurons, which nobody hears, are among them. What reaches neurons from outside, weights of the input, bias, noise and background in it, is given by its sum in every step.

    Parameters
    ----------
    circuit, inputs, seed, state, perturb : as of `bioplaus.brian.simulate`.
    path : where to write it, ``"twin.py"``; arrays of more than 8 numbers stand beside it, in ``twin.npz``. None: nothing is written, and the script has
        such arrays within itself, as compressed text at its end.

    Returns
    -------
    str
        The script.

    Raises
    ------
    CircuitError
        As from `bioplaus.brian.simulate`; for a path that is no ``.py``; and for states that somebody holds (a clamp), which Brian2 has no words for.

    Examples
    --------
    >>> import bioplaus as bp
    >>> circuit = bp.circuit("recurrent", cell="lif", inputs=3, units=20, outputs=1, input_gain=9.0)
    >>> script = bp.brian.source(circuit, np.random.default_rng(0).normal(size=(200, 1, 3)))
    >>> [line for line in script.splitlines() if line.startswith("cortex.tau_m")]
    ['cortex.tau_m = 20*ms']
    """
    if inputs is None:
        raise CircuitError(
            "bp.brian.source writes a script that runs as long as its inputs: give them, np.zeros((steps, 1, lines)) if there is nothing."
        )
    place = None if path is None else _place(path)
    with runtime(), torch.no_grad():
        text, data = _written(given("source", circuit, inputs, seed, state, perturb), place)
    if place is None:
        return text
    place.write_text(text, encoding="utf-8")
    if data:
        np.savez_compressed(place.with_suffix(".npz"), **data)  # pyright: ignore[reportArgumentType]
    return text


def _place(path: str | Path) -> Path:
    place = Path(path).expanduser()
    if place.suffix != ".py":
        raise CircuitError(
            f"path={str(path)!r} is where the script goes, a file of Python: call it '{place.stem or 'twin'}.py'."
        )
    if not place.parent.is_dir():
        raise CircuitError(f"path={str(path)!r} is in a folder that is not there, {place.parent}. Make it first.")
    return place


def _written(known: Given, place: Path | None) -> tuple[str, dict[str, np.ndarray]]:
    """The script, and what stands beside it."""
    network, steps = known.network, len(known.x)
    make, clock = Recorder(), twin.clock(network)
    drives = [d.double().cpu().numpy() for d in on_their_way(network, known.start, network.drive(known.x))]
    groups, projections = twin.objects(network, drives, clock, known.start, make)
    brian2.Network(*groups, *projections).run(0 * clock.dt, namespace={})  # Brian2 reads all of it, or refuses
    names = [make.called[each.name] for each in (*groups, *projections)]
    end = _end(network, make, names, steps, f"{place.stem if place else 'script'}_spikes.npz")
    body, batch = [*make.lines, *end], known.x.shape[1]
    head = [*_head(network, batch, steps), "import numpy as np"]
    if make.data:
        head = [*_head(network, batch, steps), *(["import base64", "import io", ""] if place is None else ["from pathlib import Path", ""]), "import numpy as np"]  # fmt: skip
    head += [*_imports(make.used), "", 'prefs.codegen.target = "numpy"  # "cython" compiles first, a minute or so', ""]
    head += [f"clock = Clock({network.circuit.dt!r}*second)"]
    if make.data and place is not None:
        head.append(f'data = np.load(Path(__file__).with_name("{place.stem}.npz"))')
    elif make.data:
        head += _inside(make.data)
    return "\n".join([*head, *body, ""]), make.data


def _head(network: Network, batch: int, steps: int) -> list[str]:
    """What this is."""
    circuit, samples = (
        network.circuit,
        "" if batch == 1 else f" of {batch} samples: neuron i of sample b is number b*size + i",
    )
    said = (
        f"{circuit.name}: {circuit.counts()}. {steps} steps of {circuit.dt * 1e3:g} ms{samples}. Written by bioplaus, which is not needed to run it. "
        "What is called ..._external is what reaches each neuron from outside in each step, weights of the input and bias in it. "
        "Currents are collected before the neurons take a step and held over it; spikes act from the next step on, so that Brian2's delays are one step shorter than the circuit's."
    )
    return ['"""' + "\n".join(textwrap.wrap(said.replace("\\", "/").replace('"', "'"), WIDTH)), '"""', ""]


def _imports(used: set[str]) -> list[str]:
    names = sorted(used, key=lambda name: (name.islower(), name))
    return textwrap.wrap(f"from brian2 import ({', '.join(names)})", WIDTH, subsequent_indent="    ")


def _inside(data: dict[str, np.ndarray]) -> list[str]:
    """Arrays as text."""
    kept = io.BytesIO()
    np.savez_compressed(kept, **data)  # pyright: ignore[reportArgumentType]
    text = base64.b64encode(kept.getvalue()).decode()
    return ['data = np.load(io.BytesIO(base64.b64decode("""', *textwrap.wrap(text, WIDTH), '""")))']


def _end(network: Network, make: Recorder, names: list[str], steps: int, kept: str) -> list[str]:
    """Run it, and keep what neurons say."""
    make.section("run")
    lines, seen, saved = [], [], []
    for i, (p, name) in enumerate(zip(network.populations, names, strict=False)):
        monitor = make._name(f"spikes of {p.name}", f"seen_{name}")
        seen.append(monitor)
        if network.circuit.populations[p.name].cell.spiking:
            make.used.add("SpikeMonitor")
            lines.append(f"{monitor} = SpikeMonitor({name})")
            saved += [f"{name}_i={monitor}.i", f"{name}_t={monitor}.t_"]
        else:
            make.used.add("StateMonitor")
            said = Names(network, i).said[0][0]
            lines.append(f'{monitor} = StateMonitor({name}, {said!r}, record=True, when="end", clock=clock)')
            saved.append(f"{name}_rate={monitor}.{said}.T")
    lines += [f"net = Network({', '.join([*names, *seen])})", f"net.run({steps}*clock.dt)", ""]
    for p, name, monitor in zip(network.populations, names, seen, strict=False):
        if network.circuit.populations[p.name].cell.spiking:
            lines.append(f'print(f"{name}: {{{monitor}.num_spikes}} spikes")')
    return [*lines, f'np.savez("{kept}", {", ".join(saved)})']
