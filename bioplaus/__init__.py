"""Cortical circuits that learn online, with synthetic gradients from a cerebellum-like predictor.

    import bioplaus as bp
    from bioplaus import ms

    circuit = bp.circuit("recurrent", cell=bp.model("alif", tau_a=2000*ms), inputs=40, units=100, outputs=2)

Nothing is imported until it is used, neither torch nor Brian2 nor numpy: the command line answers at once.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Where each name lives; the import of that module waits until the name is used.
_HOMES = {
    "bioplaus.content": ("model", "circuit", "experiment"),
    "bioplaus.cell": ("Cell", "fast_sigmoid", "triangular"),
    "bioplaus.circuit": ("Circuit", "Network", "Poisson", "Population", "Projection", "Readout"),
    "bioplaus.circuit.delays": ("Conduction", "Normal", "Uniform"),
    "bioplaus.circuit.space": ("Exponential", "Gaussian", "Kernel", "Positions", "Within", "grid"),
    "bioplaus.perturb": ("Perturb",),
    "bioplaus.drive": ("Drive",),
    "bioplaus.cerebellum.driver": ("CerebellarDrive",),
    "bioplaus.simulate": ("simulate",),
    "bioplaus.streams": ("stream",),
    "bioplaus.rules": ("Rule", "rule"),
    "bioplaus.schedule": ("Online", "Window"),
    "bioplaus.cerebellum": ("predictor",),
    "bioplaus.tasks": ("Batch", "Task", "task"),
    "bioplaus.learning.gradient": ("gradient",),
    "bioplaus.learning.record": ("record",),
    "bioplaus.learning.trainer": ("Trainer",),
    "bioplaus.learning.phase": ("Phase",),
    "bioplaus.learning.training": ("Training",),
    "bioplaus.measure.along": ("align",),
    "bioplaus.measure.reach": ("credit_by_lag",),
    "bioplaus.measure.trace_quality": ("trace_quality",),
    "bioplaus.runs": ("Arm", "Experiment", "train"),
    "bioplaus.symbolic.units": (
        ("second", "ms", "us", "Hz", "kHz", "volt", "mV", "amp", "uA", "nA", "pA", "siemens", "mS", "uS", "nS")
        + ("farad", "uF", "nF", "pF", "Mohm", "cm", "mm", "um")
    ),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
_ROOMS = (
    "analysis",
    "brian",
    "checks",
    "content",
    "eligibility",
    "errors",
    "figures",
    "late",
    "reward",
    "rules",
    "runs",
    "signal",
    "symbolic",
    "tasks",
)

__all__ = sorted((*_HOME, "analysis", "brian", "errors", "figures", "reward"))  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from bioplaus import analysis as analysis
    from bioplaus import brian as brian
    from bioplaus import errors as errors
    from bioplaus import figures as figures
    from bioplaus import reward as reward
    from bioplaus.cell import Cell as Cell
    from bioplaus.cell import fast_sigmoid as fast_sigmoid
    from bioplaus.cell import triangular as triangular
    from bioplaus.cerebellum import predictor as predictor
    from bioplaus.cerebellum.driver import CerebellarDrive as CerebellarDrive
    from bioplaus.circuit import Circuit as Circuit
    from bioplaus.circuit import Network as Network
    from bioplaus.circuit import Poisson as Poisson
    from bioplaus.circuit import Population as Population
    from bioplaus.circuit import Projection as Projection
    from bioplaus.circuit import Readout as Readout
    from bioplaus.circuit.delays import Conduction as Conduction
    from bioplaus.circuit.delays import Normal as Normal
    from bioplaus.circuit.delays import Uniform as Uniform
    from bioplaus.circuit.space import Exponential as Exponential
    from bioplaus.circuit.space import Gaussian as Gaussian
    from bioplaus.circuit.space import Kernel as Kernel
    from bioplaus.circuit.space import Positions as Positions
    from bioplaus.circuit.space import Within as Within
    from bioplaus.circuit.space import grid as grid
    from bioplaus.drive import Drive as Drive
    from bioplaus.learning.gradient import gradient as gradient
    from bioplaus.learning.phase import Phase as Phase
    from bioplaus.learning.record import record as record
    from bioplaus.learning.trainer import Trainer as Trainer
    from bioplaus.learning.training import Training as Training
    from bioplaus.measure.along import align as align
    from bioplaus.measure.reach import credit_by_lag as credit_by_lag
    from bioplaus.measure.trace_quality import trace_quality as trace_quality
    from bioplaus.perturb import Perturb as Perturb
    from bioplaus.rules import Rule as Rule
    from bioplaus.rules import rule as rule
    from bioplaus.runs import Arm as Arm
    from bioplaus.runs import Experiment as Experiment
    from bioplaus.runs import train as train
    from bioplaus.schedule import Online as Online
    from bioplaus.schedule import Window as Window
    from bioplaus.simulate import simulate as simulate
    from bioplaus.streams import stream as stream
    from bioplaus.tasks import Batch as Batch
    from bioplaus.tasks import Task as Task
    from bioplaus.tasks import task as task

    def model(name: str, /, **parameters: Any) -> Cell: ...
    def circuit(name: str, /, **parameters: Any) -> Circuit: ...
    def experiment(name: str, /, **parameters: Any) -> Experiment: ...

    # Any, because Brian2 leaves `20*ms` untyped.
    second: Any
    ms: Any
    us: Any
    Hz: Any
    kHz: Any
    volt: Any
    mV: Any
    amp: Any
    uA: Any
    nA: Any
    pA: Any
    siemens: Any
    mS: Any
    uS: Any
    nS: Any
    farad: Any
    uF: Any
    nF: Any
    pF: Any
    Mohm: Any
    cm: Any
    mm: Any
    um: Any


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    elif name in _ROOMS:
        value = importlib.import_module(f"bioplaus.{name}")
    else:
        from bioplaus.errors import unknown

        raise AttributeError(unknown("name in bioplaus", name, __all__) + _made_by(name))
    globals()[name] = value
    return value


def _made_by(name: str) -> str:
    """How to write what is made by name: ``bp.lstm``."""
    from bioplaus import content, rules, tasks

    tables = {**content.KINDS, "rule": rules.TABLE | rules.BESIDE, "task": tasks.TASKS}
    kinds = [
        kind for kind, table in tables.items() if name in (content.names(kind) if isinstance(table, str) else table)
    ]
    return f" bp.{kinds[0]}({name!r}) makes the {kinds[0]} of that name." if kinds else ""


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps `bioplaus.circuit` and `simulate` the functions that people call.

    Python binds a submodule as an attribute of its package when it is first imported, which would replace the
    functions by the modules of that name. Those stay importable: ``from bioplaus.circuit import Circuit``.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
