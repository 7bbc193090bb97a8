"""How Brian2 runs: as numpy code, which needs nothing; as Cython, or as a program of its own, which are compiled first, and announced.

Brian2 keeps what Cython has compiled in a folder of its own, for every process. A program is kept for this process, and runs again with other weights,
inputs and states to begin from, as long as all else is the same, the numbers of steps and samples and what is recorded included.
"""

from __future__ import annotations

import atexit
import gc
import hashlib
import os
import shutil
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import brian2
import numpy as np
from brian2 import Clock, Quantity, Synapses, TimedArray
from brian2.devices.device import reset_device, set_device

from bioplaus.brian import twin
from bioplaus.brian.make import Make, refuse_python
from bioplaus.brian.monitors import Asked, monitored, seen
from bioplaus.brian.recorder import Recorder
from bioplaus.errors import CircuitError
from bioplaus.symbolic.runtime import runtime

if TYPE_CHECKING:
    from bioplaus.circuit import Network
    from bioplaus.circuit.network import State

TARGETS = ("numpy", "cython", "standalone")
#: how long compilation takes, in words  # measured on two cores: more where processors are busy
LENGTH = {"cython": "30 to 75 s", "standalone": "15 to 40 s"}
KEPT = 8  # chosen: programs of this process, a few MB each

Recorded = dict[Asked, np.ndarray]


def run(network: Network, drives: list[np.ndarray], start: State, asked: Sequence[Asked], target: str) -> Recorded:
    """Run some samples from where they stand; (population, kind, index) → (time, batch, unit)."""
    steps = drives[0].shape[0]
    if target == "standalone":
        return _program(network, drives, start, asked).run(drives[0].shape[1])
    with compiled(target):
        clock = twin.clock(network)
        groups, projections = twin.objects(network, drives, clock, start)
        monitors = monitored(network, groups, asked, clock)
        brian2.Network(*groups, *projections, *monitors.values()).run(steps * clock.dt, namespace={})
        return seen(network, monitors, asked, steps, drives[0].shape[1])


def refuse(network: Network, target: str) -> None:
    """Refuse what a target can't run, before anything is made.

    Raises
    ------
    CircuitError
    """
    if target == "standalone":
        refuse_python(network)
    compilers = [os.environ.get("CXX", "c++").split()[0], "c++", "g++", "clang++", "cl"]
    if target != "numpy" and not any(map(shutil.which, compilers)):
        raise CircuitError(
            f"target='{target}' compiles, and there is no C++ compiler here (c++, g++ and clang++ were looked for). Use target='numpy', or install one."
        )


@contextmanager
def compiled(target: str) -> Iterator[None]:
    """Brian2 inside this process by ``"numpy"`` or ``"cython"``, which says so before it compiles."""
    with runtime(target), _announced(target):
        yield


@contextmanager
def _announced(target: str) -> Iterator[None]:
    """Say so before Cython compiles anything that Brian2 has not kept."""
    if target != "cython":
        yield
        return
    from brian2.codegen.runtime.cython_rt.extension_manager import cython_extension_manager as manager

    gc.collect()  # while objects of an earlier run live they hold their names, and what has other names is compiled again
    real, told = manager._load_module, False

    def loaded(module_path: str, *given: Any, **named: Any) -> Any:
        nonlocal told
        if not told and not os.path.isfile(module_path):
            told = True
            _announce("cython", "once for these equations on this machine")
        return real(module_path, *given, **named)

    manager._load_module = loaded
    try:
        with _environment():
            yield
    finally:
        del manager._load_module


@contextmanager
def _environment() -> Iterator[None]:
    """Variables that compilers and programs are given are gone afterwards."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _announce(target: str, when: str) -> None:
    sys.stderr.write(f"Brian2 compiles this circuit (target='{target}'): {LENGTH[target]}, {when}.\n")
    sys.stderr.flush()


class _Listed(Recorder):
    """Writes down what a program holds for good; of what may change from run to run, only the values, by names."""

    def __init__(self) -> None:
        super().__init__()
        self.changing: dict[tuple[str, str], Any] = {}

    def timed(self, values: np.ndarray, clock: Clock, owner: str, called: str) -> TimedArray:
        made = Make.timed(self, values, clock, owner, called)
        self.called[made.name] = f"{owner} {called}"
        self.lines.append(f"{owner} {called} {values.shape}")
        self.changing[owner, called] = values
        return made

    def set(self, group: Any, name: str, value: Any) -> None:
        variable = group.variables[name]
        if not (isinstance(group, Synapses) or _moves(name, variable)):
            super().set(group, name, value)
            return
        Make.set(self, group, name, value)
        self.lines.append(f"{group.name} {name} {np.shape(value)}")
        self.changing[group.name, name] = Quantity(value, dim=variable.dim)

    def digest(self, *more: Any) -> str:
        found = hashlib.sha256(repr((self.lines, more)).encode())
        for name, array in self.data.items():
            found.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
        return found.hexdigest()


def _moves(name: str, variable: Any) -> bool:
    """Whether a neuron's variable is a number that a run begins from."""
    return name == "lastspike" or not (
        variable.constant or variable.read_only or variable.scalar or name == "not_refractory"
    )


class _Handles(Make):
    """Makes the objects of a program, and keeps hold of what may change."""

    def __init__(self) -> None:
        super().__init__()
        self.handles: dict[tuple[str, str], Any] = {}

    def timed(self, values: np.ndarray, clock: Clock, owner: str, called: str) -> TimedArray:
        self.handles[owner, called] = made = super().timed(values, clock, owner, called)
        return made

    def set(self, group: Any, name: str, value: Any) -> None:
        super().set(group, name, value)
        if isinstance(group, Synapses) or _moves(name, group.variables[name]):
            self.handles[group.name, name] = getattr(group, name)


class _Program:
    """A compiled program in a folder that only this process knows."""

    def __init__(
        self, network: Network, drives: list[np.ndarray], start: State, asked: Sequence[Asked], changing: dict
    ) -> None:
        from brian2.devices.cpp_standalone.device import CPPStandaloneDevice

        self.network, self.asked, self.steps, self.changing = network, tuple(asked), drives[0].shape[0], changing
        self.device = CPPStandaloneDevice()
        self.folder = Path(tempfile.mkdtemp(prefix="bioplaus-brian-"))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        with self._inside():
            clock, make = twin.clock(network), _Handles()
            groups, projections = twin.objects(network, drives, clock, start, make)
            self.monitors, self.handles = monitored(network, groups, asked, clock), make.handles
            self.all = brian2.Network(*groups, *projections, *self.monitors.values())
            self.all.run(self.steps * clock.dt, namespace={})
            self.device.build(directory=str(self.folder), run=False, with_output=False)

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """Brian2's device is this program's, and afterwards what it was."""
        with runtime(), _environment():
            set_device(self.device, build_on_run=False)
            try:
                yield
            finally:
                reset_device()

    def run(self, batch: int) -> Recorded:
        with self._inside():
            given = {self.handles[name]: value for name, value in self.changing.items()}
            self.device.run(with_output=False, run_args=given)
            for name in self.device.run_args_arrays:
                (self.folder / "static_arrays" / name).unlink(missing_ok=True)
            return seen(self.network, self.monitors, self.asked, self.steps, batch)

    def forget(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


_PROGRAMS: OrderedDict[str, _Program] = OrderedDict()


def _program(network: Network, drives: list[np.ndarray], start: State, asked: Sequence[Asked]) -> _Program:
    """The program of a circuit with these numbers in it, compiled if it is not there yet."""
    make = _Listed()
    with runtime():
        groups, projections = twin.objects(network, drives, twin.clock(network), start, make)
        brian2.Network(*groups, *projections).run(
            0 * brian2.second, namespace={}
        )  # or Brian2 says that they were forgotten
    key = make.digest(drives[0].shape[:2], tuple(asked), network.circuit.dt, brian2.__version__)
    if key not in _PROGRAMS:
        _announce("standalone", "and no more in this process for other weights and inputs of as many steps and samples")
        _PROGRAMS[key] = _Program(network, drives, start, asked, make.changing)
        if len(_PROGRAMS) > KEPT:
            _PROGRAMS.popitem(last=False)[1].forget()
    _PROGRAMS.move_to_end(key)
    found = _PROGRAMS[key]
    found.network, found.changing = network, make.changing
    return found
